//! FAT with 12, 16 or 32 bits (Microsoft, *FAT: General Overview of On-Disk Format*, 1.03), with its long names.

use alloc::string::String;
use alloc::vec::Vec;

use crate::reader::Reader;
use crate::{Malformed, SECTOR_BYTES, Sectors, SeedError, check_len, trimmed, word16, word32};

const ENTRY_BYTES: usize = 32;
/// Attributes of a directory entry.
const IS_VOLUME_LABEL: u8 = 0x08;
const IS_DIRECTORY: u8 = 0x10;
const IS_LONG_NAME: u8 = 0x0f;
const ATTRIBUTES: core::ops::RangeInclusive<u8> = 0x00..=0x3f;
/// First byte of an entry that is free, and of the one behind the last.
const FREE: u8 = 0xe5;
const END: u8 = 0;

/// Sequence number of the only entry of a long name.
const ONLY_ENTRY: u8 = 0x41;
/// Where a long name's characters stand in its entry.
const LONG_NAME_PARTS: [core::ops::Range<usize>; 3] = [1..11, 14..26, 28..32];

/// How many bits a number of the table has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Width {
    Fat12,
    Fat16,
    Fat32,
}

/// A volume: where its parts begin, in sectors of 512 bytes.
pub(crate) struct Fat {
    width: Width,
    table: u64,
    root: Root,
    data: u64,
    cluster_sectors: u64,
    clusters: u32,
    /// The label of the boot sector.
    label: String,
}

#[derive(Clone, Copy)]
enum Root {
    /// A place of its own.
    Fixed { first: u64, sectors: u64 },
    /// A chain of clusters, as any directory.
    Chain(u32),
}

/// A file as its directory entry has it.
struct File {
    attributes: u8,
    cluster: u32,
    bytes: u32,
}

impl Fat {
    /// Reads the boot sector; `None` when it is none.
    pub(crate) fn open<S: Sectors>(reader: &mut Reader<'_, S>) -> Result<Option<Self>, SeedError<S::Error>> {
        if !reader.has(1) {
            return Ok(None);
        }
        Ok(Self::parse(reader.sectors(0, 1)?))
    }

    fn parse(boot: &[u8]) -> Option<Self> {
        let byte = |at: usize| boot.get(at).copied().map(u64::from);
        let word = |at| word16(boot, at).map(u64::from);
        let long = |at| word32(boot, at).map(u64::from);
        if word(510)? != 0xaa55 {
            return None;
        }
        let unit = word(11).filter(|bytes| matches!(bytes, 512 | 1024 | 2048 | 4096))? / SECTOR_BYTES as u64;
        let cluster = byte(13).filter(|sectors| sectors.is_power_of_two())?;
        let reserved = word(14).filter(|sectors| *sectors > 0)?;
        let tables = byte(16).filter(|tables| *tables > 0)?;
        let root_sectors = (word(17)? * ENTRY_BYTES as u64).div_ceil(unit * SECTOR_BYTES as u64);
        let of_two_places = |short: u64, long: u64| if short == 0 { long } else { short };
        let table_sectors = Some(of_two_places(word(22)?, long(36)?)).filter(|sectors| *sectors > 0)?;
        let sectors = of_two_places(word(19)?, long(32)?);
        let root = reserved + tables * table_sectors;
        let data = root + root_sectors;
        let clusters = u32::try_from(sectors.checked_sub(data)? / cluster).ok()?;
        // By the count, as the specification says; but a table that only FAT32 has room to name is one, however small.
        let width = match (word(22)?, clusters) {
            (_, 0) => return None,
            (0, _) | (_, 65_525..) => Width::Fat32,
            (_, 4085..65_525) => Width::Fat16,
            (_, 1..4085) => Width::Fat12,
        };
        let (root, label) = match width {
            Width::Fat32 => (Root::Chain(word32(boot, 44)?), 71..82),
            _ => (Root::Fixed { first: root * unit, sectors: root_sectors * unit }, 43..54),
        };
        Some(Self {
            width,
            table: reserved * unit,
            root,
            data: data * unit,
            cluster_sectors: cluster * unit,
            clusters,
            label: trimmed(boot.get(label)?),
        })
    }

    /// The label: an entry of the root directory, or the boot sector's.
    pub(crate) fn label<S: Sectors>(&self, reader: &mut Reader<'_, S>) -> Result<String, SeedError<S::Error>> {
        let mut label = None;
        self.walk(reader, |entry, attributes| {
            if attributes & (IS_VOLUME_LABEL | IS_DIRECTORY) == IS_VOLUME_LABEL && attributes != IS_LONG_NAME {
                label = entry.get(..11).map(trimmed);
            }
            label.is_none()
        })?;
        Ok(label.unwrap_or_else(|| self.label.clone()))
    }

    /// The bytes of the file `name` in the root; the name is of at most 13 characters, which are one entry.
    pub(crate) fn read<S: Sectors>(
        &self,
        reader: &mut Reader<'_, S>,
        name: &str,
    ) -> Result<Vec<u8>, SeedError<S::Error>> {
        let mut found = None;
        // The checksum of the short name that the entry just seen says to be long for.
        let mut announced = None;
        self.walk(reader, |entry, attributes| {
            if attributes == IS_LONG_NAME {
                announced = long_name_checksum(entry, name);
                return true;
            }
            let is_it = announced.take().is_some_and(|sum| entry.get(..11).is_some_and(|short| checksum(short) == sum));
            if is_it {
                found = File::parse(entry, attributes, self.width);
            }
            !is_it
        })?;
        let file = found.ok_or(SeedError::NoUserData)?;
        if file.attributes & IS_DIRECTORY != 0 {
            return Err(SeedError::IsDirectory);
        }
        check_len(file.bytes)?;
        self.content(reader, &file)
    }

