//! The PCI transport (virtio 1.2, 4.1), modern interface only.

#[cfg(test)]
mod tests;

use core::fmt;

use weir_hal::{Machine, Mmio, MsiMessage, PciConfig};

use super::{DeviceType, Features, Registers, RingAddresses, Status, Transport};
use crate::DeviceError;
use crate::pci::{BarIndex, Bars, Function, MsixTable, PciError, Window};

const VENDOR: u16 = 0x1af4;
/// Device numbers of transitional devices, which may have a modern interface beside the old one (4.1.2).
const TRANSITIONAL: core::ops::Range<u16> = 0x1000..0x1040;
const MODERN: core::ops::Range<u16> = 0x1040..0x1080;

const CAPABILITY_VENDOR: u8 = 0x09;
const NO_VECTOR: u16 = 0xffff;
const QUEUE_LEN_MAX: u16 = 32768;

/// A structure of registers that a virtio PCI device has (4.1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    /// What all virtio devices have: status, features, queues.
    Common,
    /// The doorbells.
    Notify,
    /// What belongs to the device type.
    Device,
}

impl fmt::Display for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Common => "common configuration",
            Self::Notify => "notification",
            Self::Device => "device configuration",
        })
    }
}

impl Structure {
    /// Number of the structure in its capability.
    const fn number(self) -> u8 {
        match self {
            Self::Common => 1,
            Self::Notify => 2,
            Self::Device => 4,
        }
    }

    /// Bytes that it has at least.
    const fn len_min(self) -> usize {
        match self {
            Self::Common => common::LEN,
            Self::Notify => 2,
            Self::Device => 0,
        }
    }
}

/// Fields of the common configuration (4.1.4.3), by offset.
mod common {
    pub(super) const DEVICE_FEATURE_SELECT: usize = 0x00;
    pub(super) const DEVICE_FEATURE: usize = 0x04;
    pub(super) const DRIVER_FEATURE_SELECT: usize = 0x08;
    pub(super) const DRIVER_FEATURE: usize = 0x0c;
    pub(super) const CONFIG_MSIX_VECTOR: usize = 0x10;
    pub(super) const NUM_QUEUES: usize = 0x12;
    pub(super) const DEVICE_STATUS: usize = 0x14;
    pub(super) const CONFIG_GENERATION: usize = 0x15;
    pub(super) const QUEUE_SELECT: usize = 0x16;
    pub(super) const QUEUE_SIZE: usize = 0x18;
    pub(super) const QUEUE_MSIX_VECTOR: usize = 0x1a;
    pub(super) const QUEUE_ENABLE: usize = 0x1c;
    pub(super) const QUEUE_NOTIFY_OFF: usize = 0x1e;
    pub(super) const QUEUE_DESC: usize = 0x20;
    pub(super) const QUEUE_DRIVER: usize = 0x28;
    pub(super) const QUEUE_DEVICE: usize = 0x30;
    pub(super) const LEN: usize = 0x38;
}

/// A virtio device on the PCI bus. `R` is how its registers are reached: [`Mmio`] but in tests.
#[derive(Debug)]
pub struct PciTransport<R: Registers = Mmio> {
    device_type: DeviceType,
    common: R,
    notify: R,
    notify_multiplier: u32,
    device: Option<R>,
    msix: Option<MsixTable>,
}

impl PciTransport<Mmio> {
    /// What virtio device `function` is, if it is one at all.
    pub fn probe<C: PciConfig>(function: &Function<C>) -> Option<DeviceType> {
        let identity = function.identity()?;
        if identity.vendor != VENDOR {
            return None;
        }
        if MODERN.contains(&identity.device) {
            return Some(DeviceType::from_number(identity.device - MODERN.start));
        }
        // A transitional device tells its type in the subsystem number (4.1.2.3).
        TRANSITIONAL.contains(&identity.device).then(|| DeviceType::from_number(identity.subsystem))
    }

