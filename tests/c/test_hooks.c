/* Hooks: in which order they come, what they are handed, and what may be done in them. */
#include "pair.h"
#include "raw.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void open_comes_first_and_close_last(void) {
    struct pair pair;
    pair_open(&pair, NULL, NULL);
    CHECK(dari_conn_send(pair.loop, pair.client.conn, DARI_TEXT, "안녕", 6) == DARI_OK);
    TURN_UNTIL(pair.loop, side_heard(&pair.server, 'm'));
    CHECK(pair.server.kind == DARI_TEXT && strcmp(pair.server.text, "안녕") == 0);
    CHECK(dari_conn_send(pair.loop, pair.server.conn, DARI_BINARY, "\0\1", 2) == DARI_OK);
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'm'));
    CHECK(pair.client.kind == DARI_BINARY && pair.client.len == 2);
    CHECK(memcmp(pair.client.text, "\0\1", 2) == 0);
    CHECK(dari_conn_close(pair.loop, pair.client.conn, 4000, "bye") == DARI_OK);
    CHECK(dari_conn_state(pair.loop, pair.client.conn) == DARI_STATE_CLOSING);
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'c') && side_heard(&pair.server, 'c'));
    turn_a_few(pair.loop);
    CHECK(strcmp(pair.client.heard, "omc") == 0);
    CHECK(strcmp(pair.server.heard, "omc") == 0);
    pair_free(&pair);
    CHECK(strcmp(pair.client.heard, "omc") == 0);
}

static void a_close_tells_both_sides_everything(void) {
    struct pair pair;
    const dari_close_t *client = &pair.client.close, *server = &pair.server.close;
    pair_open(&pair, NULL, NULL);
    CHECK(dari_conn_close(pair.loop, pair.client.conn, 4000, "bye") == DARI_OK);
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'c') && side_heard(&pair.server, 'c'));
    CHECK(server->cause == DARI_CAUSE_PEER && server->by == DARI_BY_PEER);
    CHECK(server->code == 4000 && strcmp(pair.server.reason, "bye") == 0);
    CHECK(server->sent_code == 4000 && server->was_clean == 1 && server->opened == 1);
    CHECK(client->cause == DARI_CAUSE_LOCAL && client->by == DARI_BY_US);
    CHECK(client->code == 4000 && client->sent_code == 4000);
    CHECK(client->was_clean == 1 && client->opened == 1);
    CHECK(server->status == 0 && server->os_error == 0 && server->tls_alert == 0);
    CHECK(server->limit == 0 && server->met == 0 && server->offset == 0);
    CHECK(server->unsent_bytes == 0 && server->unsent_messages == 0);
    CHECK(server->rule.data == NULL && server->rule.len == 0);
    CHECK(strstr(pair.server.story, "4000") != NULL && strstr(pair.server.story, "bye") != NULL);
    pair_free(&pair);
}

static void an_abort_is_an_abort_here_and_an_error_there(void) {
    struct pair pair;
    pair_open(&pair, NULL, NULL);
    CHECK(dari_conn_abort(pair.loop, pair.client.conn) == DARI_OK);
    CHECK(dari_conn_state(pair.loop, pair.client.conn) == DARI_STATE_CLOSED);
    CHECK_ERROR(dari_conn_send(pair.loop, pair.client.conn, DARI_TEXT, "x", 1), DARI_ERR_STATE, "");
    CHECK(strcmp(pair.client.heard, "o") == 0);
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'c') && side_heard(&pair.server, 'c'));
    CHECK(strcmp(pair.client.heard, "oc") == 0);
    CHECK(pair.client.close.cause == DARI_CAUSE_ABORT && pair.client.close.by == DARI_BY_US);
    CHECK(pair.client.close.code == 1006 && pair.client.close.was_clean == 0);
    /* The error tells the same story as the close that follows it. */
    CHECK(strcmp(pair.server.heard, "oec") == 0);
    CHECK(pair.server.close.cause == DARI_CAUSE_EOF || pair.server.close.cause == DARI_CAUSE_RESET);
    CHECK(pair.server.error.cause == pair.server.close.cause);
    CHECK(pair.server.close.code == 1006 && pair.server.close.sent_code == 0);
    pair_free(&pair);
}

