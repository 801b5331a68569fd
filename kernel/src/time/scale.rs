//! Converting counts of one clock into another by one multiplication.

/// A factor in fixed point: 16 bits before, 48 bits behind the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    multiplier: u64,
}

const FRACTION_BITS: u32 = 48;

impl Scale {
    /// The factor `numerator / denominator`; `None` when it is zero or does not fit.
    pub fn ratio(numerator: u64, denominator: u64) -> Option<Scale> {
        let multiplier = (u128::from(numerator) << FRACTION_BITS).checked_div(denominator.into())?;
        u64::try_from(multiplier).ok().filter(|multiplier| *multiplier != 0).map(Scale::from_bits)
    }

    /// From the factor in 1/2^48.
    pub const fn from_bits(multiplier: u64) -> Scale {
        Scale { multiplier }
    }

    /// The factor in 1/2^48.
    pub const fn bits(self) -> u64 {
        self.multiplier
    }

    /// `count` times the factor, rounded down. The result must fit; beyond that the upper bits are lost.
    #[inline(always)]
    pub const fn apply(self, count: u64) -> u64 {
        ((count as u128 * self.multiplier as u128) >> FRACTION_BITS) as u64
    }

    /// From kvmclock's pair: a 32-bit fraction and a shift of the count (KVM documentation, *MSR_KVM_SYSTEM_TIME_NEW*).
    pub fn from_pvclock(fraction: u32, shift: i8) -> Option<Scale> {
        let up = 16 + i32::from(shift);
        let multiplier = match u32::try_from(up) {
            Ok(up) => u128::from(fraction).checked_shl(up)?,
            Err(_) => u128::from(fraction) >> up.unsigned_abs().min(127),
        };
        u64::try_from(multiplier).ok().filter(|multiplier| *multiplier != 0).map(Scale::from_bits)
    }

    /// The frequency in Hz of a counter whose ticks this factor converts to nanoseconds.
    pub fn hertz(self) -> u64 {
        ((1_000_000_000u128 << FRACTION_BITS) / u128::from(self.multiplier.max(1))) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_of_three_gigahertz_runs_for_a_year_without_error_above_a_second() {
        let scale = Scale::ratio(1_000_000_000, 3_000_000_000).unwrap();
        let year_s = 365 * 86_400;
        let ns = scale.apply(year_s * 3_000_000_000);
        assert!(ns.abs_diff(year_s * 1_000_000_000) < 1_000_000_000, "{ns}");
    }

    #[test]
    fn slow_and_fast_counters_convert() {
        for hertz in [1_000_000, 3_579_545, 999_999_999, 5_000_000_000] {
            let scale = Scale::ratio(1_000_000_000, hertz).unwrap();
            assert!(scale.hertz().abs_diff(hertz) <= hertz / 1_000_000 + 1);
            assert!(scale.apply(hertz).abs_diff(1_000_000_000) < 10);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(Scale::ratio(1, 0), None);
        assert_eq!(Scale::ratio(0, 5), None);
        assert_eq!(Scale::ratio(u64::MAX, 1), None);
        assert_eq!(Scale::from_pvclock(0, 0), None);
        assert_eq!(Scale::from_pvclock(u32::MAX, 127), None);
        assert_eq!(Scale::from_pvclock(1, -128), None);
    }

    #[test]
    fn kvmclock_gives_what_kvm_computes() {
        // 2.5 GHz: KVM shifts right by 1 and multiplies with 0.8.
        let scale = Scale::from_pvclock((0.8 * 4_294_967_296.0) as u32, -1).unwrap();
        assert!(scale.hertz().abs_diff(2_500_000_000) < 10);
        // 500 MHz: no shift to the right is needed, one to the left.
        let scale = Scale::from_pvclock(1 << 31, 2).unwrap();
        assert_eq!(scale.hertz(), 500_000_000);
    }
}
