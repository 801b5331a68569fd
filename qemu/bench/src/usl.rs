//! What counts imply for more cores: the universal scalability law.
//!
//! `C(N) = N / (1 + σ(N − 1) + κN(N − 1))` is the capacity of N cores in units of one. The denominator is the work that a
//! request takes on N cores in units of one core's, and that is what was counted; so σ and κ are fitted to counts rather than to
//! rates, and hold for what instructions show: not for cache misses, memory bandwidth, or the host's side of the network.

/// The two coefficients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usl {
    /// Contention: what waits in line.
    pub sigma: f64,
    /// Coherency: what is agreed upon by all pairs.
    pub kappa: f64,
}

impl Usl {
    /// Fits the law to pairs of cores and work per request, least squares with neither coefficient below 0. `None` without a
    /// figure for more than one core.
    #[must_use]
    pub fn fit(points: &[(f64, f64)]) -> Option<Self> {
        let one = points.iter().find(|(cores, _)| *cores == 1.0)?.1;
        let rest = points.iter().filter(|(cores, _)| *cores > 1.0);
        let (mut aa, mut ab, mut bb, mut ay, mut by) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (cores, work) in rest {
            let (a, b, y) = (cores - 1.0, cores * (cores - 1.0), work / one - 1.0);
            aa += a * a;
            ab += a * b;
            bb += b * b;
            ay += a * y;
            by += b * y;
        }
        if aa == 0.0 {
            return None;
        }
        let determinant = aa * bb - ab * ab;
        if determinant > f64::EPSILON * aa * bb {
            let (sigma, kappa) = ((ay * bb - by * ab) / determinant, (by * aa - ay * ab) / determinant);
            if sigma >= 0.0 && kappa >= 0.0 {
                return Some(Self { sigma, kappa });
            }
        }
        // One of them is 0: the one whose absence explains less.
        let (sigma, kappa) = ((ay / aa).max(0.0), (by / bb).max(0.0));
        let is_sigma = sigma * ay >= kappa * by;
        Some(if is_sigma { Self { sigma, kappa: 0.0 } } else { Self { sigma: 0.0, kappa } })
    }

    /// Capacity of so many cores, in units of one.
    #[must_use]
    pub fn capacity(self, cores: f64) -> f64 {
        cores / (1.0 + self.sigma * (cores - 1.0) + self.kappa * cores * (cores - 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(usl: Usl, cores: f64) -> (f64, f64) {
        (cores, 1000.0 * cores / usl.capacity(cores))
    }

    #[test]
    fn a_law_is_found_again() {
        for (sigma, kappa) in [(0.02, 0.001), (0.05, 0.0), (0.0, 0.002), (0.0, 0.0)] {
            let law = Usl { sigma, kappa };
            let fitted = Usl::fit(&[1.0, 2.0, 4.0, 8.0].map(|cores| work(law, cores))).unwrap();
            assert!((fitted.sigma - sigma).abs() < 1e-9 && (fitted.kappa - kappa).abs() < 1e-9, "{fitted:?}");
        }
    }

    #[test]
    fn less_work_on_more_cores_is_no_more_than_linear() {
        let usl = Usl::fit(&[(1.0, 1000.0), (2.0, 990.0), (4.0, 950.0)]).unwrap();
        assert_eq!(usl.capacity(64.0), 64.0);
    }

    #[test]
    fn two_points_are_contention_alone() {
        let usl = Usl::fit(&[(1.0, 1000.0), (2.0, 1100.0)]).unwrap();
        assert!((usl.sigma - 0.1).abs() < 1e-9 && usl.kappa == 0.0, "{usl:?}");
        assert_eq!(Usl::fit(&[(1.0, 1000.0)]), None);
        assert_eq!(Usl::fit(&[(2.0, 1000.0)]), None);
    }
}
