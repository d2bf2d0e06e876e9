/* The door for other threads and for signal handlers: what it refuses, how much may wait there, and stopping. What
 * comes of many threads at once is in test_remote_threads.c. */
#include "pair.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum { MOST = 64 << 10, MIB = 1 << 20 };

static const dari_conn_t NOBODY = {0};

static void add(void *user, dari_loop_t *loop) {
    (void)loop;
    ++*(int *)user;
}

static void add_alone(void *user) {
    ++*(int *)user;
}

static void take_away(void *user) {
    --*(int *)user;
}

static void calls_that_the_loop_does_not_live_to_see_are_dropped(void) {
    dari_loop_t *loop;
    dari_remote_t *remote;
    int called_once = 0, dropped = 0;
    CHECK(dari_loop_new(NULL, &loop) == DARI_OK);
    CHECK(dari_remote_new(loop, &remote) == DARI_OK);
    CHECK(dari_remote_call(remote, add, take_away, &called_once) == DARI_OK);
    TURN_UNTIL(loop, called_once == 1);
    CHECK(dari_remote_call(remote, add, take_away, &dropped) == DARI_OK);
    CHECK(dari_remote_call(remote, NULL, NULL, NULL) == DARI_OK);
    CHECK(dari_loop_free(loop) == DARI_OK);
    CHECK(called_once == 1 && dropped == -1);
    /* The remote outlives the loop: an error, after which nothing is called. */
    CHECK_ERROR(dari_remote_call(remote, add, take_away, &dropped), DARI_ERR_STALE, "");
    CHECK(dropped == -1);
    CHECK(dari_remote_stop(remote) == DARI_OK);
    dari_remote_free(remote);
}

static void send_hello(void *user, dari_loop_t *loop) {
    struct pair *pair = user;
    CHECK(dari_conn_send(loop, pair->client.conn, DARI_TEXT, "hello", 5) == DARI_OK);
}

struct wish {
    struct pair *pair;
    dari_remote_t *remote;
};

static void *ask_for_hello(void *argument) {
    const struct wish *wish = argument;
    CHECK(dari_remote_call(wish->remote, send_hello, NULL, wish->pair) == DARI_OK);
    return NULL;
}

