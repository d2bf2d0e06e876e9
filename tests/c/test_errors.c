/* What can go wrong in a call: a status, and a message that says what it was. */
#include "pair.h"
#include <pthread.h>
#include <stdlib.h>

static const dari_conn_t NOBODY = {0};

static void open_both(struct pair *pair) {
    pair_open(pair, NULL, NULL);
}

static void stale_ids_are_told_in_every_verb(void) {
    struct pair pair;
    const char *const words = "names nothing";
    dari_listener_t listener;
    dari_timer_t timer = {0};
    dari_watch_t watch = {12345};
    dari_conn_t old;
    dari_payload_t *payload;
    char text[64];
    open_both(&pair);
    old = pair.client.conn;
    CHECK(dari_conn_abort(pair.loop, old) == DARI_OK);
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'c'));
    CHECK(dari_payload_new(DARI_TEXT, "x", 1, &payload) == DARI_OK);

    CHECK_ERROR(dari_conn_send(pair.loop, old, DARI_TEXT, "x", 1), DARI_ERR_STALE, words);
    CHECK_ERROR(dari_conn_send(pair.loop, NOBODY, DARI_TEXT, "x", 1), DARI_ERR_STALE, words);
    CHECK_ERROR(dari_conn_close(pair.loop, old, 1000, NULL), DARI_ERR_STALE, words);
    CHECK_ERROR(dari_conn_abort(pair.loop, old), DARI_ERR_STALE, words);
    CHECK_ERROR(dari_conn_ping(pair.loop, old, NULL, 0), DARI_ERR_STALE, words);
    CHECK_ERROR(dari_conn_pause(pair.loop, old), DARI_ERR_STALE, words);
    CHECK_ERROR(dari_conn_resume(pair.loop, old), DARI_ERR_STALE, words);
    CHECK_ERROR(dari_conn_set_data(pair.loop, old, NULL), DARI_ERR_STALE, words);
    CHECK_ERROR(dari_conn_peer(pair.loop, old, text, sizeof text, NULL), DARI_ERR_STALE, words);
    CHECK_ERROR(dari_conn_accept(pair.loop, old, NULL, NULL, 0), DARI_ERR_STALE, words);
    CHECK_ERROR(dari_conn_respond(pair.loop, old, 200, NULL, 0, NULL, 0), DARI_ERR_STALE, words);
    CHECK_ERROR(dari_conn_respond_begin(pair.loop, old, 200, NULL, 0), DARI_ERR_STALE, words);
    CHECK_ERROR(dari_conn_respond_piece(pair.loop, old, "x", 1), DARI_ERR_STALE, words);
    CHECK_ERROR(dari_conn_subscribe(pair.loop, old, "t"), DARI_ERR_STALE, words);
    CHECK_ERROR(dari_conn_unsubscribe(pair.loop, old, "t"), DARI_ERR_STALE, words);
    CHECK_ERROR(dari_conn_send_payload(pair.loop, old, payload), DARI_ERR_STALE, words);
    CHECK_ERROR(dari_timer_cancel(pair.loop, timer), DARI_ERR_STALE, words);
    CHECK_ERROR(dari_watch_cancel(pair.loop, watch), DARI_ERR_STALE, words);
    listener = pair.listener;
    CHECK(dari_listener_close(pair.loop, listener) == DARI_OK);
    CHECK_ERROR(dari_listener_close(pair.loop, listener), DARI_ERR_STALE, words);

    /* Getters say what their comments name. */
    CHECK(dari_conn_state(pair.loop, old) == DARI_STATE_CLOSED);
    CHECK(dari_conn_backlog(pair.loop, old) == 0);
    CHECK(dari_conn_data(pair.loop, old) == NULL);
    CHECK(dari_conn_protocol(pair.loop, old).data == NULL);
    CHECK(dari_request_method(pair.loop, old).data == NULL);
    CHECK(dari_request_target(pair.loop, old).data == NULL);
    CHECK(dari_request_body(pair.loop, old).data == NULL);
    CHECK(dari_request_header(pair.loop, old, "host", 0).data == NULL);
    CHECK(dari_listener_port(pair.loop, listener) == 0);
    dari_payload_free(payload);
    pair_free(&pair);
}

