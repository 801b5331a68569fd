//! The data plane in its shapes: queue pairs and cores in any number, and where each segment ends up.

use std::net::SocketAddrV4;
use std::path::Path;
use std::time::Duration;

use crate::daemon::{Daemon, nginx};
use crate::guest::{Guest, Spec};
use crate::lab::command_line;
use crate::metrics::{self, Metrics};
use crate::proxy::{PORTS, balancer};
use crate::tap::Tap;
use crate::{Failed, Tested, Tests, ensure};

pub const TESTS: Tests = &[
    ("plane::one_pair_for_two_cores", || shape(1, 2)),
    ("plane::one_pair_for_four_cores", || shape(1, 4)),
    ("plane::two_pairs_for_four_cores", || shape(2, 4)),
    ("plane::four_pairs_for_one_core", || shape(4, 1)),
    ("plane::four_pairs_for_two_cores", || shape(4, 2)),
];

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

    /// 400 connections of one request each and one second of connections that stay; no request may fail.
    fn load(&mut self) -> Tested {
        let web = self.tap.at(80);
        let once = command_line(&format!("ab -q -r -n 400 -c 40 -s 20 http://{web}/"))
            .map_err(|error| self.guest.report(&error.to_string()))?;
        let field = |name| once.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let clean = field("Complete requests:") == Some("400") && field("Failed requests:") == Some("0");
        ensure(clean && field("Non-2xx responses:").is_none(), || self.guest.report(&once).to_string())?;
        let stay = command_line(&format!("wrk -t1 -c40 -d1s --timeout 10s http://{web}/"))?;
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
    bench.load()?;
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
    let home = |now: &Metrics| {
        now.sum("weir_packet_buffers_in_use") <= before.sum("weir_packet_buffers_in_use") + 8
            && now.labelled("weir_relay_total", "given") == now.labelled("weir_relay_total", "sent")
    };
    metrics::wait_until(&mut bench.guest, bench.tap.at(9000), QUIET_LIMIT, home).map(drop)
}
