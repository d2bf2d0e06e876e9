//! Timers, and descriptors of yours that the loop watches along with its own.
//!
//! Their functions are called as hooks are: from run and turn, and under the same rules.

use crate::guard::arguments::{argument, null, put};
use crate::guard::verb;
use crate::hooks;
use crate::status::{DARI_OK, dari_status_t};
use crate::types::*;
use dari::Readiness;
use std::ffi::c_void;

/// Calls `fire` after `delay_ms`, and then every `repeat_ms`.
///
/// A `repeat_ms` of 0 is once, after which the id is stale; a `delay_ms` of 0
/// is the next turn. `out` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_timer_new(
    r#loop: *mut dari_loop_t,
    delay_ms: u32,
    repeat_ms: u32,
    fire: Option<unsafe extern "C" fn(user: *mut c_void, r#loop: *mut dari_loop_t, timer: dari_timer_t)>,
    user: *mut c_void,
    out: *mut dari_timer_t,
) -> dari_status_t {
    verb("dari_timer_new", r#loop, |net| {
        let fire = fire.ok_or_else(|| null("fire"))?;
        put(out, net.timer(delay_ms, repeat_ms, hooks::fire(r#loop, fire, user))?.into());
        Ok(DARI_OK)
    })
}

/// Ends a timer, even in its own `fire`, which is not called again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_timer_cancel(r#loop: *mut dari_loop_t, timer: dari_timer_t) -> dari_status_t {
    verb("dari_timer_cancel", r#loop, |net| {
        net.cancel_timer(timer.into())?;
        Ok(DARI_OK)
    })
}

/// Calls `ready` whenever `fd` is ready for `events`.
///
/// `events` is DARI_WATCH_READ, DARI_WATCH_WRITE or both; `ready` gets those
/// that are so, again in each turn for as long as they are. The descriptor
/// stays yours: cancel the watch before you close it. `out` may be NULL.
/// DARI_ERR_SYSTEM: the system cannot watch it, or it is watched already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_watch_new(
    r#loop: *mut dari_loop_t,
    fd: i32,
    events: u32,
    ready: Option<
        unsafe extern "C" fn(user: *mut c_void, r#loop: *mut dari_loop_t, watch: dari_watch_t, events: u32),
    >,
    user: *mut c_void,
    out: *mut dari_watch_t,
) -> dari_status_t {
    verb("dari_watch_new", r#loop, |net| {
        let ready = ready.ok_or_else(|| null("ready"))?;
        if events == 0 || events & !(DARI_WATCH_READ | DARI_WATCH_WRITE) != 0 {
            return Err(argument(format!("events {events} is not DARI_WATCH_READ, DARI_WATCH_WRITE or both")));
        }
        let interest = Readiness { read: events & DARI_WATCH_READ != 0, write: events & DARI_WATCH_WRITE != 0 };
        put(out, net.watch(fd, interest, hooks::ready(r#loop, ready, user))?.into());
        Ok(DARI_OK)
    })
}

/// Ends a watch, even in its own `ready`, which is not called again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_watch_cancel(r#loop: *mut dari_loop_t, watch: dari_watch_t) -> dari_status_t {
    verb("dari_watch_cancel", r#loop, |net| {
        net.cancel_watch(watch.into())?;
        Ok(DARI_OK)
    })
}
