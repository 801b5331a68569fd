//! The modes, and how they are measured.

use std::fmt;
use std::time::Instant;

use super::client::{ACK, Client, FIN, PSH, SYN, arp_request};
use super::{Server, TEXT, Work};

/// Segments in a turn of a bulk transfer.
const BURST: usize = 16;
const FULL: [u8; 1_460] = [b'y'; 1_460];
const PORT_FIRST: u16 = 1_024;

/// What was measured.
pub(crate) struct Report {
    operations: usize,
    ns: u128,
    bytes_each: Option<usize>,
}

impl Report {
    pub(crate) fn ns_each(&self) -> f64 {
        self.ns as f64 / self.operations as f64
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes_each {
            Some(bytes) => write!(f, "{bytes} bytes each"),
            None => write!(f, "{} operations, {:.0} ns each", self.operations, self.ns_each()),
        }
    }
}

/// A server with its clients.
struct Bench<S> {
    server: S,
    ns: u128,
    is_measured: bool,
}

/// A turn that is measured.
#[inline(never)]
fn counted<S: Server>(server: &mut S, frames: &[Vec<u8>], work: Work) {
    server.turn(frames, work);
    std::hint::black_box(());
}

/// Runs a mode with `open` connections.
pub(crate) fn run<S: Server>(mode: &str, open: usize, count: usize, batch: usize) -> Option<Report> {
    let before = resident_bytes();
    let is_bulk = matches!(mode, "receive" | "send");
    let mut bench = Bench { server: S::new(open, is_bulk), ns: 0, is_measured: false };
    bench.turn(&[arp_request()], Work::Nothing);
    let mut clients: Vec<Client> = (0..open).map(|number| bench.connect(number)).collect();
    let mut bytes_each = None;
    bench.is_measured = true;
    match mode {
        "requests" => (0..count / batch).for_each(|turn| bench.requests(&mut clients, turn * batch % open, batch)),
        "connections" => (0..count).for_each(|n| bench.connection(open, n)),
        "receive" => bench.receive(&mut clients[0], count << 20),
        "send" => bench.send(&mut clients[0], count << 20),
        "idle" => bytes_each = Some((resident_bytes() - before) / open),
        _ => return None,
    }
    Some(Report { operations: count, ns: bench.ns, bytes_each })
}

impl<S: Server> Bench<S> {
    fn turn(&mut self, frames: &[Vec<u8>], work: Work) {
        if !self.is_measured {
            return self.server.turn(frames, work);
        }
        let start = Instant::now();
        counted(&mut self.server, frames, work);
        self.ns += start.elapsed().as_nanos();
    }

    fn connect(&mut self, number: usize) -> Client {
        self.connect_from(number, PORT_FIRST + number as u16)
    }

    fn connect_from(&mut self, number: usize, port: u16) -> Client {
        let mut client = Client::new(port);
        self.turn(&[client.segment(SYN, &[])], Work::Nothing);
        client.acknowledged = self.server.sent().0;
        self.turn(&[client.segment(ACK, &[])], Work::Accept(number));
        client
    }

    /// One turn with requests of `batch` connections.
    fn requests(&mut self, clients: &mut [Client], first: usize, batch: usize) {
        let batch = batch.min(clients.len() - first);
        let mut frames = Vec::new();
        for client in &mut clients[first..first + batch] {
            frames.push(client.segment(ACK | PSH, &TEXT));
            client.acknowledged = client.acknowledged.wrapping_add(TEXT.len() as u32);
        }
        let before = self.server.sent().1;
        self.turn(&frames, Work::Answer(first, batch));
        assert_eq!(self.server.sent().1 - before, batch as u64, "each request is answered by one segment");
    }

    /// A connection beside the open ones.
    fn connection(&mut self, number: usize, n: usize) {
        let port = PORT_FIRST + ((number + n) % 60_000) as u16;
        let mut client = self.connect_from(number, port);
        self.turn(&[client.segment(ACK | PSH, &TEXT)], Work::Answer(number, 1));
        client.acknowledged = self.server.sent().0;
        self.turn(&[client.segment(ACK | FIN, &[])], Work::Close(number));
        client.acknowledged = self.server.sent().0;
        self.turn(&[client.segment(ACK, &[])], Work::Forget(number));
    }

    fn receive(&mut self, client: &mut Client, bytes: usize) {
        let mut left = bytes;
        while left > 0 {
            let frames: Vec<Vec<u8>> = (0..BURST).map(|_| client.segment(ACK, &FULL)).collect();
            self.turn(&frames, Work::Read(0));
            left = left.saturating_sub(BURST * FULL.len());
        }
    }

    /// The client acknowledges all that came, once in a turn.
    fn send(&mut self, client: &mut Client, bytes: usize) {
        let mut got = 0;
        while got < bytes {
            let before = client.acknowledged;
            self.turn(&[client.segment(ACK, &[])], Work::Send(0));
            client.acknowledged = self.server.sent().0;
            let progress = client.acknowledged.wrapping_sub(before) as usize;
            assert!(progress > 0, "the server goes on");
            got += progress;
        }
    }
}

/// Memory that the process has.
fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4_096
}
