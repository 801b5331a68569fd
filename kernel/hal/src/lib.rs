//! The hardware vocabulary that kernel and drivers share: names for cores, addresses and vectors, and the
//! handles through which a driver touches registers and DMA memory.
//!
//! A leaf crate: it knows neither the kernel nor any device. The kernel implements [`Machine`] and [`PciConfig`];
//! drivers are written against the two traits and can therefore be tested on a host with a pretended machine.

#![no_std]

mod address;
pub mod barrier;
mod dma;
mod interrupt;
mod mmio;
mod pci;
mod platform;

pub use address::{CoreId, DmaAddr, PhysAddr};
pub use dma::DmaRegion;
pub use interrupt::{MsiMessage, Vector};
pub use mmio::{Mmio, Register, RegisterValue};
pub use pci::{PciConfig, PciFunction};
pub use platform::MmioDevice;

/// What a driver may ask of the machine it runs on.
pub trait Machine {
    /// Zeroed memory that the device can reach, physically contiguous, aligned to `align` bytes (a power of two).
    ///
    /// The region is never given back; a driver that resets its device reuses its regions. `None` when memory
    /// is exhausted.
    fn dma_alloc(&self, bytes: usize, align: usize) -> Option<DmaRegion>;

    /// Maps `len` bytes of device registers at `at`, uncached. Mapping the same range twice is allowed.
    fn map_mmio(&self, at: PhysAddr, len: usize) -> Result<Mmio, MapError>;
}

/// Why a register range could not be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// The range is empty, wraps around, or lies beyond the processor's physical address width.
    BadRange,
    /// The range overlaps main memory: a device that claims this lies.
    OverlapsMemory,
    /// No memory left for page tables.
    OutOfMemory,
}

#[cfg(test)]
mod tests;
