//! TLS between the socket and the rest of the loop, which does not know of it: what is read comes out of here as if it
//! had been read so, and what is queued goes through here on its way to the socket.

use crate::cause::End;
use crate::conn::{Conn, Finish, Flag};
use crate::outbox::Outbox;
use crate::tls::{RECORD, Session, Tls, TlsFailure};
use crate::turn::Loop;
use crate::{Error, Net};
use dari_core::{Buffers, State};
use socket2::Socket;
use std::io::{self, Read};

/// Bytes that are encrypted at a time.
const STEP: usize = 4 * RECORD;

/// The TLS of one connection.
pub(crate) struct Wire {
    session: Session,
    /// What the kernel has not taken yet, from `sent` on.
    out: Vec<u8>,
    sent: usize,
    /// What came of the peer before there was TLS.
    early: Vec<u8>,
    /// Messages that end in what has not gone yet.
    messages: usize,
    /// The peer has said that nothing follows.
    notified: bool,
    /// What the loop's memory was last told of it.
    charged: usize,
}

impl Wire {
    pub(crate) fn server(tls: &Tls) -> Result<Box<Self>, Error> {
        Ok(Self::new(Session::server(tls)?, Vec::new()))
    }

    pub(crate) fn client(tls: &Tls, name: &str) -> Result<Box<Self>, Error> {
        let mut out = Vec::new();
        Ok(Self::new(Session::client(tls, name, &mut out)?, out))
    }

    fn new(session: Session, out: Vec<u8>) -> Box<Self> {
        Box::new(Self { session, out, sent: 0, early: Vec::new(), messages: 0, notified: false, charged: 0 })
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    /// Encrypted bytes that wait.
    pub(crate) fn queued(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Messages of which it is not known that they have gone.
    pub(crate) fn messages(&self) -> usize {
        self.messages
    }

    pub(crate) fn charged(&self) -> usize {
        self.charged
    }

    pub(crate) fn peer_certificate(&self) -> Option<&[u8]> {
        self.session.peer_certificate()
    }

    /// What the handshake has come to, in words.
    pub(crate) fn agreed(&self) -> &'static str {
        self.session.agreed()
    }

    /// How the peer's stream ended, in words.
    pub(crate) fn end(&self) -> &'static str {
        match (self.notified, self.is_handshaking()) {
            (true, _) => "TLS says that nothing is missing",
            (_, true) => "in the middle of the TLS handshake",
            _ => "without TLS's close_notify: something may be missing",
        }
    }

    /// Writes what waits. Whether all of it has gone. Ciphertext leaves here and nowhere else: tests/examples/valgrind.supp
    /// knows it by this name.
    #[inline(never)]
    fn write(&mut self, socket: &Socket) -> io::Result<bool> {
        while self.sent < self.out.len() {
            match socket.send_with_flags(&self.out[self.sent..], libc::MSG_NOSIGNAL) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        (self.sent, self.messages) = (0, 0);
        self.out.clear();
        Ok(true)
    }

    /// Encrypts and writes a queue, as far as the kernel takes it.
    fn write_queue(
        &mut self,
        queue: &mut Outbox,
        socket: &Socket,
        rx: &[u8],
        scratch: &mut Vec<u8>,
        buffers: &Buffers,
    ) -> Result<bool, End> {
        loop {
            let done = self.write(socket).map_err(|error| End::Io(error.raw_os_error().unwrap_or_default()))?;
            if !done || queue.is_empty() || self.is_handshaking() {
                return Ok(done);
            }
            let piece = queue.front(rx, STEP, RECORD, scratch).map_err(|_| End::out_of_memory(buffers))?;
            let len = piece.len();
            self.session.send(piece, &mut self.out).map_err(|failure| failed(&failure, buffers))?;
            let before = queue.messages();
            queue.advance(len);
            self.messages += before - queue.messages();
        }
    }
}

fn failed(failure: &TlsFailure, buffers: &Buffers) -> End {
    if failure.is_memory {
        return End::out_of_memory(buffers);
    }
    End::Tls { alert: failure.alert, received: failure.received }
}

impl Net {
    /// Encrypts a connection from now on.
    pub(crate) fn set_wire(&mut self, slot: u32, wire: Box<Wire>) {
        if let Some(conn) = self.conns.get_mut(slot) {
            conn.rare().wire = Some(wire);
            self.recount_wire(slot);
        }
    }

