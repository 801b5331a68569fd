//! UDP (RFC 768) for the control plane: name service and log. Not a hot path, but bounded everywhere.
//!
//! ```text
//! Shard::send_datagram -> checksum, headers -> neighbour known: queue -> device
//!                                           -> asked for:      the packets that wait
//! frame -> Shard::receive_udp -> DHCP's: the control plane
//!                             -> a port of another core: home by message, limited to a rate
//!                             -> a bound port: its queue -> Shard::receive_datagram
//! ```
//!
//! Ports are dealt out to the cores like cards, as TCP's are (`steering`): the destination port of an answer names the core
//! that it belongs to, wherever it arrived, so that no core has to tell another which ports it has bound.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::ops::RangeInclusive;

use weir_packet::frame::{ChecksumStatus, Offload, RxFrame, Transmit};
use weir_packet::{BUFFER_BYTES, HEADROOM_BYTES, Packet, RangeError};

use crate::address::Route;
use crate::checksum::Sum;
use crate::control::{DHCP_CLIENT_PORT, DHCP_SERVER_PORT};
use crate::counters::{DropReason, Event};
use crate::ethernet::{self, Mac};
use crate::ipv4::{self, protocol};
use crate::ipv6;
use crate::neighbour::Resolution;
use crate::network::{Network, Waiting};
use crate::receive::Origin;
use crate::shard::Shard;
use crate::time::RateLimit;

/// Ports that can be bound: all that nobody has reserved (RFC 6335 6), since an answer's port is half of what an off-path
/// attacker has to guess (RFC 6056 3.2). TCP's ports are others; DHCP's is below.
pub const DATAGRAM_PORTS: RangeInclusive<u16> = 1_024..=65_535;

/// Ports that one core has bound at the same time.
pub const DATAGRAM_PORTS_MAX: usize = 32;

/// Datagrams that wait at one port.
const RECEIVED_MAX: usize = 4;
/// Datagrams that wait for the device.
const SENT_MAX: usize = 128;
/// Datagrams passed to other cores per second, and at once.
const PASSED_PER_SECOND: u32 = 2_000;
const PASSED_BURST: u32 = 64;

/// Bytes of a header.
const HEADER_BYTES: usize = 8;

/// A received datagram.
#[derive(Debug)]
pub struct Datagram {
    /// Who sent it, as far as one can know.
    pub source: SocketAddr,
    /// Its bytes, without any header.
    pub payload: Packet,
}

/// What a datagram's headers say, and where it lies in its frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    /// Bytes of all headers in front of UDP's.
    pub(crate) offset: usize,
    /// What IP says of the length of header and payload.
    pub(crate) len: usize,
    pub(crate) origin: Origin,
}

/// The bound ports of one core.
pub(crate) struct Ports {
    core: usize,
    cores: usize,
    bound: Vec<(u16, VecDeque<Datagram>)>,
    pass_limit: RateLimit,
}

/// Datagrams that wait for the device.
pub(crate) struct Queue(VecDeque<Packet>);

impl Ports {
    /// No port of `core` among `cores`.
    pub(crate) fn new(core: usize, cores: usize) -> Self {
        let pass_limit = RateLimit::new(PASSED_PER_SECOND, PASSED_BURST);
        Self { core, cores: cores.max(1), bound: Vec::new(), pass_limit }
    }

    /// The core that a port belongs to; none: nobody can bind it.
    fn owner(&self, port: u16) -> Option<usize> {
        DATAGRAM_PORTS.contains(&port).then(|| usize::from(port - DATAGRAM_PORTS.start()) % self.cores)
    }

    fn queue(&mut self, port: u16) -> Option<&mut VecDeque<Datagram>> {
        self.bound.iter_mut().find_map(|(bound, queue)| (*bound == port).then_some(queue))
    }

    /// Binds a free port of this core, which `random` chooses.
    fn bind(&mut self, random: u64) -> Option<u16> {
        if self.bound.len() == DATAGRAM_PORTS_MAX {
            return None;
        }
        let len = DATAGRAM_PORTS.len();
        let share = len.saturating_sub(self.core).div_ceil(self.cores);
        let first = random.checked_rem(share as u64)? as usize;
        // One of so many in a row is free.
        let port = (0..=DATAGRAM_PORTS_MAX.min(share)).find_map(|step| {
            let offset = (first + step) % share * self.cores + self.core;
            let port = u16::try_from(usize::from(*DATAGRAM_PORTS.start()) + offset).ok()?;
            self.queue(port).is_none().then_some(port)
        })?;
        self.bound.push((port, VecDeque::with_capacity(RECEIVED_MAX)));
        Some(port)
    }
}

impl Queue {
    pub(crate) const fn new() -> Self {
        Self(VecDeque::new())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn is_full(&self) -> bool {
        self.0.len() >= SENT_MAX
    }
}

impl Shard {
    /// Binds a port of this core for datagrams to any address of ours. `random` chooses which, and should be as hard to guess
    /// as the port is to be. None: too many are bound.
    pub fn bind_datagrams(&mut self, random: u64) -> Option<u16> {
        self.datagrams.bind(random)
    }

