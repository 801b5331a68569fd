//! The header in front of each frame on the rings, `struct virtio_net_hdr` (virtio 1.2, 5.1.6).

use weir_packet::BUFFER_BYTES;
use weir_packet::frame::{ChecksumStatus, Offload};

/// Its length, which since virtio 1.0 is always that of the form with a buffer count.
pub(super) const BYTES: usize = 12;

const NEEDS_CSUM: u8 = 1;
const DATA_VALID: u8 = 2;

const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;

/// What the header of a received frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Received {
    pub checksum: ChecksumStatus,
    /// Over how many buffers the frame is spread (with `MRG_RXBUF`).
    pub buffers: u16,
}

impl Received {
    /// Reads the header at the front of a buffer.
    #[inline]
    pub(super) const fn parse(buffer: &[u8; BUFFER_BYTES]) -> Self {
        let verified = buffer[0] & (NEEDS_CSUM | DATA_VALID) != 0;
        let checksum = if verified { ChecksumStatus::Verified } else { ChecksumStatus::Unverified };
        Self { checksum, buffers: u16::from_le_bytes([buffer[10], buffer[11]]) }
    }
}

/// The header of a frame to send.
///
/// Built as two words, which is two stores: flags, kind, header length, segment size, and checksum start; then checksum
/// offset, and a buffer count that is zero on this way.
#[inline(always)]
pub(super) fn encode(offload: Offload) -> [u8; BYTES] {
    let (mut front, mut back) = (0u64, 0u32);
    if let Some(checksum) = offload.checksum {
        front |= u64::from(NEEDS_CSUM) | u64::from(checksum.start) << 48;
        back |= u32::from(checksum.offset);
    }
    if let Some(segmentation) = offload.segmentation {
        let kind = if segmentation.ipv6 { GSO_TCPV6 } else { GSO_TCPV4 };
        front |= u64::from(kind) << 8 | u64::from(segmentation.header_len) << 16 | u64::from(segmentation.mss) << 32;
    }
    let mut bytes = [0; BYTES];
    bytes[..8].copy_from_slice(&front.to_le_bytes());
    bytes[8..].copy_from_slice(&back.to_le_bytes());
    bytes
}
