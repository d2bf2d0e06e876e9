//! A peer that is nothing but a socket: it says the bytes that it is told to say, good or bad, and shows what came.

use super::DEADLINE;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// An opening handshake with the key of RFC 6455 1.3.
pub(crate) const HELLO: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;

/// A masked frame; `first` is its first byte: FIN, RSV and opcode.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x11, 0xa2, 0x33, 0x4c];
    let mut bytes = header(first, payload.len(), Some(key));
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    mask(&mut bytes[start..], key);
    bytes
}

/// Binary messages of `size` bytes each, as a client and as a server would send them.
pub(crate) fn frames(data: &[u8], size: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut said, mut echoed) = (Vec::new(), Vec::new());
    for piece in data.chunks(size) {
        said.extend_from_slice(&frame(BINARY, piece));
        echoed.extend_from_slice(&unmasked(BINARY, piece));
    }
    (said, echoed)
}

/// RFC 6455 5.3, eight bytes at a time: without optimisation tests would do little else.
fn mask(bytes: &mut [u8], key: [u8; 4]) {
    let wide = u64::from_ne_bytes([key, key].concat().try_into().unwrap());
    let mut eights = bytes.chunks_exact_mut(8);
    for eight in &mut eights {
        let masked = u64::from_ne_bytes((&*eight).try_into().unwrap()) ^ wide;
        eight.copy_from_slice(&masked.to_ne_bytes());
    }
    let rest = eights.into_remainder();
    rest.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
}

/// A frame as a server sends it.
pub(crate) fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, payload.len(), None);
    bytes.extend_from_slice(payload);
    bytes
}

pub(crate) fn header(first: u8, len: usize, key: Option<[u8; 4]>) -> Vec<u8> {
    let masked = if key.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    if let Ok(short @ 0..=125) = u8::try_from(len) {
        bytes.push(masked | short);
    } else if let Ok(middle) = u16::try_from(len) {
        bytes.push(masked | 126);
        bytes.extend_from_slice(&middle.to_be_bytes());
    } else {
        bytes.push(masked | 127);
        bytes.extend_from_slice(&(len as u64).to_be_bytes());
    }
    bytes.extend_from_slice(&key.unwrap_or_default()[..if key.is_some() { 4 } else { 0 }]);
    bytes
}

