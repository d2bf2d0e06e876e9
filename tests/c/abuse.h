/* What every function may answer, by what it is asked of: a model of each connection that is as simple as the header,
 * the rows of answers, and the one cell of the table that is being run. test_abuse.c says what a cell is. */
#ifndef ABUSE_H
#define ABUSE_H

#include "check.h"
#include <stdarg.h>
#include <unistd.h>

/* How far a connection is, by what the test did and heard. A set of these where only dari can know. The order is
 * that of the columns in VERBS. */
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
    size_t crowd;
    unsigned random;
    dari_loop_t *loop;
    dari_listener_t listener;
    dari_remote_t *remote;
    /* NULL while the listener is a unix socket. */
    char url[64];
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
    case 'r': return got == DARI_OK || got == DARI_ERR_STATE;
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

/* ---------------------------------------------------- Functions of a connection */

static int32_t v_send(dari_conn_t conn) {
    return dari_conn_send(cell.loop, conn, DARI_TEXT, "x", 1);
}

static int32_t v_part(dari_conn_t conn) {
    return dari_conn_send_part(cell.loop, conn, DARI_TEXT, "x", 1, 0);
}

static int32_t v_last(dari_conn_t conn) {
    return dari_conn_send_part(cell.loop, conn, DARI_TEXT, NULL, 0, 1);
}

static int32_t v_payload(dari_conn_t conn) {
    dari_payload_t *payload;
    int32_t got;
    REQUIRE(dari_payload_new(DARI_TEXT, "shared", 6, &payload) == DARI_OK);
    got = dari_conn_send_payload(cell.loop, conn, payload);
    dari_payload_free(payload);
    return got;
}

static int32_t v_close(dari_conn_t conn) {
    return dari_conn_close(cell.loop, conn, 1000, "enough");
}

static int32_t v_abort(dari_conn_t conn) {
    return dari_conn_abort(cell.loop, conn);
}

static int32_t v_ping(dari_conn_t conn) {
    return dari_conn_ping(cell.loop, conn, "ping", 4);
}

static int32_t v_pause(dari_conn_t conn) {
    return dari_conn_pause(cell.loop, conn);
}

static int32_t v_resume(dari_conn_t conn) {
    return dari_conn_resume(cell.loop, conn);
}

static int32_t v_set_data(dari_conn_t conn) {
    return dari_conn_set_data(cell.loop, conn, &cell);
}

static int32_t v_peer(dari_conn_t conn) {
    char text[64];
    return dari_conn_peer(cell.loop, conn, text, sizeof text, NULL);
}

static int32_t v_accept(dari_conn_t conn) {
    static const dari_header_t header = {"X-Test", "1"};
    return dari_conn_accept(cell.loop, conn, NULL, &header, 1);
}

static int32_t v_respond(dari_conn_t conn) {
    return dari_conn_respond(cell.loop, conn, 403, NULL, 0, "no", 2);
}

static int32_t v_begin(dari_conn_t conn) {
    return dari_conn_respond_begin(cell.loop, conn, 403, NULL, 0);
}

static int32_t v_piece(dari_conn_t conn) {
    return dari_conn_respond_piece(cell.loop, conn, "piece", 5);
}

static int32_t v_end(dari_conn_t conn) {
    return dari_conn_respond_piece(cell.loop, conn, NULL, 0);
}

static int32_t v_subscribe(dari_conn_t conn) {
    return dari_conn_subscribe(cell.loop, conn, "topic");
}

static int32_t v_unsubscribe(dari_conn_t conn) {
    return dari_conn_unsubscribe(cell.loop, conn, "topic");
}

/* Taken away from dari, and closed. */
static int32_t v_release(dari_conn_t conn) {
    static char rest[64 << 10];
    int32_t fd = -1, got;
    size_t len = 0;
    got = dari_conn_release(cell.loop, conn, &fd, rest, sizeof rest, &len);
    REQUIRE((got == DARI_OK) == (fd >= 0) && len < sizeof rest);
    if (fd >= 0) REQUIRE(close(fd) == 0);
    return got;
}

