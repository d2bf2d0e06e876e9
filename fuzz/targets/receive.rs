//! Any bytes behind a handshake, in either role, with any limits.

use super::common::{Seen, frames, whole};
use super::{CLIENT, DEFLATE, Data, OTHER, Setup};
use dari_core::{Buffers, Message, Squeeze, State};

const ECHO: u8 = OTHER[0];
const SHORT_OF_MEMORY: u8 = OTHER[1];
const BLOCKED: u8 = OTHER[2];
const CLOSES: u8 = OTHER[3];

pub(crate) fn run(data: &[u8]) {
    let mut data = Data(data);
    let setup = Setup::read(&mut data);
    let mut peer = setup.open();
    let memory = match (setup.has(SHORT_OF_MEMORY), setup.has(DEFLATE)) {
        (false, _) => usize::MAX,
        (true, false) => 1_500,
        (true, true) => 55_000,
    };
    peer.buffers = Buffers::new(memory);
    peer.out.blocked = setup.has(BLOCKED);
    let (mut arrived, mut echoed, mut events) = (0, 0, Vec::new());
    for (i, piece) in setup.pieces(data.0).into_iter().enumerate() {
        if setup.has(CLOSES) && i == 3 && peer.state() == State::Open {
            peer.act(|connection, io| connection.close(1001, "going", io)).unwrap();
        }
        let seen = peer.feed(piece);
        arrived += piece.len();
        assert_eq!(peer.waiting, b"", "an open connection always takes its input");
        assert!(peer.peak <= setup.bound(arrived).min(memory), "{} held, {arrived} arrived", peer.peak);
        if setup.has(ECHO) {
            echoed += seen.iter().map(|seen| echo(&mut peer, seen)).sum::<usize>();
        }
        events.extend(seen);
    }
    peer.out.blocked = false;
    peer.act(|connection, io| connection.unblocked(io));

    let out = peer.sent();
    let frames = frames(&out);
    assert!(frames.iter().all(|frame| frame.key.is_some() == setup.has(CLIENT)), "only a client masks");
    // The most that a byte brings is an empty ping's pong, whose mask a client has to add.
    assert!(out.len() <= 3 * arrived + 131 + echoed, "{} bytes sent for {arrived}", out.len());
    let closing = peer.closing();
    assert_eq!(peer.state() == State::Open, closing.is_none());
    let failed = events.iter().filter(|seen| matches!(seen, Seen::Failed { .. })).count();
    let closed = events.iter().filter(|seen| **seen == Seen::Closed).count();
    assert!(failed <= 1 && closed <= 1, "{failed} failures, {closed} ends");
    assert!((failed == 1) <= closing.is_some_and(|closing| closing.failure.is_some()));
    let inside = |len: usize| assert!(len <= setup.limits.max_message, "{len} bytes in a message");
    for event in whole(events) {
        match event {
            Seen::Text(payload) => {
                assert!(String::from_utf8(payload.clone()).is_ok(), "a text that is not UTF-8");
                inside(payload.len());
            }
            Seen::Binary(payload) | Seen::Part { payload, .. } => inside(payload.len()),
            _ => {}
        }
    }
    if !matches!(peer.state(), State::Open) {
        assert_eq!(peer.buffers.used(), 0, "an end holds memory");
    }
    peer.release();
}

/// Sends a message back, each third one as it came; tells the most that this may write.
fn echo(peer: &mut super::Peer, seen: &Seen) -> usize {
    let (message, squeeze) = match seen {
        Seen::Text(payload) => (Message::text(str::from_utf8(payload).unwrap()), Squeeze::Yes),
        Seen::Binary(payload) if payload.len() % 3 == 0 => (Message::binary(payload), Squeeze::No),
        Seen::Binary(payload) => (Message::binary(payload), Squeeze::Auto),
        _ => return 0,
    };
    let is_open = peer.state() == State::Open;
    assert_eq!(peer.act(|connection, io| connection.send_with(message, squeeze, io)).is_ok(), is_open);
    // A header with its mask, and what stored blocks add.
    message.data.len() + message.data.len() / 256 + 64
}
