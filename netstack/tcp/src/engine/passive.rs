//! The passive open: what arrives in LISTEN and SYN-RECEIVED (RFC 9293, 3.10.7.2 and 3.10.7.4), and for nobody (3.10.7.1).

use weir_packet::Packet;
use weir_socket::ListenerId;

use super::Engine;
use super::agenda::LISTENER_EVENT;
use super::input::REUSE_DISTANCE;
use crate::budget::Pressure;
use crate::counters::Counter;
use crate::demux::Target;
use crate::flow::handshake::{Handshake, syn_window};
use crate::flow::open::{Open, Opened};
use crate::flow::send_queue::SendQueue;
use crate::flow::{Common, State};
use crate::half_open::HalfOpen;
use crate::reply::Reply;
use crate::segment::{Flags, Origin, Segment};
use crate::seq::SeqNumber;
use crate::shared::Shared;
use crate::time::Nanoseconds;
use crate::time_wait;

impl Engine {
    /// SYN-RECEIVED of a passive open.
    pub(super) fn segment_for_half_open(&mut self, index: u32, origin: &Origin, segment: &mut Segment) {
        let half_open = self.half_open.get_mut(index);
        half_open.next_hop = segment.next_hop;
        let mut half_open = *half_open;
        let HalfOpen { handshake, tuple, .. } = half_open;
        let (nxt, window) = (handshake.irs + 1, u32::from(syn_window(&self.shared.limits)));
        if segment.flags.has(Flags::SYN) && segment.seq == handshake.irs && !segment.flags.has(Flags::RST) {
            self.shared.count(Counter::SynAckRetransmitted);
            return self.send_syn_ack(&half_open);
        }
        if segment.flags.is_only(Flags::SYN) {
            self.shared.count(Counter::SynOnFlow);
            if !self.may_answer(origin, segment) {
                return;
            }
            return self.send_cookie(self.half_open_of(origin, segment, half_open.listener, None));
        }
        let in_window = segment.seq >= nxt && segment.seq < nxt + window;
        let is_old = handshake.negotiated.timestamps
            && segment
                .options
                .timestamp
                .is_some_and(|timestamp| SeqNumber(timestamp.value) < SeqNumber(handshake.ts_recent));
        if !in_window || is_old || segment.flags.has(Flags::SYN) {
            if self.completes_by_cookie(index, origin, segment) {
                return;
            }
            self.shared.count(match (in_window, is_old) {
                (false, _) if segment.seq < nxt => Counter::OldData,
                (false, _) => Counter::OutOfWindow,
                (true, true) => Counter::PawsRejected,
                (true, false) => Counter::SynOnFlow,
            });
            if !segment.flags.has(Flags::RST) {
                self.challenge_half_open(&half_open);
            }
            return;
        }
        if segment.flags.has(Flags::RST) {
            if segment.seq != nxt {
                self.shared.count(Counter::ResetInexact);
                return self.challenge_half_open(&half_open);
            }
            self.shared.count(Counter::AttemptFails);
            return self.forget_half_open(index);
        }
        if !segment.flags.has(Flags::ACK) {
            return self.shared.count(Counter::NoAck);
        }
        if segment.ack == handshake.iss + 1 {
            return self.establish_with(Some(index), &mut half_open, segment);
        }
        if self.completes_by_cookie(index, origin, segment) {
            return;
        }
        if self.cookies.are_in_use(self.shared.now) {
            return self.shared.count(Counter::SynCookiesFailed);
        }
        self.shared.count(Counter::UnacceptableAck);
        self.reset_stray(Reply::reset(tuple, segment));
    }

    /// Whether a segment was the usual one that completes a handshake (see [`HalfOpen::completed_by`]), and has been taken.
    #[inline(always)]
    pub(super) fn completes(&mut self, index: u32, origin: &Origin, packet: &mut Packet) -> bool {
        let half_open = self.half_open.get_mut(index);
        let Some(window) = half_open.completed_by(packet).filter(|_| self.shared.config.short_cuts) else {
            return false;
        };
        if !origin.is_verified(packet) {
            return false;
        }
        half_open.next_hop = origin.next_hop;
        let mut half_open = *half_open;
        self.establish_passive(Some(index), &mut half_open, window);
        true
    }

