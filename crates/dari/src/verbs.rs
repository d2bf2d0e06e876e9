//! What can be done with a connection, and with the request that it begins with.

use crate::cause::End;
use crate::conn::{Conn, Flag};
use crate::outbox::Outbox;
use crate::output::REFER;
use crate::wire::Wire;
use crate::{ConnId, Error, Net, Slow};
use dari_core::{Connection, Io, MAX_HEADER, Message, Misuse, Prepared, Request, Squeeze, State, offered};
use mio::unix::SourceFd;
use std::ffi::c_void;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::null_mut;
use std::time::SystemTime;

/// Bytes that the host's pings may add to a queue that is full.
const MOST_PINGS: usize = 64 << 10;

/// How a send went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Done: send on.
    Done,
    /// Done, but the peer is slow: send no more until the hook `drain`.
    Buffered,
}

/// What is queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    Message,
    /// Of a message.
    Part,
    /// Of a body.
    Piece,
}

/// A message checked and framed once, to be sent to many. Shared by reference.
#[derive(Clone, Debug)]
pub struct Payload(Prepared);

impl Payload {
    /// Checks and frames a message.
    pub fn new(message: Message<'_>) -> Result<Self, Error> {
        Self::new_with(message, Squeeze::Auto)
    }

    /// The same, and whether it is to be compressed.
    pub fn new_with(message: Message<'_>, squeeze: Squeeze) -> Result<Self, Error> {
        Ok(Self(Prepared::new_with(message, squeeze)?))
    }
}

impl Net {
    /// Sends a message. It leaves before the turn ends; in a hook of the same connection together with everything
    /// else that answers one read.
    pub fn send(&mut self, conn: ConnId, message: Message<'_>) -> Result<Sent, Error> {
        self.send_with(conn, message, Squeeze::Auto)
    }

    /// The same, and whether it is to be compressed, if the peer has agreed to that.
    pub fn send_with(&mut self, conn: ConnId, message: Message<'_>, squeeze: Squeeze) -> Result<Sent, Error> {
        if self.answer(conn, message) {
            return Ok(Sent::Done);
        }
        let slot = self.living(conn)?;
        let is_checked = self.told.is_text(message);
        self.queue(slot, message.data.len(), Load::Message, |core, io| {
            if is_checked { core.send_checked(message, squeeze, io) } else { core.send_with(message, squeeze, io) }
        })
    }

    /// Sends a message in the common case, and fast: it answers what is being read, is short or an echo, and little waits.
    /// If it is anything else, nothing has happened, and [`send`](Self::send) knows what to do.
    #[inline]
    pub fn answer(&mut self, conn: ConnId, message: Message<'_>) -> bool {
        let len = message.data.len();
        let Some(slot) = self.conns.find(conn.0).filter(|slot| self.current == Some(*slot)) else { return false };
        let Some(conn) = self.conns.get(slot).filter(|conn| conn.takes_answers()) else { return false };
        let fits = !self.tx.apart
            && !self.run.is_open()
            && self.tx.len() + len + MAX_HEADER <= self.room
            && self.has_room_now(len);
        if !fits {
            return false;
        }
        let is_checked = self.told.is_text(message);
        let Some(head) = conn.core.head_of_whole(message, is_checked) else { return false };
        let is_queued = if len < REFER {
            self.tx.push_message(head, message.data).is_ok()
        } else {
            let place = self.told.place_in(&self.rx, message.data);
            let place = place.filter(|place| self.told.has_head_room(place, &head));
            let is_there = place.is_some_and(|place| self.tx.push_rx_frame(head, place).is_ok());
            if is_there {
                self.tx.end_message();
            }
            is_there
        };
        if !is_queued {
            return false;
        }
        self.stats.messages_out += 1;
        true
    }

    /// Sends a part of a message, uncompressed. Until the last one no other message can be sent on the connection;
    /// what is published passes it over. Each part of a text ends with a whole character.
    pub fn send_part(&mut self, conn: ConnId, part: Message<'_>, is_last: bool) -> Result<Sent, Error> {
        let slot = self.living(conn)?;
        let sent = self.queue(slot, part.data.len(), Load::Part, |core, io| core.send_part(part, is_last, io))?;
        self.stats.messages_out += u64::from(is_last);
        Ok(sent)
    }

    /// Sends a message that was framed before.
    pub fn send_payload(&mut self, conn: ConnId, payload: &Payload) -> Result<Sent, Error> {
        let slot = self.living(conn)?;
        self.send_prepared(slot, &payload.0)
    }

    pub(crate) fn send_prepared(&mut self, slot: u32, prepared: &Prepared) -> Result<Sent, Error> {
        self.queue(slot, prepared.message().data.len(), Load::Message, |core, io| core.send_prepared(prepared, io))
    }

