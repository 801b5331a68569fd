//! Virtio devices with registers in memory, as the DSDT tells of them: QEMU's `microvm` has no other place for it.
//!
//! ```text
//!   Device (VR00) {
//!     Name (_HID, "LNRO0005")
//!     Name (_CRS, ResourceTemplate () { Memory32Fixed (ReadWrite, 0xFEB00000, 0x200), Interrupt (...) { 24 } })
//!   }
//! ```
//!
//! There is no AML interpreter: the identifier is looked for as the bytes it is, and the two descriptors behind it by their
//! encoding (ACPI 6.5, 6.4.3.4 and 6.4.3.6).

use weir_hal::{MmioDevice, PhysAddr};

use super::{HEADER_BYTES, Tables, fadt};
use crate::memory::phys::PhysMemory;

/// More devices than QEMU has places for.
pub const MMIO_DEVICES_MAX: usize = 32;

/// The devices found, in order, without gaps.
pub type MmioDevices = [Option<MmioDevice>; MMIO_DEVICES_MAX];

/// The identifier of a virtio device in memory.
const IDENTIFIER: &[u8; 9] = b"LNRO0005\0";
/// The descriptors stand within so many bytes behind it.
const NEAR: u32 = 96;
/// AML bytes that are searched.
const AML_BYTES_MAX: u32 = 256 << 10;

/// Tag and length of a fixed 32-bit memory range: then flags, base, length.
const MEMORY_32_FIXED: [u8; 3] = [0x86, 9, 0];
/// Tag and length of an extended interrupt with one line: then flags, count, line.
const EXTENDED_INTERRUPT: [u8; 3] = [0x89, 6, 0];

/// The devices of the DSDT.
pub fn mmio_devices(tables: &Tables, memory: &impl PhysMemory) -> MmioDevices {
    let mut found = [None; MMIO_DEVICES_MAX];
    let Some(dsdt) = fadt::dsdt_of(tables, memory) else { return found };
    let end = dsdt.len.min(AML_BYTES_MAX);
    let mut places = found.iter_mut();
    let mut window = [0u8; IDENTIFIER.len()];
    for offset in HEADER_BYTES as u32..end {
        window.rotate_left(1);
        let Some(byte) = dsdt.u8(memory, offset) else { break };
        window[IDENTIFIER.len() - 1] = byte;
        if window != *IDENTIFIER {
            continue;
        }
        let behind = |tag: [u8; 3]| {
            let mut near = offset + 1..(offset + NEAR).min(end);
            near.find(|&at| dsdt.array::<3>(memory, at) == Some(tag)).map(|at| at + 3)
        };
        let device = behind(MEMORY_32_FIXED).zip(behind(EXTENDED_INTERRUPT)).and_then(|(range, interrupt)| {
            let at = PhysAddr(dsdt.u32(memory, range + 1)?.into());
            let one_line = dsdt.u8(memory, interrupt + 1)? == 1;
            let line = dsdt.u32(memory, interrupt + 2).filter(|_| one_line)?;
            Some(MmioDevice { at, len: dsdt.u32(memory, range + 5)?, line })
        });
        if let Some(device) = device {
            let Some(place) = places.next() else { break };
            *place = Some(device);
        }
    }
    found
}
