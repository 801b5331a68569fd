//! Frames as a network device gives and takes them.
//!
//! The stack drives a queue pair through [`Receive`] and [`Transmit`] and nothing else, so that a virtio queue, a tap of
//! the host and a simulated link look alike to it.

use crate::{Chunk, Packet};

/// What a device can do, fixed after its negotiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// The station's Ethernet address.
    pub mac: [u8; 6],
    /// Largest IP packet that the link carries, in bytes.
    pub mtu: u16,
    /// The device completes transport checksums ([`Offload::checksum`]).
    pub transmit_checksum: bool,
    /// The device cuts TCP over IPv4 into segments ([`Offload::segmentation`]).
    pub tso4: bool,
    /// The device cuts TCP over IPv6 into segments.
    pub tso6: bool,
}

/// Whether the transport checksum of a received frame still has to be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChecksumStatus {
    /// Nobody looked: verify it.
    Unverified,
    /// The device verified it, or the frame never left the host and has none (virtio 1.2, 5.1.6.4.2).
    Verified,
}

/// A received frame: Ethernet header first, possibly over several chained buffers.
#[derive(Debug)]
pub struct RxFrame {
    /// The frame's bytes, without the device's own header.
    pub packet: Packet,
    /// State of its transport checksum.
    pub checksum: ChecksumStatus,
}

/// What the device shall complete in a frame that it transmits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offload {
    /// Sum from `start` to the end of the frame and store at `start + offset`; the field holds the pseudo-header's sum.
    pub checksum: Option<ChecksumOffload>,
    /// Cut the frame into segments.
    pub segmentation: Option<Segmentation>,
}

/// Where a transport checksum starts and goes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChecksumOffload {
    /// First byte to sum, from the start of the Ethernet header.
    pub start: u16,
    /// Where the sum goes, from `start`.
    pub offset: u16,
}

/// How a device shall cut a large TCP frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segmentation {
    /// The IP version of the frame.
    pub ipv6: bool,
    /// Payload bytes per segment.
    pub mss: u16,
    /// Bytes of Ethernet, IP and TCP header that every segment repeats.
    pub header_len: u16,
}

/// Why a frame was not taken for transmission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransmitError {
    /// No descriptor is free: try again after the device has sent some.
    Full,
    /// The frame has more pieces than the device can ever take at once.
    TooManyPieces,
    /// The frame asks for an offload that is not among the device's [`Capabilities`].
    NotNegotiated,
    /// The device misbehaved and is being reset.
    Stopped,
}

/// The receiving side of a queue pair.
pub trait Receive {
    /// The next frame that has arrived, if any.
    fn receive(&mut self) -> Option<RxFrame>;
}

/// The sending side of a queue pair.
pub trait Transmit {
    /// What the device can do.
    fn capabilities(&self) -> &Capabilities;

    /// Pieces that a frame may have now: its head is one, and each payload chunk.
    fn room(&self) -> usize;

    /// Queues one frame: `head` begins with the Ethernet header and has at least 12 bytes of headroom left for the device's
    /// own; `payload` follows it on the wire. The device is told at the end of the burst, not here.
    ///
    /// # Errors
    /// The frame is dropped, its buffers go back to their pool, and the caller counts it.
    fn transmit<P>(&mut self, head: Packet, payload: P, offload: Offload) -> Result<(), TransmitError>
    where
        P: ExactSizeIterator<Item = Chunk>;
}
