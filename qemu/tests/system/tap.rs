//! A wire to a guest: a TAP interface of the host, in our own network namespace.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicU8, Ordering};

use weir_host::machine::Nic;

use crate::lab::command_line;
use crate::{CannotTest, Failed, namespace};

/// One wire with its subnets: the host is `.1` and `::1`, the guest `.2` and `::2`.
pub struct Tap {
    name: String,
    subnet: u8,
    queues: u32,
}

impl Tap {
    /// Makes an interface.
    pub fn new(queues: u32) -> Result<Self, Failed> {
        if !namespace::is_private() {
            return Err(CannotTest("no private network namespace").into());
        }
        if File::options().read(true).write(true).open("/dev/net/tun").is_err() {
            return Err(CannotTest("/dev/net/tun cannot be opened").into());
        }
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let subnet = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir{subnet}");
        let multi_queue = if queues > 1 { " multi_queue" } else { "" };
        command_line(&format!("ip tuntap add {name} mode tap{multi_queue}"))?;
        let tap = Self { name, subnet, queues };
        command_line(&format!("ip address add {}/24 dev {}", tap.host(), tap.name))?;
        // The link's address is there when the link is: one that becomes valid a second later is a change of the network to those
        // who watch it, such as a browser, which gives up what it is loading. Nobody else is on this wire.
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{}/accept_dad", tap.name), "0");
        // A host without IPv6 has all other tests to run.
        let _ = command_line(&format!("ip address add {}/64 dev {} nodad", tap.host_v6(), tap.name));
        command_line(&format!("ip link set {} up", tap.name))?;
        Ok(tap)
    }

    /// Name of the interface.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The host's address.
    pub fn host(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.subnet, 1)
    }

    /// The guest's address.
    pub fn guest(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.subnet, 2)
    }

    /// The host's IPv6 address.
    pub fn host_v6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd77, self.subnet.into(), 0, 0, 0, 0, 0, 1)
    }

    /// The guest's IPv6 address, with [`config_of_both`](Self::config_of_both).
    pub fn guest_v6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd77, self.subnet.into(), 0, 0, 0, 0, 0, 2)
    }

    /// The host's address of a family, with a port.
    pub fn host_at(&self, ipv6: bool, port: u16) -> SocketAddr {
        (if ipv6 { IpAddr::V6(self.host_v6()) } else { IpAddr::V4(self.host()) }, port).into()
    }

    /// The guest's address of a family, with a port.
    pub fn guest_at(&self, ipv6: bool, port: u16) -> SocketAddr {
        (if ipv6 { IpAddr::V6(self.guest_v6()) } else { IpAddr::V4(self.guest()) }, port).into()
    }

    /// A port of the guest.
    pub fn at(&self, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(self.guest(), port)
    }

    /// Frames for the guest that found the queue full.
    pub fn frames_lost(&self) -> Result<u64, Failed> {
        let text = command_line(&format!("ip -s link show dev {}", self.name))?;
        let sent = text.lines().skip_while(|line| !line.trim_start().starts_with("TX:")).nth(1);
        let lost = sent.and_then(|line| line.split_whitespace().nth(3)).and_then(|word| word.parse().ok());
        lost.ok_or_else(|| format!("no figures in {text}").into())
    }

    /// The network device for the guest.
    pub fn nic(&self) -> Nic {
        Nic::Tap { name: self.name.clone(), queues: self.queues }
    }

    /// The beginning of a configuration: addresses, and metrics on port 9000.
    pub fn config(&self) -> String {
        let (guest, host) = (self.guest(), self.host());
        format!("[network]\naddress = \"{guest}/24\"\ngateway = \"{host}\"\n\n[admin]\nlisten = \"0.0.0.0:9000\"\n\n")
    }

    /// As [`config`](Self::config), with an IPv6 address beside the IPv4 one.
    pub fn config_of_both(&self) -> Result<String, Failed> {
        if command_line(&format!("ip -6 address show dev {}", self.name)).is_ok_and(|text| !text.contains("fd77")) {
            return Err(CannotTest("the host has no IPv6").into());
        }
        let (guest, guest_v6) = (self.guest(), self.guest_v6());
        Ok(format!(
            "[network]\naddress = [\"{guest}/24\", \"{guest_v6}/64\"]\ngateway = [\"{}\", \"{}\"]\n\n\
             [admin]\nlisten = \"0.0.0.0:9000\"\n\n",
            self.host(),
            self.host_v6(),
        ))
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let _ = command_line(&format!("ip link delete {}", self.name));
    }
}
