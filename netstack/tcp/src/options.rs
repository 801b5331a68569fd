//! The options of a segment (RFC 9293, 3.2; RFC 7323; RFC 2018; RFC 5482): as they come, and as we lay them out.

use crate::flow::reassembly::SACK_BLOCKS_MAX;
use crate::segment::word;
use crate::seq::SeqNumber;

/// Bytes of the timestamps option with its padding, as everybody lays it out (RFC 7323, appendix A).
pub(crate) const TIMESTAMP_BYTES: usize = 12;
const TIMESTAMP_LAYOUT: [u8; 4] = [1, 1, 8, 10];

mod kind {
    pub const END: u8 = 0;
    pub const NO_OPERATION: u8 = 1;
    pub const MSS: u8 = 2;
    pub const WINDOW_SCALE: u8 = 3;
    pub const SACK_PERMITTED: u8 = 4;
    pub const SACK: u8 = 5;
    pub const TIMESTAMPS: u8 = 8;
    pub const USER_TIMEOUT: u8 = 28;
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
    pub fn parse(bytes: &[u8; TIMESTAMP_BYTES]) -> Option<Self> {
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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

    /// What follows kind and length: whole blocks, one or more. A fourth is not kept.
    fn parse(data: &[u8]) -> Option<Self> {
        let (blocks, []) = data.as_chunks::<8>() else { return None };
        let mut sack = Self::default();
        for (kept, block) in sack.blocks.iter_mut().zip(blocks) {
            *kept = Some((word(block, 0), word(block, 4)));
        }
        (!sack.is_empty()).then_some(sack)
    }
}

/// The options of a received segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Options {
    pub timestamp: Option<Timestamp>,
    pub mss: Option<u16>,
    pub window_scale: Option<u8>,
    pub sack_permitted: bool,
    pub sack: SackBlocks,
    /// RFC 5482.
    pub user_timeout: bool,
}

impl Options {
    /// Reads what stands between header and payload. None when an option runs out of that or has a length that its kind does
    /// not allow.
    #[inline(always)]
    pub fn read(&mut self, bytes: &[u8]) -> Option<()> {
        // What every segment after the SYN has, as a rule.
        if let Ok(usual) = bytes.try_into()
            && let Some(timestamp) = Timestamp::parse(usual)
        {
            self.timestamp = Some(timestamp);
            return Some(());
        }
        self.read_each(bytes)
    }

    #[inline(never)]
    fn read_each(&mut self, mut bytes: &[u8]) -> Option<()> {
        while let [kind, rest @ ..] = bytes {
            bytes = match *kind {
                kind::END => break,
                kind::NO_OPERATION => rest,
                kind => {
                    let (option, rest) = bytes.split_at_checked(usize::from(*rest.first()?))?;
                    self.read_one(kind, option.get(2..)?)?;
                    rest
                }
            };
        }
        Some(())
    }

    /// One option; `data` is what follows its kind and length.
    #[inline(always)]
    fn read_one(&mut self, kind: u8, data: &[u8]) -> Option<()> {
        match (kind, data) {
            (kind::MSS, &[high, low]) => self.mss = Some(u16::from_be_bytes([high, low])),
            (kind::WINDOW_SCALE, &[shift]) => self.window_scale = Some(shift),
            (kind::SACK_PERMITTED, []) => self.sack_permitted = true,
            (kind::SACK, data) => self.sack = SackBlocks::parse(data)?,
            (kind::TIMESTAMPS, data) => {
                let words: &[u8; 8] = data.try_into().ok()?;
                self.timestamp = Some(Timestamp { value: word(words, 0), echo: word(words, 4) });
            }
            (kind::USER_TIMEOUT, [_, _]) => self.user_timeout = true,
            (kind::MSS | kind::WINDOW_SCALE | kind::SACK_PERMITTED | kind::USER_TIMEOUT, _) => return None,
            _ => {}
        }
        Some(())
    }
}

/// The options of a segment that we send.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OutOptions {
    pub timestamp: Option<Timestamp>,
    pub sack: [Option<(u32, u32)>; SACK_BLOCKS_MAX],
    pub syn: Option<SynOptions>,
}

/// The options that only a SYN carries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SynOptions {
    pub window_scale: Option<u8>,
    pub sack_permitted: bool,
}

/// Bytes of all options that a header has room for.
const OPTION_BYTES_MAX: usize = 40;

/// Options as they go out: words, each option padded to a multiple of four bytes.
pub(crate) struct Layout {
    bytes: [u8; OPTION_BYTES_MAX],
    len: usize,
}

