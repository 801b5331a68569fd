//! RFC 826 and RFC 5227.

use core::net::Ipv4Addr;
use core::time::Duration;

use smoltcp::wire::{ArpOperation, ArpRepr, EthernetAddress};
use weir_socket::{Sockets, Token};

use super::wire::{Host, OUR_MAC, PEER, PEER_MAC, ROUTER, US, arp, configuration, read_arp};
use crate::{DropReason, Event, Ipv4Source, ShardEvent};

pub const OTHER_MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 7];

/// Sender and target of the questions among `frames`.
pub fn questions(frames: &[Vec<u8>]) -> Vec<(Ipv4Addr, Ipv4Addr)> {
    let arps = frames.iter().filter(|frame| frame[12..14] == [8, 6]).map(|frame| read_arp(frame).1);
    arps.filter_map(|arp| match arp {
        ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Request, source_protocol_addr, target_protocol_addr, ..
        } => Some((source_protocol_addr, target_protocol_addr)),
        _ => None,
    })
    .collect()
}

#[test]
fn a_request_for_our_address_is_answered_to_its_sender() {
    let mut host = Host::new();
    host.receive(&arp(ArpOperation::Request, PEER_MAC, PEER, [0; 6], US));
    let (frame, reply) = read_arp(&host.sent_one());
    assert_eq!((frame.dst_addr.0, frame.src_addr.0), (PEER_MAC, OUR_MAC));
    let expected = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Reply,
        source_hardware_addr: EthernetAddress(OUR_MAC),
        source_protocol_addr: US,
        target_hardware_addr: EthernetAddress(PEER_MAC),
        target_protocol_addr: PEER,
    };
    assert_eq!(reply, expected);
}

#[test]
fn a_request_for_another_address_is_none_of_our_business() {
    let mut host = Host::new();
    host.receive(&arp(ArpOperation::Request, PEER_MAC, PEER, [0; 6], Ipv4Addr::new(10, 0, 0, 77)));
    assert!(host.sent().is_empty());
    assert_eq!(host.drops(DropReason::ArpOtherHost), 1);
    assert_eq!(host.shard.network.neighbours.len(), 1, "the gateway alone");
}

#[test]
fn rfc5227_2_1_1_a_probe_is_answered_and_teaches_nothing() {
    let mut host = Host::new();
    host.receive(&arp(ArpOperation::Request, PEER_MAC, Ipv4Addr::UNSPECIFIED, [0; 6], US));
    assert_eq!(read_arp(&host.sent_one()).0.dst_addr.0, PEER_MAC);
    assert_eq!(host.shard.network.neighbours.len(), 1, "the gateway alone");
}

#[test]
fn at_boot_the_address_is_announced_and_the_gateway_asked_for() {
    let mut host = Host::with(0, 1, Ipv4Source::Static(configuration()));
    assert_eq!(questions(&host.sent()), [(Ipv4Addr::UNSPECIFIED, US), (US, US), (US, ROUTER)]);
}

#[test]
fn rfc5227_2_4_another_station_with_our_address_is_reported_once() {
    let mut host = Host::new();
    for _ in 0..10 {
        host.receive(&arp(ArpOperation::Reply, PEER_MAC, US, OUR_MAC, US));
    }
    assert_eq!(host.events(Event::AddressConflict), 10);
    assert_eq!(host.shard.poll_shard_event(), Some(ShardEvent::AddressConflict { address: US.into(), mac: PEER_MAC }));
    assert_eq!(host.shard.poll_shard_event(), None);
}

#[test]
fn a_connect_waits_for_its_neighbour_and_goes_out_when_it_answers() {
    let mut host = Host::new();
    host.shard.connect((PEER, 80).into(), Token(1)).expect("a flow");
    let (frame, _) = read_arp(&host.sent_one());
    assert_eq!(frame.dst_addr.0, [0xff; 6]);
    host.receive(&arp(ArpOperation::Reply, PEER_MAC, PEER, OUR_MAC, US));
    let syn = host.sent_one();
    assert_eq!(syn[..6], PEER_MAC);
    super::wire::read_tcp4(&syn, |ip, tcp| {
        assert_eq!((ip.src_addr, ip.dst_addr, tcp.dst_port), (US, PEER, 80));
        assert_eq!(tcp.control, smoltcp::wire::TcpControl::Syn);
    });
    assert_eq!(
        host.shard.gauges().find(|g| g.0 == "packets_waiting_for_neighbour"),
        Some(("packets_waiting_for_neighbour", 0))
    );
}

#[test]
fn a_neighbour_that_does_not_answer_is_asked_three_times_and_then_unreachable() {
    let mut host = Host::new();
    host.shard.connect((PEER, 80).into(), Token(1)).expect("a flow");
    let mut asked = host.sent().len();
    for _ in 0..40 {
        host.advance(Duration::from_millis(100));
        asked += questions(&host.sent()).iter().filter(|question| question.1 == PEER).count();
    }
    assert_eq!(asked, 3, "the gateway, asked for at boot, not counted");
    assert!(host.events(Event::NeighbourFailed) >= 1);
    assert!(host.drops(DropReason::NeighbourUnreachable) >= 1);
}

#[test]
fn a_flood_of_unasked_replies_leaves_no_trace() {
    let mut host = Host::new();
    for n in 0..10_000_u32 {
        let sender = Ipv4Addr::new(10, 0, 0, (n % 200 + 20) as u8);
        host.receive(&arp(ArpOperation::Reply, OTHER_MAC, sender, OUR_MAC, US));
    }
    assert_eq!(host.shard.network.neighbours.len(), 1, "the gateway alone");
    assert_eq!(host.drops(DropReason::ArpUnsolicited), 10_000);
    assert_eq!(host.shard.network.pool.in_use(), 0);
}

#[test]
fn an_announcement_moves_a_known_neighbour() {
    let mut host = Host::new();
    host.introduce_peer();
    host.receive(&arp(ArpOperation::Request, OTHER_MAC, PEER, [0; 6], PEER));
    assert_eq!(host.events(Event::NeighbourMoved), 1);
    host.shard.connect((PEER, 80).into(), Token(1)).expect("a flow");
    let frames = host.sent();
    let syn = frames.iter().find(|frame| frame[12..14] == [8, 0]).expect("a SYN");
    assert_eq!(syn[..6], OTHER_MAC);
}

use alloc::vec::Vec;
