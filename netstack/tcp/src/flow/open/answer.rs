//! The usual answer: one segment of all that is queued, on a flow in good order on which nothing else is on its way; as a rule a few
//! bytes in one chunk.
//!
//! It is to sending what `predicted` is to receiving: neither windows nor Nagle nor anything that was lost can be in its way, and
//! what it leaves behind stays in the flow (see [`SendQueue`](crate::flow::send_queue::SendQueue) and
//! [`Scoreboard`](crate::flow::scoreboard::Scoreboard)).

use super::ack::DELAYED_ACK_WORST_NS;
use super::{Acknowledge, Common, Fin, LossTimer, Open};
use crate::counters::Counter;
use crate::link::Link;
use crate::output::{Blocked, COPY_BYTES, Payload, PlainHeader, emit, emit_copied, emit_gathered};
use crate::segment::Flags;
use crate::shared::Shared;
use crate::slab::NONE;
use crate::time::{Nanoseconds, Stamp};

impl Open {
    /// Whether all that is to be sent are so many bytes, of one segment, on a flow in good order where nothing is on its way.
    #[inline(always)]
    pub(super) fn is_answer(&self, len: u32) -> bool {
        let limit = u32::from(self.answer_max).min(self.snd.wnd);
        self.snd.nxt == self.snd.una && len.wrapping_sub(1) < limit
    }

    /// Sends an answer. Answers whether there may be more to be sent.
    #[inline(always)]
    pub(super) fn transmit_answer<L: Link>(
        &mut self,
        len: u32,
        common: &mut Common,
        shared: &mut Shared,
        link: &mut L,
    ) -> Result<bool, Blocked> {
        debug_assert!(self.is_in_good_order(), "whatever changes that is followed by a review");
        if self.queue.sole().is_none() || len > COPY_BYTES || !shared.records.promise() {
            return self.transmit_long_answer(len, common, shared, link);
        }
        let rto_ns = self.rto_ns();
        if self.snd.sent_at.age_ns(shared.now) > rto_ns {
            self.restart(shared);
        }
        let window = self.open_window(shared);
        let header = PlainHeader {
            seq: self.snd.nxt,
            ack: self.rcv.nxt,
            flags: Flags::ACK.with(Flags::PSH),
            window,
            ecn: self.data_ecn(),
            timestamp: self.timestamp_option(shared),
        };
        let bytes = self.queue.sole().map(|chunk| &**chunk).unwrap_or_default();
        if let Err(blocked) = emit_copied(link, shared, common.route(), &header, bytes) {
            shared.records.withdraw();
            return Err(blocked);
        }
        self.was_acknowledged(common);
        self.sole_was_sent(len, rto_ns, common, shared);
        Ok(false)
    }

    /// As [`Self::transmit_answer`], for one of several chunks or more than a few bytes.
    #[inline(never)]
    fn transmit_long_answer<L: Link>(
        &mut self,
        len: u32,
        common: &mut Common,
        shared: &mut Shared,
        link: &mut L,
    ) -> Result<bool, Blocked> {
        self.restart_after_idle(0, shared);
        if !self.emit_whole(len, false, common, shared, link)? {
            return self.transmit_any(common, shared, link);
        }
        self.was_acknowledged(common);
        self.sole_was_sent(len, self.rto_ns(), common, shared);
        Ok(false)
    }

    /// Whether all that is to be sent are so many bytes, or none, and the FIN behind them; nothing is on its way or in theirs.
    #[inline(always)]
    pub(super) fn is_last_answer(&self, len: u32, shared: &Shared) -> bool {
        let is_quiet = self.probe.is_none() & (self.snd.search == NONE) & self.sends_in_good_order();
        let fits = (len <= self.snd.mss().min(self.congestion.cwnd)) & (len < self.snd.wnd);
        let is_last = (self.fin == Fin::Queued) & (self.snd.nxt == self.snd.una);
        is_last && shared.config.short_cuts && is_quiet && fits
    }

    /// Sends such an answer, and the FIN behind it.
    #[inline(never)]
    pub(super) fn transmit_last_answer<L: Link>(
        &mut self,
        len: u32,
        common: &mut Common,
        shared: &mut Shared,
        link: &mut L,
    ) -> Result<bool, Blocked> {
        if len > 0 {
            self.restart_after_idle(0, shared);
        }
        if !self.emit_whole(len, true, common, shared, link)? {
            return self.transmit_any(common, shared, link);
        }
        self.data_acknowledged(common);
        self.ecn.reduced = false;
        self.fin = Fin::Sent;
        self.sole_was_sent(len + 1, self.rto_ns(), common, shared);
        if self.acknowledge == Acknowledge::Now { self.transmit_any(common, shared, link) } else { Ok(false) }
    }

    /// Sends all that is queued in one segment, for which a record is promised then. False, and nothing is sent, when it lies in too
    /// many pieces.
    #[inline(always)]
    fn emit_whole<L: Link>(
        &mut self,
        len: u32,
        fin: bool,
        common: &Common,
        shared: &mut Shared,
        link: &mut L,
    ) -> Result<bool, Blocked> {
        if !shared.records.promise() {
            return Err(Blocked::Room);
        }
        let at = self.queue.first(&mut shared.chunks);
        let header = self.new_header(len, fin, shared);
        let sent = if len == 0 {
            emit_copied(link, shared, common.route(), &header, &[]).map(|()| true)
        } else if len <= COPY_BYTES {
            emit_gathered(link, shared, common.route(), &header, (at, len)).map(|_| true)
        } else {
            let payload = Payload::new(&shared.chunks, at, len, self.snd.mss());
            let is_whole = payload.len() == len;
            if is_whole { emit(link, shared, common.route(), &header, payload).map(|()| true) } else { Ok(false) }
        };
        if sent != Ok(true) {
            shared.records.withdraw();
        }
        sent
    }

    /// What `new_was_sent` comes down to, for so many sequence numbers.
    #[inline(always)]
    fn sole_was_sent(&mut self, len: u32, rto_ns: u64, common: &mut Common, shared: &mut Shared) {
        self.sent.send_sole(shared.now);
        self.queue.mark_all_sent();
        self.snd.nxt += len;
        self.cwnd_limited = false;
        let stamp = Stamp::new(shared.now);
        (self.snd.sent_at, self.stalled_since) = (stamp, stamp);
        shared.count(Counter::SegmentsOut);
        // The probe of a lone segment allows for a delayed acknowledgement: as a rule, the retransmission timer comes first.
        if rto_ns > DELAYED_ACK_WORST_NS + self.rtt.srtt_ns().unwrap_or(0) {
            return self.restart_loss_timer(common, shared);
        }
        self.loss_timer = LossTimer::Retransmission;
        common.timers.loss = shared.now.plus_ns(rto_ns);
    }
}
