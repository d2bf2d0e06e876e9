//! Frames of an open connection: what is sent, what memory they take, and where a bad text fails.

mod common;

use common::splits::in_every_split;
use common::{BINARY, CONTINUATION, FIN, KEY, Noise, PING, PONG, Peer, Seen, TEXT, frame, frames, header, plain};
use dari_core::{Buffers, Kind, Limits, Message, Misuse, Prepared};
use std::collections::BTreeSet;

const ROLES: [bool; 2] = [false, true];

fn send(peer: &mut Peer, message: Message<'_>) {
    peer.act(|connection, io| connection.send(message, io)).unwrap();
}

// --- what is sent -------------------------------------------------------------------------------------------------

#[test]
fn a_message_of_every_length_is_one_frame_in_its_shortest_form() {
    for is_client in ROLES {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            let data = vec![b'x'; len];
            for kind in [Kind::Text, Kind::Binary] {
                let mut peer = Peer::open(is_client);
                send(&mut peer, Message { kind, data: &data });
                let sent = frames(&peer.sent());
                assert_eq!(sent.len(), 1);
                let opcode = if kind == Kind::Text { TEXT } else { BINARY };
                assert_eq!((sent[0].first, &sent[0].payload), (FIN | opcode, &data));
            }
        }
    }
}

#[test]
fn a_client_masks_every_frame_with_a_fresh_key() {
    let mut peer = Peer::open_client(Limits::default(), Noise::Counter(7));
    let prepared = Prepared::new(Message::text("to many")).unwrap();
    for _ in 0..250 {
        send(&mut peer, Message::text("hello"));
        peer.act(|connection, io| connection.send_prepared(&prepared, io)).unwrap();
        peer.act(|connection, io| connection.ping(b"ping", io)).unwrap();
        peer.feed(&frame(true, FIN | PING, b"theirs"));
    }
    peer.act(|connection, io| connection.close(1000, "", io)).unwrap();
    let sent = frames(&peer.sent());
    assert_eq!(sent.len(), 1001);
    let keys: BTreeSet<_> = sent.iter().map(|frame| frame.key.expect("a client's frame is masked")).collect();
    assert_eq!(keys.len(), sent.len(), "a key came twice");
    let payloads = [&b"hello"[..], b"to many", b"ping", b"theirs"];
    assert!(sent.iter().zip(payloads.iter().cycle()).take(1000).all(|(sent, wanted)| sent.payload == *wanted));
}

#[test]
fn a_server_masks_nothing() {
    let mut peer = Peer::open(false);
    send(&mut peer, Message::text("hello"));
    peer.act(|connection, io| connection.ping(b"ping", io)).unwrap();
    peer.feed(&frame(false, FIN | PING, b"theirs"));
    peer.act(|connection, io| connection.close(1000, "", io)).unwrap();
    assert!(frames(&peer.sent()).iter().all(|frame| frame.key.is_none()));
}

#[test]
fn a_prepared_message_is_sent_like_any_other() {
    for is_client in ROLES {
        for len in [0, 125, 126, 65_536] {
            let data = vec![b'x'; len];
            let (mut one, mut other) = (Peer::open(is_client), Peer::open(is_client));
            send(&mut one, Message::binary(&data));
            let prepared = Prepared::new(Message::binary(&data)).unwrap();
            other.act(|connection, io| connection.send_prepared(&prepared, io)).unwrap();
            assert_eq!(one.sent(), other.sent());
        }
    }
}

#[test]
fn a_text_that_is_not_utf8_is_a_misuse() {
    let mut peer = Peer::open(false);
    let bad = Message { kind: Kind::Text, data: b"ab\xffcd" };
    assert_eq!(peer.misuse(|connection, io| connection.send(bad, io)), Misuse::NotUtf8(2));
    let cut = Message { kind: Kind::Text, data: &"안".as_bytes()[..2] };
    assert_eq!(peer.misuse(|connection, io| connection.send(cut, io)), Misuse::NotUtf8(0));
    assert_eq!(Prepared::new(cut).err(), Some(Misuse::NotUtf8(0)));
    send(&mut peer, Message::binary(b"\xff"));
}

#[test]
fn a_ping_has_at_most_125_bytes() {
    let mut peer = Peer::open(false);
    let misuse = peer.misuse(|connection, io| connection.ping(&[0; 126], io));
    assert_eq!(misuse, Misuse::TooLong(126, 125));
    peer.act(|connection, io| connection.ping(&[7; 125], io)).unwrap();
    assert_eq!(plain(&peer.sent()), [(FIN | PING, vec![7; 125])]);
}

