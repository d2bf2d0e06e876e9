/* Arguments at their edges: data that ends with its page, lengths that are none, structs of other versions, text
 * with everything in it, and every number at its smallest and largest. */
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
    dari_header_t header = {"X-A", "1"};
    dari_connect_t how = {.struct_size = sizeof how, .headers = &header};
    const dari_handler_t quiet = {.struct_size = sizeof quiet};
    dari_conn_t conn;
    pair_open(&pair, NULL, NULL);
    conn = pair.client.conn;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        const size_t len = lengths[i];
        const char *const words = "is no length";
        CHECK_ERROR(dari_conn_send(pair.loop, conn, DARI_TEXT, "x", len), DARI_ERR_ARGUMENT, words);
        CHECK_ERROR(dari_conn_send_part(pair.loop, conn, DARI_BINARY, "x", len, 0), DARI_ERR_ARGUMENT, words);
        CHECK_ERROR(dari_conn_ping(pair.loop, conn, "x", len), DARI_ERR_ARGUMENT, words);
        CHECK_ERROR(dari_loop_publish(pair.loop, "t", NOBODY, DARI_TEXT, "x", len), DARI_ERR_ARGUMENT, words);
        CHECK_ERROR(dari_payload_new(DARI_BINARY, "x", len, &payload), DARI_ERR_ARGUMENT, words);
        CHECK_ERROR(dari_conn_respond(pair.loop, conn, 200, NULL, 0, "x", len), DARI_ERR_ARGUMENT, words);
        CHECK_ERROR(dari_conn_respond_piece(pair.loop, conn, "x", len), DARI_ERR_ARGUMENT, words);
        CHECK_ERROR(dari_conn_respond(pair.loop, conn, 200, &header, len, "x", 1), DARI_ERR_ARGUMENT, "headers");
        CHECK_ERROR(dari_conn_respond_begin(pair.loop, conn, 200, &header, len), DARI_ERR_ARGUMENT, "headers");
        CHECK_ERROR(dari_conn_accept(pair.loop, conn, NULL, &header, len), DARI_ERR_ARGUMENT, "headers");
        how.header_count = len;
        CHECK_ERROR(dari_loop_connect(pair.loop, "ws://127.0.0.1:1/", &how, &quiet, NULL), DARI_ERR_ARGUMENT,
                    "headers");
    }
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
    struct pair pair;
    char *text = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(text != MAP_FAILED);
    if (text == MAP_FAILED) return;
    text[len - 1] = (char)0xff;
    pair_open(&pair, NULL, NULL);
    CHECK_ERROR(dari_conn_send(pair.loop, pair.client.conn, DARI_TEXT, text, len), DARI_ERR_ARGUMENT, "4294967300");
    turn_a_few(pair.loop);
    CHECK(strcmp(pair.server.heard, "o") == 0);
    pair_free(&pair);
    munmap(text, len);
}

/* ------------------------------------------------------------- Text in all forms */

/* A loop with one upgrade and one open connection that wait for what comes next. */
static struct {
    struct pair pair;
    dari_conn_t asked, open;
} desk;

static void desk_upgrade(void *user, dari_loop_t *loop, dari_conn_t conn) {
    (void)user;
    if (desk.open.id == 0)
        CHECK(dari_conn_accept(loop, desk.open = conn, NULL, NULL, 0) == DARI_OK);
    else
        desk.asked = conn;
}

static int32_t listen_on(const char *address, const dari_listen_t *how) {
    const dari_handler_t quiet = {.struct_size = sizeof quiet};
    dari_listener_t listener = {0};
    int32_t got = dari_loop_listen(desk.pair.loop, address, how, &quiet, &listener);
    CHECK((got == DARI_OK) == (listener.id != 0));
    if (got == DARI_OK) CHECK(dari_listener_close(desk.pair.loop, listener) == DARI_OK);
    return got;
}

