//! ARP (RFC 826): questions, answers and announcements (RFC 5227).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetAddress};
use weir_packet::Packet;
use weir_packet::frame::Offload;

use crate::counters::{DropReason, Event};
use crate::ethernet::{self, Mac};
use crate::neighbour::Confirmed;
use crate::network::Network;

/// Bytes of an ARP packet for IPv4 over Ethernet.
const PACKET_BYTES: usize = 28;

/// What an ARP packet says.
#[derive(Debug, Clone, Copy)]
struct Arp {
    operation: ArpOperation,
    sender_mac: Mac,
    sender: Ipv4Addr,
    target_mac: Mac,
    target: Ipv4Addr,
}

/// Somebody else claims an address of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) address: Ipv4Addr,
    pub(crate) mac: Mac,
}

impl Network {
    /// Takes a frame with an ARP packet.
    #[cold]
    pub(crate) fn receive_arp(&mut self, link: ethernet::Header, frame: &[u8]) -> Result<(), Conflict> {
        let Some(arp) = frame.get(ethernet::HEADER_BYTES..).and_then(Arp::parse) else {
            self.drop_for(DropReason::ArpMalformed);
            return Ok(());
        };
        if arp.sender_mac != link.source || arp.sender_mac.is_group() {
            self.drop_for(DropReason::ArpMalformed);
            return Ok(());
        }
        // Our own questions may come back through a hub.
        if arp.sender_mac == self.mac {
            return Ok(());
        }
        if self.addresses.is_ours_v4(arp.sender) {
            self.count(Event::AddressConflict);
            return Err(Conflict { address: arp.sender, mac: arp.sender_mac });
        }
        match arp.operation {
            ArpOperation::Request => self.receive_request(arp),
            ArpOperation::Reply => self.receive_reply(arp),
            _ => self.drop_for(DropReason::ArpMalformed),
        }
        Ok(())
    }

    fn receive_request(&mut self, arp: Arp) {
        // A probe (RFC 5227 1.1) has no sender address that could be learnt.
        let has_sender = self.is_neighbour(arp.sender);
        if !self.addresses.is_ours_v4(arp.target) {
            // Announcements are requests for the sender's own address: believed about neighbours that we know, on this core or
            // on another.
            let is_announcement = arp.sender == arp.target;
            if has_sender && self.hear_of(arp.sender.into(), arp.sender_mac, is_announcement) != Confirmed::Unknown {
                return;
            }
            return self.drop_for(DropReason::ArpOtherHost);
        }
        if has_sender && self.hear_of(arp.sender.into(), arp.sender_mac, false) == Confirmed::Unknown {
            // It is about to talk to us: remember it if there is room. What it says is verified when it is used.
            let _ = self.neighbours.sender(arp.sender.into(), arp.sender_mac, self.now);
        }
        let reply = Arp {
            operation: ArpOperation::Reply,
            sender_mac: self.mac,
            sender: arp.target,
            target_mac: arp.sender_mac,
            target: arp.sender,
        };
        self.send_arp(arp.sender_mac, reply);
        self.count(Event::ArpReplySent);
    }

    fn receive_reply(&mut self, arp: Arp) {
        if !self.is_neighbour(arp.sender) {
            return self.drop_for(DropReason::ArpMalformed);
        }
        // The answer arrives on the queue that the host picks, which need not be the core's that had asked.
        let is_for_us = self.addresses.is_ours_v4(arp.target);
        let confirmed = self.hear_of(arp.sender.into(), arp.sender_mac, is_for_us);
        if confirmed == Confirmed::Unknown && (self.cores == 1 || !is_for_us) {
            self.drop_for(DropReason::ArpUnsolicited);
        }
    }

    /// Whether `address` can be a neighbour's.
    fn is_neighbour(&self, address: Ipv4Addr) -> bool {
        let is_near = self.addresses.is_on_link_v4(address) || self.is_gateway(address.into());
        self.addresses.is_source_v4(address) && is_near
    }

