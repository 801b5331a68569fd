//! A segment arrives for a synchronised flow: RFC 9293, 3.10.7.4, its steps in its order. What they come down to for the segment
//! that everybody expects is in `predicted`.

use weir_socket::CloseReason;

use super::{Acknowledge, Common, Open, Outcome};
use crate::counters::{Counter, FlowState};
use crate::link::Ecn;
use crate::options::Timestamp;
use crate::segment::{Flags, Segment};
use crate::seq::SeqNumber;
use crate::shared::Shared;
use crate::time::{LongStamp, SECOND_NS, Stamp};

/// RFC 7323, 5.5: a timestamp that is older than this says nothing any more.
const TS_RECENT_AGE_MAX_NS: u64 = 24 * 24 * 3_600 * SECOND_NS;

/// Between two answers to unacceptable segments that take no sequence number.
const REFUSAL_INTERVAL_NS: u64 = SECOND_NS / 2;

/// What a step says about the segment.
pub(super) enum Step {
    Continue,
    Done(Outcome),
}

impl Open {
    /// Any segment.
    pub fn handle_segment(&mut self, segment: &mut Segment, common: &mut Common, shared: &mut Shared) -> Outcome {
        let outcome = self.take_steps(segment, common, shared);
        self.review(shared);
        outcome
    }

    #[inline(always)]
    fn take_steps(&mut self, segment: &mut Segment, common: &mut Common, shared: &mut Shared) -> Outcome {
        self.heard_at = Stamp::new(shared.now);
        for step in [Self::check_sequence, Self::check_rst, Self::check_syn, Self::check_ack, Self::check_reader] {
            if let Step::Done(outcome) = step(self, segment, common, shared) {
                return outcome;
            }
        }
        self.process_text(segment, common, shared);
        self.check_fin(common, shared)
    }

    /// First step. Cuts the segment to the window, after RFC 7323, 5.3 has had its say.
    fn check_sequence(&mut self, segment: &mut Segment, common: &mut Common, shared: &mut Shared) -> Step {
        if self.negotiated.timestamps && !segment.flags.has(Flags::RST) && !self.passes_paws(segment, shared) {
            return self.refuse(segment, common, shared);
        }
        let window = self.rcv.edge - self.rcv.nxt;
        let (start, end) = (segment.seq, segment.seq + segment.sequence_len());
        let (first, last) = (self.rcv.nxt, self.rcv.edge);
        let acceptable = match (end - start, window) {
            (0, 0) => start == first,
            (0, _) => start >= first && start < last,
            // With a closed window no text is acceptable, but what comes with it is.
            (_, 0) => start == first,
            (_, _) => start < last && end > first,
        };
        if !acceptable {
            shared.count(if end <= first { Counter::OldData } else { Counter::OutOfWindow });
            return self.refuse(segment, common, shared);
        }
        self.note_timestamp(segment.seq, segment.options.timestamp, shared);
        if start < first {
            self.note_duplicate(segment, common, shared);
        }
        let had_text = segment.len > 0;
        cut_to_window(segment, first, last);
        if had_text && segment.len == 0 {
            shared.count(Counter::OutOfWindow);
            self.acknowledge_now(common);
        }
        Step::Continue
    }

    /// An unacceptable segment is answered with an ACK, unless it is a RST. One that takes no sequence number may be such an
    /// answer itself: those are answered now and then, or two ends that disagree would answer each other for ever.
    fn refuse(&mut self, segment: &Segment, common: &mut Common, shared: &mut Shared) -> Step {
        if segment.flags.has(Flags::RST) {
            return Step::Done(Outcome::Keep);
        }
        self.note_duplicate(segment, common, shared);
        if segment.sequence_len() > 0 || self.refused_at.age_at_most_ns(shared.now) >= REFUSAL_INTERVAL_NS {
            self.refused_at = Stamp::new(shared.now);
            self.acknowledge_now(common);
        }
        Step::Done(Outcome::Keep)
    }

    /// RFC 2883, 4: the part of a segment's text that was received before is reported, at once.
    fn note_duplicate(&mut self, segment: &Segment, common: &mut Common, shared: &mut Shared) {
        let end = (segment.seq + segment.sequence_len()).min(self.rcv.nxt);
        if self.negotiated.sack && segment.len > 0 && !segment.flags.has(Flags::SYN) && segment.seq < end {
            shared.count(Counter::DsackOldSent);
            self.reassembly.note_duplicate(segment.seq, end, shared);
            self.acknowledge_now(common);
        }
    }

    /// RFC 7323, 5.3, R1 to R3.
    fn passes_paws(&mut self, segment: &Segment, shared: &mut Shared) -> bool {
        let Some(timestamp) = segment.options.timestamp else {
            // 3.2 lets us drop it; peers exist that omit timestamps on keepalives, and those would never be answered.
            shared.count(Counter::NoTimestamp);
            return segment.sequence_len() == 0;
        };
        let is_outdated = self.is_outdated(timestamp, shared);
        if is_outdated {
            shared.count(Counter::PawsRejected);
        }
        !is_outdated
    }

    /// Whether a timestamp is from before the one to echo. That one is compared with for so long only (RFC 7323, 5.5).
    fn is_outdated(&self, timestamp: Timestamp, shared: &Shared) -> bool {
        let is_older = timestamp.value.wrapping_sub(self.rcv.ts_recent) >= 1 << 31;
        is_older && self.rcv.ts_recent_at.age_ns(shared.now) <= TS_RECENT_AGE_MAX_NS
    }

