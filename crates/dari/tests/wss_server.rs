//! What a server with TLS shows and asks for, what it serves besides WebSockets, and what it costs.

mod common;

use common::raw::{BINARY, HELLO, Raw, TEXT, frame, next_head};
use common::system::memory;
use common::tls::{BOTH, Ca, Peer, Version, listen, open, trusting};
use common::*;
use dari::{By, Cause, Close, Config, ConnId, Limits, Listen, Message, Tls};
use rustls::AlertDescription;
use std::fs;

fn dial(bench: &mut Bench, tls: Tls, hooks: Hooks) -> ConnId {
    let url = format!("wss://localhost:{}/", bench.port);
    bench.net().connect(&url, trusting(tls), Box::new(hooks)).unwrap()
}

/// The certificate that a client is shown who asks for `name`.
fn shown(bench: &mut Bench, ca: &Ca, version: Version, name: &str) -> Vec<u8> {
    let mut peer = Peer::client_with(bench.raw(), ca, version, name, None);
    bench.until("a handshake", |_| {
        peer.hear();
        !peer.tls.is_handshaking()
    });
    peer.tls.peer_certificates().unwrap()[0].to_vec()
}

// --- certificates -----------------------------------------------------------------------------------------------

#[test]
fn each_name_is_shown_its_certificate_and_all_others_the_first() {
    let ca = Ca::new("names");
    let first = ca.issue("first", &["localhost", "other.test"]);
    let (a, b) = (ca.issue("a", &["a.test"]), ca.issue("b", &["*.b.test", "b.test"]));
    let tls = first.server();
    tls.add(&a.cert, &a.key).unwrap();
    let mut bench = Bench::new(listen(tls.clone()), Hooks::quiet);
    for version in BOTH {
        assert_eq!(shown(&mut bench, &ca, version, "a.test"), a.der);
        assert_eq!(shown(&mut bench, &ca, version, "localhost"), first.der);
        assert_eq!(shown(&mut bench, &ca, version, "other.test"), first.der);
    }
    // While it listens, too.
    tls.add(&b.cert, &b.key).unwrap();
    assert_eq!(shown(&mut bench, &ca, BOTH[0], "b.test"), b.der);
    assert_eq!(shown(&mut bench, &ca, BOTH[0], "x.b.test"), b.der);
}

#[test]
fn new_certificates_are_for_new_connections_and_a_broken_file_changes_nothing() {
    let ca = Ca::new("reload");
    let old = ca.issue("server", &["localhost"]);
    let tls = old.server();
    let mut bench = Bench::of(Config::default(), listen(tls.clone()), Log::default(), Box::new(PlainEcho));
    let mut peers: Vec<Peer> = (0..200).map(|i| open(&mut bench, &ca, BOTH[i % 2])).collect();
    let echo = |bench: &mut Bench, peers: &mut Vec<Peer>, text: &str| {
        peers.iter_mut().for_each(|peer| peer.say(&frame(TEXT, text.as_bytes())));
        for peer in peers {
            bench.until("an echo", |_| peer.take_frame().is_some_and(|(_, data)| data == text.as_bytes()));
        }
    };
    echo(&mut bench, &mut peers, "before");
    assert_eq!(shown(&mut bench, &ca, BOTH[0], "localhost"), old.der);

    // The same files hold another certificate: nothing happens until it is asked for.
    let new = ca.issue("server", &["localhost"]);
    assert_eq!(shown(&mut bench, &ca, BOTH[0], "localhost"), old.der);
    // Some are in the middle of their handshake: they go on with what they have been shown.
    let mut half = Peer::client(bench.raw(), &ca, BOTH[1]);
    half.say(HELLO);
    bench.until("the middle", |_| {
        half.raw.hear();
        !half.raw.got.is_empty()
    });
    tls.reload().unwrap();
    for version in BOTH {
        assert_eq!(shown(&mut bench, &ca, version, "localhost"), new.der);
    }
    bench.until("the one in the middle opens", |_| half.take_head().is_some());
    assert_eq!(half.tls.peer_certificates().unwrap()[0].to_vec(), old.der);
    echo(&mut bench, &mut peers, "after");

    // Broken ones in turn; the error says which file, and all is as it was.
    let (cert, key) = (fs::read(&new.cert).unwrap(), fs::read(&new.key).unwrap());
    let other = ca.issue("other", &["localhost"]);
    let expired =
        ca.issue_with("expired", &["localhost"], |params| params.not_after = rcgen::date_time_ymd(2001, 1, 1));
    let cases = [
        ("empty", Vec::new(), key.clone(), "server.pem", "holds no certificate"),
        ("cut", cert[..cert.len() / 2].to_vec(), key.clone(), "server.pem", "not PEM"),
        ("no key", cert.clone(), cert.clone(), "server.key", "holds no private key"),
        ("another's key", cert.clone(), fs::read(&other.key).unwrap(), "server.key", "does not belong"),
        ("expired", fs::read(&expired.cert).unwrap(), fs::read(&expired.key).unwrap(), "server.pem", "expired"),
    ];
    for (what, bad_cert, bad_key, file, word) in cases {
        fs::write(&new.cert, bad_cert).unwrap();
        fs::write(&new.key, bad_key).unwrap();
        let error = tls.reload().expect_err(what).to_string();
        assert!(error.contains(file) && error.contains(word), "{what}: {error}");
        assert_eq!(shown(&mut bench, &ca, BOTH[0], "localhost"), new.der, "{what}");
    }
    fs::remove_file(&new.cert).unwrap();
    let error = tls.reload().unwrap_err().to_string();
    assert!(error.contains("server.pem") && error.contains("No such file"), "{error}");
    assert_eq!(shown(&mut bench, &ca, BOTH[0], "localhost"), new.der);
    echo(&mut bench, &mut peers, "to the last");
    assert_eq!(bench.net().stats().closes[Cause::Tls as usize], 0);
}

