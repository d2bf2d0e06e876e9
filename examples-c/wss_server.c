// An echo over TLS, whose certificate is renewed while it runs.
//
//     ./wss_server 127.0.0.1:9443 CERT KEY
//
// CERT and KEY are PEM files. SIGHUP has them read again: new connections get
// what is in them, those that are there stay. Files that will not do change
// nothing.
#define _POSIX_C_SOURCE 200809L
#include <dari.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct server {
    dari_tls_t *tls;
    int signals;
};

static int failed(void) {
    fprintf(stderr, "wss_server: %s\n", dari_last_error());
    return 1;
}

static void on_message(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
    (void)user;
    dari_conn_send(loop, conn, message->kind, message->data, message->len);
}

// Signals as a descriptor that dari watches: here, unlike in a signal handler,
// everything may be called.
static void on_signal(void *user, dari_loop_t *loop, dari_watch_t watch, uint32_t events) {
    const struct server *server = user;
    struct signalfd_siginfo info;
    (void)watch, (void)events;
    if (read(server->signals, &info, sizeof info) != (ssize_t)sizeof info) return;
    if (info.ssi_signo != SIGHUP) dari_loop_stop(loop);
    else if (dari_tls_reload(server->tls) < 0) failed();
    else fprintf(stderr, "wss_server: the certificate was read again\n");
}

static int signals_new(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0) return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int main(int argc, char **argv) {
    dari_handler_t handler = {.struct_size = sizeof handler, .message = on_message};
    dari_listen_t how = {.struct_size = sizeof how};
    struct server server = {.signals = signals_new()};
    dari_listener_t listener;
    dari_loop_t *loop;

    if (argc != 4) {
        fprintf(stderr, "usage: wss_server ADDRESS CERT KEY\n");
        return 2;
    }
    if (dari_tls_server_new(argv[2], argv[3], &server.tls) < 0 || dari_loop_new(NULL, &loop) < 0) return failed();
    how.tls = server.tls;
    if (dari_loop_listen(loop, argv[1], &how, &handler, &listener) < 0 ||
        dari_watch_new(loop, server.signals, DARI_WATCH_READ, on_signal, &server, NULL) < 0) return failed();
    printf("listening on port %u\n", (unsigned)dari_listener_port(loop, listener));
    fflush(stdout);

    dari_loop_run(loop);
    dari_loop_free(loop); // Says 1001 to every peer.
    dari_tls_free(server.tls);
    close(server.signals);
    return 0;
}
