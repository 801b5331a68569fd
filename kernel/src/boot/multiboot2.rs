//! What a Multiboot2 loader leaves in memory (Multiboot2 specification 2.0, 3.6): a list of tags. GRUB boots disks this way,
//! from BIOS as from UEFI, whose boot services it has ended by then.
//!
//! Parsed from bytes, as [`super::pvh`] does it.

use super::pvh::{Handover, Module};
use crate::memory::map::{MemoryKind, MemoryMap};
use crate::memory::phys::PhysMemory;

const END: u32 = 0;
const COMMAND_LINE: u32 = 1;
const MODULE: u32 = 3;
const MEMORY_MAP: u32 = 6;
/// Copies of the ACPI root pointer, of revision 1 and later.
const ACPI_OLD: u32 = 14;
const ACPI_NEW: u32 = 15;

const AVAILABLE: u32 = 1;
const ACPI_RECLAIMABLE: u32 = 3;

/// Type and size, which each tag begins with.
const TAG_BYTES: u32 = 8;
/// Longer information than that is a broken loader's.
const INFO_BYTES_MAX: u32 = 1 << 20;

/// Why the loader's information cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InfoError {
    /// The list or something in it is not in readable memory, or cut off.
    Unreadable,
    /// There is no memory map.
    NoMemoryMap,
}

/// Reads the information at `at`.
///
/// # Errors
/// It is not all there, or lacks the memory map.
pub fn parse(memory: &impl PhysMemory, at: u64) -> Result<Handover, InfoError> {
    let word = |at| memory.array(at).map(u32::from_le_bytes).ok_or(InfoError::Unreadable);
    let total = word(at)?;
    if total > INFO_BYTES_MAX {
        return Err(InfoError::Unreadable);
    }
    let mut handover = Handover { command_line: 0, rsdp: 0, module: None, map: MemoryMap::new() };
    let mut has_map = false;
    let mut offset = 8;
    while offset + TAG_BYTES <= total {
        let tag = at + u64::from(offset);
        let (kind, size) = (word(tag)?, word(tag + 4)?);
        if size < TAG_BYTES || size > total - offset {
            return Err(InfoError::Unreadable);
        }
        let content = tag + u64::from(TAG_BYTES);
        match kind {
            END => break,
            COMMAND_LINE => handover.command_line = content,
            MODULE if size >= 16 && handover.module.is_none() => {
                let (start, end) = (word(content)?, word(content + 4)?);
                let len = end.saturating_sub(start).into();
                handover.module = Some(Module { start: start.into(), len }).filter(|module| module.len > 0);
            }
            MEMORY_MAP if size >= 16 => {
                has_map = true;
                add_entries(&mut handover.map, memory, content, size - TAG_BYTES)?;
            }
            ACPI_OLD if handover.rsdp == 0 => handover.rsdp = content,
            ACPI_NEW => handover.rsdp = content,
            _ => {}
        }
        offset += size.next_multiple_of(8);
    }
    if has_map { Ok(handover) } else { Err(InfoError::NoMemoryMap) }
}

