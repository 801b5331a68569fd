//! Shards on a TAP device of the host: Linux' TCP on the other side, curl and wrk to try it with, no VM in between.
//!
//! ```text
//! unshare -rn                                             # a network of its own, no privilege needed
//! ip tuntap add weir0 mode tap multi_queue
//! ip address add 10.9.0.1/24 dev weir0; ip link set weir0 up; ip link set lo up
//! cargo run --release --example tap -- weir0 10.9.0.2 2   # two cores
//! curl http://10.9.0.2/1000                               # so many bytes
//! curl --data-binary @FILE http://10.9.0.2/               # answers with length and FNV-1a of what it got
//! curl http://10.9.0.2:8080/...                           # passed on, byte by byte, to 10.9.0.1:8000
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant as Clock};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};
use weir_packet::frame::{Capabilities, ChecksumStatus, Offload, RxFrame, Transmit, TransmitError};
use weir_packet::handoff::{Receiver, Sender, ring};
use weir_packet::{Chunk, Packet, Pool};
use weir_socket::{Event, FlowId, Instant, ListenerId, Readiness, Received, SendError, Sockets, SpliceStop, Token};
use weir_stack::{Ipv4Configuration, Ipv4Source, Message, Shard, ShardConfig};

const BURST: usize = 64;
const BUFFERS: usize = 16_384;
const PATTERN_BYTES: usize = 1 << 20;
const BACKEND: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 9, 0, 1), 8000);
const WEB: Token = Token(u64::MAX);
const RELAY: Token = Token(u64::MAX - 1);

/// A core's ends of the rings to and from each other core.
type Outgoing = Vec<Option<Sender<Message>>>;
type Incoming = Vec<Option<Receiver<Message>>>;

/// One queue of the TAP device.
struct Tap {
    device: SyncDevice,
    capabilities: Capabilities,
    frame: Vec<u8>,
    sent: u64,
    weather: Weather,
}

/// A network that loses frames, both ways, by a generator of its own.
struct Weather {
    loss_per_mille: u64,
    state: u64,
    lost: u64,
}

impl Weather {
    fn loses(&mut self) -> bool {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let loses = (self.state >> 20) % 1000 < self.loss_per_mille;
        self.lost += u64::from(loses);
        loses
    }
}

impl Transmit for Tap {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn room(&self) -> usize {
        256
    }

    fn transmit<P>(&mut self, head: Packet, payload: P, _: Offload) -> Result<(), TransmitError>
    where
        P: ExactSizeIterator<Item = Chunk>,
    {
        self.frame.clear();
        self.frame.extend_from_slice(&head);
        payload.for_each(|chunk| self.frame.extend_from_slice(&chunk));
        self.sent += 1;
        if self.weather.loses() {
            return Ok(());
        }
        self.device.send(&self.frame).map(drop).map_err(|_| TransmitError::Full)
    }
}

impl Tap {
    fn receive(&mut self, pool: &Pool) -> Option<RxFrame> {
        let mut packet = pool.allocate_whole()?;
        packet.trim_front(16).ok()?;
        loop {
            let len = self.device.recv(&mut packet).ok()?;
            if !self.weather.loses() {
                packet.truncate(len);
                break;
            }
        }
        Some(RxFrame { packet, checksum: ChecksumStatus::Unverified })
    }

    fn wait(&self, limit: Duration) {
        let mut fds = [PollFd::new(&self.device, PollFlags::IN)];
        let limit = Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: limit.subsec_nanos().into() };
        let _ = poll(&mut fds, Some(&limit));
    }
}

/// What one flow is for.
enum Flow {
    Web(Web),
    /// Half of a relayed connection, and the other half.
    Relay {
        other: FlowId,
        ended: bool,
    },
}

#[derive(Default)]
struct Web {
    head: Vec<u8>,
    /// Bytes of an upload that are still to come, and the hash of those that came.
    upload: u64,
    hash: u64,
    length: u64,
    /// Bytes of the body that are still to be sent, and where in the pattern.
    body: u64,
    at: usize,
    /// The peer has ended its direction, or wants the connection closed after the answer.
    ended: bool,
    last: bool,
}

