//! ICMP for IPv6 (RFC 4443) and neighbour discovery (RFC 4861): echo and neighbours are answered, errors about our
//! segments go to TCP, and routers' advertisements to their discovery.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, Icmpv6Message, Icmpv6Packet, Icmpv6Repr, NdiscNeighborFlags, NdiscRepr, RawHardwareAddress,
};
use weir_packet::Packet;
use weir_packet::frame::{ChecksumStatus, Offload, RxFrame};
use weir_tcp::{IcmpError, IcmpErrorKind, Unreachable};

use crate::checksum::Sum;
use crate::counters::{DropReason, Event};
use crate::ethernet::{self, Mac};
use crate::icmpv4::tcp_ends;
use crate::ipv4::protocol;
use crate::ipv6::{self, HOP_LIMIT_MAX};
use crate::neighbour::Confirmed;
use crate::network::Network;
use crate::router::RouterDiscovery;
use crate::shard::Shard;

/// Bytes in front of the message's body.
const HEADER_BYTES: usize = 8;
/// What every IPv6 link carries (RFC 8200 5): a smaller path MTU is not believed.
const PATH_MTU_MIN: u32 = 1_280;
/// All nodes of the link (RFC 4291 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// All routers of the link.
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

impl Shard {
    /// Takes a frame with an ICMPv6 message.
    #[cold]
    pub(crate) fn receive_icmpv6(
        &mut self,
        link: ethernet::Header,
        header: ipv6::Header,
        mut packet: Packet,
    ) -> Result<(), DropReason> {
        if packet.is_chain() {
            return Err(DropReason::IcmpIgnored);
        }
        let hop_limit = packet.get(ethernet::HEADER_BYTES + 7).copied();
        packet.trim_front(ethernet::HEADER_BYTES + ipv6::HEADER_BYTES).map_err(|_| DropReason::Truncated)?;
        packet.truncate(header.payload_len);
        let is_ours = self.network.addresses.is_ours_v6(header.destination);
        if !is_ours && !self.network.is_group_of_ours(header.destination) {
            return Err(DropReason::OtherHost);
        }
        let Some((first, body)) = packet.split_first_chunk::<HEADER_BYTES>() else {
            return Err(DropReason::IcmpIgnored);
        };
        let sum = Sum::ZERO.add(&packet).add_pseudo_header_v6(
            header.source.octets(),
            header.destination.octets(),
            packet.len() as u32,
            protocol::ICMPV6,
        );
        if !sum.is_intact() {
            return Err(DropReason::IcmpChecksum);
        }
        let (message, code) = (Icmpv6Message::from(first[0]), first[1]);
        match message {
            Icmpv6Message::EchoRequest if code == 0 && is_ours => {
                if !self.network.addresses.is_source_v6(header.source) {
                    return Err(DropReason::Martian);
                }
                if !self.echo_limit.allow(self.network.now) {
                    return Err(DropReason::IcmpRateLimited);
                }
                self.network.reply_echo_v6(packet, header, link.source);
                Ok(())
            }
            Icmpv6Message::NeighborSolicit | Icmpv6Message::NeighborAdvert
                if code == 0 && hop_limit == Some(HOP_LIMIT_MAX) =>
            {
                self.receive_neighbour_message(link, header, &packet)
            }
            // Core 0 decides what to make of it, wherever it arrived.
            Icmpv6Message::RouterAdvert if self.network.core != 0 => {
                packet.prepend(ethernet::HEADER_BYTES + ipv6::HEADER_BYTES).map_err(|_| DropReason::NoHeadroom)?;
                self.forward(0, RxFrame { packet, checksum: ChecksumStatus::Unverified });
                Ok(())
            }
            Icmpv6Message::RouterAdvert if code == 0 && hop_limit == Some(HOP_LIMIT_MAX) => {
                self.receive_router_advertisement(header.source, &packet)
            }
            Icmpv6Message::DstUnreachable | Icmpv6Message::PktTooBig if is_ours => {
                let mtu = u32::from_be_bytes([first[4], first[5], first[6], first[7]]);
                let kind = error_kind(message, code, mtu).ok_or(DropReason::IcmpIgnored)?;
                let (local, remote, sequence) = quoted(body).ok_or(DropReason::IcmpErrorInvalid)?;
                if local.ip() != IpAddr::V6(header.destination) {
                    return Err(DropReason::IcmpErrorInvalid);
                }
                self.receive_icmp_error(IcmpError { local, remote, sequence, kind })
            }
            _ => Err(DropReason::IcmpIgnored),
        }
    }

