//! Names for requests: 32 hexadecimal digits that no other request of this image or another has, as far as chance goes.

/// Makes them on one core.
pub(crate) struct RequestIds {
    start: u64,
    count: u64,
}

impl RequestIds {
    pub(crate) fn new(seed: u64, core: usize) -> Self {
        Self { start: seed.rotate_left(17) ^ (core as u64) << 48, count: seed }
    }

    pub(crate) fn next(&mut self) -> [u8; 32] {
        self.count = self.count.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let words = [self.start.wrapping_add(self.count), self.count].map(crate::upstream::mix);
        let mut text = [0; 32];
        let nibbles = words.iter().flat_map(|word| (0..16).rev().map(move |n| (word >> (4 * n)) as u8 & 15));
        text.iter_mut().zip(nibbles).for_each(|(digit, nibble)| *digit = b"0123456789abcdef"[usize::from(nibble)]);
        text
    }
}