/// The applications of one core.
struct Apps {
    web: [ListenerId; 2],
    relay: ListenerId,
    backend: SocketAddrV4,
    pattern: &'static [u8],
    flows: HashMap<FlowId, Flow>,
}

impl Apps {
    fn new(net: &mut Shard, backend: SocketAddrV4, pattern: &'static [u8]) -> Result<Self, Box<dyn Error>> {
        let web = [net.listen(([0, 0, 0, 0], 80).into(), WEB)?, net.listen(([0; 8], 80).into(), WEB)?];
        let relay = net.listen(([0, 0, 0, 0], 8080).into(), RELAY)?;
        Ok(Self { web, relay, backend, pattern, flows: HashMap::new() })
    }

    fn handle(&mut self, net: &mut Shard, event: Event) {
        match event {
            Event::Acceptable { token: WEB, .. } => {
                while let Some(flow) = self.web.into_iter().find_map(|listener| net.accept(listener, WEB)) {
                    self.flows.insert(flow, Flow::Web(Web::default()));
                    self.serve(net, flow);
                }
            }
            Event::Acceptable { .. } => {
                while let Some(flow) = net.accept(self.relay, RELAY) {
                    let Ok(other) = net.connect(self.backend.into(), RELAY) else {
                        net.abort(flow);
                        continue;
                    };
                    self.flows.insert(flow, Flow::Relay { other, ended: false });
                    self.flows.insert(other, Flow::Relay { other: flow, ended: false });
                    self.pass(net, flow);
                }
            }
            Event::Flow { flow, ready, .. } => match self.flows.get(&flow) {
                Some(Flow::Web(_)) => self.serve(net, flow),
                Some(&Flow::Relay { other, .. }) => {
                    if ready.contains(Readiness::CLOSED) {
                        return self.tear_down(net, flow, other);
                    }
                    self.pass(net, flow);
                    self.pass(net, other);
                }
                None => {}
            },
        }
    }

    fn serve(&mut self, net: &mut Shard, flow: FlowId) {
        let Some(Flow::Web(web)) = self.flows.get_mut(&flow) else { return };
        loop {
            match net.receive(flow) {
                Received::Data(chunk) => web.take(net, flow, &chunk),
                Received::Nothing => break,
                Received::End => {
                    web.ended = true;
                    break;
                }
                Received::Closed(_) => {
                    net.close(flow);
                    self.flows.remove(&flow);
                    return;
                }
            }
        }
        while web.body > 0 {
            let mut chunk = Chunk::from_static(self.pattern);
            chunk.advance(web.at);
            chunk.truncate(usize::try_from(web.body).unwrap_or(usize::MAX).min(64 << 10));
            let len = chunk.len();
            match net.send(flow, chunk) {
                Ok(()) => {
                    web.body -= len as u64;
                    web.at = (web.at + len) % PATTERN_BYTES;
                }
                Err(SendError::Full(_)) => break,
                Err(SendError::Closed(_)) => web.body = 0,
            }
        }
        if (web.ended || web.last) && web.body == 0 && web.upload == 0 && web.head.is_empty() {
            net.close(flow);
            self.flows.remove(&flow);
        }
    }

    /// Moves what `from` has received to the other half.
    fn pass(&mut self, net: &mut Shard, from: FlowId) {
        let Some(Flow::Relay { other, ended }) = self.flows.get_mut(&from) else { return };
        let to = *other;
        match net.splice(from, to, usize::MAX).stop {
            SpliceStop::End => {
                *ended = true;
                net.shutdown(to);
            }
            SpliceStop::Nothing | SpliceStop::Full | SpliceStop::Limit(_) => {}
            SpliceStop::SourceClosed(_) | SpliceStop::TargetClosed(_) => return self.tear_down(net, from, to),
        }
        let both_ended =
            [from, to].iter().all(|flow| matches!(self.flows.get(flow), Some(Flow::Relay { ended: true, .. })));
        if both_ended {
            net.close(from);
            net.close(to);
            self.flows.remove(&from);
            self.flows.remove(&to);
        }
    }

