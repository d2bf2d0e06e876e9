//! Everything that lives on a loop, and the few ways in which it changes.
//!
//! [`Net`] is what hooks get. Its verbs stand with their nouns: listeners and dials in `endpoint`, connections in
//! `verbs`, topics in `topics`, timers and watches in `watch`. None of them calls a hook: what has to be told is
//! put on a list, and `turn` tells it.

use crate::cause::End;
use crate::conn::{Conn, Flag, Peer};
use crate::endpoint::Endpoint;
use crate::ids::{Slab, Tag};
use crate::log::Lines;
use crate::memory::Shared;
use crate::outbox::Outbox;
use crate::output::{Outgoing, Told, Wrong};
use crate::publish::Run;
use crate::remote::Remote;
use crate::resolve::Resolver;
use crate::shutdown::Shutdown;
use crate::stats::Ends;
use crate::sys::{SystemEntropy, TimerFd};
use crate::timers::{Due, NEVER, Timers};
use crate::topics::Topics;
use crate::watch::{UserTimer, Watch};
use crate::wire::Wire;
use crate::{Config, ConnId, Error, Past, Slow, Stats, Tls};
use dari_core::{Buffers, Connection, Io};
use mio::unix::SourceFd;
use mio::{Interest, Poll, Token, Waker};
use socket2::Socket;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Instant;

/// How often the pool of buffers gives some back, in milliseconds.
pub(crate) const DECAY_MS: u64 = 500;

/// What an event of the poller is about; in the token beside slot and generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Conn,
    Listener,
    Watch,
    /// The eventfd of remotes, and the timerfd that the host sees.
    Wake,
}

const KIND_SHIFT: u32 = 48;

/// The token of an id: its slot and generation, and the kind where the loop's tag was.
pub(crate) fn token(kind: Kind, id: u64) -> Token {
    let low = id & ((1 << KIND_SHIFT) - 1);
    #[expect(clippy::cast_possible_truncation, reason = "lib.rs refuses targets whose usize is smaller")]
    Token((((kind as u64) << KIND_SHIFT) | low) as usize)
}

/// Puts an id on a list, or, without memory for that, notes that there is one that is not on it.
pub(crate) fn put_down(list: &mut Vec<u64>, id: u64, unlisted: &mut bool) {
    if list.try_reserve(1).is_ok() {
        list.push(id);
    } else {
        *unlisted = true;
    }
}

/// A loop's listeners, connections, timers, watches and topics: what hooks get to work with.
pub struct Net {
    pub(crate) poll: Poll,
    pub(crate) conns: Slab<Conn>,
    pub(crate) endpoints: Slab<Endpoint>,
    pub(crate) user_timers: Slab<UserTimer>,
    pub(crate) watches: Slab<Watch>,
    pub(crate) always_ready: usize,
    pub(crate) topics: Topics,
    pub(crate) timers: Timers,
    /// What the connection that is being read says in answer.
    pub(crate) tx: Outbox,
    /// The connection that is being read.
    pub(crate) current: Option<u32>,
    /// What was queued for it before it was read.
    pub(crate) queued_before: usize,
    /// Up to how many bytes are queued for it before that is anything but an answer.
    pub(crate) room: usize,
    /// The message that it is told of now.
    pub(crate) told: Told,
    /// More of what was read of it waits behind what it is told of now.
    pub(crate) is_more_behind: bool,
    /// Where the loop's receive buffer lies, as addresses.
    pub(crate) rx: Range<usize>,
    /// Connections that may have more to read: next turn.
    pub(crate) ready: Vec<u64>,
    /// Connections that have something to write or to tell: this turn.
    pub(crate) touched: Vec<u64>,
    /// Whether there are such that are on neither list, for want of memory: they are found by their flags.
    pub(crate) ready_unlisted: bool,
    pub(crate) touched_unlisted: bool,
    pub(crate) buffers: Buffers,
    /// Payloads that several queues share, by where they lie.
    pub(crate) shared: Shared,
    /// What is being published.
    pub(crate) run: Run,
    pub(crate) publishing: bool,
    /// Connections that are not read from because memory is short.
    pub(crate) choked: Vec<u64>,
    /// When they were last looked for.
    pub(crate) choked_at: u64,
    pub(crate) stats: Stats,
    pub(crate) ends: Ends,
    pub(crate) lines: Lines,
    pub(crate) slow_hook_ms: u32,
    pub(crate) farewells: usize,
    /// Whom clients trust if nobody says.
    pub(crate) trust: Option<Tls>,
    pub(crate) resolver: Option<Resolver>,
    /// Buffers of encrypted connections: for ciphertext, and for plaintext that is put together. And an empty queue.
    pub(crate) sealed: Vec<u8>,
    pub(crate) scratch: Vec<u8>,
    pub(crate) nothing: Outbox,
    /// A descriptor that is let go of when there are no others.
    pub(crate) spare: Option<Socket>,
    pub(crate) shutdown: Option<Box<Shutdown>>,
    pub(crate) entropy: SystemEntropy,
    pub(crate) remote: Remote,
    pub(crate) host: Option<TimerFd>,
    /// The process that the loop belongs to.
    pub(crate) pid: u32,
    pub(crate) tag: u64,
    /// Keeps it ours.
    _tag: Tag,
    pub(crate) start: Instant,
    /// Milliseconds since the start, as of this turn.
    pub(crate) now: u64,
    pub(crate) in_turn: bool,
    pub(crate) stopping: bool,
    /// The loop goes: nothing new begins.
    pub(crate) closing: bool,
    pub(crate) decays: bool,
}

