//! A connection to the server that is measured: how it is made, looked at once, and then only counted.

use crate::frames::{Volley, inflate};
use crate::walker::{HEADER, LARGE, Walker};
use crate::{Failure, sys};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::{Domain, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Who is measured.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// The process whose CPU time and memory are read, if any.
    pub pid: Option<u32>,
    /// Whether it sends back bytes and knows nothing of WebSocket.
    pub is_raw: bool,
    /// Whether it sends back a long message in pieces, wherever it was cut when it was read.
    pub cuts: bool,
    /// How to trust it, if it speaks TLS.
    pub tls: Option<Arc<ClientConfig>>,
}

/// What a handshake offers of permessage-deflate (RFC 7692).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Nothing.
    Plain,
    /// Each message compressed by itself, both ways.
    Deflate,
    /// Messages may refer to earlier ones, both ways.
    Takeover,
}

/// Local addresses, so that the ports of one do not run out.
const SOURCES: usize = 8;
/// How long a server may be silent where it owes something.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const SCRATCH: usize = 64 << 10;
/// From how many bytes of one answer on they are not copied out of the kernel, however short its frames are.
const MANY: u64 = 32 << 10;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

impl Offer {
    fn header(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Deflate => {
                "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
                 client_no_context_takeover\r\n"
            }
            Self::Takeover => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
        }
    }

    /// The request of a handshake with this offer.
    pub(crate) fn request(self) -> String {
        format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{}\r\n",
            self.header()
        )
    }

    /// Whether an answer accepts the request and what it offers.
    pub(crate) fn check(self, answer: &[u8]) -> Result<(), Failure> {
        let answer = String::from_utf8_lossy(answer);
        if !answer.starts_with("HTTP/1.1 101") || !answer.contains(ACCEPT) {
            return Err(format!("the handshake was refused: {:?}", answer.lines().next().unwrap_or_default()).into());
        }
        if self != Self::Plain && !answer.to_ascii_lowercase().contains("permessage-deflate") {
            return Err("the server does not compress".into());
        }
        Ok(())
    }
}

/// Trusts the certificates in a PEM file.
pub fn trust(roots: &Path) -> Result<Arc<ClientConfig>, Failure> {
    let mut store = RootCertStore::empty();
    for cert in rustls::pki_types::CertificateDer::pem_file_iter(roots)? {
        store.add(cert?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_root_certificates(store).with_no_client_auth()))
}

/// The local end of the `nth` connection, ready to connect.
pub(crate) fn socket(nth: usize) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    sys::bind_without_port(&socket)?;
    let last = u8::try_from(1 + nth % SOURCES).unwrap_or(1);
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)).into())?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

impl Target {
    /// The `nth` connection, open, over plain TCP.
    pub fn connect(&self, nth: usize, offer: Offer) -> Result<Channel<TcpStream>, Failure> {
        self.connect_with(nth, offer, |_| Ok(()))
    }

    /// The same, its socket prepared before it connects.
    pub fn connect_with(
        &self,
        nth: usize,
        offer: Offer,
        prepare: impl FnOnce(&Socket) -> io::Result<()>,
    ) -> Result<Channel<TcpStream>, Failure> {
        let socket = socket(nth)?;
        prepare(&socket)?;
        socket.connect(&self.address.into())?;
        self.open(socket.into(), offer)
    }

    /// The `nth` connection, its request sent and not answered yet.
    pub(crate) fn ask(&self, nth: usize, offer: Offer) -> Result<Channel<TcpStream>, Failure> {
        let socket = socket(nth)?;
        socket.connect(&self.address.into())?;
        self.begin(socket.into(), offer)
    }

    /// The `nth` connection, open, over TLS.
    pub fn connect_tls(&self, nth: usize, offer: Offer) -> Result<Channel<Tls>, Failure> {
        let config = self.tls.as_ref().ok_or("no certificate to trust: name it with --roots")?;
        let socket = socket(nth)?;
        socket.connect(&self.address.into())?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let session = ClientConnection::new(Arc::clone(config), ServerName::try_from("localhost")?)?;
        self.open(StreamOwned::new(session, socket.into()), offer)
    }

