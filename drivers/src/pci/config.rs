//! One function's configuration space (PCI Local Bus 3.0, chapter 6).

use weir_hal::{PciConfig, PciFunction};

use super::PciError;

/// Offsets of the header that all functions have.
const COMMAND: u16 = 0x04;
const STATUS_CAPABILITIES: u16 = 1 << 4;
const CAPABILITIES_POINTER: u16 = 0x34;
const SUBSYSTEM: u16 = 0x2c;

/// Bits of the command register.
const COMMAND_MEMORY: u16 = 1 << 1;
const COMMAND_BUS_MASTER: u16 = 1 << 2;
const COMMAND_INTX_OFF: u16 = 1 << 10;

/// Capabilities start behind the header, on multiples of four: so there cannot be more.
const CAPABILITIES_MAX: usize = (0x100 - 0x40) / 4;

/// What a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Vendor.
    pub vendor: u16,
    /// Device, in the vendor's numbering.
    pub device: u16,
    /// Subsystem, in the subsystem vendor's numbering.
    pub subsystem: u16,
    /// Base class, subclass and programming interface, from high to low.
    pub class: u32,
    /// Revision.
    pub revision: u8,
}

/// An entry of the capability list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// What it is: 0x05 MSI, 0x09 vendor specific, 0x11 MSI-X, and others.
    pub id: u8,
    /// Where it begins in configuration space, in bytes.
    pub offset: u16,
}

/// A handle on one function's configuration space.
#[derive(Clone, Copy, Debug)]
pub struct Function<C> {
    config: C,
    place: PciFunction,
}

impl<C: PciConfig> Function<C> {
    /// A handle on the function at `place`, present or not.
    pub const fn new(config: C, place: PciFunction) -> Self {
        Self { config, place }
    }

    /// Its place on the bus.
    pub const fn place(&self) -> PciFunction {
        self.place
    }

    /// What it is, or none when nothing answers.
    pub fn identity(&self) -> Option<Identity> {
        let ids = self.read32(0);
        if ids as u16 == 0xffff {
            return None;
        }
        let class = self.read32(8);
        Some(Identity {
            vendor: ids as u16,
            device: (ids >> 16) as u16,
            subsystem: (self.read32(SUBSYSTEM) >> 16) as u16,
            class: class >> 8,
            revision: class as u8,
        })
    }

    /// The capability list, in order.
    ///
    /// The iterator ends with an error if the list does not.
    pub fn capabilities(&self) -> Capabilities<'_, C> {
        let present = self.read16(COMMAND + 2) & STATUS_CAPABILITIES != 0;
        let next = if present { self.read8(CAPABILITIES_POINTER) & !3 } else { 0 };
        Capabilities { function: self, next, left: CAPABILITIES_MAX }
    }

    /// Lets the function answer memory accesses and read and write memory itself, and silences its interrupt line.
    pub fn enable(&self) {
        self.change_command(COMMAND_MEMORY | COMMAND_BUS_MASTER | COMMAND_INTX_OFF, 0);
    }

    /// Runs `work` while the function answers no memory access.
    pub(super) fn without_decoding<T>(&self, work: impl FnOnce(&Self) -> T) -> T {
        let before = self.read16(COMMAND);
        self.write_command(before & !(COMMAND_MEMORY | 1));
        let result = work(self);
        self.write_command(before);
        result
    }

    fn change_command(&self, set: u16, clear: u16) {
        self.write_command(self.read16(COMMAND) & !clear | set);
    }

    fn write_command(&self, value: u16) {
        // The upper half is the status register, whose bits are cleared by writing ones: zeroes leave it alone.
        self.write32(COMMAND, u32::from(value));
    }

    /// The 32-bit word at `offset`, a multiple of four.
    pub fn read32(&self, offset: u16) -> u32 {
        self.config.read32(self.place, offset)
    }

    /// The 16-bit word at `offset`, an even number.
    pub fn read16(&self, offset: u16) -> u16 {
        (self.read32(offset & !3) >> (8 * (offset & 2))) as u16
    }

    /// The byte at `offset`.
    pub fn read8(&self, offset: u16) -> u8 {
        (self.read32(offset & !3) >> (8 * (offset & 3))) as u8
    }

    /// Writes the 32-bit word at `offset`, a multiple of four.
    pub fn write32(&self, offset: u16, value: u32) {
        self.config.write32(self.place, offset, value);
    }
}

/// Iterator over the capability list; see [`Function::capabilities`].
pub struct Capabilities<'a, C> {
    function: &'a Function<C>,
    next: u8,
    left: usize,
}

impl<C: PciConfig> Iterator for Capabilities<'_, C> {
    type Item = Result<Capability, PciError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == 0 {
            return None;
        }
        if self.next < 0x40 || self.left == 0 {
            self.next = 0;
            return Some(Err(PciError::CapabilityListBroken));
        }
        let offset = u16::from(self.next);
        let header = self.function.read32(offset);
        self.next = (header >> 8) as u8 & !3;
        self.left -= 1;
        Some(Ok(Capability { id: header as u8, offset }))
    }
}