    /// Finds and maps the device's structures and switches its MSI-X on.
    ///
    /// # Errors
    /// The function is no virtio device, or one without a modern interface, or describes itself wrongly.
    pub fn open<C: PciConfig, M: Machine>(
        function: &Function<C>,
        machine: &M,
        window: &mut Window,
    ) -> Result<Self, DeviceError> {
        let Some(device_type) = Self::probe(function) else {
            let identity = function.identity();
            return Err(DeviceError::NotVirtio(
                identity.map_or(0xffff, |identity| identity.vendor),
                identity.map_or(0xffff, |identity| identity.device),
            ));
        };
        let bars = function.bars(window);
        let finder = Finder { function, machine, bars: &bars };
        let Some((common, _)) = finder.find(Structure::Common)? else { return Err(DeviceError::LegacyDevice) };
        let notify = finder.find(Structure::Notify)?;
        let Some((notify, notify_capability)) = notify else {
            return Err(DeviceError::BadStructure(Structure::Notify));
        };
        let notify_multiplier = function.read32(notify_capability + 16);
        let device = finder.find(Structure::Device)?.map(|(registers, _)| registers);
        function.enable();
        let msix = MsixTable::open(function, machine, &bars)?;
        Ok(Self { device_type, common, notify, notify_multiplier, device, msix })
    }
}

impl<R: Registers> PciTransport<R> {
    /// A transport over registers that somebody else found.
    #[cfg(any(test, feature = "fake"))]
    pub(crate) fn from_parts(
        device_type: DeviceType,
        [common, notify, device]: [R; 3],
        notify_multiplier: u32,
        msix: Option<MsixTable>,
    ) -> Self {
        Self { device_type, common, notify, notify_multiplier, device: Some(device), msix }
    }

    /// Makes the registers of `queue` visible.
    fn select(&self, queue: u16) {
        self.common.write16(common::QUEUE_SELECT, queue);
    }

    /// 64-bit fields are written in halves (4.1.3.1).
    fn write64(&self, offset: usize, value: u64) {
        self.common.write32(offset, value as u32);
        self.common.write32(offset + 4, (value >> 32) as u32);
    }

    fn config_registers(&self, offset: usize, bytes: usize) -> Result<&R, DeviceError> {
        match &self.device {
            Some(device) if offset + bytes <= device.len() => Ok(device),
            _ => Err(DeviceError::ConfigTooShort(offset)),
        }
    }
}

impl<R: Registers> Transport for PciTransport<R> {
    type Doorbell = R::Doorbell;

    fn device_type(&self) -> DeviceType {
        self.device_type
    }

    fn status(&self) -> Status {
        Status(self.common.read8(common::DEVICE_STATUS))
    }

    fn set_status(&mut self, status: Status) {
        self.common.write8(common::DEVICE_STATUS, status.0);
    }

    fn offered(&self) -> Features {
        let half = |select| {
            self.common.write32(common::DEVICE_FEATURE_SELECT, select);
            u64::from(self.common.read32(common::DEVICE_FEATURE))
        };
        Features::from_bits(half(0) | half(1) << 32)
    }

    fn choose(&mut self, features: Features) {
        for (select, value) in [(0, features.bits() as u32), (1, (features.bits() >> 32) as u32)] {
            self.common.write32(common::DRIVER_FEATURE_SELECT, select);
            self.common.write32(common::DRIVER_FEATURE, value);
        }
        // Changes of the configuration are found by reading it; they raise no interrupt.
        self.common.write16(common::CONFIG_MSIX_VECTOR, NO_VECTOR);
    }

    fn queue_len_max(&mut self, queue: u16) -> Result<u16, DeviceError> {
        // Not to be remembered from earlier: QEMU's network device has more queues once `MQ` is negotiated.
        if queue >= self.common.read16(common::NUM_QUEUES) {
            return Err(DeviceError::QueueMissing(queue));
        }
        self.select(queue);
        match self.common.read16(common::QUEUE_SIZE) {
            0 => Err(DeviceError::QueueMissing(queue)),
            len if len.is_power_of_two() && len <= QUEUE_LEN_MAX => Ok(len),
            len => Err(DeviceError::QueueLenInvalid(len)),
        }
    }

