//! A configuration disk with anything on it: reading it ends, and soon.

use std::collections::BTreeMap;

use weir_seed::{SECTOR_BYTES, Sectors, read};

use crate::features::Features;

/// Sectors that a disk may be said to have.
const SECTORS_MAX: u64 = 1 << 24;
/// Sectors that may be read of one disk: as many as the reader allows itself.
const READS_MAX: u64 = 1 << 14;

/// What file systems are recognised by.
pub const WORDS: &[&[u8]] = &[
    b"\x01CD001\x01\0",
    b"\x02CD001\x01\0",
    b"\xffCD001\x01",
    b"%/E",
    b"cidata",
    b"user-data",
    b"\0u\0s\0e\0r\0-\0d\0a\0t\0a",
    b"NM\x0e\x01\0user-data",
    b"USER-D~1   ",
    b"\x55\xaa",
    b"\xff\x0f\0\0",
];

/// A disk of which only some sectors are told.
struct Sparse<'a> {
    sectors: BTreeMap<u64, &'a [u8]>,
    count: u64,
    reads: u64,
}

impl<'a> Sparse<'a> {
    /// Records of a sector number (32 bits, little endian) and its bytes, the last one as long as it lasts.
    fn new(data: &'a [u8]) -> Self {
        let records = data.chunks(4 + SECTOR_BYTES).filter_map(<[u8]>::split_first_chunk);
        let sectors: BTreeMap<u64, &[u8]> =
            records.map(|(number, bytes)| (u64::from(u32::from_le_bytes(*number)) % SECTORS_MAX, bytes)).collect();
        let count = sectors.last_key_value().map_or(0, |(last, _)| last + 1);
        Self { sectors, count, reads: 0 }
    }
}

impl Sectors for Sparse<'_> {
    type Error = std::convert::Infallible;

    fn count(&self) -> u64 {
        self.count
    }

    fn read(&mut self, first: u64, into: &mut [u8]) -> Result<(), Self::Error> {
        for (sector, to) in (first..).zip(into.chunks_mut(SECTOR_BYTES)) {
            assert!(sector < self.count && to.len() == SECTOR_BYTES, "sector {sector} of {}", self.count);
            self.reads += 1;
            let bytes = self.sectors.get(&sector).copied().unwrap_or_default();
            to.fill(0);
            to[..bytes.len()].copy_from_slice(bytes);
        }
        Ok(())
    }
}

pub fn run(data: &[u8]) -> Features {
    let mut features = Features::default();
    let mut disk = Sparse::new(data);
    match read(&mut disk) {
        Ok(seed) => {
            features.add_name(&seed.kind.to_string());
            features.add_count(1, seed.user_data.len() as u64);
        }
        Err(error) => {
            // Without the numbers in it.
            let name: String = format!("{error:?}").chars().filter(char::is_ascii_alphabetic).collect();
            features.add_name(name.split("OtherLabel").next().unwrap_or_default());
            assert!(!error.to_string().is_empty());
        }
    }
    features.add_count(2, disk.reads);
    assert!(disk.reads <= READS_MAX, "{} sectors read", disk.reads);
    features
}