static void a_broken_rule_is_named_with_its_place(void) {
    struct pair pair;
    const dari_close_t *why = &pair.server.close;
    dari_handler_t handler = side_handler(&pair.server);
    char answer[1024];
    size_t head;
    int fd;
    memset(&pair, 0, sizeof pair);
    pair_listen(&pair, NULL, &handler);
    fd = raw_connect(pair.port);
    raw_send(fd, RAW_UPGRADE);
    raw_read_until(pair.loop, fd, answer, sizeof answer, "\r\n\r\n");
    CHECK(strstr(answer, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") != NULL);
    head = strlen(RAW_UPGRADE);
    /* A whole message, and then one without a mask. */
    CHECK(send(fd, "\x81\x82\0\0\0\0hi\x81\x02ho", 12, MSG_NOSIGNAL) == 12);
    TURN_UNTIL(pair.loop, side_heard(&pair.server, 'e'));
    close(fd);
    TURN_UNTIL(pair.loop, side_heard(&pair.server, 'c'));
    CHECK(strcmp(pair.server.heard, "omec") == 0);
    CHECK(why->cause == DARI_CAUSE_PROTOCOL && why->by == DARI_BY_US);
    CHECK(why->sent_code == 1002 && why->code == 1006 && why->was_clean == 0);
    CHECK(why->rule.len > 0 && strstr(pair.server.rule, "RFC 6455 5.1") != NULL);
    /* In the peer's stream, the handshake included: where the bad frame begins. */
    CHECK(why->offset == head + 8);
    CHECK(strstr(pair.server.story, "mask") != NULL);
    pair_free(&pair);
}

static void a_message_over_the_limit_says_which_and_by_how_much(void) {
    struct pair pair;
    dari_limits_t limits = {.struct_size = sizeof limits, .max_message = 10};
    dari_listen_t how = {.struct_size = sizeof how, .limits = &limits};
    dari_handler_t server = side_handler(&pair.server), client = side_handler(&pair.client);
    memset(&pair, 0, sizeof pair);
    pair_listen(&pair, &how, &server);
    pair_connect(&pair, NULL, &client, "/");
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'o'));
    CHECK(dari_conn_send(pair.loop, pair.client.conn, DARI_TEXT, "0123456789", 10) == DARI_OK);
    CHECK(dari_conn_send(pair.loop, pair.client.conn, DARI_TEXT, "0123456789a", 11) == DARI_OK);
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'c') && side_heard(&pair.server, 'c'));
    CHECK(strcmp(pair.server.heard, "omec") == 0);
    CHECK(pair.server.close.cause == DARI_CAUSE_TOO_BIG && pair.server.close.sent_code == 1009);
    CHECK(pair.server.close.limit == 10 && pair.server.close.met == 11);
    CHECK(pair.client.close.code == 1009 && pair.client.close.cause == DARI_CAUSE_PEER);
    pair_free(&pair);
}

static void nobody_there_is_told_with_its_errno(void) {
    struct pair pair;
    char url[64];
    dari_handler_t client = side_handler(&pair.client);
    dari_conn_t conn = {0};
    memset(&pair, 0, sizeof pair);
    pair_listen(&pair, NULL, &client);
    CHECK(dari_listener_close(pair.loop, pair.listener) == DARI_OK);
    snprintf(url, sizeof url, "ws://127.0.0.1:%u/", (unsigned)pair.port);
    turn_a_few(pair.loop);
    CHECK(dari_loop_connect(pair.loop, url, NULL, &client, &conn) == DARI_OK);
    CHECK(conn.id != 0);
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'c'));
    CHECK(strcmp(pair.client.heard, "ec") == 0 && pair.client.conn.id == conn.id);
    CHECK(pair.client.close.cause == DARI_CAUSE_CONNECT && pair.client.close.opened == 0);
    CHECK(pair.client.close.os_error == ECONNREFUSED && pair.client.close.code == 1006);
    pair_free(&pair);
}

