//! Churn: a connection's whole life, over and over. A message is one life.

use super::{Desk, Load, push};
use crate::Failure;
use crate::frames::{Volley, frame};
use crate::meter::{Figures, Meter, Plan};
use crate::target::{Offer, Target, socket};
use crate::walker::Walker;
use mio::unix::SourceFd;
use std::io::{ErrorKind, Read};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Handshake,
    Echo,
    Close,
}

/// What is said in each stage, in the order of the stages.
struct Script {
    says: [Vec<u8>; 3],
    is_raw: bool,
}

struct Life {
    socket: TcpStream,
    is_connected: bool,
    stage: Stage,
    sent: usize,
    heard: Vec<u8>,
    since: Instant,
}

pub(super) fn run(load: &Load, target: &Target, plan: Plan) -> Result<Figures, Failure> {
    let volley = load.volley();
    target.connect(0, load.offer)?.sample(&volley)?;
    let script = Script::new(load, target, &volley);
    let mut desk = Desk::new()?;
    let mut meter = Meter::new(target, plan)?;
    let mut born = load.conns;
    let mut lives = (0..load.conns).map(|nth| Life::begin(target, &desk, nth, nth)).collect::<Result<Vec<_>, _>>()?;
    loop {
        let now = desk.wait()?;
        for token in desk.events.iter().map(|event| event.token().0).collect::<Vec<_>>() {
            if lives[token].go_on(&script, load.offer, &mut desk.scratch)? {
                meter.count(1, lives[token].since.elapsed());
                desk.poll.registry().deregister(&mut SourceFd(&lives[token].socket.as_raw_fd()))?;
                lives[token] = Life::begin(target, &desk, token, born)?;
                born += 1;
            }
        }
        if let Some(figures) = meter.tick(now)? {
            return Ok(figures);
        }
    }
}

impl Script {
    fn new(load: &Load, target: &Target, volley: &Volley) -> Self {
        let close = frame(0x88, &1000u16.to_be_bytes(), [1, 2, 3, 4]);
        Self { says: [load.offer.request().into_bytes(), volley.first.clone(), close], is_raw: target.is_raw }
    }
}

impl Life {
    fn begin(target: &Target, desk: &Desk, token: usize, nth: usize) -> Result<Self, Failure> {
        let socket = socket(nth)?;
        socket.set_nonblocking(true)?;
        let since = Instant::now();
        match socket.connect(&target.address.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error.into()),
            _ => {}
        }
        desk.add(&socket, token)?;
        Ok(Self {
            socket: socket.into(),
            is_connected: false,
            stage: Stage::Handshake,
            sent: 0,
            heard: Vec::new(),
            since,
        })
    }

    /// Does what can be done now. Whether it is over.
    fn go_on(&mut self, script: &Script, offer: Offer, scratch: &mut [u8]) -> Result<bool, Failure> {
        self.is_connected = self.is_connected || self.socket.peer_addr().is_ok();
        if !self.is_connected {
            return self.socket.take_error()?.map_or(Ok(false), |error| Err(error.into()));
        }
        loop {
            self.say(script)?;
            match self.socket.read(scratch) {
                Ok(0) if self.stage == Stage::Close => return Ok(true),
                Ok(0) => return Err("the server ended the connection".into()),
                Ok(bytes) => self.heard.extend(&scratch[..bytes]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // It closed while we had something to say.
                Err(_) if self.stage == Stage::Close => return Ok(true),
                Err(error) => return Err(error.into()),
            }
            if let Some(next) = self.next(script, offer)? {
                (self.stage, self.sent) = (next, 0);
                self.heard.clear();
            }
        }
    }

    fn say(&mut self, script: &Script) -> Result<(), Failure> {
        let says = &script.says[self.stage as usize];
        if self.stage != Stage::Close {
            return push(&mut self.socket, says, &mut self.sent);
        }
        if self.sent == 0 {
            // Who knows no Close frame is told by the end of the stream.
            if script.is_raw {
                self.socket.shutdown(Shutdown::Write)?;
                self.sent = says.len();
            } else {
                push(&mut self.socket, says, &mut self.sent)?;
            }
        }
        Ok(())
    }

    /// The stage that what was heard leads to, if it is all here.
    fn next(&self, script: &Script, offer: Offer) -> Result<Option<Stage>, Failure> {
        let is_over = match self.stage {
            Stage::Close => false,
            _ if script.is_raw => self.heard.len() >= script.says[self.stage as usize].len(),
            Stage::Handshake => {
                let is_over = self.heard.ends_with(b"\r\n\r\n");
                if is_over {
                    offer.check(&self.heard)?;
                }
                is_over
            }
            Stage::Echo => Walker::default().walk(&self.heard)? > 0,
        };
        Ok(is_over.then_some(if self.stage == Stage::Handshake { Stage::Echo } else { Stage::Close }))
    }
}
