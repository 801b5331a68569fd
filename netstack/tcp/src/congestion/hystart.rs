//! HyStart++ (RFC 9406): the initial slow start ends when the round trip grows, before a queue overflows. Names are the
//! RFC's.
//!
//! `L`, the bound on what one acknowledgement adds, is infinite: receivers that gather segments acknowledge dozens at once,
//! and a bound of eight segments would make each of their round trips a fraction of a doubling.

use super::Acked;
use crate::seq::SeqNumber;

const MIN_RTT_THRESH_US: u32 = 4_000;
const MAX_RTT_THRESH_US: u32 = 16_000;
const MIN_RTT_DIVISOR: u32 = 8;
const N_RTT_SAMPLE: u8 = 8;
const CSS_GROWTH_DIVISOR: u32 = 4;
const CSS_ROUNDS: u8 = 5;

/// No measurement.
const INFINITY: u32 = u32::MAX;

/// The initial slow start of a flow. Round trips are in microseconds.
#[derive(Debug, Clone)]
pub(crate) struct HyStart {
    window_end: SeqNumber,
    last_round_min_rtt: u32,
    current_round_min_rtt: u32,
    css_baseline_min_rtt: u32,
    rtt_sample_count: u8,
    /// Rounds of conservative slow start, this one included; 0: standard slow start.
    css_rounds: u8,
    /// There is a round.
    has_begun: bool,
}

impl Default for HyStart {
    fn default() -> Self {
        Self {
            window_end: SeqNumber(0),
            last_round_min_rtt: INFINITY,
            current_round_min_rtt: INFINITY,
            css_baseline_min_rtt: INFINITY,
            rtt_sample_count: 0,
            css_rounds: 0,
            has_begun: false,
        }
    }
}

impl HyStart {
    /// Section 4.2, for one acknowledgement: how much `cwnd` grows; none when slow start is over.
    #[inline]
    pub fn growth(&mut self, acked: &Acked) -> Option<u32> {
        if !self.has_begun || acked.una >= self.window_end {
            self.begin_round(acked.nxt);
            if self.css_rounds > CSS_ROUNDS {
                return None;
            }
        }
        if acked.rtt_us != 0 {
            self.current_round_min_rtt = self.current_round_min_rtt.min(acked.rtt_us);
            self.rtt_sample_count = self.rtt_sample_count.saturating_add(1);
            self.compare();
        }
        Some(if self.css_rounds == 0 { acked.bytes } else { acked.bytes / CSS_GROWTH_DIVISOR })
    }

    fn begin_round(&mut self, nxt: SeqNumber) {
        self.has_begun = true;
        self.window_end = nxt;
        self.last_round_min_rtt = self.current_round_min_rtt;
        self.current_round_min_rtt = INFINITY;
        self.rtt_sample_count = 0;
        if self.css_rounds > 0 {
            self.css_rounds += 1;
        }
    }

    /// Whether the round trip has grown, or, in conservative slow start, has turned out not to.
    fn compare(&mut self) {
        if self.rtt_sample_count < N_RTT_SAMPLE {
            return;
        }
        let current = self.current_round_min_rtt;
        if self.css_rounds > 0 {
            if current < self.css_baseline_min_rtt {
                self.css_baseline_min_rtt = INFINITY;
                self.css_rounds = 0;
            }
        } else if self.last_round_min_rtt != INFINITY {
            let last = self.last_round_min_rtt;
            let threshold = (last / MIN_RTT_DIVISOR).clamp(MIN_RTT_THRESH_US, MAX_RTT_THRESH_US);
            if current >= last.saturating_add(threshold) {
                self.css_baseline_min_rtt = current;
                self.css_rounds = 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_socket::Instant;

    /// A round of twenty acknowledgements with this round trip; answers how much of them was added.
    fn round(hystart: &mut HyStart, number: u32, rtt_us: u32) -> Option<u32> {
        let mut grown = 0;
        for i in 0..20 {
            let una = SeqNumber(number * 20_000 + (i + 1) * 1_000);
            let nxt = SeqNumber((number + 1) * 20_000 + (i + 1) * 1_000);
            let acked = Acked { bytes: 1_000, mss: 1_000, now: Instant::default(), srtt_ns: 0, rtt_us, una, nxt };
            grown += hystart.growth(&acked)?;
        }
        Some(grown)
    }

    #[test]
    fn rfc_9406_4_2_a_longer_round_trip_ends_slow_start_after_five_careful_rounds() {
        let mut hystart = HyStart::default();
        for number in 0..4 {
            assert_eq!(round(&mut hystart, number, 40_000), Some(20_000));
        }
        // One eighth more is the threshold; a hair less is not.
        assert_eq!(round(&mut hystart, 4, 44_999), Some(20_000));
        let careful = round(&mut hystart, 5, 50_624).unwrap();
        assert!((7 * 1_000 + 13 * 250..20_000).contains(&careful), "{careful}");
        for number in 6..10 {
            let grown = round(&mut hystart, number, 51_000).unwrap();
            assert!(grown <= 6_000, "{grown}");
        }
        assert_eq!(round(&mut hystart, 10, 51_000), None);
    }

    #[test]
    fn rfc_9406_4_2_a_round_trip_that_shrinks_again_resumes_slow_start() {
        let mut hystart = HyStart::default();
        round(&mut hystart, 0, 20_000);
        round(&mut hystart, 1, 20_000);
        assert!(round(&mut hystart, 2, 25_000).unwrap() < 20_000);
        round(&mut hystart, 3, 20_000);
        for number in 4..20 {
            assert_eq!(round(&mut hystart, number, 20_000), Some(20_000));
        }
    }

    #[test]
    fn rfc_9406_4_2_less_than_eight_measurements_say_nothing() {
        let mut hystart = HyStart::default();
        for number in 0..40 {
            for i in 0..7 {
                let una = SeqNumber(number * 20_000 + (i + 1) * 1_000);
                let nxt = SeqNumber((number + 1) * 20_000 + (i + 1) * 1_000);
                let (rtt_us, now) = (10_000 + number * 10_000, Instant::default());
                assert_eq!(
                    hystart.growth(&Acked { bytes: 1_000, mss: 1_000, now, srtt_ns: 0, rtt_us, una, nxt }),
                    Some(1_000)
                );
            }
        }
    }
}
