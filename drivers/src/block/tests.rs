//! The disk gives sectors, refuses, is silent, or lies.

use std::vec;

use super::{Disk, ReadError, SECTOR_BYTES};
use crate::DeviceError;
use crate::fake::{FakeDevice, FakeMachine, FakeRegisters, State};
use crate::virtio::{DeviceType, PciTransport};

const SECTORS: u64 = 20;

type Answer = fn(&mut State);
type FakeDisk = Disk<PciTransport<FakeRegisters>>;

/// A disk of [`SECTORS`] that answers the doorbell with `answer`.
fn disk(answer: Answer) -> (FakeDevice, FakeDisk) {
    let device = FakeDevice::block(SECTORS);
    device.lock().at_doorbell = Some(answer);
    let disk = Disk::open(device.transport(DeviceType::Block, 0), &FakeMachine).expect("a good device");
    (device, disk)
}

/// Every byte of sector n is n.
fn honest(state: &mut State) {
    answer_with(state, 0, |bytes| bytes + 1);
}

/// Gives what was asked for, with this status, and claims a length.
fn answer_with(state: &mut State, status: u8, claim: fn(u32) -> u32) {
    let queue = &mut state.queues[0];
    let chain = queue.pop().expect("a request");
    let header = chain.read();
    assert_eq!((header.len(), &header[..8]), (16, &[0; 8][..]), "a request to read");
    let first = u64::from_le_bytes(header[8..].try_into().expect("eight bytes"));
    let bytes = chain.room() - 1;
    let mut answer: vec::Vec<u8> = (0..bytes).map(|at| first as u8 + (at as usize / SECTOR_BYTES) as u8).collect();
    answer.push(status);
    chain.fill(&answer);
    queue.push(chain.head.into(), claim(bytes));
}

#[test]
fn sectors_are_read_and_the_device_is_left_in_reset() {
    let (device, mut disk) = disk(honest);
    assert_eq!(disk.sectors(), SECTORS);
    let mut bytes = vec![0xee; SECTORS as usize * SECTOR_BYTES];
    disk.read(0, &mut bytes).expect("an honest disk");
    assert!(bytes.iter().enumerate().all(|(at, byte)| usize::from(*byte) == at / SECTOR_BYTES));
    assert_eq!(device.lock().queues[0].doorbells, 3, "eight sectors at a time");
    disk.read(SECTORS - 1, &mut bytes[..SECTOR_BYTES]).expect("the last one");
    assert_eq!(bytes[0], 19);
    drop(disk);
    assert_eq!(device.lock().status, 0);
    assert!(!device.lock().queues[0].enabled, "it writes to nothing any more");
}

#[test]
fn what_is_not_on_the_disk_is_not_asked_for() {
    let (device, mut disk) = disk(|_| panic!("nothing to ask"));
    let mut bytes = [0; 2 * SECTOR_BYTES];
    for first in [SECTORS - 1, SECTORS, u64::MAX] {
        assert_eq!(disk.read(first, &mut bytes), Err(ReadError::BeyondEnd { first, sectors: SECTORS }));
    }
    assert_eq!(disk.read(0, &mut bytes[1..]), Err(ReadError::OddLength(2 * SECTOR_BYTES - 1)));
    assert_eq!(disk.read(0, &mut []), Ok(()));
    assert_eq!(device.lock().queues[0].doorbells, 0);
}

#[test]
fn a_refusal_is_told_and_the_next_request_goes_on() {
    let (device, mut disk) = disk(|state| answer_with(state, 1, |_| 1));
    let mut bytes = [0; SECTOR_BYTES];
    assert_eq!(disk.read(3, &mut bytes), Err(ReadError::Refused(1)));
    device.lock().at_doorbell = Some(|state| answer_with(state, 0, |_| 0));
    assert_eq!(disk.read(3, &mut bytes), Ok(()));
    assert_eq!(bytes, [3; SECTOR_BYTES]);
    // A device that uses the request and writes no status at all.
    device.lock().at_doorbell = Some(|state| {
        let chain = state.queues[0].pop().expect("a request");
        state.queues[0].push(chain.head.into(), 0);
    });
    assert_eq!(disk.read(3, &mut bytes), Err(ReadError::Refused(0xff)));
}

#[test]
fn silence_ends_and_stays() {
    let (device, mut disk) = disk(|_| {});
    let mut bytes = [0; SECTOR_BYTES];
    assert_eq!(disk.read(0, &mut bytes), Err(ReadError::Silent));
    assert_eq!(disk.read(0, &mut bytes), Err(ReadError::Silent), "the buffers are the device's");
    assert_eq!(device.lock().queues[0].doorbells, 1);
}

#[test]
fn lies_are_named() {
    let cases: [(Answer, DeviceError); 3] = [
        (|state| answer_with(state, 0, |bytes| bytes + 2), DeviceError::LengthTooLong(SECTOR_BYTES as u32 + 2)),
        (|state| state.queues[0].push(1, 1), DeviceError::DescriptorIdOutOfRange(1)),
        (|state| state.queues[0].set_used_index(2), DeviceError::UsedIndexJumped { by: 2, outstanding: 1 }),
    ];
    for (answer, lie) in cases {
        let (_device, mut disk) = disk(answer);
        let mut bytes = [0; SECTOR_BYTES];
        assert_eq!(disk.read(0, &mut bytes), Err(ReadError::Device(lie)));
        assert_eq!(disk.read(0, &mut bytes), Err(ReadError::Device(lie)), "nothing more is asked of it");
        assert_eq!(bytes, [0; SECTOR_BYTES]);
    }
}

#[test]
fn a_device_that_is_no_disk_or_a_strange_one_is_not_opened() {
    let open = |device: &FakeDevice, kind| Disk::open(device.transport(kind, 0), &FakeMachine).map(drop);
    let device = FakeDevice::block(SECTORS);
    assert_eq!(open(&device, DeviceType::Network), Err(DeviceError::WrongType(1)));
    device.lock().unstable = true;
    assert_eq!(open(&device, DeviceType::Block), Err(DeviceError::ConfigUnstable));
    device.lock().unstable = false;
    device.lock().config.truncate(7);
    assert_eq!(open(&device, DeviceType::Block), Err(DeviceError::ConfigTooShort(6)));
    let device = FakeDevice::block(SECTORS);
    device.lock().queues[0] = crate::fake::Queue::new(2);
    assert_eq!(open(&device, DeviceType::Block), Err(DeviceError::QueueLenInvalid(2)));
}
