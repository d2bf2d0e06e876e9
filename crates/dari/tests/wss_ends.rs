//! How encrypted connections end: in good order, cut off, tampered with, too slow, or with somebody who speaks
//! something else.

mod common;

use common::dialled::Dialled;
use common::raw::{CLOSE, Ended, HELLO, PING, PONG, TEXT, close, frame, unmasked, welcome};
use common::system::in_child;
use common::tls::{BOTH, Ca, Files, Peer, Version, listen, open, trusting};
use common::*;
use dari::{By, Cause, Connect, Limits, Listen, Message, Net, RemoteCall};
use std::io::Write;
use std::time::{Duration, Instant};

fn bench(ca: &Ca, hooks: impl FnOnce(&Log) -> Hooks) -> Bench {
    Bench::new(listen(ca.server("localhost")), hooks)
}

fn limits(limits: Limits, ca: &Ca) -> Listen {
    Listen { limits, ..listen(ca.server("localhost")) }
}

/// A server whose client has opened.
fn open_client(dialled: &mut Dialled, files: &Files, version: Version) -> Peer {
    let raw = dialled.accept();
    let mut peer = Peer::server(raw, files, version);
    let head = dialled.until("the request", |_| peer.take_head());
    peer.say(welcome(&head).as_bytes());
    dialled.until("it opens", |dialled| (dialled.heard.opens() == 1).then_some(()));
    peer
}

// --- in good order ----------------------------------------------------------------------------------------------

#[test]
fn who_begins_to_close_makes_no_difference_to_how_clean_it_is() {
    let ca = Ca::new("orders");
    for version in BOTH {
        // The peer begins: our answer, close_notify, and the end, in this order.
        let mut bench = bench(&ca, Hooks::quiet);
        let mut peer = open(&mut bench, &ca, version);
        peer.say(&close(1000, "done"));
        let end = bench.end();
        assert_eq!((end.cause, end.code, end.sent_code, end.was_clean), (Cause::Peer, 1000, 1000, true));
        assert_eq!(end.text(), "the peer closed, code 1000 \"done\"");
        assert_eq!(peer.take_frame(), Some((CLOSE, 1000u16.to_be_bytes().to_vec())));
        assert!(peer.notified && peer.raw.ended == Some(Ended::Eof));

        // This side begins.
        let mut peer = open(&mut bench, &ca, version);
        let conn = bench.log.opened();
        bench.net().close(conn, 1000, "done").unwrap();
        bench.until("its Close frame", |_| peer.take_frame().is_some());
        assert!(!peer.notified, "that comes when the peer has answered");
        peer.say(&close(1000, ""));
        bench.until("the end", |bench| bench.log.closes() == 2);
        let end = bench.log.end_of(conn).unwrap();
        assert_eq!((end.cause, end.code, end.was_clean), (Cause::Local, 1000, true));
        assert_eq!(end.text(), "this side closed, code 1000");
        bench.until("close_notify", |_| {
            peer.hear();
            peer.notified && peer.raw.ended == Some(Ended::Eof)
        });
    }
}

#[test]
fn who_broke_a_rule_may_still_answer() {
    let ca = Ca::new("answers");
    for version in BOTH {
        let mut bench = bench(&ca, Hooks::quiet);
        let mut peer = open(&mut bench, &ca, version);
        let good = frame(TEXT, b"with a mask");
        peer.say(&[good.clone(), unmasked(TEXT, b"without a mask")].concat());
        bench.until("all that is said to it", |_| {
            peer.hear();
            peer.notified && peer.raw.ended == Some(Ended::Eof)
        });
        assert_eq!(peer.take_frame().map(|(first, data)| (first, data[..2].to_vec())), Some((CLOSE, vec![3, 234])));
        assert_eq!(bench.log.closes(), 0, "it is given the time to answer");
        peer.say(&close(1002, ""));
        let end = bench.end();
        assert_eq!((end.cause, end.code, end.sent_code), (Cause::Protocol, 1002, 1002), "{}", end.text());
        // What counts is what was encrypted, and not how.
        assert_eq!(end.offset, (HELLO.len() + good.len()) as u64, "{}", end.text());
    }
}

