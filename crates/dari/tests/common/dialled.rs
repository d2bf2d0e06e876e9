//! A client of ours, and a server that is nothing but a socket.

use super::raw::{Raw, RawListener};
use super::{DEADLINE, Hooks, Log};
use dari::{Close, Config, ConnId, Connect, Loop, Net};
use std::time::Instant;

pub(crate) struct Dialled {
    pub(crate) event_loop: Loop,
    pub(crate) heard: Log,
    pub(crate) listener: RawListener,
    pub(crate) conn: ConnId,
}

impl Dialled {
    /// Dials `localhost`.
    pub(crate) fn new(scheme: &str, how: Connect) -> Self {
        Self::with(|port| format!("{scheme}://localhost:{port}/"), how, |_| {})
    }

    /// `url` gets the port at which the server listens; `change` may use it, too.
    pub(crate) fn with(
        url: impl FnOnce(u16) -> String,
        how: Connect,
        change: impl FnOnce(&mut (Connect, u16)),
    ) -> Self {
        let (listener, heard) = (RawListener::new(), Log::default());
        let mut how = (how, listener.port);
        change(&mut how);
        let mut event_loop = Loop::new(Config::default()).unwrap();
        let conn = event_loop.net().connect(&url(listener.port), how.0, Box::new(Hooks::quiet(&heard))).unwrap();
        Self { event_loop, heard, listener, conn }
    }

    pub(crate) fn net(&mut self) -> &mut Net {
        self.event_loop.net()
    }

    /// Turns the loop until there is something to get.
    #[track_caller]
    pub(crate) fn until<T>(&mut self, what: &str, mut get: impl FnMut(&mut Self) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(got) = get(self) {
                return got;
            }
            assert!(start.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}; told: {}", self.heard.story());
            self.event_loop.turn(Some(1)).unwrap();
        }
    }

    #[track_caller]
    pub(crate) fn accept(&mut self) -> Raw {
        self.until("it comes", |dialled| dialled.listener.accept())
    }

    /// How it ended.
    #[track_caller]
    pub(crate) fn end(&mut self) -> Close {
        self.until("the end", |dialled| (dialled.heard.closes() == 1).then_some(()));
        self.heard.end()
    }
}
