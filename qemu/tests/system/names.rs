//! What goes over UDP: servers by name, and messages to a log server.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use weir_host::qmp::Order;

use crate::daemon::{Daemon, nginx};
use crate::dns::DnsServer;
use crate::guest::Guest;
use crate::lab::command_line;
use crate::proxy::{PORTS, balancer};
use crate::serve::boot_two;
use crate::tap::Tap;
use crate::{Failed, Tested, Tests, ensure, http, metrics};

pub const TESTS: Tests = &[
    ("names::servers_that_fail_are_said_to_syslog", servers_that_fail_are_said_to_syslog),
    ("names::a_server_follows_its_name_and_stays_when_dns_dies", a_server_follows_its_name_and_stays_when_dns_dies),
    ("names::an_answer_that_is_too_long_comes_over_tcp", an_answer_that_is_too_long_comes_over_tcp),
    ("names::an_unresolved_name_is_said_and_gets_no_request", an_unresolved_name_is_said_and_gets_no_request),
];

/// Time for what the guest does each second or so.
const LIMIT: Duration = Duration::from_secs(20);

/// A balancer over one server by name, which asks first where nobody answers.
fn named(tap: &Tap) -> String {
    let host = tap.host();
    let dns = format!("[dns]\nservers = [\"{host}:54\", \"{host}:53\"]\nttl_min = \"1s\"\n\n");
    dns + &balancer(tap, &PORTS[..1]).replace(&format!("\"{host}:"), "\"app.test:")
}

/// A balancer over one server by name, and the DNS server that it asks.
fn boot_named() -> Result<(Guest, Tap, DnsServer), Failed> {
    let mut dns = None;
    let (guest, tap) = boot_two(|tap| {
        dns = DnsServer::start(SocketAddrV4::new(tap.host(), 53)).ok();
        named(tap)
    })?;
    Ok((guest, tap, dns.ok_or("port 53 is taken")?))
}

/// Waits until both cores send requests to the server.
fn wait_until_up(guest: &mut Guest, tap: &Tap) -> Tested {
    let is_up = |now: &metrics::Metrics| now.per_core("weir_server_up", "server=\"p/s8001\"") == [1, 1];
    metrics::wait_until(guest, tap.at(9000), LIMIT, is_up).map(drop)
}

/// One more address of the host, with a server that says it.
fn server_at(tap: &Tap, host: u8) -> Result<(Ipv4Addr, Daemon), Failed> {
    let [a, b, c, _] = tap.host().octets();
    let address = Ipv4Addr::new(a, b, c, host);
    command_line(&format!("ip address add {address}/24 dev {}", tap.name()))?;
    let root = tempfile::tempdir()?;
    let location = format!("location / {{ return 200 \"{address}\\n\"; }}");
    Ok((address, nginx(SocketAddrV4::new(address, PORTS[0]), root.path(), &location)?))
}

/// Waits until both cores, most likely, know that the server is at `address`: thirty connections in a row end there. Meanwhile
/// every request has an answer of `others` too.
fn wait_for_answers(guest: &mut Guest, tap: &Tap, address: Ipv4Addr, others: &[Ipv4Addr]) -> Tested {
    let deadline = Instant::now() + LIMIT;
    let mut in_a_row = 0;
    while in_a_row < 30 {
        let answer = http::get(tap.at(80), "/").map_err(|error| guest.report(&error.to_string()))?;
        let said = answer.text().trim().to_owned();
        let is_known = others.iter().any(|other| said == other.to_string());
        in_a_row = if said == address.to_string() { in_a_row + 1 } else { 0 };
        let is_good = answer.status == 200 && (in_a_row > 0 || is_known);
        ensure(is_good && Instant::now() < deadline, || format!("{} {said:?}, wanted {address}", answer.head))
            .map_err(|error| guest.report(&error.to_string()))?;
    }
    Ok(())
}

/// Whether so many names are in a state.
fn names_are(state: &'static str, count: u64) -> impl Fn(&metrics::Metrics) -> bool {
    move |now| now.labelled("weir_names", &format!("state=\"{state}\"")) == count
}

