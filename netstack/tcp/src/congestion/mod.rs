//! Congestion control (RFC 5681): how much may be on its way.
//!
//! [`Congestion`] holds `cwnd` and `ssthresh`; the algorithm decides how they move. Loss recovery, which decides what is
//! lost and when an episode begins and ends, is elsewhere (`flow/recovery.rs`), and sets `cwnd` itself while it lasts.

mod cubic;
mod new_reno;

use weir_socket::Instant;

use crate::config::CongestionAlgorithm;
use cubic::Cubic;
use new_reno::NewReno;

/// What an acknowledgement tells the algorithm.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Acked {
    pub bytes: u32,
    pub now: Instant,
    pub srtt_ns: u64,
}

/// The congestion state of a flow. All sizes are bytes.
#[derive(Debug, Clone)]
pub(crate) struct Congestion {
    pub cwnd: u32,
    pub ssthresh: u32,
    pub mss: u32,
    algorithm: Algorithm,
}

#[derive(Debug, Clone)]
enum Algorithm {
    NewReno(NewReno),
    Cubic(Cubic),
}

/// What a reduction took away, for when it turns out to have been spurious.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reduced {
    cwnd: u32,
    ssthresh: u32,
}

/// `cwnd` never grows beyond what a send queue can ever fill.
const CWND_MAX: u32 = 1 << 30;

impl Congestion {
    pub fn new(algorithm: CongestionAlgorithm, mss: u32) -> Self {
        let algorithm = match algorithm {
            CongestionAlgorithm::Cubic => Algorithm::Cubic(Cubic::default()),
            CongestionAlgorithm::NewReno => Algorithm::NewReno(NewReno::default()),
        };
        Self { cwnd: initial_window(mss), ssthresh: u32::MAX, mss, algorithm }
    }

    /// `bytes` were newly acknowledged while the window was the limit (RFC 7661 in spirit: an unused window does not grow).
    pub fn on_ack(&mut self, mut acked: Acked) {
        if self.cwnd < self.ssthresh {
            let room = self.ssthresh - self.cwnd;
            let grown = acked.bytes.min(room);
            self.cwnd = (self.cwnd + grown).min(CWND_MAX);
            acked.bytes -= grown;
            if acked.bytes == 0 {
                return;
            }
        }
        let growth = match &mut self.algorithm {
            Algorithm::NewReno(new_reno) => new_reno.growth(self.cwnd, self.mss, &acked),
            Algorithm::Cubic(cubic) => cubic.growth(self.cwnd, self.mss, &acked),
        };
        self.cwnd = (self.cwnd + growth).min(CWND_MAX);
    }

    /// An episode begins: loss or ECN. Lowers `ssthresh`; recovery leads `cwnd` there.
    pub fn on_congestion(&mut self) -> Reduced {
        let reduced = Reduced { cwnd: self.cwnd, ssthresh: self.ssthresh };
        let target = match &mut self.algorithm {
            Algorithm::NewReno(new_reno) => new_reno.reduce(self.cwnd),
            Algorithm::Cubic(cubic) => cubic.reduce(self.cwnd, self.mss),
        };
        self.ssthresh = target.max(2 * self.mss);
        reduced
    }

    /// The retransmission timer expired (RFC 5681, 3.1): one segment, then slow start.
    pub fn on_timeout(&mut self) {
        self.cwnd = self.mss;
    }

    /// The reduction was spurious.
    pub fn undo(&mut self, reduced: Reduced) {
        self.cwnd = self.cwnd.max(reduced.cwnd);
        self.ssthresh = reduced.ssthresh;
    }

    /// Nothing was sent for longer than a retransmission timeout (RFC 5681, 4.1).
    #[inline]
    pub fn on_idle(&mut self) {
        self.cwnd = self.cwnd.min(initial_window(self.mss));
        if let Algorithm::Cubic(cubic) = &mut self.algorithm {
            cubic.restart();
        }
    }

    /// The path carries smaller segments than thought.
    pub fn set_mss(&mut self, mss: u32) {
        self.mss = mss;
    }
}

/// RFC 6928.
fn initial_window(mss: u32) -> u32 {
    (10 * mss).min((2 * mss).max(14_600))
}
