//! What every core has for itself: its descriptor tables, stacks, heap and interrupt handlers.
//!
//! A core finds its area through GS. In memory an area is one block, from low to high addresses: the [`Area`] value, then for
//! each stack a guard page and the stack itself. The boot core begins with a static area and the boot stack,
//! until memory is known.

use core::arch::asm;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use weir_hal::CoreId;
use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, Segment};
use x86_64::instructions::tables::load_tss;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::tss::TaskStateSegment;

use crate::interrupts::handlers::Handlers;
use crate::memory::heap::CoreHeap;
use crate::memory::ranges::Range;
use crate::memory::{self, PAGE};

/// The most cores that Weir uses.
pub const CORES_MAX: usize = 256;

/// The stacks of a core, in the order in which they lie in memory. The discriminant of an interrupt stack is its number in the
/// interrupt stack table (Intel SDM volume 3, 6.14.5), counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum StackKind {
    /// Where the core's program runs.
    Main = 0,
    /// Device interrupts, wake-ups and timers.
    Interrupt = 1,
    /// Processor exceptions.
    Exception = 2,
    /// Non-maskable interrupts and machine checks.
    NonMaskable = 3,
    /// Double faults.
    DoubleFault = 4,
}

impl StackKind {
    /// What a report calls it.
    pub fn name(self) -> &'static str {
        match self {
            StackKind::Main => "main stack",
            StackKind::Interrupt => "interrupt stack",
            StackKind::Exception => "exception stack",
            StackKind::NonMaskable => "stack of non-maskable interrupts",
            StackKind::DoubleFault => "double fault stack",
        }
    }
}

const STACKS: [(StackKind, u64); 5] = [
    (StackKind::Interrupt, 16 << 10),
    (StackKind::Exception, 32 << 10),
    (StackKind::NonMaskable, 32 << 10),
    (StackKind::DoubleFault, 32 << 10),
    (StackKind::Main, MAIN_STACK_BYTES),
];

/// Size of the stack that a core's program runs on.
pub const MAIN_STACK_BYTES: u64 = 256 << 10;

/// The first fields are read by offset from GS: see [`current`] and [`area`].
#[repr(C, align(64))]
pub struct Area {
    this: AtomicPtr<Area>,
    id: CoreId,
    user: AtomicPtr<()>,
    /// Deadline that the timer of this core is armed for, in ns; 0 when it is not. Only its own core uses it.
    pub(crate) armed_for_ns: AtomicU64,
    pub(crate) apic_id: u32,
    pub(crate) heap: CoreHeap,
    pub(crate) handlers: Handlers,
    stacks: [Range; STACKS.len()],
    tss: TaskStateSegment,
    gdt: GlobalDescriptorTable<8>,
    tss_selector: SegmentSelector,
}

/// The whole block: the area in whole pages, then guard and stack for each stack.
fn block_bytes() -> u64 {
    let area = (size_of::<Area>() as u64).next_multiple_of(PAGE);
    area + STACKS.iter().map(|(_, bytes)| PAGE + bytes).sum::<u64>()
}

static AREAS: [AtomicPtr<Area>; CORES_MAX] = [const { AtomicPtr::new(core::ptr::null_mut()) }; CORES_MAX];

