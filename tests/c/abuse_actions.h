/* What is done in a cell: each function on the connection itself, on another, on all; functions of the loop; and
 * what is asked for by people who were not thinking. */
#ifndef ABUSE_ACTIONS_H
#define ABUSE_ACTIONS_H

#include "abuse.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* Every hook, from test_abuse.c. */
static dari_handler_t cell_handler(void);

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

/* ---------------------------------------------------------- Functions of a loop */

static int32_t l_listen(void) {
    const dari_handler_t handler = cell_handler();
    return dari_loop_listen(cell.loop, "127.0.0.1:0", NULL, &handler, NULL);
}

/* A port on which nobody listens, and which nobody else gets. */
static uint16_t deaf_port;

static int32_t connect_to(const char *url) {
    const dari_handler_t handler = cell_handler();
    dari_conn_t conn = {0};
    int32_t got = dari_loop_connect(cell.loop, url, NULL, &handler, &conn);
    REQUIRE((got == DARI_OK) == (conn.id != 0));
    if (got == DARI_OK) guest_new(conn, DIALLING)->dial = 1;
    return got;
}

static int32_t l_connect(void) {
    char url[64];
    snprintf(url, sizeof url, "ws://127.0.0.1:%u/", (unsigned)deaf_port);
    return connect_to(cell.url[0] != '\0' ? cell.url : url);
}

static int32_t l_listener_close(void) {
    int32_t got = dari_listener_close(cell.loop, cell.listener);
    if (got == DARI_ERR_STALE && !cell.listening) return DARI_OK;
    if (got == DARI_OK) cell.listening = 0;
    return got;
}

static int32_t l_listener_port(void) {
    return dari_listener_port(cell.loop, cell.listener);
}

static int32_t l_stop(void) {
    return dari_loop_stop(cell.loop);
}

static int32_t l_fd(void) {
    return dari_loop_fd(cell.loop);
}

static int32_t l_timeout(void) {
    return dari_loop_timeout(cell.loop) == DARI_NEVER ? 1 : 0;
}

/* Walks over all that are there: known ones alone, and none that is gone. */
static int32_t l_next(void) {
    dari_conn_t conn = {0};
    size_t seen = 0;
    while ((conn = dari_loop_next(cell.loop, conn)).id != 0) {
        struct guest *guest = guest_of(conn);
        REQUIRE(guest == NULL || !guest->closed || guest == cell.current);
        REQUIRE(guest != NULL);
        if (++seen > cell.count) break;
    }
    REQUIRE(seen <= cell.count);
    return 0;
}

static int32_t l_subscribers(void) {
    size_t count = dari_loop_subscribers(cell.loop, "topic");
    REQUIRE(count <= cell.count);
    return (int32_t)count;
}

static int32_t l_publish(void) {
    const dari_conn_t nobody = {0};
    int32_t got = dari_loop_publish(cell.loop, "topic", nobody, DARI_TEXT, "to all", 6);
    for (size_t i = 0; i < cell.count; i++)
        if (cell.behind == RESET && (cell.guests[i].is & (OPEN | PARTS | FULL))) cell.guests[i].is |= OVER;
    return got;
}

static void on_tick(void *user, dari_loop_t *loop, dari_timer_t timer) {
    (void)user, (void)loop;
    REQUIRE(!cell.freed && !cell.in_call && !cell.in_hook && timer.id != 0);
}

static int32_t timer_new(uint32_t repeat) {
    dari_timer_t *timer = &cell.timers[cell.timer_count];
    int32_t got;
    if (cell.timer_count == sizeof cell.timers / sizeof cell.timers[0]) return DARI_OK;
    got = dari_timer_new(cell.loop, 0, repeat, on_tick, NULL, timer);
    if (got == DARI_OK) cell.timer_count++;
    return got;
}

static int32_t l_timer(void) {
    return timer_new(0);
}

static int32_t l_timer_repeat(void) {
    return timer_new(1);
}

static int32_t l_timer_cancel(void) {
    dari_timer_t timer = {0};
    dari_timer_new(cell.loop, 0, 0, on_tick, NULL, &timer);
    return dari_timer_cancel(cell.loop, timer);
}

static void on_ready(void *user, dari_loop_t *loop, dari_watch_t watch, uint32_t events) {
    (void)user, (void)loop, (void)events;
    REQUIRE(!cell.freed && !cell.in_call && !cell.in_hook && watch.id == cell.watch.id);
}

static int32_t l_watch(void) {
    int32_t got = dari_watch_new(cell.loop, cell.pipe[1], DARI_WATCH_WRITE, on_ready, NULL, &cell.watch);
    /* One watch for one descriptor. */
    return got == DARI_ERR_SYSTEM && dari_last_errno() == EEXIST ? DARI_OK : got;
}

static int32_t l_watch_cancel(void) {
    dari_watch_t watch = {0};
    int fd = dup(cell.pipe[1]);
    int32_t got;
    dari_watch_new(cell.loop, fd, DARI_WATCH_WRITE, on_ready, NULL, &watch);
    got = dari_watch_cancel(cell.loop, watch);
    close(fd);
    return got;
}

static int32_t l_remote(void) {
    dari_remote_t *remote = NULL;
    int32_t got = dari_remote_new(cell.loop, &remote);
    REQUIRE((got == DARI_OK) == (remote != NULL));
    dari_remote_free(remote);
    return got;
}

static int32_t l_remote_stop(void) {
    return dari_remote_stop(cell.remote);
}

static size_t asked, answered;

