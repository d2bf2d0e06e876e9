//! The opening handshake: what the vectors can not say, which is what the caller does and what memory it takes.

mod common;

use common::{Noise, Peer, Seen, TEXT, ZERO_KEY, frame, handshake, opening, plain, request, switching};
use dari_core::{Limits, Message, Misuse, Opening, State, offered};

fn asked(target: &str, more: &str) -> Peer {
    let mut peer = Peer::server(Limits::default());
    assert_eq!(peer.feed(request(target, more).as_bytes()), [Seen::Upgrade { target: target.into() }]);
    peer
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

// --- the server's side --------------------------------------------------------------------------------------------

#[test]
fn frames_behind_the_handshake_wait_until_it_is_accepted() {
    let mut peer = Peer::server(Limits::default());
    let frames = [frame(false, 0x80 | TEXT, b"one"), frame(false, 0x80 | TEXT, b"two")];
    let packet = [handshake().as_bytes(), &frames[0]].concat();
    assert_eq!(peer.feed(&packet).len(), 1);
    assert!(!peer.connection.wants_input());
    assert_eq!(peer.waiting, frames[0], "frames are left over, whole and unchanged");
    assert_eq!(peer.feed(&frames[1]), []);
    assert_eq!(peer.waiting, frames.concat());
    assert_eq!(peer.out.bytes, b"");

    peer.act(|connection, io| connection.accept(None, &[], io)).unwrap();
    assert!(peer.connection.wants_input());
    assert_eq!(peer.feed(b""), [Seen::Text(b"one".to_vec()), Seen::Text(b"two".to_vec())]);
    peer.release();
}

#[test]
fn the_first_message_may_follow_the_acceptance_at_once() {
    let mut peer = asked("/", "");
    peer.act(|connection, io| {
        connection.accept(None, &[], io)?;
        connection.send(Message::text("welcome"), io)
    })
    .unwrap();
    let sent = peer.sent();
    assert!(sent.starts_with(b"HTTP/1.1 101 "));
    assert!(sent.ends_with(b"\r\n\r\n\x81\x07welcome"));
}

#[test]
fn an_acceptance_has_the_headers_that_the_caller_adds() {
    let mut peer = asked("/", "Sec-WebSocket-Protocol: a, b\r\n");
    peer.act(|connection, io| connection.accept(Some("b"), &[("Set-Cookie", "x=y"), ("X-Empty", "")], io)).unwrap();
    let sent = text(&peer.sent());
    assert!(sent.ends_with("\r\nSec-WebSocket-Protocol: b\r\nSet-Cookie: x=y\r\nX-Empty: \r\n\r\n"), "{sent}");
    assert_eq!(peer.connection.protocol(), Some("b"));
    assert_eq!(peer.state(), State::Open);
}

#[test]
fn only_an_offered_subprotocol_can_be_accepted() {
    let mut peer = asked("/", "Sec-WebSocket-Protocol: chat\r\n");
    for other in ["Chat", "", "chat, chat", "other\r\nEvil: x"] {
        let misuse = peer.misuse(|connection, io| connection.accept(Some(other), &[], io));
        assert_eq!(misuse, Misuse::ProtocolNotOffered(other.into()));
    }
    peer.act(|connection, io| connection.accept(Some("chat"), &[], io)).unwrap();

    let mut peer = asked("/", "");
    let misuse = peer.misuse(|connection, io| connection.accept(Some("chat"), &[], io));
    assert_eq!(misuse, Misuse::ProtocolNotOffered("chat".into()));
}

#[test]
fn header_injection_is_a_misuse_of_accept() {
    let mut peer = asked("/", "");
    let bad = [
        ("X", "a\r\nEvil: b"),
        ("X", "a\nb"),
        ("X", "a\rb"),
        ("X", "a\0b"),
        ("X", "a\x7f"),
        ("X\r\nEvil", "a"),
        ("X:", "a"),
        ("X Y", "a"),
        ("", "a"),
        ("안녕", "a"),
        ("Sec-WebSocket-Accept", "a"),
        ("sec-websocket-extensions", "a"),
        ("CONNECTION", "a"),
        ("Content-Length", "5"),
        ("transfer-encoding", "chunked"),
    ];
    for (name, value) in bad {
        let misuse = peer.misuse(|connection, io| connection.accept(None, &[("Fine", "x"), (name, value)], io));
        assert_eq!(misuse, Misuse::Header(name.into()));
    }
    peer.act(|connection, io| connection.accept(None, &[("X", "tab\tand 안녕")], io)).unwrap();
}

#[test]
fn a_handshake_is_answered_once() {
    let mut peer = asked("/", "");
    peer.act(|connection, io| connection.accept(None, &[], io)).unwrap();
    assert!(peer.connection.request().is_none());
    assert_eq!(peer.misuse(|connection, io| connection.accept(None, &[], io)), Misuse::NothingToAnswer);
    assert_eq!(peer.misuse(|connection, io| connection.respond(403, &[], b"", io)), Misuse::NothingToAnswer);
}

#[test]
fn a_refused_handshake_ends_the_connection() {
    let mut peer = asked("/", "");
    let headers = [("WWW-Authenticate", "Basic")];
    peer.act(|connection, io| connection.respond(401, &headers, b"who?", io)).unwrap();
    let sent = text(&peer.sent());
    assert!(sent.starts_with("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\n"), "{sent}");
    assert!(sent.ends_with("Connection: close\r\n\r\nwho?"), "{sent}");
    assert_eq!((peer.state(), peer.closing()), (State::Closed, None));
    assert_eq!(peer.misuse(|connection, io| connection.accept(None, &[], io)), Misuse::NothingToAnswer);
    assert_eq!(peer.feed(request("/again", "").as_bytes()), []);
    assert_eq!(peer.buffers.used(), 0);
}

#[test]
fn nothing_can_be_accepted_before_it_is_asked() {
    let mut peer = Peer::server(Limits::default());
    assert_eq!(peer.misuse(|connection, io| connection.accept(None, &[], io)), Misuse::NothingToAnswer);
    peer.feed(b"GET / HTTP/1.1\r\n");
    assert_eq!(peer.misuse(|connection, io| connection.accept(None, &[], io)), Misuse::NothingToAnswer);
    let mut client = Peer::client(Limits::default(), opening(), Noise::Zeros).unwrap();
    assert_eq!(client.misuse(|connection, io| connection.accept(None, &[], io)), Misuse::NothingToAnswer);
}

#[test]
fn nothing_can_be_sent_before_it_is_open() {
    let not_open = Misuse::NotOpen(State::Connecting);
    let client = Peer::client(Limits::default(), opening(), Noise::Zeros).unwrap();
    for mut peer in [Peer::server(Limits::default()), asked("/", ""), client] {
        assert_eq!(peer.misuse(|connection, io| connection.send(Message::text("x"), io)), not_open);
        assert_eq!(peer.misuse(|connection, io| connection.ping(b"", io)), not_open);
        assert_eq!(peer.misuse(|connection, io| connection.close(1000, "", io)), not_open);
        peer.release();
    }
}

#[test]
fn the_request_can_be_read_until_it_is_answered() {
    let more = "Origin: http://a\r\nCookie:  x=y \r\ncookie: z\r\nSec-WebSocket-Protocol: a,b\r\n\
                Sec-WebSocket-Protocol:  c\r\nX-Bytes: \u{e9}\r\n";
    let peer = asked("/chat?room=1", more);
    let request = peer.connection.request().unwrap();
    assert_eq!((request.method(), request.target(), request.body()), ("GET", "/chat?room=1", &b""[..]));
    assert_eq!(request.header("ORIGIN", 0), Some(&b"http://a"[..]));
    assert_eq!(request.header("Cookie", 0), Some(&b"x=y"[..]));
    assert_eq!(request.header("Cookie", 1), Some(&b"z"[..]));
    assert_eq!(request.header("Cookie", 2), None);
    assert_eq!(request.header("X-Bytes", 0), Some("\u{e9}".as_bytes()));
    assert_eq!(request.headers().count(), 11);
    assert_eq!(request.headers().next(), Some(("Host", &b"server.example.com"[..])));
    assert_eq!(offered(request).collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
fn a_head_takes_no_more_memory_than_its_limit_however_it_drips() {
    let limits = Limits::default();
    let most = limits.max_head + 1024;
    let lines = "X-Header: value\r\n".repeat(70_000);
    let mut peer = Peer::server(limits);
    peer.feed(b"GET / HTTP/1.1\r\nHost: a\r\n");
    let mut arrived = 0;
    let failed = lines.as_bytes().chunks(7).find_map(|piece| {
        arrived += piece.len();
        let seen = peer.feed(piece).pop();
        assert!(peer.buffers.used() <= most.min(2 * arrived + 2048), "{} for {arrived}", peer.buffers.used());
        seen
    });
    assert!(matches!(failed, Some(Seen::Failed { code: 431, offset: 16384, .. })), "{failed:?}");
    assert_eq!(peer.buffers.used(), 0);
}

// --- the client's side --------------------------------------------------------------------------------------------

#[test]
fn the_request_says_what_was_asked_for() {
    let opening = Opening {
        authority: "example.com:9001".into(),
        target: "/chat?x".into(),
        protocols: vec!["a".into(), "b".into()],
        origin: Some("http://example.com".into()),
        authorization: Some("Basic eDp5".into()),
        headers: vec![("Cookie".into(), "x=y".into())],
    };
    let mut peer = Peer::client(Limits::default(), opening, Noise::Zeros).unwrap();
    assert!(peer.connection.is_client());
    let wanted = format!(
        "GET /chat?x HTTP/1.1\r\nHost: example.com:9001\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {ZERO_KEY}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: a, b\r\n\
         Origin: http://example.com\r\nAuthorization: Basic eDp5\r\nCookie: x=y\r\n\r\n"
    );
    assert_eq!(text(&peer.sent()), wanted);
}

#[test]
fn a_header_of_the_callers_stands_in_place_of_ours() {
    let headers = [("host", "other"), ("X", "y"), ("authorization", "Bearer z"), ("ORIGIN", "null")];
    let opening = Opening {
        origin: Some("http://a".into()),
        authorization: Some("Basic eDp5".into()),
        headers: headers.map(|(name, value)| (name.into(), value.into())).into(),
        ..opening()
    };
    let sent = text(&Peer::client(Limits::default(), opening, Noise::Zeros).unwrap().sent());
    assert!(sent.contains("\r\nHost: other\r\n"), "{sent}");
    assert!(sent.ends_with("\r\nX: y\r\nauthorization: Bearer z\r\nORIGIN: null\r\n\r\n"), "{sent}");
    for gone in ["server.example.com", "http://a", "Basic"] {
        assert!(!sent.contains(gone), "{sent}");
    }
}

#[test]
fn our_own_server_takes_our_own_request() {
    let opening = Opening { protocols: vec!["a".into(), "b".into()], ..opening() };
    let mut client = Peer::client(Limits::default(), opening, Noise::Counter(1)).unwrap();
    let mut server = Peer::server(Limits::default());
    assert_eq!(server.feed(&client.sent()), [Seen::Upgrade { target: "/chat".into() }]);
    server.act(|connection, io| connection.accept(Some("b"), &[], io)).unwrap();
    assert_eq!(client.feed(&server.sent()), [Seen::Open { protocol: Some("b".into()) }]);
    assert_eq!((client.connection.protocol(), server.connection.protocol()), (Some("b"), Some("b")));
}

#[test]
fn every_connection_has_a_key_of_its_own() {
    let key = |seed| Peer::client(Limits::default(), opening(), Noise::Counter(seed)).unwrap().key();
    assert_ne!(key(1), key(2));
    assert_eq!(key(1).len(), 24);
    let mut peer = Peer::client(Limits::default(), opening(), Noise::Counter(1)).unwrap();
    let other = switching(&key(2), "");
    assert!(matches!(&peer.feed(other.as_bytes())[..], [Seen::Failed { rule, .. }] if rule == "AnswerAccept"));
}

#[test]
fn header_injection_is_a_misuse_of_the_client() {
    let refused = |change: &dyn Fn(&mut Opening)| {
        let mut opening = opening();
        change(&mut opening);
        Peer::client(Limits::default(), opening, Noise::Zeros).err()
    };
    let evil = "x\r\nEvil: y";
    for (name, value) in [("X", evil), (evil, "x"), ("X", "\0"), ("", ""), ("sec-websocket-key", "b")] {
        let misuse = refused(&|opening| opening.headers = vec![(name.into(), value.into())]);
        assert_eq!(misuse, Some(Misuse::Header(name.into())));
    }
    assert_eq!(refused(&|opening| opening.origin = Some(evil.into())), Some(Misuse::Header("Origin".into())));
    let misuse = refused(&|opening| opening.authorization = Some(evil.into()));
    assert_eq!(misuse, Some(Misuse::Header("Authorization".into())));
    for bad in [evil, "a b", "", "a,b"] {
        let misuse = refused(&|opening| opening.protocols = vec!["x".into(), bad.into()]);
        assert_eq!(misuse, Some(Misuse::ProtocolNoToken(bad.into())));
    }
    let misuse = refused(&|opening| opening.protocols = ["a", "b", "a"].map(String::from).into());
    assert_eq!(misuse, Some(Misuse::ProtocolTwice("a".into())));
    for target in ["/ HTTP/1.1\r\nEvil: y\r\n", "/a b", "", "path", "/안녕", "/a#b", "/\n"] {
        assert!(refused(&|opening| opening.target = target.into()).is_some(), "{target:?}");
    }
    for authority in [evil, "", "a b", "a/b", "u@a", "a\n", "안녕"] {
        let wanted = Some(Misuse::Host(authority.into()));
        assert_eq!(refused(&|opening| opening.authority = authority.into()), wanted);
        assert_eq!(refused(&|opening| opening.headers = vec![("Host".into(), authority.into())]), wanted);
    }
    let hosts: Vec<_> = ["a", "b"].map(|host| ("host".to_owned(), host.to_owned())).into();
    assert_eq!(refused(&|opening| opening.headers = hosts.clone()), Some(Misuse::Host("b".into())));
    assert_eq!(refused(&|opening| opening.authority = "[::1]:9001".into()), None);
}

#[test]
fn a_client_that_was_refused_is_closed_for_good() {
    let mut peer = Peer::client(Limits::default(), opening(), Noise::Zeros).unwrap();
    peer.sent();
    let answer = b"HTTP/1.1 302 Found\r\nLocation: ws://other/\r\n\r\n";
    assert_eq!(peer.feed(answer), [Seen::Refused(302)]);
    assert_eq!((peer.state(), peer.closing()), (State::Closed, None));
    assert_eq!(peer.feed(switching(ZERO_KEY, "").as_bytes()), []);
    let misuse = peer.misuse(|connection, io| connection.send(Message::text("x"), io));
    assert_eq!(misuse, Misuse::NotOpen(State::Closed));
    assert_eq!(peer.sent(), b"", "a redirect is not followed");
    peer.release();
}

#[test]
fn a_ping_in_the_packet_of_the_answer_is_answered_behind_the_request() {
    let mut peer = Peer::client(Limits::default(), opening(), Noise::Zeros).unwrap();
    peer.sent();
    let packet = [switching(ZERO_KEY, "").as_bytes(), b"\x89\x02pp\x81\x02hi"].concat();
    assert_eq!(peer.feed(&packet), [Seen::Open { protocol: None }, Seen::Text(b"hi".to_vec())]);
    assert_eq!(plain(&peer.sent()), [(0x8a, b"pp".to_vec())]);
}
