//! Where the protocol writes to: a queue, or straight through to the socket, copied as little as can be.

use crate::cause::End;
use crate::memory::Shared;
use crate::outbox::Outbox;
use dari_core::{Framed, Head, Kind, Message, Output};
use socket2::Socket;
use std::ops::Range;
use std::sync::Arc;

/// Payloads from this size on are sent from where they lie in the receive buffer.
pub(crate) const REFER: usize = 4 << 10;
/// Payloads from this size on are written straight from the caller's memory.
const DIRECT: usize = 64 << 10;
/// Shared payloads from this size on are queued by reference.
const SHARE: usize = 2 << 10;

/// The message that a hook is being told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    place: usize,
    len: usize,
    is_text: bool,
    /// The head of an echo stands where its own stood.
    is_headed: bool,
}

impl Told {
    pub(crate) fn new(message: Message<'_>) -> Self {
        Self {
            place: message.data.as_ptr() as usize,
            len: message.data.len(),
            is_text: message.kind == Kind::Text,
            is_headed: false,
        }
    }

    fn is_it(&self, bytes: &[u8]) -> bool {
        self.place == bytes.as_ptr() as usize && self.len == bytes.len()
    }

    /// Where in the receive buffer, which is at addresses `rx`, it lies, if `bytes` are its payload.
    pub(crate) fn place_in(&self, rx: &Range<usize>, bytes: &[u8]) -> Option<Range<usize>> {
        place_in(rx, bytes).filter(|_| self.is_it(bytes))
    }

    /// Whether nothing stands yet in front of it, where its own head stood, and `head` has room there: it is shorter by the
    /// mask, which a server does not send. From now on it stands there.
    pub(crate) fn has_head_room(&mut self, place: &Range<usize>, head: &Head) -> bool {
        place.start >= head.len() && !std::mem::replace(&mut self.is_headed, true)
    }

    /// Whether `message` is that one, and text: then it need not be checked again. Who is told a message may not
    /// change it.
    pub(crate) fn is_text(&self, message: Message<'_>) -> bool {
        self.is_text && self.is_it(message.data)
    }
}

/// Where bytes lie in a buffer that is at addresses `buffer`, if they do.
fn place_in(buffer: &Range<usize>, bytes: &[u8]) -> Option<Range<usize>> {
    let start = (bytes.as_ptr() as usize).checked_sub(buffer.start)?;
    let place = start..start + bytes.len();
    (place.end <= buffer.len()).then_some(place)
}

/// The output of one connection, for the length of one call.
pub(crate) struct Outgoing<'a> {
    pub(crate) queue: &'a mut Outbox,
    /// Who counts what several queues share; nobody, if it is the host's.
    pub(crate) shared: Option<&'a mut Shared>,
    pub(crate) socket: &'a Socket,
    /// Addresses of the receive buffer, if what lies there may be referred to.
    pub(crate) rx: Range<usize>,
    pub(crate) told: &'a mut Told,
    pub(crate) may_write: bool,
    pub(crate) blocked: bool,
    pub(crate) error: Option<Wrong>,
}

/// Why something could not be written.
pub(crate) enum Wrong {
    Socket(End),
    /// There was no memory for it: nothing of it is there.
    Memory,
    /// The same, but for a part of it.
    Torn,
}

impl Output for Outgoing<'_> {
    fn buffer(&mut self) -> &mut Vec<u8> {
        self.queue.tail_for_short()
    }

    fn room_for(&mut self, len: usize) -> Option<&mut Vec<u8>> {
        let room = self.queue.tail_with(len);
        if room.is_err() {
            self.error.get_or_insert(Wrong::Memory);
        }
        room.ok()
    }

    fn payload(&mut self, bytes: &[u8]) {
        let left = if self.goes_through(bytes) { self.write_through(bytes) } else { bytes };
        let place = place_in(&self.rx, left).filter(|place| place.len() >= REFER);
        if place.is_none_or(|place| self.queue.push_rx(place).is_err()) {
            self.copy(left);
        }
    }

    fn frame(&mut self, head: Head, payload: &[u8]) {
        if payload.len() >= REFER {
            if !self.goes_through(payload)
                && let Some(place) = self.told.place_in(&self.rx, payload)
                && self.told.has_head_room(&place, &head)
                && self.queue.push_rx_frame(head, place).is_ok()
            {
                return;
            }
            // Where all of it is copied, it is copied in one piece: there is memory for the whole frame, or none of it.
            if self.goes_through(payload) || place_in(&self.rx, payload).is_some() {
                self.copy(&head.to_bytes()[..head.len()]);
                return self.payload(payload);
            }
        }
        if self.queue.push_frame(head, payload).is_err() {
            self.error.get_or_insert(Wrong::Memory);
        }
    }

    fn shared(&mut self, frame: &Arc<Framed>) {
        if frame.len() >= SHARE {
            if let Some(shared) = &mut self.shared {
                shared.remember(frame);
            }
            if self.queue.push_shared(frame).is_err() {
                self.error.get_or_insert(Wrong::Memory);
            }
        } else {
            self.copy(frame);
        }
    }

    fn is_blocked(&self) -> bool {
        self.blocked
    }
}

impl Outgoing<'_> {
    /// Whether `bytes` are written at once: then only what the kernel does not take of them counts as waiting.
    fn goes_through(&self, bytes: &[u8]) -> bool {
        bytes.len() >= DIRECT && self.may_write && !self.blocked && !self.queue.refers()
    }

    /// Writes what is queued and then `bytes` from where they are. What the kernel does not take is left.
    fn write_through<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let gone = self.queue.write(self.socket, &[], bytes).unwrap_or_else(|error| {
            self.error = Some(Wrong::Socket(End::Io(error.raw_os_error().unwrap_or_default())));
            0
        });
        self.blocked |= gone < bytes.len();
        bytes.get(gone..).unwrap_or_default()
    }

    /// Appends bytes of which a peer may have chosen how many they are.
    fn copy(&mut self, bytes: &[u8]) {
        match self.queue.tail_with(bytes.len()) {
            Ok(tail) => tail.extend_from_slice(bytes),
            Err(_) => drop(self.error.get_or_insert(Wrong::Torn)),
        }
    }
}
