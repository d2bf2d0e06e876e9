//! What is measured: the table of all scenarios, and the bars that dari is held to.

use crate::frames::Kind::{self, Ascii, Binary, Json, Korean};
use crate::load::Load;
use crate::load::Mode::{self, After, Broadcast, Churn, Echo, Idle, Secure, Slow};
use crate::server::{RAW, UWS, UWS_SIMDUTF};
use crate::target::Offer;

/// One load under a name.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// For the command line and for files. A letter in front says what messages hold: t is ASCII text, k Korean text,
    /// z compressed JSON.
    pub name: &'static str,
    /// For readers.
    pub title: &'static str,
    /// What is done.
    pub load: Load,
    /// The most that dari may take of what each of [`RIVALS`] takes; 0: no bar.
    pub bars: [f64; 3],
    /// Whether it is among the few that are looked at in a minute.
    pub is_quick: bool,
}

/// Whom there are bars for.
pub const RIVALS: [&str; 3] = [RAW, UWS, UWS_SIMDUTF];

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

#[rustfmt::skip]
const TABLE: &[Scenario] = &[
    // name, title, mode, what messages hold, bytes, connections, messages in one go, bars of raw and of uWebSockets
    quick(row("20-c64-d1", "20 B, 64 connections", Echo, Binary, 20, 64, 1, [1.05, 1.00])),
    row("1k-c64-d1", "1 KiB, 64 connections", Echo, Binary, KIB, 64, 1, [1.05, 1.00]),
    row("20-c500-d1", "20 B, 500 connections", Echo, Binary, 20, 500, 1, [1.05, 1.00]),
    row("20-c10000-d1", "20 B, 10,000 connections", Echo, Binary, 20, 10_000, 1, [1.05, 1.00]),
    row("16k-c64-d1", "16 KiB, 64 connections", Echo, Binary, 16 * KIB, 64, 1, [1.05, 0.98]),
    row("t16k-c64-d1", "ASCII text 16 KiB, 64 connections", Echo, Ascii, 16 * KIB, 64, 1, [1.08, 0.93]),
    simdutf(0.97, row("k1k-c64-d1", "Korean text 1 KiB, 64 connections", Echo, Korean, KIB, 64, 1, [1.08, 0.90])),
    quick(simdutf(0.95, row("k16k-c64-d1", "Korean text 16 KiB, 64 connections", Echo, Korean, 16 * KIB, 64, 1, [1.15, 0.36]))),
    row("1m-c8-d1", "1 MiB, 8 connections", Echo, Binary, MIB, 8, 1, [1.50, 0.88]),
    simdutf(0.95, row("k1m-c8-d1", "Korean text 1 MiB, 8 connections", Echo, Korean, MIB, 8, 1, [1.60, 0.20])),
    row("20-c64-d16", "20 B, 16 in one go", Echo, Binary, 20, 64, 16, [1.05, 0.98]),
    row("125-c64-d16", "125 B, 16 in one go", Echo, Binary, 125, 64, 16, [1.05, 0.98]),
    quick(row("1k-c64-d16", "1 KiB, 16 in one go", Echo, Binary, KIB, 64, 16, [1.08, 0.91])),
    row("t1k-c64-d16", "ASCII text 1 KiB, 16 in one go", Echo, Ascii, KIB, 64, 16, [1.15, 0.80]),
    row("4k-c64-d16", "4 KiB, 16 in one go", Echo, Binary, 4 * KIB, 64, 16, [1.15, 0.53]),
    row("16k-c64-d16", "16 KiB, 16 in one go", Echo, Binary, 16 * KIB, 64, 16, [1.15, 0.52]),
    row("broadcast-1000", "100 B to 1,000", Broadcast, Binary, 100, 1_000, 1, [1.05, 1.00]),
    row("broadcast-10000", "100 B to 10,000", Broadcast, Binary, 100, 10_000, 1, [1.05, 1.00]),
    row("burst-1000", "100 B to 1,000, 16 in one go", Broadcast, Binary, 100, 1_000, 16, [1.15, 0.78]),
    row("burst-10000", "100 B to 10,000, 16 in one go", Broadcast, Binary, 100, 10_000, 16, [1.15, 0.78]),
    row("zbroadcast-1000", "JSON 1 KiB to 1,000, compressed", Broadcast, Json, KIB, 1_000, 1, [0.0, 0.50]),
    row("z1k-c64-d1", "JSON 1 KiB, compressed", Echo, Json, KIB, 64, 1, [0.0, 0.80]),
    row("z16k-c64-d1", "JSON 16 KiB, compressed", Echo, Json, 16 * KIB, 64, 1, [0.0, 0.60]),
    row("churn", "connect, handshake, echo, close", Churn, Binary, 20, 16, 1, [1.20, 0.96]),
    row("wss-1k", "wss 1 KiB, 64 connections", Secure, Binary, KIB, 64, 1, [0.0, 1.00]),
    row("wss-16k", "wss 16 KiB, 64 connections", Secure, Binary, 16 * KIB, 64, 1, [0.0, 0.80]),
    row("wss-1k-d16", "wss 1 KiB, 16 in one go", Secure, Binary, KIB, 64, 16, [0.0, 0.0]),
    row("wss-16k-d16", "wss 16 KiB, 16 in one go", Secure, Binary, 16 * KIB, 64, 16, [0.0, 0.0]),
    row("slow", "slow reader, 64 KiB x 256", Slow, Binary, 64 * KIB, 1, 256, [0.0, 0.45]),
    quick(row("idle", "memory of an idle connection", Idle, Binary, 20, 10_000, 1, [0.0, 0.0])),
    row("idle-deflate", "the same, compression without takeover used", Idle, Json, KIB, 10_000, 1, [0.0, 0.0]),
    takeover(row("idle-takeover", "the same with takeover", Idle, Json, KIB, 1_000, 1, [0.0, 0.0])),
    row("after-1m", "the same, 2 s after a message of 1 MiB", After, Binary, MIB, 1_000, 1, [0.0, 0.0]),
];

