//! How connections end: who, why, with which codes, told once, and said in words.

mod common;

use common::raw::{self, BINARY, CLOSE, Ended, HELLO, PING, PONG, Raw, RawListener, TEXT, close, frame, header};
use common::{Bench, Hooks, Log, Told, limited, pattern};
use dari::{By, Cause, Close, Config, Connect, Error, Limits, Listen, Loop, Message, State};
use std::cell::RefCell;
use std::net::{Ipv4Addr, TcpListener};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The columns of the table of ends: cause, by whom, the peer's code, ours, whether it was clean.
fn row(end: &Close) -> (Cause, By, u16, u16, bool) {
    assert!(!end.text().is_empty() && !end.text().contains('\n'), "{:?}", end.text());
    (end.cause, end.by, end.code, end.sent_code, end.was_clean)
}

/// What a peer hears and what the hooks are told when the peer says `bytes` on an open connection.
fn said(how: Listen, bytes: &[u8], then: impl FnOnce(&mut Raw)) -> (Close, Vec<(u8, Vec<u8>)>) {
    let mut bench = Bench::new(how, Hooks::quiet);
    let mut raw = bench.open_raw();
    raw.say(bytes);
    then(&mut raw);
    bench.until("the end", |bench| {
        raw.hear();
        bench.log.closes() > 0 && raw.ended.is_some()
    });
    (bench.log.end(), std::iter::from_fn(|| raw.next_frame()).collect())
}

fn close_frame(code: u16) -> impl Fn(&(u8, Vec<u8>)) -> bool {
    move |(first, payload)| *first == CLOSE && payload.starts_with(&code.to_be_bytes())
}

// --- clean ends -------------------------------------------------------------------------------------------------

#[test]
fn the_peers_close_is_echoed_and_told_with_code_and_reason() {
    let (end, heard) = said(Listen::default(), &close(3001, "안녕"), |_| {});
    assert_eq!(row(&end), (Cause::Peer, By::Peer, 3001, 3001, true));
    assert_eq!(end.reason, "안녕");
    assert!(end.text().contains("3001") && end.text().contains("안녕"), "{}", end.text());
    assert_eq!(heard, [(CLOSE, 3001u16.to_be_bytes().to_vec())]);
}

#[test]
fn a_close_without_a_code_is_1005_and_answered_without_one() {
    let (end, heard) = said(Listen::default(), &frame(CLOSE, b""), |_| {});
    assert_eq!(row(&end), (Cause::Peer, By::Peer, 1005, 0, true));
    assert_eq!(heard, [(CLOSE, Vec::new())]);
}

#[test]
fn our_close_is_local_and_the_code_is_theirs() {
    for (code, reason, sent) in [(3000, "done", 3000), (0, "", 0)] {
        let mut bench = Bench::new(Listen::default(), Hooks::quiet);
        let mut raw = bench.open_raw();
        let conn = bench.log.opened();
        bench.net().close(conn, code, reason).unwrap();
        assert_eq!(bench.net().state(conn), State::Closing);
        assert!(matches!(bench.net().send(conn, Message::text("late")), Err(Error::State(_))));
        assert!(matches!(bench.net().close(conn, 1000, ""), Err(Error::State(_))));
        let mut heard = None;
        bench.until("our Close frame", |_| {
            heard = raw.take_frame();
            heard.is_some()
        });
        let wanted = if code == 0 { Vec::new() } else { [&code.to_be_bytes(), reason.as_bytes()].concat() };
        assert_eq!(heard, Some((CLOSE, wanted)));
        // Messages behind our Close frame are nobody's any more.
        raw.say(&[frame(TEXT, b"late"), close(1000, "ok")].concat());
        let end = bench.end();
        assert_eq!(row(&end), (Cause::Local, By::Us, 1000, sent, true));
        assert_eq!((end.reason.as_str(), bench.log.story().as_str()), ("ok", "upgrade open close"));
        bench.until("the end of the stream", |_| {
            raw.hear();
            raw.ended == Some(Ended::Eof)
        });
    }
}

