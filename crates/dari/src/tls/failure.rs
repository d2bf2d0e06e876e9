//! What went wrong, in words that a person understands, and the alert that was said for it.

use rustls::pki_types::UnixTime;
use rustls::{
    AlertDescription, CertificateError, Error, ExtendedKeyPurpose, InvalidMessage, OtherError, PeerIncompatible,
};
use std::fmt;

/// Names in a certificate that are listed when it is none of them.
const NAMES: usize = 3;
/// What is said for more than one error.
const CONDITION: &str = "the certificate has a condition (a critical extension) that is not known here";
/// What is left to say of a certificate where rustls says no more.
const NO_REASON: &str = "the certificate does not do";

/// How a connection's TLS failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsFailure {
    /// The alert (RFC 8446 6) that was sent for it, or received; 0 if there was none, or none is known.
    pub(crate) alert: u8,
    /// Whether the peer said it.
    pub(crate) received: bool,
    /// There was no memory for it: the peer has done nothing wrong.
    pub(crate) is_memory: bool,
    /// One line.
    pub(crate) text: String,
}

/// What is said where there is no memory.
pub(super) const OUT_OF_MEMORY: &str = "out of memory";

impl TlsFailure {
    pub(super) fn new(alert: u8, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { alert, received: false, is_memory: text == OUT_OF_MEMORY, text }
    }

    /// `sent`: the alert, as far as it can be read in what was sent.
    pub(super) fn of(error: &Error, sent: Option<u8>) -> Self {
        match error {
            Error::AlertReceived(alert) => Self { received: true, ..Self::new(u8::from(*alert), text(error)) },
            Error::General(why) if why == OUT_OF_MEMORY => Self::new(0, OUT_OF_MEMORY),
            _ => Self::new(sent.unwrap_or_default(), text(error)),
        }
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The alert that rustls sends for an error once alerts are encrypted; before that it can be read.
pub(super) fn alert(error: &Error) -> u8 {
    u8::from(match error {
        Error::InvalidCertificate(wrong) => AlertDescription::from(wrong.clone()),
        Error::InvalidMessage(wrong) => AlertDescription::from(*wrong),
        Error::DecryptError => AlertDescription::BadRecordMac,
        Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            AlertDescription::UnexpectedMessage
        }
        Error::NoCertificatesPresented => AlertDescription::CertificateRequired,
        Error::NoApplicationProtocol => AlertDescription::NoApplicationProtocol,
        _ => return 0,
    })
}

pub(super) fn text(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(wrong) => certificate(wrong),
        Error::AlertReceived(alert) => received(*alert),
        Error::PeerIncompatible(wrong) => incompatible(wrong),
        Error::NoCertificatesPresented => "the peer showed no certificate, and needs one here".to_owned(),
        Error::NoApplicationProtocol => {
            "the peer offers protocols (ALPN), and http/1.1 is not one of them".to_owned()
        }
        Error::DecryptError => "what the peer sent can not be decrypted: it was changed on the way".to_owned(),
        Error::PeerSentOversizedRecord | Error::InvalidMessage(InvalidMessage::MessageTooLarge) => {
            "the peer sent a record that is longer than TLS allows".to_owned()
        }
        Error::InvalidMessage(wrong) => format!("the peer sent what is not TLS: {}", words(wrong)),
        Error::PeerMisbehaved(wrong) => format!("the peer broke a rule of TLS: {}", words(wrong)),
        Error::InappropriateMessage { got_type, .. } => {
            format!("the peer sent a message out of turn: {}", words(got_type))
        }
        Error::InappropriateHandshakeMessage { got_type, .. } => {
            format!("the peer sent a message out of turn: {}", words(got_type))
        }
        Error::InconsistentKeys(_) => "the key does not belong to the certificate".to_owned(),
        Error::General(why) => why.clone(),
        error => error.to_string(),
    }
}

