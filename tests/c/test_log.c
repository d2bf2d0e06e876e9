/* The log: what a loop tells of itself and of its peers, to whom, and that it is silent otherwise. */
#include "stranger.h"
#include <stdlib.h>

enum { LINES = 256 };

struct line {
    uint32_t level;
    dari_conn_t conn;
    char event[32], peer[64], text[512];
};

/* Everything that a log was told. */
struct journal {
    struct pair pair;
    struct line lines[LINES];
    size_t count;
    int busy_ms;
};

static void write_down(void *user, dari_loop_t *loop, const dari_log_t *line) {
    struct journal *journal = user;
    struct line *to = &journal->lines[journal->count % LINES];
    (void)loop;
    to->level = line->level;
    to->conn = line->conn;
    side_text(to->event, sizeof to->event, line->event);
    side_text(to->peer, sizeof to->peer, line->peer);
    side_text(to->text, sizeof to->text, line->text);
    CHECK(line->reserved == 0);
    journal->count++;
}

/* The first line of this event from the `from`th on, or NULL. */
static const struct line *find(const struct journal *journal, const char *event, size_t from) {
    for (size_t i = from; i < journal->count && i < LINES; i++)
        if (strcmp(journal->lines[i].event, event) == 0) return &journal->lines[i];
    return NULL;
}

static void keep_busy(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
    struct journal *journal = user;
    long end = check_now_ms() + journal->busy_ms;
    side_message(&journal->pair.server, loop, conn, message);
    while (check_now_ms() < end) continue;
}

static void note_open(void *user, dari_loop_t *loop, dari_conn_t conn) {
    side_open(&((struct journal *)user)->pair.server, loop, conn);
}

static void note_close(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_close_t *why) {
    side_close(&((struct journal *)user)->pair.server, loop, conn, why);
}

/* A loop with this log, a server on it, and a stranger, whose socket it returns. */
static int journal_open(struct journal *journal, dari_loop_config_t config) {
    const dari_handler_t server = {.struct_size = sizeof server, .user = journal, .open = note_open,
                                   .message = keep_busy, .close = note_close};
    struct pair *pair = &journal->pair;
    memset(journal, 0, sizeof *journal);
    config.struct_size = sizeof config;
    config.user = journal;
    CHECK(dari_loop_new(&config, &pair->loop) == DARI_OK);
    CHECK(dari_loop_listen(pair->loop, "127.0.0.1:0", NULL, &server, &pair->listener) == DARI_OK);
    pair->port = dari_listener_port(pair->loop, pair->listener);
    /* Nothing is told but in turns. */
    CHECK(journal->count == 0);
    return stranger_join(pair);
}

/* A short life: a message, a broken rule, the end. */
static void live(struct journal *journal, int fd) {
    RAW_BYTES(fd, "\x81\x82\0\0\0\0hi\x81\x02ho");
    TURN_UNTIL(journal->pair.loop, side_heard(&journal->pair.server, 'm'));
    shutdown(fd, SHUT_WR);
    TURN_UNTIL(journal->pair.loop, side_heard(&journal->pair.server, 'c'));
    turn_a_few(journal->pair.loop);
    close(fd);
}