/// A client comes with or without a certificate of its own: what it was told, and whom the server saw.
fn comes(bench: &mut Bench, tls: Tls) -> (Result<(), Close>, Option<Vec<u8>>) {
    let heard = Log::default();
    let conn = dial(bench, tls, Hooks::quiet(&heard));
    let before = bench.log.messages();
    bench.until("an end of it", |bench| {
        if heard.opens() == 1 && bench.log.messages() == before {
            let _ = bench.net().send(conn, Message::text("hi"));
        }
        heard.closes() == 1 || bench.log.messages() > before
    });
    if heard.closes() == 1 {
        return (Err(heard.end()), None);
    }
    let server = bench.log.opened();
    let seen = bench.net().certificate(server).map(<[u8]>::to_vec);
    bench.net().abort(conn).unwrap();
    bench.until("it goes", |bench| bench.net().next(None).is_none());
    (Ok(()), seen)
}

#[test]
fn certificates_of_clients_are_asked_for_and_looked_at() {
    let (ca, others) = (Ca::new("clients"), Ca::new("strangers"));
    let (own, strange) = (ca.issue("own", &["somebody"]), others.issue("strange", &["somebody"]));
    for required in [true, false] {
        let tls = ca.server("localhost");
        tls.client_ca(ca.roots(), required).unwrap();
        let mut bench = Bench::new(listen(tls), Hooks::quiet);
        let (came, seen) = comes(&mut bench, ca.client_as(&own));
        assert!(came.is_ok() && seen == Some(own.der.clone()), "{came:?}");

        let (came, seen) = comes(&mut bench, ca.client());
        if required {
            let end = came.unwrap_err();
            assert_eq!(
                (end.cause, end.by, end.tls_alert, end.opened),
                (Cause::Tls, By::Peer, 116, false),
                "{}",
                end.text()
            );
            assert!(end.text().contains("it wants a certificate, and was shown none"), "{}", end.text());
        } else {
            assert_eq!((came.is_ok(), seen), (true, None));
        }
        let (came, _) = comes(&mut bench, ca.client_as(&strange));
        let end = came.unwrap_err();
        assert_eq!((end.cause, end.by, end.tls_alert), (Cause::Tls, By::Peer, 48), "{}", end.text());
        assert!(end.text().contains("it does not trust who issued the certificate"), "{}", end.text());
    }
}

