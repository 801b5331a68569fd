//! The memory layout of one buffer, and the reference counting that everything in this crate rests on.
//!
//! A slot is 2 KiB: one cache line of header, then data. Who may touch what:
//!
//! - the header's cells: only the core that owns the pool (no type that points to a slot is `Send`);
//! - the data: the one [`crate::Packet`] that owns it may write it; once frozen into chunks it is only read, until the
//!   last reference is gone.

use core::cell::Cell;
use core::ptr::NonNull;

use crate::pool::PoolCore;

/// Bytes of the header in front of a slot's data: one cache line.
pub(crate) const HEADER_BYTES: usize = 64;

/// A buffer's header. Its data follow it in memory.
#[repr(C, align(64))]
pub(crate) struct Slot {
    /// How many packets and chunks point here; 0 means free.
    pub refs: Cell<u32>,
    /// First and one past the last byte of data that belongs to the packet.
    pub start: Cell<u16>,
    pub end: Cell<u16>,
    /// The next buffer of the same frame, or of the free list.
    pub next: Cell<Option<NonNull<Slot>>>,
    /// The last buffer of the frame whose first one this is; none when the frame has a single buffer.
    pub last: Cell<Option<NonNull<Slot>>>,
    /// The pool to which the slot returns.
    pub pool: NonNull<PoolCore>,
}

const _: () = assert!(size_of::<Slot>() == HEADER_BYTES);

/// The first byte of a slot's data.
#[inline(always)]
pub(crate) fn data(slot: NonNull<Slot>) -> NonNull<u8> {
    // SAFETY: every slot is made by the pool as the first HEADER_BYTES of SLOT_BYTES within one allocation, so the
    // result lies within the same allocation.
    unsafe { slot.cast::<u8>().add(HEADER_BYTES) }
}

/// The header, shared: all of its fields are cells.
///
/// # Safety
/// `slot` must be counted by a reference that outlives `'a` (the caller's own), so that the pool's memory is alive.
#[inline(always)]
pub(crate) unsafe fn header<'a>(slot: NonNull<Slot>) -> &'a Slot {
    // SAFETY: the caller holds a reference to a slot; the pool initialised its header and never hands out `&mut Slot`.
    unsafe { slot.as_ref() }
}

/// Adds a reference.
///
/// # Safety
/// As for [`header`].
#[inline(always)]
pub(crate) unsafe fn retain(slot: NonNull<Slot>) {
    // SAFETY: forwarded to the caller.
    let header = unsafe { header(slot) };
    header.refs.set(header.refs.get() + 1);
}

/// Drops a reference; the last one sends the slot back to its pool.
///
/// # Safety
/// The caller gives up one counted reference and does not use `slot` again through it.
#[inline(always)]
pub(crate) unsafe fn release(slot: NonNull<Slot>) {
    // SAFETY: the caller's reference is alive until the decrement below.
    let header = unsafe { header(slot) };
    let refs = header.refs.get() - 1;
    header.refs.set(refs);
    if refs == 0 {
        // SAFETY: nobody points to the slot any more, and the pool's core lives as long as any of its slots is out.
        unsafe { PoolCore::take_back(header.pool, slot) };
    }
}
