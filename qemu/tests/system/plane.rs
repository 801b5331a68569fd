//! The data plane in its shapes: queue pairs and cores in any number, and where each segment ends up.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::daemon::{Daemon, hold_queues, nginx};
use crate::guest::{Guest, Spec};
use crate::lab::{command_line, long};
use crate::metrics::{self, Metrics};
use crate::proxy::{PORTS, balancer, write_noise};
use crate::serve::boot_two;
use crate::tap::Tap;
use crate::{Failed, Tested, Tests, ensure, http};

pub const TESTS: Tests = &[
    ("plane::one_pair_for_two_cores", || shape(1, 2)),
    ("plane::one_pair_for_four_cores", || shape(1, 4)),
    ("plane::two_pairs_for_four_cores", || shape(2, 4)),
    ("plane::four_pairs_for_one_core", || shape(4, 1)),
    ("plane::four_pairs_for_two_cores", || shape(4, 2)),
    ("plane::two_pairs_for_eight_cores", || shape(2, 8)),
    ("plane::eight_pairs_for_eight_cores", || shape(8, 8)),
    ("plane::flows_that_change_their_queue_live_on", flows_that_change_their_queue_live_on),
    ("plane::with_rss_nothing_arrives_elsewhere", with_rss_nothing_arrives_elsewhere),
    ("plane::each_feature_may_be_off", each_feature_may_be_off),
    ("plane::many_features_may_be_off", many_features_may_be_off),
    ("plane::interrupts_may_be_too_few", interrupts_may_be_too_few),
    ("plane::the_device_names_its_mtu", the_device_names_its_mtu),
    ("plane::an_idle_machine_halts", || idle("adaptive").and_then(|idle| idle.halts())),
    ("plane::the_halt_policy_does_not_poll", || idle("halt").and_then(|idle| idle.halts_at_once())),
    ("plane::the_poll_policy_never_halts", || idle("poll").and_then(|idle| idle.polls())),
];

const HELLO: &str =
    "[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\n\n[[listener.route]]\nrespond = { body = \"hello\\n\" }\n";

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// Time for a file of a MiB: a hundred times what it takes, and less than what it takes by retransmissions.
const FILE_LIMIT: Duration = Duration::from_secs(5);

/// Time for what was in flight to come home.
const QUIET_LIMIT: Duration = Duration::from_secs(20);

/// A guest that is a proxy, the wire to it, and the servers behind it.
struct Bench {
    guest: Guest,
    tap: Tap,
    _servers: [Daemon; 2],
}

impl Bench {
    fn new(root: &Path, queues: u32, spec: Spec) -> Result<Self, Failed> {
        let tap = Tap::new(queues)?;
        let start = |port: u16| {
            nginx(
                SocketAddrV4::new(tap.host(), port),
                root,
                "location = / { return 200 \"ok\\n\"; } location / { root ROOT; }",
            )
        };
        let servers = [start(PORTS[0])?, start(PORTS[1])?];
        let config = tap.config() + &spec.config + &balancer(&tap, &PORTS);
        let guest = Guest::boot(Spec { config, nic: tap.nic(), ..spec })?;
        Ok(Self { guest, tap, _servers: servers })
    }

    fn metrics(&mut self) -> Result<Metrics, Failed> {
        Metrics::read(self.tap.at(9000)).map_err(|error| self.guest.report(&error.to_string()))
    }

    /// 400 connections of one request each and some seconds of connections that stay; no request may fail.
    fn load(&mut self, seconds: u32) -> Tested {
        let web = self.tap.at(80);
        let once = command_line(&format!("ab -q -r -n 400 -c 40 -s 20 http://{web}/"))
            .map_err(|error| self.guest.report(&error.to_string()))?;
        let field = |name| once.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let clean = field("Complete requests:") == Some("400") && field("Failed requests:") == Some("0");
        ensure(clean && field("Non-2xx responses:").is_none(), || self.guest.report(&once).to_string())?;
        let stay = command_line(&format!("wrk -t1 -c40 -d{seconds}s --timeout 10s http://{web}/"))?;
        ensure(!stay.contains("Socket errors") && !stay.contains("Non-2xx"), || self.guest.report(&stay).to_string())?;
        self.guest.still_runs()
    }
}

