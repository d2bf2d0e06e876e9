/* A client that is nothing but a socket: what a test wants to say byte by byte. */
#ifndef RAW_H
#define RAW_H

#include "check.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* The handshake of RFC 6455 1.3, whose answer is known. */
#define RAW_UPGRADE                                                                                \
    "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"           \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

/* Connects to a port of this machine. */
static inline int raw_connect(uint16_t port) {
    struct sockaddr_in to;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(&to, 0, sizeof to);
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(fd >= 0);
    CHECK(connect(fd, (const struct sockaddr *)&to, sizeof to) == 0);
    return fd;
}

/* A socket with a port that nobody else gets, and on which nobody listens. */
static inline int raw_bind(void) {
    struct sockaddr_in at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(&at, 0, sizeof at);
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(bind(fd, (const struct sockaddr *)&at, sizeof at) == 0);
    return fd;
}

static inline uint16_t raw_port(int fd) {
    struct sockaddr_in at;
    socklen_t size = sizeof at;
    CHECK(getsockname(fd, (struct sockaddr *)&at, &size) == 0);
    return ntohs(at.sin_port);
}

/* Closes it so that the peer gets a reset. */
static inline void raw_reset(int fd) {
    const struct linger now = {1, 0};
    CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
    close(fd);
}

static inline void raw_send(int fd, const char *text) {
    CHECK(send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
}

/* Takes what there is now, behind the `len` bytes in `buf`; 1 if that is the end. */
static inline int raw_take(int fd, char *buf, size_t size, size_t *len) {
    ssize_t n = recv(fd, buf + *len, size - 1 - *len, MSG_DONTWAIT);
    if (n > 0) *len += (size_t)n;
    buf[*len] = '\0';
    return n == 0;
}

/* Turns the loop and reads until these words have come; returns the length. */
static inline size_t raw_read_until(dari_loop_t *loop, int fd, char *buf, size_t size,
                                    const char *words) {
    size_t len = 0;
    TURN_UNTIL(loop, (raw_take(fd, buf, size, &len), strstr(buf, words) != NULL));
    return len;
}

/* Turns the loop and reads until the end of the stream; returns the length. */
static inline size_t raw_read_all(dari_loop_t *loop, int fd, char *buf, size_t size) {
    size_t len = 0;
    int ended = 0;
    TURN_UNTIL(loop, ended || (ended = raw_take(fd, buf, size, &len)));
    return len;
}

#endif