static void a_life_is_told_in_order_and_with_its_fields(void) {
    static const char *const story[] = {"listen", "accept", "open", "close"};
    static struct journal journal;
    const struct line *line = NULL;
    char peer[64];
    size_t from = 0;
    int fd = journal_open(&journal, (dari_loop_config_t){.log_level = DARI_LOG_TRACE, .log = write_down});
    CHECK(dari_conn_peer(journal.pair.loop, journal.pair.server.conn, peer, sizeof peer, NULL) == DARI_OK);
    live(&journal, fd);
    for (size_t i = 0; i < sizeof story / sizeof *story; i++) {
        line = find(&journal, story[i], from);
        if (line == NULL) fprintf(stderr, "there is no line \"%s\" behind line %d\n", story[i], (int)from);
        CHECK(line != NULL);
        if (line == NULL) break;
        from = (size_t)(line - journal.lines) + 1;
    }
    /* The line of the close tells the same story as the hook. */
    if (line != NULL) {
        CHECK(line->conn.id == journal.pair.server.conn.id && strcmp(line->peer, peer) == 0);
        CHECK(strstr(line->text, journal.pair.server.story) != NULL);
        CHECK(strstr(line->text, "masks its frames") != NULL);
    }
    line = find(&journal, "listen", 0);
    CHECK(line != NULL && line->conn.id == 0 && strstr(line->text, "127.0.0.1:") != NULL);
    for (size_t i = 0; i < journal.count && i < LINES; i++) {
        line = &journal.lines[i];
        CHECK(line->level >= DARI_LOG_ERROR && line->level <= DARI_LOG_TRACE);
        CHECK(line->event[0] != '\0' && line->event[strcspn(line->event, " \n")] == '\0');
        CHECK(line->text[0] != '\0' && strchr(line->text, '\n') == NULL);
        CHECK(line->conn.id == 0 || strcmp(line->peer, peer) == 0);
    }
    pair_free(&journal.pair);
}

static void nothing_is_told_beyond_the_level(void) {
    static struct journal journals[DARI_LOG_TRACE + 1];
    size_t before = 0;
    for (uint32_t level = 0; level <= DARI_LOG_TRACE; level++) {
        struct journal *journal = &journals[level];
        int fd = journal_open(journal, (dari_loop_config_t){.log_level = level, .log = write_down});
        live(journal, fd);
        pair_free(&journal->pair);
        for (size_t i = 0; i < journal->count && i < LINES; i++) CHECK(journal->lines[i].level <= level);
        CHECK(journal->count >= before);
        before = journal->count;
    }
    CHECK(journals[0].count == 0 && journals[DARI_LOG_ERROR].count == 0);
    /* A broken rule is worth a line in a daemon's log, an ordinary day is worth few. */
    CHECK(find(&journals[DARI_LOG_WARN], "close", 0) != NULL);
    CHECK(find(&journals[DARI_LOG_INFO], "listen", 0) != NULL);
    CHECK(find(&journals[DARI_LOG_INFO], "open", 0) == NULL);
    CHECK(journals[DARI_LOG_DEBUG].count > journals[DARI_LOG_INFO].count);
}

static void a_level_that_is_none_is_refused(void) {
    const dari_loop_config_t config = {.struct_size = sizeof config, .log_level = 6, .log = write_down};
    dari_loop_t *loop;
    CHECK_ERROR(dari_loop_new(&config, &loop), DARI_ERR_ARGUMENT, "log_level");
    CHECK(loop == NULL);
    dari_loop_free(loop);
}

/* Runs a life and more with its standard output and error in a file, which has to stay empty. */
static void without_a_log_there_is_silence(void) {
    static struct journal journal;
    static const uint32_t levels[] = {0, DARI_LOG_TRACE};
    for (size_t i = 0; i < 2; i++) {
        FILE *file = tmpfile();
        int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO), before = check_failures, fd;
        long size;
        CHECK(file != NULL && out >= 0 && err >= 0);
        fflush(stdout);
        dup2(fileno(file), STDOUT_FILENO);
        dup2(fileno(file), STDERR_FILENO);
        fd = journal_open(&journal, (dari_loop_config_t){.log_level = levels[i], .slow_hook_ms = 1});
        journal.busy_ms = 5;
        live(&journal, fd);
        pair_free(&journal.pair);
        fflush(stdout);
        dup2(out, STDOUT_FILENO);
        dup2(err, STDERR_FILENO);
        close(out);
        close(err);
        size = lseek(fileno(file), 0, SEEK_END);
        if (check_failures > before) fprintf(stderr, "and that was not to be seen\n");
        CHECK(size == 0 && journal.count == 0);
        fclose(file);
    }
}

