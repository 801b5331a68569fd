//! Device drivers: PCI, the virtio transport and rings, virtio-net, virtio-blk, virtio-rng.
//!
//! - [`pci`]: finds functions and their base address registers, capabilities and MSI-X table.
//! - [`virtio`]: the parts that all virtio devices share: features, the transport, the split ring.
//! - [`net`]: the network device. [`net::NetDevice::open`] gives one queue pair per core and a handle for the control
//!   core.
//! - [`block`]: the disk, read at boot.
//! - [`rng`]: the entropy device, read once at boot.
//!
//! A driver sees the machine through `weir_hal` and packets through `weir_packet`; it knows neither kernel nor TCP.
//! Every word of a device is checked when it is read. One that cannot be true is a [`DeviceError`] and ends in a reset
//! of the device, never in a panic, and never in memory that has two owners.
//!
//! `unsafe` is in `virtio::ring::{memory, tables, bytes}` (memory shared with a device), and in the pretended device of
//! the tests and the fuzzer (`fake`). Registers are safe through `weir_hal::Mmio`.

#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "fake"))]
extern crate std;

pub mod block;
mod error;
pub mod net;
pub mod pci;
pub mod rng;
pub mod virtio;

// Much of it serves the dialogues of the tests alone.
#[cfg(any(test, feature = "fake"))]
#[cfg_attr(not(test), allow(dead_code))]
mod fake;

pub use error::DeviceError;
#[cfg(feature = "fake")]
pub use fake::burst::Bursts;
#[cfg(feature = "fake")]
pub use fake::play::{Played, play};
