//! Disks of every tool, disks of others, and disks that are cut off or broken at every place.

use std::string::String;
use std::vec;
use std::vec::Vec;

use crate::{Kind, Malformed, SECTOR_BYTES, Sectors, Seed, SeedError, read};

/// A disk in memory.
#[derive(Clone)]
struct Memory {
    bytes: Vec<u8>,
    /// A sector that the device cannot read.
    bad: Option<u64>,
    reads: u64,
}

impl Sectors for Memory {
    type Error = &'static str;

    fn count(&self) -> u64 {
        (self.bytes.len() / SECTOR_BYTES) as u64
    }

    fn read(&mut self, first: u64, into: &mut [u8]) -> Result<(), &'static str> {
        self.reads += (into.len() / SECTOR_BYTES) as u64;
        let end = first + (into.len() / SECTOR_BYTES) as u64;
        if self.bad.is_some_and(|bad| (first..end).contains(&bad)) {
            return Err("a bad sector");
        }
        let start = first as usize * SECTOR_BYTES;
        into.copy_from_slice(&self.bytes[start..start + into.len()]);
        Ok(())
    }
}

/// Sectors of a disk of the fixtures, with room behind the last one that is not empty.
fn fixture(records: &[u8]) -> Memory {
    let mut bytes = Vec::new();
    for record in records.chunks_exact(4 + SECTOR_BYTES) {
        let (sector, content) = record.split_first_chunk().expect("a sector number");
        let start = u32::from_le_bytes(*sector) as usize * SECTOR_BYTES;
        bytes.resize(start, 0);
        bytes.extend_from_slice(content);
    }
    bytes.resize(bytes.len() + 64 * SECTOR_BYTES, 0);
    Memory { bytes, bad: None, reads: 0 }
}

macro_rules! fixtures {
    ($($name:literal),*) => { [$(($name, fixture(include_bytes!(concat!("../fixtures/", $name))))),*] };
}

fn isos() -> impl Iterator<Item = (&'static str, Memory)> {
    fixtures!["localds", "xorriso", "joliet", "rock"].into_iter()
}

fn fats() -> impl Iterator<Item = (&'static str, Memory)> {
    fixtures!["localds-vfat", "fat12", "fat16", "fat32"].into_iter()
}

fn text() -> String {
    let mut text =
        String::from("[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\n\n[[listener.route]]\npage = \"demo\"\n");
    (0..60).for_each(|n| text += &std::format!("# line {n:04} of a comment that makes the file long\n"));
    text
}

#[test]
fn every_tool_s_disk_is_read() {
    let disks = isos().map(|disk| (Kind::Iso9660, disk)).chain(fats().map(|disk| (Kind::Fat, disk)));
    for (kind, (name, mut disk)) in disks {
        let seed = read(&mut disk).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(seed, Seed { kind, user_data: text().into_bytes() }, "{name}");
        assert!(disk.reads < 120, "{name}: {} sectors read", disk.reads);
    }
}

#[test]
fn a_name_that_was_made_short_is_not_found() {
    let mut disk = fixture(include_bytes!("../fixtures/plain"));
    assert_eq!(read(&mut disk), Err(SeedError::NoUserData));
}

#[test]
fn disks_of_others_are_told_apart() {
    for sectors in [0, 1, 67, 68, 200] {
        let mut blank = Memory { bytes: vec![0; sectors * SECTOR_BYTES], bad: None, reads: 0 };
        assert_eq!(read(&mut blank), Err(SeedError::NoFileSystem), "{sectors} sectors");
    }
    for (name, mut disk) in isos().chain(fats()) {
        relabel(&mut disk);
        let error = read(&mut disk).expect_err(name);
        assert!(error.is_another_disk() && matches!(error, SeedError::OtherLabel(_)), "{name}: {error}");
    }
}

/// Replaces the label wherever it stands.
fn relabel(disk: &mut Memory) {
    for at in 0..disk.bytes.len() - 6 {
        if disk.bytes[at..at + 6].eq_ignore_ascii_case(b"cidata") {
            disk.bytes[at..at + 6].copy_from_slice(b"config");
        }
    }
}

/// A disk that was not written to its end, at every length: never a panic, and never half of a file.
#[test]
fn what_is_cut_off_is_said() {
    for (name, whole) in isos().chain(fats()) {
        let mut cut_off = 0;
        for sectors in (0..whole.bytes.len() / SECTOR_BYTES).step_by(if name == "fat32" { 13 } else { 1 }) {
            let mut disk = whole.clone();
            disk.bytes.truncate(sectors * SECTOR_BYTES);
            match read(&mut disk) {
                Ok(seed) => assert_eq!(seed.user_data, text().into_bytes(), "{name}, {sectors} sectors"),
                Err(SeedError::CutOff { needed, sectors: has }) => {
                    assert!(needed > has && has == sectors as u64);
                    cut_off += 1;
                }
                Err(error) => assert!(error.is_another_disk(), "{name}, {sectors} sectors: {error}"),
            }
        }
        assert!(cut_off > 0, "{name}");
    }
}

#[test]
fn a_sector_that_cannot_be_read_is_named() {
    for (name, whole) in isos().chain(fats()) {
        let mut failures = 0;
        for bad in 0..whole.count().min(900) {
            let mut disk = Memory { bad: Some(bad), ..whole.clone() };
            match read(&mut disk) {
                Ok(seed) => assert_eq!(seed.user_data, text().into_bytes()),
                Err(SeedError::Disk { sector, .. }) => {
                    assert!((bad.saturating_sub(64)..=bad).contains(&sector), "{name}: {bad} became {sector}");
                    failures += 1;
                }
                Err(error) => panic!("{name}: {error}"),
            }
        }
        assert!(failures > 3, "{name}: {failures}");
    }
}

