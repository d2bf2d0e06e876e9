/* Ids that name nothing: made up, another loop's, or of what is long gone. Never another connection. */
#include "pair.h"
#include "raw.h"
#include <stdlib.h>

static void on_timer(void *user, dari_loop_t *loop, dari_timer_t timer) {
    (void)user, (void)loop, (void)timer;
}

static void on_watch(void *user, dari_loop_t *loop, dari_watch_t watch, uint32_t events) {
    (void)user, (void)loop, (void)watch, (void)events;
}

/* Whether every function that takes an id of whatever kind says that this one names nothing. */
static int names_nothing(dari_loop_t *loop, uint64_t id) {
    const dari_conn_t conn = {id};
    const dari_listener_t listener = {id};
    const dari_timer_t timer = {id};
    const dari_watch_t watch = {id};
    const dari_dial_t dial = {id};
    int32_t fd = 7;
    static dari_payload_t *payload;
    char text[64] = "untouched";
    size_t len = 7;
    int nothing = 1;
    if (payload == NULL && dari_payload_new(DARI_TEXT, "x", 1, &payload) != DARI_OK) return 0;
    nothing &= dari_conn_send(loop, conn, DARI_TEXT, "x", 1) == DARI_ERR_STALE;
    nothing &= dari_conn_send_part(loop, conn, DARI_TEXT, "x", 1, 0) == DARI_ERR_STALE;
    nothing &= dari_conn_send_payload(loop, conn, payload) == DARI_ERR_STALE;
    nothing &= dari_conn_close(loop, conn, 1000, NULL) == DARI_ERR_STALE;
    nothing &= dari_conn_abort(loop, conn) == DARI_ERR_STALE;
    nothing &= dari_conn_ping(loop, conn, NULL, 0) == DARI_ERR_STALE;
    nothing &= dari_conn_pause(loop, conn) == DARI_ERR_STALE;
    nothing &= dari_conn_resume(loop, conn) == DARI_ERR_STALE;
    nothing &= dari_conn_set_data(loop, conn, text) == DARI_ERR_STALE;
    nothing &= dari_conn_peer(loop, conn, text, sizeof text, &len) == DARI_ERR_STALE;
    nothing &= strcmp(text, "untouched") == 0 && len == 7;
    nothing &= dari_conn_accept(loop, conn, NULL, NULL, 0) == DARI_ERR_STALE;
    nothing &= dari_conn_respond(loop, conn, 200, NULL, 0, NULL, 0) == DARI_ERR_STALE;
    nothing &= dari_conn_respond_begin(loop, conn, 200, NULL, 0) == DARI_ERR_STALE;
    nothing &= dari_conn_respond_piece(loop, conn, "x", 1) == DARI_ERR_STALE;
    nothing &= dari_conn_subscribe(loop, conn, "topic") == DARI_ERR_STALE;
    nothing &= dari_conn_unsubscribe(loop, conn, "topic") == DARI_ERR_STALE;
    nothing &= dari_conn_release(loop, conn, &fd, NULL, 0, NULL) == DARI_ERR_STALE && fd == -1;
    nothing &= dari_dial_stop(loop, dial) == DARI_ERR_STALE;
    nothing &= dari_listener_close(loop, listener) == DARI_ERR_STALE;
    nothing &= dari_timer_cancel(loop, timer) == DARI_ERR_STALE;
    nothing &= dari_watch_cancel(loop, watch) == DARI_ERR_STALE;
    nothing &= dari_conn_state(loop, conn) == DARI_STATE_CLOSED;
    nothing &= dari_conn_backlog(loop, conn) == 0;
    nothing &= dari_conn_data(loop, conn) == NULL;
    nothing &= dari_conn_protocol(loop, conn).data == NULL;
    nothing &= dari_conn_certificate(loop, conn).data == NULL;
    nothing &= dari_conn_dial(loop, conn).id == 0;
    nothing &= dari_request_method(loop, conn).data == NULL;
    nothing &= dari_request_target(loop, conn).data == NULL;
    nothing &= dari_request_body(loop, conn).data == NULL;
    nothing &= dari_request_header(loop, conn, "host", 0).data == NULL;
    nothing &= dari_listener_port(loop, listener) == 0;
    return nothing;
}

/* A loop with one of everything that has an id. */
struct zoo {
    struct pair pair;
    dari_timer_t timer;
    dari_watch_t watch;
    dari_dial_t dial;
    dari_remote_t *remote;
    int ends[2];
};
enum { ZOO = 6 };

