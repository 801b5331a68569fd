//! Buffers go out, are shared, chained and split, and all come home.

use alloc::vec::Vec;
use core::ops::Range;
use std::thread;

use crate::handoff::{Foreign, ring};
use crate::{BUFFER_BYTES, Chunk, HEADROOM_BYTES, Hold, Pool, PoolError, RangeError};

extern crate std;

fn pool(buffers: usize) -> Pool {
    Pool::with_capacity(buffers).expect("the host has memory")
}

#[test]
fn a_pool_gives_what_it_has_and_counts_what_it_refuses() {
    let pool = pool(3);
    let out: Vec<_> = (0..3).map(|_| pool.allocate().expect("free buffer")).collect();
    assert_eq!((pool.free(), pool.in_use()), (0, 3));
    assert!(pool.allocate().is_none());
    assert_eq!(pool.allocation_failures(), 1);
    drop(out);
    assert_eq!((pool.free(), pool.in_use()), (3, 0));
}

#[test]
fn memory_too_small_or_misaligned_is_refused() {
    static mut MEMORY: [u8; 64] = [0; 64];
    // SAFETY: only this test uses the array, once.
    let memory: &'static mut [u8] = unsafe { &mut *core::ptr::addr_of_mut!(MEMORY) };
    let error = Pool::new(memory).expect_err("64 bytes hold no buffer");
    assert!(matches!(error, PoolError::TooSmall | PoolError::Misaligned));
}

#[test]
fn a_buffer_outlives_the_last_handle_of_its_pool() {
    let mut packet = pool(1).allocate().expect("free buffer");
    packet.extend_from_slice(b"still here").expect("fits");
    assert_eq!(&*packet, b"still here");
}

#[test]
fn headers_go_in_front_and_come_off_again() {
    let pool = pool(1);
    let mut packet = pool.allocate().expect("free buffer");
    packet.extend_from_slice(b"payload").expect("fits");
    packet.prepend(4).expect("headroom").copy_from_slice(b"head");
    assert_eq!(&*packet, b"headpayload");
    assert_eq!(packet.headroom(), HEADROOM_BYTES - 4);
    packet.trim_front(4).expect("within");
    packet.truncate(3);
    assert_eq!(&*packet, b"pay");
}

#[test]
fn ranges_beyond_the_buffer_are_errors_and_change_nothing() {
    let pool = pool(1);
    let mut packet = pool.allocate().expect("free buffer");
    assert_eq!(packet.prepend(HEADROOM_BYTES + 1).err(), Some(RangeError));
    assert_eq!(packet.extend(BUFFER_BYTES - HEADROOM_BYTES + 1).err(), Some(RangeError));
    assert_eq!(packet.trim_front(1).err(), Some(RangeError));
    assert_eq!(packet.narrow(0..1).err(), Some(RangeError));
    assert!(packet.is_empty());
    assert_eq!(packet.extend(packet.tailroom()).map(|room| room.len()), Ok(BUFFER_BYTES - HEADROOM_BYTES));
}

#[test]
fn a_packet_is_narrowed_to_what_it_has() {
    let pool = pool(1);
    let mut packet = pool.allocate().expect("free buffer");
    packet.extend_from_slice(b"headpayloadpad").expect("fits");
    assert_eq!(packet.narrow(4..15).err(), Some(RangeError));
    assert_eq!(packet.narrow(Range { start: 5, end: 4 }).err(), Some(RangeError));
    assert_eq!(&*packet, b"headpayloadpad", "nothing has changed");
    packet.narrow(4..11).expect("within");
    assert_eq!((&*packet, packet.headroom()), (&b"payload"[..], HEADROOM_BYTES + 4));
    packet.prepend(4).expect("headroom");
    assert_eq!(&*packet, b"headpayload", "what was cut off in front is still there");
    packet.narrow(0..0).expect("within");
    assert!(packet.is_empty());
}

#[test]
fn a_frame_over_several_buffers_is_one_chain() {
    let pool = pool(4);
    let mut frame = pool.allocate().expect("free buffer");
    frame.extend_from_slice(b"one").expect("fits");
    for part in [b"two", b"six"] {
        let mut next = pool.allocate().expect("free buffer");
        next.extend_from_slice(part).expect("fits");
        frame.append(next);
    }
    assert_eq!(frame.frame_len(), 9);
    assert_eq!(frame.parts().collect::<Vec<_>>(), [b"one", b"two", b"six"]);
    let mut rest = frame.take_rest().expect("two more");
    assert_eq!((&*rest, rest.frame_len()), (&b"two"[..], 6));
    rest.append(pool.allocate().expect("free buffer"));
    assert_eq!(pool.in_use(), 4);
    drop(rest);
    assert_eq!(pool.in_use(), 1);
    assert!(!frame.is_chain());
}