static void a_call_may_do_what_a_hook_may(void) {
    struct pair pair;
    pthread_t thread;
    struct wish wish = {&pair, NULL};
    pair_open(&pair, NULL, NULL);
    CHECK(dari_remote_new(pair.loop, &wish.remote) == DARI_OK);
    CHECK(pthread_create(&thread, NULL, ask_for_hello, &wish) == 0);
    TURN_UNTIL(pair.loop, side_heard(&pair.server, 'm'));
    CHECK(strcmp(pair.server.text, "hello") == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    dari_remote_free(wish.remote);
    pair_free(&pair);
}

static void wrong_arguments_are_told_at_the_call(void) {
    struct pair pair;
    dari_remote_t *remote, *both[2] = {NULL, NULL};
    dari_conn_t conn;
    size_t taken;
    char topic[1026], reason[125];
    memset(topic, 't', sizeof topic - 1);
    topic[sizeof topic - 1] = '\0';
    memset(reason, 'r', sizeof reason - 1);
    reason[sizeof reason - 1] = '\0';
    pair_open(&pair, NULL, NULL);
    conn = pair.server.conn;
    CHECK(dari_remote_new(pair.loop, &remote) == DARI_OK);
    both[0] = remote;

    CHECK_ERROR(dari_remote_send(NULL, conn, DARI_TEXT, "x", 1), DARI_ERR_ARGUMENT, "remote is NULL");
    CHECK_ERROR(dari_remote_close(NULL, conn, 1000, NULL), DARI_ERR_ARGUMENT, "remote is NULL");
    CHECK_ERROR(dari_remote_publish(NULL, "t", DARI_TEXT, "x", 1), DARI_ERR_ARGUMENT, "remote is NULL");
    CHECK_ERROR(dari_remote_send(remote, conn, 3, "x", 1), DARI_ERR_ARGUMENT, "kind 3");
    CHECK_ERROR(dari_remote_send(remote, conn, DARI_TEXT, NULL, 1), DARI_ERR_ARGUMENT, "data is NULL");
    CHECK_ERROR(dari_remote_send(remote, conn, DARI_TEXT, "ab\xff", 3), DARI_ERR_ARGUMENT, "UTF-8");
    CHECK_ERROR(dari_remote_publish(remote, "t", 0, "x", 1), DARI_ERR_ARGUMENT, "kind 0");
    CHECK_ERROR(dari_remote_publish(remote, "t", DARI_TEXT, "\xff", 1), DARI_ERR_ARGUMENT, "UTF-8");
    CHECK_ERROR(dari_remote_publish(remote, NULL, DARI_TEXT, "x", 1), DARI_ERR_ARGUMENT,
                "topic is NULL");
    CHECK_ERROR(dari_remote_publish(remote, "", DARI_TEXT, "x", 1), DARI_ERR_ARGUMENT, "1 to 1024");
    CHECK_ERROR(dari_remote_publish(remote, topic, DARI_TEXT, "x", 1), DARI_ERR_ARGUMENT, "1 to 1024");
    CHECK_ERROR(dari_remote_close(remote, conn, 1006, NULL), DARI_ERR_ARGUMENT, "1006");
    CHECK_ERROR(dari_remote_close(remote, conn, 0, "why"), DARI_ERR_ARGUMENT, "");
    CHECK_ERROR(dari_remote_close(remote, conn, 1000, "\xff"), DARI_ERR_ARGUMENT, "reason is not UTF-8");
    CHECK_ERROR(dari_remote_close(remote, conn, 1000, reason), DARI_ERR_TOO_BIG, "");

    taken = 7;
    CHECK_ERROR(dari_remote_publish_all(NULL, 1, "t", NOBODY, DARI_TEXT, "x", 1, &taken), DARI_ERR_ARGUMENT,
                "remotes is NULL");
    CHECK(taken == 0);
    CHECK_ERROR(dari_remote_publish_all(both, 2, "t", NOBODY, DARI_TEXT, "x", 1, NULL), DARI_ERR_ARGUMENT,
                "remotes[1] is NULL");
    CHECK_ERROR(dari_remote_publish_all(both, SIZE_MAX, "t", NOBODY, DARI_TEXT, "x", 1, NULL), DARI_ERR_ARGUMENT,
                "remotes are more");
    CHECK_ERROR(dari_remote_publish_all(both, 1, "", NOBODY, DARI_TEXT, "x", 1, NULL), DARI_ERR_ARGUMENT, "1 to 1024");
    CHECK_ERROR(dari_remote_publish_all(both, 1, "t", NOBODY, DARI_TEXT, "\xff", 1, NULL), DARI_ERR_ARGUMENT, "UTF-8");
    CHECK(dari_remote_publish_all(NULL, 0, "t", NOBODY, DARI_TEXT, "x", 1, &taken) == DARI_OK && taken == 0);

    /* Nothing of it has come through. */
    CHECK(dari_remote_send(remote, conn, DARI_TEXT, NULL, 0) == DARI_OK);
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'm'));
    CHECK(strcmp(pair.server.heard, "o") == 0 && strcmp(pair.client.heard, "om") == 0);
    reason[123] = '\0';
    CHECK(dari_remote_close(remote, conn, 4000, reason) == DARI_OK);
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'c'));
    CHECK(pair.client.close.code == 4000 && strcmp(pair.client.reason, reason) == 0);
    dari_remote_free(remote);
    pair_free(&pair);
}

static void what_has_gone_is_passed_over(void) {
    struct pair pair, other;
    struct side second;
    dari_handler_t handler = side_handler(&second);
    const dari_conn_t wild = {0x123456789abcdef0u};
    dari_conn_t old;
    dari_remote_t *remote;
    size_t i;
    memset(&second, 0, sizeof second);
    pair_open(&pair, NULL, NULL);
    pair_open(&other, NULL, NULL);
    old = pair.server.conn;
    CHECK(dari_remote_new(pair.loop, &remote) == DARI_OK);
    CHECK(dari_conn_abort(pair.loop, old) == DARI_OK);
    TURN_UNTIL(pair.loop, side_heard(&pair.server, 'c') && side_heard(&pair.client, 'c'));
    /* In the place of the old one. */
    pair_connect(&pair, NULL, &handler, "/");
    TURN_UNTIL(pair.loop, side_heard(&second, 'o') && strcmp(pair.server.heard, "oco") == 0);
    {
        const dari_conn_t gone[] = {old, other.server.conn, wild, NOBODY};
        for (i = 0; i < sizeof gone / sizeof gone[0]; i++) {
            CHECK(dari_remote_send(remote, gone[i], DARI_TEXT, "lost", 4) == DARI_OK);
            CHECK(dari_remote_close(remote, gone[i], 1000, NULL) == DARI_OK);
        }
    }
    CHECK(dari_remote_publish(remote, "nobody is there", DARI_TEXT, "lost", 4) == DARI_OK);
    CHECK(dari_remote_send(remote, pair.server.conn, DARI_TEXT, "found", 5) == DARI_OK);
    TURN_UNTIL(pair.loop, side_heard(&second, 'm'));
    turn_a_few(pair.loop);
    turn_a_few(other.loop);
    CHECK(strcmp(second.heard, "om") == 0 && strcmp(second.text, "found") == 0);
    CHECK(strcmp(other.server.heard, "o") == 0 && strcmp(other.client.heard, "o") == 0);
    dari_remote_free(remote);
    pair_free(&other);
    pair_free(&pair);
}

