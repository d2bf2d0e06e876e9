//! The bodies of the fuzz targets: what is done with an input, and what has to hold whatever it says. The fuzzer runs
//! them, and so does `crates/dari-core/tests/corpus.rs`, without one.
#![allow(dead_code, unreachable_pub, reason = "each program uses a part")]

#[path = "../../crates/dari-core/tests/common/mod.rs"]
pub(crate) mod common;
pub(crate) mod handshake;
pub(crate) mod inflate;
pub(crate) mod pair;
pub(crate) mod receive;
pub(crate) mod split;

use common::{Noise, Peer};
use dari_core::{Deflate, Limits};

/// Bytes of an input that are set-up; the rest is the peer's.
pub(crate) const SETUP: usize = 3;

/// What can be told from the first byte of an input.
pub(crate) const CLIENT: u8 = 1;
pub(crate) const DEFLATE: u8 = 2;
pub(crate) const TAKEOVER: u8 = 4;
pub(crate) const PARTS: u8 = 8;
/// Its other bits mean something else in each target.
pub(crate) const OTHER: [u8; 4] = [16, 32, 64, 128];

/// What a deflated byte comes to at the most, rounded up.
pub(crate) const RATIO: usize = 1040;
/// What a connection may hold beside messages: a header, a pong, the smallest buffer.
pub(crate) const CONSTANT: usize = 2048;

/// The bytes of an input, one number after another; zeros when there are no more.
pub(crate) struct Data<'a>(pub(crate) &'a [u8]);

impl<'a> Data<'a> {
    pub(crate) fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }

    pub(crate) fn number(&mut self) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()]))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How the tested connection is set up, and how its input is cut.
pub(crate) struct Setup {
    pub(crate) flags: u8,
    pub(crate) limits: Limits,
    /// 0: the input comes whole. 1: byte by byte. Others: in pieces that look random.
    cut: u8,
}

impl Setup {
    pub(crate) fn read(data: &mut Data<'_>) -> Self {
        let (flags, limits, cut) = (data.byte(), data.byte(), data.byte());
        let max_message = [16 << 20, usize::MAX, 0, 1, 10, 125, 1_000, 70_000][usize::from(limits & 7)];
        let max_empty_fragments = [1_000, 0, 1, 10][usize::from(limits >> 3 & 3)];
        let wish = Deflate { takeover: flags & TAKEOVER != 0, level: 1 + (limits >> 5), min: 0 };
        let deflate = (flags & DEFLATE != 0).then_some(wish);
        let parts = flags & PARTS != 0;
        let limits = Limits { max_message, max_empty_fragments, parts, deflate, ..Limits::default() };
        Self { flags, limits, cut }
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(crate) fn is_client(&self) -> bool {
        self.has(CLIENT)
    }

    /// A connection behind its handshake.
    pub(crate) fn open(&self) -> Peer {
        let extension = if self.has(DEFLATE) { common::deflate::extension(self.has(TAKEOVER)) } else { "" };
        Peer::open_extended(self.is_client(), self.limits.clone(), Noise::Zeros, extension)
    }

    pub(crate) fn pieces<'a>(&self, bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let mut noise = u32::from(self.cut);
        let (mut all, mut rest) = (Vec::new(), bytes);
        while !rest.is_empty() {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let size = match self.cut {
                0 => rest.len(),
                1 => 1,
                cut => (noise >> 16) as usize % (4 * usize::from(cut)),
            };
            let (piece, after) = rest.split_at(size.min(rest.len()));
            all.push(piece);
            rest = after;
        }
        all
    }

    /// The most that may be held when `arrived` bytes have come.
    pub(crate) fn bound(&self, arrived: usize) -> usize {
        let inflated = if self.has(DEFLATE) { RATIO * (arrived + 4) } else { arrived };
        let contexts = if self.has(DEFLATE) { common::pair::CONTEXTS } else { 0 };
        let held = if self.has(PARTS) { inflated.min(1 << 20) } else { inflated };
        2 * held.min(self.limits.max_message) + contexts + CONSTANT
    }
}