impl Net {
    pub(crate) fn new(config: Config) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), token(Kind::Wake, 0))?;
        let tag = Tag::new().ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        Ok(Self {
            poll,
            conns: Slab::new(tag.number()),
            endpoints: Slab::new(tag.number()),
            user_timers: Slab::new(tag.number()),
            watches: Slab::new(tag.number()),
            always_ready: 0,
            topics: Topics::default(),
            timers: Timers::default(),
            tx: Outbox::default(),
            current: None,
            queued_before: 0,
            room: 0,
            told: Told::default(),
            is_more_behind: false,
            rx: 0..0,
            ready: Vec::new(),
            touched: Vec::new(),
            ready_unlisted: false,
            touched_unlisted: false,
            buffers: Buffers::with_grace(config.max_memory),
            shared: Shared::default(),
            run: Run::default(),
            publishing: false,
            choked: Vec::new(),
            choked_at: NEVER,
            stats: Stats::default(),
            ends: Ends::default(),
            lines: Lines::new(config.log),
            slow_hook_ms: config.slow_hook_ms,
            farewells: 0,
            trust: None,
            resolver: None,
            sealed: Vec::new(),
            scratch: Vec::new(),
            nothing: Outbox::default(),
            spare: None,
            shutdown: None,
            entropy: SystemEntropy::new(),
            remote: Remote::new(waker),
            host: None,
            pid: std::process::id(),
            tag: u64::from(tag.number()) << KIND_SHIFT,
            _tag: tag,
            start: Instant::now(),
            now: 0,
            in_turn: false,
            stopping: false,
            closing: false,
            decays: false,
        })
    }

    // --- the loop as a whole ------------------------------------------------------------------------------------

    /// Makes [`Loop::run`](crate::Loop::run) return after this turn.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// A hand on this loop for other threads and for signal handlers.
    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// What the loop has seen so far.
    pub fn stats(&mut self) -> Stats {
        self.deal();
        let memory = |bytes| u64::try_from(bytes).unwrap_or(u64::MAX);
        let (used, peak) = (self.buffers.used() + self.shared.held(), self.buffers.peak());
        Stats { memory: memory(used), memory_peak: memory(peak.max(used)), ..self.stats.clone() }
    }

    /// How the `nth` last connection ended, 0 being the latest: of the last 1,000 that had an id.
    pub fn past(&self, nth: usize) -> Option<&Past> {
        self.ends.nth(nth)
    }

    /// The descriptor that is readable whenever a [`turn`](crate::Loop::turn) has something to do: for the host's
    /// own poll. From the first time that it is asked for, timers and left-over work make it readable, too.
    pub fn fd(&mut self) -> Result<RawFd, Error> {
        if self.host.is_none() {
            let timer = TimerFd::new().map_err(|error| Error::system("making a timer descriptor", &error))?;
            let raw = timer.as_raw_fd();
            self.poll
                .registry()
                .register(&mut SourceFd(&raw), token(Kind::Wake, 1), Interest::READABLE)
                .map_err(|error| Error::system("watching a timer descriptor", &error))?;
            self.host = Some(timer);
            self.arm_host();
        }
        Ok(self.poll.as_raw_fd())
    }

    /// Milliseconds until there is something to do without the peers' doing; 0 if there is already.
    pub fn timeout(&self) -> Option<u32> {
        if self.has_work() {
            return Some(0);
        }
        let now = if self.in_turn { self.now } else { self.elapsed() };
        self.timers.next().map(|at| u32::try_from(at.saturating_sub(now)).unwrap_or(u32::MAX))
    }

    /// Whether a turn would find something to do at once.
    pub(crate) fn has_work(&self) -> bool {
        !self.ready.is_empty()
            || !self.touched.is_empty()
            || self.ready_unlisted
            || self.touched_unlisted
            || self.run.is_open()
            || self.always_ready > 0
            || !self.lines.is_empty()
    }

    /// Between turns: lets the host's poll see that there is something to do.
    pub(crate) fn tell_host(&mut self) {
        if !self.in_turn {
            self.arm_host();
        }
    }

    pub(crate) fn arm_host(&mut self) {
        if let Some(host) = &self.host {
            let wait = if self.has_work() {
                Some(0)
            } else {
                self.timers.next().map(|at| at.saturating_sub(self.elapsed()))
            };
            host.set(wait);
        }
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(NEVER)
    }

    /// The time, in milliseconds: that of the turn, or the real one between turns.
    pub(crate) fn clock(&mut self) -> u64 {
        if !self.in_turn {
            self.now = self.elapsed();
        }
        self.now
    }

    pub(crate) fn tick(&mut self) {
        self.now = self.elapsed();
    }

    // --- connections --------------------------------------------------------------------------------------------

    pub(crate) fn find(&self, conn: ConnId) -> Result<u32, Error> {
        self.conns.find(conn.0).ok_or(Error::Stale)
    }

    /// The slot of a connection that has not ended.
    pub(crate) fn living(&self, conn: ConnId) -> Result<u32, Error> {
        let slot = self.find(conn)?;
        match self.conns.get(slot) {
            Some(conn) if !conn.is_over() => Ok(slot),
            _ => Err(Error::State("the connection is closed".to_owned())),
        }
    }

    pub(crate) fn endpoint_of(&self, slot: u32) -> Option<&Endpoint> {
        self.endpoints.get(self.conns.get(slot)?.endpoint)
    }

    /// Puts a connection on the loop.
    pub(crate) fn add(&mut self, core: Connection, socket: Socket, peer: Peer, endpoint: u32) -> Result<u32, Error> {
        let now = self.clock();
        let raw = socket.as_raw_fd();
        let slot = self.conns.insert(Conn::new(core, socket, peer, endpoint, now)).ok_or(Error::Memory)?;
        let token = token(Kind::Conn, self.conns.id(slot));
        // Both directions, once: no call for it ever again.
        let both = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut SourceFd(&raw), token, both) {
            self.conns.remove(slot);
            return Err(Error::system("watching a connection", &error));
        }
        if let Some(endpoint) = self.endpoints.get_mut(endpoint) {
            endpoint.conns += 1;
        }
        self.arm(slot);
        Ok(slot)
    }

    /// Takes a connection off the loop; its end has been told.
    pub(crate) fn remove(&mut self, slot: u32) {
        self.leave_all(slot);
        self.take_waiting(slot);
        self.race_at(slot, NEVER);
        let id = self.conns.id(slot);
        let Some(mut conn) = self.conns.remove(slot) else { return };
        let outbox = conn.outbox.as_ref().map_or(0, |outbox| outbox.charged);
        self.buffers.account(outbox + conn.wire().map_or(0, Wire::charged), 0);
        if conn.is(Flag::Dialling)
            && let Some(resolver) = &mut self.resolver
        {
            resolver.cancel(id);
        }
        self.farewells -= usize::from(conn.is(Flag::Farewell));
        if self.conns.len() == 0 {
            self.timers.forget_conns();
        }
        let mut nowhere = Vec::new();
        conn.core.release(&mut Io { entropy: &mut self.entropy, buffers: &mut self.buffers, out: &mut nowhere });
        if let Some(endpoint) = self.endpoints.get_mut(conn.endpoint) {
            endpoint.conns -= 1;
            if let Some(gate) = endpoint.gate.as_mut().filter(|_| conn.is(Flag::Counted)) {
                gate.leave(&conn.peer);
            }
            self.tidy_endpoint(conn.endpoint);
        }
    }

    /// Calls the protocol. What it says goes to `tx` if the connection is the one that is being read and nothing
    /// of it waits already, to its outbox otherwise.
    pub(crate) fn io<R>(&mut self, slot: u32, call: impl FnOnce(&mut Connection, &mut Io<'_>) -> R) -> Option<R> {
        self.deal();
        let conn = self.conns.get_mut(slot)?;
        let (is_plain, sealed) = (conn.wire().is_none(), conn.wire().map_or(0, Wire::queued));
        let uses_tx = self.current == Some(slot) && conn.outbox.is_none();
        let queue = if uses_tx {
            &mut self.tx
        } else {
            let slow = self.endpoints.get(conn.endpoint).map(|at| at.limits.slow);
            conn.outbox.get_or_insert_with(|| Box::new(Outbox::new(slow == Some(Slow::DropOldest))))
        };
        let mut out = Outgoing {
            queue,
            shared: if self.publishing { Some(&mut self.shared) } else { None },
            socket: &conn.socket,
            rx: if uses_tx { self.rx.clone() } else { 0..0 },
            told: &mut self.told,
            may_write: !conn.flags.is(Flag::Dialling) && !conn.flags.is(Flag::Blocked) && is_plain,
            blocked: conn.flags.is(Flag::Blocked),
            error: None,
        };
        let mut io = Io { entropy: &mut self.entropy, buffers: &mut self.buffers, out: &mut out };
        let result = call(&mut conn.core, &mut io);
        let Outgoing { blocked, error, .. } = out;
        // Of what is torn nothing may leave.
        conn.set(Flag::Blocked, blocked || matches!(error, Some(Wrong::Torn)));
        if !uses_tx {
            match &mut conn.outbox {
                Some(outbox) if outbox.is_empty() && sealed == 0 => self.drop_outbox(slot),
                Some(outbox) => {
                    if outbox.moved == 0 {
                        outbox.moved = self.now.max(1);
                    }
                    self.recount(slot);
                    self.touch(slot);
                }
                None => {}
            }
        }
        match error {
            None => {}
            Some(Wrong::Socket(end)) => self.end(slot, end),
            Some(Wrong::Memory) => self.run_short(slot),
            Some(Wrong::Torn) => self.end(slot, End::out_of_memory(&self.buffers)),
        }
        Some(result)
    }

    /// Has a connection looked at before the turn ends.
    pub(crate) fn touch(&mut self, slot: u32) {
        let id = self.conns.id(slot);
        if let Some(conn) = self.conns.get_mut(slot)
            && !conn.is(Flag::Touched)
        {
            conn.set(Flag::Touched, true);
            put_down(&mut self.touched, id, &mut self.touched_unlisted);
            self.tell_host();
        }
    }

    /// It is over: the first word on why counts. The hooks hear of it in this turn.
    pub(crate) fn end(&mut self, slot: u32, end: End) {
        if let Some(conn) = self.conns.get_mut(slot) {
            // Once both sides are through, how the socket goes takes nothing back (RFC 6455 7.1.4).
            let end = match (end, conn.finish()) {
                (End::Io(_), Some(finish)) => finish.end,
                _ => end,
            };
            conn.rare().end.get_or_insert(end);
            self.touch(slot);
        }
    }

    /// The same, with more to say of it.
    pub(crate) fn end_with(&mut self, slot: u32, end: End, detail: impl Into<Box<str>>) {
        if let Some(conn) = self.conns.get_mut(slot) {
            conn.rare().detail.get_or_insert_with(|| detail.into());
        }
        self.end(slot, end);
    }

    /// Makes sure that the timer of a connection goes off in time. It may go off too early: then it is set anew.
    pub(crate) fn arm(&mut self, slot: u32) {
        let Some(conn) = self.conns.get_mut(slot).filter(|conn| !conn.is_done()) else { return };
        let Some(endpoint) = self.endpoints.get(conn.endpoint) else { return };
        let (at, _) = conn.due(&endpoint.limits);
        let step = Timers::step(at);
        let short = Timers::short(step);
        if step != NEVER && (!conn.is(Flag::Armed) || Timers::is_before(short, conn.deadline)) {
            let step = self.timers.set_conn(step, slot);
            conn.deadline = Timers::short(step);
            conn.set(Flag::Armed, true);
        }
    }

    /// Makes sure that buffers which nobody uses are given back, if there are any.
    pub(crate) fn decay_later(&mut self, is_rx_wide: bool) -> bool {
        if !self.decays && (is_rx_wide || self.buffers.keeps_any() || !self.shared.is_empty()) {
            self.decays = true;
            self.timers.set(self.now + DECAY_MS, Due::Decay);
        }
        self.decays
    }

    /// Whether this is a forked child: the loop's descriptors are the parent's, too, and so are its peers.
    pub(crate) fn is_forked(&self) -> bool {
        self.pid != std::process::id()
    }

    pub(crate) fn refuse_when_closing(&self) -> Result<(), Error> {
        if self.closing { Err(Error::State("the loop is shutting down".to_owned())) } else { Ok(()) }
    }
}
