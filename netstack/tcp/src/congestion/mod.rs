//! Congestion control (RFC 5681): how much may be on its way.
//!
//! [`Congestion`] holds `cwnd` and `ssthresh`; the algorithm decides how they move. Loss recovery, which decides what is
//! lost and when an episode begins and ends, is elsewhere (`flow/recovery.rs`), and sets `cwnd` itself while it lasts.
//!
//! ```text
//!            the round trip grew, loss or ECN                cwnd >= ssthresh
//!    HyStart ────────────────────────────────▶ NewReno, Cubic ──▶ their congestion avoidance
//!   (initial slow start)                          cwnd < ssthresh: slow start up to there
//! ```

mod cubic;
mod hystart;
mod new_reno;

use weir_socket::Instant;

use crate::config::CongestionAlgorithm;
use crate::seq::SeqNumber;
use cubic::Cubic;
use hystart::HyStart;
use new_reno::NewReno;

/// What an acknowledgement tells the algorithm.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Acked {
    pub bytes: u32,
    /// Eff.snd.MSS.
    pub mss: u32,
    pub now: Instant,
    pub srtt_ns: u64,
    /// The round trip that it measured, in microseconds; 0: none.
    pub rtt_us: u32,
    pub una: SeqNumber,
    pub nxt: SeqNumber,
}

/// The congestion state of a flow. All sizes are bytes.
#[derive(Debug, Clone)]
pub(crate) struct Congestion {
    pub cwnd: u32,
    pub ssthresh: u32,
    stage: Stage,
}

/// The initial slow start has nothing to remember of later, and the other way round.
#[derive(Debug, Clone)]
enum Stage {
    /// And what follows.
    HyStart(HyStart, CongestionAlgorithm),
    NewReno(NewReno),
    Cubic(Cubic),
}

/// What a reduction took away, for when it turns out to have been spurious.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reduced {
    cwnd: u32,
    ssthresh: u32,
    w_max: f32,
}

/// `cwnd` never grows beyond what a send queue can ever fill.
const CWND_MAX: u32 = 1 << 30;

impl Congestion {
    pub fn new(algorithm: CongestionAlgorithm, mss: u32) -> Self {
        let stage = Stage::HyStart(HyStart::default(), algorithm);
        Self { cwnd: initial_window(mss), ssthresh: u32::MAX, stage }
    }

    /// `bytes` were newly acknowledged while the window was the limit (RFC 7661 in spirit: an unused window does not grow).
    pub fn on_ack(&mut self, mut acked: Acked) {
        if self.cwnd < self.ssthresh {
            self.slow_start(&mut acked);
            if acked.bytes == 0 {
                return;
            }
        }
        let growth = match &mut self.stage {
            Stage::HyStart(..) => 0,
            Stage::NewReno(new_reno) => new_reno.growth(self.cwnd, &acked),
            Stage::Cubic(cubic) => cubic.growth(self.cwnd, &acked),
        };
        self.cwnd = self.cwnd.saturating_add(growth).min(CWND_MAX);
    }

    /// RFC 5681, 3.1, counting bytes (RFC 3465). What it does not use up is left in `acked`.
    fn slow_start(&mut self, acked: &mut Acked) {
        let grown = match &mut self.stage {
            Stage::HyStart(hystart, _) => match hystart.growth(acked) {
                Some(growth) => {
                    acked.bytes = 0;
                    growth
                }
                None => {
                    self.ssthresh = self.cwnd;
                    self.leave_initial_slow_start();
                    0
                }
            },
            Stage::NewReno(_) | Stage::Cubic(_) => {
                let grown = acked.bytes.min(self.ssthresh - self.cwnd);
                acked.bytes -= grown;
                grown
            }
        };
        self.cwnd = self.cwnd.saturating_add(grown).min(CWND_MAX);
    }

    fn leave_initial_slow_start(&mut self) {
        if let Stage::HyStart(_, algorithm) = self.stage {
            self.stage = match algorithm {
                CongestionAlgorithm::NewReno => Stage::NewReno(NewReno::default()),
                CongestionAlgorithm::Cubic => Stage::Cubic(Cubic::default()),
            };
        }
    }

    /// An episode begins: loss or ECN. Lowers `ssthresh`; recovery leads `cwnd` there. `flight_size` is what was on its way
    /// (RFC 5681, (4); RFC 9438, 4.6): a window that was not used is no reason to go on sending.
    pub fn on_congestion(&mut self, flight_size: u32, mss: u32) -> Reduced {
        self.leave_initial_slow_start();
        let used = self.cwnd.min(flight_size);
        let (target, w_max) = match &mut self.stage {
            Stage::HyStart(..) => (used / 2, 0.0),
            Stage::NewReno(new_reno) => (new_reno.reduce(used), 0.0),
            Stage::Cubic(cubic) => {
                let w_max = cubic.w_max();
                (cubic.reduce(used, mss), w_max)
            }
        };
        let reduced = Reduced { cwnd: self.cwnd, ssthresh: self.ssthresh, w_max };
        self.ssthresh = target.max(2 * mss);
        reduced
    }

    /// The retransmission timer expired (RFC 5681, 3.1): one segment, then slow start.
    pub fn on_timeout(&mut self, mss: u32) {
        self.cwnd = mss;
        if let Stage::Cubic(cubic) = &mut self.stage {
            cubic.time_out();
        }
    }

    /// The reduction was spurious.
    pub fn undo(&mut self, reduced: Reduced) {
        self.cwnd = self.cwnd.max(reduced.cwnd);
        self.ssthresh = reduced.ssthresh;
        if let Stage::Cubic(cubic) = &mut self.stage {
            cubic.undo(reduced.w_max);
        }
    }

    /// Nothing was sent for longer than a retransmission timeout (RFC 5681, 4.1).
    #[inline]
    pub fn on_idle(&mut self, mss: u32) {
        self.cwnd = self.cwnd.min(initial_window(mss));
        if let Stage::Cubic(cubic) = &mut self.stage {
            cubic.restart();
        }
    }
}

/// RFC 6928.
fn initial_window(mss: u32) -> u32 {
    (10 * mss).min((2 * mss).max(14_600))
}
