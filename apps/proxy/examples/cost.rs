//! Serves or forwards one request a number of times over a network that does almost nothing, for counting instructions:
//!
//! ```text
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/examples/cost serve 1000
//! ```
//!
//! The difference between two counts, divided by the difference of the rounds, is the cost of one request: everything above
//! the socket API, and about 100 (`serve`) or 250 (`forward`) instructions of this network.

use std::collections::VecDeque;
use std::net::SocketAddr;

use weir_config::Config;
use weir_packet::{Chunk, Packet, Pool};
use weir_proxy::{Service, Setup};
use weir_socket::{
    CloseReason, ConnectError, Event, FlowId, Instant, ListenError, ListenerId, Readiness, Received, SendError,
    Sockets, SpliceStop, Spliced, Token,
};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: 192.0.2.10:8080\r\n\r\n";
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n\
      Content-Length: 64\r\nConnection: keep-alive\r\n\r\n\
      Weir answers with sixty-four bytes, as the measurements ask it.\n";

/// Flow 0 is the client, flow 1 the server.
struct Net {
    pool: Pool,
    tokens: [Token; 2],
    inbound: [Option<Chunk>; 2],
    sent: usize,
    accepts: u32,
    events: VecDeque<Event>,
}

impl Sockets for Net {
    fn now(&self) -> Instant {
        Instant::from_nanos(5_000_000_000)
    }
    fn listen(&mut self, _local: SocketAddr, _token: Token) -> Result<ListenerId, ListenError> {
        Ok(ListenerId(0))
    }
    fn unlisten(&mut self, _listener: ListenerId) {}
    fn accept(&mut self, _listener: ListenerId, token: Token) -> Option<FlowId> {
        self.accepts += 1;
        (self.accepts == 1).then(|| {
            self.tokens[0] = token;
            FlowId::new(0, 0)
        })
    }
    fn connect(&mut self, _remote: SocketAddr, token: Token) -> Result<FlowId, ConnectError> {
        self.tokens[1] = token;
        let flow = FlowId::new(1, 0);
        self.events.push_back(Event::Flow { flow, token, ready: Readiness::WRITABLE });
        Ok(flow)
    }
    fn receive(&mut self, flow: FlowId) -> Received {
        self.inbound[flow.index() as usize].take().map_or(Received::Nothing, Received::Data)
    }
    fn send(&mut self, _flow: FlowId, chunk: Chunk) -> Result<(), SendError> {
        self.sent += chunk.len();
        Ok(())
    }
    fn send_room(&self, _flow: FlowId) -> usize {
        65_536
    }
    fn send_queued(&self, _flow: FlowId) -> usize {
        0
    }
    fn splice(&mut self, _from: FlowId, _to: FlowId, _max: usize) -> Spliced {
        Spliced { moved: 0, stop: SpliceStop::Nothing }
    }
    fn shutdown(&mut self, _flow: FlowId) {}
    fn close(&mut self, _flow: FlowId) {}
    fn abort(&mut self, _flow: FlowId) {}
    fn set_timer(&mut self, _flow: FlowId, _deadline: Option<Instant>) {}
    fn set_token(&mut self, _flow: FlowId, _token: Token) {}
    fn set_nagle(&mut self, _flow: FlowId, _on: bool) {}
    fn local_address(&self, _flow: FlowId) -> Option<SocketAddr> {
        None
    }
    fn peer_address(&self, _flow: FlowId) -> Option<SocketAddr> {
        Some(([192, 0, 2, 77], 4711).into())
    }
    fn allocate(&mut self) -> Option<Packet> {
        self.pool.allocate()
    }
    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}

impl Net {
    /// Bytes arrive that the flow's owner has not seen; the caller shares them, so that nothing is copied for each round.
    fn deliver(&mut self, flow: u32, bytes: &Chunk) -> Event {
        let _ = CloseReason::Reset;
        self.inbound[flow as usize] = Some(bytes.clone());
        Event::Flow { flow: FlowId::new(flow, 0), token: self.tokens[flow as usize], ready: Readiness::READABLE }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let kind = arguments.next().unwrap_or_default();
    let rounds: u32 = arguments.next().and_then(|rounds| rounds.parse().ok()).unwrap_or(1000);
    let action = match kind.as_str() {
        "serve" => "respond = { body = \"Weir answers with sixty-four bytes, as the measurements ask it.\\n\" }",
        "forward" => "pool = \"p\"",
        _ => panic!("serve or forward"),
    };
    let config = format!(
        "[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\n[[listener.route]]\n{action}\n\
         [[pool]]\nname = \"p\"\n[[pool.server]]\nname = \"a\"\naddress = \"10.0.0.1:80\"\n"
    );
    let config = Config::parse(&config).expect("a good configuration");
    let pool = Pool::with_capacity(64).expect("memory");
    let mut net =
        Net { pool, tokens: [Token(0); 2], inbound: [None, None], sent: 0, accepts: 0, events: VecDeque::new() };
    let setup = Setup {
        config: &config,
        core: 0,
        cores: 1,
        seed: 0,
        connections: 16,
        unix_ns_at_origin: 0,
        archive: Default::default(),
        origin: "",
    };
    let mut service = Service::new(setup, ()).expect("memory");
    assert!(service.start(&mut net).is_empty());
    service.handle(&mut net, Event::Acceptable { listener: ListenerId(0), token: Token(0) });
    let (request, response) = (Chunk::from_static(REQUEST), Chunk::from_static(RESPONSE));
    for _ in 0..rounds {
        let event = net.deliver(0, &request);
        service.handle(&mut net, event);
        while let Some(event) = net.poll_event() {
            service.handle(&mut net, event);
        }
        if kind == "forward" {
            let event = net.deliver(1, &response);
            service.handle(&mut net, event);
        }
    }
    assert_eq!(service.counters().get("weir_responses_total", "2xx"), Some(rounds.into()));
}
