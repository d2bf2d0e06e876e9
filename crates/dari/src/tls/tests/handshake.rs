//! Who is let in, who is not, and what is said then.

use super::*;
use crate::{Config, Connect, Handler, Level, Listen, Log, Loop};
use rcgen::ExtendedKeyUsagePurpose;
use rustls::{HandshakeKind, ProtocolVersion};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

#[test]
fn both_versions_are_spoken_with_http_inside() {
    for version in BOTH {
        let mut pair = open(version);
        for end in [&mut pair.client, &mut pair.server] {
            let common = end.session.side.common();
            assert_eq!(common.protocol_version(), Some(version.version));
            assert_eq!(common.alpn_protocol(), Some(&b"http/1.1"[..]));
        }
        pair.client.send(b"question");
        pair.server.send(b"answer");
        pair.talk();
        assert_eq!((&pair.server.got[..], &pair.client.got[..]), (&b"question"[..], &b"answer"[..]));
    }
}

#[test]
fn the_newer_version_is_taken_if_both_have_it() {
    let ca = Ca::new("test");
    let mut pair = Pair::new(&trusting(&ca), "localhost", &ca.issue(&["localhost"]).tls());
    pair.talk().must_be_open();
    assert_eq!(pair.server.session.side.common().protocol_version(), Some(ProtocolVersion::TLSv1_3));
}

#[test]
fn a_client_may_say_nothing_of_protocols_but_not_name_only_others() {
    let ca = Ca::new("test");
    let server = ca.issue(&["localhost"]).tls();
    let silent = with_client(&trusting(&ca), |config| config.alpn_protocols.clear());
    let mut pair = Pair::new(&silent, "localhost", &server);
    pair.talk().must_be_open();
    let other = with_client(&trusting(&ca), |config| config.alpn_protocols = vec![b"h2".to_vec()]);
    let (text, sent, received) = Pair::new(&other, "localhost", &server).how_it_failed();
    assert_eq!(text, "the peer offers protocols (ALPN), and http/1.1 is not one of them");
    assert_eq!((sent, received), (120, 120));
}

