//! The timer wheel: arming, cancelling and firing in constant time.
//!
//! Six levels of 64 slots, the lowest of 1 ms, each slot a doubly linked list of flows. A flow has at most one entry, for
//! its earliest deadline; the deadlines themselves stand in the flow. An entry that fires too early, because a deadline was
//! moved back meanwhile, is armed again: so acknowledgements, which move deadlines all the time, never touch the wheel.

use alloc::boxed::Box;
use alloc::vec::Vec;

use weir_socket::Instant;

use crate::slab::NONE;
use crate::time::MILLISECOND_NS;

const LEVELS: usize = 6;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const NO_BUCKET: u16 = u16::MAX;
/// The horizon: 2^36 ms, two years.
const HORIZON: u64 = 1 << (SLOT_BITS * LEVELS as u32);
/// Bits of a tick that a node keeps: half of what they can tell is behind, half ahead.
const WHEN_BITS: u32 = 48;

const _: () = assert!(HORIZON < 1 << (WHEN_BITS - 1));

#[derive(Clone, Copy)]
struct Node {
    /// The tick at which the entry is due, modulo 2^48.
    when: [u16; 3],
    bucket: u16,
    previous: u32,
    next: u32,
}

const IDLE: Node = Node { when: [0; 3], bucket: NO_BUCKET, previous: NONE, next: NONE };

impl Node {
    /// The tick, which is not further from `elapsed` than [`HORIZON`].
    fn when(&self, elapsed: u64) -> u64 {
        let [a, b, c] = self.when.map(u64::from);
        let ahead = (a | b << 16 | c << 32).wrapping_sub(elapsed) << (64 - WHEN_BITS);
        elapsed.wrapping_add_signed(ahead as i64 >> (64 - WHEN_BITS))
    }
}

fn low_bits(tick: u64) -> [u16; 3] {
    [tick as u16, (tick >> 16) as u16, (tick >> 32) as u16]
}

/// The wheel. Ticks are milliseconds of [`Instant`].
pub(crate) struct Wheel {
    /// All ticks up to this one were fired.
    elapsed: u64,
    /// The first tick at which something may be due: not later than the earliest entry.
    next: u64,
    len: u32,
    heads: [[u32; SLOTS]; LEVELS],
    occupied: [u64; LEVELS],
    nodes: Vec<Box<[Node; BLOCK_LEN]>>,
}

const BLOCK_LEN: usize = 256;

impl Wheel {
    /// What a flow takes here.
    pub const NODE_BYTES: usize = size_of::<Node>();

    pub fn new(now: Instant) -> Self {
        Self {
            elapsed: now.as_millis(),
            next: u64::MAX,
            len: 0,
            heads: [[NONE; SLOTS]; LEVELS],
            occupied: [0; LEVELS],
            nodes: Vec::new(),
        }
    }

    /// Makes sure that `index` can be armed. None when memory is short.
    #[inline]
    pub fn reserve(&mut self, index: u32) -> Option<()> {
        while self.nodes.len() * BLOCK_LEN <= index as usize {
            let mut block = Vec::new();
            block.try_reserve_exact(BLOCK_LEN).ok()?;
            block.resize(BLOCK_LEN, IDLE);
            self.nodes.try_reserve(1).ok()?;
            self.nodes.push(block.try_into().ok()?);
        }
        Some(())
    }

    /// Fires `index` at or within 1 ms after `deadline`, and not at the time that it was armed for before.
    pub fn arm(&mut self, index: u32, deadline: Instant) {
        self.disarm(index);
        let tick = deadline.as_nanos().div_ceil(MILLISECOND_NS);
        self.insert(index, tick);
    }

    /// Takes `index` off the wheel.
    pub fn disarm(&mut self, index: u32) {
        let Node { previous, next, bucket, .. } = *self.node(index);
        if bucket == NO_BUCKET {
            return;
        }
        let (level, slot) = (bucket as usize / SLOTS, bucket as usize % SLOTS);
        if previous == NONE {
            self.heads[level][slot] = next;
            if next == NONE {
                self.occupied[level] &= !(1 << slot);
            }
        } else {
            self.node(previous).next = next;
        }
        if next != NONE {
            self.node(next).previous = previous;
        }
        *self.node(index) = IDLE;
        self.len -= 1;
        if self.len == 0 {
            self.next = u64::MAX;
        }
    }

