//! How many lines the console may print: a token bucket.
//!
//! A serial line costs an exit per byte; a flood of messages must not stop a load balancer. What exceeds the bucket is
//! dropped and counted, and the count is printed with the next line that passes.

/// Lines that may be printed at once after a quiet time.
pub const BURST_LINES: u64 = 200;
/// Lines per second in the long run.
pub const LINES_PER_SECOND: u64 = 50;
const NS_PER_LINE: u64 = 1_000_000_000 / LINES_PER_SECOND;
const _: () = assert!(BURST_LINES >= LINES_PER_SECOND, "a burst holds at least one second");

/// The bucket. Time is monotonic nanoseconds; a clock that steps back refills nothing.
#[derive(Debug)]
pub struct RateLimit {
    tokens: u64,
    refilled_at_ns: u64,
    dropped: u64,
}

/// What to do with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Print it, and report first that so many lines were dropped before it.
    Print {
        /// Lines dropped since the last printed one.
        dropped_before: u64,
    },
    /// Drop it; it has been counted.
    Drop,
}

impl RateLimit {
    /// A full bucket.
    pub const fn new() -> RateLimit {
        RateLimit { tokens: BURST_LINES, refilled_at_ns: 0, dropped: 0 }
    }

    /// Asks at `now_ns` for one line, which is as long as `lines` usual ones.
    pub fn admit(&mut self, now_ns: u64, lines: u64) -> Verdict {
        let earned = now_ns.saturating_sub(self.refilled_at_ns) / NS_PER_LINE;
        if earned > 0 {
            self.tokens = self.tokens.saturating_add(earned).min(BURST_LINES);
            self.refilled_at_ns += earned * NS_PER_LINE;
        }
        let Some(left) = self.tokens.checked_sub(lines) else {
            self.dropped += 1;
            return Verdict::Drop;
        };
        self.tokens = left;
        Verdict::Print { dropped_before: core::mem::take(&mut self.dropped) }
    }
}

impl Default for RateLimit {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn printed(limit: &mut RateLimit, now_ns: u64, lines: u64) -> u64 {
        (0..lines).filter(|_| limit.admit(now_ns, 1) != Verdict::Drop).count() as u64
    }

    #[test]
    fn a_burst_passes_and_the_rest_is_dropped() {
        let mut limit = RateLimit::new();
        assert_eq!(printed(&mut limit, 0, 1000), BURST_LINES);
        assert_eq!(limit.admit(SECOND, 1), Verdict::Print { dropped_before: 1000 - BURST_LINES });
    }

    #[test]
    fn the_first_line_after_a_flood_reports_the_loss() {
        let mut limit = RateLimit::new();
        printed(&mut limit, 0, BURST_LINES + 7);
        assert_eq!(limit.admit(SECOND, 1), Verdict::Print { dropped_before: 7 });
        assert_eq!(limit.admit(SECOND, 1), Verdict::Print { dropped_before: 0 });
    }

    #[test]
    fn in_the_long_run_the_rate_holds() {
        let mut limit = RateLimit::new();
        let total: u64 = (0..1000).map(|tick| printed(&mut limit, tick * SECOND / 100, 100)).sum();
        assert_eq!(total, BURST_LINES + 999 * LINES_PER_SECOND / 100);
    }

    #[test]
    fn a_long_line_counts_for_several() {
        let mut limit = RateLimit::new();
        printed(&mut limit, 0, BURST_LINES - 5);
        assert_ne!(limit.admit(0, 3), Verdict::Drop);
        assert_eq!(limit.admit(0, 3), Verdict::Drop, "two are left");
        assert_eq!(printed(&mut limit, 0, 3), 2);
        assert_eq!(limit.admit(SECOND, 1), Verdict::Print { dropped_before: 1 }, "the first was reported");
    }

    #[test]
    fn a_clock_that_steps_back_refills_nothing() {
        let mut limit = RateLimit::new();
        printed(&mut limit, 10 * SECOND, BURST_LINES);
        assert_eq!(limit.admit(SECOND, 1), Verdict::Drop);
    }
}
