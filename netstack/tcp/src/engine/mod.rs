//! The engine: one core's flows behind one door.

mod addresses;
mod agenda;
mod cookies;
mod input;
mod output;
mod passive;
mod splice;
mod time;
mod verbs;

use core::net::SocketAddr;

use weir_packet::Pool;
use weir_socket::{CloseReason, FlowId, Instant, Readiness};

use agenda::Agenda;

use crate::budget::Pressure;
use crate::config::Config;
use crate::cookie::Cookies;
use crate::counters::{Counter, Counters, FlowState, Gauges};
use crate::demux::{Demux, Target};
use crate::flow::{Common, Ended, NotOpen, Outcome, Slot, State, Timers};
use crate::half_open::SynCache;
use crate::listen::Listeners;
use crate::options::Timestamp;
use crate::reply::{Replies, Reply};
use crate::second_coming::SecondComing;
use crate::segment::Flags;
use crate::shared::Shared;
use crate::slab::Slab;
use crate::source_ports::{SourcePortUse, SourcePorts};
use crate::time_wait::{Record, TimeWaits};
use crate::transitions::Transitions;
use crate::tuple::Tuple;

/// Flows that one turn takes what came out of order from.
const PRUNED_MAX: usize = 64;

/// One core's flows.
///
/// The order of a turn:
///
/// ```text
///   set_now                                  the time of the turn
///   handle_segment, handle_icmp_error *      what arrived
///   handle_timers                            what is due
///   poll_event until none, with verbs        the application
///   poll_transmit                            what follows from all that
///   next_deadline                            how long the core may sleep
/// ```
///
/// Any other order is allowed, as long as `poll_transmit`, which also arms timers, comes before `next_deadline`; this one
/// acknowledges requests with their responses. No call does work in proportion to the
/// number of flows. Memory grows to a high-water mark that [`Config`] bounds, and is never taken per segment.
pub struct Engine {
    shared: Shared,
    flows: Slab<Slot>,
    demux: Demux,
    agenda: Agenda,
    half_open: SynCache,
    second_coming: SecondComing,
    cookies: Cookies,
    time_waits: TimeWaits,
    listeners: Listeners,
    replies: Replies,
    source_ports: SourcePorts,
}

impl Engine {
    /// An engine without flows. `pool` gives the buffers of what it sends.
    #[must_use]
    pub fn new(config: Config, pool: Pool) -> Self {
        let shared = Shared::new(config, pool);
        let config = &shared.config;
        Self {
            flows: Slab::new(config.flows_max),
            demux: Demux::new(),
            agenda: Agenda::new(),
            half_open: SynCache::new(config.half_open_max),
            second_coming: SecondComing::new(config),
            cookies: Cookies::default(),
            time_waits: TimeWaits::new(config.time_wait_max, shared.limits.time_wait_ns),
            listeners: Listeners::new(config.listeners_max),
            replies: Replies::new(),
            source_ports: SourcePorts::default(),
            shared,
        }
    }

    /// Tells the time; once per turn.
    #[inline]
    pub fn set_now(&mut self, now: Instant) {
        self.shared.now = self.shared.now.max(now);
        self.shared.note_pressure();
        if self.shared.pressure != Pressure::None {
            self.prune_reordered();
        }
    }

    /// Buffers are short: what was received out of order goes first, of the flows that began to hold it longest ago.
    #[cold]
    fn prune_reordered(&mut self) {
        for _ in 0..PRUNED_MAX {
            if self.shared.pressure == Pressure::None {
                return;
            }
            let Some(index) = self.agenda.reordered.pop_front() else { return };
            let slot = &mut self.flows[index];
            slot.is_reordered = false;
            if let State::Open(open) = &mut slot.state {
                open.prune_reordered(&mut self.shared);
            }
            self.shared.note_pressure();
        }
    }

    /// Whether a connect from `local` to `remote` would be possible: nothing of ours uses this pair, or only a TIME-WAIT
    /// record that may be reused (RFC 6191).
    #[must_use]
    pub fn is_tuple_free(&self, local: SocketAddr, remote: SocketAddr) -> bool {
        let tuple = Tuple::new(local, remote);
        match self.find(&tuple, self.hash(&tuple)) {
            None => true,
            Some(Target::TimeWait(index)) => self.time_waits.is_reusable(index, self.shared.now),
            Some(_) => false,
        }
    }

