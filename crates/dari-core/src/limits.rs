//! What a peer may ask for. Every number here bounds memory or work that the peer's bytes cause.

/// The limits of one connection. The defaults stand here and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest message in bytes, summed over its fragments. Default 16 MiB; `usize::MAX` lifts it.
    pub max_message: usize,
    /// Empty frames that one message may hold before its last. Default 1,000.
    pub max_empty_fragments: u32,
    /// Pings and pongs that the peer may send between two calls of [`Connection::renew`](crate::Connection::renew),
    /// which makes a rate of it. Default 250,000.
    pub max_controls: u32,
    /// Longest request or response head in bytes. Default 16 KiB.
    pub max_head: usize,
    /// Header lines in a head. Default 100; more than 100 has no effect.
    pub max_headers: usize,
    /// Longest request target in bytes. Default 8 KiB.
    pub max_target: usize,
    /// Longest body of a plain HTTP request in bytes, decoded. Default 1 MiB.
    pub max_body: usize,
    /// Whether messages are handed on in parts as they come, in place of whole ones. Default no.
    pub parts: bool,
    /// permessage-deflate (RFC 7692). Default off.
    pub deflate: Option<Deflate>,
}

/// How to compress, where the peer agrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflate {
    /// Whether messages may refer to earlier ones: smaller, for some 420 KiB a connection. Default no.
    pub takeover: bool,
    /// From 1, fast, to 9, small. Default 3.
    pub level: u8,
    /// Messages shorter than this go out as they are, in bytes. Default 64.
    pub min: usize,
}

impl Default for Deflate {
    fn default() -> Self {
        Self { takeover: false, level: 3, min: 64 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message: 16 << 20,
            max_empty_fragments: 1_000,
            max_controls: 250_000,
            max_head: 16 << 10,
            max_headers: 100,
            max_target: 8 << 10,
            max_body: 1 << 20,
            parts: false,
            deflate: None,
        }
    }
}
