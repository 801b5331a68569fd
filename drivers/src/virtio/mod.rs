//! What all virtio devices share (virtio 1.2): features, transport, rings.
//!
//! - [`Features`]: the negotiated bits, with names.
//! - [`Transport`]: what a driver does to a device outside of its rings; [`PciTransport`] is the one for PCI (4.1),
//!   [`MmioTransport`] the one for machines without it (4.2), [`AnyTransport`] either.
//! - [`Registers`] and [`Doorbell`]: the accesses beneath, so that tests can play the device.
//! - `ring`: the split ring (2.7), internal to the drivers.

mod any;
pub mod features;
mod mmio;
mod negotiation;
mod pci;
mod registers;
pub(crate) mod ring;
mod transport;

pub use any::{AnyDoorbell, AnyTransport};
pub use features::{Feature, Features};
pub use mmio::{InterruptLine, MmioDoorbell, MmioTransport, Route};
pub use negotiation::negotiate;
pub(crate) use negotiation::reset;
pub use pci::{PciTransport, Structure};
pub use registers::{Doorbell, PciDoorbell, Registers};
pub use transport::{DeviceType, RingAddresses, Status, Transport};
