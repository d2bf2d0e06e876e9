// dari.h - WebSocket servers and clients on one event loop.
//
// Generated from crates/dari-ffi by `make header`: edit there.
//
// Six rules hold for every function below, which says only what is its own.
//
//   Names     dari_<type>_<verb> works on a dari_<type>_t. Inputs come first,
//             outputs last. Text that goes in ends with a NUL; text that comes
//             out is a dari_str_t, which does not.
//   Errors    A status below zero is an error: nothing has changed, and
//             dari_last_error() says in words what was wrong. DARI_ERR_ARGUMENT,
//             _STALE, _THREAD, _MEMORY and _PANIC may come from any function
//             and are not listed at each. Getters have a neutral value instead.
//   Handles   A pointer to a loop, a remote or a payload is yours, to be freed
//             once. A connection, a listener, a timer, a watch is an id: it may
//             go stale at any time, and using it then is DARI_ERR_STALE, never
//             a crash.
//   Memory    dari has copied what you passed in when the call returns. What a
//             hook is handed is dari's, and gone when the hook returns.
//   Hooks     Every connection whose id you have seen gets exactly one `close`,
//             and nothing after it. Hooks run from dari_loop_run, _turn and
//             _free alone, never inside another call; a hook may call anything
//             but those three. It must not throw or longjmp.
//   Threads   A loop belongs to the thread that made it; on others every call
//             is DARI_ERR_THREAD. For those there is dari_remote_*. In a
//             forked child all but dari_loop_free is DARI_ERR_STATE.

#ifndef DARI_H
#define DARI_H

#include <stddef.h>
#include <stdint.h>

// Of this header; dari_version() has the library's.
#define DARI_VERSION_MAJOR 0
#define DARI_VERSION_MINOR 1
#define DARI_VERSION_PATCH 0

#ifndef DARI_API
#if defined(__GNUC__)
#define DARI_API __attribute__((visibility("default")))
#else
#define DARI_API
#endif
#endif

// How a call ended: DARI_OK, DARI_BUFFERED, or one of DARI_ERR_*.
typedef int32_t dari_status_t;

// Done.
#define DARI_OK 0
// Done, but the peer is slow: hold back until the hook `drain`.
#define DARI_BUFFERED 1
// An argument is NULL, out of range, not UTF-8, or has a wrong struct_size.
#define DARI_ERR_ARGUMENT (-1)
// The id names nothing on this loop, or nothing any more.
#define DARI_ERR_STALE (-2)
// Not now: not open yet, closing, answered already, or inside a hook.
#define DARI_ERR_STATE (-3)
// The loop belongs to another thread.
#define DARI_ERR_THREAD (-4)
// The queue is full; nothing was added to it.
#define DARI_ERR_FULL (-5)
// Longer than a control frame, a limit or your buffer has room for.
#define DARI_ERR_TOO_BIG (-6)
// No memory, or the loop has reached its max_memory.
#define DARI_ERR_MEMORY (-7)
// A certificate or a key will not do.
#define DARI_ERR_TLS (-8)
// The operating system refused; dari_last_errno has its errno.
#define DARI_ERR_SYSTEM (-9)
// This build of the library does not have it.
#define DARI_ERR_UNSUPPORTED (-10)
// A bug in dari. All that can be done with the loop now is to free it.
#define DARI_ERR_PANIC (-11)

// Whether a message is text or binary. To send one, DARI_COMPRESS or
// DARI_PLAIN may be added.
typedef uint32_t dari_kind_t;

// Text: UTF-8, which dari checks in both directions.
#define DARI_TEXT 1u
// Any bytes.
#define DARI_BINARY 2u
// To be compressed, however short, where the peer has agreed to it and it gets
// smaller: DARI_TEXT | DARI_COMPRESS. Never set in what you are handed.
#define DARI_COMPRESS 256u
// Not to be compressed: what is compressed already, or holds a secret beside
// bytes that a stranger chose, who could guess it by the length.
#define DARI_PLAIN 512u

// For dari_limits_t, permessage-deflate (RFC 7692): no compression.
#define DARI_DEFLATE_OFF 0u
// Compress each message by itself, where the peer agrees. A connection holds
// no context between two messages, so it is hardly larger than one without.
#define DARI_DEFLATE 1u
// Messages may refer to earlier ones (context takeover, RFC 7692 7.1.1):
// smaller, for memory that each connection holds from its first compressed
// message on.
#define DARI_DEFLATE_TAKEOVER 2u

// For dari_limits_t, what happens to a message for a peer of whom max_backlog
// bytes are queued: it is refused, DARI_ERR_FULL; what is published passes
// the peer over.
#define DARI_SLOW_REFUSE 0u
// The connection is closed with 1013, and the message is refused.
#define DARI_SLOW_CLOSE 1u
// The oldest messages that have not begun to leave give way to it. Not with
// DARI_DEFLATE_TAKEOVER, and never parts of messages or bodies.
#define DARI_SLOW_DROP_OLDEST 2u

// For dari_listen_t, a bit: the limits of one address hold for loopback
// addresses and unix sockets, too.
#define DARI_LISTEN_LIMIT_LOOPBACK 1u
// A bit: other listeners with this bit, of the same user, may have the same
// address and port; the system spreads connections over them (SO_REUSEPORT).
#define DARI_LISTEN_REUSE_PORT 2u

// In dari_limited_t, why peers were turned away: max_conns.
#define DARI_LIMITED_CONNS 1u
// max_conns_per_ip.
#define DARI_LIMITED_PER_IP 2u
// connects_per_second_per_ip.
#define DARI_LIMITED_RATE 3u
// The process or the system has no descriptors left, or no memory for them.
#define DARI_LIMITED_DESCRIPTORS 4u

// The level of a log line: what should be done can not be done.
#define DARI_LOG_ERROR 1u
// Something went wrong, mostly for one connection.
#define DARI_LOG_WARN 2u
// What a daemon's log has on an ordinary day.
#define DARI_LOG_INFO 3u
// Every connection's beginning and end.
#define DARI_LOG_DEBUG 4u
// Every step.
#define DARI_LOG_TRACE 5u

// As a size or a count: no limit. 0 is the default.
#define DARI_UNLIMITED SIZE_MAX
// As a number of milliseconds: never. 0 is the default.
#define DARI_NEVER UINT32_MAX

