/* Arguments at their edges: data and text that end with their page, and lengths that are none. */
#include "guard.h"
#include "parcel.h"

static const dari_conn_t NOBODY = {0};

/* Both ends, each of which puts together what it gets. */
struct ends {
    struct pair pair;
    struct parcel server, client;
};

static void ends_open(struct ends *ends, const dari_limits_t *limits) {
    open_ends(&ends->pair, limits, parcel_handler(&ends->server), parcel_handler(&ends->client));
}

static void ends_free(struct ends *ends) {
    pair_free(&ends->pair);
    free(ends->server.data);
    free(ends->client.data);
}

/* Whether the other side gets just that. */
static int arrives(struct ends *ends, struct parcel *at, const void *data, size_t len) {
    long end = check_now_ms() + CHECK_DEADLINE_MS;
    size_t before = at->side.count;
    /* What is heard is no longer of interest, and has little room. */
    at->side.count = before = 0;
    while (at->side.count == before && check_now_ms() < end) dari_loop_turn(ends->pair.loop, 10);
    return at->side.heard[0] == 'm' && parcel_is(at, data, len);
}

static const size_t LENGTHS[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 124, 125, 126, 127, 128,
                                 1000, 4095, 4096, 4097, 65535, 65536, 65537, 300000};
enum { LENGTH_COUNT = sizeof LENGTHS / sizeof LENGTHS[0] };

/* Sends it in every way there is. */
static void send_all_ways(struct ends *ends, dari_conn_t from, struct parcel *to, dari_kind_t kind, const void *data,
                          size_t len) {
    dari_loop_t *loop = ends->pair.loop;
    dari_payload_t *payload;
    CHECK(dari_conn_send(loop, from, kind, data, len) >= 0);
    CHECK(arrives(ends, to, data, len));
    CHECK(dari_conn_send(loop, from, kind | DARI_COMPRESS, data, len) >= 0);
    CHECK(arrives(ends, to, data, len));
    CHECK(dari_conn_send_part(loop, from, kind, data, len, 1) >= 0);
    CHECK(arrives(ends, to, data, len));
    CHECK(dari_payload_new(kind, data, len, &payload) == DARI_OK);
    CHECK(dari_conn_send_payload(loop, from, payload) >= 0);
    dari_payload_free(payload);
    CHECK(arrives(ends, to, data, len));
    CHECK(dari_conn_subscribe(loop, from, "t") == DARI_OK);
    CHECK(dari_loop_publish(loop, "t", NOBODY, kind, data, len) == DARI_OK);
    CHECK(arrives(ends, to, data, len));
    CHECK(dari_conn_unsubscribe(loop, from, "t") == DARI_OK);
}

/* Nor is anything written there: a client masks a copy. */
static void no_byte_is_read_behind_data(void) {
    const dari_limits_t limits = {.struct_size = sizeof limits, .deflate = DARI_DEFLATE};
    char *text = prose(300000);
    struct ends ends;
    for (int deflate = 0; deflate <= 1; deflate++) {
        ends_open(&ends, deflate ? &limits : NULL);
        for (size_t i = 0; i < LENGTH_COUNT; i++) {
            const void *data = guard_copy(text, LENGTHS[i]);
            send_all_ways(&ends, ends.pair.client.conn, &ends.server, DARI_TEXT, data, LENGTHS[i]);
            send_all_ways(&ends, ends.pair.server.conn, &ends.client, DARI_BINARY, data, LENGTHS[i]);
            if (LENGTHS[i] <= 125) {
                CHECK(dari_conn_ping(ends.pair.loop, ends.pair.client.conn, data, LENGTHS[i]) == DARI_OK);
                ends.client.side.count = 0;
                TURN_UNTIL(ends.pair.loop, ends.client.side.count > 0);
                CHECK(ends.client.side.len == LENGTHS[i] && memcmp(ends.client.side.text, text, LENGTHS[i]) == 0);
            }
        }
        ends_free(&ends);
    }
    free(text);
}

static void data_may_lie_at_any_address(void) {
    char *text = prose(300000);
    struct ends ends;
    ends_open(&ends, NULL);
    for (size_t at = 1; at < 16; at++)
        for (size_t i = 0; i < LENGTH_COUNT - 1; i += 3) {
            send_all_ways(&ends, ends.pair.client.conn, &ends.server, DARI_BINARY, text + at, LENGTHS[i]);
            send_all_ways(&ends, ends.pair.server.conn, &ends.client, DARI_TEXT, text + at, LENGTHS[i]);
        }
    ends_free(&ends);
    free(text);
}

/* A server that answers with text at the end of pages: first no, then yes. */
struct door {
    struct side side;
    int requests;
};

