//! permessage-deflate (RFC 7692): what the vectors can not say, which is what is sent, with which window, and what
//! memory it takes.

mod common;

use common::pair::{What, text};
use common::splits::in_every_split;
use common::{BINARY, CONTINUATION, FIN, Noise, PING, Peer, Seen, TEXT, close_payload, frame, frames, plain};
use dari_core::{Buffers, Deflate, Kind, Limits, Message, Prepared, Squeeze, State};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags::TINFL_FLAG_HAS_MORE_INPUT};
use std::sync::Arc;

const ROLES: [bool; 2] = [false, true];
/// The bit of a frame that says: compressed.
const RSV1: u8 = 0x40;
/// What a connection may hold beside a message and its contexts.
const CONSTANT: usize = 4096;
const INFLATER: usize = 48 << 10;

/// The front of a bomb: behind it, each byte of zero inflates to 1,032 bytes of zero.
const BOMB: [u8; 15] = [0xec, 0xc1, 0x31, 0x01, 0, 0, 0, 0xc2, 0xa0, 0xf5, 0x4f, 0x6d, 0x0d, 0x0f, 0xa0];

const PLAIN: Deflate = Deflate { takeover: false, level: 6, min: 0 };
const TAKEOVER: Deflate = Deflate { takeover: true, ..PLAIN };

fn limits(deflate: Deflate) -> Limits {
    Limits { deflate: Some(deflate), ..Limits::default() }
}

/// A connection with the extension; `more` are parameters of the other side.
fn open_with(is_client: bool, limits: Limits, more: &str) -> Peer {
    let takeover = limits.deflate.unwrap().takeover;
    let contexts = if takeover { "" } else { "; server_no_context_takeover; client_no_context_takeover" };
    let extensions = format!("permessage-deflate{contexts}{more}");
    let peer = Peer::open_extended(is_client, limits, Noise::Counter(3), &extensions);
    assert!(peer.connection.may_compress());
    peer
}

fn open(is_client: bool, deflate: Deflate) -> Peer {
    open_with(is_client, limits(deflate), "")
}

fn send(peer: &mut Peer, message: Message<'_>, squeeze: Squeeze) -> common::Sent {
    peer.act(|connection, io| connection.send_with(message, squeeze, io)).unwrap();
    let mut sent = frames(&peer.sent());
    assert_eq!(sent.len(), 1, "a message is one frame");
    sent.remove(0)
}

/// The compressed payload of a message, as the other role would send it.
fn squeezed(is_client: bool, message: &[u8]) -> Vec<u8> {
    let sent = send(&mut open(!is_client, PLAIN), Message::binary(message), Squeeze::Yes);
    assert_eq!(sent.first, FIN | RSV1 | BINARY);
    sent.payload
}

fn compressed(is_client: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(is_client, FIN | RSV1 | opcode, payload)
}

fn noise(size: usize, seed: usize) -> Vec<u8> {
    What { is_text: false, noisy: true, size }.bytes(seed)
}

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
                let payload = squeezed_or_stored(is_client, &data[..len]);
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

/// Compressed whether that makes it shorter or not.
fn squeezed_or_stored(is_client: bool, message: &[u8]) -> Vec<u8> {
    let mut peer = open(!is_client, TAKEOVER);
    send(&mut peer, Message::binary(message), Squeeze::Yes).payload
}

