//! The local interrupt controller of each core (Intel SDM volume 3, chapter 11): x2APIC when the processor has it, else
//! xAPIC through its registers in memory.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use weir_hal::{Mmio, PhysAddr};

use super::{SPURIOUS_VECTOR, TIMER_VECTOR};
use crate::cpu;
use crate::time::Scale;

const APIC_BASE: u32 = 0x1b;
const BASE_ENABLE: u64 = 1 << 11;
const BASE_X2APIC: u64 = 1 << 10;
const X2APIC_FIRST: u32 = 0x800;
const TSC_DEADLINE: u32 = 0x6e0;

/// Register offsets in xAPIC terms; the x2APIC number is `0x800 + offset / 16`.
const TASK_PRIORITY: u32 = 0x80;
const EOI: u32 = 0xb0;
const SPURIOUS: u32 = 0xf0;
const ICR_LOW: u32 = 0x300;
const ICR_HIGH: u32 = 0x310;
const LVT_TIMER: u32 = 0x320;
const LVT_LINT0: u32 = 0x350;
const LVT_LINT1: u32 = 0x360;
const TIMER_INITIAL: u32 = 0x380;
const TIMER_CURRENT: u32 = 0x390;
const TIMER_DIVIDE: u32 = 0x3e0;

const SOFTWARE_ENABLE: u32 = 1 << 8;
const LVT_MASKED: u32 = 1 << 16;
const LVT_TSC_DEADLINE: u32 = 2 << 17;
const DIVIDE_BY_1: u32 = 0b1011;
const ICR_PENDING: u32 = 1 << 12;

/// Kinds of message to other cores, as bits of the interrupt command register (Intel SDM volume 3, 11.6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// An interrupt.
    Fixed(u8),
    /// A non-maskable interrupt.
    NonMaskable,
    /// Reset and wait for a start-up message.
    Init,
    /// Begin in real mode at this page below 1 MiB.
    StartUp(u8),
}

impl Message {
    const fn bits(self) -> u32 {
        const ASSERT: u32 = 1 << 14;
        match self {
            Message::Fixed(vector) => ASSERT | vector as u32,
            Message::NonMaskable => ASSERT | 0x400,
            Message::Init => ASSERT | 0x500,
            Message::StartUp(page) => ASSERT | 0x600 | page as u32,
        }
    }
}

/// Address of the xAPIC's end-of-interrupt register; 0 in x2APIC mode. Read by the stubs.
pub(crate) static END_OF_INTERRUPT: AtomicU64 = AtomicU64::new(0);
static REGISTERS: spin::Once<Mmio> = spin::Once::new();
static TSC_DEADLINE_MODE: AtomicBool = AtomicBool::new(false);
static STRAY: AtomicU64 = AtomicU64::new(0);
static TIMER_SCALE: spin::Once<Scale> = spin::Once::new();

/// Why the interrupt controller cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoController;

/// Chooses the mode and switches on the boot core's controller.
pub(crate) fn init() -> Result<(), NoController> {
    if !cpu::has_x2apic() {
        // SAFETY: every x86-64 processor has this register.
        let base = unsafe { cpu::read_msr(APIC_BASE) } & 0x000f_ffff_ffff_f000;
        let registers = crate::memory::map_mmio(PhysAddr(base), 4096).map_err(|_| NoController)?;
        REGISTERS.call_once(|| registers);
        END_OF_INTERRUPT.store(base + u64::from(EOI), Ordering::Release);
    }
    TSC_DEADLINE_MODE.store(cpu::has_tsc_deadline(), Ordering::Relaxed);
    enable();
    Ok(())
}

/// Switches on the running core's controller in the mode that `init` chose.
pub(crate) fn enable() {
    let mode = if REGISTERS.get().is_some() { BASE_ENABLE } else { BASE_ENABLE | BASE_X2APIC };
    // SAFETY: every x86-64 processor has this register; x2APIC mode is asked for only where it exists.
    unsafe { cpu::write_msr(APIC_BASE, cpu::read_msr(APIC_BASE) | mode) };
    write(TASK_PRIORITY, 0);
    write(SPURIOUS, SOFTWARE_ENABLE | u32::from(SPURIOUS_VECTOR));
    write(LVT_LINT0, LVT_MASKED);
    write(LVT_LINT1, LVT_MASKED);
    write(TIMER_DIVIDE, DIVIDE_BY_1);
    let kind = if TSC_DEADLINE_MODE.load(Ordering::Relaxed) { LVT_TSC_DEADLINE } else { 0 };
    write(LVT_TIMER, kind | u32::from(TIMER_VECTOR));
}

/// Whether the controllers run in x2APIC mode.
pub fn is_x2apic() -> bool {
    REGISTERS.get().is_none()
}

/// Whether timers are armed by writing a time stamp.
pub fn uses_tsc_deadline() -> bool {
    TSC_DEADLINE_MODE.load(Ordering::Relaxed)
}

