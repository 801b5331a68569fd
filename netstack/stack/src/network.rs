//! A shard without its TCP engine: addresses, neighbours, and the queues between the protocols and the device.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_packet::frame::{Capabilities, Offload, Transmit};
use weir_packet::{Packet, Pool};
use weir_socket::Instant;
use weir_tcp::NextHop;

use crate::address::{Addresses, Route};
use crate::counters::{Counters, DropReason, Event};
use crate::ethernet::{self, Mac};
use crate::loopback::Looped;
use crate::message::{Message, Outbox};
use crate::neighbour::{Confirmed, Neighbours};
use crate::time::RateLimit;
use crate::udp;

/// Answers and control frames that wait for the device.
const REPLIES_MAX: usize = 128;
/// Packets that wait for their neighbour's Ethernet address: in all, and for each neighbour.
const WAITING_MAX: usize = 64;
const WAITING_PER_NEIGHBOUR_MAX: usize = 4;
/// Packets on their way from ourselves to ourselves.
const LOOPBACK_MAX: usize = 512;
/// Messages that wait for the rings.
const OUTBOX_MAX: usize = 512;
/// Neighbours that a core tells the others about, per second: one word may mean a message to each core.
const NEIGHBOUR_WORDS_PER_SECOND: u32 = 1_000;

/// Everything that a packet meets on its way in and out, except TCP.
pub(crate) struct Network {
    pub(crate) core: usize,
    pub(crate) cores: usize,
    pub(crate) now: Instant,
    pub(crate) device: Capabilities,
    /// The device's address.
    pub(crate) mac: Mac,
    pub(crate) pool: Pool,
    pub(crate) addresses: Addresses,
    pub(crate) neighbours: Neighbours,
    /// The routers' entries among the neighbours.
    pub(crate) gateway_v4: Option<NextHop>,
    pub(crate) gateway_v6: Option<NextHop>,
    pub(crate) counters: Counters,
    pub(crate) outbox: Outbox,
    pub(crate) loopback: VecDeque<Looped>,
    pub(crate) identification: u16,
    replies: VecDeque<(Packet, Offload)>,
    /// Datagrams of ours that wait for the device, behind the answers.
    pub(crate) datagrams: udp::Queue,
    waiting: Vec<Waiting>,
    /// Packets whose neighbour failed, until TCP was told.
    pub(crate) failed: Vec<Waiting>,
    words: RateLimit,
}

/// A complete frame, but for its destination's Ethernet address.
pub(crate) struct Waiting {
    pub(crate) neighbour: IpAddr,
    pub(crate) packet: Packet,
    pub(crate) offload: Offload,
}

impl Network {
    pub(crate) fn new(
        place: (usize, usize),
        device: Capabilities,
        pool: Pool,
        neighbours_max: usize,
        seed: u64,
    ) -> Self {
        Self {
            core: place.0,
            cores: place.1,
            now: Instant::default(),
            addresses: Addresses::new(device.mac),
            neighbours: Neighbours::new(neighbours_max, seed),
            mac: device.mac.into(),
            device,
            pool,
            gateway_v4: None,
            gateway_v6: None,
            counters: Counters::new(),
            outbox: Outbox::new(OUTBOX_MAX),
            loopback: VecDeque::with_capacity(LOOPBACK_MAX),
            identification: seed as u16,
            replies: VecDeque::with_capacity(REPLIES_MAX),
            datagrams: udp::Queue::new(),
            waiting: Vec::with_capacity(WAITING_MAX),
            failed: Vec::with_capacity(WAITING_MAX),
            words: RateLimit::new(NEIGHBOUR_WORDS_PER_SECOND, 64),
        }
    }

    #[inline(always)]
    pub(crate) fn drop_for(&mut self, reason: DropReason) {
        self.counters.dropped(reason);
    }

    #[inline(always)]
    pub(crate) fn count(&mut self, event: Event) {
        self.counters.count(event);
    }

    /// How to answer a packet from `source` that came from station `mac`; none when nothing may come from there. Who was
    /// heard within the last second is known to be a source.
    #[inline]
    pub(crate) fn way_back_v4(&mut self, source: Ipv4Addr, mac: Mac) -> Option<NextHop> {
        if let Some(next_hop) = self.neighbours.recent_sender(IpAddr::V4(source), mac, self.now) {
            return Some(next_hop);
        }
        self.addresses.is_source_v4(source).then(|| self.new_way_back_v4(source, mac))
    }