    /// Keeps what came behind the last word of a proxy: of an encrypted connection it is to be decrypted like the rest.
    pub(crate) fn keep_early(&mut self, slot: u32, bytes: &[u8]) {
        match self.conns.get_mut(slot).and_then(|conn| conn.rare.as_mut()?.wire.as_mut()) {
            Some(wire) => {
                if wire.early.try_reserve_exact(bytes.len()).is_err() {
                    return self.run_short(slot);
                }
                wire.early.extend_from_slice(bytes);
            }
            None => self.keep_waiting(slot, bytes),
        }
    }

    /// Writes what waits of an encrypted connection.
    pub(crate) fn flush_wire(&mut self, slot: u32, rx: &[u8]) {
        let now = self.now.max(1);
        let is_current = self.current == Some(slot);
        let Some(conn) = self.conns.get_mut(slot) else { return };
        let Some(mut wire) = conn.rare.as_mut().and_then(|rare| rare.wire.take()) else { return };
        let mut failed = None;
        if !conn.is(Flag::Blocked) && !conn.is_over() {
            // Buffers of the loop's, so that an idle connection has none.
            if wire.out.is_empty() {
                wire.out = std::mem::take(&mut self.sealed);
            }
            let queue = match &mut conn.outbox {
                Some(outbox) => outbox,
                None if is_current => &mut self.tx,
                None => &mut self.nothing,
            };
            let before = queue.len() + wire.queued();
            match wire.write_queue(queue, &conn.socket, rx, &mut self.scratch, &self.buffers) {
                Ok(done) => conn.flags.set(Flag::Blocked, !done),
                Err(end) => failed = Some(end),
            }
            if queue.len() + wire.queued() < before {
                queue.moved = now;
            }
            if wire.out.is_empty() {
                let out = std::mem::take(&mut wire.out);
                if out.capacity() > self.sealed.capacity() {
                    self.sealed = out;
                }
            }
        }
        let waits = wire.queued() > 0;
        conn.rare().wire = Some(wire);
        self.keep_tx(slot, rx);
        let Some(conn) = self.conns.get_mut(slot) else { return };
        match conn.outbox.as_ref().map(|outbox| outbox.is_empty()) {
            Some(true) if !waits => self.drop_outbox(slot),
            // There is one for as long as anything waits: it knows for how long.
            None if waits => conn.outbox.get_or_insert_default().moved = now,
            _ => self.recount(slot),
        }
        self.recount_wire(slot);
        if let Some(end) = failed {
            self.end(slot, end);
        }
    }

    /// Says on an encrypted connection that nothing follows. Whether all has gone out.
    pub(crate) fn close_wire(&mut self, slot: u32) -> bool {
        // Behind it nothing may follow.
        if self.conns.get(slot).and_then(|conn| conn.outbox.as_ref()).is_some_and(|outbox| !outbox.is_empty()) {
            return false;
        }
        let wire = |net: &mut Self| -> Option<usize> {
            let wire = net.conns.get_mut(slot)?.rare.as_mut()?.wire.as_mut()?;
            wire.session.close_notify(&mut wire.out);
            Some(wire.queued())
        };
        match wire(self) {
            None | Some(0) => true,
            Some(_) => {
                self.flush_wire(slot, &[]);
                self.conns.get(slot).is_none_or(|conn| conn.wire().is_none_or(|wire| wire.queued() == 0))
            }
        }
    }

    /// An encrypted connection ends. If that is in good order its peer is told, as far as the kernel takes it.
    pub(crate) fn part(&mut self, slot: u32) {
        let Some(conn) = self.conns.get_mut(slot) else { return };
        let is_orderly = matches!(conn.end(), Some(End::Done | End::Answered | End::EofBetween));
        let is_cut = conn.outbox.as_ref().is_some_and(|outbox| !outbox.is_empty());
        let Conn { socket, rare, .. } = conn;
        let Some(wire) = rare.as_mut().and_then(|rare| rare.wire.as_mut()) else { return };
        if is_orderly && !is_cut {
            wire.session.close_notify(&mut wire.out);
            // Whether it arrives is nobody's concern any more.
            let _ = wire.write(socket);
        }
    }

