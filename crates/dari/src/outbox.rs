//! What waits to be written to one connection, in order, copied as little as can be.
//!
//! There are two uses of it: `tx`, one for the whole loop, which takes what the connection that is being read
//! says in answer; and the outbox of a connection, which it has only while something of it waits.

use dari_core::{Framed, Head, MAX_HEADER};
use socket2::Socket;
use std::collections::{TryReserveError, VecDeque};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::Arc;

/// Bytes that are joined into one piece before the next one begins.
const JOIN: usize = 64 << 10;
/// Below this many bytes, the header of a frame for instance, a piece is copied out of the tail.
const SMALL: usize = 512;
/// Pieces that one system call writes.
const PIECES: usize = 64;

#[derive(Debug)]
enum Chunk {
    Own(Vec<u8>),
    /// So many bytes of it.
    Shared(Arc<Framed>, usize),
    /// A place in the loop's receive buffer: good until that is used again.
    Rx(Range<usize>),
}

impl Chunk {
    fn bytes<'a>(&'a self, rx: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(bytes, len) => bytes.get(..*len).unwrap_or_default(),
            Self::Rx(place) => rx.get(place.clone()).unwrap_or_default(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Own(bytes) => bytes.len(),
            Self::Shared(_, len) => *len,
            Self::Rx(place) => place.len(),
        }
    }

    /// Bytes of memory that nobody else has.
    fn held(&self) -> usize {
        if let Self::Own(bytes) = self { bytes.capacity() } else { 0 }
    }

    /// Takes `over` bytes off its end.
    fn shorten(&mut self, over: usize) {
        match self {
            Self::Own(bytes) => {
                bytes.truncate(bytes.len() - over);
                bytes.shrink_to_fit();
            }
            Self::Shared(_, len) => *len -= over,
            Self::Rx(place) => place.end -= over,
        }
    }
}

/// A chunk, and how it may be dealt with.
#[derive(Debug)]
struct Piece {
    chunk: Chunk,
    part: Part,
}

/// What a chunk is part of, where messages are kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Of anything: it has to go out.
    Stream,
    /// Of a message that may be dropped as a whole.
    Message,
    /// The last one of such a message.
    MessageEnd,
}

/// A queue of bytes for one peer.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// All but the last, which is `tail`.
    chunks: VecDeque<Piece>,
    /// Whether messages are kept apart, so that those that have not begun to leave may be dropped.
    pub(crate) apart: bool,
    /// Where messages are kept apart: where the one that is being added began, in chunks and in bytes of this queue's
    /// life; how many there are; and whether a part of the first one has left.
    begin: usize,
    start: u64,
    whole: usize,
    begun: bool,
    /// Bytes of memory that chunks of its own have.
    own: usize,
    /// What the loop's memory was last told of it.
    pub(crate) charged: usize,
    /// Where small things are appended.
    tail: Vec<u8>,
    /// Bytes of the first chunk that are written.
    written: usize,
    /// Bytes in all, the written ones of the first chunk included.
    closed: usize,
    /// Where messages end, counted in bytes from the beginning of this queue's life.
    ends: VecDeque<u64>,
    /// Bytes that have left.
    gone: u64,
    /// When it last moved, in milliseconds of the loop's clock.
    pub(crate) moved: u64,
    refers: bool,
    /// Heads that are to be written into the receive buffer, and where.
    heads: Vec<(usize, Head)>,
}

impl Outbox {
    /// An empty one; `apart` keeps messages apart.
    pub(crate) fn new(apart: bool) -> Self {
        Self { apart, ..Self::default() }
    }

