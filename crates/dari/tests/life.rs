//! The life of a connection: handshake, open, messages both ways, in order and whole.

mod common;

use common::raw::{self, BINARY, HELLO, PING, PONG, RawListener, TEXT, frame, unmasked, welcome};
use common::{Bench, Hooks, Log, PlainEcho, Told, pattern};
use dari::{Cause, Config, Connect, Error, Kind, Listen, Loop, Message, Origins, Payload, State};
use std::cell::Cell;
use std::rc::Rc;

#[test]
fn messages_of_every_kind_and_size_come_back_as_they_were_sent() {
    let sizes = [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20, 16 << 20];
    let mut bench = Bench::new(Listen::default(), Hooks::echo);
    let heard = Log::default();
    let conn = bench.dial(Hooks::quiet(&heard));
    bench.until("the client opens", |_| heard.opens() == 1);
    for size in sizes {
        let data = pattern(size);
        let before = heard.messages();
        bench.net().send(conn, Message::binary(&data)).unwrap();
        bench.until("an echo", |_| heard.messages() > before);
        let all = heard.all();
        let Some((_, Told::Message(Kind::Binary, back))) = all.last() else { panic!("{:?}", all.last()) };
        assert!(*back == data, "{size} bytes came back changed");
    }
    for text in ["", "안녕", "a"] {
        let before = heard.messages();
        bench.net().send(conn, Message::text(text)).unwrap();
        bench.until("an echo", |_| heard.messages() > before);
        let all = heard.all();
        assert!(matches!(all.last(), Some((_, Told::Message(Kind::Text, back))) if back == text.as_bytes()));
    }
}

#[test]
fn a_burst_comes_back_whole_and_in_order() {
    let log = Log::default();
    let mut bench = Bench::of(Config::default(), Listen::default(), log, Box::new(PlainEcho));
    let mut raw = bench.open_raw();
    let (mut said, mut wanted) = (Vec::new(), Vec::new());
    let all = pattern(4 << 20);
    let mut rest = &all[..];
    // Sizes on both sides of every border: frame lengths, what is copied and what is referred to, the receive buffer.
    for size in [0, 1, 125, 126, 1023, 1024, 1500, 65_535, 65_536, 70_000, 300_000].iter().cycle().take(88) {
        let (data, others) = rest.split_at(*size.min(&rest.len()));
        rest = others;
        said.extend(frame(BINARY, data));
        wanted.extend(unmasked(BINARY, data));
    }
    raw.will_say(said);
    bench.until("the burst comes back", |_| {
        raw.push();
        raw.hear();
        raw.got.len() >= wanted.len()
    });
    assert!(raw.got == wanted);
}

#[test]
fn a_message_in_any_number_of_packets_is_one_message() {
    let mut bench = Bench::new(Listen::default(), Hooks::echo);
    let mut raw = bench.raw();
    let whole = [HELLO, &frame(TEXT, "안녕".as_bytes()), &frame(0x01, b"a"), &frame(0x80, b"b")].concat();
    for byte in whole {
        raw.say(&[byte]);
        bench.turn();
    }
    bench.until("both messages", |bench| bench.log.messages() == 2);
    assert_eq!(bench.log.payloads(), [Vec::from("안녕"), b"ab".to_vec()]);
    assert_eq!(bench.log.story(), "upgrade open message message");
}

#[test]
fn what_open_sends_is_in_the_packet_of_the_101() {
    let mut bench = Bench::new(Listen::default(), |log| {
        Hooks::new(log, |net, conn, told| {
            if let Told::Open = told {
                net.send(conn, Message::text("Welcome")).unwrap();
            }
        })
    });
    let mut raw = bench.raw();
    raw.say(HELLO);
    bench.until("the 101", |_| raw.take_head().is_some());
    assert_eq!(raw.next_frame(), Some((TEXT, b"Welcome".to_vec())));
    assert_eq!(raw.packets, 1);
}

