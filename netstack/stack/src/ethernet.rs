//! The Ethernet II header (IEEE 802.3, 3.2.6).

use weir_packet::{Packet, RangeError};

use crate::neighbour::Mac;

/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 14;
/// Everybody.
pub(crate) const BROADCAST: Mac = [0xff; 6];

/// The EtherType of IPv4.
pub(crate) const IPV4: u16 = 0x0800;
/// The EtherType of ARP.
pub(crate) const ARP: u16 = 0x0806;
/// The EtherType of IPv6.
pub(crate) const IPV6: u16 = 0x86dd;

/// The header, parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) destination: Mac,
    pub(crate) source: Mac,
    pub(crate) ether_type: u16,
}

impl Header {
    /// The header at the beginning of `frame`, if it has one.
    #[inline(always)]
    pub(crate) fn parse(frame: &[u8]) -> Option<Self> {
        let &[d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = frame.first_chunk::<HEADER_BYTES>()?;
        Some(Self {
            destination: [d0, d1, d2, d3, d4, d5],
            source: [s0, s1, s2, s3, s4, s5],
            ether_type: u16::from_be_bytes([t0, t1]),
        })
    }

    /// Whether it is for a group of stations, all of them included.
    #[inline(always)]
    pub(crate) fn is_group(&self) -> bool {
        is_group(self.destination)
    }

    /// Puts the header in front of `packet`.
    #[inline]
    pub(crate) fn put(self, packet: &mut Packet) -> Result<(), RangeError> {
        let bytes = packet.prepend(HEADER_BYTES)?.first_chunk_mut::<HEADER_BYTES>().ok_or(RangeError)?;
        *bytes = self.to_bytes();
        Ok(())
    }

    /// The header as it goes on the wire.
    #[inline(always)]
    pub(crate) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let ([d0, d1, d2, d3, d4, d5], [s0, s1, s2, s3, s4, s5]) = (self.destination, self.source);
        let [t0, t1] = self.ether_type.to_be_bytes();
        [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1]
    }
}

/// Whether `mac` names a group of stations.
#[inline(always)]
pub(crate) fn is_group(mac: Mac) -> bool {
    mac[0] & 1 != 0
}
