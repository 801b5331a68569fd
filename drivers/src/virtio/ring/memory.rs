//! The memory of a split ring: three tables that driver and device share (virtio 1.2, 2.7).
//!
//! ```text
//! descriptors   16 bytes each: address, length, flags, next          the driver writes
//! available     flags, index, head[n], used_event                    the driver writes
//! used          flags, index, (id, length)[n], avail_event           the device writes
//! ```
//!
//! Who owns what: a descriptor is the driver's until the available index has passed an entry that names it (or its
//! chain's head), then the device's, until the used index has passed an entry that names it. The available index
//! changes hands with a release store, the used index with an acquire load: all that was written before is seen by
//! whoever saw the index.
//!
//! Every accessor masks its index into the table, so none can leave the memory, whatever it is asked for. Whether an
//! index makes sense is for [`super::SplitRing`] and its users to check.
#![allow(unsafe_code)]

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU16, Ordering};

use weir_hal::{DmaRegion, Machine};

use super::{DescIndex, UsedElement};
use crate::DeviceError;
use crate::virtio::RingAddresses;

/// The device reads or writes lines of these tables while the driver writes others: none is shared.
const LINE: usize = 64;
pub(super) const DESCRIPTOR_BYTES: usize = 16;
const USED_BYTES: usize = 8;
/// Flags and index in front of the entries of both rings.
const RING_HEADER_BYTES: usize = 4;
const EVENT_BYTES: usize = 2;

/// One ring's tables. The device may access them as long as it lives, so the memory is never given back.
#[derive(Debug)]
pub(super) struct RingMemory {
    descriptors: NonNull<u64>,
    available: NonNull<u16>,
    used: NonNull<u16>,
    mask: u16,
    addresses: RingAddresses,
    /// Owns the bytes that the pointers point to.
    _region: DmaRegion,
}

// SAFETY: the pointers lead into `_region`, which is `Send` and owned by this value alone.
unsafe impl Send for RingMemory {}

/// Where the tables lie within the region, in bytes.
struct Layout {
    available: usize,
    used: usize,
    bytes: usize,
}

impl Layout {
    const fn new(len: u16) -> Self {
        let n = len as usize;
        let available = (n * DESCRIPTOR_BYTES).next_multiple_of(LINE);
        let used = (available + RING_HEADER_BYTES + 2 * n + EVENT_BYTES).next_multiple_of(LINE);
        let bytes = (used + RING_HEADER_BYTES + USED_BYTES * n + EVENT_BYTES).next_multiple_of(LINE);
        Self { available, used, bytes }
    }
}

impl RingMemory {
    /// Tables for `len` descriptors, all zero.
    ///
    /// # Errors
    /// `len` is no power of two up to 32768, or memory is exhausted.
    pub(super) fn allocate<M: Machine>(machine: &M, len: u16) -> Result<Self, DeviceError> {
        if !len.is_power_of_two() {
            return Err(DeviceError::QueueLenInvalid(len));
        }
        let layout = Layout::new(len);
        let exhausted = DeviceError::OutOfMemory(layout.bytes);
        let region = machine.dma_alloc(layout.bytes, 4096).ok_or(exhausted)?;
        let start = NonNull::new(region.as_ptr()).ok_or(exhausted)?;
        if region.len() < layout.bytes || !start.is_aligned_to_line() {
            return Err(exhausted);
        }
        let base = region.dma_addr();
        // SAFETY: both offsets are below `layout.bytes`, which the region holds (just checked).
        let (available, used) = unsafe { (start.add(layout.available), start.add(layout.used)) };
        Ok(Self {
            descriptors: start.cast(),
            available: available.cast(),
            used: used.cast(),
            mask: len - 1,
            addresses: RingAddresses {
                len,
                descriptors: base.0,
                available: base.offset(layout.available as u64).0,
                used: base.offset(layout.used as u64).0,
            },
            _region: region,
        })
    }

    pub(super) const fn addresses(&self) -> RingAddresses {
        self.addresses
    }

    /// Writes a descriptor that the driver owns.
    #[inline]
    pub(super) fn set_descriptor(&mut self, index: DescIndex, address: u64, len: u32, flags: u16, next: DescIndex) {
        self.set_descriptor_address(index, address);
        self.set_descriptor_rest(index, len, flags, next);
    }

    /// Writes the address of a descriptor that the driver owns, and leaves the rest as it is.
    #[inline]
    pub(super) fn set_descriptor_address(&mut self, index: DescIndex, address: u64) {
        let at = usize::from(index.0 & self.mask) * 2;
        // SAFETY: the masked index is below the table's length; two u64 make one descriptor, aligned by the region.
        unsafe { self.descriptors.add(at).write_volatile(address.to_le()) }
    }