    fn open<W: Wire>(&self, wire: W, offer: Offer) -> Result<Channel<W>, Failure> {
        let mut channel = self.begin(wire, offer)?;
        if !self.is_raw {
            channel.hear(offer)?;
        }
        Ok(channel)
    }

    fn begin<W: Wire>(&self, wire: W, offer: Offer) -> Result<Channel<W>, Failure> {
        wire.socket().set_read_timeout(Some(PATIENCE))?;
        wire.socket().set_write_timeout(Some(PATIENCE))?;
        let (walker, shape) = (Walker::default(), None);
        let mut channel = Channel { wire, walker, is_raw: self.is_raw, cuts: self.cuts, shape };
        if !self.is_raw {
            channel.wire.write_all(offer.request().as_bytes())?;
        }
        Ok(channel)
    }
}

/// TLS over TCP.
pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// What a connection is made of.
pub trait Wire: Read + Write {
    /// Where its bytes come from.
    fn socket(&self) -> &TcpStream;

    /// A second hand on it, for writing while the first one reads.
    fn beside(&self) -> io::Result<TcpStream>;

    /// Takes bytes off it that nobody wants to see.
    fn discard(&mut self, most: usize, scratch: &mut [u8]) -> io::Result<usize>;
}

impl Wire for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }

    fn beside(&self) -> io::Result<TcpStream> {
        self.try_clone()
    }

    fn discard(&mut self, most: usize, _: &mut [u8]) -> io::Result<usize> {
        sys::discard(self, most)
    }
}

impl Wire for Tls {
    fn socket(&self) -> &TcpStream {
        &self.sock
    }

    fn beside(&self) -> io::Result<TcpStream> {
        Err(io::Error::other("frames this long are not measured over TLS"))
    }

    fn discard(&mut self, most: usize, scratch: &mut [u8]) -> io::Result<usize> {
        let most = most.min(scratch.len());
        self.read(&mut scratch[..most])
    }
}

/// One open connection.
#[derive(Debug)]
pub struct Channel<W> {
    /// Its bytes.
    pub wire: W,
    walker: Walker,
    is_raw: bool,
    cuts: bool,
    /// The frame that the last sample came in, if it was one.
    shape: Option<Shape>,
}

#[derive(Clone, Copy, Debug)]
struct Shape {
    header: usize,
    payload: u64,
}