static int32_t connect_to(const char *url, const dari_connect_t *how) {
    const dari_handler_t quiet = {.struct_size = sizeof quiet};
    dari_conn_t conn = {0};
    int32_t got = dari_loop_connect(desk.pair.loop, url, how, &quiet, &conn);
    CHECK((got == DARI_OK) == (conn.id != 0));
    if (got == DARI_OK) CHECK(dari_conn_abort(desk.pair.loop, conn) == DARI_OK);
    return got;
}

static int32_t as_address(const char *text) {
    return listen_on(text, NULL);
}

static int32_t as_unix(const char *text) {
    char *address = malloc(strlen(text) + 64);
    int32_t got;
    sprintf(address, "unix:@dari-%ld-%s", (long)getpid(), text);
    got = listen_on(guard_text(address), NULL);
    free(address);
    return got;
}

static int32_t as_url(const char *text) {
    return connect_to(text, NULL);
}

static int32_t in_url(const char *front, const char *text, const char *back) {
    char *url = malloc(strlen(text) + 64);
    int32_t got;
    sprintf(url, "%s%s%s", front, text, back);
    got = connect_to(guard_text(url), NULL);
    free(url);
    return got;
}

static int32_t as_path(const char *text) {
    return in_url("ws://127.0.0.1:1/", text, "");
}

static int32_t as_host(const char *text) {
    return in_url("ws://", text, "/");
}

static int32_t as_port(const char *text) {
    return in_url("ws://127.0.0.1:", text, "/");
}

static int32_t as_offer(const char *text) {
    const char *list[] = {text, NULL};
    const dari_connect_t how = {.struct_size = sizeof how, .protocols = list};
    return connect_to("ws://127.0.0.1:1/", &how);
}

static int32_t as_origin(const char *text) {
    const dari_connect_t how = {.struct_size = sizeof how, .origin = text};
    return connect_to("ws://127.0.0.1:1/", &how);
}

static int32_t as_header_name(const char *text) {
    const dari_header_t header = {text, "value"};
    const dari_connect_t how = {.struct_size = sizeof how, .headers = &header, .header_count = 1};
    int32_t got = connect_to("ws://127.0.0.1:1/", &how);
    if (got < 0) {
        CHECK(dari_conn_accept(desk.pair.loop, desk.asked, NULL, &header, 1) == got);
        CHECK(dari_conn_respond(desk.pair.loop, desk.asked, 200, &header, 1, NULL, 0) == got);
        CHECK(dari_conn_respond_begin(desk.pair.loop, desk.asked, 200, &header, 1) == got);
    }
    return got;
}

static int32_t as_header_value(const char *text) {
    const dari_header_t header = {"X-Name", text};
    const dari_connect_t how = {.struct_size = sizeof how, .headers = &header, .header_count = 1};
    int32_t got = connect_to("ws://127.0.0.1:1/", &how);
    if (got < 0) {
        CHECK(dari_conn_accept(desk.pair.loop, desk.asked, NULL, &header, 1) == got);
        CHECK(dari_conn_respond(desk.pair.loop, desk.asked, 200, &header, 1, NULL, 0) == got);
        CHECK(dari_conn_respond_begin(desk.pair.loop, desk.asked, 200, &header, 1) == got);
    }
    return got;
}

static int32_t as_agreed(const char *text) {
    return dari_conn_accept(desk.pair.loop, desk.asked, text, NULL, 0);
}

static int32_t as_spoken(const char *text) {
    const char *list[] = {text, NULL};
    const dari_listen_t how = {.struct_size = sizeof how, .protocols = list};
    return listen_on("127.0.0.1:0", &how);
}

static int32_t as_allowed(const char *text) {
    const char *list[] = {text, NULL};
    const dari_listen_t how = {.struct_size = sizeof how, .origins = list};
    return listen_on("127.0.0.1:0", &how);
}

static int32_t as_folder(const char *text) {
    const dari_listen_t how = {.struct_size = sizeof how, .folder = text};
    return listen_on("127.0.0.1:0", &how);
}

static int32_t as_reason(const char *text) {
    return dari_conn_close(desk.pair.loop, desk.asked, 1000, text);
}

static int32_t as_topic(const char *text) {
    return dari_conn_subscribe(desk.pair.loop, desk.open, text);
}

