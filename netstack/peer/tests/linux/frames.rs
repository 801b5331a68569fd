//! An attacker on the wire: sees all frames, and sends ones that no kernel would.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use pnet_datalink::{Channel, Config, DataLinkReceiver, DataLinkSender};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, IpAddress, IpProtocol, IpRepr, Ipv4Packet,
    Ipv6Packet, TcpPacket, TcpRepr,
};
use weir_peer::{Interface, WEIR_MAC};

use crate::Failed;

/// How long the attacker waits for a frame.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of an Ethernet header.
const ETHERNET_BYTES: usize = 14;

/// A raw socket on an interface.
pub struct Attacker {
    sender: Box<dyn DataLinkSender>,
    receiver: Box<dyn DataLinkReceiver>,
    mac: EthernetAddress,
}

impl Attacker {
    /// Listens to everything from now on.
    pub fn new(interface: &Interface) -> Result<Self, Failed> {
        let all = pnet_datalink::interfaces();
        let found = all.iter().find(|other| other.name == interface.name()).ok_or("the interface is gone")?;
        let mac = found.mac.ok_or("the interface has no address")?.octets();
        let config = Config { read_timeout: Some(PATIENCE), ..Config::default() };
        let Channel::Ethernet(sender, receiver) = pnet_datalink::channel(found, config)? else {
            return Err("not an Ethernet interface".into());
        };
        Ok(Self { sender, receiver, mac: EthernetAddress(mac) })
    }

    /// Sends a segment to Weir.
    pub fn send(&mut self, from: SocketAddr, to: SocketAddr, segment: &TcpRepr) -> Result<(), Failed> {
        let frame = self.frame(from.ip(), to.ip(), segment);
        self.sender.send_to(&frame, None).ok_or("nothing was sent")??;
        Ok(())
    }

    /// The next segment between two ends, as `look` sees it, unless that is none.
    pub fn next_segment<R>(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        look: impl Fn(&TcpRepr) -> Option<R>,
    ) -> Result<R, Failed> {
        loop {
            let frame = self.receiver.next()?;
            let seen = parse(frame, from, to, |segment| look(segment));
            if let Some(seen) = seen.flatten() {
                return Ok(seen);
            }
        }
    }

    fn frame(&self, from: IpAddr, to: IpAddr, segment: &TcpRepr) -> Vec<u8> {
        let (source, target): (IpAddress, IpAddress) = (from.into(), to.into());
        let ip = IpRepr::new(source, target, IpProtocol::Tcp, segment.buffer_len(), 64);
        let ethertype = if from.is_ipv6() { EthernetProtocol::Ipv6 } else { EthernetProtocol::Ipv4 };
        let header = EthernetRepr { src_addr: self.mac, dst_addr: EthernetAddress(WEIR_MAC), ethertype };
        let mut frame = vec![0; ETHERNET_BYTES + ip.buffer_len()];
        header.emit(&mut EthernetFrame::new_unchecked(&mut frame[..]));
        ip.emit(&mut frame[ETHERNET_BYTES..], &ChecksumCapabilities::default());
        let at = ETHERNET_BYTES + ip.header_len();
        let mut packet = TcpPacket::new_unchecked(&mut frame[at..]);
        segment.emit(&mut packet, &source, &target, &ChecksumCapabilities::default());
        frame
    }
}

fn parse<R>(frame: &[u8], from: SocketAddr, to: SocketAddr, look: impl FnOnce(&TcpRepr) -> R) -> Option<R> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    let (source, target, payload): (IpAddress, IpAddress, &[u8]) = match frame.ethertype() {
        EthernetProtocol::Ipv4 => {
            let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
            (packet.src_addr().into(), packet.dst_addr().into(), packet.payload())
        }
        EthernetProtocol::Ipv6 => {
            let packet = Ipv6Packet::new_checked(frame.payload()).ok()?;
            (packet.src_addr().into(), packet.dst_addr().into(), packet.payload())
        }
        _ => return None,
    };
    if (IpAddr::from(source), IpAddr::from(target)) != (from.ip(), to.ip()) {
        return None;
    }
    let packet = TcpPacket::new_checked(payload).ok()?;
    if (packet.src_port(), packet.dst_port()) != (from.port(), to.port()) {
        return None;
    }
    // A checksum that the kernel leaves to a device is none to look at.
    let segment = TcpRepr::parse(&packet, &source, &target, &ChecksumCapabilities::ignored()).ok()?;
    Some(look(&segment))
}
