//! Loss recovery: when an episode begins and ends, and how much may be sent meanwhile.
//!
//! ```text
//!               loss detected                       una >= recover
//!    Open ─────────────────────────▶ Fast ──────────────────────────▶ Open
//!    Open ── ECN echo ─────────────▶ Reducing ── una >= recover ────▶ Open
//!    any  ── retransmission timer ─▶ Timeout ─── una >= recover ────▶ Open
//!    Fast, Timeout ── the original was delivered after all (RFC 3522) ▶ Open, reduction undone
//! ```
//!
//! In `Fast` and `Reducing`, `cwnd` follows proportional rate reduction (RFC 6937); in `Timeout` it is in slow start.

use core::num::NonZero;

use crate::congestion::{Congestion, Reduced};
use crate::seq::SeqNumber;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Phase {
    #[default]
    Open,
    Reducing,
    Fast,
    Timeout,
}

/// What an acknowledgement means to the reduction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report {
    /// Bytes that left the network.
    pub delivered: u32,
    /// Bytes that are in it.
    pub pipe: u32,
    /// `una` has advanced.
    pub progress: bool,
    /// A segment is to be sent, whatever the window.
    pub is_due: bool,
    /// Eff.snd.MSS.
    pub mss: u32,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Recovery {
    phase: Phase,
    /// `snd.nxt` when the episode began: RecoveryPoint.
    recover: SeqNumber,
    /// Duplicate acknowledgements of a peer without SACK; there may have been more than fit.
    dup_acks: u16,
    prr_delivered: u32,
    prr_out: u32,
    recover_fs: u32,
    reduced: Reduced,
    /// The timestamp of the episode's first retransmission; 1 for 0.
    first_retransmit: Option<NonZero<u32>>,
    /// Bytes sent again in the episode that the peer has not reported as duplicates; 0 when there was nothing.
    unproven: u32,
}

/// [`Recovery::unproven`] of an episode that follows from another one: no report takes both back.
const NOT_UNDOABLE: u32 = u32::MAX;

impl Recovery {
    #[inline(always)]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether segments are being taken for lost.
    #[inline(always)]
    pub fn is_recovering(&self) -> bool {
        matches!(self.phase, Phase::Fast | Phase::Timeout)
    }

    #[inline(always)]
    pub fn dup_acks(&self) -> u32 {
        u32::from(self.dup_acks)
    }

    /// A duplicate acknowledgement of a peer without SACK (RFC 5681, 2); answers how many there were.
    pub fn count_dup_ack(&mut self) -> u32 {
        self.dup_acks = self.dup_acks.saturating_add(1);
        self.dup_acks()
    }

    /// New data was acknowledged by a peer without SACK: that many of the duplicates were its segments.
    #[inline(always)]
    pub fn forget_dup_acks(&mut self) {
        self.dup_acks = 0;
    }

    /// Fast recovery begins (RFC 6675, 5; RFC 6582, 3.2), or a reduction for ECN (RFC 3168, 6.1.2). `flight_size` is what was
    /// on its way when the acknowledgement came that tells of it.
    pub fn begin(
        &mut self,
        phase: Phase,
        (una, nxt): (SeqNumber, SeqNumber),
        (flight_size, mss): (u32, u32),
        congestion: &mut Congestion,
    ) {
        if self.phase == Phase::Open {
            self.reduced = congestion.on_congestion(flight_size, mss);
            self.recover_fs = (nxt - una).max(1);
            (self.prr_delivered, self.prr_out) = (0, 0);
            self.unproven = 0;
        } else if self.phase == Phase::Reducing {
            self.unproven = NOT_UNDOABLE;
        }
        self.phase = phase;
        self.recover = nxt;
        self.first_retransmit = None;
    }

    /// The retransmission timer expired (RFC 5681, 3.1; RFC 6298, 5).
    pub fn time_out(&mut self, (una, nxt): (SeqNumber, SeqNumber), mss: u32, congestion: &mut Congestion) {
        if self.phase == Phase::Open || self.phase == Phase::Reducing {
            self.reduced = congestion.on_congestion(nxt - una, mss);
            self.first_retransmit = None;
            self.unproven = 0;
        }
        self.recover_fs = (nxt - una).max(1);
        congestion.on_timeout(mss);
        self.phase = Phase::Timeout;
        self.recover = nxt;
        self.dup_acks = 0;
    }

    /// `bytes` were sent again, with this timestamp.
    pub fn note_retransmit(&mut self, bytes: u32, timestamp: u32) {
        self.first_retransmit.get_or_insert(NonZero::new(timestamp).unwrap_or(NonZero::<u32>::MIN));
        if self.is_recovering() {
            self.unproven = self.unproven.saturating_add(bytes);
        }
    }

    /// The peer reported `start..end` as a duplicate (RFC 3708, 3). True when all that was sent again in the latest episode,
    /// which may be over, has been reported.
    pub fn duplicate_reported(&mut self, start: SeqNumber, end: SeqNumber) -> bool {
        let first = self.recover - self.recover_fs;
        if matches!(self.unproven, 0 | NOT_UNDOABLE) || start < first || end > self.recover {
            return false;
        }
        self.unproven = self.unproven.saturating_sub(end - start);
        self.unproven == 0
    }

    /// RecoveryPoint.
    pub fn recover(&self) -> SeqNumber {
        self.recover
    }

    /// `bytes` were sent.
    #[inline(always)]
    pub fn note_sent(&mut self, bytes: u32) {
        self.prr_out += bytes;
    }

    /// Whether an acknowledgement that echoes `echo` proves the episode spurious: it was sent for the original, before the
    /// first retransmission (RFC 3522, 3.2).
    pub fn is_spurious(&self, echo: u32) -> bool {
        self.is_recovering() && self.first_retransmit.is_some_and(|first| SeqNumber(echo) < SeqNumber(first.get()))
    }

    /// Takes the reduction back.
    pub fn undo(&mut self, congestion: &mut Congestion) {
        congestion.undo(self.reduced);
        self.phase = Phase::Open;
        self.dup_acks = 0;
        self.unproven = 0;
    }

    /// `una` has advanced. True when the episode ended with that.
    #[inline]
    pub fn advance(&mut self, una: SeqNumber, mss: u32, congestion: &mut Congestion) -> bool {
        if self.phase == Phase::Open || una < self.recover {
            return false;
        }
        if self.phase != Phase::Timeout {
            congestion.cwnd = congestion.ssthresh.max(mss);
        }
        self.phase = Phase::Open;
        self.dup_acks = 0;
        true
    }

    /// Proportional rate reduction with the slow-start reduction bound (RFC 6937, 3).
    pub fn reduce_proportionally(&mut self, report: &Report, congestion: &mut Congestion) {
        let &Report { delivered, pipe, progress, is_due, mss } = report;
        self.prr_delivered = self.prr_delivered.saturating_add(delivered);
        let ssthresh = congestion.ssthresh;
        let send = if pipe > ssthresh {
            let share = u64::from(self.prr_delivered) * u64::from(ssthresh) / u64::from(self.recover_fs);
            (share as u32).saturating_sub(self.prr_out)
        } else {
            let limit = self.prr_delivered.saturating_sub(self.prr_out).max(delivered);
            (ssthresh - pipe).min(limit + if progress { mss } else { 0 })
        };
        // The first retransmission is never held back.
        let send = if self.prr_out == 0 || is_due { send.max(mss) } else { send };
        congestion.cwnd = pipe.saturating_add(send);
    }
}