#[test]
fn frames_in_the_packet_of_the_handshake_are_not_lost() {
    let mut bench = Bench::new(Listen::default(), Hooks::echo);
    let mut raw = bench.raw();
    raw.say(&[HELLO, &frame(TEXT, b"early"), &frame(PING, b"p"), &frame(TEXT, b"bird")].concat());
    bench.until("the 101", |_| raw.take_head().is_some());
    let early = [(TEXT, b"early".to_vec()), (PONG, b"p".to_vec()), (TEXT, b"bird".to_vec())];
    for wanted in early {
        assert_eq!(raw.next_frame(), Some(wanted));
    }
    assert_eq!(raw.packets, 1, "all answers to one read leave in one packet");
}

#[test]
fn the_answer_of_the_rfc_goes_out() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let mut raw = bench.raw();
    raw.say(HELLO);
    let mut head = None;
    bench.until("the 101", |_| {
        head = raw.take_head();
        head.is_some()
    });
    let head = head.unwrap();
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    assert!(head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
}

/// Accepts every connection that waits, from wherever it is called.
fn accept_all(net: &mut dari::Net) {
    let mut at = None;
    while let Some(conn) = net.next(at) {
        if net.request(conn).is_some() {
            net.accept(conn, None, &[]).unwrap();
        }
        at = Some(conn);
    }
}

fn early_bird(bench: &mut Bench) -> raw::Raw {
    let mut raw = bench.raw();
    raw.say(&[HELLO, &frame(TEXT, b"one"), &frame(TEXT, b"two")].concat());
    bench.until("the upgrade is asked for", |bench| bench.log.story() == "upgrade");
    bench.turn_for(10);
    assert_eq!(bench.log.story(), "upgrade");
    raw
}

fn hears_welcome_first(bench: &mut Bench, raw: &mut raw::Raw) {
    bench.until("both echoes", |bench| {
        raw.hear();
        bench.log.messages() == 2 && raw.got.ends_with(b"two")
    });
    assert_eq!(bench.log.story(), "upgrade open message message");
    let head = raw.take_head().unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let frames: Vec<_> = std::iter::from_fn(|| raw.next_frame()).map(|(_, data)| data).collect();
    assert_eq!(frames, [&b"Welcome"[..], b"one", b"two"]);
}

fn waiting_server(log: &Log) -> Hooks {
    Hooks::new(log, |net, conn, told| match told {
        Told::Open => drop(net.send(conn, Message::text("Welcome")).unwrap()),
        Told::Message(kind, data) => drop(net.send(conn, Message { kind: *kind, data }).unwrap()),
        _ => {}
    })
    .later()
}

#[test]
fn an_upgrade_accepted_from_a_timer_opens_before_the_frames_that_waited() {
    let mut bench = Bench::new(Listen::default(), waiting_server);
    let mut raw = early_bird(&mut bench);
    bench.net().timer(1, 0, Box::new(|net, _| accept_all(net))).unwrap();
    hears_welcome_first(&mut bench, &mut raw);
}

#[test]
fn an_upgrade_accepted_between_turns_opens_before_the_frames_that_waited() {
    let mut bench = Bench::new(Listen::default(), waiting_server);
    let mut raw = early_bird(&mut bench);
    accept_all(bench.net());
    hears_welcome_first(&mut bench, &mut raw);
}

#[test]
fn an_upgrade_accepted_in_a_hook_of_another_opens_before_the_frames_that_waited() {
    let mut bench = Bench::new(Listen::default(), waiting_server);
    let ringing = Log::default();
    let bell = Hooks::new(&ringing, |net, _, told| {
        if let Told::Message(..) = told {
            accept_all(net);
        }
    });
    let door = bench.net().listen("127.0.0.1:0", Listen::default(), Box::new(bell)).unwrap();
    let mut ring = raw::Raw::connect(bench.net().listener_port(door).unwrap());
    ring.say(HELLO);
    bench.until("the bell opens", |_| ringing.opens() == 1);
    let mut raw = early_bird(&mut bench);
    // Both events are in one turn: the bell's first, and then the end of the one that it lets in.
    ring.say(&frame(TEXT, b"ring"));
    raw.end();
    hears_welcome_first_then_ends(&mut bench, &mut raw);
}

