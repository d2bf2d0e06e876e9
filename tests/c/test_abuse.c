/* Any call, in any state, from inside any hook: a defined answer, and exactly one `close` for each id, last.
 *
 * A cell is one action (abuse_actions.h) in one place (a hook that is running, or a state between turns), with one
 * connection or a crowd, with nothing, with data or with a reset behind what brought it there, and with peers that
 * leave or a loop that is freed at the end. Each group of cells is one test; `test_abuse PLACE`, or the beginning
 * of a cell's name (PLACE/ACTION/...), runs those alone. */
#include "abuse.h"
#include "abuse_actions.h"
#include "raw.h"
#include <dirent.h>
#include <stdlib.h>
#include <sys/un.h>

struct bytes {
    const char *data;
    size_t len;
};
#define BYTES(text) {text, sizeof text - 1}

/* Frames of a client, masked with zeros. */
#define GET "GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define HI "\x81\x82\0\0\0\0hi"
#define MORE                                                                                       \
    HI HI "\x89\x81\0\0\0\0p" "\x01\x82\0\0\0\0hi" "\x8a\x80\0\0\0\0" "\x80\x80\0\0\0\0" HI "\x88\x82\0\0\0\0\x03\xe8"

enum { UNOPENED = 1, DIALS = 2, NOISY = 4, MAY_MISS = 8, NEVER_OPEN = 16, HEAVY = 32 };

struct place {
    const char *name;
    /* The hook in which the action is done, by its letter; 0: between turns. */
    char hook;
    /* What the connection is there. */
    unsigned is;
    int flags;
    struct bytes trigger, more;
    /* Between turns: how it gets there from open, or from its request. */
    enum verb way[2];
    int ways;
};

static const struct place PLACES[] = {
    {"open", 'o', OPEN, UNOPENED, BYTES(RAW_UPGRADE), BYTES(MORE), {0}, 0},
    {"message", 'm', OPEN, 0, BYTES(HI), BYTES(MORE), {0}, 0},
    {"part", 'p', OPEN, 0, BYTES(HI), BYTES(MORE), {0}, 0},
    {"drain", 'd', OPEN, MAY_MISS | HEAVY, {NULL, 0}, BYTES(MORE), {0}, 0},
    {"error", 'e', OVER, NOISY, BYTES("\x81\x02hi"), BYTES(MORE), {0}, 0},
    {"close", 'c', OVER, NOISY, BYTES("\x88\x82\0\0\0\0\x03\xe8"), BYTES(MORE), {0}, 0},
    {"upgrade", 'u', ASKED, UNOPENED, BYTES(RAW_UPGRADE), BYTES(MORE), {0}, 0},
    {"http", 'h', PLAIN, UNOPENED, BYTES(GET), BYTES(GET RAW_UPGRADE MORE), {0}, 0},
    {"pong", 'P', OPEN, 0, BYTES("\x8a\x81\0\0\0\0p"), BYTES(MORE), {0}, 0},
    {"timer", 't', OPEN, 0, BYTES(HI), BYTES(MORE), {0}, 0},
    {"watch", 'w', OPEN, 0, BYTES(HI), BYTES(MORE), {0}, 0},
    {"call", 'r', OPEN, 0, BYTES(HI), BYTES(MORE), {0}, 0},
    {"dropped", 'x', OPEN, 0, BYTES(HI), BYTES(MORE), {0}, 0},
    {"freed", 'c', OVER, NOISY, BYTES(HI), BYTES(MORE), {0}, 0},
    {"dial_open", 'o', OPEN, DIALS, {NULL, 0}, {NULL, 0}, {0}, 0},
    {"dial_refused", 'c', OVER, DIALS | NEVER_OPEN | NOISY, {NULL, 0}, {NULL, 0}, {0}, 0},
    {"is_dialling", 0, DIALLING, DIALS, {NULL, 0}, {NULL, 0}, {0}, 0},
    {"is_asked", 0, ASKED, UNOPENED, BYTES(RAW_UPGRADE), BYTES(MORE), {0}, 0},
    {"is_plain", 0, PLAIN, UNOPENED, BYTES(GET), BYTES(GET RAW_UPGRADE MORE), {0}, 0},
    {"is_begun", 0, BEGUN, UNOPENED, BYTES(GET), BYTES(GET RAW_UPGRADE MORE), {BEGIN}, 1},
    {"is_kept", 0, KEPT, UNOPENED, BYTES(GET), BYTES(GET RAW_UPGRADE MORE), {RESPOND}, 1},
    {"is_refused", 0, REFUSED, UNOPENED, BYTES(RAW_UPGRADE), BYTES(MORE), {RESPOND}, 1},
    {"is_open", 0, OPEN, 0, {NULL, 0}, BYTES(MORE), {0}, 0},
    {"is_in_parts", 0, PARTS, 0, {NULL, 0}, BYTES(MORE), {PART}, 1},
    {"is_full", 0, FULL, HEAVY, {NULL, 0}, BYTES(MORE), {0}, 0},
    {"is_closing", 0, CLOSING, 0, {NULL, 0}, BYTES(MORE), {CLOSE}, 1},
    {"is_over", 0, OVER, 0, {NULL, 0}, BYTES(MORE), {ABORT}, 1},
    {"is_stale", 0, STALE, 0, {NULL, 0}, BYTES(MORE), {ABORT}, 1},
};

