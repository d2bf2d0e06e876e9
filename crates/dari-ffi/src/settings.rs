//! Settings: what you hand to dari when you make a loop, listen or connect.
//!
//! What holds for the structs of `types` holds for these: no padding, no Rust enum, no bool.

use crate::types::*;
use std::ffi::{c_char, c_void};

/// What dari calls when something happens: the same for both sides.
///
/// Set struct_size; every other field may stay zero, and every hook may be
/// NULL. dari copies the struct, so it need not outlive the call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct dari_handler_t {
    /// sizeof(dari_handler_t).
    pub struct_size: usize,
    /// Handed to every hook. dari never looks behind it.
    pub user: *mut c_void,
    /// The handshake is done: messages may flow.
    pub open: Option<unsafe extern "C" fn(user: *mut c_void, r#loop: *mut dari_loop_t, conn: dari_conn_t)>,
    /// A message came, whole. Not called if there is `part`.
    pub message: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            r#loop: *mut dari_loop_t,
            conn: dari_conn_t,
            message: *const dari_message_t,
        ),
    >,
    /// The queue is short again: go on after DARI_BUFFERED.
    pub drain: Option<unsafe extern "C" fn(user: *mut c_void, r#loop: *mut dari_loop_t, conn: dari_conn_t)>,
    /// It failed. `close` follows at once, with the same story.
    pub error: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            r#loop: *mut dari_loop_t,
            conn: dari_conn_t,
            why: *const dari_close_t,
        ),
    >,
    /// It is over, whether or not it had opened: the last call for this id,
    /// and the place to free what dari_conn_data gives.
    pub close: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            r#loop: *mut dari_loop_t,
            conn: dari_conn_t,
            why: *const dari_close_t,
        ),
    >,
    /// A client asks for a WebSocket: answer now or later, with
    /// dari_conn_accept, or with dari_conn_respond to refuse. NULL accepts.
    pub upgrade: Option<unsafe extern "C" fn(user: *mut c_void, r#loop: *mut dari_loop_t, conn: dari_conn_t)>,
    /// A client asks for something else, and its body is here: answer now or
    /// later, with dari_conn_respond. NULL answers 426.
    pub http: Option<unsafe extern "C" fn(user: *mut c_void, r#loop: *mut dari_loop_t, conn: dari_conn_t)>,
    /// The peer answered a ping: the bytes of yours, or none if it was sent for
    /// idle_ms.
    pub pong: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            r#loop: *mut dari_loop_t,
            conn: dari_conn_t,
            data: *const c_void,
            len: usize,
        ),
    >,
    /// The next bytes of a message came, in place of whole ones for `message`;
    /// `last` is 1 if it ends with them, else 0.
    ///
    /// For messages that are too long to be held: set max_message to match.
    /// A piece is as long as what was read or inflated at a time, and may be
    /// empty if it is the last. Text is checked, but a piece may end within a
    /// character. A message of which the last part never comes has ended with
    /// its connection.
    pub part: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            r#loop: *mut dari_loop_t,
            conn: dari_conn_t,
            part: *const dari_message_t,
            last: u32,
        ),
    >,
    /// Messages that a slow peer will not get: they were dropped to make room
    /// for newer ones, or were published and passed it over. At the end of the
    /// turn, all of it in one.
    pub dropped: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            r#loop: *mut dari_loop_t,
            conn: dari_conn_t,
            messages: usize,
            bytes: usize,
        ),
    >,
    /// Peers were turned away at the door of the listener: told 503, and closed.
    /// Called at most once a second for each reason.
    pub limited:
        Option<unsafe extern "C" fn(user: *mut c_void, r#loop: *mut dari_loop_t, what: *const dari_limited_t)>,
    /// A dial will connect again, as the `attempt`th time in a row, from 1, in
    /// `delay_ms`. Comes after the `close` of the connection before; the next
    /// one has an id of its own, of which `open` or `close` tells.
    pub retry: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            r#loop: *mut dari_loop_t,
            dial: dari_dial_t,
            attempt: u32,
            delay_ms: u32,
        ),
    >,
}

