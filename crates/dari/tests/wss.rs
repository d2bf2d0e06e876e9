//! TLS on real sockets: what is encrypted is served and dialled as anything else is.

mod common;

use common::*;
use dari::{Cause, Connect, Deflate, Limits, Listen, Message, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::path::PathBuf;

/// A CA, and a folder for what it issues.
struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Ca {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("dari-wss-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn server(&self, name: &str) -> Tls {
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        Tls::server_pem(cert.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    }

    fn client(&self) -> Tls {
        Tls::client(Some(&self.folder.join("ca.pem")), None).unwrap()
    }
}

impl Drop for Ca {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn listen(tls: Tls) -> Listen {
    Listen { tls: Some(tls), ..Listen::default() }
}

fn dial(bench: &mut Bench, how: Connect, log: &Log) -> dari::ConnId {
    let url = format!("wss://localhost:{}/", bench.port);
    bench.net().connect(&url, how, Box::new(Hooks::quiet(log))).unwrap()
}

#[test]
fn messages_of_all_sizes_come_back_encrypted_and_the_end_is_clean() {
    let ca = Ca::new("sizes");
    for deflate in [None, Some(Deflate { takeover: true, ..Deflate::default() })] {
        let limits = Limits { deflate, ..Limits::default() };
        let how = Listen { limits: limits.clone(), ..listen(ca.server("localhost")) };
        let mut bench = Bench::of(dari::Config::default(), how, Log::default(), Box::new(PlainEcho));
        let heard = Log::default();
        let conn = dial(&mut bench, Connect { tls: Some(ca.client()), limits, ..Connect::default() }, &heard);
        bench.until("open", |_| heard.opens() == 1);
        for size in [0, 1, 125, 126, 16_383, 16_384, 16_385, 65_535, 65_536, 300_000, 5 << 20] {
            let data = pattern(size);
            bench.net().send(conn, Message::binary(&data)).unwrap();
            let before = heard.messages();
            bench.until("an echo", |_| heard.messages() > before);
            assert!(*heard.payloads().last().unwrap() == data, "{size} bytes");
        }
        bench.net().close(conn, 1000, "bye").unwrap();
        bench.until("the end", |_| heard.closes() == 1);
        let end = heard.end();
        assert_eq!((end.cause, end.code, end.was_clean), (Cause::Local, 1000, true), "{}", end.text);
    }
}

#[test]
fn a_certificate_that_will_not_do_is_said_in_words() {
    let (ca, other) = (Ca::new("words"), Ca::new("others"));
    let cases =
        [(ca.server("example.org"), ca.client(), "example.org"), (ca.server("localhost"), other.client(), "issued")];
    for (server, client, word) in cases {
        let log = Log::default();
        let hooks = Hooks::quiet(&log);
        let mut bench = Bench::of(dari::Config::default(), listen(server), log, Box::new(hooks));
        let heard = Log::default();
        dial(&mut bench, Connect { tls: Some(client), ..Connect::default() }, &heard);
        bench.until("the end", |_| heard.closes() == 1);
        let end = heard.end();
        assert_eq!((end.cause, end.code, end.was_clean, end.opened), (Cause::Tls, 1006, false, false));
        assert!(end.text.contains(word), "{}", end.text);
        bench.until("the server sees it too", |bench| bench.net().stats().closes[Cause::Tls as usize] == 2);
        assert_eq!(bench.log.story(), "", "nobody knows of a connection that did not come that far");
    }
}
