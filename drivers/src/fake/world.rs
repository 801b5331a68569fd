//! A device, its driver, and the pool that the driver's buffers come from.

use std::vec::Vec;

use weir_hal::MsiMessage;
use weir_packet::frame::{Offload, Receive, Transmit, TransmitError};
use weir_packet::{Chunk, Pool};

use super::{FakeDevice, FakeDoorbell, FakeMemory, FakeRegisters};
use crate::net::{NetControl, NetDevice, Options, QueuePair, Report};
use crate::virtio::{DeviceType, PciTransport};

pub(crate) type Transport = PciTransport<FakeRegisters>;
pub(crate) type Pair = QueuePair<FakeDoorbell>;

/// Descriptors per ring.
pub(crate) const LEN: u16 = 16;

/// Buffers in a world.
const BUFFERS: usize = 64;

pub(crate) fn message(pair: usize) -> Option<MsiMessage> {
    Some(MsiMessage { address: 0xfee0_0000 + (pair as u64) * 0x1000, data: 0x40 })
}

/// A device with one pair that runs on a pool of its own.
pub(crate) struct World {
    pub device: FakeDevice,
    pub pool: Pool,
    pub pair: Pair,
    pub control: NetControl<Transport>,
    pub report: Report,
    /// The last to go.
    _memory: FakeMemory,
}

impl World {
    /// A world whose device has so many interrupts.
    pub(crate) fn new(device: FakeDevice, options: Options, vectors: u16) -> Self {
        Self::with_buffers(device, options, vectors, BUFFERS)
    }

    /// The same with so many buffers in its pool.
    pub(crate) fn with_buffers(device: FakeDevice, options: Options, vectors: u16, buffers: usize) -> Self {
        let memory = FakeMemory::default();
        let transport = device.transport(DeviceType::Network, vectors);
        let opened = NetDevice::open(transport, &memory, options, &mut message);
        let mut opened = opened.expect("a good device");
        let pool = Pool::with_capacity(buffers).expect("memory");
        let pair = opened.pairs.remove(0).start(pool.clone());
        Self { device, pool, pair, control: opened.control, report: opened.report, _memory: memory }
    }

    /// Sends a frame of `head` and static `payload`.
    pub(crate) fn send(&mut self, head: &[u8], payload: &[&'static [u8]]) -> Result<(), TransmitError> {
        let mut packet = self.pool.allocate().expect("a buffer");
        packet.extend_from_slice(head).expect("fits");
        let chunks: Vec<_> = payload.iter().map(|bytes| Chunk::from_static(bytes)).collect();
        self.pair.transmit(packet, chunks.into_iter(), Offload::default())
    }

    /// Everything that the pair has received, as bytes.
    pub(crate) fn received(&mut self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while let Some(mut frame) = self.pair.receive() {
            let mut bytes = frame.packet.to_vec();
            while let Some(rest) = frame.packet.take_rest() {
                frame.packet = rest;
                bytes.extend_from_slice(&frame.packet);
            }
            frames.push(bytes);
        }
        frames
    }

    /// A turn without traffic.
    pub(crate) fn turn(&mut self) {
        self.pair.reclaim();
        self.pair.refill();
        self.pair.flush();
    }
}
