//! The machine's memory map, as loader and firmware tell it, and what is left of it after reservations.
//!
//! Pure: foreign entries may overlap, be empty, wrap around or be too many; the worst meaning wins (reserved over usable).

use super::ranges::{Range, RangeSet};

/// What a range of physical memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryKind {
    /// Main memory, free to use.
    Usable,
    /// Main memory that holds firmware tables.
    Tables,
    /// Anything else.
    Reserved,
}

/// The most entries that are kept; further ones are ignored, which can only lose memory if they are usable.
const ENTRIES_MAX: usize = 128;

/// The loader's map.
#[derive(Debug)]
pub struct MemoryMap {
    entries: [(Range, MemoryKind); ENTRIES_MAX],
    len: usize,
    ignored: usize,
}

impl MemoryMap {
    /// A map without entries.
    pub const fn new() -> MemoryMap {
        MemoryMap { entries: [(Range { start: 0, end: 0 }, MemoryKind::Reserved); ENTRIES_MAX], len: 0, ignored: 0 }
    }

    /// Adds what the loader says about `len` bytes at `start`. Empty and wrapping ranges are cut.
    pub fn add(&mut self, start: u64, len: u64, kind: MemoryKind) {
        let range = Range { start, end: start.saturating_add(len) };
        if range.is_empty() {
            return;
        }
        match self.entries.get_mut(self.len) {
            Some(entry) => {
                *entry = (range, kind);
                self.len += 1;
            }
            None => self.ignored += 1,
        }
    }

    /// All entries, in the loader's order.
    pub fn entries(&self) -> &[(Range, MemoryKind)] {
        &self.entries[..self.len]
    }

    /// Entries that did not fit.
    pub fn ignored(&self) -> usize {
        self.ignored
    }

    /// Bytes of main memory.
    pub fn usable_bytes(&self) -> u64 {
        self.usable().total()
    }

    /// The end of main memory, tables included: what an identity mapping of RAM must reach.
    pub fn end_of_memory(&self) -> u64 {
        let memory = self.entries().iter().filter(|(_, kind)| *kind != MemoryKind::Reserved);
        memory.map(|(range, _)| range.end).max().unwrap_or(0)
    }

    /// Whether any byte of `range` is main memory.
    pub fn overlaps_memory(&self, range: Range) -> bool {
        let mut memory = self.entries().iter().filter(|(_, kind)| *kind != MemoryKind::Reserved);
        memory.any(|(entry, _)| entry.overlaps(range))
    }

    /// Usable memory, minus whatever another entry claims, in whole pages.
    pub fn usable(&self) -> RangeSet {
        let mut set = RangeSet::new();
        for (range, kind) in self.entries() {
            if *kind == MemoryKind::Usable {
                set.insert(range.shrink_to(4096));
            }
        }
        for (range, kind) in self.entries() {
            if *kind != MemoryKind::Usable {
                set.remove(range.grow_to(4096));
            }
        }
        set
    }
}

impl Default for MemoryMap {
    fn default() -> Self {
        Self::new()
    }
}
