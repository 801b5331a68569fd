//! PCI: which functions are there, where their registers are, and how they interrupt.
//!
//! [`scan`] walks the buses; a [`Function`] is a handle on one function's configuration space, with its
//! [base address registers](bar), [capabilities](Function::capabilities) and [MSI-X table](msix).
//!
//! Our own, although `virtio-drivers` has a PCI module: its walk over the capability list does not end when a
//! device links the list into a circle, it has neither MSI-X table nor bridges, and it brings its own types for
//! registers. What is left of the task is smaller than the glue would be.

pub mod bar;
mod config;
pub mod msix;
mod scan;

#[cfg(test)]
mod tests;

use core::fmt;

use weir_hal::{MapError, PciFunction};

pub use bar::{Bar, BarIndex, Bars, Window};
pub use config::{Capability, Function, Identity};
pub use msix::MsixTable;
pub use scan::{FUNCTIONS_MAX, scan};

/// What a function said that cannot be, or what it lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PciError {
    /// The capability list runs in a circle or leaves configuration space.
    CapabilityListBroken,
    /// There is no base address register of that number (0-5).
    NoSuchBar(u8),
    /// The register describes I/O ports where memory is needed.
    BarIsPorts(u8),
    /// The register is not implemented: its size is zero.
    BarAbsent(u8),
    /// A 64-bit register without a second half, or an undefined type.
    BarMalformed(u8),
    /// The firmware gave the register no address, and no [`Window`] has room to give it one.
    BarUnassigned(u8),
    /// A structure of the device does not fit into the register's range.
    OutsideBar(u8),
    /// The kernel refused to map the range.
    Map(MapError),
    /// No MSI-X table has an entry of that number.
    NoSuchVector(u16),
}

impl fmt::Display for PciError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CapabilityListBroken => f.write_str("the capability list runs in a circle"),
            Self::NoSuchBar(n) => write!(f, "there is no base address register {n}"),
            Self::BarIsPorts(n) => write!(f, "base address register {n} is for ports, not memory"),
            Self::BarAbsent(n) => write!(f, "base address register {n} is not implemented"),
            Self::BarMalformed(n) => write!(f, "base address register {n} has no valid type"),
            Self::BarUnassigned(n) => write!(f, "the firmware gave base address register {n} no address"),
            Self::OutsideBar(n) => write!(f, "a structure exceeds base address register {n}"),
            Self::Map(error) => write!(f, "registers cannot be mapped: {error:?}"),
            Self::NoSuchVector(n) => write!(f, "the MSI-X table has no entry {n}"),
        }
    }
}

impl core::error::Error for PciError {}

/// Where [`scan`] found what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its place on the bus.
    pub place: PciFunction,
    /// What it is.
    pub identity: Identity,
}
