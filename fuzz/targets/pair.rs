//! Two ends back to back, with anything done to them: each message arrives once, in order, whole, and both agree how
//! it ended.

use super::Data;
use super::common::pair::{Setup, Step, What, run as run_steps};
use dari_core::{Deflate, Squeeze, may_be_sent};

const MOST_STEPS: usize = 60;

pub(crate) fn run(data: &[u8]) {
    let mut data = Data(data);
    let ends = [data.byte(), data.byte()];
    let more = [data.byte(), data.byte()];
    let deflate = |flags: u8| {
        let wish = Deflate { takeover: flags & 2 != 0, level: 1 + (flags >> 5), min: usize::from(flags & 16) * 4 };
        (flags & 1 == 0).then_some(wish)
    };
    let setup = Setup {
        deflate: ends.map(deflate),
        bits: more.map(|byte| (byte & 1 != 0).then_some(8 + (byte >> 1 & 7))),
        parts: more.map(|byte| byte & 16 != 0),
    };
    let sizes: Vec<usize> = (0..4).map(|_| 1 + data.number() % 5_000).collect();
    let mut steps = Vec::new();
    while !data.is_empty() && steps.len() < MOST_STEPS {
        steps.push(step(&mut data));
    }
    run_steps(&setup, &steps, &sizes);
}

fn step(data: &mut Data<'_>) -> Step {
    let (what, how) = (data.byte(), data.byte());
    let at = what & 8 != 0;
    let size = match data.byte() {
        byte @ 0..=127 => usize::from(byte),
        byte @ 128..=250 => usize::from(byte - 127) * 40 + usize::from(how),
        byte => [125, 126, 65_535, 65_536, 20_000][usize::from(byte - 251)],
    };
    let payload = What { is_text: how & 1 != 0, noisy: how & 2 != 0, size };
    let squeeze = [Squeeze::Auto, Squeeze::Yes, Squeeze::No, Squeeze::Yes][usize::from(how >> 2 & 3)];
    match what & 7 {
        0 | 1 => Step::Send { at, what: payload, squeeze, prepared: what & 16 != 0 },
        2 => Step::Part { at, what: payload, is_last: what & 16 != 0 },
        3 => Step::Ping { at, size: size % 126 },
        4 => Step::Block { at, blocked: what & 16 != 0 },
        5 if how & 7 == 0 => {
            let code = 1000 + u16::from(how >> 3);
            Step::Close { at, code: if may_be_sent(code) { code } else { 0 }, reason: size % 124 }
        }
        _ => Step::Deliver { at, most: size },
    }
}