/* Sockets of the peers, and that of the one who looks on. */
static int peers[CROWD], bystander;
static size_t crowd = CROWD, open_peers;

/* Where the crowd begins among the guests: a single one has somebody beside it. */
#define FIRST (cell.crowd == 1 ? 1u : 0u)

/* -------------------------------------------------------------------- Hooks */

static void run_action(struct guest *own) {
    struct guest *before = cell.own;
    if (!cell.armed || cell.runs >= cell.limit) return;
    cell.runs++;
    cell.own = own;
    act(cell.action);
    cell.own = before;
}

/* What is true of every hook, and what has become of its connection. */
static struct guest *enter(char hook, dari_loop_t *loop, dari_conn_t conn) {
    struct guest *guest = guest_of(conn);
    REQUIRE(loop == cell.loop && !cell.freed && !cell.in_hook && !cell.in_call);
    if (guest == NULL) guest = guest_new(conn, DIALLING);
    if (guest->closed) fail("hook '%c' after close", hook);
    if (guest->erred) REQUIRE(hook == 'c');
    if (guest->is == OVER) REQUIRE(hook == 'e' || hook == 'c');
    if (strchr("mpP", hook) != NULL) REQUIRE(guest->opened && !guest->ended && !guest->paused);
    if (strchr("uh", hook) != NULL) REQUIRE(!guest->opened);
    cell.in_hook = 1;
    cell.current = guest;
    return guest;
}

static void leave(void) {
    cell.in_hook = 0;
    cell.current = NULL;
}

static void at(char hook, struct guest *guest) {
    if (cell.place->hook == hook && guest->dial == (cell.place->flags & DIALS ? 1 : 0) &&
        (cell.freeing || strcmp(cell.place->name, "freed") != 0))
        run_action(guest);
}

/* The other end of a dial, which is on this loop, too: it says more, or is gone already. */
static void serve_dials(char hook, struct guest *guest) {
    if (!(cell.place->flags & DIALS) || cell.freeing || !cell.armed || guest < cell.guests + FIRST) return;
    if (cell.behind == DATA && hook == 'o' && !guest->dial) {
        apply(SEND, guest);
        apply(PING, guest);
        apply(CLOSE, guest);
    } else if (cell.behind == RESET && cell.place->hook == 0 && hook == 'u') {
        apply(ABORT, guest);
    } else if (cell.behind == RESET && cell.place->hook == 'o' && hook == 'o' && guest->dial) {
        for (size_t i = FIRST; i < cell.count; i++)
            if (!cell.guests[i].dial) apply(ABORT, &cell.guests[i]);
    }
}

static void on_open(void *user, dari_loop_t *loop, dari_conn_t conn) {
    struct guest *guest = enter('o', loop, conn);
    REQUIRE(user == &cell && guest->opened++ == 0 && !guest->ended);
    if (!(guest->is & (PARTS | FULL))) guest->is = OPEN;
    serve_dials('o', guest);
    at('o', guest);
    leave();
}

static void told(char hook, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
    struct guest *guest = enter(hook, loop, conn);
    char copy[8];
    size_t len = message->len < sizeof copy ? message->len : sizeof copy;
    memcpy(copy, message->data, len);
    at(hook, guest);
    /* It is on loan until the hook returns, come what may. */
    REQUIRE(memcmp(copy, message->data, len) == 0);
    leave();
}

static void on_message(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
    (void)user;
    told('m', loop, conn, message);
}

static void on_part(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *part, uint32_t last) {
    (void)user, (void)last;
    told('p', loop, conn, part);
}

