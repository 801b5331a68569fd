//! Attaches a payload, and the names of the functions, to the base ELF.
//!
//! The contract with the guest, which the guest's linker script and boot code keep on their side:
//!
//! - the section `.weir.payload` holds [`Descriptor::LEN`] bytes of initialised data, all zero in the base: the
//!   [`Descriptor`] goes there, and the guest reads it where it was linked;
//! - one program header is spare (`PT_NULL`): it becomes a `PT_LOAD` of the payload, at the first 2 MiB boundary behind
//!   everything else that is loaded. Large pages of its own let the guest map it read-only;
//! - the section `.weir.symbols`, if there is one, holds the magic `WEIRSYMS` and four words: address and length of the
//!   symbol table, address and length of its strings. The linker cannot load `.symtab`, so both are copied behind the
//!   payload, into the same segment. A base without symbols is good; its backtraces show addresses.
//!
//! Nothing in the file moves: all is appended. Section headers stay as they are, so debuggers still find symbols.

use object::elf::{FileHeader64, PF_R, PT_LOAD, PT_NULL, ProgramHeader64, SHT_PROGBITS};
use object::endian::{LittleEndian, U32, U64};
use object::pod;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader, SectionTable};

/// Name of the section that holds the descriptor.
pub const SECTION_NAME: &str = ".weir.payload";

/// Name of the section that says where the symbols are.
pub const SYMBOLS_SECTION_NAME: &str = ".weir.symbols";

/// Physical addresses of payloads are multiples of this: one large page.
pub const PAYLOAD_ALIGN: u64 = 2 << 20;

/// The payload ends below this physical address. Every supported machine type has contiguous memory up to here, if it has
/// that much memory at all.
pub const PAYLOAD_END_MAX: u64 = 2 << 30;

/// The payload's offset in the file is a multiple of this, as its address is.
const FILE_ALIGN: usize = 4096;

/// Addresses of the symbol table and its strings are multiples of this.
const TABLE_ALIGN: usize = 16;

/// Why a payload cannot be attached.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// Not a 64-bit little-endian ELF file, or cut off inside its tables.
    #[error("not a 64-bit little-endian ELF file: {0}")]
    NotElf(String),
    /// The section for the descriptor does not exist: this is not a Weir base.
    #[error("no section {SECTION_NAME}: not a Weir base image")]
    NoSection,
    /// The section exists but is too small or has no bytes in the file.
    #[error("the section {0} is too small or has no initialised data")]
    BadSection(&'static str),
    /// The descriptor is filled in: this is an image, not a base.
    #[error("a payload is attached already")]
    AlreadyAttached,
    /// No program header of type `PT_NULL` is left.
    #[error("no spare program header")]
    NoSpareHeader,
    /// A loaded segment lies beyond the end of the file or of the address space.
    #[error("the loaded segment {0} lies outside of the file or the address space")]
    BadSegment(usize),
    /// Nothing is loaded.
    #[error("no loaded segment")]
    NothingLoaded,
    /// Base and payload do not fit below [`PAYLOAD_END_MAX`].
    #[error("the payload of {len} bytes does not fit below 2 GiB behind the program")]
    TooLarge {
        /// Length of the payload.
        len: u64,
    },
}

/// Where the guest finds its payload: magic, physical address, length, little endian, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// Physical address of the first byte.
    pub address: u64,
    /// Length in bytes.
    pub len: u64,
}

impl Descriptor {
    /// Bytes of the descriptor in the section.
    pub const LEN: usize = 24;
    /// The first eight bytes of a descriptor that has been filled in.
    pub const MAGIC: [u8; 8] = *b"WEIRPAYL";

    /// The bytes that go into the section.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&Self::MAGIC);
        bytes[8..16].copy_from_slice(&self.address.to_le_bytes());
        bytes[16..].copy_from_slice(&self.len.to_le_bytes());
        bytes
    }
}

/// The magic in front of the four words that say where the symbols are.
const SYMBOLS_MAGIC: [u8; 8] = *b"WEIRSYMS";

/// Bytes of the section that says where the symbols are.
const SYMBOLS_LEN: usize = 40;

/// Returns a copy of `base` with `payload` attached, and with the symbols that `base` has.
///
/// # Errors
/// When `base` is not a Weir base, is damaged, or the payload does not fit.
pub fn attach(base: &[u8], payload: &[u8]) -> Result<Vec<u8>, ElfError> {
    let places = Places::find(base)?;
    let len = payload.len() as u64;
    let address = places.loaded_end.checked_next_multiple_of(PAYLOAD_ALIGN).ok_or(ElfError::TooLarge { len })?;

    let offset = base.len().next_multiple_of(FILE_ALIGN);
    let mut image = Vec::with_capacity(offset + payload.len());
    image.extend_from_slice(base);
    image.resize(offset, 0);
    image.extend_from_slice(payload);
    write_at(&mut image, places.descriptor, &Descriptor { address, len }.to_bytes());
    if let Some(symbols) = places.symbols {
        let mut words = SYMBOLS_MAGIC.to_vec();
        for table in symbols.tables {
            image.resize(image.len().next_multiple_of(TABLE_ALIGN), 0);
            let table_address = address + (image.len() - offset) as u64;
            image.extend_from_slice(table);
            words.extend_from_slice(&table_address.to_le_bytes());
            words.extend_from_slice(&(table.len() as u64).to_le_bytes());
        }
        write_at(&mut image, symbols.descriptor, &words);
    }

    let loaded_len = (image.len() - offset) as u64;
    if address.checked_add(loaded_len).is_none_or(|end| end > PAYLOAD_END_MAX) {
        return Err(ElfError::TooLarge { len });
    }
    let header = program_header(offset as u64, address, loaded_len);
    write_at(&mut image, places.spare_header, pod::bytes_of(&header));
    Ok(image)
}

