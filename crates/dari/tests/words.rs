//! What a person reads when a client does not get through: one line for each thing that goes wrong, all of them here.

mod common;

use common::dialled::Dialled;
use common::raw::{Raw, RawListener, black_hole, welcome};
use common::tls::{BOTH, Ca, Files, Peer, trusting};
use dari::Cause::{self, Connect as Unreachable, Dns, Eof, HandshakeTimeout, Protocol, Refused, Tls};
use dari::{By, Connect, Limits, NEVER};

/// What a server does with who has come. `true` when it is through.
type Serve<'a> = Box<dyn FnMut(&mut Raw) -> bool + 'a>;

/// Dials localhost, or an `other` URL, and has it fail as a row of a table says. PORT stands for the server's.
fn fails(what: &str, url: &str, how: &Connect, mut serve: Serve<'_>, row: (Cause, i32, &str)) {
    let wait = Limits { handshake_ms: if row.0 == HandshakeTimeout { 60 } else { NEVER }, ..Limits::default() };
    let how = Connect { limits: wait, ..how.clone() };
    let mut dialled = Dialled::with(|port| url.replace("PORT", &port.to_string()), how, |_| {});
    let (mut server, mut is_through) = (None, false);
    dialled.until(what, |dialled| {
        server = server.take().or_else(|| dialled.listener.accept());
        if let Some(server) = server.as_mut().filter(|_| !is_through) {
            is_through = serve(server);
        }
        // Nothing of the program's waits: the request is dari's own.
        let conn = dialled.conn;
        assert_eq!(dialled.net().backlog(conn), 0, "{what}");
        (dialled.heard.closes() == 1).then_some(())
    });
    let end = dialled.end();
    let code = end.os_error.max(end.tls_alert).max(end.status.into());
    let text = end.text().replace(&dialled.listener.port.to_string(), "PORT");
    assert_eq!((end.cause, code, &*text), row, "{what}");
    if end.cause == Tls {
        // Whose alert it was.
        let by = if text.contains("the peer sent alert") { By::Peer } else { By::Us };
        assert_eq!(end.by, by, "{what}");
    }
    assert_eq!((end.unsent_bytes, end.unsent_messages), (0, 0), "{what}");
    assert_eq!(
        (end.code, end.opened, end.was_clean, dialled.heard.story().as_str()),
        (1006, false, false, "error close")
    );
}

/// Does something at once.
fn does(act: impl Fn(&mut Raw) + 'static) -> Serve<'static> {
    Box::new(move |server| {
        act(server);
        true
    })
}

/// Answers a request.
fn answers(answer: &str) -> Serve<'_> {
    Box::new(move |server| {
        let head = server.take_head();
        if let Some(head) = &head {
            server.say(answer.replace("{welcome}", &welcome(head)).as_bytes());
        }
        head.is_some()
    })
}

/// Shows a certificate.
fn shows(files: &Files) -> Serve<'_> {
    let mut peer = None;
    Box::new(move |raw| {
        let new = || Peer::server(Raw::of(raw.socket.try_clone().unwrap()), files, BOTH[0]);
        peer.get_or_insert_with(new).hear();
        false
    })
}

const WS: &str = "ws://127.0.0.1:PORT/";
const WSS: &str = "wss://localhost:PORT/";

#[test]
fn who_is_not_reached() {
    let (plain, nothing) = (Connect::default(), || does(|_| ()));
    let nobody = format!("ws://127.0.0.1:{}/", RawListener::new().port);
    let text = |place: &str, why: &str| format!("the connection could not be made: {place}: {why}");
    let refused = text(nobody.trim_matches(['w', 's', ':', '/']), "Connection refused");
    fails("refused", &nobody, &plain, nothing(), (Unreachable, libc::ECONNREFUSED, &refused));
    // No packet leaves for it.
    let unreachable = text("255.255.255.255:80", "Network is unreachable");
    fails("unreachable", "ws://255.255.255.255/", &plain, nothing(), (Unreachable, libc::ENETUNREACH, &unreachable));
    let missing = text("unix:/nowhere/at/all", "No such file or directory (os error 2)");
    fails("no socket", "ws+unix:/nowhere/at/all:/", &plain, nothing(), (Unreachable, libc::ENOENT, &missing));
    let (hole, _fillers) = black_hole();
    let hole = format!("ws://127.0.0.1:{}/", hole.port);
    let late = "the handshake took too long (60 ms), connecting";
    fails("connect timeout", &hole, &plain, nothing(), (HandshakeTimeout, 0, late));
}

/// Without a network it is another line, so only its beginning is compared.
#[test]
fn who_has_no_address() {
    let mut dialled = Dialled::with(|_| "wss://example.invalid/".to_owned(), Connect::default(), |_| {});
    let end = dialled.end();
    assert_eq!((end.cause, end.os_error, end.opened), (Dns, 0, false));
    let text = end.text();
    let why = text.strip_prefix("the name could not be resolved: example.invalid: ").expect(text);
    assert!(["no such name", "no name server answers now, try again"].contains(&why), "{}", end.text());
}