    /// A segment completes a handshake, and may say more.
    pub(super) fn establish_with(&mut self, index: Option<u32>, half_open: &mut HalfOpen, segment: &mut Segment) {
        let slot = self.establish_passive(index, half_open, segment.window);
        if let Some(slot) = slot.filter(|_| segment.len > 0 || segment.flags.has(Flags::FIN)) {
            self.segment_for_flow(slot, segment);
        }
    }

    /// A peer's open succeeded, if there is room for the flow; if not, the ACK is dropped, and the handshake goes on. `window` is
    /// that of the ACK. Answers the flow's slot.
    fn establish_passive(&mut self, index: Option<u32>, half_open: &mut HalfOpen, window: u16) -> Option<u32> {
        let accept_queue_max = self.shared.config.accept_queue_max;
        let Some(listener) = self.listeners.get_mut(half_open.listener) else {
            if let Some(index) = index {
                self.forget_half_open(index);
            }
            let seq = half_open.handshake.iss + 1;
            self.reset_stray(Reply::new(half_open.tuple, half_open.next_hop, Flags::RST, seq, SeqNumber(0)));
            return None;
        };
        if self.shared.pressure >= Pressure::Exhausted {
            return self.refuse_open(Counter::FlowsRefused);
        }
        if listener.queue.len() >= accept_queue_max {
            return self.refuse_open(Counter::ListenOverflows);
        }
        let Some(slot) = self.allocate_slot() else { return self.refuse_open(Counter::FlowTableFull) };
        match index {
            Some(index) => {
                self.half_open.remove(index);
                self.demux.replace(half_open.hash, Target::HalfOpen(index), Target::Flow(slot));
            }
            None => {
                if !self.demux.insert(half_open.hash, Target::Flow(slot)) {
                    self.flows.release(slot);
                    return self.refuse_open(Counter::FlowTableFull);
                }
            }
        }
        half_open.handshake.complete(window);
        let is_measured = index.is_some() && half_open.retries == 0;
        let opened = Opened {
            round_trip_ns: is_measured.then(|| self.shared.now.since_ns(half_open.sent_at)),
            retransmitted: half_open.retries > 0,
            queue: SendQueue::default(),
            refused: false,
        };
        let flow = &mut self.flows[slot];
        flow.common = Common::new(half_open.tuple, half_open.hash, half_open.next_hop);
        let open = State::Open(Open::new(&half_open.handshake, opened, &mut self.shared));
        // What was there is vacant, of which nothing is to be dropped.
        core::mem::forget(core::mem::replace(&mut flow.state, open));
        if let State::Open(open) = &mut flow.state {
            open.arm_idle(&mut flow.common, &self.shared);
            open.review(&self.shared);
        }
        self.second_coming.earn();
        self.shared.count(Counter::PassiveOpens);
        self.queue_for_accept(half_open.listener, slot);
        self.settle(slot);
        Some(slot)
    }

    #[cold]
    fn refuse_open(&mut self, reason: Counter) -> Option<u32> {
        self.shared.count(reason);
        None
    }

    fn queue_for_accept(&mut self, id: ListenerId, slot: u32) {
        let flow = self.id(slot);
        let Some(listener) = self.listeners.get_mut(id) else { return };
        listener.queue.push_back(flow);
        if !listener.is_event_queued {
            listener.is_event_queued = true;
            self.agenda.events.push_back(LISTENER_EVENT | id.0 & 0xffff);
        }
    }

    pub(super) fn forget_half_open(&mut self, index: u32) {
        let hash = self.half_open.get(index).hash;
        self.half_open.remove(index);
        self.demux.remove(hash, Target::HalfOpen(index));
    }

