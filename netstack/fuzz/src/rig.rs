//! An engine with a link that checks what is sent, and remembers what a peer would know of each flow.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{TcpOption, TcpPacket, TcpRepr};
use weir_packet::frame::ChecksumStatus;
use weir_packet::{Chunk, Packet, Pool};
use weir_socket::{Event, FlowId, Instant, ListenerId, Readiness, Received, Token};
use weir_tcp::{Config, Ecn, EmitError, Engine, FlowState, Inbound, Link, NextHop, Outbound};

use crate::features::Features;

/// Buffers of the engine: few, so that they run out.
const BUFFERS: usize = 96;

/// Largest IP packet, in bytes: small, so that little is much. IPv6 has no smaller one (RFC 8200, 5).
const fn mtu(ipv6: bool) -> u16 {
    if ipv6 { 1_280 } else { 600 }
}

/// Ports of ours: the first two are listened on, the others connect.
const LOCAL_PORTS: [u16; 4] = [80, 81, 40_000, 40_001];

/// Ports of the peer's.
const REMOTE_PORTS: [u16; 4] = [5_000, 5_001, 90, 5_002];

/// Turns at one moment after which an engine that still wants another has gone mad.
const TURNS_PER_MOMENT_MAX: usize = 256;

/// Timers between an abort of everything and the end.
const DEADLINES_MAX: usize = 20_000;

/// One of the pairs of endpoints that segments are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Our end.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
}

impl Line {
    /// Some line for any number.
    pub fn of(number: u8) -> Self {
        let (local, remote): (IpAddr, IpAddr) = if number & 1 == 0 {
            (Ipv4Addr::new(10, 0, 0, 1).into(), Ipv4Addr::new(10, 0, 0, 2).into())
        } else {
            (Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1).into(), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2).into())
        };
        let port = |ports: [u16; 4], at: u8| ports[usize::from(at % 4)];
        Self {
            local: (local, port(LOCAL_PORTS, number >> 1)).into(),
            remote: (remote, port(REMOTE_PORTS, number >> 3)).into(),
        }
    }
}

/// What the last segment of ours said.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known {
    /// What we send next.
    pub snd_nxt: u32,
    /// What we expect next.
    pub rcv_nxt: u32,
    /// Our latest timestamp.
    pub timestamp: u32,
}

/// What the engine sends into.
#[derive(Debug)]
pub struct Wire {
    /// Segments that are taken before the device is full.
    pub room: usize,
    /// Whether no neighbour answers.
    pub is_deaf: bool,
    known: BTreeMap<(u16, u16, bool), Known>,
    sent: u64,
}

impl Wire {
    /// What a peer knows of a line.
    pub fn known(&self, line: &Line) -> Known {
        let key = (line.local.port(), line.remote.port(), line.local.is_ipv6());
        self.known.get(&key).copied().unwrap_or_default()
    }

    fn look(&mut self, segment: &Outbound, bytes: &[u8]) {
        let (source, destination) = (segment.source.to_ip().into(), segment.destination.to_ip().into());
        let packet = TcpPacket::new_checked(bytes).expect("a whole TCP header");
        let parsed = TcpRepr::parse(&packet, &source, &destination, &ChecksumCapabilities::default());
        let parsed = parsed.expect("a segment that smoltcp understands");
        let key = (parsed.src_port, parsed.dst_port, !segment.source.is_v4());
        let known = self.known.entry(key).or_default();
        known.snd_nxt = (parsed.seq_number + parsed.segment_len()).0.cast_unsigned();
        if let Some(ack) = parsed.ack_number {
            known.rcv_nxt = ack.0.cast_unsigned();
        }
        let mut options = packet.options();
        while let Ok((rest, option)) = TcpOption::parse(options) {
            match option {
                TcpOption::TimeStamp { tsval, .. } => known.timestamp = tsval,
                TcpOption::EndOfList => break,
                _ => {}
            }
            options = rest;
            if options.is_empty() {
                break;
            }
        }
    }
}

impl Link for Wire {
    fn room(&self) -> usize {
        self.room
    }

    fn mtu(&self, destination: IpAddr) -> u16 {
        mtu(destination.is_ipv6())
    }

