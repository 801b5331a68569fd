//! Where the entries are: a slab with a keyed hash over it, all allocated at birth.

use alloc::vec::Vec;
use core::net::IpAddr;

use weir_socket::Instant;
use weir_tcp::NextHop;

use crate::ethernet::Mac;

/// Bits of a [`NextHop`] that are an entry's index; the others are its generation, but for the highest, which only
/// reserved names have.
const INDEX_BITS: u32 = 12;
const GENERATION_MASK: u32 = (1 << (32 - INDEX_BITS - 1)) - 1;
/// No entry.
const NONE: u16 = u16::MAX;
/// Entries looked at to find one that may be replaced.
const EVICTION_SAMPLE: usize = 16;

/// Most entries that a table can have.
pub(crate) const ENTRIES_MAX: usize = 1 << INDEX_BITS;

const _: () = assert!(ENTRIES_MAX < NONE as usize);

/// The place of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Index(u16);

/// An IP address as one number: IPv4 in the IPv4-mapped range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(u128);

/// What is known of an entry's neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nobody's.
    Free,
    /// Asked for; the Ethernet address is not known.
    Incomplete,
    /// The Ethernet address is known; verified until the entry's time.
    Usable,
    /// Did not answer; counts until the entry's time.
    Absent,
}

/// One neighbour.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    key: Key,
    /// When `Usable`: verified until; when `Absent`: believed until.
    pub(super) until: Instant,
    /// When the next question is due, if `questioned`; before when none is begun, otherwise.
    pub(super) retry_at: Instant,
    pub(super) used_at: Instant,
    generation: u32,
    /// The next entry of the same bucket, or of the free list.
    next: u16,
    pub(super) mac: Mac,
    pub(super) state: State,
    /// Whether the neighbour is being asked.
    pub(super) questioned: bool,
    /// Whether the entry stays for ever.
    pub(super) pinned: bool,
    /// Questions asked since the first.
    pub(super) questions: u8,
}

/// The entries of one core.
pub(super) struct Table {
    entries: Vec<Entry>,
    buckets: Vec<u16>,
    free: u16,
    used: usize,
    seed: u64,
    sample_from: usize,
}

impl Table {
    /// A table of `capacity` entries (1 to [`ENTRIES_MAX`]).
    pub(super) fn new(capacity: usize, seed: u64) -> Self {
        let capacity = capacity.clamp(1, ENTRIES_MAX);
        let entry = |index: usize| Entry {
            key: Key::NOBODY,
            until: Instant::default(),
            retry_at: Instant::default(),
            used_at: Instant::default(),
            generation: 0,
            next: if index + 1 < capacity { (index + 1) as u16 } else { NONE },
            mac: Mac::NONE,
            state: State::Free,
            questioned: false,
            pinned: false,
            questions: 0,
        };
        let mut buckets = Vec::new();
        buckets.resize((capacity * 2).next_power_of_two(), NONE);
        Self { entries: (0..capacity).map(entry).collect(), buckets, free: 0, used: 0, seed, sample_from: 0 }
    }

    /// Entries in use.
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// All places.
    pub(super) fn indexes(&self) -> impl Iterator<Item = Index> + use<> {
        (0..self.entries.len()).map(|index| Index(index as u16))
    }

    #[inline]
    pub(super) fn get(&self, index: Index) -> &Entry {
        &self.entries[usize::from(index.0)]
    }

    #[inline]
    pub(super) fn get_mut(&mut self, index: Index) -> &mut Entry {
        &mut self.entries[usize::from(index.0)]
    }

    /// The entry that `next_hop` names, unless it is another neighbour's by now.
    #[inline]
    pub(super) fn named(&self, next_hop: NextHop) -> Option<Index> {
        let index = next_hop.0 & (ENTRIES_MAX as u32 - 1);
        let entry = self.entries.get(index as usize)?;
        (entry.generation == next_hop.0 >> INDEX_BITS).then_some(Index(index as u16))
    }

    /// The name of an entry.
    #[inline]
    pub(super) fn name(&self, index: Index) -> NextHop {
        NextHop(self.get(index).generation << INDEX_BITS | u32::from(index.0))
    }

