//! Page tables built in the test's own memory and walked as the processor would.

use super::*;
use std::alloc::{Layout, alloc_zeroed};

fn page() -> Option<NonNull<Table>> {
    // SAFETY: a layout of one page. The page is leaked, as tables are never freed.
    NonNull::new(unsafe { alloc_zeroed(Layout::new::<[u8; 4096]>().align_to(4096).unwrap()) }.cast())
}

fn tables(gigabyte_pages: bool) -> PageTables {
    // SAFETY: a fresh zeroed page for this tree alone; user memory lies below 2^47, as entries need.
    unsafe { PageTables::new(page().unwrap(), gigabyte_pages) }
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

#[test]
fn every_address_maps_to_itself_with_its_access() {
    for gigabyte_pages in [false, true] {
        let mut tables = tables(gigabyte_pages);
        tables.map(Range { start: 0x1000, end: 3 * GIB + 0x3000 }, Access::WRITE, &mut page).unwrap();
        for at in [0x1000, 0x1fff, 2 * MIB, GIB + 12345, 3 * GIB, 3 * GIB + 0x2fff] {
            assert_eq!(tables.lookup(at), Some((at, Access::WRITE)));
        }
        for at in [0, 0xfff, 3 * GIB + 0x3000, 1 << 45] {
            assert_eq!(tables.lookup(at), None);
        }
    }
}

#[test]
fn text_within_data_gets_its_own_access() {
    let mut tables = tables(true);
    tables.map(Range { start: 0, end: 2 * GIB }, Access::WRITE, &mut page).unwrap();
    tables.map(Range { start: 2 * MIB, end: 4 * MIB }, Access::EXECUTE, &mut page).unwrap();
    assert_eq!(tables.lookup(2 * MIB + 5), Some((2 * MIB + 5, Access::EXECUTE)));
    assert_eq!(tables.lookup(4 * MIB), Some((4 * MIB, Access::WRITE)));
    assert_eq!(tables.lookup(2 * MIB - 1), Some((2 * MIB - 1, Access::WRITE)));
    assert_eq!(tables.lookup(GIB + 1), Some((GIB + 1, Access::WRITE)));
}

#[test]
fn a_guard_page_is_a_hole_of_one_page() {
    for gigabyte_pages in [false, true] {
        let mut tables = tables(gigabyte_pages);
        tables.map(Range { start: 0, end: GIB }, Access::WRITE, &mut page).unwrap();
        tables.unmap_page(5 * MIB, &mut page).unwrap();
        tables.unmap_page(0, &mut page).unwrap();
        assert_eq!(tables.lookup(5 * MIB), None);
        assert_eq!(tables.lookup(5 * MIB + 4095), None);
        for at in [5 * MIB - 1, 5 * MIB + 4096, 6 * MIB, 512 * MIB, 0x1000] {
            assert_eq!(tables.lookup(at), Some((at, Access::WRITE)));
        }
    }
}

#[test]
fn access_bits_are_what_the_processor_wants() {
    assert_eq!(Access::EXECUTE.0 & (WRITABLE | NO_EXECUTE), 0);
    for access in [Access::READ, Access::WRITE, Access::DEVICE] {
        assert_ne!(access.0 & NO_EXECUTE, 0);
    }
    assert_eq!(Access::READ.0 & WRITABLE, 0);
    assert_eq!(Access::DEVICE.0 & (UNCACHED | WRITE_THROUGH), UNCACHED | WRITE_THROUGH);
}

#[test]
fn running_out_of_tables_is_an_error() {
    let mut tables = tables(false);
    let mut left = 2;
    let mut few = || {
        left -= 1;
        if left < 0 { None } else { page() }
    };
    assert_eq!(tables.map(Range { start: 0x1000, end: 0x2000 }, Access::WRITE, &mut few), Err(OutOfTables));
}
