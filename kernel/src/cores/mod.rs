//! The cores of the machine: who am I, start the others, wake them, idle.

use core::sync::atomic::{AtomicPtr, AtomicU16, Ordering};

use weir_hal::CoreId;

use crate::interrupts::apic::{self, Message};
use crate::interrupts::{SPURIOUS_VECTOR, WAKE_VECTOR};
use crate::{acpi, time};

mod area;
mod start;

pub(crate) use area::{ARMED_OFFSET, Area, area, area_of, enter_boot_area};
pub use area::{CORES_MAX, MAIN_STACK_BYTES, StackKind, current, local, set_local};
pub use start::start_all;
#[cfg(feature = "bare")]
pub(crate) use start::{START_COUNT, START_PAGE_TABLE, START_TABLE, arrive};

static PRESENT: spin::Once<acpi::Cores> = spin::Once::new();
static RUNNING: AtomicU16 = AtomicU16::new(1);

pub(crate) fn set_present(cores: acpi::Cores) {
    PRESENT.call_once(|| cores);
}

fn apic_ids() -> &'static [u32] {
    PRESENT.get().map_or(&[0], acpi::Cores::as_slice)
}

/// Cores that the machine has.
pub fn present() -> usize {
    apic_ids().len()
}

/// Cores that run: the boot core, and the others once [`start_all`] has started them. Their numbers are `0..running()`.
pub fn running() -> usize {
    usize::from(RUNNING.load(Ordering::Acquire))
}

/// Ends the halt of `core`, or its next one if it is not halted: an interrupt that does nothing else.
pub fn wake(core: CoreId) {
    if let Some(area) = area_of(core) {
        apic::send(area.apic_id, Message::Fixed(WAKE_VECTOR));
    }
}

/// Halts this core until an interrupt, a [`wake`] or `deadline_ns` (on the clock of [`time::now_ns`]), unless
/// `has_work` says otherwise.
///
/// Interrupts are off while `has_work` looks and are opened by the instruction before the halt, so whoever makes work visible
/// first and wakes afterwards is never missed. May return early; the caller looks for work and comes back.
pub fn idle(deadline_ns: Option<u64>, has_work: impl FnOnce() -> bool) {
    if has_work() {
        return;
    }
    if let Some(deadline_ns) = deadline_ns
        && !arm(deadline_ns)
    {
        return;
    }
    // SAFETY: interrupts were off and are off again afterwards. STI takes effect after the next instruction, so nothing can
    // come between it and HLT; handlers run on their own stack and keep all registers.
    unsafe { core::arch::asm!("sti", "hlt", "cli") };
}

/// Arms this core's timer, unless it is armed for that moment already; `false` when the moment has come.
fn arm(deadline_ns: u64) -> bool {
    let now_ns = time::now_ns();
    if deadline_ns <= now_ns {
        return false;
    }
    let armed_for_ns = &area().armed_for_ns;
    if armed_for_ns.load(Ordering::Relaxed) != deadline_ns {
        armed_for_ns.store(deadline_ns, Ordering::Relaxed);
        apic::arm_timer(deadline_ns - now_ns);
    }
    true
}

/// Stops all other cores, wherever they are.
pub(crate) fn stop_others() {
    let this = current();
    for id in (0..running() as u16).map(CoreId).filter(|id| *id != this) {
        if let Some(area) = area_of(id) {
            apic::send(area.apic_id, Message::NonMaskable);
        }
    }
}

const _: () = assert!(SPURIOUS_VECTOR & 0xf == 0xf, "old controllers fix the low bits of the spurious vector");

/// Keeps the type of the entry function in an atomic.
pub(crate) static ENTRY: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
