//! How a core is woken.
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
#[cfg(not(loom))]
use weir_hal::barrier;
use weir_kernel::cores::CORES_MAX;

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