    /// LISTEN and CLOSED (3.10.7.2 and 3.10.7.1). `after` is the TIME-WAIT record that a SYN replaces.
    pub(super) fn segment_for_nobody(
        &mut self,
        origin: &Origin,
        segment: &mut Segment,
        after: Option<time_wait::Record>,
    ) {
        let tuple = &origin.tuple;
        if segment.flags.has(Flags::RST) {
            let is_syn = segment.flags.has(Flags::SYN) && self.listeners.find(tuple).is_some();
            return self.shared.count(if is_syn { Counter::DropSynFlags } else { Counter::DropNoFlow });
        }
        let Some(listener) = self.listeners.find(tuple) else {
            self.shared.count(Counter::DropNoFlow);
            return self.reset_stray(Reply::reset(*tuple, segment));
        };
        if segment.flags.has(Flags::ACK) {
            return self.ack_for_listener(origin, segment, listener);
        }
        if !segment.flags.has(Flags::SYN) {
            return self.shared.count(Counter::DropNoFlow);
        }
        if segment.flags.has(Flags::FIN) {
            return self.shared.count(Counter::DropSynFlags);
        }
        self.syn_for_listener(origin, segment, listener, after);
    }

    /// The handshake that a SYN begins.
    pub(super) fn half_open_of(
        &self,
        origin: &Origin,
        segment: &Segment,
        listener: ListenerId,
        after: Option<time_wait::Record>,
    ) -> HalfOpen {
        let (now, is_v4) = (self.shared.now, origin.tuple.local.is_v4());
        let mut derived = self.shared.secrets.derive(&origin.tuple, now);
        if let Some(record) = after
            && derived.iss <= record.snd_nxt
        {
            derived.iss = record.snd_nxt + REUSE_DISTANCE;
        }
        let handshake = Handshake::new(segment, derived, is_v4, self.shared.config.ecn);
        HalfOpen::new(origin, listener, handshake, now)
    }

    /// Whether a SYN is answered now; if not, it is when it comes again.
    #[inline(always)]
    fn may_answer(&mut self, origin: &Origin, segment: &Segment) -> bool {
        let Shared { secrets, now, .. } = &self.shared;
        let may = self.second_coming.may_answer(&origin.tuple, segment.seq, secrets, *now);
        if !may {
            self.shared.count(Counter::SynsDeferred);
        }
        may
    }

    /// Third step of LISTEN.
    fn syn_for_listener(
        &mut self,
        origin: &Origin,
        segment: &Segment,
        listener: ListenerId,
        after: Option<time_wait::Record>,
    ) {
        // Who comes back after TIME-WAIT was there before.
        if after.is_none() && !self.may_answer(origin, segment) {
            return;
        }
        let half_open = self.half_open_of(origin, segment, listener, after);
        let Some(index) = self.half_open.insert(half_open, self.shared.now) else { return self.send_cookie(half_open) };
        if !self.demux.insert(origin.hash, Target::HalfOpen(index)) {
            self.half_open.remove(index);
            return self.send_cookie(half_open);
        }
        self.send_syn_ack(&half_open);
    }

    pub(super) fn send_syn_ack(&mut self, half_open: &HalfOpen) {
        let HalfOpen { tuple, next_hop, handshake, .. } = half_open;
        let flags = handshake.syn_ack_flags();
        let mut reply = Reply::new(*tuple, *next_hop, flags, handshake.iss, handshake.irs + 1);
        reply.header.options = handshake.syn_ack_options(&self.shared);
        reply.header.window = syn_window(&self.shared.limits);
        self.reply(reply);
    }

    fn challenge_half_open(&mut self, half_open: &HalfOpen) {
        if self.shared.may_challenge() {
            let HalfOpen { tuple, next_hop, handshake, .. } = half_open;
            let mut reply = Reply::new(*tuple, *next_hop, Flags::ACK, handshake.iss + 1, handshake.irs + 1);
            let options = handshake.syn_ack_options(&self.shared);
            reply.header.options.timestamp = options.timestamp;
            self.reply(reply);
        }
    }
}
