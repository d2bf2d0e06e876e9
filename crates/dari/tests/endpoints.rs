//! Where connections come from: listeners of all families, and dials with all that can happen to them.

mod common;

use common::raw::{self, HELLO, Raw, RawListener, TEXT, black_hole, frame, welcome};
use common::{Bench, Hooks, Log, Told, limited};
use dari::{By, Cause, Config, Connect, Error, Limits, Listen, ListenerId, Loop, Message, State};
use socket2::SockAddr;
use std::cell::RefCell;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::rc::Rc;

fn quiet() -> Box<Hooks> {
    Box::new(Hooks::quiet(&Log::default()))
}

// --- listeners --------------------------------------------------------------------------------------------------

#[test]
fn every_listener_has_hooks_of_its_own() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let other = Log::default();
    let second = bench.net().listen("127.0.0.1:0", Listen::default(), Box::new(Hooks::quiet(&other))).unwrap();
    let port = bench.net().listener_port(second).unwrap();
    assert_ne!(port, bench.port);
    let mut raw = Raw::connect(port);
    raw.say(HELLO);
    bench.until("it opens", |_| other.opens() == 1);
    bench.open_raw();
    assert_eq!((bench.log.opens(), other.opens()), (1, 1));
}

#[test]
fn ipv6_is_listened_on() {
    let mut event_loop = Loop::new(Config::default()).unwrap();
    let log = Log::default();
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return; // No IPv6 on this machine.
    }
    let listener = event_loop.net().listen("[::1]:0", Listen::default(), Box::new(Hooks::echo(&log))).unwrap();
    let port = event_loop.net().listener_port(listener).unwrap();
    let heard = Log::default();
    let hooks = Hooks::new(&heard, |net, conn, told| {
        if let Told::Open = told {
            net.send(conn, Message::text("hello")).unwrap();
        }
    });
    event_loop.net().connect(&format!("ws://[::1]:{port}/"), Connect::default(), Box::new(hooks)).unwrap();
    raw::wait_for("the echo", || {
        event_loop.turn(Some(10)).unwrap();
        (heard.messages() == 1).then_some(())
    });
    let peer = event_loop.net().peer(log.opened()).unwrap();
    assert!(peer.starts_with("[::1]:"), "{peer}");
    assert_eq!(event_loop.net().peer(heard.opened()).unwrap(), format!("[::1]:{port}"));
}

fn reusing(event_loop: &mut Loop, address: &str, log: &Log) -> Result<ListenerId, Error> {
    let how = Listen { reuse_port: true, ..Listen::default() };
    event_loop.net().listen(address, how, Box::new(Hooks::quiet(log)))
}

#[test]
fn loops_that_all_say_so_share_a_port_and_every_one_of_them_gets_connections() {
    let mut loops: Vec<_> = (0..3).map(|_| (Loop::new(Config::default()).unwrap(), Log::default())).collect();
    let mut port = 0;
    for (event_loop, log) in &mut loops {
        let listener = reusing(event_loop, &format!("127.0.0.1:{port}"), log).unwrap();
        port = event_loop.net().listener_port(listener).unwrap();
    }
    let mut peers = Vec::new();
    raw::wait_for("somebody for each", || {
        // So many that they do not all get to the same ones.
        peers.extend((peers.len() < 200).then(|| Raw::connect(port)));
        peers.last_mut().unwrap().say(HELLO);
        loops.iter_mut().for_each(|(event_loop, _)| event_loop.turn(Some(1)).unwrap());
        loops.iter().all(|(_, log)| log.opens() > 0).then_some(())
    });
}

#[test]
fn a_port_is_not_shared_with_one_who_has_not_said_so() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let (taken, log) = (format!("127.0.0.1:{}", bench.port), Log::default());
    let refused = reusing(&mut bench.event_loop, &taken, &log).unwrap_err();
    assert!(matches!(refused, Error::System { errno: libc::EADDRINUSE, .. }));
    let text = refused.to_string();
    assert!(text.starts_with(&format!("listening on {taken}, which a socket without reuse_port has")), "{text}");
    let listener = reusing(&mut bench.event_loop, "127.0.0.1:0", &log).unwrap();
    let shared = format!("127.0.0.1:{}", bench.net().listener_port(listener).unwrap());
    let refused = bench.net().listen(&shared, Listen::default(), quiet()).unwrap_err();
    assert!(refused.to_string().starts_with(&format!("listening on {shared}: ")), "{refused}");
    assert!(matches!(reusing(&mut bench.event_loop, "unix:@x", &log), Err(Error::Argument(_))));
}

