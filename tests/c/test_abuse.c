/* Any call, in any state, from inside any hook: a defined answer, and exactly one `close` for each id, last.
 *
 * A cell is one action (abuse_actions.h) in one place (a hook that is running, or a state between turns), with one
 * connection or a crowd, with nothing, with data or with a reset behind what brought it there, and with peers that
 * leave or a loop that is freed at the end. Each group of cells is one test; `test_abuse PLACE`, or the beginning
 * of a cell's name (PLACE/ACTION/...), runs those alone. */
#include "abuse_hooks.h"
#include "raw.h"
#include <dirent.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/un.h>

/* Frames of a client, masked with zeros. */
#define GET "GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define HI "\x81\x82\0\0\0\0hi"
#define MORE                                                                                       \
    HI HI "\x89\x81\0\0\0\0p" "\x01\x82\0\0\0\0hi" "\x8a\x80\0\0\0\0" "\x80\x80\0\0\0\0" HI "\x88\x82\0\0\0\0\x03\xe8"

#define NONE {NULL, 0}
#define UPGRADE BYTES(RAW_UPGRADE), BYTES(MORE)
#define REQUEST BYTES(GET), BYTES(GET RAW_UPGRADE MORE)
#define SAYS(text) BYTES(text), BYTES(MORE)
#define QUIET NONE, BYTES(MORE)

static const struct place PLACES[] = {
    {"open", 'o', OPEN, UNOPENED, UPGRADE, VERB_COUNT},
    {"message", 'm', OPEN, 0, SAYS(HI), VERB_COUNT},
    {"part", 'p', OPEN, 0, SAYS(HI), VERB_COUNT},
    {"drain", 'd', OPEN, MAY_MISS | HEAVY, QUIET, VERB_COUNT},
    {"dropped", 'D', FULL, HEAVY, QUIET, VERB_COUNT},
    {"error", 'e', OVER, NOISY, SAYS("\x81\x02hi"), VERB_COUNT},
    {"close", 'c', OVER, NOISY, SAYS("\x88\x82\0\0\0\0\x03\xe8"), VERB_COUNT},
    {"upgrade", 'u', ASKED, UNOPENED, UPGRADE, VERB_COUNT},
    {"http", 'h', PLAIN, UNOPENED, REQUEST, VERB_COUNT},
    {"pong", 'P', OPEN, 0, SAYS("\x8a\x81\0\0\0\0p"), VERB_COUNT},
    {"limited", 'l', OPEN, 0, SAYS(HI), VERB_COUNT},
    {"log", 'L', OPEN, 0, SAYS(HI), VERB_COUNT},
    {"timer", 't', OPEN, 0, SAYS(HI), VERB_COUNT},
    {"watch", 'w', OPEN, 0, SAYS(HI), VERB_COUNT},
    {"call", 'r', OPEN, 0, SAYS(HI), VERB_COUNT},
    {"call_dropped", 'x', OPEN, 0, SAYS(HI), VERB_COUNT},
    {"done", 'z', STALE, NOISY, SAYS(HI), VERB_COUNT},
    {"freed", 'c', OVER, NOISY, SAYS(HI), VERB_COUNT},
    {"dial_open", 'o', OPEN, DIALS, NONE, NONE, VERB_COUNT},
    {"dial_message", 'm', OPEN, DIALS | MAY_MISS, NONE, NONE, VERB_COUNT},
    {"dial_pong", 'P', OPEN, DIALS | MAY_MISS, NONE, NONE, VERB_COUNT},
    {"dial_close", 'c', OVER, DIALS | NOISY, NONE, NONE, VERB_COUNT},
    {"dial_error", 'e', OVER, DIALS | DEAF | NOISY, NONE, NONE, VERB_COUNT},
    {"tls_open", 'o', OPEN, DIALS | SEALED, NONE, NONE, VERB_COUNT},
    {"tls_message", 'm', OPEN, DIALS | SEALED | MAY_MISS, NONE, NONE, VERB_COUNT},
    {"tls_pong", 'P', OPEN, DIALS | SEALED | MAY_MISS, NONE, NONE, VERB_COUNT},
    {"tls_close", 'c', OVER, DIALS | SEALED | NOISY, NONE, NONE, VERB_COUNT},
    {"dial_refused", 'c', OVER, DIALS | DEAF | NOISY, NONE, NONE, VERB_COUNT},
    {"retry", 'y', STALE, DIALS | DEAF | NOISY, NONE, NONE, VERB_COUNT},
    {"is_dialling", 0, DIALLING, DIALS, NONE, NONE, VERB_COUNT},
    {"is_dialling_tls", 0, DIALLING, DIALS | SEALED, NONE, NONE, VERB_COUNT},
    {"is_asked", 0, ASKED, UNOPENED, UPGRADE, VERB_COUNT},
    {"is_plain", 0, PLAIN, UNOPENED, REQUEST, VERB_COUNT},
    {"is_begun", 0, BEGUN, UNOPENED, REQUEST, BEGIN},
    {"is_kept", 0, KEPT, UNOPENED, REQUEST, RESPOND},
    {"is_refused", 0, REFUSED, UNOPENED, UPGRADE, RESPOND},
    {"is_open", 0, OPEN, 0, QUIET, VERB_COUNT},
    {"is_in_parts", 0, PARTS, 0, QUIET, PART},
    {"is_full", 0, FULL, HEAVY, QUIET, VERB_COUNT},
    {"is_closing", 0, CLOSING, 0, QUIET, CLOSE},
    {"is_shutting", 0, CLOSING, NOISY, QUIET, VERB_COUNT},
    {"is_over", 0, OVER, 0, QUIET, ABORT},
    {"is_stale", 0, STALE, 0, QUIET, ABORT},
};

