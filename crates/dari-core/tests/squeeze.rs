//! permessage-deflate (RFC 7692), sent: what is compressed, with which window, and how often.

mod common;

use common::deflate::{PLAIN, RSV1, TAKEOVER, compressed, limits, open, open_with, send, squeezed};
use common::pair::{noise, text};
use common::{BINARY, FIN, Peer, Seen, TEXT, frames};
use dari_core::{Buffers, Deflate, Message, Prepared, Squeeze};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags::TINFL_FLAG_HAS_MORE_INPUT};
use std::sync::Arc;

const ROLES: [bool; 2] = [false, true];

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
fn connections_that_share_a_pool_keep_to_their_own_windows() {
    let mut buffers = Buffers::default();
    for bits in [15, 9, 12, 9, 15, 12] {
        let mut peer = open_with(false, limits(PLAIN), &format!("; server_max_window_bits={bits}"));
        std::mem::swap(&mut peer.buffers, &mut buffers);
        for message in far_messages() {
            let sent = send(&mut peer, Message::binary(&message), Squeeze::Yes);
            if sent.first & RSV1 != 0 {
                assert!(Window::new(bits).inflate(&sent.payload) == message, "{bits} bits");
            }
        }
        std::mem::swap(&mut peer.buffers, &mut buffers);
    }
    assert_eq!(buffers.used(), 0);
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
