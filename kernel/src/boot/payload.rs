//! What the image library attached to the image: the configuration and the file archive, as bytes.
//!
//! **Format.** The image has a section `.weir.payload` of 24 bytes in read-only loaded memory, little endian: the magic
//! `WEIRPAYL`, the physical address (64 bits) and the length in bytes (64 bits) of the payload; both zero as linked.
//! To attach a payload, the image library
//!
//! 1. computes the end of the image, the largest `p_paddr + p_memsz` of all `PT_LOAD` headers, and rounds it up to 2 MiB:
//!    this is the payload's physical address;
//! 2. turns the only `PT_NULL` program header into a `PT_LOAD` (flags `R`, `p_vaddr = p_paddr` = that address, file size =
//!    memory size) for the payload's bytes, which it appends to the file at a page boundary;
//! 3. writes address and length into the section, whose file offset it finds by name in the section header table.
//!
//! The symbol table for backtraces travels in the same segment, behind the payload: see [`crate::symbols`]. An image
//! without a payload takes the first PVH module (`-initrd` in QEMU) instead.

use super::pvh::Module;
use crate::image;
use crate::memory::ranges::Range;

/// As the linker leaves it and the image library fills it.
#[repr(C)]
struct Descriptor {
    magic: [u8; 8],
    start: u64,
    len: u64,
}

#[used]
#[cfg_attr(feature = "bare", unsafe(link_section = ".weir.payload"))]
static DESCRIPTOR: Descriptor = Descriptor { magic: *b"WEIRPAYL", start: 0, len: 0 };

/// Where the payload lies, if there is one.
pub(crate) fn range(module: Option<Module>) -> Option<Range> {
    // SAFETY: a static of this type; volatile, because the image library changes it after compilation.
    let descriptor = unsafe { (&raw const DESCRIPTOR).read_volatile() };
    let attached = Range::of(descriptor.start, descriptor.len);
    let module = module.map(|module| Range::of(module.start, module.len));
    Some(attached).filter(|range| is_usable(*range)).or(module.filter(|range| is_usable(*range)))
}

/// In the part of memory that the boot page tables map, and not over the image.
fn is_usable(range: Range) -> bool {
    !range.is_empty() && range.start >= 1 << 20 && range.end <= 1 << 32 && !range.overlaps(image::all())
}