static void close_at_message(void *user, dari_loop_t *loop, dari_conn_t conn,
                             const dari_message_t *message) {
    side_message(user, loop, conn, message);
    CHECK(dari_conn_close(loop, conn, 1000, "enough") == DARI_OK);
}

static void closing_in_message_ends_delivery(void) {
    struct pair pair;
    dari_handler_t server = side_handler(&pair.server);
    server.message = close_at_message;
    pair_open(&pair, &server, NULL);
    for (int i = 0; i < 5; i++)
        CHECK(dari_conn_send(pair.loop, pair.client.conn, DARI_TEXT, "m", 1) == DARI_OK);
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'c') && side_heard(&pair.server, 'c'));
    CHECK(strcmp(pair.server.heard, "omc") == 0);
    CHECK(pair.server.close.cause == DARI_CAUSE_LOCAL);
    CHECK(pair.client.close.code == 1000 && strcmp(pair.client.reason, "enough") == 0);
    pair_free(&pair);
}

static void pause_at_message(void *user, dari_loop_t *loop, dari_conn_t conn,
                             const dari_message_t *message) {
    side_message(user, loop, conn, message);
    CHECK(dari_conn_pause(loop, conn) == DARI_OK);
}

static void messages_wait_while_paused(void) {
    struct pair pair;
    dari_handler_t server = side_handler(&pair.server);
    server.message = pause_at_message;
    pair_open(&pair, &server, NULL);
    for (int i = 0; i < 3; i++)
        CHECK(dari_conn_send(pair.loop, pair.client.conn, DARI_TEXT, "m", 1) == DARI_OK);
    for (size_t seen = 2; seen <= 4; seen++) {
        TURN_UNTIL(pair.loop, pair.server.count >= seen);
        turn_a_few(pair.loop);
        CHECK(pair.server.count == seen);
        CHECK(dari_conn_resume(pair.loop, pair.server.conn) == DARI_OK);
    }
    pair_free(&pair);
}

struct guest {
    int messages;
};

static void guest_open(void *user, dari_loop_t *loop, dari_conn_t conn) {
    struct guest *guest = calloc(1, sizeof *guest);
    (void)user;
    CHECK(dari_conn_data(loop, conn) == NULL);
    CHECK(dari_conn_set_data(loop, conn, guest) == DARI_OK);
}

static void guest_message(void *user, dari_loop_t *loop, dari_conn_t conn,
                          const dari_message_t *message) {
    struct guest *guest = dari_conn_data(loop, conn);
    (void)user, (void)message;
    guest->messages++;
}

static void guest_close(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_close_t *why) {
    struct guest *guest = dari_conn_data(loop, conn);
    int *messages = user;
    (void)why;
    CHECK(guest != NULL);
    CHECK(dari_conn_send(loop, conn, DARI_TEXT, "x", 1) == DARI_ERR_STATE);
    if (guest != NULL) *messages += guest->messages;
    free(guest);
}

static void user_data_is_there_until_close(void) {
    struct pair pair;
    int messages = 0;
    const dari_handler_t server = {.struct_size = sizeof server,
                                   .user = &messages,
                                   .open = guest_open,
                                   .message = guest_message,
                                   .close = guest_close};
    dari_handler_t client = side_handler(&pair.client);
    memset(&pair, 0, sizeof pair);
    pair_listen(&pair, NULL, &server);
    pair_connect(&pair, NULL, &client, "/");
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'o'));
    CHECK(dari_conn_send(pair.loop, pair.client.conn, DARI_TEXT, "1", 1) == DARI_OK);
    CHECK(dari_conn_send(pair.loop, pair.client.conn, DARI_TEXT, "2", 1) == DARI_OK);
    CHECK(dari_conn_close(pair.loop, pair.client.conn, 1000, NULL) == DARI_OK);
    TURN_UNTIL(pair.loop, messages == 2 && side_heard(&pair.client, 'c'));
    /* And for those whom only the end of the loop closes. */
    memset(&pair.client, 0, sizeof pair.client);
    pair_connect(&pair, NULL, &client, "/");
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'o'));
    pair_free(&pair);
    CHECK(strcmp(pair.client.heard, "oc") == 0);
}

