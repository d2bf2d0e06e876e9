//! What all test files share: a [`Peer`] with everything that a connection borrows, and frames to feed it.
//!
//! [`Peer::feed`] is the only caller of `receive`, so its contract is checked in every test: bytes are counted as
//! they are taken, an event takes at least one or is the last, and input is left over only while an answer is due.
#![allow(dead_code, reason = "each test file uses a part")]

pub(crate) mod deflate;
pub(crate) mod pair;
pub(crate) mod splits;
pub(crate) mod vector;

use dari_core::{
    Buffers, Closing, Connection, Entropy, Event, Framed, Io, Kind, Limits, Misuse, Opening, Output, State,
};
use std::sync::Arc;

/// The nonce of a client whose entropy is zeros, as its request says it.
pub(crate) const ZERO_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAA==";

/// An event, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Upgrade { target: String },
    Http { method: String, target: String, body: Vec<u8> },
    Open { protocol: Option<String> },
    Refused(u16),
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Part { kind: Kind, payload: Vec<u8>, is_last: bool },
    Pong(Vec<u8>),
    Failed { rule: String, code: u16, offset: u64 },
    Closed,
}

/// An output that can be blocked.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pub(crate) bytes: Vec<u8>,
    pub(crate) blocked: bool,
    /// What of it was given to be shared with other connections.
    pub(crate) shared: Vec<Arc<Framed>>,
}

impl Output for Out {
    fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    fn shared(&mut self, frame: &Arc<Framed>) {
        self.shared.push(Arc::clone(frame));
        self.bytes.extend_from_slice(frame);
    }

    fn is_blocked(&self) -> bool {
        self.blocked
    }
}

/// Entropy that repeats itself in every run: zeros, or bytes that never are the same twice in a row.
#[derive(Debug, Default)]
pub(crate) enum Noise {
    #[default]
    Zeros,
    Counter(u32),
}

impl Entropy for Noise {
    fn fill(&mut self, bytes: &mut [u8]) {
        match self {
            Self::Zeros => bytes.fill(0),
            Self::Counter(next) => {
                for four in bytes.chunks_mut(4) {
                    *next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    four.copy_from_slice(&next.to_be_bytes()[..four.len()]);
                }
            }
        }
    }
}

/// A connection and all that it borrows.
pub(crate) struct Peer {
    pub(crate) connection: Connection,
    pub(crate) out: Out,
    pub(crate) buffers: Buffers,
    pub(crate) noise: Noise,
    /// Input that waits for an answer of ours.
    pub(crate) waiting: Vec<u8>,
    /// Where offsets are counted from: where the tested bytes begin.
    pub(crate) start: u64,
    /// The most memory that was held when an event came, its own payload included.
    pub(crate) peak: usize,
    /// Every other time the short way is tried first: it has to make no difference.
    short: bool,
    /// How often bytes were put where they stay.
    pub(crate) rooms: usize,
}

impl Peer {
    /// A server whose handshake is still to come.
    pub(crate) fn server(limits: Limits) -> Self {
        Self::new(Connection::server(Arc::new(limits)), Out::default(), Noise::Zeros)
    }

    /// A client that has sent its request.
    pub(crate) fn client(limits: Limits, opening: Opening, mut noise: Noise) -> Result<Self, Misuse> {
        let (mut out, mut buffers) = (Out::default(), Buffers::default());
        let mut io = Io { entropy: &mut noise, buffers: &mut buffers, out: &mut out };
        let connection = Connection::client(Arc::new(limits), opening, &mut io);
        assert!(connection.is_ok() || out.bytes.is_empty(), "a misuse has written something");
        Ok(Self::new(connection?, out, noise))
    }

    /// A server with an open connection and an empty output.
    pub(crate) fn open_server(limits: Limits) -> Self {
        Self::open_extended(false, limits, Noise::Zeros, "")
    }

