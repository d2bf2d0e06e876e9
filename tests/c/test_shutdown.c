/* Shutting a loop down in order: what peers are told, what is waited for, and for how long. */
#include "ends.h"
#include <errno.h>
#include <poll.h>

/* What `done` was told, and how much had been heard by then. */
struct ending {
    struct pair *pair;
    int calls;
    size_t aborted, heard;
};

static void on_done(void *user, dari_loop_t *loop, size_t aborted) {
    struct ending *ending = user;
    CHECK_ERROR(dari_loop_turn(loop, 0), DARI_ERR_STATE, "inside a hook");
    CHECK(dari_loop_next(loop, (dari_conn_t){0}).id == 0);
    ending->calls++;
    ending->aborted = aborted;
    ending->heard = ending->pair->server.count;
}

static void shut_down(struct pair *pair, struct ending *ending, uint32_t spread_ms, uint32_t grace_ms) {
    memset(ending, 0, sizeof *ending);
    ending->pair = pair;
    CHECK(dari_loop_shutdown(pair->loop, spread_ms, grace_ms, on_done, ending) == DARI_OK);
    /* Hooks run in turns alone. */
    CHECK(ending->calls == 0);
}

/* Whether the last of what the stranger has been sent is a Close frame with 1001. */
static int is_told(int fd, char *buf, size_t size, size_t *len) {
    static const char code[] = "\x03\xe9";
    raw_take(fd, buf, size, len);
    for (size_t at = 0; at + 4 <= *len; at++)
        if ((unsigned char)buf[at] == 0x88 && at + 2 + (unsigned char)buf[at + 1] == *len)
            if (memcmp(buf + at + 2, code, 2) == 0) return 1;
    return 0;
}

static void who_answers_ends_in_order(void) {
    struct pair pair;
    struct ending ending;
    char got[64];
    size_t len = 0;
    int fd = stranger_open(&pair, NULL);
    shut_down(&pair, &ending, 0, CHECK_DEADLINE_MS);
    TURN_UNTIL(pair.loop, is_told(fd, got, sizeof got, &len));
    CHECK(ending.calls == 0);
    RAW_BYTES(fd, CLOSE_4000);
    ENDS(pair.loop, &pair.server, .cause = DARI_CAUSE_SHUTDOWN, .by = DARI_BY_US, .code = 4000, .sent = 1001,
         .clean = 1, .opened = 1, .reason = "bye", .text = "we sent 1001");
    TURN_UNTIL(pair.loop, ending.calls > 0);
    CHECK(ending.aborted == 0 && ending.heard == 2);
    turn_a_few(pair.loop);
    CHECK(ending.calls == 1);
    close(fd);
    pair_free(&pair);
    CHECK(ending.calls == 1);
}

static void who_does_not_answer_is_dropped_and_counted(void) {
    struct pair pair;
    struct ending ending;
    int silent[2], good;
    char got[64];
    size_t len = 0;
    silent[0] = stranger_open(&pair, NULL);
    silent[1] = stranger_join(&pair);
    good = stranger_join(&pair);
    shut_down(&pair, &ending, 0, 300);
    TURN_UNTIL(pair.loop, is_told(good, got, sizeof got, &len));
    RAW_BYTES(good, CLOSE_4000);
    TURN_UNTIL(pair.loop, ending.calls > 0);
    CHECK(ending.calls == 1 && ending.aborted == 2);
    /* `done` came after every `close`. */
    CHECK(strcmp(pair.server.heard, "oooccc") == 0 && ending.heard == 6);
    ENDS(pair.loop, &pair.server, .cause = DARI_CAUSE_SHUTDOWN, .by = DARI_BY_US, .code = 1006, .sent = 1001,
         .opened = 1);
    for (int i = 0; i < 2; i++) close(silent[i]);
    close(good);
    pair_free(&pair);
}

static void both_ends_of_a_loop_are_told(void) {
    struct pair pair;
    struct ending ending;
    pair_open(&pair, NULL, NULL);
    shut_down(&pair, &ending, 0, CHECK_DEADLINE_MS);
    TURN_UNTIL(pair.loop, ending.calls > 0);
    CHECK(ending.aborted == 0);
    ENDS(pair.loop, &pair.server, .cause = DARI_CAUSE_SHUTDOWN, .by = DARI_BY_US, .code = 1001, .sent = 1001,
         .clean = 1, .opened = 1, .reason = "going away");
    ENDS(pair.loop, &pair.client, .cause = DARI_CAUSE_SHUTDOWN, .by = DARI_BY_US, .code = 1001, .sent = 1001,
         .clean = 1, .opened = 1, .reason = "going away");
    pair_free(&pair);
}

