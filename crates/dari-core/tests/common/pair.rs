//! Two cores back to back: what is done to them, one step after another, and what has to be true in the end.

use super::{Noise, Peer, Seen, opening, whole};
use dari_core::{By, Connection, Deflate, Io, Kind, Limits, Message, Misuse, Prepared, Squeeze, State};
use std::collections::VecDeque;

/// What a connection with context takeover may hold between two messages: a compressor and an inflater.
pub(crate) const CONTEXTS: usize = 380_032 + 47_552;

/// How the two ends are set up; the server's half stands first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    pub(crate) deflate: [Option<Deflate>; 2],
    /// The window that each may use at the most, written into the handshake on its way.
    pub(crate) bits: [Option<u8>; 2],
    pub(crate) parts: [bool; 2],
}

/// One end of the pair, and the bytes on their way to it.
pub(crate) struct End {
    pub(crate) peer: Peer,
    pub(crate) wire: VecDeque<u8>,
    sent: Vec<Seen>,
    /// The message that is being sent in parts.
    begun: Option<(Kind, Vec<u8>)>,
    pings: Vec<Vec<u8>>,
    seen: Vec<Seen>,
    was_blocked: bool,
}

/// What happens next; `at` chooses the end.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Send { at: bool, what: What, squeeze: Squeeze, prepared: bool },
    Part { at: bool, what: What, is_last: bool },
    Ping { at: bool, size: usize },
    Deliver { at: bool, most: usize },
    Block { at: bool, blocked: bool },
    Close { at: bool, code: u16, reason: usize },
}

/// A payload; `noisy` ones do not compress.
#[derive(Clone, Copy, Debug)]
pub(crate) struct What {
    pub(crate) is_text: bool,
    pub(crate) noisy: bool,
    pub(crate) size: usize,
}

impl What {
    fn kind(self) -> Kind {
        if self.is_text { Kind::Text } else { Kind::Binary }
    }

    pub(crate) fn bytes(self, seed: usize) -> Vec<u8> {
        let mut noise = seed;
        let mut next = || {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            noise >> 16
        };
        match (self.is_text, self.noisy) {
            (true, false) => text(self.size, seed).into_bytes(),
            (true, true) => (0..self.size).map(|_| b' ' + (next() % 95).to_le_bytes()[0]).collect(),
            (false, false) => (0..self.size).map(|i| (i % 50 * 7 + seed).to_le_bytes()[0]).collect(),
            (false, true) => (0..self.size).map(|_| next().to_le_bytes()[0]).collect(),
        }
    }
}

/// Bytes that do not compress.
pub(crate) fn noise(size: usize, seed: usize) -> Vec<u8> {
    What { is_text: false, noisy: true, size }.bytes(seed)
}

/// Text of `size` bytes, with characters of every length.
pub(crate) fn text(size: usize, seed: usize) -> String {
    let mut text = String::with_capacity(size);
    let letters = ["a", "é", "안", "😀", "녕", "z"];
    let mut at = seed;
    while text.len() < size {
        let letter = letters[at % letters.len()];
        text.push_str(if text.len() + letter.len() <= size { letter } else { "." });
        at += 1;
    }
    text
}

impl Setup {
    /// Both ends, open: the handshake went through.
    pub(crate) fn ends(&self) -> [End; 2] {
        let limits = |at: usize| Limits { deflate: self.deflate[at], parts: self.parts[at], ..Limits::default() };
        let mut client = Peer::client(limits(1), opening(), Noise::Counter(9)).unwrap();
        let mut server = Peer::server(limits(0));
        server.feed(&self.rewrite(client.sent(), 0));
        server.act(|connection, io| connection.accept(None, &[], io)).unwrap();
        client.feed(&self.rewrite(server.sent(), 1));
        assert_eq!(client.connection.may_compress(), server.connection.may_compress());
        assert_eq!(client.connection.may_compress(), self.deflate.iter().all(Option::is_some));
        [server, client].map(|peer| End::new(peer.opened()))
    }

