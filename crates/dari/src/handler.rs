//! What a program hears: the hooks, the same for servers and clients.

use crate::{Close, ConnId, DialId, Limited, Net};
use dari_core::Message;

/// What is called when something happens on a connection.
///
/// Hooks run inside [`Loop::run`](crate::Loop::run), [`turn`](crate::Loop::turn) and
/// [`close`](crate::Loop::close) only, never inside another call. Every id that was told gets exactly one
/// [`close`](Self::close), last.
#[expect(unused_variables, reason = "the defaults do nothing")]
pub trait Handler {
    /// The handshake is done: messages may flow.
    fn open(&mut self, net: &mut Net, conn: ConnId) {}

    /// A message arrived.
    fn message(&mut self, net: &mut Net, conn: ConnId, message: Message<'_>) {}

    /// A part of a message arrived, in place of whole ones ([`Limits::parts`](crate::Limits::parts)). The parts of a
    /// text are cut anywhere, within characters, too.
    fn part(&mut self, net: &mut Net, conn: ConnId, part: Message<'_>, is_last: bool) {}

    /// What was buffered has gone: sending may go on.
    fn drain(&mut self, net: &mut Net, conn: ConnId) {}

    /// Messages that a slow peer will not get: they were dropped, or passed it over. Told at the end of the turn.
    fn dropped(&mut self, net: &mut Net, conn: ConnId, messages: usize, bytes: usize) {}

    /// Peers were turned away at the door of a listener; at most once a second for each reason.
    fn limited(&mut self, net: &mut Net, what: &Limited) {}

    /// The peer answered a ping.
    fn pong(&mut self, net: &mut Net, conn: ConnId, data: &[u8]) {}

    /// The connection failed; [`close`](Self::close) follows at once with the same story.
    fn error(&mut self, net: &mut Net, conn: ConnId, why: &Close) {}

    /// A dial will connect again: as the `attempt`th time in a row, from 1, after `delay_ms`. Comes after the
    /// [`close`](Self::close) of the connection before.
    fn retry(&mut self, net: &mut Net, dial: DialId, attempt: u32, delay_ms: u32) {}

    /// The connection is over, opened or not. Of a dial without [`Close::will_retry`] it was the last one.
    fn close(&mut self, net: &mut Net, conn: ConnId, why: &Close) {}

    /// An opening handshake from an allowed origin: answer now or later with [`Net::accept`] or [`Net::respond`].
    fn upgrade(&mut self, net: &mut Net, conn: ConnId) {
        // The request is there and asks for an upgrade, so this can not be refused.
        let _ = net.accept(conn, None, &[]);
    }

    /// Any other request, its body included: answer now or later with [`Net::respond`].
    fn http(&mut self, net: &mut Net, conn: ConnId) {
        net.respond_default(conn);
    }
}

/// Which way a descriptor is ready, or should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// It can be read from.
    pub read: bool,
    /// It can be written to.
    pub write: bool,
}

/// Something to do on the loop's thread: exactly one of the two is called.
pub trait RemoteCall: Send {
    /// On the loop's thread, inside a turn.
    fn call(self: Box<Self>, net: &mut Net);

    /// The loop is gone, or going.
    fn dropped(self: Box<Self>) {}
}
