//! The payload (RFC 9293, 3.10.7.4, seventh step), the window that we offer (3.8.6) and when we acknowledge (3.8.6.3).

use weir_packet::Packet;
use weir_socket::Readiness;

use super::{Acknowledge, Common, Open};
use crate::budget::Pressure;
use crate::counters::{Counter, FlowState};
use crate::flow::reassembly::Refused;
use crate::output::mss_of_mtu;
use crate::segment::{Flags, Segment};
use crate::shared::Shared;
use crate::time::{MILLISECOND_NS, Nanoseconds, Stamp};

/// What is taken for the path's MTU until the link was asked.
const MTU_USUAL: u16 = 1_500;

impl Open {
    /// Takes the next bytes in order.
    #[inline(always)]
    pub(super) fn accept_next(&mut self, payload: Packet, len: u32, common: &mut Common, shared: &mut Shared) {
        self.rcv.nxt += len;
        shared.gauges.receive_queued += u64::from(len);
        if payload.is_chain() {
            self.inbox.push_chain(payload);
        } else {
            self.inbox.push(payload);
        }
        if len > self.rcv.mss() {
            self.rcv.mss = self.segment_max(common).min(len.min(u32::from(u16::MAX)) as u16);
        }
        common.pending |= Readiness::READABLE;
        self.delay_acknowledgement(common, shared);
        if self.tuning.since.age_ns(shared.now) >= self.round_trip_ns() {
            self.tune_window(shared);
        }
    }

    /// Seventh step, for a segment that was cut to the window.
    pub(super) fn process_text(&mut self, segment: &mut Segment, common: &mut Common, shared: &mut Shared) {
        if !matches!(self.state, FlowState::Established | FlowState::FinWait1 | FlowState::FinWait2) {
            if segment.sequence_len() > 0 {
                shared.count(Counter::DataAfterFin);
            }
            return;
        }
        let end = segment.seq + segment.len;
        if self.rcv.fin().is_some_and(|fin| end > fin) {
            shared.count(Counter::DataAfterFin);
            return;
        }
        if segment.len > 0 && shared.pressure.refuses_text(self.inbox.len() > 0) {
            // Not acknowledged either: the peer's timer is the pause that is needed.
            return shared.count(Counter::TextRefused);
        }
        if segment.flags.has(Flags::FIN) {
            (self.rcv.fin, self.rcv.has_fin) = (end, true);
        }
        if segment.len == 0 {
            if segment.flags.has(Flags::FIN) && segment.seq != self.rcv.nxt {
                shared.count(Counter::OutOfOrder);
                self.acknowledge_now(common);
            }
            return;
        }
        if segment.seq != self.rcv.nxt {
            return self.keep_for_later(segment, common, shared);
        }
        let Some(payload) = segment.payload.take() else { return };
        let had_gap = self.reassembly.has_gap(shared);
        self.accept_next(payload, segment.len, common, shared);
        if had_gap {
            let nxt = self.reassembly.drain(self.rcv.nxt, &mut self.inbox, shared);
            shared.gauges.receive_queued += u64::from(nxt - self.rcv.nxt);
            self.rcv.nxt = nxt;
            self.acknowledge_now(common);
        }
    }

    /// Out of order: an immediate, duplicate acknowledgement (RFC 5681, 4.2).
    fn keep_for_later(&mut self, segment: &mut Segment, common: &mut Common, shared: &mut Shared) {
        shared.count(Counter::OutOfOrder);
        self.acknowledge_now(common);
        if self.is_pool_short(shared) {
            return shared.count(Counter::MemoryPressure);
        }
        let window = self.rcv.capacity;
        let had_duplicate = self.reassembly.has_duplicate(shared);
        let Some(mut packet) = segment.payload.take() else { return };
        let mut start = segment.seq;
        let mut rest = packet.take_rest();
        loop {
            let len = packet.len() as u32;
            if len > 0 {
                match self.reassembly.insert(start, packet, window, shared) {
                    Ok(()) => {}
                    Err(Refused::Duplicate) => shared.count(Counter::OldData),
                    Err(Refused::Full) => shared.count(Counter::ReassemblyFull),
                }
            }
            start += len;
            let Some(mut next) = rest else { break };
            rest = next.take_rest();
            packet = next;
        }
        if self.negotiated.sack && self.reassembly.has_duplicate(shared) && !had_duplicate {
            shared.count(Counter::DsackOfoSent);
        }
    }

    /// What the peer can send in one segment: longer ones were put together on the way.
    fn segment_max(&self, common: &Common) -> u16 {
        let mtu = if self.snd.path_mtu == 0 { MTU_USUAL } else { self.snd.path_mtu };
        mss_of_mtu(mtu, common.tuple.remote.is_v4()).max(self.rcv.mss)
    }

