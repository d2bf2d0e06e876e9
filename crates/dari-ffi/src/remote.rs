//! Remotes: the one door to a loop for other threads and for signal handlers.
//!
//! Nothing here looks at the loop itself, which may be gone, or at work on its own thread.

use crate::guard::arguments::{
    give, message, optional_shared, optional_text, output, put, shared, shared_list, take_back, text,
};
use crate::guard::{at_home, home, plain, verb};
use crate::hooks::CCall;
use crate::status::*;
use crate::types::{dari_conn_t, dari_kind_t, dari_loop_t, dari_remote_t};
use dari::{Error, LostByFork, Remote};
use std::ffi::{c_char, c_void};
use std::ptr;
use std::sync::Arc;

/// What C holds: a remote, and the loop to hand to a call that runs.
pub(crate) struct Hand {
    remote: Remote,
    owner: *const dari_loop_t,
    home: Arc<LostByFork>,
}

/// Asks a loop for something, from any thread.
fn ask(
    function: &str,
    remote: *const dari_remote_t,
    body: impl FnOnce(&Hand) -> Result<(), Refusal>,
) -> dari_status_t {
    plain(function, || {
        let dari_remote_t(hand) = shared("remote", remote)?;
        // Before anything is locked: a thread that the child does not have may hold the lock.
        at_home(&hand.home)?;
        body(hand)?;
        Ok(DARI_OK)
    })
}

/// What is said of a connection would mislead here.
fn refused(error: Error) -> Refusal {
    match error {
        Error::Stale => Refusal::new(DARI_ERR_STALE, "the loop is gone"),
        Error::Full => Refusal::new(DARI_ERR_FULL, "so much waits for the loop that this finds no room"),
        error => error.into(),
    }
}

/// Makes a remote for a loop, on the loop's thread.
///
/// From then on any thread may use it at any time, even after the loop is
/// gone. `*out` is NULL if it fails. Free it with dari_remote_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_remote_new(r#loop: *mut dari_loop_t, out: *mut *mut dari_remote_t) -> dari_status_t {
    verb("dari_remote_new", r#loop, |net| {
        let out = output("out", out, ptr::null_mut())?;
        let home = home(r#loop)?;
        *out = give(dari_remote_t(Hand { remote: net.remote(), owner: r#loop, home }));
        Ok(DARI_OK)
    })
}

/// Stops dari_loop_run from any thread, and from a signal handler.
///
/// Async-signal-safe: it allocates nothing, locks nothing and keeps errno. For
/// the same reason it leaves dari_last_error as it was. A loop that is gone
/// is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_remote_stop(remote: *const dari_remote_t) -> dari_status_t {
    let Some(dari_remote_t(hand)) = optional_shared(remote) else {
        return DARI_ERR_ARGUMENT;
    };
    if at_home(&hand.home).is_err() {
        return DARI_ERR_STATE;
    }
    hand.remote.stop().map_or(DARI_ERR_SYSTEM, |()| DARI_OK)
}

/// Runs `call` on the loop's thread, as if it were a hook.
///
/// If the loop is freed before that, `dropped` is called in its place, so that
/// one of the two always gets `user` to free. Either function may be NULL.
///
/// What one thread asks for with this and the next four functions is done in
/// that order, in a turn of the loop. At most 64 Ki of it all, and 64 MiB, may
/// wait; then it is DARI_ERR_FULL. DARI_ERR_STALE: the loop is gone. After an
/// error nothing will be done, and neither function is called.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_remote_call(
    remote: *const dari_remote_t,
    call: Option<unsafe extern "C" fn(user: *mut c_void, r#loop: *mut dari_loop_t)>,
    dropped: Option<unsafe extern "C" fn(user: *mut c_void)>,
    user: *mut c_void,
) -> dari_status_t {
    ask("dari_remote_call", remote, |hand| {
        hand.remote.call(Box::new(CCall { owner: hand.owner, call, dropped, user })).map_err(refused)
    })
}

/// Sends one message, from any thread: dari_conn_send, a little later.
///
/// It is checked and copied now. A connection that is not open when the loop
/// comes to it is passed over; one that has no room hears so in `dropped`.
/// DARI_ERR_TOO_BIG: it is longer than all that may wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_remote_send(
    remote: *const dari_remote_t,
    conn: dari_conn_t,
    kind: dari_kind_t,
    data: *const c_void,
    len: usize,
) -> dari_status_t {
    ask("dari_remote_send", remote, |hand| {
        let (message, squeeze) = message(kind, data, len)?;
        hand.remote.send(conn.into(), message, squeeze).map_err(refused)
    })
}

/// Closes a connection, from any thread: dari_conn_close, a little later.
///
/// `code` and `reason` are checked now. A connection that has gone by then, or
/// can not be closed so, is left alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_remote_close(
    remote: *const dari_remote_t,
    conn: dari_conn_t,
    code: u16,
    reason: *const c_char,
) -> dari_status_t {
    ask("dari_remote_close", remote, |hand| {
        let reason = optional_text("reason", reason)?.unwrap_or_default();
        hand.remote.close(conn.into(), code, reason).map_err(refused)
    })
}

/// Publishes to `topic`, from any thread: dari_loop_publish, a little later.
///
/// The message is checked and copied now; those get it who are subscribed by
/// then. DARI_ERR_TOO_BIG: it is longer than all that may wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_remote_publish(
    remote: *const dari_remote_t,
    topic: *const c_char,
    kind: dari_kind_t,
    data: *const c_void,
    len: usize,
) -> dari_status_t {
    ask("dari_remote_publish", remote, |hand| {
        let (message, squeeze) = message(kind, data, len)?;
        hand.remote.publish(text("topic", topic)?, message, squeeze).map_err(refused)
    })
}

/// Publishes to `topic` on `count` loops, from any thread.
///
/// As dari_remote_publish for each of them, but the message is checked and
/// copied once for all. `except` does not get it, on whichever loop it is; id
/// 0 excepts nobody. `*taken`, which may be NULL, is how many loops will do
/// it: one that is gone, or for which so much waits that this finds no room,
/// is passed over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_remote_publish_all(
    remotes: *const *mut dari_remote_t,
    count: usize,
    topic: *const c_char,
    except: dari_conn_t,
    kind: dari_kind_t,
    data: *const c_void,
    len: usize,
    taken: *mut usize,
) -> dari_status_t {
    plain("dari_remote_publish_all", || {
        put(taken, 0);
        let remotes = shared_list("remotes", remotes, count)?;
        remotes.iter().try_for_each(|dari_remote_t(hand)| at_home(&hand.home))?;
        let (message, squeeze) = message(kind, data, len)?;
        let remotes = remotes.iter().map(|dari_remote_t(hand)| &hand.remote);
        put(taken, Remote::publish_all(remotes, text("topic", topic)?, except.named(), message, squeeze)?);
        Ok(DARI_OK)
    })
}

/// Frees a remote, from any thread. What it has asked for still happens.
///
/// NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_remote_free(remote: *mut dari_remote_t) {
    take_back(remote);
}
