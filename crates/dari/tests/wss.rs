//! TLS on real sockets: messages, pauses and parts are what they are without it.

mod common;

use common::raw::{BINARY, HELLO, TEXT, close, frame, next_frame, next_head};
use common::tls::{BOTH, Ca, Peer, listen, open, trusting};
use common::*;
use dari::{Cause, Config, ConnId, Connect, Deflate, Handler, Kind, Limits, Listen, Message, Net, Sent};
use rustls::ProtocolVersion;
use std::cell::RefCell;
use std::io::{Read, Write};
use std::rc::Rc;

fn dial(bench: &mut Bench, how: Connect, hooks: Hooks) -> ConnId {
    let url = format!("wss://localhost:{}/", bench.port);
    bench.net().connect(&url, how, Box::new(hooks)).unwrap()
}

/// A server whose handler writes down what happens.
fn bench(ca: &Ca, limits: Limits, hooks: impl FnOnce(&Log) -> Hooks) -> Bench {
    Bench::new(Listen { limits, ..listen(ca.server("localhost")) }, hooks)
}

fn echo(ca: &Ca) -> Bench {
    Bench::of(Config::default(), listen(ca.server("localhost")), Log::default(), Box::new(PlainEcho))
}

#[test]
fn messages_of_all_sizes_come_back_encrypted_and_the_end_is_clean() {
    let ca = Ca::new("sizes");
    for deflate in [None, Some(Deflate { takeover: true, ..Deflate::default() })] {
        let limits = Limits { deflate, ..Limits::default() };
        let how = Listen { limits: limits.clone(), ..listen(ca.server("localhost")) };
        let mut bench = Bench::of(Config::default(), how, Log::default(), Box::new(PlainEcho));
        let heard = Log::default();
        let conn =
            dial(&mut bench, Connect { limits: limits.clone(), ..trusting(ca.client()) }, Hooks::quiet(&heard));
        bench.until("open", |_| heard.opens() == 1);
        // A compressed one has the length of a record by chance alone.
        let longest = if limits.deflate.is_some() { 1 << 20 } else { 16 << 20 };
        for size in [0, 1, 125, 126, 16_383, 16_384, 16_385, 65_535, 65_536, 300_000, longest] {
            let data = pattern(size);
            bench.net().send(conn, Message::binary(&data)).unwrap();
            let before = heard.messages();
            bench.until("an echo", |_| heard.messages() > before);
            let all = heard.all();
            assert!(matches!(all.last(), Some((_, Told::Message(_, back))) if *back == data), "{size} bytes");
        }
        bench.net().close(conn, 1000, "bye").unwrap();
        bench.until("the end", |_| heard.closes() == 1);
        let end = heard.end();
        assert_eq!((end.cause, end.code, end.was_clean), (Cause::Local, 1000, true), "{}", end.text());
    }
}

#[test]
fn both_versions_of_tls_are_spoken_and_http_1_1_inside() {
    let ca = Ca::new("versions");
    let mut bench = echo(&ca);
    for (version, number) in BOTH.into_iter().zip([ProtocolVersion::TLSv1_3, ProtocolVersion::TLSv1_2]) {
        let mut peer = open(&mut bench, &ca, version);
        assert_eq!((peer.tls.protocol_version(), peer.tls.alpn_protocol()), (Some(number), Some(&b"http/1.1"[..])));
        peer.say(&frame(TEXT, b"hi"));
        bench.until("an echo", |_| peer.take_frame() == Some((TEXT, b"hi".to_vec())));
    }
}

#[test]
fn a_stream_that_comes_byte_by_byte_is_the_same_stream() {
    let ca = Ca::new("bytes");
    let mut bench = echo(&ca);
    for version in BOTH {
        let mut peer = Peer::client(bench.raw(), &ca, version);
        // Whatever it has to say goes out one byte at a time.
        let crawl = |bench: &mut Bench, peer: &mut Peer| {
            for byte in peer.sealed() {
                peer.raw.say(&[byte]);
                bench.event_loop.turn(Some(0)).unwrap();
            }
            // What comes back, and not what would be said to it.
            peer.raw.hear();
        };
        peer.tls.writer().write_all(&[HELLO, &frame(TEXT, b"one"), &frame(BINARY, &pattern(300))].concat()).unwrap();
        let mut wanted = vec![(BINARY, pattern(300)), (TEXT, b"one".to_vec())];
        let mut opened = false;
        bench.until("both echoes", |bench| {
            crawl(bench, &mut peer);
            let sealed = std::mem::take(&mut peer.raw.got);
            let mut rest = &sealed[..];
            while !rest.is_empty() {
                peer.tls.read_tls(&mut rest).unwrap();
                let len = peer.tls.process_new_packets().unwrap().plaintext_bytes_to_read();
                let at = peer.got.len();
                peer.got.resize(at + len, 0);
                peer.tls.reader().read_exact(&mut peer.got[at..]).unwrap();
            }
            opened |= next_head(&mut peer.got).is_some();
            while let (true, Some(frame)) = (opened, next_frame(&mut peer.got)) {
                assert_eq!(Some(frame), wanted.pop());
            }
            wanted.is_empty()
        });
    }
}

