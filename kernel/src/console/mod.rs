//! The console: whole lines with a level on the serial port, from any core, at a bounded rate.
//!
//! Every line starts with `weir: `. A line is formatted into a buffer on the caller's stack and sent under one
//! lock, so lines never mix. [`panic_line`] ignores lock, level and rate.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU8, Ordering};

use spin::Mutex;

use rate::{RateLimit, Verdict};

mod line;
pub mod rate;
mod serial;

pub use line::{LINE_BYTES_MAX, Line, RECORD_BYTES_MAX, RecordLine, UsualLine};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Something failed and somebody should act.
    Error = 0,
    /// Something is not as it should be; Weir goes on.
    Warn = 1,
    /// A milestone.
    Info = 2,
    /// Detail for who looks for a fault.
    Debug = 3,
}

impl Level {
    /// The level named `error`, `warn`, `info` or `debug`.
    pub fn from_name(name: &str) -> Option<Level> {
        Some(match name {
            "error" => Level::Error,
            "warn" => Level::Warn,
            "info" => Level::Info,
            "debug" => Level::Debug,
            _ => return None,
        })
    }

    const fn prefix(self) -> &'static str {
        match self {
            Level::Error => "weir: error: ",
            Level::Warn => "weir: warning: ",
            Level::Info => "weir: ",
            Level::Debug => "weir: debug: ",
        }
    }
}

static THRESHOLD: AtomicU8 = AtomicU8::new(Level::Info as u8);
static LIMIT: Mutex<RateLimit> = Mutex::new(RateLimit::new());

pub(crate) fn init() {
    serial::init();
}

/// Lines less important than `level` are not printed from now on.
pub fn set_level(level: Level) {
    THRESHOLD.store(level as u8, Ordering::Relaxed);
}

/// Whether a line of this level would be printed.
#[inline]
pub fn enabled(level: Level) -> bool {
    level as u8 <= THRESHOLD.load(Ordering::Relaxed)
}

/// Prints one line with the level's prefix. The macros [`error!`](crate::error), [`warn!`](crate::warn),
/// [`info!`](crate::info) and [`debug!`](crate::debug) call this.
#[cold]
#[inline(never)]
pub fn log(level: Level, text: fmt::Arguments<'_>) {
    if enabled(level) {
        print(format_args!("{}{}", level.prefix(), text));
    }
}

/// Prints one raw line; the caller starts it with `weir: `. The line feed is added.
#[cold]
#[inline(never)]
pub fn print(text: fmt::Arguments<'_>) {
    print_as(UsualLine::new(), text);
}

/// Prints one raw line that is of use as a whole only, of up to [`RECORD_BYTES_MAX`].
#[cold]
#[inline(never)]
pub fn print_record(text: fmt::Arguments<'_>) {
    print_as(RecordLine::new(), text);
}

fn print_as<const ROOM: usize>(mut line: Line<ROOM>, text: fmt::Arguments<'_>) {
    // Formatting into a `Line` cuts instead of failing.
    let _ = line.write_fmt(text);
    let line = line.finish();
    let mut limit = LIMIT.lock();
    match limit.admit(crate::time::now_ns(), line.len().div_ceil(LINE_BYTES_MAX + 1) as u64) {
        Verdict::Drop => {}
        Verdict::Print { dropped_before: 0 } => serial::send(line),
        Verdict::Print { dropped_before } => {
            let mut note = UsualLine::new();
            let _ = write!(note, "weir: warning: console: {dropped_before} lines dropped");
            serial::send(note.finish());
            serial::send(line);
        }
    }
}

/// Prints one line without asking for lock or rate: for the report of a panic, when nothing else may be trusted.
pub(crate) fn panic_line(text: fmt::Arguments<'_>) {
    let mut line = UsualLine::new();
    let _ = line.write_fmt(text);
    serial::send(line.finish());
}

/// Prints a line at level error: something failed and somebody should act.
#[macro_export]
macro_rules! error {
    ($($text:tt)*) => { $crate::console::log($crate::console::Level::Error, ::core::format_args!($($text)*)) };
}

/// Prints a line at level warn: something is not as it should be, Weir goes on.
#[macro_export]
macro_rules! warn {
    ($($text:tt)*) => { $crate::console::log($crate::console::Level::Warn, ::core::format_args!($($text)*)) };
}

/// Prints a line at level info: a milestone.
#[macro_export]
macro_rules! info {
    ($($text:tt)*) => { $crate::console::log($crate::console::Level::Info, ::core::format_args!($($text)*)) };
}

/// Prints a line at level debug: detail for who looks for a fault.
#[macro_export]
macro_rules! debug {
    ($($text:tt)*) => { $crate::console::log($crate::console::Level::Debug, ::core::format_args!($($text)*)) };
}
