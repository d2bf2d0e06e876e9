//! Library: its version, and words for what went wrong.
//!
//! Statuses, and the last error of each thread. Nothing here leaves a destructor with a thread: the library may be
//! unloaded before the thread ends.

use crate::types::dari_cause_t;
use dari::{Cause, Error, Sent};
use std::borrow::Cow;
use std::cell::Cell;
use std::ffi::{CStr, CString, c_char};
use std::sync::LazyLock;

/// How a call ended: DARI_OK, DARI_BUFFERED, or one of DARI_ERR_*.
pub type dari_status_t = i32;

/// Done.
pub const DARI_OK: dari_status_t = 0;
/// Done, but the peer is slow: hold back until the hook `drain`.
pub const DARI_BUFFERED: dari_status_t = 1;
/// An argument is NULL, out of range, not UTF-8, or has a wrong struct_size.
pub const DARI_ERR_ARGUMENT: dari_status_t = -1;
/// The id names nothing on this loop, or nothing any more.
pub const DARI_ERR_STALE: dari_status_t = -2;
/// Not now: not open yet, closing, answered already, or inside a hook.
pub const DARI_ERR_STATE: dari_status_t = -3;
/// The loop belongs to another thread.
pub const DARI_ERR_THREAD: dari_status_t = -4;
/// The queue is full; nothing was added to it.
pub const DARI_ERR_FULL: dari_status_t = -5;
/// Longer than a control frame, a limit or your buffer has room for.
pub const DARI_ERR_TOO_BIG: dari_status_t = -6;
/// No memory, or the loop has reached its max_memory.
pub const DARI_ERR_MEMORY: dari_status_t = -7;
/// A certificate or a key will not do.
pub const DARI_ERR_TLS: dari_status_t = -8;
/// The operating system refused; dari_last_errno has its errno.
pub const DARI_ERR_SYSTEM: dari_status_t = -9;
/// This build of the library does not have it.
pub const DARI_ERR_UNSUPPORTED: dari_status_t = -10;
/// A bug in dari. All that can be done with the loop now is to free it.
pub const DARI_ERR_PANIC: dari_status_t = -11;

/// The version of the library that is running: "0.1.0".
///
/// DARI_VERSION_MAJOR and its kin say which header you were compiled with.
#[unsafe(no_mangle)]
pub extern "C" fn dari_version() -> *const c_char {
    const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("a version holds no NUL"),
    };
    VERSION.as_ptr()
}

/// A status in a few words, for any number: never NULL, never to be freed.
#[unsafe(no_mangle)]
pub extern "C" fn dari_status_text(status: dari_status_t) -> *const c_char {
    let text = match status {
        DARI_OK => c"done",
        DARI_BUFFERED => c"done, but the peer is slow",
        DARI_ERR_ARGUMENT => c"an argument will not do",
        DARI_ERR_STALE => c"the id names nothing any more",
        DARI_ERR_STATE => c"not possible now",
        DARI_ERR_THREAD => c"the loop belongs to another thread",
        DARI_ERR_FULL => c"the queue is full",
        DARI_ERR_TOO_BIG => c"too long",
        DARI_ERR_MEMORY => c"out of memory",
        DARI_ERR_TLS => c"the certificate or key will not do",
        DARI_ERR_SYSTEM => c"the operating system refused",
        DARI_ERR_UNSUPPORTED => c"not in this build",
        DARI_ERR_PANIC => c"a bug in dari",
        _ => c"no status of this version",
    };
    text.as_ptr()
}

/// A cause in a few words, for any number: never NULL, never to be freed.
#[unsafe(no_mangle)]
pub extern "C" fn dari_cause_text(cause: dari_cause_t) -> *const c_char {
    let known = Cause::ALL.iter().position(|known| *known as dari_cause_t == cause);
    known.map_or(c"no cause of this version".as_ptr(), |at| CAUSES[at].as_ptr())
}

/// Why the call that failed last on this thread failed, in one line.
///
/// Only a call that returns a status below zero changes it. It names the
/// function, the argument and what was wrong; never NULL, but empty before
/// the first error. Valid until the next error on this thread.
#[unsafe(no_mangle)]
pub extern "C" fn dari_last_error() -> *const c_char {
    TEXT.with(|text| text.as_ptr().cast())
}

/// The errno behind dari_last_error, or 0 if the system had no part in it.
#[unsafe(no_mangle)]
pub extern "C" fn dari_last_errno() -> i32 {
    ERRNO.get()
}

/// Every cause's text in its place of `Cause::ALL`, with the NUL that C wants; made when first asked for.
static CAUSES: LazyLock<[CString; Cause::ALL.len()]> =
    LazyLock::new(|| Cause::ALL.map(|cause| CString::new(cause.text()).unwrap_or_default()));

/// Room for one line, its NUL included. What is longer is cut.
const LINE: usize = 512;

thread_local! {
    static TEXT: [Cell<u8>; LINE] = const { [const { Cell::new(0) }; LINE] };
    static ERRNO: Cell<i32> = const { Cell::new(0) };
}

/// A call that was refused: what it returns, and what dari_last_error says.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: dari_status_t,
    errno: i32,
    text: Cow<'static, str>,
}

impl Refusal {
    pub(crate) fn new(status: dari_status_t, text: impl Into<Cow<'static, str>>) -> Self {
        Self { status, errno: 0, text: text.into() }
    }

    pub(crate) fn is(&self, status: dari_status_t) -> bool {
        self.status == status
    }

    /// Makes this the thread's last error, and is the status to return.
    pub(crate) fn report(self, function: &str) -> dari_status_t {
        ERRNO.set(self.errno);
        TEXT.with(|line| {
            let words = [function, ": ", &self.text].into_iter().flat_map(str::chars);
            let mut at = 0;
            for word in words.map(|char| if char.is_control() { ' ' } else { char }) {
                let mut utf8 = [0; 4];
                let bytes = word.encode_utf8(&mut utf8).bytes();
                if at + bytes.len() >= LINE {
                    break;
                }
                bytes.for_each(|byte| {
                    line[at].set(byte);
                    at += 1;
                });
            }
            line[at].set(0);
        });
        self.status
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let (status, errno) = match &error {
            Error::Argument(_) => (DARI_ERR_ARGUMENT, 0),
            Error::Stale => (DARI_ERR_STALE, 0),
            Error::State(_) => (DARI_ERR_STATE, 0),
            Error::Full | Error::TooSlow => (DARI_ERR_FULL, 0),
            Error::TooBig(_) => (DARI_ERR_TOO_BIG, 0),
            Error::Memory => (DARI_ERR_MEMORY, 0),
            Error::Tls(_) => (DARI_ERR_TLS, 0),
            Error::System { errno, .. } => (DARI_ERR_SYSTEM, *errno),
            _ => (DARI_ERR_UNSUPPORTED, 0),
        };
        Self { status, errno, text: error.to_string().into() }
    }
}

/// The status of a message that was taken.
pub(crate) fn sent(sent: Sent) -> dari_status_t {
    match sent {
        Sent::Done => DARI_OK,
        Sent::Buffered => DARI_BUFFERED,
    }
}