static int is_called(const char *name) {
    return strcmp(cell.place->name, name) == 0;
}

/* Sockets of the peers, of the one who looks on, and of one too many. */
static int peers[CROWD], bystander, extra;
static size_t crowd = CROWD, open_peers;
static unsigned seed;

/* -------------------------------------------------------------------- Peers */

/* A crowd comes over a unix socket, which is cheaper, and has resets of another kind. */
static int is_tcp(void) {
    return cell.crowd == 1 || cell.place->flags & DIALS;
}

static int peer_connect(void) {
    struct sockaddr_un to;
    size_t len;
    int fd;
    if (is_tcp()) return raw_connect(dari_listener_port(cell.loop, cell.listener));
    memset(&to, 0, sizeof to);
    to.sun_family = AF_UNIX;
    snprintf(to.sun_path + 1, sizeof to.sun_path - 1, "dari-abuse-%ld", (long)getpid());
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    REQUIRE(fd >= 0);
    len = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(to.sun_path + 1);
    REQUIRE(connect(fd, (const struct sockaddr *)&to, (socklen_t)len) == 0);
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

static void close_peers(void) {
    if (bystander >= 0) close(bystander);
    if (extra >= 0) close(extra);
    for (size_t i = 0; i < open_peers; i++) close(peers[i]);
    bystander = extra = -1;
    open_peers = 0;
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

/* Where the crowd dials, beside the listener of the one who looks on. */
static void listen_sealed(const dari_handler_t *handler) {
    const dari_listen_t how = {.struct_size = sizeof how, .tls = server_tls};
    dari_listener_t listener;
    REQUIRE(dari_loop_listen(cell.loop, "127.0.0.1:0", &how, handler, &listener) == DARI_OK);
    snprintf(cell.url, sizeof cell.url, "wss://127.0.0.1:%u/", (unsigned)dari_listener_port(cell.loop, listener));
    cell.sealed = 1;
}

static void start(void) {
    const dari_limits_t limits = {.struct_size = sizeof limits,
                                  .high_water = 4 << 10,
                                  .low_water = 1 << 10,
                                  .max_backlog = 64 << 10,
                                  .slow = cell.slow};
    const dari_listen_t how = {.struct_size = sizeof how,
                               .limits = &limits,
                               .max_conns = cell.place->hook == 'l' ? FIRST + cell.crowd : DARI_UNLIMITED};
    const dari_loop_config_t config = {.struct_size = sizeof config,
                                       .log_level = cell.place->hook == 'L' ? DARI_LOG_TRACE : 0,
                                       .user = &cell,
                                       .log = on_log};
    const dari_handler_t handler = cell_handler();
    const struct bytes none = {NULL, 0}, upgrade = BYTES(RAW_UPGRADE);
    size_t opened = 0;
    char address[64] = "127.0.0.1:0";
    if (!is_tcp()) snprintf(address, sizeof address, "unix:@dari-abuse-%ld", (long)getpid());
    REQUIRE(dari_loop_new(&config, &cell.loop) == DARI_OK);
    REQUIRE(dari_loop_listen(cell.loop, address, &how, &handler, &cell.listener) == DARI_OK);
    REQUIRE(dari_remote_new(cell.loop, &cell.remote) == DARI_OK);
    REQUIRE(pipe(cell.pipe) == 0);
    cell.listening = 1;
    if (is_tcp())
        snprintf(cell.url, sizeof cell.url, "ws://127.0.0.1:%u/",
                 (unsigned)dari_listener_port(cell.loop, cell.listener));
    if (cell.place->flags & SEALED) listen_sealed(&handler);
    bystander = extra = -1;
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
    if (cell.place->flags & DEAF) {
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
    case 'D':
        for (size_t i = FIRST; i < cell.count; i++) {
            fill(&cell.guests[i], sizeof block);
            apply(SUBSCRIBE, &cell.guests[i]);
        }
        REQUIRE(dari_loop_publish(cell.loop, "topic", (dari_conn_t){0}, DARI_TEXT, "x", 1) == DARI_OK);
        break;
    case 'l':
    case 'L': extra = peer_connect(); break;
    case 'z':
        REQUIRE(l_shutdown() == DARI_OK);
        REQUIRE(dari_loop_turn(cell.loop, 0) == DARI_OK);
        break;
    default: break;
    }
    cell.armed = 1;
    cell.unsure = cell.behind != NOTHING || cell.place->flags & (NOISY | DIALS) || cell.place->hook == 'd';
    if (cell.place->flags & DIALS) dial_crowd();
    peers_say(cell.place->trigger);
    if (cell.place->hook == 'z') close_peers();
    if (cell.place->hook == 'x') REQUIRE(dari_remote_call(cell.remote, NULL, on_cell_dropped, NULL) == DARI_OK);
    if (cell.place->hook == 'x' || is_called("freed")) {
        free_loop();
    } else {
        if (cell.place->hook == 'd') UNTIL(peers_read() || cell.runs > 0 || guests_left() == FIRST);
        UNTIL(cell.runs > 0 || (cell.place->flags & MAY_MISS && guests_left() == FIRST));
        for (int i = 0; i < 2; i++) REQUIRE(dari_loop_turn(cell.loop, 0) == DARI_OK);
    }
    REQUIRE(cell.runs > 0 || (cell.place->flags & MAY_MISS && !(cell.place->flags & DIALS && cell.behind == NOTHING)));
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
        if (cell.place->way != VERB_COUNT) apply(cell.place->way, &cell.guests[i]);
        if (cell.place->is == FULL) fill(&cell.guests[i], 64 << 10);
    }
    if (cell.place->is == STALE) UNTIL(guests_left() == FIRST);
    if (is_called("is_shutting")) {
        REQUIRE(l_shutdown() == DARI_OK && dari_loop_turn(cell.loop, 0) == DARI_OK);
        for (size_t i = 0; i < cell.count; i++) cell.guests[i].is = CLOSING;
        for (size_t i = 0; i < cell.count; i++) cell.guests[i].ended = 1;
        cell.unsure = 0;
    }
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
    dari_stats_t stats = {.struct_size = sizeof stats};
    close_peers();
    if (!cell.shut) l_dial_stop();
    for (size_t i = 0; i < cell.timer_count; i++) dari_timer_cancel(cell.loop, cell.timers[i]);
    if (cell.watch.id != 0) dari_watch_cancel(cell.loop, cell.watch);
    for (size_t i = 0; i < cell.count; i++) {
        struct guest *guest = &cell.guests[i];
        if (guest->paused && !guest->closed) apply(RESUME, guest);
        if (!guest->closed && (guest->dial || guest->is & (ASKED | PLAIN | BEGUN)))
            dari_conn_abort(cell.loop, guest->conn);
    }
    UNTIL(guests_left() == 0 && cell.shut == cell.done && dari_loop_next(cell.loop, (dari_conn_t){0}).id == 0);
    REQUIRE(dari_loop_stats(cell.loop, &stats) == DARI_OK && stats.open == 0);
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
    close_peers();
    REQUIRE(dari_remote_send(cell.remote, cell.guests[0].conn, DARI_TEXT, "x", 1) == DARI_ERR_STALE);
    REQUIRE(dari_remote_stop(cell.remote) == DARI_OK);
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

/* Not every cell is worth its time. Where there is a state, or three whom a function may be called on, a crowd always
 * meets data, and one of the other two in turn. Single ones see one of the two ends in turn,
 * and are enough where keys have to be agreed on. */
static int is_left_out(const struct place *place, size_t action, int many, unsigned behind, int frees) {
    const size_t turn = action + (size_t)(place - PLACES);
    if (many && place->flags & SEALED) return 1;
    if (!many) return (int)((turn + behind) % 2) != frees;
    return (place->hook == 0 || action < 3u * GETTERS) && behind != DATA && turn % 2 != (behind == RESET);
}

static void run_group(const struct place *place, int argc, char **argv) {
    static const char *const behinds[] = {"nothing", "data", "reset"};
    for (size_t a = 0; a < action_count; a++)
        for (int many = 0; many <= 1; many++)
            for (unsigned behind = NOTHING; behind <= RESET; behind++)
                for (int frees = 0; frees <= !many; frees++) {
                    size_t fds;
                    if (is_left_out(place, a, many, behind, frees)) continue;
                    memset(&cell, 0, sizeof cell);
                    cell.place = place;
                    cell.action = &ACTIONS[a];
                    cell.behind = (enum behind)behind;
                    cell.crowd = !many ? 1 : place->flags & HEAVY ? 1 + crowd / 5 : crowd;
                    cell.slow = place->is & FULL ? DARI_SLOW_REFUSE : (uint32_t)((a + (size_t)(place - PLACES)) % 3);
                    cell.random = (unsigned)(a * 31 + behind * 7) + (unsigned)many + seed * 1000;
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

/* Rows of the tables that no cell has come to. */
static int rows_not_called(void) {
    int missed = 0;
    for (size_t i = 0; i < VERB_COUNT; i++)
        if (verb_calls[i] == 0) fprintf(stderr, "never called: %s, row %d\n", VERBS[i].name, ++missed);
    for (size_t i = 0; i < sizeof LOOP_CALLS / sizeof LOOP_CALLS[0]; i++)
        if (LOOP_CALLS[i].calls == 0) fprintf(stderr, "never called: %s, row %d\n", LOOP_CALLS[i].name, ++missed);
    return missed;
}

/* A certificate for the one address that there is, by the openssl command; 0 if that does not work. */
static int make_tls(void) {
    char folder[] = "/tmp/dari-abuse-XXXXXX", cert[64], key[64], command[512];
    int made = mkdtemp(folder) != NULL;
    snprintf(cert, sizeof cert, "%s/cert.pem", folder);
    snprintf(key, sizeof key, "%s/key.pem", folder);
    snprintf(command, sizeof command,
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=abuse "
             "-addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE "
             "-keyout %s -out %s 2>/dev/null", key, cert);
    made = made && system(command) == 0 && dari_tls_server_new(cert, key, &server_tls) == DARI_OK &&
           dari_tls_client_new(cert, NULL, NULL, &client_tls) == DARI_OK;
    if (!made) fprintf(stderr, "no certificate: %s\n", dari_last_error());
    unlink(cert);
    unlink(key);
    rmdir(folder);
    return made;
}

int main(int argc, char **argv) {
    const char *asked_for = getenv("ABUSE_CROWD");
    int deaf = raw_bind(), passed = 0, failed = 0;
    deaf_port = raw_port(deaf);
    /* A smaller crowd is for tools that make everything slow. */
    if (asked_for != NULL && atoi(asked_for) > 1 && atoi(asked_for) < CROWD) crowd = (size_t)atoi(asked_for);
    /* Other storms are for those who look for something. */
    if (getenv("ABUSE_SEED") != NULL) seed = (unsigned)atoi(getenv("ABUSE_SEED"));
    if (!make_tls()) return 1;
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
    dari_tls_free(server_tls);
    dari_tls_free(client_tls);
    if (argc < 2) {
        int missed = rows_not_called();
        printf("%s every_row\n", missed == 0 ? "ok" : "FAILED");
        passed += missed == 0;
        failed += missed != 0;
    }
    printf("%zu cells\n%d passed, %d failed\n", cells_run, passed, failed);
    return failed == 0 && passed > 0 ? 0 : 1;
}
