/* permessage-deflate (RFC 7692): what is compressed, when, and what it holds. */
#include "parcel.h"
#include "raw.h"

static const dari_conn_t NOBODY = {0};

/* A raw client that offers these extensions, and what it has been sent. */
struct wire {
    int fd;
    unsigned char first; /* Of the latest frame: FIN, RSV1, opcode. */
    size_t len;          /* Of its payload. */
    size_t have;
    unsigned char buf[2 * LONG];
};

enum { TEXT = 0x81, COMPRESSED_TEXT = 0xc1, COMPRESSED_BINARY = 0xc2 };

static void wire_open(struct wire *wire, struct pair *pair, const dari_limits_t *limits,
                      const char *offer, const char *answer) {
    const dari_listen_t listen = {.struct_size = sizeof listen, .limits = limits};
    dari_handler_t server = side_handler(&pair->server);
    char text[1024], got[1024];
    memset(pair, 0, sizeof *pair);
    memset(wire, 0, sizeof *wire);
    pair_listen(pair, &listen, &server);
    wire->fd = raw_connect(pair->port);
    snprintf(text, sizeof text, "%.*s%s\r\n", (int)strlen(RAW_UPGRADE) - 2, RAW_UPGRADE, offer);
    raw_send(wire->fd, text);
    raw_read_until(pair->loop, wire->fd, got, sizeof got, "\r\n\r\n");
    CHECK(strstr(got, answer) != NULL);
    TURN_UNTIL(pair->loop, side_heard(&pair->server, 'o'));
}

#define OFFER "Sec-WebSocket-Extensions: permessage-deflate\r\n"

/* Takes the length of a frame's payload at the front of `buf`; the header's own, or 0. */
static size_t wire_header(struct wire *wire) {
    size_t more = wire->have < 2 ? 0 : wire->buf[1] == 127 ? 8 : wire->buf[1] == 126 ? 2 : 0;
    if (wire->have < 2 + more) return 0;
    wire->len = more == 0 ? wire->buf[1] : 0;
    for (size_t i = 0; i < more; i++) wire->len = wire->len << 8 | wire->buf[2 + i];
    return 2 + more;
}

/* Turns the loop until the next whole frame is there, and takes it. */
static void wire_next(struct wire *wire, dari_loop_t *loop) {
    size_t header = 0;
    TURN_UNTIL(loop, (raw_take(wire->fd, (char *)wire->buf, sizeof wire->buf, &wire->have),
                      (header = wire_header(wire)) > 0 && wire->have >= header + wire->len));
    wire->first = wire->buf[0];
    wire->have -= header + wire->len;
    memmove(wire->buf, wire->buf + header + wire->len, wire->have);
}

static void wire_close(struct wire *wire, struct pair *pair) {
    close(wire->fd);
    pair_free(pair);
}

static size_t wire_sent(struct wire *wire, struct pair *pair, dari_kind_t kind, const char *data,
                        size_t len) {
    CHECK(dari_conn_send(pair->loop, pair->server.conn, kind, data, len) >= 0);
    wire_next(wire, pair->loop);
    return wire->len;
}

static void a_long_text_arrives_whole_in_both_directions(void) {
    static const uint32_t modes[] = {DARI_DEFLATE_OFF, DARI_DEFLATE, DARI_DEFLATE_TAKEOVER};
    char *text = prose(LONG);
    for (size_t i = 0; i < 3; i++) {
        const dari_limits_t limits = {
            .struct_size = sizeof limits, .deflate = modes[i], .deflate_level = i == 1 ? 9 : 0};
        struct parcel server, client;
        struct pair pair;
        open_ends(&pair, &limits, parcel_handler(&server), parcel_handler(&client));
        for (int round = 0; round < 2; round++) {
            server.side.kind = client.side.kind = 0;
            CHECK(dari_conn_send(pair.loop, pair.client.conn, DARI_TEXT, text, LONG) >= 0);
            CHECK(dari_conn_send(pair.loop, pair.server.conn, DARI_BINARY, text, LONG) >= 0);
            TURN_UNTIL(pair.loop, server.side.kind != 0 && client.side.kind != 0);
            CHECK(server.side.kind == DARI_TEXT && parcel_is(&server, text, LONG));
            CHECK(client.side.kind == DARI_BINARY && parcel_is(&client, text, LONG));
        }
        free(server.data);
        free(client.data);
        pair_free(&pair);
    }
    free(text);
}

