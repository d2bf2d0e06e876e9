//! How a client gets to its server: names, races, what it asks for, and giving up at every stage of the way.

mod common;

use common::dialled::Dialled;
use common::raw::{Raw, RawListener, TEXT, black_hole, frame, wait_for, welcome};
use common::tls::{BOTH, Ca, Peer, listen, trusting};
use common::*;
use dari::{Cause, Close, Config, ConnId, Connect, Error, Limits, Listen, Loop, Message, Net, Reconnect};
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

fn limits(handshake_ms: u32) -> Limits {
    Limits { handshake_ms, ..Limits::default() }
}

/// Dials on a loop of its own, and tells how it ended.
fn end_of(url: &str, how: Connect) -> Close {
    let (mut event_loop, heard) = (Loop::new(Config::default()).unwrap(), Log::default());
    event_loop.net().connect(url, how, Box::new(Hooks::quiet(&heard))).unwrap();
    wait_for("the end", || {
        event_loop.turn(Some(10)).unwrap();
        (heard.closes() == 1).then_some(())
    });
    heard.end()
}

// --- names ------------------------------------------------------------------------------------------------------

/// Another name of this machine than localhost, if it has one.
fn own_name() -> Option<String> {
    let hosts = std::fs::read_to_string("/etc/hosts").ok()?;
    let names = hosts.lines().filter_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        (words.next()? == "127.0.0.1").then_some(words)
    });
    let is_plain = |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    names.flatten().filter(is_plain).find(|name| *name != "localhost").map(str::to_owned)
}

#[test]
fn every_name_of_the_same_place_leads_there() {
    let ca = Ca::new("names");
    let mut names = ["localhost", "LOCALHOST", "127.0.0.1"].map(str::to_owned).to_vec();
    names.extend(own_name());
    let cert = [&names[..], &["::1".to_owned()]].concat();
    let files = ca.issue("all", &cert.iter().map(String::as_str).collect::<Vec<_>>());
    let mut bench = Bench::new(listen(files.server()), Hooks::quiet);
    let mut urls: Vec<_> = names.iter().map(|name| format!("wss://{name}:{}/", bench.port)).collect();
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        let log = Log::default();
        let six = bench.net().listen("[::1]:0", listen(files.server()), Box::new(Hooks::quiet(&log))).unwrap();
        urls.push(format!("wss://[::1]:{}/", bench.net().listener_port(six).unwrap()));
    }
    for url in urls {
        let heard = Log::default();
        let conn = bench.net().connect(&url, trusting(ca.client()), Box::new(Hooks::quiet(&heard))).unwrap();
        bench.until(&url, |_| heard.opens() + heard.closes() > 0);
        assert_eq!(heard.story(), "open", "{url}: {:?}", heard.end_of(conn));
    }
    // A name is the same with the dot that says that it ends there.
    let how = Connect { tls_name: Some("localhost.".to_owned()), ..trusting(ca.client()) };
    let heard = Log::default();
    let url = format!("wss://127.0.0.1:{}/", bench.port);
    let conn = bench.net().connect(&url, how, Box::new(Hooks::quiet(&heard))).unwrap();
    bench.until("it opens", |_| heard.opens() + heard.closes() > 0);
    assert_eq!(heard.story(), "open", "{:?}", heard.end_of(conn));
}

#[test]
fn unix_sockets_are_reached_by_path_and_by_name() {
    let path = std::env::temp_dir().join(format!("dari-dials-{}.sock", std::process::id()));
    let abstract_name = format!("dari-dials-{}", std::process::id());
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    for (listens, dials) in [
        (format!("unix:{}", path.display()), format!("ws+unix:{}:/there?a=b", path.display())),
        (format!("unix:@{abstract_name}"), format!("ws+unix:@{abstract_name}:/there?a=b")),
    ] {
        let (log, heard) = (Log::default(), Log::default());
        let hooks = Hooks::new(&log, |net, conn, told| {
            if let Told::Upgrade = told {
                let request = net.request(conn).unwrap();
                assert_eq!((request.target(), request.header("host", 0)), ("/there?a=b", Some(&b"localhost"[..])));
            }
        });
        let listener = bench.net().listen(&listens, Listen::default(), Box::new(hooks)).unwrap();
        let conn = bench.net().connect(&dials, Connect::default(), Box::new(Hooks::echo(&heard))).unwrap();
        bench.until(&dials, |_| heard.opens() + heard.closes() > 0);
        assert_eq!((heard.story().as_str(), bench.net().peer(conn)), ("open", Ok("unix:".to_owned())));
        let server = log.opened();
        bench.net().send(server, Message::text("hi")).unwrap();
        bench.until("an echo", |_| log.messages() == 1);
        bench.net().close_listener(listener).unwrap();
    }
}