#[test]
fn a_client_waits_for_the_server_to_end_the_connection() {
    let ca = Ca::new("client");
    let files = ca.issue("server", &["localhost"]);
    for version in BOTH {
        for notifies in [true, false] {
            let mut dialled = Dialled::new("wss", trusting(ca.client()));
            let mut peer = open_client(&mut dialled, &files, version);
            peer.say(&unmasked(CLOSE, &1000u16.to_be_bytes()));
            dialled.until("its answer", |_| peer.take_frame());
            assert_eq!(dialled.heard.closes(), 0);
            if notifies {
                peer.notify();
            }
            peer.raw.end();
            let end = dialled.end();
            // After both Close frames nothing can be missing.
            assert_eq!((end.cause, end.was_clean, end.text()), (Cause::Peer, true, "the peer closed, code 1000"));
        }
    }
}

#[test]
fn the_end_of_a_loop_is_told_to_encrypted_peers() {
    let ca = Ca::new("loop");
    for how in ["shutdown", "close"] {
        let mut bench = bench(&ca, Hooks::quiet);
        let mut peers: Vec<Peer> = (0..20).map(|i| open(&mut bench, &ca, BOTH[i % 2])).collect();
        // One that has not come that far.
        let mut silent = Peer::client(bench.raw(), &ca, BOTH[0]);
        bench.turn_for(5);
        if how == "close" {
            bench.event_loop.close();
        } else {
            bench.net().shutdown(5, 2_000, |_, dropped| assert_eq!(dropped, 0)).unwrap();
        }
        for peer in &mut peers {
            let frame = bench.until_some("its Close frame", |bench| {
                let frame = peer.take_frame();
                if frame.is_none() && how == "shutdown" {
                    bench.turn();
                }
                frame
            });
            assert_eq!((frame.0, &frame.1[..2]), (CLOSE, &1001u16.to_be_bytes()[..]));
            if how == "shutdown" {
                peer.say(&close(1001, ""));
            }
        }
        if how == "shutdown" {
            bench.until("all are gone", |bench| bench.log.closes() == 20);
        }
        for peer in &mut peers {
            bench.until_some("close_notify", |_| {
                peer.hear();
                (peer.notified && peer.raw.ended.is_some()).then_some(())
            });
        }
        bench.until_some("the end of the silent one, too", |_| {
            silent.hear();
            silent.raw.ended
        });
        drop(silent);
        if how == "shutdown" {
            bench.until("it has been heard", |bench| bench.net().stats().closes.iter().sum::<u64>() == 21);
        }
        let clean = how == "shutdown";
        assert_eq!(bench.log.closes(), 20);
        for conn in bench.log.conns() {
            let end = bench.log.end_of(conn).unwrap();
            assert_eq!((end.cause, end.sent_code, end.was_clean), (Cause::Shutdown, 1001, clean), "{}", end.text());
        }
        assert_eq!(bench.net().stats().memory, 0, "{how}");
    }
}

// --- cut off ----------------------------------------------------------------------------------------------------

#[test]
fn an_end_is_told_from_one_that_was_cut_off() {
    let ca = Ca::new("cut");
    let files = ca.issue("server", &["localhost"]);
    for version in BOTH {
        for notifies in [true, false] {
            let word = if notifies { "nothing is missing" } else { "something may be missing" };
            let mut bench = bench(&ca, Hooks::quiet);
            let mut peer = open(&mut bench, &ca, version);
            peer.say(&frame(TEXT, b"last"));
            if notifies {
                peer.notify();
            }
            peer.raw.end();
            let end = bench.end();
            assert_eq!((end.cause, end.by, end.code, bench.log.messages()), (Cause::Eof, By::Peer, 1006, 1));
            assert!(end.text().contains(word), "{}", end.text());

            let mut dialled = Dialled::new("wss", trusting(ca.client()));
            let mut peer = open_client(&mut dialled, &files, version);
            if notifies {
                // Without the end of the stream: it is said.
                peer.notify();
            } else {
                peer.raw.end();
            }
            let end = dialled.end();
            assert_eq!((end.cause, end.by, end.code), (Cause::Eof, By::Peer, 1006));
            assert!(end.text().contains(word), "{}", end.text());
        }
    }
}