    /// Asks where `target` is: the station that it was last at, or everybody.
    pub(crate) fn ask_arp(&mut self, target: Ipv4Addr, station: Option<Mac>) {
        let Some(sender) = self.addresses.v4().map(|v4| v4.address) else { return };
        self.send_request(sender, target, station.unwrap_or(Mac::BROADCAST));
    }

    fn send_request(&mut self, sender: Ipv4Addr, target: Ipv4Addr, station: Mac) {
        let request =
            Arp { operation: ArpOperation::Request, sender_mac: self.mac, sender, target_mac: Mac::NONE, target };
        self.send_arp(station, request);
        self.count(Event::ArpRequestSent);
    }

    /// Asks whether somebody else has one of our addresses (RFC 5227 2.1.1), and tells everybody that we have. They are in use
    /// meanwhile: an answer is a conflict as any other.
    pub(crate) fn announce_arp(&mut self) {
        let addresses: Vec<Ipv4Addr> = self.addresses.all_v4().collect();
        for address in addresses {
            self.send_request(Ipv4Addr::UNSPECIFIED, address, Mac::BROADCAST);
            self.announce_address(address);
        }
    }

    /// Tells everybody one of our addresses, so that stale entries are corrected (RFC 5227 2.3).
    pub(crate) fn announce_address(&mut self, address: Ipv4Addr) {
        self.send_request(address, address, Mac::BROADCAST);
    }

    fn send_arp(&mut self, destination: Mac, arp: Arp) {
        let Some(mut packet) = self.pool.allocate() else { return self.drop_for(DropReason::NoBuffer) };
        let written = packet.extend(PACKET_BYTES).map(|bytes| arp.emit(bytes));
        let headed = self.link_header(destination, ethernet::ARP).put(&mut packet);
        match written.and(headed) {
            Ok(()) => self.reply(packet, Offload::default()),
            Err(_) => self.drop_for(DropReason::NoHeadroom),
        }
    }

    /// The Ethernet address of a neighbour, for a frame that the control plane made; a question is begun if need be.
    pub(crate) fn control_neighbour(&mut self, address: Ipv4Addr) -> Option<Mac> {
        match self.neighbours.resolve(IpAddr::V4(address), self.now) {
            crate::neighbour::Resolution::Known(mac) => Some(mac),
            _ => None,
        }
    }
}

impl Arp {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let packet = ArpPacket::new_checked(bytes).ok()?;
        let ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr,
            source_protocol_addr: sender,
            target_hardware_addr,
            target_protocol_addr: target,
        } = ArpRepr::parse(&packet).ok()?
        else {
            return None;
        };
        Some(Self {
            operation,
            sender_mac: source_hardware_addr.0.into(),
            sender,
            target_mac: target_hardware_addr.0.into(),
            target,
        })
    }

    fn emit(self, bytes: &mut [u8]) {
        let repr = ArpRepr::EthernetIpv4 {
            operation: self.operation,
            source_hardware_addr: EthernetAddress(self.sender_mac.octets()),
            source_protocol_addr: self.sender,
            target_hardware_addr: EthernetAddress(self.target_mac.octets()),
            target_protocol_addr: self.target,
        };
        repr.emit(&mut ArpPacket::new_unchecked(bytes));
    }
}

/// An ARP reply as the control plane's own stack expects it, for a question that the neighbour table has answered.
pub(crate) fn reply_to_ourselves(
    packet: &mut Packet,
    neighbour: (Ipv4Addr, Mac),
    us: (Ipv4Addr, Mac),
) -> Result<(), weir_packet::RangeError> {
    let reply = Arp {
        operation: ArpOperation::Reply,
        sender_mac: neighbour.1,
        sender: neighbour.0,
        target_mac: us.1,
        target: us.0,
    };
    reply.emit(packet.extend(PACKET_BYTES)?);
    ethernet::Header { destination: us.1, source: neighbour.1, ether_type: ethernet::ARP }.put(packet)
}
