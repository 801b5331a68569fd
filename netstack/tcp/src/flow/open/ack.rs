//! An acknowledgement (RFC 9293, 3.10.7.4, fifth step): what was delivered, what was lost, how much may follow.

use weir_socket::{Instant, Readiness};

use super::{Common, FRto, Fin, LossTimer, Open, TailProbe};
use crate::congestion::Acked;
use crate::counters::Counter;
use crate::flow::rack::{Circumstances, Rack};
use crate::flow::recovery::{Phase, Report};
use crate::flow::rtt::{Backoff, RttEstimator};
use crate::flow::scoreboard::{Delivery, Record};
use crate::options::{SackBlocks, Timestamp};
use crate::segment::{Flags, Segment};
use crate::seq::SeqNumber;
use crate::shared::Shared;
use crate::slab::NONE;
use crate::time::{MILLISECOND_NS, NEVER, Nanoseconds, Span, Stamp};

/// RFC 5681, 2: duplicates after which a peer without SACK is believed to miss a segment.
const DUP_ACKS: u32 = 3;
/// RFC 8985, 7.2: WCDelAckT, the longest that a peer delays an acknowledgement.
pub(super) const DELAYED_ACK_WORST_NS: u64 = 200 * MILLISECOND_NS;
/// A probe earlier than this would be noise: the wheel ticks in milliseconds.
const PROBE_TIMEOUT_MIN_NS: u64 = 2 * MILLISECOND_NS;

/// What is gathered while one acknowledgement is looked at.
struct Tally<'a> {
    rack: &'a mut Rack,
    now: Instant,
    rtt: &'a RttEstimator,
    /// The timestamp that the segment echoes, and the offset of ours.
    echo: Option<SeqNumber>,
    timestamp_offset: u32,
    bytes: u32,
    /// Round trip of the latest segment that was sent once.
    rtt_ns: Option<u64>,
}

/// What an acknowledgement newly delivered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delivered {
    pub bytes: u32,
    /// Round trip of the latest segment among them that was sent once only; none when all were sent again.
    pub rtt_ns: Option<u64>,
}

impl Delivery for Tally<'_> {
    #[inline]
    fn delivered(&mut self, record: &Record) {
        self.bytes += record.len;
        let sent = || SeqNumber(Shared::timestamp_clock(record.sent_at, self.timestamp_offset));
        let is_echo_older = record.retransmitted && self.echo.is_some_and(|echo| echo < sent());
        self.rack.delivered(record, self.now, self.rtt, is_echo_older);
        if !record.retransmitted {
            self.rtt_ns = Some(self.now.since_ns(record.sent_at));
        }
    }

    /// The first segments of a train measure the round trip without the train's own length.
    #[inline]
    fn delivered_part(&mut self, record: &Record, len: u32) {
        self.bytes += len;
        if !record.retransmitted {
            self.rtt_ns = Some(self.now.since_ns(record.sent_at));
        }
    }
}

impl Open {
    /// Whether nothing that was sent is lost, reported out of order, or suspected of it. One condition, and one jump.
    #[inline(always)]
    pub(super) fn sends_in_good_order(&self) -> bool {
        let is_calm = (self.recovery.phase() == Phase::Open) & (self.f_rto == FRto::Off);
        is_calm & (self.sent.sacked_bytes() | self.recovery.dup_acks() == 0)
    }

    /// Whether progress of `una` means something else than that of what was sent; or short cuts are not to be taken.
    #[inline(always)]
    pub(super) fn has_duties(&self, shared: &Shared) -> bool {
        (self.tail_probe != TailProbe::None) | (self.snd.search != NONE) | !shared.config.short_cuts
    }

