//! What arrives: RFC 9293, 3.10.7, by the kind of entry that a segment belongs to.

use weir_packet::Packet;
use weir_packet::frame::ChecksumStatus;
use weir_socket::CloseReason;

use super::Engine;
use crate::budget::Pressure;
use crate::counters::Counter;
use crate::demux::Target;
use crate::flow::handshake::Handshake;
use crate::flow::open::{Open, Opened};
use crate::flow::opening::Arrival;
use crate::flow::{NotOpen, Outcome, State};
use crate::link::{Ecn, IcmpError, IcmpErrorKind, Inbound};
use crate::options::Timestamp;
use crate::reply::Reply;
use crate::segment::{Flags, Origin, Segment, SegmentError, is_intact};
use crate::seq::SeqNumber;
use crate::shared::Shared;
use crate::tuple::Tuple;

/// Where the control bits stand in a header (RFC 9293, 3.1).
const FLAGS_OFFSET: usize = 13;

/// A new flow between endpoints whose last one is in TIME-WAIT begins at least so far behind its end.
pub(super) const REUSE_DISTANCE: u32 = 1 << 16;

impl Engine {
    /// Takes a received segment (RFC 9293, 3.10.7).
    #[inline(always)]
    pub fn handle_segment(&mut self, inbound: Inbound) {
        let taken = self.offer_segment(inbound, false);
        debug_assert!(taken.is_ok(), "it had to be taken");
    }

    /// Takes a received segment as [`handle_segment`](Self::handle_segment) does, unless it `may_stray`, opens no flow and
    /// belongs to none here: then its packet comes back as it was, and nothing is counted.
    ///
    /// Inlined up to what is done with the expected segment, and with any other: what the caller knows, such as the family of the
    /// addresses, is not asked again.
    #[inline(always)]
    pub fn offer_segment(&mut self, inbound: Inbound, may_stray: bool) -> Result<(), Packet> {
        let Some(fixed) = inbound.packet.first_chunk() else {
            self.count_malformed(SegmentError::Truncated);
            return Ok(());
        };
        let Some(tuple) = Tuple::of_received(&inbound, fixed) else {
            self.count_malformed(SegmentError::Martian);
            return Ok(());
        };
        let hash = self.hash(&tuple);
        let Inbound { next_hop, ecn, checksum, packet, .. } = inbound;
        let origin = |tuple| Origin { tuple, hash, next_hop, ecn, checksum };
        match self.handle_predicted(&origin(tuple), packet) {
            Ok(()) => Ok(()),
            Err(packet) => self.handle_any(&origin(tuple), packet, may_stray),
        }
    }

    /// Header prediction (Van Jacobson): the segment that everybody expects, on a flow where nothing is out of the ordinary,
    /// takes a short cut. Any other comes back.
    #[inline(always)]
    fn handle_predicted(&mut self, origin: &Origin, mut packet: Packet) -> Result<(), Packet> {
        let Some(Target::Flow(index)) = self.demux.first(origin.hash) else { return Err(packet) };
        let slot = &mut self.flows[index];
        let State::Open(open) = &mut slot.state else { return Err(packet) };
        let Some(plain) = open.predicts(&packet) else { return Err(packet) };
        if slot.common.tuple != origin.tuple || origin.ecn == Ecn::CongestionExperienced {
            return Err(packet);
        }
        if self.shared.pressure >= Pressure::Critical {
            return Err(packet);
        }
        self.shared.count(Counter::SegmentsIn);
        if origin.checksum == ChecksumStatus::Unverified && !is_intact(slot.common.address_sum, &mut packet) {
            self.count_dropped(SegmentError::Checksum);
            return Ok(());
        }
        if packet.trim_front(usize::from(plain.header_len)).is_ok() {
            slot.common.next_hop = origin.next_hop;
            open.handle_predicted(&plain, packet, &mut slot.common, &mut self.shared);
            self.agenda.enter(index, slot);
        }
        Ok(())
    }

