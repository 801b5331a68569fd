//! A network device and its driver talk to each other.

mod dialogue;
mod lies;
mod negotiation;
mod random;

use std::vec::Vec;

use weir_hal::MsiMessage;
use weir_packet::frame::{Offload, Receive, Transmit};
use weir_packet::{Chunk, Pool};

use super::{NetControl, NetDevice, Options, QueuePair, Report};
use crate::DeviceError;
use crate::fake::{FakeDevice, FakeDoorbell, FakeMachine, FakeRegisters};
use crate::virtio::{DeviceType, PciTransport};

type Transport = PciTransport<FakeRegisters>;
type Pair = QueuePair<FakeDoorbell>;

/// Descriptors per ring.
const LEN: u16 = 16;

fn message(pair: usize) -> Option<MsiMessage> {
    Some(MsiMessage { address: 0xfee0_0000 + (pair as u64) * 0x1000, data: 0x40 })
}

fn open_with(device: &FakeDevice, options: Options, vectors: u16) -> Result<NetDevice<Transport>, DeviceError> {
    NetDevice::open(device.transport(DeviceType::Network, vectors), &FakeMachine, options, &mut message)
}

fn open(device: &FakeDevice, options: Options) -> NetDevice<Transport> {
    open_with(device, options, 4).expect("a good device")
}

/// A device with one pair that runs on a pool of its own.
struct World {
    device: FakeDevice,
    pool: Pool,
    pair: Pair,
    control: NetControl<Transport>,
    report: Report,
}

fn world_with(device: FakeDevice, options: Options) -> World {
    let mut opened = open(&device, options);
    let pool = Pool::with_capacity(64).expect("memory");
    let pair = opened.pairs.remove(0).start(pool.clone());
    World { device, pool, pair, control: opened.control, report: opened.report }
}

fn world() -> World {
    world_with(FakeDevice::network(1, LEN), Options::default())
}

impl World {
    /// Sends a frame of `head` and static `payload`.
    fn send(&mut self, head: &[u8], payload: &[&'static [u8]]) -> Result<(), weir_packet::frame::TransmitError> {
        let mut packet = self.pool.allocate().expect("a buffer");
        packet.extend_from_slice(head).expect("fits");
        let chunks: Vec<_> = payload.iter().map(|bytes| Chunk::from_static(bytes)).collect();
        self.pair.transmit(packet, chunks.into_iter(), Offload::default())
    }

    /// Everything that the pair has received, as bytes.
    fn received(&mut self) -> Vec<Vec<u8>> {
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
    fn turn(&mut self) {
        self.pair.reclaim();
        self.pair.refill();
        self.pair.flush();
    }
}
