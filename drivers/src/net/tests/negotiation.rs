//! What is offered, what is taken, and what is refused by name.

use std::format;
use std::string::ToString;
use std::vec;

use super::{open, open_with, world_with};
use crate::DeviceError;
use crate::fake::world::{LEN, World, message};
use crate::fake::{ALL, FakeDevice, FakeMachine, MAC};
use crate::net::{NetDevice, Options, feature};
use crate::virtio::features::{EVENT_IDX, VERSION_1};
use crate::virtio::{DeviceType, Feature, Features};

fn refused(change: impl FnOnce(&FakeDevice)) -> DeviceError {
    let device = FakeDevice::network(2, LEN);
    change(&device);
    let options = Options { pairs_max: 2, ..Options::default() };
    open_with(&device, options, 4).err().expect("a device that cannot be used")
}

#[test]
fn a_good_device_gives_a_pair_per_core_and_says_so() {
    let device = FakeDevice::network(4, 512);
    let options = Options { pairs_max: 2, segmentation: true, large_receive: true, ..Options::default() };
    let opened = open(&device, options);
    assert_eq!(opened.pairs.len(), 2);
    let report = opened.report;
    assert_eq!((report.pairs, report.pairs_of_device, report.vectors), (2, 4, 2));
    assert_eq!((report.mac, report.mtu), (MAC, 1500));
    assert_eq!((report.receive_len, report.transmit_len), (256, 256));
    assert_eq!(report.features, ALL.without(feature::RSS));
    assert_eq!(
        report.to_string(),
        "virtio-net 2 of 4 pairs, rings 256/256, 2 interrupts, mtu 1500, features CSUM,GUEST_CSUM,MTU,MAC,GUEST_TSO4,\
         GUEST_TSO6,HOST_TSO4,HOST_TSO6,MRG_RXBUF,STATUS,CTRL_VQ,GUEST_ANNOUNCE,MQ,INDIRECT_DESC,EVENT_IDX,VERSION_1"
    );
}

#[test]
fn the_control_queue_lies_behind_all_pairs_of_the_device_and_switches_on_those_in_use() {
    let device = FakeDevice::network(4, LEN);
    let _opened = open(&device, Options { pairs_max: 2, ..Options::default() });
    let state = device.lock();
    assert_eq!(state.commands, vec![(4, 0, vec![2, 0])]);
    let enabled: vec::Vec<_> = state.queues.iter().map(|queue| queue.enabled).collect();
    assert_eq!(enabled, [true, true, true, true, false, false, false, false, true]);
    let vectors: vec::Vec<_> = state.queues.iter().map(|queue| queue.vector).take(5).collect();
    assert_eq!(vectors, [0, 0, 1, 1, 0xffff]);
}

#[test]
fn a_device_with_rss_gets_key_and_table_and_the_number_of_pairs_with_them() {
    let device = FakeDevice::network(4, LEN);
    let key = core::array::from_fn(|i| i as u8);
    let opened = open(&device, Options { pairs_max: 3, spread_key: Some(key), ..Options::default() });
    let spread = opened.report.spread.expect("the feature is there");
    assert_eq!((spread.key, spread.table_len, spread.pairs), (key, 128, 3));
    let state = device.lock();
    let [(class, command, data)] = &state.commands[..] else { panic!("{:?}", state.commands) };
    assert_eq!((*class, *command), (4, 1));
    // Hash types, mask, the pair of what cannot be hashed.
    assert_eq!(data[..8], [0b11011, 0, 0, 0, 127, 0, 0, 0]);
    let table: vec::Vec<_> =
        data[8..8 + 256].as_chunks::<2>().0.iter().map(|&entry| u16::from_le_bytes(entry)).collect();
    assert!(table.iter().enumerate().all(|(i, &pair)| usize::from(pair) == i % 3));
    assert_eq!(data[264..267], [3, 0, 40]);
    assert_eq!(data[267..], key);
}