#[expect(clippy::too_many_arguments, reason = "a row of the table")]
const fn row(
    name: &'static str,
    title: &'static str,
    mode: Mode,
    kind: Kind,
    size: usize,
    conns: usize,
    depth: usize,
    [raw, uws]: [f64; 2],
) -> Scenario {
    let offer = if matches!(kind, Json) { Offer::Deflate } else { Offer::Plain };
    Scenario {
        name,
        title,
        load: Load { mode, conns, size, depth, kind, offer },
        bars: [raw, uws, 0.0],
        is_quick: false,
    }
}

const fn quick(scenario: Scenario) -> Scenario {
    Scenario { is_quick: true, ..scenario }
}

const fn simdutf(bar: f64, scenario: Scenario) -> Scenario {
    let [raw, uws, _] = scenario.bars;
    Scenario { bars: [raw, uws, bar], ..scenario }
}

const fn takeover(scenario: Scenario) -> Scenario {
    Scenario { load: Load { offer: Offer::Takeover, ..scenario.load }, ..scenario }
}

/// All of them.
pub fn all() -> &'static [Scenario] {
    TABLE
}

impl Scenario {
    /// The one over plain TCP that is the same but for TLS.
    pub fn without_tls(&self) -> Option<&'static Self> {
        let plain = Load { mode: Echo, ..self.load };
        all().iter().find(|other| self.load.mode == Secure && other.load == plain)
    }

    /// The figure that it is about, which is better if it is smaller.
    pub fn figure(&self) -> &'static str {
        if self.is_memory() { "bytes" } else { "us" }
    }

    /// Whether it is about memory, and not about time.
    pub fn is_memory(&self) -> bool {
        matches!(self.load.mode, Idle | After)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_told_apart_and_some_are_quick() {
        let names: HashSet<_> = all().iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), all().len());
        assert!((3..6).contains(&all().iter().filter(|scenario| scenario.is_quick).count()));
    }
}
