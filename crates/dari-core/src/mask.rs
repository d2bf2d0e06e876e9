//! Masking and unmasking (RFC 6455 5.3): the same XOR in both directions, in place.
//!
//! Written so that the compiler's vectoriser does the work: with what every processor has, or, where there is much to do,
//! with what this one has. No byte depends on its place in memory, only on its place in the payload.

use multiversion::multiversion;

/// Bytes that one step of the wide loop takes. A multiple of four, so that the key fits every step alike.
const STEP: usize = 64;
/// Bytes from which on it pays to ask what the processor has.
const LONG: usize = 512;

/// XORs `bytes`, which begin `offset` bytes into their frame's payload, with `key`.
#[inline]
pub fn unmask(bytes: &mut [u8], key: [u8; 4], offset: u64) {
    let mut key = key;
    key.rotate_left((offset % 4) as usize);
    match bytes.len() {
        0..STEP => unmask_short(bytes, key),
        STEP..LONG => unmask_steps(bytes, key),
        _ => unmask_long(bytes, key),
    }
}

#[multiversion(targets("x86_64+avx2"))]
fn unmask_long(bytes: &mut [u8], key: [u8; 4]) {
    unmask_steps(bytes, key);
}

#[inline(always)]
fn unmask_steps(bytes: &mut [u8], key: [u8; 4]) {
    let wide = [key; STEP / 4];
    let Some(wide) = wide.as_flattened().first_chunk::<STEP>() else { return };
    let (steps, rest) = bytes.as_chunks_mut::<STEP>();
    for step in steps {
        for (byte, key) in step.iter_mut().zip(wide) {
            *byte ^= key;
        }
    }
    unmask_short(rest, key);
}

/// The same for less than a step: the most at a time, without a loop over what is mostly one.
fn unmask_short(bytes: &mut [u8], key: [u8; 4]) {
    let rest = unmask_chunk::<32>(bytes, key);
    let rest = unmask_chunk::<16>(rest, key);
    let rest = unmask_chunk::<8>(rest, key);
    let rest = unmask_chunk::<4>(rest, key);
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
}

/// Unmasks the first `N` bytes, if there are as many, and gives back the rest.
fn unmask_chunk<const N: usize>(bytes: &mut [u8], key: [u8; 4]) -> &mut [u8] {
    if bytes.len() < N {
        return bytes;
    }
    let (chunk, rest) = bytes.split_at_mut(N);
    for (byte, key) in chunk.iter_mut().zip([key; 8].as_flattened()) {
        *byte ^= key;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_and_offset_agrees_with_the_definition() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let payload: Vec<u8> = (0..=255).cycle().take(LONG + 3 * STEP).collect();
        for start in 0..9usize {
            for end in start..payload.len() {
                let mut bytes = payload[start..end].to_vec();
                unmask(&mut bytes, key, start as u64);
                for (i, byte) in bytes.iter().enumerate() {
                    // RFC 6455 5.3: transformed-octet-i = original-octet-i XOR masking-key-octet-(i MOD 4).
                    assert_eq!(*byte, payload[start + i] ^ key[(start + i) % 4]);
                }
            }
        }
    }

    #[test]
    fn offsets_beyond_four_gibibytes_still_count() {
        let mut byte = [0];
        unmask(&mut byte, [1, 2, 3, 4], (1 << 40) + 3);
        assert_eq!(byte, [4]);
    }
}
