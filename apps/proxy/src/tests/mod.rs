//! The service against a network in memory: every test plays the clients, the servers and the clock.

mod eject;
mod faults;
mod flow;
mod gate;
mod health;
mod leave;
mod limits;
mod local;
mod log;
mod names;
mod own_health;
mod pool;
mod preface;
mod proxy;
mod rfc9110;
mod sticky;
mod timeouts;
mod tunnel;
mod way;

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use weir_config::Config;
use weir_httpd::Archive;
use weir_socket::Sockets;
use weir_socket::testing::{FakeNet, Peer};

use crate::{MetricsSource, Service, Setup};

/// Two servers behind a balancer, and everything that the service answers itself.
const CONFIG: &str = r#"
[admin]
listen = "10.0.0.1:9000"

[[listener]]
name = "web"
bind = "10.0.0.1:80"
[[listener.route]]
pool = "two"

[[listener]]
name = "local"
bind = "10.0.0.1:81"
[[listener.route]]
page = "demo"
[[listener.route]]
path = "/hello"
respond = { body = "hello\n" }
[[listener.route]]
path = "/old"
redirect = { to = "/hello", status = 308 }
[[listener.route]]
path = "/files/"
files = ""

[[listener]]
name = "once"
bind = "10.0.0.1:82"
keep_alive = false
[[listener.route]]
respond = { body = "once\n" }

[[listener]]
name = "one"
bind = "10.0.0.1:83"
[[listener.route]]
pool = "one"

[[pool]]
name = "two"
balance = "round-robin"
[[pool.server]]
name = "a"
address = "10.0.0.11:8080"
[[pool.server]]
name = "b"
address = "10.0.0.12:8080"

[[pool]]
name = "one"
[[pool.server]]
name = "c"
address = "10.0.0.13:8080"

[limits]
body = "100KiB"
"#;

const WEB: u16 = 80;
const LOCAL: u16 = 81;
const ONCE: u16 = 82;
const ONE: u16 = 83;
const ADMIN: u16 = 9000;
const ORIGIN: &str = "image, 7 bytes\n";

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n";
/// What responses without a Date get, a second after the start.
const DATE: &str = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// A metrics page of a given length.
struct Figures(usize);

impl MetricsSource for Figures {
    fn write_metrics(&mut self, out: &mut dyn fmt::Write) -> fmt::Result {
        (0..self.0).try_for_each(|n| writeln!(out, "weir_test{{n=\"{n:05}\"}} 1"))
    }
}

/// The service and its network.
struct World {
    net: FakeNet,
    service: Service<Figures>,
    peers: BTreeSet<Peer>,
    buffers_at_start: usize,
}

impl World {
    fn new() -> Self {
        Self::with(CONFIG, 16)
    }

    fn with(config: &str, connections: usize) -> Self {
        Self::as_core(config, connections, (0, 1))
    }

    /// Carries what cores have to say to one another, until they have said it.
    fn trade(cores: &mut [Self]) {
        while let Some((to, trade)) = cores.iter_mut().find_map(|core| core.service.poll_trade()) {
            let World { net, service, .. } = &mut cores[usize::from(to)];
            service.apply_trade(net, trade);
            service.go_on(net);
            cores[usize::from(to)].run();
        }
    }

    /// One core of several.
    fn as_core(config: &str, connections: usize, (core, cores): (usize, usize)) -> Self {
        let config = Config::parse(config).unwrap_or_else(|error| panic!("{error}"));
        let mut net = FakeNet::new(2000);
        let setup = Setup {
            config: &config,
            core,
            cores,
            seed: 0,
            connections,
            unix_ns_at_origin: 784_111_776_000_000_000,
            archive: Archive::default(),
            origin: ORIGIN,
        };
        let mut service = Service::new(setup, Figures(300)).expect("memory");
        assert_eq!(service.start(&mut net), []);
        let buffers_at_start = net.pool().in_use();
        Self { net, service, peers: BTreeSet::new(), buffers_at_start }
    }

