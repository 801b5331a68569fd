//! When a core without work looks again, and when it halts.
//!
//! A core that halts costs an interrupt and, in a virtual machine, an exit; one that polls burns its processor. The adaptive
//! policy polls for a window that doubles when it halted too early (work came soon after) and halves when polling was in vain,
//! between 0 and 200 us, as Linux' haltpoll governor does.
//!
//! # Waking another core
//!
//! ```text
//! sleeper                               sender
//!   bed.lie_down()   flag = true          put a message into the ring
//!   full barrier                          full barrier
//!   look into the rings again             calls.answer: is the bed taken? then wake it
//!   halt
//! ```
//!
//! Each side writes, then has a full barrier, then reads what the other wrote: so at least one of them sees the other.

#[cfg(not(loom))]
use core::sync::atomic::{AtomicBool, Ordering};

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering};
use weir_config::IdlePolicy;
#[cfg(not(loom))]
use weir_hal::barrier;
use weir_kernel::cores::CORES_MAX;

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

/// Where a core says that it sleeps, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Bed(AtomicBool);

impl Bed {
    /// The core is about to halt. What it checks after this call, it does not miss.
    pub fn lie_down(&self) {
        self.0.store(true, Ordering::Relaxed);
        barrier::store_load();
    }

    /// The core is awake.
    pub fn get_up(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether the core sleeps or is about to. Behind a barrier, a core that does not see what was sent is seen here.
    fn is_taken(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The cores that something was put into a ring for, in this turn.
#[derive(Debug, Default)]
pub struct Calls([u64; CORES_MAX / 64]);

impl Calls {
    /// Something is in a ring for `core`.
    #[inline]
    pub fn add(&mut self, core: usize) {
        if let Some(word) = self.0.get_mut(core / 64) {
            *word |= 1 << (core % 64);
        }
    }

    /// Whether no core is called.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0 == [0; CORES_MAX / 64]
    }

    /// Wakes those of the called who sleep; to be called after everything is in its ring. Forgets them all.
    pub fn answer(&mut self, beds: &[Bed], mut wake: impl FnMut(usize)) {
        barrier::store_load();
        for (index, word) in self.0.iter_mut().enumerate() {
            while *word != 0 {
                let core = index * 64 + word.trailing_zeros() as usize;
                *word &= *word - 1;
                if beds.get(core).is_some_and(Bed::is_taken) {
                    wake(core);
                }
            }
        }
    }
}

/// The model's full barrier.
#[cfg(loom)]
mod barrier {
    pub(super) fn store_load() {
        loom::sync::atomic::fence(loom::sync::atomic::Ordering::SeqCst);
    }
}

#[cfg(all(test, loom))]
mod model {
    //! A message and a halt at the same time, in every order: the wake-up is never lost.

    use alloc::sync::Arc;

    use loom::sync::Notify;
    use loom::thread;
    use weir_packet::handoff::ring;

    use super::*;

    /// `senders` cores send one message each to a core that halts whenever it finds nothing. Orders in which the cores
    /// interrupt each other more than `preemptions_max` times are left out.
    fn sends(senders: usize, preemptions_max: Option<usize>) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = preemptions_max;
        model.check(move || {
            let beds = Arc::new([Bed::default()]);
            // An interrupt stays pending until the halt that it ends.
            let interrupt = loom::sync::Arc::new(Notify::new());
            let mut rings = alloc::vec::Vec::new();
            let mut others = alloc::vec::Vec::new();
            for _ in 0..senders {
                let (mut sender, receiver) = ring(1);
                let (beds, interrupt) = (Arc::clone(&beds), interrupt.clone());
                rings.push(receiver);
                others.push(thread::spawn(move || {
                    let mut calls = Calls::default();
                    sender.send(7).expect("room");
                    calls.add(0);
                    calls.answer(&*beds, |_| interrupt.notify());
                }));
            }
            let mut got = 0;
            while got < senders {
                let before = got;
                got += rings.iter_mut().filter_map(weir_packet::handoff::Receiver::receive).count();
                if got > before {
                    continue;
                }
                beds[0].lie_down();
                if rings.iter().all(weir_packet::handoff::Receiver::is_empty) {
                    // A lost wake-up is a deadlock, which loom reports.
                    interrupt.wait();
                }
                beds[0].get_up();
            }
            others.into_iter().for_each(|other| other.join().expect("no panic"));
        });
    }

    #[test]
    fn a_message_ends_the_halt() {
        sends(1, None);
    }

    #[test]
    fn two_senders_may_call_at_once() {
        sends(2, Some(3));
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

    #[test]
    fn only_the_called_who_sleep_are_woken_and_each_once() {
        let beds: [Bed; 200] = [(); 200].map(|()| Bed::default());
        let mut calls = Calls::default();
        [3, 64, 64, 199, 5, 1000].into_iter().for_each(|core| calls.add(core));
        [3, 4, 64, 199].into_iter().for_each(|core: usize| beds[core].lie_down());
        let mut woken = alloc::vec::Vec::new();
        calls.answer(&beds, |core| woken.push(core));
        assert_eq!(woken, [3, 64, 199]);
        assert!(calls.is_empty());
    }
}
