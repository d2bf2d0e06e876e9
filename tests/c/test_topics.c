/* Topics, and payloads for many. */
#include "pair.h"

enum { GUESTS = 3 };

struct room {
    struct pair pair;
    struct side guests[GUESTS];
    dari_conn_t conns[GUESTS];
};

static const dari_conn_t NOBODY = {0};

/* A server whose loop has some guests on it, all open. */
static void room_open(struct room *room) {
    dari_handler_t server = side_handler(&room->pair.server);
    memset(room, 0, sizeof *room);
    pair_listen(&room->pair, NULL, &server);
    for (size_t i = 0; i < GUESTS; i++) {
        dari_handler_t guest = side_handler(&room->guests[i]);
        pair_connect(&room->pair, NULL, &guest, "/");
        /* One after the other, to know which of the server's is whose. */
        TURN_UNTIL(room->pair.loop,
                   side_heard(&room->guests[i], 'o') && room->pair.server.count == i + 1);
        room->conns[i] = room->pair.server.conn;
    }
}

static void publish_reaches_all_subscribers_but_one(void) {
    struct room room;
    dari_loop_t *loop;
    room_open(&room);
    loop = room.pair.loop;
    CHECK(dari_loop_subscribers(loop, "lobby") == 0);
    for (int i = 0; i < GUESTS; i++)
        CHECK(dari_conn_subscribe(loop, room.conns[i], "lobby") == DARI_OK);
    CHECK(dari_conn_subscribe(loop, room.conns[0], "lobby") == DARI_OK);
    CHECK(dari_loop_subscribers(loop, "lobby") == GUESTS);
    CHECK(dari_loop_publish(loop, "lobby", room.conns[1], DARI_TEXT, "hi", 2) == DARI_OK);
    TURN_UNTIL(loop, side_heard(&room.guests[0], 'm') && side_heard(&room.guests[2], 'm'));
    turn_a_few(loop);
    CHECK(strcmp(room.guests[0].heard, "om") == 0 && strcmp(room.guests[0].text, "hi") == 0);
    CHECK(strcmp(room.guests[1].heard, "o") == 0);
    CHECK(strcmp(room.guests[2].heard, "om") == 0);
    CHECK(dari_loop_publish(loop, "lobby", NOBODY, DARI_BINARY, "all", 3) == DARI_OK);
    CHECK(dari_loop_publish(loop, "elsewhere", NOBODY, DARI_BINARY, "none", 4) == DARI_OK);
    TURN_UNTIL(loop, side_heard(&room.guests[1], 'm'));
    CHECK(room.guests[1].kind == DARI_BINARY && strcmp(room.guests[1].text, "all") == 0);
    pair_free(&room.pair);
}

static void the_end_of_a_connection_unsubscribes_it(void) {
    struct room room;
    dari_loop_t *loop;
    room_open(&room);
    loop = room.pair.loop;
    CHECK(dari_conn_subscribe(loop, room.conns[0], "a") == DARI_OK);
    CHECK(dari_conn_subscribe(loop, room.conns[0], "b") == DARI_OK);
    CHECK(dari_conn_subscribe(loop, room.conns[1], "a") == DARI_OK);
    CHECK(dari_conn_abort(loop, room.conns[0]) == DARI_OK);
    TURN_UNTIL(loop, side_heard(&room.guests[0], 'c'));
    CHECK(dari_loop_subscribers(loop, "a") == 1 && dari_loop_subscribers(loop, "b") == 0);
    CHECK(dari_conn_unsubscribe(loop, room.conns[1], "a") == DARI_OK);
    CHECK(dari_conn_unsubscribe(loop, room.conns[1], "a") == DARI_OK);
    CHECK(dari_loop_subscribers(loop, "a") == 0);
    CHECK(dari_loop_publish(loop, "a", NOBODY, DARI_TEXT, "?", 1) == DARI_OK);
    turn_a_few(loop);
    CHECK(!side_heard(&room.guests[1], 'm'));
    pair_free(&room.pair);
}

static void publish_to_all(void *user, dari_loop_t *loop, dari_conn_t conn,
                           const dari_message_t *message) {
    (void)user;
    CHECK(dari_loop_publish(loop, "t", conn, message->kind, message->data, message->len) == DARI_OK);
}

