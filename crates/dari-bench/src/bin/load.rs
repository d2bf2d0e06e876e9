//! One load against a server that runs already. `load` alone says how.

use dari_bench::Failure;
use dari_bench::frames::Kind;
use dari_bench::load::{Load, Mode};
use dari_bench::meter::Plan;
use dari_bench::sys::{pin, raise_descriptors};
use dari_bench::target::{Offer, Target, trust};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "\
usage: load MODE PORT [OPTION...]
  MODE               echo, secure, broadcast, churn, slow, idle or after
  --connections N    (64)
  --size BYTES       of a message (20)
  --depth N          messages in one go (1)
  --kind KIND        binary, ascii, korean, mixed or json (binary)
  --deflate          offer permessage-deflate without context takeover; --takeover with it
  --raw              the server sends back bytes, and knows no handshake
  --cut              the server sends long messages in pieces
  --pid PID          whose CPU time and memory are read
  --roots FILE       whom to trust, for secure
  --seconds S        how long to measure (2), after a warm-up of a quarter of that
  --messages N       or until so many messages have come back, without a warm-up
  --core N           run on this core alone";

struct Options {
    load: Load,
    target: Target,
    plan: Plan,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let options = match parse(&words) {
        Ok(options) => options,
        Err(failure) => {
            eprintln!("load: {failure}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let figures =
        raise_descriptors().map_err(Failure::from).and_then(|_| options.load.run(&options.target, options.plan));
    match figures {
        Ok(figures) => {
            for (name, value) in figures.0 {
                println!("{name:<14} {value:>12.3}");
            }
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("load: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn parse(words: &[String]) -> Result<Options, Failure> {
    let [mode, port, rest @ ..] = words else { return Err("what, and against which port?".into()) };
    let load =
        Load { mode: parse_mode(mode)?, conns: 64, size: 20, depth: 1, kind: Kind::Binary, offer: Offer::Plain };
    let target =
        Target { address: ([127, 0, 0, 1], port.parse()?).into(), pid: None, is_raw: false, cuts: false, tls: None };
    let plan = Plan { warm_up: Duration::from_millis(500), measure: Duration::from_secs(2), messages: None };
    let mut options = Options { load, target, plan };
    let mut rest = rest.iter();
    while let Some(option) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("no value for {option}"));
        match option.as_str() {
            "--connections" => options.load.conns = value()?.parse()?,
            "--size" => options.load.size = value()?.parse()?,
            "--depth" => options.load.depth = value()?.parse()?,
            "--kind" => options.load.kind = parse_kind(value()?)?,
            "--deflate" => options.load.offer = Offer::Deflate,
            "--takeover" => options.load.offer = Offer::Takeover,
            "--raw" => options.target.is_raw = true,
            "--cut" => options.target.cuts = true,
            "--pid" => options.target.pid = Some(value()?.parse()?),
            "--roots" => options.target.tls = Some(trust(Path::new(value()?))?),
            "--seconds" => {
                options.plan.measure = Duration::from_secs_f64(value()?.parse()?);
                options.plan.warm_up = options.plan.measure / 4;
            }
            "--messages" => options.plan.messages = Some(value()?.parse()?),
            "--core" => pin(value()?.parse()?)?,
            _ => return Err(format!("unknown option {option}").into()),
        }
    }
    Ok(options)
}

fn parse_mode(word: &str) -> Result<Mode, Failure> {
    Ok(match word {
        "echo" => Mode::Echo,
        "secure" => Mode::Secure,
        "broadcast" => Mode::Broadcast,
        "churn" => Mode::Churn,
        "slow" => Mode::Slow,
        "idle" => Mode::Idle,
        "after" => Mode::After,
        _ => return Err(format!("unknown mode {word}").into()),
    })
}

fn parse_kind(word: &str) -> Result<Kind, Failure> {
    Ok(match word {
        "binary" => Kind::Binary,
        "ascii" => Kind::Ascii,
        "korean" => Kind::Korean,
        "mixed" => Kind::Mixed,
        "json" => Kind::Json,
        _ => return Err(format!("unknown kind {word}").into()),
    })
}