/* In a log as in any other hook everything may be called but run, turn and free. */
static void meddle(void *user, dari_loop_t *loop, const dari_log_t *line) {
    struct journal *journal = user;
    const dari_handler_t quiet = {.struct_size = sizeof quiet};
    dari_stats_t stats = {.struct_size = sizeof stats};
    dari_past_t past = {.struct_size = sizeof past};
    dari_listener_t listener;
    dari_timer_t timer;
    write_down(user, loop, line);
    CHECK_ERROR(dari_loop_turn(loop, 0), DARI_ERR_STATE, "inside a hook");
    CHECK_ERROR(dari_loop_run(loop), DARI_ERR_STATE, "inside a hook");
    CHECK_ERROR(dari_loop_free(loop), DARI_ERR_STATE, "inside a hook");
    CHECK(dari_loop_stats(loop, &stats) == DARI_OK);
    dari_loop_past(loop, 0, &past);
    CHECK(strcmp(journal->lines[(journal->count - 1) % LINES].event, "listen") == 0 || stats.accepted > 0);
    /* It must not feed itself for ever. */
    if (journal->count < 20 && dari_loop_listen(loop, "127.0.0.1:0", NULL, &quiet, &listener) == DARI_OK)
        CHECK(dari_listener_close(loop, listener) == DARI_OK);
    if (line->conn.id != 0) dari_conn_send(loop, line->conn, DARI_TEXT, "logged", 6);
    if (strcmp(journal->lines[0].event, "close") == 0) CHECK(dari_conn_abort(loop, line->conn) < 0);
    CHECK(dari_timer_new(loop, 0, 0, NULL, NULL, &timer) == DARI_ERR_ARGUMENT);
}

static void everything_may_be_called_in_a_log(void) {
    static struct journal journal;
    char got[256];
    int fd = journal_open(&journal, (dari_loop_config_t){.log_level = DARI_LOG_TRACE, .log = meddle});
    raw_read_until(journal.pair.loop, fd, got, sizeof got, "logged");
    live(&journal, fd);
    CHECK(find(&journal, "close", 0) != NULL && journal.count < LINES);
    pair_free(&journal.pair);
}

static void abort_what_is_logged(void *user, dari_loop_t *loop, const dari_log_t *line) {
    write_down(user, loop, line);
    if (line->conn.id != 0) dari_conn_abort(loop, line->conn);
}

static void a_log_may_end_what_it_is_told_of(void) {
    static struct journal journal;
    int fd;
    memset(&journal, 0, sizeof journal);
    fd = journal_open(&journal, (dari_loop_config_t){.log_level = DARI_LOG_TRACE, .log = abort_what_is_logged});
    TURN_UNTIL(journal.pair.loop, side_heard(&journal.pair.server, 'c'));
    CHECK(journal.pair.server.close.cause == DARI_CAUSE_ABORT);
    close(fd);
    pair_free(&journal.pair);
}

static void a_hook_that_takes_long_is_named(void) {
    static struct journal journal;
    dari_stats_t stats = {.struct_size = sizeof stats};
    const struct line *line;
    int fd = journal_open(&journal, (dari_loop_config_t){
        .log_level = DARI_LOG_WARN, .log = write_down, .slow_hook_ms = 10});
    CHECK(dari_loop_stats(journal.pair.loop, &stats) == DARI_OK && stats.slow_hooks == 0);
    journal.busy_ms = 30;
    RAW_BYTES(fd, "\x81\x82\0\0\0\0hi");
    TURN_UNTIL(journal.pair.loop, find(&journal, "slow_hook", 0) != NULL);
    line = find(&journal, "slow_hook", 0);
    if (line != NULL) {
        CHECK(strstr(line->text, "message") != NULL && strstr(line->text, "ms") != NULL);
        CHECK(line->conn.id == journal.pair.server.conn.id && line->level == DARI_LOG_WARN);
    }
    CHECK(dari_loop_stats(journal.pair.loop, &stats) == DARI_OK && stats.slow_hooks == 1);
    /* The others were quick. */
    journal.busy_ms = 0;
    live(&journal, fd);
    CHECK(dari_loop_stats(journal.pair.loop, &stats) == DARI_OK && stats.slow_hooks == 1);
    pair_free(&journal.pair);
}

