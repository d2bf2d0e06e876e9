//! TLS and peers that do not read: they are held back, dropped from or given up as they are without it, and every message
//! is accounted for.

mod common;

use common::raw::{BINARY, CLOSE, Raw, close, frames, next_frame, unmasked};
use common::tls::{BOTH, Ca, Peer, listen, open_on};
use common::*;
use dari::{Cause, Config, ConnId, Error, Limits, Listen, Message, NEVER, Sent, Slow};
use std::io::Write;

/// A server whose handler writes down what happens.
fn bench(ca: &Ca, limits: Limits, hooks: impl FnOnce(&Log) -> Hooks) -> Bench {
    Bench::new(Listen { limits, ..listen(ca.server("localhost")) }, hooks)
}

fn echo(ca: &Ca) -> Bench {
    Bench::of(Config::default(), listen(ca.server("localhost")), Log::default(), Box::new(PlainEcho))
}

#[test]
fn sends_to_a_slow_reader_are_buffered_then_refused_and_arrive_in_order() {
    let ca = Ca::new("slow");
    let mut bench = bench(&ca, Limits::default(), Hooks::quiet);
    let raw = Raw::connect_narrow(bench.port);
    let mut peer = open_on(&mut bench, raw, &ca, BOTH[0]);
    let conn = bench.log.opened();
    let limits = Limits::default();
    let data = pattern(10_000);
    let (mut wanted, mut answers) = (Vec::new(), Vec::new());
    loop {
        let sent = bench.net().send(conn, Message::binary(&data));
        let backlog = bench.net().backlog(conn);
        match sent {
            Ok(Sent::Done) => assert!(backlog <= limits.high_water),
            Ok(Sent::Buffered) => assert!(backlog > limits.high_water && backlog < limits.max_backlog + 11_000),
            Err(Error::Full) => break,
            Err(error) => panic!("{error}"),
        }
        wanted.extend(unmasked(BINARY, &data));
        answers.push(sent.unwrap());
        assert!(wanted.len() < 64 << 20, "never full");
    }
    let memory = usize::try_from(bench.net().stats().memory).unwrap();
    assert!(memory >= bench.net().backlog(conn), "{memory}");
    let first = answers.iter().position(|sent| *sent == Sent::Buffered).unwrap();
    assert!(first > 0 && answers[first..].iter().all(|sent| *sent == Sent::Buffered));
    bench.turn_for(20);
    assert_eq!(bench.log.drains(), 0);
    bench.until("the drain", |bench| {
        peer.hear_some(100_000);
        bench.log.drains() > 0
    });
    assert!(bench.net().backlog(conn) <= limits.low_water);
    bench.until("all that was sent", |_| {
        peer.hear();
        peer.got.len() >= wanted.len()
    });
    assert!(peer.got == wanted);
    bench.turn_for(10);
    assert_eq!((bench.log.drains(), bench.net().backlog(conn)), (1, 0), "one drain for one time of waiting");
}

#[test]
fn a_peer_that_does_not_take_its_echo_is_not_read_from() {
    let ca = Ca::new("echo");
    let mut bench = echo(&ca);
    let raw = Raw::connect_narrow(bench.port);
    let mut peer = open_on(&mut bench, raw, &ca, BOTH[0]);
    let conn = bench.net().next(None).unwrap();
    let data = pattern(30 << 20);
    let (said, wanted) = frames(&data, 30_000);
    peer.say(&said);
    let (mut before, mut still, mut most) = (0, 0, 0);
    bench.until("the standstill", |bench| {
        let left = peer.tls.wants_write();
        peer.push();
        let now = usize::try_from(bench.net().stats().messages_in).unwrap();
        still = if now == before { still + 1 } else { 0 };
        before = now;
        most = most.max(bench.net().backlog(conn));
        assert!(left, "all of it was taken");
        still == 100
    });
    // One read is decrypted whole, and what of it can not be told yet waits besides.
    let limits = Limits::default();
    assert!(most <= limits.high_water + 30_010 + (64 << 10), "{most} bytes were queued");
    let memory = usize::try_from(bench.net().stats().memory).unwrap();
    assert!(memory <= limits.high_water + 30_010 + (400 << 10), "{memory} bytes of memory");
    let mut checked = 0;
    bench.until("the whole echo", |_| {
        peer.hear();
        assert!(wanted[checked..].starts_with(&peer.got));
        checked += peer.got.len();
        peer.got.clear();
        checked == wanted.len()
    });
    // What was taken for it is given back.
    bench.until("its memory", |bench| bench.net().stats().memory < 8 << 10);
}

#[test]
fn a_peer_that_takes_nothing_is_given_up_however_little_waits() {
    let ca = Ca::new("stall");
    for size in [40_000, 1_000_000] {
        let limits = Limits { stall_ms: 60, idle_ms: NEVER, ..Limits::default() };
        let mut bench = bench(&ca, limits, Hooks::quiet);
        let raw = Raw::connect_narrow(bench.port);
        let mut peer = open_on(&mut bench, raw, &ca, BOTH[0]);
        let conn = bench.log.opened();
        let data = pattern(size);
        let mut sent = 0;
        bench.until("something waits", |bench| {
            bench.net().send(conn, Message::binary(&data)).unwrap();
            sent += 1;
            bench.turn();
            bench.net().backlog(conn) > 0
        });
        bench.until("the end", |bench| bench.log.closes() == 1);
        let end = bench.log.end();
        assert_eq!((end.cause, end.limit), (Cause::SlowPeer, 60), "{}", end.text());
        // What the system has taken arrives, and all the rest is accounted for.
        bench.until("what has gone", |_| {
            peer.hear();
            peer.raw.ended.is_some()
        });
        let arrived = std::iter::from_fn(|| next_frame(&mut peer.got)).count() as u64;
        let told = arrived + end.unsent_messages;
        // Of one that left at last it may not have been known.
        assert!(told == sent || told == sent + 1, "{arrived} of {sent} arrived: {}", end.text());
    }
}