// Why a connection ended: one of DARI_CAUSE_*.
typedef uint32_t dari_cause_t;

// The peer closed it, with or without a code.
#define DARI_CAUSE_PEER 1u
// You closed it with dari_conn_close.
#define DARI_CAUSE_LOCAL 2u
// The loop was freed or shut down.
#define DARI_CAUSE_SHUTDOWN 3u
// You dropped it with dari_conn_abort.
#define DARI_CAUSE_ABORT 4u
// You took its descriptor away from dari.
#define DARI_CAUSE_RELEASED 5u
// The peer's stream ended without a Close frame.
#define DARI_CAUSE_EOF 10u
// The peer reset the connection.
#define DARI_CAUSE_RESET 11u
// Another error of the network: see `os_error`.
#define DARI_CAUSE_SYSTEM 12u
// The peer broke the protocol: `rule` says which rule, `offset` where.
#define DARI_CAUSE_PROTOCOL 20u
// The peer sent text that is not UTF-8.
#define DARI_CAUSE_UTF8 21u
// The peer's message was longer than max_message.
#define DARI_CAUSE_TOO_BIG 22u
// The peer hit another limit: see `limit` and `met`.
#define DARI_CAUSE_LIMIT 23u
// The loop's memory was used up, and this connection held the most.
#define DARI_CAUSE_MEMORY 24u
// The peer did not read what was sent to it.
#define DARI_CAUSE_SLOW_PEER 25u
// It had not opened within handshake_ms.
#define DARI_CAUSE_HANDSHAKE_TIMEOUT 30u
// The peer was silent, and did not answer a ping either.
#define DARI_CAUSE_IDLE_TIMEOUT 31u
// The peer did not answer our Close frame within close_ms.
#define DARI_CAUSE_CLOSE_TIMEOUT 32u
// The peer's name could not be resolved.
#define DARI_CAUSE_DNS 40u
// The peer could not be reached: see `os_error`.
#define DARI_CAUSE_CONNECT 41u
// The proxy did not let us through.
#define DARI_CAUSE_PROXY 42u
// The two sides did not agree on TLS: see `tls_alert`, and in `by` who said so.
#define DARI_CAUSE_TLS 43u
// The handshake was refused: see `status`.
#define DARI_CAUSE_REFUSED 44u

// In dari_close_t, who ended it first: the peer.
#define DARI_BY_PEER 1u
// This side, be it you or dari.
#define DARI_BY_US 2u
// The network between.
#define DARI_BY_NETWORK 3u

// From dari_conn_state, with the numbers of a browser's readyState: the
// handshake is not done, or an HTTP request is being answered.
#define DARI_STATE_CONNECTING 0u
// Messages may flow.
#define DARI_STATE_OPEN 1u
// A Close frame has gone one way.
#define DARI_STATE_CLOSING 2u
// It is over.
#define DARI_STATE_CLOSED 3u

// For dari_watch_new, a bit: there is something to read, or the end.
#define DARI_WATCH_READ 1u
// A bit: there is room to write.
#define DARI_WATCH_WRITE 2u

// An event loop, and everything that lives on it.
typedef struct dari_loop_t dari_loop_t;

// A hand on a loop, for other threads and signal handlers. It may outlive
// the loop.
typedef struct dari_remote_t dari_remote_t;

// A message framed once, to be sent to many. Belongs to no loop.
typedef struct dari_payload_t dari_payload_t;

// Certificates and keys: what a server shows, or whom a client trusts. Shared
// by any number of listeners and clients, of any loops.
typedef struct dari_tls_t dari_tls_t;

// Names one connection. Never used again for another; id 0 names none.
typedef struct {
    uint64_t id;
} dari_conn_t;

// Names one listening socket.
typedef struct {
    uint64_t id;
} dari_listener_t;

// Names one client that connects, and connects again if it is to.
typedef struct {
    uint64_t id;
} dari_dial_t;

// Names one timer.
typedef struct {
    uint64_t id;
} dari_timer_t;

// Names one descriptor of yours that the loop watches.
typedef struct {
    uint64_t id;
} dari_watch_t;

// Text on loan. It has no NUL at its end: print it with "%.*s".
typedef struct {
    // NULL where there is no text, which is not the same as empty text.
    const char *data;
    // In bytes.
    size_t len;
} dari_str_t;

// One header line of a request or a response.
typedef struct {
    // A token, in any case: "Content-Type".
    const char *name;
    // One line, without control characters.
    const char *value;
} dari_header_t;

// One whole message, however many frames it came in; in `part`, a piece.
typedef struct {
    // DARI_TEXT or DARI_BINARY.
    dari_kind_t kind;
    // 0.
    uint32_t reserved;
    // The payload: unmasked, UTF-8 if it is text, no NUL at its end.
    const char *data;
    // In bytes.
    size_t len;
} dari_message_t;

// How a connection ended. Only ever on loan, and grows at its end.
typedef struct {
    // What happened: DARI_CAUSE_*.
    dari_cause_t cause;
    // Who ended it first: DARI_BY_*.
    uint32_t by;
    // What a browser would show: the peer's code, 1005 if its Close frame had
    // none, 1006 if no Close frame came (RFC 6455 7.1.5).
    uint16_t code;
    // The code that this side sent, or 0.
    uint16_t sent_code;
    // 1 if Close frames went both ways and neither side failed the
    // connection, else 0.
    uint8_t was_clean;
    // 1 if it had been open, else 0.
    uint8_t opened;
    // The HTTP status of a handshake that was refused, or 0.
    uint16_t status;
    // The peer's words for `code`.
    dari_str_t reason;
    // The whole story in one line, for the log.
    dari_str_t text;
    // The rule that the peer broke, with its RFC section; else NULL.
    dari_str_t rule;
    // Where in the peer's stream it broke it, in bytes.
    uint64_t offset;
    // The limit that struck, or 0.
    uint64_t limit;
    // The value that the limit met, or 0.
    uint64_t met;
    // Bytes that were queued and never sent: yours, as framed.
    uint64_t unsent_bytes;
    // Messages that were queued and not wholly sent.
    uint64_t unsent_messages;
    // The system's errno, or 0.
    int32_t os_error;
    // The TLS alert, or 0: the peer's if `by` is DARI_BY_PEER, else this side's.
    int32_t tls_alert;
    // 1 if its dial connects again, unless you stop it: `retry` follows. 0 if
    // that was the last connection of its dial, or it had none.
    uint32_t will_retry;
    // 0.
    uint32_t reserved;
} dari_close_t;

