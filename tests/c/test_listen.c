/* Where a server listens, and what is left when it does no more. */
#include "pair.h"
#include "raw.h"
#include <stddef.h>
#include <stdlib.h>
#include <sys/un.h>

static void ipv6_has_ports_and_peers(void) {
    struct pair pair;
    dari_handler_t server = side_handler(&pair.server), client = side_handler(&pair.client);
    char url[64], peer[64];
    memset(&pair, 0, sizeof pair);
    CHECK(dari_loop_new(NULL, &pair.loop) == DARI_OK);
    CHECK(dari_loop_listen(pair.loop, "[::1]:0", NULL, &server, &pair.listener) == DARI_OK);
    snprintf(url, sizeof url, "ws://[::1]:%u/",
             (unsigned)dari_listener_port(pair.loop, pair.listener));
    CHECK(dari_loop_connect(pair.loop, url, NULL, &client, NULL) == DARI_OK);
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'o') && side_heard(&pair.server, 'o'));
    CHECK(dari_conn_peer(pair.loop, pair.server.conn, peer, sizeof peer, NULL) == DARI_OK);
    CHECK(strncmp(peer, "[::1]:", 6) == 0);
    pair_free(&pair);
}

static void localhost_is_a_name_that_is_known(void) {
    struct pair pair;
    dari_handler_t server = side_handler(&pair.server), client = side_handler(&pair.client);
    char url[64];
    memset(&pair, 0, sizeof pair);
    pair_listen(&pair, NULL, &server);
    snprintf(url, sizeof url, "ws://localhost:%u/", (unsigned)pair.port);
    CHECK(dari_loop_connect(pair.loop, url, NULL, &client, NULL) == DARI_OK);
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'o'));
    pair_free(&pair);
}

/* Connects to a path, or to the name behind an '@', and shakes hands. */
static void unix_handshake(dari_loop_t *loop, const char *where) {
    struct sockaddr_un to;
    char answer[1024];
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    memset(&to, 0, sizeof to);
    to.sun_family = AF_UNIX;
    memcpy(to.sun_path, where, strlen(where));
    if (where[0] == '@') to.sun_path[0] = '\0';
    CHECK(connect(fd, (const struct sockaddr *)&to,
                  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(where))) == 0);
    raw_send(fd, RAW_UPGRADE);
    raw_read_until(loop, fd, answer, sizeof answer, "\r\n\r\n");
    CHECK(strncmp(answer, "HTTP/1.1 101 ", 13) == 0);
    close(fd);
}

static void unix_sockets_have_paths_or_names_and_no_port(void) {
    struct pair pair;
    dari_handler_t server = side_handler(&pair.server);
    dari_listener_t listener;
    char folder[] = "/tmp/dari-listen-XXXXXX", path[64], address[80];
    CHECK(mkdtemp(folder) != NULL);
    memset(&pair, 0, sizeof pair);
    CHECK(dari_loop_new(NULL, &pair.loop) == DARI_OK);
    snprintf(path, sizeof path, "%s/socket", folder);
    snprintf(address, sizeof address, "unix:%s", path);
    CHECK(dari_loop_listen(pair.loop, address, NULL, &server, &listener) == DARI_OK);
    CHECK(dari_listener_port(pair.loop, listener) == 0);
    unix_handshake(pair.loop, path);
    snprintf(path, sizeof path, "@dari-test-%ld", (long)getpid());
    snprintf(address, sizeof address, "unix:%s", path);
    CHECK(dari_loop_listen(pair.loop, address, NULL, &server, &listener) == DARI_OK);
    unix_handshake(pair.loop, path);
    TURN_UNTIL(pair.loop, strcmp(pair.server.heard, "oecoec") == 0);
    pair_free(&pair);
    snprintf(path, sizeof path, "%s/socket", folder);
    unlink(path);
    CHECK(rmdir(folder) == 0);
}

