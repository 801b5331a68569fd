//! Names and access for PCI configuration space.

use core::fmt;

/// A PCI function by its place on the bus (PCI Local Bus 3.0, 3.2.2.3). Segment 0 only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciFunction {
    /// Bus, 0-255.
    pub bus: u8,
    /// Device on the bus, 0-31.
    pub device: u8,
    /// Function of the device, 0-7.
    pub function: u8,
}

impl fmt::Display for PciFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}:{:02x}.{}", self.bus, self.device, self.function)
    }
}

/// Access to configuration space in units of 32 bits.
///
/// A function that is not there reads as all ones, and so does an offset that the access method cannot reach (beyond 0xff
/// without the memory-mapped window). Offsets are in bytes; the low two bits are ignored.
pub trait PciConfig {
    /// Reads the 32-bit word at `offset`.
    fn read32(&self, function: PciFunction, offset: u16) -> u32;
    /// Writes the 32-bit word at `offset`.
    fn write32(&self, function: PciFunction, offset: u16, value: u32);
}

impl<T: PciConfig + ?Sized> PciConfig for &T {
    fn read32(&self, function: PciFunction, offset: u16) -> u32 {
        (**self).read32(function, offset)
    }

    fn write32(&self, function: PciFunction, offset: u16, value: u32) {
        (**self).write32(function, offset, value);
    }
}
