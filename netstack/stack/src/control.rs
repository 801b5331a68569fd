//! The control plane's own stack: smoltcp's interface and sockets, for what is rare and not ours to write. Today DHCP
//! (RFC 2131), on core 0.
//!
//! smoltcp sees a small Ethernet device made of two bounded queues. Frames for UDP port 68 go in; what comes out is
//! treated by its EtherType: IPv4 goes to the wire as it is; a question for a neighbour is answered out of the shard's
//! own table, so that ARP has one owner.

mod device;
mod message;
mod recheck;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::dhcpv4;
use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, DhcpMessageType, EthernetAddress, HardwareAddress, IpCidr};
use weir_packet::Packet;
use weir_packet::frame::{Capabilities, Offload};
use weir_socket::Instant;

use device::{Queues, SENT_MAX, from_wire, wire_instant};
use message::Message;
use recheck::Recheck;

use crate::address::{DNS_SERVERS_MAX, Ipv4Configuration};
use crate::arp;
use crate::counters::{DropReason, Event};
use crate::ethernet;
use crate::network::Network;

/// Ports of DHCP's servers and clients (RFC 2131 4.1).
pub(crate) const DHCP_SERVER_PORT: u16 = 67;
pub(crate) const DHCP_CLIENT_PORT: u16 = 68;

/// Received frames that wait for the control plane.
const RECEIVED_MAX: usize = 8;
/// Between two DISCOVERs: shorter at first than RFC 2131 4.1 would have it, for a boot is waiting, but long enough for a
/// server that tries whether the address is free before it offers it.
const DISCOVER_AFTER: Duration = Duration::from_secs(2);
const DISCOVER_AFTER_PATIENTLY: Duration = Duration::from_secs(8);
/// Without an answer for so long, the shard says so.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Before a REQUEST is repeated.
const REQUEST_AFTER: Duration = Duration::from_secs(1);
/// How long a lease is new: another station that has the address is heard of within moments. Afterwards connections use it.
const NEW_FOR: Duration = Duration::from_secs(10);
/// After an address was declined nothing is asked for so long (RFC 2131 3.1 (5)), or client and server would whirl.
const DECLINED_FOR: Duration = Duration::from_secs(10);

/// The DHCP client and the stack that it lives in.
pub(crate) struct Control {
    interface: Interface,
    sockets: SocketSet<'static>,
    dhcp: SocketHandle,
    received: VecDeque<Packet>,
    sent: VecDeque<Packet>,
    deadline: Option<Instant>,
    patient_at: Option<Instant>,
    /// An address was declined, and until then no server is asked.
    quiet_until: Option<Instant>,
    lease: Option<Lease>,
    /// The link was gone, and servers are asked whether the lease still holds.
    recheck: Option<Recheck>,
    seed: u64,
}

/// Who gave the address, and since when we have it.
#[derive(Debug, Clone, Copy)]
struct Lease {
    address: Ipv4Addr,
    server: Ipv4Addr,
    since: Instant,
}

/// What the control plane reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// A lease was obtained, or its terms have changed.
    Configured(Ipv4Configuration),
    /// The lease is lost.
    Lost,
    /// No server has answered for [`PATIENCE`].
    NoAnswer,
}

impl Control {
    /// A DHCP client for the station; none when the device has told an address that no station can have.
    pub(crate) fn new(device: &Capabilities, seed: u64, now: Instant) -> Option<Self> {
        let mac = EthernetAddress(device.mac);
        if !mac.is_unicast() {
            return None;
        }
        let mut config = Config::new(HardwareAddress::Ethernet(mac));
        config.random_seed = seed;
        let mut queues =
            Queues { received: &mut VecDeque::new(), sent: &mut VecDeque::new(), pool: None, mtu: device.mtu };
        let interface = Interface::new(config, &mut queues, wire_instant(now));
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let mut socket = dhcpv4::Socket::new();
        socket.set_retry_config(retry(DISCOVER_AFTER));
        let dhcp = sockets.add(socket);
        Some(Self {
            interface,
            sockets,
            dhcp,
            received: VecDeque::with_capacity(RECEIVED_MAX),
            sent: VecDeque::with_capacity(SENT_MAX),
            deadline: Some(now),
            patient_at: Some(now + PATIENCE),
            quiet_until: None,
            lease: None,
            recheck: None,
            seed,
        })
    }

