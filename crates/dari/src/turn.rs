//! One turn of the loop: poll, read, decode, deliver, settle.
//!
//! ```text
//! poll -> accept
//!      -> read -> feed -> core.receive -> deliver -> hook -> net.send -> tx
//!      -> timers, what other threads ask for
//!      -> settle each connection that was touched: open, flush, drain, finish, bury
//! ```
//!
//! What a hook does to a connection is looked at when it has returned, before the turn ends.

use crate::cause::End;
use crate::conn::{Conn, Finish, Flag, What};
use crate::deliver::{
    tell_again, tell_drain, tell_dropped, tell_end, tell_limited, tell_log, tell_open, tell_shut_down, timed,
};
use crate::net::Kind;
use crate::remote::{Entries, Entry};
use crate::rx::Rx;
use crate::timers::{Due, Timers};
use crate::tls::RECORD;
use crate::{Config, Error, Net, Readiness, sys};
use dari_core::State;
use mio::Events;
use std::io::{self, Read};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

/// What a loop may be told to read at a time, and to take in at a time.
const MOST_READ: usize = 64 << 20;
const MOST_EVENTS: usize = 1 << 16;
/// How often a turn looks again at what settling has touched.
const SETTLINGS: usize = 16;

/// An event loop, and everything that lives on it. It belongs to the thread that made it.
pub struct Loop {
    pub(crate) net: Net,
    events: Events,
    entries: Entries,
    /// The receive buffer of all connections.
    pub(crate) rx: Rx,
    /// The same for what is encrypted; empty until it is needed.
    pub(crate) cipher: Box<[u8]>,
}

impl Loop {
    /// Makes a loop.
    pub fn new(config: Config) -> Result<Self, Error> {
        let (max_read, max_events) =
            (config.max_read.clamp(RECORD, MOST_READ), config.max_events.clamp(1, MOST_EVENTS));
        let mut net = Net::new(config).map_err(|error| Error::system("making a poller", &error))?;
        let rx = Rx::new(max_read);
        net.rx = rx.place();
        let (events, entries) = (Events::with_capacity(max_events), net.remote.entries());
        Ok(Self { net, events, entries, rx, cipher: Box::default() })
    }

    /// What lives on the loop.
    pub fn net(&mut self) -> &mut Net {
        &mut self.net
    }

    /// What lives on the loop, to look at.
    pub fn net_ref(&self) -> &Net {
        &self.net
    }

    /// Runs until [`Net::stop`].
    pub fn run(&mut self) -> Result<(), Error> {
        while !std::mem::take(&mut self.net.stopping) {
            self.turn(None)?;
        }
        Ok(())
    }

