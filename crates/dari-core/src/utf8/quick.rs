//! The check of UTF-8 for what most texts are made of: characters of one, two and three bytes. It is three compares of a
//! byte with the two in front of it, which the compiler's vectoriser does for many at a time. Where anything else comes,
//! good or bad, it stops and leaves the rest to a check that knows all.

use multiversion::multiversion;

/// Bytes that are checked before it is asked how that went.
const BLOCK: usize = 512;
/// Bytes that are dealt with side by side.
const LANES: usize = 32;

/// How many bytes at the front of `text` are good for sure. They end where a character does.
#[multiversion(targets("x86_64+avx2"))]
pub(super) fn good_bytes(text: &[u8]) -> usize {
    let Some(first) = text.first_chunk::<BLOCK>() else { return 0 };
    // Nothing is in front of it, which is as good as ASCII.
    let mut padded = [0; BLOCK + 2];
    padded.iter_mut().skip(2).zip(first).for_each(|(to, from)| *to = *from);
    if !is_good(&padded, 0) {
        return 0;
    }
    let mut end = BLOCK;
    while is_good(text, end - 2) {
        end += BLOCK;
    }
    // A character that the next byte would go on with is not good yet.
    match text.get(end - 2..end) {
        Some([_, 0xc0..=0xff]) => end - 1,
        Some([0xe0..=0xff, _]) => end - 2,
        _ => end,
    }
}

/// Whether the block behind the two bytes at `start` goes on from them, as far as it goes.
#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "there are as many lanes in each of the arrays")]
fn is_good(text: &[u8], start: usize) -> bool {
    let block = |at: usize| text.get(start + at..)?.first_chunk::<BLOCK>();
    let (Some(second), Some(first), Some(block)) = (block(0), block(1), block(2)) else { return false };
    if block.iter().fold(0, |all, byte| all | byte) < 0x80 {
        return first[0] < 0xc0 && second[0] < 0xe0;
    }
    let mask = |is: bool| u8::from(is).wrapping_neg();
    let (mut fits, mut greatest, mut rare, mut behind_ed) = ([0xff; LANES], [0; LANES], [0; LANES], [0; LANES]);
    let (blocks, firsts, seconds) = (block.as_chunks().0, first.as_chunks().0, second.as_chunks().0);
    for ((block, first), second) in blocks.iter().zip(firsts).zip(seconds) {
        let (block, first, second): (&[u8; LANES], &[u8; LANES], &[u8; LANES]) = (block, first, second);
        for lane in 0..LANES {
            let (byte, first, second) = (block[lane], first[lane], second[lane]);
            // Behind a byte from C0 on, and two behind one from E0 on, there is one of 80 to BF, and nowhere else.
            let is_owed = (first.saturating_sub(0xbf) | second.saturating_sub(0xdf)) != 0;
            fits[lane] &= mask(!is_owed) ^ mask(byte.cast_signed() < -64);
            greatest[lane] = byte.max(greatest[lane]);
            // C0 and C1, which no text has; E0, behind which not all of them may come; and E1.
            rare[lane] |= mask(byte & 0xde == 0xc0);
            // Behind ED nothing from A0 on: those would be surrogates.
            behind_ed[lane] |= mask(first == 0xed) & byte;
        }
    }
    let mut bad = 0;
    for lane in 0..LANES {
        bad |= !fits[lane] | rare[lane] | (behind_ed[lane] & 0x20) | greatest[lane].saturating_sub(0xef);
    }
    bad == 0
}
