//! The way in: from Ethernet frame to the protocol that it is for, or to the core that owns its flow.
//!
//! Each header is parsed once, into a value; the frame stays where the device has put it, and is trimmed step by step.

use core::net::{IpAddr, SocketAddr};

use weir_packet::Packet;
use weir_packet::frame::RxFrame;
use weir_packet::handoff::Foreign;
use weir_tcp::{Ecn, Inbound, NextHop};

use crate::counters::{DropReason, Event};
use crate::ethernet;
use crate::icmpv4;
use crate::ipv4::{self, Ports, protocol};
use crate::ipv6;
use crate::message::Message;
use crate::shard::Shard;
use crate::udp::Arrival;

/// Bytes of a TCP header without options (RFC 9293 3.1).
const TCP_HEADER_BYTES: usize = 20;

/// Where a frame came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From this core's queue of the device.
    Wire,
    /// From another core, which says that it is ours, or home from all others, whose it is not: it goes nowhere else.
    Ring,
}

/// A TCP segment that still lies in its frame.
struct Segment {
    source: IpAddr,
    destination: IpAddr,
    ports: Ports,
    ecn: Ecn,
    next_hop: NextHop,
    /// Bytes of all headers in front of TCP's.
    offset: usize,
    len: usize,
}

impl Shard {
    /// Takes one frame from Ethernet on.
    #[inline(always)]
    pub(crate) fn take_frame(&mut self, frame: RxFrame, origin: Origin) {
        let bytes: &[u8] = &frame.packet;
        let Some(link) = ethernet::Header::parse(bytes) else {
            return self.network.drop_for(DropReason::Truncated);
        };
        if link.destination != self.network.mac && !link.is_group() {
            return self.network.drop_for(DropReason::OtherStation);
        }
        let result = match link.ether_type {
            ethernet::IPV4 => ipv4::Header::parse(bytes, || frame.packet.frame_len())
                .and_then(|(header, ports)| self.receive_ipv4(link, header, ports, frame, origin)),
            ethernet::IPV6 => self.receive_ipv6(link, frame, origin),
            ethernet::ARP => self.receive_arp(link, frame),
            _ => Err(DropReason::UnknownEtherType),
        };
        if let Err(reason) = result {
            self.network.drop_for(reason);
        }
    }

    #[cold]
    fn receive_arp(&mut self, link: ethernet::Header, frame: RxFrame) -> Result<(), DropReason> {
        if let Err(conflict) = self.network.receive_arp(link, &frame.packet) {
            self.meet_rival(IpAddr::V4(conflict.address), conflict.mac);
        }
        self.after_neighbour_news();
        Ok(())
    }

    #[inline(always)]
    fn receive_ipv4(
        &mut self,
        link: ethernet::Header,
        header: ipv4::Header,
        ports: Ports,
        frame: RxFrame,
        origin: Origin,
    ) -> Result<(), DropReason> {
        if !self.network.addresses.is_ours_v4(header.destination) {
            return self.receive_ipv4_elsewhere(header, ports, frame, origin);
        }
        // A unicast packet in a frame to everybody is answered by nobody (RFC 1122 3.3.6).
        if link.is_group() {
            return Err(DropReason::Martian);
        }
        match header.protocol {
            protocol::TCP => {
                let next_hop = self.network.way_back_v4(header.source, link.source).ok_or(DropReason::Martian)?;
                let segment = Segment {
                    source: IpAddr::V4(header.source),
                    destination: IpAddr::V4(header.destination),
                    ports,
                    ecn: Ecn::from_bits(header.ecn),
                    next_hop,
                    offset: ethernet::HEADER_BYTES + ipv4::HEADER_BYTES,
                    len: header.payload_len,
                };
                self.receive_segment(segment, frame, origin)
            }
            _ if !self.network.addresses.is_source_v4(header.source) => Err(DropReason::Martian),
            protocol::ICMP => self.receive_icmpv4(link, header, frame.packet),
            protocol::UDP => self.receive_udp(arrival_v4(&header, ports, origin), frame),
            _ => Err(DropReason::UnknownProtocol),
        }
    }

