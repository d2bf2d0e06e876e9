/* A server, and a stranger to it: a client that is nothing but a socket, and has shaken hands. */
#ifndef STRANGER_H
#define STRANGER_H

#include "pair.h"
#include "raw.h"

/* Bytes of a string literal, zeros included. */
#define RAW_BYTES(fd, bytes) raw_bytes((fd), (bytes), sizeof(bytes) - 1)

static inline void raw_bytes(int fd, const void *bytes, size_t len) {
    CHECK(send(fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len);
}

/* Frames of a client, masked with a key of zeros. */
#define CLOSE_4000 "\x88\x85\0\0\0\0\x0f\xa0" "bye"
#define CLOSE_EMPTY "\x88\x80\0\0\0\0"
#define PING "\x89\x80\0\0\0\0"

/* One more client of the server, which has been told that it is open. */
static inline int stranger_join(struct pair *pair) {
    char answer[1024];
    size_t count = pair->server.count;
    int fd = raw_connect(pair->port);
    raw_send(fd, RAW_UPGRADE);
    raw_read_until(pair->loop, fd, answer, sizeof answer, "\r\n\r\n");
    CHECK(strncmp(answer, "HTTP/1.1 101 ", 13) == 0);
    TURN_UNTIL(pair->loop, pair->server.count > count);
    return fd;
}

/* A server with these limits, whose hooks write everything down, and its first client. */
static inline int stranger_open(struct pair *pair, const dari_limits_t *limits) {
    const dari_listen_t how = {.struct_size = sizeof how, .limits = limits};
    dari_handler_t server = side_handler(&pair->server);
    memset(pair, 0, sizeof *pair);
    pair_listen(pair, &how, &server);
    return stranger_join(pair);
}

/* Sends until the kernel takes no more and the queue holds `bytes`. */
static inline void stranger_stuff(struct pair *pair, dari_conn_t conn, size_t bytes) {
    static char block[64 << 10];
    for (int i = 0; i < 1000 && dari_conn_backlog(pair->loop, conn) < bytes; i++)
        CHECK(dari_conn_send(pair->loop, conn, DARI_BINARY, block, sizeof block) >= 0);
    CHECK(dari_conn_backlog(pair->loop, conn) >= bytes);
}

/* A port of this machine at which the test itself listens. */
static inline int stranger_listens(uint16_t *port) {
    struct sockaddr_in here;
    socklen_t len = sizeof here;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(&here, 0, sizeof here);
    here.sin_family = AF_INET;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(bind(fd, (const struct sockaddr *)&here, sizeof here) == 0 && listen(fd, 8) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&here, &len) == 0);
    *port = ntohs(here.sin_port);
    return fd;
}

#endif
