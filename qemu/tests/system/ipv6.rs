//! IPv6 from the configuration to the wire, as curl sees it.

use std::time::Duration;

use crate::daemon::nginx;
use crate::guest::{Guest, Spec};
use crate::lab::command_line;
use crate::tap::Tap;
use crate::{Tested, Tests, ensure, http};

pub const TESTS: Tests = &[
    (
        "ipv6::curl_is_answered_by_the_server_and_through_the_proxy",
        curl_is_answered_by_the_server_and_through_the_proxy,
    ),
    ("ipv6::each_family_has_its_own_listener", each_family_has_its_own_listener),
];

/// Port of the server on the host.
const PORT: u16 = 8001;

const HELLO: &str = "\n[[listener.route]]\nrespond = { body = \"hello\\n\" }\n";

/// Asks with curl over IPv6 only, without a shell and without globbing, for brackets mean something to both.
fn curl(url: &str) -> Result<String, crate::Failed> {
    command_line(&format!("curl -6 --globoff --silent --show-error --fail --max-time 20 {url}"))
}

fn curl_is_answered_by_the_server_and_through_the_proxy() -> Tested {
    let root = tempfile::tempdir()?;
    let tap = Tap::new(2)?;
    let (guest_v6, host_v6) = (tap.guest_v6(), tap.host_v6());
    let config = tap.config_of_both()?
        + &format!(
            "[[listener]]\nname = \"local\"\nbind = \"[::]:81\"\n{HELLO}\n\
             [[listener]]\nname = \"web\"\nbind = [\"0.0.0.0:80\", \"[::]:80\"]\n\n[[listener.route]]\npool = \"p\"\n\n\
             [[pool]]\nname = \"p\"\n\n[[pool.server]]\nname = \"s\"\naddress = \"[{host_v6}]:{PORT}\"\n"
        );
    let mut guest = Guest::boot(Spec { config, cores: 2, nic: tap.nic(), ..Spec::default() })?;
    let link_local = guest.ready.split("address6=").nth(1).and_then(|rest| rest.split(' ').nth(2));
    let link_local = link_local.and_then(|word| word.split(',').nth(1)).unwrap_or_default().to_owned();
    let wanted = format!("address6={guest_v6}/64 gateway {host_v6},fe80::");
    ensure(guest.ready.contains(&wanted), || guest.ready.clone())?;

    let _server = nginx(
        tap.host_at(true, PORT),
        root.path(),
        "location / { return 200 \"$remote_addr for $http_x_forwarded_for at $http_host\\n\"; }",
    )?;
    let expected = format!("{guest_v6} for {host_v6} at [{guest_v6}]\n");
    for _ in 0..20 {
        let hello = curl(&format!("http://[{guest_v6}]:81/")).map_err(|error| guest.report(&error.to_string()))?;
        ensure(hello == "hello\n", || hello.clone())?;
        let answer = curl(&format!("http://[{guest_v6}]/")).map_err(|error| guest.report(&error.to_string()))?;
        ensure(answer == expected, || format!("{answer:?} instead of {expected:?}"))?;
    }
    // A client with IPv4 is forwarded to the same server.
    let answer = http::get(tap.at(80), "/")?.text();
    ensure(answer == format!("{guest_v6} for {} at {}\n", tap.host(), tap.at(80)), || answer.clone())?;
    let hello =
        curl(&format!("http://[{link_local}%{}]:81/", tap.name())).map_err(|error| guest.report(&error.to_string()))?;
    ensure(hello == "hello\n", || hello.clone())?;
    guest.still_runs()
}

fn each_family_has_its_own_listener() -> Tested {
    let tap = Tap::new(1)?;
    let config = tap.config_of_both()?
        + &format!(
            "[[listener]]\nname = \"six\"\nbind = \"[::]:86\"\n{HELLO}\n[[listener]]\nname = \"four\"\nbind = \"0.0.0.0:84\"\n{HELLO}\n\
             [[listener]]\nname = \"exact\"\nbind = \"[{}]:87\"\n{HELLO}",
            tap.guest_v6()
        );
    let mut guest = Guest::boot(Spec { config, nic: tap.nic(), ..Spec::default() })?;
    for (ipv6, port, is_served) in
        [(true, 86, true), (false, 86, false), (false, 84, true), (true, 84, false), (true, 87, true)]
    {
        let address = tap.guest_at(ipv6, port);
        let connected = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(20));
        match (connected, is_served) {
            (Ok(_), true) => {
                let answer = http::get(address, "/")?.text();
                ensure(answer == "hello\n", || format!("{address}: {answer:?}"))?;
            }
            (Err(error), false) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
            (connected, _) => return Err(guest.report(&format!("{address}: {connected:?}"))),
        }
    }
    guest.still_runs()
}