/// Every byte of the first sectors that matter, replaced by values that hurt: anything may come of it but a panic or a long wait.
#[test]
fn broken_bytes_end_soon() {
    for (name, whole) in isos().chain(fats()) {
        if name == "fat32" {
            continue;
        }
        let full = whole.bytes.iter().enumerate().filter(|(_, byte)| **byte != 0).map(|(at, _)| at);
        for at in full.step_by(if cfg!(debug_assertions) { 7 } else { 1 }) {
            for value in [0, 1, 0x7f, 0xff] {
                let mut disk = whole.clone();
                disk.bytes[at] = value;
                let _ = read(&mut disk);
                assert!(disk.reads <= 8 * 2048, "{name}: byte {at} = {value}: {} sectors read", disk.reads);
            }
        }
    }
}

/// The place of `bytes` on a disk, the only one or the last.
fn find(disk: &Memory, bytes: &[u8]) -> usize {
    disk.bytes.windows(bytes.len()).rposition(|window| window == bytes).expect("it is there")
}

/// Where the directory entry of `user-data` begins on a FAT disk.
fn fat_entry(disk: &Memory) -> usize {
    find(disk, b"USER-D~1")
}

#[test]
fn a_chain_of_clusters_that_breaks_is_named() {
    let mut disk = fixture(include_bytes!("../fixtures/fat12"));
    let entry = fat_entry(&disk);
    disk.bytes[entry + 26..entry + 28].copy_from_slice(&0xfff0_u16.to_le_bytes());
    assert_eq!(read(&mut disk), Err(SeedError::Malformed(Malformed::Cluster(0xfff0))));
    // The file claims to be longer than its chain.
    let mut disk = fixture(include_bytes!("../fixtures/fat16"));
    let entry = fat_entry(&disk);
    disk.bytes[entry + 28..entry + 32].copy_from_slice(&100_000_u32.to_le_bytes());
    assert!(matches!(read(&mut disk), Err(SeedError::Malformed(Malformed::Cluster(_)))));
    // The root directory bites its own tail: its first cluster, 2, is said to be followed by itself, and is full.
    let mut disk = fixture(include_bytes!("../fixtures/fat32"));
    let root = fat_entry(&disk) / SECTOR_BYTES * SECTOR_BYTES;
    let deleted = vec![0xe5; SECTOR_BYTES];
    disk.bytes[root..root + SECTOR_BYTES].copy_from_slice(&deleted);
    let table = 32 * SECTOR_BYTES;
    assert_eq!(disk.bytes[table..table + 3], [0xf8, 0xff, 0xff]);
    disk.bytes[table + 8..table + 12].copy_from_slice(&2_u32.to_le_bytes());
    assert_eq!(read(&mut disk), Err(SeedError::Endless));
}

#[test]
fn a_file_that_is_none_or_too_long_is_said() {
    for (attributes, bytes, expected) in
        [(0x10, 0, SeedError::IsDirectory), (0x20, u32::MAX, SeedError::TooLong(u32::MAX))]
    {
        let mut disk = fixture(include_bytes!("../fixtures/fat12"));
        let entry = fat_entry(&disk);
        disk.bytes[entry + 11] = attributes;
        disk.bytes[entry + 28..entry + 32].copy_from_slice(&u32::to_le_bytes(bytes));
        assert_eq!(read(&mut disk), Err(expected));
    }
    let name: Vec<u8> = "user-data".encode_utf16().flat_map(u16::to_be_bytes).collect();
    for (offset, value, expected) in [
        (25, 2, SeedError::IsDirectory),
        (25, 0x80, SeedError::Malformed(Malformed::SeveralExtents)),
        (12, 0x7f, SeedError::TooLong(0x7f_0c08)),
        (0, 20, SeedError::Malformed(Malformed::DirectoryRecord)),
        (32, 255, SeedError::Malformed(Malformed::DirectoryRecord)),
    ] {
        let mut disk = fixture(include_bytes!("../fixtures/joliet"));
        let record = find(&disk, &name) - 33;
        disk.bytes[record + offset] = value;
        assert_eq!(read(&mut disk), Err(expected), "{offset}");
    }
}

#[test]
fn volume_descriptors_without_an_end_are_none() {
    let mut disk = fixture(include_bytes!("../fixtures/rock"));
    disk.bytes[16 * 2048 + 128] = 4;
    assert_eq!(read(&mut disk), Err(SeedError::Malformed(Malformed::BlockLength(0x0804))));
    let mut disk = fixture(include_bytes!("../fixtures/rock"));
    disk.bytes.resize(60 * 2048, 0);
    for block in 17..60 {
        disk.bytes[block * 2048..block * 2048 + 7].copy_from_slice(b"\x03CD001\x01");
    }
    assert_eq!(read(&mut disk), Err(SeedError::Malformed(Malformed::Descriptors)));
}

#[test]
fn an_empty_file_is_read() {
    let mut disk = fixture(include_bytes!("../fixtures/fat16"));
    let entry = fat_entry(&disk);
    disk.bytes[entry + 26..entry + 32].fill(0);
    assert_eq!(read(&mut disk), Ok(Seed { kind: Kind::Fat, user_data: Vec::new() }));
}
