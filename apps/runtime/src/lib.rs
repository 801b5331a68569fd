//! The assembler: the one place that sees everything.
//!
//! ```text
//! boot          configuration, cores, device, one seat for each core
//!   |
//! core          take the seat, build pool, queue pair, shard and application, then turn after turn:
//!                   messages -> frames -> timers -> application -> frames out -> messages out
//!   |                                                      and when there is nothing to do: sleep
//! control       core 0 besides: addresses, the device's health, the ready line, the power button and what follows ([`leaving`])
//! ```
//!
//! What cores share is made here and listed here: the [`mesh`] of rings, the rings of those who have no queue pair
//! ([`relay`]), the [`board`] of counters, and a flag per core that says it sleeps ([`bed`]). Nothing else is shared.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod bed;
mod board;
mod boot;
mod configuration;
mod control;
mod core_life;
mod devices;
mod imbalance;
mod leaving;
mod mail;
mod mesh;
mod metrics;
mod names;
mod relay;
mod seat;
mod sleep;
mod syslog;
mod wire;

pub use boot::run;
