//! Faults of the network around a guest: links, leases, routers and addresses that go, come back, move or are another's.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use weir_host::qmp::Order;

use crate::daemon::nginx;
use crate::dhcp::{DhcpServer, Stance};
use crate::guest::{Guest, Spec};
use crate::lab::command_line;
use crate::metrics::{self, Metrics};
use crate::tap::Tap;
use crate::wiretap::{Wiretap, announces, router_advertisement, solicits_routers};
use crate::{CannotTest, Tested, Tests, ensure, http};

pub const TESTS: Tests = &[
    ("faults::a_link_that_comes_back_is_announced_and_connections_go_on", a_link_that_comes_back),
    ("faults::a_lease_that_is_refused_or_not_renewed_ends_and_another_one_is_taken", leases_end),
    ("faults::a_leased_address_that_another_machine_has_is_declined", a_lease_of_anothers_address),
    ("faults::a_router_that_moves_without_a_word_is_found_again", a_router_that_moves),
    ("faults::ipv6_from_a_router_is_enough_and_dhcp_may_come_late", ipv6_from_a_router_is_enough),
    ("faults::two_machines_with_one_address_both_say_so", two_machines_with_one_address),
];

/// Time for what the guest does each few seconds, and for what servers find out about it.
const LIMIT: Duration = Duration::from_secs(30);

const HELLO: &str = "[[listener]]\nname = \"web\"\nbind = [\"0.0.0.0:80\", \"[::]:80\"]\n\
                     [[listener.route]]\nrespond = { body = \"hello\\n\" }\n";

/// Port of the server on the host.
const PORT: u16 = 8001;

fn says_hello(guest: &mut Guest, at: impl Into<SocketAddr>) -> Tested {
    let answer = http::get(at, "/").map_err(|error| guest.report(&error.to_string()))?;
    ensure(answer.status == 200 && answer.text() == "hello\n", || answer.head)
}

