//! Reading physical memory that firmware or loader filled, with bounds.
//!
//! Parsers of foreign tables take a [`PhysMemory`]: on the machine it is [`Identity`], in tests a few byte slices.

/// Read access to physical memory.
pub trait PhysMemory {
    /// Copies `into.len()` bytes from `at`; `false` (and `into` unspecified) when the range is not readable.
    fn read(&self, at: u64, into: &mut [u8]) -> bool;

    /// Copies `N` bytes from `at`.
    fn array<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.read(at, &mut bytes).then_some(bytes)
    }
}

/// Physical memory as the identity mapping shows it.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// First address that is not mapped.
    end: u64,
}

impl Identity {
    /// Memory up to `end`. Address zero itself reads as missing.
    ///
    /// # Safety
    /// `0..end` is mapped readable one to one; reading it has no side effect on devices for the addresses that
    /// will be asked for (tables of firmware and loader).
    pub const unsafe fn new(end: u64) -> Identity {
        Identity { end }
    }
}

impl PhysMemory for Identity {
    fn read(&self, at: u64, into: &mut [u8]) -> bool {
        let Some(end) = at.checked_add(into.len() as u64) else { return false };
        if at == 0 || end > self.end {
            return false;
        }
        for (offset, byte) in into.iter_mut().enumerate() {
            // SAFETY: inside the range that the constructor's caller vouched for; volatile, because the bytes are
            // foreign and the optimiser must not assume where they come from.
            *byte = unsafe { ((at as usize + offset) as *const u8).read_volatile() };
        }
        true
    }
}

/// Physical memory in a test: slices at addresses.
#[cfg(test)]
pub struct Slices<'a>(pub &'a [(u64, &'a [u8])]);

#[cfg(test)]
impl PhysMemory for Slices<'_> {
    fn read(&self, at: u64, into: &mut [u8]) -> bool {
        self.0.iter().any(|(start, bytes)| {
            let Some(offset) = at.checked_sub(*start) else { return false };
            let Some(part) = bytes.get(offset as usize..).and_then(|rest| rest.get(..into.len())) else { return false };
            into.copy_from_slice(part);
            true
        })
    }
}
