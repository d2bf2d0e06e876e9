//! Frames of the peer, one after another: messages, control frames, and how the peer ends it (RFC 6455 5 and 7).
//!
//! What lies whole in the input is handed on from there; what does not goes to [`Unfinished`], so that a
//! connection between two messages holds nothing.

use crate::close::{self, By, Failure, Received};
use crate::connection::{Connection, Event};
use crate::frame::{Header, MAX_CONTROL, MAX_HEADER, Opcode};
use crate::io::Io;
use crate::mask::unmask;
use crate::message::{self, Assembly, Kind, Payload};
use crate::state::State;
use crate::{Buffers, Violation};

/// Compressed bytes that are taken at a time when messages are handed on in parts. They inflate to 1,032 times as many
/// at the most: to less than 1 MiB, so that the buffer for them does not grow beyond that.
const STEP: u64 = 1_000;

/// What came of frames that are not all there. A connection between two messages has none.
#[derive(Debug)]
pub(crate) struct Unfinished {
    /// The front of a header.
    pub(crate) header: [u8; MAX_HEADER],
    pub(crate) header_len: u8,
    /// The frame whose payload comes.
    pub(crate) frame: Option<Frame>,
    /// The payload of a control frame.
    pub(crate) control: [u8; MAX_CONTROL],
    pub(crate) control_len: u8,
    /// The message that fragments add to.
    pub(crate) assembly: Option<Assembly>,
    /// The payload of the pong that goes out when the peer takes bytes again.
    pub(crate) pong: Option<Box<[u8]>>,
}

impl Default for Unfinished {
    fn default() -> Self {
        Self {
            header: [0; MAX_HEADER],
            header_len: 0,
            frame: None,
            control: [0; MAX_CONTROL],
            control_len: 0,
            assembly: None,
            pong: None,
        }
    }
}

/// A frame whose header is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) header: Header,
    /// Payload bytes that have come.
    done: u64,
    /// Where it began in the peer's stream.
    offset: u64,
    /// It broke a rule: what it says does not count.
    is_void: bool,
}

impl Frame {
    pub(crate) fn left(&self) -> u64 {
        self.header.len - self.done
    }
}

impl Connection {
    pub(crate) fn receive_frames<'b>(&mut self, input: &mut &'b mut [u8], io: &mut Io<'_>) -> Option<Event<'b>> {
        while !input.is_empty() {
            if self.state == State::Closed {
                self.skip(input);
                return None;
            }
            let frame = match self.unfinished.as_mut().and_then(|unfinished| unfinished.frame.take()) {
                Some(frame) => frame,
                None => {
                    let offset = self.frame_offset();
                    let header = self.take_header(input)?;
                    let frame = Frame { header, done: 0, offset, is_void: false };
                    if let Err(violation) = self.check_frame(&header) {
                        return self.fail(violation, offset, Some(frame), io);
                    }
                    frame
                }
            };
            let whole = frame.done == 0 && frame.left() <= clip(self.most(), input) as u64;
            let event = match (self.state, whole) {
                (State::Open, true) => self.take_whole(frame, input, io),
                (State::Open, false) => self.take_piece(frame, input, io),
                _ => self.take_while_closing(frame, input),
            };
            if event.is_some() {
                return event;
            }
        }
        self.tidy();
        None
    }

    /// Where the frame began whose header is next, or has begun.
    fn frame_offset(&self) -> u64 {
        self.received - self.unfinished.as_ref().map_or(0, |unfinished| u64::from(unfinished.header_len))
    }

    /// The header at the front of `input`, completed with what was kept of it; nothing if there is still less.
    fn take_header(&mut self, input: &mut &mut [u8]) -> Option<Header> {
        if self.unfinished.as_ref().is_none_or(|unfinished| unfinished.header_len == 0)
            && let Some((header, len)) = Header::read(input)
        {
            self.take(input, len);
            return Some(header);
        }
        while !input.is_empty() {
            let byte = self.take(input, 1).first().copied()?;
            let unfinished = self.unfinished.get_or_insert_default();
            let have = usize::from(unfinished.header_len);
            *unfinished.header.get_mut(have)? = byte;
            unfinished.header_len += 1;
            if let Some((header, _)) = unfinished.header.get(..=have).and_then(Header::read) {
                unfinished.header_len = 0;
                self.tidy();
                return Some(header);
            }
        }
        None
    }