// Peers that were turned away at the door, for `limited`. Only ever on loan,
// and grows at its end.
typedef struct {
    // Where they came.
    dari_listener_t listener;
    // Why: DARI_LIMITED_*.
    uint32_t which;
    // 0.
    uint32_t reserved;
    // How many, since you were told last.
    uint64_t count;
    // The limit that struck; 0 for descriptors.
    uint64_t limit;
    // The last of them, "address:port"; empty if that is not known.
    dari_str_t peer;
} dari_limited_t;

// A line of the log. Only ever on loan, and grows at its end.
typedef struct {
    // DARI_LOG_*.
    uint32_t level;
    // 0.
    uint32_t reserved;
    // Whose it is, or id 0.
    dari_conn_t conn;
    // What happened, in a word: "listen", "accept", "open", "close",
    // "dropped", "limited", "memory", "slow_hook", "shutdown", "log".
    dari_str_t event;
    // Who is there, "address:port", or nothing.
    dari_str_t peer;
    // What happened, in a line, without a newline.
    dari_str_t text;
} dari_log_t;

// What dari calls when something happens: the same for both sides.
//
// Set struct_size; every other field may stay zero, and every hook may be
// NULL. dari copies the struct, so it need not outlive the call.
typedef struct {
    // sizeof(dari_handler_t).
    size_t struct_size;
    // Handed to every hook. dari never looks behind it.
    void *user;
    // The handshake is done: messages may flow.
    void (*open)(void *user, dari_loop_t *loop, dari_conn_t conn);
    // A message came, whole. Not called if there is `part`.
    void (*message)(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *message);
    // The queue is short again: go on after DARI_BUFFERED.
    void (*drain)(void *user, dari_loop_t *loop, dari_conn_t conn);
    // It failed. `close` follows at once, with the same story.
    void (*error)(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_close_t *why);
    // It is over, whether or not it had opened: the last call for this id,
    // and the place to free what dari_conn_data gives.
    void (*close)(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_close_t *why);
    // A client asks for a WebSocket: answer now or later, with
    // dari_conn_accept, or with dari_conn_respond to refuse. NULL accepts.
    void (*upgrade)(void *user, dari_loop_t *loop, dari_conn_t conn);
    // A client asks for something else, and its body is here: answer now or
    // later, with dari_conn_respond. NULL answers 426.
    void (*http)(void *user, dari_loop_t *loop, dari_conn_t conn);
    // The peer answered a ping: the bytes of yours, or none if it was sent for
    // idle_ms.
    void (*pong)(void *user, dari_loop_t *loop, dari_conn_t conn, const void *data, size_t len);
    // The next bytes of a message came, in place of whole ones for `message`;
    // `last` is 1 if it ends with them, else 0.
    //
    // For messages that are too long to be held: set max_message to match.
    // A piece is as long as what was read or inflated at a time, and may be
    // empty if it is the last. Text is checked, but a piece may end within a
    // character. A message of which the last part never comes has ended with
    // its connection.
    void (*part)(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *part,
                 uint32_t last);
    // Messages that a slow peer will not get: they were dropped to make room
    // for newer ones, or were published and passed it over. At the end of the
    // turn, all of it in one.
    void (*dropped)(void *user, dari_loop_t *loop, dari_conn_t conn, size_t messages, size_t bytes);
    // Peers were turned away at the door of the listener: told 503, and closed.
    // Called at most once a second for each reason.
    void (*limited)(void *user, dari_loop_t *loop, const dari_limited_t *what);
    // A dial will connect again, as the `attempt`th time in a row, from 1, in
    // `delay_ms`. Comes after the `close` of the connection before; the next
    // one has an id of its own, of which `open` or `close` tells.
    void (*retry)(void *user, dari_loop_t *loop, dari_dial_t dial, uint32_t attempt,
                  uint32_t delay_ms);
} dari_handler_t;

// What one peer may cost. A field that is 0 has its default.
typedef struct {
    // sizeof(dari_limits_t).
    size_t struct_size;
    // Longest message that is received, in bytes. Default 16 MiB. A longer
    // one ends the connection with 1009.
    size_t max_message;
    // Bytes queued on a connection above which sends return DARI_BUFFERED, and
    // the peer is not read from if they are answers to it. Default 256 KiB.
    size_t high_water;
    // Bytes queued at which `drain` is called and reading goes on. Default
    // 64 KiB. One that is not below high_water is a quarter of that.
    size_t low_water;
    // Bytes queued from which on `slow` decides what happens to a message.
    // Default 4 MiB. So at most this and one message wait.
    size_t max_backlog;
    // Longest head of a request or an answer, in bytes. Default 16 KiB.
    size_t max_head;
    // Longest body of an HTTP request, in bytes. Default 1 MiB.
    size_t max_body;
    // From the first contact until it is open. Default 10 s.
    uint32_t handshake_ms;
    // Silence of the peer until it gets a ping, and as long again until it is
    // given up. Default 30 s.
    uint32_t idle_ms;
    // From our Close frame until the end. Default 5 s.
    uint32_t close_ms;
    // How long a peer may take none of what is queued for it. Default 30 s.
    uint32_t stall_ms;
    // Messages that are shorter, in bytes, are sent as they are, but for those
    // with DARI_COMPRESS. Default 64. DARI_UNLIMITED: only those with it are
    // compressed.
    size_t deflate_min;
    // DARI_DEFLATE_*. Default DARI_DEFLATE_OFF. The memory is counted in
    // max_memory.
    //
    // A message borrows its context, about 340 KiB to compress and 48 KiB to
    // inflate, for as long as it takes; with DARI_DEFLATE_TAKEOVER each
    // connection keeps the one and the other once it has used it. The limit
    // max_message is on what a message inflates to.
    uint32_t deflate;
    // From 1, fast, to 9, small. Default 3.
    uint32_t deflate_level;
    // Pings and pongs that a peer may send in a second. Default 250,000.
    // UINT32_MAX lifts it.
    uint32_t max_controls;
    // DARI_SLOW_*. Default DARI_SLOW_REFUSE.
    uint32_t slow;
    // Longest target of a request, in bytes. Default 8 KiB.
    size_t max_target;
    // Header lines of a request or an answer. Default 100; more than 100 has no
    // effect.
    uint32_t max_headers;
    // Empty frames that a message may hold before its last one. Default 1,000.
    uint32_t max_empty_fragments;
    // How long a connection is kept for another plain request. Default 15 s.
    uint32_t keep_alive_ms;
    // 0.
    uint32_t reserved;
} dari_limits_t;