    /// What the kernel has not taken of frames that many peers get: all but the first `gone` bytes. `ends`: where
    /// messages end in them.
    pub(crate) fn rest_of(
        frames: &Arc<Framed>,
        gone: usize,
        ends: impl Iterator<Item = usize>,
    ) -> Result<Self, TryReserveError> {
        let mut outbox = Self::default();
        outbox.push_shared(frames)?;
        outbox.written = gone;
        ends.filter(|end| *end > gone).for_each(|end| outbox.note_end((end - gone) as u64));
        Ok(outbox)
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.closed + self.tail.len() - self.written
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a piece lies in the receive buffer: then only the reader of that buffer can write or keep it.
    pub(crate) fn refers(&self) -> bool {
        self.refers
    }

    /// The buffer to append to.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        if self.tail.len() >= JOIN {
            // Without memory for another piece this one grows on.
            let _ = self.close_tail();
        }
        &mut self.tail
    }

    /// The same with room for `len` bytes.
    #[inline]
    pub(crate) fn tail_with(&mut self, len: usize) -> Result<&mut Vec<u8>, TryReserveError> {
        let tail = self.tail();
        if tail.capacity() - tail.len() < len {
            self.grow_tail(len)?;
        }
        Ok(&mut self.tail)
    }

    /// Where what waits in the tail can not grow, another piece begins.
    #[cold]
    fn grow_tail(&mut self, len: usize) -> Result<(), TryReserveError> {
        if self.tail.try_reserve(len).is_err() {
            self.close_tail()?;
            self.tail.try_reserve_exact(len)?;
        }
        Ok(())
    }

    /// The same for what is short, and so needs no asking for where nothing long waits.
    pub(crate) fn tail_for_short(&mut self) -> &mut Vec<u8> {
        if self.tail.len() >= SMALL && self.tail.capacity() - self.tail.len() < SMALL {
            // If there is really nothing, that shows where it is appended.
            let _ = self.tail_with(SMALL);
        }
        self.tail()
    }

    /// Appends a frame.
    #[inline]
    pub(crate) fn push_frame(&mut self, head: Head, payload: &[u8]) -> Result<(), TryReserveError> {
        let tail = self.tail_with(MAX_HEADER + payload.len())?;
        head.write(tail);
        tail.extend_from_slice(payload);
        Ok(())
    }

    /// Appends a frame that is a message.
    pub(crate) fn push_message(&mut self, head: Head, payload: &[u8]) -> Result<(), TryReserveError> {
        self.push_frame(head, payload)?;
        self.end_message();
        Ok(())
    }

    pub(crate) fn push_shared(&mut self, frame: &Arc<Framed>) -> Result<(), TryReserveError> {
        self.close_tail()?;
        self.push(Chunk::Shared(Arc::clone(frame), frame.len()))
    }

    /// A frame whose payload lies at `place`. In front of that is room for `head`: it will be written there.
    pub(crate) fn push_rx_frame(&mut self, head: Head, place: Range<usize>) -> Result<(), TryReserveError> {
        let start = place.start - head.len();
        self.heads.try_reserve(1)?;
        self.push_rx(start..place.end)?;
        self.heads.push((start, head));
        Ok(())
    }

    /// Writes heads into the receive buffer, in front of what they belong to.
    pub(crate) fn write_heads(&mut self, rx: &mut [u8]) {
        for (start, head) in self.heads.drain(..) {
            if let Some(place) = rx.get_mut(start..start + head.len()) {
                place.copy_from_slice(&head.to_bytes()[..head.len()]);
            }
        }
    }

    pub(crate) fn push_rx(&mut self, place: Range<usize>) -> Result<(), TryReserveError> {
        self.close_tail()?;
        self.push(Chunk::Rx(place))?;
        self.refers = true;
        Ok(())
    }

    /// Gives back memory that a queue which has to wait does not need.
    pub(crate) fn trim(&mut self) {
        self.tail.shrink_to_fit();
        self.chunks.shrink_to_fit();
        self.heads.shrink_to_fit();
    }

    /// Bytes of memory that it has, but for what is shared.
    pub(crate) fn held(&self) -> usize {
        let lists = self.chunks.capacity() * size_of::<Piece>() + self.ends.capacity() * size_of::<u64>();
        self.own + self.tail.capacity() + lists
    }

    /// Says that a message begins here, which may be dropped as a whole.
    pub(crate) fn begin_message(&mut self) {
        if self.apart {
            // Without memory for another piece this message can not be told from what is in front of it: it stays.
            self.begin = if self.close_tail().is_ok() { self.chunks.len() } else { usize::MAX };
            self.start = self.gone + self.len() as u64;
        }
    }

    /// Says that a message ends here.
    #[inline]
    pub(crate) fn end_message(&mut self) {
        if self.is_empty() {
            return;
        }
        if self.apart {
            self.end_apart();
        } else {
            self.note_end(self.gone + self.len() as u64);
        }
    }

    #[inline]
    fn note_end(&mut self, end: u64) {
        if self.ends.len() < self.ends.capacity() {
            self.ends.push_back(end);
        } else {
            self.note_one_more_end(end);
        }
    }

    #[cold]
    fn note_one_more_end(&mut self, end: u64) {
        if self.ends.try_reserve(1).is_ok() {
            self.ends.push_back(end);
        } else if let Some(last) = self.ends.back_mut() {
            // Without memory to count it, it is one with the message before it.
            *last = end;
        }
    }

    fn end_apart(&mut self) {
        if self.close_tail().is_err() {
            return;
        }
        // What of it was written through at once is not there any more.
        let begin = self.begin.min(self.chunks.len());
        self.chunks.range_mut(begin..).for_each(|piece| piece.part = Part::Message);
        if let Some(last) = self.chunks.back_mut().filter(|last| last.part == Part::Message) {
            last.part = Part::MessageEnd;
            self.whole += 1;
            self.begun |= self.gone > self.start;
        }
    }

    /// Messages of which something still waits.
    pub(crate) fn messages(&self) -> usize {
        self.ends.len() + self.whole
    }

    /// Drops the oldest messages that have not begun to leave, until less than `most` bytes wait. How many, and
    /// their bytes.
    pub(crate) fn drop_oldest(&mut self, most: usize) -> (usize, usize) {
        let (mut messages, mut bytes) = (0, 0);
        let is_begun = self.begun || self.written > 0;
        let begun_end = self.chunks.iter().position(|piece| piece.part == Part::MessageEnd).map_or(0, |at| at + 1);
        let mut at = if is_begun && self.chunks.front().is_some_and(|first| first.part != Part::Stream) {
            begun_end
        } else {
            usize::from(is_begun)
        };
        while self.len() >= most {
            let Some(start) = (at..self.chunks.len()).find(|i| self.part(*i) != Part::Stream) else { break };
            let Some(end) = (start..self.chunks.len()).find(|i| self.part(*i) == Part::MessageEnd) else { break };
            let before = self.len();
            for piece in self.chunks.drain(start..=end) {
                self.closed -= piece.chunk.len();
                self.own -= piece.chunk.held();
            }
            messages += 1;
            bytes += before - self.len();
            self.whole -= 1;
            at = start;
        }
        (messages, bytes)
    }

    /// Drops everything behind the end of the message that is being written. How many messages that were, and their
    /// bytes.
    pub(crate) fn cut(&mut self) -> (usize, usize) {
        if self.apart {
            return self.drop_oldest(0);
        }
        let Some(end) = self.ends.front().copied() else { return (0, 0) };
        let (messages, before) = (self.ends.len() - 1, self.len());
        let keep = usize::try_from(end - self.gone).unwrap_or(usize::MAX);
        let over = self.len().saturating_sub(keep).min(self.tail.len());
        self.tail.truncate(self.tail.len() - over);
        self.tail.shrink_to_fit();
        while self.len() > keep {
            let over = self.len() - keep;
            let Some(Piece { chunk, .. }) = self.chunks.back_mut() else { break };
            let held = chunk.held();
            if over >= chunk.len() {
                self.closed -= chunk.len();
                self.own -= held;
                self.chunks.pop_back();
                continue;
            }
            // A message that shares its chunk with the next ones.
            chunk.shorten(over);
            self.own = self.own - held + chunk.held();
            self.closed -= over;
        }
        self.ends.truncate(1);
        (messages, before - self.len())
    }

    fn part(&self, at: usize) -> Part {
        self.chunks.get(at).map_or(Part::Stream, |piece| piece.part)
    }

    fn push(&mut self, chunk: Chunk) -> Result<(), TryReserveError> {
        self.chunks.try_reserve(1)?;
        self.closed += chunk.len();
        self.own += chunk.held();
        self.chunks.push_back(Piece { chunk, part: Part::Stream });
        Ok(())
    }

    /// Writes what waits and then `extra`, until all is gone or the kernel takes no more. Tells how much of
    /// `extra` is gone.
    pub(crate) fn write(&mut self, socket: &Socket, rx: &[u8], extra: &[u8]) -> io::Result<usize> {
        let mut extra_gone = 0;
        while !self.is_empty() || extra_gone < extra.len() {
            let (sent, offered) = self.write_once(socket, rx, &extra[extra_gone..])?;
            let own = sent.min(self.len());
            self.advance(own);
            extra_gone += sent - own;
            // Less than was offered: the kernel is full, and will say when it is not.
            if sent < offered {
                break;
            }
        }
        Ok(extra_gone)
    }

    /// The bytes that come next: as they lie, up to `most`, if there are `enough` in one place, else put together in
    /// `scratch`.
    pub(crate) fn front<'a>(
        &'a self,
        rx: &'a [u8],
        most: usize,
        enough: usize,
        scratch: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], TryReserveError> {
        let pieces = self.chunks.iter().map(|piece| piece.chunk.bytes(rx)).chain([&self.tail[..]]);
        let mut skip = self.written;
        let mut pieces = pieces.map(|piece| piece.get(std::mem::take(&mut skip)..).unwrap_or_default());
        let mut first = pieces.next().unwrap_or_default();
        if first.len() >= enough {
            return Ok(&first[..first.len().min(most)]);
        }
        scratch.clear();
        scratch.try_reserve_exact(enough)?;
        loop {
            let room = enough - scratch.len();
            scratch.extend_from_slice(&first[..first.len().min(room)]);
            match pieces.next() {
                Some(next) if scratch.len() < enough => first = next,
                _ => return Ok(scratch),
            }
        }
    }

    /// Copies what lies in the receive buffer, which is about to be used again.
    pub(crate) fn keep(&mut self, rx: &[u8]) -> Result<(), TryReserveError> {
        if !self.refers {
            return Ok(());
        }
        for (i, Piece { chunk, .. }) in self.chunks.iter_mut().enumerate() {
            if let Chunk::Rx(place) = chunk {
                // The front of a chunk that is half gone is not copied.
                let skip = if i == 0 { self.written } else { 0 };
                let bytes = rx.get(place.start + skip..place.end).unwrap_or_default();
                let mut kept = Vec::new();
                kept.try_reserve_exact(bytes.len())?;
                kept.extend_from_slice(bytes);
                if i == 0 {
                    self.begun |= skip > 0;
                    self.written = 0;
                }
                self.closed -= skip;
                self.own += kept.capacity();
                *chunk = Chunk::Own(kept);
            }
        }
        self.refers = false;
        Ok(())
    }

    /// One system call: how much it took of how much it was offered.
    fn write_once(&self, socket: &Socket, rx: &[u8], extra: &[u8]) -> io::Result<(usize, usize)> {
        let alone = match self.chunks.front() {
            None => Some(&self.tail[..]),
            Some(only) if self.chunks.len() == 1 && self.tail.is_empty() => Some(only.chunk.bytes(rx)),
            Some(_) => None,
        };
        if let Some(piece) = alone.and_then(|piece| piece.get(self.written..)).filter(|_| extra.is_empty()) {
            return once(piece.len(), || socket.send_with_flags(piece, libc::MSG_NOSIGNAL));
        }
        let mut slices = [IoSlice::new(&[]); PIECES];
        let mut offered = 0;
        let pieces = self.chunks.iter().map(|piece| piece.chunk.bytes(rx)).chain([&self.tail[..], extra]);
        let mut count = 0;
        let mut skip = self.written;
        for piece in pieces.filter(|piece| !piece.is_empty()) {
            let Some(slice) = slices.get_mut(count) else { break };
            let piece = piece.get(std::mem::take(&mut skip)..).unwrap_or_default();
            offered += piece.len();
            *slice = IoSlice::new(piece);
            count += 1;
        }
        once(offered, || socket.send_vectored_with_flags(&slices[..count], libc::MSG_NOSIGNAL))
    }

    /// Takes bytes off the front: they have gone.
    pub(crate) fn advance(&mut self, sent: usize) {
        self.gone += sent as u64;
        self.written += sent;
        while let Some(Piece { chunk, part }) = self.chunks.front()
            && chunk.len() <= self.written
        {
            self.written -= chunk.len();
            self.closed -= chunk.len();
            self.own -= chunk.held();
            self.begun = *part == Part::Message;
            self.whole -= usize::from(*part == Part::MessageEnd);
            self.begin = self.begin.saturating_sub(1);
            self.chunks.pop_front();
        }
        if self.chunks.is_empty() {
            self.refers = false;
            if self.written >= self.tail.len() {
                self.written = 0;
                self.tail.clear();
            }
        }
        if self.is_empty() {
            return self.ends.clear();
        }
        while self.ends.front().is_some_and(|end| *end <= self.gone) {
            self.ends.pop_front();
        }
    }

    fn close_tail(&mut self) -> Result<(), TryReserveError> {
        if self.tail.is_empty() {
            return Ok(());
        }
        self.chunks.try_reserve(1)?;
        let chunk = if self.tail.len() < SMALL {
            let copy = self.tail.as_slice().to_vec();
            self.tail.clear();
            copy
        } else {
            let mut chunk = std::mem::take(&mut self.tail);
            chunk.shrink_to_fit();
            chunk
        };
        self.push(Chunk::Own(chunk))
    }
}

