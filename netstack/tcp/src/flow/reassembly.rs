//! What was received out of order (RFC 9293, 3.10.7.4, seventh step; RFC 2018).
//!
//! Contiguous bytes are one range, a chain of packets; ranges stand in a list in the order of sequence numbers. What a
//! range covers already is trimmed off an arrival, and a range that an arrival covers wholly is dropped for it, so that no
//! range is ever cut.

use weir_packet::Packet;

use super::inbox::Inbox;
use crate::seq::SeqNumber;
use crate::slab::{NONE, Slab};

/// Ranges of all flows of an engine.
pub(crate) type Ranges = Slab<Range>;

/// Contiguous bytes beyond a gap.
#[derive(Debug, Default)]
pub(crate) struct Range {
    start: SeqNumber,
    end: SeqNumber,
    packets: Option<Packet>,
}

/// Buffers that a flow holds out of order at most, for each KiB of its receive window. A buffer holds 1.4 KiB as a rule:
/// only a peer that sends small segments with gaps comes to this.
const BUFFERS_PER_KIB: u32 = 2;
/// Ranges that a flow holds at most, or one for each so many bytes of its receive window: a queue that overflows during slow
/// start drops every second segment of half a window.
const RANGES_MAX: u32 = 512;
const RANGE_BYTES: u32 = 4_096;

/// Blocks in the SACK option: as many as fit beside timestamps.
pub(crate) const SACK_BLOCKS_MAX: usize = 3;

#[derive(Debug)]
pub(crate) struct Reassembly {
    head: u32,
    /// The range that grew last: where the next arrival probably goes on.
    recent: u32,
    ranges: u32,
    /// The first block to be reported is a duplicate (RFC 2883), and is reported once.
    has_duplicate: bool,
    buffers: u32,
    /// Ranges to be reported, the latest first (RFC 2018, 4).
    report: [(SeqNumber, SeqNumber); SACK_BLOCKS_MAX],
}

impl Default for Reassembly {
    fn default() -> Self {
        Self { head: NONE, recent: NONE, ranges: 0, has_duplicate: false, buffers: 0, report: Default::default() }
    }
}

/// Why an arrival was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// All of it is there already.
    Duplicate,
    /// Too many buffers or ranges are held.
    Full,
}