#[test]
fn a_certificate_that_does_not_do_is_refused_with_the_reason() {
    let (ca, stranger, namesake) = (Ca::new("test"), Ca::new("other"), Ca::new("test"));
    let made = ca.issue(&["example.org", "*.example.com", "192.0.2.1"]);
    let for_clients = ca.issue_with(&["localhost"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let bare = ca.issue(&[]);
    let trust = trusting(&ca);
    let year = 365 * 86_400;
    let cases = [
        (&made, at(&trust, 3_000 * year), "example.org", "the certificate expired on 4096-01-01", 45),
        (&made, at(&trust, year), "example.org", "the certificate is not valid before 1975-01-01", 45),
        (
            &made,
            trust.clone(),
            "localhost",
            "the certificate is for example.org, *.example.com, 192.0.2.1, not for localhost",
            42,
        ),
        (
            &made,
            trust.clone(),
            "127.0.0.1",
            "the certificate is for example.org, *.example.com, 192.0.2.1, not for 127.0.0.1",
            42,
        ),
        (&bare, trust.clone(), "a.example", "the certificate is for no name at all, not for a.example", 42),
        (&made, trusting(&stranger), "example.org", "nobody that is trusted here has issued the certificate", 48),
        (
            &made,
            trusting(&namesake),
            "example.org",
            "a signature does not fit: the certificate, or its key, is not who it says",
            51,
        ),
        (
            &for_clients,
            trust.clone(),
            "localhost",
            "the certificate is not made for this: for client authentication, and not for server authentication",
            43,
        ),
    ];
    for (made, client, host, text, alert) in &cases {
        for version in BOTH {
            let mut pair = Pair::new(client, host, &only(&made.tls(), version));
            assert_eq!(pair.how_it_failed(), ((*text).to_owned(), *alert, *alert), "{host} {:?}", version.version);
            assert!(pair.server.failure.unwrap().text.starts_with(&format!("the peer sent alert {alert} (")));
        }
    }
    // And one that does.
    for host in ["example.org", "EXAMPLE.org", "a.example.com", "192.0.2.1"] {
        Pair::new(&trust, host, &made.tls()).talk().must_be_open();
    }
}

#[test]
fn without_a_version_in_common_both_know_why() {
    let ca = Ca::new("test");
    let server = ca.issue(&["localhost"]).tls();
    let old = only_client(&ca, &TLS12);
    let (text, sent, received) = Pair::new(&old, "localhost", &only(&server, &TLS13)).how_it_failed();
    assert_eq!(text, "the peer and this side have no common version: this side speaks TLS 1.2 and 1.3");
    assert_eq!((sent, received), (70, 70));

    // The first words of TLS 1.1: no extensions, one cipher (RFC 4346 7.4.1.2).
    let mut hello = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
    let mut end = End::new(Session::server(&server).unwrap(), Vec::new());
    end.take(hello, &mut || usize::MAX);
    let text = "the peer names no kinds of signature, as those do who speak nothing newer than TLS 1.1".to_owned();
    assert_eq!(end.failure, Some(TlsFailure { alert: 40, received: false, is_memory: false, text }));
}

fn only_client(ca: &Ca, version: &'static SupportedProtocolVersion) -> Tls {
    let Ready::Client(config) = trusting(ca).ready() else { panic!("a client") };
    let mut roots = RootCertStore::empty();
    roots.add(ca.0.der().clone()).unwrap();
    let provider = Arc::clone(config.crypto_provider());
    ready(Ready::Client(Arc::new(client_config(roots, None, provider, &[version]).unwrap())))
}

#[test]
fn clients_show_certificates_as_the_server_asks() {
    let (ca, stranger) = (Ca::new("test"), Ca::new("other"));
    let folder = Folder::new("client-ca");
    let file = folder.put("ca.pem", ca.pem());
    let (good, bad) = (ca.issue(&["client"]), stranger.issue(&["client"]));
    let none = (false, "");
    // Required, what is shown, and what becomes of it: open or not, and why.
    let cases = [
        (true, Some(&good), (true, "")),
        (false, Some(&good), (true, "")),
        (false, None, (true, "")),
        (true, None, (none.0, "the peer showed no certificate, and needs one here")),
        (true, Some(&bad), (none.0, "nobody that is trusted here has issued the certificate")),
        (false, Some(&bad), (none.0, "nobody that is trusted here has issued the certificate")),
    ];
    for (required, own, (is_open, text)) in cases {
        for version in BOTH {
            let server = ca.issue(&["localhost"]).tls();
            server.client_ca(&file, required).unwrap();
            // Who shows what nobody asked it for would make this test blind.
            let client = with_client(&trusting_with(&ca, own), |config| {
                if let Some(Made { cert, key, .. }) = own {
                    let key = Identity::parse(cert.as_bytes(), key.as_bytes()).unwrap().key;
                    config.client_auth_cert_resolver = Arc::new(Always(key));
                }
            });
            let mut pair = Pair::new(&client, "localhost", &only(&server, version));
            if is_open {
                pair.talk().must_be_open();
                let shown = pair.server.session.peer_certificate();
                assert_eq!(shown, own.map(|made| &made.der[..]));
            } else {
                let (why, sent, received) = pair.how_it_failed();
                assert_eq!(why, text);
                assert_eq!(sent, received);
            }
        }
    }
}

/// Shows its certificate even to those who would not trust it.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl rustls::client::ResolvesClientCert for Always {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[test]
fn the_second_connection_resumes_the_first() {
    let ca = Ca::new("test");
    for version in BOTH {
        let (client, server) = (trusting(&ca), only(&ca.issue(&["localhost"]).tls(), version));
        let mut kinds = Vec::new();
        for _ in 0..3 {
            let mut pair = Pair::new(&client, "localhost", &server);
            pair.talk().must_be_open();
            pair.client.send(b"hello");
            pair.talk();
            assert_eq!(pair.server.got, b"hello");
            kinds.push(pair.server.session.side.common().handshake_kind().unwrap());
        }
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed]);
    }
}

