//! One connection's TLS: ciphertext in, plaintext out, and the other way round. It reads and writes nothing itself.
//!
//! rustls is handed the peer's bytes where they lie, record by record, and keeps none of them: what is here between
//! two calls is the beginning of a record, or the records of one unfinished handshake message, and no more.

use super::failure::{self, OUT_OF_MEMORY, TlsFailure};
use super::{Ready, Tls};
use crate::Error;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus};
use rustls::{CommonState, Error as Wrong, HandshakeKind, ProtocolVersion};
use std::mem;

/// The longest plaintext of a record (RFC 8446 5.1).
pub(crate) const RECORD: usize = 1 << 14;
/// What stands before a record: its type, a version, and how long it is.
const HEADER: usize = 5;
/// The longest content of an encrypted record: RFC 5246 6.2.3 allows more for it than RFC 8446 5.2.
const CONTENT: usize = RECORD + 2048;
/// What encrypting adds to a record at most, its header included; the last one may be a change of keys.
const OVERHEAD: usize = 48;
/// The records of one handshake message together: rustls takes messages of up to 64 KiB.
const MESSAGE: usize = (1 << 16) + HEADER + CONTENT;
/// First bytes of somebody who speaks something else that are shown.
const SHOWN: usize = 16;
/// Bytes that rustls allocates for a connection besides its own size: measured, for keys and lists; and more while
/// it is shaking hands.
const KEPT: usize = 2_200;
const KEPT_HANDSHAKING: usize = 3 << 10;

/// One end of a connection that is encrypted.
pub(crate) struct Session {
    pub(super) side: Side,
    /// Bytes of the peer that wait for more: `handed` of them are known to rustls, the rest begins a record.
    partial: Vec<u8>,
    handed: usize,
    /// The peer has sent a record, and not just something.
    speaks_tls: bool,
    closed: bool,
    closed_by_peer: bool,
    failure: Option<Box<TlsFailure>>,
}

/// What a call of [`Session::receive`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    /// Bytes of `cipher` that are done with. The others have to come again.
    pub(crate) consumed: usize,
    /// Bytes written to `plain`.
    pub(crate) produced: usize,
    /// The handshake is over, now or since before: `send` may be called.
    pub(crate) handshake_done: bool,
    /// The peer has said that nothing follows: if the stream ends without it, something may be missing.
    pub(crate) close_notify: bool,
}

pub(super) enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What rustls wants next.
enum Step {
    /// It has written so many bytes of plaintext.
    Data(usize),
    /// It has written to the peer, and may want to write more.
    Sent,
    /// More bytes of the peer.
    Blocked,
    /// Nothing: the peer has said that it is done.
    PeerClosed,
}

impl Session {
    /// The end of a connection that was accepted.
    pub(crate) fn server(tls: &Tls) -> Result<Self, Error> {
        let Ready::Server(config) = tls.ready() else {
            return Err(Error::Argument("a listener needs certificates: this TLS is for clients".to_owned()));
        };
        UnbufferedServerConnection::new(config).map(|side| Self::new(Side::Server(side))).map_err(|e| unmade(&e))
    }

