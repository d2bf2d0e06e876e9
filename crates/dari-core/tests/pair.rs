//! Two cores back to back, and cores against noise: whatever is sent, cut and closed, nothing is lost, doubled,
//! reordered or kept, and nothing panics.

mod common;

use common::deflate::{self, PLAIN, TAKEOVER};
use common::pair::{CONTEXTS, Setup, Step, What, text};
use common::splits::in_every_split;
use common::{FIN, KEY, Noise, PING, Peer, Seen, TEXT, frame, handshake, opening, plain, switching};
use dari_core::{Deflate, Kind, Limits, Message, Squeeze, State};
use proptest::collection::vec;
use proptest::prelude::*;

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0..200usize,
        1 => prop_oneof![Just(0usize), Just(125), Just(126), Just(65_535), Just(65_536)],
        1 => 0..70_000usize,
    ]
}

fn what() -> impl Strategy<Value = What> {
    (any::<bool>(), any::<bool>(), size()).prop_map(|(is_text, noisy, size)| What { is_text, noisy, size })
}

fn squeeze() -> impl Strategy<Value = Squeeze> {
    prop_oneof![2 => Just(Squeeze::Auto), 1 => Just(Squeeze::Yes), 1 => Just(Squeeze::No)]
}

fn step() -> impl Strategy<Value = Step> {
    let code = prop_oneof![Just(0u16), Just(1000), Just(1001), 3000..5000u16];
    prop_oneof![
        8 => (any::<bool>(), what(), squeeze(), any::<bool>())
            .prop_map(|(at, what, squeeze, prepared)| Step::Send { at, what, squeeze, prepared }),
        4 => (any::<bool>(), what(), any::<bool>()).prop_map(|(at, what, is_last)| Step::Part { at, what, is_last }),
        3 => (any::<bool>(), 0..=125usize).prop_map(|(at, size)| Step::Ping { at, size }),
        12 => (any::<bool>(), prop_oneof![3 => 0..300usize, 1 => 0..100_000usize])
            .prop_map(|(at, most)| Step::Deliver { at, most }),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(at, blocked)| Step::Block { at, blocked }),
        1 => (any::<bool>(), code, 0..=123usize).prop_map(|(at, code, reason)| Step::Close { at, code, reason }),
    ]
}

fn setup() -> impl Strategy<Value = Setup> {
    let deflate = (any::<bool>(), 1..=9u8, prop_oneof![Just(0usize), Just(64), 0..1000usize])
        .prop_map(|(takeover, level, min)| Deflate { takeover, level, min });
    let bits = prop_oneof![Just(None), (8..=15u8).prop_map(Some)];
    let end = (prop_oneof![1 => Just(None), 6 => deflate.prop_map(Some)], bits, any::<bool>());
    [end.clone(), end].prop_map(|[server, client]| Setup {
        deflate: [server.0, client.0],
        bits: [server.1, client.1],
        parts: [server.2, client.2],
    })
}

/// Cuts `bytes` into pieces of the given sizes, and one of the rest.
fn pieces<'a>(mut bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut all = Vec::new();
    for size in sizes {
        let (piece, rest) = bytes.split_at((*size).min(bytes.len()));
        all.push(piece);
        bytes = rest;
    }
    all.push(bytes);
    all
}

fn open_deflate(is_client: bool, takeover: bool) -> Peer {
    deflate::open(is_client, if takeover { TAKEOVER } else { PLAIN })
}

/// Bytes that are frames in part: every rule comes into reach.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let parts = (any::<u8>(), any::<u8>(), vec(any::<u8>(), 0..40), any::<bool>());
    let likely = parts.prop_map(|(first, len, payload, is_masked)| {
        let opcodes = [0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8a, 0x41, 0x42, 0xc1, 0xc2];
        let first = if len % 16 == 0 { first } else { opcodes[usize::from(first) % opcodes.len()] };
        let mut bytes = frame(!is_masked, first, &payload);
        if len % 32 == 1 {
            bytes[1] ^= first ^ len;
        }
        bytes
    });
    let likely = vec(likely, 0..12).prop_map(|frames| frames.concat());
    prop_oneof![3 => likely, 1 => vec(any::<u8>(), 0..2000)]
}

