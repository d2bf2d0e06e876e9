/* A server and its clients on one loop, and hooks that write down what came. */
#ifndef PAIR_H
#define PAIR_H

#include "check.h"

/* What one end has heard. */
struct side {
    /* One letter a hook: o open, m message, d drain, e error, c close, p pong. */
    char heard[64];
    size_t count;
    /* The connection of the latest hook. */
    dari_conn_t conn;
    /* The latest message or pong. */
    dari_kind_t kind;
    char text[256];
    size_t len;
    /* The latest error with its text, the latest close with its texts, and who that was. */
    dari_close_t error, close;
    char blame[512], reason[128], story[512], rule[256], peer[64];
};

static inline void side_hear(struct side *side, char what, dari_conn_t conn) {
    if (side->count + 1 < sizeof side->heard) side->heard[side->count++] = what;
    side->conn = conn;
}

static inline void side_keep(struct side *side, const char *data, size_t len) {
    side->len = len;
    if (len > sizeof side->text - 1) len = sizeof side->text - 1;
    memcpy(side->text, data, len);
    side->text[len] = '\0';
}

static inline void side_open(void *user, dari_loop_t *loop, dari_conn_t conn) {
    (void)loop;
    side_hear(user, 'o', conn);
}

static inline void side_message(void *user, dari_loop_t *loop, dari_conn_t conn,
                                const dari_message_t *message) {
    struct side *side = user;
    (void)loop;
    side_hear(side, 'm', conn);
    side->kind = message->kind;
    side_keep(side, message->data, message->len);
}

static inline void side_drain(void *user, dari_loop_t *loop, dari_conn_t conn) {
    (void)loop;
    side_hear(user, 'd', conn);
}

static inline void side_text(char *to, size_t size, dari_str_t from) {
    size_t len = from.len < size - 1 ? from.len : size - 1;
    if (len > 0) memcpy(to, from.data, len);
    to[len] = '\0';
}

static inline void side_error(void *user, dari_loop_t *loop, dari_conn_t conn,
                              const dari_close_t *why) {
    struct side *side = user;
    (void)loop;
    side_hear(side, 'e', conn);
    side->error = *why;
    side_text(side->blame, sizeof side->blame, why->text);
}

static inline void side_close(void *user, dari_loop_t *loop, dari_conn_t conn,
                              const dari_close_t *why) {
    struct side *side = user;
    CHECK(dari_conn_peer(loop, conn, side->peer, sizeof side->peer, NULL) == DARI_OK);
    side_hear(side, 'c', conn);
    side->close = *why;
    side_text(side->reason, sizeof side->reason, why->reason);
    side_text(side->story, sizeof side->story, why->text);
    side_text(side->rule, sizeof side->rule, why->rule);
}

static inline void side_pong(void *user, dari_loop_t *loop, dari_conn_t conn, const void *data,
                             size_t len) {
    (void)loop;
    side_hear(user, 'p', conn);
    side_keep(user, data, len);
}

static inline int side_heard(const struct side *side, char what) {
    return strchr(side->heard, what) != NULL;
}

/* A handler that writes down everything. */
static inline dari_handler_t side_handler(struct side *side) {
    dari_handler_t handler;
    memset(&handler, 0, sizeof handler);
    handler.struct_size = sizeof handler;
    handler.user = side;
    handler.open = side_open;
    handler.message = side_message;
    handler.drain = side_drain;
    handler.error = side_error;
    handler.close = side_close;
    handler.pong = side_pong;
    return handler;
}

/* A loop, a listener on it, and one client of that listener. */
struct pair {
    dari_loop_t *loop;
    dari_listener_t listener;
    uint16_t port;
    struct side server, client;
};

static inline dari_conn_t pair_connect(struct pair *pair, const dari_connect_t *how,
                                       const dari_handler_t *handler, const char *path) {
    dari_conn_t conn = {0};
    char url[128];
    snprintf(url, sizeof url, "ws://127.0.0.1:%u%s", (unsigned)pair->port, path);
    CHECK(dari_loop_connect(pair->loop, url, how, handler, &conn) == DARI_OK);
    return conn;
}

static inline void pair_listen(struct pair *pair, const dari_listen_t *how,
                               const dari_handler_t *handler) {
    CHECK(dari_loop_new(NULL, &pair->loop) == DARI_OK);
    CHECK(dari_loop_listen(pair->loop, "127.0.0.1:0", how, handler, &pair->listener) == DARI_OK);
    pair->port = dari_listener_port(pair->loop, pair->listener);
    CHECK(pair->port != 0);
}

/* Both ends, open; handlers that are NULL write everything down. */
static inline void pair_open(struct pair *pair, const dari_handler_t *server,
                             const dari_handler_t *client) {
    dari_handler_t server_side = side_handler(&pair->server);
    dari_handler_t client_side = side_handler(&pair->client);
    memset(pair, 0, sizeof *pair);
    pair_listen(pair, NULL, server != NULL ? server : &server_side);
    pair->client.conn = pair_connect(pair, NULL, client != NULL ? client : &client_side, "/");
    TURN_UNTIL(pair->loop, side_heard(&pair->server, 'o') && side_heard(&pair->client, 'o'));
}

static inline void pair_free(struct pair *pair) {
    CHECK(dari_loop_free(pair->loop) == DARI_OK);
}

#endif