    /// Rules that a header can break, those that depend on what came before it included.
    fn check_frame(&mut self, header: &Header) -> Result<(), Violation> {
        if self.state != State::Open {
            return Ok(());
        }
        header.check(!self.is_client, self.codec().is_some())?;
        if header.opcode.is_control() {
            return Ok(());
        }
        let limits = &self.limits;
        let assembly = self.unfinished.as_mut().and_then(|unfinished| unfinished.assembly.as_mut());
        match (assembly, header.opcode) {
            // RFC 6455 5.4: fragments of one message come without another between them.
            (Some(assembly), Opcode::Continuation) => assembly.expect(header.len, header.fin, limits),
            (Some(_), _) => Err(Violation::MessageInMessage),
            (None, Opcode::Continuation) => Err(Violation::NothingToContinue),
            (None, _) if header.fin && !header.is_compressed() && !limits.parts => {
                message::check_length(0, header.len, limits)
            }
            (None, opcode) => {
                let mut assembly = Assembly::new(kind_of(opcode), header.is_compressed());
                assembly.expect(header.len, header.fin, limits)?;
                self.unfinished.get_or_insert_default().assembly = Some(assembly);
                Ok(())
            }
        }
    }

    /// A frame that lies whole in the input. The common case copies nothing.
    fn take_whole<'b>(&mut self, mut frame: Frame, input: &mut &'b mut [u8], io: &mut Io<'_>) -> Option<Event<'b>> {
        let header = frame.header;
        let start = self.received;
        let payload = self.take(input, clip(header.len, input));
        frame.done = header.len;
        if let Some(key) = header.key {
            unmask(payload, key, 0);
        }
        let payload: &'b [u8] = payload;
        if header.opcode.is_control() {
            return self.control(header.opcode, payload, Payload::Input(payload), frame.offset, io);
        }
        if self.unfinished.as_ref().is_some_and(|unfinished| unfinished.assembly.is_some()) {
            return self.add(frame, payload, start, io);
        }
        let kind = kind_of(header.opcode);
        match message::check_whole(kind, payload) {
            Ok(()) => Some(Event::Message { kind, payload: Payload::Input(payload) }),
            Err(at) => self.fail(Violation::Text, start + at as u64, None, io),
        }
    }

    /// A part of a frame: what there is goes to where the rest will come.
    fn take_piece<'b>(&mut self, mut frame: Frame, input: &mut &'b mut [u8], io: &mut Io<'_>) -> Option<Event<'b>> {
        let start = self.received;
        let len = clip(frame.left().min(self.most()), input);
        let piece = self.take(input, len);
        if let Some(key) = frame.header.key {
            unmask(piece, key, frame.done);
        }
        let piece: &'b [u8] = piece;
        frame.done += piece.len() as u64;
        if frame.header.opcode.is_control() {
            return self.add_control(frame, piece, io);
        }
        let unfinished = self.unfinished.get_or_insert_default();
        unfinished.assembly.get_or_insert_with(|| Assembly::new(kind_of(frame.header.opcode), false));
        self.add(frame, piece, start, io)
    }

    /// Adds to the message in the making; `start` is where `piece` lies in the peer's stream.
    fn add<'b>(&mut self, frame: Frame, piece: &'b [u8], start: u64, io: &mut Io<'_>) -> Option<Event<'b>> {
        let is_last = frame.left() == 0 && frame.header.fin;
        let unfinished = self.unfinished.as_mut()?;
        let assembly = unfinished.assembly.as_mut()?;
        let codec = self.agreed.as_mut().and_then(|agreed| agreed.codec.as_mut());
        // Which of a compressed frame's bytes is the bad one depends on how many came at a time.
        let start = if assembly.is_compressed() { frame.offset } else { start };
        let added = match codec {
            Some(codec) if assembly.is_compressed() => {
                assembly.inflate(piece, is_last, codec, &self.limits, io.buffers).map_err(|violation| (violation, 0))
            }
            _ if self.limits.parts => assembly.pass(piece),
            // Behind a fragment more is to come, nobody knows how much.
            _ if !frame.header.fin => assembly.append(piece, u64::MAX, io.buffers),
            _ => assembly.append(piece, frame.left(), io.buffers),
        };
        if let Err((violation, at)) = added {
            return self.fail(violation, start + at as u64, Some(frame), io);
        }
        self.added(frame, piece, io)
    }

