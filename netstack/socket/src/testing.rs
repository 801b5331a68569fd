//! A [`Sockets`] in memory, for the tests of applications: the test plays every peer and the clock.
//!
//! ```text
//!   let mut net = FakeNet::new(64);
//!   app.start(&mut net);                          listens
//!   let peer = net.open("10.0.0.1:80");           a client connects
//!   net.deliver(peer, b"GET / HTTP/1.1\r\n...");  and sends
//!   while let Some(event) = net.poll_event() { app.handle(&mut net, event) }
//!   assert_eq!(net.take_sent(peer), b"HTTP/1.1 200 OK\r\n...");
//! ```
//!
//! Sent bytes stay queued, as unacknowledged ones do, until the test takes them.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use weir_packet::Pool;

use crate::{
    Chunk, CloseReason, ConnectError, Event, FlowId, Instant, ListenError, ListenerId, Packet, Readiness, Received,
    SendError, Sockets, SpliceStop, Spliced, Token,
};

/// Bytes a flow queues for sending before it refuses more, unless the test changes it.
const SEND_QUEUE_BYTES: usize = 64 * 1024;

/// The fake network of one core.
pub struct FakeNet {
    now: Instant,
    pool: Pool,
    listeners: BTreeMap<u32, Listener>,
    flows: BTreeMap<u32, Flow>,
    next_id: u32,
    events: VecDeque<Event>,
    send_queue_bytes: usize,
    refuse_connects: Option<ConnectError>,
}

/// The test's end of a flow. It stays valid after the application has closed its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer(u32);

struct Listener {
    local: SocketAddr,
    token: Token,
    waiting: VecDeque<u32>,
}

struct Flow {
    local: SocketAddr,
    remote: SocketAddr,
    token: Token,
    /// The application holds the id.
    held: bool,
    state: State,
    inbound: VecDeque<Chunk>,
    inbound_end: bool,
    outbound: VecDeque<Chunk>,
    outbound_end: bool,
    refused_send: bool,
    aborted: bool,
    timer: Option<Instant>,
    pending: Readiness,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    Established,
    Closed(CloseReason),
}

impl FakeNet {
    /// A network without flows, whose pool has `buffers` buffers.
    ///
    /// # Panics
    /// The host has no memory for the pool.
    #[must_use]
    pub fn new(buffers: usize) -> Self {
        Self {
            now: Instant::from_nanos(1_000_000_000),
            pool: Pool::with_capacity(buffers).expect("memory for the pool"),
            listeners: BTreeMap::new(),
            flows: BTreeMap::new(),
            next_id: 0,
            events: VecDeque::new(),
            send_queue_bytes: SEND_QUEUE_BYTES,
            refuse_connects: None,
        }
    }

    /// The pool from which the application's and the peers' buffers come.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Limits what each flow queues for sending.
    pub fn set_send_queue(&mut self, bytes: usize) {
        self.send_queue_bytes = bytes;
    }

    /// Lets every later connect fail at once.
    pub fn refuse_connects(&mut self, error: Option<ConnectError>) {
        self.refuse_connects = error;
    }

