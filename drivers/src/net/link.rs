//! What the queue pairs of a device and its control handle tell each other about a reset.
//!
//! ```text
//! pair      a lie on its ring: stop touching the rings, ask for a reset
//! control   reset the device: from now on it touches no memory            phase becomes odd
//! pairs     each on its core: drop all buffers, empty the rings, park
//! control   when all are parked: negotiate and enable the queues again     phase becomes even
//! pairs     each on its core: fill the receive ring, go on
//! ```
//!
//! In the steady state the words are only read, once per turn, so their cache line stays with every core.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Shared by all handles of one device.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// Number of the life of the device that is under way. Odd: the device is in reset.
    phase: AtomicU32,
    /// Pairs that have emptied their rings in this odd phase.
    parked: AtomicU32,
    /// Somebody saw the device misbehave.
    reset_wanted: AtomicBool,
    /// The control handle gave up: there will be no further phase.
    dead: AtomicBool,
}

/// A value of the phase counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Phase(u32);

impl Phase {
    /// Whether the device works in this phase.
    #[inline]
    pub(super) const fn is_running(self) -> bool {
        self.0.is_multiple_of(2)
    }
}

impl Link {
    /// The phase. Whoever sees an odd one sees a device that touches no memory.
    #[inline]
    pub(super) fn phase(&self) -> Phase {
        Phase(self.phase.load(Ordering::Acquire))
    }

    /// Goes on to the next phase. Only the control handle does.
    pub(super) fn advance(&self) {
        self.parked.store(0, Ordering::Relaxed);
        self.reset_wanted.store(false, Ordering::Relaxed);
        let next = self.phase.load(Ordering::Relaxed).wrapping_add(1);
        // Release: what the control handle did to the device comes first.
        self.phase.store(next, Ordering::Release);
    }

    /// Asks the control handle for a reset.
    pub(super) fn want_reset(&self) {
        self.reset_wanted.store(true, Ordering::Release);
    }

    pub(super) fn is_reset_wanted(&self) -> bool {
        self.reset_wanted.load(Ordering::Acquire)
    }

    /// Gives the device up.
    pub(super) fn bury(&self) {
        self.dead.store(true, Ordering::Release);
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// A pair says that its rings are empty.
    pub(super) fn park(&self) {
        // Release: the empty rings are visible to whoever counts the pair.
        self.parked.fetch_add(1, Ordering::Release);
    }

    pub(super) fn parked(&self) -> usize {
        self.parked.load(Ordering::Acquire) as usize
    }
}
