//! Connections with permessage-deflate, and compressed messages to feed them.

use super::{BINARY, FIN, Noise, Peer, Sent, frame, frames};
use dari_core::{Deflate, Limits, Message, Squeeze};

/// The bit of a frame that says: compressed.
pub(crate) const RSV1: u8 = 0x40;

/// The front of a bomb: behind it, each byte of zero inflates to 1,032 bytes of zero.
pub(crate) const BOMB: [u8; 15] = [0xec, 0xc1, 0x31, 0x01, 0, 0, 0, 0xc2, 0xa0, 0xf5, 0x4f, 0x6d, 0x0d, 0x0f, 0xa0];

pub(crate) const PLAIN: Deflate = Deflate { takeover: false, level: 6, min: 0 };
pub(crate) const TAKEOVER: Deflate = Deflate { takeover: true, ..PLAIN };

pub(crate) fn limits(deflate: Deflate) -> Limits {
    Limits { deflate: Some(deflate), ..Limits::default() }
}

/// What the other side says in its handshake.
pub(crate) fn extension(takeover: bool) -> &'static str {
    match takeover {
        true => "permessage-deflate",
        false => "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    }
}

/// A connection with the extension; `more` are parameters of the other side.
pub(crate) fn open_with(is_client: bool, limits: Limits, more: &str) -> Peer {
    let takeover = limits.deflate.expect("it is wanted").takeover;
    let extension = format!("{}{more}", extension(takeover));
    let peer = Peer::open_extended(is_client, limits, Noise::Counter(3), &extension);
    assert!(peer.connection.may_compress());
    peer
}

pub(crate) fn open(is_client: bool, deflate: Deflate) -> Peer {
    open_with(is_client, limits(deflate), "")
}

/// Sends a message: the one frame of it.
pub(crate) fn send(peer: &mut Peer, message: Message<'_>, squeeze: Squeeze) -> Sent {
    peer.act(|connection, io| connection.send_with(message, squeeze, io)).unwrap();
    let mut sent = frames(&peer.sent());
    assert_eq!(sent.len(), 1, "a message is one frame");
    sent.remove(0)
}

/// The compressed payload of a message for `is_client`, whether that makes it shorter or not.
pub(crate) fn squeezed(is_client: bool, message: &[u8]) -> Vec<u8> {
    let sent = send(&mut open(!is_client, TAKEOVER), Message::binary(message), Squeeze::Yes);
    assert_eq!(sent.first, FIN | RSV1 | BINARY);
    sent.payload
}

/// A compressed message in one frame.
pub(crate) fn compressed(is_client: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(is_client, FIN | RSV1 | opcode, payload)
}