#[test]
fn when_both_close_at_once_it_is_local_and_told_once() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let mut raw = bench.open_raw();
    let conn = bench.log.opened();
    raw.say(&close(4001, "mine"));
    bench.net().close(conn, 4002, "ours").unwrap();
    let end = bench.end();
    assert_eq!(row(&end), (Cause::Local, By::Us, 4001, 4002, true));
    bench.turn_for(10);
    raw.hear();
    assert_eq!(raw.next_frame(), Some((CLOSE, [&4002u16.to_be_bytes(), &b"ours"[..]].concat())));
    assert_eq!((raw.next_frame(), raw.ended), (None, Some(Ended::Eof)));
}

#[test]
fn two_ends_of_ours_tell_the_two_sides_of_one_story() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let heard = Log::default();
    let conn = bench.dial(Hooks::quiet(&heard));
    bench.until("it opens", |bench| heard.opens() == 1 && bench.log.opens() == 1);
    bench.net().close(conn, 1000, "bye").unwrap();
    bench.until("both ends close", |bench| heard.closes() == 1 && bench.log.closes() == 1);
    assert_eq!(row(&heard.end()), (Cause::Local, By::Us, 1000, 1000, true));
    assert_eq!(row(&bench.log.end()), (Cause::Peer, By::Peer, 1000, 1000, true));
    assert_eq!(bench.log.end().reason, "bye");

    let conn = bench.dial(Hooks::quiet(&heard));
    bench.until("it opens", |bench| heard.opens() == 2 && bench.log.opens() == 2);
    let server = bench.log.opened();
    bench.net().close(server, 4000, "go").unwrap();
    bench.until("both ends close", |bench| heard.closes() == 2 && bench.log.closes() == 2);
    assert_eq!(row(&heard.end_of(conn).unwrap()), (Cause::Peer, By::Peer, 4000, 4000, true));
    assert_eq!(row(&bench.log.end_of(server).unwrap()), (Cause::Local, By::Us, 4000, 4000, true));
}

#[test]
fn shutting_down_says_1001_to_every_peer_and_close_to_every_id() {
    let mut bench = Bench::new(Listen::default(), |log| {
        Hooks::new(log, |net, conn, told| {
            if let Told::Close(_) = told {
                // Inside the last hook nothing new begins.
                assert!(matches!(net.send(conn, Message::text("late")), Err(Error::State(_))));
                assert!(matches!(net.listen("127.0.0.1:0", Listen::default(), hooks()), Err(Error::State(_))));
                assert!(matches!(net.connect("ws://127.0.0.1:9", Connect::default(), hooks()), Err(Error::State(_))));
            }
        })
        .later()
    });
    fn hooks() -> Box<dyn dari::Handler> {
        Box::new(Hooks::quiet(&Log::default()))
    }
    let mut asking = bench.raw();
    asking.say(HELLO);
    bench.until("an upgrade", |bench| bench.log.story() == "upgrade");
    let conn = bench.log.conns()[0];
    bench.net().accept(conn, None, &[]).unwrap();
    let mut open = asking;
    let mut asking = bench.raw();
    asking.say(HELLO);
    let mut silent = bench.raw();
    bench.until("another upgrade", |bench| bench.log.story() == "upgrade open upgrade");
    bench.event_loop.close();
    assert_eq!(bench.log.closes(), 2);
    let end = bench.log.end_of(conn).unwrap();
    assert_eq!(row(&end), (Cause::Shutdown, By::Us, 1006, 1001, false));
    assert!(bench.log.all().iter().all(|(_, told)| !matches!(told, Told::Error(_))));
    open.take_head().unwrap();
    assert_eq!(open.next_frame(), Some((CLOSE, 1001u16.to_be_bytes().to_vec())));
    assert_eq!(open.ended, Some(Ended::Eof));
    drop(bench);
    for raw in [&mut asking, &mut silent] {
        raw.hear();
        assert!(raw.ended.is_some() && raw.heard == 0);
    }
}

#[test]
fn an_abort_says_nothing_and_is_no_failure() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let mut raw = bench.open_raw();
    let conn = bench.log.opened();
    bench.net().abort(conn).unwrap();
    assert_eq!(bench.net().state(conn), State::Closed);
    assert!(matches!(bench.net().send(conn, Message::text("late")), Err(Error::State(_))));
    assert!(matches!(bench.net().abort(conn), Err(Error::State(_))));
    assert_eq!(bench.log.closes(), 0, "hooks run in turns only");
    let end = bench.end();
    assert_eq!(row(&end), (Cause::Abort, By::Us, 1006, 0, false));
    raw::wait_for("the end of the stream", || {
        raw.hear();
        raw.ended
    });
    assert_eq!(raw.got, b"");
}

