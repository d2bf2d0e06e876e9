/* Every hook of a cell: what is true of it whatever is done, and the action if this is its place. */
#ifndef ABUSE_HOOKS_H
#define ABUSE_HOOKS_H

#include "abuse_actions.h"

/* Where the crowd begins among the guests: a single one has somebody beside it. */
#define FIRST (cell.crowd == 1 ? 1u : 0u)

static void run_action(struct guest *own) {
    struct guest *before = cell.own;
    if (!cell.armed || cell.runs >= cell.limit) return;
    cell.runs++;
    cell.own = own;
    act(cell.action);
    cell.own = before;
}

/* What is true of every hook, and what has become of its connection. */
static struct guest *enter(char hook, dari_loop_t *loop, dari_conn_t conn) {
    struct guest *guest = guest_of(conn);
    REQUIRE(loop == cell.loop && !cell.freed && !cell.in_hook && !cell.in_call);
    if (guest == NULL) {
        guest = guest_new(conn, DIALLING);
        /* Of a dial that connects again. */
        guest->dial = dari_conn_dial(cell.loop, conn).id != 0;
    }
    if (guest->closed) fail("hook '%c' after close", hook);
    if (guest->erred) REQUIRE(hook == 'c');
    if (guest->is == OVER) REQUIRE(hook == 'e' || hook == 'c' || hook == 'D');
    if (strchr("mpP", hook) != NULL) REQUIRE(guest->opened && !guest->ended && !guest->paused);
    if (strchr("uh", hook) != NULL) REQUIRE(!guest->opened);
    cell.in_hook = 1;
    cell.current = guest;
    return guest;
}

static void leave(void) {
    cell.in_hook = 0;
    cell.current = NULL;
}

static void at(char hook, struct guest *guest) {
    if (cell.place->hook == hook && guest->dial == (cell.place->flags & DIALS ? 1 : 0) &&
        (cell.freeing || strcmp(cell.place->name, "freed") != 0))
        run_action(guest);
}

/* The other end of a dial, which is on this loop, too: it says more, or is gone already. */
static void serve_dials(char hook, struct guest *guest) {
    if (!(cell.place->flags & DIALS) || cell.freeing || !cell.armed || guest < cell.guests + FIRST) return;
    if (hook == 'o' && !guest->dial && cell.place->hook == 'm') apply(SEND, guest);
    if (hook == 'o' && guest->dial && cell.place->hook == 'P') apply(PING, guest);
    if (hook == 'o' && !guest->dial && cell.place->hook == 'c') apply(CLOSE, guest);
    if (cell.behind == DATA && hook == 'o' && !guest->dial && cell.place->hook != 'c') {
        apply(SEND, guest);
        apply(PING, guest);
        apply(CLOSE, guest);
    } else if (cell.behind == RESET && cell.place->hook == 0 && hook == 'u') {
        apply(ABORT, guest);
    } else if (cell.behind == RESET && cell.place->hook == 'o' && hook == 'o' && guest->dial) {
        for (size_t i = FIRST; i < cell.count; i++)
            if (!cell.guests[i].dial) apply(ABORT, &cell.guests[i]);
    }
}

static void on_open(void *user, dari_loop_t *loop, dari_conn_t conn) {
    struct guest *guest = enter('o', loop, conn);
    REQUIRE(user == &cell && guest->opened++ == 0 && !guest->ended);
    if (!(guest->is & (PARTS | FULL))) guest->is = OPEN;
    serve_dials('o', guest);
    at('o', guest);
    leave();
}

static void told(char hook, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
    struct guest *guest = enter(hook, loop, conn);
    char copy[8];
    size_t len = message->len < sizeof copy ? message->len : sizeof copy;
    memcpy(copy, message->data, len);
    at(hook, guest);
    /* It is on loan until the hook returns, come what may. */
    REQUIRE(memcmp(copy, message->data, len) == 0);
    leave();
}

static void on_message(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
    (void)user;
    told('m', loop, conn, message);
}

static void on_part(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *part, uint32_t last) {
    (void)user, (void)last;
    told('p', loop, conn, part);
}

static void on_pong(void *user, dari_loop_t *loop, dari_conn_t conn, const void *data, size_t len) {
    const dari_message_t message = {.data = data, .len = len};
    (void)user;
    told('P', loop, conn, &message);
}

static void on_drain(void *user, dari_loop_t *loop, dari_conn_t conn) {
    struct guest *guest = enter('d', loop, conn);
    (void)user;
    if (guest->is & FULL) guest->is = (guest->is & ~(unsigned)FULL) | OPEN;
    at('d', guest);
    leave();
}

static void ended(char hook, dari_loop_t *loop, dari_conn_t conn, const dari_close_t *why) {
    struct guest *guest = enter(hook, loop, conn);
    int failed = why->cause > DARI_CAUSE_RELEASED || why->cause == 0;
    char copy[16] = {0};
    guest->is = OVER;
    REQUIRE(why->text.len >= sizeof copy && (why->opened != 0) == (guest->opened != 0));
    memcpy(copy, why->text.data, why->text.len < sizeof copy ? 0 : sizeof copy);
    if (hook == 'c') {
        dari_past_t past = {.struct_size = sizeof past};
        REQUIRE(failed == guest->erred);
        guest->closed++;
        REQUIRE(dari_loop_past(loop, 0, &past) == DARI_OK && past.conn.id == conn.id && past.why.cause == why->cause);
    } else {
        REQUIRE(failed);
        guest->erred = 1;
    }
    at(hook, guest);
    REQUIRE(memcmp(copy, why->text.data, sizeof copy) == 0);
    if (hook == 'c') guest->is = STALE;
    leave();
}

