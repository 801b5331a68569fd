//! Sectors within the disk, and not too many of them.

use alloc::vec;
use alloc::vec::Vec;

use crate::{SECTOR_BYTES, Sectors, SeedError, USER_DATA_BYTES_MAX};

/// What may be read of one disk: the longest user-data eight times over, for its directories and tables.
pub(crate) const SECTORS_READ_MAX: u64 = 8 * USER_DATA_BYTES_MAX as u64 / SECTOR_BYTES as u64;

/// A disk and what may still be read of it. The last sectors are kept: tables are read entry by entry.
pub(crate) struct Reader<'a, S> {
    disk: &'a mut S,
    allowance: u64,
    kept: Vec<u8>,
    kept_first: u64,
}

impl<'a, S: Sectors> Reader<'a, S> {
    pub(crate) fn new(disk: &'a mut S) -> Self {
        Self { disk, allowance: SECTORS_READ_MAX, kept: Vec::new(), kept_first: 0 }
    }

    /// Whether the disk has that many sectors.
    pub(crate) fn has(&self, sectors: u64) -> bool {
        sectors <= self.disk.count()
    }

    /// `count` sectors from `first` on.
    pub(crate) fn sectors(&mut self, first: u64, count: u64) -> Result<&[u8], SeedError<S::Error>> {
        let len = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(SECTOR_BYTES);
        if first != self.kept_first || self.kept.len() != len {
            self.kept.clear();
            self.allowance = self.allowance.checked_sub(count).ok_or(SeedError::Endless)?;
            let (needed, sectors) = (first.saturating_add(count), self.disk.count());
            if needed > sectors {
                return Err(SeedError::CutOff { needed, sectors });
            }
            let mut bytes = vec![0; len];
            self.disk.read(first, &mut bytes).map_err(|error| SeedError::Disk { sector: first, error })?;
            (self.kept, self.kept_first) = (bytes, first);
        }
        Ok(&self.kept)
    }
}