// --- failures ---------------------------------------------------------------------------------------------------

#[test]
fn the_end_of_the_stream_without_a_close_frame_is_eof() {
    let (end, heard) = said(Listen::default(), b"", Raw::end);
    assert_eq!(row(&end), (Cause::Eof, By::Peer, 1006, 0, false));
    assert_eq!(heard, []);
}

#[test]
fn half_a_frame_and_then_the_end_is_eof_too() {
    for front in [&b"\x81"[..], b"\x81\x85kkkk", b"\x81\x85kkkkhe", b"\x88", b"\x88\x82kkkk\x03"] {
        let (end, _) = said(Listen::default(), front, Raw::end);
        assert_eq!(row(&end), (Cause::Eof, By::Peer, 1006, 0, false));
    }
}

#[test]
fn a_reset_is_told_as_one_with_its_errno() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let raw = bench.open_raw();
    raw.reset();
    let end = bench.end();
    assert_eq!(row(&end), (Cause::Reset, By::Network, 1006, 0, false));
    assert_eq!(end.os_error, libc::ECONNRESET);
    assert!(end.text().contains("eset by peer"), "{}", end.text());
}

#[test]
fn a_reset_while_we_send_is_told_once() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let raw = bench.open_raw();
    let conn = bench.log.opened();
    raw.reset();
    // SIGPIPE would end the test here.
    for _ in 0..3 {
        // The second one may find it gone.
        let _ = bench.net().send(conn, Message::binary(&pattern(100_000)));
    }
    let end = bench.end();
    assert_eq!((end.cause, end.by, end.code, end.was_clean), (Cause::Reset, By::Network, 1006, false));
}

#[test]
fn broken_rules_are_named_with_their_place() {
    let start = HELLO.len() as u64;
    let good = frame(TEXT, b"good");
    let fragment = frame(0x01, b"a");
    let cases: [(&[u8], &str, u64); 8] = [
        (b"\x81\x02hi", "5.1", 0),
        (b"\xc1\x80kkkk", "5.2", 0),
        (b"\x83\x80kkkk", "5.2", 0),
        (b"\x09\x80kkkk", "5.5", 0),
        (b"\x80\x80kkkk", "5.4", 0),
        (b"\x82\xfe\x00\x01kkkkx", "5.2", 0),
        (b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xffkkkk", "5.2", 0),
        (b"\x88\x82\0\0\0\0\x03\xed", "7.4", 0),
    ];
    for (bytes, section, more) in cases {
        let (end, heard) = said(Listen::default(), &[&good, bytes].concat(), Raw::end);
        assert_eq!(row(&end), (Cause::Protocol, By::Us, 1006, 1002, false), "{bytes:x?}");
        assert_eq!(end.offset, start + good.len() as u64 + more, "{bytes:x?}");
        let rule = end.rule.unwrap();
        assert!(rule.starts_with(&format!("RFC 6455 {section}")), "{bytes:x?}: {rule}");
        assert!(end.text().contains(rule) && end.text().contains(&format!("byte {}", end.offset)), "{}", end.text());
        assert!(heard.iter().any(close_frame(1002)), "{heard:?}");
    }
    let (end, _) = said(Listen::default(), &[&fragment[..], &good].concat(), Raw::end);
    assert_eq!((end.cause, end.offset), (Cause::Protocol, start + fragment.len() as u64));
}

#[test]
fn a_peer_that_answers_our_failing_close_is_heard() {
    for (code, wanted) in [(1002, 1002), (3456, 3456)] {
        let (end, _) = said(Listen::default(), &[&b"\x81\x02hi"[..], &close(code, "")].concat(), |_| {});
        assert_eq!(row(&end), (Cause::Protocol, By::Us, wanted, 1002, false));
    }
    let (end, _) = said(Listen::default(), &[&b"\x81\x02hi"[..], &frame(CLOSE, b"")].concat(), |_| {});
    assert_eq!(row(&end), (Cause::Protocol, By::Us, 1005, 1002, false));
}

#[test]
fn a_peer_that_goes_on_behind_our_failing_close_is_not_heard_for_ever() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let mut raw = bench.open_raw();
    raw.say(b"\x81\x02hi");
    raw.will_say(frame(BINARY, &vec![0; 8 << 20]));
    let start = Instant::now();
    bench.until("the end", |bench| {
        raw.push();
        bench.log.closes() > 0
    });
    assert_eq!(row(&bench.log.end()), (Cause::Protocol, By::Us, 1006, 1002, false));
    assert!(start.elapsed() < Duration::from_millis(4_000), "it was the close timeout that ended it");
}

