/* Text in every place where text may stand: what is taken, and what is refused whatever it would do. */
#include "guard.h"
#include "pair.h"
#include <stdlib.h>

/* A loop with one upgrade and one open connection that wait for what comes next. */
static struct {
    struct pair pair;
    dari_conn_t asked, open;
} desk;

static void desk_upgrade(void *user, dari_loop_t *loop, dari_conn_t conn) {
    (void)user;
    if (desk.open.id == 0)
        CHECK(dari_conn_accept(loop, desk.open = conn, NULL, NULL, 0) == DARI_OK);
    else
        desk.asked = conn;
}

static int32_t listen_on(const char *address, const dari_listen_t *how) {
    const dari_handler_t quiet = {.struct_size = sizeof quiet};
    dari_listener_t listener = {0};
    int32_t got = dari_loop_listen(desk.pair.loop, address, how, &quiet, &listener);
    CHECK((got == DARI_OK) == (listener.id != 0));
    if (got == DARI_OK) CHECK(dari_listener_close(desk.pair.loop, listener) == DARI_OK);
    return got;
}

static int32_t connect_to(const char *url, const dari_connect_t *how) {
    const dari_handler_t quiet = {.struct_size = sizeof quiet};
    dari_conn_t conn = {0};
    int32_t got = dari_loop_connect(desk.pair.loop, url, how, &quiet, &conn);
    CHECK((got == DARI_OK) == (conn.id != 0));
    if (got == DARI_OK) CHECK(dari_conn_abort(desk.pair.loop, conn) == DARI_OK);
    return got;
}

static int32_t as_address(const char *text) {
    return listen_on(text, NULL);
}

static int32_t as_unix(const char *text) {
    char *address = malloc(strlen(text) + 64);
    int32_t got;
    sprintf(address, "unix:@dari-%ld-%s", (long)getpid(), text);
    got = listen_on(guard_text(address), NULL);
    free(address);
    return got;
}

static int32_t as_url(const char *text) {
    return connect_to(text, NULL);
}

static int32_t in_url(const char *front, const char *text, const char *back) {
    char *url = malloc(strlen(text) + 64);
    int32_t got;
    sprintf(url, "%s%s%s", front, text, back);
    got = connect_to(guard_text(url), NULL);
    free(url);
    return got;
}

static int32_t as_path(const char *text) {
    return in_url("ws://127.0.0.1:1/", text, "");
}

static int32_t as_host(const char *text) {
    return in_url("ws://", text, "/");
}

static int32_t as_port(const char *text) {
    return in_url("ws://127.0.0.1:", text, "/");
}

static int32_t as_offer(const char *text) {
    const char *list[] = {text, NULL};
    const dari_connect_t how = {.struct_size = sizeof how, .protocols = list};
    return connect_to("ws://127.0.0.1:1/", &how);
}

static int32_t as_origin(const char *text) {
    const dari_connect_t how = {.struct_size = sizeof how, .origin = text};
    return connect_to("ws://127.0.0.1:1/", &how);
}

static int32_t as_header_name(const char *text) {
    const dari_header_t header = {text, "value"};
    const dari_connect_t how = {.struct_size = sizeof how, .headers = &header, .header_count = 1};
    int32_t got = connect_to("ws://127.0.0.1:1/", &how);
    if (got < 0) {
        CHECK(dari_conn_accept(desk.pair.loop, desk.asked, NULL, &header, 1) == got);
        CHECK(dari_conn_respond(desk.pair.loop, desk.asked, 200, &header, 1, NULL, 0) == got);
        CHECK(dari_conn_respond_begin(desk.pair.loop, desk.asked, 200, &header, 1) == got);
    }
    return got;
}

static int32_t as_header_value(const char *text) {
    const dari_header_t header = {"X-Name", text};
    const dari_connect_t how = {.struct_size = sizeof how, .headers = &header, .header_count = 1};
    int32_t got = connect_to("ws://127.0.0.1:1/", &how);
    if (got < 0) {
        CHECK(dari_conn_accept(desk.pair.loop, desk.asked, NULL, &header, 1) == got);
        CHECK(dari_conn_respond(desk.pair.loop, desk.asked, 200, &header, 1, NULL, 0) == got);
        CHECK(dari_conn_respond_begin(desk.pair.loop, desk.asked, 200, &header, 1) == got);
    }
    return got;
}

static int32_t as_agreed(const char *text) {
    return dari_conn_accept(desk.pair.loop, desk.asked, text, NULL, 0);
}

static int32_t as_spoken(const char *text) {
    const char *list[] = {text, NULL};
    const dari_listen_t how = {.struct_size = sizeof how, .protocols = list};
    return listen_on("127.0.0.1:0", &how);
}

static int32_t as_allowed(const char *text) {
    const char *list[] = {text, NULL};
    const dari_listen_t how = {.struct_size = sizeof how, .origins = list};
    return listen_on("127.0.0.1:0", &how);
}

static int32_t as_folder(const char *text) {
    const dari_listen_t how = {.struct_size = sizeof how, .folder = text};
    return listen_on("127.0.0.1:0", &how);
}

static int32_t as_proxy(const char *text) {
    const dari_connect_t how = {.struct_size = sizeof how, .proxy = text};
    return connect_to("ws://127.0.0.1:1/", &how);
}

