//! Starting the other cores: INIT, start-up message, real mode, long mode, Rust (Intel SDM volume 3, 9.4.4).
//!
//! All cores start at once. Each begins in a copied page below 1 MiB, reaches long mode by the same code as the boot core,
//! finds its entry in a table by its controller number, takes its stack from there and reports. A core that reports too
//! late is told to stop; so are cores behind a missing one, since core numbers must be dense.

use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use weir_hal::CoreId;

use super::area::{Area, CORES_MAX, area_of, current};
use super::{ENTRY, RUNNING, apic_ids};
use crate::interrupts::apic::{self, Message};
use crate::{cpu, memory, time};

/// Time between INIT and the first start-up message. Processors of this century need none.
const INIT_WAIT_NS: u64 = 20_000;
/// After this time without a report the start-up message is repeated.
const REPEAT_AFTER_NS: u64 = 2_000_000;
/// After this time the cores that have not reported are given up. A host may take long to schedule many virtual processors.
const GIVE_UP_AFTER_NS: u64 = 2_000_000_000;

/// What the starting core reads, by offset, in `boot::entry`.
#[repr(C)]
pub(crate) struct StartEntry {
    apic_id: AtomicU32,
    core: AtomicU32,
    stack_top: AtomicU64,
}

impl StartEntry {
    #[expect(clippy::declare_interior_mutable_const, reason = "it fills the table, which is a static")]
    const EMPTY: StartEntry =
        StartEntry { apic_id: AtomicU32::new(0), core: AtomicU32::new(0), stack_top: AtomicU64::new(0) };
}

/// Entries of all cores; read by assembly.
pub(crate) static START_TABLE: [StartEntry; CORES_MAX] = [const { StartEntry::EMPTY }; CORES_MAX];
/// Entries in use; read by assembly.
pub(crate) static START_COUNT: AtomicU32 = AtomicU32::new(0);
/// Root page table; read by assembly, in 32-bit mode.
pub(crate) static START_PAGE_TABLE: AtomicU32 = AtomicU32::new(0);

const WAITING: u16 = 0;
const REPORTED: u16 = 1;
const GIVEN_UP: u16 = 2;
static STATES: [AtomicU16; CORES_MAX] = [const { AtomicU16::new(WAITING) }; CORES_MAX];
/// What the boot core's clock showed before it started the others.
static CLOCK_BEFORE_NS: AtomicU64 = AtomicU64::new(0);
/// Cores whose clock shows an earlier time than that: their counters are not in step.
static CLOCKS_BEHIND: AtomicU32 = AtomicU32::new(0);
/// Number of cores that may run on; 0 while this is undecided.
static GO: AtomicUsize = AtomicUsize::new(0);

/// Starts the other cores, up to `limit` in all, and lets them run `entry`. Returns how many run, the boot core included;
/// their numbers are dense. Called once, by the boot core.
pub fn start_all(limit: usize, entry: fn(CoreId) -> !) -> usize {
    let wanted = limit.clamp(1, apic_ids().len());
    ENTRY.store(entry as *mut (), Ordering::Release);
    let prepared = prepare(wanted);
    if prepared > 1 {
        send_start_messages(prepared);
    }
    let started = (1..prepared).take_while(|index| claim(*index)).count() + 1;
    if started < wanted {
        crate::warn!("cores: {started} of {wanted} cores started");
    }
    match CLOCKS_BEHIND.load(Ordering::Acquire) {
        0 => {}
        behind => crate::warn!("cores: the clocks of {behind} cores are behind the boot core's"),
    }
    RUNNING.store(started as u16, Ordering::Release);
    GO.store(started, Ordering::Release);
    started
}