static void on_error(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_close_t *why) {
    (void)user;
    ended('e', loop, conn, why);
}

static void on_close(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_close_t *why) {
    (void)user;
    ended('c', loop, conn, why);
}

static void on_upgrade(void *user, dari_loop_t *loop, dari_conn_t conn) {
    struct guest *guest = enter('u', loop, conn);
    (void)user;
    guest->is = ASKED;
    guest->upgrade = 1;
    serve_dials('u', guest);
    at('u', guest);
    if (!cell.hold && guest->is == ASKED) apply(ACCEPT, guest);
    leave();
}

static void on_http(void *user, dari_loop_t *loop, dari_conn_t conn) {
    struct guest *guest = enter('h', loop, conn);
    (void)user;
    guest->is = PLAIN;
    guest->upgrade = 0;
    at('h', guest);
    if (!cell.hold && guest->is == PLAIN) apply(RESPOND, guest);
    leave();
}

static void on_dropped_messages(void *user, dari_loop_t *loop, dari_conn_t conn, size_t messages, size_t bytes) {
    struct guest *guest = enter('D', loop, conn);
    REQUIRE(user == &cell && messages > 0 && bytes > 0);
    /* Told at the end of the turn: some of it may have left, the peer may have closed, or all be over. */
    if (guest->is & FULL)
        guest->is |= OPEN | (cell.behind == RESET ? (unsigned)OVER : cell.behind == NOTHING ? 0u : (unsigned)CLOSING);
    at('D', guest);
    leave();
}

/* Hooks without a connection: the action is about all of the crowd. */
static void at_no_guest(char hook) {
    REQUIRE(!cell.freed && !cell.in_hook && !cell.in_call);
    if (cell.place->hook != hook) return;
    cell.in_hook = 1;
    for (size_t i = FIRST; i < FIRST + cell.crowd; i++) run_action(&cell.guests[i]);
    cell.in_hook = 0;
}

static void on_limited(void *user, dari_loop_t *loop, const dari_limited_t *what) {
    REQUIRE(user == &cell && loop == cell.loop && what->which == DARI_LIMITED_CONNS && what->count == 1);
    at_no_guest('l');
    REQUIRE(what->listener.id == cell.listener.id);
}

static void on_retry(void *user, dari_loop_t *loop, dari_dial_t dial, uint32_t attempt, uint32_t delay_ms) {
    REQUIRE(user == &cell && loop == cell.loop && dial.id != 0 && attempt >= 1 && delay_ms <= 2);
    cell.in_retry = 1;
    at_no_guest('y');
    cell.in_retry = 0;
}

static void on_log(void *user, dari_loop_t *loop, const dari_log_t *line) {
    char copy[4] = {0};
    REQUIRE(user == &cell && loop == cell.loop && line->event.len > 0 && line->text.len >= sizeof copy);
    memcpy(copy, line->text.data, sizeof copy);
    at_no_guest('L');
    REQUIRE(memcmp(copy, line->text.data, sizeof copy) == 0);
}

static void on_done(void *user, dari_loop_t *loop, size_t dropped) {
    REQUIRE(user == &cell && loop == cell.loop && cell.shut && cell.done++ == 0);
    REQUIRE(dropped == 0 && guests_left() == 0);
    at_no_guest('z');
}

static dari_handler_t cell_handler(void) {
    dari_handler_t handler;
    memset(&handler, 0, sizeof handler);
    handler.struct_size = sizeof handler;
    handler.user = &cell;
    handler.open = on_open;
    handler.message = on_message;
    handler.drain = on_drain;
    handler.error = on_error;
    handler.close = on_close;
    handler.upgrade = on_upgrade;
    handler.http = on_http;
    handler.pong = on_pong;
    handler.dropped = on_dropped_messages;
    handler.limited = on_limited;
    handler.retry = on_retry;
    if (cell.place->hook == 'p') handler.part = on_part;
    return handler;
}

static void on_cell_timer(void *user, dari_loop_t *loop, dari_timer_t timer) {
    (void)user, (void)loop, (void)timer;
    at_no_guest('t');
}

static void on_cell_watch(void *user, dari_loop_t *loop, dari_watch_t watch, uint32_t events) {
    char byte;
    (void)user;
    REQUIRE(events == DARI_WATCH_READ && read(cell.pipe[0], &byte, 1) == 1);
    at_no_guest('w');
    REQUIRE(dari_watch_cancel(loop, watch) == DARI_OK);
}

static void on_cell_call(void *user, dari_loop_t *loop) {
    (void)user, (void)loop;
    at_no_guest('r');
}

static void on_cell_dropped(void *user) {
    (void)user;
    cell.dropping = 1;
    for (size_t i = FIRST; i < FIRST + cell.crowd; i++) run_action(&cell.guests[i]);
    cell.dropping = 0;
}

#endif