static int32_t as_tls_name(const char *text) {
    const dari_connect_t how = {.struct_size = sizeof how, .tls_name = text};
    return connect_to("ws://127.0.0.1:1/", &how);
}

static int32_t as_trusted(const char *text) {
    const char *list[] = {text, NULL};
    const dari_listen_t how = {.struct_size = sizeof how, .trusted_proxies = list};
    return listen_on("127.0.0.1:0", &how);
}

static int32_t as_certificate(const char *text) {
    dari_tls_t *tls = NULL;
    int32_t got = dari_tls_server_new(text, text, &tls);
    CHECK((got == DARI_OK) == (tls != NULL));
    CHECK(dari_tls_client_new(text, NULL, NULL, &tls) == got && tls == NULL);
    CHECK(dari_tls_server_new_pem(text, strlen(text), text, strlen(text), &tls) < 0 && tls == NULL);
    return got;
}

static int32_t as_reason(const char *text) {
    return dari_conn_close(desk.pair.loop, desk.asked, 1000, text);
}

static int32_t as_topic(const char *text) {
    return dari_conn_subscribe(desk.pair.loop, desk.open, text);
}

static int32_t as_message(const char *text) {
    return dari_conn_send(desk.pair.loop, desk.open, DARI_TEXT, text, strlen(text));
}

static void text_is_taken_or_refused_whatever_is_in_it(void) {
    enum { LONG_TEXT = 1 << 20 };
    static char mebibyte[LONG_TEXT + 1];
    static const char *const texts[] = {"a\r\nX-Smuggled: 1", "a\nb", "a\rb", "a\x01", "a\x7f", "a b", "a\xff",
                                        "\xc0\x80", "\xed\xa0\x80", "다리", "", mebibyte};
    static const struct {
        const char *name;
        int32_t (*call)(const char *text);
        /* One letter a text: . done, a ARGUMENT, s SYSTEM or TLS, x STATE. */
        const char *answers;
    } uses[] = {
        {"address", as_address, "aaaaaaaaaaaa"},
        {"unix", as_unix, "......aaa..a"},
        {"url", as_url, "aaaaaaaaaaaa"},
        {"path", as_path, "aaaaaaaaaa.."},
        {"host", as_host, "aaaaaaaaaaaa"},
        {"port", as_port, "aaaaaaaaaa.a"},
        {"offer", as_offer, "aaaaaaaaaaa."},
        {"origin", as_origin, "aaaaa.aaa..."},
        {"header name", as_header_name, "aaaaaaaaaaa."},
        {"header value", as_header_value, "aaaaa.aaa..."},
        {"agreed", as_agreed, "aaaaaaaaaaaa"},
        {"spoken", as_spoken, "aaaaaaaaaaa."},
        {"allowed", as_allowed, "......aaa..."},
        {"folder", as_folder, "ssssssssssss"},
        {"proxy", as_proxy, "aaaaaaaaaaaa"},
        {"tls name", as_tls_name, "......aaa..."},
        {"trusted", as_trusted, "aaaaaaaaaaaa"},
        {"certificate", as_certificate, "ssssssssssss"},
        {"reason", as_reason, "xxxxxxaaaxxx"},
        {"topic", as_topic, "......aaa.aa"},
        {"message", as_message, "......aaa..."},
    };
    dari_handler_t server = side_handler(&desk.pair.server), client = side_handler(&desk.pair.client);
    memset(mebibyte, 'a', LONG_TEXT);
    memset(&desk, 0, sizeof desk);
    server.upgrade = desk_upgrade;
    pair_listen(&desk.pair, NULL, &server);
    pair_connect(&desk.pair, NULL, &client, "/");
    TURN_UNTIL(desk.pair.loop, desk.open.id != 0);
    pair_connect(&desk.pair, NULL, &client, "/");
    TURN_UNTIL(desk.pair.loop, desk.asked.id != 0);
    for (size_t use = 0; use < sizeof uses / sizeof uses[0]; use++) {
        char answers[16] = {0};
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
            int32_t got = uses[use].call(guard_text(texts[i]));
            answers[i] = got >= 0                                           ? '.'
                         : got == DARI_ERR_ARGUMENT                         ? 'a'
                         : got == DARI_ERR_SYSTEM || got == DARI_ERR_TLS ? 's'
                         : got == DARI_ERR_STATE                            ? 'x'
                                                                            : '?';
        }
        if (strcmp(answers, uses[use].answers) != 0) {
            fprintf(stderr, "%s: \"%s\", and not \"%s\"\n", uses[use].name, answers, uses[use].answers);
            CHECK(0);
        }
    }
    CHECK_ERROR(dari_conn_close(desk.pair.loop, desk.open, 1000, mebibyte), DARI_ERR_TOO_BIG, "1048576");
    /* Nothing of that has changed anything. */
    CHECK(dari_conn_state(desk.pair.loop, desk.open) == DARI_STATE_OPEN);
    CHECK(dari_conn_state(desk.pair.loop, desk.asked) == DARI_STATE_CONNECTING);
    CHECK(dari_conn_accept(desk.pair.loop, desk.asked, NULL, NULL, 0) == DARI_OK);
    pair_free(&desk.pair);
}

int main(int argc, char **argv) {
    static const struct check_test tests[] = {
        TEST(text_is_taken_or_refused_whatever_is_in_it),
    };
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
