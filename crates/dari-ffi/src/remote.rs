//! Remotes: the one door to a loop for other threads and for signal handlers.
//!
//! Nothing here looks at the loop itself, which may be gone, or at work on its own thread.

use crate::guard::arguments::{give, optional_shared, output, shared, take_back};
use crate::guard::{plain, verb};
use crate::hooks::CCall;
use crate::status::{DARI_ERR_ARGUMENT, DARI_ERR_SYSTEM, DARI_OK, dari_status_t};
use crate::types::{dari_loop_t, dari_remote_t};
use dari::Remote;
use std::ffi::c_void;
use std::ptr;

/// What C holds: a remote, and the loop to hand to a call that runs.
pub(crate) struct Hand {
    remote: Remote,
    owner: *const dari_loop_t,
}

/// Makes a remote for a loop, on the loop's thread.
///
/// From then on any thread may use it at any time, even after the loop is
/// gone. `*out` is NULL if it fails. Free it with dari_remote_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_remote_new(r#loop: *mut dari_loop_t, out: *mut *mut dari_remote_t) -> dari_status_t {
    verb("dari_remote_new", r#loop, |net| {
        let out = output("out", out, ptr::null_mut())?;
        *out = give(dari_remote_t(Hand { remote: net.remote(), owner: r#loop }));
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
    hand.remote.stop().map_or(DARI_ERR_SYSTEM, |()| DARI_OK)
}

/// Runs `call` on the loop's thread, as if it were a hook.
///
/// If the loop is freed before that, `dropped` is called in its place, so that
/// one of the two always gets `user` to free. Either function may be NULL.
/// Calls of one thread run in their order. After an error neither is called:
/// DARI_ERR_FULL if too many are waiting, DARI_ERR_STALE if the loop is gone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_remote_call(
    remote: *const dari_remote_t,
    call: Option<unsafe extern "C" fn(user: *mut c_void, r#loop: *mut dari_loop_t)>,
    dropped: Option<unsafe extern "C" fn(user: *mut c_void)>,
    user: *mut c_void,
) -> dari_status_t {
    plain("dari_remote_call", || {
        let dari_remote_t(hand) = shared("remote", remote)?;
        hand.remote.call(Box::new(CCall { owner: hand.owner, call, dropped, user }))?;
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
