/* The fields of dari_limits_t: what happens when one strikes, and that it can be lifted. */
#include "stranger.h"
#include <stddef.h>
#include <stdlib.h>

static void a_handshake_that_takes_too_long_is_given_up(void) {
    struct pair pair;
    dari_limits_t limits = {.struct_size = sizeof limits, .handshake_ms = 50};
    dari_connect_t how = {.struct_size = sizeof how, .limits = &limits};
    dari_handler_t client = side_handler(&pair.client);
    int fd;
    memset(&pair, 0, sizeof pair);
    CHECK(dari_loop_new(NULL, &pair.loop) == DARI_OK);
    /* A server that says nothing. */
    fd = stranger_listens(&pair.port);
    pair_connect(&pair, &how, &client, "/");
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'c'));
    CHECK(strcmp(pair.client.heard, "ec") == 0);
    CHECK(pair.client.close.cause == DARI_CAUSE_HANDSHAKE_TIMEOUT && pair.client.close.opened == 0);
    CHECK(pair.client.close.by == DARI_BY_US && pair.client.close.limit == 50);
    pair_free(&pair);
    close(fd);
}

static void silence_is_met_with_a_ping_and_then_the_end(void) {
    struct pair pair;
    dari_limits_t limits = {.struct_size = sizeof limits, .idle_ms = 50};
    char answer[1024];
    size_t len = 0;
    int fd = stranger_open(&pair, &limits);
    TURN_UNTIL(pair.loop, side_heard(&pair.server, 'c'));
    CHECK(strcmp(pair.server.heard, "oec") == 0);
    CHECK(pair.server.close.cause == DARI_CAUSE_IDLE_TIMEOUT && pair.server.close.code == 1006);
    CHECK(pair.server.close.sent_code == 1001);
    raw_take(fd, answer, sizeof answer, &len);
    CHECK(len > 2 && (unsigned char)answer[0] == 0x89);
    close(fd);
    pair_free(&pair);
}

static void a_peer_that_answers_pings_may_be_silent(void) {
    struct pair pair;
    dari_limits_t limits = {.struct_size = sizeof limits, .idle_ms = 100};
    dari_listen_t how = {.struct_size = sizeof how, .limits = &limits};
    dari_handler_t server = side_handler(&pair.server), client = side_handler(&pair.client);
    long end;
    memset(&pair, 0, sizeof pair);
    pair_listen(&pair, &how, &server);
    pair_connect(&pair, NULL, &client, "/");
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'o') && side_heard(&pair.server, 'o'));
    end = check_now_ms() + 500;
    TURN_UNTIL(pair.loop, check_now_ms() >= end);
    CHECK(strcmp(pair.client.heard, "o") == 0);
    /* The answers to the keepalive's pings are told, too. */
    CHECK(strncmp(pair.server.heard, "op", 2) == 0 && pair.server.len == 0);
    CHECK(!side_heard(&pair.server, 'e') && !side_heard(&pair.server, 'c'));
    pair_free(&pair);
}

static void a_close_that_is_not_answered_ends_in_time(void) {
    struct pair pair;
    dari_limits_t limits = {.struct_size = sizeof limits, .close_ms = 50};
    int fd = stranger_open(&pair, &limits);
    CHECK(dari_conn_close(pair.loop, pair.server.conn, 1000, "bye") == DARI_OK);
    TURN_UNTIL(pair.loop, side_heard(&pair.server, 'c'));
    CHECK(strcmp(pair.server.heard, "oec") == 0);
    CHECK(pair.server.close.cause == DARI_CAUSE_CLOSE_TIMEOUT && pair.server.close.was_clean == 0);
    CHECK(pair.server.close.sent_code == 1000 && pair.server.close.code == 1006);
    close(fd);
    pair_free(&pair);
}

static void a_peer_that_takes_nothing_is_too_slow(void) {
    static char block[64 << 10];
    struct pair pair;
    dari_limits_t limits = {.struct_size = sizeof limits, .stall_ms = 100, .idle_ms = DARI_NEVER};
    int fd = stranger_open(&pair, &limits);
    for (int i = 0; i < 1000; i++)
        if (dari_conn_send(pair.loop, pair.server.conn, DARI_BINARY, block, sizeof block) < 0) break;
    TURN_UNTIL(pair.loop, side_heard(&pair.server, 'c'));
    CHECK(strcmp(pair.server.heard, "oec") == 0);
    CHECK(pair.server.close.cause == DARI_CAUSE_SLOW_PEER);
    CHECK(pair.server.close.unsent_bytes > 0 && pair.server.close.unsent_messages > 0);
    close(fd);
    pair_free(&pair);
}