impl Reassembly {
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.head == NONE
    }

    /// Whether nothing is held, and nothing remains to be reported.
    #[inline]
    pub fn is_idle(&self) -> bool {
        !self.has_duplicate && self.head == NONE
    }

    /// Whether a duplicate waits to be reported.
    pub fn has_duplicate(&self) -> bool {
        self.has_duplicate
    }

    /// `start..end` came again (RFC 2883, 4): it is reported before everything else, in place of an earlier duplicate.
    pub fn note_duplicate(&mut self, start: SeqNumber, end: SeqNumber) {
        if !self.has_duplicate {
            self.report.rotate_right(1);
        }
        self.report[0] = (start, end);
        self.has_duplicate = true;
    }

    /// The report was sent. A range that the duplicate had pushed out comes back.
    pub fn was_reported(&mut self, ranges: &Ranges) {
        if !core::mem::take(&mut self.has_duplicate) {
            return;
        }
        self.report.rotate_left(1);
        let (last, kept) = (SACK_BLOCKS_MAX - 1, self.report);
        self.report[last] = Default::default();
        let mut index = self.head;
        while index != NONE {
            let block = (ranges[index].start, ranges[index].end);
            if !kept[..last].contains(&block) {
                self.report[last] = block;
                return;
            }
            index = ranges.next(index);
        }
    }

    /// Keeps the payload of a single buffer that begins at `start`, beyond what comes next. `window` is the receive
    /// window, which bounds what is held.
    pub fn insert(
        &mut self,
        ranges: &mut Ranges,
        mut start: SeqNumber,
        mut packet: Packet,
        window: u32,
    ) -> Result<(), Refused> {
        let mut end = start + packet.len() as u32;
        let before = self.range_before(ranges, start);
        if before != NONE && ranges[before].end > start {
            let covered = start.until(ranges[before].end).min(packet.len() as u32);
            self.note_duplicate(start, start + covered);
            start += covered;
            if packet.trim_front(covered as usize).is_err() || start >= end {
                // RFC 2883, 4: what contains the duplicate comes next.
                self.note(ranges[before].start, ranges[before].end);
                return Err(Refused::Duplicate);
            }
        }
        if self.buffers >= (window / 1024 + 8) * BUFFERS_PER_KIB {
            return Err(Refused::Full);
        }
        self.drop_covered(ranges, before, start, end);
        let next = self.next_of(ranges, before);
        if next != NONE && ranges[next].start < end {
            end = ranges[next].start;
            packet.truncate((end - start) as usize);
            if packet.is_empty() {
                return Err(Refused::Duplicate);
            }
        }
        let ranges_max = RANGES_MAX.max(window / RANGE_BYTES);
        self.place(ranges, before, Range { start, end, packets: Some(packet) }, ranges_max)
    }

    /// Joins a new range, which overlaps no other, with its neighbours, or enters it between them.
    fn place(&mut self, ranges: &mut Ranges, before: u32, range: Range, ranges_max: u32) -> Result<(), Refused> {
        let index = if before != NONE && ranges[before].end == range.start {
            let grown = &mut ranges[before];
            grown.end = range.end;
            append(&mut grown.packets, range.packets);
            before
        } else {
            if self.ranges >= ranges_max {
                return Err(Refused::Full);
            }
            let index = ranges.allocate().ok_or(Refused::Full)?;
            let next = self.next_of(ranges, before);
            ranges[index] = range;
            self.link(ranges, before, index);
            ranges.set_next(index, next);
            self.ranges += 1;
            index
        };
        self.buffers += 1;
        let next = ranges.next(index);
        if next != NONE && ranges[next].start == ranges[index].end {
            let joined = self.take(ranges, index, next);
            let grown = &mut ranges[index];
            grown.end = joined.end;
            append(&mut grown.packets, joined.packets);
        }
        self.recent = index;
        let (start, end) = (ranges[index].start, ranges[index].end);
        self.note(start, end);
        Ok(())
    }

    /// Moves what has become contiguous into `inbox` and answers the new `rcv.nxt`.
    pub fn drain(&mut self, ranges: &mut Ranges, mut nxt: SeqNumber, inbox: &mut Inbox) -> SeqNumber {
        while self.head != NONE && ranges[self.head].start <= nxt {
            let head = self.head;
            let range = self.take(ranges, NONE, head);
            let mut covered = range.start.until(nxt) as usize;
            let mut rest = range.packets;
            while let Some(mut packet) = rest {
                rest = packet.take_rest();
                self.buffers -= 1;
                let trimmed = covered.min(packet.len());
                covered -= trimmed;
                if packet.trim_front(trimmed).is_ok() && !packet.is_empty() {
                    inbox.push(packet);
                }
            }
            nxt = nxt.max(range.end);
        }
        nxt
    }

    /// The blocks to report, latest first. `nxt` is `rcv.nxt`: what it covers is no longer reported.
    pub fn report(&self, nxt: SeqNumber) -> impl Iterator<Item = (SeqNumber, SeqNumber)> + '_ {
        let duplicates = usize::from(self.has_duplicate);
        let is_worth = move |&(at, (start, end)): &(usize, (SeqNumber, SeqNumber))| {
            start != end && (start > nxt || at < duplicates)
        };
        self.report.iter().copied().enumerate().filter(is_worth).map(|(_, block)| block)
    }

    /// Discards everything.
    pub fn clear(&mut self, ranges: &mut Ranges) {
        while self.head != NONE {
            let head = self.head;
            drop(self.take(ranges, NONE, head));
        }
        *self = Self::default();
    }

    /// The last range that begins at or before `start`, if any.
    fn range_before(&self, ranges: &Ranges, start: SeqNumber) -> u32 {
        let mut before = NONE;
        let mut next = self.head;
        if self.recent != NONE && ranges[self.recent].start <= start {
            before = self.recent;
            next = ranges.next(before);
        }
        while next != NONE && ranges[next].start <= start {
            before = next;
            next = ranges.next(next);
        }
        before
    }

    /// Drops the ranges behind `before` that lie wholly within `start..end`.
    fn drop_covered(&mut self, ranges: &mut Ranges, before: u32, start: SeqNumber, end: SeqNumber) {
        loop {
            let next = self.next_of(ranges, before);
            if next == NONE || ranges[next].start < start || ranges[next].end > end {
                return;
            }
            let mut covered = self.take(ranges, before, next);
            let mut rest = covered.packets.take();
            while let Some(mut packet) = rest {
                rest = packet.take_rest();
                self.buffers -= 1;
            }
        }
    }

    fn next_of(&self, ranges: &Ranges, before: u32) -> u32 {
        if before == NONE { self.head } else { ranges.next(before) }
    }

    fn link(&mut self, ranges: &mut Ranges, before: u32, next: u32) {
        if before == NONE {
            self.head = next;
        } else {
            ranges.set_next(before, next);
        }
    }

    /// Takes `index`, which follows `before`, off the list.
    fn take(&mut self, ranges: &mut Ranges, before: u32, index: u32) -> Range {
        let next = ranges.next(index);
        self.link(ranges, before, next);
        if self.recent == index {
            self.recent = NONE;
        }
        self.ranges -= 1;
        let range = core::mem::take(&mut ranges[index]);
        ranges.release(index);
        range
    }

    /// Puts a range at the front of the report, in place of those that it contains.
    fn note(&mut self, start: SeqNumber, end: SeqNumber) {
        let old = core::mem::take(&mut self.report);
        let (duplicate, others) = old.split_at(usize::from(self.has_duplicate));
        let kept = others.iter().copied().filter(|block| !(block.0 >= start && block.1 <= end));
        let blocks = duplicate.iter().copied().chain(core::iter::once((start, end))).chain(kept);
        for (entry, block) in self.report.iter_mut().zip(blocks) {
            *entry = block;
        }
    }
}

