//! From dari to C: hooks, and the callbacks of timers, watches and remotes.
//!
//! Nothing is decided here. While a function of C runs, the loop it is handed is lent to it by `guard`. What it is
//! handed besides stays in place until it returns.

use crate::guard;
use crate::settings::*;
use crate::types::*;
use dari::{
    Close, ConnId, DialId, Handler, Kind, Level, Limited, Log, Message, Net, Readiness, RemoteCall, TimerId, WatchId,
};
use std::cell::Cell;
use std::ffi::c_void;
use std::rc::Rc;

/// A handler's hooks, and the loop that they are handed.
pub(crate) struct CHandler {
    owner: *const dari_loop_t,
    hooks: dari_handler_t,
}

/// What dari does where C has no hook.
struct NoHook;

impl Handler for NoHook {}

impl CHandler {
    pub(crate) fn boxed(owner: *const dari_loop_t, hooks: dari_handler_t) -> Box<dyn Handler> {
        Box::new(Self { owner, hooks })
    }

    fn lend(&self, net: &mut Net, hook: impl FnOnce(*mut c_void, *mut dari_loop_t)) {
        guard::lend(self.owner, net, |owner| hook(self.hooks.user, owner));
    }
}

// The promise of every call below is the header's: a hook is a function of the type that its field has, it may be
// called with its `user` for as long as the loop lives, and it neither throws nor jumps out.
impl Handler for CHandler {
    fn open(&mut self, net: &mut Net, conn: ConnId) {
        if let Some(hook) = self.hooks.open {
            // SAFETY: the C caller's promise, above.
            self.lend(net, |user, owner| unsafe { hook(user, owner, conn.into()) });
        }
    }

    fn message(&mut self, net: &mut Net, conn: ConnId, message: Message<'_>) {
        if let Some(hook) = self.hooks.message {
            let message = lent(message);
            // SAFETY: the C caller's promise, above; `message` lives until the hook returns.
            self.lend(net, |user, owner| unsafe { hook(user, owner, conn.into(), &message) });
        }
    }

    fn part(&mut self, net: &mut Net, conn: ConnId, part: Message<'_>, is_last: bool) {
        if let Some(hook) = self.hooks.part {
            let part = lent(part);
            // SAFETY: the C caller's promise, above; `part` lives until the hook returns.
            self.lend(net, |user, owner| unsafe { hook(user, owner, conn.into(), &part, is_last.into()) });
        }
    }

    fn drain(&mut self, net: &mut Net, conn: ConnId) {
        if let Some(hook) = self.hooks.drain {
            // SAFETY: the C caller's promise, above.
            self.lend(net, |user, owner| unsafe { hook(user, owner, conn.into()) });
        }
    }

    fn pong(&mut self, net: &mut Net, conn: ConnId, data: &[u8]) {
        if let Some(hook) = self.hooks.pong {
            let dari_str_t { data, len } = dari_str_t::lend(data);
            // SAFETY: the C caller's promise, above; `data` lives until the hook returns.
            self.lend(net, |user, owner| unsafe { hook(user, owner, conn.into(), data.cast(), len) });
        }
    }

    fn dropped(&mut self, net: &mut Net, conn: ConnId, messages: usize, bytes: usize) {
        if let Some(hook) = self.hooks.dropped {
            // SAFETY: the C caller's promise, above.
            self.lend(net, |user, owner| unsafe { hook(user, owner, conn.into(), messages, bytes) });
        }
    }

    fn limited(&mut self, net: &mut Net, what: &Limited) {
        if let Some(hook) = self.hooks.limited {
            let Limited { listener, which, count, limit, ref peer, .. } = *what;
            let peer = dari_str_t::lend(peer.as_bytes());
            let what =
                dari_limited_t { listener: listener.into(), which: which as u32, reserved: 0, count, limit, peer };
            // SAFETY: the C caller's promise, above; `what` lives until the hook returns.
            self.lend(net, |user, owner| unsafe { hook(user, owner, &what) });
        }
    }

    fn retry(&mut self, net: &mut Net, dial: DialId, attempt: u32, delay_ms: u32) {
        if let Some(hook) = self.hooks.retry {
            // SAFETY: the C caller's promise, above.
            self.lend(net, |user, owner| unsafe { hook(user, owner, dial.into(), attempt, delay_ms) });
        }
    }

    fn error(&mut self, net: &mut Net, conn: ConnId, why: &Close) {
        if let Some(hook) = self.hooks.error {
            let why = story(why);
            // SAFETY: the C caller's promise, above; `why` lives until the hook returns.
            self.lend(net, |user, owner| unsafe { hook(user, owner, conn.into(), &why) });
        }
    }

    fn close(&mut self, net: &mut Net, conn: ConnId, why: &Close) {
        if let Some(hook) = self.hooks.close {
            let why = story(why);
            // SAFETY: the C caller's promise, above; `why` lives until the hook returns.
            self.lend(net, |user, owner| unsafe { hook(user, owner, conn.into(), &why) });
        }
    }

    fn upgrade(&mut self, net: &mut Net, conn: ConnId) {
        match self.hooks.upgrade {
            // SAFETY: the C caller's promise, above.
            Some(hook) => self.lend(net, |user, owner| unsafe { hook(user, owner, conn.into()) }),
            None => NoHook.upgrade(net, conn),
        }
    }

    fn http(&mut self, net: &mut Net, conn: ConnId) {
        match self.hooks.http {
            // SAFETY: the C caller's promise, above.
            Some(hook) => self.lend(net, |user, owner| unsafe { hook(user, owner, conn.into()) }),
            None => NoHook.http(net, conn),
        }
    }
}