static void ids_of_another_loop_are_stale(void) {
    struct pair one, other;
    open_both(&one);
    open_both(&other);
    CHECK_ERROR(dari_conn_send(one.loop, other.client.conn, DARI_TEXT, "x", 1), DARI_ERR_STALE, "");
    CHECK_ERROR(dari_listener_close(one.loop, other.listener), DARI_ERR_STALE, "");
    CHECK(dari_conn_state(one.loop, other.client.conn) == DARI_STATE_CLOSED);
    pair_free(&one);
    pair_free(&other);
}

static void on_timer(void *user, dari_loop_t *loop, dari_timer_t timer) {
    (void)user, (void)loop, (void)timer;
}

static void on_watch(void *user, dari_loop_t *loop, dari_watch_t watch, uint32_t events) {
    (void)user, (void)loop, (void)watch, (void)events;
}

static void a_null_loop_is_told_in_every_call(void) {
    const dari_handler_t handler = {.struct_size = sizeof handler};
    const char *const words = "loop is NULL";
    dari_listener_t listener = {0};
    dari_timer_t timer = {0};
    dari_watch_t watch = {0};
    dari_remote_t *remote;
    char text[8];
    CHECK(dari_loop_free(NULL) == DARI_OK);
    CHECK_ERROR(dari_loop_run(NULL), DARI_ERR_ARGUMENT, words);
    CHECK_ERROR(dari_loop_stop(NULL), DARI_ERR_ARGUMENT, words);
    CHECK_ERROR(dari_loop_turn(NULL, 0), DARI_ERR_ARGUMENT, words);
    CHECK_ERROR(dari_loop_fd(NULL), DARI_ERR_ARGUMENT, words);
    CHECK_ERROR(dari_remote_new(NULL, &remote), DARI_ERR_ARGUMENT, words);
    CHECK_ERROR(dari_loop_listen(NULL, "", NULL, &handler, NULL), DARI_ERR_ARGUMENT, words);
    CHECK_ERROR(dari_listener_close(NULL, listener), DARI_ERR_ARGUMENT, words);
    CHECK_ERROR(dari_loop_connect(NULL, "", NULL, &handler, NULL), DARI_ERR_ARGUMENT, words);
    CHECK_ERROR(dari_conn_send(NULL, NOBODY, DARI_TEXT, "", 0), DARI_ERR_ARGUMENT, words);
    CHECK_ERROR(dari_conn_close(NULL, NOBODY, 0, NULL), DARI_ERR_ARGUMENT, words);
    CHECK_ERROR(dari_conn_abort(NULL, NOBODY), DARI_ERR_ARGUMENT, words);
    CHECK_ERROR(dari_conn_ping(NULL, NOBODY, NULL, 0), DARI_ERR_ARGUMENT, words);
    CHECK_ERROR(dari_conn_pause(NULL, NOBODY), DARI_ERR_ARGUMENT, words);
    CHECK_ERROR(dari_conn_resume(NULL, NOBODY), DARI_ERR_ARGUMENT, words);
    CHECK_ERROR(dari_conn_set_data(NULL, NOBODY, NULL), DARI_ERR_ARGUMENT, words);
    CHECK_ERROR(dari_conn_peer(NULL, NOBODY, text, sizeof text, NULL), DARI_ERR_ARGUMENT, words);
    CHECK_ERROR(dari_conn_accept(NULL, NOBODY, NULL, NULL, 0), DARI_ERR_ARGUMENT, words);
    CHECK_ERROR(dari_conn_respond(NULL, NOBODY, 200, NULL, 0, NULL, 0), DARI_ERR_ARGUMENT, words);
    CHECK_ERROR(dari_conn_respond_begin(NULL, NOBODY, 200, NULL, 0), DARI_ERR_ARGUMENT, words);
    CHECK_ERROR(dari_conn_respond_piece(NULL, NOBODY, NULL, 0), DARI_ERR_ARGUMENT, words);
    CHECK_ERROR(dari_conn_subscribe(NULL, NOBODY, "t"), DARI_ERR_ARGUMENT, words);
    CHECK_ERROR(dari_conn_unsubscribe(NULL, NOBODY, "t"), DARI_ERR_ARGUMENT, words);
    CHECK_ERROR(dari_loop_publish(NULL, "t", NOBODY, DARI_TEXT, "", 0), DARI_ERR_ARGUMENT, words);
    CHECK_ERROR(dari_conn_send_payload(NULL, NOBODY, NULL), DARI_ERR_ARGUMENT, words);
    CHECK_ERROR(dari_timer_new(NULL, 0, 0, on_timer, NULL, NULL), DARI_ERR_ARGUMENT, words);
    CHECK_ERROR(dari_timer_cancel(NULL, timer), DARI_ERR_ARGUMENT, words);
    CHECK_ERROR(dari_watch_new(NULL, 0, 1, on_watch, NULL, NULL), DARI_ERR_ARGUMENT, words);
    CHECK_ERROR(dari_watch_cancel(NULL, watch), DARI_ERR_ARGUMENT, words);

    CHECK(dari_loop_timeout(NULL) == DARI_NEVER);
    CHECK(dari_listener_port(NULL, listener) == 0);
    CHECK(dari_conn_state(NULL, NOBODY) == DARI_STATE_CLOSED);
    CHECK(dari_conn_backlog(NULL, NOBODY) == 0);
    CHECK(dari_conn_data(NULL, NOBODY) == NULL);
    CHECK(dari_conn_protocol(NULL, NOBODY).data == NULL);
    CHECK(dari_loop_next(NULL, NOBODY).id == 0);
    CHECK(dari_loop_subscribers(NULL, "t") == 0);
    CHECK(dari_request_target(NULL, NOBODY).data == NULL);
}