    /// The usual case: `una` advances, and what was sent is in good order.
    #[inline(never)]
    pub(super) fn advance_una(
        &mut self,
        ack: SeqNumber,
        timestamp: Option<Timestamp>,
        common: &mut Common,
        shared: &mut Shared,
    ) {
        self.unfold(shared);
        let in_flight = self.in_flight();
        let delivered = self.take_acknowledged(ack, timestamp, None, common, shared);
        self.grow_window(delivered, in_flight, shared);
        self.restart_loss_timer(common, shared);
    }

    /// Any acknowledgement.
    pub(super) fn process_ack(&mut self, segment: &Segment, common: &mut Common, shared: &mut Shared) {
        let has_news = !segment.options.sack.is_empty() || segment.flags.has(Flags::ECE);
        if segment.ack > self.snd.una && !has_news && self.sends_in_good_order() {
            self.update_window(segment.seq, segment.ack, segment.window);
            if self.has_duties(shared) || !self.settle_answer(segment.ack, common, shared) {
                self.advance_una(segment.ack, segment.options.timestamp, common, shared);
            }
            return;
        }
        self.process_any_ack(segment, common, shared);
    }

    /// An acknowledgement that repeats itself, or comes while not everything is in good order.
    #[inline(never)]
    fn process_any_ack(&mut self, segment: &Segment, common: &mut Common, shared: &mut Shared) {
        self.unfold(shared);
        let in_flight = self.in_flight();
        let is_duplicate = self.is_duplicate(segment);
        self.update_window(segment.seq, segment.ack, segment.window);
        self.note_duplicate_report(segment, shared);
        let progress = segment.ack > self.snd.una;
        let (flight_size, phase) = (self.snd.nxt - self.snd.una, self.recovery.phase());
        let options = &segment.options;
        let delivered = self.take_acknowledged(segment.ack, options.timestamp, Some(&options.sack), common, shared);
        self.judge_timeout(segment, is_duplicate, progress, delivered, shared);
        if progress {
            self.undo_if_spurious(segment, shared);
            if self.recovery.advance(self.snd.una, self.snd.mss(), &mut self.congestion) {
                self.rack.recovered();
            }
        }
        let wait_ns = if self.negotiated.sack {
            self.detect_losses(shared)
        } else {
            self.count_duplicates(is_duplicate, progress, phase, shared);
            None
        };
        self.enter_recovery(segment, flight_size, shared);
        match self.recovery.phase() {
            Phase::Fast | Phase::Reducing => {
                let (pipe, delivered, mss) = (self.in_flight(), delivered.bytes, self.snd.mss());
                // A partial acknowledgement has its answer, whatever the window (RFC 6582, 3.2).
                let is_due = progress && !self.negotiated.sack;
                let report = Report { delivered, pipe, progress, is_due, mss };
                self.recovery.reduce_proportionally(&report, &mut self.congestion);
            }
            Phase::Open | Phase::Timeout if progress => self.grow_window(delivered, in_flight, shared),
            Phase::Open | Phase::Timeout => {}
        }
        if progress || wait_ns.is_some() {
            self.restart_loss_timer(common, shared);
        }
        if let Some(wait_ns) = wait_ns {
            self.loss_timer = LossTimer::Reordering;
            common.timers.loss = shared.now.plus_ns(wait_ns);
        }
        if self.sent.lost_bytes() > 0 || self.queue.unsent_len() > 0 {
            common.output = true;
        }
    }

