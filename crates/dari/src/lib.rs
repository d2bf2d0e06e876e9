//! WebSocket servers and clients on one [mio] event loop.
//!
//! ```text
//!  epoll -> read -> rx -> dari_core::Connection::receive -> Event -> Handler -> Net::send -> tx / outbox
//!                                                                                              |
//!  epoll <------------------------ sendmsg <-- flush: own answers after the read, others at turn end
//! ```
//!
//! A [`Loop`] belongs to one thread. A [`Handler`] hears of what happens, and gets the [`Net`]: everything that
//! lives on the loop. Connections, listeners, timers and watches are named by ids, which go stale and never lie.
//!
//! ```
//! use dari::{Config, ConnId, Error, Handler, Listen, Loop, Message, Net};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     fn message(&mut self, net: &mut Net, conn: ConnId, message: Message<'_>) {
//!         // Gone, or too slow to take its own words back: both are the peer's affair.
//!         let _ = net.send(conn, message);
//!     }
//! }
//!
//! fn main() -> Result<(), Error> {
//!     let mut event_loop = Loop::new(Config::default())?;
//!     let net = event_loop.net();
//!     let listener = net.listen("127.0.0.1:0", Listen::default(), Box::new(Echo))?;
//!     println!("listening on port {:?}", net.listener_port(listener));
//!     net.stop(); // or go on until somebody calls `stop`
//!     event_loop.run()
//! }
//! ```

#[cfg(not(target_os = "linux"))]
compile_error!("dari needs Linux: epoll, timerfd, accept4");
#[cfg(not(target_pointer_width = "64"))]
compile_error!("dari needs 64-bit pointers: its ids are epoll tokens");

mod cause;
mod config;
mod conn;
mod deliver;
mod dial;
mod door;
mod endpoint;
mod error;
mod flow;
mod folder;
mod handler;
mod ids;
mod log;
mod mailbox;
mod memory;
mod net;
mod outbox;
mod output;
mod proxy;
mod publish;
mod race;
mod read;
mod remote;
mod resolve;
mod retry;
mod rx;
mod shutdown;
mod stats;
mod sync;
mod sys;
mod timers;
mod tls;
mod topics;
mod tunnel;
mod turn;
mod verbs;
mod visitors;
mod watch;
mod wire;

pub use cause::{By, Cause, Close};
pub use config::{Config, Connect, Door, Limits, Listen, NEVER, Origins, Reconnect, Slow};
pub use dari_core::{Deflate, Kind, Message, Request, Squeeze, State};
pub use door::{Limited, Which};
pub use error::Error;
pub use handler::{Handler, Readiness, RemoteCall};
pub use ids::{ConnId, DialId, ListenerId, TimerId, WatchId};
pub use log::{Level, Line, Log};
pub use net::Net;
pub use remote::Remote;
pub use stats::{Past, Stats};
pub use sys::LostByFork;
pub use tls::Tls;
pub use turn::Loop;
pub use verbs::{Payload, Sent};