    /// A client connects to `local`, from an address of its own.
    ///
    /// # Panics
    /// Nobody listens there.
    pub fn open(&mut self, local: SocketAddr) -> Peer {
        let port = 40_000 + u16::try_from(self.next_id % 20_000).expect("small");
        let remote = match local {
            SocketAddr::V4(_) => SocketAddr::from(([192, 0, 2, 1], port)),
            SocketAddr::V6(_) => SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0xffff, 0xffff, 0xffff, 0xffff], port)),
        };
        let id = self.insert(local, remote, State::Established);
        let (&listener, entry) =
            self.listeners.iter_mut().find(|(_, l)| listens_for(l.local, local)).expect("somebody listens");
        entry.waiting.push_back(id);
        let event = Event::Acceptable { listener: ListenerId(listener), token: entry.token };
        self.events.push_back(event);
        Peer(id)
    }

    /// Whether somebody listens at `local`.
    #[must_use]
    pub fn listens(&self, local: SocketAddr) -> bool {
        self.listeners.values().any(|listener| listens_for(listener.local, local))
    }

    /// Flows that the application opened and that wait for [`establish`](Self::establish) or [`fail`](Self::fail).
    #[must_use]
    pub fn connecting(&self) -> Vec<(Peer, SocketAddr)> {
        let waiting = self.flows.iter().filter(|(_, f)| f.held && f.state == State::Connecting);
        waiting.map(|(&id, f)| (Peer(id), f.remote)).collect()
    }

    /// The application's end of the flow.
    #[must_use]
    pub fn local_of(&self, peer: Peer) -> Option<SocketAddr> {
        self.flows.get(&peer.0).map(|flow| flow.local)
    }

    /// The peer accepts the application's connect.
    pub fn establish(&mut self, peer: Peer) {
        self.flow_mut(peer).state = State::Established;
        self.signal(peer.0, Readiness::WRITABLE);
    }

    /// The flow ends for `reason`; what it had queued is lost.
    pub fn fail(&mut self, peer: Peer, reason: CloseReason) {
        let flow = self.flow_mut(peer);
        flow.state = State::Closed(reason);
        flow.outbound.clear();
        self.signal(peer.0, Readiness::CLOSED);
    }

    /// The peer sends `bytes`, in buffers of the pool.
    ///
    /// # Panics
    /// The pool is empty.
    pub fn deliver(&mut self, peer: Peer, bytes: &[u8]) {
        for part in bytes.chunks(1448) {
            let mut packet = self.pool.allocate().expect("a free buffer");
            packet.extend_from_slice(part).expect("a segment fits into a buffer");
            self.flow_mut(peer).inbound.push_back(packet.freeze());
        }
        self.signal(peer.0, Readiness::READABLE);
    }

    /// The peer ends its direction.
    pub fn deliver_end(&mut self, peer: Peer) {
        self.flow_mut(peer).inbound_end = true;
        self.signal(peer.0, Readiness::READABLE);
    }

    /// What the application sent since the last call: received and acknowledged by the peer.
    pub fn take_sent(&mut self, peer: Peer) -> Vec<u8> {
        let flow = self.flow_mut(peer);
        let mut bytes = Vec::new();
        for chunk in flow.outbound.drain(..) {
            bytes.extend_from_slice(&chunk);
        }
        let writable = core::mem::take(&mut flow.refused_send);
        if writable {
            self.signal(peer.0, Readiness::WRITABLE);
        }
        bytes
    }

    /// Whether the application ended its direction (by shutdown or close).
    #[must_use]
    pub fn sent_end(&self, peer: Peer) -> bool {
        self.flows[&peer.0].outbound_end
    }

    /// Whether the application reset the flow.
    #[must_use]
    pub fn was_aborted(&self, peer: Peer) -> bool {
        self.flows[&peer.0].aborted
    }

    /// Whether the application still holds the flow.
    #[must_use]
    pub fn is_held(&self, peer: Peer) -> bool {
        self.flows[&peer.0].held
    }

    /// Flows that the application holds.
    #[must_use]
    pub fn held_flows(&self) -> usize {
        self.flows.values().filter(|f| f.held).count()
    }

    /// Time passes, and timers that are due fire.
    pub fn advance(&mut self, by: Duration) {
        self.now = self.now + by;
        let due: Vec<u32> =
            self.flows.iter().filter(|(_, f)| f.timer.is_some_and(|t| t <= self.now)).map(|(&id, _)| id).collect();
        for id in due {
            self.flow_mut(Peer(id)).timer = None;
            self.signal(id, Readiness::TIMER);
        }
    }

    fn insert(&mut self, local: SocketAddr, remote: SocketAddr, state: State) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        let flow = Flow {
            local,
            remote,
            token: Token::default(),
            held: false,
            state,
            inbound: VecDeque::new(),
            inbound_end: false,
            outbound: VecDeque::new(),
            outbound_end: false,
            refused_send: false,
            aborted: false,
            timer: None,
            pending: Readiness::NONE,
        };
        self.flows.insert(id, flow);
        id
    }

    fn signal(&mut self, id: u32, ready: Readiness) {
        let Some(flow) = self.flows.get_mut(&id).filter(|f| f.held) else { return };
        if flow.pending.is_none() {
            let (flow_id, token) = (FlowId::new(id, 0), flow.token);
            self.events.push_back(Event::Flow { flow: flow_id, token, ready: Readiness::NONE });
        }
        flow.pending |= ready;
    }

    fn flow_mut(&mut self, peer: Peer) -> &mut Flow {
        self.flows.get_mut(&peer.0).expect("a peer that this network made")
    }

    fn held(&self, flow: FlowId) -> Option<&Flow> {
        self.flows.get(&flow.index()).filter(|f| f.held)
    }

    fn held_mut(&mut self, flow: FlowId) -> Option<&mut Flow> {
        self.flows.get_mut(&flow.index()).filter(|f| f.held)
    }

    /// Whether the source has a buffer that the target takes.
    fn may_splice(&mut self, from: FlowId, to: FlowId) -> Result<(), SpliceStop> {
        let source = self.held(from).ok_or(SpliceStop::SourceClosed(CloseReason::Released))?;
        if source.inbound.is_empty() {
            return Err(match source.state {
                State::Closed(reason) => SpliceStop::SourceClosed(reason),
                _ if source.inbound_end => SpliceStop::End,
                _ => SpliceStop::Nothing,
            });
        }
        // Nothing is queued by an empty chunk, but a refusal is remembered.
        match self.send(to, Chunk::from_static(b"")) {
            Ok(()) => Ok(()),
            Err(SendError::Full(_)) => Err(SpliceStop::Full),
            Err(SendError::Closed(reason)) => Err(SpliceStop::TargetClosed(reason)),
        }
    }

    fn release(&mut self, flow: FlowId, abort: bool) {
        let Some(entry) = self.held_mut(flow) else { return };
        entry.held = false;
        entry.timer = None;
        entry.pending = Readiness::NONE;
        entry.outbound_end = true;
        entry.aborted |= abort || !entry.inbound.is_empty();
        entry.inbound.clear();
        if abort {
            entry.outbound.clear();
        }
        self.events.retain(|event| !matches!(event, Event::Flow { flow: other, .. } if *other == flow));
    }
}

