//! Flows on a TAP that does not steer as it should: silence and crowds. Nobody's request may suffer.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::daemon::nginx;
use crate::guest::{Guest, Spec};
use crate::lab::command_line;
use crate::metrics::{Metrics, wait_until};
use crate::proxy::{PORTS, balancer};
use crate::serve::boot_two;
use crate::tap::Tap;
use crate::{Failed, Tested, Tests, ensure, http};

pub const TESTS: Tests = &[
    ("steering::silent_connections_to_servers_are_used_again", silent_connections_to_servers_are_used_again),
    ("steering::connections_to_a_server_come_from_all_source_addresses", connections_come_from_all_source_addresses),
    (
        "steering::connections_of_a_pool_come_from_its_own_source_address",
        connections_of_a_pool_come_from_its_own_address,
    ),
    ("steering::ten_thousand_connections_at_once", ten_thousand_connections_at_once),
];

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nserved";

/// Until what has happened stands on the metrics page.
const LIMIT: Duration = Duration::from_secs(10);

/// Longer than a TAP remembers the queue of a silent flow.
const SILENCE: Duration = Duration::from_secs(5);

/// A server that answers when it is told, so that a test decides how many requests are under way.
struct Holding {
    state: Mutex<Held>,
    changed: Condvar,
}

#[derive(Default)]
struct Held {
    connections: usize,
    /// Where they came from.
    sources: BTreeSet<Ipv4Addr>,
    waiting: usize,
    /// Rounds whose requests may be answered.
    released: usize,
}

impl Holding {
    fn start(address: SocketAddrV4) -> Result<Arc<Self>, Failed> {
        let listener = TcpListener::bind(address)?;
        let server = Arc::new(Self { state: Mutex::default(), changed: Condvar::new() });
        let accepting = Arc::clone(&server);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut state = accepting.state();
                state.connections += 1;
                if let Ok(SocketAddr::V4(source)) = stream.peer_addr() {
                    state.sources.insert(*source.ip());
                }
                drop(state);
                let serving = Arc::clone(&accepting);
                thread::spawn(move || serving.serve(stream));
            }
        });
        Ok(server)
    }

    fn state(&self) -> MutexGuard<'_, Held> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One connection: its request of each round waits for the release of that round.
    fn serve(&self, mut stream: TcpStream) {
        let mut round = 0;
        while read_until(&mut stream, b"\r\n\r\n").is_ok() {
            round += 1;
            let mut state = self.state();
            state.waiting += 1;
            self.changed.notify_all();
            while state.released < round {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            drop(state);
            if stream.write_all(ANSWER).is_err() {
                return;
            }
        }
    }

    /// Waits until so many requests have come.
    fn wait_for(&self, count: usize) -> Tested {
        let (state, limit) = self
            .changed
            .wait_timeout_while(self.state(), Duration::from_secs(20), |state| state.waiting < count)
            .unwrap_or_else(PoisonError::into_inner);
        ensure(!limit.timed_out(), || format!("{} of {count} requests have reached the server", state.waiting))
    }

    fn release(&self) {
        let mut state = self.state();
        (state.waiting, state.released) = (0, state.released + 1);
        self.changed.notify_all();
    }
}

fn read_until(stream: &mut TcpStream, end: &[u8]) -> Tested {
    let mut bytes = Vec::new();
    let mut buffer = [0; 1024];
    while !bytes.ends_with(end) {
        let count = stream.read(&mut buffer)?;
        ensure(count > 0, || format!("closed after {:?}", String::from_utf8_lossy(&bytes)))?;
        bytes.extend_from_slice(&buffer[..count]);
    }
    Ok(())
}

/// Lets time pass while the console is listened to.
fn silence(guest: &mut Guest) {
    let end = Instant::now() + SILENCE;
    while Instant::now() < end {
        guest.vm.next_event(Some(end));
    }
}

