//! Frames in both directions, as a dialogue: the device does this, the driver is expected to do that.

use std::vec;
use std::vec::Vec;

use weir_packet::frame::{ChecksumOffload, ChecksumStatus, Offload, Receive, Segmentation, Transmit, TransmitError};
use weir_packet::{Chunk, Pool};

use super::{open, world, world_with};
use crate::fake::world::LEN;
use crate::fake::{ALL, FakeDevice};
use crate::net::{Options, feature};
use crate::virtio::features::{EVENT_IDX, INDIRECT_DESC};

#[test]
fn the_device_gets_buffers_when_the_pair_starts_and_not_before() {
    let device = FakeDevice::network(1, LEN);
    let opened = open(&device, Options::default());
    assert_eq!(device.lock().queues[0].available(), 0);
    let pool = Pool::with_capacity(64).expect("memory");
    let _pair = opened.pairs.into_iter().next().expect("one pair").start(pool.clone());
    assert_eq!(device.lock().queues[0].available(), LEN.into());
    assert_eq!(pool.in_use(), LEN.into());
    assert_eq!(device.lock().queues[0].doorbells, 1);
}

#[test]
fn a_frame_arrives_without_the_devices_header_and_with_its_checksum_state() {
    let mut world = world();
    for (flags, checksum) in
        [(0, ChecksumStatus::Unverified), (1, ChecksumStatus::Verified), (2, ChecksumStatus::Verified)]
    {
        assert!(world.device.deliver(0, flags, b"hello", 1));
        let frame = world.pair.receive().expect("a frame");
        assert_eq!((&*frame.packet, frame.checksum), (&b"hello"[..], checksum));
        assert!(!frame.packet.is_chain());
    }
    assert!(world.pair.receive().is_none());
    assert_eq!((world.pair.counters().receive_packets, world.pair.counters().receive_bytes), (3, 15));
}

#[test]
fn a_frame_over_merged_buffers_arrives_as_one_chain() {
    let mut world = world();
    let bytes: Vec<u8> = (0..5000).map(|n| n as u8).collect();
    assert!(world.device.deliver(0, 0, &bytes, 3));
    let frame = world.pair.receive().expect("a frame");
    assert_eq!((frame.packet.buffers(), frame.packet.frame_len()), (3, 5000));
    drop(frame);
    assert!(world.device.deliver(0, 0, &bytes, 3));
    assert_eq!(world.received(), [bytes]);
    assert_eq!(world.pair.counters().receive_bytes, 10_000);
}

#[test]
fn buffers_of_a_frame_that_come_late_are_waited_for() {
    let mut world = world();
    let header = |buffers: u8| [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, buffers, 0];
    let give = |bytes: &[u8]| {
        let queue = &mut world.device.lock().queues[0];
        let chain = queue.pop().expect("a buffer");
        let written = chain.write(bytes);
        queue.push(chain.head.into(), written);
    };
    give(&[&header(3)[..], b"one "].concat());
    assert!(world.pair.receive().is_none());
    give(b"two ");
    assert!(world.pair.receive().is_none());
    give(b"three");
    give(&[&header(1)[..], b"next"].concat());
    assert_eq!(world.received(), [&b"one two three"[..], b"next"]);
}

#[test]
fn without_merged_buffers_the_count_in_the_header_means_nothing() {
    let device = FakeDevice::network(1, LEN);
    device.lock().offered = ALL.without(feature::MRG_RXBUF);
    let mut world = world_with(device, Options::default());
    let queue_up = |buffers: u8| {
        let queue = &mut world.device.lock().queues[0];
        let chain = queue.pop().expect("a buffer");
        let written = chain.write(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, buffers, 0, b'x']);
        queue.push(chain.head.into(), written);
    };
    queue_up(0);
    queue_up(7);
    assert_eq!(world.received(), [b"x", b"x"]);
}

#[test]
fn received_buffers_are_replaced_in_batches_and_all_of_them_before_the_core_sleeps() {
    let mut world = world();
    assert!(world.device.deliver(0, 0, b"one", 1));
    assert_eq!(world.received().len(), 1);
    world.turn();
    assert_eq!(world.pair.gauges().receive_buffers, usize::from(LEN) - 1, "one is not worth a barrier");
    assert!(world.device.deliver(0, 0, b"two", 1));
    assert_eq!(world.received().len(), 1);
    world.turn();
    assert_eq!(world.pair.gauges().receive_buffers, usize::from(LEN));
    assert!(world.device.deliver(0, 0, b"three", 1));
    assert_eq!(world.received().len(), 1);
    assert!(!world.pair.arm());
    assert_eq!(world.device.lock().queues[0].available(), usize::from(LEN));
    assert_eq!(world.pool.in_use(), usize::from(LEN));
}

