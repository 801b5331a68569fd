//! What a flow sends, and in which order: probes, what was lost, new data, the FIN, and an acknowledgement if none of these
//! carried it.

use super::{Acknowledge, Common, FRto, Fin, LossTimer, Open, Probe, TailProbe};
use crate::counters::Counter;
use crate::flow::recovery::Phase;
use crate::flow::rtt::Backoff;
use crate::flow::scoreboard::{Record, Standing};
use crate::flow::send_queue::{Cursor, advance, contiguous};
use crate::link::{Ecn, Link};
use crate::options::Timestamp;
use crate::output::{
    Blocked, COPY_BYTES, Header, Payload, PlainHeader, count, emit, emit_bare, emit_copied, emit_gathered,
};
use crate::segment::Flags;
use crate::seq::SeqNumber;
use crate::shared::Shared;
use crate::slab::NONE;
use crate::time::{NEVER, Nanoseconds, Stamp};

/// Bytes that a flow sends before the next one has its turn.
const QUANTUM_BYTES: u32 = 64 * 1024;

/// What is to be sent before anything new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Urgent {
    Nothing,
    Probe,
    Retransmission { record: u32, len: u32 },
    New { len: u32, fin: bool },
}

impl Open {
    /// Sends what is due, up to a quantum. Answers whether there may be more.
    #[inline(always)]
    pub fn transmit<L: Link>(
        &mut self,
        common: &mut Common,
        shared: &mut Shared,
        link: &mut L,
    ) -> Result<bool, Blocked> {
        common.output = false;
        let unsent = self.queue.unsent_len();
        if !self.is_answer(unsent) {
            return self.transmit_unusual(common, shared, link);
        }
        self.transmit_answer(unsent, common, shared, link)
    }

    /// As [`Self::transmit`], for a flow whose path is not known yet or that has something else to send: as a rule its first
    /// answer, or its FIN.
    #[inline(never)]
    fn transmit_unusual<L: Link>(
        &mut self,
        common: &mut Common,
        shared: &mut Shared,
        link: &mut L,
    ) -> Result<bool, Blocked> {
        if self.snd.path_mtu == 0 {
            self.ask_path(common, shared, link);
            self.review(shared);
        }
        let unsent = self.queue.unsent_len();
        if self.is_answer(unsent) {
            self.transmit_answer(unsent, common, shared, link)
        } else if self.is_last_answer(unsent, shared) {
            self.transmit_last_answer(unsent, common, shared, link)
        } else {
            self.transmit_any(common, shared, link)
        }
    }

    /// Anything that is due.
    #[inline(never)]
    pub(super) fn transmit_any<L: Link>(
        &mut self,
        common: &mut Common,
        shared: &mut Shared,
        link: &mut L,
    ) -> Result<bool, Blocked> {
        self.unfold(shared);
        let result = self.transmit_all(common, shared, link);
        self.review(shared);
        result
    }

    #[inline(always)]
    fn transmit_all<L: Link>(
        &mut self,
        common: &mut Common,
        shared: &mut Shared,
        link: &mut L,
    ) -> Result<bool, Blocked> {
        let burst_max = (link.segmentation_max(!common.tuple.remote.is_v4()) as u32).max(self.snd.mss());
        let mut left = QUANTUM_BYTES;
        if self.snd.search != NONE {
            self.send_path_probe(common, shared, link)?;
        }
        while self.has_more_than_ack() {
            if left == 0 {
                return Ok(true);
            }
            let sent = if self.probe.is_some() || self.sent.lost_bytes() > 0 {
                self.send_urgent(burst_max, common, shared, link)?
            } else {
                self.send_more(burst_max, common, shared, link)?
            };
            let Some(sent) = sent else { break };
            left = left.saturating_sub(sent.max(self.snd.mss()));
        }
        if self.acknowledge == Acknowledge::Now {
            self.send_control(self.snd.nxt, common, shared, link)?;
        }
        if common.timers.loss == NEVER {
            self.arm_loss_timer(common, shared);
        }
        Ok(false)
    }

    /// Whether something else than an acknowledgement may be waiting.
    #[inline(always)]
    pub fn has_more_than_ack(&self) -> bool {
        self.queue.unsent_len() > 0 || self.sent.lost_bytes() > 0 || self.fin == Fin::Queued || self.probe.is_some()
    }