/// A message, as C reads it; its bytes are on loan.
fn lent(message: Message<'_>) -> dari_message_t {
    let kind = match message.kind {
        Kind::Text => DARI_TEXT,
        Kind::Binary => DARI_BINARY,
    };
    let dari_str_t { data, len } = dari_str_t::lend(message.data);
    dari_message_t { kind, reserved: 0, data, len }
}

/// An end, as C reads it; the texts are on loan from `why`.
pub(crate) fn story(why: &Close) -> dari_close_t {
    dari_close_t {
        cause: why.cause as dari_cause_t,
        by: why.by as u32,
        code: why.code,
        sent_code: why.sent_code,
        was_clean: why.was_clean.into(),
        opened: why.opened.into(),
        status: why.status,
        reason: dari_str_t::lend(why.reason.as_bytes()),
        text: dari_str_t::lend(why.text().as_bytes()),
        rule: why.rule.map_or(dari_str_t::NONE, |rule| dari_str_t::lend(rule.as_bytes())),
        offset: why.offset,
        limit: why.limit,
        met: why.met,
        unsent_bytes: why.unsent_bytes,
        unsent_messages: why.unsent_messages,
        os_error: why.os_error,
        tls_alert: why.tls_alert,
        will_retry: why.will_retry.into(),
        reserved: 0,
    }
}

type Fire = Box<dyn FnMut(&mut Net, TimerId)>;
type Ready = Box<dyn FnMut(&mut Net, WatchId, Readiness)>;

/// A timer's function, as dari calls it.
pub(crate) fn fire(
    owner: *const dari_loop_t,
    function: unsafe extern "C" fn(*mut c_void, *mut dari_loop_t, dari_timer_t),
    user: *mut c_void,
) -> Fire {
    // SAFETY: the C caller's promise, as for hooks.
    Box::new(move |net, id| guard::lend(owner, net, |owner| unsafe { function(user, owner, id.into()) }))
}

/// A watch's function, as dari calls it.
pub(crate) fn ready(
    owner: *const dari_loop_t,
    function: unsafe extern "C" fn(*mut c_void, *mut dari_loop_t, dari_watch_t, u32),
    user: *mut c_void,
) -> Ready {
    Box::new(move |net, id, ready| {
        let bit = |set, bit| if set { bit } else { 0 };
        let events = bit(ready.read, DARI_WATCH_READ) | bit(ready.write, DARI_WATCH_WRITE);
        // SAFETY: the C caller's promise, as for hooks.
        guard::lend(owner, net, |owner| unsafe { function(user, owner, id.into(), events) });
    })
}

/// The log, as dari tells it. Which loop it is of is known when that is made.
pub(crate) fn log(config: &dari_loop_config_t, owner: Rc<Cell<*const dari_loop_t>>) -> Option<Log> {
    let (hook, user) = (config.log?, config.user);
    let level = match config.log_level {
        DARI_LOG_ERROR => Level::Error,
        DARI_LOG_WARN => Level::Warn,
        DARI_LOG_INFO => Level::Info,
        DARI_LOG_DEBUG => Level::Debug,
        0 => return None,
        _ => Level::Trace,
    };
    Some(Log::new(level, move |net, line| {
        let line = dari_log_t {
            level: line.level as u32,
            reserved: 0,
            conn: line.conn.map_or(dari_conn_t { id: 0 }, Into::into),
            event: dari_str_t::lend(line.event.as_bytes()),
            peer: dari_str_t::lend(line.peer.as_bytes()),
            text: dari_str_t::lend(line.text.as_bytes()),
        };
        // SAFETY: the C caller's promise, as for hooks; `line` lives until the hook returns.
        guard::lend(owner.get(), net, |owner| unsafe { hook(user, owner, &line) });
    }))
}

/// What to call when a shutdown is over.
pub(crate) fn done(
    owner: *const dari_loop_t,
    function: Option<unsafe extern "C" fn(*mut c_void, *mut dari_loop_t, usize)>,
    user: *mut c_void,
) -> impl FnOnce(&mut Net, usize) + 'static {
    move |net, dropped| {
        if let Some(function) = function {
            // SAFETY: the C caller's promise, as for hooks.
            guard::lend(owner, net, |owner| unsafe { function(user, owner, dropped) });
        }
    }
}

/// What another thread asked for: exactly one of its two functions is called.
pub(crate) struct CCall {
    pub(crate) owner: *const dari_loop_t,
    pub(crate) call: Option<unsafe extern "C" fn(user: *mut c_void, r#loop: *mut dari_loop_t)>,
    pub(crate) dropped: Option<unsafe extern "C" fn(user: *mut c_void)>,
    pub(crate) user: *mut c_void,
}

// SAFETY: `owner` is looked behind on the loop's thread alone, while the loop lives; that `user` may go to that
// thread is what the C caller asks for.
unsafe impl Send for CCall {}

impl RemoteCall for CCall {
    fn call(self: Box<Self>, net: &mut Net) {
        if let Some(call) = self.call {
            // SAFETY: the C caller's promise, as for hooks.
            guard::lend(self.owner, net, |owner| unsafe { call(self.user, owner) });
        }
    }

    fn dropped(self: Box<Self>) {
        if let Some(dropped) = self.dropped {
            // SAFETY: the C caller's promise, as for hooks, from whatever thread.
            unsafe { dropped(self.user) }
        }
    }
}