static void when_the_loop_is_gone_every_call_says_so(void) {
    dari_loop_t *loop;
    dari_remote_t *remote;
    const char *const words = "the loop is gone";
    CHECK(dari_loop_new(NULL, &loop) == DARI_OK);
    CHECK(dari_remote_new(loop, &remote) == DARI_OK);
    CHECK(dari_remote_send(remote, NOBODY, DARI_TEXT, "x", 1) == DARI_OK);
    CHECK(dari_remote_close(remote, NOBODY, 1000, "x") == DARI_OK);
    CHECK(dari_remote_publish(remote, "t", DARI_TEXT, "x", 1) == DARI_OK);
    CHECK(dari_loop_free(loop) == DARI_OK);
    CHECK_ERROR(dari_remote_call(remote, NULL, NULL, NULL), DARI_ERR_STALE, words);
    CHECK_ERROR(dari_remote_send(remote, NOBODY, DARI_TEXT, "x", 1), DARI_ERR_STALE, words);
    CHECK_ERROR(dari_remote_close(remote, NOBODY, 1000, "x"), DARI_ERR_STALE, words);
    CHECK_ERROR(dari_remote_publish(remote, "t", DARI_TEXT, "x", 1), DARI_ERR_STALE, words);
    dari_remote_free(remote);
}

/* What a client has got: messages, each a number in text, and their bytes. */
struct count {
    int messages;
    size_t bytes;
    int out_of_order;
};

static void count_message(void *user, dari_loop_t *loop, dari_conn_t conn,
                          const dari_message_t *message) {
    struct count *count = user;
    (void)loop, (void)conn;
    if (message->kind == DARI_TEXT) count->out_of_order |= atoi(message->data) != count->messages;
    count->messages++;
    count->bytes += message->len;
}

/* A server that may be behind by any number of bytes, and a client that counts. */
static dari_remote_t *open_counting(struct pair *pair, struct count *count) {
    const dari_limits_t limits = {.struct_size = sizeof limits, .max_backlog = DARI_UNLIMITED};
    const dari_listen_t how = {.struct_size = sizeof how, .limits = &limits};
    dari_handler_t server = side_handler(&pair->server);
    const dari_handler_t client = {
        .struct_size = sizeof client, .user = count, .message = count_message};
    dari_remote_t *remote;
    memset(pair, 0, sizeof *pair);
    memset(count, 0, sizeof *count);
    pair_listen(pair, &how, &server);
    pair_connect(pair, NULL, &client, "/");
    TURN_UNTIL(pair->loop, side_heard(&pair->server, 'o'));
    CHECK(dari_remote_new(pair->loop, &remote) == DARI_OK);
    return remote;
}

static void at_most_so_many_entries_wait_and_none_is_lost(void) {
    enum { SENDS = 1000 };
    struct pair pair;
    struct count count;
    dari_remote_t *remote = open_counting(&pair, &count);
    dari_conn_t conn = pair.server.conn;
    const char *const words = "no room";
    int calls = 0, refused = 0, i;
    for (i = 0; i < SENDS; i++) {
        char text[16];
        int len = snprintf(text, sizeof text, "%d ", i);
        CHECK(dari_remote_send(remote, conn, DARI_TEXT, text, (size_t)len) == DARI_OK);
    }
    for (; i < MOST; i++) CHECK(dari_remote_call(remote, add, NULL, &calls) == DARI_OK);
    CHECK_ERROR(dari_remote_call(remote, add, add_alone, &refused), DARI_ERR_FULL, words);
    CHECK_ERROR(dari_remote_send(remote, conn, DARI_TEXT, "-1", 2), DARI_ERR_FULL, words);
    CHECK_ERROR(dari_remote_publish(remote, "t", DARI_TEXT, "-1", 2), DARI_ERR_FULL, words);
    CHECK_ERROR(dari_remote_close(remote, conn, 1000, NULL), DARI_ERR_FULL, words);
    CHECK(dari_remote_stop(remote) == DARI_OK); /* There is always room for that. */
    TURN_UNTIL(pair.loop, count.messages == SENDS && calls == MOST - SENDS);
    CHECK(!count.out_of_order && refused == 0);
    CHECK(dari_remote_send(remote, conn, DARI_TEXT, "1000 ", 5) == DARI_OK);
    TURN_UNTIL(pair.loop, count.messages == SENDS + 1);
    CHECK(!count.out_of_order && calls == MOST - SENDS && refused == 0);
    CHECK(!side_heard(&pair.server, 'c'));
    dari_remote_free(remote);
    pair_free(&pair);
}

