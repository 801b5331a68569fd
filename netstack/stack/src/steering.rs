//! Who owns a flow, computable by every core without asking.
//!
//! Flows that we open have a source port from the ephemeral range, and the range is dealt out to the cores like cards:
//! `owner(port) = (port - first) mod cores`. The answer of a backend may arrive on any queue; its destination port names
//! the core that has to see it.
//!
//! Flows that clients open belong to the core on which their SYN arrived, as long as every core has a queue pair of its
//! own. When cores have none, nothing arrives at them: then all cores share a key, and the keyed hash of the client's
//! address and of both ports names the owner ([`PassiveOwner`]).

//!
//! Where the device spreads frames by a hash that we know, a source port is chosen among the core's own whose answers the
//! device brings to this core. The port remains what names the owner, so a wrong prediction costs a hand-off and no more.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::ops::RangeInclusive;
use core::time::Duration;

use weir_socket::Instant;

use crate::ipv4::Ports;
use crate::toeplitz::{Predictor, Spread};

/// Source ports of flows that we open, unless configured otherwise (as Linux has it).
pub const EPHEMERAL_PORTS: RangeInclusive<u16> = 32_768..=60_999;

/// How long a destination without free source port is not searched again: a full search looks at every port.
const EXHAUSTED_FOR: Duration = Duration::from_millis(10);

/// Who owns a flow that a client opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassiveOwner {
    /// The core on which its first segment arrived: for as many queue pairs as cores.
    Arrival,
    /// The core that a hash with this key names: for fewer queue pairs than cores. Secret, and the same on all cores.
    Hash([u64; 2]),
}

/// Wrong predictions after which no more are made: the device does not do what it was told.
const MISPREDICTIONS_MAX: u32 = 1_000;

/// The ephemeral ports and this core's share of them.
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
    /// The key of the passive flows' owners; none: arrival decides.
    key: Option<[u64; 2]>,
    /// What is known of each of our addresses, by its number.
    sources: Vec<SourceBars>,
    /// Whose turn it is among addresses, as a fraction of their number.
    turn: u64,
    predictor: Option<Predictor>,
    mispredictions: u32,
}

/// The steps of turns, as a fraction: every address is chosen equally often, also by every second connection, or every third, as
/// servers that take turns themselves have them.
const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

/// What one of our addresses is not searched for, for a while.
#[derive(Debug, Clone, Copy, Default)]
struct SourceBars {
    /// A destination towards which no port was free, and until when.
    exhausted: Option<(SocketAddr, Instant)>,
    /// The same for ports of the right queue.
    crowded: Option<(SocketAddr, Instant)>,
}

/// Whether `bar` stands between us and `remote`.
fn is_barred(bar: Option<(SocketAddr, Instant)>, remote: SocketAddr, now: Instant) -> bool {
    bar.is_some_and(|(full, until)| full == remote && now < until)
}