    /// A client with an open connection and an empty output.
    pub(crate) fn open_client(limits: Limits, noise: Noise) -> Self {
        Self::open_extended(true, limits, noise, "")
    }

    /// The same, where the other side's handshake has a Sec-WebSocket-Extensions: an offer, or a server's answer.
    pub(crate) fn open_extended(is_client: bool, limits: Limits, noise: Noise, extensions: &str) -> Self {
        let line = match extensions {
            "" => String::new(),
            extensions => format!("Sec-WebSocket-Extensions: {extensions}\r\n"),
        };
        if is_client {
            let mut peer = Self::client(limits, opening(), noise).unwrap();
            let answer = switching(&peer.key(), &line);
            assert_eq!(peer.feed(answer.as_bytes()), [Seen::Open { protocol: None }]);
            return peer.opened();
        }
        let mut peer = Self::new(Connection::server(Arc::new(limits)), Out::default(), noise);
        assert_eq!(peer.feed(request("/chat", &line).as_bytes()), [Seen::Upgrade { target: "/chat".into() }]);
        peer.act(|connection, io| connection.accept(None, &[], io)).unwrap();
        peer.opened()
    }

    pub(crate) fn open(is_client: bool) -> Self {
        Self::open_with(is_client, Limits::default())
    }

    pub(crate) fn open_with(is_client: bool, limits: Limits) -> Self {
        if is_client { Self::open_client(limits, Noise::Zeros) } else { Self::open_server(limits) }
    }

    fn new(connection: Connection, out: Out, noise: Noise) -> Self {
        Self {
            connection,
            out,
            buffers: Buffers::default(),
            noise,
            waiting: Vec::new(),
            start: 0,
            peak: 0,
            short: false,
            rooms: 0,
        }
    }

    pub(crate) fn opened(mut self) -> Self {
        assert_eq!(self.connection.state(), State::Open);
        assert_eq!(self.buffers.used(), 0, "an open connection between messages holds memory");
        self.out.bytes.clear();
        self.peak = 0;
        self.start = self.connection.received();
        self
    }

    /// The Sec-WebSocket-Key of the request in the output.
    pub(crate) fn key(&self) -> String {
        let text = String::from_utf8(self.out.bytes.clone()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        line.expect("the request has a key").to_owned()
    }

    /// Gives `bytes` to the connection, behind what still waits, and tells all events that they bring.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Seen> {
        let mut all = std::mem::take(&mut self.waiting);
        all.extend_from_slice(bytes);
        let (mut input, mut seen) = (&mut all[..], Vec::new());
        self.short = !self.short;
        loop {
            let (before, received) = (input.len(), self.connection.received());
            if self.short
                && let Some(message) = self.connection.receive_whole(&mut input)
            {
                let taken = before - input.len();
                assert_eq!(self.connection.received() - received, taken as u64, "received() counts what is taken");
                let payload = message.data.to_vec();
                seen.push(if message.kind == Kind::Text { Seen::Text(payload) } else { Seen::Binary(payload) });
                continue;
            }
            assert_eq!(before, input.len(), "nothing has changed if there is none");
            if self.short
                && before > 0
                && let Some(room) = self.connection.room(before, &mut self.buffers)
            {
                let (front, rest) = input.split_at_mut(room.len());
                room.copy_from_slice(front);
                let len = front.len();
                input = rest;
                self.rooms += 1;
                let event = self.act(|connection, io| connection.arrived(len, io));
                seen.extend(event.map(|event| self.own(event)));
                self.peak = self.peak.max(self.buffers.used());
                continue;
            }
            let mut io = Io { entropy: &mut self.noise, buffers: &mut self.buffers, out: &mut self.out };
            let event = self.connection.receive(&mut input, &mut io);
            let taken = before - input.len();
            assert_eq!(self.connection.received() - received, taken as u64, "received() counts what is taken");
            self.peak = self.peak.max(self.buffers.used());
            let Some(event) = event else { break };
            assert!(taken > 0 || self.state() == State::Closed, "an event took no byte: {event:?}");
            seen.push(self.own(event));
        }
        assert!(input.is_empty() || !self.connection.wants_input(), "input is left over");
        self.waiting = input.to_vec();
        seen
    }