static void pings_come_at_a_limited_rate(void) {
    static const char pings[] = "\x89\x80kkkk\x89\x80kkkk\x89\x80kkkk\x89\x80kkkk";
    struct pair pair;
    dari_limits_t limits = {.struct_size = sizeof limits, .max_controls = 3};
    int fd = stranger_open(&pair, &limits);
    raw_send(fd, pings);
    TURN_UNTIL(pair.loop, dari_conn_state(pair.loop, pair.server.conn) != DARI_STATE_OPEN);
    shutdown(fd, SHUT_WR);
    TURN_UNTIL(pair.loop, side_heard(&pair.server, 'c'));
    CHECK(strcmp(pair.server.heard, "oec") == 0);
    CHECK(pair.server.close.cause == DARI_CAUSE_LIMIT && pair.server.close.sent_code == 1008);
    CHECK(pair.server.close.limit == 3 && pair.server.close.met == 4);
    close(fd);
    pair_free(&pair);
}

#define GET "GET / HTTP/1.1\r\nHost: h\r\n"

static void requests_have_limits_and_each_its_own_status(void) {
    static const struct {
        dari_limits_t limits;
        const char *request, *more;
        int status;
    } cases[] = {
        {{.max_body = 10}, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n", "0123456789", 426},
        {{.max_body = 10}, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n", "0123456789a", 413},
        {{.max_body = 10}, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
         "6\r\nabcdef\r\n5\r\nghijk\r\n0\r\n\r\n", 413},
        {{.max_head = 48}, GET "A: 6789012345678901\r\n\r\n", "", 426},
        {{.max_head = 48}, GET "A: 67890123456789012\r\n\r\n", "", 431},
        {{.max_headers = 4}, GET, "A: 1\r\nA: 2\r\nA: 3\r\n\r\n", 426},
        {{.max_headers = 3}, GET, "A: 1\r\nA: 2\r\nA: 3\r\n\r\n", 431},
        {{.max_target = 4}, "GET /123 HTTP/1.1\r\nHost: h\r\n\r\n", "", 426},
        {{.max_target = 4}, "GET /1234 HTTP/1.1\r\nHost: h\r\n\r\n", "", 414},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dari_limits_t limits = cases[i].limits;
        dari_listen_t how = {.struct_size = sizeof how, .limits = &limits};
        dari_stats_t stats = {.struct_size = sizeof stats};
        struct pair pair;
        dari_handler_t server = side_handler(&pair.server);
        char answer[1024];
        int fd, before = check_failures;
        limits.struct_size = sizeof limits;
        memset(&pair, 0, sizeof pair);
        pair_listen(&pair, &how, &server);
        fd = raw_connect(pair.port);
        raw_send(fd, cases[i].request);
        raw_send(fd, cases[i].more);
        raw_read_until(pair.loop, fd, answer, sizeof answer, "\r\n\r\n");
        CHECK(strncmp(answer, "HTTP/1.1 ", 9) == 0 && atoi(answer + 9) == cases[i].status);
        if (cases[i].status != 426) {
            /* That was the last answer, and a limit is what it counts as. */
            raw_read_all(pair.loop, fd, answer, sizeof answer);
            shutdown(fd, SHUT_WR);
            TURN_UNTIL(pair.loop, (dari_loop_stats(pair.loop, &stats), stats.closes[DARI_CAUSE_LIMIT] == 1));
        }
        if (check_failures > before) fprintf(stderr, "    that was case %d\n", (int)i);
        close(fd);
        pair_free(&pair);
    }
}

static void a_connection_is_kept_for_another_request_for_a_time(void) {
    struct pair pair;
    dari_limits_t limits = {.struct_size = sizeof limits, .keep_alive_ms = 200};
    dari_listen_t how = {.struct_size = sizeof how, .limits = &limits};
    dari_handler_t server = side_handler(&pair.server);
    char answer[1024];
    long begin;
    int fd;
    memset(&pair, 0, sizeof pair);
    pair_listen(&pair, &how, &server);
    fd = raw_connect(pair.port);
    for (int i = 0; i < 2; i++) {
        raw_send(fd, GET "\r\n");
        raw_read_until(pair.loop, fd, answer, sizeof answer, "\r\n\r\n");
    }
    begin = check_now_ms();
    raw_read_all(pair.loop, fd, answer, sizeof answer);
    CHECK(check_now_ms() - begin >= 150 && check_now_ms() - begin < 5000);
    close(fd);
    TURN_UNTIL(pair.loop, side_heard(&pair.server, 'c'));
    CHECK(strcmp(pair.server.heard, "c") == 0 && pair.server.close.cause == DARI_CAUSE_LOCAL);
    pair_free(&pair);
}

static void dripping_does_not_extend_a_handshake(void) {
    struct pair pair;
    dari_limits_t limits = {.struct_size = sizeof limits, .handshake_ms = 200};
    dari_listen_t how = {.struct_size = sizeof how, .limits = &limits};
    dari_stats_t stats = {.struct_size = sizeof stats};
    dari_handler_t server = side_handler(&pair.server);
    const char *drip = RAW_UPGRADE;
    long begin;
    int fd;
    memset(&pair, 0, sizeof pair);
    pair_listen(&pair, &how, &server);
    fd = raw_connect(pair.port);
    begin = check_now_ms();
    /* A byte every 10 ms. */
    TURN_UNTIL(pair.loop, (drip += check_now_ms() - begin >= 10 * (drip - RAW_UPGRADE) &&
                                   send(fd, drip, *drip != '\0', MSG_NOSIGNAL) == 1,
                           dari_loop_stats(pair.loop, &stats), stats.closes[DARI_CAUSE_HANDSHAKE_TIMEOUT] == 1));
    CHECK(check_now_ms() - begin < 5000 && drip > RAW_UPGRADE + 2 && *drip != '\0');
    CHECK(pair.server.count == 0);
    close(fd);
    pair_free(&pair);
}

static void marks_and_the_backlog_can_be_set(void) {
    struct pair pair;
    dari_limits_t limits = {
        .struct_size = sizeof limits, .high_water = 1000, .low_water = 100, .max_backlog = 3000};
    int fd = stranger_open(&pair, &limits);
    static char block[1 << 20];
    dari_status_t status = DARI_OK;
    /* Fill the kernel's buffers first. */
    for (int i = 0; i < 100 && status == DARI_OK; i++)
        status = dari_conn_send(pair.loop, pair.server.conn, DARI_BINARY, block, sizeof block);
    CHECK(status == DARI_BUFFERED);
    CHECK_ERROR(dari_conn_send(pair.loop, pair.server.conn, DARI_BINARY, block, 1), DARI_ERR_FULL,
                "full");
    CHECK(!side_heard(&pair.server, 'd'));
    for (long end = check_now_ms() + CHECK_DEADLINE_MS;
         !side_heard(&pair.server, 'd') && check_now_ms() < end;) {
        while (recv(fd, block, sizeof block, MSG_DONTWAIT) > 0) continue;
        dari_loop_turn(pair.loop, 1);
    }
    CHECK(side_heard(&pair.server, 'd'));
    CHECK(dari_conn_backlog(pair.loop, pair.server.conn) <= 100);
    close(fd);
    pair_free(&pair);
}

static void limits_can_be_lifted(void) {
    /* One more than the default. */
    const size_t len = (16 << 20) + 1;
    struct pair pair;
    dari_limits_t limits = {.struct_size = sizeof limits, .max_message = DARI_UNLIMITED};
    dari_listen_t how = {.struct_size = sizeof how, .limits = &limits};
    dari_handler_t server = side_handler(&pair.server), client = side_handler(&pair.client);
    char *data = calloc(1, len);
    memset(&pair, 0, sizeof pair);
    pair_listen(&pair, &how, &server);
    pair_connect(&pair, NULL, &client, "/");
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'o'));
    CHECK(data != NULL);
    CHECK(dari_conn_send(pair.loop, pair.client.conn, DARI_BINARY, data, len) >= 0);
    TURN_UNTIL(pair.loop, side_heard(&pair.server, 'm'));
    CHECK(pair.server.len == len);
    free(data);
    pair_free(&pair);
}

