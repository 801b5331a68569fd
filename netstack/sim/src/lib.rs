//! A seeded world of engines and lossy links, for tests.
//!
//! One seed gives one world: two hosts with an engine each, a [`Network`] between them that loses, repeats, reorders, corrupts
//! and delays, and applications that send known streams and close in all sorts of ways. Time is simulated: it jumps to
//! whatever comes next. [`World::run`] ends when nothing is left to happen; then the checkers look at what is left.
//!
//! ```text
//!   Scenario ── what a seed means ──▶ World ── run ──▶ Report (a hash of everything that was on the wire, and figures)
//!                                     │  Host  = Engine + Pool + applications
//!                                     └─ Network = what happens to a segment on its way
//! ```
//!
//! [`bulk`] is another, simpler world, in which throughput and fairness are measured.
//!
//! A seed that fails is replayed alone by `SEED=17 cargo test -p weir-sim --test seeds one_seed -- --nocapture`.

#![forbid(unsafe_code)]

mod application;
pub mod bulk;
mod disturbance;
mod host;
mod network;
mod random;
mod scenario;
mod world;

pub use application::{Ending, FlowPlan};
pub use disturbance::{Disturbance, DisturbanceKind};
pub use host::Host;
pub use network::{Conditions, Network};
pub use random::Random;
pub use scenario::Scenario;
pub use world::{Failure, Report, World};
