/* HTTP on the same port: requests, answers whole and in pieces, and upgrades that wait. */
#include "pair.h"
#include "raw.h"
#include <stdlib.h>
#include <sys/stat.h>

/* What a server does, and what it has seen. */
struct site {
    int requests, closes, opens;
    char method[16], target[64], body[64], second[64];
    dari_conn_t conn;
    uint16_t status;
    uint8_t opened;
};

static void site_close(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_close_t *why) {
    struct site *site = user;
    (void)loop, (void)conn;
    site->closes++;
    site->opened = why->opened;
    site->status = why->status;
}

static void site_open(void *user, dari_loop_t *loop, dari_conn_t conn) {
    (void)loop, (void)conn;
    ((struct site *)user)->opens++;
}

/* Notes the request, and answers with its target. */
static void site_http(void *user, dari_loop_t *loop, dari_conn_t conn) {
    static const dari_header_t headers[] = {{"Content-Type", "text/plain"}, {"X-Test", "1"}};
    struct site *site = user;
    dari_str_t target = dari_request_target(loop, conn);
    site->requests++;
    side_text(site->method, sizeof site->method, dari_request_method(loop, conn));
    side_text(site->target, sizeof site->target, target);
    side_text(site->body, sizeof site->body, dari_request_body(loop, conn));
    side_text(site->second, sizeof site->second, dari_request_header(loop, conn, "x-many", 1));
    CHECK(dari_request_header(loop, conn, "X-MANY", 2).data == NULL);
    CHECK(dari_request_header(loop, conn, "x-absent", 0).data == NULL);
    CHECK(dari_conn_respond(loop, conn, 200, headers, 2, target.data, target.len) == DARI_OK);
    CHECK_ERROR(dari_conn_respond(loop, conn, 200, NULL, 0, NULL, 0), DARI_ERR_STATE, "");
    CHECK(dari_request_target(loop, conn).data == NULL);
}

static dari_handler_t site_handler(struct site *site) {
    dari_handler_t handler;
    memset(&handler, 0, sizeof handler);
    handler.struct_size = sizeof handler;
    handler.user = site;
    handler.open = site_open;
    handler.close = site_close;
    handler.http = site_http;
    return handler;
}

/* A server with these hooks, and a socket that is connected to it. */
static int site_start(struct pair *pair, const dari_listen_t *how, const dari_handler_t *handler) {
    memset(pair, 0, sizeof *pair);
    pair_listen(pair, how, handler);
    return raw_connect(pair->port);
}

static const char *body_of(const char *answer) {
    const char *end = strstr(answer, "\r\n\r\n");
    return end != NULL ? end + 4 : "";
}

