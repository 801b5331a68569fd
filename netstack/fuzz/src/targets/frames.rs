//! Whole frames through a shard with an application that echoes, bytes and datagrams.

use std::time::Duration;

use weir_packet::frame::{Capabilities, ChecksumStatus, Offload, RxFrame, Transmit, TransmitError};
use weir_packet::{Chunk, Packet, Pool};
use weir_socket::{Event, FlowId, Instant, Received, Sockets, Token};
use weir_stack::{Ipv4Configuration, Ipv4Source, Ipv6Configuration, Ipv6Source, Shard, ShardConfig};

use crate::features::Features;

const MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];
const BUFFERS: usize = 128;

/// Frames of one input, at most.
const FRAMES_MAX: usize = 100;

/// Time after which everything that peers have left behind is gone.
const LONG_AFTERWARDS: Duration = Duration::from_secs(2_000);

/// Where the shard sends: whatever it is, it must fit.
struct Device {
    capabilities: Capabilities,
    /// The last TCP segment that was sent, from its Ethernet header.
    last: Vec<u8>,
    sent: u64,
}

impl Transmit for Device {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn room(&self) -> usize {
        64
    }

    fn transmit<P>(&mut self, head: Packet, payload: P, _: Offload) -> Result<(), TransmitError>
    where
        P: ExactSizeIterator<Item = Chunk>,
    {
        assert!(head.headroom() >= 12, "no room for the device's own header");
        let mut frame = head.to_vec();
        payload.for_each(|chunk| frame.extend_from_slice(&chunk));
        assert!(frame.len() <= 14 + usize::from(self.capabilities.mtu), "a frame of {} bytes", frame.len());
        self.sent += 1;
        if frame.get(23) == Some(&6) && frame.get(12..14) == Some(&[8, 0]) {
            self.last = frame;
        }
        Ok(())
    }
}

/// A shard, its device and its application.
struct Host {
    shard: Shard,
    device: Device,
    pool: Pool,
    now: Instant,
    flows: Vec<FlowId>,
    /// The port where datagrams are echoed: always the same.
    port: u16,
}

/// The first byte chooses where addresses come from. Then follow frames: a byte of choices, the length, the bytes.
pub fn run(data: &[u8]) -> Features {
    let Some((&first, mut rest)) = data.split_first() else { return Features::default() };
    let mut host = Host::new(first);
    let mut features = Features::default();
    for _ in 0..FRAMES_MAX {
        let [choices, len, more @ ..] = rest else { break };
        let len = usize::from(*len) << (choices >> 6 & 1);
        let (bytes, more) = more.split_at(len.min(more.len()));
        rest = more;
        if choices & 0x80 != 0 {
            host.advance(Duration::from_millis(len as u64 * 10));
        }
        host.receive(*choices, bytes);
        host.turn();
        host.note(&mut features);
    }
    host.finish();
    features
}

impl Host {
    fn new(choices: u8) -> Self {
        let capabilities = Capabilities { mac: MAC, mtu: 1_500, transmit_checksum: false, tso4: false, tso6: false };
        let pool = Pool::with_capacity(BUFFERS).expect("memory for the pool");
        let mut config = ShardConfig::new(0, 1, [1, 2, 3, 4], capabilities);
        let ipv4 = Ipv4Configuration::new([10, 0, 0, 2].into(), 24).with_gateway([10, 0, 0, 1].into());
        let ipv6 = Ipv6Configuration { address: "fd00::2".parse().expect("an address"), prefix_len: 64, gateway: None };
        config.ipv4 = if choices & 1 == 0 { Ipv4Source::Static(ipv4) } else { Ipv4Source::Dhcp };
        config.ipv6 = if choices & 2 == 0 { Ipv6Source::Static(ipv6) } else { Ipv6Source::Router };
        config.neighbours_max = 8;
        config.tcp.flows_max = 8;
        config.tcp.half_open_max = 4;
        config.tcp.syn_credit_max = 8;
        config.tcp.syn_notes_bytes = 64;
        config.tcp.time_wait_max = 256;
        let mut shard = Shard::new(config, pool.clone());
        let now = Instant::from_nanos(1_000_000_000);
        shard.set_now(now);
        for local in ["0.0.0.0:80", "[::]:80"] {
            shard.listen(local.parse().expect("an address"), Token(0)).expect("a free port");
        }
        if choices & 4 != 0 {
            let _ = shard.connect("10.0.0.9:90".parse().expect("an address"), Token(1));
        }
        let port = shard.bind_datagrams(0).expect("a free port");
        let device = Device { capabilities, last: Vec::new(), sent: 0 };
        let mut host = Self { shard, device, pool, now, flows: Vec::new(), port };
        host.turn();
        host
    }

    fn advance(&mut self, by: Duration) {
        self.now = self.now + by;
        self.shard.set_now(self.now);
    }

    fn receive(&mut self, choices: u8, bytes: &[u8]) {
        let frame = fit(choices, bytes, &self.device.last);
        let Some(mut packet) = self.pool.allocate_whole() else { return };
        if packet.trim_front(16).is_err() || packet.len() < frame.len() {
            return;
        }
        packet.truncate(frame.len());
        packet.copy_from_slice(&frame);
        let checksum = if choices & 1 == 0 { ChecksumStatus::Verified } else { ChecksumStatus::Unverified };
        self.shard.handle_frame(RxFrame { packet, checksum });
    }