static void on_pong(void *user, dari_loop_t *loop, dari_conn_t conn, const void *data, size_t len) {
    const dari_message_t message = {.data = data, .len = len};
    (void)user;
    told('P', loop, conn, &message);
}

static void on_drain(void *user, dari_loop_t *loop, dari_conn_t conn) {
    struct guest *guest = enter('d', loop, conn);
    (void)user;
    if (guest->is & FULL) guest->is = (guest->is & ~(unsigned)FULL) | OPEN;
    at('d', guest);
    leave();
}

static void ended(char hook, dari_loop_t *loop, dari_conn_t conn, const dari_close_t *why) {
    struct guest *guest = enter(hook, loop, conn);
    int failed = why->cause > DARI_CAUSE_RELEASED || why->cause == 0;
    char copy[16] = {0};
    guest->is = OVER;
    REQUIRE(why->text.len >= sizeof copy && (why->opened != 0) == (guest->opened != 0));
    memcpy(copy, why->text.data, why->text.len < sizeof copy ? 0 : sizeof copy);
    if (hook == 'c') {
        REQUIRE(failed == guest->erred);
        guest->closed++;
    } else {
        REQUIRE(failed);
        guest->erred = 1;
    }
    at(hook, guest);
    REQUIRE(memcmp(copy, why->text.data, sizeof copy) == 0);
    if (hook == 'c') guest->is = STALE;
    leave();
}

static void on_error(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_close_t *why) {
    (void)user;
    ended('e', loop, conn, why);
}

static void on_close(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_close_t *why) {
    (void)user;
    ended('c', loop, conn, why);
}

static void on_upgrade(void *user, dari_loop_t *loop, dari_conn_t conn) {
    struct guest *guest = enter('u', loop, conn);
    (void)user;
    guest->is = ASKED;
    guest->upgrade = 1;
    serve_dials('u', guest);
    at('u', guest);
    if (!cell.hold && guest->is == ASKED) apply(ACCEPT, guest);
    leave();
}

static void on_http(void *user, dari_loop_t *loop, dari_conn_t conn) {
    struct guest *guest = enter('h', loop, conn);
    (void)user;
    guest->is = PLAIN;
    guest->upgrade = 0;
    at('h', guest);
    if (!cell.hold && guest->is == PLAIN) apply(RESPOND, guest);
    leave();
}

static dari_handler_t cell_handler(void) {
    dari_handler_t handler;
    memset(&handler, 0, sizeof handler);
    handler.struct_size = sizeof handler;
    handler.user = &cell;
    handler.open = on_open;
    handler.message = on_message;
    handler.drain = on_drain;
    handler.error = on_error;
    handler.close = on_close;
    handler.upgrade = on_upgrade;
    handler.http = on_http;
    handler.pong = on_pong;
    if (cell.place->hook == 'p') handler.part = on_part;
    return handler;
}

/* Hooks without a connection: the action is about the first of the crowd. */
static void at_no_guest(void) {
    REQUIRE(!cell.freed && !cell.in_hook && !cell.in_call);
    cell.in_hook = 1;
    for (size_t i = FIRST; i < FIRST + cell.crowd; i++) run_action(&cell.guests[i]);
    cell.in_hook = 0;
}

static void on_cell_timer(void *user, dari_loop_t *loop, dari_timer_t timer) {
    (void)user, (void)loop, (void)timer;
    at_no_guest();
}

static void on_cell_watch(void *user, dari_loop_t *loop, dari_watch_t watch, uint32_t events) {
    char byte;
    (void)user;
    REQUIRE(events == DARI_WATCH_READ && read(cell.pipe[0], &byte, 1) == 1);
    at_no_guest();
    REQUIRE(dari_watch_cancel(loop, watch) == DARI_OK);
}

static void on_cell_call(void *user, dari_loop_t *loop) {
    (void)user, (void)loop;
    at_no_guest();
}

static void on_cell_dropped(void *user) {
    (void)user;
    cell.dropping = 1;
    for (size_t i = FIRST; i < FIRST + cell.crowd; i++) run_action(&cell.guests[i]);
    cell.dropping = 0;
}

/* -------------------------------------------------------------------- Peers */

/* A crowd comes over a unix socket, which is cheaper, and has resets of another kind. */
static int is_tcp(void) {
    return cell.crowd == 1 || cell.place->flags & DIALS;
}

