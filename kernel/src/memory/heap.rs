//! The heap for cold objects: one per core, grown in chunks, without a lock.
//!
//! A core allocates from its own chunks. A block freed on another core goes home: it is pushed on its owner's list of
//! returns, counted, and taken back when the owner allocates next. Whose a block is follows from its address: chunks are whole
//! [`CHUNK`]s, and [`Owners`] knows the core of each. The data path does not allocate here; interrupt handlers
//! must not.

use core::alloc::Layout;
use core::cell::{Cell, UnsafeCell};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, AtomicU16, AtomicU64, Ordering};

use linked_list_allocator::Heap;
use spin::Once;
use weir_hal::CoreId;

use super::ranges::Range;

/// Unit of growth and of ownership, in bytes.
pub const CHUNK: u64 = 1 << 20;
/// Chunk groups of one core: each is twice as large as the one before, up to [`GROUP_MAX`].
const GROUPS_MAX: usize = 64;
const GROUP_MAX: u64 = 64 << 20;
/// What the allocator may need on top of a request, in bytes.
const OVERHEAD: u64 = 64;

/// How one core's heap stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeapUsage {
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes taken from the machine's memory.
    pub total_bytes: u64,
    /// Blocks that other cores have sent home since boot.
    pub foreign_frees: u64,
}

/// A block on its way home, written into the block itself.
#[repr(C)]
struct Return {
    next: *mut Return,
    size: u32,
    size_high: u16,
    align_log2: u16,
}

/// The allocator never makes a smaller block than this, so a [`Return`] fits into every block.
const BLOCK_MIN: usize = 2 * size_of::<usize>();
const _: () = assert!(size_of::<Return>() <= BLOCK_MIN);

struct Groups {
    heaps: [Heap; GROUPS_MAX],
    len: usize,
}

/// The heap of one core. All methods but [`CoreHeap::send_home`] belong to that core.
pub struct CoreHeap {
    owner: CoreId,
    busy: Cell<bool>,
    groups: UnsafeCell<Groups>,
    used_bytes: AtomicU64,
    total_bytes: AtomicU64,
    returns: AtomicPtr<Return>,
    foreign_frees: AtomicU64,
}

// SAFETY: other cores use only the atomics; `busy` and `groups` are used by the owner alone, which `GlobalAlloc` below ensures by
// asking for the heap of the running core.
unsafe impl Sync for CoreHeap {}

impl CoreHeap {
    /// An empty heap; it takes memory when first asked.
    pub const fn new(owner: CoreId) -> CoreHeap {
        CoreHeap {
            owner,
            busy: Cell::new(false),
            groups: UnsafeCell::new(Groups { heaps: [const { Heap::empty() }; GROUPS_MAX], len: 0 }),
            used_bytes: AtomicU64::new(0),
            total_bytes: AtomicU64::new(0),
            returns: AtomicPtr::new(core::ptr::null_mut()),
            foreign_frees: AtomicU64::new(0),
        }
    }

    /// Allocates; `grow` supplies a range of whole chunks when the heap is full. Null when there is none left.
    ///
    /// # Safety
    /// Called by the owner. `grow` gives fresh memory that belongs to nobody else, for ever.
    pub unsafe fn allocate(&self, layout: Layout, grow: impl Fn(u64) -> Option<Range>) -> *mut u8 {
        if self.busy.replace(true) {
            return core::ptr::null_mut();
        }
        // SAFETY: the owner asks, and `busy` keeps out an exception that would ask again in between.
        let groups = unsafe { &mut *self.groups.get() };
        self.take_returns(groups);
        let block = groups.allocate(layout).or_else(|| {
            if groups.len == GROUPS_MAX {
                return None;
            }
            let wanted = (layout.size() as u64).checked_add(layout.align() as u64)?.checked_add(OVERHEAD)?;
            let wanted = wanted.checked_next_multiple_of(CHUNK)?;
            let step = (CHUNK << groups.len.min(16)).min(GROUP_MAX);
            let range = grow(wanted.max(step)).or_else(|| grow(wanted))?;
            count(&self.total_bytes, range.len());
            groups.add(range);
            groups.allocate(layout)
        });
        self.busy.set(false);
        let Some(block) = block else { return core::ptr::null_mut() };
        count(&self.used_bytes, layout.size() as u64);
        block.as_ptr()
    }

