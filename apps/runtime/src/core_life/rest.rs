//! What a core does between two turns: it looks out for a while, then it halts. It takes no turn in between: that would find
//! nothing, and cost as much as some of the work does.

use weir_hal::CoreId;
use weir_kernel::{cores, time, warn};
use weir_socket::Instant;

use super::{Core, FETCH_PERIOD_NS};
use crate::control::Control;

/// No deadline.
const NEVER_NS: u64 = u64::MAX;

/// Looks for arrivals between two looks at the time, which costs as much as one for arrivals.
const LOOKS_PER_TIME: usize = 8;

impl Core {
    /// Looks out for a frame or a message until the window is over, then halts until one comes: far cheaper than turn after turn
    /// that find nothing. Returns when the next turn is due.
    pub(super) fn rest(&mut self) {
        if self.has_arrivals() {
            return;
        }
        let now_ns = time::now_ns();
        self.was_busy_until(now_ns);
        let due_ns = self.deadline_ns(now_ns);
        let window = self.sleeper.window(now_ns);
        if !self.looks_out_until(window.end_ns.min(due_ns)) && window.ends_in_halt && window.end_ns < due_ns {
            self.sleep(due_ns);
        }
    }

    /// Whether something has come before `end_ns`.
    fn looks_out_until(&self, end_ns: u64) -> bool {
        while time::now_ns() < end_ns {
            for _ in 0..LOOKS_PER_TIME {
                if self.has_arrivals() {
                    return true;
                }
                core::hint::spin_loop();
            }
        }
        false
    }

    /// Whether a turn would find a frame or a message.
    #[inline]
    fn has_arrivals(&self) -> bool {
        self.wire.has_news() || self.has_mail()
    }

    /// Halts until a frame, a message or a deadline.
    fn sleep(&mut self, due_ns: u64) {
        let since_ns = time::now_ns();
        if let Some(fault) = self.wire.take_fault() {
            warn!("core {}: the network device lies: {fault}", self.id);
            cores::wake(CoreId::BOOT);
        }
        // What was sent meanwhile is not kept for as long as the halt lasts.
        self.wire.reclaim();
        let Some(bed) = self.common.beds.get(self.id.index()) else { return };
        bed.lie_down();
        if !bed.has_mail() && !self.wire.arm() {
            self.turns.halts += 1;
            cores::idle((due_ns != NEVER_NS).then_some(due_ns), || !self.wire.is_idle());
        }
        bed.get_up();
        self.wire.disarm();
        self.sleeper.has_slept(time::now_ns().saturating_sub(since_ns));
    }

    /// When the core has to be awake at the latest.
    fn deadline_ns(&self, now_ns: u64) -> u64 {
        let mut due_ns = self.shard.next_deadline().map_or(NEVER_NS, Instant::as_nanos);
        due_ns = due_ns.min(self.publishing.next_look_ns());
        if let Some(report_ns) = self.report_due_ns() {
            due_ns = due_ns.min(report_ns);
        }
        if self.wire.is_owed() {
            due_ns = due_ns.min(now_ns + FETCH_PERIOD_NS);
        }
        match &self.control {
            Some(control) => due_ns.min(self.control_deadline_ns(control)),
            None => due_ns,
        }
    }

    /// When the control core has something to do for all.
    fn control_deadline_ns(&self, control: &Control) -> u64 {
        let check = self.service.next_check().map_or(NEVER_NS, Instant::as_nanos);
        let names = self.names.as_ref().filter(|_| control.is_ready());
        let names = names.map_or(NEVER_NS, |names| names.next_deadline().as_nanos());
        control.next_tick_ns().min(check).min(names)
    }
}
