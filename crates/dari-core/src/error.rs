//! Two kinds of blame: what the peer did ([`Violation`]) and what the caller did ([`Misuse`]).

use std::fmt;

/// A rule that the peer broke: one variant a rule, said in words by [`rule`](Self::rule).
#[expect(missing_docs, reason = "each variant's text stands in the table of `row`, once")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    // The head of a request or response.
    BareLineFeed,
    BareCarriageReturn,
    BadByteInHead,
    BadRequestLine,
    BadStatusLine,
    BadHeader,
    FoldedHeader,
    HeadTooLong { limit: usize },
    TooManyHeaders { limit: usize },
    TargetTooLong { limit: usize },
    BadTarget,
    BadVersion,
    MissingHost,
    RepeatedHost,
    BadHost,
    BadContentLength,
    LengthAndCoding,
    UnknownCoding,
    BadChunk,
    BodyTooLong { limit: usize },
    // The opening handshake, as the server sees it.
    UpgradeNotGet,
    UpgradeOldHttp,
    UpgradeWithBody,
    MissingConnectionUpgrade,
    MissingKey,
    RepeatedKey,
    BadKey,
    MissingVersion,
    RepeatedVersion,
    OtherVersion,
    BadProtocolList,
    // The opening handshake, as the client sees it.
    AnswerUpgrade,
    AnswerConnection,
    AnswerAccept,
    AnswerProtocol,
    AnswerExtension,
    // Frames.
    ReservedBits,
    ReservedOpcode,
    FragmentedControl,
    LongControl,
    Unmasked,
    Masked,
    LengthNotMinimal,
    LengthTopBit,
    NothingToContinue,
    MessageInMessage,
    CloseLength,
    CloseCode(u16),
    CloseReason,
    Text,
    Deflate,
    MessageTooBig { limit: usize, met: u64 },
    TooManyEmptyFragments { limit: u32 },
    TooManyControls { limit: u32 },
    OutOfMemory { limit: usize, met: usize },
}

impl Violation {
    /// The close code (RFC 6455 7.4.1) that says it, or, before the connection is open, the HTTP status.
    pub fn code(self) -> u16 {
        self.row().0
    }

