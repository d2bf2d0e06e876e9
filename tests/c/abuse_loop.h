/* Functions of a loop, and what each may answer where it is called. */
#ifndef ABUSE_LOOP_H
#define ABUSE_LOOP_H

#include "abuse_verbs.h"
#include <errno.h>
#include <stdlib.h>

/* Every hook, from abuse_hooks.h. */
static dari_handler_t cell_handler(void);
static void on_done(void *user, dari_loop_t *loop, size_t dropped);

static int32_t l_listen(void) {
    const dari_handler_t handler = cell_handler();
    return dari_loop_listen(cell.loop, "127.0.0.1:0", NULL, &handler, NULL);
}

/* What servers show, and what clients trust: the same. */
static dari_tls_t *server_tls, *client_tls;

/* A port on which nobody listens, and which nobody else gets. */
static uint16_t deaf_port;

static int32_t connect_to(const char *url) {
    const dari_handler_t handler = cell_handler();
    const dari_connect_t how = {
        .struct_size = sizeof how, .retry_ms = cell.place->hook == 'y', .retry_max_ms = 2, .retry_count = 2,
        .tls = client_tls};
    dari_conn_t conn = {0};
    int32_t got = dari_loop_connect(cell.loop, url, &how, &handler, &conn);
    REQUIRE((got == DARI_OK) == (conn.id != 0));
    if (got != DARI_OK) return got;
    guest_new(conn, DIALLING)->dial = 1;
    if (cell.dial_count < sizeof cell.dials / sizeof cell.dials[0])
        cell.dials[cell.dial_count++] = dari_conn_dial(cell.loop, conn);
    return got;
}

/* Stops all dials, those twice that are still there. */
static int32_t l_dial_stop(void) {
    int32_t got = dari_dial_stop(cell.loop, (dari_dial_t){0});
    if (got != DARI_ERR_STALE) return got;
    for (size_t i = 0; i < cell.dial_count; i++) {
        got = dari_dial_stop(cell.loop, cell.dials[i]);
        if (got != DARI_OK && got != DARI_ERR_STALE) return got;
    }
    for (size_t i = 0; i < cell.count; i++) {
        struct guest *guest = &cell.guests[i];
        dari_dial_t dial = dari_conn_dial(cell.loop, guest->conn);
        if (!guest->dial) continue;
        if (dial.id != 0) REQUIRE(dari_dial_stop(cell.loop, dial) == DARI_OK);
        if (guest->is == DIALLING) {
            guest->is = OVER;
            guest->ended = 1;
        }
    }
    return DARI_OK;
}

static int32_t l_connect(void) {
    char url[64];
    snprintf(url, sizeof url, "ws://127.0.0.1:%u/", (unsigned)deaf_port);
    return connect_to(cell.url[0] != '\0' ? cell.url : url);
}

static int32_t l_listener_close(void) {
    int32_t got = dari_listener_close(cell.loop, cell.listener);
    if (got == DARI_ERR_STALE && !cell.listening) return DARI_OK;
    if (got == DARI_OK) cell.listening = 0;
    return got;
}

static int32_t l_listener_port(void) {
    return dari_listener_port(cell.loop, cell.listener);
}

static int32_t l_stats(void) {
    dari_stats_t stats = {.struct_size = sizeof stats};
    int32_t got = dari_loop_stats(cell.loop, &stats);
    if (got == DARI_OK) REQUIRE(stats.open <= cell.count && stats.opened >= stats.open);
    return got;
}

static int32_t l_past(void) {
    dari_past_t past = {.struct_size = sizeof past};
    int32_t got = dari_loop_past(cell.loop, cell.runs, &past);
    if (got == DARI_OK) REQUIRE(guest_of(past.conn) != NULL && past.why.text.len > 0);
    return got;
}

static int32_t l_shutdown(void) {
    int32_t got = dari_loop_shutdown(cell.loop, 0, CHECK_DEADLINE_MS, on_done, &cell);
    if (got == DARI_OK) cell.shut = cell.unsure = 1;
    if (got == DARI_OK) cell.listening = 0;
    return got;
}

static int32_t l_stop(void) {
    return dari_loop_stop(cell.loop);
}

static int32_t l_fd(void) {
    return dari_loop_fd(cell.loop);
}

static int32_t l_timeout(void) {
    return dari_loop_timeout(cell.loop) == DARI_NEVER ? 1 : 0;
}

/* Walks over all that are there: known ones alone, and none that is gone. */
static int32_t l_next(void) {
    dari_conn_t conn = {0};
    size_t seen = 0;
    while ((conn = dari_loop_next(cell.loop, conn)).id != 0) {
        struct guest *guest = guest_of(conn);
        REQUIRE(guest != NULL && (!guest->closed || guest == cell.current || cell.in_retry));
        if (++seen > cell.count) break;
    }
    REQUIRE(seen <= cell.count);
    return 0;
}

static int32_t l_subscribers(void) {
    size_t count = dari_loop_subscribers(cell.loop, "topic");
    REQUIRE(count <= cell.count);
    return (int32_t)count;
}

