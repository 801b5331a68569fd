//! Tables of equal things that are named by an index and never move.
//!
//! Memory is taken in blocks when a new high-water mark is reached, so that neither growth nor a full table disturbs the
//! steady state: taking and giving back an entry is a pop and a push. A block is an array, so that an access has one bound to
//! check; a function that needs both an entry and its successor asks for them at once.

use alloc::boxed::Box;
use alloc::vec::Vec;

/// No entry.
pub(crate) const NONE: u32 = u32::MAX;

const BLOCK_BITS: u32 = 5;
const BLOCK_LEN: usize = 1 << BLOCK_BITS;

pub(crate) struct Slab<T> {
    blocks: Vec<Box<[Entry<T>; BLOCK_LEN]>>,
    free: u32,
    /// Entries taken or promised.
    len: u32,
    /// Entries that there is memory for.
    capacity: u32,
    len_max: u32,
}

struct Entry<T> {
    value: T,
    /// The next entry of the list that this one is in: a queue of its owner's, or the free list.
    next: u32,
}

impl<T: Default> Slab<T> {
    pub fn new(len_max: usize) -> Self {
        let len_max = len_max.min((1 << 30) - 1) as u32;
        Self { blocks: Vec::new(), free: NONE, len: 0, capacity: 0, len_max }
    }

    /// Takes an entry, with the value that it had when it was given back. None when the limit or memory is reached.
    #[inline]
    pub fn allocate(&mut self) -> Option<u32> {
        if !self.has_room() {
            return None;
        }
        let index = self.free;
        let entry = self.entry_mut(index);
        self.free = core::mem::replace(&mut entry.next, NONE);
        self.len += 1;
        Some(index)
    }

    /// Whether an entry can be taken.
    #[inline(always)]
    pub fn has_room(&mut self) -> bool {
        self.len != self.capacity || self.grow().is_some()
    }

    /// As [`Self::allocate`], with a value.
    #[inline(always)]
    pub fn insert(&mut self, value: T) -> Result<u32, T> {
        if !self.promise() {
            return Err(value);
        }
        Ok(self.redeem(value))
    }

    /// Counts an entry as taken that [`Self::redeem`] takes, or [`Self::withdraw`] does not. False when there is no room.
    #[inline(always)]
    #[must_use]
    pub fn promise(&mut self) -> bool {
        let has_room = self.has_room();
        self.len += u32::from(has_room);
        has_room
    }

    /// Takes an entry that was promised.
    #[inline(always)]
    pub fn redeem(&mut self, value: T) -> u32 {
        let index = self.free;
        let entry = self.entry_mut(index);
        entry.value = value;
        self.free = core::mem::replace(&mut entry.next, NONE);
        index
    }

    /// An entry that was promised is not needed.
    #[inline(always)]
    pub fn withdraw(&mut self) {
        self.len -= 1;
    }

    /// Gives an entry back.
    #[inline]
    pub fn release(&mut self, index: u32) {
        self.set_next(index, self.free);
        self.free = index;
        self.len -= 1;
    }

    /// Gives an entry back, and answers its value and the entry that followed.
    #[inline(always)]
    pub fn take(&mut self, index: u32) -> (T, u32) {
        let free = self.free;
        let entry = self.entry_mut(index);
        let next = core::mem::replace(&mut entry.next, free);
        let value = core::mem::take(&mut entry.value);
        self.free = index;
        self.len -= 1;
        (value, next)
    }

    #[cold]
    fn grow(&mut self) -> Option<()> {
        let first = self.blocks.len() * BLOCK_LEN;
        let count = (self.len_max as usize).saturating_sub(first).min(BLOCK_LEN);
        if count == 0 {
            return None;
        }
        let mut block = Vec::new();
        block.try_reserve_exact(BLOCK_LEN).ok()?;
        self.blocks.try_reserve(1).ok()?;
        for i in 1..=BLOCK_LEN {
            let next = if i >= count { self.free } else { (first + i) as u32 };
            block.push(Entry { value: T::default(), next });
        }
        self.blocks.push(block.try_into().ok()?);
        self.free = first as u32;
        self.capacity += count as u32;
        Some(())
    }
}

impl<T> Slab<T> {
    /// What an entry takes.
    pub const ENTRY_BYTES: usize = size_of::<Entry<T>>();

    /// Entries that are taken or promised.
    #[inline]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// The entry `index`, taken or not, if there is one: for indexes that came from outside.
    #[inline(always)]
    pub fn get(&self, index: u32) -> Option<&T> {
        let block = self.blocks.get((index >> BLOCK_BITS) as usize)?;
        Some(&block[index as usize % BLOCK_LEN].value)
    }

    /// As [`Self::get`].
    #[inline(always)]
    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        let block = self.blocks.get_mut((index >> BLOCK_BITS) as usize)?;
        Some(&mut block[index as usize % BLOCK_LEN].value)
    }

    #[inline(always)]
    pub fn next(&self, index: u32) -> u32 {
        self.entry(index).next
    }

    #[inline(always)]
    pub fn set_next(&mut self, index: u32, next: u32) {
        self.entry_mut(index).next = next;
    }

    /// An entry and the one that follows it.
    #[inline(always)]
    pub fn with_next(&self, index: u32) -> (&T, u32) {
        let entry = self.entry(index);
        (&entry.value, entry.next)
    }

    #[inline(always)]
    fn entry(&self, index: u32) -> &Entry<T> {
        &self.blocks[(index >> BLOCK_BITS) as usize][index as usize % BLOCK_LEN]
    }

    #[inline(always)]
    fn entry_mut(&mut self, index: u32) -> &mut Entry<T> {
        &mut self.blocks[(index >> BLOCK_BITS) as usize][index as usize % BLOCK_LEN]
    }
}

impl<T> core::ops::Index<u32> for Slab<T> {
    type Output = T;

    #[inline(always)]
    fn index(&self, index: u32) -> &T {
        &self.entry(index).value
    }
}

impl<T> core::ops::IndexMut<u32> for Slab<T> {
    #[inline(always)]
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut self.entry_mut(index).value
    }
}

#[cfg(test)]
mod tests {
    use super::Slab;

    #[test]
    fn an_entry_comes_back_with_its_value_and_the_limit_holds() {
        let mut slab: Slab<u64> = Slab::new(40);
        let taken: alloc::vec::Vec<u32> = core::iter::from_fn(|| slab.allocate()).collect();
        assert_eq!((taken.len(), slab.len()), (40, 40));
        slab[taken[7]] = 99;
        slab.release(taken[7]);
        assert_eq!(slab.allocate(), Some(taken[7]));
        assert_eq!(slab[taken[7]], 99);
        assert!(slab.allocate().is_none());
        assert!(slab.get(64).is_none() && slab.get(39).is_some());
    }

    /// A promise counts against the limit, outlives growth, and is kept by an entry of its own.
    #[test]
    fn what_is_promised_is_there() {
        let mut slab: Slab<u64> = Slab::new(40);
        assert!((0..30).all(|_| slab.promise()));
        let taken: alloc::vec::Vec<u32> = core::iter::from_fn(|| slab.allocate()).collect();
        assert_eq!((taken.len(), slab.len(), slab.promise()), (10, 40, false));
        let mut redeemed: alloc::vec::Vec<u32> = (0..29).map(|n| slab.redeem(n)).collect();
        slab.withdraw();
        redeemed.extend(taken);
        redeemed.extend(slab.allocate());
        redeemed.sort_unstable();
        assert!(redeemed.iter().copied().eq(0..40) && slab.allocate().is_none());
    }
}
