//! Messages in parts: received as they come, sent as they are made.

mod common;

use common::deflate::{self, BOMB, RSV1, TAKEOVER, open_with, squeezed};
use common::pair::text;
use common::{BINARY, CONTINUATION, FIN, KEY, PING, PONG, Peer, Seen, TEXT, frame, header, plain, whole};
use dari_core::{Kind, Limits, Message, Misuse, Prepared, Squeeze, State};

const ROLES: [bool; 2] = [false, true];

fn limits() -> Limits {
    Limits { parts: true, ..Limits::default() }
}

fn open(is_client: bool) -> Peer {
    Peer::open_with(is_client, limits())
}

/// With permessage-deflate, contexts kept.
fn open_deflate(is_client: bool, max_message: usize) -> Peer {
    open_with(is_client, Limits { max_message, parts: true, ..deflate::limits(TAKEOVER) }, "")
}

fn part(kind: Kind, payload: &[u8], is_last: bool) -> Seen {
    Seen::Part { kind, payload: payload.to_vec(), is_last }
}

fn masked(is_client: bool, bytes: &[u8]) -> Vec<u8> {
    let key = if is_client { [0; 4] } else { KEY };
    bytes.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
}

// --- received -----------------------------------------------------------------------------------------------------

#[test]
fn a_part_is_told_for_every_piece_that_comes_and_nothing_is_held() {
    for is_client in ROLES {
        let mut peer = open(is_client);
        let payload = masked(is_client, b"one two three");
        assert_eq!(peer.feed(&header(is_client, FIN | BINARY, 13)), []);
        assert_eq!(peer.feed(&payload[..4]), [part(Kind::Binary, b"one ", false)]);
        assert_eq!(peer.feed(&payload[4..8]), [part(Kind::Binary, b"two ", false)]);
        assert_eq!(peer.buffers.used(), 0);
        assert_eq!(peer.feed(&payload[8..]), [part(Kind::Binary, b"three", true)]);
        assert_eq!(peer.peak, 0);
    }
}

#[test]
fn a_message_that_comes_at_once_is_one_last_part() {
    for is_client in ROLES {
        let bytes = [frame(is_client, FIN | TEXT, b"hi"), frame(is_client, FIN | BINARY, b"")].concat();
        assert_eq!(open(is_client).feed(&bytes), [part(Kind::Text, b"hi", true), part(Kind::Binary, b"", true)]);
    }
}

#[test]
fn every_fragment_is_a_part_and_empty_ones_are_none_but_for_the_last() {
    for is_client in ROLES {
        let bytes = [
            frame(is_client, TEXT, b""),
            frame(is_client, CONTINUATION, b"ab"),
            frame(is_client, FIN | PING, b"p"),
            frame(is_client, CONTINUATION, b""),
            frame(is_client, FIN | PONG, b"q"),
            frame(is_client, CONTINUATION, b"cd"),
            frame(is_client, FIN | CONTINUATION, b""),
            frame(is_client, FIN | BINARY, b"next"),
        ];
        let mut peer = open(is_client);
        let wanted = [
            part(Kind::Text, b"ab", false),
            Seen::Pong(b"q".to_vec()),
            part(Kind::Text, b"cd", false),
            part(Kind::Text, b"", true),
            part(Kind::Binary, b"next", true),
        ];
        assert_eq!(peer.feed(&bytes.concat()), wanted);
        assert_eq!(plain(&peer.sent()), [(FIN | PONG, b"p".to_vec())]);
        assert_eq!(peer.buffers.used(), 0);
    }
}

#[test]
fn parts_of_a_text_may_be_cut_within_a_character() {
    let text = "a안녕😀é".as_bytes();
    for is_client in ROLES {
        let payload = masked(is_client, text);
        for size in 1..text.len() {
            let mut peer = open(is_client);
            peer.feed(&header(is_client, FIN | TEXT, text.len() as u64));
            let seen: Vec<Seen> = payload.chunks(size).flat_map(|piece| peer.feed(piece)).collect();
            assert_eq!(seen.len(), text.len().div_ceil(size), "pieces of {size} bytes");
            assert_eq!(whole(seen), [part(Kind::Text, text, true)]);
        }
    }
}

