//! What the client says to servers beside smoltcp's socket: a word about an address (RFC 2131 2 and table 5).

use core::net::Ipv4Addr;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress, UdpPacket, UdpRepr};
use weir_packet::frame::Offload;
use weir_packet::{Packet, RangeError};

use super::{DHCP_CLIENT_PORT, DHCP_SERVER_PORT};
use crate::counters::DropReason;
use crate::ethernet::{self, Mac};
use crate::ipv4::{self, protocol};
use crate::network::Network;

/// Bytes of a UDP header.
const UDP_HEADER_BYTES: usize = 8;

/// A message to all servers, from who has no address that it might use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message {
    pub(super) kind: DhcpMessageType,
    pub(super) transaction: u32,
    /// The address that it is about.
    pub(super) address: Ipv4Addr,
    /// The server that it is for; none if for any.
    pub(super) server: Option<Ipv4Addr>,
}

impl Message {
    /// Sends it to everybody.
    pub(super) fn send(&self, network: &mut Network) {
        let Some(mut packet) = network.pool.allocate() else { return network.drop_for(DropReason::NoBuffer) };
        let written = self.write(network.mac.octets(), &mut packet).and_then(|payload_len| {
            let (source, destination) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
            let header = ipv4::Header { source, destination, protocol: protocol::UDP, ecn: 0, payload_len };
            header.put(network.link_header(Mac::BROADCAST, ethernet::IPV4), 0, &mut packet)
        });
        match written {
            Ok(()) => network.reply(packet, Offload::default()),
            Err(_) => network.drop_for(DropReason::NoHeadroom),
        }
    }

    /// Writes the datagram and returns its length.
    fn write(&self, mac: [u8; 6], packet: &mut Packet) -> Result<usize, RangeError> {
        let repr = self.repr(EthernetAddress(mac));
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

    const fn repr(&self, mac: EthernetAddress) -> DhcpRepr<'static> {
        DhcpRepr {
            message_type: self.kind,
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
            requested_ip: Some(self.address),
            client_identifier: Some(mac),
            server_identifier: self.server,
            parameter_request_list: None,
            dns_servers: None,
            max_size: None,
            lease_duration: None,
            renew_duration: None,
            rebind_duration: None,
            additional_options: &[],
        }
    }
}