static void at_most_so_many_bytes_wait_and_none_is_lost(void) {
    struct pair pair;
    struct count count;
    dari_remote_t *remote = open_counting(&pair, &count);
    dari_conn_t conn = pair.server.conn;
    const size_t most = (size_t)64 * MIB;
    char *data = calloc(1, most + 1);
    CHECK(data != NULL);
    CHECK_ERROR(dari_remote_send(remote, conn, DARI_BINARY, data, most + 1), DARI_ERR_TOO_BIG, "67108864");
    CHECK_ERROR(dari_remote_publish(remote, "t", DARI_BINARY, data, most), DARI_ERR_TOO_BIG, "");
    for (int i = 0; i < 64; i++)
        CHECK(dari_remote_send(remote, conn, DARI_BINARY, data, MIB) == DARI_OK);
    CHECK_ERROR(dari_remote_send(remote, conn, DARI_BINARY, data, 1), DARI_ERR_FULL, "no room");
    CHECK_ERROR(dari_remote_publish(remote, "t", DARI_BINARY, data, 1), DARI_ERR_FULL, "no room");
    CHECK_ERROR(dari_remote_close(remote, conn, 1000, "why"), DARI_ERR_FULL, "no room");
    CHECK(dari_remote_send(remote, conn, DARI_BINARY, NULL, 0) == DARI_OK);
    TURN_UNTIL(pair.loop, count.messages == 65);
    CHECK(count.bytes == most);
    CHECK(dari_remote_send(remote, conn, DARI_BINARY, data, 1) == DARI_OK);
    TURN_UNTIL(pair.loop, count.messages == 66);
    CHECK(!side_heard(&pair.server, 'c'));
    free(data);
    dari_remote_free(remote);
    pair_free(&pair);
}

static dari_remote_t *signalled;
static volatile sig_atomic_t errno_kept;

static void on_signal(int number) {
    (void)number;
    errno = 4321;
    dari_remote_stop(signalled);
    errno_kept = errno == 4321;
}

static void raise_signal(void *user, dari_loop_t *loop, dari_timer_t timer) {
    (void)user, (void)loop, (void)timer;
    raise(SIGUSR1);
}

static void a_signal_handler_can_stop_the_loop(void) {
    dari_loop_t *loop;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    CHECK(dari_loop_new(NULL, &loop) == DARI_OK);
    CHECK(dari_remote_new(loop, &signalled) == DARI_OK);
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(dari_timer_new(loop, 10, 0, raise_signal, NULL, NULL) == DARI_OK);
    CHECK(dari_loop_run(loop) == DARI_OK);
    CHECK(errno_kept);
    dari_remote_free(signalled);
    CHECK(dari_loop_free(loop) == DARI_OK);
}

/* Signals the main thread as soon as that sleeps: its state stands behind the name of the program. */
static void *signal_main(void *argument) {
    const pthread_t *main_thread = argument;
    long end = check_now_ms() + CHECK_DEADLINE_MS;
    char state = 'R', path[64];
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)getpid());
    while (state != 'S' && check_now_ms() < end) {
        FILE *file = fopen(path, "r");
        if (file == NULL || fscanf(file, "%*d (%*[^)]) %c", &state) != 1) state = '?';
        if (file != NULL) fclose(file);
    }
    CHECK(state == 'S');
    CHECK(pthread_kill(*main_thread, SIGUSR1) == 0);
    return NULL;
}

struct sleeper {
    pthread_t self, waker;
};

static void have_it_signalled(void *user, dari_loop_t *loop, dari_timer_t timer) {
    struct sleeper *sleeper = user;
    (void)loop, (void)timer;
    CHECK(pthread_create(&sleeper->waker, NULL, signal_main, &sleeper->self) == 0);
}

