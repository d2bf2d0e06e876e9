// The smallest server: it says back what it hears.     ./echo 127.0.0.1:9001
#include <dari.h>
#include <signal.h>
#include <stdio.h>

static dari_remote_t *remote;

// The one call that a signal handler may make: dari_loop_run returns.
static void on_signal(int number) {
    (void)number;
    dari_remote_stop(remote);
}

static void on_message(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
    (void)user;
    dari_conn_send(loop, conn, message->kind, message->data, message->len);
}

int main(int argc, char **argv) {
    const char *address = argc > 1 ? argv[1] : "127.0.0.1:9001";
    dari_handler_t handler = {.struct_size = sizeof handler, .message = on_message};
    dari_listener_t listener;
    dari_loop_t *loop;

    if (dari_loop_new(NULL, &loop) < 0 || dari_remote_new(loop, &remote) < 0 ||
        dari_loop_listen(loop, address, NULL, &handler, &listener) < 0) {
        fprintf(stderr, "echo: %s\n", dari_last_error());
        return 1;
    }
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    printf("listening on port %u\n", (unsigned)dari_listener_port(loop, listener));
    fflush(stdout);

    dari_loop_run(loop);
    dari_loop_free(loop); // Says 1001 to every peer.
    dari_remote_free(remote);
    return 0;
}