#[test]
fn text_that_is_not_utf8_is_1007_at_its_first_bad_byte() {
    // The frame is not finished, and does not need to be.
    let mut bytes = header(TEXT, 100, Some([0; 4]));
    let bad = HELLO.len() + bytes.len() + 2;
    bytes.extend_from_slice(b"ab\xff");
    let (end, heard) = said(Listen::default(), &bytes, Raw::end);
    assert_eq!(row(&end), (Cause::Utf8, By::Us, 1006, 1007, false));
    assert_eq!(end.offset, bad as u64);
    assert!(heard.iter().any(close_frame(1007)));
    let (end, _) = said(Listen::default(), &frame(CLOSE, b"\x03\xe8\xff"), Raw::end);
    assert_eq!((end.cause, end.sent_code), (Cause::Utf8, 1007));
}

#[test]
fn a_message_over_the_limit_is_refused_at_its_header() {
    let how = || limited(Limits { max_message: 1000, ..Limits::default() });
    for bytes in
        [header(BINARY, 1001, Some([0; 4])), [frame(0x02, &[0; 600]), header(0x80, 401, Some([0; 4]))].concat()]
    {
        let (end, heard) = said(how(), &bytes, Raw::end);
        assert_eq!(row(&end), (Cause::TooBig, By::Us, 1006, 1009, false));
        assert_eq!((end.limit, end.met), (1000, 1001));
        assert!(end.text().contains("limit 1000, met 1001"), "{}", end.text());
        assert!(heard.iter().any(close_frame(1009)));
    }
    let mut bench = Bench::new(how(), Hooks::quiet);
    let mut raw = bench.open_raw();
    raw.say(&frame(BINARY, &[0; 1000]));
    bench.until("a message of just the limit", |bench| bench.log.messages() == 1);
}

#[test]
fn empty_fragments_without_end_are_a_limit() {
    let (end, heard) =
        said(Listen::default(), &[frame(0x01, b"a"), frame(0x00, b"").repeat(1001)].concat(), Raw::end);
    assert_eq!(row(&end), (Cause::Limit, By::Us, 1006, 1008, false));
    assert_eq!((end.limit, end.met), (1000, 1001));
    assert!(heard.iter().any(close_frame(1008)));
}

#[test]
fn a_message_that_does_not_fit_into_the_loops_memory_is_1013() {
    let config = Config { max_memory: 200_000, ..Config::default() };
    let mut bench = Bench::with(config, Listen::default(), Hooks::quiet);
    let mut raw = bench.open_raw();
    raw.will_say([frame(0x02, &pattern(300_000)), frame(0x80, &pattern(300_000))].concat());
    bench.until("the Close frame", |_| {
        raw.push();
        raw.hear();
        raw.got.len() >= 4
    });
    assert!(close_frame(1013)(&raw.next_frame().unwrap()));
    raw.end();
    let end = bench.end();
    assert_eq!(row(&end), (Cause::Memory, By::Us, 1006, 1013, false));
    assert_eq!(end.limit, 200_000);
    // What it had is free again.
    let mut raw = bench.open_raw();
    raw.say(&frame(BINARY, &pattern(100_000)));
    bench.until("the next one has room", |bench| bench.log.messages() == 1);
}

// --- time -------------------------------------------------------------------------------------------------------

#[test]
fn a_handshake_that_drips_is_dropped_at_its_deadline() {
    let mut bench = Bench::new(limited(Limits { handshake_ms: 60, ..Limits::default() }), Hooks::quiet);
    let (mut silent, mut dripping) = (bench.raw(), bench.raw());
    let start = Instant::now();
    let mut rest = HELLO.iter();
    bench.until("both are dropped", |_| {
        if rest.len() > 1 && dripping.ended.is_none() {
            dripping.say(&[*rest.next().unwrap()]);
        }
        silent.hear();
        dripping.hear();
        silent.ended.is_some() && dripping.ended.is_some()
    });
    assert!(start.elapsed() >= Duration::from_millis(59));
    assert_eq!(bench.log.story(), "", "nobody knew them");
}