    /// Calls a command.
    pub(crate) fn act<R>(&mut self, command: impl FnOnce(&mut Connection, &mut Io<'_>) -> R) -> R {
        let mut io = Io { entropy: &mut self.noise, buffers: &mut self.buffers, out: &mut self.out };
        command(&mut self.connection, &mut io)
    }

    /// Calls a command that has to be refused, and changes nothing.
    pub(crate) fn misuse<R: std::fmt::Debug>(
        &mut self,
        command: impl FnOnce(&mut Connection, &mut Io<'_>) -> Result<R, Misuse>,
    ) -> Misuse {
        let before = (self.out.bytes.clone(), self.state(), self.closing().cloned(), self.buffers.used());
        let misuse = self.act(command).expect_err("a misuse passed");
        let after = (self.out.bytes.clone(), self.state(), self.closing().cloned(), self.buffers.used());
        assert_eq!(after, before, "a misuse changed something");
        misuse
    }

    /// The output so far, which is then empty.
    pub(crate) fn sent(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out.bytes)
    }

    pub(crate) fn state(&self) -> State {
        self.connection.state()
    }

    pub(crate) fn closing(&self) -> Option<&Closing> {
        self.connection.closing()
    }

    /// Ends the connection; all of its memory has to come back.
    pub(crate) fn release(mut self) {
        self.act(|connection, io| connection.release(io));
        assert_eq!(self.buffers.used(), 0, "a released connection holds memory");
        assert_eq!(self.state(), State::Closed);
    }

    fn own(&mut self, event: Event<'_>) -> Seen {
        let request = self.connection.request();
        match event {
            Event::Upgrade => Seen::Upgrade { target: request.unwrap().target().into() },
            Event::Http => {
                let request = request.unwrap();
                let (method, target) = (request.method().into(), request.target().into());
                Seen::Http { method, target, body: request.body().into() }
            }
            Event::Open => Seen::Open { protocol: self.connection.protocol().map(Into::into) },
            Event::Refused { status, .. } => Seen::Refused(status),
            Event::Message { kind: Kind::Text, payload } => Seen::Text(self.take(payload)),
            Event::Message { kind: Kind::Binary, payload } => Seen::Binary(self.take(payload)),
            Event::Part { kind, payload, is_last } => Seen::Part { kind, payload: self.take(payload), is_last },
            Event::Pong(payload) => Seen::Pong(self.take(payload)),
            Event::Failed(failure) => Seen::Failed {
                rule: rule_name(failure.violation),
                code: failure.violation.code(),
                offset: failure.offset.checked_sub(self.start).expect("an offset in the tested bytes"),
            },
            Event::Closed => Seen::Closed,
        }
    }

    fn take(&mut self, payload: dari_core::Payload<'_>) -> Vec<u8> {
        match payload {
            dari_core::Payload::Input(bytes) => bytes.to_vec(),
            dari_core::Payload::Buffer(buffer) => {
                let bytes = buffer.clone();
                self.buffers.give_back(buffer);
                bytes
            }
        }
    }
}

/// Events with the parts of a message put together: what does not depend on how bytes were cut. The front of a
/// message that a failure, or nothing at all, follows is left out, since it may be longer or shorter.
pub(crate) fn whole(events: Vec<Seen>) -> Vec<Seen> {
    let mut all: Vec<Seen> = Vec::new();
    let drop_front = |all: &mut Vec<Seen>| {
        if matches!(all.last(), Some(Seen::Part { is_last: false, .. })) {
            all.pop();
        }
    };
    for event in events {
        match (all.last_mut(), event) {
            (
                Some(Seen::Part { kind, payload, is_last: is_over @ false }),
                Seen::Part { kind: other, payload: more, is_last },
            ) => {
                assert_eq!(*kind, other, "a message changes its kind");
                payload.extend(more);
                *is_over = is_last;
            }
            (_, event @ Seen::Failed { .. }) => {
                drop_front(&mut all);
                all.push(event);
            }
            (_, event) => all.push(event),
        }
    }
    drop_front(&mut all);
    all
}

/// The name of a violation's variant.
pub(crate) fn rule_name(violation: dari_core::Violation) -> String {
    let text = format!("{violation:?}");
    text.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// The opening handshake of RFC 6455 1.3, without its subprotocols.
pub(crate) fn handshake() -> String {
    request("/chat", "")
}

/// An opening handshake for `target`, with more header lines.
pub(crate) fn request(target: &str, more: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
    )
}

/// What [`Peer::open_client`] asks for.
pub(crate) fn opening() -> Opening {
    Opening { authority: "server.example.com".into(), target: "/chat".into(), ..Opening::default() }
}

/// The answer that opens the connection of a client with this `key`, with more header lines.
pub(crate) fn switching(key: &str, more: &str) -> String {
    let accept = dari_core::testing::accept_key(key.as_bytes());
    let accept = str::from_utf8(&accept).unwrap();
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    )
}

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;
/// Added to an opcode: the last frame of its message.
pub(crate) const FIN: u8 = 0x80;