// How to listen. A field that is 0 or NULL has its default.
typedef struct {
    // sizeof(dari_listen_t).
    size_t struct_size;
    // For every connection. NULL: the defaults.
    const dari_limits_t *limits;
    // Subprotocols that you speak, best first; a NULL ends the list.
    const char *const *protocols;
    // Origins of web pages that may connect, "https://example.org", or "*"
    // for all; a NULL ends the list. NULL: pages of the same host alone.
    // Programs that send no Origin may always connect.
    const char *const *origins;
    // Certificates to show, from dari_tls_server_new. NULL: plain TCP.
    const dari_tls_t *tls;
    // A folder whose files are served to GET and HEAD; `http` is asked only
    // for what is not in it. NULL: none.
    const char *folder;
    // Networks whose header X-Forwarded-For is believed, "10.0.0.0/8", "::1",
    // "unix:"; a NULL ends the list. NULL: none. Whom they speak for counts
    // in the limits of one address, and is what dari_conn_peer gives.
    const char *const *trusted_proxies;
    // Connections of the whole loop from which on peers are turned away.
    // Default: the soft RLIMIT_NOFILE, less 64.
    size_t max_conns;
    // Connections of one address at a time; IPv6 counts by /64. Default 1,024.
    // Not for loopback addresses, unix sockets and trusted proxies.
    size_t max_conns_per_ip;
    // Connections of one address in a second, four times as many in a burst.
    // Default 256. Not for those either.
    size_t connects_per_second_per_ip;
    // Bits: DARI_LISTEN_LIMIT_LOOPBACK, DARI_LISTEN_REUSE_PORT.
    uint32_t flags;
    // 0.
    uint32_t reserved;
} dari_listen_t;

// How to connect. A field that is 0 or NULL has its default.
typedef struct {
    // sizeof(dari_connect_t).
    size_t struct_size;
    // NULL: the defaults.
    const dari_limits_t *limits;
    // Subprotocols to offer, best first; a NULL ends the list.
    const char *const *protocols;
    // More lines for the request, `header_count` of them.
    const dari_header_t *headers;
    // How many `headers` there are.
    size_t header_count;
    // The Origin to send. NULL: none.
    const char *origin;
    // For wss://, whom to trust, from dari_tls_client_new. NULL: the
    // certificates that the system trusts.
    const dari_tls_t *tls;
    // The name that the server's certificate has to be for. NULL: the URL's.
    const char *tls_name;
    // A proxy: "http://host:port" or "socks5://host:port", with
    // "user:password@" if need be. "env": as the environment's http_proxy and
    // its kin have it. NULL: none.
    const char *proxy;
    // To connect again after an end that you did not ask for: after a random
    // time from 0 to a bound that begins with this and doubles each time, and
    // behind the server's Retry-After, if there is one. 0 is not at all.
    uint32_t retry_ms;
    // The bound's bound, and that of the whole delay. Default 30 s.
    uint32_t retry_max_ms;
    // How often in a row. Default without end.
    uint32_t retry_count;
    // Has the system ask after this much silence, and then as often, whether the
    // server is still there (SO_KEEPALIVE); whole seconds, rounded up. 0: not
    // at all, idle_ms does it.
    uint32_t keepalive_ms;
    // How long the system waits for what it has sent to be acknowledged, before
    // it gives the connection up (TCP_USER_TIMEOUT). 0: as the system has it.
    uint32_t user_timeout_ms;
    // 0.
    uint32_t reserved;
} dari_connect_t;

// What a loop may cost, and whom it tells of itself. A field that is 0 or NULL
// has its default.
typedef struct {
    // sizeof(dari_loop_config_t).
    size_t struct_size;
    // Bytes that all its connections may allocate together for what they are
    // receiving, for what is queued, and to compress. Default 1 GiB.
    //
    // Over nine tenths of it those that have received the most of a message are
    // not read from; at the limit the one that holds the most is closed with
    // 1013, and sends return DARI_ERR_MEMORY. Payloads of yours do not count.
    size_t max_memory;
    // Bytes of one read, and about what one connection gets of a turn before
    // the others are looked at; up to four times as many where they end a
    // message that has begun. Default 256 KiB; at least 16 KiB.
    size_t max_read;
    // Events of one turn. Default 1,024.
    uint32_t max_events;
    // A hook that runs longer is counted, and told to `log` with its name: while
    // it runs, everybody else waits. Default DARI_NEVER, which costs nothing.
    uint32_t slow_hook_ms;
    // The levels that `log` is called for: DARI_LOG_* and those below. Default 0,
    // none.
    uint32_t log_level;
    // 0.
    uint32_t reserved;
    // Handed to `log`.
    void *user;
    // The log. A hook: called at the end of the turn in which it happened, and
    // everything may be called in it. NULL: silence.
    void (*log)(void *user, dari_loop_t *loop, const dari_log_t *line);
} dari_loop_config_t;

// What a loop has seen since it was made. Set struct_size before the call.
typedef struct {
    // sizeof(dari_stats_t).
    size_t struct_size;
    // Connections accepted, with those that were turned away at the door.
    uint64_t accepted;
    // Connections that this side set out to make.
    uint64_t dialled;
    // WebSockets that are open now.
    uint64_t open;
    // WebSockets that have opened.
    uint64_t opened;
    // Plain HTTP requests.
    uint64_t requests;
    // Messages received.
    uint64_t messages_in;
    // Messages taken to be sent.
    uint64_t messages_out;
    // Messages that slow peers will not get: see `dropped`.
    uint64_t dropped;
    // Connections turned away at the door: see `limited`.
    uint64_t limited;
    // Hooks that ran longer than slow_hook_ms.
    uint64_t slow_hooks;
    // Bytes of memory that count in max_memory, now.
    uint64_t memory;
    // The most that there were of them.
    uint64_t memory_peak;
    // Ends by cause: closes[DARI_CAUSE_EOF]. Those of connections that you never
    // heard of are in it, too.
    uint64_t closes[64];
} dari_stats_t;

