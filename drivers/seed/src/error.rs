//! Why a disk gave no user-data.

use alloc::string::String;
use core::fmt;

use crate::USER_DATA_BYTES_MAX;
use crate::reader::SECTORS_READ_MAX;

/// Why a disk gave no user-data. `E` is the disk's own error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeedError<E> {
    /// The disk could not be read.
    Disk {
        /// The first of the sectors.
        sector: u64,
        /// Why not.
        error: E,
    },
    /// There is neither ISO 9660 nor FAT at its beginning.
    NoFileSystem,
    /// The file system has another label than `cidata`.
    OtherLabel(String),
    /// The disk ends before something that its file system names: it is half written.
    CutOff {
        /// The sector behind what is needed.
        needed: u64,
        /// Sectors of the disk.
        sectors: u64,
    },
    /// There is no file `user-data` in its root.
    NoUserData,
    /// `user-data` is a directory.
    IsDirectory,
    /// `user-data` is longer than [`USER_DATA_BYTES_MAX`].
    TooLong(u32),
    /// The file system contradicts itself.
    Malformed(Malformed),
    /// It leads on and on, as in a circle.
    Endless,
}

/// What cannot be in a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// ISO 9660: blocks of another length than 2,048 bytes.
    BlockLength(u16),
    /// ISO 9660: the list of volume descriptors has no primary one, or no end.
    Descriptors,
    /// ISO 9660: a directory record that is too short, or leaves its block.
    DirectoryRecord,
    /// ISO 9660: a file of several extents.
    SeveralExtents,
    /// FAT: a chain of clusters leads to one that is none, or ends before its file.
    Cluster(u32),
}

impl<E> SeedError<E> {
    /// Whether this is no seed disk at all, which is nothing to complain about.
    pub const fn is_another_disk(&self) -> bool {
        matches!(self, Self::NoFileSystem | Self::OtherLabel(_))
    }
}

impl<E: fmt::Display> fmt::Display for SeedError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk { sector, error } => write!(f, "sector {sector} cannot be read: {error}"),
            Self::NoFileSystem => f.write_str("neither ISO 9660 nor FAT at its beginning"),
            Self::OtherLabel(label) => write!(f, "the label is {label:?}, not \"cidata\""),
            Self::CutOff { needed, sectors } => {
                let kib = |sectors: &u64| sectors.div_ceil(2);
                write!(f, "cut off: {} KiB are needed, and the disk has {}", kib(needed), kib(sectors))
            }
            Self::NoUserData => {
                f.write_str("there is no file user-data in its root (ISO 9660 has such a name with -joliet or -rock)")
            }
            Self::IsDirectory => f.write_str("user-data is a directory"),
            Self::TooLong(bytes) => write!(f, "user-data has {bytes} bytes, {USER_DATA_BYTES_MAX} at most are read"),
            Self::Malformed(malformed) => malformed.fmt(f),
            Self::Endless => write!(f, "the file system leads on for more than {} KiB", SECTORS_READ_MAX / 2),
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BlockLength(bytes) => write!(f, "ISO 9660 with blocks of {bytes} bytes, only 2048 are supported"),
            Self::Descriptors => f.write_str("the volume descriptors of ISO 9660 are not complete"),
            Self::DirectoryRecord => f.write_str("a directory record of ISO 9660 is broken"),
            Self::SeveralExtents => f.write_str("user-data lies in several extents"),
            Self::Cluster(cluster) => write!(f, "the FAT's chain of clusters breaks at {cluster:#x}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for SeedError<E> {}
