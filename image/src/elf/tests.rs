//! A hand-made base, attached to and damaged in every way that has a name.

use super::*;
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection};

const HEADER_LEN: usize = 64;
const SEGMENT_LEN: usize = 56;
const SEGMENTS: usize = 2;
const CODE: usize = HEADER_LEN + SEGMENTS * SEGMENT_LEN;
const DESCRIPTOR: usize = CODE + 16;
const SYMBOLS: usize = DESCRIPTOR + 24;
const NAMES: usize = SYMBOLS + 40;
const NAMES_BYTES: &[u8] = b"\0.weir.payload\0.weir.symbols\0.symtab\0.strtab\0";
const TABLE: usize = 512;
const STRINGS: usize = TABLE + 48;
const SECTIONS: usize = 1024;
const SECTION_LEN: usize = 64;
const FILE_LEN: usize = SECTIONS + 6 * SECTION_LEN;

/// The smallest base that keeps the contract: one loaded segment at 1 MiB, one spare header, the sections.
fn base() -> Vec<u8> {
    let mut file = vec![0; FILE_LEN];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    put(&mut file, 16, &2_u16.to_le_bytes()); // e_type: executable
    put(&mut file, 18, &62_u16.to_le_bytes()); // e_machine: x86-64
    put(&mut file, 20, &1_u32.to_le_bytes());
    put(&mut file, 32, &(HEADER_LEN as u64).to_le_bytes());
    put(&mut file, 40, &(SECTIONS as u64).to_le_bytes());
    for (at, value) in [(52, 64_u16), (54, 56), (56, SEGMENTS as u16), (58, 64), (60, 6), (62, 2)] {
        put(&mut file, at, &value.to_le_bytes());
    }
    // The spare header first: it is found by its type, not by its place.
    let load = HEADER_LEN + SEGMENT_LEN;
    put(&mut file, load, &PT_LOAD.0.to_le_bytes());
    for (at, value) in [(8, CODE as u64), (16, 1 << 20), (24, 1 << 20), (32, 40), (40, 0x30_0000), (48, 4096)] {
        put(&mut file, load + at, &value.to_le_bytes());
    }
    put(&mut file, NAMES, NAMES_BYTES);
    put(&mut file, SYMBOLS, b"WEIRSYMS");
    put(&mut file, TABLE, &[0xaa; 48]);
    put(&mut file, STRINGS, b"\0main\0");
    section(&mut file, 1, ".weir.payload", DESCRIPTOR, 24);
    section(&mut file, 2, "", NAMES, NAMES_BYTES.len());
    section(&mut file, 3, ".weir.symbols", SYMBOLS, 40);
    section(&mut file, 4, ".symtab", TABLE, 48);
    section(&mut file, 5, ".strtab", STRINGS, 6);
    put(&mut file, SECTIONS + 2 * SECTION_LEN + 4, &3_u32.to_le_bytes()); // string table
    file
}