// The end of a connection, remembered. Set struct_size before the call.
typedef struct {
    // sizeof(dari_past_t).
    size_t struct_size;
    // Which it was; its id is stale.
    dari_conn_t conn;
    // When it ended, in milliseconds of Unix time.
    uint64_t ended_ms;
    // How long it had been there, in milliseconds.
    uint64_t lived_ms;
    // Who was there: "address:port".
    dari_str_t peer;
    // What `close` was told.
    dari_close_t why;
} dari_past_t;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// ----------------------------------------------------------------------------
// Library: its version, and words for what went wrong.
// ----------------------------------------------------------------------------

// The version of the library that is running: "0.1.0".
//
// DARI_VERSION_MAJOR and its kin say which header you were compiled with.
DARI_API const char *dari_version(void);

// A status in a few words, for any number: never NULL, never to be freed.
DARI_API const char *dari_status_text(dari_status_t status);

// A cause in a few words, for any number: never NULL, never to be freed.
DARI_API const char *dari_cause_text(dari_cause_t cause);

// Why the call that failed last on this thread failed, in one line.
//
// Only a call that returns a status below zero changes it. It names the
// function, the argument and what was wrong; never NULL, but empty before
// the first error. Valid until the next error on this thread.
DARI_API const char *dari_last_error(void);

// The errno behind dari_last_error, or 0 if the system had no part in it.
DARI_API int32_t dari_last_errno(void);

// ----------------------------------------------------------------------------
// Loops: run one, or embed it in a program that has a loop of its own.
// ----------------------------------------------------------------------------

// Makes a loop, which belongs to the calling thread.
//
// `config` may be NULL. `*out` is NULL if it fails: DARI_ERR_SYSTEM if there
// are no descriptors left. Free it with dari_loop_free.
DARI_API dari_status_t dari_loop_new(const dari_loop_config_t *config, dari_loop_t **out);

// Ends everything on the loop, calling every `close`, and frees it.
//
// Every peer is told 1001. Pending remote calls get their `dropped`. NULL is
// fine. Not inside a hook: DARI_ERR_STATE, and the loop lives on. After
// DARI_ERR_PANIC it frees without calling hooks.
DARI_API dari_status_t dari_loop_free(dari_loop_t *loop);

// Runs the loop until dari_loop_stop, dari_remote_stop or the end of a
// shutdown.
//
// It returns DARI_OK then, with all connections still there: run it again,
// or free it. Not inside a hook: DARI_ERR_STATE. DARI_ERR_SYSTEM if the
// system cannot wait for events.
DARI_API dari_status_t dari_loop_run(dari_loop_t *loop);

// Makes dari_loop_run return after the turn that it is in.
DARI_API dari_status_t dari_loop_stop(dari_loop_t *loop);

// Ends everything on the loop in good order, while it runs on.
//
// Nobody is accepted any more; requests on connections that are there get 503.
// Every peer is told 1001, one after the other within `spread_ms`, so that
// they do not all come back at once; 0 tells all at once. What is queued is
// sent before. Whoever has not answered `grace_ms` after the last was told is
// dropped. When nobody is left `done` is called, which may be NULL, with how
// many had to be dropped, and dari_loop_run returns; it is not called if the
// loop is freed before. Every cause is
// DARI_CAUSE_SHUTDOWN. Listening, connecting and another shutdown are
// DARI_ERR_STATE from then on; timers and watches go on.
DARI_API dari_status_t dari_loop_shutdown(dari_loop_t *loop, uint32_t spread_ms, uint32_t grace_ms,
                                          void (*done)(void *user, dari_loop_t *loop,
                                                       size_t dropped),
                                          void *user);

// Gives the one descriptor to put into a poll, epoll or select of yours.
//
// When it is readable, call dari_loop_turn(loop, 0). It is readable for due
// timers too, and for work that a turn has left over, so you need no timeout.
// It stays dari's: do not read or close it. Below zero is a DARI_ERR_*.
DARI_API int32_t dari_loop_fd(dari_loop_t *loop);

// Waits for something to do, for at most `timeout_ms`, and does it.
//
// 0 does not wait; DARI_NEVER waits for as long as it takes. Everything that
// hooks have sent is on its way when it returns. Not inside a hook:
// DARI_ERR_STATE.
DARI_API dari_status_t dari_loop_turn(dari_loop_t *loop, uint32_t timeout_ms);

// Milliseconds until the loop has something to do without any event.
//
// DARI_NEVER if there is nothing, and for a loop that is NULL or another
// thread's. Only for a poll that does not use dari_loop_fd alone.
DARI_API uint32_t dari_loop_timeout(const dari_loop_t *loop);

// ----------------------------------------------------------------------------
// Watching: what a loop has seen, and how its last connections ended.
// ----------------------------------------------------------------------------

// Tells what a loop has seen.
DARI_API dari_status_t dari_loop_stats(const dari_loop_t *loop, dari_stats_t *out);

// Tells how the `nth` last connection ended, 0 being the latest.
//
// The last 1,000 that had an id are remembered; beyond them it is
// DARI_ERR_ARGUMENT. The texts are on loan until the loop runs again.
DARI_API dari_status_t dari_loop_past(const dari_loop_t *loop, size_t nth, dari_past_t *out);

// ----------------------------------------------------------------------------
// Remotes: the one door to a loop for other threads and for signal handlers.
// ----------------------------------------------------------------------------

// Makes a remote for a loop, on the loop's thread.
//
// From then on any thread may use it at any time, even after the loop is
// gone. `*out` is NULL if it fails. Free it with dari_remote_free.
DARI_API dari_status_t dari_remote_new(dari_loop_t *loop, dari_remote_t **out);

// Stops dari_loop_run from any thread, and from a signal handler.
//
// Async-signal-safe: it allocates nothing, locks nothing and keeps errno. For
// the same reason it leaves dari_last_error as it was. A loop that is gone
// is fine.
DARI_API dari_status_t dari_remote_stop(const dari_remote_t *remote);