    fn segmentation_max(&self, _: bool) -> usize {
        0
    }

    fn transmit_checksum(&self) -> bool {
        false
    }

    fn emit<P: ExactSizeIterator<Item = Chunk>>(
        &mut self,
        segment: Outbound,
        head: Packet,
        payload: P,
    ) -> Result<(), EmitError> {
        let pieces = payload.len();
        let mut bytes = head.to_vec();
        let header_len = bytes.len();
        payload.for_each(|chunk| bytes.extend_from_slice(&chunk));
        assert_eq!(bytes.len() - header_len, segment.payload_len, "the payload is not as long as was said");
        let ip_len = if !segment.source.is_v4() { 40 } else { 20 };
        let mtu = usize::from(mtu(!segment.source.is_v4()));
        assert!(bytes.len() + ip_len <= mtu, "{} bytes are too many for the path", bytes.len());
        if self.is_deaf {
            return Err(EmitError::NoNeighbour);
        }
        if self.room < 1 + pieces {
            return Err(EmitError::Full);
        }
        self.room -= 1 + pieces;
        self.sent += 1;
        self.look(&segment, &bytes);
        Ok(())
    }
}

/// An engine and what is around it.
pub struct Rig {
    /// What is tested.
    pub engine: Engine,
    /// Where it sends.
    pub wire: Wire,
    /// What was seen.
    pub features: Features,
    pool: Pool,
    now: Instant,
    flows: Vec<FlowId>,
    listeners: Vec<ListenerId>,
    /// Chunks that the application has not let go yet.
    held: Vec<Chunk>,
    counted: Vec<u64>,
}

impl Rig {
    /// An engine with narrow limits, listening on both ports.
    pub fn new() -> Self {
        let config = Config {
            seed: [1, 2, 3, 4],
            flows_max: 8,
            listeners_max: 4,
            half_open_max: 4,
            syn_credit_max: 8,
            syns_free_per_second: 10,
            syn_notes_bytes: 64,
            accept_queue_max: 2,
            time_wait_max: 256,
            send_queue_max: 8 << 10,
            receive_window_initial: 4 << 10,
            receive_window_max: 64 << 10,
            challenge_acks_per_second: 10,
            resets_per_second: 10,
            ..Config::default()
        };
        let pool = Pool::with_capacity(BUFFERS).expect("memory for the pool");
        let mut engine = Engine::new(config, pool.clone());
        let now = Instant::from_nanos(1_000_000_000);
        engine.set_now(now);
        let ends = [Line::of(0), Line::of(2), Line::of(1), Line::of(3)];
        let listeners = ends.map(|line| engine.listen(line.local, Token(0)).expect("room for four listeners"));
        Self {
            engine,
            wire: Wire { room: 64, is_deaf: false, known: BTreeMap::new(), sent: 0 },
            features: Features::default(),
            pool,
            now,
            flows: Vec::new(),
            listeners: listeners.to_vec(),
            held: Vec::new(),
            counted: Vec::new(),
        }
    }

    /// A segment arrives: `bytes` begin at the TCP header.
    pub fn receive(&mut self, line: &Line, bytes: &[u8], ecn: Ecn) {
        let mut packet: Option<Packet> = None;
        for part in bytes.chunks(1_500) {
            let Some(mut next) = self.pool.allocate() else { return };
            next.extend_from_slice(part).expect("a buffer of 2 KiB");
            match &mut packet {
                None => packet = Some(next),
                Some(first) => first.append(next),
            }
        }
        let Some(packet) = packet.or_else(|| self.pool.allocate()) else { return };
        self.engine.handle_segment(Inbound {
            source: line.remote.ip().into(),
            destination: line.local.ip().into(),
            next_hop: NextHop(1),
            ecn,
            checksum: ChecksumStatus::Verified,
            packet,
        });
        self.note();
    }