#[test]
fn what_was_changed_on_the_way_is_noticed() {
    let ca = Ca::new("changed");
    for version in BOTH {
        let mut bench = bench(&ca, Hooks::quiet);
        let mut peer = open(&mut bench, &ca, version);
        peer.tls.writer().write_all(&[frame(TEXT, b"one"), frame(TEXT, b"two")].concat()).unwrap();
        let mut sealed = peer.sealed();
        *sealed.last_mut().unwrap() ^= 1;
        peer.raw.say(&sealed);
        let end = bench.end();
        assert_eq!((end.cause, end.by, end.tls_alert, end.opened), (Cause::Tls, By::Us, 20, true), "{}", end.text());
        assert_eq!(end.code, 1006);
        assert!(end.text().contains("changed on the way") && !end.text().contains("handshake"), "{}", end.text());
        assert_eq!(bench.log.messages(), 0, "nothing of a record that is not whole");
        bench.until("the alert", |_| {
            peer.hear();
            peer.wrong.is_some()
        });
        assert_eq!(peer.wrong, Some(rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac)));
    }
}

// --- too slow ---------------------------------------------------------------------------------------------------

#[test]
fn a_tls_handshake_has_the_deadline_of_all_handshakes() {
    let ca = Ca::new("deadline");
    let short = Limits { handshake_ms: 120, stall_ms: 50, ..Limits::default() };
    let timeouts = |bench: &mut Bench| bench.net().stats().closes[Cause::HandshakeTimeout as usize];
    let mut bench = Bench::new(limits(short.clone(), &ca), Hooks::quiet);
    // Nobody says anything; somebody says a byte now and then; somebody has TLS, and asks for nothing.
    let silent = bench.raw();
    let mut dripping = Peer::client(bench.raw(), &ca, BOTH[0]);
    let hello = dripping.sealed();
    let mut drops = hello.chunks(hello.len() / 200);
    let mut idle = Peer::client(bench.raw(), &ca, BOTH[0]);
    let start = Instant::now();
    bench.until("all three are given up", |bench| {
        if let Some(drop) = drops.next().filter(|_| dripping.raw.ended.is_none()) {
            let _ = (&dripping.raw.socket).write(drop);
        }
        idle.hear();
        timeouts(bench) == 3
    });
    assert!(start.elapsed() >= Duration::from_millis(115), "{:?}", start.elapsed());
    assert!(!idle.tls.is_handshaking());
    assert_eq!((bench.log.story().as_str(), bench.net().stats().memory), ("", 0));
    drop(silent);

    let how = Connect { limits: short.clone(), ..trusting(ca.client()) };
    let mut dialled = Dialled::new("wss", how.clone());
    let _silent = dialled.accept();
    let end = dialled.end();
    assert_eq!((end.cause, end.limit), (Cause::HandshakeTimeout, 120), "{}", end.text());
    assert!(end.text().contains("in the TLS handshake"), "{}", end.text());

    let mut dialled = Dialled::new("wss", how);
    let raw = dialled.accept();
    let mut mute = Peer::server(raw, &ca.issue("mute", &["localhost"]), BOTH[0]);
    dialled.until("the request", |_| mute.take_head());
    let end = dialled.end();
    assert_eq!(end.cause, Cause::HandshakeTimeout, "{}", end.text());
    assert!(end.text().contains("waiting for the server's answer"), "{}", end.text());
}

#[test]
fn a_silent_peer_is_asked_whether_it_is_there() {
    let ca = Ca::new("silent");
    let mut bench = Bench::new(limits(Limits { idle_ms: 50, ..Limits::default() }, &ca), Hooks::quiet);
    let mut peer = open(&mut bench, &ca, BOTH[0]);
    for _ in 0..3 {
        bench.until("a ping", |_| peer.take_frame() == Some((PING, Vec::new())));
        peer.say(&frame(PONG, b""));
    }
    assert_eq!(bench.log.closes(), 0);
    let end = bench.end();
    assert_eq!((end.cause, end.sent_code, end.limit), (Cause::IdleTimeout, 1001, 50), "{}", end.text());
    assert!(
        std::iter::from_fn(|| peer.take_frame()).any(|(first, data)| first == CLOSE && data.starts_with(&[3, 233]))
    );
}