/// Entry size and version, then the entries: start and length (64 bits), kind.
fn add_entries(map: &mut MemoryMap, memory: &impl PhysMemory, at: u64, len: u32) -> Result<(), InfoError> {
    let entry_len = memory.array(at).map(u32::from_le_bytes).ok_or(InfoError::Unreadable)?;
    if entry_len < 20 {
        return Err(InfoError::Unreadable);
    }
    let count = (len - 8) / entry_len;
    for index in 0..count {
        let entry = at + 8 + u64::from(index * entry_len);
        let long = |at| memory.array(at).map(u64::from_le_bytes).ok_or(InfoError::Unreadable);
        let kind = memory.array(entry + 16).map(u32::from_le_bytes).ok_or(InfoError::Unreadable)?;
        let kind = match kind {
            AVAILABLE => MemoryKind::Usable,
            ACPI_RECLAIMABLE => MemoryKind::Tables,
            _ => MemoryKind::Reserved,
        };
        map.add(long(entry)?, long(entry + 8)?, kind);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::phys::Slices;
    use crate::memory::ranges::Range;
    use std::vec::Vec;

    const AT: u64 = 0x1_0000;

    fn tag(kind: u32, content: &[u8]) -> Vec<u8> {
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend((TAG_BYTES + content.len() as u32).to_le_bytes());
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    fn info(tags: &[Vec<u8>]) -> Vec<u8> {
        let tags = tags.concat();
        let mut bytes = (8 + tags.len() as u32).to_le_bytes().to_vec();
        bytes.extend([0; 4]);
        bytes.extend(tags);
        bytes
    }

    fn map(entries: &[(u64, u64, u32)]) -> Vec<u8> {
        let mut content = [24u32.to_le_bytes(), [0; 4]].concat();
        for (start, len, kind) in entries {
            content.extend(start.to_le_bytes());
            content.extend(len.to_le_bytes());
            content.extend(u64::from(*kind).to_le_bytes());
        }
        tag(MEMORY_MAP, &content)
    }

    fn module() -> Vec<u8> {
        tag(MODULE, &[&0x50_0000u32.to_le_bytes()[..], &0x50_007bu32.to_le_bytes(), b"name\0"].concat())
    }

    #[test]
    fn what_grub_leaves() {
        let bytes = info(&[
            tag(COMMAND_LINE, b"weir.log=debug\0"),
            tag(2, b"GRUB 2.06\0"),
            module(),
            map(&[(0, 0x9_fc00, 1), (0x10_0000, 0x10_0000, 1), (0xf_0000, 0x1_0000, 2), (0x20_0000, 0x1000, 3)]),
            tag(ACPI_OLD, &[1; 20]),
            tag(ACPI_NEW, &[2; 36]),
            tag(ACPI_OLD, &[1; 20]),
            tag(END, b""),
            tag(COMMAND_LINE, b"behind the end\0"),
        ]);
        let memory = [(AT, &bytes[..])];
        let memory = Slices(&memory);
        let handover = parse(&memory, AT).unwrap();
        assert_eq!(memory.array(handover.command_line), Some(*b"weir.log=debug\0"));
        assert_eq!(memory.array(handover.rsdp), Some([2; 36]));
        assert_eq!(handover.module, Some(Module { start: 0x50_0000, len: 0x7b }));
        let usable = handover.map.usable();
        assert_eq!(usable.as_slice(), [Range { start: 0, end: 0x9_f000 }, Range { start: 0x10_0000, end: 0x20_0000 }]);
    }

    #[test]
    fn an_old_root_pointer_does_and_nothing_is_needed_but_the_map() {
        let bytes = info(&[map(&[]), tag(ACPI_OLD, &[1; 20])]);
        let memory = [(AT, &bytes[..])];
        let handover = parse(&Slices(&memory), AT).unwrap();
        assert_ne!(handover.rsdp, 0);
        assert_eq!((handover.command_line, handover.module), (0, None));
        let bytes = info(&[module()]);
        assert_eq!(parse(&Slices(&[(AT, &bytes)]), AT).err(), Some(InfoError::NoMemoryMap));
        assert_eq!(parse(&Slices(&[]), 0).err(), Some(InfoError::Unreadable), "no information at all");
    }

    #[test]
    fn whatever_is_cut_off_or_too_long_is_an_error() {
        let whole = info(&[tag(COMMAND_LINE, b"x\0"), map(&[(0x10_0000, 0x10_0000, 1)]), module()]);
        // The module's name is nobody's business.
        for len in 0..whole.len() - 8 {
            assert!(parse(&Slices(&[(AT, &whole[..len])]), AT).is_err(), "{len} of {} bytes", whole.len());
        }
        for (offset, value) in [(0, u32::MAX), (12, 7), (12, 0x1000), (12, u32::MAX), (32, 19), (32, 0)] {
            let mut bad = whole.clone();
            bad[offset..offset + 4].copy_from_slice(&u32::to_le_bytes(value));
            assert!(parse(&Slices(&[(AT, &bad)]), AT).is_err(), "{value:#x} at {offset}");
        }
    }
}
