//! A received segment, parsed once (RFC 9293, 3.1): after this no length is checked again.

use smoltcp::wire::{TcpOption, TcpPacket};
use weir_packet::Packet;
use weir_packet::frame::ChecksumStatus;

use crate::checksum::Checksum;
use crate::link::{Ecn, Inbound, NextHop};
use crate::seq::SeqNumber;
use crate::tuple::Tuple;

/// Bytes of a TCP header without options.
pub(crate) const HEADER_BYTES: usize = 20;
/// Bytes of the timestamps option with its padding, as everybody lays it out (RFC 7323, appendix A).
pub(crate) const TIMESTAMP_BYTES: usize = 12;
const TIMESTAMP_LAYOUT: [u8; 4] = [1, 1, 8, 10];

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

    #[inline(always)]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[inline(always)]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// The timestamps option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timestamp {
    pub value: u32,
    pub echo: u32,
}

impl Timestamp {
    /// Recognises the option as everybody lays it out (RFC 7323, appendix A).
    #[inline(always)]
    fn parse(bytes: &[u8; TIMESTAMP_BYTES]) -> Option<Self> {
        (bytes[..4] == TIMESTAMP_LAYOUT).then(|| Self { value: word(bytes, 4), echo: word(bytes, 8) })
    }

    /// The option in that layout.
    #[inline(always)]
    pub fn option(self) -> [u8; TIMESTAMP_BYTES] {
        let [l, v, e] = [TIMESTAMP_LAYOUT, self.value.to_be_bytes(), self.echo.to_be_bytes()];
        [l[0], l[1], l[2], l[3], v[0], v[1], v[2], v[3], e[0], e[1], e[2], e[3]]
    }
}

/// The selective acknowledgements of a segment; three at most, as many as fit beside timestamps.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SackBlocks {
    blocks: [Option<(u32, u32)>; 3],
}

impl SackBlocks {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.blocks[0].is_none()
    }

    /// The blocks in the order they were sent: the first was triggered by the latest arrival.
    pub fn iter(&self) -> impl Iterator<Item = (SeqNumber, SeqNumber)> + '_ {
        self.blocks.iter().flatten().map(|&(start, end)| (SeqNumber(start), SeqNumber(end)))
    }

    /// The blocks by their distance from `una`: in the order in which they were sent. Taken in another, they would look like
    /// reordering (RFC 8985, 6.2, step 3).
    pub fn in_order(&self, una: SeqNumber) -> impl Iterator<Item = (SeqNumber, SeqNumber)> {
        let mut blocks = self.blocks;
        blocks.sort_unstable_by_key(|block| block.map_or(u32::MAX, |(start, _)| start.wrapping_sub(una.0)));
        blocks.into_iter().flatten().map(|(start, end)| (SeqNumber(start), SeqNumber(end)))
    }
}

/// The options of a segment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    pub timestamp: Option<Timestamp>,
    pub mss: Option<u16>,
    pub window_scale: Option<u8>,
    pub sack_permitted: bool,
    pub sack: SackBlocks,
    /// RFC 5482.
    pub user_timeout: bool,
}

/// Kinds and lengths of options that `smoltcp` takes for unknown ones.
mod kind {
    /// RFC 7323, 3.2: of any other length than ten.
    pub const TIMESTAMPS: u8 = 8;
    /// RFC 5482, 3.
    pub const USER_TIMEOUT: u8 = 28;
    pub const USER_TIMEOUT_VALUE_BYTES: usize = 2;
}

/// What a segment says that is as most are: no control bit but ACK and PSH, no option but a timestamp.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plain {
    pub seq: SeqNumber,
    pub ack: SeqNumber,
    pub window: u16,
    pub header_len: u8,
    /// Payload bytes.
    pub len: u32,
    pub timestamp: Option<Timestamp>,
}

impl Plain {
    /// Parses such a segment; none when it is another one or malformed, which [`Segment::parse`] tells apart.
    #[inline(always)]
    pub fn parse(inbound: &Inbound) -> Option<(Tuple, Self)> {
        const WITH_TIMESTAMP: usize = HEADER_BYTES + TIMESTAMP_BYTES;
        let packet = &inbound.packet;
        let fixed: &[u8; HEADER_BYTES] = packet.first_chunk()?;
        let tuple = Tuple::of_received(inbound, fixed)?;
        let timestamp = match fixed[12] {
            0x50 => None,
            0x80 => Some(Timestamp::parse(packet.first_chunk::<WITH_TIMESTAMP>()?.last_chunk()?)?),
            _ => return None,
        };
        if Flags(fixed[13]).without(Flags::PSH) != Flags::ACK {
            return None;
        }
        let header_len = (fixed[12] >> 4) * 4;
        let frame_len = if packet.is_chain() { packet.frame_len() } else { packet.len() };
        let (seq, ack) = (SeqNumber(word(fixed, 4)), SeqNumber(word(fixed, 8)));
        let window = u16::from_be_bytes([fixed[14], fixed[15]]);
        let len = frame_len as u32 - u32::from(header_len);
        Some((tuple, Self { seq, ack, window, header_len, len, timestamp }))
    }
}

