//! Bursts of frames, for measuring what the driver does for each.

use std::vec::Vec;

use weir_packet::frame::{Offload, Receive, Transmit};
use weir_packet::{Chunk, Packet};

use super::FakeDevice;
use super::world::World;
use crate::net::Options;
use crate::virtio::Features;

const RING_LEN: u16 = 256;
/// As many as fit into the ring with 8 pieces each.
const FRAMES: usize = 32;

/// A pair and its device. The driver's part of each step is a function of its own, which a profiler tells apart.
pub struct Bursts {
    world: World,
    heads: Vec<Packet>,
    pieces: Vec<Chunk>,
}

impl Bursts {
    /// With a device that offers everything but `refuse`.
    #[must_use]
    pub fn new(refuse: Features) -> Self {
        let world =
            World::with_buffers(FakeDevice::network(1, RING_LEN), Options { refuse, ..Options::default() }, 4, 1024);
        Self { world, heads: Vec::new(), pieces: Vec::new() }
    }

    /// Frames of one burst.
    #[must_use]
    pub const fn frames() -> usize {
        FRAMES
    }

    /// Sends a burst of frames that have `payload` pieces behind their head.
    pub fn send(&mut self, payload: usize) {
        let pool = &self.world.pool;
        self.heads.extend((0..FRAMES).filter_map(|_| pool.allocate()).filter_map(|mut head| {
            head.extend_from_slice(b"head").ok()?;
            Some(head)
        }));
        self.pieces.clear();
        self.pieces.resize_with(payload, || Chunk::from_static(b"piece"));
        self.queue();
        self.flush();
        self.world.device.sent(0);
        self.reclaim();
    }

    /// Receives a burst of frames.
    pub fn receive(&mut self) {
        for _ in 0..FRAMES {
            assert!(self.world.device.deliver(0, 1, &[7; 100], 1), "the device has buffers");
        }
        self.take();
        // Gives the buffers back to the pool.
        self.heads.clear();
        self.refill();
        self.flush();
    }

    #[inline(never)]
    fn queue(&mut self) {
        for head in self.heads.drain(..) {
            let sent = if self.pieces.is_empty() {
                self.world.pair.transmit(head, core::iter::empty(), Offload::default())
            } else {
                self.world.pair.transmit(head, self.pieces.iter().cloned(), Offload::default())
            };
            assert!(sent.is_ok(), "room");
        }
    }

    #[inline(never)]
    fn reclaim(&mut self) {
        self.world.pair.reclaim();
    }

    #[inline(never)]
    fn take(&mut self) {
        while let Some(frame) = self.world.pair.receive() {
            self.heads.push(frame.packet);
        }
    }

    #[inline(never)]
    fn refill(&mut self) {
        self.world.pair.refill();
    }

    #[inline(never)]
    fn flush(&mut self) {
        self.world.pair.flush();
    }
}
