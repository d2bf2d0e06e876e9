//! Deadlines in the order in which they come. Setting and taking one back costs a logarithm; nothing is paid per
//! message, since a connection's deadline is only looked at when it is reached.

use std::collections::BTreeSet;

/// No deadline.
pub(crate) const NEVER: u64 = u64::MAX;

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
}

impl Timers {
    pub(crate) fn set(&mut self, at: u64, due: Due) {
        if at != NEVER {
            self.set.insert((at, due));
        }
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
        self.set.first().map(|(at, _)| *at)
    }

    /// Takes the next one that is due at `now`.
    pub(crate) fn pop(&mut self, now: u64) -> Option<Due> {
        let first = self.set.first().copied().filter(|(at, _)| *at <= now)?;
        self.set.remove(&first);
        Some(first.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_in_order_and_not_before_their_time() {
        let mut timers = Timers::default();
        timers.set(30, Due::User(3));
        timers.set(10, Due::Conn(1));
        timers.set(20, Due::User(2));
        timers.set(NEVER, Due::User(9));
        timers.cancel(20, Due::User(2));
        assert_eq!((timers.next(), timers.pop(9)), (Some(10), None));
        assert_eq!((timers.pop(10), timers.pop(29), timers.pop(31)), (Some(Due::Conn(1)), None, Some(Due::User(3))));
        assert_eq!(timers.next(), None);
    }
}
