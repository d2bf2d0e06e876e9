//! Files that do not do, and what is said of them.

use super::*;
use rcgen::date_time_ymd;

#[test]
fn a_file_that_does_not_do_is_named_with_the_reason() {
    let ca = Ca::new("test");
    let folder = Folder::new("files");
    let good = ca.issue(&["localhost"]);
    folder.put("good.pem", &good.cert);
    folder.put("good.key", &good.key);
    folder.put("other.key", ca.issue(&["localhost"]).key);
    folder.put("empty", "");
    folder.put("cut.pem", &good.cert[..good.cert.len() / 2]);
    folder.put("noise.pem", good.cert.replace("MII", "\u{ff}\u{ff}"));
    folder.put("wrong.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    folder.put("wrong.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    folder.put("locked.key", good.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"));
    let put_dated = |name: &str, from: i32, to: i32| {
        let made = ca.issue_with(&["localhost"], |params| {
            params.not_before = date_time_ymd(from, 1, 1);
            params.not_after = date_time_ymd(to, 1, 1);
        });
        folder.put(&format!("{name}.pem"), &made.cert);
        folder.put(&format!("{name}.key"), &made.key);
        made
    };
    let old = put_dated("old", 2020, 2026);
    put_dated("early", 3000, 3001);
    folder.put("chain.pem", format!("{}{}", good.cert, old.cert));

    let cases = [
        ("none.pem", "good.key", "none.pem: No such file or directory (os error 2)"),
        ("good.pem", "none.key", "none.key: No such file or directory (os error 2)"),
        ("empty", "good.key", "empty: holds no certificate"),
        ("good.key", "good.key", "good.key: holds no certificate"),
        ("good.pem", "good.pem", "good.pem: holds no private key"),
        ("good.pem", "empty", "empty: holds no private key"),
        ("good.pem", "other.key", "other.key: does not belong to good.pem"),
        ("old.pem", "old.key", "old.pem: the certificate expired on 2026-01-01"),
        ("early.pem", "early.key", "early.pem: the certificate is not valid before 3000-01-01"),
        ("chain.pem", "good.key", "chain.pem, certificate 2 of its chain: the certificate expired on 2026-01-01"),
        ("cut.pem", "good.key", "cut.pem: not PEM: the line -----END CERTIFICATE----- is missing"),
        ("noise.pem", "good.key", "noise.pem: not PEM: it is not base64 throughout"),
        ("wrong.pem", "good.key", "wrong.pem: the certificate can not be read"),
        ("good.pem", "locked.key", "locked.key: the key is encrypted, and there is nobody to ask for its passphrase"),
    ];
    for (cert, key, text) in cases {
        assert_eq!(folder.error(Tls::server(folder.at(cert), folder.at(key))), text);
        let server = good.tls();
        assert_eq!(folder.error(server.add(folder.at(cert), folder.at(key))), text);
        let (roots, cert, key) = (folder.at("good.pem"), folder.at(cert), folder.at(key));
        assert_eq!(folder.error(Tls::client(Some(&roots), Some((&cert, &key)))), text);
    }
    let unusable = folder.error(Tls::server(folder.at("good.pem"), folder.at("wrong.key")));
    assert!(unusable.starts_with("wrong.key: holds a key that can not be used ("), "{unusable}");
    for (file, text) in [
        ("none.pem", "none.pem: No such file or directory (os error 2)"),
        ("empty", "empty: holds no certificate"),
        ("wrong.pem", "wrong.pem: certificate 1 can not be trusted: the certificate can not be read"),
    ] {
        assert_eq!(folder.error(Tls::client(Some(&folder.at(file)), None)), text);
        assert_eq!(folder.error(good.tls().client_ca(folder.at(file), true)), text);
    }
    Tls::server(folder.at("good.pem"), folder.at("good.key")).unwrap();
}

#[test]
fn texts_in_memory_are_checked_alike() {
    let ca = Ca::new("test");
    let (good, other) = (ca.issue(&["localhost"]), ca.issue(&["localhost"]));
    let error = |cert: &str, key: &str| Tls::server_pem(cert.as_bytes(), key.as_bytes()).unwrap_err().to_string();
    assert_eq!(error("", &good.key), "the certificate: holds no certificate");
    assert_eq!(error(&good.cert, ""), "the key: holds no private key");
    assert_eq!(error(&good.cert, &other.key), "the key: does not belong to the certificate");
}

#[test]
fn a_certificate_to_be_chosen_by_name_needs_one() {
    let ca = Ca::new("test");
    let bare = ca.issue(&["127.0.0.1"]);
    let server = bare.tls();
    assert_eq!(
        server.add_pem(bare.cert.as_bytes(), bare.key.as_bytes()).unwrap_err().to_string(),
        "the certificate: has no host name in it (subjectAltName) by which a client could ask for it"
    );
}

#[test]
fn whom_the_system_trusts_is_trusted_unless_a_file_says_otherwise() {
    let ca = Ca::new("test");
    match Tls::client(None, None) {
        Ok(client) => {
            let (text, ..) = Pair::new(&client, "localhost", &ca.issue(&["localhost"]).tls()).how_it_failed();
            assert_eq!(text, "nobody that is trusted here has issued the certificate");
        }
        // A machine without CA certificates.
        Err(error) => assert!(error.to_string().contains("/etc/ssl/certs/ca-certificates.crt"), "{error}"),
    }
}

#[test]
fn secrets_do_not_show() {
    let ca = Ca::new("test");
    let made = ca.issue(&["localhost"]);
    assert_eq!(format!("{:?} {:?}", made.tls(), trusting(&ca)), "Tls(server) Tls(client)");
    fn is_shared<T: Clone + Send + Sync>(_: &T) {}
    is_shared(&made.tls());
}
