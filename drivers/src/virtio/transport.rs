//! What a driver does to a device outside of its rings.

use weir_hal::MsiMessage;

use super::{Doorbell, Features};
use crate::DeviceError;

/// What a device is (virtio 1.2, 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceType {
    /// Network card.
    Network,
    /// Disk.
    Block,
    /// Entropy source.
    Entropy,
    /// Anything else.
    Unknown(u16),
}

impl DeviceType {
    /// From the number of the specification.
    pub const fn from_number(number: u16) -> Self {
        match number {
            1 => Self::Network,
            2 => Self::Block,
            4 => Self::Entropy,
            other => Self::Unknown(other),
        }
    }

    /// The number of the specification.
    pub const fn number(self) -> u16 {
        match self {
            Self::Network => 1,
            Self::Block => 2,
            Self::Entropy => 4,
            Self::Unknown(number) => number,
        }
    }
}

/// Bits of the device status (2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u8);

impl Status {
    /// What a device in reset shows, and what asks it to reset.
    pub const RESET: Self = Self(0);
    /// The guest has noticed the device.
    pub const ACKNOWLEDGE: Self = Self(1);
    /// The guest has a driver for it.
    pub const DRIVER: Self = Self(2);
    /// The driver is ready: the device may work.
    pub const DRIVER_OK: Self = Self(4);
    /// The features are chosen.
    pub const FEATURES_OK: Self = Self(8);
    /// The device lost its way.
    pub const NEEDS_RESET: Self = Self(64);
    /// The driver gave up on the device.
    pub const FAILED: Self = Self(128);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all bits of `other` are set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Where a ring's three parts are for the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingAddresses {
    /// Number of descriptors, a power of two.
    pub len: u16,
    /// Descriptor table.
    pub descriptors: u64,
    /// Available ring, which the driver writes.
    pub available: u64,
    /// Used ring, which the device writes.
    pub used: u64,
}

/// A device as its driver reaches it: over PCI, or over registers in memory alone.
pub trait Transport: Send {
    /// The doorbells of its queues.
    type Doorbell: Doorbell;

    /// What the device is.
    fn device_type(&self) -> DeviceType;
    /// The device status.
    fn status(&self) -> Status;
    /// Writes the device status.
    fn set_status(&mut self, status: Status);
    /// Features that the device offers.
    fn offered(&self) -> Features;
    /// Tells the device the features that the driver chose.
    fn choose(&mut self, features: Features);

    /// The longest ring that `queue` may have.
    ///
    /// # Errors
    /// There is no such queue, or its length is impossible.
    fn queue_len_max(&mut self, queue: u16) -> Result<u16, DeviceError>;

    /// Gives `queue` its ring and the number of its interrupt, and switches it on.
    ///
    /// # Errors
    /// The device refuses the interrupt.
    fn enable_queue(&mut self, queue: u16, ring: RingAddresses, vector: Option<u16>) -> Result<(), DeviceError>;

    /// The doorbell of `queue`.
    ///
    /// # Errors
    /// It is not within the device's registers.
    fn doorbell(&mut self, queue: u16) -> Result<Self::Doorbell, DeviceError>;

    /// How many different interrupts the device can raise; 0 when it can raise none that we support.
    fn vectors(&self) -> u16;

    /// What the device writes for interrupt number `vector`.
    ///
    /// # Errors
    /// There is no such interrupt.
    fn set_vector(&mut self, vector: u16, message: MsiMessage) -> Result<(), DeviceError>;

    /// Changes whenever the device changes its configuration.
    fn config_generation(&self) -> u8;

    /// A byte of the device's own configuration.
    ///
    /// # Errors
    /// The configuration is not that long.
    fn config8(&self, offset: usize) -> Result<u8, DeviceError>;

    /// A 16-bit word of the device's own configuration.
    ///
    /// # Errors
    /// The configuration is not that long.
    fn config16(&self, offset: usize) -> Result<u16, DeviceError>;
}
