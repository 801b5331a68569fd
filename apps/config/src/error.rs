//! What is wrong with a configuration, where, and what to do about it.

use alloc::string::{String, ToString};
use core::fmt;
use core::ops::Range;

/// The classes of mistakes. Each has a row in the crate's tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Not TOML.
    Syntax,
    /// Longer than [`crate::TEXT_BYTES_MAX`], or more sections, routes or servers than the limits of this crate.
    TooLarge,
    /// A key that the schema does not know at this place.
    UnknownKey,
    /// A key or value that is planned, but that this version does not honour.
    NotSupportedYet,
    /// A value of another type than the key takes.
    WrongType,
    /// A key that must be present is not.
    MissingKey,
    /// Keys that exclude one another, or one that needs another.
    ConflictingKeys,
    /// A number, duration or size outside of its range.
    OutOfRange,
    /// A string that is none of the values the key takes, or that has a form which cannot be used.
    InvalidValue,
    /// Not an IP address, prefix or address with port.
    InvalidAddress,
    /// Not a duration such as `"2s"`.
    InvalidDuration,
    /// Not a size such as `"64KiB"`.
    InvalidSize,
    /// A name with characters that names do not have.
    InvalidName,
    /// Two listeners, pools, or servers of a pool, of the same name.
    DuplicateName,
    /// Two listeners on one address and port.
    DuplicateBind,
    /// A route to a pool that does not exist.
    UnknownPool,
    /// A route that another one hides.
    UnreachableRoute,
    /// A pool without a server that may get traffic.
    EmptyPool,
    /// No `[[listener]]` at all.
    NoListener,
    /// A server at a loopback address where no listener of this image listens.
    NoLocalServer,
    /// A listener whose pool leads back to itself.
    ForwardingLoop,
}

/// A mistake in a configuration.
///
/// Displays as `FILE:LINE:COLUMN: message`, and a second line `help: ...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    file: String,
    line: u32,
    column: u32,
    kind: ErrorKind,
    message: String,
    help: String,
}

impl Error {
    pub(crate) fn new(text: &str, fault: Fault) -> Self {
        let (line, column) = position(text, fault.span.start);
        Self { file: "config".to_string(), line, column, kind: fault.kind, message: fault.message, help: fault.help }
    }

    /// The same error with the name of the file that messages show; without it they say `config`.
    #[must_use]
    pub fn in_file(mut self, file: &str) -> Self {
        self.file = file.to_string();
        self
    }

    /// Line of the mistake, counted from 1.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.line
    }

    /// Column of the mistake in characters, counted from 1.
    #[must_use]
    pub fn column(&self) -> u32 {
        self.column
    }

    /// The class of the mistake.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What is wrong, in one line without the place.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it, in one line.
    #[must_use]
    pub fn help(&self) -> &str {
        &self.help
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}\nhelp: {}", self.file, self.line, self.column, self.message, self.help)
    }
}

impl core::error::Error for Error {}

/// A mistake as the readers find it: with a byte range instead of a line.
#[derive(Debug)]
pub(crate) struct Fault {
    pub span: Range<usize>,
    pub kind: ErrorKind,
    pub message: String,
    pub help: String,
}

impl Fault {
    pub(crate) fn new(
        span: Range<usize>,
        kind: ErrorKind,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self { span, kind, message: message.into(), help: help.into() }
    }
}

/// Line and column, both from 1, of a byte offset; an offset beyond the text is its end.
pub(crate) fn position(text: &str, offset: usize) -> (u32, u32) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = text.get(..offset).unwrap_or_default();
    let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line as u32, column as u32)
}
