//! CUBIC (RFC 9438). Names are the RFC's; windows are in segments and times in seconds within this file.

use weir_socket::Instant;

use super::Acked;
use crate::time::Nanoseconds;

const C: f64 = 0.4;
const BETA: f64 = 0.7;
/// Additive increase of a Reno-friendly flow that backs off by `BETA`, section 4.3.
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);

#[derive(Debug, Clone, Default)]
pub(crate) struct Cubic {
    w_max: f64,
    /// The window when congestion avoidance began last, before it was reduced: `cwnd_prior`.
    cwnd_prior: f64,
    epoch: Option<Epoch>,
    /// Growth not yet given out because it was less than a byte.
    fraction: f64,
}

/// A stage of congestion avoidance.
#[derive(Debug, Clone)]
struct Epoch {
    start: Instant,
    k: f64,
    w_est: f64,
}

impl Cubic {
    /// Sections 4.2 to 4.5.
    pub fn growth(&mut self, cwnd_bytes: u32, mss: u32, acked: &Acked) -> u32 {
        let mss = f64::from(mss);
        let cwnd = f64::from(cwnd_bytes) / mss;
        let segments = f64::from(acked.bytes) / mss;
        let (w_max, cwnd_prior) = (&mut self.w_max, self.cwnd_prior);
        let epoch = self.epoch.get_or_insert_with(|| {
            if cwnd >= *w_max {
                *w_max = cwnd;
            }
            Epoch { start: acked.now, k: cube_root((*w_max - cwnd) / C), w_est: cwnd }
        });
        let t = acked.now.since_ns(epoch.start) as f64 / 1e9;
        let rtt = acked.srtt_ns as f64 / 1e9;
        let w_cubic = |t: f64| C * (t - epoch.k) * (t - epoch.k) * (t - epoch.k) + *w_max;
        let (now, target) = (w_cubic(t), w_cubic(t + rtt).clamp(cwnd, 1.5 * cwnd));

        let alpha = if epoch.w_est < cwnd_prior { ALPHA } else { 1.0 };
        epoch.w_est += alpha * segments / cwnd;
        let growth = if now < epoch.w_est && epoch.w_est > cwnd {
            epoch.w_est - cwnd
        } else {
            (target - cwnd) / cwnd * segments
        };
        let bytes = growth * mss + self.fraction;
        let whole = bytes as u32;
        self.fraction = bytes - f64::from(whole);
        whole
    }

    /// Sections 4.6 and 4.7: multiplicative decrease and fast convergence.
    pub fn reduce(&mut self, cwnd_bytes: u32, mss: u32) -> u32 {
        let cwnd = f64::from(cwnd_bytes) / f64::from(mss);
        self.w_max = if cwnd < self.w_max { cwnd * (1.0 + BETA) / 2.0 } else { cwnd };
        self.cwnd_prior = cwnd;
        self.restart();
        (f64::from(cwnd_bytes) * BETA) as u32
    }

    /// The next acknowledgement begins a new epoch.
    pub fn restart(&mut self) {
        self.epoch = None;
        self.fraction = 0.0;
    }
}

/// Newton's method; the argument is a window's difference, so that the answer is at most some hundreds of seconds.
fn cube_root(x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    let mut root = if x > 1.0 { x / 3.0 + 1.0 } else { 1.0 };
    for _ in 0..64 {
        let next = (2.0 * root + x / (root * root)) / 3.0;
        if (next - root).abs() <= root * 1e-9 {
            break;
        }
        root = next;
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::MILLISECOND_NS;

    #[test]
    fn cube_roots() {
        for (x, root) in [(0.0, 0.0), (1.0, 1.0), (8.0, 2.0), (1e-3, 0.1), (2.7e7, 300.0)] {
            assert!((cube_root(x) - root).abs() < 1e-6 * (root + 1.0), "{x}: {}", cube_root(x));
        }
    }

    /// RFC 9438, 4.2: after a reduction the window is back at `W_max` after K seconds, and flat there.
    #[test]
    fn rfc_9438_4_2_the_window_returns_after_k_seconds() {
        let (mss, rtt) = (1_000_u32, 100 * MILLISECOND_NS);
        let mut cubic = Cubic::default();
        let w_max = 1_000.0_f64;
        let mut cwnd = cubic.reduce(1_000 * mss, mss);
        assert_eq!(cwnd, 700 * mss);
        let k = cube_root(w_max * (1.0 - BETA) / C);
        let mut now_ns = 0;
        while (now_ns as f64) < k * 1e9 {
            now_ns += rtt;
            cwnd += cubic.growth(cwnd, mss, &Acked { bytes: cwnd, now: Instant::from_nanos(now_ns), srtt_ns: rtt });
        }
        assert!((f64::from(cwnd) / 1e6 - 1.0).abs() < 0.02, "{cwnd} after {k} s");
    }
}