    /// Frees a block of this heap.
    ///
    /// # Safety
    /// Called by the owner; the block came from this heap with this layout and nobody uses it.
    pub unsafe fn free(&self, block: NonNull<u8>, layout: Layout) {
        if self.busy.replace(true) {
            // SAFETY: as promised by the caller; the list takes blocks from anybody.
            return unsafe { self.send_home(block, layout) };
        }
        // SAFETY: as in `allocate`.
        let groups = unsafe { &mut *self.groups.get() };
        // SAFETY: the caller's promise.
        unsafe { groups.free(block, layout) };
        count(&self.used_bytes, (layout.size() as u64).wrapping_neg());
        self.busy.set(false);
    }

    /// Takes a block that another core freed. Any core may call this.
    ///
    /// # Safety
    /// The block came from this heap with this layout and nobody uses it.
    pub unsafe fn send_home(&self, block: NonNull<u8>, layout: Layout) {
        self.foreign_frees.fetch_add(1, Ordering::Relaxed);
        let node = block.as_ptr().cast::<Return>();
        let size = layout.size() as u64;
        let mut head = self.returns.load(Ordering::Relaxed);
        loop {
            let entry = Return {
                next: head,
                size: size as u32,
                size_high: (size >> 32) as u16,
                align_log2: layout.align().trailing_zeros() as u16,
            };
            // SAFETY: the block is at least `BLOCK_MIN` long and 8-aligned, and nobody else uses it until the exchange.
            unsafe { node.write(entry) };
            match self.returns.compare_exchange_weak(head, node, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// How the heap stands. Any core may ask.
    pub fn usage(&self) -> HeapUsage {
        HeapUsage {
            used_bytes: self.used_bytes.load(Ordering::Relaxed),
            total_bytes: self.total_bytes.load(Ordering::Relaxed),
            foreign_frees: self.foreign_frees.load(Ordering::Relaxed),
        }
    }

    fn take_returns(&self, groups: &mut Groups) {
        if self.returns.load(Ordering::Relaxed).is_null() {
            return;
        }
        let mut next = self.returns.swap(core::ptr::null_mut(), Ordering::Acquire);
        while let Some(block) = NonNull::new(next) {
            // SAFETY: `send_home` wrote the entry into a block of this heap and gave it up by the exchange.
            let entry = unsafe { block.read() };
            next = entry.next;
            let size = entry.size as usize | usize::from(entry.size_high) << 32;
            let Ok(layout) = Layout::from_size_align(size, 1 << entry.align_log2) else { continue };
            // SAFETY: as above; the layout is the one that `send_home` was given.
            unsafe { groups.free(block.cast(), layout) };
            count(&self.used_bytes, (size as u64).wrapping_neg());
        }
    }
}

/// Adds to a figure that only its owner writes and others read: no locked instruction is needed.
fn count(figure: &AtomicU64, difference: u64) {
    figure.store(figure.load(Ordering::Relaxed).wrapping_add(difference), Ordering::Relaxed);
}

impl Groups {
    fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let heaps = self.heaps[..self.len].iter_mut().rev();
        heaps.into_iter().find_map(|heap| heap.allocate_first_fit(layout).ok())
    }

    fn add(&mut self, range: Range) {
        let Some(heap) = self.heaps.get_mut(self.len) else { return };
        // SAFETY: fresh memory for ever (contract of `CoreHeap::allocate`), given to this one heap.
        unsafe { heap.init(range.start as *mut u8, range.len() as usize) };
        self.len += 1;
    }

    /// # Safety
    /// The block came from one of these heaps with this layout and nobody uses it.
    unsafe fn free(&mut self, block: NonNull<u8>, layout: Layout) {
        let inside = |heap: &&mut Heap| heap.bottom() <= block.as_ptr() && block.as_ptr() < heap.top();
        if let Some(heap) = self.heaps[..self.len].iter_mut().find(inside) {
            // SAFETY: the caller's promise; the block lies in this heap.
            unsafe { heap.deallocate(block, layout) };
        }
    }
}

/// Which core's heap each chunk of memory belongs to.
pub(crate) struct Owners {
    table: &'static [AtomicU16],
}

impl Owners {
    /// A table for memory up to `end`, in the zeroed bytes of `region`.
    pub(crate) fn new(region: weir_hal::DmaRegion) -> Owners {
        let len = region.len() / size_of::<AtomicU16>();
        // SAFETY: the region is owned, lives for ever, is aligned to 64 and zeroed, and zero is a value of the type.
        Owners { table: unsafe { core::slice::from_raw_parts(region.as_ptr().cast(), len) } }
    }

    /// Bytes that the table for memory up to `end` needs.
    pub(crate) fn bytes_for(end: u64) -> usize {
        end.div_ceil(CHUNK) as usize * size_of::<AtomicU16>()
    }

    fn claim(&self, range: Range, owner: CoreId) {
        for chunk in range.start / CHUNK..range.end / CHUNK {
            if let Some(entry) = self.table.get(chunk as usize) {
                entry.store(owner.0, Ordering::Relaxed);
            }
        }
    }

    fn owner(&self, block: NonNull<u8>) -> Option<CoreId> {
        let entry = self.table.get(block.as_ptr() as usize / CHUNK as usize)?;
        Some(CoreId(entry.load(Ordering::Relaxed)))
    }
}

static OWNERS: Once<Owners> = Once::new();

/// Prepares the ownership table for memory up to `end`. `false` when memory is exhausted.
pub(crate) fn init(end: u64) -> bool {
    let Some(region) = super::dma_alloc(Owners::bytes_for(end), 64) else { return false };
    OWNERS.call_once(|| Owners::new(region));
    true
}

/// The usage of core `id`'s heap, if there is such a core.
pub fn usage(id: CoreId) -> Option<HeapUsage> {
    crate::cores::area_of(id).map(|area| area.heap.usage())
}

/// The image's allocator: forwards to the heap of the running core.
#[derive(Debug)]
pub struct CoreAllocator;

// SAFETY: blocks come from the running core's heap and go back to the heap they came from; an exhausted heap answers null.
unsafe impl core::alloc::GlobalAlloc for CoreAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let heap = &crate::cores::area().heap;
        let Some(owners) = OWNERS.get() else { return core::ptr::null_mut() };
        let grow = |bytes| {
            let range = super::allocate(bytes, CHUNK)?;
            owners.claim(range, heap.owner);
            Some(range)
        };
        // SAFETY: the heap of the running core, and the memory was just taken for ever.
        unsafe { heap.allocate(layout, grow) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(block) = NonNull::new(block) else { return };
        let heap = &crate::cores::area().heap;
        match OWNERS.get().and_then(|owners| owners.owner(block)) {
            // SAFETY: the block is from the running core's own heap; the rest is the trait's contract.
            Some(owner) if owner == heap.owner => unsafe { heap.free(block, layout) },
            Some(owner) => {
                if let Some(area) = crate::cores::area_of(owner) {
                    // SAFETY: the ownership table says that the block came from that heap; the rest is the trait's contract.
                    unsafe { area.heap.send_home(block, layout) };
                }
            }
            None => {}
        }
    }
}

#[cfg(feature = "bare")]
#[global_allocator]
static ALLOCATOR: CoreAllocator = CoreAllocator;

#[cfg(test)]
mod tests;
