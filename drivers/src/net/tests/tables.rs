//! Frames of many pieces, with a table of descriptors (virtio 1.2, 2.7.5.3).

use std::vec;
use std::vec::Vec;

use weir_packet::frame::{Transmit, TransmitError};

use super::lies::{DEVICE_NEEDS_RESET, recovers_without_lie};
use super::world;
use crate::DeviceError;
use crate::fake::FakeDevice;
use crate::fake::world::{LEN, World};
use crate::net::Options;

const PIECE: &[u8] = b"piece";

/// A frame's bytes behind the device's header: a head, and so many pieces.
fn of_pieces(count: usize) -> Vec<u8> {
    [&b"head"[..], &b"piece".repeat(count)].concat()
}

#[test]
fn a_frame_of_many_pieces_takes_one_descriptor_where_tables_are_taken() {
    let mut world = world();
    for (pieces, descriptors, tables) in [(0, 1, 0), (1, 2, 0), (8, 9, 0), (9, 1, 1), (15, 1, 2)] {
        let room = world.pair.gauges().transmit_room;
        world.send(b"head", &vec![PIECE; pieces]).expect("room");
        assert_eq!(room - world.pair.gauges().transmit_room, descriptors, "{pieces} pieces");
        world.turn();
        assert_eq!(world.device.sent(0)[0][12..], of_pieces(pieces));
        assert_eq!(world.device.lock().queues[1].tables, tables);
        world.turn();
        assert_eq!((world.pair.gauges().transmit_frames, world.pair.room()), (0, LEN.into()));
    }
    let bytes: usize = [0, 1, 8, 9, 15].map(|pieces| of_pieces(pieces).len()).iter().sum();
    assert_eq!(world.pair.counters().transmit_bytes, bytes as u64);
}

#[test]
fn when_all_tables_are_taken_frames_go_the_direct_way_and_when_the_ring_is_short_few_pieces_take_a_table() {
    let mut world = world();
    // A table for every fourth descriptor.
    (0..5).for_each(|_| world.send(b"head", &[PIECE; 9]).expect("room"));
    assert_eq!(world.pair.gauges().transmit_room, 16 - 4 - 10);
    world.turn();
    assert_eq!(world.device.sent(0).len(), 5);
    assert_eq!(world.device.lock().queues[1].tables, 4);
    world.turn();
    // One descriptor is left.
    (0..15).for_each(|_| world.send(b"head", &[]).expect("room"));
    assert_eq!((world.pair.gauges().transmit_room, world.pair.room()), (1, 16));
    world.send(b"head", &[PIECE]).expect("a table");
    assert_eq!((world.pair.room(), world.send(b"head", &[])), (0, Err(TransmitError::Full)));
    world.turn();
    assert_eq!(world.device.sent(0)[15][12..], of_pieces(1));
    world.turn();
    assert_eq!((world.pair.room(), world.pool.in_use()), (16, 16));
}

#[test]
fn with_all_tables_taken_there_is_room_for_what_the_ring_takes() {
    let mut world = world();
    (0..4).for_each(|_| world.send(b"head", &[PIECE; 9]).expect("room"));
    assert_eq!(world.pair.room(), 16 - 4);
}

#[test]
fn a_frame_longer_than_a_table_goes_the_direct_way() {
    let mut world = World::with_buffers(FakeDevice::network(1, 64), Options::default(), 4, 256);
    for (pieces, descriptors) in [(19, 1), (20, 21), (62, 63)] {
        world.send(b"head", &vec![PIECE; pieces]).expect("room");
        assert_eq!(world.pair.gauges().transmit_room, 64 - descriptors, "{pieces} pieces");
        world.turn();
        assert_eq!(world.device.sent(0)[0][12..], of_pieces(pieces));
        world.turn();
    }
    assert_eq!(world.send(b"head", &[PIECE; 64]), Err(TransmitError::TooManyPieces));
}

#[test]
fn after_a_reset_all_tables_are_free() {
    let mut world = world();
    (0..4).for_each(|_| world.send(b"head", &[PIECE; 9]).expect("room"));
    world.device.lock().status |= DEVICE_NEEDS_RESET;
    world.control.check().expect("a good configuration");
    recovers_without_lie(&mut world);
    (0..4).for_each(|_| world.send(b"head", &[PIECE; 9]).expect("room"));
    assert_eq!(world.pair.gauges().transmit_room, usize::from(LEN) - 4);
}

#[test]
fn a_descriptor_that_is_reported_when_its_table_is_gone_is_a_lie() {
    let mut world = world();
    (0..2).for_each(|_| world.send(b"head", &[PIECE; 12]).expect("room"));
    world.turn();
    let mut state = world.device.lock();
    let chain = state.queues[1].pop().expect("a frame");
    (0..2).for_each(|_| state.queues[1].push(chain.head.into(), 0));
    drop(state);
    world.turn();
    assert_eq!(world.pair.take_fault(), Some(DeviceError::UsedTwice(chain.head)));
}
