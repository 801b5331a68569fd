//! Single-producer single-consumer rings: the only way from core to core.
//!
//! The two indexes live on cache lines of their own and each side keeps a copy of the other's, so that in a stream the
//! lines move between the cores once per batch and not once per element. A full ring refuses; nobody ever waits.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::mem::MaybeUninit;

use crate::sync::{Arc, AtomicU32, Ordering, UnsafeCell};
use crate::{Gather, Packet, Pool};

/// A pair of cache lines, so that neighbours are not fetched together by the adjacent-line prefetcher.
#[repr(align(128))]
struct Line<T>(T);

struct Shared<T> {
    /// Next position that the receiver reads; written by the receiver.
    head: Line<AtomicU32>,
    /// Next position that the sender writes; written by the sender.
    tail: Line<AtomicU32>,
    elements: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

// SAFETY: positions in `head..tail` belong to the receiver, all others to the sender; they change hands by the
// release store of an index and the acquire load of the other side.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: as above; the elements themselves are `Send`.
unsafe impl<T: Send> Send for Shared<T> {}

/// The writing end of a ring. It has its cache lines to itself, so that ends of several cores may lie side by side.
#[repr(align(128))]
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
    tail: u32,
    head_seen: u32,
}

/// The reading end of a ring. See [`Sender`] for its place in memory.
#[repr(align(128))]
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    head: u32,
    tail_seen: u32,
}

/// A ring for at least `capacity` elements (rounded up to a power of two, at most 2^16).
#[must_use]
pub fn ring<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let len = capacity.clamp(1, 1 << 16).next_power_of_two();
    let elements: Vec<_> = (0..len).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect();
    let shared = Arc::new(Shared {
        head: Line(AtomicU32::new(0)),
        tail: Line(AtomicU32::new(0)),
        elements: elements.into_boxed_slice(),
    });
    let sender = Sender { shared: Arc::clone(&shared), tail: 0, head_seen: 0 };
    (sender, Receiver { shared, head: 0, tail_seen: 0 })
}

impl<T> Shared<T> {
    #[inline]
    fn element(&self, position: u32) -> &UnsafeCell<MaybeUninit<T>> {
        // The length is a power of two.
        &self.elements[position as usize & (self.elements.len() - 1)]
    }
}

impl<T: Send> Sender<T> {
    /// Puts `value` into the ring.
    ///
    /// # Errors
    /// The ring is full; `value` comes back.
    #[inline]
    pub fn send(&mut self, value: T) -> Result<(), T> {
        if self.tail.wrapping_sub(self.head_seen) as usize == self.shared.elements.len() {
            self.head_seen = self.shared.head.0.load(Ordering::Acquire);
            if self.tail.wrapping_sub(self.head_seen) as usize == self.shared.elements.len() {
                return Err(value);
            }
        }
        // SAFETY: the position is outside `head..tail`, so it is the sender's, and its old value was moved out.
        self.shared.element(self.tail).with_mut(|element| unsafe { (*element).write(value) });
        self.tail = self.tail.wrapping_add(1);
        self.shared.tail.0.store(self.tail, Ordering::Release);
        Ok(())
    }
}

impl<T> Sender<T> {
    /// Elements that wait for the receiver. Reads the receiver's line: for once per burst.
    #[must_use]
    pub fn queued(&mut self) -> usize {
        self.head_seen = self.shared.head.0.load(Ordering::Acquire);
        self.tail.wrapping_sub(self.head_seen) as usize
    }
}

impl<T: Send> Receiver<T> {
    /// The oldest element, if any.
    #[inline]
    pub fn receive(&mut self) -> Option<T> {
        if self.head == self.tail_seen {
            self.tail_seen = self.shared.tail.0.load(Ordering::Acquire);
            if self.head == self.tail_seen {
                return None;
            }
        }
        // SAFETY: the position is within `head..tail`, so it was written and is the receiver's.
        let value = self.shared.element(self.head).with(|element| unsafe { (*element).assume_init_read() });
        self.head = self.head.wrapping_add(1);
        self.shared.head.0.store(self.head, Ordering::Release);
        Some(value)
    }

    /// Whether nothing is there to receive.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.head == self.tail_seen && self.head == self.shared.tail.0.load(Ordering::Acquire)
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // Nobody else has a hand on the indexes any more.
        let (mut head, tail) = (self.head.0.load(Ordering::Relaxed), self.tail.0.load(Ordering::Relaxed));
        while head != tail {
            // SAFETY: both ends are gone, and positions in `head..tail` hold values.
            self.element(head).with_mut(|element| unsafe { (*element).assume_init_drop() });
            head = head.wrapping_add(1);
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sender(tail {})", self.tail)
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receiver(head {})", self.head)
    }
}

/// A packet on another core than its pool's. It can be read there, and nothing else. It goes home through a ring, where
/// [`crate::Pool::welcome`] makes it a packet again; if it never does, it is leaked, but never freed on the wrong core.
pub struct Foreign(core::mem::ManuallyDrop<Packet>);

// SAFETY: away from home only `bytes`, `parts`, `copy_into` and `is_chain` look at it, which read; the reference count and the free list are
// touched only after `Pool::welcome` saw that the pool is its own, and a pool never leaves its core.
unsafe impl Send for Foreign {}

impl Foreign {
    /// Makes a packet ready to leave its core.
    #[must_use]
    pub fn new(packet: Packet) -> Self {
        Self(core::mem::ManuallyDrop::new(packet))
    }

    /// The bytes of the packet's first buffer.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes of each buffer of the frame, in order.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.0.parts()
    }

    /// Whether the frame has more buffers than the first.
    #[must_use]
    pub fn is_chain(&self) -> bool {
        self.0.is_chain()
    }

    /// Bytes of the whole frame.
    #[must_use]
    pub fn frame_len(&self) -> usize {
        self.0.frame_len()
    }

    /// A copy in buffers of `pool`, with the usual headroom in front; none, counted by the pool, when it has too few.
    #[must_use]
    pub fn copy_into(&self, pool: &Pool) -> Option<Packet> {
        self.parts().try_fold(Gather::onto(pool.allocate()?, pool), Gather::with).map(Gather::finish)
    }

    /// The packet again, for the pool that it came from ([`crate::Pool::welcome`]).
    pub(crate) fn into_packet(self) -> Packet {
        core::mem::ManuallyDrop::into_inner(self.0)
    }

    /// Whether the packet's buffers belong to the pool behind `core`.
    pub(crate) fn belongs_to(&self, core: core::ptr::NonNull<crate::pool::PoolCore>) -> bool {
        self.0.pool() == core
    }
}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Foreign({:?})", *self.0)
    }
}