/// A name leads to one server, then to another; then nobody tells any more, and the last one keeps its requests.
fn a_server_follows_its_name_and_stays_when_dns_dies() -> Tested {
    let (mut guest, tap, dns) = boot_named()?;
    let (first, _first_server) = server_at(&tap, 11)?;
    let (second, _second_server) = server_at(&tap, 12)?;
    dns.say(first);
    guest.wait_for(&["names: server p/s8001 is at", &first.to_string()], LIMIT)?;
    // The other core hears of it at once, as far as a client can see.
    wait_until_up(&mut guest, &tap)?;
    wait_for_answers(&mut guest, &tap, first, &[])?;
    dns.say(second);
    wait_for_answers(&mut guest, &tap, second, &[first])?;
    drop(dns);
    guest.wait_for(&["names: app.test", "no DNS server answers", "stays what it was"], LIMIT)?;
    let page = metrics::wait_until(&mut guest, tap.at(9000), LIMIT, names_are("kept", 1))?;
    for event in ["answered", "timeout"] {
        let count = page.labelled("weir_dns_total", &format!("event=\"{event}\""));
        ensure(count > 0, || format!("no question ended as {event}"))?;
    }
    wait_for_answers(&mut guest, &tap, second, &[])?;
    guest.still_runs()
}

/// The only DNS server answers in datagrams that there is more to say, and says it over TCP.
fn an_answer_that_is_too_long_comes_over_tcp() -> Tested {
    let (mut guest, tap, dns) = boot_named()?;
    dns.be_long()?;
    let (first, _first_server) = server_at(&tap, 11)?;
    let (second, _second_server) = server_at(&tap, 12)?;
    dns.say(first);
    wait_until_up(&mut guest, &tap)?;
    wait_for_answers(&mut guest, &tap, first, &[])?;
    dns.say(second);
    wait_for_answers(&mut guest, &tap, second, &[first])?;
    for event in ["truncated", "asked_tcp"] {
        let is_counted = |now: &metrics::Metrics| now.labelled("weir_dns_total", &format!("event=\"{event}\"")) > 1;
        metrics::wait_until(&mut guest, tap.at(9000), LIMIT, is_counted)?;
    }
    guest.still_runs()
}

/// A guest boots although a name leads nowhere, says so, and serves when it does.
fn an_unresolved_name_is_said_and_gets_no_request() -> Tested {
    let (mut guest, tap, dns) = boot_named()?;
    guest.wait_for(&["names: app.test, of 1 server, is not resolved: there is no such name"], LIMIT)?;
    let is_said = |now: &metrics::Metrics| now.labelled("weir_dns_total", "event=\"no_such_name\"") > 0;
    let page = metrics::wait_until(&mut guest, tap.at(9000), LIMIT, is_said)?;
    ensure(names_are("unresolved", 1)(&page), || format!("{page:#?}"))?;
    ensure(page.per_core("weir_server_up", "server=\"p/s8001\"") == [0, 0], || "the server is up".into())?;
    let answer = http::get(tap.at(80), "/")?;
    ensure(answer.status == 503, || answer.head)?;
    let (address, _server) = server_at(&tap, 11)?;
    dns.say(address);
    wait_until_up(&mut guest, &tap)?;
    wait_for_answers(&mut guest, &tap, address, &[])?;
    guest.still_runs()
}

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
    // What cannot be sent when it happens is sent when there is a way again.
    guest.vm.order(Order::Link { up: false });
    guest.wait_for(&["network: the link is down"], LIMIT)?;
    guest.vm.order(Order::Link { up: true });
    for (severity, text) in [("<132>1 ", "network: the link is down"), ("<134>1 ", "network: the link is up")] {
        let said = wait_for_datagram(&receiver, &[text]).map_err(|error| guest.report(&error.to_string()))?;
        ensure(said.starts_with(severity), || said)?;
    }
    guest.still_runs()
}