static void each_null_pointer_is_named(void) {
    struct pair pair;
    const dari_header_t nameless = {NULL, "v"}, worthless = {"X-Test", NULL};
    const dari_handler_t handler = {.struct_size = sizeof handler};
    const char *url = "ws://127.0.0.1:1/";
    dari_remote_t *remote;
    dari_connect_t how = {.struct_size = sizeof how, .header_count = 1};
    dari_conn_t conn;
    open_both(&pair);
    conn = pair.client.conn;
    CHECK_ERROR(dari_loop_new(NULL, NULL), DARI_ERR_ARGUMENT, "out is NULL");
    CHECK_ERROR(dari_remote_new(pair.loop, NULL), DARI_ERR_ARGUMENT, "out is NULL");
    CHECK_ERROR(dari_payload_new(DARI_TEXT, "", 0, NULL), DARI_ERR_ARGUMENT, "out is NULL");
    CHECK_ERROR(dari_loop_listen(pair.loop, NULL, NULL, &handler, NULL), DARI_ERR_ARGUMENT,
                "address is NULL");
    CHECK_ERROR(dari_loop_listen(pair.loop, "127.0.0.1:0", NULL, NULL, NULL), DARI_ERR_ARGUMENT,
                "handler is NULL");
    CHECK_ERROR(dari_loop_connect(pair.loop, NULL, NULL, &handler, NULL), DARI_ERR_ARGUMENT,
                "url is NULL");
    CHECK_ERROR(dari_loop_connect(pair.loop, url, NULL, NULL, NULL), DARI_ERR_ARGUMENT,
                "handler is NULL");
    CHECK_ERROR(dari_loop_connect(pair.loop, url, &how, &handler, NULL), DARI_ERR_ARGUMENT,
                "headers is NULL");
    how.headers = &nameless;
    CHECK_ERROR(dari_loop_connect(pair.loop, url, &how, &handler, NULL), DARI_ERR_ARGUMENT,
                "headers[0].name is NULL");
    how.headers = &worthless;
    CHECK_ERROR(dari_loop_connect(pair.loop, url, &how, &handler, NULL), DARI_ERR_ARGUMENT,
                "headers[0].value is NULL");
    CHECK_ERROR(dari_conn_send(pair.loop, conn, DARI_BINARY, NULL, 1), DARI_ERR_ARGUMENT,
                "data is NULL, but its length is 1");
    CHECK_ERROR(dari_conn_send(pair.loop, conn, DARI_BINARY, "x", SIZE_MAX), DARI_ERR_ARGUMENT,
                "is no length");
    CHECK_ERROR(dari_conn_ping(pair.loop, conn, NULL, 1), DARI_ERR_ARGUMENT, "data is NULL");
    CHECK_ERROR(dari_conn_peer(pair.loop, conn, NULL, 9, NULL), DARI_ERR_ARGUMENT, "buf is NULL");
    CHECK_ERROR(dari_conn_respond(pair.loop, conn, 200, NULL, 0, NULL, 1), DARI_ERR_ARGUMENT,
                "body is NULL");
    CHECK_ERROR(dari_conn_respond(pair.loop, conn, 200, NULL, 2, NULL, 0), DARI_ERR_ARGUMENT,
                "headers is NULL");
    CHECK_ERROR(dari_conn_respond_piece(pair.loop, conn, NULL, 1), DARI_ERR_ARGUMENT, "data is NULL");
    CHECK_ERROR(dari_conn_subscribe(pair.loop, conn, NULL), DARI_ERR_ARGUMENT, "topic is NULL");
    CHECK_ERROR(dari_conn_unsubscribe(pair.loop, conn, NULL), DARI_ERR_ARGUMENT, "topic is NULL");
    CHECK_ERROR(dari_loop_publish(pair.loop, NULL, NOBODY, DARI_TEXT, "", 0), DARI_ERR_ARGUMENT,
                "topic is NULL");
    CHECK_ERROR(dari_conn_send_payload(pair.loop, conn, NULL), DARI_ERR_ARGUMENT, "payload is NULL");
    CHECK_ERROR(dari_timer_new(pair.loop, 0, 0, NULL, NULL, NULL), DARI_ERR_ARGUMENT, "fire is NULL");
    CHECK_ERROR(dari_watch_new(pair.loop, 0, 1, NULL, NULL, NULL), DARI_ERR_ARGUMENT, "ready is NULL");
    CHECK_ERROR(dari_remote_call(NULL, NULL, NULL, NULL), DARI_ERR_ARGUMENT, "remote is NULL");
    CHECK(dari_remote_stop(NULL) == DARI_ERR_ARGUMENT);
    CHECK(dari_loop_subscribers(pair.loop, NULL) == 0);
    CHECK(dari_request_header(pair.loop, conn, NULL, 0).data == NULL);
    dari_payload_free(NULL);
    dari_remote_free(NULL);
    /* NULL that means nothing, or no thanks. */
    CHECK(dari_conn_send(pair.loop, conn, DARI_TEXT, NULL, 0) == DARI_OK);
    CHECK(dari_timer_new(pair.loop, 0, 0, on_timer, NULL, NULL) == DARI_OK);
    CHECK(dari_remote_new(pair.loop, &remote) == DARI_OK);
    dari_remote_free(remote);
    pair_free(&pair);
}