/// What one peer may cost. A field that is 0 has its default.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct dari_limits_t {
    /// sizeof(dari_limits_t).
    pub struct_size: usize,
    /// Longest message that is received, in bytes. Default 16 MiB. A longer
    /// one ends the connection with 1009.
    pub max_message: usize,
    /// Bytes queued on a connection above which sends return DARI_BUFFERED, and
    /// the peer is not read from if they are answers to it. Default 256 KiB.
    pub high_water: usize,
    /// Bytes queued at which `drain` is called and reading goes on. Default
    /// 64 KiB. One that is not below high_water is a quarter of that.
    pub low_water: usize,
    /// Bytes queued from which on `slow` decides what happens to a message.
    /// Default 4 MiB. So at most this and one message wait.
    pub max_backlog: usize,
    /// Longest head of a request or an answer, in bytes. Default 16 KiB.
    pub max_head: usize,
    /// Longest body of an HTTP request, in bytes. Default 1 MiB.
    pub max_body: usize,
    /// From the first contact until it is open. Default 10 s.
    pub handshake_ms: u32,
    /// Silence of the peer until it gets a ping, and as long again until it is
    /// given up. Default 30 s.
    pub idle_ms: u32,
    /// From our Close frame until the end. Default 5 s.
    pub close_ms: u32,
    /// How long a peer may take none of what is queued for it. Default 30 s.
    pub stall_ms: u32,
    /// Messages that are shorter, in bytes, are sent as they are, but for those
    /// with DARI_COMPRESS. Default 64. DARI_UNLIMITED: only those with it are
    /// compressed.
    pub deflate_min: usize,
    /// DARI_DEFLATE_*. Default DARI_DEFLATE_OFF. The memory is counted in
    /// max_memory.
    ///
    /// A message borrows its context, about 340 KiB to compress and 48 KiB to
    /// inflate, for as long as it takes; with DARI_DEFLATE_TAKEOVER each
    /// connection keeps the one and the other once it has used it. The limit
    /// max_message is on what a message inflates to.
    pub deflate: u32,
    /// From 1, fast, to 9, small. Default 3.
    pub deflate_level: u32,
    /// Pings and pongs that a peer may send in a second. Default 250,000.
    /// UINT32_MAX lifts it.
    pub max_controls: u32,
    /// DARI_SLOW_*. Default DARI_SLOW_REFUSE.
    pub slow: u32,
    /// Longest target of a request, in bytes. Default 8 KiB.
    pub max_target: usize,
    /// Header lines of a request or an answer. Default 100; more than 100 has no
    /// effect.
    pub max_headers: u32,
    /// Empty frames that a message may hold before its last one. Default 1,000.
    pub max_empty_fragments: u32,
    /// How long a connection is kept for another plain request. Default 15 s.
    pub keep_alive_ms: u32,
    /// 0.
    pub reserved: u32,
}

/// How to listen. A field that is 0 or NULL has its default.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct dari_listen_t {
    /// sizeof(dari_listen_t).
    pub struct_size: usize,
    /// For every connection. NULL: the defaults.
    pub limits: *const dari_limits_t,
    /// Subprotocols that you speak, best first; a NULL ends the list.
    pub protocols: *const *const c_char,
    /// Origins of web pages that may connect, "https://example.org", or "*"
    /// for all; a NULL ends the list. NULL: pages of the same host alone.
    /// Programs that send no Origin may always connect.
    pub origins: *const *const c_char,
    /// Certificates to show, from dari_tls_server_new. NULL: plain TCP.
    pub tls: *const dari_tls_t,
    /// A folder whose files are served to GET and HEAD; `http` is asked only
    /// for what is not in it. NULL: none.
    pub folder: *const c_char,
    /// Networks whose header X-Forwarded-For is believed, "10.0.0.0/8", "::1",
    /// "unix:"; a NULL ends the list. NULL: none. Whom they speak for counts
    /// in the limits of one address, and is what dari_conn_peer gives.
    pub trusted_proxies: *const *const c_char,
    /// Connections of the whole loop from which on peers are turned away.
    /// Default: the soft RLIMIT_NOFILE, less 64.
    pub max_conns: usize,
    /// Connections of one address at a time; IPv6 counts by /64. Default 1,024.
    /// Not for loopback addresses, unix sockets and trusted proxies.
    pub max_conns_per_ip: usize,
    /// Connections of one address in a second, four times as many in a burst.
    /// Default 256. Not for those either.
    pub connects_per_second_per_ip: usize,
    /// Bits: DARI_LISTEN_LIMIT_LOOPBACK, DARI_LISTEN_REUSE_PORT.
    pub flags: u32,
    /// 0.
    pub reserved: u32,
}

