//! Whether the lease still holds after the link was gone (RFC 2131 3.2 and 4.3.2, INIT-REBOOT): every server is asked for the
//! address that we have. Who refuses it ends the lease; silence leaves it as it is (RFC 2131 3.2, 4), and so does consent, for
//! renewal has its own time.

use core::net::Ipv4Addr;
use core::time::Duration;

use smoltcp::wire::{DhcpMessageType, DhcpPacket, DhcpRepr, Ipv4Packet, UdpPacket};
use weir_socket::Instant;

use super::message::Message;
use crate::ethernet;

/// Requests, and the time between them: doubled each time (RFC 2131 4.1).
const REQUESTS_MAX: u8 = 4;
const REPEAT_AFTER: Duration = Duration::from_secs(1);

/// A question that servers were asked, or are about to be.
#[derive(Debug)]
pub(super) struct Recheck {
    transaction: u32,
    sent: u8,
    /// When the next request is due.
    pub(super) at: Instant,
}

impl Recheck {
    pub(super) const fn new(transaction: u32, now: Instant) -> Self {
        Self { transaction, sent: 0, at: now }
    }

    /// A request is due and will be sent; false when there were enough.
    pub(super) fn count(&mut self, now: Instant) -> bool {
        self.at = now + REPEAT_AFTER * (1 << self.sent.min(REQUESTS_MAX));
        self.sent += 1;
        self.sent <= REQUESTS_MAX
    }

    /// The question (RFC 2131 table 5: INIT-REBOOT has the address as an option, and names no server).
    pub(super) const fn question(&self, address: Ipv4Addr) -> Message {
        Message { kind: DhcpMessageType::Request, transaction: self.transaction, address, server: None }
    }

    /// What a frame from a server says to the question, if it is the answer.
    pub(super) fn answer(&self, frame: &[u8]) -> Option<DhcpMessageType> {
        let packet = Ipv4Packet::new_checked(frame.get(ethernet::HEADER_BYTES..)?).ok()?;
        let datagram = UdpPacket::new_checked(packet.payload()).ok()?;
        let dhcp = DhcpPacket::new_checked(datagram.payload()).ok()?;
        let repr = DhcpRepr::parse(&dhcp).ok()?;
        (self.sent > 0 && repr.transaction_id == self.transaction).then_some(repr.message_type)
    }
}
