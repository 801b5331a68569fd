//! Numbers that must not be confused with each other.

use core::fmt;

/// A processor of this machine, numbered densely from 0 (the boot core) in the order of the firmware's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct CoreId(pub u16);

impl CoreId {
    /// The core that booted the machine.
    pub const BOOT: CoreId = CoreId(0);

    /// The number as an index into per-core tables.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for CoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A physical address as the processor sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct PhysAddr(pub u64);

impl PhysAddr {
    /// The address `bytes` further on, or `None` beyond the end of the address space.
    pub const fn checked_add(self, bytes: u64) -> Option<PhysAddr> {
        match self.0.checked_add(bytes) {
            Some(sum) => Some(PhysAddr(sum)),
            None => None,
        }
    }
}

impl fmt::Display for PhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// An address as a device sees it, to be written into descriptors and registers.
///
/// Weir runs without an IOMMU, so the number equals the physical address; the type keeps the two apart all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct DmaAddr(pub u64);

impl DmaAddr {
    /// The address `bytes` further on. The caller stays inside one region, so this cannot wrap.
    pub const fn offset(self, bytes: u64) -> DmaAddr {
        DmaAddr(self.0.wrapping_add(bytes))
    }
}

impl fmt::Display for DmaAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}
