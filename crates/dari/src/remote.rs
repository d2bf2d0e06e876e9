//! The one door for other threads and for signal handlers: a flag, a queue, and a descriptor that wakes the loop.

use crate::{Error, RemoteCall, sys};
use mio::Waker;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Calls that may wait at a time.
const MOST_CALLS: usize = 64 << 10;

/// A hand on a loop, for other threads. It may outlive the loop.
#[derive(Clone)]
pub struct Remote(Arc<Shared>);

struct Shared {
    waker: Waker,
    stop: AtomicBool,
    /// Nothing once the loop is gone.
    calls: Mutex<Option<VecDeque<Box<dyn RemoteCall>>>>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remote")
    }
}

impl Remote {
    pub(crate) fn new(waker: Waker) -> Self {
        Self(Arc::new(Shared { waker, stop: AtomicBool::new(false), calls: Mutex::new(Some(VecDeque::new())) }))
    }

    /// As [`Net::stop`](crate::Net::stop), from anywhere. Async-signal-safe: an atomic store and a write.
    pub fn stop(&self) -> Result<(), Error> {
        sys::keeping_errno(|| {
            self.0.stop.store(true, Ordering::Release);
            self.0.waker.wake()
        })
        .map_err(|_| Error::Stale)
    }

    /// Has `call` made on the loop's thread. In the order of the calls of one thread.
    pub fn call(&self, call: Box<dyn RemoteCall>) -> Result<(), Error> {
        let mut calls = self.0.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = calls.as_mut().ok_or(Error::Stale)?;
        if queue.len() >= MOST_CALLS {
            return Err(Error::Full);
        }
        queue.push_back(call);
        let first = queue.len() == 1;
        drop(calls);
        if first {
            // The call is taken now. If the loop can not be woken it is made in whatever turn comes next.
            let _ = self.0.waker.wake();
        }
        Ok(())
    }

    /// Has the loop make a turn.
    pub(crate) fn wake(&self) {
        let _ = self.0.waker.wake();
    }

    pub(crate) fn take_stop(&self) -> bool {
        self.0.stop.swap(false, Ordering::Acquire)
    }

    /// What was called for since the last time.
    pub(crate) fn take_calls(&self) -> VecDeque<Box<dyn RemoteCall>> {
        let mut calls = self.0.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The loop goes: no call will be made any more.
    pub(crate) fn shut(&self) {
        let calls = self.0.calls.lock().unwrap_or_else(PoisonError::into_inner).take();
        for call in calls.into_iter().flatten() {
            call.dropped();
        }
    }
}
