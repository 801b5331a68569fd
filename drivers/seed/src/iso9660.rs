//! ISO 9660 (ECMA-119, 4th edition), with the long names of Joliet (UCS-2, in a directory tree of their own) or of Rock Ridge
//! (entries `NM` of the System Use Sharing Protocol, behind each directory record).

use alloc::string::String;
use alloc::vec::Vec;

use crate::reader::Reader;
use crate::{Malformed, SECTOR_BYTES, Sectors, SeedError, check_len, trimmed, word16, word32};

const BLOCK_BYTES: u32 = 2048;
const BLOCK_SECTORS: u64 = BLOCK_BYTES as u64 / SECTOR_BYTES as u64;

/// Block of the first volume descriptor (ECMA-119, 7.2.1), and how many are looked at.
const FIRST_DESCRIPTOR: u32 = 16;
const DESCRIPTORS_MAX: u32 = 32;

/// Types of volume descriptor (9.1.1).
const PRIMARY: u8 = 1;
const SUPPLEMENTARY: u8 = 2;
const TERMINATOR: u8 = 255;

/// Offsets within a volume descriptor (9.4).
const LABEL: core::ops::Range<usize> = 40..72;
const ESCAPE: core::ops::Range<usize> = 88..91;
const BLOCK_LENGTH: usize = 128;
const ROOT_RECORD: usize = 156;

/// The escape sequences that mean Joliet: UCS-2, level 1 to 3.
const JOLIET: [&[u8]; 3] = [b"%/@", b"%/C", b"%/E"];

/// Length of a directory record without its name (10.1), and its flags.
const RECORD_BYTES: usize = 33;
const IS_DIRECTORY: u8 = 2;
const IS_CONTINUED: u8 = 0x80;

/// How the names of a directory tree are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    /// Short ones in ASCII, and Rock Ridge's behind them.
    Plain,
    Joliet,
}

/// Where a file or directory lies.
#[derive(Clone, Copy)]
struct Extent {
    block: u32,
    bytes: u32,
}

/// A volume.
pub(crate) struct Iso9660 {
    label: String,
    /// The root as the primary descriptor and then as Joliet's has it.
    plain: Extent,
    joliet: Option<Extent>,
}

impl Iso9660 {
    /// Reads the volume descriptors; `None` when there are none.
    pub(crate) fn open<S: Sectors>(reader: &mut Reader<'_, S>) -> Result<Option<Self>, SeedError<S::Error>> {
        if !reader.has(u64::from(FIRST_DESCRIPTOR + 1) * BLOCK_SECTORS) {
            return Ok(None);
        }
        let malformed = SeedError::Malformed(Malformed::Descriptors);
        let mut primary = None;
        let mut joliet = None;
        for number in 0..DESCRIPTORS_MAX {
            let descriptor = block(reader, FIRST_DESCRIPTOR + number)?;
            if descriptor.get(1..6) != Some(b"CD001") {
                return if number == 0 { Ok(None) } else { Err(malformed) };
            }
            match descriptor.first() {
                Some(&PRIMARY) if primary.is_none() => {
                    let bytes = word16(descriptor, BLOCK_LENGTH).unwrap_or(0);
                    if u32::from(bytes) != BLOCK_BYTES {
                        return Err(SeedError::Malformed(Malformed::BlockLength(bytes)));
                    }
                    let label = trimmed(descriptor.get(LABEL).unwrap_or_default());
                    primary = Some((label, root(descriptor)?));
                }
                Some(&SUPPLEMENTARY) if JOLIET.contains(&descriptor.get(ESCAPE).unwrap_or_default()) => {
                    joliet = Some(root(descriptor)?);
                }
                Some(&TERMINATOR) => {
                    let (label, plain) = primary.ok_or(malformed)?;
                    return Ok(Some(Self { label, plain, joliet }));
                }
                _ => {}
            }
        }
        Err(malformed)
    }

    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    /// The bytes of the file `name` in the root.
    pub(crate) fn read<S: Sectors>(
        &self,
        reader: &mut Reader<'_, S>,
        name: &str,
    ) -> Result<Vec<u8>, SeedError<S::Error>> {
        let joliet = self.joliet.map(|root| find(reader, root, Names::Joliet, name)).transpose()?.flatten();
        let found = match joliet {
            Some(extent) => Some(extent),
            None => find(reader, self.plain, Names::Plain, name)?,
        };
        let Extent { block: first, bytes } = found.ok_or(SeedError::NoUserData)?;
        check_len(bytes)?;
        let mut content = Vec::new();
        for number in 0..bytes.div_ceil(BLOCK_BYTES) {
            content.extend_from_slice(block(reader, first.saturating_add(number))?);
        }
        content.truncate(bytes as usize);
        Ok(content)
    }
}