/// A source port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allocated {
    pub(crate) local: SocketAddr,
    /// The answers are predicted to arrive at another core.
    pub(crate) is_elsewhere: bool,
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
        Self {
            core,
            cores,
            first,
            len,
            share,
            cursor,
            listened: Vec::new(),
            key: None,
            sources: alloc::vec![SourceBars::default()],
            turn: 0,
            predictor: None,
            mispredictions: 0,
        }
    }

    /// With another owner of passive flows than arrival.
    pub(crate) fn with_passive(mut self, passive: PassiveOwner) -> Self {
        self.key = match passive {
            PassiveOwner::Hash(key) if self.cores > 1 => Some(key),
            PassiveOwner::Hash(_) | PassiveOwner::Arrival => None,
        };
        self
    }

    /// With knowledge of how the device spreads what it receives.
    pub(crate) fn with_spread(mut self, spread: Option<&Spread>) -> Self {
        let is_useful = self.cores > 1 && self.key.is_none();
        self.predictor = spread.filter(|_| is_useful).map(|spread| Predictor::new(spread, self.cores));
        self
    }

    /// A segment for core `owner` arrived here: whether it was predicted to arrive there.
    #[cold]
    pub(crate) fn is_mispredicted(&mut self, source: SocketAddr, local: SocketAddr, owner: usize) -> bool {
        let Some(predictor) = &self.predictor else { return false };
        let Some(prefix) = predictor.prefix(source, local.ip()) else { return false };
        let is_mispredicted = usize::from(predictor.queue(prefix, local.port())) == owner;
        self.mispredictions += u32::from(is_mispredicted);
        if self.mispredictions >= MISPREDICTIONS_MAX {
            self.predictor = None;
        }
        is_mispredicted
    }

    /// The core that owns the flow of a segment that `source` sent to us, if that is another than this one.
    #[inline(always)]
    pub(crate) fn other_owner(&self, source: IpAddr, ports: Ports) -> Option<usize> {
        let offset = ports.destination.wrapping_sub(self.first);
        if offset >= self.len && self.key.is_none() { None } else { self.other_owner_of(source, ports, offset) }
    }

    #[inline]
    fn other_owner_of(&self, source: IpAddr, ports: Ports, offset: u16) -> Option<usize> {
        let owner = if offset < self.len && !self.listened.contains(&ports.destination) {
            offset % self.cores
        } else {
            let ends = u32::from(ports.source) << 16 | u32::from(ports.destination);
            ((u64::from(hash(self.key?, source, ends)) * u64::from(self.cores)) >> 32) as u16
        };
        (owner != self.core).then_some(usize::from(owner))
    }

    /// Whether there may be flows of other cores that nobody can name: those that clients opened, while arrival decides.
    #[inline(always)]
    pub(crate) fn has_strays(&self) -> bool {
        self.cores > 1 && self.key.is_none()
    }

    /// Whether a segment to `port` may belong to such a flow.
    pub(crate) fn may_stray(&self, port: u16) -> bool {
        let is_passive = port.wrapping_sub(self.first) >= self.len || self.listened.contains(&port);
        is_passive && self.has_strays()
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

    /// A source address and port towards `remote`: one of these addresses, which have numbers, in turn; one without free port
    /// is passed over.
    pub(crate) fn allocate_among(
        &mut self,
        addresses: impl Iterator<Item = (usize, IpAddr)> + Clone,
        remote: SocketAddr,
        now: Instant,
        is_free: impl Fn(SocketAddr) -> bool,
    ) -> Option<Allocated> {
        let count = addresses.clone().count();
        let first = ((u128::from(self.turn) * count as u128) >> 64) as usize;
        self.turn = self.turn.wrapping_add(GOLDEN_RATIO);
        addresses.cycle().skip(first).take(count).find_map(|(number, address)| {
            if self.sources.len() <= number {
                self.sources.resize(number + 1, SourceBars::default());
            }
            self.allocate(number, address, remote, now, &is_free)
        })
    }

    /// A source port of this core towards `remote` for which `is_free` holds, if possible one whose answers arrive here;
    /// none: no source port left. The same port serves many destinations at once. `number` is the address's.
    fn allocate(
        &mut self,
        number: usize,
        local: IpAddr,
        remote: SocketAddr,
        now: Instant,
        is_free: &impl Fn(SocketAddr) -> bool,
    ) -> Option<Allocated> {
        let bars = self.sources[number];
        if is_barred(bars.exhausted, remote, now) {
            return None;
        }
        let prefix = self.predictor.as_ref().and_then(|predictor| predictor.prefix(remote, local));
        if prefix.is_some() && !is_barred(bars.crowded, remote, now) {
            let found = self.search(local, is_free, |steering, port| {
                let queue =
                    steering.predictor.as_ref().zip(prefix).map(|(predictor, prefix)| predictor.queue(prefix, port));
                queue == Some(steering.core)
            });
            if let Some(local) = found {
                return Some(Allocated { local, is_elsewhere: false });
            }
            self.sources[number].crowded = Some((remote, now + EXHAUSTED_FOR));
        }
        let found = self.search(local, is_free, |_, _| true);
        if found.is_none() {
            self.sources[number].exhausted = Some((remote, now + EXHAUSTED_FOR));
        }
        found.map(|local| Allocated { local, is_elsewhere: prefix.is_some() })
    }

    /// The next of this core's ports that is wanted and free.
    fn search(
        &mut self,
        local: IpAddr,
        is_free: &impl Fn(SocketAddr) -> bool,
        is_wanted: impl Fn(&Self, u16) -> bool,
    ) -> Option<SocketAddr> {
        for _ in 0..self.share {
            let port = self.first + self.core + self.cursor * self.cores;
            self.cursor = if self.cursor + 1 < self.share { self.cursor + 1 } else { 0 };
            let candidate = SocketAddr::new(local, port);
            if is_wanted(self, port) && !self.listened.contains(&port) && is_free(candidate) {
                return Some(candidate);
            }
        }
        None
    }

    /// Source ports that this core has towards each destination.
    pub(crate) fn ports(&self) -> usize {
        usize::from(self.share)
    }
}

