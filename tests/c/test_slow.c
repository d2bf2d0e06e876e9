/* Peers that take too little: what is refused, closed or dropped, and what never is. */
#include "ends.h"
#include <stdlib.h>

enum { BLOCK = 16 << 10, FULL = 256 << 10, ROUNDS = 4096 };

static const dari_conn_t NOBODY = {0};

/* A server that writes down what its hook `dropped` was told, and a client that reads when it is told to. */
struct slow {
    struct pair pair;
    int fd;
    size_t drops, messages, bytes;
    size_t sent; /* Messages that were taken. */
    /* What the client has been sent, and what was found in it. */
    unsigned char *data;
    size_t len, size, at;
    uint32_t numbers[ROUNDS];
    size_t count, pings;
    unsigned code; /* Of the Close frame. */
};

static void slow_dropped(void *user, dari_loop_t *loop, dari_conn_t conn, size_t messages, size_t bytes) {
    struct slow *slow = user;
    CHECK_ERROR(dari_loop_turn(loop, 0), DARI_ERR_STATE, "inside a hook");
    CHECK(conn.id == slow->pair.server.conn.id && messages > 0 && bytes >= messages * BLOCK);
    slow->drops++;
    slow->messages += messages;
    slow->bytes += bytes;
}

static void slow_open_hook(void *user, dari_loop_t *loop, dari_conn_t conn) {
    side_open(&((struct slow *)user)->pair.server, loop, conn);
}

static void slow_error_hook(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_close_t *why) {
    side_error(&((struct slow *)user)->pair.server, loop, conn, why);
}

static void slow_close_hook(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_close_t *why) {
    side_close(&((struct slow *)user)->pair.server, loop, conn, why);
}

static void slow_open(struct slow *slow, uint32_t policy) {
    const dari_limits_t limits = {.struct_size = sizeof limits, .slow = policy, .high_water = FULL / 4,
                                  .max_backlog = FULL};
    const dari_listen_t how = {.struct_size = sizeof how, .limits = &limits};
    const dari_handler_t server = {.struct_size = sizeof server, .user = slow, .open = slow_open_hook,
                                   .error = slow_error_hook, .close = slow_close_hook,
                                   .dropped = slow_dropped};
    memset(slow, 0, sizeof *slow);
    pair_listen(&slow->pair, &how, &server);
    slow->fd = stranger_join(&slow->pair);
    CHECK(dari_conn_subscribe(slow->pair.loop, slow->pair.server.conn, "t") == DARI_OK);
}

static void slow_free(struct slow *slow) {
    close(slow->fd);
    pair_free(&slow->pair);
    free(slow->data);
}

/* The next message: a block with its number in front. */
static const unsigned char *numbered(uint32_t number) {
    static unsigned char block[BLOCK];
    memcpy(block, &number, sizeof number);
    return block;
}

static dari_status_t send_next(struct slow *slow) {
    dari_status_t status = dari_conn_send(slow->pair.loop, slow->pair.server.conn, DARI_BINARY,
                                          numbered((uint32_t)slow->sent), BLOCK);
    CHECK(dari_conn_backlog(slow->pair.loop, slow->pair.server.conn) < FULL + BLOCK + 16);
    if (status >= 0) slow->sent++;
    return status;
}

/* Sends until the queue holds as much as it may; the next message is one too many. */
static void fill(struct slow *slow) {
    for (int i = 0; i < ROUNDS && dari_conn_backlog(slow->pair.loop, slow->pair.server.conn) < FULL; i++)
        CHECK(send_next(slow) >= 0);
    CHECK(dari_conn_backlog(slow->pair.loop, slow->pair.server.conn) >= FULL);
    CHECK(slow->drops == 0);
}

/* Takes what the client has been sent, and the frames in it. */
static void take(struct slow *slow) {
    ssize_t n;
    do {
        if (slow->size - slow->len < BLOCK) {
            slow->size = 2 * slow->size + 4 * BLOCK;
            slow->data = realloc(slow->data, slow->size);
            CHECK(slow->data != NULL);
        }
        n = recv(slow->fd, slow->data + slow->len, slow->size - slow->len, MSG_DONTWAIT);
        if (n > 0) slow->len += (size_t)n;
    } while (n > 0);
    for (;;) {
        const unsigned char *frame = slow->data + slow->at;
        size_t have = slow->len - slow->at, head = 2, len;
        if (have < head) return;
        if (frame[1] >= 126) head = frame[1] == 126 ? 4 : 10;
        if (have < head) return;
        len = head == 2 ? frame[1] : 0;
        for (size_t i = 2; i < head; i++) len = len << 8 | frame[i];
        if (have < head + len) return;
        CHECK(slow->code == 0);
        if (frame[0] == 0x82 && slow->count < ROUNDS) memcpy(&slow->numbers[slow->count++], frame + head, 4);
        if (frame[0] == 0x89) slow->pings++;
        if (frame[0] == 0x88) slow->code = (unsigned)frame[head] << 8 | frame[head + 1];
        slow->at += head + len;
    }
}

