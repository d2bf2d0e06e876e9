/* Timers, and descriptors of the program's own. */
#include "check.h"
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

struct clock {
    int fired;
    long at;
    dari_timer_t timer;
    /* Cancel it at this count. */
    int until;
};

static void tick(void *user, dari_loop_t *loop, dari_timer_t timer) {
    struct clock *clock = user;
    clock->fired++;
    clock->at = check_now_ms();
    clock->timer = timer;
    if (clock->fired == clock->until) CHECK(dari_timer_cancel(loop, timer) == DARI_OK);
}

static void a_timer_fires_once_and_not_early(void) {
    dari_loop_t *loop;
    dari_timer_t timer;
    struct clock clock = {0};
    long start = check_now_ms();
    CHECK(dari_loop_new(NULL, &loop) == DARI_OK);
    CHECK(dari_timer_new(loop, 50, 0, tick, &clock, &timer) == DARI_OK);
    CHECK(timer.id != 0 && clock.fired == 0);
    TURN_UNTIL(loop, clock.fired == 1);
    CHECK(clock.at - start >= 49 && clock.timer.id == timer.id);
    turn_a_few(loop);
    CHECK(clock.fired == 1);
    CHECK_ERROR(dari_timer_cancel(loop, timer), DARI_ERR_STALE, "");
    CHECK(dari_loop_free(loop) == DARI_OK);
}

static void timers_fire_in_the_order_of_their_time(void) {
    dari_loop_t *loop;
    struct clock late = {0}, soon = {0}, never = {0};
    CHECK(dari_loop_new(NULL, &loop) == DARI_OK);
    CHECK(dari_timer_new(loop, 30, 0, tick, &late, NULL) == DARI_OK);
    CHECK(dari_timer_new(loop, 10, 0, tick, &soon, NULL) == DARI_OK);
    CHECK(dari_timer_new(loop, 3600000, 0, tick, &never, NULL) == DARI_OK);
    CHECK(dari_loop_timeout(loop) <= 10);
    TURN_UNTIL(loop, late.fired == 1);
    CHECK(soon.fired == 1 && soon.at <= late.at && never.fired == 0);
    CHECK(dari_loop_timeout(loop) > 1000 && dari_loop_timeout(loop) <= 3600000);
    /* The one that never fired goes with the loop. */
    CHECK(dari_loop_free(loop) == DARI_OK);
}

static void a_repeating_timer_may_end_itself(void) {
    dari_loop_t *loop;
    dari_timer_t timer;
    struct clock clock = {.until = 3};
    CHECK(dari_loop_new(NULL, &loop) == DARI_OK);
    CHECK(dari_timer_new(loop, 0, 1, tick, &clock, &timer) == DARI_OK);
    TURN_UNTIL(loop, clock.fired == 3);
    turn_a_few(loop);
    CHECK(clock.fired == 3);
    CHECK_ERROR(dari_timer_cancel(loop, timer), DARI_ERR_STALE, "");
    CHECK(dari_loop_timeout(loop) == DARI_NEVER);
    CHECK(dari_loop_free(loop) == DARI_OK);
}

static void a_cancelled_timer_does_not_fire(void) {
    dari_loop_t *loop;
    dari_timer_t timer;
    struct clock clock = {0};
    CHECK(dari_loop_new(NULL, &loop) == DARI_OK);
    CHECK(dari_timer_new(loop, 0, 0, tick, &clock, &timer) == DARI_OK);
    CHECK(dari_timer_cancel(loop, timer) == DARI_OK);
    turn_a_few(loop);
    CHECK(clock.fired == 0);
    CHECK(dari_loop_free(loop) == DARI_OK);
}

static void turn_waits_for_a_timer_and_no_longer(void) {
    dari_loop_t *loop;
    struct clock clock = {0};
    long start = check_now_ms();
    CHECK(dari_loop_new(NULL, &loop) == DARI_OK);
    CHECK(dari_timer_new(loop, 20, 0, tick, &clock, NULL) == DARI_OK);
    for (int i = 0; i < 5 && clock.fired == 0; i++)
        CHECK(dari_loop_turn(loop, DARI_NEVER) == DARI_OK);
    CHECK(clock.fired == 1 && clock.at - start >= 19);
    CHECK(dari_loop_turn(loop, 0) == DARI_OK);
    CHECK(dari_loop_free(loop) == DARI_OK);
}

