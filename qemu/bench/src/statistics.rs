//! Few numbers: the middle, and how far they spread.

/// The middle of some figures with the least and the largest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The least.
    pub least: f64,
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The largest.
    pub largest: f64,
}

impl Spread {
    /// Of some figures; `None` of none, or if one of them is no number.
    #[must_use]
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        if sorted.iter().any(|figure| figure.is_nan()) {
            return None;
        }
        sorted.sort_by(f64::total_cmp);
        let (least, largest) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        } else {
            sorted[middle]
        };
        Some(Self { least, median, largest })
    }

    /// Of the ratios of figures that belong together, round by round; a round with nothing below has no ratio.
    #[must_use]
    pub fn of_ratios(above: &[f64], below: &[f64]) -> Option<Self> {
        Self::of(above.iter().zip(below).filter(|(_, below)| **below > 0.0).map(|(above, below)| above / below))
    }
}

/// The value below which a share of the sorted figures lie (nearest rank); `None` of none.
#[must_use]
pub fn percentile(sorted: &[f64], percent: f64) -> Option<f64> {
    let rank = (percent * sorted.len() as f64 / 100.0).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_odd_and_even_counts() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { least: 1.0, median: 2.0, largest: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([1.0, f64::NAN]), None);
    }

    #[test]
    fn ratios_belong_to_rounds() {
        // The machine was half as fast in the second round, for both.
        let spread = Spread::of_ratios(&[300.0, 150.0, 330.0], &[100.0, 50.0, 100.0]).unwrap();
        assert_eq!((spread.least, spread.median), (3.0, 3.0));
        assert!((spread.largest - 3.3).abs() < 1e-9);
        assert_eq!(Spread::of_ratios(&[100.0], &[0.0]), None);
    }

    #[test]
    fn percentiles_are_figures_that_occurred() {
        let sorted: Vec<f64> = (1..=1000).map(f64::from).collect();
        assert_eq!(
            [0.0, 50.0, 99.9, 100.0].map(|percent| percentile(&sorted, percent).unwrap()),
            [1.0, 500.0, 999.0, 1000.0]
        );
        assert_eq!(percentile(&[], 50.0), None);
    }
}
