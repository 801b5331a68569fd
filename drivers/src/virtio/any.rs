//! A transport of either kind, so that who uses a device need not know what it stands on.

use weir_hal::MsiMessage;

use super::{
    DeviceType, Doorbell, Features, MmioDoorbell, MmioTransport, PciDoorbell, PciTransport, RingAddresses, Status,
    Transport,
};
use crate::DeviceError;

/// A device over PCI or over registers in memory.
#[derive(Debug)]
pub enum AnyTransport {
    /// On the PCI bus.
    Pci(PciTransport),
    /// On no bus.
    Mmio(MmioTransport),
}

/// A doorbell of either kind. The choice costs two instructions, once per burst.
#[derive(Clone, Copy, Debug)]
pub enum AnyDoorbell {
    /// On the PCI bus.
    Pci(PciDoorbell),
    /// On no bus.
    Mmio(MmioDoorbell),
}

impl Doorbell for AnyDoorbell {
    #[inline]
    fn ring(&self) {
        match self {
            Self::Pci(doorbell) => doorbell.ring(),
            Self::Mmio(doorbell) => doorbell.ring(),
        }
    }
}

/// The same call on whichever it is.
macro_rules! either {
    ($self:ident, $transport:ident => $call:expr) => {
        match $self {
            Self::Pci($transport) => $call,
            Self::Mmio($transport) => $call,
        }
    };
}

impl Transport for AnyTransport {
    type Doorbell = AnyDoorbell;

    fn device_type(&self) -> DeviceType {
        either!(self, transport => transport.device_type())
    }

    fn status(&self) -> Status {
        either!(self, transport => transport.status())
    }

    fn set_status(&mut self, status: Status) {
        either!(self, transport => transport.set_status(status));
    }

    fn offered(&self) -> Features {
        either!(self, transport => transport.offered())
    }

    fn choose(&mut self, features: Features) {
        either!(self, transport => transport.choose(features));
    }

    fn queue_len_max(&mut self, queue: u16) -> Result<u16, DeviceError> {
        either!(self, transport => transport.queue_len_max(queue))
    }

    fn enable_queue(&mut self, queue: u16, ring: RingAddresses, vector: Option<u16>) -> Result<(), DeviceError> {
        either!(self, transport => transport.enable_queue(queue, ring, vector))
    }

    fn doorbell(&mut self, queue: u16) -> Result<AnyDoorbell, DeviceError> {
        Ok(match self {
            Self::Pci(transport) => AnyDoorbell::Pci(transport.doorbell(queue)?),
            Self::Mmio(transport) => AnyDoorbell::Mmio(transport.doorbell(queue)?),
        })
    }

    fn vectors(&self) -> u16 {
        either!(self, transport => transport.vectors())
    }

    fn set_vector(&mut self, vector: u16, message: MsiMessage) -> Result<(), DeviceError> {
        either!(self, transport => transport.set_vector(vector, message))
    }

    fn config_generation(&self) -> u8 {
        either!(self, transport => transport.config_generation())
    }

    fn config8(&self, offset: usize) -> Result<u8, DeviceError> {
        either!(self, transport => transport.config8(offset))
    }

    fn config16(&self, offset: usize) -> Result<u16, DeviceError> {
        either!(self, transport => transport.config16(offset))
    }
}