    /// Any segment, step by step.
    #[inline(never)]
    fn handle_any(&mut self, origin: &Origin, mut packet: Packet, may_stray: bool) -> Result<(), Packet> {
        let target = self.find(&origin.tuple, origin.hash);
        if may_stray && target.is_none() && !opens_flow(&packet) {
            return Err(packet);
        }
        self.shared.count(Counter::SegmentsIn);
        let is_taken = match target {
            Some(Target::Flow(index)) => self.ends(index, origin, &mut packet),
            Some(Target::HalfOpen(index)) => self.completes(index, origin, &mut packet),
            _ => false,
        };
        if is_taken {
            return Ok(());
        }
        let mut segment = Segment::new(origin);
        if let Err(error) = segment.parse(origin, packet) {
            self.count_dropped(error);
            return Ok(());
        }
        if segment.options.user_timeout {
            self.shared.count(Counter::UserTimeoutOptions);
        }
        match target {
            Some(Target::Flow(index)) => self.segment_for_flow(index, &mut segment),
            Some(Target::HalfOpen(index)) => self.segment_for_half_open(index, origin, &mut segment),
            Some(Target::TimeWait(index)) => self.segment_for_time_wait(index, origin, &mut segment),
            None => self.segment_for_nobody(origin, &mut segment, None),
        }
        Ok(())
    }

    /// Whether a segment was the usual one that ends a flow (see [`Open::is_ended_by`]), and has been taken.
    #[inline(always)]
    fn ends(&mut self, index: u32, origin: &Origin, packet: &mut Packet) -> bool {
        let is_last = matches!(&self.flows[index].state, State::Open(open) if open.is_ended_by(packet, &self.shared));
        let is_taken = is_last && origin.is_verified(packet);
        if is_taken {
            self.end(index, CloseReason::Finished);
        }
        is_taken
    }

    #[cold]
    fn count_malformed(&mut self, error: SegmentError) {
        self.shared.count(Counter::SegmentsIn);
        self.count_dropped(error);
    }

    #[cold]
    fn count_dropped(&mut self, error: SegmentError) {
        self.shared.count(match error {
            SegmentError::Truncated => Counter::DropTruncated,
            SegmentError::Checksum => Counter::DropChecksum,
            SegmentError::Option => Counter::DropOption,
            SegmentError::Martian => Counter::DropMartian,
        });
    }

    pub(super) fn segment_for_flow(&mut self, index: u32, segment: &mut Segment) {
        let slot = &mut self.flows[index];
        slot.common.next_hop = segment.next_hop;
        match &mut slot.state {
            State::Open(open) => match open.handle_segment(segment, &mut slot.common, &mut self.shared) {
                Outcome::Keep => {
                    if open.holds_reordered() && !slot.is_reordered {
                        slot.is_reordered = true;
                        self.agenda.reordered.push_back(index);
                    }
                    self.agenda.enter(index, slot);
                }
                outcome => self.finish(index, outcome),
            },
            State::NotOpen(NotOpen::Opening(_)) => self.segment_for_opening(index, segment),
            State::NotOpen(NotOpen::Vacant | NotOpen::Ended(_)) => {
                debug_assert!(false, "the table names a flow that is gone")
            }
        }
    }

    fn segment_for_opening(&mut self, index: u32, segment: &mut Segment) {
        let slot = &mut self.flows[index];
        let State::NotOpen(NotOpen::Opening(opening)) = &mut slot.state else { return };
        match opening.handle_segment(segment, &mut slot.common, &mut self.shared) {
            Arrival::Outcome(outcome) => self.conclude(index, outcome),
            Arrival::Reset(seq) => {
                let reply = Reply::new(slot.common.tuple, slot.common.next_hop, Flags::RST, seq, SeqNumber(0));
                self.reset_stray(reply);
                self.settle(index);
            }
            Arrival::Established(handshake) => self.establish_active(index, &handshake, segment),
        }
    }

    /// Our open succeeded.
    fn establish_active(&mut self, index: u32, handshake: &Handshake, segment: &mut Segment) {
        let slot = &mut self.flows[index];
        let State::NotOpen(NotOpen::Opening(opening)) = &mut slot.state else { return };
        let round_trip_ns = opening.round_trip_ns(self.shared.now);
        let opened = Opened {
            round_trip_ns,
            retransmitted: round_trip_ns.is_none(),
            queue: core::mem::take(&mut opening.queue),
            refused: opening.refused,
        };
        let fin_queued = opening.fin_queued;
        self.shared.transition(Some(opening.state()), None);
        slot.state = State::Open(Open::new(handshake, opened, &mut self.shared));
        let State::Open(open) = &mut slot.state else { return };
        if fin_queued {
            open.shutdown(&mut self.shared);
        }
        slot.common.timers.loss = crate::time::NEVER;
        slot.common.pending |= weir_socket::Readiness::WRITABLE;
        open.acknowledge_handshake(&mut slot.common, &self.shared);
        open.review(&self.shared);
        let more = segment.len > 0 || segment.flags.has(Flags::FIN);
        let outcome = match more {
            true => open.handle_segment(segment, &mut slot.common, &mut self.shared),
            false => Outcome::Keep,
        };
        self.conclude(index, outcome);
    }

