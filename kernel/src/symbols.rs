//! Function names for backtraces: the image's own ELF symbol table, looked up by address.
//!
//! The linker cannot put `.symtab` into memory, so the image library does it after linking: it appends the raw bytes of the
//! sections `.symtab` and `.strtab` behind the payload, inside the same extra load segment, and writes the descriptor.
//!
//! **Format.** Section `.weir.symbols`, 40 bytes, little endian: the magic `WEIRSYMS`, then four 64-bit words: physical address
//! and length in bytes of the symbol table (ELF64 `Elf64_Sym` entries, 24 bytes each), physical address and length of
//! the string table. All zeros after the magic (as linked) means that there is no table; backtraces then show
//! addresses only.

use crate::memory::ranges::Range;

/// As the linker leaves it and the image library fills it.
#[repr(C)]
struct Descriptor {
    magic: [u8; 8],
    symbols_start: u64,
    symbols_len: u64,
    names_start: u64,
    names_len: u64,
}

#[used]
#[cfg_attr(feature = "bare", unsafe(link_section = ".weir.symbols"))]
static DESCRIPTOR: Descriptor =
    Descriptor { magic: *b"WEIRSYMS", symbols_start: 0, symbols_len: 0, names_start: 0, names_len: 0 };

const ENTRY_BYTES: usize = 24;
const KIND_FUNCTION: u8 = 2;
const KIND_NONE: u8 = 0;

/// Where the two tables lie, if the image carries them.
pub(crate) fn ranges() -> Option<[Range; 2]> {
    // SAFETY: a static of this type; volatile, because the image library changes it after compilation.
    let descriptor = unsafe { (&raw const DESCRIPTOR).read_volatile() };
    let symbols = Range::of(descriptor.symbols_start, descriptor.symbols_len);
    let names = Range::of(descriptor.names_start, descriptor.names_len);
    let filled = descriptor.magic == *b"WEIRSYMS" && !symbols.is_empty() && !names.is_empty();
    (filled && symbols.start >= crate::image::all().end && names.start >= crate::image::all().end)
        .then_some([symbols, names])
}

/// The tables of the running image.
pub(crate) fn of_image() -> Option<Symbols<'static>> {
    let [symbols, names] = ranges()?;
    // SAFETY: the boot code reserved both ranges and mapped them readable; nobody writes to them.
    unsafe {
        Some(Symbols {
            symbols: core::slice::from_raw_parts(symbols.start as *const u8, symbols.len() as usize),
            names: core::slice::from_raw_parts(names.start as *const u8, names.len() as usize),
        })
    }
}

/// An ELF64 symbol table with its strings.
#[derive(Clone, Copy, Debug)]
pub struct Symbols<'a> {
    symbols: &'a [u8],
    names: &'a [u8],
}

/// A function found by address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function<'a> {
    /// Its name as the compiler wrote it (mangled).
    pub name: &'a str,
    /// How far the address is behind its first byte.
    pub offset: u64,
}

impl<'a> Symbols<'a> {
    /// Tables from raw section contents.
    pub fn new(symbols: &'a [u8], names: &'a [u8]) -> Symbols<'a> {
        Symbols { symbols, names }
    }

    /// The function that `address` lies in: the closest one that begins at or before it and is not known to end before it.
    /// A linear search; it runs once for each line of a backtrace.
    pub fn find(&self, address: u64) -> Option<Function<'a>> {
        let entries = self.symbols.chunks_exact(ENTRY_BYTES).filter_map(Symbol::parse);
        let inside = entries.filter(|symbol| symbol.covers(address));
        let best = inside.max_by_key(|symbol| (symbol.start, symbol.kind == KIND_FUNCTION))?;
        let name = self.names.get(best.name as usize..)?;
        let name = name.split(|byte| *byte == 0).next()?;
        let name = core::str::from_utf8(name).ok().filter(|name| !name.is_empty())?;
        Some(Function { name, offset: address - best.start })
    }
}

struct Symbol {
    name: u32,
    kind: u8,
    start: u64,
    len: u64,
}

impl Symbol {
    /// `Elf64_Sym`: name, info, other, section index, value, size.
    fn parse(entry: &[u8]) -> Option<Symbol> {
        let symbol = Symbol {
            name: u32::from_le_bytes(entry.get(0..4)?.try_into().ok()?),
            kind: entry.get(4)? & 0xf,
            start: u64::from_le_bytes(entry.get(8..16)?.try_into().ok()?),
            len: u64::from_le_bytes(entry.get(16..24)?.try_into().ok()?),
        };
        let section = u16::from_le_bytes(entry.get(6..8)?.try_into().ok()?);
        // Index 0 is undefined, from 0xff00 on are special ones: absolute values, not places.
        let placed = section != 0 && section < 0xff00;
        (placed && symbol.name != 0 && matches!(symbol.kind, KIND_FUNCTION | KIND_NONE)).then_some(symbol)
    }

    /// Labels of assembly have no length; they reach to the next symbol.
    fn covers(&self, address: u64) -> bool {
        address >= self.start && (self.len == 0 || address - self.start < self.len)
    }
}

#[cfg(test)]
mod tests;
