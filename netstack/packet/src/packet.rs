//! One buffer, owned and writable.

use core::fmt;
use core::marker::PhantomData;
use core::mem;
use core::ops::{Deref, DerefMut, Range};
use core::ptr::NonNull;

use crate::BUFFER_BYTES;
use crate::chunk::Chunk;
use crate::pool::PoolCore;
use crate::slot::{self, Slot};

/// A buffer of a [`crate::Pool`] that has one owner. Dereferences to its data.
///
/// The data are a range of the buffer: headers are put in front with [`prepend`](Self::prepend) and taken off with
/// [`trim_front`](Self::trim_front), payload is appended, and nothing is moved. A frame that did not fit into one buffer
/// is a chain: the first packet owns the others, in order ([`append`](Self::append), [`take_rest`](Self::take_rest)).
///
/// Dropping a packet gives its buffers back to their pool.
pub struct Packet {
    slot: NonNull<Slot>,
}

/// The range asked for does not lie within the packet or its buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeError;

impl fmt::Display for RangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("range exceeds the packet buffer")
    }
}

impl core::error::Error for RangeError {}

impl Packet {
    /// # Safety
    /// The caller gives its counted reference, the only one, to the packet.
    #[inline(always)]
    pub(crate) unsafe fn from_slot(slot: NonNull<Slot>) -> Self {
        Self { slot }
    }

    /// Makes room for `len` bytes in front of the data and returns it.
    ///
    /// # Errors
    /// Less than `len` bytes of headroom are left; the packet is unchanged.
    #[inline]
    pub fn prepend(&mut self, len: usize) -> Result<&mut [u8], RangeError> {
        let header = self.header();
        let start = usize::from(header.start.get()).checked_sub(len).ok_or(RangeError)?;
        header.start.set(start as u16);
        // SAFETY: the `len` bytes lie between `start` and the old beginning of the data, so within the slot, which the pool
        // zeroed once and this packet alone refers to.
        Ok(unsafe { core::slice::from_raw_parts_mut(slot::data(self.slot).add(start).as_ptr(), len) })
    }

    /// Puts `bytes` in front of the data.
    ///
    /// # Errors
    /// There is less headroom than that; the packet is unchanged.
    #[inline]
    pub fn prepend_array<const N: usize>(&mut self, bytes: [u8; N]) -> Result<(), RangeError> {
        let header = self.header();
        let start = usize::from(header.start.get()).checked_sub(N).ok_or(RangeError)?;
        header.start.set(start as u16);
        // SAFETY: the N bytes lie behind `start` and before the old beginning of the data, so within the slot, which this
        // packet alone refers to.
        unsafe { slot::data(self.slot).add(start).cast::<[u8; N]>().write(bytes) };
        Ok(())
    }

    /// All bytes of the buffer, whether they belong to the data or not: what a device wrote into it.
    #[inline]
    #[must_use]
    pub fn buffer(&self) -> &[u8; BUFFER_BYTES] {
        // SAFETY: a slot has so many bytes of data, which the pool zeroed once; nobody writes while `self` is borrowed.
        unsafe { slot::data(self.slot).cast().as_ref() }
    }

    /// Makes `range` of the buffer the data.
    ///
    /// # Errors
    /// The range is not within the buffer; the packet is unchanged.
    #[inline]
    pub fn set_range(&mut self, range: Range<usize>) -> Result<(), RangeError> {
        if range.start > range.end || range.end > BUFFER_BYTES {
            return Err(RangeError);
        }
        let header = self.header();
        header.start.set(range.start as u16);
        header.end.set(range.end as u16);
        Ok(())
    }

    /// Takes `len` bytes off the front.
    ///
    /// # Errors
    /// The packet's own buffer holds less than that; the packet is unchanged.
    #[inline]
    pub fn trim_front(&mut self, len: usize) -> Result<(), RangeError> {
        if len > self.len() {
            return Err(RangeError);
        }
        let header = self.header();
        header.start.set(header.start.get() + len as u16);
        Ok(())
    }