static int peer_connect(void) {
    struct sockaddr_un to;
    int fd;
    if (is_tcp()) return raw_connect(dari_listener_port(cell.loop, cell.listener));
    memset(&to, 0, sizeof to);
    to.sun_family = AF_UNIX;
    snprintf(to.sun_path + 1, sizeof to.sun_path - 1, "dari-abuse-%ld", (long)getpid());
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    REQUIRE(fd >= 0 && connect(fd, (const struct sockaddr *)&to, (socklen_t)(sizeof to.sun_family + 1 + strlen(to.sun_path + 1))) == 0);
    return fd;
}

static void peer_send(int fd, struct bytes first, struct bytes second) {
    static char both[2048];
    size_t len = first.len + second.len;
    if (len == 0) return;
    if (first.len > 0) memcpy(both, first.data, first.len);
    if (second.len > 0) memcpy(both + first.len, second.data, second.len);
    REQUIRE(send(fd, both, len, MSG_NOSIGNAL) == (ssize_t)len || cell.place->is == STALE);
}

static size_t count_fds(void) {
    DIR *list = opendir("/proc/self/fd");
    size_t count = 0;
    while (readdir(list) != NULL) count++;
    closedir(list);
    return count;
}

/* One turn at a time until it is so, or for too long. */
#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        long until_end = check_now_ms() + CHECK_DEADLINE_MS;                                       \
        while (!(condition) && check_now_ms() < until_end && check_failures == 0)                  \
            REQUIRE(dari_loop_turn(cell.loop, 5) == DARI_OK);                                      \
        if (!(condition)) fail("in time: %s (line %d)", #condition, __LINE__);                     \
    } while (0)

static size_t guests_that(unsigned are) {
    size_t count = 0;
    for (size_t i = 0; i < cell.count; i++) count += (cell.guests[i].is & are) != 0;
    return count;
}

/* --------------------------------------------------------------------- Cells */

static void start(void) {
    const dari_limits_t limits = {
        .struct_size = sizeof limits, .high_water = 4 << 10, .low_water = 1 << 10, .max_backlog = 64 << 10};
    const dari_listen_t how = {.struct_size = sizeof how, .limits = &limits};
    const dari_handler_t handler = cell_handler();
    const struct bytes none = {NULL, 0}, upgrade = BYTES(RAW_UPGRADE);
    size_t opened = 0;
    char address[64] = "127.0.0.1:0";
    if (!is_tcp()) snprintf(address, sizeof address, "unix:@dari-abuse-%ld", (long)getpid());
    REQUIRE(dari_loop_new(NULL, &cell.loop) == DARI_OK);
    REQUIRE(dari_loop_listen(cell.loop, address, &how, &handler, &cell.listener) == DARI_OK);
    REQUIRE(dari_remote_new(cell.loop, &cell.remote) == DARI_OK);
    REQUIRE(pipe(cell.pipe) == 0);
    cell.listening = 1;
    if (is_tcp())
        snprintf(cell.url, sizeof cell.url, "ws://127.0.0.1:%u/",
                 (unsigned)dari_listener_port(cell.loop, cell.listener));
    bystander = -1;
    if (cell.crowd == 1) {
        bystander = peer_connect();
        peer_send(bystander, upgrade, none);
        opened++;
        UNTIL(guests_that(OPEN) == opened);
    }
    open_peers = cell.place->flags & DIALS ? 0 : cell.crowd;
    for (size_t i = 0; i < open_peers; i++) {
        peers[i] = peer_connect();
        if (!(cell.place->flags & UNOPENED)) peer_send(peers[i], upgrade, none);
    }
    if (!(cell.place->flags & UNOPENED)) opened += open_peers;
    UNTIL(guests_that(OPEN) == opened);
}

/* Sends to the crowd, and resets it if that is what the cell is about. */
static void peers_say(struct bytes trigger) {
    const struct bytes none = {NULL, 0};
    for (size_t i = 0; i < open_peers; i++) {
        peer_send(peers[i], trigger, cell.behind == DATA ? cell.place->more : none);
        if (cell.behind == RESET)
            raw_reset(peers[i]);
        else if (cell.place->flags & NOISY)
            shutdown(peers[i], SHUT_WR);
    }
    if (cell.behind == RESET) open_peers = 0;
}

static int peers_read(void) {
    static char sink[256 << 10];
    for (size_t i = 0; i < open_peers; i++)
        while (recv(peers[i], sink, sizeof sink, MSG_DONTWAIT) > 0) {}
    return 0;
}

