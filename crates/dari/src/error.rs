//! Why a call could not be done. Nothing has changed then, and no hook is called for it.

use dari_core::Misuse;
use std::{fmt, io};

/// Why a call could not be done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// An argument is out of range or malformed.
    Argument(String),
    /// The id names nothing on this loop, or not any more.
    Stale,
    /// Not in this state.
    State(String),
    /// The queue is full; nothing was queued.
    Full,
    /// The same, and the connection is closed for it ([`Slow::Close`](crate::Slow::Close)).
    TooSlow,
    /// Longer than a control frame may be.
    TooBig(String),
    /// Out of memory, or over the loop's memory limit.
    Memory,
    /// The operating system said no.
    System {
        /// What was tried.
        what: String,
        /// Its number for it.
        errno: i32,
    },
    /// A certificate or a key does not do.
    Tls(String),
    /// Not in this build.
    Unsupported(&'static str),
}

impl Error {
    pub(crate) fn system(what: impl Into<String>, error: &io::Error) -> Self {
        Self::System { what: what.into(), errno: error.raw_os_error().unwrap_or_default() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(text) | Self::State(text) | Self::TooBig(text) | Self::Tls(text) => f.write_str(text),
            Self::Stale => f.write_str("the id names nothing on this loop any more"),
            Self::Full => f.write_str("the queue is full"),
            Self::TooSlow => f.write_str("the queue is full, and the connection is closed for that"),
            Self::Memory => f.write_str("out of memory"),
            Self::System { what, errno } => write!(f, "{what}: {}", io::Error::from_raw_os_error(*errno)),
            Self::Unsupported(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}

impl From<Misuse> for Error {
    fn from(misuse: Misuse) -> Self {
        let text = misuse.to_string();
        match misuse {
            Misuse::NotOpen(_) | Misuse::NothingToAnswer | Misuse::NotAnUpgrade | Misuse::BetweenParts => {
                Self::State(text)
            }
            Misuse::TooLong(..) => Self::TooBig(text),
            Misuse::OutOfMemory => Self::Memory,
            _ => Self::Argument(text),
        }
    }
}
