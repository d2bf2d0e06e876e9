/* Accepting while the system says no, in each of its ways. Its accept4 is one of this program's own. */
#define _DEFAULT_SOURCE /* syscall */
#include "stranger.h"
#include <errno.h>
#include <sys/syscall.h>

/* The next so many calls fail with this; below zero, all of them. */
static struct {
    int error, left;
    size_t calls;
} fault;

/* In place of the C library's, which the library under test would call. */
int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags);

int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags) {
    fault.calls++;
    if (fault.left == 0) return (int)syscall(SYS_accept4, fd, address, len, flags);
    if (fault.left > 0) fault.left--;
    errno = fault.error;
    return -1;
}

/* A server, a client that is open, and what was told of those who did not get in. */
struct gate {
    struct pair pair;
    int fd;
    size_t reports, lines;
    uint64_t turned;
    uint32_t which;
    long reported_at, least_gap;
    char text[128];
};

static void gate_limited(void *user, dari_loop_t *loop, const dari_limited_t *what) {
    struct gate *gate = user;
    long now = check_now_ms();
    (void)loop;
    if (gate->reports++ > 0 && now - gate->reported_at < gate->least_gap) gate->least_gap = now - gate->reported_at;
    gate->reported_at = now;
    gate->which = what->which;
    gate->turned += what->count;
}

static void gate_log(void *user, dari_loop_t *loop, const dari_log_t *line) {
    struct gate *gate = user;
    (void)loop;
    CHECK(line->level == DARI_LOG_ERROR);
    gate->lines++;
    side_text(gate->text, sizeof gate->text, line->text);
}

static void gate_open_hook(void *user, dari_loop_t *loop, dari_conn_t conn) {
    side_open(&((struct gate *)user)->pair.server, loop, conn);
}

static void gate_close_hook(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_close_t *why) {
    side_close(&((struct gate *)user)->pair.server, loop, conn, why);
}

static void gate_open(struct gate *gate) {
    const dari_loop_config_t config = {
        .struct_size = sizeof config, .log_level = DARI_LOG_ERROR, .log = gate_log, .user = gate};
    const dari_handler_t server = {.struct_size = sizeof server, .user = gate, .open = gate_open_hook,
                                   .close = gate_close_hook, .limited = gate_limited};
    memset(gate, 0, sizeof *gate);
    gate->least_gap = CHECK_DEADLINE_MS;
    CHECK(dari_loop_new(&config, &gate->pair.loop) == DARI_OK);
    CHECK(dari_loop_listen(gate->pair.loop, "127.0.0.1:0", NULL, &server, &gate->pair.listener) == DARI_OK);
    gate->pair.port = dari_listener_port(gate->pair.loop, gate->pair.listener);
    gate->fd = stranger_join(&gate->pair);
}

static void gate_free(struct gate *gate) {
    close(gate->fd);
    pair_free(&gate->pair);
}

/* Somebody comes, and has asked. */
static int gate_come(const struct gate *gate) {
    int fd = raw_connect(gate->pair.port);
    raw_send(fd, RAW_UPGRADE);
    return fd;
}

static double cpu_ms(void) {
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec * 1e3 + (double)used.tv_nsec / 1e6;
}

/* Nobody can be accepted for more than a second: those who are there go on, the processor rests, it is told once a
 * second at most, and whoever has waited is let in when it is over, without another word from anybody. Each time that
 * it is tried takes so many calls. */