/// The big-endian word at `at`.
#[inline(always)]
fn word<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
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
    pub payload: Packet,
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
    /// Parses, verifies the checksum if nobody has, and takes the header off.
    pub fn parse(inbound: Inbound) -> Result<(Tuple, Self), SegmentError> {
        let fixed: &[u8; HEADER_BYTES] = inbound.packet.first_chunk().ok_or(SegmentError::Truncated)?;
        let header = TcpPacket::new_unchecked(fixed);
        let tuple = Tuple::of_received(&inbound, fixed).ok_or(SegmentError::Martian)?;
        let header_len = usize::from(header.header_len());
        let flags = Flags(fixed[13]);
        let (seq, ack) = (SeqNumber(header.seq_number().0 as u32), SeqNumber(header.ack_number().0 as u32));
        let window = header.window_len();
        let mut packet = inbound.packet;
        let options = packet.get(HEADER_BYTES..header_len).ok_or(SegmentError::Truncated)?;
        let options = Options::parse(options).ok_or(SegmentError::Option)?;
        if inbound.checksum == ChecksumStatus::Unverified && !is_intact(&tuple, &mut packet) {
            return Err(SegmentError::Checksum);
        }
        let len = if packet.is_chain() { packet.frame_len() } else { packet.len() } - header_len;
        packet.trim_front(header_len).map_err(|_| SegmentError::Truncated)?;
        let (ecn, next_hop) = (inbound.ecn, inbound.next_hop);
        Ok((tuple, Self { seq, ack, flags, window, len: len as u32, ecn, next_hop, options, payload: packet }))
    }

    /// SEG.LEN: payload, SYN and FIN counted.
    #[inline]
    pub fn sequence_len(&self) -> u32 {
        self.len + u32::from(self.flags.has(Flags::SYN)) + u32::from(self.flags.has(Flags::FIN))
    }

    /// Takes the first `len` bytes of the payload off. The sequence number stays.
    pub fn trim_front(&mut self, mut len: u32) {
        self.len -= len;
        while len > 0 {
            let cut = (self.payload.len() as u32).min(len);
            let _ = self.payload.trim_front(cut as usize);
            len -= cut;
            match self.payload.take_rest() {
                Some(rest) if self.payload.is_empty() => self.payload = rest,
                Some(rest) => self.payload.append(rest),
                None => break,
            }
        }
    }

    /// Shortens the payload to `len` bytes.
    pub fn truncate(&mut self, len: u32) {
        self.len = len;
        let mut left = len as usize;
        let mut rest = self.payload.take_rest();
        self.payload.truncate(left);
        left -= self.payload.len();
        while let Some(mut part) = rest {
            rest = part.take_rest();
            part.truncate(left);
            left -= part.len();
            if !part.is_empty() {
                self.payload.append(part);
            }
        }
    }
}

impl Options {
    /// None when malformed.
    fn parse(mut bytes: &[u8]) -> Option<Self> {
        let mut options = Self::default();
        while !bytes.is_empty() {
            let (rest, option) = TcpOption::parse(bytes).ok()?;
            match option {
                TcpOption::EndOfList => break,
                TcpOption::MaxSegmentSize(mss) => options.mss = Some(mss),
                TcpOption::WindowScale(shift) => options.window_scale = Some(shift),
                TcpOption::SackPermitted => options.sack_permitted = true,
                TcpOption::SackRange(blocks) => options.sack.blocks = blocks,
                TcpOption::TimeStamp { tsval, tsecr } => {
                    options.timestamp = Some(Timestamp { value: tsval, echo: tsecr });
                }
                TcpOption::Unknown { kind: kind::TIMESTAMPS, .. } => return None,
                TcpOption::Unknown { kind: kind::USER_TIMEOUT, data } => {
                    if data.len() != kind::USER_TIMEOUT_VALUE_BYTES {
                        return None;
                    }
                    options.user_timeout = true;
                }
                TcpOption::NoOperation | TcpOption::Unknown { .. } => {}
            }
            bytes = rest;
        }
        Some(options)
    }
}

/// Verifies the checksum over all buffers of the segment.
pub(crate) fn is_intact(tuple: &Tuple, packet: &mut Packet) -> bool {
    let mut checksum = Checksum::pseudo_header(tuple.address_sum(), packet.frame_len());
    checksum.add(packet);
    let mut rest = packet.take_rest();
    while let Some(mut part) = rest {
        checksum.add(&part);
        rest = part.take_rest();
        packet.append(part);
    }
    checksum.is_valid()
}
