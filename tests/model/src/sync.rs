//! What threads share, by the names that `crates/dari/src/sync.rs` has: loom's, which tries every order of events.

pub(crate) use loom::sync::atomic::{AtomicBool, Ordering};
pub(crate) use loom::sync::{Arc, Mutex};
pub(crate) use std::sync::PoisonError;
