/* Many threads at once before the one door of a loop that runs, and while it is freed.
 * Loops run without an end of their own: a wake-up that is lost is a test that does not end in time. */
#include "pair.h"
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

enum { THREADS = 8 };

/* A loop that does not get done in time is stopped. */
static void on_deadline(void *user, dari_loop_t *loop, dari_timer_t timer) {
    (void)user, (void)timer;
    check_fail(__FILE__, __LINE__, "in time");
    CHECK(dari_loop_stop(loop) == DARI_OK);
}

static void run(dari_loop_t *loop) {
    dari_timer_t deadline;
    CHECK(dari_timer_new(loop, CHECK_DEADLINE_MS, 0, on_deadline, NULL, &deadline) == DARI_OK);
    CHECK(dari_loop_run(loop) == DARI_OK);
    dari_timer_cancel(loop, deadline);
}

/* --- calls --------------------------------------------------------------------------------- */

enum { CALLS = 500 };

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
    run(loop);
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK(lines[i].next == CALLS);
    }
    CHECK(left == 0);
    CHECK(dari_loop_free(loop) == DARI_OK);
}

/* One thing at a time, between a loop that sleeps and a thread that waits for it. */
struct turn_taking {
    dari_remote_t *remote;
    pthread_mutex_t mutex;
    pthread_cond_t done;
    int asked, answered, over;
};

static void answer(void *user, dari_loop_t *loop) {
    struct turn_taking *both = user;
    pthread_mutex_lock(&both->mutex);
    both->answered++;
    pthread_cond_signal(&both->done);
    pthread_mutex_unlock(&both->mutex);
    if (both->answered == CALLS) CHECK(dari_loop_stop(loop) == DARI_OK);
}

static void *ask_one_by_one(void *argument) {
    struct turn_taking *both = argument;
    pthread_mutex_lock(&both->mutex);
    while (both->asked < CALLS && !both->over) {
        both->asked++;
        CHECK(dari_remote_call(both->remote, answer, NULL, both) == DARI_OK);
        while (both->answered < both->asked && !both->over) pthread_cond_wait(&both->done, &both->mutex);
    }
    pthread_mutex_unlock(&both->mutex);
    return NULL;
}

static void every_single_call_wakes_the_loop(void) {
    dari_loop_t *loop;
    pthread_t thread;
    struct turn_taking both = {.mutex = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};
    CHECK(dari_loop_new(NULL, &loop) == DARI_OK);
    CHECK(dari_remote_new(loop, &both.remote) == DARI_OK);
    CHECK(pthread_create(&thread, NULL, ask_one_by_one, &both) == 0);
    run(loop);
    pthread_mutex_lock(&both.mutex);
    both.over = 1;
    pthread_cond_signal(&both.done);
    pthread_mutex_unlock(&both.mutex);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(both.asked == CALLS && both.answered == CALLS);
    CHECK(dari_loop_free(loop) == DARI_OK);
    dari_remote_free(both.remote);
}

/* --- messages, to connections that stay and to guests that come and go ---------------------- */

enum { STAY = 4, ROUNDS = 12, EACH = 64, ALL = ROUNDS * EACH };

/* A client: the number that it is to hear next from each thread. */
struct ear {
    struct party *party;
    int which;
    int next[THREADS];
};

struct party {
    struct pair pair;
    struct ear ears[STAY], guest_ear;
    /* As the server names them. */
    dari_conn_t stay[STAY];
    int opened;
    /* Pairs of ear and thread that have not heard all. */
    int left;
    /* Guarded: the latest guest, and how many there have been. */
    pthread_mutex_t mutex;
    pthread_cond_t comes;
    dari_conn_t guest;
    int guests;
};

struct poster {
    struct party *party;
    dari_remote_t *remote;
    int number;
};

/* Even numbers are published, some odd ones are for the guest, and the others for one of those that stay. */
static int is_for_guest(int number) {
    return number % 16 == 15;
}

static int is_for(int number, int which) {
    return number % 2 == 0 || (!is_for_guest(number) && number / 2 % STAY == which);
}

