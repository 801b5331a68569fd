//! `weir demo`: Fastsocket's demo server, as a configuration that is written on the spot.
//!
//! `-w` workers become cores, `-a` a port of this machine that leads to a listener, `-x` a server behind a proxy.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use super::run::{one_queue, tap_nic};
use super::session::{self, Plan};
use super::source::Source;
use super::{Outcome, say};
use crate::cli::{self, Net};
use crate::failure::Failure;
use crate::machine::{Forward, Nic, USER_NET_HOST};
use crate::net;

/// The whole answer of the demo in server mode: 64 bytes, as in the measurements.
const BODY: &str = "Weir answers with sixty-four bytes, as the measurements ask it.\n";
const _: () = assert!(BODY.len() == 64);

/// Where the guest serves its metrics; not a port that a listener may have.
const ADMIN_PORT: u16 = 9000;

pub(super) fn run(options: cli::Demo) -> Outcome {
    let listen = if options.listen.is_empty() {
        vec![SocketAddrV4::new(Ipv4Addr::LOCALHOST, net::PORT_PREFERRED)]
    } else {
        options.listen.clone()
    };
    let user = options.machine.net == Net::User;
    let ports: BTreeSet<u16> = listen.iter().map(SocketAddrV4::port).collect();
    if ports.contains(&ADMIN_PORT) {
        return Err(
            Failure::usage(format!("port {ADMIN_PORT} is the demo's own, for metrics")).help("choose another for -a")
        );
    }
    let backends: Vec<SocketAddrV4> = options.backends.iter().map(|address| seen_by_guest(*address, user)).collect();
    let source = Source::parse(configuration(&ports, &backends, options.keep_alive), "demo")?;
    let mut rates_from = None;
    let (nic, urls) = match &options.machine.net {
        Net::Tap(name) => (tap_nic(name, options.workers, &options.machine)?, Vec::new()),
        Net::User => {
            one_queue(&options.machine)?;
            let mut forwards = Vec::new();
            for &host in &listen {
                net::check_listen(host)?;
                forwards.push(Forward { host, guest_port: host.port() });
            }
            let admin = SocketAddrV4::new(Ipv4Addr::LOCALHOST, net::free_port(&forwards)?);
            forwards.push(Forward { host: admin, guest_port: ADMIN_PORT });
            rates_from = options.verbose.then_some(SocketAddr::V4(admin));
            (Nic::User { forwards, subnet: None }, listen.iter().map(|host| format!("demo: http://{host}/")).collect())
        }
    };
    if options.verbose && rates_from.is_none() {
        say("-v needs --net user: on a tap, the metrics page of the guest has the figures");
    }
    session::run(Plan {
        source,
        image: cli::Source { files: None, base: options.base },
        cores: options.workers,
        nic,
        urls,
        host_cpus: options.first_cpu.map(|first| (first, options.workers as usize)),
        rates_from,
        options: options.machine,
    })
}

/// A server on this machine has another address inside of user networking.
fn seen_by_guest(address: SocketAddrV4, user: bool) -> SocketAddrV4 {
    if user && address.ip().is_loopback() { SocketAddrV4::new(USER_NET_HOST, address.port()) } else { address }
}

/// The demo as a configuration.
fn configuration(ports: &BTreeSet<u16>, backends: &[SocketAddrV4], keep_alive: bool) -> String {
    let binds: Vec<String> = ports.iter().map(|port| format!("\"0.0.0.0:{port}\"")).collect();
    let mut text = format!("[admin]\nlisten = \"0.0.0.0:{ADMIN_PORT}\"\n\n");
    let mut add = |line: String| writeln!(text, "{line}").expect("writing to memory does not fail");
    add(format!("[[listener]]\nname = \"demo\"\nbind = [{}]", binds.join(", ")));
    if !keep_alive {
        add("keep_alive = false".into());
    }
    add("\n[[listener.route]]".into());
    if backends.is_empty() {
        add(format!("respond = {{ body = {BODY:?}, content_type = \"text/plain\" }}"));
        return text;
    }
    add("pool = \"servers\"\n\n[[pool]]\nname = \"servers\"".into());
    for (index, backend) in backends.iter().enumerate() {
        add(format!("\n[[pool.server]]\nname = \"{}\"\naddress = \"{backend}\"", index + 1));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_config::{Action, Config};

    #[test]
    fn server_and_proxy_mode_are_valid_configurations() {
        let ports = BTreeSet::from([80, 81]);
        let server = Config::parse(&configuration(&ports, &[], true)).unwrap();
        assert_eq!(server.listeners[0].bind.len(), 2);
        assert!(matches!(&server.listeners[0].routes[0].action, Action::Respond(respond) if respond.body == BODY));
        let backends = ["10.0.0.1:80", "10.0.0.2:80"].map(|address| address.parse().unwrap());
        let proxy = Config::parse(&configuration(&ports, &backends, true)).unwrap();
        assert_eq!(proxy.pools[0].servers.len(), 2);
        assert_eq!(proxy.listeners[0].routes[0].action, Action::Pool(0));
    }

    #[test]
    fn a_server_on_this_machine_is_elsewhere_for_the_guest() {
        let local = "127.0.0.1:8081".parse().unwrap();
        assert_eq!(seen_by_guest(local, true).to_string(), "10.0.2.2:8081");
        assert_eq!(seen_by_guest(local, false), local);
    }
}