    fn receive_neighbour_message(
        &mut self,
        link: ethernet::Header,
        header: ipv6::Header,
        message: &[u8],
    ) -> Result<(), DropReason> {
        let packet = Icmpv6Packet::new_checked(message).map_err(|_| DropReason::Truncated)?;
        match NdiscRepr::parse(&packet).map_err(|_| DropReason::Truncated)? {
            NdiscRepr::NeighborSolicit { target_addr, lladdr } => {
                self.network.receive_solicitation(link, header, target_addr, lladdr.and_then(mac_of))
            }
            NdiscRepr::NeighborAdvert { flags, target_addr, lladdr } => {
                let mac = lladdr.and_then(mac_of).unwrap_or(link.source);
                if self.network.addresses.is_ours_v6(target_addr) {
                    if mac == self.network.mac {
                        return Ok(());
                    }
                    self.network.count(Event::AddressConflict);
                    self.meet_rival(IpAddr::V6(target_addr), mac);
                    return Ok(());
                }
                if target_addr.is_multicast() || !self.network.addresses.is_on_link_v6(target_addr) {
                    return Err(DropReason::IcmpIgnored);
                }
                let address = IpAddr::V6(target_addr);
                // RFC 4861 7.2.5: such a word moves nobody.
                let overrides = flags.contains(NdiscNeighborFlags::OVERRIDE);
                if !overrides && self.network.neighbours.contradicts(address, mac, self.network.now) {
                    return Ok(());
                }
                let word_for_others = flags.contains(NdiscNeighborFlags::SOLICITED) || overrides;
                let confirmed = self.network.hear_of(address, mac, word_for_others);
                self.after_neighbour_news();
                if confirmed == Confirmed::Unknown && self.network.cores == 1 {
                    return Err(DropReason::IcmpIgnored);
                }
                Ok(())
            }
            _ => Err(DropReason::IcmpIgnored),
        }
    }
}

impl Shard {
    /// RFC 4861 6.1.2 and 6.3.4.
    fn receive_router_advertisement(&mut self, router: Ipv6Addr, message: &[u8]) -> Result<(), DropReason> {
        let Some(routers) = &mut self.routers else { return Err(DropReason::IcmpIgnored) };
        if !router.is_unicast_link_local() {
            return Err(DropReason::Martian);
        }
        let packet = Icmpv6Packet::new_checked(message).map_err(|_| DropReason::Truncated)?;
        match NdiscRepr::parse(&packet).map_err(|_| DropReason::Truncated)? {
            NdiscRepr::RouterAdvert { router_lifetime, prefix_info, .. } => {
                let lifetime = Duration::from_micros(router_lifetime.total_micros());
                routers.advertised(router, lifetime, prefix_info, self.network.now);
                routers.advertised_options(packet.payload(), self.network.now);
                self.control_at = self.network.now;
                self.adopt_router();
                Ok(())
            }
            _ => Err(DropReason::IcmpIgnored),
        }
    }

    /// Asks for routers, and forgets those that have fallen silent.
    #[cold]
    pub(crate) fn discover_routers(&mut self) {
        let Some(routers) = &mut self.routers else { return };
        if routers.poll(self.network.now) {
            let lladdr = Some(RawHardwareAddress::from(EthernetAddress(self.network.mac.octets())));
            let from = self.network.addresses.link_local();
            let station = multicast_mac(ALL_ROUTERS);
            self.network.send_neighbour_message(NdiscRepr::RouterSolicit { lladdr }, from, ALL_ROUTERS, station);
        }
        self.adopt_router();
    }