static void opened(void *user, dari_loop_t *loop, dari_conn_t conn) {
    struct party *party = user;
    CHECK(dari_conn_subscribe(loop, conn, "all") == DARI_OK);
    if (party->opened < STAY) {
        party->stay[party->opened++] = conn;
        return;
    }
    pthread_mutex_lock(&party->mutex);
    party->guest = conn;
    party->guests++;
    pthread_cond_broadcast(&party->comes);
    pthread_mutex_unlock(&party->mutex);
}

static void heard(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
    struct ear *ear = user;
    char text[32] = "";
    int thread, number;
    (void)conn;
    memcpy(text, message->data, message->len < sizeof text ? message->len : sizeof text - 1);
    CHECK(sscanf(text, "%d %d", &thread, &number) == 2 && thread >= 0 && thread < THREADS);
    CHECK(ear->next[thread] == number);
    do ear->next[thread]++;
    while (ear->next[thread] < ALL && !is_for(ear->next[thread], ear->which));
    if (ear->next[thread] == ALL && --ear->party->left == 0) CHECK(dari_loop_stop(loop) == DARI_OK);
}

/* Whatever is published while a guest is there it hears without a gap. */
static void guest_heard(void *user, dari_loop_t *loop, dari_conn_t conn,
                        const dari_message_t *message) {
    struct ear *ear = user;
    char text[32] = "";
    int thread, number;
    (void)loop, (void)conn;
    memcpy(text, message->data, message->len < sizeof text ? message->len : sizeof text - 1);
    CHECK(sscanf(text, "%d %d", &thread, &number) == 2 && thread >= 0 && thread < THREADS);
    CHECK(message->kind == (is_for_guest(number) ? DARI_BINARY : DARI_TEXT));
    if (message->kind == DARI_BINARY) return;
    CHECK(ear->next[thread] == number || ear->next[thread] < 0);
    ear->next[thread] = number + 2;
}

static void let_guest_in(struct party *party);

static void guest_left(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_close_t *why) {
    struct ear *ear = user;
    (void)loop, (void)conn;
    if (why->cause == DARI_CAUSE_SHUTDOWN || ear->party->left == 0) return;
    CHECK(why->code == 4001 && why->was_clean && why->opened);
    let_guest_in(ear->party);
}

static void let_guest_in(struct party *party) {
    const dari_handler_t handler = {.struct_size = sizeof handler, .user = &party->guest_ear,
                                    .message = guest_heard, .close = guest_left};
    for (int i = 0; i < THREADS; i++) party->guest_ear.next[i] = -1;
    pair_connect(&party->pair, NULL, &handler, "/");
}

static dari_status_t post_one(const struct poster *poster, int number, dari_conn_t guest) {
    const dari_remote_t *remote = poster->remote;
    char text[32];
    size_t len = (size_t)snprintf(text, sizeof text, "%d %d", poster->number, number);
    if (number % EACH == EACH - 1) return dari_remote_close(remote, guest, 4001, "enough");
    if (is_for_guest(number)) return dari_remote_send(remote, guest, DARI_BINARY, text, len);
    if (number % 2 == 0) return dari_remote_publish(remote, "all", DARI_TEXT, text, len);
    return dari_remote_send(remote, poster->party->stay[number / 2 % STAY], DARI_TEXT, text, len);
}

static void *post(void *argument) {
    const struct poster *poster = argument;
    struct party *party = poster->party;
    for (int number = 0; number < ALL; number++) {
        dari_conn_t guest;
        dari_status_t status;
        pthread_mutex_lock(&party->mutex);
        while (party->guests <= number / EACH) pthread_cond_wait(&party->comes, &party->mutex);
        guest = party->guest;
        pthread_mutex_unlock(&party->mutex);
        while ((status = post_one(poster, number, guest)) == DARI_ERR_FULL) sched_yield();
        CHECK(status == DARI_OK);
    }
    return NULL;
}

