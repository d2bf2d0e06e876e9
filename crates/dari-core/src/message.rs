//! Messages: what they are, how one is put together from fragments, and how one is framed.

use crate::buffers::Buffers;
use crate::frame::{self, Opcode};
use crate::io::{Entropy, Io};
use crate::mask::unmask;
use crate::utf8::{self, Utf8};
use crate::{Limits, Misuse, Violation};
use std::ops::Deref;
use std::sync::Arc;

/// Text or binary (RFC 6455 5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

impl Kind {
    fn opcode(self) -> Opcode {
        match self {
            Self::Text => Opcode::Text,
            Self::Binary => Opcode::Binary,
        }
    }
}

/// One whole message, on loan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Text or binary.
    pub kind: Kind,
    /// The payload.
    pub data: &'a [u8],
}

impl<'a> Message<'a> {
    /// A text message.
    pub fn text(text: &'a str) -> Self {
        Self { kind: Kind::Text, data: text.as_bytes() }
    }

    /// A binary message.
    pub fn binary(data: &'a [u8]) -> Self {
        Self { kind: Kind::Binary, data }
    }

    pub(crate) fn check(&self) -> Result<(), Misuse> {
        match self.kind {
            Kind::Text => utf8::check(self.data).map_err(Misuse::NotUtf8),
            Kind::Binary => Ok(()),
        }
    }
}

/// The payload of a message that was received.
#[derive(Debug)]
pub enum Payload<'b> {
    /// It lies whole in the input: nothing was copied.
    Input(&'b [u8]),
    /// It came in pieces. Give the buffer back to the [`Buffers`] when done.
    Buffer(Vec<u8>),
}

impl Deref for Payload<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Input(bytes) => bytes,
            Self::Buffer(bytes) => bytes,
        }
    }
}

/// A message framed once, to be sent to many.
#[derive(Clone, Debug)]
pub struct Prepared {
    kind: Kind,
    /// As a server sends it: header and payload.
    frame: Arc<[u8]>,
    header: usize,
}

impl Prepared {
    /// Checks and frames `message`.
    pub fn new(message: Message<'_>) -> Result<Self, Misuse> {
        message.check()?;
        let mut frame = Vec::with_capacity(frame::MAX_HEADER + message.data.len());
        frame::write(&mut frame, true, message.kind.opcode(), None, message.data.len());
        let header = frame.len();
        frame.extend_from_slice(message.data);
        Ok(Self { kind: message.kind, frame: frame.into(), header })
    }

    /// The message.
    pub fn message(&self) -> Message<'_> {
        Message { kind: self.kind, data: self.frame.get(self.header..).unwrap_or_default() }
    }

    /// The whole frame, unmasked.
    pub(crate) fn frame(&self) -> &Arc<[u8]> {
        &self.frame
    }
}

/// Appends a data frame. A client masks (RFC 6455 5.3), and so has to copy.
pub(crate) fn write(message: Message<'_>, is_client: bool, io: &mut Io<'_>) {
    let (opcode, len) = (message.kind.opcode(), message.data.len());
    if is_client {
        write_masked(opcode, message.data, io);
    } else {
        frame::write(io.out.buffer(), true, opcode, None, len);
        io.out.payload(message.data);
    }
}

/// Appends a control frame; its payload has at most 125 bytes.
pub(crate) fn write_control(opcode: Opcode, payload: &[u8], is_client: bool, io: &mut Io<'_>) {
    if is_client {
        write_masked(opcode, payload, io);
    } else {
        let out = io.out.buffer();
        frame::write(out, true, opcode, None, payload.len());
        out.extend_from_slice(payload);
    }
}

fn write_masked(opcode: Opcode, payload: &[u8], io: &mut Io<'_>) {
    let key = mask_key(io.entropy);
    let out = io.out.buffer();
    frame::write(out, true, opcode, Some(key), payload.len());
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(bytes) = out.get_mut(start..) {
        unmask(bytes, key, 0);
    }
}