    /// Updates scoreboard, queue, `una` and the round-trip time. Answers what was newly delivered.
    #[inline(always)]
    fn take_acknowledged(
        &mut self,
        ack: SeqNumber,
        timestamp: Option<Timestamp>,
        sack: Option<&SackBlocks>,
        common: &mut Common,
        shared: &mut Shared,
    ) -> Delivered {
        let mut tally = Tally {
            rack: &mut self.rack,
            now: shared.now,
            rtt: &self.rtt,
            echo: timestamp.map(|timestamp| SeqNumber(timestamp.echo)),
            timestamp_offset: self.timestamp_offset,
            bytes: 0,
            rtt_ns: None,
        };
        let progress = ack > self.snd.una;
        if progress {
            self.sent.acknowledge(&mut shared.records, &shared.chunks, ack, &mut tally);
        }
        if let Some(blocks) = sack.filter(|blocks| !blocks.is_empty() && self.negotiated.sack) {
            let space = (self.snd.una.max(ack), self.snd.nxt);
            self.sent.sack(&mut shared.records, &shared.chunks, blocks, space, self.snd.mss(), &mut tally);
            for _ in blocks.iter().filter(|&(start, end)| start >= end || end > self.snd.nxt) {
                shared.counters.count(Counter::SackDiscarded);
            }
        }
        let (bytes, rtt_ns) = (tally.bytes, tally.rtt_ns);
        if let Some(rtt_ns) = rtt_ns {
            self.rtt.sample(Span::from_ns(rtt_ns), shared.now);
            self.backoff = Backoff::default();
        }
        if progress {
            self.release_acknowledged(ack, common, shared);
        }
        Delivered { bytes, rtt_ns }
    }

    #[inline(always)]
    fn release_acknowledged(&mut self, ack: SeqNumber, common: &mut Common, shared: &mut Shared) {
        let fin = u32::from(self.fin == Fin::Sent && ack == self.snd.nxt);
        let bytes = (ack - self.snd.una) - fin;
        self.snd.una = ack;
        self.queue.acknowledge(&mut shared.chunks, bytes);
        shared.gauges.send_queued -= u64::from(bytes);
        self.backoff = Backoff::default();
        self.stalled_since = Stamp::new(shared.now);
        if self.tail_probe != TailProbe::None {
            self.settle_tail_probe(ack, shared);
        }
        if self.snd.search != NONE {
            self.settle_path_probe(ack, common, shared);
        }
        if self.queue.unsent_len() > 0 || self.fin == Fin::Queued {
            common.output = true;
        }
        // Room for a quarter of the queue is worth telling.
        if self.refused && self.queue.len() <= shared.limits.send_queue_max / 4 * 3 {
            self.refused = false;
            common.pending |= Readiness::WRITABLE;
        }
    }

    /// Fifth step's window update.
    #[inline(always)]
    pub(super) fn update_window(&mut self, seq: SeqNumber, ack: SeqNumber, window: u16) {
        if self.snd.wl1 < seq || (self.snd.wl1 == seq && self.snd.wl2 <= ack) {
            self.snd.wnd = u32::from(window) << self.snd.scale;
            self.snd.wnd_max = self.snd.wnd_max.max(self.snd.wnd);
            (self.snd.wl1, self.snd.wl2) = (seq, ack);
        }
    }

    /// RFC 5681, 2.
    fn is_duplicate(&self, segment: &Segment) -> bool {
        segment.ack == self.snd.una
            && segment.len == 0
            && !segment.flags.has(Flags::FIN)
            && !self.sent.is_empty()
            && u32::from(segment.window) << self.snd.scale == self.snd.wnd
    }

    /// The peer reports that it got something twice (RFC 2883, 4).
    fn note_duplicate_report(&mut self, segment: &Segment, shared: &mut Shared) {
        let Some((start, end)) = self.reported_duplicate(segment) else { return self.end_tail_probe(segment) };
        shared.count(Counter::DsackReceived);
        self.rack.duplicate_reported(self.snd.una, self.snd.nxt);
        // RFC 8985, 7.4.2: the probe and its original arrived.
        if self.tail_probe != TailProbe::None && self.tail_probe_end == end && segment.ack >= end {
            self.tail_probe = TailProbe::None;
        }
        if self.recovery.duplicate_reported(start, end) {
            shared.count(Counter::DsackUndone);
            self.take_back(shared);
        }
    }

