//! CUBIC (RFC 9438). Names are the RFC's; windows are in segments and times in seconds unless they say otherwise.
//!
//! What is kept is small: single precision where a value is only compared, bytes where it is summed up, milliseconds for
//! times, whose differences are all that matters.

use super::Acked;
use crate::time::MILLISECOND_NS;

const C: f64 = 0.4;
const BETA: f64 = 0.7;
/// Additive increase of a Reno-friendly flow that backs off by `BETA`, section 4.3.
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);

#[derive(Debug, Clone, Default)]
pub(crate) struct Cubic {
    w_max: f32,
    /// The window before it was reduced: `cwnd_prior`.
    cwnd_prior: f32,
    k: f32,
    /// Growth not yet given out because it was less than a byte.
    fraction: f32,
    /// `W_est`, in bytes.
    w_est: u32,
    /// Bytes acknowledged since `W_est` last grew: it grows once for each window.
    counted: u32,
    epoch_start_ms: u32,
    /// When an acknowledgement last counted.
    acked_ms: u32,
    /// A stage of congestion avoidance has begun.
    in_epoch: bool,
}

impl Cubic {
    /// Sections 4.2 to 4.5.
    pub fn growth(&mut self, cwnd_bytes: u32, acked: &Acked) -> u32 {
        let mss = f64::from(acked.mss);
        let cwnd = f64::from(cwnd_bytes) / mss;
        let t = self.elapsed(cwnd_bytes, cwnd, acked);
        let w_cubic = |t: f64| {
            let d = t - f64::from(self.k);
            C * d * d * d + f64::from(self.w_max)
        };
        let rtt = acked.srtt_ns as f64 / 1e9;
        let (now, target) = (w_cubic(t), w_cubic(t + rtt).clamp(cwnd, 1.5 * cwnd));
        self.estimate_reno(cwnd_bytes, acked);
        if now < f64::from(self.w_est) / mss {
            // Reno-friendly, section 4.3.
            return self.w_est.saturating_sub(cwnd_bytes);
        }
        let bytes = (target - cwnd) / cwnd * f64::from(acked.bytes) + f64::from(self.fraction);
        let whole = bytes as u32;
        self.fraction = (bytes - f64::from(whole)) as f32;
        whole
    }

    /// Seconds of this stage of congestion avoidance, in which the window was what limited the flow (section 5.8). Such a
    /// flow hears from its peer once in a round trip at least: when it did not, it had nothing to send, and the curve waits.
    fn elapsed(&mut self, cwnd_bytes: u32, cwnd: f64, acked: &Acked) -> f64 {
        let now_ms = acked.now.as_millis() as u32;
        if !self.in_epoch {
            self.in_epoch = true;
            self.w_max = self.w_max.max(cwnd as f32);
            self.k = cube_root((f64::from(self.w_max) - cwnd) / C) as f32;
            (self.w_est, self.counted) = (cwnd_bytes, 0);
            (self.epoch_start_ms, self.acked_ms) = (now_ms, now_ms);
        }
        let round_trip_ms = (acked.srtt_ns / MILLISECOND_NS) as u32 + 1;
        let idle_ms = now_ms.wrapping_sub(self.acked_ms).saturating_sub(round_trip_ms);
        self.epoch_start_ms = self.epoch_start_ms.wrapping_add(idle_ms);
        self.acked_ms = now_ms;
        f64::from(now_ms.wrapping_sub(self.epoch_start_ms)) / 1e3
    }

    /// `W_est`, section 4.3: what Reno would have.
    fn estimate_reno(&mut self, cwnd_bytes: u32, acked: &Acked) {
        self.counted = self.counted.saturating_add(acked.bytes);
        if self.counted < cwnd_bytes {
            return;
        }
        self.counted -= cwnd_bytes;
        let mss = f64::from(acked.mss);
        let is_below = f64::from(self.w_est) < f64::from(self.cwnd_prior) * mss;
        let alpha = if is_below { ALPHA } else { 1.0 };
        self.w_est = self.w_est.saturating_add((alpha * mss) as u32);
    }

    /// Sections 4.6 and 4.7: multiplicative decrease and fast convergence.
    pub fn reduce(&mut self, cwnd_bytes: u32, mss: u32) -> u32 {
        let cwnd = f64::from(cwnd_bytes) / f64::from(mss);
        let is_converging = cwnd < f64::from(self.w_max);
        self.w_max = if is_converging { cwnd * (1.0 + BETA) / 2.0 } else { cwnd } as f32;
        self.cwnd_prior = cwnd as f32;
        self.restart();
        (f64::from(cwnd_bytes) * BETA) as u32
    }

