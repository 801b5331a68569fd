//! From the pair of endpoints to the flow: one hash table for everything that a segment can belong to.
//!
//! Open addressing with linear probing over entries of 8 bytes: the hash and what it names. A probe reads the flow itself
//! only when all 32 bits of the hash agree. Removal shifts the cluster back, so that there are no tombstones. When the
//! table is three quarters full, a table of twice the size is taken and each later insertion moves a few entries: no
//! single operation pays for the growth.

use alloc::vec::Vec;

/// What a segment belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// A flow's slot.
    Flow(u32),
    /// An entry of the SYN cache.
    HalfOpen(u32),
    /// A TIME-WAIT record.
    TimeWait(u32),
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Entry {
    hash: u32,
    /// The kind in the two high bits, never 0 for a used entry, and the index below.
    target: u32,
}

const INDEX_BITS: u32 = 30;

impl Entry {
    fn new(hash: u32, target: Target) -> Self {
        let (kind, index) = match target {
            Target::Flow(index) => (1, index),
            Target::HalfOpen(index) => (2, index),
            Target::TimeWait(index) => (3, index),
        };
        Self { hash, target: kind << INDEX_BITS | index & ((1 << INDEX_BITS) - 1) }
    }

    #[inline(always)]
    fn is_free(self) -> bool {
        self.target == 0
    }

    #[inline(always)]
    fn target(self) -> Target {
        let index = self.target & ((1 << INDEX_BITS) - 1);
        match self.target >> INDEX_BITS {
            1 => Target::Flow(index),
            2 => Target::HalfOpen(index),
            _ => Target::TimeWait(index),
        }
    }
}

/// The table. The caller hashes and compares tuples; the table knows neither.
pub(crate) struct Demux {
    table: Table,
    /// The smaller table whose entries are still being moved; empty as a rule.
    old: Table,
    moved: usize,
}

const LEN_INITIAL: usize = 1024;
/// Entries looked at in the old table for each insertion into the new one: it is empty long before that is full.
const MOVES_PER_INSERT: usize = 8;

impl Demux {
    /// What a flow takes here, free entries aside.
    pub const ENTRY_BYTES: usize = size_of::<Entry>();

    pub fn new() -> Self {
        Self { table: Table::with_len(LEN_INITIAL).unwrap_or_default(), old: Table::default(), moved: 0 }
    }

    /// The first target under `hash`: as a rule the only one.
    #[inline(always)]
    pub fn first(&self, hash: u32) -> Option<Target> {
        match self.table.first(hash) {
            None if self.old.used > 0 => self.old.first(hash),
            first => first,
        }
    }

    /// The target under `hash` for which `is_it` holds.
    pub fn find(&self, hash: u32, is_it: impl Fn(Target) -> bool) -> Option<Target> {
        match self.table.find(hash, &is_it) {
            None if self.old.used > 0 => self.old.find(hash, &is_it),
            found => found,
        }
    }

    /// Adds a target that is not there yet. False when memory for the table cannot be had: nothing was added.
    #[must_use]
    pub fn insert(&mut self, hash: u32, target: Target) -> bool {
        if self.old.used > 0 {
            self.move_some();
        } else if self.table.used >= self.table.entries.len() / 4 * 3 && !self.grow() {
            return false;
        }
        self.table.insert(Entry::new(hash, target));
        true
    }

    /// Removes a target.
    pub fn remove(&mut self, hash: u32, target: Target) {
        let entry = Entry::new(hash, target);
        if let Some(position) = self.table.position_of(entry) {
            self.table.remove(position);
        } else if let Some(position) = self.old.position_of(entry) {
            self.old.remove(position);
        }
    }

    /// Lets `hash` name another target than before.
    pub fn replace(&mut self, hash: u32, from: Target, to: Target) {
        for table in [&mut self.table, &mut self.old] {
            if let Some(position) = table.position_of(Entry::new(hash, from)) {
                table.entries[position] = Entry::new(hash, to);
                return;
            }
        }
        debug_assert!(false, "{from:?} is not in the table");
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.table.used + self.old.used
    }

    #[cold]
    fn grow(&mut self) -> bool {
        let Some(larger) = Table::with_len((self.table.entries.len() * 2).max(LEN_INITIAL)) else {
            // Somewhat fuller is slower and still right.
            return self.table.used < self.table.entries.len() / 16 * 15;
        };
        self.old = core::mem::replace(&mut self.table, larger);
        self.moved = 0;
        self.move_some();
        true
    }

