//! The first serial port (16550 at 0x3f8), polled, transmit only.
//!
//! Every byte is an exit to the hypervisor, so the line status is read once for each filled FIFO of 16 bytes.

use x86_64::instructions::port::Port;

const BASE: u16 = 0x3f8;
const FIFO_BYTES: usize = 16;
/// Give up waiting for a port that never drains after this many status reads.
const STATUS_READS_MAX: u32 = 100_000;
const TRANSMIT_EMPTY: u8 = 0x20;

/// Sets 115200 8N1, FIFO on, interrupts off.
pub fn init() {
    for (register, value) in [(1, 0x00), (3, 0x80), (0, 0x01), (1, 0x00), (3, 0x03), (2, 0x07), (4, 0x03)] {
        write(register, value);
    }
}

/// Sends bytes; a line feed becomes carriage return and line feed.
pub fn send(bytes: &[u8]) {
    let mut room = 0;
    for &byte in bytes {
        if byte == b'\n' {
            put(b'\r', &mut room);
        }
        put(byte, &mut room);
    }
}

fn put(byte: u8, room: &mut usize) {
    if *room == 0 {
        wait_until_empty();
        *room = FIFO_BYTES;
    }
    *room -= 1;
    write(0, byte);
}

fn wait_until_empty() {
    for _ in 0..STATUS_READS_MAX {
        // SAFETY: reading the line status register of the first serial port changes nothing but error bits; without a
        // port the bus answers all ones.
        let status: u8 = unsafe { Port::new(BASE + 5).read() };
        if status & TRANSMIT_EMPTY != 0 {
            return;
        }
        core::hint::spin_loop();
    }
}

fn write(register: u16, value: u8) {
    // SAFETY: the port range belongs to the first serial port on every PC, and only this module uses it.
    unsafe { Port::new(BASE + register).write(value) }
}