    /// Section 4.8: the stage after a timeout begins at its own window, wherever slow start ends.
    pub fn time_out(&mut self) {
        self.w_max = 0.0;
        self.restart();
    }

    /// Section 4.9: a reduction was spurious; `w_max` was the one before it.
    pub fn undo(&mut self, w_max: f32) {
        self.w_max = w_max;
        self.restart();
    }

    pub fn w_max(&self) -> f32 {
        self.w_max
    }

    /// The next acknowledgement begins a new epoch.
    pub fn restart(&mut self) {
        self.in_epoch = false;
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
    use crate::seq::SeqNumber;
    use weir_socket::Instant;

    const MSS: u32 = 1_000;
    const RTT_MS: u64 = 100;

    #[test]
    fn cube_roots() {
        for (x, root) in [(0.0, 0.0), (1.0, 1.0), (8.0, 2.0), (1e-3, 0.1), (2.7e7, 300.0)] {
            assert!((cube_root(x) - root).abs() < 1e-6 * (root + 1.0), "{x}: {}", cube_root(x));
        }
    }

    /// A window's worth is acknowledged at `now_ms`.
    fn grow(cubic: &mut Cubic, cwnd: &mut u32, now_ms: u64) {
        let (now, srtt_ns) = (Instant::from_nanos(now_ms * MILLISECOND_NS), RTT_MS * MILLISECOND_NS);
        let (una, nxt) = (SeqNumber(0), SeqNumber(0));
        *cwnd += cubic.growth(*cwnd, &Acked { bytes: *cwnd, mss: MSS, now, srtt_ns, rtt_us: 0, una, nxt });
    }

    /// After a reduction the window is back at `W_max` after K seconds, and flat there.
    #[test]
    fn rfc_9438_4_2_the_window_returns_after_k_seconds() {
        let mut cubic = Cubic::default();
        let mut cwnd = cubic.reduce(1_000 * MSS, MSS);
        assert_eq!(cwnd, 700 * MSS);
        let k_ms = (cube_root(1_000.0 * (1.0 - BETA) / C) * 1e3) as u64;
        let mut now_ms = 0;
        while now_ms < k_ms {
            now_ms += RTT_MS;
            grow(&mut cubic, &mut cwnd, now_ms);
        }
        assert!((f64::from(cwnd) / 1e6 - 1.0).abs() < 0.02, "{cwnd} after {k_ms} ms");
    }

    /// Silence does not carry the window along the curve: with a minute of it in the middle, the window comes out as
    /// without, a round trip later at most.
    #[test]
    fn rfc_9438_5_8_time_without_data_does_not_count() {
        let run = |idle_ms: u64| {
            let mut cubic = Cubic::default();
            let mut cwnd = cubic.reduce(1_000 * MSS, MSS);
            let mut now_ms = 0;
            for round in 0..60 {
                now_ms += RTT_MS + if round == 30 { idle_ms } else { 0 };
                grow(&mut cubic, &mut cwnd, now_ms);
            }
            f64::from(cwnd)
        };
        let (steady, paused) = (run(0), run(60_000));
        assert!((paused / steady - 1.0).abs() < 0.01, "{paused} after a pause, {steady} without");
    }

    #[test]
    fn rfc_9438_4_3_a_small_window_grows_as_renos_would() {
        let mut cubic = Cubic::default();
        let mut cwnd = cubic.reduce(20 * MSS, MSS);
        for round in 1..=21 {
            grow(&mut cubic, &mut cwnd, round * 10);
        }
        // 0.53 segments for each window, until the 20 from before the reduction are passed after twelve; then one.
        let expected = 14_000.0 + 12.0 * ALPHA * 1e3 + 9_000.0;
        assert!((f64::from(cwnd) - expected).abs() < 100.0, "{cwnd}, not {expected}");
    }

    #[test]
    fn rfc_9438_4_8_after_a_timeout_the_curve_begins_at_the_window() {
        let mut cubic = Cubic::default();
        let ssthresh = cubic.reduce(1_000 * MSS, MSS);
        cubic.time_out();
        let mut cwnd = ssthresh;
        grow(&mut cubic, &mut cwnd, 100);
        assert_eq!((cubic.k, cubic.w_max), (0.0, 700.0));
    }
}
