//! A device that records, a peer that speaks smoltcp, and a shard between them.

use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, IpProtocol,
    Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
};
use weir_packet::frame::{Capabilities, ChecksumStatus, Offload, RxFrame, Transmit, TransmitError};
use weir_packet::{Chunk, Packet, Pool};
use weir_socket::Instant;

use crate::{DropReason, Event, Ipv4Configuration, Ipv4Source, Ipv6Source, Shard, ShardConfig};

pub const OUR_MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];
pub const PEER_MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 9];
pub const US: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub const POOL_BUFFERS: usize = 256;

/// A device without bounds that keeps what it is given, as it would be on the wire.
pub struct Recorder {
    pub capabilities: Capabilities,
    pub frames: Vec<Vec<u8>>,
    pub room: usize,
}

impl Transmit for Recorder {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn room(&self) -> usize {
        self.room
    }

    fn transmit<P>(&mut self, head: Packet, payload: P, offload: Offload) -> Result<(), TransmitError>
    where
        P: ExactSizeIterator<Item = Chunk>,
    {
        assert!(head.headroom() >= 12, "no room for the device's own header");
        let mut frame = head.to_vec();
        payload.for_each(|chunk| frame.extend_from_slice(&chunk));
        if let Some(checksum) = offload.checksum {
            assert!(self.capabilities.transmit_checksum);
            let start = usize::from(checksum.start);
            let field = start + usize::from(checksum.offset);
            let sum = crate::checksum::Sum::ZERO.add(&frame[start..]).checksum();
            frame[field..field + 2].copy_from_slice(&sum);
        }
        self.frames.push(frame);
        Ok(())
    }
}

/// A shard with its device and its pool.
pub struct Host {
    pub shard: Shard,
    pub device: Recorder,
    pub pool: Pool,
    pub now: Instant,
}

pub fn capabilities() -> Capabilities {
    Capabilities { mac: OUR_MAC, mtu: 1500, transmit_checksum: false, tso4: false, tso6: false }
}

pub fn configuration() -> Ipv4Configuration {
    Ipv4Configuration::new(US, 24).with_gateway(ROUTER)
}

impl Host {
    /// A host at [`US`], alone on its core, whose boot chatter is over.
    pub fn new() -> Self {
        let mut host = Self::with(0, 1, Ipv4Source::Static(configuration()));
        host.turn();
        host.device.frames.clear();
        host
    }

    pub fn with(core: usize, cores: usize, ipv4: Ipv4Source) -> Self {
        Self::with_device(core, cores, ipv4, capabilities())
    }

    pub fn with_device(core: usize, cores: usize, ipv4: Ipv4Source, device: Capabilities) -> Self {
        let pool = Pool::with_capacity(POOL_BUFFERS).expect("memory");
        let mut config = ShardConfig::new(core, cores, [1, 2, 3, 4 + core as u64], device);
        config.ipv4 = ipv4;
        config.ipv6 = Ipv6Source::None;
        config.neighbours_max = 64;
        config.tcp.flows_max = 64;
        config.tcp.half_open_max = 64;
        config.tcp.time_wait_max = 64;
        let shard = Shard::new(config, pool.clone());
        let device = Recorder { capabilities: device, frames: Vec::new(), room: 64 };
        let mut host = Self { shard, device, pool, now: Instant::from_nanos(1_000_000_000) };
        host.shard.set_now(host.now);
        host
    }

    /// The frame arrives.
    pub fn receive(&mut self, frame: &[u8]) {
        self.receive_as(frame, ChecksumStatus::Unverified);
    }

    pub fn receive_as(&mut self, frame: &[u8], checksum: ChecksumStatus) {
        let packet = self.packet(frame);
        self.shard.handle_frame(RxFrame { packet, checksum });
    }

    /// The frame in buffers of the pool, as a virtio device leaves it: behind the place of a header of its own.
    pub fn packet(&self, frame: &[u8]) -> Packet {
        let mut parts = frame.chunks(1900);
        let mut packet = self.pool.allocate_whole().expect("a buffer");
        packet.truncate(12 + parts.next().map_or(0, <[u8]>::len));
        packet.trim_front(12).expect("within");
        packet.copy_from_slice(&frame[..frame.len().min(1900)]);
        for part in parts {
            let mut next = self.pool.allocate().expect("a buffer");
            next.extend_from_slice(&part[..part.len().min(next.tailroom())]).expect("fits");
            let rest = part.len() - next.len();
            packet.append(next);
            if rest > 0 {
                let mut last = self.pool.allocate().expect("a buffer");
                last.extend_from_slice(&part[part.len() - rest..]).expect("fits");
                packet.append(last);
            }
        }
        packet
    }

    /// The rest of a turn: timers and transmission.
    pub fn turn(&mut self) {
        self.shard.handle_timers();
        self.shard.poll_transmit(&mut self.device);
    }

    /// Time passes, and a turn with it.
    pub fn advance(&mut self, by: Duration) {
        self.now = self.now + by;
        self.shard.set_now(self.now);
        self.turn();
    }

    /// What was sent since the last call.
    pub fn sent(&mut self) -> Vec<Vec<u8>> {
        self.turn();
        core::mem::take(&mut self.device.frames)
    }

    /// The only frame that was sent since the last call.
    pub fn sent_one(&mut self) -> Vec<u8> {
        let mut frames = self.sent();
        assert_eq!(frames.len(), 1, "{frames:02x?}");
        frames.remove(0)
    }

