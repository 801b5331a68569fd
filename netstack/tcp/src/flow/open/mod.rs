//! A synchronised flow: ESTABLISHED and all states of closing but TIME-WAIT.
//!
//! ```text
//!                        ESTABLISHED
//!            shutdown  ╱             ╲  FIN
//!          FIN-WAIT-1                 CLOSE-WAIT
//!   ACK of FIN │  ╲ FIN                   │ shutdown
//!          FIN-WAIT-2  CLOSING          LAST-ACK
//!          FIN │      ╱ ACK of FIN        │ ACK of FIN
//!           TIME-WAIT                   (gone)
//! ```
//!
//! [`Open`] holds the variables of RFC 9293, 3.3.1, in two structs so that they read as there: `snd.una`, `rcv.nxt`. What
//! happens to them is in `input` (a segment arrives, 3.10.7.4; `predicted`, when it is the expected one), `ack` (its acknowledgement), `text` (its payload, and what we
//! acknowledge), `output` (what is sent; `answer`, when it is the usual answer), `timers`.

mod ack;
mod answer;
mod f_rto;
mod input;
mod output;
pub(crate) mod path;
mod predicted;
mod text;
mod timers;

use f_rto::FRto;
use weir_packet::Chunk;
use weir_socket::{CloseReason, Instant, Readiness, Received, SendError};

use super::handshake::{Handshake, Negotiated};
use super::inbox::Inbox;
use super::out_of_order::OutOfOrder;
use super::rack::Rack;
use super::recovery::Recovery;
use super::rtt::{Backoff, RttEstimator};
use super::scoreboard::{Scoreboard, Standing};
use super::send_queue::SendQueue;
use super::{Common, Outcome};
use crate::congestion::Congestion;
use crate::counters::{Counter, FlowState};
use crate::options::TIMESTAMP_BYTES;
use crate::seq::SeqNumber;
use crate::shared::Shared;
use crate::slab::NONE;
use crate::time::{AGE_MAX_NS, LongStamp, Span, Stamp};
use crate::time_wait;

/// A flow whose handshake is complete.
pub(crate) struct Open {
    state: FlowState,
    negotiated: Negotiated,
    /// The word of the next segment's header that has its length and its flags, without PSH and window; [`NOT_EXPECTED`] while
    /// something is out of order. See [`Open::review`].
    expected: u32,
    /// Bytes of an answer that is sent without looking at anything but the peer's window; 0 while something is out of order.
    answer_max: u16,
    fin: Fin,
    probe: Option<Probe>,
    loss_timer: LossTimer,
    f_rto: FRto,
    acknowledge: Acknowledge,
    /// The application gave the flow back: what arrives has no reader.
    orphaned: bool,
    /// A send was refused: report when room has come.
    refused: bool,
    /// Data wait for `cwnd`: it is what limits the flow.
    cwnd_limited: bool,
    snd: SendSpace,
    rcv: ReceiveSpace,
    timestamp_offset: u32,
    queue: SendQueue,
    sent: Scoreboard,
    inbox: Inbox,
    reassembly: OutOfOrder,
    rtt: RttEstimator,
    rack: Rack,
    recovery: Recovery,
    congestion: Congestion,
    tail_probe: TailProbe,
    /// TLP.end_seq (RFC 8985, 7.3) of a probe that is on its way.
    tail_probe_end: SeqNumber,
    backoff: Backoff,
    /// Window probes in a row: how long a peer's window stays closed says nothing about the path.
    persist_backoff: Backoff,
    ecn: EcnState,
    tuning: Tuning,
    /// Since when the peer has not acknowledged anything new.
    stalled_since: Stamp,
    heard_at: Stamp,
    /// When an unacceptable segment was answered last.
    refused_at: Stamp,
    keepalive_probes: u8,
}

/// What no header's word is without its window.
const NOT_EXPECTED: u32 = 1;

/// RFC 9293, 3.3.1: the send sequence space.
struct SendSpace {
    una: SeqNumber,
    nxt: SeqNumber,
    wnd: u32,
    wl1: SeqNumber,
    wl2: SeqNumber,
    /// The largest window that the peer ever offered.
    wnd_max: u32,
    scale: u8,
    /// The peer's MSS option.
    peer_mss: u16,
    /// IP packet bytes that the path carries; 0 until the link was asked.
    path_mtu: u16,
    /// See [`SendSpace::mss`].
    mss: u16,
    sent_at: Stamp,
    /// The search for a larger path MTU, in [`Shared::searches`]; NONE when there is none.
    search: u32,
}

