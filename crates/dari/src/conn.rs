//! One connection as the loop keeps it: the protocol's state, the socket, and what is due.
//!
//! An idle one is this struct and nothing else: what most connections never need is behind an `Option<Box<_>>`.

use crate::cause::End;
use crate::config::{Limits, MOST_LINGER, NEVER as NO_LIMIT};
use crate::dial::Dialling;
use crate::folder::FileBody;
use crate::outbox::Outbox;
use crate::timers::NEVER;
use crate::topics::Subscription;
use crate::wire::Wire;
use dari_core::{Connection, State};
use socket2::{SockAddr, Socket};
use std::ffi::c_void;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::ptr::null_mut;

/// The period of the limit on control frames, in milliseconds.
const SECOND: u64 = 1_000;

pub(crate) struct Conn {
    pub(crate) core: Connection,
    pub(crate) socket: Socket,
    /// Who is there; asked for when it is known, since a connection that was reset can not be asked any more.
    pub(crate) peer: Peer,
    /// The slot of the listener or dial that it belongs to.
    pub(crate) endpoint: u32,
    /// The host's pointer; never looked behind.
    pub(crate) data: *mut c_void,
    pub(crate) outbox: Option<Box<Outbox>>,
    #[expect(clippy::box_collection, reason = "most connections have none, and 8 bytes are less than 24")]
    pub(crate) topics: Option<Box<Vec<Subscription>>>,
    pub(crate) rare: Option<Box<Rare>>,
    /// When the peer was last heard (open), or the phase began (before and after).
    pub(crate) mark: u64,
    /// When it came to be.
    pub(crate) born: u64,
    /// If `Armed`: in which step the timer of this connection goes off; never later than what is due.
    pub(crate) deadline: u32,
    pub(crate) flags: Flags,
}

/// Yes or no, of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flag {
    /// Some hook or caller knows the id, and so will hear of the end.
    Seen,
    /// The hook `open` was called.
    Opened,
    /// The host wants nothing to be read.
    Paused,
    /// Too much is queued: nothing is read until it has gone down.
    Throttled,
    /// The kernel took less than it was given, and will say when it takes more.
    Blocked,
    /// The dial has not got through yet.
    Dialling,
    /// A send was told that it is buffered: the hook `drain` is owed.
    OwesDrain,
    /// The kernel said that no more will come: read on to the end, there is no other sign of it.
    HungUp,
    /// The end of the peer's stream was read.
    Eof,
    /// A ping asks whether the peer is still there.
    Pinged,
    /// A plain request was answered on it.
    Served,
    /// Its address is counted by the listener.
    Counted,
    /// The peer is who a trusted proxy says it is.
    ByProxy,
    /// It was turned away, and is only here to hear of it.
    Farewell,
    /// Memory is short, and it holds much: nothing is read until there is more.
    Choked,
    /// Its timer is set.
    Armed,
    /// It is on the list of those to be looked at before the turn ends.
    Touched,
    /// It is on the list of those to be read in the next turn.
    Ready,
}

/// An address, as small as it can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    V4(Ipv4Addr, u16),
    V6(Box<SocketAddrV6>),
    /// A unix socket, whose peer mostly has no name.
    Local,
    /// None is known yet.
    Nobody,
}

impl Peer {
    pub(crate) fn new(address: &SockAddr) -> Self {
        match address.as_socket() {
            Some(SocketAddr::V4(address)) => Self::V4(*address.ip(), address.port()),
            Some(SocketAddr::V6(address)) => Self::V6(Box::new(address)),
            None => Self::Local,
        }
    }

    pub(crate) fn from_ip(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::V4(ip, 0),
            IpAddr::V6(ip) => Self::V6(Box::new(SocketAddrV6::new(ip, 0, 0, 0))),
        }
    }

    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::V4(ip, _) => Some(IpAddr::V4(*ip)),
            Self::V6(address) => Some(IpAddr::V6(*address.ip())),
            Self::Local | Self::Nobody => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Whom a proxy speaks for has no port that anybody knows.
            Self::V4(address, 0) => address.fmt(f),
            Self::V6(address) if address.port() == 0 => address.ip().fmt(f),
            Self::V4(address, port) => write!(f, "{address}:{port}"),
            Self::V6(address) => address.fmt(f),
            Self::Local => f.write_str("unix:"),
            Self::Nobody => Ok(()),
        }
    }
}