impl Area {
    /// Makes the area of core `id` in fresh memory. `None` when memory is exhausted.
    pub(crate) fn allocate(id: CoreId, apic_id: u32) -> Option<&'static Area> {
        let block = memory::allocate(block_bytes(), PAGE)?;
        let mut at = block.start + (size_of::<Area>() as u64).next_multiple_of(PAGE);
        let stacks = STACKS.map(|(_, bytes)| {
            memory::guard(at);
            let stack = Range { start: at + PAGE, end: at + PAGE + bytes };
            at = stack.end;
            stack
        });
        let place = NonNull::new(block.start as *mut Area)?;
        // SAFETY: the block is fresh, page-aligned, mapped, ours alone, and as large as computed from the type.
        let area = unsafe {
            place.write(Area::new(id, apic_id, stacks));
            &mut *place.as_ptr()
        };
        area.prepare();
        AREAS.get(id.index())?.store(area, Ordering::Release);
        Some(area)
    }

    fn new(id: CoreId, apic_id: u32, stacks: [Range; STACKS.len()]) -> Area {
        Area {
            this: AtomicPtr::new(core::ptr::null_mut()),
            id,
            user: AtomicPtr::new(core::ptr::null_mut()),
            armed_for_ns: AtomicU64::new(0),
            apic_id,
            heap: CoreHeap::new(id),
            handlers: Handlers::new(),
            stacks,
            tss: TaskStateSegment::new(),
            gdt: GlobalDescriptorTable::empty(),
            tss_selector: SegmentSelector::NULL,
        }
    }

    /// Fills the tables that point into the area itself; its address is final.
    fn prepare(&mut self) {
        for ((kind, _), stack) in STACKS.iter().zip(self.stacks) {
            if *kind != StackKind::Main {
                self.tss.interrupt_stack_table[*kind as usize - 1] = VirtAddr::new(stack.end);
            }
        }
        // The same selectors as the boot table, so that segment registers stay valid: 0x08 code, 0x10 data.
        self.gdt = GlobalDescriptorTable::empty();
        self.gdt.append(Descriptor::kernel_code_segment());
        self.gdt.append(Descriptor::kernel_data_segment());
        // SAFETY: the segment lies in the area itself, which lives for ever; `append` copies the address only.
        let tss = unsafe { Descriptor::tss_segment_unchecked(&raw const self.tss) };
        self.tss_selector = self.gdt.append(tss);
        *self.this.get_mut() = &raw mut *self;
    }

    /// Top of the stack on which the core's program starts.
    pub(crate) fn main_stack_top(&self) -> u64 {
        self.stack(StackKind::Main).end
    }

    fn stack(&self, kind: StackKind) -> Range {
        let found = STACKS.iter().zip(self.stacks).find(|((each, _), _)| *each == kind);
        found.map_or(Range { start: 0, end: 0 }, |(_, stack)| stack)
    }

    /// Which stack, if any, `address` lies in.
    pub(crate) fn stack_of(&self, address: u64) -> Option<Range> {
        self.stacks.into_iter().find(|stack| stack.contains(address))
    }

    /// Whether `address` is in the guard page below one of the stacks, and of which.
    pub(crate) fn guard_of(&self, address: u64) -> Option<StackKind> {
        let stacks = STACKS.iter().zip(self.stacks);
        let mut hit = stacks.filter(|(_, stack)| {
            stack.start != 0 && Range { start: stack.start - PAGE, end: stack.start }.contains(address)
        });
        hit.next().map(|((kind, _), _)| *kind)
    }

    /// Makes this the area of the running core: GS, descriptor table, task state segment.
    ///
    /// # Safety
    /// Called on the core that the area was made for, with interrupts off; the area lives for ever.
    pub(crate) unsafe fn enter(&'static self) {
        // SAFETY: the table has the code and data descriptors of the boot table at the same selectors and lives for ever;
        // GS points at this area, whose first field points to itself.
        unsafe {
            self.gdt.load_unsafe();
            CS::set_reg(SegmentSelector(0x08));
            load_tss(self.tss_selector);
            crate::cpu::write_msr(GS_BASE, &raw const *self as u64);
        }
    }
}

/// Where the timer's handler finds `armed_for_ns` from GS.
pub(crate) const ARMED_OFFSET: usize = core::mem::offset_of!(Area, armed_for_ns);

const GS_BASE: u32 = 0xc000_0101;

/// The static area of the boot core, used until memory is known.
///
/// # Safety
/// Called once, before any other core runs.
pub(crate) unsafe fn enter_boot_area() {
    static mut BOOT_AREA: MaybeUninit<Area> = MaybeUninit::uninit();
    let stack = crate::image::boot_stack();
    // The stacks share the lower part of the boot stack: at this stage exceptions only report and never return.
    let shared = Range { start: stack.start, end: stack.start + (16 << 10) };
    let stacks = STACKS.map(|(kind, _)| if kind == StackKind::Main { stack } else { shared });
    // SAFETY: called once, on the only running core, so there is no other reference to the static.
    unsafe {
        let place = (&raw mut BOOT_AREA).cast::<Area>();
        place.write(Area::new(CoreId::BOOT, crate::cpu::apic_id(), stacks));
        let area = &mut *place;
        area.prepare();
        AREAS[0].store(area, Ordering::Release);
        area.enter();
    }
}

/// The area of the core that asks.
#[inline]
pub(crate) fn area() -> &'static Area {
    let area: *const Area;
    // SAFETY: `enter` pointed GS at an area whose first field is its own address; areas are never freed. The value is
    // constant for a core, so `pure` is right.
    unsafe {
        asm!("mov {}, gs:[0]", out(reg) area, options(pure, readonly, nostack, preserves_flags));
        &*area
    }
}

/// The core that asks: one load.
#[inline]
pub fn current() -> CoreId {
    let id: u32;
    // SAFETY: as in `area`; the number lies at offset 8 (checked below) and the two bytes after it are padding of the
    // same, mapped structure.
    unsafe { asm!("movzx {0:e}, word ptr gs:[8]", out(reg) id, options(pure, readonly, nostack, preserves_flags)) };
    CoreId(id as u16)
}

const _: () = assert!(core::mem::offset_of!(Area, this) == 0);
const _: () = assert!(core::mem::offset_of!(Area, id) == 8);
const _: () = assert!(core::mem::offset_of!(Area, user) == 16);

/// The area of core `id`, if it has one.
pub(crate) fn area_of(id: CoreId) -> Option<&'static Area> {
    let area = AREAS.get(id.index())?.load(Ordering::Acquire);
    // SAFETY: null or an area that was published complete and is never freed.
    unsafe { area.as_ref() }
}

/// A word of this core that the runtime may use, to find its own per-core state. Null until set.
#[inline]
pub fn local() -> *mut () {
    let word;
    // SAFETY: as in `area`; the word lies at offset 16 (checked below), and only its own core writes it.
    unsafe { asm!("mov {}, gs:[16]", out(reg) word, options(readonly, nostack, preserves_flags)) };
    word
}

/// Sets the word that [`local`] returns on this core.
pub fn set_local(value: *mut ()) {
    area().user.store(value, Ordering::Relaxed);
}
