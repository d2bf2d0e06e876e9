//! Sets servers beside each other, round by round, and writes down what they cost. `bench --help` says how.

use dari_bench::load::Mode;
use dari_bench::meter::{Figures, Plan};
use dari_bench::report::{Cell, Results, Row, machine};
use dari_bench::scenarios::{Scenario, all};
use dari_bench::server::{CANDIDATES, Candidate, Certificate, Places};
use dari_bench::{Failure, sys};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const USAGE: &str = "\
usage: bench [OPTION...]
  --quick            four scenarios, 3 short rounds, less than a minute
  --full             all scenarios, 7 rounds of a second (the default)
  --only NAME,...    scenarios whose names hold one of these; --list names them all
  --servers NAME,... these alone
  --rounds N, --seconds S   of one server under one load
  --built FOLDER     where `c/echo_server` and `peers` are (target)
  --out FOLDER       where results.json, tables.md and the plots go (target/bench)";

/// Memory hardly differs from round to round.
const MEMORY_ROUNDS: usize = 3;
const SERVER_CORE: usize = 0;
const LOAD_CORE: usize = 1;

struct Options {
    is_quick: bool,
    only: Vec<String>,
    servers: Vec<String>,
    rounds: usize,
    seconds: f64,
    places: Places,
    out: PathBuf,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    if words.iter().any(|word| word == "--list") {
        all().iter().for_each(|scenario| println!("{:<16} {}", scenario.name, scenario.title));
        return ExitCode::SUCCESS;
    }
    match parse(&words).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn parse(words: &[String]) -> Result<Options, Failure> {
    let ours = std::env::current_exe()?.parent().ok_or("where is this program?")?.to_owned();
    let mut options = Options {
        is_quick: false,
        only: Vec::new(),
        servers: Vec::new(),
        rounds: 7,
        seconds: 1.0,
        places: Places { ours, built: "target".into() },
        out: "target/bench".into(),
    };
    let list = |value: &String| value.split(',').map(str::to_owned).collect();
    let mut rest = words.iter();
    while let Some(option) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("no value for {option}"));
        match option.as_str() {
            "--quick" => (options.is_quick, options.rounds, options.seconds) = (true, 3, 0.2),
            "--full" => {}
            "--only" => options.only = list(value()?),
            "--servers" => options.servers = list(value()?),
            "--rounds" => options.rounds = value()?.parse()?,
            "--seconds" => options.seconds = value()?.parse()?,
            "--built" => options.places.built = value()?.into(),
            "--out" => options.out = value()?.into(),
            _ => return Err(format!("unknown option {option}\n{USAGE}").into()),
        }
    }
    Ok(options)
}

fn run(options: &Options) -> Result<(), Failure> {
    let scenarios = scenarios(options)?;
    let servers = servers(options)?;
    std::fs::create_dir_all(&options.out)?;
    let certificate = Certificate::new(&options.out)?;
    let limit = sys::raise_descriptors()?;
    let mut results = Results {
        machine: machine(options.rounds, options.seconds),
        servers: servers.iter().map(|server| (server.name, String::new())).collect(),
        rows: Vec::new(),
    };
    let mut progress = Progress::new(&scenarios, &servers, options);
    for mut scenario in scenarios {
        let most = usize::try_from(limit)?.saturating_sub(300);
        if scenario.load.conns > most {
            eprintln!("{}: {most} connections, since the hard limit of descriptors is {limit}", scenario.name);
            scenario.load.conns = most;
        }
        let able: Vec<_> = servers.iter().filter(|server| server.can(&scenario.load)).collect();
        let new = |server: &&Candidate| Cell { server: server.name, rounds: Vec::new(), failure: None };
        let mut row = Row { scenario, cells: able.iter().map(|server| new(server)).collect() };
        for _ in 0..rounds(&scenario, options) {
            for (server, cell) in able.iter().zip(&mut row.cells) {
                progress.tell(&scenario, server, cell.rounds.len());
                match measure(server, &scenario, options, &certificate) {
                    Ok((figures, about)) => {
                        results.note(server.name, about);
                        cell.rounds.push(Some(figures));
                    }
                    Err(failure) => {
                        progress.say(&format!("{}, {}: {failure}", scenario.name, server.name));
                        cell.failure = Some(failure.to_string());
                        cell.rounds.push(None);
                    }
                }
            }
        }
        results.rows.push(row);
        // What is there is there, whatever becomes of the rest.
        results.write(&options.out)?;
    }
    progress.end();
    println!("{}", results.tables());
    println!("also in {}: results.json, tables.md and plots", options.out.display());
    match results.failed() {
        0 => Ok(()),
        failed => Err(format!("{failed} measurements failed").into()),
    }
}