impl SendSpace {
    /// Payload bytes of a full segment: Eff.snd.MSS.
    #[inline(always)]
    fn mss(&self) -> u32 {
        u32::from(self.mss)
    }
}

/// The receive sequence space.
struct ReceiveSpace {
    nxt: SeqNumber,
    /// The right edge of the window as the peer knows it: it never moves back.
    edge: SeqNumber,
    /// Bytes to be held for the application at most.
    capacity: u32,
    scale: u8,
    /// See [`ReceiveSpace::mss`].
    mss: u16,
    /// Last.ACK.sent (RFC 7323, 4.3).
    acked: SeqNumber,
    ts_recent: u32,
    ts_recent_at: LongStamp,
    /// Where the peer's FIN stands, once it came; see [`ReceiveSpace::fin`].
    fin: SeqNumber,
    has_fin: bool,
}

impl ReceiveSpace {
    /// The largest segment that came: a full one, for the delay of acknowledgements.
    #[inline(always)]
    fn mss(&self) -> u32 {
        u32::from(self.mss)
    }

    /// Where the peer's FIN stands, once it came.
    #[inline(always)]
    fn fin(&self) -> Option<SeqNumber> {
        self.has_fin.then_some(self.fin)
    }
}

/// Our FIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fin {
    None,
    /// To be sent behind what is queued.
    Queued,
    Sent,
}

/// A segment that carries nothing new and asks for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    /// The peer's window is closed (RFC 9293, 3.8.6.1), or it has been silent (3.8.4): an old sequence number, no data.
    Window,
    /// The tail may be lost (RFC 8985, 7).
    Tail,
}

/// What `timers.loss` is armed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LossTimer {
    Retransmission,
    TailProbe,
    Reordering,
    Persist,
}

/// What we owe the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Acknowledge {
    Nothing,
    Delayed,
    Now,
}

/// The tail loss probe that is on its way (RFC 8985, 7.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TailProbe {
    None,
    /// Of new data.
    New,
    /// Of data that were sent before: TLP.is_retrans.
    Retransmitted,
}

/// RFC 3168, 6.1.
#[derive(Debug, Clone, Copy, Default)]
struct EcnState {
    /// Congestion was experienced: say so until the peer has reduced.
    echo: bool,
    /// We have reduced: say so with the next new data.
    reduced: bool,
}

/// What the receive window's size is judged by.
struct Tuning {
    /// `rcv.nxt` when the current round trip began.
    from: SeqNumber,
    since: Stamp,
}

/// What [`Open::new`] needs besides the handshake.
pub(crate) struct Opened {
    /// The round trip of the handshake; none when it was retransmitted.
    pub round_trip_ns: Option<u64>,
    pub retransmitted: bool,
    pub queue: SendQueue,
    pub refused: bool,
}

impl Open {
    /// A flow that becomes ESTABLISHED now. Inlined, so that it is written to its slot and nowhere else.
    #[inline(always)]
    pub fn new(handshake: &Handshake, opened: Opened, shared: &mut Shared) -> Self {
        shared.transition(None, Some(FlowState::Established));
        let limits = &shared.limits;
        let (scale_in, scale_out) = match handshake.peer_scale {
            Some(shift) => (shift, limits.window_scale),
            None => (0, 0),
        };
        let timestamp_bytes = if handshake.negotiated.timestamps { TIMESTAMP_BYTES as u16 } else { 0 };
        let mss = handshake.peer_mss.min(1_460) - timestamp_bytes;
        let mut rtt = RttEstimator::default();
        match opened.round_trip_ns {
            Some(round_trip_ns) => rtt.sample(Span::from_ns(round_trip_ns), shared.now),
            None if opened.retransmitted => rtt.handshake_was_retransmitted(),
            None => {}
        }
        let (una, nxt, now) = (handshake.iss + 1, handshake.irs + 1, Stamp::new(shared.now));
        Self {
            state: FlowState::Established,
            negotiated: handshake.negotiated,
            expected: NOT_EXPECTED,
            answer_max: 0,
            fin: Fin::None,
            probe: None,
            loss_timer: LossTimer::Retransmission,
            f_rto: FRto::Off,
            acknowledge: Acknowledge::Nothing,
            orphaned: false,
            refused: opened.refused,
            cwnd_limited: false,
            snd: SendSpace {
                una,
                nxt: una,
                wnd: handshake.peer_window,
                wl1: handshake.irs,
                wl2: una,
                wnd_max: handshake.peer_window,
                scale: scale_in,
                peer_mss: handshake.peer_mss,
                path_mtu: 0,
                mss,
                sent_at: now,
                search: NONE,
            },
            rcv: ReceiveSpace {
                nxt,
                edge: nxt + limits.receive_window_initial.min(u32::from(u16::MAX)),
                capacity: limits.receive_window_initial,
                scale: scale_out,
                mss: 536,
                acked: nxt,
                ts_recent: handshake.ts_recent,
                ts_recent_at: LongStamp::new(shared.now),
                fin: nxt,
                has_fin: false,
            },
            timestamp_offset: handshake.timestamp_offset,
            queue: opened.queue,
            sent: Scoreboard::default(),
            inbox: Inbox::default(),
            reassembly: OutOfOrder::default(),
            rtt,
            rack: Rack::new(una),
            recovery: Recovery::default(),
            congestion: Congestion::new(shared.config.congestion, u32::from(mss)),
            tail_probe: TailProbe::None,
            tail_probe_end: una,
            backoff: Backoff::default(),
            persist_backoff: Backoff::default(),
            ecn: EcnState::default(),
            tuning: Tuning { from: nxt, since: now },
            stalled_since: now,
            heard_at: now,
            // An unacceptable segment that comes at once is answered.
            refused_at: Stamp::new(Instant::from_nanos(shared.now.as_nanos().wrapping_sub(AGE_MAX_NS))),
            keepalive_probes: 0,
        }
    }