static void *elsewhere(void *argument) {
    struct pair *pair = argument;
    const char *const words = "another thread";
    CHECK_ERROR(dari_loop_turn(pair->loop, 0), DARI_ERR_THREAD, words);
    CHECK_ERROR(dari_loop_run(pair->loop), DARI_ERR_THREAD, words);
    CHECK_ERROR(dari_loop_free(pair->loop), DARI_ERR_THREAD, words);
    CHECK_ERROR(dari_conn_send(pair->loop, pair->client.conn, DARI_TEXT, "x", 1), DARI_ERR_THREAD,
                words);
    CHECK_ERROR(dari_conn_send(pair->loop, NOBODY, 7, NULL, 1), DARI_ERR_THREAD, words);
    CHECK(dari_conn_state(pair->loop, pair->client.conn) == DARI_STATE_CLOSED);
    CHECK(dari_conn_data(pair->loop, pair->client.conn) == NULL);
    CHECK(dari_loop_timeout(pair->loop) == DARI_NEVER);
    return NULL;
}

static void other_threads_are_told_so(void) {
    struct pair pair;
    pthread_t thread;
    open_both(&pair);
    CHECK_ERROR(dari_loop_new(NULL, NULL), DARI_ERR_ARGUMENT, "out is NULL");
    CHECK(pthread_create(&thread, NULL, elsewhere, &pair) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    /* Each thread has its own last error. */
    CHECK(strstr(dari_last_error(), "out is NULL") != NULL);
    CHECK(dari_conn_state(pair.loop, pair.client.conn) == DARI_STATE_OPEN);
    pair_free(&pair);
}

static void misuse_in_hook(void *user, dari_loop_t *loop, dari_conn_t conn) {
    int *done = user;
    CHECK_ERROR(dari_loop_turn(loop, 0), DARI_ERR_STATE, "inside a hook");
    CHECK_ERROR(dari_loop_run(loop), DARI_ERR_STATE, "inside a hook");
    CHECK_ERROR(dari_loop_free(loop), DARI_ERR_STATE, "inside a hook");
    CHECK(dari_conn_state(loop, conn) == DARI_STATE_OPEN);
    *done = 1;
}

static void misuse_in_timer(void *user, dari_loop_t *loop, dari_timer_t timer) {
    int *done = user;
    (void)timer;
    CHECK_ERROR(dari_loop_turn(loop, 0), DARI_ERR_STATE, "inside a hook");
    CHECK_ERROR(dari_loop_free(loop), DARI_ERR_STATE, "inside a hook");
    *done = 1;
}

static void misuse_in_close(void *user, dari_loop_t *loop, dari_conn_t conn,
                            const dari_close_t *why) {
    int *closed = user;
    (void)why;
    CHECK_ERROR(dari_loop_free(loop), DARI_ERR_STATE, "inside a hook");
    CHECK_ERROR(dari_loop_run(loop), DARI_ERR_STATE, "inside a hook");
    CHECK(dari_conn_send(loop, conn, DARI_TEXT, "x", 1) < 0);
    (*closed)++;
}

static void run_turn_and_free_are_refused_inside_hooks(void) {
    struct pair pair;
    int opened = 0, fired = 0, closed = 0;
    const dari_handler_t server = {
        .struct_size = sizeof server, .user = &opened, .open = misuse_in_hook};
    const dari_handler_t client = {
        .struct_size = sizeof client, .user = &closed, .close = misuse_in_close};
    memset(&pair, 0, sizeof pair);
    pair_listen(&pair, NULL, &server);
    pair_connect(&pair, NULL, &client, "/");
    CHECK(dari_timer_new(pair.loop, 1, 0, misuse_in_timer, &fired, NULL) == DARI_OK);
    TURN_UNTIL(pair.loop, opened && fired);
    pair_free(&pair);
    CHECK(closed == 1);
}

static void kinds_and_events_that_do_not_exist_are_refused(void) {
    struct pair pair;
    dari_payload_t *payload = (dari_payload_t *)&pair;
    open_both(&pair);
    CHECK_ERROR(dari_conn_send(pair.loop, pair.client.conn, 7, "x", 1), DARI_ERR_ARGUMENT,
                "kind 7 is neither DARI_TEXT nor DARI_BINARY");
    CHECK_ERROR(dari_conn_send(pair.loop, pair.client.conn, 0, "x", 1), DARI_ERR_ARGUMENT, "kind 0");
    CHECK_ERROR(dari_conn_send(pair.loop, pair.client.conn, 0x401, "x", 1), DARI_ERR_ARGUMENT,
                "kind 1025");
    CHECK_ERROR(dari_loop_publish(pair.loop, "t", NOBODY, 3, "x", 1), DARI_ERR_ARGUMENT, "kind 3");
    CHECK_ERROR(dari_payload_new(9, "x", 1, &payload), DARI_ERR_ARGUMENT, "kind 9");
    CHECK(payload == NULL);
    CHECK_ERROR(dari_watch_new(pair.loop, 0, 4, on_watch, NULL, NULL), DARI_ERR_ARGUMENT, "events 4");
    CHECK_ERROR(dari_watch_new(pair.loop, 0, 0, on_watch, NULL, NULL), DARI_ERR_ARGUMENT, "events 0");
    CHECK(dari_watch_new(pair.loop, -1, 1, on_watch, NULL, NULL) < 0);
    pair_free(&pair);
}

static void struct_sizes_are_checked(void) {
    struct {
        dari_handler_t known;
        unsigned char more[16];
    } newer;
    dari_handler_t handler = {0};
    /* One byte less than the first release had. */
    dari_limits_t limits = {.struct_size = offsetof(dari_limits_t, deflate_min) - 1};
    dari_listen_t how = {.struct_size = sizeof how, .limits = &limits};
    dari_connect_t connect = {.struct_size = 1};
    dari_loop_config_t config = {0};
    dari_loop_t *loop = (dari_loop_t *)&newer;
    const char *here = "127.0.0.1:0";
    CHECK_ERROR(dari_loop_new(&config, &loop), DARI_ERR_ARGUMENT,
                "struct_size of a dari_loop_config_t is 0");
    CHECK(loop == NULL);
    config.struct_size = sizeof config;
    CHECK(dari_loop_new(&config, &loop) == DARI_OK);
    CHECK_ERROR(dari_loop_listen(loop, here, NULL, &handler, NULL), DARI_ERR_ARGUMENT,
                "struct_size of a dari_handler_t is 0");
    handler.struct_size = sizeof handler;
    CHECK_ERROR(dari_loop_listen(loop, here, &how, &handler, NULL), DARI_ERR_ARGUMENT,
                "dari_limits_t");
    how.struct_size = 3;
    CHECK_ERROR(dari_loop_listen(loop, here, &how, &handler, NULL), DARI_ERR_ARGUMENT,
                "dari_listen_t is 3");
    CHECK_ERROR(dari_loop_connect(loop, "ws://127.0.0.1:1/", &connect, &handler, NULL),
                DARI_ERR_ARGUMENT, "dari_connect_t is 1");
    handler.struct_size = (size_t)-1 / 2;
    CHECK_ERROR(dari_loop_listen(loop, here, NULL, &handler, NULL), DARI_ERR_ARGUMENT, "struct_size");

    /* A caller with a newer header: welcome for as long as it asks for nothing new. */
    memset(&newer, 0, sizeof newer);
    newer.known.struct_size = sizeof newer;
    CHECK(dari_loop_listen(loop, here, NULL, &newer.known, NULL) == DARI_OK);
    newer.more[15] = 1;
    CHECK_ERROR(dari_loop_listen(loop, here, NULL, &newer.known, NULL), DARI_ERR_ARGUMENT,
                "this version does not know");
    CHECK(dari_loop_free(loop) == DARI_OK);
}

static void text_that_is_not_utf8_is_refused(void) {
    struct pair pair;
    dari_payload_t *payload;
    const char *list[] = {"good", "b\xff", NULL};
    dari_connect_t how = {.struct_size = sizeof how, .protocols = list};
    const dari_handler_t handler = {.struct_size = sizeof handler};
    open_both(&pair);
    CHECK_ERROR(dari_conn_send(pair.loop, pair.client.conn, DARI_TEXT, "ab\xff", 3),
                DARI_ERR_ARGUMENT, "UTF-8");
    CHECK_ERROR(dari_payload_new(DARI_TEXT, "\xc0\x80", 2, &payload), DARI_ERR_ARGUMENT, "UTF-8");
    CHECK_ERROR(dari_loop_publish(pair.loop, "t", NOBODY, DARI_TEXT, "\xed\xa0\x80", 3),
                DARI_ERR_ARGUMENT, "UTF-8");
    CHECK_ERROR(dari_conn_subscribe(pair.loop, pair.client.conn, "t\xff"), DARI_ERR_ARGUMENT,
                "topic is not UTF-8, from byte 1 on");
    CHECK_ERROR(dari_loop_connect(pair.loop, "ws://127.0.0.1:1/", &how, &handler, NULL),
                DARI_ERR_ARGUMENT, "protocols[1] is not UTF-8");
    CHECK(dari_conn_send(pair.loop, pair.client.conn, DARI_BINARY, "\xff", 1) == DARI_OK);
    TURN_UNTIL(pair.loop, side_heard(&pair.server, 'm'));
    CHECK(strcmp(pair.server.heard, "om") == 0);
    pair_free(&pair);
}

static void only_codes_and_reasons_that_may_be_sent_are_taken(void) {
    static const uint16_t refused[] = {1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535};
    struct pair pair;
    char reason[125];
    open_both(&pair);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        char code[8];
        snprintf(code, sizeof code, "%u", (unsigned)refused[i]);
        CHECK_ERROR(dari_conn_close(pair.loop, pair.client.conn, refused[i], NULL),
                    DARI_ERR_ARGUMENT, code);
    }
    memset(reason, 'x', sizeof reason);
    reason[124] = '\0';
    CHECK_ERROR(dari_conn_close(pair.loop, pair.client.conn, 1000, reason), DARI_ERR_TOO_BIG, "124");
    CHECK_ERROR(dari_conn_close(pair.loop, pair.client.conn, 1000, "a\xff"), DARI_ERR_ARGUMENT,
                "reason is not UTF-8, from byte 1 on");
    CHECK_ERROR(dari_conn_close(pair.loop, pair.client.conn, 0, "words"), DARI_ERR_ARGUMENT, "");
    /* Nothing of that has changed anything. */
    CHECK(dari_conn_state(pair.loop, pair.client.conn) == DARI_STATE_OPEN);
    reason[123] = '\0';
    CHECK(dari_conn_close(pair.loop, pair.client.conn, 1000, reason) == DARI_OK);
    CHECK_ERROR(dari_conn_close(pair.loop, pair.client.conn, 1000, NULL), DARI_ERR_STATE, "");
    CHECK_ERROR(dari_conn_send(pair.loop, pair.client.conn, DARI_TEXT, "x", 1), DARI_ERR_STATE, "");
    TURN_UNTIL(pair.loop, side_heard(&pair.server, 'c'));
    CHECK(strcmp(pair.server.reason, reason) == 0);
    pair_free(&pair);
}

