/* A model of each connection that is as simple as the header, and the one cell of the table that is being run.
 * test_abuse.c says what a cell is. */
#ifndef ABUSE_H
#define ABUSE_H

#include "check.h"
#include <stdarg.h>

/* How far a connection is, by what the test did and heard. A set of these where only dari can know. The order is
 * that of the columns in abuse_verbs.h. */
enum {
    ASKED = 1 << 0,     /* an upgrade that waits for its answer */
    PLAIN = 1 << 1,     /* a plain request that does */
    BEGUN = 1 << 2,     /* an answer in pieces that has begun */
    KEPT = 1 << 3,      /* answered, and kept for the next request */
    REFUSED = 1 << 4,   /* an upgrade that was refused */
    DIALLING = 1 << 5,  /* a client before `open` */
    OPEN = 1 << 6,
    PARTS = 1 << 7,     /* open, and a message in parts is unfinished */
    FULL = 1 << 8,      /* open, and its queue is full */
    CLOSING = 1 << 9,   /* a Close frame has gone one way, or both */
    OVER = 1 << 10,     /* ended, which `close` has not told yet, or tells now */
    STALE = 1 << 11,
    BETWEEN = 1 << 12,  /* whatever it is: the loop is at work, and this is none of its hooks */
    SITUATIONS = 13
};

struct guest {
    dari_conn_t conn;
    unsigned is;
    /* Made by dari_loop_connect. */
    int dial;
    /* Its latest request was an upgrade. */
    int upgrade;
    /* We have closed or dropped it: no more messages. */
    int ended;
    /* It will be closed, or has been. */
    int doomed;
    int paused, opened, erred, closed;
};

enum behind { NOTHING, DATA, RESET };
enum { CROWD = 50, GUESTS = 8 * CROWD };

struct place;
struct action;

/* The cell that is being run. */
static struct {
    char name[128];
    const struct place *place;
    const struct action *action;
    enum behind behind;
    /* DARI_SLOW_*. */
    uint32_t slow;
    size_t crowd;
    unsigned random;
    dari_loop_t *loop;
    dari_listener_t listener;
    dari_remote_t *remote;
    /* Empty while the listener is a unix socket. */
    char url[64];
    /* The URL is one of wss://. */
    int sealed;
    int listening;
    struct guest guests[GUESTS];
    size_t count;
    /* Whose hook runs; whose the action is about. */
    struct guest *current, *own;
    int in_hook, in_call, freeing, dropping, freed;
    /* A shutdown has begun; `done` was called. */
    int shut, done;
    int in_retry;
    /* Whether the hook of the place runs the action, how often it has, and how often it may. */
    int armed;
    size_t runs, limit;
    /* Upgrades and requests are left unanswered. */
    int hold;
    /* Connections may have gone on since their last hook. */
    int unsure;
    int pipe[2];
    dari_timer_t timers[2 * CROWD];
    size_t timer_count;
    dari_watch_t watch;
    dari_dial_t dials[4 * CROWD];
    size_t dial_count;
} cell;

static void fail(const char *format, ...) {
    va_list arguments;
    /* One is enough to see, and a hundred would hide it. */
    if (check_failures++ > 0) return;
    fprintf(stderr, "%s: ", cell.name);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "  [last error: %s]\n", dari_last_error());
}

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) fail("not so: %s (%s:%d)", #condition, __FILE__, __LINE__);              \
    } while (0)

static struct guest *guest_of(dari_conn_t conn) {
    for (size_t i = 0; i < cell.count; i++)
        if (cell.guests[i].conn.id == conn.id) return &cell.guests[i];
    return NULL;
}

static struct guest *guest_new(dari_conn_t conn, unsigned is) {
    struct guest *guest = &cell.guests[cell.count];
    if (cell.count == GUESTS) {
        fail("too many connections");
        return &cell.guests[0];
    }
    cell.count++;
    memset(guest, 0, sizeof *guest);
    guest->conn = conn;
    guest->is = is;
    return guest;
}

static size_t guests_left(void) {
    size_t left = 0;
    for (size_t i = 0; i < cell.count; i++) left += !cell.guests[i].closed;
    return left;
}

/* ---------------------------------------------------------------- What may be */

/* Whether an answer is what a letter stands for. */
static int fits(char letter, long got) {
    switch (letter) {
    case '.': return got == DARI_OK;
    case 'b': return got == DARI_OK || got == DARI_BUFFERED;
    case 'f': return got == DARI_ERR_FULL;
    case 'x': return got == DARI_ERR_STATE;
    case 'g': return got == DARI_ERR_STATE || got == DARI_ERR_FULL;
    case 's': return got == DARI_ERR_STALE;
    case 'r': return got == DARI_OK || got == DARI_ERR_STATE || (cell.sealed && got == DARI_ERR_UNSUPPORTED);
    case 'p': return got == DARI_OK || got == DARI_ERR_ARGUMENT;
    case 'c': return got == DARI_STATE_CLOSING || got == DARI_STATE_CLOSED;
    case '*': return got >= 0;
    default: return got == letter - '0';
    }
}

/* What a guest may be now: what it was when we last knew, or on its way out. */
static unsigned situations(const struct guest *guest) {
    if (cell.dropping) return BETWEEN;
    /* Known: `retry` comes before the id that `close` was called for is stale. */
    if (guest->is == STALE && cell.in_retry) return OVER | STALE;
    if (guest->is == STALE || guest->is == OVER) return guest->is;
    if (cell.freeing) return OVER;
    if (guest->doomed) return guest->is | CLOSING | OVER;
    if (guest == cell.current || !(cell.unsure || (guest->dial && cell.in_hook))) return guest->is;
    return guest->is | CLOSING | OVER;
}

static void judge(const char *function, const char *letters, const char *where, long got) {
    const char *why = dari_last_error();
    size_t len = strlen(function);
    for (const char *letter = letters; *letter != '\0'; letter++)
        if (fits(*letter, got)) {
            /* Getters have values, not statuses: none below zero. */
            if (got < 0) REQUIRE(strncmp(why, function, len) == 0 && why[len] == ':');
            return;
        }
    fail("%s is %ld, not one of \"%s\" (%s)", function, got, letters, where);
}

#endif
