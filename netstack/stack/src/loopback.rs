//! Packets to ourselves: they never see the wire, and never leave their core.
//!
//! The flow at the other end lives in the same engine, so a segment needs no IP header: its addresses travel beside it.

use weir_packet::frame::ChecksumStatus;
use weir_packet::{Chunk, Packet, RangeError};
use weir_tcp::{Address, Ecn, EmitError, Inbound, NextHop, Outbound};

use crate::counters::{DropReason, Event};
use crate::network::Network;

/// Largest IP packet to ourselves, in bytes. Head and payload fit into one buffer.
pub(crate) const MTU: u16 = 1_500;

/// The next hop to ourselves: a name that no neighbour has.
pub(crate) const NEXT_HOP: NextHop = NextHop(u32::MAX - 1);

/// A segment to ourselves.
pub(crate) struct Looped {
    source: Address,
    destination: Address,
    ecn: Ecn,
    packet: Packet,
}

impl Network {
    /// Queues a segment to ourselves. Its payload is copied: what was sent may stay queued for retransmission while the
    /// receiver already owns, and may write, what it got.
    pub(crate) fn loop_back<P: Iterator<Item = Chunk>>(
        &mut self,
        segment: Outbound,
        mut head: Packet,
        payload: P,
    ) -> Result<(), EmitError> {
        if !self.may_loop() {
            self.drop_for(DropReason::LoopbackQueueFull);
            return Err(EmitError::Full);
        }
        if self.gather(&mut head, payload).is_err() {
            self.drop_for(DropReason::NoBuffer);
            return Err(EmitError::Full);
        }
        let Outbound { source, destination, ecn, .. } = segment;
        self.loopback.push_back(Looped { source, destination, ecn, packet: head });
        Ok(())
    }

    /// The oldest segment to ourselves, as one that was received.
    pub(crate) fn take_looped(&mut self) -> Option<Inbound> {
        let Looped { source, destination, ecn, packet } = self.loopback.pop_front()?;
        self.count(Event::LoopbackDelivered);
        Some(Inbound { source, destination, next_hop: NEXT_HOP, ecn, checksum: ChecksumStatus::Verified, packet })
    }

    /// Appends a copy of `payload` to `head`, over more buffers when the first is full.
    pub(crate) fn gather<P: Iterator<Item = Chunk>>(&self, head: &mut Packet, payload: P) -> Result<(), RangeError> {
        let mut spill: Option<Packet> = None;
        for chunk in payload {
            let mut bytes: &[u8] = &chunk;
            while !bytes.is_empty() {
                let room = spill.as_mut().unwrap_or(head);
                if room.tailroom() == 0 {
                    let full = spill.replace(self.pool.allocate().ok_or(RangeError)?);
                    full.into_iter().for_each(|packet| head.append(packet));
                    continue;
                }
                let (now, later) = bytes.split_at(bytes.len().min(room.tailroom()));
                room.extend_from_slice(now)?;
                bytes = later;
            }
        }
        spill.into_iter().for_each(|packet| head.append(packet));
        Ok(())
    }
}
