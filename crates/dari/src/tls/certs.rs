//! Certificates and keys as they lie in PEM files. Whatever is wrong with one is said with the file's name before
//! anything is used of it.

use super::failure;
use crate::Error;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error as Wrong, RootCertStore};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where distributions keep the certificates of the CAs that the system trusts: all in one file.
const SYSTEM_ROOTS: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt", // Debian, Ubuntu, Arch, Gentoo, Alpine, NixOS
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",   // older ones of them
    "/etc/ssl/ca-bundle.pem",             // SUSE
    "/etc/ssl/cert.pem",                  // Alpine, Void
    "/etc/pki/tls/cacert.pem",            // OpenELEC
];

/// A certificate chain with its key.
#[derive(Clone)]
pub(super) struct Identity {
    /// The files of the two; none if they were given as text.
    files: Option<(PathBuf, PathBuf)>,
    pub(super) key: Arc<CertifiedKey>,
    /// The names in its certificate, in lower case.
    pub(super) names: Vec<String>,
}

impl Identity {
    pub(super) fn read(cert_file: &Path, key_file: &Path) -> Result<Self, Error> {
        let (chain, key) = (read(cert_file)?, read(key_file)?);
        let mut identity =
            Self::check(&chain, &key, &cert_file.display().to_string(), &key_file.display().to_string())?;
        identity.files = Some((cert_file.to_owned(), key_file.to_owned()));
        Ok(identity)
    }

    pub(super) fn parse(chain: &[u8], key: &[u8]) -> Result<Self, Error> {
        Self::check(chain, key, "the certificate", "the key")
    }

    /// What was given as text stays as it is.
    pub(super) fn read_again(&mut self) -> Result<(), Error> {
        if let Some((cert_file, key_file)) = &self.files {
            *self = Self::read(cert_file, key_file)?;
        }
        Ok(())
    }

    /// That a client can ask for it.
    pub(super) fn must_have_names(&self) -> Result<(), Error> {
        if !self.names.is_empty() {
            return Ok(());
        }
        let place = self.files.as_ref().map_or("the certificate".to_owned(), |(file, _)| file.display().to_string());
        Err(Error::Tls(format!(
            "{place}: has no host name in it (subjectAltName) by which a client could ask for it"
        )))
    }

    fn check(chain: &[u8], key: &[u8], chain_at: &str, key_at: &str) -> Result<Self, Error> {
        let certs = certificates(chain, chain_at)?;
        let now = UnixTime::now();
        for (i, cert) in certs.iter().enumerate() {
            check_dates(cert, now).map_err(|wrong| {
                let which = if i == 0 { String::new() } else { format!(", certificate {} of its chain", i + 1) };
                Error::Tls(format!("{chain_at}{which}: {wrong}"))
            })?;
        }
        let names = certs.first().map(names).unwrap_or_default();
        let key = private_key(key, key_at)?;
        let key = CertifiedKey::from_der(certs, key, &ring::default_provider()).map_err(|wrong| match wrong {
            Wrong::InconsistentKeys(_) => Error::Tls(format!("{key_at}: does not belong to {chain_at}")),
            wrong => Error::Tls(format!("{key_at}: holds a key that can not be used ({})", failure::text(&wrong))),
        })?;
        Ok(Self { files: None, key: Arc::new(key), names })
    }
}

/// The certificates of the CAs in a PEM file.
pub(super) fn roots(file: &Path) -> Result<RootCertStore, Error> {
    let place = file.display().to_string();
    let mut roots = RootCertStore::empty();
    for (i, cert) in certificates(&read(file)?, &place)?.into_iter().enumerate() {
        roots.add(cert).map_err(|wrong| {
            Error::Tls(format!("{place}: certificate {} can not be trusted: {}", i + 1, failure::text(&wrong)))
        })?;
    }
    Ok(roots)
}

/// The certificates of the CAs that the system trusts. What is odd among them is left out: nobody here chose it.
pub(super) fn system_roots() -> Result<RootCertStore, Error> {
    let Some(file) = SYSTEM_ROOTS.iter().map(Path::new).find(|file| file.is_file()) else {
        return Err(Error::Tls(format!(
            "the system has no file of CA certificates that it trusts: none of {}",
            SYSTEM_ROOTS.join(", ")
        )));
    };
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates(&read(file)?, &file.display().to_string())?);
    if added == 0 {
        Err(Error::Tls(format!("{}: holds no certificate that can be used", file.display())))
    } else {
        Ok(roots)
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    fs::read(file).map_err(|error| Error::system(file.display().to_string(), &error))
}

/// All certificates in a PEM text: one at least.
fn certificates(text: &[u8], place: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certs: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let certs = certs.map_err(|error| not_pem(place, &error))?;
    if certs.is_empty() { Err(Error::Tls(format!("{place}: holds no certificate"))) } else { Ok(certs) }
}

fn private_key(text: &[u8], place: &str) -> Result<PrivateKeyDer<'static>, Error> {
    let is_encrypted = || text.windows(b"ENCRYPTED".len()).any(|word| word == b"ENCRYPTED");
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        pem::Error::NoItemsFound if is_encrypted() => {
            Error::Tls(format!("{place}: the key is encrypted, and there is nobody to ask for its passphrase"))
        }
        pem::Error::NoItemsFound => Error::Tls(format!("{place}: holds no private key")),
        error => not_pem(place, &error),
    })
}

fn not_pem(place: &str, error: &pem::Error) -> Error {
    let why = match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            format!("the line -----END {}----- is missing", String::from_utf8_lossy(end_marker))
        }
        pem::Error::IllegalSectionStart { line } => format!("{:?} begins nothing", String::from_utf8_lossy(line)),
        pem::Error::Base64Decode(_) => "it is not base64 throughout".to_owned(),
        error => error.to_string(),
    };
    Error::Tls(format!("{place}: not PEM: {why}"))
}

/// That a certificate can be read, and is valid at this time; or what is wrong, in words.
fn check_dates(cert: &CertificateDer<'_>, now: UnixTime) -> Result<(), String> {
    let parsed = ParsedCertificate::try_from(cert).map_err(|wrong| failure::text(&wrong))?;
    // Who has issued it is for others to judge. Without anybody to trust the dates are what is looked at first.
    let known = ring::default_provider().signature_verification_algorithms;
    match verify_server_cert_signed_by_trust_anchor(&parsed, &RootCertStore::empty(), &[], now, known.all) {
        Err(
            wrong @ Wrong::InvalidCertificate(
                CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYetContext { .. }
                | CertificateError::Expired
                | CertificateError::BadEncoding,
            ),
        ) => Err(failure::text(&wrong)),
        _ => Ok(()),
    }
}

/// The host names in a certificate, in lower case.
fn names(cert: &CertificateDer<'_>) -> Vec<String> {
    let Ok(cert) = webpki::EndEntityCert::try_from(cert) else { return Vec::new() };
    cert.valid_dns_names().map(str::to_ascii_lowercase).collect()
}
