/* The door for other threads and for signal handlers. */
#include "pair.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

enum { THREADS = 4, CALLS = 500 };

struct line {
    dari_remote_t *remote;
    int number;
    /* The next call that is to come; touched on the loop's thread alone. */
    int next;
    int *left;
};

struct call {
    struct line *line;
    int number;
};

static void called(void *user, dari_loop_t *loop) {
    struct call *call = user;
    CHECK(call->number == call->line->next);
    CHECK_ERROR(dari_loop_turn(loop, 0), DARI_ERR_STATE, "inside a hook");
    call->line->next++;
    if (--*call->line->left == 0) CHECK(dari_loop_stop(loop) == DARI_OK);
    free(call);
}

static void *caller(void *argument) {
    struct line *line = argument;
    for (int i = 0; i < CALLS; i++) {
        struct call *call = malloc(sizeof *call);
        call->line = line;
        call->number = i;
        CHECK(dari_remote_call(line->remote, called, free, call) == DARI_OK);
    }
    dari_remote_free(line->remote);
    return NULL;
}

static void calls_of_each_thread_come_once_and_in_order(void) {
    dari_loop_t *loop;
    pthread_t threads[THREADS];
    struct line lines[THREADS];
    int left = THREADS * CALLS;
    CHECK(dari_loop_new(NULL, &loop) == DARI_OK);
    for (int i = 0; i < THREADS; i++) {
        lines[i] = (struct line){.number = i, .left = &left};
        CHECK(dari_remote_new(loop, &lines[i].remote) == DARI_OK);
        CHECK(pthread_create(&threads[i], NULL, caller, &lines[i]) == 0);
    }
    CHECK(dari_loop_run(loop) == DARI_OK);
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK(lines[i].next == CALLS);
    }
    CHECK(left == 0);
    CHECK(dari_loop_free(loop) == DARI_OK);
}

static void add(void *user, dari_loop_t *loop) {
    (void)loop;
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
        TEST(calls_of_each_thread_come_once_and_in_order),
        TEST(calls_that_the_loop_does_not_live_to_see_are_dropped),
        TEST(a_call_may_do_what_a_hook_may),
        TEST(a_signal_handler_can_stop_the_loop),
        TEST(another_thread_can_stop_a_loop_that_waits),
    };
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
