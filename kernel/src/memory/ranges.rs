//! Sets of address ranges: the free lists of physical memory.
//!
//! A [`RangeSet`] keeps disjoint, sorted, non-adjacent ranges in a fixed array. Allocation is first fit from the lowest
//! address. Used at boot and by cold allocations only; a hundred ranges are searched linearly.

/// Addresses from `start` up to, not including, `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First address.
    pub start: u64,
    /// First address after the range.
    pub end: u64,
}

impl Range {
    /// The range of `len` bytes at `start`, cut at the end of the address space.
    pub const fn of(start: u64, len: u64) -> Range {
        Range { start, end: start.saturating_add(len) }
    }

    /// Length in bytes.
    pub const fn len(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether there is no address in it.
    pub const fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// Whether the two share an address.
    pub const fn overlaps(self, other: Range) -> bool {
        self.start < other.end && other.start < self.end && !self.is_empty() && !other.is_empty()
    }

    /// Whether `address` lies inside.
    pub const fn contains(self, address: u64) -> bool {
        self.start <= address && address < self.end
    }

    /// The largest range of whole `unit`s (a power of two) inside this one; may be empty.
    pub const fn shrink_to(self, unit: u64) -> Range {
        let Some(start) = self.start.checked_add(unit - 1) else { return Range { start: 0, end: 0 } };
        Range { start: start & !(unit - 1), end: self.end & !(unit - 1) }
    }

    /// The smallest range of whole `unit`s (a power of two) around this one.
    pub const fn grow_to(self, unit: u64) -> Range {
        let end = match self.end.checked_add(unit - 1) {
            Some(end) => end & !(unit - 1),
            None => u64::MAX,
        };
        Range { start: self.start & !(unit - 1), end }
    }
}

/// The most ranges in a set.
pub const RANGES_MAX: usize = 256;

/// Disjoint ranges in ascending order.
#[derive(Clone, Debug)]
pub struct RangeSet {
    ranges: [Range; RANGES_MAX],
    len: usize,
    lost_bytes: u64,
}

impl RangeSet {
    /// The empty set.
    pub const fn new() -> RangeSet {
        RangeSet { ranges: [Range { start: 0, end: 0 }; RANGES_MAX], len: 0, lost_bytes: 0 }
    }

    /// The ranges in ascending order.
    pub fn as_slice(&self) -> &[Range] {
        &self.ranges[..self.len]
    }

    /// Bytes in the set.
    pub fn total(&self) -> u64 {
        self.as_slice().iter().map(|range| range.len()).sum()
    }

    /// Bytes that fell out because the set was full.
    pub fn lost_bytes(&self) -> u64 {
        self.lost_bytes
    }

    /// Adds a range; what is in the set already stays once.
    pub fn insert(&mut self, range: Range) {
        if range.is_empty() {
            return;
        }
        let mut merged = range;
        let first = self.as_slice().partition_point(|old| old.end < range.start);
        let mut last = first;
        while let Some(old) = self.as_slice().get(last).copied().filter(|old| old.start <= merged.end) {
            merged = Range { start: merged.start.min(old.start), end: merged.end.max(old.end) };
            last += 1;
        }
        self.splice(first, last, &[merged]);
    }

    /// Takes every address of `range` out of the set.
    pub fn remove(&mut self, range: Range) {
        if range.is_empty() {
            return;
        }
        let mut index = 0;
        while let Some(old) = self.as_slice().get(index).copied() {
            if !old.overlaps(range) {
                index += 1;
                continue;
            }
            let left = Range { start: old.start, end: range.start.max(old.start) };
            let right = Range { start: range.end.min(old.end), end: old.end };
            match (left.is_empty(), right.is_empty()) {
                (true, true) => self.splice(index, index + 1, &[]),
                (false, true) => self.splice(index, index + 1, &[left]),
                (true, false) => self.splice(index, index + 1, &[right]),
                (false, false) => self.splice(index, index + 1, &[left, right]),
            }
            index += usize::from(!left.is_empty()) + usize::from(!right.is_empty());
        }
    }

    /// Takes `bytes` out of the lowest range that has them at an address divisible by `align` (a power of two).
    pub fn allocate(&mut self, bytes: u64, align: u64) -> Option<Range> {
        self.allocate_below(bytes, align, u64::MAX)
    }

    /// As [`RangeSet::allocate`], with an upper bound for the end of the allocation.
    pub fn allocate_below(&mut self, bytes: u64, align: u64, limit: u64) -> Option<Range> {
        if bytes == 0 || !align.is_power_of_two() {
            return None;
        }
        let found = self.as_slice().iter().find_map(|range| {
            let start = range.start.checked_add(align - 1)? & !(align - 1);
            let end = start.checked_add(bytes)?;
            (end <= range.end && end <= limit).then_some(Range { start, end })
        })?;
        self.remove(found);
        Some(found)
    }

    /// Replaces the ranges `first..last` by `with`. When the array is full, the last range of the set is lost.
    fn splice(&mut self, first: usize, last: usize, with: &[Range]) {
        let grown = self.len - (last - first) + with.len();
        if grown > RANGES_MAX {
            self.len -= 1;
            self.lost_bytes += self.ranges[self.len].len();
            if first > self.len {
                self.lost_bytes += with.iter().map(|range| range.len()).sum::<u64>();
                return;
            }
            return self.splice(first, last.min(self.len), with);
        }
        self.ranges.copy_within(last..self.len, first + with.len());
        self.ranges[first..first + with.len()].copy_from_slice(with);
        self.len = grown;
    }
}

impl Default for RangeSet {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
