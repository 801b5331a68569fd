//! The usual answer: a few bytes in one chunk, on a flow in good order on which nothing else is on its way.
//!
//! It is to sending what `predicted` is to receiving: neither windows nor Nagle nor anything that was lost can be in its way, and
//! what it leaves behind stays in the flow (see [`SendQueue`](crate::flow::send_queue::SendQueue) and
//! [`Scoreboard`](crate::flow::scoreboard::Scoreboard)).

use super::ack::DELAYED_ACK_WORST_NS;
use super::{Acknowledge, Common, Fin, LossTimer, Open};
use crate::counters::Counter;
use crate::link::Link;
use crate::output::{Blocked, COPY_BYTES, PlainHeader, emit_copied};
use crate::segment::Flags;
use crate::shared::Shared;
use crate::slab::NONE;
use crate::time::{Nanoseconds, Stamp};

impl Open {
    /// Whether all that is to be sent are so few bytes, on a flow in good order where nothing is on its way.
    #[inline(always)]
    pub(super) fn is_short_answer(&self, len: u32) -> bool {
        let limit = u32::from(self.answer_max).min(self.snd.wnd);
        self.snd.nxt == self.snd.una && len.wrapping_sub(1) < limit
    }

    /// Sends a short answer. Answers whether there may be more to be sent.
    #[inline(always)]
    pub(super) fn transmit_answer<L: Link>(
        &mut self,
        len: u32,
        common: &mut Common,
        shared: &mut Shared,
        link: &mut L,
    ) -> Result<bool, Blocked> {
        debug_assert!(self.is_in_good_order(), "whatever changes that is followed by a review");
        if self.queue.sole().is_none() || !shared.records.promise() {
            return self.transmit_short(len, common, shared, link);
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

    /// Whether all that is to be sent are so few bytes, or none, and the FIN behind them; nothing is on its way or in theirs.
    #[inline(always)]
    pub(super) fn is_last_answer(&self, len: u32, shared: &Shared) -> bool {
        let is_quiet = self.probe.is_none() & (self.snd.search == NONE) & self.sends_in_good_order();
        let is_sole = (self.snd.nxt == self.snd.una) & (self.queue.sole().is_some() | (len == 0));
        let limit = COPY_BYTES.min(self.snd.mss).min(self.congestion.cwnd);
        let fits = (len <= limit) & (len < self.snd.wnd);
        (self.fin == Fin::Queued) & shared.config.short_cuts && is_quiet && is_sole && fits
    }

    /// Sends a short answer or none, and the FIN behind it.
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
        if !shared.records.promise() {
            return Err(Blocked::Room);
        }
        let header = self.new_header(len, true, shared);
        let bytes = self.queue.sole().map(|chunk| &**chunk).unwrap_or_default();
        if let Err(blocked) = emit_copied(link, shared, common.route(), &header, bytes) {
            shared.records.withdraw();
            return Err(blocked);
        }
        self.data_acknowledged(common);
        self.ecn.reduced = false;
        self.fin = Fin::Sent;
        self.sole_was_sent(len + 1, self.rto_ns(), common, shared);
        if self.acknowledge == Acknowledge::Now { self.transmit_any(common, shared, link) } else { Ok(false) }
    }

    /// What `new_was_sent` comes down to, for so many sequence numbers.
    #[inline(always)]
    fn sole_was_sent(&mut self, len: u32, rto_ns: u64, common: &mut Common, shared: &mut Shared) {
        self.sent.send_sole(shared.now);
        self.queue.mark_sole_sent();
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
