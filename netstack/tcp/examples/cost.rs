//! What the engine costs in instructions, without IP and without a device: only [`Server::counted`] is counted, which
//! is everything that a core does for one received segment. The client's part is not, nor what comes before.
//!
//! ```text
//! cargo build --release -p weir-tcp --example cost
//! valgrind --tool=callgrind --toggle-collect='*Server*counted*' target/release/examples/cost requests 10000 20000
//! ```
//!
//! divides by the last number. Modes, each with the number of open flows and of repetitions:
//!
//! - `requests`: 64 bytes arrive, are read, and 64 bytes are sent, which acknowledge them. 4,096 of the flows take turns, 10
//!   microseconds apart; timestamps are in use, as with every client of today;
//! - `plain`: the same without timestamps;
//! - `connections`: handshake, one request with its answer, close by the client, the last acknowledgement.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use weir_packet::frame::ChecksumStatus;
use weir_packet::{Chunk, Packet, Pool};
use weir_socket::{Event, Instant, ListenerId, Received, Token};
use weir_tcp::{Config, Ecn, EmitError, Engine, Inbound, Link, NextHop, Outbound};

const TEXT: [u8; 64] = [b'x'; 64];
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// Flows that have requests; the others are idle.
const ACTIVE_MAX: usize = 4_096;

const FIN: u8 = 1;
const SYN: u8 = 2;
const PSH: u8 = 8;
const ACK: u8 = 16;

/// A link that keeps the last header it was given.
struct Sink {
    last: [u8; 20],
    segments: u64,
}

impl Link for Sink {
    #[inline]
    fn room(&self) -> usize {
        64
    }

    #[inline]
    fn mtu(&self, _: IpAddr) -> u16 {
        1_500
    }

    #[inline]
    fn segmentation_max(&self, _: bool) -> usize {
        0
    }

    #[inline]
    fn transmit_checksum(&self) -> bool {
        true
    }

    #[inline]
    fn emit<P>(&mut self, segment: Outbound, head: Packet, payload: P) -> Result<(), EmitError>
    where
        P: ExactSizeIterator<Item = Chunk>,
    {
        if let Some(header) = head.first_chunk() {
            self.last = *header;
        }
        self.segments += 1;
        black_box(&segment);
        payload.for_each(|chunk| drop(black_box(chunk)));
        Ok(())
    }
}

/// The client's end of a connection.
#[derive(Clone, Copy)]
struct Client {
    address: SocketAddr,
    sequence: u32,
    acknowledged: u32,
    timestamps: bool,
}

impl Client {
    fn new(number: usize, timestamps: bool) -> Self {
        let (host, port) = (number / 60_000, 1_024 + number % 60_000);
        let address = Ipv4Addr::from(0x0a01_0000 + host as u32);
        Self { address: (address, port as u16).into(), sequence: 1, acknowledged: 0, timestamps }
    }

