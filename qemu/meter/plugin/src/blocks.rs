//! The blocks that have been translated, and which counter each one has.
//!
//! QEMU throws translations away and makes them again, the same block may be translated for several states of a vCPU, and
//! it may be cut at another place the next time. A [`Shape`] says what a block is; two translations of one shape share a
//! counter, and so the number of counters stays small.

use std::collections::HashMap;

use crate::decode::Kind;

/// Counters, and thus shapes, that there can be. Weir needs some thousands, Linux with nginx and HAProxy more than 65,536.
pub const SLOTS_MAX: usize = 1 << 18;

/// The counter of all blocks that came after the last free one was given away.
pub const SLOT_OF_THE_REST: usize = 0;

/// What a block is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape {
    /// Virtual address of the first instruction.
    pub start: u64,
    /// Length of each instruction in bytes.
    pub lens: Vec<u8>,
    /// The special instructions, by their place in `lens`.
    pub specials: Vec<(u16, Kind)>,
}

/// The table of shapes.
#[derive(Debug, Default)]
pub struct Blocks {
    slots: HashMap<Shape, usize>,
}

impl Blocks {
    /// The counter for a block.
    pub fn slot(&mut self, shape: Shape) -> usize {
        let next = self.slots.len() + 1;
        if let Some(slot) = self.slots.get(&shape) {
            return *slot;
        }
        if next == SLOTS_MAX {
            return SLOT_OF_THE_REST;
        }
        self.slots.insert(shape, next);
        next
    }

    /// Every shape with its counter.
    pub fn iter(&self) -> impl Iterator<Item = (&Shape, usize)> {
        self.slots.iter().map(|(shape, slot)| (shape, *slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(start: u64, lens: &[u8]) -> Shape {
        Shape { start, lens: lens.to_vec(), specials: Vec::new() }
    }

    #[test]
    fn the_same_block_keeps_its_counter() {
        let mut blocks = Blocks::default();
        let first = blocks.slot(block(0x1000, &[1, 2]));
        let cut_earlier = blocks.slot(block(0x1000, &[1]));
        let elsewhere = blocks.slot(block(0x2000, &[1, 2]));
        assert_eq!(blocks.slot(block(0x1000, &[1, 2])), first);
        let mut slots = [SLOT_OF_THE_REST, first, cut_earlier, elsewhere];
        slots.sort_unstable();
        assert!(slots.windows(2).all(|pair| pair[0] != pair[1]), "{slots:?}");
        assert_eq!(blocks.iter().count(), 3);
    }

    #[test]
    fn when_counters_run_out_the_rest_shares_one() {
        let mut blocks = Blocks::default();
        let slots: Vec<usize> = (0..SLOTS_MAX as u64 + 5).map(|start| blocks.slot(block(start, &[1]))).collect();
        assert!(slots.iter().all(|slot| *slot < SLOTS_MAX));
        assert_eq!(slots.iter().filter(|slot| **slot == SLOT_OF_THE_REST).count(), 6);
        assert_eq!(blocks.slot(block(3, &[1])), slots[3], "those who have one keep it");
    }
}
