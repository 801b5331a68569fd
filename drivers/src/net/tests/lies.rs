//! A device that lies is noticed, named, and reset; the buffers come back and the traffic goes on.

use weir_packet::frame::{Receive, Transmit, TransmitError};

use super::{open, world};
use crate::DeviceError;
use crate::fake::world::{LEN, World};
use crate::fake::{ALL, FakeDevice, State};
use crate::net::{ControlEvent, Options, feature};
use crate::virtio::features::EVENT_IDX;

use weir_packet::{BUFFER_BYTES, Pool};

const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;

/// Takes a buffer from the receiving ring, writes `bytes` to it, and claims `len`.
fn receive_with(state: &mut State, bytes: &[u8], len: u32) {
    let queue = &mut state.queues[RECEIVE];
    let chain = queue.pop().expect("a buffer");
    chain.write(bytes);
    queue.push(chain.head.into(), len);
}

fn header(buffers: u16) -> [u8; 12] {
    let mut header = [0; 12];
    header[10..].copy_from_slice(&buffers.to_le_bytes());
    header
}

/// Each lie, and what it is called.
type Lie = (&'static str, fn(&mut State), DeviceError);

const LIES: &[Lie] = &[
    (
        "more buffers used than there are",
        |state| state.queues[RECEIVE].set_used_index(LEN + 1),
        DeviceError::UsedIndexJumped { by: LEN + 1, outstanding: LEN },
    ),
    (
        "the used index goes back",
        |state| state.queues[RECEIVE].set_used_index(0u16.wrapping_sub(1)),
        DeviceError::UsedIndexJumped { by: 0xffff, outstanding: LEN },
    ),
    (
        "a descriptor behind the ring",
        |state| state.queues[RECEIVE].push(LEN.into(), 20),
        DeviceError::DescriptorIdOutOfRange(LEN as u32),
    ),
    (
        "a descriptor far behind the ring",
        |state| state.queues[RECEIVE].push(u32::MAX, 20),
        DeviceError::DescriptorIdOutOfRange(u32::MAX),
    ),
    (
        "a buffer used twice",
        |state| {
            receive_with(state, &[&header(1)[..], b"x"].concat(), 13);
            let id = 0;
            state.queues[RECEIVE].push(id, 13);
            state.queues[RECEIVE].push(id, 13);
        },
        DeviceError::UsedTwice(0),
    ),
    (
        "more bytes than the buffer holds",
        |state| receive_with(state, &header(1), BUFFER_BYTES as u32 + 1),
        DeviceError::LengthTooLong(BUFFER_BYTES as u32 + 1),
    ),
    ("four gigabytes", |state| receive_with(state, &header(1), u32::MAX), DeviceError::LengthTooLong(u32::MAX)),
    ("half a header", |state| receive_with(state, &header(1), 11), DeviceError::LengthTooShort(11)),
    ("no bytes at all", |state| receive_with(state, &header(1), 0), DeviceError::LengthTooShort(0)),
    ("a frame over no buffers", |state| receive_with(state, &header(0), 20), DeviceError::BufferCountInvalid(0)),
    (
        "a frame over all buffers of the world",
        |state| receive_with(state, &header(u16::MAX), 20),
        DeviceError::BufferCountInvalid(u16::MAX),
    ),
    (
        "a second buffer without bytes",
        |state| {
            receive_with(state, &header(2), 20);
            receive_with(state, &[], 0);
        },
        DeviceError::LengthTooShort(0),
    ),
    ("a frame that was never sent", |state| state.queues[TRANSMIT].push(5, 0), DeviceError::UsedTwice(5)),
    ("a piece of a frame that is not its first", |state| state.queues[TRANSMIT].push(1, 0), DeviceError::UsedTwice(1)),
    (
        "a sent descriptor behind the ring",
        |state| state.queues[TRANSMIT].push(0x1_0000, 0),
        DeviceError::DescriptorIdOutOfRange(0x1_0000),
    ),
    (
        "more frames sent than there were",
        |state| state.queues[TRANSMIT].set_used_index(3),
        DeviceError::UsedIndexJumped { by: 3, outstanding: 2 },
    ),
];

#[test]
fn each_lie_has_its_name_and_ends_in_a_reset_after_which_all_is_well() {
    for &(what, lie, error) in LIES {
        let mut world = world();
        for _ in 0..2 {
            world.send(b"head", &[b"body"]).expect("room");
        }
        world.turn();
        lie(&mut world.device.lock());
        drop(world.received());
        world.turn();
        assert_eq!(world.pair.take_fault(), Some(error), "{what}");
        assert_eq!(world.pair.take_fault(), None, "{what}: said once");
        assert_eq!(world.pair.counters().ring_errors, 1, "{what}");
        stays_silent(&mut world, what);
        recovers(&mut world, what);
    }
}

/// A stopped pair does nothing, and keeps its buffers: the device may still write to them.
fn stays_silent(world: &mut World, what: &str) {
    let with_device = world.pool.in_use();
    assert!(world.pair.receive().is_none(), "{what}");
    assert_eq!(world.pair.room(), 0, "{what}");
    assert_eq!(world.send(b"x", &[]), Err(TransmitError::Stopped), "{what}");
    assert!(world.pair.arm(), "{what}: it has a reset to follow");
    world.turn();
    assert_eq!(world.pool.in_use(), with_device, "{what}");
    assert!(with_device >= usize::from(LEN) - 3, "{what}");
}

fn recovers(world: &mut World, what: &str) {
    assert_eq!(world.control.poll(), ControlEvent::ResetBegun, "{what}");
    assert_eq!(world.control.poll(), ControlEvent::Quiet, "{what}: the pair has not emptied its rings");
    assert!(world.pair.arm(), "{what}: there is something to do");
    world.turn();
    assert_eq!(world.pool.in_use(), 0, "{what}");
    assert_eq!(world.control.poll(), ControlEvent::ResetDone, "{what}");
    world.turn();
    assert_eq!(world.control.poll(), ControlEvent::Quiet, "{what}");
    assert_eq!(world.pair.gauges().receive_buffers, LEN.into(), "{what}");
    assert!(world.device.deliver(0, 0, b"again", 1), "{what}");
    assert_eq!(world.received(), [b"again"], "{what}");
    world.send(b"and again", &[]).expect("room");
    world.turn();
    assert_eq!(world.device.sent(0)[0][12..], *b"and again", "{what}");
    assert_eq!(world.pair.counters().resets, 1, "{what}");
}

#[test]
fn a_lie_to_one_pair_takes_the_others_through_the_reset() {
    let device = FakeDevice::network(2, LEN);
    let mut opened = open(&device, Options { pairs_max: 2, ..Options::default() });
    let pools = [Pool::with_capacity(32).expect("memory"), Pool::with_capacity(32).expect("memory")];
    let mut pairs: std::vec::Vec<_> =
        opened.pairs.into_iter().zip(&pools).map(|(pair, pool)| pair.start(pool.clone())).collect();
    device.lock().queues[2].push(99, 0);
    assert!(pairs[1].receive().is_none());
    assert!(pairs[1].is_stopped() && !pairs[0].is_stopped());
    assert_eq!(opened.control.poll(), ControlEvent::ResetBegun);
    for pair in &mut pairs {
        assert_eq!(opened.control.poll(), ControlEvent::Quiet);
        pair.refill();
    }
    assert_eq!((pools[0].in_use(), pools[1].in_use()), (0, 0));
    assert_eq!(opened.control.poll(), ControlEvent::ResetDone);
    assert_eq!(device.lock().commands.len(), 2, "the pairs are switched on again");
    for (number, pair) in pairs.iter_mut().enumerate() {
        pair.refill();
        pair.flush();
        assert!(device.deliver(number, 0, b"hello", 1));
        assert!(pair.receive().is_some());
    }
}

/// Virtio 1.2, 2.1.
pub(super) const DEVICE_NEEDS_RESET: u8 = 0x40;

#[test]
fn a_device_that_asks_for_a_reset_gets_one() {
    let mut world = world();
    world.device.lock().status |= DEVICE_NEEDS_RESET;
    assert_eq!(world.control.poll(), ControlEvent::Quiet, "registers are read in `check` only");
    world.control.check().expect("a good configuration");
    recovers_without_lie(&mut world);
}

pub(super) fn recovers_without_lie(world: &mut World) {
    assert_eq!(world.control.poll(), ControlEvent::ResetBegun);
    world.turn();
    assert_eq!(world.control.poll(), ControlEvent::ResetDone);
    world.turn();
    assert!(world.device.deliver(0, 0, b"again", 1));
    assert_eq!(world.received(), [b"again"]);
}

#[test]
fn a_device_that_comes_back_as_another_one_is_dead() {
    let mut world = world();
    world.device.lock().queues[RECEIVE].push(99, 0);
    assert!(world.pair.receive().is_none());
    assert_eq!(world.control.poll(), ControlEvent::ResetBegun);
    world.device.lock().offered = ALL.without(feature::CSUM);
    world.turn();
    let dead = ControlEvent::Dead(DeviceError::FeaturesRefused);
    assert_eq!(world.control.poll(), dead);
    assert_eq!(world.control.poll(), dead, "and stays so");
    assert_eq!(world.pool.in_use(), 0);
    assert_eq!(world.send(b"x", &[]), Err(TransmitError::Stopped));
    assert!(!world.pair.arm(), "nothing to stay awake for");
}

#[test]
fn a_device_that_does_not_reset_is_dead_and_keeps_the_buffers() {
    let mut world = world();
    world.device.lock().queues[RECEIVE].push(99, 0);
    assert!(world.pair.receive().is_none());
    world.device.lock().hangs_in_reset = true;
    assert_eq!(world.control.poll(), ControlEvent::Dead(DeviceError::ResetTimeout));
    world.turn();
    assert_eq!(world.pool.in_use(), LEN.into());
    assert!(!world.pair.arm());
}

#[test]
fn the_control_queue_raises_no_interrupt_before_or_after_a_reset() {
    for offered in [ALL, ALL.without(EVENT_IDX)] {
        let device = FakeDevice::network(1, LEN);
        device.lock().offered = offered;
        let mut world = super::world_with(device, Options::default());
        world.control.want_reset();
        recovers_without_lie(&mut world);
        let state = world.device.lock();
        assert_eq!(state.commands.len(), 2);
        assert_eq!(state.queues.last().map(|queue| queue.interrupts), Some(0), "{offered:?}");
    }
}

#[test]
fn a_command_that_was_given_up_is_neither_repeated_nor_taken_for_the_next() {
    let mut world = world();
    world.device.lock().ignores_commands = true;
    for _ in 0..5 {
        assert_eq!(world.control.announced(), Err(DeviceError::CommandTimeout(3, 0)));
    }
    let mut state = world.device.lock();
    (state.ignores_commands, state.ack) = (false, 1);
    state.answer_commands();
    state.ack = 0;
    drop(state);
    assert_eq!(world.control.announced(), Ok(()));
    assert_eq!(world.device.lock().commands.len(), 3, "the pairs' number, the late answer, and this one");
}
