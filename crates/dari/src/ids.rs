//! Ids that can go stale but never lie: loop tag, slot and generation in 64 bits.
//!
//! A slot is used again, its generation is not: when it would begin again from the front, the slot is retired.

use std::sync::{Mutex, PoisonError};

const SLOT_BITS: u32 = 24;
const MASK: u64 = (1 << SLOT_BITS) - 1;
const LAST_GENERATION: u32 = (1 << SLOT_BITS) - 1;
const END: u32 = u32::MAX;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $name(pub(crate) u64);

        impl $name {
            /// The id with these bits. Any bits will do: an id that names nothing is stale, and 0 never names
            /// anything.
            pub fn from_bits(bits: u64) -> Self {
                Self(bits)
            }

            /// The bits of this id.
            pub fn to_bits(self) -> u64 {
                self.0
            }
        }
    };
}

id! {
    /// Names one connection of one loop.
    ConnId
}
id! {
    /// Names one listening socket.
    ListenerId
}
id! {
    /// Names one client that connects, and connects again if it is to.
    DialId
}
id! {
    /// Names one timer.
    TimerId
}
id! {
    /// Names one descriptor of the host's on the loop.
    WatchId
}

/// The number of a living loop, so that its ids are strangers to every other loop.
#[derive(Debug)]
pub(crate) struct Tag(u16);

/// The numbers of living loops, a bit each, and where to look for the next: those of loops that are gone rest for as long
/// as they can.
static TAGS: Mutex<([u64; 1 << 10], u16)> = Mutex::new(([0; 1 << 10], 0));

impl Tag {
    /// One that no living loop has; nothing if there are 65,535 of them. 0 is nobody's.
    pub(crate) fn new() -> Option<Self> {
        let (used, last) = &mut *TAGS.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..=u16::MAX {
            *last = last.wrapping_add(1);
            let (word, bit) = (used.get_mut(usize::from(*last >> 6))?, 1 << (*last & 63));
            if *last != 0 && *word & bit == 0 {
                *word |= bit;
                return Some(Self(*last));
            }
        }
        None
    }

    pub(crate) fn number(&self) -> u16 {
        self.0
    }
}

impl Drop for Tag {
    fn drop(&mut self) {
        let (used, _) = &mut *TAGS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(word) = used.get_mut(usize::from(self.0 >> 6)) {
            *word &= !(1 << (self.0 & 63));
        }
    }
}

/// Things with ids.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    tag: u16,
    slots: Vec<Slot<T>>,
    free: u32,
    len: usize,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    entry: Entry<T>,
}

#[derive(Debug)]
enum Entry<T> {
    Full(T),
    Free { next: u32 },
}

impl<T> Slab<T> {
    pub(crate) fn new(tag: u16) -> Self {
        Self { tag, slots: Vec::new(), free: END, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Puts `value` in, and tells its slot; nothing when 2^24 slots are full, or there is no memory for another.
    pub(crate) fn insert(&mut self, value: T) -> Option<u32> {
        let index = if self.free == END {
            let index = u32::try_from(self.slots.len()).ok().filter(|index| u64::from(*index) < MASK)?;
            self.slots.try_reserve(1).ok()?;
            self.slots.push(Slot { generation: 0, entry: Entry::Free { next: END } });
            index
        } else {
            self.free
        };
        let slot = self.slots.get_mut(index as usize)?;
        if let Entry::Free { next } = slot.entry {
            self.free = next;
        }
        slot.generation += 1;
        slot.entry = Entry::Full(value);
        self.len += 1;
        Some(index)
    }

    pub(crate) fn remove(&mut self, index: u32) -> Option<T> {
        let free = self.free;
        let slot = self.slots.get_mut(index as usize)?;
        if matches!(slot.entry, Entry::Free { .. }) {
            return None;
        }
        let retired = slot.generation == LAST_GENERATION;
        let entry = std::mem::replace(&mut slot.entry, Entry::Free { next: if retired { END } else { free } });
        if !retired {
            self.free = index;
        }
        self.len -= 1;
        match entry {
            Entry::Full(value) => Some(value),
            Entry::Free { .. } => None,
        }
    }

    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        match &self.slots.get(index as usize)?.entry {
            Entry::Full(value) => Some(value),
            Entry::Free { .. } => None,
        }
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        match &mut self.slots.get_mut(index as usize)?.entry {
            Entry::Full(value) => Some(value),
            Entry::Free { .. } => None,
        }
    }

    /// The id of what is in a slot; 0 if nothing is.
    pub(crate) fn id(&self, index: u32) -> u64 {
        match self.slots.get(index as usize) {
            Some(Slot { generation, entry: Entry::Full(_) }) => {
                (u64::from(self.tag) << (2 * SLOT_BITS)) | (u64::from(index) << SLOT_BITS) | u64::from(*generation)
            }
            _ => 0,
        }
    }

    /// The slot that an id names, if it still does.
    pub(crate) fn find(&self, id: u64) -> Option<u32> {
        let index = ((id >> SLOT_BITS) & MASK) as u32;
        (id != 0 && self.id(index) == id).then_some(index)
    }

    /// The first slot after `after` that is full.
    pub(crate) fn next(&self, after: Option<u32>) -> Option<u32> {
        let start = after.map_or(0, |index| index as usize + 1);
        let rest = self.slots.get(start..)?;
        let at = rest.iter().position(|slot| matches!(slot.entry, Entry::Full(_)))?;
        u32::try_from(start + at).ok()
    }
}

/// The slot that an id's bits speak of, stale or not: where to go on after it.
pub(crate) fn slot_of(id: u64) -> u32 {
    ((id >> SLOT_BITS) & MASK) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_id_never_names_what_took_its_slot() {
        let mut slab = Slab::new(7);
        let slot = slab.insert('a').unwrap();
        let first = slab.id(slot);
        for _ in 0..1 << 17 {
            slab.remove(slot).unwrap();
            assert_eq!(slab.insert('b'), Some(slot));
            assert_eq!(slab.find(first), None);
        }
        assert_eq!(slab.find(slab.id(slot)), Some(slot));
        assert_eq!(Slab::<char>::new(8).find(first), None);
        for id in [0, 1, u64::MAX, first + 1, first ^ (1 << 60)] {
            assert_eq!(slab.find(id), None);
        }
    }

    #[test]
    fn no_two_living_loops_have_the_same_tag() {
        let kept = Tag::new().unwrap();
        for _ in 0..1 << 17 {
            let tag = Tag::new().unwrap();
            assert!(tag.number() != kept.number() && tag.number() != 0);
        }
    }

    #[test]
    fn a_slot_whose_generation_would_wrap_is_retired() {
        let mut slab = Slab::new(1);
        let slot = slab.insert(()).unwrap();
        slab.slots[slot as usize].generation = LAST_GENERATION;
        let last = slab.id(slot);
        slab.remove(slot).unwrap();
        assert_ne!(slab.insert(()), Some(slot));
        assert_eq!(slab.find(last), None);
    }
}