    /// The end of a connection that was made to `host`, a name or an address; its first words go to `out`.
    pub(crate) fn client(tls: &Tls, host: &str, out: &mut Vec<u8>) -> Result<Self, Error> {
        let Ready::Client(config) = tls.ready() else {
            return Err(Error::Argument("a client needs to know whom to trust: this TLS is for servers".to_owned()));
        };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Error::Argument(format!("{host:?} is neither a host name nor an address")))?;
        let side = UnbufferedClientConnection::new(config, name).map_err(|error| unmade(&error))?;
        let mut session = Self::new(Side::Client(side));
        session.side.flush(&mut [], out).map_err(|error| unmade(&error))?;
        Ok(session)
    }

    fn new(side: Side) -> Self {
        Self {
            side,
            partial: Vec::new(),
            handed: 0,
            speaks_tls: false,
            closed: false,
            closed_by_peer: false,
            failure: None,
        }
    }

    /// Takes in what the peer has sent, cut anywhere, and writes what it says to `plain`: at least [`RECORD`] bytes,
    /// or it may find no room. What has to be sent is appended to `out`, also if it fails: then that is the alert.
    ///
    /// It stops where the next record may not fit into `plain`, and before something that fails; what it did not
    /// consume, and may have changed, has to come again. After the end everything is consumed.
    pub(crate) fn receive(
        &mut self,
        cipher: &mut [u8],
        plain: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Received, TlsFailure> {
        if let Some(failure) = &self.failure {
            return Err(TlsFailure::clone(failure));
        }
        let (mut consumed, mut produced) = (0, 0);
        while !self.partial.is_empty() && !self.closed_by_peer {
            consumed += self.top_up(&cipher[consumed..])?;
            if whole(&self.partial[self.handed..]).is_none() {
                return Ok(self.received(consumed, produced));
            }
            let mut partial = mem::take(&mut self.partial);
            let (done, handed) = self.drive(&mut partial, self.handed, plain, &mut produced, out)?;
            let is_stuck = handed == self.handed;
            partial.drain(..done);
            self.keep(partial, handed - done)?;
            if is_stuck {
                return Ok(self.received(consumed, produced));
            }
        }
        if !self.closed_by_peer {
            let rest = &mut cipher[consumed..];
            match self.drive(rest, 0, plain, &mut produced, out) {
                Ok((done, handed)) => {
                    let is_cut = whole(&rest[handed..]).is_none();
                    let end = if is_cut { rest.len() } else { handed };
                    let cut = self.copied(&rest[done..end])?;
                    self.keep(cut, handed - done)?;
                    consumed += end;
                }
                // First what came before it.
                Err(_) if produced > 0 => return Ok(self.received(consumed, produced)),
                Err(failure) => return Err(failure),
            }
        }
        if self.closed_by_peer {
            consumed = cipher.len();
        }
        Ok(self.received(consumed, produced))
    }

    /// Encrypts `plain` for the peer, behind what is in `out`. Not before the handshake is over.
    pub(crate) fn send(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), TlsFailure> {
        if let Some(failure) = &self.failure {
            return Err(TlsFailure::clone(failure));
        }
        // The caller's mistake, from which the connection does not suffer.
        if self.closed || self.is_handshaking() {
            let why = if self.closed { "nothing follows a close_notify" } else { "the handshake is not over" };
            return Err(TlsFailure::new(0, why));
        }
        let records = plain.len().div_ceil(RECORD) + 1;
        let room = plain.len() + records * OVERHEAD;
        self.side.say(&mut self.partial[..self.handed], Some(plain), room, out).map_err(|why| {
            let failure = TlsFailure::new(0, why);
            self.failure = Some(Box::new(failure.clone()));
            failure
        })
    }

    /// Says that nothing follows. It is the last word of this side; the peer may still answer. During the handshake
    /// there is no such word.
    pub(crate) fn close_notify(&mut self, out: &mut Vec<u8>) {
        if !self.closed && self.failure.is_none() && !self.is_handshaking() {
            self.closed = true;
            // It is not said where it can not be said any more.
            let _ = self.side.say(&mut self.partial[..self.handed], None, OVERHEAD, out);
        }
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.side.common().is_handshaking()
    }

    /// What the handshake has come to, for a log.
    pub(crate) fn agreed(&self) -> &'static str {
        let common = self.side.common();
        let is_resumed = common.handshake_kind() == Some(HandshakeKind::Resumed);
        match (common.protocol_version(), is_resumed) {
            (Some(ProtocolVersion::TLSv1_3), false) => "TLS 1.3",
            (Some(ProtocolVersion::TLSv1_3), true) => "TLS 1.3, resumed",
            (_, false) => "TLS 1.2",
            (_, true) => "TLS 1.2, resumed",
        }
    }

    /// The certificate (DER) that the peer has shown, if it has.
    pub(crate) fn peer_certificate(&self) -> Option<&[u8]> {
        self.side.common().peer_certificates()?.first().map(AsRef::as_ref)
    }

    /// Bytes of memory that it is known to hold, itself included.
    pub(crate) fn held(&self) -> usize {
        let shown: usize = self.side.common().peer_certificates().unwrap_or_default().iter().map(|c| c.len()).sum();
        let kept = if self.is_handshaking() { KEPT_HANDSHAKING } else { KEPT };
        size_of::<Self>() + self.partial.capacity() + shown + kept
    }

    fn received(&self, consumed: usize, produced: usize) -> Received {
        Received { consumed, produced, handshake_done: !self.is_handshaking(), close_notify: self.closed_by_peer }
    }

    /// Completes the record that `partial` ends with, as far as `input` goes. How much of it was taken.
    fn top_up(&mut self, input: &[u8]) -> Result<usize, TlsFailure> {
        let mut taken = 0;
        // First its header, which says how long it is.
        for _ in 0..2 {
            let have = self.partial.len() - self.handed;
            let want = declared(&self.partial[self.handed..]).unwrap_or(HEADER).saturating_sub(have);
            let some = &input[taken..][..want.min(input.len() - taken)];
            if self.partial.try_reserve(some.len()).is_err() {
                return Err(self.remember(TlsFailure::new(0, OUT_OF_MEMORY)));
            }
            self.partial.extend_from_slice(some);
            taken += some.len();
        }
        Ok(taken)
    }

    fn copied(&mut self, bytes: &[u8]) -> Result<Vec<u8>, TlsFailure> {
        let mut copy = Vec::new();
        if copy.try_reserve_exact(bytes.len()).is_err() {
            return Err(self.remember(TlsFailure::new(0, OUT_OF_MEMORY)));
        }
        copy.extend_from_slice(bytes);
        Ok(copy)
    }

    /// Keeps what waits for more, `handed` bytes of which rustls knows already.
    fn keep(&mut self, rest: Vec<u8>, handed: usize) -> Result<(), TlsFailure> {
        if handed > MESSAGE {
            return Err(self.remember(TlsFailure::new(0, "the peer sent a handshake message in too many pieces")));
        }
        self.handed = handed;
        self.partial = if self.closed_by_peer { Vec::new() } else { rest };
        Ok(())
    }

    /// Hands rustls the records of `input`, of which it knows the first `handed` bytes, one after the other. How many
    /// bytes it is done with, and how many it knows.
    fn drive(
        &mut self,
        input: &mut [u8],
        mut handed: usize,
        plain: &mut [u8],
        produced: &mut usize,
        out: &mut Vec<u8>,
    ) -> Result<(usize, usize), TlsFailure> {
        let mut done = 0;
        let mut is_drained = true;
        loop {
            if is_drained {
                match whole(&input[handed..]) {
                    Some(len) if plain.len() - *produced >= (len - HEADER).min(RECORD) => handed += len,
                    _ => return Ok((done, handed)),
                }
            }
            let (discard, step) = self.side.step(&mut input[done..handed], &mut plain[*produced..], out);
            done = (done + discard).min(handed);
            self.speaks_tls |= step.is_ok();
            is_drained = !matches!(step, Ok(Step::Sent));
            match step {
                Ok(Step::Data(len)) => *produced += len,
                Ok(Step::Sent | Step::Blocked) => {}
                Ok(Step::PeerClosed) => {
                    self.closed_by_peer = true;
                    return Ok((done, handed));
                }
                Err(error) => {
                    let first = (!self.speaks_tls).then_some(&*input);
                    let failure = self.fail(&error, first, out);
                    return Err(self.remember(failure));
                }
            }
        }
    }

    /// Appends the alert, if there is one. `first`: the first bytes of somebody who may not speak TLS.
    fn fail(&mut self, error: &Wrong, first: Option<&[u8]>, out: &mut Vec<u8>) -> TlsFailure {
        let before = out.len();
        while self.side.common().wants_write() {
            // It comes before anything is looked at.
            let _ = self.side.step(&mut [], &mut [], out);
        }
        let sent = match &out[before..] {
            [] => None,
            // RFC 8446 5.1 and 6: in the clear an alert is two bytes, and the second says what.
            [21, 3, _, 0, 2, _, alert] => Some(*alert),
            _ => Some(failure::alert(error)),
        };
        let mut failure = TlsFailure::of(error, sent);
        if let (Wrong::InvalidMessage(_), Some(first)) = (error, first) {
            let first = first[..first.len().min(SHOWN)].escape_ascii();
            failure.text = format!("the peer does not speak TLS (its first bytes are \"{first}\")");
        }
        failure
    }

    fn remember(&mut self, failure: TlsFailure) -> TlsFailure {
        (self.partial, self.handed) = (Vec::new(), 0);
        self.failure = Some(Box::new(failure.clone()));
        failure
    }
}