#[test]
fn an_empty_pool_starves_the_device_and_later_feeds_it_again() {
    let device = FakeDevice::network(1, LEN);
    let opened = open(&device, Options::default());
    let pool = Pool::with_capacity(10).expect("memory");
    let mut pair = opened.pairs.into_iter().next().expect("one pair").start(pool.clone());
    assert_eq!(pair.gauges().receive_buffers, 10);
    for _ in 0..10 {
        assert!(device.deliver(0, 0, b"frame", 1));
    }
    assert!(!device.deliver(0, 0, b"frame", 1), "the device has no buffer left");
    let kept: Vec<_> = core::iter::from_fn(|| pair.receive()).collect();
    pair.refill();
    pair.flush();
    assert_eq!((kept.len(), pair.gauges().receive_buffers), (10, 0));
    drop(kept);
    pair.refill();
    pair.flush();
    assert_eq!(device.lock().queues[0].available(), 10);
}

#[test]
fn a_burst_of_frames_costs_one_doorbell_and_keeps_its_order() {
    let device = FakeDevice::network(1, LEN);
    device.lock().offered = ALL.without(INDIRECT_DESC);
    let mut world = world_with(device, Options::default());
    for byte in 0..8 {
        world.send(&[byte], &[b"-", b"payload"]).expect_err_after(5, byte);
    }
    assert!(world.device.sent(0).is_empty(), "the burst is not over");
    world.turn();
    assert_eq!(world.device.lock().queues[1].doorbells, 1);
    let sent = world.device.sent(0);
    let expected: Vec<Vec<u8>> = (0..5).map(|byte| [&[0; 12][..], &[byte], b"-payload"].concat()).collect();
    assert_eq!(sent, expected);
    let counters = world.pair.counters();
    assert_eq!((counters.transmit_packets, counters.transmit_bytes), (5, 45));
    assert_eq!((counters.transmit_bursts, counters.transmit_doorbells), (1, 1));
    assert_eq!(counters.drop_full, 3);
}

/// Frames up to some number are taken, later ones find the ring full.
trait ExpectErrAfter {
    fn expect_err_after(self, taken: u8, frame: u8);
}

impl ExpectErrAfter for Result<(), TransmitError> {
    fn expect_err_after(self, taken: u8, frame: u8) {
        // Three pieces each: five frames take 15 of 16 descriptors.
        assert_eq!(self, if frame < taken { Ok(()) } else { Err(TransmitError::Full) });
    }
}

#[test]
fn a_full_ring_takes_frames_again_after_the_device_has_sent_some() {
    let mut world = world();
    for _ in 0..LEN {
        world.send(b"x", &[]).expect("room");
    }
    assert_eq!(world.pair.room(), 0);
    assert_eq!(world.send(b"x", &[]), Err(TransmitError::Full));
    world.turn();
    assert_eq!(world.send(b"x", &[]), Err(TransmitError::Full));
    assert_eq!(world.device.sent(0).len(), LEN.into());
    world.send(b"y", &[]).expect("looks for sent frames by itself");
    world.turn();
    assert_eq!(world.device.sent(0).len(), 1);
    world.turn();
    assert_eq!((world.pair.room(), world.pool.in_use()), (LEN.into(), LEN.into()));
}

#[test]
fn a_frame_of_more_pieces_than_the_ring_has_is_refused_for_good() {
    let mut world = world();
    let pieces: Vec<&'static [u8]> = vec![b"x"; usize::from(LEN)];
    assert_eq!(world.send(b"head", &pieces), Err(TransmitError::TooManyPieces));
    world.send(b"head", &pieces[1..]).expect("exactly as many as there are");
    assert_eq!(world.pair.counters().drop_too_many_pieces, 1);
}

