//! What is on its way: a record for each segment sent and not yet cumulatively acknowledged (RFC 6675's scoreboard and
//! RFC 8985's per-segment state).
//!
//! Records stand in a list in the order of sequence numbers. Besides, each record that is neither delivered nor waiting is
//! in one of two queues: `outstanding`, in the order of transmission, which RACK walks from its oldest; and `lost`, which
//! waits to be sent again. What was selectively acknowledged is in neither.
//!
//! The usual answer is one segment, sent once, of all that the flow has to say: all that is to be remembered of it is when it was
//! sent. Such a sole segment has its record promised, and gets it from [`Scoreboard::unfold`] as soon as it is not usual any more.

use weir_socket::Instant;

use super::send_queue::{Chunks, Cursor, advance};
use crate::options::SackBlocks;
use crate::seq::SeqNumber;
use crate::slab::{NONE, Slab};
use crate::time::NEVER;

/// Records of all flows of an engine.
pub(crate) type Records = Slab<Record>;

/// A segment that was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    pub seq: SeqNumber,
    /// Payload bytes, and 1 for a FIN.
    pub len: u32,
    /// Where the payload stands in the send queue.
    pub at: Cursor,
    /// The latest transmission.
    pub sent_at: Instant,
    pub transmission: Transmission,
    pub standing: Standing,
    /// Sent more than once.
    pub retransmitted: bool,
    /// The last sequence number is our FIN.
    pub fin: bool,
    previous: u32,
    next: u32,
}

/// A flow's transmissions, counted: which of two was earlier. Comparable as long as sequence numbers are, and for the same
/// reason: what is in flight is less than half of the circle.
pub(crate) type Transmission = SeqNumber;

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// On its way, as far as we know.
    Outstanding,
    /// Taken for lost, to be sent again.
    Lost,
    /// The peer has it out of order.
    Sacked,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            seq: SeqNumber(0),
            len: 0,
            at: Cursor::default(),
            sent_at: Instant::default(),
            transmission: SeqNumber(0),
            standing: Standing::Outstanding,
            retransmitted: false,
            fin: false,
            previous: NONE,
            next: NONE,
        }
    }
}

impl Record {
    /// A segment that is sent now.
    #[inline(always)]
    pub fn new(seq: SeqNumber, payload_len: u32, fin: bool, at: Cursor, sent_at: Instant) -> Self {
        Self { seq, len: payload_len + u32::from(fin), at, sent_at, fin, ..Self::default() }
    }

    #[inline(always)]
    pub fn end(&self) -> SeqNumber {
        self.seq + self.len
    }

    /// Payload bytes without the FIN.
    #[inline(always)]
    pub fn payload_len(&self) -> u32 {
        self.len - u32::from(self.fin)
    }
}

#[derive(Debug, Clone, Copy)]
struct Queue {
    first: u32,
    last: u32,
}

impl Default for Queue {
    fn default() -> Self {
        Self { first: NONE, last: NONE }
    }
}

impl Queue {
    #[inline]
    fn push(&mut self, records: &mut Records, index: u32) {
        let record = &mut records[index];
        (record.previous, record.next) = (self.last, NONE);
        if self.last == NONE {
            self.first = index;
        } else {
            records[self.last].next = index;
        }
        self.last = index;
    }

    fn remove(&mut self, records: &mut Records, index: u32) {
        let Record { previous, next, .. } = records[index];
        if previous == NONE {
            self.first = next;
        } else {
            records[previous].next = next;
        }
        if next == NONE {
            self.last = previous;
        } else {
            records[next].previous = previous;
        }
    }

    /// Puts `index` behind `after`, which is in the queue.
    fn insert_after(&mut self, records: &mut Records, after: u32, index: u32) {
        let next = records[after].next;
        records[index].previous = after;
        records[index].next = next;
        records[after].next = index;
        if next == NONE {
            self.last = index;
        } else {
            records[next].previous = index;
        }
    }
}

#[derive(Debug)]
pub(crate) struct Scoreboard {
    head: u32,
    tail: u32,
    outstanding: Queue,
    lost: Queue,
    /// The record behind the latest selectively acknowledged range: where the next one probably goes on.
    hint: u32,
    sacked_bytes: u32,
    sacked_records: u32,
    lost_bytes: u32,
    transmissions: Transmission,
    /// When the sole segment was sent, of which there is no record; [`NEVER`] when there is none.
    sole_at: Instant,
}