    pub(crate) fn adopt_router(&mut self) {
        let configuration = self.routers.as_ref().and_then(RouterDiscovery::configuration);
        if configuration.as_ref() != self.network.addresses.v6() {
            self.configure_ipv6(configuration);
        }
    }
}

impl Network {
    /// Whether `address` is a multicast group that a node of our addresses is in (RFC 4291 2.8).
    fn is_group_of_ours(&self, address: Ipv6Addr) -> bool {
        address == ALL_NODES || self.addresses.all_v6().any(|own| address == solicited_node(own))
    }

    /// RFC 4861 7.2.3 and 7.2.4.
    fn receive_solicitation(
        &mut self,
        link: ethernet::Header,
        header: ipv6::Header,
        target: Ipv6Addr,
        source_mac: Option<Mac>,
    ) -> Result<(), DropReason> {
        if !self.addresses.is_ours_v6(target) {
            return Err(DropReason::OtherHost);
        }
        if header.source.is_unspecified() {
            // Somebody wants the address for itself (RFC 4862 5.4): everybody is told that it is taken.
            self.advertise(target, ALL_NODES, multicast_mac(ALL_NODES), NdiscNeighborFlags::OVERRIDE);
            return Ok(());
        }
        if !self.addresses.is_source_v6(header.source) || !self.addresses.is_on_link_v6(header.source) {
            return Err(DropReason::Martian);
        }
        let mac = source_mac.unwrap_or(link.source);
        if self.hear_of(header.source.into(), mac, false) == Confirmed::Unknown {
            let _ = self.neighbours.sender(header.source.into(), mac, self.now);
        }
        self.advertise(target, header.source, mac, NdiscNeighborFlags::OVERRIDE | NdiscNeighborFlags::SOLICITED);
        Ok(())
    }

    /// Asks whether somebody else has one of our addresses (RFC 4862 5.4.2), and tells everybody that we have (RFC 4861 7.2.6). They
    /// are in use meanwhile (RFC 4429): what others remember is not overridden, and an answer is reported as a conflict.
    pub(crate) fn announce_v6(&mut self) {
        let addresses: Vec<Ipv6Addr> = self.addresses.all_v6().collect();
        for address in addresses {
            let group = solicited_node(address);
            let probe = NdiscRepr::NeighborSolicit { target_addr: address, lladdr: None };
            self.send_neighbour_message(probe, Ipv6Addr::UNSPECIFIED, group, multicast_mac(group));
            self.count(Event::ArpRequestSent);
            self.advertise_to_all(address);
        }
    }

    /// Tells everybody our addresses once more.
    pub(crate) fn advertise_all(&mut self) {
        let addresses: Vec<Ipv6Addr> = self.addresses.all_v6().collect();
        for address in addresses {
            self.advertise_to_all(address);
        }
    }

    fn advertise_to_all(&mut self, address: Ipv6Addr) {
        self.advertise(address, ALL_NODES, multicast_mac(ALL_NODES), NdiscNeighborFlags::empty());
    }

    fn advertise(&mut self, target: Ipv6Addr, to: Ipv6Addr, station: Mac, flags: NdiscNeighborFlags) {
        let lladdr = Some(RawHardwareAddress::from(EthernetAddress(self.mac.octets())));
        let message = NdiscRepr::NeighborAdvert { flags, target_addr: target, lladdr };
        self.send_neighbour_message(message, target, to, station);
        self.count(Event::ArpReplySent);
    }

    /// Asks where `target` is: the station that it was last at, or everybody (RFC 4861 7.2.2).
    pub(crate) fn ask_neighbour_v6(&mut self, target: Ipv6Addr, station: Option<Mac>) {
        let group = solicited_node(target);
        let (to, station) = station.map_or((group, multicast_mac(group)), |mac| (target, mac));
        let Some(IpAddr::V6(source)) = self.addresses.source_for(IpAddr::V6(target)) else { return };
        let lladdr = Some(RawHardwareAddress::from(EthernetAddress(self.mac.octets())));
        self.send_neighbour_message(NdiscRepr::NeighborSolicit { target_addr: target, lladdr }, source, to, station);
        self.count(Event::ArpRequestSent);
    }