/// The first byte that no text can have, by the definition: no continuation of what stands before makes it good.
fn first_bad_byte(bytes: &[u8]) -> Option<usize> {
    let can_be = |text: &[u8]| str::from_utf8(text).map_or_else(|error| error.error_len().is_none(), |_| true);
    (0..bytes.len()).find(|at| !can_be(&bytes[..=*at])).or(str::from_utf8(bytes).err().map(|_| bytes.len()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_ends_agree_on_every_message_and_on_the_end(
        setup in setup(),
        steps in vec(step(), 0..60),
        sizes in vec(1..3000usize, 1..40),
    ) {
        common::pair::run(&setup, &steps, &sizes);
    }

    #[test]
    fn messages_in_random_fragments_with_pings_between_arrive_whole(
        is_client: bool,
        takeover: bool,
        messages in vec((what(), any::<bool>(), vec(0..900usize, 0..6)), 0..8),
        sizes in vec(0..2000usize, 0..40),
    ) {
        let mut from = open_deflate(!is_client, takeover);
        let (mut bytes, mut wanted, mut pongs) = (Vec::new(), Vec::new(), Vec::new());
        for (i, (what, squeeze, cuts)) in messages.iter().enumerate() {
            let (data, kind) = (what.bytes(i), if what.is_text { Kind::Text } else { Kind::Binary });
            let squeeze = if *squeeze { Squeeze::Yes } else { Squeeze::No };
            from.act(|connection, io| connection.send_with(Message { kind, data: &data }, squeeze, io)).unwrap();
            // The bytes are the core's own, the fragments are not.
            let (first, payload) = plain(&from.sent()).remove(0);
            let fragments = pieces(&payload, cuts);
            for (nth, fragment) in fragments.iter().enumerate() {
                let opcode = if nth == 0 { first & !FIN } else { 0 };
                let fin = if nth + 1 == fragments.len() { FIN } else { 0 };
                bytes.extend(frame(is_client, fin | opcode, fragment));
                bytes.extend(frame(is_client, FIN | PING, &[i.to_le_bytes()[0]]));
                pongs.push((0x8a, vec![i.to_le_bytes()[0]]));
            }
            wanted.push(if kind == Kind::Text { Seen::Text(data) } else { Seen::Binary(data) });
        }
        let mut peer = open_deflate(is_client, takeover);
        let seen: Vec<Seen> = pieces(&bytes, &sizes).iter().flat_map(|piece| peer.feed(piece)).collect();
        assert_eq!(seen, wanted);
        assert_eq!(plain(&peer.sent()), pongs);
        assert!(peer.buffers.used() <= if takeover { CONTEXTS } else { 0 });
    }

    #[test]
    fn a_bad_text_fails_at_the_same_byte_however_it_is_cut(
        is_client: bool,
        good in 0..90usize,
        tail in vec(prop_oneof![any::<u8>(), 0x80..=0xbfu8, 0xe0..=0xf4u8], 1..8),
        cuts in vec(0..40usize, 0..5),
    ) {
        let payload = [text(good, good).as_bytes(), &tail].concat();
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        let fragments = pieces(&payload, &cuts);
        for (nth, fragment) in fragments.iter().enumerate() {
            let first = if nth == 0 { TEXT } else { 0 } | if nth + 1 == fragments.len() { FIN } else { 0 };
            let frame = frame(is_client, first, fragment);
            places.extend(bytes.len() + frame.len() - fragment.len()..bytes.len() + frame.len());
            bytes.extend(frame);
        }
        let wanted = match first_bad_byte(&payload) {
            None => Seen::Text(payload),
            Some(at) => {
                let offset = places.get(at).copied().unwrap_or(bytes.len()) as u64;
                Seen::Failed { rule: "Text".into(), code: 1007, offset }
            }
        };
        let outcome = in_every_split(&bytes, || Peer::open(is_client), |_, _| {});
        assert_eq!(outcome.events, [wanted]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn noise_behind_a_handshake_is_taken_whole_and_answered_within_bounds(
        is_client: bool,
        takeover: Option<bool>,
        bytes in noise(),
        sizes in vec(0..300usize, 0..20),
    ) {
        let run = |pieces: &[&[u8]]| {
            let mut peer = takeover.map_or_else(|| Peer::open(is_client), |takeover| open_deflate(is_client, takeover));
            let (ratio, contexts) = if takeover.is_some() { (1040, CONTEXTS) } else { (1, 0) };
            let mut arrived = 0;
            let mut seen = Vec::new();
            for piece in pieces {
                seen.extend(peer.feed(piece));
                arrived += piece.len();
                assert_eq!(peer.waiting, b"");
                assert!(peer.peak <= 2 * ratio * arrived + contexts + 2048);
            }
            // The most that a byte brings is an empty ping's pong, whose mask a client has to add.
            let out = peer.sent();
            assert!(out.len() <= 3 * bytes.len() + 131, "{} for {}", out.len(), bytes.len());
            plain(&out);
            let closing = peer.closing().cloned();
            assert_eq!(peer.state() == State::Open, closing.is_none());
            let ends = seen.iter().filter(|seen| matches!(seen, Seen::Closed | Seen::Failed { .. })).count();
            assert!(ends <= 2 && (ends > 0) == closing.is_some());
            let state = peer.state();
            peer.release();
            (seen, out, state, closing)
        };
        assert_eq!(run(&pieces(&bytes, &sizes)), run(&[&bytes]));
    }

    #[test]
    fn a_spoilt_handshake_never_panics_and_ends_the_same_however_it_is_cut(
        is_client: bool,
        spoils in vec((any::<u16>(), prop_oneof![any::<u8>(), 0x20..0x7fu8, Just(b'\r'), Just(b'\n')], 0..3u8), 0..4),
        sizes in vec(0..120usize, 0..8),
    ) {
        let new = || match is_client {
            true => Peer::client(Limits::default(), opening(), Noise::Zeros).unwrap(),
            false => Peer::server(Limits::default()),
        };
        let text = if is_client { switching(&new().key(), "") } else { handshake() };
        let mut bytes = text.into_bytes();
        for (at, byte, how) in spoils {
            let at = usize::from(at) % bytes.len();
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        let run = |pieces: &[&[u8]]| {
            let mut peer = new();
            let seen: Vec<Seen> = pieces.iter().flat_map(|piece| peer.feed(piece)).collect();
            let result = (seen, peer.sent(), peer.state(), peer.closing().cloned());
            peer.release();
            result
        };
        assert_eq!(run(&pieces(&bytes, &sizes)), run(&[&bytes]));
    }

    #[test]
    fn noise_in_place_of_a_handshake_never_panics(is_client: bool, bytes in vec(any::<u8>(), 0..200)) {
        let mut peer = match is_client {
            true => Peer::client(Limits::default(), opening(), Noise::Zeros).unwrap(),
            false => Peer::server(Limits::default()),
        };
        peer.feed(&bytes);
        assert!(peer.buffers.used() <= 2048);
        peer.release();
    }
}

#[test]
fn the_key_of_the_tests_is_that_of_the_rfc() {
    // RFC 6455 5.7: the masked Hello.
    assert_eq!(KEY, [0x37, 0xfa, 0x21, 0x3d]);
    assert_eq!(frame(false, FIN | TEXT, b"Hello"), b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
}
