//! The one door for other threads and for signal handlers: what may be asked of a loop, and its checks.
//!
//! Everything that can be wrong with an argument is found on the caller's thread. How it waits is in `mailbox`; `turn`
//! does it.

use crate::mailbox::{Inbox, Mailbox, Refused, Wake};
use crate::sync::Arc;
use crate::{ConnId, Error, RemoteCall, sys, topics};
use dari_core::{Message, Prepared, Squeeze, check_close};
use mio::Waker;
use std::{fmt, io};

/// Entries that may wait at a time.
const MOST_ENTRIES: usize = 64 << 10;
/// Bytes that they may hold together: of messages, topics and reasons.
const MOST_BYTES: usize = 64 << 20;

/// A hand on a loop, for other threads. It may outlive the loop.
///
/// What the calls of one thread ask for is done in their order. At most 64 Ki of them and 64 MiB may wait; then it is
/// [`Error::Full`]. [`Error::Stale`]: the loop is gone.
#[derive(Clone)]
pub struct Remote(Arc<Mailbox<Entry, Waker>>);

/// The loop's end of its remotes.
pub(crate) type Entries = Inbox<Entry, Waker>;

/// What was asked for.
pub(crate) enum Entry {
    Call(Box<dyn RemoteCall>),
    Send(ConnId, Prepared),
    Close(ConnId, u16, Box<str>),
    Publish(Arc<Publication>),
}

/// What is published, to however many loops: they only read it.
pub(crate) struct Publication {
    pub(crate) topic: Box<str>,
    pub(crate) except: Option<ConnId>,
    pub(crate) message: Prepared,
}

impl Publication {
    /// With the bytes that it counts as.
    fn new(
        topic: &str,
        except: Option<ConnId>,
        message: Message<'_>,
        squeeze: Squeeze,
    ) -> Result<(Arc<Self>, usize), Error> {
        topics::check_name(topic)?;
        let bytes = check_bytes(topic.len() + message.data.len())?;
        let message = Prepared::new_with(message, squeeze)?;
        Ok((Arc::new(Self { topic: topic.into(), except, message }), bytes))
    }
}

impl Entry {
    /// It will not be done.
    fn dropped(self) {
        if let Self::Call(call) = self {
            call.dropped();
        }
    }
}

impl Wake for Waker {
    fn wake(&self) -> io::Result<()> {
        Self::wake(self)
    }
}

impl Entries {
    /// The loop goes: nothing will be done any more.
    pub(crate) fn drop_all(&mut self) {
        self.shut().for_each(Entry::dropped);
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remote")
    }
}

impl Remote {
    pub(crate) fn new(waker: Waker) -> Self {
        Self(Arc::new(Mailbox::new(waker, MOST_ENTRIES, MOST_BYTES)))
    }

    pub(crate) fn entries(&self) -> Entries {
        Inbox::new(Arc::clone(&self.0))
    }

    /// As [`Net::stop`](crate::Net::stop), from anywhere. Async-signal-safe: an atomic store and a write.
    pub fn stop(&self) -> Result<(), Error> {
        sys::keeping_errno(|| self.0.stop()).map_err(|_| Error::Stale)
    }

    /// Has the loop make a turn.
    pub(crate) fn wake(&self) {
        self.0.wake();
    }

    /// Has `call` made on the loop's thread. After an error it is freed, and neither of its two functions called.
    pub fn call(&self, call: Box<dyn RemoteCall>) -> Result<(), Error> {
        self.put(Entry::Call(call), 0)
    }

    /// As [`Net::send_with`](crate::Net::send_with), from any thread: the message is checked, copied and framed now.
    /// A connection that is not open when its turn comes is passed over; for one that has no room there is the hook
    /// [`dropped`](crate::Handler::dropped).
    pub fn send(&self, conn: ConnId, message: Message<'_>, squeeze: Squeeze) -> Result<(), Error> {
        let bytes = check_bytes(message.data.len())?;
        self.put(Entry::Send(conn, Prepared::new_with(message, squeeze)?), bytes)
    }

    /// As [`Net::close`](crate::Net::close), from any thread. A connection that can not be closed when its turn comes
    /// is left alone.
    pub fn close(&self, conn: ConnId, code: u16, reason: &str) -> Result<(), Error> {
        check_close(code, reason)?;
        self.put(Entry::Close(conn, code, reason.into()), reason.len())
    }

    /// As [`Net::publish_with`](crate::Net::publish_with), from any thread: the message is checked, copied and framed
    /// now, and goes to those who are subscribed when its turn comes.
    pub fn publish(&self, topic: &str, message: Message<'_>, squeeze: Squeeze) -> Result<(), Error> {
        let (publication, bytes) = Publication::new(topic, None, message, squeeze)?;
        self.put(Entry::Publish(publication), bytes)
    }

    /// Publishes on each of these loops, from any thread: the message is checked, copied and framed once for all of
    /// them, and goes to every subscriber but `except`, on whichever loop that is. How many loops have taken it: one that
    /// is gone, or has no room, is passed over.
    pub fn publish_all<'a>(
        remotes: impl IntoIterator<Item = &'a Self>,
        topic: &str,
        except: Option<ConnId>,
        message: Message<'_>,
        squeeze: Squeeze,
    ) -> Result<usize, Error> {
        let (publication, bytes) = Publication::new(topic, except, message, squeeze)?;
        let put = |remote: &&Self| remote.put(Entry::Publish(Arc::clone(&publication)), bytes).is_ok();
        Ok(remotes.into_iter().filter(put).count())
    }

    fn put(&self, entry: Entry, bytes: usize) -> Result<(), Error> {
        self.0.put(entry, bytes).map_err(|refused| match refused {
            Refused::Full => Error::Full,
            Refused::Shut => Error::Stale,
            Refused::Memory => Error::Memory,
        })
    }
}

/// What would find no room in an empty mailbox is not to be tried again.
fn check_bytes(bytes: usize) -> Result<usize, Error> {
    if bytes > MOST_BYTES {
        return Err(Error::TooBig(format!(
            "{bytes} bytes are more than the {MOST_BYTES} that may wait for the loop"
        )));
    }
    Ok(bytes)
}
