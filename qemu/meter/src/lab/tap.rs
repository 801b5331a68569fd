//! The wire: a TAP interface in our own namespace.

use std::net::Ipv4Addr;

use weir_host::machine::Nic;

use super::{Failed, HOST, command_line};

const NAME: &str = "meter0";

/// The interface, with the host's address on it.
#[derive(Debug)]
pub struct Tap {
    name: &'static str,
    queues: u32,
}

impl Tap {
    /// Makes it, for as many queue pairs.
    ///
    /// # Errors
    /// When there is no `ip`, no `/dev/net/tun`, or no right to use them.
    pub fn new(queues: u32) -> Result<Self, Failed> {
        Self::named(NAME, HOST, queues)
    }

    /// As [`new`](Self::new), one of several: each has its name, and its subnet of 24 bits.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn named(name: &'static str, host: Ipv4Addr, queues: u32) -> Result<Self, Failed> {
        let multi_queue = if queues > 1 { " multi_queue" } else { "" };
        command_line(&format!("ip tuntap add {name} mode tap{multi_queue}"))?;
        let tap = Self { name, queues };
        command_line(&format!("ip address add {host}/24 dev {name}"))?;
        command_line(&format!("ip link set {name} up"))?;
        Ok(tap)
    }

    /// The network device for the guest.
    #[must_use]
    pub fn nic(&self) -> Nic {
        Nic::Tap { name: self.name.into(), queues: self.queues }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let _ = command_line(&format!("ip link delete {}", self.name));
    }
}
