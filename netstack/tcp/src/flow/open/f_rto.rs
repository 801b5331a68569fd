//! F-RTO (RFC 5682): was a retransmission timeout spurious? For peers without timestamps; with them, RFC 3522 tells sooner.
//!
//! After the timeout only the first segment is sent again. If its acknowledgement leaves something open, new data follow
//! instead of more retransmissions; what the peer says then tells originals that were late from segments that were lost.

use super::ack::Delivered;
use super::{Common, Open};
use crate::counters::Counter;
use crate::flow::recovery::Phase;
use crate::link::Link;
use crate::output::Blocked;
use crate::segment::Segment;
use crate::shared::Shared;

/// How far the algorithm has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FRto {
    Off,
    /// Step 1 is done: the first segment was sent again.
    Retransmitted,
    /// Step 2b: new data are sent, and nothing again.
    NewData,
}

/// Step 2b: segments of new data.
const NEW_SEGMENTS_MAX: u32 = 2;

impl Open {
    /// Step 1, before the timeout changes anything: not while an earlier loss is being repaired.
    pub(super) fn begin_f_rto(&mut self) {
        let is_first = matches!(self.recovery.phase(), Phase::Open | Phase::Reducing);
        self.f_rto = if is_first && !self.negotiated.timestamps { FRto::Retransmitted } else { FRto::Off };
    }

    /// Steps 2 and 3, and section 3 for a peer with SACK.
    pub(super) fn judge_timeout(
        &mut self,
        segment: &Segment,
        is_duplicate: bool,
        progress: bool,
        delivered: Delivered,
        shared: &mut Shared,
    ) {
        let has_news = self.negotiated.sack && delivered.bytes > 0;
        self.f_rto = match self.f_rto {
            FRto::Off => return,
            FRto::Retransmitted if segment.ack >= self.recovery.recover() => FRto::Off,
            FRto::Retransmitted if progress => {
                if self.queue.unsent_len() > 0 && self.window_room() > 0 {
                    FRto::NewData
                } else {
                    FRto::Off
                }
            }
            FRto::Retransmitted if is_duplicate && !has_news => FRto::Off,
            FRto::NewData if delivered.rtt_ns.is_some() && (progress || self.is_below_recover(segment, delivered)) => {
                shared.count(Counter::FrtoSpurious);
                self.take_back(shared);
                FRto::Off
            }
            FRto::NewData if progress || is_duplicate || has_news => FRto::Off,
            waiting => waiting,
        };
    }

    /// Whether something of what was reported lies before RecoveryPoint, and not only the new data behind it.
    fn is_below_recover(&self, segment: &Segment, delivered: Delivered) -> bool {
        let recover = self.recovery.recover();
        let beyond: u32 = segment.options.sack.iter().map(|(start, end)| start.max(recover).until(end)).sum();
        delivered.bytes > beyond
    }

    /// Sends the new data of step 2b. None when that is done; when nothing new could be sent, the usual recovery follows.
    #[inline(never)]
    pub(super) fn send_f_rto<L: Link>(
        &mut self,
        burst_max: u32,
        common: &mut Common,
        shared: &mut Shared,
        link: &mut L,
    ) -> Result<Option<u32>, Blocked> {
        let sent = self.snd.nxt - self.recovery.recover();
        let left = (NEW_SEGMENTS_MAX * self.snd.mss()).saturating_sub(sent);
        if left < self.snd.mss() {
            return Ok(None);
        }
        let more = self.send_more(burst_max.min(left), common, shared, link)?;
        if more.is_none() && sent == 0 {
            self.f_rto = FRto::Off;
        }
        Ok(more)
    }
}
