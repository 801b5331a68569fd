//! Devices that stand on no bus: they are told of, not found.

use crate::PhysAddr;

/// A virtio device with registers in memory (virtio 1.2, 4.2) and an interrupt line of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MmioDevice {
    /// Where its registers are.
    pub at: PhysAddr,
    /// Length of its registers in bytes.
    pub len: u32,
    /// Its interrupt line: a global system interrupt (ACPI 6.5, 5.2.15).
    pub line: u32,
}
