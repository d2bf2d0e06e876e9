/* What a loop does to its process, and the process to it: fork, exec, signals, descriptors, memory. */
#define _DEFAULT_SOURCE /* setitimer */
#include "pair.h"
#include "raw.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>

/* What a child leaves open is not leaked: it goes with it. Who looks for leaks does not know that. */
static void close_descriptors(void) {
    for (int fd = 3; fd < 256; fd++) close(fd);
}

/* Runs it in a child, which must come to its end, without a failure and not by a signal. */
static void in_child(void (*run)(void *), void *user) {
    int status = -1;
    pid_t child;
    fflush(stdout);
    fflush(stderr);
    child = fork();
    if (child == 0) {
        check_failures = 0;
        atexit(close_descriptors);
        run(user);
        close_descriptors();
        _exit(check_failures > 0);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "the child: status %d, signal %d\n", WEXITSTATUS(status), WTERMSIG(status));
        CHECK(0);
    }
}

static int is_talking(struct pair *pair) {
    size_t before = pair->server.count;
    CHECK(dari_conn_send(pair->loop, pair->client.conn, DARI_TEXT, "still there?", 12) == DARI_OK);
    TURN_UNTIL(pair->loop, pair->server.count > before);
    return strcmp(pair->server.text, "still there?") == 0;
}

/* ------------------------------------------------------------------------ fork */

static void child_frees(void *user) {
    struct pair *pair = user;
    size_t heard = pair->server.count + pair->client.count;
    CHECK_ERROR(dari_loop_turn(pair->loop, 0), DARI_ERR_STATE, "forked child");
    CHECK_ERROR(dari_loop_run(pair->loop), DARI_ERR_STATE, "forked child");
    CHECK(dari_loop_free(pair->loop) == DARI_OK);
    CHECK(pair->server.count + pair->client.count == heard);
}

static void child_goes(void *user) {
    (void)user;
}

static void child_exits(void *user) {
    (void)user;
    /* With destructors, and all that was registered with atexit. */
    exit(0);
}

/* A child that has no use for it, and a loop of its own. */
static void child_begins_anew(void *user) {
    struct pair pair;
    CHECK(dari_loop_free(((struct pair *)user)->loop) == DARI_OK);
    pair_open(&pair, NULL, NULL);
    CHECK(is_talking(&pair));
    pair_free(&pair);
}

static void a_forked_child_does_the_parent_no_harm(void) {
    static void (*const children[])(void *) = {child_frees, child_goes, child_exits, child_begins_anew};
    const dari_handler_t quiet = {.struct_size = sizeof quiet};
    struct pair pair;
    char answer[512];
    int fd;
    pair_open(&pair, NULL, NULL);
    CHECK(dari_loop_fd(pair.loop) >= 0);
    fd = raw_connect(pair.port);
    raw_send(fd, RAW_UPGRADE);
    raw_read_until(pair.loop, fd, answer, sizeof answer, "\r\n\r\n");
    for (size_t i = 0; i < sizeof children / sizeof children[0]; i++) {
        size_t len = 0;
        in_child(children[i], &pair);
        CHECK(is_talking(&pair));
        CHECK(!raw_take(fd, answer, sizeof answer, &len) && len == 0);
        /* Who comes now is heard, too. */
        pair_connect(&pair, NULL, &quiet, "/");
        TURN_UNTIL(pair.loop, pair.server.heard[pair.server.count - 1] == 'o');
    }
    close(fd);
    pair_free(&pair);
}

static int forked;

