//! The network driver against a device that does anything in any order, lies included.

use weir_drivers::{Played, play};

use crate::features::Features;

/// Each byte is a choice of the device or of the driver's user.
pub fn run(data: &[u8]) -> Features {
    let mut features = Features::default();
    let Played { counters, lies } = play(data);
    let mut number = 0;
    counters.for_each(|_, count| {
        number += 1;
        features.add_count(number, count);
    });
    features.add_count(0, lies as u64);
    features
}