    fn tear_down(&mut self, net: &mut Shard, one: FlowId, other: FlowId) {
        for flow in [one, other] {
            net.abort(flow);
            self.flows.remove(&flow);
        }
    }
}

impl Web {
    fn take(&mut self, net: &mut Shard, flow: FlowId, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.upload > 0 {
                let len = bytes.len().min(usize::try_from(self.upload).unwrap_or(usize::MAX));
                for &byte in &bytes[..len] {
                    self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
                }
                bytes = &bytes[len..];
                self.upload -= len as u64;
                if self.upload == 0 {
                    let text = format!("{} {:016x}\n", self.length, self.hash);
                    self.answer(net, flow, text.len() as u64, &text);
                }
                continue;
            }
            self.head.push(bytes[0]);
            bytes = &bytes[1..];
            if self.head.ends_with(b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&std::mem::take(&mut self.head)).to_lowercase();
                self.begin(net, flow, &head);
            }
        }
    }

    fn begin(&mut self, net: &mut Shard, flow: FlowId, head: &str) {
        self.last = head.contains("connection: close") || head.contains("http/1.0") && !head.contains("keep-alive");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        if head.contains("expect: 100-continue") {
            send_text(net, flow, "HTTP/1.1 100 Continue\r\n\r\n");
        }
        if let Some(length) = length.filter(|&length| length > 0) {
            (self.upload, self.length, self.hash) = (length, length, 0xcbf2_9ce4_8422_2325);
            return;
        }
        let path = head.split(' ').nth(1).unwrap_or("/").trim_start_matches('/');
        let body = path.parse().unwrap_or(64);
        self.at = 0;
        self.answer(net, flow, body, "");
        self.body = body;
    }

    fn answer(&mut self, net: &mut Shard, flow: FlowId, length: u64, text: &str) {
        let mut head = String::new();
        let connection = if self.last { "close" } else { "keep-alive" };
        let _ = write!(head, "HTTP/1.1 200 OK\r\nConnection: {connection}\r\nContent-Length: {length}\r\n\r\n{text}");
        send_text(net, flow, &head);
    }
}

fn send_text(net: &mut Shard, flow: FlowId, text: &str) {
    let Some(mut packet) = net.allocate() else { return };
    if packet.extend_from_slice(text.as_bytes()).is_ok() {
        let _ = net.send(flow, packet.freeze());
    }
}

