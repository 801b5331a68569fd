//! Round-trip time and retransmission timeout (RFC 6298).

use weir_socket::Instant;

use crate::time::{LongStamp, MILLISECOND_NS, SECOND_NS, Span};

/// What the timeout allows beyond the smoothed round trip at least. RFC 6298 wants one second in all; as everybody else, we
/// take less since acknowledgements are delayed by 40 ms and not 500, and count from the round trip: a delayed
/// acknowledgement after many prompt ones is no loss, however long the path.
const MARGIN_MIN_NS: u64 = 200 * MILLISECOND_NS;
const RTO_MAX_NS: u64 = 60 * SECOND_NS;
const RTO_INITIAL_NS: u64 = SECOND_NS;
/// Doublings of the timeout that still make a difference.
const BACKOFF_MAX: u8 = 12;
/// The smallest round trip is forgotten after so long: paths change.
const MIN_WINDOW_NS: u64 = 300 * SECOND_NS;

/// One unit: a smoothed round trip that was measured is not 0.
const SRTT_MIN: u32 = 1;
/// The limits in units.
const MARGIN_MIN: u64 = Span::from_ns(MARGIN_MIN_NS).units() as u64;
const RTO_MAX: u64 = Span::from_ns(RTO_MAX_NS).units() as u64;

const _: () = assert!(Span::from_ns(RTO_MAX_NS).ns() == RTO_MAX_NS);
const _: () = assert!(MARGIN_MIN_NS << BACKOFF_MAX > RTO_MAX_NS);

#[derive(Debug, Clone, Copy)]
pub(crate) struct RttEstimator {
    /// [`Span::default`] before the first measurement.
    srtt: Span,
    /// Before the first measurement, a quarter of the timeout.
    rttvar: Span,
    /// [`Span::MAX`] before the first measurement.
    min: Span,
    min_at: LongStamp,
}

impl Default for RttEstimator {
    fn default() -> Self {
        Self {
            srtt: Span::default(),
            rttvar: Span::from_ns(RTO_INITIAL_NS / 4),
            min: Span::MAX,
            min_at: LongStamp::default(),
        }
    }
}

impl RttEstimator {
    /// Takes a measurement of a segment that was sent once (Karn's algorithm), made at `now`. Section 2, (2.2) and (2.3).
    #[inline(always)]
    pub fn sample(&mut self, rtt: Span, now: Instant) {
        // In units of a span: nothing is saturated or shifted on the way.
        let (units, mut srtt, mut rttvar) = (rtt.units(), self.srtt.units(), self.rttvar.units());
        if srtt == 0 {
            srtt = units;
            rttvar = units / 2;
        } else {
            let deviation = srtt.abs_diff(units);
            rttvar = rttvar - rttvar / 4 + deviation / 4;
            srtt = srtt - srtt / 8 + units / 8;
        }
        (self.srtt, self.rttvar) = (Span::from_units(srtt.max(SRTT_MIN)), Span::from_units(rttvar));
        if rtt <= self.min || self.min_at.age_ns(now) > MIN_WINDOW_NS {
            (self.min, self.min_at) = (rtt, LongStamp::new(now));
        }
    }

    /// The timeout, (2.3), backed off.
    #[inline(always)]
    pub fn rto_ns(&self, backoff: Backoff) -> u64 {
        let rto = u64::from(self.srtt.units()) + (4 * u64::from(self.rttvar.units())).max(MARGIN_MIN);
        (Span::from_units(rto.min(RTO_MAX) as u32).ns() << backoff.0).min(RTO_MAX_NS)
    }

    /// The smoothed round-trip time, once there was a measurement.
    #[inline(always)]
    pub fn srtt_ns(&self) -> Option<u64> {
        (self.srtt != Span::default()).then(|| self.srtt.ns())
    }

    /// The smallest round-trip time of the last five minutes.
    #[inline(always)]
    pub fn min_ns(&self) -> Option<u64> {
        (self.min != Span::MAX).then(|| self.min.ns())
    }

    /// The handshake was retransmitted: section 5, (5.7) wants 3 s from now on.
    pub fn handshake_was_retransmitted(&mut self) {
        self.rttvar = Span::from_ns(3 * SECOND_NS / 4);
    }
}

/// Doublings of the timeout: how often it expired since new data was acknowledged.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Backoff(u8);

impl Backoff {
    /// (5.5) of section 5.
    pub fn back_off(&mut self) {
        self.0 = (self.0 + 1).min(BACKOFF_MAX);
    }

    /// Timeouts in a row.
    pub fn count(self) -> u8 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_6298_2_first_and_later_measurements() {
        let mut rtt = RttEstimator::default();
        assert_eq!(rtt.rto_ns(Backoff::default()), SECOND_NS);
        rtt.sample(Span::from_ns(400 * MILLISECOND_NS), Instant::default());
        assert_eq!(rtt.rto_ns(Backoff::default()), (400 + 4 * 200) * MILLISECOND_NS);
        rtt.sample(Span::from_ns(480 * MILLISECOND_NS), Instant::default());
        // RTTVAR = 3/4 * 200 + 1/4 * 80, SRTT = 7/8 * 400 + 1/8 * 480
        assert_eq!(rtt.rto_ns(Backoff::default()), (410 + 4 * 170) * MILLISECOND_NS);
        assert_eq!(rtt.min_ns(), Some(400 * MILLISECOND_NS));
    }

    #[test]
    fn rfc_6298_5_backoff_doubles_up_to_the_maximum() {
        let (mut rtt, mut backoff) = (RttEstimator::default(), Backoff::default());
        for expected in [2, 4, 8, 16, 32, 60, 60] {
            backoff.back_off();
            assert_eq!(rtt.rto_ns(backoff), expected * SECOND_NS);
        }
        rtt.sample(Span::from_ns(MILLISECOND_NS), Instant::default());
        assert_eq!(rtt.rto_ns(Backoff::default()), MILLISECOND_NS + MARGIN_MIN_NS);
    }
}
