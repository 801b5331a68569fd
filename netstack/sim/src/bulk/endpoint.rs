//! An engine whose applications send without end, or read what comes and compare it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::LazyLock;

use weir_packet::frame::ChecksumStatus;
use weir_packet::{Chunk, Pool};
use weir_socket::{Event, FlowId, Instant, Readiness, Received, Token};
use weir_tcp::{Config, Engine, Inbound, NextHop};

use super::wire::Segment;
use crate::random::Random;

/// Bytes after which the stream repeats itself: a prime, so that no power of two, no segment and no train divides it.
const PERIOD: usize = 65_521;

/// The stream, once; it never changes, so that a queue of megabytes takes no memory.
static STREAM: LazyLock<&'static [u8]> = LazyLock::new(|| {
    let mut random = Random::new(7);
    Vec::leak((0..PERIOD).map(|_| random.bits() as u8).collect())
});

pub(super) struct Endpoint {
    pub engine: Engine,
    pool: Pool,
    /// Bytes read of each flow.
    readers: BTreeMap<FlowId, (Option<SocketAddr>, u64)>,
    /// The device is looked at again then.
    pub looks_again_ns: u64,
    /// The application did something since the last turn.
    pub is_touched: bool,
}

impl Endpoint {
    pub fn new(config: Config, buffers: usize) -> Self {
        let pool = Pool::with_capacity(buffers).expect("memory for the pool");
        let engine = Engine::new(config, pool.clone());
        Self { engine, pool, readers: BTreeMap::new(), looks_again_ns: 0, is_touched: false }
    }

    pub fn next_deadline_ns(&self) -> Option<u64> {
        self.engine.next_deadline().map(Instant::as_nanos)
    }

    pub fn connect(&mut self, now: Instant, local: SocketAddr, remote: SocketAddr) {
        self.engine.set_now(now);
        self.engine.connect(local, remote, Token(1)).expect("a free pair of addresses");
        self.is_touched = true;
    }

    /// Bytes read of the flow with this peer.
    pub fn bytes_of(&self, peer: SocketAddr) -> u64 {
        self.readers.values().filter(|(who, _)| *who == Some(peer)).map(|(_, read)| read).sum()
    }

    pub fn receive(&mut self, segment: &Segment) {
        let mut packet = None;
        for part in segment.bytes.chunks(1_800) {
            let Some(mut next) = self.pool.allocate() else { return };
            next.extend_from_slice(part).expect("a buffer of 2 KiB");
            match &mut packet {
                None => packet = Some(next),
                Some(first) => first.append(next),
            }
        }
        let (Some(packet), Some((source, destination))) = (packet, segment.source) else { return };
        let (next_hop, checksum) = (NextHop(1), ChecksumStatus::Verified);
        self.engine.handle_segment(Inbound { source, destination, next_hop, ecn: segment.ecn, checksum, packet });
    }

    /// A turn, up to what is sent.
    pub fn turn(&mut self) -> Result<(), String> {
        self.is_touched = false;
        self.engine.handle_timers();
        while let Some(event) = self.engine.poll_event() {
            match event {
                Event::Acceptable { listener, .. } => {
                    while let Some(flow) = self.engine.accept(listener, Token(2)) {
                        let peer = self.engine.peer_address(flow);
                        self.readers.insert(flow, (peer, 0));
                        self.read(flow)?;
                    }
                }
                Event::Flow { flow, ready, .. } => {
                    if ready.contains(Readiness::CLOSED) {
                        return Err("a flow ended".into());
                    }
                    self.read(flow)?;
                    self.fill(flow);
                }
            }
        }
        Ok(())
    }

    fn fill(&mut self, flow: FlowId) {
        if !self.readers.contains_key(&flow) {
            while self.engine.send(flow, Chunk::from_static(*STREAM)).is_ok() {}
        }
    }

    fn read(&mut self, flow: FlowId) -> Result<(), String> {
        let Some((_, read)) = self.readers.get_mut(&flow) else { return Ok(()) };
        while let Received::Data(chunk) = self.engine.receive(flow) {
            let mut bytes = &chunk[..];
            while !bytes.is_empty() {
                let at = (*read % PERIOD as u64) as usize;
                let (part, rest) = bytes.split_at(bytes.len().min(PERIOD - at));
                if part != &STREAM[at..at + part.len()] {
                    return Err(format!("wrong bytes at {read} of a stream"));
                }
                *read += part.len() as u64;
                bytes = rest;
            }
        }
        Ok(())
    }
}
