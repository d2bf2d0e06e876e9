//! The body of a plain request, collected up to a limit: by length, or chunk by chunk (RFC 9112 7.1).

use crate::http::Framing;
use crate::io::Io;
use crate::{Limits, Violation};

/// Bytes of chunk extensions and trailers that are read and thrown away before it is too much.
const MOST_OVERHEAD: usize = 8 << 10;

/// What is expected next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// This many bytes, and that is all.
    Rest(usize),
    /// A line with a chunk's size; what has been read of the number.
    Size { size: usize, digits: u32, extension: bool },
    /// This many bytes of a chunk.
    Chunk(usize),
    /// The line end behind a chunk.
    ChunkEnd,
    /// A trailer line; its length so far.
    Trailer(usize),
}

/// A body on its way.
#[derive(Debug)]
pub(crate) struct BodyReader {
    next: Next,
    after_cr: bool,
    overhead: usize,
}

impl BodyReader {
    /// A reader for a body, or nothing if there is none.
    pub(crate) fn new(framing: Framing) -> Option<Self> {
        let next = match framing {
            Framing::None => return None,
            Framing::Length(len) => Next::Rest(len),
            Framing::Chunked => Next::Size { size: 0, digits: 0, extension: false },
        };
        Some(Self { next, after_cr: false, overhead: 0 })
    }