/// Interrupts that no handler wanted.
pub fn stray_interrupts() -> u64 {
    STRAY.load(Ordering::Relaxed)
}

pub(crate) fn count_stray() {
    STRAY.fetch_add(1, Ordering::Relaxed);
}

/// Tells the controller that the interrupt being handled is done.
pub(crate) fn end_of_interrupt() {
    write(EOI, 0);
}

/// Sends a message to the core with controller number `to`.
pub(crate) fn send(to: u32, message: Message) {
    if is_x2apic() {
        // SAFETY: x2APIC mode is on, so the register exists. The fence keeps earlier stores ahead of the message, which the
        // register write alone does not (Intel SDM volume 3, 11.12.3).
        unsafe {
            core::arch::x86_64::_mm_mfence();
            cpu::write_msr(X2APIC_FIRST + ICR_LOW / 16, u64::from(to) << 32 | u64::from(message.bits()));
        }
        return;
    }
    wait_until_sent();
    write(ICR_HIGH, to << 24);
    write(ICR_LOW, message.bits());
}

fn wait_until_sent() {
    for _ in 0..1_000_000 {
        if read(ICR_LOW) & ICR_PENDING == 0 {
            return;
        }
        core::hint::spin_loop();
    }
}

/// Arms this core's timer, `delta_ns` from now.
pub(crate) fn arm_timer(delta_ns: u64) {
    if uses_tsc_deadline() {
        // SAFETY: the processor has the register (checked by `init`). A value of zero would disarm; a time stamp is never zero.
        unsafe { cpu::write_msr(TSC_DEADLINE, crate::time::tsc_after(delta_ns)) };
        return;
    }
    let ticks = TIMER_SCALE.get().map_or(delta_ns, |scale| scale.apply(delta_ns));
    write(TIMER_INITIAL, ticks.clamp(1, u64::from(u32::MAX)) as u32);
}

/// Starts counting down from the top, masked, to measure the timer's rate.
pub(crate) fn start_timer_measurement() {
    write(LVT_TIMER, LVT_MASKED | u32::from(TIMER_VECTOR));
    write(TIMER_INITIAL, u32::MAX);
}

/// Ticks since `start_timer_measurement`.
pub(crate) fn measured_timer_ticks() -> u32 {
    u32::MAX - read(TIMER_CURRENT)
}

/// Takes the measured rate and unmasks the timer.
pub(crate) fn finish_timer_measurement(ticks_per_ns: Option<Scale>) {
    write(TIMER_INITIAL, 0);
    if let Some(scale) = ticks_per_ns {
        TIMER_SCALE.call_once(|| scale);
    }
    write(LVT_TIMER, u32::from(TIMER_VECTOR));
}

/// The address of a message that reaches controller `id` (Intel SDM volume 3, 11.11.1). Numbers above 255 need the
/// hypervisor's extended destinations: bits 14-8 of the number in bits 11-5 of the address.
pub(crate) fn msi_address(id: u32, extended: bool) -> Option<u64> {
    let limit = if extended { 0x7fff } else { 0xff };
    if id > limit {
        return None;
    }
    Some(0xfee0_0000 | u64::from(id & 0xff) << 12 | u64::from(id >> 8) << 5)
}

/// Whether the hypervisor delivers messages to controller numbers above 255 (KVM_FEATURE_MSI_EXT_DEST_ID).
pub(crate) fn has_extended_destinations() -> bool {
    crate::time::kvm_features() & 1 << 15 != 0
}

fn read(offset: u32) -> u32 {
    match REGISTERS.get() {
        Some(registers) => registers.read(offset as usize),
        // SAFETY: without memory registers the controller is in x2APIC mode, where the register has this number.
        None => unsafe { cpu::read_msr(X2APIC_FIRST + offset / 16) as u32 },
    }
}

fn write(offset: u32, value: u32) {
    match REGISTERS.get() {
        Some(registers) => registers.write(offset as usize, value),
        // SAFETY: as in `read`; the values written here are those of this module.
        None => unsafe { cpu::write_msr(X2APIC_FIRST + offset / 16, u64::from(value)) },
    }
}

#[cfg(test)]
mod tests {
    use super::msi_address;

    #[test]
    fn a_small_number_goes_into_the_destination_field() {
        assert_eq!(msi_address(0, false), Some(0xfee0_0000));
        assert_eq!(msi_address(7, false), Some(0xfee0_7000));
        assert_eq!(msi_address(255, true), Some(0xfeef_f000));
    }

    #[test]
    fn a_large_number_needs_extended_destinations() {
        assert_eq!(msi_address(256, false), None);
        assert_eq!(msi_address(256, true), Some(0xfee0_0020));
        assert_eq!(msi_address(0x7fff, true), Some(0xfeef_ffe0));
        assert_eq!(msi_address(0x8000, true), None);
    }
}