    /// What has come of a message when `piece`, the last that has, is added.
    fn added<'b>(&mut self, frame: Frame, piece: &'b [u8], io: &mut Io<'_>) -> Option<Event<'b>> {
        let is_last = frame.left() == 0 && frame.header.fin;
        let unfinished = self.unfinished.as_mut()?;
        let assembly = unfinished.assembly.as_mut()?;
        if frame.left() > 0 {
            unfinished.frame = Some(frame);
        }
        let kind = assembly.kind();
        let payload = match (self.limits.parts, assembly.is_compressed()) {
            (true, false) => Payload::Input(piece),
            (false, _) if !is_last => return None,
            _ => Payload::Buffer(assembly.take_bytes()),
        };
        if is_last {
            let is_whole = assembly.is_whole();
            unfinished.assembly = None;
            self.tidy();
            if !is_whole {
                give_back(payload, io);
                return self.fail(Violation::Text, self.received, None, io);
            }
        }
        if !self.limits.parts {
            return Some(Event::Message { kind, payload });
        }
        if payload.is_empty() && !is_last {
            give_back(payload, io);
            return None;
        }
        Some(Event::Part { kind, payload, is_last })
    }

    /// How many bytes the message at the front of `input` has in all, its header included, if it is one frame that has not
    /// come whole. Who can wait until it has need not have it put together.
    pub fn awaits(&self, input: &[u8]) -> Option<usize> {
        if self.state != State::Open || self.unfinished.is_some() || self.limits.parts {
            return None;
        }
        let (header, header_len) = Header::read(input)?;
        let is_whole = header.fin && matches!(header.opcode, Opcode::Text | Opcode::Binary);
        if !is_whole || header.check(!self.is_client, false).is_err() {
            return None;
        }
        message::check_length(0, header.len, &self.limits).ok()?;
        let len = usize::try_from(header.len).ok()?.checked_add(header_len)?;
        (len > input.len()).then_some(len)
    }

    /// Where the peer's next bytes may be received to, up to `most`: they belong to a long payload and need not be moved
    /// any more then. [`arrived`](Self::arrived) has to follow. Nothing where [`receive`](Self::receive) is as good.
    pub fn room(&mut self, most: usize, buffers: &mut Buffers) -> Option<&mut [u8]> {
        let unfinished = self.unfinished.as_mut()?;
        let frame = unfinished.frame?;
        if self.state != State::Open || self.limits.parts || frame.header.opcode.is_control() || frame.is_void {
            return None;
        }
        unfinished.assembly.as_mut()?.room(most, frame.left(), buffers)
    }

