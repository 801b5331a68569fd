//! A NoCloud disk: a file system with the label `cidata` and in its root a file `user-data`.
//!
//! [`read`] reads it from anything that has [`Sectors`], whichever tool made it: ISO 9660 with Joliet or Rock Ridge names
//! (`genisoimage`, `xorriso`, `cloud-localds`), or FAT with 12, 16 or 32 bits (`mkfs.vfat`). The file system begins with the
//! disk; partitions are not looked into.
//!
//! ```text
//! read         which file system, whose label, the file
//!   iso9660    volume descriptors, directory records      (ECMA-119, Joliet, SUSP and Rock Ridge)
//!   fat        boot sector, table, directory entries      (Microsoft's FAT specification of 2000)
//!     reader   sectors within the disk, and not too many
//! ```
//!
//! Every byte may be anything: what cannot be is a [`Malformed`], what is cut off is [`SeedError::CutOff`], and what leads in
//! circles comes to an end by the [`Reader`](reader)'s allowance.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod error;
mod fat;
mod iso9660;
mod reader;
#[cfg(test)]
mod tests;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

pub use error::{Malformed, SeedError};
use fat::Fat;
use iso9660::Iso9660;
use reader::Reader;

/// The unit of addresses.
pub const SECTOR_BYTES: usize = 512;

/// Longer user-data is not read.
pub const USER_DATA_BYTES_MAX: u32 = 1 << 20;

/// The label of a disk that is ours; tools write it in upper or lower case.
const LABEL: &str = "cidata";
const FILE_NAME: &str = "user-data";

/// A disk that can be read.
pub trait Sectors {
    /// Why a read failed.
    type Error: fmt::Display;

    /// Length in sectors.
    fn count(&self) -> u64;

    /// Reads whole sectors, from `first` on; they are within the disk.
    ///
    /// # Errors
    /// The disk does not give them.
    fn read(&mut self, first: u64, into: &mut [u8]) -> Result<(), Self::Error>;
}

/// Kinds of file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// ISO 9660.
    Iso9660,
    /// FAT of any width.
    Fat,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Iso9660 => "ISO 9660",
            Self::Fat => "FAT",
        })
    }
}

/// What a seed disk says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// The file system it stands in.
    pub kind: Kind,
    /// The whole file.
    pub user_data: Vec<u8>,
}

/// Reads the user-data of a disk.
///
/// # Errors
/// The disk is another one ([`SeedError::is_another_disk`]), or it is a seed and something in it is missing or wrong.
pub fn read<S: Sectors>(disk: &mut S) -> Result<Seed, SeedError<S::Error>> {
    let mut reader = Reader::new(disk);
    if let Some(volume) = Iso9660::open(&mut reader)? {
        check_label(volume.label())?;
        return Ok(Seed { kind: Kind::Iso9660, user_data: volume.read(&mut reader, FILE_NAME)? });
    }
    if let Some(volume) = Fat::open(&mut reader)? {
        check_label(&volume.label(&mut reader)?)?;
        return Ok(Seed { kind: Kind::Fat, user_data: volume.read(&mut reader, FILE_NAME)? });
    }
    Err(SeedError::NoFileSystem)
}

fn check_label<E>(label: &str) -> Result<(), SeedError<E>> {
    if label.eq_ignore_ascii_case(LABEL) { Ok(()) } else { Err(SeedError::OtherLabel(String::from(label))) }
}

fn check_len<E>(bytes: u32) -> Result<(), SeedError<E>> {
    if bytes > USER_DATA_BYTES_MAX { Err(SeedError::TooLong(bytes)) } else { Ok(()) }
}

/// Little-endian words of fields that may be missing.
fn word16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn word32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A label as tools pad it: with spaces, and some with zeroes.
fn trimmed(bytes: &[u8]) -> String {
    String::from(String::from_utf8_lossy(bytes).trim_end_matches([' ', '\0']))
}
