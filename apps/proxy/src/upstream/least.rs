//! Which server has the least to do: a tournament over all of them.

use alloc::boxed::Box;
use alloc::vec;

/// A binary tree in one array: leaves are the servers' loads, each inner node is the number of the least loaded leaf below
/// it. A change costs one comparison per level.
pub(super) struct Least {
    loads: Box<[u64]>,
    /// Node 1 is the root; node n has the children 2n and 2n + 1; the leaves of a full tree would follow.
    winners: Box<[u16]>,
}

/// A server that gets nothing.
pub(super) const OUT: u64 = u64::MAX;

impl Least {
    /// Nobody gets anything yet.
    pub(super) fn new(servers: usize) -> Self {
        let leaves = servers.next_power_of_two().max(2);
        let mut least =
            Self { loads: vec![OUT; leaves].into_boxed_slice(), winners: vec![0; leaves].into_boxed_slice() };
        (0..leaves).step_by(2).for_each(|leaf| least.play_from(leaf));
        least
    }

    /// The server with the least load, unless all are out.
    #[inline]
    pub(super) fn first(&self) -> Option<u16> {
        let winner = *self.winners.get(1)?;
        self.loads.get(usize::from(winner)).is_some_and(|&load| load != OUT).then_some(winner)
    }

    pub(super) fn is_out(&self, server: u16) -> bool {
        self.loads.get(usize::from(server)) == Some(&OUT)
    }

    #[inline]
    pub(super) fn set(&mut self, server: u16, load: u64) {
        if let Some(known) = self.loads.get_mut(usize::from(server))
            && *known != load
        {
            *known = load;
            self.play_from(server.into());
        }
    }

    fn play_from(&mut self, leaf: usize) {
        let leaves = self.loads.len();
        let mut node = (leaves + leaf) / 2;
        while node > 0 {
            let player = |child: usize| match child.checked_sub(leaves) {
                Some(leaf) => leaf as u16,
                None => self.winners.get(child).copied().unwrap_or(0),
            };
            let load = |leaf: u16| self.loads.get(usize::from(leaf)).copied().unwrap_or(OUT);
            let (left, right) = (player(2 * node), player(2 * node + 1));
            let winner = if load(right) < load(left) { right } else { left };
            if let Some(place) = self.winners.get_mut(node) {
                *place = winner;
            }
            node /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::maglev::mix;

    #[test]
    fn the_first_is_always_the_one_with_the_least_load() {
        for servers in [1, 2, 3, 7, 100] {
            let mut least = Least::new(servers);
            let mut loads = vec![OUT; servers];
            assert_eq!(least.first(), None);
            for step in 0..2_000_u64 {
                let server = (mix(step) % servers as u64) as usize;
                let load = if mix(step + 1).is_multiple_of(4) { OUT } else { mix(step + 2) % 1_000 };
                loads[server] = load;
                least.set(server as u16, load);
                let expected = loads.iter().min().filter(|&&load| load != OUT);
                assert_eq!(least.first().map(|first| &loads[usize::from(first)]), expected, "{servers} {step}");
            }
        }
    }
}