fn hears_welcome_first_then_ends(bench: &mut Bench, raw: &mut raw::Raw) {
    bench.until("the end", |bench| {
        raw.hear();
        bench.log.closes() == 1
    });
    assert_eq!(bench.log.story(), "upgrade open message message error close");
    assert_eq!(bench.log.end().cause, Cause::Eof);
}

#[test]
fn an_upgrade_that_is_aborted_after_being_accepted_never_opens() {
    let mut bench = Bench::new(Listen::default(), |log| {
        Hooks::new(log, |net, conn, told| {
            if let Told::Upgrade = told {
                net.accept(conn, None, &[]).unwrap();
                net.abort(conn).unwrap();
            }
        })
    });
    let mut raw = bench.raw();
    raw.say(&[HELLO, &frame(TEXT, b"early")].concat());
    let end = bench.end();
    assert_eq!(bench.log.story(), "upgrade close");
    assert_eq!((end.cause, end.opened), (Cause::Abort, false));
}

#[test]
fn a_refused_upgrade_gets_its_status_and_one_close_that_says_not_opened() {
    let mut bench = Bench::new(Listen::default(), |log| {
        Hooks::new(log, |net, conn, told| {
            if let Told::Upgrade = told {
                net.respond(conn, 401, &[("WWW-Authenticate", "Basic")], b"who are you?").unwrap();
            }
        })
    });
    let mut raw = bench.raw();
    // The frames behind it are nobody's.
    raw.say(&[HELLO, &frame(TEXT, b"hello?")].concat());
    let mut answer = None;
    bench.until("the refusal", |_| {
        answer = answer.take().or_else(|| raw.take_answer());
        answer.is_some() && raw.ended.is_some()
    });
    let (head, body) = answer.unwrap();
    assert!(head.starts_with("HTTP/1.1 401 Unauthorized\r\n") && head.contains("WWW-Authenticate: Basic\r\n"));
    assert!(head.contains("Connection: close\r\n"), "{head}");
    assert_eq!((body, raw.ended), (b"who are you?".to_vec(), Some(raw::Ended::Eof)));
    raw.end();
    let end = bench.end();
    assert_eq!((end.opened, end.code), (false, 1006));
    assert_eq!(bench.log.story(), "upgrade close");
}

#[test]
fn a_client_of_ours_hears_the_status_of_a_refusal() {
    let mut bench = Bench::new(Listen::default(), |log| {
        Hooks::new(log, |net, conn, told| {
            if let Told::Upgrade = told {
                net.respond(conn, 503, &[], b"").unwrap();
            }
        })
    });
    let heard = Log::default();
    bench.dial(Hooks::quiet(&heard));
    bench.until("both ends close", |bench| heard.closes() == 1 && bench.log.closes() == 1);
    let end = heard.end();
    assert_eq!((end.cause, end.status, end.opened, end.code), (Cause::Refused, 503, false, 1006));
    assert!(end.text().contains("503"), "{}", end.text());
    assert_eq!(heard.story(), "error close");
}

#[test]
fn pages_from_elsewhere_are_kept_out_and_nobody_hears_of_them() {
    let list = Origins::List(vec!["https://good.example".to_owned()]);
    let cases = [
        (Origins::Same, "http://127.0.0.1:PORT", true),
        (Origins::Same, "http://evil.example", false),
        (Origins::Same, "null", false),
        (list.clone(), "https://good.example", true),
        (list, "http://good.example", false),
        (Origins::Any, "http://evil.example", true),
    ];
    for (origins, origin, lets_in) in cases {
        let mut bench = Bench::new(Listen { origins, ..Listen::default() }, Hooks::quiet);
        let heard = Log::default();
        let origin = origin.replace("PORT", &bench.port.to_string());
        let how = Connect { origin: Some(origin.clone()), ..Connect::default() };
        bench.dial_with(how, Hooks::quiet(&heard));
        bench.until("an answer", |_| heard.opens() + heard.closes() > 0);
        if lets_in {
            assert_eq!((heard.story(), bench.log.story()), ("open".to_owned(), "upgrade open".to_owned()));
        } else {
            assert_eq!((heard.end().status, bench.log.story().as_str()), (403, ""), "{origin}");
        }
    }
}

