//! What the path carries: what the link says, what ICMP says (RFC 1191, RFC 8201), and what nobody says (RFC 8899, RFC 4821).
//!
//! ```text
//!   link's MTU ── ICMP: packet too big ─────────────▶ what it says ─┐
//!   link's MTU ── full segments time out in a row ──▶ base ─────────┤
//!        ▲                                                          │ search: one larger segment now and then
//!        └────────────────── a probe is acknowledged ◀──────────────┘
//! ```
//!
//! A probe carries new data, so it costs nothing when it arrives. When it does not, its bytes are sent again in segments of the
//! known size, and nothing is concluded about congestion (RFC 4821, 7.6). Only a flow whose path carries less than its link has
//! a [`Search`].

use weir_socket::Instant;

use super::{Common, Open};
use crate::congestion::Congestion;
use crate::counters::Counter;
use crate::flow::recovery::Phase;
use crate::flow::scoreboard::Record;
use crate::flow::send_queue::advance;
use crate::link::Link;
use crate::options::TIMESTAMP_BYTES;
use crate::output::{Blocked, MTU_LEAST_V4, MTU_MIN_V4, MTU_MIN_V6, Payload, emit, mss_of_mtu};
use crate::seq::SeqNumber;
use crate::shared::Shared;
use crate::slab::{NONE, Slab};
use crate::time::{Nanoseconds, SECOND_NS};

/// Timeouts in a row of a full segment that raise the suspicion, and as many more that lower an IPv4 path to its minimum.
const BLACK_HOLE_TIMEOUTS: u8 = 2;
/// BASE_PLPMTU (RFC 8899, 5.1.2): what nearly every path carries.
const MTU_BASE: u16 = 1_280;
/// Time before a lowered path is probed, and between probes.
const PROBE_INTERVAL_NS: u64 = 5 * SECOND_NS;
/// PMTU_RAISE_TIMER (RFC 8899, 5.1.1; RFC 1191, 6.3): after so long, a path may have changed.
const RAISE_NS: u64 = 600 * SECOND_NS;
/// MAX_PROBES (RFC 8899, 5.1.2): probes of one size that are lost before it is taken for too large.
const PROBES_MAX: u8 = 3;
/// A search ends when it has come so close.
const STEP_MIN: u16 = 32;

const _: () = assert!(MTU_BASE >= MTU_MIN_V6 && MTU_BASE > MTU_MIN_V4);

/// Searches of all flows of an engine.
pub(crate) type Searches = Slab<Search>;

/// Flows of one core that search at the same time; others stay with what they know.
pub(crate) const SEARCHES_MAX: usize = 4_096;

/// The search for a larger MTU (RFC 8899, 5.3).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Search {
    /// The most that can be of use.
    mtu_max: u16,
    /// The least that is too large, as far as we know.
    ceiling: u16,
    /// The size below the ceiling was lost: take half of the way.
    is_halving: bool,
    /// Probes of the present size that were lost.
    losses: u8,
    /// Size of the probe that is on its way, and the sequence number behind it.
    probe: Option<(u16, SeqNumber)>,
    due: Instant,
}

impl Search {
    fn next_size(&self, path_mtu: u16) -> u16 {
        if self.is_halving { path_mtu + (self.ceiling - path_mtu) / 2 } else { self.ceiling - 1 }
    }

    /// From the top again, later.
    fn rest(&mut self, now: Instant) {
        (self.ceiling, self.is_halving, self.losses) = (self.mtu_max + 1, false, 0);
        self.due = now.plus_ns(RAISE_NS);
    }

    /// The probe was lost.
    fn fail(&mut self, size: u16, path_mtu: u16, now: Instant) {
        self.probe = None;
        self.losses += 1;
        self.due = now.plus_ns(PROBE_INTERVAL_NS);
        if self.losses == PROBES_MAX {
            (self.ceiling, self.is_halving, self.losses) = (size, true, 0);
            if self.ceiling - path_mtu <= STEP_MIN {
                self.rest(now);
            }
        }
    }
}