/// A section with its name, its place in the file and its length; its type is initialised data.
fn section(file: &mut [u8], index: usize, name: &str, offset: usize, len: usize) {
    let at = SECTIONS + index * SECTION_LEN;
    let name =
        NAMES_BYTES.windows(name.len() + 1).position(|bytes| bytes == [name.as_bytes(), b"\0"].concat()).unwrap();
    put(file, at, &(name as u32).to_le_bytes());
    put(file, at + 4, &1_u32.to_le_bytes());
    for (field, value) in [(24, offset), (32, len)] {
        put(file, at + field, &(value as u64).to_le_bytes());
    }
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

/// What `attach` says about a base with one place overwritten.
fn attach_damaged(at: usize, bytes: &[u8]) -> Result<Vec<u8>, ElfError> {
    let mut base = base();
    put(&mut base, at, bytes);
    attach(&base, b"payload")
}

#[test]
fn the_payload_is_loaded_behind_the_program_and_described_in_the_section() {
    let image = attach(&base(), b"payload").unwrap();
    let file = ElfFile64::<LittleEndian>::parse(image.as_slice()).unwrap();
    let section = file.section_by_name(SECTION_NAME).unwrap().data().unwrap();
    // The program ends at 4 MiB exactly, which is the first boundary.
    let expected = Descriptor { address: 0x40_0000, len: 7 };
    assert_eq!(section, expected.to_bytes());
    let segment = file.elf_program_headers().iter().find(|s| s.p_paddr(LittleEndian) == 0x40_0000).unwrap();
    assert_eq!(segment.p_type(LittleEndian), PT_LOAD);
    assert!(segment.data(LittleEndian, image.as_slice()).unwrap().starts_with(b"payload"));
    assert!(file.elf_program_headers().iter().all(|s| s.p_type(LittleEndian) != PT_NULL));
}

#[test]
fn the_symbols_follow_the_payload_in_the_same_segment() {
    let image = attach(&base(), b"payload").unwrap();
    let file = ElfFile64::<LittleEndian>::parse(image.as_slice()).unwrap();
    let words = file.section_by_name(SYMBOLS_SECTION_NAME).unwrap().data().unwrap();
    assert_eq!(&words[..8], b"WEIRSYMS");
    let words: Vec<u64> = words[8..].chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
    assert_eq!(words, [0x40_0010, 48, 0x40_0040, 6]);
    let segment = file.elf_program_headers().iter().find(|s| s.p_paddr(LittleEndian) == 0x40_0000).unwrap();
    let loaded = segment.data(LittleEndian, image.as_slice()).unwrap();
    assert_eq!(loaded[0x10..0x40], [0xaa; 48]);
    assert_eq!(&loaded[0x40..], b"\0main\0");
}

#[test]
fn a_base_without_symbols_is_good() {
    let symbol_table_name = SECTIONS + 4 * SECTION_LEN;
    let image = attach_damaged(symbol_table_name, &0_u32.to_le_bytes()).unwrap();
    assert_eq!(image[SYMBOLS + 8..SYMBOLS + 40], [0; 32]);
    assert!(image.ends_with(b"payload"));
}

#[test]
fn the_boundary_moves_with_the_first_byte_beyond_it() {
    let load = HEADER_LEN + SEGMENT_LEN;
    let image = attach_damaged(load + 40, &0x30_0001_u64.to_le_bytes()).unwrap();
    assert_eq!(image[DESCRIPTOR + 8..DESCRIPTOR + 16], 0x60_0000_u64.to_le_bytes());
}

#[test]
fn the_same_input_gives_the_same_bytes_and_nothing_else_changes() {
    let base = base();
    let image = attach(&base, b"payload").unwrap();
    assert_eq!(image, attach(&base, b"payload").unwrap());
    let changed: Vec<usize> = (0..base.len()).filter(|&at| base[at] != image[at]).collect();
    let ours = |at: &usize| (HEADER_LEN..HEADER_LEN + SEGMENT_LEN).contains(at) || (DESCRIPTOR..NAMES).contains(at);
    assert!(changed.iter().all(ours), "{changed:?}");
}

#[test]
fn an_empty_payload_is_a_payload() {
    let image = attach(&base(), b"").unwrap();
    assert_eq!(image[DESCRIPTOR..DESCRIPTOR + 24], Descriptor { address: 0x40_0000, len: 0 }.to_bytes());
}

#[test]
fn an_image_is_not_a_base() {
    let image = attach(&base(), b"payload").unwrap();
    assert_eq!(attach(&image, b"payload"), Err(ElfError::AlreadyAttached));
}

#[test]
fn every_damage_has_its_name() {
    let load = HEADER_LEN + SEGMENT_LEN;
    let section = SECTIONS + SECTION_LEN;
    assert!(matches!(attach(b"", b""), Err(ElfError::NotElf(_))));
    assert!(matches!(attach(b"#!/bin/sh\n", b""), Err(ElfError::NotElf(_))));
    assert!(matches!(attach_damaged(4, &[1]), Err(ElfError::NotElf(_))), "32 bit");
    assert!(matches!(attach_damaged(32, &u64::MAX.to_le_bytes()), Err(ElfError::NotElf(_))), "table outside");
    assert_eq!(attach_damaged(NAMES + 1, b"!"), Err(ElfError::NoSection));
    assert_eq!(attach_damaged(section + 4, &8_u32.to_le_bytes()), Err(ElfError::BadSection(SECTION_NAME)), "no bits");
    assert_eq!(attach_damaged(section + 32, &23_u64.to_le_bytes()), Err(ElfError::BadSection(SECTION_NAME)), "short");
    assert_eq!(
        attach_damaged(section + 24, &u64::MAX.to_le_bytes()),
        Err(ElfError::BadSection(SECTION_NAME)),
        "outside"
    );
    assert_eq!(attach_damaged(HEADER_LEN, &4_u32.to_le_bytes()), Err(ElfError::NoSpareHeader));
    assert_eq!(attach_damaged(load, &4_u32.to_le_bytes()), Err(ElfError::NothingLoaded));
    assert_eq!(attach_damaged(load + 8, &u64::MAX.to_le_bytes()), Err(ElfError::BadSegment(1)));
    assert_eq!(attach_damaged(load + 40, &u64::MAX.to_le_bytes()), Err(ElfError::BadSegment(1)));
    assert_eq!(attach_damaged(load + 40, &(2_u64 << 30).to_le_bytes()), Err(ElfError::TooLarge { len: 7 }));
}

#[test]
fn every_truncation_is_refused_and_none_panics() {
    let base = base();
    for len in 0..base.len() {
        assert!(attach(&base[..len], b"payload").is_err(), "cut to {len} bytes");
    }
}
