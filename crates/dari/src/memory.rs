//! What the connections of a loop may hold together, and who has to give when it is too much.
//!
//! [`Buffers`](dari_core::Buffers) counts what is received and compressed, and is told what queues hold. Over nine
//! tenths of the limit those that hold the most of what they receive are not read from; at the limit the one that
//! holds the most is closed.

use crate::cause::End;
use crate::conn::{Conn, Finish, Flag};
use crate::log::Level;
use crate::net::DECAY_MS;
use crate::timers::Due;
use crate::{ConnId, Net};
use dari_core::{Buffers, Framed, State};
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// How long connections may be kept waiting for memory before the one that holds the most gives way, in milliseconds.
const PATIENCE_MS: u64 = 5_000;
/// What is queued of a message that has begun to leave may stay, up to this, when its connection has to give way.
const MOST_REST: usize = 64 << 10;

/// Payloads that lie in several queues at once: their memory is counted once.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    known: HashMap<usize, (Weak<Framed>, usize)>,
    held: usize,
    latest: usize,
}

impl Shared {
    /// Counts a payload that is queued.
    pub(crate) fn remember(&mut self, payload: &Arc<Framed>) {
        let place = payload.as_ptr() as usize;
        if self.latest == place {
            return;
        }
        self.latest = place;
        // Without memory to remember it, it is not counted.
        if self.known.try_reserve(1).is_err() {
            return;
        }
        let len = payload.len();
        if let Some((_, before)) = self.known.insert(place, (Arc::downgrade(payload), len)) {
            self.held -= before;
        }
        self.held += len;
    }

    /// Forgets those that are queued nowhere any more.
    pub(crate) fn sweep(&mut self) {
        self.latest = 0;
        self.known.retain(|_, (payload, _)| payload.strong_count() > 0);
        self.held = self.known.values().map(|(_, len)| len).sum();
        if self.known.is_empty() {
            self.known = HashMap::new();
        }
    }

