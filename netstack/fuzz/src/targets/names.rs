//! A resolver whose DNS servers say anything, and strangers with them.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use weir_resolver::{Datagrams, Event, Name, Network, QUESTIONS_MAX, Resolver, Streams, TtlBounds};
use weir_socket::{FlowId, Instant};

use crate::features::Features;

/// Steps of one input, at most.
const STEPS_MAX: usize = 64;
/// Bytes of a message in front of its question (RFC 1035 4.1.1).
const HEADER_BYTES: usize = 12;

/// Pieces of messages.
pub const WORDS: &[&[u8]] = &[
    b"\x81\x80\0\x01\0\x01\0\0\0\0",
    b"\x83\x80\0\x01\0\x02\0\0\0\0",
    b"\x83\x80\0\x01\0\0\0\0\0\0",
    b"\x81\x83\0\x01\0\0\0\0\0\0",
    b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x07",
    b"\xc0\x0c\0\x1c\0\x01\0\0\0\x3c\0\x10",
    b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x04\x01x\xc0\x0c",
    b"\x01x\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x08",
];

/// A question that was sent, without the header's counts.
struct Asked {
    /// 0: on the connection that was opened last.
    port: u16,
    server: SocketAddr,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct Net {
    ports: BTreeMap<u16, VecDeque<(SocketAddr, Vec<u8>)>>,
    /// What servers have said on connections, and whether they have ended; the last one was opened last.
    streams: BTreeMap<u32, (Vec<u8>, bool)>,
    last: Option<Asked>,
    random: u16,
}

impl Streams for Net {
    fn open(&mut self, to: SocketAddr, bytes: &[u8]) -> Option<FlowId> {
        let id = self.streams.keys().next_back().map_or(0, |last| last + 1);
        self.streams.insert(id, Default::default());
        self.last = Some(Asked { port: 0, server: to, bytes: bytes[2..].to_vec() });
        Some(FlowId::new(id, 0))
    }

    fn read(&mut self, stream: FlowId, to: &mut Vec<u8>) -> bool {
        let (said, is_over) = self.streams.get_mut(&stream.index()).expect("it is open");
        to.append(said);
        !*is_over
    }

    fn close(&mut self, stream: FlowId) {
        assert!(self.streams.remove(&stream.index()).is_some(), "{stream:?} was not open");
    }
}

impl Datagrams for Net {
    type Payload = Vec<u8>;

    fn random(&mut self) -> u16 {
        self.random = self.random.wrapping_mul(25_173).wrapping_add(13_849);
        self.random
    }

    fn bind(&mut self) -> Option<u16> {
        let port = self.random() | 0x8000;
        self.ports.insert(port, VecDeque::new()).is_none().then_some(port)
    }

    fn unbind(&mut self, port: u16) {
        assert!(self.ports.remove(&port).is_some(), "{port} was not bound");
    }

    fn send(&mut self, port: u16, to: SocketAddr, bytes: &[u8]) -> bool {
        assert!(self.ports.contains_key(&port) && bytes.len() <= 512);
        self.last = Some(Asked { port, server: to, bytes: bytes.to_vec() });
        true
    }

    fn receive(&mut self, port: u16) -> Option<(SocketAddr, Vec<u8>)> {
        self.ports.get_mut(&port)?.pop_front()
    }
}

impl Net {
    fn deliver(&mut self, port: u16, source: SocketAddr, bytes: Vec<u8>) {
        if port == 0 {
            if let Some(mut stream) = self.streams.last_entry() {
                stream.get_mut().0.extend(bytes);
            }
        } else if let Some(queue) = self.ports.get_mut(&port).filter(|queue| queue.len() < 4) {
            queue.push_back((source, bytes));
        }
    }

    /// `data` as an answer to the last question: flags and counts, then what follows the question.
    fn answer(&mut self, data: &[u8]) {
        let Some(Asked { port, server, bytes }) = &self.last else { return };
        let (flags, records) = data.split_at(data.len().min(HEADER_BYTES - 2));
        let mut message = bytes[..2].to_vec();
        message.extend_from_slice(flags);
        message.resize(HEADER_BYTES, 0);
        message.extend_from_slice(&bytes[HEADER_BYTES..]);
        message.extend_from_slice(records);
        let (port, server) = (*port, *server);
        if port == 0 {
            message.splice(..0, (message.len() as u16).to_be_bytes());
        }
        self.deliver(port, server, message);
    }
}

/// Steps: what happens, how many bytes it takes, the bytes.
pub fn run(data: &[u8]) -> Features {
    let mut features = Features::default();
    let names = ["app.internal", "x.app.internal"].iter().filter_map(|name| Name::new(name)).collect();
    let ttl = TtlBounds { min: Duration::from_secs(5), max: Duration::from_secs(600) };
    let mut resolver = Resolver::new(names, ttl);
    let mut now = Instant::from_nanos(1_000_000_000);
    let servers = [1, 2].map(|host| SocketAddr::from(([10, 0, 0, host], 53)));
    resolver.configure(&Network { servers: servers.into(), has_v4: true, has_v6: true }, now);
    let mut net = Net::default();
    let mut rest = data;
    for _ in 0..STEPS_MAX {
        resolver.poll(now, &mut net);
        check(&mut resolver, &net, &mut features);
        let Some((&[kind, len], more)) = rest.split_first_chunk() else { break };
        let (bytes, more) = more.split_at(more.len().min(len.into()));
        rest = more;
        match kind % 4 {
            0 => net.answer(bytes),
            1 => now = now + Duration::from_millis(u64::from(len) * 100),
            2 => {
                let (port, server) = net.last.as_ref().map_or((0, servers[0]), |asked| (asked.port, asked.server));
                net.deliver(port, server, bytes.to_vec());
            }
            3 if len == 0 => {
                if let Some(mut stream) = net.streams.last_entry() {
                    stream.get_mut().1 = true;
                }
            }
            _ => {
                let port = net.last.as_ref().map_or(0, |asked| asked.port);
                net.deliver(port, SocketAddr::from(([10, 0, 0, 3], 53)), bytes.to_vec());
            }
        }
    }
    for (name, count) in resolver.counters().iter().filter(|(_, count)| *count > 0) {
        features.add_name(name);
        features.add_count(1, count);
    }
    features
}

fn check(resolver: &mut Resolver, net: &Net, features: &mut Features) {
    let asked = net.ports.len() + net.streams.len();
    assert!(asked <= QUESTIONS_MAX);
    assert_eq!(resolver.is_waiting(), asked > 0, "a port or a connection for each question");
    assert!(resolver.next_deadline().is_some(), "every name is asked for again");
    while let Some(event) = resolver.poll_event() {
        match event {
            Event::Resolved { addresses, .. } => {
                assert!(!addresses.is_empty() && addresses.iter().all(|address| !address.is_loopback()));
                features.add_count(2, addresses.len() as u64);
            }
            Event::Failed { failure, is_kept, .. } => features.add_name(&format!("{failure:?}{is_kept}")),
        }
    }
    let states = resolver.states();
    assert_eq!(states.resolved + states.kept + states.unresolved, 2);
}
