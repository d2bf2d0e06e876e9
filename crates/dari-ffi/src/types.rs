//! Types: what the header declares besides functions, in reading order.
//!
//! No struct has padding, inside or at its end: an appended field would read what an older caller left there.
//! No field is a Rust enum or bool, which have values that C could break.

use crate::guard::Guarded;
use crate::remote::Hand;
use dari::{ConnId, DialId, ListenerId, Payload, TimerId, Tls, WatchId};
use std::ffi::c_char;

/// Whether a message is text or binary. To send one, DARI_COMPRESS or
/// DARI_PLAIN may be added.
pub type dari_kind_t = u32;

/// Text: UTF-8, which dari checks in both directions.
pub const DARI_TEXT: dari_kind_t = 1;
/// Any bytes.
pub const DARI_BINARY: dari_kind_t = 2;
/// To be compressed, however short, where the peer has agreed to it and it gets
/// smaller: DARI_TEXT | DARI_COMPRESS. Never set in what you are handed.
pub const DARI_COMPRESS: dari_kind_t = 0x100;
/// Not to be compressed: what is compressed already, or holds a secret beside
/// bytes that a stranger chose, who could guess it by the length.
pub const DARI_PLAIN: dari_kind_t = 0x200;

/// For dari_limits_t, permessage-deflate (RFC 7692): no compression.
pub const DARI_DEFLATE_OFF: u32 = 0;
/// Compress each message by itself, where the peer agrees. A connection holds
/// no context between two messages, so it is hardly larger than one without.
pub const DARI_DEFLATE: u32 = 1;
/// Messages may refer to earlier ones (context takeover, RFC 7692 7.1.1):
/// smaller, for memory that each connection holds from its first compressed
/// message on.
pub const DARI_DEFLATE_TAKEOVER: u32 = 2;

/// For dari_limits_t, what happens to a message for a peer of whom max_backlog
/// bytes are queued: it is refused, DARI_ERR_FULL; what is published passes
/// the peer over.
pub const DARI_SLOW_REFUSE: u32 = 0;
/// The connection is closed with 1013, and the message is refused.
pub const DARI_SLOW_CLOSE: u32 = 1;
/// The oldest messages that have not begun to leave give way to it. Not with
/// DARI_DEFLATE_TAKEOVER, and never parts of messages or bodies.
pub const DARI_SLOW_DROP_OLDEST: u32 = 2;

/// For dari_listen_t, a bit: the limits of one address hold for loopback
/// addresses and unix sockets, too.
pub const DARI_LISTEN_LIMIT_LOOPBACK: u32 = 1;
/// A bit: other listeners with this bit, of the same user, may have the same
/// address and port; the system spreads connections over them (SO_REUSEPORT).
pub const DARI_LISTEN_REUSE_PORT: u32 = 2;

/// In dari_limited_t, why peers were turned away: max_conns.
pub const DARI_LIMITED_CONNS: u32 = 1;
/// max_conns_per_ip.
pub const DARI_LIMITED_PER_IP: u32 = 2;
/// connects_per_second_per_ip.
pub const DARI_LIMITED_RATE: u32 = 3;
/// The process or the system has no descriptors left, or no memory for them.
pub const DARI_LIMITED_DESCRIPTORS: u32 = 4;

/// The level of a log line: what should be done can not be done.
pub const DARI_LOG_ERROR: u32 = 1;
/// Something went wrong, mostly for one connection.
pub const DARI_LOG_WARN: u32 = 2;
/// What a daemon's log has on an ordinary day.
pub const DARI_LOG_INFO: u32 = 3;
/// Every connection's beginning and end.
pub const DARI_LOG_DEBUG: u32 = 4;
/// Every step.
pub const DARI_LOG_TRACE: u32 = 5;

/// As a size or a count: no limit. 0 is the default.
pub const DARI_UNLIMITED: usize = SIZE_MAX;
/// As a number of milliseconds: never. 0 is the default.
pub const DARI_NEVER: u32 = u32::MAX;

/// Why a connection ended: one of DARI_CAUSE_*.
pub type dari_cause_t = u32;