static void a_loop_has_a_limit_of_memory(void) {
    const dari_loop_config_t config = {.struct_size = sizeof config, .max_memory = 64 << 10};
    static char block[1 << 20];
    struct pair pair;
    dari_handler_t server = side_handler(&pair.server), client = side_handler(&pair.client);
    dari_loop_t *other;
    memset(&pair, 0, sizeof pair);
    CHECK(dari_loop_new(&config, &pair.loop) == DARI_OK);
    CHECK(dari_loop_listen(pair.loop, "127.0.0.1:0", NULL, &server, &pair.listener) == DARI_OK);
    pair.port = dari_listener_port(pair.loop, pair.listener);
    /* The client has a loop of its own, without that limit. */
    CHECK(dari_loop_new(NULL, &other) == DARI_OK);
    {
        struct pair far = pair;
        far.loop = other;
        pair_connect(&far, NULL, &client, "/");
    }
    TURN_UNTIL(pair.loop, dari_loop_turn(other, 1) == DARI_OK && side_heard(&pair.client, 'o'));
    CHECK(dari_conn_send(other, pair.client.conn, DARI_BINARY, block, sizeof block) >= 0);
    TURN_UNTIL(pair.loop, dari_loop_turn(other, 1) == DARI_OK && side_heard(&pair.client, 'c') &&
                              side_heard(&pair.server, 'c'));
    CHECK(pair.server.close.cause == DARI_CAUSE_MEMORY && pair.server.close.sent_code == 1013);
    CHECK(dari_loop_free(other) == DARI_OK);
    pair_free(&pair);
}

