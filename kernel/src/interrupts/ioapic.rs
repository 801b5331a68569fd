//! The controllers that pass interrupt lines on to cores (82093AA datasheet, 3.0), for devices that cannot send messages.
//!
//! A line is told which message to send, as a device with MSI-X would be: core and vector.

use spin::{Mutex, Once};
use weir_hal::{Mmio, MsiMessage, PhysAddr};

use crate::acpi::IoApic;
use crate::memory;

/// The two registers through which all others are reached.
const SELECT: usize = 0x00;
const WINDOW: usize = 0x10;
const REGISTERS_BYTES: usize = 0x20;

/// Number of lines less one, in bits 16-23.
const VERSION: u32 = 0x01;
/// The first line's entry, low and high half.
const REDIRECTION: u32 = 0x10;

/// Bits of an entry: a line is level-triggered and high when it is active, as the virtio devices' are.
const LEVEL: u32 = 1 << 15;

static CONTROLLERS: Once<[Option<IoApic>; 8]> = Once::new();
/// Selecting and writing are two steps.
static REGISTERS: Mutex<()> = Mutex::new(());

/// Why a line leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteError {
    /// No controller has this line.
    NoSuchLine,
    /// The controller's registers cannot be mapped.
    Unmapped,
    /// The core's number does not fit into an entry.
    Unreachable,
}

pub(crate) fn init(controllers: [Option<IoApic>; 8]) {
    CONTROLLERS.call_once(|| controllers);
}

/// Lets `line` raise the interrupt of `message`. It stays raised until the device takes it back, so the handler must make it.
///
/// # Errors
/// The line or the core cannot be reached.
pub fn route(line: u32, message: MsiMessage) -> Result<(), RouteError> {
    let entry = entry(message)?;
    let controllers = CONTROLLERS.get().into_iter().flatten().flatten();
    // Of the controllers that begin at or before the line, the last.
    let controller = controllers.filter(|controller| controller.first_line <= line).max_by_key(|one| one.first_line);
    let controller = controller.ok_or(RouteError::NoSuchLine)?;
    let registers = memory::map_mmio(PhysAddr(controller.at), REGISTERS_BYTES).map_err(|_| RouteError::Unmapped)?;
    let _registers = REGISTERS.lock();
    let index = line - controller.first_line;
    if index > read(&registers, VERSION) >> 16 & 0xff {
        return Err(RouteError::NoSuchLine);
    }
    // The low half has the mask, so it comes last.
    let at = REDIRECTION + 2 * index;
    write(&registers, at + 1, (entry >> 32) as u32);
    write(&registers, at, entry as u32);
    Ok(())
}

/// A line's entry: vector and destination of the message, nothing masked.
fn entry(message: MsiMessage) -> Result<u64, RouteError> {
    let core = message.address >> 12 & 0xff;
    // Bits of an extended destination (see `apic::msi_address`) have no place here.
    if message.address >> 5 & 0x7f != 0 {
        return Err(RouteError::Unreachable);
    }
    Ok(core << 56 | u64::from(LEVEL | message.data & 0xff))
}

fn read(registers: &Mmio, index: u32) -> u32 {
    registers.write(SELECT, index);
    registers.read(WINDOW)
}

fn write(registers: &Mmio, index: u32, value: u32) {
    registers.write(SELECT, index);
    registers.write(WINDOW, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_message_in_another_shape() {
        let message = MsiMessage { address: 0xfee0_3000, data: 0x31 };
        assert_eq!(entry(message), Ok(3 << 56 | 0x8031));
        let far = MsiMessage { address: 0xfee0_0020, data: 0x31 };
        assert_eq!(entry(far), Err(RouteError::Unreachable));
    }
}