    /// Whether a flow, a half-open handshake or a TIME-WAIT record exists for this pair of endpoints.
    #[must_use]
    pub fn owns(&self, local: SocketAddr, remote: SocketAddr) -> bool {
        let tuple = Tuple::new(local, remote);
        self.find(&tuple, self.hash(&tuple)).is_some()
    }

    /// What was counted since the start.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// What there is now.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        Gauges {
            time_wait: self.time_waits.len() as u32,
            half_open: self.half_open.len() as u32,
            listeners: self.listeners.len() as u32,
            window_tuned: self.shared.window_budget.taken(),
            ..self.shared.gauges
        }
    }

    /// Source ports of flows that we opened; looks at all destinations.
    #[must_use]
    pub fn source_ports_in_use(&self) -> SourcePortUse {
        self.source_ports.in_use(self.shared.now)
    }

    /// Which transitions between states have happened.
    #[must_use]
    pub fn transitions(&self) -> &Transitions {
        &self.shared.transitions
    }

    #[inline(always)]
    fn hash(&self, tuple: &Tuple) -> u32 {
        tuple.hash(self.shared.secrets.table_key())
    }

    #[inline(always)]
    fn find(&self, tuple: &Tuple, hash: u32) -> Option<Target> {
        let first = self.demux.first(hash)?;
        if self.tuple_of(first) == tuple { Some(first) } else { self.find_behind(tuple, hash) }
    }

    /// Several targets have one hash.
    #[cold]
    fn find_behind(&self, tuple: &Tuple, hash: u32) -> Option<Target> {
        self.demux.find(hash, |target| self.tuple_of(target) == tuple)
    }

    #[inline(always)]
    fn tuple_of(&self, target: Target) -> &Tuple {
        match target {
            Target::Flow(index) => &self.flows[index].common.tuple,
            Target::HalfOpen(index) => &self.half_open.get(index).tuple,
            Target::TimeWait(index) => &self.time_waits.get(index).tuple,
        }
    }

    /// Takes a slot for a new flow and enters it in the table. None, and nothing is changed, when there is no room.
    fn add_flow(&mut self, common: Common, state: State) -> Option<u32> {
        let index = self.allocate_slot()?;
        if !self.demux.insert(common.hash, Target::Flow(index)) {
            self.flows.release(index);
            return None;
        }
        let slot = &mut self.flows[index];
        slot.common = common;
        slot.state = state;
        Some(index)
    }

    fn allocate_slot(&mut self) -> Option<u32> {
        let index = self.flows.allocate()?;
        if self.agenda.wheel.reserve(index).is_none() {
            self.flows.release(index);
            return None;
        }
        Some(index)
    }

    fn id(&self, index: u32) -> FlowId {
        FlowId::new(index, self.flows[index].generation)
    }

    /// What follows for the slot from something that happened to it.
    #[inline(always)]
    fn conclude(&mut self, index: u32, outcome: Outcome) {
        match outcome {
            Outcome::Keep => self.settle(index),
            outcome => self.finish(index, outcome),
        }
    }

    /// The flow's end, in one of its ways.
    #[inline(never)]
    fn finish(&mut self, index: u32, outcome: Outcome) {
        match outcome {
            Outcome::Keep => {}
            Outcome::TimeWait => self.enter_time_wait(index),
            Outcome::Gone(reason) => self.end(index, reason),
            Outcome::Abort(reason) => {
                self.reset(index);
                self.end(index, reason);
            }
        }
    }

    /// See [`Agenda::enter`].
    #[inline(always)]
    fn settle(&mut self, index: u32) {
        self.agenda.enter(index, &mut self.flows[index]);
    }

    /// Our direction ended first: the flow becomes a record, and the slot the application's or free.
    fn enter_time_wait(&mut self, index: u32) {
        let slot = &self.flows[index];
        let State::Open(open) = &slot.state else { return };
        let (record, hash) = (open.time_wait_record(&slot.common), slot.common.hash);
        if open.owes_acknowledgement() {
            let mut reply =
                Reply::new(slot.common.tuple, slot.common.next_hop, Flags::ACK, record.snd_nxt, record.rcv_nxt);
            reply.header.options.timestamp = record.ts_recent().map(|echo| Timestamp {
                value: Shared::timestamp_clock(self.shared.now, open.timestamp_offset()),
                echo,
            });
            self.reply(reply);
        }
        self.shared.count(Counter::TimeWaits);
        if self.time_waits.is_full()
            && let Some((oldest, record)) = self.time_waits.pop(None)
        {
            self.shared.count(Counter::TimeWaitOverflow);
            self.forget(oldest, self.hash(&record.tuple), &record);
        }
        let Some(at) = self.time_waits.push(record, self.shared.now) else {
            return self.end(index, CloseReason::Finished);
        };
        self.demux.replace(hash, Target::Flow(index), Target::TimeWait(at));
        if self.flows[index].common.holds_source_port && !record.holds_source_port() {
            self.source_ports.rest(&record.tuple, self.shared.now);
        }
        self.leave(index, CloseReason::Finished);
    }

    /// A TIME-WAIT record has gone.
    fn forget(&mut self, index: u32, hash: u32, record: &Record) {
        self.demux.remove(hash, Target::TimeWait(index));
        if record.holds_source_port() {
            self.source_ports.release(&record.tuple);
        }
    }

    /// The flow is gone without a trace.
    fn end(&mut self, index: u32, reason: CloseReason) {
        let common = &self.flows[index].common;
        self.demux.remove(common.hash, Target::Flow(index));
        if common.holds_source_port {
            self.source_ports.release(&common.tuple);
        }
        self.leave(index, reason);
    }

    /// Takes the flow out of its slot, which stays the application's until that gives it back.
    fn leave(&mut self, index: u32, reason: CloseReason) {
        let slot = &mut self.flows[index];
        let (mut inbox, fin_received) = match &mut slot.state {
            State::Open(open) => {
                let fin_received = open.fin_received();
                (open.release(&mut self.shared), fin_received)
            }
            State::NotOpen(NotOpen::Opening(opening)) => {
                self.shared.gauges.send_queued -= u64::from(opening.queue.len());
                opening.queue.clear(&mut self.shared.chunks);
                self.shared.transition(Some(opening.state()), None);
                self.shared.count(Counter::AttemptFails);
                Default::default()
            }
            State::NotOpen(NotOpen::Vacant | NotOpen::Ended(_)) => return,
        };
        let in_order = reason == CloseReason::Finished;
        if !in_order || !slot.common.is_held {
            self.shared.gauges.receive_queued -= u64::from(inbox.len());
            inbox.clear();
        }
        slot.common.timers = Timers { app: slot.common.timers.app, ..Timers::default() };
        slot.common.output = false;
        if !slot.common.is_held {
            return self.free(index);
        }
        if !in_order {
            slot.common.pending |= Readiness::CLOSED;
        }
        slot.state = NotOpen::Ended(Ended { reason, inbox, fin_received }).into();
        self.shared.transition(None, Some(FlowState::Ended));
        self.settle(index);
    }

    /// Gives an empty slot back.
    fn free(&mut self, index: u32) {
        let slot = &mut self.flows[index];
        slot.generation = slot.generation.wrapping_add(1);
        slot.state = State::default();
        slot.common.timers = Timers::default();
        slot.common.pending = Readiness::NONE;
        slot.common.is_held = false;
        slot.common.output = false;
        self.flows.release(index);
    }

    /// Tells the peer of a flow with a RST, if it is in a state to be told (RFC 9293, 3.10.5).
    fn reset(&mut self, index: u32) {
        let slot = &self.flows[index];
        let State::Open(open) = &slot.state else { return };
        self.shared.count(Counter::Aborts);
        if let Some((seq, ack)) = open.reset_numbers() {
            let flags = Flags::RST.with(Flags::ACK);
            let reply = Reply::new(slot.common.tuple, slot.common.next_hop, flags, seq, ack);
            self.reply(reply);
        }
    }

    fn reply(&mut self, reply: Reply) {
        if !self.replies.push(reply) {
            self.shared.count(Counter::DropReplyQueue);
        }
    }
}
