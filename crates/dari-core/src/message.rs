//! Messages: what they are, how one is put together from fragments, and how one is framed.

use crate::buffers::{Buffers, OutOfMemory};
use crate::deflate::{self, Codec};
use crate::frame::{First, Head, MAX_HEADER, Opcode};
use crate::io::{Entropy, Io};
use crate::mask::unmask;
use crate::utf8::{self, Utf8};
use crate::{Limits, Misuse, Violation};
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

/// Text or binary (RFC 6455 5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

impl Kind {
    pub(crate) fn opcode(self) -> Opcode {
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

    /// Whether text is UTF-8.
    #[inline]
    pub(crate) fn is_sound(&self) -> bool {
        self.kind == Kind::Binary || utf8::check(self.data).is_ok()
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

/// Whether a message is to be compressed, where the peer has agreed to it (RFC 7692).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Squeeze {
    /// If it is long enough.
    #[default]
    Auto,
    /// Whatever its length.
    Yes,
    /// Not this one.
    No,
}

/// A frame that goes to many peers: header and payload, as a server sends them.
///
/// Queues share it by an `Arc` that belongs to one thread, and threads share the bytes behind it: if several send the
/// same message, they do not write to the same count for each of their peers.
#[derive(Debug)]
pub struct Framed(Arc<Vec<u8>>);

impl Deref for Framed {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Framed {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Arc::new(bytes))
    }
}

/// A message framed once, to be sent to many.
#[derive(Clone, Debug)]
pub struct Prepared {
    kind: Kind,
    squeeze: Squeeze,
    frame: Arc<Framed>,
    header: usize,
    /// The same, compressed, for each window and level that was asked for; nothing where that is no gain.
    squeezed: Arc<Mutex<Vec<Squeezed>>>,
}

type Squeezed = ((u8, u8), Option<Arc<Framed>>);

impl Prepared {
    /// Checks and frames `message`.
    pub fn new(message: Message<'_>) -> Result<Self, Misuse> {
        Self::new_with(message, Squeeze::Auto)
    }

    /// The same, and whether it is to be compressed for peers that have agreed to that.
    pub fn new_with(message: Message<'_>, squeeze: Squeeze) -> Result<Self, Misuse> {
        message.check()?;
        let frame = framed(First::whole(message.kind.opcode()), message.data).ok_or(Misuse::OutOfMemory)?;
        let header = frame.len() - message.data.len();
        Ok(Self { kind: message.kind, squeeze, frame, header, squeezed: Arc::default() })
    }

    /// The same message for another thread: the bytes are shared, but nothing that is written to for each peer.
    pub fn apart(&self) -> Self {
        let frame = Arc::new(Framed(Arc::clone(&self.frame.0)));
        Self { frame, squeezed: Arc::default(), ..*self }
    }

    /// The message.
    pub fn message(&self) -> Message<'_> {
        Message { kind: self.kind, data: self.frame.get(self.header..).unwrap_or_default() }
    }

    pub(crate) fn squeeze(&self) -> Squeeze {
        self.squeeze
    }

    /// The whole frame, unmasked.
    pub fn frame(&self) -> &Arc<Framed> {
        &self.frame
    }

    /// The whole frame, compressed: once for each `key`. Nothing if that is no gain.
    pub(crate) fn squeezed(&self, key: (u8, u8), buffers: &mut Buffers) -> Option<Arc<Framed>> {
        let mut known = self.squeezed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, frame)) = known.iter().find(|(known, _)| *known == key) {
            return frame.clone();
        }
        let message = self.message();
        // Another time there may be memory for it.
        let frame = match deflate::compress_shared(message.data, key, buffers).ok()? {
            Some(payload) => {
                let first = First { compressed: true, ..First::whole(message.kind.opcode()) };
                Some(framed(first, &payload)?)
            }
            None => None,
        };
        known.push((key, frame.clone()));
        frame
    }
}