    /// Whether `seq` belongs to something that is on its way: an ICMP error that quotes it is not made up blindly.
    pub fn is_in_flight(&self, seq: SeqNumber) -> bool {
        seq.is_within(self.snd.una, self.snd.nxt)
    }

    pub fn send_room(&self, shared: &Shared) -> usize {
        if self.fin != Fin::None {
            return 0;
        }
        shared.send_queue_limit.saturating_sub(self.queue.len()) as usize
    }

    pub fn send_queued(&self) -> usize {
        self.queue.len() as usize
    }

    /// SEND, 3.10.2.
    #[inline]
    pub fn send(&mut self, chunk: Chunk, common: &mut Common, shared: &mut Shared) -> Result<(), SendError> {
        if self.fin != Fin::None {
            return Err(SendError::Closed(CloseReason::Shutdown));
        }
        if chunk.is_empty() {
            return Ok(());
        }
        let len = chunk.len() as u64;
        if self.queue.len() >= shared.send_queue_limit {
            if self.queue.len() < shared.limits.send_queue_max {
                shared.count(Counter::SendsRefused);
            }
            self.refused = true;
            return Err(SendError::Full(chunk));
        }
        if self.queue.len() > 0 {
            self.unfold(shared);
        }
        if let Err(chunk) = self.queue.push(&mut shared.chunks, chunk) {
            self.refused = true;
            return Err(SendError::Full(chunk));
        }
        shared.gauges.send_queued += len;
        common.output = true;
        Ok(())
    }

    /// Makes what is said of a sole answer explicit: its chunk a node of the queue, its segment a record. For everything that is
    /// done to an answer but sending it and settling its acknowledgement.
    #[inline(always)]
    fn unfold(&mut self, shared: &mut Shared) {
        if self.queue.sole().is_some() || self.sent.has_sole() {
            self.unfold_sole(shared);
        }
    }

    #[inline(never)]
    fn unfold_sole(&mut self, shared: &mut Shared) {
        let at = self.queue.first(&mut shared.chunks);
        let fin = self.fin == Fin::Sent;
        let payload_len = (self.snd.nxt - self.snd.una) - u32::from(fin && self.sent.has_sole());
        self.sent.unfold(&mut shared.records, self.snd.una, (payload_len, fin), at);
    }

    /// Whether [`Self::send`] would take a chunk; a refusal is remembered as there.
    pub fn admits(&mut self, shared: &mut Shared) -> Result<bool, CloseReason> {
        if self.fin != Fin::None {
            return Err(CloseReason::Shutdown);
        }
        let admits = self.queue.len() < shared.send_queue_limit && self.queue.takes_chunk(&mut shared.chunks);
        self.refused |= !admits;
        Ok(admits)
    }

    /// Whether received bytes wait to be read.
    pub fn is_readable(&self) -> bool {
        self.inbox.len() > 0
    }

