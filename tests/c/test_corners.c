/* Corners that the abuse has led to. */
#include "pair.h"
#include "raw.h"
#include <stdlib.h>

/* ------------------------------------------------------------------------- Ids */

static void on_timer(void *user, dari_loop_t *loop, dari_timer_t timer) {
    (void)user, (void)loop, (void)timer;
}

/* However many loops have come and gone since. */
static void a_loop_takes_no_id_of_another_that_lives(void) {
    enum { LOOPS = 1 << 16 };
    dari_loop_t *first, *loop;
    dari_timer_t mine, other;
    int wrong = 0;
    CHECK(dari_loop_new(NULL, &first) == DARI_OK);
    CHECK(dari_timer_new(first, 3600000, 0, on_timer, NULL, &mine) == DARI_OK);
    for (int i = 0; i < LOOPS && wrong == 0; i++) {
        CHECK(dari_loop_new(NULL, &loop) == DARI_OK);
        CHECK(dari_timer_new(loop, 3600000, 0, on_timer, NULL, &other) == DARI_OK);
        wrong += other.id == mine.id || dari_timer_cancel(loop, mine) != DARI_ERR_STALE;
        CHECK(dari_loop_free(loop) == DARI_OK);
    }
    CHECK(wrong == 0);
    CHECK(dari_timer_cancel(first, mine) == DARI_OK);
    CHECK(dari_loop_free(first) == DARI_OK);
}

/* ----------------------------------------------------------------------- Hooks */

/* Two listeners in one place, one after the other. */
struct heir {
    struct side old, fresh;
    dari_listener_t before, after;
    int told;
};

/* The listener that this is about goes, though nobody is connected to it any more, and another one comes. */
static void on_limited(void *user, dari_loop_t *loop, const dari_limited_t *what) {
    struct heir *heir = user;
    const dari_handler_t fresh = side_handler(&heir->fresh);
    CHECK(what->listener.id == heir->before.id);
    if (heir->told++ == 0) return;
    CHECK(dari_listener_close(loop, heir->before) == DARI_OK);
    CHECK(dari_loop_listen(loop, "127.0.0.1:0", NULL, &fresh, &heir->after) == DARI_OK);
}

static void turned_away(dari_loop_t *loop, uint16_t port) {
    char answer[512];
    int fd = raw_connect(port);
    raw_read_until(loop, fd, answer, sizeof answer, " 503 ");
    close(fd);
    turn_a_few(loop);
}

static void a_new_listener_has_its_own_hooks(void) {
    struct heir heir = {.told = 0};
    struct pair pair;
    const dari_listen_t how = {.struct_size = sizeof how, .max_conns = 1};
    dari_handler_t old = {.struct_size = sizeof old, .user = &heir, .limited = on_limited};
    uint16_t port;
    int fd;
    pair_open(&pair, NULL, NULL);
    CHECK(dari_loop_listen(pair.loop, "127.0.0.1:0", &how, &old, &heir.before) == DARI_OK);
    port = dari_listener_port(pair.loop, heir.before);
    /* The second time is told of a second later, when nobody is there any more. */
    turned_away(pair.loop, port);
    turned_away(pair.loop, port);
    TURN_UNTIL(pair.loop, heir.after.id != 0);
    fd = raw_connect(dari_listener_port(pair.loop, heir.after));
    raw_send(fd, RAW_UPGRADE);
    TURN_UNTIL(pair.loop, side_heard(&heir.fresh, 'o'));
    close(fd);
    pair_free(&pair);
}

/* In `close` one frees what belongs to the connection: after that nobody must come across it. */
static void on_retry(void *user, dari_loop_t *loop, dari_dial_t dial, uint32_t attempt, uint32_t delay_ms) {
    struct side *side = user;
    dari_conn_t conn = {0};
    (void)dial, (void)attempt, (void)delay_ms;
    CHECK(side->heard[side->count - 1] == 'c' && side->close.will_retry == 1);
    CHECK(dari_conn_set_data(loop, side->conn, side) == DARI_ERR_STALE);
    CHECK(dari_conn_peer(loop, side->conn, side->text, sizeof side->text, NULL) == DARI_ERR_STALE);
    while ((conn = dari_loop_next(loop, conn)).id != 0) CHECK(conn.id != side->conn.id);
    CHECK(dari_dial_stop(loop, dial) == DARI_OK);
    side_hear(side, 'r', side->conn);
}

static void an_id_is_stale_when_its_dial_is_to_connect_again(void) {
    struct side side = {.count = 0};
    dari_handler_t handler = side_handler(&side);
    const dari_connect_t how = {.struct_size = sizeof how, .retry_ms = 1};
    dari_loop_t *loop;
    char url[64];
    int deaf = raw_bind();
    handler.retry = on_retry;
    snprintf(url, sizeof url, "ws://127.0.0.1:%u/", (unsigned)raw_port(deaf));
    CHECK(dari_loop_new(NULL, &loop) == DARI_OK);
    CHECK(dari_loop_connect(loop, url, &how, &handler, NULL) == DARI_OK);
    TURN_UNTIL(loop, side_heard(&side, 'r'));
    CHECK(dari_loop_free(loop) == DARI_OK);
    close(deaf);
}

/* One who waits for a connection has to learn that there will be none. */
static void count_last(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_close_t *why) {
    int *closes = user;
    CHECK(why->cause == DARI_CAUSE_CONNECT && why->reserved == 0 && dari_conn_dial(loop, conn).id != 0);
    CHECK(why->will_retry == (++*closes < 3));
    if (!why->will_retry) dari_loop_stop(loop);
}

