//! Interrupts: vectors per core, the local interrupt controller, exceptions.
//!
//! Interrupts are off everywhere except inside [`crate::cores::idle`]: a polling core takes none, and what arrives meanwhile
//! stays pending and ends the next halt. So a handler never interrupts the data path, and a lock can never be held by the code
//! it interrupts.

use weir_hal::{CoreId, MsiMessage};

use crate::cores::{self, Area};

pub mod apic;
pub(crate) mod entry;
pub(crate) mod exceptions;
pub mod handlers;
pub(crate) mod idt;
pub mod ioapic;
mod legacy;

pub use handlers::Handler;

/// Ends a halt when its deadline has come.
pub(crate) const TIMER_VECTOR: u8 = 0xf0;
/// Ends a halt because another core has work for this one.
pub(crate) const WAKE_VECTOR: u8 = 0xf1;
/// What the controller raises when an interrupt vanished before it was taken.
pub(crate) const SPURIOUS_VECTOR: u8 = 0xff;
const _: () = assert!(handlers::END <= TIMER_VECTOR);

/// Why there is no interrupt for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterruptError {
    /// The core does not exist or was not started.
    NoSuchCore,
    /// All vectors of that core are taken.
    NoFreeVector,
    /// The core's interrupt controller number does not fit into a device's message.
    Unreachable,
}

/// Reserves a vector on `core` and returns the message that raises it. `handler` runs there, on the interrupt stack, while
/// the core idles; see [`Handler`] for what it may do.
pub fn allocate(core: CoreId, handler: Handler, argument: usize) -> Result<MsiMessage, InterruptError> {
    let (area, address) = reach(core)?;
    let vector = area.handlers.add(handler, argument).ok_or(InterruptError::NoFreeVector)?;
    Ok(MsiMessage { address, data: u32::from(vector.0) })
}

/// The message that ends a halt of `core` and does nothing else, for any number of devices: far cheaper than a handler.
///
/// # Errors
/// As [`allocate`], but that vectors do not run out.
pub fn wake_message(core: CoreId) -> Result<MsiMessage, InterruptError> {
    let (_, address) = reach(core)?;
    Ok(MsiMessage { address, data: u32::from(WAKE_VECTOR) })
}

/// A core, and the address of messages to it.
fn reach(core: CoreId) -> Result<(&'static Area, u64), InterruptError> {
    let area = cores::area_of(core).ok_or(InterruptError::NoSuchCore)?;
    let address = apic::msi_address(area.apic_id, apic::has_extended_destinations());
    Ok((area, address.ok_or(InterruptError::Unreachable)?))
}

/// Raises the interrupt of `message` on the running core, as the device would; for tests.
pub fn raise_here(message: MsiMessage) {
    apic::send(cores::area().apic_id, apic::Message::Fixed(message.data as u8));
}

/// Prepares the table and silences the legacy controller.
///
/// # Safety
/// Called once, on the boot core, with interrupts off, when the core's area is in force.
pub(crate) unsafe fn init() {
    // SAFETY: the caller's promise.
    unsafe {
        idt::init();
        idt::load();
    }
    legacy::mask();
}

/// Called by the stubs for vectors from 32 on.
pub(crate) extern "C" fn interrupt(vector: u32) {
    let vector = vector as u8;
    if vector == SPURIOUS_VECTOR {
        return;
    }
    if !cores::area().handlers.call(vector) {
        apic::count_stray();
    }
    apic::end_of_interrupt();
}