static void zoo_ids(const struct zoo *zoo, uint64_t ids[ZOO]) {
    ids[0] = zoo->pair.client.conn.id;
    ids[1] = zoo->pair.server.conn.id;
    ids[2] = zoo->pair.listener.id;
    ids[3] = zoo->timer.id;
    ids[4] = zoo->watch.id;
    ids[5] = zoo->dial.id;
}

static void zoo_open(struct zoo *zoo) {
    pair_open(&zoo->pair, NULL, NULL);
    CHECK(pipe(zoo->ends) == 0);
    CHECK(dari_timer_new(zoo->pair.loop, 3600000, 0, on_timer, NULL, &zoo->timer) == DARI_OK);
    CHECK(dari_watch_new(zoo->pair.loop, zoo->ends[0], DARI_WATCH_READ, on_watch, NULL, &zoo->watch) == DARI_OK);
    zoo->dial = dari_conn_dial(zoo->pair.loop, zoo->pair.client.conn);
    CHECK(zoo->dial.id != 0 && dari_remote_new(zoo->pair.loop, &zoo->remote) == DARI_OK);
    CHECK(dari_conn_set_data(zoo->pair.loop, zoo->pair.server.conn, zoo) == DARI_OK);
    CHECK(dari_conn_subscribe(zoo->pair.loop, zoo->pair.server.conn, "mine") == DARI_OK);
}

/* Whether nothing has happened to any of them. */
static int zoo_is_well(struct zoo *zoo) {
    dari_loop_t *loop = zoo->pair.loop;
    turn_a_few(loop);
    return dari_conn_state(loop, zoo->pair.client.conn) == DARI_STATE_OPEN &&
           dari_conn_state(loop, zoo->pair.server.conn) == DARI_STATE_OPEN &&
           dari_conn_data(loop, zoo->pair.server.conn) == (void *)zoo && dari_loop_subscribers(loop, "mine") == 1 &&
           dari_loop_subscribers(loop, "topic") == 0 && strcmp(zoo->pair.client.heard, "o") == 0 &&
           strcmp(zoo->pair.server.heard, "o") == 0 &&
           dari_listener_port(loop, zoo->pair.listener) == zoo->pair.port;
}

static int zoo_has(const struct zoo *zoo, uint64_t id) {
    uint64_t ids[ZOO];
    int has = 0;
    zoo_ids(zoo, ids);
    for (size_t i = 0; i < ZOO; i++) has |= id == ids[i];
    return has;
}

static void zoo_free(struct zoo *zoo) {
    CHECK(dari_timer_cancel(zoo->pair.loop, zoo->timer) == DARI_OK);
    CHECK(dari_watch_cancel(zoo->pair.loop, zoo->watch) == DARI_OK);
    CHECK(dari_dial_stop(zoo->pair.loop, zoo->dial) == DARI_OK);
    dari_remote_free(zoo->remote);
    CHECK(dari_listener_close(zoo->pair.loop, zoo->pair.listener) == DARI_OK);
    pair_free(&zoo->pair);
    close(zoo->ends[0]);
    close(zoo->ends[1]);
}

static void made_up_ids_name_nothing(void) {
    struct zoo zoo;
    uint64_t dice = 88172645463325252u;
    int wrong = 0;
    zoo_open(&zoo);
    CHECK(names_nothing(zoo.pair.loop, 0));
    CHECK(names_nothing(zoo.pair.loop, UINT64_MAX));
    for (int i = 0; i < 50000; i++) {
        /* xorshift64 */
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        if (zoo_has(&zoo, dice)) continue;
        wrong += !names_nothing(zoo.pair.loop, dice);
        /* From afar they are passed over, later. */
        if (i % 50 != 0) continue;
        wrong += dari_remote_send(zoo.remote, (dari_conn_t){dice}, DARI_TEXT, "x", 1) != DARI_OK;
        wrong += dari_remote_close(zoo.remote, (dari_conn_t){dice}, 1000, NULL) != DARI_OK;
    }
    CHECK(wrong == 0);
    CHECK(zoo_is_well(&zoo));
    zoo_free(&zoo);
}

