/* Structs of other versions, and every number that can be set at its smallest and its largest. */
#include "guard.h"
#include "pair.h"
#include <stddef.h>
#include <stdlib.h>

/* ------------------------------------------------------------------- Versions */

static dari_loop_t *shelf;

static int32_t take_config(const void *of) {
    dari_loop_t *loop = NULL;
    int32_t got = dari_loop_new(of, &loop);
    CHECK((got == DARI_OK) == (loop != NULL));
    CHECK(dari_loop_free(loop) == DARI_OK);
    return got;
}

static int32_t listen_with(const dari_listen_t *how, const dari_handler_t *handler) {
    const dari_handler_t quiet = {.struct_size = sizeof quiet};
    dari_listener_t listener = {0};
    int32_t got =
        dari_loop_listen(shelf, "127.0.0.1:0", how, handler != NULL ? handler : &quiet, &listener);
    CHECK((got == DARI_OK) == (listener.id != 0));
    if (got == DARI_OK) CHECK(dari_listener_close(shelf, listener) == DARI_OK);
    return got;
}

static int32_t take_handler(const void *of) {
    return listen_with(NULL, of);
}

static int32_t take_listen(const void *of) {
    return listen_with(of, NULL);
}

static int32_t take_limits(const void *of) {
    const dari_listen_t how = {.struct_size = sizeof how, .limits = of};
    return listen_with(&how, NULL);
}

static int32_t take_connect(const void *of) {
    const dari_handler_t quiet = {.struct_size = sizeof quiet};
    dari_conn_t conn = {0};
    int32_t got = dari_loop_connect(shelf, "ws://127.0.0.1:1/", of, &quiet, &conn);
    if (got == DARI_OK) CHECK(dari_conn_abort(shelf, conn) == DARI_OK);
    return got;
}

static const struct {
    const char *name;
    size_t size;
    int32_t (*take)(const void *of);
} STRUCTS[] = {
    {"dari_loop_config_t", sizeof(dari_loop_config_t), take_config},
    {"dari_handler_t", sizeof(dari_handler_t), take_handler},
    {"dari_listen_t", sizeof(dari_listen_t), take_listen},
    {"dari_limits_t", sizeof(dari_limits_t), take_limits},
    {"dari_connect_t", sizeof(dari_connect_t), take_connect},
};

/* The front of a struct, as near to the end of a page as it may lie. */
static const void *struct_copy(const void *from, size_t size) {
    const size_t unit = sizeof(size_t);
    return guard_copy(from, size < unit ? unit : (size + unit - 1) / unit * unit);
}

/* Structs are as long as they say: behind that is a page that nobody may read. */
static void structs_of_any_version_are_read_to_their_end_and_no_further(void) {
    enum { MOST = 4096 };
    static union {
        size_t struct_size;
        unsigned char bytes[MOST + 64];
    } any;
    CHECK(dari_loop_new(NULL, &shelf) == DARI_OK);
    for (size_t i = 0; i < sizeof STRUCTS / sizeof STRUCTS[0]; i++) {
        const size_t known = STRUCTS[i].size;
        size_t first = 0;
        memset(&any, 0, sizeof any);
        for (size_t size = 0; size <= sizeof any.bytes; size++) {
            int32_t got;
            any.struct_size = size;
            got = STRUCTS[i].take(struct_copy(&any, size));
            /* Too small; then, once it is as large as in the first release, fine; then too large to be true. */
            if (got == DARI_OK && first == 0) first = size;
            CHECK(got == (first == 0 || size > MOST ? DARI_ERR_ARGUMENT : DARI_OK));
            if (got < 0) CHECK(strstr(dari_last_error(), STRUCTS[i].name) != NULL);
        }
        CHECK(first >= 2 * sizeof(size_t) && first <= known);
        /* A newer caller's wish can not be granted, wherever it stands. */
        any.struct_size = MOST;
        for (size_t at = known; at < MOST; at += at < known + 64 ? 1 : 509) {
            any.bytes[at] = 1;
            CHECK(STRUCTS[i].take(struct_copy(&any, MOST)) == DARI_ERR_ARGUMENT);
            CHECK(strstr(dari_last_error(), "this version does not know") != NULL);
            any.bytes[at] = 0;
        }
        /* Sizes that were never set are not believed. */
        any.struct_size = SIZE_MAX;
        CHECK(STRUCTS[i].take(struct_copy(&any, sizeof(size_t))) == DARI_ERR_ARGUMENT);
        any.struct_size = ((size_t)1 << 32) + known;
        CHECK(STRUCTS[i].take(struct_copy(&any, known)) == DARI_ERR_ARGUMENT);
    }
    CHECK(dari_loop_free(shelf) == DARI_OK);
}

/* -------------------------------------------------------------------- Numbers */

/* Everything that can be set. */
struct settings {
    dari_loop_config_t config;
    dari_limits_t limits;
    dari_listen_t listen;
    dari_connect_t connect;
};

