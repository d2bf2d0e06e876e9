//! Publishing: what goes to a topic, one message after the other, leaves together.
//!
//! ```text
//! publish -> run -> deal -> socket                     nothing waits on the connection: one write for the whole run
//!                        -> send, message by message   everybody else
//! ```
//!
//! A run is dealt out before the turn ends (between turns: as the next one begins), and before anything is done or
//! asked that could tell: so nobody sees that messages have waited for each other.

use crate::cause::End;
use crate::conn::Flag;
use crate::outbox::Outbox;
use crate::{ConnId, Error, Net, Slow};
use dari_core::{Framed, Message, Prepared, Squeeze};
use std::collections::TryReserveError;
use std::io;
use std::sync::Arc;

/// Bytes that a run has at most, if it has more than one message.
const MOST_RUN: usize = 64 << 10;

/// Messages for the subscribers of one topic that wait to be dealt out.
#[derive(Debug, Default)]
pub(crate) struct Run {
    topic: u32,
    except: Option<u32>,
    messages: Vec<Prepared>,
    /// Their frames, one after the other, if there are several.
    frames: Vec<u8>,
}

impl Run {
    pub(crate) fn is_open(&self) -> bool {
        !self.messages.is_empty()
    }

    fn len(&self) -> usize {
        self.messages.iter().map(|message| message.frame().len()).sum()
    }

    fn bytes(&self) -> &[u8] {
        match &self.messages[..] {
            [only] => only.frame(),
            _ => &self.frames,
        }
    }

    /// Adds a message; nothing has changed if there is no memory for it.
    fn push(&mut self, message: &Prepared) -> Result<(), TryReserveError> {
        self.messages.try_reserve(1)?;
        if let [first] = &self.messages[..] {
            self.frames.clear();
            self.frames.try_reserve(first.frame().len() + message.frame().len())?;
            self.frames.extend_from_slice(first.frame());
        }
        if self.is_open() {
            self.frames.try_reserve(message.frame().len())?;
            self.frames.extend_from_slice(message.frame());
        }
        self.messages.push(message.clone());
        Ok(())
    }

    fn clear(&mut self) {
        self.messages.clear();
        self.frames.clear();
    }

    /// Its bytes, to be shared by those for whom they have to wait.
    fn shared(&self) -> Result<Arc<Framed>, TryReserveError> {
        if let [only] = &self.messages[..] {
            return Ok(Arc::clone(only.frame()));
        }
        let mut frames = Vec::new();
        frames.try_reserve_exact(self.frames.len())?;
        frames.extend_from_slice(&self.frames);
        Ok(Arc::new(Framed::from(frames)))
    }

    /// What is left of it behind the first `gone` bytes, for somebody who has to wait for that. It is shared with others
    /// of whom that is true.
    fn rest(&self, gone: usize, shared: &mut Option<Arc<Framed>>) -> Result<Outbox, TryReserveError> {
        let frames = match shared {
            Some(frames) => frames,
            None => shared.insert(self.shared()?),
        };
        Outbox::rest_of(frames, gone, self.ends())
    }

    /// Where its messages end.
    fn ends(&self) -> impl Iterator<Item = usize> {
        self.messages.iter().scan(0, |at, message| {
            *at += message.frame().len();
            Some(*at)
        })
    }
}

impl Net {
    /// Sends a message to every subscriber of a topic but `except`. It is checked and framed once. A subscriber
    /// whose queue is full is dealt with as its [`Slow`](crate::Slow) says; one that is passed over hears nothing,
    /// and its host does, by the hook `dropped`.
    pub fn publish(&mut self, topic: &str, except: Option<ConnId>, message: Message<'_>) -> Result<(), Error> {
        self.publish_with(topic, except, message, Squeeze::Auto)
    }

    /// The same, and whether it is to be compressed: once for all subscribers who have agreed to the same.
    pub fn publish_with(
        &mut self,
        topic: &str,
        except: Option<ConnId>,
        message: Message<'_>,
        squeeze: Squeeze,
    ) -> Result<(), Error> {
        self.publish_prepared(topic, except, &Prepared::new_with(message, squeeze)?)
    }

