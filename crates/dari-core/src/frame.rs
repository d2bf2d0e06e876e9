//! Frame headers (RFC 6455 5.2): reading, the rules that a header alone can break, and writing.

use crate::Violation;
use crate::message::Kind;

/// Longest payload of a control frame (RFC 6455 5.5).
pub(crate) const MAX_CONTROL: usize = 125;
/// RSV1, as it stands in [`Header::reserved`].
const RSV1: u8 = 0b100;
/// Longest header: two bytes, a length of eight, a key of four.
pub const MAX_HEADER: usize = 14;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
    Reserved(u8),
}

impl Opcode {
    fn new(bits: u8) -> Self {
        match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            other => Self::Reserved(other),
        }
    }

    pub(crate) fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
            Self::Reserved(bits) => bits,
        }
    }

    pub(crate) fn is_control(self) -> bool {
        self.bits() & 0x8 != 0
    }
}

/// One frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) fin: bool,
    /// RSV1, RSV2 and RSV3 in the three lowest bits, RSV1 highest.
    pub(crate) reserved: u8,
    pub(crate) opcode: Opcode,
    pub(crate) key: Option<[u8; 4]>,
    pub(crate) len: u64,
    /// Whether `len` stood in the shortest form.
    pub(crate) minimal: bool,
}

impl Header {
    /// The header at the front of `bytes` and its own length, or nothing if it is not all there.
    pub(crate) fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let (&[first, second], rest) = bytes.split_first_chunk::<2>()?;
        let (len, minimal, rest) = match second & 0x7f {
            126 => {
                let (len, rest) = rest.split_first_chunk::<2>()?;
                let len = u64::from(u16::from_be_bytes(*len));
                (len, len >= 126, rest)
            }
            127 => {
                let (len, rest) = rest.split_first_chunk::<8>()?;
                let len = u64::from_be_bytes(*len);
                (len, len > 0xffff, rest)
            }
            short => (u64::from(short), true, rest),
        };
        let (key, rest) = match second & 0x80 {
            0 => (None, rest),
            _ => rest.split_first_chunk::<4>().map(|(key, rest)| (Some(*key), rest))?,
        };
        let (fin, reserved) = (first & 0x80 != 0, (first >> 4) & 0x7);
        let header = Self { fin, reserved, opcode: Opcode::new(first & 0xf), key, len, minimal };
        Some((header, bytes.len() - rest.len()))
    }

    /// Whether RSV1 says that a compressed message begins (RFC 7692 6).
    pub(crate) fn is_compressed(&self) -> bool {
        self.reserved == RSV1
    }

    /// The rules that need nothing but the header and the peer's role. `by_client`: the peer is a client;
    /// `may_compress`: permessage-deflate is agreed on.
    pub(crate) fn check(&self, by_client: bool, may_compress: bool) -> Result<(), Violation> {
        let may_be = may_compress && matches!(self.opcode, Opcode::Text | Opcode::Binary);
        if self.reserved != 0 && !(self.is_compressed() && may_be) {
            return Err(Violation::ReservedBits);
        }
        if matches!(self.opcode, Opcode::Reserved(_)) {
            return Err(Violation::ReservedOpcode);
        }
        match (by_client, self.key) {
            (true, None) => return Err(Violation::Unmasked),
            (false, Some(_)) => return Err(Violation::Masked),
            _ => {}
        }
        if self.opcode.is_control() {
            if !self.fin {
                return Err(Violation::FragmentedControl);
            }
            if self.len > MAX_CONTROL as u64 {
                return Err(Violation::LongControl);
            }
        }
        if self.len >> 63 != 0 {
            return Err(Violation::LengthTopBit);
        }
        if !self.minimal {
            return Err(Violation::LengthNotMinimal);
        }
        Ok(())
    }
}

/// What the front of `bytes` is, if it is the header of a whole message that is neither long nor compressed, masked or not:
/// its kind, and the lengths of payload and header.
pub(crate) fn whole_message(bytes: &[u8], masked: bool) -> Option<(Kind, usize, usize)> {
    let &[first, second, third, fourth] = bytes.first_chunk::<4>()?;
    let kind = match first {
        0x81 => Kind::Text,
        0x82 => Kind::Binary,
        _ => return None,
    };
    let mask = if masked { 4 } else { 0 };
    match (second & 0x7f, second & 0x80 != 0) {
        (_, is_masked) if is_masked != masked => None,
        (short @ 0..=125, _) => Some((kind, short.into(), 2 + mask)),
        (126, _) => match u16::from_be_bytes([third, fourth]) {
            middle @ 126.. => Some((kind, middle.into(), 4 + mask)),
            _ => None,
        },
        _ => None,
    }
}

/// The first byte of a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct First {
    pub(crate) opcode: Opcode,
    pub(crate) fin: bool,
    pub(crate) compressed: bool,
}

impl First {
    /// That of a frame which is a whole message, or a control frame.
    pub(crate) fn whole(opcode: Opcode) -> Self {
        Self { opcode, fin: true, compressed: false }
    }

