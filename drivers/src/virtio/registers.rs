//! Register accesses, as a trait so that a test can play the device.

use weir_hal::{Mmio, Register};

use super::MmioDoorbell;

/// A range of device registers.
///
/// Offsets are constants of the callers, who have compared [`len`](Registers::len) with the largest of them.
pub trait Registers: Send {
    /// The doorbells that [`doorbell`](Registers::doorbell) makes.
    type Doorbell: Doorbell;
    /// The doorbells that [`mmio_doorbell`](Registers::mmio_doorbell) makes.
    type MmioDoorbell: Doorbell;

    /// Length of the range in bytes.
    fn len(&self) -> usize;
    /// Whether the range has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Reads 8 bits.
    fn read8(&self, offset: usize) -> u8;
    /// Reads 16 bits.
    fn read16(&self, offset: usize) -> u16;
    /// Reads 32 bits.
    fn read32(&self, offset: usize) -> u32;
    /// Writes 8 bits.
    fn write8(&self, offset: usize, value: u8);
    /// Writes 16 bits.
    fn write16(&self, offset: usize, value: u16);
    /// Writes 32 bits.
    fn write32(&self, offset: usize, value: u32);
    /// The doorbell of `queue` at `offset`, or none when it is misaligned or outside.
    fn doorbell(&self, offset: usize, queue: u16) -> Option<Self::Doorbell>;
    /// The same for a device without a bus, whose registers have 32 bits.
    fn mmio_doorbell(&self, offset: usize, queue: u16) -> Option<Self::MmioDoorbell>;
}

/// The register by which one queue's device side is told to look.
pub trait Doorbell: Send {
    /// Tells the device that the queue has something new. Leaves the virtual machine: once per burst at most.
    fn ring(&self);
}

impl Registers for Mmio {
    type Doorbell = PciDoorbell;
    type MmioDoorbell = MmioDoorbell;

    fn len(&self) -> usize {
        Mmio::len(self)
    }

    fn read8(&self, offset: usize) -> u8 {
        self.read(offset)
    }

    fn read16(&self, offset: usize) -> u16 {
        self.read(offset)
    }

    fn read32(&self, offset: usize) -> u32 {
        self.read(offset)
    }

    fn write8(&self, offset: usize, value: u8) {
        self.write(offset, value);
    }

    fn write16(&self, offset: usize, value: u16) {
        self.write(offset, value);
    }

    fn write32(&self, offset: usize, value: u32) {
        self.write(offset, value);
    }

    fn doorbell(&self, offset: usize, queue: u16) -> Option<PciDoorbell> {
        Some(PciDoorbell { register: self.register(offset)?, queue })
    }

    fn mmio_doorbell(&self, offset: usize, queue: u16) -> Option<MmioDoorbell> {
        Some(MmioDoorbell::new(self.register(offset)?, queue))
    }
}

/// A queue's notification register (virtio 1.2, 4.1.5.2): takes the queue's number.
#[derive(Clone, Copy, Debug)]
pub struct PciDoorbell {
    register: Register<u16>,
    queue: u16,
}

impl Doorbell for PciDoorbell {
    #[inline]
    fn ring(&self) {
        self.register.write(self.queue);
    }
}
