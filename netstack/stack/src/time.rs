//! When and how often something is done.

use core::time::Duration;

use weir_socket::Instant;

/// A deadline that never comes.
pub(crate) const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// Allows one act per interval on average and a number of them at once (the virtual scheduling form of the leaky bucket,
/// ITU-T I.371): one number of state and no division.
#[derive(Debug, Clone)]
pub(crate) struct RateLimit {
    /// When the next act would be due if acts came evenly spaced.
    due: Instant,
    interval: Duration,
    tolerance: Duration,
}

impl RateLimit {
    /// `per_second` acts (at least one), up to `burst` of them at once.
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self { due: Instant::default(), interval, tolerance: interval * burst.saturating_sub(1) }
    }

    /// Whether the act is allowed now; if so it is counted.
    pub(crate) fn allow(&mut self, now: Instant) -> bool {
        if self.due > now + self.tolerance {
            return false;
        }
        self.due = self.due.max(now) + self.interval;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Instant, RateLimit};

    #[test]
    fn a_burst_then_the_rate() {
        let mut limit = RateLimit::new(10, 5);
        let start = Instant::from_nanos(1_000_000_000);
        let allowed = |limit: &mut RateLimit, now| (0..100).filter(|_| limit.allow(now)).count();
        assert_eq!(allowed(&mut limit, start), 5);
        assert_eq!(allowed(&mut limit, start + Duration::from_millis(100)), 1);
        assert_eq!(allowed(&mut limit, start + Duration::from_millis(350)), 2);
        assert_eq!(allowed(&mut limit, start + Duration::from_secs(60)), 5);
    }
}
