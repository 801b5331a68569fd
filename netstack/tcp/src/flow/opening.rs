//! SYN-SENT, and SYN-RECEIVED after a simultaneous open (RFC 9293, 3.10.7.3 and 3.5).

use weir_packet::Chunk;
use weir_socket::{CloseReason, Instant, SendError};

use super::handshake::{Handshake, syn_window};
use super::send_queue::SendQueue;
use super::{Common, Outcome};
use crate::counters::{Counter, FlowState};
use crate::link::{Ecn, Link};
use crate::options::{OutOptions, SynOptions, Timestamp};
use crate::output::{Blocked, Header, count, emit_bare};
use crate::secrets::Derived;
use crate::segment::{Flags, Segment};
use crate::seq::SeqNumber;
use crate::shared::Shared;
use crate::time::{NEVER, Nanoseconds, SECOND_NS};

/// A flow that we open.
#[derive(Debug)]
pub(crate) struct Opening {
    derived: Derived,
    /// The peer's SYN, when it came without an ACK of ours.
    crossed: Option<Handshake>,
    /// What the application queued meanwhile.
    pub queue: SendQueue,
    /// The application ended its direction meanwhile.
    pub fin_queued: bool,
    /// A send was refused: report when room has come.
    pub refused: bool,
    retries: u8,
    /// When the SYN was sent first: a measurement of the round trip, if it was sent once.
    sent_at: Instant,
    /// A SYN or SYN-ACK is to be sent.
    due: bool,
    /// An acceptable answer in SYN-RECEIVED asks for an ACK.
    challenge: bool,
}

/// What a segment does to an opening flow.
pub(crate) enum Arrival {
    /// Nothing that the engine has to act on.
    Outcome(Outcome),
    /// The segment belongs to nothing: answer with a RST at this sequence number.
    Reset(SeqNumber),
    /// Established; what is left of the segment is to be processed further as one of the open flow.
    Established(Handshake),
}

impl Opening {
    pub fn new(derived: Derived) -> Self {
        Self {
            derived,
            crossed: None,
            queue: SendQueue::default(),
            fin_queued: false,
            refused: false,
            retries: 0,
            sent_at: NEVER,
            due: true,
            challenge: false,
        }
    }

    pub fn state(&self) -> FlowState {
        if self.crossed.is_some() { FlowState::SynReceived } else { FlowState::SynSent }
    }

    /// The round trip of a handshake that was not retransmitted.
    pub fn round_trip_ns(&self, now: Instant) -> Option<u64> {
        (self.retries == 0 && self.sent_at != NEVER).then(|| now.since_ns(self.sent_at))
    }

    /// Our SYN's sequence number, for the validation of ICMP errors.
    pub fn iss(&self) -> SeqNumber {
        self.derived.iss
    }

    /// SEND before the flow is established (RFC 9293, 3.10.2): queued until it is.
    pub fn send(&mut self, chunk: Chunk, shared: &mut Shared) -> Result<(), SendError> {
        if self.fin_queued {
            return Err(SendError::Closed(CloseReason::Shutdown));
        }
        let len = chunk.len() as u64;
        if len == 0 {
            return Ok(());
        }
        if self.send_room(shared) == 0 {
            self.refused = true;
            return Err(SendError::Full(chunk));
        }
        if let Err(chunk) = self.queue.push(&mut shared.chunks, chunk) {
            self.refused = true;
            return Err(SendError::Full(chunk));
        }
        shared.gauges.send_queued += len;
        Ok(())
    }

    /// Whether [`Self::send`] would take a chunk; a refusal is remembered as there.
    pub fn admits(&mut self, shared: &mut Shared) -> Result<bool, CloseReason> {
        if self.fin_queued {
            return Err(CloseReason::Shutdown);
        }
        let admits = self.send_room(shared) > 0 && self.queue.takes_chunk(&mut shared.chunks);
        self.refused |= !admits;
        Ok(admits)
    }

    pub fn send_room(&self, shared: &Shared) -> usize {
        if self.fin_queued {
            return 0;
        }
        shared.limits.send_queue_max.saturating_sub(self.queue.len()) as usize
    }

    pub fn handle_segment(&mut self, segment: &mut Segment, common: &mut Common, shared: &mut Shared) -> Arrival {
        match self.crossed {
            None => self.in_syn_sent(segment, common, shared),
            Some(handshake) => self.in_syn_received(handshake, segment, common, shared),
        }
    }

    /// 3.10.7.3.
    fn in_syn_sent(&mut self, segment: &mut Segment, common: &mut Common, shared: &mut Shared) -> Arrival {
        let has_ack = segment.flags.has(Flags::ACK);
        if has_ack && segment.ack != self.derived.iss + 1 {
            shared.count(Counter::UnacceptableAck);
            return if segment.flags.has(Flags::RST) { KEEP } else { Arrival::Reset(segment.ack) };
        }
        if segment.flags.has(Flags::RST) {
            if has_ack {
                return Arrival::Outcome(Outcome::Gone(CloseReason::Refused));
            }
            shared.count(Counter::NoAck);
            return KEEP;
        }
        if !segment.flags.has(Flags::SYN) {
            shared.count(Counter::NoSyn);
            return KEEP;
        }
        let handshake = Handshake::new(segment, self.derived, common.tuple.local.is_v4(), shared.config.ecn);
        if has_ack {
            take_syn(segment, &handshake);
            return Arrival::Established(handshake);
        }
        shared.transition(Some(FlowState::SynSent), Some(FlowState::SynReceived));
        self.crossed = Some(handshake);
        (self.due, self.retries) = (true, 0);
        common.output = true;
        KEEP
    }