static void freeing_a_loop_says_1001_and_closes_every_id(void) {
    struct pair pair;
    char answer[1024];
    int fd;
    pair_open(&pair, NULL, NULL);
    fd = raw_connect(pair.port);
    raw_send(fd, RAW_UPGRADE);
    raw_read_until(pair.loop, fd, answer, sizeof answer, "\r\n\r\n");
    pair_free(&pair);
    CHECK(strcmp(pair.server.heard, "oocc") == 0);
    CHECK(strcmp(pair.client.heard, "oc") == 0);
    CHECK(pair.server.close.cause == DARI_CAUSE_SHUTDOWN && pair.server.close.sent_code == 1001);
    CHECK(pair.client.close.cause == DARI_CAUSE_SHUTDOWN);
    CHECK(recv(fd, answer, sizeof answer, 0) >= 4);
    CHECK((unsigned char)answer[0] == 0x88 && answer[2] == 0x03 && (unsigned char)answer[3] == 0xe9);
    close(fd);
}

static void buffered_is_followed_by_drain(void) {
    struct pair pair;
    static char block[64 << 10];
    dari_status_t status = DARI_OK;
    size_t sent = 0;
    pair_open(&pair, NULL, NULL);
    CHECK(dari_conn_pause(pair.loop, pair.server.conn) == DARI_OK);
    while (status == DARI_OK && sent < 1000) {
        status = dari_conn_send(pair.loop, pair.client.conn, DARI_BINARY, block, sizeof block);
        sent++;
        turn_a_few(pair.loop);
    }
    CHECK(status == DARI_BUFFERED);
    CHECK(dari_conn_backlog(pair.loop, pair.client.conn) > (64 << 10));
    while (status == DARI_BUFFERED && sent < 1000) {
        status = dari_conn_send(pair.loop, pair.client.conn, DARI_BINARY, block, sizeof block);
        sent += status == DARI_BUFFERED;
    }
    CHECK(status == DARI_ERR_FULL && strstr(dari_last_error(), "dari_conn_send") != NULL);
    CHECK(!side_heard(&pair.client, 'd'));
    CHECK(dari_conn_resume(pair.loop, pair.server.conn) == DARI_OK);
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'd'));
    CHECK(dari_conn_backlog(pair.loop, pair.client.conn) <= (64 << 10));
    TURN_UNTIL(pair.loop, dari_conn_backlog(pair.loop, pair.client.conn) == 0);
    turn_a_few(pair.loop);
    CHECK(strcmp(pair.client.heard, "od") == 0);
    pair_free(&pair);
}

static void what_was_never_sent_is_counted(void) {
    static char block[64 << 10];
    struct pair pair;
    size_t backlog;
    pair_open(&pair, NULL, NULL);
    CHECK(dari_conn_pause(pair.loop, pair.server.conn) == DARI_OK);
    for (int i = 0; i < 500; i++) {
        if (dari_conn_send(pair.loop, pair.client.conn, DARI_BINARY, block, sizeof block) < 0) break;
    }
    turn_a_few(pair.loop);
    backlog = dari_conn_backlog(pair.loop, pair.client.conn);
    CHECK(backlog > sizeof block);
    CHECK(dari_conn_abort(pair.loop, pair.client.conn) == DARI_OK);
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'c'));
    CHECK(pair.client.close.unsent_bytes == backlog);
    CHECK(pair.client.close.unsent_messages >= backlog / (sizeof block + 14));
    CHECK(pair.client.close.unsent_messages <= backlog / sizeof block + 1);
    pair_free(&pair);
}

