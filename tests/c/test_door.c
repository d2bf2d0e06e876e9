/* The door: who is let in, how many and how fast, and what those hear who are not. */
#include "ends.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/un.h>

enum { REPORTS = 16 };

/* A server, and what its hook `limited` was told. */
struct door {
    struct pair pair;
    dari_limited_t reports[REPORTS];
    char peers[REPORTS][64];
    long at[REPORTS];
    size_t count;
    uint64_t turned; /* In all. */
};

static void door_limited(void *user, dari_loop_t *loop, const dari_limited_t *what) {
    struct door *door = user;
    size_t nth = door->count < REPORTS ? door->count++ : REPORTS - 1;
    CHECK_ERROR(dari_loop_turn(loop, 0), DARI_ERR_STATE, "inside a hook");
    CHECK(what->listener.id == door->pair.listener.id && what->reserved == 0 && what->count > 0);
    door->reports[nth] = *what;
    door->at[nth] = check_now_ms();
    door->turned += what->count;
    side_text(door->peers[nth], sizeof door->peers[nth], what->peer);
}

static void door_open_hook(void *user, dari_loop_t *loop, dari_conn_t conn) {
    side_open(&((struct door *)user)->pair.server, loop, conn);
}

static void door_close_hook(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_close_t *why) {
    side_close(&((struct door *)user)->pair.server, loop, conn, why);
}

static void door_listen(struct door *door, const char *address, dari_listen_t how) {
    const dari_handler_t server = {.struct_size = sizeof server, .user = door, .open = door_open_hook,
                                   .close = door_close_hook, .limited = door_limited};
    memset(door, 0, sizeof *door);
    how.struct_size = sizeof how;
    CHECK(dari_loop_new(NULL, &door->pair.loop) == DARI_OK);
    CHECK(dari_loop_listen(door->pair.loop, address, &how, &server, &door->pair.listener) == DARI_OK);
    door->pair.port = dari_listener_port(door->pair.loop, door->pair.listener);
}

