/* Messages in parts, both ways; what of a message is refused; and structs of old programs. */
#include "parcel.h"
#include <stddef.h>

static const dari_conn_t NOBODY = {0};

static void parts_add_up_and_the_last_one_says_so(void) {
    static const uint32_t modes[] = {DARI_DEFLATE_OFF, DARI_DEFLATE, DARI_DEFLATE_TAKEOVER};
    char *text = prose(20 * LONG);
    for (size_t i = 0; i < 3; i++) {
        const dari_limits_t limits = {.struct_size = sizeof limits, .deflate = modes[i]};
        struct parcel server, client;
        struct pair pair;
        dari_handler_t by_parts = parcel_handler(&server);
        by_parts.part = parcel_part;
        open_ends(&pair, &limits, by_parts, parcel_handler(&client));
        CHECK(dari_conn_send(pair.loop, pair.client.conn, DARI_TEXT, text, 20 * LONG) >= 0);
        TURN_UNTIL(pair.loop, server.lasts == 1);
        CHECK(server.parts > 1 && server.side.kind == DARI_TEXT);
        CHECK(parcel_is(&server, text, 20 * LONG));
        CHECK(dari_conn_send(pair.loop, pair.client.conn, DARI_BINARY, "", 0) >= 0);
        TURN_UNTIL(pair.loop, server.lasts == 2);
        CHECK(server.side.kind == DARI_BINARY && server.len == 0);
        CHECK(!side_heard(&server.side, 'm'));
        free(server.data);
        pair_free(&pair);
    }
    free(text);
}

static void parts_are_held_to_max_message_too(void) {
    static const uint32_t modes[] = {DARI_DEFLATE_OFF, DARI_DEFLATE};
    char *text = prose(20 * LONG);
    for (size_t i = 0; i < 2; i++) {
        const dari_limits_t limits = {
            .struct_size = sizeof limits, .deflate = modes[i], .max_message = 10 * LONG};
        struct parcel server, client;
        struct pair pair;
        dari_handler_t by_parts = parcel_handler(&server);
        by_parts.part = parcel_part;
        open_ends(&pair, &limits, by_parts, parcel_handler(&client));
        CHECK(dari_conn_send(pair.loop, pair.client.conn, DARI_TEXT, text, 20 * LONG) >= 0);
        TURN_UNTIL(pair.loop, side_heard(&server.side, 'c') && side_heard(&client.side, 'c'));
        CHECK(server.side.close.cause == DARI_CAUSE_TOO_BIG && client.side.close.code == 1009);
        CHECK(server.lasts == 0 && server.len <= 10 * LONG);
        free(server.data);
        pair_free(&pair);
    }
    free(text);
}

/* Pauses after each part, to go on a little later. */
static void part_then_pause(void *user, dari_loop_t *loop, dari_conn_t conn,
                            const dari_message_t *part, uint32_t last) {
    parcel_part(user, loop, conn, part, last);
    CHECK(dari_conn_pause(loop, conn) == DARI_OK);
}

static void no_part_comes_while_reading_is_paused(void) {
    static const uint32_t modes[] = {DARI_DEFLATE_OFF, DARI_DEFLATE};
    char *text = prose(LONG);
    for (size_t i = 0; i < 2; i++) {
        const dari_limits_t limits = {.struct_size = sizeof limits, .deflate = modes[i]};
        struct parcel server, client;
        struct pair pair;
        dari_handler_t by_parts = parcel_handler(&server);
        by_parts.part = part_then_pause;
        open_ends(&pair, &limits, by_parts, parcel_handler(&client));
        CHECK(dari_conn_send(pair.loop, pair.client.conn, DARI_TEXT, text, LONG) >= 0);
        for (int parts = 1; server.lasts == 0; parts++) {
            TURN_UNTIL(pair.loop, server.parts == parts);
            CHECK(dari_loop_turn(pair.loop, 1) == DARI_OK && server.parts == parts);
            CHECK(dari_conn_resume(pair.loop, server.side.conn) == DARI_OK);
            if (check_failures > 0) break;
        }
        CHECK(parcel_is(&server, text, LONG));
        free(server.data);
        pair_free(&pair);
    }
    free(text);
}

