//! Who is on the link: from IP address to Ethernet address, for ARP (RFC 826) and neighbour discovery (RFC 4861) alike.
//!
//! Three ways lead into the table, and they are trusted differently:
//!
//! - an **answer to our question** ([`Neighbours::confirm`]) makes an entry *verified* for [`VERIFIED_FOR`]. Verified
//!   entries are never evicted; traffic from the same station prolongs them, so that a busy neighbour costs no ARP;
//! - a **question to us** or a **packet to us** from an on-link address ([`Neighbours::sender`]) makes an unverified
//!   entry, so that the answer needs no resolution. Using it asks for verification. A flood of invented senders churns
//!   among unverified entries only;
//! - a **destination** ([`Neighbours::resolve`]) makes an incomplete entry and a question.
//!
//! A [`NextHop`] is an entry's index and generation: the reply path of a flow costs one comparison, and an entry that
//! was reused for another neighbour is noticed.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use weir_socket::Instant;
use weir_tcp::NextHop;

/// Most entries that a table can have: what fits into a [`NextHop`].
pub(crate) const ENTRIES_MAX: usize = 1 << INDEX_BITS;

/// How long an answer counts (RFC 4861 REACHABLE_TIME).
const VERIFIED_FOR: Duration = Duration::from_secs(30);
/// Between two questions (RFC 4861 RETRANS_TIMER).
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Questions before a neighbour counts as absent (RFC 4861 MAX_UNICAST_SOLICIT).
const QUESTIONS_MAX: u8 = 3;
/// Neighbours that are asked for at the same time; more wait until one has answered or failed.
const QUESTIONED_MAX: usize = 64;
/// How long an absent neighbour is not asked for again.
const ABSENT_FOR: Duration = Duration::from_secs(1);
/// Entries looked at to find one that may be replaced.
const EVICTION_SAMPLE: usize = 16;

const INDEX_BITS: u32 = 12;
const NONE: u16 = u16::MAX;

const _: () = assert!(ENTRIES_MAX < NONE as usize);
// The generation never reaches the value that would make the reserved names of `next_hop_of`.
const GENERATION_MASK: u32 = (1 << (32 - INDEX_BITS - 1)) - 1;

/// An Ethernet address.
pub(crate) type Mac = [u8; 6];

/// What [`Neighbours::resolve`] knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// The neighbour's Ethernet address.
    Known(Mac),
    /// It is being asked for.
    Pending,
    /// It did not answer a moment ago, or there is no room to ask.
    Absent,
}

/// What came of a neighbour's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Confirmed {
    /// We know nobody of that address and had not asked.
    Unknown,
    /// Known before, with the same Ethernet address.
    Same,
    /// The answer that was waited for.
    New,
    /// Known before, with another Ethernet address.
    Moved,
}

/// A question to be put on the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) address: IpAddr,
    /// Whom to ask: the station last known, or everybody.
    pub(crate) station: Option<Mac>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    /// Asked for; the Ethernet address is not known.
    Incomplete,
    /// The Ethernet address is known; verified until the entry's time.
    Usable,
    /// Did not answer; counts until the entry's time.
    Absent,
}

#[derive(Debug, Clone)]
struct Entry {
    key: Key,
    /// When `Usable`: verified until; when `Absent`: believed until.
    until: Instant,
    /// When the next question is due, if `questioned`.
    retry_at: Instant,
    used_at: Instant,
    generation: u32,
    /// The next entry of the same bucket, or of the free list.
    next: u16,
    mac: Mac,
    state: State,
    questioned: bool,
    pinned: bool,
    questions: u8,
}

/// An IP address as one number: IPv4 in the IPv4-mapped range.
type Key = u128;

/// The neighbours that one core knows.
pub(crate) struct Neighbours {
    entries: Vec<Entry>,
    buckets: Vec<u16>,
    free: u16,
    used: usize,
    /// Entries with `questioned` set: few, and looked at only when the earliest is due.
    questioned: Vec<u16>,
    next_question_at: Option<Instant>,
    seed: u64,
    sample_from: usize,
}