impl Layout {
    /// Lays the options out; `mss` is what a SYN announces.
    #[inline(always)]
    pub fn new(options: &OutOptions, mss: u16) -> Self {
        let mut layout = Self { bytes: [0; OPTION_BYTES_MAX], len: 0 };
        if let Some(syn) = &options.syn {
            let [high, low] = mss.to_be_bytes();
            layout.push([kind::MSS, 4, high, low]);
            if let Some(shift) = syn.window_scale {
                layout.push([kind::NO_OPERATION, kind::WINDOW_SCALE, 3, shift]);
            }
            if syn.sack_permitted {
                layout.push([kind::NO_OPERATION, kind::NO_OPERATION, kind::SACK_PERMITTED, 2]);
            }
        }
        if let Some(timestamp) = options.timestamp {
            layout.push(timestamp.option());
        }
        if options.sack[0].is_some() {
            layout.push_sack(options.sack);
        }
        layout
    }

    #[inline(always)]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// As many blocks as there is room for.
    fn push_sack(&mut self, blocks: [Option<(u32, u32)>; SACK_BLOCKS_MAX]) {
        let start = self.len;
        self.push([kind::NO_OPERATION, kind::NO_OPERATION, kind::SACK, 2]);
        for (first, last) in blocks.into_iter().flatten() {
            self.push(first.to_be_bytes());
            self.push(last.to_be_bytes());
        }
        self.bytes[start + 3] = (self.len - start - 2) as u8;
    }

    #[inline(always)]
    fn push<const N: usize>(&mut self, bytes: [u8; N]) {
        if let Some(place) = self.bytes.get_mut(self.len..).and_then(|rest| rest.first_chunk_mut()) {
            *place = bytes;
            self.len += N;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smoltcp::wire::TcpOption;

    /// As [`Options::read`], with another parser.
    fn read_with_smoltcp(mut bytes: &[u8]) -> Option<Options> {
        let mut options = Options::default();
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
                TcpOption::Unknown { kind: kind::USER_TIMEOUT, data } if data.len() != 2 => return None,
                TcpOption::Unknown { kind: kind::USER_TIMEOUT, .. } => options.user_timeout = true,
                TcpOption::NoOperation | TcpOption::Unknown { .. } => {}
            }
            bytes = rest;
        }
        Some(options)
    }

    /// Kinds and lengths as they may be, nearly may be, and cannot be.
    #[test]
    fn agrees_with_smoltcp_about_whatever_comes() {
        let mut state = 5_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let lengths = [(2, 4), (3, 3), (4, 2), (5, 10), (5, 18), (5, 26), (5, 34), (8, 10), (28, 4), (253, 6)];
        let mut good = 0;
        for _ in 0..200_000 {
            let mut bytes = alloc::vec::Vec::new();
            for _ in 0..random(5) {
                let (kind, len) = lengths[random(lengths.len() as u64) as usize];
                match random(8) {
                    0 => bytes.push(random(2) as u8),
                    1 => bytes.extend([kind, random(12) as u8]),
                    _ => {
                        bytes.extend([kind, len]);
                        bytes.extend((2..len).map(|_| random(256) as u8));
                    }
                }
            }
            bytes.truncate(random(41) as usize);
            let mut options = Options::default();
            let read = options.read(&bytes).map(|()| options);
            assert_eq!(read, read_with_smoltcp(&bytes), "{bytes:?}");
            good += u32::from(read.is_some());
        }
        assert!((40_000..160_000).contains(&good), "{good} of 200,000");
    }

    #[test]
    fn what_is_laid_out_is_read_again() {
        let timestamp = Some(Timestamp { value: 7, echo: 0xffff_fffe });
        let syn = SynOptions { window_scale: Some(9), sack_permitted: true };
        let layout = Layout::new(&OutOptions { timestamp, syn: Some(syn), ..OutOptions::default() }, 1_460);
        let mut options = Options::default();
        assert_eq!((layout.as_bytes().len(), options.read(layout.as_bytes())), (24, Some(())));
        assert_eq!((options.mss, options.window_scale, options.sack_permitted), (Some(1_460), Some(9), true));
        assert_eq!((options.timestamp, options.sack.is_empty()), (timestamp, true));

        let mut out = OutOptions { timestamp, ..OutOptions::default() };
        out.sack[0] = Some((1, 2));
        out.sack[1] = Some((5, 0x8000_0000));
        let layout = Layout::new(&out, 0);
        let mut options = Options::default();
        assert_eq!((layout.as_bytes().len(), options.read(layout.as_bytes())), (32, Some(())));
        assert_eq!((options.timestamp, options.sack.blocks), (timestamp, [out.sack[0], out.sack[1], None]));
    }
}