static void a_message_sent_in_parts_arrives_whole(void) {
    const dari_limits_t limits = {.struct_size = sizeof limits, .deflate = DARI_DEFLATE};
    struct parcel server, client;
    struct pair pair;
    char *text = prose(LONG);
    open_ends(&pair, &limits, parcel_handler(&server), parcel_handler(&client));
    for (int round = 0; round < 2; round++) {
        dari_conn_t from = round == 0 ? pair.client.conn : pair.server.conn;
        struct parcel *to = round == 0 ? &server : &client;
        for (size_t at = 0; at < LONG; at += 1000)
            CHECK(dari_conn_send_part(pair.loop, from, DARI_TEXT, text + at, 1000, 0) >= 0);
        CHECK(dari_conn_ping(pair.loop, from, "between", 7) == DARI_OK);
        turn_a_few(pair.loop);
        CHECK(!side_heard(&to->side, 'm'));
        CHECK(dari_conn_send_part(pair.loop, from, DARI_TEXT, NULL, 0, 1) == DARI_OK);
        TURN_UNTIL(pair.loop, side_heard(&to->side, 'm'));
        CHECK(to->side.kind == DARI_TEXT && parcel_is(to, text, LONG));
        /* One part that is the last is a message, too. */
        CHECK(dari_conn_send_part(pair.loop, from, DARI_BINARY, "one", 3, 1) == DARI_OK);
        TURN_UNTIL(pair.loop, to->len == 3);
        CHECK(to->side.kind == DARI_BINARY && parcel_is(to, "one", 3));
        free(to->data);
    }
    CHECK(side_heard(&client.side, 'p') && side_heard(&server.side, 'p'));
    pair_free(&pair);
    free(text);
}

static void between_parts_there_is_no_other_message(void) {
    struct pair pair;
    dari_payload_t *payload;
    dari_conn_t conn;
    pair_open(&pair, NULL, NULL);
    conn = pair.server.conn;
    CHECK(dari_payload_new(DARI_TEXT, "x", 1, &payload) == DARI_OK);
    CHECK(dari_conn_subscribe(pair.loop, conn, "t") == DARI_OK);
    CHECK(dari_conn_send_part(pair.loop, conn, DARI_TEXT, "a", 1, 0) == DARI_OK);
    CHECK_ERROR(dari_conn_send(pair.loop, conn, DARI_TEXT, "x", 1), DARI_ERR_STATE, "in parts");
    CHECK_ERROR(dari_conn_send_payload(pair.loop, conn, payload), DARI_ERR_STATE, "in parts");
    CHECK_ERROR(dari_conn_send_part(pair.loop, conn, DARI_BINARY, "x", 1, 1), DARI_ERR_STATE,
                "in parts");
    CHECK(dari_loop_publish(pair.loop, "t", NOBODY, DARI_TEXT, "passed over", 11) == DARI_OK);
    CHECK(dari_conn_send_part(pair.loop, conn, DARI_TEXT, "b", 1, 7) == DARI_OK);
    CHECK(dari_conn_send(pair.loop, conn, DARI_TEXT, "next", 4) == DARI_OK);
    TURN_UNTIL(pair.loop, strcmp(pair.client.text, "next") == 0);
    CHECK(strcmp(pair.client.heard, "omm") == 0);
    /* A message that is never ended is never there. */
    CHECK(dari_conn_send_part(pair.loop, conn, DARI_TEXT, "half", 4, 0) == DARI_OK);
    CHECK(dari_conn_close(pair.loop, conn, 1000, NULL) == DARI_OK);
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'c') && side_heard(&pair.server, 'c'));
    CHECK(strcmp(pair.client.heard, "ommc") == 0 && pair.client.close.was_clean);
    CHECK_ERROR(dari_conn_send_part(pair.loop, conn, DARI_TEXT, "x", 1, 1), DARI_ERR_STALE, "");
    dari_payload_free(payload);
    pair_free(&pair);
}