/// A frame of a server's; nothing without memory for it.
fn framed(first: First, payload: &[u8]) -> Option<Arc<Framed>> {
    let head = Head::new(first, None, payload.len());
    let mut frame = Vec::new();
    frame.try_reserve_exact(MAX_HEADER + payload.len()).ok()?;
    head.write(&mut frame);
    frame.extend_from_slice(payload);
    Some(Arc::new(frame.into()))
}

/// Appends a data frame that is a whole message, compressed if both sides want it.
pub(crate) fn write(
    message: Message<'_>,
    squeeze: Squeeze,
    codec: Option<&mut Codec>,
    is_client: bool,
    io: &mut Io<'_>,
) {
    let first = First::whole(message.kind.opcode());
    if let Some(codec) = codec
        && wants(squeeze, codec, message.data.len())
    {
        let mut scratch = std::mem::take(&mut io.buffers.scratch);
        scratch.clear();
        let compressed = codec.compress(message.data, io.buffers, &mut scratch);
        if compressed {
            write_frame(First { compressed, ..first }, &scratch, is_client, io);
        }
        io.buffers.scratch = scratch;
        if compressed {
            return;
        }
    }
    write_frame(first, message.data, is_client, io);
}

/// Whether a message of `len` bytes is to be compressed.
pub(crate) fn wants(squeeze: Squeeze, codec: &Codec, len: usize) -> bool {
    match squeeze {
        Squeeze::Auto => codec.wants(len),
        Squeeze::Yes => true,
        Squeeze::No => false,
    }
}

/// Appends one part of a message: a frame of its own.
pub(crate) fn write_part(part: Message<'_>, is_first: bool, is_last: bool, is_client: bool, io: &mut Io<'_>) {
    let opcode = if is_first { part.kind.opcode() } else { Opcode::Continuation };
    write_frame(First { opcode, fin: is_last, compressed: false }, part.data, is_client, io);
}

/// Appends a control frame; its payload has at most 125 bytes.
pub(crate) fn write_control(opcode: Opcode, payload: &[u8], is_client: bool, io: &mut Io<'_>) {
    write_frame(First::whole(opcode), payload, is_client, io);
}