    /// Takes the first `len` bytes of the [`room`](Self::room) as received.
    pub fn arrived(&mut self, len: usize, io: &mut Io<'_>) -> Option<Event<'static>> {
        let start = self.received;
        let unfinished = self.unfinished.as_mut()?;
        let mut frame = unfinished.frame.take()?;
        let passed = unfinished.assembly.as_mut()?.arrived(len, frame.header.key, frame.done);
        frame.done += len as u64;
        self.received += len as u64;
        if let Err((violation, at)) = passed {
            return self.fail(violation, start + at as u64, Some(frame), io);
        }
        self.added(frame, &[], io)
    }

    /// How much of a payload may be taken at a time. A compressed message that is handed on in parts is inflated in
    /// small steps, so that what they come to stays small, too.
    fn most(&self) -> u64 {
        let assembly = self.unfinished.as_ref().and_then(|unfinished| unfinished.assembly.as_ref());
        let is_compressed = assembly.is_some_and(Assembly::is_compressed);
        if self.limits.parts && is_compressed { STEP } else { u64::MAX }
    }

    fn add_control<'b>(&mut self, frame: Frame, piece: &[u8], io: &mut Io<'_>) -> Option<Event<'b>> {
        let payload = self.collect_control(frame, piece)?;
        let mut buffer = Vec::new();
        if frame.header.opcode == Opcode::Pong
            && let Err(full) = io.buffers.append(&mut buffer, &payload, payload.len())
        {
            let violation = Violation::OutOfMemory { limit: full.limit, met: full.met };
            return self.fail(violation, frame.offset, None, io);
        }
        self.control(frame.header.opcode, &payload, Payload::Buffer(buffer), frame.offset, io)
    }

    /// Keeps a piece of a control frame's payload; all of it, once it is there.
    fn collect_control(&mut self, frame: Frame, piece: &[u8]) -> Option<Vec<u8>> {
        let unfinished = self.unfinished.get_or_insert_default();
        let have = usize::from(unfinished.control_len);
        let room = unfinished.control.iter_mut().skip(have);
        room.zip(piece).for_each(|(to, from)| *to = *from);
        let len = have + piece.len();
        unfinished.control_len = u8::try_from(len).unwrap_or_default();
        if frame.left() > 0 {
            unfinished.frame = Some(frame);
            return None;
        }
        unfinished.control_len = 0;
        let payload = unfinished.control.get(..len)?.to_vec();
        self.tidy();
        Some(payload)
    }

    /// A whole control frame (RFC 6455 5.5). Of a pong, `event` holds the same bytes as `payload`.
    fn control<'b>(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        event: Payload<'b>,
        offset: u64,
        io: &mut Io<'_>,
    ) -> Option<Event<'b>> {
        let limit = self.limits.max_controls;
        if opcode != Opcode::Close {
            self.controls = self.controls.saturating_add(1);
            if self.controls > limit && limit != u32::MAX {
                return self.fail(Violation::TooManyControls { limit }, offset, None, io);
            }
        }
        match opcode {
            Opcode::Ping => {
                self.pong(payload, io);
                None
            }
            Opcode::Pong => Some(Event::Pong(event)),
            _ => match close::read(payload) {
                Ok(received) => self.closed_by_peer(received, io),
                Err(violation) => {
                    let event = self.fail(violation, offset, None, io);
                    // RFC 6455 5.5.1: behind its Close frame, bad as it was, the peer sends no other.
                    self.state = State::Closed;
                    event
                }
            },
        }
    }

    /// RFC 6455 5.5.3: while the peer takes no bytes only the latest ping needs its answer.
    fn pong(&mut self, payload: &[u8], io: &mut Io<'_>) {
        if io.out.is_blocked() {
            self.unfinished.get_or_insert_default().pong = Some(payload.into());
        } else {
            // One that still waits would come behind a newer one.
            if let Some(unfinished) = &mut self.unfinished {
                unfinished.pong = None;
            }
            message::write_control(Opcode::Pong, payload, self.is_client, io);
        }
    }

    fn closed_by_peer<'b>(&mut self, received: Received, io: &mut Io<'_>) -> Option<Event<'b>> {
        // RFC 6455 5.5.1: the answer carries the code that was received.
        let code = if received.code == close::NO_CODE { 0 } else { received.code };
        self.send_close(code, "", io);
        self.begin_closing(By::Peer, None);
        self.abandon_message(io);
        if let Some(closing) = &mut self.closing {
            closing.received = Some(received);
        }
        self.state = State::Closed;
        Some(Event::Closed)
    }

    /// Fails the connection (RFC 6455 7.1.7). What is left of `frame` is passed over.
    fn fail<'b>(
        &mut self,
        violation: Violation,
        offset: u64,
        frame: Option<Frame>,
        io: &mut Io<'_>,
    ) -> Option<Event<'b>> {
        let failure = Failure { violation, offset };
        self.send_close(violation.code(), violation.rule(), io);
        self.begin_closing(By::Us, Some(failure));
        self.abandon_message(io);
        if let Some(frame) = frame.filter(|frame| frame.left() > 0) {
            self.unfinished.get_or_insert_default().frame = Some(Frame { is_void: true, ..frame });
        }
        if violation == Violation::LengthTopBit {
            // What follows such a header can not be told from its payload.
            self.state = State::Closed;
        }
        Some(Event::Failed(failure))
    }

    /// Behind our own Close frame only the peer's counts; everything else is passed over, rules and all.
    fn take_while_closing<'b>(&mut self, mut frame: Frame, input: &mut &'b mut [u8]) -> Option<Event<'b>> {
        let len = clip(frame.left(), input);
        let piece = self.take(input, len);
        if frame.is_void || frame.header.opcode != Opcode::Close || frame.header.len > MAX_CONTROL as u64 {
            frame.done += len as u64;
            if frame.left() > 0 {
                self.unfinished.get_or_insert_default().frame = Some(frame);
            } else {
                self.tidy();
            }
            return None;
        }
        if let Some(key) = frame.header.key {
            unmask(piece, key, frame.done);
        }
        frame.done += len as u64;
        let payload = self.collect_control(frame, piece)?;
        if let Some(closing) = &mut self.closing {
            match close::read(&payload) {
                Ok(received) => closing.received = Some(received),
                Err(violation) => {
                    closing.failure.get_or_insert(Failure { violation, offset: frame.offset });
                }
            }
        }
        self.state = State::Closed;
        Some(Event::Closed)
    }
}

fn give_back(payload: Payload<'_>, io: &mut Io<'_>) {
    if let Payload::Buffer(buffer) = payload {
        io.buffers.give_back(buffer);
    }
}

fn kind_of(opcode: Opcode) -> Kind {
    if opcode == Opcode::Text { Kind::Text } else { Kind::Binary }
}

/// As much of `len` bytes as `input` has.
fn clip(len: u64, input: &[u8]) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX).min(input.len())
}