#[test]
fn a_bad_byte_in_a_later_part_fails_at_its_place() {
    for is_client in ROLES {
        let mut peer = open(is_client);
        let first = frame(is_client, TEXT, "good \u{c548}".as_bytes());
        assert_eq!(peer.feed(&first), [part(Kind::Text, "good \u{c548}".as_bytes(), false)]);
        let second = frame(is_client, FIN | CONTINUATION, b"ab\xffcd");
        let offset = (first.len() + second.len() - 3) as u64;
        assert_eq!(peer.feed(&second), [Seen::Failed { rule: "Text".into(), code: 1007, offset }]);

        let mut peer = open(is_client);
        assert_eq!(peer.feed(&frame(is_client, TEXT, b"a\xec\x95")), [part(Kind::Text, b"a\xec\x95", false)]);
        let seen = peer.feed(&frame(is_client, FIN | CONTINUATION, b""));
        assert!(matches!(&seen[..], [Seen::Failed { code: 1007, .. }]), "a text ends inside a character: {seen:?}");
    }
}

#[test]
fn the_limit_holds_for_the_sum_of_all_parts() {
    for is_client in ROLES {
        let mut peer = Peer::open_with(is_client, Limits { max_message: 10, ..limits() });
        assert_eq!(peer.feed(&frame(is_client, BINARY, b"012345")), [part(Kind::Binary, b"012345", false)]);
        let seen = peer.feed(&header(is_client, FIN | CONTINUATION, 5));
        assert!(matches!(&seen[..], [Seen::Failed { code: 1009, .. }]), "{seen:?}");
        let mut peer = Peer::open_with(is_client, Limits { max_message: 10, ..limits() });
        let seen = peer.feed(&header(is_client, FIN | BINARY, 11));
        assert!(matches!(&seen[..], [Seen::Failed { code: 1009, .. }]), "{seen:?}");
        let mut peer = open_deflate(is_client, 1_000);
        let bomb = frame(is_client, FIN | RSV1 | BINARY, &[&BOMB[..], &[0; 10]].concat());
        assert!(matches!(&peer.feed(&bomb)[..], [Seen::Failed { code: 1009, .. }]));
    }
}

#[test]
fn a_compressed_message_in_parts_is_the_same_message() {
    for is_client in ROLES {
        let message = text(20_000, 5) + &String::from_utf8_lossy(&vec![b'x'; 5_000]);
        let payload = squeezed(is_client, message.as_bytes());
        for size in [1, 7, 100, payload.len()] {
            let mut peer = open_deflate(is_client, usize::MAX);
            peer.feed(&header(is_client, FIN | RSV1 | TEXT, payload.len() as u64));
            let seen: Vec<Seen> =
                masked(is_client, &payload).chunks(size).flat_map(|piece| peer.feed(piece)).collect();
            assert!(seen.len() > 1 || size == payload.len());
            assert_eq!(whole(seen), [part(Kind::Text, message.as_bytes(), true)]);
        }
    }
}

#[test]
fn a_bomb_streams_without_a_limit_and_little_of_it_is_held() {
    for is_client in ROLES {
        let mut peer = open_deflate(is_client, usize::MAX);
        let zeros = 40_000;
        peer.feed(&header(is_client, RSV1 | BINARY, (BOMB.len() + zeros) as u64));
        let bytes = masked(is_client, &[&BOMB[..], &vec![0; zeros]].concat());
        let mut made = 0;
        for piece in bytes.chunks(16_384) {
            for seen in peer.feed(piece) {
                let Seen::Part { payload, is_last: false, .. } = seen else { panic!("{seen:?}") };
                made += payload.len();
            }
            assert!(peer.peak < 1_200_000, "{} bytes held", peer.peak);
        }
        assert!(made > zeros * 1_000, "{made}");
        peer.release();
    }
}

#[test]
fn a_message_without_end_takes_no_memory() {
    for is_client in ROLES {
        let mut peer = Peer::open_with(is_client, Limits { max_message: usize::MAX, ..limits() });
        peer.feed(&header(is_client, FIN | BINARY, 1 << 62));
        for _ in 0..100 {
            assert_eq!(peer.feed(&[0; 10_000]).len(), 1);
        }
        assert_eq!(peer.peak, 0);
    }
}

// --- sent ---------------------------------------------------------------------------------------------------------

fn send_part(peer: &mut Peer, kind: Kind, data: &[u8], is_last: bool) {
    peer.act(|connection, io| connection.send_part(Message { kind, data }, is_last, io)).unwrap();
}