    #[inline]
    pub(super) fn find(&self, key: Key) -> Option<Index> {
        let mut index = *self.buckets.get(self.bucket_of(key))?;
        // Ends at `NONE`, which is beyond every table.
        while let Some(entry) = self.entries.get(usize::from(index)) {
            if entry.key == key {
                return Some(Index(index));
            }
            index = entry.next;
        }
        None
    }

    /// A new, incomplete entry; none when all are taken by neighbours that stay.
    #[cold]
    pub(super) fn insert(&mut self, key: Key, now: Instant) -> Option<Index> {
        if self.free == NONE {
            let victim = self.replaceable(now)?;
            self.remove(victim);
        }
        let index = self.free;
        let bucket = self.bucket_of(key);
        let entry = self.entries.get_mut(usize::from(index))?;
        self.free = entry.next;
        entry.key = key;
        entry.state = State::Incomplete;
        entry.used_at = now;
        entry.pinned = false;
        entry.next = self.buckets[bucket];
        self.buckets[bucket] = index;
        self.used += 1;
        Some(Index(index))
    }

    /// Frees an entry that nobody asks for; what named it is void from now on.
    pub(super) fn remove(&mut self, index: Index) {
        let entry = self.get(index);
        debug_assert!(entry.state != State::Free && !entry.questioned);
        let (next, bucket) = (entry.next, self.bucket_of(entry.key));
        let mut at = self.buckets[bucket];
        if at == index.0 {
            self.buckets[bucket] = next;
        }
        while let Some(before) = self.entries.get_mut(usize::from(at)) {
            if before.next == index.0 {
                before.next = next;
                break;
            }
            at = before.next;
        }
        let free = self.free;
        let entry = self.get_mut(index);
        entry.generation = (entry.generation + 1) & GENERATION_MASK;
        entry.state = State::Free;
        entry.next = free;
        self.free = index.0;
        self.used -= 1;
    }

    /// The least recently used of a sample of entries that may go.
    fn replaceable(&mut self, now: Instant) -> Option<Index> {
        let len = self.entries.len();
        self.sample_from = (self.sample_from + EVICTION_SAMPLE) % len;
        let from = self.sample_from;
        (0..EVICTION_SAMPLE.min(len))
            .map(|step| Index(((from + step) % len) as u16))
            .filter(|&index| self.get(index).is_replaceable(now))
            .min_by_key(|&index| self.get(index).used_at)
    }

    /// A keyed multiply-and-mix: cheap, and its collisions cannot be computed without the seed. Chains of a table of
    /// on-link neighbours are no rewarding target anyway.
    #[inline(always)]
    fn bucket_of(&self, Key(key): Key) -> usize {
        let mixed = (key as u64 ^ self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (key >> 64) as u64;
        let mixed = (mixed ^ mixed >> 32).wrapping_mul(self.seed | 1);
        (mixed >> 32) as usize & (self.buckets.len() - 1)
    }
}

impl Entry {
    pub(super) fn address(&self) -> IpAddr {
        IpAddr::V6(self.key.0.into()).to_canonical()
    }

    /// The neighbour is at `mac`, verified until `until`, and not asked before `ask_at`. A question under way stays so.
    pub(super) fn become_usable(&mut self, mac: Mac, until: Instant, ask_at: Instant) {
        self.mac = mac;
        self.state = State::Usable;
        self.until = until;
        if !self.questioned {
            self.retry_at = ask_at;
        }
    }

    fn is_replaceable(&self, now: Instant) -> bool {
        let is_stale = match self.state {
            State::Free => false,
            State::Incomplete | State::Absent => true,
            State::Usable => now >= self.until,
        };
        is_stale && !self.pinned && !self.questioned
    }
}

impl Key {
    /// Nobody's: the unspecified address.
    pub(super) const NOBODY: Self = Self(0);

    /// The bits in which neighbours differ most.
    #[inline(always)]
    pub(super) const fn low_bits(self) -> u32 {
        self.0 as u32
    }
}

impl From<IpAddr> for Key {
    #[inline(always)]
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self(0xffff_0000_0000 | u128::from(address.to_bits())),
            IpAddr::V6(address) => Self(address.to_bits()),
        }
    }
}
