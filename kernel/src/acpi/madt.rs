//! The MADT (ACPI 6.5, 5.2.12): which cores there are, and who passes interrupt lines on to them.

use super::{Table, Tables};
use crate::cores::CORES_MAX;
use crate::memory::phys::PhysMemory;

const ENTRIES: u32 = 44;
const LOCAL_APIC: u8 = 0;
const IO_APIC: u8 = 1;
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
    for Entry { kind, len, offset } in entries(&table, memory) {
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
    }
    cores
}

/// A controller that passes interrupt lines on to cores (ACPI 6.5, 5.2.12.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoApic {
    /// Physical address of its registers.
    pub at: u64,
    /// Its first line, as a global system interrupt.
    pub first_line: u32,
}

/// More controllers than any virtual machine has.
const IO_APICS_MAX: usize = 8;

/// What a PC without a good table has.
const IO_APIC_USUAL: IoApic = IoApic { at: 0xfec0_0000, first_line: 0 };

/// The controllers that the table names; without a good table the usual one.
pub fn madt_io_apics(tables: Option<&Tables>, memory: &impl PhysMemory) -> [Option<IoApic>; IO_APICS_MAX] {
    let mut found = [None; IO_APICS_MAX];
    let Some(table) = tables.and_then(|tables| tables.get(memory, b"APIC")) else {
        found[0] = Some(IO_APIC_USUAL);
        return found;
    };
    let controllers = entries(&table, memory).filter(|entry| entry.kind == IO_APIC && entry.len >= 12);
    let controllers = controllers.filter_map(|Entry { offset, .. }| {
        let at = table.u32(memory, offset + 4)?.into();
        Some(IoApic { at, first_line: table.u32(memory, offset + 8)? })
    });
    found.iter_mut().zip(controllers).for_each(|(place, controller)| *place = Some(controller));
    found
}

struct Entry {
    kind: u8,
    len: u8,
    offset: u32,
}

/// The entries up to the first that cannot be.
fn entries(table: &Table, memory: &impl PhysMemory) -> impl Iterator<Item = Entry> {
    let mut offset = ENTRIES;
    core::iter::from_fn(move || {
        let [kind, len] = table.array::<2>(memory, offset).filter(|[_, len]| *len >= 2)?;
        let entry = Entry { kind, len, offset };
        offset += u32::from(len);
        Some(entry)
    })
}