static void count_message(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
    (void)loop, (void)conn, (void)message;
    ((struct side *)user)->count++;
}

/* A loop of this kind, and peers that have said `count` messages each, in one go. */
static void eager(struct pair *pair, dari_loop_config_t config, int *fds, size_t peers, size_t count) {
    static char said[64 << 10];
    dari_handler_t server = side_handler(&pair->server);
    memset(pair, 0, sizeof *pair);
    config.struct_size = sizeof config;
    server.message = count_message;
    CHECK(dari_loop_new(&config, &pair->loop) == DARI_OK);
    CHECK(dari_loop_listen(pair->loop, "127.0.0.1:0", NULL, &server, &pair->listener) == DARI_OK);
    pair->port = dari_listener_port(pair->loop, pair->listener);
    for (size_t i = 0; i < peers; i++) fds[i] = stranger_join(pair);
    turn_a_few(pair->loop);
    pair->server.count = 0;
    for (size_t i = 0; i < count; i++) memcpy(said + 8 * i, "\x81\x82\0\0\0\0hi", 8);
    for (size_t i = 0; i < peers; i++) raw_bytes(fds[i], said, 8 * count);
}

static void a_turn_has_a_share_for_each(void) {
    enum { MESSAGES = 8000, SHARE = (16 << 10) / 8 };
    struct pair pair;
    int fd;
    size_t before = 0, most = 0;
    /* Less than 16 KiB is as much. */
    eager(&pair, (dari_loop_config_t){.max_read = 1}, &fd, 1, MESSAGES);
    for (int turn = 0; turn < 1000 && pair.server.count < MESSAGES; turn++) {
        CHECK(dari_loop_turn(pair.loop, 10) == DARI_OK);
        if (pair.server.count - before > most) most = pair.server.count - before;
        before = pair.server.count;
    }
    CHECK(pair.server.count == MESSAGES && most >= SHARE && most <= 2 * SHARE);
    close(fd);
    pair_free(&pair);
}

static void a_turn_has_a_number_of_events(void) {
    struct pair pair;
    int fds[3];
    size_t turns = 0;
    eager(&pair, (dari_loop_config_t){.max_events = 1}, fds, 3, 1);
    TURN_UNTIL(pair.loop, (turns++, pair.server.count == 3));
    CHECK(turns > 3);
    for (int i = 0; i < 3; i++) close(fds[i]);
    pair_free(&pair);
}

/* ------------------------------------------------------------------- Lifting them */

/* Brings a peer to where a time runs, and returns its socket. */
typedef int (*wait_begins)(struct pair *pair);

static int wait_for_request(struct pair *pair) {
    int fd = raw_connect(pair->port);
    raw_send(fd, "GET / HT");
    return fd;
}

static int wait_for_words(struct pair *pair) {
    return stranger_join(pair);
}

static int wait_for_answer(struct pair *pair) {
    int fd = stranger_join(pair);
    CHECK(dari_conn_close(pair->loop, pair->server.conn, 1000, NULL) == DARI_OK);
    return fd;
}

static int wait_for_room(struct pair *pair) {
    int fd = stranger_join(pair);
    stranger_stuff(pair, pair->server.conn, 1);
    return fd;
}