#[test]
fn a_name_that_is_none_is_told_in_words_and_holds_up_nobody() {
    let mut bench = Bench::new(Listen::default(), Hooks::echo);
    let mut raw = bench.open_raw();
    let heard = Log::default();
    // By RFC 6761 6.4 there is none of this name, with or without a name server.
    let conn =
        bench.net().connect("ws://example.invalid/", Connect::default(), Box::new(Hooks::quiet(&heard))).unwrap();
    assert_eq!((heard.story().as_str(), bench.net().peer(conn)), ("", Ok(String::new())));
    while heard.closes() == 0 {
        raw.say(&frame(TEXT, b"hi"));
        let asked = Instant::now();
        bench.until("an echo", |_| raw.take_frame().is_some());
        assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
    }
    let end = heard.end();
    assert_eq!((end.cause, end.os_error, end.opened), (Cause::Dns, 0, false));
    assert!(end.text().starts_with("the name could not be resolved: example.invalid: "), "{}", end.text());
    assert_eq!(heard.story(), "error close");
}

#[test]
fn another_name_may_be_asked_for_than_is_dialled() {
    let ca = Ca::new("another");
    let files = ca.issue("server", &["inside.test"]);
    let how = || Connect { tls_name: Some("inside.test".to_owned()), ..trusting(ca.client()) };
    let mut dialled = Dialled::new("wss", how());
    let raw = dialled.accept();
    let mut peer = Peer::server(raw, &files, BOTH[0]);
    let head = dialled.until("the request", |_| peer.take_head());
    assert!(head.contains("Host: localhost:"), "{head}");
    let rustls::Connection::Server(server) = &peer.tls else { panic!("a server") };
    assert_eq!(server.server_name(), Some("inside.test"));
    // Without it the certificate is not for who was dialled.
    let mut dialled = Dialled::new("wss", trusting(ca.client()));
    let raw = dialled.accept();
    let mut peer = Peer::server(raw, &files, BOTH[0]);
    let end = loop {
        peer.hear();
        dialled.event_loop.turn(Some(1)).unwrap();
        if dialled.heard.closes() == 1 {
            break dialled.end();
        }
    };
    assert!(end.text().ends_with("the certificate is for inside.test, not for localhost"), "{}", end.text());
}

#[test]
fn what_tls_can_not_do_is_an_error_at_the_call() {
    let ca = Ca::new("call");
    let mut event_loop = Loop::new(Config::default()).unwrap();
    let log = Log::default();
    let server = ca.server("localhost");
    let cases = [
        ("wss://localhost/", trusting(server.clone()), "this TLS is for servers"),
        ("wss://localhost/", Connect { tls_name: Some("localhost".to_owned()), ..trusting(server) }, "for servers"),
        ("wss://-a.test/", trusting(ca.client()), "neither a host name nor an address"),
        ("wss://localhost/", Connect { tls_name: Some("a b".to_owned()), ..trusting(ca.client()) }, "neither"),
    ];
    for (url, how, word) in cases {
        let error = event_loop.net().connect(url, how, Box::new(Hooks::quiet(&log))).expect_err(url);
        assert!(matches!(&error, Error::Argument(text) if text.contains(word)), "{url}: {error}");
    }
    let error = event_loop.net().listen("127.0.0.1:0", listen(ca.client()), Box::new(Hooks::quiet(&log)));
    assert!(matches!(&error, Err(Error::Argument(text)) if text.contains("for clients")), "{error:?}");
    event_loop.turn(Some(0)).unwrap();
    assert_eq!((log.story().as_str(), event_loop.net().next(None)), ("", None));
}

// --- races ------------------------------------------------------------------------------------------------------

#[test]
fn an_address_that_does_not_answer_is_not_waited_for() {
    let (hole, _fillers) = black_hole();
    let address = SocketAddr::from((Ipv6Addr::LOCALHOST, hole.port));
    if TcpListener::bind(address).is_err() {
        return; // No IPv6 on this machine.
    }
    let listener = RawListener::on(&address, 4);
    let (mut event_loop, heard) = (Loop::new(Config::default()).unwrap(), Log::default());
    let start = Instant::now();
    let url = format!("ws://localhost:{}/", hole.port);
    let conn = event_loop.net().connect(&url, Connect::default(), Box::new(Hooks::quiet(&heard))).unwrap();
    let mut server = None;
    wait_for("it opens", || {
        event_loop.turn(Some(10)).unwrap();
        server = server.take().or_else(|| listener.accept());
        if let Some(head) = server.as_mut().and_then(|server| server.take_head()) {
            server.as_mut()?.say(welcome(&head).as_bytes());
        }
        (heard.opens() == 1).then_some(())
    });
    let took = start.elapsed();
    assert!((Duration::from_millis(240)..Duration::from_secs(2)).contains(&took), "{took:?}");
    assert_eq!(event_loop.net().peer(conn), Ok(address.to_string()));
}

