//! Who is on the link: from IP address to Ethernet address, for ARP (RFC 826) and neighbour discovery (RFC 4861) alike.
//!
//! Three ways lead into the table, and they are trusted differently:
//!
//! - an **answer to our question** ([`Neighbours::confirm`]) makes an entry *verified* for [`VERIFIED_FOR`]. Verified
//!   entries are never evicted; traffic from the same station prolongs them, so that a busy neighbour costs no ARP;
//! - a **question to us** or a **packet to us** from an on-link address ([`Neighbours::sender`]) makes an unverified
//!   entry, so that the answer needs no resolution. Using it for long asks for verification. A flood of invented senders churns
//!   among unverified entries only;
//! - a **destination** ([`Neighbours::resolve`]) makes an incomplete entry and a question.
//!
//! A [`NextHop`] is an entry's index and generation: the reply path of a flow costs one comparison, and an entry that
//! was reused for another neighbour is noticed.

mod table;

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use weir_socket::Instant;
use weir_tcp::NextHop;

use crate::ethernet::Mac;
use crate::time::NEVER;
use table::{Index, Key, State, Table};

/// How long an answer counts (RFC 4861 REACHABLE_TIME).
const VERIFIED_FOR: Duration = Duration::from_secs(30);
/// Between two questions (RFC 4861 RETRANS_TIMER).
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Questions before a neighbour counts as absent (RFC 4861 MAX_UNICAST_SOLICIT).
const QUESTIONS_MAX: u8 = 3;
/// Neighbours that are asked for at the same time; more wait until one has answered or failed.
const QUESTIONED_MAX: usize = 64;
/// Senders of which a copy is kept aside, and for how long; only then is the table told that they are alive.
const RECENT: usize = 64;
const RECENT_FOR: Duration = Duration::from_secs(1);
/// After a word that nobody had asked for, before it is verified by a question: many a peer is gone by then (RFC 4861
/// DELAY_FIRST_PROBE_TIME).
const ASK_AFTER: Duration = Duration::from_secs(5);
/// A router's entry is verified this soon when what it should forward comes from another station: it may have failed over
/// without an announcement, or the way back is another router's.
const DOUBTED_AFTER: Duration = Duration::from_secs(2);
/// How long an absent neighbour is not asked for again.
const ABSENT_FOR: Duration = Duration::from_secs(1);

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

/// The neighbours that one core knows.
pub(crate) struct Neighbours {
    table: Table,
    /// Senders of the last second, so that a packet of theirs costs a comparison and no search.
    recent: [Recent; RECENT],
    /// Entries with `questioned` set: few, and looked at only when the earliest is due.
    questioned: Vec<Index>,
    next_question_at: Instant,
}

/// What the table said of a sender.
#[derive(Clone, Copy)]
struct Recent {
    key: Key,
    mac: Mac,
    name: NextHop,
    until: Instant,
}

impl Recent {
    const NOBODY: Self =
        Self { key: Key::NOBODY, mac: Mac::NONE, name: NextHop::UNKNOWN, until: Instant::from_nanos(0) };
}

impl Key {
    /// Where a sender's copy is kept.
    #[inline(always)]
    fn place(self) -> usize {
        self.low_bits() as usize % RECENT
    }
}

impl Neighbours {
    /// Room for `capacity` neighbours.
    pub(crate) fn new(capacity: usize, seed: u64) -> Self {
        let questioned = Vec::with_capacity(QUESTIONED_MAX);
        Self {
            table: Table::new(capacity, seed),
            recent: [Recent::NOBODY; RECENT],
            questioned,
            next_question_at: NEVER,
        }
    }

    /// Entries in use.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// How to answer the on-link sender of a packet to us, which came from station `mac`. Remembers it when there is
    /// room; otherwise the answer has to be resolved.
    #[inline]
    pub(crate) fn sender(&mut self, address: IpAddr, mac: Mac, now: Instant) -> Option<NextHop> {
        self.recent_sender(address, mac, now).or_else(|| self.new_sender(address.into(), mac, now))
    }

    /// The same, of who was heard within the last second and has not moved.
    #[inline(always)]
    pub(crate) fn recent_sender(&self, address: IpAddr, mac: Mac, now: Instant) -> Option<NextHop> {
        let key = Key::from(address);
        let recent = &self.recent[key.place()];
        (recent.key == key && recent.mac == mac && now < recent.until).then_some(recent.name)
    }