    /// The first block, when it lies below the acknowledgement or within the second.
    fn reported_duplicate(&self, segment: &Segment) -> Option<(SeqNumber, SeqNumber)> {
        let mut blocks = segment.options.sack.iter();
        let (start, end) = blocks.next().filter(|_| self.negotiated.sack)?;
        let is_below = end <= segment.ack;
        let mut is_inside = || blocks.next().is_some_and(|(first, last)| start >= first && end <= last);
        (start < end && end <= self.snd.nxt && (is_below || is_inside())).then_some((start, end))
    }

    /// RFC 8985, 7.4.2: a bare duplicate acknowledgement of the probe, from a peer that reports no duplicates.
    fn end_tail_probe(&mut self, segment: &Segment) {
        let is_bare = segment.len == 0 && segment.options.sack.is_empty() && segment.ack == self.snd.una;
        if is_bare && self.tail_probe != TailProbe::None && self.tail_probe_end == segment.ack {
            self.tail_probe = TailProbe::None;
        }
    }

    /// The reduction was spurious: what was taken for lost is on its way.
    pub(super) fn take_back(&mut self, shared: &mut Shared) {
        shared.count(Counter::SpuriousRecoveries);
        self.sent.forgive_lost(&mut shared.records);
        self.recovery.undo(&mut self.congestion);
    }

    /// RFC 3522: the peer echoes a timestamp from before the first retransmission.
    fn undo_if_spurious(&mut self, segment: &Segment, shared: &mut Shared) {
        let Some(timestamp) = segment.options.timestamp.filter(|_| self.negotiated.timestamps) else { return };
        if self.recovery.is_spurious(timestamp.echo) {
            self.take_back(shared);
        }
    }

    fn detect_losses(&mut self, shared: &mut Shared) -> Option<u64> {
        if self.sent.is_empty() || (self.sent.sacked_bytes() == 0 && !self.recovery.is_recovering()) {
            return None;
        }
        let circumstances = self.circumstances(shared);
        self.rack.detect_losses(&mut self.sent, &mut shared.records, &circumstances)
    }

    pub(super) fn circumstances(&self, shared: &Shared) -> Circumstances {
        let srtt_ns = self.rtt.srtt_ns().unwrap_or(0);
        Circumstances {
            now: shared.now,
            min_rtt_ns: self.rtt.min_ns().unwrap_or(srtt_ns),
            srtt_ns,
            in_recovery: self.recovery.is_recovering(),
            mss: self.snd.mss(),
        }
    }

    /// NewReno's recovery (RFC 6582, 3.2) for a peer without SACK.
    fn count_duplicates(&mut self, is_duplicate: bool, progress: bool, phase: Phase, shared: &mut Shared) {
        if progress {
            self.recovery.forget_dup_acks();
        }
        let partial = progress && phase == Phase::Fast && self.recovery.phase() == Phase::Fast;
        let third = is_duplicate && self.recovery.count_dup_ack() == DUP_ACKS && !self.recovery.is_recovering();
        if (partial || third)
            && let Some(first) = self.sent.first()
        {
            self.sent.mark_lost(&mut shared.records, first);
        }
    }

    fn enter_recovery(&mut self, segment: &Segment, flight_size: u32, shared: &mut Shared) {
        if self.sent.lost_bytes() > 0 && !self.recovery.is_recovering() && !self.has_lost_probe_only(shared) {
            shared.count(Counter::FastRecoveries);
            self.begin_recovery(Phase::Fast, flight_size);
        } else if segment.flags.has(Flags::ECE) && self.negotiated.ecn && self.recovery.phase() == Phase::Open {
            shared.count(Counter::EcnReductions);
            self.begin_recovery(Phase::Reducing, flight_size);
            self.ecn.reduced = true;
        }
    }

    /// See [`Recovery::begin`](crate::flow::recovery::Recovery::begin).
    pub(super) fn begin_recovery(&mut self, phase: Phase, flight_size: u32) {
        let space = (self.snd.una, self.snd.nxt);
        self.recovery.begin(phase, space, (flight_size, self.snd.mss()), &mut self.congestion);
    }

