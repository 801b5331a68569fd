//! What a shard is told at its birth.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::ops::RangeInclusive;

use weir_packet::frame::Capabilities;

use crate::address::{Ipv4Configuration, Ipv6Configuration};
use crate::steering::{EPHEMERAL_PORTS, PassiveOwner};
use crate::toeplitz::Spread;

/// Neighbours that a core remembers, unless configured otherwise.
const NEIGHBOURS_MAX: usize = 1_024;

/// Where the host's IPv4 address comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ipv4Source {
    /// From a DHCP server; core 0 asks, and tells the others.
    Dhcp,
    /// It is given.
    Static(Ipv4Configuration),
    /// There is none, until [`crate::Shard::configure_ipv4`].
    None,
}

/// Where the host's IPv6 address comes from, beside the link-local one that it always has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ipv6Source {
    /// From a router's advertisement, if there is one; core 0 asks, and tells the others.
    Router,
    /// It is given.
    Static(Ipv6Configuration),
    /// There is none, until [`crate::Shard::configure_ipv6`].
    None,
}

/// What a shard is told at its birth.
#[derive(Debug, Clone)]
pub struct ShardConfig {
    /// The shard's core: 0 is the control core.
    pub core: usize,
    /// Cores with a shard.
    pub cores: usize,
    /// Secret, and different on each core.
    pub seed: [u64; 4],
    /// What the core's device can do.
    pub device: Capabilities,
    /// Limits and choices of TCP. Its seed is replaced by one drawn from [`seed`](Self::seed).
    pub tcp: weir_tcp::Config,
    /// Where the IPv4 address comes from.
    pub ipv4: Ipv4Source,
    /// Where the IPv6 address beside the link-local one comes from.
    pub ipv6: Ipv6Source,
    /// Further addresses of the host, on the link: flows that we open come from them and from the host's own in turn, so that
    /// there are more source ports towards each destination.
    pub sources: Vec<IpAddr>,
    /// Who owns the flows that clients open: the same on all cores.
    pub passive: PassiveOwner,
    /// How the device spreads received frames over the cores, if that is known: source ports are chosen so that answers arrive
    /// at the core that opened the flow.
    pub spread: Option<Spread>,
    /// Source ports of flows that we open, dealt out among the cores.
    pub ephemeral_ports: RangeInclusive<u16>,
    /// Neighbours to remember, at most 4096.
    pub neighbours_max: usize,
}

impl ShardConfig {
    /// The shard of `core` of `cores`, with addresses from DHCP and router
    /// advertisements.
    #[must_use]
    pub fn new(core: usize, cores: usize, seed: [u64; 4], device: Capabilities) -> Self {
        Self {
            core,
            cores,
            seed,
            device,
            tcp: weir_tcp::Config::default(),
            ipv4: Ipv4Source::Dhcp,
            ipv6: Ipv6Source::Router,
            sources: Vec::new(),
            passive: PassiveOwner::Arrival,
            spread: None,
            ephemeral_ports: EPHEMERAL_PORTS,
            neighbours_max: NEIGHBOURS_MAX,
        }
    }
}
