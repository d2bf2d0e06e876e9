//! The door of a listener: who is let in, who is turned away and told so, and what happens when descriptors run out.

use crate::cause::{Cause, End};
use crate::config::{Door, SPARE_DESCRIPTORS};
use crate::conn::{Finish, Flag, Peer};
use crate::log::Level;
use crate::timers::Due;
use crate::visitors::{Network, Refused, Visitor, Visitors, forwarded};
use crate::wire::Wire;
use crate::{Error, ListenerId, Net, sys};
use dari_core::Connection;
use socket2::Socket;
use std::io::{self, Read};
use std::net::Shutdown;
use std::path::PathBuf;
use std::sync::Arc;

/// Connections accepted in one turn.
const ACCEPTS: usize = 128;
/// How long a listener waits after it ran out of descriptors: first, and at most, in milliseconds.
const ACCEPT_WAIT: (u64, u64) = (100, 1_000);
/// Connections over the limit that are told so in order, at a time; others hear of it if they are quick.
const FAREWELLS: usize = 32;
/// How often the hook `limited` is called at most for each reason, in milliseconds.
const REPORT_MS: u64 = 1_000;
/// What those who are turned away without a connection of their own get.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Why peers are turned away at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Which {
    /// The loop has as many connections as it may.
    Conns = 1,
    /// The peer's address has as many as it may.
    PerIp = 2,
    /// The peer's address comes too fast.
    Rate = 3,
    /// The process, or the system, is out of descriptors or of memory for them.
    Descriptors = 4,
}

impl Which {
    const ALL: [Self; 4] = [Self::Conns, Self::PerIp, Self::Rate, Self::Descriptors];

    /// In a few words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Conns => "as many connections as there may be",
            Self::PerIp => "as many connections of this address as there may be",
            Self::Rate => "this address connects too often",
            Self::Descriptors => "no descriptors left",
        }
    }
}

/// Peers that were turned away at the door.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limited {
    /// Where they came.
    pub listener: ListenerId,
    /// Why they were turned away.
    pub which: Which,
    /// How many, since this was told last.
    pub count: u64,
    /// The limit that struck; 0 for descriptors.
    pub limit: u64,
    /// The last one: `address:port`, or nothing if that is not known.
    pub peer: String,
}

/// A socket that is listened on, and its door.
pub(crate) struct Listener {
    pub(crate) socket: Socket,
    /// The file of a unix socket, which is ours to take away.
    pub(crate) file: Option<PathBuf>,
    /// How long to wait the next time that descriptors run out.
    wait: u64,
}

/// What a listener allows, and whom it has let in; it outlives the socket for as long as there are connections.
pub(crate) struct Gate {
    /// Connections of the loop from which on no more are let in.
    most: usize,
    per_ip: usize,
    rate: usize,
    limit_loopback: bool,
    pub(crate) trusted: Vec<Network>,
    visitors: Visitors,
    turned: [Turned; Which::ALL.len()],
}

/// Peers turned away for one reason.
#[derive(Default)]
struct Turned {
    is_news: bool,
    count: u64,
    peer: Option<Peer>,
    /// When it may be told again.
    tell_at: u64,
}

impl Listener {
    pub(crate) fn new(socket: Socket, file: Option<PathBuf>) -> Self {
        Self { socket, file, wait: ACCEPT_WAIT.0 }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // Somebody else may have taken it away; there is nobody to tell.
            let _ = std::fs::remove_file(file);
        }
    }
}

impl Gate {
    pub(crate) fn new(door: &Door) -> Result<Self, Error> {
        let left = usize::try_from(sys::descriptor_limit().saturating_sub(SPARE_DESCRIPTORS)).unwrap_or(usize::MAX);
        let trusted: Result<_, _> = door.trusted_proxies.iter().map(|text| Network::parse(text)).collect();
        Ok(Self {
            most: door.max_conns.unwrap_or(left.max(1)),
            per_ip: door.max_conns_per_ip,
            rate: door.connects_per_second_per_ip,
            limit_loopback: door.limit_loopback,
            trusted: trusted.map_err(Error::Argument)?,
            visitors: Visitors::default(),
            turned: Default::default(),
        })
    }

