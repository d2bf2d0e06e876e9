//! What can be set, and what it is if nothing is said. Every default stands here, once, or at
//! [`dari_core::Limits`].

use crate::{Error, Log, Tls};
use dari_core::Deflate;
use std::path::PathBuf;

/// Lifts a limit that is a number of milliseconds.
pub const NEVER: u32 = u32::MAX;

/// What a loop is allowed, and what it tells of itself.
#[derive(Debug)]
pub struct Config {
    /// Bytes allocated for all its connections: what they are receiving, what is queued for them, compression.
    /// Default 1 GiB.
    pub max_memory: usize,
    /// Bytes of one read, and about what one connection gets of a turn; up to four times as many where they end a message
    /// that has begun. Default 256 KiB; at least 16 KiB.
    pub max_read: usize,
    /// Events of one turn. Default 1,024.
    pub max_events: usize,
    /// A hook that runs longer is reported. Default [`NEVER`].
    pub slow_hook_ms: u32,
    /// Who hears the log. Default nobody.
    pub log: Option<Log>,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_memory: 1 << 30, max_read: 256 << 10, max_events: 1024, slow_hook_ms: NEVER, log: None }
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
    /// Queued bytes at which `slow` says what happens to a send. Default 4 MiB.
    pub max_backlog: usize,
    /// What happens to messages for a peer that takes too little. Default [`Slow::Refuse`].
    pub slow: Slow,
    /// Pings and pongs that a peer may send in a second. Default 250,000; `u32::MAX` lifts it.
    pub max_controls: u32,
    /// Longest head of a request or answer, in bytes. Default 16 KiB.
    pub max_head: usize,
    /// Longest target of a request, in bytes. Default 8 KiB.
    pub max_target: usize,
    /// Header lines of a request or answer. Default 100; more than 100 has no effect.
    pub max_headers: usize,
    /// Longest body of a plain request, in bytes. Default 1 MiB.
    pub max_body: usize,
    /// Empty frames of one message before its last. Default 1,000.
    pub max_empty_fragments: u32,
    /// From accepting or dialling to open. Default 10 s; nothing a peer does extends it.
    pub handshake_ms: u32,
    /// Silence of the peer, after which it is pinged, and after as long again given up. Default 30 s.
    pub idle_ms: u32,
    /// From our Close frame to the end. Default 5 s.
    pub close_ms: u32,
    /// How long the kernel may take nothing of what is queued. Default 30 s.
    pub stall_ms: u32,
    /// How long a connection is kept for the next plain request. Default 15 s.
    pub keep_alive_ms: u32,
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
            slow: Slow::Refuse,
            max_controls: core.max_controls,
            max_head: core.max_head,
            max_target: core.max_target,
            max_headers: core.max_headers,
            max_body: core.max_body,
            max_empty_fragments: core.max_empty_fragments,
            handshake_ms: 10_000,
            idle_ms: 30_000,
            close_ms: 5_000,
            stall_ms: 30_000,
            keep_alive_ms: 15_000,
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
            max_target: self.max_target,
            max_headers: self.max_headers,
            max_body: self.max_body,
            max_empty_fragments: self.max_empty_fragments,
            parts: self.parts,
            deflate: self.deflate,
        }
    }

    /// What can not be asked for.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.slow == Slow::DropOldest && self.deflate.is_some_and(|deflate| deflate.takeover) {
            return Err(Error::Argument(
                "context takeover with drop_oldest: what is compressed refers to what would be dropped".to_owned(),
            ));
        }
        Ok(())
    }
}

/// What happens to messages for a peer whose queue holds `max_backlog` bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Slow {
    /// A send is refused; what is published passes the peer over.
    #[default]
    Refuse,
    /// The connection is closed, with 1013.
    Close,
    /// The oldest messages that have not begun to leave give way to the new one.
    DropOldest,
}

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
    /// Who is let in, and how many.
    pub door: Door,
    /// TLS, with certificates to show. Nothing is plain TCP.
    pub tls: Option<Tls>,
    /// Whether other listeners of the same user may have the same address and port (SO_REUSEPORT), if all of them say so:
    /// one on each loop, say. The system spreads connections over them. Default no.
    pub reuse_port: bool,
}

/// Who is let in, and how many at a time.
#[derive(Clone, Debug)]
pub struct Door {
    /// Connections of the loop from which on no more are let in. Default: what the soft RLIMIT_NOFILE leaves but
    /// for 64.
    pub max_conns: Option<usize>,
    /// Connections of one address at a time. Default 1,024. IPv6 counts by /64.
    pub max_conns_per_ip: usize,
    /// Connections of one address in a second, four times as many in a burst. Default 256.
    pub connects_per_second_per_ip: usize,
    /// Whether the two limits above hold for loopback addresses and unix sockets, too. Default no.
    pub limit_loopback: bool,
    /// Networks whose word on whom they speak for (X-Forwarded-For) is believed: "10.0.0.0/8", "::1", "unix:".
    pub trusted_proxies: Vec<String>,
}

impl Default for Door {
    fn default() -> Self {
        Self {
            max_conns: None,
            max_conns_per_ip: 1024,
            connects_per_second_per_ip: 256,
            limit_loopback: false,
            trusted_proxies: Vec::new(),
        }
    }
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
    /// Whom to trust for `wss://`. Nothing is the system's certificates.
    pub tls: Option<Tls>,
    /// The name that the server's certificate has to be for, and that is asked for; nothing is the URL's.
    pub tls_name: Option<String>,
    /// A proxy: `http://host:port`, `socks5://host:port`, with `user:password@` if need be; or `env`, to have it from the
    /// environment as curl does. Nothing is none.
    pub proxy: Option<String>,
    /// Whether and how to connect again. Nothing is not at all.
    pub retry: Option<Reconnect>,
    /// How long the server may be silent before the system asks whether it is still there, and how often then
    /// (SO_KEEPALIVE). Nothing is not at all.
    pub keepalive_ms: Option<u32>,
    /// How long the system waits for an acknowledgement before it gives up (TCP_USER_TIMEOUT). Nothing is its own wish.
    pub user_timeout_ms: Option<u32>,
}

/// How to connect again after an end that was not this side's wish: after a random time from 0 to a bound that begins
/// with `first_ms` and doubles with each attempt, up to `longest_ms`. It begins behind the server's Retry-After, if
/// there is one.
#[derive(Clone, Copy, Debug)]
pub struct Reconnect {
    /// The bound of the first delay. Default 1 s.
    pub first_ms: u32,
    /// The bound that no delay exceeds. Default 30 s.
    pub longest_ms: u32,
    /// Attempts in a row. Default and `u32::MAX`: no end.
    pub count: u32,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self { first_ms: 1_000, longest_ms: 30_000, count: u32::MAX }
    }
}
