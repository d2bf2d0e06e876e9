/* What is done in a cell: each function on the connection itself, on another, on all; functions of the loop; and
 * what is asked for by people who were not thinking. */
#ifndef ABUSE_ACTIONS_H
#define ABUSE_ACTIONS_H

#include "abuse_loop.h"

/* A connection that is not the own, alive if there is one. */
static struct guest *other(void) {
    size_t own = cell.own != NULL ? (size_t)(cell.own - cell.guests) : 0;
    struct guest *found = NULL;
    for (size_t i = 1; i < cell.count; i++) {
        struct guest *guest = &cell.guests[(own + i) % cell.count];
        if (!guest->closed) return guest;
        found = guest;
    }
    return found;
}

static void each(enum verb verb) {
    for (size_t i = 0, count = cell.count; i < count; i++) apply(verb, &cell.guests[i]);
}

/* ------------------------------------------------------------------ Sequences */

static void apply_all(const enum verb *verbs, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (cell.own != NULL) apply(verbs[i], cell.own);
}

#define IN_TURN(...)                                                                               \
    do {                                                                                           \
        static const enum verb verbs[] = {__VA_ARGS__};                                            \
        apply_all(verbs, sizeof verbs / sizeof verbs[0]);                                          \
    } while (0)

/* Sends until it is refused, for whatever reason, or nothing more is gained by it. */
static void fill(struct guest *guest, size_t size) {
    static const char block[256 << 10];
    const size_t most = cell.slow == DARI_SLOW_DROP_OLDEST ? 60 : 1000;
    int32_t got = 0;
    for (size_t sent = 0; sent < most; sent++) {
        unsigned is = situations(guest);
        got = dari_conn_send(cell.loop, guest->conn, DARI_BINARY, block, size);
        REQUIRE(got >= 0 || got == DARI_ERR_FULL || got == DARI_ERR_STATE || is & (OVER | STALE | BETWEEN));
        if (got < 0) break;
        REQUIRE(is & OPEN);
        guest->is = OPEN | FULL | (cell.behind == RESET || cell.unsure ? (unsigned)OVER : 0);
    }
    REQUIRE(got < 0 || cell.slow == DARI_SLOW_DROP_OLDEST);
    if (got == DARI_ERR_FULL && cell.slow == DARI_SLOW_REFUSE && guest->is & FULL) guest->is &= ~(unsigned)OPEN;
    if (got == DARI_ERR_FULL) note_full(guest);
}

static void s_fill(void) {
    /* A few of a crowd will do. */
    if (cell.own != NULL && cell.runs <= 3) fill(cell.own, 64 << 10);
}

static void s_fill_close(void) {
    s_fill();
    IN_TURN(CLOSE, SEND, CLOSE);
}

static void s_fill_abort(void) {
    s_fill();
    IN_TURN(ABORT, SEND, ABORT);
}

static void s_fill_other(void) {
    if (other() != NULL) fill(other(), 16 << 10);
}

static void s_big_close(void) {
    static const char block[256 << 10];
    if (cell.own == NULL || !(situations(cell.own) & OPEN)) return;
    if (dari_conn_send(cell.loop, cell.own->conn, DARI_BINARY, block, sizeof block) >= 0)
        cell.own->is = OPEN | FULL | (cell.behind == RESET || cell.unsure ? (unsigned)OVER : 0);
    IN_TURN(CLOSE, SEND);
}

static void s_close_close(void) {
    IN_TURN(CLOSE, CLOSE);
}

static void s_close_abort(void) {
    IN_TURN(CLOSE, ABORT, CLOSE, SEND, SUBSCRIBE, ACCEPT, RESPOND);
}

static void s_abort_send(void) {
    IN_TURN(ABORT, SEND, PART, PING, PAUSE, RESUME, SET_DATA, PEER, UNSUBSCRIBE, ABORT);
}

static void s_send_abort(void) {
    IN_TURN(SEND, PING, ABORT);
}

static void s_parts_close(void) {
    IN_TURN(PART, SEND, PING, PART, CLOSE, LAST);
}

static void s_parts_abort(void) {
    IN_TURN(PART, PAYLOAD, ABORT, LAST);
}

static void s_parts_end(void) {
    IN_TURN(PART, LAST, SEND, LAST, CLOSE);
}