#[test]
fn an_upgrade_that_nobody_answers_ends_at_the_handshakes_deadline() {
    let how = limited(Limits { handshake_ms: 60, ..Limits::default() });
    let mut bench = Bench::new(how, |log| Hooks::quiet(log).later());
    let mut raw = bench.raw();
    raw.say(HELLO);
    let end = bench.end();
    assert_eq!(row(&end), (Cause::HandshakeTimeout, By::Us, 1006, 0, false));
    assert!(!end.opened && end.text().contains("60 ms"), "{}", end.text());
    assert_eq!(bench.log.story(), "upgrade error close");
}

#[test]
fn a_server_that_never_answers_ends_the_clients_handshake() {
    let listener = RawListener::new();
    let mut event_loop = Loop::new(Config::default()).unwrap();
    let heard = Log::default();
    let how = Connect { limits: Limits { handshake_ms: 60, ..Limits::default() }, ..Connect::default() };
    let url = format!("ws://127.0.0.1:{}", listener.port);
    event_loop.net().connect(&url, how, Box::new(Hooks::quiet(&heard))).unwrap();
    raw::wait_for("the end", || {
        event_loop.turn(Some(10)).unwrap();
        (heard.closes() == 1).then_some(())
    });
    assert_eq!(row(&heard.end()), (Cause::HandshakeTimeout, By::Us, 1006, 0, false));
    assert_eq!(heard.story(), "error close");
}

#[test]
fn a_reset_behind_both_close_frames_takes_nothing_back() {
    let listener = RawListener::new();
    let mut event_loop = Loop::new(Config::default()).unwrap();
    let heard = Log::default();
    let url = format!("ws://127.0.0.1:{}", listener.port);
    let conn = event_loop.net().connect(&url, Connect::default(), Box::new(Hooks::quiet(&heard))).unwrap();
    let mut server = raw::wait_for("the client", || {
        event_loop.turn(Some(1)).unwrap();
        listener.accept()
    });
    let head = raw::wait_for("its request", || {
        event_loop.turn(Some(1)).unwrap();
        server.take_head()
    });
    server.say(raw::welcome(&head).as_bytes());
    raw::wait_for("open", || {
        event_loop.turn(Some(1)).unwrap();
        (heard.opens() == 1).then_some(())
    });
    event_loop.net().close(conn, 1000, "").unwrap();
    server.say(b"\x88\x02\x03\xe8");
    raw::wait_for("both Close frames", || {
        event_loop.turn(Some(1)).unwrap();
        server.hear();
        server.next_frame()
    });
    for _ in 0..20 {
        event_loop.turn(Some(1)).unwrap();
    }
    server.reset();
    raw::wait_for("the end", || {
        event_loop.turn(Some(1)).unwrap();
        (heard.closes() == 1).then_some(())
    });
    assert_eq!(row(&heard.end()), (Cause::Local, By::Us, 1000, 1000, true));
}

#[test]
fn a_silent_peer_is_pinged_and_then_given_up() {
    let mut bench = Bench::new(limited(Limits { idle_ms: 50, ..Limits::default() }), Hooks::quiet);
    let mut raw = bench.open_raw();
    let start = Instant::now();
    let end = bench.end();
    assert!(start.elapsed() >= Duration::from_millis(95));
    assert_eq!(row(&end), (Cause::IdleTimeout, By::Us, 1006, 1001, false));
    raw.hear();
    assert_eq!(raw.next_frame(), Some((PING, Vec::new())));
    assert!(close_frame(1001)(&raw.next_frame().unwrap()));
}

#[test]
fn a_peer_that_answers_pings_stays() {
    let mut bench = Bench::new(limited(Limits { idle_ms: 50, ..Limits::default() }), Hooks::quiet);
    let mut raw = bench.open_raw();
    let mut pings = 0;
    bench.until("some pings", |_| {
        while let Some(frame_of_us) = raw.take_frame() {
            assert_eq!(frame_of_us, (PING, Vec::new()));
            raw.say(&frame(PONG, b""));
            pings += 1;
        }
        pings == 5
    });
    assert_eq!(bench.log.closes(), 0);
}

