//! ICMP for IPv4 (RFC 792): echo is answered, errors about our segments go to TCP.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use smoltcp::wire::{Icmpv4DstUnreachable, Icmpv4Message};
use weir_packet::Packet;
use weir_packet::frame::Offload;
use weir_tcp::{IcmpError, IcmpErrorKind, Unreachable};

use crate::checksum::Sum;
use crate::counters::{DropReason, Event};
use crate::ethernet::{self, Mac};
use crate::ipv4::{self, protocol};
use crate::network::Network;

/// Bytes in front of the message's body.
const HEADER_BYTES: usize = 8;
/// The least path MTU that is believed (RFC 791 3.2: what every link carries).
const PATH_MTU_MIN: u16 = 68;

/// What came of a message.
pub(crate) enum Received {
    /// Dealt with.
    Done,
    /// An echo request, to be answered.
    Echo,
    /// An error about a segment of ours.
    Error(IcmpError),
}

/// Takes the message at the beginning of `message`, which was sent to `ours`.
pub(crate) fn receive(message: &[u8], ours: Ipv4Addr) -> Result<Received, DropReason> {
    let Some((header, body)) = message.split_first_chunk::<HEADER_BYTES>() else {
        return Err(DropReason::IcmpIgnored);
    };
    if !Sum::ZERO.add(message).is_intact() {
        return Err(DropReason::IcmpChecksum);
    }
    let (kind, code) = (Icmpv4Message::from(header[0]), header[1]);
    match kind {
        Icmpv4Message::EchoRequest if code == 0 => Ok(Received::Echo),
        Icmpv4Message::EchoReply => Ok(Received::Done),
        Icmpv4Message::DstUnreachable => {
            let next_mtu = u16::from_be_bytes([header[6], header[7]]);
            let kind = unreachable(Icmpv4DstUnreachable::from(code), next_mtu).ok_or(DropReason::IcmpIgnored)?;
            let ends = quoted(body).filter(|(local, ..)| local.ip() == ours);
            let (local, remote, sequence) = ends.ok_or(DropReason::IcmpErrorInvalid)?;
            Ok(Received::Error(IcmpError { local, remote, sequence, kind }))
        }
        _ => Err(DropReason::IcmpIgnored),
    }
}

/// What a destination-unreachable means to TCP (RFC 1122 4.2.3.9, RFC 1191 4).
fn unreachable(code: Icmpv4DstUnreachable, next_mtu: u16) -> Option<IcmpErrorKind> {
    use Icmpv4DstUnreachable as Code;
    let reason = match code {
        // Routers older than RFC 1191 say 0: TCP's black-hole detection has to help itself.
        Code::FragRequired if next_mtu < PATH_MTU_MIN => return None,
        Code::FragRequired => return Some(IcmpErrorKind::PacketTooBig(next_mtu)),
        Code::NetUnreachable | Code::DstNetUnknown | Code::NetUnreachToS => Unreachable::Network,
        Code::HostUnreachable | Code::DstHostUnknown | Code::HostUnreachToS | Code::SrcHostIsolated => {
            Unreachable::Host
        }
        Code::ProtoUnreachable => Unreachable::Protocol,
        Code::PortUnreachable => Unreachable::Port,
        Code::NetProhibited | Code::HostProhibited | Code::CommProhibited => Unreachable::Prohibited,
        _ => return None,
    };
    Some(IcmpErrorKind::Unreachable(reason))
}

/// The ends and the sequence number of the quoted segment, if it is TCP and ours: its IP header without options, as we
/// send it, and eight bytes at least.
pub(crate) fn quoted(quote: &[u8]) -> Option<(SocketAddr, SocketAddr, u32)> {
    let (header, segment) = quote.split_first_chunk::<{ ipv4::HEADER_BYTES }>()?;
    let source = Ipv4Addr::new(header[12], header[13], header[14], header[15]);
    let destination = Ipv4Addr::new(header[16], header[17], header[18], header[19]);
    if header[0] != 0x45 || header[9] != protocol::TCP {
        return None;
    }
    let (local_port, remote_port, sequence) = tcp_ends(segment)?;
    Some((
        SocketAddr::new(IpAddr::V4(source), local_port),
        SocketAddr::new(IpAddr::V4(destination), remote_port),
        sequence,
    ))
}

/// Source port, destination port and sequence number at the beginning of a TCP header.
pub(crate) fn tcp_ends(segment: &[u8]) -> Option<(u16, u16, u32)> {
    let &[s0, s1, d0, d1, q0, q1, q2, q3] = segment.first_chunk::<8>()?;
    Some((u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]), u32::from_be_bytes([q0, q1, q2, q3])))
}

impl Network {
    /// Answers an echo request in its own buffer. `packet` begins at the ICMP header.
    pub(crate) fn reply_echo(&mut self, mut packet: Packet, header: ipv4::Header, station: Mac) {
        let len = packet.len();
        if let Some(front) = packet.first_chunk_mut::<4>() {
            *front = [Icmpv4Message::EchoReply.into(), 0, 0, 0];
        }
        let [c0, c1] = Sum::ZERO.add(&packet).checksum();
        if let Some(front) = packet.first_chunk_mut::<4>() {
            *front = [Icmpv4Message::EchoReply.into(), 0, c0, c1];
        }
        let answer = ipv4::Header {
            source: header.destination,
            destination: header.source,
            protocol: protocol::ICMP,
            ecn: 0,
            payload_len: len,
        };
        let link = self.link_header(station, ethernet::IPV4);
        self.identification = self.identification.wrapping_add(1);
        // The request came with headers as long as these, and the device's own in front of them.
        match answer.put(link, self.identification, &mut packet) {
            Ok(()) => {
                self.count(Event::EchoReplySent);
                self.reply(packet, Offload::default());
            }
            Err(_) => self.drop_for(DropReason::NoHeadroom),
        }
    }
}