// --- pings --------------------------------------------------------------------------------------------------------

#[test]
fn pings_are_answered_in_order() {
    for is_client in ROLES {
        let mut peer = Peer::open(is_client);
        let pings: Vec<u8> = (0..100u8).flat_map(|i| frame(is_client, FIN | PING, &[i; 3])).collect();
        assert_eq!(peer.feed(&pings), []);
        let wanted: Vec<(u8, Vec<u8>)> = (0..100u8).map(|i| (FIN | PONG, vec![i; 3])).collect();
        assert_eq!(plain(&peer.sent()), wanted);
    }
}

#[test]
fn pings_and_pongs_have_a_limit_in_each_period() {
    for is_client in ROLES {
        let mut peer = Peer::open_with(is_client, Limits { max_controls: 2, ..Limits::default() });
        let (ping, pong) = (frame(is_client, FIN | PING, b""), frame(is_client, FIN | PONG, b""));
        for _ in 0..3 {
            assert_eq!(peer.feed(&ping), []);
            assert_eq!(peer.feed(&pong), [Seen::Pong(Vec::new())]);
            peer.connection.renew();
        }
        assert_eq!(peer.feed(&[&ping[..], &ping].concat()), []);
        let seen = peer.feed(&ping);
        assert!(
            matches!(&seen[..], [Seen::Failed { rule, code: 1008, .. }] if rule == "TooManyControls"),
            "{seen:?}"
        );
    }
}

#[test]
fn while_output_is_blocked_only_the_latest_ping_is_answered() {
    for is_client in ROLES {
        let mut peer = Peer::open(is_client);
        peer.out.blocked = true;
        for i in 0..100u8 {
            assert_eq!(peer.feed(&frame(is_client, FIN | PING, &[i])), []);
            assert_eq!(peer.sent(), b"");
        }
        peer.out.blocked = false;
        peer.act(|connection, io| connection.unblocked(io));
        assert_eq!(plain(&peer.sent()), [(FIN | PONG, vec![99])]);
        peer.act(|connection, io| connection.unblocked(io));
        assert_eq!(peer.sent(), b"", "a pong goes out once");
    }
}

#[test]
fn an_older_pong_is_not_sent_behind_a_newer_one() {
    let mut peer = Peer::open(false);
    peer.out.blocked = true;
    peer.feed(&frame(false, FIN | PING, b"old"));
    // The output is empty again, and a ping comes before anybody says so.
    peer.out.blocked = false;
    peer.feed(&frame(false, FIN | PING, b"new"));
    peer.act(|connection, io| connection.unblocked(io));
    assert_eq!(plain(&peer.sent()), [(FIN | PONG, b"new".to_vec())]);
}

#[test]
fn a_blocked_output_does_not_keep_messages_back() {
    let mut peer = Peer::open(false);
    peer.out.blocked = true;
    let bytes = [frame(false, TEXT, b"one"), frame(false, FIN | PING, b"p"), frame(false, FIN, b"two")].concat();
    assert_eq!(peer.feed(&bytes), [Seen::Text(b"onetwo".to_vec())]);
    send(&mut peer, Message::text("still"));
    peer.act(|connection, io| connection.unblocked(io));
    assert_eq!(plain(&peer.sent()), [(FIN | TEXT, b"still".to_vec()), (FIN | PONG, b"p".to_vec())]);
}

// --- memory -------------------------------------------------------------------------------------------------------

/// What a connection may hold beside twice what has arrived.
const CONSTANT: usize = 2048;

#[test]
fn a_declared_length_takes_no_memory_before_its_bytes_come() {
    for is_client in ROLES {
        let mut peer = Peer::open(is_client);
        assert_eq!(peer.feed(&header(is_client, FIN | BINARY, 16 << 20)), []);
        assert_eq!(peer.buffers.used(), 0);
        let mut arrived = 0;
        for size in [1, 1, 10, 1000, 1, 30_000, 1, 500_000, 3] {
            peer.feed(&vec![7; size]);
            arrived += size;
            let used = peer.buffers.used();
            assert!(used <= 2 * arrived + CONSTANT, "{used} for {arrived}");
        }
        peer.release();
    }
}