/// 200 connections to a server, silent for longer than the TAP remembers them, are all used again; and when the server is
/// silent as long before it answers, its answers come in on any queue and reach the core that asked.
fn silent_connections_to_servers_are_used_again() -> Tested {
    const CLIENTS: usize = 200;
    let (mut guest, tap) =
        boot_two(|tap| "[timeouts]\nbackend_idle = \"60s\"\n\n".to_owned() + &balancer(tap, &PORTS[..1]))?;
    let server = Holding::start(SocketAddrV4::new(tap.host(), PORTS[0]))?;
    let mut clients = (0..CLIENTS).map(|_| http::connect(tap.at(80), REQUEST)).collect::<Result<Vec<_>, _>>()?;
    for round in 0..2 {
        server.wait_for(CLIENTS).map_err(|error| guest.report(&error.to_string()))?;
        if round > 0 {
            silence(&mut guest);
        }
        server.release();
        for (number, client) in clients.iter_mut().enumerate() {
            read_until(client, b"served")
                .map_err(|error| guest.report(&format!("round {round}, client {number}: {error}")))?;
        }
        if round == 0 {
            silence(&mut guest);
            clients.iter_mut().try_for_each(|client| client.write_all(REQUEST))?;
        }
    }
    let connections = server.state().connections;
    ensure(connections == CLIENTS, || format!("{connections} connections for {CLIENTS} clients"))?;
    let of_cores = |metrics: &Metrics| metrics.per_core("weir_requests_total", "listener=\"web\"");
    let all = |metrics: &Metrics| of_cores(metrics).iter().sum::<u64>() == 2 * CLIENTS as u64;
    let metrics = wait_until(&mut guest, tap.at(9000), LIMIT, all)?;
    let served = of_cores(&metrics);
    ensure(served.iter().all(|count| *count > 0), || format!("requests per core: {served:?}"))?;
    let forwarded = metrics.labelled("weir_stack_total", "event=\"frames_forwarded\"");
    println!("{forwarded} frames forwarded");
    ensure(forwarded > 0, || "no frame was forwarded: the host has remembered every flow".into())
}

/// Source ports of one address, dealt out to all cores.
const EPHEMERAL_PORTS: u64 = 60_999 - 32_768 + 1;

/// The server sees clients of three addresses, each of which is also answered for when a client asks where it is.
fn connections_come_from_all_source_addresses() -> Tested {
    const CLIENTS: usize = 24;
    let tap = Tap::new(2)?;
    let further = [1, 2].map(|number| Ipv4Addr::from_bits(tap.guest().to_bits() + number));
    let key = format!("[network]\nsource_addresses = [\"{}\", \"{}\"]\n", further[0], further[1]);
    let config = tap.config().replace("[network]\n", &key) + &balancer(&tap, &PORTS[..1]);
    let mut guest = Guest::boot(Spec { config, cores: 2, nic: tap.nic(), ..Spec::default() })?;
    let server = Holding::start(SocketAddrV4::new(tap.host(), PORTS[0]))?;
    let mut clients = (0..CLIENTS).map(|_| http::connect(tap.at(80), REQUEST)).collect::<Result<Vec<_>, _>>()?;
    for address in further {
        clients.push(http::connect(SocketAddrV4::new(address, 80), REQUEST)?);
    }
    server.wait_for(clients.len()).map_err(|error| guest.report(&error.to_string()))?;
    let in_use = |metrics: &Metrics| metrics.sum("weir_source_ports_in_use");
    let held = clients.len() as u64;
    let metrics = wait_until(&mut guest, tap.at(9000), LIMIT, |metrics| in_use(metrics) == held)?;
    ensure(metrics.sum("weir_source_ports") == EPHEMERAL_PORTS, || format!("{metrics:#?}"))?;
    // Three addresses take turns on each core: none has all connections, and none has few.
    let most = metrics.sum("weir_source_ports_in_use_max");
    ensure((held / 3..=held / 2).contains(&most), || format!("{most} of {held} ports for one address"))?;
    server.release();
    clients.iter_mut().try_for_each(|client| read_until(client, b"served"))?;
    let expected = BTreeSet::from([tap.guest(), further[0], further[1]]);
    let sources = server.state().sources.clone();
    ensure(sources == expected, || format!("connections from {sources:?}"))?;
    let ports = Metrics::read(tap.at(9000))?.labelled("weir_stack", "source_ports_per_destination");
    ensure(ports == 3 * EPHEMERAL_PORTS, || format!("{ports} source ports"))?;
    guest.still_runs()
}