    /// Adds a window to the extension that a handshake names, if it names one.
    fn rewrite(&self, bytes: Vec<u8>, at: usize) -> Vec<u8> {
        let Some(bits) = self.bits[at] else { return bytes };
        let name = ["server_max_window_bits", "client_max_window_bits"][at];
        let text = String::from_utf8(bytes).unwrap();
        text.replace(": permessage-deflate", &format!(": permessage-deflate; {name}={bits}")).into_bytes()
    }

    fn keeps_contexts(&self) -> bool {
        self.deflate.iter().flatten().any(|deflate| deflate.takeover)
    }
}

impl End {
    fn new(peer: Peer) -> Self {
        let (wire, sent, pings, seen) = (VecDeque::new(), Vec::new(), Vec::new(), Vec::new());
        Self { peer, wire, sent, begun: None, pings, seen, was_blocked: false }
    }

    /// Takes at most `most` bytes off the wire.
    fn receive(&mut self, most: usize) {
        let piece: Vec<u8> = self.wire.drain(..most.min(self.wire.len())).collect();
        let seen = self.peer.feed(&piece);
        assert_eq!(self.peer.waiting, b"", "an open connection always takes its input");
        self.seen.extend(seen);
    }

    /// Sends, or is refused for the one reason there is.
    fn try_to(&mut self, send: impl FnOnce(&mut Connection, &mut Io<'_>) -> Result<(), Misuse>) -> bool {
        let wanted = match (self.peer.state(), &self.begun) {
            (State::Open, None) => Ok(()),
            (State::Open, Some(_)) => Err(Misuse::BetweenParts),
            (state, _) => Err(Misuse::NotOpen(state)),
        };
        assert_eq!(self.peer.act(send), wanted);
        wanted.is_ok()
    }

    fn send(&mut self, what: What, squeeze: Squeeze, prepared: bool, seed: usize) {
        let data = what.bytes(seed);
        let message = Message { kind: what.kind(), data: &data };
        let is_sent = self.try_to(|connection, io| match prepared {
            true => connection.send_prepared(&Prepared::new_with(message, squeeze)?, io),
            false => connection.send_with(message, squeeze, io),
        });
        if is_sent {
            self.sent.push(seen(what.kind(), data));
        }
    }

    fn send_part(&mut self, what: What, is_last: bool, seed: usize) {
        let kind = self.begun.as_ref().map_or(what.kind(), |(kind, _)| *kind);
        let data = What { is_text: kind == Kind::Text, ..what }.bytes(seed);
        let part = Message { kind, data: &data };
        if self.peer.act(|connection, io| connection.send_part(part, is_last, io)).is_err() {
            assert_ne!(self.peer.state(), State::Open);
            return;
        }
        let (_, mut all) = self.begun.take().unwrap_or((kind, Vec::new()));
        all.extend(data);
        if is_last {
            self.sent.push(seen(kind, all));
        } else {
            self.begun = Some((kind, all));
        }
    }

    fn block(&mut self, blocked: bool) {
        self.was_blocked |= blocked;
        self.peer.out.blocked = blocked;
        if !blocked {
            self.peer.act(|connection, io| connection.unblocked(io));
        }
    }

    fn messages(&self) -> Vec<Seen> {
        let all = self.seen.iter().filter(|seen| !matches!(seen, Seen::Pong(_))).cloned();
        whole(all.collect())
            .into_iter()
            .filter_map(|event| match event {
                Seen::Part { kind, payload, is_last: true } => Some(seen(kind, payload)),
                Seen::Text(_) | Seen::Binary(_) => Some(event),
                _ => None,
            })
            .collect()
    }

    fn pongs(&self) -> Vec<&Vec<u8>> {
        self.seen.iter().filter_map(|seen| if let Seen::Pong(data) = seen { Some(data) } else { None }).collect()
    }
}

fn seen(kind: Kind, data: Vec<u8>) -> Seen {
    if kind == Kind::Text { Seen::Text(data) } else { Seen::Binary(data) }
}

pub(crate) fn take_step(ends: &mut [End; 2], step: &Step, seed: usize) {
    match *step {
        Step::Send { at, what, squeeze, prepared } => ends[usize::from(at)].send(what, squeeze, prepared, seed),
        Step::Part { at, what, is_last } => ends[usize::from(at)].send_part(what, is_last, seed),
        Step::Ping { at, size } => {
            let data = vec![seed.to_le_bytes()[0]; size];
            let end = &mut ends[usize::from(at)];
            if end.peer.act(|connection, io| connection.ping(&data, io)).is_ok() {
                end.pings.push(data);
            }
        }
        Step::Deliver { at, most } => ends[usize::from(at)].receive(most),
        Step::Block { at, blocked } => ends[usize::from(at)].block(blocked),
        Step::Close { at, code, reason } => {
            let reason = text(if code == 0 { 0 } else { reason }, seed);
            let _ = ends[usize::from(at)].peer.act(|connection, io| connection.close(code, &reason, io));
        }
    }
    for at in [0, 1] {
        let sent = ends[at].peer.sent();
        ends[1 - at].wire.extend(sent);
    }
}

/// Takes all steps, delivers what is on its way in pieces of `sizes`, and checks that both ends agree.
pub(crate) fn run(setup: &Setup, steps: &[Step], sizes: &[usize]) {
    let mut ends = setup.ends();
    for (seed, step) in steps.iter().enumerate() {
        take_step(&mut ends, step, seed);
    }
    for at in [false, true] {
        let end = &mut ends[usize::from(at)];
        end.block(false);
        let nothing = What { is_text: true, noisy: false, size: 0 };
        if end.begun.is_some() {
            take_step(&mut ends, &Step::Part { at, what: nothing, is_last: true }, 0);
        }
    }
    for (turn, size) in sizes.iter().cycle().enumerate() {
        let most = if turn < 200 { *size } else { usize::MAX };
        take_step(&mut ends, &Step::Deliver { at: turn % 2 == 0, most }, 0);
        if ends.iter().all(|end| end.wire.is_empty()) {
            break;
        }
    }
    check_messages(&ends[0], &ends[1]);
    check_messages(&ends[1], &ends[0]);
    check_end(&ends);
    for end in ends {
        let used = end.peer.buffers.used();
        let may_hold = setup.keeps_contexts() && end.peer.state() == State::Open;
        assert!(used <= if may_hold { CONTEXTS } else { 0 }, "{used} bytes are held, {:?}", end.peer.state());
        end.peer.release();
    }
}

fn check_messages(from: &End, to: &End) {
    let got = to.messages();
    // Who closes first reads no more: what it has read is the front of what was sent.
    let closed_first = to.peer.closing().is_some_and(|closing| closing.first == By::Us);
    if closed_first {
        assert!(from.sent.starts_with(&got), "messages were lost or reordered before the close");
    } else {
        assert!(got == from.sent, "every message once, in order, whole: {} of {}", got.len(), from.sent.len());
    }
    let (pongs, pings) = (from.pongs(), &from.pings);
    if to.was_blocked {
        let mut pings = pings.iter();
        assert!(pongs.iter().all(|pong| pings.any(|ping| ping == *pong)), "pongs are pings, in their order");
    } else {
        assert!(pings.iter().collect::<Vec<_>>().starts_with(&pongs), "pongs are the pings, in their order");
        assert!(to.peer.closing().is_some() || pongs.len() == pings.len(), "a ping was not answered");
    }
}

fn check_end(ends: &[End; 2]) {
    let closings = [ends[0].peer.closing(), ends[1].peer.closing()];
    let [Some(one), Some(other)] = closings else {
        assert_eq!(closings, [None, None], "one side has closed, the other has not heard of it");
        assert!(ends.iter().all(|end| end.peer.state() == State::Open));
        return;
    };
    for (closing, peer) in [(one, other), (other, one)] {
        assert!(closing.was_clean(), "{closing:?}");
        let code = closing.received.as_ref().unwrap().code;
        assert_eq!(Some(if code == 1005 { 0 } else { code }), peer.sent);
    }
    assert!(one.first == By::Us || other.first == By::Us, "nobody has begun it");
    if one.first == By::Peer || other.first == By::Peer {
        assert_eq!(one.sent, other.sent, "an answer carries the code that it answers");
    }
    for end in ends {
        assert_eq!(end.peer.state(), State::Closed);
        assert_eq!(end.seen.iter().filter(|seen| **seen == Seen::Closed).count(), 1);
        assert_eq!(end.seen.last(), Some(&Seen::Closed), "something is told behind the end");
    }
}