/// Appends a frame. A client masks (RFC 6455 5.3), and so has to copy.
fn write_frame(first: First, payload: &[u8], is_client: bool, io: &mut Io<'_>) {
    if !is_client {
        return io.out.frame(Head::new(first, None, payload.len()), payload);
    }
    let key = mask_key(io.entropy);
    let Some(out) = io.out.room_for(MAX_HEADER + payload.len()) else { return };
    Head::new(first, Some(key), payload.len()).write(out);
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

/// Bytes from which on it pays to receive them where they will stay.
const LONG: usize = 32 << 10;

/// A message that is not all there yet.
#[derive(Debug)]
pub(crate) struct Assembly {
    kind: Kind,
    is_compressed: bool,
    bytes: Vec<u8>,
    /// How many of them count.
    filled: usize,
    /// Bytes of the message so far, those that were handed on included.
    len: usize,
    utf8: Utf8,
    empty_fragments: u32,
}

impl Assembly {
    pub(crate) fn new(kind: Kind, is_compressed: bool) -> Self {
        Self { kind, is_compressed, bytes: Vec::new(), filled: 0, len: 0, utf8: Utf8::default(), empty_fragments: 0 }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.is_compressed
    }

    /// Checks a frame's header against the limits, before its payload comes.
    pub(crate) fn expect(&mut self, len: u64, fin: bool, limits: &Limits) -> Result<(), Violation> {
        // How long a compressed message is shows while it is inflated.
        if !self.is_compressed {
            check_length(self.len, len, limits)?;
        }
        if len == 0 && !fin {
            self.empty_fragments += 1;
            if self.empty_fragments > limits.max_empty_fragments {
                return Err(Violation::TooManyEmptyFragments { limit: limits.max_empty_fragments });
            }
        }
        Ok(())
    }

    /// Checks the next piece of a message that is handed on in parts. The error tells where in it the offence begins.
    pub(crate) fn pass(&mut self, piece: &[u8]) -> Result<(), (Violation, usize)> {
        if self.kind == Kind::Text {
            self.utf8.feed(piece).map_err(|at| (Violation::Text, at))?;
        }
        self.len += piece.len();
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
        self.pass(piece)?;
        let most = usize::try_from(more).unwrap_or(usize::MAX).saturating_add(self.filled + piece.len());
        buffers.fill(&mut self.bytes, self.filled, piece, most).map_err(|full| (full.into(), 0))?;
        self.filled += piece.len();
        Ok(())
    }

    /// Room behind what has come, for the next of `left` bytes: no more than has come already, and only where that is
    /// much. What is put there is taken by [`arrived`](Self::arrived).
    pub(crate) fn room(&mut self, most: usize, left: u64, buffers: &mut Buffers) -> Option<&mut [u8]> {
        let start = self.filled;
        let size = most.min(start).min(usize::try_from(left).unwrap_or(usize::MAX));
        if size < LONG || self.is_compressed {
            return None;
        }
        let all = usize::try_from(left).unwrap_or(usize::MAX).saturating_add(start);
        buffers.make_room(&mut self.bytes, start, size, all).ok()
    }

    /// Takes the first `len` bytes of the room, masked with `key` and `done` bytes into their frame. The error is that of
    /// [`pass`](Self::pass).
    pub(crate) fn arrived(&mut self, len: usize, key: Option<[u8; 4]>, done: u64) -> Result<(), (Violation, usize)> {
        let mut bytes = std::mem::take(&mut self.bytes);
        let piece = bytes.get_mut(self.filled..self.filled + len).unwrap_or_default();
        self.filled += len;
        if let Some(key) = key {
            unmask(piece, key, done);
        }
        let passed = self.pass(piece);
        self.bytes = bytes;
        passed
    }

    /// The same for a piece that has to be inflated: the limit holds while that goes on.
    pub(crate) fn inflate(
        &mut self,
        piece: &[u8],
        is_end: bool,
        codec: &mut Codec,
        limits: &Limits,
        buffers: &mut Buffers,
    ) -> Result<(), Violation> {
        let limit = limits.max_message;
        codec.inflate(piece, buffers, |buffers, made| {
            // Rules are broken in the order of the message's bytes, however many come at a time.
            let (fits, over) = made.split_at(made.len().min(limit.saturating_sub(self.len)));
            if self.kind == Kind::Text {
                self.utf8.feed(fits).map_err(|_| Violation::Text)?;
            }
            if !over.is_empty() {
                return Err(Violation::MessageTooBig { limit, met: (limit as u64).saturating_add(1) });
            }
            self.len += made.len();
            buffers.fill(&mut self.bytes, self.filled, made, limit)?;
            self.filled += made.len();
            Ok(())
        })?;
        if is_end { codec.finish(buffers) } else { Ok(()) }
    }

    /// What there is of the message and was not handed on yet.
    pub(crate) fn take_bytes(&mut self) -> Vec<u8> {
        self.bytes.truncate(std::mem::take(&mut self.filled));
        std::mem::take(&mut self.bytes)
    }

    /// Whether the message, now that its last frame is there, may end where it does.
    pub(crate) fn is_whole(&self) -> bool {
        self.utf8.is_whole()
    }

    /// Bytes of memory that it has.
    pub(crate) fn held(&self) -> usize {
        self.bytes.capacity()
    }

    pub(crate) fn discard(self, buffers: &mut Buffers) {
        buffers.give_back(self.bytes);
    }
}

impl From<OutOfMemory> for Violation {
    fn from(full: OutOfMemory) -> Self {
        Self::OutOfMemory { limit: full.limit, met: full.met }
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
        let apart = prepared.apart();
        assert_eq!(apart.message(), prepared.message());
        assert_eq!(apart.frame().as_ptr(), prepared.frame().as_ptr(), "nobody has copied it");
        assert_eq!((Arc::strong_count(apart.frame()), Arc::strong_count(prepared.frame())), (1, 1));
        let bad = Prepared::new(Message { kind: Kind::Text, data: b"\xff" });
        assert_eq!(bad.err(), Some(Misuse::NotUtf8(0)));
    }
}
