//! The few ACPI tables that Weir needs (ACPI 6.5): cores from the MADT, power and timer ports from the FADT, the
//! configuration window from the MCFG, the HPET, and the devices without a bus from the DSDT.
//!
//! Tables are foreign bytes: each is read through [`PhysMemory`] with bounds, its checksum is checked before use, and what is
//! wrong is an error or a missing table. There is no AML interpreter; what is needed from AML, the sleep type of
//! `\_S5` and the resources of virtio devices, is found by its encoding.

use crate::memory::phys::PhysMemory;

mod dsdt;
mod fadt;
mod madt;
mod mcfg;

pub use dsdt::{MmioDevices, mmio_devices};
pub use fadt::{Fadt, Register, RegisterSpace};
pub use madt::{Cores, IoApic, madt_cores, madt_io_apics};
pub use mcfg::{ConfigWindow, config_window};

/// Why there are no tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcpiError {
    /// No root pointer where the loader said nor in the BIOS area.
    NoRoot,
    /// The root pointer names no readable table list.
    BadRoot,
}

const HEADER_BYTES: u64 = 36;
/// No table that Weir reads is longer; a larger length field is a broken table.
const TABLE_BYTES_MAX: u32 = 1 << 20;

/// A table whose header and checksum are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    at: u64,
    len: u32,
}

impl Table {
    fn check(memory: &impl PhysMemory, at: u64, signature: Option<&[u8; 4]>) -> Option<Table> {
        let header = memory.array::<8>(at)?;
        if signature.is_some_and(|wanted| header[..4] != wanted[..]) {
            return None;
        }
        let len = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        let sane = HEADER_BYTES as u32 <= len && len <= TABLE_BYTES_MAX;
        (sane && checksum(memory, at, len)? == 0).then_some(Table { at, len })
    }

    /// `N` bytes at `offset`, if the table is that long.
    pub fn array<const N: usize>(&self, memory: &impl PhysMemory, offset: u32) -> Option<[u8; N]> {
        let end = offset.checked_add(N as u32)?;
        if end > self.len {
            return None;
        }
        memory.array(self.at.checked_add(u64::from(offset))?)
    }

    fn u8(&self, memory: &impl PhysMemory, offset: u32) -> Option<u8> {
        self.array::<1>(memory, offset).map(|bytes| bytes[0])
    }

    fn u16(&self, memory: &impl PhysMemory, offset: u32) -> Option<u16> {
        self.array(memory, offset).map(u16::from_le_bytes)
    }

    fn u32(&self, memory: &impl PhysMemory, offset: u32) -> Option<u32> {
        self.array(memory, offset).map(u32::from_le_bytes)
    }

    fn u64(&self, memory: &impl PhysMemory, offset: u32) -> Option<u64> {
        self.array(memory, offset).map(u64::from_le_bytes)
    }
}

/// The list of tables: RSDT or XSDT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tables {
    list: Table,
    entry_bytes: u32,
}

impl Tables {
    /// Finds the tables from the root pointer at `hint`, or by searching the BIOS area if `hint` is 0 or wrong.
    pub fn find(memory: &impl PhysMemory, hint: u64) -> Result<Tables, AcpiError> {
        let root = Some(hint).filter(|at| is_root(memory, *at)).or_else(|| search_root(memory));
        let root = root.ok_or(AcpiError::NoRoot)?;
        let bytes = memory.array::<20>(root).ok_or(AcpiError::BadRoot)?;
        let rsdt = u32::from_le_bytes([bytes[16], bytes[17], bytes[18], bytes[19]]);
        let revision = bytes[15];
        let xsdt = match memory.array::<8>(root + 24) {
            Some(bytes) if revision >= 2 => u64::from_le_bytes(bytes),
            _ => 0,
        };
        let xsdt = Table::check(memory, xsdt, Some(b"XSDT")).map(|list| Tables { list, entry_bytes: 8 });
        let rsdt = || Table::check(memory, rsdt.into(), Some(b"RSDT")).map(|list| Tables { list, entry_bytes: 4 });
        xsdt.or_else(rsdt).ok_or(AcpiError::BadRoot)
    }

    /// The first good table with this signature.
    pub fn get(&self, memory: &impl PhysMemory, signature: &[u8; 4]) -> Option<Table> {
        let offsets = (HEADER_BYTES as u32..self.list.len).step_by(self.entry_bytes as usize);
        offsets.into_iter().find_map(|offset| {
            let at = match self.entry_bytes {
                8 => self.list.u64(memory, offset)?,
                _ => self.list.u32(memory, offset)?.into(),
            };
            Table::check(memory, at, Some(signature))
        })
    }
}

fn is_root(memory: &impl PhysMemory, at: u64) -> bool {
    at != 0 && memory.array::<8>(at).as_ref() == Some(b"RSD PTR ") && checksum(memory, at, 20) == Some(0)
}

/// Looks in the BIOS area and the first kilobyte of the extended BIOS data area (ACPI 6.5, 5.2.5.1).
fn search_root(memory: &impl PhysMemory) -> Option<u64> {
    let bios = (0xe_0000..0x10_0000).step_by(16);
    let data = (0x9_fc00..0xa_0000).step_by(16);
    bios.chain(data).find(|at| is_root(memory, *at))
}

fn checksum(memory: &impl PhysMemory, at: u64, len: u32) -> Option<u8> {
    let mut sum = 0u8;
    let mut buffer = [0; 64];
    let mut done = 0;
    while done < len {
        let part = &mut buffer[..(len - done).min(64) as usize];
        if !memory.read(at.checked_add(u64::from(done))?, part) {
            return None;
        }
        sum = part.iter().fold(sum, |sum, byte| sum.wrapping_add(*byte));
        done += part.len() as u32;
    }
    Some(sum)
}

#[cfg(test)]
mod tests;
