// A client that says back what it hears, for suites to run against servers.
//
//     echo_client URL [--protocol P]... [--header 'Name: value']... [--deflate]
//                     [--ca FILE] [--cert FILE --key FILE] [--name NAME]
//                     [--proxy URL] [--retry MS] [--max-message N] [--timeout MS]
//
// Prints one line an event, with control characters as \xNN:
//
//     open PROTOCOL                          or - if none was agreed on
//     message text|binary LENGTH
//     error LINE
//     close CODE clean|unclean CAUSE LINE    the cause as in DARI_CAUSE_*
//     retry ATTEMPT MS                       it goes on; only with --retry
//     refused LINE                           the call itself, nothing follows
//
// Exit status: 0 after the last close, 2 if the call was refused, 1 for anything
// else.
#include "options.h"
#include <dari.h>

enum { MOST = 32 }; // Of protocols, and of headers.

struct options {
    const char *protocols[MOST + 1];
    size_t protocol_count;
    dari_header_t headers[MOST];
    size_t header_count;
    dari_limits_t limits;
    dari_connect_t how;
    const char *ca, *cert, *key;
};

static int set_protocol(void *user, char *value) {
    struct options *options = user;
    if (options->protocol_count == MOST) return -1;
    options->protocols[options->protocol_count++] = value;
    return 0;
}

static int set_header(void *user, char *value) {
    struct options *options = user;
    char *colon = strchr(value, ':');
    if (options->header_count == MOST || colon == NULL) return -1;
    *colon = '\0';
    options->headers[options->header_count++] = (dari_header_t){value, colon + 1 + strspn(colon + 1, " ")};
    return 0;
}

// Every message, however short, with context takeover: what suites look for.
static int set_deflate(void *user, char *value) {
    struct options *options = user;
    (void)value;
    options->limits.deflate = DARI_DEFLATE_TAKEOVER;
    options->limits.deflate_min = 1;
    return 0;
}

static int set_max_message(void *user, char *value) {
    struct options *options = user;
    return option_number(value, &options->limits.max_message);
}

static int set_timeout(void *user, char *value) {
    struct options *options = user;
    size_t ms;
    if (option_number(value, &ms) < 0 || ms > UINT32_MAX) return -1;
    options->limits.handshake_ms = (uint32_t)ms;
    return 0;
}

static int set_ca(void *user, char *value) {
    struct options *options = user;
    options->ca = value;
    return 0;
}

static int set_cert(void *user, char *value) {
    struct options *options = user;
    options->cert = value;
    return 0;
}

static int set_key(void *user, char *value) {
    struct options *options = user;
    options->key = value;
    return 0;
}

static int set_name(void *user, char *value) {
    struct options *options = user;
    options->how.tls_name = value;
    return 0;
}

static int set_proxy(void *user, char *value) {
    struct options *options = user;
    options->how.proxy = value;
    return 0;
}

static int set_retry(void *user, char *value) {
    struct options *options = user;
    size_t ms;
    if (option_number(value, &ms) < 0 || ms > UINT32_MAX) return -1;
    options->how.retry_ms = (uint32_t)ms;
    return 0;
}

static const struct option TABLE[] = {
    {"--protocol", "P", "a subprotocol to offer; once for each", set_protocol},
    {"--header", "'NAME: VALUE'", "one more line for the request; once for each", set_header},
    {"--deflate", NULL, "offer compression, with context takeover, of whatever is sent", set_deflate},
    {"--ca", "FILE", "whom to trust: certificates in PEM; the system's otherwise", set_ca},
    {"--cert", "FILE", "a certificate of its own, with --key", set_cert},
    {"--key", "FILE", "the key to it", set_key},
    {"--name", "NAME", "the name that the server's certificate is for, if not the URL's", set_name},
    {"--proxy", "URL", "http://..., socks5://..., or env", set_proxy},
    {"--retry", "MS", "connect again, at first after at most so long", set_retry},
    {"--max-message", "N", "refuse longer messages with 1009; 0 is the library's default", set_max_message},
    {"--timeout", "MS", "give up if it has not opened by then; 0 is the library's default", set_timeout},
};

static const struct number NUMBERS[] = {
    NUMBER(struct options, how, retry_max_ms),
    NUMBER(struct options, how, retry_count),
};