    #[inline]
    fn new_way_back_v4(&mut self, source: Ipv4Addr, mac: Mac) -> NextHop {
        if self.addresses.is_on_link_v4(source) {
            return self.remember(IpAddr::V4(source), mac);
        }
        let Some(gateway) = self.gateway_v4 else { return NextHop::UNKNOWN };
        self.neighbours.prolong(gateway, mac, self.now);
        gateway
    }

    /// As [`way_back_v4`](Self::way_back_v4), for IPv6.
    pub(crate) fn way_back_v6(&mut self, source: Ipv6Addr, mac: Mac) -> NextHop {
        if self.addresses.is_on_link_v6(source) {
            return self.remember(IpAddr::V6(source), mac);
        }
        let Some(gateway) = self.gateway_v6 else { return NextHop::UNKNOWN };
        self.neighbours.prolong(gateway, mac, self.now);
        gateway
    }

    #[inline]
    fn remember(&mut self, source: IpAddr, mac: Mac) -> NextHop {
        match self.neighbours.sender(source, mac, self.now) {
            Some(next_hop) => next_hop,
            None => {
                self.count(Event::NeighbourTableFull);
                NextHop::UNKNOWN
            }
        }
    }

    /// Queues a complete frame for the device.
    pub(crate) fn reply(&mut self, packet: Packet, offload: Offload) {
        if self.replies.len() == REPLIES_MAX {
            return self.drop_for(DropReason::ReplyQueueFull);
        }
        self.replies.push_back((packet, offload));
    }

    /// Gives queued frames to the device, as many as it takes.
    #[inline]
    pub(crate) fn flush_replies<T: Transmit>(&mut self, device: &mut T) {
        if !self.replies.is_empty() {
            self.flush_some_replies(device);
        }
        self.flush_datagrams(device);
    }

    #[cold]
    fn flush_some_replies<T: Transmit>(&mut self, device: &mut T) {
        while device.room() > 0 {
            let Some((packet, offload)) = self.replies.pop_front() else { return };
            if device.transmit(packet, core::iter::empty(), offload).is_err() {
                self.drop_for(DropReason::DeviceRefused);
            }
        }
    }

    /// Whether frames wait for the device.
    pub(crate) fn has_replies(&self) -> bool {
        !self.replies.is_empty() || !self.datagrams.is_empty()
    }

    /// Whether one more packet may wait for `neighbour`.
    pub(crate) fn may_wait(&self, neighbour: IpAddr) -> bool {
        self.waiting.len() < WAITING_MAX
            && self.waiting.iter().filter(|w| w.neighbour == neighbour).count() < WAITING_PER_NEIGHBOUR_MAX
    }

    /// Keeps a frame until its neighbour has answered; see [`may_wait`](Self::may_wait).
    pub(crate) fn wait(&mut self, waiting: Waiting) {
        if self.waiting.len() == WAITING_MAX {
            return self.drop_for(DropReason::NeighbourQueueFull);
        }
        self.waiting.push(waiting);
    }

    /// Sends what waited for `neighbour` to `mac`.
    pub(crate) fn release_waiting(&mut self, neighbour: IpAddr, mac: Mac) {
        let waited = |waiting: &Waiting| waiting.neighbour == neighbour;
        while let Some(Waiting { mut packet, offload, .. }) = take_first(&mut self.waiting, waited) {
            if let Some(destination) = packet.first_chunk_mut::<6>() {
                *destination = mac.octets();
                self.reply(packet, offload);
            }
        }
    }

    /// Gives up what waited for `neighbour`: TCP will be told.
    pub(crate) fn fail_waiting(&mut self, neighbour: IpAddr) {
        let waited = |waiting: &Waiting| waiting.neighbour == neighbour;
        while let Some(waiting) = take_first(&mut self.waiting, waited) {
            self.drop_for(DropReason::NeighbourUnreachable);
            self.failed.push(waiting);
        }
    }

    /// Packets that wait for their neighbour.
    pub(crate) fn waiting_len(&self) -> usize {
        self.waiting.len()
    }