static void take_all(struct slow *slow) {
    TURN_UNTIL(slow->pair.loop,
               (take(slow), dari_conn_backlog(slow->pair.loop, slow->pair.server.conn) == 0));
    turn_a_few(slow->pair.loop);
    take(slow);
    CHECK(slow->at == slow->len);
}

static uint64_t dropped(const struct slow *slow) {
    dari_stats_t stats = {.struct_size = sizeof stats};
    CHECK(dari_loop_stats(slow->pair.loop, &stats) == DARI_OK);
    return stats.dropped;
}

static void refuse_is_the_default(void) {
    static struct slow slow;
    slow_open(&slow, DARI_SLOW_REFUSE);
    fill(&slow);
    CHECK_ERROR(dari_conn_send(slow.pair.loop, slow.pair.server.conn, DARI_BINARY, "", 0), DARI_ERR_FULL,
                "full");
    turn_a_few(slow.pair.loop);
    CHECK(slow.drops == 0 && dropped(&slow) == 0);
    /* Whoever is published to is not asked: the hook says so, at the end of the turn. */
    for (int i = 0; i < 3; i++)
        CHECK(dari_loop_publish(slow.pair.loop, "t", NOBODY, DARI_BINARY, numbered(9999), BLOCK) == DARI_OK);
    CHECK(slow.drops == 0);
    TURN_UNTIL(slow.pair.loop, slow.messages == 3);
    CHECK(slow.drops == 1 && dropped(&slow) == 3);
    /* What was taken arrives, and then there is room again. */
    take_all(&slow);
    CHECK(slow.count == slow.sent);
    for (size_t i = 0; i < slow.count; i++) CHECK(slow.numbers[i] == i);
    CHECK(send_next(&slow) == DARI_OK);
    CHECK(strcmp(slow.pair.server.heard, "o") == 0);
    slow_free(&slow);
}

/* What the policy `close` does, by a send or by something that is published. */
static void closes(int publishes, int answers) {
    static struct slow slow;
    size_t queued;
    slow_open(&slow, DARI_SLOW_CLOSE);
    fill(&slow);
    queued = dari_conn_backlog(slow.pair.loop, slow.pair.server.conn);
    if (publishes)
        CHECK(dari_loop_publish(slow.pair.loop, "t", NOBODY, DARI_BINARY, numbered(9999), BLOCK) == DARI_OK);
    else
        CHECK_ERROR(dari_conn_send(slow.pair.loop, slow.pair.server.conn, DARI_BINARY, "", 0), DARI_ERR_FULL,
                    "closed");
    CHECK(dari_conn_state(slow.pair.loop, slow.pair.server.conn) == DARI_STATE_CLOSING);
    CHECK(dari_conn_backlog(slow.pair.loop, slow.pair.server.conn) < queued);
    CHECK_ERROR(dari_conn_send(slow.pair.loop, slow.pair.server.conn, DARI_BINARY, "", 0), DARI_ERR_STATE, "");
    CHECK_ERROR(dari_conn_close(slow.pair.loop, slow.pair.server.conn, 1000, NULL), DARI_ERR_STATE, "");
    /* What had begun comes whole, what had not does not come, and the code says why. */
    TURN_UNTIL(slow.pair.loop, (take(&slow), slow.code != 0));
    CHECK(slow.code == 1013 && slow.count < slow.sent);
    for (size_t i = 0; i < slow.count; i++) CHECK(slow.numbers[i] == i);
    if (answers) RAW_BYTES(slow.fd, CLOSE_4000);
    shutdown(slow.fd, SHUT_WR);
    TURN_UNTIL(slow.pair.loop, side_heard(&slow.pair.server, 'c'));
    CHECK(slow.pair.server.close.unsent_messages == slow.sent - slow.count);
    ENDS(slow.pair.loop, &slow.pair.server, .cause = DARI_CAUSE_SLOW_PEER, .by = DARI_BY_US, .sent = 1013,
         .code = answers ? 4000 : 1006, .reason = answers ? "bye" : NULL, .opened = 1, .limit = FULL,
         .met = queued, .unsent = 1, .text = "bytes queued, limit 262144");
    slow_free(&slow);
}

static void close_says_1013_and_drops_what_has_not_begun(void) {
    closes(0, 0);
    closes(0, 1);
}

static void close_strikes_who_is_published_to(void) {
    closes(1, 1);
}

