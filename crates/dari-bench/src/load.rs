//! The loads: what is done to a server, and what is told of it then.

mod broadcast;
mod churn;
mod echo;
mod memory;
mod slow;

use crate::Failure;
use crate::frames::{Kind, Volley};
use crate::meter::{Figures, Plan};
use crate::target::{Channel, Offer, SCRATCH, Target, Wire};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// What is done to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Each connection sends `depth` frames in one go, waits for as many echoes, and does it again.
    Echo,
    /// The same over TLS.
    Secure,
    /// One connection sends `depth` messages in one go, and everybody gets them.
    Broadcast,
    /// Connect, handshake, one echo, close: `conns` at a time.
    Churn,
    /// `depth` messages to a peer that reads nothing before it has sent all that it can.
    Slow,
    /// Memory of connections that are open and do nothing, before and after an echo.
    Idle,
    /// Memory of connections that have echoed one message of `size`, 2 s later.
    After,
}

/// A mode with its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// What is done.
    pub mode: Mode,
    /// Connections.
    pub conns: usize,
    /// Bytes of a message.
    pub size: usize,
    /// Messages in one go.
    pub depth: usize,
    /// What they hold.
    pub kind: Kind,
    /// Whether they are compressed.
    pub offer: Offer,
}

impl Load {
    /// Does it, and says what it cost.
    pub fn run(&self, target: &Target, plan: Plan) -> Result<Figures, Failure> {
        if self.conns == 0 || self.depth == 0 {
            return Err("nothing to do: no connections, or no messages".into());
        }
        match self.mode {
            Mode::Echo => echo::run(self, target, plan, Target::connect),
            Mode::Secure => echo::run(self, target, plan, Target::connect_tls),
            Mode::Broadcast => broadcast::run(self, target, plan),
            Mode::Churn => churn::run(self, target, plan),
            Mode::Slow => slow::run(self, target, plan),
            Mode::Idle => memory::idle(self, target),
            Mode::After => memory::after(self, target),
        }
    }

    fn volley(&self) -> Volley {
        Volley::new(self.kind, self.size, self.depth, self.offer != Offer::Plain)
    }
}

/// A poller, and a buffer that everybody reads into.
struct Desk {
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
}

impl Desk {
    fn new() -> io::Result<Self> {
        Ok(Self { poll: Poll::new()?, events: Events::with_capacity(1024), scratch: vec![0; SCRATCH] })
    }

    fn add(&self, socket: &impl AsRawFd, token: usize) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), Token(token), interest)
    }

    fn add_channel<W: Wire>(&self, channel: &Channel<W>, token: usize) -> io::Result<()> {
        channel.wire.socket().set_nonblocking(true)?;
        self.add(channel.wire.socket(), token)
    }

    /// Waits for events; an error when a server that owes something is silent for too long.
    fn wait(&mut self) -> Result<Instant, Failure> {
        match self.poll.poll(&mut self.events, Some(Duration::from_secs(10))) {
            Ok(()) if self.events.is_empty() => Err("the server is silent".into()),
            Err(error) if error.kind() != ErrorKind::Interrupted => Err(error.into()),
            _ => Ok(Instant::now()),
        }
    }
}

/// Sends as much as the kernel takes of what is left of `bytes` behind `sent`.
fn push<W: Wire>(wire: &mut W, bytes: &[u8], sent: &mut usize) -> Result<(), Failure> {
    while *sent < bytes.len() {
        match wire.write(&bytes[*sent..]) {
            Ok(taken) => *sent += taken,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