#[test]
fn chunks_share_one_buffer_until_the_last_is_gone() {
    let pool = pool(1);
    let mut packet = pool.allocate().expect("free buffer");
    packet.extend_from_slice(b"hello world").expect("fits");
    let mut tail = packet.freeze();
    let head = tail.split_to(5);
    tail.advance(1);
    assert_eq!((&*head, &*tail), (&b"hello"[..], &b"world"[..]));
    drop(tail);
    assert_eq!(pool.in_use(), 1);
    drop(head);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn static_bytes_are_chunks_without_a_buffer() {
    let mut chunk = Chunk::from_static(b"page");
    let front = chunk.split_to(100);
    assert_eq!((&*front, chunk.len(), chunk.is_pooled()), (&b"page"[..], 0, false));
}

#[test]
fn a_ring_keeps_order_between_two_threads_and_refuses_when_full() {
    let (mut sender, mut receiver) = ring::<u32>(4);
    for value in 0..4 {
        assert_eq!(sender.send(value), Ok(()));
    }
    assert_eq!(sender.send(4), Err(4));
    let writer = thread::spawn(move || {
        for value in 4..20_000 {
            let mut value = value;
            while let Err(back) = sender.send(value) {
                value = back;
                thread::yield_now();
            }
        }
    });
    let mut expected = 0;
    while expected < 20_000 {
        match receiver.receive() {
            Some(value) => {
                assert_eq!(value, expected);
                expected += 1;
            }
            None => thread::yield_now(),
        }
    }
    writer.join().expect("the writer ends");
    assert!(receiver.is_empty());
}

#[test]
fn what_is_left_in_a_ring_is_dropped_with_it() {
    let value = alloc::sync::Arc::new(());
    let (mut sender, receiver) = ring(2);
    assert!(sender.send(alloc::sync::Arc::clone(&value)).is_ok());
    drop((sender, receiver));
    assert_eq!(alloc::sync::Arc::strong_count(&value), 1);
}

#[test]
fn a_packet_is_read_on_another_core_and_freed_at_home() {
    let home = pool(2);
    let mut packet = home.allocate().expect("free buffer");
    packet.extend_from_slice(b"misdirected").expect("fits");
    let away = Foreign::new(packet);
    let back = thread::spawn(move || {
        assert_eq!(away.bytes(), b"misdirected");
        let elsewhere = pool(1);
        elsewhere.welcome(away).expect_err("not a buffer of this pool")
    });
    let back = back.join().expect("the other core ends");
    assert_eq!(home.in_use(), 1);
    drop(home.welcome(back).expect("home again"));
    assert_eq!(home.in_use(), 0);
}

#[test]
fn a_copy_of_a_long_foreign_frame_has_the_same_bytes_and_its_headers_in_front() {
    let [home, away] = [8, 8].map(|buffers| Pool::with_capacity(buffers).expect("memory"));
    let text: Vec<u8> = (0..6000_u32).map(|n| (n * 7) as u8).collect();
    // As a device fills them: each buffer to its end.
    let mut parts = text.chunks(BUFFER_BYTES).map(|part| {
        let mut packet = home.allocate_whole().expect("a buffer");
        packet.truncate(part.len());
        packet.copy_from_slice(part);
        packet
    });
    let mut frame = parts.next().expect("some");
    parts.for_each(|part| frame.append(part));
    let foreign = Foreign::new(frame);
    let copy = foreign.copy_into(&away).expect("buffers");
    assert_eq!(copy.parts().flatten().copied().collect::<Vec<u8>>(), text);
    assert!(copy.len() > 1800 && copy.buffers() == 4, "each buffer is filled");
    drop(home.welcome(foreign).expect("ours"));
    let taken = Vec::from_iter(core::iter::from_fn(|| away.allocate()));
    assert_eq!(taken.len(), 4);
    drop(copy);
    drop(taken);
    assert_eq!((home.in_use(), away.in_use()), (0, 0));
}

#[test]
fn a_copy_for_which_there_are_too_few_buffers_is_none_and_costs_none() {
    let [home, away] = [8, 2].map(|buffers| Pool::with_capacity(buffers).expect("memory"));
    let frame = [1800; 4].map(|len| {
        let mut packet = home.allocate().expect("a buffer");
        packet.extend(len).expect("room");
        packet
    });
    let frame = frame.into_iter().reduce(|mut first, next| {
        first.append(next);
        first
    });
    let foreign = Foreign::new(frame.expect("some"));
    assert!(foreign.copy_into(&away).is_none());
    assert_eq!(away.in_use(), 0);
    drop(home.welcome(foreign).expect("ours"));
}

#[test]
fn a_header_goes_in_front_as_an_array_and_not_before_the_buffer() {
    let pool = pool(1);
    let mut packet = pool.allocate().expect("a buffer");
    packet.extend_from_slice(b"data").expect("fits");
    packet.prepend_array(*b"head").expect("headroom");
    assert_eq!(&*packet, b"headdata");
    assert_eq!(packet.prepend_array([0; HEADROOM_BYTES - 3]), Err(RangeError));
    packet.prepend_array([7; HEADROOM_BYTES - 4]).expect("just enough");
    assert_eq!((packet.headroom(), packet.len()), (0, HEADROOM_BYTES + 4));
}

#[test]
fn what_a_device_wrote_is_a_range_of_the_buffer() {
    let pool = pool(1);
    let mut packet = pool.allocate_whole().expect("a buffer");
    packet[..8].copy_from_slice(b"headdata");
    packet.set_range(4..8).expect("within the buffer");
    assert_eq!((&*packet, packet.buffer()[..4].as_ref()), (&b"data"[..], &b"head"[..]));
    for bad in [Range { start: 5, end: 4 }, 0..BUFFER_BYTES + 1] {
        assert_eq!(packet.set_range(bad), Err(RangeError));
    }
    assert_eq!(&*packet, b"data");
    packet.set_range(12..12).expect("empty, and at its end");
    assert!(packet.is_empty());
}

#[test]
fn a_hold_keeps_the_buffer_and_nothing_else() {
    let pool = pool(1);
    let chunk = pool.allocate().expect("a buffer").freeze();
    let hold = chunk.clone().into_hold();
    drop(chunk);
    assert_eq!(pool.free(), 0);
    drop(hold);
    assert_eq!(pool.free(), 1);
    drop((Hold::default(), Chunk::from_static(b"page").into_hold()));
    assert_eq!(pool.free(), 1);
}
