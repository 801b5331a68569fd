//! Every length around every boundary of the code, against the obvious way.

use super::*;
use std::vec::Vec;

const LENGTHS: [usize; 12] = [200, 255, 256, 257, 300, 511, 512, 513, 1000, 1460, 4096, 5000];

fn lengths() -> impl Iterator<Item = usize> {
    (0..=196).chain(LENGTHS)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 31 + index / 251) as u8).collect()
}

#[test]
fn copies_all_bytes_and_no_others() {
    for len in lengths() {
        for shift in [0, 1, 7] {
            let from = pattern(len + shift);
            let mut to = std::vec![0xee; len + 32];
            // SAFETY: both buffers are long enough and do not overlap.
            let returned = unsafe { copy(to.as_mut_ptr().add(16), from.as_ptr().add(shift), len) };
            assert_eq!(returned, to.as_mut_ptr().wrapping_add(16));
            assert_eq!(to[16..16 + len], from[shift..], "length {len}");
            assert!(to[..16].iter().chain(&to[16 + len..]).all(|byte| *byte == 0xee), "length {len}");
        }
    }
}

#[test]
fn overlapping_ranges_move_both_ways() {
    for len in lengths() {
        for distance in [0usize, 1, 3, 8, 16, 17, 31, 63, 64, 65, 100, 127, 200] {
            for forward in [true, false] {
                let mut bytes = pattern(len + distance);
                let (from, to) = if forward { (distance, 0) } else { (0, distance) };
                let expected = bytes[from..from + len].to_vec();
                // SAFETY: both ranges lie inside the buffer.
                unsafe { copy_overlapping(bytes.as_mut_ptr().add(to), bytes.as_ptr().add(from), len) };
                assert_eq!(bytes[to..to + len], expected, "length {len}, {from} to {to}");
            }
        }
    }
}

#[test]
fn sets_all_bytes_and_no_others() {
    for len in lengths() {
        let mut bytes = std::vec![0x11; len + 32];
        // SAFETY: the range lies inside the buffer.
        let returned = unsafe { set(bytes.as_mut_ptr().add(16), 0x1a5, len) };
        assert_eq!(returned, bytes.as_mut_ptr().wrapping_add(16));
        assert!(bytes[16..16 + len].iter().all(|byte| *byte == 0xa5), "length {len}");
        assert!(bytes[..16].iter().chain(&bytes[16 + len..]).all(|byte| *byte == 0x11), "length {len}");
    }
}

#[test]
fn the_first_difference_decides() {
    for len in lengths() {
        let left = pattern(len);
        // SAFETY: both buffers have this length.
        assert_eq!(unsafe { compare(left.as_ptr(), left.clone().as_ptr(), len) }, 0, "length {len}");
        for at in (0..len).filter(|at| *at < 40 || len - at < 40) {
            for (here, there) in [(0x00, 0x01), (0x7f, 0x80), (0xff, 0x00), (0x80, 0x7f)] {
                let (mut left, mut right) = (left.clone(), left.clone());
                (left[at], right[at]) = (here, there);
                right[at + 1..].iter_mut().for_each(|byte| *byte = !*byte);
                // SAFETY: both buffers have this length.
                let (order, differs) = unsafe {
                    (compare(left.as_ptr(), right.as_ptr(), len), differ(left.as_ptr(), right.as_ptr(), len))
                };
                assert_eq!(order.signum(), i32::from(here > there) - i32::from(here < there), "length {len} at {at}");
                assert_ne!(differs, 0);
            }
        }
    }
}

#[test]
fn a_string_ends_at_its_nul() {
    for len in [0, 1, 2, 15, 16, 17, 100] {
        let mut text = std::vec![b'x'; len];
        text.extend(b"\0y\0");
        // SAFETY: the buffer has a NUL.
        assert_eq!(unsafe { string_length(text.as_ptr()) }, len);
    }
}
