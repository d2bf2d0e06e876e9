// Says hello to an echo over TLS, and prints what comes back.
//
//     ./wss_client wss://example.org/ [--ca FILE]
//
// The server's certificate has to be for the URL's name, and from someone whom
// the system trusts, or the certificates in FILE. Exit status: 0 after a clean
// close, 1 otherwise.
#include <dari.h>
#include <stdio.h>
#include <string.h>

static const char HELLO[] = "hello";

static void on_open(void *user, dari_loop_t *loop, dari_conn_t conn) {
    (void)user;
    fprintf(stderr, "open: its certificate has %zu bytes\n", dari_conn_certificate(loop, conn).len);
    dari_conn_send(loop, conn, DARI_TEXT, HELLO, strlen(HELLO));
}

static void on_message(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
    int as_sent = message->len == strlen(HELLO) && memcmp(message->data, HELLO, message->len) == 0;
    (void)user;
    puts(as_sent ? HELLO : "something else"); // Which could steer the terminal.
    dari_conn_close(loop, conn, 1000, NULL);
}

// Says what was wrong with the certificate, too.
static void on_close(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_close_t *why) {
    int *clean = user;
    (void)conn;
    *clean = why->was_clean;
    fprintf(stderr, "close: %.*s\n", (int)why->text.len, why->text.data);
    dari_loop_stop(loop);
}

static int failed(void) {
    fprintf(stderr, "wss_client: %s\n", dari_last_error());
    return 1;
}

int main(int argc, char **argv) {
    int clean = 0;
    dari_handler_t handler = {.struct_size = sizeof handler, .user = &clean, .open = on_open,
                              .message = on_message, .close = on_close};
    dari_connect_t how = {.struct_size = sizeof how};
    dari_tls_t *tls = NULL;
    dari_loop_t *loop;

    if (argc != 2 && (argc != 4 || strcmp(argv[2], "--ca") != 0)) {
        fprintf(stderr, "usage: wss_client URL [--ca FILE]\n");
        return 2;
    }
    if (argc == 4 && dari_tls_client_new(argv[3], NULL, NULL, &tls) < 0) return failed();
    how.tls = tls; // NULL: whom the system trusts.
    if (dari_loop_new(NULL, &loop) < 0 || dari_loop_connect(loop, argv[1], &how, &handler, NULL) < 0 ||
        dari_loop_run(loop) < 0) return failed();
    dari_loop_free(loop);
    dari_tls_free(tls);
    return clean ? 0 : 1;
}
