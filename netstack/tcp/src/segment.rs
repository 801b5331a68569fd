//! A received segment, parsed once (RFC 9293, 3.1): after this no length is checked again.

use weir_packet::Packet;
use weir_packet::frame::ChecksumStatus;

use crate::checksum::Checksum;
use crate::link::{Ecn, NextHop};
use crate::options::{Options, TIMESTAMP_BYTES, Timestamp};
use crate::seq::SeqNumber;
use crate::tuple::Tuple;

/// Bytes of a TCP header without options.
pub(crate) const HEADER_BYTES: usize = 20;

/// The control bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Flags(pub u8);

impl Flags {
    pub const FIN: Self = Self(0x01);
    pub const SYN: Self = Self(0x02);
    pub const RST: Self = Self(0x04);
    pub const PSH: Self = Self(0x08);
    pub const ACK: Self = Self(0x10);
    pub const ECE: Self = Self(0x40);
    pub const CWR: Self = Self(0x80);

    #[inline(always)]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether of SYN, FIN, RST and ACK this one alone is set.
    pub const fn is_only(self, one: Self) -> bool {
        self.0 & (Self::SYN.0 | Self::FIN.0 | Self::RST.0 | Self::ACK.0) == one.0
    }

    #[inline(always)]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[inline(always)]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// What a segment says that is as most are: no control bit but ACK, PSH and FIN, no option but a timestamp.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plain {
    pub seq: SeqNumber,
    pub ack: SeqNumber,
    pub window: u16,
    pub header_len: u8,
    /// Payload bytes.
    pub len: u32,
    pub fin: bool,
    pub timestamp: Option<Timestamp>,
}

/// What of a header's word is to be as expected: length, and all flags but PSH and FIN. Not the window.
const EXPECTED_MASK: u32 = 0xff00_0000 | (!Flags::PSH.with(Flags::FIN).0 as u32) << 16;

impl Plain {
    /// The word of such a header that has its length and its flags, without PSH, FIN and window.
    #[inline(always)]
    pub fn word(timestamps: bool) -> u32 {
        let header_len = HEADER_BYTES + if timestamps { TIMESTAMP_BYTES } else { 0 };
        (header_len as u32 / 4) << 28 | u32::from(Flags::ACK.0) << 16
    }

    /// Reads a header whose word is as `expected`, which is [`Self::word`] or what no header has.
    #[inline(always)]
    pub fn read(packet: &Packet, expected: u32, timestamps: bool) -> Option<Self> {
        let fixed: &[u8; HEADER_BYTES] = packet.first_chunk()?;
        let flags_word = word(fixed, 12);
        if flags_word & EXPECTED_MASK != expected {
            return None;
        }
        let mut header_len = HEADER_BYTES;
        let mut timestamp = None;
        if timestamps {
            header_len += TIMESTAMP_BYTES;
            let option = packet.get(HEADER_BYTES..)?.first_chunk()?;
            timestamp = Some(Timestamp::parse(option)?);
        }
        let frame_len = if packet.is_chain() { packet.frame_len() } else { packet.len() };
        Some(Self {
            seq: SeqNumber(word(fixed, 4)),
            ack: SeqNumber(word(fixed, 8)),
            window: flags_word as u16,
            header_len: header_len as u8,
            len: frame_len as u32 - header_len as u32,
            fin: flags_word & u32::from(Flags::FIN.0) << 16 != 0,
            timestamp,
        })
    }
}

/// The big-endian word at `at`.
#[inline(always)]
pub(crate) fn word<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Where a received segment comes from and whom it is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub tuple: Tuple,
    /// The tuple's hash in the flow table.
    pub hash: u32,
    pub next_hop: NextHop,
    pub ecn: Ecn,
    pub checksum: ChecksumStatus,
}

impl Origin {
    /// Whether the checksum is right, as somebody has said or as it turns out.
    #[inline(always)]
    pub fn is_verified(&self, packet: &mut Packet) -> bool {
        self.checksum != ChecksumStatus::Unverified || is_intact(self.tuple.address_sum(), packet)
    }
}