static int wait_for_next_request(struct pair *pair) {
    char answer[512];
    int fd = raw_connect(pair->port);
    raw_send(fd, GET "\r\n");
    raw_read_until(pair->loop, fd, answer, sizeof answer, "HTTP/1.1 426 ");
    return fd;
}

static const struct {
    const char *name;
    size_t at;
    wait_begins begin;
} TIMES[] = {
    {"handshake_ms", offsetof(dari_limits_t, handshake_ms), wait_for_request},
    {"idle_ms", offsetof(dari_limits_t, idle_ms), wait_for_words},
    {"close_ms", offsetof(dari_limits_t, close_ms), wait_for_answer},
    {"stall_ms", offsetof(dari_limits_t, stall_ms), wait_for_room},
    {"keep_alive_ms", offsetof(dari_limits_t, keep_alive_ms), wait_for_next_request},
};
enum { TIME_COUNT = sizeof TIMES / sizeof TIMES[0], HOUR_MS = 3600000 };

static void set_time(dari_limits_t *limits, size_t nth, uint32_t ms) {
    memcpy((char *)limits + TIMES[nth].at, &ms, sizeof ms);
}

/* A loop on which a time runs has something to do some day, and one on which it does not has not. */
static void a_time_that_is_lifted_never_comes(void) {
    for (size_t nth = 0; nth < TIME_COUNT; nth++)
        for (int is_lifted = 0; is_lifted < 2; is_lifted++) {
            struct pair pair;
            dari_limits_t limits = {.struct_size = sizeof limits};
            const dari_listen_t how = {.struct_size = sizeof how, .limits = &limits};
            dari_handler_t server = side_handler(&pair.server);
            int before = check_failures, fd;
            for (size_t i = 0; i < TIME_COUNT; i++) set_time(&limits, i, DARI_NEVER);
            if (!is_lifted) set_time(&limits, nth, HOUR_MS);
            memset(&pair, 0, sizeof pair);
            pair_listen(&pair, &how, &server);
            fd = TIMES[nth].begin(&pair);
            turn_a_few(pair.loop);
            /* What else there is to do, giving buffers back for instance, is soon done. */
            TURN_UNTIL(pair.loop, is_lifted ? dari_loop_timeout(pair.loop) == DARI_NEVER
                                            : dari_loop_timeout(pair.loop) > HOUR_MS / 2);
            CHECK(is_lifted || dari_loop_timeout(pair.loop) <= HOUR_MS);
            CHECK(!side_heard(&pair.server, 'c'));
            if (check_failures > before) fprintf(stderr, "    that was %s, %d\n", TIMES[nth].name, is_lifted);
            close(fd);
            pair_free(&pair);
        }
}

/* Says as much of it as there is room for now, and returns how much that was. */
static size_t say_some(int fd, const char *bytes, size_t len) {
    ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    return n > 0 ? (size_t)n : 0;
}

/* A request that is over a default, with and without that limit. */
static void each_limit_of_requests_can_be_lifted(void) {
    enum { LONG = (1 << 20) + 1 };
    static const struct {
        dari_limits_t lifted;
        const char *before, *after;
        size_t len;
        int status;
    } cases[] = {
        {{.max_head = DARI_UNLIMITED}, GET "A: ", "\r\n\r\n", 16 << 10, 431},
        {{.max_target = DARI_UNLIMITED}, "GET /", " HTTP/1.1\r\nHost: h\r\n\r\n", 8 << 10, 414},
        {{.max_body = DARI_UNLIMITED}, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1048577\r\n\r\n", "", LONG, 413},
    };
    static char filler[LONG];
    memset(filler, 'x', sizeof filler);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int is_lifted = 0; is_lifted < 2; is_lifted++) {
            struct pair pair;
            dari_limits_t limits = {.struct_size = sizeof limits};
            const dari_listen_t how = {.struct_size = sizeof how, .limits = &limits};
            dari_handler_t server = side_handler(&pair.server);
            char answer[1024];
            size_t at = 0, len = 0;
            int fd, before = check_failures;
            if (is_lifted) limits = cases[i].lifted;
            limits.struct_size = sizeof limits;
            memset(&pair, 0, sizeof pair);
            pair_listen(&pair, &how, &server);
            fd = raw_connect(pair.port);
            raw_send(fd, cases[i].before);
            /* Whoever is refused need not be heard to the end. */
            TURN_UNTIL(pair.loop, (at += say_some(fd, filler, cases[i].len - at),
                                   raw_take(fd, answer, sizeof answer, &len), len > 0 || at == cases[i].len));
            if (len == 0) raw_send(fd, cases[i].after);
            TURN_UNTIL(pair.loop, (raw_take(fd, answer, sizeof answer, &len), len > 12));
            CHECK(atoi(answer + 9) == (is_lifted ? 426 : cases[i].status));
            if (check_failures > before) fprintf(stderr, "    that was case %d, %d\n", (int)i, is_lifted);
            close(fd);
            pair_free(&pair);
        }
}