static void ids_that_are_nearly_right_name_nothing(void) {
    struct zoo zoo;
    uint64_t ids[ZOO];
    int wrong = 0;
    zoo_open(&zoo);
    zoo_ids(&zoo, ids);
    for (size_t i = 0; i < ZOO; i++)
        for (unsigned bit = 0; bit < 64; bit++) {
            const uint64_t near[] = {ids[i] ^ (uint64_t)1 << bit, ids[i] + ((uint64_t)1 << bit),
                                     ids[i] - ((uint64_t)1 << bit), ids[i] << bit, ids[i] >> bit, ~ids[i]};
            for (size_t k = 0; k < sizeof near / sizeof near[0]; k++)
                if (!zoo_has(&zoo, near[k])) wrong += !names_nothing(zoo.pair.loop, near[k]);
        }
    CHECK(wrong == 0);
    CHECK(zoo_is_well(&zoo));
    zoo_free(&zoo);
}

static void ids_of_another_loop_name_nothing(void) {
    struct zoo one, two;
    uint64_t ids[ZOO];
    dari_conn_t conn = {0};
    zoo_open(&one);
    zoo_open(&two);
    zoo_ids(&one, ids);
    for (size_t i = 0; i < ZOO; i++) CHECK(names_nothing(two.pair.loop, ids[i]));
    zoo_ids(&two, ids);
    for (size_t i = 0; i < ZOO; i++) CHECK(names_nothing(one.pair.loop, ids[i]));
    /* Except for somebody else's is except for nobody. */
    CHECK(dari_loop_publish(one.pair.loop, "mine", two.pair.server.conn, DARI_TEXT, "all", 3) == DARI_OK);
    TURN_UNTIL(one.pair.loop, side_heard(&one.pair.client, 'm'));
    CHECK(zoo_is_well(&two));
    while ((conn = dari_loop_next(one.pair.loop, conn)).id != 0)
        CHECK(conn.id == one.pair.client.conn.id || conn.id == one.pair.server.conn.id);
    zoo_free(&one);
    zoo_free(&two);
}

static void ids_of_a_loop_that_is_gone_name_nothing_on_the_next(void) {
    struct zoo zoo;
    uint64_t ids[ZOO];
    zoo_open(&zoo);
    for (int round = 0; round < 3; round++) {
        zoo_ids(&zoo, ids);
        zoo_free(&zoo);
        /* Most likely where the old one was. */
        zoo_open(&zoo);
        for (size_t i = 0; i < ZOO; i++) CHECK(names_nothing(zoo.pair.loop, ids[i]));
        CHECK(zoo_is_well(&zoo));
    }
    zoo_free(&zoo);
}

static int compare(const void *a, const void *b) {
    const uint64_t *one = a, *other = b;
    return (*one > *other) - (*one < *other);
}

/* Whether all differ. */
static int are_different(uint64_t *ids, size_t count) {
    qsort(ids, count, sizeof *ids, compare);
    for (size_t i = 1; i < count; i++)
        if (ids[i] == ids[i - 1]) return 0;
    return count > 0 && ids[0] != 0;
}

enum { REUSES = 1 << 17 };

static void a_timer_id_is_never_used_again(void) {
    uint64_t *ids = calloc(REUSES, sizeof *ids);
    dari_loop_t *loop;
    dari_timer_t timer = {0};
    int wrong = 0;
    CHECK(ids != NULL && dari_loop_new(NULL, &loop) == DARI_OK);
    for (size_t i = 0; i < REUSES; i++) {
        wrong += dari_timer_new(loop, 3600000, 0, on_timer, NULL, &timer) != DARI_OK;
        /* The first of all, the one before, and those at powers of two. */
        if (i > 0) wrong += dari_timer_cancel(loop, (dari_timer_t){ids[0]}) != DARI_ERR_STALE;
        if (i > 0) wrong += dari_timer_cancel(loop, (dari_timer_t){ids[i - 1]}) != DARI_ERR_STALE;
        if (i > 0) wrong += dari_timer_cancel(loop, (dari_timer_t){ids[i & (i - 1)]}) != DARI_ERR_STALE;
        wrong += dari_timer_cancel(loop, timer) != DARI_OK;
        ids[i] = timer.id;
    }
    CHECK(wrong == 0);
    CHECK(are_different(ids, REUSES));
    CHECK(dari_loop_free(loop) == DARI_OK);
    free(ids);
}