/// The peer closed it, with or without a code.
pub const DARI_CAUSE_PEER: dari_cause_t = 1;
/// You closed it with dari_conn_close.
pub const DARI_CAUSE_LOCAL: dari_cause_t = 2;
/// The loop was freed or shut down.
pub const DARI_CAUSE_SHUTDOWN: dari_cause_t = 3;
/// You dropped it with dari_conn_abort.
pub const DARI_CAUSE_ABORT: dari_cause_t = 4;
/// You took its descriptor away from dari.
pub const DARI_CAUSE_RELEASED: dari_cause_t = 5;
/// The peer's stream ended without a Close frame.
pub const DARI_CAUSE_EOF: dari_cause_t = 10;
/// The peer reset the connection.
pub const DARI_CAUSE_RESET: dari_cause_t = 11;
/// Another error of the network: see `os_error`.
pub const DARI_CAUSE_SYSTEM: dari_cause_t = 12;
/// The peer broke the protocol: `rule` says which rule, `offset` where.
pub const DARI_CAUSE_PROTOCOL: dari_cause_t = 20;
/// The peer sent text that is not UTF-8.
pub const DARI_CAUSE_UTF8: dari_cause_t = 21;
/// The peer's message was longer than max_message.
pub const DARI_CAUSE_TOO_BIG: dari_cause_t = 22;
/// The peer hit another limit: see `limit` and `met`.
pub const DARI_CAUSE_LIMIT: dari_cause_t = 23;
/// The loop's memory was used up, and this connection held the most.
pub const DARI_CAUSE_MEMORY: dari_cause_t = 24;
/// The peer did not read what was sent to it.
pub const DARI_CAUSE_SLOW_PEER: dari_cause_t = 25;
/// It had not opened within handshake_ms.
pub const DARI_CAUSE_HANDSHAKE_TIMEOUT: dari_cause_t = 30;
/// The peer was silent, and did not answer a ping either.
pub const DARI_CAUSE_IDLE_TIMEOUT: dari_cause_t = 31;
/// The peer did not answer our Close frame within close_ms.
pub const DARI_CAUSE_CLOSE_TIMEOUT: dari_cause_t = 32;
/// The peer's name could not be resolved.
pub const DARI_CAUSE_DNS: dari_cause_t = 40;
/// The peer could not be reached: see `os_error`.
pub const DARI_CAUSE_CONNECT: dari_cause_t = 41;
/// The proxy did not let us through.
pub const DARI_CAUSE_PROXY: dari_cause_t = 42;
/// The two sides did not agree on TLS: see `tls_alert`, and in `by` who said so.
pub const DARI_CAUSE_TLS: dari_cause_t = 43;
/// The handshake was refused: see `status`.
pub const DARI_CAUSE_REFUSED: dari_cause_t = 44;

/// In dari_close_t, who ended it first: the peer.
pub const DARI_BY_PEER: u32 = 1;
/// This side, be it you or dari.
pub const DARI_BY_US: u32 = 2;
/// The network between.
pub const DARI_BY_NETWORK: u32 = 3;

/// From dari_conn_state, with the numbers of a browser's readyState: the
/// handshake is not done, or an HTTP request is being answered.
pub const DARI_STATE_CONNECTING: u32 = 0;
/// Messages may flow.
pub const DARI_STATE_OPEN: u32 = 1;
/// A Close frame has gone one way.
pub const DARI_STATE_CLOSING: u32 = 2;
/// It is over.
pub const DARI_STATE_CLOSED: u32 = 3;

/// For dari_watch_new, a bit: there is something to read, or the end.
pub const DARI_WATCH_READ: u32 = 1;
/// A bit: there is room to write.
pub const DARI_WATCH_WRITE: u32 = 2;

/// An event loop, and everything that lives on it.
pub struct dari_loop_t(pub(crate) Guarded);

/// A hand on a loop, for other threads and signal handlers. It may outlive
/// the loop.
pub struct dari_remote_t(pub(crate) Hand);

/// A message framed once, to be sent to many. Belongs to no loop.
pub struct dari_payload_t(pub(crate) Payload);

/// Certificates and keys: what a server shows, or whom a client trusts. Shared
/// by any number of listeners and clients, of any loops.
pub struct dari_tls_t(pub(crate) Tls);

/// Names one connection. Never used again for another; id 0 names none.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the name of the struct says it")]
pub struct dari_conn_t {
    pub id: u64,
}

/// Names one listening socket.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the name of the struct says it")]
pub struct dari_listener_t {
    pub id: u64,
}

/// Names one client that connects, and connects again if it is to.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the name of the struct says it")]
pub struct dari_dial_t {
    pub id: u64,
}

/// Names one timer.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the name of the struct says it")]
pub struct dari_timer_t {
    pub id: u64,
}

/// Names one descriptor of yours that the loop watches.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the name of the struct says it")]
pub struct dari_watch_t {
    pub id: u64,
}

/// Text on loan. It has no NUL at its end: print it with "%.*s".
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct dari_str_t {
    /// NULL where there is no text, which is not the same as empty text.
    pub data: *const c_char,
    /// In bytes.
    pub len: usize,
}

/// One header line of a request or a response.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct dari_header_t {
    /// A token, in any case: "Content-Type".
    pub name: *const c_char,
    /// One line, without control characters.
    pub value: *const c_char,
}

/// One whole message, however many frames it came in; in `part`, a piece.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct dari_message_t {
    /// DARI_TEXT or DARI_BINARY.
    pub kind: dari_kind_t,
    /// 0.
    pub reserved: u32,
    /// The payload: unmasked, UTF-8 if it is text, no NUL at its end.
    pub data: *const c_char,
    /// In bytes.
    pub len: usize,
}

