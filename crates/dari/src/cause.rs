//! Why a connection ended: the one place where an end is turned into codes and words.

use crate::door::Which;
use dari_core::{Closing, Violation, status_reason};
use std::cell::OnceCell;
use std::io;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum Cause {
    /// The peer closed.
    Peer = 1,
    /// We closed.
    Local = 2,
    /// The loop was shut down.
    Shutdown = 3,
    /// We dropped it.
    Abort = 4,
    /// The host took the descriptor.
    Released = 5,
    /// The peer's end of the stream, without a Close frame.
    Eof = 10,
    /// The peer reset the connection.
    Reset = 11,
    /// Another error of the operating system.
    System = 12,
    /// The peer broke a rule.
    Protocol = 20,
    /// The peer sent text that is not UTF-8.
    Utf8 = 21,
    /// The peer sent a message longer than the limit.
    TooBig = 22,
    /// Another limit struck.
    Limit = 23,
    /// The memory limit struck.
    Memory = 24,
    /// The peer was too slow in taking what was sent.
    SlowPeer = 25,
    /// It did not open in time.
    HandshakeTimeout = 30,
    /// The peer was silent, and did not answer a ping.
    IdleTimeout = 31,
    /// The peer did not answer our Close frame in time.
    CloseTimeout = 32,
    /// The name could not be resolved.
    Dns = 40,
    /// The connection could not be made.
    Connect = 41,
    /// The proxy said no.
    Proxy = 42,
    /// TLS failed.
    Tls = 43,
    /// The server answered something else than 101.
    Refused = 44,
}

impl Cause {
    /// All of them, in order.
    pub const ALL: [Self; 22] = [
        Self::Peer,
        Self::Local,
        Self::Shutdown,
        Self::Abort,
        Self::Released,
        Self::Eof,
        Self::Reset,
        Self::System,
        Self::Protocol,
        Self::Utf8,
        Self::TooBig,
        Self::Limit,
        Self::Memory,
        Self::SlowPeer,
        Self::HandshakeTimeout,
        Self::IdleTimeout,
        Self::CloseTimeout,
        Self::Dns,
        Self::Connect,
        Self::Proxy,
        Self::Tls,
        Self::Refused,
    ];

    /// In a few words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Peer => "the peer closed",
            Self::Local => "this side closed",
            Self::Shutdown => "this side shut down",
            Self::Abort => "this side dropped the connection",
            Self::Released => "the host took the descriptor",
            Self::Eof => "the peer ended the stream without a Close frame",
            Self::Reset => "the connection was reset",
            Self::System => "the operating system reported an error",
            Self::Protocol => "the peer broke a rule of the protocol",
            Self::Utf8 => "the peer sent text that is not UTF-8",
            Self::TooBig => "the peer sent a message longer than the limit",
            Self::Limit => "the peer met a limit",
            Self::Memory => "the memory limit was reached",
            Self::SlowPeer => "the peer was too slow in taking what was sent",
            Self::HandshakeTimeout => "the handshake took too long",
            Self::IdleTimeout => "the peer was silent and did not answer a ping",
            Self::CloseTimeout => "the peer did not answer our Close frame",
            Self::Dns => "the name could not be resolved",
            Self::Connect => "the connection could not be made",
            Self::Proxy => "the proxy refused",
            Self::Tls => "TLS failed",
            Self::Refused => "the server refused the handshake",
        }
    }

    /// Whether such an end is a failure, of which the hook `error` is told.
    pub fn is_failure(self) -> bool {
        !matches!(self, Self::Peer | Self::Local | Self::Shutdown | Self::Abort | Self::Released)
    }
}

/// Who ended it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum By {
    /// The peer.
    Peer = 1,
    /// This side.
    Us = 2,
    /// The network between.
    Network = 3,
}

/// The story of an end.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Close {
    /// Why.
    pub cause: Cause,
    /// Who ended it first.
    pub by: By,
    /// What a browser would show: the code of the peer's Close frame, 1005 if it had none, 1006 if none came.
    pub code: u16,
    /// The code that we sent, or 0.
    pub sent_code: u16,
    /// Whether Close frames went both ways and neither side failed the connection.
    pub was_clean: bool,
    /// Whether it had opened.
    pub opened: bool,
    /// The HTTP status of a refused handshake, or 0.
    pub status: u16,
    /// The reason in the peer's Close frame.
    pub reason: String,
    /// The rule that was broken.
    pub rule: Option<&'static str>,
    /// Where in the peer's stream, in bytes.
    pub offset: u64,
    /// The limit that struck, or 0.
    pub limit: u64,
    /// The value that it met.
    pub met: u64,
    /// Bytes that were queued and never sent.
    pub unsent_bytes: u64,
    /// Messages that were queued and never sent whole.
    pub unsent_messages: u64,
    /// An errno, or 0.
    pub os_error: i32,
    /// A TLS alert, or 0.
    pub tls_alert: i32,
    /// Whether the dial connects again unless it is stopped: [`retry`](crate::Handler::retry) follows.
    pub will_retry: bool,
    pub(crate) end: End,
    pub(crate) violation: Option<Violation>,
    pub(crate) detail: Option<Box<str>>,
    /// Made when somebody asks for it.
    pub(crate) text: OnceCell<Box<str>>,
}

