//! A stub resolver (RFC 1034 5.3.1): it keeps the addresses of a fixed set of names, and asks again before they are old.
//!
//! ```text
//!   Resolver::poll, when a name is due -> question (A, then AAAA) -> a DNS server
//!   a datagram, or its absence -> message::read -> Answer -> the name's addresses, or the next server, or a pause
//!   Resolver::poll_event -> what has changed
//! ```
//!
//! It touches no socket and no clock: time is told, datagrams go through [`Datagrams`], and what is too long for one through
//! [`Streams`]. It is not a cache for others and
//! follows no referrals; the servers that it asks do that. Each attempt has a port and an identifier of its own that nobody
//! can guess (RFC 5452), and an answer counts only from the server that was asked, with the question that it was asked.
//!
//! A name that was resolved keeps its addresses when later questions fail: yesterday's address is better than none.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod counters;
mod message;
mod name;
mod resolver;
mod stream;

#[cfg(test)]
mod tests;

pub use counters::{Counters, Happening};
pub use name::Name;
pub use resolver::{Event, Failure, Network, QUESTIONS_MAX, Resolver, States, TtlBounds};
pub use stream::STREAM_BYTES_MAX;

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::ops::Deref;

use weir_socket::FlowId;

/// The datagrams that a resolver needs.
pub trait Datagrams {
    /// A received datagram's bytes.
    type Payload: Deref<Target = [u8]>;

    /// Sixteen bits that nobody can guess.
    fn random(&mut self) -> u16;

    /// Binds a port that nobody can guess; none: there is none to be had now.
    fn bind(&mut self) -> Option<u16>;

    /// Gives a port back.
    fn unbind(&mut self, port: u16);

    /// Sends a datagram. False: it was dropped.
    fn send(&mut self, port: u16, to: SocketAddr, bytes: &[u8]) -> bool;

    /// The next datagram at a bound port, and who sent it.
    fn receive(&mut self, port: u16) -> Option<(SocketAddr, Self::Payload)>;
}

/// The connections that a resolver needs.
pub trait Streams {
    /// Opens a connection on which `bytes` are said as soon as it is there. None: there is no way.
    fn open(&mut self, to: SocketAddr, bytes: &[u8]) -> Option<FlowId>;

    /// Adds what has come to `to`, which never gets longer than the longest message with its length. False: nothing more will
    /// come.
    fn read(&mut self, stream: FlowId, to: &mut Vec<u8>) -> bool;

    /// Gives the connection back.
    fn close(&mut self, stream: FlowId);
}