static void messages_of_each_thread_arrive_once_and_in_order(void) {
    struct party party;
    struct poster posters[THREADS];
    pthread_t threads[THREADS];
    const dari_limits_t limits = {.struct_size = sizeof limits, .max_backlog = DARI_UNLIMITED};
    const dari_listen_t how = {.struct_size = sizeof how, .limits = &limits};
    const dari_handler_t server = {
        .struct_size = sizeof server, .user = &party, .open = opened};
    memset(&party, 0, sizeof party);
    pthread_mutex_init(&party.mutex, NULL);
    pthread_cond_init(&party.comes, NULL);
    pair_listen(&party.pair, &how, &server);
    for (int i = 0; i < STAY; i++) {
        const dari_handler_t client = {
            .struct_size = sizeof client, .user = &party.ears[i], .message = heard};
        party.ears[i].party = &party;
        party.ears[i].which = i;
        pair_connect(&party.pair, NULL, &client, "/");
        TURN_UNTIL(party.pair.loop, party.opened == i + 1);
    }
    party.left = STAY * THREADS;
    party.guest_ear.party = &party;
    let_guest_in(&party);
    for (int i = 0; i < THREADS; i++) {
        posters[i] = (struct poster){.party = &party, .number = i};
        CHECK(dari_remote_new(party.pair.loop, &posters[i].remote) == DARI_OK);
        CHECK(pthread_create(&threads[i], NULL, post, &posters[i]) == 0);
    }
    run(party.pair.loop);
    CHECK(party.left == 0 && party.guests >= ROUNDS);
    /* If that took too long, nobody waits for guests any more. */
    pthread_mutex_lock(&party.mutex);
    party.guests = ROUNDS;
    pthread_cond_broadcast(&party.comes);
    pthread_mutex_unlock(&party.mutex);
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        dari_remote_free(posters[i].remote);
    }
    pair_free(&party.pair);
    pthread_cond_destroy(&party.comes);
    pthread_mutex_destroy(&party.mutex);
}

/* --- several loops, each in a thread of its own ---------------------------------------------- */

enum { LOOPS = 4, SAYINGS = 500 };

struct street {
    dari_remote_t *remotes[LOOPS];
    /* All are there; all are done. */
    pthread_barrier_t built, done;
};

struct house {
    struct street *street;
    struct pair pair;
    /* What its client is to hear next from each loop, and how many have not said all. */
    int number, next[LOOPS], left;
};

static void hear_all(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
    struct house *house = user;
    char text[32] = "";
    int from, number;
    (void)loop, (void)conn;
    memcpy(text, message->data, message->len < sizeof text ? message->len : sizeof text - 1);
    CHECK(sscanf(text, "%d %d", &from, &number) == 2 && from >= 0 && from < LOOPS);
    CHECK(house->next[from] == number);
    house->next[from] = number + 1;
    house->left -= house->next[from] == SAYINGS;
}

static void *live(void *argument) {
    struct house *house = argument;
    struct street *street = house->street;
    struct pair *pair = &house->pair;
    const dari_handler_t client = {.struct_size = sizeof client, .user = house, .message = hear_all};
    dari_handler_t server = side_handler(&pair->server);
    pair_listen(pair, NULL, &server);
    pair_connect(pair, NULL, &client, "/");
    TURN_UNTIL(pair->loop, side_heard(&pair->server, 'o'));
    CHECK(dari_conn_subscribe(pair->loop, pair->server.conn, "all") == DARI_OK);
    CHECK(dari_remote_new(pair->loop, &street->remotes[house->number]) == DARI_OK);
    pthread_barrier_wait(&street->built);
    for (int i = 0; i < SAYINGS; i++) {
        char text[32];
        size_t taken, len = (size_t)snprintf(text, sizeof text, "%d %d", house->number, i);
        CHECK(dari_remote_publish_all(street->remotes, LOOPS, "all", (dari_conn_t){0}, DARI_TEXT, text, len,
                                      &taken) == DARI_OK);
        CHECK(taken == LOOPS);
        if (i % 100 == 0) CHECK(dari_loop_turn(pair->loop, 0) == DARI_OK);
    }
    TURN_UNTIL(pair->loop, house->left == 0);
    pthread_barrier_wait(&street->done);
    pair_free(pair);
    return NULL;
}

