//! Physical memory: who owns which page, and how it is mapped.
//!
//! Addresses are identity-mapped, so a physical address is a pointer and a DMA address. Memory is handed out in ranges, for
//! ever: to core areas and their stacks, page tables, heaps, DMA regions and packet pools. Key types: [`map::MemoryMap`]
//! (what the loader said), [`ranges::RangeSet`] (what is free), [`paging::PageTables`]. Small cold objects live
//! in the per-core [`heap`].

use core::ptr::NonNull;

use spin::{Mutex, Once};
use weir_hal::{DmaAddr, DmaRegion, MapError, Mmio, PhysAddr};

use map::{MemoryKind, MemoryMap};
use paging::{Access, PageTables};
use ranges::{Range, RangeSet};

pub mod functions;
pub mod heap;
pub mod map;
pub mod paging;
pub mod phys;
pub mod ranges;

use crate::image;

/// Bytes of a small page.
pub const PAGE: u64 = 4096;
/// Bytes of a large page.
pub const LARGE_PAGE: u64 = 2 << 20;
/// Memory below this is left to firmware, except for the page that starts the other cores.
const LOW_MEMORY: u64 = 1 << 20;

struct Memory {
    free: RangeSet,
    tables: PageTables,
}

static MEMORY: Mutex<Option<Memory>> = Mutex::new(None);
static MAP: Once<MemoryMap> = Once::new();
static START_PAGE: Once<u64> = Once::new();

/// Totals, for the ready line and for limits that are computed from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Main memory of the machine, in bytes.
    pub installed_bytes: u64,
    /// Not handed out yet, in bytes.
    pub free_bytes: u64,
}

/// Takes possession of all memory that the loader calls usable, except `reserved`, which becomes read-only, and switches to
/// own page tables.
///
/// # Safety
/// Called once, on the boot core, while the boot page tables map the first 4 GiB writable. `map` tells the truth about
/// what is main memory, and nothing that is needed later lies in it outside the image and `reserved`.
pub(crate) unsafe fn init(map: MemoryMap, reserved: &[Range]) {
    let mut free = map.usable();
    START_PAGE.call_once(|| start_page(&free));
    free.remove(Range { start: 0, end: LOW_MEMORY });
    free.remove(image::all().grow_to(LARGE_PAGE));
    for range in reserved {
        free.remove(range.grow_to(PAGE));
    }
    let map = MAP.call_once(|| map);
    let root = table_page(&mut free).expect("memory for page tables");
    // SAFETY: `table_page` gives zeroed pages of our own below 4 GiB, which both old and new tables map one to one.
    let mut tables = unsafe { PageTables::new(root, crate::cpu::has_gigabyte_pages()) };
    map_everything(map, reserved, &mut free, &mut tables).expect("memory for page tables");
    // SAFETY: the new tables map the running text executable and stack and data writable, at the same addresses.
    unsafe { crate::cpu::set_page_tables(tables.root()) };
    *MEMORY.lock() = Some(Memory { free, tables });
}

fn map_everything(
    map: &MemoryMap,
    reserved: &[Range],
    free: &mut RangeSet,
    tables: &mut PageTables,
) -> Result<(), paging::OutOfTables> {
    let mut page = || table_page(free);
    for (range, kind) in map.entries() {
        if *kind != MemoryKind::Reserved {
            tables.map(range.grow_to(PAGE), Access::WRITE, &mut page)?;
        }
    }
    for range in reserved {
        tables.map(range.grow_to(PAGE), Access::READ, &mut page)?;
    }
    tables.map(image::text().grow_to(LARGE_PAGE), Access::EXECUTE, &mut page)?;
    tables.map(image::rodata().grow_to(LARGE_PAGE), Access::READ, &mut page)?;
    tables.unmap_page(0, &mut page)?;
    tables.unmap_page(image::boot_guard().start, &mut page)
}

/// The page for the code that starts the other cores: the highest free one below 640 KiB.
fn start_page(free: &RangeSet) -> u64 {
    let low = free.as_slice().iter().take_while(|range| range.start < 0xa_0000);
    low.last().map_or(0, |range| range.end.min(0xa_0000) - PAGE)
}

/// Where other cores may begin in real mode; `None` when the map has no free page below 640 KiB.
pub(crate) fn core_start_page() -> Option<u64> {
    START_PAGE.get().copied().filter(|page| *page != 0)
}

