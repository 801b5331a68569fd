//! Tables of descriptors beside the ring, to which a descriptor of the ring may point (virtio 1.2, 2.7.5.3).
//!
//! A table is the driver's until the ring's descriptor that points to it was offered, then the device's, until that one is used.
//! It needs no ordering of its own: the available index is published after all that was written here.
#![allow(unsafe_code)]

use core::marker::PhantomData;
use core::ptr::NonNull;

use weir_hal::{DmaRegion, Machine};

use super::memory::{DESCRIPTOR_BYTES, rest_of_descriptor};
use super::{Buffer, DESC_NEXT, DescIndex};
use crate::DeviceError;

/// Number of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableIndex(pub u16);

/// Some tables of the same length.
#[derive(Debug)]
pub(crate) struct IndirectTables {
    descriptors: NonNull<u64>,
    count: u16,
    /// Descriptors of one table.
    table_len: u16,
    region: DmaRegion,
}

// SAFETY: the pointer leads into `region`, which is `Send` and owned by this value alone.
unsafe impl Send for IndirectTables {}

impl IndirectTables {
    /// `count` tables of `table_len` descriptors each.
    ///
    /// # Errors
    /// Memory is exhausted.
    pub(crate) fn allocate<M: Machine>(machine: &M, count: u16, table_len: u16) -> Result<Self, DeviceError> {
        let bytes = usize::from(count) * usize::from(table_len) * DESCRIPTOR_BYTES;
        let exhausted = DeviceError::OutOfMemory(bytes);
        let region = machine.dma_alloc(bytes, 64).filter(|region| region.len() >= bytes).ok_or(exhausted)?;
        let descriptors = NonNull::new(region.as_ptr()).ok_or(exhausted)?.cast();
        Ok(Self { descriptors, count, table_len, region })
    }

    pub(crate) const fn count(&self) -> u16 {
        self.count
    }

    pub(crate) const fn table_len(&self) -> u16 {
        self.table_len
    }

    /// Begins to write a table that the driver owns.
    #[inline]
    pub(crate) fn write(&mut self, table: TableIndex) -> TableWriter<'_> {
        assert!(table.0 < self.count, "a table that does not exist");
        let first = usize::from(table.0) * usize::from(self.table_len);
        TableWriter {
            // SAFETY: below count * table_len (just checked), and the region holds so many descriptors of two u64.
            start: unsafe { self.descriptors.add(2 * first) },
            address: self.region.dma_addr().offset((first * DESCRIPTOR_BYTES) as u64).0,
            len: 0,
            len_max: self.table_len,
            last_bytes: 0,
            tables: PhantomData,
        }
    }
}

/// A table that is being written.
pub(crate) struct TableWriter<'a> {
    start: NonNull<u64>,
    address: u64,
    len: u16,
    len_max: u16,
    last_bytes: u32,
    tables: PhantomData<&'a mut IndirectTables>,
}

impl TableWriter<'_> {
    /// Descriptors so far.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len.into()
    }

    /// Describes a buffer that the device reads, as if another one followed.
    #[inline]
    pub(crate) fn push(&mut self, buffer: Buffer) {
        assert!(self.len < self.len_max, "a descriptor beside its table");
        let (at, rest) = (2 * self.len(), rest_of_descriptor(buffer.len, DESC_NEXT, DescIndex(self.len + 1)));
        // SAFETY: `len` is below the table's length (just checked); two u64 make one descriptor, aligned by the region.
        unsafe {
            self.start.add(at).write_volatile(buffer.address.to_le());
            self.start.add(at + 1).write_volatile(rest.to_le());
        }
        self.len += 1;
        self.last_bytes = buffer.len;
    }

    /// Makes the last buffer, of at least one, the end, and answers what the ring's descriptor has to say of the table.
    #[inline]
    pub(crate) fn finish(self) -> Buffer {
        assert!(self.len > 0, "an empty table");
        let rest = rest_of_descriptor(self.last_bytes, 0, DescIndex(0));
        // SAFETY: the last descriptor that `push` has written.
        unsafe { self.start.add(2 * self.len() - 1).write_volatile(rest.to_le()) }
        Buffer { address: self.address, len: u32::from(self.len) * DESCRIPTOR_BYTES as u32 }
    }
}
