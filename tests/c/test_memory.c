/* The memory of a loop: what is counted, who waits when it is short, and who goes when it is gone. */
#include "ends.h"
#include <stdlib.h>

enum { MEMORY = 1 << 20, KIB = 1 << 10 };

/* A server on a loop with so much memory. */
static void memory_listen(struct pair *pair, const dari_limits_t *limits) {
    const dari_loop_config_t config = {.struct_size = sizeof config, .max_memory = MEMORY};
    const dari_listen_t how = {.struct_size = sizeof how, .limits = limits};
    dari_handler_t server = side_handler(&pair->server);
    memset(pair, 0, sizeof *pair);
    CHECK(dari_loop_new(&config, &pair->loop) == DARI_OK);
    CHECK(dari_loop_listen(pair->loop, "127.0.0.1:0", &how, &server, &pair->listener) == DARI_OK);
    pair->port = dari_listener_port(pair->loop, pair->listener);
}

static dari_stats_t stats_of(const struct pair *pair) {
    dari_stats_t stats = {.struct_size = sizeof stats};
    CHECK(dari_loop_stats(pair->loop, &stats) == DARI_OK);
    return stats;
}

/* A stranger in the middle of a message of so many bytes. */
struct writer {
    int fd;
    dari_conn_t conn;
    size_t left;
};

static struct writer writer_join(struct pair *pair, size_t len) {
    struct writer writer = {.left = len};
    unsigned char head[14] = {0x82, 0xff};
    writer.fd = stranger_join(pair);
    writer.conn = pair->server.conn;
    for (int i = 0; i < 8; i++) head[2 + i] = (unsigned char)((uint64_t)len >> 8 * (7 - i));
    raw_bytes(writer.fd, head, sizeof head);
    return writer;
}

/* Says at most so many bytes more; how many the kernel took. */
static size_t writer_say(struct writer *writer, size_t most) {
    static const char zeros[32 * KIB];
    size_t said = 0;
    while (writer->left > 0 && said < most) {
        size_t len = most - said < sizeof zeros ? most - said : sizeof zeros;
        ssize_t n;
        if (len > writer->left) len = writer->left;
        n = send(writer->fd, zeros, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n <= 0) break;
        said += (size_t)n;
        writer->left -= (size_t)n;
    }
    return said;
}

static void messages_queues_and_compression_are_counted(void) {
    struct pair pair;
    struct writer writer;
    const dari_limits_t limits = {.struct_size = sizeof limits, .idle_ms = DARI_NEVER};
    uint64_t before, during;
    memory_listen(&pair, &limits);
    writer = writer_join(&pair, 100 * KIB);
    before = stats_of(&pair).memory;
    CHECK(before < 4 * KIB);
    writer_say(&writer, 99 * KIB);
    TURN_UNTIL(pair.loop, stats_of(&pair).memory >= 99 * KIB);
    during = stats_of(&pair).memory;
    CHECK(during < 200 * KIB);
    writer_say(&writer, KIB);
    TURN_UNTIL(pair.loop, side_heard(&pair.server, 'm'));
    turn_a_few(pair.loop);
    CHECK(stats_of(&pair).memory <= before && stats_of(&pair).memory_peak >= during);
    stranger_stuff(&pair, writer.conn, 300 * KIB);
    CHECK(stats_of(&pair).memory >= 300 * KIB);
    CHECK(dari_conn_abort(pair.loop, writer.conn) == DARI_OK);
    TURN_UNTIL(pair.loop, side_heard(&pair.server, 'c'));
    turn_a_few(pair.loop);
    CHECK(stats_of(&pair).memory == 0);
    close(writer.fd);
    pair_free(&pair);
}

static void when_it_is_short_the_largest_waits_until_there_is_room(void) {
    struct pair pair;
    struct writer large, small;
    long end;
    memory_listen(&pair, NULL);
    small = writer_join(&pair, 300 * KIB);
    large = writer_join(&pair, 700 * KIB);
    writer_say(&small, 290 * KIB);
    TURN_UNTIL(pair.loop, stats_of(&pair).memory >= 290 * KIB);
    /* It says all that it has, as far as anybody listens; and is neither listened to for ever nor closed. */
    end = check_now_ms() + 300;
    TURN_UNTIL(pair.loop, (writer_say(&large, MEMORY), check_now_ms() >= end));
    CHECK(stats_of(&pair).memory >= MEMORY / 2 && stats_of(&pair).memory <= MEMORY);
    CHECK(strcmp(pair.server.heard, "oo") == 0);
    /* The small one was not kept from going on, and makes room. */
    writer_say(&small, MEMORY);
    TURN_UNTIL(pair.loop, side_heard(&pair.server, 'm'));
    CHECK(pair.server.conn.id == small.conn.id && pair.server.len == 300 * KIB);
    TURN_UNTIL(pair.loop, (writer_say(&large, MEMORY), strcmp(pair.server.heard, "oomm") == 0));
    CHECK(pair.server.conn.id == large.conn.id && pair.server.len == 700 * KIB);
    turn_a_few(pair.loop);
    CHECK(stats_of(&pair).memory < 4 * KIB && stats_of(&pair).closes[DARI_CAUSE_MEMORY] == 0);
    close(small.fd);
    close(large.fd);
    pair_free(&pair);
}