static void subscribe_at_open(void *user, dari_loop_t *loop, dari_conn_t conn) {
    (void)user;
    CHECK(dari_conn_subscribe(loop, conn, "t") == DARI_OK);
}

static void a_message_can_be_relayed_to_everybody_else(void) {
    const dari_handler_t server = {
        .struct_size = sizeof server, .open = subscribe_at_open, .message = publish_to_all};
    struct pair pair;
    struct side other;
    dari_handler_t client, handler = side_handler(&other);
    memset(&pair, 0, sizeof pair);
    memset(&other, 0, sizeof other);
    client = side_handler(&pair.client);
    pair_listen(&pair, NULL, &server);
    pair_connect(&pair, NULL, &client, "/");
    pair_connect(&pair, NULL, &handler, "/");
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'o') && side_heard(&other, 'o'));
    CHECK(dari_conn_send(pair.loop, pair.client.conn, DARI_TEXT, "다리", 6) == DARI_OK);
    TURN_UNTIL(pair.loop, side_heard(&other, 'm'));
    turn_a_few(pair.loop);
    CHECK(strcmp(other.text, "다리") == 0 && strcmp(pair.client.heard, "o") == 0);
    pair_free(&pair);
}

static void a_payload_can_be_sent_to_many_and_freed_at_once(void) {
    struct room room;
    dari_payload_t *payload;
    room_open(&room);
    CHECK(dari_payload_new(DARI_TEXT, "same", 4, &payload) == DARI_OK);
    for (size_t i = 0; i < GUESTS; i++) {
        CHECK(dari_conn_send_payload(room.pair.loop, room.conns[i], payload) == DARI_OK);
        /* A client masks what it sends: the payload stays as it is. */
        CHECK(dari_conn_send_payload(room.pair.loop, room.guests[i].conn, payload) == DARI_OK);
    }
    dari_payload_free(payload);
    for (size_t i = 0; i < GUESTS; i++) {
        TURN_UNTIL(room.pair.loop, side_heard(&room.guests[i], 'm'));
        CHECK(room.guests[i].kind == DARI_TEXT && strcmp(room.guests[i].text, "same") == 0);
    }
    TURN_UNTIL(room.pair.loop, strcmp(room.pair.server.heard, "ooommm") == 0);
    CHECK(strcmp(room.pair.server.text, "same") == 0);
    pair_free(&room.pair);
}

static void subscribe_at_upgrade(void *user, dari_loop_t *loop, dari_conn_t conn) {
    (void)user;
    CHECK(dari_conn_subscribe(loop, conn, "t") == DARI_OK);
    CHECK(dari_loop_publish(loop, "t", NOBODY, DARI_TEXT, "early", 5) == DARI_OK);
    CHECK(dari_conn_accept(loop, conn, NULL, NULL, 0) == DARI_OK);
}

static void a_subscription_may_come_before_open(void) {
    const dari_handler_t server = {.struct_size = sizeof server, .upgrade = subscribe_at_upgrade};
    struct pair pair;
    dari_handler_t client = side_handler(&pair.client);
    memset(&pair, 0, sizeof pair);
    pair_listen(&pair, NULL, &server);
    pair_connect(&pair, NULL, &client, "/");
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'o'));
    CHECK(dari_loop_publish(pair.loop, "t", NOBODY, DARI_TEXT, "now", 3) == DARI_OK);
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'm'));
    CHECK(strcmp(pair.client.heard, "om") == 0 && strcmp(pair.client.text, "now") == 0);
    pair_free(&pair);
}

static void what_is_over_can_not_subscribe(void) {
    struct pair pair;
    pair_open(&pair, NULL, NULL);
    CHECK(dari_conn_abort(pair.loop, pair.server.conn) == DARI_OK);
    CHECK_ERROR(dari_conn_subscribe(pair.loop, pair.server.conn, "t"), DARI_ERR_STATE, "");
    pair_free(&pair);
}

int main(int argc, char **argv) {
    static const struct check_test tests[] = {
        TEST(publish_reaches_all_subscribers_but_one),
        TEST(the_end_of_a_connection_unsubscribes_it),
        TEST(a_message_can_be_relayed_to_everybody_else),
        TEST(a_payload_can_be_sent_to_many_and_freed_at_once),
        TEST(a_subscription_may_come_before_open),
        TEST(what_is_over_can_not_subscribe),
    };
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