/* A socket of 127.0.0.`host` that is connected to the server. */
static int come_from(const struct door *door, unsigned host) {
    struct sockaddr_in at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(&at, 0, sizeof at);
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(0x7f000000u | host);
    CHECK(bind(fd, (const struct sockaddr *)&at, sizeof at) == 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    at.sin_port = htons(door->pair.port);
    CHECK(connect(fd, (const struct sockaddr *)&at, sizeof at) == 0);
    return fd;
}

/* Asks for a WebSocket with these lines more, and returns the status of the answer. */
static int ask(struct door *door, int fd, const char *lines) {
    char text[1024], answer[2048];
    snprintf(text, sizeof text, "%.*s%s\r\n", (int)strlen(RAW_UPGRADE) - 2, RAW_UPGRADE, lines);
    /* Whoever is turned away may have been answered already. */
    send(fd, text, strlen(text), MSG_NOSIGNAL);
    raw_read_until(door->pair.loop, fd, answer, sizeof answer, "\r\n\r\n");
    CHECK(strncmp(answer, "HTTP/1.1 ", 9) == 0);
    if (strncmp(answer, "HTTP/1.1 503 ", 13) == 0) CHECK(strstr(answer, "\r\nConnection: close\r\n") != NULL);
    return atoi(answer + 9);
}

/* The same, and closes it again. */
static int ask_and_go(struct door *door, unsigned host) {
    int fd = come_from(door, host), status = ask(door, fd, "");
    close(fd);
    turn_a_few(door->pair.loop);
    return status;
}

static void a_loop_has_a_number_of_connections(void) {
    static struct door door;
    dari_stats_t stats = {.struct_size = sizeof stats};
    int fds[2];
    door_listen(&door, "127.0.0.1:0", (dari_listen_t){.max_conns = 2});
    for (int i = 0; i < 2; i++) {
        fds[i] = come_from(&door, 1);
        CHECK(ask(&door, fds[i], "") == 101);
    }
    CHECK(ask_and_go(&door, 1) == 503);
    TURN_UNTIL(door.pair.loop, door.count > 0);
    CHECK(door.reports[0].which == DARI_LIMITED_CONNS && door.reports[0].limit == 2);
    CHECK(door.reports[0].count == 1 && strncmp(door.peers[0], "127.0.0.1:", 10) == 0);
    /* No hook heard of a connection that was none; the numbers have it. */
    CHECK(strcmp(door.pair.server.heard, "oo") == 0);
    CHECK(dari_loop_stats(door.pair.loop, &stats) == DARI_OK);
    CHECK(stats.limited == 1 && stats.closes[DARI_CAUSE_LIMIT] == 1);
    CHECK(stats.accepted == 3 && stats.open == 2 && stats.opened == 2);
    /* Where one goes, another may come. */
    close(fds[0]);
    TURN_UNTIL(door.pair.loop, side_heard(&door.pair.server, 'c'));
    turn_a_few(door.pair.loop);
    fds[0] = come_from(&door, 1);
    CHECK(ask(&door, fds[0], "") == 101);
    for (int i = 0; i < 2; i++) close(fds[i]);
    pair_free(&door.pair);
}

static void an_address_has_a_number_of_connections(void) {
    static struct door door;
    int fds[3];
    door_listen(&door, "127.0.0.1:0",
                (dari_listen_t){.max_conns_per_ip = 2, .flags = DARI_LISTEN_LIMIT_LOOPBACK});
    for (int i = 0; i < 2; i++) CHECK(ask(&door, fds[i] = come_from(&door, 2), "") == 101);
    CHECK(ask_and_go(&door, 2) == 503);
    /* Another address has its own. */
    CHECK(ask(&door, fds[2] = come_from(&door, 3), "") == 101);
    TURN_UNTIL(door.pair.loop, door.count > 0);
    CHECK(door.reports[0].which == DARI_LIMITED_PER_IP && door.reports[0].limit == 2);
    CHECK(strncmp(door.peers[0], "127.0.0.2:", 10) == 0);
    close(fds[0]);
    TURN_UNTIL(door.pair.loop, side_heard(&door.pair.server, 'c'));
    turn_a_few(door.pair.loop);
    CHECK(ask(&door, fds[0] = come_from(&door, 2), "") == 101);
    CHECK(ask_and_go(&door, 2) == 503);
    for (int i = 0; i < 3; i++) close(fds[i]);
    pair_free(&door.pair);
}

static void an_address_comes_at_a_rate(void) {
    static struct door door;
    long end;
    door_listen(&door, "127.0.0.1:0",
                (dari_listen_t){.connects_per_second_per_ip = 1, .flags = DARI_LISTEN_LIMIT_LOOPBACK});
    /* A burst is four times as much. */
    for (int i = 0; i < 4; i++) CHECK(ask_and_go(&door, 2) == 101);
    CHECK(ask_and_go(&door, 2) == 503);
    CHECK(ask_and_go(&door, 3) == 101);
    TURN_UNTIL(door.pair.loop, door.count > 0);
    CHECK(door.reports[0].which == DARI_LIMITED_RATE && door.reports[0].limit == 1);
    /* It goes on when its time has come. */
    end = check_now_ms() + 1100;
    TURN_UNTIL(door.pair.loop, check_now_ms() >= end);
    CHECK(ask_and_go(&door, 2) == 101);
    pair_free(&door.pair);
}

static void it_is_told_once_a_second(void) {
    static struct door door;
    enum { COME = 12 };
    int fd;
    door_listen(&door, "127.0.0.1:0",
                (dari_listen_t){.max_conns_per_ip = 1, .flags = DARI_LISTEN_LIMIT_LOOPBACK});
    CHECK(ask(&door, fd = come_from(&door, 2), "") == 101);
    for (int i = 0; i < COME; i++) CHECK(ask_and_go(&door, 2) == 503);
    TURN_UNTIL(door.pair.loop, door.turned >= COME);
    CHECK(door.turned == COME);
    for (size_t i = 1; i < door.count; i++) CHECK(door.at[i] - door.at[i - 1] >= 990);
    CHECK(door.count <= 3 + (size_t)(door.at[door.count - 1] - door.at[0]) / 1000);
    close(fd);
    pair_free(&door.pair);
}

static void this_machine_is_exempt_unless_it_is_asked_for(void) {
    static struct door door;
    struct sockaddr_un to;
    char address[64];
    int fds[3];
    door_listen(&door, "127.0.0.1:0", (dari_listen_t){.max_conns_per_ip = 1, .connects_per_second_per_ip = 1});
    for (int i = 0; i < 3; i++) CHECK(ask(&door, fds[i] = come_from(&door, 2), "") == 101);
    for (int i = 0; i < 3; i++) close(fds[i]);
    pair_free(&door.pair);
    CHECK(door.count == 0);

    /* All peers of a unix socket are one, and exempt, too. */
    for (uint32_t flags = 0; flags <= DARI_LISTEN_LIMIT_LOOPBACK; flags += DARI_LISTEN_LIMIT_LOOPBACK) {
        snprintf(address, sizeof address, "unix:@dari-door-%ld-%u", (long)getpid(), (unsigned)flags);
        door_listen(&door, address, (dari_listen_t){.max_conns_per_ip = 1, .flags = flags});
        memset(&to, 0, sizeof to);
        to.sun_family = AF_UNIX;
        memcpy(to.sun_path + 1, address + 6, strlen(address) - 6);
        for (int i = 0; i < 2; i++) {
            fds[i] = socket(AF_UNIX, SOCK_STREAM, 0);
            CHECK(connect(fds[i], (const struct sockaddr *)&to,
                          (socklen_t)(sizeof to.sun_family + strlen(address) - 5)) == 0);
            CHECK(ask(&door, fds[i], "") == (i > 0 && flags != 0 ? 503 : 101));
        }
        for (int i = 0; i < 2; i++) close(fds[i]);
        pair_free(&door.pair);
    }
}

static void flags_that_are_none_are_refused(void) {
    const dari_listen_t how = {.struct_size = sizeof how, .flags = 4};
    const dari_handler_t quiet = {.struct_size = sizeof quiet};
    dari_loop_t *loop;
    CHECK(dari_loop_new(NULL, &loop) == DARI_OK);
    CHECK_ERROR(dari_loop_listen(loop, "127.0.0.1:0", &how, &quiet, NULL), DARI_ERR_ARGUMENT, "flags");
    CHECK(dari_loop_free(loop) == DARI_OK);
}

static void ipv6_counts_too(void) {
    static struct door door;
    struct sockaddr_in6 to;
    int fds[2];
    door_listen(&door, "[::1]:0", (dari_listen_t){.max_conns_per_ip = 1, .flags = DARI_LISTEN_LIMIT_LOOPBACK});
    memset(&to, 0, sizeof to);
    to.sin6_family = AF_INET6;
    to.sin6_addr = in6addr_loopback;
    to.sin6_port = htons(door.pair.port);
    for (int i = 0; i < 2; i++) {
        fds[i] = socket(AF_INET6, SOCK_STREAM, 0);
        CHECK(connect(fds[i], (const struct sockaddr *)&to, sizeof to) == 0);
        CHECK(ask(&door, fds[i], "") == (i == 0 ? 101 : 503));
    }
    TURN_UNTIL(door.pair.loop, door.count > 0);
    CHECK(strncmp(door.peers[0], "[::1]:", 6) == 0);
    for (int i = 0; i < 2; i++) close(fds[i]);
    pair_free(&door.pair);
}

/* Whom a proxy at 127.0.0.1 speaks for, what is answered if one connection of each is allowed and
 * these have come before, and whom dari takes it to be. */
static void a_trusted_proxy_is_believed(void) {
    static const char *const proxies[] = {"127.0.0.1", "10.0.0.0/8", NULL};
    static const struct {
        unsigned host;
        const char *lines;
        int status;
        const char *peer;
    } cases[] = {
        {1, "X-Forwarded-For: 192.0.2.1\r\n", 101, "192.0.2.1"},
        {1, "X-Forwarded-For: 192.0.2.1\r\n", 503, NULL},
        {1, "X-Forwarded-For: 192.0.2.2\r\n", 101, "192.0.2.2"},
        /* What a client claims stands left of what its proxies have seen. */
        {1, "X-Forwarded-For: 198.51.100.1, 192.0.2.2, 10.1.2.3\r\n", 503, NULL},
        {1, "X-Forwarded-For: 198.51.100.1\r\nx-forwarded-for: 192.0.2.3, 10.1.2.3\r\n", 101, "192.0.2.3"},
        /* 64 bits of IPv6 are one. */
        {1, "X-Forwarded-For: 2001:db8::1\r\n", 101, "2001:db8::1"},
        {1, "X-Forwarded-For: 2001:db8::ffff:ffff:ffff:ffff\r\n", 503, NULL},
        {1, "X-Forwarded-For: 2001:db8:0:1::1\r\n", 101, "2001:db8:0:1::1"},
        /* A proxy that speaks for nobody is itself, and not counted. */
        {1, "", 101, "127.0.0.1:"},
        {1, "X-Forwarded-For: rubbish\r\n", 101, "127.0.0.1:"},
        /* Whoever is not trusted may claim what he likes. */
        {2, "X-Forwarded-For: 192.0.2.9\r\n", 101, "127.0.0.2:"},
        {2, "X-Forwarded-For: 192.0.2.10\r\n", 503, NULL},
    };
    enum { CASES = sizeof cases / sizeof *cases };
    static struct door door;
    char peer[64];
    int fds[CASES];
    size_t opened = 0;
    door_listen(&door, "127.0.0.1:0", (dari_listen_t){
        .max_conns_per_ip = 1, .trusted_proxies = proxies, .flags = DARI_LISTEN_LIMIT_LOOPBACK});
    for (size_t i = 0; i < CASES; i++) {
        int before = check_failures;
        fds[i] = come_from(&door, cases[i].host);
        CHECK(ask(&door, fds[i], cases[i].lines) == cases[i].status);
        if (cases[i].peer != NULL) {
            opened++;
            TURN_UNTIL(door.pair.loop, door.pair.server.count == opened);
            CHECK(dari_conn_peer(door.pair.loop, door.pair.server.conn, peer, sizeof peer, NULL) == DARI_OK);
            CHECK(strstr(peer, cases[i].peer) != NULL);
        }
        if (check_failures > before) fprintf(stderr, "    that was case %d\n", (int)i);
    }
    /* Who goes makes room, by the address that was forwarded. */
    close(fds[0]);
    TURN_UNTIL(door.pair.loop, side_heard(&door.pair.server, 'c'));
    turn_a_few(door.pair.loop);
    fds[0] = come_from(&door, 1);
    CHECK(ask(&door, fds[0], cases[0].lines) == 101);
    for (size_t i = 0; i < CASES; i++) close(fds[i]);
    pair_free(&door.pair);
}

static void networks_that_are_none_are_refused(void) {
    static const char *const bad[] = {"10.0.0.0/33", "proxy.example", "", "::/129", "10.0.0"};
    const dari_handler_t quiet = {.struct_size = sizeof quiet};
    dari_loop_t *loop;
    CHECK(dari_loop_new(NULL, &loop) == DARI_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *const list[] = {"::1", "unix:", bad[i], NULL};
        const dari_listen_t how = {.struct_size = sizeof how, .trusted_proxies = list};
        CHECK_ERROR(dari_loop_listen(loop, "127.0.0.1:0", &how, &quiet, NULL), DARI_ERR_ARGUMENT, bad[i]);
    }
    CHECK(dari_loop_free(loop) == DARI_OK);
}

/* --------------------------------------------------------------- No descriptors */

/* Takes all descriptors that are left, up to 1,024 in all; how many that were goes to `count`. */
static void use_up(struct rlimit *before, int *taken, size_t *count) {
    struct rlimit few;
    int last = dup(0);
    CHECK(getrlimit(RLIMIT_NOFILE, before) == 0);
    few = *before;
    few.rlim_cur = (rlim_t)last + 1;
    close(last);
    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
    for (*count = 0; *count < 64 && (taken[*count] = dup(0)) >= 0;) (*count)++;
}

static double cpu_ms(void) {
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec * 1e3 + (double)used.tv_nsec / 1e6;
}

static void running_out_of_descriptors_is_neither_a_spin_nor_the_end(void) {
    enum { COME = 40 };
    static struct door door;
    struct rlimit before;
    struct sockaddr_in to;
    dari_stats_t stats = {.struct_size = sizeof stats};
    int taken[64], fds[COME], fd, told = 0, turns = 0;
    size_t count;
    long end;
    double cpu;
    char answer[256];
    /* It closes whom it accepts beyond a limit that it has set itself. */
    if (check_in_valgrind()) return;
    door_listen(&door, "127.0.0.1:0", (dari_listen_t){.max_conns = 1000});
    fd = come_from(&door, 1);
    CHECK(ask(&door, fd, "") == 101);
    memset(&to, 0, sizeof to);
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(door.pair.port);
    for (int i = 0; i < COME; i++) fds[i] = socket(AF_INET, SOCK_STREAM, 0);
    use_up(&before, taken, &count);
    /* Those who come are told, one after the other. */
    for (int i = 0; i < COME; i++) {
        CHECK(connect(fds[i], (const struct sockaddr *)&to, sizeof to) == 0);
        raw_read_until(door.pair.loop, fds[i], answer, sizeof answer, "\r\n\r\n");
        told += strncmp(answer, "HTTP/1.1 503 ", 13) == 0;
        for (end = check_now_ms() + 5; check_now_ms() < end;) dari_loop_turn(door.pair.loop, 5);
    }
    CHECK(told == COME);
    TURN_UNTIL(door.pair.loop, door.turned >= COME);
    /* Those who are there go on, and a second costs next to nothing. */
    RAW_BYTES(fd, PING);
    raw_read_until(door.pair.loop, fd, answer, sizeof answer, "\x8a");
    cpu = cpu_ms();
    for (end = check_now_ms() + 1000; check_now_ms() < end; turns++)
        dari_loop_turn(door.pair.loop, (uint32_t)(end - check_now_ms() + 1));
    cpu = cpu_ms() - cpu;
    CHECK(cpu < 20 && turns < 20);
    for (size_t i = 0; i < count; i++) close(taken[i]);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    /* Nobody was counted who was not there, and nobody was told more than once a second. */
    CHECK(door.turned == COME && door.reports[0].which == DARI_LIMITED_DESCRIPTORS);
    CHECK(door.reports[0].limit == 0 && strncmp(door.peers[0], "127.0.0.1:", 10) == 0);
    for (size_t i = 1; i < door.count; i++) CHECK(door.at[i] - door.at[i - 1] >= 990);
    CHECK(dari_loop_stats(door.pair.loop, &stats) == DARI_OK && stats.limited == COME);
    for (int i = 0; i < COME; i++) close(fds[i]);
    /* And then it goes on by itself. */
    fds[0] = come_from(&door, 1);
    CHECK(ask(&door, fds[0], "") == 101);
    close(fds[0]);
    close(fd);
    pair_free(&door.pair);
}

int main(int argc, char **argv) {
    static const struct check_test tests[] = {
        TEST(a_loop_has_a_number_of_connections),
        TEST(an_address_has_a_number_of_connections),
        TEST(an_address_comes_at_a_rate),
        TEST(it_is_told_once_a_second),
        TEST(this_machine_is_exempt_unless_it_is_asked_for),
        TEST(flags_that_are_none_are_refused),
        TEST(ipv6_counts_too),
        TEST(a_trusted_proxy_is_believed),
        TEST(networks_that_are_none_are_refused),
        TEST(running_out_of_descriptors_is_neither_a_spin_nor_the_end),
    };
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