/// A path for a unix socket that is free when the test begins and gone when it ends.
struct SocketPath(PathBuf);

impl SocketPath {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dari-{}-{name}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self(path)
    }

    fn address(&self) -> String {
        format!("unix:{}", self.0.display())
    }

    fn connect(&self) -> Raw {
        Raw::connect_to(&SockAddr::unix(&self.0).unwrap(), None)
    }

    fn exists(&self) -> bool {
        self.0.symlink_metadata().is_ok()
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// One echo over a unix socket.
fn echo_over(bench: &mut Bench, log: &Log, raw: &mut Raw) {
    let before = log.messages();
    raw.say(&[HELLO, &frame(TEXT, b"hi")].concat());
    bench.until("a message", |_| log.messages() > before);
    let conn = log.opened();
    assert_eq!(bench.net().peer(conn).unwrap(), "unix:");
    bench.until("its echo", |_| {
        raw.hear();
        raw.got.ends_with(b"\x81\x02hi")
    });
}

#[test]
fn a_unix_socket_is_a_file_that_goes_when_the_listener_does() {
    let path = SocketPath::new("life");
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let log = Log::default();
    let listener = bench.net().listen(&path.address(), Listen::default(), Box::new(Hooks::echo(&log))).unwrap();
    assert_eq!(bench.net().listener_port(listener), None);
    assert!(path.exists());
    let mut raw = path.connect();
    echo_over(&mut bench, &log, &mut raw);
    bench.net().close_listener(listener).unwrap();
    assert!(!path.exists());
    // The connection stays.
    raw.say(&frame(TEXT, b"still"));
    bench.until("a message", |_| log.messages() == 2);

    bench.net().listen(&path.address(), Listen::default(), quiet()).unwrap();
    assert!(path.exists());
    drop(bench);
    assert!(!path.exists(), "it goes with the loop, too");
}

#[test]
fn a_left_over_socket_file_is_replaced_and_one_in_use_is_not() {
    let path = SocketPath::new("left");
    drop(UnixListener::bind(&path.0).unwrap());
    assert!(path.exists(), "somebody died and left it");
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let log = Log::default();
    bench.net().listen(&path.address(), Listen::default(), Box::new(Hooks::echo(&log))).unwrap();
    echo_over(&mut bench, &log, &mut path.connect());
    let second = bench.net().listen(&path.address(), Listen::default(), quiet());
    assert!(matches!(second, Err(Error::System { errno: libc::EADDRINUSE, .. })));
    echo_over(&mut bench, &log, &mut path.connect());
}

#[test]
fn what_is_no_socket_is_never_taken_away() {
    let path = SocketPath::new("file");
    std::fs::write(&path.0, "precious").unwrap();
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let refused = bench.net().listen(&path.address(), Listen::default(), quiet());
    assert!(matches!(refused, Err(Error::System { errno: libc::EADDRINUSE, .. })));
    assert_eq!(std::fs::read(&path.0).unwrap(), b"precious");
}

#[test]
fn an_abstract_socket_has_no_file() {
    let name = format!("dari-{}-abstract", std::process::id());
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let log = Log::default();
    bench.net().listen(&format!("unix:@{name}"), Listen::default(), Box::new(Hooks::echo(&log))).unwrap();
    let address = SockAddr::unix(format!("\0{name}")).unwrap();
    echo_over(&mut bench, &log, &mut Raw::connect_to(&address, None));
    assert!(!Path::new(&format!("@{name}")).exists());
}

#[test]
fn a_listener_that_is_closed_accepts_no_more_and_keeps_what_it_has() {
    let mut bench = Bench::new(Listen::default(), Hooks::echo);
    let mut raw = bench.open_raw();
    let listener = bench.listener;
    bench.net().close_listener(listener).unwrap();
    assert_eq!(bench.net().close_listener(listener), Err(Error::Stale));
    assert_eq!(bench.net().listener_port(listener), None);
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, bench.port)).is_err());
    raw.say(&frame(TEXT, b"hi"));
    bench.until("an echo", |_| raw.take_frame().is_some());
    raw.end();
    assert_eq!(bench.end().cause, Cause::Eof);
}