    fn enable_queue(&mut self, queue: u16, ring: RingAddresses, vector: Option<u16>) -> Result<(), DeviceError> {
        self.select(queue);
        self.common.write16(common::QUEUE_SIZE, ring.len);
        let vector = vector.unwrap_or(NO_VECTOR);
        self.common.write16(common::QUEUE_MSIX_VECTOR, vector);
        // The device answers with "none" when it has no resources for the mapping (4.1.5.1.2.2).
        if self.common.read16(common::QUEUE_MSIX_VECTOR) != vector {
            return Err(DeviceError::VectorRefused(queue));
        }
        self.write64(common::QUEUE_DESC, ring.descriptors);
        self.write64(common::QUEUE_DRIVER, ring.available);
        self.write64(common::QUEUE_DEVICE, ring.used);
        self.common.write16(common::QUEUE_ENABLE, 1);
        Ok(())
    }

    fn doorbell(&mut self, queue: u16) -> Result<R::Doorbell, DeviceError> {
        self.select(queue);
        let outside = DeviceError::DoorbellOutside(queue);
        let slot = u64::from(self.common.read16(common::QUEUE_NOTIFY_OFF));
        let offset = usize::try_from(slot * u64::from(self.notify_multiplier)).map_err(|_| outside)?;
        self.notify.doorbell(offset, queue).ok_or(outside)
    }

    fn vectors(&self) -> u16 {
        self.msix.as_ref().map_or(0, MsixTable::len)
    }

    fn set_vector(&mut self, vector: u16, message: MsiMessage) -> Result<(), DeviceError> {
        let Some(msix) = &self.msix else { return Err(PciError::NoSuchVector(vector).into()) };
        Ok(msix.set(vector, message)?)
    }

    fn config_generation(&self) -> u8 {
        self.common.read8(common::CONFIG_GENERATION)
    }

    fn config8(&self, offset: usize) -> Result<u8, DeviceError> {
        Ok(self.config_registers(offset, 1)?.read8(offset))
    }

    fn config16(&self, offset: usize) -> Result<u16, DeviceError> {
        Ok(self.config_registers(offset, 2)?.read16(offset))
    }
}

/// Looks for the structures by the vendor capabilities that describe them (4.1.4).
struct Finder<'a, C, M> {
    function: &'a Function<C>,
    machine: &'a M,
    bars: &'a Bars,
}

impl<C: PciConfig, M: Machine> Finder<'_, C, M> {
    /// The first usable structure of a kind, and the offset of its capability. A device may offer the same structure
    /// several times, also in ways that we do not understand: those are passed over, as the specification asks.
    fn find(&self, structure: Structure) -> Result<Option<(Mmio, u16)>, DeviceError> {
        let mut refused = None;
        for capability in self.function.capabilities() {
            let capability = capability?;
            let number = self.function.read8(capability.offset + 3);
            if capability.id != CAPABILITY_VENDOR || number != structure.number() {
                continue;
            }
            match self.map(capability.offset, structure) {
                Ok(registers) => return Ok(Some((registers, capability.offset))),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        refused.map_or(Ok(None), Err)
    }

    fn map(&self, capability: u16, structure: Structure) -> Result<Mmio, DeviceError> {
        let index = BarIndex::new(self.function.read8(capability + 4))?;
        let offset = self.function.read32(capability + 8);
        let len = self.function.read32(capability + 12);
        if !offset.is_multiple_of(4) || (len as usize) < structure.len_min() {
            return Err(DeviceError::BadStructure(structure));
        }
        Ok(self.bars.get(index)?.map(self.machine, offset.into(), len.into())?)
    }
}
