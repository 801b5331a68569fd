//! The MCFG (PCI Firmware Specification 3.3, 4.1.2): where configuration space lies in memory.

use super::Tables;
use crate::memory::phys::PhysMemory;

const ENTRIES: u32 = 44;
const ENTRY_BYTES: u32 = 16;

/// The memory window of segment 0: 1 MiB for each bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigWindow {
    /// Physical address of bus 0, even if the window begins at a later bus.
    pub base: u64,
    /// First bus in the window.
    pub first_bus: u8,
    /// Last bus in the window.
    pub last_bus: u8,
}

/// Reads the window of segment 0.
pub fn config_window(tables: &Tables, memory: &impl PhysMemory) -> Option<ConfigWindow> {
    let table = tables.get(memory, b"MCFG")?;
    let mut offset = ENTRIES;
    loop {
        let base = table.u64(memory, offset)?;
        let segment = table.u16(memory, offset + 8)?;
        let [first_bus, last_bus] = table.array(memory, offset + 10)?;
        if segment == 0 {
            return (base != 0 && first_bus <= last_bus).then_some(ConfigWindow { base, first_bus, last_bus });
        }
        offset += ENTRY_BYTES;
    }
}
