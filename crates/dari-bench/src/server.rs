//! Who is measured: a table of programs, and how one of them is started and ended.
//!
//! A program listens on a free port of 127.0.0.1, prints "listening on PORT" and may say behind it what it is. The
//! options `--broadcast`, `--deflate`, `--takeover`, `--cert FILE` and `--key FILE` stand for what it has to do besides echoing.

use crate::load::{Load, Mode};
use crate::target::{Offer, Target};
use crate::{Failure, sys};
use rustls::ClientConfig;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// A program that may be measured.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// What it is called in tables and on the command line.
    pub name: &'static str,
    /// Where it is, below one of the two folders of [`Places`].
    program: Program,
    /// What it does besides echoing.
    skills: &'static [Skill],
}

#[derive(Clone, Copy, Debug)]
enum Program {
    /// Of this crate.
    Ours(&'static str),
    /// Below `target`.
    Built(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skill {
    Broadcast,
    Deflate,
    Takeover,
    Tls,
}

use Skill::{Broadcast, Deflate, Takeover, Tls};

/// What others are compared with: no server of WebSockets at all.
pub const RAW: &str = "raw";
/// The library of this project, through its C API.
pub const DARI: &str = "dari";
/// The peer that has bars of its own.
pub const UWS: &str = "uwebsockets";
/// The same, built with an option that it does not have by default.
pub const UWS_SIMDUTF: &str = "uwebsockets-simdutf";
const LWS: &str = "libwebsockets";

/// All programs, in the order in which they are measured.
pub const CANDIDATES: &[Candidate] = &[
    candidate(RAW, Program::Ours("raw"), &[Broadcast]),
    candidate(DARI, Program::Built("c/echo_server"), &[Broadcast, Deflate, Takeover, Tls]),
    candidate(UWS, Program::Built("peers/uwebsockets"), &[Broadcast, Deflate, Takeover, Tls]),
    candidate(UWS_SIMDUTF, Program::Built("peers/uwebsockets-simdutf"), &[Broadcast, Deflate, Takeover, Tls]),
    candidate(LWS, Program::Built("peers/libwebsockets"), &[Broadcast, Deflate, Takeover, Tls]),
    candidate("tokio-tungstenite", Program::Built("peers/tokio-tungstenite"), &[Broadcast]),
    candidate("fastwebsockets", Program::Built("peers/fastwebsockets"), &[]),
    candidate("ws", Program::Built("peers/ws"), &[Broadcast, Deflate, Takeover, Tls]),
    candidate("bun", Program::Built("peers/bun"), &[Broadcast, Deflate, Takeover, Tls]),
];

const fn candidate(name: &'static str, program: Program, skills: &'static [Skill]) -> Candidate {
    Candidate { name, program, skills }
}

/// Where programs are.
#[derive(Clone, Debug)]
pub struct Places {
    /// Those of this crate.
    pub ours: PathBuf,
    /// All others: `c` and `peers` are in it.
    pub built: PathBuf,
}

/// A certificate for `localhost`, made for this run.
#[derive(Clone, Debug)]
pub struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    trust: Arc<ClientConfig>,
}

impl Certificate {
    /// Makes one, in two files in `folder`.
    pub fn new(folder: &Path) -> Result<Self, Failure> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        std::fs::write(&cert, made.cert.pem())?;
        std::fs::write(&key, made.signing_key.serialize_pem())?;
        let trust = crate::target::trust(&cert)?;
        Ok(Self { cert, key, trust })
    }
}

impl Candidate {
    /// Where it is, if it has been built.
    pub fn path(&self, places: &Places) -> Option<PathBuf> {
        let path = match self.program {
            Program::Ours(name) => places.ours.join(name),
            Program::Built(name) => places.built.join(name),
        };
        path.is_file().then_some(path)
    }

    /// Whether it can be measured under a load. Raw compresses nothing, encrypts nothing.
    pub fn can(&self, load: &Load) -> bool {
        needs(load).iter().all(|skill| self.skills.contains(skill))
    }

    /// Starts it on `core` for a load.
    pub fn start(&self, places: &Places, core: usize, load: &Load, tls: &Certificate) -> Result<Server, Failure> {
        let path = self.path(places).ok_or_else(|| format!("{} is not there", self.name))?;
        let mut command = Command::new(path);
        let is_dari = self.name == DARI;
        if is_dari {
            command.arg("127.0.0.1:0");
        }
        for skill in needs(load) {
            match skill {
                Broadcast => command.arg("--broadcast"),
                // The client's offer says which of the two.
                Takeover if is_dari => command.arg("--deflate"),
                Deflate => command.arg("--deflate"),
                Takeover => command.arg("--takeover"),
                Tls if is_dari => command.arg("--tls").arg(&tls.cert).arg(&tls.key),
                Tls => command.arg("--cert").arg(&tls.cert).arg("--key").arg(&tls.key),
            };
        }
        if self.name == LWS && load.conns > MANY {
            command.arg("--many");
        }
        let mut server = Server::start(command, core)?;
        server.target.is_raw = self.name == RAW;
        server.target.cuts = self.name == LWS;
        server.target.tls = Some(Arc::clone(&tls.trust));
        Ok(server)
    }
}

fn needs(load: &Load) -> Vec<Skill> {
    let mut needs = Vec::new();
    if load.mode == Mode::Broadcast {
        needs.push(Broadcast);
    }
    match load.offer {
        Offer::Plain => {}
        Offer::Deflate => needs.push(Deflate),
        Offer::Takeover => needs.push(Takeover),
    }
    if load.mode == Mode::Secure {
        needs.push(Tls);
    }
    needs
}

/// From how many connections on a program is told so that has to know.
const MANY: usize = 2_000;
/// How long a program may take to listen.
const START: Duration = Duration::from_secs(20);

/// A program that runs, until this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// How to reach it.
    pub target: Target,
    /// What it says that it is.
    pub about: String,
}

impl Server {
    /// Starts a program on `core` and waits until it listens. This thread is on that core then.
    pub fn start(mut command: Command, core: usize) -> Result<Self, Failure> {
        let name = command.get_program().to_string_lossy().into_owned();
        sys::pin(core)?;
        sys::die_with_us(&mut command);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take();
        let target = Target {
            address: ([127, 0, 0, 1], 0).into(),
            pid: Some(child.id()),
            is_raw: false,
            cuts: false,
            tls: None,
        };
        let mut server = Self { child, target, about: String::new() };
        let line = output.and_then(first_line).ok_or_else(|| format!("{name} does not listen"))?;
        let words = line.strip_prefix("listening on ").ok_or_else(|| format!("{name} says {line:?}"))?;
        let (address, about) = words.split_once(' ').unwrap_or((words, ""));
        let port = address.rsplit(':').next().unwrap_or_default();
        server.target.address.set_port(port.parse().map_err(|_| format!("{name} says {line:?}"))?);
        server.about = about.trim_matches(['(', ')']).to_owned();
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first line of a program's output, if it comes in time. What follows is read and thrown away, or a program that
/// says more would stop one day.
fn first_line(output: impl Read + Send + 'static) -> Option<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(output);
        let mut line = String::new();
        if reader.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            let _ = sender.send(line.trim_end().to_owned());
        }
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
    });
    receiver.recv_timeout(START).ok()
}