static int32_t v_state(dari_conn_t conn) {
    return (int32_t)dari_conn_state(cell.loop, conn);
}

static int32_t v_backlog(dari_conn_t conn) {
    return (int32_t)dari_conn_backlog(cell.loop, conn);
}

static int32_t v_data(dari_conn_t conn) {
    void *data = dari_conn_data(cell.loop, conn);
    REQUIRE(data == NULL || data == (void *)&cell);
    return data != NULL;
}

static int32_t v_protocol(dari_conn_t conn) {
    return dari_conn_protocol(cell.loop, conn).data != NULL;
}

static int32_t v_method(dari_conn_t conn) {
    return dari_request_method(cell.loop, conn).data != NULL;
}

static int32_t v_target(dari_conn_t conn) {
    return dari_request_target(cell.loop, conn).data != NULL;
}

static int32_t v_body(dari_conn_t conn) {
    return dari_request_body(cell.loop, conn).data != NULL;
}

static int32_t v_header(dari_conn_t conn) {
    return dari_request_header(cell.loop, conn, "host", 0).data != NULL;
}

static int32_t v_certificate(dari_conn_t conn) {
    return dari_conn_certificate(cell.loop, conn).data != NULL;
}

/* 1 if it is what it should be. */
static int32_t v_dial(dari_conn_t conn) {
    const struct guest *guest = guest_of(conn);
    return (dari_conn_dial(cell.loop, conn).id != 0) == (guest != NULL && guest->dial);
}

/* Verbs first, then getters. */
enum verb {
    SEND, PART, LAST, PAYLOAD, CLOSE, ABORT, PING, PAUSE, RESUME, SET_DATA, PEER, ACCEPT, RESPOND, BEGIN, PIECE, END,
    SUBSCRIBE, UNSUBSCRIBE, RELEASE, GETTERS, VERB_COUNT = GETTERS + 10
};

/* The letters are those of `fits`: . done, b done or buffered, f full, x not now, g either, r done or not now, s stale,
 * * any, a digit itself. */
static const struct {
    const char *function, *name, *answers;
    int32_t (*call)(dari_conn_t);
} VERBS[VERB_COUNT] = {
    /*                                            +------------- ASKED
     *                                            |+------------ PLAIN
     *                                            ||+----------- BEGUN
     *                                            |||+---------- KEPT
     *                                            ||||+--------- REFUSED
     *                                            |||||+-------- DIALLING
     *                                            ||||||+------- OPEN
     *                                            |||||||+------ PARTS
     *                                            ||||||||+----- FULL
     *                                            |||||||||+---- CLOSING
     *                                            ||||||||||+--- OVER
     *                                            |||||||||||+-- STALE
     *                                            ||||||||||||+- BETWEEN */
    {"dari_conn_send", "send",                   "xxxxxxbxfxxsx", v_send},
    {"dari_conn_send_part", "part",              "xxxxxxbbfxxsx", v_part},
    {"dari_conn_send_part", "last",              "xxxxxxbbfxxsx", v_last},
    {"dari_conn_send_payload", "payload",        "xxxxxxbxfxxsx", v_payload},
    {"dari_conn_close", "close",                 "xxxxx....xxsx", v_close},
    {"dari_conn_abort", "abort",                 "..........xsx", v_abort},
    {"dari_conn_ping", "ping",                   "xxxxxx...xxsx", v_ping},
    {"dari_conn_pause", "pause",                 "..........xsx", v_pause},
    {"dari_conn_resume", "resume",               "..........xsx", v_resume},
    {"dari_conn_set_data", "set_data",           "...........sx", v_set_data},
    {"dari_conn_peer", "peer",                   "...........sx", v_peer},
    {"dari_conn_accept", "accept",               ".xxxxxxxxxxsx", v_accept},
    {"dari_conn_respond", "respond",             "..xxxxxxxxxsx", v_respond},
    {"dari_conn_respond_begin", "begin",         "..xxxxxxxxxsx", v_begin},
    {"dari_conn_respond_piece", "piece",         "xxbxxxxxgxxsx", v_piece},
    {"dari_conn_respond_piece", "end",           "xx.xxxxxxxxsx", v_end},
    {"dari_conn_subscribe", "subscribe",         "..........xsx", v_subscribe},
    {"dari_conn_unsubscribe", "unsubscribe",     "...........sx", v_unsubscribe},
    {"dari_conn_release", "release",             "rrrrrxrrrrxsx", v_release},
    {"dari_conn_state", "state",                 "0000c0111c333", v_state},
    {"dari_conn_backlog", "backlog",             "***********00", v_backlog},
    {"dari_conn_data", "data",                   "***********00", v_data},
    {"dari_conn_protocol", "protocol",           "0000000000000", v_protocol},
    {"dari_conn_certificate", "certificate",     "0000000000000", v_certificate},
    {"dari_conn_dial", "dial",                   "11111111111**", v_dial},
    {"dari_request_method", "method",            "1100000000*00", v_method},
    {"dari_request_target", "target",            "1100000000*00", v_target},
    {"dari_request_body", "body",                "1100000000*00", v_body},
    {"dari_request_header", "header",            "1100000000*00", v_header},
};
static size_t verb_calls[VERB_COUNT];