    /// TIME-WAIT (3.10.7.4, and RFC 1337: a RST ends nothing here).
    fn segment_for_time_wait(&mut self, index: u32, origin: &Origin, segment: &mut Segment) {
        let (tuple, hash) = (origin.tuple, origin.hash);
        let record = *self.time_waits.get(index);
        if segment.flags.has(Flags::RST) {
            return self.shared.count(Counter::TimeWaitIgnored);
        }
        let newer_timestamp = match (record.ts_recent(), segment.options.timestamp) {
            (Some(recent), Some(timestamp)) if timestamp.value == recent => None,
            (Some(recent), Some(timestamp)) => Some(SeqNumber(timestamp.value) > SeqNumber(recent)),
            _ => None,
        };
        let is_syn = segment.flags.has(Flags::SYN) && !segment.flags.has(Flags::ACK);
        // RFC 6191, 2, and RFC 9293, 3.6.1.
        if is_syn && newer_timestamp.unwrap_or(segment.seq > record.rcv_nxt) && self.listeners.find(&tuple).is_some() {
            self.shared.count(Counter::TimeWaitReused);
            self.time_waits.remove(index);
            self.forget(index, hash, &record);
            return self.segment_for_nobody(origin, segment, Some(record));
        }
        let is_fin = segment.flags.has(Flags::FIN) && segment.seq + segment.sequence_len() == record.rcv_nxt;
        if !is_fin {
            self.shared.count(Counter::TimeWaitIgnored);
        }
        let is_unacceptable = segment.sequence_len() > 0 || segment.seq != record.rcv_nxt;
        if is_unacceptable && self.shared.may_challenge() {
            let mut reply = Reply::new(tuple, segment.next_hop, Flags::ACK, record.snd_nxt, record.rcv_nxt);
            reply.header.options.timestamp = record.ts_recent().map(|echo| {
                let offset = self.shared.secrets.derive(&tuple, self.shared.now).timestamp_offset;
                Timestamp { value: Shared::timestamp_clock(self.shared.now, offset), echo }
            });
            self.reply(reply);
        }
        if is_fin {
            self.restart_time_wait(index, hash);
        }
    }

    /// A FIN that came again restarts the time (3.10.7.4, eighth step).
    fn restart_time_wait(&mut self, index: u32, hash: u32) {
        if self.time_waits.is_full() {
            return;
        }
        let record = self.time_waits.remove(index);
        match self.time_waits.push(record, self.shared.now) {
            Some(at) => self.demux.replace(hash, Target::TimeWait(index), Target::TimeWait(at)),
            None => self.forget(index, hash, &record),
        }
    }

    /// A RST that no flow sends, so many per second.
    pub(super) fn reset_stray(&mut self, reply: Reply) {
        if self.shared.resets.allow(self.shared.now) {
            self.reply(reply);
        } else {
            self.shared.count(Counter::DropResetLimit);
        }
    }

    /// Takes an ICMP error about a segment that we sent. Only what is on its way can be quoted (RFC 5927, 4.1).
    pub fn handle_icmp_error(&mut self, error: IcmpError) {
        let tuple = Tuple::new(error.local, error.remote);
        let Some(Target::Flow(index)) = self.find(&tuple, self.hash(&tuple)) else {
            return self.shared.count(Counter::IcmpIgnored);
        };
        let sequence = SeqNumber(error.sequence);
        let slot = &mut self.flows[index];
        let outcome = match (&mut slot.state, error.kind) {
            (State::Open(open), IcmpErrorKind::PacketTooBig(mtu)) if open.is_in_flight(sequence) => {
                if !open.path_carries(mtu, &mut slot.common, &mut self.shared) {
                    self.shared.count(Counter::IcmpIgnored);
                }
                Outcome::Keep
            }
            (State::NotOpen(NotOpen::Opening(opening)), IcmpErrorKind::Unreachable(_)) if sequence == opening.iss() => {
                Outcome::Gone(CloseReason::Unreachable)
            }
            // A synchronised flow survives: the error may be a forgery or pass (RFC 9293, 3.9.2.2; RFC 5927, 5.2).
            _ => {
                self.shared.count(Counter::IcmpIgnored);
                Outcome::Keep
            }
        };
        self.conclude(index, outcome);
    }
}

/// Whether a segment asks for a new flow.
fn opens_flow(packet: &Packet) -> bool {
    packet.get(FLAGS_OFFSET).is_some_and(|&flags| Flags(flags).has(Flags::SYN))
}
