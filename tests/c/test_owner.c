/* Whose a loop is: its thread's and its process's. Every function that takes a loop, called where it may not be. */
#include "pair.h"
#include "raw.h"
#include <pthread.h>
#include <sys/wait.h>

/* What the calls below are about: a server with one client, whose other end is a bare socket, and one of
 * everything that has an id. */
static struct {
    struct pair pair;
    int fd, ends[2];
    dari_timer_t timer;
    dari_watch_t watch;
    dari_dial_t dial;
    dari_remote_t *remote;
    dari_payload_t *payload;
    /* Done inside `message`, if it is set. */
    void (*inside)(void);
    int fired;
} all;

static void on_timer(void *user, dari_loop_t *loop, dari_timer_t timer) {
    (void)user, (void)loop, (void)timer;
    all.fired++;
}

static void on_watch(void *user, dari_loop_t *loop, dari_watch_t watch, uint32_t events) {
    (void)user, (void)loop, (void)watch, (void)events;
    all.fired++;
}

static void on_done(void *user, dari_loop_t *loop, size_t dropped) {
    (void)user, (void)loop, (void)dropped;
    all.fired++;
}

static void on_call(void *user, dari_loop_t *loop) {
    (void)user, (void)loop;
    all.fired++;
}

static void on_dropped(void *user) {
    (void)user;
    all.fired++;
}

/* ---------------------------------------------------------------- Every function */

/* A long one: what is long leaves at once, if it may leave at all. */
static char block[256 << 10];
static const dari_handler_t quiet = {.struct_size = sizeof quiet};

#define LOOP all.pair.loop
#define CONN all.pair.server.conn
#define REFUSED(call) refused(#call, (call))
#define NEUTRAL(call) CHECK(call)

static dari_status_t expected;
static const char *expected_words;

static void refused(const char *call, int32_t got) {
    check_error(__FILE__, __LINE__, call, got, expected, expected_words);
}

static void call_loops(void) {
    dari_stats_t stats = {.struct_size = sizeof stats};
    dari_past_t past = {.struct_size = sizeof past};
    dari_listener_t listener = {7};
    dari_remote_t *remote = all.remote;
    dari_conn_t conn = {7};
    REFUSED(dari_loop_run(LOOP));
    REFUSED(dari_loop_turn(LOOP, 0));
    REFUSED(dari_loop_stop(LOOP));
    REFUSED(dari_loop_shutdown(LOOP, 0, 0, on_done, NULL));
    REFUSED(dari_loop_fd(LOOP));
    REFUSED(dari_loop_stats(LOOP, &stats));
    REFUSED(dari_loop_past(LOOP, 0, &past));
    REFUSED(dari_loop_listen(LOOP, "127.0.0.1:0", NULL, &quiet, &listener));
    REFUSED(dari_listener_close(LOOP, all.pair.listener));
    REFUSED(dari_loop_connect(LOOP, "ws://127.0.0.1:1/", NULL, &quiet, &conn));
    REFUSED(dari_dial_stop(LOOP, all.dial));
    REFUSED(dari_loop_publish(LOOP, "topic", (dari_conn_t){0}, DARI_BINARY, block, sizeof block));
    REFUSED(dari_timer_new(LOOP, 0, 1, on_timer, NULL, NULL));
    REFUSED(dari_timer_cancel(LOOP, all.timer));
    REFUSED(dari_watch_new(LOOP, all.ends[1], DARI_WATCH_WRITE, on_watch, NULL, NULL));
    REFUSED(dari_watch_cancel(LOOP, all.watch));
    REFUSED(dari_remote_new(LOOP, &remote));
    NEUTRAL(dari_loop_timeout(LOOP) == DARI_NEVER);
    NEUTRAL(dari_loop_next(LOOP, (dari_conn_t){0}).id == 0);
    NEUTRAL(dari_loop_subscribers(LOOP, "topic") == 0);
    NEUTRAL(dari_listener_port(LOOP, all.pair.listener) == 0);
}