static void closing_with_code_0_sends_none(void) {
    struct pair pair;
    open_both(&pair);
    CHECK(dari_conn_close(pair.loop, pair.client.conn, 0, NULL) == DARI_OK);
    TURN_UNTIL(pair.loop, side_heard(&pair.server, 'c') && side_heard(&pair.client, 'c'));
    CHECK(pair.server.close.code == 1005 && pair.server.close.was_clean);
    CHECK(pair.client.close.sent_code == 0 && pair.client.close.was_clean);
    pair_free(&pair);
}

static void pings_have_at_most_125_bytes(void) {
    struct pair pair;
    char data[126];
    memset(data, 'p', sizeof data);
    open_both(&pair);
    CHECK_ERROR(dari_conn_ping(pair.loop, pair.client.conn, data, 126), DARI_ERR_TOO_BIG, "126");
    CHECK(dari_conn_ping(pair.loop, pair.client.conn, data, 125) == DARI_OK);
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'p'));
    CHECK(pair.client.len == 125 && memcmp(pair.client.text, data, 125) == 0);
    pair_free(&pair);
}

static void addresses_and_urls_are_checked(void) {
    static const char *const addresses[] = {"", "nowhere", "127.0.0.1", "127.0.0.1:", ":",
                                            "127.0.0.1:65536", "127.0.0.1:x", "unix:"};
    static const char *const urls[] = {"", "127.0.0.1:80", "ftp://127.0.0.1/", "ws://",
                                       "ws://127.0.0.1:0x1/", "ws://127.0.0.1/#here",
                                       "ws://127.0.0.1/a b"};
    const dari_handler_t handler = {.struct_size = sizeof handler};
    struct pair pair;
    char used[32];
    open_both(&pair);
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++)
        CHECK_ERROR(dari_loop_listen(pair.loop, addresses[i], NULL, &handler, NULL),
                    DARI_ERR_ARGUMENT, addresses[i]);
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++)
        CHECK_ERROR(dari_loop_connect(pair.loop, urls[i], NULL, &handler, NULL), DARI_ERR_ARGUMENT,
                    "");
    snprintf(used, sizeof used, "127.0.0.1:%u", (unsigned)pair.port);
    CHECK_ERROR(dari_loop_listen(pair.loop, used, NULL, &handler, NULL), DARI_ERR_SYSTEM, used);
    CHECK(dari_last_errno() != 0);
    CHECK_ERROR(dari_loop_turn(NULL, 0), DARI_ERR_ARGUMENT, "");
    CHECK(dari_last_errno() == 0);
    pair_free(&pair);
}