static void on_upgrade(void *user, dari_loop_t *loop, dari_conn_t conn) {
    struct door *door = user;
    const dari_header_t lines[] = {{guard_text("X-Edge"), guard_text("1")}, {"X-Two", "2"}};
    const dari_header_t *headers = guard_copy(lines, sizeof lines);
    char peer[64];
    size_t len = 0;
    CHECK(dari_request_header(loop, conn, guard_text("HOST"), 0).len > 0);
    /* As much room as is needed is enough, and no more is used. */
    CHECK(dari_conn_peer(loop, conn, NULL, 0, &len) == DARI_ERR_TOO_BIG);
    memset(peer, '!', sizeof peer);
    CHECK(dari_conn_peer(loop, conn, peer, len + 1, NULL) == DARI_OK);
    CHECK(strlen(peer) == len && peer[len + 1] == '!');
    if (door->requests++ == 0)
        CHECK(dari_conn_respond(loop, conn, 403, headers, 2, guard_copy("no", 2), 2) == DARI_OK);
    else
        CHECK(dari_conn_accept(loop, conn, guard_text("edge"), headers, 2) == DARI_OK);
}

static void no_byte_is_read_behind_text(void) {
    struct pair pair;
    struct door door = {.requests = 0};
    dari_handler_t server = side_handler(&door.side), client = side_handler(&pair.client);
    const char *spoken[] = {guard_text("edge"), NULL}, *origins[] = {guard_text("http://edge.example"), NULL};
    dari_listen_t listen = {.struct_size = sizeof listen};
    dari_connect_t how = {.struct_size = sizeof how, .header_count = 1};
    dari_conn_t conn = {0};
    char url[64];
    memset(&pair, 0, sizeof pair);
    server.upgrade = on_upgrade;
    listen.protocols = guard_copy(spoken, sizeof spoken);
    listen.origins = guard_copy(origins, sizeof origins);
    CHECK(dari_loop_new(NULL, &pair.loop) == DARI_OK);
    CHECK(dari_loop_listen(pair.loop, guard_text("127.0.0.1:0"), &listen, &server, &pair.listener) == DARI_OK);
    snprintf(url, sizeof url, "ws://127.0.0.1:%u/edge", (unsigned)dari_listener_port(pair.loop, pair.listener));
    for (int round = 0; round < 2; round++) {
        const dari_header_t edge = {guard_text("X-Edge"), guard_text("of the page")};
        const char *offered[] = {guard_text("edge"), NULL};
        how.headers = guard_copy(&edge, sizeof edge);
        how.protocols = guard_copy(offered, sizeof offered);
        how.origin = guard_text("http://edge.example");
        memset(&pair.client, 0, sizeof pair.client);
        CHECK(dari_loop_connect(pair.loop, guard_text(url), &how, &client, &conn) == DARI_OK);
        TURN_UNTIL(pair.loop, pair.client.count > 0);
        CHECK(side_heard(&pair.client, 'o') == (round == 1));
    }
    CHECK(dari_conn_subscribe(pair.loop, conn, guard_text("edge")) == DARI_OK);
    CHECK(dari_loop_subscribers(pair.loop, guard_text("edge")) == 1);
    CHECK(dari_loop_publish(pair.loop, guard_text("edge"), NOBODY, DARI_TEXT, guard_copy("x", 1), 1) == DARI_OK);
    CHECK(dari_conn_unsubscribe(pair.loop, conn, guard_text("edge")) == DARI_OK);
    CHECK(dari_conn_close(pair.loop, conn, 1000, guard_text("enough")) == DARI_OK);
    TURN_UNTIL(pair.loop, side_heard(&door.side, 'c') && strcmp(door.side.reason, "enough") == 0);
    pair_free(&pair);
}

/* ------------------------------------------------------------------- Lengths */

