//! Whether the lease still holds after the link was gone (RFC 2131 3.2 and 4.3.2, INIT-REBOOT): every server is asked for the
//! address that we have. Who refuses it ends the lease; silence leaves it as it is (RFC 2131 3.2, 4), and so does consent, for
//! renewal has its own time.

use core::net::Ipv4Addr;
use core::time::Duration;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress, Ipv4Packet, UdpPacket, UdpRepr};
use weir_packet::{Packet, RangeError};
use weir_socket::Instant;

use super::{DHCP_CLIENT_PORT, DHCP_SERVER_PORT};
use crate::ethernet;

/// Requests, and the time between them: doubled each time (RFC 2131 4.1).
const REQUESTS_MAX: u8 = 4;
const REPEAT_AFTER: Duration = Duration::from_secs(1);
/// Bytes of a UDP header.
const UDP_HEADER_BYTES: usize = 8;

/// A question that servers were asked, or are about to be.
#[derive(Debug)]
pub(super) struct Recheck {
    transaction: u32,
    sent: u8,
    /// When the next request is due.
    pub(super) at: Instant,
}

impl Recheck {
    pub(super) const fn new(transaction: u32, now: Instant) -> Self {
        Self { transaction, sent: 0, at: now }
    }

    /// A request is due and will be sent; false when there were enough.
    pub(super) fn count(&mut self, now: Instant) -> bool {
        self.at = now + REPEAT_AFTER * (1 << self.sent.min(REQUESTS_MAX));
        self.sent += 1;
        self.sent <= REQUESTS_MAX
    }

    /// Writes the datagram (RFC 2131 table 5: INIT-REBOOT has the address as an option, and names no server).
    pub(super) fn write(&self, mac: [u8; 6], address: Ipv4Addr, packet: &mut Packet) -> Result<usize, RangeError> {
        let mac = EthernetAddress(mac);
        let repr = DhcpRepr {
            message_type: DhcpMessageType::Request,
            transaction_id: self.transaction,
            secs: 0,
            client_hardware_address: mac,
            client_ip: Ipv4Addr::UNSPECIFIED,
            your_ip: Ipv4Addr::UNSPECIFIED,
            server_ip: Ipv4Addr::UNSPECIFIED,
            router: None,
            subnet_mask: None,
            relay_agent_ip: Ipv4Addr::UNSPECIFIED,
            broadcast: false,
            requested_ip: Some(address),
            client_identifier: Some(mac),
            server_identifier: None,
            parameter_request_list: None,
            dns_servers: None,
            max_size: None,
            lease_duration: None,
            renew_duration: None,
            rebind_duration: None,
            additional_options: &[],
        };
        let len = UDP_HEADER_BYTES + repr.buffer_len();
        let udp = UdpRepr { src_port: DHCP_CLIENT_PORT, dst_port: DHCP_SERVER_PORT };
        let mut datagram = UdpPacket::new_unchecked(packet.extend(len)?);
        let (from, to) = (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into());
        let mut written = Ok(());
        udp.emit(
            &mut datagram,
            &from,
            &to,
            repr.buffer_len(),
            |payload| written = repr.emit(&mut DhcpPacket::new_unchecked(payload)),
            &ChecksumCapabilities::default(),
        );
        written.map(|()| len).map_err(|_| RangeError)
    }

    /// What a frame from a server says to the question, if it is the answer.
    pub(super) fn answer(&self, frame: &[u8]) -> Option<DhcpMessageType> {
        let packet = Ipv4Packet::new_checked(frame.get(ethernet::HEADER_BYTES..)?).ok()?;
        let datagram = UdpPacket::new_checked(packet.payload()).ok()?;
        let dhcp = DhcpPacket::new_checked(datagram.payload()).ok()?;
        let repr = DhcpRepr::parse(&dhcp).ok()?;
        (self.sent > 0 && repr.transaction_id == self.transaction).then_some(repr.message_type)
    }
}
