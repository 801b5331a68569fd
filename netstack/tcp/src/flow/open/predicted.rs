//! Header prediction (Van Jacobson, 1990): the segment that everybody expects, on a flow in good order.
//!
//! [`Open::predicts`] is the whole precondition. [`Open::handle_predicted`] is what the steps of RFC 9293, 3.10.7.4 and the
//! sections that hang on them come down to then: the peer is alive, its timestamp and window are noted, its acknowledgement
//! settles what it is of, its text is the application's. That both ways leave a flow in the same state is what the simulator
//! tells: a world runs with and without this file, and not a byte on its wire may differ.

use weir_packet::Packet;
use weir_socket::Instant;

use super::ack::Delivered;
use super::{Common, Fin, Open};
use crate::counters::FlowState;
use crate::flow::scoreboard::{Record, Transmission};
use crate::segment::Plain;
use crate::seq::SeqNumber;
use crate::shared::Shared;
use crate::slab::NONE;
use crate::time::{LongStamp, NEVER, Nanoseconds, Span, Stamp};

impl Open {
    /// Whether a plain segment is the one that is expected: in ESTABLISHED, the next bytes in order or an acknowledgement of
    /// what is on its way, nothing out of order on either side, and a timestamp that goes forward.
    #[inline(always)]
    pub fn predicts(&self, plain: &Plain) -> bool {
        let timestamp_fits = match plain.timestamp {
            Some(timestamp) => self.negotiated.timestamps && timestamp.value.wrapping_sub(self.rcv.ts_recent) < 1 << 31,
            None => !self.negotiated.timestamps,
        };
        self.state == FlowState::Established
            && plain.seq == self.rcv.nxt
            && plain.len <= self.rcv.edge - self.rcv.nxt
            && plain.ack - self.snd.una <= self.snd.nxt - self.snd.una
            && timestamp_fits
            && self.sends_in_good_order()
            && self.reassembly.is_empty()
            && self.rcv.fin.is_none()
            // Without progress, a segment without payload may be a duplicate acknowledgement or a window update, and any may begin
            // a recovery of what a smaller path has lost.
            && (plain.ack != self.snd.una || (plain.len > 0 && self.sent.lost_bytes() == 0))
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
    }

    /// The most usual case: the acknowledgement is of all that was sent, and that was one segment, sent once. What
    /// [`Self::advance_una`] does comes down to this then. False, and nothing is done, when it is another case.
    #[inline(always)]
    pub(super) fn settle_answer(&mut self, ack: SeqNumber, common: &mut Common, shared: &mut Shared) -> bool {
        let has_duties = self.refused | (self.fin != Fin::None) | self.tail_probe.is_some() | (self.snd.search != NONE);
        if has_duties || ack != self.snd.nxt {
            return false;
        }
        if let Some((sent_at, transmission)) = self.sent.take_sole(&mut shared.records) {
            self.queue.clear_sole(&mut shared.chunks);
            self.settle_last(sent_at, transmission, common, shared);
            return true;
        }
        self.settle_listed(common, shared)
    }

    /// As [`Self::settle_answer`], for a segment that has a record.
    #[inline(never)]
    fn settle_listed(&mut self, common: &mut Common, shared: &mut Shared) -> bool {
        let Some(index) = self.sent.only() else { return false };
        let Record { len, sent_at, transmission, retransmitted, .. } = shared.records[index];
        if retransmitted || !self.queue.is_sent_whole(len) {
            return false;
        }
        self.sent.take_only(&mut shared.records, index);
        self.queue.clear(&mut shared.chunks);
        self.settle_last(sent_at, transmission, common, shared);
        true
    }

    /// What follows from the acknowledgement of the only segment.
    #[inline(always)]
    fn settle_last(&mut self, sent_at: Instant, transmission: Transmission, common: &mut Common, shared: &mut Shared) {
        let (rtt_ns, len) = (shared.now.since_ns(sent_at), self.snd.nxt - self.snd.una);
        let rtt = Span::from_ns(rtt_ns);
        self.rack.delivered_last(self.snd.nxt, transmission, rtt);
        self.rtt.sample(rtt, shared.now);
        shared.gauges.send_queued -= u64::from(len);
        self.snd.una = self.snd.nxt;
        self.stalled_since = Stamp::new(shared.now);
        self.grow_window(Delivered { bytes: len, rtt_ns: Some(rtt_ns) }, len, shared);
        common.timers.loss = NEVER;
    }
}
