//! permessage-deflate (RFC 7692): messages squeezed and restored, with contexts that are borrowed where they can be.
//!
//! A connection without context takeover owns no context: it borrows one from [`Codecs`] for the length of a
//! message. One with takeover gets its contexts when it first needs them.

use crate::Violation;
use crate::buffers::{Buffers, OutOfMemory};
use crate::extension::{Agreement, MIN_BITS};
use crate::limits::Deflate;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use std::hint::black_box;
use std::panic::{UnwindSafe, catch_unwind};

/// What ends every message and is not sent (RFC 7692 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// The same, and an empty block behind it.
const TAIL_AND_BLOCK: [u8; 9] = [0, 0, 0xff, 0xff, 0, 0, 0, 0xff, 0xff];
/// Inflated bytes that are looked at before the next ones are made.
const STEP: usize = 16 << 10;
/// What a context to inflate is in bytes, with zlib-rs.
const INFLATER: usize = 47_552;
/// Contexts of a kind that are kept for later.
const KEEP: usize = 4;

/// The contexts that connections borrow, and their scratch memory.
#[derive(Debug, Default)]
#[expect(clippy::vec_box, reason = "connections hold these boxes, too, and nobody unpacks them on the way")]
pub(crate) struct Codecs {
    compressors: Vec<Box<Compressor>>,
    inflaters: Vec<Box<Decompress>>,
    /// Where a step is inflated to.
    step: Vec<u8>,
}

/// A compressor with what it was made for.
#[derive(Debug)]
struct Compressor {
    inner: Compress,
    bits: u8,
    level: u8,
}

/// What a context to compress is in bytes, with zlib-rs: what depends on the window, and the rest.
fn size_of_compressor(bits: u8) -> usize {
    (4 << bits) + 248_960
}

impl Codecs {
    /// Drops half of what is kept.
    pub(crate) fn decay(&mut self) {
        self.compressors.truncate(self.compressors.len() / 2);
        self.inflaters.truncate(self.inflaters.len() / 2);
        self.step = Vec::new();
    }

    pub(crate) fn keep_nothing(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.compressors.is_empty() && self.inflaters.is_empty() && self.step.capacity() == 0
    }
}

/// What a connection with the extension has.
#[derive(Debug)]
pub(crate) struct Codec {
    agreement: Agreement,
    wish: Deflate,
    compressor: Option<Box<Compressor>>,
    inflater: Option<Box<Decompress>>,
    /// Something of a message has come.
    begun: bool,
    /// The inflater has come to the end of a stream and waits for another, if there is one.
    ended: bool,
}

impl Codec {
    pub(crate) fn new(agreement: Agreement, wish: Deflate) -> Self {
        // Another level would be an assertion of flate2's.
        let wish = Deflate { level: wish.level.clamp(1, 9), ..wish };
        Self { agreement, wish, compressor: None, inflater: None, begun: false, ended: false }
    }

    /// What a shared compressed message has to fit: window and level; nothing if it depends on earlier messages.
    pub(crate) fn shared_key(&self) -> Option<(u8, u8)> {
        let can = !self.agreement.send_takeover && self.agreement.send_bits >= MIN_BITS;
        can.then_some((self.agreement.send_bits, self.wish.level))
    }

    /// Whether a message of this length is to be compressed, if nobody says otherwise.
    pub(crate) fn wants(&self, len: usize) -> bool {
        len >= self.wish.min
    }

    /// Bytes of memory that its contexts have.
    pub(crate) fn held(&self) -> usize {
        let compressor = self.compressor.as_ref().map_or(0, |compressor| size_of_compressor(compressor.bits));
        compressor + self.inflater.as_ref().map_or(0, |_| INFLATER)
    }

    /// Compresses a message into `out`. False: it goes out as it is, and nothing has changed.
    pub(crate) fn compress(&mut self, message: &[u8], buffers: &mut Buffers, out: &mut Vec<u8>) -> bool {
        let (bits, takeover) = (self.agreement.send_bits, self.agreement.send_takeover);
        if bits < MIN_BITS || message.is_empty() {
            return false;
        }
        let kept = self.compressor.take();
        let Some(mut compressor) = kept.or_else(|| borrow_compressor(buffers, bits, self.wish.level).ok()) else {
            return false;
        };
        let done = deflate(&mut compressor.inner, message, out).is_some();
        // Without takeover the peer has no need of what did not get smaller.
        let worth = done && (takeover || out.len() < message.len());
        if takeover && done {
            self.compressor = Some(compressor);
        } else {
            return_compressor(buffers, compressor);
        }
        worth
    }

