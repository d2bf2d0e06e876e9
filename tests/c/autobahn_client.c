// The client that the fuzzing server of the Autobahn suite tests: it asks how
// many cases there are, says back what it hears in each, and has the report
// written. Compression is always offered; the server decides about it.
//
//     autobahn_client URL AGENT
//
// Exit status: 0 if every case was run, however it ended, 1 if one was not.
#include <dari.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct run {
    const char *url, *agent;
    unsigned long cases; // 0 until the server has told.
    unsigned long next;  // 0 asks how many, then the cases, then the report.
    dari_handler_t handler;
    int done;
};

static int fail(const struct run *run, const char *why, size_t len) {
    fprintf(stderr, "autobahn_client: step %lu of %lu: %.*s\n", run->next, run->cases, (int)len, why);
    return 1;
}

// Connects for what comes next. After the report there is nothing more.
static void go_on(struct run *run, dari_loop_t *loop) {
    static const dari_limits_t limits = {
        .struct_size = sizeof limits, .deflate = DARI_DEFLATE_TAKEOVER, .deflate_min = 1};
    static const dari_connect_t how = {.struct_size = sizeof how, .limits = &limits};
    char url[1024];

    if (run->next == 0)
        snprintf(url, sizeof url, "%s/getCaseCount", run->url);
    else if (run->next <= run->cases)
        snprintf(url, sizeof url, "%s/runCase?case=%lu&agent=%s", run->url, run->next, run->agent);
    else
        snprintf(url, sizeof url, "%s/updateReports?agent=%s", run->url, run->agent);
    if (dari_loop_connect(loop, url, &how, &run->handler, NULL) < 0) {
        fail(run, dari_last_error(), strlen(dari_last_error()));
        dari_loop_stop(loop);
    }
}

static void on_message(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
    struct run *run = user;
    char text[16];
    if (run->next == 0) {
        snprintf(text, sizeof text, "%.*s", (int)message->len, message->data);
        run->cases = strtoul(text, NULL, 10);
    } else {
        dari_conn_send(loop, conn, message->kind, message->data, message->len);
    }
}

// How a case ends is for the server to judge; that it began is not.
static void on_close(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_close_t *why) {
    struct run *run = user;
    (void)conn;
    if (!why->opened || run->cases == 0) {
        fail(run, why->text.data, why->text.len);
        dari_loop_stop(loop);
    } else if (run->next > run->cases) {
        run->done = 1;
        dari_loop_stop(loop);
    } else {
        run->next++;
        go_on(run, loop);
    }
}

int main(int argc, char **argv) {
    struct run run = {.handler = {.struct_size = sizeof run.handler, .user = &run,
                                  .message = on_message, .close = on_close}};
    dari_loop_t *loop;

    if (argc != 3) {
        fprintf(stderr, "usage: autobahn_client URL AGENT\n");
        return 2;
    }
    run.url = argv[1];
    run.agent = argv[2];
    if (dari_loop_new(NULL, &loop) < 0) return fail(&run, dari_last_error(), strlen(dari_last_error()));
    go_on(&run, loop);
    // A stop before the loop runs is kept for it.
    dari_loop_run(loop);
    dari_loop_free(loop);
    return run.done ? 0 : 1;
}
