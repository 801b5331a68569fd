//! Packet buffers: where every byte lives between the wire and the application.
//!
//! - [`Pool`]: one core's fixed set of 2 KiB buffers, made once at boot.
//! - [`Packet`]: one buffer, owned and writable; several may be chained to one frame.
//! - [`Chunk`]: an immutable, reference-counted view of received or to-be-sent bytes. A proxy moves chunks from one
//!   flow to another; no byte is copied.
//! - [`Hold`]: what a driver keeps of a chunk while a device reads it.
//! - [`frame`]: frames as a network device gives and takes them, with their offloads.
//! - [`handoff`]: single-producer single-consumer rings, the only way from core to core.
//!
//! A pool and all that comes from it belong to one core: none of these types is `Send`. What crosses cores does so as a
//! [`handoff::Foreign`], is read where it arrives, and goes home through a ring.
//!
//! The image maps memory one to one, so the address of a buffer is also what a device is given for DMA.

#![no_std]

extern crate alloc;

mod chunk;
pub mod frame;
mod gather;
pub mod handoff;
mod packet;
mod pool;
mod slot;
mod sync;

#[cfg(all(test, loom))]
mod model;
#[cfg(all(test, not(loom)))]
mod tests;

pub use chunk::{Chunk, Hold};
pub use gather::Gather;
pub use packet::{Packet, Parts, RangeError};
pub use pool::{Pool, PoolError};

/// Bytes that one buffer takes of a pool's memory, its header line included.
pub const SLOT_BYTES: usize = 2048;

/// Bytes of data that one buffer holds.
pub const BUFFER_BYTES: usize = SLOT_BYTES - slot::HEADER_BYTES;

/// Free bytes in front of the data of a freshly allocated [`Packet`]: room for the headers of every layer that will be
/// put before it (virtio-net 12, Ethernet with one VLAN tag 18, IPv6 40, TCP 20 + 40 of options, rounded up).
pub const HEADROOM_BYTES: usize = 136;

const _: () = assert!(HEADROOM_BYTES >= 12 + 18 + 40 + 60);
// A full Ethernet frame of the common MTU and its virtio header fit into one buffer.
const _: () = assert!(BUFFER_BYTES >= 12 + 18 + 1500);
