//! RFC 5681's congestion avoidance; NewReno's part in recovery (RFC 6582) is in `flow/recovery.rs`.

use super::Acked;

#[derive(Debug, Clone, Default)]
pub(crate) struct NewReno {
    /// Bytes acknowledged since the window last grew (RFC 3465: appropriate byte counting).
    counted: u32,
}

impl NewReno {
    /// One segment for each window.
    pub fn growth(&mut self, cwnd: u32, acked: &Acked) -> u32 {
        self.counted = self.counted.saturating_add(acked.bytes);
        if self.counted < cwnd {
            return 0;
        }
        self.counted -= cwnd;
        acked.mss
    }

    /// Half of what was on its way, (4) of RFC 5681.
    pub fn reduce(&mut self, cwnd: u32) -> u32 {
        self.counted = 0;
        cwnd / 2
    }
}