    #[inline(never)]
    fn new_sender(&mut self, key: Key, mac: Mac, now: Instant) -> Option<NextHop> {
        let Some(index) = self.table.find(key) else { return self.learn(key, mac, now) };
        let entry = self.table.get_mut(index);
        match entry.state {
            // Nobody vouches for what we know: the newest word is as good.
            State::Usable if now >= entry.until => entry.mac = mac,
            State::Usable if entry.mac == mac => entry.until = now + VERIFIED_FOR,
            State::Usable => {}
            // Its packet says where it is.
            _ => entry.become_usable(mac, now, now + ASK_AFTER),
        }
        let name = self.table.name(index);
        self.recent[key.place()] = Recent { key, mac, name, until: now + RECENT_FOR };
        Some(name)
    }

    /// A packet came through the router behind `next_hop`: traffic from its station keeps it verified, traffic from another one
    /// has it asked soon.
    #[inline]
    pub(crate) fn prolong(&mut self, next_hop: NextHop, mac: Mac, now: Instant) {
        let Some(index) = self.table.named(next_hop) else { return };
        let entry = self.table.get_mut(index);
        if entry.state == State::Usable && now < entry.until {
            entry.until = if entry.mac == mac { now + VERIFIED_FOR } else { entry.until.min(now + DOUBTED_AFTER) };
        }
    }

    /// Whether `address` is known to be at another station than `mac`; then that is verified soon.
    pub(crate) fn contradicts(&mut self, address: IpAddr, mac: Mac, now: Instant) -> bool {
        let Some(index) = self.table.find(address.into()) else { return false };
        let entry = self.table.get_mut(index);
        let is_elsewhere = entry.state == State::Usable && entry.mac != mac;
        if is_elsewhere {
            entry.until = entry.until.min(now + DOUBTED_AFTER);
        }
        is_elsewhere
    }

    /// What is known of `address` is verified when it is used next.
    pub(crate) fn doubt(&mut self, address: IpAddr, now: Instant) {
        let Some(index) = self.table.find(address.into()) else { return };
        let entry = self.table.get_mut(index);
        if entry.state == State::Usable {
            entry.until = entry.until.min(now);
        }
    }

    /// Another core has asked `address` in vain: what we know of it is void, and it is asked again.
    pub(crate) fn mistrust(&mut self, address: IpAddr, now: Instant) {
        let Some(index) = self.table.find(address.into()) else { return };
        let entry = self.table.get_mut(index);
        if entry.state != State::Usable {
            return;
        }
        entry.state = State::Incomplete;
        if !entry.questioned {
            self.ask(index, now);
        }
    }

    /// Whether the Ethernet address of `address` is known.
    pub(crate) fn knows(&self, address: IpAddr) -> bool {
        self.table.find(address.into()).is_some_and(|index| self.table.get(index).state == State::Usable)
    }

    /// The Ethernet address for `next_hop`, if it still names a usable entry: the reply path.
    #[inline]
    pub(crate) fn reach(&mut self, next_hop: NextHop, now: Instant) -> Option<Mac> {
        let index = self.table.named(next_hop)?;
        self.reach_entry(index, now)
    }

    #[inline]
    fn reach_entry(&mut self, index: Index, now: Instant) -> Option<Mac> {
        let entry = self.table.get_mut(index);
        if entry.state != State::Usable {
            return None;
        }
        entry.used_at = now;
        let mac = entry.mac;
        if now >= entry.until && now >= entry.retry_at && !entry.questioned {
            self.ask(index, now);
        }
        Some(mac)
    }

    /// The Ethernet address of `address`, or the beginning of a question.
    pub(crate) fn resolve(&mut self, address: IpAddr, now: Instant) -> Resolution {
        let Some(index) = self.find_or_insert(address.into(), now) else { return Resolution::Absent };
        if let Some(mac) = self.reach_entry(index, now) {
            return Resolution::Known(mac);
        }
        let entry = self.table.get_mut(index);
        if entry.state == State::Absent && now < entry.until {
            return Resolution::Absent;
        }
        entry.state = State::Incomplete;
        entry.used_at = now;
        if entry.questioned || self.ask(index, now) { Resolution::Pending } else { Resolution::Absent }
    }

