//! Strays: segments of flows that clients opened, which arrive at another core than the flow's.
//!
//! As long as every core has a queue pair, the arrival of a SYN makes the owner, and no core can compute it for another. As a
//! rule the rest of the flow arrives there too. When the host changes its mind (it was restarted, the machine was moved to
//! another host, queues were added), it does not; and to answer with a RST would end a good flow.
//!
//! So the frame goes round: from core to core, in the order of their numbers, not copied, until one has the flow and takes it,
//! or it is home again and gets the RST that it deserves. That is one message per core at most for a frame, and it is limited
//! to a rate; what is beyond is dropped, since its sender sends it again if it was a good one. The owner's answer leaves
//! through the owner's queue, from which a tap learns where the flow belongs: a stray is the exception that repairs
//! itself.
//!
//! Nobody keeps a table of who owns what: it would take two messages for every connection to save one for some.

use alloc::boxed::Box;
use core::net::{IpAddr, SocketAddr};

use weir_packet::frame::{ChecksumStatus, RxFrame};
use weir_packet::handoff::Foreign;
use weir_tcp::Counter;

use crate::counters::{DropReason, Event};
use crate::ethernet;
use crate::ipv4::{self, Ports};
use crate::ipv6;
use crate::message::Message;
use crate::receive::Origin;
use crate::shard::Shard;

/// The flags of TCP that open a flow and end it (RFC 9293 3.1).
const FLAG_SYN: u8 = 2;
const FLAGS_END: u8 = 1 | 4;

/// Flows that are remembered as ours; a power of two.
const SEEN_LEN: usize = 2048;

/// Flows of which a segment was ours a while ago: to look a flow up costs more than a hundred instructions, and this a
/// dozen. A flow that ends is forgotten, and one whose place another needs.
pub(crate) struct Seen {
    tags: Box<[u32; SEEN_LEN]>,
    key: u64,
}

impl Seen {
    pub(crate) fn new(key: u64) -> Self {
        Self { tags: Box::new([0; SEEN_LEN]), key: key | 1 }
    }

    /// Where the flow of a client stands, and under which tag, which is not 0.
    #[inline(always)]
    fn place(&mut self, source: IpAddr, ports: Ports) -> (&mut u32, u32) {
        let address = match source {
            IpAddr::V4(v4) => u64::from(v4.to_bits()),
            IpAddr::V6(v6) => {
                let bits = v6.to_bits();
                (bits >> 64) as u64 ^ (bits as u64).rotate_left(23)
            }
        };
        let ports = u64::from(ports.source) << 16 | u64::from(ports.destination);
        let product = u128::from(address << 32 ^ address >> 32 ^ ports) * u128::from(self.key);
        let hash = product as u64 ^ (product >> 64) as u64;
        (&mut self.tags[hash as usize % SEEN_LEN], (hash >> 32) as u32 | 1)
    }
}

impl Shard {
    /// Whether a segment opens no flow and belongs to none of ours.
    #[inline(always)]
    pub(crate) fn is_stray(&mut self, source: IpAddr, destination: IpAddr, ports: Ports, flags: Option<&u8>) -> bool {
        let flags = flags.copied().unwrap_or(FLAG_SYN);
        let (place, tag) = self.seen.place(source, ports);
        if *place == tag && flags & FLAGS_END == 0 {
            return false;
        }
        self.look_up(source, destination, ports, flags)
    }

    fn look_up(&mut self, source: IpAddr, destination: IpAddr, ports: Ports, flags: u8) -> bool {
        let ends = (SocketAddr::new(destination, ports.destination), SocketAddr::new(source, ports.source));
        let is_ours = flags & FLAG_SYN != 0 || self.engine.owns(ends.0, ends.1);
        let (place, tag) = self.seen.place(source, ports);
        *place = if is_ours && flags & FLAGS_END == 0 { tag } else { 0 };
        !is_ours
    }

    /// Sends a frame round whose segment, to `port`, is of no flow of ours and opens none. It comes back when it is ours to
    /// answer after all.
    #[cold]
    pub(crate) fn ask_others(&mut self, port: u16, frame: RxFrame) -> Result<Option<RxFrame>, DropReason> {
        if self.listeners.iter().all(|(_, listened)| *listened != port) {
            return Ok(Some(frame));
        }
        if !self.stray_limit.allow(self.network.now) {
            // It may be the end of a handshake of which only its cookie remains.
            let may_be_cookie = self.engine.counters().get(Counter::SynCookiesSent) > 0;
            return if may_be_cookie { Ok(Some(frame)) } else { Err(DropReason::StrayLimited) };
        }
        let RxFrame { packet, checksum } = frame;
        let home = self.network.core as u16;
        self.network.count(Event::StrayAsked);
        self.pass_on(Message::Stray { frame: Foreign::new(packet), checksum, home });
        Ok(None)
    }

    /// A frame comes round.
    #[cold]
    pub(crate) fn receive_stray(&mut self, frame: Foreign, checksum: ChecksumStatus, home: u16) {
        if usize::from(home) == self.network.core {
            self.network.count(Event::StrayLost);
            if let Ok(packet) = self.network.pool.welcome(frame) {
                self.take_frame(RxFrame { packet, checksum }, Origin::Ring);
            }
            return;
        }
        if ends(frame.bytes()).is_some_and(|(local, remote)| self.engine.owns(local, remote)) {
            self.network.count(Event::StrayFound);
            return self.take_over(frame, checksum, home);
        }
        self.pass_on(Message::Stray { frame, checksum, home });
    }

    fn pass_on(&mut self, message: Message) {
        let next = (self.network.core + 1) % self.network.cores;
        self.network.tell(next, message);
    }
}

/// Our end and the other of the flow that the segment in a frame is of. The frame was checked where it arrived.
fn ends(frame: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let link = ethernet::Header::parse(frame)?;
    let (source, destination, ports): (IpAddr, IpAddr, Ports) = if link.ether_type == ethernet::IPV4 {
        let (header, ports) = ipv4::Header::parse(frame, usize::MAX).ok()?;
        (header.source.into(), header.destination.into(), ports)
    } else {
        let packet = frame.get(ethernet::HEADER_BYTES..)?;
        let header = ipv6::Header::parse(packet, usize::MAX).ok()?;
        (header.source.into(), header.destination.into(), Ports::parse(packet.get(ipv6::HEADER_BYTES..)?)?)
    };
    Some((SocketAddr::new(destination, ports.destination), SocketAddr::new(source, ports.source)))
}
