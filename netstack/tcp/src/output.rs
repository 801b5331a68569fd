//! Segments on their way out: header, options, checksum.

use weir_packet::{BUFFER_BYTES, Chunk, HEADROOM_BYTES, Packet, RangeError};

use crate::checksum::{self, Checksum};
use crate::counters::Counter;
use crate::flow::send_queue::{Chunks, Cursor, Pieces, copy_out};
use crate::link::{Ecn, EmitError, Link, NextHop, Outbound};
use crate::options::{Layout, OutOptions, TIMESTAMP_BYTES, Timestamp};
use crate::segment::{Flags, HEADER_BYTES};
use crate::seq::SeqNumber;
use crate::shared::Shared;
use crate::tuple::Tuple;

/// Bytes of an IP header without options.
const IPV4_BYTES: u16 = 20;
const IPV6_BYTES: u16 = 40;
/// RFC 9293, 3.7.1: what a peer that does not say takes.
pub(crate) const MSS_DEFAULT_V4: u16 = 536;
pub(crate) const MSS_DEFAULT_V6: u16 = 1_220;
/// A path that claims to carry less than this is not believed (RFC 1191, 7.1 and RFC 8200, 5 have 576 and 1280).
pub(crate) const MTU_MIN_V4: u16 = 552;
pub(crate) const MTU_MIN_V6: u16 = 1_280;
/// RFC 791, 3.2: what every link carries. An error that claims less is a forgery.
pub(crate) const MTU_LEAST_V4: u16 = 68;

/// Where a segment goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route<'a> {
    pub tuple: &'a Tuple,
    pub address_sum: u16,
    pub next_hop: NextHop,
}

/// The header of a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub seq: SeqNumber,
    pub ack: SeqNumber,
    pub flags: Flags,
    /// The field, scaled already.
    pub window: u16,
    pub ecn: Ecn,
    pub options: OutOptions,
}

/// The header of a flow's usual segment: no option but a timestamp.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlainHeader {
    pub seq: SeqNumber,
    pub ack: SeqNumber,
    pub flags: Flags,
    /// The field, scaled already.
    pub window: u16,
    pub ecn: Ecn,
    pub timestamp: Option<Timestamp>,
}

impl From<PlainHeader> for Header {
    fn from(PlainHeader { seq, ack, flags, window, ecn, timestamp }: PlainHeader) -> Self {
        Self { seq, ack, flags, window, ecn, options: OutOptions { timestamp, ..OutOptions::default() } }
    }
}

impl From<&Header> for PlainHeader {
    fn from(&Header { seq, ack, flags, window, ecn, options }: &Header) -> Self {
        Self { seq, ack, flags, window, ecn, timestamp: options.timestamp }
    }
}

/// Why a segment could not be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// The device or the pool has no room: nothing else can be sent either.
    Room,
    /// The neighbour of this flow is not known yet.
    Neighbour,
}

/// The largest payload of an IP packet of `mtu` bytes without TCP options.
pub(crate) fn mss_of_mtu(mtu: u16, is_v4: bool) -> u16 {
    let headers = HEADER_BYTES as u16 + if is_v4 { IPV4_BYTES } else { IPV6_BYTES };
    mtu.saturating_sub(headers).max(1)
}

/// The payload of a segment.
pub(crate) struct Payload<'a> {
    pieces: Pieces<'a>,
    /// Copied behind the header: cheaper than a descriptor when it is short, and the only way when it is in crumbs.
    is_copied: bool,
    /// What the device shall cut the payload to when it is longer.
    mss: u32,
}

/// Pieces in one segment: what any device takes at once.
const PIECES_MAX: usize = 16;
/// Payloads up to so many bytes are copied.
pub(crate) const COPY_BYTES: u32 = 256;
/// What fits behind the header in one buffer.
const COPY_BYTES_MAX: u32 = (BUFFER_BYTES - HEADROOM_BYTES - 60) as u32;

