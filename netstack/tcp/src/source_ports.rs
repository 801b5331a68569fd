//! Source ports in use: of the flows that we opened, for each pair of an address of ours and a destination.
//!
//! Ports run out towards one destination at a time, so what counts is the pair that has most. A flow counts from its SYN to
//! its end; in TIME-WAIT until its endpoints may be used again: for its whole time, or with timestamps for a second
//! (RFC 6191). The count goes up and down once in a flow's life.

use alloc::collections::BTreeMap;

use weir_socket::Instant;

use crate::tuple::Tuple;

/// Pairs that are counted; flows of further ones are not, as long as all of these have some.
const PAIRS_MAX: usize = 16_384;

/// Bits of a period in nanoseconds: 1.07 s, about what RFC 6191 lets a port rest.
const PERIOD_BITS: u32 = 30;

/// Destination port, destination, and our address.
type Pair = (u16, u128, u128);

/// How many source ports are in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SourcePortUse {
    /// By all flows that we opened.
    pub total: u64,
    /// By those from one address towards one destination, where there are most.
    pub max: u64,
}

#[derive(Default)]
pub(crate) struct SourcePorts {
    /// A pair without port stays until room is wanted: its next flow allocates nothing.
    pairs: BTreeMap<Pair, Count>,
    /// The period in which room was last made.
    swept: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    taken: u32,
    /// Ports that came to rest in `period`, and in the one before.
    resting: [u32; 2],
    period: u32,
}

impl SourcePorts {
    /// A flow is opened. False: it is not counted, and must not be released.
    pub fn take(&mut self, tuple: &Tuple, now: Instant) -> bool {
        let pair = pair(tuple);
        if self.pairs.len() >= PAIRS_MAX && !self.pairs.contains_key(&pair) && !self.makes_room(now) {
            return false;
        }
        self.pairs.entry(pair).or_default().taken += 1;
        true
    }

    /// Looks at all pairs, so not for every flow.
    #[cold]
    fn makes_room(&mut self, now: Instant) -> bool {
        if core::mem::replace(&mut self.swept, period(now)) != period(now) {
            self.pairs.retain(|_, count| count.in_use(now) > 0);
        }
        self.pairs.len() < PAIRS_MAX
    }

    /// A flow that was counted is gone: its port is free.
    pub fn release(&mut self, tuple: &Tuple) {
        if let Some(count) = self.pairs.get_mut(&pair(tuple)) {
            count.taken -= 1;
        }
    }

    /// A flow that was counted is gone, and its port will be free after a period.
    pub fn rest(&mut self, tuple: &Tuple, now: Instant) {
        if let Some(count) = self.pairs.get_mut(&pair(tuple)) {
            count.taken -= 1;
            count.enter(now);
            count.resting[0] += 1;
        }
    }

    /// Looks at all pairs.
    pub fn in_use(&self, now: Instant) -> SourcePortUse {
        let counts = self.pairs.values().map(|count| count.in_use(now));
        counts.fold(SourcePortUse::default(), |sum, count| SourcePortUse {
            total: sum.total + count,
            max: sum.max.max(count),
        })
    }
}

impl Count {
    /// Ports that were put to rest two periods ago or earlier are free.
    fn enter(&mut self, now: Instant) {
        let period = period(now);
        self.resting = match period.wrapping_sub(self.period) {
            0 => self.resting,
            1 => [0, self.resting[0]],
            _ => [0, 0],
        };
        self.period = period;
    }

    fn in_use(mut self, now: Instant) -> u64 {
        self.enter(now);
        u64::from(self.taken) + self.resting.into_iter().map(u64::from).sum::<u64>()
    }
}

fn period(now: Instant) -> u32 {
    (now.as_nanos() >> PERIOD_BITS) as u32
}

fn pair(tuple: &Tuple) -> Pair {
    (tuple.remote_port(), tuple.remote.to_bits(), tuple.local.to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_nanos(5 << PERIOD_BITS);

    /// So many periods later.
    fn periods(count: u64) -> Instant {
        Instant::from_nanos(NOW.as_nanos() + (count << PERIOD_BITS))
    }

    fn tuple(port: u16, server: u32) -> Tuple {
        Tuple::new(([10, 0, 0, 1], port).into(), (server.to_be_bytes(), 80).into())
    }

    fn in_use(ports: &SourcePorts, now: Instant) -> (u64, u64) {
        let SourcePortUse { total, max } = ports.in_use(now);
        (total, max)
    }

    #[test]
    fn the_destination_that_has_most_is_told_apart() {
        let mut ports = SourcePorts::default();
        for (port, server) in [(1, 7), (2, 7), (1, 8)] {
            assert!(ports.take(&tuple(port, server), NOW));
        }
        assert_eq!(in_use(&ports, NOW), (3, 2));
        ports.release(&tuple(2, 7));
        assert_eq!(in_use(&ports, NOW), (2, 1));
    }

    #[test]
    fn a_port_rests_for_one_to_two_periods() {
        let mut ports = SourcePorts::default();
        ports.take(&tuple(1, 7), NOW);
        ports.take(&tuple(2, 7), NOW);
        ports.rest(&tuple(1, 7), NOW);
        assert_eq!((in_use(&ports, NOW), in_use(&ports, periods(1))), ((2, 2), (2, 2)));
        ports.rest(&tuple(2, 7), periods(1));
        assert_eq!((in_use(&ports, periods(1)), in_use(&ports, periods(2))), ((2, 2), (1, 1)));
        assert_eq!(in_use(&ports, periods(3)), (0, 0));
    }

    #[test]
    fn destinations_without_flow_make_room() {
        let mut ports = SourcePorts::default();
        assert!((0..PAIRS_MAX as u32).all(|server| ports.take(&tuple(1, server), NOW)));
        assert!(!ports.take(&tuple(1, u32::MAX), NOW) && ports.take(&tuple(2, 9), NOW));
        ports.release(&tuple(1, 10));
        assert!(!ports.take(&tuple(1, u32::MAX), NOW), "room is looked for once in a period");
        assert!(ports.take(&tuple(1, u32::MAX), periods(1)));
        assert_eq!(in_use(&ports, periods(1)), (PAIRS_MAX as u64 + 1, 2));
    }
}
