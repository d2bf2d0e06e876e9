//! What all tests of TLS share: certificates that are made for them, and two sessions that talk through memory.

mod files;
mod handshake;
mod odd;
mod shown;
mod stream;

use super::session::Received;
use super::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::SupportedProtocolVersion;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use std::fs;
use std::time::Duration;

pub(super) const BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// Somebody who issues certificates.
pub(super) struct Ca(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM and (the certificate) as DER.
pub(super) struct Made {
    pub(super) cert: String,
    pub(super) key: String,
    pub(super) der: Vec<u8>,
}

impl Ca {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Somebody whom this one has certified, as an issuer or not.
    pub(super) fn certify(&self, name: &str, is_ca: IsCa, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = is_ca;
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        Self(CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.0).unwrap())
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(super) fn issue(&self, names: &[&str]) -> Made {
        self.issue_with(names, |_| {})
    }

    pub(super) fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Made {
        self.sign(names, &KeyPair::generate().unwrap(), change)
    }

    pub(super) fn sign(&self, names: &[&str], key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Made {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let cert = params.signed_by(key, &self.0).unwrap();
        Made { cert: cert.pem(), key: key.serialize_pem(), der: cert.der().to_vec() }
    }
}

impl Made {
    /// With these certificates behind its own.
    pub(super) fn through(mut self, between: &[&Ca]) -> Self {
        between.iter().for_each(|ca| self.cert.push_str(&ca.pem()));
        self
    }

    pub(super) fn tls(&self) -> Tls {
        Tls::server_pem(self.cert.as_bytes(), self.key.as_bytes()).unwrap()
    }
}

/// A folder for one test, which goes with it.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dari-tls-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn put(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Without the folder's own name, which differs from run to run.
    #[track_caller]
    pub(super) fn error<T: fmt::Debug>(&self, result: Result<T, Error>) -> String {
        result.unwrap_err().to_string().replace(&format!("{}/", self.0.display()), "")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A client that trusts `ca`.
pub(super) fn trusting(ca: &Ca) -> Tls {
    trusting_with(ca, None)
}

/// A client that trusts `ca`, and shows a certificate of its own.
pub(super) fn trusting_with(ca: &Ca, own: Option<&Made>) -> Tls {
    let folder = Folder::new(&format!("client-{:?}", std::thread::current().id()));
    let roots = folder.put("roots.pem", ca.pem());
    let own = own.map(|made| (folder.put("own.pem", &made.cert), folder.put("own.key", &made.key)));
    Tls::client(Some(&roots), own.as_ref().map(|(cert, key)| (cert.as_path(), key.as_path()))).unwrap()
}

/// One that can not be changed any more: its files may be gone.
fn ready(ready: Ready) -> Tls {
    let asked = Asked::Client { roots: None, identity: None };
    Tls(Arc::new(Shared { asked: Mutex::new(asked), ready: RwLock::new(ready) }))
}

pub(super) fn with_client(tls: &Tls, change: impl FnOnce(&mut ClientConfig)) -> Tls {
    let Ready::Client(config) = tls.ready() else { panic!("a client") };
    let mut config = ClientConfig::clone(&config);
    change(&mut config);
    ready(Ready::Client(Arc::new(config)))
}

pub(super) fn with_server(tls: &Tls, change: impl FnOnce(&mut ServerConfig)) -> Tls {
    let Ready::Server(config) = tls.ready() else { panic!("a server") };
    let mut config = ServerConfig::clone(&config);
    change(&mut config);
    ready(Ready::Server(Arc::new(config)))
}

/// A server that speaks nothing but `version`.
pub(super) fn only(tls: &Tls, version: &'static SupportedProtocolVersion) -> Tls {
    ready(tls.0.asked.lock().unwrap().prepare(&[version]).unwrap())
}

#[derive(Debug)]
struct Clock(u64);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0)))
    }
}

/// A client that believes that it is another time.
pub(super) fn at(tls: &Tls, seconds: u64) -> Tls {
    with_client(tls, |config| config.time_provider = Arc::new(Clock(seconds)))
}

