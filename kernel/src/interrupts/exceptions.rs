//! Processor exceptions (Intel SDM volume 3, chapter 6.15). All of them are fatal: they are reported and the panic
//! policy decides.

use super::entry::Frame;
use crate::console::panic_line;
use crate::cores::{self, StackKind};
use crate::{backtrace, cpu, panic};

const NON_MASKABLE: u64 = 2;
const DOUBLE_FAULT: u64 = 8;
const PAGE_FAULT: u64 = 14;

/// Called by the stubs for vectors below 32.
pub(crate) extern "C" fn exception(frame: &Frame) -> ! {
    if frame.vector == NON_MASKABLE && panic::is_in_progress() {
        cpu::halt_forever();
    }
    panic::begin();
    let address = cpu::fault_address();
    let core = cores::current();
    match stack_overflow(frame, address) {
        Some(kind) => {
            let stack = kind.name();
            panic_line(format_args!(
                "weir: panic: core {core}: stack overflow: {stack}, guard page hit at {address:#x}"
            ));
        }
        None if frame.vector == PAGE_FAULT => {
            let access = access_name(frame.error);
            let reason = if frame.error & 1 != 0 { "not permitted" } else { "not mapped" };
            panic_line(format_args!("weir: panic: core {core}: page fault: {access} at {address:#x}, {reason}"));
        }
        None => {
            let name = name(frame.vector);
            panic_line(format_args!("weir: panic: core {core}: {name}, error code {:#x}", frame.error));
        }
    }
    print_registers(frame);
    backtrace::print(Some(frame.rip), frame.rbp());
    panic::finish()
}

/// A fault in a guard page, directly or while the processor pushed the frame of another fault.
fn stack_overflow(frame: &Frame, address: u64) -> Option<StackKind> {
    let possible = matches!(frame.vector, PAGE_FAULT | DOUBLE_FAULT);
    cores::area().guard_of(address).filter(|_| possible)
}

fn access_name(error: u64) -> &'static str {
    match (error & 1 << 4 != 0, error & 1 << 1 != 0) {
        (true, _) => "execution",
        (false, true) => "write",
        (false, false) => "read",
    }
}

fn print_registers(frame: &Frame) {
    panic_line(format_args!("weir:   rip {:#018x} rsp {:#018x} rflags {:#x}", frame.rip, frame.rsp, frame.rflags));
    let mut registers = Frame::REGISTERS.iter().zip(frame.registers).rev();
    while let Some(first) = registers.next() {
        let (Some(second), Some(third)) = (registers.next(), registers.next()) else { return };
        panic_line(format_args!(
            "weir:   {:3} {:#018x} {:3} {:#018x} {:3} {:#018x}",
            first.0, first.1, second.0, second.1, third.0, third.1
        ));
    }
}

fn name(vector: u64) -> &'static str {
    match vector {
        0 => "division error",
        1 => "debug exception",
        2 => "non-maskable interrupt",
        3 => "breakpoint",
        4 => "overflow",
        5 => "bound exceeded",
        6 => "invalid instruction",
        7 => "no coprocessor",
        8 => "double fault",
        10 => "invalid task state segment",
        11 => "segment not present",
        12 => "stack segment fault",
        13 => "general protection fault",
        14 => "page fault",
        16 => "x87 error",
        17 => "misaligned access",
        18 => "machine check",
        19 => "SIMD error",
        20 => "virtualisation exception",
        21 => "control protection exception",
        _ => "reserved exception",
    }
}