#[test]
fn empty_pieces_are_left_out() {
    let mut world = world();
    world.send(b"head", &[b"", b" body", b""]).expect("room");
    assert_eq!(world.pair.gauges().transmit_room, usize::from(LEN) - 2);
    world.turn();
    assert_eq!(world.device.sent(0)[0][12..], *b"head body");
}

#[test]
fn an_iterator_that_has_more_than_it_says_is_cut_short() {
    struct Liar(usize);
    impl Iterator for Liar {
        type Item = Chunk;
        fn next(&mut self) -> Option<Chunk> {
            self.0 = self.0.checked_sub(1)?;
            Some(Chunk::from_static(b"x"))
        }
    }
    impl ExactSizeIterator for Liar {
        fn len(&self) -> usize {
            2
        }
    }
    let mut world = world();
    for pieces in [100, 1] {
        let head = world.pool.allocate().expect("a buffer");
        world.pair.transmit(head, Liar(pieces), Offload::default()).expect("room");
    }
    world.turn();
    let lens: Vec<_> = world.device.sent(0).iter().map(Vec::len).collect();
    assert_eq!(lens, [14, 13]);
    world.turn();
    assert_eq!(world.pair.room(), LEN.into());
}

#[test]
fn a_received_chain_can_be_sent_back_as_it_is() {
    let mut world = world();
    let bytes: Vec<u8> = (0..3000).map(|n| (n % 251) as u8).collect();
    assert!(world.device.deliver(0, 0, &bytes, 2));
    let frame = world.pair.receive().expect("a frame");
    world.pair.transmit(frame.packet, [].into_iter(), Offload::default()).expect("room");
    world.turn();
    assert_eq!(world.device.sent(0)[0][12..], bytes);
    world.turn();
    world.turn();
    assert_eq!((world.pair.room(), world.pool.in_use()), (LEN.into(), LEN.into()));
}

#[test]
fn a_head_without_headroom_gets_a_buffer_in_front() {
    let mut world = world();
    let mut head = world.pool.allocate_whole().expect("a buffer");
    head.truncate(4);
    head.copy_from_slice(b"head");
    world.pair.transmit(head, [Chunk::from_static(b" body")].into_iter(), Offload::default()).expect("room");
    world.turn();
    assert_eq!(world.device.sent(0)[0][12..], *b"head body");
}

#[test]
fn offloads_are_written_where_the_specification_wants_them() {
    let options = Options { segmentation: true, ..Options::default() };
    let mut world = world_with(FakeDevice::network(1, LEN), options);
    let head = world.pool.allocate().expect("a buffer");
    let offload = Offload {
        checksum: Some(ChecksumOffload { start: 0x0122, offset: 0x10 }),
        segmentation: Some(Segmentation { ipv6: true, mss: 0x05a0, header_len: 0x0142 }),
    };
    world.pair.transmit(head, [].into_iter(), offload).expect("room");
    world.turn();
    let header = [1, 4, 0x42, 0x01, 0xa0, 0x05, 0x22, 0x01, 0x10, 0x00, 0, 0];
    assert_eq!(world.device.sent(0), [header]);
}

#[test]
fn an_offload_that_was_not_negotiated_is_refused() {
    let device = FakeDevice::network(1, LEN);
    device.lock().offered = ALL.without(feature::CSUM);
    let mut world = world_with(device, Options { segmentation: true, ..Options::default() });
    let checksum = Some(ChecksumOffload { start: 34, offset: 16 });
    let segmentation = Some(Segmentation { ipv6: false, mss: 1460, header_len: 54 });
    for offload in [
        Offload { checksum, segmentation: None },
        Offload { checksum, segmentation },
        Offload { checksum: None, segmentation },
    ] {
        let head = world.pool.allocate().expect("a buffer");
        let result = world.pair.transmit(head, [].into_iter(), offload);
        assert_eq!(result, Err(TransmitError::NotNegotiated));
    }
    assert_eq!(world.pair.counters().drop_not_negotiated, 3);
    assert_eq!(world.pool.in_use(), LEN.into());
}

