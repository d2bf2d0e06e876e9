// What docs/ shows and no example does. check.sh compiles it, and looks that
// the articles say the same.
#include <dari.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void on_http(void *user, dari_loop_t *loop, dari_conn_t conn);
struct wish {
    dari_conn_t conn;
    char topic[64];
};

dari_status_t subscribe_from_anywhere(const dari_remote_t *remote, const struct wish *wish);
dari_status_t listen_compressed(dari_loop_t *loop, const dari_handler_t *handler);
void send_file(void *user, dari_loop_t *loop, dari_conn_t conn);
void print_stats(dari_loop_t *loop);
dari_status_t connect_and_stay(dari_loop_t *loop, const dari_handler_t *handler, dari_conn_t *conn);
dari_status_t listen_encrypted(dari_loop_t *loop, const dari_handler_t *handler, dari_tls_t **tls);
void reload(void *user, dari_loop_t *loop);

void on_http(void *user, dari_loop_t *loop, dari_conn_t conn) {
    static const dari_header_t json = {"Content-Type", "application/json"};
    dari_str_t target = dari_request_target(loop, conn);
    (void)user;
    if (target.len == 7 && memcmp(target.data, "/health", 7) == 0)
        dari_conn_respond(loop, conn, 200, &json, 1, "{\"ok\":true}", 11);
    else
        dari_conn_respond(loop, conn, 404, NULL, 0, NULL, 0);
}

// On the loop's thread.
static void subscribe(void *user, dari_loop_t *loop) {
    struct wish *wish = user;
    dari_conn_subscribe(loop, wish->conn, wish->topic); // Or it has gone meanwhile.
    free(wish);
}

// On any thread.
dari_status_t subscribe_from_anywhere(const dari_remote_t *remote, const struct wish *wish) {
    struct wish *copy = malloc(sizeof *copy);
    dari_status_t status;
    if (copy == NULL) return DARI_ERR_MEMORY;
    *copy = *wish;
    status = dari_remote_call(remote, subscribe, free, copy);
    if (status < 0) free(copy); // Nobody else will.
    return status;
}

dari_status_t listen_compressed(dari_loop_t *loop, const dari_handler_t *handler) {
    const dari_limits_t limits = {.struct_size = sizeof limits, .deflate = DARI_DEFLATE};
    const dari_listen_t how = {.struct_size = sizeof how, .limits = &limits};
    return dari_loop_listen(loop, "127.0.0.1:9001", &how, handler, NULL);
}

void send_file(void *user, dari_loop_t *loop, dari_conn_t conn) {
    FILE **file = user;
    char block[65536];
    dari_status_t status = DARI_OK;
    while (*file != NULL && status == DARI_OK) {
        size_t len = fread(block, 1, sizeof block, *file);
        status = dari_conn_send_part(loop, conn, DARI_BINARY, block, len, len < sizeof block);
        if (len == sizeof block) continue;
        fclose(*file);
        *file = NULL;
    }
}

void print_stats(dari_loop_t *loop) {
    dari_stats_t stats = {.struct_size = sizeof stats};
    if (dari_loop_stats(loop, &stats) < 0) return;
    printf("%llu open, %llu reset\n", (unsigned long long)stats.open, (unsigned long long)stats.closes[DARI_CAUSE_RESET]);
}

dari_status_t connect_and_stay(dari_loop_t *loop, const dari_handler_t *handler, dari_conn_t *conn) {
    static const char *const protocols[] = {"chat.v2", "chat.v1", NULL};
    const dari_connect_t how = {.struct_size = sizeof how, .protocols = protocols, .retry_ms = 1000};
    return dari_loop_connect(loop, "wss://me:secret@chat.example/rooms?id=1", &how, handler, conn);
}

dari_status_t listen_encrypted(dari_loop_t *loop, const dari_handler_t *handler, dari_tls_t **tls) {
    dari_listen_t how = {.struct_size = sizeof how};
    dari_status_t status = dari_tls_server_new("/etc/chat/chain.pem", "/etc/chat/key.pem", tls);
    if (status < 0) return status; // dari_last_error() names the file, and says what is wrong with it.
    how.tls = *tls;
    return dari_loop_listen(loop, "0.0.0.0:443", &how, handler, NULL);
}

// A call of dari_remote_call, or of a timer.
void reload(void *user, dari_loop_t *loop) {
    (void)loop;
    if (dari_tls_reload(user) < 0) fprintf(stderr, "the old certificate stays: %s\n", dari_last_error());
}