/// Of three addresses the server sees the one that its pool has, from both cores and from checks.
fn connections_of_a_pool_come_from_its_own_address() -> Tested {
    const CLIENTS: usize = 24;
    let tap = Tap::new(2)?;
    let further = [1, 2].map(|number| Ipv4Addr::from_bits(tap.guest().to_bits() + number));
    let key = format!("[network]\nsource_addresses = [\"{}\", \"{}\"]\n", further[0], further[1]);
    let pool = format!("\nsource = \"{}\"\n[pool.health]\ninterval = \"200ms\"\n[[pool.server]]\n", further[1]);
    let config = tap.config().replace("[network]\n", &key)
        + &balancer(&tap, &PORTS[..1]).replacen("\n[[pool.server]]\n", &pool, 1);
    let server = Holding::start(SocketAddrV4::new(tap.host(), PORTS[0]))?;
    let mut guest = Guest::boot(Spec { config, cores: 2, nic: tap.nic(), ..Spec::default() })?;
    let checked = |metrics: &Metrics| metrics.labelled("weir_checks_total", "passed") > 1;
    wait_until(&mut guest, tap.at(9000), LIMIT, checked)?;
    let mut clients = (0..CLIENTS).map(|_| http::connect(tap.at(80), REQUEST)).collect::<Result<Vec<_>, _>>()?;
    server.wait_for(CLIENTS).map_err(|error| guest.report(&error.to_string()))?;
    server.release();
    clients.iter_mut().try_for_each(|client| read_until(client, b"served"))?;
    let of_both = |metrics: &Metrics| !metrics.per_core("weir_requests_total", "listener=\"web\"").contains(&0);
    wait_until(&mut guest, tap.at(9000), LIMIT, of_both)?;
    let sources = server.state().sources.clone();
    ensure(sources == BTreeSet::from([further[1]]), || format!("connections from {sources:?}"))?;
    guest.still_runs()
}

/// More flows than a TAP remembers, each with a request under way.
fn ten_thousand_connections_at_once() -> Tested {
    const CONNECTIONS: u32 = 10_000;
    let root = tempfile::tempdir()?;
    let tap = Tap::new(2)?;
    // A crowd's burst must fit into the host's queue before the guest: what does not is lost to all of them.
    command_line(&format!("ip link set {} txqueuelen 20000", tap.name()))?;
    let config = tap.config() + "[timeouts]\nconnect = \"20s\"\n\n" + &balancer(&tap, &PORTS);
    let mut guest = Guest::boot(Spec { config, cores: 2, memory_mib: 512, nic: tap.nic(), ..Spec::default() })?;
    let start = |port: u16| {
        nginx(SocketAddrV4::new(tap.host(), port), root.path(), "location = / { return 200 \"served\\n\"; }")
    };
    let _servers = [start(PORTS[0])?, start(PORTS[1])?];
    let said = command_line(&format!("wrk -t1 -c{CONNECTIONS} -d10s --timeout 60s http://{}/", tap.at(80)))?;
    println!("{}", said.lines().find(|line| line.starts_with("Requests/sec")).unwrap_or_default());
    let errors = said.contains("Socket errors") || said.contains("Non-2xx");
    let metrics = Metrics::read(tap.at(9000))?;
    ensure(!errors, || guest.report(&format!("{said}\n{metrics:#?}")).to_string())?;
    guest.still_runs()?;
    let requests: u64 = metrics.per_core("weir_requests_total", "listener=\"web\"").iter().sum();
    ensure(requests >= CONNECTIONS.into(), || format!("{requests} requests on {CONNECTIONS} connections"))?;
    let failed = metrics.labelled("weir_server_requests_total", "failed");
    ensure(failed == 0, || format!("{failed} requests failed"))
}