    /// Writes all but the address of a descriptor that the driver owns.
    #[inline]
    pub(super) fn set_descriptor_rest(&mut self, index: DescIndex, len: u32, flags: u16, next: DescIndex) {
        let rest = rest_of_descriptor(len, flags, next);
        let at = usize::from(index.0 & self.mask) * 2 + 1;
        // SAFETY: as in `set_descriptor_address`.
        unsafe { self.descriptors.add(at).write_volatile(rest.to_le()) }
    }

    /// Writes the available entry at `position`, which the index has not passed yet.
    #[inline]
    pub(super) fn set_available(&mut self, position: u16, head: DescIndex) {
        let at = 2 + usize::from(position & self.mask);
        // SAFETY: two u16 of header, then a masked entry: within the table.
        unsafe { self.available.add(at).write_volatile(head.0.to_le()) }
    }

    /// Hands the entries before `index` to the device, with all that their descriptors point to.
    #[inline]
    pub(super) fn publish(&mut self, index: u16) {
        // SAFETY: the second u16 of the table, aligned, alive, and accessed by both sides with atomic width.
        let place = unsafe { AtomicU16::from_ptr(self.available.add(1).as_ptr()) };
        // Release: descriptors, entries and the buffers' bytes come first. The device reads them after it saw the
        // index.
        place.store(index.to_le(), Ordering::Release);
    }

    /// How far the device has used entries.
    #[inline]
    pub(super) fn used_index(&self) -> u16 {
        // SAFETY: as in `publish`.
        let place = unsafe { AtomicU16::from_ptr(self.used.add(1).as_ptr()) };
        // Acquire: the entries and buffers that the device wrote before are read after.
        u16::from_le(place.load(Ordering::Acquire))
    }

    /// The used entry at `position`, read once: the device could change its mind between two reads.
    #[inline]
    pub(super) fn used(&self, position: u16) -> UsedElement {
        // SAFETY: two u16 of header, then a masked entry of four u16: within the table. The entries lie at a multiple
        // of 4.
        let word = |half: usize| unsafe {
            self.used.add(2 + usize::from(position & self.mask) * 4 + half).cast::<u32>().read_volatile()
        };
        UsedElement { id: u32::from_le(word(0)), len: u32::from_le(word(2)) }
    }

    /// The available index at which the device wants to be told (`VIRTIO_F_EVENT_IDX`).
    #[inline]
    pub(super) fn available_event(&self) -> u16 {
        // SAFETY: behind the last of `len` entries of four u16: the table has room for it.
        u16::from_le(unsafe { self.used.add(2 + self.len() * 4).read_volatile() })
    }

    /// Asks for an interrupt once the used index passes `index` (`VIRTIO_F_EVENT_IDX`).
    #[inline]
    pub(super) fn set_used_event(&mut self, index: u16) {
        // SAFETY: behind the last of `len` entries of one u16: the table has room for it.
        unsafe { self.available.add(2 + self.len()).write_volatile(index.to_le()) }
    }

    /// The used ring's flags: the device does not want to be told (without `VIRTIO_F_EVENT_IDX`).
    #[inline]
    pub(super) fn used_flags(&self) -> u16 {
        // SAFETY: the first u16 of the table.
        u16::from_le(unsafe { self.used.read_volatile() })
    }

    /// The available ring's flags: the driver does not want to be interrupted (without `VIRTIO_F_EVENT_IDX`).
    #[inline]
    pub(super) fn set_available_flags(&mut self, flags: u16) {
        // SAFETY: the first u16 of the table.
        unsafe { self.available.write_volatile(flags.to_le()) }
    }

    /// Makes everything zero again. Only for a device that was reset, or does not know the ring yet.
    pub(super) fn clear(&mut self) {
        let bytes = Layout::new(self.addresses.len).bytes;
        // SAFETY: the region holds `bytes` bytes from here, and any bit pattern is a valid table. Should a device write
        // to them in spite of its reset, that is no different from any other lie: every value is checked when it is
        // read.
        unsafe { self.descriptors.cast::<u8>().write_bytes(0, bytes) }
    }

    #[inline]
    fn len(&self) -> usize {
        usize::from(self.mask) + 1
    }
}

/// All of a descriptor but its address: length, flags, next.
#[inline]
pub(super) const fn rest_of_descriptor(len: u32, flags: u16, next: DescIndex) -> u64 {
    len as u64 | (flags as u64) << 32 | (next.0 as u64) << 48
}

/// `NonNull::is_aligned` for a line.
trait LineAligned {
    fn is_aligned_to_line(&self) -> bool;
}

impl LineAligned for NonNull<u8> {
    fn is_aligned_to_line(&self) -> bool {
        self.addr().get().is_multiple_of(LINE)
    }
}
