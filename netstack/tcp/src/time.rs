//! Arithmetic on instants in plain nanoseconds: a `Duration` costs divisions on the hot path.

use core::time::Duration;

use weir_socket::Instant;

pub(crate) const MILLISECOND_NS: u64 = 1_000_000;
pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// The end of time: a deadline that is not armed.
pub(crate) const NEVER: Instant = Instant::from_nanos(u64::MAX);

pub(crate) trait Nanoseconds {
    fn plus_ns(self, ns: u64) -> Self;
    fn since_ns(self, earlier: Self) -> u64;
}

impl Nanoseconds for Instant {
    #[inline(always)]
    fn plus_ns(self, ns: u64) -> Self {
        Self::from_nanos(self.as_nanos().saturating_add(ns))
    }

    #[inline(always)]
    fn since_ns(self, earlier: Self) -> u64 {
        self.as_nanos().saturating_sub(earlier.as_nanos())
    }
}

pub(crate) fn duration_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