/// RFC 6455 5.3: a fresh key for every frame, one that nobody can foresee.
fn mask_key(entropy: &mut dyn Entropy) -> [u8; 4] {
    let mut key = [0; 4];
    entropy.fill(&mut key);
    key
}

/// A message that is not all there yet.
#[derive(Debug)]
pub(crate) struct Assembly {
    kind: Kind,
    bytes: Vec<u8>,
    utf8: Utf8,
    empty_fragments: u32,
}

impl Assembly {
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, bytes: Vec::new(), utf8: Utf8::default(), empty_fragments: 0 }
    }

    /// Checks a frame's header against the limits, before its payload comes.
    pub(crate) fn expect(&mut self, len: u64, fin: bool, limits: &Limits) -> Result<(), Violation> {
        check_length(self.bytes.len(), len, limits)?;
        if len == 0 && !fin {
            self.empty_fragments += 1;
            if self.empty_fragments > limits.max_empty_fragments {
                return Err(Violation::TooManyEmptyFragments { limit: limits.max_empty_fragments });
            }
        }
        Ok(())
    }

    /// Appends what has come of a payload, of which `more` bytes are still to come in this frame. The error tells
    /// how far into `piece` the offence begins.
    pub(crate) fn append(
        &mut self,
        piece: &[u8],
        more: u64,
        buffers: &mut Buffers,
    ) -> Result<(), (Violation, usize)> {
        if self.kind == Kind::Text {
            self.utf8.feed(piece).map_err(|at| (Violation::Text, at))?;
        }
        let most = usize::try_from(more).unwrap_or(usize::MAX).saturating_add(self.bytes.len() + piece.len());
        buffers
            .append(&mut self.bytes, piece, most)
            .map_err(|full| (Violation::OutOfMemory { limit: full.limit, met: full.used }, 0))
    }

    /// The message, now that its last frame is there. The error is a text that ends inside a character.
    pub(crate) fn finish(self, buffers: &mut Buffers) -> Result<(Kind, Vec<u8>), Violation> {
        if self.utf8.is_whole() {
            return Ok((self.kind, self.bytes));
        }
        self.discard(buffers);
        Err(Violation::Text)
    }

    pub(crate) fn discard(self, buffers: &mut Buffers) {
        buffers.give_back(self.bytes);
    }
}

/// Whether `len` more bytes fit: compared so that nothing can wrap.
pub(crate) fn check_length(have: usize, len: u64, limits: &Limits) -> Result<(), Violation> {
    let room = limits.max_message.saturating_sub(have) as u64;
    if len > room {
        let met = len.saturating_add(have as u64);
        return Err(Violation::MessageTooBig { limit: limits.max_message, met });
    }
    Ok(())
}

/// Checks the payload of a message that came in one piece. The error is where the first bad byte of a text is.
pub(crate) fn check_whole(kind: Kind, payload: &[u8]) -> Result<(), usize> {
    match kind {
        Kind::Text => utf8::check(payload).map_err(|_| utf8::first_bad_byte(payload)),
        Kind::Binary => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_near_the_top_do_not_wrap_past_the_limit() {
        let limits = Limits { max_message: 100, ..Limits::default() };
        assert_eq!(check_length(60, 40, &limits), Ok(()));
        assert!(check_length(60, 41, &limits).is_err());
        assert!(check_length(60, u64::MAX, &limits).is_err());
        assert!(check_length(60, u64::MAX - 59, &limits).is_err());
    }

    #[test]
    fn a_prepared_message_is_the_frame_that_a_server_sends() {
        let prepared = Prepared::new(Message::text("hi")).unwrap();
        assert_eq!(&prepared.frame()[..], b"\x81\x02hi");
        assert_eq!(prepared.message(), Message::text("hi"));
        let bad = Prepared::new(Message { kind: Kind::Text, data: b"\xff" });
        assert_eq!(bad.err(), Some(Misuse::NotUtf8(0)));
    }
}
