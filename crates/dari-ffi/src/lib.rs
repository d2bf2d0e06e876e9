//! dari for C and C++: what `include/dari.h` declares.
//!
//! An export is a guard, one call into `dari` and one conversion; there is no behaviour here. `guard` is the
//! boundary that every call from C passes, `hooks` the one that every call to C passes; only they hold unsafe
//! code. The comments on exported items are the header's, so they speak to C programmers.

#![expect(non_camel_case_types, reason = "the types have the names that C knows them by")]
#![expect(clippy::missing_safety_doc, reason = "what a C caller promises is said once, at the top of the header")]

mod guard;
mod hooks;

pub mod conn;
pub mod endpoint;
pub mod event_loop;
pub mod remote;
pub mod request;
pub mod settings;
pub mod stats;
pub mod status;
pub mod timer;
pub mod tls;
pub mod topic;
pub mod types;