    /// A neighbour says of itself that `address` is at `mac`: an answer, an announcement, or what another core heard.
    pub(crate) fn confirm(&mut self, address: IpAddr, mac: Mac, now: Instant) -> Confirmed {
        let Some(index) = self.table.find(address.into()) else { return Confirmed::Unknown };
        let entry = self.table.get_mut(index);
        let (was_usable, is_same) = (entry.state == State::Usable, entry.mac == mac);
        // An answer that was asked for proves both directions. Any other word is taken, but to be verified when used;
        // what was verified for the same station stays so.
        let until = match (entry.questioned, was_usable && is_same) {
            (true, _) => now + VERIFIED_FOR,
            (false, true) => entry.until,
            (false, false) => now,
        };
        entry.become_usable(mac, until, now + ASK_AFTER);
        entry.used_at = now;
        self.forget_question(index);
        match (was_usable, is_same) {
            (true, true) => Confirmed::Same,
            (true, false) => Confirmed::Moved,
            (false, _) => Confirmed::New,
        }
    }

    /// Keeps `address` in the table for ever, and asks for it at once: the gateway.
    pub(crate) fn pin(&mut self, address: IpAddr, now: Instant) -> Option<NextHop> {
        let index = self.find_or_insert(address.into(), now)?;
        self.table.get_mut(index).pinned = true;
        let _ = self.resolve(address, now);
        Some(self.table.name(index))
    }

    /// Forgets all that `which` holds for; every [`NextHop`] given out for them becomes void.
    pub(crate) fn forget(&mut self, which: impl Fn(&IpAddr) -> bool) {
        self.recent = [Recent::NOBODY; RECENT];
        for index in self.table.indexes() {
            let entry = self.table.get(index);
            if entry.state != State::Free && which(&entry.address()) {
                self.forget_question(index);
                self.table.remove(index);
            }
        }
    }

    /// When [`poll_question`](Self::poll_question) has something to do.
    #[inline]
    pub(crate) fn next_deadline(&self) -> Instant {
        self.next_question_at
    }

    /// The next question that is due, or the next neighbour that failed to answer; call until none is left.
    pub(crate) fn poll_question(&mut self, now: Instant) -> Option<Result<Question, IpAddr>> {
        if now < self.next_question_at {
            return None;
        }
        let due = self.questioned.iter().find(|&&index| self.table.get(index).retry_at <= now);
        let Some(&index) = due else {
            self.next_question_at = self.earliest_question();
            return None;
        };
        let entry = self.table.get_mut(index);
        let address = entry.address();
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

    fn earliest_question(&self) -> Instant {
        self.questioned.iter().map(|&index| self.table.get(index).retry_at).min().unwrap_or(NEVER)
    }

    /// Puts the entry among the questioned; false when there are too many.
    #[cold]
    fn ask(&mut self, index: Index, now: Instant) -> bool {
        let entry = self.table.get_mut(index);
        // Who only has to be verified leaves room for those whom nobody can reach yet.
        let limit = if entry.state == State::Usable { QUESTIONED_MAX / 2 } else { QUESTIONED_MAX };
        if self.questioned.len() >= limit {
            return false;
        }
        entry.questioned = true;
        entry.questions = 0;
        entry.retry_at = now;
        self.questioned.push(index);
        self.next_question_at = now;
        true
    }

    fn forget_question(&mut self, index: Index) {
        let entry = self.table.get_mut(index);
        if core::mem::take(&mut entry.questioned) {
            self.questioned.retain(|&other| other != index);
            self.next_question_at = self.earliest_question();
        }
    }

    /// A packet came from somebody new. Its word is used but not verified, and evicts nobody who is.
    #[cold]
    fn learn(&mut self, key: Key, mac: Mac, now: Instant) -> Option<NextHop> {
        let index = self.table.insert(key, now)?;
        self.table.get_mut(index).become_usable(mac, now, now + ASK_AFTER);
        Some(self.table.name(index))
    }

    fn find_or_insert(&mut self, key: Key, now: Instant) -> Option<Index> {
        self.table.find(key).or_else(|| self.table.insert(key, now))
    }
}

#[cfg(test)]
mod tests;