static void a_client_may_give_up_before_it_is_open(void) {
    struct pair pair;
    dari_handler_t client = side_handler(&pair.client);
    dari_conn_t conn;
    memset(&pair, 0, sizeof pair);
    pair_listen(&pair, NULL, &client);
    conn = pair_connect(&pair, NULL, &client, "/");
    CHECK(dari_conn_state(pair.loop, conn) == DARI_STATE_CONNECTING);
    CHECK_ERROR(dari_conn_send(pair.loop, conn, DARI_TEXT, "x", 1), DARI_ERR_STATE, "");
    CHECK(dari_conn_close(pair.loop, conn, 1000, NULL) == DARI_OK);
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'c'));
    CHECK(pair.client.conn.id == conn.id && pair.client.close.opened == 0);
    CHECK(pair.client.close.cause == DARI_CAUSE_LOCAL && pair.client.close.code == 1006);
    CHECK(strcmp(pair.client.heard, "c") == 0);
    pair_free(&pair);
}

static void nothing(void *user, dari_loop_t *loop, dari_timer_t timer) {
    (void)user, (void)loop, (void)timer;
}

static void nothing_ready(void *user, dari_loop_t *loop, dari_watch_t watch, uint32_t events) {
    (void)user, (void)loop, (void)watch, (void)events;
}

static void all_at_once(void *user, dari_loop_t *loop, dari_conn_t conn,
                        const dari_message_t *message) {
    struct pair *pair = user;
    const dari_handler_t quiet = {.struct_size = sizeof quiet};
    dari_listener_t listener;
    dari_remote_t *remote;
    dari_timer_t timer;
    dari_watch_t watch;
    dari_conn_t client;
    int ends[2];
    side_message(&pair->server, loop, conn, message);
    CHECK(pipe(ends) == 0);
    CHECK(dari_loop_listen(loop, "127.0.0.1:0", NULL, &quiet, &listener) == DARI_OK);
    CHECK(dari_listener_close(loop, listener) == DARI_OK);
    client = pair_connect(pair, NULL, &quiet, "/");
    CHECK(dari_conn_abort(loop, client) == DARI_OK);
    CHECK(dari_timer_new(loop, 0, 0, nothing, NULL, &timer) == DARI_OK);
    CHECK(dari_timer_cancel(loop, timer) == DARI_OK);
    CHECK(dari_watch_new(loop, ends[0], DARI_WATCH_READ, nothing_ready, NULL, &watch) == DARI_OK);
    CHECK(dari_watch_cancel(loop, watch) == DARI_OK);
    CHECK(dari_remote_new(loop, &remote) == DARI_OK);
    dari_remote_free(remote);
    CHECK(dari_loop_fd(loop) >= 0);
    CHECK(dari_loop_next(loop, conn).id != conn.id);
    CHECK(dari_conn_subscribe(loop, conn, "t") == DARI_OK);
    CHECK(dari_loop_publish(loop, "t", client, DARI_TEXT, "last", 4) == DARI_OK);
    /* The listener whose hook this is, and the connection, too. */
    CHECK(dari_listener_close(loop, pair->listener) == DARI_OK);
    CHECK(dari_conn_abort(loop, conn) == DARI_OK);
    /* The message is on loan until the hook returns, come what may. */
    CHECK(message->len == 1 && message->data[0] == '1');
    close(ends[0]);
    close(ends[1]);
}

static void server_close(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_close_t *why) {
    side_close(&((struct pair *)user)->server, loop, conn, why);
}

static void everything_else_may_be_done_inside_a_hook(void) {
    struct pair pair;
    dari_handler_t server = {.struct_size = sizeof server,
                             .user = &pair,
                             .message = all_at_once,
                             .close = server_close};
    dari_handler_t client = side_handler(&pair.client);
    memset(&pair, 0, sizeof pair);
    pair_listen(&pair, NULL, &server);
    pair.client.conn = pair_connect(&pair, NULL, &client, "/");
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'o'));
    CHECK(dari_conn_send(pair.loop, pair.client.conn, DARI_TEXT, "1", 1) == DARI_OK);
    CHECK(dari_conn_send(pair.loop, pair.client.conn, DARI_TEXT, "2", 1) == DARI_OK);
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'c'));
    CHECK(strcmp(pair.server.heard, "mc") == 0);
    CHECK(pair.server.close.cause == DARI_CAUSE_ABORT);
    pair_free(&pair);
}

