//! Interrupts as a device driver sees them.

/// An interrupt vector of one core (32-255). The same number means different things on different cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Vector(pub u8);

/// What a device writes to raise an interrupt: the contents of an MSI-X table entry (PCI Local Bus 3.0, 6.8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MsiMessage {
    /// Message address, low and high half.
    pub address: u64,
    /// Message data.
    pub data: u32,
}
