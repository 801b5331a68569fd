//! A hand-made base, attached to and damaged in every way that has a name.

use super::*;
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection};

const HEADER_LEN: usize = 64;
const SEGMENT_LEN: usize = 56;
const SEGMENTS: usize = 2;
const CODE: usize = HEADER_LEN + SEGMENTS * SEGMENT_LEN;
const DESCRIPTOR: usize = CODE + 16;
const NAMES: usize = DESCRIPTOR + 24;
const SECTIONS: usize = 256;
const SECTION_LEN: usize = 64;
const FILE_LEN: usize = SECTIONS + 3 * SECTION_LEN;

/// The smallest base that keeps the contract: one loaded segment at 1 MiB, one spare header, the section.
fn base() -> Vec<u8> {
    let mut file = vec![0; FILE_LEN];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    put(&mut file, 16, &2_u16.to_le_bytes()); // e_type: executable
    put(&mut file, 18, &62_u16.to_le_bytes()); // e_machine: x86-64
    put(&mut file, 20, &1_u32.to_le_bytes());
    put(&mut file, 32, &(HEADER_LEN as u64).to_le_bytes());
    put(&mut file, 40, &(SECTIONS as u64).to_le_bytes());
    for (at, value) in [(52, 64_u16), (54, 56), (56, SEGMENTS as u16), (58, 64), (60, 3), (62, 2)] {
        put(&mut file, at, &value.to_le_bytes());
    }
    // The spare header first: it is found by its type, not by its place.
    let load = HEADER_LEN + SEGMENT_LEN;
    put(&mut file, load, &PT_LOAD.0.to_le_bytes());
    for (at, value) in [(8, CODE as u64), (16, 1 << 20), (24, 1 << 20), (32, 40), (40, 0x30_0000), (48, 4096)] {
        put(&mut file, load + at, &value.to_le_bytes());
    }
    put(&mut file, NAMES, b"\0.weir.payload\0");
    section(&mut file, 1, 1, (1 << 20) + 16, DESCRIPTOR, 24);
    section(&mut file, 2, 0, 0, NAMES, 15);
    put(&mut file, SECTIONS + 2 * SECTION_LEN + 4, &3_u32.to_le_bytes()); // string table
    file
}

fn section(file: &mut [u8], index: usize, name: u32, address: u64, offset: usize, len: u64) {
    let at = SECTIONS + index * SECTION_LEN;
    put(file, at, &name.to_le_bytes());
    put(file, at + 4, &1_u32.to_le_bytes());
    for (field, value) in [(16, address), (24, offset as u64), (32, len)] {
        put(file, at + field, &value.to_le_bytes());
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
    assert_eq!(segment.p_memsz(LittleEndian), 7);
    assert_eq!(segment.data(LittleEndian, image.as_slice()).unwrap(), b"payload");
    assert!(file.elf_program_headers().iter().all(|s| s.p_type(LittleEndian) != PT_NULL));
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
    assert_eq!(image[DESCRIPTOR..DESCRIPTOR + 8], Descriptor::MAGIC);
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
    assert_eq!(attach_damaged(section + 4, &8_u32.to_le_bytes()), Err(ElfError::BadSection), "no bits");
    assert_eq!(attach_damaged(section + 32, &23_u64.to_le_bytes()), Err(ElfError::BadSection), "short");
    assert_eq!(attach_damaged(section + 24, &u64::MAX.to_le_bytes()), Err(ElfError::BadSection), "outside");
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