#[test]
fn parts_are_fragments_and_only_the_first_names_the_kind() {
    for is_client in ROLES {
        for peer in [&mut open(is_client), &mut open_deflate(is_client, usize::MAX)] {
            send_part(peer, Kind::Text, "안".as_bytes(), false);
            send_part(peer, Kind::Text, b"", false);
            send_part(peer, Kind::Text, "녕".as_bytes(), true);
            send_part(peer, Kind::Binary, b"\xff", true);
            let wanted: [(u8, &[u8]); 4] =
                [(TEXT, "안".as_bytes()), (0, b""), (FIN, "녕".as_bytes()), (FIN | BINARY, b"\xff")];
            assert_eq!(plain(&peer.sent()), wanted.map(|(first, payload)| (first, payload.to_vec())));
            assert_eq!(peer.buffers.used(), 0);
        }
    }
}

#[test]
fn between_parts_no_other_message_can_be_sent() {
    for is_client in ROLES {
        let mut peer = open(is_client);
        send_part(&mut peer, Kind::Text, b"one", false);
        let prepared = Prepared::new(Message::text("x")).unwrap();
        let between = Misuse::BetweenParts;
        assert_eq!(peer.misuse(|connection, io| connection.send(Message::text("x"), io)), between);
        let squeeze = Squeeze::Yes;
        assert_eq!(peer.misuse(|connection, io| connection.send_with(Message::text("x"), squeeze, io)), between);
        assert_eq!(peer.misuse(|connection, io| connection.send_prepared(&prepared, io)), between);
        for is_last in [false, true] {
            let other = Message::binary(b"x");
            assert_eq!(peer.misuse(|connection, io| connection.send_part(other, is_last, io)), between);
        }
        send_part(&mut peer, Kind::Text, b"two", true);
        peer.act(|connection, io| connection.send(Message::binary(b"x"), io)).unwrap();
        let firsts: Vec<u8> = plain(&peer.sent()).iter().map(|(first, _)| *first).collect();
        assert_eq!(firsts, [TEXT, FIN, FIN | BINARY]);
    }
}

#[test]
fn each_part_of_a_text_ends_with_a_whole_character() {
    let mut peer = open(false);
    let half = Message { kind: Kind::Text, data: &"안".as_bytes()[..2] };
    assert_eq!(peer.misuse(|connection, io| connection.send_part(half, false, io)), Misuse::NotUtf8(0));
    peer.act(|connection, io| connection.send(Message::text("no part has begun"), io)).unwrap();
    send_part(&mut peer, Kind::Text, b"ok", false);
    assert_eq!(peer.misuse(|connection, io| connection.send_part(half, true, io)), Misuse::NotUtf8(0));
    send_part(&mut peer, Kind::Text, b"", true);
}

#[test]
fn control_frames_go_between_parts_and_a_close_ends_them() {
    for is_client in ROLES {
        let mut peer = open(is_client);
        send_part(&mut peer, Kind::Binary, b"one", false);
        peer.act(|connection, io| connection.ping(b"ours", io)).unwrap();
        peer.feed(&frame(is_client, FIN | PING, b"theirs"));
        send_part(&mut peer, Kind::Binary, b"two", false);
        peer.act(|connection, io| connection.close(1000, "", io)).unwrap();
        let firsts: Vec<u8> = plain(&peer.sent()).iter().map(|(first, _)| *first).collect();
        assert_eq!(firsts, [BINARY, FIN | PING, FIN | PONG, CONTINUATION, FIN | 8]);
        let late = Message::binary(b"late");
        let misuse = peer.misuse(|connection, io| connection.send_part(late, true, io));
        assert_eq!(misuse, Misuse::NotOpen(State::Closing));
    }
}

#[test]
fn what_is_sent_in_parts_is_received_whole_by_the_other_side() {
    for is_client in ROLES {
        let (mut from, mut to) = (open(is_client), Peer::open(!is_client));
        let parts = ["다리 ", "", "bridge ", "😀"];
        for (nth, part) in parts.iter().enumerate() {
            send_part(&mut from, Kind::Text, part.as_bytes(), nth + 1 == parts.len());
            from.act(|connection, io| connection.ping(&[nth.to_le_bytes()[0]], io)).unwrap();
        }
        let wanted = [Seen::Text(parts.concat().into_bytes())];
        assert_eq!(to.feed(&from.sent()), wanted);
        assert_eq!(from.feed(&to.sent()), [0, 1, 2, 3].map(|nth| Seen::Pong(vec![nth])));
    }
}