impl Side {
    pub(super) fn common(&self) -> &CommonState {
        match self {
            Self::Server(side) => side,
            Self::Client(side) => side,
        }
    }

    /// One step of rustls. How many bytes it is done with, and what it wants next.
    fn step(&mut self, input: &mut [u8], plain: &mut [u8], out: &mut Vec<u8>) -> (usize, Result<Step, Wrong>) {
        match self {
            Self::Server(side) => step(side.process_tls_records(input), plain, out),
            Self::Client(side) => step(side.process_tls_records(input), plain, out),
        }
    }

    /// Lets rustls say what it has to say of itself. `handed`: what it knows already.
    fn flush(&mut self, handed: &mut [u8], out: &mut Vec<u8>) -> Result<(), Wrong> {
        while let Step::Sent = self.step(handed, &mut [], out).1? {}
        Ok(())
    }

    /// Encrypts `plain`, or close_notify if there is none. `handed`: what rustls knows already.
    fn say(
        &mut self,
        handed: &mut [u8],
        plain: Option<&[u8]>,
        room: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        if self.common().wants_write() {
            self.flush(handed, out).map_err(|_| "the connection can not be written to")?;
        }
        match self {
            Self::Server(side) => say(side.process_tls_records(handed), plain, room, out),
            Self::Client(side) => say(side.process_tls_records(handed), plain, room, out),
        }
    }
}