static void dial_crowd(void) {
    char url[64];
    if (cell.place->flags & NEVER_OPEN) {
        snprintf(url, sizeof url, "ws://127.0.0.1:%u/", (unsigned)deaf_port);
        memcpy(cell.url, url, sizeof url);
    }
    for (size_t i = 0; i < cell.crowd; i++) REQUIRE(connect_to(cell.url) == DARI_OK);
}

static void free_loop(void) {
    cell.freeing = 1;
    cell.listening = 0;
    REQUIRE(dari_loop_free(cell.loop) == DARI_OK);
    cell.freed = 1;
}

/* Brings the hook about, and lets it run. */
static void run_hook(void) {
    static char block[64 << 10];
    cell.limit = cell.crowd;
    switch (cell.place->hook) {
    case 't': REQUIRE(dari_timer_new(cell.loop, 0, 0, on_cell_timer, NULL, NULL) == DARI_OK); break;
    case 'w':
        REQUIRE(dari_watch_new(cell.loop, cell.pipe[0], DARI_WATCH_READ, on_cell_watch, NULL, NULL) == DARI_OK);
        REQUIRE(write(cell.pipe[1], "w", 1) == 1);
        break;
    case 'r': REQUIRE(dari_remote_call(cell.remote, on_cell_call, NULL, NULL) == DARI_OK); break;
    case 'd':
        for (size_t i = FIRST; i < cell.count; i++)
            while (dari_conn_send(cell.loop, cell.guests[i].conn, DARI_BINARY, block, sizeof block) == DARI_OK) {}
        break;
    default: break;
    }
    cell.armed = 1;
    cell.unsure = cell.behind != NOTHING || cell.place->flags & NOISY || cell.place->hook == 'd';
    if (cell.place->flags & DIALS) dial_crowd();
    peers_say(cell.place->trigger);
    if (cell.place->hook == 'x') REQUIRE(dari_remote_call(cell.remote, NULL, on_cell_dropped, NULL) == DARI_OK);
    if (cell.place->hook == 'x' || strcmp(cell.place->name, "freed") == 0) {
        free_loop();
    } else {
        if (cell.place->hook == 'd') UNTIL(peers_read() || cell.runs > 0 || guests_left() == FIRST);
        UNTIL(cell.runs > 0 || (cell.place->flags & MAY_MISS && guests_left() == FIRST));
        for (int i = 0; i < 2; i++) REQUIRE(dari_loop_turn(cell.loop, 0) == DARI_OK);
    }
    REQUIRE(cell.runs > 0 || cell.place->flags & MAY_MISS);
}

/* Brings the crowd into a state, and acts on each. */
static void run_between(void) {
    const struct bytes none = {NULL, 0};
    cell.hold = 1;
    if (cell.place->flags & DIALS) dial_crowd();
    if (cell.place->trigger.len > 0) {
        for (size_t i = 0; i < open_peers; i++) peer_send(peers[i], cell.place->trigger, none);
        UNTIL(guests_that(ASKED | PLAIN) == open_peers);
    }
    cell.hold = 0;
    for (size_t i = FIRST; i < FIRST + cell.crowd; i++) {
        for (int way = 0; way < cell.place->ways; way++) apply(cell.place->way[way], &cell.guests[i]);
        if (cell.place->is == FULL) fill(&cell.guests[i], 64 << 10);
    }
    if (cell.place->is == STALE) UNTIL(guests_left() == FIRST);
    peers_say(none);
    cell.armed = 1;
    cell.limit = cell.crowd;
    for (size_t i = FIRST; i < FIRST + cell.crowd && !cell.freed; i++) {
        if (!cell.unsure) REQUIRE(cell.guests[i].is & cell.place->is || cell.runs > 0);
        run_action(&cell.guests[i]);
    }
    cell.armed = 0;
    cell.unsure = 1;
    for (int i = 0; i < 2 && !cell.freed; i++) REQUIRE(dari_loop_turn(cell.loop, 0) == DARI_OK);
}

