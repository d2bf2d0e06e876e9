// What one says all others hear: a loop in each of N threads, all on one port.
//     ./relay_threads 127.0.0.1:9001 [THREADS]
#define _POSIX_C_SOURCE 200809L
#include <dari.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST = 256 };

static const char EVERYBODY[] = "everybody";

static char address[128];
static size_t count;                 // Of loops.
static dari_remote_t *remotes[MOST]; // A hand on each of them; all are there before anything runs.
static pthread_barrier_t all_listen;

static void on_signal(int number) {
    (void)number;
    for (size_t i = 0; i < count; i++) dari_remote_stop(remotes[i]);
}

static void on_open(void *user, dari_loop_t *loop, dari_conn_t conn) {
    (void)user;
    dari_conn_subscribe(loop, conn, EVERYBODY);
}

// Subscribers are on every loop, so all loops publish it, this one among them.
static void on_message(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
    (void)user, (void)loop;
    dari_remote_publish_all(remotes, count, EVERYBODY, conn, message->kind, message->data, message->len, NULL);
}

// A loop belongs to the thread that makes it, so each thread makes its own.
static dari_loop_t *listen_beside_others(dari_remote_t **remote, unsigned *port) {
    const dari_handler_t handler = {.struct_size = sizeof handler, .open = on_open, .message = on_message};
    const dari_listen_t how = {.struct_size = sizeof how, .flags = DARI_LISTEN_REUSE_PORT};
    dari_listener_t listener;
    dari_loop_t *loop;
    if (dari_loop_new(NULL, &loop) < 0 || dari_remote_new(loop, remote) < 0 ||
        dari_loop_listen(loop, address, &how, &handler, &listener) < 0) {
        fprintf(stderr, "relay_threads: %s\n", dari_last_error());
        exit(1);
    }
    *port = dari_listener_port(loop, listener);
    return loop;
}

static void *serve(void *remote) {
    unsigned port;
    dari_loop_t *loop = listen_beside_others(remote, &port);
    pthread_barrier_wait(&all_listen);
    dari_loop_run(loop);
    dari_loop_free(loop);
    return NULL;
}

int main(int argc, char **argv) {
    const char *where = argc > 1 ? argv[1] : "127.0.0.1:9001", *colon = strrchr(where, ':');
    pthread_t threads[MOST];
    dari_loop_t *loop;
    unsigned port;

    count = (size_t)(argc > 2 ? atol(argv[2]) : sysconf(_SC_NPROCESSORS_ONLN));
    if (count < 1 || count > MOST || strlen(where) + sizeof "65535" > sizeof address) {
        fprintf(stderr, "usage: relay_threads [ADDRESS [THREADS]], 1 to %d of them\n", (int)MOST);
        return 2;
    }
    strcpy(address, where);
    loop = listen_beside_others(&remotes[0], &port);
    // If it was port 0, the system has picked one: the others take the same.
    if (colon != NULL) snprintf(address, sizeof address, "%.*s:%u", (int)(colon - where), where, port);
    pthread_barrier_init(&all_listen, NULL, (unsigned)count);
    for (size_t i = 1; i < count; i++)
        if (pthread_create(&threads[i], NULL, serve, &remotes[i]) != 0) return 1;
    pthread_barrier_wait(&all_listen);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    printf("%zu loops\nlistening on port %u\n", count, port);
    fflush(stdout);

    dari_loop_run(loop);
    dari_loop_free(loop);
    for (size_t i = 1; i < count; i++) pthread_join(threads[i], NULL);
    for (size_t i = 0; i < count; i++) dari_remote_free(remotes[i]); // Now nobody publishes any more.
    pthread_barrier_destroy(&all_listen);
    return 0;
}
