//! TIME-WAIT: what is remembered of a flow whose both directions ended, for two maximum segment lifetimes.
//!
//! Records of 48 bytes in a ring, in the order of their arrival: all stay equally long, so the oldest is always the next to
//! go. When each arrived is remembered not per record, but per 128 ms. The ring is made of blocks, and has memory for those
//! with records in them: it takes as much as there are, however far it has turned.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use weir_socket::Instant;

use crate::seq::SeqNumber;
use crate::time::{MILLISECOND_NS, NEVER, Nanoseconds, SECOND_NS};
use crate::tuple::Tuple;

/// What is remembered.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Record {
    pub tuple: Tuple,
    pub snd_nxt: SeqNumber,
    pub rcv_nxt: SeqNumber,
    pub trace: Trace,
}

const _: () = assert!(size_of::<Record>() <= 48);

/// The peer's latest timestamp; where there are none, 0, or 1 when we opened the flow and its port is counted as in use.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Trace(u32);

impl Trace {
    /// One of the lowest becomes the next one that is told apart: two ticks of a clock that goes round in 2^32.
    pub fn timestamp(value: u32) -> Self {
        Self(value.max(2))
    }

    pub fn no_timestamp(holds_source_port: bool) -> Self {
        Self(holds_source_port.into())
    }
}

impl Record {
    pub fn ts_recent(&self) -> Option<u32> {
        (self.trace.0 > 1).then_some(self.trace.0)
    }

    /// Whether our port is in use until the record goes. With timestamps it is free before.
    pub fn holds_source_port(&self) -> bool {
        self.trace.0 == 1
    }

    /// No flow has port 0.
    fn is_gone(&self) -> bool {
        self.tuple.local_port() == 0
    }
}

/// All records that follow arrived at this time or up to [`MARK_NS`] later.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Instant,
    position: u32,
}

const MARK_NS: u64 = 128 * MILLISECOND_NS;
const BLOCK_LEN: usize = 256;
/// RFC 6191, 2: what a timestamp clock of one tick per second or more makes safe.
const REUSE_AGE_NS: u64 = SECOND_NS;

pub(crate) struct TimeWaits {
    /// Without memory where no record is.
    blocks: Vec<Vec<Record>>,
    /// The block that was left last: the next one to be entered takes its memory.
    spare: Vec<Record>,
    len_max: u32,
    /// Positions count up for ever; a record stands at its position modulo `len_max`.
    head: u32,
    tail: u32,
    gone: u32,
    marks: VecDeque<Mark>,
    stay_ns: u64,
}

impl TimeWaits {
    pub fn new(len_max: usize, stay_ns: u64) -> Self {
        // A power of two, so that positions may wrap.
        let len_max = len_max.clamp(BLOCK_LEN, 1 << 29) as u32;
        let len_max = 1 << (31 - len_max.leading_zeros());
        Self {
            blocks: Vec::new(),
            spare: Vec::new(),
            len_max,
            head: 0,
            tail: 0,
            gone: 0,
            marks: VecDeque::new(),
            stay_ns,
        }
    }

    pub fn len(&self) -> usize {
        (self.tail.wrapping_sub(self.head) - self.gone) as usize
    }

    pub fn is_full(&self) -> bool {
        self.tail.wrapping_sub(self.head) == self.len_max
    }

    pub fn get(&self, index: u32) -> &Record {
        &self.blocks[index as usize / BLOCK_LEN][index as usize % BLOCK_LEN]
    }

    /// Adds a record; the ring must not be full. None when memory is short.
    pub fn push(&mut self, record: Record, now: Instant) -> Option<u32> {
        let index = self.tail % self.len_max;
        if (index as usize).is_multiple_of(BLOCK_LEN) {
            self.enter_block(index as usize / BLOCK_LEN)?;
        }
        if self.marks.back().is_none_or(|mark| now.since_ns(mark.at) >= MARK_NS) {
            self.marks.push_back(Mark { at: now, position: self.tail });
        }
        self.blocks[index as usize / BLOCK_LEN][index as usize % BLOCK_LEN] = record;
        self.tail = self.tail.wrapping_add(1);
        Some(index)
    }

    /// Makes sure that a block has memory. None when there is none.
    fn enter_block(&mut self, number: usize) -> Option<()> {
        if number == self.blocks.len() {
            self.blocks.try_reserve(1).ok()?;
            self.blocks.push(Vec::new());
        }
        let block = &mut self.blocks[number];
        if block.is_empty() {
            *block = core::mem::take(&mut self.spare);
        }
        if block.is_empty() {
            block.try_reserve_exact(BLOCK_LEN).ok()?;
            block.resize(BLOCK_LEN, Record::default());
        }
        Some(())
    }

    /// Keeps the memory of a block whose last record has gone, unless the ring is so full that its first ones have come again.
    fn leave_block(&mut self, number: usize) {
        if self.tail.wrapping_sub(self.head) <= self.len_max - BLOCK_LEN as u32 {
            self.spare = core::mem::take(&mut self.blocks[number]);
        }
    }

