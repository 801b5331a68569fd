//! The balancer in front of two nginx on the host.

use std::fs;
use std::io::Write;
use std::net::SocketAddrV4;
use std::path::Path;
use std::thread;

use sha2::{Digest, Sha256};

use crate::daemon::{Daemon, nginx};
use crate::guest::Guest;
use crate::lab::long;
use crate::serve::{ab, boot_two, survives, wrk};
use crate::tap::Tap;
use crate::{Failed, Tested, Tests, ensure, http};

pub const TESTS: Tests = &[
    ("proxy::requests_go_half_and_half", requests_go_half_and_half),
    ("proxy::keep_alive_load_leaves_nothing_behind", || loaded(wrk)),
    ("proxy::connection_load_leaves_nothing_behind", || loaded(ab)),
    ("proxy::large_file_comes_whole", large_file_comes_whole),
    ("proxy::two_hundred_files_at_once", two_hundred_files_at_once),
    ("proxy::no_server_is_502", no_server_is_502),
    ("proxy::a_server_that_is_down_is_passed_over", a_server_that_is_down_is_passed_over),
];

/// Ports of the two servers on the host.
pub const PORTS: [u16; 2] = [8001, 8002];

/// Requests sent to servers.
const SERVER_REQUESTS: &str = "weir_server_requests_total";

/// A balancer over the ports of the host.
pub fn balancer(tap: &Tap, ports: &[u16]) -> String {
    let mut config = "[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\n\n[[listener.route]]\npool = \"p\"\n\n\
                      [[pool]]\nname = \"p\"\nbalance = \"round-robin\"\n"
        .to_owned();
    for port in ports {
        config += &format!("\n[[pool.server]]\nname = \"s{port}\"\naddress = \"{}:{port}\"\n", tap.host());
    }
    config
}

/// A guest in front of two servers with the same files; `/` tells which one it was.
fn boot_with_two_servers(root: &Path) -> Result<(Guest, Tap, [Daemon; 2]), Failed> {
    let (guest, tap) = boot_two(|tap| balancer(tap, &PORTS))?;
    let start = |port: u16| {
        let location = format!("location = / {{ return 200 \"{port}\\n\"; }} location / {{ root ROOT; }}");
        nginx(SocketAddrV4::new(tap.host(), port), root, &location)
    };
    let servers = [start(PORTS[0])?, start(PORTS[1])?];
    Ok((guest, tap, servers))
}

fn requests_go_half_and_half() -> Tested {
    let root = tempfile::tempdir()?;
    let (mut guest, tap, _servers) = boot_with_two_servers(root.path())?;
    let mut counts = [0; 2];
    for _ in 0..100 {
        let answer = http::get(tap.at(80), "/").map_err(|error| guest.report(&error.to_string()))?.text();
        let server = PORTS.iter().position(|port| answer.contains(&port.to_string()));
        counts[server.ok_or_else(|| format!("nobody said {answer:?}"))?] += 1;
    }
    // In turn on each core, beginning anywhere: at most one more on each of the two cores.
    ensure(counts.iter().all(|count| (48..=52).contains(count)), || format!("requests per server: {counts:?}"))
}

fn loaded(load: fn(SocketAddrV4) -> Tested) -> Tested {
    let root = tempfile::tempdir()?;
    let (mut guest, tap, _servers) = boot_with_two_servers(root.path())?;
    let [before, after] = survives(&mut guest, &tap, load)?;
    let [left, right] = PORTS.map(|port| {
        let label = format!("server=\"p/s{port}\"");
        after.labelled(SERVER_REQUESTS, &label) - before.labelled(SERVER_REQUESTS, &label)
    });
    // Each core goes in turn: they differ by one for each core, and by what was retried.
    ensure(left.abs_diff(right) <= 10 && left > 100, || format!("requests per server: {left} and {right}"))
}

/// Bytes that are the same for the same seed and hard to get right by accident.
pub fn noise(seed: u64, len: usize) -> impl Iterator<Item = [u8; 8]> {
    let mut state = seed | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .take(len / 8)
}

/// Writes noise into a file and returns its SHA-256.
pub fn write_noise(path: &Path, seed: u64, len: usize) -> Result<String, Failed> {
    let mut file = std::io::BufWriter::with_capacity(1 << 20, fs::File::create(path)?);
    let mut hash = Sha256::new();
    let mut block = Vec::with_capacity(64 << 10);
    for word in noise(seed, len) {
        block.extend(word);
        if block.len() == block.capacity() {
            hash.update(&block);
            file.write_all(&block)?;
            block.clear();
        }
    }
    hash.update(&block);
    file.write_all(&block)?;
    file.flush()?;
    Ok(http::hex(&hash.finalize()))
}

fn large_file_comes_whole() -> Tested {
    let len = if long() { 1 << 30 } else { 64 << 20 };
    let root = tempfile::tempdir()?;
    let expected = write_noise(&root.path().join("large.bin"), 1, len)?;
    let (mut guest, tap, _servers) = boot_with_two_servers(root.path())?;
    let (got_len, got) = http::digest(tap.at(80), "/large.bin").map_err(|error| guest.report(&error.to_string()))?;
    ensure(got_len == len as u64 && got == expected, || format!("{got_len} of {len} bytes, SHA-256 {got}"))
}

fn two_hundred_files_at_once() -> Tested {
    const FILES: u64 = 200;
    let root = tempfile::tempdir()?;
    let sums = (0..FILES)
        .map(|file| write_noise(&root.path().join(format!("{file}.bin")), file + 100, 1 << 20))
        .collect::<Result<Vec<_>, _>>()?;
    let (mut guest, tap, _servers) = boot_with_two_servers(root.path())?;
    let web = tap.at(80);
    let fetch = |file: u64| thread::spawn(move || http::digest(web, &format!("/{file}.bin")));
    let fetches: Vec<_> = (0..FILES).map(fetch).collect();
    for (file, (fetch, expected)) in fetches.into_iter().zip(sums).enumerate() {
        let (len, sum) = fetch
            .join()
            .map_err(|_| "a client panicked")?
            .map_err(|error| guest.report(&format!("file {file}: {error}")))?;
        ensure(sum == expected, || format!("file {file}: {len} bytes, SHA-256 {sum}"))?;
    }
    Ok(())
}

fn no_server_is_502() -> Tested {
    let (mut guest, tap) = boot_two(|tap| balancer(tap, &[8003]))?;
    let answer = http::get(tap.at(80), "/").map_err(|error| guest.report(&error.to_string()))?;
    ensure(answer.status == 502, || answer.head)?;
    guest.still_runs()
}

fn a_server_that_is_down_is_passed_over() -> Tested {
    let root = tempfile::tempdir()?;
    let (mut guest, tap, [first, _second]) = boot_with_two_servers(root.path())?;
    drop(first);
    for _ in 0..10 {
        let answer = http::get(tap.at(80), "/").map_err(|error| guest.report(&error.to_string()))?;
        ensure(answer.status == 200 && answer.text().contains("8002"), || answer.head.clone())?;
    }
    Ok(())
}
