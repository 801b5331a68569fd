//! Crowds of clients that hold a connection and say nothing, or almost nothing: they cost memory, and nobody else anything.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};

use crate::daemon::{Daemon, start_python};
use crate::guest::{Guest, Spec};
use crate::lab::{command_line, long};
use crate::metrics::{self, Metrics};
use crate::tap::Tap;
use crate::{CannotTest, Failed, Tested, Tests, ensure, http};

pub const TESTS: Tests = &[
    ("crowd::idle_connections_cost_memory_only", idle),
    ("crowd::ten_thousand_half_heads_cost_nobody_an_answer", half_heads),
];

/// Clients of one program and one address of the host: below the number of an address's ports, and of the files that systems
/// let a program have open.
const PER_PROGRAM: usize = 10_000;

/// Time for everybody to be counted, or to have had their time.
const COUNT_LIMIT: Duration = Duration::from_secs(60);

/// Half of a head, and a whole one.
const HALF: &str = "GET / HTTP/1.1\r\nHost: ";
const WHOLE: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const CLIENTS: &str = "weir_client_connections";

/// Two cores that answer by themselves.
fn boot(memory_mib: u32, timeouts: &str) -> Result<(Guest, Tap), Failed> {
    if getrlimit(Resource::Nofile).maximum.is_some_and(|files| files < PER_PROGRAM as u64 + 100) {
        return Err(CannotTest("the system lets a program open too few files").into());
    }
    let tap = Tap::new(2)?;
    let config = format!(
        "{}[timeouts]\n{timeouts}\n\n[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\n\n\
         [[listener.route]]\nrespond = {{ body = \"hello\\n\" }}\n",
        tap.config()
    );
    let guest = Guest::boot(Spec { config, memory_mib, cores: 2, nic: tap.nic(), ..Spec::default() })?;
    Ok((guest, tap))
}

/// Many clients at one address: each says its words and, where an end of an answer is given, waits for that. All stay.
const PROGRAM: &str = "
import resource, socket, sys
source, host, count, words, end = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4].encode(), sys.argv[5].encode()
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
clients = []
for _ in range(count):
    client = socket.create_connection((host, 80), 60, (source, 0))
    client.sendall(words)
    clients.append(client)
for client in clients:
    answer = b''
    while not answer.endswith(end):
        more = client.recv(1024)
        if not more:
            sys.exit(print('cut off'))
        answer += more
print('held', flush=True)
sys.stdin.read()
";

/// Clients that have said `words` and got an answer that ends in `end`, for as long as this value lives.
fn gather(tap: &Tap, count: usize, words: &str, end: &str) -> Result<Vec<Daemon>, Failed> {
    let [a, b, c, _] = tap.host().octets();
    let mut programs = Vec::new();
    for (n, begin) in (0..count).step_by(PER_PROGRAM).enumerate() {
        let address = Ipv4Addr::new(a, b, c, 10 + n as u8).to_string();
        command_line(&format!("ip address add {address}/24 dev {}", tap.name()))?;
        let size = PER_PROGRAM.min(count - begin).to_string();
        programs.push(start_python(PROGRAM, &[&address, &tap.guest().to_string(), &size, words, end], COUNT_LIMIT)?);
    }
    Ok(programs)
}

/// Each client is answered once and stays; then one more is answered as fast as ever.
fn idle() -> Tested {
    // Five thousand always; with the long variant a hundred thousand.
    let (memory_mib, count) = if long() { (512, 100_000) } else { (256, 5_000) };
    let (mut guest, tap) = boot(memory_mib, "keep_alive = \"1h\"")?;
    let page = tap.at(9000);
    let before = Metrics::read(page)?;
    let start = Instant::now();
    let _crowd = gather(&tap, count, WHOLE, "hello\n").map_err(|error| guest.report(&error.to_string()))?;
    let took = start.elapsed();
    let all = |now: &Metrics| now.sum(CLIENTS) >= count as u64;
    let after = metrics::wait_until(&mut guest, page, COUNT_LIMIT, all)?;
    let asked = Instant::now();
    let answer = http::get(tap.at(80), "/").map_err(|error| guest.report(&error.to_string()))?;
    ensure(answer.text() == "hello\n", || answer.head)?;
    let heap = after.sum("weir_heap_used_bytes").saturating_sub(before.sum("weir_heap_used_bytes"));
    println!(
        "{count} idle connections in {memory_mib} MiB, opened in {:.1} s: {} bytes of heap each; one more is answered in {:.2} ms",
        took.as_secs_f64(),
        heap / count as u64,
        asked.elapsed().as_secs_f64() * 1e3,
    );
    guest.still_runs()
}

/// Ten thousand clients that begin a head and do not go on: others are answered all the while, until the time of each is over.
fn half_heads() -> Tested {
    const COUNT: usize = 10_000;
    let (mut guest, tap) = boot(256, "head = \"10s\"")?;
    let _crowd = gather(&tap, COUNT, HALF, "").map_err(|error| guest.report(&error.to_string()))?;
    let late = |now: &Metrics| now.labelled("weir_incidents_total", "reason=\"head_timeout\"");
    let (mut answered, deadline) = (0, Instant::now() + COUNT_LIMIT);
    while late(&Metrics::read(tap.at(9000))?) < COUNT as u64 {
        let answer = http::get(tap.at(80), "/");
        let answer = answer.map_err(|error| guest.report(&format!("request {answered}: {error}")))?;
        ensure(answer.text() == "hello\n", || answer.head)?;
        answered += 1;
        ensure(Instant::now() < deadline, || guest.report("half heads are waited for").to_string())?;
    }
    println!("{answered} requests were answered beside {COUNT} half heads");
    ensure(answered > 20, || format!("only {answered} requests were asked"))?;
    guest.still_runs()
}
