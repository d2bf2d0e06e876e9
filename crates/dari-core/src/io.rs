//! What a [`Connection`](crate::Connection) borrows for one call: randomness, memory, and a place to write to.

use crate::frame::Head;
use crate::{Buffers, Framed};
use std::sync::Arc;

/// Everything that a connection needs from outside, for the length of one call.
pub struct Io<'a> {
    /// Masks and nonces of the client's role.
    pub entropy: &'a mut dyn Entropy,
    /// The memory in which messages are put together.
    pub buffers: &'a mut Buffers,
    /// Where the bytes for the peer go.
    pub out: &'a mut dyn Output,
}

/// A source of bytes that a peer can not foresee (RFC 6455 10.3).
pub trait Entropy {
    /// Fills `bytes`.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// No randomness at all: zeros. For a server, which needs none, and for tests.
#[derive(Debug, Default)]
pub struct NoEntropy;

impl Entropy for NoEntropy {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

/// Where a connection writes to. A `Vec<u8>` is the simplest one.
pub trait Output {
    /// The buffer to append to. The connection only ever appends, and changes nothing but what it has appended
    /// in the same call.
    fn buffer(&mut self) -> &mut Vec<u8>;

    /// The same with room for `len` bytes. Nothing if there is no memory for them: then what they belong to is lost, and
    /// it is for whoever owns the output to know that.
    fn room_for(&mut self, _len: usize) -> Option<&mut Vec<u8>> {
        Some(self.buffer())
    }

    /// Takes bytes that go out unchanged. An output that knows where they lie may keep a reference in place of
    /// a copy.
    fn payload(&mut self, bytes: &[u8]) {
        self.buffer().extend_from_slice(bytes);
    }

    /// Takes a frame: its header, and its payload as it goes out.
    fn frame(&mut self, head: Head, payload: &[u8]) {
        head.write(self.buffer());
        self.payload(payload);
    }

    /// Takes a frame that goes to many peers.
    fn shared(&mut self, frame: &Arc<Framed>) {
        self.buffer().extend_from_slice(frame);
    }

    /// Whether earlier output still waits for the peer. Then only the latest pong is kept.
    fn is_blocked(&self) -> bool {
        false
    }
}

impl Output for Vec<u8> {
    fn buffer(&mut self) -> &mut Vec<u8> {
        self
    }
}