static void the_last_attempt_says_that_it_was_the_last(void) {
    int closes = 0, deaf = raw_bind();
    const dari_handler_t handler = {.struct_size = sizeof handler, .user = &closes, .close = count_last};
    const dari_connect_t how = {.struct_size = sizeof how, .retry_ms = 1, .retry_count = 2};
    dari_loop_t *loop;
    char url[64];
    snprintf(url, sizeof url, "ws://127.0.0.1:%u/", (unsigned)raw_port(deaf));
    CHECK(dari_loop_new(NULL, &loop) == DARI_OK);
    CHECK(dari_loop_connect(loop, url, &how, &handler, NULL) == DARI_OK);
    CHECK(dari_loop_run(loop) == DARI_OK && closes == 3);
    CHECK(dari_loop_free(loop) == DARI_OK);
    close(deaf);
}

/* -------------------------------------------------------------------- Shutdown */

static dari_conn_t asked;

static void ask_later(void *user, dari_loop_t *loop, dari_conn_t conn) {
    (void)user, (void)loop;
    asked = conn;
}

/* It is refused, or it is told 1001 as all others are: what it must not do is keep everybody waiting. The client is on
 * a loop of its own, or it would be told to go itself. */
static void an_upgrade_that_is_accepted_during_a_shutdown_is_told_to_go(void) {
    struct pair here, there;
    dari_handler_t server = side_handler(&here.server), client = side_handler(&there.client);
    memset(&here, 0, sizeof here);
    memset(&there, 0, sizeof there);
    server.upgrade = ask_later;
    asked.id = 0;
    pair_listen(&here, NULL, &server);
    CHECK(dari_loop_new(NULL, &there.loop) == DARI_OK);
    there.port = here.port;
    pair_connect(&there, NULL, &client, "/");
    TURN_UNTIL(here.loop, (dari_loop_turn(there.loop, 0), asked.id != 0));
    CHECK(dari_loop_shutdown(here.loop, 0, CHECK_DEADLINE_MS / 2, NULL, NULL) == DARI_OK);
    turn_a_few(here.loop);
    if (dari_conn_accept(here.loop, asked, NULL, NULL, 0) == DARI_OK) {
        TURN_UNTIL(here.loop, (dari_loop_turn(there.loop, 0), side_heard(&there.client, 'c')));
        CHECK(there.client.close.code == 1001 && there.client.close.was_clean == 1);
    }
    pair_free(&there);
    pair_free(&here);
}

/* --------------------------------------------------------------------- Sending */

/* An upload that holds back when it is told to, until the server has said that it is enough. */
struct upload {
    size_t sent, received, most;
    int has_said, has_heard;
};

static void pour(struct upload *upload, dari_loop_t *loop, dari_conn_t conn) {
    static const char block[64 << 10];
    while (!upload->has_heard && upload->sent < upload->most) {
        dari_status_t got = dari_conn_send(loop, conn, DARI_BINARY, block, sizeof block);
        CHECK(got >= 0);
        upload->sent += sizeof block;
        if (got != DARI_OK) return;
    }
}

static void pour_on(void *user, dari_loop_t *loop, dari_conn_t conn) {
    pour(user, loop, conn);
}

static void hear_enough(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
    (void)loop, (void)conn, (void)message;
    ((struct upload *)user)->has_heard = 1;
}

static void say_enough(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
    struct upload *upload = user;
    upload->received += message->len;
    if (upload->received > 1 << 20 && !upload->has_said++)
        CHECK(dari_conn_send(loop, conn, DARI_TEXT, "enough", 6) == DARI_OK);
}

static void a_peer_is_heard_while_it_is_sent_to(void) {
    struct upload upload = {.most = (size_t)256 << 20};
    struct pair pair;
    const dari_handler_t server = {.struct_size = sizeof server, .user = &upload, .message = say_enough};
    const dari_handler_t client = {
        .struct_size = sizeof client, .user = &upload, .open = pour_on, .message = hear_enough, .drain = pour_on};
    memset(&pair, 0, sizeof pair);
    pair_listen(&pair, NULL, &server);
    pair_connect(&pair, NULL, &client, "/");
    TURN_UNTIL(pair.loop, upload.has_heard || upload.sent >= upload.most);
    CHECK(upload.has_heard);
    pair_free(&pair);
}

/* Full, and then not to be sent to any more: which of the two counts? */
static void who_may_not_be_sent_to_is_not_said_to_be_full(void) {
    static const char block[64 << 10];
    struct pair pair;
    dari_status_t got = DARI_OK;
    pair_open(&pair, NULL, NULL);
    CHECK(dari_conn_pause(pair.loop, pair.server.conn) == DARI_OK);
    while (got >= 0) got = dari_conn_send(pair.loop, pair.client.conn, DARI_BINARY, block, sizeof block);
    CHECK(got == DARI_ERR_FULL);
    CHECK_ERROR(dari_conn_respond_piece(pair.loop, pair.client.conn, "x", 1), DARI_ERR_STATE, "");
    CHECK(dari_conn_close(pair.loop, pair.client.conn, 1000, NULL) == DARI_OK);
    CHECK_ERROR(dari_conn_send(pair.loop, pair.client.conn, DARI_BINARY, "x", 1), DARI_ERR_STATE, "");
    pair_free(&pair);
}

int main(int argc, char **argv) {
    static const struct check_test tests[] = {
        TEST(a_loop_takes_no_id_of_another_that_lives),
        TEST(a_new_listener_has_its_own_hooks),
        TEST(an_id_is_stale_when_its_dial_is_to_connect_again),
        TEST(the_last_attempt_says_that_it_was_the_last),
        TEST(an_upgrade_that_is_accepted_during_a_shutdown_is_told_to_go),
        TEST(a_peer_is_heard_while_it_is_sent_to),
        TEST(who_may_not_be_sent_to_is_not_said_to_be_full),
    };
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