static void call_connections(void) {
    char text[64];
    int32_t fd = -1;
    size_t len = 0;
    REFUSED(dari_conn_send(LOOP, CONN, DARI_BINARY, block, sizeof block));
    REFUSED(dari_conn_send_part(LOOP, CONN, DARI_BINARY, block, sizeof block, 0));
    REFUSED(dari_conn_send_payload(LOOP, CONN, all.payload));
    REFUSED(dari_conn_close(LOOP, CONN, 1000, NULL));
    REFUSED(dari_conn_abort(LOOP, CONN));
    REFUSED(dari_conn_ping(LOOP, CONN, "p", 1));
    REFUSED(dari_conn_pause(LOOP, CONN));
    REFUSED(dari_conn_resume(LOOP, CONN));
    REFUSED(dari_conn_set_data(LOOP, CONN, text));
    REFUSED(dari_conn_peer(LOOP, CONN, text, sizeof text, NULL));
    REFUSED(dari_conn_release(LOOP, CONN, &fd, text, sizeof text, &len));
    REFUSED(dari_conn_accept(LOOP, CONN, NULL, NULL, 0));
    REFUSED(dari_conn_respond(LOOP, CONN, 200, NULL, 0, NULL, 0));
    REFUSED(dari_conn_respond_begin(LOOP, CONN, 200, NULL, 0));
    REFUSED(dari_conn_respond_piece(LOOP, CONN, "x", 1));
    REFUSED(dari_conn_subscribe(LOOP, CONN, "other"));
    REFUSED(dari_conn_unsubscribe(LOOP, CONN, "topic"));
    NEUTRAL(dari_conn_state(LOOP, CONN) == DARI_STATE_CLOSED);
    NEUTRAL(dari_conn_backlog(LOOP, CONN) == 0);
    NEUTRAL(dari_conn_data(LOOP, CONN) == NULL);
    NEUTRAL(dari_conn_protocol(LOOP, CONN).data == NULL);
    NEUTRAL(dari_conn_certificate(LOOP, CONN).data == NULL);
    NEUTRAL(dari_conn_dial(LOOP, all.pair.client.conn).id == 0);
    NEUTRAL(dari_request_method(LOOP, CONN).data == NULL);
    NEUTRAL(dari_request_target(LOOP, CONN).data == NULL);
    NEUTRAL(dari_request_body(LOOP, CONN).data == NULL);
    NEUTRAL(dari_request_header(LOOP, CONN, "host", 0).data == NULL);
}

static void call_remotes(void) {
    size_t taken = 7;
    REFUSED(dari_remote_call(all.remote, on_call, on_dropped, NULL));
    REFUSED(dari_remote_send(all.remote, CONN, DARI_TEXT, "x", 1));
    REFUSED(dari_remote_close(all.remote, CONN, 1000, NULL));
    REFUSED(dari_remote_publish(all.remote, "topic", DARI_TEXT, "x", 1));
    REFUSED(dari_remote_publish_all(&all.remote, 1, "topic", (dari_conn_t){0}, DARI_TEXT, "x", 1, &taken));
    CHECK(taken == 0);
    /* This one says nothing but its status. */
    CHECK(dari_remote_stop(all.remote) == expected);
}

/* ----------------------------------------------------------------------- Setting up */

static void on_message(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
    side_message(user, loop, conn, message);
    if (all.inside != NULL) all.inside();
}

static void all_open(void) {
    dari_handler_t server = side_handler(&all.pair.server);
    char answer[512];
    memset(&all, 0, sizeof all);
    server.message = on_message;
    pair_open(&all.pair, &server, NULL);
    /* Dialled, and no socket of this test: what has an effect there is heard at `fd`, by the server, or by `fired`. */
    all.dial = dari_conn_dial(LOOP, all.pair.client.conn);
    all.fd = raw_connect(all.pair.port);
    raw_send(all.fd, RAW_UPGRADE);
    raw_read_until(LOOP, all.fd, answer, sizeof answer, "\r\n\r\n");
    TURN_UNTIL(LOOP, all.pair.server.count == 2);
    CHECK(pipe(all.ends) == 0);
    CHECK(dari_timer_new(LOOP, 3600000, 0, on_timer, NULL, &all.timer) == DARI_OK);
    CHECK(dari_watch_new(LOOP, all.ends[0], DARI_WATCH_READ, on_watch, NULL, &all.watch) == DARI_OK);
    CHECK(dari_remote_new(LOOP, &all.remote) == DARI_OK);
    CHECK(dari_payload_new(DARI_TEXT, "shared", 6, &all.payload) == DARI_OK);
    CHECK(dari_conn_set_data(LOOP, CONN, &all) == DARI_OK);
    CHECK(dari_conn_subscribe(LOOP, CONN, "topic") == DARI_OK);
}

/* Whether nothing has come of all that: everybody is there, nothing was said, and the loop runs. */
static void all_is_well(void) {
    const dari_conn_t conn = CONN;
    size_t heard = all.pair.server.count, len = 0;
    char got[64];
    turn_a_few(LOOP);
    CHECK(all.fired == 0 && all.pair.server.count == heard);
    CHECK(!raw_take(all.fd, got, sizeof got, &len) && len == 0);
    CHECK(dari_conn_state(LOOP, conn) == DARI_STATE_OPEN && dari_conn_data(LOOP, conn) == (void *)&all);
    CHECK(dari_loop_subscribers(LOOP, "topic") == 1 && dari_loop_subscribers(LOOP, "other") == 0);
    CHECK(dari_listener_port(LOOP, all.pair.listener) == all.pair.port);
    CHECK(dari_conn_send(LOOP, all.pair.client.conn, DARI_TEXT, "hi", 2) == DARI_OK);
    TURN_UNTIL(LOOP, all.pair.server.count == heard + 1);
    /* The hook's connection is whose the calls are about; it was the client's just now. */
    all.pair.server.conn = conn;
}

