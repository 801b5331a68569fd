//! Arithmetic on instants in plain nanoseconds: a `Duration` costs divisions on the hot path. [`Stamp`] and [`Span`] are what
//! a flow keeps of instants and durations: half as large.

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

/// When something happened, for its age: 4 bytes in units of `2^BITS` nanoseconds, taken without a division.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stamp<const BITS: u32 = MILLISECOND_BITS>(u32);

/// In units of a second, for ages of up to a century.
pub(crate) type LongStamp = Stamp<SECOND_BITS>;

/// 1.05 ms. Ages are modulo 52 days: nothing may depend on one that can be longer.
const MILLISECOND_BITS: u32 = 20;
/// 1.07 s.
const SECOND_BITS: u32 = 30;
/// The longest age of a [`Stamp`] that is waited for.
pub(crate) const AGE_MAX_NS: u64 = 45 * 24 * 3_600 * SECOND_NS;

const _: () = assert!(AGE_MAX_NS < (u32::MAX as u64) << MILLISECOND_BITS);

impl<const BITS: u32> Stamp<BITS> {
    #[inline(always)]
    pub fn new(at: Instant) -> Self {
        Self((at.as_nanos() >> BITS) as u32)
    }

    /// Nanoseconds since then, up to a unit more or less.
    #[inline(always)]
    pub fn age_ns(self, now: Instant) -> u64 {
        u64::from(Self::new(now).0.wrapping_sub(self.0)) << BITS
    }

    /// As [`Self::age_ns`], and never too little: for what must not come late.
    #[inline(always)]
    pub fn age_at_most_ns(self, now: Instant) -> u64 {
        self.age_ns(now) + (1 << BITS)
    }
}

/// A duration of up to 68 s in 4 bytes: units of 16 ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Span(u32);

const SPAN_BITS: u32 = 4;

impl Span {
    pub const MAX: Self = Self(u32::MAX);

    /// A longer one becomes the longest, a shorter one than a unit 0.
    #[inline(always)]
    pub const fn from_ns(ns: u64) -> Self {
        let units = ns >> SPAN_BITS;
        if units > u32::MAX as u64 { Self::MAX } else { Self(units as u32) }
    }

    #[inline(always)]
    pub const fn ns(self) -> u64 {
        (self.0 as u64) << SPAN_BITS
    }

    /// For sums and averages.
    #[inline(always)]
    pub const fn units(self) -> u32 {
        self.0
    }

    #[inline(always)]
    pub const fn from_units(units: u32) -> Self {
        Self(units)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_right_by_a_unit_also_where_the_stamp_wraps() {
        let wrap_ns = (1_u64 << 32) << MILLISECOND_BITS;
        for at_ns in [0, 5 * SECOND_NS, wrap_ns - MILLISECOND_NS, wrap_ns + 7] {
            for age_ns in [0, 1, 40 * MILLISECOND_NS, 7_200 * SECOND_NS, AGE_MAX_NS] {
                let (at, now) = (Instant::from_nanos(at_ns), Instant::from_nanos(at_ns + age_ns));
                let stamp: Stamp = Stamp::new(at);
                assert!(stamp.age_ns(now).abs_diff(age_ns) <= 1 << MILLISECOND_BITS);
                assert!(stamp.age_at_most_ns(now) >= age_ns);
            }
        }
    }

    #[test]
    fn a_span_keeps_what_a_round_trip_can_be() {
        assert_eq!(Span::from_ns(60 * SECOND_NS).ns(), 60 * SECOND_NS);
        assert_eq!(Span::from_ns(u64::MAX), Span::MAX);
        assert!(Span::MAX.ns() > 68 * SECOND_NS);
        assert_eq!(Span::from_ns(1_234_567).ns(), 1_234_560);
    }
}