    /// Gives a port back; what waits there is forgotten.
    pub fn unbind_datagrams(&mut self, port: u16) {
        self.datagrams.bound.retain(|(bound, _)| *bound != port);
    }

    /// The oldest datagram that waits at a bound port.
    pub fn receive_datagram(&mut self, port: u16) -> Option<Datagram> {
        self.datagrams.queue(port)?.pop_front()
    }

    /// Sends a datagram; `port` need not be bound. It leaves with the next [`poll_transmit`](Self::poll_transmit), or when
    /// its neighbour has answered.
    ///
    /// # Errors
    /// It was dropped, and counted for that reason.
    pub fn send_datagram(&mut self, port: u16, remote: SocketAddr, payload: &[u8]) -> Result<(), DropReason> {
        let sent = self.network.send_datagram(port, remote, payload);
        match sent {
            Ok(()) => self.network.count(Event::DatagramSent),
            Err(reason) => self.network.drop_for(reason),
        }
        sent
    }

    /// The longest payload of a datagram to `remote`, in bytes.
    #[must_use]
    pub fn datagram_bytes_max(&self, remote: SocketAddr) -> usize {
        self.network.datagram_bytes_max(remote.ip())
    }

    /// Takes a frame with a datagram to an address of ours.
    #[cold]
    pub(crate) fn receive_udp(&mut self, arrival: Arrival, frame: RxFrame) -> Result<(), DropReason> {
        if arrival.len < HEADER_BYTES {
            return Err(DropReason::Truncated);
        }
        if arrival.destination.port() == DHCP_CLIENT_PORT {
            return self.receive_dhcp(arrival, frame);
        }
        match self.datagrams.owner(arrival.destination.port()) {
            Some(owner) if owner == self.network.core => self.deliver_datagram(arrival, frame),
            Some(owner) if arrival.origin == Origin::Wire => {
                if !self.datagrams.pass_limit.allow(self.network.now) {
                    return Err(DropReason::UdpLimited);
                }
                self.forward(owner, frame);
                Ok(())
            }
            _ => Err(DropReason::UdpNoListener),
        }
    }

    /// What may be a DHCP server's goes to the control plane. It may be to an address that is not ours yet (RFC 2131 4.1).
    pub(crate) fn receive_dhcp(&mut self, arrival: Arrival, frame: RxFrame) -> Result<(), DropReason> {
        if arrival.len < HEADER_BYTES {
            return Err(DropReason::Truncated);
        }
        let ports = (arrival.source.port(), arrival.destination.port());
        if ports != (DHCP_SERVER_PORT, DHCP_CLIENT_PORT) || !self.asks_dhcp {
            return Err(DropReason::UdpNoListener);
        }
        match &mut self.control {
            Some(control) => {
                // A server on our own host leaves the sum to a device that never computes it, and says so with the frame.
                let datagram = frame.packet.get(arrival.offset..arrival.offset + arrival.len);
                check(datagram.ok_or(DropReason::Truncated)?, &arrival, frame.checksum)?;
                self.control_at = self.network.now;
                control.receive(frame.packet)
            }
            None if self.network.core != 0 => {
                self.forward(0, frame);
                Ok(())
            }
            None => Err(DropReason::UdpNoListener),
        }
    }

    fn deliver_datagram(&mut self, arrival: Arrival, frame: RxFrame) -> Result<(), DropReason> {
        let queue = self.datagrams.queue(arrival.destination.port()).ok_or(DropReason::UdpNoListener)?;
        if queue.len() == RECEIVED_MAX {
            return Err(DropReason::UdpQueueFull);
        }
        let RxFrame { mut packet, checksum } = frame;
        // No answer that we ask for is longer than a buffer.
        if packet.is_chain() {
            return Err(DropReason::UdpMalformed);
        }
        packet.trim_front(arrival.offset).map_err(|_| DropReason::Truncated)?;
        packet.truncate(arrival.len);
        let len = check(&packet, &arrival, checksum)?;
        packet.truncate(len);
        packet.trim_front(HEADER_BYTES).map_err(|_| DropReason::Truncated)?;
        queue.push_back(Datagram { source: arrival.source, payload: packet });
        self.network.count(Event::DatagramReceived);
        Ok(())
    }
}

/// The length of the datagram at the beginning of `packet`, if that and its checksum are right.
fn check(packet: &[u8], arrival: &Arrival, checksum: ChecksumStatus) -> Result<usize, DropReason> {
    let &[_, _, _, _, l0, l1, c0, c1] = packet.first_chunk::<HEADER_BYTES>().ok_or(DropReason::Truncated)?;
    let len = usize::from(u16::from_be_bytes([l0, l1]));
    let datagram = packet.get(..len).filter(|_| len >= HEADER_BYTES).ok_or(DropReason::UdpMalformed)?;
    let has_none = [c0, c1] == [0, 0];
    // RFC 768: no checksum was made. RFC 8200 8.1: IPv6 has none to do without.
    let is_good = checksum == ChecksumStatus::Verified
        || if has_none {
            arrival.source.is_ipv4()
        } else {
            pseudo_sum(arrival.source.ip(), arrival.destination.ip(), len)
                .is_some_and(|sum| sum.add(datagram).is_intact())
        };
    if is_good { Ok(len) } else { Err(DropReason::UdpChecksum) }
}

/// The sum of the pseudo-header (RFC 768, RFC 8200 8.1); none if the addresses are of two families.
fn pseudo_sum(source: IpAddr, destination: IpAddr, len: usize) -> Option<Sum> {
    let protocol = protocol::UDP;
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => Some(
            Sum::ZERO
                .add(&source.octets())
                .add(&destination.octets())
                .add(&[0, protocol])
                .add(&(len as u16).to_be_bytes()),
        ),
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            Some(Sum::ZERO.add_pseudo_header_v6(source.octets(), destination.octets(), len as u32, protocol))
        }
        _ => None,
    }
}

