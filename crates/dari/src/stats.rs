//! What a loop has seen: counters, and how its last connections ended.

use crate::cause::Cause;
use crate::conn::Peer;
use crate::{Close, ConnId};
use std::cell::OnceCell;
use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

/// Ends that are remembered.
const PAST: usize = 1_000;
/// More than any cause's number.
pub(crate) const CAUSES: usize = 64;

/// What a loop has seen since it was made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Connections accepted, those that were turned away at the door included.
    pub accepted: u64,
    /// Connections that this side set out to make.
    pub dialled: u64,
    /// WebSockets that are open now.
    pub open: u64,
    /// WebSockets that have opened.
    pub opened: u64,
    /// Plain HTTP requests.
    pub requests: u64,
    /// Messages received.
    pub messages_in: u64,
    /// Messages taken to be sent.
    pub messages_out: u64,
    /// Messages that slow peers will not get.
    pub dropped: u64,
    /// Connections turned away at the door.
    pub limited: u64,
    /// Hooks that took longer than they may.
    pub slow_hooks: u64,
    /// Bytes of memory that connections use now.
    pub memory: u64,
    /// The most that they have used.
    pub memory_peak: u64,
    /// Ends by cause, [`Cause`] being the index; those of connections without an id included.
    pub closes: [u64; CAUSES],
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            accepted: 0,
            dialled: 0,
            open: 0,
            opened: 0,
            requests: 0,
            messages_in: 0,
            messages_out: 0,
            dropped: 0,
            limited: 0,
            slow_hooks: 0,
            memory: 0,
            memory_peak: 0,
            closes: [0; CAUSES],
        }
    }
}

impl Stats {
    pub(crate) fn count_close(&mut self, cause: Cause) {
        if let Some(count) = self.closes.get_mut(cause as usize) {
            *count += 1;
        }
    }
}

/// An end that is remembered.
#[derive(Clone, Debug)]
pub struct Past {
    /// Which connection it was.
    pub conn: ConnId,
    /// When it ended, in milliseconds of Unix time.
    pub ended_ms: u64,
    /// How long it had been there, in milliseconds.
    pub lived_ms: u64,
    /// Its story.
    pub why: Close,
    peer: Peer,
    /// Made when somebody asks for it.
    place: OnceCell<Box<str>>,
}

impl Past {
    /// Who was there: `address:port`.
    pub fn peer(&self) -> &str {
        self.place.get_or_init(|| self.peer.to_string().into())
    }
}

/// The last ends of a loop, the latest first.
#[derive(Debug, Default)]
pub(crate) struct Ends(VecDeque<Past>);

impl Ends {
    pub(crate) fn remember(&mut self, conn: ConnId, peer: Peer, lived_ms: u64, why: Close) {
        self.0.truncate(PAST - 1);
        if self.0.try_reserve(1).is_err() && self.0.pop_back().is_none() {
            return;
        }
        let ended = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ended_ms = u64::try_from(ended.as_millis()).unwrap_or(u64::MAX);
        self.0.push_front(Past { conn, ended_ms, lived_ms, why, peer, place: OnceCell::new() });
    }

    pub(crate) fn nth(&self, nth: usize) -> Option<&Past> {
        self.0.get(nth)
    }
}