static const char *cause_name(dari_cause_t cause) {
    switch (cause) {
#define NAME(name) case DARI_CAUSE_##name: return #name
        NAME(PEER); NAME(LOCAL); NAME(SHUTDOWN); NAME(ABORT); NAME(RELEASED);
        NAME(EOF); NAME(RESET); NAME(SYSTEM);
        NAME(PROTOCOL); NAME(UTF8); NAME(TOO_BIG); NAME(LIMIT); NAME(MEMORY); NAME(SLOW_PEER);
        NAME(HANDSHAKE_TIMEOUT); NAME(IDLE_TIMEOUT); NAME(CLOSE_TIMEOUT);
        NAME(DNS); NAME(CONNECT); NAME(PROXY); NAME(TLS); NAME(REFUSED);
#undef NAME
        default: return "UNKNOWN";
    }
}

// What a peer says could end a line or steer a terminal.
static void print_line(const char *data, size_t len) {
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)data[i];
        unsigned char next = i + 1 < len ? (unsigned char)data[i + 1] : 0;
        if (c == 0xC2 && next >= 0x80 && next < 0xA0) { // U+0080 to U+009F, two bytes.
            printf("\\x%02X", (unsigned)next);
            i++;
        } else if (c < 0x20 || c == 0x7F) {
            printf("\\x%02X", (unsigned)c);
        } else {
            putchar(c);
        }
    }
    putchar('\n');
}

static void on_open(void *user, dari_loop_t *loop, dari_conn_t conn) {
    dari_str_t protocol = dari_conn_protocol(loop, conn);
    (void)user;
    printf("open ");
    print_line(protocol.data != NULL ? protocol.data : "-", protocol.data != NULL ? protocol.len : 1);
}

static void on_message(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
    (void)user;
    printf("message %s %zu\n", message->kind == DARI_TEXT ? "text" : "binary", message->len);
    if (dari_conn_send(loop, conn, message->kind, message->data, message->len) >= 0) return;
    // An echo that is missing without a word would be looked for at the server.
    fprintf(stderr, "echo_client: %s\n", dari_last_error());
    dari_conn_close(loop, conn, 1011, "not echoed");
}

static void on_error(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_close_t *why) {
    (void)user, (void)loop, (void)conn;
    printf("error ");
    print_line(why->text.data, why->text.len);
}

static void on_close(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_close_t *why) {
    (void)user, (void)conn;
    printf("close %u %s %s ", (unsigned)why->code, why->was_clean ? "clean" : "unclean", cause_name(why->cause));
    print_line(why->text.data, why->text.len);
    if (!why->will_retry) dari_loop_stop(loop);
}

static void on_retry(void *user, dari_loop_t *loop, dari_dial_t dial, uint32_t attempt, uint32_t delay_ms) {
    (void)user, (void)loop, (void)dial;
    printf("retry %u %u\n", (unsigned)attempt, (unsigned)delay_ms);
}

static int refused(void) {
    printf("refused ");
    print_line(dari_last_error(), strlen(dari_last_error()));
    return 2;
}

int main(int argc, char **argv) {
    static const struct command command = {
        "echo_client", "URL", TABLE, sizeof TABLE / sizeof *TABLE, NUMBERS, sizeof NUMBERS / sizeof *NUMBERS};
    struct options options = {.limits = {.struct_size = sizeof options.limits},
                              .how = {.struct_size = sizeof options.how}};
    dari_handler_t handler = {.struct_size = sizeof handler, .user = &options, .open = on_open, .message = on_message,
                              .error = on_error, .close = on_close, .retry = on_retry};
    const char *url = command_parse(&command, argc, argv, &options);
    dari_tls_t *tls = NULL;
    dari_loop_t *loop;
    int status = 0;

    if (url == NULL) return 1;
    options.how.limits = &options.limits;
    options.how.protocols = options.protocols;
    options.how.headers = options.headers;
    options.how.header_count = options.header_count;
    setvbuf(stdout, NULL, _IOLBF, 0); // Whoever reads along sees each event at once.
    if (dari_loop_new(NULL, &loop) < 0) {
        fprintf(stderr, "echo_client: %s\n", dari_last_error());
        return 1;
    }
    if ((options.ca != NULL || options.cert != NULL || options.key != NULL) &&
        dari_tls_client_new(options.ca, options.cert, options.key, &tls) < 0) status = refused();
    options.how.tls = tls;
    if (status == 0 && dari_loop_connect(loop, url, &options.how, &handler, NULL) < 0) status = refused();
    if (status == 0 && dari_loop_run(loop) < 0) status = 1;
    dari_loop_free(loop);
    dari_tls_free(tls);
    return status;
}