    /// Queues a frame with a datagram from a DHCP server.
    pub(crate) fn receive(&mut self, frame: Packet) -> Result<(), DropReason> {
        if self.received.len() == RECEIVED_MAX {
            return Err(DropReason::ControlQueueFull);
        }
        // Never longer than a link's MTU, so never in several buffers unless somebody plays with us.
        if frame.is_chain() {
            return Err(DropReason::Truncated);
        }
        match self.recheck.as_ref().and_then(|recheck| recheck.answer(&frame)) {
            Some(DhcpMessageType::Nak) => self.begin_again(),
            Some(DhcpMessageType::Ack) => self.recheck = None,
            _ => self.received.push_back(frame),
        }
        Ok(())
    }

    /// The link is there again: a lease is checked, and without one a server is looked for at once.
    pub(crate) fn handle_link_up(&mut self, now: Instant) {
        if self.interface.ipv4_addr().is_none() {
            return self.begin_again();
        }
        self.recheck = Some(Recheck::new(self.transaction(now), now));
    }

    /// The identifier of a transaction that smoltcp does not know of.
    const fn transaction(&self, now: Instant) -> u32 {
        (self.seed.wrapping_add(now.as_nanos()).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
    }

    /// Another station has `address`. If we were just given it, its server is told (RFC 2131 3.1 (5) and 4.4.4), the lease
    /// given up, and another one asked for after [`DECLINED_FOR`]. False for every other address: it is kept.
    pub(crate) fn decline(&mut self, address: Ipv4Addr, network: &mut Network) -> bool {
        let now = network.now;
        let is_new = |lease: &Lease| lease.address == address && now < lease.since + NEW_FOR;
        let Some(lease) = self.lease.filter(is_new) else { return false };
        let (kind, transaction) = (DhcpMessageType::Decline, self.transaction(now));
        Message { kind, transaction, address, server: Some(lease.server) }.send(network);
        network.count(Event::AddressDeclined);
        self.begin_again();
        self.deconfigure();
        let quiet_until = now + DECLINED_FOR;
        self.quiet_until = Some(quiet_until);
        self.deadline = Some(quiet_until);
        self.patient_at = Some(quiet_until + PATIENCE);
        true
    }

    /// Gives the lease up, if there is one, and looks for a server.
    fn begin_again(&mut self) {
        self.recheck = None;
        self.sockets.get_mut::<dhcpv4::Socket<'_>>(self.dhcp).reset();
        self.deadline = Some(Instant::default());
    }

    /// When [`poll`](Self::poll) has to be called.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        if !self.received.is_empty() {
            return Some(Instant::default());
        }
        let recheck_at = self.recheck.as_ref().map(|recheck| recheck.at);
        [self.deadline, self.patient_at, recheck_at].into_iter().flatten().min()
    }

    /// Lets the protocols run, if something has arrived or is due.
    pub(crate) fn poll(&mut self, network: &mut Network) -> Option<Change> {
        let now = network.now;
        if self.next_deadline().is_none_or(|deadline| now < deadline) {
            return None;
        }
        if let Some(until) = self.quiet_until.filter(|&until| now < until) {
            self.received.clear();
            self.deadline = Some(until);
            return None;
        }
        self.quiet_until = None;
        self.check_lease(network);
        let mut queues = Queues {
            received: &mut self.received,
            sent: &mut self.sent,
            pool: Some(&network.pool),
            mtu: network.device.mtu,
        };
        self.interface.poll(wire_instant(now), &mut queues, &mut self.sockets);
        let change = self.dhcp_change(now);
        self.forward(network);
        // At most once a millisecond, whatever the deadlines say.
        let at = self.interface.poll_at(wire_instant(now), &self.sockets).map(from_wire);
        self.deadline = at.map(|at| at.max(now + Duration::from_millis(1)));
        match change {
            Some(Change::Configured(_)) => self.patient_at = None,
            Some(_) => self.patient_at = Some(now + PATIENCE),
            None if self.patient_at.is_some_and(|at| at <= now) => {
                self.patient_at = None;
                self.sockets.get_mut::<dhcpv4::Socket<'_>>(self.dhcp).set_retry_config(retry(DISCOVER_AFTER_PATIENTLY));
                return Some(Change::NoAnswer);
            }
            None => {}
        }
        change
    }

    /// Asks whether the lease still holds, if that is due.
    fn check_lease(&mut self, network: &mut Network) {
        let Some(recheck) = self.recheck.as_mut().filter(|recheck| recheck.at <= network.now) else { return };
        let (Some(address), true) = (self.interface.ipv4_addr(), recheck.count(network.now)) else {
            self.recheck = None;
            return;
        };
        recheck.question(address).send(network);
    }

    fn dhcp_change(&mut self, now: Instant) -> Option<Change> {
        match self.sockets.get_mut::<dhcpv4::Socket<'_>>(self.dhcp).poll()? {
            dhcpv4::Event::Deconfigured => {
                let had_address = self.interface.ipv4_addr().is_some();
                self.deconfigure();
                had_address.then_some(Change::Lost)
            }
            dhcpv4::Event::Configured(lease) => {
                let mut dns = [None; DNS_SERVERS_MAX];
                for (place, server) in dns.iter_mut().zip(&lease.dns_servers) {
                    *place = Some(*server);
                }
                let configuration = Ipv4Configuration {
                    address: lease.address.address(),
                    prefix_len: lease.address.prefix_len(),
                    gateway: lease.router,
                    dns,
                };
                let (address, server) = (configuration.address, lease.server.identifier);
                let since = self.lease.filter(|lease| lease.address == address).map_or(now, |lease| lease.since);
                self.lease = Some(Lease { address, server, since });
                let address = IpCidr::Ipv4(lease.address);
                self.interface.update_ip_addrs(|addresses| {
                    addresses.clear();
                    // One place is always there.
                    let _ = addresses.push(address);
                });
                match lease.router {
                    // The route table of this interface has room for it.
                    Some(router) => drop(self.interface.routes_mut().add_default_ipv4_route(router)),
                    None => drop(self.interface.routes_mut().remove_default_ipv4_route()),
                }
                Some(Change::Configured(configuration))
            }
        }
    }

    fn deconfigure(&mut self) {
        self.lease = None;
        self.interface.update_ip_addrs(|addresses| addresses.clear());
        self.interface.routes_mut().remove_default_ipv4_route();
    }

    /// Hands over what the protocols sent.
    fn forward(&mut self, network: &mut Network) {
        while let Some(frame) = self.sent.pop_front() {
            match ethernet::Header::parse(&frame).map(|header| header.ether_type) {
                Some(ethernet::IPV4) => network.reply(frame, Offload::default()),
                Some(ethernet::ARP) => self.answer(&frame, network),
                _ => network.drop_for(DropReason::UnknownEtherType),
            }
        }
    }

    /// Answers a question for a neighbour, if the shard knows it; otherwise smoltcp asks again.
    fn answer(&mut self, frame: &Packet, network: &mut Network) {
        let Some((us, neighbour)) = frame.get(ethernet::HEADER_BYTES..).and_then(question) else { return };
        let Some(mac) = network.control_neighbour(neighbour) else { return };
        let Some(mut packet) = network.pool.allocate() else { return network.drop_for(DropReason::NoBuffer) };
        let written = arp::reply_to_ourselves(&mut packet, (neighbour, mac), (us, network.mac));
        if written.is_ok() && self.received.len() < RECEIVED_MAX {
            self.received.push_back(packet);
        }
    }
}

/// Sender and target of an ARP request.
fn question(packet: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let packet = ArpPacket::new_checked(packet).ok()?;
    match ArpRepr::parse(&packet).ok()? {
        ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Request, source_protocol_addr, target_protocol_addr, ..
        } => Some((source_protocol_addr, target_protocol_addr)),
        _ => None,
    }
}

fn retry(discover_after: Duration) -> dhcpv4::RetryConfig {
    let mut retry = dhcpv4::RetryConfig::default();
    retry.discover_timeout = discover_after.into();
    retry.initial_request_timeout = REQUEST_AFTER.into();
    retry
}
