//! TLS for tests: certificates that are made for them, and a [`Peer`] that is a socket and rustls, which says what no
//! program of dari's would say.

use super::Bench;
use super::raw::{self, HELLO, Raw};
use dari::{Connect, Listen, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};
use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

pub(crate) type Version = &'static SupportedProtocolVersion;
pub(crate) const BOTH: [Version; 2] = [&TLS13, &TLS12];

/// A CA, and a folder for what it issues, which goes with it.
pub(crate) struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

/// A certificate and its key, as PEM files.
pub(crate) struct Files {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    /// The certificate.
    pub(crate) der: Vec<u8>,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("dari-wss-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(folder.join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn roots(&self) -> PathBuf {
        self.at("ca.pem")
    }

    /// Issues a certificate into the files `file.pem` and `file.key`.
    pub(crate) fn issue(&self, file: &str, names: &[&str]) -> Files {
        self.issue_with(file, names, |_| {})
    }

    pub(crate) fn issue_with(
        &self,
        file: &str,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Files {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let files = Files {
            cert: self.at(&format!("{file}.pem")),
            key: self.at(&format!("{file}.key")),
            der: cert.der().to_vec(),
        };
        fs::write(&files.cert, cert.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    pub(crate) fn server(&self, name: &str) -> Tls {
        self.issue(name, &[name]).server()
    }

    pub(crate) fn client(&self) -> Tls {
        Tls::client(Some(&self.roots()), None).unwrap()
    }

    /// A client with a certificate of its own.
    pub(crate) fn client_as(&self, own: &Files) -> Tls {
        Tls::client(Some(&self.roots()), Some((&own.cert, &own.key))).unwrap()
    }

    fn store(&self) -> RootCertStore {
        let mut store = RootCertStore::empty();
        store.add(self.issuer.der().clone()).unwrap();
        store
    }
}

impl Drop for Ca {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Files {
    pub(crate) fn server(&self) -> Tls {
        Tls::server(&self.cert, &self.key).unwrap()
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_file_iter(&self.cert).unwrap().map(Result::unwrap).collect()
    }

    fn private(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_file(&self.key).unwrap()
    }
}

/// Listening on TLS.
pub(crate) fn listen(tls: Tls) -> Listen {
    Listen { tls: Some(tls), ..Listen::default() }
}

/// Dialling with TLS.
pub(crate) fn trusting(tls: Tls) -> Connect {
    Connect { tls: Some(tls), ..Connect::default() }
}

/// One end of a connection, which does as it is told.
pub(crate) struct Peer {
    /// The socket, and ciphertext that was not looked at yet.
    pub(crate) raw: Raw,
    pub(crate) tls: Connection,
    /// Plaintext that came and was not looked at yet.
    pub(crate) got: Vec<u8>,
    /// The other side has said that nothing follows.
    pub(crate) notified: bool,
    pub(crate) wrong: Option<rustls::Error>,
}

impl Peer {
    /// A client that asks for `localhost`.
    pub(crate) fn client(raw: Raw, ca: &Ca, version: Version) -> Self {
        Self::client_with(raw, ca, version, "localhost", None)
    }

    pub(crate) fn client_with(raw: Raw, ca: &Ca, version: Version, name: &str, own: Option<&Files>) -> Self {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(ca.store());
        let mut config = match own {
            None => config.with_no_client_auth(),
            Some(files) => config.with_client_auth_cert(files.chain(), files.private()).unwrap(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = ServerName::try_from(name.to_owned()).unwrap();
        Self::of(raw, ClientConnection::new(Arc::new(config), name).unwrap().into())
    }

    pub(crate) fn server(raw: Raw, files: &Files, version: Version) -> Self {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(files.chain(), files.private())
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self::of(raw, ServerConnection::new(Arc::new(config)).unwrap().into())
    }

    fn of(raw: Raw, mut tls: Connection) -> Self {
        tls.set_buffer_limit(None);
        Self { raw, tls, got: Vec::new(), notified: false, wrong: None }
    }

    /// What it has to say, as it goes over the wire.
    pub(crate) fn sealed(&mut self) -> Vec<u8> {
        let mut sealed = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut sealed).unwrap();
        }
        sealed
    }

    /// Says what it has to say, as far as the kernel takes it.
    pub(crate) fn push(&mut self) {
        while self.tls.wants_write() && self.tls.write_tls(&mut &self.raw.socket).is_ok() {}
    }

    /// Hears at most `most` bytes of ciphertext, and answers.
    pub(crate) fn hear_some(&mut self, most: usize) {
        self.push();
        self.raw.hear_some(most);
        let sealed = std::mem::take(&mut self.raw.got);
        let mut rest = &sealed[..];
        while !rest.is_empty() && self.wrong.is_none() && !self.notified {
            self.tls.read_tls(&mut rest).unwrap();
            match self.tls.process_new_packets() {
                Ok(state) => {
                    let len = self.got.len();
                    self.got.resize(len + state.plaintext_bytes_to_read(), 0);
                    self.tls.reader().read_exact(&mut self.got[len..]).unwrap();
                    self.notified = state.peer_has_closed();
                }
                Err(error) => self.wrong = Some(error),
            }
        }
        self.push();
    }

    pub(crate) fn hear(&mut self) {
        self.hear_some(usize::MAX);
    }

    /// Encrypts and says it; before the handshake is over, it waits for that.
    pub(crate) fn say(&mut self, plain: &[u8]) {
        self.tls.writer().write_all(plain).unwrap();
        self.push();
    }

    /// Whether all that was to be said is said.
    pub(crate) fn has_said_all(&mut self) -> bool {
        self.push();
        !self.tls.wants_write()
    }

    pub(crate) fn take_head(&mut self) -> Option<String> {
        self.hear();
        raw::next_head(&mut self.got)
    }

    pub(crate) fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        self.hear();
        raw::next_frame(&mut self.got)
    }

    /// Says that nothing follows.
    pub(crate) fn notify(&mut self) {
        self.tls.send_close_notify();
        self.push();
    }
}

/// A raw client whose handshakes are done; the 101 is taken off.
#[track_caller]
pub(crate) fn open(bench: &mut Bench, ca: &Ca, version: Version) -> Peer {
    open_on(bench, bench.raw(), ca, version)
}

#[track_caller]
pub(crate) fn open_on(bench: &mut Bench, raw: Raw, ca: &Ca, version: Version) -> Peer {
    let mut peer = Peer::client(raw, ca, version);
    peer.say(HELLO);
    bench.until("a peer opens", |_| peer.take_head().is_some());
    peer
}