    /// Shortens the data of this buffer to `range` of them.
    ///
    /// # Errors
    /// The packet's own buffer does not hold all of the range; the packet is unchanged.
    #[inline]
    pub fn narrow(&mut self, range: Range<usize>) -> Result<(), RangeError> {
        if range.start > range.end || range.end > self.len() {
            return Err(RangeError);
        }
        let header = self.header();
        let start = header.start.get();
        header.start.set(start + range.start as u16);
        header.end.set(start + range.end as u16);
        Ok(())
    }

    /// Shortens the data of this buffer to `len` bytes; does nothing when they are not longer.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        if len < self.len() {
            let header = self.header();
            header.end.set(header.start.get() + len as u16);
        }
    }

    /// Makes room for `len` bytes after the data of this buffer and returns it.
    ///
    /// # Errors
    /// Less than `len` bytes of tailroom are left; the packet is unchanged.
    #[inline(always)]
    pub fn extend(&mut self, len: usize) -> Result<&mut [u8], RangeError> {
        let header = self.header();
        let end = usize::from(header.end.get());
        if len > BUFFER_BYTES - end {
            return Err(RangeError);
        }
        header.end.set((end + len) as u16);
        // SAFETY: the `len` bytes lie behind the data and within the slot (just checked), which the pool zeroed once and this
        // packet alone refers to.
        Ok(unsafe { core::slice::from_raw_parts_mut(slot::data(self.slot).add(end).as_ptr(), len) })
    }

    /// Appends a copy of `bytes`.
    ///
    /// # Errors
    /// As for [`extend`](Self::extend).
    #[inline]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) -> Result<(), RangeError> {
        self.extend(bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    /// Bytes that [`extend`](Self::extend) can still give.
    #[inline]
    #[must_use]
    pub fn tailroom(&self) -> usize {
        BUFFER_BYTES - usize::from(self.header().end.get())
    }

    /// Bytes that [`prepend`](Self::prepend) can still give.
    #[inline]
    #[must_use]
    pub fn headroom(&self) -> usize {
        usize::from(self.header().start.get())
    }

    /// Where the data begin, as a device is told.
    #[inline]
    #[must_use]
    pub fn address(&self) -> u64 {
        self.as_ptr().addr() as u64
    }

    /// Adds `next` (and what is chained to it) to the end of this frame.
    pub fn append(&mut self, next: Packet) {
        let header = self.header();
        let next_header = next.header();
        let tail = header.last.get().unwrap_or(self.slot);
        header.last.set(Some(next_header.last.get().unwrap_or(next.slot)));
        next_header.last.set(None);
        // SAFETY: `tail` belongs to the chain that this packet owns.
        unsafe { slot::header(tail) }.next.set(Some(next.slot));
        mem::forget(next);
    }

    /// Splits the frame behind its first buffer and returns the rest of it, if any.
    #[inline]
    pub fn take_rest(&mut self) -> Option<Packet> {
        let header = self.header();
        let rest = header.next.take()?;
        let last = header.last.take();
        if last != Some(rest) {
            // SAFETY: `rest` belonged to the chain that this packet owned.
            unsafe { slot::header(rest) }.last.set(last);
        }
        // SAFETY: the chain held the one reference to `rest`; it is now the new packet's.
        Some(unsafe { Packet::from_slot(rest) })
    }

    /// Whether the frame has more buffers than this one.
    #[inline]
    #[must_use]
    pub fn is_chain(&self) -> bool {
        self.header().next.get().is_some()
    }

    /// Buffers of the whole frame: this one and all that are chained to it.
    #[must_use]
    pub fn buffers(&self) -> usize {
        let mut count = 1;
        let mut next = self.header().next.get();
        while let Some(slot) = next {
            count += 1;
            // SAFETY: a member of the chain that this packet owns.
            next = unsafe { slot::header(slot) }.next.get();
        }
        count
    }

    /// Bytes of the whole frame: this buffer's and all that are chained to it.
    #[must_use]
    pub fn frame_len(&self) -> usize {
        let mut total = self.len();
        let mut next = self.header().next.get();
        while let Some(slot) = next {
            // SAFETY: a member of the chain that this packet owns.
            let header = unsafe { slot::header(slot) };
            total += usize::from(header.end.get() - header.start.get());
            next = header.next.get();
        }
        total
    }

    /// The bytes of each buffer of the frame, in order.
    #[must_use]
    pub fn parts(&self) -> Parts<'_> {
        Parts { next: Some(self.slot), frame: PhantomData }
    }

    /// Makes the data immutable and shareable. The frame must be a single buffer: take the rest off first.
    #[inline]
    #[must_use]
    pub fn freeze(mut self) -> Chunk {
        debug_assert!(!self.is_chain(), "a chain is frozen buffer by buffer");
        if self.is_chain() {
            self.drop_rest();
        }
        let (data, len) = (NonNull::from(&mut *self).cast::<u8>(), self.len());
        let slot = self.slot;
        mem::forget(self);
        // SAFETY: the packet's reference passes to the chunk, and the range is the packet's own.
        unsafe { Chunk::from_slot(slot, data, len) }
    }

    #[cold]
    fn drop_rest(&mut self) {
        drop(self.take_rest());
    }

    /// The pool that the packet belongs to.
    pub(crate) fn pool(&self) -> NonNull<PoolCore> {
        self.header().pool
    }

    #[inline(always)]
    fn header(&self) -> &Slot {
        // SAFETY: the packet holds a reference as long as it lives.
        unsafe { slot::header(self.slot) }
    }
}

