// An echo for suites and measurements to run against. Every origin is let in,
// which no real server should copy.
//
//     echo_server ADDRESS [--broadcast] [--deflate] [--max-message N] ...
//
// Each limit of dari.h is an option of its name: --idle-ms 500. Prints
// "listening on ADDRESS" with the port it got. SIGINT and SIGTERM end it in
// order: 1001 to every peer, exit 0. SIGHUP has it read the files of --tls
// again: "reloaded", or "not reloaded LINE".
#define _POSIX_C_SOURCE 200809L
#include "options.h"
#include <dari.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>

enum { MOST_PROXIES = 16, MOST_THREADS = 64 };

struct options {
    int broadcast, stats;
    dari_limits_t limits;
    dari_listen_t how;
    dari_loop_config_t loop;
    const char *proxies[MOST_PROXIES + 1];
    size_t proxy_count;
    const char *cert; // The first value of --tls, until the second has come.
    dari_tls_t *tls;
};

static const char EVERYBODY[] = "everybody";
static const dari_conn_t NOBODY = {0};
static dari_remote_t *remotes[MOST_THREADS]; // As many as there are loops.
static size_t threads = 1;
static pthread_barrier_t all_listen;
static volatile sig_atomic_t ending, reloading;

static void on_log(void *user, dari_loop_t *loop, const dari_log_t *line);

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

static int set_limit_loopback(void *user, char *value) {
    struct options *options = user;
    (void)value;
    options->how.flags |= DARI_LISTEN_LIMIT_LOOPBACK;
    return 0;
}

static int set_proxy(void *user, char *value) {
    struct options *options = user;
    if (options->proxy_count == MOST_PROXIES) return -1;
    options->proxies[options->proxy_count++] = value;
    options->how.trusted_proxies = options->proxies;
    return 0;
}

// The place of a word in a list that ends with NULL, or -1.
static int place(const char *const *words, const char *word) {
    for (int i = 0; words[i] != NULL; i++)
        if (strcmp(words[i], word) == 0) return i;
    return -1;
}

static const char *const POLICIES[] = {"refuse", "close", "drop_oldest", NULL};
static const char *const LEVELS[] = {"nothing", "error", "warn", "info", "debug", "trace", NULL};

static int set_slow(void *user, char *value) {
    struct options *options = user;
    int policy = place(POLICIES, value);
    options->limits.slow = (uint32_t)policy;
    return policy < 0 ? -1 : 0;
}

static int set_log(void *user, char *value) {
    struct options *options = user;
    int level = place(LEVELS, value);
    options->loop.log_level = (uint32_t)level;
    options->loop.log = on_log;
    return level < 0 ? -1 : 0;
}

static int set_stats(void *user, char *value) {
    struct options *options = user;
    (void)value;
    options->stats = 1;
    return 0;
}

static int set_threads(void *user, char *value) {
    struct options *options = user;
    if (option_number(value, &threads) < 0 || threads < 1 || threads > MOST_THREADS) return -1;
    if (threads > 1) options->how.flags |= DARI_LISTEN_REUSE_PORT;
    return 0;
}

static int tls_failed(void) {
    fprintf(stderr, "echo_server: %s\n", dari_last_error());
    return -1;
}

// The first certificate is for everybody, the others for who asks for their names.
static int set_tls(void *user, char *value) {
    struct options *options = user;
    const char *cert = options->cert;
    options->cert = cert == NULL ? value : NULL;
    if (cert == NULL) return 1;
    if (options->tls != NULL) return dari_tls_add(options->tls, cert, value) < 0 ? tls_failed() : 0;
    if (dari_tls_server_new(cert, value, &options->tls) < 0) return tls_failed();
    options->how.tls = options->tls;
    return 0;
}

static int set_client_ca(void *user, char *value) {
    struct options *options = user;
    return dari_tls_client_ca(options->tls, value, 1) < 0 ? tls_failed() : 0;
}

