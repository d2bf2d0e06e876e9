//! Through proxies: HTTP CONNECT and SOCKS5, with and without a login, and those that are no good.

mod common;

use common::dialled::Dialled;
use common::raw::wait_for;
use common::tls::{Ca, listen, trusting};
use common::*;
use dari::{Cause, Close, Connect, Limits, Listen, Loop, Message};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

// --- a proxy of each kind, for as long as the process lives -------------------------------------------------------

/// What proxies were asked for: "localhost:80".
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<String>>>);

fn proxy(serve: impl Fn(TcpStream) -> Option<()> + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
    port
}

fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

fn exactly<const N: usize>(stream: &mut TcpStream) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).ok().map(|()| bytes)
}

/// A text with its length before it.
fn text(stream: &mut TcpStream) -> Option<String> {
    let [len] = exactly(stream)?;
    let mut text = vec![0; len.into()];
    stream.read_exact(&mut text).ok()?;
    String::from_utf8(text).ok()
}

/// Every name leads to this machine: who resolves is the proxy.
fn relay(client: TcpStream, port: u16) {
    let copy = |mut from: TcpStream, mut to: TcpStream| {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let (other_client, other_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || copy(other_server, other_client));
    copy(client, server);
}

/// An HTTP proxy, which wants this header if there is one.
fn http_proxy(asked: &Asked, wanted: Option<&'static str>) -> u16 {
    let asked = asked.clone();
    proxy(move |mut stream| {
        let head = read_head(&mut stream)?;
        let target = head.strip_prefix("CONNECT ")?.split(' ').next()?.to_owned();
        assert!(head.contains(&format!("\r\nHost: {target}\r\n")), "{head}");
        let port = target.rsplit(':').next()?.parse().ok()?;
        asked.0.lock().unwrap().push(target);
        let login = head.lines().find(|line| line.starts_with("Proxy-Authorization: "));
        if login != wanted {
            let _ = stream.write_all(b"HTTP/1.1 407 Who\r\nContent-Length: 3\r\n\r\nwho");
            return None;
        }
        // Not all at once, and with an interim answer.
        for piece in ["HTTP/1.1 103 Wait\r\n\r\nHTT", "P/1.1 200 Here you are\r\nContent-Length: 9\r\n\r", "\n"] {
            stream.write_all(piece.as_bytes()).ok()?;
        }
        relay(stream, port);
        Some(())
    })
}

/// A SOCKS5 proxy, which wants this login if there is one.
fn socks_proxy(asked: &Asked, wanted: Option<(&'static str, &'static str)>) -> u16 {
    let asked = asked.clone();
    proxy(move |mut stream| {
        let [version, count] = exactly(&mut stream)?;
        let mut methods = vec![0; count.into()];
        stream.read_exact(&mut methods).ok()?;
        let method = if wanted.is_some() { 2 } else { 0 };
        if version != 5 || !methods.contains(&method) {
            let _ = stream.write_all(&[5, 0xff]);
            return None;
        }
        stream.write_all(&[5, method]).ok()?;
        if let Some((user, password)) = wanted {
            let [_version] = exactly(&mut stream)?;
            let is_right = text(&mut stream)? == user && text(&mut stream)? == password;
            stream.write_all(&[1, u8::from(!is_right)]).ok()?;
            is_right.then_some(())?;
        }
        let [_, _, _, kind] = exactly(&mut stream)?;
        let host = match kind {
            1 => Ipv4Addr::from(exactly::<4>(&mut stream)?).to_string(),
            _ => text(&mut stream)?,
        };
        let port = u16::from_be_bytes(exactly(&mut stream)?);
        asked.0.lock().unwrap().push(format!("{host}:{port}"));
        // Its own address is a name, in one, and comes in pieces.
        stream.write_all(&[5, 0, 0, 3, 4, b'h']).ok()?;
        stream.write_all(b"ere\0P").ok()?;
        relay(stream, port);
        Some(())
    })
}

// --- through them -------------------------------------------------------------------------------------------------

const BASIC: &str = "Proxy-Authorization: Basic bWU6c2VjcmV0";

/// A URL, and the one proxy to reach it by.
fn through(proxy: String, how: Connect) -> Connect {
    Connect { proxy: Some(proxy), ..how }
}

#[test]
fn messages_pass_through_either_kind_encrypted_or_not() {
    let ca = Ca::new("through");
    let tls = ca.issue("server", &["inside.test", "127.0.0.1"]).server();
    let mut bench = Bench::of(dari::Config::default(), listen(tls), Log::default(), Box::new(PlainEcho));
    let plain = bench.net().listen("127.0.0.1:0", Listen::default(), Box::new(PlainEcho)).unwrap();
    let plain = bench.net().listener_port(plain).unwrap();
    let asked = Asked::default();
    let proxies = [
        format!("http://127.0.0.1:{}", http_proxy(&asked, None)),
        format!("http://me:secret@localhost:{}/", http_proxy(&asked, Some(BASIC))),
        format!("socks5://localhost:{}", socks_proxy(&asked, None)),
        format!("socks5h://me:secret@127.0.0.1:{}", socks_proxy(&asked, Some(("me", "secret")))),
    ];
    for proxy in proxies {
        for (scheme, port) in [("wss", bench.port), ("ws", plain)] {
            for host in ["inside.test", "127.0.0.1"] {
                let heard = Log::default();
                let url = format!("{scheme}://{host}:{port}/");
                let how = through(proxy.clone(), trusting(ca.client()));
                let conn = bench.net().connect(&url, how, Box::new(Hooks::quiet(&heard))).unwrap();
                bench.until(&format!("{url} by {proxy}"), |_| heard.opens() + heard.closes() == 1);
                let data = pattern(300_000);
                bench.net().send(conn, Message::binary(&data)).unwrap();
                bench.until("an echo", |_| heard.messages() == 1);
                assert!(heard.payloads()[0] == data);
                bench.net().close(conn, 1000, "").unwrap();
                bench.until("the end", |_| heard.closes() == 1);
                let end = heard.end();
                assert_eq!((end.cause, end.was_clean), (Cause::Local, true), "{}", end.text());
                assert_eq!(asked.0.lock().unwrap().pop(), Some(format!("{host}:{port}")));
            }
        }
    }
}

/// Dials through a proxy, and tells how it ended.
fn end_by(proxy: String, url: &str, how: Connect) -> Close {
    let (mut event_loop, heard) = (Loop::new(dari::Config::default()).unwrap(), Log::default());
    event_loop.net().connect(url, through(proxy, how), Box::new(Hooks::quiet(&heard))).unwrap();
    wait_for("the end", || {
        event_loop.turn(Some(10)).unwrap();
        (heard.closes() == 1).then_some(())
    });
    heard.end()
}

#[test]
fn a_login_that_is_missing_or_wrong_is_told() {
    let asked = Asked::default();
    let (http, socks) = (http_proxy(&asked, Some(BASIC)), socks_proxy(&asked, Some(("me", "secret"))));
    for (proxy, words) in [
        (format!("http://127.0.0.1:{http}"), "407 Proxy Authentication Required"),
        (format!("http://me:wrong@127.0.0.1:{http}"), "407 Proxy Authentication Required"),
        (format!("socks5://127.0.0.1:{socks}"), "wants a user name and a password"),
        (format!("socks5://me:wrong@127.0.0.1:{socks}"), "refused the user name or the password"),
    ] {
        let end = end_by(proxy.clone(), "ws://inside.test/", Connect::default());
        assert_eq!((end.cause, end.status, end.opened), (Cause::Proxy, 407, false), "{}", end.text());
        assert!(end.text().contains(words) && !end.text().contains("wrong"), "{proxy}: {}", end.text());
    }
}

#[test]
fn a_proxy_that_is_no_good_is_told_apart_from_the_server() {
    let says = |bytes: &'static [u8]| {
        proxy(move |mut stream| {
            let mut some = [0; 3];
            stream.read_exact(&mut some).ok()?;
            stream.write_all(bytes).ok()?;
            // It reads on, so that nothing is reset.
            std::io::copy(&mut stream, &mut std::io::sink()).ok()?;
            Some(())
        })
    };
    let ends = |bytes: &'static [u8]| {
        proxy(move |mut stream| {
            stream.write_all(bytes).ok()?;
            stream.shutdown(Shutdown::Write).ok()?;
            std::io::copy(&mut stream, &mut std::io::sink()).ok()?;
            Some(())
        })
    };
    let long: &'static [u8] =
        Box::leak([&b"HTTP/1.1 200 OK\r\nA: "[..], &[b'a'; 40_000]].concat().into_boxed_slice());
    let cases: [(&str, u16, u16, &str); 15] = [
        ("http", says(b"HTTP/1.1 403 No\r\n\r\n"), 403, "403 Forbidden"),
        ("http", says(b"HTTP/1.0 502 \r\nContent-Length: 100000\r\n\r\nno"), 502, "502 Bad Gateway"),
        ("http", says(b"SSH-2.0-OpenSSH\r\n"), 0, "no HTTP proxy"),
        ("http", says(b"\x05\xff"), 0, "no HTTP proxy"),
        ("http", says(b"HTTP/1.1 OK\r\n\r\n"), 0, "has no HTTP status"),
        ("http", says(long), 0, "longer than 16384 bytes"),
        ("http", ends(b""), 0, "before it had answered"),
        ("http", ends(b"HTTP/1.1 200 OK\r\n"), 0, "before it had answered"),
        ("socks5", says(b"\x05\x00\x05\x02\x00\x01\0\0\0\0\0\0"), 403, "its rules do not allow it"),
        ("socks5", says(b"\x05\x00\x05\x05\x00\x01\0\0\0\0\0\0"), 0, "the connection was refused (reply 5)"),
        ("socks5", says(b"HTTP/1.1 400 What\r\n\r\n"), 0, "no SOCKS5 proxy"),
        ("socks5", says(b"\x05\x07"), 0, "was not offered"),
        ("socks5", says(b"\x05\x00\x05\x00\x00\x09\0"), 0, "address of a kind that is not known"),
        ("socks5", ends(b"\x05"), 0, "before it had answered"),
        ("socks5", ends(b"\x05\x00\x05\x00\x00\x01\0"), 0, "before it had answered"),
    ];
    for (kind, port, status, words) in cases {
        for url in ["ws://inside.test/", "wss://inside.test/"] {
            let ca = Ca::new("no-good");
            let end = end_by(format!("{kind}://127.0.0.1:{port}"), url, trusting(ca.client()));
            assert_eq!((end.cause, end.status, end.opened), (Cause::Proxy, status, false), "{}", end.text());
            assert!(end.text().contains(words), "{kind}, {words:?}: {}", end.text());
        }
    }
    // Nobody there, and one that says nothing.
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let end = end_by(format!("http://{nobody}"), "ws://inside.test/", Connect::default());
    assert_eq!((end.cause, end.os_error), (Cause::Connect, libc::ECONNREFUSED));
    assert!(end.text().contains(&format!("the proxy {nobody}: Connection refused")), "{}", end.text());
    let end = end_by("http://proxy.example.invalid".to_owned(), "ws://inside.test/", Connect::default());
    assert_eq!(end.cause, Cause::Dns);
    assert!(end.text().contains("the proxy proxy.example.invalid: "), "{}", end.text());
    for kind in ["http", "socks5"] {
        let silent = format!("{kind}://127.0.0.1:{}", says(b""));
        let limits = Limits { handshake_ms: 80, ..Limits::default() };
        let end = end_by(silent, "ws://inside.test/", Connect { limits, ..Connect::default() });
        assert_eq!(end.cause, Cause::HandshakeTimeout);
        assert!(end.text().contains("asking the proxy"), "{}", end.text());
    }
}