static int32_t l_publish(void) {
    const dari_conn_t nobody = {0};
    int32_t got = dari_loop_publish(cell.loop, "topic", nobody, DARI_TEXT, "to all", 6);
    for (size_t i = 0; i < cell.count; i++) {
        struct guest *guest = &cell.guests[i];
        if (cell.behind == RESET && guest->is & (OPEN | PARTS | FULL)) guest->is |= OVER;
        if (cell.slow == DARI_SLOW_CLOSE && guest->is & FULL) guest->doomed = 1;
    }
    return got;
}

static void on_tick(void *user, dari_loop_t *loop, dari_timer_t timer) {
    (void)user, (void)loop;
    REQUIRE(!cell.freed && !cell.in_call && !cell.in_hook && timer.id != 0);
}

static int32_t timer_new(uint32_t repeat) {
    dari_timer_t *timer = &cell.timers[cell.timer_count];
    int32_t got;
    if (cell.timer_count == sizeof cell.timers / sizeof cell.timers[0]) return DARI_OK;
    got = dari_timer_new(cell.loop, 0, repeat, on_tick, NULL, timer);
    if (got == DARI_OK) cell.timer_count++;
    return got;
}

static int32_t l_timer(void) {
    return timer_new(0);
}

static int32_t l_timer_repeat(void) {
    return timer_new(1);
}

static int32_t l_timer_cancel(void) {
    dari_timer_t timer = {0};
    dari_timer_new(cell.loop, 0, 0, on_tick, NULL, &timer);
    return dari_timer_cancel(cell.loop, timer);
}

static void on_ready(void *user, dari_loop_t *loop, dari_watch_t watch, uint32_t events) {
    (void)user, (void)loop, (void)events;
    REQUIRE(!cell.freed && !cell.in_call && !cell.in_hook && watch.id == cell.watch.id);
}

static int32_t l_watch(void) {
    int32_t got = dari_watch_new(cell.loop, cell.pipe[1], DARI_WATCH_WRITE, on_ready, NULL, &cell.watch);
    /* One watch for one descriptor. */
    return got == DARI_ERR_SYSTEM && dari_last_errno() == EEXIST ? DARI_OK : got;
}

static int32_t l_watch_cancel(void) {
    dari_watch_t watch = {0};
    int fd = dup(cell.pipe[1]);
    int32_t got;
    dari_watch_new(cell.loop, fd, DARI_WATCH_WRITE, on_ready, NULL, &watch);
    got = dari_watch_cancel(cell.loop, watch);
    close(fd);
    return got;
}

static int32_t l_remote(void) {
    dari_remote_t *remote = NULL;
    int32_t got = dari_remote_new(cell.loop, &remote);
    REQUIRE((got == DARI_OK) == (remote != NULL));
    dari_remote_free(remote);
    return got;
}

static int32_t l_remote_stop(void) {
    return dari_remote_stop(cell.remote);
}

static size_t asked, answered;

static void on_call(void *user, dari_loop_t *loop) {
    (void)user;
    answered++;
    REQUIRE(!cell.freed && !cell.in_call && !cell.in_hook && loop == cell.loop);
}

static void on_dropped(void *user) {
    (void)user;
    answered++;
    REQUIRE(!cell.freed && cell.freeing);
}

static int32_t l_remote_call(void) {
    int32_t got = dari_remote_call(cell.remote, on_call, on_dropped, NULL);
    if (got == DARI_OK) asked++;
    return got;
}

static int32_t l_remote_publish(void) {
    return dari_remote_publish(cell.remote, "topic", DARI_TEXT, "from afar", 9);
}

static int32_t l_remote_publish_all(void) {
    return dari_remote_publish_all(&cell.remote, 1, "topic", (dari_conn_t){0}, DARI_TEXT, "from afar", 9, NULL);
}

/* Those that know no loop: they may be called wherever one is, and do what they do elsewhere. */
static int32_t l_apart(void) {
    const char *nowhere = "/dari/no/such/file";
    dari_loop_t *other = NULL;
    dari_payload_t *payload = NULL;
    dari_tls_t *tls = NULL;
    /* A few of a crowd will do. */
    if (cell.runs > 3) return DARI_OK;
    REQUIRE(dari_version()[0] != '\0' && dari_status_text(DARI_OK)[0] != '\0');
    REQUIRE(dari_cause_text(DARI_CAUSE_EOF)[0] != '\0');
    REQUIRE(dari_payload_new(DARI_BINARY, "1", 1, &payload) == DARI_OK);
    dari_payload_free(payload);
    REQUIRE(dari_tls_server_new(nowhere, nowhere, &tls) == DARI_ERR_SYSTEM && tls == NULL);
    REQUIRE(dari_last_errno() == ENOENT && strstr(dari_last_error(), nowhere) != NULL);
    REQUIRE(dari_tls_server_new_pem("x", 1, "x", 1, &tls) == DARI_ERR_TLS && tls == NULL);
    REQUIRE(dari_tls_client_new(nowhere, NULL, NULL, &tls) == DARI_ERR_SYSTEM && tls == NULL);
    REQUIRE(dari_tls_add(NULL, nowhere, nowhere) == DARI_ERR_ARGUMENT);
    REQUIRE(dari_tls_reload(NULL) == DARI_ERR_ARGUMENT);
    REQUIRE(dari_tls_client_ca(NULL, nowhere, 1) == DARI_ERR_ARGUMENT);
    dari_tls_free(NULL);
    /* Another loop may even be run here: it has hooks of its own, of which none runs. */
    REQUIRE(dari_loop_new(NULL, &other) == DARI_OK);
    REQUIRE(dari_loop_turn(other, 0) == DARI_OK);
    return dari_loop_free(other);
}