/// Physical address of the root page table.
pub(crate) fn root_table() -> u64 {
    MEMORY.lock().as_ref().map_or(0, |memory| memory.tables.root())
}

fn table_page(free: &mut RangeSet) -> Option<NonNull<[u64; 512]>> {
    let range = free.allocate_below(PAGE, PAGE, 1 << 32)?;
    let page = NonNull::new(range.start as *mut [u64; 512])?;
    // SAFETY: a page of main memory, just taken from the free set, mapped writable one to one by the tables in force.
    unsafe { page.write_bytes(0, 1) };
    Some(page)
}

/// Takes `bytes` of physical memory for ever. The contents are whatever was there.
pub(crate) fn allocate(bytes: u64, align: u64) -> Option<Range> {
    MEMORY.lock().as_mut()?.free.allocate(bytes, align)
}

/// Makes the page at `at` fault. The caller owns it.
pub(crate) fn guard(at: u64) {
    let mut memory = MEMORY.lock();
    let Some(Memory { free, tables }) = memory.as_mut() else { return };
    if tables.unmap_page(at, &mut || table_page(free)).is_err() {
        crate::warn!("memory: no page table for the guard page at {at:#x}");
    }
    crate::cpu::flush_page(at);
}

/// Zeroed memory that devices can reach, aligned to `align` bytes (a power of two), for ever.
pub fn dma_alloc(bytes: usize, align: usize) -> Option<DmaRegion> {
    let region = take(bytes as u64, (align as u64).max(64))?;
    // SAFETY: just taken from the free set, mapped, `bytes` long.
    unsafe { region.as_ptr().write_bytes(0, bytes) };
    Some(region)
}

/// A large region for packet pools, aligned to 2 MiB and mapped with large pages, for ever. Not zeroed.
pub fn large_alloc(bytes: usize) -> Option<DmaRegion> {
    take((bytes as u64).checked_next_multiple_of(LARGE_PAGE)?, LARGE_PAGE)
}

fn take(bytes: u64, align: u64) -> Option<DmaRegion> {
    let range = allocate(bytes, align)?;
    let start = NonNull::new(range.start as *mut u8)?;
    // SAFETY: main memory, mapped one to one for ever, out of the free set and thus nobody else's. Its bytes came from
    // outside of Rust and have some value.
    Some(unsafe { DmaRegion::new(start, DmaAddr(range.start), range.len() as usize) })
}

/// Bytes not handed out yet.
pub fn free_bytes() -> u64 {
    MEMORY.lock().as_ref().map_or(0, |memory| memory.free.total())
}

/// Installed and free memory.
pub fn totals() -> Totals {
    Totals { installed_bytes: MAP.get().map_or(0, MemoryMap::usable_bytes), free_bytes: free_bytes() }
}

/// Maps device registers, uncached.
pub fn map_mmio(at: PhysAddr, len: usize) -> Result<Mmio, MapError> {
    let end = at.0.checked_add(len as u64).ok_or(MapError::BadRange)?;
    let range = Range { start: at.0, end };
    let limit = 1 << crate::cpu::physical_address_bits().min(47);
    if range.is_empty() || end > limit || range.start < PAGE {
        return Err(MapError::BadRange);
    }
    if MAP.get().is_none_or(|map| map.overlaps_memory(range.grow_to(PAGE))) {
        return Err(MapError::OverlapsMemory);
    }
    let mut memory = MEMORY.lock();
    let Memory { free, tables } = memory.as_mut().ok_or(MapError::OutOfMemory)?;
    let mapped = tables.map(range.grow_to(PAGE), Access::DEVICE, &mut || table_page(free));
    mapped.map_err(|_| MapError::OutOfMemory)?;
    let base = NonNull::new(at.0 as *mut u8).ok_or(MapError::BadRange)?;
    // SAFETY: mapped just now and never unmapped; not main memory, so no Rust object lives there.
    Ok(unsafe { Mmio::new(base, len) })
}

/// The kernel as drivers see it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine;

impl weir_hal::Machine for Machine {
    fn dma_alloc(&self, bytes: usize, align: usize) -> Option<DmaRegion> {
        dma_alloc(bytes, align)
    }

    fn map_mmio(&self, at: PhysAddr, len: usize) -> Result<Mmio, MapError> {
        map_mmio(at, len)
    }
}
