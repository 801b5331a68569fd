//! One core's set of packet buffers.

use alloc::alloc::{alloc, dealloc};
use core::alloc::Layout;
use core::cell::Cell;
use core::fmt;
use core::ptr::NonNull;

use crate::handoff::Foreign;
use crate::packet::Packet;
use crate::slot::Slot;
use crate::{BUFFER_BYTES, HEADROOM_BYTES, SLOT_BYTES};

/// A fixed set of buffers that belongs to one core. Cloning gives another handle to the same set.
///
/// Allocation and release are a pop and a push on a free list: no lock, no search. When the pool is empty, allocation
/// says so and counts it; nothing waits.
pub struct Pool {
    core: NonNull<PoolCore>,
}

/// What all handles and slots of one pool share. It stands in the first slot of the pool's memory.
pub(crate) struct PoolCore {
    free: Cell<Option<NonNull<Slot>>>,
    free_count: Cell<u32>,
    /// How many slots, from the lowest, have been used at least once; the others are raw memory still.
    carved: Cell<u32>,
    capacity: u32,
    failures: Cell<u64>,
    handles: Cell<u32>,
    /// Set when the memory came from the heap and goes back there with the last handle and buffer.
    owned: Option<Layout>,
}

const _: () = assert!(size_of::<PoolCore>() <= SLOT_BYTES);

/// Why a pool could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolError {
    /// The memory holds no buffer beside the pool's own bookkeeping (two slots of 2 KiB at least).
    TooSmall,
    /// The memory does not begin at a multiple of [`SLOT_BYTES`].
    Misaligned,
    /// More than `u32::MAX` buffers, or the heap has no room.
    TooLarge,
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooSmall => "memory for a packet pool is smaller than two buffers of 2 KiB",
            Self::Misaligned => "memory for a packet pool is not aligned to 2 KiB",
            Self::TooLarge => "a packet pool of that size cannot be made",
        })
    }
}

impl core::error::Error for PoolError {}

impl Pool {
    /// Cuts `memory` into buffers. That costs nothing now: a buffer is zeroed and gets its header when it is first used, so
    /// that a large pool does not delay the boot and memory that is never needed is never touched.
    ///
    /// # Errors
    /// The memory must begin at a multiple of [`SLOT_BYTES`] and hold two slots at least (one is the pool's own).
    pub fn new(memory: &'static mut [u8]) -> Result<Self, PoolError> {
        let base = NonNull::from(&mut *memory).cast::<u8>();
        // SAFETY: the slice is ours for ever (`'static`, exclusive).
        unsafe { Self::place(base, memory.len(), None) }
    }

    /// A pool of `buffers` buffers on the heap, for host tools, tests and simulations.
    ///
    /// # Errors
    /// [`PoolError::TooLarge`] when the heap has no room.
    pub fn with_capacity(buffers: usize) -> Result<Self, PoolError> {
        let bytes = buffers.checked_add(1).and_then(|n| n.checked_mul(SLOT_BYTES)).ok_or(PoolError::TooLarge)?;
        let layout = Layout::from_size_align(bytes, SLOT_BYTES).map_err(|_| PoolError::TooLarge)?;
        // SAFETY: the layout's size is not zero.
        let memory = NonNull::new(unsafe { alloc(layout) }).ok_or(PoolError::TooLarge)?;
        // SAFETY: freshly allocated with this layout, ours until `PoolCore::free_if_unused` returns it.
        unsafe { Self::place(memory, bytes, Some(layout)) }
    }

    /// # Safety
    /// `base` points to `len` bytes that nobody else uses while the pool or a buffer of it lives; `owned` is the layout
    /// they were allocated with, or none when they live for ever.
    unsafe fn place(base: NonNull<u8>, len: usize, owned: Option<Layout>) -> Result<Self, PoolError> {
        if !base.as_ptr().addr().is_multiple_of(SLOT_BYTES) {
            return Err(PoolError::Misaligned);
        }
        let slots = len / SLOT_BYTES;
        if slots < 2 {
            return Err(PoolError::TooSmall);
        }
        let capacity = u32::try_from(slots - 1).map_err(|_| PoolError::TooLarge)?;
        let core = base.cast::<PoolCore>();
        let value = PoolCore {
            free: Cell::new(None),
            free_count: Cell::new(capacity),
            carved: Cell::new(0),
            capacity,
            failures: Cell::new(0),
            handles: Cell::new(1),
            owned,
        };
        // SAFETY: the first slot's memory is large enough (asserted above), aligned and unused.
        unsafe { core.write(value) };
        Ok(Self { core })
    }

    /// An empty packet with [`HEADROOM_BYTES`] in front, or none (counted) when all buffers are out.
    #[inline]
    #[must_use]
    pub fn allocate(&self) -> Option<Packet> {
        self.take(HEADROOM_BYTES as u16, HEADROOM_BYTES as u16)
    }

