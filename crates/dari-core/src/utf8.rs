//! UTF-8 (RFC 3629), checked as it arrives: the first byte that no text can have ends the check.

mod quick;

/// Below this many bytes the standard library's check is the faster one.
const SHORT: usize = 64;

/// The length in bytes of the part of `text` that is good, when not all of it is.
pub(crate) fn check(text: &[u8]) -> Result<(), usize> {
    if is_good(text) { Ok(()) } else { Err(str::from_utf8(text).err().map_or(0, |error| error.valid_up_to())) }
}

fn is_good(text: &[u8]) -> bool {
    if text.len() < SHORT {
        return str::from_utf8(text).is_ok();
    }
    let rest = text.get(quick::good_bytes(text)..).unwrap_or_default();
    simdutf8::basic::from_utf8(rest).is_ok()
}

/// Where the first byte is that no text can have, in a text that is not good; its length if it only ends too early.
pub(crate) fn first_bad_byte(text: &[u8]) -> usize {
    let Err(error) = str::from_utf8(text) else { return text.len() };
    let start = error.valid_up_to();
    match (error.error_len(), text.get(start)) {
        (None, _) => text.len(),
        // The good front of a character, and then a byte that does not continue it.
        (Some(len), Some(0xc2..=0xf4)) => start + len,
        _ => start,
    }
}

/// Bytes at the end of a piece of text that begin a character and do not end it.
fn cut_short(piece: &[u8]) -> usize {
    let Some(back) = piece.iter().rev().take(3).position(|byte| *byte >= 0xc0) else { return 0 };
    let there = back + 1;
    let len = match piece.get(piece.len() - there) {
        Some(0xc2..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf4) => 4,
        _ => 0,
    };
    if len > there { there } else { 0 }
}

/// A check that goes on where the last piece ended.
#[derive(Debug, Default)]
pub(crate) struct Utf8 {
    /// The first bytes of a character whose rest has not come.
    begun: [u8; 4],
    len: u8,
}

