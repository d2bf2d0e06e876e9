//! TLS: whose certificates are shown and whom to trust ([`Tls`]), and one connection's end of it ([`Session`]).
//!
//! Here, and nowhere else, rustls is known. Without sockets, loop or threads: bytes in, bytes out. Nothing of the
//! process is used but the files that are named and the clock: no default crypto provider, no environment, no log.

mod certs;
mod failure;
mod session;

use crate::Error;
use certs::Identity;
pub(crate) use failure::TlsFailure;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
pub(crate) use session::{RECORD, Session};
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// TLS 1.3 and 1.2: what is older is broken.
const VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// The protocol inside, by its name for ALPN (RFC 7301).
const PROTOCOL: &[u8] = b"http/1.1";

/// Certificates and keys, and whom to trust: for any number of listeners, or of clients.
///
/// A clone is the same one. What is changed in it holds for connections that begin afterwards: those before go on
/// with what they have.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

struct Shared {
    /// Locked while files are read: one change comes after the other, and nobody else waits for it.
    asked: Mutex<Asked>,
    /// Locked for as long as it takes to swap.
    ready: RwLock<Ready>,
}

/// What was asked for, and came from the files the last time that they were read.
#[derive(Clone)]
enum Asked {
    Server { identities: Vec<Identity>, client_ca: Option<ClientCa> },
    Client { roots: Option<PathBuf>, identity: Option<Identity> },
}

#[derive(Clone)]
struct ClientCa {
    file: PathBuf,
    required: bool,
}

/// What a connection begins with.
#[derive(Clone)]
enum Ready {
    Server(Arc<ServerConfig>),
    Client(Arc<ClientConfig>),
}

impl Tls {
    /// Serves with a certificate chain, its own certificate first, and the key to it: PEM files.
    pub fn server(cert_file: impl AsRef<Path>, key_file: impl AsRef<Path>) -> Result<Self, Error> {
        Self::serve(Identity::read(cert_file.as_ref(), key_file.as_ref())?)
    }

    /// Serves with a certificate chain and a key that are at hand as PEM.
    pub fn server_pem(chain: &[u8], key: &[u8]) -> Result<Self, Error> {
        Self::serve(Identity::parse(chain, key)?)
    }

    /// Shows the certificate in `cert_file` to clients that ask for one of the names in it (SNI), `*.` included. The
    /// first certificate of all is for everybody else.
    pub fn add(&self, cert_file: impl AsRef<Path>, key_file: impl AsRef<Path>) -> Result<(), Error> {
        self.add_identity(|| Identity::read(cert_file.as_ref(), key_file.as_ref()))
    }

    /// As [`add`](Self::add), with PEM that is at hand.
    pub fn add_pem(&self, chain: &[u8], key: &[u8]) -> Result<(), Error> {
        self.add_identity(|| Identity::parse(chain, key))
    }

    /// Asks clients for a certificate that a CA in this PEM file has issued. A wrong one is refused, and so is none
    /// if one is `required`.
    pub fn client_ca(&self, file: impl AsRef<Path>, required: bool) -> Result<(), Error> {
        self.change(|asked| match asked {
            Asked::Server { client_ca, .. } => {
                *client_ca = Some(ClientCa { file: file.as_ref().to_owned(), required });
                Ok(())
            }
            Asked::Client { .. } => Err(not_a_server()),
        })
    }

    /// Connects, if what the server shows is issued by somebody in the PEM file `roots` (none: the system's) and
    /// holds the name that was dialled. Shows a certificate of its own, if there is one and the server asks.
    ///
    /// Nobody is asked whether a certificate has been revoked.
    pub fn client(roots: Option<&Path>, own: Option<(&Path, &Path)>) -> Result<Self, Error> {
        let identity = own.map(|(cert_file, key_file)| Identity::read(cert_file, key_file)).transpose()?;
        Self::new(Asked::Client { roots: roots.map(Path::to_owned), identity })
    }

    /// Reads all files again, checks them, and only then uses them, for new connections. After an error, which names
    /// the file, everything is as it was.
    pub fn reload(&self) -> Result<(), Error> {
        self.change(|asked| match asked {
            Asked::Server { identities, .. } => identities.iter_mut().try_for_each(Identity::read_again),
            Asked::Client { identity, .. } => identity.iter_mut().try_for_each(Identity::read_again),
        })
    }

    fn serve(identity: Identity) -> Result<Self, Error> {
        Self::new(Asked::Server { identities: vec![identity], client_ca: None })
    }

