//! A connection's deadline, which moves with every request, over the flow's timer, which should not.

use core::ops::Add;

use weir_socket::{FlowId, Instant, Sockets};

/// How long something may take. It is added to a moment without the seconds and nanoseconds of a `Duration` becoming one
/// number each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    ns: u64,
}

impl Span {
    pub(crate) const fn from_nanos(ns: u64) -> Self {
        Self { ns }
    }

    pub(crate) const fn from_secs(seconds: u64) -> Self {
        Self { ns: seconds * 1_000_000_000 }
    }
}

impl Add<Span> for Instant {
    type Output = Instant;

    /// Saturates at the end of time.
    #[inline]
    fn add(self, span: Span) -> Instant {
        Instant::from_nanos(self.as_nanos().saturating_add(span.ns))
    }
}

const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// The flow's timer is set only when it would fire too late; when it fires too early, it is set again. So moving a
/// deadline into the future, which is what a busy connection does, costs one store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timer {
    deadline: Instant,
    armed: Instant,
}

impl Timer {
    pub(crate) const fn new() -> Self {
        Self { deadline: NEVER, armed: NEVER }
    }

    #[inline]
    pub(crate) fn set(&mut self, net: &mut impl Sockets, flow: FlowId, deadline: Instant) {
        self.deadline = deadline;
        if deadline < self.armed {
            self.armed = deadline;
            net.set_timer(flow, Some(deadline));
        }
    }

    #[inline]
    pub(crate) fn clear(&mut self) {
        self.deadline = NEVER;
    }

    /// The flow's timer fired. True: the deadline has passed.
    pub(crate) fn fired(&mut self, net: &mut impl Sockets, flow: FlowId) -> bool {
        self.armed = NEVER;
        if net.now() >= self.deadline {
            return true;
        }
        if self.deadline != NEVER {
            self.set(net, flow, self.deadline);
        }
        false
    }
}
