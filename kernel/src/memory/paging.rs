//! The page tables: an identity mapping with the largest pages that fit, and holes where nobody may step.
//!
//! Text is read-only and executable, read-only data neither writable nor executable, everything else writable and not
//! executable. Page zero and the guard pages under the stacks are not mapped. Device registers are mapped uncached, on
//! demand. Tables are only added to or split, never freed, so no other core's cached translation can become wrong.

use core::ptr::NonNull;

use super::ranges::Range;

/// What may be done with a page, as the bits of its table entry (Intel SDM volume 3, 5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access(u64);

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const WRITE_THROUGH: u64 = 1 << 3;
const UNCACHED: u64 = 1 << 4;
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

impl Access {
    /// Program text.
    pub const EXECUTE: Access = Access(PRESENT | GLOBAL);
    /// Read-only data.
    pub const READ: Access = Access(PRESENT | GLOBAL | NO_EXECUTE);
    /// Data.
    pub const WRITE: Access = Access(PRESENT | GLOBAL | NO_EXECUTE | WRITABLE);
    /// Device registers.
    pub const DEVICE: Access = Access(PRESENT | GLOBAL | NO_EXECUTE | WRITABLE | WRITE_THROUGH | UNCACHED);
}

/// Page sizes by level: a page table maps 4 KiB pages (level 0), a directory 2 MiB, a directory pointer table 1 GiB.
const fn page_bytes(level: u32) -> u64 {
    4096 << (9 * level)
}

const TOP_LEVEL: u32 = 3;

type Table = [u64; 512];

/// No memory left for a page table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfTables;

/// A tree of page tables in identity-mapped memory.
#[derive(Debug)]
pub struct PageTables {
    root: NonNull<Table>,
    gigabyte_pages: bool,
}

// SAFETY: the tables are plain memory owned by this value.
unsafe impl Send for PageTables {}

impl PageTables {
    /// An empty tree whose root is the zeroed page `root`.
    ///
    /// # Safety
    /// `root` is a zeroed page, mapped one to one, that belongs to this tree for ever. The pages that the `page`
    /// arguments of the other methods supply are likewise.
    pub const unsafe fn new(root: NonNull<Table>, gigabyte_pages: bool) -> PageTables {
        PageTables { root, gigabyte_pages }
    }

    /// Physical address of the root, for CR3.
    pub fn root(&self) -> u64 {
        self.root.as_ptr() as u64
    }

    /// Maps `range` (whole 4 KiB pages) one to one; what was mapped there gets the new access.
    pub fn map(
        &mut self,
        range: Range,
        access: Access,
        page: &mut impl FnMut() -> Option<NonNull<Table>>,
    ) -> Result<(), OutOfTables> {
        let mut at = range.start;
        while at < range.end {
            let left = range.end - at;
            let largest = if self.gigabyte_pages { 2 } else { 1 };
            let fits = |level: &u32| at.is_multiple_of(page_bytes(*level)) && left >= page_bytes(*level);
            let level = (0..=largest).rev().find(fits).unwrap_or(0);
            let large = if level > 0 { LARGE } else { 0 };
            *self.entry(at, level, page)? = at | access.0 | large;
            at += page_bytes(level);
        }
        Ok(())
    }

    /// Takes the 4 KiB page at `at` out of the mapping, splitting a large page if need be.
    pub fn unmap_page(
        &mut self,
        at: u64,
        page: &mut impl FnMut() -> Option<NonNull<Table>>,
    ) -> Result<(), OutOfTables> {
        *self.entry(at, 0, page)? = 0;
        Ok(())
    }

    /// The address and access that a load at `at` would see, for tests and reports.
    pub fn lookup(&self, at: u64) -> Option<(u64, Access)> {
        let mut table = self.root;
        for level in (0..=TOP_LEVEL).rev() {
            // SAFETY: as in `entry`.
            let entry = unsafe { table.as_ref()[index(at, level)] };
            if entry & PRESENT == 0 {
                return None;
            }
            if level == 0 || entry & LARGE != 0 {
                let inside = at % page_bytes(level);
                let frame = entry & ADDRESS & !(page_bytes(level) - 1);
                return Some((frame + inside, Access(entry & !ADDRESS & !LARGE)));
            }
            table = child(entry)?;
        }
        None
    }

    /// The entry for `at` on `level`, making tables and splitting large pages on the way.
    fn entry(
        &mut self,
        at: u64,
        level: u32,
        page: &mut impl FnMut() -> Option<NonNull<Table>>,
    ) -> Result<&mut u64, OutOfTables> {
        let mut table = self.root;
        for above in (level + 1..=TOP_LEVEL).rev() {
            // SAFETY: every table in the tree is a whole mapped page that only this value refers to (constructor's
            // contract), and `index` is below 512.
            let entry = unsafe { &mut table.as_mut()[index(at, above)] };
            if *entry & PRESENT == 0 || *entry & LARGE != 0 {
                let new = page().ok_or(OutOfTables)?;
                if *entry & LARGE != 0 {
                    split(*entry, above, new);
                }
                *entry = new.as_ptr() as u64 | PRESENT | WRITABLE;
            }
            table = child(*entry).ok_or(OutOfTables)?;
        }
        // SAFETY: as above; the reference lives no longer than `self` is borrowed.
        Ok(unsafe { &mut (*table.as_ptr())[index(at, level)] })
    }
}

/// Fills `new` with 512 entries that map what the large page `entry` of `level` mapped.
fn split(entry: u64, level: u32, mut new: NonNull<Table>) {
    let below = level - 1;
    let large = if below > 0 { LARGE } else { 0 };
    let first = entry & ADDRESS & !(page_bytes(level) - 1);
    let access = entry & !ADDRESS & !LARGE;
    // SAFETY: a fresh page that nobody else refers to (contract of `PageTables::new`).
    let table = unsafe { new.as_mut() };
    for (slot, at) in table.iter_mut().zip((first..).step_by(page_bytes(below) as usize)) {
        *slot = at | access | large;
    }
}

fn child(entry: u64) -> Option<NonNull<Table>> {
    NonNull::new((entry & ADDRESS) as *mut Table)
}

const fn index(at: u64, level: u32) -> usize {
    (at >> (12 + 9 * level)) as usize & 511
}

#[cfg(test)]
mod tests;