    /// A packet to an address that is not ours: a DHCP server may talk to a client that has none yet (RFC 2131 4.1).
    #[cold]
    fn receive_ipv4_elsewhere(
        &mut self,
        header: ipv4::Header,
        ports: Ports,
        frame: RxFrame,
        origin: Origin,
    ) -> Result<(), DropReason> {
        let destination = header.destination;
        if header.protocol == protocol::UDP && !destination.is_loopback() && !destination.is_multicast() {
            return self.receive_dhcp(arrival_v4(&header, ports, origin), frame);
        }
        if destination.is_loopback()
            || destination.is_unspecified()
            || !self.network.addresses.is_source_v4(header.source)
        {
            return Err(DropReason::Martian);
        }
        Err(DropReason::OtherHost)
    }

    #[inline(always)]
    fn receive_segment(&mut self, segment: Segment, frame: RxFrame, origin: Origin) -> Result<(), DropReason> {
        let RxFrame { mut packet, checksum } = frame;
        let Segment { source, destination, ports, ecn, next_hop, offset, len } = segment;
        if len < TCP_HEADER_BYTES {
            return Err(DropReason::Truncated);
        }
        if origin == Origin::Wire
            && let Some(owner) = self.steering.other_owner(source, ports)
        {
            let ends = (SocketAddr::new(destination, ports.destination), SocketAddr::new(source, ports.source));
            if !self.engine.owns(ends.0, ends.1) {
                if self.steering.is_mispredicted(ends.1, ends.0, owner) {
                    self.network.count(Event::Mispredicted);
                }
                self.forward(owner, RxFrame { packet, checksum });
                return Ok(());
            }
        }
        trim(&mut packet, offset, len)?;
        let (source, destination) = (source.into(), destination.into());
        let inbound = Inbound { source, destination, next_hop, ecn, checksum, packet };
        let may_stray = origin == Origin::Wire && self.steering.has_strays();
        if let Err(packet) = self.engine.offer_segment(inbound, may_stray) {
            return self.receive_unclaimed(ports.destination, offset, RxFrame { packet, checksum });
        }
        self.network.count(Event::SegmentLocal);
        Ok(())
    }

    /// Passes a frame to the core that owns its flow.
    #[cold]
    pub(crate) fn forward(&mut self, owner: usize, frame: RxFrame) {
        let RxFrame { packet, checksum } = frame;
        let home = self.network.core as u16;
        self.network.count(Event::FrameForwarded);
        self.network.tell(owner, Message::Frame { frame: Foreign::new(packet), checksum, home });
    }

    #[cold]
    fn receive_icmpv4(
        &mut self,
        link: ethernet::Header,
        header: ipv4::Header,
        mut packet: Packet,
    ) -> Result<(), DropReason> {
        if packet.is_chain() {
            return Err(DropReason::IcmpIgnored);
        }
        packet.trim_front(ethernet::HEADER_BYTES + ipv4::HEADER_BYTES).map_err(|_| DropReason::Truncated)?;
        packet.truncate(header.payload_len);
        match icmpv4::receive(&packet, header.destination)? {
            icmpv4::Received::Done => Ok(()),
            icmpv4::Received::Echo => {
                if !self.echo_limit.allow(self.network.now) {
                    return Err(DropReason::IcmpRateLimited);
                }
                self.network.reply_echo(packet, header, link.source);
                Ok(())
            }
            icmpv4::Received::Error(error) => self.receive_icmp_error(error),
        }
    }

