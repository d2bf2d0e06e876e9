//! Says what dari-core and tungstenite make of streams of frames.
//!
//! A line in is `ROLE DEFLATE LIMIT PIECE HEX`: the engine's role (server or client), none, fresh or takeover, the
//! longest message in bytes or none, the bytes that come at a time (0: all of them), and the stream (`-` if it is empty).
//! A line out is a JSON object with a verdict for each engine.

mod dari;
mod other;
mod verdict;

use serde_json::{Map, Value};
use std::io::{self, BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use verdict::Verdict;

/// One stream and how it is to be taken.
#[derive(Clone, Debug)]
struct Job {
    is_client: bool,
    /// permessage-deflate is agreed on; whether with context takeover.
    deflate: Option<bool>,
    /// Without one tungstenite would allocate whatever a header declares, and is not asked.
    limit: Option<usize>,
    piece: usize,
    stream: Vec<u8>,
}

impl Job {
    fn read(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [role, deflate, limit, piece, hex] = words[..] else { return None };
        Some(Self {
            is_client: match role {
                "server" => false,
                "client" => true,
                _ => return None,
            },
            deflate: match deflate {
                "none" => None,
                "fresh" => Some(false),
                "takeover" => Some(true),
                _ => return None,
            },
            limit: if limit == "none" { None } else { Some(limit.parse().ok()?) },
            piece: piece.parse().ok()?,
            stream: unhex(hex.trim_matches('-'))?,
        })
    }

    /// The bytes that come at a time.
    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.stream.chunks(if self.piece == 0 { self.stream.len().max(1) } else { self.piece })
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?);
    text.as_bytes().chunks(2).map(pair).collect()
}

/// A panic is a verdict, too.
fn judge(run: impl FnOnce() -> Verdict) -> Value {
    let verdict = catch_unwind(AssertUnwindSafe(run));
    verdict.unwrap_or_else(|_| Verdict { end: "panicked", ..Verdict::default() }).to_json()
}

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let Some(job) = Job::read(&line) else {
            return Err(io::Error::other(format!("not a stream: {line:.80}")));
        };
        let mut verdicts = Map::new();
        verdicts.insert("dari".into(), judge(|| dari::run(&job, false)));
        verdicts.insert("dari in parts".into(), judge(|| dari::run(&job, true)));
        // It knows no extension.
        if let (None, Some(limit)) = (job.deflate, job.limit) {
            verdicts.insert("tungstenite".into(), judge(|| other::run(&job, limit)));
        }
        writeln!(out, "{}", Value::Object(verdicts))?;
        out.flush()?;
    }
    Ok(())
}
