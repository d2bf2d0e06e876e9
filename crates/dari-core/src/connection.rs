//! One peer: the state of a connection, and every transition of it.
//!
//! Methods come in four kinds: what is asked ([`Connection::state`] ...), input ([`Connection::receive`]),
//! commands ([`Connection::send`] ...) and what [`Io`] collects. Nothing here waits, and nothing here fails for
//! what a peer has sent.

use crate::client::{Answer, Client, Opening};
use crate::close::{self, By, Closing, Failure};
use crate::deflate::Codec;
use crate::frame::{self, First, Head, MAX_CONTROL, Opcode};
use crate::handshake;
use crate::io::Io;
use crate::mask::unmask;
use crate::message::{self, Assembly, Kind, Message, Payload, Prepared, Squeeze};
use crate::receive::Unfinished;
use crate::server::{After, Asked, Server};
use crate::state::State;
use crate::{Limits, Misuse, Request};
use std::mem::take;
use std::sync::Arc;

/// What the peer's bytes have brought.
#[derive(Debug)]
pub enum Event<'b> {
    /// Server: an opening handshake is complete. Answer with [`Connection::accept`] or
    /// [`Connection::respond`]; no input is taken until then.
    Upgrade,
    /// Server: a plain request is complete. Answer with [`Connection::respond`]; no input is taken until then.
    Http,
    /// Client: the handshake is done.
    Open,
    /// Client: the server answered with another status than 101. The connection is closed.
    Refused {
        /// Its status.
        status: u16,
        /// Its header Retry-After (RFC 9110 10.2.3), as it stands there.
        retry_after: Option<String>,
    },
    /// A message.
    Message {
        /// Text or binary.
        kind: Kind,
        /// What it says.
        payload: Payload<'b>,
    },
    /// A part of a message, in place of whole ones ([`Limits::parts`]).
    Part {
        /// Text or binary. The parts of a text are cut anywhere, within characters, too.
        kind: Kind,
        /// What has come.
        payload: Payload<'b>,
        /// Whether the message ends with it.
        is_last: bool,
    },
    /// The answer to a ping, or a heartbeat nobody asked for.
    Pong(Payload<'b>),
    /// The peer broke a rule; the answer that says so is in the output. An open connection is closing now and only
    /// waits for the peer's Close frame; one that was not open, or that has nothing more to wait for, is closed.
    Failed(Failure),
    /// Close frames went both ways: the connection is closed.
    Closed,
}

/// One WebSocket peer, in either role; on a server, first an HTTP one.
#[derive(Debug)]
pub struct Connection {
    pub(crate) limits: Arc<Limits>,
    /// What comes before frames; nothing once there are some.
    phase: Option<Box<Phase>>,
    pub(crate) unfinished: Option<Box<Unfinished>>,
    pub(crate) closing: Option<Box<Closing>>,
    pub(crate) agreed: Option<Box<Agreed>>,
    /// Bytes of the peer that were taken.
    pub(crate) received: u64,
    /// Pings and pongs since the last [`renew`](Self::renew).
    pub(crate) controls: u32,
    pub(crate) is_client: bool,
    pub(crate) state: State,
    /// The message that is being sent in parts.
    sending: Option<Kind>,
}

/// What the two sides have agreed on beyond the protocol itself; most connections have nothing of it.
#[derive(Debug)]
pub(crate) struct Agreed {
    protocol: Option<Box<str>>,
    pub(crate) codec: Option<Codec>,
}

impl Agreed {
    fn new(protocol: Option<&str>, codec: Option<Codec>) -> Option<Box<Self>> {
        let is_something = protocol.is_some() || codec.is_some();
        is_something.then(|| Box::new(Self { protocol: protocol.map(Into::into), codec }))
    }
}

#[derive(Debug)]
enum Phase {
    Server(Server),
    Client(Client),
}

impl Connection {
    /// The server's end of a connection that was just accepted.
    pub fn server(limits: Arc<Limits>) -> Self {
        Self::new(limits, Phase::Server(Server::default()), false)
    }