/// What [`attach`] needs to know of a base; every offset has been checked against the file's length.
struct Places<'data> {
    descriptor: usize,
    spare_header: usize,
    loaded_end: u64,
    symbols: Option<SymbolPlaces<'data>>,
}

struct SymbolPlaces<'data> {
    descriptor: usize,
    /// The symbol table and its strings.
    tables: [&'data [u8]; 2],
}

type Sections<'data> = SectionTable<'data, FileHeader64<LittleEndian>>;

impl<'data> Places<'data> {
    fn find(base: &'data [u8]) -> Result<Self, ElfError> {
        let damaged = |error: object::read::Error| ElfError::NotElf(error.to_string());
        let file = FileHeader64::<LittleEndian>::parse(base).map_err(damaged)?;
        let endian = file.endian().map_err(damaged)?;
        let segments = file.program_headers(endian, base).map_err(damaged)?;
        let sections = file.sections(endian, base).map_err(damaged)?;
        let (descriptor, bytes) =
            initialised_bytes(&sections, SECTION_NAME, Descriptor::LEN, base)?.ok_or(ElfError::NoSection)?;
        // The magic may be there from the start; an address may not.
        if bytes.iter().skip(8).take(8).any(|byte| *byte != 0) {
            return Err(ElfError::AlreadyAttached);
        }
        let table = usize::try_from(file.e_phoff(endian)).expect("the table was read from memory");
        let spare = segments.iter().position(|segment| segment.p_type(endian) == PT_NULL);
        let spare = spare.ok_or(ElfError::NoSpareHeader)?;
        Ok(Self {
            descriptor,
            spare_header: table + spare * size_of::<ProgramHeader64<LittleEndian>>(),
            loaded_end: loaded_end(segments, endian, base)?,
            symbols: symbols(&sections, base)?,
        })
    }
}

/// Offset and bytes of a section of initialised data; `None` if there is no section of that name.
fn initialised_bytes<'data>(
    sections: &Sections<'data>,
    name: &'static str,
    len_min: usize,
    base: &'data [u8],
) -> Result<Option<(usize, &'data [u8])>, ElfError> {
    let endian = LittleEndian;
    let Some((_, section)) = sections.section_by_name(endian, name.as_bytes()) else { return Ok(None) };
    let bytes = section.data(endian, base).map_err(|_| ElfError::BadSection(name))?;
    let offset = usize::try_from(section.sh_offset(endian)).map_err(|_| ElfError::BadSection(name))?;
    if section.sh_type(endian) != SHT_PROGBITS || bytes.len() < len_min {
        return Err(ElfError::BadSection(name));
    }
    Ok(Some((offset, bytes)))
}

/// The symbol table of a base that wants it and has it.
fn symbols<'data>(sections: &Sections<'data>, base: &'data [u8]) -> Result<Option<SymbolPlaces<'data>>, ElfError> {
    let Some((descriptor, _)) = initialised_bytes(sections, SYMBOLS_SECTION_NAME, SYMBOLS_LEN, base)? else {
        return Ok(None);
    };
    let contents = |name: &'static str| match sections.section_by_name(LittleEndian, name.as_bytes()) {
        Some((_, section)) => section.data(LittleEndian, base).map(Some).map_err(|_| ElfError::BadSection(name)),
        None => Ok(None),
    };
    let tables = contents(".symtab")?.zip(contents(".strtab")?);
    Ok(tables.map(|(table, strings)| SymbolPlaces { descriptor, tables: [table, strings] }))
}

/// First physical address behind everything that is loaded.
fn loaded_end(segments: &[ProgramHeader64<LittleEndian>], endian: LittleEndian, base: &[u8]) -> Result<u64, ElfError> {
    let mut end = None;
    for (index, segment) in segments.iter().enumerate().filter(|(_, segment)| segment.p_type(endian) == PT_LOAD) {
        segment.data(endian, base).map_err(|()| ElfError::BadSegment(index))?;
        let last = segment.p_paddr(endian).checked_add(segment.p_memsz(endian)).ok_or(ElfError::BadSegment(index))?;
        end = end.max(Some(last));
    }
    end.ok_or(ElfError::NothingLoaded)
}

fn program_header(offset: u64, address: u64, len: u64) -> ProgramHeader64<LittleEndian> {
    let word = |value| U64::new(LittleEndian, value);
    ProgramHeader64 {
        p_type: U32::new(LittleEndian, PT_LOAD),
        p_flags: U32::new(LittleEndian, PF_R),
        p_offset: word(offset),
        p_vaddr: word(address),
        p_paddr: word(address),
        p_filesz: word(len),
        p_memsz: word(len),
        p_align: word(FILE_ALIGN as u64),
    }
}

fn write_at(image: &mut [u8], offset: usize, bytes: &[u8]) {
    image[offset..offset + bytes.len()].copy_from_slice(bytes);
}

#[cfg(test)]
mod tests;
