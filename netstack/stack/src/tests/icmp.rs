//! RFC 792 and RFC 1122 3.2.2.

use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{EthernetFrame, Icmpv4DstUnreachable, Icmpv4Packet, Icmpv4Repr, IpProtocol, Ipv4Packet, Ipv4Repr};

use super::wire::{Host, OUR_MAC, PEER, PEER_MAC, US, ipv4};
use crate::{DropReason, Event};

fn icmp(repr: &Icmpv4Repr<'_>) -> Vec<u8> {
    let mut bytes = vec![0; repr.buffer_len()];
    repr.emit(&mut Icmpv4Packet::new_unchecked(&mut bytes[..]), &ChecksumCapabilities::default());
    bytes
}

fn ping(data: &[u8]) -> Vec<u8> {
    ipv4(PEER, US, IpProtocol::Icmp, &icmp(&Icmpv4Repr::EchoRequest { ident: 7, seq_no: 3, data }))
}

fn unreachable(local: Ipv4Addr, reason: Icmpv4DstUnreachable) -> Vec<u8> {
    let header =
        Ipv4Repr { src_addr: local, dst_addr: PEER, next_header: IpProtocol::Tcp, payload_len: 20, hop_limit: 60 };
    let repr = Icmpv4Repr::DstUnreachable { reason, header, data: &[0x80, 0, 0, 80, 0, 0, 0, 1] };
    ipv4(PEER, US, IpProtocol::Icmp, &icmp(&repr))
}

#[test]
fn rfc1122_3_2_2_6_an_echo_request_comes_back_with_its_data() {
    let mut host = Host::new();
    for len in [0, 1, 55, 56, 1472] {
        let data: Vec<u8> = (0..len).map(|n| n as u8).collect();
        host.receive(&ping(&data));
        let bytes = host.sent_one();
        let frame = EthernetFrame::new_checked(&bytes[..]).expect("a frame");
        assert_eq!((frame.dst_addr().0, frame.src_addr().0), (PEER_MAC, OUR_MAC));
        let packet = Ipv4Packet::new_checked(frame.payload()).expect("a packet");
        let header = Ipv4Repr::parse(&packet, &ChecksumCapabilities::default()).expect("intact");
        assert_eq!((header.src_addr, header.dst_addr), (US, PEER));
        let reply = Icmpv4Packet::new_checked(packet.payload()).expect("a message");
        let reply = Icmpv4Repr::parse(&reply, &ChecksumCapabilities::default()).expect("intact");
        assert_eq!(reply, Icmpv4Repr::EchoReply { ident: 7, seq_no: 3, data: &data });
    }
    assert_eq!(host.shard.network.pool.in_use(), 0);
}

#[test]
fn a_broken_checksum_is_counted_and_not_answered() {
    let mut host = Host::new();
    let mut frame = ping(b"hello");
    *frame.last_mut().expect("a byte") ^= 1;
    host.receive(&frame);
    assert!(host.sent().is_empty());
    assert_eq!(host.drops(DropReason::IcmpChecksum), 1);
}

#[test]
fn rfc1122_3_2_2_6_an_echo_request_to_everybody_is_ignored() {
    let mut host = Host::new();
    let request = icmp(&Icmpv4Repr::EchoRequest { ident: 7, seq_no: 3, data: b"smurf" });
    for destination in [Ipv4Addr::BROADCAST, Ipv4Addr::new(10, 0, 0, 255), Ipv4Addr::new(224, 0, 0, 1)] {
        host.receive(&ipv4(PEER, destination, IpProtocol::Icmp, &request));
    }
    let mut to_all = ping(b"smurf");
    to_all[..6].copy_from_slice(&[0xff; 6]);
    host.receive(&to_all);
    assert!(host.sent().is_empty());
}

#[test]
fn a_flood_of_requests_is_answered_at_a_bounded_rate() {
    let mut host = Host::new();
    let mut answered = 0;
    for _ in 0..1000 {
        host.receive(&ping(b"flood"));
        answered += host.sent().len();
    }
    assert_eq!(answered, 100);
    assert_eq!(host.drops(DropReason::IcmpRateLimited), 900);
    host.advance(Duration::from_millis(10));
    host.sent();
    host.receive(&ping(b"later"));
    assert_eq!(host.sent().len(), 1);
}

#[test]
fn an_error_about_nothing_that_we_sent_is_not_believed() {
    let mut host = Host::new();
    host.receive(&unreachable(PEER, Icmpv4DstUnreachable::PortUnreachable));
    assert_eq!(host.drops(DropReason::IcmpErrorInvalid), 1);
    host.receive(&unreachable(US, Icmpv4DstUnreachable::PortUnreachable));
    assert_eq!(host.drops(DropReason::IcmpErrorStray), 1, "ours, but there is no such flow");
    assert_eq!(host.events(Event::IcmpErrorDelivered), 0);
}

#[test]
fn rfc9293_3_9_2_2_source_quench_and_time_exceeded_reach_no_flow() {
    use weir_socket::{Sockets, Token};
    let mut host = Host::new();
    host.introduce_peer();
    let flow = host.shard.connect((PEER, 80).into(), Token(1)).expect("a flow");
    let syn = host.sent().pop().expect("a SYN");
    // Types 4 (source quench), 11 (time exceeded) and 12 (parameter problem), each quoting the SYN.
    for kind in [4, 11, 12] {
        let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(&syn[14..42]);
        let sum = crate::checksum::Sum::ZERO.add(&message).checksum();
        message[2..4].copy_from_slice(&sum);
        host.receive(&ipv4(PEER, US, IpProtocol::Icmp, &message));
    }
    assert_eq!((host.drops(DropReason::IcmpIgnored), host.events(Event::IcmpErrorDelivered)), (3, 0));
    assert!(host.shard.poll_event().is_none(), "nobody is told");
    host.shard.abort(flow);
}

#[test]
fn an_error_about_a_connect_reaches_its_flow() {
    use weir_socket::{Sockets, Token};
    let mut host = Host::new();
    host.introduce_peer();
    let flow = host.shard.connect((PEER, 80).into(), Token(1)).expect("a flow");
    let syn = host.sent().pop().expect("a SYN");
    let header =
        Ipv4Repr { src_addr: US, dst_addr: PEER, next_header: IpProtocol::Tcp, payload_len: 20, hop_limit: 60 };
    let reason = Icmpv4DstUnreachable::PortUnreachable;
    let error = icmp(&Icmpv4Repr::DstUnreachable { reason, header, data: &syn[34..42] });
    host.receive(&ipv4(PEER, US, IpProtocol::Icmp, &error));
    assert_eq!(host.events(Event::IcmpErrorDelivered), 1);
    host.shard.abort(flow);
}
