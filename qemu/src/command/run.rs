//! `weir run`: boots a configuration and shows its console.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use weir_config::{Addressing, Config};

use super::Outcome;
use super::session::{self, Plan};
use super::source::Source;
use crate::cli::{self, MachineOptions, Net};
use crate::failure::Failure;
use crate::machine::{Forward, MachineType, Nic, UserSubnet};
use crate::net;

pub(super) fn run(options: cli::Run) -> Outcome {
    let source = match &options.file {
        Some(path) => Source::read(path)?,
        None => Source::parse(weir_config::DEMO.to_owned(), "demo")?,
    };
    let cores = options.cores.unwrap_or(if options.machine.net == Net::User { 1 } else { 2 });
    let ports = public_ports(&source.config);
    let (nic, urls) = match &options.machine.net {
        Net::User => user_nic(&source.config, &ports, &options)?,
        Net::Tap(name) => {
            if options.port.is_some() {
                return Err(Failure::usage("--port is for --net user").help("on a tap the guest has its own address"));
            }
            (tap_nic(name, cores, &options.machine)?, tap_urls(&source.config, &ports))
        }
    };
    session::run(Plan {
        source,
        image: options.source,
        cores,
        nic,
        urls,
        host_cpus: None,
        rates_from: None,
        options: options.machine,
    })
}

/// A port of the guest that the outside may reach, and what it is for.
struct PublicPort {
    label: String,
    port: u16,
    is_ipv4: bool,
    path: &'static str,
}

/// The listeners first, in order, then the metrics; without what listens only inside of the guest.
fn public_ports(config: &Config) -> Vec<PublicPort> {
    let outside = |address: &&SocketAddr| !address.ip().is_loopback();
    let listeners = config.listeners.iter().flat_map(|listener| {
        let bound = listener.bind.iter().filter(outside);
        bound.map(|address| PublicPort::new(&listener.name, *address, "/"))
    });
    let admin = config.admin.iter().map(|admin| admin.listen).filter(|address| outside(&address));
    let admin = admin.map(|address| PublicPort::new("metrics", address, "/metrics"));
    let mut ports: Vec<PublicPort> = Vec::new();
    for port in listeners.chain(admin) {
        if !ports.iter().any(|known| (known.port, known.is_ipv4) == (port.port, port.is_ipv4)) {
            ports.push(port);
        }
    }
    ports
}

impl PublicPort {
    fn new(label: &str, address: SocketAddr, path: &'static str) -> Self {
        Self { label: label.to_owned(), port: address.port(), is_ipv4: address.is_ipv4(), path }
    }
}

/// User networking forwards to the guest's IPv4 address only.
fn user_nic(config: &Config, ports: &[PublicPort], options: &cli::Run) -> Result<(Nic, Vec<String>), Failure> {
    one_queue(&options.machine)?;
    let mut forwards = Vec::new();
    let mut urls = Vec::new();
    for (index, port) in ports.iter().filter(|port| port.is_ipv4).enumerate() {
        let asked = options.port.filter(|_| index == 0);
        let host_port = match asked {
            Some(port) => port,
            None => net::free_port(&forwards)?,
        };
        let host = SocketAddrV4::new(Ipv4Addr::LOCALHOST, host_port);
        if asked.is_some() {
            net::check_listen(host)?;
        }
        forwards.push(Forward { host, guest_port: port.port });
        urls.push(format!("{}: http://{host}{}", port.label, port.path));
    }
    Ok((Nic::User { forwards, subnet: user_subnet(config) }, urls))
}

/// User networking has one queue pair.
pub(super) fn one_queue(options: &MachineOptions) -> Result<(), Failure> {
    match options.queues {
        None | Some(1) => Ok(()),
        Some(queues) => Err(Failure::usage(format!("--net user has one queue pair, and --queues asks for {queues}"))
            .help("use --net tap:NAME, or leave --queues out")),
    }
}

pub(super) fn tap_nic(name: &str, cores: u32, options: &MachineOptions) -> Result<Nic, Failure> {
    let is_microvm = options.machine == MachineType::Microvm;
    let queues = options.queues.unwrap_or(if is_microvm { 1 } else { cores });
    if is_microvm && queues > 1 {
        return Err(Failure::usage(format!("--machine microvm has one queue pair, and --queues asks for {queues}"))
            .help("leave --queues out: the other cores are fed through rings; or use --machine q35"));
    }
    net::check_tap(name, queues)?;
    Ok(Nic::Tap { name: name.to_owned(), queues })
}

fn user_subnet(config: &Config) -> Option<UserSubnet> {
    match config.network.ipv4 {
        Addressing::Automatic => None,
        Addressing::Static { address, prefix_len, gateway } => Some(UserSubnet { guest: address, prefix_len, gateway }),
    }
}

/// An address from the network only the guest knows: its own line tells.
fn tap_urls(config: &Config, ports: &[PublicPort]) -> Vec<String> {
    let (v4, v6) = (config.network.ipv4.address().map(IpAddr::V4), config.network.ipv6.address().map(IpAddr::V6));
    let url = |port: &PublicPort| {
        let address = SocketAddr::new(if port.is_ipv4 { v4? } else { v6? }, port.port);
        Some(format!("{}: http://{address}{}", port.label, port.path))
    };
    ports.iter().filter_map(url).collect()
}