/// The balancer with `queues` queue pairs and `cores` cores: no request fails, every core has its part, nothing is dropped
/// between the cores, and all buffers come home.
fn shape(queues: u32, cores: u32) -> Tested {
    let root = tempfile::tempdir()?;
    let mut bench = Bench::new(root.path(), queues, Spec { config: String::new(), cores, ..Spec::default() })?;
    let before = bench.metrics()?;
    bench.load(if long() { 30 } else { 1 })?;
    let after = bench.metrics()?;
    let served = after.per_core("weir_requests_total", "listener=\"web\"");
    ensure(served.len() == cores as usize && served.iter().all(|count| *count > 20), || {
        format!("requests per core: {served:?}")
    })?;
    let given = after.per_core("weir_relay_total", "event=\"given\"");
    let surplus = cores.saturating_sub(queues);
    ensure(given.iter().filter(|count| **count > 0).count() == surplus as usize, || {
        format!("frames given by {surplus} cores without a pair: {given:?}")
    })?;
    for (metric, label) in
        [("weir_relay_total", "drop"), ("weir_drops_total", "ring_full"), ("weir_drops_total", "no_buffer")]
    {
        let drops = after.labelled(metric, label);
        ensure(drops == 0, || format!("{drops} drops: {metric} {label}"))?;
    }
    // A core keeps the last frame that it sent until it sends another.
    let more = u64::from(2 * cores).max(8);
    let home = |now: &Metrics| {
        now.sum("weir_packet_buffers_in_use") <= before.sum("weir_packet_buffers_in_use") + more
            && now.labelled("weir_relay_total", "given") == now.labelled("weir_relay_total", "sent")
    };
    metrics::wait_until(&mut bench.guest, bench.tap.at(9000), QUIET_LIMIT, home).map(drop)
}

/// Where the device spreads by our key, source ports are chosen so that every answer of a server arrives at the core that
/// asked; the loads open hundreds of connections to servers.
fn with_rss_nothing_arrives_elsewhere() -> Tested {
    let root = tempfile::tempdir()?;
    let spec = Spec { config: String::new(), cores: 4, nic_properties: vec!["rss=on".into()], ..Spec::default() };
    let mut bench = Bench::new(root.path(), 4, spec)?;
    ensure(bench.guest.ready.contains("RSS"), || bench.guest.ready.clone())?;
    bench.load(30)?;
    let metrics = bench.metrics()?;
    let served = metrics.per_core("weir_requests_total", "listener=\"web\"");
    ensure(served.iter().all(|count| *count > 20), || format!("requests per core: {served:?}"))?;
    for event in ["frames_forwarded", "mispredicted", "source_port_elsewhere", "strays_asked"] {
        let count = metrics.labelled("weir_stack_total", &format!("event=\"{event}\""));
        ensure(count == 0, || format!("{event}: {count}"))?;
    }
    Ok(())
}

/// A guest with two cores and two pairs behind a device with these properties: small requests and a large file pass.
fn with_properties(properties: &[&str]) -> Result<Bench, Failed> {
    let root = tempfile::tempdir()?;
    let expected = write_noise(&root.path().join("file.bin"), 7, 1 << 20)?;
    let nic_properties = properties.iter().map(|&property| property.to_owned()).collect();
    let spec = Spec { config: String::new(), cores: 2, nic_properties, ..Spec::default() };
    let mut bench = Bench::new(root.path(), 2, spec).map_err(|error| format!("{properties:?}: {error}"))?;
    // The host's side of the wire is as wide as the device says.
    if let Some(mtu) = properties.iter().find_map(|property| property.strip_prefix("host_mtu=")) {
        command_line(&format!("ip link set {} mtu {mtu}", bench.tap.name()))?;
    }
    let pass = || -> Tested {
        let web = bench.tap.at(80);
        // From both cores, most likely.
        for _ in 0..8 {
            let start = Instant::now();
            let (len, sum) = http::digest(web, "/file.bin")?;
            ensure(sum == expected, || format!("{len} bytes, SHA-256 {sum}"))?;
            ensure(start.elapsed() < FILE_LIMIT, || format!("{:?} for a file", start.elapsed()))?;
        }
        let said = command_line(&format!("ab -q -r -n 100 -c 10 -s 20 http://{web}/"))?;
        ensure(said.lines().any(|line| line.starts_with("Failed requests:") && line.ends_with(" 0")), || said)
    };
    pass().map_err(|error| bench.guest.report(&format!("{properties:?}: {error}")))?;
    bench.guest.still_runs()?;
    Ok(bench)
}