static void dawdle(void *user, dari_loop_t *loop, dari_timer_t timer) {
    long end = check_now_ms() + *(int *)user;
    (void)loop, (void)timer;
    while (check_now_ms() < end) continue;
    *(int *)user = 0;
}

static void a_timer_that_takes_long_is_named_too_and_counted_without_a_log(void) {
    static struct journal journal;
    dari_stats_t stats = {.struct_size = sizeof stats};
    int busy_ms = 30, fd;
    fd = journal_open(&journal, (dari_loop_config_t){
        .log_level = DARI_LOG_WARN, .log = write_down, .slow_hook_ms = 10});
    CHECK(dari_timer_new(journal.pair.loop, 0, 0, dawdle, &busy_ms, NULL) == DARI_OK);
    TURN_UNTIL(journal.pair.loop, find(&journal, "slow_hook", 0) != NULL);
    CHECK(journal.count == 1 && strstr(journal.lines[0].text, "fire") != NULL);
    close(fd);
    pair_free(&journal.pair);

    fd = journal_open(&journal, (dari_loop_config_t){.slow_hook_ms = 10});
    journal.busy_ms = 30;
    RAW_BYTES(fd, "\x81\x82\0\0\0\0hi");
    TURN_UNTIL(journal.pair.loop, side_heard(&journal.pair.server, 'm'));
    CHECK(dari_loop_stats(journal.pair.loop, &stats) == DARI_OK && stats.slow_hooks == 1);
    close(fd);
    pair_free(&journal.pair);

    /* By default nobody looks at the clock. */
    fd = journal_open(&journal, (dari_loop_config_t){.log_level = DARI_LOG_WARN, .log = write_down});
    journal.busy_ms = 30;
    RAW_BYTES(fd, "\x81\x82\0\0\0\0hi");
    TURN_UNTIL(journal.pair.loop, side_heard(&journal.pair.server, 'm'));
    CHECK(dari_loop_stats(journal.pair.loop, &stats) == DARI_OK && stats.slow_hooks == 0);
    CHECK(journal.count == 0);
    close(fd);
    pair_free(&journal.pair);
}

/* ------------------------------------------------------- Everything that may take long */

static const char *const SLOW[] = {"upgrade", "http",    "open",  "message", "part", "pong", "drain", "dropped", "limited",
                                   "retry",   "error",   "close", "fire",    "ready", "call", "done",  "log"};
enum { SLOW_COUNT = sizeof SLOW / sizeof SLOW[0] };

/* Which of them have been named. */
static struct {
    int named[SLOW_COUNT];
    size_t others;
} slow;

static void busy(void) {
    long end = check_now_ms() + 3;
    while (check_now_ms() < end) continue;
}

static void slow_conn(void *user, dari_loop_t *loop, dari_conn_t conn) {
    (void)user, (void)loop, (void)conn;
    busy();
}

static void slow_upgrade(void *user, dari_loop_t *loop, dari_conn_t conn) {
    (void)user;
    CHECK(dari_conn_accept(loop, conn, NULL, NULL, 0) == DARI_OK);
    busy();
}

static void slow_http(void *user, dari_loop_t *loop, dari_conn_t conn) {
    (void)user;
    CHECK(dari_conn_respond(loop, conn, 200, NULL, 0, NULL, 0) == DARI_OK);
    busy();
}

static void slow_open(void *user, dari_loop_t *loop, dari_conn_t conn) {
    side_open(user, loop, conn);
    busy();
}

static void slow_message(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message) {
    (void)user, (void)loop, (void)conn, (void)message;
    busy();
}

static void slow_part(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *part, uint32_t last) {
    (void)user, (void)loop, (void)conn, (void)part, (void)last;
    busy();
}

static void slow_pong(void *user, dari_loop_t *loop, dari_conn_t conn, const void *data, size_t len) {
    (void)user, (void)loop, (void)conn, (void)data, (void)len;
    busy();
}

