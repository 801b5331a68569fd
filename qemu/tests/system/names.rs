//! What goes over UDP: servers by name, and messages to a log server.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use crate::daemon::nginx;
use crate::proxy::{PORTS, balancer};
use crate::serve::boot_two;
use crate::{Failed, Tested, Tests, ensure, metrics};

pub const TESTS: Tests = &[("names::servers_that_fail_are_said_to_syslog", servers_that_fail_are_said_to_syslog)];

/// Time for what the guest does each second or so.
const LIMIT: Duration = Duration::from_secs(20);

/// The next datagram that has all of these texts in it.
fn wait_for_datagram(socket: &UdpSocket, texts: &[&str]) -> Result<String, Failed> {
    let deadline = Instant::now() + LIMIT;
    let mut bytes = [0; 2048];
    let mut seen = Vec::new();
    while let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        socket.set_read_timeout(Some(left))?;
        let Ok((len, _)) = socket.recv_from(&mut bytes) else { break };
        let message = String::from_utf8_lossy(&bytes[..len]).into_owned();
        if texts.iter().all(|text| message.contains(text)) {
            return Ok(message);
        }
        seen.push(message);
    }
    Err(format!("no datagram with {texts:?} among {seen:#?}").into())
}

/// A server comes up and goes down; both are said as RFC 5424 has it.
fn servers_that_fail_are_said_to_syslog() -> Tested {
    const CHECKS: &str = "[pool.health]\ninterval = \"200ms\"\nrise = 1\nfall = 1\n";
    let mut receiver = None;
    let (mut guest, tap) = boot_two(|tap| {
        receiver = UdpSocket::bind((tap.host(), 514)).ok();
        format!("[log]\nsyslog = \"{}:514\"\n\n", tap.host()) + &balancer(tap, &PORTS[..1]) + CHECKS
    })?;
    let receiver = receiver.ok_or("port 514 is taken")?;
    let root = tempfile::tempdir()?;
    let server = nginx((tap.host(), PORTS[0]), root.path(), "location / { return 204; }")?;
    let address = format!("p/s{} at {}:{}", PORTS[0], tap.host(), PORTS[0]);
    let up = wait_for_datagram(&receiver, &[&address, "is up"]).map_err(|error| guest.report(&error.to_string()))?;
    let fields: Vec<&str> = up.splitn(8, ' ').collect();
    let host = tap.guest().to_string();
    let is_rfc5424 = matches!(fields[..], ["<134>1", date, from, "weir", "0", "-", "-", text]
        if from == host && date.starts_with("20") && date.ends_with('Z') && text.starts_with("health: server p/"));
    ensure(is_rfc5424, || up.clone())?;
    drop(server);
    let down = wait_for_datagram(&receiver, &[&address, "is down"]);
    let down = down.map_err(|error| guest.report(&error.to_string()))?;
    ensure(down.starts_with("<132>1 "), || down)?;
    let sent = |now: &metrics::Metrics| now.sum("weir_log_sent_total") >= 2;
    metrics::wait_until(&mut guest, tap.at(9000), LIMIT, sent)?;
    guest.still_runs()
}