#[test]
fn a_listener_may_be_closed_in_its_own_hooks_and_its_handler_goes_with_the_last_connection() {
    struct Guard(Rc<RefCell<bool>>);
    impl Drop for Guard {
        fn drop(&mut self) {
            *self.0.borrow_mut() = true;
        }
    }
    let gone = Rc::new(RefCell::new(false));
    let guard = Guard(Rc::clone(&gone));
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let log = Log::default();
    let listener = Rc::new(RefCell::new(None));
    let which = Rc::clone(&listener);
    let hooks = Hooks::new(&log, move |net, _, told| {
        let _alive = &guard;
        if let Told::Open = told {
            net.close_listener(which.borrow().unwrap()).unwrap();
        }
    });
    let id = bench.net().listen("127.0.0.1:0", Listen::default(), Box::new(hooks)).unwrap();
    *listener.borrow_mut() = Some(id);
    let mut raw = Raw::connect(bench.net().listener_port(id).unwrap());
    raw.say(&[HELLO, &frame(TEXT, b"1")].concat());
    bench.until("a message", |_| log.messages() == 1);
    assert!(!*gone.borrow());
    raw.end();
    bench.until("its end", |_| log.closes() == 1);
    assert!(*gone.borrow());
}

#[test]
fn addresses_that_are_none_are_refused_in_words() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let long = format!("unix:/{}", "x".repeat(200));
    for address in [
        "",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "::1:80",
        "[::1]",
        "[x]:1",
        "a.b:1",
        "unix:",
        &long,
    ] {
        let result = bench.net().listen(address, Listen::default(), quiet());
        let Err(Error::Argument(text)) = result else { panic!("{address}: {result:?}") };
        assert!(text.contains(address), "{text}");
    }
    let used = format!("127.0.0.1:{}", bench.port);
    let result = bench.net().listen(&used, Listen::default(), quiet());
    let Err(error @ Error::System { errno: libc::EADDRINUSE, .. }) = result else { panic!("{result:?}") };
    assert!(error.to_string().contains(&used), "{error}");
    assert!(bench.net().listen("localhost:0", Listen::default(), quiet()).is_ok());
    assert!(bench.net().listen("unix:/nowhere/at/all", Listen::default(), quiet()).is_err());
}

#[test]
fn the_peer_is_told_by_its_address() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let raw = bench.open_raw();
    let conn = bench.log.opened();
    let address = raw.socket.local_addr().unwrap().as_socket().unwrap();
    assert_eq!(bench.net().peer(conn), Ok(address.to_string()));
}

// --- dials ------------------------------------------------------------------------------------------------------

#[test]
fn localhost_is_tried_at_its_next_address_when_the_first_refuses() {
    let address = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    if TcpListener::bind(address).is_err() {
        return; // No IPv6 on this machine.
    }
    let listener = RawListener::on(&address, 4);
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, listener.port)).is_err(), "nobody listens there");
    let mut event_loop = Loop::new(Config::default()).unwrap();
    let heard = Log::default();
    let url = format!("ws://localhost:{}/", listener.port);
    event_loop.net().connect(&url, Connect::default(), Box::new(Hooks::quiet(&heard))).unwrap();
    let mut server = None;
    raw::wait_for("it opens", || {
        event_loop.turn(Some(1)).unwrap();
        server = server.take().or_else(|| listener.accept());
        let server = server.as_mut()?;
        if let Some(head) = server.take_head() {
            assert!(head.contains(&format!("Host: localhost:{}\r\n", listener.port)), "{head}");
            server.say(welcome(&head).as_bytes());
        }
        (heard.opens() == 1).then_some(())
    });
    assert_eq!(heard.story(), "open");
    // Nothing of the first try is left.
    let mut server = server.unwrap();
    server.say(&raw::unmasked(TEXT, b"hi"));
    raw::wait_for("a message", || {
        event_loop.turn(Some(1)).unwrap();
        (heard.messages() == 1).then_some(())
    });
    drop(server);
    raw::wait_for("its end", || {
        event_loop.turn(Some(1)).unwrap();
        (heard.closes() == 1).then_some(())
    });
    assert_eq!(heard.end().cause, Cause::Eof);
}

