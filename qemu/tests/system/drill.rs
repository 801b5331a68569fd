//! Drills: what operators do to servers while clients work, and what servers do to themselves.

use std::net::SocketAddrV4;
use std::thread;
use std::time::{Duration, Instant};

use crate::daemon::{Daemon, nginx};
use crate::guest::Guest;
use crate::lab::{command_line, long};
use crate::proxy::balancer;
use crate::serve::boot_two;
use crate::tap::Tap;
use crate::{Failed, Tested, Tests, ensure, http, metrics};

pub const TESTS: Tests = &[
    ("drill::servers_restarted_one_after_another_cost_no_request", rolling_restart),
    ("drill::a_server_killed_hard_costs_at_most_what_was_under_way_there", killed_hard),
    ("drill::mixed_traffic_with_faults_leaves_nothing_behind", soak),
];

const PORTS: [u16; 3] = [8001, 8002, 8003];

/// Connections of the load, and so requests under way at most.
const CLIENTS: u64 = 24;

/// Time for a server's change to be noticed.
const VERDICT_LIMIT: Duration = Duration::from_secs(20);

/// Time for everybody to be gone: longer than a client may linger, and than idle connections to servers are kept.
const QUIET_LIMIT: Duration = Duration::from_secs(40);

const HEALTH: &str = "\n[pool.health]\nhttp = { path = \"/healthz\" }\ninterval = \"200ms\"\ntimeout = \"5s\"\n";

struct Pool {
    guest: Guest,
    tap: Tap,
    servers: Vec<Daemon>,
}

impl Pool {
    fn boot() -> Result<Self, Failed> {
        let (mut guest, tap) = boot_two(|tap| balancer(tap, &PORTS) + HEALTH)?;
        let servers = PORTS.iter().map(|&port| server(&tap, port)).collect::<Result<_, _>>()?;
        let all_up = |now: &metrics::Metrics| now.sum("weir_server_up") == 6;
        metrics::wait_until(&mut guest, tap.at(9000), VERDICT_LIMIT, all_up)?;
        Ok(Self { guest, tap, servers })
    }

    /// Waits until both cores see a server as up or down.
    fn wait_for(&mut self, port: u16, up: u64) -> Tested {
        let label = format!("server=\"p/s{port}\"");
        let seen = |now: &metrics::Metrics| now.per_core("weir_server_up", &label) == [up; 2];
        metrics::wait_until(&mut self.guest, self.tap.at(9000), VERDICT_LIMIT, seen).map(drop)
    }

    /// Requests that the pool got so far.
    fn requests(&self) -> Result<u64, Failed> {
        Ok(metrics::Metrics::read(self.tap.at(9000))?.sum("weir_server_requests_total"))
    }

    /// What went wrong, with what the balancer counted.
    fn told(&mut self, failed: u64, requests: u64) -> String {
        let incidents = metrics::incidents(self.tap.at(9000));
        self.guest.report(&format!("{failed} of {requests} failed\n{incidents}")).to_string()
    }

    /// Waits until so many more requests were sent: the load is running.
    fn wait_for_requests(&mut self, more: u64) -> Tested {
        let target = self.requests()? + more;
        let served = |now: &metrics::Metrics| now.sum("weir_server_requests_total") >= target;
        metrics::wait_until(&mut self.guest, self.tap.at(9000), VERDICT_LIMIT, served).map(drop)
    }
}

fn server(tap: &Tap, port: u16) -> Result<Daemon, Failed> {
    let root = tempfile::tempdir()?;
    nginx(SocketAddrV4::new(tap.host(), port), root.path(), &format!("location / {{ return 200 \"{port}\\n\"; }}"))
}

/// Runs `drill` while `wrk` loads the balancer; how many requests there were, and how many failed.
fn under_load(pool: &mut Pool, drill: impl FnOnce(&mut Pool) -> Tested) -> Result<(u64, u64), Failed> {
    let seconds = if long() { 60 } else { 15 };
    let load = format!("wrk -t2 -c{CLIENTS} -d{seconds}s --timeout 10s http://{}/", pool.tap.at(80));
    let load = thread::spawn(move || command_line(&load).map_err(|error| error.to_string()));
    pool.wait_for_requests(100)?;
    drill(pool)?;
    ensure(!load.is_finished(), || "the drill took longer than the load".into())?;
    let text = load.join().map_err(|_| "wrk panicked")??;
    let (requests, failed) = counts(&text).ok_or_else(|| format!("wrk said: {text}"))?;
    println!("{failed} of {requests} failed");
    Ok((requests, failed))
}

/// Requests and failures in what `wrk` prints.
fn counts(text: &str) -> Option<(u64, u64)> {
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in "))?.0.trim().parse().ok()?;
    let numbers = |line: &str| -> u64 {
        line.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse::<u64>().ok()).sum()
    };
    let failures = text.lines().filter(|line| line.contains("Non-2xx") || line.contains("Socket errors"));
    // `Non-2xx or 3xx responses: 7`: the digits of the label are not failures.
    let failed = failures.map(|line| numbers(line.split_once(": ").map_or(line, |(_, values)| values))).sum();
    Some((requests, failed))
}

