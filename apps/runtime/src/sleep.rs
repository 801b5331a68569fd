//! When a core without work looks again, and when it halts.
//!
//! A core that halts costs an interrupt and, in a virtual machine, an exit; one that polls burns its processor. The adaptive
//! policy polls for a window that doubles when it halted too early (work came soon after) and halves when polling was in vain,
//! between 0 and 200 us, as Linux' haltpoll governor does.

use weir_config::IdlePolicy;

/// Longest window of polling, in nanoseconds.
const WINDOW_NS_MAX: u64 = 200_000;
/// First window, and the smallest that is not zero.
const WINDOW_NS_START: u64 = 50_000;
const WINDOW_NS_MIN: u64 = 10_000;

/// One core's choice between looking again and halting.
#[derive(Debug)]
pub struct Sleeper {
    policy: IdlePolicy,
    window_ns: u64,
    idle_since_ns: Option<u64>,
}

/// A time to look out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// When it is over.
    pub end_ns: u64,
    /// Whether to halt then, and not to take a turn.
    pub ends_in_halt: bool,
}

impl Sleeper {
    /// A sleeper that begins with the middle window.
    pub const fn new(policy: IdlePolicy) -> Self {
        Self { policy, window_ns: WINDOW_NS_START, idle_since_ns: None }
    }

    /// The last turn had work.
    #[inline]
    pub fn was_busy(&mut self) {
        self.idle_since_ns = None;
    }

    /// The window in which a core looks out that has nothing to do at `now_ns`, and perhaps had nothing before.
    pub fn window(&mut self, now_ns: u64) -> Window {
        let since_ns = *self.idle_since_ns.get_or_insert(now_ns);
        match self.policy {
            // A turn now and then finds what does not show from outside.
            IdlePolicy::Poll => Window { end_ns: now_ns + WINDOW_NS_MAX, ends_in_halt: false },
            IdlePolicy::Halt => Window { end_ns: now_ns, ends_in_halt: true },
            IdlePolicy::Adaptive => Window { end_ns: since_ns + self.window_ns, ends_in_halt: true },
        }
    }

    /// The core halted for `slept_ns`.
    pub fn has_slept(&mut self, slept_ns: u64) {
        self.idle_since_ns = None;
        if slept_ns <= WINDOW_NS_MAX {
            self.window_ns = (self.window_ns * 2).clamp(WINDOW_NS_MIN, WINDOW_NS_MAX);
        } else {
            self.window_ns /= 2;
            if self.window_ns < WINDOW_NS_MIN {
                self.window_ns = 0;
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn end_ns(sleeper: &mut Sleeper, now_ns: u64) -> u64 {
        let window = sleeper.window(now_ns);
        assert!(window.ends_in_halt);
        window.end_ns
    }

    #[test]
    fn the_policies_poll_halt_and_do_both() {
        let poll = Sleeper::new(IdlePolicy::Poll).window(1_100);
        assert_eq!(poll, Window { end_ns: 1_100 + WINDOW_NS_MAX, ends_in_halt: false });
        assert_eq!(end_ns(&mut Sleeper::new(IdlePolicy::Halt), 1_100), 1_100);
        let mut adaptive = Sleeper::new(IdlePolicy::Adaptive);
        assert_eq!(end_ns(&mut adaptive, 1_000), 1_000 + WINDOW_NS_START);
        assert_eq!(end_ns(&mut adaptive, 1_100), 1_000 + WINDOW_NS_START, "a turn without work does not begin it anew");
        adaptive.was_busy();
        assert_eq!(end_ns(&mut adaptive, 2_000), 2_000 + WINDOW_NS_START, "the window begins when the work is done");
    }

    #[test]
    fn the_window_grows_when_work_comes_soon_and_vanishes_when_it_does_not() {
        let mut sleeper = Sleeper::new(IdlePolicy::Adaptive);
        for _ in 0..10 {
            sleeper.has_slept(1_000);
        }
        assert_eq!(end_ns(&mut sleeper, 5), 5 + WINDOW_NS_MAX);
        for _ in 0..10 {
            sleeper.has_slept(1_000_000_000);
        }
        assert_eq!(end_ns(&mut sleeper, 6), 6);
        sleeper.has_slept(1_000);
        assert_eq!(end_ns(&mut sleeper, 7), 7 + WINDOW_NS_MIN);
    }
}