    /// Forgets IPv4's neighbours and what waited for them: the address has changed.
    pub(crate) fn forget_neighbours_v4(&mut self) {
        self.forget_neighbours(IpAddr::is_ipv4);
        let gateway = self.addresses.v4().and_then(|v4| v4.gateway).map(IpAddr::V4);
        self.gateway_v4 = gateway.and_then(|gateway| self.neighbours.pin(gateway, self.now));
    }

    /// As [`forget_neighbours_v4`](Self::forget_neighbours_v4), for IPv6.
    pub(crate) fn forget_neighbours_v6(&mut self) {
        self.forget_neighbours(IpAddr::is_ipv6);
        let gateway = self.addresses.v6().and_then(|v6| v6.gateway).map(IpAddr::V6);
        self.gateway_v6 = gateway.and_then(|gateway| self.neighbours.pin(gateway, self.now));
    }

    fn forget_neighbours(&mut self, of_family: impl Fn(&IpAddr) -> bool) {
        while take_first(&mut self.waiting, |waiting| of_family(&waiting.neighbour)).is_some() {
            self.drop_for(DropReason::NeighbourUnreachable);
        }
        self.neighbours.forget(of_family);
    }

    /// Whether `address` is the router's towards everything else.
    pub(crate) fn is_gateway(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.addresses.v4().is_some_and(|v4| v4.gateway == Some(address)),
            IpAddr::V6(address) => self.addresses.v6().is_some_and(|v6| v6.gateway == Some(address)),
        }
    }

    /// A neighbour told its Ethernet address; `word_for_others` when the other cores should hear of it.
    pub(crate) fn hear_of(&mut self, address: IpAddr, mac: Mac, word_for_others: bool) -> Confirmed {
        let confirmed = self.neighbours.confirm(address, mac, self.now);
        if confirmed == Confirmed::Moved {
            self.count(Event::NeighbourMoved);
        }
        if confirmed != Confirmed::Unknown {
            self.release_waiting(address, mac);
        }
        if self.cores > 1 && (word_for_others || confirmed == Confirmed::Moved) && self.words.allow(self.now) {
            self.tell_others(|| Message::Neighbour { address, mac: mac.octets() });
        }
        confirmed
    }

    /// TCP hears nothing of `peer`: its first hop is verified before its time.
    pub(crate) fn doubt_way_to(&mut self, peer: IpAddr) {
        if let Route::Neighbour(hop) = self.addresses.route(peer) {
            self.neighbours.doubt(hop, self.now);
        }
    }

    /// Sends a message to one core.
    pub(crate) fn tell(&mut self, target: usize, message: Message) {
        match self.outbox.push(target, message) {
            Ok(()) => self.count(Event::MessageSent),
            Err(message) => self.take_back(message),
        }
    }

    /// Sends a message to every other core.
    pub(crate) fn tell_others(&mut self, message: impl Fn() -> Message) {
        let us = self.core;
        for target in (0..self.cores).filter(|&target| target != us) {
            self.tell(target, message());
        }
    }

    /// A message could not be sent: our own buffer stays at home, another core's goes there.
    pub(crate) fn take_back(&mut self, message: Message) {
        self.drop_for(DropReason::RingFull);
        let (Message::Frame { frame, home, .. } | Message::Stray { frame, home, .. }) = message else { return };
        if let Err(frame) = self.pool.welcome(frame) {
            // Passed on for its home: there is always room for what goes home.
            let _ = self.outbox.push(usize::from(home), Message::GiveBack(frame));
        }
    }

    /// The header of a frame to `destination`.
    #[inline(always)]
    pub(crate) fn link_header(&self, destination: Mac, ether_type: u16) -> ethernet::Header {
        ethernet::Header { destination, source: self.mac, ether_type }
    }

    /// Room for one more packet to ourselves.
    pub(crate) fn may_loop(&self) -> bool {
        self.loopback.len() < LOOPBACK_MAX
    }
}

fn take_first(waiting: &mut Vec<Waiting>, wanted: impl Fn(&Waiting) -> bool) -> Option<Waiting> {
    let index = waiting.iter().position(wanted)?;
    Some(waiting.remove(index))
}
