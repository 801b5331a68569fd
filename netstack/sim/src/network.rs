//! What happens to a segment between two hosts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use smoltcp::wire::{IpAddress, TcpPacket, TcpSeqNumber};
use weir_packet::{Chunk, Packet};
use weir_tcp::{Ecn, EmitError, IcmpErrorKind, Link, Outbound};

use crate::random::Random;

/// The conditions on the way, both directions alike.
#[derive(Debug, Clone)]
pub struct Conditions {
    /// Time on the way, in microseconds.
    pub delay_us: u64,
    /// Up to so much more, at random: segments overtake each other.
    pub jitter_us: u64,
    /// Segments lost, of a million.
    pub loss_ppm: u32,
    /// Segments that arrive twice, of a million.
    pub duplicate_ppm: u32,
    /// Segments of which one bit arrives wrong, of a million.
    pub corrupt_ppm: u32,
    /// ECN-capable segments marked, of a million.
    pub mark_ppm: u32,
    /// IP packet bytes that the hosts' links carry.
    pub link_mtu: u16,
    /// IP packet bytes that the way carries.
    pub path_mtu: u16,
    /// Payload bytes that the hosts' devices cut; 0: they do not.
    pub segmentation_max: usize,
    /// The devices complete checksums.
    pub checksum_offload: bool,
    /// Bits per second of the bottleneck, and how many bytes wait there; none: no bottleneck.
    pub bottleneck: Option<(u64, u64)>,
}

/// A segment on its way, or an ICMP error.
#[derive(Debug, Clone)]
pub(crate) enum Delivery {
    Segment { to: usize, source: IpAddr, destination: IpAddr, ecn: Ecn, bytes: Vec<u8> },
    TooBig { to: usize, quote: Vec<u8>, source: IpAddr, destination: IpAddr, mtu: u16 },
}

/// All that is on its way.
#[derive(Debug)]
pub struct Network {
    pub(crate) conditions: Conditions,
    random: Random,
    now_ns: u64,
    on_the_way: BTreeMap<(u64, u64), Delivery>,
    sequence: u64,
    /// When the bottleneck of each direction is free again.
    busy_until_ns: [u64; 2],
    /// A hash of everything that was sent, and when.
    pub(crate) trace: u64,
    pub(crate) segments: u64,
    pub(crate) dropped: u64,
    /// Print every segment.
    pub(crate) verbose: bool,
}

impl Network {
    pub(crate) fn new(conditions: Conditions, random: Random) -> Self {
        Self {
            conditions,
            random,
            now_ns: 0,
            on_the_way: BTreeMap::new(),
            sequence: 0,
            busy_until_ns: [0; 2],
            trace: 0,
            segments: 0,
            dropped: 0,
            verbose: false,
        }
    }

    pub(crate) fn set_now(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    pub(crate) fn next_arrival_ns(&self) -> Option<u64> {
        self.on_the_way.keys().next().map(|&(at, _)| at)
    }

    pub(crate) fn pop_arrival(&mut self) -> Option<Delivery> {
        let entry = self.on_the_way.first_entry()?;
        if entry.key().0 > self.now_ns { None } else { Some(entry.remove()) }
    }

    /// The network's end of host `from`.
    pub(crate) fn port(&mut self, from: usize) -> Port<'_> {
        Port { network: self, from }
    }