    /// Handles events until there is none.
    fn run(&mut self) {
        for _ in 0..100_000 {
            let Some(event) = self.net.poll_event() else { return };
            self.service.handle(&mut self.net, event);
        }
        panic!("events without end");
    }

    fn open(&mut self, port: u16) -> Peer {
        let peer = self.net.open(SocketAddr::from(([10, 0, 0, 1], port)));
        self.peers.insert(peer);
        self.run();
        peer
    }

    fn send(&mut self, peer: Peer, bytes: &[u8]) {
        self.net.deliver(peer, bytes);
        self.run();
    }

    fn end(&mut self, peer: Peer) {
        self.net.deliver_end(peer);
        self.run();
    }

    fn reset(&mut self, peer: Peer) {
        self.net.fail(peer, weir_socket::CloseReason::Reset);
        self.run();
    }

    /// What the peer got since the last call.
    fn got(&mut self, peer: Peer) -> String {
        let mut bytes = Vec::new();
        loop {
            let more = self.net.take_sent(peer);
            self.run();
            if more.is_empty() {
                return String::from_utf8_lossy(&bytes).into_owned();
            }
            bytes.extend_from_slice(&more);
        }
    }

    /// The status of each response that the peer got.
    fn statuses(&mut self, peer: Peer) -> Vec<u16> {
        let text = self.got(peer);
        let lines = text.match_indices("HTTP/1.1 ").map(|(at, _)| text[at + 9..at + 12].parse().expect("a status"));
        lines.collect()
    }

    /// A connection from a client that sent one request to the balancer.
    fn client(&mut self, port: u16, request: &[u8]) -> Peer {
        let peer = self.open(port);
        self.send(peer, request);
        peer
    }

    /// The only connection that the service is opening, and where to.
    fn connecting(&mut self) -> (Peer, String) {
        let connecting = self.net.connecting();
        let [(peer, address)] = connecting[..] else { panic!("{connecting:?}") };
        self.peers.insert(peer);
        (peer, format!("{address}"))
    }

    /// Accepts the only connection that the service is opening.
    fn accept(&mut self) -> Peer {
        let (peer, _) = self.connecting();
        self.net.establish(peer);
        self.run();
        peer
    }

    /// The server that is being connected to accepts, and answers the client's request.
    fn served(&mut self, client: Peer) -> Peer {
        let server = self.accept();
        self.send(server, OK);
        assert_eq!(self.statuses(client), [200]);
        server
    }

    /// A world whose core checks the servers.
    fn checking(config: &str) -> Self {
        let mut world = Self::with(config, 16);
        let config = Config::parse(config).unwrap_or_else(|error| panic!("{error}"));
        let now = world.net.now();
        world.service.begin_checks(&config, 7, now);
        world
    }

    fn pass(&mut self, seconds: f64) {
        self.net.advance(Duration::from_secs_f64(seconds));
        self.run();
    }

    /// Another core's verdict arrives.
    fn tell(&mut self, verdict: crate::Verdict) {
        self.service.apply_verdict(verdict, self.net.now());
    }

    fn incidents(&self, name: &str) -> u64 {
        self.service.counters().get("weir_incidents_total", name).expect("an incident")
    }

    fn rejects(&self, name: &str) -> u64 {
        self.service.counters().get("weir_rejects_total", name).expect("a reject")
    }

    fn gauge(&self, name: &str) -> u64 {
        self.service.counters().get(name, "").expect("a gauge")
    }

    /// Lets all time pass, and finds nothing left.
    fn finish(mut self) {
        for _ in 0..4 {
            self.pass(100.0);
            for peer in self.peers.clone() {
                self.got(peer);
            }
        }
        let names = [
            "weir_client_connections",
            "weir_server_connections",
            "weir_server_connections_idle",
            "weir_requests_queued",
        ];
        assert_eq!(names.map(|name| self.gauge(name)), [0; 4], "connections are left");
        assert_eq!(self.net.held_flows(), 0, "flows are left");
        // Bytes that the peers sent and nobody will read are the fake network's, not the service's.
        assert_eq!(self.net.pool().in_use(), self.buffers_at_start, "buffers are left");
        assert!(self.net.now().as_nanos() > 0);
    }
}
