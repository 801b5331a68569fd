//! How unevenly the cores are busy.

use alloc::vec::Vec;

/// What of the cores' time was known when it was asked for the last time.
#[derive(Debug, Default)]
pub struct Imbalance(Vec<u64>);

impl Imbalance {
    /// The busiest core's time since the last call, in thousandths of the mean: 1000 if all are alike, or nobody did anything.
    /// `busy` is the time of each core since it began.
    pub fn permille(&mut self, busy: Vec<u64>) -> u64 {
        let before = self.0.iter().copied().chain(core::iter::repeat(0));
        let since: Vec<u64> = busy.iter().zip(before).map(|(now, before)| now.saturating_sub(before)).collect();
        let sum: u64 = since.iter().sum();
        let most = since.iter().max().copied().unwrap_or(0);
        self.0 = busy;
        (most * 1000 * since.len() as u64).checked_div(sum).unwrap_or(1000)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_core_is_compared_with_the_mean_since_the_last_time() {
        let mut imbalance = Imbalance::default();
        assert_eq!(imbalance.permille(Vec::new()), 1000);
        assert_eq!(imbalance.permille([600, 200, 200, 200].into()), 2000);
        assert_eq!(imbalance.permille([600, 300, 300, 300].into()), 1333, "what was before does not count");
        assert_eq!(imbalance.permille([600, 300, 300, 300].into()), 1000, "nothing to do");
        assert_eq!(imbalance.permille([601, 301, 301, 301].into()), 1000);
    }
}