    fn new(asked: Asked) -> Result<Self, Error> {
        let ready = asked.prepare(VERSIONS)?;
        Ok(Self(Arc::new(Shared { asked: Mutex::new(asked), ready: RwLock::new(ready) })))
    }

    fn add_identity(&self, find: impl FnOnce() -> Result<Identity, Error>) -> Result<(), Error> {
        self.change(|asked| match asked {
            Asked::Server { identities, .. } => {
                let identity = find()?;
                identity.must_have_names()?;
                identities.push(identity);
                Ok(())
            }
            Asked::Client { .. } => Err(not_a_server()),
        })
    }

    /// Changes all or nothing.
    fn change(&self, change: impl FnOnce(&mut Asked) -> Result<(), Error>) -> Result<(), Error> {
        let mut asked = self.0.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = asked.clone();
        change(&mut new)?;
        let ready = new.prepare(VERSIONS)?;
        *self.0.ready.write().unwrap_or_else(PoisonError::into_inner) = ready;
        *asked = new;
        Ok(())
    }

    fn ready(&self) -> Ready {
        self.0.ready.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.ready() {
            Ready::Server(_) => "Tls(server)",
            Ready::Client(_) => "Tls(client)",
        })
    }
}

impl Asked {
    /// Reads what says whom to trust, and puts everything together. Tickets and sessions of before are not taken any
    /// more: resuming one of them would show no certificate, neither the new one nor the client's.
    fn prepare(&self, versions: &[&'static SupportedProtocolVersion]) -> Result<Ready, Error> {
        let provider = Arc::new(ring::default_provider());
        match self {
            Self::Server { identities, client_ca } => {
                server_config(identities, client_ca.as_ref(), provider, versions).map(Arc::new).map(Ready::Server)
            }
            Self::Client { roots, identity } => {
                let roots = match roots {
                    Some(file) => certs::roots(file)?,
                    None => certs::system_roots()?,
                };
                client_config(roots, identity.as_ref(), provider, versions).map(Arc::new).map(Ready::Client)
            }
        }
    }
}

fn server_config(
    identities: &[Identity],
    client_ca: Option<&ClientCa>,
    provider: Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<ServerConfig, Error> {
    let verifier = match client_ca {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(ClientCa { file, required }) => {
            let roots = Arc::new(certs::roots(file)?);
            let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
            let builder = if *required { builder } else { builder.allow_unauthenticated() };
            builder.build().map_err(|error| Error::Tls(format!("{}: {error}", file.display())))?
        }
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(unprepared)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(Shown::new(identities)));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    // A client keeps its session itself, in a ticket that is encrypted with a key of this process: nothing grows here.
    config.ticketer = ring::Ticketer::new().map_err(unprepared)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

fn client_config(
    roots: RootCertStore,
    identity: Option<&Identity>,
    provider: Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(unprepared)?
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { key, .. }) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(key))))
        }
    };
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    // Sessions to be resumed are rustls's default: in memory, of at most 256 servers.
    Ok(config)
}

/// Certificates to be shown, by the name that a client asks for.
#[derive(Debug)]
struct Shown {
    all: Vec<Arc<CertifiedKey>>,
    by_name: HashMap<String, Vec<Arc<CertifiedKey>>>,
}

impl Shown {
    fn new(identities: &[Identity]) -> Self {
        let mut by_name: HashMap<_, Vec<_>> = HashMap::new();
        for identity in identities {
            for name in &identity.names {
                by_name.entry(name.clone()).or_default().push(Arc::clone(&identity.key));
            }
        }
        Self { all: identities.iter().map(|identity| Arc::clone(&identity.key)).collect(), by_name }
    }

    /// RFC 9525 6.3: `*` stands for one label, the first.
    fn find(&self, name: &str) -> Option<&Vec<Arc<CertifiedKey>>> {
        let wildcard = || self.by_name.get(&format!("*.{}", name.split_once('.')?.1));
        self.by_name.get(name).or_else(wildcard)
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let known = hello.server_name().and_then(|name| self.find(name)).unwrap_or(&self.all);
        // One name may have several certificates, for clients that know only one kind of keys.
        known.iter().find(|known| known.key.choose_scheme(hello.signature_schemes()).is_some()).cloned()
    }
}

fn not_a_server() -> Error {
    Error::Argument("this TLS is for clients: it shows nobody certificates by name, and asks for none".to_owned())
}

/// What rustls says when it is put together; it happens on a machine without randomness.
fn unprepared(error: rustls::Error) -> Error {
    Error::Tls(format!("TLS can not be set up: {}", failure::text(&error)))
}

#[cfg(test)]
mod tests;
