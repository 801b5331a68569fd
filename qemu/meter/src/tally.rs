//! What the plugin has counted, and the difference of two counts.

use std::collections::{BTreeMap, HashMap};
use std::ops::AddAssign;

use serde::Deserialize;

/// Everything that was counted, since the start or, after [`Tally::since`], between two moments.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Tally {
    /// Virtual processors that were started.
    pub vcpus: usize,
    /// How often each vCPU went idle.
    pub halts: Vec<u64>,
    /// Runs, by vCPU, of blocks for which the plugin had no counter left. All other figures are too low if there are any.
    pub unplaced: Vec<u64>,
    /// The blocks that have run.
    pub blocks: Vec<Block>,
    /// Accesses to device memory, if they were asked for.
    pub devices: Vec<DeviceAccess>,
    /// Shared cache lines since the last mark, those with most accesses first, if they were asked for.
    pub lines: Vec<Line>,
    /// How many lines were shared; the list above may be shorter.
    pub lines_total: usize,
}

/// Instructions that are executed one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
pub struct Block {
    /// Virtual address of the first instruction.
    pub start: u64,
    /// Length of each instruction in bytes.
    pub lens: Vec<u8>,
    /// Special instructions, by their place in `lens`.
    pub specials: Vec<(usize, Special)>,
    /// How often each vCPU ran it.
    pub runs: Vec<u64>,
}

/// Why an instruction is special.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Special {
    /// `lock`, or `xchg` with memory.
    Locked,
    /// `mfence`.
    Barrier,
    /// `in`, `out` and their like.
    Port,
    /// `rdmsr`, `wrmsr`.
    Msr,
}

/// Accesses of an instruction to a device.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DeviceAccess {
    /// Which vCPU.
    pub vcpu: usize,
    /// Virtual address of the instruction.
    pub at: u64,
    /// QEMU's name for the region.
    pub device: String,
    /// How often.
    pub count: u64,
}

/// A cache line that one vCPU wrote and another touched.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Line {
    /// Guest-physical address of its first byte.
    pub address: u64,
    /// Bit `n`: vCPU `n` wrote it.
    pub writers: u32,
    /// Bit `n`: vCPU `n` read it.
    pub readers: u32,
    /// Who accessed it once it was shared.
    pub accesses: Vec<LineAccess>,
}

/// Accesses of an instruction to a shared line.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LineAccess {
    /// Which vCPU.
    pub vcpu: usize,
    /// Virtual address of the instruction.
    pub at: u64,
    /// 1 if it stores, 0 if it loads.
    pub is_store: u8,
    /// How often.
    pub count: u64,
}

/// The sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Instructions.
    pub instructions: u64,
    /// Locked instructions.
    pub locked: u64,
    /// `mfence` instructions.
    pub barriers: u64,
    /// Accesses to I/O ports.
    pub ports: u64,
    /// Accesses to model-specific registers.
    pub msrs: u64,
    /// Accesses to device memory.
    pub devices: u64,
    /// Transitions to idle.
    pub halts: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.instructions += other.instructions;
        self.locked += other.locked;
        self.barriers += other.barriers;
        self.ports += other.ports;
        self.msrs += other.msrs;
        self.devices += other.devices;
        self.halts += other.halts;
    }
}

impl Block {
    /// Runs on all vCPUs.
    #[must_use]
    pub fn runs_total(&self) -> u64 {
        self.runs.iter().sum()
    }

    /// The addresses of its instructions.
    pub fn addresses(&self) -> impl Iterator<Item = u64> {
        self.lens.iter().scan(self.start, |next, len| {
            let at = *next;
            *next += u64::from(*len);
            Some(at)
        })
    }

    /// The special instructions with their addresses.
    pub fn specials(&self) -> impl Iterator<Item = (u64, Special)> {
        self.specials.iter().filter_map(|(index, special)| Some((self.addresses().nth(*index)?, *special)))
    }

    /// What one run of it amounts to.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts { instructions: self.lens.len() as u64, ..Counts::default() };
        for (_, special) in &self.specials {
            *counts.special_mut(*special) += 1;
        }
        counts
    }
}

impl Counts {
    /// The sum for a kind of instruction.
    pub fn special_mut(&mut self, special: Special) -> &mut u64 {
        match special {
            Special::Locked => &mut self.locked,
            Special::Barrier => &mut self.barriers,
            Special::Port => &mut self.ports,
            Special::Msr => &mut self.msrs,
        }
    }

    /// The same work so many times.
    #[must_use]
    pub fn times(self, runs: u64) -> Self {
        Self {
            instructions: self.instructions * runs,
            locked: self.locked * runs,
            barriers: self.barriers * runs,
            ports: self.ports * runs,
            msrs: self.msrs * runs,
            devices: self.devices * runs,
            halts: self.halts * runs,
        }
    }
}

impl Tally {
    /// What happened between an earlier tally and this one.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let known: HashMap<_, _> = before.blocks.iter().map(|block| (block.shape(), &block.runs)).collect();
        let mut blocks = self.blocks.clone();
        for block in &mut blocks {
            if let Some(runs) = known.get(&block.shape()) {
                block.runs = differences(&block.runs, runs);
            }
        }
        blocks.retain(|block| block.runs_total() > 0);
        let known: HashMap<_, _> = before.devices.iter().map(|access| (access.place(), access.count)).collect();
        let mut devices = self.devices.clone();
        for access in &mut devices {
            access.count -= known.get(&access.place()).copied().unwrap_or_default().min(access.count);
        }
        devices.retain(|access| access.count > 0);
        Self {
            halts: differences(&self.halts, &before.halts),
            unplaced: differences(&self.unplaced, &before.unplaced),
            blocks,
            devices,
            ..self.clone()
        }
    }

    /// The sums of each vCPU.
    #[must_use]
    pub fn by_vcpu(&self) -> Vec<Counts> {
        let mut counts = vec![Counts::default(); self.vcpus];
        for (counts, halts) in counts.iter_mut().zip(&self.halts) {
            counts.halts = *halts;
        }
        for block in &self.blocks {
            let one = block.counts();
            for (counts, runs) in counts.iter_mut().zip(&block.runs) {
                *counts += one.times(*runs);
            }
        }
        for access in &self.devices {
            if let Some(counts) = counts.get_mut(access.vcpu) {
                counts.devices += access.count;
            }
        }
        counts
    }

    /// The sums of all vCPUs.
    #[must_use]
    pub fn total(&self) -> Counts {
        self.by_vcpu().into_iter().fold(Counts::default(), |mut total, counts| {
            total += counts;
            total
        })
    }

    /// How often each instruction of a kind was executed, by its address.
    #[must_use]
    pub fn by_address(&self, wanted: Special) -> BTreeMap<u64, u64> {
        let mut counts = BTreeMap::new();
        for block in &self.blocks {
            for (at, _) in block.specials().filter(|(_, special)| *special == wanted) {
                *counts.entry(at).or_default() += block.runs_total();
            }
        }
        counts
    }
}

impl Block {
    fn shape(&self) -> (u64, &[u8], &[(usize, Special)]) {
        (self.start, &self.lens, &self.specials)
    }
}

impl DeviceAccess {
    fn place(&self) -> (usize, u64, &str) {
        (self.vcpu, self.at, &self.device)
    }
}

/// Counters never go backwards, and a vCPU that was not there before had counted nothing.
fn differences(now: &[u64], before: &[u64]) -> Vec<u64> {
    let before = before.iter().copied().chain(std::iter::repeat(0));
    now.iter().zip(before).map(|(now, before)| now.saturating_sub(before)).collect()
}

#[cfg(test)]
mod tests;