    /// Inflates the next piece of a message and hands what comes of it to `take`, a step at a time.
    pub(crate) fn inflate(
        &mut self,
        piece: &[u8],
        buffers: &mut Buffers,
        mut take: impl FnMut(&mut Buffers, &[u8]) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        if self.inflater.is_none() {
            self.inflater = Some(borrow_inflater(buffers)?);
        }
        self.begun |= !piece.is_empty();
        let mut step = std::mem::take(&mut buffers.codecs.step);
        if step.try_reserve_exact(STEP - step.len()).is_err() {
            return Err(buffers.short_of(STEP).into());
        }
        step.resize(STEP, 0);
        let done = self.inflate_by(&mut step, piece, |made| take(buffers, made));
        buffers.codecs.step = step;
        done
    }

    fn inflate_by(
        &mut self,
        step: &mut [u8],
        piece: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let Some(inflater) = self.inflater.as_mut() else { return Ok(()) };
        let mut rest = piece;
        loop {
            if self.ended && !rest.is_empty() {
                // RFC 7692 7.2.3.4: behind a block with BFINAL another stream may follow in the same message.
                inflater.reset(false);
                self.ended = false;
            }
            if self.ended {
                return Ok(());
            }
            let (taken, made) = (inflater.total_in(), inflater.total_out());
            let status = inflater.decompress(rest, step, FlushDecompress::Sync);
            let count = |before: u64, after: u64| usize::try_from(after - before).unwrap_or(0);
            let (taken, made) = (count(taken, inflater.total_in()), count(made, inflater.total_out()));
            rest = rest.get(taken..).unwrap_or_default();
            // What was good before the first bad byte counts: a rule that it breaks was broken first.
            take(step.get(..made).unwrap_or_default())?;
            match status.map_err(|_| Violation::Deflate)? {
                Status::StreamEnd => self.ended = true,
                // There is room left, so there is nothing more to come.
                _ if made < step.len() && rest.is_empty() => return Ok(()),
                _ if made == 0 && taken == 0 => return Err(Violation::Deflate),
                _ => {}
            }
        }
    }

    /// The end of a message: what RFC 7692 7.2.2 has the receiver add.
    pub(crate) fn finish(&mut self, buffers: &mut Buffers) -> Result<(), Violation> {
        // Some send an empty message as no byte at all: the tail would be the front of a block then.
        if self.begun && !self.ended {
            // The tail is the rest of an empty block. Where it brings anything, or no other block can follow, the
            // message was cut short, and what comes next would be read in the middle of it.
            self.inflate(&TAIL_AND_BLOCK, buffers, |_, made| match made {
                [] => Ok(()),
                _ => Err(Violation::Deflate),
            })?;
        }
        self.end_message(buffers);
        Ok(())
    }

    /// Gives the inflater back between two messages, if the next one does not need what it knows.
    fn end_message(&mut self, buffers: &mut Buffers) {
        self.begun = false;
        if !self.agreement.receive_takeover
            && let Some(inflater) = self.inflater.take()
        {
            self.ended = false;
            return_inflater(buffers, inflater);
        }
    }

    /// Gives both contexts back, whatever they know; for when no message comes or goes any more.
    pub(crate) fn release(&mut self, buffers: &mut Buffers) {
        if let Some(inflater) = self.inflater.take() {
            return_inflater(buffers, inflater);
        }
        if let Some(compressor) = self.compressor.take() {
            return_compressor(buffers, compressor);
        }
    }
}

/// Compresses a message that many get, without any context. Nothing if that does not make it shorter.
pub(crate) fn compress_shared(
    message: &[u8],
    key: (u8, u8),
    buffers: &mut Buffers,
) -> Result<Option<Vec<u8>>, OutOfMemory> {
    let (bits, level) = key;
    let mut compressor = borrow_compressor(buffers, bits, level)?;
    let mut out = Vec::new();
    let done = deflate(&mut compressor.inner, message, &mut out);
    return_compressor(buffers, compressor);
    Ok(done.filter(|()| out.len() < message.len()).map(|()| out))
}

/// RFC 7692 7.2.1: deflate with an empty block at the end, of which the last four bytes are not sent.
fn deflate(compressor: &mut Compress, message: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let start = compressor.total_in();
    loop {
        let done = usize::try_from(compressor.total_in() - start).ok()?;
        let rest = message.get(done..)?;
        out.try_reserve((rest.len() / 4).max(STEP / 4)).ok()?;
        compressor.compress_vec(rest, out, FlushCompress::Sync).ok()?;
        // Room left behind everything: the flush is complete.
        if usize::try_from(compressor.total_in() - start).ok()? == message.len() && out.len() < out.capacity() {
            break;
        }
    }
    let len = out.len().checked_sub(TAIL.len())?;
    if out.get(len..) != Some(&TAIL) {
        return None;
    }
    out.truncate(len);
    Some(())
}