    /// The client's end; the request of its handshake is in the output.
    pub fn client(limits: Arc<Limits>, opening: Opening, io: &mut Io<'_>) -> Result<Self, Misuse> {
        let client = Client::start(opening, limits.deflate, io)?;
        Ok(Self::new(limits, Phase::Client(client), true))
    }

    fn new(limits: Arc<Limits>, phase: Phase, is_client: bool) -> Self {
        Self {
            limits,
            phase: Some(Box::new(phase)),
            unfinished: None,
            closing: None,
            agreed: None,
            received: 0,
            controls: 0,
            is_client,
            state: State::Connecting,
            sending: None,
        }
    }

    /// How far the connection has come.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether this is the client's end.
    pub fn is_client(&self) -> bool {
        self.is_client
    }

    /// The subprotocol agreed on.
    pub fn protocol(&self) -> Option<&str> {
        self.agreed.as_ref()?.protocol.as_deref()
    }

    /// Whether permessage-deflate (RFC 7692) is agreed on.
    pub fn may_compress(&self) -> bool {
        self.agreed.as_ref().is_some_and(|agreed| agreed.codec.is_some())
    }

    pub(crate) fn codec(&mut self) -> Option<&mut Codec> {
        self.agreed.as_mut()?.codec.as_mut()
    }

    /// The request that waits for an answer.
    pub fn request(&self) -> Option<&Request> {
        match self.phase.as_deref() {
            Some(Phase::Server(server)) => server.asked(),
            _ => None,
        }
    }

    /// Whether the request that waits for an answer is an opening handshake.
    pub fn asks_upgrade(&self) -> bool {
        matches!(self.phase.as_deref(), Some(Phase::Server(server)) if server.asks_upgrade())
    }

    /// Whether [`receive`](Self::receive) would take input now; if not, an answer is due first.
    pub fn wants_input(&self) -> bool {
        !matches!(self.phase.as_deref(), Some(Phase::Server(server)) if server.is_busy())
    }

    /// Whether this is a server's end on which no request has begun.
    pub fn is_between_requests(&self) -> bool {
        matches!(self.phase.as_deref(), Some(Phase::Server(server)) if server.is_idle())
    }

    /// Whether something of the peer's has begun and is not all there: a request, a frame or a message.
    pub fn is_in_the_middle(&self) -> bool {
        match self.phase.as_deref() {
            Some(Phase::Server(server)) => !server.is_idle() && !server.is_busy(),
            Some(Phase::Client(_)) => true,
            None => self.unfinished.is_some(),
        }
    }

    /// What is known of the end, once it has begun.
    pub fn closing(&self) -> Option<&Closing> {
        self.closing.as_deref()
    }

    /// Bytes of the peer that were taken so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Bytes of memory that are held: what [`Buffers`](crate::Buffers) counts.
    pub fn held(&self) -> usize {
        let codec = self.agreed.as_ref().and_then(|agreed| agreed.codec.as_ref());
        self.receiving() + codec.map_or(0, Codec::held)
    }

    /// Those of them that hold what has come of a message or a request.
    pub fn receiving(&self) -> usize {
        let waiting = match self.phase.as_deref() {
            Some(Phase::Server(server)) => server.held(),
            Some(Phase::Client(client)) => client.head.held(),
            None => 0,
        };
        let assembly = self.unfinished.as_ref().and_then(|unfinished| unfinished.assembly.as_ref());
        waiting + assembly.map_or(0, Assembly::held)
    }