/// How to connect. A field that is 0 or NULL has its default.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct dari_connect_t {
    /// sizeof(dari_connect_t).
    pub struct_size: usize,
    /// NULL: the defaults.
    pub limits: *const dari_limits_t,
    /// Subprotocols to offer, best first; a NULL ends the list.
    pub protocols: *const *const c_char,
    /// More lines for the request, `header_count` of them.
    pub headers: *const dari_header_t,
    /// How many `headers` there are.
    pub header_count: usize,
    /// The Origin to send. NULL: none.
    pub origin: *const c_char,
    /// For wss://, whom to trust, from dari_tls_client_new. NULL: the
    /// certificates that the system trusts.
    pub tls: *const dari_tls_t,
    /// The name that the server's certificate has to be for. NULL: the URL's.
    pub tls_name: *const c_char,
    /// A proxy: "http://host:port" or "socks5://host:port", with
    /// "user:password@" if need be. "env": as the environment's http_proxy and
    /// its kin have it. NULL: none.
    pub proxy: *const c_char,
    /// To connect again after an end that you did not ask for: after a random
    /// time from 0 to a bound that begins with this and doubles each time, and
    /// behind the server's Retry-After, if there is one. 0 is not at all.
    pub retry_ms: u32,
    /// The bound's bound, and that of the whole delay. Default 30 s.
    pub retry_max_ms: u32,
    /// How often in a row. Default without end.
    pub retry_count: u32,
    /// Has the system ask after this much silence, and then as often, whether the
    /// server is still there (SO_KEEPALIVE); whole seconds, rounded up. 0: not
    /// at all, idle_ms does it.
    pub keepalive_ms: u32,
    /// How long the system waits for what it has sent to be acknowledged, before
    /// it gives the connection up (TCP_USER_TIMEOUT). 0: as the system has it.
    pub user_timeout_ms: u32,
    /// 0.
    pub reserved: u32,
}

/// What a loop may cost, and whom it tells of itself. A field that is 0 or NULL
/// has its default.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct dari_loop_config_t {
    /// sizeof(dari_loop_config_t).
    pub struct_size: usize,
    /// Bytes that all its connections may allocate together for what they are
    /// receiving, for what is queued, and to compress. Default 1 GiB.
    ///
    /// Over nine tenths of it those that have received the most of a message are
    /// not read from; at the limit the one that holds the most is closed with
    /// 1013, and sends return DARI_ERR_MEMORY. Payloads of yours do not count.
    pub max_memory: usize,
    /// Bytes of one read, and about what one connection gets of a turn before
    /// the others are looked at; up to four times as many where they end a
    /// message that has begun. Default 256 KiB; at least 16 KiB.
    pub max_read: usize,
    /// Events of one turn. Default 1,024.
    pub max_events: u32,
    /// A hook that runs longer is counted, and told to `log` with its name: while
    /// it runs, everybody else waits. Default DARI_NEVER, which costs nothing.
    pub slow_hook_ms: u32,
    /// The levels that `log` is called for: DARI_LOG_* and those below. Default 0,
    /// none.
    pub log_level: u32,
    /// 0.
    pub reserved: u32,
    /// Handed to `log`.
    pub user: *mut c_void,
    /// The log. A hook: called at the end of the turn in which it happened, and
    /// everything may be called in it. NULL: silence.
    pub log: Option<unsafe extern "C" fn(user: *mut c_void, r#loop: *mut dari_loop_t, line: *const dari_log_t)>,
}

/// Sizes are sums of fields: no padding, whatever the width of a pointer.
const _: () = {
    const WORD: usize = size_of::<usize>();
    assert!(size_of::<dari_handler_t>() == 14 * WORD);
    assert!(size_of::<dari_limits_t>() == 9 * WORD + 12 * 4);
    assert!(size_of::<dari_listen_t>() == 10 * WORD + 8);
    assert!(size_of::<dari_connect_t>() == 9 * WORD + 24);
    assert!(size_of::<dari_loop_config_t>() == 5 * WORD + 16);
};
