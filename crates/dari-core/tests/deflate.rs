//! permessage-deflate (RFC 7692), received: limits, contexts, and what memory they take. The rest stands in the vectors.

mod common;

use common::deflate::{BOMB, PLAIN, RSV1, TAKEOVER, compressed, limits, open, open_with, send, squeezed};
use common::pair::{noise, text};
use common::splits::in_every_split;
use common::{BINARY, CONTINUATION, FIN, PING, Seen, TEXT, close_payload, frame, plain};
use dari_core::{Buffers, Deflate, Kind, Limits, Message, Squeeze, State};

const ROLES: [bool; 2] = [false, true];
/// What a connection may hold beside a message and its contexts.
const CONSTANT: usize = 4096;
const INFLATER: usize = 47_552;

// --- limits -------------------------------------------------------------------------------------------------------

#[test]
fn a_bomb_ends_with_1009_while_memory_stays_below_the_limit() {
    for is_client in ROLES {
        for max_message in [1_000, 1 << 20, (1 << 20) + 5_000] {
            let mut peer = open_with(is_client, Limits { max_message, ..limits(PLAIN) }, "");
            peer.feed(&common::header(is_client, RSV1 | FIN | BINARY, 1 << 30));
            let key = if is_client { [0; 4] } else { common::KEY };
            let bomb = BOMB.iter().chain(std::iter::repeat(&0)).zip(key.iter().cycle()).map(|(byte, key)| byte ^ key);
            let failed = bomb.enumerate().find_map(|(nth, byte)| {
                assert!(nth <= BOMB.len() + 2 + max_message / 1_000, "the limit of {max_message} did not strike");
                let seen = peer.feed(&[byte]).pop();
                let used = peer.peak.max(peer.buffers.used());
                assert!(used <= max_message + INFLATER + CONSTANT, "{used} held for {max_message}");
                seen
            });
            let rule = "MessageTooBig".to_owned();
            assert_eq!(failed, Some(Seen::Failed { rule, code: 1009, offset: 0 }));
            let met = peer.closing().unwrap().failure.unwrap().violation.limit();
            assert_eq!(met, Some((max_message as u64, max_message as u64 + 1)));
            assert_eq!(peer.buffers.used(), 0, "a bomb leaves memory behind");
            assert_eq!(plain(&peer.sent())[0].1[..2], close_payload(1009, b""));
        }
    }
}

#[test]
fn a_bomb_that_comes_at_once_takes_no_more() {
    for is_client in ROLES {
        let mut peer = open_with(is_client, Limits { max_message: 100_000, ..limits(TAKEOVER) }, "");
        let bomb = [&BOMB[..], &[0; 10_000]].concat();
        let seen = peer.feed(&compressed(is_client, BINARY, &bomb));
        assert!(matches!(&seen[..], [Seen::Failed { code: 1009, .. }]), "{seen:?}");
        assert!(peer.peak <= 100_000 + INFLATER + CONSTANT, "{} held", peer.peak);
    }
}

#[test]
fn a_message_of_just_the_limit_passes_and_one_byte_more_does_not() {
    for is_client in ROLES {
        for data in [text(50_001, 3).into_bytes(), noise(50_001, 3), vec![0; 50_001]] {
            let open = || open_with(is_client, Limits { max_message: 50_000, ..limits(PLAIN) }, "");
            for (len, passes) in [(50_000, true), (50_001, false)] {
                let payload = squeezed(is_client, &data[..len]);
                let (front, back) = payload.split_at(payload.len() / 2);
                let (middle, back) = back.split_at(back.len() / 2);
                let fragments = [
                    frame(is_client, RSV1 | BINARY, front),
                    frame(is_client, FIN | PING, b"p"),
                    frame(is_client, CONTINUATION, middle),
                    frame(is_client, FIN | CONTINUATION, back),
                ];
                for bytes in [compressed(is_client, BINARY, &payload), fragments.concat()] {
                    let seen = open().feed(&bytes);
                    match &seen[..] {
                        [Seen::Binary(got)] if passes => assert!(*got == data[..len]),
                        [Seen::Failed { code: 1009, .. }] if !passes => {}
                        other => panic!("{len} bytes: {} events", other.len()),
                    }
                }
            }
        }
    }
}