/// A frame as the other side sends it: `to_client` decides whether it is masked. Written apart from the library's
/// own writer on purpose.
pub(crate) fn frame(to_client: bool, first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(to_client, first, payload.len() as u64);
    let key = if to_client { [0; 4] } else { KEY };
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// The mask of [`frame`].
pub(crate) const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The header of such a frame alone, for any length.
pub(crate) fn header(to_client: bool, first: u8, len: u64) -> Vec<u8> {
    let mask = if to_client { 0 } else { 0x80 };
    let mut bytes = vec![first];
    match len {
        0..=125 => bytes.push(mask | u8::try_from(len).unwrap()),
        126..=0xffff => {
            bytes.push(mask | 126);
            bytes.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
        _ => {
            bytes.push(mask | 127);
            bytes.extend(len.to_be_bytes());
        }
    }
    if !to_client {
        bytes.extend(KEY);
    }
    bytes
}

/// The payload of a Close frame.
pub(crate) fn close_payload(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason].concat()
}

/// A frame that was read back from an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// The first byte of the header.
    pub(crate) first: u8,
    pub(crate) key: Option<[u8; 4]>,
    pub(crate) payload: Vec<u8>,
}

/// The frames of an output; it has to end with a whole one, and every length has to be in its shortest form.
pub(crate) fn frames(mut bytes: &[u8]) -> Vec<Sent> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (first, second) = (bytes[0], bytes[1]);
        bytes = &bytes[2..];
        let mut number = |size: usize| {
            let value = bytes[..size].iter().fold(0usize, |value, byte| value << 8 | usize::from(*byte));
            bytes = &bytes[size..];
            value
        };
        let len = match second & 0x7f {
            126 => number(2),
            127 => number(8),
            short => usize::from(short),
        };
        assert_eq!(second & 0x7f == 127, len > 0xffff);
        assert_eq!(second & 0x7f == 126, (126..=0xffff).contains(&len));
        let key: Option<[u8; 4]> = (second & 0x80 != 0).then(|| bytes[..4].try_into().unwrap());
        let start = if key.is_some() { 4 } else { 0 };
        let masked = bytes[start..start + len].iter();
        let payload = masked.zip(key.unwrap_or_default().iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        all.push(Sent { first, key, payload });
        bytes = &bytes[start + len..];
    }
    all
}

/// First byte and payload of every frame in an output.
pub(crate) fn plain(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    frames(bytes).into_iter().map(|sent| (sent.first, sent.payload)).collect()
}