impl Default for Scoreboard {
    fn default() -> Self {
        Self {
            head: NONE,
            tail: NONE,
            outstanding: Queue::default(),
            lost: Queue::default(),
            hint: NONE,
            sacked_bytes: 0,
            sacked_records: 0,
            lost_bytes: 0,
            transmissions: SeqNumber(0),
            sole_at: NEVER,
        }
    }
}

/// A record was delivered: taken by [`Scoreboard::acknowledge`] or newly reported by [`Scoreboard::sack`].
pub(crate) trait Delivery {
    fn delivered(&mut self, record: &Record);
    /// As much of a record's beginning was taken by [`Scoreboard::acknowledge`]; the rest is on its way.
    fn delivered_part(&mut self, record: &Record, len: u32);
}

impl Scoreboard {
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.head == NONE && self.sole_at == NEVER
    }

    /// Sequence numbers that were delivered out of order.
    #[inline(always)]
    pub fn sacked_bytes(&self) -> u32 {
        self.sacked_bytes
    }

    /// Segments that were delivered out of order; one that the device cut counts once.
    #[inline(always)]
    pub fn sacked_records(&self) -> u32 {
        self.sacked_records
    }

    /// Sequence numbers that wait to be sent again.
    #[inline(always)]
    pub fn lost_bytes(&self) -> u32 {
        self.lost_bytes
    }

    /// The first record that waits to be sent again.
    #[inline(always)]
    pub fn first_lost(&self) -> Option<u32> {
        (self.lost.first != NONE).then_some(self.lost.first)
    }

    /// Nothing is on its way but a segment that is sent now, and no record of it is made; one is promised.
    #[inline(always)]
    pub fn send_sole(&mut self, now: Instant) {
        debug_assert!(self.is_empty(), "a sole segment is the only one");
        self.transmissions += 1;
        self.sole_at = now;
    }

    /// Whether a segment is on its way that has no record.
    #[inline(always)]
    pub fn has_sole(&self) -> bool {
        self.sole_at != NEVER
    }

    /// Takes the sole segment away, if there is one: the peer has it. Answers when it was sent, and as which transmission.
    #[inline(always)]
    pub fn take_sole(&mut self, records: &mut Records) -> Option<(Instant, Transmission)> {
        if self.sole_at == NEVER {
            return None;
        }
        records.withdraw();
        Some((core::mem::replace(&mut self.sole_at, NEVER), self.transmissions))
    }

    /// Makes the record of the sole segment, if there is one.
    pub fn unfold(&mut self, records: &mut Records, seq: SeqNumber, (payload_len, fin): (u32, bool), at: Cursor) {
        let sent_at = core::mem::replace(&mut self.sole_at, NEVER);
        if sent_at != NEVER {
            let record = Record::new(seq, payload_len, fin, at, sent_at);
            let index = records.redeem(Record { transmission: self.transmissions, ..record });
            (self.head, self.tail, self.outstanding) = (index, index, Queue { first: index, last: index });
        }
    }

    /// The record with the lowest sequence number.
    pub fn first(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    /// The record with the highest sequence number.
    pub fn last(&self) -> Option<u32> {
        (self.tail != NONE).then_some(self.tail)
    }

    /// The outstanding record that was sent longest ago.
    #[inline(always)]
    pub fn oldest(&self) -> Option<u32> {
        (self.outstanding.first != NONE).then_some(self.outstanding.first)
    }

    /// The outstanding record that was sent after `index`.
    pub fn sent_after(&self, records: &Records, index: u32) -> Option<u32> {
        let next = records[index].next;
        (next != NONE).then_some(next)
    }

    /// Adds a segment that was sent now, at the end of the sequence. `records` must have room.
    #[inline(always)]
    pub fn push(&mut self, records: &mut Records, record: Record) {
        debug_assert!(self.sole_at == NEVER, "a sole segment gets its record before the next one");
        self.transmissions += 1;
        let previous = self.outstanding.last;
        let record = Record { transmission: self.transmissions, previous, next: NONE, ..record };
        let Ok(index) = records.insert(record) else {
            unreachable!("a segment is sent only when there is room for its record")
        };
        if self.tail == NONE {
            self.head = index;
        } else {
            records.set_next(self.tail, index);
        }
        self.tail = index;
        if previous == NONE {
            self.outstanding.first = index;
        } else {
            records[previous].next = index;
        }
        self.outstanding.last = index;
    }

    /// A record that was taken for lost is sent again.
    pub fn retransmit(&mut self, records: &mut Records, index: u32, now: Instant) {
        let standing = records[index].standing;
        match standing {
            Standing::Lost => {
                self.lost.remove(records, index);
                self.lost_bytes -= records[index].len;
            }
            Standing::Outstanding => self.outstanding.remove(records, index),
            Standing::Sacked => {
                self.sacked_bytes -= records[index].len;
                self.sacked_records -= 1;
            }
        }
        records[index].standing = Standing::Outstanding;
        records[index].retransmitted = true;
        records[index].sent_at = now;
        self.transmissions += 1;
        records[index].transmission = self.transmissions;
        self.outstanding.push(records, index);
    }

    /// Takes an outstanding record for lost.
    pub fn mark_lost(&mut self, records: &mut Records, index: u32) {
        if records[index].standing == Standing::Outstanding {
            self.outstanding.remove(records, index);
            records[index].standing = Standing::Lost;
            self.lost_bytes += records[index].len;
            self.lost.push(records, index);
        }
    }

    /// Takes all outstanding records for lost. What is lost is sent again in the order of sequence numbers, whatever the
    /// order in which it was sent before (RFC 6298, 5.4: the earliest first).
    pub fn mark_all_lost(&mut self, records: &mut Records) {
        (self.outstanding, self.lost, self.lost_bytes) = Default::default();
        let mut index = self.head;
        while index != NONE {
            if records[index].standing != Standing::Sacked {
                records[index].standing = Standing::Lost;
                self.lost_bytes += records[index].len;
                self.lost.push(records, index);
            }
            index = records.next(index);
        }
    }

    /// Takes all lost records for outstanding again: the retransmission was spurious.
    pub fn forgive_lost(&mut self, records: &mut Records) {
        while self.lost.first != NONE {
            let index = self.lost.first;
            self.lost.remove(records, index);
            records[index].standing = Standing::Outstanding;
            self.outstanding.push(records, index);
        }
        self.lost_bytes = 0;
    }

    /// The peer discarded what it had selectively acknowledged (RFC 2018, 8): all of it is outstanding again.
    pub fn forget_sacked(&mut self, records: &mut Records) {
        let mut index = self.head;
        while index != NONE {
            if records[index].standing == Standing::Sacked {
                records[index].standing = Standing::Outstanding;
                self.outstanding.push(records, index);
            }
            index = records.next(index);
        }
        (self.sacked_bytes, self.sacked_records, self.hint) = (0, 0, NONE);
    }

    /// Everything before `una` was acknowledged.
    #[inline(always)]
    pub fn acknowledge(
        &mut self,
        records: &mut Records,
        chunks: &Chunks,
        una: SeqNumber,
        delivery: &mut impl Delivery,
    ) {
        while self.head != NONE {
            let index = self.head;
            let (record, next) = records.with_next(index);
            if record.end() > una {
                if record.seq < una {
                    let len = una - record.seq;
                    if record.standing != Standing::Sacked {
                        delivery.delivered_part(record, len);
                    }
                    self.split(records, chunks, index, len, None);
                }
                break;
            }
            if record.standing != Standing::Sacked {
                delivery.delivered(record);
            }
            let is_only_outstanding = self.outstanding.first == index && self.outstanding.last == index;
            self.head = next;
            if next == NONE {
                self.tail = NONE;
            }
            if is_only_outstanding {
                self.outstanding = Queue::default();
            } else {
                self.detach(records, index);
            }
            if self.hint == index {
                self.hint = NONE;
            }
            records.release(index);
        }
    }

    /// Takes a record out of its queue.
    #[inline]
    fn detach(&mut self, records: &mut Records, index: u32) {
        let Record { standing, len, .. } = records[index];
        match standing {
            Standing::Outstanding => self.outstanding.remove(records, index),
            Standing::Lost => {
                self.lost.remove(records, index);
                self.lost_bytes -= len;
            }
            Standing::Sacked => {
                self.sacked_bytes -= len;
                self.sacked_records -= 1;
            }
        }
    }

    /// Enters the blocks of a SACK option, in whole segments of `mss` bytes: a peer that reports single bytes must not cut what
    /// is on its way to pieces. Blocks before `una` (D-SACK) and beyond `nxt` are passed over. Answers whether
    /// something new was learnt.
    pub fn sack(
        &mut self,
        records: &mut Records,
        chunks: &Chunks,
        blocks: &SackBlocks,
        (una, nxt): (SeqNumber, SeqNumber),
        mss: u32,
        delivery: &mut impl Delivery,
    ) -> bool {
        let before = self.sacked_bytes;
        for (start, end) in blocks.in_order(una) {
            if start >= una && start < end && end <= nxt {
                self.sack_block(records, chunks, (start, end), mss, delivery);
            }
        }
        self.sacked_bytes != before
    }

    fn sack_block(
        &mut self,
        records: &mut Records,
        chunks: &Chunks,
        (start, end): (SeqNumber, SeqNumber),
        mss: u32,
        delivery: &mut impl Delivery,
    ) {
        let from_hint = self.hint != NONE && records[self.hint].seq <= start;
        let mut index = if from_hint { self.hint } else { self.head };
        while index != NONE && records[index].seq < end {
            let record = records[index];
            if record.end() <= start || record.standing == Standing::Sacked {
                self.hint = index;
                index = records.next(index);
                continue;
            }
            if record.seq < start {
                // The block begins within a burst that the device had cut into segments.
                let first = (start - record.seq).next_multiple_of(mss);
                if first >= record.len || record.seq + first >= end {
                    self.hint = index;
                    index = records.next(index);
                    continue;
                }
                let Some(rest) = records.allocate() else { return };
                self.split(records, chunks, index, first, Some(rest));
                index = rest;
                continue;
            }
            if record.end() > end {
                let whole = (end - record.seq) / mss * mss;
                if whole == 0 {
                    return;
                }
                let Some(rest) = records.allocate() else { return };
                self.split(records, chunks, index, whole, Some(rest));
            }
            self.mark_sacked(records, index);
            delivery.delivered(&records[index]);
            self.hint = index;
            index = records.next(index);
        }
    }

    fn mark_sacked(&mut self, records: &mut Records, index: u32) {
        let Record { standing, len, .. } = records[index];
        match standing {
            Standing::Outstanding => self.outstanding.remove(records, index),
            Standing::Lost => {
                self.lost.remove(records, index);
                self.lost_bytes -= len;
            }
            Standing::Sacked => return,
        }
        records[index].standing = Standing::Sacked;
        self.sacked_bytes += len;
        self.sacked_records += 1;
    }

    /// Cuts a record after `len` sequence numbers. With `rest`, that entry becomes the second part; without, the first part
    /// is given up: it was acknowledged.
    pub fn split(
        &mut self,
        records: &mut Records,
        chunks: &Chunks,
        index: u32,
        len: u32,
        rest: Option<u32>,
    ) -> Option<u32> {
        let record = records[index];
        let second = Record {
            seq: record.seq + len,
            len: record.len - len,
            at: advance(chunks, record.at, len.min(record.payload_len())),
            ..record
        };
        let Some(rest) = rest else {
            records[index] = second;
            match record.standing {
                Standing::Lost => self.lost_bytes -= len,
                Standing::Sacked => self.sacked_bytes -= len,
                Standing::Outstanding => {}
            }
            return None;
        };
        records[rest] = second;
        let first = &mut records[index];
        first.len = len;
        first.fin = false;
        let next = records.next(index);
        records.set_next(rest, next);
        records.set_next(index, rest);
        if self.tail == index {
            self.tail = rest;
        }
        match record.standing {
            Standing::Outstanding => self.outstanding.insert_after(records, index, rest),
            Standing::Lost => self.lost.insert_after(records, index, rest),
            Standing::Sacked => self.sacked_records += 1,
        }
        Some(rest)
    }

    /// Gives all records back.
    pub fn clear(&mut self, records: &mut Records) {
        let _ = self.take_sole(records);
        while self.head != NONE {
            let index = self.head;
            self.head = records.next(index);
            records.release(index);
        }
        *self = Self { transmissions: self.transmissions, ..Self::default() };
    }
}
