//! The one place that runs bytes whole, byte by byte, split at every place, and with bytes behind them; whatever
//! the pieces, the outcome has to be the same.

use super::{Peer, Seen, TEXT, frame};
use dari_core::{Closing, State};
use std::fmt;
use std::ops::Deref;

/// Longer inputs are cut at each of the first and last 64 places, and at this many between.
const EVERY_PLACE: usize = 1 << 10;

/// All that can be seen from outside when the bytes have been taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) events: Vec<Seen>,
    pub(crate) out: Bytes,
    pub(crate) state: State,
    pub(crate) closing: Option<Closing>,
    pub(crate) protocol: Option<String>,
    pub(crate) received: u64,
    pub(crate) wants_input: bool,
}

/// Bytes that are shown as text when a test fails.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Bytes(Vec<u8>);

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// Runs `bytes` through peers made by `new`, in every way of cutting them; requests are answered by `answer`.
pub(crate) fn in_every_split(bytes: &[u8], new: impl Fn() -> Peer, answer: impl Fn(&mut Peer, &Seen)) -> Outcome {
    let run = |pieces: &[&[u8]]| run(new(), pieces, &answer);
    let whole = run(&[bytes]);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    if bytes.len() <= 100 * EVERY_PLACE {
        assert_eq!(run(&single), whole, "byte by byte");
    }
    for cut in places(bytes.len()) {
        let (front, back) = bytes.split_at(cut);
        assert_eq!(run(&[front, back]), whole, "split behind byte {cut}");
        assert_eq!(run(&[front, b"", back]), whole, "split behind byte {cut}, with nothing between");
    }
    whole
}

/// As [`in_every_split`], and once more with bytes behind: what they bring, and nothing else, is added.
pub(crate) fn with_trailing_bytes(
    bytes: &[u8],
    new: impl Fn() -> Peer,
    answer: impl Fn(&mut Peer, &Seen),
) -> Outcome {
    let alone = in_every_split(bytes, &new, &answer);
    let is_client = new().connection.is_client();
    let (trailing, more) = trailing(&alone, is_client);
    let both = in_every_split(&[bytes, &trailing].concat(), &new, &answer);
    let wanted: Vec<Seen> = alone.events.iter().cloned().chain(more.clone()).collect();
    assert_eq!(both.events, wanted, "with trailing bytes");
    assert_eq!(both.state, alone.state, "with trailing bytes");
    assert_eq!(both.closing, alone.closing, "with trailing bytes");
    match more {
        Some(Seen::Http { .. }) => assert!(both.out.starts_with(&alone.out), "with trailing bytes"),
        _ => assert_eq!(both.out, alone.out, "with trailing bytes"),
    }
    alone
}

/// Runs `pieces` through `peer`, which has to give all of its memory back in the end.
pub(crate) fn run(mut peer: Peer, pieces: &[&[u8]], answer: &impl Fn(&mut Peer, &Seen)) -> Outcome {
    let mut events = Vec::new();
    for piece in pieces {
        let mut seen = peer.feed(piece);
        while let Some(last @ (Seen::Upgrade { .. } | Seen::Http { .. })) = seen.last().cloned() {
            events.append(&mut seen);
            answer(&mut peer, &last);
            seen = peer.feed(b"");
        }
        events.append(&mut seen);
    }
    let outcome = Outcome {
        events,
        out: Bytes(peer.out.bytes.clone()),
        state: peer.state(),
        closing: peer.closing().cloned(),
        protocol: peer.connection.protocol().map(Into::into),
        received: peer.connection.received() - peer.start,
        wants_input: peer.connection.wants_input(),
    };
    peer.release();
    outcome
}

/// Bytes that fit behind an outcome, and the event that they bring.
fn trailing(outcome: &Outcome, is_client: bool) -> (Vec<u8>, Option<Seen>) {
    match outcome.state {
        State::Connecting => {
            let request = b"GET /trailing HTTP/1.1\r\nHost: trailing\r\n\r\n".to_vec();
            let seen = Seen::Http { method: "GET".into(), target: "/trailing".into(), body: Vec::new() };
            (request, Some(seen))
        }
        State::Open => (frame(is_client, 0x80 | TEXT, b"trailing"), Some(Seen::Text(b"trailing".to_vec()))),
        State::Closing | State::Closed => (frame(is_client, 0x80 | TEXT, b"trailing"), None),
    }
}

fn places(len: usize) -> Vec<usize> {
    if len <= EVERY_PLACE {
        return (0..=len).collect();
    }
    let between = (64..len - 64).step_by(len / 16);
    (0..64).chain(between).chain(len - 64..=len).collect()
}