    fn send(&mut self, from: usize, outbound: &Outbound, bytes: Vec<u8>) {
        self.segments += 1;
        self.note(from, &bytes);
        let ip_len = bytes.len() + if outbound.source.is_v4() { 20 } else { 40 };
        let Conditions { path_mtu, mark_ppm, .. } = self.conditions;
        if ip_len > usize::from(path_mtu) {
            let (quote, mtu) = (bytes[..8].to_vec(), path_mtu);
            let (source, destination) = (outbound.source.to_ip(), outbound.destination.to_ip());
            return self.schedule(from, Delivery::TooBig { to: from, quote, source, destination, mtu });
        }
        if self.random.chance_ppm(self.conditions.loss_ppm) || !self.passes_bottleneck(from, ip_len) {
            self.dropped += 1;
            return;
        }
        let mut ecn = outbound.ecn;
        if ecn != Ecn::NotCapable && self.random.chance_ppm(mark_ppm) {
            ecn = Ecn::CongestionExperienced;
        }
        let (source, destination) = (outbound.source.to_ip(), outbound.destination.to_ip());
        let mut delivery = Delivery::Segment { to: 1 - from, source, destination, ecn, bytes };
        if self.random.chance_ppm(self.conditions.duplicate_ppm) {
            self.schedule(from, delivery.clone());
        }
        if self.random.chance_ppm(self.conditions.corrupt_ppm)
            && let Delivery::Segment { bytes, .. } = &mut delivery
        {
            let bit = self.random.below(bytes.len() as u64 * 8) as usize;
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        self.schedule(from, delivery);
    }

    /// Whether the segment fits into the bottleneck's queue; it leaves when those before it have left.
    fn passes_bottleneck(&mut self, from: usize, len: usize) -> bool {
        let Some((rate_bps, queue_bytes)) = self.conditions.bottleneck else { return true };
        let queued_ns = self.busy_until_ns[from].saturating_sub(self.now_ns);
        if queued_ns * rate_bps / 8_000_000_000 > queue_bytes {
            return false;
        }
        self.busy_until_ns[from] = self.now_ns + queued_ns + len as u64 * 8_000_000_000 / rate_bps;
        true
    }

    fn schedule(&mut self, from: usize, delivery: Delivery) {
        let jitter_us = self.random.below(self.conditions.jitter_us + 1);
        let leaves_ns = self.busy_until_ns[from].max(self.now_ns);
        let at = leaves_ns + (self.conditions.delay_us + jitter_us) * 1_000;
        self.sequence += 1;
        self.on_the_way.insert((at, self.sequence), delivery);
    }

    fn note(&mut self, from: usize, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.trace = (self.trace ^ u64::from_le_bytes(word)).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
        }
        self.trace ^= self.now_ns ^ from as u64;
        if self.verbose {
            let packet = TcpPacket::new_unchecked(bytes);
            eprintln!("{:>14.6} {from}> {packet}", self.now_ns as f64 / 1e9);
        }
    }
}

/// A host's end of the network: the link that its engine sends through.
pub(crate) struct Port<'a> {
    network: &'a mut Network,
    from: usize,
}

impl Link for Port<'_> {
    fn room(&self) -> usize {
        256
    }

    fn mtu(&self, _: IpAddr) -> u16 {
        self.network.conditions.link_mtu
    }

    fn segmentation_max(&self, _: bool) -> usize {
        self.network.conditions.segmentation_max
    }

    fn transmit_checksum(&self) -> bool {
        self.network.conditions.checksum_offload
    }

    fn emit<P: ExactSizeIterator<Item = Chunk>>(
        &mut self,
        segment: Outbound,
        head: Packet,
        payload: P,
    ) -> Result<(), EmitError> {
        let mut bytes = head.to_vec();
        let header_len = bytes.len();
        payload.for_each(|piece| bytes.extend_from_slice(&piece));
        assert_eq!(bytes.len() - header_len, segment.payload_len, "the payload's length is told");
        let (source, destination) =
            (IpAddress::from(segment.source.to_ip()), IpAddress::from(segment.destination.to_ip()));
        let Some(mss) = segment.segmentation else {
            let mut packet = TcpPacket::new_unchecked(&mut bytes[..]);
            if self.transmit_checksum() {
                packet.fill_checksum(&source, &destination);
            } else {
                assert!(packet.verify_checksum(&source, &destination), "the engine sums up");
            }
            self.network.send(self.from, &segment, bytes);
            return Ok(());
        };
        for part in cut(&bytes, header_len, usize::from(mss)) {
            let mut part = part;
            TcpPacket::new_unchecked(&mut part[..]).fill_checksum(&source, &destination);
            self.network.send(self.from, &segment, part);
        }
        Ok(())
    }
}

/// What a device does with a large segment.
fn cut(bytes: &[u8], header_len: usize, mss: usize) -> Vec<Vec<u8>> {
    let (header, payload) = bytes.split_at(header_len);
    let parts = payload.chunks(mss);
    let last = parts.len() - 1;
    let cut_part = |(i, part): (usize, &[u8])| {
        let mut segment = [header, part].concat();
        let mut packet = TcpPacket::new_unchecked(&mut segment[..]);
        let seq = packet.seq_number();
        packet.set_seq_number(TcpSeqNumber(seq.0.wrapping_add((i * mss) as i32)));
        if i < last {
            packet.set_fin(false);
            packet.set_psh(false);
        }
        if i > 0 {
            packet.set_cwr(false);
        }
        segment
    };
    parts.enumerate().map(cut_part).collect()
}

impl Delivery {
    /// The error of a segment that was too big, as the layer below the engine would give it.
    pub(crate) fn icmp_error(&self) -> Option<weir_tcp::IcmpError> {
        let Delivery::TooBig { quote, source, destination, mtu, .. } = self else { return None };
        let port = |i: usize| u16::from_be_bytes([quote[i], quote[i + 1]]);
        Some(weir_tcp::IcmpError {
            local: (*source, port(0)).into(),
            remote: (*destination, port(2)).into(),
            sequence: u32::from_be_bytes([quote[4], quote[5], quote[6], quote[7]]),
            kind: IcmpErrorKind::PacketTooBig(*mtu),
        })
    }
}
