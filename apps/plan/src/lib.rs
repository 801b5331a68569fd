//! What a machine can carry: limits that follow from its memory and its cores.
//!
//! - [`Plan`]: how the image divides the memory that is free at boot. The image itself computes it there.
//! - [`Machine`]: a machine that does not run yet, and what will be free on it. `weir sizing` and the manifest of `weir build` take
//!   their figures from here, so what they promise is what the image does.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod machine;
mod plan;

pub use machine::Machine;
pub use plan::{CONNECTION_BYTES, Plan, TooLittleMemory};
