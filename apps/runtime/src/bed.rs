//! How a core learns that there is mail for it, and how it is woken.
//!
//! The rings between the cores are many, and most of the time all are empty: so a core looks at one flag, and at the rings only
//! when it is raised.
//!
//! ```text
//! sender                                             receiver
//!   put a message into the ring                        bed.has_mail()?
//!   full barrier                                       bed.open_mail()   mail flag = false
//!   calls.answer: mail flag = true                     full barrier
//!                 full barrier                         look into the rings
//!                 is the bed taken? then wake it
//!                                                      bed.lie_down()    taken = true
//!                                                      full barrier
//!                                                      bed.has_mail()? then do not
//!                                                      halt
//! ```
//!
//! A receiver whose look misses a message has passed its barrier before the sender passed its first one: so the flag is raised
//! after it was lowered. And one that does not see the flag before it halts is seen in its bed.

#[cfg(not(loom))]
use core::sync::atomic::{AtomicBool, Ordering};

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering};
#[cfg(not(loom))]
use weir_hal::barrier;
use weir_kernel::cores::CORES_MAX;

/// Where a core says that it sleeps, and is told of mail, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Bed {
    /// Written by the core itself.
    is_taken: AtomicBool,
    /// Raised by the others, lowered by the core itself.
    has_mail: AtomicBool,
}

impl Bed {
    /// The core is about to halt. What it checks after this call, it does not miss.
    pub fn lie_down(&self) {
        self.is_taken.store(true, Ordering::Relaxed);
        barrier::store_load();
    }

    /// The core is awake.
    pub fn get_up(&self) {
        self.is_taken.store(false, Ordering::Relaxed);
    }

    /// Whether the core sleeps or is about to. Behind a barrier, a core that does not see what was sent is seen here.
    fn is_taken(&self) -> bool {
        self.is_taken.load(Ordering::Relaxed)
    }

    /// Whether a ring may have something for the core.
    #[inline]
    pub fn has_mail(&self) -> bool {
        self.has_mail.load(Ordering::Relaxed)
    }

    /// The core is about to look into its rings. What it does not find there is told again.
    pub fn open_mail(&self) {
        self.has_mail.store(false, Ordering::Relaxed);
        barrier::store_load();
    }

    /// Something is in a ring; behind a barrier, or from the core itself.
    pub fn tell_mail(&self) {
        self.has_mail.store(true, Ordering::Relaxed);
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

    /// Tells all of them, and wakes those who sleep; to be called after everything is in its ring. Forgets them all.
    pub fn answer(&mut self, beds: &[Bed], mut wake: impl FnMut(usize)) {
        barrier::store_load();
        self.each(beds, |_, bed| bed.tell_mail());
        barrier::store_load();
        self.each(beds, |core, bed| {
            if bed.is_taken() {
                wake(core);
            }
        });
        self.0 = Default::default();
    }

    fn each(&self, beds: &[Bed], mut visit: impl FnMut(usize, &Bed)) {
        for (index, mut word) in self.0.into_iter().enumerate() {
            while word != 0 {
                let core = index * 64 + word.trailing_zeros() as usize;
                word &= word - 1;
                if let Some(bed) = beds.get(core) {
                    visit(core, bed);
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
                if beds[0].has_mail() {
                    beds[0].open_mail();
                    got += rings.iter_mut().filter_map(weir_packet::handoff::Receiver::receive).count();
                    continue;
                }
                beds[0].lie_down();
                if !beds[0].has_mail() {
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

    /// The flag alone leads an awake core to the messages: also to one that is sent while the other is looked for.
    #[test]
    fn a_core_that_is_awake_finds_every_message() {
        loom::model(|| {
            let beds = Arc::new([Bed::default()]);
            let (mut sender, mut receiver) = ring(2);
            let theirs = Arc::clone(&beds);
            let other = thread::spawn(move || {
                for _ in 0..2 {
                    let mut calls = Calls::default();
                    sender.send(7).expect("room");
                    calls.add(0);
                    calls.answer(&*theirs, |_| unreachable!("it does not sleep"));
                }
            });
            let mut got = 0;
            let mut look = || {
                if beds[0].has_mail() {
                    beds[0].open_mail();
                    got += core::iter::from_fn(|| receiver.receive()).count();
                }
            };
            look();
            other.join().expect("no panic");
            look();
            assert_eq!(got, 2);
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn who_is_called_is_told_until_it_opens_its_mail_and_woken_if_it_sleeps() {
        let beds: [Bed; 200] = [(); 200].map(|()| Bed::default());
        let mut calls = Calls::default();
        [3, 64, 64, 199, 5, 1000].into_iter().for_each(|core| calls.add(core));
        [3, 4, 64, 199].into_iter().for_each(|core: usize| beds[core].lie_down());
        let mut woken = alloc::vec::Vec::new();
        calls.answer(&beds, |core| woken.push(core));
        assert_eq!(woken, [3, 64, 199]);
        assert!(calls.is_empty());
        let told = |beds: &[Bed]| (0..200).filter(|&core| beds[core].has_mail()).collect::<alloc::vec::Vec<_>>();
        assert_eq!(told(&beds), [3, 5, 64, 199]);
        [3, 64].into_iter().for_each(|core: usize| beds[core].open_mail());
        assert_eq!(told(&beds), [5, 199]);
    }
}
