//! Memory of all flows of a core: what windows may promise together, and what is given up first when buffers are short.
//!
//! | pressure | buffers free | what follows |
//! | --- | --- | --- |
//! | none | an eighth or more | windows grow, as far as the budget for all of them goes |
//! | short | less | windows shrink as data arrive; what came out of order is dropped, and not kept any more |
//! | critical | a sixteenth | new flows are refused; flows with unread bytes get no more; send queues stay short |
//! | exhausted | a thirty-second | no text is taken: what is left is for acknowledgements |
//!
//! The right edge of a window never moves back (RFC 9293, 3.8.6): what was promised and cannot be held is dropped as the network
//! might have done, and comes again.

/// How short buffers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Pressure {
    #[default]
    None,
    Short,
    Critical,
    Exhausted,
}

impl Pressure {
    /// With `free` buffers of `capacity`.
    #[inline]
    pub fn of(free: usize, capacity: usize) -> Self {
        if free >= capacity / 8 {
            Self::None
        } else if free >= capacity / 16 {
            Self::Short
        } else if free >= capacity / 32 {
            Self::Critical
        } else {
            Self::Exhausted
        }
    }

    /// Whether text is not taken by a flow, which holds unread bytes or not.
    pub fn refuses_text(self, has_unread: bool) -> bool {
        self == Self::Exhausted || (self == Self::Critical && has_unread)
    }
}

/// Bytes that a flow queues for sending under pressure.
pub(crate) const SEND_QUEUE_UNDER_PRESSURE: u32 = 64 * 1024;

/// What the windows of all flows have been tuned up by, beyond their initial size.
#[derive(Debug, Default)]
pub(crate) struct WindowBudget {
    taken: u64,
    max: u64,
}

impl WindowBudget {
    pub fn new(max: u64) -> Self {
        Self { taken: 0, max }
    }

    /// Takes `bytes`, or as many as are left.
    pub fn take(&mut self, bytes: u32) -> u32 {
        let left = self.max.saturating_sub(self.taken);
        let taken = u64::from(bytes).min(left);
        self.taken += taken;
        taken as u32
    }

    pub fn give_back(&mut self, bytes: u32) {
        self.taken -= u64::from(bytes);
    }

    pub fn taken(&self) -> u64 {
        self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_grows_as_buffers_go() {
        let at = |free| Pressure::of(free, 1_024);
        assert_eq!(
            [at(1_024), at(128), at(127), at(64)],
            [Pressure::None, Pressure::None, Pressure::Short, Pressure::Short]
        );
        assert_eq!(
            [at(63), at(32), at(31), at(0)],
            [Pressure::Critical, Pressure::Critical, Pressure::Exhausted, Pressure::Exhausted]
        );
    }

    #[test]
    fn the_budget_is_shared_and_never_overdrawn() {
        let mut budget = WindowBudget::new(100);
        assert_eq!((budget.take(70), budget.take(70), budget.take(1)), (70, 30, 0));
        budget.give_back(30);
        assert_eq!((budget.take(20), budget.taken()), (20, 90));
    }
}