static void s_accept_all_ways(void) {
    IN_TURN(ACCEPT, ACCEPT, RESPOND, BEGIN, PIECE, SEND);
}

static void s_accept_close(void) {
    IN_TURN(ACCEPT, SEND, CLOSE, SEND);
}

static void s_accept_abort(void) {
    IN_TURN(ACCEPT, PART, ABORT, ACCEPT);
}

static void s_respond_all_ways(void) {
    IN_TURN(RESPOND, ACCEPT, RESPOND, BEGIN, END, CLOSE);
}

static void s_pieces(void) {
    IN_TURN(BEGIN, PIECE, RESPOND, ACCEPT, BEGIN, CLOSE, PIECE, END, END, PIECE);
}

static void s_begin_abort(void) {
    IN_TURN(BEGIN, PIECE, ABORT, END);
}

static void s_pause_resume(void) {
    IN_TURN(PAUSE, PAUSE, RESUME, RESUME);
}

static void s_pause_close(void) {
    IN_TURN(PAUSE, CLOSE, RESUME, PAUSE);
}

static void s_pause_abort(void) {
    IN_TURN(PAUSE, ABORT, RESUME);
}

static void s_topic(void) {
    const dari_conn_t except = cell.own != NULL ? cell.own->conn : (dari_conn_t){0};
    each(SUBSCRIBE);
    IN_TURN(UNSUBSCRIBE, SUBSCRIBE, SUBSCRIBE);
    if (cell.in_hook || !cell.dropping) {
        REQUIRE(dari_loop_publish(cell.loop, "topic", except, DARI_BINARY, "1", 1) == DARI_OK);
        REQUIRE(l_publish() == DARI_OK);
    }
    IN_TURN(ABORT, SUBSCRIBE);
    l_subscribers();
    each(UNSUBSCRIBE);
}

static void s_abort_others_and_connect(void) {
    for (size_t i = 0, count = cell.count; i < count; i++)
        if (&cell.guests[i] != cell.own) apply(ABORT, &cell.guests[i]);
    /* New sockets, and with them old numbers of descriptors. */
    if (!cell.freeing && !cell.shut) REQUIRE(l_connect() == DARI_OK);
    IN_TURN(SEND);
}

static void s_connect_close(void) {
    size_t before = cell.count;
    if (cell.freeing || cell.shut || connect_to("ws://127.0.0.1:1/") != DARI_OK) return;
    apply(SEND, &cell.guests[before]);
    apply(CLOSE, &cell.guests[before]);
    apply(CLOSE, &cell.guests[before]);
}

static void s_listen_connect(void) {
    const dari_handler_t handler = cell_handler();
    dari_listener_t listener;
    char url[64];
    if (cell.freeing || cell.shut) return;
    REQUIRE(dari_loop_listen(cell.loop, "127.0.0.1:0", NULL, &handler, &listener) == DARI_OK);
    snprintf(url, sizeof url, "ws://127.0.0.1:%u/", (unsigned)dari_listener_port(cell.loop, listener));
    REQUIRE(connect_to(url) == DARI_OK);
    /* Sometimes too late for the one who is on the way. */
    if (cell.runs % 2 == 1) REQUIRE(dari_listener_close(cell.loop, listener) == DARI_OK);
}

static void s_close_all_and_listener(void) {
    each(CLOSE);
    REQUIRE(cell.dropping || l_listener_close() == DARI_OK);
    each(CLOSE);
    each(ABORT);
}

/* The listener of this very hook, gone, and another in its place. */
static void s_listener_again(void) {
    const dari_handler_t handler = cell_handler();
    if (cell.freeing || cell.shut) return;
    REQUIRE(l_listener_close() == DARI_OK);
    REQUIRE(dari_loop_listen(cell.loop, "127.0.0.1:0", NULL, &handler, NULL) == DARI_OK);
    REQUIRE(l_listener_close() == DARI_OK);
}

static void s_shutdown_and_more(void) {
    if (cell.freeing) return;
    REQUIRE(cell.shut || l_shutdown() == DARI_OK);
    REQUIRE(l_shutdown() == DARI_ERR_STATE);
    IN_TURN(SEND, CLOSE, ACCEPT, RESPOND);
    REQUIRE(l_listener_close() == DARI_OK);
}