static void lengths_that_are_none_are_refused(void) {
    static const size_t lengths[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2 + 1, SIZE_MAX - 14};
    struct pair pair;
    dari_payload_t *payload;
    dari_tls_t *tls;
    dari_remote_t *remote;
    dari_header_t header = {"X-A", "1"};
    dari_connect_t how = {.struct_size = sizeof how, .headers = &header};
    const dari_handler_t quiet = {.struct_size = sizeof quiet};
    dari_conn_t conn;
    pair_open(&pair, NULL, NULL);
    conn = pair.client.conn;
    CHECK(dari_remote_new(pair.loop, &remote) == DARI_OK);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        const size_t len = lengths[i];
        const char *const words = "is no length";
        CHECK_ERROR(dari_conn_send(pair.loop, conn, DARI_TEXT, "x", len), DARI_ERR_ARGUMENT, words);
        CHECK_ERROR(dari_conn_send_part(pair.loop, conn, DARI_BINARY, "x", len, 0), DARI_ERR_ARGUMENT, words);
        CHECK_ERROR(dari_conn_ping(pair.loop, conn, "x", len), DARI_ERR_ARGUMENT, words);
        CHECK_ERROR(dari_loop_publish(pair.loop, "t", NOBODY, DARI_TEXT, "x", len), DARI_ERR_ARGUMENT, words);
        CHECK_ERROR(dari_payload_new(DARI_BINARY, "x", len, &payload), DARI_ERR_ARGUMENT, words);
        CHECK_ERROR(dari_remote_send(remote, conn, DARI_TEXT, "x", len), DARI_ERR_ARGUMENT, words);
        CHECK_ERROR(dari_remote_publish(remote, "t", DARI_TEXT, "x", len), DARI_ERR_ARGUMENT, words);
        CHECK_ERROR(dari_remote_publish_all(&remote, 1, "t", NOBODY, DARI_TEXT, "x", len, NULL), DARI_ERR_ARGUMENT, words);
        CHECK_ERROR(dari_tls_server_new_pem("x", len, "x", 1, &tls), DARI_ERR_ARGUMENT, words);
        CHECK_ERROR(dari_tls_server_new_pem("x", 1, "x", len, &tls), DARI_ERR_ARGUMENT, words);
        CHECK_ERROR(dari_conn_respond(pair.loop, conn, 200, NULL, 0, "x", len), DARI_ERR_ARGUMENT, words);
        CHECK_ERROR(dari_conn_respond_piece(pair.loop, conn, "x", len), DARI_ERR_ARGUMENT, words);
        CHECK_ERROR(dari_conn_respond(pair.loop, conn, 200, &header, len, "x", 1), DARI_ERR_ARGUMENT, "headers");
        CHECK_ERROR(dari_conn_respond_begin(pair.loop, conn, 200, &header, len), DARI_ERR_ARGUMENT, "headers");
        CHECK_ERROR(dari_conn_accept(pair.loop, conn, NULL, &header, len), DARI_ERR_ARGUMENT, "headers");
        how.header_count = len;
        CHECK_ERROR(dari_loop_connect(pair.loop, "ws://127.0.0.1:1/", &how, &quiet, NULL), DARI_ERR_ARGUMENT,
                    "headers");
    }
    CHECK_ERROR(dari_remote_send(remote, conn, DARI_BINARY, "x", ((size_t)64 << 20) + 1), DARI_ERR_TOO_BIG, "");
    dari_remote_free(remote);
    /* As 32 bits these would be 5. */
    CHECK_ERROR(dari_conn_ping(pair.loop, conn, "abcde", ((size_t)1 << 32) + 5), DARI_ERR_TOO_BIG, "4294967301");
    CHECK_ERROR(dari_conn_accept(pair.loop, conn, NULL, &header, ((size_t)1 << 32) + 1), DARI_ERR_ARGUMENT,
                "4294967297");
    CHECK(dari_request_header(pair.loop, conn, "host", SIZE_MAX).data == NULL);
    turn_a_few(pair.loop);
    CHECK(strcmp(pair.server.heard, "o") == 0 && strcmp(pair.client.heard, "o") == 0);
    pair_free(&pair);
}

/* Text of 2^32 + 5 bytes, of which only the last is no UTF-8: whoever took it for 5 would send it. */
static void a_length_is_not_cut_to_32_bits(void) {
    const size_t len = ((size_t)1 << 32) + 5;
    const dari_loop_config_t config = {.struct_size = sizeof config, .max_memory = DARI_UNLIMITED};
    dari_loop_t *loop = NULL;
    dari_conn_t conn = {0};
    char *text = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(text != MAP_FAILED);
    if (text == MAP_FAILED) return;
    text[len - 1] = (char)0xff;
    CHECK(dari_loop_new(&config, &loop) == DARI_OK);
    CHECK_ERROR(dari_loop_publish(loop, "t", conn, DARI_TEXT, text, len), DARI_ERR_ARGUMENT, "4294967300");
    CHECK(dari_loop_free(loop) == DARI_OK);
    munmap(text, len);
}

int main(int argc, char **argv) {
    static const struct check_test tests[] = {
        TEST(no_byte_is_read_behind_data),
        TEST(data_may_lie_at_any_address),
        TEST(no_byte_is_read_behind_text),
        TEST(lengths_that_are_none_are_refused),
        TEST(a_length_is_not_cut_to_32_bits),
    };
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