    /// At least every second full segment at once, everything else after a while.
    #[inline]
    fn delay_acknowledgement(&mut self, common: &mut Common, shared: &Shared) {
        if self.rcv.nxt - self.rcv.acked >= 2 * self.rcv.mss() {
            self.acknowledge_now(common);
        } else if self.acknowledge == Acknowledge::Nothing {
            self.acknowledge = Acknowledge::Delayed;
            common.timers.ack = shared.now.plus_ns(shared.limits.delayed_ack_ns);
        }
    }

    /// The window to announce now, as the field of the header; the edge moves with it. Silly window avoidance (3.8.6.2.2): the
    /// edge stays until it can move by a segment or half of the buffer.
    #[inline]
    pub(super) fn open_window(&mut self, shared: &Shared) -> u16 {
        let mut window = self.rcv.edge - self.rcv.nxt;
        if window + self.window_step() <= self.rcv.capacity {
            window = self.widened(window, shared);
        }
        // Rounded up: the edge never moves back, not by rounding either. The field has room: an offer is of what fits there.
        let field = (window + (1 << self.rcv.scale) - 1) >> self.rcv.scale;
        debug_assert!(field <= u32::from(u16::MAX), "a window of {window} bytes");
        self.rcv.edge = self.rcv.nxt + (field << self.rcv.scale);
        field as u16
    }

    /// The window to offer instead of this one.
    #[inline(never)]
    fn widened(&self, offered: u32, shared: &Shared) -> u32 {
        let possible = self.possible_window(shared);
        if possible >= offered + self.window_step() { possible } else { offered }
    }

    /// What could be announced: free room, and two segments of it when buffers are short: with one, silly window avoidance would
    /// leave the peer with less than it may send.
    #[inline]
    fn possible_window(&self, shared: &Shared) -> u32 {
        let field_max = u32::from(u16::MAX) << self.rcv.scale;
        let free = self.rcv.capacity.saturating_sub(self.inbox.len()).min(field_max);
        if shared.pressure == Pressure::None { free } else { free.min(2 * self.rcv.mss()) }
    }

    #[inline]
    fn window_step(&self) -> u32 {
        (self.rcv.capacity / 2).min(self.rcv.mss())
    }

    /// The application has read: a window that was nearly closed, or has much to give, is announced without waiting.
    #[inline]
    pub(super) fn window_may_open(&mut self, common: &mut Common) {
        let offered = self.rcv.edge - self.rcv.nxt;
        let free = self.rcv.capacity.saturating_sub(self.inbox.len());
        if free <= offered {
            return;
        }
        let gain = free - offered;
        if gain >= self.rcv.capacity / 2 || (offered < self.rcv.mss() && gain >= self.window_step()) {
            self.acknowledge_now(common);
        }
    }

    /// Less than an eighth of the buffers is free.
    #[inline]
    fn is_pool_short(&self, shared: &Shared) -> bool {
        shared.pool.free() < shared.pool.capacity() / 8
    }

    /// What a round trip takes, as far as that is known.
    #[inline]
    fn round_trip_ns(&self) -> u64 {
        self.rtt.srtt_ns().unwrap_or(100 * MILLISECOND_NS).max(MILLISECOND_NS)
    }

    /// Dynamic right-sizing: once per round trip, a window that was mostly filled by what came is doubled, as far as the budget
    /// of all flows goes. While buffers are short, it is halved instead, down to where it began.
    fn tune_window(&mut self, shared: &mut Shared) {
        let received = self.rcv.nxt - self.tuning.from;
        let plenty = shared.pool.free() > shared.pool.capacity() / 2;
        let capacity = self.rcv.capacity;
        if received > capacity / 2 && plenty && self.inbox.len() <= capacity / 2 {
            let more = capacity.min(shared.limits.receive_window_max - capacity);
            self.rcv.capacity += shared.window_budget.take(more);
        } else if shared.pressure != Pressure::None {
            let less = (capacity / 2).min(capacity - shared.limits.receive_window_initial);
            self.rcv.capacity -= less;
            shared.window_budget.give_back(less);
        }
        self.tuning = super::Tuning { from: self.rcv.nxt, since: Stamp::new(shared.now) };
    }

    /// Whether something waits out of order.
    pub fn holds_reordered(&self) -> bool {
        !self.reassembly.is_empty()
    }

    /// Buffers are short: what waits out of order is dropped, and has to come again (RFC 2018, 8).
    pub fn prune_reordered(&mut self, shared: &mut Shared) {
        if self.reassembly.has_gap(shared) {
            shared.count(Counter::ReorderedPruned);
            self.reassembly.clear(shared);
        }
    }
}
