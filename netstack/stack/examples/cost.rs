//! What a shard costs in instructions, without a device: run it under callgrind with two counts and divide the difference,
//! so that what is done once falls out.
//!
//! ```text
//! cargo build --release --example cost
//! valgrind --tool=callgrind target/release/examples/cost requests 10000
//! ```
//!
//! - `nothing`: a buffer is allocated, filled and freed;
//! - `frames`: a stray RST goes from Ethernet to TCP and is dropped there;
//! - `requests`: 64 bytes arrive on an open flow, are read, and 64 bytes are sent, which acknowledge them;
//! - `connections`: handshake, one such request, close by the client, and the last acknowledgement.

use std::hint::black_box;
use std::time::Duration;

use weir_packet::frame::{Capabilities, ChecksumStatus, Offload, RxFrame, Transmit, TransmitError};
use weir_packet::{Chunk, Packet, Pool};
use weir_socket::{Event, FlowId, Instant, ListenerId, Received, Sockets, Token};
use weir_stack::{Ipv4Configuration, Ipv4Source, Shard, ShardConfig};

const MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];
const TEXT: [u8; 64] = [b'x'; 64];

/// Ethernet, IPv4 and TCP headers of the client; lengths, checksum and TCP's fields are filled in.
const HEADERS: [u8; 54] = [
    0x52, 0x54, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 9, 8, 0, // Ethernet
    0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 9, 10, 0, 0, 2, // IPv4
    0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0, 0xff, 0xff, 0, 0, 0, 0, // TCP
];

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;

/// A device that keeps the last header it was given.
struct Sink {
    capabilities: Capabilities,
    last: [u8; 54],
    frames: u64,
}

impl Transmit for Sink {
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
        if let Some(header) = head.first_chunk() {
            self.last = *header;
        }
        self.frames += 1;
        payload.for_each(|chunk| drop(black_box(chunk)));
        Ok(())
    }
}

/// The client's end of a connection.
struct Client {
    headers: [u8; 54],
    sequence: u32,
    acknowledged: u32,
}

impl Client {
    fn new(port: u16) -> Self {
        let mut headers = HEADERS;
        headers[34..36].copy_from_slice(&port.to_be_bytes());
        Self { headers, sequence: 1, acknowledged: 0 }
    }

    /// The next segment; IPv4's checksum is right, TCP's is not looked at.
    fn segment(&mut self, pool: &Pool, flags: u8, payload: &[u8]) -> RxFrame {
        let headers = &mut self.headers;
        headers[16..18].copy_from_slice(&(40 + payload.len() as u16).to_be_bytes());
        headers[24..26].fill(0);
        let words = headers[14..34].chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
        let sum: u32 = words.sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
        headers[24..26].copy_from_slice(&checksum.to_be_bytes());
        headers[38..42].copy_from_slice(&self.sequence.to_be_bytes());
        headers[42..46].copy_from_slice(&self.acknowledged.to_be_bytes());
        headers[47] = flags;
        let mut packet = pool.allocate().expect("a buffer");
        packet.extend_from_slice(headers).expect("fits");
        packet.extend_from_slice(payload).expect("fits");
        self.sequence += payload.len() as u32 + u32::from(flags & (SYN | FIN) != 0);
        RxFrame { packet, checksum: ChecksumStatus::Verified }
    }
}

/// A core with a listener.
struct Core {
    shard: Shard,
    sink: Sink,
    pool: Pool,
    now: Instant,
    listener: ListenerId,
}

impl Core {
    fn new() -> Self {
        let pool = Pool::with_capacity(256).expect("memory");
        let capabilities = Capabilities { mac: MAC, mtu: 1500, transmit_checksum: true, tso4: false, tso6: false };
        let mut config = ShardConfig::new(0, 2, [1, 2, 3, 4], capabilities);
        config.ipv4 = Ipv4Source::Static(Ipv4Configuration::new([10, 0, 0, 2].into(), 24));
        config.tcp.flows_max = 1024;
        config.tcp.time_wait_max = 1024;
        let mut shard = Shard::new(config, pool.clone());
        let now = Instant::from_nanos(1_000_000_000);
        shard.set_now(now);
        let listener = shard.listen(([0, 0, 0, 0], 80).into(), Token(1)).expect("listening");
        Self { shard, sink: Sink { capabilities, last: HEADERS, frames: 0 }, pool, now, listener }
    }

    /// One turn with one received frame, as the runtime does it.
    fn turn(&mut self, frame: RxFrame, mut application: impl FnMut(&mut Shard, Event)) {
        self.now = self.now + Duration::from_micros(10);
        self.shard.set_now(self.now);
        self.shard.handle_frame(frame);
        self.shard.handle_timers();
        while let Some(event) = self.shard.poll_event() {
            application(&mut self.shard, event);
        }
        self.shard.poll_transmit(&mut self.sink);
        black_box(self.shard.poll_message().is_none());
        black_box(self.shard.next_deadline());
    }

    fn connect(&mut self, port: u16) -> (Client, FlowId) {
        let mut client = Client::new(port);
        let syn = client.segment(&self.pool, SYN, &[]);
        self.turn(syn, |_, _| {});
        let isn = u32::from_be_bytes(*self.sink.last[38..].first_chunk().expect("a sequence number"));
        client.acknowledged = isn.wrapping_add(1);
        let ack = client.segment(&self.pool, ACK, &[]);
        let (listener, mut accepted) = (self.listener, None);
        self.turn(ack, |shard, _| accepted = shard.accept(listener, Token(2)));
        (client, accepted.expect("a flow"))
    }

    fn request(&mut self, client: &mut Client) {
        let request = client.segment(&self.pool, ACK | PSH, &TEXT);
        self.turn(request, answer);
        client.acknowledged = client.acknowledged.wrapping_add(TEXT.len() as u32);
    }
}

/// Reads all, and answers what was not the end.
fn answer(shard: &mut Shard, event: Event) {
    let Event::Flow { flow, .. } = event else { return };
    loop {
        match shard.receive(flow) {
            Received::Data(chunk) => {
                black_box(&*chunk);
                let _ = shard.send(flow, Chunk::from_static(&TEXT));
            }
            Received::End => return shard.close(flow),
            Received::Nothing | Received::Closed(_) => return,
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mode = arguments.next().unwrap_or_default();
    let count: u64 = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(10_000);
    let mut core = Core::new();
    match &*mode {
        "nothing" => {
            let mut client = Client::new(40_000);
            (0..count).for_each(|_| drop(black_box(client.segment(&core.pool, RST, &[]))));
        }
        "frames" => {
            let mut client = Client::new(40_000);
            for _ in 0..count {
                let frame = client.segment(&core.pool, RST, &[]);
                core.shard.handle_frame(frame);
            }
        }
        "requests" => {
            let (mut client, _) = core.connect(40_000);
            (0..count).for_each(|_| core.request(&mut client));
        }
        "connections" => {
            for n in 0..count {
                let (mut client, _) = core.connect(1024 + (n % 60_000) as u16);
                core.request(&mut client);
                let fin = client.segment(&core.pool, ACK | FIN, &[]);
                core.turn(fin, answer);
                client.acknowledged = client.acknowledged.wrapping_add(1);
                let last = client.segment(&core.pool, ACK, &[]);
                core.turn(last, answer);
            }
        }
        _ => println!("modes: nothing, frames, requests, connections"),
    }
    let (dropped, flows) = (core.shard.counters().dropped_total(), core.pool.in_use());
    println!("{count} {mode}: {} frames sent, {dropped} dropped, {flows} buffers in use", core.sink.frames);
}
