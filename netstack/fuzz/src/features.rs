//! What an input has shown.

use std::collections::BTreeSet;

/// A set of small numbers, each of which stands for something that happened. Only new ones matter, so their meaning is the
/// target's own affair.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features(BTreeSet<u32>);

impl Features {
    /// Something happened.
    pub fn add(&mut self, feature: u32) {
        self.0.insert(feature);
    }

    /// Something happened `count` times: how often counts in powers of two.
    pub fn add_count(&mut self, feature: u32, count: u64) {
        if count > 0 {
            self.0.insert(feature << 8 | (64 - count.leading_zeros()).min(15));
        }
    }

    /// Something with a name happened.
    pub fn add_name(&mut self, name: &str) {
        self.0.insert(hash(name.as_bytes()));
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }
}

/// FNV-1a.
pub(crate) fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