fn certificate(wrong: &CertificateError) -> String {
    let what = match wrong {
        CertificateError::ExpiredContext { not_after, .. } => {
            return format!("the certificate expired on {}", date(*not_after));
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            return format!("the certificate is not valid before {}", date(*not_before));
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            return format!("the certificate is for {}, not for {}", list(presented), expected.to_str());
        }
        CertificateError::InvalidPurposeContext { required, presented } => {
            let presented: Vec<_> = presented.iter().map(purpose).collect();
            let (presented, required) = (presented.join(", "), purpose(required));
            return format!("the certificate is not made for this: for {presented}, and not for {required}");
        }
        CertificateError::Expired => "the certificate expired before it began",
        CertificateError::NotValidYet => "the certificate is not valid yet",
        CertificateError::NotValidForName => "the certificate is for another name",
        CertificateError::InvalidPurpose => "the certificate is not made for this",
        CertificateError::UnknownIssuer => "nobody that is trusted here has issued the certificate",
        CertificateError::BadSignature => "a signature does not fit: the certificate, or its key, is not who it says",
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "the certificate is signed in a way that is not trusted any more, or not known here"
        }
        CertificateError::BadEncoding => "the certificate can not be read",
        CertificateError::UnhandledCriticalExtension => CONDITION,
        CertificateError::Other(OtherError(wrong)) => wrong.downcast_ref().map_or(NO_REASON, odd),
        _ => NO_REASON,
    };
    what.to_owned()
}

/// What rustls has no name of its own for.
fn odd(wrong: &webpki::Error) -> &'static str {
    match wrong {
        webpki::Error::CaUsedAsEndEntity => {
            "the certificate is one that issues others (a CA's): it can not stand for a server or a client"
        }
        webpki::Error::EndEntityUsedAsCa => "the certificate was issued by one that is no CA",
        webpki::Error::PathLenConstraintViolated => {
            "there are more issuers behind the certificate than the first of them allows"
        }
        webpki::Error::NameConstraintViolation => "the certificate has a name for which its issuer may issue none",
        webpki::Error::MaximumPathDepthExceeded
        | webpki::Error::MaximumPathBuildCallsExceeded
        | webpki::Error::MaximumSignatureChecksExceeded
        | webpki::Error::MaximumNameConstraintComparisonsExceeded => {
            "the chain of the certificate is too long to be checked"
        }
        webpki::Error::UnsupportedCriticalExtension => CONDITION,
        webpki::Error::UnsupportedCertVersion => "the certificate is not of version 3, as those for TLS are",
        webpki::Error::EmptyEkuExtension
        | webpki::Error::ExtensionValueInvalid
        | webpki::Error::InvalidNetworkMaskConstraint
        | webpki::Error::InvalidSerialNumber
        | webpki::Error::MalformedDnsIdentifier
        | webpki::Error::MalformedExtensions
        | webpki::Error::MalformedNameConstraint
        | webpki::Error::SignatureAlgorithmMismatch
        | webpki::Error::UnsupportedNameType => "the certificate is not made by the rules of RFC 5280",
        _ => NO_REASON,
    }
}

fn purpose(purpose: &ExtendedKeyPurpose) -> String {
    match purpose {
        ExtendedKeyPurpose::Other(oid) => {
            format!("purpose {}", oid.iter().map(ToString::to_string).collect::<Vec<_>>().join("."))
        }
        known => known.to_string(),
    }
}