static void what_is_compressed_is_said_by_length_and_flags(void) {
    static const char SAME[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const dari_limits_t limits = {.struct_size = sizeof limits, .deflate = DARI_DEFLATE};
    static struct wire wire;
    struct pair pair;
    char *text = prose(LONG);
    wire_open(&wire, &pair, &limits, OFFER,
              "permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n");
    CHECK(wire_sent(&wire, &pair, DARI_TEXT, text, LONG) < LONG / 4 && wire.first == COMPRESSED_TEXT);
    CHECK(wire_sent(&wire, &pair, DARI_BINARY, text, LONG) < LONG / 4);
    CHECK(wire.first == COMPRESSED_BINARY);
    CHECK(wire_sent(&wire, &pair, DARI_TEXT | DARI_PLAIN, text, LONG) == LONG && wire.first == TEXT);
    /* Too short to be worth it, unless asked for; what is no gain is sent as it is. */
    CHECK(wire_sent(&wire, &pair, DARI_TEXT, SAME, 40) == 40 && wire.first == TEXT);
    CHECK(wire_sent(&wire, &pair, DARI_TEXT | DARI_COMPRESS, SAME, 40) < 40);
    CHECK(wire.first == COMPRESSED_TEXT);
    CHECK(wire_sent(&wire, &pair, DARI_TEXT | DARI_COMPRESS, "x", 1) == 1 && wire.first == TEXT);
    CHECK(wire_sent(&wire, &pair, DARI_TEXT | DARI_COMPRESS, "", 0) == 0 && wire.first == TEXT);
    wire_close(&wire, &pair);
    free(text);
}

static void what_is_framed_for_many_is_compressed_too(void) {
    const dari_limits_t limits = {.struct_size = sizeof limits, .deflate = DARI_DEFLATE};
    static struct wire wire;
    struct pair pair;
    dari_payload_t *payload, *plain;
    char *text = prose(LONG);
    wire_open(&wire, &pair, &limits, OFFER, "permessage-deflate");
    CHECK(dari_conn_subscribe(pair.loop, pair.server.conn, "t") == DARI_OK);
    CHECK(dari_loop_publish(pair.loop, "t", NOBODY, DARI_TEXT, text, LONG) == DARI_OK);
    wire_next(&wire, pair.loop);
    CHECK(wire.len < LONG / 4 && wire.first == COMPRESSED_TEXT);
    CHECK(dari_loop_publish(pair.loop, "t", NOBODY, DARI_TEXT | DARI_PLAIN, text, LONG) == DARI_OK);
    wire_next(&wire, pair.loop);
    CHECK(wire.len == LONG && wire.first == TEXT);
    CHECK(dari_payload_new(DARI_BINARY, text, LONG, &payload) == DARI_OK);
    CHECK(dari_payload_new(DARI_TEXT | DARI_PLAIN, text, LONG, &plain) == DARI_OK);
    for (int i = 0; i < 2; i++) {
        CHECK(dari_conn_send_payload(pair.loop, pair.server.conn, payload) == DARI_OK);
        wire_next(&wire, pair.loop);
        CHECK(wire.len < LONG / 4 && wire.first == COMPRESSED_BINARY);
        CHECK(dari_conn_send_payload(pair.loop, pair.server.conn, plain) == DARI_OK);
        wire_next(&wire, pair.loop);
        CHECK(wire.len == LONG && wire.first == TEXT);
    }
    dari_payload_free(payload);
    dari_payload_free(plain);
    wire_close(&wire, &pair);
    free(text);
}

static void a_peer_that_does_not_offer_it_gets_everything_plain(void) {
    const dari_limits_t limits = {.struct_size = sizeof limits, .deflate = DARI_DEFLATE_TAKEOVER};
    static struct wire wire;
    struct pair pair;
    char *text = prose(LONG);
    wire_open(&wire, &pair, &limits, "", "101");
    CHECK(wire_sent(&wire, &pair, DARI_TEXT | DARI_COMPRESS, text, LONG) == LONG);
    CHECK(wire.first == TEXT);
    wire_close(&wire, &pair);
    free(text);
}

static void with_takeover_the_second_time_costs_less(void) {
    const dari_limits_t limits = {.struct_size = sizeof limits, .deflate = DARI_DEFLATE_TAKEOVER};
    static struct wire wire;
    struct pair pair;
    char *text = prose(1000);
    size_t first, second;
    wire_open(&wire, &pair, &limits, OFFER, "permessage-deflate\r\n");
    first = wire_sent(&wire, &pair, DARI_TEXT, text, 1000);
    second = wire_sent(&wire, &pair, DARI_TEXT, text, 1000);
    CHECK(wire.first == COMPRESSED_TEXT && 4 * second < first);
    wire_close(&wire, &pair);
    free(text);
}

static void only_marked_messages_are_compressed_if_none_is_long_enough(void) {
    const dari_limits_t limits = {
        .struct_size = sizeof limits, .deflate = DARI_DEFLATE, .deflate_min = DARI_UNLIMITED};
    static struct wire wire;
    struct pair pair;
    char *text = prose(1000);
    wire_open(&wire, &pair, &limits, OFFER, "permessage-deflate");
    CHECK(wire_sent(&wire, &pair, DARI_TEXT, text, 1000) == 1000 && wire.first == TEXT);
    CHECK(wire_sent(&wire, &pair, DARI_TEXT | DARI_COMPRESS, text, 1000) < 500);
    CHECK(wire.first == COMPRESSED_TEXT);
    wire_close(&wire, &pair);
    free(text);
}

/* RFC 7692 7.2.3.1, masked with a key of zeros; then bytes that are no deflate. */
static void a_compressed_message_of_a_stranger_is_read(void) {
    static const char HELLO[] = "\xc1\x87\0\0\0\0\xf2\x48\xcd\xc9\xc9\x07\0";
    static const char RUBBISH[] = "\xc1\x84\0\0\0\0\xff\xff\xff\xff";
    const dari_limits_t limits = {.struct_size = sizeof limits, .deflate = DARI_DEFLATE};
    static struct wire wire;
    struct pair pair;
    wire_open(&wire, &pair, &limits, OFFER, "permessage-deflate");
    CHECK(send(wire.fd, HELLO, sizeof HELLO - 1, MSG_NOSIGNAL) == sizeof HELLO - 1);
    TURN_UNTIL(pair.loop, side_heard(&pair.server, 'm'));
    CHECK(pair.server.kind == DARI_TEXT && strcmp(pair.server.text, "Hello") == 0);
    CHECK(send(wire.fd, RUBBISH, sizeof RUBBISH - 1, MSG_NOSIGNAL) == sizeof RUBBISH - 1);
    wire_next(&wire, pair.loop);
    CHECK(wire.first == 0x88);
    close(wire.fd);
    TURN_UNTIL(pair.loop, side_heard(&pair.server, 'c'));
    CHECK(strcmp(pair.server.heard, "omec") == 0 && strstr(pair.server.rule, "RFC 7692") != NULL);
    pair_free(&pair);
}

static void a_message_that_inflates_past_the_limit_ends_with_1009(void) {
    const size_t len = 20 << 20;
    const dari_limits_t limits = {
        .struct_size = sizeof limits, .deflate = DARI_DEFLATE, .max_message = 1 << 20};
    struct parcel server, client;
    struct pair pair;
    char *zeros = calloc(1, len);
    CHECK(zeros != NULL);
    open_ends(&pair, &limits, parcel_handler(&server), parcel_handler(&client));
    CHECK(dari_conn_send(pair.loop, pair.client.conn, DARI_BINARY, zeros, len) >= 0);
    CHECK(dari_conn_backlog(pair.loop, pair.client.conn) < len / 100);
    TURN_UNTIL(pair.loop, side_heard(&server.side, 'c') && side_heard(&client.side, 'c'));
    CHECK(server.side.close.cause == DARI_CAUSE_TOO_BIG && server.side.close.limit == 1 << 20);
    CHECK(client.side.close.code == 1009 && !side_heard(&server.side, 'm'));
    free(zeros);
    pair_free(&pair);
}

static int messages_in(dari_loop_t *loop) {
    dari_stats_t stats = {.struct_size = sizeof stats};
    CHECK(dari_loop_stats(loop, &stats) == DARI_OK);
    return (int)stats.messages_in;
}

/* A loop of 512 KiB whose clients say one thing each; how many were ended for want of memory. */
static int ended_for_memory(uint32_t deflate) {
    enum { CLIENTS = 14 };
    const dari_loop_config_t config = {.struct_size = sizeof config, .max_memory = 512 << 10};
    const dari_limits_t limits = {.struct_size = sizeof limits, .deflate = deflate};
    const dari_listen_t listen = {.struct_size = sizeof listen, .limits = &limits};
    const dari_connect_t how = {.struct_size = sizeof how, .limits = &limits};
    static struct side clients[CLIENTS];
    char *text = prose(1000);
    dari_loop_t *far;
    dari_handler_t server;
    struct pair pair;
    dari_stats_t stats = {.struct_size = sizeof stats};
    memset(&pair, 0, sizeof pair);
    memset(clients, 0, sizeof clients);
    server = side_handler(&pair.server);
    CHECK(dari_loop_new(&config, &pair.loop) == DARI_OK);
    CHECK(dari_loop_new(NULL, &far) == DARI_OK);
    CHECK(dari_loop_listen(pair.loop, "127.0.0.1:0", &listen, &server, &pair.listener) == DARI_OK);
    pair.port = dari_listener_port(pair.loop, pair.listener);
    for (int i = 0; i < CLIENTS; i++) {
        dari_handler_t client = side_handler(&clients[i]);
        struct pair there = {.loop = far, .port = pair.port};
        dari_conn_t conn = pair_connect(&there, &how, &client, "/");
        TURN_UNTIL(far, dari_loop_turn(pair.loop, 1) == DARI_OK && side_heard(&clients[i], 'o'));
        CHECK(dari_conn_send(far, conn, DARI_TEXT, text, 1000) == DARI_OK);
        /* Whoever asks for memory gets it: it is not that one who has to go. */
        TURN_UNTIL(pair.loop, dari_loop_turn(far, 1) == DARI_OK && messages_in(pair.loop) == i + 1);
    }
    CHECK(dari_loop_stats(pair.loop, &stats) == DARI_OK);
    CHECK(dari_loop_free(far) == DARI_OK);
    pair_free(&pair);
    free(text);
    return (int)stats.closes[DARI_CAUSE_MEMORY];
}

static void contexts_are_held_with_takeover_alone_and_counted(void) {
    CHECK(ended_for_memory(DARI_DEFLATE) == 0);
    CHECK(ended_for_memory(DARI_DEFLATE_TAKEOVER) > 0);
}

int main(int argc, char **argv) {
    static const struct check_test tests[] = {
        TEST(a_long_text_arrives_whole_in_both_directions),
        TEST(what_is_compressed_is_said_by_length_and_flags),
        TEST(what_is_framed_for_many_is_compressed_too),
        TEST(a_peer_that_does_not_offer_it_gets_everything_plain),
        TEST(with_takeover_the_second_time_costs_less),
        TEST(only_marked_messages_are_compressed_if_none_is_long_enough),
        TEST(a_compressed_message_of_a_stranger_is_read),
        TEST(a_message_that_inflates_past_the_limit_ends_with_1009),
        TEST(contexts_are_held_with_takeover_alone_and_counted),
    };
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