static void requests_are_seen_whole_and_the_connection_is_kept(void) {
    struct pair pair;
    struct site site = {0};
    const dari_handler_t handler = site_handler(&site);
    char answer[2048];
    int fd = site_start(&pair, NULL, &handler);
    raw_send(fd, "GET /a?b=1 HTTP/1.1\r\nHost: h\r\nX-Many: 1\r\nx-many: 2\r\n\r\n");
    raw_read_until(pair.loop, fd, answer, sizeof answer, "/a?b=1");
    CHECK(strncmp(answer, "HTTP/1.1 200 ", 13) == 0);
    CHECK(strstr(answer, "Content-Type: text/plain\r\n") != NULL);
    CHECK(strstr(answer, "X-Test: 1\r\n") != NULL);
    CHECK(strstr(answer, "Content-Length: 6\r\n") != NULL);
    CHECK(strcmp(site.method, "GET") == 0 && strcmp(site.target, "/a?b=1") == 0);
    CHECK(strcmp(site.second, "2") == 0 && strcmp(site.body, "") == 0);
    /* The same connection, with a body now, in two ways. */
    raw_send(fd, "POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
    raw_read_until(pair.loop, fd, answer, sizeof answer, "\r\n\r\n/b");
    CHECK(strcmp(site.method, "POST") == 0 && strcmp(site.body, "hello") == 0);
    raw_send(fd, "PUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    raw_read_until(pair.loop, fd, answer, sizeof answer, "\r\n\r\n/c");
    CHECK(strcmp(site.method, "PUT") == 0 && strcmp(site.body, "abcde") == 0);
    CHECK(site.requests == 3);
    /* Until one says that it is the last. */
    raw_send(fd, "GET /d HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    raw_read_all(pair.loop, fd, answer, sizeof answer);
    CHECK(strcmp(body_of(answer), "/d") == 0);
    close(fd);
    TURN_UNTIL(pair.loop, site.closes > 0);
    CHECK(site.opened == 0 && site.opens == 0);
    pair_free(&pair);
}

static void head_gets_the_length_and_no_body(void) {
    struct pair pair;
    struct site site = {0};
    const dari_handler_t handler = site_handler(&site);
    char answer[2048];
    int fd = site_start(&pair, NULL, &handler);
    raw_send(fd, "HEAD /head HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    raw_read_all(pair.loop, fd, answer, sizeof answer);
    CHECK(strncmp(answer, "HTTP/1.1 200 ", 13) == 0);
    CHECK(strstr(answer, "Content-Length: 5\r\n") != NULL);
    CHECK(strcmp(body_of(answer), "") == 0);
    close(fd);
    pair_free(&pair);
}

static void no_hook_answers_426(void) {
    struct pair pair;
    const dari_handler_t handler = {.struct_size = sizeof handler};
    char answer[2048];
    int fd = site_start(&pair, NULL, &handler);
    raw_send(fd, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    raw_read_until(pair.loop, fd, answer, sizeof answer, "\r\n\r\n");
    CHECK(strncmp(answer, "HTTP/1.1 426 ", 13) == 0);
    close(fd);
    pair_free(&pair);
}

static void pieces_http(void *user, dari_loop_t *loop, dari_conn_t conn) {
    (void)user;
    CHECK_ERROR(dari_conn_respond_piece(loop, conn, "x", 1), DARI_ERR_STATE, "");
    CHECK(dari_conn_respond_begin(loop, conn, 200, NULL, 0) == DARI_OK);
    CHECK(dari_conn_respond_piece(loop, conn, "first ", 6) == DARI_OK);
    ((struct site *)user)->conn = conn;
}

static void finish(void *user, dari_loop_t *loop, dari_timer_t timer) {
    struct site *site = user;
    (void)timer;
    CHECK(dari_conn_respond_piece(loop, site->conn, "second", 6) == DARI_OK);
    CHECK(dari_conn_respond_piece(loop, site->conn, NULL, 0) == DARI_OK);
    CHECK_ERROR(dari_conn_respond_piece(loop, site->conn, "x", 1), DARI_ERR_STATE, "");
}

static void answers_can_come_in_pieces(void) {
    struct pair pair;
    struct site site = {0};
    dari_handler_t handler = site_handler(&site);
    char answer[2048];
    int fd;
    handler.http = pieces_http;
    fd = site_start(&pair, NULL, &handler);
    raw_send(fd, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    raw_read_until(pair.loop, fd, answer, sizeof answer, "6\r\nfirst \r\n");
    CHECK(strstr(answer, "Transfer-Encoding: chunked\r\n") != NULL);
    CHECK(dari_timer_new(pair.loop, 1, 0, finish, &site, NULL) == DARI_OK);
    raw_read_until(pair.loop, fd, answer, sizeof answer, "6\r\nsecond\r\n0\r\n\r\n");
    close(fd);
    pair_free(&pair);
}

static void smuggle(void *user, dari_loop_t *loop, dari_conn_t conn) {
    static const dari_header_t bad[] = {
        {"X-A", "1\r\nX-B: 2"}, {"X-A", "1\nX-B: 2"}, {"X-A", "1\r"}, {"X-A\r\nX-B", "1"},
        {"X A", "1"},           {"", "1"},            {"X-A:", "1"},  {"X-A", "\x01"}};
    struct site *site = user;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_ERROR(dari_conn_respond(loop, conn, 200, &bad[i], 1, NULL, 0), DARI_ERR_ARGUMENT, "");
        CHECK_ERROR(dari_conn_respond_begin(loop, conn, 200, &bad[i], 1), DARI_ERR_ARGUMENT, "");
        if (site->requests > 0)
            CHECK_ERROR(dari_conn_accept(loop, conn, NULL, &bad[i], 1), DARI_ERR_ARGUMENT, "");
    }
    CHECK_ERROR(dari_conn_respond(loop, conn, 99, NULL, 0, NULL, 0), DARI_ERR_ARGUMENT, "99");
    CHECK_ERROR(dari_conn_respond(loop, conn, 101, NULL, 0, NULL, 0), DARI_ERR_ARGUMENT, "101");
    CHECK_ERROR(dari_conn_respond(loop, conn, 1000, NULL, 0, NULL, 0), DARI_ERR_ARGUMENT, "1000");
    if (site->requests == 0) {
        CHECK_ERROR(dari_conn_accept(loop, conn, NULL, NULL, 0), DARI_ERR_STATE, "");
    } else {
        CHECK_ERROR(dari_conn_accept(loop, conn, "not-offered", NULL, 0), DARI_ERR_ARGUMENT, "");
    }
    site->requests++;
    /* Nothing of that was an answer. */
    CHECK(dari_conn_respond(loop, conn, 204, NULL, 0, NULL, 0) == DARI_OK);
}

static void answers_can_not_smuggle_lines(void) {
    struct pair pair;
    struct site site = {0};
    dari_handler_t handler = site_handler(&site);
    char answer[2048];
    int fd;
    handler.http = smuggle;
    handler.upgrade = smuggle;
    fd = site_start(&pair, NULL, &handler);
    raw_send(fd, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    raw_read_until(pair.loop, fd, answer, sizeof answer, "\r\n\r\n");
    CHECK(strncmp(answer, "HTTP/1.1 204 ", 13) == 0 && strstr(answer, "X-B") == NULL);
    raw_send(fd, RAW_UPGRADE);
    raw_read_until(pair.loop, fd, answer, sizeof answer, "\r\n\r\n");
    CHECK(strncmp(answer, "HTTP/1.1 204 ", 13) == 0 && strstr(answer, "X-B") == NULL);
    CHECK(site.requests == 2);
    close(fd);
    pair_free(&pair);
}

static void note_upgrade(void *user, dari_loop_t *loop, dari_conn_t conn) {
    struct site *site = user;
    site->requests++;
    site->conn = conn;
    side_text(site->target, sizeof site->target, dari_request_target(loop, conn));
    CHECK(dari_conn_state(loop, conn) == DARI_STATE_CONNECTING);
    CHECK_ERROR(dari_conn_send(loop, conn, DARI_TEXT, "x", 1), DARI_ERR_STATE, "");
}

static void accept_later(void *user, dari_loop_t *loop, dari_timer_t timer) {
    static const dari_header_t header = {"X-Late", "yes"};
    struct site *site = user;
    (void)timer;
    CHECK(dari_conn_accept(loop, site->conn, NULL, &header, 1) == DARI_OK);
    CHECK_ERROR(dari_conn_accept(loop, site->conn, NULL, NULL, 0), DARI_ERR_STATE, "");
}

static void an_upgrade_can_be_answered_later(void) {
    struct pair pair;
    struct site site = {0};
    dari_handler_t handler = site_handler(&site);
    char answer[2048];
    int fd;
    handler.upgrade = note_upgrade;
    fd = site_start(&pair, NULL, &handler);
    raw_send(fd, RAW_UPGRADE);
    TURN_UNTIL(pair.loop, site.requests == 1);
    CHECK(strcmp(site.target, "/") == 0);
    turn_a_few(pair.loop);
    CHECK(site.opens == 0);
    CHECK(dari_timer_new(pair.loop, 1, 0, accept_later, &site, NULL) == DARI_OK);
    raw_read_until(pair.loop, fd, answer, sizeof answer, "\r\n\r\n");
    CHECK(strncmp(answer, "HTTP/1.1 101 ", 13) == 0 && strstr(answer, "X-Late: yes\r\n") != NULL);
    CHECK(strstr(answer, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") != NULL);
    TURN_UNTIL(pair.loop, site.opens == 1);
    close(fd);
    TURN_UNTIL(pair.loop, site.closes == 1);
    CHECK(site.opened == 1);
    pair_free(&pair);
}

static void refuse(void *user, dari_loop_t *loop, dari_conn_t conn) {
    static const dari_header_t header = {"Retry-After", "5"};
    (void)user;
    CHECK(dari_conn_respond(loop, conn, 403, &header, 1, "no\n", 3) == DARI_OK);
}

static void an_upgrade_can_be_refused(void) {
    struct pair pair;
    struct site site = {0};
    dari_handler_t handler = site_handler(&site), client;
    char answer[2048];
    int fd;
    handler.upgrade = refuse;
    fd = site_start(&pair, NULL, &handler);
    client = side_handler(&pair.client);
    raw_send(fd, RAW_UPGRADE);
    raw_read_until(pair.loop, fd, answer, sizeof answer, "no\n");
    CHECK(strncmp(answer, "HTTP/1.1 403 ", 13) == 0 && strstr(answer, "Retry-After: 5\r\n") != NULL);
    close(fd);
    TURN_UNTIL(pair.loop, site.closes == 1);
    CHECK(site.opened == 0 && site.opens == 0);
    /* And as a client of ours sees it. */
    pair_connect(&pair, NULL, &client, "/");
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'c'));
    CHECK(strcmp(pair.client.heard, "ec") == 0);
    CHECK(pair.client.close.cause == DARI_CAUSE_REFUSED && pair.client.close.status == 403);
    CHECK(pair.client.close.opened == 0);
    pair_free(&pair);
}

static void pages_from_elsewhere_are_kept_out(void) {
    static const char *const list[] = {"https://good.example", NULL}, *const all[] = {"*", NULL};
    static const struct {
        const char *const *origins;
        const char *origin;
        int opens;
    } cases[] = {{NULL, NULL, 1},        {NULL, "http://bad.example", 0},
                 {list, "https://good.example", 1}, {list, "https://bad.example", 0},
                 {all, "https://bad.example", 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pair pair;
        dari_listen_t how = {.struct_size = sizeof how, .origins = cases[i].origins};
        dari_connect_t connect = {.struct_size = sizeof connect, .origin = cases[i].origin};
        dari_handler_t server = side_handler(&pair.server), client = side_handler(&pair.client);
        memset(&pair, 0, sizeof pair);
        pair_listen(&pair, &how, &server);
        pair_connect(&pair, &connect, &client, "/");
        TURN_UNTIL(pair.loop, pair.client.count > 0);
        CHECK(side_heard(&pair.client, 'o') == cases[i].opens);
        if (!cases[i].opens) {
            TURN_UNTIL(pair.loop, side_heard(&pair.client, 'c'));
            CHECK(pair.client.close.status == 403);
        }
        pair_free(&pair);
    }
}

static void a_folder_is_served_before_the_hook_is_asked(void) {
    struct pair pair;
    struct site site = {0};
    const dari_handler_t handler = site_handler(&site);
    char folder[] = "/tmp/dari-http-XXXXXX", file[64], answer[2048];
    dari_listen_t how = {.struct_size = sizeof how};
    FILE *page;
    int fd;
    CHECK(mkdtemp(folder) != NULL);
    snprintf(file, sizeof file, "%s/page.html", folder);
    page = fopen(file, "w");
    CHECK(page != NULL && fputs("<p>다리</p>", page) >= 0 && fclose(page) == 0);
    how.folder = folder;
    fd = site_start(&pair, &how, &handler);
    raw_send(fd, "GET /page.html HTTP/1.1\r\nHost: h\r\n\r\n");
    raw_read_until(pair.loop, fd, answer, sizeof answer, "</p>");
    CHECK(strncmp(answer, "HTTP/1.1 200 ", 13) == 0 && strstr(answer, "text/html") != NULL);
    CHECK(site.requests == 0);
    raw_send(fd, "GET /other HTTP/1.1\r\nHost: h\r\n\r\n");
    raw_read_until(pair.loop, fd, answer, sizeof answer, "/other");
    CHECK(site.requests == 1);
    close(fd);
    pair_free(&pair);
    unlink(file);
    rmdir(folder);
}

int main(int argc, char **argv) {
    static const struct check_test tests[] = {
        TEST(requests_are_seen_whole_and_the_connection_is_kept),
        TEST(head_gets_the_length_and_no_body),
        TEST(no_hook_answers_426),
        TEST(answers_can_come_in_pieces),
        TEST(answers_can_not_smuggle_lines),
        TEST(an_upgrade_can_be_answered_later),
        TEST(an_upgrade_can_be_refused),
        TEST(pages_from_elsewhere_are_kept_out),
        TEST(a_folder_is_served_before_the_hook_is_asked),
    };
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
