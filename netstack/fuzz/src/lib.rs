//! Fuzz targets for everything that reads foreign bytes, and a driver for stable Rust.
//!
//! A [`Target`] is a plain function of bytes. It panics when an oracle of its own is violated, and returns the [`Features`]
//! that the input showed: which counters moved in which state, how a head was refused. Every drop in Weir has a name, so the
//! names are the feedback that instrumentation gives elsewhere: an input that shows something new is worth keeping and
//! mutating. A driver with instrumentation of its own (libFuzzer, AFL) calls the same functions and ignores the result.
//!
//! ```text
//!   corpus/TARGET/*  ──▶  Campaign ── Mutator ──▶ Target::run(&[u8]) ──▶ Features ── new? ──▶ corpus
//!                                                      └─ panic ──▶ a file, and the command that replays it
//! ```
//!
//! ```text
//! cargo run --profile fuzz -p weir-fuzz -- operations --seconds 3600      a long run, debug assertions on
//! cargo run --profile fuzz -p weir-fuzz -- operations --replay FILE       one input again
//! ```
//!
//! The ordinary tests replay the corpus and run a short campaign of each target with a fixed seed.

#![forbid(unsafe_code)]

mod campaign;
mod crash;
mod features;
mod mutate;
mod rig;
mod targets;

pub use campaign::{Campaign, Progress};
pub use crash::{INPUT_SECONDS_MAX, on_crash_write_to, watch_for_hangs};
pub use features::Features;
pub use mutate::Mutator;
pub use targets::{TARGETS, Target};

/// Longest input, in bytes.
pub const INPUT_BYTES_MAX: usize = 4_096;