// Runs `call` on the loop's thread, as if it were a hook.
//
// If the loop is freed before that, `dropped` is called in its place, so that
// one of the two always gets `user` to free. Either function may be NULL.
//
// What one thread asks for with this and the next four functions is done in
// that order, in a turn of the loop. At most 64 Ki of it all, and 64 MiB, may
// wait; then it is DARI_ERR_FULL. DARI_ERR_STALE: the loop is gone. After an
// error nothing will be done, and neither function is called.
DARI_API dari_status_t dari_remote_call(const dari_remote_t *remote,
                                        void (*call)(void *user, dari_loop_t *loop),
                                        void (*dropped)(void *user), void *user);

// Sends one message, from any thread: dari_conn_send, a little later.
//
// It is checked and copied now. A connection that is not open when the loop
// comes to it is passed over; one that has no room hears so in `dropped`.
// DARI_ERR_TOO_BIG: it is longer than all that may wait.
DARI_API dari_status_t dari_remote_send(const dari_remote_t *remote, dari_conn_t conn,
                                        dari_kind_t kind, const void *data, size_t len);

// Closes a connection, from any thread: dari_conn_close, a little later.
//
// `code` and `reason` are checked now. A connection that has gone by then, or
// can not be closed so, is left alone.
DARI_API dari_status_t dari_remote_close(const dari_remote_t *remote, dari_conn_t conn,
                                         uint16_t code, const char *reason);

// Publishes to `topic`, from any thread: dari_loop_publish, a little later.
//
// The message is checked and copied now; those get it who are subscribed by
// then. DARI_ERR_TOO_BIG: it is longer than all that may wait.
DARI_API dari_status_t dari_remote_publish(const dari_remote_t *remote, const char *topic,
                                           dari_kind_t kind, const void *data, size_t len);

// Publishes to `topic` on `count` loops, from any thread.
//
// As dari_remote_publish for each of them, but the message is checked and
// copied once for all. `except` does not get it, on whichever loop it is; id
// 0 excepts nobody. `*taken`, which may be NULL, is how many loops will do
// it: one that is gone, or for which so much waits that this finds no room,
// is passed over.
DARI_API dari_status_t dari_remote_publish_all(dari_remote_t *const *remotes, size_t count,
                                               const char *topic, dari_conn_t except,
                                               dari_kind_t kind, const void *data, size_t len,
                                               size_t *taken);

// Frees a remote, from any thread. What it has asked for still happens.
//
// NULL is fine.
DARI_API void dari_remote_free(dari_remote_t *remote);

// ----------------------------------------------------------------------------
// Servers and clients: where connections come from.
// ----------------------------------------------------------------------------

// Listens, and serves WebSockets and HTTP on one port.
//
// `address` is "127.0.0.1:9001", "[::1]:9001" ("[::]:0" has the system pick a
// port), "unix:/path" or, on Linux, "unix:@name". `how` and `out` may be NULL.
// DARI_ERR_SYSTEM if the address is taken or may not be used.
DARI_API dari_status_t dari_loop_listen(dari_loop_t *loop, const char *address,
                                        const dari_listen_t *how, const dari_handler_t *handler,
                                        dari_listener_t *out);

// The port that a listener has; 0 if it has none, or is gone.
DARI_API uint16_t dari_listener_port(const dari_loop_t *loop, dari_listener_t listener);

// Accepts no more connections. Those that are there stay.
DARI_API dari_status_t dari_listener_close(dari_loop_t *loop, dari_listener_t listener);

// Connects to a URL: `open` and `close` follow, or `close`.
//
// "ws://host:port/path", "wss://..." with TLS, http and https for the same,
// "ws+unix:/path/of/socket:/target". A login before the host becomes a header
// Authorization. Names are looked up on a thread of the loop's, which the first
// one starts. The id is good at once, though nothing can be sent before `open`.
// `how` and `out` may be NULL.
DARI_API dari_status_t dari_loop_connect(dari_loop_t *loop, const char *url,
                                         const dari_connect_t *how, const dari_handler_t *handler,
                                         dari_conn_t *out);

// Names what has made a connection, and makes the next one if it is to: see
// retry_ms. Id 0 for one that was accepted, and for a stale id.
DARI_API dari_dial_t dari_conn_dial(const dari_loop_t *loop, dari_conn_t conn);

// Connects no more. A connection that is open stays; one that is not open yet
// ends, with DARI_CAUSE_LOCAL.
DARI_API dari_status_t dari_dial_stop(dari_loop_t *loop, dari_dial_t dial);

// ----------------------------------------------------------------------------
// TLS: certificates to show, and whom to trust.
// ----------------------------------------------------------------------------

// Makes a server's TLS of a certificate chain and its key, PEM files.
//
// DARI_ERR_SYSTEM if a file can not be read; DARI_ERR_TLS says which one will
// not do and why: it holds no certificate, is not for the key, has expired.
// TLS 1.2 and 1.3. Free it with dari_tls_free.
DARI_API dari_status_t dari_tls_server_new(const char *cert_file, const char *key_file,
                                           dari_tls_t **out);

// The same from memory: `cert_len` bytes of PEM, and `key_len`.
//
// What is made so has nothing to read again.
DARI_API dari_status_t dari_tls_server_new_pem(const void *cert, size_t cert_len, const void *key,
                                               size_t key_len, dari_tls_t **out);

// Adds another certificate, for clients that ask for one of its names (SNI).
//
// The first one stays for all others.
DARI_API dari_status_t dari_tls_add(const dari_tls_t *tls, const char *cert_file,
                                    const char *key_file);

// Reads all files again; new connections get what is in them.
//
// All are checked first. If one will not do everything stays as it was, and
// DARI_ERR_TLS says which one and why. Connections that are there stay.
DARI_API dari_status_t dari_tls_reload(const dari_tls_t *tls);

// Asks clients for certificates that a CA of this PEM file has issued.
//
// With `required` 1 those without one are refused, with 0 they may come; one
// that will not do is refused in either case.
DARI_API dari_status_t dari_tls_client_ca(const dari_tls_t *tls, const char *ca_file,
                                          uint32_t required);

// Makes a client's TLS: it trusts the certificates in a PEM file.
//
// `roots_file` NULL: those that the system trusts. `cert_file` and `key_file`
// are its own, for servers that ask; NULL, both: it has none. Certificates of
// servers are always checked. Free it with dari_tls_free.
DARI_API dari_status_t dari_tls_client_new(const char *roots_file, const char *cert_file,
                                           const char *key_file, dari_tls_t **out);