static void when_it_is_gone_the_largest_goes_and_not_who_asks(void) {
    struct pair pair;
    struct writer large;
    static char block[32 * KIB];
    dari_conn_t slow;
    dari_status_t status = DARI_OK;
    int fd;
    memory_listen(&pair, NULL);
    large = writer_join(&pair, 700 * KIB);
    fd = stranger_join(&pair);
    slow = pair.server.conn;
    writer_say(&large, 600 * KIB);
    TURN_UNTIL(pair.loop, stats_of(&pair).memory >= 600 * KIB);
    for (int i = 0; i < 1000 && status >= 0; i++)
        status = dari_conn_send(pair.loop, slow, DARI_BINARY, block, sizeof block);
    CHECK(status == DARI_ERR_MEMORY && strstr(dari_last_error(), "memory") != NULL);
    CHECK(stats_of(&pair).memory >= MEMORY - sizeof block);
    TURN_UNTIL(pair.loop, dari_conn_state(pair.loop, large.conn) != DARI_STATE_OPEN);
    CHECK(stats_of(&pair).memory < MEMORY / 2);
    RAW_BYTES(large.fd, CLOSE_4000);
    shutdown(large.fd, SHUT_WR);
    TURN_UNTIL(pair.loop, side_heard(&pair.server, 'c'));
    CHECK(pair.server.conn.id == large.conn.id && pair.server.close.met >= MEMORY - sizeof block);
    CHECK(pair.server.close.met <= MEMORY + MEMORY / 8);
    ENDS(pair.loop, &pair.server, .cause = DARI_CAUSE_MEMORY, .by = DARI_BY_US, .sent = 1013,
         .code = pair.server.close.code, .reason = pair.server.reason, .opened = 1, .limit = MEMORY,
         .met = pair.server.close.met, .text = "bytes used, limit 1048576");
    /* The one that asked is there, and is sent to again. */
    CHECK(dari_conn_state(pair.loop, slow) == DARI_STATE_OPEN);
    CHECK(dari_conn_send(pair.loop, slow, DARI_BINARY, block, sizeof block) == DARI_BUFFERED);
    CHECK(stats_of(&pair).closes[DARI_CAUSE_MEMORY] == 1);
    close(large.fd);
    close(fd);
    pair_free(&pair);
}

static void a_message_that_needs_it_all_ends_only_its_own_connection(void) {
    struct pair pair;
    struct writer large;
    int fd;
    memory_listen(&pair, NULL);
    large = writer_join(&pair, 4 * MEMORY);
    fd = stranger_join(&pair);
    TURN_UNTIL(pair.loop, (writer_say(&large, MEMORY),
                           dari_conn_state(pair.loop, large.conn) != DARI_STATE_OPEN));
    shutdown(large.fd, SHUT_WR);
    TURN_UNTIL(pair.loop, side_heard(&pair.server, 'c'));
    CHECK(pair.server.conn.id == large.conn.id && pair.server.close.cause == DARI_CAUSE_MEMORY);
    CHECK(pair.server.close.sent_code == 1013 && pair.server.close.limit == MEMORY);
    RAW_BYTES(fd, "\x81\x82\0\0\0\0hi");
    TURN_UNTIL(pair.loop, side_heard(&pair.server, 'm'));
    close(large.fd);
    close(fd);
    pair_free(&pair);
}

int main(int argc, char **argv) {
    static const struct check_test tests[] = {
        TEST(messages_queues_and_compression_are_counted),
        TEST(when_it_is_short_the_largest_waits_until_there_is_room),
        TEST(when_it_is_gone_the_largest_goes_and_not_who_asks),
        TEST(a_message_that_needs_it_all_ends_only_its_own_connection),
    };
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