/// A masked Close frame.
pub(crate) fn close(code: u16, reason: &str) -> Vec<u8> {
    frame(CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// How the stream ended, as this peer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Eof,
    Reset,
}

pub(crate) struct Raw {
    pub(crate) socket: Socket,
    /// What came and was not looked at yet.
    pub(crate) got: Vec<u8>,
    /// Bytes that came in all.
    pub(crate) heard: usize,
    /// Reads that brought something.
    pub(crate) packets: usize,
    pub(crate) ended: Option<Ended>,
    /// What is to be said by [`Self::push`], and how much of it is.
    unsaid: Vec<u8>,
    pub(crate) said: usize,
}

impl Raw {
    pub(crate) fn connect(port: u16) -> Self {
        Self::connect_to(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into(), None)
    }

    /// With small buffers, so that a queue builds up soon.
    pub(crate) fn connect_narrow(port: u16) -> Self {
        Self::connect_to(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into(), Some(64 << 10))
    }

    pub(crate) fn connect_to(address: &SockAddr, buffer: Option<usize>) -> Self {
        let socket = Socket::new(address.domain(), Type::STREAM, None).unwrap();
        if let Some(buffer) = buffer {
            socket.set_recv_buffer_size(buffer).unwrap();
            socket.set_send_buffer_size(buffer).unwrap();
        }
        socket.connect(address).unwrap();
        if address.domain() != Domain::UNIX {
            socket.set_tcp_nodelay(true).unwrap();
        }
        Self::of(socket)
    }

    pub(crate) fn of(socket: Socket) -> Self {
        socket.set_nonblocking(true).unwrap();
        Self { socket, got: Vec::new(), heard: 0, packets: 0, ended: None, unsaid: Vec::new(), said: 0 }
    }

    /// Says little: it has to fit into the kernel's buffers.
    #[track_caller]
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        let start = Instant::now();
        let mut rest = bytes;
        while !rest.is_empty() {
            match (&self.socket).write(rest) {
                Ok(len) => rest = &rest[len..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    assert!(start.elapsed() < Duration::from_secs(2), "too much to say at once");
                }
                Err(error) => panic!("saying something: {error}"),
            }
        }
    }

    /// Has [`Self::push`] say `bytes`, as the kernel takes them.
    pub(crate) fn will_say(&mut self, bytes: Vec<u8>) {
        (self.unsaid, self.said) = (bytes, 0);
    }

    /// Says as much as the kernel takes. Whether all is said.
    pub(crate) fn push(&mut self) -> bool {
        self.push_some(usize::MAX)
    }

    /// The same for at most `most` bytes.
    pub(crate) fn push_some(&mut self, most: usize) -> bool {
        let end = self.unsaid.len().min(self.said.saturating_add(most));
        while self.said < end {
            match (&self.socket).write(&self.unsaid[self.said..end]) {
                Ok(len) => self.said += len,
                Err(_) => return false,
            }
        }
        true
    }

    /// Hears at most `most` bytes.
    pub(crate) fn hear_some(&mut self, most: usize) -> usize {
        let before = self.heard;
        let mut buffer = vec![0; most.min(1 << 20)];
        while self.ended.is_none() && self.heard - before < most {
            let room = buffer.len().min(most - (self.heard - before));
            match (&self.socket).read(&mut buffer[..room]) {
                Ok(0) => self.ended = Some(Ended::Eof),
                Ok(len) => {
                    self.got.extend_from_slice(&buffer[..len]);
                    self.heard += len;
                    self.packets += 1;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.ended = Some(Ended::Reset),
            }
        }
        self.heard - before
    }

    pub(crate) fn hear(&mut self) {
        self.hear_some(usize::MAX);
    }

    /// Hears, and takes the next head off: up to and with its empty line.
    pub(crate) fn take_head(&mut self) -> Option<String> {
        self.hear();
        next_head(&mut self.got)
    }

    /// Hears, and takes an answer off whose length stands in its head.
    pub(crate) fn take_answer(&mut self) -> Option<(String, Vec<u8>)> {
        self.hear();
        let end = self.got.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = String::from_utf8(self.got[..end].to_vec()).unwrap();
        let len =
            head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).map_or(0, |n| n.parse().unwrap());
        if self.got.len() < end + len {
            return None;
        }
        let body = self.got[end..end + len].to_vec();
        self.got.drain(..end + len);
        Some((head, body))
    }

    /// Hears, and takes the next frame off: its first byte and its payload, unmasked.
    pub(crate) fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        self.hear();
        self.next_frame()
    }

    /// The next frame of what was heard.
    pub(crate) fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        next_frame(&mut self.got)
    }

    /// Ends this side of the stream.
    pub(crate) fn end(&mut self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Goes with a reset.
    pub(crate) fn reset(self) {
        self.socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// Takes a head off what was heard: up to and with its empty line.
pub(crate) fn next_head(got: &mut Vec<u8>) -> Option<String> {
    let end = got.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head: Vec<u8> = got.drain(..end).collect();
    Some(String::from_utf8(head).unwrap())
}

/// Takes a frame off what was heard: its first byte and its payload, unmasked.
pub(crate) fn next_frame(got: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let (&first, &second) = (got.first()?, got.get(1)?);
    let (len, mut at) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(got.get(2..4)?.try_into().unwrap())), 4),
        127 => (usize::try_from(u64::from_be_bytes(got.get(2..10)?.try_into().unwrap())).unwrap(), 10),
        short => (usize::from(short), 2),
    };
    let mut key = [0; 4];
    if second & 0x80 != 0 {
        key.copy_from_slice(got.get(at..at + 4)?);
        at += 4;
    }
    let mut payload = got.get(at..at + len)?.to_vec();
    mask(&mut payload, key);
    got.drain(..at + len);
    Some((first, payload))
}

/// A raw listener, for clients of ours to meet a bad server.
pub(crate) struct RawListener {
    socket: Socket,
    pub(crate) port: u16,
}

impl RawListener {
    pub(crate) fn new() -> Self {
        Self::on(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 16)
    }

    pub(crate) fn on(address: &SocketAddr, backlog: i32) -> Self {
        let address = SockAddr::from(*address);
        let socket = Socket::new(address.domain(), Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&address).unwrap();
        socket.listen(backlog).unwrap();
        socket.set_nonblocking(true).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        Self { socket, port }
    }

    pub(crate) fn accept(&self) -> Option<Raw> {
        self.socket.accept().ok().map(|(socket, _)| Raw::of(socket))
    }
}

/// A port of a listener whose queue is full: connecting to it goes on for ever.
pub(crate) fn black_hole() -> (RawListener, Vec<TcpStream>) {
    let listener = RawListener::on(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 0);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, listener.port));
    let mut fillers = Vec::new();
    while let Ok(filler) = TcpStream::connect_timeout(&address, Duration::from_millis(30)) {
        fillers.push(filler);
        assert!(fillers.len() < 100, "its queue has no end");
    }
    (listener, fillers)
}

/// The answer that a server owes to the opening handshake in `head`.
pub(crate) fn welcome(head: &str) -> String {
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
    let accept = dari_core::testing::accept_key(key.as_bytes());
    let accept = str::from_utf8(&accept).unwrap();
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// Waits for what does not need a loop.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut get: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(got) = get() {
            return got;
        }
        assert!(start.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        std::thread::yield_now();
    }
}
