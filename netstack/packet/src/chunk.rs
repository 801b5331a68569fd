//! Immutable, shared bytes.

use core::fmt;
use core::mem;
use core::ops::Deref;
use core::ptr::NonNull;

use crate::slot::{self, Slot};

/// A view of bytes that nobody will write again: of a buffer, shared by counting, or of static memory.
///
/// Cloning and splitting copy no byte. A chunk that waits in a send queue can at the same time be with the device, and
/// one that was received can be queued for sending on another flow of the same core.
pub struct Chunk {
    data: NonNull<u8>,
    len: u32,
    /// The buffer the bytes are in, of which this chunk holds a reference; none for static bytes.
    slot: Option<NonNull<Slot>>,
}

impl Chunk {
    /// # Safety
    /// The caller gives a counted reference of `slot` to the chunk; `data` and `len` are a range of the slot's data that
    /// nobody writes while references exist.
    #[inline(always)]
    pub(crate) unsafe fn from_slot(slot: NonNull<Slot>, data: NonNull<u8>, len: usize) -> Self {
        Self { data, len: len as u32, slot: Some(slot) }
    }

    /// A chunk of bytes that live for ever: a page or a file of the image. Longer ones than 4 GiB are cut there.
    #[inline]
    #[must_use]
    pub const fn from_static(bytes: &'static [u8]) -> Self {
        let len = if bytes.len() > u32::MAX as usize { u32::MAX } else { bytes.len() as u32 };
        // A reference is never null, so the pointer is not either.
        let Some(data) = NonNull::new(bytes.as_ptr().cast_mut()) else { unreachable!() };
        Self { data, len, slot: None }
    }

    /// Takes the first `len` bytes off as a chunk of their own; all of them when there are not so many.
    #[inline]
    #[must_use]
    pub fn split_to(&mut self, len: usize) -> Chunk {
        let mut front = self.clone();
        front.truncate(len);
        self.advance(len);
        front
    }

    /// Drops `len` bytes from the front; all of them when there are not so many.
    #[inline]
    pub fn advance(&mut self, len: usize) {
        let len = len.min(self.len());
        // SAFETY: len <= self.len, so the result is within or one past the range.
        self.data = unsafe { self.data.add(len) };
        self.len -= len as u32;
    }

    /// Shortens to `len` bytes; does nothing when it is not longer.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.len = len as u32;
        }
    }

    /// Where the bytes begin, as a device is told.
    #[inline]
    #[must_use]
    pub fn address(&self) -> u64 {
        self.data.as_ptr().addr() as u64
    }

    /// Gives the view up, and keeps its buffer from being used again.
    #[inline]
    #[must_use]
    pub fn into_hold(self) -> Hold {
        let slot = self.slot;
        mem::forget(self);
        Hold { slot }
    }

    /// Whether the chunk holds a buffer of a pool (and not static bytes).
    #[inline]
    #[must_use]
    pub fn is_pooled(&self) -> bool {
        self.slot.is_some()
    }
}

/// What is left of a [`Chunk`] that a device reads: its buffer does not go back to the pool while this lives. The default
/// holds nothing.
#[derive(Default)]
pub struct Hold {
    slot: Option<NonNull<Slot>>,
}

impl Drop for Hold {
    #[inline]
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            // SAFETY: the reference that the chunk gave to this hold ends here.
            unsafe { slot::release(slot) };
        }
    }
}

impl Deref for Chunk {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: `data..data+len` is a range of static memory, or of a slot that this chunk keeps alive and nobody writes.
        unsafe { core::slice::from_raw_parts(self.data.as_ptr(), self.len as usize) }
    }
}

impl Clone for Chunk {
    #[inline]
    fn clone(&self) -> Self {
        if let Some(slot) = self.slot {
            // SAFETY: this chunk's own reference keeps the slot alive.
            unsafe { slot::retain(slot) };
        }
        Self { data: self.data, len: self.len, slot: self.slot }
    }
}

impl Drop for Chunk {
    #[inline]
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            // SAFETY: this chunk's reference ends here.
            unsafe { slot::release(slot) };
        }
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} bytes)", self.len)
    }
}