static const struct option TABLE[] = {
    {"--broadcast", NULL, "what one says, everybody hears, the speaker too", set_broadcast},
    {"--deflate", NULL, "compress whatever is sent, with context takeover if the client lets it", set_deflate},
    {"--slow", "POLICY", "refuse, close or drop_oldest, where the queue for a peer is full", set_slow},
    {"--limit-loopback", NULL, "the limits of one address hold for this machine, too", set_limit_loopback},
    {"--trusted-proxy", "NETWORK", "whose X-Forwarded-For is believed: 10.0.0.0/8; once for each", set_proxy},
    {"--tls", "CERT KEY", "PEM files to show; once more for each other name (SNI)", set_tls},
    {"--client-ca", "FILE", "behind --tls: who has issued what every client has to show", set_client_ca},
    {"--log", "LEVEL", "error, warn, info, debug or trace: the log, to standard error", set_log},
    {"--stats", NULL, "what each loop has counted, as a line of JSON, at the end", set_stats},
    {"--threads", "N", "so many loops, each in a thread of its own, on one port", set_threads},
};

#define LIMIT(field) NUMBER(struct options, limits, field)
#define LISTEN(field) NUMBER(struct options, how, field)
#define LOOP(field) NUMBER(struct options, loop, field)
static const struct number NUMBERS[] = {
    LIMIT(max_message),   LIMIT(max_head),      LIMIT(max_target), LIMIT(max_headers),
    LIMIT(max_body),      LIMIT(high_water),    LIMIT(low_water),  LIMIT(max_backlog),
    LIMIT(max_controls),  LIMIT(handshake_ms),  LIMIT(idle_ms),    LIMIT(close_ms),
    LIMIT(stall_ms),      LIMIT(keep_alive_ms), LIMIT(deflate_min), LIMIT(deflate_level),
    LIMIT(max_empty_fragments),
    LISTEN(max_conns),    LISTEN(max_conns_per_ip), LISTEN(connects_per_second_per_ip),
    LOOP(max_memory),     LOOP(max_read),       LOOP(max_events),  LOOP(slow_hook_ms),
};

static void on_log(void *user, dari_loop_t *loop, const dari_log_t *line) {
    (void)user, (void)loop;
    fprintf(stderr, "%s %.*s %.*s %.*s\n", LEVELS[line->level], (int)line->event.len, line->event.data,
            line->peer.len > 0 ? (int)line->peer.len : 1, line->peer.len > 0 ? line->peer.data : "-",
            (int)line->text.len, line->text.data);
}

// Causes by their numbers, those alone that came.
static void print_stats(const dari_loop_t *loop) {
    dari_stats_t stats = {.struct_size = sizeof stats};
    const char *comma = "";
    if (dari_loop_stats(loop, &stats) < 0) return;
#define COUNT(field) printf("\"" #field "\":%" PRIu64 ",", stats.field)
    flockfile(stdout); // The line of a loop is not cut by that of another.
    printf("{");
    COUNT(accepted), COUNT(dialled), COUNT(open), COUNT(opened), COUNT(requests), COUNT(messages_in);
    COUNT(messages_out), COUNT(dropped), COUNT(limited), COUNT(slow_hooks), COUNT(memory), COUNT(memory_peak);
#undef COUNT
    printf("\"closes\":{");
    for (size_t cause = 0; cause < sizeof stats.closes / sizeof *stats.closes; cause++) {
        if (stats.closes[cause] == 0) continue;
        printf("%s\"%zu\":%" PRIu64, comma, cause, stats.closes[cause]);
        comma = ",";
    }
    printf("}}\n");
    funlockfile(stdout);
}

static void on_signal(int number_of_it) {
    if (number_of_it == SIGHUP) {
        signal(SIGHUP, on_signal); // In C99 a handler is good for once.
        reloading = 1;
    } else {
        ending = 1;
    }
    dari_remote_stop(remotes[0]);
}

