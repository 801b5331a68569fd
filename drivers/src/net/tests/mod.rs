//! A network device and its driver talk to each other.

mod dialogue;
mod lies;
mod negotiation;
mod random;
mod tables;

use super::{NetDevice, Options};
use crate::DeviceError;
use crate::fake::world::{LEN, Transport, World, message};
use crate::fake::{FakeDevice, FakeMachine};
use crate::virtio::DeviceType;

fn open_with(device: &FakeDevice, options: Options, vectors: u16) -> Result<NetDevice<Transport>, DeviceError> {
    NetDevice::open(device.transport(DeviceType::Network, vectors), &FakeMachine, options, &mut message)
}

fn open(device: &FakeDevice, options: Options) -> NetDevice<Transport> {
    open_with(device, options, 4).expect("a good device")
}

fn world_with(device: FakeDevice, options: Options) -> World {
    World::new(device, options, 4)
}

fn world() -> World {
    world_with(FakeDevice::network(1, LEN), Options::default())
}