    pub(crate) fn trusts(&self, peer: &Peer) -> bool {
        self.trusted.iter().any(|network| network.holds(peer.ip()))
    }

    /// Lets a peer in, or not. Whether it is counted: then it has to leave, too.
    fn enter(&mut self, peer: &Peer, now: u64) -> Result<bool, Which> {
        let is_free = (Visitor::is_loopback(peer) && !self.limit_loopback) || self.trusts(peer);
        if is_free || (self.per_ip == usize::MAX && self.rate == usize::MAX) {
            return Ok(false);
        }
        match self.visitors.enter(Visitor::new(peer), self.per_ip, self.rate, now) {
            Ok(()) => Ok(true),
            Err(Refused::Many) => Err(Which::PerIp),
            Err(Refused::Fast) => Err(Which::Rate),
            Err(Refused::Memory) => Err(Which::Descriptors),
        }
    }

    pub(crate) fn leave(&mut self, peer: &Peer) {
        self.visitors.leave(Visitor::new(peer));
    }

    fn limit(&self, which: Which) -> u64 {
        match which {
            Which::Conns => self.most as u64,
            Which::PerIp => self.per_ip as u64,
            Which::Rate => self.rate as u64,
            Which::Descriptors => 0,
        }
    }

    fn turned(&mut self, which: Which) -> &mut Turned {
        &mut self.turned[which as usize - 1]
    }
}

