//! Names for addresses, from the symbol table of an ELF file.

use object::read::elf::ElfFile64;
use object::{Object, ObjectSymbol, SymbolKind};

/// Functions and variables by address.
#[derive(Debug, Default)]
pub struct Symbols {
    functions: Vec<Symbol>,
    variables: Vec<Symbol>,
}

#[derive(Debug, PartialEq, Eq)]
struct Symbol {
    start: u64,
    /// 0 when the assembler did not say; then it reaches to the next symbol.
    len: u64,
    name: String,
}

/// A place in the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// Name of the function or variable, without generic noise of the compiler.
    pub name: &'a str,
    /// Bytes from its start.
    pub offset: u64,
}

impl Symbols {
    /// Reads the symbol table.
    ///
    /// # Errors
    /// When the file is not a 64-bit ELF file. One without symbols is good, and names nothing.
    pub fn read(file: &[u8]) -> Result<Self, object::Error> {
        let file: ElfFile64 = ElfFile64::parse(file)?;
        let mut symbols = Self::default();
        for symbol in file.symbols().filter(|symbol| symbol.is_definition()) {
            let Ok(name) = symbol.name() else { continue };
            let list = match symbol.kind() {
                SymbolKind::Text => &mut symbols.functions,
                SymbolKind::Data => &mut symbols.variables,
                // Labels of assembly have no type; they lie in the text of the boot code.
                SymbolKind::Unknown | SymbolKind::Label if !name.is_empty() => &mut symbols.functions,
                _ => continue,
            };
            list.push(Symbol { start: symbol.address(), len: symbol.size(), name: demangle(name) });
        }
        for list in [&mut symbols.functions, &mut symbols.variables] {
            list.sort_by_key(|symbol| (symbol.start, symbol.len));
        }
        Ok(symbols)
    }

    /// The function that an instruction belongs to.
    #[must_use]
    pub fn function(&self, address: u64) -> Option<Place<'_>> {
        find(&self.functions, address)
    }

    /// The variable that a byte of memory belongs to; none for memory that is given out at run time.
    #[must_use]
    pub fn variable(&self, address: u64) -> Option<Place<'_>> {
        find(&self.variables, address)
    }

    /// `function+0x12`, or the address if it has no name.
    #[must_use]
    pub fn describe(&self, address: u64) -> String {
        match self.function(address) {
            Some(place) => format!("{}+{:#x}", place.name, place.offset),
            None => format!("{address:#x}"),
        }
    }
}

fn find(symbols: &[Symbol], address: u64) -> Option<Place<'_>> {
    let behind = symbols.partition_point(|symbol| symbol.start <= address);
    let symbol = symbols[..behind].last()?;
    let offset = address - symbol.start;
    (symbol.len == 0 || offset < symbol.len).then_some(Place { name: &symbol.name, offset })
}

/// Names as in the source, without the hash at the end.
fn demangle(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols() -> Symbols {
        let symbol = |start, len, name: &str| Symbol { start, len, name: name.into() };
        let functions = vec![symbol(0x1000, 0, "_start"), symbol(0x1100, 0x20, "main"), symbol(0x1200, 8, "turn")];
        Symbols { functions, variables: vec![symbol(0x9000, 8, "COUNT")] }
    }

    #[test]
    fn addresses_between_functions_have_no_name() {
        let symbols = symbols();
        assert_eq!(symbols.describe(0x1111), "main+0x11");
        assert_eq!(symbols.describe(0x1200), "turn+0x0");
        assert_eq!(symbols.describe(0x1120), "0x1120");
        assert_eq!(symbols.describe(0xfff), "0xfff");
        assert_eq!(symbols.describe(0x10ff), "_start+0xff", "assembly reaches to the next function");
    }

    #[test]
    fn variables_are_not_functions() {
        let symbols = symbols();
        assert_eq!(symbols.variable(0x9007), Some(Place { name: "COUNT", offset: 7 }));
        assert_eq!(symbols.variable(0x9008), None);
        assert_eq!(symbols.function(0x9007), None);
    }

    #[test]
    fn names_lose_their_hash() {
        assert_eq!(demangle("_ZN4weir4turn17h0123456789abcdefE"), "weir::turn");
        assert_eq!(demangle("_start"), "_start");
    }

    #[test]
    fn this_program_has_symbols_and_nonsense_has_none() {
        let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let symbols = Symbols::read(&file).unwrap();
        assert!(symbols.functions.iter().any(|symbol| symbol.name == "main"));
        assert!(Symbols::read(b"text").is_err());
    }
}