static void connections_can_be_walked_while_they_go(void) {
    struct pair pair;
    const dari_handler_t quiet = {.struct_size = sizeof quiet};
    dari_conn_t conn = {0};
    int seen = 0;
    pair_open(&pair, NULL, NULL);
    for (int i = 0; i < 3; i++) pair_connect(&pair, NULL, &quiet, "/");
    TURN_UNTIL(pair.loop, pair.server.count == 4);
    while ((conn = dari_loop_next(pair.loop, conn)).id != 0 && seen < 100) {
        CHECK(dari_conn_abort(pair.loop, conn) == DARI_OK);
        if (seen++ == 3) turn_a_few(pair.loop);
    }
    CHECK(seen >= 4 && seen <= 8);
    pair_free(&pair);
}

static void peers_and_protocols_can_be_asked_for(void) {
    static const char *const spoken[] = {"v2", "v1", NULL}, *const offered[] = {"v0", "v1", NULL};
    struct pair pair;
    dari_listen_t listen = {.struct_size = sizeof listen, .protocols = spoken};
    dari_connect_t connect = {.struct_size = sizeof connect, .protocols = offered};
    dari_handler_t server = side_handler(&pair.server), client = side_handler(&pair.client);
    dari_str_t protocol;
    char text[64], small[4] = "abc";
    size_t len = 0, asked = 0;
    memset(&pair, 0, sizeof pair);
    pair_listen(&pair, &listen, &server);
    pair_connect(&pair, &connect, &client, "/");
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'o') && side_heard(&pair.server, 'o'));
    protocol = dari_conn_protocol(pair.loop, pair.client.conn);
    CHECK(protocol.len == 2 && memcmp(protocol.data, "v1", 2) == 0);
    protocol = dari_conn_protocol(pair.loop, pair.server.conn);
    CHECK(protocol.len == 2 && memcmp(protocol.data, "v1", 2) == 0);
    CHECK(dari_conn_peer(pair.loop, pair.server.conn, text, sizeof text, &len) == DARI_OK);
    CHECK(strncmp(text, "127.0.0.1:", 10) == 0 && strlen(text) == len);
    CHECK_ERROR(dari_conn_peer(pair.loop, pair.server.conn, small, sizeof small, &asked),
                DARI_ERR_TOO_BIG, "buf has 4");
    CHECK(asked == len && strcmp(small, "abc") == 0);
    CHECK(dari_conn_peer(pair.loop, pair.server.conn, NULL, 0, &asked) == DARI_ERR_TOO_BIG);
    CHECK(dari_conn_peer(pair.loop, pair.server.conn, text, len, NULL) == DARI_ERR_TOO_BIG);
    CHECK(dari_conn_peer(pair.loop, pair.server.conn, text, len + 1, NULL) == DARI_OK);
    pair_free(&pair);
}

int main(int argc, char **argv) {
    static const struct check_test tests[] = {
        TEST(open_comes_first_and_close_last),
        TEST(a_close_tells_both_sides_everything),
        TEST(an_abort_is_an_abort_here_and_an_error_there),
        TEST(a_broken_rule_is_named_with_its_place),
        TEST(a_message_over_the_limit_says_which_and_by_how_much),
        TEST(nobody_there_is_told_with_its_errno),
        TEST(closing_in_message_ends_delivery),
        TEST(messages_wait_while_paused),
        TEST(user_data_is_there_until_close),
        TEST(freeing_a_loop_says_1001_and_closes_every_id),
        TEST(buffered_is_followed_by_drain),
        TEST(what_was_never_sent_is_counted),
        TEST(a_client_may_give_up_before_it_is_open),
        TEST(everything_else_may_be_done_inside_a_hook),
        TEST(connections_can_be_walked_while_they_go),
        TEST(peers_and_protocols_can_be_asked_for),
    };
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
