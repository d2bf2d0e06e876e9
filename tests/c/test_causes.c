/* Every way in which a connection can end, over real sockets: see every_cause_is_reached. */
#include "breaches.h"
#include <errno.h>
#include <netinet/tcp.h>

/* ------------------------------------------------------------ Closing in order */

static void the_peer_closes_with_a_code(void) {
    struct pair pair;
    int fd = stranger_open(&pair, NULL);
    RAW_BYTES(fd, CLOSE_4000);
    ENDS(pair.loop, &pair.server, .cause = DARI_CAUSE_PEER, .by = DARI_BY_PEER, .code = 4000, .sent = 4000,
         .clean = 1, .opened = 1, .reason = "bye", .text = "code 4000 \"bye\"");
    close(fd);
    pair_free(&pair);
}

static void the_peer_closes_without_a_code(void) {
    struct pair pair;
    int fd = stranger_open(&pair, NULL);
    RAW_BYTES(fd, CLOSE_EMPTY);
    ENDS(pair.loop, &pair.server, .cause = DARI_CAUSE_PEER, .by = DARI_BY_PEER, .code = 1005, .clean = 1,
         .opened = 1, .text = "code 1005");
    close(fd);
    pair_free(&pair);
}

static void the_peer_closes_and_ends_its_stream_in_one_go(void) {
    struct pair pair;
    int fd = stranger_open(&pair, NULL);
    RAW_BYTES(fd, "\x81\x82\0\0\0\0hi" CLOSE_4000);
    shutdown(fd, SHUT_WR);
    ENDS(pair.loop, &pair.server, .cause = DARI_CAUSE_PEER, .by = DARI_BY_PEER, .code = 4000, .sent = 4000,
         .clean = 1, .opened = 1, .reason = "bye");
    CHECK(strcmp(pair.server.heard, "omc") == 0);
    close(fd);
    pair_free(&pair);
}

static void we_close_with_a_code(void) {
    struct pair pair;
    pair_open(&pair, NULL, NULL);
    CHECK(dari_conn_close(pair.loop, pair.client.conn, 3001, "over") == DARI_OK);
    ENDS(pair.loop, &pair.client, .cause = DARI_CAUSE_LOCAL, .by = DARI_BY_US, .code = 3001, .sent = 3001,
         .clean = 1, .opened = 1, .text = "code 3001");
    ENDS(pair.loop, &pair.server, .cause = DARI_CAUSE_PEER, .by = DARI_BY_PEER, .code = 3001, .sent = 3001,
         .clean = 1, .opened = 1, .reason = "over");
    pair_free(&pair);
}

static void we_close_without_a_code(void) {
    struct pair pair;
    int fd = stranger_open(&pair, NULL);
    CHECK(dari_conn_close(pair.loop, pair.server.conn, 0, NULL) == DARI_OK);
    RAW_BYTES(fd, CLOSE_4000);
    ENDS(pair.loop, &pair.server, .cause = DARI_CAUSE_LOCAL, .by = DARI_BY_US, .code = 4000, .clean = 1,
         .opened = 1, .reason = "bye", .text = "code 4000");
    close(fd);
    pair_free(&pair);
}

static void both_close_at_once(void) {
    struct pair pair;
    pair_open(&pair, NULL, NULL);
    CHECK(dari_conn_close(pair.loop, pair.client.conn, 4001, NULL) == DARI_OK);
    CHECK(dari_conn_close(pair.loop, pair.server.conn, 4002, NULL) == DARI_OK);
    ENDS(pair.loop, &pair.client, .cause = DARI_CAUSE_LOCAL, .by = DARI_BY_US, .code = 4002, .sent = 4001,
         .clean = 1, .opened = 1, .text = "code 4002, we sent 4001");
    ENDS(pair.loop, &pair.server, .cause = DARI_CAUSE_LOCAL, .by = DARI_BY_US, .code = 4001, .sent = 4002,
         .clean = 1, .opened = 1, .text = "code 4001, we sent 4002");
    pair_free(&pair);
}