/// One end, and what it was told.
pub(super) struct End {
    pub(super) session: Session,
    /// What it has to say, not delivered yet.
    pub(super) out: Vec<u8>,
    /// All plaintext that came.
    pub(super) got: Vec<u8>,
    pub(super) last: Received,
    pub(super) failure: Option<TlsFailure>,
}

impl End {
    pub(super) fn new(session: Session, out: Vec<u8>) -> Self {
        Self { session, out, got: Vec::new(), last: Received::default(), failure: None }
    }

    /// Takes what came, in pieces as long as `cut` says.
    pub(super) fn take(&mut self, mut bytes: Vec<u8>, cut: &mut dyn FnMut() -> usize) {
        let mut plain = vec![0; RECORD];
        let mut given = 0;
        while given < bytes.len() && self.failure.is_none() {
            let mut end = (given + cut().max(1)).min(bytes.len());
            while given < end {
                match self.session.receive(&mut bytes[given..end], &mut plain, &mut self.out) {
                    Ok(received) => {
                        assert!(received.consumed + received.produced > 0, "it makes progress");
                        given += received.consumed;
                        self.got.extend_from_slice(&plain[..received.produced]);
                        self.last = received;
                    }
                    Err(failure) => {
                        self.failure = Some(failure);
                        end = given;
                    }
                }
            }
        }
    }

    pub(super) fn send(&mut self, plain: &[u8]) {
        self.session.send(plain, &mut self.out).unwrap();
    }
}

pub(super) struct Pair {
    pub(super) client: End,
    pub(super) server: End,
}

impl Pair {
    pub(super) fn new(client: &Tls, host: &str, server: &Tls) -> Self {
        let mut hello = Vec::new();
        let client = Session::client(client, host, &mut hello).unwrap();
        Self { client: End::new(client, hello), server: End::new(Session::server(server).unwrap(), Vec::new()) }
    }

    /// Delivers until nobody has anything to say.
    pub(super) fn talk(&mut self) -> &mut Self {
        self.talk_cut(&mut || usize::MAX)
    }

    pub(super) fn talk_cut(&mut self, cut: &mut dyn FnMut() -> usize) -> &mut Self {
        while !self.client.out.is_empty() || !self.server.out.is_empty() {
            self.server.take(std::mem::take(&mut self.client.out), cut);
            self.client.take(std::mem::take(&mut self.server.out), cut);
            let is_lost = |end: &End| end.failure.is_some();
            if is_lost(&self.client) {
                self.server.take(std::mem::take(&mut self.client.out), cut);
            }
            if is_lost(&self.client) && is_lost(&self.server) {
                break;
            }
        }
        self
    }

    #[track_caller]
    pub(super) fn must_be_open(&mut self) -> &mut Self {
        assert_eq!((&self.client.failure, &self.server.failure), (&None, &None));
        assert!(self.client.last.handshake_done && self.server.last.handshake_done);
        assert!(!self.client.session.is_handshaking() && !self.server.session.is_handshaking());
        self
    }

    /// How the two failed: the words and the alert of who noticed, and the alert that the other one received.
    #[track_caller]
    pub(super) fn how_it_failed(&mut self) -> (String, u8, u8) {
        self.talk();
        let failures = (self.client.failure.clone().unwrap(), self.server.failure.clone().unwrap());
        let (noticed, told) = if failures.1.received { failures } else { (failures.1, failures.0) };
        assert!(!noticed.received && told.received, "{noticed:?} {told:?}");
        (noticed.text, noticed.alert, told.alert)
    }
}

/// A pair that is open, in this version.
#[track_caller]
pub(super) fn open(version: &'static SupportedProtocolVersion) -> Pair {
    let ca = Ca::new("test");
    let server = only(&ca.issue(&["localhost"]).tls(), version);
    let mut pair = Pair::new(&trusting(&ca), "localhost", &server);
    pair.talk().must_be_open();
    pair
}