/// What comes in one piece with the proxy's last word is the server's: and of a server with TLS nothing comes so early.
#[test]
fn bytes_behind_the_answer_are_the_servers_and_never_pass_for_encrypted_ones() {
    let ca = Ca::new("behind");
    let refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    for scheme in ["ws", "wss"] {
        for kind in ["http", "socks5"] {
            let mut dialled = Dialled::with(
                |_| format!("{scheme}://inside.test/"),
                trusting(ca.client()),
                |(how, port)| how.proxy = Some(format!("{kind}://127.0.0.1:{port}")),
            );
            let mut server = dialled.accept();
            dialled.until("its first words", |_| (server.hear_some(1 << 10) > 0).then_some(()));
            if kind == "http" {
                server.say(["HTTP/1.1 200 OK\r\n\r\n", refusal].concat().as_bytes());
            } else {
                server.say(&[&b"\x05\x00\x05\x00\x00\x01\0\0\0\0\0\0"[..], refusal.as_bytes()].concat());
            }
            let end = dialled.end();
            if scheme == "ws" {
                assert_eq!((end.cause, end.status), (Cause::Refused, 403), "{kind}: {}", end.text());
            } else {
                assert_eq!((end.cause, end.status), (Cause::Tls, 0), "{kind}: {}", end.text());
                assert!(
                    end.text().contains("does not speak TLS (its first bytes are \"HTTP/1.1 403"),
                    "{}",
                    end.text()
                );
            }
        }
    }
}