/// Its alert comes after the client believes that the handshake is over: what the client says then must not destroy it.
#[test]
fn who_is_refused_hears_why_even_if_it_has_said_more() {
    let ca = Ca::new("hears");
    let tls = ca.server("localhost");
    tls.client_ca(ca.roots(), true).unwrap();
    let mut bench = Bench::new(listen(tls), Hooks::quiet);
    for round in 1..=20 {
        let mut peer = Peer::client(bench.raw(), &ca, BOTH[0]);
        bench.until("its part of the handshake", |_| {
            // Not what comes behind it.
            if peer.tls.is_handshaking() {
                peer.hear();
            }
            !peer.tls.is_handshaking()
        });
        bench.turn_for(2);
        peer.say(&[HELLO, &frame(BINARY, &pattern(50_000))].concat());
        bench.turn_for(1);
        // A reset would take with it what was not read yet, on most systems.
        let error = peer.raw.socket.take_error().unwrap();
        assert!(error.is_none(), "{error:?}");
        bench.until("the end", |_| {
            peer.hear();
            peer.raw.ended.is_some()
        });
        assert_eq!(peer.wrong, Some(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)));
        drop(peer);
        bench.until("the end", |bench| bench.net().stats().closes[Cause::Tls as usize] == round);
    }
    assert_eq!(bench.net().stats().memory, 0);
}

// --- besides WebSockets -----------------------------------------------------------------------------------------

/// Reads one answer: its head and as long a body as it says.
fn answer(bench: &mut Bench, peer: &mut Peer) -> (String, Vec<u8>) {
    let mut head = None;
    bench.until_some("an answer", |bench| {
        bench.turn();
        peer.hear_some(100_000);
        head = head.take().or_else(|| next_head(&mut peer.got));
        let line = head.as_ref()?.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let len = line.map_or(0, |len| len.parse().unwrap());
        (peer.got.len() >= len).then(|| (head.clone().unwrap(), peer.got.drain(..len).collect()))
    })
}

#[test]
fn files_are_served_one_after_the_other() {
    let ca = Ca::new("files");
    let folder = ca.at("www");
    fs::create_dir_all(&folder).unwrap();
    let large = pattern(9 << 20);
    fs::write(folder.join("index.html"), "<p>hi").unwrap();
    fs::write(folder.join("large.bin"), &large).unwrap();
    let how = Listen { folder: Some(folder), ..listen(ca.server("localhost")) };
    let mut bench = Bench::new(how, Hooks::quiet);
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for version in BOTH {
        let raw = Raw::connect_narrow(bench.port);
        let mut peer = Peer::client(raw, &ca, version);
        peer.say(get("/").as_bytes());
        let (head, body) = answer(&mut bench, &mut peer);
        assert!(head.starts_with("HTTP/1.1 200 ") && body == b"<p>hi", "{head}");
        // Two at once, then the end of its side: it still gets all of both.
        peer.say([get("/large.bin"), get("/")].concat().as_bytes());
        peer.notify();
        peer.raw.end();
        let (head, body) = answer(&mut bench, &mut peer);
        assert!(head.starts_with("HTTP/1.1 200 ") && body == large, "{head}: {} bytes", body.len());
        assert_eq!(answer(&mut bench, &mut peer).1, b"<p>hi");
        bench.until("its end", |_| {
            peer.hear();
            peer.notified && peer.raw.ended.is_some()
        });
    }
    bench.until("all are gone", |bench| bench.net().stats().memory == 0);
    assert_eq!(bench.log.story(), "");
}

