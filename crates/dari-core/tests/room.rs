//! Long messages, received to where they stay: it has to make no difference.

mod common;

use common::{Peer, frame};

/// Text of all lengths of characters, longer than `len`.
fn text(len: usize) -> Vec<u8> {
    "a다κ𐍈 ".repeat(len / 11 + 1).into_bytes()
}

/// What a server makes of `bytes`, `size` at a time: what it tells, how it ends, and how often it offered room.
fn told(bytes: &[u8], size: usize) -> (String, String, usize) {
    let mut peer = Peer::open(false);
    let seen: Vec<_> = bytes.chunks(size).flat_map(|piece| peer.feed(piece)).collect();
    let end = format!("{:?} {:?}", peer.state(), peer.closing().map(|closing| closing.failure));
    let rooms = peer.rooms;
    peer.release();
    (format!("{seen:?}"), end, rooms)
}

#[test]
fn long_messages_are_the_same_wherever_they_are_received_to() {
    let long = text(400_000);
    let (front, back) = long.split_at(150_001);
    let mut bad = long.clone();
    bad[333_333] = 0xff;
    let cases = [
        frame(false, 0x81, &long),
        frame(false, 0x82, &bad),
        // The next one begins in the same read.
        [frame(false, 0x81, &long), frame(false, 0x81, b"next"), frame(false, 0x82, &bad)].concat(),
        // In fragments, cut within a character, with a ping between.
        [frame(false, 0x01, front), frame(false, 0x89, b"ping"), frame(false, 0x80, back)].concat(),
        // Text that is none, and text that ends too early.
        [frame(false, 0x81, &bad), frame(false, 0x82, b"unheard")].concat(),
        frame(false, 0x81, &long[..300_003]),
    ];
    for (i, bytes) in cases.iter().enumerate() {
        let (seen, end, _) = told(bytes, bytes.len());
        for size in [1_000, 40_000, 65_536, 99_999] {
            let (seen_here, end_here, rooms) = told(bytes, size);
            assert!(seen == seen_here, "case {i}, {size} at a time");
            assert_eq!(end, end_here, "case {i}, {size} at a time");
            assert_eq!(rooms > 0, size >= 40_000, "case {i}, {size} at a time");
        }
    }
}

#[test]
fn room_is_for_no_more_than_has_come_already() {
    let mut peer = Peer::open(false);
    let bytes = frame(false, 0x82, &vec![7; 10 << 20]);
    assert!(peer.feed(&bytes[..100_000]).is_empty());
    let room = peer.connection.room(usize::MAX, &mut peer.buffers).map(|room| room.len());
    assert!(room.is_some_and(|room| (90_000..=100_000).contains(&room)), "{room:?}");
    peer.act(|connection, io| assert!(connection.arrived(0, io).is_none()));
    assert!(peer.buffers.used() < 300_000, "{}", peer.buffers.used());
    peer.release();
}
