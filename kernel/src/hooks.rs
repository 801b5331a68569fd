//! Deliberate failures, so that tests can see how failures are reported.
//!
//! `weir.test=page-fault`, `stack-overflow` or `panic` on the kernel command line. Through a few functions that are not
//! inlined, so that a backtrace has names to show.

use crate::boot::CommandLine;

/// Does what `weir.test=` on the command line asks for, if anything.
pub fn run(command_line: CommandLine<'_>) {
    match command_line.get("weir.test") {
        Some("page-fault") => page_fault(),
        Some("stack-overflow") => {
            stack_overflow();
        }
        Some("panic") => deliberate_panic(),
        _ => {}
    }
}

/// Reads from page zero.
#[inline(never)]
pub fn page_fault() {
    core::hint::black_box(read_through_null(core::hint::black_box(0x10)));
}

#[inline(never)]
fn read_through_null(offset: usize) -> u64 {
    let value = read_word(offset);
    core::hint::black_box(value) + 1
}

#[inline(never)]
fn read_word(address: usize) -> u64 {
    let value: u64;
    // SAFETY: it is not safe and not meant to be: the page is unmapped, the load faults, and the fault ends the image.
    unsafe { core::arch::asm!("mov {}, [{}]", out(reg) value, in(reg) address, options(nostack, readonly)) };
    value
}

/// Calls itself until the stack ends.
#[inline(never)]
pub fn stack_overflow() -> u64 {
    call_again(core::hint::black_box(1))
}

#[inline(never)]
fn call_again(depth: u64) -> u64 {
    let frame = core::hint::black_box([depth; 64]);
    let deeper = if depth == 0 { 0 } else { call_again(depth + 1) };
    core::hint::black_box(frame[(deeper % 64) as usize]) + deeper
}

/// Panics.
#[inline(never)]
pub fn deliberate_panic() {
    panic!("a deliberate panic");
}