static void all_free(void) {
    CHECK(dari_timer_cancel(LOOP, all.timer) == DARI_OK);
    CHECK(dari_watch_cancel(LOOP, all.watch) == DARI_OK);
    dari_remote_free(all.remote);
    dari_payload_free(all.payload);
    close(all.fd);
    close(all.ends[0]);
    close(all.ends[1]);
    pair_free(&all.pair);
}

/* Has it done inside `message`, once. */
static void inside_a_hook(void (*inside)(void)) {
    const dari_conn_t conn = CONN;
    size_t heard = all.pair.server.count;
    all.inside = inside;
    CHECK(dari_conn_send(LOOP, all.pair.client.conn, DARI_TEXT, "go", 2) == DARI_OK);
    TURN_UNTIL(LOOP, all.pair.server.count == heard + 1);
    all.inside = NULL;
    all.pair.server.conn = conn;
}

/* -------------------------------------------------------------------- Another thread */

static void *elsewhere(void *unused) {
    expected = DARI_ERR_THREAD;
    expected_words = "another thread";
    call_loops();
    call_connections();
    REFUSED(dari_loop_free(LOOP));
    return unused;
}

static void go_elsewhere(void) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, elsewhere, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void every_function_tells_another_thread_so(void) {
    all_open();
    go_elsewhere();
    all_is_well();
    inside_a_hook(go_elsewhere);
    all_is_well();
    all_free();
}

/* -------------------------------------------------------------------- A forked child */

static void child_calls(void) {
    expected = DARI_ERR_STATE;
    expected_words = "forked child";
    call_loops();
    call_connections();
    call_remotes();
}

/* The child's end, and what the parent makes of it. Who looks for leaks is not to look here. */
static void child_ends(void) {
    for (int fd = 3; fd < 256; fd++) close(fd);
    _exit(check_failures > 0);
}

static void parent_waits(pid_t child) {
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void every_function_tells_a_forked_child_so(void) {
    pid_t child;
    all_open();
    fflush(stdout);
    child = fork();
    if (child == 0) {
        child_calls();
        CHECK(dari_loop_free(LOOP) == DARI_OK);
        /* For a remote there is no loop any more, nor has there been one. */
        CHECK(dari_remote_call(all.remote, on_call, on_dropped, NULL) == DARI_ERR_STATE);
        dari_remote_free(all.remote);
        CHECK(all.fired == 0);
        child_ends();
    }
    parent_waits(child);
    all_is_well();
    all_free();
}

static pid_t hooks_child;

static void fork_inside(void) {
    all.inside = NULL;
    fflush(stdout);
    hooks_child = fork();
    if (hooks_child == 0) {
        child_calls();
        CHECK_ERROR(dari_loop_free(LOOP), DARI_ERR_STATE, "inside a hook");
    }
}

/* A child that was made inside a hook, and returns from it as if nothing had happened. */
static void a_child_that_returns_from_a_hook_goes_no_further(void) {
    size_t heard, len = 0;
    char got[64];
    pid_t parent = getpid();
    dari_status_t turned = DARI_OK;
    all_open();
    heard = all.pair.server.count;
    all.inside = fork_inside;
    /* Two messages and a ping: in the child, nothing behind the first one may be told or answered. */
    CHECK(send(all.fd, "\x81\x82\0\0\0\0hi\x89\x80\0\0\0\0\x81\x82\0\0\0\0hi", 22, MSG_NOSIGNAL) == 22);
    for (long end = check_now_ms() + CHECK_DEADLINE_MS; check_now_ms() < end && turned == DARI_OK;) {
        turned = dari_loop_turn(LOOP, 10);
        if (getpid() == parent && all.pair.server.count == heard + 2) break;
    }
    if (getpid() != parent) {
        CHECK(turned == DARI_ERR_STATE && strstr(dari_last_error(), "forked child") != NULL);
        CHECK(all.pair.server.count == heard + 1);
        child_calls();
        CHECK(dari_loop_free(LOOP) == DARI_OK);
        CHECK(all.pair.server.count == heard + 1);
        child_ends();
    }
    parent_waits(hooks_child);
    CHECK(turned == DARI_OK && all.pair.server.count == heard + 2);
    /* It was answered once, by the parent. */
    raw_read_until(LOOP, all.fd, got, sizeof got, "\x8a");
    turn_a_few(LOOP);
    CHECK(strcmp(got, "\x8a") == 0 && !raw_take(all.fd, got, sizeof got, &len) && len == 0);
    all_free();
}

int main(int argc, char **argv) {
    static const struct check_test tests[] = {
        TEST(every_function_tells_another_thread_so),
        TEST(every_function_tells_a_forked_child_so),
        TEST(a_child_that_returns_from_a_hook_goes_no_further),
    };
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