static void close_ends_who_reads_nothing_at_all(void) {
    static struct slow slow;
    const dari_limits_t limits = {.struct_size = sizeof limits, .slow = DARI_SLOW_CLOSE, .max_backlog = 1,
                                  .close_ms = 100};
    int fd = stranger_open(&slow.pair, &limits);
    stranger_stuff(&slow.pair, slow.pair.server.conn, 1);
    CHECK(dari_conn_send(slow.pair.loop, slow.pair.server.conn, DARI_BINARY, "", 0) == DARI_ERR_FULL);
    TURN_UNTIL(slow.pair.loop, side_heard(&slow.pair.server, 'c'));
    CHECK(slow.pair.server.close.cause == DARI_CAUSE_SLOW_PEER && slow.pair.server.close.code == 1006);
    CHECK(slow.pair.server.close.limit == 1 && slow.pair.server.close.met > 1);
    close(fd);
    pair_free(&slow.pair);
}

static void drops_the_oldest(int publishes) {
    static struct slow slow;
    size_t gap = 0, last;
    slow_open(&slow, DARI_SLOW_DROP_OLDEST);
    fill(&slow);
    last = slow.sent + 100;
    while (slow.sent < last && !publishes)
        if (send_next(&slow) != DARI_BUFFERED) break;
    for (; slow.sent < last && publishes; slow.sent++)
        CHECK(dari_loop_publish(slow.pair.loop, "t", NOBODY, DARI_BINARY, numbered((uint32_t)slow.sent),
                                BLOCK) == DARI_OK);
    CHECK(slow.sent == last && slow.drops == 0);
    CHECK(dari_conn_backlog(slow.pair.loop, slow.pair.server.conn) < FULL + BLOCK + 16);
    TURN_UNTIL(slow.pair.loop, slow.drops > 0);
    CHECK(slow.drops == 1 && slow.messages > 50 && dropped(&slow) == slow.messages);
    take_all(&slow);
    /* Those that were quick enough, one gap, and the newest. */
    CHECK(slow.count == slow.sent - slow.messages && slow.numbers[slow.count - 1] == slow.sent - 1);
    for (size_t i = 1; i < slow.count; i++) {
        CHECK(slow.numbers[i] > slow.numbers[i - 1]);
        gap += slow.numbers[i] != slow.numbers[i - 1] + 1;
    }
    CHECK(slow.numbers[0] == 0 && gap == 1);
    CHECK(strcmp(slow.pair.server.heard, "o") == 0);
    slow_free(&slow);
}

static void drop_oldest_keeps_the_newest(void) {
    drops_the_oldest(0);
}

static void drop_oldest_keeps_the_newest_that_is_published(void) {
    drops_the_oldest(1);
}

static void what_has_begun_is_never_dropped(void) {
    static struct slow slow;
    static char huge[16 << 20];
    const dari_kind_t kind = DARI_BINARY;
    dari_conn_t conn;
    slow_open(&slow, DARI_SLOW_DROP_OLDEST);
    conn = slow.pair.server.conn;
    CHECK(dari_conn_send(slow.pair.loop, conn, kind, huge, sizeof huge) == DARI_BUFFERED);
    CHECK_ERROR(dari_conn_send(slow.pair.loop, conn, kind, "", 0), DARI_ERR_FULL, "full");
    take_all(&slow);
    /* Nor are parts, begun or not. */
    CHECK(dari_conn_send_part(slow.pair.loop, conn, kind, huge, sizeof huge, 0) == DARI_BUFFERED);
    CHECK_ERROR(dari_conn_send_part(slow.pair.loop, conn, kind, "", 0, 1), DARI_ERR_FULL, "full");
    take_all(&slow);
    CHECK(dari_conn_send_part(slow.pair.loop, conn, kind, "", 0, 1) >= 0);
    turn_a_few(slow.pair.loop);
    CHECK(slow.drops == 0 && dropped(&slow) == 0);
    slow_free(&slow);
}

static void drop_oldest_and_takeover_exclude_each_other(void) {
    const dari_limits_t both = {.struct_size = sizeof both, .slow = DARI_SLOW_DROP_OLDEST,
                                .deflate = DARI_DEFLATE_TAKEOVER};
    const dari_limits_t none = {.struct_size = sizeof none, .slow = 3};
    const dari_handler_t quiet = {.struct_size = sizeof quiet};
    dari_listen_t listen = {.struct_size = sizeof listen, .limits = &both};
    dari_connect_t connect = {.struct_size = sizeof connect, .limits = &both};
    dari_loop_t *loop;
    CHECK(dari_loop_new(NULL, &loop) == DARI_OK);
    CHECK_ERROR(dari_loop_listen(loop, "127.0.0.1:0", &listen, &quiet, NULL), DARI_ERR_ARGUMENT, "takeover");
    CHECK_ERROR(dari_loop_connect(loop, "ws://127.0.0.1:1/", &connect, &quiet, NULL), DARI_ERR_ARGUMENT,
                "takeover");
    listen.limits = connect.limits = &none;
    CHECK_ERROR(dari_loop_listen(loop, "127.0.0.1:0", &listen, &quiet, NULL), DARI_ERR_ARGUMENT, "slow");
    CHECK_ERROR(dari_loop_connect(loop, "ws://127.0.0.1:1/", &connect, &quiet, NULL), DARI_ERR_ARGUMENT,
                "slow");
    CHECK(dari_loop_free(loop) == DARI_OK);
}