    /// 3.10.7.4 for SYN-RECEIVED.
    fn in_syn_received(
        &mut self,
        mut handshake: Handshake,
        segment: &mut Segment,
        common: &mut Common,
        shared: &mut Shared,
    ) -> Arrival {
        if segment.flags.has(Flags::SYN) && segment.seq == handshake.irs {
            if segment.flags.has(Flags::ACK) && segment.ack == self.derived.iss + 1 {
                // The peer's SYN-ACK of the same crossing: it acknowledges ours.
                take_syn(segment, &handshake);
                return Arrival::Established(handshake);
            }
            self.due = true;
            common.output = true;
            return KEEP;
        }
        if segment.seq != handshake.irs + 1 || segment.flags.has(Flags::SYN) {
            let is_elsewhere = segment.seq != handshake.irs + 1;
            shared.count(if is_elsewhere { Counter::OutOfWindow } else { Counter::SynOnFlow });
            self.challenge = true;
            common.output = true;
            return KEEP;
        }
        if segment.flags.has(Flags::RST) {
            return Arrival::Outcome(Outcome::Gone(CloseReason::Refused));
        }
        if !segment.flags.has(Flags::ACK) {
            shared.count(Counter::NoAck);
            return KEEP;
        }
        if segment.ack != self.derived.iss + 1 {
            shared.count(Counter::UnacceptableAck);
            return Arrival::Reset(segment.ack);
        }
        handshake.complete(segment.window);
        Arrival::Established(handshake)
    }

    /// The SYN was not answered in time (RFC 6298, 5; RFC 9293, 3.8.3).
    pub fn handle_timer(&mut self, common: &mut Common, shared: &mut Shared) -> Outcome {
        if common.timers.loss > shared.now {
            return Outcome::Keep;
        }
        if self.retries >= shared.config.syn_retries {
            return Outcome::Gone(CloseReason::TimedOut);
        }
        self.retries += 1;
        shared.advice.consider(common.tuple.remote, self.retries);
        self.due = true;
        common.timers.loss = NEVER;
        common.output = true;
        Outcome::Keep
    }

    /// Sends the SYN, the SYN-ACK or a challenge ACK.
    pub fn transmit<L: Link>(&mut self, common: &mut Common, shared: &mut Shared, link: &mut L) -> Result<(), Blocked> {
        common.output = false;
        if !self.due && !self.challenge {
            return Ok(());
        }
        let header = self.header(shared);
        let sent = emit_bare(link, shared, common.route(), &header);
        if sent == Err(Blocked::Room) {
            common.output = true;
            return sent;
        }
        // Without a neighbour the segment counts as lost on its way: the timer sends it again, or gives up.
        count(shared, header.flags);
        self.challenge = false;
        if core::mem::take(&mut self.due) {
            if self.retries > 0 {
                shared.count(Counter::SegmentsRetransmitted);
            } else {
                self.sent_at = shared.now;
            }
            common.timers.loss = shared.now.plus_ns(SECOND_NS << self.retries.min(6));
        }
        Ok(())
    }

    fn header(&self, shared: &Shared) -> Header {
        let window = syn_window(&shared.limits);
        let Derived { iss, timestamp_offset } = self.derived;
        if let Some(handshake) = &self.crossed {
            let (seq, flags, options) = if self.due {
                (iss, handshake.syn_ack_flags(), handshake.syn_ack_options(shared))
            } else {
                (iss + 1, Flags::ACK, OutOptions::default())
            };
            return Header { seq, ack: handshake.irs + 1, flags, window, ecn: Ecn::NotCapable, options };
        }
        let value = Shared::timestamp_clock(shared.now, timestamp_offset);
        // A SYN that got no answer may have met somebody who drops it for its ECN bits (RFC 3168, 6.1.1.1).
        let with_ecn = shared.config.ecn && self.retries < 2;
        let flags = if with_ecn { Flags::SYN.with(Flags::ECE).with(Flags::CWR) } else { Flags::SYN };
        let options = OutOptions {
            timestamp: Some(Timestamp { value, echo: 0 }),
            syn: Some(SynOptions { window_scale: Some(shared.limits.window_scale), sack_permitted: true }),
            ..OutOptions::default()
        };
        Header { seq: iss, ack: SeqNumber(0), flags, window, ecn: Ecn::NotCapable, options }
    }
}

/// Leaves what comes after the SYN of a segment, with the window in the units of all later segments.
fn take_syn(segment: &mut Segment, handshake: &Handshake) {
    segment.seq += 1;
    segment.flags = segment.flags.without(Flags(Flags::SYN.0 | Flags::ECE.0 | Flags::CWR.0));
    segment.window >>= handshake.peer_scale.unwrap_or(0);
}

const KEEP: Arrival = Arrival::Outcome(Outcome::Keep);