static void the_numbers_of_frames_can_be_lifted(void) {
    enum { EMPTY = 1001, PONGS = 250001 };
    const dari_limits_t lifted = {
        .struct_size = sizeof lifted, .max_empty_fragments = UINT32_MAX, .max_controls = UINT32_MAX};
    static char frames[6 * PONGS];
    for (int is_lifted = 0; is_lifted < 2; is_lifted++) {
        struct pair pair;
        int fd = stranger_open(&pair, is_lifted ? &lifted : NULL);
        for (size_t i = 0; i < EMPTY; i++) memcpy(frames + 6 * i, i == 0 ? "\x01\x80\0\0\0\0" : "\x00\x80\0\0\0\0", 6);
        raw_bytes(fd, frames, 6 * (size_t)EMPTY);
        RAW_BYTES(fd, "\x80\x82\0\0\0\0hi");
        if (is_lifted)
            TURN_UNTIL(pair.loop, side_heard(&pair.server, 'm'));
        else
            TURN_UNTIL(pair.loop, dari_conn_state(pair.loop, pair.server.conn) != DARI_STATE_OPEN);
        if (is_lifted) {
            /* All of them in one second, or in more: there is no limit in either case. */
            for (size_t i = 0; i < PONGS; i++) memcpy(frames + 6 * i, "\x8a\x80\0\0\0\0", 6);
            for (size_t at = 0; at < sizeof frames; at += 6 * 2500) {
                raw_bytes(fd, frames + at, sizeof frames - at < 6 * 2500 ? sizeof frames - at : 6 * 2500);
                dari_loop_turn(pair.loop, 0);
            }
            RAW_BYTES(fd, "\x81\x83\0\0\0\0" "end");
            TURN_UNTIL(pair.loop, pair.server.len == 3 || side_heard(&pair.server, 'c'));
            CHECK(!side_heard(&pair.server, 'c') && strcmp(pair.server.text, "end") == 0);
        }
        close(fd);
        pair_free(&pair);
    }
}

static void marks_and_the_backlog_can_be_lifted(void) {
    enum { BLOCK = 1 << 20 };
    static char block[BLOCK];
    const dari_limits_t lifted = {
        .struct_size = sizeof lifted, .high_water = DARI_UNLIMITED, .max_backlog = DARI_UNLIMITED};
    struct pair pair;
    int fd = stranger_open(&pair, &lifted);
    for (int i = 0; i < 32; i++)
        CHECK(dari_conn_send(pair.loop, pair.server.conn, DARI_BINARY, block, sizeof block) == DARI_OK);
    CHECK(dari_conn_backlog(pair.loop, pair.server.conn) > 5 * BLOCK);
    close(fd);
    pair_free(&pair);
}

int main(int argc, char **argv) {
    static const struct check_test tests[] = {
        TEST(a_handshake_that_takes_too_long_is_given_up),
        TEST(silence_is_met_with_a_ping_and_then_the_end),
        TEST(a_peer_that_answers_pings_may_be_silent),
        TEST(a_close_that_is_not_answered_ends_in_time),
        TEST(a_peer_that_takes_nothing_is_too_slow),
        TEST(pings_come_at_a_limited_rate),
        TEST(requests_have_limits_and_each_its_own_status),
        TEST(a_connection_is_kept_for_another_request_for_a_time),
        TEST(dripping_does_not_extend_a_handshake),
        TEST(marks_and_the_backlog_can_be_set),
        TEST(limits_can_be_lifted),
        TEST(a_time_that_is_lifted_never_comes),
        TEST(each_limit_of_requests_can_be_lifted),
        TEST(the_numbers_of_frames_can_be_lifted),
        TEST(marks_and_the_backlog_can_be_lifted),
        TEST(a_loop_has_a_limit_of_memory),
        TEST(a_turn_has_a_share_for_each),
        TEST(a_turn_has_a_number_of_events),
    };
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