#[test]
fn who_is_not_trusted() {
    let (ca, other) = (Ca::new("trusted"), Ca::new("stranger"));
    let how = trusting(ca.client());
    let day = |year| rcgen::date_time_ymd(year, 1, 31);
    let expired = ca.issue_with("expired", &["localhost"], |params| params.not_after = day(2001));
    let early = ca.issue_with("early", &["localhost"], |params| params.not_before = day(2999));
    let names = ca.issue("names", &["example.org", "*.example.org"]);
    let stranger = other.issue("stranger", &["localhost"]);
    for (what, files, alert, text) in [
        ("expired", &expired, 45, "TLS failed: the certificate expired on 2001-01-31"),
        ("not valid yet", &early, 45, "TLS failed: the certificate is not valid before 2999-01-31"),
        ("unknown issuer", &stranger, 48, "TLS failed: nobody that is trusted here has issued the certificate"),
        (
            "wrong name",
            &names,
            42,
            "TLS failed: the certificate is for example.org, *.example.org, not for localhost",
        ),
    ] {
        fails(what, WSS, &how, shows(files), (Tls, alert, text));
    }
    let text = "TLS failed: the certificate is for example.org, *.example.org, not for 127.0.0.1";
    fails("an address", "wss://127.0.0.1:PORT/", &how, shows(&names), (Tls, 42, text));
    // It is the other who does not want to.
    let alert = does(|server| server.say(b"\x15\x03\x03\0\x02\x02\x28"));
    let text = "TLS failed: the peer sent alert 40 (handshake_failure): there is nothing that both sides can use";
    fails("an alert", WSS, &how, alert, (Tls, 40, text));
}

#[test]
fn who_does_not_want_it() {
    for (status, words) in [
        ("401 No", "401 (Unauthorized)"),
        ("403 No", "403 (Forbidden)"),
        ("404 No", "404 (Not Found)"),
        ("503 No", "503 (Service Unavailable)"),
        ("301 There", "301 (Moved Permanently)"),
        ("200 OK", "200 (OK)"),
        ("599 What", "599"),
    ] {
        let answer = format!("HTTP/1.1 {status}\r\nLocation: http://there/\r\nContent-Length: 0\r\n\r\n");
        let text = format!("the server refused the handshake with status {words}");
        let code = status[..3].parse().unwrap();
        fails(status, WS, &Connect::default(), answers(&answer), (Refused, code, &text));
    }
}

#[test]
fn who_answers_wrongly() {
    let upgrade = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    let accept = format!("{upgrade}Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
    let no_upgrade = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n";
    let (plain, chat) = (Connect::default(), Connect { protocols: vec!["chat".to_owned()], ..Connect::default() });
    for (how, answer, rule) in [
        (&plain, &*accept, "RFC 6455 4.1: the answer's Sec-WebSocket-Accept does not fit the key"),
        (&plain, no_upgrade, "RFC 6455 4.1: the answer's header Upgrade is not websocket"),
        (&chat, "{welcome}", "RFC 6455 4.1: the answer chooses none of the subprotocols that were offered"),
    ] {
        let text = format!("the peer broke a rule of the protocol at byte 0: {rule}, before it was open");
        fails(rule, WS, how, answers(answer), (Protocol, 0, &text));
    }
}

#[test]
fn who_speaks_something_else() {
    let ca = Ca::new("else");
    let (plain, tls) = (Connect::default(), trusting(ca.client()));
    let broke = |rule: &str| format!("the peer broke a rule of the protocol at byte 0: {rule}, before it was open");
    let (begin, control) = (
        broke("RFC 9112 4: the answer begins with HTTP/1.1 STATUS"),
        broke("RFC 9110 5.5: the head holds no NUL and no other control character"),
    );
    let ssh = does(|server| server.say(b"SSH-2.0-OpenSSH_9.2p1\r\n"));
    fails("a shell", WS, &plain, ssh, (Protocol, 0, &begin));
    let alert = does(|server| server.say(&[21, 3, 1, 0, 2, 2, 70]));
    fails("TLS at a plain port", WS, &plain, alert, (Protocol, 0, &control));
    let text = "TLS failed: the peer does not speak TLS (its first bytes are \"HTTP/1.1 400 Bad\")";
    let http = does(|server| server.say(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    fails("HTTP at an encrypted port", WSS, &tls, http, (Tls, 50, text));
}

#[test]
fn who_says_nothing_or_goes() {
    let ca = Ca::new("nothing");
    let (plain, tls) = (Connect::default(), trusting(ca.client()));
    let nothing = || does(|_| ());
    let late = "the handshake took too long (60 ms), ";
    let text = format!("{late}in the TLS handshake");
    fails("TLS timeout", WSS, &tls, nothing(), (HandshakeTimeout, 0, &text));
    let text = format!("{late}waiting for the server's answer");
    fails("answer timeout", WS, &plain, nothing(), (HandshakeTimeout, 0, &text));

    let ended = "the peer ended the stream without a Close frame";
    let text = format!("{ended}, before it was open");
    fails("the end", WS, &plain, does(|server| server.end()), (Eof, 0, &text));
    let half = does(|server| {
        server.say(b"HTTP/1.1 101 Switch");
        server.end();
    });
    fails("the end of half an answer", WS, &plain, half, (Eof, 0, &text));
    let text = format!("{ended}, in the middle of the TLS handshake, before it was open");
    fails("the end in TLS", WSS, &tls, does(|server| server.end()), (Eof, 0, &text));
}
