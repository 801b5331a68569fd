//! Linux' TCP as the oracle: a shard on a TAP device of a private network namespace, and the kernel at the other end.
//!
//! ```text
//!   test ── Plan ──▶ linux::exchange        the kernel's TCP, through ordinary sockets
//!    │                    │
//!    │               TAP device             in a namespace that dies with the test program
//!    │                    │
//!    │                  Wire                weather: loss, reordering, duplicates, damage, delay, rate; from a seed
//!    │                    │
//!    └──── Plan ──▶  Host: Shard + flows    a thread of its own, with real time
//! ```
//!
//! Both ends follow the same [`Plan`], from their own side: what to send, what to expect, who ends first. What a Weir flow
//! saw comes back as an [`Outcome`]. The weather is ours and not `tc netem`'s, because few kernels of containers and small VMs
//! have that module, because it works in both directions, and because a seed repeats it.

#![forbid(unsafe_code)]

mod application;
mod host;
mod interface;
pub mod linux;
pub mod namespace;
mod plan;
mod weather;
mod wire;

pub use application::Application;
pub use host::{Host, World};
pub use interface::{Interface, WEIR_MAC};
pub use plan::{Ends, Outcome, Plan, Reading, Stream, TooLate};
pub use weather::{Conditions, Weather};
pub use wire::Wire;

/// Why a test fails: a sentence.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Fails with a sentence unless something holds.
///
/// # Errors
/// The sentence.
pub fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(otherwise().into()) }
}