    /// RECEIVE, 3.10.3.
    #[inline]
    pub fn receive(&mut self, common: &mut Common, shared: &mut Shared) -> Received {
        let Some(chunk) = self.inbox.pop() else {
            return if self.fin_received() { Received::End } else { Received::Nothing };
        };
        shared.gauges.receive_queued -= chunk.len() as u64;
        self.window_may_open(common);
        Received::Data(chunk)
    }

    /// Whether something is there to be reported to an application that has just got the flow.
    pub fn readiness(&self) -> Readiness {
        if self.inbox.len() > 0 || self.fin_received() { Readiness::READABLE } else { Readiness::NONE }
    }

    /// Ends our direction: CLOSE, 3.10.4, as far as the peer sees it.
    pub fn shutdown(&mut self, shared: &mut Shared) {
        if self.fin != Fin::None {
            return;
        }
        self.fin = Fin::Queued;
        match self.state {
            FlowState::Established => self.transition(FlowState::FinWait1, shared),
            FlowState::CloseWait => self.transition(FlowState::LastAck, shared),
            _ => {}
        }
    }

    /// The application gives the flow back. False when received bytes would be lost: then it has to be aborted.
    pub fn orphan(&mut self, common: &mut Common, shared: &mut Shared) -> bool {
        if self.inbox.len() > 0 {
            return false;
        }
        self.orphaned = true;
        self.shutdown(shared);
        self.arm_idle(common, shared);
        common.output = true;
        true
    }

    /// Whether an abort has to be told the peer (3.10.5), and with which numbers.
    pub fn reset_numbers(&self) -> Option<(SeqNumber, SeqNumber)> {
        let told = !matches!(self.state, FlowState::Closing | FlowState::LastAck) || self.fin != Fin::Sent;
        told.then_some((self.snd.nxt, self.rcv.nxt))
    }

    /// What a TIME-WAIT record keeps.
    pub fn time_wait_record(&self, common: &Common) -> time_wait::Record {
        let trace = match self.negotiated.timestamps {
            true => time_wait::Trace::timestamp(self.rcv.ts_recent),
            false => time_wait::Trace::no_timestamp(common.holds_source_port),
        };
        time_wait::Record { tuple: common.tuple, snd_nxt: self.snd.nxt, rcv_nxt: self.rcv.nxt, trace }
    }

    /// The peer's SYN-ACK is to be acknowledged, with the first data if they come soon.
    pub fn acknowledge_handshake(&mut self, common: &mut Common, shared: &Shared) {
        self.arm_idle(common, shared);
        self.acknowledge_now(common);
    }

    /// Whether the peer waits for an acknowledgement.
    pub fn owes_acknowledgement(&self) -> bool {
        self.acknowledge != Acknowledge::Nothing
    }

    /// What is added to the clock of our timestamps.
    pub fn timestamp_offset(&self) -> u32 {
        self.timestamp_offset
    }

    /// Gives everything back but what the application may still read.
    pub fn release(&mut self, shared: &mut Shared) -> Inbox {
        shared.transition(Some(self.state), None);
        shared.gauges.send_queued -= u64::from(self.queue.len());
        self.queue.clear(&mut shared.chunks);
        self.sent.clear(&mut shared.records);
        self.reassembly.clear(shared);
        self.end_search(shared);
        shared.window_budget.give_back(self.rcv.capacity - shared.limits.receive_window_initial);
        core::mem::take(&mut self.inbox)
    }

    /// The peer's direction ended, and everything before its end is here.
    pub fn fin_received(&self) -> bool {
        self.rcv.fin().is_some_and(|fin| self.rcv.nxt > fin)
    }

    fn transition(&mut self, to: FlowState, shared: &mut Shared) {
        shared.transition(Some(self.state), Some(to));
        self.state = to;
        (self.expected, self.answer_max) = (NOT_EXPECTED, 0);
    }

    /// Bytes in the network, as far as we know: `pipe` of RFC 6675.
    #[inline]
    fn in_flight(&self) -> u32 {
        let out = (self.snd.nxt - self.snd.una) - self.sent.sacked_bytes() - self.sent.lost_bytes();
        if self.recovery.dup_acks() == 0 {
            return out;
        }
        out.saturating_sub(self.recovery.dup_acks().saturating_mul(self.snd.mss()))
    }

    #[inline(always)]
    fn timestamp(&self, shared: &Shared) -> u32 {
        Shared::timestamp_clock(shared.now, self.timestamp_offset)
    }
}