    /// Takes the body's bytes off the front of `input` into `body`; true when it is whole. On an error the front of
    /// `input` is what is wrong.
    pub(crate) fn take(
        &mut self,
        input: &mut &mut [u8],
        body: &mut Vec<u8>,
        limits: &Limits,
        io: &mut Io<'_>,
    ) -> Result<bool, Violation> {
        while !input.is_empty() {
            let whole = match self.next {
                Next::Rest(left) => {
                    let left = left - Self::copy(input, left, body, limits, io)?;
                    self.next = Next::Rest(left);
                    left == 0
                }
                Next::Chunk(left) => {
                    let left = left - Self::copy(input, left, body, limits, io)?;
                    self.next = if left > 0 { Next::Chunk(left) } else { Next::ChunkEnd };
                    false
                }
                _ => {
                    let Some(byte) = input.first().copied() else { return Ok(false) };
                    let whole = self.framing_byte(byte, body.len(), limits)?;
                    let _ = input.split_off_first_mut();
                    whole
                }
            };
            if whole {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn copy(
        input: &mut &mut [u8],
        left: usize,
        body: &mut Vec<u8>,
        limits: &Limits,
        io: &mut Io<'_>,
    ) -> Result<usize, Violation> {
        let len = left.min(input.len());
        let piece = input.get(..len).unwrap_or_default();
        io.buffers.append(body, piece, limits.max_body).map_err(Violation::from)?;
        let _ = input.split_off_mut(..len);
        Ok(len)
    }

    /// One byte that is not part of the body itself.
    fn framing_byte(&mut self, byte: u8, have: usize, limits: &Limits) -> Result<bool, Violation> {
        if std::mem::replace(&mut self.after_cr, byte == b'\r') {
            return if byte == b'\n' { self.line_end(have, limits) } else { Err(Violation::BadChunk) };
        }
        if byte == b'\r' {
            return Ok(false);
        }
        match &mut self.next {
            Next::Size { size, digits, extension: false } if byte.is_ascii_hexdigit() => {
                *digits += 1;
                let value = char::from(byte).to_digit(16).unwrap_or_default() as usize;
                *size = size.checked_mul(16).and_then(|size| size.checked_add(value)).ok_or(Violation::BadChunk)?;
                // A chunk holds a byte for at most so many, so they need no limit of their own.
                return if *digits > 16 { Err(Violation::BadChunk) } else { Ok(false) };
            }
            Next::Size { digits, extension, .. } if *digits > 0 && (*extension || byte == b';') => *extension = true,
            Next::Trailer(len) => *len += 1,
            _ => return Err(Violation::BadChunk),
        }
        // RFC 9112 7.1.1: what a chunk may say beside its bytes is limited, too.
        self.overhead += 1;
        if self.overhead > MOST_OVERHEAD.max(limits.max_body / 4) || byte == b'\n' || byte == 0 {
            return Err(Violation::BadChunk);
        }
        Ok(false)
    }

    fn line_end(&mut self, have: usize, limits: &Limits) -> Result<bool, Violation> {
        self.next = match self.next {
            Next::Size { digits: 0, .. } => return Err(Violation::BadChunk),
            Next::Size { size: 0, .. } => Next::Trailer(0),
            Next::Size { size, .. } if size > limits.max_body.saturating_sub(have) => {
                return Err(Violation::BodyTooLong { limit: limits.max_body });
            }
            Next::Size { size, .. } => Next::Chunk(size),
            Next::ChunkEnd => Next::Size { size: 0, digits: 0, extension: false },
            Next::Trailer(0) => return Ok(true),
            Next::Trailer(_) => Next::Trailer(0),
            Next::Rest(_) | Next::Chunk(_) => return Err(Violation::BadChunk),
        };
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Buffers, NoEntropy};

    type Read = Result<Option<(Vec<u8>, Vec<u8>)>, Violation>;

    /// The body of `bytes` and what is left behind it, cut in two at every place and read byte by byte.
    fn read(framing: Framing, bytes: &[u8], limits: &Limits) -> Read {
        let run = |pieces: Vec<&[u8]>| {
            let (mut out, mut buffers, mut entropy) = (Vec::new(), Buffers::default(), NoEntropy);
            let mut io = Io { entropy: &mut entropy, buffers: &mut buffers, out: &mut out };
            let (mut reader, mut body) = (BodyReader::new(framing).unwrap(), Vec::new());
            let mut whole = false;
            let mut left = Vec::new();
            for piece in pieces {
                let mut piece = piece.to_vec();
                let mut input = &mut piece[..];
                whole = whole || reader.take(&mut input, &mut body, limits, &mut io)?;
                left.extend_from_slice(input);
            }
            Ok(whole.then_some((body, left)))
        };
        let whole = run(vec![bytes]);
        for cut in 0..bytes.len() {
            let (a, b) = bytes.split_at(cut);
            assert_eq!(run(vec![a, b]), whole, "cut at {cut}");
        }
        assert_eq!(run(bytes.chunks(1).collect()), whole);
        whole
    }

    #[test]
    fn chunks_are_joined_and_what_follows_stays() {
        let limits = Limits::default();
        let text = b"4;a=b\r\nWiki\r\n5\r\npedia\r\n0\r\nTrailer: x\r\n\r\nGET";
        let wanted = Some((b"Wikipedia".to_vec(), b"GET".to_vec()));
        assert_eq!(read(Framing::Chunked, text, &limits), Ok(wanted));
        let wanted = Some((b"abc".to_vec(), b"GET".to_vec()));
        assert_eq!(read(Framing::Length(3), b"abcGET", &limits), Ok(wanted));
    }

    #[test]
    fn bad_chunks_and_long_bodies_are_refused() {
        let limits = Limits { max_body: 10, ..Limits::default() };
        let refused = |text: &[u8]| read(Framing::Chunked, text, &limits).err();
        assert_eq!(refused(b"\r\n"), Some(Violation::BadChunk));
        assert_eq!(refused(b"-1\r\n"), Some(Violation::BadChunk));
        assert_eq!(refused(b"1\nx"), Some(Violation::BadChunk));
        assert_eq!(refused(b"1\r\nxy\r\n"), Some(Violation::BadChunk));
        assert_eq!(refused(b"fffffffffffffffff\r\n"), Some(Violation::BadChunk));
        assert_eq!(refused(b"b\r\n"), Some(Violation::BodyTooLong { limit: 10 }));
        assert_eq!(refused(b"a\r\n0123456789\r\n1\r\n"), Some(Violation::BodyTooLong { limit: 10 }));
    }
}
