//! The TCP engine: sans-IO, one per core.
//!
//! The engine touches no world: segments, the time and the application's verbs come in, segments go out through a
//! [`Link`], events and the next deadline are asked for. The calling order of a turn stands at [`Engine`].

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod advice;
mod budget;
mod checksum;
mod config;
mod congestion;
mod cookie;
mod counters;
mod demux;
mod engine;
mod flow;
mod half_open;
mod limiter;
mod link;
mod listen;
mod options;
mod output;
mod queue;
mod reply;
mod second_coming;
mod secrets;
mod segment;
mod seq;
mod shared;
mod slab;
mod source_ports;
mod time;
mod time_wait;
mod transitions;
mod tuple;
mod wheel;

pub use config::{Config, CongestionAlgorithm, FLOW_BYTES_MAX, Keepalive};
pub use counters::{Counter, Counters, FlowState, Gauges};
pub use engine::Engine;
pub use link::{Ecn, EmitError, IcmpError, IcmpErrorKind, Inbound, Link, NextHop, Outbound, Unreachable};
pub use source_ports::SourcePortUse;
pub use transitions::{TRANSITIONS, Transitions};
pub use tuple::Address;
