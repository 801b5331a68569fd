//! IPv6 headers (RFC 8200), parsed once and written once. Not taken from the wire: extension headers and fragments.

use core::net::Ipv6Addr;

use weir_packet::{Packet, RangeError};

use crate::counters::DropReason;
use crate::ethernet;
use crate::ipv4::protocol;

/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 40;
/// Hops that our packets may take.
const HOP_LIMIT: u8 = 64;
/// The hop limit that proves that a packet came from the link (RFC 4861 4.1).
pub(crate) const HOP_LIMIT_MAX: u8 = 255;

/// Next header values of extension headers (RFC 8200 4, RFC 7045).
const EXTENSIONS: [u8; 7] = [0, 43, 50, 51, 60, 135, 139];
const FRAGMENT: u8 = 44;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) source: Ipv6Addr,
    pub(crate) destination: Ipv6Addr,
    /// The next header.
    pub(crate) protocol: u8,
    /// The ECN field (RFC 3168, 5): two bits.
    pub(crate) ecn: u8,
    /// Bytes behind the header.
    pub(crate) payload_len: usize,
}

impl Header {
    /// Parses the header at the beginning of `packet`, of which `available` bytes arrived.
    #[inline]
    pub(crate) fn parse(packet: &[u8], available: usize) -> Result<Self, DropReason> {
        let bytes = packet.first_chunk::<HEADER_BYTES>().ok_or(DropReason::Truncated)?;
        if bytes[0] >> 4 != 6 {
            return Err(DropReason::IpMalformed);
        }
        let payload_len = usize::from(u16::from_be_bytes([bytes[4], bytes[5]]));
        if HEADER_BYTES + payload_len > available {
            return Err(DropReason::Truncated);
        }
        let next_header = bytes[6];
        if next_header == FRAGMENT {
            return Err(DropReason::Fragment);
        }
        if EXTENSIONS.contains(&next_header) {
            return Err(DropReason::Ipv6Extension);
        }
        let (&source, rest) = bytes[8..].split_first_chunk::<16>().ok_or(DropReason::Truncated)?;
        let &destination = rest.first_chunk::<16>().ok_or(DropReason::Truncated)?;
        Ok(Self {
            source: source.into(),
            destination: destination.into(),
            protocol: next_header,
            ecn: bytes[1] >> 4 & 3,
            payload_len,
        })
    }

    /// The header as it goes on the wire.
    #[inline]
    pub(crate) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = 0x60;
        bytes[1] = self.ecn << 4;
        bytes[4..6].copy_from_slice(&(self.payload_len as u16).to_be_bytes());
        bytes[6] = self.protocol;
        // Neighbour discovery is believed only with the highest hop limit; echo replies do not mind it.
        bytes[7] = if self.protocol == protocol::ICMPV6 { HOP_LIMIT_MAX } else { HOP_LIMIT };
        bytes[8..24].copy_from_slice(&self.source.octets());
        bytes[24..40].copy_from_slice(&self.destination.octets());
        bytes
    }

    /// Puts Ethernet's header and this one in front of `packet`.
    #[inline]
    pub(crate) fn put(self, link: ethernet::Header, packet: &mut Packet) -> Result<(), RangeError> {
        packet.prepend(HEADER_BYTES)?.copy_from_slice(&self.to_bytes());
        link.put(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let header = Header {
            source: "fe80::1".parse().expect("an address"),
            destination: "2001:db8::2".parse().expect("an address"),
            protocol: protocol::TCP,
            ecn: 3,
            payload_len: 20,
        };
        assert_eq!(Header::parse(&header.to_bytes(), 60), Ok(header));
        assert_eq!(Header::parse(&header.to_bytes(), 59), Err(DropReason::Truncated));
    }

    #[test]
    fn extension_headers_are_named() {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = 0x60;
        for (next_header, reason) in [(44, DropReason::Fragment), (0, DropReason::Ipv6Extension)] {
            bytes[6] = next_header;
            assert_eq!(Header::parse(&bytes, HEADER_BYTES), Err(reason));
        }
    }
}
