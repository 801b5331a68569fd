//! A host: an engine, its pool, and the applications of its flows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use weir_packet::frame::ChecksumStatus;
use weir_packet::{Packet, Pool};
use weir_socket::{ConnectError, Event, FlowId, Instant, ListenerId, Readiness, Token};
use weir_tcp::{Config, Engine, Inbound, NextHop};

use crate::application::{FlowApplication, FlowPlan};
use crate::disturbance::DisturbanceKind;
use crate::network::{Delivery, Port};
use crate::random::Random;

/// One end of the world. Host 0 connects, host 1 listens.
pub struct Host {
    side: usize,
    pub(crate) engine: Engine,
    pub(crate) pool: Pool,
    random: Random,
    pub(crate) applications: Vec<FlowApplication>,
    by_flow: BTreeMap<FlowId, usize>,
    /// Applications that look again at a time, in nanoseconds; each at one.
    looks: BTreeSet<(u64, usize)>,
    look_at: BTreeMap<usize, u64>,
    pub(crate) unreceived: u64,
    /// How far the engine's clock is from the world's, in nanoseconds.
    clock_ns: i64,
    /// Buffers that somebody else has taken.
    taken: Vec<Packet>,
}

impl Host {
    pub(crate) fn new(side: usize, config: Config, buffers: usize, random: Random) -> Self {
        let pool = Pool::with_capacity(buffers).expect("memory for the pool");
        Self {
            side,
            engine: Engine::new(config, pool.clone()),
            pool,
            random,
            applications: Vec::new(),
            by_flow: BTreeMap::new(),
            looks: BTreeSet::new(),
            look_at: BTreeMap::new(),
            unreceived: 0,
            clock_ns: 0,
            taken: Vec::new(),
        }
    }

    /// Tells the engine the time, as the host's clock has it.
    pub(crate) fn set_now(&mut self, now: Instant) {
        self.engine.set_now(Instant::from_nanos(now.as_nanos().saturating_add_signed(self.clock_ns)));
    }

    pub(crate) fn disturb(&mut self, kind: DisturbanceKind) {
        match kind {
            DisturbanceKind::ClockForward(ms) => self.clock_ns += ms as i64 * 1_000_000,
            DisturbanceKind::ClockBack(ms) => self.clock_ns -= ms as i64 * 1_000_000,
            DisturbanceKind::TakeBuffers(leave) => {
                while self.pool.free() > leave {
                    self.taken.extend(self.pool.allocate());
                }
            }
            DisturbanceKind::GiveBuffers => self.taken.clear(),
        }
    }

    /// Without a flow, a half-open handshake or a TIME-WAIT record, nothing is left to wait for.
    pub(crate) fn check_timers(&self) -> Result<(), String> {
        let gauges = self.engine.gauges();
        let there = gauges.flows.iter().sum::<u32>() + gauges.half_open + gauges.time_wait;
        match self.engine.next_deadline() {
            Some(deadline) if there == 0 => Err(format!("a timer of nobody is armed for {deadline:?}")),
            _ => Ok(()),
        }
    }

    pub(crate) fn listen(&mut self, local: SocketAddr) -> ListenerId {
        self.engine.listen(local, Token(0)).expect("a free address")
    }

    pub(crate) fn connect(&mut self, number: usize, plan: &FlowPlan) -> Result<(), ConnectError> {
        let flow = self.engine.connect(plan.client, plan.server, Token(1))?;
        self.engine.set_nagle(flow, plan.nagle);
        self.adopt(number, flow);
        Ok(())
    }

    fn adopt(&mut self, number: usize, flow: FlowId) {
        self.by_flow.insert(flow, self.applications.len());
        self.applications.push(FlowApplication::new(number, self.side, flow));
    }

    /// Takes what arrives, in buffers of the host's pool; what finds none is lost.
    pub(crate) fn receive(&mut self, delivery: &Delivery) {
        if let Some(error) = delivery.icmp_error() {
            return self.engine.handle_icmp_error(error);
        }
        let Delivery::Segment { source, destination, ecn, bytes, .. } = delivery else { return };
        let mut packet = None;
        for part in bytes.chunks(1_800) {
            let Some(mut next) = self.pool.allocate() else {
                self.unreceived += 1;
                return;
            };
            next.extend_from_slice(part).expect("a buffer of 2 KiB");
            match &mut packet {
                None => packet = Some(next),
                Some(first) => first.append(next),
            }
        }
        let Some(packet) = packet else { return };
        self.engine.handle_segment(Inbound {
            source: (*source).into(),
            destination: (*destination).into(),
            next_hop: NextHop(1),
            ecn: *ecn,
            checksum: ChecksumStatus::Unverified,
            packet,
        });
    }

    /// One turn of the core, but for what arrived.
    pub(crate) fn turn(&mut self, now: Instant, plans: &[FlowPlan], mut port: Port<'_>) -> Result<(), String> {
        self.set_now(now);
        self.engine.handle_timers();
        while let Some(event) = self.engine.poll_event() {
            match event {
                Event::Acceptable { listener, .. } => self.accept(listener, plans, now)?,
                Event::Flow { flow, ready, .. } => {
                    if let Some(&at) = self.by_flow.get(&flow) {
                        self.look(at, ready, plans, now)?;
                    }
                }
            }
        }
        while let Some(&(due, at)) = self.looks.first() {
            if due > now.as_nanos() {
                break;
            }
            self.looks.pop_first();
            self.look_at.remove(&at);
            self.look(at, Readiness::NONE, plans, now)?;
        }
        self.engine.poll_transmit(&mut port);
        Ok(())
    }

    fn accept(&mut self, listener: ListenerId, plans: &[FlowPlan], now: Instant) -> Result<(), String> {
        while let Some(flow) = self.engine.accept(listener, Token(2)) {
            let peer = self.engine.peer_address(flow);
            let number = plans.iter().position(|plan| Some(plan.client) == peer);
            let number = number.ok_or_else(|| format!("a flow from nobody: {peer:?}"))?;
            // A cookie that comes twice opens a second flow: the price of having no memory.
            if self.applications.iter().any(|application| application.plan == number) {
                self.engine.abort(flow);
                continue;
            }
            self.engine.set_nagle(flow, plans[number].nagle);
            self.adopt(number, flow);
            self.look(self.applications.len() - 1, Readiness::NONE, plans, now)?;
        }
        Ok(())
    }

    fn look(&mut self, at: usize, ready: Readiness, plans: &[FlowPlan], now: Instant) -> Result<(), String> {
        let application = &mut self.applications[at];
        let plan = &plans[application.plan];
        let again = application.look(plan, &mut self.engine, &self.pool, &mut self.random, ready)?;
        let is_short = self.pool.free() < self.pool.capacity() / 4;
        // Without buffers to write into, it looks again soon.
        let again = again.or((is_short && application.done.is_none()).then_some(20));
        if let Some(pause_ms) = again {
            let due = now.as_nanos() + pause_ms * 1_000_000;
            if self.look_at.get(&at).is_none_or(|&earlier| earlier > due) {
                if let Some(later) = self.look_at.insert(at, due) {
                    self.looks.remove(&(later, at));
                }
                self.looks.insert((due, at));
            }
        }
        Ok(())
    }

    pub(crate) fn next_deadline_ns(&self) -> Option<u64> {
        let look = self.looks.first().map(|&(due, _)| due);
        let in_world = |at: Instant| at.as_nanos().saturating_add_signed(-self.clock_ns);
        let engine = self.engine.next_deadline().map(in_world);
        [look, engine].into_iter().flatten().min()
    }
}
