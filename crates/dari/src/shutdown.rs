//! The end of a loop in good order: nobody new, 1001 to everybody, time to answer, and then the rest is dropped.

use crate::cause::End;
use crate::conn::{Finish, Flag};
use crate::log::Level;
use crate::timers::Due;
use crate::{Error, Net};
use dari_core::State;
use std::collections::TryReserveError;

pub(crate) type Done = Box<dyn FnOnce(&mut Net, usize)>;

/// A shutdown that goes on.
pub(crate) struct Shutdown {
    began: u64,
    spread: u64,
    /// When those that are left are dropped.
    until: u64,
    /// Who is there, in the order in which they are told.
    ids: Vec<u64>,
    told: usize,
    pub(crate) dropped: usize,
    done: Done,
}

impl Net {
    /// Ends everything on the loop in good order: nobody is accepted any more, new requests get 503, and every peer is
    /// told 1001, one after the other within `spread_ms`. Whoever has not gone `grace_ms` after that is dropped. Then
    /// `done` is called with the number of those, and [`Loop::run`](crate::Loop::run) returns.
    pub fn shutdown(
        &mut self,
        spread_ms: u32,
        grace_ms: u32,
        done: impl FnOnce(&mut Self, usize) + 'static,
    ) -> Result<(), Error> {
        self.refuse_when_closing()?;
        let ids = self.all_conns().map_err(|_| Error::Memory)?;
        self.closing = true;
        let began = self.clock();
        let spread = u64::from(spread_ms);
        for listener in self.listeners() {
            // It is on the list, so it is there.
            self.close_listener(listener).unwrap_or_default();
        }
        self.stop_dials();
        self.say(Level::Info, "shutdown", None, || format!("{} connections are told to go", ids.len()));
        let until = began.saturating_add(spread).saturating_add(grace_ms.into());
        let done = Box::new(done);
        self.shutdown = Some(Box::new(Shutdown { began, spread, until, ids, told: 0, dropped: 0, done }));
        self.timers.set(began, Due::Shutdown);
        self.tell_host();
        Ok(())
    }

    fn all_conns(&self) -> Result<Vec<u64>, TryReserveError> {
        let mut ids = Vec::new();
        ids.try_reserve_exact(self.conns.len())?;
        let mut slot = self.conns.next(None);
        while let Some(index) = slot {
            ids.push(self.conns.id(index));
            slot = self.conns.next(Some(index));
        }
        Ok(ids)
    }

    /// Tells those whose turn it is, or drops those who have had theirs.
    pub(crate) fn shut_on(&mut self) {
        let now = self.now;
        let Some(shutdown) = &mut self.shutdown else { return };
        if now >= shutdown.until {
            let mut slot = self.conns.next(None);
            while let Some(index) = slot {
                self.count_dropped(index);
                self.end(index, End::Shutdown);
                slot = self.conns.next(Some(index));
            }
            return;
        }
        let all = shutdown.ids.len();
        let elapsed = now - shutdown.began;
        let turns = if shutdown.spread == 0 { all } else { at_time(all, elapsed, shutdown.spread) };
        let now_told = shutdown.told..turns;
        shutdown.told = turns.max(shutdown.told);
        let next = if shutdown.told < all {
            shutdown.began + time_of(shutdown.told, all, shutdown.spread)
        } else {
            shutdown.until
        };
        self.timers.set(next.max(now + 1), Due::Shutdown);
        for at in now_told {
            let id = self.shutdown.as_ref().and_then(|shutdown| shutdown.ids.get(at));
            if let Some(slot) = id.and_then(|id| self.conns.find(*id)) {
                self.tell_to_go(slot);
            }
        }
    }

    pub(crate) fn tell_to_go(&mut self, slot: u32) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(slot).filter(|conn| !conn.is_over() && conn.finish().is_none()) else {
            return;
        };
        match conn.core.state() {
            State::Open => {
                conn.mark = now;
                conn.set(Flag::Paused, false);
                conn.set(Flag::Choked, false);
                conn.rare().is_shutdown = true;
                self.io(slot, |core, io| core.close(1001, "going away", io));
                self.arm(slot);
                self.read_on(slot);
            }
            State::Connecting if conn.core.is_client() => self.end(slot, End::Shutdown),
            // A request that is being answered may end.
            State::Connecting => {
                conn.core.keep_no_longer();
                self.touch(slot);
            }
            State::Closing | State::Closed => {}
        }
    }

    /// While the loop shuts down: a connection on which nothing is asked goes, one that asks is turned down.
    pub(crate) fn leave_if_idle(&mut self, slot: u32) {
        if self.shutdown.is_none() {
            return;
        }
        let Some(conn) = self.conns.get_mut(slot).filter(|conn| !conn.is_over() && conn.finish().is_none()) else {
            return;
        };
        if conn.core.is_between_requests() && conn.outbox.is_none() && conn.core.state() == State::Connecting {
            conn.mark = self.now;
            conn.rare().finish = Some(Finish::new(End::Shutdown, true, !conn.is(Flag::Eof)));
        }
    }

    /// Counts a connection that did not go by itself.
    pub(crate) fn count_dropped(&mut self, slot: u32) {
        let is_over = self.conns.get(slot).is_none_or(|conn| conn.is_over());
        if let Some(shutdown) = &mut self.shutdown
            && !is_over
        {
            shutdown.dropped += 1;
        }
    }

    /// Whether the shutdown is over: what is left to do is to say so.
    pub(crate) fn shut_down(&mut self) -> Option<(Done, usize)> {
        if self.conns.len() > 0 {
            return None;
        }
        let shutdown = self.shutdown.take()?;
        self.timers.cancel_all(Due::Shutdown);
        self.stopping = true;
        Some((shutdown.done, shutdown.dropped))
    }
}

/// How many of `all` have had their turn when `elapsed` of `spread` has gone: the first at once.
fn at_time(all: usize, elapsed: u64, spread: u64) -> usize {
    let part = (all as u128 * u128::from(elapsed) / u128::from(spread)).saturating_add(1);
    usize::try_from(part).unwrap_or(all).min(all)
}

/// When it is the turn of the nth of `all`.
fn time_of(nth: usize, all: usize, spread: u64) -> u64 {
    let part = (u128::from(spread) * nth as u128).div_ceil(all.max(1) as u128);
    u64::try_from(part).unwrap_or(spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_spread_evenly_and_nobody_is_forgotten() {
        for (all, spread) in [(1, 1), (3, 1000), (1000, 7), (7, 1000), (12345, 999)] {
            assert_eq!(at_time(all, 0, spread), 1);
            assert_eq!(at_time(all, spread, spread), all);
            for nth in 0..all {
                assert!(at_time(all, time_of(nth, all, spread), spread) > nth, "{nth} of {all} in {spread}");
            }
        }
    }
}