#[test]
fn a_close_that_is_not_answered_times_out() {
    let mut bench = Bench::new(limited(Limits { close_ms: 50, ..Limits::default() }), Hooks::quiet);
    let mut raw = bench.open_raw();
    let conn = bench.log.opened();
    let start = Instant::now();
    bench.net().close(conn, 4000, "").unwrap();
    // Talking on does not make it an answer.
    bench.until("the end", |bench| {
        if raw.ended.is_none() {
            let _ = std::io::Write::write(&mut &raw.socket, &frame(TEXT, b"and another thing"));
        }
        bench.log.closes() > 0
    });
    assert!(start.elapsed() >= Duration::from_millis(49));
    assert_eq!(row(&bench.log.end()), (Cause::CloseTimeout, By::Us, 1006, 4000, false));
    raw.hear();
}

#[test]
fn a_peer_that_takes_nothing_is_slow() {
    let mut bench = Bench::new(limited(Limits { stall_ms: 100, ..Limits::default() }), Hooks::quiet);
    let mut raw = Raw::connect_narrow(bench.port);
    raw.say(HELLO);
    bench.until("it opens", |bench| bench.log.opens() == 1);
    let conn = bench.log.opened();
    let data = pattern(8 << 20);
    bench.net().send(conn, Message::binary(&data)).unwrap();
    bench.net().close(conn, 1000, "").unwrap();
    let end = bench.end();
    assert_eq!((end.cause, end.by, end.code, end.was_clean), (Cause::SlowPeer, By::Us, 1006, false));
    assert!(end.unsent_bytes > 1 << 20, "{}", end.unsent_bytes);
    assert_eq!(end.unsent_messages, 1);
    assert!(end.text().contains("unsent"), "{}", end.text());
}

// --- before it was open -----------------------------------------------------------------------------------------

#[test]
fn a_port_where_nobody_listens_is_a_connect_error() {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let mut event_loop = Loop::new(Config::default()).unwrap();
    let heard = Log::default();
    let url = format!("ws://127.0.0.1:{port}/");
    let conn = event_loop.net().connect(&url, Connect::default(), Box::new(Hooks::quiet(&heard))).unwrap();
    assert_eq!((event_loop.net().state(conn), heard.story().as_str()), (State::Connecting, ""));
    raw::wait_for("the end", || {
        event_loop.turn(Some(10)).unwrap();
        (heard.closes() == 1).then_some(())
    });
    let end = heard.end();
    assert_eq!(row(&end), (Cause::Connect, By::Network, 1006, 0, false));
    assert_eq!((end.os_error, end.opened), (libc::ECONNREFUSED, false));
    assert!(end.text().contains("onnection refused"), "{}", end.text());
}

