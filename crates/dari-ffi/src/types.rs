//! Types: what the header declares besides functions, in reading order.
//!
//! No struct has padding, inside or at its end: an appended field would read what an older caller left there.
//! No field is a Rust enum or bool, which have values that C could break.

use crate::guard::Guarded;
use crate::remote::Hand;
use dari::{ConnId, ListenerId, Payload, TimerId, WatchId};
use std::ffi::{c_char, c_void};

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
/// The two sides did not agree on TLS: see `tls_alert`.
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
    /// Bytes that were queued and never sent.
    pub unsent_bytes: u64,
    /// Messages that were queued and not wholly sent.
    pub unsent_messages: u64,
    /// The system's errno, or 0.
    pub os_error: i32,
    /// The TLS alert, or 0.
    pub tls_alert: i32,
}

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
    /// Bytes queued on a connection above which sends return DARI_BUFFERED and
    /// the peer is not read from. Default 256 KiB.
    pub high_water: usize,
    /// Bytes queued at which `drain` is called and reading goes on. Default
    /// 64 KiB. One that is not below high_water is a quarter of that.
    pub low_water: usize,
    /// Bytes queued from which sends return DARI_ERR_FULL. Default 4 MiB.
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
    /// A folder whose files are served to GET and HEAD; `http` is asked only
    /// for what is not in it. NULL: none.
    pub folder: *const c_char,
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
}

/// What a loop may cost. A field that is 0 has its default.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct dari_loop_config_t {
    /// sizeof(dari_loop_config_t).
    pub struct_size: usize,
    /// Bytes that all its connections may allocate together for what they are
    /// receiving, and to compress. Default 1 GiB.
    pub max_memory: usize,
}

/// By the name that the header is to have for it.
const SIZE_MAX: usize = usize::MAX;

/// Sizes are sums of fields: no padding, whatever the width of a pointer.
const _: () = {
    const WORD: usize = size_of::<usize>();
    assert!(size_of::<dari_str_t>() == 2 * WORD);
    assert!(size_of::<dari_header_t>() == 2 * WORD);
    assert!(size_of::<dari_message_t>() == 8 + 2 * WORD);
    assert!(size_of::<dari_close_t>() == 16 + 6 * WORD + 5 * 8 + 8);
    assert!(size_of::<dari_handler_t>() == 11 * WORD);
    assert!(size_of::<dari_limits_t>() == 8 * WORD + 8 * 4);
    assert!(size_of::<dari_listen_t>() == 5 * WORD);
    assert!(size_of::<dari_connect_t>() == 6 * WORD);
    assert!(size_of::<dari_loop_config_t>() == 2 * WORD);
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