/// A request that is half sent when the link goes down, and wholly before it is up; and a server that is checked meanwhile.
fn a_link_that_comes_back() -> Tested {
    let root = tempfile::tempdir()?;
    let tap = Tap::new(2)?;
    let _server = nginx(tap.host_at(false, PORT), root.path(), "location / { return 200 ok; }")?;
    let pool = format!(
        "[[listener]]\nname = \"proxy\"\nbind = \"0.0.0.0:81\"\n[[listener.route]]\npool = \"p\"\n\
         [[pool]]\nname = \"p\"\nhealth = {{ interval = \"500ms\", timeout = \"1s\" }}\n\
         [[pool.server]]\nname = \"s\"\naddress = \"{}:{PORT}\"\n",
        tap.host()
    );
    let config = tap.config() + HELLO + &pool;
    let mut guest = Guest::boot(Spec { config, cores: 2, nic: tap.nic(), ..Spec::default() })?;
    let is_up = |now: &Metrics| now.per_core("weir_server_up", "server=\"p/s\"") == [1, 1];
    metrics::wait_until(&mut guest, tap.at(9000), LIMIT, is_up)?;
    let mut client = TcpStream::connect(tap.at(80))?;
    client.set_read_timeout(Some(LIMIT))?;
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n")?;
    guest.vm.order(Order::Link { up: false });
    guest.wait_for(&["network: the link is down"], LIMIT)?;
    client.write_all(b"Connection: close\r\n\r\n")?;
    guest.wait_for(&["health: server p/s", "is down"], LIMIT)?;
    let mut wire = Wiretap::new(&tap)?;
    guest.vm.order(Order::Link { up: true });
    guest.wait_for(&["network: the link is up"], LIMIT)?;
    wire.wait_for("announcement", announces(tap.guest()), LIMIT)?;
    let mut answer = String::new();
    client.read_to_string(&mut answer).map_err(|error| guest.report(&error.to_string()))?;
    ensure(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello\n"), || answer.clone())?;
    guest.wait_for(&["health: server p/s", "is up"], LIMIT)?;
    let answer = http::get(tap.at(81), "/")?;
    ensure(answer.status == 200, || answer.head)?;
    let mut wire = Wiretap::new(&tap)?;
    guest.vm.order(Order::Announce);
    wire.wait_for("announcement", announces(tap.guest()), LIMIT)?;
    guest.still_runs()
}

fn leases_end() -> Tested {
    let tap = Tap::new(2)?;
    let [a, b, c, _] = tap.host().octets();
    let [first, second] = [20, 21].map(|host| Ipv4Addr::new(a, b, c, host));
    let server = DhcpServer::start(&tap, Stance::Gives(first))?;
    let mut guest = Guest::boot(Spec { config: HELLO.into(), cores: 2, nic: tap.nic(), ..Spec::default() })?;
    ensure(guest.ready.contains(&format!("address={first}/24 gateway {}", tap.host())), || guest.ready.clone())?;
    says_hello(&mut guest, (first, 80))?;
    let ended = ["network: the lease has ended or was refused", "asking again"];
    server.take(Stance::Refuses);
    guest.wait_for(&ended, LIMIT)?;
    server.take(Stance::Gives(second));
    guest.wait_for(&["network: address", &second.to_string()], LIMIT)?;
    says_hello(&mut guest, (second, 80))?;
    server.take(Stance::Silent);
    guest.wait_for(&ended, LIMIT)?;
    server.take(Stance::Gives(second));
    guest.wait_for(&["network: address", &second.to_string()], LIMIT)?;
    says_hello(&mut guest, (second, 80))?;
    // A server that moves its client with a renewal.
    server.take(Stance::Gives(first));
    guest.wait_for(&["network: address", &first.to_string()], LIMIT)?;
    says_hello(&mut guest, (first, 80))?;
    guest.still_runs()
}

/// The host has the address itself that its DHCP server gives.
fn a_lease_of_anothers_address() -> Tested {
    let tap = Tap::new(1)?;
    let [a, b, c, _] = tap.host().octets();
    let [taken, free] = [20, 21].map(|host| Ipv4Addr::new(a, b, c, host));
    command_line(&format!("ip address add {taken}/24 dev {}", tap.name()))?;
    let server = DhcpServer::start(&tap, Stance::Gives(taken))?;
    let mut guest = Guest::boot(Spec { config: HELLO.into(), nic: tap.nic(), ..Spec::default() })?;
    guest.wait_for(&[&format!("network: the lease of {taken} is declined")], LIMIT)?;
    server.take(Stance::Gives(free));
    guest.wait_for(&["network: address", &free.to_string()], LIMIT)?;
    says_hello(&mut guest, (free, 80))?;
    guest.still_runs()
}

/// A client from beyond the router, which is at another station from one request to the next.
fn a_router_that_moves() -> Tested {
    const FAR: &str = "203.0.113.9";
    let tap = Tap::new(2)?;
    let mut guest = Guest::boot(Spec { config: tap.config() + HELLO, cores: 2, nic: tap.nic(), ..Spec::default() })?;
    command_line(&format!("ip address add {FAR}/32 dev lo"))?;
    // The answer has to come long before what is known of the router would have been looked at for its age.
    let curl = format!("curl --silent --show-error --fail --max-time 15 --interface {FAR} http://{}/", tap.guest());
    let asked = command_line(&curl).and_then(|first| {
        command_line(&format!("ip link set {} address 02:77:00:00:00:99", tap.name()))?;
        Ok(first + &command_line(&curl)?)
    });
    command_line(&format!("ip address del {FAR}/32 dev lo"))?;
    let said = asked.map_err(|error| guest.report(&error.to_string()))?;
    ensure(said == "hello\nhello\n", || said.clone())?;
    guest.still_runs()
}

/// No DHCP server answers at boot; a router does.
fn ipv6_from_a_router_is_enough() -> Tested {
    let tap = Tap::new(1)?;
    tap.config_of_both()?;
    let mut wire = Wiretap::new(&tap)?;
    let mut guest = Guest::start(Spec { config: HELLO.into(), nic: tap.nic(), ..Spec::default() })?;
    wire.wait_for("solicitation", solicits_routers, LIMIT).map_err(|error| guest.report(&error.to_string()))?;
    let [a, b, c, d, ..] = tap.host_v6().segments();
    wire.send(&router_advertisement(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)))?;
    // QEMU's own Ethernet address, 52:54:00:12:34:56, as RFC 4291 appendix A has it.
    let address = Ipv6Addr::new(a, b, c, d, 0x5054, 0xff, 0xfe12, 0x3456);
    let configured = format!("{address}/64 gateway fe80::1");
    guest.wait_for(&["network: address", &configured], LIMIT)?;
    says_hello(&mut guest, (address, 80))?;
    // Before DHCP is given up, and not long before: most clients come over IPv4.
    let ready = guest.wait_for(&["weir: ready"], LIMIT)?;
    guest.wait_for(&["network: no address from DHCP"], LIMIT)?;
    ensure(ready.contains(&format!("address6={configured},")) && !ready.contains("address="), || ready.clone())?;
    let _server = DhcpServer::start(&tap, Stance::Gives(tap.guest()))?;
    guest.wait_for(&["network: address", &tap.guest().to_string()], LIMIT)?;
    says_hello(&mut guest, tap.at(80))?;
    says_hello(&mut guest, (address, 80))
}

/// On one bridge: the one that was there hears the other come, and the other is told by the first.
fn two_machines_with_one_address() -> Tested {
    const BRIDGE: &str = "weirbr";
    let taps = [Tap::new(1)?, Tap::new(1)?];
    if command_line(&format!("ip link add {BRIDGE} type bridge")).is_err() {
        return Err(CannotTest("the host has no bridges").into());
    }
    let [first, second] = &taps;
    command_line(&format!("ip address flush dev {}", first.name()))?;
    command_line(&format!("ip address add {}/24 dev {BRIDGE}", first.host()))?;
    for name in taps.iter().map(Tap::name) {
        command_line(&format!("ip link set {name} master {BRIDGE}"))?;
    }
    command_line(&format!("ip link set {BRIDGE} up"))?;
    let boot = |tap: &Tap, mac: &str| {
        let (config, nic_properties) = (first.config() + HELLO, vec![format!("mac={mac}")]);
        Guest::boot(Spec { config, nic: tap.nic(), nic_properties, ..Spec::default() })
    };
    let macs = ["52:54:00:77:00:01", "52:54:00:77:00:02"];
    let mut old = boot(first, macs[0])?;
    says_hello(&mut old, first.at(80))?;
    let mut new = boot(second, macs[1])?;
    let claimed = format!("network: {} is also claimed by", first.guest());
    new.wait_for(&[claimed.as_str(), macs[0]], LIMIT)?;
    old.wait_for(&[claimed.as_str(), macs[1]], LIMIT)?;
    says_hello(&mut old, first.at(80))?;
    command_line(&format!("ip link delete {BRIDGE}"))?;
    new.still_runs()?;
    old.still_runs()
}