#[test]
fn another_thread_ends_it_all_in_good_order() {
    struct Shutdown;
    impl RemoteCall for Shutdown {
        fn call(self: Box<Self>, net: &mut Net) {
            net.shutdown(0, 5_000, |_, dropped| assert_eq!(dropped, 0)).unwrap();
        }
    }
    let ca = Ca::new("remote");
    let mut bench = bench(&ca, Hooks::quiet);
    let heard = Log::default();
    let url = format!("wss://localhost:{}/", bench.port);
    for _ in 0..10 {
        bench.net().connect(&url, trusting(ca.client()), Box::new(Hooks::quiet(&heard))).unwrap();
    }
    bench.until("all are open", |bench| heard.opens() == 10 && bench.log.opens() == 10);
    let remote = bench.net().remote();
    let other = std::thread::spawn(move || remote.call(Box::new(Shutdown)).unwrap());
    bench.event_loop.run().unwrap();
    other.join().unwrap();
    assert_eq!((heard.closes(), bench.log.closes(), bench.net().stats().memory), (10, 10, 0));
}

#[test]
fn who_sends_on_behind_the_end_is_not_listened_to_for_ever() {
    let ca = Ca::new("flood");
    let mut bench = bench(&ca, Hooks::quiet);
    let mut peer = open(&mut bench, &ca, BOTH[0]);
    // A frame that no client may send, and then no end of them.
    peer.say(&unmasked(TEXT, b"x"));
    let start = Instant::now();
    let more = vec![0; 64 << 10];
    let mut sent = 0;
    bench.until("the end", |bench| {
        if peer.has_said_all() && peer.raw.ended.is_none() {
            peer.say(&more);
            sent += more.len();
        }
        bench.log.closes() == 1
    });
    assert_eq!(bench.log.end().cause, Cause::Protocol);
    assert!(start.elapsed() < Duration::from_secs(3), "not by its deadline: {:?}", start.elapsed());
    assert!(sent < 8 << 20, "{sent} bytes");
}

// --- something else ---------------------------------------------------------------------------------------------

#[test]
fn who_speaks_no_tls_is_told_apart() {
    let ca = Ca::new("plain");
    let failed = |bench: &mut Bench| bench.net().stats().closes[Cause::Tls as usize];
    // A plain client at an encrypted port, and one that says nothing that is anything.
    let mut bench = bench(&ca, Hooks::quiet);
    for (i, said) in [HELLO, &[0; 400][..], b"\x16\x03\x01\xff\xff"].into_iter().enumerate() {
        let mut raw = bench.raw();
        raw.say(said);
        bench.until("its end", |_| {
            raw.hear();
            raw.ended.is_some()
        });
        // An alert in the clear, if anything.
        assert!(raw.got.is_empty() || raw.got.starts_with(&[21, 3]), "{:?}", raw.got);
        drop(raw);
        bench.until("it is told apart", |bench| failed(bench) == i as u64 + 1);
    }
    assert_eq!((bench.log.story().as_str(), bench.net().stats().memory), ("", 0));

    // An encrypted client at a plain port, which answers in HTTP.
    let mut plain = Bench::new(Listen::default(), Hooks::quiet);
    let heard = Log::default();
    let url = format!("wss://localhost:{}/", plain.port);
    plain.net().connect(&url, trusting(ca.client()), Box::new(Hooks::quiet(&heard))).unwrap();
    plain.until("its end", |_| heard.closes() == 1);
    let end = heard.end();
    assert_eq!((end.cause, end.opened), (Cause::Tls, false));
    assert!(end.text().contains("does not speak TLS (its first bytes are \"HTTP/1.1 400"), "{}", end.text());
}

#[test]
fn a_forked_child_frees_a_loop_without_a_word_to_encrypted_peers() {
    let ca = Ca::new("fork");
    let mut bench = bench(&ca, Hooks::echo);
    let mut peer = open(&mut bench, &ca, BOTH[0]);
    let heard = Log::default();
    let how = trusting(ca.client());
    let url = format!("wss://localhost:{}/", bench.port);
    let conn = bench.net().connect(&url, how, Box::new(Hooks::quiet(&heard))).unwrap();
    bench.until("open", |_| heard.opens() == 1);
    let child = &mut bench.event_loop;
    assert!(in_child(move || {
        child.close();
        child.turn(Some(0)).is_err()
    }));
    // Its connections are as they were.
    peer.say(&frame(TEXT, b"hi"));
    bench.until("an echo", |_| peer.take_frame() == Some((TEXT, b"hi".to_vec())));
    bench.net().send(conn, Message::text("still")).unwrap();
    bench.until("an echo", |_| heard.messages() == 1);
}
