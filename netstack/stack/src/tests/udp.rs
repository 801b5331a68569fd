//! RFC 768: datagrams out and in, and what may not pass.

use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, EthernetFrame, IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr, UdpPacket, UdpRepr,
};
use weir_packet::frame::{Capabilities, ChecksumStatus};
use weir_socket::Instant;

use super::steering::carry;
use super::wire::{
    Host, OUR_MAC, PEER, PEER_MAC, POOL_BUFFERS, US, arp, capabilities, configuration, ipv4, ipv6, read_arp,
};
use crate::{DATAGRAM_PORTS, DATAGRAM_PORTS_MAX, DropReason, Event, Ipv4Source, Ipv6Configuration};

const SERVER: u16 = 53;

/// A datagram of the peer's as it lies in an IP packet.
fn udp(source: IpAddr, destination: IpAddr, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 8 + payload.len()];
    let repr = UdpRepr { src_port: ports.0, dst_port: ports.1 };
    repr.emit(
        &mut UdpPacket::new_unchecked(&mut bytes[..]),
        &source.into(),
        &destination.into(),
        payload.len(),
        |to| to.copy_from_slice(payload),
        &ChecksumCapabilities::default(),
    );
    bytes
}

fn from_peer(port: u16, payload: &[u8]) -> Vec<u8> {
    ipv4(PEER, US, IpProtocol::Udp, &udp(PEER.into(), US.into(), (SERVER, port), payload))
}

/// A frame with a datagram over IPv4 of ours, checksums verified: ports and payload.
fn read(bytes: &[u8]) -> ((u16, u16), Vec<u8>) {
    let frame = EthernetFrame::new_checked(bytes).expect("a frame");
    assert_eq!((frame.dst_addr().0, frame.src_addr().0), (PEER_MAC, OUR_MAC));
    let packet = Ipv4Packet::new_checked(frame.payload()).expect("a packet");
    let ip = Ipv4Repr::parse(&packet, &ChecksumCapabilities::default()).expect("an intact header");
    assert_eq!((ip.src_addr, ip.dst_addr, ip.next_header), (US, PEER, IpProtocol::Udp));
    let datagram = UdpPacket::new_checked(packet.payload()).expect("a datagram");
    assert!(datagram.checksum() != 0 && datagram.verify_checksum(&US.into(), &PEER.into()));
    ((datagram.src_port(), datagram.dst_port()), datagram.payload().to_vec())
}

fn received(host: &mut Host, port: u16) -> Option<(SocketAddr, Vec<u8>)> {
    host.shard.receive_datagram(port).map(|datagram| (datagram.source, datagram.payload.to_vec()))
}

#[test]
fn a_question_and_its_answer() {
    let mut host = Host::new();
    host.introduce_peer();
    let port = host.shard.bind_datagrams(77).expect("a port");
    assert!(DATAGRAM_PORTS.contains(&port));
    host.shard.send_datagram(port, (PEER, SERVER).into(), b"odd").expect("a way");
    assert!(host.shard.next_deadline() <= Some(host.now), "it leaves at once");
    assert_eq!(read(&host.sent_one()), ((port, SERVER), b"odd".to_vec()));
    host.receive(&from_peer(port, b"even"));
    assert_eq!(received(&mut host, port), Some(((PEER, SERVER).into(), b"even".to_vec())));
    assert_eq!(received(&mut host, port), None);
    assert_eq!((host.events(Event::DatagramSent), host.events(Event::DatagramReceived)), (1, 1));
    host.shard.unbind_datagrams(port);
    host.receive(&from_peer(port, b"late"));
    assert_eq!((received(&mut host, port), host.drops(DropReason::UdpNoListener)), (None, 1));
    assert!(host.sent().is_empty(), "nothing answers a datagram that nobody waits for");
    assert_eq!(host.shard.network.pool.in_use(), 0);
}

#[test]
fn every_payload_has_a_right_checksum_and_none_is_sent_as_no_checksum() {
    let mut host = Host::new();
    host.introduce_peer();
    // One of all payloads of two bytes makes a sum whose complement is zero.
    for word in (0..=u16::MAX).rev() {
        host.shard.send_datagram(514, (PEER, SERVER).into(), &word.to_be_bytes()).expect("a way");
        assert_eq!(read(&host.sent_one()).1, word.to_be_bytes());
    }
}

#[test]
fn the_neighbour_is_asked_for_first_and_few_wait_for_it() {
    let mut host = Host::new();
    let send = |host: &mut Host| host.shard.send_datagram(514, (PEER, SERVER).into(), b"?");
    let results: Vec<_> = (0..6).map(|_| send(&mut host)).collect();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 4);
    assert_eq!(results[5], Err(DropReason::NeighbourQueueFull));
    read_arp(&host.sent_one());
    host.receive(&arp(ArpOperation::Reply, PEER_MAC, PEER, OUR_MAC, US));
    let sent = host.sent();
    assert_eq!(sent.len(), 4);
    sent.iter().for_each(|frame| assert_eq!(read(frame).1, b"?"));
    assert_eq!(host.shard.network.pool.in_use(), 0);
}