#[test]
fn when_all_addresses_refuse_it_is_told_once() {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let mut event_loop = Loop::new(Config::default()).unwrap();
    let heard = Log::default();
    event_loop
        .net()
        .connect(&format!("ws://localhost:{port}"), Connect::default(), Box::new(Hooks::quiet(&heard)))
        .unwrap();
    raw::wait_for("the end", || {
        event_loop.turn(Some(10)).unwrap();
        (heard.closes() == 1).then_some(())
    });
    assert_eq!((heard.story().as_str(), heard.end().cause), ("error close", Cause::Connect));
    assert_eq!(event_loop.net().next(None), None);
}

#[test]
fn closing_while_connecting_gives_up_without_an_error() {
    for how in ["close", "abort"] {
        let (hole, _fillers) = black_hole();
        let mut event_loop = Loop::new(Config::default()).unwrap();
        let heard = Log::default();
        let url = format!("ws://127.0.0.1:{}", hole.port);
        let net = event_loop.net();
        let conn = net.connect(&url, Connect::default(), Box::new(Hooks::quiet(&heard))).unwrap();
        assert!(matches!(net.send(conn, Message::text("too early")), Err(Error::State(_))));
        event_loop.turn(Some(5)).unwrap();
        let net = event_loop.net();
        assert_eq!(net.state(conn), State::Connecting);
        let wanted = if how == "close" {
            net.close(conn, 1000, "never mind").unwrap();
            Cause::Local
        } else {
            net.abort(conn).unwrap();
            Cause::Abort
        };
        assert_eq!(heard.story(), "");
        event_loop.turn(Some(5)).unwrap();
        let end = heard.end();
        assert_eq!((end.cause, end.by, end.code, end.opened, end.was_clean), (wanted, By::Us, 1006, false, false));
        assert_eq!(heard.story(), "close");
        assert_eq!(event_loop.net().state(conn), State::Closed);
    }
}

#[test]
fn closing_in_the_turn_in_which_it_connects_is_told_once() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let heard = Log::default();
    for turns in 0..6 {
        let conn = bench.dial(Hooks::quiet(&heard));
        for _ in 0..turns {
            bench.event_loop.turn(Some(0)).unwrap();
        }
        bench.net().close(conn, 1000, "").unwrap();
        bench.until("its end", |_| heard.end_of(conn).is_some());
        let end = heard.end_of(conn).unwrap();
        assert_eq!((end.cause, end.was_clean), (Cause::Local, end.opened), "{end:?}");
    }
    bench.until("the other ends", |bench| bench.net().next(None).is_none());
}

#[test]
fn a_dial_that_nobody_answers_has_a_deadline() {
    let (hole, _fillers) = black_hole();
    let mut event_loop = Loop::new(Config::default()).unwrap();
    let heard = Log::default();
    let how = Connect { limits: Limits { handshake_ms: 40, ..Limits::default() }, ..Connect::default() };
    let url = format!("ws://127.0.0.1:{}", hole.port);
    event_loop.net().connect(&url, how, Box::new(Hooks::quiet(&heard))).unwrap();
    raw::wait_for("the deadline", || {
        event_loop.turn(None).unwrap();
        (heard.closes() == 1).then_some(())
    });
    assert_eq!(heard.end().cause, Cause::HandshakeTimeout);
}

