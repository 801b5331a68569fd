//! What happens to an IP packet between the two ends.

use std::collections::BTreeMap;

use weir_sim::Random;

/// Of a million packets; times in microseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Conditions {
    pub delay_us: u64,
    pub jitter_us: u64,
    pub loss_ppm: u32,
    pub duplicate_ppm: u32,
    pub corrupt_ppm: u32,
}

/// The end that a packet goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    Weir,
    Oracle,
}

pub struct Way {
    conditions: Conditions,
    random: Random,
    now_ns: u64,
    sequence: u64,
    under_way: BTreeMap<(u64, u64), (To, Vec<u8>)>,
}

impl Way {
    pub fn new(conditions: Conditions, seed: u64) -> Self {
        Self { conditions, random: Random::new(!seed), now_ns: 0, sequence: 0, under_way: BTreeMap::new() }
    }

    pub fn set_now(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    pub fn send(&mut self, to: To, mut packet: Vec<u8>) {
        if self.random.chance_ppm(self.conditions.loss_ppm) {
            return;
        }
        if self.random.chance_ppm(self.conditions.duplicate_ppm) {
            self.schedule(to, packet.clone());
        }
        if self.random.chance_ppm(self.conditions.corrupt_ppm) {
            let bit = self.random.below(packet.len() as u64 * 8) as usize;
            packet[bit / 8] ^= 1 << (bit % 8);
        }
        self.schedule(to, packet);
    }

    fn schedule(&mut self, to: To, packet: Vec<u8>) {
        let jitter_us = self.random.below(self.conditions.jitter_us + 1);
        self.sequence += 1;
        let at = self.now_ns + (self.conditions.delay_us + jitter_us) * 1_000;
        self.under_way.insert((at, self.sequence), (to, packet));
    }

    /// The next packet that has arrived at this end.
    pub fn take(&mut self, end: To) -> Option<Vec<u8>> {
        let mut due = self.under_way.range(..=(self.now_ns, u64::MAX));
        let key = due.find(|(_, (to, _))| *to == end).map(|(key, _)| *key)?;
        self.under_way.remove(&key).map(|(_, packet)| packet)
    }

    pub fn next_arrival_ns(&self) -> Option<u64> {
        self.under_way.keys().next().map(|&(at, _)| at)
    }
}
