//! Counts messages by their headers alone. No payload is looked at, so that a load stays cheaper than a server.

use crate::Failure;

/// From how many bytes of payload on the rest is not copied out of the kernel.
pub const LARGE: u64 = 8 << 10;

/// The longest header: two bytes, a length of eight, a mask.
pub const HEADER: usize = 14;

const FIN: u8 = 0x80;
const CLOSE: u8 = 8;
const MASKED: u8 = 0x80;

/// Where in a stream of frames it is.
#[derive(Debug, Default)]
pub struct Walker {
    header: [u8; HEADER],
    have: usize,
    /// Of the payload, not seen yet.
    left: u64,
    /// Messages that end with it.
    ends: u64,
}

impl Walker {
    /// Walks over bytes; how many messages ended in them.
    pub fn walk(&mut self, mut bytes: &[u8]) -> Result<u64, Failure> {
        let mut ended = 0;
        while !bytes.is_empty() {
            if self.left > 0 {
                let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                bytes = &bytes[here..];
                ended += self.skip(here);
                continue;
            }
            let here = (self.needs() - self.have).min(bytes.len());
            self.header[self.have..self.have + here].copy_from_slice(&bytes[..here]);
            self.have += here;
            bytes = &bytes[here..];
            if self.have >= 2 && self.have == self.needs() {
                ended += self.begin()?;
            }
        }
        Ok(ended)
    }

    /// Passes over payload that was taken off the stream elsewhere: how many messages ended with it.
    pub fn skip(&mut self, bytes: usize) -> u64 {
        self.left -= bytes as u64;
        if self.left == 0 { self.ends } else { 0 }
    }

    /// Takes `frames` more frames of `whole` bytes for payload of the one that has begun. Their headers are not looked
    /// at; if they were not what they are taken for, the next header would make no sense.
    pub fn leap(&mut self, frames: u64, whole: u64) {
        self.left += frames * whole;
        self.ends += frames;
    }

    /// Bytes of the payload that are still to come.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Bytes of the header that are still to come, as far as is known.
    pub fn header_left(&self) -> usize {
        self.needs() - self.have
    }

    /// How long the header is, as far as is known.
    fn needs(&self) -> usize {
        if self.have < 2 {
            return 2;
        }
        let length = match self.header[1] & 127 {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + if self.header[1] & MASKED == 0 { 0 } else { 4 }
    }

    /// The header is here: 1 if the message ends with it.
    fn begin(&mut self) -> Result<u64, Failure> {
        let opcode = self.header[0] & 15;
        self.have = 0;
        self.left = match self.header[1] & 127 {
            126 => u64::from(u16::from_be_bytes([self.header[2], self.header[3]])),
            127 => self.header[2..10].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
            short => u64::from(short),
        };
        if opcode == CLOSE {
            return Err("the server closed the connection".into());
        }
        // Other control frames are passed over.
        self.ends = u64::from(self.header[0] & FIN != 0 && opcode < CLOSE);
        Ok(if self.left == 0 { self.ends } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::frame;

    /// Server frames of every length of header, a fragmented message, a ping between, masked ones as raw sends back.
    fn stream() -> (Vec<u8>, u64) {
        let mut bytes = vec![0x82, 0, 0x81, 3, 1, 2, 3, 0x01, 1, 9, 0x89, 2, 7, 7, 0x80, 2, 9, 9];
        for size in [125, 126, 65_535, 65_536] {
            bytes.extend(frame(0x82, &vec![1; size], [1, 2, 3, 4]));
        }
        (bytes, 3 + 4)
    }

    #[test]
    fn messages_are_counted_however_the_stream_is_cut() {
        let (bytes, messages) = stream();
        for step in [1, 2, 3, 7, 1000, bytes.len()] {
            let mut walker = Walker::default();
            let ended: u64 = bytes.chunks(step).map(|piece| walker.walk(piece).unwrap()).sum();
            assert_eq!((ended, walker.left(), walker.header_left()), (messages, 0, 2), "by {step}");
        }
    }

    #[test]
    fn payload_that_was_discarded_counts_as_walked_over() {
        let bytes = frame(0x82, &[0; 5000], [0; 4]);
        let mut walker = Walker::default();
        assert_eq!(walker.walk(&bytes[..8 + 10]).unwrap(), 0);
        assert_eq!(walker.left(), 4990);
        assert_eq!(walker.skip(4000) + walker.skip(990), 1);
    }

    #[test]
    fn a_leap_counts_every_frame_that_it_passes() {
        let frames = frame(0x82, &[0; 1000], [0; 4]).repeat(5);
        let mut walker = Walker::default();
        assert_eq!(walker.walk(&frames[..8]).unwrap(), 0);
        walker.leap(3, 1008);
        assert_eq!((walker.left(), walker.skip(4000), walker.skip(24)), (4024, 0, 4));
        assert_eq!(walker.walk(&frames[4 * 1008..]).unwrap(), 1);
    }

    #[test]
    fn a_close_frame_is_a_failure() {
        assert!(Walker::default().walk(&[0x88, 2, 3, 0xe8]).is_err());
    }
}