#[test]
fn an_idle_connection_is_ended_in_good_order() {
    let ca = Ca::new("idle");
    let limits = Limits { keep_alive_ms: 50, ..Limits::default() };
    let mut bench = Bench::new(Listen { limits, ..listen(ca.server("localhost")) }, Hooks::quiet);
    let mut peer = Peer::client(bench.raw(), &ca, BOTH[0]);
    peer.say(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(answer(&mut bench, &mut peer).0.starts_with("HTTP/1.1 426 "));
    bench.until("its end", |_| {
        peer.hear();
        peer.raw.ended.is_some()
    });
    assert!(peer.notified);
}

#[test]
fn what_is_published_reaches_plain_and_encrypted_subscribers() {
    let ca = Ca::new("topics");
    let subscribe = |log: &Log| {
        Hooks::new(log, |net: &mut dari::Net, conn, told| {
            if let Told::Open = told {
                net.subscribe(conn, "news").unwrap();
            }
        })
    };
    let mut bench = Bench::new(listen(ca.server("localhost")), subscribe);
    let log = Log::default();
    let plain = bench.net().listen("127.0.0.1:0", Listen::default(), Box::new(subscribe(&log))).unwrap();
    let plain = bench.net().listener_port(plain).unwrap();
    let mut sealed: Vec<Peer> = (0..10).map(|i| open(&mut bench, &ca, BOTH[i % 2])).collect();
    let mut raws: Vec<_> = (0..10).map(|_| Raw::connect(plain)).collect();
    raws.iter_mut().for_each(|raw| raw.say(HELLO));
    bench.until("all are open", |_| log.opens() == 10);
    for raw in &mut raws {
        bench.until("the answer", |_| raw.take_head().is_some());
    }
    for size in [5, 3_000, 100_000, 2 << 20] {
        let data = pattern(size);
        bench.net().publish("news", None, Message::binary(&data)).unwrap();
        for peer in &mut sealed {
            bench.until("the news, encrypted", |_| peer.take_frame().is_some_and(|(_, news)| news == data));
        }
        for raw in &mut raws {
            bench.until("the news, plain", |_| raw.take_frame().is_some_and(|(_, news)| news == data));
        }
    }
}

// --- what it costs ----------------------------------------------------------------------------------------------

#[test]
fn the_memory_of_tls_is_counted_and_given_back() {
    alone("the_memory_of_tls_is_counted_and_given_back", || {
        let ca = Ca::new("counted");
        let how = listen(ca.server("localhost"));
        let mut bench = Bench::of(Config::default(), how, Log::default(), Box::new(PlainEcho));
        const COUNT: usize = 300;
        let used = |bench: &mut Bench| usize::try_from(bench.net().stats().memory).unwrap();
        // One before, for what a loop has once.
        let first = open(&mut bench, &ca, BOTH[0]);
        let one = used(&mut bench);

        // Those that wait for the first byte, by what the allocator says.
        let before = memory();
        let raws: Vec<_> = (0..COUNT).map(|_| bench.raw()).collect();
        bench.until("all are accepted", |bench| bench.net().stats().accepted == COUNT as u64 + 1);
        let (allocated, counted) = ((memory() - before) / COUNT, (used(&mut bench) - one) / COUNT);
        println!("before a handshake: {allocated} bytes, {counted} counted");
        assert!((counted / 2..=counted * 3 / 2).contains(&allocated), "{allocated} bytes each, {counted} counted");
        drop(raws);
        bench.until("all are gone", |bench| used(bench) == one);

        let mut peers: Vec<Peer> = (0..COUNT).map(|i| open(&mut bench, &ca, BOTH[i % 2])).collect();
        for peer in &mut peers {
            peer.say(&frame(BINARY, &pattern(40_000)));
            bench.until("an echo", |_| peer.take_frame().is_some());
        }
        let counted = (used(&mut bench) - one) / COUNT;
        println!("after an echo: {counted} counted");
        assert!((2_000..5_000).contains(&counted), "{counted}");
        drop((first, peers));
        bench.until("all are gone", |bench| used(bench) == 0);
    });
}

#[test]
fn tls_counts_in_the_memory_of_the_loop() {
    let ca = Ca::new("limit");
    let config = Config { max_memory: 100 << 10, ..Config::default() };
    let mut bench = Bench::with(config, listen(ca.server("localhost")), Hooks::echo);
    let mut peers = Vec::new();
    for i in 0..60 {
        let mut peer = Peer::client(bench.raw(), &ca, BOTH[i % 2]);
        peer.say(HELLO);
        bench.until("it opens, or goes", |_| peer.take_head().is_some() || peer.raw.ended.is_some());
        peers.push(peer);
        assert!(bench.net().stats().memory <= 100 << 10);
    }
    let stats = bench.net().stats();
    assert!(stats.closes[Cause::Memory as usize] > 0 && stats.open > 15, "{stats:?}");
    let mut served = 0;
    for peer in &mut peers {
        peer.hear();
        if peer.raw.ended.is_none() && !peer.notified {
            peer.say(&frame(TEXT, b"hi"));
            bench.until("an echo, or the end", |_| {
                peer.hear();
                !peer.got.is_empty() || peer.raw.ended.is_some()
            });
            served += usize::from(peer.got.starts_with(b"\x81\x02hi"));
        }
    }
    assert!(served > 15, "{served}");
}
