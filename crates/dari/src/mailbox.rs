//! Where what other threads ask for waits until the loop comes for it; the flag that stops the loop; and when it has
//! to be woken.
//!
//! The lock is held to append and to take, never while an entry is done or freed: either may come back here. Stopping
//! takes no lock. This file knows nothing of the crate but `sync`, so that tests/model can check it as it stands.

use crate::sync::{Arc, AtomicBool, Mutex, Ordering, PoisonError};
use std::{io, iter, mem, vec};

/// Ends the loop's wait for events. One that comes before the wait ends it, too; several may count as one.
pub(crate) trait Wake {
    fn wake(&self) -> io::Result<()>;
}

/// Why an entry was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// So much waits already.
    Full,
    /// Nobody will come for it any more.
    Shut,
    /// There is no memory for one more.
    Memory,
}

/// The end for other threads.
pub(crate) struct Mailbox<E, W> {
    waker: W,
    most_entries: usize,
    most_bytes: usize,
    stop: AtomicBool,
    /// Nothing once it is shut.
    waiting: Mutex<Option<Waiting<E>>>,
}

struct Waiting<E> {
    entries: Vec<E>,
    bytes: usize,
}

impl<E> Waiting<E> {
    fn new() -> Self {
        Self { entries: Vec::new(), bytes: 0 }
    }
}

impl<E, W: Wake> Mailbox<E, W> {
    pub(crate) fn new(waker: W, most_entries: usize, most_bytes: usize) -> Self {
        let waiting = Mutex::new(Some(Waiting::new()));
        Self { waker, most_entries, most_bytes, stop: AtomicBool::new(false), waiting }
    }

    /// Puts in an entry that counts as `bytes`. One that is refused is freed with the argument: after the lock.
    pub(crate) fn put(&self, entry: E, bytes: usize) -> Result<(), Refused> {
        let is_first = {
            let mut waiting = self.lock();
            let waiting = waiting.as_mut().ok_or(Refused::Shut)?;
            if waiting.entries.len() >= self.most_entries || bytes > self.most_bytes - waiting.bytes {
                return Err(Refused::Full);
            }
            waiting.entries.try_reserve(1).map_err(|_| Refused::Memory)?;
            waiting.bytes += bytes;
            waiting.entries.push(entry);
            waiting.entries.len() == 1
        };
        // The loop takes all at once, so whoever finds others waiting has been preceded by one who wakes it.
        if is_first {
            self.wake();
        }
        Ok(())
    }

    /// Has the loop make a turn. If it can not be woken, what waits is done in whatever turn comes next.
    pub(crate) fn wake(&self) {
        let _ = self.waker.wake();
    }

    /// Sets the flag. Async-signal-safe if waking is.
    pub(crate) fn stop(&self) -> io::Result<()> {
        self.stop.swap(true, Ordering::Release);
        self.waker.wake()
    }

    fn lock(&self) -> impl std::ops::DerefMut<Target = Option<Waiting<E>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end for the loop, which comes for what waits after each time that it was woken.
pub(crate) struct Inbox<E, W> {
    mailbox: Arc<Mailbox<E, W>>,
    /// What was taken and is not handed out yet.
    taken: vec::IntoIter<E>,
}

impl<E, W: Wake> Inbox<E, W> {
    pub(crate) fn new(mailbox: Arc<Mailbox<E, W>>) -> Self {
        Self { mailbox, taken: Vec::new().into_iter() }
    }

    /// Begins a turn: how many entries there are to do in it, at most `share`.
    pub(crate) fn begin(&mut self, share: usize) -> usize {
        // As long as some are left over, none are taken: those that wait keep to their bounds.
        let takes = self.taken.len() == 0;
        if takes {
            let waiting = self.mailbox.lock().as_mut().map(|waiting| mem::replace(waiting, Waiting::new()));
            self.taken = waiting.map(|waiting| waiting.entries).unwrap_or_default().into_iter();
        }
        if !takes || self.taken.len() > share {
            // There is to be another turn, and nobody else need ask for it.
            self.mailbox.wake();
        }
        self.taken.len().min(share)
    }

    /// The next entry to do.
    pub(crate) fn next(&mut self) -> Option<E> {
        let entry = self.taken.next();
        if self.taken.len() == 0 {
            // The room that a burst has taken is given back at once.
            self.taken = Vec::new().into_iter();
        }
        entry
    }

    /// Whether the loop is to stop, once for all who have said so since the last time.
    pub(crate) fn take_stop(&self) -> bool {
        self.mailbox.stop.swap(false, Ordering::Acquire)
    }

    /// Takes nothing in any more. What was not done is left to the caller, in order.
    pub(crate) fn shut(&mut self) -> iter::Chain<vec::IntoIter<E>, vec::IntoIter<E>> {
        let waiting = self.mailbox.lock().take();
        let waiting = waiting.map(|waiting| waiting.entries).unwrap_or_default();
        mem::take(&mut self.taken).chain(waiting)
    }
}