/// What few connections have, and not for long.
#[derive(Default)]
pub(crate) struct Rare {
    /// Bytes that were read and may not be looked at yet.
    pub(crate) waiting: Vec<u8>,
    /// A file that is being served.
    pub(crate) file: Option<FileBody>,
    /// How to end, now that the protocol is through.
    pub(crate) finish: Option<Finish>,
    /// It is over; the hooks are to be told.
    pub(crate) end: Option<End>,
    /// What it is doing, having not got through yet.
    pub(crate) dialling: Option<Box<Dialling>>,
    /// It is encrypted.
    pub(crate) wire: Option<Box<Wire>>,
    /// What else there is to say of its end.
    pub(crate) detail: Option<Box<str>>,
    /// The loop shuts down, and that is why its Close frame was sent.
    pub(crate) is_shutdown: bool,
    /// What a slow peer will not get, and the host was not told yet: messages and bytes.
    pub(crate) dropped: (usize, usize),
    /// What was queued when the connection was given up, and is thrown away: messages and bytes.
    pub(crate) unsent: (usize, usize),
}

/// The way out: write what is queued, end our side of the stream, read the peer's to its end, close.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finish {
    pub(crate) end: End,
    /// Whether our side of the stream is still to be ended.
    pub(crate) half_close: bool,
    /// Whether to wait for the end of the peer's side: closing a socket with unread bytes resets the connection,
    /// and could destroy what we said last.
    pub(crate) wait: bool,
    /// Bytes that are thrown away before patience ends.
    pub(crate) left: usize,
}

impl Finish {
    pub(crate) fn new(end: End, half_close: bool, wait: bool) -> Self {
        Self { end, half_close, wait, left: MOST_LINGER }
    }
}

/// What a deadline of a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Handshake,
    KeepAlive,
    Idle,
    Close,
    Stall,
}

/// Those of a connection whose peer is not listened to.
const WAITING: u32 = 1 << Flag::Paused as u32 | 1 << Flag::Throttled as u32 | 1 << Flag::Choked as u32;

/// Those of a connection of which something is to be settled.
const RESTLESS: u32 = 1 << Flag::Touched as u32
    | 1 << Flag::Throttled as u32
    | 1 << Flag::Blocked as u32
    | 1 << Flag::OwesDrain as u32
    | 1 << Flag::Eof as u32;

/// One bit for each [`Flag`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flags(u32);

impl Flags {
    pub(crate) fn is(self, flag: Flag) -> bool {
        self.0 & (1 << flag as u32) != 0
    }

    /// Whether one of those in `mask` is set.
    fn is_any(self, mask: u32) -> bool {
        self.0 & mask != 0
    }

    pub(crate) fn set(&mut self, flag: Flag, on: bool) {
        let bit = 1 << flag as u32;
        self.0 = if on { self.0 | bit } else { self.0 & !bit };
    }
}

impl Conn {
    pub(crate) fn new(core: Connection, socket: Socket, peer: Peer, endpoint: u32, now: u64) -> Self {
        Self {
            core,
            socket,
            peer,
            endpoint,
            data: null_mut(),
            outbox: None,
            topics: None,
            rare: None,
            mark: now,
            born: now,
            deadline: 0,
            flags: Flags::default(),
        }
    }

    pub(crate) fn is(&self, flag: Flag) -> bool {
        self.flags.is(flag)
    }

    pub(crate) fn set(&mut self, flag: Flag, on: bool) {
        self.flags.set(flag, on);
    }

    /// The peer is alive, or its silence so far does not count.
    pub(crate) fn heard(&mut self, now: u64) {
        if now / SECOND != self.mark / SECOND {
            self.core.renew();
        }
        self.mark = now;
        self.set(Flag::Pinged, false);
    }

    pub(crate) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// How it ended, if it has.
    pub(crate) fn end(&self) -> Option<End> {
        self.rare.as_ref().and_then(|rare| rare.end)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.end().is_some()
    }

    pub(crate) fn finish(&self) -> Option<Finish> {
        self.rare.as_ref().and_then(|rare| rare.finish)
    }

    /// Whether its end waits for nothing but to be settled.
    pub(crate) fn is_done(&self) -> bool {
        self.finish().is_some_and(|finish| !finish.wait) && self.queued() == 0
    }

