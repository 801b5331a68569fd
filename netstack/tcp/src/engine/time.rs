//! What time brings.

use core::net::IpAddr;

use weir_socket::{Instant, Readiness};

use super::Engine;
use crate::counters::Counter;
use crate::demux::Target;
use crate::flow::{NotOpen, Outcome, State};
use crate::time::NEVER;

/// Timers of each kind that one call fires; the rest are due at once again.
const FIRED_MAX: usize = 256;

impl Engine {
    /// Fires what is due. Bounded: when more is due, [`Self::next_deadline`] lies in the past.
    #[inline]
    pub fn handle_timers(&mut self) {
        if self.earliest() <= self.shared.now {
            self.fire_all();
        }
    }

    /// When [`Self::handle_timers`] has to be called next.
    #[inline]
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        Some(self.earliest()).filter(|&deadline| deadline != NEVER)
    }

    /// Whether [`Self::poll_advice`] has something to say.
    #[inline(always)]
    #[must_use]
    pub fn has_advice(&self) -> bool {
        !self.shared.advice.is_empty()
    }

    /// The next peer whose first hop is in doubt: it did not acknowledge what was sent to it R1 times (RFC 9293, 3.8.3).
    pub fn poll_advice(&mut self) -> Option<IpAddr> {
        self.shared.advice.pop()
    }

    #[inline(always)]
    fn earliest(&self) -> Instant {
        // What flows that are gone left on the wheel wakes nobody while there is none.
        let wheel = if self.flows.len() == 0 { NEVER } else { self.agenda.wheel.next_deadline() };
        let flows = wheel.min(self.agenda.unresolved_due);
        flows.min(self.half_open.next_deadline()).min(self.time_waits.next_deadline())
    }

    #[inline(never)]
    fn fire_all(&mut self) {
        let now = self.shared.now;
        for _ in 0..FIRED_MAX {
            let Some(index) = self.agenda.wheel.pop_due(now) else { break };
            self.fire(index);
        }
        for _ in 0..FIRED_MAX {
            let Some(index) = self.half_open.pop_due(now) else { break };
            self.fire_half_open(index);
        }
        for _ in 0..FIRED_MAX {
            let Some((index, record)) = self.time_waits.pop(Some(now)) else { break };
            self.forget(index, self.hash(&record.tuple), &record);
        }
        if self.agenda.unresolved_due <= now {
            self.handle_neighbour_change();
        }
    }

    fn fire(&mut self, index: u32) {
        let slot = &mut self.flows[index];
        slot.armed = NEVER;
        let now = self.shared.now;
        if slot.common.timers.app <= now {
            slot.common.timers.app = NEVER;
            slot.common.pending |= Readiness::TIMER;
        }
        let outcome = match &mut slot.state {
            State::Open(open) => open.handle_timers(&mut slot.common, &mut self.shared),
            State::NotOpen(NotOpen::Opening(opening)) => opening.handle_timer(&mut slot.common, &mut self.shared),
            State::NotOpen(NotOpen::Vacant | NotOpen::Ended(_)) => Outcome::Keep,
        };
        self.conclude(index, outcome);
    }

    fn fire_half_open(&mut self, index: u32) {
        let half_open = *self.half_open.get(index);
        if half_open.retries > self.shared.config.syn_ack_retries {
            self.half_open.remove(index);
            self.demux.remove(half_open.hash, Target::HalfOpen(index));
            self.shared.count(Counter::HalfOpenTimeouts);
            return self.shared.count(Counter::AttemptFails);
        }
        self.shared.count(Counter::SynAckRetransmitted);
        self.send_syn_ack(&half_open);
    }
}
