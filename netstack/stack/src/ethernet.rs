//! The Ethernet II header (IEEE 802.3, 3.2.6).

use weir_packet::{Packet, RangeError};

/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 14;

/// The EtherType of IPv4.
pub(crate) const IPV4: u16 = 0x0800;
/// The EtherType of ARP.
pub(crate) const ARP: u16 = 0x0806;
/// The EtherType of IPv6.
pub(crate) const IPV6: u16 = 0x86dd;

/// A station's address: its six bytes, the first one lowest, so that comparing and copying one is one instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mac(u64);

impl Mac {
    /// Everybody.
    pub(crate) const BROADCAST: Self = Self(0xffff_ffff_ffff);
    /// Not known.
    pub(crate) const NONE: Self = Self(0);

    /// Whether it names a group of stations.
    #[inline(always)]
    pub(crate) const fn is_group(self) -> bool {
        self.0 & 1 != 0
    }

    #[inline(always)]
    pub(crate) const fn octets(self) -> [u8; 6] {
        let [a, b, c, d, e, f, _, _] = self.0.to_le_bytes();
        [a, b, c, d, e, f]
    }
}

impl From<[u8; 6]> for Mac {
    #[inline(always)]
    fn from([a, b, c, d, e, f]: [u8; 6]) -> Self {
        Self(u64::from_le_bytes([a, b, c, d, e, f, 0, 0]))
    }
}

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
        let bytes = frame.first_chunk::<HEADER_BYTES>()?;
        // Two loads of eight bytes; each has two bytes of something else at its end.
        let front = u64::from_le_bytes(*bytes.first_chunk::<8>()?);
        let back = u64::from_le_bytes(*bytes.last_chunk::<8>()?);
        Some(Self {
            destination: Mac(front & Mac::BROADCAST.0),
            source: Mac(back & Mac::BROADCAST.0),
            ether_type: ((back >> 48) as u16).swap_bytes(),
        })
    }

    /// Whether it is for a group of stations, all of them included.
    #[inline(always)]
    pub(crate) fn is_group(&self) -> bool {
        self.destination.is_group()
    }

    /// Puts the header in front of `packet`.
    #[inline]
    pub(crate) fn put(self, packet: &mut Packet) -> Result<(), RangeError> {
        let bytes = packet.prepend(HEADER_BYTES)?.first_chunk_mut::<HEADER_BYTES>().ok_or(RangeError)?;
        self.write(bytes);
        Ok(())
    }

    /// Writes the header as it goes on the wire.
    #[inline(always)]
    pub(crate) fn write(self, bytes: &mut [u8; HEADER_BYTES]) {
        // Two stores of eight bytes; the second overwrites what the first has too many.
        if let Some(front) = bytes.first_chunk_mut::<8>() {
            *front = self.destination.0.to_le_bytes();
        }
        if let Some(back) = bytes.last_chunk_mut::<8>() {
            *back = (self.source.0 | u64::from(self.ether_type.swap_bytes()) << 48).to_le_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let header = Header {
            destination: [0x52, 0x54, 0, 0, 0, 1].into(),
            source: [0x52, 0x54, 0, 0, 0xab, 0xff].into(),
            ether_type: ARP,
        };
        let mut bytes = [0; HEADER_BYTES];
        header.write(&mut bytes);
        assert_eq!(bytes, [0x52, 0x54, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0xab, 0xff, 8, 6]);
        assert_eq!(Header::parse(&bytes), Some(header));
        assert_eq!(Header::parse(&bytes[1..]), None);
        assert!(!header.is_group() && Mac::BROADCAST.is_group());
    }
}
