//! Who called whom, from the chain of frame pointers, with function names.
//!
//! The image is compiled with `-C force-frame-pointers=yes`: at every RBP lies the caller's RBP, and above it the
//! return address. The chain is followed only inside this core's stacks and only upwards, so a broken one ends early.

use crate::console::panic_line;
use crate::cores;
use crate::image;
use crate::symbols;

/// The most lines that are printed.
const LINES_MAX: usize = 40;

/// Prints the callers of the code at `rip` with frame pointer `rbp`, innermost first. `rip` itself is printed if it is given.
pub(crate) fn print(rip: Option<u64>, rbp: u64) {
    if let Some(rip) = rip {
        print_frame(0, rip, rip);
    }
    let mut callers = (usize::from(rip.is_some())..).zip(Callers { rbp }).peekable();
    for _ in 0..LINES_MAX {
        let Some((number, return_address)) = callers.next() else { return };
        // The call is the instruction before the return address; a call at a function's very end returns to the next one.
        print_frame(number, return_address, return_address - 1);
        let mut repeated = 0;
        while callers.next_if(|(_, next)| *next == return_address).is_some() {
            repeated += 1;
        }
        if repeated > 0 {
            panic_line(format_args!("weir:       ... and {repeated} times more"));
        }
    }
    panic_line(format_args!("weir:       ..."));
}

fn print_frame(number: usize, address: u64, look_up: u64) {
    match symbols::of_image().and_then(|symbols| symbols.find(look_up)) {
        Some(function) => {
            let name = rustc_demangle::demangle(function.name);
            panic_line(format_args!("weir:   #{number:<2} {address:#012x} {name:#}+{:#x}", function.offset));
        }
        None => panic_line(format_args!("weir:   #{number:<2} {address:#012x}")),
    }
}

/// The frame pointer of the function that asks.
#[inline(always)]
pub(crate) fn frame_pointer() -> u64 {
    let rbp;
    // SAFETY: reading a register has no effect.
    unsafe { core::arch::asm!("mov {}, rbp", out(reg) rbp, options(nomem, nostack, preserves_flags)) };
    rbp
}

struct Callers {
    rbp: u64,
}

impl Iterator for Callers {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let stack = cores::area().stack_of(self.rbp)?;
        if !self.rbp.is_multiple_of(8) || self.rbp + 16 > stack.end {
            return None;
        }
        // SAFETY: 16 bytes inside one of this core's mapped stacks, aligned; nobody else writes there.
        let [caller_rbp, return_address] = unsafe { (self.rbp as *const [u64; 2]).read_volatile() };
        if !image::text().contains(return_address) {
            return None;
        }
        self.rbp = if caller_rbp > self.rbp { caller_rbp } else { 0 };
        Some(return_address)
    }
}