    /// The next segment; its checksum is not looked at.
    fn segment(&mut self, pool: &Pool, now: Instant, flags: u8, payload: &[u8]) -> Inbound {
        let mut options = Vec::new();
        if flags & SYN != 0 {
            options.extend([2, 4, 5, 0xb4, 1, 1, 4, 2, 1, 3, 3, 7]);
        }
        if self.timestamps {
            options.extend([1, 1, 8, 10]);
            options.extend((now.as_millis() as u32).to_be_bytes());
            options.extend([0; 4]);
        }
        let mut header = Vec::new();
        header.extend(self.address.port().to_be_bytes());
        header.extend([0, 80]);
        header.extend(self.sequence.to_be_bytes());
        header.extend(self.acknowledged.to_be_bytes());
        header.extend([(5 + options.len() as u8 / 4) << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        let mut packet = pool.allocate().expect("a buffer");
        packet.extend_from_slice(&header).expect("fits");
        packet.extend_from_slice(&options).expect("fits");
        packet.extend_from_slice(payload).expect("fits");
        self.sequence += payload.len() as u32 + u32::from(flags & (SYN | FIN) != 0);
        Inbound {
            source: self.address.ip().into(),
            destination: SERVER.into(),
            next_hop: NextHop(1),
            ecn: Ecn::NotCapable,
            checksum: ChecksumStatus::Verified,
            packet,
        }
    }
}

/// A core with a listener.
struct Server {
    engine: Engine,
    sink: Sink,
    pool: Pool,
    now: Instant,
    listener: ListenerId,
    is_counting: bool,
}

impl Server {
    fn new(flows: usize) -> Self {
        let pool = Pool::with_capacity(1_024).expect("memory");
        let flows_max = flows + 16;
        let config = Config { flows_max, time_wait_max: 1_024, seed: [1, 2, 3, 4], ..Config::default() };
        let mut engine = Engine::new(config, pool.clone());
        let now = Instant::from_nanos(1_000_000_000);
        engine.set_now(now);
        let listener = engine.listen(([0, 0, 0, 0], 80).into(), Token(1)).expect("listening");
        Self { engine, sink: Sink { last: [0; 20], segments: 0 }, pool, now, listener, is_counting: false }
    }

    /// One turn with one received segment, as the runtime does it.
    #[inline(never)]
    fn turn(&mut self, inbound: Inbound) {
        self.engine.set_now(self.now);
        self.engine.handle_segment(inbound);
        self.engine.handle_timers();
        while let Some(event) = self.engine.poll_event() {
            self.answer(event);
        }
        self.engine.poll_transmit(&mut self.sink);
        black_box(self.engine.next_deadline());
    }

    /// Reads all, and answers what was not the end.
    #[inline(always)]
    fn answer(&mut self, event: Event) {
        let Event::Flow { flow, .. } = event else {
            black_box(self.engine.accept(self.listener, Token(2)));
            return;
        };
        loop {
            match self.engine.receive(flow) {
                Received::Data(chunk) => {
                    black_box(&*chunk);
                    let _ = self.engine.send(flow, Chunk::from_static(&TEXT));
                }
                Received::End => return self.engine.close(flow),
                Received::Nothing | Received::Closed(_) => return,
            }
        }
    }

    /// A turn that is counted.
    #[inline(never)]
    fn counted(&mut self, inbound: Inbound) {
        self.turn(inbound);
        black_box(());
    }

    fn exchange(&mut self, client: &mut Client, flags: u8, payload: &[u8]) {
        self.now = self.now + Duration::from_micros(10);
        let inbound = client.segment(&self.pool, self.now, flags, payload);
        if self.is_counting { self.counted(inbound) } else { self.turn(inbound) }
    }

    fn connect(&mut self, mut client: Client) -> Client {
        self.exchange(&mut client, SYN, &[]);
        let isn = u32::from_be_bytes(*self.sink.last[4..].first_chunk().expect("a sequence number"));
        client.acknowledged = isn.wrapping_add(1);
        self.exchange(&mut client, ACK, &[]);
        client
    }

    fn request(&mut self, client: &mut Client) {
        self.exchange(client, ACK | PSH, &TEXT);
        client.acknowledged = client.acknowledged.wrapping_add(TEXT.len() as u32);
    }

    fn requests(&mut self, flows: usize, count: usize, timestamps: bool) {
        let stride = flows.div_ceil(ACTIVE_MAX);
        let mut active = Vec::new();
        for number in 0..flows {
            let client = self.connect(Client::new(number, timestamps));
            if number % stride == 0 {
                active.push(client);
            }
        }
        let flows = active.len();
        self.is_counting = true;
        (0..count).for_each(|n| self.request(&mut active[n % flows]));
    }

    fn connections(&mut self, flows: usize, count: usize) {
        for number in 0..flows + count {
            self.is_counting = number >= flows;
            let mut client = self.connect(Client::new(number, true));
            if number < flows {
                continue;
            }
            self.request(&mut client);
            self.exchange(&mut client, ACK | FIN, &[]);
            client.acknowledged = client.acknowledged.wrapping_add(1);
            self.exchange(&mut client, ACK, &[]);
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mode = arguments.next().unwrap_or_default();
    let mut number = |usual| arguments.next().and_then(|count| count.parse().ok()).unwrap_or(usual);
    let (flows, count) = (number(1), number(10_000));
    let mut server = Server::new(flows);
    match &*mode {
        "requests" => server.requests(flows, count, true),
        "plain" => server.requests(flows, count, false),
        "connections" => server.connections(flows, count),
        _ => println!("modes: requests, plain, connections"),
    }
    let (segments, buffers) = (server.sink.segments, server.pool.in_use());
    println!("{count} {mode} with {flows} flows: {segments} segments sent, {buffers} buffers in use");
}