impl Network {
    fn datagram_bytes_max(&self, remote: IpAddr) -> usize {
        let header_bytes = if remote.is_ipv4() { ipv4::HEADER_BYTES } else { ipv6::HEADER_BYTES } + HEADER_BYTES;
        // One buffer holds it, whatever the link carries; other headers than UDP's go in front.
        usize::from(self.device.mtu).saturating_sub(header_bytes).min(BUFFER_BYTES - HEADROOM_BYTES - HEADER_BYTES)
    }

    fn send_datagram(&mut self, port: u16, remote: SocketAddr, payload: &[u8]) -> Result<(), DropReason> {
        if payload.len() > self.datagram_bytes_max(remote.ip()) {
            return Err(DropReason::UdpTooLong);
        }
        if remote.ip().is_unspecified() || remote.port() == 0 {
            return Err(DropReason::NoRoute);
        }
        let source = self.addresses.source_for(remote.ip()).ok_or(DropReason::NoRoute)?;
        // Nothing here listens to ourselves.
        let Route::Neighbour(neighbour) = self.addresses.route(remote.ip()) else { return Err(DropReason::NoRoute) };
        let station = match self.neighbours.resolve(neighbour, self.now) {
            Resolution::Known(_) if self.datagrams.is_full() => return Err(DropReason::UdpQueueFull),
            Resolution::Known(mac) => Some(mac),
            Resolution::Pending if self.may_wait(neighbour) => None,
            Resolution::Pending => return Err(DropReason::NeighbourQueueFull),
            Resolution::Absent => return Err(DropReason::NeighbourUnreachable),
        };
        let mut packet = self.pool.allocate().ok_or(DropReason::NoBuffer)?;
        let source = SocketAddr::new(source, port);
        self.write_datagram(station.unwrap_or(Mac::NONE), source, remote, payload, &mut packet)
            .map_err(|RangeError| DropReason::NoHeadroom)?;
        match station {
            Some(_) => self.datagrams.0.push_back(packet),
            None => self.wait(Waiting { neighbour, packet, offload: Offload::default() }),
        }
        Ok(())
    }

    fn write_datagram(
        &mut self,
        station: Mac,
        source: SocketAddr,
        remote: SocketAddr,
        payload: &[u8],
        packet: &mut Packet,
    ) -> Result<(), RangeError> {
        let len = HEADER_BYTES + payload.len();
        let [s0, s1] = source.port().to_be_bytes();
        let [d0, d1] = remote.port().to_be_bytes();
        let [l0, l1] = u16::try_from(len).map_err(|_| RangeError)?.to_be_bytes();
        let header = [s0, s1, d0, d1, l0, l1, 0, 0];
        let sum = pseudo_sum(source.ip(), remote.ip(), len).ok_or(RangeError)?.add(&header).add(payload);
        // RFC 768: a checksum of zero is sent as all ones, for zero means that there is none.
        let [c0, c1] = if sum.checksum() == [0, 0] { [0xff, 0xff] } else { sum.checksum() };
        packet.extend_from_slice(&[s0, s1, d0, d1, l0, l1, c0, c1])?;
        packet.extend_from_slice(payload)?;
        let (protocol, ecn, payload_len) = (protocol::UDP, 0, len);
        match (source.ip(), remote.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.identification = self.identification.wrapping_add(1);
                let link = self.link_header(station, ethernet::IPV4);
                ipv4::Header { source, destination, protocol, ecn, payload_len }.put(link, self.identification, packet)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let link = self.link_header(station, ethernet::IPV6);
                ipv6::Header { source, destination, protocol, ecn, payload_len }.put(link, packet)
            }
            _ => Err(RangeError),
        }
    }

    /// Gives datagrams to the device, as many as it takes.
    #[inline]
    pub(crate) fn flush_datagrams<T: Transmit>(&mut self, device: &mut T) {
        if !self.datagrams.is_empty() {
            self.flush_some_datagrams(device);
        }
    }

    #[cold]
    fn flush_some_datagrams<T: Transmit>(&mut self, device: &mut T) {
        while device.room() > 0 {
            let Some(packet) = self.datagrams.0.pop_front() else { return };
            if device.transmit(packet, core::iter::empty(), Offload::default()).is_err() {
                self.drop_for(DropReason::DeviceRefused);
            }
        }
    }
}