    fn content<S: Sectors>(&self, reader: &mut Reader<'_, S>, file: &File) -> Result<Vec<u8>, SeedError<S::Error>> {
        let len = file.bytes as usize;
        let mut content = Vec::new();
        let mut cluster = file.cluster;
        while content.len() < len {
            // Of the last cluster only what is the file's: the rest may not even be on the disk.
            let sectors = ((len - content.len()).div_ceil(SECTOR_BYTES) as u64).min(self.cluster_sectors);
            content.extend_from_slice(reader.sectors(self.place(cluster)?, sectors)?);
            if content.len() < len {
                cluster = self.next(reader, cluster)?.ok_or(SeedError::Malformed(Malformed::Cluster(cluster)))?;
            }
        }
        content.truncate(len);
        Ok(content)
    }

    /// Shows each entry of the root and its attributes, until `more` says that it has seen enough.
    fn walk<S: Sectors>(
        &self,
        reader: &mut Reader<'_, S>,
        mut more: impl FnMut(&[u8], u8) -> bool,
    ) -> Result<(), SeedError<S::Error>> {
        let (mut first, mut sectors, mut cluster) = match self.root {
            Root::Fixed { first, sectors } => (first, sectors, None),
            Root::Chain(cluster) => (self.place(cluster)?, self.cluster_sectors, Some(cluster)),
        };
        loop {
            for sector in first..first + sectors {
                for entry in reader.sectors(sector, 1)?.chunks_exact(ENTRY_BYTES) {
                    let attributes = entry.get(11).copied().unwrap_or(0);
                    match entry.first() {
                        Some(&FREE) => {}
                        None | Some(&END) => return Ok(()),
                        Some(_) if !ATTRIBUTES.contains(&attributes) => {}
                        Some(_) if more(entry, attributes) => {}
                        Some(_) => return Ok(()),
                    }
                }
            }
            cluster = match cluster {
                Some(cluster) => self.next(reader, cluster)?,
                None => None,
            };
            let Some(cluster) = cluster else { return Ok(()) };
            (first, sectors) = (self.place(cluster)?, self.cluster_sectors);
        }
    }

    /// The first sector of a cluster; the first one has the number 2.
    fn place<E>(&self, cluster: u32) -> Result<u64, SeedError<E>> {
        let number = cluster.checked_sub(2).filter(|number| *number < self.clusters);
        let number = number.ok_or(SeedError::Malformed(Malformed::Cluster(cluster)))?;
        Ok(self.data + u64::from(number) * self.cluster_sectors)
    }

    /// The cluster behind `cluster`; `None` behind the last one.
    fn next<S: Sectors>(&self, reader: &mut Reader<'_, S>, cluster: u32) -> Result<Option<u32>, SeedError<S::Error>> {
        let number = u64::from(cluster);
        let (value, last) = match self.width {
            // Three bytes hold two numbers, which may lie in two sectors.
            Width::Fat12 => {
                let at = number + number / 2;
                let pair = u32::from(self.table_byte(reader, at)?) | u32::from(self.table_byte(reader, at + 1)?) << 8;
                (if cluster & 1 == 1 { pair >> 4 } else { pair & 0xfff }, 0xff8)
            }
            Width::Fat16 => (self.table_word(reader, 2 * number)? & 0xffff, 0xfff8),
            Width::Fat32 => (self.table_word(reader, 4 * number)? & 0x0fff_ffff, 0x0fff_fff8),
        };
        Ok((value < last).then_some(value))
    }

    fn table_byte<S: Sectors>(&self, reader: &mut Reader<'_, S>, at: u64) -> Result<u8, SeedError<S::Error>> {
        let (sector, offset) = (at / SECTOR_BYTES as u64, at as usize % SECTOR_BYTES);
        Ok(reader.sectors(self.table + sector, 1)?.get(offset).copied().unwrap_or(0))
    }

    /// 32 bits, of which the last ones may be of the next number, or missing at a sector's end.
    fn table_word<S: Sectors>(&self, reader: &mut Reader<'_, S>, at: u64) -> Result<u32, SeedError<S::Error>> {
        let (sector, offset) = (at / SECTOR_BYTES as u64, at as usize % SECTOR_BYTES);
        let bytes = reader.sectors(self.table + sector, 1)?;
        Ok(word32(bytes, offset).or_else(|| word16(bytes, offset).map(u32::from)).unwrap_or(0))
    }
}

impl File {
    fn parse(entry: &[u8], attributes: u8, width: Width) -> Option<Self> {
        let high = if width == Width::Fat32 { word16(entry, 20)? } else { 0 };
        let cluster = u32::from(high) << 16 | u32::from(word16(entry, 26)?);
        Some(Self { attributes, cluster, bytes: word32(entry, 28)? })
    }
}

/// The checksum that an entry of a long name carries, if it is the only one of its name, and the name is `wanted`.
fn long_name_checksum(entry: &[u8], wanted: &str) -> Option<u8> {
    if *entry.first()? != ONLY_ENTRY {
        return None;
    }
    let parts = LONG_NAME_PARTS.into_iter().filter_map(|part| entry.get(part));
    let units = parts.flat_map(|part| part.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)));
    let name = char::decode_utf16(units.take_while(|unit| *unit != 0));
    let is_wanted = name.map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).eq(wanted.chars());
    is_wanted.then_some(*entry.get(13)?)
}

/// The checksum of a short name.
fn checksum(short: &[u8]) -> u8 {
    short.iter().fold(0, |sum: u8, byte| sum.rotate_right(1).wrapping_add(*byte))
}