    fn turn(&mut self) {
        self.shard.handle_timers();
        while let Some(event) = self.shard.poll_event() {
            match event {
                Event::Acceptable { listener, .. } => {
                    while let Some(flow) = self.shard.accept(listener, Token(2)) {
                        self.flows.push(flow);
                        self.echo(flow);
                    }
                }
                Event::Flow { flow, .. } => self.echo(flow),
            }
        }
        while self.shard.poll_shard_event().is_some() {}
        while let Some(datagram) = self.shard.receive_datagram(self.port) {
            let _ = self.shard.send_datagram(self.port, datagram.source, &datagram.payload);
        }
        self.shard.poll_transmit(&mut self.device);
        assert!(self.shard.poll_message().is_none(), "one core has nobody to send messages to");
    }

    fn echo(&mut self, flow: FlowId) {
        loop {
            match self.shard.receive(flow) {
                Received::Data(chunk) => drop(self.shard.send(flow, chunk)),
                Received::Nothing => return,
                Received::End | Received::Closed(_) => return self.shard.close(flow),
            }
        }
    }

    fn note(&self, features: &mut Features) {
        let counters = self.shard.counters();
        let all = counters.events().chain(counters.drops()).chain(self.shard.tcp_counters().iter());
        for (index, (_, value)) in all.enumerate() {
            features.add_count(index as u32, value);
        }
        features.add_count(1_000, self.shard.gauges().map(|(_, value)| value).max().unwrap_or(0));
        for (index, count) in self.shard.tcp_gauges().flows.iter().enumerate() {
            features.add_count(1_100 + index as u32, (*count).into());
        }
    }

    /// All peers are gone, and so is everything that was kept for them.
    fn finish(mut self) {
        for flow in std::mem::take(&mut self.flows) {
            self.shard.abort(flow);
        }
        // Each step lets all timers of the one before fire.
        for _ in 0..8 {
            self.advance(LONG_AFTERWARDS);
            self.turn();
        }
        let gauges = self.shard.tcp_gauges();
        assert_eq!((gauges.half_open, gauges.time_wait), (0, 0), "left over");
        assert_eq!((gauges.send_queued, gauges.receive_queued), (0, 0), "left over");
        let in_use = self.pool.in_use();
        assert_eq!(in_use, 0, "buffers are left");
    }
}

/// By choice, puts in what most frames would fail for: addresses, lengths, checksums, sequence numbers.
fn fit(choices: u8, bytes: &[u8], last: &[u8]) -> Vec<u8> {
    let mut frame = bytes.to_vec();
    if choices & 2 == 0 && frame.len() >= 14 {
        frame[..6].copy_from_slice(&MAC);
        let ethertype = match frame[12] % 4 {
            0 | 1 => [8, 0],
            2 => [0x86, 0xdd],
            _ => [8, 6],
        };
        frame[12..14].copy_from_slice(&ethertype);
    }
    if choices & 4 == 0 && frame.len() >= 34 && frame[12..14] == [8, 0] {
        fit_ipv4(&mut frame, choices, last);
    } else if choices & 4 == 0 && frame.len() >= 54 && frame[12..14] == [0x86, 0xdd] {
        let len = (frame.len() - 54) as u16;
        frame[14] = 0x60;
        frame[18..20].copy_from_slice(&len.to_be_bytes());
        if choices & 8 == 0 {
            frame[38..54].copy_from_slice(&[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        }
        if frame[20] == 58 && frame.len() >= 58 {
            frame[56..58].fill(0);
            let pseudo: u32 = sum(&frame[22..54]) + u32::from(len) + 58;
            let checksum = fold(pseudo + sum(&frame[54..]));
            frame[56..58].copy_from_slice(&checksum.to_be_bytes());
        }
    }
    frame
}

fn fit_ipv4(frame: &mut [u8], choices: u8, last: &[u8]) {
    let len = (frame.len() - 14) as u16;
    frame[14] = 0x45;
    frame[16..18].copy_from_slice(&len.to_be_bytes());
    frame[20..22].fill(0);
    if choices & 8 == 0 {
        frame[26..30].copy_from_slice(&[10, 0, 0, 9]);
        frame[30..34].copy_from_slice(&[10, 0, 0, 2]);
    }
    frame[24..26].fill(0);
    let checksum = fold(sum(&frame[14..34]));
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    if frame[23] == 1 && frame.len() >= 38 {
        frame[36..38].fill(0);
        let checksum = fold(sum(&frame[34..]));
        frame[36..38].copy_from_slice(&checksum.to_be_bytes());
    }
    // The answer to what was sent last.
    if frame[23] == 6 && frame.len() >= 54 && last.len() >= 54 && choices & 16 == 0 {
        frame[34..36].copy_from_slice(&last[36..38]);
        frame[36..38].copy_from_slice(&last[34..36]);
        frame[38..42].copy_from_slice(&last[42..46]);
        let seq = u32::from_be_bytes([last[38], last[39], last[40], last[41]]);
        let has_syn = u32::from(last[47] & 2 != 0);
        frame[42..46].copy_from_slice(&seq.wrapping_add(has_syn).to_be_bytes());
    }
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum()
}

fn fold(mut sum: u32) -> u16 {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