    /// Gives an ICMP error to the flow that it is about: here, or on the core that owns it, or on whichever has it.
    pub(crate) fn receive_icmp_error(&mut self, error: weir_tcp::IcmpError) -> Result<(), DropReason> {
        if self.engine.owns(error.local, error.remote) {
            self.network.count(Event::IcmpErrorDelivered);
            self.engine.handle_icmp_error(error);
            return Ok(());
        }
        if self.network.cores == 1 || !self.error_limit.allow(self.network.now) {
            return Err(DropReason::IcmpErrorStray);
        }
        let ports = Ports { source: error.remote.port(), destination: error.local.port() };
        match self.steering.other_owner(error.remote.ip(), ports) {
            Some(owner) => self.network.tell(owner, Message::IcmpError(error)),
            None => self.network.tell_others(|| Message::IcmpError(error)),
        }
        Ok(())
    }

    #[inline(never)]
    fn receive_ipv6(&mut self, link: ethernet::Header, frame: RxFrame, origin: Origin) -> Result<(), DropReason> {
        const OFFSET: usize = ethernet::HEADER_BYTES + ipv6::HEADER_BYTES;
        let packet = frame.packet.get(ethernet::HEADER_BYTES..).unwrap_or_default();
        let header = ipv6::Header::parse(packet, frame.packet.frame_len() - ethernet::HEADER_BYTES)?;
        if header.protocol == protocol::ICMPV6 {
            return self.receive_icmpv6(link, header, frame.packet);
        }
        if !self.network.addresses.is_ours_v6(header.destination) {
            let is_martian = header.destination.is_loopback() || header.destination.is_unspecified();
            return Err(if is_martian { DropReason::Martian } else { DropReason::OtherHost });
        }
        if link.is_group() || !self.network.addresses.is_source_v6(header.source) {
            return Err(DropReason::Martian);
        }
        if header.protocol != protocol::TCP && header.protocol != protocol::UDP {
            return Err(DropReason::UnknownProtocol);
        }
        let ports = frame.packet.get(OFFSET..).and_then(Ports::parse).ok_or(DropReason::Truncated)?;
        if header.protocol == protocol::UDP {
            let arrival = Arrival {
                source: (header.source, ports.source).into(),
                destination: (header.destination, ports.destination).into(),
                offset: OFFSET,
                len: header.payload_len,
                origin,
            };
            return self.receive_udp(arrival, frame);
        }
        let segment = Segment {
            source: IpAddr::V6(header.source),
            destination: IpAddr::V6(header.destination),
            ports,
            ecn: Ecn::from_bits(header.ecn),
            next_hop: self.network.way_back_v6(header.source, link.source),
            offset: OFFSET,
            len: header.payload_len,
        };
        self.receive_segment(segment, frame, origin)
    }
}

/// Where a datagram over IPv4 comes from and goes to.
fn arrival_v4(header: &ipv4::Header, ports: Ports, origin: Origin) -> Arrival {
    Arrival {
        source: (header.source, ports.source).into(),
        destination: (header.destination, ports.destination).into(),
        offset: ethernet::HEADER_BYTES + ipv4::HEADER_BYTES,
        len: header.payload_len,
        origin,
    }
}

/// Cuts off what is in front of the segment, and what follows it: Ethernet's padding.
#[inline(always)]
fn trim(packet: &mut Packet, offset: usize, len: usize) -> Result<(), DropReason> {
    if packet.is_chain() {
        packet.trim_front(offset).map_err(|_| DropReason::Truncated)?;
        trim_chain(packet, len);
        return Ok(());
    }
    packet.narrow(offset..offset + len).map_err(|_| DropReason::Truncated)
}

#[cold]
fn trim_chain(packet: &mut Packet, len: usize) {
    let mut rest = packet.take_rest();
    let mut left = len.saturating_sub(packet.len());
    packet.truncate(len);
    while let Some(mut part) = rest {
        rest = part.take_rest();
        if left == 0 {
            return;
        }
        part.truncate(left);
        left -= part.len();
        packet.append(part);
    }
}
