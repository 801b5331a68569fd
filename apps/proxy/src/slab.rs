//! Tables of connections: fixed room, constant-time insertion and removal, and keys that a later use of the same place does
//! not answer to.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;

/// A place in a [`Slab`], in one of its uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    pub index: u32,
    /// [`GENERATION_BITS`] wide.
    pub generation: u32,
}

/// Width of a generation: what a token has left beside the index and its kind.
pub(crate) const GENERATION_BITS: u32 = 30;

const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;

/// See the module's page.
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    /// The free place that is used next.
    free: Option<u32>,
    capacity: usize,
}

struct Slot<T> {
    generation: u32,
    entry: Entry<T>,
}

enum Entry<T> {
    Free(Option<u32>),
    Used(T),
}

impl<T> Slab<T> {
    /// What a place takes.
    pub(crate) const SLOT_BYTES: usize = size_of::<Slot<T>>();

    /// A table of `capacity` places, all of its memory taken now.
    pub(crate) fn new(capacity: usize) -> Result<Self, TryReserveError> {
        let mut slots = Vec::new();
        slots.try_reserve_exact(capacity)?;
        Ok(Self { slots, free: None, capacity })
    }

    /// The key that [`insert`](Self::insert) would give; none when the table is full.
    #[inline]
    pub(crate) fn vacant_key(&self) -> Option<Key> {
        match self.free {
            Some(index) => self.slots.get(index as usize).map(|slot| Key { index, generation: slot.generation }),
            None if self.slots.len() < self.capacity => Some(Key { index: self.slots.len() as u32, generation: 0 }),
            None => None,
        }
    }

    #[inline]
    pub(crate) fn insert(&mut self, value: T) -> Option<Key> {
        let key = self.vacant_key()?;
        match self.slots.get_mut(key.index as usize) {
            Some(slot) => {
                if let Entry::Free(next) = slot.entry {
                    self.free = next;
                }
                slot.entry = Entry::Used(value);
            }
            None => self.slots.push(Slot { generation: 0, entry: Entry::Used(value) }),
        }
        Some(key)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.slots.get_mut(key.index as usize) {
            Some(Slot { generation, entry: Entry::Used(value) }) if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    /// The value at a place, in whichever use it is.
    #[inline]
    pub(crate) fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        match self.slots.get_mut(index as usize) {
            Some(Slot { entry: Entry::Used(value), .. }) => Some(value),
            _ => None,
        }
    }

    /// The key of the value at a place.
    pub(crate) fn key_at(&self, index: u32) -> Option<Key> {
        self.slots.get(index as usize).map(|slot| Key { index, generation: slot.generation })
    }

    #[inline]
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize).filter(|slot| slot.generation == key.generation)?;
        if let Entry::Free(_) = slot.entry {
            return None;
        }
        let Entry::Used(value) = core::mem::replace(&mut slot.entry, Entry::Free(self.free)) else { return None };
        slot.generation = (slot.generation + 1) & GENERATION_MASK;
        self.free = Some(key.index);
        Some(value)
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again_under_other_keys() {
        let mut slab = Slab::new(2).expect("memory");
        let a = slab.insert("a").expect("room");
        let b = slab.insert("b").expect("room");
        assert_eq!((slab.vacant_key(), slab.insert("c")), (None, None));
        assert_eq!(slab.remove(a), Some("a"));
        assert_eq!(slab.remove(a), None);
        assert_eq!(slab.get_mut(a), None);
        let vacant = slab.vacant_key();
        let c = slab.insert("c").expect("room");
        assert_eq!((vacant, c.index), (Some(c), a.index));
        assert_ne!(c, a);
        assert_eq!(slab.get_mut(a), None);
        assert_eq!((slab.get_mut(b).copied(), slab.get_mut(c).copied()), (Some("b"), Some("c")));
    }
}