static void a_client_gives_up_before_it_is_open(void) {
    struct pair pair;
    dari_handler_t client = side_handler(&pair.client);
    memset(&pair, 0, sizeof pair);
    pair_listen(&pair, NULL, &client);
    pair.client.conn = pair_connect(&pair, NULL, &client, "/");
    CHECK(dari_conn_close(pair.loop, pair.client.conn, 1000, NULL) == DARI_OK);
    ENDS(pair.loop, &pair.client, .cause = DARI_CAUSE_LOCAL, .by = DARI_BY_US, .code = 1006,
         .text = "before it was open");
    pair_free(&pair);
}

static void we_drop_it(void) {
    struct pair pair;
    int fd = stranger_open(&pair, NULL);
    CHECK(dari_conn_abort(pair.loop, pair.server.conn) == DARI_OK);
    ENDS(pair.loop, &pair.server, .cause = DARI_CAUSE_ABORT, .by = DARI_BY_US, .code = 1006, .opened = 1);
    close(fd);
    pair_free(&pair);
}

static void the_loop_shuts_down_and_the_peer_answers(void) {
    struct pair pair;
    int fd = stranger_open(&pair, NULL);
    CHECK(dari_loop_shutdown(pair.loop, 0, CHECK_DEADLINE_MS, NULL, NULL) == DARI_OK);
    turn_a_few(pair.loop);
    RAW_BYTES(fd, CLOSE_4000);
    ENDS(pair.loop, &pair.server, .cause = DARI_CAUSE_SHUTDOWN, .by = DARI_BY_US, .code = 4000, .sent = 1001,
         .clean = 1, .opened = 1, .reason = "bye", .text = "code 4000 \"bye\", we sent 1001");
    close(fd);
    pair_free(&pair);
}

static void the_loop_shuts_down_and_the_peer_does_not_answer(void) {
    struct pair pair;
    int fd = stranger_open(&pair, NULL);
    CHECK(dari_loop_shutdown(pair.loop, 0, 50, NULL, NULL) == DARI_OK);
    ENDS(pair.loop, &pair.server, .cause = DARI_CAUSE_SHUTDOWN, .by = DARI_BY_US, .code = 1006, .sent = 1001,
         .opened = 1, .text = "we sent 1001");
    close(fd);
    pair_free(&pair);
}

static void the_host_takes_the_descriptor(void) {
    struct pair pair;
    char rest[16];
    size_t len = 1;
    int32_t theirs = -1;
    int fd = stranger_open(&pair, NULL);
    CHECK(dari_conn_release(pair.loop, pair.server.conn, &theirs, rest, sizeof rest, &len) == DARI_OK);
    CHECK(theirs >= 0 && len == 0);
    ENDS(pair.loop, &pair.server, .cause = DARI_CAUSE_RELEASED, .by = DARI_BY_US, .clean = 1, .opened = 1);
    /* Nobody has said a word on it, and it is there to be used. */
    CHECK(recv(fd, rest, sizeof rest, MSG_DONTWAIT) < 0 && errno == EAGAIN);
    RAW_BYTES(fd, "hi");
    CHECK(recv(theirs, rest, sizeof rest, 0) == 2);
    close(theirs);
    CHECK(recv(fd, rest, sizeof rest, 0) == 0);
    close(fd);
    pair_free(&pair);
}

/* ----------------------------------------------------------------- The network */

static void the_stream_ends_without_a_close_frame(void) {
    struct pair pair;
    int fd = stranger_open(&pair, NULL);
    RAW_BYTES(fd, "\x81\x82\0\0\0\0hi\x81\x82\0\0\0\0hi");
    close(fd);
    ENDS(pair.loop, &pair.server, .cause = DARI_CAUSE_EOF, .by = DARI_BY_PEER, .code = 1006, .opened = 1);
    /* What came whole was delivered first. */
    CHECK(strcmp(pair.server.heard, "ommec") == 0);
    pair_free(&pair);
}

