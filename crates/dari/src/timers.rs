//! Deadlines in the order in which they come. Nothing is paid per message, since a connection's deadline is only looked
//! at when it is reached. There is one for each connection, so these are kept small: four bytes, in steps of time.

use std::collections::{BTreeMap, BTreeSet};

/// No deadline.
pub(crate) const NEVER: u64 = u64::MAX;

/// Deadlines of connections are kept in steps of so many milliseconds. They come late by less than that, and never early.
const STEP: u64 = 16;

/// Whose deadline it is, by slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    Conn(u32),
    /// A listener that ran out of descriptors tries again.
    Accept(u32),
    User(u32),
    /// A listener tells whom it has turned away.
    Report(u32),
    /// The next address of a client's race.
    Race(u32),
    /// A dial connects again.
    Dial(u32),
    /// The shutdown of the loop goes on.
    Shutdown,
    /// Connections that wait for memory have waited long enough.
    Memory,
    /// The pool of buffers gives some back.
    Decay,
}

/// All deadlines of a loop, in milliseconds of its clock.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    set: BTreeSet<(u64, Due)>,
    /// Slots of connections by when they are due. They are not taken back: who is called looks whether it was meant.
    conns: BTreeMap<u64, Vec<u32>>,
}

impl Timers {
    pub(crate) fn set(&mut self, at: u64, due: Due) {
        if at != NEVER {
            self.set.insert((at, due));
        }
    }

    /// When a connection is called whose deadline is `at`.
    pub(crate) fn step(at: u64) -> u64 {
        at.checked_next_multiple_of(STEP).unwrap_or(NEVER)
    }

    /// A step in four bytes: what a connection remembers of it. It wraps after two years.
    #[expect(clippy::cast_possible_truncation, reason = "only compared with one that is near")]
    pub(crate) fn short(step: u64) -> u32 {
        (step / STEP) as u32
    }

    /// Whether one step, so remembered, comes before another.
    pub(crate) fn is_before(a: u32, b: u32) -> bool {
        a.wrapping_sub(b) > u32::MAX / 2
    }

    /// Has a connection called then; there is no taking back. Where a step's list can not grow it is the next step's,
    /// which is told.
    pub(crate) fn set_conn(&mut self, step: u64, slot: u32) -> u64 {
        let mut step = step;
        while step != NEVER {
            let list = self.conns.entry(step).or_default();
            if list.is_empty() || list.try_reserve(1).is_ok() {
                list.push(slot);
                break;
            }
            step = Self::step(step.saturating_add(1));
        }
        step
    }

    /// No connection is there any more.
    pub(crate) fn forget_conns(&mut self) {
        self.conns.clear();
    }

    pub(crate) fn cancel(&mut self, at: u64, due: Due) {
        self.set.remove(&(at, due));
    }

    /// Takes back all deadlines of one.
    pub(crate) fn cancel_all(&mut self, due: Due) {
        self.set.retain(|(_, known)| *known != due);
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<u64> {
        let conn = self.conns.first_key_value().map(|(at, _)| *at);
        self.set.first().map(|(at, _)| *at).into_iter().chain(conn).min()
    }

    /// Takes the next one that is due at `now`.
    pub(crate) fn pop(&mut self, now: u64) -> Option<Due> {
        let first = self.set.first().copied().filter(|(at, _)| *at <= now);
        let before = first.map_or(now, |(at, _)| at);
        if let Some(mut conns) = self.conns.first_entry().filter(|conns| *conns.key() <= before) {
            let slot = conns.get_mut().pop();
            if conns.get().is_empty() {
                conns.remove();
            }
            return slot.map(Due::Conn);
        }
        self.set.remove(&first?);
        Some(first?.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_in_order_and_not_before_their_time() {
        let mut timers = Timers::default();
        timers.set(30, Due::User(3));
        timers.set_conn(Timers::step(10), 1);
        timers.set(20, Due::User(2));
        timers.set(NEVER, Due::User(9));
        timers.cancel(20, Due::User(2));
        assert_eq!((timers.next(), timers.pop(15)), (Some(16), None));
        assert_eq!((timers.pop(16), timers.pop(29), timers.pop(31)), (Some(Due::Conn(1)), None, Some(Due::User(3))));
        assert_eq!(timers.next(), None);
        assert_eq!(Timers::step(NEVER), NEVER);
    }

    #[test]
    fn two_years_are_not_the_end_of_time() {
        let wrap = 16 << 32;
        let short = |at| Timers::short(Timers::step(at));
        assert!(
            Timers::is_before(short(wrap - 16), short(wrap)) && !Timers::is_before(short(wrap), short(wrap - 16))
        );
        assert!(!Timers::is_before(short(wrap), short(wrap)));
    }
}
