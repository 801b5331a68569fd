//! Serves or forwards one request a number of times over a network that does almost nothing, for counting instructions:
//!
//! ```text
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/examples/cost forward 1000
//! ```
//!
//! The difference between two counts, divided by the difference of the rounds, is the cost of one request: everything above
//! the socket API, and about 100 (`serve`) or 250 (`forward`) instructions of this network.
//!
//! | kind | what is asked |
//! | --- | --- |
//! | `serve` | a fixed response |
//! | `forward` | one server |
//! | `features` | one of two pools by one of three routes, with the access log and limits per client |
//! | `routes=1`, `routes=2000` | a host and path among those of so many routes, 20 for each host |
//! | `round-robin=2`, `hash=1000`, ... | a pool of so many servers; rounds after the first connections to all of them count |

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

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

/// Asks for a host and path in the middle of many routes.
const ROUTED: &[u8] = b"GET /p10/index.html HTTP/1.1\r\nHost: h50.example.com\r\n\r\n";

/// Connections of clients that there is room for, and as many to servers.
const CONNECTIONS: usize = 2048;

/// Flow 0 is the client, the others are servers.
struct Net {
    pool: Pool,
    tokens: Vec<Token>,
    inbound: Vec<Option<Chunk>>,
    /// The flow that was sent something last: while a request is under way, that of its server.
    asked: u32,
    sent: usize,
    accepts: u32,
    events: VecDeque<Event>,
}

impl Sockets for Net {
    fn now(&self) -> Instant {
        // The compiler knows no real clock's time either.
        Instant::from_nanos(std::hint::black_box(5_000_000_000))
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
    fn connect_from(&mut self, _sources: &[IpAddr], _remote: SocketAddr, token: Token) -> Result<FlowId, ConnectError> {
        let flow = FlowId::new(self.tokens.len() as u32, 0);
        self.tokens.push(token);
        self.inbound.push(None);
        self.events.push_back(Event::Flow { flow, token, ready: Readiness::WRITABLE });
        Ok(flow)
    }
    fn receive(&mut self, flow: FlowId) -> Received {
        self.inbound[flow.index() as usize].take().map_or(Received::Nothing, Received::Data)
    }
    fn send(&mut self, flow: FlowId, chunk: Chunk) -> Result<(), SendError> {
        self.asked = flow.index();
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

/// The configuration of a kind, and what is asked for.
fn scene(kind: &str) -> (String, &'static [u8]) {
    let listener = "[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\n";
    let (name, number) = kind.split_once('=').unwrap_or((kind, "1"));
    let number: usize = number.parse().expect("a number");
    match name {
        "serve" => {
            let body = "Weir answers with sixty-four bytes, as the measurements ask it.\\n";
            (format!("{listener}[[listener.route]]\nrespond = {{ body = \"{body}\" }}\n"), REQUEST)
        }
        "forward" => (format!("{listener}{}{}", route("*", "/", "p"), pool("p", "round-robin", 1)), REQUEST),
        "features" => {
            let routes = [route("*", "/", "p"), route("*", "/api/", "q"), route("www.example.com", "/", "q")].concat();
            let pools = [pool("p", "round-robin", 1), pool("q", "round-robin", 1)].concat();
            let limits = "connections_per_client = 100\nrequest_rate_per_client = \"1000000/s\"\n";
            (
                format!(
                    "[log]\naccess = \"syslog\"\nsyslog = \"10.0.0.2:514\"\n[limits]\n{limits}{listener}{routes}{pools}"
                ),
                REQUEST,
            )
        }
        "routes" => {
            let one = || route("*", "/", "p");
            let place = |n: usize| route(&format!("h{}.example.com", n / 20), &format!("/p{}/", n % 20), "p");
            let routes: String = if number == 1 { one() } else { (0..number).map(place).collect() };
            (format!("{listener}{routes}{}", pool("p", "round-robin", 1)), ROUTED)
        }
        balance => (format!("{listener}{}{}", route("*", "/", "p"), pool("p", balance, number)), REQUEST),
    }
}

fn route(host: &str, path: &str, pool: &str) -> String {
    format!("[[listener.route]]\nhost = \"{host}\"\npath = \"{path}\"\npool = \"{pool}\"\n")
}

fn pool(name: &str, balance: &str, servers: usize) -> String {
    let server = |n: usize| {
        format!("[[pool.server]]\nname = \"{name}{n}\"\naddress = \"10.0.{}.{}:80\"\n", n / 250, n % 250 + 1)
    };
    let servers: String = (0..servers).map(server).collect();
    let hash_on = if balance == "hash" { "hash_on = \"client-address\"\n" } else { "" };
    format!("[[pool]]\nname = \"{name}\"\nbalance = \"{balance}\"\n{hash_on}{servers}")
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let kind = arguments.next().expect("a kind");
    let rounds: u32 = arguments.next().and_then(|rounds| rounds.parse().ok()).unwrap_or(1000);
    let (config, request) = scene(&kind);
    let config = Config::parse(&config).expect("a good configuration");
    let mut net = Net {
        pool: Pool::with_capacity(64).expect("memory"),
        tokens: vec![Token(0)],
        inbound: vec![None],
        asked: 0,
        sent: 0,
        accepts: 0,
        events: VecDeque::new(),
    };
    let setup = Setup {
        config: &config,
        core: 0,
        cores: 1,
        seed: 0,
        connections: CONNECTIONS,
        unix_ns_at_origin: 0,
        archive: Default::default(),
        origin: "",
    };
    let mut service = Service::new(setup, ()).expect("memory");
    assert!(service.start(&mut net).is_empty());
    service.handle(&mut net, Event::Acceptable { listener: ListenerId(0), token: Token(0) });
    let (request, response) = (Chunk::from_static(request), Chunk::from_static(RESPONSE));
    for _ in 0..rounds {
        let event = net.deliver(0, &request);
        service.handle(&mut net, event);
        while let Some(event) = net.poll_event() {
            service.handle(&mut net, event);
        }
        if net.asked != 0 {
            let event = net.deliver(net.asked, &response);
            service.handle(&mut net, event);
        }
        if service.has_log_lines() {
            service.drain_log(|line| assert!(line.len() > 100));
        }
    }
    assert_eq!(service.counters().get("weir_responses_total", "2xx"), Some(rounds.into()));
}
