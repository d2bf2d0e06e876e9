//! Messages as a client sends them, made before the clock runs.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const FIN: u8 = 0x80;
const COMPRESSED: u8 = 0x40;
/// What RFC 7692 7.2.1 has taken off the end.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// What messages hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Random bytes.
    Binary,
    /// Letters and blanks.
    Ascii,
    /// Hangul, three bytes a syllable, and blanks.
    Korean,
    /// Both, letter by letter.
    Mixed,
    /// Records with names, numbers and words: what compresses.
    Json,
}

impl Kind {
    /// A payload of exactly `size` bytes, always the same one.
    pub fn payload(self, size: usize) -> Vec<u8> {
        let mut random = Random(size as u64 + 1);
        let mut bytes = Vec::with_capacity(size + 64);
        while bytes.len() < size {
            self.extend(&mut bytes, &mut random);
        }
        if self == Self::Binary {
            bytes.truncate(size);
            return bytes;
        }
        let mut end = size;
        while bytes.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
            end -= 1;
        }
        bytes.truncate(end);
        bytes.resize(size, b' ');
        bytes
    }

    fn extend(self, bytes: &mut Vec<u8>, random: &mut Random) {
        let number = random.next();
        match self {
            Self::Binary => bytes.extend(number.to_le_bytes()),
            Self::Ascii => bytes.push(if number.is_multiple_of(6) { b' ' } else { b'a' + (number % 26) as u8 }),
            Self::Korean if number.is_multiple_of(4) => bytes.push(b' '),
            Self::Korean => {
                let syllable = char::from_u32(0xac00 + (number % 11_172) as u32).unwrap_or('가');
                bytes.extend(syllable.encode_utf8(&mut [0; 4]).bytes());
            }
            Self::Mixed if (number >> 40).is_multiple_of(2) => Self::Ascii.extend(bytes, random),
            Self::Mixed => Self::Korean.extend(bytes, random),
            Self::Json => {
                const NAMES: [&str; 8] = ["bridge", "river", "stone", "arch", "pier", "cable", "deck", "tower"];
                let record = format!(
                    r#"{{"id":{},"name":"{}","price":{}.{:02},"is_open":{},"tags":["{}","{}"]}},"#,
                    number % 1_000_000,
                    NAMES[(number >> 20) as usize % 8],
                    (number >> 24) % 1000,
                    (number >> 34) % 100,
                    (number >> 41).is_multiple_of(2),
                    NAMES[(number >> 42) as usize % 8],
                    NAMES[(number >> 45) as usize % 8],
                );
                bytes.extend(record.bytes());
            }
        }
    }

    fn opcode(self) -> u8 {
        if self == Self::Binary { BINARY } else { TEXT }
    }
}

/// Messages of one kind and size, framed.
#[derive(Debug)]
pub struct Volley {
    /// What each of them says.
    pub payload: Vec<u8>,
    /// The first of them, to be looked at.
    pub first: Vec<u8>,
    /// All of them, for one send.
    pub all: Vec<u8>,
    /// How many.
    pub depth: u64,
}

impl Volley {
    /// `depth` frames with a mask each. All say the same: a server can not know.
    pub fn new(kind: Kind, size: usize, depth: usize, is_deflated: bool) -> Self {
        let payload = kind.payload(size);
        let mut random = Random(depth as u64);
        let (first_byte, body) = if is_deflated {
            (FIN | COMPRESSED | kind.opcode(), deflate(&payload))
        } else {
            (FIN | kind.opcode(), payload.clone())
        };
        let frames: Vec<_> = (0..depth).map(|_| frame(first_byte, &body, random.mask())).collect();
        Self { payload, first: frames[0].clone(), all: frames.concat(), depth: depth as u64 }
    }
}

/// A frame as a client sends it: its first byte, its payload, which is masked with `key`.
pub fn frame(first: u8, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![first];
    if let Ok(short @ ..=125) = u8::try_from(payload.len()) {
        bytes.push(0x80 | short);
    } else if let Ok(middle) = u16::try_from(payload.len()) {
        bytes.push(0x80 | 126);
        bytes.extend(middle.to_be_bytes());
    } else {
        bytes.push(0x80 | 127);
        bytes.extend((payload.len() as u64).to_be_bytes());
    }
    bytes.extend(key);
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// Compresses a message by itself (RFC 7692 7.2.1).
pub fn deflate(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + 64);
    let mut compress = Compress::new(Compression::new(6), false);
    // There is room for everything, so nothing is left to do and nothing can fail.
    let _ = compress.compress_vec(payload, &mut bytes, FlushCompress::Sync);
    assert!(compress.total_in() == payload.len() as u64 && bytes.ends_with(&TAIL));
    bytes.truncate(bytes.len() - TAIL.len());
    bytes
}

/// A compressed message of `size` bytes (RFC 7692 7.2.2), or nothing if it is none.
pub fn inflate(body: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(size + 64);
    let whole = [body, &TAIL].concat();
    Decompress::new(false).decompress_vec(&whole, &mut bytes, FlushDecompress::Sync).ok()?;
    Some(bytes)
}

/// Numbers that look random and are the same each time (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15).max(1);
        self.0 ^= self.0 >> 29;
        self.0
    }

    fn mask(&mut self) -> [u8; 4] {
        let number = self.next().to_le_bytes();
        [number[0] | 1, number[1], number[2], number[3]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_have_their_size_and_are_text_where_they_say_so() {
        for size in [0, 1, 2, 20, 1000, 1024, 16_384] {
            for kind in [Kind::Binary, Kind::Ascii, Kind::Korean, Kind::Mixed, Kind::Json] {
                let payload = kind.payload(size);
                assert_eq!(payload.len(), size, "{kind:?}");
                assert!(kind == Kind::Binary || str::from_utf8(&payload).is_ok(), "{kind:?} of {size}");
            }
        }
        let korean = Kind::Korean.payload(16_384);
        assert!(korean.iter().filter(|byte| **byte >= 0x80).count() > 12_000);
    }

    #[test]
    fn a_frame_says_what_it_was_given_once_it_is_unmasked() {
        let payload = Kind::Binary.payload(300);
        let bytes = frame(0x82, &payload, [1, 2, 3, 4]);
        assert_eq!(bytes[..8], [0x82, 0x80 | 126, 1, 44, 1, 2, 3, 4]);
        let said: Vec<u8> =
            bytes[8..].iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        assert_eq!(said, payload);
    }

    #[test]
    fn what_is_deflated_inflates_and_is_smaller() {
        let payload = Kind::Json.payload(16_384);
        let body = deflate(&payload);
        assert!(body.len() < payload.len() / 2);
        assert_eq!(inflate(&body, payload.len()).unwrap(), payload);
        assert_eq!(inflate(b"nonsense", 10), None);
    }
}