#[test]
fn who_does_not_speak_tls_is_told_so() {
    let ca = Ca::new("test");
    let (client, server) = (trusting(&ca), ca.issue(&["localhost"]).tls());
    for cut in [usize::MAX, 1] {
        let shown = if cut == 1 { "GET /" } else { "GET / HTTP/1.1\\r\\n" };
        let mut end = End::new(Session::server(&server).unwrap(), Vec::new());
        end.take(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), &mut || cut);
        let text = format!("the peer does not speak TLS (its first bytes are \"{shown}\")");
        assert_eq!(end.failure, Some(TlsFailure { alert: 50, received: false, is_memory: false, text }));
        assert_eq!(end.out, [21, 3, 3, 0, 2, 2, 50]);
    }
    let mut pair = Pair::new(&client, "localhost", &server);
    pair.client.take(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), &mut || usize::MAX);
    let failure = pair.client.failure.unwrap();
    assert_eq!(failure.text, "the peer does not speak TLS (its first bytes are \"HTTP/1.1 400 Bad\")");
    // A header is enough, whatever in it is wrong: it would announce 8 KiB, or too much.
    for header in [[0xff, 3, 3, 32, 0], [22, 99, 3, 32, 0], [22, 3, 3, 255, 0]] {
        let mut end = End::new(Session::server(&server).unwrap(), Vec::new());
        end.take(header.to_vec(), &mut || 1);
        assert!(end.failure.is_some() && end.out == [21, 3, 3, 0, 2, 2, 50]);
    }
}

#[test]
fn one_role_does_not_do_for_the_other() {
    let ca = Ca::new("test");
    let (client, server) = (trusting(&ca), ca.issue(&["localhost"]).tls());
    assert!(matches!(Session::server(&client), Err(Error::Argument(_))));
    assert!(matches!(Session::client(&server, "localhost", &mut Vec::new()), Err(Error::Argument(_))));
    assert!(matches!(client.add_pem(b"", b""), Err(Error::Argument(_))));
    assert!(matches!(client.client_ca("ca.pem", true), Err(Error::Argument(_))));
    for host in ["", "exa mple.org", "-", "a..b", "[::1]", "\0"] {
        let refused = Session::client(&client, host, &mut Vec::new()).err();
        assert_eq!(refused, Some(Error::Argument(format!("{host:?} is neither a host name nor an address"))));
    }
}

#[test]
fn the_log_tells_which_connections_resumed_another() {
    struct Quiet;
    impl Handler for Quiet {}
    let ca = Ca::new("test");
    for (version, words) in BOTH.into_iter().zip(["open, TLS 1.3", "open, TLS 1.2"]) {
        let opens = Rc::new(RefCell::new(Vec::new()));
        let heard = Rc::clone(&opens);
        let log = Log::new(Level::Debug, move |_, line| {
            if line.event == "open" {
                heard.borrow_mut().push(line.text.clone());
            }
        });
        let mut event_loop = Loop::new(Config { log: Some(log), ..Config::default() }).unwrap();
        let server = only(&ca.issue(&["localhost"]).tls(), version);
        let how = Listen { tls: Some(server), ..Listen::default() };
        let listener = event_loop.net().listen("127.0.0.1:0", how, Box::new(Quiet)).unwrap();
        let url = format!("wss://localhost:{}/", event_loop.net().listener_port(listener).unwrap());
        let client = trusting(&ca);
        let start = Instant::now();
        for round in 1..=3 {
            let how = Connect { tls: Some(client.clone()), ..Connect::default() };
            let conn = event_loop.net().connect(&url, how, Box::new(Quiet)).unwrap();
            while opens.borrow().len() < 2 * round {
                assert!(start.elapsed() < Duration::from_secs(20), "{:?}", opens.borrow());
                event_loop.turn(Some(1)).unwrap();
            }
            event_loop.net().abort(conn).unwrap();
        }
        // Both sides of each.
        let resumed = format!("{words}, resumed");
        assert_eq!(*opens.borrow(), [words, words, &resumed, &resumed, &resumed, &resumed]);
    }
}