static void headers_can_not_smuggle_lines(void) {
    static const dari_header_t bad[] = {{"X-A", "1\r\nX-B: 2"}, {"X-A", "1\nX-B: 2"}, {"X-A", "1\r"},
                                        {"X-A\r\nX-B", "1"},    {"X A", "1"},         {"", "1"},
                                        {"X-A:", "1"},          {"X-A", "\x01"}};
    static const dari_header_t ours = {"Upgrade", "h2c"};
    const dari_handler_t handler = {.struct_size = sizeof handler};
    struct pair pair;
    dari_connect_t how = {.struct_size = sizeof how, .header_count = 1};
    open_both(&pair);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        how.headers = &bad[i];
        CHECK_ERROR(dari_loop_connect(pair.loop, "ws://127.0.0.1:1/", &how, &handler, NULL),
                    DARI_ERR_ARGUMENT, "");
    }
    how.headers = &ours;
    CHECK_ERROR(dari_loop_connect(pair.loop, "ws://127.0.0.1:1/", &how, &handler, NULL), DARI_ERR_ARGUMENT,
                "\"Upgrade\" is one that dari writes");
    how.headers = NULL;
    how.header_count = 0;
    how.origin = "http://a\r\nX-B: 2";
    CHECK_ERROR(dari_loop_connect(pair.loop, "ws://127.0.0.1:1/", &how, &handler, NULL),
                DARI_ERR_ARGUMENT, "");
    pair_free(&pair);
}

