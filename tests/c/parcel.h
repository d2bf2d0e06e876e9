/* Long messages: one to send, and hooks that put together what comes, whole or in parts. */
#ifndef PARCEL_H
#define PARCEL_H

#include "pair.h"
#include <stdlib.h>

enum { LONG = 100000 };

/* Text of that many bytes that compresses as prose does. To be freed. */
static inline char *prose(size_t len) {
    char *text = malloc(len + 64);
    unsigned long state = 1;
    CHECK(text != NULL);
    for (size_t at = 0; at < len;) {
        state = (state * 1103515245 + 12345) & 0x7fffffff;
        at += (size_t)snprintf(text + at, 64, "word%lu over the bridge, ", (state >> 8) % 1000);
    }
    return text;
}

/* What a handler with these hooks has put together of one message after another. */
struct parcel {
    struct side side;
    char *data;
    size_t len, size;
    int parts, lasts;
};

static inline void parcel_add(struct parcel *parcel, const dari_message_t *piece) {
    if (parcel->len + piece->len > parcel->size) {
        parcel->size = 2 * (parcel->len + piece->len);
        parcel->data = realloc(parcel->data, parcel->size);
        CHECK(parcel->data != NULL);
    }
    if (piece->len > 0) memcpy(parcel->data + parcel->len, piece->data, piece->len);
    parcel->len += piece->len;
    parcel->side.kind = piece->kind;
    CHECK(piece->kind == DARI_TEXT || piece->kind == DARI_BINARY);
}

static inline void parcel_message(void *user, dari_loop_t *loop, dari_conn_t conn,
                           const dari_message_t *message) {
    struct parcel *parcel = user;
    (void)loop;
    side_hear(&parcel->side, 'm', conn);
    parcel_add(parcel, message);
}

static inline void parcel_part(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *part,
                        uint32_t last) {
    struct parcel *parcel = user;
    (void)loop;
    parcel->side.conn = conn;
    CHECK(last <= 1 && (part->len > 0 || last));
    parcel->parts++;
    parcel->lasts += (int)last;
    parcel_add(parcel, part);
}

static inline dari_handler_t parcel_handler(struct parcel *parcel) {
    dari_handler_t handler;
    memset(parcel, 0, sizeof *parcel);
    handler = side_handler(&parcel->side);
    handler.message = parcel_message;
    return handler;
}

static inline int parcel_is(struct parcel *parcel, const char *data, size_t len) {
    int is = parcel->len == len && (len == 0 || memcmp(parcel->data, data, len) == 0);
    parcel->len = 0;
    return is;
}

/* Both ends with these limits; the server's connection is in pair.server.conn. */
static inline void open_ends(struct pair *pair, const dari_limits_t *limits, dari_handler_t server,
                      dari_handler_t client) {
    const dari_listen_t listen = {.struct_size = sizeof listen, .limits = limits};
    const dari_connect_t how = {.struct_size = sizeof how, .limits = limits};
    memset(pair, 0, sizeof *pair);
    pair_listen(pair, &listen, &server);
    pair->client.conn = pair_connect(pair, &how, &client, "/");
    TURN_UNTIL(pair->loop, side_heard(server.user, 'o') && side_heard(client.user, 'o'));
    pair->server.conn = ((struct side *)server.user)->conn;
}

#endif
