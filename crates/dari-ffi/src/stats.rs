//! Watching: what a loop has seen, and how its last connections ended.
//!
//! Both structs are the caller's to own; what they hold is copied, but for texts.

use crate::guard::arguments::{argument, fill};
use crate::guard::verb;
use crate::hooks::story;
use crate::status::{DARI_OK, dari_status_t};
use crate::types::*;

/// What a loop has seen since it was made. Set struct_size before the call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct dari_stats_t {
    /// sizeof(dari_stats_t).
    pub struct_size: usize,
    /// Connections accepted, with those that were turned away at the door.
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
    /// Messages that slow peers will not get: see `dropped`.
    pub dropped: u64,
    /// Connections turned away at the door: see `limited`.
    pub limited: u64,
    /// Hooks that ran longer than slow_hook_ms.
    pub slow_hooks: u64,
    /// Bytes of memory that count in max_memory, now.
    pub memory: u64,
    /// The most that there were of them.
    pub memory_peak: u64,
    /// Ends by cause: closes[DARI_CAUSE_EOF]. Those of connections that you never
    /// heard of are in it, too.
    pub closes: [u64; 64],
}

/// The end of a connection, remembered. Set struct_size before the call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct dari_past_t {
    /// sizeof(dari_past_t).
    pub struct_size: usize,
    /// Which it was; its id is stale.
    pub conn: dari_conn_t,
    /// When it ended, in milliseconds of Unix time.
    pub ended_ms: u64,
    /// How long it had been there, in milliseconds.
    pub lived_ms: u64,
    /// Who was there: "address:port".
    pub peer: dari_str_t,
    /// What `close` was told.
    pub why: dari_close_t,
}

const _: () = {
    const WORD: usize = size_of::<usize>();
    assert!(size_of::<dari_stats_t>() == WORD + 76 * 8);
    assert!(size_of::<dari_past_t>() == 3 * WORD + 3 * 8 + size_of::<dari_close_t>());
};

/// Tells what a loop has seen.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_loop_stats(r#loop: *const dari_loop_t, out: *mut dari_stats_t) -> dari_status_t {
    verb("dari_loop_stats", r#loop, |net| {
        let stats = net.stats();
        fill("out", out, |struct_size| dari_stats_t {
            struct_size,
            accepted: stats.accepted,
            dialled: stats.dialled,
            open: stats.open,
            opened: stats.opened,
            requests: stats.requests,
            messages_in: stats.messages_in,
            messages_out: stats.messages_out,
            dropped: stats.dropped,
            limited: stats.limited,
            slow_hooks: stats.slow_hooks,
            memory: stats.memory,
            memory_peak: stats.memory_peak,
            closes: stats.closes,
        })?;
        Ok(DARI_OK)
    })
}

/// Tells how the `nth` last connection ended, 0 being the latest.
///
/// The last 1,000 that had an id are remembered; beyond them it is
/// DARI_ERR_ARGUMENT. The texts are on loan until the loop runs again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dari_loop_past(
    r#loop: *const dari_loop_t,
    nth: usize,
    out: *mut dari_past_t,
) -> dari_status_t {
    verb("dari_loop_past", r#loop, |net| {
        let past = net.past(nth).ok_or_else(|| argument(format!("{nth} ends back nothing is remembered")))?;
        fill("out", out, |struct_size| dari_past_t {
            struct_size,
            conn: past.conn.into(),
            ended_ms: past.ended_ms,
            lived_ms: past.lived_ms,
            peer: dari_str_t::lend(past.peer().as_bytes()),
            why: story(&past.why),
        })?;
        Ok(DARI_OK)
    })
}