/* Under each policy a ping goes out though no message does, but not without end; so does the Close
 * frame. */
static void control_frames_have_a_bound_of_their_own(void) {
    static const uint32_t policies[] = {DARI_SLOW_REFUSE, DARI_SLOW_CLOSE, DARI_SLOW_DROP_OLDEST};
    static const char payload[125];
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
        static struct slow slow;
        dari_status_t status = DARI_OK;
        size_t pings = 0;
        slow_open(&slow, policies[i]);
        fill(&slow);
        for (; pings < 100000 && status >= 0; pings += status >= 0)
            status = dari_conn_ping(slow.pair.loop, slow.pair.server.conn, payload, sizeof payload);
        CHECK_ERROR(dari_conn_ping(slow.pair.loop, slow.pair.server.conn, payload, sizeof payload),
                    DARI_ERR_FULL, "full");
        CHECK(pings * 127 > (64 << 10) - BLOCK - 256);
        CHECK(dari_conn_backlog(slow.pair.loop, slow.pair.server.conn) <= FULL + (64 << 10) + 127);
        CHECK(dari_conn_state(slow.pair.loop, slow.pair.server.conn) == DARI_STATE_OPEN);
        CHECK(dari_conn_close(slow.pair.loop, slow.pair.server.conn, 1000, NULL) == DARI_OK);
        TURN_UNTIL(slow.pair.loop, (take(&slow), slow.code != 0));
        CHECK(slow.code == 1000 && slow.pings == pings && slow.count == slow.sent);
        CHECK(slow.drops == 0);
        slow_free(&slow);
    }
}

static void nothing_is_taken_once_a_close_is_decided(void) {
    static struct slow slow;
    dari_payload_t *payload;
    dari_conn_t conn;
    slow_open(&slow, DARI_SLOW_REFUSE);
    conn = slow.pair.server.conn;
    CHECK(dari_payload_new(DARI_TEXT, "x", 1, &payload) == DARI_OK);
    CHECK(dari_conn_close(slow.pair.loop, conn, 1000, NULL) == DARI_OK);
    for (int turned = 0; turned < 2; turned++) {
        CHECK_ERROR(dari_conn_send(slow.pair.loop, conn, DARI_TEXT, "x", 1), DARI_ERR_STATE, "clos");
        CHECK_ERROR(dari_conn_send_part(slow.pair.loop, conn, DARI_TEXT, "x", 1, 0), DARI_ERR_STATE, "clos");
        CHECK_ERROR(dari_conn_send_payload(slow.pair.loop, conn, payload), DARI_ERR_STATE, "clos");
        CHECK_ERROR(dari_conn_ping(slow.pair.loop, conn, "x", 1), DARI_ERR_STATE, "clos");
        CHECK_ERROR(dari_conn_close(slow.pair.loop, conn, 1000, NULL), DARI_ERR_STATE, "clos");
        CHECK(dari_loop_publish(slow.pair.loop, "t", NOBODY, DARI_TEXT, "x", 1) == DARI_OK);
        turn_a_few(slow.pair.loop);
    }
    TURN_UNTIL(slow.pair.loop, (take(&slow), slow.code == 1000));
    CHECK(slow.at == slow.len && slow.count == 0 && slow.pings == 0 && slow.drops == 0);
    dari_payload_free(payload);
    slow_free(&slow);
}

int main(int argc, char **argv) {
    static const struct check_test tests[] = {
        TEST(refuse_is_the_default),
        TEST(close_says_1013_and_drops_what_has_not_begun),
        TEST(close_strikes_who_is_published_to),
        TEST(close_ends_who_reads_nothing_at_all),
        TEST(drop_oldest_keeps_the_newest),
        TEST(drop_oldest_keeps_the_newest_that_is_published),
        TEST(what_has_begun_is_never_dropped),
        TEST(drop_oldest_and_takeover_exclude_each_other),
        TEST(control_frames_have_a_bound_of_their_own),
        TEST(nothing_is_taken_once_a_close_is_decided),
    };
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
