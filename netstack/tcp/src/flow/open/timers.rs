//! What time does to a synchronised flow.

use weir_socket::CloseReason;

use super::{Acknowledge, Common, LossTimer, Open, Outcome, Probe, TailProbe};
use crate::counters::{Counter, FlowState};
use crate::flow::recovery::{Phase, Report};
use crate::shared::Shared;
use crate::time::{NEVER, Nanoseconds};

impl Open {
    /// Fires what is due.
    pub fn handle_timers(&mut self, common: &mut Common, shared: &mut Shared) -> Outcome {
        let outcome = self.fire(common, shared);
        self.review(shared);
        outcome
    }

    fn fire(&mut self, common: &mut Common, shared: &mut Shared) -> Outcome {
        let now = shared.now;
        if common.timers.ack <= now {
            common.timers.ack = NEVER;
            if self.acknowledge == Acknowledge::Delayed {
                shared.count(Counter::DelayedAcks);
                self.acknowledge_now(common);
            }
        }
        if common.timers.loss <= now {
            common.timers.loss = NEVER;
            common.output = true;
            self.unfold(shared);
            let outcome = match self.loss_timer {
                LossTimer::Retransmission => self.retransmission_timeout(common, shared),
                LossTimer::TailProbe => self.tail_probe_timeout(common, shared),
                LossTimer::Reordering => self.reordering_timeout(common, shared),
                LossTimer::Persist => self.persist_timeout(common, shared),
            };
            if outcome != Outcome::Keep {
                return outcome;
            }
        }
        if common.timers.idle <= now {
            common.timers.idle = NEVER;
            return self.idle_timeout(common, shared);
        }
        Outcome::Keep
    }

    /// RFC 6298, (5.4) to (5.6).
    fn retransmission_timeout(&mut self, common: &mut Common, shared: &mut Shared) -> Outcome {
        if self.has_given_up(shared) {
            return Outcome::Abort(CloseReason::TimedOut);
        }
        shared.count(Counter::RetransmissionTimeouts);
        self.tail_probe = TailProbe::None;
        self.probe = None;
        // The peer may have discarded what it had reported (RFC 2018, 8).
        if self.sent.first().is_some_and(|first| shared.records[first].standing == super::Standing::Sacked) {
            self.sent.forget_sacked(&mut shared.records);
        }
        self.sent.mark_all_lost(&mut shared.records);
        self.backoff.back_off();
        shared.advice.consider(common.tuple.remote, self.backoff.count());
        self.suspect_black_hole(common, shared);
        self.begin_f_rto();
        self.recovery.time_out((self.snd.una, self.snd.nxt), self.snd.mss(), &mut self.congestion);
        self.loss_timer = LossTimer::Retransmission;
        common.timers.loss = shared.now.plus_ns(self.rto_ns());
        Outcome::Keep
    }

    /// RFC 8985, 7.3. The retransmission timer takes over.
    fn tail_probe_timeout(&mut self, common: &mut Common, shared: &mut Shared) -> Outcome {
        shared.count(Counter::TailLossProbes);
        self.probe = Some(Probe::Tail);
        self.loss_timer = LossTimer::Retransmission;
        common.timers.loss = shared.now.plus_ns(self.rto_ns());
        Outcome::Keep
    }

    /// RFC 8985, 6.3: nothing came that would have shown the rest to be merely late.
    fn reordering_timeout(&mut self, common: &mut Common, shared: &mut Shared) -> Outcome {
        let circumstances = self.circumstances(shared);
        let wait_ns = self.rack.detect_losses(&mut self.sent, &mut shared.records, &circumstances);
        if self.sent.lost_bytes() > 0 && !self.recovery.is_recovering() && !self.has_lost_probe_only(shared) {
            shared.count(Counter::FastRecoveries);
            self.begin_recovery(Phase::Fast, self.snd.nxt - self.snd.una);
            let (pipe, mss) = (self.in_flight(), self.snd.mss());
            let report = Report { delivered: 0, pipe, progress: false, is_due: false, mss };
            self.recovery.reduce_proportionally(&report, &mut self.congestion);
        }
        self.restart_loss_timer(common, shared);
        if let Some(wait_ns) = wait_ns {
            self.loss_timer = LossTimer::Reordering;
            common.timers.loss = shared.now.plus_ns(wait_ns);
        }
        Outcome::Keep
    }

    /// The window is still closed: ask, less and less often. A peer that answers may keep it closed for as long as it likes,
    /// unless nobody is left who wants its answer.
    fn persist_timeout(&mut self, common: &mut Common, shared: &mut Shared) -> Outcome {
        let is_silent = self.heard_at.age_ns(shared.now) > shared.limits.user_timeout_ns;
        if is_silent || (self.orphaned && self.has_given_up(shared)) {
            return Outcome::Abort(CloseReason::TimedOut);
        }
        self.persist_backoff.back_off();
        self.probe = Some(Probe::Window);
        self.loss_timer = LossTimer::Persist;
        common.timers.loss = shared.now.plus_ns(self.rtt.rto_ns(self.persist_backoff));
        Outcome::Keep
    }

    /// RFC 9293, 3.8.3: the user timeout.
    fn has_given_up(&self, shared: &Shared) -> bool {
        self.stalled_since.age_ns(shared.now) > shared.limits.user_timeout_ns
    }

    /// Keepalive (3.8.4), or the end of an abandoned FIN-WAIT-2.
    fn idle_timeout(&mut self, common: &mut Common, shared: &mut Shared) -> Outcome {
        let now = shared.now;
        if self.orphaned {
            return if self.state == FlowState::FinWait2 {
                Outcome::Gone(CloseReason::TimedOut)
            } else {
                Outcome::Keep
            };
        }
        let Some(keepalive) = shared.config.keepalive else { return Outcome::Keep };
        let left_ns = shared.limits.keepalive_idle_ns.saturating_sub(self.heard_at.age_at_most_ns(now));
        if left_ns > 0 {
            self.keepalive_probes = 0;
            common.timers.idle = now.plus_ns(left_ns);
            return Outcome::Keep;
        }
        if self.keepalive_probes >= keepalive.probes {
            return Outcome::Abort(CloseReason::TimedOut);
        }
        self.keepalive_probes += 1;
        if self.sent.is_empty() {
            self.probe = Some(Probe::Window);
            common.output = true;
        }
        common.timers.idle = now.plus_ns(shared.limits.keepalive_interval_ns);
        Outcome::Keep
    }

    /// Arms the idle timer for the state that the flow is in.
    pub fn arm_idle(&mut self, common: &mut Common, shared: &Shared) {
        common.timers.idle = if self.orphaned {
            match self.state {
                FlowState::FinWait2 => shared.now.plus_ns(shared.limits.fin_wait_2_ns),
                _ => NEVER,
            }
        } else if shared.config.keepalive.is_some() {
            shared.now.plus_ns(shared.limits.keepalive_idle_ns)
        } else {
            NEVER
        };
    }
}