#[test]
fn the_first_of_the_servers_subprotocols_that_is_offered_is_spoken() {
    let how = Listen { protocols: vec!["b".to_owned(), "a".to_owned()], ..Listen::default() };
    let mut bench = Bench::new(how, Hooks::quiet);
    let heard = Log::default();
    let offer = Connect { protocols: vec!["a".to_owned(), "b".to_owned()], ..Connect::default() };
    let conn = bench.dial_with(offer, Hooks::quiet(&heard));
    bench.until("it opens", |_| heard.opens() == 1);
    let server = bench.log.opened();
    assert_eq!((bench.net().protocol(conn), heard.opens()), (Some("b"), 1));
    assert_eq!(bench.net().protocol(server), Some("b"));
}

#[test]
fn a_deferred_upgrade_can_still_be_seen_and_is_still_connecting() {
    let mut bench = Bench::new(Listen::default(), waiting_server);
    early_bird(&mut bench);
    let conn = bench.log.conns()[0];
    let net = bench.net();
    assert_eq!(net.request(conn).map(|request| request.target().to_owned()), Some("/".to_owned()));
    assert_eq!(net.state(conn), State::Connecting);
    assert!(matches!(net.send(conn, Message::text("too early")), Err(Error::State(_))));
    assert!(matches!(net.ping(conn, b""), Err(Error::State(_))));
    assert!(matches!(net.accept(conn, Some("not offered"), &[]), Err(Error::Argument(_))));
    assert!(matches!(net.accept(conn, None, &[("A", "b\r\nc")]), Err(Error::Argument(_))));
    assert_eq!(net.accept(conn, None, &[("A", "b")]), Ok(()));
    assert!(matches!(net.accept(conn, None, &[]), Err(Error::State(_))));
    assert!(matches!(net.respond(conn, 200, &[], b""), Err(Error::State(_))));
}

#[test]
fn what_may_not_be_sent_is_refused_and_nothing_is_sent() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let mut raw = bench.open_raw();
    let conn = bench.log.opened();
    let net = bench.net();
    let bad = Message { kind: Kind::Text, data: b"\xff" };
    assert!(matches!(net.send(conn, bad), Err(Error::Argument(_))));
    assert!(matches!(Payload::new(bad), Err(Error::Argument(_))));
    assert!(matches!(net.ping(conn, &[0; 126]), Err(Error::TooBig(_))));
    for code in [1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX] {
        assert!(matches!(net.close(conn, code, ""), Err(Error::Argument(_))), "{code}");
    }
    assert!(matches!(net.close(conn, 0, "a reason without a code"), Err(Error::Argument(_))));
    assert!(matches!(net.close(conn, 1000, &"x".repeat(124)), Err(Error::TooBig(_))));
    assert_eq!((net.state(conn), net.backlog(conn)), (State::Open, 0));
    bench.turn_for(10);
    raw.hear();
    assert_eq!((raw.got, raw.ended), (Vec::new(), None));
}

#[test]
fn pings_and_pongs_go_both_ways() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let mut raw = bench.open_raw();
    let conn = bench.log.opened();
    bench.net().ping(conn, b"there?").unwrap();
    let mut got = None;
    bench.until("a ping", |_| {
        got = raw.take_frame();
        got.is_some()
    });
    assert_eq!(got, Some((PING, b"there?".to_vec())));
    raw.say(&[frame(PONG, b"here"), frame(PING, b"1"), frame(PING, b"")].concat());
    bench.until("pongs", |_| {
        raw.hear();
        raw.got.len() >= 5
    });
    assert_eq!(raw.got, [unmasked(PONG, b"1"), unmasked(PONG, b"")].concat());
    assert!(matches!(&bench.log.all()[..], [.., (_, Told::Pong(data))] if data == b"here"));
}