static void the_stream_ends_within_a_frame(void) {
    struct pair pair;
    int fd = stranger_open(&pair, NULL);
    RAW_BYTES(fd, "\x81\x82\0\0\0\0h");
    shutdown(fd, SHUT_WR);
    ENDS(pair.loop, &pair.server, .cause = DARI_CAUSE_EOF, .by = DARI_BY_PEER, .code = 1006, .opened = 1);
    close(fd);
    pair_free(&pair);
}

static void the_peer_resets(void) {
    struct pair pair;
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    int fd = stranger_open(&pair, NULL);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
    close(fd);
    ENDS(pair.loop, &pair.server, .cause = DARI_CAUSE_RESET, .by = DARI_BY_NETWORK, .code = 1006,
         .opened = 1, .os_error = ECONNRESET, .text = strerror(ECONNRESET));
    pair_free(&pair);
}

/* The descriptor of this process at the other end of `fd`. */
static int other_end(int fd) {
    struct sockaddr_in here, peer;
    for (int other = 3; other < 1024; other++) {
        socklen_t len = sizeof here, size = sizeof peer;
        if (getsockname(fd, (struct sockaddr *)&here, &len) < 0 ||
            getpeername(other, (struct sockaddr *)&peer, &size) < 0)
            continue;
        if (peer.sin_family == AF_INET && peer.sin_port == here.sin_port && other != fd) return other;
    }
    return -1;
}

/* Any other error of the network. This one comes without a network that loses packets: the peer leaves no
 * room, and the kernel is told, behind dari's back, not to wait for that. */
static void the_system_gives_the_connection_up(void) {
    struct pair pair;
    const unsigned patience_ms = 100;
    int fd = stranger_open(&pair, NULL), theirs = other_end(fd);
    CHECK(setsockopt(theirs, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience_ms, sizeof patience_ms) == 0);
    stranger_stuff(&pair, pair.server.conn, 1);
    ENDS(pair.loop, &pair.server, .cause = DARI_CAUSE_SYSTEM, .by = DARI_BY_NETWORK, .code = 1006,
         .opened = 1, .os_error = ETIMEDOUT, .text = strerror(ETIMEDOUT), .unsent = 1);
    close(fd);
    pair_free(&pair);
}

/* ------------------------------------------------------ What the peer does wrong */

/* It breaks its rule, and then it answers our Close frame or does not. */
static void breaks(const struct breach *breach, int answers) {
    struct pair pair;
    dari_listen_t how = {.struct_size = sizeof how};
    dari_limits_t limits = breach->limits;
    dari_handler_t server = side_handler(&pair.server);
    struct end end = breach->end;
    int before = check_failures, fd;
    char hello[1024], answer[1024];
    limits.struct_size = sizeof limits;
    how.limits = &limits;
    memset(&pair, 0, sizeof pair);
    pair_listen(&pair, &how, &server);
    fd = raw_connect(pair.port);
    snprintf(hello, sizeof hello, "%.*s%s\r\n", (int)strlen(RAW_UPGRADE) - 2, RAW_UPGRADE, breach->offer);
    raw_send(fd, hello);
    raw_read_until(pair.loop, fd, answer, sizeof answer, "\r\n\r\n");
    raw_bytes(fd, breach->bytes, breach->len);
    TURN_UNTIL(pair.loop, dari_conn_state(pair.loop, pair.server.conn) != DARI_STATE_OPEN);
    if (answers) RAW_BYTES(fd, CLOSE_4000);
    shutdown(fd, SHUT_WR);
    end.by = DARI_BY_US;
    end.opened = 1;
    end.code = answers ? 4000 : 1006;
    end.reason = answers ? "bye" : NULL;
    end.offset += strlen(hello);
    ends_as(__FILE__, __LINE__, pair.loop, &pair.server, &end);
    if (check_failures > before) fprintf(stderr, "    that was \"%s\"\n", breach->name);
    close(fd);
    pair_free(&pair);
}

