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

    /// The last turn, at `now_ns`, had none: whether to halt now.
    pub fn should_halt(&mut self, now_ns: u64) -> bool {
        let since = *self.idle_since_ns.get_or_insert(now_ns);
        match self.policy {
            IdlePolicy::Poll => false,
            IdlePolicy::Halt => true,
            IdlePolicy::Adaptive => now_ns.saturating_sub(since) >= self.window_ns,
        }
    }

    /// When a core that has nothing to do since its turn at `now_ns`, or since an earlier one, has to take its next turn: at
    /// the end of the window, to halt then, and in any case soon.
    pub fn next_look_ns(&mut self, now_ns: u64) -> u64 {
        let since_ns = *self.idle_since_ns.get_or_insert(now_ns);
        match self.policy {
            IdlePolicy::Poll => now_ns + WINDOW_NS_MAX,
            IdlePolicy::Halt => now_ns,
            IdlePolicy::Adaptive => (now_ns + WINDOW_NS_MAX).min(since_ns + self.window_ns),
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

    #[test]
    fn the_policies_poll_halt_and_do_both() {
        assert!(!Sleeper::new(IdlePolicy::Poll).should_halt(u64::MAX));
        assert!(Sleeper::new(IdlePolicy::Halt).should_halt(0));
        let mut adaptive = Sleeper::new(IdlePolicy::Adaptive);
        assert!(!adaptive.should_halt(1_000));
        assert!(adaptive.should_halt(1_000 + WINDOW_NS_START));
        assert_eq!(adaptive.next_look_ns(1_100), 1_000 + WINDOW_NS_START);
        assert_eq!(Sleeper::new(IdlePolicy::Poll).next_look_ns(1_100), 1_100 + WINDOW_NS_MAX);
        assert_eq!(Sleeper::new(IdlePolicy::Halt).next_look_ns(1_100), 1_100);
        adaptive.was_busy();
        assert_eq!(adaptive.next_look_ns(2_000), 2_000 + WINDOW_NS_START, "the window begins when the work is done");
        assert!(!adaptive.should_halt(2_000 + WINDOW_NS_START - 1) && adaptive.should_halt(2_000 + WINDOW_NS_START));
        adaptive.was_busy();
        assert!(!adaptive.should_halt(1_000 + WINDOW_NS_START));
    }

    #[test]
    fn the_window_grows_when_work_comes_soon_and_vanishes_when_it_does_not() {
        let mut sleeper = Sleeper::new(IdlePolicy::Adaptive);
        for _ in 0..10 {
            sleeper.has_slept(1_000);
        }
        assert!(
            !sleeper.should_halt(0) && !sleeper.should_halt(WINDOW_NS_MAX - 1) && sleeper.should_halt(WINDOW_NS_MAX)
        );
        for _ in 0..10 {
            sleeper.has_slept(1_000_000_000);
        }
        assert!(sleeper.should_halt(0));
        sleeper.has_slept(1_000);
        assert!(!sleeper.should_halt(0));
    }
}
