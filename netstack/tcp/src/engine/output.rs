//! What goes out, in the order of its weight: answers that no flow sends, acknowledgements, data.

use super::Engine;
use crate::counters::Counter;
use crate::flow::{NotOpen, Queued, State};
use crate::link::Link;
use crate::output::{Blocked, count, emit_bare};
use crate::time::{MILLISECOND_NS, Nanoseconds};

/// After so long, flows without a neighbour try again unasked.
const NEIGHBOUR_RETRY_NS: u64 = 100 * MILLISECOND_NS;

impl Engine {
    /// Sends what is due until nothing is left or the link has no room. Flows with data take turns.
    pub fn poll_transmit<L: Link>(&mut self, link: &mut L) {
        if self.send_replies(link).is_err() {
            return;
        }
        while let Some(index) = self.agenda.acks.pop_front() {
            if self.transmit_flow(index, link) == Err(Blocked::Room) {
                return;
            }
        }
        while let Some(index) = self.agenda.data.pop_front() {
            if self.transmit_flow(index, link) == Err(Blocked::Room) {
                return;
            }
        }
    }

    fn send_replies<L: Link>(&mut self, link: &mut L) -> Result<(), Blocked> {
        while let Some(reply) = self.replies.first() {
            let sent = emit_bare(link, &self.shared, reply.route(), &reply.header);
            if sent == Err(Blocked::Room) {
                return sent;
            }
            // Without a neighbour the answer is lost, as the network might have lost it.
            count(&mut self.shared, reply.header.flags);
            self.replies.pop();
        }
        Ok(())
    }

    #[inline(always)]
    fn transmit_flow<L: Link>(&mut self, index: u32, link: &mut L) -> Result<(), Blocked> {
        let slot = &mut self.flows[index];
        slot.queued = Queued::None;
        if slot.common.output {
            let sent = match &mut slot.state {
                State::Open(open) => open.transmit(&mut slot.common, &mut self.shared, link),
                State::NotOpen(NotOpen::Opening(opening)) => {
                    opening.transmit(&mut slot.common, &mut self.shared, link).map(|()| false)
                }
                State::NotOpen(NotOpen::Vacant | NotOpen::Ended(_)) => Ok(false),
            };
            match sent {
                Ok(false) => {}
                Ok(true) => {
                    slot.common.output = true;
                    self.agenda.enter(index, slot);
                }
                Err(blocked) => {
                    slot.common.output = true;
                    self.put_off(index, blocked);
                    return Err(blocked);
                }
            }
        }
        self.agenda.arm(index, slot);
        Ok(())
    }

    #[cold]
    fn put_off(&mut self, index: u32, blocked: Blocked) {
        let slot = &mut self.flows[index];
        match blocked {
            Blocked::Room => {
                slot.queued = Queued::Data;
                self.agenda.data.push_front(index);
                if self.shared.pool.free() == 0 {
                    self.shared.count(Counter::NoBuffer);
                }
            }
            Blocked::Neighbour => {
                slot.queued = Queued::Unresolved;
                self.agenda.unresolved.push_back(index);
                self.agenda.unresolved_due =
                    self.agenda.unresolved_due.min(self.shared.now.plus_ns(NEIGHBOUR_RETRY_NS));
            }
        }
        self.agenda.arm(index, &mut self.flows[index]);
    }

    /// A neighbour was resolved or changed: what waits for one is tried again at the next [`Self::poll_transmit`].
    pub fn handle_neighbour_change(&mut self) {
        self.agenda.unresolved_due = crate::time::NEVER;
        while let Some(index) = self.agenda.unresolved.pop_front() {
            self.flows[index].queued = Queued::Data;
            self.agenda.data.push_back(index);
        }
    }
}