fn borrow_compressor(buffers: &mut Buffers, bits: u8, level: u8) -> Result<Box<Compressor>, OutOfMemory> {
    let size = size_of_compressor(bits);
    buffers.charge(size)?;
    let kept = &mut buffers.codecs.compressors;
    if let Some(at) = kept.iter().position(|kept| kept.bits == bits && kept.level == level) {
        return Ok(kept.swap_remove(at));
    }
    match make(size, || Compress::new_with_window_bits(Compression::new(level.into()), false, bits)) {
        Some(inner) => Ok(Box::new(Compressor { inner, bits, level })),
        None => {
            buffers.uncharge(size);
            Err(buffers.short_of(size))
        }
    }
}

fn return_compressor(buffers: &mut Buffers, mut compressor: Box<Compressor>) {
    buffers.uncharge(size_of_compressor(compressor.bits));
    if buffers.codecs.compressors.len() < KEEP {
        compressor.inner.reset();
        buffers.codecs.compressors.push(compressor);
    }
}

fn borrow_inflater(buffers: &mut Buffers) -> Result<Box<Decompress>, Violation> {
    buffers.charge(INFLATER).map_err(Violation::from)?;
    let kept = buffers.codecs.inflaters.pop();
    kept.or_else(|| make(INFLATER, || Decompress::new(false)).map(Box::new)).ok_or_else(|| {
        buffers.uncharge(INFLATER);
        buffers.short_of(INFLATER).into()
    })
}

/// Makes a context of `bytes`. zlib-rs asks for them in one piece, and panics if it does not get it: so the piece is
/// asked for before, and where another thread is quicker the panic is nobody's but zlib-rs's.
fn make<T>(bytes: usize, make: impl FnOnce() -> T + UnwindSafe) -> Option<T> {
    let mut piece = Vec::<u8>::new();
    piece.try_reserve_exact(bytes).ok()?;
    // Or the compiler would see that nothing is done with it.
    drop(black_box(piece));
    catch_unwind(make).ok()
}

fn return_inflater(buffers: &mut Buffers, mut inflater: Box<Decompress>) {
    buffers.uncharge(INFLATER);
    if buffers.codecs.inflaters.len() < KEEP {
        inflater.reset(false);
        buffers.codecs.inflaters.push(inflater);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec(takeover: bool, bits: u8) -> Codec {
        let agreement = Agreement { send_bits: bits, send_takeover: takeover, receive_takeover: takeover };
        Codec::new(agreement, Deflate { takeover, level: 6, min: 0 })
    }

    fn inflate(codec: &mut Codec, buffers: &mut Buffers, data: &[u8], cut: usize) -> Result<Vec<u8>, Violation> {
        let mut all = Vec::new();
        let (a, b) = data.split_at(cut);
        for piece in [a, b] {
            codec.inflate(piece, buffers, |_, made| {
                all.extend_from_slice(made);
                Ok(())
            })?;
        }
        codec.finish(buffers)?;
        Ok(all)
    }

    #[test]
    fn what_is_compressed_comes_back_with_and_without_takeover() {
        for takeover in [false, true] {
            for bits in [9, 12, 15] {
                let mut buffers = Buffers::default();
                let (mut ours, mut theirs) = (codec(takeover, bits), codec(takeover, 15));
                let mut sizes = Vec::new();
                for round in 0..3 {
                    let message = format!("다리 bridge {round} ").repeat(3_000).into_bytes();
                    let mut out = Vec::new();
                    assert!(ours.compress(&message, &mut buffers, &mut out));
                    sizes.push(out.len());
                    let cut = out.len() / 3;
                    assert_eq!(inflate(&mut theirs, &mut buffers, &out, cut), Ok(message));
                }
                ours.release(&mut buffers);
                theirs.release(&mut buffers);
                assert_eq!(buffers.used(), 0);
            }
        }
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        // RFC 7692 7.2.3: "Hello" in its five forms.
        let mut buffers = Buffers::default();
        let hello = |bytes: &[u8], buffers: &mut Buffers| {
            for cut in 0..=bytes.len() {
                let got = inflate(&mut codec(false, 15), buffers, bytes, cut);
                assert_eq!(got.as_deref(), Ok(&b"Hello"[..]), "{bytes:x?} cut at {cut}");
            }
        };
        hello(&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], &mut buffers);
        hello(&[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00], &mut buffers);
        hello(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], &mut buffers);
        hello(&[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00], &mut buffers);
        // 7.2.3.2: the second message refers to the first.
        let mut codec = codec(true, 15);
        for bytes in [&[0xf2u8, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..], &[0xf2, 0x00, 0x11, 0x00, 0x00]] {
            assert_eq!(inflate(&mut codec, &mut buffers, bytes, 1).as_deref(), Ok(&b"Hello"[..]));
        }
        // 7.2.3.6: an empty message.
        assert_eq!(inflate(&mut codec, &mut buffers, &[0], 0).as_deref(), Ok(&b""[..]));
    }

    #[test]
    fn rubbish_is_refused() {
        let mut buffers = Buffers::default();
        let bad = inflate(&mut codec(false, 15), &mut buffers, &[0xff; 20], 5);
        assert_eq!(bad, Err(Violation::Deflate));
    }
}
