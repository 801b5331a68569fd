//! The FADT (ACPI 6.5, 5.2.9): ports for power, reset and the power-management timer.

use super::{Table, Tables};
use crate::memory::phys::PhysMemory;

const RESET_SUPPORTED: u32 = 1 << 10;
const TIMER_32_BITS: u32 = 1 << 8;
const HARDWARE_REDUCED: u32 = 1 << 20;
/// AML bytes that are searched for `\_S5`.
const AML_BYTES_MAX: u32 = 256 << 10;

/// Where a register is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterSpace {
    /// In memory.
    Memory,
    /// In the port space.
    Port,
}

/// A register in the generic address structure (ACPI 6.5, 5.2.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// Where.
    pub space: RegisterSpace,
    /// Address there.
    pub address: u64,
}

/// What Weir takes from the table. A port is `None` where the machine has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Fadt {
    /// Power management event block: status word, then enable word.
    pub event_port: Option<u16>,
    /// Offset of the enable word in the event block, in bytes.
    pub event_enable_offset: u16,
    /// Power management control registers.
    pub control_ports: [Option<u16>; 2],
    /// Power-management timer, and whether it has 32 bits rather than 24.
    pub timer_port: Option<(u16, bool)>,
    /// Where to write which value to switch the machine to ACPI mode.
    pub acpi_enable: Option<(u16, u8)>,
    /// Where to write which value to reset the machine.
    pub reset: Option<(Register, u8)>,
    /// Sleep control register of machines without the fixed hardware.
    pub sleep_control: Option<Register>,
    /// Sleep types that mean "off", for the two control registers.
    pub off_types: Option<[u8; 2]>,
}

impl Fadt {
    /// Reads the table, and `\_S5` from the DSDT it names.
    pub fn read(tables: &Tables, memory: &impl PhysMemory) -> Option<Fadt> {
        let table = tables.get(memory, b"FACP")?;
        let flags = table.u32(memory, 112).unwrap_or(0);
        let reduced = flags & HARDWARE_REDUCED != 0;
        let port = |offset| table.u32(memory, offset).and_then(port_number).filter(|_| !reduced);
        let timer_present = table.u8(memory, 91) == Some(4);
        let event_bytes = u16::from(table.u8(memory, 88).unwrap_or(0));
        let off_types = dsdt(&table, memory).and_then(|dsdt| find_off_types(&dsdt, memory));
        Some(Fadt {
            event_port: port(56).filter(|_| event_bytes >= 4),
            event_enable_offset: event_bytes / 2,
            control_ports: [port(64), port(68)],
            timer_port: port(76).filter(|_| timer_present).map(|port| (port, flags & TIMER_32_BITS != 0)),
            acpi_enable: port(48).zip(table.u8(memory, 52)).filter(|(_, value)| *value != 0),
            reset: register(&table, memory, 116).zip(table.u8(memory, 128)).filter(|_| flags & RESET_SUPPORTED != 0),
            sleep_control: register(&table, memory, 244).filter(|_| reduced),
            off_types,
        })
    }
}

fn port_number(value: u32) -> Option<u16> {
    u16::try_from(value).ok().filter(|port| *port != 0)
}

fn register(table: &Table, memory: &impl PhysMemory, offset: u32) -> Option<Register> {
    let space = match table.u8(memory, offset)? {
        0 => RegisterSpace::Memory,
        1 => RegisterSpace::Port,
        _ => return None,
    };
    let address = table.u64(memory, offset + 4)?;
    let reachable = address != 0 && (space == RegisterSpace::Memory || address <= 0xffff);
    reachable.then_some(Register { space, address })
}

/// The DSDT that the table names.
pub(super) fn dsdt_of(tables: &Tables, memory: &impl PhysMemory) -> Option<Table> {
    dsdt(&tables.get(memory, b"FACP")?, memory)
}

fn dsdt(fadt: &Table, memory: &impl PhysMemory) -> Option<Table> {
    let wide = fadt.u64(memory, 140).filter(|at| *at != 0);
    let at = wide.or_else(|| fadt.u32(memory, 40).map(u64::from))?;
    Table::check(memory, at, Some(b"DSDT"))
}

/// Finds `Name (_S5, Package () { a, b, ... })` by its encoding (ACPI 6.5, 20.2): NameOp, `_S5_`, PackageOp, package length,
/// element count, then the elements as small integers.
fn find_off_types(dsdt: &Table, memory: &impl PhysMemory) -> Option<[u8; 2]> {
    let end = dsdt.len.min(AML_BYTES_MAX);
    let mut window = [0u8; 5];
    for offset in super::HEADER_BYTES as u32..end {
        window.rotate_left(1);
        window[4] = dsdt.u8(memory, offset)?;
        if &window[..4] == b"_S5_" && window[4] == 0x12 {
            return package_start(dsdt, memory, offset + 1);
        }
    }
    None
}

fn package_start(dsdt: &Table, memory: &impl PhysMemory, offset: u32) -> Option<[u8; 2]> {
    let lead = dsdt.u8(memory, offset)?;
    let elements = offset + 1 + u32::from(lead >> 6);
    if dsdt.u8(memory, elements)? < 2 {
        return None;
    }
    let (first, next) = small_integer(dsdt, memory, elements + 1)?;
    let (second, _) = small_integer(dsdt, memory, next)?;
    Some([first, second])
}

/// ZeroOp, OneOp, or BytePrefix and a byte; and where the next element begins.
fn small_integer(dsdt: &Table, memory: &impl PhysMemory, offset: u32) -> Option<(u8, u32)> {
    match dsdt.u8(memory, offset)? {
        value @ (0 | 1) => Some((value, offset + 1)),
        0x0a => Some((dsdt.u8(memory, offset + 1)?, offset + 2)),
        _ => None,
    }
}