/* A field of it, and whether it is a number of 32 bits. */
static const struct {
    const char *name;
    size_t offset;
    int is_short;
} FIELDS[] = {
#define FIELD(of, name, is_short) {#name, offsetof(struct settings, of) + offsetof(dari_##of##_t, name), is_short}
#define dari_config_t dari_loop_config_t
    FIELD(config, max_memory, 0),
    FIELD(config, max_read, 0),
    FIELD(config, max_events, 1),
    FIELD(config, slow_hook_ms, 1),
    FIELD(config, log_level, 1),
    FIELD(limits, max_message, 0),
    FIELD(limits, high_water, 0),
    FIELD(limits, low_water, 0),
    FIELD(limits, max_backlog, 0),
    FIELD(limits, max_head, 0),
    FIELD(limits, max_body, 0),
    FIELD(limits, handshake_ms, 1),
    FIELD(limits, idle_ms, 1),
    FIELD(limits, close_ms, 1),
    FIELD(limits, stall_ms, 1),
    FIELD(limits, deflate_min, 0),
    FIELD(limits, deflate, 1),
    FIELD(limits, deflate_level, 1),
    FIELD(limits, max_controls, 1),
    FIELD(limits, slow, 1),
    FIELD(limits, max_target, 0),
    FIELD(limits, max_headers, 1),
    FIELD(limits, max_empty_fragments, 1),
    FIELD(limits, keep_alive_ms, 1),
    FIELD(listen, max_conns, 0),
    FIELD(listen, max_conns_per_ip, 0),
    FIELD(listen, connects_per_second_per_ip, 0),
    FIELD(listen, flags, 1),
    FIELD(connect, retry_ms, 1),
    FIELD(connect, retry_max_ms, 1),
    FIELD(connect, retry_count, 1),
    FIELD(connect, keepalive_ms, 1),
    FIELD(connect, user_timeout_ms, 1),
#undef dari_config_t
#undef FIELD
};
enum { FIELD_COUNT = sizeof FIELDS / sizeof FIELDS[0] };

static struct settings defaults(void) {
    struct settings settings;
    memset(&settings, 0, sizeof settings);
    settings.config.struct_size = sizeof settings.config;
    settings.limits.struct_size = sizeof settings.limits;
    settings.listen.struct_size = sizeof settings.listen;
    settings.connect.struct_size = sizeof settings.connect;
    return settings;
}

static void set(struct settings *settings, size_t field, uint64_t value) {
    char *place = (char *)settings + FIELDS[field].offset;
    const uint32_t small = (uint32_t)value;
    const size_t large = (size_t)value;
    if (FIELDS[field].is_short)
        memcpy(place, &small, sizeof small);
    else
        memcpy(place, &large, sizeof large);
}

/* Taken, or not for a reason that has to do with time or room. */
static int is_fair(dari_status_t got) {
    return got >= 0 || got == DARI_ERR_STATE || got == DARI_ERR_STALE || got == DARI_ERR_FULL ||
           got == DARI_ERR_MEMORY;
}

/* Time for what strikes after a millisecond. */
static void turn_some(dari_loop_t *loop) {
    for (int i = 0; i < 4; i++) dari_loop_turn(loop, 1);
}

static void talk(struct pair *pair) {
    static char block[100000];
    dari_loop_t *loop = pair->loop;
    TURN_UNTIL(loop, side_heard(&pair->client, 'o') || side_heard(&pair->client, 'c'));
    TURN_UNTIL(loop, side_heard(&pair->server, 'o') || side_heard(&pair->client, 'c'));
    CHECK(is_fair(dari_conn_send(loop, pair->client.conn, DARI_TEXT, "hello", 5)));
    CHECK(is_fair(dari_conn_send(loop, pair->server.conn, DARI_BINARY, block, sizeof block)));
    turn_some(loop);
    CHECK(is_fair(dari_conn_ping(loop, pair->client.conn, NULL, 0)));
    turn_some(loop);
    CHECK(is_fair(dari_conn_close(loop, pair->client.conn, 1000, NULL)));
    TURN_UNTIL(loop, side_heard(&pair->client, 'c'));
    CHECK(pair->client.close.cause != 0 && strlen(pair->client.story) > 0);
    if (side_heard(&pair->server, 'o')) TURN_UNTIL(loop, side_heard(&pair->server, 'c'));
}

