//! What the engine takes from and gives to the layer below: received segments, ICMP errors, and the [`Link`] it sends
//! through.

use core::net::{IpAddr, SocketAddr};

use weir_packet::frame::ChecksumStatus;
use weir_packet::{Chunk, Packet};

use crate::tuple::Address;

/// A received TCP segment.
#[derive(Debug)]
pub struct Inbound {
    /// Source address of the IP header.
    pub source: Address,
    /// Destination address of the IP header.
    pub destination: Address,
    /// How to answer: the neighbour that the frame came from.
    pub next_hop: NextHop,
    /// The IP header's ECN field.
    pub ecn: Ecn,
    /// Whether the TCP checksum still has to be verified.
    pub checksum: ChecksumStatus,
    /// Begins at the TCP header and ends with the IP payload; a chain when the segment did not fit into one buffer.
    pub packet: Packet,
}

/// How a peer is reached on the link. Opaque to the engine: it stores what came with a received segment and gives it
/// back to [`Link::emit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NextHop(pub u32);

impl NextHop {
    /// Not known yet: the flow was opened by us and nothing came back so far.
    pub const UNKNOWN: Self = Self(u32::MAX);
}

/// The ECN field of an IP header (RFC 3168, 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Ecn {
    /// Not capable.
    #[default]
    NotCapable = 0b00,
    /// Capable, ECT(1).
    Capable1 = 0b01,
    /// Capable, ECT(0).
    Capable0 = 0b10,
    /// Congestion experienced.
    CongestionExperienced = 0b11,
}

impl Ecn {
    /// From the two low bits of the traffic class.
    #[inline]
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 0b11 {
            0b00 => Self::NotCapable,
            0b01 => Self::Capable1,
            0b10 => Self::Capable0,
            _ => Self::CongestionExperienced,
        }
    }

    /// The two bits as they stand in the traffic class.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u8 {
        self as u8
    }
}

/// An ICMP error that quotes a segment of ours. The layer below has verified the ICMP checksum and parsed the quote.
#[derive(Debug, Clone, Copy)]
pub struct IcmpError {
    /// Source of the quoted segment: our end.
    pub local: SocketAddr,
    /// Destination of the quoted segment.
    pub remote: SocketAddr,
    /// Sequence number of the quoted segment.
    pub sequence: u32,
    /// What is wrong.
    pub kind: IcmpErrorKind,
}

/// What an ICMP error reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IcmpErrorKind {
    /// Fragmentation needed, or packet too big: the next link carries IP packets of so many bytes.
    PacketTooBig(u16),
    /// Destination unreachable.
    Unreachable(Unreachable),
}

/// Why a destination is unreachable (RFC 792, RFC 4443).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachable {
    /// No route to the network.
    Network,
    /// No route to the host, or its neighbour does not answer.
    Host,
    /// The host does not speak TCP.
    Protocol,
    /// Nobody listens on the port.
    Port,
    /// A filter forbids it.
    Prohibited,
}

/// A segment to be sent: the parts that go into the layers below.
#[derive(Debug, Clone, Copy)]
pub struct Outbound {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// What [`Inbound`] said last, or [`NextHop::UNKNOWN`].
    pub next_hop: NextHop,
    /// For the IP header.
    pub ecn: Ecn,
    /// Bytes of payload behind the TCP header, in all chunks together: the IP header tells the length.
    pub payload_len: usize,
    /// Set when the payload is larger than one segment: the device shall cut it into pieces of so many bytes.
    pub segmentation: Option<u16>,
}

/// Why a segment was not sent. Its head is dropped; the engine keeps the payload and tries again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmitError {
    /// The neighbour's address is being resolved; [`crate::Engine::handle_neighbour_change`] tells when to try again.
    NoNeighbour,
    /// No descriptor is free.
    Full,
}

/// What the engine sends through: IP and Ethernet headers, neighbour resolution and loopback, over a device.
pub trait Link {
    /// Descriptors that are free: a segment takes one for its head and one for each payload chunk.
    fn room(&self) -> usize;

    /// Largest IP packet, in bytes, towards `destination`.
    fn mtu(&self, destination: IpAddr) -> u16;

    /// Largest TCP payload, in bytes, that the device cuts into segments; 0 when it does not.
    fn segmentation_max(&self, ipv6: bool) -> usize;

    /// Whether the device completes checksums: then the checksum field holds the sum of the pseudo-header, with the
    /// length of the whole (uncut) segment; otherwise it holds the finished checksum.
    fn transmit_checksum(&self) -> bool;

    /// Sends one segment. `head` begins at the TCP header and has headroom for the layers below.
    ///
    /// # Errors
    /// Nothing was sent.
    fn emit<P: ExactSizeIterator<Item = Chunk>>(
        &mut self,
        segment: Outbound,
        head: Packet,
        payload: P,
    ) -> Result<(), EmitError>;
}
