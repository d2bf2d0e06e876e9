//! What threads share, by the names of the standard library. tests/model has another `sync` in its place, which tries
//! every order of events.

pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
pub(crate) use std::sync::{Arc, Mutex, PoisonError};
