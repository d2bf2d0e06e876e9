//! Plain HTTP on the port of the WebSockets: requests, answers whole and in pieces, and a folder of files.

mod common;

use common::raw::{Ended, HELLO, Raw, TEXT, frame};
use common::{Bench, Hooks, Log, Told, limited, pattern};
use dari::{By, Cause, ConnId, Error, Limits, Listen, Net, Sent, State};
use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;

/// A folder that goes when the test does.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &[u8])]) -> Self {
        let path = std::env::temp_dir().join(format!("dari-http-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        files.iter().for_each(|(file, data)| std::fs::write(path.join(file), data).unwrap());
        Self(path)
    }

    fn listen(&self) -> Listen {
        Listen { folder: Some(self.0.clone()), ..Listen::default() }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A handler that says back what was asked.
fn mirror(log: &Log) -> Hooks {
    Hooks::new(log, |net, conn, told| {
        if let Told::Http = told {
            let request = net.request(conn).unwrap();
            let mut text = format!("{} {} ", request.method(), request.target()).into_bytes();
            text.extend_from_slice(request.body());
            net.respond(conn, 200, &[("Content-Type", "text/plain")], &text).unwrap();
        }
    })
}

#[track_caller]
fn answer(bench: &mut Bench, raw: &mut Raw) -> (String, Vec<u8>) {
    let mut answer = None;
    bench.until("an answer", |_| {
        answer = raw.take_answer();
        answer.is_some()
    });
    answer.unwrap()
}

#[track_caller]
fn ask(bench: &mut Bench, raw: &mut Raw, request: &str) -> (String, Vec<u8>) {
    raw.say(request.as_bytes());
    answer(bench, raw)
}

/// An answer to HEAD, or to something that has no body.
#[track_caller]
fn head(bench: &mut Bench, raw: &mut Raw, request: &str) -> String {
    raw.say(request.as_bytes());
    let mut head = None;
    bench.until("a head", |_| {
        head = raw.take_head();
        head.is_some()
    });
    bench.turn_for(3);
    raw.hear();
    assert_eq!(raw.got, b"", "a body behind {request}");
    head.unwrap()
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn one_connection_serves_request_after_request_under_one_id() {
    let mut bench = Bench::new(Listen::default(), mirror);
    let mut raw = bench.raw();
    for i in 0..3 {
        let (head, body) = ask(&mut bench, &mut raw, &get(&format!("/{i}?q")));
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("\r\nDate: "), "{head}");
        assert_eq!(body, format!("GET /{i}?q ").as_bytes());
    }
    raw.end();
    let end = bench.end();
    assert_eq!((end.cause, end.by, end.opened, end.code), (Cause::Peer, By::Peer, false, 1006));
    assert_eq!((bench.log.story().as_str(), bench.log.conns().len()), ("http http http close", 1));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut bench = Bench::new(Listen::default(), mirror);
    let mut raw = bench.raw();
    raw.say((0..50).map(|i| get(&format!("/{i}"))).collect::<String>().as_bytes());
    for i in 0..50 {
        assert_eq!(answer(&mut bench, &mut raw).1, format!("GET /{i} ").as_bytes());
    }
}

#[test]
fn a_request_that_waits_for_its_answer_keeps_those_behind_it_waiting() {
    let mut bench = Bench::new(Listen::default(), |log| Hooks::quiet(log).later());
    let mut raw = bench.raw();
    raw.say([get("/1"), get("/2"), get("/3")].concat().as_bytes());
    for i in 1..=3 {
        bench.until("a request", |bench| bench.log.all().len() == i);
        bench.turn_for(3);
        assert_eq!(bench.log.all().len(), i);
        let conn = bench.log.conns()[0];
        let target = bench.net().request(conn).unwrap().target().to_owned();
        assert_eq!(target, format!("/{i}"));
        if i == 2 {
            // From a timer as well as between turns.
            let respond = move |net: &mut Net, _| net.respond(conn, 200, &[], b"/2").unwrap();
            bench.net().timer(1, 0, Box::new(respond)).unwrap();
        } else {
            bench.net().respond(conn, 200, &[], target.as_bytes()).unwrap();
            assert!(matches!(bench.net().respond(conn, 200, &[], b"again"), Err(Error::State(_))));
        }
        assert_eq!(answer(&mut bench, &mut raw).1, target.as_bytes());
    }
}

#[test]
fn an_answer_that_may_not_be_given_is_refused_and_another_can_follow() {
    let mut bench = Bench::new(Listen::default(), |log| Hooks::quiet(log).later());
    let mut raw = bench.raw();
    raw.say(get("/").as_bytes());
    bench.until("a request", |bench| bench.log.all().len() == 1);
    let conn = bench.log.conns()[0];
    let net = bench.net();
    for status in [0, 99, 101, 199, 600] {
        assert!(matches!(net.respond(conn, status, &[], b""), Err(Error::Argument(_))), "{status}");
    }
    for header in [("A\r\nB", "c"), ("A", "b\r\nC: d"), ("A", "b\0"), ("", "b"), ("Content-Length", "5")] {
        assert!(matches!(net.respond(conn, 200, &[header], b""), Err(Error::Argument(_))), "{header:?}");
        assert!(matches!(net.respond_begin(conn, 200, &[header]), Err(Error::Argument(_))), "{header:?}");
    }
    assert!(matches!(net.accept(conn, None, &[]), Err(Error::State(_))));
    assert!(matches!(net.respond_piece(conn, b"x"), Err(Error::State(_))));
    assert!(matches!(net.close(conn, 1000, ""), Err(Error::State(_))));
    assert_eq!(net.respond(conn, 200, &[], b"fine"), Ok(()));
    assert_eq!(answer(&mut bench, &mut raw).1, b"fine");
}

#[test]
fn an_answer_in_pieces_is_chunked() {
    let mut bench = Bench::new(Listen::default(), |log| Hooks::quiet(log).later());
    let mut raw = bench.raw();
    raw.say([get("/1"), get("/2")].concat().as_bytes());
    bench.until("a request", |bench| bench.log.all().len() == 1);
    let conn = bench.log.conns()[0];
    bench.net().respond_begin(conn, 200, &[("Content-Type", "text/event-stream")]).unwrap();
    let mut head = None;
    bench.until("the head before the body", |_| {
        head = raw.take_head();
        head.is_some()
    });
    let head = head.unwrap();
    assert!(head.contains("Transfer-Encoding: chunked\r\n") && !head.contains("Content-Length"), "{head}");
    assert_eq!(bench.net().respond_piece(conn, b"hello"), Ok(Sent::Done));
    bench.until("a piece", |_| {
        raw.hear();
        raw.got == b"5\r\nhello\r\n"
    });
    let long = pattern(300_000);
    bench.net().respond_piece(conn, &long).unwrap();
    bench.net().respond_piece(conn, b"").unwrap();
    assert!(matches!(bench.net().respond_piece(conn, b"late"), Err(Error::State(_))));
    let wanted = [b"5\r\nhello\r\n493e0\r\n", &long[..], b"\r\n0\r\n\r\n"].concat();
    bench.until("the whole body", |_| {
        raw.hear();
        raw.got.len() >= wanted.len()
    });
    assert!(raw.got == wanted);
    raw.got.clear();
    bench.until("the next request", |bench| bench.log.all().len() == 2);
    bench.net().respond(conn, 204, &[], b"").unwrap();
    bench.until("its answer", |_| raw.take_head().is_some());
}

#[test]
fn pieces_to_a_slow_reader_are_buffered_and_drained() {
    let mut bench = Bench::new(Listen::default(), |log| Hooks::quiet(log).later());
    let mut raw = Raw::connect_narrow(bench.port);
    raw.say(get("/").as_bytes());
    bench.until("a request", |bench| bench.log.all().len() == 1);
    let conn = bench.log.conns()[0];
    bench.net().respond_begin(conn, 200, &[]).unwrap();
    let piece = pattern(50_000);
    let mut pieces = 0;
    while bench.net().respond_piece(conn, &piece).unwrap() == Sent::Done {
        pieces += 1;
        assert!(pieces < 1000);
    }
    bench.until("the drain", |bench| {
        raw.hear_some(50_000);
        bench.log.drains() == 1
    });
    bench.net().respond_piece(conn, b"").unwrap();
    bench.until("the end of the body", |_| {
        raw.hear();
        raw.got.ends_with(b"\r\n0\r\n\r\n")
    });
    assert_eq!(bench.log.drains(), 1);
}

#[test]
fn old_clients_get_a_body_that_ends_with_the_connection() {
    let mut bench = Bench::new(Listen::default(), |log| {
        Hooks::new(log, |net, conn, told| {
            if let Told::Http = told {
                net.respond_begin(conn, 200, &[]).unwrap();
                net.respond_piece(conn, b"all ").unwrap();
                net.respond_piece(conn, b"of it").unwrap();
                net.respond_piece(conn, b"").unwrap();
            }
        })
    });
    let mut raw = bench.raw();
    raw.say(b"GET / HTTP/1.0\r\n\r\n");
    bench.until("the end of the stream", |_| {
        raw.hear();
        raw.ended == Some(Ended::Eof)
    });
    let head = raw.take_head().unwrap();
    assert!(!head.contains("chunked") && head.contains("Connection: close\r\n"), "{head}");
    assert_eq!(raw.got, b"all of it");
}

#[test]
fn a_body_comes_whole_by_length_and_by_chunks() {
    let mut bench = Bench::new(Listen::default(), mirror);
    let mut raw = bench.raw();
    let by_length = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(ask(&mut bench, &mut raw, by_length).1, b"POST /a hello");
    let chunked =
        "PUT /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n";
    assert_eq!(ask(&mut bench, &mut raw, chunked).1, b"PUT /b hello");
    raw.say(b"POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    bench.until("leave to go on", |_| raw.take_head().is_some_and(|head| head.starts_with("HTTP/1.1 100 ")));
    assert_eq!(ask(&mut bench, &mut raw, "hi").1, b"POST /c hi");
    let big = pattern(1 << 20);
    raw.will_say([&b"POST /d HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n"[..], &big].concat());
    let mut back = None;
    bench.until("a body of just the limit", |_| {
        raw.push();
        back = raw.take_answer();
        back.is_some()
    });
    assert!(back.unwrap().1 == [&b"POST /d "[..], &big].concat());
}

#[test]
fn requests_that_are_wrong_get_their_status_and_the_end() {
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(100));
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "b".repeat(20_000));
    let target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9_000));
    let cases: [(&str, u16); 12] = [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: a\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        ("hello\r\n\r\n", 400),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        (&many, 431),
        (&long, 431),
        (&target, 414),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n", 413),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ];
    let mut bench = Bench::new(Listen::default(), mirror);
    for (request, status) in cases {
        let mut raw = bench.raw();
        let (head, body) = ask(&mut bench, &mut raw, request);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.60}: {head}");
        assert!(head.contains("Connection: close\r\n") && body.starts_with(b"RFC "), "{request:.60}: {head}");
        bench.until("the end of the stream", |_| {
            raw.hear();
            raw.ended.is_some()
        });
    }
    assert_eq!(bench.log.story(), "", "nobody knew them");
    let mut raw = bench.raw();
    ask(&mut bench, &mut raw, &get("/"));
    assert!(ask(&mut bench, &mut raw, "nonsense\r\n\r\n").0.starts_with("HTTP/1.1 400 "));
    raw.end();
    bench.end();
    assert_eq!(bench.log.story(), "http error close", "this one was known");
}