impl Net {
    /// Accepts what waits. Whether there may be more.
    pub(crate) fn accept_all(&mut self, slot: u32) -> bool {
        let mut only_failed_with = None;
        for nth in 0..ACCEPTS {
            let Some(listener) = self.endpoints.get_mut(slot).and_then(|endpoint| endpoint.listener.as_mut()) else {
                return false;
            };
            match sys::accept(&listener.socket) {
                Ok((socket, peer)) => {
                    only_failed_with = None;
                    listener.wait = ACCEPT_WAIT.0;
                    self.stats.accepted += 1;
                    self.let_in(slot, socket, Peer::new(&peer));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => match error.raw_os_error().unwrap_or_default() {
                    errno if is_of_one_peer(errno) => {
                        only_failed_with = only_failed_with.or((nth == 0).then_some(errno))
                    }
                    errno => return self.accept_later(slot, errno),
                },
            }
        }
        // So many peers in a row are not all unlucky: it is this side that may not accept.
        only_failed_with.is_none_or(|errno| self.accept_later(slot, errno))
    }

    fn let_in(&mut self, slot: u32, socket: Socket, peer: Peer) {
        let (conns, now) = (self.conns.len(), self.now);
        let Some(endpoint) = self.endpoints.get_mut(slot) else { return };
        let core = Connection::server(Arc::clone(&endpoint.core));
        let wire = endpoint.how.tls.as_ref().map(Wire::server).transpose();
        let Some(gate) = &mut endpoint.gate else { return };
        let entered = if conns >= gate.most { Err(Which::Conns) } else { gate.enter(&peer, now) };
        match entered {
            Ok(counted) => {
                let left = counted.then(|| peer.clone());
                let added = wire.and_then(|wire| Ok((self.add(core, socket, peer, slot)?, wire)));
                match added {
                    Ok((slot, wire)) => {
                        if let Some(wire) = wire {
                            self.set_wire(slot, wire);
                        }
                        if let Some(conn) = self.conns.get_mut(slot) {
                            conn.set(Flag::Counted, counted);
                        }
                        self.say(Level::Debug, "accept", Some(slot), || "accepted".to_owned());
                    }
                    // Without memory for it, it is closed again: the peer sees the end of the stream.
                    Err(error) => {
                        if error == Error::Memory {
                            self.stats.count_close(Cause::Memory);
                        }
                        if let (Some(peer), Some(gate)) = (left, self.gate(slot)) {
                            gate.leave(&peer);
                        }
                    }
                }
            }
            Err(which) => {
                self.turned_away(slot, which, Some(&peer));
                let is_plain = matches!(wire, Ok(None));
                self.say_farewell(slot, core, (socket, is_plain), peer, which);
            }
        }
    }

    /// Tells a peer that there is no room: the answer, the end of our side, and then whatever it still has to say,
    /// which would destroy the answer if nobody read it.
    fn say_farewell(&mut self, endpoint: u32, core: Connection, way: (Socket, bool), peer: Peer, which: Which) {
        let (socket, is_plain) = way;
        if self.farewells >= FAREWELLS || !is_plain {
            if is_plain {
                bid(&socket);
            }
            return self.stats.count_close(Cause::Limit);
        }
        let limit = self.gate(endpoint).map_or(0, |gate| gate.limit(which));
        let Ok(slot) = self.add(core, socket, peer, endpoint) else { return };
        self.farewells += 1;
        let body = format!("{}.\n", which.text());
        self.io(slot, |core, io| core.turn_away(503, body.as_bytes(), io));
        if let Some(conn) = self.conns.get_mut(slot) {
            conn.set(Flag::Farewell, true);
            conn.rare().finish = Some(Finish::new(End::Turned { which, limit }, true, true));
        }
        self.arm(slot);
        self.touch(slot);
    }

    /// Out of descriptors or memory, or something that is not known here. No new edge will come: a timer tries again.
    /// Those who wait are told, one after the other, by means of a descriptor that was kept for that.
    fn accept_later(&mut self, slot: u32, errno: i32) -> bool {
        // A kernel that has none left says so even if nobody waits. Who is told next comes with an edge of its own.
        let has_spare = matches!(errno, libc::EMFILE | libc::ENFILE) && self.spare.is_some();
        if has_spare && self.turn_away_by_spare(slot) {
            return false;
        }
        if matches!(errno, libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) {
            self.turned_away(slot, Which::Descriptors, None);
        }
        let now = self.now;
        if let Some(listener) = self.endpoints.get_mut(slot).and_then(|endpoint| endpoint.listener.as_mut()) {
            let at = now + listener.wait;
            let is_first = listener.wait == ACCEPT_WAIT.0;
            listener.wait = (listener.wait * 2).min(ACCEPT_WAIT.1);
            self.timers.set(at, Due::Accept(slot));
            if is_first {
                self.say(Level::Error, "accept", None, || {
                    format!("accepting: {}", io::Error::from_raw_os_error(errno))
                });
            }
        }
        false
    }

    /// Tells those who wait that there are no descriptors. Whether nobody waits any more.
    fn turn_away_by_spare(&mut self, slot: u32) -> bool {
        for _ in 0..ACCEPTS {
            let Some(listener) = self.endpoints.get(slot).and_then(|endpoint| endpoint.listener.as_ref()) else {
                return true;
            };
            if self.spare.take().is_none() {
                return false;
            }
            let accepted = sys::accept(&listener.socket);
            if let Ok((socket, _)) = &accepted {
                bid(socket);
            }
            let accepted = accepted.map(|(_, peer)| Peer::new(&peer));
            self.keep_spare();
            match accepted {
                Ok(peer) => {
                    self.stats.accepted += 1;
                    self.stats.count_close(Cause::Limit);
                    self.turned_away(slot, Which::Descriptors, Some(&peer));
                }
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        false
    }

    /// Keeps a descriptor that can be let go of to tell somebody that there are none. Somebody else may have been
    /// quicker: then there is none until the next time.
    pub(crate) fn keep_spare(&mut self) {
        if self.spare.is_none() {
            self.spare = sys::spare_socket().ok();
        }
    }

    /// Counts somebody who is turned away, and has it told.
    pub(crate) fn turned_away(&mut self, slot: u32, which: Which, peer: Option<&Peer>) {
        let now = self.now;
        self.stats.limited += u64::from(peer.is_some());
        let Some(gate) = self.gate(slot) else { return };
        let turned = gate.turned(which);
        let is_first = !std::mem::replace(&mut turned.is_news, true);
        turned.count += u64::from(peer.is_some());
        turned.peer = peer.cloned().or(turned.peer.take());
        let at = turned.tell_at.max(now);
        if is_first {
            self.timers.set(at, Due::Report(slot));
        }
    }

    /// What is to be told now of those who were turned away.
    pub(crate) fn reports(&mut self, slot: u32) -> Vec<Limited> {
        let (now, listener) = (self.now, ListenerId(self.endpoints.id(slot)));
        let Some(gate) = self.gate(slot) else { return Vec::new() };
        let mut reports = Vec::new();
        for which in Which::ALL {
            let limit = gate.limit(which);
            let turned = gate.turned(which);
            if turned.is_news && turned.tell_at <= now {
                turned.is_news = false;
                let peer = turned.peer.take().map(|peer| peer.to_string()).unwrap_or_default();
                let count = std::mem::take(&mut turned.count);
                turned.tell_at = now + REPORT_MS;
                reports.push(Limited { listener, which, count, limit, peer });
            }
        }
        reports
    }

    /// A request has come by way of a proxy: whom it speaks for counts from now on.
    pub(crate) fn forwarded(&mut self, slot: u32) -> Result<(), Which> {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(slot) else { return Ok(()) };
        let endpoint = conn.endpoint;
        let Some(gate) = self.endpoints.get_mut(endpoint).and_then(|endpoint| endpoint.gate.as_mut()) else {
            return Ok(());
        };
        if gate.trusted.is_empty() || !(conn.is(Flag::ByProxy) || gate.trusts(&conn.peer)) {
            return Ok(());
        }
        let lines = (0..).map_while(|nth| conn.core.request()?.header("x-forwarded-for", nth));
        let Some(ip) = forwarded(lines, &gate.trusted) else { return Ok(()) };
        let peer = Peer::from_ip(ip);
        // Proxies keep connections, and speak for one client after the other.
        if std::mem::take(&mut conn.is(Flag::Counted)) {
            gate.leave(&conn.peer);
        }
        match gate.enter(&peer, now) {
            Ok(counted) => {
                conn.set(Flag::Counted, counted);
                conn.set(Flag::ByProxy, true);
                conn.peer = peer;
                Ok(())
            }
            Err(which) => {
                self.turned_away(endpoint, which, Some(&peer));
                Err(which)
            }
        }
    }

    fn gate(&mut self, slot: u32) -> Option<&mut Gate> {
        self.endpoints.get_mut(slot)?.gate.as_mut()
    }
}

/// Whether this is what befell one peer on its way here, and the next one may be well: it has gone again, a firewall was
/// against it, or the network lost it, which Linux reports here rather than on a socket (accept(2)).
fn is_of_one_peer(errno: i32) -> bool {
    matches!(
        errno,
        libc::ECONNABORTED
            | libc::EPROTO
            | libc::EPERM
            | libc::ENETDOWN
            | libc::ENOPROTOOPT
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::EHOSTUNREACH
            | libc::EOPNOTSUPP
            | libc::ENETUNREACH
            | libc::ETIMEDOUT
    )
}

/// Tells a peer that there is no room, as well as that goes without a connection of its own.
fn bid(socket: &Socket) {
    // Whatever of it the kernel takes at once; what the peer has said already is read, or the answer would be lost.
    let _ = socket.send_with_flags(FULL, libc::MSG_NOSIGNAL);
    let _ = socket.shutdown(Shutdown::Write);
    let _ = (&*socket).read(&mut [0; 4096]);
}