#[test]
fn a_bad_answer_to_our_handshake_is_named() {
    let accept = |key: &str| raw::welcome(&format!("Sec-WebSocket-Key: {key}\r\n"));
    let cases: [(&str, Cause, &str); 8] = [
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", Cause::Protocol, "Upgrade"),
        (&accept("AAAAAAAAAAAAAAAAAAAAAA=="), Cause::Protocol, "Accept"),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", Cause::Protocol, "HTTP/1.1"),
        ("HTTP/1.1 101 x\nUpgrade: websocket\n\n", Cause::Protocol, "LF"),
        ("HTTP/1.1 301 Moved\r\nLocation: ws://127.0.0.1:1/\r\n\r\n", Cause::Refused, "301"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", Cause::Refused, "200"),
        ("HTTP/1.1 426 Upgrade Required\r\n\r\n", Cause::Refused, "426"),
        ("HTTP/1.1 101 Swit", Cause::Eof, "without a Close frame"),
    ];
    for (answer, cause, word) in cases {
        let listener = RawListener::new();
        let mut event_loop = Loop::new(Config::default()).unwrap();
        let heard = Log::default();
        let url = format!("ws://127.0.0.1:{}", listener.port);
        event_loop.net().connect(&url, Connect::default(), Box::new(Hooks::quiet(&heard))).unwrap();
        let mut server = None;
        raw::wait_for("the end", || {
            event_loop.turn(Some(1)).unwrap();
            server = server.take().or_else(|| listener.accept());
            let server = server.as_mut()?;
            if server.take_head().is_some() {
                server.say(answer.as_bytes());
                server.end();
            }
            (heard.closes() == 1).then_some(())
        });
        let end = heard.end();
        assert_eq!((end.cause, end.code, end.opened, end.was_clean), (cause, 1006, false, false), "{answer}");
        assert!(end.text().contains(word), "{answer}: {}", end.text());
        assert_eq!(heard.story(), "error close");
    }
}

// --- once, and nothing after it ---------------------------------------------------------------------------------

#[test]
fn messages_and_the_end_in_one_go_are_all_told() {
    for len in [5, 2_000, 200_000] {
        let data = pattern(len);
        for clean in [false, true] {
            let mut bench = Bench::new(Listen::default(), Hooks::quiet);
            let mut raw = bench.raw();
            let mut bytes = [HELLO, &frame(BINARY, &data), &frame(TEXT, b"2"), &frame(BINARY, &data)].concat();
            if clean {
                bytes.extend(close(1000, ""));
            }
            raw.will_say(bytes);
            raw.push();
            if len < 200_000 {
                assert!(raw.push());
                raw.end();
            } else {
                bench.until("all is said", |_| raw.push());
                raw.end();
            }
            let end = bench.end();
            assert_eq!(bench.log.payloads(), [data.clone(), b"2".to_vec(), data.clone()]);
            let wanted = if clean { (Cause::Peer, 1000) } else { (Cause::Eof, 1006) };
            assert_eq!((end.cause, end.code), wanted);
        }
    }
}

#[test]
fn a_close_inside_message_stops_what_is_pipelined_behind_it() {
    let mut bench = Bench::new(Listen::default(), |log| {
        Hooks::new(log, |net, conn, told| {
            if let Told::Message(_, data) = told
                && data == b"enough"
            {
                net.close(conn, 1000, "enough").unwrap();
            }
        })
    });
    let mut raw = bench.open_raw();
    let more = frame(TEXT, b"more").repeat(100);
    raw.say(&[frame(TEXT, b"one"), frame(TEXT, b"enough"), more, frame(PING, b"?"), close(1000, "")].concat());
    let end = bench.end();
    assert_eq!(row(&end), (Cause::Local, By::Us, 1000, 1000, true));
    assert_eq!(bench.log.story(), "upgrade open message message close");
    raw.hear();
    assert!(close_frame(1000)(&raw.next_frame().unwrap()));
    assert_eq!(raw.next_frame(), None);
}

#[test]
fn an_abort_inside_a_hook_stops_what_is_pipelined_behind_it() {
    for when in ["open", "message", "pong"] {
        let mut bench = Bench::new(Listen::default(), |log| {
            Hooks::new(log, move |net, conn, told| {
                let now = matches!((told, when), (Told::Open, "open") | (Told::Message(..), "message"));
                if now || matches!((told, when), (Told::Pong(_), "pong")) {
                    net.abort(conn).unwrap();
                    assert_eq!(net.state(conn), State::Closed);
                }
            })
        });
        let mut raw = bench.raw();
        raw.say(&[HELLO, &frame(PONG, b""), &frame(TEXT, b"1"), &frame(PONG, b""), &frame(TEXT, b"2")].concat());
        let end = bench.end();
        assert_eq!(row(&end), (Cause::Abort, By::Us, 1006, 0, false));
        let story = bench.log.story();
        assert!(story.ends_with(&format!("{when} close")), "{story}");
        assert_eq!(story.matches(when).count(), 1, "{story}");
    }
}

#[test]
fn ending_others_whose_events_are_in_the_same_turn_is_safe() {
    for how in ["abort", "close"] {
        let mut bench = Bench::new(Listen::default(), |log| {
            Hooks::new(log, move |net, conn, told| {
                if !matches!(told, Told::Message(..) | Told::Close(_)) {
                    return;
                }
                let mut at = None;
                while let Some(other) = net.next(at) {
                    at = Some(other);
                    if other != conn {
                        // Those that have ended already say so.
                        let _ = if how == "abort" { net.abort(other) } else { net.close(other, 1000, "") };
                    }
                }
            })
        });
        let mut raws: Vec<_> = (0..50).map(|_| bench.open_raw()).collect();
        for raw in &mut raws {
            raw.say(&[frame(TEXT, b"me first"), frame(TEXT, b"me too"), close(1000, "")].concat());
        }
        bench.until("all are told their end", |bench| bench.log.closes() == 50);
        if how == "abort" {
            assert_eq!(bench.log.messages(), 2, "only the first was heard");
        }
    }
}

#[test]
fn after_its_close_an_id_is_stale_and_never_reaches_its_successor() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let raw = bench.open_raw();
    let old = bench.log.opened();
    drop(raw);
    bench.end();
    let raw = bench.open_raw();
    let new = bench.log.opened();
    assert_ne!(old, new);
    let net = bench.event_loop.net();
    net.subscribe(new, "topic").unwrap();
    let stale = Err(Error::Stale);
    assert_eq!(net.send(old, Message::text("x")).map(drop), stale);
    assert_eq!(net.send_payload(old, &dari::Payload::new(Message::text("x")).unwrap()).map(drop), stale);
    assert_eq!(net.ping(old, b""), stale);
    assert_eq!(net.close(old, 1000, ""), stale);
    assert_eq!(net.abort(old), stale);
    assert_eq!((net.pause(old), net.resume(old)), (stale.clone(), stale.clone()));
    assert_eq!((net.subscribe(old, "topic"), net.unsubscribe(old, "topic")), (stale.clone(), stale.clone()));
    assert_eq!((net.accept(old, None, &[]), net.respond(old, 200, &[], b"")), (stale.clone(), stale.clone()));
    assert_eq!((net.respond_begin(old, 200, &[]), net.set_data(old, std::ptr::null_mut())), (stale.clone(), stale));
    assert!(matches!((net.respond_piece(old, b"x"), net.peer(old)), (Err(Error::Stale), Err(Error::Stale))));
    assert_eq!((net.state(old), net.backlog(old), net.protocol(old)), (State::Closed, 0, None));
    assert!(net.request(old).is_none() && net.data(old).is_null());
    assert_eq!((net.subscribers("topic"), net.state(new)), (1, State::Open));
    bench.turn_for(5);
    assert_eq!((bench.log.closes(), raw.got.len()), (1, 0));
}