static void nobody_is_let_in_any_more(void) {
    struct pair pair;
    struct ending ending;
    struct sockaddr_in to;
    const dari_handler_t quiet = {.struct_size = sizeof quiet};
    int fd = stranger_open(&pair, NULL), late = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t len = sizeof to;
    char url[64];
    CHECK(getpeername(fd, (struct sockaddr *)&to, &len) == 0);
    snprintf(url, sizeof url, "ws://127.0.0.1:%u/", (unsigned)pair.port);
    shut_down(&pair, &ending, 0, CHECK_DEADLINE_MS);
    CHECK(connect(late, (const struct sockaddr *)&to, sizeof to) < 0 && errno == ECONNREFUSED);
    CHECK(dari_listener_port(pair.loop, pair.listener) == 0);
    CHECK_ERROR(dari_loop_listen(pair.loop, "127.0.0.1:0", NULL, &quiet, NULL), DARI_ERR_STATE, "shut");
    CHECK_ERROR(dari_loop_connect(pair.loop, url, NULL, &quiet, NULL), DARI_ERR_STATE, "shut");
    CHECK_ERROR(dari_loop_shutdown(pair.loop, 0, 0, on_done, &ending), DARI_ERR_STATE, "shut");
    close(fd);
    close(late);
    TURN_UNTIL(pair.loop, ending.calls > 0);
    turn_a_few(pair.loop);
    CHECK(ending.calls == 1);
    /* It is over for good. */
    CHECK_ERROR(dari_loop_listen(pair.loop, "127.0.0.1:0", NULL, &quiet, NULL), DARI_ERR_STATE, "shut");
    CHECK_ERROR(dari_loop_shutdown(pair.loop, 0, 0, on_done, &ending), DARI_ERR_STATE, "shut");
    pair_free(&pair);
}