impl Open {
    /// Learns the link's MTU before the first segment, and what follows from it.
    #[inline(never)]
    pub(super) fn ask_path<L: Link>(&mut self, common: &Common, shared: &Shared, link: &L) {
        let mtu = link.mtu(common.tuple.remote.to_ip());
        self.set_path_mtu(mtu, common);
        self.congestion = Congestion::new(shared.config.congestion, self.snd.mss());
    }

    fn set_path_mtu(&mut self, mtu: u16, common: &Common) {
        let is_v4 = common.tuple.remote.is_v4();
        self.snd.path_mtu = mtu.max(if is_v4 { MTU_MIN_V4 } else { MTU_MIN_V6 });
        self.snd.mss = self.mss_of(self.snd.path_mtu, is_v4);
    }

    /// Payload bytes of a full segment on a path of `mtu`: Eff.snd.MSS (RFC 9293, 3.7.1).
    fn mss_of(&self, mtu: u16, is_v4: bool) -> u16 {
        let timestamp_bytes = if self.negotiated.timestamps { TIMESTAMP_BYTES as u16 } else { 0 };
        self.snd.peer_mss.min(mss_of_mtu(mtu, is_v4)) - timestamp_bytes
    }

    /// ICMP says that the path carries less: what is longer is sent again in smaller pieces. False when that says nothing new,
    /// or less than any link carries (RFC 1191, 3; RFC 8201, 4), which is ignored.
    pub fn path_carries(&mut self, mtu: u16, common: &mut Common, shared: &mut Shared) -> bool {
        let least = if common.tuple.remote.is_v4() { MTU_LEAST_V4 } else { MTU_MIN_V6 };
        if mtu < least || self.snd.path_mtu == 0 {
            return false;
        }
        if mtu >= self.snd.path_mtu {
            return self.probe_was_too_big(mtu, shared);
        }
        self.unfold(shared);
        let before = self.snd.mss();
        self.lower_path_mtu(mtu, RAISE_NS, common, shared);
        if self.snd.mss() < before {
            shared.count(Counter::PathMtuReductions);
            self.sent.mark_all_lost(&mut shared.records);
            common.output = true;
        }
        self.review(shared);
        true
    }

    /// ICMP says how much too large a probe was: the search goes on there.
    fn probe_was_too_big(&mut self, mtu: u16, shared: &mut Shared) -> bool {
        if self.snd.search == NONE {
            return false;
        }
        let search = &mut shared.searches[self.snd.search];
        let is_news = search.probe.is_some_and(|(size, _)| mtu < size) && mtu + 1 < search.ceiling;
        if is_news {
            (search.ceiling, search.is_halving, search.losses) = (mtu + 1, false, 0);
        }
        is_news
    }

    /// The retransmission timer has expired: if it does so again and again for a segment that is longer than any path must
    /// carry, nobody may have told that the path carries less (RFC 2923, 2.1; RFC 8899, 4.3).
    pub(super) fn suspect_black_hole(&mut self, common: &mut Common, shared: &mut Shared) {
        let is_v4 = common.tuple.remote.is_v4();
        let smaller = match self.backoff.count() / BLACK_HOLE_TIMEOUTS {
            0 => return,
            1 => MTU_BASE,
            _ if is_v4 => MTU_MIN_V4,
            _ => MTU_BASE,
        };
        let Some(first) = self.sent.first() else { return };
        let is_long = shared.records[first].payload_len() > u32::from(self.mss_of(smaller, is_v4));
        if is_long && smaller < self.snd.path_mtu {
            shared.count(Counter::PathMtuBlackHoles);
            self.lower_path_mtu(smaller, PROBE_INTERVAL_NS, common, shared);
        }
    }