#[test]
fn a_client_of_ours_takes_data_in_the_packet_of_the_101() {
    let listener = RawListener::new();
    let mut event_loop = Loop::new(Config::default()).unwrap();
    let heard = Log::default();
    let url = format!("ws://127.0.0.1:{}/chat?room=1", listener.port);
    event_loop.net().connect(&url, Connect::default(), Box::new(Hooks::echo(&heard))).unwrap();
    let mut server = None;
    let mut head = None;
    let mut said = false;
    raw::wait_for("the echo", || {
        event_loop.turn(Some(1)).unwrap();
        server = server.take().or_else(|| listener.accept());
        let server = server.as_mut()?;
        head = head.take().or_else(|| server.take_head());
        let head = head.as_ref()?;
        if !said {
            assert!(head.starts_with("GET /chat?room=1 HTTP/1.1\r\n"), "{head}");
            server.say(&[welcome(head).as_bytes(), &unmasked(TEXT, b"hi")].concat());
            said = true;
        }
        server.hear();
        (server.got.len() >= 8).then_some(())
    });
    let server = server.as_mut().unwrap();
    assert!(server.got[1] & 0x80 != 0, "a client masks");
    assert_eq!(server.next_frame(), Some((TEXT, b"hi".to_vec())));
    assert_eq!(heard.story(), "open message");
}

#[test]
fn every_frame_of_a_client_has_a_mask_of_its_own() {
    let listener = RawListener::new();
    let mut event_loop = Loop::new(Config::default()).unwrap();
    let heard = Log::default();
    let hooks = Hooks::new(&heard, |net, conn, told| {
        if let Told::Open = told {
            for _ in 0..1000 {
                net.send(conn, Message::binary(&[0; 4])).unwrap();
            }
        }
    });
    let url = format!("ws://127.0.0.1:{}/", listener.port);
    event_loop.net().connect(&url, Connect::default(), Box::new(hooks)).unwrap();
    let mut server = None;
    raw::wait_for("the frames", || {
        event_loop.turn(Some(1)).unwrap();
        server = server.take().or_else(|| listener.accept());
        let server = server.as_mut()?;
        if let Some(head) = server.take_head() {
            server.say(welcome(&head).as_bytes());
        }
        (server.got.len() == 10_000).then_some(())
    });
    let got = &server.as_ref().unwrap().got;
    let keys: std::collections::HashSet<&[u8]> = got.chunks(10).map(|frame| &frame[2..6]).collect();
    // 1,000 draws out of 2^32: two of the same are a 1:8,000 affair, three are none.
    assert!(keys.len() >= 998, "{} different keys", keys.len());
}

#[test]
fn data_that_hangs_on_a_connection_stays_until_its_close() {
    let seen = Rc::new(Cell::new(false));
    let there = Rc::clone(&seen);
    let mut bench = Bench::new(Listen::default(), |log| {
        Hooks::new(log, move |net, conn, told| match told {
            Told::Upgrade => net.set_data(conn, std::ptr::without_provenance_mut(0x1234)).unwrap(),
            Told::Close(_) => there.set(net.data(conn).addr() == 0x1234),
            _ => assert_eq!(net.data(conn).addr(), 0x1234),
        })
    });
    let raw = bench.open_raw();
    drop(raw);
    bench.end();
    assert!(seen.get());
    let conn = bench.log.opened();
    assert!(bench.net().data(conn).is_null());
}

#[test]
fn one_walks_over_all_connections_while_they_come_and_go() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let raws: Vec<_> = (0..10).map(|_| bench.open_raw()).collect();
    let net = bench.event_loop.net();
    let mut at = None;
    let mut walked = Vec::new();
    while let Some(conn) = net.next(at) {
        walked.push(conn);
        net.abort(conn).unwrap();
        at = Some(conn);
    }
    assert_eq!(walked, bench.log.conns());
    drop(raws);
    bench.until("all are gone", |bench| bench.log.closes() == 10);
    assert_eq!(bench.net().next(None), None);
}