/* Peers go, what waits for us is dropped: everybody must be gone then without more ado. */
static void everybody_leaves(void) {
    if (bystander >= 0) close(bystander);
    for (size_t i = 0; i < open_peers; i++) close(peers[i]);
    bystander = -1;
    open_peers = 0;
    for (size_t i = 0; i < cell.timer_count; i++) dari_timer_cancel(cell.loop, cell.timers[i]);
    if (cell.watch.id != 0) dari_watch_cancel(cell.loop, cell.watch);
    for (size_t i = 0; i < cell.count; i++) {
        struct guest *guest = &cell.guests[i];
        if (guest->paused && !guest->closed) apply(RESUME, guest);
        if (!guest->closed && (guest->dial || guest->is & (ASKED | PLAIN | BEGUN))) dari_conn_abort(cell.loop, guest->conn);
    }
    UNTIL(guests_left() == 0);
    REQUIRE(dari_loop_next(cell.loop, (dari_conn_t){0}).id == 0);
}

static void run_cell(int frees) {
    check_failures = 0;
    start();
    if (check_failures == 0) {
        if (cell.place->hook != 0)
            run_hook();
        else
            run_between();
    }
    cell.armed = 0;
    cell.unsure = 1;
    if (!cell.freed && !frees && check_failures == 0) everybody_leaves();
    if (!cell.freed) free_loop();
    if (bystander >= 0) close(bystander);
    for (size_t i = 0; i < open_peers; i++) close(peers[i]);
    dari_remote_free(cell.remote);
    close(cell.pipe[0]);
    close(cell.pipe[1]);
    for (size_t i = 0; i < cell.count; i++)
        if (cell.guests[i].closed != 1) fail("%d times close", cell.guests[i].closed);
    REQUIRE(asked == answered);
}

/* -------------------------------------------------------------------- Groups */

static size_t cells_run, cells_failed;

/* Which cells are wanted: all, or those whose name begins so. */
static int is_wanted(int argc, char **argv) {
    int wanted = argc < 2;
    for (int i = 1; i < argc; i++) wanted |= strncmp(cell.name, argv[i], strlen(argv[i])) == 0;
    return wanted;
}

static void run_group(const struct place *place, int argc, char **argv) {
    static const char *const behinds[] = {"nothing", "data", "reset"};
    for (size_t a = 0; a < action_count; a++)
        for (int many = 0; many <= 1; many++)
            for (unsigned behind = NOTHING; behind <= RESET; behind++)
                for (int frees = 0; frees <= !many; frees++) {
                    size_t fds;
                    /* What is behind matters to who is in the middle of it; a state meets one of the three. */
                    if (many && place->hook == 0 && (a + (size_t)(place - PLACES)) % 3 != behind) continue;
                    memset(&cell, 0, sizeof cell);
                    cell.place = place;
                    cell.action = &ACTIONS[a];
                    cell.behind = (enum behind)behind;
                    /* Full queues are a lot to carry around. */
                    cell.crowd = !many ? 1 : place->flags & HEAVY ? 1 + crowd / 5 : crowd;
                    cell.random = (unsigned)(a * 31 + behind * 7 + (unsigned)many);
                    snprintf(cell.name, sizeof cell.name, "%s/%.39s/%s/%s/%s", place->name, ACTIONS[a].name,
                             many ? "crowd" : "one", behinds[behind], frees ? "free" : "leave");
                    if (!is_wanted(argc, argv)) continue;
                    fds = count_fds();
                    asked = answered = 0;
                    run_cell(frees);
                    if (count_fds() != fds) fail("%zu descriptors, and %zu before", count_fds(), fds);
                    cells_run++;
                    cells_failed += check_failures > 0;
                }
}

int main(int argc, char **argv) {
    const char *asked_for = getenv("ABUSE_CROWD");
    int deaf = raw_bind(), passed = 0, failed = 0;
    deaf_port = raw_port(deaf);
    /* A smaller crowd is for tools that make everything slow. */
    if (asked_for != NULL && atoi(asked_for) > 1 && atoi(asked_for) < CROWD) crowd = (size_t)atoi(asked_for);
    list_actions();
    for (size_t i = 0; i < sizeof PLACES / sizeof PLACES[0]; i++) {
        size_t run = cells_run, bad = cells_failed;
        long begin = check_now_ms();
        run_group(&PLACES[i], argc, argv);
        if (cells_run == run) continue;
        printf("%s %s: %zu cells, %zu failed, %ld ms\n", cells_failed == bad ? "ok" : "FAILED", PLACES[i].name,
               cells_run - run, cells_failed - bad, check_now_ms() - begin);
        fflush(stdout);
        if (cells_failed == bad)
            passed++;
        else
            failed++;
    }
    close(deaf);
    printf("%zu cells\n%d passed, %d failed\n", cells_run, passed, failed);
    return failed == 0 && passed > 0 ? 0 : 1;
}
