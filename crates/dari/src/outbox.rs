//! What waits to be written to one connection, in order, copied as little as can be.
//!
//! There are two uses of it: `tx`, one for the whole loop, which takes what the connection that is being read
//! says in answer; and the outbox of a connection, which it has only while something of it waits.

use socket2::Socket;
use std::collections::VecDeque;
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
    Shared(Arc<[u8]>),
    /// A place in the loop's receive buffer: good until that is used again.
    Rx(Range<usize>),
}

impl Chunk {
    fn bytes<'a>(&'a self, rx: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(bytes) => bytes,
            Self::Rx(place) => rx.get(place.clone()).unwrap_or_default(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Own(bytes) => bytes.len(),
            Self::Shared(bytes) => bytes.len(),
            Self::Rx(place) => place.len(),
        }
    }
}

/// A queue of bytes for one peer.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// All but the last, which is `tail`.
    chunks: VecDeque<Chunk>,
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
}

impl Outbox {
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
            self.close_tail();
        }
        &mut self.tail
    }

    pub(crate) fn push_shared(&mut self, bytes: &Arc<[u8]>) {
        self.close_tail();
        self.closed += bytes.len();
        self.chunks.push_back(Chunk::Shared(Arc::clone(bytes)));
    }

    pub(crate) fn push_rx(&mut self, place: Range<usize>) {
        self.close_tail();
        self.closed += place.len();
        self.refers = true;
        self.chunks.push_back(Chunk::Rx(place));
    }

    /// Gives back memory that a queue which has to wait does not need.
    pub(crate) fn trim(&mut self) {
        self.tail.shrink_to_fit();
        self.chunks.shrink_to_fit();
    }

    /// Says that a message ends here.
    pub(crate) fn end_message(&mut self) {
        if !self.is_empty() {
            self.ends.push_back(self.gone + self.len() as u64);
        }
    }

    /// Messages of which something still waits.
    pub(crate) fn messages(&self) -> usize {
        self.ends.len()
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

    /// Copies what lies in the receive buffer, which is about to be used again.
    pub(crate) fn keep(&mut self, rx: &[u8]) {
        if !self.refers {
            return;
        }
        for (i, chunk) in self.chunks.iter_mut().enumerate() {
            if let Chunk::Rx(place) = chunk {
                // The front of a chunk that is half gone is not copied.
                let skip = if i == 0 { std::mem::take(&mut self.written) } else { 0 };
                let kept = rx.get(place.start + skip..place.end).unwrap_or_default().to_vec();
                self.closed -= skip;
                *chunk = Chunk::Own(kept);
            }
        }
        self.refers = false;
    }

    /// One system call: how much it took of how much it was offered.
    fn write_once(&self, socket: &Socket, rx: &[u8], extra: &[u8]) -> io::Result<(usize, usize)> {
        let mut slices = [IoSlice::new(&[]); PIECES];
        let mut offered = 0;
        let pieces = self.chunks.iter().map(|chunk| chunk.bytes(rx)).chain([&self.tail[..], extra]);
        let mut count = 0;
        let mut skip = self.written;
        for piece in pieces.filter(|piece| !piece.is_empty()) {
            let Some(slice) = slices.get_mut(count) else { break };
            let piece = piece.get(std::mem::take(&mut skip)..).unwrap_or_default();
            offered += piece.len();
            *slice = IoSlice::new(piece);
            count += 1;
        }
        loop {
            let sent = socket.send_vectored_with_flags(&slices[..count], libc::MSG_NOSIGNAL);
            match sent {
                Ok(sent) => return Ok((sent, offered)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok((0, offered.max(1))),
                Err(error) => return Err(error),
            }
        }
    }

    fn advance(&mut self, sent: usize) {
        self.gone += sent as u64;
        self.written += sent;
        while let Some(first) = self.chunks.front()
            && first.len() <= self.written
        {
            self.written -= first.len();
            self.closed -= first.len();
            self.chunks.pop_front();
        }
        if self.chunks.is_empty() {
            self.refers = false;
            if self.written >= self.tail.len() {
                self.written = 0;
                self.tail.clear();
            }
        }
        while self.ends.front().is_some_and(|end| *end <= self.gone) {
            self.ends.pop_front();
        }
    }

    fn close_tail(&mut self) {
        if self.tail.is_empty() {
            return;
        }
        self.closed += self.tail.len();
        let chunk = if self.tail.len() < SMALL {
            let copy = self.tail.as_slice().to_vec();
            self.tail.clear();
            copy
        } else {
            let mut chunk = std::mem::take(&mut self.tail);
            chunk.shrink_to_fit();
            chunk
        };
        self.chunks.push_back(Chunk::Own(chunk));
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
        let shared: Arc<[u8]> = vec![7; 100_000].into();
        let extra = vec![9; 200_000];
        let mut outbox = Outbox::default();
        let mut wanted = Vec::new();
        for round in 0..3u8 {
            outbox.tail().extend_from_slice(&[round; 10]);
            wanted.extend_from_slice(&[round; 10]);
            outbox.push_rx(1000..90_000);
            wanted.extend_from_slice(&rx[1000..90_000]);
            outbox.push_shared(&shared);
            wanted.extend_from_slice(&shared);
            outbox.end_message();
        }
        wanted.extend_from_slice(&extra);
        let mut extra_gone = outbox.write(&a, &rx, &extra).unwrap();
        assert!(!outbox.is_empty());
        outbox.keep(&rx);
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
}
