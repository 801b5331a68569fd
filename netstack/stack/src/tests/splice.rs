//! A client, a relay that splices, and a server, all on one core: what a byte-wise proxy does.

use alloc::vec::Vec;
use core::time::Duration;

use weir_socket::{Event, FlowId, ListenerId, Received, Sockets, SpliceStop, Token};

use super::wire::Host;

const RELAY: Token = Token(1);
const SERVER: Token = Token(2);
const CLIENT: Token = Token(3);
const BYTES: usize = 100_000;

/// The relay's two flows, and the server's.
struct Scene {
    host: Host,
    listeners: [ListenerId; 2],
    client: FlowId,
    pair: Option<[FlowId; 2]>,
    is_passed_on: [bool; 2],
    server: Option<FlowId>,
    written: usize,
    reads: bool,
    received: Vec<u8>,
    server_done: bool,
    answer: Vec<u8>,
    client_done: bool,
}

fn byte(at: usize) -> u8 {
    (at.wrapping_mul(0x9e37) >> 8) as u8
}

impl Scene {
    fn new() -> Self {
        let mut host = Host::new();
        let relay = host.shard.listen(([127, 0, 0, 1], 8080).into(), RELAY).expect("listening");
        let server = host.shard.listen(([127, 0, 0, 1], 8081).into(), SERVER).expect("listening");
        let client = host.shard.connect(([127, 0, 0, 1], 8080).into(), CLIENT).expect("a flow");
        Self {
            host,
            listeners: [relay, server],
            client,
            pair: None,
            is_passed_on: [false; 2],
            server: None,
            written: 0,
            reads: false,
            received: Vec::new(),
            server_done: false,
            answer: Vec::new(),
            client_done: false,
        }
    }

    fn turn(&mut self) {
        while let Some(event) = self.host.shard.poll_event() {
            match event {
                Event::Acceptable { token: RELAY, .. } => {
                    let front = self.host.shard.accept(self.listeners[0], RELAY).expect("a flow");
                    let back = self.host.shard.connect(([127, 0, 0, 1], 8081).into(), RELAY).expect("a flow");
                    self.pair = Some([front, back]);
                    self.pass();
                }
                Event::Acceptable { .. } => self.server = self.host.shard.accept(self.listeners[1], SERVER),
                Event::Flow { token: RELAY, .. } => self.pass(),
                Event::Flow { .. } => {}
            }
        }
        self.write();
        self.serve();
        self.read();
        self.host.advance(Duration::from_millis(1));
    }

    /// The whole relay.
    fn pass(&mut self) {
        let Some([front, back]) = self.pair else { return };
        for (n, (from, to)) in [(front, back), (back, front)].into_iter().enumerate() {
            match self.host.shard.splice(from, to, usize::MAX).stop {
                SpliceStop::End => {
                    self.host.shard.shutdown(to);
                    self.is_passed_on[n] = true;
                }
                SpliceStop::Nothing | SpliceStop::Full => {}
                stop => panic!("{stop:?}"),
            }
        }
        if self.is_passed_on == [true; 2] {
            self.host.shard.close(front);
            self.host.shard.close(back);
            self.pair = None;
        }
    }

    fn write(&mut self) {
        while self.written < BYTES && self.host.shard.send_room(self.client) > 0 {
            let Some(mut packet) = self.host.shard.allocate() else { break };
            let part: Vec<u8> = (self.written..BYTES.min(self.written + 1_000)).map(byte).collect();
            packet.extend_from_slice(&part).expect("fits");
            self.host.shard.send(self.client, packet.freeze()).expect("room");
            self.written += part.len();
            if self.written == BYTES {
                self.host.shard.shutdown(self.client);
            }
        }
    }

    fn serve(&mut self) {
        let Some(server) = self.server.filter(|_| self.reads && !self.server_done) else { return };
        match self.host.shard.receive(server) {
            Received::Data(chunk) => self.received.extend_from_slice(&chunk),
            Received::End => {
                // The other direction was open until now, through the relay.
                let answer = weir_packet::Chunk::from_static(b"got it");
                self.host.shard.send(server, answer).expect("room");
                self.host.shard.close(server);
                self.server_done = true;
            }
            Received::Nothing => {}
            Received::Closed(reason) => panic!("{reason}"),
        }
    }

    fn read(&mut self) {
        match self.host.shard.receive(self.client) {
            Received::Data(chunk) => self.answer.extend_from_slice(&chunk),
            Received::End if !self.client_done => {
                self.host.shard.close(self.client);
                self.client_done = true;
            }
            _ => {}
        }
    }
}

#[test]
fn a_relay_passes_bytes_and_ends_to_a_server_that_reads_late() {
    let mut scene = Scene::new();
    // A server that does not read: what its window does not take waits with the relay, as received or as queued.
    for _ in 0..300 {
        scene.turn();
    }
    assert!(scene.received.is_empty() && scene.server.is_some());
    scene.reads = true;
    for _ in 0..3_000 {
        scene.turn();
        if scene.client_done && scene.pair.is_none() {
            break;
        }
    }
    let expected: Vec<u8> = (0..BYTES).map(byte).collect();
    assert!(scene.received == expected, "{} of {BYTES} bytes, or others", scene.received.len());
    assert_eq!(scene.answer, b"got it");
    assert!(scene.client_done && scene.pair.is_none());
    for _ in 0..10 {
        scene.host.advance(Duration::from_millis(100));
    }
    assert_eq!(scene.host.pool.in_use(), 0);
}