static void slow_dropped(void *user, dari_loop_t *loop, dari_conn_t conn, size_t messages, size_t bytes) {
    (void)user, (void)loop, (void)conn, (void)messages, (void)bytes;
    busy();
}

static void slow_limited(void *user, dari_loop_t *loop, const dari_limited_t *what) {
    (void)user, (void)loop, (void)what;
    busy();
}

static void slow_retry(void *user, dari_loop_t *loop, dari_dial_t dial, uint32_t attempt, uint32_t delay_ms) {
    (void)user, (void)loop, (void)dial, (void)attempt, (void)delay_ms;
    busy();
}

static void slow_end(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_close_t *why) {
    (void)user, (void)loop, (void)conn, (void)why;
    busy();
}

static void slow_fire(void *user, dari_loop_t *loop, dari_timer_t timer) {
    (void)user, (void)loop, (void)timer;
    busy();
}

static void slow_ready(void *user, dari_loop_t *loop, dari_watch_t watch, uint32_t events) {
    (void)user, (void)events;
    CHECK(dari_watch_cancel(loop, watch) == DARI_OK);
    busy();
}

static void slow_call(void *user, dari_loop_t *loop) {
    (void)user, (void)loop;
    busy();
}

static void slow_done(void *user, dari_loop_t *loop, size_t dropped) {
    (void)user, (void)loop, (void)dropped;
    busy();
}

/* It takes long itself, each time: of that it must hear, but not for ever. */
static void slow_log(void *user, dari_loop_t *loop, const dari_log_t *line) {
    char text[128], name[32] = {0};
    size_t nth = 0;
    (void)user, (void)loop;
    busy();
    side_text(text, sizeof text, line->text);
    if (sscanf(text, "the hook %31s took", name) != 1) return;
    CHECK(line->level == DARI_LOG_WARN && line->event.len == strlen("slow_hook"));
    while (nth < SLOW_COUNT && strcmp(SLOW[nth], name) != 0) nth++;
    if (nth == SLOW_COUNT)
        slow.others++;
    else
        slow.named[nth]++;
}

static int is_named(const char *name) {
    for (size_t i = 0; i < SLOW_COUNT; i++)
        if (strcmp(SLOW[i], name) == 0) return slow.named[i] > 0;
    return 0;
}

static uint16_t slow_listen(dari_loop_t *loop, const dari_handler_t *handler, size_t max_conns) {
    const dari_limits_t limits = {.struct_size = sizeof limits, .high_water = 2000, .max_backlog = 4000};
    const dari_listen_t how = {.struct_size = sizeof how, .limits = &limits, .max_conns = max_conns};
    dari_listener_t listener = {0};
    CHECK(dari_loop_listen(loop, "127.0.0.1:0", &how, handler, &listener) == DARI_OK);
    return dari_listener_port(loop, listener);
}

