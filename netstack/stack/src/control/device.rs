//! The Ethernet device that smoltcp sees: two bounded queues and a pool.

use alloc::collections::VecDeque;

use smoltcp::phy::{self, Checksum, DeviceCapabilities, Medium};
use smoltcp::time::Instant as WireInstant;
use weir_packet::{Packet, Pool};
use weir_socket::Instant;

use crate::ethernet;

/// Frames that the protocols send in one turn.
pub(super) const SENT_MAX: usize = 8;

/// smoltcp's view of the queues.
pub(super) struct Queues<'a> {
    pub(super) received: &'a mut VecDeque<Packet>,
    pub(super) sent: &'a mut VecDeque<Packet>,
    pub(super) pool: Option<&'a Pool>,
    pub(super) mtu: u16,
}

pub(super) struct Incoming(Packet);

pub(super) struct Outgoing<'a> {
    sent: &'a mut VecDeque<Packet>,
    packet: Packet,
}

impl<'a> Queues<'a> {
    fn outgoing(&mut self) -> Option<Outgoing<'_>> {
        if self.sent.len() == SENT_MAX {
            return None;
        }
        let packet = self.pool?.allocate()?;
        Some(Outgoing { sent: self.sent, packet })
    }
}

impl phy::Device for Queues<'_> {
    type RxToken<'b>
        = Incoming
    where
        Self: 'b;
    type TxToken<'b>
        = Outgoing<'b>
    where
        Self: 'b;

    fn receive(&mut self, _now: WireInstant) -> Option<(Incoming, Outgoing<'_>)> {
        if self.sent.len() == SENT_MAX {
            return None;
        }
        let packet = self.received.pop_front()?;
        // Without a buffer for the answer the frame is lost, as on any busy link.
        Some((Incoming(packet), self.outgoing()?))
    }

    fn transmit(&mut self, _now: WireInstant) -> Option<Outgoing<'_>> {
        self.outgoing()
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        // Those of received datagrams were looked at by who knows what the device has said of them.
        capabilities.checksum.udp = Checksum::Tx;
        // What the protocols send fits into one buffer.
        capabilities.max_transmission_unit = usize::from(self.mtu).min(1_500) + ethernet::HEADER_BYTES;
        capabilities
    }
}

impl phy::RxToken for Incoming {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl phy::TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, len: usize, f: F) -> R {
        match self.packet.extend(len) {
            Ok(bytes) => {
                let result = f(bytes);
                self.sent.push_back(self.packet);
                result
            }
            // Longer than the MTU that was told: built aside, and not sent.
            Err(_) => f(&mut alloc::vec![0; len]),
        }
    }
}

/// Our time as smoltcp counts it.
pub(super) fn wire_instant(at: Instant) -> WireInstant {
    WireInstant::from_micros(i64::try_from(at.as_micros()).unwrap_or(i64::MAX))
}

/// smoltcp's time as we count it.
pub(super) fn from_wire(at: WireInstant) -> Instant {
    let micros = u64::try_from(at.total_micros()).unwrap_or(0);
    // Rounded up: a deadline is never early by what a microsecond hides.
    Instant::from_nanos(micros.saturating_add(1).saturating_mul(1_000))
}