/// A keyed hash of a client's address and of both ports; what a client can choose does not tell it the owner.
#[inline]
fn hash([first, second]: [u64; 2], source: IpAddr, ports: u32) -> u32 {
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        product as u64 ^ (product >> 64) as u64
    };
    let ports = u64::from(ports);
    let mixed = match source {
        IpAddr::V4(v4) => fold(u64::from(v4.to_bits()) << 32 ^ ports ^ first, second | 1),
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            fold(fold((bits >> 64) as u64 ^ first, bits as u64 ^ second) ^ ports ^ first, second | 1)
        }
    };
    // Once more, so that every bit of the input reaches the upper bits, which choose the core.
    (fold(mixed ^ second, first | 1) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::{BTreeMap, BTreeSet};

    const NOW: Instant = Instant::from_nanos(0);

    fn owner(steering: &Steering, port: u16) -> Option<usize> {
        steering.other_owner(remote().ip(), Ports { source: 80, destination: port })
    }

    fn remote() -> SocketAddr {
        "10.0.0.9:80".parse().expect("an address")
    }

    fn all_ports(steering: &mut Steering) -> BTreeSet<u16> {
        let mut seen = BTreeSet::new();
        let taken = core::cell::RefCell::new(BTreeSet::new());
        while let Some(local) = steering.allocate(0, remote().ip(), remote(), NOW, &|candidate: SocketAddr| {
            taken.borrow_mut().insert(candidate.port())
        }) {
            assert!(seen.insert(local.local.port()));
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
                    assert_eq!(owner(&steering, port), None);
                    let next = Steering::new((core + 1) % cores, cores, &EPHEMERAL_PORTS, 1);
                    assert_eq!(owner(&next, port), (cores > 1).then_some(core));
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
        assert_eq!(owner(&steering, 40_001), Some(1));
        steering.claim(40_001);
        steering.claim(40_002);
        assert_eq!(owner(&steering, 40_001), None);
        assert_eq!(all_ports(&mut steering), BTreeSet::from([40_000]));
        steering.release(40_001);
        assert_eq!(owner(&steering, 40_001), Some(1));
    }

    #[test]
    fn an_exhausted_destination_is_not_searched_again_at_once() {
        let mut steering = Steering::new(0, 1, &(1000..=1999), 0);
        let looks = core::cell::Cell::new(0);
        let none_free = |_: SocketAddr| {
            looks.set(looks.get() + 1);
            false
        };
        assert_eq!(steering.allocate(0, remote().ip(), remote(), NOW, &none_free), None);
        assert_eq!(steering.allocate(0, remote().ip(), remote(), NOW, &none_free), None);
        assert_eq!(looks.get(), 1000);
        let other = "10.0.0.10:80".parse().expect("an address");
        assert!(steering.allocate(0, remote().ip(), other, NOW, &|_| true).is_some());
        assert!(steering.allocate(0, remote().ip(), remote(), NOW + EXHAUSTED_FOR, &|_| true).is_some());
    }

    #[test]
    fn addresses_take_turns_and_one_without_port_is_passed_over() {
        let mut steering = Steering::new(0, 1, &(1000..=1004), 0);
        let address = |number: usize| IpAddr::from([10, 0, 0, 2 + number as u8]);
        let addresses = (0..3).map(|number| (number, address(number)));
        let taken = core::cell::RefCell::new(BTreeSet::new());
        // The first address has nothing but its port 1004 left; that it is full says nothing of the others.
        let is_free =
            |local: SocketAddr| (local.ip() != address(0) || local.port() == 1004) && taken.borrow_mut().insert(local);
        let mut found = Vec::new();
        while let Some(port) = steering.allocate_among(addresses.clone(), remote(), NOW, is_free) {
            found.push(port.local.ip());
        }
        assert_eq!(found.len(), 5 + 1 + 5);
        // Three full addresses are known to be full: nothing is searched any more.
        let none = |_: SocketAddr| panic!("searched again");
        assert_eq!(steering.allocate_among(addresses, remote(), NOW, none), None);
    }

    #[test]
    fn addresses_are_used_alike_also_by_servers_that_take_turns() {
        for (count, servers) in [(2, 1), (2, 2), (3, 1), (3, 3), (4, 2), (17, 5)] {
            let mut steering = Steering::new(0, 1, &EPHEMERAL_PORTS, 0);
            let addresses = (0..count).map(|number| (number, IpAddr::from([10, 0, 1, number as u8])));
            let mut connections = BTreeMap::<_, u32>::new();
            for turn in 0..count * servers * 100 {
                let port = steering.allocate_among(addresses.clone(), remote(), NOW, |_| true).expect("a port");
                *connections.entry((turn % servers, port.local.ip())).or_default() += 1;
            }
            let (least, most) = (connections.values().min(), connections.values().max());
            assert_eq!(connections.len(), count * servers);
            assert!(least >= Some(&90) && most <= Some(&110), "{count} addresses, {servers} servers: {connections:?}");
        }
    }

    #[test]
    fn every_core_names_the_same_owner_of_a_passive_flow_and_the_shares_are_even() {
        let key = PassiveOwner::Hash([0x1234_5678_9abc_def0, 0x0fed_cba9_8765_4321]);
        let all: Vec<_> = (0..5).map(|core| Steering::new(core, 5, &EPHEMERAL_PORTS, 0).with_passive(key)).collect();
        let mut shares = [0; 5];
        for client in 0..5_000_u32 {
            let source = if client % 2 == 0 {
                IpAddr::V4((0x0a00_0000 + client / 64).into())
            } else {
                IpAddr::V6((0xfe80_u128 << 112 | u128::from(client / 64)).into())
            };
            let ports = Ports { source: 1024 + client as u16, destination: 80 };
            let named = |core: usize| all[core].other_owner(source, ports).unwrap_or(core);
            assert!((1..5).all(|core| named(core) == named(0)));
            shares[named(0)] += 1;
        }
        assert!(shares.iter().all(|share| (850..1150).contains(share)), "{shares:?}");
    }

    #[test]
    fn a_listened_port_of_the_range_goes_to_the_owner_of_a_passive_flow() {
        let mut steering =
            Steering::new(0, 2, &(40_000..=40_003), 0).with_passive(PassiveOwner::Hash([!7 << 3, !0 / 5]));
        assert_eq!(owner(&steering, 40_001), Some(1));
        steering.claim(40_001);
        let owners = (1..100).map(|source| steering.other_owner(remote().ip(), Ports { source, destination: 40_001 }));
        assert!(owners.clone().any(|owner| owner.is_none()) && owners.clone().any(|owner| owner == Some(1)));
    }

    #[test]
    fn answers_arrive_here_as_long_as_there_are_such_ports_and_elsewhere_when_there_are_not() {
        let spread = Spread { key: core::array::from_fn(|i| (i * 37 + 11) as u8), table_len: 128 };
        let mut steering = Steering::new(1, 4, &EPHEMERAL_PORTS, 5).with_spread(Some(&spread));
        let taken = core::cell::RefCell::new(BTreeSet::new());
        let local = "10.0.0.2".parse().expect("an address");
        let (mut here, mut elsewhere) = (0, 0);
        let mut now = NOW;
        while let Some(port) = steering
            .allocate(0, local, remote(), now, &|candidate: SocketAddr| taken.borrow_mut().insert(candidate.port()))
        {
            let to_us = Ports { source: remote().port(), destination: port.local.port() };
            assert_eq!(steering.other_owner(remote().ip(), to_us), None, "the port still names the owner");
            let predicted = steering.is_mispredicted(remote(), port.local, 1);
            assert_eq!(predicted, !port.is_elsewhere);
            (here, elsewhere) = (here + u32::from(predicted), elsewhere + u32::from(port.is_elsewhere));
            assert!(predicted == (elsewhere == 0), "the good ones come first");
            // Keeps the count of mispredictions, of which there are none here, away from its limit.
            steering.mispredictions = 0;
            now = now + Duration::from_micros(1);
        }
        assert_eq!((here + elsewhere) as usize, steering.ports());
        assert!((1500..2100).contains(&here), "{here} of {}", steering.ports());
    }
}
