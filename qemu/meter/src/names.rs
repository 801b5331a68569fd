//! Names for addresses in the terms of the source: functions that were inlined, files and lines.
//!
//! The optimiser folds most of a program into a few large functions, so the symbol table alone says little about where
//! instructions go. A program that was built with line tables says for each instruction through which inlined functions it
//! came; the innermost one that is not of the standard library is the one whose author can do something about it.

use std::path::Path;

use addr2line::Loader;

use crate::symbols::{Place, Symbols};

/// Name of what nothing covers.
const UNKNOWN: &str = "(no symbol)";

/// A mark of the standard library's source files.
const STANDARD_LIBRARY: &str = "/library/";

/// What the build puts in front of our own files.
const OWN_PREFIX: &str = "weir/";

/// Where cargo keeps the sources of others; a folder named after a host follows.
const REGISTRY: &str = "cargo/registry/src/";

/// Functions that are named to describe a place.
const FRAMES_TOLD: usize = 5;

/// Longest name in characters; generic functions can fill a page.
const NAME_LEN_MAX: usize = 110;

/// All that is known of a program's addresses.
#[derive(Default)]
pub struct Names {
    symbols: Symbols,
    lines: Option<Loader>,
}

/// A function on the way to an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The function's name, with its file if the name does not tell the module.
    pub function: String,
    /// Its name alone.
    name: String,
    /// The source file, such as `netstack/tcp/src/engine.rs`; empty when unknown.
    file: String,
    line: u32,
    is_standard: bool,
}

impl Frame {
    fn from_symbol(name: &str) -> Self {
        let name = shortened(name.to_owned());
        Self { function: name.clone(), name, file: String::new(), line: 0, is_standard: false }
    }

    fn from_source(name: &str, path: &str, line: u32) -> Self {
        let file = own_part(path);
        let name = shortened(without_noise(name));
        let function = if name.contains("::") { name.clone() } else { format!("{name} ({file})") };
        Self { function, name, file: file.to_owned(), line, is_standard: path.contains(STANDARD_LIBRARY) }
    }

    /// File and line, or the function where there is no source.
    #[must_use]
    pub fn line(&self) -> String {
        if self.file.is_empty() { self.name.clone() } else { format!("{}:{}", self.file, self.line) }
    }

    /// The source file, such as `netstack/tcp/src/engine.rs`; empty when unknown.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The folder of the package it belongs to, such as `netstack/tcp`; a package of others has its version behind it.
    #[must_use]
    pub fn package(&self) -> &str {
        match self.file.split_once("/src/") {
            Some((folder, _)) => folder,
            None => "(assembly and the compiler's own)",
        }
    }
}

impl Names {
    /// Names from the symbol table alone.
    #[must_use]
    pub fn from_symbols(symbols: Symbols) -> Self {
        Self { symbols, lines: None }
    }

    /// Names from the line tables of the program in a file, where it has some, and from its symbols.
    #[must_use]
    pub fn with_lines(symbols: Symbols, file: &Path) -> Self {
        Self { symbols, lines: Loader::new(file).ok() }
    }

    /// The functions whose code the instruction is, innermost first: at least one.
    #[must_use]
    pub fn frames(&self, address: u64) -> Vec<Frame> {
        let mut frames = self.inlined(address).unwrap_or_default();
        if frames.is_empty() {
            frames.push(Frame::from_symbol(self.symbols.function(address).map_or(UNKNOWN, |place| place.name)));
        }
        frames
    }

    /// The innermost frame that is not of the standard library, or the outermost if all are.
    #[must_use]
    pub fn own_frame(&self, address: u64) -> Frame {
        let mut frames = self.frames(address);
        frames.swap_remove(own(&frames))
    }

    /// The variable that a byte of memory belongs to; none for memory that is given out at run time.
    #[must_use]
    pub fn variable(&self, address: u64) -> Option<Place<'_>> {
        self.symbols.variable(address)
    }

    /// A place in the program, in words: the line, and the functions it came through.
    #[must_use]
    pub fn describe(&self, address: u64) -> String {
        let frames = self.frames(address);
        let frames = &frames[own(&frames)..];
        if frames[0].file.is_empty() {
            return self.symbols.describe(address);
        }
        let mut through: Vec<&str> = frames.iter().map(|frame| frame.name.as_str()).collect();
        // Layers that hand a call on often have one name.
        through.dedup();
        through.truncate(FRAMES_TOLD);
        format!("{} {}", frames[0].line(), through.join(" < "))
    }

    fn inlined(&self, address: u64) -> Option<Vec<Frame>> {
        let mut found = self.lines.as_ref()?.find_frames(address).ok()?;
        let mut frames = Vec::new();
        while let Some(frame) = found.next().ok()? {
            let (Some(function), Some(location)) = (frame.function, frame.location) else { continue };
            let (path, line) = (location.file.unwrap_or_default(), location.line.unwrap_or_default());
            frames.push(Frame::from_source(&function.raw_name().ok()?, path, line));
        }
        Some(frames)
    }
}

