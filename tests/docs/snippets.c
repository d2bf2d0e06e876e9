// What docs/ shows and no example does. check.sh compiles it, and looks that
// the articles say the same.
#include <dari.h>
#include <stdlib.h>
#include <string.h>

void on_http(void *user, dari_loop_t *loop, dari_conn_t conn);
dari_status_t publish_from_anywhere(const dari_remote_t *remote, const char *text);

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
static void publish(void *user, dari_loop_t *loop) {
    static const dari_conn_t nobody = {0};
    char *text = user;
    dari_loop_publish(loop, "news", nobody, DARI_TEXT, text, strlen(text));
    free(text);
}

// On any thread.
dari_status_t publish_from_anywhere(const dari_remote_t *remote, const char *text) {
    char *copy = malloc(strlen(text) + 1);
    dari_status_t status;
    if (copy == NULL) return DARI_ERR_MEMORY;
    strcpy(copy, text);
    status = dari_remote_call(remote, publish, free, copy);
    if (status < 0) free(copy); // Nobody else will.
    return status;
}
