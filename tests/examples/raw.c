// Sends stdin to a TCP port of this machine and prints what comes back, until
// the other side closes or is silent for a second: `nc` for the tests, which
// may need nothing that is not built here. It never looks at the bytes.
//
//     raw PORT <request
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int put(int fd, const char *data, size_t len) {
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n <= 0) return -1;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

int main(int argc, char **argv) {
    struct sockaddr_in to = {.sin_family = AF_INET};
    char buffer[65536];
    struct pollfd wait;
    ssize_t n;
    if (argc != 2) {
        fprintf(stderr, "usage: raw PORT\n");
        return 2;
    }
    to.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    wait.fd = socket(AF_INET, SOCK_STREAM, 0);
    wait.events = POLLIN;
    if (wait.fd < 0 || connect(wait.fd, (const struct sockaddr *)&to, sizeof to) < 0) {
        perror("raw");
        return 1;
    }
    while ((n = read(STDIN_FILENO, buffer, sizeof buffer)) > 0)
        if (put(wait.fd, buffer, (size_t)n) < 0) break;
    while (poll(&wait, 1, 1000) > 0 && (n = read(wait.fd, buffer, sizeof buffer)) > 0)
        if (put(STDOUT_FILENO, buffer, (size_t)n) < 0) break;
    close(wait.fd);
    return 0;
}