impl<W: Wire> Channel<W> {
    /// Reads what is there until `due` messages have ended or nothing is left, and says how many ended. `size` is how
    /// long they are, of which nothing but speed depends: what is long is not copied out of the kernel.
    pub fn pump(&mut self, due: u64, size: usize, scratch: &mut [u8]) -> Result<u64, Failure> {
        let is_long = size as u64 >= LARGE || due * size as u64 >= MANY;
        let mut ended = 0;
        while ended < due {
            let left = self.walker.left();
            let is_discarded = is_long && left >= LARGE.min(size as u64 / 2);
            let read = if is_discarded {
                self.wire.discard(usize::try_from(left)?, scratch)
            } else {
                // What is read along with a header is copied: of a long frame, nothing but the header then.
                let most = if is_long { self.step(left) } else { scratch.len() };
                self.wire.read(&mut scratch[..most])
            };
            match read {
                Ok(0) => return Err("the server ended the connection".into()),
                Ok(bytes) if is_discarded => ended += self.walker.skip(bytes),
                Ok(bytes) => {
                    ended += self.walker.walk(&scratch[..bytes])?;
                    if is_long {
                        self.leap(due - ended);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(ended)
    }

    /// At the front of a long frame, takes all but the last of the messages that are due for one: the headers between
    /// are not looked at, the last one is.
    fn leap(&mut self, due: u64) {
        if let Some(shape) = self.shape
            && !self.cuts
            && due > 2
            && self.walker.left() == shape.payload
        {
            self.walker.leap(due - 2, shape.header as u64 + shape.payload);
        }
    }

    /// How many bytes to read of a long frame: the rest of its header.
    fn step(&self, left: u64) -> usize {
        match (left, self.walker.header_left(), self.shape) {
            (1.., ..) => usize::try_from(left).unwrap_or(SCRATCH).min(SCRATCH),
            (_, 2, Some(shape)) => shape.header,
            (_, 2, None) => HEADER,
            (_, rest, _) => rest,
        }
    }

    /// Sends one frame, waits for its echo, compares it byte by byte, and says how long its payload was on the wire.
    pub fn sample(&mut self, volley: &Volley) -> Result<usize, Failure> {
        if volley.first.len() < SCRATCH {
            self.wire.write_all(&volley.first)?;
            return self.expect(volley);
        }
        // A server may take no more of a long frame before we take what it says: somebody has to do each.
        let mut writer = self.wire.beside()?;
        std::thread::scope(|scope| {
            let posted = scope.spawn(move || writer.write_all(&volley.first));
            let length = self.expect(volley)?;
            posted.join().map_err(|_| "the writer panicked")??;
            Ok(length)
        })
    }

    /// Waits for the echo of a frame and compares it.
    pub fn expect(&mut self, volley: &Volley) -> Result<usize, Failure> {
        if self.is_raw {
            let mut echo = vec![0; volley.first.len()];
            self.wire.read_exact(&mut echo)?;
            let payload = volley.payload.len();
            self.shape = Some(Shape { header: echo.len() - payload, payload: payload as u64 });
            return if echo == volley.first { Ok(payload) } else { Err("the echo is not what was sent".into()) };
        }
        let (is_compressed, body) = self.read_message()?;
        let size = volley.payload.len();
        let said = if is_compressed { inflate(&body, size) } else { Some(body.clone()) };
        if said.as_ref() == Some(&volley.payload) {
            Ok(body.len())
        } else {
            Err("the echo is not what was sent".into())
        }
    }

    /// Waits for the answer to the handshake.
    pub(crate) fn hear(&mut self, offer: Offer) -> Result<(), Failure> {
        let head = self.read_head()?;
        offer.check(&head)
    }

    fn read_head(&mut self) -> Result<Vec<u8>, Failure> {
        let (mut head, mut len) = (vec![0; 8 << 10], 0);
        // Nobody speaks before he is spoken to: what comes behind a head would be in the way here.
        while !head[..len].ends_with(b"\r\n\r\n") {
            match self.wire.read(&mut head[len..])? {
                0 => return Err("the answer to the handshake does not end".into()),
                bytes => len += bytes,
            }
        }
        head.truncate(len);
        Ok(head)
    }

    /// The next message, whole, and whether it is compressed.
    fn read_message(&mut self) -> Result<(bool, Vec<u8>), Failure> {
        let (mut message, mut is_compressed) = (Vec::new(), false);
        loop {
            let mut start = [0; 2];
            self.wire.read_exact(&mut start)?;
            let mut length = [0; 8];
            let bytes = match start[1] {
                126 => 2,
                127 => 8,
                _ => 0,
            };
            self.wire.read_exact(&mut length[8 - bytes..])?;
            let size = if bytes == 0 { u64::from(start[1]) } else { u64::from_be_bytes(length) };
            let before = message.len();
            self.shape = (before == 0).then_some(Shape { header: 2 + bytes, payload: size });
            message.resize(before + usize::try_from(size)?, 0);
            self.wire.read_exact(&mut message[before..])?;
            match start[0] & 15 {
                8 => return Err("the server closed the connection".into()),
                9 | 10 => message.truncate(before),
                opcode => {
                    is_compressed |= opcode != 0 && start[0] & 0x40 != 0;
                    if start[0] & 0x80 != 0 {
                        return Ok((is_compressed, message));
                    }
                }
            }
        }
    }
}
