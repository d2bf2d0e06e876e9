// An echo for suites and measurements to run against. Every origin is let in,
// which no real server should copy.
//
//     echo_server ADDRESS [--broadcast] [--deflate] [--max-message N]
//
// Prints "listening on ADDRESS" with the port it got. SIGINT and SIGTERM end
// it in order: 1001 to every peer, exit 0.
#include <dari.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    int broadcast;
    dari_limits_t limits;
};

// The options: one row each, and the usage is made of the same rows.
struct option {
    const char *name;
    const char *argument; // What to call it, or NULL if there is none.
    const char *help;
    int (*set)(struct options *options, const char *value); // 0, or -1 for a bad value.
};

static const char EVERYBODY[] = "everybody";
static const dari_conn_t NOBODY = {0};
static dari_remote_t *remote;

static int number(const char *text, size_t *out) {
    char *end;
    unsigned long long value;
    errno = 0;
    value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || value > SIZE_MAX) return -1;
    *out = (size_t)value;
    return 0;
}

static int set_broadcast(struct options *options, const char *value) {
    (void)value;
    options->broadcast = 1;
    return 0;
}

// Every message, however short, with all that a client offers: what suites look for.
static int set_deflate(struct options *options, const char *value) {
    (void)value;
    options->limits.deflate = DARI_DEFLATE_TAKEOVER;
    options->limits.deflate_min = 1;
    return 0;
}

static int set_max_message(struct options *options, const char *value) {
    return number(value, &options->limits.max_message);
}

static const struct option TABLE[] = {
    {"--broadcast", NULL, "what one says, everybody hears, the speaker too", set_broadcast},
    {"--deflate", NULL, "compress whatever is sent, with context takeover if the client lets it", set_deflate},
    {"--max-message", "N", "refuse longer messages with 1009; 0 is the library's default", set_max_message},
};
enum { OPTIONS = sizeof TABLE / sizeof *TABLE };

static int usage(const char *wrong, const char *what) {
    fprintf(stderr, "echo_server: %s%s%s\nusage: echo_server ADDRESS [OPTION...]\n", wrong, *what != '\0' ? " " : "", what);
    for (size_t i = 0; i < OPTIONS; i++) {
        char left[64];
        snprintf(left, sizeof left, "%s %s", TABLE[i].name, TABLE[i].argument != NULL ? TABLE[i].argument : "");
        fprintf(stderr, "  %-20s %s\n", left, TABLE[i].help);
    }
    return 2;
}

// The address in `argv`, the rest in `options`; or NULL, and usage was told.
static const char *parse(int argc, char **argv, struct options *options) {
    const char *address = NULL;
    for (int i = 1; i < argc; i++) {
        size_t row = 0;
        if (strncmp(argv[i], "--", 2) != 0 && address == NULL) {
            address = argv[i];
            continue;
        }
        while (row < OPTIONS && strcmp(argv[i], TABLE[row].name) != 0) row++;
        if (row == OPTIONS) return usage("unknown option", argv[i]), NULL;
        if (TABLE[row].argument != NULL && ++i == argc) return usage("no value for", TABLE[row].name), NULL;
        if (TABLE[row].set(options, TABLE[row].argument != NULL ? argv[i] : NULL) < 0)
            return usage("bad value for", TABLE[row].name), NULL;
    }
    if (address == NULL) usage("no address", "");
    return address;
}

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
    static const char *const any[] = {"*", NULL};
    struct options options = {.limits = {.struct_size = sizeof options.limits}};
    dari_listen_t how = {.struct_size = sizeof how, .limits = &options.limits, .origins = any};
    dari_handler_t handler = {.struct_size = sizeof handler};
    const char *address = parse(argc, argv, &options), *colon;
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
