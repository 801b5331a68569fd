//! A configuration space made of words, with base address registers that have sizes.

use std::cell::RefCell;
use std::collections::BTreeMap;

use weir_hal::{DmaRegion, Machine, MapError, Mmio, PciConfig, PciFunction, PhysAddr};

use super::{FakeMachine, plain_registers};

/// One function's first 256 bytes, and which bits of them a driver can change.
pub(crate) struct Space {
    words: [u32; 64],
    writable: [u32; 64],
}

/// The functions that are there.
#[derive(Default)]
pub(crate) struct FakeConfig {
    functions: RefCell<BTreeMap<PciFunction, Space>>,
}

pub(crate) fn place(bus: u8, device: u8, function: u8) -> PciFunction {
    PciFunction { bus, device, function }
}

impl Space {
    pub(crate) fn new(vendor: u16, device: u16) -> Self {
        let mut space = Self { words: [0; 64], writable: [0; 64] };
        space.words[0] = u32::from(device) << 16 | u32::from(vendor);
        space.writable[1] = 0x0000_ffff;
        space
    }

    pub(crate) fn word(mut self, offset: usize, value: u32) -> Self {
        self.words[offset / 4] = value;
        self
    }

    pub(crate) fn header_type(self, value: u8) -> Self {
        self.word(0x0c, u32::from(value) << 16)
    }

    /// A 32-bit register of `len` bytes at `start`.
    pub(crate) fn bar32(mut self, number: usize, start: u32, len: u32) -> Self {
        self.words[4 + number] = start;
        self.writable[4 + number] = !(len - 1);
        self
    }

    /// A 64-bit register of `len` bytes at `start`.
    pub(crate) fn bar64(mut self, number: usize, start: u64, len: u64) -> Self {
        self.words[4 + number] = start as u32 | 0b1100;
        self.words[5 + number] = (start >> 32) as u32;
        self.writable[4 + number] = !(len - 1) as u32 & !0xf;
        self.writable[5 + number] = (!(len - 1) >> 32) as u32;
        self
    }

    /// A capability at `offset` that links to the one at `next`; `rest` are its bytes from the third on.
    pub(crate) fn capability(mut self, offset: usize, id: u8, next: u8, rest: &[u8]) -> Self {
        self.words[1] |= 1 << 20;
        if self.words[0x34 / 4] == 0 {
            self.words[0x34 / 4] = offset as u32;
        }
        let bytes = [&[id, next], rest].concat();
        for (at, chunk) in (offset / 4..).zip(bytes.chunks(4)) {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            self.words[at] = u32::from_le_bytes(word);
        }
        // Message control of MSI-X: enable and mask.
        if id == 0x11 {
            self.writable[offset / 4] = 0xc000_0000;
        }
        self
    }
}

impl FakeConfig {
    pub(crate) fn with(self, place: PciFunction, space: Space) -> Self {
        self.functions.borrow_mut().insert(place, space);
        self
    }

    /// The word as it stands, without going through a driver.
    pub(crate) fn word(&self, place: PciFunction, offset: u16) -> u32 {
        self.read32(place, offset)
    }
}

impl PciConfig for FakeConfig {
    fn read32(&self, function: PciFunction, offset: u16) -> u32 {
        let functions = self.functions.borrow();
        let word = functions.get(&function).and_then(|space| space.words.get(usize::from(offset / 4)));
        word.copied().unwrap_or(u32::MAX)
    }

    fn write32(&self, function: PciFunction, offset: u16, value: u32) {
        let mut functions = self.functions.borrow_mut();
        let Some(space) = functions.get_mut(&function) else { return };
        let at = usize::from(offset / 4);
        let decoding = space.words[1] & 0b10 != 0;
        assert!(!(4..10).contains(&at) || !decoding, "a base address moves while the function answers to it");
        space.words[at] = space.words[at] & !space.writable[at] | value & space.writable[at];
    }
}

/// A machine that maps whatever it is asked to, to registers of zeroes, and remembers where.
#[derive(Default)]
pub(crate) struct MappingMachine {
    pub mapped: RefCell<BTreeMap<u64, Mmio>>,
}

impl Machine for MappingMachine {
    fn dma_alloc(&self, bytes: usize, align: usize) -> Option<DmaRegion> {
        FakeMachine.dma_alloc(bytes, align)
    }

    fn map_mmio(&self, at: PhysAddr, len: usize) -> Result<Mmio, MapError> {
        if at.0 >= 1 << 46 {
            return Err(MapError::BadRange);
        }
        let registers = plain_registers(len);
        self.mapped.borrow_mut().insert(at.0, registers);
        Ok(registers)
    }
}
