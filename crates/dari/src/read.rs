//! From a socket to the protocol: what is read, how much of it at a time, and who has to wait.

use crate::Slow;
use crate::cause::End;
use crate::conn::Flag;
use crate::deliver::{deliver, tell_messages, tell_open};
use crate::turn::Loop;
use crate::wire::Wire;
use dari_core::State;
use std::io::{self, Read};
use std::ops::Range;

/// Bytes that one read has room for at least.
const LEAST: usize = 4 << 10;

impl Loop {
    /// Looks at what waits of a connection, and reads on, for as long as it is its turn.
    pub(crate) fn read(&mut self, slot: u32) {
        // Accepted since it was last looked at: what its peer has said already comes after that.
        tell_open(&mut self.net, slot);
        let Some(conn) = self.net.conns.get(slot) else { return };
        if conn.is_over() || conn.is(Flag::Dialling) || conn.must_wait() {
            return;
        }
        let is_sealed = conn.wire().is_some();
        self.net.current = Some(slot);
        let (queued, has_rare) = (conn.queued(), conn.rare.is_some());
        self.net.queued_before = queued;
        let limits = self.net.endpoints.get(conn.endpoint).map(|at| &at.how.limits);
        if let Some((high, most, slow)) = limits.map(|limits| (limits.high_water, limits.max_backlog, limits.slow)) {
            self.net.room = high.min(most);
            self.net.tx.apart = slow == Slow::DropOldest;
        }
        if has_rare {
            self.read_waiting(slot);
        }
        if is_sealed {
            self.receive_wire(slot);
        } else {
            self.receive(slot);
        }
        self.net.flush(slot, &mut self.rx);
        self.net.current = None;
    }

    /// Looks at what was read and had to wait.
    fn read_waiting(&mut self, slot: u32) {
        let waiting = self.net.take_waiting(slot);
        for piece in waiting.chunks(self.rx.most()) {
            self.rx[..piece.len()].copy_from_slice(piece);
            self.feed(slot, 0..piece.len(), false);
            // Before the receive buffer is used again: answers may lie in it.
            self.net.flush(slot, &mut self.rx);
        }
    }

    fn receive(&mut self, slot: u32) {
        let most = self.rx.most();
        let mut budget = most;
        // Bytes of a long message that lie at the front of the receive buffer, and bytes that it has in all.
        let (mut held, mut whole) = (0, 0);
        loop {
            let Some(conn) = self.net.conns.get_mut(slot) else { return };
            if conn.is_over() || conn.is(Flag::Eof) || conn.must_wait() {
                return;
            }
            let hung_up = conn.is(Flag::HungUp);
            let room = if held > 0 {
                most.min(whole - held)
            } else if conn.is(Flag::Blocked) {
                // Of a peer that takes little, little is taken: what comes of it has to wait here.
                self.net.room.saturating_sub(conn.queued()).clamp(LEAST, most)
            } else {
                most
            };
            // The rest of a message that is longer still goes to where it will stay.
            let place = if conn.is_listened_to() && !conn.is(Flag::Blocked) {
                conn.core.room(most, &mut self.net.buffers)
            } else {
                None
            };
            let stays = place.is_some();
            let place = place.unwrap_or(&mut self.rx[held..held + room]);
            let room = place.len();
            let got = loop {
                match (&conn.socket).read(place) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    got => break got,
                }
            };
            if stays {
                self.arrived(slot, *got.as_ref().unwrap_or(&0));
            } else if held > 0 && !matches!(got, Ok(1..)) {
                self.feed(slot, 0..held, false);
            }
            match got {
                Ok(0) => return self.ended(slot),
                Ok(len) => {
                    budget = budget.saturating_sub(len);
                    // Less than there was room for: the socket is empty, unless its end is near, which has no
                    // edge of its own.
                    let drained = len < room && !hung_up;
                    if !stays {
                        held += len;
                        if held < whole && !drained {
                            continue;
                        }
                        whole = if drained || hung_up {
                            self.feed(slot, 0..held, drained);
                            0
                        } else {
                            self.feed_whole(slot, &mut held)
                        };
                        if whole > 0 {
                            continue;
                        }
                        held = 0;
                    }
                    if drained {
                        return;
                    }
                    if budget == 0 {
                        return self.net.read_later(slot);
                    }
                    self.net.flush(slot, &mut self.rx);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return self.net.end(slot, End::Io(error.raw_os_error().unwrap_or_default())),
            }
        }
    }