/// Index of the innermost frame that is not of the standard library, or of the outermost if all are.
#[must_use]
pub fn own(frames: &[Frame]) -> usize {
    frames.iter().position(|frame| !frame.is_standard).unwrap_or(frames.len().saturating_sub(1))
}

/// A path without what stands for the place of the source tree, of other people's packages, or of the standard library.
fn own_part(path: &str) -> &str {
    let path = path.strip_prefix(OWN_PREFIX).unwrap_or(path);
    if let Some((_, rest)) = path.split_once(STANDARD_LIBRARY) {
        return rest;
    }
    // A path may stand behind the folder that the compiler ran in, which is such a path, too.
    let in_registry = path.rsplit_once(REGISTRY).and_then(|(_, rest)| rest.split_once('/'));
    in_registry.map_or(path, |(_, rest)| rest)
}

/// A name without hashes, and without types that it is generic over if its module is not told either.
fn without_noise(name: &str) -> String {
    let name = format!("{:#}", rustc_demangle::demangle(name));
    match name.split_once('<') {
        Some((function, _)) if !function.is_empty() && !function.contains("::") => function.to_owned(),
        _ => name,
    }
}

fn shortened(name: String) -> String {
    match name.char_indices().nth(NAME_LEN_MAX) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_line_tables_the_symbol_table_speaks() {
        let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let names = Names::from_symbols(Symbols::read(&file).unwrap());
        assert_eq!(names.own_frame(1).function, UNKNOWN);
        assert_eq!(names.describe(1), "0x1");
    }

    #[test]
    fn a_frame_tells_function_file_and_package() {
        let own = Frame::from_source("next_slot", "weir/netstack/tcp/src/wheel.rs", 12);
        assert_eq!(own.function, "next_slot (netstack/tcp/src/wheel.rs)");
        assert_eq!((own.line().as_str(), own.package()), ("netstack/tcp/src/wheel.rs:12", "netstack/tcp"));
        let foreign =
            Frame::from_source("emit<u8>", "cargo/registry/src/some.host-12/smoltcp-0.14.0/src/wire/tcp.rs", 3);
        assert_eq!(foreign.function, "emit (smoltcp-0.14.0/src/wire/tcp.rs)");
        assert_eq!(foreign.package(), "smoltcp-0.14.0");
        let folder = "cargo/registry/src/some.host-12/smoltcp-0.14.0/";
        assert_eq!(
            Frame::from_source("emit", &format!("{folder}{folder}src/macros.rs"), 3).package(),
            "smoltcp-0.14.0"
        );
        assert_eq!(Frame::from_source("add", "/rustc/0123/library/core/src/num/mod.rs", 1).package(), "core");
        let symbol = Frame::from_symbol("memcpy");
        assert_eq!((symbol.line().as_str(), symbol.package()), ("memcpy", "(assembly and the compiler's own)"));
    }

    #[test]
    fn the_standard_library_is_passed_over() {
        let frames = [
            Frame::from_source("add", "/rustc/0123/library/core/src/num/mod.rs", 1),
            Frame::from_source("hash", "weir/netstack/tcp/src/tuple.rs", 2),
        ];
        assert_eq!([own(&frames), own(&frames[..1])], [1, 0]);
    }

    #[test]
    fn names_are_readable_and_not_endless() {
        assert_eq!(without_noise("_ZN4weir4turn17h0123456789abcdefE"), "weir::turn");
        assert_eq!(without_noise("drive<weir_runtime::Figures>"), "drive");
        assert_eq!(without_noise("<weir_tcp::Engine>::settle"), "<weir_tcp::Engine>::settle");
        assert_eq!(shortened("x".repeat(500)).chars().count(), NAME_LEN_MAX + 1);
    }
}