    fn move_some(&mut self) {
        for _ in 0..MOVES_PER_INSERT {
            let Some(&entry) = self.old.entries.get(self.moved) else { break };
            if entry.is_free() {
                self.moved += 1;
            } else {
                // Removal may shift another entry to this place, so it is looked at again.
                self.old.remove(self.moved);
                self.table.insert(entry);
            }
        }
        if self.old.used == 0 {
            self.old = Table::default();
        }
    }
}

#[derive(Default)]
struct Table {
    /// A power of two of them, or none.
    entries: Vec<Entry>,
    used: usize,
}

impl Table {
    fn with_len(len: usize) -> Option<Self> {
        let mut entries = Vec::new();
        entries.try_reserve_exact(len).ok()?;
        entries.resize(len, Entry::default());
        Some(Self { entries, used: 0 })
    }

    #[inline(always)]
    fn first(&self, hash: u32) -> Option<Target> {
        let mask = self.entries.len().wrapping_sub(1);
        let mut position = hash as usize & mask;
        loop {
            let entry = *self.entries.get(position)?;
            if entry.is_free() {
                return None;
            }
            if entry.hash == hash {
                return Some(entry.target());
            }
            position = (position + 1) & mask;
        }
    }

    fn find(&self, hash: u32, is_it: impl Fn(Target) -> bool) -> Option<Target> {
        let mask = self.entries.len().wrapping_sub(1);
        let mut position = hash as usize & mask;
        loop {
            let entry = *self.entries.get(position)?;
            if entry.is_free() {
                return None;
            }
            if entry.hash == hash {
                let target = entry.target();
                if is_it(target) {
                    return Some(target);
                }
            }
            position = (position + 1) & mask;
        }
    }

    #[inline(always)]
    fn position_of(&self, entry: Entry) -> Option<usize> {
        let mask = self.entries.len().wrapping_sub(1);
        let mut position = entry.hash as usize & mask;
        loop {
            let found = *self.entries.get(position)?;
            if found == entry {
                return Some(position);
            }
            if found.is_free() {
                return None;
            }
            position = (position + 1) & mask;
        }
    }

    fn insert(&mut self, entry: Entry) {
        let mask = self.entries.len() - 1;
        let mut position = entry.hash as usize & mask;
        while !self.entries[position].is_free() {
            position = (position + 1) & mask;
        }
        self.entries[position] = entry;
        self.used += 1;
    }

    /// Frees a position and closes the gap: later entries of the cluster move up as far as their home allows.
    fn remove(&mut self, position: usize) {
        let mask = self.entries.len() - 1;
        let mut gap = position;
        let mut next = (gap + 1) & mask;
        while !self.entries[next].is_free() {
            let home = self.entries[next].hash as usize & mask;
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(gap) & mask {
                self.entries[gap] = self.entries[next];
                gap = next;
            }
            next = (next + 1) & mask;
        }
        self.entries[gap] = Entry::default();
        self.used -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hash that clusters badly, so that wrapping and shifting happen all the time.
    fn clustered(i: u32) -> u32 {
        (i / 7).wrapping_mul(0x9e37_79b9) | 0x3f0
    }

    #[test]
    fn everything_is_found_while_the_table_grows_and_shrinks() {
        let mut demux = Demux::new();
        for i in 1..20_000_u32 {
            assert!(demux.insert(clustered(i), Target::Flow(i)));
            if i % 3 == 0 {
                demux.remove(clustered(i / 3), Target::Flow(i / 3));
            }
            if i % 1_000 == 0 {
                for k in 1..=i {
                    let found = demux.find(clustered(k), |target| target == Target::Flow(k));
                    assert_eq!(found.is_some(), k > i / 3, "{k} of {i}");
                }
            }
        }
        for i in 6_667..20_000 {
            demux.remove(clustered(i), Target::Flow(i));
        }
        assert_eq!(demux.len(), 0);
    }

    #[test]
    fn a_target_changes_its_kind_in_place() {
        let mut demux = Demux::new();
        assert!(demux.insert(5, Target::HalfOpen(1)));
        demux.replace(5, Target::HalfOpen(1), Target::Flow(9));
        assert_eq!(demux.find(5, |_| true), Some(Target::Flow(9)));
    }
}
