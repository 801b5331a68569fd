//! What all virtio devices share (virtio 1.2): features, transport, rings.
//!
//! - [`Features`]: the negotiated bits, with names.
//! - [`Transport`]: what a driver does to a device outside of its rings; [`PciTransport`] is the one for PCI (4.1).
//! - [`Registers`] and [`Doorbell`]: the accesses beneath, so that tests can play the device.
//! - `ring`: the split ring (2.7), internal to the drivers.

pub mod features;
mod negotiation;
mod pci;
mod registers;
pub(crate) mod ring;
mod transport;

pub use features::{Feature, Features};
pub use negotiation::negotiate;
pub(crate) use negotiation::reset;
pub use pci::{PciTransport, Structure};
pub use registers::{Doorbell, PciDoorbell, Registers};
pub use transport::{DeviceType, RingAddresses, Status, Transport};