fn block<'r, S: Sectors>(reader: &'r mut Reader<'_, S>, number: u32) -> Result<&'r [u8], SeedError<S::Error>> {
    reader.sectors(u64::from(number) * BLOCK_SECTORS, BLOCK_SECTORS)
}

fn root<E>(descriptor: &[u8]) -> Result<Extent, SeedError<E>> {
    let record = descriptor.get(ROOT_RECORD..).and_then(|bytes| Record::first(bytes).ok().flatten());
    record.map(|record| record.extent).ok_or(SeedError::Malformed(Malformed::Descriptors))
}

/// Looks for a file through a directory.
fn find<S: Sectors>(
    reader: &mut Reader<'_, S>,
    directory: Extent,
    names: Names,
    name: &str,
) -> Result<Option<Extent>, SeedError<S::Error>> {
    for number in 0..directory.bytes.div_ceil(BLOCK_BYTES) {
        let mut rest = block(reader, directory.block.saturating_add(number))?;
        while let Some(record) = Record::first(rest).map_err(SeedError::Malformed)? {
            if record.has_name(names, name) {
                return match record.flags {
                    flags if flags & IS_DIRECTORY != 0 => Err(SeedError::IsDirectory),
                    flags if flags & IS_CONTINUED != 0 => Err(SeedError::Malformed(Malformed::SeveralExtents)),
                    _ => Ok(Some(record.extent)),
                };
            }
            rest = rest.get(record.len..).unwrap_or_default();
        }
    }
    Ok(None)
}

/// A directory record (10.1).
struct Record<'a> {
    len: usize,
    extent: Extent,
    flags: u8,
    identifier: &'a [u8],
    system_use: &'a [u8],
}

impl<'a> Record<'a> {
    /// The first record of what is left of a block; `None` behind the last one, where zeroes fill the block.
    fn first(bytes: &'a [u8]) -> Result<Option<Self>, Malformed> {
        let len = usize::from(bytes.first().copied().unwrap_or(0));
        if len == 0 {
            return Ok(None);
        }
        Self::parse(bytes.get(..len).unwrap_or_default()).map(Some).ok_or(Malformed::DirectoryRecord)
    }

    fn parse(record: &'a [u8]) -> Option<Self> {
        let identifier_len = usize::from(*record.get(RECORD_BYTES - 1)?);
        let end = RECORD_BYTES + identifier_len;
        let identifier = record.get(RECORD_BYTES..end)?;
        // A record's own extended attributes lie in front of its content.
        let block = word32(record, 2)?.checked_add(u32::from(*record.get(1)?))?;
        Some(Self {
            len: record.len(),
            extent: Extent { block, bytes: word32(record, 10)? },
            flags: *record.get(25)?,
            identifier,
            // What follows begins at an even offset.
            system_use: record.get(end.next_multiple_of(2)..).unwrap_or_default(),
        })
    }

    fn has_name(&self, names: Names, wanted: &str) -> bool {
        let name = match names {
            Names::Joliet => {
                let units = self.identifier.as_chunks::<2>().0.iter().map(|unit| u16::from_be_bytes(*unit));
                char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
            }
            Names::Plain => match rock_ridge_name(self.system_use) {
                Some(name) => return name == wanted.as_bytes(),
                None => String::from_utf8_lossy(self.identifier).into_owned(),
            },
        };
        // The version number, and the dot of a name without an extension.
        let bare = name.split(';').next().unwrap_or_default().trim_end_matches('.');
        bare.eq_ignore_ascii_case(wanted)
    }
}

/// The name among the entries behind a record: signature, length, version, and for `NM` flags and the name. A short name
/// stands in one entry.
fn rock_ridge_name(mut entries: &[u8]) -> Option<&[u8]> {
    while let [first, second, len, ..] = *entries {
        let entry = entries.get(..usize::from(len)).filter(|entry| entry.len() >= 4)?;
        if [first, second] == *b"NM" {
            return entry.get(5..);
        }
        entries = entries.get(entry.len()..)?;
    }
    None
}