/// Fills the start table; returns how many cores, the boot core included, have an area.
fn prepare(wanted: usize) -> usize {
    let Some(page) = memory::core_start_page() else {
        crate::warn!("cores: no page below 640 KiB to start other cores from");
        return 1;
    };
    let Ok(root) = u32::try_from(memory::root_table()) else { return 1 };
    START_PAGE_TABLE.store(root, Ordering::Relaxed);
    copy_start_code(page);
    let mut prepared = 1;
    for (index, apic_id) in apic_ids().iter().enumerate().take(wanted).skip(1) {
        let Some(area) = Area::allocate(CoreId(index as u16), *apic_id) else {
            crate::warn!("cores: no memory for core {index}");
            break;
        };
        let entry = &START_TABLE[index];
        entry.apic_id.store(*apic_id, Ordering::Relaxed);
        entry.core.store(index as u32, Ordering::Relaxed);
        entry.stack_top.store(area.main_stack_top(), Ordering::Relaxed);
        prepared += 1;
    }
    START_COUNT.store(prepared as u32, Ordering::Release);
    prepared
}

fn copy_start_code(page: u64) {
    #[cfg(feature = "bare")]
    {
        let (start, len) = crate::boot::entry::start_code();
        // SAFETY: a page of usable memory below 1 MiB that nobody else was given, mapped writable; the code is shorter
        // than a page.
        unsafe { core::ptr::copy_nonoverlapping(start, page as *mut u8, len) };
    }
    let _ = page;
}

fn send_start_messages(prepared: usize) {
    let Some(page) = memory::core_start_page() else { return };
    let start_up = Message::StartUp((page >> 12) as u8);
    CLOCK_BEFORE_NS.store(time::now_ns(), Ordering::Release);
    let others = || (1..prepared).zip(&apic_ids()[1..prepared]);
    others().for_each(|(_, id)| apic::send(*id, Message::Init));
    wait(INIT_WAIT_NS, || false);
    others().for_each(|(_, id)| apic::send(*id, start_up));
    let all_here = || (1..prepared).all(|index| STATES[index].load(Ordering::Acquire) == REPORTED);
    if !wait(REPEAT_AFTER_NS, all_here) {
        let missing = others().filter(|(index, _)| STATES[*index].load(Ordering::Acquire) == WAITING);
        missing.for_each(|(_, id)| apic::send(*id, start_up));
        wait(GIVE_UP_AFTER_NS, all_here);
    }
}

/// Waits until `done` or for `at_most_ns`; says whether it was done.
fn wait(at_most_ns: u64, done: impl Fn() -> bool) -> bool {
    let start_ns = time::now_ns();
    while time::now_ns() - start_ns < at_most_ns {
        if done() {
            return true;
        }
        core::hint::spin_loop();
    }
    done()
}

/// Decides about core `index`: `true` if it has reported; else it will stop when it does.
fn claim(index: usize) -> bool {
    STATES[index].compare_exchange(WAITING, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire) == Err(REPORTED)
}

/// Where a started core arrives from assembly, on its own stack.
pub(crate) extern "C" fn arrive(core: u32) -> ! {
    let id = CoreId(core as u16);
    let Some(area) = area_of(id) else { cpu::halt_forever() };
    // SAFETY: this is the core that the area was made for (the table maps its controller number to it), interrupts are
    // off, and the boot core has prepared the interrupt table.
    unsafe {
        area.enter();
        crate::interrupts::idt::load();
    }
    cpu::enable_extended_state();
    apic::enable();
    // A counter that is behind the boot core gives a difference below zero.
    if time::now_ns().wrapping_sub(CLOCK_BEFORE_NS.load(Ordering::Acquire)) > 1 << 62 {
        CLOCKS_BEHIND.fetch_add(1, Ordering::AcqRel);
    }
    let state = &STATES[id.index()];
    if state.compare_exchange(WAITING, REPORTED, Ordering::AcqRel, Ordering::Acquire).is_err() {
        cpu::halt_forever();
    }
    let go = loop {
        match GO.load(Ordering::Acquire) {
            0 => core::hint::spin_loop(),
            go => break go,
        }
    };
    if id.index() >= go {
        cpu::halt_forever();
    }
    // SAFETY: `start_all` stored a function of this type before it let anybody go.
    let entry = unsafe { core::mem::transmute::<*mut (), fn(CoreId) -> !>(ENTRY.load(Ordering::Acquire)) };
    entry(current())
}
