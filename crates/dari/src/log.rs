//! What a loop tells of itself: lines with fields, written down when something happens and told at the end of the
//! turn. Nothing is made of them if nobody wants to hear.

use crate::conn::Flag;
use crate::{ConnId, Net};
use std::collections::VecDeque;
use std::fmt;

/// Lines that wait to be told.
const MOST_LINES: usize = 1024;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Level {
    /// Something can not be done that should be.
    Error = 1,
    /// Something went wrong, for one connection mostly.
    Warn = 2,
    /// What a daemon's log has on an ordinary day.
    Info = 3,
    /// Every connection's beginning and end.
    Debug = 4,
    /// Every step.
    Trace = 5,
}

/// One line of the log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Line {
    /// How much it matters.
    pub level: Level,
    /// What happened, in a word.
    pub event: &'static str,
    /// Whose it is.
    pub conn: Option<ConnId>,
    /// Who is there: `address:port`, or nothing.
    pub peer: String,
    /// What happened, in a line.
    pub text: String,
}

pub(crate) type Hear = Box<dyn FnMut(&mut Net, &Line)>;

/// Who hears the log of a loop, and how much of it.
pub struct Log {
    pub(crate) level: Level,
    pub(crate) hear: Hear,
}

impl Log {
    /// `hear` is called with lines of this level and of those that matter more, as a hook is: inside run, turn and
    /// close only.
    pub fn new(level: Level, hear: impl FnMut(&mut Net, &Line) + 'static) -> Self {
        Self { level, hear: Box::new(hear) }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Log({:?})", self.level)
    }
}

/// The lines that wait, and who waits for them.
#[derive(Default)]
pub(crate) struct Lines {
    level: Option<Level>,
    /// Not there while it hears.
    pub(crate) hear: Option<Hear>,
    waiting: VecDeque<Line>,
    lost: u64,
}

impl Lines {
    pub(crate) fn new(log: Option<Log>) -> Self {
        let (level, hear) = log.map(|log| (log.level, log.hear)).unzip();
        Self { level, hear, waiting: VecDeque::new(), lost: 0 }
    }

    pub(crate) fn wants(&self, level: Level) -> bool {
        self.level.is_some_and(|most| level <= most)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn take(&mut self) -> VecDeque<Line> {
        let mut lines = std::mem::take(&mut self.waiting);
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 {
            let text = format!("{lost} lines of this turn are lost: there is room for {MOST_LINES}");
            // In place of one more, where there is no memory for that.
            if lines.try_reserve(1).is_err() {
                lines.pop_back();
            }
            lines.push_back(Line { level: Level::Warn, event: "log", conn: None, peer: String::new(), text });
        }
        lines
    }

    fn push(&mut self, line: Line) {
        if self.waiting.len() < MOST_LINES && self.waiting.try_reserve(1).is_ok() {
            self.waiting.push_back(line);
        } else {
            self.lost += 1;
        }
    }
}

impl Net {
    /// Writes a line, if anybody wants it.
    pub(crate) fn say(
        &mut self,
        level: Level,
        event: &'static str,
        slot: Option<u32>,
        text: impl FnOnce() -> String,
    ) {
        if !self.lines.wants(level) {
            return;
        }
        let conn = slot.and_then(|slot| Some((slot, self.conns.get(slot)?)));
        let peer = conn.map(|(_, conn)| conn.peer.to_string()).unwrap_or_default();
        let conn = conn.filter(|(_, conn)| conn.is(Flag::Seen)).map(|(slot, _)| ConnId(self.conns.id(slot)));
        self.lines.push(Line { level, event, conn, peer, text: text() });
        self.tell_host();
    }
}