static void every_function_that_takes_long_is_named(void) {
    static char block[1 << 20];
    const dari_loop_config_t config = {
        .struct_size = sizeof config, .slow_hook_ms = 1, .log_level = DARI_LOG_WARN, .log = slow_log};
    const dari_connect_t again = {.struct_size = sizeof again, .retry_ms = 1, .retry_count = 1};
    struct side side = {0};
    dari_handler_t handler = {.struct_size = sizeof handler,
                              .user = &side,
                              .open = slow_open,
                              .message = slow_message,
                              .drain = slow_conn,
                              .error = slow_end,
                              .close = slow_end,
                              .upgrade = slow_upgrade,
                              .http = slow_http,
                              .pong = slow_pong,
                              .dropped = slow_dropped,
                              .limited = slow_limited,
                              .retry = slow_retry};
    dari_stats_t stats = {.struct_size = sizeof stats};
    struct pair pair = {0};
    dari_loop_t *loop;
    dari_remote_t *remote;
    uint16_t parts, full;
    int fds[4], ends[2], deaf = raw_bind();
    uint64_t before;
    char url[64];
    memset(&slow, 0, sizeof slow);
    CHECK(dari_loop_new(&config, &loop) == DARI_OK && dari_remote_new(loop, &remote) == DARI_OK);
    pair.loop = loop;
    pair.port = slow_listen(loop, &handler, 0);
    full = slow_listen(loop, &handler, 1);
    handler.part = slow_part;
    parts = slow_listen(loop, &handler, 0);

    fds[0] = raw_connect(pair.port);
    raw_send(fds[0], "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    fds[1] = raw_connect(pair.port);
    raw_send(fds[1], RAW_UPGRADE);
    TURN_UNTIL(loop, side_heard(&side, 'o'));
    RAW_BYTES(fds[1], "\x81\x82\0\0\0\0hi\x8a\x80\0\0\0\0");
    fds[2] = raw_connect(full);
    TURN_UNTIL(loop, is_named("http") && is_named("upgrade") && is_named("open") && is_named("message") &&
                         is_named("pong") && is_named("limited"));
    /* More than the kernel takes; what is published then passes it over; and when it reads there is room. */
    CHECK(dari_conn_subscribe(loop, side.conn, "t") == DARI_OK);
    while (dari_conn_send(loop, side.conn, DARI_BINARY, block, sizeof block) == DARI_OK) continue;
    CHECK(dari_loop_publish(loop, "t", (dari_conn_t){0}, DARI_TEXT, "x", 1) == DARI_OK);
    TURN_UNTIL(loop, is_named("dropped"));
    TURN_UNTIL(loop, (recv(fds[1], block, sizeof block, MSG_DONTWAIT), is_named("drain")));
    RAW_BYTES(fds[1], "\x81\x02hi");
    shutdown(fds[1], SHUT_WR);
    fds[3] = raw_connect(parts);
    raw_send(fds[3], RAW_UPGRADE);
    RAW_BYTES(fds[3], "\x81\x82\0\0\0\0hi");
    snprintf(url, sizeof url, "ws://127.0.0.1:%u/", (unsigned)raw_port(deaf));
    CHECK(dari_loop_connect(loop, url, &again, &handler, NULL) == DARI_OK);
    CHECK(dari_timer_new(loop, 0, 0, slow_fire, NULL, NULL) == DARI_OK);
    CHECK(pipe(ends) == 0 && dari_watch_new(loop, ends[1], DARI_WATCH_WRITE, slow_ready, NULL, NULL) == DARI_OK);
    CHECK(dari_remote_call(remote, slow_call, NULL, NULL) == DARI_OK);
    TURN_UNTIL(loop, is_named("error") && is_named("close") && is_named("part") && is_named("retry") &&
                         is_named("fire") && is_named("ready") && is_named("call"));
    CHECK(dari_loop_shutdown(loop, 0, 0, slow_done, NULL) == DARI_OK);
    TURN_UNTIL(loop, is_named("done"));
    TURN_UNTIL(loop, is_named("log"));
    CHECK(slow.others == 0);
    turn_a_few(loop);
    CHECK(dari_loop_stats(loop, &stats) == DARI_OK && stats.slow_hooks >= SLOW_COUNT);
    before = stats.slow_hooks;
    turn_a_few(loop);
    CHECK(dari_loop_stats(loop, &stats) == DARI_OK && stats.slow_hooks == before);
    dari_remote_free(remote);
    CHECK(dari_loop_free(loop) == DARI_OK);
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) close(fds[i]);
    close(ends[0]);
    close(ends[1]);
    close(deaf);
}

int main(int argc, char **argv) {
    static const struct check_test tests[] = {
        TEST(a_life_is_told_in_order_and_with_its_fields),
        TEST(nothing_is_told_beyond_the_level),
        TEST(a_level_that_is_none_is_refused),
        TEST(without_a_log_there_is_silence),
        TEST(everything_may_be_called_in_a_log),
        TEST(a_log_may_end_what_it_is_told_of),
        TEST(a_hook_that_takes_long_is_named),
        TEST(a_timer_that_takes_long_is_named_too_and_counted_without_a_log),
        TEST(every_function_that_takes_long_is_named),
    };
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
