//! What waits on a connection, and for whom: bytes to be written, bytes that were read, and when reading stops or goes on.

use crate::Net;
use crate::cause::End;
use crate::conn::{Conn, Flag};
use crate::net::put_down;

impl Net {
    /// Bytes that wait to be sent on a connection.
    pub(crate) fn queued(&self, slot: u32) -> usize {
        let tx = if self.current == Some(slot) { self.tx.len() } else { 0 };
        tx + self.conns.get(slot).map_or(0, Conn::queued)
    }

    /// Writes what waits, as far as the kernel takes it. `rx` is the receive buffer, for what lies there.
    pub(crate) fn flush(&mut self, slot: u32, rx: &mut [u8]) {
        self.write_out(slot, rx);
        if !self.conns.get(slot).is_some_and(Conn::is_at_rest) {
            self.throttle(slot);
            self.arm(slot);
        }
    }

    fn write_out(&mut self, slot: u32, rx: &mut [u8]) {
        if self.current == Some(slot) && !rx.is_empty() {
            self.tx.write_heads(rx);
        }
        let now = self.now.max(1);
        let Some(conn) = self.conns.get_mut(slot) else { return };
        let mut failed = None;
        if conn.wire().is_some() {
            self.flush_wire(slot, rx);
        } else if self.current == Some(slot) && !self.tx.is_empty() {
            if !conn.is(Flag::Dialling) && !conn.is_over() {
                failed = self.tx.write(&conn.socket, rx, &[]).err();
            }
            if !self.tx.is_empty() {
                conn.set(Flag::Blocked, true);
            }
            self.keep_tx(slot, rx);
        } else if let Some(outbox) =
            conn.outbox.as_mut().filter(|_| !conn.flags.is(Flag::Dialling) && !conn.flags.is(Flag::Blocked))
        {
            let before = outbox.len();
            failed = outbox.write(&conn.socket, &[], &[]).err();
            if outbox.len() < before {
                outbox.moved = now;
            }
            if outbox.is_empty() {
                self.drop_outbox(slot);
            } else {
                conn.set(Flag::Blocked, true);
                self.recount(slot);
            }
        }
        if let Some(error) = failed {
            self.end(slot, End::Io(error.raw_os_error().unwrap_or_default()));
        }
    }

    /// Tells the loop's memory how much a queue holds.
    pub(crate) fn recount(&mut self, slot: u32) {
        if let Some(outbox) = self.conns.get_mut(slot).and_then(|conn| conn.outbox.as_mut()) {
            let held = outbox.held();
            self.buffers.account(outbox.charged, held);
            outbox.charged = held;
        }
    }

    /// The kernel is full: what is left of `tx` moves into an outbox of the connection's own.
    pub(crate) fn keep_tx(&mut self, slot: u32, rx: &[u8]) {
        if self.current != Some(slot) || self.tx.is_empty() {
            return;
        }
        let Some(conn) = self.conns.get_mut(slot) else { return };
        let kept = self.tx.keep(rx);
        let mut outbox = Box::new(std::mem::take(&mut self.tx));
        outbox.moved = self.now.max(1);
        outbox.trim();
        conn.outbox = Some(outbox);
        self.recount(slot);
        if kept.is_err() {
            let end = End::out_of_memory(&self.buffers);
            self.end(slot, end);
        }
    }

    pub(crate) fn drop_outbox(&mut self, slot: u32) {
        if let Some(outbox) = self.conns.get_mut(slot).and_then(|conn| conn.outbox.take()) {
            self.buffers.account(outbox.charged, 0);
        }
    }

    /// Keeps bytes that were read and may not be looked at yet.
    pub(crate) fn keep_waiting(&mut self, slot: u32, bytes: &[u8]) {
        let Some(conn) = self.conns.get_mut(slot) else { return };
        let waiting = &mut conn.rare().waiting;
        let before = waiting.capacity();
        if waiting.try_reserve_exact(bytes.len()).is_err() {
            return self.run_short(slot);
        }
        waiting.extend_from_slice(bytes);
        self.buffers.account(before, waiting.capacity());
    }

    /// Takes them back.
    pub(crate) fn take_waiting(&mut self, slot: u32) -> Vec<u8> {
        let rare = self.conns.get_mut(slot).and_then(|conn| conn.rare.as_mut());
        let waiting = rare.map(|rare| std::mem::take(&mut rare.waiting)).unwrap_or_default();
        self.buffers.account(waiting.capacity(), 0);
        waiting
    }

    /// Stops or resumes reading by the marks of the connection's queue.
    fn throttle(&mut self, slot: u32) {
        let Some((high, low)) = self.endpoint_of(slot).map(|at| (at.how.limits.high_water, at.how.limits.low_water))
        else {
            return;
        };
        let (queued, now) = (self.queued(slot), self.now);
        let Some(conn) = self.conns.get_mut(slot) else { return };
        if conn.is(Flag::Throttled) && queued <= low {
            conn.set(Flag::Throttled, false);
            conn.mark = if conn.core.state() == dari_core::State::Open { now } else { conn.mark };
            self.read_later(slot);
        } else if queued > high && self.current == Some(slot) && queued > self.queued_before {
            // What the host sends of its own accord is no reason not to listen: two who both wait for the other to
            // read would wait for ever. What comes of listening is one.
            conn.set(Flag::Throttled, true);
        }
    }

    /// Has a connection read in the next turn.
    pub(crate) fn read_later(&mut self, slot: u32) {
        let id = self.conns.id(slot);
        if let Some(conn) = self.conns.get_mut(slot)
            && !conn.is(Flag::Ready)
        {
            conn.set(Flag::Ready, true);
            put_down(&mut self.ready, id, &mut self.ready_unlisted);
            self.tell_host();
        }
    }

    /// Nothing keeps a connection from being read any more: goes on with it, unless it is being read just now.
    pub(crate) fn read_on(&mut self, slot: u32) {
        if self.current != Some(slot) {
            self.read_later(slot);
        }
    }
}
