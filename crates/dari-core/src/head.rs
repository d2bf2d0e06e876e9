//! The head of an HTTP/1 message, collected as it drips in: every byte is looked at once.

use crate::io::Io;
use crate::{Limits, Violation};

/// What has come of a head. Empty, it owns no memory.
#[derive(Debug, Default)]
pub(crate) struct Head {
    bytes: Vec<u8>,
    /// Bytes on the line that is being read.
    column: usize,
    /// Lines before it.
    lines: usize,
    /// The last byte was a CR.
    after_cr: bool,
}

impl Head {
    /// Takes the head's bytes off the front of `input`. `Some` holds a whole head, its empty line included; the
    /// error tells how far into what was taken the offence is. `begin`: what any such head begins with.
    pub(crate) fn take(
        &mut self,
        input: &mut &mut [u8],
        begin: &[u8],
        limits: &Limits,
        io: &mut Io<'_>,
    ) -> Result<Option<Vec<u8>>, (Violation, usize)> {
        let scan = self.scan(input, begin, limits);
        let taken = match scan {
            Ok(end) => end.unwrap_or(input.len()),
            Err((_, at)) => at,
        };
        let (front, rest) = std::mem::take(input).split_at_mut(taken);
        *input = rest;
        let whole = scan?.is_some();
        io.buffers.append(&mut self.bytes, front, limits.max_head).map_err(|full| (full.into(), 0))?;
        if !whole {
            return Ok(None);
        }
        Ok(Some(std::mem::take(self).bytes))
    }

    /// Bytes that have come.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of memory that it has.
    pub(crate) fn held(&self) -> usize {
        self.bytes.capacity()
    }

    pub(crate) fn release(&mut self, io: &mut Io<'_>) {
        io.buffers.give_back(std::mem::take(&mut self.bytes));
    }

    /// Where the head ends in `input`, if it does.
    fn scan(&mut self, input: &[u8], begin: &[u8], limits: &Limits) -> Result<Option<usize>, (Violation, usize)> {
        let room = limits.max_head.saturating_sub(self.bytes.len());
        let mut next = 0;
        while let Some(byte) = input.get(next) {
            let at = next;
            if at >= room {
                return Err((Violation::HeadTooLong { limit: limits.max_head }, at));
            }
            // Mostly it is a line of which only the end is of interest.
            let is_in_line = (self.column > 0 || *byte > b' ') && !self.after_cr;
            if is_in_line && (self.lines > 0 || self.column >= begin.len()) {
                let rest = input.get(at..room.min(input.len())).unwrap_or_default();
                let plain = plain_bytes(rest);
                self.column += plain;
                next += plain;
                if rest.get(plain..).is_some_and(|rest| rest.starts_with(b"\r\n")) {
                    (self.column, self.lines) = (0, self.lines + 1);
                    next += 2;
                    continue;
                }
                if plain > 0 {
                    continue;
                }
            }
            next += 1;
            match byte {
                b'\n' if !self.after_cr => return Err((Violation::BareLineFeed, at)),
                b'\n' => {
                    // RFC 9112 2.2: an empty line before the first one is passed over.
                    if self.column == 0 && self.lines > 0 {
                        return Ok(Some(at + 1));
                    }
                    if self.column > 0 {
                        self.lines += 1;
                    }
                    (self.column, self.after_cr) = (0, false);
                    continue;
                }
                _ if self.after_cr => return Err((Violation::BareCarriageReturn, at)),
                b'\r' => {
                    self.after_cr = true;
                    continue;
                }
                b' ' | b'\t' if self.column == 0 && self.lines > 0 => return Err((Violation::FoldedHeader, at)),
                0..=8 | 10..=31 | 127 => return Err((Violation::BadByteInHead, at)),
                // Who speaks something else may say no more, and wait.
                _ if self.lines == 0 && begin.get(self.column).is_some_and(|wanted| wanted != byte) => {
                    return Err((Violation::BadStatusLine, at));
                }
                _ => {}
            }
            self.column += 1;
        }
        Ok(None)
    }
}

/// How many bytes at the front of `bytes` may stand within a line and end nothing, up to the first tab.
fn plain_bytes(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks();
    for (nth, word) in words.iter().enumerate() {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            return nth * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    words.len() * 8 + rest.iter().position(|byte| *byte < b' ' || *byte == 127).unwrap_or(rest.len())
}

/// The top bit of each byte below a space or equal to 127. The lowest bit that is set is true; one above it may not be,
/// since subtracting borrows from there.
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let low = word.wrapping_sub(ONES * 32) & !word;
    let del = word ^ (ONES * 127);
    (low | (del.wrapping_sub(ONES) & !del)) & (ONES * 128)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Buffers, NoEntropy};

    fn take(pieces: &[&[u8]], limits: &Limits) -> Result<(Option<Vec<u8>>, Vec<u8>), Violation> {
        let (mut head, mut out, mut buffers, mut entropy) =
            (Head::default(), Vec::new(), Buffers::default(), NoEntropy);
        let mut io = Io { entropy: &mut entropy, buffers: &mut buffers, out: &mut out };
        for piece in pieces {
            let mut bytes = piece.to_vec();
            let mut input = &mut bytes[..];
            if let Some(whole) = head.take(&mut input, b"", limits, &mut io).map_err(|(rule, _)| rule)? {
                return Ok((Some(whole), input.to_vec()));
            }
        }
        Ok((None, Vec::new()))
    }

    #[test]
    fn a_head_ends_at_its_empty_line_wherever_it_is_cut() {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        let head = text[..27].to_vec();
        for cut in 0..27 {
            let (a, b) = text.split_at(cut);
            assert_eq!(take(&[a, b], &Limits::default()), Ok((Some(head.clone()), b"rest".to_vec())));
        }
    }

    #[test]
    fn the_first_byte_that_is_not_plain_is_found_wherever_it_stands() {
        for fill in [b' ', b'a', 0x80, 0xff] {
            for (byte, at) in (0..=255).flat_map(|byte| (0..20).map(move |at| (byte, at))) {
                let mut bytes = [fill; 20];
                bytes[at] = byte;
                let wanted = if byte < b' ' || byte == 127 { at } else { 20 };
                assert_eq!(plain_bytes(&bytes), wanted, "{byte} at {at} among {fill}");
            }
        }
    }

    #[test]
    fn tricks_are_refused() {
        let refused = |text: &[u8]| take(&[text], &Limits::default()).err();
        assert_eq!(refused(b"GET / HTTP/1.1\nHost: a\n\n"), Some(Violation::BareLineFeed));
        assert_eq!(refused(b"GET / HTTP/1.1\rHost: a\r\n"), Some(Violation::BareCarriageReturn));
        assert_eq!(refused(b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n"), Some(Violation::FoldedHeader));
        assert_eq!(refused(b"GET / HTTP/1.1\r\nA: \0\r\n\r\n"), Some(Violation::BadByteInHead));
        assert_eq!(refused(b"\x16\x03\x01\x02\x00"), Some(Violation::BadByteInHead));
        let limits = Limits { max_head: 20, ..Limits::default() };
        let long = take(&[b"GET / HTTP/1.1\r\n", b"Host: a\r\n\r\n"], &limits);
        assert_eq!(long, Err(Violation::HeadTooLong { limit: 20 }));
    }
}