static void a_signal_handler_can_stop_a_loop_that_waits(void) {
    dari_loop_t *loop;
    struct sleeper sleeper;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    sleeper.self = pthread_self();
    CHECK(dari_loop_new(NULL, &loop) == DARI_OK);
    CHECK(dari_remote_new(loop, &signalled) == DARI_OK);
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    for (int i = 0; i < 20; i++) {
        errno_kept = 0;
        CHECK(dari_timer_new(loop, 0, 0, have_it_signalled, &sleeper, NULL) == DARI_OK);
        CHECK(dari_loop_run(loop) == DARI_OK);
        CHECK(errno_kept);
        CHECK(pthread_join(sleeper.waker, NULL) == 0);
    }
    dari_remote_free(signalled);
    CHECK(dari_loop_free(loop) == DARI_OK);
}

static void one_call_publishes_on_every_loop_that_has_room(void) {
    struct pair pairs[2];
    dari_loop_t *gone;
    dari_remote_t *remotes[3];
    size_t taken = 0;
    for (int i = 0; i < 2; i++) {
        pair_open(&pairs[i], NULL, NULL);
        CHECK(dari_remote_new(pairs[i].loop, &remotes[i]) == DARI_OK);
        CHECK(dari_conn_subscribe(pairs[i].loop, pairs[i].server.conn, "all") == DARI_OK);
    }
    CHECK(dari_loop_new(NULL, &gone) == DARI_OK);
    CHECK(dari_remote_new(gone, &remotes[2]) == DARI_OK);
    CHECK(dari_remote_publish_all(remotes, 3, "all", NOBODY, DARI_TEXT, "everybody", 9, &taken) == DARI_OK);
    CHECK(taken == 3);
    CHECK(dari_loop_free(gone) == DARI_OK);
    CHECK(dari_remote_publish_all(remotes, 3, "all", pairs[1].server.conn, DARI_TEXT, "not one", 7, &taken) == DARI_OK);
    CHECK(taken == 2);
    for (int i = 0; i < MOST - 2; i++) CHECK(dari_remote_call(remotes[0], NULL, NULL, NULL) == DARI_OK);
    CHECK(dari_remote_publish_all(remotes, 3, "all", NOBODY, DARI_BINARY, "room", 4, &taken) == DARI_OK);
    CHECK(taken == 1);
    TURN_UNTIL(pairs[1].loop, strcmp(pairs[1].client.heard, "omm") == 0);
    TURN_UNTIL(pairs[0].loop, strcmp(pairs[0].client.heard, "omm") == 0);
    CHECK(strcmp(pairs[0].client.text, "not one") == 0 && strcmp(pairs[1].client.text, "room") == 0);
    CHECK(pairs[1].client.kind == DARI_BINARY);
    for (int i = 0; i < 3; i++) dari_remote_free(remotes[i]);
    for (int i = 0; i < 2; i++) pair_free(&pairs[i]);
}

static void *stop(void *argument) {
    CHECK(dari_remote_stop(argument) == DARI_OK);
    return NULL;
}

static void another_thread_can_stop_a_loop_that_waits(void) {
    dari_loop_t *loop;
    dari_remote_t *remote;
    pthread_t thread;
    CHECK(dari_loop_new(NULL, &loop) == DARI_OK);
    CHECK(dari_remote_new(loop, &remote) == DARI_OK);
    CHECK(pthread_create(&thread, NULL, stop, remote) == 0);
    CHECK(dari_loop_run(loop) == DARI_OK);
    CHECK(pthread_join(thread, NULL) == 0);
    dari_remote_free(remote);
    CHECK(dari_loop_free(loop) == DARI_OK);
}

int main(int argc, char **argv) {
    static const struct check_test tests[] = {
        TEST(calls_that_the_loop_does_not_live_to_see_are_dropped),
        TEST(a_call_may_do_what_a_hook_may),
        TEST(wrong_arguments_are_told_at_the_call),
        TEST(what_has_gone_is_passed_over),
        TEST(when_the_loop_is_gone_every_call_says_so),
        TEST(at_most_so_many_entries_wait_and_none_is_lost),
        TEST(at_most_so_many_bytes_wait_and_none_is_lost),
        TEST(one_call_publishes_on_every_loop_that_has_room),
        TEST(a_signal_handler_can_stop_the_loop),
        TEST(a_signal_handler_can_stop_a_loop_that_waits),
        TEST(another_thread_can_stop_a_loop_that_waits),
    };
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