#[test]
fn an_absent_neighbour_and_a_missing_route_are_named() {
    let mut host = Host::new();
    host.shard.send_datagram(514, (PEER, SERVER).into(), b"?").expect("a wait");
    for _ in 0..40 {
        host.advance(Duration::from_millis(100));
    }
    assert_eq!(host.drops(DropReason::NeighbourUnreachable), 1);
    assert_eq!(host.shard.network.pool.in_use(), 0);
    let to = |address: &str| SocketAddr::new(address.parse().expect("an address"), SERVER);
    let no_route = Err(DropReason::NoRoute);
    for nowhere in ["2001:db8::1", "127.0.0.1", "10.0.0.2", "10.0.0.255", "224.0.0.1", "0.0.0.0", "255.255.255.255"] {
        assert_eq!(host.shard.send_datagram(514, to(nowhere), b""), no_route, "{nowhere}");
    }
}

#[test]
fn what_does_not_fit_is_dropped_and_what_just_fits_is_sent() {
    let mut host = Host::new();
    host.introduce_peer();
    let remote = (PEER, SERVER).into();
    let most = host.shard.datagram_bytes_max(remote);
    assert_eq!(most, 1500 - 28);
    host.shard.send_datagram(514, remote, &vec![7; most]).expect("it fits");
    assert_eq!(host.sent_one().len(), 1514);
    assert_eq!(host.shard.send_datagram(514, remote, &vec![7; most + 1]), Err(DropReason::UdpTooLong));
}

#[test]
fn a_link_that_carries_more_than_a_buffer_holds_makes_no_longer_datagrams() {
    let device = Capabilities { mtu: 9000, ..capabilities() };
    let mut host = Host::with_device(0, 1, Ipv4Source::Static(configuration()), device);
    host.turn();
    host.device.frames.clear();
    host.introduce_peer();
    let remote = (PEER, SERVER).into();
    let most = host.shard.datagram_bytes_max(remote);
    assert_eq!(host.shard.send_datagram(514, remote, &vec![7; most + 1]), Err(DropReason::UdpTooLong));
    host.shard.send_datagram(514, remote, &vec![7; most]).expect("it fits");
    assert_eq!(host.sent_one().len(), most + 42);
}

#[test]
fn queues_and_ports_are_bounded() {
    let mut host = Host::new();
    host.introduce_peer();
    let ports: Vec<u16> = core::iter::from_fn(|| host.shard.bind_datagrams(5)).collect();
    assert_eq!(ports.len(), DATAGRAM_PORTS_MAX);
    let mut distinct = ports.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), ports.len());
    for _ in 0..6 {
        host.receive(&from_peer(ports[3], b"!"));
    }
    assert_eq!((host.drops(DropReason::UdpQueueFull), host.shard.network.pool.in_use()), (2, 4));
    ports.iter().for_each(|&port| host.shard.unbind_datagrams(port));
    assert_eq!(host.shard.network.pool.in_use(), 0);
    let sent = (0..POOL_BUFFERS).filter(|_| host.shard.send_datagram(514, (PEER, 514).into(), b"x").is_ok()).count();
    assert_eq!(sent, 128);
    host.device.room = 0;
    assert!(host.sent().is_empty());
    host.device.room = 64;
    assert_eq!(host.sent().len(), 128);
    assert_eq!(host.shard.network.pool.in_use(), 0);
}

#[test]
fn random_numbers_reach_every_port_of_a_core_and_no_other() {
    for cores in [1_usize, 3, 64] {
        let mut host = Host::with(cores - 1, cores, Ipv4Source::Static(configuration()));
        let share = (DATAGRAM_PORTS.len() - (cores - 1)).div_ceil(cores);
        let mut seen = vec![false; 65_536];
        for random in 0..share as u64 {
            let port = host.shard.bind_datagrams(random + (share as u64) * 1_000).expect("a port");
            assert_eq!(usize::from(port - DATAGRAM_PORTS.start()) % cores, cores - 1);
            assert!(!core::mem::replace(&mut seen[usize::from(port)], true));
            host.shard.unbind_datagrams(port);
        }
    }
}