/* Those that call hooks, where it may be: they end by themselves. */
static void outside(void) {
    if (cell.in_hook || cell.dropping) return;
    cell.in_call--;
    cell.unsure = 1;
}

static void inside(void) {
    if (!cell.in_hook && !cell.dropping) cell.in_call++;
}

static int32_t l_turn(void) {
    int32_t got;
    outside();
    got = dari_loop_turn(cell.loop, 0);
    inside();
    return got;
}

static int32_t l_run(void) {
    int32_t got;
    REQUIRE(dari_remote_stop(cell.remote) == DARI_OK);
    outside();
    got = dari_loop_run(cell.loop);
    inside();
    return got;
}

static int32_t l_free(void) {
    int32_t got;
    int is_outside = !cell.in_hook && !cell.dropping;
    outside();
    if (is_outside) cell.freeing = 1;
    got = dari_loop_free(cell.loop);
    if (is_outside && got == DARI_OK) cell.freed = 1;
    inside();
    return got;
}

/* The answers: in a hook, outside, in a hook that dari_loop_free calls, in a `dropped`, during a shutdown (- is what
 * it would be without one). */
struct loop_call {
    const char *function, *name, *answers;
    int32_t (*call)(void);
    size_t calls;
};
static struct loop_call LOOP_CALLS[] = {
    {"dari_loop_listen", "listen", "..xxx", l_listen, 0},
    {"dari_loop_connect", "connect", "..xxx", l_connect, 0},
    {"dari_dial_stop", "dial_stop", "...x-", l_dial_stop, 0},
    {"dari_listener_close", "listener_close", "...x-", l_listener_close, 0},
    {"dari_listener_port", "listener_port", "**000", l_listener_port, 0},
    {"dari_loop_stop", "stop", "...x-", l_stop, 0},
    {"dari_loop_fd", "fd", "***x-", l_fd, 0},
    {"dari_loop_timeout", "timeout", "***1-", l_timeout, 0},
    {"dari_loop_stats", "stats", "...x-", l_stats, 0},
    {"dari_loop_past", "past", "pppx-", l_past, 0},
    {"dari_loop_shutdown", "shutdown", "..xxx", l_shutdown, 0},
    {"dari_loop_next", "next", "0000-", l_next, 0},
    {"dari_loop_subscribers", "subscribers", "***0-", l_subscribers, 0},
    {"dari_loop_publish", "publish", "...x-", l_publish, 0},
    {"dari_timer_new", "timer", "...x-", l_timer, 0},
    {"dari_timer_new", "timer_repeat", "...x-", l_timer_repeat, 0},
    {"dari_timer_cancel", "timer_cancel", "...x-", l_timer_cancel, 0},
    {"dari_watch_new", "watch", "...x-", l_watch, 0},
    {"dari_watch_cancel", "watch_cancel", "...x-", l_watch_cancel, 0},
    {"dari_remote_new", "remote", "...x-", l_remote, 0},
    {"dari_remote_call", "remote_call", "...s-", l_remote_call, 0},
    {"dari_remote_publish", "remote_publish", "...s-", l_remote_publish, 0},
    {"dari_remote_publish_all", "remote_publish_all", "....-", l_remote_publish_all, 0},
    {"dari_remote_stop", "remote_stop", "....-", l_remote_stop, 0},
    {"dari_loop_new", "apart", "....-", l_apart, 0},
    {"dari_loop_turn", "turn", "x.xx-", l_turn, 0},
    {"dari_loop_run", "run", "x.xx-", l_run, 0},
    {"dari_loop_free", "free", "x.xx-", l_free, 0},
};

static int32_t loop_apply(struct loop_call *call) {
    char letter[2] = {0};
    int32_t got;
    letter[0] = call->answers[cell.dropping ? 3 : cell.freeing ? 2 : cell.in_hook ? 0 : 1];
    if (cell.shut && !cell.dropping && call->answers[4] != '-') letter[0] = call->answers[4];
    cell.in_call++;
    got = call->call();
    cell.in_call--;
    judge(call->function, letter, cell.in_hook ? "in a hook" : "outside", got);
    call->calls++;
    return got;
}

#endif