fn scenarios(options: &Options) -> Result<Vec<Scenario>, Failure> {
    let is_wanted = |scenario: &&Scenario| {
        let is_named = options.only.iter().any(|word| scenario.name.contains(word.as_str()));
        if options.only.is_empty() { scenario.is_quick || !options.is_quick } else { is_named }
    };
    let mut wanted: Vec<Scenario> = all().iter().filter(is_wanted).copied().collect();
    if wanted.is_empty() {
        return Err(format!("no scenario is called {}: see --list", options.only.join(" or ")).into());
    }
    if options.is_quick {
        wanted.iter_mut().for_each(|scenario| scenario.load.conns = scenario.load.conns.min(1000));
    }
    Ok(wanted)
}

fn servers(options: &Options) -> Result<Vec<&'static Candidate>, Failure> {
    let is_wanted =
        |server: &&Candidate| options.servers.is_empty() || options.servers.iter().any(|name| name == server.name);
    let (there, missing): (Vec<&Candidate>, Vec<&Candidate>) =
        CANDIDATES.iter().filter(is_wanted).partition(|server| server.path(&options.places).is_some());
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|server| server.name).collect();
        eprintln!(
            "not installed, and so left out: {} (make bench-peers; see bench/peers/README.md)",
            names.join(", ")
        );
    }
    if there.is_empty() { Err("nobody is there to be measured".into()) } else { Ok(there) }
}

fn rounds(scenario: &Scenario, options: &Options) -> usize {
    if scenario.is_memory() { options.rounds.min(MEMORY_ROUNDS) } else { options.rounds }
}

/// Starts a server, loads it, ends it: its figures, and what it says that it is.
fn measure(
    server: &Candidate,
    scenario: &Scenario,
    options: &Options,
    certificate: &Certificate,
) -> Result<(Figures, String), Failure> {
    let running = server.start(&options.places, SERVER_CORE, &scenario.load, certificate)?;
    sys::pin(LOAD_CORE)?;
    let measure = Duration::from_secs_f64(options.seconds);
    // Whoever compiles while it runs needs more than whoever has compiled before.
    let plan = Plan { warm_up: measure / 2, measure, messages: None };
    Ok((scenario.load.run(&running.target, plan)?, running.about.clone()))
}

/// One line that says what is going on, written over and over on a terminal.
struct Progress {
    began: Instant,
    steps: usize,
    all: usize,
    rounds: usize,
    is_terminal: bool,
}

impl Progress {
    fn new(scenarios: &[Scenario], servers: &[&Candidate], options: &Options) -> Self {
        let steps = |scenario: &Scenario| {
            servers.iter().filter(|server| server.can(&scenario.load)).count() * rounds(scenario, options)
        };
        let all = scenarios.iter().map(steps).sum();
        let is_terminal = std::io::stderr().is_terminal();
        Self { began: Instant::now(), steps: 0, all, rounds: options.rounds, is_terminal }
    }

    fn tell(&mut self, scenario: &Scenario, server: &Candidate, round: usize) {
        let gone = self.began.elapsed();
        let left = gone.as_secs_f64() / self.steps.max(1) as f64 * (self.all - self.steps) as f64;
        self.steps += 1;
        let line = format!(
            "{}/{} {}, round {} of {}, {}; {} s gone, some {left:.0} s left",
            self.steps,
            self.all,
            scenario.name,
            round + 1,
            self.rounds,
            server.name,
            gone.as_secs()
        );
        if self.is_terminal {
            eprint!("\r\x1b[K{line}");
            let _ = std::io::stderr().flush();
        } else if round == 0 || scenario.load.mode == Mode::Idle {
            eprintln!("{line}");
        }
    }

    fn say(&self, line: &str) {
        eprintln!("{}{line}", if self.is_terminal { "\r\x1b[K" } else { "" });
    }

    fn end(&self) {
        self.say(&format!("{} measurements in {} s", self.steps, self.began.elapsed().as_secs()));
    }
}