    /// The rule, with its source: one line of text.
    pub fn rule(self) -> &'static str {
        self.row().1
    }

    fn row(self) -> (u16, &'static str) {
        match self {
            Self::BareLineFeed => (400, "RFC 9112 2.2: a line of the head ends with CR LF, not with LF alone"),
            Self::BareCarriageReturn => (400, "RFC 9112 2.2: a CR in the head is followed by LF"),
            Self::BadByteInHead => (400, "RFC 9110 5.5: the head holds no NUL and no other control character"),
            Self::BadRequestLine => (400, "RFC 9112 3: the request line is METHOD TARGET HTTP/1.1"),
            Self::BadStatusLine => (400, "RFC 9112 4: the answer begins with HTTP/1.1 STATUS"),
            Self::BadHeader => (400, "RFC 9112 5: a header line is NAME: VALUE"),
            Self::FoldedHeader => (400, "RFC 9112 5.2: a header value stands on one line"),
            Self::HeadTooLong { .. } => (431, "RFC 6585 5: the head is longer than the limit"),
            Self::TooManyHeaders { .. } => (431, "RFC 6585 5: the head has more header lines than the limit"),
            Self::TargetTooLong { .. } => (414, "RFC 9110 15.5.15: the target is longer than the limit"),
            Self::BadTarget => (400, "RFC 9112 3.2: the target is a path, an http URL or an asterisk"),
            Self::BadVersion => (505, "RFC 9110 15.6.6: the version is HTTP/1.1 or HTTP/1.0"),
            Self::MissingHost => (400, "RFC 9112 3.2: the header Host is missing"),
            Self::RepeatedHost => (400, "RFC 9112 3.2: the header Host is there more than once"),
            Self::BadHost => (400, "RFC 9112 3.2: the header Host is not a host"),
            Self::BadContentLength => (400, "RFC 9112 6.3: Content-Length is one decimal number"),
            Self::LengthAndCoding => (400, "RFC 9112 6.1: Content-Length and Transfer-Encoding exclude each other"),
            Self::UnknownCoding => (501, "RFC 9112 6.1: the only transfer coding known here is chunked"),
            Self::BadChunk => (400, "RFC 9112 7.1: a chunk is its size in hex, CR LF, its bytes, CR LF"),
            Self::BodyTooLong { .. } => (413, "RFC 9110 15.5.14: the body is longer than the limit"),
            Self::UpgradeNotGet => (405, "RFC 6455 4.1: the method of an opening handshake is GET"),
            Self::UpgradeOldHttp => (400, "RFC 6455 4.1: an opening handshake is HTTP/1.1 or later"),
            Self::UpgradeWithBody => (400, "RFC 9110 7.8: an opening handshake has no body here"),
            Self::MissingConnectionUpgrade => {
                (400, "RFC 6455 4.2.1: the header Connection does not have the token Upgrade")
            }
            Self::MissingKey => (400, "RFC 6455 4.2.1: the header Sec-WebSocket-Key is missing"),
            Self::RepeatedKey => (400, "RFC 6455 11.3.1: the header Sec-WebSocket-Key is there more than once"),
            Self::BadKey => (400, "RFC 6455 4.2.1: Sec-WebSocket-Key is not 16 bytes in base64"),
            Self::MissingVersion => (426, "RFC 6455 4.2.1: the header Sec-WebSocket-Version is missing"),
            Self::RepeatedVersion => {
                (400, "RFC 6455 11.3.5: the header Sec-WebSocket-Version is there more than once")
            }
            Self::OtherVersion => (426, "RFC 6455 4.2.2: the version spoken here is 13"),
            Self::BadProtocolList => {
                (400, "RFC 6455 4.1: Sec-WebSocket-Protocol is a list of tokens, each of them once")
            }
            Self::AnswerUpgrade => (0, "RFC 6455 4.1: the answer's header Upgrade is not websocket"),
            Self::AnswerConnection => (0, "RFC 6455 4.1: the answer's header Connection has no token Upgrade"),
            Self::AnswerAccept => (0, "RFC 6455 4.1: the answer's Sec-WebSocket-Accept does not fit the key"),
            Self::AnswerProtocol => {
                (0, "RFC 6455 4.1: the answer chooses none of the subprotocols that were offered")
            }
            Self::AnswerExtension => (0, "RFC 6455 4.1: the answer names an extension that was not offered"),
            Self::ReservedBits => (1002, "RFC 6455 5.2: a reserved bit is set that no extension uses"),
            Self::ReservedOpcode => (1002, "RFC 6455 5.2: the opcode is reserved"),
            Self::FragmentedControl => (1002, "RFC 6455 5.5: a control frame is never fragmented"),
            Self::LongControl => (1002, "RFC 6455 5.5: a control frame holds at most 125 bytes"),
            Self::Unmasked => (1002, "RFC 6455 5.1: a client masks its frames"),
            Self::Masked => (1002, "RFC 6455 5.1: a server does not mask its frames"),
            Self::LengthNotMinimal => (1002, "RFC 6455 5.2: the length takes as few bytes as it can"),
            Self::LengthTopBit => (1002, "RFC 6455 5.2: the top bit of a 64-bit length is 0"),
            Self::NothingToContinue => (1002, "RFC 6455 5.4: a continuation frame has no message to continue"),
            Self::MessageInMessage => (1002, "RFC 6455 5.4: a message begins before the last one is over"),
            Self::CloseLength => (1002, "RFC 6455 5.5.1: a Close frame is empty or holds a code of two bytes"),
            Self::CloseCode(_) => (1002, "RFC 6455 7.4: the close code is not one that may be sent"),
            Self::CloseReason => (1007, "RFC 6455 5.5.1: the reason of a Close frame is not UTF-8"),
            Self::Text => (1007, "RFC 6455 8.1: a text message is not UTF-8"),
            Self::Deflate => (1007, "RFC 7692 7.2.2: a compressed message can not be inflated"),
            Self::MessageTooBig { .. } => (1009, "RFC 6455 10.4: a message is longer than the limit"),
            Self::TooManyControls { .. } => {
                (1008, "RFC 6455 10.4: more pings and pongs came at a time than the limit")
            }
            Self::TooManyEmptyFragments { .. } => {
                (1008, "RFC 6455 10.4: a message has more empty fragments than the limit")
            }
            Self::OutOfMemory { .. } => (1013, "RFC 6455 10.4: the memory for messages is used up"),
        }
    }

    /// The limit that struck and the value it met, for the rules that have them.
    pub fn limit(self) -> Option<(u64, u64)> {
        match self {
            Self::HeadTooLong { limit }
            | Self::TooManyHeaders { limit }
            | Self::TargetTooLong { limit }
            | Self::BodyTooLong { limit } => Some((limit as u64, limit as u64 + 1)),
            Self::MessageTooBig { limit, met } => Some((limit as u64, met)),
            Self::TooManyEmptyFragments { limit } | Self::TooManyControls { limit } => {
                Some((limit.into(), u64::from(limit) + 1))
            }
            Self::OutOfMemory { limit, met } => Some((limit as u64, met as u64)),
            _ => None,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule())?;
        match self {
            Self::CloseCode(code) => write!(f, " (it is {code})"),
            _ => self.limit().map_or(Ok(()), |(limit, met)| write!(f, " (limit {limit}, met {met})")),
        }
    }
}

