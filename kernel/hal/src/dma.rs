//! Memory that the processor and a device share.

use core::ptr::NonNull;

use crate::DmaAddr;

/// A physically contiguous piece of memory with its two addresses.
///
/// The region owns its memory: there is one `DmaRegion` for each byte. It says nothing about who may touch which
/// byte when; that is the protocol of the ring that lives inside, and the ring's module proves it.
#[derive(Debug)]
pub struct DmaRegion {
    start: NonNull<u8>,
    addr: DmaAddr,
    len: usize,
}

// SAFETY: the region is plain memory owned by this value alone (constructor's duty), so ownership may move to another core.
unsafe impl Send for DmaRegion {}

impl DmaRegion {
    /// Describes `len` bytes at `start`, which the device sees at `addr`.
    ///
    /// # Safety
    /// The bytes are mapped, initialised, contiguous for the device, live for ever, and belong to nobody else.
    pub const unsafe fn new(start: NonNull<u8>, addr: DmaAddr, len: usize) -> DmaRegion {
        DmaRegion { start, addr, len }
    }

    /// The first byte, for the processor.
    pub const fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// The first byte, for the device.
    pub const fn dma_addr(&self) -> DmaAddr {
        self.addr
    }

    /// Length in bytes.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether the region has no bytes.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Cuts the region in two at `at` bytes; `Err` gives it back whole when it is shorter than that.
    pub fn split_at(self, at: usize) -> Result<(DmaRegion, DmaRegion), DmaRegion> {
        if at > self.len {
            return Err(self);
        }
        // SAFETY: `at <= len`, so the pointer stays inside the region or one past its end; both halves are disjoint
        // and `self` is consumed, so each byte keeps one owner.
        let tail = unsafe { DmaRegion::new(self.start.add(at), self.addr.offset(at as u64), self.len - at) };
        Ok((DmaRegion { len: at, ..self }, tail))
    }

    /// All bytes, for ever: memory that no device was told of as a region, and that is given out in parts from now on.
    pub fn into_slice(self) -> &'static mut [u8] {
        // SAFETY: mapped, initialised, alive for ever and owned by nobody else, by the constructor's contract; this value,
        // through which its address could be had, ends here.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}