/// The features as the guest names them, and as QEMU does.
const FEATURES: [(&str, &str); 13] = [
    ("CSUM", "csum"),
    ("GUEST_CSUM", "guest_csum"),
    ("GUEST_TSO4", "guest_tso4"),
    ("GUEST_TSO6", "guest_tso6"),
    ("HOST_TSO4", "host_tso4"),
    ("HOST_TSO6", "host_tso6"),
    ("MRG_RXBUF", "mrg_rxbuf"),
    ("STATUS", "status"),
    ("CTRL_VQ", "ctrl_vq"),
    ("GUEST_ANNOUNCE", "guest_announce"),
    ("MQ", "mq"),
    ("INDIRECT_DESC", "indirect_desc"),
    ("EVENT_IDX", "event_idx"),
];

/// Whether the guest says that it uses a feature.
fn uses(bench: &Bench, feature: &str) -> bool {
    let features =
        bench.guest.ready.split_once("features ").map(|(_, rest)| rest.split_once('"').unwrap_or((rest, "")).0);
    features.is_some_and(|features| features.split(',').any(|name| name == feature))
}

fn each_feature_may_be_off() -> Tested {
    let all = with_properties(&[])?;
    for (feature, property) in FEATURES {
        ensure(uses(&all, feature), || format!("{feature} is not used: {}", all.guest.ready))?;
        let bench = with_properties(&[&format!("{property}=off")])?;
        ensure(!uses(&bench, feature), || format!("{feature} is used: {}", bench.guest.ready))?;
    }
    Ok(())
}

fn many_features_may_be_off() -> Tested {
    let off: Vec<String> = FEATURES.iter().map(|(_, property)| format!("{property}=off")).collect();
    let off: Vec<&str> = off.iter().map(String::as_str).collect();
    let sets: [&[&str]; 4] = [
        &["csum=off", "guest_csum=off", "event_idx=off"],
        &["mrg_rxbuf=off", "mq=off", "indirect_desc=off"],
        &["rss=on", "mrg_rxbuf=off", "event_idx=off"],
        &off,
    ];
    sets.iter().try_for_each(|set| with_properties(set).map(drop))
}

/// Four vectors are needed, and two used by the pairs.
fn interrupts_may_be_too_few() -> Tested {
    for (vectors, told) in
        [(0, "no interrupts"), (1, "1 interrupts (shared)"), (2, "2 interrupts"), (3, "2 interrupts")]
    {
        let bench = with_properties(&[&format!("vectors={vectors}")])?;
        ensure(bench.guest.ready.contains(told), || format!("{vectors} vectors: {}", bench.guest.ready))?;
    }
    Ok(())
}

/// Less than Ethernet's, and more than a buffer holds. Without merged buffers the larger one is not promised.
fn the_device_names_its_mtu() -> Tested {
    for (properties, mtu) in [
        (&["host_mtu=1400"][..], 1400),
        (&["host_mtu=9000"], 9000),
        (&["host_mtu=9000", "guest_tso4=off", "host_tso4=off", "csum=off"], 9000),
        (&["host_mtu=9000", "mrg_rxbuf=off"], 1500),
    ] {
        let bench = with_properties(properties)?;
        ensure(bench.guest.ready.contains(&format!("mtu {mtu},")), || {
            format!("{properties:?}: {}", bench.guest.ready)
        })?;
    }
    Ok(())
}

/// The host spreads its flows over more queues while connections are open: those that arrive elsewhere find their core, and
/// those that arrive nowhere for a while are sent again.
fn flows_that_change_their_queue_live_on() -> Tested {
    const CLIENTS: usize = 64;
    let (mut guest, tap) = boot_two(|_| HELLO.into())?;
    let mut streams = (0..CLIENTS).map(|_| http::connect(tap.at(80), REQUEST)).collect::<Result<Vec<_>, _>>()?;
    for stream in &mut streams {
        read_hello(stream).map_err(|error| guest.report(&error.to_string()))?;
    }
    // So long a tap remembers the queue of a silent flow, and some time until it sweeps.
    let silence = Instant::now() + Duration::from_secs(5);
    while Instant::now() < silence {
        guest.vm.next_event(Some(silence));
    }
    let others = hold_queues(tap.name())?;
    for stream in &mut streams {
        stream.write_all(REQUEST)?;
    }
    drop(others);
    for (client, stream) in streams.iter_mut().enumerate() {
        read_hello(stream).map_err(|error| guest.report(&format!("client {client}: {error}")))?;
    }
    let all_are_found = |now: &Metrics| {
        let [asked, found, lost] = ["strays_asked", "strays_found", "strays_lost"]
            .map(|event| now.labelled("weir_stack_total", &format!("event=\"{event}\"")));
        found > 0 && asked == found && lost == 0
    };
    metrics::wait_until(&mut guest, tap.at(9000), QUIET_LIMIT, all_are_found).map(drop)
}