impl Neighbours {
    /// A table of `capacity` entries (1 to [`ENTRIES_MAX`]).
    pub(crate) fn new(capacity: usize, seed: u64) -> Self {
        let capacity = capacity.clamp(1, ENTRIES_MAX);
        let entry = |index: usize| Entry {
            key: 0,
            until: Instant::default(),
            retry_at: Instant::default(),
            used_at: Instant::default(),
            generation: 0,
            next: if index + 1 < capacity { (index + 1) as u16 } else { NONE },
            mac: [0; 6],
            state: State::Free,
            questioned: false,
            pinned: false,
            questions: 0,
        };
        let mut buckets = Vec::new();
        buckets.resize((capacity * 2).next_power_of_two(), NONE);
        Self {
            entries: (0..capacity).map(entry).collect(),
            buckets,
            free: 0,
            used: 0,
            questioned: Vec::with_capacity(QUESTIONED_MAX),
            next_question_at: None,
            seed,
            sample_from: 0,
        }
    }

    /// Entries in use.
    pub(crate) fn len(&self) -> usize {
        self.used
    }

    /// How to answer the on-link sender of a packet to us, which came from station `mac`. Remembers it when there is
    /// room; otherwise the answer has to be resolved.
    #[inline]
    pub(crate) fn sender(&mut self, address: IpAddr, mac: Mac, now: Instant) -> Option<NextHop> {
        let Some(index) = self.find(key_of(address)) else { return self.learn(address, mac, now) };
        let entry = self.entries.get_mut(usize::from(index))?;
        match entry.state {
            State::Usable => {
                if now >= entry.until {
                    // Nobody vouches for what we know: the newest word is as good.
                    entry.mac = mac;
                } else if entry.mac == mac {
                    entry.until = now + VERIFIED_FOR;
                }
            }
            // Its packet says where it is; the question already under way will verify it.
            _ => entry.become_usable(mac, now, now),
        }
        Some(next_hop_of(index, entry.generation))
    }

    /// The Ethernet address for `next_hop`, if it still names a usable entry: the reply path.
    #[inline]
    pub(crate) fn reach(&mut self, next_hop: NextHop, now: Instant) -> Option<Mac> {
        let index = next_hop.0 & (ENTRIES_MAX as u32 - 1);
        let entry = self.entries.get_mut(index as usize)?;
        if entry.generation != next_hop.0 >> INDEX_BITS || entry.state != State::Usable {
            return None;
        }
        entry.used_at = now;
        let mac = entry.mac;
        if now >= entry.until && !entry.questioned {
            self.ask(index as u16, now);
        }
        Some(mac)
    }

    /// The Ethernet address of `address`, or the beginning of a question.
    pub(crate) fn resolve(&mut self, address: IpAddr, now: Instant) -> Resolution {
        let key = key_of(address);
        let Some(index) = self.find(key).or_else(|| self.insert(key, now)) else { return Resolution::Absent };
        let Some(entry) = self.entries.get_mut(usize::from(index)) else { return Resolution::Absent };
        match entry.state {
            State::Usable => {
                let next_hop = next_hop_of(index, entry.generation);
                self.reach(next_hop, now).map_or(Resolution::Absent, Resolution::Known)
            }
            State::Absent if now < entry.until => Resolution::Absent,
            _ => {
                entry.state = State::Incomplete;
                entry.used_at = now;
                if entry.questioned || self.ask(index, now) { Resolution::Pending } else { Resolution::Absent }
            }
        }
    }

    /// A neighbour says of itself that `address` is at `mac`: an answer, an announcement, or what another core heard.
    /// `create` remembers it even if nobody had asked.
    pub(crate) fn confirm(&mut self, address: IpAddr, mac: Mac, create: bool, now: Instant) -> Confirmed {
        let key = key_of(address);
        let known = self.find(key);
        let Some(index) = known.or_else(|| if create { self.insert(key, now) } else { None }) else {
            return Confirmed::Unknown;
        };
        let Some(entry) = self.entries.get_mut(usize::from(index)) else { return Confirmed::Unknown };
        let (was_usable, old_mac, asked) = (entry.state == State::Usable, entry.mac, entry.questioned);
        // An answer that was asked for proves both directions. Any other word is taken, but to be verified when used;
        // what was verified for the same station stays so.
        let until = match (asked, was_usable && old_mac == mac) {
            (true, _) => now + VERIFIED_FOR,
            (false, true) => entry.until,
            (false, false) => now,
        };
        entry.become_usable(mac, until, now);
        self.forget_question(index);
        match (was_usable, old_mac == mac) {
            (true, true) => Confirmed::Same,
            (true, false) => Confirmed::Moved,
            (false, _) => Confirmed::New,
        }
    }