    pub fn drops(&self, reason: DropReason) -> u64 {
        self.shard.counters().drops_for(reason)
    }

    pub fn events(&self, event: Event) -> u64 {
        self.shard.counters().events_of(event)
    }

    /// The peer becomes a neighbour that has answered.
    pub fn introduce_peer(&mut self) {
        self.receive(&arp(ArpOperation::Request, PEER_MAC, PEER, [0; 6], US));
        self.sent();
    }
}

pub fn ethernet(destination: [u8; 6], source: [u8; 6], ethertype: EthernetProtocol, payload: &[u8]) -> Vec<u8> {
    let repr = EthernetRepr { src_addr: EthernetAddress(source), dst_addr: EthernetAddress(destination), ethertype };
    let mut bytes = vec![0; 14 + payload.len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    repr.emit(&mut frame);
    frame.payload_mut().copy_from_slice(payload);
    bytes
}

pub fn arp(
    operation: ArpOperation,
    sender_mac: [u8; 6],
    sender: Ipv4Addr,
    target_mac: [u8; 6],
    target: Ipv4Addr,
) -> Vec<u8> {
    let repr = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: EthernetAddress(sender_mac),
        source_protocol_addr: sender,
        target_hardware_addr: EthernetAddress(target_mac),
        target_protocol_addr: target,
    };
    let mut bytes = vec![0; 28];
    repr.emit(&mut ArpPacket::new_unchecked(&mut bytes[..]));
    let destination = if operation == ArpOperation::Request { [0xff; 6] } else { OUR_MAC };
    ethernet(destination, sender_mac, EthernetProtocol::Arp, &bytes)
}

pub fn read_arp(frame: &[u8]) -> (EthernetRepr, ArpRepr) {
    let frame = EthernetFrame::new_checked(frame).expect("an Ethernet frame");
    let repr = EthernetRepr::parse(&frame).expect("a header");
    assert_eq!(repr.ethertype, EthernetProtocol::Arp);
    let packet = ArpPacket::new_checked(frame.payload()).expect("an ARP packet");
    (repr, ArpRepr::parse(&packet).expect("ARP for IPv4"))
}

/// An IPv4 packet from the peer in a frame to us.
pub fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: IpProtocol, payload: &[u8]) -> Vec<u8> {
    let repr = Ipv4Repr {
        src_addr: source,
        dst_addr: destination,
        next_header: protocol,
        payload_len: payload.len(),
        hop_limit: 64,
    };
    let mut bytes = vec![0; repr.buffer_len() + payload.len()];
    let mut packet = Ipv4Packet::new_unchecked(&mut bytes[..]);
    repr.emit(&mut packet, &ChecksumCapabilities::default());
    packet.payload_mut().copy_from_slice(payload);
    ethernet(OUR_MAC, PEER_MAC, EthernetProtocol::Ipv4, &bytes)
}

/// An IPv6 packet from the peer in a frame to us.
pub fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, protocol: IpProtocol, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let repr = Ipv6Repr {
        src_addr: source,
        dst_addr: destination,
        next_header: protocol,
        payload_len: payload.len(),
        hop_limit,
    };
    let mut bytes = vec![0; repr.buffer_len() + payload.len()];
    let mut packet = Ipv6Packet::new_unchecked(&mut bytes[..]);
    repr.emit(&mut packet);
    packet.payload_mut().copy_from_slice(payload);
    ethernet(OUR_MAC, PEER_MAC, EthernetProtocol::Ipv6, &bytes)
}

/// A segment from one port to another that says nothing yet.
pub fn bare_segment<'a>(src_port: u16, dst_port: u16) -> TcpRepr<'a> {
    TcpRepr {
        src_port,
        dst_port,
        control: TcpControl::None,
        seq_number: TcpSeqNumber(1),
        ack_number: None,
        window_len: 60_000,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: b"",
    }
}

/// A TCP segment of the peer's, over IPv4.
pub fn tcp4(source: Ipv4Addr, destination: Ipv4Addr, segment: &TcpRepr<'_>) -> Vec<u8> {
    ipv4(source, destination, IpProtocol::Tcp, &tcp_bytes(source.into(), destination.into(), segment))
}

pub fn tcp_bytes(source: IpAddr, destination: IpAddr, segment: &TcpRepr<'_>) -> Vec<u8> {
    let mut bytes = vec![0; segment.buffer_len()];
    let mut packet = TcpPacket::new_unchecked(&mut bytes[..]);
    segment.emit(&mut packet, &source.into(), &destination.into(), &ChecksumCapabilities::default());
    bytes
}

/// Reads a frame with a TCP segment over IPv4, checksums verified; `read` gets the parsed segment.
pub fn read_tcp4<R>(bytes: &[u8], read: impl FnOnce(Ipv4Repr, TcpRepr<'_>) -> R) -> R {
    let frame = EthernetFrame::new_checked(bytes).expect("an Ethernet frame");
    let packet = Ipv4Packet::new_checked(frame.payload()).expect("an IPv4 packet");
    let checksums = ChecksumCapabilities::default();
    let ip = Ipv4Repr::parse(&packet, &checksums).expect("an intact header");
    assert!(packet.dont_frag());
    let tcp = TcpPacket::new_checked(packet.payload()).expect("a TCP segment");
    let (source, destination) = (ip.src_addr.into(), ip.dst_addr.into());
    let repr = TcpRepr::parse(&tcp, &source, &destination, &checksums).expect("an intact segment");
    read(ip, repr)
}
