//! The way out: what TCP sends gets its IP and Ethernet headers and goes to the device, to ourselves, or waits for its
//! neighbour to answer.
//!
//! Cost sketch of a segment to a neighbour that is known: one comparison of the next hop's generation, 34 bytes of
//! header from registers, ten additions of checksum, and the device's own work.

use core::net::IpAddr;

use weir_packet::frame::{ChecksumOffload, Offload, Segmentation, Transmit};
use weir_packet::{Chunk, Packet, RangeError};
use weir_tcp::{EmitError, Link, Outbound};

use crate::address::Route;
use crate::counters::{DropReason, Event};
use crate::ethernet::{self, Mac};
use crate::ipv4::{self, protocol};
use crate::ipv6;
use crate::loopback;
use crate::neighbour::Resolution;
use crate::network::{Network, Waiting};

/// Largest TCP payload that is given to a device to cut: with all headers it stays below 64 KiB.
const SEGMENTATION_MAX: usize = 65_535 - 60 - 60;
/// Where the checksum stands in a TCP header (RFC 9293 3.1).
const TCP_CHECKSUM_OFFSET: u16 = 16;

/// The link that TCP sees: a network and the device that it sends through.
pub(crate) struct Wire<'a, T> {
    pub(crate) network: &'a mut Network,
    pub(crate) device: &'a mut T,
}

enum Hop {
    Station(Mac),
    Loopback,
    Wait(IpAddr),
    Nowhere(DropReason),
}

impl<T: Transmit> Link for Wire<'_, T> {
    #[inline]
    fn room(&self) -> usize {
        self.device.room()
    }

    #[inline]
    fn mtu(&self, destination: IpAddr) -> u16 {
        if self.network.addresses.is_local(destination) { loopback::MTU } else { self.network.device.mtu }
    }

    #[inline]
    fn segmentation_max(&self, ipv6: bool) -> usize {
        let cuts = if ipv6 { self.network.device.tso6 } else { self.network.device.tso4 };
        if cuts { SEGMENTATION_MAX } else { 0 }
    }

    #[inline]
    fn transmit_checksum(&self) -> bool {
        self.network.device.transmit_checksum
    }

    #[inline]
    fn emit<P: ExactSizeIterator<Item = Chunk>>(
        &mut self,
        segment: Outbound,
        head: Packet,
        payload: P,
    ) -> Result<(), EmitError> {
        match self.network.hop(&segment) {
            Hop::Station(mac) => self.transmit(mac, segment, head, payload),
            Hop::Loopback => self.network.loop_back(segment, head, payload),
            Hop::Wait(neighbour) => self.network.emit_later(neighbour, segment, head, payload),
            Hop::Nowhere(reason) => {
                self.network.drop_for(reason);
                Ok(())
            }
        }
    }
}

impl<T: Transmit> Wire<'_, T> {
    #[inline(always)]
    fn transmit<P: ExactSizeIterator<Item = Chunk>>(
        &mut self,
        mac: Mac,
        segment: Outbound,
        mut head: Packet,
        payload: P,
    ) -> Result<(), EmitError> {
        // TCP has asked for the device's room before.
        let Ok(offload) = self.network.put_headers(mac, &segment, &mut head) else {
            self.network.drop_for(DropReason::NoHeadroom);
            return Ok(());
        };
        match self.device.transmit(head, payload, offload) {
            Ok(()) => {
                self.network.count(Event::SegmentTransmitted);
                Ok(())
            }
            Err(_) => {
                self.network.drop_for(DropReason::DeviceRefused);
                Err(EmitError::Full)
            }
        }
    }
}

impl Network {
    /// Where the next hop of a segment is.
    #[inline]
    fn hop(&mut self, segment: &Outbound) -> Hop {
        if let Some(mac) = self.neighbours.reach(segment.next_hop, self.now) {
            return Hop::Station(mac);
        }
        if segment.next_hop == loopback::NEXT_HOP {
            return Hop::Loopback;
        }
        self.find_hop(segment.destination.to_ip())
    }

    #[cold]
    fn find_hop(&mut self, destination: IpAddr) -> Hop {
        match self.addresses.route(destination) {
            Route::Loopback => Hop::Loopback,
            Route::None => Hop::Nowhere(DropReason::NoRoute),
            Route::Neighbour(neighbour) => match self.neighbours.resolve(neighbour, self.now) {
                Resolution::Known(mac) => Hop::Station(mac),
                Resolution::Pending => Hop::Wait(neighbour),
                Resolution::Absent => Hop::Nowhere(DropReason::NeighbourUnreachable),
            },
        }
    }

    /// Puts IP's and Ethernet's headers in front of a segment, and says what the device has to complete.
    #[inline(always)]
    fn put_headers(&mut self, mac: Mac, segment: &Outbound, head: &mut Packet) -> Result<Offload, RangeError> {
        let tcp_header_len = head.len();
        let payload_len = tcp_header_len + segment.payload_len;
        let ecn = segment.ecn.bits();
        let is_v4 = segment.destination.is_v4();
        // A flow has two ends of one family.
        let network_header_len = if is_v4 {
            self.identification = self.identification.wrapping_add(1);
            let link = self.link_header(mac, ethernet::IPV4);
            let (source, destination) = (segment.source.last_v4(), segment.destination.last_v4());
            let header = ipv4::Header { source, destination, protocol: protocol::TCP, ecn, payload_len };
            header.put(link, self.identification, head)?;
            ipv4::HEADER_BYTES
        } else {
            let link = self.link_header(mac, ethernet::IPV6);
            let (source, destination) = (segment.source.to_v6(), segment.destination.to_v6());
            let header = ipv6::Header { source, destination, protocol: protocol::TCP, ecn, payload_len };
            header.put(link, head)?;
            ipv6::HEADER_BYTES
        };
        let start = (ethernet::HEADER_BYTES + network_header_len) as u16;
        let checksum = ChecksumOffload { start, offset: TCP_CHECKSUM_OFFSET };
        let segmentation = |mss| Segmentation { ipv6: !is_v4, mss, header_len: start + tcp_header_len as u16 };
        Ok(Offload {
            checksum: self.device.transmit_checksum.then_some(checksum),
            segmentation: segment.segmentation.map(segmentation),
        })
    }

    /// Keeps a segment until its neighbour has answered. A long one goes back to TCP instead.
    #[cold]
    fn emit_later<P: Iterator<Item = Chunk>>(
        &mut self,
        neighbour: IpAddr,
        segment: Outbound,
        mut head: Packet,
        payload: P,
    ) -> Result<(), EmitError> {
        let is_long = segment.segmentation.is_some() || segment.payload_len > head.tailroom();
        if is_long || !self.may_wait(neighbour) {
            return Err(EmitError::NoNeighbour);
        }
        let gathered = self.gather(&mut head, payload);
        let segment = Outbound { payload_len: 0, ..segment };
        // The payload is part of the head now.
        let Ok(offload) = gathered.and_then(|()| self.put_headers(Mac::NONE, &segment, &mut head)) else {
            self.drop_for(DropReason::NoHeadroom);
            return Ok(());
        };
        self.wait(Waiting { neighbour, packet: head, offload });
        Ok(())
    }
}
