//! What a PVH loader leaves in memory: `hvm_start_info` (Xen, *x86/HVM direct boot ABI*).
//!
//! Parsed from bytes, so that a short or wild structure is an error and not a fault. Physical memory is reached through
//! a [`PhysMemory`], which tests replace by a few slices.

use crate::memory::map::{MemoryKind, MemoryMap};
use crate::memory::phys::PhysMemory;

const MAGIC: u32 = 0x336e_c578;
const ENTRY_BYTES: u64 = 24;
const ENTRIES_MAX: u32 = 256;
const E820_RAM: u32 = 1;
const E820_ACPI: u32 = 3;

/// Why the loader's information cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartInfoError {
    /// The structure or something it points to is not in readable memory.
    Unreadable,
    /// The magic number is wrong: the image was not started through PVH.
    BadMagic,
    /// Version 0 has no memory map.
    NoMemoryMap,
}

/// A piece of physical memory that the loader filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Module {
    /// Physical address of the first byte.
    pub start: u64,
    /// Length in bytes.
    pub len: u64,
}

/// What any loader hands over, its strings and tables still where it left them.
#[derive(Debug)]
pub struct Handover {
    /// Physical address of the NUL-terminated command line; 0 if there is none.
    pub command_line: u64,
    /// Physical address of the ACPI root pointer; 0 if the loader does not know.
    pub rsdp: u64,
    /// The first module.
    pub module: Option<Module>,
    /// The memory map.
    pub map: MemoryMap,
}

/// The loader's information, addresses not yet followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartInfo {
    /// Physical address of the NUL-terminated command line; 0 if there is none.
    pub command_line: u64,
    /// Physical address of the ACPI root pointer; 0 if the loader does not know.
    pub rsdp: u64,
    /// The first module, `-initrd` in QEMU.
    pub module: Option<Module>,
    memory_map: u64,
    memory_map_entries: u32,
}

impl StartInfo {
    /// Reads the structure at `at`.
    pub fn parse(memory: &impl PhysMemory, at: u64) -> Result<StartInfo, StartInfoError> {
        use StartInfoError::Unreadable;
        let bytes = memory.array::<56>(at).ok_or(Unreadable)?;
        let word = |offset: usize| u32_at(&bytes, offset);
        let long = |offset: usize| u64_at(&bytes, offset);
        if word(0) != MAGIC {
            return Err(StartInfoError::BadMagic);
        }
        if word(4) < 1 || long(40) == 0 {
            return Err(StartInfoError::NoMemoryMap);
        }
        let module = match word(12) {
            0 => None,
            _ => {
                let entry = memory.array::<16>(long(16)).ok_or(Unreadable)?;
                Some(Module { start: u64_at(&entry, 0), len: u64_at(&entry, 8) })
            }
        };
        Ok(StartInfo {
            command_line: long(24),
            rsdp: long(32),
            module: module.filter(|module| module.len > 0),
            memory_map: long(40),
            memory_map_entries: word(48).min(ENTRIES_MAX),
        })
    }

    /// Reads what it points to.
    pub fn follow(&self, memory: &impl PhysMemory) -> Result<Handover, StartInfoError> {
        let Self { command_line, rsdp, module, .. } = *self;
        Ok(Handover { command_line, rsdp, module, map: self.memory_map(memory)? })
    }

    /// Reads the memory map.
    pub fn memory_map(&self, memory: &impl PhysMemory) -> Result<MemoryMap, StartInfoError> {
        let mut map = MemoryMap::new();
        for index in 0..u64::from(self.memory_map_entries) {
            let at = self.memory_map.checked_add(index * ENTRY_BYTES).ok_or(StartInfoError::Unreadable)?;
            let entry = memory.array::<24>(at).ok_or(StartInfoError::Unreadable)?;
            let kind = match u32_at(&entry, 16) {
                E820_RAM => MemoryKind::Usable,
                E820_ACPI => MemoryKind::Tables,
                _ => MemoryKind::Reserved,
            };
            map.add(u64_at(&entry, 0), u64_at(&entry, 8), kind);
        }
        Ok(map)
    }
}

fn u32_at<const N: usize>(bytes: &[u8; N], offset: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(word)
}

fn u64_at<const N: usize>(bytes: &[u8; N], offset: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests;
