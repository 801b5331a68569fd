//! Seeded plays of a device that does anything in any order.

use std::vec::Vec;

use crate::fake::play::play;

const SEEDS: u64 = 300;
/// Choices of one play: about 400 steps.
const CHOICES: usize = 1_200;

/// The bytes of xorshift64*.
fn script(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bytes = core::iter::repeat_with(|| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8
    });
    bytes.take(CHOICES).collect()
}

#[test]
fn whatever_the_device_does_the_driver_survives_and_the_buffers_come_home() {
    let played = (1..=SEEDS).map(|seed| play(&script(seed)));
    let (faults, lies) =
        played.fold((0, 0), |(faults, lies), played| (faults + played.counters.ring_errors, lies + played.lies as u64));
    assert!(faults > SEEDS / 4 && lies >= faults, "the lies must be noticed: {faults} of {lies}");
}