    /// Sends a probe or what was lost; none when neither may be sent now.
    #[inline(never)]
    fn send_urgent<L: Link>(
        &mut self,
        burst_max: u32,
        common: &mut Common,
        shared: &mut Shared,
        link: &mut L,
    ) -> Result<Option<u32>, Blocked> {
        if self.f_rto == FRto::NewData {
            let sent = self.send_f_rto(burst_max, common, shared, link)?;
            if self.f_rto == FRto::NewData {
                return Ok(sent);
            }
        }
        let sent = match self.next_urgent(shared, burst_max) {
            Urgent::Nothing if self.probe.is_none() && self.sent.first_lost().is_none() => {
                return self.send_more(burst_max, common, shared, link);
            }
            Urgent::Nothing => return Ok(None),
            Urgent::Probe => self.send_probe(common, shared, link)?,
            Urgent::Retransmission { record, len } => self.retransmit(record, len, common, shared, link)?,
            Urgent::New { len, fin } => self.send_new(len, fin, common, shared, link)?,
        };
        Ok(Some(sent))
    }

    /// Sends new data; none when they may not be sent now.
    #[inline(always)]
    pub(super) fn send_more<L: Link>(
        &mut self,
        burst_max: u32,
        common: &mut Common,
        shared: &mut Shared,
        link: &mut L,
    ) -> Result<Option<u32>, Blocked> {
        match self.next_new(self.queue.unsent_len(), common, shared, burst_max) {
            Some((len, fin)) => self.send_new(len, fin, common, shared, link).map(Some),
            None => Ok(None),
        }
    }

    fn next_urgent(&mut self, shared: &mut Shared, burst_max: u32) -> Urgent {
        if let Some(probe) = self.probe {
            match self.next_probe(probe, shared, burst_max) {
                Urgent::Nothing => self.probe = None,
                next => return next,
            }
        }
        match self.sent.first_lost() {
            Some(record) => self.next_retransmission(record, shared, burst_max),
            None => Urgent::Nothing,
        }
    }

    /// What a probe carries; nothing when there is no need for it any more.
    fn next_probe(&self, probe: Probe, shared: &Shared, burst_max: u32) -> Urgent {
        let (unsent, room) = (self.queue.unsent_len(), self.window_room());
        // After a while even a silly window is used: the peer may have no other (RFC 9293, 3.8.6.2.1, (4)).
        if unsent > 0 && room > 0 {
            let len = unsent.min(room).min(self.snd.mss());
            return Urgent::New { len, fin: len == unsent && self.fin == Fin::Queued && len < room };
        }
        if probe == Probe::Window {
            return Urgent::Probe;
        }
        match self.sent.last() {
            Some(record) if shared.records[record].standing == Standing::Outstanding => {
                Urgent::Retransmission { record, len: shared.records[record].len.min(burst_max) }
            }
            _ => Urgent::Nothing,
        }
    }

    /// What is lost goes first. A segment always goes when nothing is in flight.
    fn next_retransmission(&mut self, record: u32, shared: &Shared, burst_max: u32) -> Urgent {
        let (len, in_flight) = (shared.records[record].len, self.in_flight());
        let room = self.congestion.cwnd.saturating_sub(in_flight);
        if room < len.min(self.snd.mss()) && in_flight > 0 {
            return Urgent::Nothing;
        }
        let whole = room.min(burst_max) / self.snd.mss() * self.snd.mss();
        Urgent::Retransmission { record, len: len.min(whole.max(self.snd.mss())) }
    }