/// How a connection ended. Only ever on loan, and grows at its end.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct dari_close_t {
    /// What happened: DARI_CAUSE_*.
    pub cause: dari_cause_t,
    /// Who ended it first: DARI_BY_*.
    pub by: u32,
    /// What a browser would show: the peer's code, 1005 if its Close frame had
    /// none, 1006 if no Close frame came (RFC 6455 7.1.5).
    pub code: u16,
    /// The code that this side sent, or 0.
    pub sent_code: u16,
    /// 1 if Close frames went both ways and neither side failed the
    /// connection, else 0.
    pub was_clean: u8,
    /// 1 if it had been open, else 0.
    pub opened: u8,
    /// The HTTP status of a handshake that was refused, or 0.
    pub status: u16,
    /// The peer's words for `code`.
    pub reason: dari_str_t,
    /// The whole story in one line, for the log.
    pub text: dari_str_t,
    /// The rule that the peer broke, with its RFC section; else NULL.
    pub rule: dari_str_t,
    /// Where in the peer's stream it broke it, in bytes.
    pub offset: u64,
    /// The limit that struck, or 0.
    pub limit: u64,
    /// The value that the limit met, or 0.
    pub met: u64,
    /// Bytes that were queued and never sent: yours, as framed.
    pub unsent_bytes: u64,
    /// Messages that were queued and not wholly sent.
    pub unsent_messages: u64,
    /// The system's errno, or 0.
    pub os_error: i32,
    /// The TLS alert, or 0: the peer's if `by` is DARI_BY_PEER, else this side's.
    pub tls_alert: i32,
    /// 1 if its dial connects again, unless you stop it: `retry` follows. 0 if
    /// that was the last connection of its dial, or it had none.
    pub will_retry: u32,
    /// 0.
    pub reserved: u32,
}

/// Peers that were turned away at the door, for `limited`. Only ever on loan,
/// and grows at its end.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct dari_limited_t {
    /// Where they came.
    pub listener: dari_listener_t,
    /// Why: DARI_LIMITED_*.
    pub which: u32,
    /// 0.
    pub reserved: u32,
    /// How many, since you were told last.
    pub count: u64,
    /// The limit that struck; 0 for descriptors.
    pub limit: u64,
    /// The last of them, "address:port"; empty if that is not known.
    pub peer: dari_str_t,
}

/// A line of the log. Only ever on loan, and grows at its end.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct dari_log_t {
    /// DARI_LOG_*.
    pub level: u32,
    /// 0.
    pub reserved: u32,
    /// Whose it is, or id 0.
    pub conn: dari_conn_t,
    /// What happened, in a word: "listen", "accept", "open", "close",
    /// "dropped", "limited", "memory", "slow_hook", "shutdown", "log".
    pub event: dari_str_t,
    /// Who is there, "address:port", or nothing.
    pub peer: dari_str_t,
    /// What happened, in a line, without a newline.
    pub text: dari_str_t,
}

/// By the name that the header is to have for it.
const SIZE_MAX: usize = usize::MAX;

/// Sizes are sums of fields: no padding, whatever the width of a pointer.
const _: () = {
    const WORD: usize = size_of::<usize>();
    assert!(size_of::<dari_str_t>() == 2 * WORD);
    assert!(size_of::<dari_header_t>() == 2 * WORD);
    assert!(size_of::<dari_message_t>() == 8 + 2 * WORD);
    assert!(size_of::<dari_close_t>() == 16 + 6 * WORD + 5 * 8 + 4 * 4);
    assert!(size_of::<dari_limited_t>() == 8 + 8 + 16 + 2 * WORD);
    assert!(size_of::<dari_log_t>() == 8 + 8 + 6 * WORD);
};

/// An id of C is the bits of an id of dari.
macro_rules! ids {
    ($($c:ident is $rust:ident;)*) => {$(
        impl From<$rust> for $c {
            fn from(id: $rust) -> Self {
                Self { id: id.to_bits() }
            }
        }
        impl From<$c> for $rust {
            fn from(id: $c) -> Self {
                Self::from_bits(id.id)
            }
        }
    )*};
}

ids! {
    dari_conn_t is ConnId;
    dari_listener_t is ListenerId;
    dari_dial_t is DialId;
    dari_timer_t is TimerId;
    dari_watch_t is WatchId;
}

impl dari_conn_t {
    /// The connection it names; id 0 names none.
    pub(crate) fn named(self) -> Option<ConnId> {
        (self.id != 0).then(|| self.into())
    }
}

impl dari_str_t {
    /// No text at all.
    pub(crate) const NONE: Self = Self { data: std::ptr::null(), len: 0 };

    /// Lends bytes; the caller sees to it that they stay.
    pub(crate) fn lend(bytes: &[u8]) -> Self {
        let data = if bytes.is_empty() { c"".as_ptr() } else { bytes.as_ptr().cast() };
        Self { data, len: bytes.len() }
    }
}