/// The buffers of a frame; see [`Packet::parts`].
pub struct Parts<'a> {
    next: Option<NonNull<Slot>>,
    frame: PhantomData<&'a Packet>,
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let slot = self.next?;
        // SAFETY: a member of the chain that the packet owns, which is borrowed for `'a` and keeps it alive.
        let header = unsafe { slot::header(slot) };
        self.next = header.next.get();
        let (start, end) = (header.start.get(), header.end.get());
        // SAFETY: as for `Packet::deref`: the range lies in the slot, and nobody writes while the packet is borrowed.
        Some(unsafe { core::slice::from_raw_parts(slot::data(slot).add(start.into()).as_ptr(), (end - start).into()) })
    }
}

impl Deref for Packet {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let header = self.header();
        let (start, end) = (header.start.get(), header.end.get());
        // SAFETY: start <= end <= BUFFER_BYTES is kept by every method, the pool zeroed the memory once, and a packet is
        // the only reference to its slot, so nobody writes while `self` is borrowed.
        unsafe { core::slice::from_raw_parts(slot::data(self.slot).add(start.into()).as_ptr(), (end - start).into()) }
    }
}

impl DerefMut for Packet {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let header = self.header();
        let (start, end) = (header.start.get(), header.end.get());
        // SAFETY: as for `deref`, and `self` is borrowed exclusively.
        unsafe {
            core::slice::from_raw_parts_mut(slot::data(self.slot).add(start.into()).as_ptr(), (end - start).into())
        }
    }
}

impl Drop for Packet {
    #[inline]
    fn drop(&mut self) {
        let rest = self.header().next.get();
        // SAFETY: the packet's reference ends here; the pool writes its own link over the chain's.
        unsafe { slot::release(self.slot) };
        if let Some(slot) = rest {
            // SAFETY: the chain held the one reference to its next buffer.
            unsafe { release_chain(slot) };
        }
    }
}

/// Gives up the buffers of a chain from `slot` on.
///
/// # Safety
/// The caller gives up the one reference to each of them.
#[cold]
unsafe fn release_chain(slot: NonNull<Slot>) {
    let mut rest = Some(slot);
    while let Some(slot) = rest {
        // SAFETY: the chain held this reference; the link is read before it is given up.
        unsafe {
            rest = slot::header(slot).next.get();
            slot::release(slot);
        }
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packet({} bytes)", self.frame_len())
    }
}
