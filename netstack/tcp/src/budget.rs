//! Memory of all flows of a core: what windows may promise together, and what is given up first when buffers are short.
//!
//! | pressure | buffers free | what follows |
//! | --- | --- | --- |
//! | none | an eighth or more | windows grow, as far as the budget for all of them goes |
//! | short | less | windows shrink as data arrive; what came out of order is dropped, and not kept any more |
//! | critical | a sixteenth | flows with unread bytes get no more |
//! | exhausted | a thirty-second | no text is taken: what is left is for acknowledgements; new flows are refused |
//!
//! Once half of the buffers are in use, what a flow may queue for sending is a part of what is free (the dynamic threshold of
//! Choudhury and Hahne, 1998): a few flows may have a lot, many that do not move have little each, and something is always left
//! for those that come. Before, only the configuration limits it: what is queued need not be in buffers at all.
//!
//! The right edge of a window never moves back (RFC 9293, 3.8.6): what was promised and cannot be held is dropped as the network
//! might have done, and comes again.

use weir_packet::BUFFER_BYTES;

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

/// The part of the free buffers' bytes that one flow may queue for sending.
const SEND_QUEUE_PART: u64 = 16;

/// What a flow may queue all the same, in bytes: so that a response of usual size is not cut to pieces.
const SEND_QUEUE_MIN: u32 = 16 * 1024;

/// Bytes that a flow may queue for sending, with so many buffers free; the last eighth of them is nobody's.
pub(crate) fn send_queue_limit(free: usize, capacity: usize, max: u32) -> u32 {
    if free >= capacity / 2 {
        return max;
    }
    let free_bytes = free.saturating_sub(capacity / 8) as u64 * BUFFER_BYTES as u64;
    let part = u32::try_from(free_bytes / SEND_QUEUE_PART).unwrap_or(u32::MAX);
    part.max(SEND_QUEUE_MIN).min(max)
}

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
    fn send_queues_leave_something_free_however_many_they_are() {
        const CAPACITY: usize = 32 << 10;
        for flows in [1, 10, 100, 1_000, 2_000] {
            let (mut queued, mut free) = (alloc::vec![0; flows], CAPACITY);
            for _ in 0..1_000 {
                for queue in &mut queued {
                    if *queue < send_queue_limit(free, CAPACITY, 1 << 20) {
                        *queue += BUFFER_BYTES as u32;
                        free -= 1;
                    }
                }
            }
            assert_eq!(Pressure::of(free, CAPACITY), Pressure::None, "{flows} flows leave {free}");
            assert!(queued.iter().all(|&queue| queue >= SEND_QUEUE_MIN), "{flows}");
        }
        assert_eq!(send_queue_limit(0, CAPACITY, 8 << 10), 8 << 10);
    }

    #[test]
    fn the_budget_is_shared_and_never_overdrawn() {
        let mut budget = WindowBudget::new(100);
        assert_eq!((budget.take(70), budget.take(70), budget.take(1)), (70, 30, 0));
        budget.give_back(30);
        assert_eq!((budget.take(20), budget.taken()), (20, 90));
    }
}