// --- what is asked for ------------------------------------------------------------------------------------------

#[test]
fn the_host_of_a_request_may_be_another_and_a_login_is_ones_own_if_one_says_so() {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let how = Connect {
        headers: vec![header("host", "inside.test:8080"), header("authorization", "Bearer token"), header("X-A", "")],
        ..Connect::default()
    };
    let mut dialled = Dialled::with(|port| format!("http://me:secret@127.0.0.1:{port}/?a"), how, |_| {});
    let mut server = dialled.accept();
    let head = dialled.until("the request", |_| server.take_head());
    assert!(head.starts_with("GET /?a HTTP/1.1\r\nHost: inside.test:8080\r\n"), "{head}");
    assert!(head.contains("uthorization: Bearer token\r\n") && head.contains("X-A: \r\n"), "{head}");
    assert!(!head.contains("Basic") && head.matches("ost:").count() == 1, "{head}");
}

#[test]
fn a_server_that_speaks_first_is_listened_to() {
    // All of it is there before the loop looks at the connection for the first time.
    for (said, cause, word) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", Cause::Protocol, "the answer begins with HTTP/1.1"),
        ("220 mail.example.org ESMTP\r\n", Cause::Protocol, "the answer begins with HTTP/1.1"),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", Cause::Refused, "403"),
        ("", Cause::Eof, "ended the stream"),
    ] {
        let how = Connect { limits: limits(3_000), ..Connect::default() };
        let mut dialled = Dialled::with(|port| format!("ws://127.0.0.1:{port}/"), how, |_| {});
        let mut server = wait_for("it comes", || dialled.listener.accept());
        server.say(said.as_bytes());
        if said.is_empty() {
            server.end();
        }
        let asked = Instant::now();
        let end = dialled.end();
        assert!(asked.elapsed() < Duration::from_secs(2), "{said:?}: {:?}", asked.elapsed());
        assert!(end.cause == cause && end.text().contains(word), "{said:?}: {}", end.text());
    }
}

// --- giving up --------------------------------------------------------------------------------------------------

const STAGES: [(&str, &str); 5] = [
    ("name", "looking up the name"),
    ("connect", "connecting"),
    ("proxy", "asking the proxy"),
    ("tls", "in the TLS handshake"),
    ("answer", "waiting for the server's answer"),
];

/// A dial that comes as far as `stage`, and no further; and what keeps it there.
struct Stuck {
    event_loop: Loop,
    heard: Log,
    conn: ConnId,
    _hole: Option<(RawListener, Vec<std::net::TcpStream>)>,
    _server: Option<Raw>,
}

fn stuck(stage: &str, handshake_ms: u32, ca: &Ca) -> Stuck {
    let (mut event_loop, heard) = (Loop::new(Config::default()).unwrap(), Log::default());
    let mut how = Connect { limits: limits(handshake_ms), ..trusting(ca.client()) };
    how.retry = Some(Reconnect { count: 0, ..Reconnect::default() });
    let (listener, mut hole) = (RawListener::new(), None);
    let url = match stage {
        "name" => {
            // Others are asked for first, so that it is late.
            for i in 0..if handshake_ms == 1 { 100 } else { 0 } {
                let others = Box::new(Hooks::quiet(&Log::default()));
                event_loop.net().connect(&format!("ws://{i}.example.invalid/"), Connect::default(), others).unwrap();
            }
            "ws://last.example.invalid/".to_owned()
        }
        "connect" => {
            let black_hole = black_hole();
            let url = format!("ws://127.0.0.1:{}/", black_hole.0.port);
            hole = Some(black_hole);
            url
        }
        "proxy" => {
            how.proxy = Some(format!("http://127.0.0.1:{}", listener.port));
            "wss://example.invalid/".to_owned()
        }
        "tls" => format!("wss://127.0.0.1:{}/", listener.port),
        _ => format!("ws://127.0.0.1:{}/", listener.port),
    };
    let conn = event_loop.net().connect(&url, how, Box::new(Hooks::quiet(&heard))).unwrap();
    let server = (!matches!(stage, "name" | "connect")).then(|| {
        let mut server = wait_for("it comes", || listener.accept());
        wait_for("its first words", || {
            event_loop.turn(Some(1)).unwrap();
            (server.hear_some(1 << 10) > 0).then_some(())
        });
        server
    });
    if stage == "connect" {
        event_loop.turn(Some(1)).unwrap();
    }
    Stuck { event_loop, heard, conn, _hole: hole, _server: server }
}

