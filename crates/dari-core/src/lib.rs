//! The WebSocket protocol (RFC 6455) without input or output: bytes in, events out.
//!
//! ```text
//!   bytes of the peer --> Connection::receive --> Event --> the caller's business
//!                                  |                               |
//!                                  v                               v
//!                                Output  <-- Connection::send, accept, respond, ping, close
//! ```
//!
//! One [`Connection`] is one peer, in either role. It has no clock, no socket, no thread and no source of
//! randomness: what it needs comes in through [`Io`], and all that it wants to say is appended to the caller's
//! [`Output`]. [`Connection::receive`] never fails: what a peer does wrong is an outcome, a [`Violation`].
//! What the caller does wrong is a [`Misuse`], and then nothing has changed.
//!
//! ```
//! use dari_core::{Buffers, Connection, Event, Io, Limits, Message, NoEntropy};
//! use std::sync::Arc;
//!
//! let mut connection = Connection::server(Arc::new(Limits::default()));
//! let (mut out, mut buffers, mut entropy) = (Vec::new(), Buffers::default(), NoEntropy);
//! let mut packet = *b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
//!     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\
//!     \x81\x82\0\0\0\0hi";
//! let mut input = &mut packet[..];
//! loop {
//!     let mut io = Io { entropy: &mut entropy, buffers: &mut buffers, out: &mut out };
//!     match connection.receive(&mut input, &mut io) {
//!         Some(Event::Upgrade) => connection.accept(None, &[], &mut io).unwrap(),
//!         Some(Event::Message { kind, payload }) => {
//!             connection.send(Message { kind, data: &payload }, &mut io).unwrap();
//!         }
//!         Some(_) => {}
//!         None => break,
//!     }
//! }
//! assert!(out.ends_with(b"\x81\x02hi"));
//! ```
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod body;
mod buffers;
mod client;
mod close;
mod connection;
mod deflate;
mod error;
mod extension;
mod frame;
mod handshake;
mod head;
mod http;
mod io;
mod limits;
mod mask;
mod message;
mod receive;
mod server;
mod state;
mod url;
mod utf8;

pub use buffers::{Buffers, OutOfMemory};
pub use client::{Opening, check_protocols};
pub use close::{By, Closing, Failure, Received, check as check_close, may_be_sent};
pub use connection::{Connection, Event};
pub use error::{Misuse, Violation};
pub use frame::{Head, MAX_HEADER};
pub use handshake::{is_same_origin, offered};
pub use http::{Request, status_reason};
pub use io::{Entropy, Io, NoEntropy, Output};
pub use limits::{Deflate, Limits};
pub use message::{Framed, Kind, Message, Payload, Prepared, Squeeze};
pub use state::State;
pub use url::{Authority, BadUrl, Host, Login, Url};

#[doc(hidden)]
pub mod testing {
    //! What benches and tests of other crates measure on its own.
    pub use crate::handshake::accept_key;
    pub use crate::mask::unmask;
}