#[test]
fn ids_of_another_loop_are_stale_here() {
    let mut here = Bench::new(Listen::default(), Hooks::quiet);
    let mut there = Bench::new(Listen::default(), Hooks::quiet);
    let _raws = (here.open_raw(), there.open_raw());
    let foreign = there.log.opened();
    assert_eq!(here.net().abort(foreign), Err(Error::Stale));
    assert_eq!(here.net().close_listener(there.listener), Err(Error::Stale));
    let timer = there.net().timer(1000, 0, Box::new(|_, _| {})).unwrap();
    here.net().timer(1000, 0, Box::new(|_, _| {})).unwrap();
    assert_eq!(here.net().cancel_timer(timer), Err(Error::Stale));
    for bits in [0, 1, u64::MAX, foreign.to_bits() ^ 1, foreign.to_bits() ^ (1 << 63)] {
        assert_eq!(there.net().abort(dari::ConnId::from_bits(bits)), Err(Error::Stale));
    }
    assert_eq!(there.net().abort(dari::ConnId::from_bits(foreign.to_bits())), Ok(()));
}

#[test]
fn inside_close_the_id_is_still_good_for_looking_and_for_nothing_else() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let notes = Rc::clone(&seen);
    let mut bench = Bench::new(Listen::default(), |log| {
        Hooks::new(log, move |net, conn, told| {
            if let Told::Error(_) | Told::Close(_) = told {
                assert!(matches!(net.send(conn, Message::text("late")), Err(Error::State(_))));
                assert!(matches!(net.close(conn, 1000, ""), Err(Error::State(_))));
                assert!(matches!(net.abort(conn), Err(Error::State(_))));
                assert!(matches!(net.subscribe(conn, "late"), Err(Error::State(_))));
                notes.borrow_mut().push((net.state(conn), net.peer(conn).is_ok()));
            }
        })
    });
    let mut raw = bench.open_raw();
    raw.end();
    bench.end();
    assert_eq!(*seen.borrow(), [(State::Closed, true); 2]);
}