/// One core: its shard, its queue, and its ends of the rings.
fn run(
    place: (usize, usize),
    mut tap: Tap,
    ipv4: Ipv4Source,
    (mut senders, mut receivers): (Outgoing, Incoming),
    (start, pattern): (Clock, &'static [u8]),
) -> Result<(), String> {
    let pool = Pool::with_capacity(BUFFERS).map_err(|error| error.to_string())?;
    let seed = std::array::from_fn(|n| start.elapsed().as_nanos() as u64 ^ (n as u64 + 77) << (place.0 * 8));
    let mut config = ShardConfig::new(place.0, place.1, seed, tap.capabilities);
    config.ipv4 = ipv4;
    let mut shard = Shard::new(config, pool.clone());
    let mut apps = Apps::new(&mut shard, BACKEND, pattern).map_err(|error| error.to_string())?;
    let (mut reported, mut turns) = (Clock::now(), 0_u64);
    loop {
        turns += 1;
        shard.set_now(Instant::from_nanos(start.elapsed().as_nanos() as u64));
        let mut busy = false;
        for receiver in receivers.iter_mut().flatten() {
            while let Some(message) = receiver.receive() {
                busy = true;
                shard.handle_message(message);
            }
        }
        for _ in 0..BURST {
            let Some(frame) = tap.receive(&pool) else { break };
            busy = true;
            shard.handle_frame(frame);
        }
        shard.handle_timers();
        while let Some(event) = shard.poll_event() {
            apps.handle(&mut shard, event);
        }
        while let Some(event) = shard.poll_shard_event() {
            eprintln!("core {}: {event:?}", place.0);
        }
        shard.poll_transmit(&mut tap);
        while let Some((target, message)) = shard.poll_message() {
            let sender = senders.get_mut(target).and_then(Option::as_mut).ok_or("a message to nobody")?;
            if let Err(message) = sender.send(message) {
                shard.refuse_message(target, message);
            }
        }
        if reported.elapsed() > Duration::from_secs(2) {
            reported = Clock::now();
            report(place.0, &shard, &apps, turns, (tap.sent, tap.weather.lost));
        }
        if !busy {
            let now = Instant::from_nanos(start.elapsed().as_nanos() as u64);
            // Nobody interrupts a thread for a message: look after the rings once a millisecond.
            let longest = if place.1 > 1 { Duration::from_millis(1) } else { Duration::from_millis(500) };
            let limit = shard.next_deadline().map_or(longest, |deadline| deadline.since(now).min(longest));
            tap.wait(limit);
        }
    }
}

fn report(core: usize, shard: &Shard, apps: &Apps, turns: u64, (sent, lost): (u64, u64)) {
    let mut line = format!("core {core}: turns {turns} sent {sent} lost {lost} flows {}", apps.flows.len());
    for (name, value) in shard.counters().events().chain(shard.counters().drops()).filter(|(_, value)| *value > 0) {
        let _ = write!(line, " {name} {value}");
    }
    for (name, value) in shard.gauges().chain(shard.tcp_counters().iter()).filter(|(_, value)| *value > 0) {
        let _ = write!(line, " {name} {value}");
    }
    eprintln!("{line}");
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(name), Some(address)) = (arguments.next(), arguments.next()) else {
        return Err("usage: tap DEVICE ADDRESS|dhcp [CORES [LOSS PER MILLE]]".into());
    };
    let ipv4 = if address == "dhcp" {
        Ipv4Source::Dhcp
    } else {
        Ipv4Source::Static(Ipv4Configuration::new(address.parse()?, 24).with_gateway(*BACKEND.ip()))
    };
    let cores: usize = arguments.next().map_or(Ok(1), |cores| cores.parse())?;
    let loss_per_mille: u64 = arguments.next().map_or(Ok(0), |loss| loss.parse())?;
    let pattern: Vec<u8> = (0..PATTERN_BYTES).map(|n| (n % 251) as u8).collect();
    let pattern: &'static [u8] = pattern.leak();
    let capabilities = Capabilities {
        mac: [0x52, 0x54, 0x00, 0x57, 0x45, 0x01],
        mtu: 1500,
        transmit_checksum: false,
        tso4: false,
        tso6: false,
    };
    let mut senders: Vec<Outgoing> = (0..cores).map(|_| Vec::new()).collect();
    let mut receivers: Vec<Incoming> = (0..cores).map(|_| Vec::new()).collect();
    for (from, outbox) in senders.iter_mut().enumerate() {
        for (to, inbox) in receivers.iter_mut().enumerate() {
            let (sender, receiver) = ring(1024);
            outbox.push((from != to).then_some(sender));
            inbox.push((from != to).then_some(receiver));
        }
    }
    let first = Arc::new(
        DeviceBuilder::new()
            .name(&name)
            .layer(Layer::L2)
            .inherit_enable_state()
            .with(|builder| {
                builder.multi_queue(true);
            })
            .build_sync()?,
    );
    let start = Clock::now();
    let mut threads = Vec::new();
    for (core, ends) in senders.into_iter().zip(receivers).enumerate() {
        let device = first.try_clone()?;
        device.set_nonblocking(true)?;
        let weather = Weather { loss_per_mille, state: core as u64 + 0x9e37_79b9, lost: 0 };
        let tap = Tap { device, capabilities, frame: Vec::with_capacity(2048), sent: 0, weather };
        threads.push(thread::spawn(move || run((core, cores), tap, ipv4, ends, (start, pattern))));
    }
    // The first descriptor was only there to be cloned; as a queue of its own it would swallow frames.
    drop(first);
    for thread in threads {
        thread.join().map_err(|_| "a core panicked")??;
    }
    Ok(())
}