// Lets go of it; listeners and clients that use it keep what they need. NULL is
// fine.
DARI_API void dari_tls_free(dari_tls_t *tls);

// ----------------------------------------------------------------------------
// Connections: both sides of one are the same here.
// ----------------------------------------------------------------------------

// Sends one message: now, from any hook or between turns.
//
// `data` may be NULL if `len` is 0. DARI_BUFFERED: taken, but the peer is
// slow, so hold back until `drain`. DARI_ERR_FULL: not taken, max_backlog is
// reached. DARI_ERR_STATE: not open, or a message in parts is unfinished.
// DARI_ERR_ARGUMENT: text, but not UTF-8.
DARI_API dari_status_t dari_conn_send(dari_loop_t *loop, dari_conn_t conn, dari_kind_t kind,
                                      const void *data, size_t len);

// Sends the next part of a message, whose whole length nobody need know.
//
// The first part begins the message, one with `last` other than 0 ends it and
// may be empty; each has the `kind` of the message, without flags. Parts are
// frames (RFC 6455 5.4), never compressed; the peer gets one message. Until
// the last one, other messages on this connection are DARI_ERR_STATE, and
// what is published passes it over; pings and dari_conn_close are fine, but
// a message that was not ended never arrives. Each part of a text ends with
// a whole character, else DARI_ERR_ARGUMENT. DARI_BUFFERED: go on at `drain`.
// DARI_ERR_FULL: this part was not taken, send it again at `drain`.
// DARI_ERR_STATE: not open, or not the kind of the parts before.
DARI_API dari_status_t dari_conn_send_part(dari_loop_t *loop, dari_conn_t conn, dari_kind_t kind,
                                           const void *data, size_t len, uint32_t last);

// Starts the closing handshake (RFC 6455 7.1.2). `close` follows.
//
// `code` is 1000 to 1003, 1007 to 1014, or 3000 to 4999; 0 sends none, and
// then no reason. `reason` may be NULL; DARI_ERR_TOO_BIG above 123 bytes.
// What is queued is sent first; no more messages are delivered. A client that
// is not open yet gives up. DARI_ERR_STATE: closing already, or a request
// that waits for its answer.
DARI_API dari_status_t dari_conn_close(dari_loop_t *loop, dari_conn_t conn, uint16_t code,
                                       const char *reason);

// Drops the connection without a word, in whatever state. `close` follows.
DARI_API dari_status_t dari_conn_abort(dari_loop_t *loop, dari_conn_t conn);

// Sends a ping of at most 125 bytes (RFC 6455 5.5.2). `pong` follows.
//
// You need none to keep a connection alive: see idle_ms. DARI_ERR_TOO_BIG:
// more than 125 bytes. DARI_ERR_STATE: not open.
DARI_API dari_status_t dari_conn_ping(dari_loop_t *loop, dari_conn_t conn, const void *data,
                                      size_t len);

// Reads no more from the peer, and delivers no more, until dari_conn_resume.
//
// TCP slows the peer down meanwhile. Silence is not held against it.
DARI_API dari_status_t dari_conn_pause(dari_loop_t *loop, dari_conn_t conn);

// Reads on after dari_conn_pause. What has waited is delivered first.
DARI_API dari_status_t dari_conn_resume(dari_loop_t *loop, dari_conn_t conn);

// DARI_STATE_*, as in a browser's readyState; CLOSED for a stale id.
DARI_API uint32_t dari_conn_state(const dari_loop_t *loop, dari_conn_t conn);

// Bytes that wait to be sent, as framed; 0 for a stale id, and for a client
// that is not open.
DARI_API size_t dari_conn_backlog(const dari_loop_t *loop, dari_conn_t conn);

// Hangs a pointer of yours on the connection. It is still there in `close`.
//
// dari never looks behind it.
DARI_API dari_status_t dari_conn_set_data(dari_loop_t *loop, dari_conn_t conn, void *data);

// The pointer that dari_conn_set_data left; NULL before, and for a stale id.
DARI_API void *dari_conn_data(const dari_loop_t *loop, dari_conn_t conn);

// Writes the peer's "address:port", and a NUL, into `buf` of `size` bytes.
//
// Its length without the NUL goes to `len`, which may be NULL. If there is no
// room: DARI_ERR_TOO_BIG, with the length still in `len`; so NULL and 0 for
// `buf` and `size` ask for the length.
DARI_API dari_status_t dari_conn_peer(const dari_loop_t *loop, dari_conn_t conn, char *buf,
                                      size_t size, size_t *len);

// The subprotocol that both sides agreed on; NULL data if there is none.
//
// On loan until the next call. None for a stale id either.
DARI_API dari_str_t dari_conn_protocol(const dari_loop_t *loop, dari_conn_t conn);

// The certificate that the peer of an encrypted connection has shown, in DER.
//
// On loan until the next call. NULL data if it has shown none; a client shows
// one if it was asked to: see dari_tls_client_ca.
DARI_API dari_str_t dari_conn_certificate(const dari_loop_t *loop, dari_conn_t conn);

// Walks over the connections of a loop: the one after `conn`.
//
// Start with id 0; id 0 comes after the last. Connections may come and go on
// the way. Those that are not open yet, or no more, are among them.
DARI_API dari_conn_t dari_loop_next(const dari_loop_t *loop, dari_conn_t conn);

// Takes the descriptor of a connection away from dari; it is yours to close.
//
// What dari has read of it and not handed on is written to `buf` of `size`
// bytes, and its length to `len`. If there is no room: DARI_ERR_TOO_BIG, with
// the length in `len`, and nothing has changed. DARI_ERR_STATE while bytes
// wait to be sent, while a message or a request is half here, and in a hook
// behind which more of what was read waits. `close` follows, with
// DARI_CAUSE_RELEASED.
DARI_API dari_status_t dari_conn_release(dari_loop_t *loop, dari_conn_t conn, int32_t *fd,
                                         void *buf, size_t size, size_t *len);

// ----------------------------------------------------------------------------
// Requests: there from `upgrade` or `http` until you have answered.
// ----------------------------------------------------------------------------