    /// Waits for at most `timeout_ms` (for ever without it), then handles what is ready.
    pub fn turn(&mut self, timeout_ms: Option<u32>) -> Result<(), Error> {
        if self.net.is_forked() {
            return Err(Error::State("a forked child may only free a loop of its parent's".to_owned()));
        }
        let most = [timeout_ms, self.net.timeout()].into_iter().flatten().min();
        // A millisecond more than is left, or the last one would be spent turning.
        let wait =
            most.map(|ms| Duration::from_millis(if ms == 0 || Some(ms) == timeout_ms { ms } else { ms + 1 }.into()));
        self.net.deal();
        self.net.in_turn = true;
        let polled = self.net.poll.poll(&mut self.events, wait);
        self.net.tick();
        let result = match polled {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.events.clear();
                Ok(())
            }
            Err(error) => Err(Error::system("polling", &error)),
        };
        if result.is_ok() {
            let ready = std::mem::take(&mut self.net.ready);
            let unlisted = std::mem::take(&mut self.net.ready_unlisted);
            self.handle_events();
            self.read_again(ready);
            if unlisted {
                self.for_all_that_are(Flag::Ready, |event_loop, id| event_loop.read_once_more(id));
            }
            self.fire_timers();
            self.do_for_others();
            self.settle_all();
            self.net.watch_memory();
            self.net.decay_later(self.rx.is_wide());
            tell_shut_down(&mut self.net);
            tell_log(&mut self.net);
        }
        self.net.in_turn = false;
        self.net.arm_host();
        result
    }

    /// Ends everything on the loop: 1001 to every open peer, and `close` for every id. Only dropping the loop is
    /// left to do then.
    pub fn close(&mut self) {
        if self.net.is_forked() {
            return;
        }
        self.net.in_turn = true;
        self.net.tick();
        self.net.closing = true;
        self.net.shutdown = None;
        self.net.stop_dials();
        for listener in self.net.listeners() {
            // It is on the list, so it is there.
            self.net.close_listener(listener).unwrap_or_default();
        }
        let mut slot = self.net.conns.next(None);
        while let Some(index) = slot {
            self.say_goodbye(index);
            slot = self.net.conns.next(Some(index));
        }
        while !self.net.touched.is_empty() || self.net.touched_unlisted || self.net.run.is_open() {
            self.settle_all();
        }
        tell_log(&mut self.net);
        self.entries.drop_all();
        self.net.in_turn = false;
    }

    // --- what the poller has to say -----------------------------------------------------------------------------

    fn handle_events(&mut self) {
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            let token = event.token().0 as u64;
            let low = token & ((1 << 48) - 1);
            match token >> 48 {
                kind if kind == Kind::Conn as u64 => {
                    let over = event.is_read_closed() || event.is_write_closed() || event.is_error();
                    self.conn_event(
                        self.net.tag | low,
                        event.is_readable() || over,
                        event.is_writable() || over,
                        over,
                    );
                    if event.is_error() {
                        self.failed(self.net.tag | low);
                    }
                }
                kind if kind == Kind::Listener as u64 => {
                    if let Some(slot) = self.net.endpoints.find(self.net.tag | low) {
                        self.accept(slot);
                    }
                }
                kind if kind == Kind::Watch as u64 => {
                    let failed = event.is_error() || event.is_read_closed() || event.is_write_closed();
                    let readiness = Readiness {
                        read: event.is_readable() || failed,
                        write: event.is_writable() || event.is_error(),
                    };
                    self.net.watch_ready(self.net.tag | low, readiness);
                }
                // Woken by a remote or by the host's timer: what for is looked up below.
                _ => {}
            }
        }
        self.events = events;
        for (id, readiness) in self.net.always_ready() {
            self.net.watch_ready(id, readiness);
        }
    }

    fn accept(&mut self, slot: u32) {
        if self.net.accept_all(slot) {
            // More may wait, and no new edge will say so.
            self.net.timers.set(self.net.now, Due::Accept(slot));
        }
    }

    fn conn_event(&mut self, id: u64, readable: bool, writable: bool, over: bool) {
        let Some(slot) = self.net.conns.find(id) else { return };
        let Some(conn) = self.net.conns.get_mut(slot) else { return };
        if conn.is(Flag::Dialling) {
            self.net.dialled(slot);
            // It got through, and the server has ended it in the same breath: read on to the end.
            if over && let Some(conn) = self.net.conns.get_mut(slot).filter(|conn| !conn.is(Flag::Dialling)) {
                conn.set(Flag::HungUp, true);
            }
            return self.settle(slot);
        }
        if over {
            conn.set(Flag::HungUp, true);
        }
        if writable && conn.is(Flag::Blocked) {
            conn.set(Flag::Blocked, false);
            self.net.flush(slot, &mut []);
            self.net.touch(slot);
        }
        // One that was cut short in the last turn is read further below: once a turn is its share.
        let is_next = self.net.conns.get(slot).is_some_and(|conn| !conn.is(Flag::Dialling) && !conn.is(Flag::Ready));
        if readable && is_next {
            self.read(slot);
            self.net.watch_memory();
        }
        self.settle(slot);
    }

    /// The kernel has an error for a connection. One that is read from has told it already; one that waits for its
    /// host would not.
    fn failed(&mut self, id: u64) {
        let Some(slot) = self.net.conns.find(id) else { return };
        if let Some(conn) = self.net.conns.get(slot)
            && conn.must_wait()
            && let Ok(Some(error)) = conn.socket.take_error()
        {
            self.net.end(slot, End::Io(error.raw_os_error().unwrap_or_default()));
        }
    }

    fn read_again(&mut self, ready: Vec<u64>) {
        for id in ready {
            self.read_once_more(id);
        }
    }

    fn read_once_more(&mut self, id: u64) {
        if let Some(slot) = self.net.conns.find(id) {
            if let Some(conn) = self.net.conns.get_mut(slot) {
                conn.set(Flag::Ready, false);
            }
            self.read(slot);
            self.net.watch_memory();
            self.settle(slot);
        }
    }

    /// Finds by their flag those that are on no list, and with them all others that have it.
    fn for_all_that_are(&mut self, flag: Flag, what: impl Fn(&mut Self, u64)) {
        let mut slot = self.net.conns.next(None);
        while let Some(index) = slot {
            if self.net.conns.get(index).is_some_and(|conn| conn.is(flag)) {
                what(self, self.net.conns.id(index));
            }
            slot = self.net.conns.next(Some(index));
        }
    }

    // --- time, and other threads --------------------------------------------------------------------------------

    fn fire_timers(&mut self) {
        let now = self.net.now;
        while let Some(due) = self.net.timers.pop(now) {
            match due {
                Due::Conn(slot) => {
                    self.conn_due(slot);
                    self.settle(slot);
                }
                Due::Accept(slot) => self.accept_later(slot),
                Due::User(slot) => self.net.fire(slot),
                Due::Report(slot) => tell_limited(&mut self.net, slot),
                Due::Race(slot) => self.net.race_on(slot),
                Due::Dial(slot) => self.net.dial_again(slot),
                Due::Shutdown => self.net.shut_on(),
                Due::Memory => self.net.lose_patience(),
                Due::Decay => {
                    self.net.buffers.decay();
                    self.net.shared.sweep();
                    self.rx.narrow();
                    self.net.rx = self.rx.place();
                    self.net.decays = false;
                    if !self.net.decay_later(self.rx.is_wide()) {
                        sys::trim_heap();
                    }
                }
            }
        }
    }

    fn accept_later(&mut self, slot: u32) {
        if self.net.accept_all(slot) {
            self.net.timers.set(self.net.now + 1, Due::Accept(slot));
        }
    }

    fn conn_due(&mut self, slot: u32) {
        let now = self.net.now;
        let Some(limits) = self.net.endpoint_of(slot).map(|at| Arc::clone(&at.limits)) else { return };
        let today = Timers::short(now);
        let is_due = |conn: &&mut Conn| conn.is(Flag::Armed) && !Timers::is_before(today, conn.deadline);
        let Some(conn) = self.net.conns.get_mut(slot).filter(is_due) else { return };
        conn.set(Flag::Armed, false);
        let (at, what) = conn.due(&limits);
        if at > now {
            return self.net.arm(slot);
        }
        let finish = conn.finish();
        let end = match what {
            What::Handshake => {
                let stage = conn.stage();
                conn.rare().detail = Some(stage.into());
                End::HandshakeTimeout(limits.handshake_ms)
            }
            What::KeepAlive => End::Answered,
            What::Stall => End::Stalled(limits.stall_ms),
            What::Close if conn.is_shutdown() => {
                self.net.count_dropped(slot);
                End::Shutdown
            }
            What::Close => finish.map_or(End::CloseTimeout(limits.close_ms), |finish| finish.end),
            What::Idle if conn.is(Flag::Pinged) => {
                // The peer has most likely gone; if it is only deaf, it may still read why.
                self.net.io(slot, |core, io| core.close(1001, "no answer to a ping", io));
                self.net.flush(slot, &mut []);
                End::IdleTimeout(limits.idle_ms)
            }
            What::Idle => {
                conn.set(Flag::Pinged, true);
                self.net.io(slot, |core, io| core.ping(b"", io));
                return self.net.arm(slot);
            }
        };
        self.net.end(slot, end);
    }

    fn do_for_others(&mut self) {
        self.net.take_answers();
        for _ in 0..self.entries.begin(self.events.capacity()) {
            let Some(entry) = self.entries.next() else { break };
            match entry {
                Entry::Call(call) => timed(&mut self.net, "call", None, |net| call.call(net)),
                Entry::Publish(what) => {
                    self.net.publish_untold(&what.topic, what.except, &what.message.apart());
                }
                // Who has gone meanwhile is passed over, here and below.
                Entry::Send(conn, message) => {
                    if let Ok(slot) = self.net.living(conn) {
                        self.net.send_untold(slot, &message);
                    }
                }
                Entry::Close(conn, code, reason) => {
                    let _ = self.net.close(conn, code, &reason);
                }
            }
        }
        if self.entries.take_stop() {
            self.net.stopping = true;
        }
    }

    // --- settling -----------------------------------------------------------------------------------------------

    fn settle_all(&mut self) {
        for _ in 0..SETTLINGS {
            self.net.deal();
            let touched = std::mem::take(&mut self.net.touched);
            let unlisted = std::mem::take(&mut self.net.touched_unlisted);
            if touched.is_empty() && !unlisted {
                return;
            }
            for id in touched {
                if let Some(slot) = self.net.conns.find(id) {
                    self.settle(slot);
                }
            }
            if unlisted {
                self.for_all_that_are(Flag::Touched, |event_loop, id| {
                    if let Some(slot) = event_loop.net.conns.find(id) {
                        event_loop.settle(slot);
                    }
                });
            }
        }
    }

    /// Does what is due on a connection now that whatever has touched it is done.
    fn settle(&mut self, slot: u32) {
        match self.net.conns.get_mut(slot) {
            Some(conn) if conn.is_at_rest() => return,
            Some(conn) => conn.set(Flag::Touched, false),
            None => return,
        }
        tell_open(&mut self.net, slot);
        if self.net.conns.get(slot).is_some_and(|conn| conn.is(Flag::Blocked)) {
            // For how long is watched from now on.
            self.net.arm(slot);
        } else {
            self.net.flush(slot, &mut []);
        }
        self.drained(slot);
        tell_dropped(&mut self.net, slot);
        self.net.leave_if_idle(slot);
        self.finish(slot);
        if self.net.conns.get(slot).is_some_and(|conn| conn.is_over()) {
            self.bury(slot);
        }
    }

    /// The queue has gone down: a pong that waited goes out, a file is read on, the host may send on.
    fn drained(&mut self, slot: u32) {
        let low = self.net.endpoint_of(slot).map_or(0, |at| at.limits.low_water);
        let Some(conn) = self.net.conns.get_mut(slot).filter(|conn| !conn.is_over() && !conn.is(Flag::Dialling))
        else {
            return;
        };
        if conn.outbox.is_none() && conn.core.owes_pong() {
            self.net.io(slot, |core, io| core.unblocked(io));
        }
        if self.net.queued(slot) > low {
            return;
        }
        let Some(conn) = self.net.conns.get_mut(slot) else { return };
        if conn.rare.as_ref().is_some_and(|rare| rare.file.is_some()) {
            conn.set(Flag::OwesDrain, false);
            self.net.pump_file(slot);
        } else if conn.is(Flag::OwesDrain) && matches!(conn.core.state(), State::Connecting | State::Open) {
            conn.set(Flag::OwesDrain, false);
            tell_drain(&mut self.net, slot);
        }
    }

    /// Takes the next step on the way out.
    fn finish(&mut self, slot: u32) {
        let Some(conn) = self.net.conns.get_mut(slot).filter(|conn| !conn.is_over()) else { return };
        if conn.core.state() == State::Closed && conn.finish().is_none() {
            // The last answer of plain HTTP: the peer may still be sending what nobody wants to read.
            conn.rare().finish = Some(Finish::new(End::Answered, true, !conn.is(Flag::Eof)));
            conn.mark = self.net.now;
        }
        let is_empty = conn.outbox.is_none();
        if is_empty && conn.is(Flag::Eof) && conn.core.is_between_requests() && conn.finish().is_none() {
            return self.net.end(slot, End::EofBetween);
        }
        let eof = conn.is(Flag::Eof);
        let Some(mut finish) = conn.finish() else { return };
        let is_empty = is_empty && self.net.close_wire(slot);
        if is_empty && finish.half_close {
            finish.half_close = false;
            // It fails when the connection is gone, which the next read tells.
            if let Some(conn) = self.net.conns.get_mut(slot) {
                let _ = conn.socket.shutdown(Shutdown::Write);
                conn.rare().finish = Some(finish);
            }
        }
        if is_empty && (eof || !finish.wait) {
            return self.net.end(slot, finish.end);
        }
        self.net.arm(slot);
    }

    /// Tells the end of a connection, and takes it off the loop.
    fn bury(&mut self, slot: u32) {
        self.net.part(slot);
        let again = tell_end(&mut self.net, slot);
        self.net.remove(slot);
        if let Some(again) = again {
            tell_again(&mut self.net, again);
        }
    }

    /// The loop goes: what can be said is said.
    fn say_goodbye(&mut self, slot: u32) {
        self.net.io(slot, |core, io| core.close(1001, "", io));
        self.net.flush(slot, &mut []);
        self.net.close_wire(slot);
        if let Some(conn) = self.net.conns.get_mut(slot).filter(|conn| !conn.is(Flag::Dialling)) {
            let _ = conn.socket.shutdown(Shutdown::Write);
            // A socket that is closed with unread bytes resets the connection, and the 1001 is lost.
            let _ = (&conn.socket).read(&mut self.rx);
        }
        self.net.end(slot, End::Shutdown);
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        if self.net.is_forked() {
            if let Some(resolver) = self.net.resolver.take() {
                resolver.forget();
            }
            return self.net.forget_files();
        }
        // Those who asked from other threads hear of it, even if the loop could not be closed in order.
        self.entries.drop_all();
    }
}