#[test]
fn the_environment_is_asked_if_that_is_wanted_and_never_else() {
    const NAME: &str = "the_environment_is_asked_if_that_is_wanted_and_never_else";
    if std::env::var(ALONE).is_err() {
        let asked = Asked::default();
        let proxy = format!("http://me:secret@127.0.0.1:{}", http_proxy(&asked, Some(BASIC)));
        let environment = [("http_proxy", &*proxy), ("https_proxy", &proxy), ("no_proxy", "exempt.test,127.0.0.1")];
        alone_with(NAME, &environment, || {});
        let asked: Vec<_> =
            asked.0.lock().unwrap().iter().map(|target| target.split(':').next().unwrap().to_owned()).collect();
        assert_eq!(asked, ["plain.test", "secure.test"]);
        return;
    }
    let ca = Ca::new("environment");
    let files = ca.issue("server", &["secure.test"]);
    let mut bench = Bench::new(listen(files.server()), Hooks::quiet);
    let plain = bench.net().listen("127.0.0.1:0", Listen::default(), Box::new(PlainEcho)).unwrap();
    let plain = bench.net().listener_port(plain).unwrap();
    let sealed = bench.port;
    let mut come = |url: String, proxy: Option<&str>| {
        let heard = Log::default();
        let how = Connect { proxy: proxy.map(str::to_owned), ..trusting(ca.client()) };
        bench.net().connect(&url, how, Box::new(Hooks::quiet(&heard))).unwrap();
        bench.until(&url, |_| heard.opens() + heard.closes() > 0);
        heard.opens() == 1
    };
    assert!(come(format!("ws://plain.test:{plain}/"), Some("env")));
    assert!(come(format!("wss://secure.test:{sealed}/"), Some("env")));
    assert!(come(format!("ws://127.0.0.1:{plain}/"), Some("env")), "which is exempt");
    assert!(come(format!("ws://127.0.0.1:{plain}/"), None));
    assert!(!come(format!("ws://exempt.test:{plain}/"), Some("env")), "it is nobody's name");
    assert!(!come(format!("ws://plain.test:{plain}/"), None));
}