    /// New data: within the peer's window, within `cwnd`, and neither a silly window's worth (3.8.6.2.1) nor against Nagle
    /// (3.7.4). Answers how many bytes, and whether the FIN goes with them.
    #[inline(always)]
    fn next_new(&mut self, unsent: u32, common: &Common, shared: &Shared, burst_max: u32) -> Option<(u32, bool)> {
        let window_room = self.window_room();
        let in_flight = self.in_flight();
        let mss = self.snd.mss();
        if unsent == 0 {
            return (window_room > 0 && self.fin == Fin::Queued).then_some((0, true));
        }
        self.restart_after_idle(in_flight, shared);
        let cwnd_room = self.congestion.cwnd.saturating_sub(in_flight);
        let mut len = unsent.min(window_room).min(burst_max);
        if cwnd_room < len {
            self.cwnd_limited = true;
            len = if in_flight == 0 { len.min(mss) } else { cwnd_room / mss * mss };
            if len == 0 {
                return None;
            }
        }
        if len < unsent {
            let whole = len / mss * mss;
            let is_silly = whole == 0 && (len == 0 || len < self.snd.wnd_max / 2);
            if is_silly {
                return None;
            }
            len = if whole == 0 { len } else { whole };
        } else if common.nagle && in_flight > 0 && self.fin != Fin::Queued && !len.is_multiple_of(mss) {
            len = len / mss * mss;
            if len == 0 {
                return None;
            }
        }
        Some((len, len == unsent && self.fin == Fin::Queued && len < window_room))
    }

    /// Bytes that the peer's window still takes.
    #[inline]
    pub(super) fn window_room(&self) -> u32 {
        self.snd.nxt.until(self.snd.una + self.snd.wnd)
    }

    /// RFC 5681, 4.1.
    #[inline]
    pub(super) fn restart_after_idle(&mut self, in_flight: u32, shared: &Shared) {
        if in_flight == 0 && self.snd.sent_at.age_ns(shared.now) > self.rto_ns() {
            self.restart(shared);
        }
    }

    #[cold]
    pub(super) fn restart(&mut self, shared: &Shared) {
        self.congestion.on_idle(self.snd.mss());
        self.snd.sent_at = Stamp::new(shared.now);
    }

    /// Sends bytes for the first time, and the FIN behind them. Answers how many bytes.
    #[inline(always)]
    fn send_new<L: Link>(
        &mut self,
        len: u32,
        fin: bool,
        common: &mut Common,
        shared: &mut Shared,
        link: &mut L,
    ) -> Result<u32, Blocked> {
        if len > COPY_BYTES || !shared.records.has_room() {
            return self.send_new_pieces(len, fin, common, shared, link);
        }
        let header = self.new_header(len, fin, shared);
        let at = self.queue.unsent();
        let short = if len == 0 { Some((&[][..], at)) } else { contiguous(&shared.chunks, at, len) };
        let Some((bytes, after)) = short else {
            return self.send_new_pieces(len, fin, common, shared, link);
        };
        emit_copied(link, shared, common.route(), &header, bytes)?;
        self.new_was_sent(len, after, &header, common, shared);
        Ok(len)
    }

    /// As [`Self::send_new`], for bytes that lie in several chunks or stay where they are.
    #[inline(never)]
    fn send_new_pieces<L: Link>(
        &mut self,
        len: u32,
        fin: bool,
        common: &mut Common,
        shared: &mut Shared,
        link: &mut L,
    ) -> Result<u32, Blocked> {
        if !shared.records.has_room() {
            return Err(Blocked::Room);
        }
        let at = self.queue.unsent();
        if len <= COPY_BYTES {
            let header = self.new_header(len, fin, shared);
            let after = emit_gathered(link, shared, common.route(), &header, (at, len))?;
            self.new_was_sent(len, after, &header, common, shared);
            return Ok(len);
        }
        let taken = Payload::new(&shared.chunks, at, len, self.snd.mss()).len();
        let header = self.new_header(taken, fin && taken == len, shared);
        let payload = Payload::new(&shared.chunks, at, taken, self.snd.mss());
        emit(link, shared, common.route(), &header, payload)?;
        let after = advance(&shared.chunks, at, taken);
        self.new_was_sent(taken, after, &header, common, shared);
        Ok(taken)
    }

    /// The header in front of the next `len` new bytes.
    #[inline(always)]
    pub(super) fn new_header(&mut self, len: u32, fin: bool, shared: &Shared) -> PlainHeader {
        let mut flags = if len == self.queue.unsent_len() { Flags::ACK.with(Flags::PSH) } else { Flags::ACK };
        if fin {
            flags = flags.with(Flags::FIN);
        }
        if self.ecn.reduced {
            flags = flags.with(Flags::CWR);
        }
        self.header(self.snd.nxt, flags, self.data_ecn(), shared)
    }

