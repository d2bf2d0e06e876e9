//! Certificates that are made in a way that nobody takes, and that this is said in words.

use super::*;
use rcgen::{CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, NameConstraints};
use rustls::{CertificateError, ContentType, Error as Wrong, HandshakeType, InvalidMessage, OtherError};
use rustls::{PeerIncompatible, PeerMisbehaved};

fn issuing() -> IsCa {
    IsCa::Ca(BasicConstraints::Unconstrained)
}

fn only_for(name: &str) -> Option<NameConstraints> {
    let permitted_subtrees = vec![GeneralSubtree::DnsName(name.to_owned())];
    Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() })
}

/// Certificates for localhost, and what is said of them.
fn odd_ones(ca: &Ca) -> Vec<(Made, &'static str)> {
    const NAME: &[&str] = &["localhost"];
    let own = ca.issue_with(NAME, |params| params.is_ca = issuing());
    let no_issuer = ca.certify("no issuer", IsCa::NoCa, |_| {});
    let last = ca.certify("last", IsCa::Ca(BasicConstraints::Constrained(0)), |_| {});
    let behind_last = last.certify("behind", issuing(), |_| {});
    let narrow = ca.certify("narrow", issuing(), |params| params.name_constraints = only_for("example.org"));
    let mut long = vec![ca.certify("0", issuing(), |_| {})];
    for i in 1..9 {
        long.push(long[i - 1].certify(&i.to_string(), issuing(), |_| {}));
    }
    let at_end = long[8].issue(NAME).through(&long.iter().collect::<Vec<_>>());
    let for_mail = ca.issue_with(NAME, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection];
    });
    vec![
        (own, "the certificate is one that issues others (a CA's): it can not stand for a server or a client"),
        (no_issuer.issue(NAME).through(&[&no_issuer]), "the certificate was issued by one that is no CA"),
        (
            behind_last.issue(NAME).through(&[&behind_last, &last]),
            "there are more issuers behind the certificate than the first of them allows",
        ),
        (narrow.issue(NAME).through(&[&narrow]), "the certificate has a name for which its issuer may issue none"),
        (at_end, "the chain of the certificate is too long to be checked"),
        (
            for_mail,
            "the certificate is not made for this: for purpose 1.3.6.1.5.5.7.3.4, and not for server authentication",
        ),
    ]
}

#[test]
fn what_is_wrong_with_an_odd_certificate_is_said_in_words() {
    let ca = Ca::new("test");
    let client = trusting(&ca);
    for (made, text) in odd_ones(&ca) {
        for version in BOTH {
            let mut pair = Pair::new(&client, "localhost", &only(&made.tls(), version));
            let (why, sent, received) = pair.how_it_failed();
            assert_eq!((&*why, sent), (text, received));
        }
    }
}

#[test]
fn clients_are_told_the_same_of_theirs() {
    let ca = Ca::new("test");
    let folder = Folder::new("odd-client");
    let server = ca.issue(&["localhost"]).tls();
    server.client_ca(folder.put("ca.pem", ca.pem()), true).unwrap();
    let own = ca.issue_with(&["client"], |params| params.is_ca = issuing());
    let (why, ..) = Pair::new(&trusting_with(&ca, Some(&own)), "localhost", &server).how_it_failed();
    assert_eq!(why, "the certificate is one that issues others (a CA's): it can not stand for a server or a client");
}

#[test]
fn one_with_conditions_that_nobody_knows_is_not_even_shown() {
    let ca = Ca::new("test");
    let made = ca.issue_with(&["localhost"], |params| {
        let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
        extension.set_criticality(true);
        params.custom_extensions = vec![extension];
    });
    let text = "the certificate: the certificate has a condition (a critical extension) that is not known here";
    let refused = Tls::server_pem(made.cert.as_bytes(), made.key.as_bytes()).err();
    assert_eq!(refused, Some(Error::Tls(text.to_owned())));
}

/// Whether a word of it is one of a program, such as `UnknownIssuer`.
fn has_a_name_of_code(text: &str) -> bool {
    text.as_bytes().windows(2).any(|two| two[0].is_ascii_lowercase() && two[1].is_ascii_uppercase())
}

#[test]
fn nobody_is_shown_a_name_of_the_code() {
    let made = |wrong: CertificateError| Wrong::InvalidCertificate(wrong);
    let odd = |wrong: ::webpki::Error| made(CertificateError::Other(OtherError(Arc::new(wrong))));
    let all = [
        made(CertificateError::NotValidYet),
        made(CertificateError::NotValidForName),
        made(CertificateError::InvalidPurpose),
        made(CertificateError::UnknownRevocationStatus),
        made(CertificateError::InvalidOcspResponse),
        made(CertificateError::ApplicationVerificationFailure),
        made(CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id: vec![1],
            public_key_algorithm_id: vec![2],
        }),
        odd(::webpki::Error::UnsupportedCertVersion),
        odd(::webpki::Error::MalformedExtensions),
        odd(::webpki::Error::EmptyEkuExtension),
        odd(::webpki::Error::MaximumSignatureChecksExceeded),
        odd(::webpki::Error::UnsupportedDeltaCrl),
        Wrong::InvalidMessage(InvalidMessage::MissingData("ServerHello")),
        Wrong::InvalidMessage(InvalidMessage::UnknownProtocolVersion),
        Wrong::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedCipherSuite),
        Wrong::PeerIncompatible(PeerIncompatible::NullCompressionRequired),
        Wrong::InappropriateMessage { expect_types: Vec::new(), got_type: ContentType::ApplicationData },
        Wrong::InappropriateHandshakeMessage { expect_types: Vec::new(), got_type: HandshakeType::ClientHello },
        Wrong::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch),
        Wrong::General("failed to parse".to_owned()),
        Wrong::FailedToGetRandomBytes,
    ];
    for wrong in &all {
        let text = failure::text(wrong);
        assert!(!has_a_name_of_code(&text) && !text.contains(['{', '(']) && text.contains(' '), "{wrong:?}: {text}");
    }
    // Nor does what is known get lost in words.
    let told = [12, 14, 15, 16].map(|i| failure::text(&all[i]));
    assert_eq!(
        told,
        [
            "the peer sent what is not TLS: missing data",
            "the peer broke a rule of TLS: selected unoffered cipher suite",
            "the peer lacks what is needed here: null compression required",
            "the peer sent a message out of turn: application data",
        ]
    );
}