struct eye {
    int fd;
    int ready;
    uint32_t events;
    char got[16];
    int cancel;
};

static void look(void *user, dari_loop_t *loop, dari_watch_t watch, uint32_t events) {
    struct eye *eye = user;
    eye->ready++;
    eye->events = events;
    if ((events & DARI_WATCH_READ) != 0 && eye->fd >= 0) {
        ssize_t n = read(eye->fd, eye->got, 1);
        if (n == 0) eye->cancel = 1;
    }
    if (eye->cancel) CHECK(dari_watch_cancel(loop, watch) == DARI_OK);
}

static void a_watch_says_when_there_is_something_to_read(void) {
    dari_loop_t *loop;
    dari_watch_t watch;
    int ends[2];
    struct eye eye = {0};
    CHECK(pipe(ends) == 0);
    eye.fd = ends[0];
    CHECK(dari_loop_new(NULL, &loop) == DARI_OK);
    CHECK(dari_watch_new(loop, ends[0], DARI_WATCH_READ, look, &eye, &watch) == DARI_OK);
    turn_a_few(loop);
    CHECK(eye.ready == 0);
    /* Level triggered: three bytes, one read at a time. */
    CHECK(write(ends[1], "abc", 3) == 3);
    TURN_UNTIL(loop, eye.ready == 3);
    CHECK(eye.got[0] == 'c' && eye.events == DARI_WATCH_READ);
    turn_a_few(loop);
    CHECK(eye.ready == 3);
    /* The end of the stream is readable, too. */
    close(ends[1]);
    TURN_UNTIL(loop, eye.cancel == 1);
    CHECK_ERROR(dari_watch_cancel(loop, watch), DARI_ERR_STALE, "");
    /* The descriptor is still ours. */
    CHECK(fcntl(ends[0], F_GETFD) >= 0);
    CHECK(dari_loop_free(loop) == DARI_OK);
    close(ends[0]);
}

static void a_watch_says_when_there_is_room_to_write(void) {
    dari_loop_t *loop;
    dari_watch_t watch;
    int ends[2];
    struct eye eye = {.fd = -1};
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    CHECK(dari_loop_new(NULL, &loop) == DARI_OK);
    CHECK(dari_watch_new(loop, ends[0], DARI_WATCH_READ | DARI_WATCH_WRITE, look, &eye, &watch) ==
          DARI_OK);
    TURN_UNTIL(loop, eye.ready >= 2);
    CHECK(eye.events == DARI_WATCH_WRITE);
    CHECK(write(ends[1], "x", 1) == 1);
    TURN_UNTIL(loop, eye.events == (DARI_WATCH_READ | DARI_WATCH_WRITE));
    CHECK(dari_watch_cancel(loop, watch) == DARI_OK);
    eye.ready = 0;
    turn_a_few(loop);
    CHECK(eye.ready == 0);
    CHECK(dari_loop_free(loop) == DARI_OK);
    close(ends[0]);
    close(ends[1]);
}

static void a_loop_that_goes_leaves_watched_descriptors_alone(void) {
    dari_loop_t *loop;
    int ends[2];
    struct eye eye = {.fd = -1};
    CHECK(pipe(ends) == 0);
    CHECK(dari_loop_new(NULL, &loop) == DARI_OK);
    CHECK(dari_watch_new(loop, ends[0], DARI_WATCH_READ, look, &eye, NULL) == DARI_OK);
    CHECK(dari_loop_free(loop) == DARI_OK);
    CHECK(fcntl(ends[0], F_GETFD) >= 0);
    close(ends[0]);
    close(ends[1]);
}

int main(int argc, char **argv) {
    static const struct check_test tests[] = {
        TEST(a_timer_fires_once_and_not_early),
        TEST(timers_fire_in_the_order_of_their_time),
        TEST(a_repeating_timer_may_end_itself),
        TEST(a_cancelled_timer_does_not_fire),
        TEST(turn_waits_for_a_timer_and_no_longer),
        TEST(a_watch_says_when_there_is_something_to_read),
        TEST(a_watch_says_when_there_is_room_to_write),
        TEST(a_loop_that_goes_leaves_watched_descriptors_alone),
    };
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
