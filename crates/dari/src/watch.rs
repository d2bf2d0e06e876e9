//! The host's own timers and descriptors on the loop.

use crate::deliver::timed;
use crate::ids::{TimerId, WatchId};
use crate::net::{Kind, token};
use crate::timers::Due;
use crate::{Error, Net, Readiness};
use mio::unix::SourceFd;
use std::os::fd::RawFd;

pub(crate) type Fire = Box<dyn FnMut(&mut Net, TimerId)>;
pub(crate) type Ready = Box<dyn FnMut(&mut Net, WatchId, Readiness)>;

pub(crate) struct UserTimer {
    at: u64,
    repeat: u32,
    /// Not there while it runs.
    fire: Option<Fire>,
}

pub(crate) struct Watch {
    fd: RawFd,
    interest: Readiness,
    /// A plain file: always ready, and epoll does not take it.
    always: bool,
    /// Not there while it runs.
    ready: Option<Ready>,
}

impl Net {
    /// Calls `fire` after `delay_ms`, and then every `repeat_ms` unless that is 0. In a hook, 0 is the next turn.
    pub fn timer(&mut self, delay_ms: u32, repeat_ms: u32, fire: Fire) -> Result<TimerId, Error> {
        // One that sets the next one, and so on, would keep a turn from ending.
        let least = if self.in_turn { 1 } else { 0 };
        let at = self.clock().saturating_add(u64::from(delay_ms).max(least));
        let timer = UserTimer { at, repeat: repeat_ms, fire: Some(fire) };
        let slot = self.user_timers.insert(timer).ok_or(Error::Memory)?;
        self.timers.set(at, Due::User(slot));
        self.tell_host();
        Ok(TimerId(self.user_timers.id(slot)))
    }

    /// Takes a timer back. One that has fired for the last time is stale.
    pub fn cancel_timer(&mut self, id: TimerId) -> Result<(), Error> {
        let slot = self.user_timers.find(id.0).ok_or(Error::Stale)?;
        let timer = self.user_timers.remove(slot).ok_or(Error::Stale)?;
        self.timers.cancel(timer.at, Due::User(slot));
        Ok(())
    }

    pub(crate) fn fire(&mut self, slot: u32) {
        let id = TimerId(self.user_timers.id(slot));
        let Some(timer) = self.user_timers.get_mut(slot) else { return };
        let Some(mut fire) = timer.fire.take() else { return };
        if timer.repeat == 0 {
            // It is stale from now on, for its own hook as for others.
            self.user_timers.remove(slot);
            return timed(self, "fire", None, |net| fire(net, id));
        }
        // After a long sleep a timer goes off once, and not for every time that was missed.
        timer.at = timer.at.saturating_add(timer.repeat.into()).max(self.now + 1);
        self.timers.set(timer.at, Due::User(slot));
        timed(self, "fire", None, |net| fire(net, id));
        if let Some(slot) = self.user_timers.find(id.0)
            && let Some(timer) = self.user_timers.get_mut(slot)
        {
            timer.fire = Some(fire);
        }
    }

    /// Calls `ready` in every turn in which `fd` is ready for what is asked. The descriptor stays the host's: cancel
    /// the watch before closing it.
    pub fn watch(&mut self, fd: RawFd, interest: Readiness, ready: Ready) -> Result<WatchId, Error> {
        let wanted = mio_interest(interest).ok_or_else(|| Error::Argument("a watch is for something".to_owned()))?;
        let watch = Watch { fd, interest, always: false, ready: Some(ready) };
        let slot = self.watches.insert(watch).ok_or(Error::Memory)?;
        let id = self.watches.id(slot);
        match self.poll.registry().register(&mut SourceFd(&fd), token(Kind::Watch, id), wanted) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                if let Some(watch) = self.watches.get_mut(slot) {
                    watch.always = true;
                }
                self.always_ready += 1;
                self.tell_host();
            }
            Err(error) => {
                self.watches.remove(slot);
                return Err(Error::system(format!("watching descriptor {fd}"), &error));
            }
        }
        Ok(WatchId(id))
    }

    /// Ends a watch.
    pub fn cancel_watch(&mut self, id: WatchId) -> Result<(), Error> {
        let slot = self.watches.find(id.0).ok_or(Error::Stale)?;
        let watch = self.watches.remove(slot).ok_or(Error::Stale)?;
        if watch.always {
            self.always_ready -= 1;
        } else {
            // The host may have closed it already, which took it out of epoll.
            let _ = self.poll.registry().deregister(&mut SourceFd(&watch.fd));
        }
        Ok(())
    }

    /// Tells a watch that its descriptor is ready, and asks to be told again: level-triggered, as poll is.
    pub(crate) fn watch_ready(&mut self, id: u64, readiness: Readiness) {
        let Some(watch) = self.watches.find(id).and_then(|slot| self.watches.get_mut(slot)) else { return };
        let Some(mut ready) = watch.ready.take() else { return };
        let asked = watch.interest;
        let readiness = Readiness { read: readiness.read && asked.read, write: readiness.write && asked.write };
        if readiness != Readiness::default() {
            timed(self, "ready", None, |net| ready(net, WatchId(id), readiness));
        }
        let Some(watch) = self.watches.find(id).and_then(|slot| self.watches.get_mut(slot)) else { return };
        watch.ready = Some(ready);
        if let (false, Some(wanted)) = (watch.always, mio_interest(watch.interest)) {
            let fd = watch.fd;
            let _ = self.poll.registry().reregister(&mut SourceFd(&fd), token(Kind::Watch, id), wanted);
        }
    }

    /// Watches on plain files.
    pub(crate) fn always_ready(&self) -> Vec<(u64, Readiness)> {
        let mut found = Vec::new();
        let mut slot = self.watches.next(None);
        while let Some(index) = slot {
            if let Some(watch) = self.watches.get(index).filter(|watch| watch.always) {
                found.push((self.watches.id(index), watch.interest));
            }
            slot = self.watches.next(Some(index));
        }
        found
    }
}

fn mio_interest(interest: Readiness) -> Option<mio::Interest> {
    match (interest.read, interest.write) {
        (true, true) => Some(mio::Interest::READABLE | mio::Interest::WRITABLE),
        (true, false) => Some(mio::Interest::READABLE),
        (false, true) => Some(mio::Interest::WRITABLE),
        (false, false) => None,
    }
}
