//! A machine that does not run yet.

use crate::{Plan, TooLittleMemory};

/// Memory below the image, the image itself, and the firmware's tables. As measured; a system test compares the outcome with what
/// images say of themselves.
const IMAGE_BYTES: u64 = 0x0084_6000;
/// What a core has for itself: stacks, descriptor tables, its part of the heap's table.
const CORE_BYTES: u64 = 0x0006_4000;
const PAGE_BYTES: u64 = 4096;

/// A machine to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Installed memory, in bytes.
    pub memory_bytes: u64,
    /// Processors.
    pub cores: usize,
    /// The image's archive: configuration and files, in bytes.
    pub archive_bytes: u64,
}

impl Machine {
    /// What will be free when the image divides it.
    #[must_use]
    pub const fn free_bytes(&self) -> u64 {
        let archive = self.archive_bytes.next_multiple_of(PAGE_BYTES);
        let taken = IMAGE_BYTES + CORE_BYTES * self.cores as u64 + archive;
        self.memory_bytes.saturating_sub(taken)
    }

    /// How the image will divide it. `connections_max` is what the configuration sets.
    ///
    /// # Errors
    /// The image will not start.
    pub fn plan(&self, connections_max: Option<u32>) -> Result<Plan, TooLittleMemory> {
        Plan::new(self.free_bytes(), self.cores, connections_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn machine(mib: u64, cores: usize, archive_bytes: u64) -> Machine {
        Machine { memory_bytes: mib * MIB, cores, archive_bytes }
    }

    #[test]
    fn more_memory_carries_more_and_files_take_their_part() {
        let connections = |machine: Machine| machine.plan(None).expect("enough").connections_of_all();
        assert!(connections(machine(128, 1, 0)) > 2 * connections(machine(64, 1, 0)));
        assert_eq!(machine(64, 1, 2 * MIB).free_bytes(), machine(64, 1, 0).free_bytes() - 2 * MIB);
        assert_eq!(machine(64, 1, 1).free_bytes(), machine(64, 1, 0).free_bytes() - PAGE_BYTES);
    }

    #[test]
    fn the_least_machine_starts_and_less_does_not() {
        assert!(machine(64, 1, 0).plan(None).is_ok());
        for (mib, cores, archive) in [(16, 1, 0), (64, 64, 0), (64, 1, 60 * MIB), (1, 1, 0), (0, 1, u64::MAX / 2)] {
            assert!(machine(mib, cores, archive).plan(None).is_err(), "{mib} MiB, {cores} cores");
        }
    }
}