    pub(crate) fn publish_prepared(
        &mut self,
        topic: &str,
        except: Option<ConnId>,
        message: &Prepared,
    ) -> Result<(), Error> {
        let Some(topic) = self.topics.find(topic) else { return Ok(()) };
        let except = except.and_then(|conn| self.find(conn).ok());
        let is_other = self.run.topic != topic || self.run.except != except;
        if self.run.is_open() && (is_other || self.run.len() + message.frame().len() > MOST_RUN) {
            self.deal();
        }
        if self.run.push(message).is_err() {
            // Alone it needs no memory of its own, but for its place.
            self.deal();
            self.run.push(message).map_err(|_| Error::Memory)?;
        }
        (self.run.topic, self.run.except) = (topic, except);
        self.tell_host();
        Ok(())
    }

    /// The same, where nobody hears how it went. Without memory for it, the hook `dropped` tells of each subscriber.
    pub(crate) fn publish_untold(&mut self, topic: &str, except: Option<ConnId>, message: &Prepared) {
        if self.publish_prepared(topic, except, message).is_ok() {
            return;
        }
        let Some(topic) = self.topics.find(topic) else { return };
        let except = except.and_then(|conn| self.find(conn).ok());
        let mut at = 0;
        while let Some(subscriber) = self.topics.subscribers(topic).get(at).copied() {
            at += 1;
            if Some(subscriber.conn) != except {
                self.note_dropped(subscriber.conn, 1, message.message().data.len());
            }
        }
    }

    /// Deals out what was published, if anything was.
    pub(crate) fn deal(&mut self) {
        if self.run.is_open() {
            self.deal_run();
        }
    }

    fn deal_run(&mut self) {
        let mut run = std::mem::take(&mut self.run);
        let mut shared = None;
        let mut at = 0;
        self.publishing = true;
        // Sending calls no hook, so the list stays as it is.
        while let Some(subscriber) = self.topics.subscribers(run.topic).get(at).copied() {
            at += 1;
            if Some(subscriber.conn) == run.except || self.write_run(subscriber.conn, &run, &mut shared) {
                continue;
            }
            for message in &run.messages {
                self.send_untold(subscriber.conn, message);
            }
        }
        self.publishing = false;
        run.clear();
        self.run = run;
    }

    /// Writes a run to a connection on which nothing waits. If there is anything special about it, nothing has happened.
    fn write_run(&mut self, slot: u32, run: &Run, shared: &mut Option<Arc<Framed>>) -> bool {
        let now = self.clock();
        let is_current = self.current == Some(slot);
        let Some(conn) = self.conns.get_mut(slot).filter(|conn| conn.is_at_rest() && !is_current) else {
            return false;
        };
        let Some(limits) = self.endpoints.get(conn.endpoint).map(|at| &at.limits) else { return false };
        let bytes = run.bytes();
        let fits = bytes.len() <= limits.high_water.min(limits.max_backlog) && limits.slow != Slow::DropOldest;
        if !fits || !conn.core.sends_plainly() {
            return false;
        }
        let gone = match conn.socket.send_with_flags(bytes, libc::MSG_NOSIGNAL) {
            Ok(gone) => gone,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            // Whoever looks at what waits has another try.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return false,
            Err(error) => {
                self.end(slot, End::Io(error.raw_os_error().unwrap_or_default()));
                return true;
            }
        };
        self.stats.messages_out += run.messages.len() as u64;
        if gone < bytes.len() {
            let Ok(rest) = run.rest(gone, shared) else {
                self.end(slot, End::out_of_memory(&self.buffers));
                return true;
            };
            if let Some(frames) = shared {
                self.shared.remember(frames);
            }
            let mut outbox = Box::new(rest);
            outbox.moved = now.max(1);
            conn.outbox = Some(outbox);
            conn.set(Flag::Blocked, true);
            self.recount(slot);
            self.touch(slot);
        }
        true
    }
}