    /// What follows from new data on their way: `len` bytes, up to the place `after`.
    #[inline(always)]
    pub(super) fn new_was_sent(
        &mut self,
        len: u32,
        after: Cursor,
        header: &PlainHeader,
        common: &mut Common,
        shared: &mut Shared,
    ) {
        let fin = header.flags.has(Flags::FIN);
        let record = Record::new(header.seq, len, fin, self.queue.unsent(), shared.now);
        self.data_acknowledged(common);
        self.ecn.reduced = false;
        self.sent.push(&mut shared.records, record);
        self.queue.mark_sent_to(after, len);
        self.snd.nxt += record.len;
        self.note_sent(record.len, common, shared);
        if fin {
            self.fin = Fin::Sent;
        }
        count(shared, header.flags);
    }

    /// The timers and the window after `len` new sequence numbers.
    #[inline(always)]
    fn note_sent(&mut self, len: u32, common: &mut Common, shared: &Shared) {
        if self.recovery.phase() != Phase::Open {
            self.recovery.note_sent(len);
        }
        self.snd.sent_at = Stamp::new(shared.now);
        if self.queue.unsent_len() == 0 {
            self.cwnd_limited = false;
        }
        if self.probe.take() == Some(Probe::Tail) {
            (self.tail_probe, self.tail_probe_end) = (TailProbe::New, self.snd.nxt);
            self.restart_loss_timer(common, shared);
        } else if common.timers.loss == NEVER
            || matches!(self.loss_timer, LossTimer::TailProbe | LossTimer::Persist)
            || self.is_second(len)
        {
            if self.snd.nxt - self.snd.una == len {
                self.stalled_since = Stamp::new(shared.now);
            }
            self.restart_loss_timer(common, shared);
        }
    }

    /// Whether what was sent last, of `len` sequence numbers, joined a segment that was alone. A lone segment's probe has to
    /// allow for a delayed acknowledgement, which leaves it to the retransmission timer; that of two need not wait so long.
    #[inline]
    fn is_second(&self, len: u32) -> bool {
        let in_flight = self.snd.nxt - self.snd.una;
        in_flight > self.snd.mss() && in_flight - len <= self.snd.mss()
    }

    /// Sends up to `len` sequence numbers of a record again.
    fn retransmit<L: Link>(
        &mut self,
        record: u32,
        len: u32,
        common: &mut Common,
        shared: &mut Shared,
        link: &mut L,
    ) -> Result<u32, Blocked> {
        let whole_record = shared.records[record];
        let Record { at, seq, fin, len: whole, .. } = whole_record;
        let payload_len = shared.records[record].payload_len().min(len);
        let taken = Payload::new(&shared.chunks, at, payload_len, self.snd.mss()).len();
        let with_fin = fin && taken == shared.records[record].payload_len() && len >= whole.min(taken + 1);
        let part = taken + u32::from(with_fin);
        if part == 0 {
            return Ok(0);
        }
        let rest = if part < whole { Some(shared.records.allocate().ok_or(Blocked::Room)?) } else { None };
        let flags = if with_fin { Flags::ACK.with(Flags::FIN) } else { Flags::ACK };
        // A retransmission is never marked as capable of ECN (RFC 3168, 6.1.5).
        let header = self.header(seq, flags, Ecn::NotCapable, shared);
        let payload = Payload::new(&shared.chunks, at, taken, self.snd.mss());
        if let Err(blocked) = emit(link, shared, common.route(), &header, payload) {
            if let Some(rest) = rest {
                shared.records.release(rest);
            }
            return Err(blocked);
        }
        self.data_acknowledged(common);
        if rest.is_some() {
            self.sent.split(&mut shared.records, &shared.chunks, record, part, rest);
        }
        if self.snd.search != NONE {
            self.fail_path_probe(&whole_record, shared);
        }
        self.sent.retransmit(&mut shared.records, record, shared.now);
        self.recovery.note_retransmit(part, self.timestamp(shared));
        self.recovery.note_sent(part);
        self.snd.sent_at = Stamp::new(shared.now);
        count(shared, header.flags);
        shared.count(Counter::SegmentsRetransmitted);
        if self.probe.take() == Some(Probe::Tail) {
            (self.tail_probe, self.tail_probe_end) = (TailProbe::Retransmitted, self.snd.nxt);
            self.restart_loss_timer(common, shared);
        } else if common.timers.loss == NEVER || self.loss_timer == LossTimer::Persist {
            self.restart_loss_timer(common, shared);
        }
        Ok(taken)
    }

