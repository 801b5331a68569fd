//! The MADT (ACPI 6.5, 5.2.12): which cores there are.

use super::Tables;
use crate::cores::CORES_MAX;
use crate::memory::phys::PhysMemory;

const ENTRIES: u32 = 44;
const LOCAL_APIC: u8 = 0;
const LOCAL_X2APIC: u8 = 9;
const ENABLED: u32 = 1;

/// Interrupt controller numbers of all usable cores, the boot core first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    ids: [u32; CORES_MAX],
    len: usize,
}

impl Cores {
    /// Only the boot core.
    pub const fn single(boot: u32) -> Cores {
        let mut ids = [0; CORES_MAX];
        ids[0] = boot;
        Cores { ids, len: 1 }
    }

    /// The numbers, indexed by core.
    pub fn as_slice(&self) -> &[u32] {
        &self.ids[..self.len]
    }

    fn add(&mut self, id: u32) {
        if self.as_slice().contains(&id) {
            return;
        }
        if let Some(slot) = self.ids.get_mut(self.len) {
            *slot = id;
            self.len += 1;
        }
    }
}

/// Reads the cores. Without a good table there is the boot core alone. An entry that is disabled, repeated or cut off is
/// skipped; cores beyond [`CORES_MAX`] are ignored.
pub fn madt_cores(tables: &Tables, memory: &impl PhysMemory, boot: u32) -> Cores {
    let mut cores = Cores::single(boot);
    let Some(table) = tables.get(memory, b"APIC") else { return cores };
    let mut offset = ENTRIES;
    while let Some([kind, len]) = table.array::<2>(memory, offset) {
        if len < 2 {
            break;
        }
        match kind {
            LOCAL_APIC if len >= 8 => {
                let id = table.u8(memory, offset + 3);
                let flags = table.u32(memory, offset + 4);
                // 255 is the broadcast number of xAPIC, no core.
                if let (Some(id @ 0..=254), Some(flags)) = (id, flags)
                    && flags & ENABLED != 0
                {
                    cores.add(id.into());
                }
            }
            LOCAL_X2APIC if len >= 16 => {
                let id = table.u32(memory, offset + 4);
                let flags = table.u32(memory, offset + 8);
                if let (Some(id @ 0..=0xffff_fffe), Some(flags)) = (id, flags)
                    && flags & ENABLED != 0
                {
                    cores.add(id);
                }
            }
            _ => {}
        }
        offset += u32::from(len);
    }
    cores
}