// Runs, and reads certificates again whenever it is told to.
static void run(dari_loop_t *loop, const dari_tls_t *tls) {
    while (dari_loop_run(loop) >= 0 && !ending) {
        if (!reloading) continue;
        reloading = 0;
        if (dari_tls_reload(tls) >= 0) printf("reloaded\n");
        else printf("not reloaded %s\n", dari_last_error());
        fflush(stdout);
    }
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

static void on_broadcast_to_all(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
    (void)user, (void)loop, (void)conn;
    dari_remote_publish_all(remotes, threads, EVERYBODY, NOBODY, message->kind, message->data, message->len, NULL);
}

// What all threads listen with.
struct server {
    const struct options *options;
    char address[256];
};

struct thread {
    const struct server *server;
    dari_remote_t **remote;
    pthread_t id;
};

static dari_loop_t *listen_at(const struct server *server, dari_remote_t **remote, unsigned *port) {
    const struct options *options = server->options;
    dari_handler_t handler = {.struct_size = sizeof handler};
    dari_listener_t listener;
    dari_loop_t *loop;
    handler.open = options->broadcast ? on_open : NULL;
    handler.message = !options->broadcast ? on_message : threads > 1 ? on_broadcast_to_all : on_broadcast;
    if (dari_loop_new(&options->loop, &loop) < 0 || dari_remote_new(loop, remote) < 0 ||
        dari_loop_listen(loop, server->address, &options->how, &handler, &listener) < 0) {
        fprintf(stderr, "echo_server: %s\n", dari_last_error());
        exit(1);
    }
    *port = dari_listener_port(loop, listener);
    return loop;
}

static void end(dari_loop_t *loop, const struct options *options) {
    if (options->stats) print_stats(loop);
    dari_loop_free(loop);
}

static void *serve(void *user) {
    const struct thread *thread = user;
    unsigned port;
    dari_loop_t *loop = listen_at(thread->server, thread->remote, &port);
    pthread_barrier_wait(&all_listen);
    dari_loop_run(loop);
    end(loop, thread->server->options);
    return NULL;
}

int main(int argc, char **argv) {
    static const struct command command = {
        "echo_server", "ADDRESS", TABLE, sizeof TABLE / sizeof *TABLE, NUMBERS, sizeof NUMBERS / sizeof *NUMBERS};
    static const char *const any[] = {"*", NULL};
    static struct thread others[MOST_THREADS];
    struct options options = {
        .limits = {.struct_size = sizeof options.limits},
        .how = {.struct_size = sizeof options.how, .limits = &options.limits, .origins = any},
        .loop = {.struct_size = sizeof options.loop}};
    struct server server = {.options = &options};
    const char *address = command_parse(&command, argc, argv, &options), *colon;
    dari_loop_t *loop;
    unsigned port;

    if (address == NULL || strlen(address) + sizeof "65535" > sizeof server.address) return 2;
    strcpy(server.address, address);
    loop = listen_at(&server, &remotes[0], &port);
    colon = strrchr(address, ':');
    // The others take the port that the first one got.
    if (port != 0 && colon != NULL)
        snprintf(server.address, sizeof server.address, "%.*s:%u", (int)(colon - address), address, port);
    pthread_barrier_init(&all_listen, NULL, (unsigned)threads);
    for (size_t i = 1; i < threads; i++) {
        others[i] = (struct thread){.server = &server, .remote = &remotes[i]};
        if (pthread_create(&others[i].id, NULL, serve, &others[i]) != 0) return 1;
    }
    pthread_barrier_wait(&all_listen);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    signal(SIGHUP, on_signal);
    printf("listening on %s\n", server.address);
    fflush(stdout);

    run(loop, options.tls);
    for (size_t i = 1; i < threads; i++) dari_remote_stop(remotes[i]);
    end(loop, &options);
    for (size_t i = 1; i < threads; i++) pthread_join(others[i].id, NULL);
    for (size_t i = 0; i < threads; i++) dari_remote_free(remotes[i]);
    pthread_barrier_destroy(&all_listen);
    dari_tls_free(options.tls);
    return 0;
}
