//! Weir's end: an engine, and IP headers around its segments.

use std::net::{IpAddr, SocketAddr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpProtocol, IpRepr, Ipv4Packet, Ipv6Packet};
use weir_packet::frame::ChecksumStatus;
use weir_packet::{Chunk, Packet, Pool};
use weir_socket::{Event, FlowId, Instant, Received, Token};
use weir_tcp::{Config, Counter, Ecn, EmitError, Engine, Inbound, Link, NextHop, Outbound};

use crate::Talk;
use crate::way::{To, Way};

pub struct Weir {
    engine: Engine,
    pool: Pool,
    local: SocketAddr,
    flow: Option<FlowId>,
    is_closed: bool,
    pub talk: Talk,
}

struct Port<'w>(&'w mut Way);

impl Link for Port<'_> {
    fn room(&self) -> usize {
        256
    }

    fn mtu(&self, _: IpAddr) -> u16 {
        1_500
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
        let mut bytes = head.to_vec();
        payload.for_each(|piece| bytes.extend_from_slice(&piece));
        let (source, destination) = (segment.source.to_ip().into(), segment.destination.to_ip().into());
        let header = IpRepr::new(source, destination, IpProtocol::Tcp, bytes.len(), 64);
        let mut packet = vec![0; header.header_len()];
        header.emit(&mut packet, &ChecksumCapabilities::default());
        packet.extend_from_slice(&bytes);
        self.0.send(To::Oracle, packet);
        Ok(())
    }
}

/// Source, destination and segment of a packet; none when it is damaged, as far as its header tells.
fn parse(packet: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    if packet.first()? >> 4 == 4 {
        let ip = Ipv4Packet::new_checked(packet).ok().filter(Ipv4Packet::verify_checksum)?;
        (ip.next_header() == IpProtocol::Tcp).then(|| (ip.src_addr().into(), ip.dst_addr().into(), ip.payload()))
    } else {
        let ip = Ipv6Packet::new_checked(packet).ok()?;
        (ip.next_header() == IpProtocol::Tcp).then(|| (ip.src_addr().into(), ip.dst_addr().into(), ip.payload()))
    }
}

impl Weir {
    pub fn new(local: SocketAddr, seed: u64, talk: Talk) -> Self {
        let pool = Pool::with_capacity(1_024).expect("memory");
        let mut config = Config { seed: [seed, 2, 3, 4], flows_max: 16, time_wait_max: 16, ..Config::default() };
        config.send_queue_max = 128 << 10;
        Self { engine: Engine::new(config, pool.clone()), pool, local, flow: None, is_closed: false, talk }
    }

    pub fn listen(&mut self) {
        self.engine.listen(self.local, Token(0)).expect("a free port");
    }

    pub fn connect(&mut self, remote: SocketAddr) {
        self.flow = Some(self.engine.connect(self.local, remote, Token(0)).expect("a flow"));
    }

    pub fn turn(&mut self, now_ns: u64, way: &mut Way) -> Result<(), String> {
        self.engine.set_now(Instant::from_nanos(now_ns));
        while let Some(bytes) = way.take(To::Weir) {
            let Some((source, destination, segment)) = parse(&bytes) else { continue };
            let mut packet = self.pool.allocate().ok_or("no buffer")?;
            packet.extend_from_slice(segment).map_err(|_| "a segment longer than a buffer")?;
            let (next_hop, ecn, checksum) = (NextHop(1), Ecn::NotCapable, ChecksumStatus::Unverified);
            let (source, destination) = (source.into(), destination.into());
            self.engine.handle_segment(Inbound { source, destination, next_hop, ecn, checksum, packet });
        }
        self.engine.handle_timers();
        while let Some(event) = self.engine.poll_event() {
            if let Event::Acceptable { listener, .. } = event {
                self.flow = self.flow.or_else(|| self.engine.accept(listener, Token(0)));
            }
        }
        self.talk()?;
        self.engine.poll_transmit(&mut Port(way));
        Ok(())
    }

    fn talk(&mut self) -> Result<(), String> {
        let Some(flow) = self.flow.filter(|_| !self.is_closed) else { return Ok(()) };
        loop {
            match self.engine.receive(flow) {
                Received::Data(chunk) => self.talk.received.extend_from_slice(&chunk),
                Received::Nothing => break,
                Received::End => break self.talk.saw_end = true,
                Received::Closed(reason) => return Err(format!("Weir's flow ended: {reason}, {}", self.describe())),
            }
        }
        while !self.talk.unsent().is_empty() && self.engine.send_room(flow) > 0 {
            let mut packet = self.pool.allocate().ok_or("no buffer")?;
            let part = self.talk.unsent();
            let len = part.len().min(1_400);
            packet.extend_from_slice(&part[..len]).map_err(|_| "a buffer of 2 KiB")?;
            self.engine.send(flow, packet.freeze()).map_err(|error| format!("{error:?}"))?;
            self.talk.sent += len;
        }
        if self.talk.should_end() {
            self.engine.shutdown(flow);
            self.talk.has_ended = true;
        }
        if self.talk.has_ended && self.talk.saw_end {
            self.engine.close(flow);
            self.is_closed = true;
        }
        Ok(())
    }

    /// The flow was closed, and nothing of it is left but a TIME-WAIT record.
    pub fn is_gone(&self) -> bool {
        self.is_closed && self.engine.gauges().flows.iter().sum::<u32>() == 0
    }

    pub fn next_deadline_ns(&self) -> Option<u64> {
        self.engine.next_deadline().map(Instant::as_nanos)
    }

    pub fn retransmitted(&self) -> u64 {
        self.engine.counters().get(Counter::SegmentsRetransmitted)
    }

    pub fn check_empty(&self) -> Result<(), String> {
        let gauges = self.engine.gauges();
        match (gauges.send_queued, gauges.receive_queued, self.pool.in_use()) {
            (0, 0, 0) => Ok(()),
            rest => Err(format!("something is left: {rest:?}")),
        }
    }

    pub fn describe(&self) -> String {
        let Talk { sent, received, has_ended, saw_end, .. } = &self.talk;
        let counters: Vec<_> = self.engine.counters().iter().filter(|(_, value)| *value > 0).collect();
        format!("sent {sent}, received {}, ended {has_ended}, saw end {saw_end}, {counters:?}", received.len())
    }
}
