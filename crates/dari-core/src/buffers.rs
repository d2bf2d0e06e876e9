//! The memory in which messages are put together: pooled, counted and bounded.
//!
//! A buffer grows with what has arrived and never with what a header declares. What is counted is what is
//! allocated, not what is filled. Nothing here aborts when memory is short.

use crate::deflate::Codecs;

/// Buffers of up to this size are kept for the next message.
const KEEP_EACH: usize = 4 << 20;
/// This much is kept in all.
const KEEP_ALL: usize = 8 << 20;
/// A new buffer begins with this size.
const FIRST: usize = 1 << 10;

/// The limit of a [`Buffers`] was reached, or the system's allocator said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory {
    /// Bytes that there would have been in use.
    pub met: usize,
    /// The limit in bytes.
    pub limit: usize,
}

/// A pool of buffers with one limit on all that it has handed out.
#[derive(Debug)]
pub struct Buffers {
    limit: usize,
    /// How far the limit may be passed before anything is refused.
    grace: usize,
    used: usize,
    peak: usize,
    kept: usize,
    free: Vec<Vec<u8>>,
    pub(crate) codecs: Codecs,
    /// Where a message is compressed before its length is known.
    pub(crate) scratch: Vec<u8>,
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl Buffers {
    /// A pool that hands out at most `limit` bytes at a time.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            grace: 0,
            used: 0,
            peak: 0,
            kept: 0,
            free: Vec::new(),
            codecs: Codecs::default(),
            scratch: Vec::new(),
        }
    }

    /// The same for an owner who makes room as soon as the limit is passed: until then it may be passed by an
    /// eighth.
    pub fn with_grace(limit: usize) -> Self {
        Self { grace: limit / 8, ..Self::new(limit) }
    }

    /// The limit in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes allocated in buffers that are in use, and elsewhere on account of this pool.
    pub fn used(&self) -> usize {
        self.used
    }

    /// The most that was ever in use.
    pub fn peak(&self) -> usize {
        self.peak
    }

    /// Counts memory that is allocated elsewhere: there were `before` bytes of it, and now there are `now`.
    pub fn account(&mut self, before: usize, now: usize) {
        self.uncharge(before);
        self.add(now);
    }

    /// Bytes kept for later.
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// Whether anything is kept for later that [`decay`](Self::decay) would give back.
    pub fn keeps_any(&self) -> bool {
        self.kept > 0 || !self.codecs.is_empty() || self.scratch.capacity() > 0
    }

    /// Counts memory that is allocated elsewhere.
    pub(crate) fn charge(&mut self, bytes: usize) -> Result<(), OutOfMemory> {
        self.check(bytes)?;
        self.add(bytes);
        Ok(())
    }

    pub(crate) fn uncharge(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
    }

    /// Appends `bytes` to a buffer of this pool, which grows to at most `most` bytes ahead of need.
    ///
    /// An empty buffer without memory (`Vec::new()`) gets some from the pool.
    pub fn append(&mut self, buffer: &mut Vec<u8>, bytes: &[u8], most: usize) -> Result<(), OutOfMemory> {
        let filled = buffer.len();
        self.fill(buffer, filled, bytes, most)?;
        buffer.truncate(filled + bytes.len());
        Ok(())
    }

    /// The same for a buffer of which only the first `filled` bytes count. What is behind them is from earlier days: memory
    /// that was written once need not be cleared again.
    pub(crate) fn fill(
        &mut self,
        buffer: &mut Vec<u8>,
        filled: usize,
        bytes: &[u8],
        most: usize,
    ) -> Result<(), OutOfMemory> {
        self.grow(buffer, filled + bytes.len(), most)?;
        let old = buffer.get_mut(filled..).unwrap_or_default();
        let (over, beyond) = bytes.split_at(bytes.len().min(old.len()));
        if let Some(old) = old.get_mut(..over.len()) {
            old.copy_from_slice(over);
        }
        buffer.extend_from_slice(beyond);
        Ok(())
    }

    /// Makes `more` bytes behind the first `filled` ones, whatever they are, for somebody to write to.
    pub(crate) fn make_room<'b>(
        &mut self,
        buffer: &'b mut Vec<u8>,
        filled: usize,
        more: usize,
        most: usize,
    ) -> Result<&'b mut [u8], OutOfMemory> {
        let need = filled + more;
        self.grow(buffer, need, most)?;
        if buffer.len() < need {
            buffer.resize(need, 0);
        }
        Ok(buffer.get_mut(filled..need).unwrap_or_default())
    }

    /// Takes a buffer back.
    pub fn give_back(&mut self, buffer: Vec<u8>) {
        let size = buffer.capacity();
        self.used = self.used.saturating_sub(size);
        if size > 0 && size <= KEEP_EACH && self.kept + size <= KEEP_ALL && self.free.try_reserve(1).is_ok() {
            self.kept += size;
            self.free.push(buffer);
        }
    }

    /// Gives back to the system half of what is kept; called now and then, the pool decays to nothing.
    pub fn decay(&mut self) {
        self.codecs.decay();
        self.scratch = Vec::new();
        let keep = self.free.len() / 2;
        for buffer in self.free.drain(keep..) {
            self.kept -= buffer.capacity();
        }
        if self.free.is_empty() {
            self.free = Vec::new();
        }
    }

    /// Gives back to the system all that is kept.
    fn keep_nothing(&mut self) {
        self.free = Vec::new();
        self.kept = 0;
        self.codecs.keep_nothing();
        self.scratch = Vec::new();
    }

    /// Gives a buffer room for `need` bytes.
    fn grow(&mut self, buffer: &mut Vec<u8>, need: usize, most: usize) -> Result<(), OutOfMemory> {
        if need <= buffer.capacity() {
            return Ok(());
        }
        let room = self.room();
        if buffer.capacity() == 0
            && let Some(kept) = self.free.pop_if(|kept| (need..=room).contains(&kept.capacity()))
        {
            self.kept -= kept.capacity();
            self.add(kept.capacity());
            *buffer = kept;
            return Ok(());
        }
        let size = need.max(FIRST).max(buffer.capacity().saturating_mul(2)).min(need.max(most));
        let (before, more) = (buffer.capacity(), size - buffer.len());
        self.check(size - before)?;
        if buffer.try_reserve_exact(more).is_err() {
            // What is kept for others may be what is missing.
            self.keep_nothing();
            buffer.try_reserve_exact(more).map_err(|_| self.short_of(more))?;
        }
        self.add(buffer.capacity() - before);
        Ok(())
    }

    /// The system has no `bytes` for somebody.
    pub(crate) fn short_of(&self, bytes: usize) -> OutOfMemory {
        OutOfMemory { met: self.used.saturating_add(bytes), limit: self.limit }
    }

    fn add(&mut self, bytes: usize) {
        self.used = self.used.saturating_add(bytes);
        self.peak = self.peak.max(self.used);
    }

    /// Bytes that may still be handed out.
    fn room(&self) -> usize {
        self.limit.saturating_add(self.grace).saturating_sub(self.used)
    }

    fn check(&self, more: usize) -> Result<(), OutOfMemory> {
        if more > self.room() {
            return Err(self.short_of(more));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allocated_is_counted_and_comes_back() {
        let mut buffers = Buffers::new(1 << 20);
        let mut buffer = Vec::new();
        for _ in 0..1000 {
            buffers.append(&mut buffer, &[7; 100], usize::MAX).unwrap();
            assert_eq!(buffers.used(), buffer.capacity());
        }
        assert!(buffer.capacity() <= 2 * buffer.len());
        buffers.give_back(buffer);
        assert_eq!(buffers.used(), 0);
        assert!(buffers.kept() > 0);
        for _ in 0..64 {
            buffers.decay();
        }
        assert_eq!(buffers.kept(), 0);
    }

    #[test]
    fn the_limit_is_an_error_and_changes_nothing() {
        let mut buffers = Buffers::new(10_000);
        let mut buffer = Vec::new();
        buffers.append(&mut buffer, &[1; 9_000], usize::MAX).unwrap();
        let refused = buffers.append(&mut buffer, &[1; 2_000], usize::MAX);
        assert_eq!(refused, Err(OutOfMemory { met: 18_000, limit: 10_000 }));
        assert_eq!(buffer.len(), 9_000);
    }

    #[test]
    fn a_buffer_does_not_outgrow_the_message_it_is_for() {
        let mut buffers = Buffers::default();
        let mut buffer = Vec::new();
        for _ in 0..30 {
            buffers.append(&mut buffer, &[1; 100], 3_000).unwrap();
        }
        assert_eq!(buffer.capacity(), 3_000);
    }
}