    /// Timers and transmission, until the engine is content with this moment.
    pub fn turn(&mut self) {
        for _ in 0..TURNS_PER_MOMENT_MAX {
            self.engine.handle_timers();
            self.engine.poll_transmit(&mut self.wire);
            self.note();
            let is_content = self.engine.next_deadline().is_none_or(|deadline| deadline > self.now);
            if is_content || self.wire.room == 0 || self.wire.is_deaf {
                return;
            }
        }
        panic!("after {TURNS_PER_MOMENT_MAX} turns the engine wants another at the same moment");
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Time passes.
    pub fn advance(&mut self, by: Duration) {
        self.now = self.now + by;
        self.engine.set_now(self.now);
    }

    /// Time passes until the next timer.
    pub fn advance_to_deadline(&mut self) -> bool {
        let Some(deadline) = self.engine.next_deadline() else { return false };
        self.now = self.now.max(deadline);
        self.engine.set_now(self.now);
        true
    }

    /// Opens a flow.
    pub fn connect(&mut self, line: &Line) {
        if let Ok(flow) = self.engine.connect(line.local, line.remote, Token(1)) {
            self.flows.push(flow);
        }
    }

    /// Takes what waits to be accepted.
    pub fn accept(&mut self) {
        for &listener in &self.listeners {
            while let Some(flow) = self.engine.accept(listener, Token(2)) {
                self.flows.push(flow);
            }
        }
    }

    /// Stops listening, or listens again.
    pub fn toggle_listener(&mut self, line: &Line) {
        match self.engine.listen(line.local, Token(3)) {
            Ok(listener) => self.listeners.push(listener),
            Err(_) => self.listeners.drain(..).for_each(|listener| self.engine.unlisten(listener)),
        }
    }

    /// Some flow that the application has or had.
    pub fn flow(&self, number: u8) -> Option<FlowId> {
        (!self.flows.is_empty()).then(|| self.flows[usize::from(number) % self.flows.len()])
    }

    /// Reads what a flow has, and keeps it until [`let_go`](Self::let_go).
    pub fn read(&mut self, flow: FlowId) {
        while let Received::Data(chunk) = self.engine.receive(flow) {
            assert!(!chunk.is_empty(), "an empty chunk was received");
            self.held.push(chunk);
        }
    }

    /// Frees what was read.
    pub fn let_go(&mut self) {
        self.held.clear();
    }

    /// A buffer with bytes of the application's, if there is one.
    pub fn buffer(&self, len: usize) -> Option<Chunk> {
        let mut packet = self.pool.allocate()?;
        packet.extend_from_slice(&vec![0x77; len.min(1_500)]).ok()?;
        Some(packet.freeze())
    }

    /// Drains the events.
    pub fn events(&mut self) {
        while let Some(event) = self.engine.poll_event() {
            if let Event::Flow { ready, .. } = event {
                assert_ne!(ready, Readiness::NONE, "an event about nothing");
            }
        }
    }

    /// Everybody goes home: nothing may be left.
    pub fn finish(mut self) -> Features {
        self.accept();
        (self.wire.is_deaf, self.wire.room) = (false, 1_000);
        self.engine.handle_neighbour_change();
        for flow in std::mem::take(&mut self.flows) {
            self.engine.abort(flow);
        }
        self.listeners.drain(..).for_each(|listener| self.engine.unlisten(listener));
        self.held.clear();
        for _ in 0..DEADLINES_MAX {
            self.wire.room = 1_000;
            self.turn();
            self.events();
            if !self.advance_to_deadline() {
                break;
            }
        }
        let gauges = self.engine.gauges();
        assert_eq!(gauges, weir_tcp::Gauges::default(), "left over");
        assert_eq!(self.engine.next_deadline(), None, "a timer is left");
        assert_eq!(self.pool.in_use(), 0, "buffers are left");
        self.features
    }

    /// Notes which counters have moved, and in which states flows are.
    fn note(&mut self) {
        let gauges = self.engine.gauges();
        let is_there = |state: &FlowState| gauges.flows[*state as usize] > 0;
        let states: Vec<u32> = FlowState::ALL.into_iter().filter(is_there).map(|state| state as u32).collect();
        for (index, (_, value)) in self.engine.counters().iter().enumerate() {
            match self.counted.get_mut(index) {
                None => self.counted.push(value),
                Some(before) if *before == value => continue,
                Some(before) => *before = value,
            }
            self.features.add_count(0x100 + index as u32, value);
            for state in &states {
                self.features.add(0x8000_0000 | (index as u32) << 8 | state);
            }
        }
    }
}
