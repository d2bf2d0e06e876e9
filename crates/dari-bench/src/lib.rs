//! What the benches share: an open connection without a network, and frames as a client sends them.

use dari_core::{Buffers, Connection, Event, Io, Limits, NoEntropy};
use std::sync::Arc;

/// A server's end that is open, and where its output goes.
pub struct Peer {
    connection: Connection,
    buffers: Buffers,
    out: Vec<u8>,
}

impl Default for Peer {
    fn default() -> Self {
        let mut peer = Self {
            connection: Connection::server(Arc::new(Limits::default())),
            buffers: Buffers::default(),
            out: Vec::new(),
        };
        let mut request = *b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let mut io = Io { entropy: &mut NoEntropy, buffers: &mut peer.buffers, out: &mut peer.out };
        let asked = peer.connection.receive(&mut &mut request[..], &mut io);
        assert!(matches!(asked, Some(Event::Upgrade)) && peer.connection.accept(None, &[], &mut io).is_ok());
        peer
    }
}

impl Peer {
    /// Receives all frames in `input`, which it unmasks, and counts the bytes of their messages.
    pub fn receive(&mut self, input: &mut [u8]) -> usize {
        let (mut rest, mut bytes) = (input, 0);
        self.out.clear();
        loop {
            let mut io = Io { entropy: &mut NoEntropy, buffers: &mut self.buffers, out: &mut self.out };
            match self.connection.receive(&mut rest, &mut io) {
                Some(Event::Message { payload, .. }) => bytes += payload.len(),
                Some(_) => {}
                None => return bytes,
            }
        }
    }
}

/// A frame as a client sends it, masked with zeros, so that it can be received again and again.
pub fn frame(is_text: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![if is_text { 0x81 } else { 0x82 }];
    if let Ok(short @ ..=125) = u8::try_from(payload.len()) {
        bytes.push(0x80 | short);
    } else if let Ok(middle) = u16::try_from(payload.len()) {
        bytes.push(0x80 | 126);
        bytes.extend(middle.to_be_bytes());
    } else {
        bytes.push(0x80 | 127);
        bytes.extend((payload.len() as u64).to_be_bytes());
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}
