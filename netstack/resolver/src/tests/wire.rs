//! DNS servers in memory, and their messages, made by hand.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use weir_socket::{FlowId, Instant};

use crate::{Counters, Datagrams, Event, Happening, Name, Network, Resolver, Streams, TtlBounds};

pub const APP: &str = "app.internal";
pub const TYPE_A: u16 = 1;
pub const TYPE_CNAME: u16 = 5;
pub const TYPE_AAAA: u16 = 28;
/// The flags of a good answer: response, recursion desired and available.
pub const GOOD: u16 = 0x8180;
pub const TRUNCATED: u16 = GOOD | 0x0200;
pub const SERVER_FAILURE: u16 = GOOD | 2;
pub const NO_SUCH_NAME: u16 = GOOD | 3;
pub const REFUSED: u16 = GOOD | 5;

pub fn server(number: u8) -> SocketAddr {
    ([10, 0, 0, number], 53).into()
}

pub fn wire_name(text: &str) -> Vec<u8> {
    Name::new(text).expect("a name").wire().to_vec()
}

/// A record of the answer section.
pub fn record(owner: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = owner.to_vec();
    bytes.extend(kind.to_be_bytes());
    bytes.extend(1_u16.to_be_bytes());
    bytes.extend(ttl.to_be_bytes());
    bytes.extend((data.len() as u16).to_be_bytes());
    bytes.extend(data);
    bytes
}

/// Points at the question's name, as nearly every server's records do (RFC 1035 4.1.4).
pub const QUESTION: [u8; 2] = [0xc0, 12];

pub fn a(address: [u8; 4], ttl: u32) -> Vec<u8> {
    record(&QUESTION, TYPE_A, ttl, &address)
}

pub fn message(id: u16, flags: u16, question: &[u8], records: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [id, flags, 1, records.len() as u16, 0, 0] {
        bytes.extend(word.to_be_bytes());
    }
    bytes.extend(question);
    bytes.extend(records.concat());
    bytes
}

/// A question that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub port: u16,
    pub server: SocketAddr,
    pub id: u16,
    pub kind: u16,
    /// The question section.
    pub question: Vec<u8>,
}

#[derive(Default)]
pub struct Net {
    pub ports: BTreeMap<u16, VecDeque<(SocketAddr, Vec<u8>)>>,
    pub sent: Vec<Asked>,
    pub random: u16,
    pub has_no_ports: bool,
    pub is_cut_off: bool,
    /// Whether servers take connections.
    pub has_tcp: bool,
    /// What servers have said on each, and whether they have ended.
    pub streams: BTreeMap<u32, (Vec<u8>, bool)>,
    /// Whom the last was opened to, and what was said.
    pub opened: Option<(SocketAddr, Vec<u8>)>,
}

impl Streams for Net {
    fn open(&mut self, to: SocketAddr, bytes: &[u8]) -> Option<FlowId> {
        let id = self.streams.keys().max().map_or(0, |last| last + 1);
        self.opened = Some((to, bytes.to_vec()));
        self.has_tcp.then(|| {
            self.streams.insert(id, Default::default());
            FlowId::new(id, 0)
        })
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
        (!self.has_no_ports && self.ports.insert(port, VecDeque::new()).is_none()).then_some(port)
    }

    fn unbind(&mut self, port: u16) {
        assert!(self.ports.remove(&port).is_some(), "{port} was not bound");
    }

    fn send(&mut self, port: u16, to: SocketAddr, bytes: &[u8]) -> bool {
        assert!(self.ports.contains_key(&port));
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        assert_eq!((word(2), word(4), word(6), word(8), word(10)), (0x0100, 1, 0, 0, 0));
        let asked =
            Asked { port, server: to, id: word(0), kind: word(bytes.len() - 4), question: bytes[12..].to_vec() };
        self.sent.push(asked);
        !self.is_cut_off
    }

    fn receive(&mut self, port: u16) -> Option<(SocketAddr, Vec<u8>)> {
        self.ports.get_mut(&port)?.pop_front()
    }
}

/// A resolver, its servers and its clock.
pub struct World {
    pub resolver: Resolver,
    pub net: Net,
    pub now: Instant,
    pub network: Network,
}

impl World {
    /// A resolver of some names that knows two servers.
    pub fn new(names: &[&str]) -> Self {
        let names = names.iter().map(|name| Name::new(name).expect("a name")).collect();
        let ttl = TtlBounds { min: Duration::from_secs(5), max: Duration::from_secs(3600) };
        let network = Network { servers: [server(1), server(2)].into(), has_v4: true, has_v6: true };
        let now = Instant::from_nanos(1_000_000_000);
        let mut resolver = Resolver::new(names, ttl);
        resolver.configure(&network, now);
        Self { resolver, net: Net::default(), now, network }
    }

    pub fn poll(&mut self) {
        self.resolver.poll(self.now, &mut self.net);
        let is_asked = !self.net.ports.is_empty() || !self.net.streams.is_empty();
        assert_eq!(self.resolver.is_waiting(), is_asked, "a port or a connection for each question");
    }

    /// Time passes until something is due, at most `seconds`; whether something was.
    pub fn pass(&mut self, seconds: u64) -> bool {
        let end = self.now + Duration::from_secs(seconds);
        let due = self.resolver.next_deadline().is_some_and(|at| at <= end);
        self.now = if due { self.resolver.next_deadline().expect("it is due").max(self.now) } else { end };
        self.poll();
        due
    }

    /// The only question that was sent since the last call.
    pub fn asked(&mut self) -> Asked {
        let asked = core::mem::take(&mut self.net.sent);
        let [asked] = &asked[..] else { panic!("{asked:?}") };
        asked.clone()
    }

    /// The next question, when it is due.
    pub fn ask(&mut self) -> Asked {
        while self.net.sent.is_empty() {
            assert!(self.pass(100_000), "nothing is asked any more");
        }
        self.asked()
    }

    /// Something arrives from the server that was asked.
    pub fn hear(&mut self, asked: &Asked, bytes: Vec<u8>) {
        self.hear_from(asked.server, asked.port, bytes);
    }

    pub fn hear_from(&mut self, source: SocketAddr, port: u16, bytes: Vec<u8>) {
        if let Some(queue) = self.net.ports.get_mut(&port) {
            queue.push_back((source, bytes));
        }
        self.poll();
    }

    /// The server answers.
    pub fn answer(&mut self, asked: &Asked, flags: u16, records: &[Vec<u8>]) {
        self.hear(asked, message(asked.id, flags, &asked.question, records));
    }

    /// The only change since the last call.
    pub fn event(&mut self) -> Event {
        let event = self.resolver.poll_event().expect("an event");
        assert_eq!(self.resolver.poll_event(), None);
        event
    }

    pub fn is_quiet(&mut self) -> bool {
        self.resolver.poll_event().is_none()
    }

    pub fn count(&self, happening: Happening) -> u64 {
        self.counters().of(happening)
    }

    pub fn counters(&self) -> &Counters {
        self.resolver.counters()
    }

    pub fn since(&self, before: Instant) -> Duration {
        self.now.since(before)
    }
}

pub fn resolved(name: usize, addresses: &[&str]) -> Event {
    let addresses = addresses.iter().map(|text| text.parse::<IpAddr>().expect("an address")).collect();
    Event::Resolved { name, addresses }
}
