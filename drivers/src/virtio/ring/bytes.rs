//! Plain bytes that a device reads or writes: commands and answers of slow queues.
#![allow(unsafe_code)]

use weir_hal::{DmaRegion, Machine};

use crate::DeviceError;

/// A small buffer that driver and device share. Access is volatile, byte by byte: not for the data path.
#[derive(Debug)]
pub(crate) struct SharedBytes {
    region: DmaRegion,
}

impl SharedBytes {
    /// `bytes` zeroed bytes.
    ///
    /// # Errors
    /// Memory is exhausted.
    pub(crate) fn allocate<M: Machine>(machine: &M, bytes: usize) -> Result<Self, DeviceError> {
        let region = machine.dma_alloc(bytes, 64).filter(|region| region.len() >= bytes);
        Ok(Self { region: region.ok_or(DeviceError::OutOfMemory(bytes))? })
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.region.len()
    }

    /// Where the byte at `offset` is for the device.
    pub(crate) fn address(&self, offset: usize) -> u64 {
        self.region.dma_addr().offset(offset as u64).0
    }

    /// The byte at `offset`; 0 beyond the end.
    pub(crate) fn read(&self, offset: usize) -> u8 {
        if offset >= self.len() {
            return 0;
        }
        // SAFETY: within the region, which is mapped and initialised for ever. A device that writes at the same time
        // makes the value arbitrary, and every byte is a valid one.
        unsafe { self.region.as_ptr().add(offset).read_volatile() }
    }

    /// Writes `bytes` at `offset`, as far as they fit.
    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) {
        for (at, &byte) in (offset..self.len()).zip(bytes) {
            // SAFETY: within the region, of which this value is the one owner on the driver's side.
            unsafe { self.region.as_ptr().add(at).write_volatile(byte) }
        }
    }
}