static void connections_stay_when_their_listener_goes(void) {
    struct pair pair;
    dari_handler_t late = side_handler(&pair.client);
    pair_open(&pair, NULL, NULL);
    CHECK(dari_listener_close(pair.loop, pair.listener) == DARI_OK);
    CHECK(dari_conn_send(pair.loop, pair.client.conn, DARI_TEXT, "still", 5) == DARI_OK);
    TURN_UNTIL(pair.loop, side_heard(&pair.server, 'm'));
    CHECK(strcmp(pair.server.text, "still") == 0);
    memset(&pair.client, 0, sizeof pair.client);
    pair_connect(&pair, NULL, &late, "/");
    TURN_UNTIL(pair.loop, side_heard(&pair.client, 'c'));
    CHECK(pair.client.close.cause == DARI_CAUSE_CONNECT);
    CHECK(dari_conn_state(pair.loop, pair.server.conn) == DARI_STATE_OPEN);
    pair_free(&pair);
}

static void one_loop_has_many_listeners(void) {
    struct pair pair;
    struct side other;
    dari_handler_t second = side_handler(&other), client = side_handler(&pair.client);
    dari_listener_t listener;
    memset(&other, 0, sizeof other);
    pair_open(&pair, NULL, NULL);
    CHECK(dari_loop_listen(pair.loop, "127.0.0.1:0", NULL, &second, &listener) == DARI_OK);
    CHECK(listener.id != pair.listener.id);
    pair.port = dari_listener_port(pair.loop, listener);
    pair_connect(&pair, NULL, &client, "/");
    TURN_UNTIL(pair.loop, side_heard(&other, 'o'));
    CHECK(strcmp(pair.server.heard, "o") == 0);
    pair_free(&pair);
}

/* Each on a loop of its own, as if in a thread of its own. */
static void loops_share_a_port_if_all_of_them_say_so(void) {
    enum { LOOPS = 3, MOST = 200 };
    const dari_listen_t how = {.struct_size = sizeof how, .flags = DARI_LISTEN_REUSE_PORT};
    const dari_listen_t alone = {.struct_size = sizeof alone};
    struct side sides[LOOPS];
    dari_loop_t *loops[LOOPS];
    dari_listener_t listener;
    char address[32] = "127.0.0.1:0";
    int fds[MOST], count = 0, reached = 0;
    uint16_t port = 0;
    memset(sides, 0, sizeof sides);
    for (int i = 0; i < LOOPS; i++) {
        const dari_handler_t handler = side_handler(&sides[i]);
        CHECK(dari_loop_new(NULL, &loops[i]) == DARI_OK);
        CHECK(dari_loop_listen(loops[i], address, &how, &handler, &listener) == DARI_OK);
        port = dari_listener_port(loops[i], listener);
        snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)port);
        CHECK_ERROR(dari_loop_listen(loops[i], address, &alone, &handler, &listener), DARI_ERR_SYSTEM, address);
        CHECK_ERROR(dari_loop_listen(loops[i], "unix:@dari", &how, &handler, &listener), DARI_ERR_ARGUMENT, "port");
    }
    /* So many that they do not all get to the same ones. */
    while (reached < LOOPS && count < MOST) {
        raw_send(fds[count++] = raw_connect(port), RAW_UPGRADE);
        reached = 0;
        for (int i = 0; i < LOOPS; i++) {
            CHECK(dari_loop_turn(loops[i], 1) == DARI_OK);
            reached += side_heard(&sides[i], 'o');
        }
    }
    CHECK(reached == LOOPS);
    while (count > 0) close(fds[--count]);
    for (int i = 0; i < LOOPS; i++) CHECK(dari_loop_free(loops[i]) == DARI_OK);
}

static void a_port_that_one_has_alone_says_so(void) {
    struct pair pair;
    const dari_listen_t how = {.struct_size = sizeof how, .flags = DARI_LISTEN_REUSE_PORT};
    const dari_handler_t quiet = {.struct_size = sizeof quiet};
    char address[32];
    pair_open(&pair, NULL, NULL);
    snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)pair.port);
    CHECK_ERROR(dari_loop_listen(pair.loop, address, &how, &quiet, NULL), DARI_ERR_SYSTEM,
                "which a socket without reuse_port has, or another user's");
    pair_free(&pair);
}

int main(int argc, char **argv) {
    static const struct check_test tests[] = {
        TEST(ipv6_has_ports_and_peers),
        TEST(localhost_is_a_name_that_is_known),
        TEST(unix_sockets_have_paths_or_names_and_no_port),
        TEST(connections_stay_when_their_listener_goes),
        TEST(one_loop_has_many_listeners),
        TEST(loops_share_a_port_if_all_of_them_say_so),
        TEST(a_port_that_one_has_alone_says_so),
    };
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
