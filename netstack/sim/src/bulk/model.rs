//! What the RFCs' models predict.

/// RFC 9438, 5: CUBIC's average window, in segments, when one in `1 / p` segments is lost: equation 5 with C = 0.4 and
/// beta = 0.7, or the window of a Reno-friendly flow when that is larger.
#[must_use]
pub fn cubic_segments(p: f64, round_trip_s: f64) -> f64 {
    let (c, beta) = (0.4_f64, 0.7_f64);
    let factor = (c * (3.0 + beta) / (4.0 * (1.0 - beta))).powf(0.25);
    (factor * (round_trip_s / p).powf(0.75)).max(reno_segments(p))
}

/// The window of RFC 5681's increase by one segment per round trip and decrease by half, in the same model: a sawtooth
/// between W/2 and W that carries `1 / p` segments per tooth, 3/4 W on the average. It is RFC 9438's `AVG_W_reno`, too.
#[must_use]
pub fn reno_segments(p: f64) -> f64 {
    (1.5 / p).sqrt()
}

/// Jain's fairness index: 1 when all have the same, `1 / n` when one has all.
#[must_use]
pub fn jain(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    if squares == 0.0 { 0.0 } else { sum * sum / (shares.len() as f64 * squares) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables of RFC 9438, 5.1: a round trip of 0.1 s and of 0.01 s.
    #[test]
    fn rfc_9438_5_1_tables_1_and_2() {
        for (p, reno, slow, fast) in [(1e-2, 12.0, 12.0, 12.0), (1e-3, 38.0, 38.0, 38.0), (1e-4, 120.0, 187.0, 120.0)] {
            assert!((reno_segments(p) / reno - 1.0).abs() < 0.03);
            assert!((cubic_segments(p, 0.1) / slow - 1.0_f64).abs() < 0.03, "{}", cubic_segments(p, 0.1));
            assert!((cubic_segments(p, 0.01) / fast - 1.0_f64).abs() < 0.03, "{}", cubic_segments(p, 0.01));
        }
    }

    #[test]
    fn jains_index() {
        assert!((jain(&[1.0, 1.0]) - 1.0).abs() < 1e-12 && (jain(&[1.0, 0.0]) - 0.5).abs() < 1e-12);
    }
}