#[test]
fn a_websocket_may_begin_behind_plain_requests() {
    let mut bench = Bench::new(Listen::default(), mirror);
    let mut raw = bench.raw();
    ask(&mut bench, &mut raw, &get("/1"));
    raw.say(&[get("/2").as_bytes(), HELLO, &frame(TEXT, b"hi")].concat());
    assert_eq!(answer(&mut bench, &mut raw).1, b"GET /2 ");
    bench.until("the message", |bench| bench.log.messages() == 1);
    assert_eq!((bench.log.story().as_str(), bench.log.conns().len()), ("http http upgrade open message", 1));
}

#[test]
fn without_a_folder_and_a_hook_the_answer_is_that_websocket_is_spoken_here() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let mut raw = bench.raw();
    let (head, body) = ask(&mut bench, &mut raw, &get("/"));
    assert!(head.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{head}");
    assert!(head.contains("Sec-WebSocket-Version: 13\r\n") && !body.is_empty(), "{head}");
}

#[test]
fn a_connection_that_asks_to_be_closed_is() {
    let mut bench = Bench::new(Listen::default(), mirror);
    let mut raw = bench.raw();
    let (head, _) = ask(&mut bench, &mut raw, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(head.contains("Connection: close\r\n"), "{head}");
    bench.until("the end of the stream", |_| {
        raw.hear();
        raw.ended == Some(Ended::Eof)
    });
    raw.end();
    let end = bench.end();
    assert_eq!((end.cause, end.opened), (Cause::Local, false));
}

// --- peers that go ----------------------------------------------------------------------------------------------

fn waits_for_an_answer() -> (Bench, Raw, ConnId) {
    let mut bench = Bench::new(Listen::default(), |log| Hooks::quiet(log).later());
    let mut raw = bench.raw();
    raw.say(get("/").as_bytes());
    bench.until("a request", |bench| bench.log.all().len() == 1);
    let conn = bench.log.conns()[0];
    (bench, raw, conn)
}

#[test]
fn a_peer_that_has_ended_its_side_still_gets_its_answer() {
    let (mut bench, mut raw, conn) = waits_for_an_answer();
    raw.end();
    bench.turn_for(5);
    assert_eq!(bench.log.closes(), 0);
    bench.net().respond(conn, 200, &[], b"late").unwrap();
    assert_eq!(answer(&mut bench, &mut raw).1, b"late");
    assert_eq!(bench.end().cause, Cause::Peer);
    assert_eq!(bench.net().state(conn), State::Closed);
}

#[test]
fn a_peer_that_is_gone_while_its_answer_is_due_is_told() {
    let (mut bench, raw, conn) = waits_for_an_answer();
    raw.reset();
    let end = bench.end();
    assert_eq!((end.cause, end.opened), (Cause::Reset, false));
    assert_eq!(bench.net().respond(conn, 200, &[], b"late"), Err(Error::Stale));
}

#[test]
fn a_peer_that_is_gone_in_the_middle_of_an_answer_is_told_once() {
    let (mut bench, raw, conn) = waits_for_an_answer();
    bench.net().respond_begin(conn, 200, &[]).unwrap();
    bench.net().respond_piece(conn, b"1").unwrap();
    bench.turn();
    raw.reset();
    bench.turn_for(3);
    // Whether the pieces find it gone is a matter of time.
    let _ = bench.net().respond_piece(conn, b"2");
    assert_eq!(bench.end().cause, Cause::Reset);
}

#[test]
fn an_answer_may_take_longer_than_a_handshake() {
    let how = limited(Limits { handshake_ms: 20, ..Limits::default() });
    let mut bench = Bench::new(how, |log| Hooks::quiet(log).later());
    let mut raw = bench.raw();
    raw.say(get("/").as_bytes());
    bench.until("a request", |bench| bench.log.all().len() == 1);
    bench.turn_for(60);
    let conn = bench.log.conns()[0];
    bench.net().respond(conn, 200, &[], b"at last").unwrap();
    assert_eq!(answer(&mut bench, &mut raw).1, b"at last");
}

#[test]
fn a_connection_that_was_served_may_rest_longer_than_a_handshake() {
    let mut bench = Bench::new(limited(Limits { handshake_ms: 20, ..Limits::default() }), mirror);
    let mut raw = bench.raw();
    for _ in 0..2 {
        assert_eq!(ask(&mut bench, &mut raw, &get("/")).1, b"GET / ");
        bench.turn_for(60);
    }
    // A request that drips is another matter.
    raw.say(b"GET / HT");
    bench.until("its deadline", |_| {
        raw.hear();
        raw.ended.is_some()
    });
    assert_eq!(bench.end().cause, Cause::HandshakeTimeout);
}

// --- a folder ---------------------------------------------------------------------------------------------------

#[test]
fn files_are_served_with_type_length_and_tag() {
    let folder = Folder::new("files", &[("index.html", b"<p>hi"), ("a.js", b"1"), ("empty.txt", b"")]);
    let mut bench = Bench::new(folder.listen(), Hooks::quiet);
    let mut raw = bench.raw();
    let (page, body) = ask(&mut bench, &mut raw, &get("/"));
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && body == b"<p>hi", "{page}");
    assert!(page.contains("Content-Type: text/html; charset=utf-8\r\n") && page.contains("Content-Length: 5\r\n"));
    let (script, _) = ask(&mut bench, &mut raw, &get("/a.js?v=1"));
    assert!(script.contains("Content-Type: text/javascript"), "{script}");
    let (empty, body) = ask(&mut bench, &mut raw, &get("/empty.txt"));
    assert!(empty.contains("Content-Length: 0\r\n") && body.is_empty(), "{empty}");

    let tag = page.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap();
    let again = format!("GET / HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"other\", {tag}\r\n\r\n");
    let unchanged = head(&mut bench, &mut raw, &again);
    assert!(unchanged.starts_with("HTTP/1.1 304 ") && unchanged.contains(tag), "{unchanged}");
    let changed = "GET / HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"other\"\r\n\r\n";
    assert_eq!(ask(&mut bench, &mut raw, changed).1, b"<p>hi");
    let only = head(&mut bench, &mut raw, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(only.starts_with("HTTP/1.1 200 OK\r\n") && only.contains("Content-Length: 5\r\n"), "{only}");
    // All of it on one connection.
    assert_eq!(ask(&mut bench, &mut raw, &get("/a.js")).1, b"1");
}

#[test]
fn what_is_no_file_is_404_and_what_is_no_reading_is_405() {
    let folder = Folder::new("none", &[("a", b"a")]);
    let mut bench = Bench::new(folder.listen(), Hooks::quiet);
    let mut raw = bench.raw();
    for path in ["/b", "/", "/a/", "/../a", "/%2e%2e/etc/passwd", "/a%00", "/%"] {
        let (head, _) = ask(&mut bench, &mut raw, &get(path));
        assert!(head.starts_with("HTTP/1.1 404 "), "{path}: {head}");
    }
    let (refused, _) = ask(&mut bench, &mut raw, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    assert!(refused.starts_with("HTTP/1.1 405 ") && refused.contains("Allow: GET, HEAD\r\n"), "{refused}");
    let missing = head(&mut bench, &mut raw, "HEAD /b HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(missing.starts_with("HTTP/1.1 404 "), "{missing}");
    assert_eq!(bench.log.story(), ["http"; 9].join(" "), "the hook is asked for what is no file");
}

#[test]
fn a_big_file_reaches_a_slow_reader_whole_without_filling_the_memory() {
    let data = pattern(10 << 20);
    let folder = Folder::new("big", &[("big.bin", &data), ("small", b"small")]);
    let mut bench = Bench::new(folder.listen(), Hooks::quiet);
    let mut raw = Raw::connect_narrow(bench.port);
    // What no file is, the hook is asked for: only then is the connection known, and can be looked at.
    raw.say(get("/nothing").as_bytes());
    assert!(answer(&mut bench, &mut raw).0.starts_with("HTTP/1.1 404"));
    let before = bench.log.story();
    raw.say([get("/big.bin"), get("/small")].concat().as_bytes());
    let most = Rc::new(Cell::new(0));
    let seen = Rc::clone(&most);
    let look = move |net: &mut Net, _| {
        if let Some(conn) = net.next(None) {
            seen.set(seen.get().max(net.backlog(conn)));
        }
    };
    bench.net().timer(0, 1, Box::new(look)).unwrap();
    bench.turn_for(20);
    let mut whole = None;
    bench.until("all of it", |_| {
        raw.hear_some(500_000);
        if raw.got.len() > data.len() {
            whole = raw.take_answer();
        }
        whole.is_some()
    });
    assert!(whole.unwrap().1 == data);
    assert_eq!(answer(&mut bench, &mut raw).1, b"small");
    let limits = Limits::default();
    assert!(most.get() > limits.low_water && most.get() < limits.high_water + (128 << 10), "{}", most.get());
    assert_eq!(bench.log.story(), before, "a file is no hook's affair, and neither is its drain");
}

#[test]
fn no_file_leaves_a_drain_behind_whatever_its_last_piece_met() {
    let sizes = [0, 20_000, 40_000, 60_000, 80_000, 100_000, 120_000].map(|more| (5 << 20) + more);
    let data = pattern(6 << 20);
    let names = sizes.map(|size| size.to_string());
    let files: Vec<(&str, &[u8])> =
        sizes.iter().zip(&names).map(|(size, name)| (name.as_str(), &data[..*size])).collect();
    let folder = Folder::new("drains", &files);
    let how = Listen { limits: Limits { high_water: 10_000, ..Limits::default() }, ..folder.listen() };
    let mut bench = Bench::new(how, Hooks::quiet);
    let mut raw = Raw::connect_narrow(bench.port);
    for (size, name) in sizes.iter().zip(&names) {
        raw.say(get(&format!("/{name}")).as_bytes());
        let mut whole = None;
        bench.until("all of it", |_| {
            raw.hear_some(200_000);
            if raw.got.len() > *size {
                whole = raw.take_answer();
            }
            whole.is_some()
        });
        assert!(whole.unwrap().1 == data[..*size]);
    }
    assert_eq!(bench.log.story(), "");
}

#[test]
fn a_file_is_whole_even_if_its_pieces_are_larger_than_the_backlog_may_be() {
    let data = pattern(10 << 20);
    let folder = Folder::new("backlog", &[("f", &data)]);
    let how = Listen { limits: Limits { max_backlog: 10_000, ..Limits::default() }, ..folder.listen() };
    let mut bench = Bench::new(how, Hooks::quiet);
    let mut raw = Raw::connect_narrow(bench.port);
    raw.say(get("/f").as_bytes());
    bench.turn_for(20);
    bench.until("all of it", |_| {
        raw.hear_some(500_000);
        raw.got.len() > data.len()
    });
    assert!(answer(&mut bench, &mut raw).1 == data);
}

#[test]
fn many_files_are_served_to_one_who_asks_for_all_at_once() {
    let data = pattern(200_000);
    let folder = Folder::new("many", &[("f", &data)]);
    let mut bench = Bench::new(folder.listen(), Hooks::quiet);
    let mut raw = bench.raw();
    raw.say(get("/f").repeat(40).as_bytes());
    for _ in 0..40 {
        assert!(answer(&mut bench, &mut raw).1 == data);
    }
    assert_eq!(bench.log.story(), "");
}

#[test]
fn a_file_that_shrinks_while_it_is_served_ends_the_connection() {
    let data = pattern(8 << 20);
    let folder = Folder::new("shrinks", &[("f", &data)]);
    let mut bench = Bench::new(folder.listen(), Hooks::quiet);
    let mut raw = Raw::connect_narrow(bench.port);
    raw.say(get("/f").as_bytes());
    bench.until("its head", |_| {
        raw.hear_some(1000);
        raw.heard >= 1000
    });
    std::fs::write(folder.0.join("f"), b"short").unwrap();
    bench.until("the end", |_| {
        raw.hear();
        raw.ended.is_some()
    });
    assert!(raw.heard < data.len());
    bench.until("its close", |bench| bench.net().next(None).is_none());
}

#[test]
fn a_folder_that_is_none_is_refused_when_listening() {
    let folder = Folder::new("listen", &[("f", b"")]);
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    for path in [folder.0.join("f"), folder.0.join("nothing")] {
        let how = Listen { folder: Some(path), ..Listen::default() };
        let result = bench.event_loop.net().listen("127.0.0.1:0", how, Box::new(Hooks::quiet(&Log::default())));
        assert!(matches!(result, Err(Error::Argument(_) | Error::System { .. })));
    }
}
