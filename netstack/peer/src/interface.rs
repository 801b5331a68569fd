//! A TAP interface with its subnets: Linux is `.1`, Weir `.2`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};

use crate::Failed;
use crate::namespace::command_line;

/// Weir's Ethernet address.
pub const WEIR_MAC: [u8; 6] = [0x52, 0x54, 0x00, 0x57, 0x45, 0x01];

/// One wire between Linux and a shard. It is gone when this is dropped.
#[derive(Debug)]
pub struct Interface {
    name: String,
    subnet: u8,
}

impl Interface {
    /// Makes one. It is down until a wire is attached to it and [`bring_up`](Self::bring_up) called.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn new() -> Result<Self, Failed> {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let subnet = NEXT.fetch_add(1, Ordering::Relaxed);
        let interface = Self { name: format!("peer{subnet}"), subnet };
        let name = &interface.name;
        command_line(&format!("ip tuntap add {name} mode tap"))?;
        // A queue that is shorter than what all flows have in flight would be weather of its own.
        command_line(&format!("ip link set {name} txqueuelen 20000"))?;
        Ok(interface)
    }

    /// Gives it addresses and starts it.
    ///
    /// The wire must be attached before: the kernel hears of a carrier that comes later when it finds time to, and drops
    /// what is sent until then.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn bring_up(&self) -> Result<(), Failed> {
        let name = &self.name;
        command_line(&format!("ip address add {}/24 dev {name}", self.linux(false)))?;
        command_line(&format!("ip address add {}/64 dev {name} nodad", self.linux(true)))?;
        command_line(&format!("ip link set {name} up"))?;
        Ok(())
    }

    /// Name of the interface.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Linux' address.
    #[must_use]
    pub fn linux(&self, ipv6: bool) -> IpAddr {
        if ipv6 { self.linux_v6().into() } else { self.linux_v4().into() }
    }

    /// Weir's address.
    #[must_use]
    pub fn weir(&self, ipv6: bool) -> IpAddr {
        if ipv6 { self.weir_v6().into() } else { self.weir_v4().into() }
    }

    /// A port of Weir's.
    #[must_use]
    pub fn at(&self, ipv6: bool, port: u16) -> SocketAddr {
        (self.weir(ipv6), port).into()
    }

    /// Linux' IPv4 address.
    #[must_use]
    pub fn linux_v4(&self) -> Ipv4Addr {
        self.v4(1)
    }

    /// Linux' IPv6 address.
    #[must_use]
    pub fn linux_v6(&self) -> Ipv6Addr {
        self.v6(1)
    }

    /// Weir's IPv4 address.
    #[must_use]
    pub fn weir_v4(&self) -> Ipv4Addr {
        self.v4(2)
    }

    /// Weir's IPv6 address.
    #[must_use]
    pub fn weir_v6(&self) -> Ipv6Addr {
        self.v6(2)
    }

    fn v4(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 66, self.subnet, host)
    }

    fn v6(&self, host: u16) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0x66, self.subnet.into(), 0, 0, 0, 0, host)
    }
}

impl Drop for Interface {
    fn drop(&mut self) {
        let _ = command_line(&format!("ip link delete {}", self.name));
    }
}
