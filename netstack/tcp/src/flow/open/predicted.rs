//! Header prediction (Van Jacobson, 1990): the segment that everybody expects, on a flow in good order.
//!
//! [`Open::predicts`] is the whole precondition, of which [`Open::review`] has looked at what rarely changes. [`Open::handle_predicted`] is what the steps of RFC 9293, 3.10.7.4 and the
//! sections that hang on them come down to then: the peer is alive, its timestamp and window are noted, its acknowledgement
//! settles what it is of, its text is the application's. That both ways leave a flow in the same state is what the simulator
//! tells: a world runs with and without this file, and not a byte on its wire may differ.

use weir_packet::Packet;

use super::ack::Delivered;
use super::{Common, Fin, NOT_EXPECTED, Open, Outcome, TailProbe};
use crate::counters::FlowState;
use crate::flow::rtt::Backoff;
use crate::segment::Plain;
use crate::seq::SeqNumber;
use crate::shared::Shared;
use crate::slab::NONE;
use crate::time::{LongStamp, NEVER, Nanoseconds, Span, Stamp};

impl Open {
    /// Looks whether everything is in good order. Called after everything that may change that, the expected segment and the
    /// usual answer excepted, which do not: what those two ask for is this one word.
    pub fn review(&mut self, shared: &Shared) {
        let is_in_good_order = self.is_in_good_order() && shared.config.short_cuts;
        let is_path_known = self.snd.path_mtu != 0;
        let word = Plain::word(self.negotiated.timestamps);
        let answer_max = self.snd.mss().min(self.congestion.cwnd) as u16;
        self.expected = if is_in_good_order { word } else { NOT_EXPECTED };
        self.answer_max = if is_in_good_order && is_path_known { answer_max } else { 0 };
    }

    /// ESTABLISHED, and neither is anything lost, out of order or suspected of it, nor is there anything to be told the peer but
    /// data and acknowledgements.
    pub(super) fn is_in_good_order(&self) -> bool {
        self.state == FlowState::Established
            && self.sends_in_good_order()
            && self.sent.lost_bytes() == 0
            && self.reassembly.is_empty()
            && !self.rcv.has_fin
            && self.probe.is_none()
            && self.tail_probe == TailProbe::None
            && self.snd.search == NONE
            && !self.ecn.echo
            && !self.ecn.reduced
    }

    /// What a segment says, if it is the one that is expected: on a flow in good order, the next bytes or an acknowledgement of
    /// what is on its way, and a timestamp that goes forward.
    #[inline(always)]
    pub fn predicts(&self, packet: &Packet) -> Option<Plain> {
        let plain = self.read_plain(packet, self.expected)?;
        debug_assert!(self.is_in_good_order(), "whatever changes that is followed by a review");
        Some(plain)
    }

    /// Whether a segment acknowledges our FIN in LAST-ACK, and that is all that it says and all that remains to be done: the flow
    /// is gone then, so that nothing of what else an acknowledgement changes matters any more.
    #[inline(always)]
    pub fn is_ended_by(&self, packet: &Packet, shared: &Shared) -> bool {
        self.state == FlowState::LastAck
            && self.fin == Fin::Sent
            && !self.refused
            && self.sends_in_good_order()
            && !self.has_duties(shared)
            && self
                .read_plain(packet, Plain::word(self.negotiated.timestamps))
                .is_some_and(|plain| plain.ack == self.snd.nxt && plain.len == 0 && !plain.fin)
    }

    /// The next segment's header, if its word is as `expected`.
    #[inline(always)]
    fn read_plain(&self, packet: &Packet, expected: u32) -> Option<Plain> {
        let plain = Plain::read(packet, expected, self.negotiated.timestamps)?;
        let Plain { seq, ack, len, fin, timestamp, .. } = plain;
        let is_forward = timestamp.is_none_or(|timestamp| timestamp.value.wrapping_sub(self.rcv.ts_recent) < 1 << 31);
        let is_next = seq == self.rcv.nxt && len <= self.rcv.edge - self.rcv.nxt;
        let is_expected = is_next && is_forward && ack - self.snd.una <= self.snd.nxt - self.snd.una;
        // Without progress, a segment without payload may be a duplicate acknowledgement or a window update.
        let is_news = ack != self.snd.una || len > 0 || fin;
        (is_expected && is_news).then_some(plain)
    }

    /// What remains of the steps for such a segment; `payload` is what follows its header.
    #[inline(never)]
    pub fn handle_predicted(&mut self, plain: &Plain, payload: Packet, common: &mut Common, shared: &mut Shared) {
        self.heard_at = Stamp::new(shared.now);
        // That the timestamp goes forward, or is none, was predicted; what remains is RFC 7323, 4.3.
        if let Some(timestamp) = plain.timestamp
            && plain.seq == self.rcv.acked
        {
            self.rcv.ts_recent = timestamp.value;
            self.rcv.ts_recent_at = LongStamp::new(shared.now);
        }
        self.update_window(plain.seq, plain.ack, plain.window);
        if plain.ack != self.snd.una {
            if !self.settle_answer(plain.ack, common, shared) {
                self.advance_una(plain.ack, plain.timestamp, common, shared);
            }
        } else if self.queue.unsent_len() > 0 {
            common.output = true;
        }
        if plain.len > 0 {
            self.accept_next(payload, plain.len, common, shared);
        }
        if plain.fin {
            (self.rcv.fin, self.rcv.has_fin) = (self.rcv.nxt, true);
            let outcome = self.check_fin(common, shared);
            debug_assert_eq!(outcome, Outcome::Keep, "CLOSE-WAIT is a state of an open flow");
        }
    }

    /// The most usual case: the acknowledgement is of all that was sent, and that was one segment, sent once. What
    /// [`Self::advance_una`] does comes down to this then, on a flow that sends in good order and probes nothing. False, and nothing
    /// is done, when it is another case.
    #[inline(always)]
    pub(super) fn settle_answer(&mut self, ack: SeqNumber, common: &mut Common, shared: &mut Shared) -> bool {
        if self.refused || ack != self.snd.nxt {
            return false;
        }
        let Some((sent_at, transmission)) = self.sent.take_sole(&mut shared.records) else { return false };
        let (rtt_ns, len) = (shared.now.since_ns(sent_at), self.snd.nxt - self.snd.una);
        let rtt = Span::from_ns(rtt_ns);
        self.rack.delivered_last(self.snd.nxt, transmission, rtt);
        self.rtt.sample(rtt, shared.now);
        self.backoff = Backoff::default();
        shared.gauges.send_queued -= u64::from(self.queue.len());
        self.queue.clear(&mut shared.chunks);
        self.snd.una = ack;
        self.stalled_since = Stamp::new(shared.now);
        self.grow_window(Delivered { bytes: len, rtt_ns: Some(rtt_ns) }, len, shared);
        common.timers.loss = NEVER;
        true
    }
}