static void new_requests_are_answered_503(void) {
    struct pair pair;
    struct ending ending;
    char answer[1024];
    int fd = stranger_open(&pair, NULL), plain = raw_connect(pair.port), upgrade = raw_connect(pair.port);
    raw_send(plain, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    raw_read_until(pair.loop, plain, answer, sizeof answer, "HTTP/1.1 426 ");
    raw_send(upgrade, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    raw_read_until(pair.loop, upgrade, answer, sizeof answer, "HTTP/1.1 426 ");
    turn_a_few(pair.loop);
    shut_down(&pair, &ending, 0, CHECK_DEADLINE_MS);
    raw_send(plain, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    raw_send(upgrade, RAW_UPGRADE);
    raw_read_all(pair.loop, plain, answer, sizeof answer);
    CHECK(strstr(answer, "HTTP/1.1 503 ") != NULL && strstr(answer, "Connection: close\r\n") != NULL);
    raw_read_all(pair.loop, upgrade, answer, sizeof answer);
    CHECK(strstr(answer, "HTTP/1.1 503 ") != NULL && strstr(answer, " 101 ") == NULL);
    close(plain);
    close(upgrade);
    CHECK(ending.calls == 0);
    close(fd);
    TURN_UNTIL(pair.loop, ending.calls > 0);
    CHECK(ending.aborted == 0);
    pair_free(&pair);
}

static void an_idle_kept_connection_keeps_nobody_waiting(void) {
    struct pair pair;
    struct ending ending;
    char answer[1024];
    const dari_handler_t quiet = {.struct_size = sizeof quiet};
    int plain, unfinished;
    long begin;
    memset(&pair, 0, sizeof pair);
    pair_listen(&pair, NULL, &quiet);
    plain = raw_connect(pair.port);
    unfinished = raw_connect(pair.port);
    raw_send(plain, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    raw_read_until(pair.loop, plain, answer, sizeof answer, "HTTP/1.1 426 ");
    raw_send(unfinished, "GET / HT");
    turn_a_few(pair.loop);
    begin = check_now_ms();
    shut_down(&pair, &ending, 0, 200);
    TURN_UNTIL(pair.loop, ending.calls > 0);
    CHECK(check_now_ms() - begin < CHECK_DEADLINE_MS / 4);
    close(plain);
    close(unfinished);
    pair_free(&pair);
}

static void the_goodbyes_can_be_spread(void) {
    enum { PEERS = 5, SPREAD_MS = 400 };
    struct pair pair;
    struct ending ending;
    int fds[PEERS];
    size_t lens[PEERS] = {0};
    char got[PEERS][64];
    long begin, told[PEERS] = {0}, first = CHECK_DEADLINE_MS, last = 0;
    fds[0] = stranger_open(&pair, NULL);
    for (int i = 1; i < PEERS; i++) fds[i] = stranger_join(&pair);
    begin = check_now_ms();
    shut_down(&pair, &ending, SPREAD_MS, CHECK_DEADLINE_MS);
    for (int left = PEERS; left > 0 && check_now_ms() - begin < CHECK_DEADLINE_MS;) {
        dari_loop_turn(pair.loop, 5);
        for (int i = 0; i < PEERS; i++)
            if (told[i] == 0 && is_told(fds[i], got[i], sizeof got[i], &lens[i])) {
                told[i] = check_now_ms() - begin + 1;
                left--;
                RAW_BYTES(fds[i], CLOSE_4000);
            }
    }
    TURN_UNTIL(pair.loop, ending.calls > 0);
    for (int i = 0; i < PEERS; i++) {
        CHECK(told[i] > 0);
        first = told[i] < first ? told[i] : first;
        last = told[i] > last ? told[i] : last;
        /* No two at the same time, but for what a busy machine puts together. */
        for (int j = 0; j < i; j++) CHECK(told[i] != told[j] || last > 2 * SPREAD_MS);
    }
    CHECK(first < SPREAD_MS / 2 && last - first > SPREAD_MS / 2);
    CHECK(ending.aborted == 0);
    for (int i = 0; i < PEERS; i++) close(fds[i]);
    pair_free(&pair);
}

/* Forgets all but the last bytes, if there are more than `most`. */
static size_t keep_end(char *buf, size_t len, size_t most) {
    enum { END = 64 };
    if (len <= most) return len;
    memmove(buf, buf + len - END, END);
    return END;
}

static void what_is_queued_is_sent_first(void) {
    static char got[1 << 16];
    struct pair pair;
    struct ending ending;
    int fd = stranger_open(&pair, NULL), over = 0;
    size_t backlog, len = 0;
    stranger_stuff(&pair, pair.server.conn, 1 << 20);
    shut_down(&pair, &ending, 0, CHECK_DEADLINE_MS);
    turn_a_few(pair.loop);
    backlog = dari_conn_backlog(pair.loop, pair.server.conn);
    CHECK(backlog >= 1 << 20 && ending.calls == 0);
    CHECK_ERROR(dari_conn_send(pair.loop, pair.server.conn, DARI_TEXT, "x", 1), DARI_ERR_STATE, "");
    TURN_UNTIL(pair.loop, (len = keep_end(got, len, sizeof got / 2),
                           over = is_told(fd, got, sizeof got, &len) &&
                                  dari_conn_backlog(pair.loop, pair.server.conn) == 0));
    CHECK(over);
    RAW_BYTES(fd, CLOSE_4000);
    ENDS(pair.loop, &pair.server, .cause = DARI_CAUSE_SHUTDOWN, .by = DARI_BY_US, .code = 4000, .sent = 1001,
         .clean = 1, .opened = 1, .reason = "bye");
    TURN_UNTIL(pair.loop, ending.calls > 0);
    CHECK(ending.aborted == 0);
    close(fd);
    pair_free(&pair);
}

static void what_could_not_be_sent_is_counted(void) {
    struct pair pair;
    struct ending ending;
    int fd = stranger_open(&pair, NULL);
    stranger_stuff(&pair, pair.server.conn, 1 << 20);
    shut_down(&pair, &ending, 0, 50);
    TURN_UNTIL(pair.loop, ending.calls > 0);
    CHECK(ending.aborted == 1 && pair.server.close.unsent_bytes >= 1 << 20);
    CHECK(pair.server.close.cause == DARI_CAUSE_SHUTDOWN && pair.server.close.was_clean == 0);
    close(fd);
    pair_free(&pair);
}

static void an_empty_loop_is_done_at_once_and_run_returns(void) {
    struct pair pair;
    struct ending ending;
    memset(&pair, 0, sizeof pair);
    CHECK(dari_loop_new(NULL, &pair.loop) == DARI_OK);
    shut_down(&pair, &ending, 1000, DARI_NEVER);
    CHECK(dari_loop_run(pair.loop) == DARI_OK);
    CHECK(ending.calls == 1 && ending.aborted == 0);
    pair_free(&pair);
    /* Nobody need ask for the end. */
    CHECK(dari_loop_new(NULL, &pair.loop) == DARI_OK);
    CHECK(dari_loop_shutdown(pair.loop, 0, 0, NULL, NULL) == DARI_OK);
    CHECK(dari_loop_run(pair.loop) == DARI_OK);
    pair_free(&pair);
}

static void shut_down_in_message(void *user, dari_loop_t *loop, dari_conn_t conn,
                                 const dari_message_t *message) {
    struct ending *ending = user;
    side_message(&ending->pair->server, loop, conn, message);
    CHECK(dari_conn_send(loop, conn, DARI_TEXT, "last", 4) == DARI_OK);
    if (message->data[0] == '1') shut_down(ending->pair, ending, 0, 50);
    CHECK_ERROR(dari_loop_shutdown(loop, 0, 0, NULL, NULL), DARI_ERR_STATE, "shut");
}

static void note_open(void *user, dari_loop_t *loop, dari_conn_t conn) {
    side_open(&((struct ending *)user)->pair->server, loop, conn);
}

static void note_close(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_close_t *why) {
    side_close(&((struct ending *)user)->pair->server, loop, conn, why);
}

static void a_hook_may_begin_it_and_run_returns(void) {
    struct pair pair;
    struct ending ending = {.pair = &pair};
    const dari_handler_t server = {.struct_size = sizeof server, .user = &ending, .open = note_open,
                                   .message = shut_down_in_message, .close = note_close};
    char got[64];
    size_t len = 0;
    int fd;
    memset(&pair, 0, sizeof pair);
    pair_listen(&pair, NULL, &server);
    fd = stranger_join(&pair);
    RAW_BYTES(fd, "\x81\x81\0\0\0\0" "1\x81\x81\0\0\0\0" "2");
    CHECK(dari_loop_run(pair.loop) == DARI_OK);
    CHECK(ending.calls == 1 && ending.aborted == 1);
    /* What was read together with the first message is delivered and answered before the end. */
    CHECK(strcmp(pair.server.heard, "ommc") == 0);
    CHECK(is_told(fd, got, sizeof got, &len) && memcmp(got, "\x81\4last\x81\4last\x88", 13) == 0);
    close(fd);
    pair_free(&pair);
}

static void it_needs_no_more_than_the_descriptor_of_the_loop(void) {
    struct pair pair;
    struct ending ending;
    long end = check_now_ms() + CHECK_DEADLINE_MS;
    int fd = stranger_open(&pair, NULL);
    struct pollfd dari = {.fd = dari_loop_fd(pair.loop), .events = POLLIN};
    shut_down(&pair, &ending, 20, 50);
    while (ending.calls == 0 && check_now_ms() < end)
        if (poll(&dari, 1, 1000) > 0) CHECK(dari_loop_turn(pair.loop, 0) == DARI_OK);
    CHECK(ending.calls == 1 && ending.aborted == 1);
    close(fd);
    pair_free(&pair);
}

static void a_loop_that_is_freed_meanwhile_closes_every_id(void) {
    struct pair pair;
    struct ending ending;
    int fds[2];
    fds[0] = stranger_open(&pair, NULL);
    fds[1] = stranger_join(&pair);
    shut_down(&pair, &ending, 10000, DARI_NEVER);
    turn_a_few(pair.loop);
    pair_free(&pair);
    CHECK(strcmp(pair.server.heard, "oocc") == 0 && pair.server.close.cause == DARI_CAUSE_SHUTDOWN);
    CHECK(ending.calls <= 1);
    for (int i = 0; i < 2; i++) close(fds[i]);
}

int main(int argc, char **argv) {
    static const struct check_test tests[] = {
        TEST(who_answers_ends_in_order),
        TEST(who_does_not_answer_is_dropped_and_counted),
        TEST(both_ends_of_a_loop_are_told),
        TEST(nobody_is_let_in_any_more),
        TEST(new_requests_are_answered_503),
        TEST(an_idle_kept_connection_keeps_nobody_waiting),
        TEST(the_goodbyes_can_be_spread),
        TEST(what_is_queued_is_sent_first),
        TEST(what_could_not_be_sent_is_counted),
        TEST(an_empty_loop_is_done_at_once_and_run_returns),
        TEST(a_hook_may_begin_it_and_run_returns),
        TEST(it_needs_no_more_than_the_descriptor_of_the_loop),
        TEST(a_loop_that_is_freed_meanwhile_closes_every_id),
    };
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