    pub(crate) fn held(&self) -> usize {
        self.held
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

impl End {
    pub(crate) fn out_of_memory(buffers: &Buffers) -> Self {
        Self::Memory { limit: buffers.limit(), met: buffers.used() }
    }
}

impl Net {
    /// Bytes in use for all connections.
    fn used(&self) -> usize {
        self.buffers.used().saturating_add(self.shared.held())
    }

    /// Whether `more` bytes still fit.
    pub(crate) fn has_room(&mut self, more: usize) -> bool {
        self.has_room_now(more) || {
            self.shared.sweep();
            self.has_room_now(more)
        }
    }

    /// The same, without a look at what has become free.
    #[inline]
    pub(crate) fn has_room_now(&self, more: usize) -> bool {
        self.used().saturating_add(more) <= self.buffers.limit()
    }

    /// Sees to it that memory does not run out. Cheap while there is enough.
    pub(crate) fn watch_memory(&mut self) {
        let limit = self.buffers.limit();
        let near = limit - limit / 10;
        if self.used() <= near && self.choked.is_empty() {
            return;
        }
        self.shared.sweep();
        // Looking at all of them costs something: once a millisecond will do.
        if self.choked_at != self.now {
            self.choked_at = self.now;
            let (waiting, held) = self.held_by_choked();
            // What was read of those who wait goes to where there is room for it already.
            if self.used().saturating_sub(waiting) <= limit - limit / 4 {
                self.let_breathe();
            } else {
                self.choke(self.used().saturating_sub(near + held));
            }
        }
        while self.used() > limit && self.close_largest() {}
    }

    /// What is held for those who are not read from: of what was read and waits, and in all.
    fn held_by_choked(&self) -> (usize, usize) {
        let mut sum = (0, 0);
        for conn in self.choked.iter().filter_map(|id| self.conns.get(self.conns.find(*id)?)) {
            let waiting = conn.rare.as_ref().map_or(0, |rare| rare.waiting.capacity());
            sum = (sum.0 + waiting, sum.1 + waiting + conn.core.receiving());
        }
        sum
    }

    /// Reads no more from those that hold the most of what they have received, and `over` bytes together. The others may
    /// go on, and make room.
    fn choke(&mut self, over: usize) {
        let mut over = over;
        if over == 0 {
            return;
        }
        // Without memory to put them in order nobody waits, and it is for the limit to decide.
        let mut holders = Vec::new();
        if holders.try_reserve(self.conns.len()).is_err() || self.choked.try_reserve(self.conns.len()).is_err() {
            return;
        }
        holders.extend(self.holders(|conn| if conn.is(Flag::Choked) { 0 } else { conn.core.receiving() }));
        holders.sort_unstable();
        let was_quiet = self.choked.is_empty();
        while over > 0
            && let Some((held, slot)) = holders.pop()
        {
            over = over.saturating_sub(held);
            if let Some(conn) = self.conns.get_mut(slot) {
                conn.set(Flag::Choked, true);
            }
            self.choked.push(self.conns.id(slot));
            self.say(Level::Warn, "memory", Some(slot), || {
                format!("not read from: memory is short, it holds {held} bytes")
            });
        }
        if was_quiet && !self.choked.is_empty() {
            self.timers.set(self.now + PATIENCE_MS, Due::Memory);
        }
    }

    fn let_breathe(&mut self) {
        for id in std::mem::take(&mut self.choked) {
            let Some(slot) = self.conns.find(id) else { continue };
            let now = self.now;
            if let Some(conn) = self.conns.get_mut(slot).filter(|conn| conn.is(Flag::Choked)) {
                conn.set(Flag::Choked, false);
                if conn.core.state() == State::Open {
                    // The silence was ours.
                    conn.heard(now);
                }
                self.read_later(slot);
                self.arm(slot);
            }
        }
    }

    /// Waiting has not helped: those that wait hold what they wait for.
    pub(crate) fn lose_patience(&mut self) {
        self.shared.sweep();
        self.choked.retain(|id| self.conns.find(*id).is_some());
        if self.choked.is_empty() {
            return;
        }
        self.close_largest();
        self.watch_memory();
        if !self.choked.is_empty() {
            self.timers.set(self.now + DECAY_MS, Due::Memory);
        }
    }

    /// Closes the connection that holds the most, if any holds anything.
    fn close_largest(&mut self) -> bool {
        let Some((_, slot)) = self.holders(Conn::held).max() else { return false };
        let end = End::Memory { limit: self.buffers.limit(), met: self.used() };
        self.give_up(slot, "the server is out of memory", end);
        true
    }

    /// Those that hold anything and have not been given up, with what they hold.
    fn holders(&self, held: impl Fn(&Conn) -> usize) -> impl Iterator<Item = (usize, u32)> {
        let slots = std::iter::successors(self.conns.next(None), |slot| self.conns.next(Some(*slot)));
        let living = slots.filter_map(|slot| Some((self.conns.get(slot).filter(|conn| !conn.is_over())?, slot)));
        living.map(move |(conn, slot)| (held(conn), slot)).filter(|(held, _)| *held > 0)
    }

    /// The system has no memory for what is to be done with a connection, and nothing of that is done.
    pub(crate) fn run_short(&mut self, slot: u32) {
        let end = End::out_of_memory(&self.buffers);
        self.give_up(slot, "the server is out of memory", end);
    }

    /// Fails a connection for what it costs: 1013 for an open one, if it can still be told, and nothing that waits is
    /// delivered or sent any more.
    pub(crate) fn give_up(&mut self, slot: u32, reason: &str, end: End) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(slot).filter(|conn| !conn.is_over()) else { return };
        let is_open = conn.core.state() == State::Open;
        conn.set(Flag::Paused, false);
        conn.set(Flag::Choked, false);
        let unsent = conn.outbox.as_mut().map_or((0, 0), |outbox| outbox.cut());
        let rare = conn.rare();
        rare.unsent = (rare.unsent.0 + unsent.0, rare.unsent.1 + unsent.1);
        self.recount(slot);
        if !is_open || (matches!(end, End::Memory { .. }) && self.queued(slot) > MOST_REST) {
            return self.end(slot, end);
        }
        self.io(slot, |core, io| core.close(1013, reason, io));
        if let Some(conn) = self.conns.get_mut(slot) {
            conn.mark = now;
            conn.set(Flag::Throttled, false);
            conn.rare().finish = Some(Finish::new(end, true, true));
            self.read_on(slot);
        }
        self.arm(slot);
        self.touch(slot);
    }

    /// Notes that a slow peer will not get something, which its host hears before the turn ends.
    pub(crate) fn note_dropped(&mut self, slot: u32, messages: usize, bytes: usize) {
        self.stats.dropped += messages as u64;
        if messages > 0
            && let Some(conn) = self.conns.get_mut(slot)
        {
            let dropped = &mut conn.rare().dropped;
            *dropped = (dropped.0 + messages, dropped.1 + bytes);
            self.touch(slot);
        }
    }

    /// The id of a connection, for those who know it.
    pub(crate) fn id(&self, slot: u32) -> ConnId {
        ConnId(self.conns.id(slot))
    }
}
