//! The two 8259 interrupt controllers of the PC, which Weir only silences.

use x86_64::instructions::port::Port;

/// Masks all their lines. Firmware may have left some open.
pub fn mask() {
    for port in [0x21, 0xa1] {
        // SAFETY: the mask registers of the legacy controllers, which nothing else uses; without controllers the write goes
        // nowhere.
        unsafe { Port::<u8>::new(port).write(0xff) };
    }
}