static void a_watch_id_is_never_used_again(void) {
    uint64_t *ids = calloc(REUSES, sizeof *ids);
    dari_loop_t *loop;
    dari_watch_t watch = {0};
    int wrong = 0, ends[2];
    CHECK(ids != NULL && pipe(ends) == 0 && dari_loop_new(NULL, &loop) == DARI_OK);
    for (size_t i = 0; i < REUSES; i++) {
        wrong += dari_watch_new(loop, ends[0], DARI_WATCH_READ, on_watch, NULL, &watch) != DARI_OK;
        if (i > 0) wrong += dari_watch_cancel(loop, (dari_watch_t){ids[0]}) != DARI_ERR_STALE;
        if (i > 0) wrong += dari_watch_cancel(loop, (dari_watch_t){ids[i - 1]}) != DARI_ERR_STALE;
        wrong += dari_watch_cancel(loop, watch) != DARI_OK;
        ids[i] = watch.id;
    }
    CHECK(wrong == 0);
    CHECK(are_different(ids, REUSES));
    CHECK(dari_loop_free(loop) == DARI_OK);
    close(ends[0]);
    close(ends[1]);
    free(ids);
}

/* What a connection had, the next in its place has not; and what was its own reaches nobody else. */
static void a_connection_id_is_never_used_again(void) {
    static uint64_t ids[REUSES];
    const size_t conns = check_in_valgrind() ? 3000 : REUSES;
    struct zoo zoo;
    const dari_handler_t quiet = {.struct_size = sizeof quiet};
    dari_conn_t conn = {0};
    char url[64];
    int wrong = 0;
    /* Nobody answers there, so all slots but the zoo's are ours. */
    int deaf = raw_bind();
    snprintf(url, sizeof url, "ws://127.0.0.1:%u/", (unsigned)raw_port(deaf));
    zoo_open(&zoo);
    for (size_t i = 0; i < conns; i++) {
        wrong += dari_loop_connect(zoo.pair.loop, url, NULL, &quiet, &conn) != DARI_OK;
        wrong += dari_conn_data(zoo.pair.loop, conn) != NULL;
        wrong += dari_conn_set_data(zoo.pair.loop, conn, &conn) != DARI_OK;
        wrong += dari_conn_subscribe(zoo.pair.loop, conn, "topic") != DARI_OK;
        if (i > 0 && i % 16 == 0) {
            /* The one before lives in the same slot, and the first did. */
            wrong += !names_nothing(zoo.pair.loop, ids[i - 1]);
            wrong += !names_nothing(zoo.pair.loop, ids[0]);
            wrong += dari_conn_state(zoo.pair.loop, conn) != DARI_STATE_CONNECTING;
        }
        wrong += dari_loop_subscribers(zoo.pair.loop, "topic") != 1;
        wrong += dari_conn_abort(zoo.pair.loop, conn) != DARI_OK;
        CHECK(dari_loop_turn(zoo.pair.loop, 0) == DARI_OK);
        wrong += dari_conn_abort(zoo.pair.loop, conn) != DARI_ERR_STALE;
        ids[i] = conn.id;
    }
    CHECK(wrong == 0);
    CHECK(are_different(ids, conns));
    for (size_t i = 0; i < conns; i += 100) CHECK(names_nothing(zoo.pair.loop, ids[i]));
    CHECK(zoo_is_well(&zoo));
    zoo_free(&zoo);
    close(deaf);
}

static void a_listener_id_is_never_used_again(void) {
    enum { LISTENERS = 2000 };
    static uint64_t ids[LISTENERS];
    const dari_handler_t quiet = {.struct_size = sizeof quiet};
    dari_listener_t listener = {0};
    dari_loop_t *loop;
    int wrong = 0;
    CHECK(dari_loop_new(NULL, &loop) == DARI_OK);
    for (size_t i = 0; i < LISTENERS; i++) {
        wrong += dari_loop_listen(loop, "127.0.0.1:0", NULL, &quiet, &listener) != DARI_OK;
        if (i > 0) wrong += dari_listener_close(loop, (dari_listener_t){ids[i - 1]}) != DARI_ERR_STALE;
        if (i > 0) wrong += dari_listener_port(loop, (dari_listener_t){ids[0]}) != 0;
        wrong += dari_listener_close(loop, listener) != DARI_OK;
        ids[i] = listener.id;
    }
    CHECK(wrong == 0);
    CHECK(are_different(ids, LISTENERS));
    CHECK(dari_loop_free(loop) == DARI_OK);
}

int main(int argc, char **argv) {
    static const struct check_test tests[] = {
        TEST(made_up_ids_name_nothing),
        TEST(ids_that_are_nearly_right_name_nothing),
        TEST(ids_of_another_loop_name_nothing),
        TEST(ids_of_a_loop_that_is_gone_name_nothing_on_the_next),
        TEST(a_timer_id_is_never_used_again),
        TEST(a_watch_id_is_never_used_again),
        TEST(a_connection_id_is_never_used_again),
        TEST(a_listener_id_is_never_used_again),
    };
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
