//! Sequence numbers (RFC 9293, 3.4): points on a circle of 2^32, compared by the shorter way round.

use core::cmp::Ordering;
use core::ops::{Add, AddAssign, Sub};

/// A sequence number. Comparison is meaningful for numbers less than 2^31 apart, and no operation panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SeqNumber(pub u32);

impl SeqNumber {
    /// The distance to `later`, which is 0 when that is not later.
    #[inline(always)]
    pub fn until(self, later: Self) -> u32 {
        if later > self { later - self } else { 0 }
    }

    /// Whether the number lies in `start..end`.
    #[inline(always)]
    pub fn is_within(self, start: Self, end: Self) -> bool {
        self >= start && self < end
    }

    /// The later of two.
    #[inline(always)]
    pub fn max(self, other: Self) -> Self {
        if other > self { other } else { self }
    }

    /// The earlier of two.
    #[inline(always)]
    pub fn min(self, other: Self) -> Self {
        if other < self { other } else { self }
    }

    #[inline(always)]
    fn distance(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0) as i32
    }
}

impl Add<u32> for SeqNumber {
    type Output = Self;

    #[inline(always)]
    fn add(self, len: u32) -> Self {
        Self(self.0.wrapping_add(len))
    }
}

impl AddAssign<u32> for SeqNumber {
    #[inline(always)]
    fn add_assign(&mut self, len: u32) {
        *self = *self + len;
    }
}

impl Sub<u32> for SeqNumber {
    type Output = Self;

    #[inline(always)]
    fn sub(self, len: u32) -> Self {
        Self(self.0.wrapping_sub(len))
    }
}

impl Sub for SeqNumber {
    type Output = u32;

    /// How far `earlier` lies behind; wraps when it lies ahead.
    #[inline(always)]
    fn sub(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }
}

impl PartialOrd for SeqNumber {
    #[inline(always)]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.distance(*other).cmp(&0))
    }

    #[inline(always)]
    fn lt(&self, other: &Self) -> bool {
        self.distance(*other) < 0
    }

    #[inline(always)]
    fn le(&self, other: &Self) -> bool {
        self.distance(*other) <= 0
    }

    #[inline(always)]
    fn gt(&self, other: &Self) -> bool {
        self.distance(*other) > 0
    }

    #[inline(always)]
    fn ge(&self, other: &Self) -> bool {
        self.distance(*other) >= 0
    }
}

#[cfg(test)]
mod tests {
    use super::SeqNumber;

    #[test]
    fn comparison_goes_round_the_circle() {
        let (before, after) = (SeqNumber(u32::MAX - 1), SeqNumber(3));
        assert!(before < after);
        assert_eq!(after - before, 5);
        assert_eq!(before.until(after), 5);
        assert_eq!(after.until(before), 0);
        assert!(SeqNumber(0).is_within(before, after));
        assert!(!after.is_within(before, after));
    }
}