static void fork_in_message(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
    struct side *side = user;
    pid_t child = fork();
    int status = -1;
    if (child == 0) {
        CHECK_ERROR(dari_loop_free(loop), DARI_ERR_STATE, "inside a hook");
        close_descriptors();
        _exit(check_failures > 0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    forked++;
    side_message(side, loop, conn, message);
}

static void a_hook_may_fork(void) {
    struct pair pair;
    dari_handler_t server = side_handler(&pair.server);
    server.message = fork_in_message;
    forked = 0;
    pair_open(&pair, &server, NULL);
    CHECK(is_talking(&pair) && is_talking(&pair) && forked == 2);
    pair_free(&pair);
}

static void exit_in_message(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
    (void)user, (void)loop, (void)conn, (void)message;
    exit(0);
}

static void child_exits_in_hook(void *user) {
    struct pair pair;
    dari_handler_t server = side_handler(&pair.server);
    (void)user;
    server.message = exit_in_message;
    pair_open(&pair, &server, NULL);
    CHECK(dari_conn_send(pair.loop, pair.client.conn, DARI_TEXT, "go", 2) == DARI_OK);
    TURN_UNTIL(pair.loop, 0);
}

static void a_hook_may_exit(void) {
    in_child(child_exits_in_hook, NULL);
}

/* ------------------------------------------------------------------------ exec */

/* A bit for each open descriptor. */
static unsigned long long open_fds(void) {
    DIR *list = opendir("/proc/self/fd");
    const struct dirent *entry;
    unsigned long long fds = 0;
    while ((entry = readdir(list)) != NULL) {
        int fd = atoi(entry->d_name);
        if (entry->d_name[0] != '.' && fd != dirfd(list) && fd < 64) fds |= 1ull << fd;
    }
    closedir(list);
    return fds;
}

/* `test_process --fds MASK`: whether no more than these are open, but for files, which are not dari's. */
static int only_these(const char *mask) {
    unsigned long long more = open_fds() & ~strtoull(mask, NULL, 16);
    int found = 0;
    for (int fd = 0; fd < 64; fd++) {
        char path[32], target[128] = {0};
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (!(more >> fd & 1) || readlink(path, target, sizeof target - 1) < 0 || target[0] == '/') continue;
        fprintf(stderr, "inherited: %d %s\n", fd, target);
        found = 1;
    }
    return found;
}

static void exec_self(void *user) {
    char *const arguments[] = {(char *)"test_process", (char *)"--fds", user, NULL};
    char path[1024] = {0};
    CHECK(readlink("/proc/self/exe", path, sizeof path - 1) > 0);
    execv(path, arguments);
    CHECK(0);
}

static void an_executed_program_inherits_no_descriptor(void) {
    struct pair pair;
    dari_handler_t quiet = {.struct_size = sizeof quiet};
    dari_remote_t *remote;
    char mask[32], address[64];
    unsigned long long before = open_fds();
    int fd;
    snprintf(mask, sizeof mask, "%llx", before);
    snprintf(address, sizeof address, "unix:@dari-process-%ld", (long)getpid());
    pair_open(&pair, NULL, NULL);
    CHECK(dari_loop_listen(pair.loop, address, NULL, &quiet, NULL) == DARI_OK);
    CHECK(dari_loop_fd(pair.loop) >= 0);
    CHECK(dari_remote_new(pair.loop, &remote) == DARI_OK);
    /* One who is on the way. */
    pair_connect(&pair, NULL, &quiet, "/");
    fd = raw_connect(pair.port);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    turn_a_few(pair.loop);
    CHECK((open_fds() & ~before) != 0);
    in_child(exec_self, mask);
    close(fd);
    dari_remote_free(remote);
    pair_free(&pair);
    CHECK(open_fds() == before);
}

/* --------------------------------------------------------------------- Signals */

static void send_to_the_gone(void *user) {
    static char block[1 << 20];
    (void)user;
    CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    for (size_t size = 1; size <= sizeof block; size *= 32) {
        struct pair pair;
        char answer[512];
        dari_handler_t handler = side_handler(&pair.server);
        int fd;
        memset(&pair, 0, sizeof pair);
        pair_listen(&pair, NULL, &handler);
        fd = raw_connect(pair.port);
        raw_send(fd, RAW_UPGRADE);
        raw_read_until(pair.loop, fd, answer, sizeof answer, "\r\n\r\n");
        CHECK(dari_conn_subscribe(pair.loop, pair.server.conn, "t") == DARI_OK);
        raw_reset(fd);
        for (int i = 0; i < 4; i++) {
            dari_conn_send(pair.loop, pair.server.conn, DARI_BINARY, block, size);
            dari_loop_publish(pair.loop, "t", (dari_conn_t){0}, DARI_BINARY, block, size);
            dari_conn_ping(pair.loop, pair.server.conn, "p", 1);
        }
        TURN_UNTIL(pair.loop, side_heard(&pair.server, 'c'));
        CHECK(pair.server.close.cause == DARI_CAUSE_RESET);
        /* A goodbye to one who is gone. */
        fd = raw_connect(pair.port);
        raw_send(fd, RAW_UPGRADE);
        raw_read_until(pair.loop, fd, answer, sizeof answer, "\r\n\r\n");
        raw_reset(fd);
        pair_free(&pair);
    }
}

static void a_peer_that_is_gone_raises_no_signal(void) {
    in_child(send_to_the_gone, NULL);
}

static volatile sig_atomic_t alarms;

static void on_alarm(int signal) {
    (void)signal;
    alarms++;
}

/* An echo of numbered messages of many lengths. */
struct echo {
    unsigned heard;
    size_t wrong;
};

static size_t length_of(unsigned number) {
    return sizeof number + (number % 100 == 0 ? 70000 : number * 37 % 3000);
}

static void echo_back(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
    (void)user;
    CHECK(dari_conn_send(loop, conn, message->kind, message->data, message->len) >= 0);
}

static void echo_hear(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
    struct echo *echo = user;
    unsigned number = 0;
    (void)loop, (void)conn;
    if (message->len >= sizeof number) memcpy(&number, message->data, sizeof number);
    echo->wrong += number != echo->heard || message->len != length_of(number);
    echo->heard++;
}

static void signals_that_interrupt_lose_nothing(void) {
    enum { MESSAGES = 20000 };
    static char block[80000];
    const struct itimerval every_ms = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
    struct sigaction action, before;
    struct pair pair;
    struct echo echo = {0, 0};
    const dari_handler_t server = {.struct_size = sizeof server, .message = echo_back};
    const dari_handler_t client = {.struct_size = sizeof client, .user = &echo, .message = echo_hear};
    unsigned sent = 0;
    memset(&pair, 0, sizeof pair);
    memset(&action, 0, sizeof action);
    action.sa_handler = on_alarm; /* and no SA_RESTART */
    CHECK(sigaction(SIGALRM, &action, &before) == 0);
    pair_listen(&pair, NULL, &server);
    pair.client.conn = pair_connect(&pair, NULL, &client, "/");
    alarms = 0;
    CHECK(setitimer(ITIMER_REAL, &every_ms, NULL) == 0);
    TURN_UNTIL(pair.loop, dari_conn_state(pair.loop, pair.client.conn) == DARI_STATE_OPEN);
    while (sent < MESSAGES && check_failures == 0) {
        memcpy(block, &sent, sizeof sent);
        CHECK(dari_conn_send(pair.loop, pair.client.conn, DARI_BINARY, block, length_of(sent)) >= 0);
        sent++;
        TURN_UNTIL(pair.loop, sent - echo.heard < 100);
    }
    TURN_UNTIL(pair.loop, echo.heard == MESSAGES);
    CHECK(echo.wrong == 0 && alarms > 0);
    /* Waiting is interrupted, which is no error. */
    alarms = 0;
    while (alarms < 20) CHECK(dari_loop_turn(pair.loop, 1000) == DARI_OK);
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    CHECK(sigaction(SIGALRM, &before, NULL) == 0);
    pair_free(&pair);
}

/* ----------------------------------------------------------- Standard descriptors */

/* Everything of which one might say something, were there anybody to hear it. */
static void live_without_a_word(void *user) {
    static const char close_frame[] = "\x88\x82\0\0\0\0\x03\xe8";
    struct pair pair;
    dari_handler_t handler = side_handler(&pair.server);
    static char failures[64 << 10];
    char answer[1024];
    int fds[4], saved = fcntl(2, F_DUPFD, 200);
    memset(&pair, 0, sizeof pair);
    /* What fails is said when there is somewhere to say it. */
    setvbuf(stderr, failures, _IOFBF, sizeof failures);
    if (user != NULL) pair_listen(&pair, NULL, &handler);
    for (int fd = 0; fd <= 2; fd++) close(fd);
    if (user == NULL) pair_listen(&pair, NULL, &handler);
    for (int i = 0; i < 4; i++) {
        int low = raw_connect(pair.port);
        fds[i] = fcntl(low, F_DUPFD, 100);
        close(low);
    }
    for (int i = 0; i < 4; i++) {
        size_t len, head;
        raw_send(fds[i], RAW_UPGRADE);
        head = raw_read_until(pair.loop, fds[i], answer, sizeof answer, "\r\n\r\n");
        CHECK(dari_conn_send(pair.loop, pair.server.conn, 99, NULL, 1) < 0);
        CHECK(dari_loop_listen(pair.loop, "nowhere", NULL, &handler, NULL) < 0);
        CHECK(dari_loop_connect(pair.loop, "ws://127.0.0.1:1/", NULL, &handler, NULL) == DARI_OK);
        if (i % 2 == 1) CHECK(send(fds[i], "\x81\x02hi", 4, MSG_NOSIGNAL) == 4);
        CHECK(send(fds[i], close_frame, sizeof close_frame - 1, MSG_NOSIGNAL) > 0);
        shutdown(fds[i], SHUT_WR);
        len = raw_read_all(pair.loop, fds[i], answer, sizeof answer);
        /* One Close frame, or that and nothing else. */
        CHECK(head > 0 && len >= 2 && (unsigned char)answer[0] == 0x88 && len == 2 + (size_t)answer[1]);
        close(fds[i]);
    }
    pair_free(&pair);
    dup2(saved, 2);
    fflush(stderr);
}

/* Sockets take the places of the standard descriptors: who prints there talks to a peer. */
static void nothing_is_printed_into_a_socket(void) {
    /* The loop's own descriptors, or those of its connections. */
    in_child(live_without_a_word, NULL);
    in_child(live_without_a_word, "after");
}

/* ------------------------------------------------------------- Leaving nothing behind */

static size_t count_in(const char *folder) {
    DIR *list = opendir(folder);
    size_t count = 0;
    while (readdir(list) != NULL) count++;
    closedir(list);
    return count;
}

/* Kilobytes of memory that the process has. */
static long resident_kb(void) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL && fscanf(file, "%*d %ld", &pages) == 1);
    if (file != NULL) fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* Tools that look at memory keep what is freed, and are slow. */
static int is_watched(void) {
#ifdef __SANITIZE_ADDRESS__
    return 1;
#else
    const char *preload = getenv("LD_PRELOAD");
    return preload != NULL && strstr(preload, "vgpreload") != NULL;
#endif
}

static void one_life(int round) {
    struct pair pair;
    dari_handler_t server = side_handler(&pair.server), client = side_handler(&pair.client);
    char block[1000] = {0};
    memset(&pair, 0, sizeof pair);
    pair_listen(&pair, NULL, &server);
    for (int i = 0; i < 10; i++) pair_connect(&pair, NULL, &client, "/");
    TURN_UNTIL(pair.loop, pair.server.count >= 10 && pair.client.count >= 10);
    for (dari_conn_t conn = {0}; (conn = dari_loop_next(pair.loop, conn)).id != 0;)
        CHECK(dari_conn_send(pair.loop, conn, DARI_BINARY, block, sizeof block) == DARI_OK);
    /* Freed in the middle of things, or at rest. */
    if (round % 2 == 0) TURN_UNTIL(pair.loop, pair.server.count >= 20 && pair.client.count >= 20);
    pair_free(&pair);
}

static void a_thousand_loops_leave_nothing_behind(void) {
    const int rounds = is_watched() ? 100 : 1000;
    size_t fds, threads;
    long before = 0;
    one_life(0);
    fds = count_in("/proc/self/fd");
    threads = count_in("/proc/self/task");
    for (int i = 0; i < rounds; i++) {
        one_life(i);
        if (i == rounds / 10) before = resident_kb();
    }
    CHECK(count_in("/proc/self/fd") == fds);
    CHECK(count_in("/proc/self/task") == threads);
    if (!is_watched()) CHECK(resident_kb() - before < 1024);
}

int main(int argc, char **argv) {
    static const struct check_test tests[] = {
        TEST(a_forked_child_does_the_parent_no_harm),
        TEST(a_hook_may_fork),
        TEST(a_hook_may_exit),
        TEST(an_executed_program_inherits_no_descriptor),
        TEST(a_peer_that_is_gone_raises_no_signal),
        TEST(signals_that_interrupt_lose_nothing),
        TEST(nothing_is_printed_into_a_socket),
        TEST(a_thousand_loops_leave_nothing_behind),
    };
    if (argc == 3 && strcmp(argv[1], "--fds") == 0) return only_these(argv[2]);
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
