//! What can be set, and what it is if nothing is said. Every default stands here, once, or at
//! [`dari_core::Limits`].

use dari_core::Deflate;
use std::path::PathBuf;

/// Lifts a limit that is a number of milliseconds.
pub const NEVER: u32 = u32::MAX;

/// What a loop is allowed.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes allocated for what all its connections are receiving, compression included. Default 1 GiB.
    pub max_memory: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_memory: 1 << 30 }
    }
}

/// What a connection is allowed. `usize::MAX` and [`NEVER`] lift a limit.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest message that is received, in bytes. Default 16 MiB.
    pub max_message: usize,
    /// Queued bytes above which the connection is not read from, and a send says that it is buffered.
    /// Default 256 KiB.
    pub high_water: usize,
    /// Queued bytes at which it goes on. Default 64 KiB; a quarter of `high_water` if it is not below that.
    pub low_water: usize,
    /// Queued bytes at which a send is refused. Default 4 MiB.
    pub max_backlog: usize,
    /// Pings and pongs that a peer may send in a second. Default 250,000; `u32::MAX` lifts it.
    pub max_controls: u32,
    /// Longest head of a request or answer, in bytes. Default 16 KiB.
    pub max_head: usize,
    /// Longest body of a plain request, in bytes. Default 1 MiB.
    pub max_body: usize,
    /// From accepting or dialling to open. Default 10 s; nothing a peer does extends it.
    pub handshake_ms: u32,
    /// Silence of the peer, after which it is pinged, and after as long again given up. Default 30 s.
    pub idle_ms: u32,
    /// From our Close frame to the end. Default 5 s.
    pub close_ms: u32,
    /// How long the kernel may take nothing of what is queued. Default 30 s.
    pub stall_ms: u32,
    /// permessage-deflate (RFC 7692), where the peer agrees. Default off.
    pub deflate: Option<Deflate>,
    /// Whether messages are handed to the hook `part` as they come, in place of whole ones to `message`. Default no.
    pub parts: bool,
}

impl Default for Limits {
    fn default() -> Self {
        let core = dari_core::Limits::default();
        Self {
            max_message: core.max_message,
            high_water: 256 << 10,
            low_water: 64 << 10,
            max_backlog: 4 << 20,
            max_controls: core.max_controls,
            max_head: core.max_head,
            max_body: core.max_body,
            handshake_ms: 10_000,
            idle_ms: 30_000,
            close_ms: 5_000,
            stall_ms: 30_000,
            deflate: None,
            parts: false,
        }
    }
}

impl Limits {
    /// With a low mark that lies below the high one.
    pub(crate) fn ordered(&self) -> Self {
        let low_water = if self.low_water < self.high_water { self.low_water } else { self.high_water / 4 };
        Self { low_water, ..self.clone() }
    }

    pub(crate) fn core(&self) -> dari_core::Limits {
        dari_core::Limits {
            max_message: self.max_message,
            max_controls: self.max_controls,
            max_head: self.max_head,
            max_body: self.max_body,
            parts: self.parts,
            deflate: self.deflate,
            ..dari_core::Limits::default()
        }
    }
}

/// How long a connection is kept for the next plain request, in milliseconds.
pub(crate) const KEEP_ALIVE_MS: u32 = 15_000;
/// Bytes that are read and thrown away of a peer that goes on behind the end.
pub(crate) const MOST_LINGER: usize = 256 << 10;
/// Descriptors that are left to the host.
pub(crate) const SPARE_DESCRIPTORS: u64 = 64;

/// Which pages may open a WebSocket here. Programs that send no Origin always may.
#[derive(Clone, Debug, Default)]
pub enum Origins {
    /// Those that come from the host that they connect to.
    #[default]
    Same,
    /// All.
    Any,
    /// Those of these origins: `https://example.com`.
    List(Vec<String>),
}

/// How to listen.
#[derive(Clone, Debug, Default)]
pub struct Listen {
    /// What each connection is allowed.
    pub limits: Limits,
    /// Subprotocols spoken, best first.
    pub protocols: Vec<String>,
    /// Which pages are let in.
    pub origins: Origins,
    /// A folder whose files are served to GET and HEAD, before the hook `http` is asked.
    pub folder: Option<PathBuf>,
}

/// How to connect.
#[derive(Clone, Debug, Default)]
pub struct Connect {
    /// What the connection is allowed.
    pub limits: Limits,
    /// Subprotocols offered, best first.
    pub protocols: Vec<String>,
    /// More header lines for the request.
    pub headers: Vec<(String, String)>,
    /// The header Origin.
    pub origin: Option<String>,
}