#[test]
fn bad_datagrams_are_named() {
    let mut host = Host::new();
    let port = host.shard.bind_datagrams(9).expect("a port");
    let good = udp(PEER.into(), US.into(), (SERVER, port), b"good");
    let mut flipped = good.clone();
    flipped[9] ^= 4;
    let mut too_long = good.clone();
    too_long[5] += 1;
    let mut too_short = good.clone();
    too_short[5] = 7;
    for (bytes, reason) in [
        (&flipped[..], DropReason::UdpChecksum),
        (&too_long, DropReason::UdpMalformed),
        (&too_short, DropReason::UdpMalformed),
        (&good[..7], DropReason::Truncated),
    ] {
        let before = host.drops(reason);
        host.receive(&ipv4(PEER, US, IpProtocol::Udp, bytes));
        assert_eq!(host.drops(reason), before + 1, "{reason}");
    }
    let chain = udp(PEER.into(), US.into(), (SERVER, port), &[0; 4_000]);
    host.receive(&ipv4(PEER, US, IpProtocol::Udp, &chain));
    assert_eq!(host.drops(DropReason::UdpMalformed), 3);
    assert_eq!(received(&mut host, port), None);
    // Verified by the device; without a checksum; and shorter than its packet.
    host.receive_as(&ipv4(PEER, US, IpProtocol::Udp, &flipped), ChecksumStatus::Verified);
    let mut without = good.clone();
    (without[6], without[7]) = (0, 0);
    host.receive(&ipv4(PEER, US, IpProtocol::Udp, &without));
    let mut padded = good.clone();
    padded.extend_from_slice(&[9; 5]);
    host.receive(&ipv4(PEER, US, IpProtocol::Udp, &padded));
    assert!(received(&mut host, port).is_some());
    for _ in 0..2 {
        assert_eq!(received(&mut host, port).map(|(_, payload)| payload), Some(b"good".to_vec()));
    }
    assert_eq!(host.shard.network.pool.in_use(), 0);
}

#[test]
fn a_datagram_on_the_wrong_queue_goes_home_and_a_flood_is_limited() {
    let [mut first, mut second] = [0, 1].map(|core| {
        let mut host = Host::with(core, 2, Ipv4Source::Static(configuration()));
        host.sent();
        host
    });
    let port = first.shard.bind_datagrams(1).expect("a port");
    second.receive(&from_peer(port, b"answer"));
    assert_eq!(second.events(Event::FrameForwarded), 1);
    carry(&mut first, &mut second);
    assert_eq!(received(&mut first, port).map(|(_, payload)| payload), Some(b"answer".to_vec()));
    assert_eq!(second.shard.network.pool.in_use(), 0);
    // Nobody's, at its owner, comes from the ring and goes nowhere else.
    second.receive(&from_peer(port + 2, b"stray"));
    carry(&mut first, &mut second);
    assert_eq!((first.drops(DropReason::UdpNoListener), first.events(Event::FrameForwarded)), (1, 0));
    for _ in 0..1_000 {
        second.receive(&from_peer(port, b"flood"));
        carry(&mut first, &mut second);
    }
    assert!(second.drops(DropReason::UdpLimited) > 900);
    first.shard.unbind_datagrams(port);
    assert_eq!((first.shard.network.pool.in_use(), second.shard.network.pool.in_use()), (0, 0));
}

#[test]
fn rfc8200_8_1_ipv6_has_no_datagrams_without_checksum() {
    let [us, peer] = [2, 9].map(|host| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host));
    let mut host = Host::new();
    host.shard.configure_ipv6(Some(Ipv6Configuration { address: us, prefix_len: 64, gateway: None }));
    host.sent();
    let port = host.shard.bind_datagrams(123).expect("a port");
    let good = udp(peer.into(), us.into(), (SERVER, port), b"six");
    host.receive(&ipv6(peer, us, IpProtocol::Udp, 64, &good));
    assert_eq!(received(&mut host, port), Some(((peer, SERVER).into(), b"six".to_vec())));
    let mut without = good;
    (without[6], without[7]) = (0, 0);
    host.receive(&ipv6(peer, us, IpProtocol::Udp, 64, &without));
    assert_eq!((received(&mut host, port), host.drops(DropReason::UdpChecksum)), (None, 1));
    // The way back: the neighbour is asked for, since a datagram teaches nothing.
    host.shard.send_datagram(port, (peer, SERVER).into(), b"back").expect("a wait");
    let question = host.sent_one();
    let frame = EthernetFrame::new_checked(&question[..]).expect("a frame");
    let packet = Ipv6Packet::new_checked(frame.payload()).expect("a packet");
    assert_eq!(Ipv6Repr::parse(&packet).expect("a header").next_header, IpProtocol::Icmpv6);
    host.shard.network.hear_of(peer.into(), PEER_MAC.into(), false);
    let sent = host.sent_one();
    let frame = EthernetFrame::new_checked(&sent[..]).expect("a frame");
    let packet = Ipv6Packet::new_checked(frame.payload()).expect("a packet");
    let datagram = UdpPacket::new_checked(packet.payload()).expect("a datagram");
    assert!(datagram.verify_checksum(&us.into(), &peer.into()));
    assert_eq!((datagram.src_port(), datagram.payload()), (port, &b"back"[..]));
    assert!(host.now > Instant::default());
}