    /// A packet came through the neighbour behind `next_hop`: traffic from its station keeps it verified.
    #[inline]
    pub(crate) fn prolong(&mut self, next_hop: NextHop, mac: Mac, now: Instant) {
        let index = next_hop.0 & (ENTRIES_MAX as u32 - 1);
        if let Some(entry) = self.entries.get_mut(index as usize)
            && entry.mac == mac
            && entry.state == State::Usable
            && now < entry.until
        {
            entry.until = now + VERIFIED_FOR;
        }
    }

    /// Keeps `address` in the table for ever: the gateway.
    pub(crate) fn pin(&mut self, address: IpAddr, now: Instant) -> Option<NextHop> {
        let key = key_of(address);
        let index = self.find(key).or_else(|| self.insert(key, now))?;
        let entry = self.entries.get_mut(usize::from(index))?;
        entry.pinned = true;
        if entry.state == State::Absent {
            entry.state = State::Incomplete;
        }
        let next_hop = next_hop_of(index, entry.generation);
        if entry.state == State::Incomplete && !entry.questioned {
            self.ask(index, now);
        }
        Some(next_hop)
    }

    /// Forgets everybody; every [`NextHop`] given out becomes void.
    pub(crate) fn clear(&mut self) {
        for index in 0..self.entries.len() {
            if self.entries[index].state != State::Free {
                self.remove(index as u16);
            }
        }
    }

