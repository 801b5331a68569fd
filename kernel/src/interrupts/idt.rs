//! The interrupt descriptor table: one for all cores, written once at boot.

use core::arch::asm;
use core::cell::UnsafeCell;

use crate::cores::StackKind;

use super::{entry, handlers};

/// A gate (Intel SDM volume 3, 6.14.1).
#[derive(Clone, Copy)]
#[repr(C)]
struct Gate {
    offset_low: u16,
    selector: u16,
    stack: u8,
    kind: u8,
    offset_middle: u16,
    offset_high: u32,
    reserved: u32,
}

const PRESENT_INTERRUPT_GATE: u8 = 0x8e;
const CODE_SELECTOR: u16 = 0x08;

impl Gate {
    const MISSING: Gate =
        Gate { offset_low: 0, selector: 0, stack: 0, kind: 0, offset_middle: 0, offset_high: 0, reserved: 0 };

    fn new(target: u64, stack: StackKind) -> Gate {
        Gate {
            offset_low: target as u16,
            selector: CODE_SELECTOR,
            stack: stack as u8,
            kind: PRESENT_INTERRUPT_GATE,
            offset_middle: (target >> 16) as u16,
            offset_high: (target >> 32) as u32,
            reserved: 0,
        }
    }
}

#[repr(C, align(16))]
struct Table(UnsafeCell<[Gate; 256]>);

// SAFETY: written by `init` before any other core runs, read by the processor only afterwards.
unsafe impl Sync for Table {}

static TABLE: Table = Table(UnsafeCell::new([Gate::MISSING; 256]));

#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u64,
}

/// Fills the table.
///
/// # Safety
/// Called once, on the boot core, before any other core runs and with interrupts off.
pub unsafe fn init() {
    // SAFETY: the only running core is here, interrupts are off, and nothing else refers to the table.
    let table = unsafe { &mut *TABLE.0.get() };
    for (gate, vector) in table.iter_mut().zip(0u8..=255) {
        let target = match vector {
            super::TIMER_VECTOR => entry::timer_stub(),
            super::WAKE_VECTOR => entry::wake_stub(),
            _ => entry::stub(vector),
        };
        *gate = Gate::new(target, stack_for(vector));
    }
}

/// Makes the running core use the table.
///
/// # Safety
/// `init` has run, and this core's task state segment has the interrupt stacks.
pub unsafe fn load() {
    let pointer = Pointer { limit: (size_of::<Table>() - 1) as u16, base: TABLE.0.get() as u64 };
    // SAFETY: the table is complete and lives for ever.
    unsafe { asm!("lidt [{}]", in(reg) &raw const pointer, options(readonly, nostack, preserves_flags)) };
}

fn stack_for(vector: u8) -> StackKind {
    match vector {
        2 | 18 => StackKind::NonMaskable,
        8 => StackKind::DoubleFault,
        0..32 => StackKind::Exception,
        32.. => StackKind::Interrupt,
    }
}

const _: () = assert!(handlers::FIRST >= 32);
