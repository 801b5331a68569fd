//! RACK: loss detection by time of transmission (RFC 8985, section 6). Names and steps are the RFC's.

use weir_socket::Instant;

use super::rtt::RttEstimator;
use super::scoreboard::{Record, Records, Scoreboard, Transmission};
use crate::seq::SeqNumber;
use crate::time::{Nanoseconds, Span};

/// Segments delivered out of order that prove a loss at once, as long as no reordering was seen.
const DUP_THRESH: u32 = 3;
/// Recoveries after which a widened reordering window narrows again.
const REO_WND_PERSIST: u8 = 16;
const REO_WND_MULT_MAX: u8 = 64;

#[derive(Debug, Clone, Default)]
pub(crate) struct Rack {
    /// Which transmission was the latest that was delivered. The RFC compares times and sequence numbers (`RACK.xmit_ts`,
    /// `RACK.end_seq`), which cannot tell the order of what one turn of a core sent; counting can.
    latest: Transmission,
    /// `RACK.rtt`.
    rtt: Span,
    /// The highest sequence number that was delivered: `RACK.fack`.
    fack: SeqNumber,
    reordering_seen: bool,
    reo_wnd_mult: u8,
    reo_wnd_persist: u8,
    /// `RACK.dsack_round`, if there was one. Two fields, which share a word with others.
    dsack_round: SeqNumber,
    has_dsack_round: bool,
}

/// What the reordering window depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Circumstances {
    pub now: Instant,
    pub min_rtt_ns: u64,
    pub srtt_ns: u64,
    pub in_recovery: bool,
    pub mss: u32,
}

impl Rack {
    pub fn new(iss: SeqNumber) -> Self {
        Self { fack: iss, reo_wnd_mult: 1, ..Self::default() }
    }

    /// Steps 1 to 3: a segment was delivered. `echoed_ns` is the time of our transmission that the peer echoes, when that
    /// is known, to tell a delivered retransmission from its delivered original.
    #[inline]
    pub fn delivered(&mut self, record: &Record, now: Instant, rtt: &RttEstimator, is_echo_older: bool) {
        let rtt_ns = now.since_ns(record.sent_at);
        if record.retransmitted && (is_echo_older || rtt_ns < rtt.min_ns().unwrap_or(0)) {
            return;
        }
        if record.end() < self.fack && !record.retransmitted {
            self.reordering_seen = true;
        }
        self.fack = self.fack.max(record.end());
        if record.transmission > self.latest {
            (self.latest, self.rtt) = (record.transmission, Span::from_ns(rtt_ns));
        }
    }

    /// As [`Self::delivered`], for the only segment, and the last that was sent: up to `nxt`, once, and it took `rtt`.
    #[inline(always)]
    pub fn delivered_last(&mut self, nxt: SeqNumber, transmission: Transmission, rtt: Span) {
        (self.fack, self.latest, self.rtt) = (nxt, transmission, rtt);
    }

    /// Step 4's adaptation: the peer reported a duplicate, so that the window was too small.
    pub fn duplicate_reported(&mut self, una: SeqNumber, nxt: SeqNumber) {
        if !self.has_dsack_round || una >= self.dsack_round {
            (self.has_dsack_round, self.dsack_round) = (true, nxt);
            self.reo_wnd_mult = (self.reo_wnd_mult + 1).min(REO_WND_MULT_MAX);
            self.reo_wnd_persist = REO_WND_PERSIST;
        }
    }

    /// A recovery ended.
    pub fn recovered(&mut self) {
        self.reo_wnd_persist = self.reo_wnd_persist.saturating_sub(1);
        if self.reo_wnd_persist == 0 {
            self.reo_wnd_mult = 1;
        }
    }

    /// Step 5: marks what is lost. Answers after how long the rest is to be looked at again.
    pub fn detect_losses(
        &self,
        board: &mut Scoreboard,
        records: &mut Records,
        circumstances: &Circumstances,
    ) -> Option<u64> {
        let reo_wnd_ns = self.reo_wnd_ns(board, circumstances);
        let mut wait_ns = None;
        let mut oldest = board.oldest();
        while let Some(index) = oldest {
            let record = records[index];
            if record.transmission > self.latest {
                break;
            }
            oldest = board.sent_after(records, index);
            let age_ns = circumstances.now.since_ns(record.sent_at);
            match (self.rtt.ns() + reo_wnd_ns).checked_sub(age_ns) {
                None | Some(0) => board.mark_lost(records, index),
                Some(rest_ns) => wait_ns = wait_ns.max(Some(rest_ns)),
            }
        }
        wait_ns
    }

    /// Step 4.
    fn reo_wnd_ns(&self, board: &Scoreboard, circumstances: &Circumstances) -> u64 {
        if !self.reordering_seen {
            let many = board.sacked_records() >= DUP_THRESH || board.sacked_bytes() >= DUP_THRESH * circumstances.mss;
            if circumstances.in_recovery || many {
                return 0;
            }
        }
        (u64::from(self.reo_wnd_mult) * (circumstances.min_rtt_ns / 4)).min(circumstances.srtt_ns)
    }
}