static int32_t as_message(const char *text) {
    return dari_conn_send(desk.pair.loop, desk.open, DARI_TEXT, text, strlen(text));
}

static void text_is_taken_or_refused_whatever_is_in_it(void) {
    enum { LONG_TEXT = 1 << 20 };
    static char mebibyte[LONG_TEXT + 1];
    static const char *const texts[] = {"a\r\nX-Smuggled: 1", "a\nb", "a\rb", "a\x01", "a\x7f", "a b", "a\xff",
                                        "\xc0\x80", "\xed\xa0\x80", "다리", "", mebibyte};
    static const struct {
        const char *name;
        int32_t (*call)(const char *text);
        /* One letter a text: . done, a ARGUMENT, s SYSTEM, x STATE. */
        const char *answers;
    } uses[] = {
        {"address", as_address, "aaaaaaaaaaaa"},
        {"unix", as_unix, "......aaa..a"},
        {"url", as_url, "aaaaaaaaaaaa"},
        {"path", as_path, "aaaaaaaaaa.."},
        {"host", as_host, "aaaaaaaaaaaa"},
        {"port", as_port, "aaaaaaaaaa.a"},
        {"offer", as_offer, "aaaaaaaaaaa."},
        {"origin", as_origin, "aaaaa.aaa..."},
        {"header name", as_header_name, "aaaaaaaaaaa."},
        {"header value", as_header_value, "aaaaa.aaa..."},
        {"agreed", as_agreed, "aaaaaaaaaaaa"},
        {"spoken", as_spoken, "......aaa..."},
        {"allowed", as_allowed, "......aaa..."},
        {"folder", as_folder, "ssssssssssss"},
        {"reason", as_reason, "xxxxxxaaaxxx"},
        {"topic", as_topic, "......aaa.aa"},
        {"message", as_message, "......aaa..."},
    };
    dari_handler_t server = side_handler(&desk.pair.server), client = side_handler(&desk.pair.client);
    memset(mebibyte, 'a', LONG_TEXT);
    memset(&desk, 0, sizeof desk);
    server.upgrade = desk_upgrade;
    pair_listen(&desk.pair, NULL, &server);
    pair_connect(&desk.pair, NULL, &client, "/");
    TURN_UNTIL(desk.pair.loop, desk.open.id != 0);
    pair_connect(&desk.pair, NULL, &client, "/");
    TURN_UNTIL(desk.pair.loop, desk.asked.id != 0);
    for (size_t use = 0; use < sizeof uses / sizeof uses[0]; use++) {
        char answers[16] = {0};
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
            int32_t got = uses[use].call(guard_text(texts[i]));
            answers[i] = got >= 0                    ? '.'
                         : got == DARI_ERR_ARGUMENT ? 'a'
                         : got == DARI_ERR_SYSTEM   ? 's'
                         : got == DARI_ERR_STATE    ? 'x'
                                                    : '?';
        }
        if (strcmp(answers, uses[use].answers) != 0) {
            fprintf(stderr, "%s: \"%s\", and not \"%s\"\n", uses[use].name, answers, uses[use].answers);
            CHECK(0);
        }
    }
    CHECK_ERROR(dari_conn_close(desk.pair.loop, desk.open, 1000, mebibyte), DARI_ERR_TOO_BIG, "1048576");
    /* Nothing of that has changed anything. */
    CHECK(dari_conn_state(desk.pair.loop, desk.open) == DARI_STATE_OPEN);
    CHECK(dari_conn_state(desk.pair.loop, desk.asked) == DARI_STATE_CONNECTING);
    CHECK(dari_conn_accept(desk.pair.loop, desk.asked, NULL, NULL, 0) == DARI_OK);
    pair_free(&desk.pair);
}

int main(int argc, char **argv) {
    static const struct check_test tests[] = {
        TEST(no_byte_is_read_behind_data),
        TEST(data_may_lie_at_any_address),
        TEST(no_byte_is_read_behind_text),
        TEST(lengths_that_are_none_are_refused),
        TEST(a_length_is_not_cut_to_32_bits),
        TEST(text_is_taken_or_refused_whatever_is_in_it),
    };
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