static void on_call(void *user, dari_loop_t *loop) {
    (void)user;
    answered++;
    REQUIRE(!cell.freed && !cell.in_call && !cell.in_hook && loop == cell.loop);
}

static void on_dropped(void *user) {
    (void)user;
    answered++;
    REQUIRE(!cell.freed && cell.freeing);
}

static int32_t l_remote_call(void) {
    int32_t got = dari_remote_call(cell.remote, on_call, on_dropped, NULL);
    /* The queue goes before the last of those in it are told. */
    if (got == DARI_ERR_STALE && cell.dropping) return DARI_OK;
    if (got == DARI_OK) asked++;
    return got;
}

/* Those that call hooks, where it may be: they end by themselves. */
static void outside(void) {
    if (cell.in_hook || cell.dropping) return;
    cell.in_call--;
    cell.unsure = 1;
}

static void inside(void) {
    if (!cell.in_hook && !cell.dropping) cell.in_call++;
}

static int32_t l_turn(void) {
    int32_t got;
    outside();
    got = dari_loop_turn(cell.loop, 0);
    inside();
    return got;
}

static int32_t l_run(void) {
    int32_t got;
    REQUIRE(dari_remote_stop(cell.remote) == DARI_OK);
    outside();
    got = dari_loop_run(cell.loop);
    inside();
    return got;
}

static int32_t l_free(void) {
    int32_t got;
    int is_outside = !cell.in_hook && !cell.dropping;
    outside();
    if (is_outside) cell.freeing = 1;
    got = dari_loop_free(cell.loop);
    if (is_outside && got == DARI_OK) cell.freed = 1;
    inside();
    return got;
}

/* The answers: in a hook, outside, in a hook that dari_loop_free calls, in a `dropped`. */
struct loop_call {
    const char *function, *name, *answers;
    int32_t (*call)(void);
    size_t calls;
};
static struct loop_call LOOP_CALLS[] = {
    {"dari_loop_listen", "listen", "..xx", l_listen, 0},
    {"dari_loop_connect", "connect", "..xx", l_connect, 0},
    {"dari_listener_close", "listener_close", "...x", l_listener_close, 0},
    {"dari_listener_port", "listener_port", "**00", l_listener_port, 0},
    {"dari_loop_stop", "stop", "...x", l_stop, 0},
    {"dari_loop_fd", "fd", "***x", l_fd, 0},
    {"dari_loop_timeout", "timeout", "***1", l_timeout, 0},
    {"dari_loop_next", "next", "0000", l_next, 0},
    {"dari_loop_subscribers", "subscribers", "***0", l_subscribers, 0},
    {"dari_loop_publish", "publish", "...x", l_publish, 0},
    {"dari_timer_new", "timer", "...x", l_timer, 0},
    {"dari_timer_new", "timer_repeat", "...x", l_timer_repeat, 0},
    {"dari_timer_cancel", "timer_cancel", "...x", l_timer_cancel, 0},
    {"dari_watch_new", "watch", "...x", l_watch, 0},
    {"dari_watch_cancel", "watch_cancel", "...x", l_watch_cancel, 0},
    {"dari_remote_new", "remote", "...x", l_remote, 0},
    {"dari_remote_call", "remote_call", "....", l_remote_call, 0},
    {"dari_remote_stop", "remote_stop", "....", l_remote_stop, 0},
    {"dari_loop_turn", "turn", "x.xx", l_turn, 0},
    {"dari_loop_run", "run", "x.xx", l_run, 0},
    {"dari_loop_free", "free", "x.xx", l_free, 0},
};

static int32_t loop_apply(struct loop_call *call) {
    char letter[2] = {0};
    int32_t got;
    letter[0] = call->answers[cell.dropping ? 3 : cell.freeing ? 2 : cell.in_hook ? 0 : 1];
    cell.in_call++;
    got = call->call();
    cell.in_call--;
    judge(call->function, letter, cell.in_hook ? "in a hook" : "outside", got);
    call->calls++;
    return got;
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

/* Sends until it is refused, for whatever reason. */
static void fill(struct guest *guest, size_t size) {
    static const char block[256 << 10];
    int32_t got = 0;
    size_t sent = 0;
    for (; got >= 0 && sent < 1000; sent++) {
        unsigned is = situations(guest);
        got = dari_conn_send(cell.loop, guest->conn, DARI_BINARY, block, size);
        REQUIRE(got >= 0 || got == DARI_ERR_FULL || got == DARI_ERR_STATE || (is & (OVER | STALE | BETWEEN)));
        if (got < 0) break;
        REQUIRE(is & OPEN);
        guest->is = OPEN | FULL | (cell.behind == RESET || cell.unsure ? (unsigned)OVER : 0);
    }
    REQUIRE(sent < 1000);
    if (got == DARI_ERR_FULL && guest->is & FULL) guest->is &= ~(unsigned)OPEN;
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
    if (!cell.freeing) REQUIRE(l_connect() == DARI_OK);
    IN_TURN(SEND);
}

static void s_connect_close(void) {
    size_t before = cell.count;
    if (cell.freeing || connect_to("ws://127.0.0.1:1/") != DARI_OK) return;
    apply(SEND, &cell.guests[before]);
    apply(CLOSE, &cell.guests[before]);
    apply(CLOSE, &cell.guests[before]);
}

static void s_listen_connect(void) {
    const dari_handler_t handler = cell_handler();
    dari_listener_t listener;
    char url[64];
    if (cell.freeing) return;
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
        if (i < 40 && (verb == ABORT || verb == CLOSE)) continue;
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
