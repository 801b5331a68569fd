//! The transport over registers in memory (virtio 1.2, 4.2), version 2 only: for machines without PCI.
//!
//! Such a device has one interrupt line for all that it has to say. The line stays raised until it is [acknowledged], so
//! whoever handles the interrupt must do that.
//!
//! [acknowledged]: InterruptLine::acknowledge

#[cfg(test)]
mod tests;

use weir_hal::{Machine, Mmio, MmioDevice, MsiMessage, Register};

use super::{DeviceType, Doorbell, Features, Registers, RingAddresses, Status, Transport};
use crate::DeviceError;
use crate::pci::PciError;

/// Registers (4.2.2), by offset.
mod register {
    pub(super) const MAGIC: usize = 0x000;
    pub(super) const VERSION: usize = 0x004;
    pub(super) const DEVICE_ID: usize = 0x008;
    pub(super) const DEVICE_FEATURES: usize = 0x010;
    pub(super) const DEVICE_FEATURES_SEL: usize = 0x014;
    pub(super) const DRIVER_FEATURES: usize = 0x020;
    pub(super) const DRIVER_FEATURES_SEL: usize = 0x024;
    pub(super) const QUEUE_SEL: usize = 0x030;
    pub(super) const QUEUE_NUM_MAX: usize = 0x034;
    pub(super) const QUEUE_NUM: usize = 0x038;
    pub(super) const QUEUE_READY: usize = 0x044;
    pub(super) const QUEUE_NOTIFY: usize = 0x050;
    pub(super) const INTERRUPT_STATUS: usize = 0x060;
    pub(super) const INTERRUPT_ACK: usize = 0x064;
    pub(super) const STATUS: usize = 0x070;
    pub(super) const QUEUE_DESC: usize = 0x080;
    pub(super) const QUEUE_DRIVER: usize = 0x090;
    pub(super) const QUEUE_DEVICE: usize = 0x0a0;
    pub(super) const CONFIG_GENERATION: usize = 0x0fc;
    pub(super) const CONFIG: usize = 0x100;
}

const MAGIC: u32 = u32::from_le_bytes(*b"virt");
const VERSION: u32 = 2;
const QUEUE_LEN_MAX: u32 = 32768;

/// Passes an interrupt line on as this message. False: there is no way.
pub type Route = fn(line: u32, message: MsiMessage) -> bool;

/// A virtio device with registers in memory. `R` is how they are reached: [`Mmio`] but in tests.
#[derive(Debug)]
pub struct MmioTransport<R: Registers = Mmio> {
    registers: R,
    device_type: DeviceType,
    line: u32,
    route: Route,
}

impl MmioTransport<Mmio> {
    /// Maps the registers of `device`. None: no device is in this place, which is usual.
    ///
    /// # Errors
    /// What is there is no virtio device, or one of before virtio 1.0, or its registers cannot be mapped.
    pub fn open<M: Machine>(device: MmioDevice, machine: &M, route: Route) -> Result<Option<Self>, DeviceError> {
        // The place is what a table or the command line says; no register of 32 bits lies at an odd one.
        if !device.at.0.is_multiple_of(4) {
            return Err(DeviceError::NotVirtioMmio);
        }
        let registers = machine.map_mmio(device.at, device.len as usize).map_err(DeviceError::Map)?;
        Self::over(registers, device.line, route)
    }

    /// The device's interrupt line, for who handles its interrupt.
    #[must_use]
    pub fn interrupt_line(&self) -> Option<InterruptLine> {
        let register = |offset| self.registers.register(offset);
        let (status, acknowledge) = (register(register::INTERRUPT_STATUS)?, register(register::INTERRUPT_ACK)?);
        Some(InterruptLine { status, acknowledge })
    }
}

impl<R: Registers> MmioTransport<R> {
    /// A transport over registers that are mapped.
    pub(crate) fn over(registers: R, line: u32, route: Route) -> Result<Option<Self>, DeviceError> {
        if registers.len() < register::CONFIG || registers.read32(register::MAGIC) != MAGIC {
            return Err(DeviceError::NotVirtioMmio);
        }
        let number = registers.read32(register::DEVICE_ID);
        if number == 0 {
            return Ok(None);
        }
        if registers.read32(register::VERSION) != VERSION {
            return Err(DeviceError::LegacyDevice);
        }
        let device_type = DeviceType::from_number(u16::try_from(number).unwrap_or(u16::MAX));
        Ok(Some(Self { registers, device_type, line, route }))
    }

    fn select(&self, queue: u16) {
        self.registers.write32(register::QUEUE_SEL, queue.into());
    }

