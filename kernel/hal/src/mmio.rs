//! Device registers in memory: bounded, volatile, never cached.

use core::marker::PhantomData;
use core::ptr::NonNull;

/// A mapped range of device registers.
///
/// Offsets come from code, or from a device and are then checked by [`Mmio::sub`] or [`Mmio::register`], which
/// refuse; the plain accessors assert. The byte order is the machine's (little endian, as PCI devices have it).
#[derive(Clone, Copy, Debug)]
pub struct Mmio {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: every access is volatile and of register width; what concurrent accesses mean is the device's business, and
// memory safety does not depend on it.
unsafe impl Send for Mmio {}
// SAFETY: as above.
unsafe impl Sync for Mmio {}

impl Mmio {
    /// Describes `len` bytes of registers at `base`.
    ///
    /// # Safety
    /// The range is mapped for ever, and reading or writing it never touches memory that Rust objects live in.
    pub const unsafe fn new(base: NonNull<u8>, len: usize) -> Mmio {
        Mmio { base, len }
    }

    /// Length in bytes.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether the range has no bytes.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A part of the range, or `None` when it does not fit.
    pub fn sub(&self, offset: usize, len: usize) -> Option<Mmio> {
        let end = offset.checked_add(len)?;
        if end > self.len {
            return None;
        }
        // SAFETY: `offset <= len`, so the pointer stays inside the mapped range or one past its end.
        Some(Mmio { base: unsafe { self.base.add(offset) }, len })
    }

    /// A single register, checked once here so that accesses need no check. `None` if misaligned or outside.
    pub fn register<T: RegisterValue>(&self, offset: usize) -> Option<Register<T>> {
        let part = self.sub(offset, size_of::<T>())?;
        let at = part.base.cast::<T>();
        at.is_aligned().then_some(Register { at, value: PhantomData })
    }

    /// Reads the register at `offset`.
    ///
    /// # Panics
    /// If the register is misaligned or outside the range: the caller's constant is wrong.
    pub fn read<T: RegisterValue>(&self, offset: usize) -> T {
        self.expect_register::<T>(offset).read()
    }

    /// Writes the register at `offset`.
    ///
    /// # Panics
    /// If the register is misaligned or outside the range: the caller's constant is wrong.
    pub fn write<T: RegisterValue>(&self, offset: usize, value: T) {
        self.expect_register::<T>(offset).write(value);
    }

    fn expect_register<T: RegisterValue>(&self, offset: usize) -> Register<T> {
        match self.register(offset) {
            Some(register) => register,
            None => panic!("register at {offset:#x} is not in a range of {:#x} bytes", self.len),
        }
    }
}

/// One register, its place checked when the handle was made: an access is one instruction.
#[derive(Clone, Copy, Debug)]
pub struct Register<T> {
    at: NonNull<T>,
    value: PhantomData<T>,
}

// SAFETY: as for `Mmio`.
unsafe impl<T: RegisterValue> Send for Register<T> {}
// SAFETY: as for `Mmio`.
unsafe impl<T: RegisterValue> Sync for Register<T> {}

impl<T: RegisterValue> Register<T> {
    /// Reads the register once.
    #[inline]
    pub fn read(&self) -> T {
        // SAFETY: `Mmio::register` checked bounds and alignment against a range that stays mapped for ever.
        unsafe { self.at.read_volatile() }
    }

    /// Writes the register once.
    #[inline]
    pub fn write(&self, value: T) {
        // SAFETY: as in `read`.
        unsafe { self.at.write_volatile(value) }
    }
}

/// The widths a register can have: 8, 16, 32 and 64 bits.
pub trait RegisterValue: Copy + sealed::Sealed {}

impl RegisterValue for u8 {}
impl RegisterValue for u16 {}
impl RegisterValue for u32 {}
impl RegisterValue for u64 {}

mod sealed {
    /// Any bit pattern is a value, so whatever the device answers may be read.
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for u16 {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
}
