/* The loop inside a program's own poll: its one descriptor says all there is to say. */
#include "pair.h"
#include <poll.h>

/* Waits as a host would, on the descriptor alone, and turns when it is readable. */
static void host_turn(dari_loop_t *loop) {
    struct pollfd dari = {.fd = dari_loop_fd(loop), .events = POLLIN};
    CHECK(dari.fd >= 0);
    if (poll(&dari, 1, 1000) > 0) CHECK(dari_loop_turn(loop, 0) == DARI_OK);
}

#define HOST_UNTIL(loop, condition)                                                                \
    do {                                                                                           \
        long host_end = check_now_ms() + CHECK_DEADLINE_MS;                                        \
        while (!(condition) && check_now_ms() < host_end) host_turn(loop);                         \
        CHECK(condition);                                                                          \
    } while (0)

/* Whether the descriptor is readable within so many milliseconds. */
static int readable(dari_loop_t *loop, int ms) {
    struct pollfd dari = {.fd = dari_loop_fd(loop), .events = POLLIN};
    return poll(&dari, 1, ms) > 0;
}

static void at_rest(dari_loop_t *loop) {
    long end = check_now_ms() + CHECK_DEADLINE_MS;
    while (readable(loop, 20) && check_now_ms() < end) dari_loop_turn(loop, 0);
    CHECK(!readable(loop, 0));
}

static void count(void *user, dari_loop_t *loop, dari_timer_t timer) {
    int *fired = user;
    (void)loop, (void)timer;
    (*fired)++;
}

static void the_descriptor_stays_the_same(void) {
    dari_loop_t *loop;
    CHECK(dari_loop_new(NULL, &loop) == DARI_OK);
    CHECK(dari_loop_fd(loop) >= 0);
    CHECK(dari_loop_fd(loop) == dari_loop_fd(loop));
    at_rest(loop);
    CHECK(dari_loop_free(loop) == DARI_OK);
}

static void timers_make_it_readable(void) {
    dari_loop_t *loop;
    dari_timer_t timer;
    int fired = 0, repeated = 0;
    CHECK(dari_loop_new(NULL, &loop) == DARI_OK);
    at_rest(loop);
    CHECK(dari_timer_new(loop, 30, 0, count, &fired, NULL) == DARI_OK);
    CHECK(dari_loop_timeout(loop) <= 30);
    HOST_UNTIL(loop, fired == 1);
    CHECK(dari_timer_new(loop, 0, 5, count, &repeated, &timer) == DARI_OK);
    HOST_UNTIL(loop, repeated >= 3);
    CHECK(dari_timer_cancel(loop, timer) == DARI_OK);
    at_rest(loop);
    CHECK(fired == 1);
    CHECK(dari_loop_free(loop) == DARI_OK);
}

static void a_timer_that_comes_before_the_others_is_noticed(void) {
    dari_loop_t *loop;
    int late = 0, soon = 0;
    CHECK(dari_loop_new(NULL, &loop) == DARI_OK);
    CHECK(dari_timer_new(loop, 3600000, 0, count, &late, NULL) == DARI_OK);
    at_rest(loop);
    CHECK(dari_timer_new(loop, 20, 0, count, &soon, NULL) == DARI_OK);
    HOST_UNTIL(loop, soon == 1);
    CHECK(late == 0);
    CHECK(dari_loop_free(loop) == DARI_OK);
}

static void sends_between_turns_are_not_forgotten(void) {
    struct pair pair;
    pair_open(&pair, NULL, NULL);
    at_rest(pair.loop);
    CHECK(dari_conn_send(pair.loop, pair.client.conn, DARI_TEXT, "now", 3) == DARI_OK);
    HOST_UNTIL(pair.loop, side_heard(&pair.server, 'm'));
    CHECK(strcmp(pair.server.text, "now") == 0);
    at_rest(pair.loop);
    CHECK(dari_conn_close(pair.loop, pair.client.conn, 1000, NULL) == DARI_OK);
    HOST_UNTIL(pair.loop, side_heard(&pair.server, 'c') && side_heard(&pair.client, 'c'));
    pair_free(&pair);
}

static void connecting_and_aborting_between_turns_are_not_forgotten(void) {
    struct pair pair;
    dari_handler_t server = side_handler(&pair.server), client = side_handler(&pair.client);
    memset(&pair, 0, sizeof pair);
    pair_listen(&pair, NULL, &server);
    at_rest(pair.loop);
    pair_connect(&pair, NULL, &client, "/");
    HOST_UNTIL(pair.loop, side_heard(&pair.server, 'o') && side_heard(&pair.client, 'o'));
    at_rest(pair.loop);
    CHECK(dari_conn_abort(pair.loop, pair.server.conn) == DARI_OK);
    HOST_UNTIL(pair.loop, side_heard(&pair.server, 'c') && side_heard(&pair.client, 'c'));
    pair_free(&pair);
}

static void work_that_a_turn_leaves_over_is_not_forgotten(void) {
    /* More than a turn's worth of messages, all there at once. */
    enum { MESSAGES = 5000 };
    static const char block[100] = "x";
    struct pair pair;
    size_t before;
    int counted = 0;
    pair_open(&pair, NULL, NULL);
    before = pair.server.count;
    CHECK(dari_conn_pause(pair.loop, pair.server.conn) == DARI_OK);
    for (int i = 0; i < MESSAGES; i++)
        counted += dari_conn_send(pair.loop, pair.client.conn, DARI_BINARY, block, sizeof block) >= 0;
    CHECK(counted == MESSAGES);
    at_rest(pair.loop);
    CHECK(pair.server.count == before);
    CHECK(dari_conn_resume(pair.loop, pair.server.conn) == DARI_OK);
    CHECK(dari_conn_send(pair.loop, pair.client.conn, DARI_TEXT, "last", 4) >= 0);
    HOST_UNTIL(pair.loop, pair.server.kind == DARI_TEXT);
    CHECK(strcmp(pair.server.text, "last") == 0);
    at_rest(pair.loop);
    pair_free(&pair);
}

static void pause_once(void *user, dari_loop_t *loop, dari_conn_t conn,
                       const dari_message_t *message) {
    side_message(user, loop, conn, message);
    if (((struct side *)user)->count == 2) CHECK(dari_conn_pause(loop, conn) == DARI_OK);
}

static void what_waited_in_a_paused_connection_is_not_forgotten(void) {
    struct pair pair;
    dari_handler_t server = side_handler(&pair.server);
    server.message = pause_once;
    pair_open(&pair, &server, NULL);
    for (int i = 0; i < 10; i++)
        CHECK(dari_conn_send(pair.loop, pair.client.conn, DARI_TEXT, "m", 1) == DARI_OK);
    HOST_UNTIL(pair.loop, pair.server.count == 2);
    at_rest(pair.loop);
    CHECK(pair.server.count == 2);
    /* No packet comes any more: only the descriptor can say that there is work. */
    CHECK(dari_conn_resume(pair.loop, pair.server.conn) == DARI_OK);
    HOST_UNTIL(pair.loop, pair.server.count == 11);
    pair_free(&pair);
}

int main(int argc, char **argv) {
    static const struct check_test tests[] = {
        TEST(the_descriptor_stays_the_same),
        TEST(timers_make_it_readable),
        TEST(a_timer_that_comes_before_the_others_is_noticed),
        TEST(sends_between_turns_are_not_forgotten),
        TEST(connecting_and_aborting_between_turns_are_not_forgotten),
        TEST(work_that_a_turn_leaves_over_is_not_forgotten),
        TEST(what_waited_in_a_paused_connection_is_not_forgotten),
    };
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
