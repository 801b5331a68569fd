//! What a device may claim and what the handles refuse.

extern crate std;

use core::ptr::NonNull;
use std::boxed::Box;

use crate::{DmaAddr, DmaRegion, Mmio, PciFunction};

fn registers() -> Mmio {
    let words: &'static mut [u64; 4] = Box::leak(Box::new([0; 4]));
    // SAFETY: leaked, so mapped for ever, and nothing else refers to it.
    unsafe { Mmio::new(NonNull::from(words).cast(), 32) }
}

#[test]
fn a_register_holds_what_was_written_in_its_width() {
    let mmio = registers();
    mmio.write::<u32>(4, 0x1122_3344);
    assert_eq!(mmio.read::<u16>(4), 0x3344);
    assert_eq!(mmio.read::<u8>(7), 0x11);
    assert_eq!(mmio.read::<u64>(0), 0x1122_3344_0000_0000);
}

#[test]
fn a_part_beyond_the_end_is_refused() {
    let mmio = registers();
    assert!(mmio.sub(16, 16).is_some());
    assert!(mmio.sub(16, 17).is_none());
    assert!(mmio.sub(usize::MAX, 2).is_none());
    assert!(mmio.sub(32, 0).is_some());
}

#[test]
fn a_misaligned_or_outside_register_is_refused() {
    let mmio = registers();
    assert!(mmio.register::<u32>(2).is_none());
    assert!(mmio.register::<u32>(28).is_some());
    assert!(mmio.register::<u32>(32).is_none());
    assert!(mmio.register::<u64>(28).is_none());
}

#[test]
fn a_region_splits_into_two_that_meet() {
    let bytes: &'static mut [u8; 64] = Box::leak(Box::new([0; 64]));
    // SAFETY: leaked and owned by this region alone.
    let region = unsafe { DmaRegion::new(NonNull::from(bytes).cast(), DmaAddr(0x1000), 64) };
    let region = region.split_at(65).expect_err("longer than the region");
    let (head, tail) = region.split_at(24).expect("shorter than the region");
    assert_eq!((head.len(), tail.len()), (24, 40));
    assert_eq!(tail.dma_addr(), DmaAddr(0x1018));
    assert_eq!(tail.as_ptr() as usize - head.as_ptr() as usize, 24);
}

#[test]
fn a_function_is_named_as_lspci_names_it() {
    let function = PciFunction { bus: 0, device: 0x1f, function: 3 };
    assert_eq!(std::format!("{function}"), "00:1f.3");
}
