/* Functions of a connection, and what each may answer by what the connection is; what has become of it then. */
#ifndef ABUSE_VERBS_H
#define ABUSE_VERBS_H

#include "abuse.h"
#include <unistd.h>

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

static int32_t v_remote_send(dari_conn_t conn) {
    return dari_remote_send(cell.remote, conn, DARI_TEXT, "afar", 4);
}

static int32_t v_remote_close(dari_conn_t conn) {
    return dari_remote_close(cell.remote, conn, 4000, "from afar");
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
    /* Who is encrypted may have shown one. */
    return dari_conn_certificate(cell.loop, conn).data != NULL && !cell.sealed;
}

/* 1 if it is what it should be. */
static int32_t v_dial(dari_conn_t conn) {
    const struct guest *guest = guest_of(conn);
    return (dari_conn_dial(cell.loop, conn).id != 0) == (guest != NULL && guest->dial);
}

/* Verbs first, then getters. */
enum verb {
    SEND, PART, LAST, PAYLOAD, CLOSE, ABORT, PING, PAUSE, RESUME, SET_DATA, PEER, ACCEPT, RESPOND, BEGIN, PIECE, END,
    SUBSCRIBE, UNSUBSCRIBE, RELEASE, FAR_SEND, FAR_CLOSE, GETTERS, VERB_COUNT = GETTERS + 10
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
    {"dari_remote_send", "remote_send",          "............s", v_remote_send},
    {"dari_remote_close", "remote_close",        "............s", v_remote_close},
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
    case FAR_CLOSE:
        /* Some time later, but for those that are not open then. */
        guest->doomed = 1;
        return;
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

/* A queue was full when more was to be sent. */
static void note_full(struct guest *guest) {
    /* Clients have limits of their own: the defaults. */
    if (cell.slow != DARI_SLOW_CLOSE || guest->dial || !(guest->is & (OPEN | PARTS | FULL))) return;
    guest->is = CLOSING | OVER;
    guest->ended = 1;
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
    if (got == DARI_ERR_FULL) note_full(guest);
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
    HEAVY = 32,   /* so much to carry that a few will do */
    SEALED = 64   /* it dials wss:// */
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
