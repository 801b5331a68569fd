//! Turns in proportion to weights.

use alloc::boxed::Box;
use alloc::vec::Vec;

/// Longest round of a schedule. Weights that would need more are rounded.
const SCHEDULE_LEN_MAX: usize = 65_536;

/// Servers in the order of their turns, each as often as its weight says, evenly spread: a server of weight w has its
/// turns at (k + 1/2) / w of the round.
pub(super) fn schedule(weights: &[u16]) -> Box<[u16]> {
    let divisor = divisor(weights);
    let total: usize = weights.iter().map(|&weight| usize::from(weight / divisor)).sum();
    let shrink = total.div_ceil(SCHEDULE_LEN_MAX).max(1);
    let mut turns = Vec::new();
    for (index, &weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0) {
        let count = (usize::from(weight / divisor) / shrink).max(1) as u64;
        let places = (0..count).map(|k| ((2 * k + 1) * (1 << 32) / (2 * count), index as u16));
        turns.extend(places);
    }
    turns.sort_unstable();
    turns.into_iter().map(|(_, index)| index).collect()
}

/// What all weights have in common, at least 1.
pub(super) fn divisor(weights: &[u16]) -> u16 {
    weights.iter().fold(0, |a, &b| gcd(a, b)).max(1)
}

fn gcd(mut a: u16, mut b: u16) -> u16 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_follow_the_weights_evenly() {
        assert_eq!(*schedule(&[1, 1]), [0, 1]);
        assert_eq!(*schedule(&[256, 256, 256]), [0, 1, 2]);
        assert_eq!(*schedule(&[3, 1]), [0, 0, 1, 0]);
        assert_eq!(*schedule(&[0, 5]), [1]);
        let turns = schedule(&[5, 3, 2]);
        for (index, weight) in [(0, 5), (1, 3), (2, 2)] {
            assert_eq!(turns.iter().filter(|&&turn| turn == index).count(), weight);
        }
        let many = schedule(&[255; 4096]);
        assert_eq!(many.len(), 4096);
        let odd: Vec<u16> = (0..4096).map(|n| 1 + n % 256).collect();
        assert!(schedule(&odd).len() <= SCHEDULE_LEN_MAX + odd.len());
    }
}