static void each_broken_rule_is_named_with_its_place(void) {
    for (size_t i = 0; i < sizeof BREACHES / sizeof *BREACHES; i++) breaks(&BREACHES[i], 0);
}

static void and_so_it_is_if_the_peer_answers(void) {
    for (size_t i = 0; i < sizeof BREACHES / sizeof *BREACHES; i++)
        if (!BREACHES[i].mute) breaks(&BREACHES[i], 1);
}

/* Says something long in pieces, each of which is read before the next one is said. Returns its length. */
static size_t say_long(struct pair *pair, int fd, const char *bytes, size_t len) {
    for (size_t at = 0; at < len; at += 16 << 10) {
        raw_bytes(fd, bytes + at, len - at < 16 << 10 ? len - at : 16 << 10);
        CHECK(dari_loop_turn(pair->loop, 1) == DARI_OK);
    }
    return len;
}

/* Requests, long messages, fragments and pings, in many reads and in one: the place counts from the first byte. */
static void the_place_counts_from_the_first_byte_of_all(void) {
    enum { LONG = 300000, HEAD = 14, BAD = 250001 };
    static char message[HEAD + LONG] = "\x81\xff\0\0\0\0\0\x04\x93\xe0";
    static const char get[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    static const char more[] = PING "\x01\x82\0\0\0\0ab" PING "\x80\x81\0\0\0\0c" PING;
    for (int is_text = 0; is_text < 2; is_text++) {
        struct pair pair;
        struct end end = {.cause = DARI_CAUSE_PROTOCOL, .by = DARI_BY_US, .code = 1006, .sent = 1002, .opened = 1,
                          .rule = "RFC 6455 5.1"};
        dari_handler_t server = side_handler(&pair.server);
        char answer[1024], place[32];
        size_t len = sizeof get - 1 + strlen(RAW_UPGRADE);
        int fd;
        memset(&pair, 0, sizeof pair);
        pair_listen(&pair, NULL, &server);
        fd = raw_connect(pair.port);
        raw_send(fd, get);
        raw_read_until(pair.loop, fd, answer, sizeof answer, "\r\n\r\n");
        raw_send(fd, RAW_UPGRADE);
        raw_read_until(pair.loop, fd, answer, sizeof answer, "HTTP/1.1 101 ");
        memset(message + HEAD, 'x', LONG);
        for (int i = 0; i < 3; i++) len += say_long(&pair, fd, message, sizeof message);
        TURN_UNTIL(pair.loop, strcmp(pair.server.heard, "ommm") == 0);
        RAW_BYTES(fd, more);
        len += sizeof more - 1;
        if (is_text) {
            message[HEAD + BAD] = '\xff';
            end.cause = DARI_CAUSE_UTF8;
            end.sent = 1007;
            end.rule = "RFC 6455 8.1";
            end.offset = len + HEAD + BAD;
            say_long(&pair, fd, message, sizeof message);
        } else {
            end.offset = len;
            RAW_BYTES(fd, "\x81\x02ho");
        }
        TURN_UNTIL(pair.loop, dari_conn_state(pair.loop, pair.server.conn) != DARI_STATE_OPEN);
        shutdown(fd, SHUT_WR);
        snprintf(place, sizeof place, "at byte %llu", (unsigned long long)end.offset);
        end.text = place;
        ends_as(__FILE__, __LINE__, pair.loop, &pair.server, &end);
        CHECK(strncmp(pair.server.heard, "ommmm", 5) == 0);
        close(fd);
        pair_free(&pair);
    }
}

/* A message of 160 KiB, where there is room for 64: it is closed in the middle, and then ends its message and answers. */
static void uses_up(int answers) {
    static const char part[32 << 10];
    const dari_loop_config_t config = {.struct_size = sizeof config, .max_memory = 64 << 10};
    struct pair pair;
    dari_handler_t server = side_handler(&pair.server);
    int fd;
    memset(&pair, 0, sizeof pair);
    CHECK(dari_loop_new(&config, &pair.loop) == DARI_OK);
    CHECK(dari_loop_listen(pair.loop, "127.0.0.1:0", NULL, &server, &pair.listener) == DARI_OK);
    pair.port = dari_listener_port(pair.loop, pair.listener);
    fd = stranger_join(&pair);
    RAW_BYTES(fd, "\x82\xff\0\0\0\0\0\x02\x80\0\0\0\0\0");
    for (int i = 0; i < 4; i++) raw_bytes(fd, part, sizeof part);
    TURN_UNTIL(pair.loop, dari_conn_state(pair.loop, pair.server.conn) != DARI_STATE_OPEN);
    if (answers) raw_bytes(fd, part, sizeof part);
    if (answers) RAW_BYTES(fd, CLOSE_4000);
    shutdown(fd, SHUT_WR);
    TURN_UNTIL(pair.loop, side_heard(&pair.server, 'c'));
    CHECK(pair.server.close.met > 0);
    ENDS(pair.loop, &pair.server, .cause = DARI_CAUSE_MEMORY, .by = DARI_BY_US, .sent = 1013,
         .code = answers ? 4000 : 1006, .reason = answers ? "bye" : NULL,
         .opened = 1, .limit = config.max_memory, .met = pair.server.close.met,
         .offset = pair.server.close.offset, .rule = pair.server.rule[0] != '\0' ? "memory" : NULL,
         .text = "limit 65536");
    close(fd);
    pair_free(&pair);
}

static void the_memory_is_used_up(void) {
    uses_up(0);
    uses_up(1);
}

/* --------------------------------------------------------------- What takes long */

static void the_peer_takes_nothing_of_what_is_queued(void) {
    struct pair pair;
    const dari_limits_t limits = {.struct_size = sizeof limits, .stall_ms = 100, .idle_ms = DARI_NEVER};
    int fd = stranger_open(&pair, &limits);
    long begin = check_now_ms();
    stranger_stuff(&pair, pair.server.conn, 1);
    TURN_UNTIL(pair.loop, side_heard(&pair.server, 'c'));
    CHECK(check_now_ms() - begin < 5000);
    ENDS(pair.loop, &pair.server, .cause = DARI_CAUSE_SLOW_PEER, .by = DARI_BY_US, .code = 1006, .opened = 1,
         .limit = 100, .met = 100, .unsent = 1, .text = "(100 ms)");
    close(fd);
    pair_free(&pair);
}

static void hold_request(void *user, dari_loop_t *loop, dari_conn_t conn) {
    (void)loop;
    side_hear(user, 'u', conn);
}

static void a_server_s_handshake_takes_too_long(void) {
    struct pair pair;
    const dari_limits_t limits = {.struct_size = sizeof limits, .handshake_ms = 50};
    const dari_listen_t how = {.struct_size = sizeof how, .limits = &limits};
    dari_handler_t server = side_handler(&pair.server);
    int fd;
    server.upgrade = hold_request;
    memset(&pair, 0, sizeof pair);
    pair_listen(&pair, &how, &server);
    fd = raw_connect(pair.port);
    raw_send(fd, RAW_UPGRADE);
    ENDS(pair.loop, &pair.server, .cause = DARI_CAUSE_HANDSHAKE_TIMEOUT, .by = DARI_BY_US, .code = 1006,
         .limit = 50, .met = 50, .text = "(50 ms)");
    close(fd);
    pair_free(&pair);
}

static void the_peer_is_silent(void) {
    struct pair pair;
    const dari_limits_t limits = {.struct_size = sizeof limits, .idle_ms = 50};
    int fd = stranger_open(&pair, &limits);
    ENDS(pair.loop, &pair.server, .cause = DARI_CAUSE_IDLE_TIMEOUT, .by = DARI_BY_US, .code = 1006,
         .sent = 1001, .opened = 1, .limit = 50, .met = 50, .text = "(50 ms)");
    close(fd);
    pair_free(&pair);
}

static void the_peer_does_not_answer_our_close(void) {
    struct pair pair;
    const dari_limits_t limits = {.struct_size = sizeof limits, .close_ms = 50};
    int fd = stranger_open(&pair, &limits);
    CHECK(dari_conn_close(pair.loop, pair.server.conn, 1000, "bye") == DARI_OK);
    ENDS(pair.loop, &pair.server, .cause = DARI_CAUSE_CLOSE_TIMEOUT, .by = DARI_BY_US, .code = 1006,
         .sent = 1000, .opened = 1, .limit = 50, .met = 50, .text = "(50 ms)");
    close(fd);
    pair_free(&pair);
}

/* ---------------------------------------------------------- Dials that do not open */

static void nobody_is_there(void) {
    struct pair pair;
    dari_handler_t client = side_handler(&pair.client);
    int fd;
    memset(&pair, 0, sizeof pair);
    CHECK(dari_loop_new(NULL, &pair.loop) == DARI_OK);
    fd = stranger_listens(&pair.port);
    close(fd);
    pair_connect(&pair, NULL, &client, "/");
    ENDS(pair.loop, &pair.client, .cause = DARI_CAUSE_CONNECT, .by = DARI_BY_NETWORK, .code = 1006,
         .os_error = ECONNREFUSED, .text = strerror(ECONNREFUSED));
    pair_free(&pair);
}

static dari_tls_t *trust_nobody(void) {
    char path[] = "/tmp/dari-causes-XXXXXX";
    dari_tls_t *tls;
    int file = mkstemp(path);
    CHECK(file >= 0 && write(file, CA, sizeof CA - 1) == (ssize_t)sizeof CA - 1);
    CHECK(dari_tls_client_new(path, NULL, NULL, &tls) == DARI_OK);
    close(file);
    unlink(path);
    return tls;
}

static void a_server_answers_something_else(void) {
    dari_tls_t *tls = trust_nobody();
    for (size_t i = 0; i < sizeof ANSWERS / sizeof *ANSWERS; i++) {
        const struct answer *answer = &ANSWERS[i];
        struct pair pair;
        dari_limits_t limits = answer->limits;
        dari_connect_t how = {.struct_size = sizeof how, .limits = &limits, .tls = tls};
        dari_handler_t client = side_handler(&pair.client);
        struct end end = answer->end;
        int before = check_failures, listener, fd;
        char asked[4096], url[64], proxy[64];
        size_t len = 0;
        limits.struct_size = sizeof limits;
        memset(&pair, 0, sizeof pair);
        CHECK(dari_loop_new(NULL, &pair.loop) == DARI_OK);
        listener = stranger_listens(&pair.port);
        snprintf(url, sizeof url, "%s://127.0.0.1:%u/", answer->way == TLS ? "wss" : "ws", (unsigned)pair.port);
        snprintf(proxy, sizeof proxy, "http://127.0.0.1:%u", (unsigned)pair.port);
        if (answer->way == PROXY) how.proxy = proxy;
        CHECK(dari_loop_connect(pair.loop, url, &how, &client, NULL) == DARI_OK);
        fd = accept(listener, NULL, NULL);
        if (answer->way != EARLY) TURN_UNTIL(pair.loop, (raw_take(fd, asked, sizeof asked, &len), len > 0));
        if (answer->text != NULL) raw_bytes(fd, answer->text, answer->len);
        if (answer->text != NULL) shutdown(fd, SHUT_WR);
        end.code = 1006;
        ends_as(__FILE__, __LINE__, pair.loop, &pair.client, &end);
        if (check_failures > before) fprintf(stderr, "    that was \"%s\"\n", answer->name);
        close(fd);
        close(listener);
        pair_free(&pair);
    }
    dari_tls_free(tls);
}

static void nobody_knows_the_name(void) {
    struct pair pair;
    dari_handler_t client = side_handler(&pair.client);
    memset(&pair, 0, sizeof pair);
    CHECK(dari_loop_new(NULL, &pair.loop) == DARI_OK);
    CHECK(dari_loop_connect(pair.loop, "ws://no-such-name.invalid/", NULL, &client, NULL) == DARI_OK);
    ENDS(pair.loop, &pair.client, .cause = DARI_CAUSE_DNS, .by = DARI_BY_NETWORK, .code = 1006,
         .text = "no-such-name.invalid");
    pair_free(&pair);
}

/* How many bytes a client is sent before the first frame. */
static size_t length_of_welcome(void) {
    struct pair pair;
    dari_handler_t server = side_handler(&pair.server);
    char answer[1024];
    size_t len;
    int fd;
    memset(&pair, 0, sizeof pair);
    pair_listen(&pair, NULL, &server);
    fd = raw_connect(pair.port);
    raw_send(fd, RAW_UPGRADE);
    len = raw_read_until(pair.loop, fd, answer, sizeof answer, "\r\n\r\n");
    close(fd);
    pair_free(&pair);
    return len;
}

static void a_server_masks_its_frames(void) {
    const size_t head = length_of_welcome();
    struct pair pair;
    size_t len;
    int32_t fd;
    pair_open(&pair, NULL, NULL);
    CHECK(dari_conn_release(pair.loop, pair.server.conn, &fd, NULL, 0, &len) == DARI_OK);
    RAW_BYTES(fd, "\x81\x02hi\x81\x82\0\0\0\0ho");
    TURN_UNTIL(pair.loop, dari_conn_state(pair.loop, pair.client.conn) != DARI_STATE_OPEN);
    shutdown(fd, SHUT_WR);
    ENDS(pair.loop, &pair.client, .cause = DARI_CAUSE_PROTOCOL, .by = DARI_BY_US, .code = 1006, .sent = 1002,
         .opened = 1, .offset = head + 4, .rule = "RFC 6455 5.1", .text = "does not mask");
    close(fd);
    pair_free(&pair);
}

/* Comes last: fails if it is run alone. */
static void every_cause_is_reached(void) {
    for (uint32_t cause = 0; cause < CAUSES; cause++) {
        int exists = strcmp(dari_cause_text(cause), dari_cause_text(UINT32_MAX)) != 0;
        if (ends_seen[cause] == exists) continue;
        fprintf(stderr, "cause %u (%s) was %s\n", (unsigned)cause, dari_cause_text(cause),
                exists ? "reached by no test" : "told, and has no text");
        check_failures++;
    }
}

int main(int argc, char **argv) {
    static const struct check_test tests[] = {
        TEST(the_peer_closes_with_a_code),
        TEST(the_peer_closes_without_a_code),
        TEST(the_peer_closes_and_ends_its_stream_in_one_go),
        TEST(we_close_with_a_code),
        TEST(we_close_without_a_code),
        TEST(both_close_at_once),
        TEST(a_client_gives_up_before_it_is_open),
        TEST(we_drop_it),
        TEST(the_loop_shuts_down_and_the_peer_answers),
        TEST(the_loop_shuts_down_and_the_peer_does_not_answer),
        TEST(the_host_takes_the_descriptor),
        TEST(the_stream_ends_without_a_close_frame),
        TEST(the_stream_ends_within_a_frame),
        TEST(the_peer_resets),
        TEST(the_system_gives_the_connection_up),
        TEST(each_broken_rule_is_named_with_its_place),
        TEST(and_so_it_is_if_the_peer_answers),
        TEST(the_place_counts_from_the_first_byte_of_all),
        TEST(the_memory_is_used_up),
        TEST(the_peer_takes_nothing_of_what_is_queued),
        TEST(a_server_s_handshake_takes_too_long),
        TEST(the_peer_is_silent),
        TEST(the_peer_does_not_answer_our_close),
        TEST(nobody_is_there),
        TEST(a_server_answers_something_else),
        TEST(nobody_knows_the_name),
        TEST(a_server_masks_its_frames),
        TEST(every_cause_is_reached),
    };
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
