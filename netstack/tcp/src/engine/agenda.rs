//! What is to be done for which flow: the queues that a slot can stand in, and its place on the timer wheel.

use weir_socket::Instant;

use crate::flow::{Queued, Slot, State};
use crate::queue::Queue;
use crate::time::NEVER;
use crate::wheel::Wheel;

/// Marks an entry of the event queue as a listener's place.
pub(super) const LISTENER_EVENT: u32 = 1 << 31;

/// A slot stands at most once in the queue of events and once in one of the others, as its flags tell.
pub(super) struct Agenda {
    pub wheel: Wheel,
    /// Slots with edges to report; with [`LISTENER_EVENT`], listeners.
    pub events: Queue,
    /// Slots that have an acknowledgement to send, or a SYN.
    pub acks: Queue,
    /// Slots that have data to send, or whose timer is to be armed once the application has had its turn.
    pub data: Queue,
    /// Slots that have held something out of order since they were here last.
    pub reordered: Queue,
    /// Slots whose neighbour is being resolved, and when they are tried again at the latest.
    pub unresolved: Queue,
    pub unresolved_due: Instant,
}

impl Agenda {
    pub fn new() -> Self {
        Self {
            wheel: Wheel::new(Instant::default()),
            events: Queue::default(),
            acks: Queue::default(),
            data: Queue::default(),
            reordered: Queue::default(),
            unresolved: Queue::default(),
            unresolved_due: NEVER,
        }
    }

    /// Enters the slot in the queues it belongs to. Called after everything that touches a flow.
    ///
    /// A timer to be armed is left to [`Self::arm`] at the end of the turn: most requests are answered within it, and the
    /// delay of their acknowledgement never gets onto the wheel.
    #[inline(always)]
    pub fn enter(&mut self, index: u32, slot: &mut Slot) {
        let common = &slot.common;
        if !common.pending.is_none() && common.is_held && !slot.is_event_queued {
            slot.is_event_queued = true;
            self.events.push_back(index);
        }
        if slot.queued == Queued::None && (common.output || common.timers.earliest() < slot.armed) {
            let is_ack = common.output && !matches!(&slot.state, State::Open(open) if open.has_more_than_ack());
            let (queued, queue) = if is_ack { (Queued::Acks, &mut self.acks) } else { (Queued::Data, &mut self.data) };
            slot.queued = queued;
            queue.push_back(index);
        } else if slot.queued == Queued::Unresolved {
            self.arm(index, slot);
        }
    }

    /// Arms the slot's timer.
    #[inline(always)]
    pub fn arm(&mut self, index: u32, slot: &mut Slot) {
        let earliest = slot.common.timers.earliest();
        if earliest < slot.armed {
            slot.armed = earliest;
            self.wheel.arm(index, earliest);
        }
    }
}