/* Open, one message each way, a ping, a plain close: it ends, by whatever limit, once and with a cause. */
static void live_and_die(const char *name, struct settings *settings) {
    struct pair pair;
    dari_handler_t server = side_handler(&pair.server), client = side_handler(&pair.client);
    dari_status_t made, listens = DARI_OK, connects = DARI_OK;
    char url[64];
    int before = check_failures;
    memset(&pair, 0, sizeof pair);
    settings->listen.limits = settings->connect.limits = &settings->limits;
    made = dari_loop_new(&settings->config, &pair.loop);
    if (made == DARI_OK)
        listens = dari_loop_listen(pair.loop, "127.0.0.1:0", &settings->listen, &server, &pair.listener);
    if (made == DARI_OK && listens == DARI_OK) {
        snprintf(url, sizeof url, "ws://127.0.0.1:%u/", (unsigned)dari_listener_port(pair.loop, pair.listener));
        connects = dari_loop_connect(pair.loop, url, &settings->connect, &client, &pair.client.conn);
        if (connects == DARI_OK) talk(&pair);
    }
    /* What can not be, one is told at once. */
    CHECK(made == DARI_OK || made == DARI_ERR_ARGUMENT);
    CHECK(listens == DARI_OK || listens == DARI_ERR_ARGUMENT);
    CHECK(connects == DARI_OK || connects == DARI_ERR_ARGUMENT);
    CHECK(dari_loop_free(pair.loop) == DARI_OK);
    if (check_failures > before)
        fprintf(stderr, "%s: server \"%s\" %s, client \"%s\" %s\n", name, pair.server.heard, pair.server.story,
                pair.client.heard, pair.client.story);
}

static void every_number_may_be_as_small_and_as_large_as_it_likes(void) {
    static const uint64_t values[] = {0, 1, 2, 1000, SIZE_MAX / 2, SIZE_MAX / 2 + 1, SIZE_MAX - 1, SIZE_MAX};
    for (size_t field = 0; field < FIELD_COUNT; field++)
        for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
            struct settings settings = defaults();
            char name[64];
            /* Of the shorter ones, the same of 32 bits. */
            uint64_t value = values[i] > 1000 && FIELDS[field].is_short ? values[i] >> 32 | (values[i] & 1) : values[i];
            set(&settings, field, value);
            snprintf(name, sizeof name, "%s = %llu", FIELDS[field].name, (unsigned long long)value);
            live_and_die(name, &settings);
        }
}

static void all_numbers_at_once(void) {
    static const uint64_t values[] = {1, 2, SIZE_MAX - 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        for (uint32_t deflate = DARI_DEFLATE_OFF; deflate <= DARI_DEFLATE_TAKEOVER; deflate++) {
            struct settings settings = defaults();
            for (size_t field = 0; field < FIELD_COUNT; field++)
                set(&settings, field, FIELDS[field].is_short ? (uint32_t)values[i] : values[i]);
            /* These are choices, of which there are few. */
            settings.limits.deflate = deflate;
            settings.limits.deflate_level = i < 2 ? 1 : 9;
            settings.limits.slow = deflate == DARI_DEFLATE_TAKEOVER ? DARI_SLOW_CLOSE : DARI_SLOW_DROP_OLDEST;
            settings.listen.flags = DARI_LISTEN_LIMIT_LOOPBACK;
            settings.config.log_level = DARI_LOG_TRACE;
            /* Or there would never be an end. */
            settings.connect.retry_ms = 0;
            live_and_die("all", &settings);
        }
}

static int fired;

static void on_timer(void *user, dari_loop_t *loop, dari_timer_t timer) {
    (void)user, (void)loop, (void)timer;
    fired++;
}

static void timers_and_turns_take_any_number(void) {
    static const uint32_t values[] = {0, 1, INT32_MAX, (uint32_t)INT32_MAX + 1, UINT32_MAX - 1, UINT32_MAX};
    dari_timer_t timers[36];
    dari_loop_t *loop;
    size_t count = 0;
    CHECK(dari_loop_new(NULL, &loop) == DARI_OK);
    for (size_t i = 0; i < 6; i++)
        for (size_t k = 0; k < 6; k++)
            CHECK(dari_timer_new(loop, values[i], values[k], on_timer, NULL, &timers[count++]) == DARI_OK);
    fired = 0;
    TURN_UNTIL(loop, fired >= 12);
    /* Those that are due at once keep the others from nothing. */
    for (size_t i = 0; i < 6; i++) CHECK(dari_loop_turn(loop, values[i]) == DARI_OK);
    CHECK(dari_loop_timeout(loop) <= 1);
    for (size_t i = 0; i < count; i++) {
        dari_status_t got = dari_timer_cancel(loop, timers[i]);
        /* Gone are those that were due, and only once. */
        CHECK(got == (i / 6 < 2 && i % 6 == 0 ? DARI_ERR_STALE : DARI_OK));
    }
    CHECK(dari_loop_timeout(loop) == DARI_NEVER);
    CHECK(dari_loop_free(loop) == DARI_OK);
}

int main(int argc, char **argv) {
    static const struct check_test tests[] = {
        TEST(structs_of_any_version_are_read_to_their_end_and_no_further),
        TEST(every_number_may_be_as_small_and_as_large_as_it_likes),
        TEST(all_numbers_at_once),
        TEST(timers_and_turns_take_any_number),
    };
    return check_run(tests, sizeof tests / sizeof tests[0], argc, argv);
}