/// One system call that takes bytes: how many, and how many it was offered.
fn once(offered: usize, call: impl Fn() -> io::Result<usize>) -> io::Result<(usize, usize)> {
    loop {
        match call() {
            Ok(sent) => return Ok((sent, offered)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok((0, offered.max(1))),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn pair() -> (Socket, Socket) {
        let (a, b) = Socket::pair(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        a.set_nonblocking(true).unwrap();
        b.set_nonblocking(true).unwrap();
        (a, b)
    }

    #[test]
    fn pieces_of_all_kinds_leave_in_order_however_little_the_kernel_takes() {
        let (a, mut b) = pair();
        let rx: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        let shared = Arc::new(Framed::from(vec![7; 100_000]));
        let extra = vec![9; 200_000];
        let mut outbox = Outbox::default();
        let mut wanted = Vec::new();
        for round in 0..3u8 {
            outbox.tail().extend_from_slice(&[round; 10]);
            wanted.extend_from_slice(&[round; 10]);
            outbox.push_rx(1000..90_000).unwrap();
            wanted.extend_from_slice(&rx[1000..90_000]);
            outbox.push_shared(&shared).unwrap();
            wanted.extend_from_slice(&shared);
            outbox.end_message();
        }
        wanted.extend_from_slice(&extra);
        let mut extra_gone = outbox.write(&a, &rx, &extra).unwrap();
        assert!(!outbox.is_empty());
        outbox.keep(&rx).unwrap();
        let (mut got, mut buffer) = (Vec::new(), vec![0; 50_000]);
        while got.len() < wanted.len() {
            match b.read(&mut buffer) {
                Ok(n) => got.extend_from_slice(&buffer[..n]),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            extra_gone += outbox.write(&a, &[], &extra[extra_gone..]).unwrap();
        }
        assert!(got == wanted);
        assert_eq!((outbox.len(), outbox.messages(), outbox.closed), (0, 0, 0));
    }

    #[test]
    fn messages_count_until_their_last_byte_is_gone() {
        let (a, _b) = pair();
        let mut outbox = Outbox::default();
        for _ in 0..3 {
            outbox.tail().extend_from_slice(b"abc");
            outbox.end_message();
        }
        assert_eq!((outbox.len(), outbox.messages()), (9, 3));
        outbox.write(&a, &[], &[]).unwrap();
        assert_eq!((outbox.len(), outbox.messages()), (0, 0));
    }

    /// What is left when messages of many sizes, with control bytes between them, are added, written a little at a
    /// time and dropped: whole messages in order, and every control byte.
    #[test]
    fn dropping_takes_whole_messages_that_have_not_begun_and_nothing_else() {
        for seed in 0..60u64 {
            let (a, mut b) = pair();
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut next = |below: usize| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                usize::try_from(random % below as u64).unwrap()
            };
            let shared = Arc::new(Framed::from(vec![b's'; 3_000]));
            let mut outbox = Outbox { apart: true, ..Outbox::default() };
            let (mut queued, mut dropped, mut got, mut controls) = (0, 0, Vec::new(), 0);
            let mut buffer = vec![0; 1 << 20];
            for step in 0..150 {
                match next(8) {
                    0 => {
                        outbox.tail().push(b'c');
                        controls += 1;
                    }
                    1 => dropped += outbox.drop_oldest(next(200_000)).0,
                    2 => drop(outbox.write(&a, &[], &[]).unwrap()),
                    3 => {
                        let len = b.read(&mut buffer[..next(50_000)]).unwrap_or(0);
                        got.extend_from_slice(&buffer[..len]);
                    }
                    kind => {
                        outbox.begin_message();
                        // A message says where it begins and ends.
                        outbox.tail().push(b'[');
                        let mut extra_gone = 0;
                        let big = vec![b'm'; next(90_000)];
                        match kind {
                            4 => outbox.push_shared(&shared).unwrap(),
                            5 => extra_gone = outbox.write(&a, &[], &big).unwrap(),
                            _ => {}
                        }
                        outbox.tail().extend_from_slice(&big[extra_gone..]);
                        outbox.tail().push(b']');
                        outbox.end_message();
                        queued += 1;
                    }
                }
                let held: usize = outbox.chunks.iter().map(|piece| piece.chunk.held()).sum();
                assert_eq!(outbox.own, held, "seed {seed}, step {step}");
            }
            let last = outbox.messages();
            dropped += outbox.cut().0;
            assert!(outbox.messages() <= 1.min(last), "seed {seed}");
            while !outbox.is_empty() {
                outbox.write(&a, &[], &[]).unwrap();
                let len = b.read(&mut buffer).unwrap_or(0);
                got.extend_from_slice(&buffer[..len]);
            }
            while let Ok(n @ 1..) = b.read(&mut buffer) {
                got.extend_from_slice(&buffer[..n]);
            }
            let count = |byte| got.iter().filter(|at| **at == byte).count();
            assert_eq!(
                (count(b'['), count(b']'), count(b'c')),
                (queued - dropped, queued - dropped, controls),
                "seed {seed}"
            );
            let order: Vec<u8> = got.iter().copied().filter(|byte| matches!(byte, b'[' | b']')).collect();
            assert!(order.chunks(2).all(|pair| pair == b"[]"), "seed {seed}: a message within a message");
            assert_eq!((outbox.len(), outbox.messages(), outbox.own), (0, 0, 0));
        }
    }

    #[test]
    fn a_cut_leaves_the_message_that_has_begun_and_ends_behind_it() {
        let mut outbox = Outbox::default();
        for size in [10, 70_000, 20, 100_000] {
            outbox.tail().extend_from_slice(&vec![b'x'; size]);
            outbox.end_message();
        }
        assert_eq!(outbox.cut(), (3, 170_020));
        assert_eq!((outbox.len(), outbox.messages()), (10, 1));
        let (a, mut b) = pair();
        outbox.tail().extend_from_slice(b"close");
        outbox.write(&a, &[], &[]).unwrap();
        let mut got = [0; 64];
        let len = b.read(&mut got).unwrap();
        assert_eq!(&got[..len], b"xxxxxxxxxxclose");
        assert_eq!(outbox.cut(), (0, 0));
    }
}