static void lasts(int error, uint32_t which, size_t calls) {
    enum { A_WHILE_MS = 1500 };
    static struct gate gate;
    const char *name = strerror(error);
    char answer[512];
    int before = check_failures, late;
    long begin;
    double cpu;
    gate_open(&gate);
    fault.error = error;
    fault.left = -1;
    late = gate_come(&gate);
    turn_a_few(gate.pair.loop);
    RAW_BYTES(gate.fd, PING);
    raw_read_until(gate.pair.loop, gate.fd, answer, sizeof answer, "\x8a");
    fault.calls = 0;
    cpu = cpu_ms();
    begin = check_now_ms();
    for (long left = A_WHILE_MS; left > 0; left = A_WHILE_MS + begin - check_now_ms())
        CHECK(dari_loop_turn(gate.pair.loop, (uint32_t)left) == DARI_OK);
    cpu = cpu_ms() - cpu;
    /* Once in it at least, however long it took to come here. */
    CHECK(fault.calls >= calls && fault.calls < 16 * calls);
    CHECK(cpu < A_WHILE_MS * 0.02 || check_in_valgrind());
    CHECK(gate.lines == 1 && strstr(gate.text, name) != NULL);
    CHECK(gate.which == which && gate.turned == 0);
    CHECK(which == 0 ? gate.reports == 0 : gate.reports >= 1 && gate.reports <= 3 && gate.least_gap >= 990);
    fault.left = 0;
    begin = check_now_ms();
    raw_read_until(gate.pair.loop, late, answer, sizeof answer, "HTTP/1.1 101 ");
    CHECK(check_now_ms() - begin < 5000);
    /* And so is the next one. */
    close(late);
    late = stranger_join(&gate.pair);
    CHECK(gate.lines == 1);
    close(late);
    gate_free(&gate);
    if (check_failures > before) fprintf(stderr, "    that was \"%s\"\n", name);
}

static void no_descriptors_and_no_memory_are_waited_for(void) {
    lasts(EMFILE, DARI_LIMITED_DESCRIPTORS, 1);
    lasts(ENFILE, DARI_LIMITED_DESCRIPTORS, 1);
    lasts(ENOBUFS, DARI_LIMITED_DESCRIPTORS, 1);
    lasts(ENOMEM, DARI_LIMITED_DESCRIPTORS, 1);
}

static void what_nobody_has_heard_of_is_waited_for_too(void) {
    lasts(EINVAL, 0, 1);
}

/* A filter of system calls, for instance: what may befall one peer befalls everybody, 128 in one turn. */
static void what_befalls_everybody_is_waited_for_too(void) {
    lasts(EPERM, 0, 128);
}

/* With the descriptor that is kept for it, one who comes is told. */
static void who_can_not_stay_is_told(void) {
    static const int errors[] = {EMFILE, ENFILE};
    for (size_t i = 0; i < 2; i++) {
        static struct gate gate;
        char answer[512];
        int late;
        gate_open(&gate);
        fault.error = errors[i];
        fault.left = 1;
        late = gate_come(&gate);
        raw_read_all(gate.pair.loop, late, answer, sizeof answer);
        CHECK(strncmp(answer, "HTTP/1.1 503 ", 13) == 0);
        TURN_UNTIL(gate.pair.loop, gate.reports > 0);
        CHECK(gate.which == DARI_LIMITED_DESCRIPTORS && gate.turned == 1 && gate.reports == 1 && gate.lines == 0);
        close(late);
        gate_free(&gate);
    }
}

/* What befell one peer on the way here says nothing of the next, who is let in at once. */
static void an_error_of_one_peer_is_not_that_of_the_next(void) {
    static const int errors[] = {ECONNABORTED, EPROTO,     EPERM,    EINTR,        ENETDOWN,   ENOPROTOOPT,
                                 EHOSTDOWN,    ENONET,     EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH, ETIMEDOUT};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        static struct gate gate;
        int before = check_failures, late;
        gate_open(&gate);
        fault.error = errors[i];
        fault.left = 3;
        late = stranger_join(&gate.pair);
        /* Waiting would have been told. */
        CHECK(fault.left == 0 && gate.reports == 0 && gate.lines == 0);
        close(late);
        gate_free(&gate);
        if (check_failures > before) fprintf(stderr, "    that was \"%s\"\n", strerror(errors[i]));
    }
}

int main(int argc, char **argv) {
    static const struct check_test tests[] = {
        TEST(no_descriptors_and_no_memory_are_waited_for),
        TEST(what_nobody_has_heard_of_is_waited_for_too),
        TEST(what_befalls_everybody_is_waited_for_too),
        TEST(who_can_not_stay_is_told),
        TEST(an_error_of_one_peer_is_not_that_of_the_next),
    };
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