    fn send_neighbour_message(&mut self, message: NdiscRepr<'_>, from: Ipv6Addr, to: Ipv6Addr, station: Mac) {
        let Some(mut packet) = self.pool.allocate() else { return self.drop_for(DropReason::NoBuffer) };
        let repr = Icmpv6Repr::Ndisc(message);
        let len = repr.buffer_len();
        let written = packet.extend(len).map(|bytes| {
            repr.emit(&from, &to, &mut Icmpv6Packet::new_unchecked(bytes), &ChecksumCapabilities::default());
        });
        let header =
            ipv6::Header { source: from, destination: to, protocol: protocol::ICMPV6, ecn: 0, payload_len: len };
        let headed = header.put(self.link_header(station, ethernet::IPV6), &mut packet);
        match written.and(headed) {
            Ok(()) => self.reply(packet, Offload::default()),
            Err(_) => self.drop_for(DropReason::NoHeadroom),
        }
    }

    fn reply_echo_v6(&mut self, mut packet: Packet, header: ipv6::Header, station: Mac) {
        let (source, destination) = (header.destination, header.source);
        let len = packet.len();
        let Some(front) = packet.first_chunk_mut::<4>() else { return };
        *front = [Icmpv6Message::EchoReply.into(), 0, 0, 0];
        let [c0, c1] = Sum::ZERO
            .add(&packet)
            .add_pseudo_header_v6(source.octets(), destination.octets(), len as u32, protocol::ICMPV6)
            .checksum();
        if let Some(front) = packet.first_chunk_mut::<4>() {
            *front = [Icmpv6Message::EchoReply.into(), 0, c0, c1];
        }
        let answer = ipv6::Header { source, destination, protocol: protocol::ICMPV6, ecn: 0, payload_len: len };
        match answer.put(self.link_header(station, ethernet::IPV6), &mut packet) {
            Ok(()) => {
                self.count(Event::EchoReplySent);
                self.reply(packet, Offload::default());
            }
            Err(_) => self.drop_for(DropReason::NoHeadroom),
        }
    }
}

/// What an error means to TCP (RFC 4443 3.1 and 3.2, RFC 5461).
fn error_kind(message: Icmpv6Message, code: u8, mtu: u32) -> Option<IcmpErrorKind> {
    if message == Icmpv6Message::PktTooBig {
        return (mtu >= PATH_MTU_MIN).then(|| IcmpErrorKind::PacketTooBig(u16::try_from(mtu).unwrap_or(u16::MAX)));
    }
    let reason = match code {
        0 | 2 => Unreachable::Network,
        3 => Unreachable::Host,
        4 => Unreachable::Port,
        1 | 5 | 6 => Unreachable::Prohibited,
        _ => return None,
    };
    Some(IcmpErrorKind::Unreachable(reason))
}

/// The ends and the sequence number of the quoted segment, if it is TCP without extension headers, as we send it.
pub(crate) fn quoted(quote: &[u8]) -> Option<(SocketAddr, SocketAddr, u32)> {
    let (header, segment) = quote.split_first_chunk::<{ ipv6::HEADER_BYTES }>()?;
    if header[0] >> 4 != 6 || header[6] != protocol::TCP {
        return None;
    }
    let (&source, rest) = header.get(8..)?.split_first_chunk::<16>()?;
    let &destination = rest.first_chunk::<16>()?;
    let (local_port, remote_port, sequence) = tcp_ends(segment)?;
    let end = |address: [u8; 16], port| SocketAddr::new(IpAddr::V6(address.into()), port);
    Some((end(source, local_port), end(destination, remote_port), sequence))
}

/// The solicited-node group of an address (RFC 4291 2.7.1).
fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// The Ethernet group of a multicast address (RFC 2464 7).
fn multicast_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    [0x33, 0x33, a, b, c, d].into()
}

fn mac_of(address: RawHardwareAddress) -> Option<Mac> {
    let octets: [u8; 6] = address.as_bytes().try_into().ok()?;
    Some(Mac::from(octets)).filter(|mac| !mac.is_group())
}
