//! The entropy device gives bytes, few bytes, none, or lies.

use super::fill;
use crate::DeviceError;
use crate::fake::{FakeDevice, FakeMachine, State};
use crate::virtio::DeviceType;

/// Asks a device that answers the doorbell with `answer`.
fn ask(out: &mut [u8], answer: fn(&mut State)) -> (FakeDevice, Result<usize, DeviceError>) {
    let device = FakeDevice::entropy();
    device.lock().at_doorbell = Some(answer);
    let result = fill(&mut device.transport(DeviceType::Entropy, 0), &FakeMachine, out);
    (device, result)
}

/// Writes `bytes` to the buffer that waits and claims `len`.
fn answer_with(state: &mut State, bytes: &[u8], len: u32) {
    let queue = &mut state.queues[0];
    let chain = queue.pop().expect("a buffer");
    chain.write(bytes);
    queue.push(chain.head.into(), len);
}

#[test]
fn the_device_fills_the_bytes_and_is_left_in_reset() {
    let mut out = [0; 16];
    let (device, result) = ask(&mut out, |state| answer_with(state, &[0xa5; 16], 16));
    assert_eq!((result, out), (Ok(16), [0xa5; 16]));
    assert_eq!(device.lock().status, 0);
    assert!(!device.lock().queues[0].enabled, "it writes to nothing any more");
}

#[test]
fn a_host_short_of_entropy_gives_fewer_bytes() {
    let mut out = [0; 16];
    let (_, result) = ask(&mut out, |state| answer_with(state, &[0xa5; 3], 3));
    assert_eq!(result, Ok(3));
    assert_eq!(out[..4], [0xa5, 0xa5, 0xa5, 0]);
}

#[test]
fn lies_are_named() {
    let mut out = [0; 16];
    let (_, result) = ask(&mut out, |state| answer_with(state, &[0xa5; 16], 17));
    assert_eq!(result, Err(DeviceError::LengthTooLong(17)));
    let (device, result) = ask(&mut out, |state| state.queues[0].push(1, 16));
    assert_eq!(result, Err(DeviceError::DescriptorIdOutOfRange(1)));
    assert_eq!(device.lock().status, 0);
    let (_, result) = ask(&mut out, |state| state.queues[0].set_used_index(2));
    assert_eq!(result, Err(DeviceError::UsedIndexJumped { by: 2, outstanding: 1 }));
    assert_eq!(out, [0; 16]);
}

#[test]
fn a_network_device_is_no_source_of_entropy() {
    let device = FakeDevice::entropy();
    let result = fill(&mut device.transport(DeviceType::Network, 0), &FakeMachine, &mut [0; 4]);
    assert_eq!(result, Err(DeviceError::WrongType(1)));
}