    /// A packet whose data are the whole buffer: what a device is given to receive into.
    #[inline]
    #[must_use]
    pub fn allocate_whole(&self) -> Option<Packet> {
        self.take(0, BUFFER_BYTES as u16)
    }

    #[inline]
    fn take(&self, start: u16, end: u16) -> Option<Packet> {
        let core = self.core();
        let slot = match core.free.get() {
            Some(slot) => slot,
            None => self.carve()?,
        };
        // SAFETY: a slot of the free list belongs to this pool, which this handle keeps alive.
        let header = unsafe { slot.as_ref() };
        core.free.set(header.next.get());
        core.free_count.set(core.free_count.get() - 1);
        header.refs.set(1);
        header.next.set(None);
        header.start.set(start);
        header.end.set(end);
        // SAFETY: just taken from the free list with its one reference, which the packet now holds.
        Some(unsafe { Packet::from_slot(slot) })
    }

    /// Makes the next slot that was never used into a free one; none (counted) when there is no such slot.
    #[cold]
    fn carve(&self) -> Option<NonNull<Slot>> {
        let core = self.core();
        let carved = core.carved.get();
        if carved == core.capacity {
            core.failures.set(core.failures.get() + 1);
            return None;
        }
        core.carved.set(carved + 1);
        // SAFETY: slot 0 is the pool's own and `carved < capacity`, so the slot lies within the pool's memory.
        let slot = unsafe { self.core.cast::<u8>().add((carved as usize + 1) * SLOT_BYTES) };
        // SAFETY: within the memory, aligned to SLOT_BYTES, and never used by anybody.
        unsafe {
            slot.write_bytes(0, SLOT_BYTES);
            slot.cast::<Slot>().write(Slot {
                refs: Cell::new(0),
                start: Cell::new(0),
                end: Cell::new(0),
                next: Cell::new(None),
                last: Cell::new(None),
                pool: self.core,
            });
        }
        core.free.set(Some(slot.cast()));
        Some(slot.cast())
    }

    /// Takes back a packet of this pool that was on another core.
    ///
    /// # Errors
    /// The packet belongs to another pool; it comes back unchanged.
    pub fn welcome(&self, foreign: Foreign) -> Result<Packet, Foreign> {
        if foreign.belongs_to(self.core) { Ok(foreign.into_packet()) } else { Err(foreign) }
    }

    /// Buffers in the pool, free or not.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.core().capacity as usize
    }

    /// Buffers that can be allocated now.
    #[inline]
    #[must_use]
    pub fn free(&self) -> usize {
        self.core().free_count.get() as usize
    }

    /// Buffers that are out: with the devices, in queues of flows, with applications.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.capacity() - self.free()
    }

    /// How often a buffer was asked for and none was free.
    #[must_use]
    pub fn allocation_failures(&self) -> u64 {
        self.core().failures.get()
    }

    #[inline(always)]
    fn core(&self) -> &PoolCore {
        // SAFETY: the core lives while a handle is counted, and this is one; it is only ever shared.
        unsafe { self.core.as_ref() }
    }
}

impl PoolCore {
    /// Puts a slot without references back on the free list.
    ///
    /// # Safety
    /// `pool` is the slot's own pool, and no reference to the slot is left.
    #[inline]
    pub(crate) unsafe fn take_back(pool: NonNull<PoolCore>, slot: NonNull<Slot>) {
        // SAFETY: the pool's memory lives while one of its slots is out, and this one still is.
        let core = unsafe { pool.as_ref() };
        // SAFETY: the slot lies in the pool's memory.
        let header = unsafe { slot.as_ref() };
        header.last.set(None);
        header.next.set(core.free.get());
        core.free.set(Some(slot));
        core.free_count.set(core.free_count.get() + 1);
        if core.handles.get() == 0 {
            // SAFETY: `core` is not used after this call.
            unsafe { Self::free_if_unused(pool) };
        }
    }

    /// Returns heap memory once neither handle nor buffer is left.
    ///
    /// # Safety
    /// The caller does not use the pool after this call unless it holds a handle or a buffer.
    unsafe fn free_if_unused(pool: NonNull<PoolCore>) {
        // SAFETY: still allocated: only this function frees it, once, below.
        let core = unsafe { pool.as_ref() };
        if core.handles.get() != 0 || core.free_count.get() != core.capacity {
            return;
        }
        if let Some(layout) = core.owned {
            // SAFETY: allocated by `with_capacity` with this layout, and nothing points into it any more.
            unsafe { dealloc(pool.cast::<u8>().as_ptr(), layout) };
        }
    }
}

impl Clone for Pool {
    fn clone(&self) -> Self {
        let core = self.core();
        core.handles.set(core.handles.get() + 1);
        Self { core: self.core }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let core = self.core();
        core.handles.set(core.handles.get() - 1);
        // SAFETY: this handle was the caller's last use of the pool.
        unsafe { PoolCore::free_if_unused(self.core) };
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("capacity", &self.capacity()).field("free", &self.free()).finish()
    }
}
