//! Advice to the layer below (RFC 9293, 3.8.3; RFC 1122, 3.3.1.4): peers that do not acknowledge what is sent to them again and
//! again. The first hop may be gone.

use alloc::vec::Vec;
use core::net::IpAddr;

use crate::tuple::Address;

/// R1: retransmissions in a row after which the way to the peer is in doubt (SHLD-10).
pub(crate) const R1: u8 = 3;
/// Peers between two looks; one that finds no room is told of with its next timeout.
const PEERS_MAX: usize = 16;

/// Peers that the layer below has not been told of.
#[derive(Default)]
pub(crate) struct Advice(Vec<Address>);

impl Advice {
    /// So many retransmissions of a segment for `peer` were in vain.
    pub fn consider(&mut self, peer: Address, retransmissions: u8) {
        if retransmissions >= R1 && self.0.len() < PEERS_MAX && !self.0.contains(&peer) {
            self.0.push(peer);
        }
    }

    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn pop(&mut self) -> Option<IpAddr> {
        self.0.pop().map(Address::to_ip)
    }
}