    fn write64(&self, offset: usize, value: u64) {
        self.registers.write32(offset, value as u32);
        self.registers.write32(offset + 4, (value >> 32) as u32);
    }

    /// Where a field of the device's own configuration is.
    fn config(&self, offset: usize, bytes: usize) -> Result<usize, DeviceError> {
        let at = register::CONFIG + offset;
        if at + bytes <= self.registers.len() { Ok(at) } else { Err(DeviceError::ConfigTooShort(offset)) }
    }
}

impl<R: Registers> Transport for MmioTransport<R> {
    type Doorbell = R::MmioDoorbell;

    fn device_type(&self) -> DeviceType {
        self.device_type
    }

    fn status(&self) -> Status {
        Status(self.registers.read32(register::STATUS) as u8)
    }

    fn set_status(&mut self, status: Status) {
        self.registers.write32(register::STATUS, status.0.into());
    }

    fn offered(&self) -> Features {
        let half = |select| {
            self.registers.write32(register::DEVICE_FEATURES_SEL, select);
            u64::from(self.registers.read32(register::DEVICE_FEATURES))
        };
        Features::from_bits(half(0) | half(1) << 32)
    }

    fn choose(&mut self, features: Features) {
        for (select, value) in [(0, features.bits() as u32), (1, (features.bits() >> 32) as u32)] {
            self.registers.write32(register::DRIVER_FEATURES_SEL, select);
            self.registers.write32(register::DRIVER_FEATURES, value);
        }
    }

    fn queue_len_max(&mut self, queue: u16) -> Result<u16, DeviceError> {
        self.select(queue);
        match self.registers.read32(register::QUEUE_NUM_MAX) {
            0 => Err(DeviceError::QueueMissing(queue)),
            len if len.is_power_of_two() && len <= QUEUE_LEN_MAX => Ok(len as u16),
            len => Err(DeviceError::QueueLenInvalid(u16::try_from(len).unwrap_or(u16::MAX))),
        }
    }

    fn enable_queue(&mut self, queue: u16, ring: RingAddresses, vector: Option<u16>) -> Result<(), DeviceError> {
        // All queues share the line; those without an interrupt are silenced by the flags of their rings.
        if vector.is_some_and(|vector| vector != 0) {
            return Err(DeviceError::VectorRefused(queue));
        }
        self.select(queue);
        self.registers.write32(register::QUEUE_NUM, ring.len.into());
        self.write64(register::QUEUE_DESC, ring.descriptors);
        self.write64(register::QUEUE_DRIVER, ring.available);
        self.write64(register::QUEUE_DEVICE, ring.used);
        self.registers.write32(register::QUEUE_READY, 1);
        Ok(())
    }

    fn doorbell(&mut self, queue: u16) -> Result<R::MmioDoorbell, DeviceError> {
        self.registers.mmio_doorbell(register::QUEUE_NOTIFY, queue).ok_or(DeviceError::DoorbellOutside(queue))
    }

    fn vectors(&self) -> u16 {
        1
    }

    fn set_vector(&mut self, vector: u16, message: MsiMessage) -> Result<(), DeviceError> {
        if vector != 0 {
            return Err(PciError::NoSuchVector(vector).into());
        }
        if (self.route)(self.line, message) { Ok(()) } else { Err(DeviceError::LineUnreachable(self.line)) }
    }

    fn config_generation(&self) -> u8 {
        self.registers.read32(register::CONFIG_GENERATION) as u8
    }

    fn config8(&self, offset: usize) -> Result<u8, DeviceError> {
        Ok(self.registers.read8(self.config(offset, 1)?))
    }

    fn config16(&self, offset: usize) -> Result<u16, DeviceError> {
        Ok(self.registers.read16(self.config(offset, 2)?))
    }
}

/// The registers by which a device is made to take its interrupt back (4.2.2, `InterruptStatus` and `InterruptACK`).
#[derive(Clone, Copy, Debug)]
pub struct InterruptLine {
    status: Register<u32>,
    acknowledge: Register<u32>,
}

impl InterruptLine {
    /// Takes everything that the device has reported as noticed.
    pub fn acknowledge(&self) {
        self.acknowledge.write(self.status.read());
    }
}

/// The one notification register of all queues (4.2.3.3): takes the queue's number.
#[derive(Clone, Copy, Debug)]
pub struct MmioDoorbell {
    register: Register<u32>,
    queue: u32,
}

impl MmioDoorbell {
    pub(super) fn new(register: Register<u32>, queue: u16) -> Self {
        Self { register, queue: queue.into() }
    }
}

impl Doorbell for MmioDoorbell {
    #[inline]
    fn ring(&self) {
        self.register.write(self.queue);
    }
}
