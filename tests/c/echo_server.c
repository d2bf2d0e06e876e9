// An echo for suites and measurements to run against. Every origin is let in,
// which no real server should copy.
//
//     echo_server ADDRESS [--broadcast] [--deflate] [--max-message N]
//
// Prints "listening on ADDRESS" with the port it got. SIGINT and SIGTERM end
// it in order: 1001 to every peer, exit 0.
#include "options.h"
#include <dari.h>
#include <signal.h>

struct options {
    int broadcast;
    dari_limits_t limits;
};

static const char EVERYBODY[] = "everybody";
static const dari_conn_t NOBODY = {0};
static dari_remote_t *remote;

static int set_broadcast(void *user, char *value) {
    struct options *options = user;
    (void)value;
    options->broadcast = 1;
    return 0;
}

// Every message, however short, with all that a client offers: what suites look for.
static int set_deflate(void *user, char *value) {
    struct options *options = user;
    (void)value;
    options->limits.deflate = DARI_DEFLATE_TAKEOVER;
    options->limits.deflate_min = 1;
    return 0;
}

static int set_max_message(void *user, char *value) {
    struct options *options = user;
    return option_number(value, &options->limits.max_message);
}

static const struct option TABLE[] = {
    {"--broadcast", NULL, "what one says, everybody hears, the speaker too", set_broadcast},
    {"--deflate", NULL, "compress whatever is sent, with context takeover if the client lets it", set_deflate},
    {"--max-message", "N", "refuse longer messages with 1009; 0 is the library's default", set_max_message},
};

static void on_signal(int number_of_it) {
    (void)number_of_it;
    dari_remote_stop(remote);
}

static void on_open(void *user, dari_loop_t *loop, dari_conn_t conn) {
    (void)user;
    dari_conn_subscribe(loop, conn, EVERYBODY);
}

static void on_message(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
    (void)user;
    dari_conn_send(loop, conn, message->kind, message->data, message->len);
}

static void on_broadcast(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
    (void)user, (void)conn;
    dari_loop_publish(loop, EVERYBODY, NOBODY, message->kind, message->data, message->len);
}

int main(int argc, char **argv) {
    static const struct command command = {"echo_server", "ADDRESS", TABLE, sizeof TABLE / sizeof *TABLE};
    static const char *const any[] = {"*", NULL};
    struct options options = {.limits = {.struct_size = sizeof options.limits}};
    dari_listen_t how = {.struct_size = sizeof how, .limits = &options.limits, .origins = any};
    dari_handler_t handler = {.struct_size = sizeof handler};
    const char *address = command_parse(&command, argc, argv, &options), *colon;
    dari_listener_t listener;
    dari_loop_t *loop;
    unsigned port;

    if (address == NULL) return 2;
    handler.open = options.broadcast ? on_open : NULL;
    handler.message = options.broadcast ? on_broadcast : on_message;
    if (dari_loop_new(NULL, &loop) < 0 || dari_remote_new(loop, &remote) < 0 ||
        dari_loop_listen(loop, address, &how, &handler, &listener) < 0) {
        fprintf(stderr, "echo_server: %s\n", dari_last_error());
        return 1;
    }
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    port = dari_listener_port(loop, listener);
    colon = strrchr(address, ':');
    if (port == 0 || colon == NULL) printf("listening on %s\n", address);
    else printf("listening on %.*s:%u\n", (int)(colon - address), address, port);
    fflush(stdout);

    dari_loop_run(loop);
    dari_loop_free(loop);
    dari_remote_free(remote);
    return 0;
}
