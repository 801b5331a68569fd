//! The interrupt handlers of one core: vector, function, argument.
//!
//! Vectors are handed out per core, since the same number means different things on different cores. A slot is filled
//! once and stays; the interrupt entry reads it without a lock.

use core::sync::atomic::{AtomicUsize, Ordering};

use weir_hal::Vector;

/// First vector for devices; 32-47 are left to a legacy controller that may still fire.
pub const FIRST: u8 = 0x30;
/// First vector after the devices' ones.
pub const END: u8 = 0xf0;
const COUNT: usize = (END - FIRST) as usize;

/// A function that an interrupt calls with its argument. It runs on the interrupt stack of its core with interrupts off; it may
/// set flags and touch registers, and must not allocate, lock or print.
pub type Handler = fn(usize);

const FREE: usize = 0;
const CLAIMED: usize = 1;

#[derive(Debug)]
struct Slot {
    function: AtomicUsize,
    argument: AtomicUsize,
}

/// The table of one core.
#[derive(Debug)]
pub struct Handlers {
    slots: [Slot; COUNT],
}

impl Handlers {
    /// A table without handlers.
    pub const fn new() -> Handlers {
        Handlers { slots: [const { Slot { function: AtomicUsize::new(FREE), argument: AtomicUsize::new(0) } }; COUNT] }
    }

    /// Gives `handler` the lowest free vector; `None` when all are taken. Any core may call this for any core.
    pub fn add(&self, handler: Handler, argument: usize) -> Option<Vector> {
        for (slot, vector) in self.slots.iter().zip(FIRST..) {
            let claim = slot.function.compare_exchange(FREE, CLAIMED, Ordering::Acquire, Ordering::Relaxed);
            if claim.is_ok() {
                slot.argument.store(argument, Ordering::Relaxed);
                slot.function.store(handler as usize, Ordering::Release);
                return Some(Vector(vector));
            }
        }
        None
    }

    /// Calls the handler of `vector`; `false` when it has none.
    pub fn call(&self, vector: u8) -> bool {
        let Some(slot) = vector.checked_sub(FIRST).and_then(|index| self.slots.get(usize::from(index))) else {
            return false;
        };
        let function = slot.function.load(Ordering::Acquire);
        if function == FREE || function == CLAIMED {
            return false;
        }
        // SAFETY: any other value was stored by `add` from a `Handler`.
        let handler = unsafe { core::mem::transmute::<usize, Handler>(function) };
        handler(slot.argument.load(Ordering::Relaxed));
        true
    }
}

impl Default for Handlers {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static SEEN: AtomicUsize = AtomicUsize::new(0);

    fn note(argument: usize) {
        SEEN.fetch_add(argument, Ordering::Relaxed);
    }

    #[test]
    fn a_vector_calls_its_own_handler() {
        let handlers = Handlers::new();
        let first = handlers.add(note, 5).expect("a free vector");
        let second = handlers.add(note, 70).expect("a free vector");
        assert_ne!(first, second);
        assert!(handlers.call(second.0));
        assert_eq!(SEEN.load(Ordering::Relaxed), 70);
        assert!(handlers.call(first.0));
        assert_eq!(SEEN.load(Ordering::Relaxed), 75);
    }

    #[test]
    fn a_vector_without_handler_is_reported() {
        let handlers = Handlers::new();
        for vector in [0, 31, FIRST, END - 1, END, 255] {
            assert!(!handlers.call(vector));
        }
    }

    #[test]
    fn vectors_run_out_per_core_and_not_before() {
        let handlers = Handlers::new();
        assert_eq!((0..1000).filter_map(|_| handlers.add(note, 0)).count(), COUNT);
        let other_core = Handlers::new();
        assert_eq!(other_core.add(note, 0), Some(Vector(FIRST)));
    }
}