/* What has become of a guest by a call that was taken. */
static void note(enum verb verb, struct guest *guest) {
    switch (verb) {
    case SEND:
    case PAYLOAD:
        break;
    case PART: guest->is = PARTS; break;
    case LAST: guest->is = OPEN; break;
    case CLOSE:
        /* Its queue may be as full as before. */
        guest->is = guest->is & DIALLING ? OVER : CLOSING | (guest->is & FULL);
        guest->ended = 1;
        guest->paused = 0;
        return;
    case ABORT:
        guest->is = OVER;
        guest->ended = 1;
        return;
    case PAUSE: guest->paused = 1; return;
    case RESUME: guest->paused = 0; return;
    case ACCEPT: guest->is = OPEN; break;
    case RELEASE:
        guest->is = OVER;
        guest->ended = 1;
        return;
    case RESPOND:
    case END:
        /* None is kept while the loop shuts down. */
        guest->is = (guest->upgrade || cell.shut ? REFUSED : 0) | (guest->upgrade ? 0 : KEPT);
        break;
    case BEGIN: guest->is = BEGUN; break;
    default: return;
    }
    /* Writing finds out that the peer has gone. */
    if (cell.behind == RESET || cell.unsure) guest->is |= OVER;
}

/* Calls a function on a guest, and says so if its answer is none of those that it may have. */
static int32_t apply(enum verb verb, struct guest *guest) {
    unsigned is = situations(guest);
    char letters[SITUATIONS + 1];
    size_t count = 0;
    int32_t got;
    for (size_t i = 0; i < SITUATIONS; i++)
        if (is & 1u << i) letters[count++] = VERBS[verb].answers[i];
    letters[count] = '\0';
    cell.in_call++;
    got = VERBS[verb].call(guest->conn);
    cell.in_call--;
    judge(VERBS[verb].function, letters, guest == cell.own ? "own" : "another", got);
    verb_calls[verb]++;
    if (got >= 0 && verb < GETTERS) note(verb, guest);
    return got;
}

/* -------------------------------------------------------------------- Places */

struct bytes {
    const char *data;
    size_t len;
};
#define BYTES(text) {text, sizeof text - 1}

enum {
    UNOPENED = 1, /* its request comes with the trigger */
    DIALS = 2,    /* the crowd is this side's: dari_loop_connect */
    NOISY = 4,    /* the trigger ends connections */
    MAY_MISS = 8, /* a reset may come before the hook */
    DEAF = 16,    /* nobody listens where it dials */
    HEAVY = 32    /* so much to carry that a few will do */
};

/* Where an action is done. */
struct place {
    const char *name;
    /* The hook, by its letter; 0: between turns. */
    char hook;
    /* What the connection is there. */
    unsigned is;
    int flags;
    /* What the peer says to bring it there, and what comes behind that. */
    struct bytes trigger, more;
    /* Between turns: what brings it there from open, or from its request; VERB_COUNT: nothing. */
    enum verb way;
};

#endif