/// How an end came about, as the loop saw it; what the protocol knows is in [`Closing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The protocol is through with it: both Close frames, or the last answer.
    Done,
    /// Plain HTTP: the last answer has gone.
    Answered,
    /// The peer's end of the stream.
    Eof,
    /// The peer's end of the stream, between two plain requests.
    EofBetween,
    /// A read or write failed.
    Io(i32),
    Abort,
    Shutdown,
    /// A deadline; how long it was, in milliseconds.
    HandshakeTimeout(u32),
    IdleTimeout(u32),
    CloseTimeout(u32),
    Stalled(u32),
    /// Too much was queued for it.
    Slow {
        limit: usize,
        met: usize,
    },
    /// The loop's memory was used up, and it held the most.
    Memory {
        limit: usize,
        met: usize,
    },
    /// There was no room for it.
    Turned {
        which: Which,
        limit: u64,
    },
    /// The host took the descriptor.
    Released,
    /// The name has no address.
    Dns,
    /// No address could be reached.
    Connect(i32),
    /// The proxy did not let us through; its status, or 0.
    Proxy(u16),
    /// TLS failed; the alert, or 0, and whether the peer said it.
    Tls {
        alert: u8,
        received: bool,
    },
    /// The server's answer.
    Refused(u16),
}

impl End {
    /// Whether it is what the host has asked for, however it came about in the end.
    pub(crate) fn is_by_host(self, closing: Option<&Closing>) -> bool {
        let we_closed =
            closing.is_some_and(|closing| closing.first == dari_core::By::Us && closing.failure.is_none());
        match self {
            Self::Abort | Self::Shutdown | Self::Released => true,
            Self::Done => judge(self, closing).0 == Cause::Local,
            Self::Eof | Self::Io(_) | Self::CloseTimeout(_) => we_closed,
            _ => false,
        }
    }
}

/// What else is known when the story is told.
pub(crate) struct Scene<'a> {
    pub(crate) end: End,
    pub(crate) closing: Option<&'a Closing>,
    pub(crate) opened: bool,
    pub(crate) unsent_bytes: u64,
    pub(crate) unsent_messages: u64,
    pub(crate) detail: Option<&'a str>,
}

impl Close {
    /// Tells the story.
    pub(crate) fn new(scene: Scene<'_>) -> Self {
        let Scene { end, closing, opened, unsent_bytes, unsent_messages, detail } = scene;
        let failure = closing.and_then(|closing| closing.failure);
        let received = closing.and_then(|closing| closing.received.as_ref());
        let (cause, by) = judge(end, closing);
        let (limit, met) = match end {
            _ if failure.is_some() => failure.and_then(|failure| failure.violation.limit()).unwrap_or_default(),
            End::HandshakeTimeout(ms) | End::IdleTimeout(ms) | End::CloseTimeout(ms) | End::Stalled(ms) => {
                (ms.into(), ms.into())
            }
            End::Slow { limit, met } | End::Memory { limit, met } => (limit as u64, met as u64),
            End::Turned { limit, .. } => (limit, limit),
            _ => (0, 0),
        };
        let (os_error, status) = match end {
            End::Io(errno) | End::Connect(errno) => (errno, 0),
            End::Refused(status) | End::Proxy(status) => (0, status),
            _ => (0, 0),
        };
        Self {
            cause,
            by,
            code: received.map_or(if end == End::Released { 0 } else { 1006 }, |received| received.code),
            sent_code: closing.and_then(|closing| closing.sent).unwrap_or(0),
            was_clean: end == End::Released || (closing.is_some_and(Closing::was_clean) && !cause.is_failure()),
            opened,
            status,
            reason: received.map(|received| received.reason.clone()).unwrap_or_default(),
            rule: failure.map(|failure| failure.violation.rule()),
            offset: failure.map_or(0, |failure| failure.offset),
            limit,
            met,
            unsent_bytes,
            unsent_messages,
            os_error,
            tls_alert: if let End::Tls { alert, .. } = end { alert.into() } else { 0 },
            // Up to its dial.
            will_retry: false,
            end,
            violation: failure.map(|failure| failure.violation),
            detail: detail.map(Into::into),
            text: OnceCell::new(),
        }
    }

    /// All of it in one line.
    pub fn text(&self) -> &str {
        self.text.get_or_init(|| self.tell().into())
    }

