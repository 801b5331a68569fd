//! The bottleneck, and what is on its way.

use std::collections::VecDeque;
use std::net::IpAddr;

use weir_packet::{Chunk, Packet};
use weir_tcp::{Address, Ecn, EmitError, Link, Outbound};

use crate::random::Random;

/// Bytes of the IP header.
pub const IP_BYTES: u16 = 20;

/// The way from the sender to the receiver and back.
#[derive(Debug, Clone)]
pub struct Path {
    /// Bits per second of the bottleneck, IP headers counted.
    pub rate_bps: u64,
    /// Bits per second at which the sender's device reaches it.
    pub access_bps: u64,
    /// Round trip through an empty queue, in microseconds; half of it each way.
    pub round_trip_us: u64,
    /// Bytes that wait before the bottleneck; what does not fit is dropped.
    pub queue_bytes: u64,
    /// What is lost besides.
    pub loss: Loss,
    /// IP packet bytes.
    pub mtu: u16,
    /// Payload bytes that the sender's device cuts; 0: it does not.
    pub segmentation_max: usize,
}

/// Which segments with payload are lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss {
    /// None.
    None,
    /// Each with this probability, whatever happened to others.
    Random(f64),
    /// One of so many: the process that the RFCs' models are computed for.
    Every(u64),
}

/// A segment on its way.
#[derive(Debug, Default)]
pub(super) struct Segment {
    at_ns: u64,
    pub source: Option<(Address, Address)>,
    pub ecn: Ecn,
    /// From the TCP header on.
    pub bytes: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Wire {
    path: Path,
    random: Random,
    /// What is on its way to the sender, and to the receiver, in the order of time.
    on_the_way: [VecDeque<Segment>; 2],
    spare: Vec<Vec<u8>>,
    /// When the sender's device, and the bottleneck, have sent all that they were given.
    access_free_ns: u64,
    bottleneck_free_ns: u64,
    until_loss: u64,
    pub segments: u64,
    pub lost: u64,
    pub dropped: u64,
}

impl Wire {
    pub fn new(path: Path, random: Random) -> Self {
        let until_loss = if let Loss::Every(count) = path.loss { count } else { 0 };
        Self {
            path,
            random,
            on_the_way: Default::default(),
            spare: Vec::new(),
            access_free_ns: 0,
            bottleneck_free_ns: 0,
            until_loss,
            segments: 0,
            lost: 0,
            dropped: 0,
        }
    }

    pub fn next_arrival_ns(&self, to: usize) -> Option<u64> {
        self.on_the_way[to].front().map(|segment| segment.at_ns)
    }

    pub fn pop_arrival(&mut self, to: usize, now_ns: u64) -> Option<Segment> {
        if self.next_arrival_ns(to)? > now_ns { None } else { self.on_the_way[to].pop_front() }
    }

    /// Takes back the memory of a segment that arrived.
    pub fn recycle(&mut self, segment: Segment) {
        self.spare.push(segment.bytes);
    }

    /// The link of one side's engine.
    pub fn port(&mut self, from: usize, now_ns: u64) -> WirePort<'_> {
        WirePort { wire: self, from, now_ns }
    }

    /// When a segment of `len` bytes that `from` sends now arrives; none when it does not.
    fn arrival_ns(&mut self, from: usize, now_ns: u64, len: u64) -> Option<u64> {
        self.segments += 1;
        let delay_ns = self.path.round_trip_us * 500;
        if from == 1 {
            return Some(now_ns + delay_ns);
        }
        let enters_ns = self.access_free_ns.max(now_ns) + len * 8_000_000_000 / self.path.access_bps;
        self.access_free_ns = enters_ns;
        if len > u64::from(IP_BYTES) + 60 && self.is_lost() {
            self.lost += 1;
            return None;
        }
        let wait_ns = self.bottleneck_free_ns.saturating_sub(enters_ns);
        let queued = u128::from(wait_ns) * u128::from(self.path.rate_bps) / 8_000_000_000;
        if queued as u64 + len > self.path.queue_bytes {
            self.dropped += 1;
            return None;
        }
        self.bottleneck_free_ns = enters_ns + wait_ns + len * 8_000_000_000 / self.path.rate_bps;
        Some(self.bottleneck_free_ns + delay_ns)
    }

    fn is_lost(&mut self) -> bool {
        match self.path.loss {
            Loss::None => false,
            Loss::Random(p) => ((self.random.bits() >> 11) as f64) < p * (1_u64 << 53) as f64,
            Loss::Every(count) => {
                self.until_loss -= 1;
                if self.until_loss == 0 {
                    self.until_loss = count;
                }
                self.until_loss == count
            }
        }
    }
}

pub(super) struct WirePort<'a> {
    wire: &'a mut Wire,
    from: usize,
    now_ns: u64,
}

impl WirePort<'_> {
    /// One segment of a train: `header`, moved on by `skip` payload bytes.
    fn put(&mut self, segment: &Outbound, header: &[u8], (skip, is_last): (usize, bool), payload: &[u8]) {
        let len = (header.len() + payload.len()) as u64 + u64::from(IP_BYTES);
        let Some(at_ns) = self.wire.arrival_ns(self.from, self.now_ns, len) else { return };
        let mut bytes = self.wire.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(header);
        bytes.extend_from_slice(payload);
        if let Some((seq, _)) = bytes[4..].split_first_chunk_mut::<4>() {
            *seq = u32::from_be_bytes(*seq).wrapping_add(skip as u32).to_be_bytes();
        }
        if !is_last {
            // FIN and PSH belong to the last.
            bytes[13] &= !0x09;
        }
        let source = Some((segment.source, segment.destination));
        self.wire.on_the_way[1 - self.from].push_back(Segment { at_ns, source, ecn: segment.ecn, bytes });
    }
}

impl Link for WirePort<'_> {
    fn room(&self) -> usize {
        4_096
    }

    fn mtu(&self, _: IpAddr) -> u16 {
        self.wire.path.mtu
    }

    fn segmentation_max(&self, _: bool) -> usize {
        self.wire.path.segmentation_max
    }

    fn transmit_checksum(&self) -> bool {
        true
    }

    fn emit<P: ExactSizeIterator<Item = Chunk>>(
        &mut self,
        segment: Outbound,
        head: Packet,
        payload: P,
    ) -> Result<(), EmitError> {
        let header_len = usize::from(head[12] >> 4) * 4;
        let (header, copied) = head.split_at(header_len);
        let mut train = self.wire.spare.pop().unwrap_or_default();
        train.clear();
        train.extend_from_slice(copied);
        payload.for_each(|piece| train.extend_from_slice(&piece));
        let mss = segment.segmentation.map_or(usize::MAX, usize::from);
        let mut skip = 0;
        loop {
            let len = mss.min(train.len() - skip);
            let is_last = skip + len == train.len();
            self.put(&segment, header, (skip, is_last), &train[skip..skip + len]);
            skip += len;
            if is_last {
                break;
            }
        }
        self.wire.spare.push(train);
        Ok(())
    }
}
