// dari inside a program that has an epoll loop of its own.
//
// The program's work is a clock (a timerfd) and its signals (a signalfd); dari
// is one more descriptor beside them. Everybody connected hears the clock, and
// hears back what he says.     ./embed_epoll 127.0.0.1:9001
//
// dari_loop_run is never called: the program waits, dari only takes its turns.
#define _POSIX_C_SOURCE 200809L
#include <dari.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

static const char CLOCK[] = "clock";
static const dari_conn_t NOBODY = {0};

static void on_open(void *user, dari_loop_t *loop, dari_conn_t conn) {
    (void)user;
    dari_conn_subscribe(loop, conn, CLOCK);
}

static void on_message(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
    (void)user;
    dari_conn_send(loop, conn, message->kind, message->data, message->len);
}

// The program's own work: once a second. dari is called from here as from
// anywhere on this thread; what is sent leaves in the turn that follows,
// because dari makes its descriptor readable for it.
static void on_clock(int clock, dari_loop_t *loop) {
    static uint64_t total;
    uint64_t ticks;
    char line[32];
    int len;
    if (read(clock, &ticks, sizeof ticks) != (ssize_t)sizeof ticks) return;
    total += ticks;
    len = snprintf(line, sizeof line, "tick %" PRIu64, total);
    dari_loop_publish(loop, CLOCK, NOBODY, DARI_TEXT, line, (size_t)len);
}

// SIGINT and SIGTERM as a descriptor, which is how a program with a poll of
// its own likes them; it has no need of dari_remote_stop.
static int signals_new(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0) return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int clock_new(void) {
    const struct itimerspec second = {.it_interval = {.tv_sec = 1}, .it_value = {.tv_sec = 1}};
    int clock = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (clock < 0 || timerfd_settime(clock, 0, &second, NULL) < 0) return -1;
    return clock;
}

static int watch(int epoll, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};
    return fd < 0 ? -1 : epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

// The program's loop. Returns when a signal came.
static int serve(dari_loop_t *loop, int bridge, int clock, int signals) {
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0 || watch(epoll, bridge) < 0 || watch(epoll, clock) < 0 || watch(epoll, signals) < 0) return -1;
    for (;;) {
        struct epoll_event ready[8];
        int n = epoll_wait(epoll, ready, 8, -1);
        if (n < 0 && errno != EINTR) return -1;
        for (int i = 0; i < n; i++) {
            if (ready[i].data.fd == clock) on_clock(clock, loop);
            else if (ready[i].data.fd == signals) return close(epoll);
            // Readable for due timers and left-over work, too: no timeout to
            // ask for, no descriptor of a connection to know of.
            else if (dari_loop_turn(loop, 0) < 0) return -1;
        }
    }
}

int main(int argc, char **argv) {
    const char *address = argc > 1 ? argv[1] : "127.0.0.1:9001";
    dari_handler_t handler = {.struct_size = sizeof handler, .open = on_open, .message = on_message};
    dari_listener_t listener;
    dari_loop_t *loop;
    int clock = clock_new(), signals = signals_new(), done;

    if (dari_loop_new(NULL, &loop) < 0 || dari_loop_listen(loop, address, NULL, &handler, &listener) < 0) {
        fprintf(stderr, "embed_epoll: %s\n", dari_last_error());
        return 1;
    }
    printf("listening on port %u\n", (unsigned)dari_listener_port(loop, listener));
    fflush(stdout);

    done = serve(loop, dari_loop_fd(loop), clock, signals);
    if (done < 0) perror("embed_epoll");
    dari_loop_free(loop); // Says 1001 to every peer.
    close(clock);
    close(signals);
    return done < 0;
}
