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
//! Nobody keeps a table of who owns what: it would take two messages for every connection to save one for some. And nobody asks
//! of a segment whether it is a stray: TCP looks for its flow anyway, and gives back what has none
//! ([`weir_tcp::Engine::offer_segment`]).

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

impl Shard {
    /// A segment to `port` came back from TCP: it is of no flow of ours, and opens none. `offset` bytes of headers are in front
    /// of what is left of its frame.
    #[cold]
    pub(crate) fn receive_unclaimed(&mut self, port: u16, offset: usize, frame: RxFrame) -> Result<(), DropReason> {
        let RxFrame { mut packet, checksum } = frame;
        // They are still there: they were taken off, and nobody has written.
        packet.prepend(offset).map_err(|_| DropReason::NoHeadroom)?;
        if let Some(frame) = self.ask_others(port, RxFrame { packet, checksum })? {
            self.take_home(frame);
        }
        Ok(())
    }

    /// Takes a frame that no other core is asked about any more.
    #[inline(never)]
    pub(crate) fn take_home(&mut self, frame: RxFrame) {
        self.take_frame(frame, Origin::Ring);
    }

    /// Sends a frame round whose segment, to `port`, is of no flow of ours and opens none. It comes back when it is ours to
    /// answer after all.
    fn ask_others(&mut self, port: u16, frame: RxFrame) -> Result<Option<RxFrame>, DropReason> {
        if !self.steering.may_stray(port) || self.listeners.iter().all(|(_, listened)| *listened != port) {
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
                self.take_home(RxFrame { packet, checksum });
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
        let (header, ports) = ipv4::Header::parse(frame, || usize::MAX).ok()?;
        (header.source.into(), header.destination.into(), ports)
    } else {
        let packet = frame.get(ethernet::HEADER_BYTES..)?;
        let header = ipv6::Header::parse(packet, usize::MAX).ok()?;
        (header.source.into(), header.destination.into(), Ports::parse(packet.get(ipv6::HEADER_BYTES..)?)?)
    };
    Some((SocketAddr::new(destination, ports.destination), SocketAddr::new(source, ports.source)))
}
