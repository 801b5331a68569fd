//! How long something took, in buckets that Prometheus can add up over cores and instances.

/// Upper bounds of the buckets in nanoseconds, and in seconds as `le` says them. What is above the last one has a bucket too.
const BOUNDS: [(u64, &str); 14] = [
    (250_000, "0.00025"),
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1"),
    (2_500_000_000, "2.5"),
    (10_000_000_000, "10"),
];

/// Buckets of one histogram.
pub(crate) const BUCKETS: usize = BOUNDS.len() + 1;

/// Durations, counted by size.
#[derive(Debug, Clone, Default)]
pub(crate) struct Histogram {
    counts: [u64; BUCKETS],
    sum_ns: u64,
}

impl Histogram {
    /// Counts one of so many nanoseconds. The usual ones are short, and found first.
    #[inline]
    pub(crate) fn add(&mut self, ns: u64) {
        let bucket = BOUNDS.iter().position(|&(bound, _)| ns <= bound).unwrap_or(BOUNDS.len());
        self.counts[bucket] += 1;
        self.sum_ns += ns;
    }

    /// How many there were up to each bound, as Prometheus wants them.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let bounds = BOUNDS.iter().map(|&(_, seconds)| seconds).chain(["+Inf"]);
        let mut below = 0;
        bounds.zip(self.counts).map(move |(bound, count)| {
            below += count;
            (bound, below)
        })
    }

    /// All of them together, in nanoseconds.
    pub(crate) fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use core::time::Duration;

    #[test]
    fn a_bound_belongs_to_its_bucket_and_counts_add_up() {
        let mut histogram = Histogram::default();
        for ns in [0, 250_000, 250_001, 10_000_000_000, 10_000_000_001, 60_000_000_000] {
            histogram.add(ns);
        }
        let buckets: Vec<_> = histogram.buckets().collect();
        assert_eq!(buckets.len(), BUCKETS);
        assert_eq!(buckets[..3], [("0.00025", 2), ("0.0005", 3), ("0.001", 3)]);
        assert_eq!(buckets[12..], [("2.5", 3), ("10", 4), ("+Inf", 6)]);
        assert_eq!((histogram.count(), histogram.sum_ns()), (6, 80_000_500_002));
    }

    #[test]
    fn bounds_are_in_order_and_said_as_they_are() {
        for ((low, _), (high, _)) in BOUNDS.iter().zip(&BOUNDS[1..]) {
            assert!(low < high);
        }
        for (bound, seconds) in BOUNDS {
            let seconds: f64 = seconds.parse().expect("a number");
            assert_eq!(Duration::from_secs_f64(seconds), Duration::from_nanos(bound));
        }
    }
}