    /// Lets `cwnd` grow, if it was used (RFC 9438, 5.8; RFC 7661): wholly, or half of it in slow start.
    #[inline(always)]
    pub(super) fn grow_window(&mut self, delivered: Delivered, in_flight: u32, shared: &Shared) {
        let in_slow_start = self.congestion.cwnd < self.congestion.ssthresh;
        let is_used = self.cwnd_limited || (in_slow_start && self.congestion.cwnd < in_flight.saturating_mul(2));
        let Delivered { bytes, rtt_ns } = delivered;
        if is_used && bytes > 0 {
            let srtt_ns = self.rtt.srtt_ns().unwrap_or(0);
            let rtt_us = rtt_ns.map_or(0, |rtt_ns| (rtt_ns / 1_000).clamp(1, u64::from(u32::MAX)) as u32);
            let (una, nxt) = (self.snd.una, self.snd.nxt);
            self.congestion.on_ack(Acked { bytes, mss: self.snd.mss(), now: shared.now, srtt_ns, rtt_us, una, nxt });
        }
    }

    /// RFC 8985, 7.4.2: did the probe repair a loss that nothing else told of? An acknowledgement that goes beyond a probe
    /// that was sent again, without a duplicate having been reported, says so.
    fn settle_tail_probe(&mut self, ack: SeqNumber, shared: &mut Shared) {
        let is_settled = match self.tail_probe {
            TailProbe::None => false,
            TailProbe::New => ack >= self.tail_probe_end,
            TailProbe::Retransmitted => ack > self.tail_probe_end,
        };
        if !is_settled {
            return;
        }
        let probe = core::mem::replace(&mut self.tail_probe, TailProbe::None);
        if probe == TailProbe::Retransmitted && self.recovery.phase() == Phase::Open {
            shared.count(Counter::ProbeRepairs);
            self.begin_recovery(Phase::Reducing, self.congestion.cwnd);
        }
    }

    /// RFC 6298, (5.2) and (5.3), and RFC 8985, 7.2: arms the timer for what is on its way, from now on.
    #[inline(always)]
    pub(super) fn restart_loss_timer(&mut self, common: &mut Common, shared: &Shared) {
        if self.sent.is_empty() {
            common.timers.loss = NEVER;
            return;
        }
        let rto_ns = self.rto_ns();
        let timeout_ns = match self.probe_timeout_ns(shared) {
            Some(timeout_ns) if timeout_ns < rto_ns => {
                self.loss_timer = LossTimer::TailProbe;
                timeout_ns
            }
            _ => {
                self.loss_timer = LossTimer::Retransmission;
                rto_ns
            }
        };
        common.timers.loss = shared.now.plus_ns(timeout_ns);
    }

    #[inline]
    pub(super) fn rto_ns(&self) -> u64 {
        self.rtt.rto_ns(self.backoff)
    }

    /// RFC 8985, 7.2: the time after which the tail is probed; none when a probe is not due.
    #[inline(always)]
    fn probe_timeout_ns(&self, _shared: &Shared) -> Option<u64> {
        let srtt_ns = self.rtt.srtt_ns()?;
        let allowed = self.negotiated.sack
            && self.recovery.phase() == Phase::Open
            && self.sent.sacked_bytes() == 0
            && self.tail_probe == TailProbe::None;
        if !allowed {
            return None;
        }
        let is_single = self.snd.nxt - self.snd.una <= self.snd.mss();
        let delay_ns = if is_single { DELAYED_ACK_WORST_NS } else { 0 };
        Some((2 * srtt_ns + delay_ns).max(PROBE_TIMEOUT_MIN_NS))
    }

    pub(super) fn is_fin_acknowledged(&self) -> bool {
        self.fin == Fin::Sent && self.snd.una == self.snd.nxt
    }
}