/// Sends messages with a number in front, of sizes on both sides of a record's, until something is dropped or refused.
fn send_until(bench: &mut Bench, conn: ConnId, is_enough: impl Fn(&mut Bench, &Result<Sent, Error>) -> bool) -> u32 {
    let data = pattern(40_000);
    for number in 0..10_000_u32 {
        let len = [10, 3_000, 16_380, 16_400, 40_000][number as usize % 5];
        let message = [&number.to_be_bytes()[..], &data[..len]].concat();
        let sent = bench.net().send(conn, Message::binary(&message));
        // Now and then the kernel gets some of it.
        if number % 7 == 0 {
            bench.turn();
        }
        if is_enough(bench, &sent) {
            return number;
        }
    }
    panic!("never enough")
}

/// Their numbers, having checked that they are whole.
fn numbers(peer: &mut Peer) -> Vec<u32> {
    let data = pattern(40_000);
    let mut numbers = Vec::new();
    while let Some((first, message)) = next_frame(&mut peer.got) {
        if first == BINARY {
            let number = u32::from_be_bytes(message[..4].try_into().unwrap());
            assert!(message[4..] == data[..message.len() - 4] && message.len() > 4, "message {number} is not whole");
            numbers.push(number);
        }
    }
    numbers
}

#[test]
fn the_oldest_are_dropped_whole_and_never_one_that_is_on_its_way() {
    let ca = Ca::new("drop");
    let limits = Limits { slow: Slow::DropOldest, high_water: 100_000, max_backlog: 400_000, ..Limits::default() };
    let mut bench = bench(&ca, limits, Hooks::quiet);
    let raw = Raw::connect_narrow(bench.port);
    let mut peer = open_on(&mut bench, raw, &ca, BOTH[0]);
    let conn = bench.log.opened();
    let mut heard = Vec::new();
    let mut last = 0;
    for round in 1..=3 {
        let dropped = |bench: &mut Bench| bench.net().stats().dropped;
        last = send_until(&mut bench, conn, |bench, sent| sent.is_ok() && dropped(bench) > round * 40);
        bench.until("what waited", |bench| {
            peer.hear_some(50_000);
            bench.net().backlog(conn) == 0
        });
        heard.push((numbers(&mut peer), last));
    }
    bench.until("the rest", |bench| {
        peer.hear();
        let len = peer.got.len();
        heard.push((numbers(&mut peer), last));
        len == 0 && bench.net().backlog(conn) == 0
    });
    let got: Vec<u32> = heard.iter().flat_map(|(numbers, _)| numbers.clone()).collect();
    let dropped = usize::try_from(bench.net().stats().dropped).unwrap();
    let sent = usize::try_from(bench.net().stats().messages_out).unwrap();
    assert_eq!(got.len() + dropped, sent, "each is either heard or told to be dropped");
    assert_eq!(got.last(), Some(&last), "the newest is there");
}

#[test]
fn a_slow_peer_may_be_closed_behind_what_is_on_its_way() {
    let ca = Ca::new("close");
    let limits = Limits { slow: Slow::Close, max_backlog: 400_000, ..Limits::default() };
    let mut bench = bench(&ca, limits, Hooks::quiet);
    let raw = Raw::connect_narrow(bench.port);
    let mut peer = open_on(&mut bench, raw, &ca, BOTH[0]);
    let conn = bench.log.opened();
    let refused = send_until(&mut bench, conn, |_, sent| sent.is_err());
    let mut heard = Vec::new();
    bench.until("its end", |_| {
        peer.hear_some(50_000);
        heard.extend_from_slice(&peer.got);
        peer.got.clear();
        peer.notified
    });
    peer.got = heard;
    assert!(peer.got.ends_with(b"too slow"), "1013 comes last, whole");
    peer.say(&close(1013, ""));
    let end = bench.end();
    assert_eq!((end.cause, end.sent_code, end.code), (Cause::SlowPeer, 1013, 1013), "{}", end.text());
    let got = numbers(&mut peer);
    assert!(got.iter().copied().eq((0..).take(got.len())), "none is missing between");
    assert_eq!(got.len() as u64 + end.unsent_messages, refused.into(), "{}", end.text());
}

#[test]
fn a_close_behind_a_long_echo_is_answered_behind_it() {
    let ca = Ca::new("behind");
    let mut bench = bench(&ca, Limits::default(), Hooks::echo);
    let raw = Raw::connect_narrow(bench.port);
    let mut peer = open_on(&mut bench, raw, &ca, BOTH[0]);
    let data = pattern(12 << 20);
    let (mut said, mut wanted) = frames(&data, 50_000);
    said.extend(close(1000, "done"));
    wanted.extend(unmasked(CLOSE, &1000u16.to_be_bytes()));
    peer.tls.writer().write_all(&said).unwrap();
    peer.tls.send_close_notify();
    let mut has_ended = false;
    bench.until("the whole echo", |_| {
        if !has_ended && peer.has_said_all() {
            peer.raw.end();
            has_ended = true;
        }
        peer.hear_some(70_000);
        peer.got.len() >= wanted.len()
    });
    assert!(peer.got == wanted);
    let end = bench.end();
    assert_eq!((end.cause, end.was_clean, end.unsent_messages), (Cause::Peer, true, 0), "{}", end.text());
    bench.until("its end", |_| {
        peer.hear();
        peer.notified && peer.raw.ended.is_some()
    });
}
