//! The rings under `loom`: every order of two cores' steps, and every value that each may still see.

extern crate std;

use alloc::boxed::Box;

use loom::model;
use loom::thread;

use crate::handoff::ring;

/// Takes `count` elements, in order, however long they take.
fn take(receiver: &mut crate::handoff::Receiver<Box<u32>>, count: u32) {
    for expected in 0..count {
        let value = loop {
            match receiver.receive() {
                Some(value) => break value,
                None => thread::yield_now(),
            }
        };
        assert_eq!(*value, expected);
    }
}

#[test]
fn a_ring_that_wraps_gives_every_element_once_and_in_order() {
    model(|| {
        let (mut sender, mut receiver) = ring(2);
        let other = thread::spawn(move || {
            for n in 0..3 {
                let mut element = Box::new(n);
                while let Err(refused) = sender.send(element) {
                    element = refused;
                    thread::yield_now();
                }
            }
        });
        take(&mut receiver, 3);
        assert!(receiver.is_empty());
        other.join().expect("no panic");
    });
}

#[test]
fn what_was_not_received_is_dropped_with_the_ring_whoever_lets_go_last() {
    model(|| {
        let (mut sender, mut receiver) = ring(4);
        let other = thread::spawn(move || {
            for n in 0..3 {
                sender.send(Box::new(n)).expect("room");
            }
        });
        if let Some(first) = receiver.receive() {
            assert_eq!(*first, 0);
        }
        drop(receiver);
        other.join().expect("no panic");
    });
}

#[test]
fn a_buffer_that_goes_there_and_back_is_one_cores_at_a_time() {
    model(|| {
        let (mut there, mut arrivals) = ring::<Box<loom::cell::UnsafeCell<u32>>>(1);
        let (mut back, mut returns) = ring(1);
        there.send(Box::new(loom::cell::UnsafeCell::new(1))).expect("room");
        let other = thread::spawn(move || {
            let buffer = loop {
                match arrivals.receive() {
                    Some(buffer) => break buffer,
                    None => thread::yield_now(),
                }
            };
            // SAFETY: whoever took the buffer from a ring is its only holder; loom fails the test if not.
            assert_eq!(buffer.with(|value| unsafe { *value }), 1);
            back.send(buffer).expect("room");
        });
        let buffer = loop {
            match returns.receive() {
                Some(buffer) => break buffer,
                None => thread::yield_now(),
            }
        };
        // SAFETY: as above.
        buffer.with_mut(|value| unsafe { *value += 1 });
        other.join().expect("no panic");
    });
}