static void s_release_again(void) {
    IN_TURN(SEND, RELEASE, RELEASE, SEND, CLOSE, ABORT);
}

static void s_look(void) {
    for (unsigned verb = GETTERS; verb < VERB_COUNT; verb++) each((enum verb)verb);
}

static void s_look_after_abort(void) {
    IN_TURN(ABORT);
    for (unsigned verb = GETTERS; cell.own != NULL && verb < VERB_COUNT; verb++) apply((enum verb)verb, cell.own);
}

/* Everything, in an order that differs from cell to cell, but not from run to run. */
static void s_storm(void) {
    for (int i = 0; i < 60 && cell.count > 0; i++) {
        unsigned long dice = cell.random = cell.random * 1103515245u + 12345u;
        struct guest *guest = dice >> 28 < 8 && cell.own != NULL ? cell.own : &cell.guests[(dice >> 8) % cell.count];
        enum verb verb = (enum verb)((dice >> 16) % VERB_COUNT);
        /* Ends are for later, or there would be little left to try. */
        if (i < 40 && (verb == ABORT || verb == CLOSE || verb == RELEASE)) continue;
        apply(verb, guest);
    }
}

/* -------------------------------------------------------------------- The list */

enum target { OWN, OTHER, ALL };

struct action {
    char name[40];
    /* One of the three. */
    void (*sequence)(void);
    struct loop_call *call;
    enum verb verb;
    enum target target;
};

static const struct {
    const char *name;
    void (*run)(void);
} SEQUENCES[] = {
    {"fill", s_fill},
    {"fill_close", s_fill_close},
    {"fill_abort", s_fill_abort},
    {"fill_other", s_fill_other},
    {"big_close", s_big_close},
    {"close_close", s_close_close},
    {"close_abort", s_close_abort},
    {"abort_send", s_abort_send},
    {"send_abort", s_send_abort},
    {"parts_close", s_parts_close},
    {"parts_abort", s_parts_abort},
    {"parts_end", s_parts_end},
    {"accept_all_ways", s_accept_all_ways},
    {"accept_close", s_accept_close},
    {"accept_abort", s_accept_abort},
    {"respond_all_ways", s_respond_all_ways},
    {"pieces", s_pieces},
    {"begin_abort", s_begin_abort},
    {"pause_resume", s_pause_resume},
    {"pause_close", s_pause_close},
    {"pause_abort", s_pause_abort},
    {"topic", s_topic},
    {"abort_others_and_connect", s_abort_others_and_connect},
    {"connect_close", s_connect_close},
    {"listen_connect", s_listen_connect},
    {"close_all_and_listener", s_close_all_and_listener},
    {"listener_again", s_listener_again},
    {"shutdown_and_more", s_shutdown_and_more},
    {"release_again", s_release_again},
    {"look", s_look},
    {"look_after_abort", s_look_after_abort},
    {"storm", s_storm},
};

static struct action ACTIONS[200];
static size_t action_count;

static struct action *action_new(const char *name, const char *target) {
    struct action *action = &ACTIONS[action_count++];
    snprintf(action->name, sizeof action->name, "%s%s", name, target);
    return action;
}

static void list_actions(void) {
    static const char *const targets[] = {"_own", "_other", "_all"};
    for (unsigned verb = 0; verb < GETTERS; verb++)
        for (unsigned target = OWN; target <= ALL; target++) {
            struct action *action = action_new(VERBS[verb].name, targets[target]);
            action->verb = (enum verb)verb;
            action->target = (enum target)target;
        }
    for (size_t i = 0; i < sizeof LOOP_CALLS / sizeof LOOP_CALLS[0]; i++)
        action_new(LOOP_CALLS[i].name, "")->call = &LOOP_CALLS[i];
    for (size_t i = 0; i < sizeof SEQUENCES / sizeof SEQUENCES[0]; i++)
        action_new(SEQUENCES[i].name, "")->sequence = SEQUENCES[i].run;
}

static void act(const struct action *action) {
    if (action->sequence != NULL)
        action->sequence();
    else if (action->call != NULL)
        loop_apply(action->call);
    else if (action->target == ALL)
        each(action->verb);
    else if (action->target == OTHER && other() != NULL)
        apply(action->verb, other());
    else if (action->target == OWN && cell.own != NULL)
        apply(action->verb, cell.own);
}

#endif
