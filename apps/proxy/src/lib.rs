//! The HTTP load balancer and server of one core.
//!
//! [`Service`] owns every connection of its core: those from clients (`front`), those to servers (`back`), and what is
//! between them (`exchange`). It is driven by the events of a [`weir_socket::Sockets`]; nothing blocks, nothing is shared.
//!
//! ```text
//!             client                                            server
//!   flow -> Inbox -> head -> Router -> built-in answer (httpd)
//!                                  \-> Upstream -> Back: idle one, or connect
//!           Front <------------- Exchange -------------> Back
//!           Outbox <--- response, by reference <--- Inbox <- flow
//! ```
//!
//! Bodies move from one flow to the other chunk by chunk and by ownership; while one side does not take them, nothing is read
//! from the other, so that the TCP window is what holds the sender back. At most one chunk per direction waits here (two
//! with the head of its coding).
//!
//! Everything is O(1) per event, but for passing over servers that are down. Tables are made at the start, for as many
//! clients as [`Setup::connections`] says, and as many connections to servers, and as many idle ones; nothing is allocated for
//! a request unless its head comes in pieces, is longer than a buffer, or a peer does not take what is sent to it.
//!
//! Servers are checked by one core for all (`health`); besides, each core leaves a server alone that fails it, for a time that
//! doubles (`upstream`).
//!
//! What is no HTTP, or not any more, is a tunnel (`service/tunnel`): its bytes go from flow to flow without being looked at.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod affinity;
mod back;
mod client_hello;
mod clients;
mod counters;
mod exchange;
mod front;
mod heads;
mod health;
mod histogram;
mod log;
mod metrics;
mod pace;
mod proxy_header;
mod request_id;
mod router;
mod service;
mod slab;
mod stream;
mod text;
mod timer;
mod token;
mod upstream;
mod way;
mod words;

#[cfg(test)]
mod tests;

pub use counters::{Counters, Kind, Sample};
pub use health::{Moved, Verdict};
pub use log::LOG_LINE_LEN_MAX;
pub use metrics::MetricsSource;
pub use service::{CONNECTION_BYTES, Service, Setup, StartError};
pub use token::NOBODY;
pub use upstream::{Loads, Offer, Trade};
