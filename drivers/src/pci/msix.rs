//! The MSI-X table (PCI Local Bus 3.0, 6.8.2): which message a function writes for which of its interrupts.

use weir_hal::{Machine, Mmio, MsiMessage, PciConfig};

use super::{BarIndex, Bars, Function, PciError};

const CAPABILITY_MSIX: u8 = 0x11;

const ENABLE: u16 = 1 << 15;
const MASK_ALL: u16 = 1 << 14;
const LEN_MASK: u16 = 0x7ff;

const ENTRY_BYTES: usize = 16;
const ENTRY_MASKED: u32 = 1;

/// The mapped table of one function. All entries are masked until [`MsixTable::set`].
#[derive(Debug)]
pub struct MsixTable {
    entries: Mmio,
    len: u16,
}

impl MsixTable {
    /// Maps the function's table, masks every entry and switches MSI-X on. None when the function has no table.
    ///
    /// The function must be [enabled](Function::enable).
    ///
    /// # Errors
    /// The capability list or the table's place is wrong.
    pub fn open<C: PciConfig, M: Machine>(
        function: &Function<C>,
        machine: &M,
        bars: &Bars,
    ) -> Result<Option<Self>, PciError> {
        let Some(offset) = find(function)? else { return Ok(None) };
        let control = function.read16(offset + 2);
        let len = (control & LEN_MASK) + 1;
        let place = function.read32(offset + 4);
        let bar = bars.get(BarIndex::new((place & 7) as u8)?)?;
        let bytes = u64::from(len) * ENTRY_BYTES as u64;
        let entries = bar.map(machine, u64::from(place & !7), bytes)?;
        let table = Self { entries, len };
        // Switched on with everything masked, so that no half-written entry is ever used.
        set_control(function, offset, control | ENABLE | MASK_ALL);
        for entry in 0..len {
            table.write(entry, 12, ENTRY_MASKED);
        }
        set_control(function, offset, control & !MASK_ALL | ENABLE);
        Ok(Some(table))
    }

    /// A table in registers that somebody else found.
    #[cfg(any(test, feature = "fake"))]
    pub(crate) const fn over(entries: Mmio, len: u16) -> Self {
        Self { entries, len }
    }

    /// How many entries the table has.
    pub const fn len(&self) -> u16 {
        self.len
    }

    /// Never: a table has one entry at least.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sets an entry's message and lets it through.
    ///
    /// # Errors
    /// The table has no such entry.
    pub fn set(&self, entry: u16, message: MsiMessage) -> Result<(), PciError> {
        if entry >= self.len {
            return Err(PciError::NoSuchVector(entry));
        }
        self.write(entry, 12, ENTRY_MASKED);
        self.write(entry, 0, message.address as u32);
        self.write(entry, 4, (message.address >> 32) as u32);
        self.write(entry, 8, message.data);
        self.write(entry, 12, 0);
        Ok(())
    }

    fn write(&self, entry: u16, field: usize, value: u32) {
        self.entries.write(usize::from(entry) * ENTRY_BYTES + field, value);
    }
}

fn find<C: PciConfig>(function: &Function<C>) -> Result<Option<u16>, PciError> {
    for capability in function.capabilities() {
        let capability = capability?;
        if capability.id == CAPABILITY_MSIX {
            return Ok(Some(capability.offset));
        }
    }
    Ok(None)
}

/// Writes the message control word, which shares its 32 bits with two read-only bytes.
fn set_control<C: PciConfig>(function: &Function<C>, offset: u16, control: u16) {
    function.write32(offset, u32::from(control) << 16);
}
