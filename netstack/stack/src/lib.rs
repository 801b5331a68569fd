//! One network stack shard per core.
//!
//! A [`Shard`] takes Ethernet frames and the time, and gives Ethernet frames, events and the next deadline: it touches no
//! device, no clock and no other core. Everything about a flow lives in the shard of one core; [`Message`]s are all that
//! passes between shards, and the runtime carries them.
//!
//! ```text
//!            frames in                                        frames out
//!               |                                                 ^
//!           ethernet --- arp --------- neighbour table -------- transmit (headers, offloads)
//!               |                                                 ^
//!          ipv4, ipv6 -- icmp                                     |
//!               |         |                                       |
//!           steering -----|--> messages to other cores            |
//!               |         v                                       |
//!               +------> weir-tcp: one engine per core ----------+---> loopback, and in again
//!
//!             udp ------> control: smoltcp's interface with its DHCP socket (core 0), or a bound port's queue
//! ```
//!
//! Frames that go no further are counted under a [`DropReason`]; nothing from the wire can panic.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod address;
mod arp;
mod checksum;
mod config;
mod control;
mod counters;
mod ethernet;
mod icmpv4;
mod icmpv6;
mod ipv4;
mod ipv6;
mod loopback;
mod message;
mod neighbour;
mod network;
mod presence;
mod receive;
mod router;
mod shard;
mod sockets;
mod steering;
mod stray;
mod time;
mod toeplitz;
mod transmit;
mod udp;

#[cfg(test)]
mod tests;

pub use address::{DNS_SERVERS_MAX, Ipv4Configuration, Ipv6Configuration};
pub use config::{Ipv4Source, Ipv6Source, ShardConfig};
pub use counters::{Counters, DropReason, Event};
pub use message::Message;
pub use shard::{Shard, ShardEvent};
pub use steering::{EPHEMERAL_PORTS, PassiveOwner};
pub use toeplitz::{KEY_BYTES, Spread};
pub use udp::{DATAGRAM_PORTS, DATAGRAM_PORTS_MAX, Datagram};
