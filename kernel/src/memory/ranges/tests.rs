//! Free lists that are never wrong, even when they are full.

use super::*;
use std::vec::Vec;

fn set(ranges: &[(u64, u64)]) -> RangeSet {
    let mut set = RangeSet::new();
    for (start, end) in ranges {
        set.insert(Range { start: *start, end: *end });
    }
    set
}

fn pairs(set: &RangeSet) -> Vec<(u64, u64)> {
    set.as_slice().iter().map(|range| (range.start, range.end)).collect()
}

#[test]
fn ranges_that_touch_or_overlap_become_one() {
    assert_eq!(pairs(&set(&[(10, 20), (40, 50), (20, 40)])), [(10, 50)]);
    assert_eq!(pairs(&set(&[(40, 50), (10, 20), (0, 100)])), [(0, 100)]);
    assert_eq!(pairs(&set(&[(40, 50), (10, 20), (15, 30), (60, 60)])), [(10, 30), (40, 50)]);
}

#[test]
fn removing_cuts_splits_and_swallows() {
    let mut set = set(&[(10, 20), (30, 40), (50, 60)]);
    set.remove(Range { start: 15, end: 35 });
    assert_eq!(pairs(&set), [(10, 15), (35, 40), (50, 60)]);
    set.remove(Range { start: 52, end: 54 });
    assert_eq!(pairs(&set), [(10, 15), (35, 40), (50, 52), (54, 60)]);
    set.remove(Range { start: 0, end: 100 });
    assert_eq!(pairs(&set), []);
}

#[test]
fn allocation_is_aligned_lowest_and_disjoint() {
    let mut set = set(&[(0x1800, 0x4000), (0x10_0000, 0x40_0000)]);
    assert_eq!(set.allocate(0x1000, 0x1000), Some(Range { start: 0x2000, end: 0x3000 }));
    assert_eq!(set.allocate(0x20_0000, 0x20_0000), Some(Range { start: 0x20_0000, end: 0x40_0000 }));
    assert_eq!(set.allocate(0x20_0000, 0x20_0000), None);
    assert_eq!(set.allocate_below(0x1000, 0x1000, 0x3fff), None);
    assert_eq!(pairs(&set), [(0x1800, 0x2000), (0x3000, 0x4000), (0x10_0000, 0x20_0000)]);
}

#[test]
fn absurd_requests_are_refused() {
    let mut set = set(&[(0x1000, u64::MAX)]);
    assert_eq!(set.allocate(0, 1), None);
    assert_eq!(set.allocate(1, 3), None);
    assert_eq!(set.allocate(u64::MAX, 1), None);
    assert_eq!(set.allocate(1, 1 << 63).map(|range| range.start), Some(1 << 63));
}

#[test]
fn units_do_not_wrap_at_the_ends_of_the_address_space() {
    let top = Range { start: u64::MAX - 100, end: u64::MAX };
    assert!(top.shrink_to(4096).is_empty());
    assert_eq!(top.grow_to(4096), Range { start: u64::MAX - 4095, end: u64::MAX });
    assert_eq!(Range::of(u64::MAX - 1, 100).len(), 1);
}

/// A full set may lose memory, never invent it.
#[test]
fn a_full_set_only_loses() {
    let mut set = RangeSet::new();
    for index in 0..2 * RANGES_MAX as u64 {
        set.insert(Range { start: index * 10, end: index * 10 + 5 });
    }
    assert_eq!(set.as_slice().len(), RANGES_MAX);
    assert_eq!(set.total() + set.lost_bytes(), 2 * RANGES_MAX as u64 * 5);
    set.remove(Range { start: 2, end: 3 });
    assert_eq!(set.as_slice().len(), RANGES_MAX);
    assert!(set.as_slice().windows(2).all(|pair| pair[0].end < pair[1].start));
    assert!(!set.as_slice().iter().any(|range| range.contains(2)));
}

/// The set against a plain array of bits, over a fixed pseudo-random script.
#[test]
fn a_long_script_agrees_with_an_array_of_bits() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = |limit: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % limit
    };
    let mut set = RangeSet::new();
    let mut bits = [false; 400];
    for _ in 0..5000 {
        let start = next(380);
        let range = Range { start, end: start + next(20) };
        let present = next(2) == 0;
        if present {
            set.insert(range)
        } else {
            set.remove(range)
        }
        bits[range.start as usize..range.end as usize].fill(present);
        let agrees =
            |address: u64| set.as_slice().iter().any(|range| range.contains(address)) == bits[address as usize];
        assert!((0..400).all(agrees));
        assert!(set.as_slice().windows(2).all(|pair| pair[0].end < pair[1].start));
    }
}
