//! Cache lines that one vCPU writes and another touches.
//!
//! Each line of guest memory has one word: which vCPUs have written it since the last [`Lines::forget`], and which have read
//! it. From the moment a line is shared, the accesses to it are counted by instruction, so that both sides have a name. The
//! access that was alone with its line is not among them: it is seen the next time it happens.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::VCPUS_MAX;

/// Bytes of a cache line, as a power of two.
const LINE_SHIFT: u32 = 6;

/// Accesses (of one vCPU) that are told apart by instruction and line; later ones are only in the words.
const PLACES_MAX: usize = 1 << 16;

const _: () = assert!(VCPUS_MAX <= 32, "two masks of vCPUs share one word");

/// An instruction that touches a shared line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// Number of the line: the physical address without its low bits.
    pub line: u64,
    /// Virtual address of the instruction.
    pub at: u64,
    /// Whether it writes.
    pub is_store: bool,
}

/// A line that was shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// Physical address of its first byte.
    pub address: u64,
    /// Bit `n`: vCPU `n` wrote it.
    pub writers: u32,
    /// Bit `n`: vCPU `n` read it.
    pub readers: u32,
    /// Which vCPU accessed it, where, and how often.
    pub places: Vec<(usize, Place, u64)>,
}

/// All lines.
pub struct Lines {
    /// Writers in the high half, readers in the low half. Zero pages until touched.
    words: Vec<AtomicU64>,
    places: Vec<Mutex<HashMap<Place, u64>>>,
}

impl Lines {
    /// For guest memory below an address.
    pub fn new(ram_len: u64) -> Self {
        let count = (ram_len >> LINE_SHIFT) as usize;
        Self {
            words: std::iter::repeat_with(AtomicU64::default).take(count).collect(),
            places: (0..VCPUS_MAX).map(|_| Mutex::default()).collect(),
        }
    }

    /// Takes note of an access to a physical address. Memory beyond the end and surplus vCPUs are not followed.
    pub fn access(&self, vcpu: usize, address: u64, at: u64, is_store: bool) {
        let line = address >> LINE_SHIFT;
        let (Some(word), Some(places)) = (self.words.get(line as usize), self.places.get(vcpu)) else { return };
        let reader = 1_u64 << vcpu;
        let writer = reader << 32;
        let mine = if is_store { writer } else { reader };
        // Most accesses find their bit set; the line of the word itself then stays unwritten.
        let mut seen = word.load(Ordering::Relaxed);
        if seen & mine == 0 {
            seen = word.fetch_or(mine, Ordering::Relaxed) | mine;
        }
        if is_shared(seen) {
            let mut places = places.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let place = Place { line, at, is_store };
            if places.len() < PLACES_MAX || places.contains_key(&place) {
                *places.entry(place).or_default() += 1;
            }
        }
    }

    /// Begins anew.
    pub fn forget(&self) {
        for word in &self.words {
            // Pages that were never written stay zero pages.
            if word.load(Ordering::Relaxed) != 0 {
                word.store(0, Ordering::Relaxed);
            }
        }
        for places in &self.places {
            places.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clear();
        }
    }

    /// The shared lines, those with most accesses first.
    pub fn shared(&self) -> Vec<Shared> {
        let mut places: HashMap<u64, Vec<(usize, Place, u64)>> = HashMap::new();
        for (vcpu, of_vcpu) in self.places.iter().enumerate() {
            let of_vcpu = of_vcpu.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            for (place, count) in of_vcpu.iter() {
                places.entry(place.line).or_default().push((vcpu, *place, *count));
            }
        }
        let words = self.words.iter().map(|word| word.load(Ordering::Relaxed)).enumerate();
        let mut shared: Vec<Shared> = words
            .filter(|(_, word)| is_shared(*word))
            .map(|(line, word)| Shared {
                address: (line as u64) << LINE_SHIFT,
                writers: (word >> 32) as u32,
                readers: word as u32,
                places: places.remove(&(line as u64)).unwrap_or_default(),
            })
            .collect();
        let accesses = |shared: &Shared| shared.places.iter().map(|(_, _, count)| count).sum::<u64>();
        shared.sort_by_key(|shared| (std::cmp::Reverse(accesses(shared)), shared.address));
        shared
    }
}

/// Somebody writes it, and not one vCPU alone touches it.
fn is_shared(word: u64) -> bool {
    let writers = word >> 32;
    writers != 0 && (writers | word & 0xffff_ffff).count_ones() > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(lines: &Lines, vcpu: usize, address: u64) {
        lines.access(vcpu, address, 0x100 + vcpu as u64, true);
    }

    fn load(lines: &Lines, vcpu: usize, address: u64) {
        lines.access(vcpu, address, 0x200 + vcpu as u64, false);
    }

    #[test]
    fn a_line_that_all_read_and_nobody_writes_is_not_shared() {
        let lines = Lines::new(4096);
        (0..8).for_each(|vcpu| load(&lines, vcpu, 64));
        assert_eq!(lines.shared(), []);
    }

    #[test]
    fn a_line_of_one_is_not_shared() {
        let lines = Lines::new(4096);
        for vcpu in 0..8 {
            store(&lines, vcpu, 64 * vcpu as u64);
            load(&lines, vcpu, 64 * vcpu as u64 + 63);
        }
        assert_eq!(lines.shared(), []);
    }

    #[test]
    fn one_writes_and_another_reads_and_both_are_named() {
        let lines = Lines::new(4096);
        for _ in 0..3 {
            store(&lines, 1, 130);
            load(&lines, 0, 190);
        }
        let shared = lines.shared();
        let [line] = shared.as_slice() else { panic!("{shared:?}") };
        assert_eq!((line.address, line.writers, line.readers), (128, 0b10, 0b01));
        assert_eq!(
            line.places,
            [
                (0, Place { line: 2, at: 0x200, is_store: false }, 3),
                // The first store was alone.
                (1, Place { line: 2, at: 0x101, is_store: true }, 2),
            ]
        );
    }

    #[test]
    fn two_writers_share_and_the_busiest_line_comes_first() {
        let lines = Lines::new(4096);
        for address in [0, 64, 64, 64] {
            store(&lines, 0, address);
            store(&lines, 31, address);
        }
        assert_eq!(lines.shared().iter().map(|line| line.address).collect::<Vec<_>>(), [64, 0]);
    }

    #[test]
    fn forgetting_forgets_all() {
        let lines = Lines::new(4096);
        store(&lines, 0, 0);
        load(&lines, 1, 0);
        lines.forget();
        load(&lines, 1, 0);
        assert_eq!(lines.shared(), []);
    }

    #[test]
    fn memory_and_vcpus_beyond_the_end_are_ignored() {
        let lines = Lines::new(100);
        store(&lines, 0, 64);
        store(&lines, VCPUS_MAX, 0);
        store(&lines, 0, u64::MAX);
        assert_eq!(lines.shared(), []);
    }
}