#[test]
fn compressed_messages_are_the_same_however_they_are_cut() {
    for is_client in ROLES {
        let bytes: Vec<u8> = [text(300, 1), text(10, 2), text(2_000, 3)]
            .iter()
            .flat_map(|text| compressed(is_client, TEXT, &squeezed(is_client, text.as_bytes())))
            .collect();
        let outcome = in_every_split(&bytes, || open(is_client, PLAIN), |_, _| {});
        let wanted = [text(300, 1), text(10, 2), text(2_000, 3)].map(|text| Seen::Text(text.into_bytes()));
        assert_eq!(outcome.events, wanted);
    }
}

// --- contexts -----------------------------------------------------------------------------------------------------

#[test]
fn without_takeover_contexts_are_lent_for_a_message_only() {
    for is_client in ROLES {
        let mut peer = open(is_client, PLAIN);
        let message = text(5_000, 1);
        let payload = squeezed(is_client, message.as_bytes());
        for _ in 0..3 {
            assert_eq!(peer.buffers.used(), 0, "before a message");
            assert_eq!(peer.feed(&frame(is_client, RSV1 | TEXT, &payload[..20])), []);
            assert!(peer.buffers.used() >= INFLATER, "an inflater in use is counted");
            assert_eq!(peer.feed(&frame(is_client, FIN, &payload[20..])), [Seen::Text(message.clone().into_bytes())]);
            assert_eq!(peer.buffers.used(), 0, "behind a message");
            assert_eq!(send(&mut peer, Message::text(&message), Squeeze::Yes).first, FIN | RSV1 | TEXT);
            assert_eq!(peer.buffers.used(), 0, "behind a message of ours");
        }
        assert!(peer.buffers.keeps_any(), "contexts are kept for later");
        for _ in 0..10 {
            peer.buffers.decay();
        }
        assert!(!peer.buffers.keeps_any(), "and given back in the end");
        peer.release();
    }
}

#[test]
fn with_takeover_contexts_are_counted_from_the_first_message_on_until_the_end() {
    for is_client in ROLES {
        let mut peer = open(is_client, TAKEOVER);
        let message = text(5_000, 1);
        peer.feed(&frame(is_client, FIN | TEXT, b"a plain message needs none"));
        send(&mut peer, Message::text(&message), Squeeze::No);
        assert_eq!(peer.buffers.used(), 0);
        peer.feed(&compressed(is_client, TEXT, &squeezed(is_client, message.as_bytes())));
        let inflater = peer.buffers.used();
        assert!((32 << 10..=64 << 10).contains(&inflater), "{inflater}");
        send(&mut peer, Message::text(&message), Squeeze::Yes);
        let both = peer.buffers.used();
        assert!((200 << 10..=400 << 10).contains(&(both - inflater)), "{both}");
        for _ in 0..3 {
            send(&mut peer, Message::text(&message), Squeeze::Yes);
            assert_eq!(peer.buffers.used(), both);
        }
        peer.release();
    }
}

