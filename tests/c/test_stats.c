/* What a loop has seen: its counters, and the ends that it remembers. */
#include "ends.h"

static dari_stats_t stats_of(const dari_loop_t *loop) {
    dari_stats_t stats = {.struct_size = sizeof stats};
    CHECK(dari_loop_stats(loop, &stats) == DARI_OK);
    return stats;
}

static void a_life_is_counted(void) {
    struct pair pair;
    char answer[1024];
    int fd;
    CHECK(dari_loop_new(NULL, &pair.loop) == DARI_OK);
    CHECK(stats_of(pair.loop).accepted == 0 && stats_of(pair.loop).memory == 0);
    CHECK(dari_loop_free(pair.loop) == DARI_OK);

    pair_open(&pair, NULL, NULL);
    CHECK(stats_of(pair.loop).accepted == 1 && stats_of(pair.loop).dialled == 1);
    CHECK(stats_of(pair.loop).open == 2 && stats_of(pair.loop).opened == 2);
    for (int i = 0; i < 3; i++)
        CHECK(dari_conn_send(pair.loop, pair.client.conn, DARI_TEXT, "m", 1) == DARI_OK);
    CHECK(dari_conn_send_part(pair.loop, pair.client.conn, DARI_TEXT, "m", 1, 0) == DARI_OK);
    CHECK(dari_conn_send_part(pair.loop, pair.client.conn, DARI_TEXT, "m", 1, 1) == DARI_OK);
    CHECK(dari_conn_ping(pair.loop, pair.client.conn, "p", 1) == DARI_OK);
    CHECK(dari_conn_subscribe(pair.loop, pair.server.conn, "t") == DARI_OK);
    CHECK(dari_loop_publish(pair.loop, "t", (dari_conn_t){0}, DARI_TEXT, "m", 1) == DARI_OK);
    TURN_UNTIL(pair.loop, strcmp(pair.server.heard, "ommmm") == 0 && strlen(pair.client.heard) == 3);
    /* A message in parts is one, and control frames are none. */
    CHECK(stats_of(pair.loop).messages_out == 5 && stats_of(pair.loop).messages_in == 5);
    CHECK(stats_of(pair.loop).requests == 0);
    fd = raw_connect(pair.port);
    for (uint64_t i = 1; i <= 2; i++) {
        raw_send(fd, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        raw_read_until(pair.loop, fd, answer, sizeof answer, "\r\n\r\n");
        CHECK(stats_of(pair.loop).requests == i);
    }
    close(fd);
    CHECK(dari_conn_close(pair.loop, pair.client.conn, 1000, NULL) == DARI_OK);
    TURN_UNTIL(pair.loop, stats_of(pair.loop).open == 0);
    CHECK(stats_of(pair.loop).accepted == 2 && stats_of(pair.loop).opened == 2);
    CHECK(stats_of(pair.loop).closes[DARI_CAUSE_LOCAL] >= 1 && stats_of(pair.loop).closes[0] == 0);
    pair_free(&pair);
}

/* Connections that ended before they had an id: what they said, and what they count as. */
static void those_whom_nobody_heard_of_are_counted(void) {
    static const struct {
        const char *text;
        dari_cause_t cause;
    } cases[] = {{"GET / HTTP/1.1\r\n\r\n", DARI_CAUSE_PROTOCOL},
                 {"GET /long HTTP/1.1\r\nHost: h\r\n\r\n", DARI_CAUSE_LIMIT},
                 {"GET / HT", DARI_CAUSE_EOF},
                 {"", DARI_CAUSE_PEER},
                 {NULL, DARI_CAUSE_HANDSHAKE_TIMEOUT}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const dari_limits_t limits = {.struct_size = sizeof limits, .handshake_ms = 100, .max_target = 4};
        const dari_listen_t how = {.struct_size = sizeof how, .limits = &limits};
        dari_stats_t stats = {.struct_size = sizeof stats};
        dari_past_t past = {.struct_size = sizeof past};
        struct pair pair;
        dari_handler_t server = side_handler(&pair.server);
        uint64_t all = 0;
        int fd;
        memset(&pair, 0, sizeof pair);
        pair_listen(&pair, &how, &server);
        fd = raw_connect(pair.port);
        if (cases[i].text != NULL) raw_send(fd, cases[i].text);
        if (cases[i].text != NULL) shutdown(fd, SHUT_WR);
        TURN_UNTIL(pair.loop, (dari_loop_stats(pair.loop, &stats), stats.closes[cases[i].cause] == 1));
        for (size_t cause = 0; cause < CAUSES; cause++) all += stats.closes[cause];
        if (all != 1) fprintf(stderr, "    that was \"%s\"\n", dari_cause_text(cases[i].cause));
        CHECK(all == 1 && pair.server.count == 0 && stats.accepted == 1 && stats.opened == 0);
        CHECK_ERROR(dari_loop_past(pair.loop, 0, &past), DARI_ERR_ARGUMENT, "");
        close(fd);
        pair_free(&pair);
    }
}

enum { REMEMBERED = 1000, MORE = 5 };

static struct {
    uint64_t ids[REMEMBERED + MORE];
    size_t count;
} ended;

static void note_end(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_close_t *why) {
    dari_past_t past = {.struct_size = sizeof past};
    (void)user;
    CHECK(why->cause == DARI_CAUSE_ABORT && ended.count < REMEMBERED + MORE);
    if (ended.count < REMEMBERED + MORE) ended.ids[ended.count++] = conn.id;
    /* What is remembered may be asked for here, too. */
    CHECK(dari_loop_past(loop, REMEMBERED, &past) == DARI_ERR_ARGUMENT);
}

static void the_last_thousand_are_remembered_the_latest_first(void) {
    const dari_handler_t client = {.struct_size = sizeof client, .close = note_end};
    dari_stats_t stats = {.struct_size = sizeof stats};
    dari_past_t past = {.struct_size = sizeof past};
    struct pair pair;
    int listener;
    memset(&pair, 0, sizeof pair);
    CHECK(dari_loop_new(NULL, &pair.loop) == DARI_OK);
    listener = stranger_listens(&pair.port);
    CHECK_ERROR(dari_loop_past(pair.loop, 0, &past), DARI_ERR_ARGUMENT, "");
    for (size_t i = 1; i <= REMEMBERED + MORE; i++) {
        CHECK(dari_conn_abort(pair.loop, pair_connect(&pair, NULL, &client, "/")) == DARI_OK);
        TURN_UNTIL(pair.loop, ended.count == i);
        if (i == 1) CHECK_ERROR(dari_loop_past(pair.loop, 1, &past), DARI_ERR_ARGUMENT, "");
    }
    for (size_t nth = 0; nth < REMEMBERED; nth++) {
        CHECK(dari_loop_past(pair.loop, nth, &past) == DARI_OK);
        CHECK(past.conn.id == ended.ids[REMEMBERED + MORE - 1 - nth]);
    }
    CHECK_ERROR(dari_loop_past(pair.loop, REMEMBERED, &past), DARI_ERR_ARGUMENT, "");
    CHECK_ERROR(dari_loop_past(pair.loop, SIZE_MAX, &past), DARI_ERR_ARGUMENT, "");
    CHECK(dari_loop_stats(pair.loop, &stats) == DARI_OK);
    CHECK(stats.closes[DARI_CAUSE_ABORT] == REMEMBERED + MORE && stats.dialled == REMEMBERED + MORE);
    close(listener);
    pair_free(&pair);
}

int main(int argc, char **argv) {
    static const struct check_test tests[] = {
        TEST(a_life_is_counted),
        TEST(those_whom_nobody_heard_of_are_counted),
        TEST(the_last_thousand_are_remembered_the_latest_first),
    };
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