    /// The common case, for those who want it fast: the message at the front of `input`, if that is a whole one in one
    /// frame and there is nothing special about it. Nothing has changed if it is not: then
    /// [`receive`](Self::receive) knows what it is.
    pub fn receive_whole<'b>(&mut self, input: &mut &'b mut [u8]) -> Option<Message<'b>> {
        if self.state != State::Open || self.unfinished.is_some() || self.limits.parts {
            return None;
        }
        let (kind, len, header) = frame::whole_message(input, !self.is_client)?;
        let end = len + header;
        if len > self.limits.max_message || input.len() < end {
            return None;
        }
        let all = take(input);
        let (head, payload) = all.split_at_mut(header);
        let (payload, _) = payload.split_at_mut(len);
        let key = if self.is_client { None } else { head.last_chunk::<4>().copied() };
        if let Some(key) = key {
            unmask(payload, key, 0);
        }
        if message::check_whole(kind, payload).is_err() {
            // As it was: what is wrong with it is said elsewhere.
            if let Some(key) = key {
                unmask(payload, key, 0);
            }
            *input = all;
            return None;
        }
        let (_, rest) = all.split_at_mut(header);
        let (payload, rest) = rest.split_at_mut(len);
        *input = rest;
        self.received += end as u64;
        Some(Message { kind, data: payload })
    }

    /// Takes bytes off the front of `input` until there is one event or nothing left.
    ///
    /// Payloads are unmasked in place, and an event borrows the input, not the connection: an answer can be sent
    /// while it is in hand. Call again until there is no event. Input is left over only while an answer is due
    /// ([`wants_input`](Self::wants_input)).
    pub fn receive<'b>(&mut self, input: &mut &'b mut [u8], io: &mut Io<'_>) -> Option<Event<'b>> {
        match self.phase.as_deref_mut() {
            None => self.receive_frames(input, io),
            Some(Phase::Server(_)) => self.receive_request(input, io),
            Some(Phase::Client(_)) => self.receive_answer(input, io),
        }
    }

    /// Accepts the opening handshake that [`Event::Upgrade`] told of: the 101 is in the output, and messages may
    /// follow at once.
    pub fn accept(
        &mut self,
        protocol: Option<&str>,
        headers: &[(&str, &str)],
        io: &mut Io<'_>,
    ) -> Result<(), Misuse> {
        let wish = self.limits.deflate;
        let codec = self.server_end()?.accept(protocol, headers, wish.as_ref(), io)?;
        self.agreed = Agreed::new(protocol, codec);
        self.open(io);
        Ok(())
    }

    /// Answers the request whole. A refused opening handshake ends the connection, and so does a request that
    /// asked for it.
    pub fn respond(
        &mut self,
        status: u16,
        headers: &[(&str, &str)],
        body: &[u8],
        io: &mut Io<'_>,
    ) -> Result<(), Misuse> {
        let after = self.server_end()?.respond(status, headers, body, io)?;
        self.after_answer(after, io);
        Ok(())
    }

    /// Answers the request with a body that comes in pieces: `length` bytes in all, or, if that is not known,
    /// chunked.
    pub fn respond_begin(
        &mut self,
        status: u16,
        headers: &[(&str, &str)],
        length: Option<usize>,
        io: &mut Io<'_>,
    ) -> Result<(), Misuse> {
        self.server_end()?.respond_begin(status, headers, length, io)
    }

    /// One piece of the body; an empty one is the end.
    pub fn respond_piece(&mut self, data: &[u8], io: &mut Io<'_>) -> Result<(), Misuse> {
        if let Some(after) = self.server_end()?.respond_piece(data, io)? {
            self.after_answer(after, io);
        }
        Ok(())
    }

    /// Server: answers without having been asked, and ends the connection; for peers that there is no room for.
    pub fn turn_away(&mut self, status: u16, body: &[u8], io: &mut Io<'_>) -> Result<(), Misuse> {
        self.server_end()?;
        handshake::write_plain(io.out, status, body);
        self.state = State::Closed;
        self.leave_handshake(io);
        Ok(())
    }

    /// Server: the next answer is the last one, and says so.
    pub fn keep_no_longer(&mut self) {
        if let Some(Phase::Server(server)) = self.phase.as_deref_mut() {
            server.keep_no_longer();
        }
    }

    /// Sends a message.
    pub fn send(&mut self, message: Message<'_>, io: &mut Io<'_>) -> Result<(), Misuse> {
        self.send_with(message, Squeeze::Auto, io)
    }

    /// The same, and whether it is to be compressed, if the peer has agreed to that.
    pub fn send_with(&mut self, message: Message<'_>, squeeze: Squeeze, io: &mut Io<'_>) -> Result<(), Misuse> {
        self.check_between_messages()?;
        message.check()?;
        self.send_checked(message, squeeze, io)
    }

    /// The same for text that is known to be UTF-8: what was received as such, for instance.
    pub fn send_checked(&mut self, message: Message<'_>, squeeze: Squeeze, io: &mut Io<'_>) -> Result<(), Misuse> {
        self.check_between_messages()?;
        let is_client = self.is_client;
        message::write(message, squeeze, self.codec(), is_client, io);
        Ok(())
    }

    /// Whether a message goes out as the frame that [`Prepared`] has made of it, whatever it is.
    #[inline]
    pub fn sends_plainly(&self) -> bool {
        self.state == State::Open && !self.is_client && self.agreed.is_none() && self.sending.is_none()
    }

    /// The common case of sending, for those who want it fast: the head of the one frame that `message` is, if nothing
    /// about it is special. If it is, [`send_with`](Self::send_with) knows what to do. `is_checked`: as for
    /// [`send_checked`](Self::send_checked).
    #[inline(always)]
    pub fn head_of_whole(&self, message: Message<'_>, is_checked: bool) -> Option<Head> {
        if !self.sends_plainly() || !(is_checked || message.is_sound()) {
            return None;
        }
        Some(Head::new(First::whole(message.kind.opcode()), None, message.data.len()))
    }

    /// Sends a part of a message, uncompressed; the last one says so. Until then no other message can be sent. Text
    /// is checked part by part: each ends with a whole character.
    pub fn send_part(&mut self, part: Message<'_>, is_last: bool, io: &mut Io<'_>) -> Result<(), Misuse> {
        self.check_open()?;
        if self.sending.is_some_and(|kind| kind != part.kind) {
            return Err(Misuse::BetweenParts);
        }
        part.check()?;
        message::write_part(part, self.sending.is_none(), is_last, self.is_client, io);
        self.sending = (!is_last).then_some(part.kind);
        Ok(())
    }

    /// Sends a message that was checked and framed before.
    pub fn send_prepared(&mut self, prepared: &Prepared, io: &mut Io<'_>) -> Result<(), Misuse> {
        self.check_between_messages()?;
        let (message, is_client) = (prepared.message(), self.is_client);
        let codec = self.codec();
        let squeezes =
            codec.as_ref().is_some_and(|codec| message::wants(prepared.squeeze(), codec, message.data.len()));
        let key = codec.as_ref().filter(|_| squeezes).and_then(|codec| codec.shared_key());
        match key {
            _ if is_client => message::write(message, prepared.squeeze(), codec, true, io),
            Some(key) => match prepared.squeezed(key, io.buffers) {
                Some(frame) => io.out.shared(&frame),
                None => io.out.shared(prepared.frame()),
            },
            // It depends on what this peer has got before: that is nobody else's.
            None if squeezes => message::write(message, prepared.squeeze(), codec, false, io),
            None => io.out.shared(prepared.frame()),
        }
        Ok(())
    }

    /// Sends a ping (RFC 6455 5.5.2) of at most 125 bytes.
    pub fn ping(&mut self, payload: &[u8], io: &mut Io<'_>) -> Result<(), Misuse> {
        self.check_open()?;
        if payload.len() > MAX_CONTROL {
            return Err(Misuse::TooLong(payload.len(), MAX_CONTROL));
        }
        message::write_control(Opcode::Ping, payload, self.is_client, io);
        Ok(())
    }

    /// Starts the closing handshake (RFC 6455 7.1.2). Code 0 sends none; a reason goes with a code only, and has at
    /// most 123 bytes.
    pub fn close(&mut self, code: u16, reason: &str, io: &mut Io<'_>) -> Result<(), Misuse> {
        self.check_open()?;
        close::check(code, reason)?;
        self.send_close(code, reason, io);
        self.begin_closing(By::Us, None);
        self.abandon_message(io);
        Ok(())
    }

    /// Begins another period, in which the peer may send as many pings and pongs again. Time is the caller's: once
    /// a second, say.
    pub fn renew(&mut self) {
        self.controls = 0;
    }

    /// Server: whether a body is being sent in pieces.
    pub fn check_answering(&self) -> Result<(), Misuse> {
        match self.phase.as_deref() {
            Some(Phase::Server(server)) if server.is_answering() && self.state == State::Connecting => Ok(()),
            _ => Err(Misuse::NothingToAnswer),
        }
    }

    /// Whether a pong waits for the peer to take bytes again.
    pub fn owes_pong(&self) -> bool {
        self.unfinished.as_ref().is_some_and(|unfinished| unfinished.pong.is_some())
    }

    /// Says that the peer takes bytes again: a pong that waited goes out.
    pub fn unblocked(&mut self, io: &mut Io<'_>) {
        if let Some(pong) = self.unfinished.as_mut().and_then(|unfinished| unfinished.pong.take())
            && self.state == State::Open
        {
            message::write_control(Opcode::Pong, &pong, self.is_client, io);
        }
        self.tidy();
    }

    /// Gives back what memory the connection holds; call it last.
    pub fn release(&mut self, io: &mut Io<'_>) {
        self.state = State::Closed;
        self.abandon_message(io);
        self.unfinished = None;
        self.leave_handshake(io);
    }

    // --- until it is open ---------------------------------------------------------------------------------------

    fn receive_request(&mut self, input: &mut &mut [u8], io: &mut Io<'_>) -> Option<Event<'static>> {
        let Some(Phase::Server(server)) = self.phase.as_deref_mut() else { return None };
        if self.state == State::Closed {
            self.skip(input);
            return None;
        }
        if server.is_busy() || input.is_empty() {
            return None;
        }
        let before = input.len();
        let asked = server.take(input, self.received, &self.limits, io);
        self.received += (before - input.len()) as u64;
        match asked {
            Ok(None) => None,
            Ok(Some(Asked::Upgrade)) => Some(Event::Upgrade),
            Ok(Some(Asked::Http)) => Some(Event::Http),
            Err(failure) => {
                handshake::write_refusal(io.out, failure.violation);
                self.end_unopened(failure, io)
            }
        }
    }

    fn receive_answer<'b>(&mut self, input: &mut &'b mut [u8], io: &mut Io<'_>) -> Option<Event<'b>> {
        loop {
            let Some(Phase::Client(client)) = self.phase.as_deref_mut() else { return None };
            if self.state == State::Closed {
                self.skip(input);
                return None;
            }
            let (before, begin) = (input.len(), self.received);
            let head = client.head.take(input, b"HTTP/", &self.limits, io);
            self.received += (before - input.len()) as u64;
            let text = match head {
                Ok(text) => text?,
                Err((violation, at)) => {
                    return self.end_unopened(Failure { violation, offset: begin + at as u64 }, io);
                }
            };
            let answer = client.answer(text, &self.limits, io);
            if !matches!(answer, Ok(Answer::Later)) {
                self.phase = None;
            }
            match answer {
                Ok(Answer::Open { protocol, codec }) => {
                    self.agreed = Agreed::new(protocol.as_deref(), codec);
                    self.state = State::Open;
                    return Some(Event::Open);
                }
                Ok(Answer::Later) => {}
                Ok(Answer::Refused(status, retry_after)) => {
                    self.state = State::Closed;
                    return Some(Event::Refused { status, retry_after });
                }
                Err(violation) => return self.end_unopened(Failure { violation, offset: 0 }, io),
            }
        }
    }

    fn end_unopened(&mut self, failure: Failure, io: &mut Io<'_>) -> Option<Event<'static>> {
        self.begin_closing(By::Us, Some(failure));
        self.state = State::Closed;
        self.leave_handshake(io);
        Some(Event::Failed(failure))
    }

    fn server_end(&mut self) -> Result<&mut Server, Misuse> {
        match (self.phase.as_deref_mut(), self.state) {
            (Some(Phase::Server(server)), State::Connecting) => Ok(server),
            _ => Err(Misuse::NothingToAnswer),
        }
    }

    fn after_answer(&mut self, after: After, io: &mut Io<'_>) {
        if after == After::End {
            self.state = State::Closed;
            self.leave_handshake(io);
        }
    }

    fn open(&mut self, io: &mut Io<'_>) {
        self.leave_handshake(io);
        self.state = State::Open;
    }

    fn leave_handshake(&mut self, io: &mut Io<'_>) {
        match self.phase.take().as_deref_mut() {
            Some(Phase::Server(server)) => server.release(io),
            Some(Phase::Client(client)) => client.head.release(io),
            None => {}
        }
    }

    pub(crate) fn send_close(&mut self, code: u16, reason: &str, io: &mut Io<'_>) {
        let mut payload = [0; MAX_CONTROL];
        let said = code.to_be_bytes().into_iter().chain(reason.bytes());
        let len = payload.iter_mut().zip(said).map(|(to, from)| *to = from).count();
        let payload = payload.get(..len).filter(|_| code != 0).unwrap_or_default();
        message::write_control(Opcode::Close, payload, self.is_client, io);
        let closing = self.closing.get_or_insert_with(|| Box::new(NEW));
        closing.sent = Some(code);
    }

    pub(crate) fn begin_closing(&mut self, first: By, failure: Option<Failure>) {
        let closing = self.closing.get_or_insert_with(|| Box::new(NEW));
        closing.first = first;
        closing.failure = failure;
        self.state = State::Closing;
    }

    /// Lets go of what messages need: none comes or goes any more.
    pub(crate) fn abandon_message(&mut self, io: &mut Io<'_>) {
        if let Some(codec) = self.codec() {
            codec.release(io.buffers);
        }
        if let Some(unfinished) = &mut self.unfinished {
            unfinished.pong = None;
            // A Close frame of the peer that has half arrived still counts.
            if unfinished.frame.is_none_or(|frame| frame.header.opcode != Opcode::Close) {
                unfinished.control_len = 0;
            }
            if let Some(assembly) = unfinished.assembly.take() {
                assembly.discard(io.buffers);
            }
        }
        self.tidy();
    }

    pub(crate) fn take<'b>(&mut self, input: &mut &'b mut [u8], len: usize) -> &'b mut [u8] {
        let (front, rest) = take(input).split_at_mut(len);
        *input = rest;
        self.received += len as u64;
        front
    }

    pub(crate) fn skip(&mut self, input: &mut &mut [u8]) {
        self.take(input, input.len());
    }

    /// Between two messages a connection holds nothing.
    pub(crate) fn tidy(&mut self) {
        let is_done = |unfinished: &Unfinished| {
            unfinished.header_len == 0
                && unfinished.frame.is_none()
                && unfinished.assembly.is_none()
                && unfinished.pong.is_none()
        };
        if self.unfinished.as_deref().is_some_and(is_done) {
            self.unfinished = None;
        }
    }

    fn check_between_messages(&self) -> Result<(), Misuse> {
        self.check_open()?;
        if self.sending.is_some() { Err(Misuse::BetweenParts) } else { Ok(()) }
    }

    /// Whether messages can be sent now.
    pub fn check_open(&self) -> Result<(), Misuse> {
        if self.state == State::Open { Ok(()) } else { Err(Misuse::NotOpen(self.state)) }
    }
}

const NEW: Closing = Closing { first: By::Us, sent: None, received: None, failure: None };
