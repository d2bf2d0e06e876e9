/* What every C test is made of: CHECK, a deadline, and a list of tests to run.
 * Include it first. No test sleeps: turn the loop until it has happened. */
#ifndef CHECK_H
#define CHECK_H

#define _POSIX_C_SOURCE 200809L

#include "dari.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Generous: only a test that fails waits for so long, and valgrind is slow. */
#define CHECK_DEADLINE_MS 20000

static int check_failures;

static inline void check_fail(const char *file, int line, const char *what) {
    fprintf(stderr, "%s:%d: %s  [last error: %s]\n", file, line, what, dari_last_error());
    check_failures++;
}

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) check_fail(__FILE__, __LINE__, #condition);                              \
    } while (0)

/* The call fails with this status, and the message names the function and says
 * these words. */
#define CHECK_ERROR(call, status, words)                                                           \
    check_error(__FILE__, __LINE__, #call, (call), (status), (words))

static inline void check_error(const char *file, int line, const char *call, dari_status_t got,
                               dari_status_t status, const char *words) {
    const char *message = dari_last_error();
    size_t name = strcspn(call, "(");
    if (got != status) {
        fprintf(stderr, "%s:%d: status is %d, not %d\n", file, line, (int)got, (int)status);
        check_fail(file, line, call);
    } else if (strncmp(message, call, name) != 0 || message[name] != ':') {
        fprintf(stderr, "%s:%d: the message does not begin with the function\n", file, line);
        check_fail(file, line, call);
    } else if (strstr(message, words) == NULL) {
        fprintf(stderr, "%s:%d: the message does not say \"%s\"\n", file, line, words);
        check_fail(file, line, call);
    }
}

static inline long check_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Turns the loop until the condition holds; the deadline is a failure. */
#define TURN_UNTIL(loop, condition)                                                                \
    do {                                                                                           \
        long check_end = check_now_ms() + CHECK_DEADLINE_MS;                                       \
        while (!(condition) && check_now_ms() < check_end)                                         \
            if (dari_loop_turn((loop), 10) < 0) break;                                             \
        if (!(condition)) check_fail(__FILE__, __LINE__, "in time: " #condition);                  \
    } while (0)

/* Whether this runs under valgrind, which has descriptors, time and memory of its own. */
static inline int check_in_valgrind(void) {
    const char *preload = getenv("LD_PRELOAD");
    return preload != NULL && strstr(preload, "vgpreload") != NULL;
}

/* Turns the loop until nothing is left that could still happen at once. */
static inline void turn_a_few(dari_loop_t *loop) {
    for (int i = 0; i < 20; i++) dari_loop_turn(loop, 1);
}

struct check_test {
    const char *name;
    void (*run)(void);
};

#define TEST(function) {#function, function}

/* Runs all tests, or those that are named. */
static inline int check_run(const struct check_test *tests, size_t count, int argc, char **argv) {
    int passed = 0, failed = 0;
    for (size_t i = 0; i < count; i++) {
        int named = argc < 2;
        for (int arg = 1; arg < argc; arg++) named |= strcmp(argv[arg], tests[i].name) == 0;
        if (!named) continue;
        check_failures = 0;
        tests[i].run();
        printf("%s %s\n", check_failures == 0 ? "ok" : "FAILED", tests[i].name);
        fflush(stdout);
        if (check_failures == 0)
            passed++;
        else
            failed++;
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 && passed > 0 ? 0 : 1;
}

#endif