#[test]
fn rss_that_is_no_use_is_not_taken() {
    // The key too short, no hash of TCP over IPv6, an empty table, one pair, no key.
    for (offset, value, pairs_max, key) in [
        (17, 39, 2, Some([7; 40])),
        (20, 0b1111, 2, Some([7; 40])),
        (18, 0, 2, Some([7; 40])),
        (17, 40, 1, Some([7; 40])),
        (17, 40, 2, None),
    ] {
        let device = FakeDevice::network(2, LEN);
        device.lock().config[offset] = value;
        let opened = open(&device, Options { pairs_max, spread_key: key, ..Options::default() });
        assert_eq!(opened.report.spread, None);
        assert!(!opened.report.features.has(feature::RSS));
        assert_eq!(device.lock().commands, vec![(4, 0, vec![pairs_max as u8, 0])]);
    }
}

#[test]
fn each_feature_may_be_absent_alone() {
    for bit in (0..64).map(Feature).filter(|&feature| ALL.has(feature) && feature != VERSION_1) {
        let device = FakeDevice::network(2, LEN);
        device.lock().offered = ALL.without(bit);
        let name = feature::named(Features::of(&[bit])).to_string();
        let options = Options { pairs_max: 2, segmentation: true, large_receive: true, ..Options::default() };
        let mut world = world_with(device, options);
        assert!(!world.report.features.has(bit), "{name}");
        exchange(&mut world, &name);
    }
}

/// Frames go both ways.
fn exchange(world: &mut World, name: &str) {
    assert!(world.device.deliver(0, 0, b"a frame for the guest", 1), "{name}");
    assert_eq!(world.received(), [b"a frame for the guest"], "{name}");
    world.send(b"a frame ", &[b"for the wire"]).expect("room");
    world.turn();
    let sent = world.device.sent(0);
    assert_eq!(sent[0][12..], *b"a frame for the wire", "{name}");
    world.turn();
    assert_eq!(world.pair.gauges().transmit_frames, 0, "{name}");
}

#[test]
fn a_bare_device_works_with_one_pair_and_the_callers_address() {
    let device = FakeDevice::network(2, LEN);
    device.lock().offered = Features::of(&[VERSION_1]);
    device.lock().config.clear();
    let mut world = world_with(device, Options { pairs_max: 8, ..Options::default() });
    assert_eq!(world.report.mac, Options::default().fallback_mac);
    assert_eq!((world.report.pairs, world.report.mtu), (1, 1500));
    assert!(world.device.lock().commands.is_empty());
    exchange(&mut world, "no feature");
}

#[test]
fn a_feature_goes_when_what_it_needs_is_missing() {
    let all = Options { segmentation: true, large_receive: true, ..Options::default() };
    let without = |bit| feature::choose(ALL.without(bit), &all);
    assert!(!without(feature::CSUM).has(feature::HOST_TSO4));
    assert!(!without(feature::GUEST_CSUM).has(feature::GUEST_TSO6));
    assert!(!without(feature::MRG_RXBUF).has(feature::GUEST_TSO4));
    assert!(!without(feature::CTRL_VQ).has(feature::MQ));
    assert!(!without(feature::STATUS).has(feature::GUEST_ANNOUNCE));
    let plain = feature::choose(ALL, &Options::default());
    assert!(!plain.has(feature::HOST_TSO4) && !plain.has(feature::GUEST_TSO4), "only where they are asked for");
    let refused = Options { refuse: Features::of(&[EVENT_IDX]), ..Options::default() };
    assert!(!feature::choose(ALL, &refused).has(EVENT_IDX));
}

#[test]
fn an_mtu_is_taken_at_its_word_if_such_frames_can_be_received() {
    for (mtu, merge, expected) in [(1400, true, 1400), (9000, true, 9000), (1400, false, 1400), (9000, false, 1500)] {
        let device = FakeDevice::network(1, LEN);
        device.lock().config[10..12].copy_from_slice(&u16::to_le_bytes(mtu));
        if !merge {
            device.lock().offered = ALL.without(feature::MRG_RXBUF);
        }
        let report = open(&device, Options::default()).report;
        assert_eq!(report.mtu, expected, "{mtu} offered, merged buffers: {merge}");
    }
}

