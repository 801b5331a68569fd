//! Inputs from other inputs.

use crate::INPUT_BYTES_MAX;

/// Numbers at which things change.
const EDGES: &[u32] = &[
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x3ff,
    0x5b4,
    0x7fff,
    0x8000,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
];

/// Mutations of one input, at most.
const STEPS_MAX: u32 = 6;

/// Longest run of bytes that is inserted, removed or copied.
const RUN_BYTES_MAX: usize = 64;

/// Makes inputs; the same seed makes the same.
#[derive(Debug)]
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// A mutator with this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    /// A number below `end`, or 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        if end == 0 { 0 } else { (self.state >> 11) as usize % end }
    }

    /// An input like `parent`, with pieces of `other` or words of the target's language in it.
    pub fn mutate(&mut self, parent: &[u8], other: &[u8], words: &[&[u8]]) -> Vec<u8> {
        let mut input = parent.to_vec();
        for _ in 0..=self.below(STEPS_MAX as usize) {
            self.step(&mut input, other, words);
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn step(&mut self, input: &mut Vec<u8>, other: &[u8], words: &[&[u8]]) {
        let at = self.below(input.len());
        match self.below(if words.is_empty() { 10 } else { 13 }) {
            0 | 1 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
            2 | 3 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = self.below(256) as u8;
                }
            }
            4 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = byte.wrapping_add(self.below(17) as u8).wrapping_sub(8);
                }
            }
            5 => {
                let edge = EDGES[self.below(EDGES.len())].to_be_bytes();
                let width = 1 << self.below(3);
                self.overwrite(input, at, &edge[4 - width..]);
            }
            6 => {
                let len = self.below(RUN_BYTES_MAX.min(input.len() - at) + 1);
                input.drain(at..at + len);
            }
            7 => {
                let len = self.below(RUN_BYTES_MAX);
                let noise: Vec<u8> = (0..len).map(|_| self.below(256) as u8).collect();
                input.splice(at..at, noise);
            }
            8 => {
                let from = self.below(input.len());
                let len = self.below(RUN_BYTES_MAX.min(input.len() - from) + 1);
                let copy = input[from..from + len].to_vec();
                input.splice(at..at, copy);
            }
            9 => {
                let from = self.below(other.len());
                let len = self.below(other.len() - from + 1);
                input.splice(at..at, other[from..from + len].iter().copied());
            }
            10 => {
                let word = words[self.below(words.len())];
                self.overwrite(input, at, word);
            }
            _ => {
                let word = words[self.below(words.len())];
                input.splice(at..at, word.iter().copied());
            }
        }
    }

    fn overwrite(&mut self, input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
        let end = (at + bytes.len()).min(input.len());
        input.splice(at..end, bytes.iter().copied());
    }
}

#[cfg(test)]
mod tests {
    use super::Mutator;

    #[test]
    fn the_same_seed_makes_the_same_inputs_and_nothing_is_too_much_for_it() {
        let make = |seed| {
            let mut mutator = Mutator::new(seed);
            let mut input = Vec::new();
            (0..2_000).for_each(|_| input = mutator.mutate(&input, b"other", &[b"word"]));
            input
        };
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
    }
}
