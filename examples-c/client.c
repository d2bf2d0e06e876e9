// A small interactive client: type a line, see what comes.
//
//     ./client ws://127.0.0.1:9001/
//
// What the server says goes to stdout, how the connection fares to stderr. The
// end of the input (Ctrl-D) closes with 1000, Ctrl-C with 1001. Exit status: 0
// after a clean close, 1 otherwise. What comes from outside never reaches the
// terminal raw.
#define _POSIX_C_SOURCE 200809L
#include <ctype.h>
#include <dari.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct client {
    dari_conn_t conn;
    dari_watch_t input; // stdin, while it is read.
    int reading;
    int ended; // No more input.
    int closed;
    int clean;
    size_t len;
    char line[65536];
};

static dari_remote_t *remote;

static void on_signal(int number) {
    (void)number;
    dari_remote_stop(remote);
}

// Control characters could steer the terminal: shown as \xNN.
static void print(FILE *out, const char *data, size_t len) {
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)data[i];
        unsigned char next = i + 1 < len ? (unsigned char)data[i + 1] : 0;
        if (c == 0xC2 && next >= 0x80 && next < 0xA0) { // U+0080 to U+009F, two bytes.
            fprintf(out, "\\x%02X", next);
            i++;
        } else if (iscntrl(c) && c != '\n' && c != '\t') {
            fprintf(out, "\\x%02X", c);
        } else {
            putc(c, out);
        }
    }
}

static void stop_reading(struct client *client, dari_loop_t *loop) {
    if (!client->reading) return;
    dari_watch_cancel(loop, client->input);
    client->reading = 0;
}

static void pump(struct client *client, dari_loop_t *loop);

static void read_input(struct client *client, dari_loop_t *loop) {
    ssize_t n = read(STDIN_FILENO, client->line + client->len, sizeof client->line - client->len);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (n > 0) client->len += (size_t)n;
    else client->ended = 1;
    pump(client, loop);
}

static void on_readable(void *user, dari_loop_t *loop, dari_watch_t watch, uint32_t events) {
    (void)watch, (void)events;
    read_input(user, loop);
}

static void start_reading(struct client *client, dari_loop_t *loop) {
    if (client->reading) return;
    if (dari_watch_new(loop, STDIN_FILENO, DARI_WATCH_READ, on_readable, client, &client->input) >= 0) client->reading = 1;
    else fprintf(stderr, "client: %s\n", dari_last_error());
}

// Sends the lines at the front of the buffer, one message each, until the peer
// is slow (DARI_BUFFERED): then the rest waits for `drain`, and so does stdin.
// A line that fills the whole buffer is sent in pieces.
static void pump(struct client *client, dari_loop_t *loop) {
    dari_status_t status = DARI_OK;
    size_t sent = 0;
    while (status != DARI_BUFFERED && sent < client->len) {
        const char *from = client->line + sent;
        size_t left = client->len - sent;
        const char *end = memchr(from, '\n', left);
        size_t len = end != NULL ? (size_t)(end - from) : left;
        if (end == NULL && !client->ended && left < sizeof client->line) break;
        status = dari_conn_send(loop, client->conn, DARI_TEXT, from, len);
        if (status < 0) fprintf(stderr, "not sent: %s\n", dari_last_error());
        sent += len + (end != NULL);
    }
    client->len -= sent;
    memmove(client->line, client->line + sent, client->len);

    if (status == DARI_BUFFERED || client->ended) stop_reading(client, loop);
    else start_reading(client, loop);
    // Answers may be on their way. The answer to a ping comes behind them all.
    if (client->ended && client->len == 0) dari_conn_ping(loop, client->conn, NULL, 0);
}

static void on_pong(void *user, dari_loop_t *loop, dari_conn_t conn, const void *data, size_t len) {
    const struct client *client = user;
    (void)data, (void)len;
    if (client->ended && client->len == 0) dari_conn_close(loop, conn, 1000, "end of input");
}

// Only now is there somebody to send to: until here stdin waits unread.
static void on_open(void *user, dari_loop_t *loop, dari_conn_t conn) {
    dari_str_t protocol = dari_conn_protocol(loop, conn);
    fprintf(stderr, "open%s%.*s\n", protocol.len > 0 ? ": " : "", (int)protocol.len, protocol.data);
    start_reading(user, loop);
}

static void on_message(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
    (void)user, (void)loop, (void)conn;
    if (message->kind == DARI_TEXT) print(stdout, message->data, message->len);
    else printf("(%zu bytes of binary)", message->len);
    putchar('\n');
    fflush(stdout);
}

static void on_drain(void *user, dari_loop_t *loop, dari_conn_t conn) {
    (void)conn;
    pump(user, loop);
}

static void on_close(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_close_t *why) {
    struct client *client = user;
    (void)conn;
    fprintf(stderr, "close: %u \"", (unsigned)why->code);
    print(stderr, why->reason.data, why->reason.len);
    fprintf(stderr, "\" (%s): ", why->was_clean ? "clean" : "not clean");
    print(stderr, why->text.data, why->text.len);
    putc('\n', stderr);
    client->closed = 1;
    client->clean = why->was_clean;
    stop_reading(client, loop);
    dari_loop_stop(loop);
}

int main(int argc, char **argv) {
    static struct client client;
    const char *url = argc > 1 ? argv[1] : "ws://127.0.0.1:9001/";
    dari_handler_t handler = {.struct_size = sizeof handler, .user = &client, .open = on_open,
                              .message = on_message, .drain = on_drain, .close = on_close,
                              .pong = on_pong};
    dari_loop_t *loop;

    if (dari_loop_new(NULL, &loop) < 0 || dari_remote_new(loop, &remote) < 0 ||
        dari_loop_connect(loop, url, NULL, &handler, &client.conn) < 0) {
        fprintf(stderr, "client: %s\n", dari_last_error());
        return 1;
    }
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    dari_loop_run(loop);
    // After Ctrl-C: says so, and waits for the answer. A second one does not.
    if (!client.closed && dari_conn_close(loop, client.conn, 1001, "interrupted") >= 0) dari_loop_run(loop);
    dari_loop_free(loop);
    dari_remote_free(remote);
    return client.clean ? 0 : 1;
}