#[test]
fn two_hundred_declared_messages_take_next_to_nothing() {
    let mut buffers = Buffers::default();
    let mut peers: Vec<Peer> = (0..200).map(|_| Peer::open(false)).collect();
    for peer in &mut peers {
        std::mem::swap(&mut peer.buffers, &mut buffers);
        peer.feed(&header(false, FIN | BINARY, 16 << 20));
        peer.feed(&[1; 100]);
        std::mem::swap(&mut peer.buffers, &mut buffers);
    }
    assert!(buffers.used() <= 200 * CONSTANT, "{}", buffers.used());
    for peer in &mut peers {
        std::mem::swap(&mut peer.buffers, &mut buffers);
        peer.act(|connection, io| connection.release(io));
        std::mem::swap(&mut peer.buffers, &mut buffers);
    }
    assert_eq!(buffers.used(), 0);
}

#[test]
fn four_mebibytes_in_65536_fragments_pass_in_one_buffer() {
    let (mut peer, fragments) = (Peer::open(false), 65_536);
    let part = [0x5a; 64];
    let (first, middle, last) =
        (frame(false, BINARY, &part), frame(false, CONTINUATION, &part), frame(false, FIN, &part));
    assert_eq!(peer.feed(&first), []);
    for i in 2..fragments {
        assert_eq!(peer.feed(&middle), []);
        let (used, arrived) = (peer.buffers.used(), i * part.len());
        assert!(used <= 2 * arrived + CONSTANT, "{used} for {arrived}");
    }
    let seen = peer.feed(&last);
    assert!(matches!(&seen[..], [Seen::Binary(bytes)] if *bytes == vec![0x5a; 4 << 20]));
    assert_eq!(peer.buffers.used(), 0);
}

#[test]
fn a_thousand_empty_fragments_pass_and_one_more_is_refused() {
    for is_client in ROLES {
        let start = frame(is_client, TEXT, b"");
        let empty = frame(is_client, CONTINUATION, b"").repeat(999);
        let mut peer = Peer::open(is_client);
        assert_eq!(peer.feed(&[&start[..], &empty].concat()), []);
        assert_eq!(peer.buffers.used(), 0);
        assert_eq!(peer.feed(&frame(is_client, FIN, b"end")), [Seen::Text(b"end".to_vec())]);

        let mut peer = Peer::open(is_client);
        assert_eq!(peer.feed(&[&start[..], &empty].concat()), []);
        let seen = peer.feed(&frame(is_client, CONTINUATION, b""));
        let offset = (start.len() + empty.len()) as u64;
        let rule = "TooManyEmptyFragments".to_owned();
        assert_eq!(seen, [Seen::Failed { rule, code: 1008, offset }]);
    }
}

#[test]
fn the_default_limit_is_16_mebibytes_at_the_header() {
    for is_client in ROLES {
        let mut peer = Peer::open(is_client);
        assert_eq!(peer.feed(&header(is_client, FIN | BINARY, 16 << 20)), []);
        let mut peer = Peer::open(is_client);
        let seen = peer.feed(&header(is_client, FIN | BINARY, (16 << 20) + 1));
        assert!(matches!(&seen[..], [Seen::Failed { code: 1009, offset: 0, .. }]), "{seen:?}");
    }
}

#[test]
fn a_message_at_the_limit_passes_whole_and_in_fragments_and_one_byte_more_does_not() {
    for is_client in ROLES {
        let open = || Peer::open_with(is_client, Limits { max_message: 1000, ..Limits::default() });
        let data = [b'x'; 1001];
        let message = |len: usize| frame(is_client, FIN | TEXT, &data[..len]);
        assert_eq!(open().feed(&message(1000)), [Seen::Text(data[..1000].to_vec())]);
        assert!(matches!(&open().feed(&message(1001))[..], [Seen::Failed { code: 1009, .. }]));
        let fragments = |len: usize| [frame(is_client, TEXT, &data[..400]), frame(is_client, FIN, &data[400..len])];
        assert_eq!(open().feed(&fragments(1000).concat()), [Seen::Text(data[..1000].to_vec())]);
        assert!(matches!(&open().feed(&fragments(1001).concat())[..], [Seen::Failed { code: 1009, .. }]));
    }
}

#[test]
fn without_a_limit_lengths_still_do_not_wrap() {
    for is_client in ROLES {
        let mut peer = Peer::open_with(is_client, Limits { max_message: usize::MAX, ..Limits::default() });
        assert_eq!(peer.feed(&frame(is_client, BINARY, &[1; 100])), []);
        assert_eq!(peer.feed(&header(is_client, CONTINUATION, u64::MAX >> 1)), []);
        for _ in 0..10 {
            assert_eq!(peer.feed(&[2; 1000]), []);
        }
        assert!(peer.buffers.used() <= 2 * 10_100 + CONSTANT, "{}", peer.buffers.used());
        peer.release();
    }
}

