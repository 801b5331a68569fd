//! The configuration: one TOML schema for the image and for the host tools, so that both accept the same files.
//!
//! [`Config::parse`] turns text into a value in which everything has been checked: types, ranges, units, names, and the
//! references between sections. What is wrong is an [`Error`] with a place, a [`ErrorKind`] and a remedy. A key that is not
//! known, or that is planned and not yet honoured, is an error: nothing is silently ignored.
//!
//! Neighbours: `document` reads tables with their positions, `units` reads `"2s"` and `"64KiB"`, `read` is the schema, and
//! [`explain`](Config::explain) prints what was understood.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod document;
mod error;
mod explain;
mod model;
mod read;
mod units;

#[cfg(test)]
mod tests;

pub use error::{Error, ErrorKind};
pub use model::{
    AccessLog, Action, Address, Addressing, Admin, Balance, CheckMethod, ClientLimits, Config, Dns, FieldRules, HashOn,
    Health, HostMatch, HttpCheck, IdlePolicy, Limits, Listener, Log, Network, OwnHealth, Page, PanicPolicy, Pool,
    Prefix, Protocol, ProxyVersion, Rate, Redirect, Respond, Route, SameSite, Server, ServerState, StickyCookie,
    TcpStep, Timeouts, Tuning, WhenAllDown, contains_address,
};

/// The demo configuration: a balancer on port 80 in front of two built-in servers, metrics on port 9000.
pub const DEMO: &str = include_str!("../demo.toml");

/// Longest configuration text that is read, in bytes.
pub const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// Longest name of a listener, a pool or a server, in bytes.
pub const NAME_BYTES_MAX: usize = 63;

/// Most listeners, and most pools, of one configuration.
pub const SECTIONS_MAX: usize = 1024;

/// Most routes of one listener.
pub const ROUTES_MAX: usize = 4096;

/// Most servers of one pool.
pub const SERVERS_MAX: usize = 4096;

/// Largest weight of a server; 0 keeps it in the configuration without traffic.
pub const WEIGHT_MAX: u16 = 256;

/// Most header fields that [`Limits::head_fields`] may ask for.
pub const HEAD_FIELDS_MAX: u16 = 128;