impl Utf8 {
    /// Checks the next piece of a text. The error is where, in this piece, the first byte is that no text can have.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> Result<(), usize> {
        let mut rest = piece;
        let mut at = 0;
        while self.len > 0 {
            let Some((byte, after)) = rest.split_first() else { return Ok(()) };
            let len = usize::from(self.len);
            if let Some(place) = self.begun.get_mut(len) {
                *place = *byte;
            }
            match str::from_utf8(self.begun.get(..=len).unwrap_or_default()) {
                Ok(_) => self.len = 0,
                Err(error) if error.error_len().is_none() => self.len += 1,
                Err(_) => return Err(at),
            }
            (rest, at) = (after, at + 1);
        }
        if rest.len() >= SHORT {
            let (front, back) = rest.split_at(rest.len() - cut_short(rest));
            if is_good(front) {
                (rest, at) = (back, at + front.len());
            }
        }
        let Err(error) = str::from_utf8(rest) else { return Ok(()) };
        let tail = rest.get(error.valid_up_to()..).unwrap_or_default();
        match error.error_len() {
            // The text ends inside a character: at most three bytes, kept for the next piece.
            None => {
                self.begun.iter_mut().zip(tail).for_each(|(to, from)| *to = *from);
                self.len = u8::try_from(tail.len()).unwrap_or(0);
                Ok(())
            }
            Some(_) => Err(at + first_bad_byte(rest)),
        }
    }

    /// Whether no character is cut short.
    pub(crate) fn is_whole(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` in two pieces, split at every place, and byte by byte; the verdicts must agree.
    fn verdict(bytes: &[u8]) -> bool {
        let whole = {
            let mut utf8 = Utf8::default();
            utf8.feed(bytes).is_ok() && utf8.is_whole()
        };
        for split in 0..=bytes.len() {
            let mut utf8 = Utf8::default();
            let (a, b) = bytes.split_at(split);
            let good = utf8.feed(a).is_ok() && utf8.feed(b).is_ok() && utf8.is_whole();
            assert_eq!(good, whole, "{bytes:x?} split at {split}");
        }
        let mut utf8 = Utf8::default();
        let good = bytes.iter().all(|byte| utf8.feed(&[*byte]).is_ok()) && utf8.is_whole();
        assert_eq!(good, whole, "{bytes:x?} byte by byte");
        whole
    }

    const LONG: &str = "다리 κόσ 𐍈";

    #[test]
    fn verdicts_agree_with_the_standard_library() {
        let texts: [&[u8]; 12] = [
            b"",
            b"hello",
            "안녕하세요 dari 다리".as_bytes(),
            "κόσμε 𐍈 \u{10FFFF}".as_bytes(),
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\xc0\xaf",
            b"\xe0\x80\xaf",
            b"abc\xff",
            b"\xce",
            b"\xf0\x9f\x98",
            b"\x80",
        ];
        for text in texts {
            assert_eq!(verdict(text), str::from_utf8(text).is_ok(), "{text:x?}");
            // Where long pieces are checked at once, the place of the offence is the same.
            let long = [LONG.repeat(20).as_bytes(), text].concat();
            assert_eq!(verdict(&long), str::from_utf8(text).is_ok(), "long, and {text:x?}");
            let mut utf8 = Utf8::default();
            let one_by_one = long.iter().enumerate().find_map(|(at, byte)| utf8.feed(&[*byte]).err().map(|_| at));
            assert_eq!(Utf8::default().feed(&long).err(), one_by_one, "long, and {text:x?}");
        }
        let long = "다리 bridge ".repeat(40);
        assert!(verdict(long.as_bytes()));
    }

    /// Every sequence of up to three bytes with one in it that is not ASCII, and four of each kind, at the edges of the
    /// blocks that are checked at once, amid text.
    #[test]
    fn no_sequence_at_the_edge_of_a_block_is_judged_other_than_by_the_standard_library() {
        let bytes = [0x80, 0x90, 0x9f, 0xa0, 0xbf, 0xc1, 0xc2, 0xe0, 0xe1, 0xed, 0xef, 0xf0, 0xf4, b'a'];
        let places = [0, 510, 511, 512, 1023];
        let fronts = ["a".repeat(1100), "\u{b2e4}".repeat(366), ["a", &"\u{e9}".repeat(549), "a"].concat()];
        for (front, place) in fronts.iter().flat_map(|front| places.map(|place| (front, place))) {
            let place = (0..=place).rev().find(|at| front.is_char_boundary(*at)).unwrap_or_default();
            let (before, after) = front.split_at(place);
            let mut text = [before.as_bytes(), &[0; 4], after.as_bytes()].concat();
            let each = || bytes.into_iter();
            let threes = each().flat_map(|a| each().flat_map(move |b| each().map(move |c| [a, b, c])));
            for ([a, b, c], d) in threes.flat_map(|three| [(three, b'a'), (three, 0x80)]) {
                text[place..place + 4].copy_from_slice(&[a, b, c, d]);
                let good = str::from_utf8(&text);
                assert_eq!(is_good(&text), good.is_ok(), "{a:x} {b:x} {c:x} {d:x} at {place}");
                let quick = quick::good_bytes(&text);
                let sure = good.err().map_or(text.len(), |error| error.valid_up_to());
                assert!(quick <= sure, "{a:x} {b:x} {c:x} {d:x} at {place}: {quick}, {sure}");
                assert!(str::from_utf8(&text[..quick]).is_ok());
            }
        }
    }

    #[test]
    fn texts_of_most_languages_are_judged_quickly_whole() {
        for word in [
            "bridge ",
            "\u{b2e4}\u{b9ac} ",
            "\u{d55c}\u{ae00}",
            "\u{433}\u{43e}\u{434} ",
            "\u{6a4b}\u{ff01}",
            "\u{20ac}",
        ] {
            let text = word.repeat(300);
            assert!(quick::good_bytes(text.as_bytes()) > text.len() - 515, "{word}");
        }
    }

    #[test]
    fn the_first_byte_that_can_not_be_fails_at_once() {
        // A surrogate: the second byte decides, the third is not waited for.
        assert_eq!(Utf8::default().feed(b"ab\xed\xa0"), Err(3));
        let mut utf8 = Utf8::default();
        assert_eq!(utf8.feed(b"\xf4"), Ok(()));
        assert_eq!(utf8.feed(b"\x90"), Err(0));
    }
}
