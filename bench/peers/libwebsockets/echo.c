// Echo, or broadcast, with libwebsockets.
//
//     echo [--broadcast] [--deflate | --takeover] [--cert FILE --key FILE] [--many]
//
// As its documents have it: what came is queued, and written when the library
// says that the connection is writable, for as long as its pipe is not choked.
// Text is not checked for UTF-8, which the library leaves off. It polls, which
// is the fastest up to some thousand connections; for more, --many, it has libuv.
#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct message {
    struct message *next;
    size_t len;
    enum lws_write_protocol kind;
    unsigned char data[]; // LWS_PRE bytes of the library's, then the payload.
};

struct session {
    struct message *first, **end;
    struct lws *wsi;
    struct session *next, **place;
};

static int broadcast;
static struct session *everybody;

static int queue(struct session *session, const void *data, size_t len, enum lws_write_protocol kind) {
    struct message *message = malloc(sizeof *message + LWS_PRE + len);
    if (message == NULL) return -1;
    message->next = NULL;
    message->len = len;
    message->kind = kind;
    memcpy(message->data + LWS_PRE, data, len);
    *session->end = message;
    session->end = &message->next;
    lws_callback_on_writable(session->wsi);
    return 0;
}

static void drop_first(struct session *session) {
    struct message *message = session->first;
    session->first = message->next;
    if (session->first == NULL) session->end = &session->first;
    free(message);
}

static int received(struct lws *wsi, struct session *session, void *in, size_t len) {
    int kind = lws_frame_is_binary(wsi) ? LWS_WRITE_BINARY : LWS_WRITE_TEXT;
    enum lws_write_protocol flags = (enum lws_write_protocol)lws_write_ws_flags(
        kind, lws_is_first_fragment(wsi), lws_is_final_fragment(wsi));
    if (!broadcast) return queue(session, in, len, flags);
    for (struct session *other = everybody; other != NULL; other = other->next)
        if (queue(other, in, len, flags) < 0) return -1;
    return 0;
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len) {
    struct session *session = user;
    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
        session->end = &session->first;
        session->wsi = wsi;
        session->next = everybody;
        session->place = &everybody;
        if (everybody != NULL) everybody->place = &session->next;
        everybody = session;
        return 0;
    case LWS_CALLBACK_RECEIVE:
        return received(wsi, session, in, len);
    case LWS_CALLBACK_SERVER_WRITEABLE:
        while (session->first != NULL) {
            struct message *message = session->first;
            if (lws_write(wsi, message->data + LWS_PRE, message->len, message->kind) < 0) return -1;
            drop_first(session);
            if (session->first != NULL && lws_send_pipe_choked(wsi)) {
                lws_callback_on_writable(wsi);
                break;
            }
        }
        return 0;
    case LWS_CALLBACK_CLOSED:
        while (session->first != NULL) drop_first(session);
        if (session->place != NULL) *session->place = session->next;
        if (session->next != NULL) session->next->place = session->place;
        return 0;
    default:
        return 0;
    }
}

int main(int argc, char **argv) {
    // Pieces as long as what is read at a time.
    static struct lws_protocols protocols[] = {
        {"echo", callback, sizeof(struct session), 0, 0, NULL, 0},
        {NULL, NULL, 0, 0, 0, NULL, 0},
    };
    static const struct lws_extension deflate[] = {
        {"permessage-deflate", lws_extension_callback_pm_deflate, "permessage-deflate"},
        {NULL, NULL, NULL},
    };
    struct lws_context_creation_info info = {0};
    struct lws_context *context;
    struct lws_vhost *vhost;

    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (strcmp(word, "--broadcast") == 0) broadcast = 1;
        else if (strcmp(word, "--deflate") == 0 || strcmp(word, "--takeover") == 0) info.extensions = deflate;
        else if (strcmp(word, "--cert") == 0 && i + 1 < argc) info.ssl_cert_filepath = argv[++i];
        else if (strcmp(word, "--key") == 0 && i + 1 < argc) info.ssl_private_key_filepath = argv[++i];
        else if (strcmp(word, "--many") == 0) info.options |= LWS_SERVER_OPTION_LIBUV;
        else return fprintf(stderr, "echo: unknown option %s\n", word), 2;
    }
    lws_set_log_level(LLL_ERR, NULL);
    info.iface = "127.0.0.1";
    info.protocols = protocols;
    info.pt_serv_buf_size = 256 << 10;
    info.options |= LWS_SERVER_OPTION_EXPLICIT_VHOSTS;
    if (info.ssl_cert_filepath != NULL) info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
    context = lws_create_context(&info);
    if (context == NULL) return 1;
    vhost = lws_create_vhost(context, &info);
    if (vhost == NULL) return 1;
    printf("listening on %d (libwebsockets %s)\n", lws_get_vhost_listen_port(vhost), lws_get_library_version());
    fflush(stdout);
    while (lws_service(context, 0) >= 0) {
    }
    lws_context_destroy(context);
    return 0;
}