    fn recount_wire(&mut self, slot: u32) {
        let wire = self.conns.get_mut(slot).and_then(|conn| conn.rare.as_mut()?.wire.as_mut());
        if let Some(wire) = wire {
            let held = wire.session.held() + wire.out.capacity();
            self.buffers.account(wire.charged, held);
            wire.charged = held;
        }
    }
}

impl Loop {
    /// Reads from an encrypted connection, for as long as it is its turn.
    pub(crate) fn receive_wire(&mut self, slot: u32) {
        if self.cipher.is_empty() {
            let mut cipher = Vec::new();
            if cipher.try_reserve_exact(self.rx.most()).is_err() {
                return self.net.run_short(slot);
            }
            cipher.resize(self.rx.most(), 0);
            self.cipher = cipher.into_boxed_slice();
        }
        let wire = self.net.conns.get_mut(slot).and_then(|conn| conn.rare.as_mut()?.wire.as_mut());
        let early = wire.map(|wire| std::mem::take(&mut wire.early)).unwrap_or_default();
        if let Some(cipher) = self.cipher.get_mut(..early.len()).filter(|_| !early.is_empty()) {
            cipher.copy_from_slice(&early);
            self.decrypt(slot, early.len(), false);
        }
        let mut budget = self.rx.most();
        loop {
            let Some(conn) = self.net.conns.get(slot) else { return };
            if conn.is_over() || conn.is(Flag::Eof) || conn.must_wait() {
                return;
            }
            if conn.wire().is_some_and(|wire| wire.notified) {
                // All that came before it has been looked at.
                return self.ended(slot);
            }
            let hung_up = conn.is(Flag::HungUp);
            let got = loop {
                match (&conn.socket).read(&mut self.cipher) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    got => break got,
                }
            };
            match got {
                Ok(0) => return self.ended(slot),
                Ok(len) => {
                    let drained = len < self.cipher.len() && !hung_up;
                    self.decrypt(slot, len, drained);
                    let notified = self.net.conns.get(slot).and_then(Conn::wire).is_some_and(|wire| wire.notified);
                    if drained && !notified {
                        return;
                    }
                    budget = budget.saturating_sub(len);
                    if budget == 0 {
                        return self.net.read_later(slot);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return self.net.end(slot, End::Io(error.raw_os_error().unwrap_or_default())),
            }
        }
    }

    /// Hands on what the first `len` bytes of ciphertext hold. What may not be looked at yet waits decrypted.
    pub(crate) fn decrypt(&mut self, slot: u32, len: usize, drained: bool) {
        let mut at = 0;
        while let Some(conn) = self.net.conns.get_mut(slot).filter(|conn| !conn.is_over()) {
            let Some(wire) = conn.rare.as_mut().and_then(|rare| rare.wire.as_mut()) else { return };
            let taken = match wire.session.receive(&mut self.cipher[at..len], &mut self.rx, &mut wire.out) {
                Ok(taken) => taken,
                Err(failure) => return self.failed_wire(slot, failure, len - at),
            };
            at += taken.consumed;
            wire.notified |= taken.close_notify;
            if taken.produced > 0 {
                self.feed(slot, 0..taken.produced, drained && at == len);
            }
            // Before the receive buffer is used again: answers may lie in it.
            self.net.flush(slot, &mut self.rx);
            if taken.consumed == 0 && taken.produced == 0 {
                return;
            }
        }
    }

    /// `left`: what came of the peer, and is not looked at any more.
    fn failed_wire(&mut self, slot: u32, failure: TlsFailure, left: usize) {
        let now = self.net.now;
        let end = failed(&failure, &self.net.buffers);
        let Some(conn) = self.net.conns.get_mut(slot) else { return };
        if let Some(finish) = conn.rare().finish.as_mut() {
            // What still comes behind the end is not listened to for ever.
            finish.left = finish.left.saturating_sub(left);
            if finish.left == 0 {
                let end = finish.end;
                self.net.end(slot, end);
            }
            return;
        }
        conn.rare().detail = Some(failure.text.into());
        if conn.core.state() == State::Connecting && !conn.core.is_client() {
            // A client may have said more already, which would destroy the alert that says why if nobody read it.
            conn.mark = now;
            conn.rare().finish = Some(Finish::new(end, true, true));
            self.net.flush_wire(slot, &[]);
            self.net.arm(slot);
            return self.net.touch(slot);
        }
        // If it can not be written, that is not why.
        let Conn { socket, rare, .. } = conn;
        let _ = rare.as_mut().and_then(|rare| rare.wire.as_mut()).map(|wire| wire.write(socket));
        self.net.end(slot, end);
    }
}
