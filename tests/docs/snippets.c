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