// The request's method: "GET". NULL data if there is no request.
//
// On loan until it is answered, like all that follows.
DARI_API dari_str_t dari_request_method(const dari_loop_t *loop, dari_conn_t conn);

// The path and query that were asked for, as they were sent: "/chat?room=1".
DARI_API dari_str_t dari_request_target(const dari_loop_t *loop, dari_conn_t conn);

// The body of an `http` request, whole; empty for an `upgrade`.
DARI_API dari_str_t dari_request_body(const dari_loop_t *loop, dari_conn_t conn);

// The value of the `nth` header line, from 0, of that name in any case.
//
// NULL data if there are not so many.
DARI_API dari_str_t dari_request_header(const dari_loop_t *loop, dari_conn_t conn, const char *name,
                                        size_t nth);

// Accepts an upgrade with 101. `open` follows.
//
// `protocol` is the subprotocol to agree on; NULL takes the first of the
// listener's that the client offered, if any. `count` more `headers` go with
// the answer; they may be NULL if it is 0. DARI_ERR_STATE: not an upgrade, or
// answered already. DARI_ERR_ARGUMENT: the client did not offer `protocol`,
// or a header has a line end in it.
DARI_API dari_status_t dari_conn_accept(dari_loop_t *loop, dari_conn_t conn, const char *protocol,
                                        const dari_header_t *headers, size_t count);

// Answers a request whole: this refuses an upgrade.
//
// dari adds Date, Content-Length and Connection, and leaves out the body for
// HEAD. `count` more `headers` go with it. `status` is 200 to 599.
// DARI_ERR_STATE: answered already. DARI_ERR_ARGUMENT: a header has a line
// end in it, or is one that dari writes.
DARI_API dari_status_t dari_conn_respond(dari_loop_t *loop, dari_conn_t conn, uint16_t status,
                                         const dari_header_t *headers, size_t count,
                                         const void *body, size_t len);

// Begins an answer that comes in pieces, of whatever length (chunked).
//
// Errors as for dari_conn_respond.
DARI_API dari_status_t dari_conn_respond_begin(dari_loop_t *loop, dari_conn_t conn, uint16_t status,
                                               const dari_header_t *headers, size_t count);

// Sends the next piece of an answer; a piece of no bytes ends it.
//
// DARI_BUFFERED and DARI_ERR_FULL as for dari_conn_send. DARI_ERR_STATE: not
// begun, or ended.
DARI_API dari_status_t dari_conn_respond_piece(dari_loop_t *loop, dari_conn_t conn,
                                               const void *data, size_t len);

// ----------------------------------------------------------------------------
// Topics, and messages for many: framed once, whoever gets them.
// ----------------------------------------------------------------------------

// Gives a connection everything that is published to `topic`.
//
// It may do so before it is open, and hears what comes after `open`. A topic
// is there while it has subscribers. Subscribing twice is once. The end of
// the connection unsubscribes. DARI_ERR_STATE: it has ended.
DARI_API dari_status_t dari_conn_subscribe(dari_loop_t *loop, dari_conn_t conn, const char *topic);

// Ends a subscription. One that was not there is fine.
DARI_API dari_status_t dari_conn_unsubscribe(dari_loop_t *loop, dari_conn_t conn,
                                             const char *topic);

// How many connections have subscribed to `topic`; 0 if it is NULL.
DARI_API size_t dari_loop_subscribers(const dari_loop_t *loop, const char *topic);

// Sends a message to every subscriber of `topic` but `except`.
//
// Id 0 excepts nobody. A subscriber whose queue is full, or whose message in
// parts is unfinished, is passed over; no subscribers at all is fine. It is
// compressed once for all who have agreed to the same, but once for each
// with DARI_DEFLATE_TAKEOVER. DARI_ERR_ARGUMENT: text, but not UTF-8.
DARI_API dari_status_t dari_loop_publish(dari_loop_t *loop, const char *topic, dari_conn_t except,
                                         dari_kind_t kind, const void *data, size_t len);

// Frames a message once, to be sent to a list of your own.
//
// On any thread. It is compressed when it is first sent to a peer that has
// agreed to that, and then kept in both forms. `*out` is NULL if it fails.
// Free it with dari_payload_free, at any time: what is queued stays queued.
DARI_API dari_status_t dari_payload_new(dari_kind_t kind, const void *data, size_t len,
                                        dari_payload_t **out);

// Sends a payload as dari_conn_send sends a message.
DARI_API dari_status_t dari_conn_send_payload(dari_loop_t *loop, dari_conn_t conn,
                                              const dari_payload_t *payload);

// Frees a payload, on any thread. NULL is fine.
DARI_API void dari_payload_free(dari_payload_t *payload);

// ----------------------------------------------------------------------------
// Timers, and descriptors of yours that the loop watches along with its own.
// ----------------------------------------------------------------------------

// Calls `fire` after `delay_ms`, and then every `repeat_ms`.
//
// A `repeat_ms` of 0 is once, after which the id is stale; a `delay_ms` of 0
// is the next turn. `out` may be NULL.
DARI_API dari_status_t dari_timer_new(dari_loop_t *loop, uint32_t delay_ms, uint32_t repeat_ms,
                                      void (*fire)(void *user, dari_loop_t *loop,
                                                   dari_timer_t timer),
                                      void *user, dari_timer_t *out);

// Ends a timer, even in its own `fire`, which is not called again.
DARI_API dari_status_t dari_timer_cancel(dari_loop_t *loop, dari_timer_t timer);

// Calls `ready` whenever `fd` is ready for `events`.
//
// `events` is DARI_WATCH_READ, DARI_WATCH_WRITE or both; `ready` gets those
// that are so, again in each turn for as long as they are. The descriptor
// stays yours: cancel the watch before you close it. `out` may be NULL.
// DARI_ERR_SYSTEM: the system cannot watch it, or it is watched already.
DARI_API dari_status_t dari_watch_new(dari_loop_t *loop, int32_t fd, uint32_t events,
                                      void (*ready)(void *user, dari_loop_t *loop,
                                                    dari_watch_t watch, uint32_t events),
                                      void *user, dari_watch_t *out);

// Ends a watch, even in its own `ready`, which is not called again.
DARI_API dari_status_t dari_watch_cancel(dari_loop_t *loop, dari_watch_t watch);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* DARI_H */