#[test]
fn the_core_sleeps_only_if_nothing_came_in_the_meantime() {
    for event_index in [false, true] {
        let device = FakeDevice::network(1, LEN);
        if !event_index {
            device.lock().offered = ALL.without(EVENT_IDX);
        }
        let mut world = world_with(device, Options::default());
        let interrupts = |device: &FakeDevice| device.lock().queues[0].interrupts;
        assert!(world.device.deliver(0, 0, b"early", 1));
        assert_eq!(interrupts(&world.device), 0, "not asked for yet");
        assert!(world.pair.arm(), "there is a frame");
        world.pair.disarm();
        assert_eq!(world.received().len(), 1);
        assert!(!world.pair.arm());
        assert!(world.device.deliver(0, 0, b"wakes the core", 1));
        assert_eq!(interrupts(&world.device), 1);
        world.pair.disarm();
        assert_eq!(world.received().len(), 1);
        assert!(world.device.deliver(0, 0, b"while it works", 1));
        assert_eq!(interrupts(&world.device), 1);
    }
}

#[test]
fn a_crowded_sending_ring_wakes_the_core_when_half_of_it_is_sent() {
    let mut world = world();
    for _ in 0..LEN {
        world.send(b"x", &[]).expect("room");
    }
    assert!(!world.pair.arm());
    assert_eq!(world.device.sent(0).len(), LEN.into());
    assert_eq!(world.device.lock().queues[1].interrupts, 1);
    assert!(world.pair.arm(), "they are there already");
    world.pair.disarm();
    world.turn();
    world.send(b"x", &[]).expect("room");
    assert!(!world.pair.arm());
    assert_eq!(world.device.sent(0).len(), 1);
    assert_eq!(world.device.lock().queues[1].interrupts, 1, "a single frame wakes nobody");
}

#[test]
fn a_device_without_interrupts_keeps_the_core_awake() {
    let device = FakeDevice::network(1, LEN);
    let opened = super::open_with(&device, Options::default(), 0).expect("good");
    let pool = Pool::with_capacity(64).expect("memory");
    let mut pair = opened.pairs.into_iter().next().expect("one pair").start(pool);
    assert!(pair.arm());
}

#[test]
fn the_link_goes_down_and_up_and_asks_for_announcements() {
    let mut world = world();
    let mut state = |value: u8| {
        world.device.lock().config[6] = value;
        let link = world.control.check().expect("a good configuration");
        (link.up, link.announce)
    };
    assert_eq!(state(1), (true, false));
    assert_eq!(state(0), (false, false));
    assert_eq!(state(3), (true, true));
    world.control.announced().expect("acknowledged");
    assert_eq!(world.device.lock().commands.last(), Some(&(3, 0, vec![])));
}

#[test]
fn a_pair_that_is_dropped_leaves_its_buffers_with_the_device() {
    let mut world = world();
    world.send(b"x", &[]).expect("room");
    drop(world.pair);
    assert_eq!(world.pool.in_use(), usize::from(LEN) + 1);
    assert!(world.device.deliver(0, 0, b"into memory that nobody else uses", 1));
}

#[test]
fn seventy_thousand_frames_each_way_wrap_all_indexes() {
    for event_index in [false, true] {
        let device = FakeDevice::network(1, LEN);
        if !event_index {
            device.lock().offered = ALL.without(EVENT_IDX);
        }
        let mut world = world_with(device, Options::default());
        for number in 0..70_000u32 {
            assert!(world.device.deliver(0, 0, &number.to_le_bytes(), 1));
            assert_eq!(world.received(), [number.to_le_bytes()]);
            world.send(&number.to_le_bytes(), &[b"!"]).expect("room");
            world.turn();
            assert_eq!(world.device.sent(0)[0][12..16], number.to_le_bytes());
        }
        assert_eq!(world.pair.counters().transmit_doorbells, 70_000);
        world.turn();
        assert_eq!(world.pair.room(), LEN.into());
    }
}

#[test]
fn news_are_a_received_frame_and_room_in_a_crowded_ring() {
    let mut world = world();
    assert!(!world.pair.has_news());
    assert!(world.device.deliver(0, 0, b"frame", 1));
    assert!(world.pair.has_news());
    assert_eq!(world.received().len(), 1);
    assert!(!world.pair.has_news());
    for (frames, is_news) in [(usize::from(LEN) / 2, false), (usize::from(LEN) / 2 + 1, true)] {
        (0..frames).for_each(|_| world.send(b"x", &[]).expect("room"));
        world.turn();
        assert!(!world.pair.has_news());
        assert_eq!(world.device.sent(0).len(), frames);
        assert_eq!(world.pair.has_news(), is_news);
        world.turn();
    }
}
