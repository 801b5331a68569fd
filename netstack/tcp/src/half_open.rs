//! The SYN cache (RFC 4987, 3.4): passive handshakes in SYN-RECEIVED, without a flow.
//!
//! An entry holds what the handshake settles, and nothing else. All entries that wait for their n-th retransmission wait
//! equally long, so each such group is a queue in the order of time: the timers cost nothing but looking at its head.

use weir_packet::Packet;
use weir_socket::{Instant, ListenerId};

use crate::flow::handshake::Handshake;
use crate::link::NextHop;
use crate::segment::{Origin, Plain};
use crate::seq::SeqNumber;
use crate::slab::{NONE, Slab};
use crate::time::{NEVER, Nanoseconds, SECOND_NS};
use crate::tuple::Tuple;

/// A handshake that waits for the peer's ACK.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HalfOpen {
    pub tuple: Tuple,
    pub hash: u32,
    pub next_hop: NextHop,
    pub listener: ListenerId,
    pub handshake: Handshake,
    /// When the SYN-ACK was sent first.
    pub sent_at: Instant,
    /// SYN-ACKs sent again by our timer.
    pub retries: u8,
    due: Instant,
    previous: u32,
}

impl Default for HalfOpen {
    fn default() -> Self {
        Self {
            tuple: Tuple::default(),
            hash: 0,
            next_hop: NextHop::UNKNOWN,
            listener: ListenerId(0),
            handshake: Handshake::default(),
            sent_at: Instant::default(),
            retries: 0,
            due: NEVER,
            previous: NONE,
        }
    }
}

impl HalfOpen {
    /// A handshake whose SYN came now.
    pub fn new(origin: &Origin, listener: ListenerId, handshake: Handshake, sent_at: Instant) -> Self {
        let &Origin { tuple, hash, next_hop, .. } = origin;
        Self { tuple, hash, next_hop, listener, handshake, sent_at, ..Self::default() }
    }

    /// The window of the segment that completes the handshake, if this is it: what is expected next, and all that it says is that
    /// our SYN arrived.
    #[inline(always)]
    pub fn completed_by(&self, packet: &Packet) -> Option<u16> {
        let Handshake { iss, irs, ts_recent, negotiated, .. } = self.handshake;
        let plain = Plain::read(packet, Plain::word(negotiated.timestamps), negotiated.timestamps)?;
        let is_old = plain.timestamp.is_some_and(|timestamp| SeqNumber(timestamp.value) < SeqNumber(ts_recent));
        let is_bare = plain.len == 0 && !plain.fin;
        (plain.seq == irs + 1 && plain.ack == iss + 1 && is_bare && !is_old).then_some(plain.window)
    }
}

/// Retransmissions that have a queue of their own; later ones share the last.
const QUEUES: usize = 8;

pub(crate) struct SynCache {
    entries: Slab<HalfOpen>,
    queues: [(u32, u32); QUEUES],
    /// Not later than the first entry is due.
    next: Instant,
}

impl SynCache {
    pub fn new(len_max: usize) -> Self {
        Self { entries: Slab::new(len_max), queues: [(NONE, NONE); QUEUES], next: NEVER }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn get(&self, index: u32) -> &HalfOpen {
        &self.entries[index]
    }

    pub fn get_mut(&mut self, index: u32) -> &mut HalfOpen {
        &mut self.entries[index]
    }

    /// None when the cache is full.
    pub fn insert(&mut self, half_open: HalfOpen, now: Instant) -> Option<u32> {
        let index = self.entries.allocate()?;
        self.entries[index] = HalfOpen { retries: 0, ..half_open };
        self.enqueue(index, now);
        Some(index)
    }

    pub fn remove(&mut self, index: u32) {
        self.dequeue(index);
        self.entries.release(index);
        if self.entries.len() == 0 {
            self.next = NEVER;
        }
    }

    /// The next entry whose SYN-ACK is due again; it waits for the next time from now on.
    pub fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let mut heads = self.queues.iter().map(|queue| queue.0);
        let Some(index) = heads.find(|&head| head != NONE && self.entries[head].due <= now) else {
            self.next = self.earliest();
            return None;
        };
        self.dequeue(index);
        self.entries[index].retries += 1;
        self.enqueue(index, now);
        Some(index)
    }

    /// When [`Self::pop_due`] may have something to do: not later than an entry is due, and earlier than all of them at most
    /// once, after those that were due then have been removed.
    #[inline(always)]
    pub fn next_deadline(&self) -> Instant {
        self.next
    }

    fn earliest(&self) -> Instant {
        let heads = self.queues.iter().filter(|queue| queue.0 != NONE);
        heads.map(|queue| self.entries[queue.0].due).min().unwrap_or(NEVER)
    }

    fn enqueue(&mut self, index: u32, now: Instant) {
        let retries = self.entries[index].retries;
        let queue = usize::from(retries).min(QUEUES - 1);
        let (head, tail) = self.queues[queue];
        let due = now.plus_ns(SECOND_NS << retries.min(QUEUES as u8 - 1));
        self.next = self.next.min(due);
        self.entries[index].due = due;
        self.entries[index].previous = tail;
        self.entries.set_next(index, NONE);
        if tail == NONE {
            self.queues[queue] = (index, index);
        } else {
            self.entries.set_next(tail, index);
            self.queues[queue] = (head, index);
        }
    }

    fn dequeue(&mut self, index: u32) {
        let queue = usize::from(self.entries[index].retries).min(QUEUES - 1);
        let (previous, next) = (self.entries[index].previous, self.entries.next(index));
        if previous == NONE {
            self.queues[queue].0 = next;
        } else {
            self.entries.set_next(previous, next);
        }
        if next == NONE {
            self.queues[queue].1 = previous;
        } else {
            self.entries[next].previous = previous;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_due_in_their_order_and_wait_twice_as_long_each_time() {
        let at = |s: u64| Instant::from_nanos(s * SECOND_NS);
        let mut cache = SynCache::new(3);
        let a = cache.insert(HalfOpen::default(), at(0)).unwrap();
        let b = cache.insert(HalfOpen::default(), at(0)).unwrap();
        let c = cache.insert(HalfOpen::default(), at(1)).unwrap();
        assert!(cache.insert(HalfOpen::default(), at(1)).is_none());
        cache.remove(b);
        assert_eq!(cache.next_deadline(), at(1));
        assert_eq!((cache.pop_due(at(1)), cache.pop_due(at(1))), (Some(a), None));
        assert_eq!((cache.pop_due(at(2)), cache.pop_due(at(2))), (Some(c), None));
        assert_eq!(cache.next_deadline(), at(3));
        assert_eq!((cache.pop_due(at(3)), cache.get(a).retries), (Some(a), 2));
        cache.remove(a);
        cache.remove(c);
        assert_eq!((cache.len(), cache.next_deadline()), (0, NEVER));
    }
}
