//! IPv4 headers (RFC 791), parsed once and written once.
//!
//! On the path of every packet, so with code of its own: `smoltcp::wire` serves the rarer protocols. Not taken from the
//! wire: options, fragments (see [`DropReason`]).

use core::net::Ipv4Addr;

use weir_packet::{Packet, RangeError};

use crate::checksum::{Sum, Words};
use crate::counters::DropReason;
use crate::ethernet;

/// Bytes of a header without options.
pub(crate) const HEADER_BYTES: usize = 20;
/// Hops that our packets may take (RFC 1700).
const TIME_TO_LIVE: u8 = 64;

/// The protocol numbers that the stack speaks.
pub(crate) mod protocol {
    pub(crate) const ICMP: u8 = 1;
    pub(crate) const TCP: u8 = 6;
    pub(crate) const UDP: u8 = 17;
    pub(crate) const ICMPV6: u8 = 58;
}

/// Where the header is in a frame.
const OFFSET: usize = ethernet::HEADER_BYTES;

/// The first four bytes behind a header: the ports of TCP and UDP, no more than four bytes to other protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) source: u16,
    pub(crate) destination: u16,
}

impl Ports {
    #[inline(always)]
    pub(crate) fn parse(payload: &[u8]) -> Option<Self> {
        let &[s0, s1, d0, d1] = payload.first_chunk::<4>()?;
        Some(Self { source: u16::from_be_bytes([s0, s1]), destination: u16::from_be_bytes([d0, d1]) })
    }
}

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
    pub(crate) protocol: u8,
    /// The ECN field (RFC 3168, 5): two bits.
    pub(crate) ecn: u8,
    /// Bytes behind the header.
    pub(crate) payload_len: usize,
}

impl Header {
    /// Parses the header of the packet in `frame`, and what would be its ports. `frame_len` says how many bytes of the frame have
    /// arrived in all, and is asked if those of `frame` are too few.
    ///
    /// They are parsed together because every packet that is for us has both; a shorter one is of no protocol that we
    /// speak.
    #[inline(always)]
    pub(crate) fn parse(frame: &[u8], frame_len: impl FnOnce() -> usize) -> Result<(Self, Ports), DropReason> {
        let buffer_len = frame.len();
        let frame = frame.first_chunk::<{ OFFSET + HEADER_BYTES + 4 }>().ok_or(DropReason::Truncated)?;
        let (bytes, ports) = frame[OFFSET..].split_first_chunk::<HEADER_BYTES>().ok_or(DropReason::Truncated)?;
        let words = Words::read(bytes);
        let Words(front, middle, back) = words;
        let version_and_len = front as u8;
        if version_and_len != 0x45 {
            return Err(if version_and_len > 0x45 && version_and_len <= 0x4f {
                DropReason::Ipv4Options
            } else {
                DropReason::IpMalformed
            });
        }
        if !Sum::of_header(words).is_intact() {
            return Err(DropReason::IpChecksum);
        }
        // More fragments, or an offset; the reserved bit is as good as set by nobody.
        if ((front >> 48) as u16).swap_bytes() & 0x3fff != 0 {
            return Err(DropReason::Fragment);
        }
        let total_len = usize::from(((front >> 16) as u16).swap_bytes());
        if OFFSET + total_len > buffer_len && OFFSET + total_len > frame_len() {
            return Err(DropReason::Truncated);
        }
        let header = Self {
            source: Ipv4Addr::from(((middle >> 32) as u32).to_le_bytes()),
            destination: Ipv4Addr::from(back.to_le_bytes()),
            protocol: (middle >> 8) as u8,
            ecn: (front >> 8) as u8 & 3,
            payload_len: total_len.checked_sub(HEADER_BYTES).ok_or(DropReason::IpMalformed)?,
        };
        Ok((header, Ports::parse(ports).ok_or(DropReason::Truncated)?))
    }

    /// Writes the header as it goes on the wire, "don't fragment" set. `identification` may be anything (RFC 6864, 4.1).
    #[inline(always)]
    pub(crate) fn write(self, identification: u16, bytes: &mut [u8; HEADER_BYTES]) {
        let total_len = u64::from(((self.payload_len + HEADER_BYTES) as u16).swap_bytes());
        let identification = u64::from(identification.swap_bytes());
        let front = 0x0040_0000_0000_0045 | u64::from(self.ecn) << 8 | total_len << 16 | identification << 32;
        let source = u64::from(u32::from_le_bytes(self.source.octets()));
        let middle = u64::from(TIME_TO_LIVE) | u64::from(self.protocol) << 8 | source << 32;
        let back = u32::from_le_bytes(self.destination.octets());
        let checksum = u16::from_le_bytes(Sum::of_header(Words(front, middle, back)).checksum());
        Words(front, middle | u64::from(checksum) << 16, back).write(bytes);
    }

    /// Puts Ethernet's header and this one in front of `packet`.
    #[inline(always)]
    pub(crate) fn put(
        self,
        link: ethernet::Header,
        identification: u16,
        packet: &mut Packet,
    ) -> Result<(), RangeError> {
        const BYTES: usize = ethernet::HEADER_BYTES + HEADER_BYTES;
        let bytes = packet.prepend(BYTES)?.first_chunk_mut::<BYTES>().ok_or(RangeError)?;
        let (front, back) = bytes.split_at_mut(ethernet::HEADER_BYTES);
        link.write(front.first_chunk_mut().ok_or(RangeError)?);
        self.write(identification, back.first_chunk_mut().ok_or(RangeError)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            source: Ipv4Addr::new(10, 0, 0, 1),
            destination: Ipv4Addr::new(10, 0, 0, 2),
            protocol: protocol::TCP,
            ecn: 2,
            payload_len: 1460,
        }
    }

    fn frame(header: [u8; HEADER_BYTES]) -> [u8; 42] {
        let mut frame = [0; 42];
        frame[OFFSET..OFFSET + HEADER_BYTES].copy_from_slice(&header);
        frame
    }

    fn written(identification: u16) -> [u8; HEADER_BYTES] {
        let mut bytes = [0xa5; HEADER_BYTES];
        header().write(identification, &mut bytes);
        bytes
    }

    fn parse(bytes: [u8; HEADER_BYTES]) -> Result<Header, DropReason> {
        Header::parse(&frame(bytes), || 1494).map(|(header, _)| header)
    }

    #[test]
    fn what_is_written_is_read_again() {
        let bytes = frame(written(77));
        assert_eq!(parse(written(77)), Ok(header()));
        assert_eq!(Header::parse(&bytes, || 1493), Err(DropReason::Truncated));
        assert_eq!(Header::parse(&bytes[..37], || 1494), Err(DropReason::Truncated));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = written(1);
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn options_and_fragments_are_named() {
        let mut bytes = written(1);
        bytes[0] = 0x46;
        assert_eq!(parse(bytes), Err(DropReason::Ipv4Options));
        for (flags, dropped) in [(0x20, true), (0x00, false), (0x40, false)] {
            let mut bytes = written(1);
            bytes[6] = flags;
            [bytes[10], bytes[11]] = [0, 0];
            [bytes[10], bytes[11]] = Sum::ZERO.add(&bytes).checksum();
            assert_eq!(parse(bytes) == Err(DropReason::Fragment), dropped);
        }
    }
}
