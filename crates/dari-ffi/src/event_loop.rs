//! Loops: run one, or embed it in a program that has a loop of its own.
//!
//! Everything that calls hooks is here. No loop of the process is hidden in here or shared.

use crate::guard::arguments::{argument, output, versioned};
use crate::guard::{disown, exclusive, getter, own, plain, verb};
use crate::hooks;
use crate::settings::dari_loop_config_t;
use crate::status::{DARI_OK, Refusal, dari_status_t};
use crate::types::{DARI_LOG_TRACE, DARI_NEVER, dari_loop_t};
use dari::{Config, Loop};
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;
use std::rc::Rc;

/// Makes a loop, which belongs to the calling thread.
///
/// `config` may be NULL. `*out` is NULL if it fails: DARI_ERR_SYSTEM if there
/// are no descriptors left. Free it with dari_loop_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_loop_new(
    config: *const dari_loop_config_t,
    out: *mut *mut dari_loop_t,
) -> dari_status_t {
    plain("dari_loop_new", || {
        let out = output("out", out, ptr::null_mut())?;
        let owner = Rc::new(Cell::new(ptr::null()));
        let config =
            versioned(config)?.map_or_else(|| Ok(Config::default()), |of| settings(&of, Rc::clone(&owner)))?;
        *out = own(Loop::new(config)?)?;
        owner.set(*out);
        Ok(DARI_OK)
    })
}

/// Ends everything on the loop, calling every `close`, and frees it.
///
/// Every peer is told 1001. Pending remote calls get their `dropped`. NULL is
/// fine. Not inside a hook: DARI_ERR_STATE, and the loop lives on. After
/// DARI_ERR_PANIC it frees without calling hooks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_loop_free(r#loop: *mut dari_loop_t) -> dari_status_t {
    disown("dari_loop_free", r#loop)
}

/// Runs the loop until dari_loop_stop, dari_remote_stop or the end of a
/// shutdown.
///
/// It returns DARI_OK then, with all connections still there: run it again,
/// or free it. Not inside a hook: DARI_ERR_STATE. DARI_ERR_SYSTEM if the
/// system cannot wait for events.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_loop_run(r#loop: *mut dari_loop_t) -> dari_status_t {
    exclusive("dari_loop_run", r#loop, Loop::run)
}

/// Makes dari_loop_run return after the turn that it is in.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_loop_stop(r#loop: *mut dari_loop_t) -> dari_status_t {
    verb("dari_loop_stop", r#loop, |net| {
        net.stop();
        Ok(DARI_OK)
    })
}

/// Ends everything on the loop in good order, while it runs on.
///
/// Nobody is accepted any more; requests on connections that are there get 503.
/// Every peer is told 1001, one after the other within `spread_ms`, so that
/// they do not all come back at once; 0 tells all at once. What is queued is
/// sent before. Whoever has not answered `grace_ms` after the last was told is
/// dropped. When nobody is left `done` is called, which may be NULL, with how
/// many had to be dropped, and dari_loop_run returns; it is not called if the
/// loop is freed before. Every cause is
/// DARI_CAUSE_SHUTDOWN. Listening, connecting and another shutdown are
/// DARI_ERR_STATE from then on; timers and watches go on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_loop_shutdown(
    r#loop: *mut dari_loop_t,
    spread_ms: u32,
    grace_ms: u32,
    done: Option<unsafe extern "C" fn(user: *mut c_void, r#loop: *mut dari_loop_t, dropped: usize)>,
    user: *mut c_void,
) -> dari_status_t {
    verb("dari_loop_shutdown", r#loop, |net| {
        net.shutdown(spread_ms, grace_ms, hooks::done(r#loop, done, user))?;
        Ok(DARI_OK)
    })
}

/// Gives the one descriptor to put into a poll, epoll or select of yours.
///
/// When it is readable, call dari_loop_turn(loop, 0). It is readable for due
/// timers too, and for work that a turn has left over, so you need no timeout.
/// It stays dari's: do not read or close it. Below zero is a DARI_ERR_*.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_loop_fd(r#loop: *mut dari_loop_t) -> i32 {
    verb("dari_loop_fd", r#loop, |net| Ok(net.fd()?))
}

/// Waits for something to do, for at most `timeout_ms`, and does it.
///
/// 0 does not wait; DARI_NEVER waits for as long as it takes. Everything that
/// hooks have sent is on its way when it returns. Not inside a hook:
/// DARI_ERR_STATE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_loop_turn(r#loop: *mut dari_loop_t, timeout_ms: u32) -> dari_status_t {
    exclusive("dari_loop_turn", r#loop, |inner| inner.turn((timeout_ms != DARI_NEVER).then_some(timeout_ms)))
}

/// Milliseconds until the loop has something to do without any event.
///
/// DARI_NEVER if there is nothing, and for a loop that is NULL or another
/// thread's. Only for a poll that does not use dari_loop_fd alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_loop_timeout(r#loop: *const dari_loop_t) -> u32 {
    getter(r#loop, DARI_NEVER, |net| net.timeout().unwrap_or(DARI_NEVER))
}

fn settings(of: &dari_loop_config_t, owner: Rc<Cell<*const dari_loop_t>>) -> Result<Config, Refusal> {
    if of.log_level > DARI_LOG_TRACE {
        return Err(argument(format!("log_level {} is no DARI_LOG_*", of.log_level)));
    }
    let default = Config::default();
    let size = |given, default| if given == 0 { default } else { given };
    Ok(Config {
        max_memory: size(of.max_memory, default.max_memory),
        max_read: size(of.max_read, default.max_read),
        max_events: size(of.max_events as usize, default.max_events),
        slow_hook_ms: if of.slow_hook_ms == 0 { default.slow_hook_ms } else { of.slow_hook_ms },
        log: hooks::log(of, owner),
    })
}