    /// Hands on the first `len` bytes of the receive buffer, but for a message at their end of which more is in the socket
    /// and which has room here: then `len` bytes of it are at the front of the buffer. How many it has in all.
    fn feed_whole(&mut self, slot: u32, len: &mut usize) -> usize {
        let begun = self.feed_until(slot, 0..*len, false, true)..*len;
        if begun.is_empty() {
            return 0;
        }
        // Before anything is moved: answers may lie there.
        self.net.flush(slot, &mut self.rx);
        let conn = self.net.conns.get(slot).filter(|conn| conn.is_listened_to() && !conn.is(Flag::Blocked));
        let whole = conn.and_then(|conn| conn.core.awaits(&self.rx[begun.clone()]));
        let Some(whole) = whole.filter(|whole| self.rx.hold(begun.clone(), *whole)) else {
            self.feed(slot, begun, false);
            return 0;
        };
        self.net.rx = self.rx.place();
        *len = begun.len();
        whole
    }

    /// Hands on that `len` bytes have been received to where they stay.
    fn arrived(&mut self, slot: u32, len: usize) {
        let event = self.net.io(slot, |core, io| core.arrived(len, io)).flatten();
        let now = self.net.now;
        if let Some(conn) = self.net.conns.get_mut(slot).filter(|_| len > 0) {
            conn.heard(now);
        }
        if let Some(event) = event {
            self.net.is_more_behind = false;
            deliver(&mut self.net, slot, event, false);
        }
    }

    /// Hands what lies at `place` in the receive buffer to the protocol, event by event. `drained`: there is nothing more
    /// in the socket.
    pub(crate) fn feed(&mut self, slot: u32, place: Range<usize>, drained: bool) {
        self.feed_until(slot, place, drained, false);
    }

    /// The same, and with `may_hold` only until a long message begins that is not all there. Where that is, or the end.
    fn feed_until(&mut self, slot: u32, place: Range<usize>, drained: bool, may_hold: bool) -> usize {
        let now = self.net.now;
        let Range { start: mut at, end: len } = place;
        while at < len {
            let Some(conn) = self.net.conns.get_mut(slot) else { return len };
            if conn.is_over() {
                return len;
            }
            if conn.must_wait() {
                self.net.keep_waiting(slot, &self.rx[at..len]);
                return len;
            }
            if let Some(finish) = conn.rare.as_mut().and_then(|rare| rare.finish.as_mut()) {
                // It is over but for the peer's last words, which are not listened to for ever.
                finish.left = finish.left.saturating_sub(len - at);
                if finish.left == 0 {
                    let end = finish.end;
                    self.net.end(slot, end);
                    return len;
                }
            } else if conn.core.state() == State::Open {
                conn.heard(now);
                let mut input = &mut self.rx[at..len];
                tell_messages(&mut self.net, slot, &mut input);
                let told = len - input.len();
                if told > at {
                    at = told;
                    continue;
                }
                let conn = self.net.conns.get(slot).filter(|conn| may_hold && conn.is_listened_to());
                if conn.is_some_and(|conn| conn.core.awaits(&self.rx[at..len]).is_some()) {
                    return at;
                }
            } else if conn.is(Flag::Served) && conn.core.is_between_requests() {
                conn.mark = now;
                self.net.arm(slot);
            }
            let mut input = &mut self.rx[at..len];
            let before = input.len();
            let event = self.net.io(slot, |core, io| core.receive(&mut input, io)).flatten();
            let taken = before - input.len();
            at += taken;
            self.net.is_more_behind = at < len;
            match event {
                Some(event) => deliver(&mut self.net, slot, event, drained && at == len),
                None if taken == 0 => {}
                None => continue,
            }
            if taken == 0 && self.net.conns.get(slot).is_some_and(|conn| !conn.must_wait()) {
                return len;
            }
        }
        len
    }

    /// The peer has ended its side of the stream.
    pub(crate) fn ended(&mut self, slot: u32) {
        let Some(conn) = self.net.conns.get_mut(slot) else { return };
        conn.set(Flag::Eof, true);
        let core = &conn.core;
        let end = match (core.state(), conn.finish()) {
            // What is queued may still reach it.
            (_, Some(_)) => return self.net.touch(slot),
            (State::Connecting, _) if core.is_between_requests() => End::EofBetween,
            // It has asked, and wants to hear the answer.
            (State::Connecting, _) if !core.wants_input() => return,
            _ => End::Eof,
        };
        if let (End::Eof, Some(how)) = (end, conn.wire().map(Wire::end)) {
            conn.rare().detail = Some(how.into());
        }
        self.net.end(slot, end);
    }
}