static void success_leaves_the_last_error(void) {
    dari_loop_t *loop;
    CHECK_ERROR(dari_loop_turn(NULL, 0), DARI_ERR_ARGUMENT, "loop is NULL");
    CHECK(dari_loop_new(NULL, &loop) == DARI_OK);
    CHECK(dari_loop_turn(loop, 0) == DARI_OK);
    CHECK(dari_conn_state(loop, NOBODY) == DARI_STATE_CLOSED);
    CHECK(strcmp(dari_last_error(), "dari_loop_turn: loop is NULL") == 0);
    CHECK(dari_loop_free(loop) == DARI_OK);
}

static void numbers_have_words(void) {
    for (dari_status_t status = 1; status >= -11; status--)
        CHECK(strlen(dari_status_text(status)) > 0 &&
              strcmp(dari_status_text(status), dari_status_text(99)) != 0);
    CHECK(strcmp(dari_cause_text(DARI_CAUSE_EOF), dari_cause_text(DARI_CAUSE_RESET)) != 0);
    CHECK(strlen(dari_cause_text(DARI_CAUSE_REFUSED)) > 0);
    CHECK(strlen(dari_cause_text(12345)) > 0);
    CHECK(strlen(dari_version()) >= strlen("0.1.0"));
}

int main(int argc, char **argv) {
    static const struct check_test tests[] = {
        TEST(stale_ids_are_told_in_every_verb),
        TEST(ids_of_another_loop_are_stale),
        TEST(a_null_loop_is_told_in_every_call),
        TEST(each_null_pointer_is_named),
        TEST(other_threads_are_told_so),
        TEST(run_turn_and_free_are_refused_inside_hooks),
        TEST(kinds_and_events_that_do_not_exist_are_refused),
        TEST(struct_sizes_are_checked),
        TEST(text_that_is_not_utf8_is_refused),
        TEST(only_codes_and_reasons_that_may_be_sent_are_taken),
        TEST(closing_with_code_0_sends_none),
        TEST(pings_have_at_most_125_bytes),
        TEST(addresses_and_urls_are_checked),
        TEST(headers_can_not_smuggle_lines),
        TEST(success_leaves_the_last_error),
        TEST(numbers_have_words),
    };
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