/// Each of three servers stops, is noticed, and comes back, while clients go on: no request fails.
fn rolling_restart() -> Tested {
    let mut pool = Pool::boot()?;
    let (requests, failed) = under_load(&mut pool, |pool| {
        for (index, port) in PORTS.into_iter().enumerate() {
            drop(pool.servers.remove(index));
            pool.wait_for(port, 0)?;
            pool.wait_for_requests(100)?;
            pool.servers.insert(index, server(&pool.tap, port)?);
            pool.wait_for(port, 1)?;
            pool.wait_for_requests(100)?;
        }
        Ok(())
    })?;
    ensure(failed == 0 && requests > 1_000, || pool.told(failed, requests))?;
    pool.guest.still_runs()
}

/// One server is gone from one moment to the next.
fn killed_hard() -> Tested {
    let mut pool = Pool::boot()?;
    let (requests, failed) = under_load(&mut pool, |pool| {
        drop(pool.servers.remove(1));
        pool.wait_for(PORTS[1], 0)?;
        pool.wait_for_requests(200)
    })?;
    ensure(failed <= CLIENTS && requests > 1_000, || pool.told(failed, requests))?;
    pool.guest.still_runs()
}

/// What has to be as it was once everybody is gone, and how much more it may be: the connection that asks is among them.
const GAUGES: [(&str, u64); 6] = [
    ("weir_flows", 1),
    ("weir_packet_buffers_in_use", 8),
    ("weir_client_connections", 1),
    ("weir_server_connections", 0),
    ("weir_server_connections_idle", 0),
    ("weir_requests_queued", 0),
];

/// What the engine remembers of a connection that has ended, with its entry in the flow table when that has just grown.
const TIME_WAIT_BYTES: u64 = 48 + 32;

/// What tables and pools of two cores have grown by when the most of some round were there at the same time.
const PEAK_BYTES: u64 = 128 << 10;

/// How long clients come and go.
fn soak_time() -> Duration {
    Duration::from_secs(if long() { 30 * 60 } else { 15 })
}

/// Clients of all kinds, among them some that go in the middle of what they do, and servers that go too: afterwards all is
/// as it was, and the heap has not grown.
fn soak() -> Tested {
    let limited =
        |tap: &Tap| balancer(tap, &PORTS).replace("name = \"s8003\"", "name = \"s8003\"\nmax_connections = 4") + HEALTH;
    let (mut guest, tap) = boot_two(limited)?;
    let root = tempfile::tempdir()?;
    std::fs::write(root.path().join("big"), vec![b'x'; 3 << 20])?;
    let start = |port: u16| {
        let location =
            "client_max_body_size 100m; location / { return 200 \"hello\\n\"; } location /big { root ROOT; }";
        nginx(SocketAddrV4::new(tap.host(), port), root.path(), location)
    };
    let mut servers = PORTS.iter().map(|&port| start(port)).collect::<Result<Vec<_>, _>>()?;
    let page = tap.at(9000);
    metrics::wait_until(&mut guest, page, VERDICT_LIMIT, |now| now.sum("weir_server_up") == 6)?;
    let mut round = |number: usize| {
        let (victim, web) = (number % PORTS.len(), tap.at(80));
        let clients = thread::spawn(move || clients(web).map_err(|error| error.to_string()));
        servers.remove(victim);
        servers.insert(victim, start(PORTS[victim])?);
        Ok::<_, Failed>(clients.join().map_err(|_| "a client panicked")??)
    };
    // The first rounds, one for each server that goes, take what is kept for good.
    (0..PORTS.len()).try_for_each(&mut round)?;
    let before = quiet(&mut guest, &tap, None)?;
    let deadline = Instant::now() + soak_time();
    let mut rounds = 0;
    while Instant::now() < deadline {
        round(rounds)?;
        rounds += 1;
    }
    let after = quiet(&mut guest, &tap, Some(&before))?;
    // Some connections of the last minute are still remembered.
    let records = after.sum("weir_tcp_time_wait") * TIME_WAIT_BYTES;
    let heap = |metrics: &metrics::Metrics| metrics.sum("weir_heap_used_bytes");
    ensure(heap(&after) <= heap(&before) + records + PEAK_BYTES, || {
        format!("the heap had {} bytes and has {} after {rounds} rounds", heap(&before), heap(&after))
    })?;
    ensure(rounds > 1, || format!("{rounds} rounds"))?;
    guest.still_runs()
}

/// One round of clients. What they get does not matter: servers come and go.
fn clients(web: SocketAddrV4) -> Tested {
    let mut leavers = Vec::new();
    for n in 0..20 {
        // A large response that nobody reads to its end, a body that does not come to its end, half a head.
        leavers.push(http::connect(web, b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")?);
        leavers.push(http::connect(web, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nx")?);
        leavers.push(http::connect(web, &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..n])?);
    }
    for line in [
        format!("wrk -t1 -c16 -d1s http://{web}/"),
        format!("wrk -t1 -c4 -d1s http://{web}/big"),
        format!("ab -q -r -n 200 -c 8 http://{web}/"),
    ] {
        command_line(&line)?;
    }
    Ok(())
}

/// Waits until everybody is gone: with figures from before, until all is as it was.
fn quiet(guest: &mut Guest, tap: &Tap, before: Option<&metrics::Metrics>) -> Result<metrics::Metrics, Failed> {
    let is_quiet = |now: &metrics::Metrics| {
        GAUGES.iter().all(|(gauge, more)| match before {
            Some(before) => now.sum(gauge) <= before.sum(gauge) + more,
            None => !gauge.contains("connections") || now.sum(gauge) <= *more,
        })
    };
    metrics::wait_until(guest, tap.at(9000), QUIET_LIMIT, is_quiet)
}