    /// RFC 7323, 4.3: the timestamp to echo.
    fn note_timestamp(&mut self, seq: SeqNumber, timestamp: Option<Timestamp>, shared: &Shared) {
        if let Some(timestamp) = timestamp
            && self.negotiated.timestamps
            && seq <= self.rcv.acked
            && !self.is_outdated(timestamp, shared)
        {
            self.rcv.ts_recent = timestamp.value;
            self.rcv.ts_recent_at = LongStamp::new(shared.now);
        }
    }

    /// Second step, with RFC 5961, 3.2: only the exact sequence number resets.
    fn check_rst(&mut self, segment: &mut Segment, common: &mut Common, shared: &mut Shared) -> Step {
        if !segment.flags.has(Flags::RST) {
            return Step::Continue;
        }
        if segment.seq != self.rcv.nxt {
            shared.count(Counter::ResetInexact);
            return self.challenge(common, shared);
        }
        shared.count(Counter::ResetsIn);
        let in_order = matches!(self.state, FlowState::Closing | FlowState::LastAck);
        Step::Done(Outcome::Gone(if in_order { CloseReason::Finished } else { CloseReason::Reset }))
    }

    /// Fourth step, with RFC 5961, 4.2: a SYN never resets.
    fn check_syn(&mut self, segment: &mut Segment, common: &mut Common, shared: &mut Shared) -> Step {
        if !segment.flags.has(Flags::SYN) {
            return Step::Continue;
        }
        shared.count(Counter::SynOnFlow);
        self.challenge(common, shared)
    }

    /// Fifth step, with RFC 5961, 5.2.
    fn check_ack(&mut self, segment: &mut Segment, common: &mut Common, shared: &mut Shared) -> Step {
        if !segment.flags.has(Flags::ACK) {
            shared.count(Counter::NoAck);
            return Step::Done(Outcome::Keep);
        }
        if segment.ack > self.snd.nxt || segment.ack < self.snd.una - self.snd.wnd_max {
            shared.count(Counter::UnacceptableAck);
            return self.challenge(common, shared);
        }
        if segment.ecn == Ecn::CongestionExperienced && self.negotiated.ecn {
            self.ecn.echo = true;
        }
        if segment.flags.has(Flags::CWR) && segment.len > 0 {
            self.ecn.echo = segment.ecn == Ecn::CongestionExperienced;
        }
        self.process_ack(segment, common, shared);
        Step::Done(match (self.state, self.is_fin_acknowledged()) {
            (FlowState::FinWait1, true) => {
                self.transition(FlowState::FinWait2, shared);
                self.arm_idle(common, shared);
                return Step::Continue;
            }
            (FlowState::Closing, true) => Outcome::TimeWait,
            (FlowState::LastAck, true) => Outcome::Gone(CloseReason::Finished),
            _ => return Step::Continue,
        })
    }

    /// Text that nobody will ever read resets the flow (RFC 9293, 3.6.1; RFC 2525, 2.17).
    fn check_reader(&mut self, segment: &mut Segment, _: &mut Common, shared: &mut Shared) -> Step {
        if self.orphaned && segment.seq + segment.len > self.rcv.nxt && segment.len > 0 {
            shared.count(Counter::DataAfterClose);
            return Step::Done(Outcome::Abort(CloseReason::Released));
        }
        Step::Continue
    }

    /// Eighth step: the peer's FIN, once everything before it is here.
    pub(super) fn check_fin(&mut self, common: &mut Common, shared: &mut Shared) -> Outcome {
        if self.rcv.fin() != Some(self.rcv.nxt) {
            return Outcome::Keep;
        }
        self.rcv.nxt += 1;
        self.rcv.edge = self.rcv.edge.max(self.rcv.nxt);
        self.acknowledge_now(common);
        common.pending |= weir_socket::Readiness::READABLE;
        match self.state {
            FlowState::Established => self.transition(FlowState::CloseWait, shared),
            FlowState::FinWait1 => self.transition(FlowState::Closing, shared),
            FlowState::FinWait2 => return Outcome::TimeWait,
            _ => {}
        }
        Outcome::Keep
    }

    /// A challenge ACK, so many per second (RFC 5961, 7).
    fn challenge(&mut self, common: &mut Common, shared: &mut Shared) -> Step {
        if shared.may_challenge() {
            self.acknowledge_now(common);
        }
        Step::Done(Outcome::Keep)
    }

    #[inline]
    pub(super) fn acknowledge_now(&mut self, common: &mut Common) {
        self.acknowledge = Acknowledge::Now;
        common.output = true;
    }
}

/// Trims what lies before and behind the window, the FIN included.
fn cut_to_window(segment: &mut Segment, first: SeqNumber, last: SeqNumber) {
    let old = segment.seq.until(first);
    if old > 0 {
        // A SYN stands before the text; check_syn refuses the segment then, so that its text does not matter.
        let cut = old.min(segment.len);
        segment.trim_front(cut);
        segment.seq = first;
        if old > cut {
            segment.flags = segment.flags.without(Flags::FIN);
        }
    }
    let fits = segment.seq.until(last);
    if segment.len > fits {
        segment.truncate(fits);
        segment.flags = segment.flags.without(Flags::FIN);
    }
    // A FIN right behind the window's edge may stay: it takes no buffer.
}
