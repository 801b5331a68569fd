//! Who owns a flow, computable by every core without asking: the port policy.
//!
//! Flows that we open have a source port from the ephemeral range, and the range is dealt out to the cores like cards:
//! `owner(port) = (port - first) mod cores`. The answer of a backend may arrive on any queue; its destination port names
//! the core that has to see it. Flows that clients open belong to the core on which their SYN arrived.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::ops::RangeInclusive;
use core::time::Duration;

use weir_socket::Instant;

/// Source ports of flows that we open, unless configured otherwise (as Linux has it).
pub const EPHEMERAL_PORTS: RangeInclusive<u16> = 32_768..=60_999;

/// How long a destination without free source port is not searched again: a full search looks at every port.
const EXHAUSTED_FOR: Duration = Duration::from_millis(10);

/// The ephemeral ports and this core's share of them.
#[derive(Debug)]
pub(crate) struct Steering {
    core: u16,
    cores: u16,
    first: u16,
    len: u16,
    /// This core's ports: `first + core + k * cores` for `k` in `0..share`.
    share: u16,
    cursor: u16,
    /// Ports of the range that are listened on: they belong to passive flows, on every core.
    listened: Vec<u16>,
    exhausted: Option<(SocketAddr, Instant)>,
}

impl Steering {
    /// The share of `core` among `cores` (at least 1); `random` is where the search for ports begins.
    pub(crate) fn new(core: usize, cores: usize, ports: &RangeInclusive<u16>, random: u64) -> Self {
        let cores = u16::try_from(cores.max(1)).unwrap_or(u16::MAX);
        let core = u16::try_from(core).unwrap_or(u16::MAX) % cores;
        let first = (*ports.start()).max(1);
        let len = (*ports.end()).saturating_sub(first).saturating_add(1);
        let share = len.saturating_sub(core).div_ceil(cores);
        let cursor = (random % u64::from(share.max(1))) as u16;
        Self { core, cores, first, len, share, cursor, listened: Vec::new(), exhausted: None }
    }

    /// The core that owns the flow with local port `port`, if the port names another than this one.
    #[inline(always)]
    pub(crate) fn other_owner(&self, port: u16) -> Option<usize> {
        let offset = port.wrapping_sub(self.first);
        if offset >= self.len { None } else { self.other_owner_of(port, offset) }
    }

    #[inline]
    fn other_owner_of(&self, port: u16, offset: u16) -> Option<usize> {
        let owner = offset % self.cores;
        (owner != self.core && !self.listened.contains(&port)).then_some(usize::from(owner))
    }

    /// Takes `port` out of the ephemeral ports, if it is one: there is a listener.
    pub(crate) fn claim(&mut self, port: u16) {
        if port.wrapping_sub(self.first) < self.len && !self.listened.contains(&port) {
            self.listened.push(port);
        }
    }

    /// Gives `port` back to the ephemeral ports.
    pub(crate) fn release(&mut self, port: u16) {
        self.listened.retain(|&other| other != port);
    }

    /// A source port of this core towards `remote` for which `is_free` holds; none: no source port left. The same port
    /// serves many destinations at once.
    pub(crate) fn allocate(
        &mut self,
        local: IpAddr,
        remote: SocketAddr,
        now: Instant,
        is_free: impl Fn(SocketAddr) -> bool,
    ) -> Option<SocketAddr> {
        if self.exhausted.is_some_and(|(full, until)| full == remote && now < until) {
            return None;
        }
        for _ in 0..self.share {
            let port = self.first + self.core + self.cursor * self.cores;
            self.cursor = if self.cursor + 1 < self.share { self.cursor + 1 } else { 0 };
            let candidate = SocketAddr::new(local, port);
            if !self.listened.contains(&port) && is_free(candidate) {
                return Some(candidate);
            }
        }
        self.exhausted = Some((remote, now + EXHAUSTED_FOR));
        None
    }

    /// Source ports that this core has towards each destination.
    pub(crate) fn ports(&self) -> usize {
        usize::from(self.share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    const NOW: Instant = Instant::from_nanos(0);

    fn remote() -> SocketAddr {
        "10.0.0.9:80".parse().expect("an address")
    }

    fn all_ports(steering: &mut Steering) -> BTreeSet<u16> {
        let mut seen = BTreeSet::new();
        let taken = core::cell::RefCell::new(BTreeSet::new());
        while let Some(local) =
            steering.allocate(remote().ip(), remote(), NOW, |candidate| taken.borrow_mut().insert(candidate.port()))
        {
            assert!(seen.insert(local.port()));
        }
        seen
    }

    #[test]
    fn every_ephemeral_port_has_exactly_one_owner_and_every_core_can_compute_it() {
        for cores in [1, 2, 3, 7, 64] {
            let mut union = BTreeSet::new();
            for core in 0..cores {
                let mut steering = Steering::new(core, cores, &EPHEMERAL_PORTS, 12_345);
                let ports = all_ports(&mut steering);
                assert_eq!(ports.len(), steering.ports());
                for &port in &ports {
                    assert_eq!(steering.other_owner(port), None);
                    let next = Steering::new((core + 1) % cores, cores, &EPHEMERAL_PORTS, 1);
                    assert_eq!(next.other_owner(port), (cores > 1).then_some(core));
                    assert!(union.insert(port), "{port} has two owners");
                }
            }
            assert_eq!(union, EPHEMERAL_PORTS.collect());
        }
    }

    #[test]
    fn the_highest_port_is_used_and_nothing_overflows() {
        let mut steering = Steering::new(0, 1, &(65_530..=65_535), 3);
        assert_eq!(all_ports(&mut steering), (65_530..=65_535).collect());
        assert_eq!(Steering::new(5, 64, &(65_535..=65_535), 0).ports(), 0);
    }

    #[test]
    fn a_listened_port_of_the_range_is_neither_forwarded_nor_allocated() {
        let mut steering = Steering::new(0, 2, &(40_000..=40_003), 0);
        assert_eq!(steering.other_owner(40_001), Some(1));
        steering.claim(40_001);
        steering.claim(40_002);
        assert_eq!(steering.other_owner(40_001), None);
        assert_eq!(all_ports(&mut steering), BTreeSet::from([40_000]));
        steering.release(40_001);
        assert_eq!(steering.other_owner(40_001), Some(1));
    }

    #[test]
    fn an_exhausted_destination_is_not_searched_again_at_once() {
        let mut steering = Steering::new(0, 1, &(1000..=1999), 0);
        let looks = core::cell::Cell::new(0);
        let none_free = |_| {
            looks.set(looks.get() + 1);
            false
        };
        assert_eq!(steering.allocate(remote().ip(), remote(), NOW, none_free), None);
        assert_eq!(steering.allocate(remote().ip(), remote(), NOW, none_free), None);
        assert_eq!(looks.get(), 1000);
        let other = "10.0.0.10:80".parse().expect("an address");
        assert!(steering.allocate(remote().ip(), other, NOW, |_| true).is_some());
        assert!(steering.allocate(remote().ip(), remote(), NOW + EXHAUSTED_FOR, |_| true).is_some());
    }
}
