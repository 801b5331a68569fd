//! Consistent hashing by Maglev (Eisenbud et al., NSDI 2016, section 3.4).
//!
//! Each server has a permutation of all places of a table, made of its name; the servers claim places in turn, a server of
//! weight w as often as w says, until all are taken. Images with the same names and weights have the same table, and
//! another server changes few places but its own.

use alloc::boxed::Box;
use alloc::vec;

use super::schedule::divisor;

/// Places of the table: a prime, so that each step reaches all of them.
const PLACES: usize = 65_537;

/// What stands at a place that nobody claimed yet.
const FREE: u16 = u16::MAX;
const _: () = assert!(weir_config::SERVERS_MAX < FREE as usize);

pub(super) struct Maglev(Box<[u16]>);

impl Maglev {
    /// The table of servers, given by name and weight; a weight of 0 claims nothing.
    pub(super) fn new<'n>(servers: impl Iterator<Item = (&'n str, u16)> + Clone) -> Self {
        let weights: Box<[u16]> = servers.clone().map(|(_, weight)| weight).collect();
        let divisor = divisor(&weights);
        let mut claims: Box<[Claim]> = servers.map(|(name, weight)| Claim::new(name, weight / divisor)).collect();
        let mut table = vec![FREE; PLACES].into_boxed_slice();
        let mut left = if weights.iter().any(|&weight| weight > 0) { PLACES } else { 0 };
        while left > 0 {
            for (index, claim) in claims.iter_mut().enumerate() {
                for _ in 0..claim.turns.min(left) {
                    claim.take(&mut table, index as u16);
                    left -= 1;
                }
            }
        }
        Self(table)
    }

    /// The server at the place that `hash` says.
    #[inline]
    pub(super) fn find(&self, hash: u64) -> Option<u16> {
        self.0.get((hash % PLACES as u64) as usize).copied().filter(|&server| server != FREE)
    }
}

/// A server's way through the table.
struct Claim {
    place: usize,
    step: usize,
    turns: usize,
}

impl Claim {
    fn new(name: &str, turns: u16) -> Self {
        let hash = hash(name.as_bytes());
        Self {
            place: (hash % PLACES as u64) as usize,
            step: (mix(hash) % (PLACES as u64 - 1)) as usize + 1,
            turns: turns.into(),
        }
    }

    /// Takes the next free place; there is one.
    fn take(&mut self, table: &mut [u16], server: u16) {
        loop {
            let place = self.place;
            self.place = (self.place + self.step) % PLACES;
            if let Some(owner @ &mut FREE) = table.get_mut(place) {
                *owner = server;
                return;
            }
        }
    }
}

/// The same on every image: FNV-1a, and its bits mixed.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    mix(bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)))
}

/// The finaliser of splitmix64: every bit of the input changes half of the output.
#[inline]
pub(crate) const fn mix(mut word: u64) -> u64 {
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    fn table(servers: &[(String, u16)]) -> Maglev {
        Maglev::new(servers.iter().map(|(name, weight)| (name.as_str(), *weight)))
    }

    fn servers(count: usize) -> Vec<(String, u16)> {
        (0..count).map(|n| (format!("server-{n}"), 1)).collect()
    }

    fn share(table: &Maglev, server: u16) -> f64 {
        table.0.iter().filter(|&&owner| owner == server).count() as f64 / PLACES as f64
    }

    #[test]
    fn places_follow_the_weights() {
        let equal = table(&servers(10));
        assert!((0..10).all(|server| (share(&equal, server) - 0.1).abs() < 0.001));
        let mut weighted = servers(3);
        (weighted[0].1, weighted[1].1, weighted[2].1) = (20, 10, 0);
        let weighted = table(&weighted);
        assert!((share(&weighted, 0) - 2.0 / 3.0).abs() < 0.001);
        assert_eq!(share(&weighted, 2), 0.0);
        assert_eq!(table(&[]).find(7), None);
    }

    #[test]
    fn a_server_that_leaves_moves_few_keys_of_the_others() {
        let all = table(&servers(50));
        let mut fewer = servers(50);
        fewer[17].1 = 0;
        let fewer = table(&fewer);
        let moved = (0..100_000_u64)
            .map(mix)
            .filter(|&key| all.find(key) != Some(17) && all.find(key) != fewer.find(key))
            .count();
        assert!(moved < 3_000, "{moved} of 98,000");
    }
}