fn listens_for(bound: SocketAddr, asked: SocketAddr) -> bool {
    bound.port() == asked.port() && (bound.ip() == asked.ip() || bound.ip().is_unspecified())
}

impl Sockets for FakeNet {
    fn now(&self) -> Instant {
        self.now
    }

    fn listen(&mut self, local: SocketAddr, token: Token) -> Result<ListenerId, ListenError> {
        if self.listeners.values().any(|l| l.local == local) {
            return Err(ListenError::AddressInUse);
        }
        let id = self.next_id;
        self.next_id += 1;
        self.listeners.insert(id, Listener { local, token, waiting: VecDeque::new() });
        Ok(ListenerId(id))
    }

    fn unlisten(&mut self, listener: ListenerId) {
        self.listeners.remove(&listener.0);
    }

    fn accept(&mut self, listener: ListenerId, token: Token) -> Option<FlowId> {
        let id = self.listeners.get_mut(&listener.0)?.waiting.pop_front()?;
        let flow = self.flow_mut(Peer(id));
        flow.held = true;
        flow.token = token;
        let readable = !flow.inbound.is_empty() || flow.inbound_end;
        if readable {
            self.signal(id, Readiness::READABLE);
        }
        Some(FlowId::new(id, 0))
    }

    fn connect_from(&mut self, sources: &[IpAddr], remote: SocketAddr, token: Token) -> Result<FlowId, ConnectError> {
        if let Some(error) = self.refuse_connects {
            return Err(error);
        }
        let port = 50_000 + u16::try_from(self.next_id % 10_000).expect("small");
        let source = sources.first().copied().unwrap_or(IpAddr::from([10, 0, 0, 1]));
        let id = self.insert(SocketAddr::new(source, port), remote, State::Connecting);
        let flow = self.flow_mut(Peer(id));
        flow.held = true;
        flow.token = token;
        Ok(FlowId::new(id, 0))
    }