static void what_can_not_be_is_refused(void) {
    const dari_kind_t both = DARI_TEXT | DARI_COMPRESS | DARI_PLAIN;
    const char *words = "both DARI_COMPRESS and DARI_PLAIN";
    dari_limits_t limits = {.struct_size = sizeof limits, .deflate = 3};
    const dari_listen_t how = {.struct_size = sizeof how, .limits = &limits};
    const dari_handler_t handler = {.struct_size = sizeof handler};
    dari_payload_t *payload;
    dari_conn_t conn;
    struct pair pair;
    pair_open(&pair, NULL, NULL);
    conn = pair.client.conn;
    CHECK_ERROR(dari_conn_send(pair.loop, conn, both, "x", 1), DARI_ERR_ARGUMENT, words);
    CHECK_ERROR(dari_loop_publish(pair.loop, "t", NOBODY, both, "x", 1), DARI_ERR_ARGUMENT, words);
    CHECK_ERROR(dari_payload_new(both, "x", 1, &payload), DARI_ERR_ARGUMENT, words);
    CHECK(payload == NULL);
    CHECK_ERROR(dari_conn_send_part(pair.loop, conn, DARI_TEXT | DARI_COMPRESS, "x", 1, 1),
                DARI_ERR_ARGUMENT, "kind 257");
    CHECK_ERROR(dari_conn_send_part(pair.loop, conn, DARI_TEXT, "\xeb\x8b", 2, 0),
                DARI_ERR_ARGUMENT, "UTF-8");
    CHECK_ERROR(dari_conn_send_part(NULL, conn, DARI_TEXT, "x", 1, 1), DARI_ERR_ARGUMENT, "loop");
    CHECK_ERROR(dari_conn_send_part(pair.loop, conn, DARI_TEXT, NULL, 1, 1), DARI_ERR_ARGUMENT,
                "data is NULL");
    conn = pair_connect(&pair, NULL, &handler, "/");
    CHECK_ERROR(dari_conn_send_part(pair.loop, conn, DARI_TEXT, "x", 1, 1), DARI_ERR_STATE, "");
    CHECK_ERROR(dari_loop_listen(pair.loop, "127.0.0.1:0", &how, &handler, NULL), DARI_ERR_ARGUMENT,
                "deflate 3 is no DARI_DEFLATE_*");
    limits.deflate = DARI_DEFLATE_OFF;
    limits.deflate_level = 10;
    CHECK_ERROR(dari_loop_listen(pair.loop, "127.0.0.1:0", &how, &handler, NULL), DARI_ERR_ARGUMENT,
                "deflate_level 10 is not 0 to 9");
    pair_free(&pair);
}

/* What lies behind the structs of a program that was compiled with the first header. */
static void structs_of_the_first_header_are_taken(void) {
    struct parcel server, client;
    struct pair pair;
    dari_handler_t old = parcel_handler(&server);
    dari_limits_t limits = {.struct_size = offsetof(dari_limits_t, deflate_min),
                            .deflate_min = 7, .deflate = 99, .deflate_level = 99};
    old.struct_size = offsetof(dari_handler_t, part);
    old.part = parcel_part;
    open_ends(&pair, &limits, old, parcel_handler(&client));
    CHECK(dari_conn_send(pair.loop, pair.client.conn, DARI_TEXT, "hello", 5) == DARI_OK);
    TURN_UNTIL(pair.loop, side_heard(&server.side, 'm'));
    CHECK(server.parts == 0 && parcel_is(&server, "hello", 5));
    free(server.data);
    pair_free(&pair);
}

int main(int argc, char **argv) {
    static const struct check_test tests[] = {
        TEST(parts_add_up_and_the_last_one_says_so),
        TEST(parts_are_held_to_max_message_too),
        TEST(no_part_comes_while_reading_is_paused),
        TEST(a_message_sent_in_parts_arrives_whole),
        TEST(between_parts_there_is_no_other_message),
        TEST(what_can_not_be_is_refused),
        TEST(structs_of_the_first_header_are_taken),
    };
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