#[test]
fn the_deadline_says_how_far_it_came() {
    let ca = Ca::new("stages");
    for (stage, words) in STAGES {
        let mut stuck = stuck(stage, if stage == "name" { 1 } else { 100 }, &ca);
        wait_for(stage, || {
            stuck.event_loop.turn(Some(10)).unwrap();
            (stuck.heard.closes() == 1).then_some(())
        });
        let end = stuck.heard.end();
        assert_eq!((end.cause, end.opened), (Cause::HandshakeTimeout, false));
        assert!(end.text().contains(words), "{stage}: {}", end.text());
    }
}

/// Threads of this process that look up names.
fn resolvers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
    tasks.map(name).filter(|name| name.starts_with("dari-resolver")).count()
}

#[test]
fn giving_up_at_any_stage_is_told_once_and_leaves_nothing() {
    alone("giving_up_at_any_stage_is_told_once_and_leaves_nothing", || {
        let ca = Ca::new("giving-up");
        // What a process has once.
        drop(stuck("name", 5_000, &ca));
        drop(stuck("tls", 5_000, &ca));
        wait_for("no thread", || (resolvers() == 0).then_some(()));
        let before = open_descriptors();
        type GivingUp = fn(&mut Loop, ConnId);
        let ways: [(&str, Option<Cause>, GivingUp); 7] = [
            ("close", Some(Cause::Local), |of, conn| of.net().close(conn, 1000, "").unwrap()),
            ("abort", Some(Cause::Abort), |of, conn| of.net().abort(conn).unwrap()),
            ("stop", Some(Cause::Local), |of, conn| {
                let dial = of.net().dial(conn).unwrap();
                of.net().stop_dial(dial).unwrap();
            }),
            ("shutdown", Some(Cause::Shutdown), |of, _| of.net().shutdown(0, 1_000, |_: &mut Net, _| {}).unwrap()),
            ("end of the loop", Some(Cause::Shutdown), |of, _| of.close()),
            ("deadline", Some(Cause::HandshakeTimeout), |_, _| {}),
            ("drop", None, |_, _| {}),
        ];
        for (stage, _) in STAGES {
            for (way, cause, give_up) in ways {
                let is_deadline = way == "deadline";
                let mut stuck = stuck(stage, if is_deadline { 60 } else { 5_000 }, &ca);
                if is_deadline && stage == "name" {
                    continue; // Not sure to be that late.
                }
                give_up(&mut stuck.event_loop, stuck.conn);
                if let Some(cause) = cause {
                    wait_for(way, || {
                        stuck.event_loop.turn(Some(10)).unwrap();
                        (stuck.heard.closes() == 1).then_some(())
                    });
                    let end = stuck.heard.end();
                    assert_eq!((end.cause, end.opened), (cause, false), "{stage}, {way}: {}", end.text());
                    let story = if cause.is_failure() { "error close" } else { "close" };
                    assert_eq!(stuck.heard.story(), story, "{stage}, {way}");
                    assert_eq!(end.unsent_messages, 0);
                    if stage != "name" {
                        let net = stuck.event_loop.net();
                        assert_eq!((net.stats().memory, net.next(None)), (0, None), "{stage}, {way}");
                    }
                }
                drop(stuck);
                wait_for("no thread", || (resolvers() == 0).then_some(()));
                assert_eq!(open_descriptors(), before, "{stage}, {way}");
            }
        }
    });
}

#[test]
fn nobody_there_is_told_with_all_addresses() {
    let port = RawListener::new().port;
    let end = end_of(&format!("ws://localhost:{port}/"), Connect::default());
    assert_eq!((end.cause, end.os_error), (Cause::Connect, libc::ECONNREFUSED));
    let both = [format!("127.0.0.1:{port}: Connection refused"), format!("[::1]:{port}: ")];
    assert!(both.iter().all(|part| end.text().contains(part)), "{}", end.text());
}

/// RFC 6761 6.3: it is this machine, and nobody is asked. With a dot at its end a name is the same name (RFC 1034 3.1).
#[test]
fn localhost_is_looked_up_nowhere_however_it_is_written() {
    alone("localhost_is_looked_up_nowhere_however_it_is_written", || {
        let ca = Ca::new("dot");
        let mut bench = Bench::new(listen(ca.server("localhost")), Hooks::quiet);
        for name in ["localhost", "localhost.", "LocalHost."] {
            let heard = Log::default();
            let url = format!("wss://{name}:{}/", bench.port);
            bench.net().connect(&url, trusting(ca.client()), Box::new(Hooks::quiet(&heard))).unwrap();
            bench.until(name, |_| heard.opens() + heard.closes() == 1);
            assert_eq!((heard.opens(), resolvers()), (1, 0), "{name}");
        }
    });
}