    fn receive(&mut self, flow: FlowId) -> Received {
        let Some(entry) = self.held_mut(flow) else { return Received::Closed(CloseReason::Released) };
        if let Some(chunk) = entry.inbound.pop_front() {
            return Received::Data(chunk);
        }
        match entry.state {
            State::Closed(reason) => Received::Closed(reason),
            _ if entry.inbound_end => Received::End,
            _ => Received::Nothing,
        }
    }

    fn send(&mut self, flow: FlowId, chunk: Chunk) -> Result<(), SendError> {
        let limit = self.send_queue_bytes;
        let Some(entry) = self.held_mut(flow) else { return Err(SendError::Closed(CloseReason::Released)) };
        if let State::Closed(reason) = entry.state {
            return Err(SendError::Closed(reason));
        }
        if entry.outbound_end {
            return Err(SendError::Closed(CloseReason::Shutdown));
        }
        if entry.queued() >= limit {
            entry.refused_send = true;
            return Err(SendError::Full(chunk));
        }
        if !chunk.is_empty() {
            entry.outbound.push_back(chunk);
        }
        Ok(())
    }

    fn send_room(&self, flow: FlowId) -> usize {
        match self.held(flow) {
            Some(f) if !matches!(f.state, State::Closed(_)) && !f.outbound_end => {
                self.send_queue_bytes.saturating_sub(f.queued())
            }
            _ => 0,
        }
    }

    fn send_queued(&self, flow: FlowId) -> usize {
        self.held(flow).map_or(0, Flow::queued)
    }

    fn splice(&mut self, from: FlowId, to: FlowId, max: usize) -> Spliced {
        let mut moved = 0;
        let stop = loop {
            if moved == max {
                break SpliceStop::Limit(None);
            }
            if let Err(stop) = self.may_splice(from, to) {
                break stop;
            }
            let Received::Data(mut chunk) = self.receive(from) else { break SpliceStop::Nothing };
            let part = chunk.split_to(max - moved);
            moved += part.len();
            self.send(to, part).expect("room that was seen");
            if !chunk.is_empty() {
                break SpliceStop::Limit(Some(chunk));
            }
        };
        Spliced { moved, stop }
    }

    fn shutdown(&mut self, flow: FlowId) {
        if let Some(entry) = self.held_mut(flow) {
            entry.outbound_end = true;
        }
    }

    fn close(&mut self, flow: FlowId) {
        self.release(flow, false);
    }

    fn abort(&mut self, flow: FlowId) {
        self.release(flow, true);
    }

    fn set_timer(&mut self, flow: FlowId, deadline: Option<Instant>) {
        if let Some(entry) = self.held_mut(flow) {
            entry.timer = deadline;
        }
    }

    fn set_token(&mut self, flow: FlowId, token: Token) {
        if let Some(entry) = self.held_mut(flow) {
            entry.token = token;
        }
    }

    fn set_nagle(&mut self, _flow: FlowId, _on: bool) {}

    fn local_address(&self, flow: FlowId) -> Option<SocketAddr> {
        self.held(flow).map(|f| f.local)
    }

    fn peer_address(&self, flow: FlowId) -> Option<SocketAddr> {
        self.held(flow).map(|f| f.remote)
    }

    fn allocate(&mut self) -> Option<Packet> {
        self.pool.allocate()
    }

    fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        let Event::Flow { flow, .. } = event else { return Some(event) };
        let entry = self.held_mut(flow)?;
        let ready = core::mem::take(&mut entry.pending);
        Some(Event::Flow { flow, token: entry.token, ready })
    }
}

impl Flow {
    fn queued(&self) -> usize {
        self.outbound.iter().map(|chunk| chunk.len()).sum()
    }
}
