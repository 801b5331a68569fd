//! A core's heap: what is given, what comes back, and from whom.

use super::*;
use core::ptr::NonNull;
use std::alloc::{alloc, dealloc};
use std::thread;
use std::vec::Vec;

const HOME: CoreId = CoreId(3);

fn fresh(bytes: u64) -> Option<Range> {
    let layout = Layout::from_size_align(bytes as usize, CHUNK as usize).unwrap();
    // SAFETY: a layout that is not empty; the memory is leaked, as a heap keeps it for ever.
    let start = unsafe { alloc(layout) } as u64;
    (start != 0).then_some(Range { start, end: start + bytes })
}

fn take(heap: &CoreHeap, size: usize) -> Option<NonNull<u8>> {
    // SAFETY: the test's thread is the owner; `fresh` gives memory for ever.
    NonNull::new(unsafe { heap.allocate(layout(size), fresh) })
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).unwrap()
}

#[test]
fn what_is_freed_is_used_again() {
    let heap = CoreHeap::new(HOME);
    for _ in 0..1000 {
        let blocks: Vec<_> = (0..10).map(|_| take(&heap, 10_000).unwrap()).collect();
        for block in blocks {
            // SAFETY: just taken from this heap with this layout.
            unsafe { heap.free(block, layout(10_000)) };
        }
    }
    assert_eq!(heap.usage(), HeapUsage { used_bytes: 0, total_bytes: CHUNK, foreign_frees: 0 });
}

#[test]
fn a_request_above_the_chunk_grows_the_heap_to_fit() {
    let heap = CoreHeap::new(HOME);
    let block = take(&heap, 5 << 20).unwrap();
    // SAFETY: the block is that long and ours.
    unsafe { block.as_ptr().write_bytes(0xaa, 5 << 20) };
    assert_eq!(heap.usage().total_bytes, 6 << 20);
}

#[test]
fn a_heap_that_cannot_grow_much_grows_a_little() {
    let heap = CoreHeap::new(HOME);
    take(&heap, 900_000).unwrap();
    let scarce = |bytes| if bytes > CHUNK { None } else { fresh(bytes) };
    // SAFETY: as in `take`.
    assert!(!unsafe { heap.allocate(layout(900_000), scarce) }.is_null());
    // SAFETY: as in `take`.
    assert!(unsafe { heap.allocate(layout(2_000_000), scarce) }.is_null());
    assert_eq!(heap.usage().total_bytes, 2 * CHUNK);
}

#[test]
fn blocks_freed_elsewhere_come_home_with_the_next_request() {
    let heap = CoreHeap::new(HOME);
    let sizes = [1usize, 8, 16, 24, 100, 4096, 70_000];
    let blocks: Vec<_> = sizes.iter().map(|size| (take(&heap, *size).unwrap().as_ptr() as usize, *size)).collect();
    thread::scope(|scope| {
        for (block, size) in &blocks {
            // SAFETY: each block came from this heap with this layout, and its one user gives it up here.
            scope.spawn(|| unsafe { heap.send_home(NonNull::new(*block as *mut u8).unwrap(), layout(*size)) });
        }
    });
    assert_eq!(heap.usage().foreign_frees, sizes.len() as u64);
    assert_eq!(heap.usage().used_bytes, sizes.iter().sum::<usize>() as u64);
    let block = take(&heap, 8).unwrap();
    assert_eq!(heap.usage().used_bytes, 8);
    // SAFETY: just taken from this heap with this layout.
    unsafe { heap.free(block, layout(8)) };
    assert_eq!(heap.usage().used_bytes, 0);
}

#[test]
fn every_chunk_knows_its_core() {
    let bytes = Owners::bytes_for(10 * CHUNK + 1);
    let zeroed = Layout::from_size_align(bytes, 64).unwrap();
    // SAFETY: a layout that is not empty; freed below.
    let start = NonNull::new(unsafe { std::alloc::alloc_zeroed(zeroed) }).unwrap();
    // SAFETY: fresh, zeroed, and used by nothing else until it is freed, after the last use of `owners`.
    let owners = Owners::new(unsafe { weir_hal::DmaRegion::new(start, weir_hal::DmaAddr(0), bytes) });
    owners.claim(Range { start: 2 * CHUNK, end: 4 * CHUNK }, HOME);
    let owner = |at: u64| owners.owner(NonNull::new(at as *mut u8).unwrap());
    assert_eq!(owner(2 * CHUNK), Some(HOME));
    assert_eq!(owner(4 * CHUNK - 1), Some(HOME));
    assert_eq!(owner(4 * CHUNK), Some(CoreId::BOOT));
    assert_eq!(owner(100 * CHUNK), None);
    // SAFETY: allocated above with this layout.
    unsafe { dealloc(start.as_ptr(), zeroed) };
}