    /// The next entry that is due at `now`; it is off the wheel then. Call until none is left.
    pub fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let target = now.as_millis();
        while let Some((level, slot, start)) = self.next_slot() {
            if start > target {
                break;
            }
            self.elapsed = self.elapsed.max(start);
            let index = self.heads[level][slot];
            let elapsed = self.elapsed;
            let when = self.node(index).when(elapsed);
            self.disarm(index);
            if when <= self.elapsed {
                return Some(index);
            }
            self.insert(index, when);
        }
        self.elapsed = self.elapsed.max(target);
        self.next = self.next_slot().map_or(u64::MAX, |(_, _, start)| start);
        None
    }

    /// When [`Self::pop_due`] may have something to do: not later than the earliest entry, and earlier than that at most once
    /// after an entry was moved or cancelled.
    #[inline(always)]
    pub fn next_deadline(&self) -> Instant {
        Instant::from_nanos(self.next.saturating_mul(MILLISECOND_NS))
    }

    fn insert(&mut self, index: u32, tick: u64) {
        // A tick that was fired already is due with the next one. The top level's present slot is not one ahead: an entry there
        // would be taken for one of the past.
        let when = tick.clamp(self.elapsed + 1, self.elapsed + HORIZON - HORIZON / SLOTS as u64);
        let differing = (self.elapsed ^ when | (SLOTS as u64 - 1)).min(HORIZON - 1);
        let level = ((63 - differing.leading_zeros()) / SLOT_BITS) as usize;
        let shift = level as u32 * SLOT_BITS;
        let slot = (when >> shift) as usize % SLOTS;
        self.next = self.next.min(when >> shift << shift);
        self.len += 1;
        let next = core::mem::replace(&mut self.heads[level][slot], index);
        self.occupied[level] |= 1 << slot;
        if next != NONE {
            self.node(next).previous = index;
        }
        *self.node(index) = Node { bucket: (level * SLOTS + slot) as u16, previous: NONE, next, when: low_bits(when) };
    }

    /// Level, slot and first tick of the next slot that holds entries. Of slots that begin together, the highest level's
    /// comes first: its entries may belong before those of the others.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let mut next: Option<(usize, usize, u64)> = None;
        for (level, &occupied) in self.occupied.iter().enumerate() {
            if occupied == 0 {
                continue;
            }
            let shift = level as u32 * SLOT_BITS;
            let current = (self.elapsed >> shift) as u32 % SLOTS as u32;
            let ahead = occupied.rotate_right(current).trailing_zeros();
            let slot = ((current + ahead) % SLOTS as u32) as usize;
            let start = ((self.elapsed >> shift) + u64::from(ahead)) << shift;
            if next.is_none_or(|(_, _, earliest)| start <= earliest) {
                next = Some((level, slot, start));
            }
        }
        next
    }

    #[inline(always)]
    fn node(&mut self, index: u32) -> &mut Node {
        &mut self.nodes[index as usize / BLOCK_LEN][index as usize % BLOCK_LEN]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::NEVER;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * MILLISECOND_NS)
    }

    /// Deadlines from one tick to hours ahead, some moved, some cancelled: each fires once, not early, not a tick late.
    #[test]
    fn every_entry_fires_at_its_tick() {
        let mut wheel = Wheel::new(at(12_345));
        let mut due = alloc::collections::BTreeMap::new();
        let mut state = 7_u64;
        for index in 0..500_u32 {
            wheel.reserve(index).unwrap();
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let ms = 12_346 + (state >> 33) % (1 << (1 + index % 24));
            wheel.arm(index, at(ms + 999_999));
            wheel.arm(index, at(ms));
            due.insert(index, ms);
            if index % 5 == 0 {
                wheel.disarm(index);
                due.remove(&index);
            }
        }
        let mut now = at(12_345);
        while let Some(next) = Some(wheel.next_deadline()).filter(|&next| next != NEVER) {
            assert!(next > now || next.as_millis() <= now.as_millis() + 1);
            now = next;
            while let Some(index) = wheel.pop_due(now) {
                assert_eq!(due.remove(&index), Some(now.as_millis()));
            }
        }
        assert!(due.is_empty());
    }

    /// `pop_due` would look at an entry of the present slot for ever.
    #[test]
    fn a_deadline_beyond_the_horizon_waits_in_a_slot_ahead() {
        for elapsed in [0, 1, 12_345, HORIZON / SLOTS as u64 - 1, 3 * HORIZON + 7] {
            let mut wheel = Wheel::new(at(elapsed));
            wheel.reserve(0).unwrap();
            wheel.arm(0, NEVER);
            let (.., start) = wheel.next_slot().unwrap();
            assert!(start > elapsed, "{start} after {elapsed}");
            assert_eq!(wheel.pop_due(at(elapsed + 1)), None);
        }
    }

    #[test]
    fn a_late_caller_gets_all_that_is_due_and_past_deadlines_fire_next() {
        let mut wheel = Wheel::new(at(0));
        for index in 0..3 {
            wheel.reserve(index).unwrap();
        }
        wheel.arm(0, at(5));
        wheel.arm(1, at(70_000));
        wheel.arm(2, at(200_000));
        let mut fired = [wheel.pop_due(at(100_000)), wheel.pop_due(at(100_000))];
        fired.sort();
        assert_eq!(fired, [Some(0), Some(1)]);
        assert_eq!(wheel.pop_due(at(100_000)), None);
        wheel.arm(0, at(3));
        assert_eq!(wheel.next_deadline(), at(100_001));
        assert_eq!(wheel.pop_due(at(100_001)), Some(0));
        assert_eq!(wheel.pop_due(at(199_999)), None);
        assert_eq!(wheel.pop_due(at(200_000)), Some(2));
    }
}