fn append(chain: &mut Option<Packet>, more: Option<Packet>) {
    match (chain.as_mut(), more) {
        (Some(chain), Some(more)) => chain.append(more),
        (None, more) => *chain = more,
        (Some(_), None) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use weir_packet::Pool;

    /// Segments of a stream in any order, overlapping as they like: the stream comes out.
    #[test]
    fn any_order_and_any_overlap_give_the_stream_back() {
        let pool = Pool::with_capacity(400).unwrap();
        let stream: Vec<u8> = (0..3_000_u32).map(|i| ((i * i) >> 3) as u8).collect();
        let mut state = 1_u64;
        let mut random = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        for _ in 0..50 {
            let mut ranges = Ranges::new(1_000);
            let (mut reassembly, mut inbox) = (Reassembly::default(), Inbox::default());
            let base = SeqNumber(u32::MAX - 1_000);
            let mut nxt = base;
            let mut received = Vec::new();
            while received.len() < stream.len() {
                let at = random(stream.len());
                let bytes = &stream[at..(at + 1 + random(120)).min(stream.len())];
                let start = base + at as u32;
                let mut packet = pool.allocate().unwrap();
                packet.extend_from_slice(bytes).unwrap();
                if start <= nxt {
                    let old = start.until(nxt) as usize;
                    if old < bytes.len() {
                        packet.trim_front(old).unwrap();
                        nxt += packet.len() as u32;
                        inbox.push(packet);
                        nxt = reassembly.drain(&mut ranges, nxt, &mut inbox);
                    }
                } else {
                    let _ = reassembly.insert(&mut ranges, start, packet, 1 << 16);
                    assert!(reassembly.report(nxt).all(|(start, end)| start > nxt && end > start));
                }
                while let Some(chunk) = inbox.pop() {
                    received.extend_from_slice(&chunk);
                }
            }
            assert!(received == stream);
            reassembly.clear(&mut ranges);
            assert_eq!((pool.in_use(), ranges.len()), (0, 0));
        }
    }

    #[test]
    fn rfc_2018_4_the_first_block_is_the_latest() {
        let pool = Pool::with_capacity(16).unwrap();
        let mut ranges = Ranges::new(16);
        let mut reassembly = Reassembly::default();
        let mut arrive = |at: u32| {
            let mut packet = pool.allocate().unwrap();
            packet.extend_from_slice(&[0; 500]).unwrap();
            reassembly.insert(&mut ranges, SeqNumber(at), packet, 1 << 16).unwrap();
            reassembly.report(SeqNumber(5_000)).map(|(start, end)| (start.0, end.0)).collect::<Vec<_>>()
        };
        assert_eq!(arrive(5_500), [(5_500, 6_000)]);
        assert_eq!(arrive(6_500), [(6_500, 7_000), (5_500, 6_000)]);
        assert_eq!(arrive(7_500), [(7_500, 8_000), (6_500, 7_000), (5_500, 6_000)]);
        assert_eq!(arrive(6_000), [(5_500, 7_000), (7_500, 8_000)]);
        reassembly.clear(&mut ranges);
    }
}