#[test]
fn a_pong_in_two_pieces_does_not_take_from_the_memory_that_is_counted() {
    for is_client in ROLES {
        let mut peer = Peer::open(is_client);
        peer.feed(&frame(is_client, BINARY, &[7; 3000]));
        let used = peer.buffers.used();
        assert!(used >= 3000);
        let pong = frame(is_client, FIN | PONG, &[9; 125]);
        for _ in 0..100 {
            assert_eq!(peer.feed(&pong[..50]), []);
            assert_eq!(peer.feed(&pong[50..]), [Seen::Pong(vec![9; 125])]);
            assert_eq!(peer.buffers.used(), used);
        }
        assert!(peer.buffers.kept() <= CONSTANT, "{} kept", peer.buffers.kept());
    }
}

#[test]
fn the_limit_of_all_memory_holds_for_buffers_that_are_used_again() {
    let mut buffers = Buffers::new(10_000);
    let (mut first, mut second, mut third) = (Vec::new(), Vec::new(), Vec::new());
    buffers.append(&mut first, &[1; 6_000], 6_000).unwrap();
    buffers.give_back(first);
    buffers.append(&mut second, &[2; 7_000], 7_000).unwrap();
    let _ = buffers.append(&mut third, &[3; 1_000], 1_000);
    assert!(buffers.used() <= 10_000, "{} of 10,000 are used", buffers.used());
    buffers.give_back(second);
    buffers.give_back(third);
    assert_eq!(buffers.used(), 0);
}

#[test]
fn memory_that_is_used_up_fails_the_message_and_comes_back() {
    for is_client in ROLES {
        let mut peer = Peer::open(is_client);
        peer.buffers = Buffers::new(5_000);
        peer.feed(&header(is_client, FIN | BINARY, 100_000));
        let seen = (0..100).find_map(|_| {
            let seen = peer.feed(&[7; 100]).pop();
            assert!(peer.buffers.used() <= 5_000);
            seen
        });
        assert!(matches!(&seen, Some(Seen::Failed { code: 1013, .. })), "{seen:?}");
        assert_eq!(peer.buffers.used(), 0);
        assert_eq!(plain(&peer.sent())[0].1[..2], 1013u16.to_be_bytes());
    }
}

// --- texts --------------------------------------------------------------------------------------------------------

#[test]
fn a_bad_byte_fails_at_once_in_a_frame_that_goes_on() {
    let bad: [(&[u8], usize); 9] = [
        (b"\xff", 0),
        (b"\x80", 0),
        (b"\xc1\x80", 0),
        (b"\xe0\x9f\x80", 1),
        (b"\xed\xa0\x80", 1),
        (b"\xf0\x8f\x80\x80", 1),
        (b"\xf4\x90\x80\x80", 1),
        (b"\xec\x95x", 2),
        (b"\xf0\x9f\x98x", 3),
    ];
    for is_client in ROLES {
        for (sequence, at) in bad {
            for good in ["", "a", "안녕", &"long enough for the wide check ".repeat(4)] {
                let mut bytes = header(is_client, FIN | TEXT, 60_000);
                let start = bytes.len();
                let key = if is_client { [0; 4] } else { KEY };
                let text = [good.as_bytes(), sequence].concat();
                bytes.extend(text.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
                let offset = start + good.len() + at;
                let failed = [Seen::Failed { rule: "Text".into(), code: 1007, offset: offset as u64 }];

                let mut peer = Peer::open(is_client);
                assert_eq!(peer.feed(&bytes[..offset]), [], "{text:x?}: too early");
                assert_eq!(peer.feed(&bytes[offset..=offset]), failed, "{text:x?}: at its byte");
                let outcome = in_every_split(&bytes, || Peer::open(is_client), |_, _| {});
                assert_eq!(outcome.events, failed, "{text:x?}");
            }
        }
    }
}

#[test]
fn a_text_may_be_cut_anywhere_by_fragments() {
    let text = "a안녕😀é".as_bytes();
    for is_client in ROLES {
        for cut in 0..=text.len() {
            let bytes = [frame(is_client, TEXT, &text[..cut]), frame(is_client, FIN, &text[cut..])].concat();
            let outcome = in_every_split(&bytes, || Peer::open(is_client), |_, _| {});
            assert_eq!(outcome.events, [Seen::Text(text.to_vec())], "cut at {cut}");
        }
    }
}