    /// The path carries less, and is probed for more after a while.
    fn lower_path_mtu(&mut self, mtu: u16, wait_ns: u64, common: &Common, shared: &mut Shared) {
        let is_v4 = common.tuple.remote.is_v4();
        let headers = mtu - mss_of_mtu(mtu, is_v4);
        let mtu_max = self.snd.path_mtu.min(self.snd.peer_mss.saturating_add(headers)).min(u16::MAX - 1);
        self.set_path_mtu(mtu, common);
        if self.snd.search == NONE && mtu_max > self.snd.path_mtu {
            let search = Search { mtu_max, ceiling: mtu_max + 1, ..Search::default() };
            self.snd.search = shared.searches.insert(search).unwrap_or(NONE);
        }
        if self.snd.search != NONE {
            let search = &mut shared.searches[self.snd.search];
            search.rest(shared.now);
            search.due = shared.now.plus_ns(wait_ns);
            search.probe = None;
        }
    }

    /// Sends a probe when one is due and the windows take it whole.
    #[inline(never)]
    pub(super) fn send_path_probe<L: Link>(
        &mut self,
        common: &mut Common,
        shared: &mut Shared,
        link: &mut L,
    ) -> Result<(), Blocked> {
        let search = shared.searches[self.snd.search];
        if search.probe.is_some() || search.due > shared.now || !shared.records.has_room() {
            return Ok(());
        }
        let size = search.next_size(self.snd.path_mtu);
        let len = u32::from(self.mss_of(size, common.tuple.remote.is_v4()));
        let cwnd_room = self.congestion.cwnd.saturating_sub(self.in_flight());
        let room = self.queue.unsent_len().min(self.window_room()).min(cwnd_room);
        if len > room || self.recovery.phase() != Phase::Open || self.sent.lost_bytes() > 0 || self.probe.is_some() {
            return Ok(());
        }
        let at = self.queue.unsent();
        let payload = Payload::new(&shared.chunks, at, len, len);
        if payload.len() < len {
            // Too many pieces for one segment; a later one may be of fewer.
            return Ok(());
        }
        let header = self.new_header(len, false, shared);
        let payload = Payload::new(&shared.chunks, at, len, len);
        emit(link, shared, common.route(), &header, payload)?;
        let after = advance(&shared.chunks, at, len);
        self.new_was_sent(len, after, &header, common, shared);
        shared.count(Counter::PathMtuProbes);
        shared.searches[self.snd.search].probe = Some((size, self.snd.nxt));
        Ok(())
    }

    /// Everything up to `ack` was delivered: was a probe among it?
    #[cold]
    pub(super) fn settle_path_probe(&mut self, ack: SeqNumber, common: &Common, shared: &mut Shared) {
        let mut search = shared.searches[self.snd.search];
        let Some((size, _)) = search.probe.filter(|&(_, end)| ack >= end) else { return };
        if size > self.snd.path_mtu {
            shared.count(Counter::PathMtuRaises);
            self.set_path_mtu(size, common);
        }
        (search.probe, search.losses) = (None, 0);
        if size >= search.mtu_max {
            return self.end_search(shared);
        }
        if search.ceiling - self.snd.path_mtu <= STEP_MIN || !search.is_halving {
            search.rest(shared.now);
        }
        shared.searches[self.snd.search] = search;
    }

    /// A segment is sent again: a probe that it belongs to has failed.
    #[cold]
    pub(super) fn fail_path_probe(&mut self, record: &Record, shared: &mut Shared) {
        let search = &mut shared.searches[self.snd.search];
        let Some((size, end)) = search.probe else { return };
        if record.seq < end && record.end() >= end {
            search.fail(size, self.snd.path_mtu, shared.now);
            shared.count(Counter::PathMtuProbesLost);
        }
    }

    /// RFC 4821, 7.6: whether all that was lost is a probe, which says nothing about congestion.
    pub(super) fn has_lost_probe_only(&self, shared: &Shared) -> bool {
        if self.snd.search == NONE {
            return false;
        }
        let (Some((_, end)), Some(first)) = (shared.searches[self.snd.search].probe, self.sent.first_lost()) else {
            return false;
        };
        let record = &shared.records[first];
        record.end() == end && record.len == self.sent.lost_bytes()
    }

    /// The path carries all that is of use, or the flow ends.
    pub(super) fn end_search(&mut self, shared: &mut Shared) {
        if self.snd.search != NONE {
            shared.searches.release(self.snd.search);
            self.snd.search = NONE;
        }
    }
}
