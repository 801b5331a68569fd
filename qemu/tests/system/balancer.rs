//! How the balancer treats servers that come, go and fall ill.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use crate::daemon::{Daemon, nginx};
use crate::guest::Guest;
use crate::proxy::{PORTS, balancer};
use crate::serve::boot_two;
use crate::tap::Tap;
use crate::{Failed, Tested, Tests, backend, ensure, http, metrics};

pub const TESTS: Tests = &[
    ("balancer::health_checks_move_requests_on_every_core", health_checks_move_requests_on_every_core),
    ("balancer::a_script_tells_the_master_from_its_replica", a_script_tells_the_master_from_its_replica),
];

/// Time for a server's change to be noticed.
const VERDICT_LIMIT: Duration = Duration::from_secs(20);

const HEALTH: &str = "\n[pool.health]\nhttp = { path = \"/healthz\", expect = \"200\" }\ninterval = \"200ms\"\n\
                      timeout = \"5s\"\nrise = 2\nfall = 2\n";

const SCRIPT: &str = "\n[pool.health]\ninterval = \"200ms\"\ntimeout = \"1s\"\nrise = 2\nfall = 2\n\
                      tcp = [{ send = \"PING\\r\\n\", expect = \"+PONG\" }, \
                      { send = \"INFO replication\\r\\n\", expect = \"role:master\" }]\n";

fn server(tap: &Tap, port: u16, status: u16) -> Result<Daemon, Failed> {
    let root = tempfile::tempdir()?;
    let location =
        format!("location = /healthz {{ return {status} \"\"; }} location / {{ return 200 \"server {port}\\n\"; }}");
    nginx(SocketAddrV4::new(tap.host(), port), root.path(), &location)
}

/// Waits until every core has the wanted view of the two servers.
fn wait_for_view(guest: &mut Guest, tap: &Tap, wanted: [u64; 2]) -> Tested {
    let seen = |now: &metrics::Metrics| {
        let views = PORTS.map(|port| now.per_core("weir_server_up", &format!("server=\"p/s{port}\"")));
        views == wanted.map(|up| vec![up; 2])
    };
    metrics::wait_until(guest, tap.at(9000), VERDICT_LIMIT, seen).map(drop)
}

/// Forty connections, so that both cores have some: all are answered, and only by these servers.
fn answered_by(guest: &mut Guest, tap: &Tap, ports: &[u16]) -> Tested {
    let mut counts = [0; 2];
    for _ in 0..40 {
        let answer = http::get(tap.at(80), "/").map_err(|error| guest.report(&error.to_string()))?;
        ensure(answer.status == 200, || answer.head.clone())?;
        let index = PORTS.iter().position(|port| answer.text().contains(&port.to_string()));
        counts[index.ok_or("no server said its name")?] += 1;
    }
    let as_wanted = PORTS.iter().zip(counts).all(|(port, count)| (count > 0) == ports.contains(port));
    ensure(as_wanted, || format!("requests per server: {counts:?}, wanted: {ports:?}"))
}

/// A server that answers requests, and says of itself that it is ill, gets none; one that stops is noticed; both come back.
fn health_checks_move_requests_on_every_core() -> Tested {
    let (mut guest, tap) = boot_two(|tap| balancer(tap, &PORTS) + HEALTH)?;
    wait_for_view(&mut guest, &tap, [0, 0])?;
    let ill = server(&tap, PORTS[0], 503)?;
    let well = server(&tap, PORTS[1], 200)?;
    wait_for_view(&mut guest, &tap, [0, 1])?;
    // It was down before it was ill: its illness must have been seen.
    let is_seen_ill = |now: &metrics::Metrics| now.labelled("weir_checks_total", "outcome=\"status\"") > 0;
    metrics::wait_until(&mut guest, tap.at(9000), VERDICT_LIMIT, is_seen_ill)?;
    answered_by(&mut guest, &tap, &PORTS[1..])?;
    drop(ill);
    let _healed = server(&tap, PORTS[0], 200)?;
    wait_for_view(&mut guest, &tap, [1, 1])?;
    answered_by(&mut guest, &tap, &PORTS)?;
    drop(well);
    guest.wait_for(&["health: server p/s8002", "is down"], VERDICT_LIMIT)?;
    wait_for_view(&mut guest, &tap, [1, 0])?;
    answered_by(&mut guest, &tap, &PORTS[..1])?;
    let page = metrics::Metrics::read(tap.at(9000))?;
    for outcome in ["passed", "status", "not_connected"] {
        let count = page.labelled("weir_checks_total", &format!("outcome=\"{outcome}\""));
        ensure(count > 0, || format!("no check ended as {outcome}"))?;
    }
    guest.still_runs()
}

/// Two servers that speak as Redis does, of which one is the master: the check says which, also after they have changed roles.
fn a_script_tells_the_master_from_its_replica() -> Tested {
    let (mut guest, tap) = boot_two(|tap| balancer(tap, &PORTS) + SCRIPT)?;
    let master = Arc::new(AtomicU16::new(PORTS[0]));
    for port in PORTS {
        let master = Arc::clone(&master);
        backend::start(SocketAddrV4::new(tap.host(), port), move |peer| {
            peer.body("PING\r\n".len())?;
            peer.say(b"+PONG\r\n")?;
            peer.body("INFO replication\r\n".len())?;
            let role = if master.load(Ordering::Relaxed) == port { "master" } else { "slave" };
            peer.say(format!("$29\r\n# Replication\r\nrole:{role}\r\n").as_bytes())?;
            // What else is said to it is nothing: the check has ended.
            peer.head().map(drop)
        })?;
    }
    wait_for_view(&mut guest, &tap, [1, 0])?;
    let is_heard = |now: &metrics::Metrics| now.labelled("weir_checks_total", "outcome=\"mismatch\"") > 0;
    metrics::wait_until(&mut guest, tap.at(9000), VERDICT_LIMIT, is_heard)?;
    master.store(PORTS[1], Ordering::Relaxed);
    wait_for_view(&mut guest, &tap, [0, 1])?;
    guest.still_runs()
}