#[test]
fn compressed_messages_are_the_same_however_they_are_cut() {
    for is_client in ROLES {
        let bytes: Vec<u8> = [text(300, 1), text(10, 2), text(2_000, 3)]
            .iter()
            .flat_map(|text| compressed(is_client, TEXT, &squeezed_or_stored(is_client, text.as_bytes())))
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

// --- windows ------------------------------------------------------------------------------------------------------

/// Another implementation, with no more memory than a window of some bits: a distance that goes beyond it brings
/// wrong bytes.
struct Window {
    inner: DecompressorOxide,
    bytes: Vec<u8>,
    at: usize,
}

impl Window {
    fn new(bits: u8) -> Self {
        Self { inner: DecompressorOxide::new(), bytes: vec![0; 1 << bits], at: 0 }
    }

    fn inflate(&mut self, payload: &[u8]) -> Vec<u8> {
        self.try_inflate(payload).expect("the other implementation reads it")
    }

    fn try_inflate(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let input = [payload, &[0, 0, 0xff, 0xff]].concat();
        let (mut all, mut rest) = (Vec::new(), &input[..]);
        loop {
            let (status, read, made) =
                decompress(&mut self.inner, rest, &mut self.bytes, self.at, TINFL_FLAG_HAS_MORE_INPUT);
            all.extend_from_slice(&self.bytes[self.at..self.at + made]);
            self.at = (self.at + made) % self.bytes.len();
            rest = &rest[read..];
            match status {
                TINFLStatus::HasMoreOutput => {}
                TINFLStatus::NeedsMoreInput if rest.is_empty() => return Some(all),
                _ => return None,
            }
        }
    }
}

/// Messages that are worth referring to at every distance, those above 32 KiB included.
fn far_messages() -> Vec<Vec<u8>> {
    let part = |seed| noise(150, seed);
    let sizes = [200, 400, 900, 1_900, 3_900, 8_000, 16_200, 32_500, 33_000];
    sizes
        .iter()
        .map(|size| [part(7), noise(*size, 8), part(7), part(9), noise(300, *size), part(9)].concat())
        .collect()
}

#[test]
fn what_is_sent_never_refers_beyond_the_window_agreed_on() {
    for is_client in ROLES {
        for bits in 9..=15 {
            for level in [1, 9] {
                for takeover in [false, true] {
                    let name = if is_client { "client" } else { "server" };
                    let more = format!("; {name}_max_window_bits={bits}");
                    let deflate = Deflate { takeover, level, min: 0 };
                    let mut peer = open_with(is_client, limits(deflate), &more);
                    let mut window = Window::new(bits);
                    for message in far_messages() {
                        let sent = send(&mut peer, Message::binary(&message), Squeeze::Yes);
                        if sent.first & RSV1 == 0 {
                            assert!(!takeover && sent.payload == message);
                            continue;
                        }
                        if !takeover {
                            window = Window::new(bits);
                        }
                        assert!(window.inflate(&sent.payload) == message, "{bits} bits, level {level}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_window_that_is_too_small_for_the_messages_would_be_noticed() {
    let mut peer = open(false, TAKEOVER);
    let mut window = Window::new(14);
    let all_right = far_messages().iter().all(|message| {
        let sent = send(&mut peer, Message::binary(message), Squeeze::Yes);
        window.try_inflate(&sent.payload).is_some_and(|got| got == *message)
    });
    assert!(!all_right, "these messages do not tell a window of 15 bits from one of 14");
}

#[test]
fn with_a_window_of_8_bits_nothing_is_compressed_and_everything_is_read() {
    for is_client in ROLES {
        for deflate in [PLAIN, TAKEOVER] {
            let name = if is_client { "client" } else { "server" };
            let mut peer = open_with(is_client, limits(deflate), &format!("; {name}_max_window_bits=8"));
            let message = text(5_000, 1);
            assert_eq!(send(&mut peer, Message::text(&message), Squeeze::Yes).first, FIN | TEXT);
            let prepared = Prepared::new_with(Message::text(&message), Squeeze::Yes).unwrap();
            peer.act(|connection, io| connection.send_prepared(&prepared, io)).unwrap();
            assert_eq!(frames(&peer.sent())[0].first, FIN | TEXT);
            assert_eq!(peer.buffers.used(), 0);
            let seen = peer.feed(&compressed(is_client, TEXT, &squeezed(is_client, message.as_bytes())));
            assert_eq!(seen, [Seen::Text(message.into_bytes())]);
        }
    }
}

#[test]
fn a_level_that_does_not_exist_is_the_nearest_one() {
    for level in [0, 1, 9, 10, 255] {
        let mut peer = open(false, Deflate { level, ..PLAIN });
        let message = text(5_000, 1);
        let sent = send(&mut peer, Message::text(&message), Squeeze::Yes);
        assert_eq!(sent.first, FIN | RSV1 | TEXT, "level {level}");
        assert_eq!(Window::new(15).inflate(&sent.payload), message.as_bytes());
    }
}

// --- what is compressed -------------------------------------------------------------------------------------------

#[test]
fn the_caller_and_the_length_decide_what_is_compressed() {
    for is_client in ROLES {
        for takeover in [false, true] {
            let mut peer = open(is_client, Deflate { takeover, level: 3, min: 64 });
            let data = "a".repeat(64);
            for (squeeze, len, wanted) in [
                (Squeeze::Auto, 63, false),
                (Squeeze::Auto, 64, true),
                (Squeeze::Yes, 64, true),
                (Squeeze::Yes, 20, true),
                (Squeeze::No, 64, false),
                (Squeeze::Yes, 0, false),
            ] {
                let sent = send(&mut peer, Message::text(&data[..len]), squeeze);
                assert_eq!(sent.first & RSV1 != 0, wanted, "{squeeze:?}, {len} bytes");
                assert_eq!(sent.first & !RSV1, FIN | TEXT);
            }
            peer.act(|connection, io| connection.send(Message::text(&data), io)).unwrap();
            assert_eq!(frames(&peer.sent())[0].first, FIN | RSV1 | TEXT, "send() is Auto");
        }
    }
}

#[test]
fn where_it_was_not_agreed_on_nothing_is_compressed() {
    for is_client in ROLES {
        let mut peer = Peer::open_with(is_client, limits(PLAIN));
        assert!(!peer.connection.may_compress());
        assert_eq!(send(&mut peer, Message::text(&text(5_000, 1)), Squeeze::Yes).first, FIN | TEXT);
    }
}

#[test]
fn what_does_not_get_shorter_goes_out_as_it_is() {
    for is_client in ROLES {
        let mut peer = open(is_client, PLAIN);
        for size in [1, 2, 5, 100, 70_000] {
            let data = noise(size, 5);
            let sent = send(&mut peer, Message::binary(&data), Squeeze::Yes);
            assert_eq!((sent.first, sent.payload == data), (FIN | BINARY, true), "{size} bytes");
        }
    }
}

#[test]
fn with_takeover_a_message_may_refer_to_an_earlier_one() {
    let mut peer = open(false, TAKEOVER);
    let data = noise(2_000, 5);
    let mut window = Window::new(15);
    let sizes = [0, 1, 2].map(|_| {
        let sent = send(&mut peer, Message::binary(&data), Squeeze::Yes);
        assert_eq!(sent.first, FIN | RSV1 | BINARY);
        assert!(window.inflate(&sent.payload) == data);
        sent.payload.len()
    });
    assert!(sizes[0] <= 2_000 + 20 && sizes[1] < 100 && sizes[2] < 100, "{sizes:?}");
}

// --- messages to many ---------------------------------------------------------------------------------------------

fn publish(peer: &mut Peer, prepared: &Prepared) -> common::Sent {
    peer.act(|connection, io| connection.send_prepared(prepared, io)).unwrap();
    frames(&peer.sent()).remove(0)
}

#[test]
fn a_prepared_message_is_compressed_once_for_all_that_can_share_it() {
    let message = text(5_000, 1);
    let prepared = Prepared::new(Message::text(&message)).unwrap();
    let mut first = open(false, PLAIN);
    assert_eq!(publish(&mut first, &prepared).first, FIN | RSV1 | TEXT);
    for _ in 0..5 {
        let mut peer = open(false, PLAIN);
        // There is no memory for a compressor: none is needed any more.
        peer.buffers = Buffers::new(0);
        assert_eq!(publish(&mut peer, &prepared.clone()).first, FIN | RSV1 | TEXT);
        assert!(Arc::ptr_eq(&peer.out.shared[0], &first.out.shared[0]), "it was compressed again");
    }
    for (deflate, more) in [(PLAIN, "; server_max_window_bits=10"), (Deflate { level: 1, ..PLAIN }, "")] {
        let mut peer = open_with(false, limits(deflate), more);
        let sent = publish(&mut peer, &prepared);
        assert!(!Arc::ptr_eq(&peer.out.shared[0], &first.out.shared[0]), "other parameters need another frame");
        assert_eq!(Window::new(if more.is_empty() { 15 } else { 10 }).inflate(&sent.payload), message.as_bytes());
    }
    let mut plain = Peer::open(false);
    assert_eq!(publish(&mut plain, &prepared).first, FIN | TEXT);
    // What refers to earlier messages can not be shared, and a client's mask can not either.
    for mut peer in [open(false, TAKEOVER), open(true, PLAIN)] {
        let sent = publish(&mut peer, &prepared);
        assert_eq!(sent.first, FIN | RSV1 | TEXT);
        assert!(peer.out.shared.is_empty());
        assert_eq!(Window::new(15).inflate(&sent.payload), message.as_bytes());
    }
}

#[test]
fn a_prepared_message_obeys_the_caller_and_the_length() {
    let wanted = |message: &str, squeeze: Squeeze| {
        let prepared = Prepared::new_with(Message::text(message), squeeze).unwrap();
        publish(&mut open(false, Deflate { min: 64, ..PLAIN }), &prepared).first == FIN | RSV1 | TEXT
    };
    assert!(!wanted(&"a".repeat(63), Squeeze::Auto));
    assert!(wanted(&"a".repeat(64), Squeeze::Auto));
    assert!(wanted(&"a".repeat(63), Squeeze::Yes));
    assert!(!wanted(&"a".repeat(64), Squeeze::No));
    assert!(!wanted("", Squeeze::Yes));
    assert!(!wanted("it", Squeeze::Yes), "what does not get shorter goes out as it is");
}

#[test]
fn a_lack_of_memory_does_not_stick_to_a_prepared_message() {
    let prepared = Prepared::new(Message::text(&text(5_000, 1))).unwrap();
    let mut peer = open(false, PLAIN);
    peer.buffers = Buffers::new(1_000);
    assert_eq!(publish(&mut peer, &prepared).first, FIN | TEXT);
    assert_eq!(publish(&mut open(false, PLAIN), &prepared).first, FIN | RSV1 | TEXT);
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