    /// Forgets a record: its endpoints are used again.
    pub fn remove(&mut self, index: u32) -> Record {
        self.gone += 1;
        core::mem::take(&mut self.blocks[index as usize / BLOCK_LEN][index as usize % BLOCK_LEN])
    }

    /// The oldest record, when it has stayed long enough, or whatever its age.
    pub fn pop(&mut self, now: Option<Instant>) -> Option<(u32, Record)> {
        while self.head != self.tail {
            if now.is_some_and(|now| self.next_deadline() > now) {
                return None;
            }
            let index = self.head % self.len_max;
            let record = *self.get(index);
            self.head = self.head.wrapping_add(1);
            if (self.head as usize).is_multiple_of(BLOCK_LEN) {
                self.leave_block(index as usize / BLOCK_LEN);
            }
            while self.marks.get(1).is_some_and(|next| next.position.wrapping_sub(self.head) as i32 <= 0) {
                self.marks.pop_front();
            }
            if !record.is_gone() {
                return Some((index, record));
            }
            self.gone -= 1;
        }
        self.marks.clear();
        None
    }

    /// When the oldest record goes.
    #[inline(always)]
    pub fn next_deadline(&self) -> Instant {
        if self.head == self.tail {
            return NEVER;
        }
        self.marks.front().map_or(NEVER, |mark| mark.at.plus_ns(self.stay_ns + MARK_NS))
    }

    /// Whether we may open a flow between the same endpoints (RFC 6191): timestamps were used, and they have advanced.
    pub fn is_reusable(&self, index: u32, now: Instant) -> bool {
        if self.get(index).ts_recent().is_none() {
            return false;
        }
        let position = self.head.wrapping_add(index.wrapping_sub(self.head) % self.len_max);
        // Everything behind a mark arrived after it, and by the next one at the latest.
        let is_young = |mark: &&Mark| now.since_ns(mark.at) < REUSE_AGE_NS + MARK_NS;
        let is_behind = |mark: &Mark| position.wrapping_sub(mark.position) as i32 >= 0;
        !self.marks.iter().rev().take_while(is_young).any(is_behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(port: u16) -> Record {
        let tuple = Tuple::new(([192, 0, 2, 1], port).into(), ([192, 0, 2, 2], 1).into());
        Record { tuple, snd_nxt: SeqNumber(1), rcv_nxt: SeqNumber(2), trace: Trace::timestamp(7) }
    }

    #[test]
    fn records_go_in_their_order_after_their_time() {
        let ms = |ms: u64| Instant::from_nanos(ms * MILLISECOND_NS);
        let mut waits = TimeWaits::new(1_000, 60 * SECOND_NS);
        let mut indexes = Vec::new();
        for i in 1..=512_u64 {
            indexes.push(waits.push(record(i as u16), ms(i * 10)).unwrap());
        }
        assert!(waits.is_full());
        assert!(waits.is_reusable(indexes[0], ms(5_120)) && !waits.is_reusable(indexes[500], ms(5_120)));
        waits.remove(indexes[2]);
        assert_eq!(waits.pop(Some(ms(60_010))).map(|_| ()), None);
        let mut expected = (1..=512).filter(|&i| i != 3);
        let mut now = ms(60_010);
        while waits.next_deadline() != NEVER {
            now = now.max(waits.next_deadline());
            while let Some((_, gone)) = waits.pop(Some(now)) {
                let port = u64::from(gone.tuple.local_port());
                assert_eq!(Some(port), expected.next());
                assert!(now >= ms(port * 10 + 60_000) && now <= ms(port * 10 + 60_300), "{port} at {now:?}");
            }
        }
        assert_eq!((expected.next(), waits.len()), (None, 0));
        assert!(waits.push(record(9), now).is_some());
        assert_eq!(waits.pop(None).unwrap().1.tuple.local_port(), 9);
    }

    /// Records go through the ring three times: so many at a time that its end meets its beginning, or some, or none.
    #[test]
    fn memory_is_for_the_records_that_are_there() {
        let now = Instant::from_nanos(0);
        for (there, blocks_max) in [(1_024, 4), (1_000, 4), (600, 4), (100, 2), (1, 1)] {
            let mut waits = TimeWaits::new(1_024, 60 * SECOND_NS);
            for i in 0..3_072_u16 {
                if waits.len() == there {
                    let (_, oldest) = waits.pop(None).unwrap();
                    assert_eq!(oldest.tuple.local_port(), i + 1 - there as u16);
                }
                let index = waits.push(record(i + 1), now).unwrap();
                assert_eq!(waits.get(index).tuple.local_port(), i + 1);
                let room = waits.blocks.iter().map(Vec::capacity).sum::<usize>();
                assert!(room <= blocks_max * BLOCK_LEN, "room for {room}, {there} records, after {i}");
            }
            while waits.pop(None).is_some() {}
            assert_eq!((waits.len(), waits.next_deadline()), (0, NEVER));
        }
    }
}
