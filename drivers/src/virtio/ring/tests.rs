//! The ring alone, against a device that walks the same memory.

use crate::DeviceError;
use crate::fake::{FakeDevice, FakeMachine};
use crate::virtio::features::{EVENT_IDX, Features, VERSION_1};
use crate::virtio::{DeviceType, Transport, negotiate};

use super::{Access, Buffer, DescIndex, SplitRing, UsedElement, passes};

type Ring = SplitRing<crate::fake::FakeDoorbell>;

const LEN: u16 = 8;

fn ring(event_index: bool) -> (FakeDevice, Ring) {
    let device = FakeDevice::entropy();
    let mut transport = device.transport(DeviceType::Entropy, 0);
    let wanted = if event_index { Features::of(&[EVENT_IDX]) } else { Features::of(&[VERSION_1]) };
    negotiate(&mut transport, |_, _| Ok(wanted)).expect("a good device");
    let doorbell = transport.doorbell(0).expect("in range");
    let ring = SplitRing::new(&FakeMachine, LEN, doorbell, event_index).expect("memory");
    transport.enable_queue(0, ring.addresses(), None).expect("accepted");
    (device, ring)
}

/// Offers `count` single descriptors, from 0.
fn offer(ring: &mut Ring, count: u16) {
    static BYTES: [u8; 4] = *b"weir";
    let buffer = Buffer { address: BYTES.as_ptr().addr() as u64, len: 4 };
    for index in 0..count {
        ring.describe(DescIndex(index), buffer, Access::DeviceReads, None);
        ring.offer(DescIndex(index));
    }
}

/// Uses whatever waits, like a device that interrupts when it was asked to.
fn serve(device: &FakeDevice, event_index: bool) -> usize {
    let queue = &mut device.lock().queues[0];
    let mut served = 0;
    while let Some(chain) = queue.pop() {
        assert_eq!(chain.read(), b"weir");
        queue.push(chain.head.into(), 0);
        served += 1;
    }
    queue.notify(event_index);
    served
}

#[test]
fn nothing_is_visible_before_the_flush_and_then_everything_for_one_doorbell() {
    for event_index in [false, true] {
        let (device, mut ring) = ring(event_index);
        offer(&mut ring, 5);
        assert_eq!(serve(&device, event_index), 0);
        assert!(ring.flush());
        assert_eq!(device.lock().queues[0].doorbells, 1);
        assert_eq!(serve(&device, event_index), 5);
        assert!(!ring.flush(), "nothing new, nothing to ring for");
    }
}

#[test]
fn what_the_device_used_comes_back_in_its_order() {
    let (device, mut ring) = ring(true);
    offer(&mut ring, 3);
    ring.flush();
    for id in [2, 0, 1] {
        device.lock().queues[0].push(id, 10 + id);
    }
    for id in [2, 0, 1] {
        assert_eq!(ring.next_used(), Some(UsedElement { id, len: 10 + id }));
    }
    assert_eq!(ring.next_used(), None);
    assert_eq!(ring.outstanding(), 0);
}

#[test]
fn a_device_that_wants_no_doorbell_hears_none() {
    let (device, mut ring) = ring(false);
    device.lock().queues[0].set_quiet(true);
    offer(&mut ring, 1);
    assert!(!ring.flush());
    device.lock().queues[0].set_quiet(false);
    offer(&mut ring, 1);
    assert!(ring.flush());
}

#[test]
fn the_event_test_is_right_at_every_wrap() {
    for old in [0u16, 1, 32767, 32768, 65530, 65535] {
        for step in 0..=300u16 {
            let new = old.wrapping_add(step);
            for event in (0..300u16).map(|offset| old.wrapping_add(offset)) {
                let expected = (0..step).any(|n| old.wrapping_add(n) == event);
                assert_eq!(passes(event, new, old), expected, "old {old}, new {new}, event {event}");
            }
        }
    }
}

#[test]
fn a_hundred_thousand_chains_wrap_all_indexes_and_ring_each_time_they_must() {
    for event_index in [false, true] {
        let (device, mut ring) = ring(event_index);
        let (mut sent, mut rung) = (0usize, 0usize);
        for burst in (1..=LEN).cycle().take(25_000) {
            offer(&mut ring, burst);
            assert!(ring.flush(), "the device sleeps: it must be told");
            rung += 1;
            assert_eq!(serve(&device, event_index), usize::from(burst));
            for _ in 0..burst {
                assert!(ring.next_used().is_some());
            }
            sent += usize::from(burst);
        }
        assert!(sent > 100_000);
        assert_eq!(device.lock().queues[0].doorbells, rung);
    }
}

#[test]
fn an_armed_ring_interrupts_once_and_a_disarmed_one_does_not() {
    for event_index in [false, true] {
        let (device, mut ring) = ring(event_index);
        ring.disarm();
        offer(&mut ring, 2);
        ring.flush();
        serve(&device, event_index);
        assert_eq!(device.lock().queues[0].interrupts, 0);
        assert!(ring.arm(1), "there is work: do not sleep");
        while ring.next_used().is_some() {}
        offer(&mut ring, 1);
        ring.flush();
        assert!(!ring.arm(1), "all is quiet: sleep");
        serve(&device, event_index);
        assert_eq!(device.lock().queues[0].interrupts, 1);
        ring.disarm();
        while ring.next_used().is_some() {}
        offer(&mut ring, 1);
        ring.flush();
        serve(&device, event_index);
        assert_eq!(device.lock().queues[0].interrupts, 1);
    }
}

#[test]
fn a_delayed_wish_waits_for_so_many_chains() {
    let (device, mut ring) = ring(true);
    offer(&mut ring, 4);
    ring.flush();
    assert!(!ring.arm(3));
    for (id, interrupts) in [(0, 0), (1, 0), (2, 1), (3, 1)] {
        let queue = &mut device.lock().queues[0];
        queue.push(id, 0);
        queue.notify(true);
        assert_eq!(queue.interrupts, interrupts, "after chain {id}");
    }
    assert!(ring.arm(3), "four are used by now");
}

#[test]
fn a_used_index_beyond_what_is_outstanding_is_a_lie() {
    let (device, mut ring) = ring(true);
    offer(&mut ring, 2);
    ring.flush();
    device.lock().queues[0].set_used_index(3);
    assert_eq!(ring.next_used(), None);
    let lie = Some(DeviceError::UsedIndexJumped { by: 3, outstanding: 2 });
    assert_eq!(ring.lie(), lie);
    device.lock().queues[0].set_used_index(0xffff);
    assert_eq!((ring.next_used(), ring.lie()), (None, lie), "the first lie is kept");
    ring.restart();
    assert_eq!(ring.lie(), None);
}

#[test]
fn a_length_that_is_no_power_of_two_is_refused() {
    let device = FakeDevice::entropy();
    let mut transport = device.transport(DeviceType::Entropy, 0);
    for len in [0, 3, 255] {
        let doorbell = transport.doorbell(0).expect("in range");
        let error = SplitRing::new(&FakeMachine, len, doorbell, false).expect_err("impossible");
        assert_eq!(error, DeviceError::QueueLenInvalid(len));
    }
}