impl<'a> Payload<'a> {
    /// `len` bytes from `at`, or fewer when they lie in too many pieces.
    pub fn new(chunks: &'a Chunks, at: Cursor, len: u32, mss: u32) -> Self {
        let pieces = Pieces::new(chunks, at, len, PIECES_MAX);
        if pieces.bytes() == len {
            return Self { pieces, is_copied: len <= COPY_BYTES, mss };
        }
        Self::of_crumbs(chunks, at, len, mss, pieces)
    }

    #[cold]
    #[inline(never)]
    fn of_crumbs(chunks: &'a Chunks, at: Cursor, len: u32, mss: u32, pieces: Pieces<'a>) -> Self {
        let crumbs = Pieces::new(chunks, at, len.min(mss).min(COPY_BYTES_MAX), usize::MAX);
        let is_copied = crumbs.bytes() >= pieces.bytes();
        Self { pieces: if is_copied { crumbs } else { pieces }, is_copied, mss }
    }

    #[inline]
    pub fn len(&self) -> u32 {
        self.pieces.bytes()
    }
}

/// Sends a plain segment whose payload is `bytes`, copied behind its header: few of them, or none.
#[inline(always)]
pub(crate) fn emit_copied<L: Link>(
    link: &mut L,
    shared: &Shared,
    route: Route<'_>,
    header: &PlainHeader,
    bytes: &[u8],
) -> Result<(), Blocked> {
    let mut head = new_head(link, shared, 1)?;
    write_plain(&mut head, route.tuple, header)?;
    head.extend_from_slice(bytes)?;
    emit_head(link, (route, header.ecn), head, (core::iter::empty(), 0))
}

/// As [`emit_copied`], with the next `len` bytes of the queue, in however many chunks they lie. Answers the place behind them.
#[inline(always)]
pub(crate) fn emit_gathered<L: Link>(
    link: &mut L,
    shared: &Shared,
    route: Route<'_>,
    header: &PlainHeader,
    (at, len): (Cursor, u32),
) -> Result<Cursor, Blocked> {
    let mut head = new_head(link, shared, 1)?;
    write_plain(&mut head, route.tuple, header)?;
    let after = copy_out(&shared.chunks, at, head.extend(len as usize)?);
    emit_head(link, (route, header.ecn), head, (core::iter::empty(), 0))?;
    Ok(after)
}

/// Sends a segment with payload.
pub(crate) fn emit<L: Link>(
    link: &mut L,
    shared: &Shared,
    route: Route<'_>,
    header: &PlainHeader,
    payload: Payload<'_>,
) -> Result<(), Blocked> {
    let Payload { pieces, is_copied, mss } = payload;
    let mut head = new_head(link, shared, 1 + if is_copied { 0 } else { pieces.len() })?;
    write_plain(&mut head, route.tuple, header)?;
    if !is_copied {
        return emit_head(link, (route, header.ecn), head, (pieces, mss));
    }
    pieces.try_each(|bytes| head.extend_from_slice(bytes))?;
    emit_head(link, (route, header.ecn), head, (core::iter::empty(), mss))
}

/// Sends a segment without payload.
pub(crate) fn emit_bare<L: Link>(
    link: &mut L,
    shared: &Shared,
    route: Route<'_>,
    header: &Header,
) -> Result<(), Blocked> {
    // What a SYN announces: the largest payload that the link carries.
    let mss = match header.options.syn {
        Some(_) => {
            let mtu = link.mtu(route.tuple.remote.to_ip());
            mss_of_mtu(mtu, route.tuple.remote.is_v4()).min(shared.config.mss_max)
        }
        None => 0,
    };
    let mut head = new_head(link, shared, 1)?;
    write_options(&mut head, route.tuple, header, mss)?;
    emit_head(link, (route, header.ecn), head, (core::iter::empty(), 0))
}

/// An empty head, if the link takes a segment of so many pieces.
#[inline(always)]
fn new_head<L: Link>(link: &L, shared: &Shared, pieces: usize) -> Result<Packet, Blocked> {
    if link.room() < pieces {
        return Err(Blocked::Room);
    }
    shared.pool.allocate().ok_or(Blocked::Room)
}