/// The names in a certificate, which rustls shows as `DnsName("a.example")` and `IpAddress(127.0.0.1)`.
fn list(presented: &[String]) -> String {
    let bare = |name: &String| {
        let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
        inner.unwrap_or(name).trim_matches('"').to_owned()
    };
    let names: Vec<_> = presented.iter().take(NAMES).map(bare).collect();
    match presented.len().saturating_sub(NAMES) {
        _ if names.is_empty() => "no name at all".to_owned(),
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

fn incompatible(wrong: &PeerIncompatible) -> String {
    let what = match wrong {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => "version: this side speaks TLS 1.2 and 1.3",
        PeerIncompatible::NoCipherSuitesInCommon => "cipher",
        PeerIncompatible::NoKxGroupsInCommon
        | PeerIncompatible::NamedGroupsExtensionRequired
        | PeerIncompatible::KeyShareExtensionRequired => "key exchange",
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => {
            "kind of signature for the certificates here"
        }
        // RFC 5246 7.4.1.4.1: TLS 1.2 brought them.
        PeerIncompatible::SignatureAlgorithmsExtensionRequired => {
            return "the peer names no kinds of signature, as those do who speak nothing newer than TLS 1.1"
                .to_owned();
        }
        wrong => return format!("the peer lacks what is needed here: {}", words(wrong)),
    };
    format!("the peer and this side have no common {what}")
}

fn received(alert: AlertDescription) -> String {
    let means = match alert {
        AlertDescription::HandshakeFailure => ": there is nothing that both sides can use",
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            ": it does not accept the certificate"
        }
        AlertDescription::CertificateExpired => ": it finds the certificate expired",
        AlertDescription::UnknownCA => ": it does not trust who issued the certificate",
        AlertDescription::CertificateRequired => ": it wants a certificate, and was shown none",
        AlertDescription::ProtocolVersion => ": it does not speak TLS 1.2 or 1.3",
        AlertDescription::UnrecognisedName => ": it does not know the name that was asked for",
        AlertDescription::NoApplicationProtocol => ": it does not speak http/1.1",
        _ => "",
    };
    format!("the peer sent alert {} ({}){means}", u8::from(alert), name(alert))
}

/// The name of an alert as RFC 8446 writes it: `bad_certificate`.
fn name(alert: AlertDescription) -> String {
    alert.as_str().map_or_else(|| "unknown".to_owned(), |known| apart(known, '_'))
}

/// What rustls calls `SelectedUnofferedCipherSuite` or `MissingData("ServerHello")`, as words of a sentence.
fn words(name: &impl fmt::Debug) -> String {
    let name = format!("{name:?}");
    apart(name.split(['(', ' ']).next().unwrap_or_default(), ' ')
}

/// The words of a name, which begin with capitals, in small letters and with something between them.
fn apart(name: &str, between: char) -> String {
    let mut words = String::new();
    let mut after_small = false;
    for letter in name.chars() {
        if after_small && letter.is_ascii_uppercase() {
            words.push(between);
        }
        after_small = letter.is_ascii_lowercase() || letter.is_ascii_digit();
        words.push(letter.to_ascii_lowercase());
    }
    words
}

/// The day, as ISO 8601 writes it. Years begin in March here: a leap day is the last of one.
fn date(time: UnixTime) -> String {
    const ERA: u64 = 146_097; // the days of 400 years
    let days = time.as_secs() / 86_400 + 719_468; // since 0000-03-01
    let day_of_era = days % ERA;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = days / ERA * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn days_are_those_of_the_calendar() {
        let day = |seconds| date(UnixTime::since_unix_epoch(Duration::from_secs(seconds)));
        assert_eq!(day(0), "1970-01-01");
        assert_eq!(day(951_782_400 - 1), "2000-02-28");
        assert_eq!(day(951_782_400), "2000-02-29");
        assert_eq!(day(951_868_800), "2000-03-01");
        assert_eq!(day(1_767_225_599), "2025-12-31");
        assert_eq!(day(1_767_225_600), "2026-01-01");
        assert_eq!(day(253_402_300_799), "9999-12-31");
    }

    #[test]
    fn alerts_have_the_names_of_the_rfc() {
        assert_eq!(name(AlertDescription::CertificateUnknown), "certificate_unknown");
        assert_eq!(name(AlertDescription::UnknownCA), "unknown_ca");
        assert_eq!(name(AlertDescription::BadRecordMac), "bad_record_mac");
        assert_eq!(name(AlertDescription::Unknown(200)), "unknown");
        let all = text(&Error::AlertReceived(AlertDescription::CertificateUnknown));
        assert_eq!(all, "the peer sent alert 46 (certificate_unknown): it does not accept the certificate");
    }

    #[test]
    fn many_names_are_not_all_listed() {
        let names: Vec<_> = (0..5).map(|i| format!("DnsName(\"{i}.example\")")).collect();
        assert_eq!(list(&names), "0.example, 1.example, 2.example and 2 more");
        assert_eq!(list(&["IpAddress(::1)".to_owned()]), "::1");
        assert_eq!(list(&[]), "no name at all");
    }
}