#[test]
fn what_can_not_be_dialled_is_refused_at_the_call() {
    let mut event_loop = Loop::new(Config::default()).unwrap();
    let log = Log::default();
    let header = |name: &str, value: &str| Connect {
        headers: vec![(name.to_owned(), value.to_owned())],
        ..Connect::default()
    };
    let bad = [
        ("ws//a", Connect::default()),
        ("ws://127.0.0.1:0/", Connect::default()),
        ("ws://127.0.0.1/#x", Connect::default()),
        ("ws://127.0.0.1/", header("A", "b\r\nC: d")),
        ("ws://127.0.0.1/", header("Host", "a b")),
        ("ws://127.0.0.1/", header("Upgrade", "a")),
        ("ws://127.0.0.1/", Connect { origin: Some("a\nb".to_owned()), ..Connect::default() }),
        ("ws://127.0.0.1/", Connect { protocols: vec!["a b".to_owned()], ..Connect::default() }),
        ("ws://127.0.0.1/", Connect { protocols: vec!["a".to_owned(), "a".to_owned()], ..Connect::default() }),
        ("ws://127.0.0.1/", Connect { proxy: Some("ftp://a".to_owned()), ..Connect::default() }),
        ("ws+unix:/run/x:/", Connect { proxy: Some("http://127.0.0.1:1".to_owned()), ..Connect::default() }),
        ("wss://127.0.0.1/", Connect { tls_name: Some("a b".to_owned()), ..Connect::default() }),
    ];
    for (url, how) in bad {
        let result = event_loop.net().connect(url, how, Box::new(Hooks::quiet(&log)));
        assert!(matches!(result, Err(Error::Argument(_))), "{url}: {result:?}");
    }
    event_loop.turn(Some(0)).unwrap();
    assert_eq!((event_loop.net().next(None), log.story().as_str()), (None, ""), "a call that fails calls no hook");
}

#[test]
fn a_request_says_what_was_asked_for() {
    let listener = RawListener::new();
    let mut event_loop = Loop::new(Config::default()).unwrap();
    let how = Connect {
        protocols: vec!["chat".to_owned(), "superchat".to_owned()],
        headers: vec![("X-Token".to_owned(), "secret".to_owned())],
        origin: Some("http://here".to_owned()),
        ..Connect::default()
    };
    let url = format!("ws://me:pass%20word@127.0.0.1:{}/a?b=c", listener.port);
    event_loop.net().connect(&url, how, quiet()).unwrap();
    let mut server = None;
    let head = raw::wait_for("the request", || {
        event_loop.turn(Some(1)).unwrap();
        server = server.take().or_else(|| listener.accept());
        server.as_mut()?.take_head()
    });
    assert!(head.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{head}");
    let host = format!("Host: 127.0.0.1:{}", listener.port);
    let login = "Authorization: Basic bWU6cGFzcyB3b3Jk";
    for line in [&host, login, "X-Token: secret", "Origin: http://here", "Sec-WebSocket-Protocol: chat, superchat"] {
        assert!(head.contains(&format!("{line}\r\n")), "{line}: {head}");
    }
}

#[test]
fn a_client_may_dial_again_inside_close_as_often_as_it_likes() {
    let mut bench = Bench::new(limited(Limits::default()), |log| {
        Hooks::new(log, |net, conn, told| {
            if let Told::Open = told {
                net.close(conn, 1012, "come again").unwrap();
            }
        })
    });
    let heard = Log::default();
    let url = format!("ws://127.0.0.1:{}/", bench.port);
    fn again(heard: &Log, url: String) -> Hooks {
        let log = heard.clone();
        Hooks::new(heard, move |net, _, told| {
            if let (Told::Close(_), true) = (told, log.closes() < 50) {
                net.connect(&url, Connect::default(), Box::new(again(&log, url.clone()))).unwrap();
            }
        })
    }
    let first = again(&heard, url);
    bench.dial(first);
    bench.until("fifty ends", |bench| heard.closes() == 50 && bench.log.closes() == 50);
    assert_eq!((heard.conns().len(), heard.opens()), (50, 50));
    assert!(heard.conns().iter().all(|conn| heard.end_of(*conn).is_some_and(|end| end.code == 1012)));
}

#[test]
fn the_system_is_told_how_long_a_server_may_be_silent() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let log = Log::default();
    let how = Connect { keepalive_ms: Some(2_500), user_timeout_ms: Some(7_001), ..Connect::default() };
    bench.dial_with(how, Hooks::quiet(&log));
    bench.until("open", |_| log.opens() == 1);
    let option = |fd, level, name| {
        let (mut value, mut len) = (0i32, 4);
        // SAFETY: both places are there, and as large as is said.
        let got = unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut len) };
        (got == 0).then_some(value)
    };
    let tcp = |fd, name| option(fd, libc::IPPROTO_TCP, name);
    let told = (3..256).filter(|fd| tcp(*fd, libc::TCP_USER_TIMEOUT) == Some(7_001));
    let told: Vec<_> =
        told.map(|fd| (option(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE), tcp(fd, libc::TCP_KEEPIDLE))).collect();
    assert_eq!(told, [(Some(1), Some(3))]);
}