impl From<RangeError> for Blocked {
    fn from(_: RangeError) -> Self {
        Self::Room
    }
}

/// Fills in the checksum, and sends `head` with `payload` behind.
#[inline(always)]
fn emit_head<L: Link, P: ExactSizeIterator<Item = Chunk> + Clone + PayloadLen>(
    link: &mut L,
    (route, ecn): (Route<'_>, Ecn),
    mut head: Packet,
    (payload, mss): (P, u32),
) -> Result<(), Blocked> {
    let payload_len = payload.payload_len();
    let tcp_len = head.len() + payload_len as usize;
    let checksum = if link.transmit_checksum() {
        checksum::partial(route.address_sum, tcp_len)
    } else {
        let mut checksum = Checksum::pseudo_header(route.address_sum, tcp_len);
        checksum.add(&head);
        payload.clone().for_each(|piece| checksum.add(&piece));
        checksum.finish()
    };
    if let Some(field) = head.get_mut(16..18) {
        field.copy_from_slice(&checksum);
    }
    let segment = Outbound {
        source: route.tuple.local,
        destination: route.tuple.remote,
        next_hop: route.next_hop,
        ecn,
        payload_len: payload_len as usize,
        segmentation: (payload_len > mss).then_some(mss as u16),
    };
    match link.emit(segment, head, payload) {
        Ok(()) => Ok(()),
        Err(EmitError::Full) => Err(Blocked::Room),
        Err(EmitError::NoNeighbour) => Err(Blocked::Neighbour),
    }
}

/// Bytes in all chunks of an iterator.
trait PayloadLen {
    fn payload_len(&self) -> u32;
}

impl PayloadLen for Pieces<'_> {
    #[inline]
    fn payload_len(&self) -> u32 {
        self.bytes()
    }
}

impl PayloadLen for core::iter::Empty<Chunk> {
    #[inline(always)]
    fn payload_len(&self) -> u32 {
        0
    }
}

/// Counts a segment that was sent.
#[inline(always)]
pub(crate) fn count(shared: &mut Shared, flags: Flags) {
    shared.count(Counter::SegmentsOut);
    if flags.has(Flags::RST) {
        shared.count(Counter::ResetsOut);
    }
}

/// Writes a header with no option but a timestamp.
#[inline(always)]
fn write_plain(head: &mut Packet, tuple: &Tuple, header: &PlainHeader) -> Result<(), RangeError> {
    let len = HEADER_BYTES + if header.timestamp.is_some() { TIMESTAMP_BYTES } else { 0 };
    let bytes = head.extend(len)?;
    let (fixed, option) = bytes.split_first_chunk_mut::<HEADER_BYTES>().ok_or(RangeError)?;
    write_fixed(fixed, tuple, header, len);
    if let (Some(timestamp), Some(option)) = (header.timestamp, option.first_chunk_mut()) {
        *option = timestamp.option();
    }
    Ok(())
}

/// Writes a header with any options.
fn write_options(head: &mut Packet, tuple: &Tuple, header: &Header, mss: u16) -> Result<(), RangeError> {
    let layout = Layout::new(&header.options, mss);
    let len = HEADER_BYTES + layout.as_bytes().len();
    let bytes = head.extend(len)?;
    let (fixed, options) = bytes.split_first_chunk_mut::<HEADER_BYTES>().ok_or(RangeError)?;
    write_fixed(fixed, tuple, &header.into(), len);
    options.copy_from_slice(layout.as_bytes());
    Ok(())
}

/// RFC 9293, 3.1. The sum is taken over a zero checksum; there is no urgent pointer.
#[inline(always)]
fn write_fixed(bytes: &mut [u8; HEADER_BYTES], tuple: &Tuple, header: &PlainHeader, len: usize) {
    let words = [
        tuple.header_word(),
        header.seq.0,
        header.ack.0,
        (len as u32 / 4) << 28 | u32::from(header.flags.0) << 16 | u32::from(header.window),
        0,
    ];
    for (bytes, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *bytes = word.to_be_bytes();
    }
}
