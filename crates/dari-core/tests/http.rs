//! Plain HTTP on the same port: what the caller answers, and what waits meanwhile.

mod common;

use common::{Peer, Seen, handshake};
use dari_core::{Limits, Misuse, State};

fn asked(request: &str) -> Peer {
    let mut peer = Peer::server(Limits::default());
    let seen = peer.feed(request.as_bytes());
    assert!(matches!(&seen[..], [Seen::Http { .. }]), "{seen:?}");
    peer
}

fn get() -> Peer {
    asked("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn respond(peer: &mut Peer, status: u16, body: &[u8]) {
    peer.act(|connection, io| connection.respond(status, &[], body, io)).unwrap();
}

fn begin(peer: &mut Peer, length: Option<usize>) {
    peer.act(|connection, io| connection.respond_begin(200, &[("X", "y")], length, io)).unwrap();
}

fn piece(peer: &mut Peer, data: &[u8]) {
    peer.act(|connection, io| connection.respond_piece(data, io)).unwrap();
}

fn text(peer: &mut Peer) -> String {
    String::from_utf8(peer.sent()).unwrap()
}

#[test]
fn an_answer_is_its_status_its_headers_and_its_body() {
    let mut peer = get();
    let headers = [("Content-Type", "text/html"), ("Set-Cookie", "a"), ("Set-Cookie", "b")];
    peer.act(|connection, io| connection.respond(404, &headers, b"<p>no", io)).unwrap();
    let wanted = "HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\
                  Content-Length: 5\r\n\r\n<p>no";
    assert_eq!(text(&mut peer), wanted);
    assert_eq!(peer.state(), State::Connecting);
    assert_eq!(peer.buffers.used(), 0, "nothing of the request is kept");
}

#[test]
fn a_request_is_answered_once() {
    let mut peer = get();
    respond(&mut peer, 200, b"");
    assert!(peer.connection.request().is_none());
    assert_eq!(peer.misuse(|connection, io| connection.respond(200, &[], b"", io)), Misuse::NothingToAnswer);
    let misuse = peer.misuse(|connection, io| connection.respond_begin(200, &[], None, io));
    assert_eq!(misuse, Misuse::NothingToAnswer);
    assert_eq!(peer.misuse(|connection, io| connection.respond_piece(b"x", io)), Misuse::NothingToAnswer);
}

#[test]
fn nothing_can_be_answered_before_it_is_asked() {
    let mut peer = Peer::server(Limits::default());
    for part in [&b"POST / HTTP/1.1\r\nHost: a\r\n"[..], b"Content-Length: 3\r\n\r\n", b"ab"] {
        peer.feed(part);
        assert!(peer.connection.request().is_none());
        assert_eq!(peer.misuse(|connection, io| connection.respond(200, &[], b"", io)), Misuse::NothingToAnswer);
    }
    assert!(matches!(&peer.feed(b"c")[..], [Seen::Http { .. }]));
}

#[test]
fn a_plain_request_can_not_be_accepted() {
    let mut peer = get();
    assert_eq!(peer.misuse(|connection, io| connection.accept(None, &[], io)), Misuse::NotAnUpgrade);
    respond(&mut peer, 200, b"");
}

#[test]
fn header_injection_is_a_misuse_of_an_answer() {
    let mut peer = get();
    let bad = [
        ("X", "a\r\n\r\n<script>"),
        ("X", "a\nb"),
        ("X", "a\0"),
        ("X\r\nY", "a"),
        ("X ", "a"),
        ("", "a"),
        ("Content-Length", "0"),
        ("TRANSFER-ENCODING", "chunked"),
        ("connection", "close"),
    ];
    for (name, value) in bad {
        let headers = [("Fine", "x"), (name, value)];
        let misuse = peer.misuse(|connection, io| connection.respond(200, &headers, b"", io));
        assert_eq!(misuse, Misuse::Header(name.into()));
        let misuse = peer.misuse(|connection, io| connection.respond_begin(200, &headers, None, io));
        assert_eq!(misuse, Misuse::Header(name.into()));
    }
    respond(&mut peer, 200, b"");
}

#[test]
fn a_status_that_is_no_whole_answer_is_a_misuse() {
    let mut peer = get();
    for status in [0, 99, 100, 101, 103, 199, 600, 999, u16::MAX] {
        let misuse = peer.misuse(|connection, io| connection.respond(status, &[], b"", io));
        assert_eq!(misuse, Misuse::Status(status));
        let misuse = peer.misuse(|connection, io| connection.respond_begin(status, &[], None, io));
        assert_eq!(misuse, Misuse::Status(status));
    }
    respond(&mut peer, 599, b"");
    assert!(text(&mut peer).starts_with("HTTP/1.1 599 "));
}

#[test]
fn the_next_request_waits_until_this_one_is_answered() {
    let mut peer = Peer::server(Limits::default());
    let next = "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    let seen = peer.feed(format!("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n{next}").as_bytes());
    assert!(matches!(&seen[..], [Seen::Http { target, .. }] if target == "/1"), "{seen:?}");
    assert_eq!(peer.waiting, next.as_bytes());
    begin(&mut peer, None);
    assert_eq!(peer.feed(b""), []);
    assert_eq!(peer.waiting, next.as_bytes());
    piece(&mut peer, b"");
    let seen = peer.feed(b"");
    assert!(matches!(&seen[..], [Seen::Http { target, .. }] if target == "/2"), "{seen:?}");
    assert_eq!(peer.waiting, b"");
}

#[test]
fn a_handshake_may_follow_a_page() {
    let mut peer = get();
    respond(&mut peer, 200, b"page");
    assert_eq!(peer.feed(handshake().as_bytes()), [Seen::Upgrade { target: "/chat".into() }]);
    peer.act(|connection, io| connection.accept(None, &[], io)).unwrap();
    assert_eq!(peer.state(), State::Open);
}

#[test]
fn pieces_of_unknown_length_go_out_in_chunks() {
    let mut peer = get();
    begin(&mut peer, None);
    assert_eq!(text(&mut peer), "HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(peer.misuse(|connection, io| connection.respond(200, &[], b"", io)), Misuse::NothingToAnswer);
    piece(&mut peer, b"hello");
    piece(&mut peer, &[b'x'; 26]);
    assert_eq!(text(&mut peer), format!("5\r\nhello\r\n1a\r\n{}\r\n", "x".repeat(26)));
    piece(&mut peer, b"");
    assert_eq!(text(&mut peer), "0\r\n\r\n");
    assert_eq!(peer.misuse(|connection, io| connection.respond_piece(b"", io)), Misuse::NothingToAnswer);
    assert_eq!(peer.state(), State::Connecting);
}

#[test]
fn pieces_of_a_known_length_go_out_as_they_are() {
    let mut peer = get();
    begin(&mut peer, Some(10));
    piece(&mut peer, b"hello");
    piece(&mut peer, b"world");
    piece(&mut peer, b"");
    assert_eq!(text(&mut peer), "HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 10\r\n\r\nhelloworld");
    assert!(peer.connection.is_between_requests());
}

#[test]
fn pieces_for_http_1_0_end_with_the_connection() {
    let mut peer = asked("GET / HTTP/1.0\r\n\r\n");
    begin(&mut peer, None);
    piece(&mut peer, b"hello");
    assert_eq!(text(&mut peer), "HTTP/1.1 200 OK\r\nX: y\r\nConnection: close\r\n\r\nhello");
    assert_eq!(peer.state(), State::Connecting);
    piece(&mut peer, b"");
    assert_eq!((peer.sent(), peer.state()), (vec![], State::Closed));
}

#[test]
fn pieces_for_head_are_left_out() {
    let mut peer = asked("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    begin(&mut peer, None);
    piece(&mut peer, b"hello");
    piece(&mut peer, b"");
    assert_eq!(text(&mut peer), "HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert!(peer.connection.is_between_requests());
}

#[test]
fn the_answer_304_has_no_body() {
    let mut peer = get();
    peer.act(|connection, io| connection.respond(304, &[("ETag", "\"a\"")], b"ignored", io)).unwrap();
    assert_eq!(text(&mut peer), "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n");
}

#[test]
fn leave_to_send_a_body_is_given_before_it_comes() {
    let mut peer = Peer::server(Limits::default());
    let seen = peer.feed(b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_eq!(seen, []);
    assert_eq!(text(&mut peer), "HTTP/1.1 100 Continue\r\n\r\n");
    let seen = peer.feed(b"hi");
    assert!(matches!(&seen[..], [Seen::Http { body, .. }] if body == b"hi"), "{seen:?}");
}

#[test]
fn leave_is_not_given_to_a_body_that_is_too_long() {
    let mut peer = Peer::server(Limits::default());
    let seen = peer.feed(b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1048577\r\n\r\n");
    assert!(matches!(&seen[..], [Seen::Failed { code: 413, .. }]), "{seen:?}");
    assert!(text(&mut peer).starts_with("HTTP/1.1 413 "));
}

#[test]
fn a_declared_body_takes_memory_only_as_it_comes() {
    let mut peer = Peer::server(Limits::default());
    peer.feed(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    let before = peer.buffers.used();
    assert!(before <= 2048, "{before} for a head");
    let mut arrived = 0;
    for _ in 0..100 {
        peer.feed(&[b'x'; 700]);
        arrived += 700;
        assert!(peer.buffers.used() <= before + 2 * arrived + 1024, "{} for {arrived}", peer.buffers.used());
    }
    peer.release();
}

#[test]
fn between_requests_is_known_from_within_one() {
    let mut peer = Peer::server(Limits::default());
    assert!(peer.connection.is_between_requests());
    peer.feed(b"G");
    assert!(!peer.connection.is_between_requests());
    peer.feed(b"ET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n");
    assert!(!peer.connection.is_between_requests());
    peer.feed(b"x");
    assert!(!peer.connection.is_between_requests() && !peer.connection.wants_input());
    respond(&mut peer, 200, b"");
    assert!(peer.connection.is_between_requests() && peer.connection.wants_input());
    assert!(!Peer::open(false).connection.is_between_requests());
    assert!(!Peer::open(true).connection.is_between_requests());
}

#[test]
fn an_answer_that_closes_passes_over_what_follows() {
    let mut peer = Peer::server(Limits::default());
    let packet = b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(peer.feed(packet).len(), 1);
    respond(&mut peer, 200, b"");
    assert_eq!(peer.state(), State::Closed);
    assert_eq!(peer.feed(b""), []);
    assert_eq!(peer.waiting, b"");
    assert_eq!(peer.closing(), None);
    peer.release();
}
