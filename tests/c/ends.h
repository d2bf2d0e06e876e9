/* How a connection has to have ended, and a look at everything that is told of it: by the hooks,
 * by the numbers of the loop, and by its memory of what is past. */
#ifndef ENDS_H
#define ENDS_H

#include "stranger.h"

enum { CAUSES = 64 };

/* What is not named has to be 0, or is not looked at if it is text. */
struct end {
    dari_cause_t cause;
    uint32_t by;
    uint16_t code, sent, status;
    uint8_t clean, opened;
    const char *text, *rule; /* A part of it; a rule that is not named must not be there. */
    const char *reason;      /* The whole. */
    uint64_t offset, limit, met;
    int32_t os_error, alert;
    int unsent; /* Whether a message was not sent. */
};

/* The causes that a test of this program has seen, by number. */
static unsigned char ends_seen[CAUSES];

static inline int ends_is_failure(dari_cause_t cause) {
    return cause > DARI_CAUSE_RELEASED;
}

static inline void ends_number(const char *file, int line, const char *what, long long got,
                               long long want) {
    if (got == want) return;
    fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", file, line, what, got, want);
    check_failures++;
}

static inline void ends_text(const char *file, int line, const char *what, const char *got,
                             const char *want) {
    if (want == NULL || strstr(got, want) != NULL) return;
    fprintf(stderr, "%s:%d: %s is \"%s\", without \"%s\"\n", file, line, what, got, want);
    check_failures++;
}

#define ENDS_NUMBER(name, got, want) ends_number(file, line, name, (long long)(got), (long long)(want))

static inline void ends_bytes(const char *file, int line, const char *what, dari_str_t got, const char *want) {
    if (got.len == strlen(want) && (got.len == 0 || memcmp(got.data, want, got.len) == 0)) return;
    fprintf(stderr, "%s:%d: %s is \"%.*s\", not \"%s\"\n", file, line, what, (int)got.len, got.data, want);
    check_failures++;
}

/* What the loop remembers is what the hook `close` was told; and its numbers add up. */
static inline void ends_past(const char *file, int line, const dari_loop_t *loop, const struct side *side) {
    const dari_close_t *told = &side->close;
    dari_past_t past = {.struct_size = sizeof past}, found = {0};
    dari_stats_t stats = {.struct_size = sizeof stats};
    uint64_t same = 0, now;
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    now = (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
    for (size_t nth = 0; dari_loop_past(loop, nth, &past) == DARI_OK; nth++) {
        same += past.why.cause == told->cause;
        if (past.conn.id == side->conn.id) found = past;
    }
    ENDS_NUMBER("whether it is remembered", found.conn.id == side->conn.id, 1);
    if (found.conn.id == 0) return;
    ENDS_NUMBER("past cause", found.why.cause, told->cause);
    ENDS_NUMBER("past by", found.why.by, told->by);
    ENDS_NUMBER("past code", found.why.code, told->code);
    ENDS_NUMBER("past sent_code", found.why.sent_code, told->sent_code);
    ENDS_NUMBER("past was_clean", found.why.was_clean, told->was_clean);
    ENDS_NUMBER("past opened", found.why.opened, told->opened);
    ENDS_NUMBER("past offset", found.why.offset, told->offset);
    ENDS_NUMBER("past limit", found.why.limit, told->limit);
    ENDS_NUMBER("past os_error", found.why.os_error, told->os_error);
    ENDS_NUMBER("past will_retry", found.why.will_retry, told->will_retry);
    ENDS_NUMBER("past unsent_bytes", found.why.unsent_bytes, told->unsent_bytes);
    ends_bytes(file, line, "past text", found.why.text, side->story);
    ends_bytes(file, line, "past reason", found.why.reason, side->reason);
    ends_bytes(file, line, "past rule", found.why.rule, side->rule);
    ends_bytes(file, line, "past peer", found.peer, side->peer);
    ENDS_NUMBER("whether it ended now", found.ended_ms <= now && now - found.ended_ms < CHECK_DEADLINE_MS, 1);
    ENDS_NUMBER("whether it was young", found.lived_ms < CHECK_DEADLINE_MS, 1);
    CHECK(dari_loop_stats(loop, &stats) == DARI_OK);
    ENDS_NUMBER("the count of such ends", stats.closes[told->cause], same);
}

/* Turns the loop until this side has been told the end, and compares it. */
static inline void ends_as(const char *file, int line, dari_loop_t *loop, const struct side *side,
                           const struct end *end) {
    const dari_close_t *why = &side->close;
    TURN_UNTIL(loop, side_heard(side, 'c'));
    if (why->cause < CAUSES) ends_seen[why->cause] = 1;
    ENDS_NUMBER("cause", why->cause, end->cause);
    ENDS_NUMBER("by", why->by, end->by);
    ENDS_NUMBER("code", why->code, end->code);
    ENDS_NUMBER("sent_code", why->sent_code, end->sent);
    ENDS_NUMBER("was_clean", why->was_clean, end->clean);
    ENDS_NUMBER("opened", why->opened, end->opened);
    ENDS_NUMBER("status", why->status, end->status);
    ENDS_NUMBER("offset", why->offset, end->offset);
    ENDS_NUMBER("limit", why->limit, end->limit);
    ENDS_NUMBER("met", why->met, end->met);
    ENDS_NUMBER("os_error", why->os_error, end->os_error);
    ENDS_NUMBER("tls_alert", why->tls_alert, end->alert);
    /* Nobody here connects again. */
    ENDS_NUMBER("will_retry", why->will_retry, 0);
    ENDS_NUMBER("reserved", why->reserved, 0);
    /* Without a message it may be a request or an answer. */
    ENDS_NUMBER("unsent_bytes", why->unsent_bytes > 0 || !end->unsent, 1);
    ENDS_NUMBER("unsent_messages", why->unsent_messages > 0, end->unsent);
    ENDS_NUMBER("whether there is a rule", why->rule.data != NULL, end->rule != NULL);
    ends_text(file, line, "rule", side->rule, end->rule);
    ENDS_NUMBER("reason", strcmp(side->reason, end->reason != NULL ? end->reason : ""), 0);
    ends_text(file, line, "text", side->story, end->text);
    ends_text(file, line, "text", side->story, dari_cause_text(why->cause));
    ENDS_NUMBER("lines of text", strchr(side->story, '\n') != NULL, 0);
    /* `error` is called at once before `close`, with the same story, if and only if it failed. */
    ENDS_NUMBER("close comes last", side->heard[side->count - 1], 'c');
    ENDS_NUMBER("error", side_heard(side, 'e'), ends_is_failure(end->cause));
    if (ends_is_failure(end->cause)) {
        ENDS_NUMBER("error is next to close", side->count > 1 && side->heard[side->count - 2] == 'e', 1);
        ENDS_NUMBER("error's cause", side->error.cause, why->cause);
        ends_text(file, line, "error's text", side->blame, side->story);
    }
    ends_past(file, line, loop, side);
}

/* ENDS(loop, &side, .cause = .., ..): with the fields of struct end. */
#define ENDS(loop, side, ...)                                                                      \
    ends_as(__FILE__, __LINE__, (loop), (side), &(const struct end){__VA_ARGS__})

#endif