    /// The same, where nobody hears how it went. What finds no room the hook `dropped` tells of.
    pub(crate) fn send_untold(&mut self, slot: u32, prepared: &Prepared) {
        if self.conns.get(slot).is_none_or(Conn::is_over) {
            return;
        }
        // Any other error: closing, or in the middle of a message in parts: not for this one.
        if let Err(Error::Full | Error::TooSlow | Error::Memory) = self.send_prepared(slot, prepared) {
            self.note_dropped(slot, 1, prepared.message().data.len());
        }
    }

    /// Queues `len` bytes of something, if there is room.
    fn queue(
        &mut self,
        slot: u32,
        len: usize,
        load: Load,
        call: impl FnOnce(&mut Connection, &mut Io<'_>) -> Result<(), Misuse>,
    ) -> Result<Sent, Error> {
        self.deal();
        let conn = self.conns.get(slot).ok_or(Error::Stale)?;
        let limits = &self.endpoints.get(conn.endpoint).ok_or(Error::Stale)?.limits;
        let (high, most) = (limits.high_water, limits.max_backlog);
        let sealed = conn.wire().map_or(0, Wire::queued);
        // Only what is whole can be dropped later.
        let is_whole = load == Load::Message;
        // The bound is the limit and one message: an echo of any legal message works.
        if self.queued(slot) >= most {
            // Whether there could be room comes after whether there is anything to send it on.
            match load {
                Load::Piece => conn.core.check_answering()?,
                Load::Message | Load::Part => conn.core.check_open()?,
            }
            self.make_room(slot)?;
        }
        if !self.has_room(len) {
            return Err(Error::Memory);
        }
        if is_whole && let Some(outbox) = self.outbox_of(slot) {
            outbox.begin_message();
        }
        self.io(slot, call).ok_or(Error::Stale)??;
        if let Some(outbox) = self.outbox_of(slot) {
            if is_whole || !outbox.apart {
                outbox.end_message();
            }
            if outbox.len() + sealed <= high {
                self.stats.messages_out += u64::from(is_whole);
                return Ok(Sent::Done);
            }
        }
        self.stats.messages_out += u64::from(is_whole);
        // What the kernel takes does not count; what lies in the receive buffer only its reader can write.
        if self.queued(slot) > high && !self.tx.refers() {
            self.flush(slot, &mut []);
        }
        if self.queued(slot) <= high {
            return Ok(Sent::Done);
        }
        if let Some(conn) = self.conns.get_mut(slot) {
            conn.set(Flag::OwesDrain, true);
            self.touch(slot);
        }
        Ok(Sent::Buffered)
    }

    /// The queue that a connection's messages go to now; nothing if the kernel has taken all so far.
    fn outbox_of(&mut self, slot: u32) -> Option<&mut Outbox> {
        match &mut self.conns.get_mut(slot)?.outbox {
            Some(outbox) => Some(outbox),
            None if self.current == Some(slot) => Some(&mut self.tx),
            None => None,
        }
    }

    /// The queue is full: what the limits say about slow peers.
    fn make_room(&mut self, slot: u32) -> Result<(), Error> {
        let limits = &self.endpoint_of(slot).ok_or(Error::Stale)?.limits;
        let (slow, most, met) = (limits.slow, limits.max_backlog, self.queued(slot));
        if self.conns.get(slot).is_none_or(|conn| conn.core.state() != State::Open) {
            return Err(Error::Full);
        }
        match slow {
            Slow::Refuse => return Err(Error::Full),
            Slow::Close => {
                self.give_up(slot, "too slow", End::Slow { limit: most, met });
                return Err(Error::TooSlow);
            }
            Slow::DropOldest => {
                // What is encrypted already has begun to leave.
                let sealed = self.conns.get(slot).and_then(Conn::wire).map_or(0, Wire::queued);
                let most = most.saturating_sub(sealed);
                let (messages, bytes) = self.outbox_of(slot).map_or((0, 0), |outbox| outbox.drop_oldest(most));
                self.recount(slot);
                self.note_dropped(slot, messages, bytes);
            }
        }
        if self.queued(slot) < most { Ok(()) } else { Err(Error::Full) }
    }

    /// Sends a ping of at most 125 bytes; the hook `pong` follows.
    pub fn ping(&mut self, conn: ConnId, data: &[u8]) -> Result<(), Error> {
        let slot = self.living(conn)?;
        let most = self.endpoint_of(slot).ok_or(Error::Stale)?.limits.max_backlog;
        if self.queued(slot) >= most.saturating_add(MOST_PINGS) {
            return Err(Error::Full);
        }
        self.io(slot, |core, io| core.ping(data, io)).ok_or(Error::Stale)?.map_err(Error::from)
    }

    /// Starts the closing handshake. Code 0 sends none; a reason has at most 123 bytes. A client that is still
    /// connecting gives up.
    pub fn close(&mut self, conn: ConnId, code: u16, reason: &str) -> Result<(), Error> {
        let slot = self.living(conn)?;
        let core = self.conns.get(slot).map(|conn| (conn.core.state(), conn.core.is_client()));
        if let Some((State::Connecting, true)) = core {
            dari_core::check_close(code, reason)?;
            self.end(slot, End::Done);
            return Ok(());
        }
        self.io(slot, |core, io| core.close(code, reason, io)).ok_or(Error::Stale)??;
        let now = self.clock();
        if let Some(conn) = self.conns.get_mut(slot) {
            conn.mark = now;
            // The peer's Close frame has to be read, whatever was paused.
            conn.set(Flag::Paused, false);
            self.read_on(slot);
        }
        self.arm(slot);
        self.tell_host();
        Ok(())
    }

    /// Drops the connection without a word.
    pub fn abort(&mut self, conn: ConnId) -> Result<(), Error> {
        let slot = self.living(conn)?;
        self.deal();
        self.end(slot, End::Abort);
        Ok(())
    }

    /// Bytes that were read of a connection and wait to be looked at.
    pub fn unread(&self, conn: ConnId) -> Result<usize, Error> {
        let slot = self.living(conn)?;
        let rare = self.conns.get(slot).and_then(|conn| conn.rare.as_ref());
        Ok(rare.map_or(0, |rare| rare.waiting.len()))
    }

    /// Takes the socket of a connection away from the loop, with what was read of it and not delivered: `close` follows.
    /// Not while anything is queued or half received.
    pub fn release(&mut self, conn: ConnId) -> Result<(OwnedFd, Vec<u8>), Error> {
        let slot = self.living(conn)?;
        self.deal();
        let entry = self.conns.get(slot).ok_or(Error::Stale)?;
        let busy = |why: &str| Err(Error::State(why.to_owned()));
        if self.queued(slot) > 0 || entry.is(Flag::Dialling) {
            return busy("bytes are queued: they would be lost");
        }
        if entry.wire().is_some() {
            return Err(Error::Unsupported("an encrypted connection can not be taken away from what encrypts it"));
        }
        if self.current == Some(slot) && self.is_more_behind {
            return busy("more of what was read waits behind this hook");
        }
        if entry.core.is_in_the_middle() {
            return busy("something of the peer's is half received");
        }
        let socket = entry.socket.try_clone().map_err(|error| Error::system("taking the descriptor", &error))?;
        let raw = entry.socket.as_raw_fd();
        // From now on events are somebody else's.
        let _ = self.poll.registry().deregister(&mut SourceFd(&raw));
        let waiting = self.take_waiting(slot);
        self.end(slot, End::Released);
        Ok((socket.into(), waiting))
    }

    /// Reads no more: TCP slows the peer down. Messages that were read already wait, too.
    pub fn pause(&mut self, conn: ConnId) -> Result<(), Error> {
        let slot = self.living(conn)?;
        if let Some(conn) = self.conns.get_mut(slot) {
            conn.set(Flag::Paused, true);
        }
        Ok(())
    }

    /// Reads on.
    pub fn resume(&mut self, conn: ConnId) -> Result<(), Error> {
        let slot = self.living(conn)?;
        let now = self.clock();
        if let Some(conn) = self.conns.get_mut(slot).filter(|conn| conn.is(Flag::Paused)) {
            conn.set(Flag::Paused, false);
            if conn.core.state() == State::Open {
                // The silence was ours.
                conn.heard(now);
            }
            self.read_on(slot);
            self.arm(slot);
        }
        Ok(())
    }

    /// How far a connection has come; one that is gone is closed.
    pub fn state(&mut self, conn: ConnId) -> State {
        self.deal();
        self.find(conn).ok().and_then(|slot| self.conns.get(slot)).map_or(State::Closed, |conn| conn.state())
    }

    /// Bytes waiting to be sent, as encoded. The request of a client is none of them.
    pub fn backlog(&mut self, conn: ConnId) -> usize {
        self.deal();
        let slot = self.find(conn).ok().filter(|slot| self.conns.get(*slot).is_some_and(|conn| !conn.is_asking()));
        slot.map_or(0, |slot| self.queued(slot))
    }

    /// Hangs a pointer of the host's on a connection; still there in the hook `close`.
    pub fn set_data(&mut self, conn: ConnId, data: *mut c_void) -> Result<(), Error> {
        let slot = self.find(conn)?;
        self.conns.get_mut(slot).ok_or(Error::Stale)?.data = data;
        Ok(())
    }

    /// The pointer that hangs on a connection; null if there is none.
    pub fn data(&self, conn: ConnId) -> *mut c_void {
        self.find(conn).ok().and_then(|slot| self.conns.get(slot)).map_or(null_mut(), |conn| conn.data)
    }

    /// The peer: `address:port`, or `unix:`. Still known in the hook `close`, whatever happened.
    pub fn peer(&self, conn: ConnId) -> Result<String, Error> {
        let slot = self.find(conn)?;
        Ok(self.conns.get(slot).ok_or(Error::Stale)?.peer.to_string())
    }

    /// The subprotocol agreed on.
    pub fn protocol(&self, conn: ConnId) -> Option<&str> {
        self.conns.get(self.find(conn).ok()?)?.core.protocol()
    }

    /// The certificate (DER) that the peer of an encrypted connection has shown.
    pub fn certificate(&self, conn: ConnId) -> Option<&[u8]> {
        self.conns.get(self.find(conn).ok()?)?.wire()?.peer_certificate()
    }

    /// The connection after `after`, the first one after nothing. Safe while connections come and go.
    pub fn next(&self, after: Option<ConnId>) -> Option<ConnId> {
        let mut slot = self.conns.next(after.map(|conn| crate::ids::slot_of(conn.0)));
        while let Some(index) = slot {
            if self.conns.get(index).is_some_and(|conn| conn.is(Flag::Seen)) {
                return Some(ConnId(self.conns.id(index)));
            }
            slot = self.conns.next(Some(index));
        }
        None
    }

    // --- requests -----------------------------------------------------------------------------------------------

    /// The request that waits for an answer.
    pub fn request(&self, conn: ConnId) -> Option<&Request> {
        self.conns.get(self.find(conn).ok()?)?.core.request()
    }

    /// Accepts an opening handshake. Without a `protocol` it is the first of the listener's that is offered.
    pub fn accept(&mut self, conn: ConnId, protocol: Option<&str>, headers: &[(&str, &str)]) -> Result<(), Error> {
        let slot = self.living(conn)?;
        let chosen = match protocol {
            Some(protocol) => Some(protocol.to_owned()),
            None => self.common_protocol(slot),
        };
        self.io(slot, |core, io| core.accept(chosen.as_deref(), headers, io)).ok_or(Error::Stale)??;
        self.answered(slot);
        Ok(())
    }

    /// Answers a request whole. An opening handshake that is answered so is refused.
    pub fn respond(&mut self, conn: ConnId, status: u16, headers: &[(&str, &str)], body: &[u8]) -> Result<(), Error> {
        let slot = self.living(conn)?;
        let date = httpdate::fmt_http_date(SystemTime::now());
        let headers = with_date(headers, &date);
        self.io(slot, |core, io| core.respond(status, &headers, body, io)).ok_or(Error::Stale)??;
        self.answered(slot);
        Ok(())
    }

    /// Begins an answer whose body comes in pieces.
    pub fn respond_begin(&mut self, conn: ConnId, status: u16, headers: &[(&str, &str)]) -> Result<(), Error> {
        self.respond_begin_with(conn, status, headers, None)
    }

    pub(crate) fn respond_begin_with(
        &mut self,
        conn: ConnId,
        status: u16,
        headers: &[(&str, &str)],
        length: Option<usize>,
    ) -> Result<(), Error> {
        let slot = self.living(conn)?;
        let date = httpdate::fmt_http_date(SystemTime::now());
        let headers = with_date(headers, &date);
        self.io(slot, |core, io| core.respond_begin(status, &headers, length, io)).ok_or(Error::Stale)??;
        Ok(())
    }

    /// One piece of the body; an empty one is the end.
    pub fn respond_piece(&mut self, conn: ConnId, data: &[u8]) -> Result<Sent, Error> {
        let slot = self.living(conn)?;
        if data.is_empty() {
            // The end is never refused for want of room.
            self.io(slot, |core, io| core.respond_piece(data, io)).ok_or(Error::Stale)??;
            self.answered(slot);
            return Ok(Sent::Done);
        }
        self.queue(slot, data.len(), Load::Piece, |core, io| core.respond_piece(data, io))
    }

    /// A request is answered: what waited behind it can be looked at, and what is new can be told.
    fn answered(&mut self, slot: u32) {
        let now = self.clock();
        if let Some(conn) = self.conns.get_mut(slot) {
            conn.mark = now;
            conn.set(Flag::Served, true);
        }
        self.touch(slot);
        self.read_on(slot);
    }

    fn common_protocol(&self, slot: u32) -> Option<String> {
        let request = self.conns.get(slot)?.core.request()?;
        let spoken = &self.endpoint_of(slot)?.how.protocols;
        spoken.iter().find(|protocol| offered(request).any(|offer| offer == *protocol)).cloned()
    }
}

/// RFC 9110 6.6.1: a server with a clock says the time.
fn with_date<'a>(headers: &[(&'a str, &'a str)], date: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut all = Vec::with_capacity(headers.len() + 1);
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("date")) {
        all.push(("Date", date));
    }
    all.extend_from_slice(headers);
    all
}