/// Reads the answer of a connection that stays.
fn read_hello(stream: &mut TcpStream) -> Tested {
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while !answer.ends_with(b"hello\n") {
        let count = stream.read(&mut buffer)?;
        ensure(count > 0, || format!("closed after {:?}", String::from_utf8_lossy(&answer)))?;
        answer.extend_from_slice(&buffer[..count]);
    }
    ensure(answer.starts_with(b"HTTP/1.1 200 "), || String::from_utf8_lossy(&answer).into_owned())
}

/// How long idle machines are watched.
const WATCH: Duration = Duration::from_secs(2);

/// What a machine with two cores does while there is nothing to do.
#[derive(Debug)]
struct Idle {
    /// Halts and turns without work while it was watched, of all cores.
    halts: u64,
    idle_turns: u64,
    /// Turns without work since the boot for each halt.
    turns_per_halt: u64,
    /// Part of a host processor that QEMU used.
    load: f64,
    /// The same with what its threads waited for one: what it would have used on a host of its own.
    demand: f64,
}

fn idle(policy: &str) -> Result<Idle, Failed> {
    let (mut guest, tap) = boot_two(|_| format!("[tuning]\nidle = \"{policy}\"\n\n{HELLO}"))?;
    let page = tap.at(9000);
    let before = Metrics::read(page)?;
    let (start, [used, waited]) = (Instant::now(), processor_time(guest.vm.id())?);
    while start.elapsed() < WATCH {
        guest.vm.next_event(Some(start + WATCH));
    }
    let [used_now, waited_now] = processor_time(guest.vm.id())?;
    let part = |time: Duration| time.as_secs_f64() / start.elapsed().as_secs_f64();
    let load = part(used_now.saturating_sub(used));
    let demand = load + part(waited_now.saturating_sub(waited));
    let after = Metrics::read(page)?;
    let [halts, idle_turns] = [("weir_halts_total", ""), ("weir_turns_total", "kind=\"idle\"")]
        .map(|(name, label)| after.labelled(name, label) - before.labelled(name, label));
    let turns = after.labelled("weir_turns_total", "kind=\"idle\"");
    let idle = Idle { halts, idle_turns, turns_per_halt: turns / after.sum("weir_halts_total").max(1), load, demand };
    println!("{policy}: {idle:?}");
    Ok(idle)
}

impl Idle {
    /// Halted nearly all of the time: on an otherwise idle host 0.3 % is measured, and other work makes it dearer.
    fn halts(&self) -> Tested {
        let woken = self.halts > 2 && self.halts < 2000;
        ensure(woken && self.load < 0.05, || format!("{self:?}"))
    }

    /// As [`halts`](Self::halts), with hardly a turn between the last work and the halt.
    fn halts_at_once(&self) -> Tested {
        self.halts()?;
        ensure(self.turns_per_halt <= 3, || format!("{self:?}"))
    }

    /// However little of a busy host it gets.
    fn polls(&self) -> Tested {
        ensure(self.halts == 0 && self.idle_turns > 100 && self.demand > 0.8, || format!("{self:?}"))
    }
}

/// What all threads of a process have used of the host's processors, and how long they have waited for one
/// (`/proc/PID/schedstat`, in the kernel's `sched-stats.rst`).
fn processor_time(process: u32) -> Result<[Duration; 2], Failed> {
    let mut total = [Duration::ZERO; 2];
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        for (sum, word) in total.iter_mut().zip(text.split(' ')) {
            *sum += Duration::from_nanos(word.parse().unwrap_or(0));
        }
    }
    Ok(total)
}
