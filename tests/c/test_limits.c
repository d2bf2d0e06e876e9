/* The fields of dari_limits_t: what happens when one strikes, and that it can be lifted. */
#include "pair.h"
#include "raw.h"
#include <stdlib.h>

/* A server with these limits, and a raw client of it that has shaken hands. */
static int limited(struct pair *pair, const dari_limits_t *limits, char *answer, size_t size) {
    dari_listen_t how = {.struct_size = sizeof how, .limits = limits};
    dari_handler_t server = side_handler(&pair->server);
    int fd;
    memset(pair, 0, sizeof *pair);
    pair_listen(pair, &how, &server);
    fd = raw_connect(pair->port);
    raw_send(fd, RAW_UPGRADE);
    raw_read_until(pair->loop, fd, answer, size, "\r\n\r\n");
    TURN_UNTIL(pair->loop, side_heard(&pair->server, 'o'));
    return fd;
}

static void a_handshake_that_takes_too_long_is_given_up(void) {
    struct pair pair;
    struct sockaddr_in here;
    socklen_t len = sizeof here;
    dari_limits_t limits = {.struct_size = sizeof limits, .handshake_ms = 50};
    dari_connect_t how = {.struct_size = sizeof how, .limits = &limits};
    dari_handler_t client = side_handler(&pair.client);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(&pair, 0, sizeof pair);
    memset(&here, 0, sizeof here);
    here.sin_family = AF_INET;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    /* A server that says nothing. */
    CHECK(bind(fd, (const struct sockaddr *)&here, sizeof here) == 0 && listen(fd, 1) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&here, &len) == 0);
    pair.port = ntohs(here.sin_port);
    CHECK(dari_loop_new(NULL, &pair.loop) == DARI_OK);
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
    int fd = limited(&pair, &limits, answer, sizeof answer);
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
    char answer[1024];
    int fd = limited(&pair, &limits, answer, sizeof answer);
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
    char answer[1024];
    int fd = limited(&pair, &limits, answer, sizeof answer);
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
    char answer[1024];
    int fd = limited(&pair, &limits, answer, sizeof answer);
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

static void heads_and_bodies_have_limits(void) {
    struct pair pair;
    dari_limits_t limits = {.struct_size = sizeof limits, .max_head = 100, .max_body = 10};
    dari_listen_t how = {.struct_size = sizeof how, .limits = &limits};
    dari_handler_t server = side_handler(&pair.server);
    char head[300], answer[1024];
    int fd;
    memset(&pair, 0, sizeof pair);
    pair_listen(&pair, &how, &server);
    fd = raw_connect(pair.port);
    raw_send(fd, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\nhello world");
    raw_read_until(pair.loop, fd, answer, sizeof answer, "\r\n\r\n");
    CHECK(strncmp(answer, "HTTP/1.1 413 ", 13) == 0);
    close(fd);
    snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: h\r\nX: %0200d\r\n\r\n", 1);
    fd = raw_connect(pair.port);
    raw_send(fd, head);
    raw_read_until(pair.loop, fd, answer, sizeof answer, "\r\n\r\n");
    CHECK(strncmp(answer, "HTTP/1.1 431 ", 13) == 0);
    close(fd);
    pair_free(&pair);
}

static void marks_and_the_backlog_can_be_set(void) {
    struct pair pair;
    dari_limits_t limits = {
        .struct_size = sizeof limits, .high_water = 1000, .low_water = 100, .max_backlog = 3000};
    char answer[1024];
    int fd = limited(&pair, &limits, answer, sizeof answer);
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

int main(int argc, char **argv) {
    static const struct check_test tests[] = {
        TEST(a_handshake_that_takes_too_long_is_given_up),
        TEST(silence_is_met_with_a_ping_and_then_the_end),
        TEST(a_peer_that_answers_pings_may_be_silent),
        TEST(a_close_that_is_not_answered_ends_in_time),
        TEST(a_peer_that_takes_nothing_is_too_slow),
        TEST(pings_come_at_a_limited_rate),
        TEST(heads_and_bodies_have_limits),
        TEST(marks_and_the_backlog_can_be_set),
        TEST(limits_can_be_lifted),
        TEST(a_loop_has_a_limit_of_memory),
    };
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