/// A call that the connection can not do: nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misuse {
    /// The connection is not open yet, or not any more.
    NotOpen(State),
    /// There is no request that waits for an answer, or it is answered already.
    NothingToAnswer,
    /// The call needs an opening handshake, and the request is a plain one.
    NotAnUpgrade,
    /// A text message is not UTF-8 from this byte on.
    NotUtf8(usize),
    /// A message is being sent in parts: another one, or a part of the other kind, has to wait.
    BetweenParts,
    /// The close code may not be sent (RFC 6455 7.4).
    Code(u16),
    /// A reason without a code: a Close frame has no place for that.
    ReasonAlone,
    /// A reason, a control payload or a body is longer than it may be: length and limit in bytes.
    TooLong(usize, usize),
    /// A header name or value that would break the head, or a name that is dari's to write.
    Header(String),
    /// A request target that is no path.
    Target(String),
    /// A Host that names no host, or a second one.
    Host(String),
    /// A subprotocol that is no token.
    ProtocolNoToken(String),
    /// A subprotocol that is offered twice.
    ProtocolTwice(String),
    /// A subprotocol that the client did not offer.
    ProtocolNotOffered(String),
    /// A status that a complete answer can not have.
    Status(u16),
    /// There is no memory for it; nobody's fault.
    OutOfMemory,
}

use crate::State;

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOpen(State::Connecting) => f.write_str("the connection is not open yet"),
            Self::NotOpen(_) => f.write_str("the connection is closing or closed"),
            Self::NothingToAnswer => f.write_str("no request waits for an answer"),
            Self::NotAnUpgrade => f.write_str("the request is not an opening handshake"),
            Self::NotUtf8(at) => write!(f, "the text is not UTF-8 from byte {at} on"),
            Self::BetweenParts => f.write_str("a message is being sent in parts: its last part comes first"),
            Self::Code(code) => {
                write!(f, "close code {code} may not be sent; 1000-1003, 1007-1014 and 3000-4999 may (RFC 6455 7.4)")
            }
            Self::ReasonAlone => f.write_str("a reason goes with a code only (RFC 6455 5.5.1)"),
            Self::TooLong(len, limit) => write!(f, "{len} bytes are too many, there is room for {limit} here"),
            Self::Header(name) => {
                write!(f, "header {name:?} is one that dari writes, or holds a character that no header may hold")
            }
            Self::Target(target) => write!(f, "{target:?} is not a path that a request can name"),
            Self::Host(host) => write!(f, "the header Host is there once, and {host:?} is a second one, or no host"),
            Self::ProtocolNoToken(name) => {
                write!(f, "subprotocol {name:?} is no token: letters, digits and !#$%&'*+-.^_`|~ (RFC 9110 5.6.2)")
            }
            Self::ProtocolTwice(name) => write!(f, "subprotocol {name:?} stands twice in the list"),
            Self::ProtocolNotOffered(name) => write!(f, "subprotocol {name:?} was not offered by the client"),
            Self::Status(status) => write!(f, "{status} is not a status that can be answered here"),
            Self::OutOfMemory => f.write_str("out of memory"),
        }
    }
}

impl std::error::Error for Misuse {}
