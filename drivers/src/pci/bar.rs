//! Base address registers (PCI Local Bus 3.0, 6.2.5.1): where a function's registers are in memory.

use weir_hal::{Machine, Mmio, PciConfig, PhysAddr};

use super::{Function, PciError};

const FIRST: u16 = 0x10;
const COUNT: u8 = 6;

const IS_PORTS: u32 = 1;
const TYPE_MASK: u32 = 0b110;
const TYPE_32: u32 = 0b000;
const TYPE_64: u32 = 0b100;
const FLAGS: u64 = 0xf;

/// A base address register's number, 0-5, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarIndex(u8);

/// A range of memory addresses that belongs to a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// The register's number.
    pub index: BarIndex,
    /// First address.
    pub start: PhysAddr,
    /// Length in bytes, a power of two.
    pub len: u64,
}

/// Addresses that may be given to functions which the firmware left without.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    next: u64,
    end: u64,
}

impl Window {
    /// The addresses from `start` to before `end`, in bytes: neither memory nor used by another device.
    pub const fn new(start: PhysAddr, end: PhysAddr) -> Self {
        Self { next: start.0, end: end.0 }
    }

    /// A window without addresses, for a machine whose firmware assigns them all.
    pub const fn empty() -> Self {
        Self { next: 0, end: 0 }
    }

    /// Takes `len` bytes, a power of two, aligned to their own length; `limit` is the last address that may be used.
    fn take(&mut self, len: u64, limit: u64) -> Option<u64> {
        let start = self.next.checked_next_multiple_of(len)?;
        let end = start.checked_add(len)?;
        if end > self.end || end - 1 > limit {
            return None;
        }
        self.next = end;
        Some(start)
    }
}

impl BarIndex {
    /// Checks a number that came from a device.
    ///
    /// # Errors
    /// There are six registers at most.
    pub const fn new(number: u8) -> Result<Self, PciError> {
        if number < COUNT { Ok(Self(number)) } else { Err(PciError::NoSuchBar(number)) }
    }

    const fn offset(self) -> u16 {
        FIRST + 4 * self.0 as u16
    }
}

/// All memory registers of a function, or why each of them is none.
///
/// Finding sizes takes the function off the bus for a moment, which hypervisors are slow at: so it is done once for
/// all.
#[derive(Clone, Copy, Debug)]
pub struct Bars([Result<Bar, PciError>; COUNT as usize]);

impl Bars {
    /// One of them.
    ///
    /// # Errors
    /// The register is absent, malformed, for ports, or could not be given an address.
    pub fn get(&self, index: BarIndex) -> Result<Bar, PciError> {
        self.0.get(usize::from(index.0)).copied().unwrap_or(Err(PciError::NoSuchBar(index.0)))
    }
}

impl Bar {
    /// Maps `len` bytes at `offset` within the range.
    ///
    /// # Errors
    /// The part lies outside, or the kernel refuses.
    pub fn map<M: Machine>(&self, machine: &M, offset: u64, len: u64) -> Result<Mmio, PciError> {
        let outside = PciError::OutsideBar(self.index.0);
        let end = offset.checked_add(len).ok_or(outside)?;
        if len == 0 || end > self.len {
            return Err(outside);
        }
        let at = self.start.checked_add(offset).ok_or(outside)?;
        machine.map_mmio(at, usize::try_from(len).map_err(|_| outside)?).map_err(PciError::Map)
    }
}

impl<C: PciConfig> Function<C> {
    /// Reads all memory registers and finds their sizes. Those without an address get one from `window`.
    pub fn bars(&self, window: &mut Window) -> Bars {
        self.without_decoding(|function| {
            let mut bars = [Err(PciError::BarAbsent(0)); COUNT as usize];
            let mut upper_half = false;
            for (number, bar) in (0..COUNT).zip(&mut bars) {
                if upper_half {
                    upper_half = false;
                    *bar = Err(PciError::BarMalformed(number));
                    continue;
                }
                *bar = function.bar(BarIndex(number), window);
                upper_half = function.read32(BarIndex(number).offset()) & (IS_PORTS | TYPE_MASK) == TYPE_64;
            }
            Bars(bars)
        })
    }

    /// Reads one register, while the function answers no memory access.
    fn bar(&self, index: BarIndex, window: &mut Window) -> Result<Bar, PciError> {
        let low = self.read32(index.offset());
        if low & IS_PORTS != 0 {
            return Err(PciError::BarIsPorts(index.0));
        }
        let wide = match low & TYPE_MASK {
            TYPE_32 => false,
            TYPE_64 if index.0 + 1 < COUNT => true,
            _ => return Err(PciError::BarMalformed(index.0)),
        };
        let mut start = self.read_bar(index, wide) & !FLAGS;
        let len = self.bar_len(index, wide);
        if len == 0 {
            return Err(PciError::BarAbsent(index.0));
        }
        if start == 0 {
            let limit = if wide { u64::MAX } else { u64::from(u32::MAX) };
            start = window.take(len, limit).ok_or(PciError::BarUnassigned(index.0))?;
            self.write_bar(index, wide, start);
        }
        if start.checked_add(len).is_none() {
            return Err(PciError::BarMalformed(index.0));
        }
        Ok(Bar { index, start: PhysAddr(start), len })
    }

    fn read_bar(&self, index: BarIndex, wide: bool) -> u64 {
        let high = if wide { self.read32(index.offset() + 4) } else { 0 };
        u64::from(high) << 32 | u64::from(self.read32(index.offset()))
    }

    fn write_bar(&self, index: BarIndex, wide: bool, value: u64) {
        self.write32(index.offset(), value as u32);
        if wide {
            self.write32(index.offset() + 4, (value >> 32) as u32);
        }
    }

    /// Finds the size by writing ones: the bits that stay zero are the offset within the range.
    fn bar_len(&self, index: BarIndex, wide: bool) -> u64 {
        let before = self.read_bar(index, wide);
        self.write_bar(index, wide, u64::MAX);
        let mask = self.read_bar(index, wide) & !FLAGS;
        self.write_bar(index, wide, before);
        // The lowest bit that can be set; zero when none can.
        mask & mask.wrapping_neg()
    }
}
