//! So many per second, and no more.

use weir_socket::Instant;

use crate::time::{Nanoseconds, SECOND_NS};

/// A budget that is renewed each second.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    per_second: u32,
    left: u32,
    renewed_at: Instant,
}

impl RateLimiter {
    pub fn new(per_second: u32) -> Self {
        Self { per_second, left: per_second, renewed_at: Instant::default() }
    }

    /// Whether one more is allowed now.
    pub fn allow(&mut self, now: Instant) -> bool {
        if now.since_ns(self.renewed_at) >= SECOND_NS {
            (self.left, self.renewed_at) = (self.per_second, now);
        }
        let allowed = self.left > 0;
        self.left -= u32::from(allowed);
        allowed
    }
}
