//! Loops: run one, or embed it in a program that has a loop of its own.
//!
//! Everything that calls hooks is here. No loop of the process is hidden in here or shared.

use crate::guard::arguments::{output, versioned};
use crate::guard::{disown, exclusive, getter, own, plain, verb};
use crate::status::{DARI_OK, dari_status_t};
use crate::types::{DARI_NEVER, dari_loop_config_t, dari_loop_t};
use dari::{Config, Loop};
use std::ptr;

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
        let wish = versioned(config)?.map_or(0, |config| config.max_memory);
        let config = Config::default();
        *out = own(Loop::new(if wish == 0 { config } else { Config { max_memory: wish } })?);
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

/// Runs the loop until dari_loop_stop or dari_remote_stop.
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