fn step<D>(status: UnbufferedStatus<'_, '_, D>, plain: &mut [u8], out: &mut Vec<u8>) -> (usize, Result<Step, Wrong>) {
    let mut discard = status.discard;
    let step = match status.state {
        Ok(ConnectionState::ReadTraffic(mut records)) => {
            let mut len = 0;
            loop {
                match records.next_record() {
                    None => break Ok(Step::Data(len)),
                    Some(Err(error)) => break Err(error),
                    Some(Ok(record)) => {
                        discard += record.discard;
                        plain[len..][..record.payload.len()].copy_from_slice(record.payload);
                        len += record.payload.len();
                    }
                }
            }
        }
        Ok(ConnectionState::EncodeTlsData(mut message)) => {
            let encoded = append(0, out, |room| match message.encode(room) {
                Ok(len) => Ok(len),
                Err(EncodeError::InsufficientSize(error)) => Err(Some(error)),
                Err(EncodeError::AlreadyEncoded) => Err(None),
            });
            encoded.map(|()| Step::Sent).map_err(|why| match why {
                Unwritten::Memory => Wrong::General(OUT_OF_MEMORY.to_owned()),
                Unwritten::Refused => Wrong::EncryptError,
            })
        }
        Ok(ConnectionState::TransmitTlsData(sent)) => {
            sent.done();
            Ok(Step::Sent)
        }
        Ok(ConnectionState::PeerClosed) => Ok(Step::PeerClosed),
        Ok(_) => Ok(Step::Blocked),
        Err(error) => Err(error),
    };
    (discard, step)
}

fn say<D>(
    status: UnbufferedStatus<'_, '_, D>,
    plain: Option<&[u8]>,
    room: usize,
    out: &mut Vec<u8>,
) -> Result<(), &'static str> {
    let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state else {
        return Err("the connection can not be written to");
    };
    let said = append(room, out, |room| {
        let said = match plain {
            Some(plain) => traffic.encrypt(plain, room),
            None => traffic.queue_close_notify(room),
        };
        said.map_err(|error| match error {
            EncryptError::InsufficientSize(error) => Some(error),
            EncryptError::EncryptExhausted => None,
        })
    });
    // RFC 8446 5.5: TLS 1.3 changes its keys before it comes to that.
    said.map_err(|why| match why {
        Unwritten::Memory => OUT_OF_MEMORY,
        Unwritten::Refused => "the keys of this connection have encrypted as much as they may",
    })
}

/// Why something was not written.
enum Unwritten {
    Memory,
    /// Whoever should have written it will not.
    Refused,
}

/// Lets something write behind what is in `out`: into `room` bytes, or as many as it says that it needs.
fn append(
    mut room: usize,
    out: &mut Vec<u8>,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<InsufficientSizeError>>,
) -> Result<(), Unwritten> {
    let end = out.len();
    loop {
        out.try_reserve(room).map_err(|_| Unwritten::Memory)?;
        out.resize(end + room, 0);
        match write(&mut out[end..]) {
            Ok(len) => {
                out.truncate(end + len);
                return Ok(());
            }
            Err(Some(error)) if error.required_size > room => {
                out.truncate(end);
                room = error.required_size;
            }
            Err(_) => {
                out.truncate(end);
                return Err(Unwritten::Refused);
            }
        }
    }
}

/// How long the record is that `bytes` begin with, as soon as they say it. What can be no record is as long as its
/// header: it waits for nothing more.
fn declared(bytes: &[u8]) -> Option<usize> {
    let &[kind, major, _, high, low, ..] = bytes else { return None };
    let content = usize::from(u16::from_be_bytes([high, low]));
    let is_record = (20..=24).contains(&kind) && major == 3 && content <= CONTENT;
    Some(if is_record { HEADER + content } else { HEADER })
}

/// How long the record is that `bytes` begin with, if all of it is there.
fn whole(bytes: &[u8]) -> Option<usize> {
    declared(bytes).filter(|len| *len <= bytes.len())
}

fn unmade(error: &Wrong) -> Error {
    Error::Tls(format!("TLS can not be begun: {}", failure::text(error)))
}
