//! What loaders leave, good and bad.

use super::*;
use crate::memory::phys::Slices;
use crate::memory::ranges::Range;
use std::vec::Vec;

const INFO_AT: u64 = 0x1000;
const MAP_AT: u64 = 0x2000;

fn info(version: u32, modules: u32, map_at: u64, entries: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [MAGIC, version, 0, modules] {
        bytes.extend(word.to_le_bytes());
    }
    for long in [0x3000, 0x4000, 0xf_5000, map_at] {
        bytes.extend(u64::to_le_bytes(long));
    }
    bytes.extend(entries.to_le_bytes());
    bytes.extend([0; 4]);
    bytes
}

fn entry(start: u64, len: u64, kind: u32) -> Vec<u8> {
    let mut bytes = [start.to_le_bytes(), len.to_le_bytes()].concat();
    bytes.extend(kind.to_le_bytes());
    bytes.extend([0; 4]);
    bytes
}

#[test]
fn a_loader_with_map_and_module() {
    let info = info(1, 1, MAP_AT, 3);
    let map = [entry(0, 0x9_fc00, 1), entry(0x10_0000, 0x10_0000, 1), entry(0xf_0000, 0x1_0000, 2)].concat();
    let module = [0x50_0000u64.to_le_bytes(), 123u64.to_le_bytes()].concat();
    let memory = Slices(&[(INFO_AT, &info), (MAP_AT, &map), (0x3000, &module)]);
    let parsed = StartInfo::parse(&memory, INFO_AT).unwrap();
    assert_eq!(parsed.module, Some(Module { start: 0x50_0000, len: 123 }));
    assert_eq!((parsed.command_line, parsed.rsdp), (0x4000, 0xf_5000));
    let map = parsed.memory_map(&memory).unwrap();
    let usable = map.usable();
    assert_eq!(usable.as_slice(), [Range { start: 0, end: 0x9_f000 }, Range { start: 0x10_0000, end: 0x20_0000 }]);
}

#[test]
fn another_way_to_start_is_told_apart() {
    let info = [0; 56];
    assert_eq!(StartInfo::parse(&Slices(&[(INFO_AT, &info)]), INFO_AT), Err(StartInfoError::BadMagic));
    assert_eq!(StartInfo::parse(&Slices(&[(INFO_AT, &info)]), 0xdead_0000), Err(StartInfoError::Unreadable));
}

#[test]
fn a_loader_without_memory_map_is_refused() {
    for info in [info(0, 0, MAP_AT, 1), info(1, 0, 0, 1)] {
        assert_eq!(StartInfo::parse(&Slices(&[(INFO_AT, &info)]), INFO_AT), Err(StartInfoError::NoMemoryMap));
    }
}

#[test]
fn a_map_or_module_outside_of_memory_is_an_error() {
    let wild_map = info(1, 0, u64::MAX - 10, 2);
    let memory = Slices(&[(INFO_AT, &wild_map)]);
    let parsed = StartInfo::parse(&memory, INFO_AT).unwrap();
    assert_eq!(parsed.memory_map(&memory).err(), Some(StartInfoError::Unreadable));
    let wild_module = info(1, 1, MAP_AT, 0);
    assert_eq!(StartInfo::parse(&Slices(&[(INFO_AT, &wild_module)]), INFO_AT), Err(StartInfoError::Unreadable));
}

#[test]
fn an_absurd_number_of_entries_ends() {
    let info = info(1, 0, MAP_AT, u32::MAX);
    let map = entry(0x10_0000, 0x1000, 1).repeat(ENTRIES_MAX as usize);
    let memory = Slices(&[(INFO_AT, &info), (MAP_AT, &map)]);
    let map = StartInfo::parse(&memory, INFO_AT).unwrap().memory_map(&memory).unwrap();
    assert!(map.ignored() > 0);
    assert_eq!(map.usable_bytes(), 0x1000);
}