/// A segment. The payload follows in the packet, headers taken off.
#[derive(Debug)]
pub(crate) struct Segment {
    pub seq: SeqNumber,
    pub ack: SeqNumber,
    pub flags: Flags,
    pub window: u16,
    /// Payload bytes.
    pub len: u32,
    pub ecn: Ecn,
    pub next_hop: NextHop,
    pub options: Options,
    /// None once the flow has taken it.
    pub payload: Option<Packet>,
}

/// Why bytes are not a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SegmentError {
    /// Shorter than a header, or than the header says it is.
    Truncated,
    /// The checksum is wrong.
    Checksum,
    /// An option runs out of the header or has a length that its kind does not allow.
    Option,
    /// A port is 0, or an address can be nobody's.
    Martian,
}

impl Segment {
    /// A segment of which nothing is known yet but where it comes from.
    #[inline(always)]
    pub fn new(origin: &Origin) -> Self {
        Self {
            seq: SeqNumber(0),
            ack: SeqNumber(0),
            flags: Flags(0),
            window: 0,
            len: 0,
            ecn: origin.ecn,
            next_hop: origin.next_hop,
            options: Options::default(),
            payload: None,
        }
    }

    /// Parses, verifies the checksum if nobody has, and takes the header off. In place: a segment has more than a hundred bytes,
    /// which would be moved otherwise.
    #[inline(always)]
    pub fn parse(&mut self, origin: &Origin, mut packet: Packet) -> Result<(), SegmentError> {
        let fixed: &[u8; HEADER_BYTES] = packet.first_chunk().ok_or(SegmentError::Truncated)?;
        let header_len = usize::from(fixed[12] >> 4) * 4;
        self.flags = Flags(fixed[13]);
        (self.seq, self.ack) = (SeqNumber(word(fixed, 4)), SeqNumber(word(fixed, 8)));
        self.window = u16::from_be_bytes([fixed[14], fixed[15]]);
        let options = packet.get(HEADER_BYTES..header_len).ok_or(SegmentError::Truncated)?;
        self.options.read(options).ok_or(SegmentError::Option)?;
        if !origin.is_verified(&mut packet) {
            return Err(SegmentError::Checksum);
        }
        let frame_len = if packet.is_chain() { packet.frame_len() } else { packet.len() };
        self.len = (frame_len - header_len) as u32;
        packet.trim_front(header_len).map_err(|_| SegmentError::Truncated)?;
        self.payload = Some(packet);
        Ok(())
    }

    /// SEG.LEN: payload, SYN and FIN counted.
    #[inline]
    pub fn sequence_len(&self) -> u32 {
        self.len + u32::from(self.flags.has(Flags::SYN)) + u32::from(self.flags.has(Flags::FIN))
    }

    /// Takes the first `len` bytes of the payload off. The sequence number stays.
    pub fn trim_front(&mut self, mut len: u32) {
        self.len -= len;
        let Some(payload) = &mut self.payload else { return };
        while len > 0 {
            let cut = (payload.len() as u32).min(len);
            let _ = payload.trim_front(cut as usize);
            len -= cut;
            match payload.take_rest() {
                Some(rest) if payload.is_empty() => *payload = rest,
                Some(rest) => payload.append(rest),
                None => break,
            }
        }
    }

    /// Shortens the payload to `len` bytes.
    pub fn truncate(&mut self, len: u32) {
        self.len = len;
        let Some(payload) = &mut self.payload else { return };
        let mut left = len as usize;
        let mut rest = payload.take_rest();
        payload.truncate(left);
        left -= payload.len();
        while let Some(mut part) = rest {
            rest = part.take_rest();
            part.truncate(left);
            left -= part.len();
            if !part.is_empty() {
                payload.append(part);
            }
        }
    }
}

/// Verifies the checksum over all buffers of the segment.
pub(crate) fn is_intact(address_sum: u16, packet: &mut Packet) -> bool {
    let mut checksum = Checksum::pseudo_header(address_sum, packet.frame_len());
    checksum.add(packet);
    let mut rest = packet.take_rest();
    while let Some(mut part) = rest {
        checksum.add(&part);
        rest = part.take_rest();
        packet.append(part);
    }
    checksum.is_valid()
}