    fn bits(self) -> u8 {
        let fin = if self.fin { 0x80 } else { 0 };
        let compressed = if self.compressed { RSV1 << 4 } else { 0 };
        fin | compressed | self.opcode.bits()
    }
}

/// A frame header (RFC 6455 5.2), as it is written: 2 to 14 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// The first byte is the lowest. As one number it stays in registers.
    bytes: u128,
    len: usize,
}

impl Head {
    #[inline(always)]
    pub(crate) fn new(first: First, key: Option<[u8; 4]>, len: usize) -> Self {
        let masked = if key.is_some() { 0x80 } else { 0 };
        let empty = Self { bytes: 0, len: 0 };
        // RFC 6455 5.2: the shortest form that holds the length.
        let head = match (u8::try_from(len), u16::try_from(len)) {
            (Ok(short @ 0..=125), _) => empty.and([first.bits(), masked | short]),
            (_, Ok(middle)) => empty.and([first.bits(), masked | 126]).and(middle.to_be_bytes()),
            _ => empty.and([first.bits(), masked | 127]).and((len as u64).to_be_bytes()),
        };
        key.map_or(head, |key| head.and(key))
    }

    #[inline]
    fn and<const N: usize>(self, more: [u8; N]) -> Self {
        let more = more.iter().rev().fold(0, |all, byte| all << 8 | u128::from(*byte));
        Self { bytes: self.bytes | more << (8 * self.len), len: self.len + N }
    }

    /// Appends it. `out` has room for the longest.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>) {
        let end = out.len() + self.len;
        // Bytes whose number is known are moved without a call.
        out.extend_from_slice(&self.to_bytes());
        out.truncate(end);
    }

    /// How many bytes it has.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Its bytes, and zeros behind them.
    #[inline]
    pub fn to_bytes(&self) -> [u8; MAX_HEADER] {
        self.bytes.to_le_bytes().first_chunk().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_whole_and_never_from_less() {
        let lens = [0, 1, 125, 126, 127, 65535, 65536, u32::MAX as usize + 1];
        for len in lens {
            for key in [None, Some([1, 2, 3, 4])] {
                for opcode in [Opcode::Text, Opcode::Binary, Opcode::Continuation, Opcode::Ping] {
                    let mut bytes = Vec::new();
                    Head::new(First::whole(opcode), key, len).write(&mut bytes);
                    for cut in 0..bytes.len() {
                        assert_eq!(Header::read(&bytes[..cut]), None);
                    }
                    let wanted = Header { fin: true, reserved: 0, opcode, key, len: len as u64, minimal: true };
                    assert_eq!(Header::read(&bytes), Some((wanted, bytes.len())));
                    bytes.push(9);
                    assert_eq!(Header::read(&bytes), Some((wanted, bytes.len() - 1)));
                }
            }
        }
    }

    #[test]
    fn each_rule_of_a_header_is_enforced() {
        let check = |bytes: &[u8]| Header::read(bytes).unwrap().0.check(true, false);
        assert_eq!(check(b"\x81\x80kkkk"), Ok(()));
        assert_eq!(check(b"\xc1\x80kkkk"), Err(Violation::ReservedBits));
        assert_eq!(check(b"\xa1\x80kkkk"), Err(Violation::ReservedBits));
        assert_eq!(check(b"\x91\x80kkkk"), Err(Violation::ReservedBits));
        assert_eq!(check(b"\x83\x80kkkk"), Err(Violation::ReservedOpcode));
        assert_eq!(check(b"\x8b\x80kkkk"), Err(Violation::ReservedOpcode));
        assert_eq!(check(b"\x81\x00"), Err(Violation::Unmasked));
        assert_eq!(check(b"\x09\x80kkkk"), Err(Violation::FragmentedControl));
        assert_eq!(check(b"\x89\xfe\x00\x7ekkkk"), Err(Violation::LongControl));
        assert_eq!(check(b"\x82\xfe\x00\x7dkkkk"), Err(Violation::LengthNotMinimal));
        assert_eq!(check(b"\x82\xff\0\0\0\0\0\0\xff\xffkkkk"), Err(Violation::LengthNotMinimal));
        assert_eq!(check(b"\x82\xff\x80\0\0\0\0\0\0\0kkkk"), Err(Violation::LengthTopBit));
        let compressed = |bytes: &[u8]| Header::read(bytes).unwrap().0.check(true, true);
        assert_eq!(compressed(b"\xc1\x80kkkk"), Ok(()));
        assert_eq!(compressed(b"\xe1\x80kkkk"), Err(Violation::ReservedBits));
        assert_eq!(compressed(b"\xc0\x80kkkk"), Err(Violation::ReservedBits));
        assert_eq!(compressed(b"\xc9\x80kkkk"), Err(Violation::ReservedBits));
        assert_eq!(Header::read(b"\x81\x80kkkk").unwrap().0.check(false, false), Err(Violation::Masked));
    }
}