    fn tell(&self) -> String {
        let (end, detail) = (self.end, self.detail.as_deref());
        let mut text = self.cause.text().to_owned();
        let mut add = |part: String| text.push_str(&part);
        if let Some(violation) = self.violation {
            add(format!(" at byte {}: {violation}", self.offset));
        }
        match end {
            End::Stalled(ms) => add(format!(" ({ms} ms)")),
            End::Slow { limit, met } => add(format!(" ({met} bytes queued, limit {limit})")),
            End::Memory { limit, met } => add(format!(" ({met} bytes used, limit {limit})")),
            End::Turned { which, .. } => add(format!(": {}", which.text())),
            _ => {}
        }
        match self.cause {
            Cause::Refused => {
                add(format!(" with status {}", self.status));
                if status_reason(self.status) != status_reason(0) {
                    add(format!(" ({})", status_reason(self.status)));
                }
            }
            Cause::HandshakeTimeout | Cause::IdleTimeout | Cause::CloseTimeout if self.met > 0 => {
                add(format!(" ({} ms)", self.met));
            }
            Cause::Connect if detail.is_some() => {}
            _ if self.os_error != 0 => add(format!(": {}", io::Error::from_raw_os_error(self.os_error))),
            _ => {}
        }
        if let Some(detail) = detail {
            let between = if matches!(self.cause, Cause::Eof | Cause::HandshakeTimeout) { ", " } else { ": " };
            add(format!("{between}{detail}"));
        }
        if !matches!(self.code, 0 | 1006) {
            add(format!(", code {}", self.code));
        }
        if !self.reason.is_empty() {
            add(format!(" {:?}", self.reason));
        }
        if self.sent_code != 0 && self.sent_code != self.code {
            add(format!(", we sent {}", self.sent_code));
        }
        match end {
            End::Answered => add(", having answered".to_owned()),
            // That goes without saying.
            End::Turned { .. } | End::Dns | End::Connect(_) | End::Proxy(_) | End::Tls { .. } | End::Refused(_) => {}
            End::HandshakeTimeout(_) => {}
            _ if !self.opened => add(", before it was open".to_owned()),
            _ => {}
        }
        if self.unsent_messages > 0 {
            add(format!(", {} messages unsent ({} bytes)", self.unsent_messages, self.unsent_bytes));
        }
        text
    }
}

/// What an end counts as, and whose it is.
pub(crate) fn judge(end: End, closing: Option<&Closing>) -> (Cause, By) {
    if let Some(failure) = closing.and_then(|closing| closing.failure) {
        let cause = match failure.violation {
            Violation::Text | Violation::CloseReason => Cause::Utf8,
            Violation::MessageTooBig { .. } => Cause::TooBig,
            Violation::TooManyEmptyFragments { .. }
            | Violation::TooManyControls { .. }
            | Violation::HeadTooLong { .. }
            | Violation::TooManyHeaders { .. }
            | Violation::TargetTooLong { .. }
            | Violation::BodyTooLong { .. } => Cause::Limit,
            Violation::OutOfMemory { .. } => Cause::Memory,
            _ => Cause::Protocol,
        };
        return (cause, By::Us);
    }
    match end {
        End::Done => match closing.map(|closing| closing.first) {
            Some(dari_core::By::Peer) => (Cause::Peer, By::Peer),
            _ => (Cause::Local, By::Us),
        },
        End::Answered => (Cause::Local, By::Us),
        End::EofBetween => (Cause::Peer, By::Peer),
        End::Eof => (Cause::Eof, By::Peer),
        End::Io(libc::ECONNRESET | libc::EPIPE) => (Cause::Reset, By::Network),
        End::Io(_) => (Cause::System, By::Network),
        End::Abort => (Cause::Abort, By::Us),
        End::Shutdown => (Cause::Shutdown, By::Us),
        End::HandshakeTimeout(_) => (Cause::HandshakeTimeout, By::Us),
        End::IdleTimeout(_) => (Cause::IdleTimeout, By::Us),
        End::CloseTimeout(_) => (Cause::CloseTimeout, By::Us),
        End::Stalled(_) | End::Slow { .. } => (Cause::SlowPeer, By::Us),
        End::Memory { .. } => (Cause::Memory, By::Us),
        End::Turned { .. } => (Cause::Limit, By::Us),
        End::Released => (Cause::Released, By::Us),
        End::Dns => (Cause::Dns, By::Network),
        End::Connect(_) => (Cause::Connect, By::Network),
        End::Proxy(_) => (Cause::Proxy, By::Network),
        End::Tls { received: true, .. } => (Cause::Tls, By::Peer),
        End::Tls { .. } => (Cause::Tls, By::Us),
        End::Refused(_) => (Cause::Refused, By::Peer),
    }
}