static void what_each_loop_publishes_to_all_arrives_everywhere_once_and_in_order(void) {
    struct street street;
    static struct house houses[LOOPS];
    pthread_t threads[LOOPS];
    pthread_barrier_init(&street.built, NULL, LOOPS);
    pthread_barrier_init(&street.done, NULL, LOOPS);
    for (int i = 0; i < LOOPS; i++) {
        houses[i].street = &street;
        houses[i].number = i;
        houses[i].left = LOOPS;
        CHECK(pthread_create(&threads[i], NULL, live, &houses[i]) == 0);
    }
    for (int i = 0; i < LOOPS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < LOOPS; i++) dari_remote_free(street.remotes[i]);
    pthread_barrier_destroy(&street.built);
    pthread_barrier_destroy(&street.done);
}

/* --- the end --------------------------------------------------------------------------------- */

/* What has become of a thread's calls. The loop's thread counts called and dropped. */
struct tally {
    dari_remote_t *remote;
    int taken, called, dropped;
};

static void count_call(void *user, dari_loop_t *loop) {
    struct tally *tally = user;
    (void)loop;
    tally->called++;
}

static void count_drop(void *user) {
    struct tally *tally = user;
    /* Nothing is held meanwhile that this would wait for. */
    CHECK_ERROR(dari_remote_call(tally->remote, NULL, NULL, NULL), DARI_ERR_STALE, "gone");
    tally->dropped++;
}

static void *post_until_it_is_gone(void *argument) {
    static const dari_conn_t nobody = {0};
    struct tally *tally = argument;
    dari_status_t status = DARI_OK;
    while (status != DARI_ERR_STALE) {
        status = dari_remote_call(tally->remote, count_call, count_drop, tally);
        CHECK(status == DARI_OK || status == DARI_ERR_STALE || status == DARI_ERR_FULL);
        tally->taken += status == DARI_OK;
        dari_remote_publish(tally->remote, "t", DARI_TEXT, "to nobody", 9);
        dari_remote_send(tally->remote, nobody, DARI_BINARY, "to nobody", 9);
        dari_remote_close(tally->remote, nobody, 1000, "nobody");
        dari_remote_stop(tally->remote);
    }
    return NULL;
}

static void each_call_that_races_the_end_is_called_or_dropped(void) {
    for (int round = 0; round < 6; round++) {
        dari_loop_t *loop;
        pthread_t threads[THREADS];
        struct tally tallies[THREADS];
        struct tally last = {0};
        memset(tallies, 0, sizeof tallies);
        CHECK(dari_loop_new(NULL, &loop) == DARI_OK);
        CHECK(dari_remote_new(loop, &last.remote) == DARI_OK);
        for (int i = 0; i < THREADS; i++) {
            CHECK(dari_remote_new(loop, &tallies[i].remote) == DARI_OK);
            CHECK(pthread_create(&threads[i], NULL, post_until_it_is_gone, &tallies[i]) == 0);
        }
        /* Some rounds end in the middle of what a turn has left over. */
        TURN_UNTIL(loop, tallies[round % THREADS].called > 0);
        while (dari_remote_call(last.remote, count_call, count_drop, &last) == DARI_ERR_FULL)
            CHECK(dari_loop_turn(loop, 0) == DARI_OK);
        CHECK(dari_loop_free(loop) == DARI_OK);
        for (int i = 0; i < THREADS; i++) {
            CHECK(pthread_join(threads[i], NULL) == 0);
            CHECK(tallies[i].called + tallies[i].dropped == tallies[i].taken);
            dari_remote_free(tallies[i].remote);
        }
        CHECK(last.called == 0 && last.dropped == 1);
        dari_remote_free(last.remote);
    }
}

int main(int argc, char **argv) {
    static const struct check_test tests[] = {
        TEST(calls_of_each_thread_come_once_and_in_order),
        TEST(every_single_call_wakes_the_loop),
        TEST(messages_of_each_thread_arrive_once_and_in_order),
        TEST(what_each_loop_publishes_to_all_arrives_everywhere_once_and_in_order),
        TEST(each_call_that_races_the_end_is_called_or_dropped),
    };
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
