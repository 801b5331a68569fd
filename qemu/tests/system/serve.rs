//! The built-in server under load, on a TAP with as many queue pairs as cores.

use std::fs;
use std::net::SocketAddrV4;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::guest::{Guest, Spec};
use crate::lab::{command_line, long};
use crate::metrics::{self, Metrics};
use crate::tap::Tap;
use crate::{Failed, Tested, Tests, ensure, http};

pub const TESTS: Tests = &[
    ("serve::keep_alive_load_leaves_nothing_behind", keep_alive_load_leaves_nothing_behind),
    ("serve::connection_load_leaves_nothing_behind", connection_load_leaves_nothing_behind),
    ("serve::files_of_the_archive", files_of_the_archive),
    ("serve::first_requests_of_many_clients", first_requests_of_many_clients),
];

/// What must be as it was before once all clients are gone, and how much more it may be: the connection that asks for the
/// figures may be among them, with its buffers, or not yet. A leak of one in a thousand requests is more than that.
const GAUGES: [(&str, u64); 2] = [("weir_flows", 1), ("weir_packet_buffers_in_use", 8)];

/// Time for the gauges to come back: longer than idle connections to servers are kept.
const QUIET_LIMIT: Duration = Duration::from_secs(30);

fn hello() -> String {
    "[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\n\n[[listener.route]]\nrespond = { body = \"hello\\n\" }\n"
        .into()
}

/// A guest with two cores and two queues, and the wire to it.
pub fn boot_two(config: impl FnOnce(&Tap) -> String) -> Result<(Guest, Tap), Failed> {
    let tap = Tap::new(2)?;
    let config = tap.config() + &config(&tap);
    let guest = Guest::boot(Spec { config, cores: 2, nic: tap.nic(), ..Spec::default() })?;
    Ok((guest, tap))
}

/// Runs a load and checks what the promise says: no error, both cores served, and all gauges come back. Returns the metrics
/// before and after the load.
pub fn survives(guest: &mut Guest, tap: &Tap, load: fn(SocketAddrV4) -> Tested) -> Result<[Metrics; 2], Failed> {
    let page = tap.at(9000);
    let before = Metrics::read(page)?;
    load(tap.at(80)).map_err(|error| guest.report(&error.to_string()))?;
    guest.still_runs()?;
    let served = Metrics::read(page)?;
    let [old, new] = [&before, &served].map(|metrics| metrics.per_core("weir_requests_total", "listener=\"web\""));
    let cores: Vec<u64> = new.iter().zip(&old).map(|(new, old)| new - old).collect();
    ensure(cores.len() == 2 && cores.iter().all(|count| *count > 10), || format!("requests per core: {cores:?}"))?;
    // Sums: the connection that asks is on either core.
    let same = |now: &Metrics| GAUGES.iter().all(|(gauge, more)| now.sum(gauge) <= before.sum(gauge) + more);
    metrics::wait_until(guest, page, QUIET_LIMIT, same)?;
    Ok([before, served])
}

/// 64 connections that stay, for a few seconds.
pub fn wrk(web: SocketAddrV4) -> Tested {
    let seconds = if long() { 10 } else { 3 };
    let said = command_line(&format!("wrk -t1 -c64 -d{seconds}s --timeout 10s http://{web}/"))?;
    let clean = !said.contains("Socket errors") && !said.contains("Non-2xx");
    let some = said.lines().any(|line| line.contains("requests in") && !line.trim().starts_with("0 "));
    println!("{}", said.lines().find(|line| line.starts_with("Requests/sec")).unwrap_or_default());
    ensure(clean && some, || said)
}

/// 20000 connections of one request each, 64 at a time.
pub fn ab(web: SocketAddrV4) -> Tested {
    let said = command_line(&format!("ab -q -r -n 20000 -c 64 -s 20 http://{web}/"))?;
    let field = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_owned());
    println!("{}", said.lines().find(|line| line.starts_with("Requests per second")).unwrap_or_default());
    let complete = field("Complete requests:").as_deref() == Some("20000");
    let failed = field("Failed requests:").as_deref() != Some("0") || field("Non-2xx responses:").is_some();
    ensure(complete && !failed, || said)
}

fn keep_alive_load_leaves_nothing_behind() -> Tested {
    let (mut guest, tap) = boot_two(|_| hello())?;
    survives(&mut guest, &tap, wrk).map(drop)
}

fn connection_load_leaves_nothing_behind() -> Tested {
    let (mut guest, tap) = boot_two(|_| hello())?;
    survives(&mut guest, &tap, ab).map(drop)
}

fn files_of_the_archive() -> Tested {
    let root = tempfile::tempdir()?;
    fs::create_dir(root.path().join("site"))?;
    fs::write(root.path().join("site/index.html"), "<p>index</p>")?;
    let large: Vec<u8> = (0..3_000_000_u32).flat_map(|n| n.to_le_bytes()).take(3 << 20).collect();
    fs::write(root.path().join("site/large.bin"), &large)?;
    let tap = Tap::new(1)?;
    let config =
        tap.config() + "[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\n\n[[listener.route]]\nfiles = \"site\"\n";
    let files = Some(root.path().to_owned());
    let mut guest = Guest::boot(Spec { config, files, nic: tap.nic(), ..Spec::default() })?;
    let index = http::get(tap.at(80), "/")?;
    ensure(index.status == 200 && index.text() == "<p>index</p>", || format!("{}\n{}", index.head, index.text()))?;
    let (len, sum) = http::digest(tap.at(80), "/large.bin").map_err(|error| guest.report(&error.to_string()))?;
    ensure(len == 3 << 20 && sum == http::hex(&Sha256::digest(&large)), || format!("{len} bytes, SHA-256 {sum}"))?;
    let missing = http::get(tap.at(80), "/missing")?;
    ensure(missing.status == 404, || missing.head)
}

/// A hundred connections, all open before the first of them asks.
fn first_requests_of_many_clients() -> Tested {
    let (mut guest, tap) = boot_two(|_| hello())?;
    let open = (0..100).map(|_| http::connect(tap.at(80), b"")).collect::<Result<Vec<_>, _>>()?;
    let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    for mut stream in open {
        std::io::Write::write_all(&mut stream, request)?;
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer)?;
        ensure(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello\n"), || answer)?;
    }
    guest.still_runs()
}