#[test]
fn too_few_vectors_are_shared_and_none_means_polling() {
    for (vectors, expected, text) in
        [(3, [Some(0), Some(1), Some(2), Some(0)], "3 interrupts (shared)"), (0, [None; 4], "polling")]
    {
        let device = FakeDevice::network(4, LEN);
        let opened = open_with(&device, Options { pairs_max: 4, ..Options::default() }, vectors).expect("good");
        let shared: vec::Vec<_> = (0..4).map(|pair| opened.report.message_of(pair)).collect();
        assert_eq!(shared, expected);
        assert!(format!("{}", opened.report).contains(text));
    }
}

#[test]
fn a_caller_without_messages_left_shares_them_as_well() {
    let device = FakeDevice::network(4, LEN);
    let transport = device.transport(DeviceType::Network, 16);
    let mut two = |pair| message(pair).filter(|_| pair < 2);
    let options = Options { pairs_max: 4, ..Options::default() };
    let opened = NetDevice::open(transport, &FakeMachine, options, &mut two).expect("good");
    assert_eq!(opened.report.vectors, 2);
    assert_eq!(device.lock().queues[6].vector, 1);
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let word = |offset: usize, value: u16| {
        move |device: &FakeDevice| device.lock().config[offset..offset + 2].copy_from_slice(&value.to_le_bytes())
    };
    assert_eq!(refused(|d| d.lock().offered = ALL.without(VERSION_1)), DeviceError::VersionOneMissing);
    assert_eq!(refused(|d| d.lock().refuses_features = true), DeviceError::FeaturesRefused);
    assert_eq!(refused(|d| d.lock().hangs_in_reset = true), DeviceError::ResetTimeout);
    assert_eq!(refused(|d| d.lock().refuses_vectors = true), DeviceError::VectorRefused(0));
    assert_eq!(refused(|d| d.lock().unstable = true), DeviceError::ConfigUnstable);
    assert_eq!(refused(|d| d.lock().ack = 1), DeviceError::CommandRefused(4, 0));
    assert_eq!(refused(|d| d.lock().config.truncate(11)), DeviceError::ConfigTooShort(10));
    assert_eq!(refused(word(8, 0)), DeviceError::BadPairCount(0));
    assert_eq!(refused(word(8, 0x8000)), DeviceError::BadPairCount(0x8000));
    assert_eq!(refused(word(10, 67)), DeviceError::BadMtu(67));
    assert_eq!(refused(|d| d.lock().queues[2].len_max = 0), DeviceError::QueueMissing(2));
    assert_eq!(refused(|d| d.lock().queues.truncate(3)), DeviceError::QueueMissing(3));
    assert_eq!(refused(|d| d.lock().queues[1].notify_off = 9), DeviceError::DoorbellOutside(1));
}

#[test]
fn impossible_queue_lengths_are_refused() {
    for (len, error) in [(100, DeviceError::QueueLenInvalid(100)), (4, DeviceError::QueueLenInvalid(4))] {
        let device = FakeDevice::network(1, LEN);
        device.lock().queues[0].len_max = len;
        assert_eq!(open_with(&device, Options::default(), 1).err(), Some(error));
    }
}

#[test]
fn a_refused_device_is_left_as_failed() {
    let device = FakeDevice::network(1, LEN);
    device.lock().refuses_vectors = true;
    assert!(open_with(&device, Options::default(), 1).is_err());
    assert_eq!(device.lock().status & 0x80, 0x80);
}

#[test]
fn a_device_of_another_type_is_refused() {
    let device = FakeDevice::network(1, LEN);
    let transport = device.transport(DeviceType::Entropy, 0);
    let error = NetDevice::open(transport, &FakeMachine, Options::default(), &mut message).err();
    assert_eq!(error, Some(DeviceError::WrongType(4)));
}
