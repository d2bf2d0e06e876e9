//! The receive buffer of a loop: what is read goes there first, and answers leave from there.
//!
//! It has room for one read, and grows to several when a long message is on its way, so that it can be put together
//! where it was read to. When no such message has come for a while, it shrinks again.

use dari_core::MAX_HEADER;
use std::ops::{Deref, DerefMut, Range};

/// As many reads it has room for at most.
const READS: usize = 4;

#[derive(Debug)]
pub(crate) struct Rx {
    bytes: Vec<u8>,
    most: usize,
    /// It was wide enough for somebody of late.
    is_wanted: bool,
}

impl Rx {
    pub(crate) fn new(most: usize) -> Self {
        Self { bytes: vec![0; most], most, is_wanted: false }
    }

    /// Bytes of one read.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// The addresses that it is at.
    pub(crate) fn place(&self) -> Range<usize> {
        let start = self.bytes.as_ptr() as usize;
        start..start + self.bytes.len()
    }

    /// Makes room for `whole` bytes that lie together, the first of which are those at `begun`: they are at the front then.
    /// Nothing has changed if that is too much.
    pub(crate) fn hold(&mut self, begun: Range<usize>, whole: usize) -> bool {
        let size = READS * self.most + MAX_HEADER;
        if whole > size {
            return false;
        }
        if whole > self.bytes.len() {
            // Room for all that there may ever be, whatever this message says that it has.
            if self.bytes.try_reserve_exact(size - self.bytes.len()).is_err() {
                return false;
            }
            self.bytes.resize(size, 0);
        }
        self.is_wanted |= whole > self.most;
        self.bytes.copy_within(begun, 0);
        true
    }

    /// Called now and then: gives back what nobody has wanted since the last time.
    pub(crate) fn narrow(&mut self) {
        if !std::mem::take(&mut self.is_wanted) && self.is_wide() {
            self.bytes.truncate(self.most);
            self.bytes.shrink_to_fit();
        }
    }

    pub(crate) fn is_wide(&self) -> bool {
        self.bytes.len() > self.most
    }
}

impl Deref for Rx {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Rx {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}