#[test]
fn each_direction_keeps_its_context_only_where_both_sides_let_it() {
    for is_client in ROLES {
        let (us, them) = if is_client { ("client", "server") } else { ("server", "client") };
        for (who, sends, receives) in [(us, false, true), (them, true, false)] {
            let mut peer = open_with(is_client, limits(TAKEOVER), &format!("; {who}_no_context_takeover"));
            let data = noise(40, 1).repeat(3);
            let [one, two] = [0, 1].map(|_| send(&mut peer, Message::binary(&data), Squeeze::Yes).payload);
            assert_eq!(two.len() < one.len() / 2, sends, "{who}");
            assert_eq!(peer.buffers.used() > 0, sends, "{who}");
            let sent = peer.buffers.used();
            // RFC 7692 7.2.3.2: the second one refers to the first.
            let first = compressed(is_client, TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\0");
            assert_eq!(peer.feed(&first), [Seen::Text(b"Hello".to_vec())]);
            assert_eq!(peer.buffers.used() > sent, receives, "{who}");
            let seen = peer.feed(&compressed(is_client, TEXT, b"\xf2\0\x11\0\0"));
            match &seen[..] {
                [Seen::Text(text)] if receives => assert_eq!(text, b"Hello"),
                [Seen::Failed { code: 1007, .. }] if !receives => {}
                other => panic!("{who}: {other:?}"),
            }
        }
    }
}

#[test]
fn an_end_of_any_kind_gives_contexts_back() {
    for is_client in ROLES {
        for deflate in [PLAIN, TAKEOVER] {
            let used = || {
                let mut peer = open(is_client, deflate);
                send(&mut peer, Message::text(&text(100, 1)), Squeeze::Yes);
                let payload = squeezed(is_client, &[0; 9_000]);
                assert_eq!(peer.feed(&frame(is_client, RSV1 | BINARY, &payload[..15])), []);
                assert!(peer.buffers.used() >= INFLATER);
                peer
            };
            let mut peer = used();
            peer.act(|connection, io| connection.close(1000, "", io)).unwrap();
            assert_eq!(peer.buffers.used(), 0, "we close");
            assert_eq!(peer.feed(&frame(is_client, FIN, b"\xff\xff rubbish")), [], "what comes late is passed over");
            let mut peer = used();
            assert_eq!(peer.feed(&frame(is_client, FIN | 8, b"")), [Seen::Closed]);
            assert_eq!(peer.buffers.used(), 0, "the peer closes");
            let mut peer = used();
            assert!(matches!(&peer.feed(&frame(is_client, 0x70, b""))[..], [Seen::Failed { .. }]));
            assert_eq!(peer.buffers.used(), 0, "the peer breaks a rule");
            used().release();
        }
    }
}

#[test]
fn without_memory_for_a_compressor_messages_go_out_plain() {
    for deflate in [PLAIN, TAKEOVER] {
        let mut peer = open(false, deflate);
        peer.buffers = Buffers::new(100_000);
        let message = text(5_000, 1);
        assert_eq!(send(&mut peer, Message::text(&message), Squeeze::Yes).first, FIN | TEXT);
        assert_eq!(peer.buffers.used(), 0);
        peer.buffers = Buffers::default();
        assert_eq!(send(&mut peer, Message::text(&message), Squeeze::Yes).first, FIN | RSV1 | TEXT);
    }
}

// --- both ends ----------------------------------------------------------------------------------------------------

#[test]
fn our_own_client_and_server_agree_on_it() {
    for (server_takes, client_takes) in [(false, false), (false, true), (true, false), (true, true)] {
        let deflate = [server_takes, client_takes].map(|takeover| Some(Deflate { takeover, ..PLAIN }));
        let mut ends = common::pair::Setup { deflate, ..Default::default() }.ends();
        for (at, kind) in [(0, Kind::Text), (1, Kind::Binary), (0, Kind::Binary), (1, Kind::Text)] {
            let data = text(3_000, 1);
            let message = Message { kind, data: data.as_bytes() };
            ends[at].peer.act(|connection, io| connection.send(message, io)).unwrap();
            let sent = ends[at].peer.sent();
            assert!(sent.len() < 500);
            assert_eq!(ends[1 - at].peer.feed(&sent).len(), 1);
            assert_eq!(ends[1 - at].peer.state(), State::Open);
        }
        let holds = ends.iter().map(|end| end.peer.buffers.used()).sum::<usize>();
        assert_eq!(holds > 0, server_takes && client_takes, "contexts are kept where both want it");
    }
}