    /// When [`poll_question`](Self::poll_question) has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.next_question_at
    }

    /// The next question that is due, or the next neighbour that failed to answer; call until none is left.
    pub(crate) fn poll_question(&mut self, now: Instant) -> Option<Result<Question, IpAddr>> {
        if self.next_question_at.is_none_or(|at| now < at) {
            return None;
        }
        let due = |entry: &&u16| self.entries.get(usize::from(**entry)).is_some_and(|e| e.retry_at <= now);
        let Some(&index) = self.questioned.iter().find(due) else {
            self.next_question_at = self.earliest_question();
            return None;
        };
        let entry = self.entries.get_mut(usize::from(index))?;
        let address = address_of(entry.key);
        if entry.questions < QUESTIONS_MAX {
            entry.questions += 1;
            entry.retry_at = now + RETRY_AFTER;
            // The last question goes to everybody: the neighbour may have moved.
            let station = (entry.state == State::Usable && entry.questions < QUESTIONS_MAX).then_some(entry.mac);
            return Some(Ok(Question { address, station }));
        }
        entry.state = State::Absent;
        entry.until = now + ABSENT_FOR;
        self.forget_question(index);
        Some(Err(address))
    }

    fn earliest_question(&self) -> Option<Instant> {
        self.questioned.iter().filter_map(|&index| self.entries.get(usize::from(index))).map(|e| e.retry_at).min()
    }

    /// Puts the entry among the questioned; false when there are too many.
    #[cold]
    fn ask(&mut self, index: u16, now: Instant) -> bool {
        if self.questioned.len() == QUESTIONED_MAX {
            return false;
        }
        let Some(entry) = self.entries.get_mut(usize::from(index)) else { return false };
        entry.questioned = true;
        entry.questions = 0;
        entry.retry_at = now;
        self.questioned.push(index);
        self.next_question_at = Some(now);
        true
    }

    fn forget_question(&mut self, index: u16) {
        let Some(entry) = self.entries.get_mut(usize::from(index)) else { return };
        if !entry.questioned {
            return;
        }
        entry.questioned = false;
        self.questioned.retain(|&other| other != index);
        self.next_question_at = self.earliest_question();
    }

    /// A packet came from somebody new. Its word is used but not verified, and evicts nobody who is.
    #[cold]
    fn learn(&mut self, address: IpAddr, mac: Mac, now: Instant) -> Option<NextHop> {
        let index = self.insert(key_of(address), now)?;
        let entry = self.entries.get_mut(usize::from(index))?;
        entry.become_usable(mac, now, now);
        Some(next_hop_of(index, entry.generation))
    }

    #[inline]
    fn find(&self, key: Key) -> Option<u16> {
        let mut index = *self.buckets.get(self.bucket_of(key))?;
        // Chains are as short as the hash is good; the walk is bounded by the table all the same.
        for _ in 0..self.entries.len() {
            let entry = self.entries.get(usize::from(index))?;
            if entry.key == key {
                return Some(index);
            }
            index = entry.next;
        }
        None
    }

    #[cold]
    fn insert(&mut self, key: Key, now: Instant) -> Option<u16> {
        if self.free == NONE {
            self.evict(now)?;
        }
        let index = self.free;
        let bucket = self.bucket_of(key);
        let head = *self.buckets.get(bucket)?;
        let entry = self.entries.get_mut(usize::from(index))?;
        self.free = entry.next;
        entry.key = key;
        entry.state = State::Incomplete;
        entry.used_at = now;
        entry.pinned = false;
        entry.next = head;
        self.buckets[bucket] = index;
        self.used += 1;
        Some(index)
    }

    /// Frees the least recently used of a sample of entries that are neither verified nor pinned nor asked for.
    fn evict(&mut self, now: Instant) -> Option<()> {
        let len = self.entries.len();
        self.sample_from = (self.sample_from + EVICTION_SAMPLE) % len;
        let from = self.sample_from;
        let victim = (0..EVICTION_SAMPLE.min(len))
            .map(|step| ((from + step) % len) as u16)
            .filter(|&index| self.entries.get(usize::from(index)).is_some_and(|entry| entry.is_replaceable(now)))
            .min_by_key(|&index| self.entries[usize::from(index)].used_at)?;
        self.remove(victim);
        Some(())
    }

    fn remove(&mut self, index: u16) {
        self.forget_question(index);
        let Some(entry) = self.entries.get(usize::from(index)) else { return };
        let (key, next) = (entry.key, entry.next);
        let bucket = self.bucket_of(key);
        let mut at = self.buckets[bucket];
        if at == index {
            self.buckets[bucket] = next;
        } else {
            while let Some(before) = self.entries.get_mut(usize::from(at)) {
                if before.next == index {
                    before.next = next;
                    break;
                }
                at = before.next;
            }
        }
        let free = self.free;
        let entry = &mut self.entries[usize::from(index)];
        entry.generation = (entry.generation + 1) & GENERATION_MASK;
        entry.state = State::Free;
        entry.next = free;
        self.free = index;
        self.used -= 1;
    }

    /// A keyed multiply-and-mix: cheap, and its collisions cannot be computed without the seed. Chains of a table of
    /// on-link neighbours are no rewarding target anyway.
    #[inline(always)]
    fn bucket_of(&self, key: Key) -> usize {
        let mixed = (key as u64 ^ self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (key >> 64) as u64;
        let mixed = (mixed ^ mixed >> 32).wrapping_mul(self.seed | 1);
        (mixed >> 32) as usize & (self.buckets.len() - 1)
    }
}

impl Entry {
    fn become_usable(&mut self, mac: Mac, until: Instant, now: Instant) {
        self.mac = mac;
        self.state = State::Usable;
        self.until = until;
        self.used_at = now;
    }

    fn is_replaceable(&self, now: Instant) -> bool {
        !self.pinned
            && match self.state {
                State::Free => false,
                State::Incomplete => !self.questioned,
                State::Usable => now >= self.until,
                State::Absent => true,
            }
    }
}

#[inline(always)]
fn next_hop_of(index: u16, generation: u32) -> NextHop {
    NextHop(generation << INDEX_BITS | u32::from(index))
}

#[inline(always)]
fn key_of(address: IpAddr) -> Key {
    match address {
        IpAddr::V4(address) => 0xffff_0000_0000 | Key::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn address_of(key: Key) -> IpAddr {
    IpAddr::V6(key.into()).to_canonical()
}

#[cfg(test)]
mod tests;
