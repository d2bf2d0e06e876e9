//! Which certificate is shown to whom, and from when on.

use super::*;
use rustls::SignatureScheme;
use rustls::crypto::WebPkiSupportedAlgorithms;

/// What a server shows to a client that dials `host`.
#[track_caller]
fn shown(client: &Tls, host: &str, server: &Tls) -> Vec<u8> {
    let mut pair = Pair::new(client, host, server);
    pair.talk();
    pair.must_be_open();
    pair.client.session.peer_certificate().unwrap().to_vec()
}

#[test]
fn the_name_that_is_asked_for_chooses_the_certificate() {
    let ca = Ca::new("test");
    // The first is good for everything, or else a client would not take it as the default.
    let everywhere = ["a.example", "x.b.example", "x.y.b.example", "b.example", "other.example", "127.0.0.1"];
    let first = ca.issue(&everywhere);
    let (a, wild, exact) = (ca.issue(&["A.example"]), ca.issue(&["*.b.example"]), ca.issue(&["exact.b.example"]));
    let server = first.tls();
    for made in [&a, &wild, &exact] {
        server.add_pem(made.cert.as_bytes(), made.key.as_bytes()).unwrap();
    }
    let client = trusting(&ca);
    let by_name = ["a.example", "A.EXAMPLE", "x.b.example", "X.b.Example", "exact.b.example"];
    for (host, made) in by_name.iter().zip([&first, &first, &first, &first, &exact]) {
        assert_eq!(shown(&client, host, &server), made.der, "{host}: the first that has the name");
    }
    for host in ["x.y.b.example", "b.example", "other.example", "127.0.0.1"] {
        assert_eq!(shown(&client, host, &server), first.der, "{host}");
    }
    // Without the first one in the way.
    let server = ca.issue(&["first.example", "x.y.b.example"]).tls();
    for made in [&wild, &a, &exact] {
        server.add_pem(made.cert.as_bytes(), made.key.as_bytes()).unwrap();
    }
    for (host, made) in by_name.iter().zip([&a, &a, &wild, &wild, &exact]) {
        assert_eq!(shown(&client, host, &server), made.der, "{host}");
    }
    assert_ne!(shown(&client, "x.y.b.example", &server), wild.der, "a star is one label");
}

#[test]
fn of_two_certificates_for_a_name_a_client_gets_the_one_that_it_understands() {
    static ED25519: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
        all: &[webpki::ring::ED25519],
        mapping: &[(SignatureScheme::ED25519, &[webpki::ring::ED25519])],
    };
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = || KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let ca = Ca(CertifiedIssuer::self_signed(params, key()).unwrap());
    let (usual, modern) = (ca.issue(&["localhost"]), ca.sign(&["localhost"], &key(), |_| {}));
    let server = usual.tls();
    server.add_pem(modern.cert.as_bytes(), modern.key.as_bytes()).unwrap();
    assert_eq!(shown(&trusting(&ca), "localhost", &server), usual.der);

    let mut roots = RootCertStore::empty();
    roots.add(ca.0.der().clone()).unwrap();
    let provider = CryptoProvider { signature_verification_algorithms: ED25519, ..ring::default_provider() };
    let config = client_config(roots, None, Arc::new(provider), VERSIONS).unwrap();
    assert_eq!(shown(&ready(Ready::Client(Arc::new(config))), "localhost", &server), modern.der);
}

#[test]
fn reloading_takes_all_files_or_none() {
    let ca = Ca::new("test");
    let folder = Folder::new("reload");
    let (one, two) = (ca.issue(&["one.example"]), ca.issue(&["two.example"]));
    let one_files = (folder.put("one.pem", &one.cert), folder.put("one.key", &one.key));
    let two_files = (folder.put("two.pem", &two.cert), folder.put("two.key", &two.key));
    let server = Tls::server(&one_files.0, &one_files.1).unwrap();
    server.add(&two_files.0, &two_files.1).unwrap();
    let client = trusting(&ca);
    let now = |host: &str| shown(&client, host, &server);
    let mut old = Pair::new(&client, "one.example", &server);
    old.talk().must_be_open();
    assert_eq!((now("one.example"), now("two.example")), (one.der.clone(), two.der.clone()));

    // The first is new and good, the second is broken: neither is taken.
    let new = ca.issue(&["one.example"]);
    folder.put("one.pem", &new.cert);
    folder.put("one.key", &new.key);
    folder.put("two.pem", &new.cert);
    assert_eq!(folder.error(server.reload()), "two.key: does not belong to two.pem");
    assert_eq!((now("one.example"), now("two.example")), (one.der.clone(), two.der.clone()));
    fs::remove_file(&two_files.1).unwrap();
    assert_eq!(folder.error(server.reload()), "two.key: No such file or directory (os error 2)");
    assert_eq!((now("one.example"), now("two.example")), (one.der.clone(), two.der.clone()));

    let again = ca.issue(&["two.example"]);
    folder.put("two.pem", &again.cert);
    folder.put("two.key", &again.key);
    let clone = server.clone();
    clone.reload().unwrap();
    // Though the client has a ticket for the old one.
    assert_eq!((now("one.example"), now("two.example")), (new.der, again.der));

    old.client.send(b"still here");
    old.talk();
    assert_eq!(old.server.got, b"still here");
}

#[test]
fn what_was_given_as_text_stays_through_a_reload() {
    let ca = Ca::new("test");
    let made = ca.issue(&["localhost"]);
    let server = made.tls();
    server.reload().unwrap();
    assert_eq!(shown(&trusting(&ca), "localhost", &server), made.der);
}

#[test]
fn who_asks_for_certificates_takes_no_tickets_of_before() {
    let ca = Ca::new("test");
    let folder = Folder::new("tickets");
    let (client, server) = (trusting(&ca), ca.issue(&["localhost"]).tls());
    Pair::new(&client, "localhost", &server).talk().must_be_open();
    server.client_ca(folder.put("ca.pem", ca.pem()), true).unwrap();
    let (text, ..) = Pair::new(&client, "localhost", &server).how_it_failed();
    assert_eq!(text, "the peer showed no certificate, and needs one here");
}

#[test]
fn a_client_reloads_whom_it_trusts() {
    let (ca, stranger) = (Ca::new("test"), Ca::new("other"));
    let folder = Folder::new("roots");
    let roots = folder.put("roots.pem", stranger.pem());
    let client = Tls::client(Some(&roots), None).unwrap();
    let made = ca.issue(&["localhost"]);
    let refused = "nobody that is trusted here has issued the certificate";
    assert_eq!(Pair::new(&client, "localhost", &made.tls()).how_it_failed().0, refused);
    folder.put("roots.pem", "nothing");
    assert_eq!(folder.error(client.reload()), "roots.pem: holds no certificate");
    folder.put("roots.pem", ca.pem());
    client.reload().unwrap();
    assert_eq!(shown(&client, "localhost", &made.tls()), made.der);
}