// --- pauses -----------------------------------------------------------------------------------------------------

/// A server that pauses at each message.
fn pausing(ca: &Ca) -> Bench {
    bench(ca, Limits::default(), |log| {
        Hooks::new(log, |net, conn, told| {
            if let Told::Message(..) = told {
                net.pause(conn).unwrap();
            }
        })
    })
}

#[test]
fn what_was_decrypted_waits_while_it_is_paused() {
    let ca = Ca::new("pause");
    for version in BOTH {
        let mut bench = pausing(&ca);
        let mut peer = open(&mut bench, &ca, version);
        let conn = bench.log.opened();
        // All in one record, and then in one each.
        let texts: Vec<String> = (0..40).map(|i| format!("{i}")).collect();
        let said: Vec<_> = texts.iter().map(|text| frame(TEXT, text.as_bytes())).collect();
        peer.say(&said[..20].concat());
        said[20..].iter().for_each(|frame| peer.say(frame));
        for count in 1..=texts.len() {
            bench.until("the next message", |bench| bench.log.messages() == count);
            bench.turn_for(2);
            assert_eq!(bench.log.messages(), count);
            bench.net().resume(conn).unwrap();
        }
        let told: Vec<_> = bench.log.payloads().into_iter().map(|data| String::from_utf8(data).unwrap()).collect();
        assert_eq!(told, texts);
    }
}

#[test]
fn all_that_came_before_the_end_is_told_before_it_however_long_it_waits() {
    let ca = Ca::new("last");
    for version in BOTH {
        for ending in ["close_notify", "Close", "end"] {
            let mut bench = pausing(&ca);
            let mut peer = open(&mut bench, &ca, version);
            let conn = bench.log.opened();
            let mut said = [frame(TEXT, b"1"), frame(TEXT, b"2"), frame(TEXT, b"3")].concat();
            if ending == "Close" {
                said.extend(close(1000, "done"));
            }
            peer.tls.writer().write_all(&said).unwrap();
            if ending != "end" {
                peer.tls.send_close_notify();
            }
            peer.push();
            peer.raw.end();
            for count in 1..=3 {
                bench.until(&format!("{ending}: message {count}"), |bench| bench.log.messages() == count);
                bench.turn_for(2);
                assert_eq!((bench.log.messages(), bench.log.closes()), (count, 0), "{ending}");
                bench.net().resume(conn).unwrap();
            }
            let end = bench.end();
            match ending {
                "Close" => {
                    assert_eq!((end.cause, end.code, end.was_clean), (Cause::Peer, 1000, true), "{}", end.text())
                }
                _ => assert_eq!((end.cause, end.code), (Cause::Eof, 1006), "{}", end.text()),
            }
        }
    }
}

// --- parts ------------------------------------------------------------------------------------------------------

#[derive(Clone, Default)]
struct Parts(Rc<RefCell<(Vec<u8>, usize, usize)>>);

impl Handler for Parts {
    fn part(&mut self, _: &mut Net, _: ConnId, part: Message<'_>, is_last: bool) {
        let mut parts = self.0.borrow_mut();
        assert_eq!(part.kind, Kind::Binary);
        parts.0.extend_from_slice(part.data);
        parts.1 = parts.1.max(part.data.len());
        parts.2 += usize::from(is_last);
    }
}

#[test]
fn a_message_in_parts_comes_and_goes_in_parts() {
    let ca = Ca::new("parts");
    let parts = Parts::default();
    let limits = Limits { parts: true, max_message: usize::MAX, ..Limits::default() };
    let how = Listen { limits, ..listen(ca.server("localhost")) };
    let mut bench = Bench::of(Config::default(), how, Log::default(), Box::new(parts.clone()));
    let heard = Log::default();
    let conn = dial(&mut bench, trusting(ca.client()), Hooks::quiet(&heard));
    bench.until("open", |_| heard.opens() == 1);
    let data = pattern(20 << 20);
    for (i, piece) in data.chunks(70_000).enumerate() {
        let sent = bench.net().send_part(conn, Message::binary(piece), (i + 1) * 70_000 >= data.len()).unwrap();
        if sent == Sent::Buffered {
            let before = heard.drains();
            bench.until("a drain", |_| heard.drains() > before);
        }
    }
    bench.until("the last part", |_| parts.0.borrow().2 == 1);
    assert!(parts.0.borrow().0 == data);
    assert!(parts.0.borrow().1 <= 256 << 10, "{}", parts.0.borrow().1);
    assert!(bench.net().stats().memory_peak < 2 << 20, "{}", bench.net().stats().memory_peak);
}