    /// Whether the shutdown of the loop has begun its end.
    pub(crate) fn is_shutdown(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.is_shutdown)
    }

    pub(crate) fn state(&self) -> State {
        if self.is_over() { State::Closed } else { self.core.state() }
    }

    /// Whether what was read has to wait, and nothing more is to be read.
    pub(crate) fn must_wait(&self) -> bool {
        (self.is(Flag::Paused) && self.core.state() == State::Open)
            || self.is(Flag::Throttled)
            || self.is(Flag::Choked)
            || !self.core.wants_input()
    }

    /// Whether what comes of an open connection is told at once.
    pub(crate) fn is_listened_to(&self) -> bool {
        let is_leaving = |rare: &Rare| rare.end.is_some() || rare.finish.is_some();
        !self.flags.is_any(WAITING) && !self.rare.as_deref().is_some_and(is_leaving)
    }

    /// Whether what it is sent while it is read can go out with the answers: nothing waits, and it is not over.
    pub(crate) fn takes_answers(&self) -> bool {
        let is_busy = |rare: &Rare| rare.end.is_some() || rare.wire.as_deref().is_some_and(|wire| wire.queued() > 0);
        self.outbox.is_none() && !self.rare.as_deref().is_some_and(is_busy)
    }

    /// Whether it is open, nothing of it waits for anybody, and nobody has asked for anything: nothing is to be settled.
    pub(crate) fn is_at_rest(&self) -> bool {
        !self.flags.is_any(RESTLESS)
            && self.is(Flag::Opened)
            && self.core.state() == State::Open
            && self.outbox.is_none()
            && self.rare.is_none()
            && !self.core.owes_pong()
    }

    /// Bytes of memory that are held on its account.
    pub(crate) fn held(&self) -> usize {
        let waiting = self.rare.as_ref().map_or(0, |rare| rare.waiting.capacity());
        let wire = self.wire().map_or(0, Wire::charged);
        self.core.held() + waiting + wire + self.outbox.as_ref().map_or(0, |outbox| outbox.charged)
    }

    pub(crate) fn queued(&self) -> usize {
        self.outbox.as_ref().map_or(0, |outbox| outbox.len()) + self.wire().map_or(0, Wire::queued)
    }

    /// Whether what is queued is nothing of the host's: the request of a client, and what TLS says before it.
    pub(crate) fn is_asking(&self) -> bool {
        self.core.is_client() && !self.is(Flag::Opened)
    }

    pub(crate) fn wire(&self) -> Option<&Wire> {
        self.rare.as_ref()?.wire.as_deref()
    }

    /// What it was waiting for before it was open.
    pub(crate) fn stage(&self) -> &'static str {
        if let Some(dialling) = self.rare.as_ref().and_then(|rare| rare.dialling.as_ref()) {
            return dialling.stage();
        }
        match (self.wire(), self.core.is_client()) {
            (Some(wire), _) if wire.is_handshaking() => "in the TLS handshake",
            (_, true) => "waiting for the server's answer",
            (_, false) if self.core.asks_upgrade() => "waiting for this side's answer",
            (_, false) => "waiting for the request",
        }
    }

    /// The next thing that is due, and when.
    pub(crate) fn due(&self, limits: &Limits) -> (u64, What) {
        let phase = match self.core.state() {
            _ if self.finish().is_some() => (after(self.mark, limits.close_ms), What::Close),
            State::Closing | State::Closed => (after(self.mark, limits.close_ms), What::Close),
            State::Open if self.must_wait() => (NEVER, What::Idle),
            State::Open => {
                let once = after(self.mark, limits.idle_ms);
                (if self.is(Flag::Pinged) { after(once, limits.idle_ms) } else { once }, What::Idle)
            }
            State::Connecting if self.is(Flag::Served) && self.core.is_between_requests() => {
                (after(self.mark, limits.keep_alive_ms), What::KeepAlive)
            }
            // The answer to a plain request may take the host as long as it likes.
            State::Connecting if !self.core.wants_input() && !self.core.asks_upgrade() => (NEVER, What::Handshake),
            State::Connecting => (after(self.mark, limits.handshake_ms), What::Handshake),
        };
        let stall = match &self.outbox {
            Some(outbox) if !self.is(Flag::Dialling) && !self.wire().is_some_and(Wire::is_handshaking) => {
                (after(outbox.moved, limits.stall_ms), What::Stall)
            }
            _ => (NEVER, What::Stall),
        };
        if stall.0 < phase.0 { stall } else { phase }
    }
}

fn after(mark: u64, ms: u32) -> u64 {
    if ms == NO_LIMIT { NEVER } else { mark.saturating_add(ms.into()) }
}