    /// A segment of the last sequence number that was acknowledged: whoever gets it answers.
    fn send_probe<L: Link>(&mut self, common: &mut Common, shared: &mut Shared, link: &mut L) -> Result<u32, Blocked> {
        self.send_control(self.snd.una - 1, common, shared, link)?;
        shared.count(Counter::WindowProbes);
        self.probe = None;
        Ok(0)
    }

    /// Sends a segment without payload.
    #[inline(never)]
    fn send_control<L: Link>(
        &mut self,
        seq: SeqNumber,
        common: &mut Common,
        shared: &mut Shared,
        link: &mut L,
    ) -> Result<(), Blocked> {
        let header = self.header(seq, Flags::ACK, Ecn::NotCapable, shared);
        if !self.owes_report() {
            emit_copied(link, shared, common.route(), &header, &[])?;
        } else {
            let mut header = Header::from(header);
            for (block, (start, end)) in
                header.options.sack.iter_mut().zip(self.reassembly.report(self.rcv.nxt, shared))
            {
                *block = Some((start.0, end.0));
            }
            emit_bare(link, shared, common.route(), &header)?;
            self.reassembly.was_reported(shared);
        }
        self.was_acknowledged(common);
        count(shared, header.flags);
        Ok(())
    }

    /// The header of every segment of the flow: it acknowledges what was received and announces the window.
    #[inline(always)]
    fn header(&mut self, seq: SeqNumber, flags: Flags, ecn: Ecn, shared: &Shared) -> PlainHeader {
        let window = self.open_window(shared);
        let timestamp = self.timestamp_option(shared);
        let flags = if self.ecn.echo { flags.with(Flags::ECE) } else { flags };
        PlainHeader { seq, ack: self.rcv.nxt, flags, window, ecn, timestamp }
    }

    #[inline(always)]
    pub(super) fn timestamp_option(&self, shared: &Shared) -> Option<Timestamp> {
        self.negotiated.timestamps.then(|| Timestamp { value: self.timestamp(shared), echo: self.rcv.ts_recent })
    }

    #[inline]
    pub(super) fn data_ecn(&self) -> Ecn {
        if self.negotiated.ecn { Ecn::Capable0 } else { Ecn::NotCapable }
    }

    /// An acknowledgement of everything received has been sent.
    #[inline(always)]
    pub(super) fn was_acknowledged(&mut self, common: &mut Common) {
        self.acknowledge = Acknowledge::Nothing;
        self.rcv.acked = self.rcv.nxt;
        common.timers.ack = NEVER;
    }

    /// Data have been sent, which acknowledge as well, but report nothing: what has to be reported follows by itself.
    #[inline(always)]
    pub(super) fn data_acknowledged(&mut self, common: &mut Common) {
        if self.acknowledge == Acknowledge::Now && self.owes_report() {
            self.rcv.acked = self.rcv.nxt;
        } else {
            self.was_acknowledged(common);
        }
    }

    /// Whether an acknowledgement has to carry a SACK option.
    #[inline]
    fn owes_report(&self) -> bool {
        self.negotiated.sack && !self.reassembly.is_empty()
    }

    /// Whatever is queued or on its way has a timer. With a closed window and nothing on its way, it is RFC 9293, 3.8.6.1's.
    fn arm_loss_timer(&mut self, common: &mut Common, shared: &Shared) {
        if !self.sent.is_empty() {
            self.restart_loss_timer(common, shared);
        } else if self.queue.unsent_len() > 0 || self.fin == Fin::Queued {
            self.loss_timer = LossTimer::Persist;
            self.persist_backoff = Backoff::default();
            common.timers.loss = shared.now.plus_ns(self.rto_ns());
        }
    }
}
