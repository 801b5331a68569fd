//! RFC 2131: a lease is obtained, renewed, lost and obtained again.

use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpRepr, DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    IpProtocol, Ipv4Packet, UdpPacket, UdpRepr,
};
use weir_packet::frame::ChecksumStatus;
use weir_socket::{CloseReason, Event, FlowId, Readiness, Received, Sockets, Token};

use super::arp::OTHER_MAC;
use super::wire::{Host, OUR_MAC, PEER, PEER_MAC, ROUTER, US, arp, configuration, ipv4, read_arp};
use crate::control::PATIENCE;
use crate::{DropReason, Ipv4Source, Message, ShardEvent};

const LEASE: u32 = 3600;

/// What a client said: the message, its transaction, the destination of the packet, and the options that name addresses.
struct Said {
    message: DhcpMessageType,
    transaction: u32,
    destination: Ipv4Addr,
    requested: Option<Ipv4Addr>,
    server: Option<Ipv4Addr>,
}

/// The DHCP messages among `frames`.
fn read(frames: &[Vec<u8>]) -> Vec<Said> {
    let mut said = Vec::new();
    for bytes in frames {
        let frame = EthernetFrame::new_checked(&bytes[..]).expect("a frame");
        if frame.ethertype() != EthernetProtocol::Ipv4 {
            continue;
        }
        let packet = Ipv4Packet::new_checked(frame.payload()).expect("a packet");
        assert_eq!(packet.next_header(), IpProtocol::Udp);
        let datagram = UdpPacket::new_checked(packet.payload()).expect("a datagram");
        assert!(datagram.verify_checksum(&packet.src_addr().into(), &packet.dst_addr().into()));
        assert_eq!((datagram.src_port(), datagram.dst_port()), (68, 67));
        let dhcp = DhcpPacket::new_checked(datagram.payload()).expect("a DHCP packet");
        let repr = DhcpRepr::parse(&dhcp).expect("a DHCP message");
        assert_eq!(repr.client_hardware_address, EthernetAddress(OUR_MAC));
        let destination = packet.dst_addr();
        let (message, transaction) = (repr.message_type, repr.transaction_id);
        let (requested, server) = (repr.requested_ip, repr.server_identifier);
        said.push(Said { message, transaction, destination, requested, server });
    }
    said
}

/// The router's answer.
fn answer(message_type: DhcpMessageType, transaction_id: u32, destination: Ipv4Addr) -> Vec<u8> {
    answer_with(US, message_type, transaction_id, destination)
}

/// The router's answer with an address.
fn answer_with(
    your_ip: Ipv4Addr,
    message_type: DhcpMessageType,
    transaction_id: u32,
    destination: Ipv4Addr,
) -> Vec<u8> {
    let repr = DhcpRepr {
        message_type,
        transaction_id,
        secs: 0,
        client_hardware_address: EthernetAddress(OUR_MAC),
        client_ip: Ipv4Addr::UNSPECIFIED,
        your_ip,
        server_ip: ROUTER,
        router: Some(ROUTER),
        subnet_mask: Some(Ipv4Addr::new(255, 255, 255, 0)),
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        broadcast: false,
        requested_ip: None,
        client_identifier: None,
        server_identifier: Some(ROUTER),
        parameter_request_list: None,
        dns_servers: Some([ROUTER].into_iter().collect()),
        max_size: None,
        lease_duration: Some(LEASE),
        renew_duration: None,
        rebind_duration: None,
        additional_options: &[],
    };
    let udp = UdpRepr { src_port: 67, dst_port: 68 };
    let mut bytes = vec![0; 8 + repr.buffer_len()];
    let mut datagram = UdpPacket::new_unchecked(&mut bytes[..]);
    udp.emit(
        &mut datagram,
        &ROUTER.into(),
        &destination.into(),
        repr.buffer_len(),
        |payload| repr.emit(&mut DhcpPacket::new_unchecked(payload)).expect("room"),
        &ChecksumCapabilities::default(),
    );
    ipv4(ROUTER, destination, IpProtocol::Udp, &bytes)
}

/// An offer, for tests that need any frame of DHCP's.
pub fn offer_frame() -> Vec<u8> {
    answer(DhcpMessageType::Offer, 1, US)
}

/// Plays the server until the host has its lease.
fn lease(host: &mut Host) {
    let discover = read(&host.sent()).pop().expect("a DISCOVER");
    assert_eq!((discover.message, discover.destination), (DhcpMessageType::Discover, Ipv4Addr::BROADCAST));
    // The address is offered in unicast, although nobody has it yet (RFC 2131 4.1).
    host.receive(&answer(DhcpMessageType::Offer, discover.transaction, US));
    let request = read(&host.sent()).pop().expect("a REQUEST");
    assert_eq!((request.message, request.destination), (DhcpMessageType::Request, Ipv4Addr::BROADCAST));
    assert_eq!(host.shard.ipv4(), None);
    host.receive(&answer(DhcpMessageType::Ack, request.transaction, Ipv4Addr::BROADCAST));
    host.shard.handle_timers();
    assert_eq!(host.shard.ipv4().map(|v4| (v4.address, v4.prefix_len, v4.gateway)), Some((US, 24, Some(ROUTER))));
    assert_eq!(host.shard.ipv4().map(|v4| v4.dns), Some([Some(ROUTER), None, None]));
    assert!(matches!(host.shard.poll_shard_event(), Some(ShardEvent::Ipv4Configured(c)) if c.address == US));
}

/// The router's place on the link becomes known, as it does when it is asked.
fn introduce_router(host: &mut Host) {
    host.receive(&arp(ArpOperation::Reply, PEER_MAC, ROUTER, OUR_MAC, US));
}

#[test]
fn rfc2131_3_1_discover_offer_request_ack() {
    let mut host = Host::with(0, 1, Ipv4Source::Dhcp);
    lease(&mut host);
    let announced = super::arp::questions(&host.sent());
    assert_eq!(announced[..2], [(Ipv4Addr::UNSPECIFIED, US), (US, US)]);
    assert_eq!(host.shard.network.pool.in_use(), 0);
    // An idle client sleeps until its lease is due for renewal, but for the gateway that it has asked for, and the second
    // announcement.
    introduce_router(&mut host);
    host.advance(Duration::from_secs(2));
    host.sent();
    let deadline = host.shard.next_deadline().expect("the renewal");
    assert!(deadline.since(host.now) > Duration::from_secs(1700), "{:?}", deadline.since(host.now));
}

#[test]
fn without_a_server_the_client_says_so_and_keeps_asking() {
    let mut host = Host::with(0, 1, Ipv4Source::Dhcp);
    let mut asked = 0;
    let mut said = Vec::new();
    for _ in 0..300 {
        host.advance(Duration::from_millis(100));
        asked += read(&host.sent()).len();
        said.extend(core::iter::from_fn(|| host.shard.poll_shard_event()).map(|event| (host.now, event)));
    }
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].1, ShardEvent::NoAddress(PATIENCE));
    assert!((6..=10).contains(&asked), "{asked} times in 30 seconds");
    lease_late(&mut host);
}

fn lease_late(host: &mut Host) {
    for _ in 0..100 {
        host.advance(Duration::from_millis(100));
        if let Some(discover) = read(&core::mem::take(&mut host.device.frames)).pop() {
            host.receive(&answer(DhcpMessageType::Offer, discover.transaction, US));
            let request = read(&host.sent()).pop().expect("a REQUEST");
            host.receive(&answer(DhcpMessageType::Ack, request.transaction, US));
            host.shard.handle_timers();
            assert!(host.shard.ipv4().is_some());
            return;
        }
    }
    panic!("the client gave up");
}

#[test]
fn rfc2131_4_4_5_the_lease_is_renewed_in_unicast_and_stays() {
    let mut host = Host::with(0, 1, Ipv4Source::Dhcp);
    lease(&mut host);
    introduce_router(&mut host);
    host.sent();
    let mut renewed = 0;
    for _ in 0..2 * LEASE {
        host.advance(Duration::from_secs(1));
        for frame in core::mem::take(&mut host.device.frames) {
            if frame[12..14] == [8, 6] {
                introduce_router(&mut host);
                continue;
            }
            for said in read(&[frame]) {
                assert_eq!((said.message, said.destination), (DhcpMessageType::Request, ROUTER));
                host.receive(&answer(DhcpMessageType::Ack, said.transaction, US));
                renewed += 1;
            }
        }
        assert!(host.shard.ipv4().is_some());
    }
    assert!((3..=4).contains(&renewed), "{renewed} times in two hours");
    assert_eq!(host.shard.poll_shard_event(), None, "nothing has changed");
}

#[test]
fn rfc2131_4_4_5_a_lease_that_nobody_renews_ends() {
    let mut host = Host::with(0, 1, Ipv4Source::Dhcp);
    lease(&mut host);
    let mut broadcasts = 0;
    while host.shard.ipv4().is_some() {
        host.advance(Duration::from_secs(1));
        let frames = core::mem::take(&mut host.device.frames);
        broadcasts += read(&frames).iter().filter(|said| said.destination.is_broadcast()).count();
        assert!(host.now.as_millis() < 2 * u64::from(LEASE) * 1000, "the lease outlived itself");
    }
    assert!(broadcasts >= 1, "rebinding asks everybody");
    // The router did not answer when the renewal was to be sent through it.
    let said: Vec<_> = core::iter::from_fn(|| host.shard.poll_shard_event()).collect();
    assert_eq!(said, [ShardEvent::RouterSilent(ROUTER.into()), ShardEvent::Ipv4Lost]);
    lease_late(&mut host);
}

#[test]
fn the_other_cores_pass_answers_on_and_hear_of_the_lease() {
    let mut first = Host::with(0, 2, Ipv4Source::Dhcp);
    let mut second = Host::with(1, 2, Ipv4Source::Dhcp);
    assert!(second.sent().is_empty(), "only core 0 asks");
    let discover = read(&first.sent()).pop().expect("a DISCOVER");
    second.receive(&answer(DhcpMessageType::Offer, discover.transaction, US));
    super::steering::carry(&mut first, &mut second);
    let request = read(&first.sent()).pop().expect("a REQUEST");
    second.receive(&answer(DhcpMessageType::Ack, request.transaction, US));
    super::steering::carry(&mut first, &mut second);
    first.shard.handle_timers();
    super::steering::carry(&mut first, &mut second);
    assert_eq!(first.shard.ipv4(), second.shard.ipv4());
    assert!(second.shard.ipv4().is_some());
    assert_eq!(second.shard.poll_shard_event(), None, "said once, by the control core");
    first.sent();
    assert!(
        second
            .sent()
            .iter()
            .all(|frame| matches!(read_arp(frame).1, ArpRepr::EthernetIpv4 { target_protocol_addr: ROUTER, .. }))
    );
    assert_eq!((first.shard.network.pool.in_use(), second.shard.network.pool.in_use()), (0, 0));
}

/// Time passes until the lease is to be renewed; the request.
fn until_renewal(host: &mut Host) -> Said {
    introduce_router(host);
    host.sent();
    for _ in 0..LEASE {
        host.advance(Duration::from_secs(1));
        introduce_router(host);
        if let Some(request) = read(&core::mem::take(&mut host.device.frames)).pop() {
            assert_eq!((request.message, request.destination), (DhcpMessageType::Request, ROUTER));
            return request;
        }
    }
    panic!("the lease was not renewed");
}

#[test]
fn rfc2131_4_4_5_a_refused_renewal_ends_the_lease_at_once() {
    let mut host = Host::with(0, 1, Ipv4Source::Dhcp);
    lease(&mut host);
    let request = until_renewal(&mut host);
    host.receive(&answer(DhcpMessageType::Nak, request.transaction, Ipv4Addr::BROADCAST));
    let discover = read(&host.sent()).pop().expect("a DISCOVER");
    assert_eq!((discover.message, host.shard.ipv4()), (DhcpMessageType::Discover, None));
    assert_eq!(host.shard.poll_shard_event(), Some(ShardEvent::Ipv4Lost));
}

/// What flows of the old address could send would be answered to nobody.
#[test]
fn flows_of_an_address_end_when_another_one_comes_in_its_place() {
    let mut host = Host::with(0, 1, Ipv4Source::Dhcp);
    lease(&mut host);
    let request = until_renewal(&mut host);
    let flow = host.shard.connect((PEER, 80).into(), Token(1)).expect("a flow");
    host.turn();
    let other = Ipv4Addr::new(10, 0, 0, 77);
    host.receive(&answer_with(other, DhcpMessageType::Ack, request.transaction, US));
    host.turn();
    assert!(matches!(host.shard.poll_shard_event(), Some(ShardEvent::Ipv4Configured(c)) if c.address == other));
    assert_eq!(host.shard.ipv4().map(|v4| v4.address), Some(other));
    let ended = core::iter::from_fn(|| host.shard.poll_event()).any(|event| is_end_of(event, flow));
    assert!(ended && matches!(host.shard.receive(flow), Received::Closed(CloseReason::Unreachable)));
    let flow = host.shard.connect((PEER, 80).into(), Token(1)).expect("a flow");
    assert_eq!(host.shard.local_address(flow).map(|local| local.ip()), Some(other.into()));
}

fn is_end_of(event: Event, ended: FlowId) -> bool {
    matches!(event, Event::Flow { flow, ready, .. } if flow == ended && ready.contains(Readiness::CLOSED))
}

/// What the client sends when the link is up again, with the lease it has.
fn after_link_up(host: &mut Host) -> Said {
    lease(host);
    introduce_router(host);
    host.sent();
    host.shard.handle_link_up();
    let request = read(&host.sent()).pop().expect("a REQUEST");
    assert_eq!((request.message, request.destination), (DhcpMessageType::Request, Ipv4Addr::BROADCAST));
    request
}

#[test]
fn rfc2131_3_7_after_the_link_was_gone_the_lease_is_checked_and_stays_when_the_server_agrees() {
    let mut host = Host::with(0, 1, Ipv4Source::Dhcp);
    let request = after_link_up(&mut host);
    host.receive(&answer(DhcpMessageType::Ack, request.transaction, US));
    for _ in 0..20 {
        host.advance(Duration::from_secs(1));
    }
    assert!(read(&host.sent()).is_empty(), "it has agreed");
    assert!(host.shard.ipv4().is_some());
}

#[test]
fn rfc2131_3_2_a_lease_that_nobody_says_anything_of_stays() {
    let mut host = Host::with(0, 1, Ipv4Source::Dhcp);
    after_link_up(&mut host);
    for _ in 0..60 {
        host.advance(Duration::from_secs(1));
    }
    assert_eq!((read(&host.sent()).len(), host.shard.ipv4().is_some()), (3, true));
}

#[test]
fn rfc2131_3_2_a_lease_that_is_refused_after_the_link_was_gone_ends() {
    let mut host = Host::with(0, 1, Ipv4Source::Dhcp);
    let request = after_link_up(&mut host);
    host.receive(&answer(DhcpMessageType::Nak, request.transaction ^ 1, Ipv4Addr::BROADCAST));
    host.turn();
    assert!(host.shard.ipv4().is_some(), "another question's answer");
    host.receive(&answer(DhcpMessageType::Nak, request.transaction, Ipv4Addr::BROADCAST));
    let discover = read(&host.sent()).pop().expect("a DISCOVER");
    assert_eq!((discover.message, host.shard.ipv4()), (DhcpMessageType::Discover, None));
    assert_eq!(host.shard.poll_shard_event(), Some(ShardEvent::Ipv4Lost));
}

#[test]
fn without_a_lease_a_server_is_looked_for_as_soon_as_the_link_is_up() {
    let mut host = Host::with(0, 1, Ipv4Source::Dhcp);
    host.sent();
    host.advance(Duration::from_millis(100));
    assert!(read(&host.sent()).is_empty());
    host.shard.handle_link_up();
    assert_eq!(read(&host.sent()).pop().map(|said| said.message), Some(DhcpMessageType::Discover));
}

/// As a server on the same host sends it, through a device that is to complete the sum, and no device does.
#[test]
fn a_partial_checksum_is_good_if_the_device_says_so_and_bad_otherwise() {
    let mut host = Host::with(0, 1, Ipv4Source::Dhcp);
    let discover = read(&host.sent()).pop().expect("a DISCOVER");
    let mut offer = answer(DhcpMessageType::Offer, discover.transaction, Ipv4Addr::BROADCAST);
    offer[40] ^= 0x55;
    host.receive(&offer);
    assert!(read(&host.sent()).is_empty());
    assert_eq!(host.drops(DropReason::UdpChecksum), 1);
    host.receive_as(&offer, ChecksumStatus::Verified);
    let request = read(&host.sent()).pop().expect("a REQUEST");
    assert_eq!(request.message, DhcpMessageType::Request);
}

/// Somebody answers the question whether the address is free.
fn rival() -> Vec<u8> {
    arp(ArpOperation::Reply, OTHER_MAC, US, OUR_MAC, Ipv4Addr::UNSPECIFIED)
}

#[test]
fn rfc2131_3_1_5_a_new_address_that_another_station_has_is_declined_and_asked_for_again_ten_seconds_later() {
    let mut host = Host::with(0, 1, Ipv4Source::Dhcp);
    lease(&mut host);
    host.sent();
    host.receive(&rival());
    let said = read(&host.sent()).pop().expect("a DECLINE");
    assert_eq!((said.message, said.destination), (DhcpMessageType::Decline, Ipv4Addr::BROADCAST));
    assert_eq!((said.requested, said.server), (Some(US), Some(ROUTER)));
    assert_eq!((host.shard.ipv4(), host.events(crate::Event::AddressDeclined)), (None, 1));
    let events: Vec<_> = core::iter::from_fn(|| host.shard.poll_shard_event()).collect();
    let conflict = ShardEvent::AddressConflict { address: US.into(), mac: OTHER_MAC };
    assert_eq!(events, [conflict, ShardEvent::AddressDeclined(US)]);
    // It is not ours any more, and nothing of a server is heard before the next question.
    host.receive(&rival());
    host.receive(&answer(DhcpMessageType::Offer, said.transaction, US));
    host.shard.handle_link_up();
    for _ in 0..99 {
        host.advance(Duration::from_millis(100));
    }
    assert!(read(&host.sent()).is_empty(), "RFC 2131 3.1 (5): at least ten seconds");
    host.advance(Duration::from_millis(100));
    lease(&mut host);
    host.sent();
    assert_eq!(host.shard.network.pool.in_use(), 0);
}

/// RFC 5227 2.4 (c): connections use it, and nothing authenticates such a word.
#[test]
fn a_leased_address_that_has_been_in_use_is_kept_and_so_is_one_that_was_given() {
    let mut host = Host::with(0, 1, Ipv4Source::Dhcp);
    lease(&mut host);
    host.advance(Duration::from_secs(11));
    host.sent();
    host.receive(&rival());
    assert!(read(&host.sent()).is_empty());
    assert!(host.shard.ipv4().is_some());
    // Also when the link was gone.
    host.shard.handle_link_up();
    host.sent();
    host.advance(Duration::from_secs(1));
    host.receive(&rival());
    assert!(!read(&host.sent()).iter().any(|said| said.message == DhcpMessageType::Decline));
    let mut host = Host::with(0, 1, Ipv4Source::Static(configuration()));
    host.sent();
    host.receive(&rival());
    assert!(read(&host.sent()).is_empty());
    assert!(host.shard.ipv4().is_some());
}

#[test]
fn a_conflict_that_another_core_hears_declines_the_address_on_all_cores() {
    let [mut first, mut second] = [0, 1].map(|core| Host::with(core, 2, Ipv4Source::Dhcp));
    lease(&mut first);
    super::steering::carry(&mut first, &mut second);
    assert!(second.shard.ipv4().is_some());
    first.sent();
    second.receive(&rival());
    super::steering::carry(&mut first, &mut second);
    assert_eq!(read(&first.sent()).pop().map(|said| said.message), Some(DhcpMessageType::Decline));
    super::steering::carry(&mut first, &mut second);
    assert_eq!((first.shard.ipv4(), second.shard.ipv4()), (None, None));
}

#[test]
fn a_flood_of_answers_is_bounded() {
    let mut host = Host::with(0, 1, Ipv4Source::Dhcp);
    for _ in 0..100 {
        host.receive(&offer_frame());
    }
    assert_eq!(host.drops(DropReason::ControlQueueFull), 92);
    host.sent();
    assert_eq!(host.shard.network.pool.in_use(), 0);
}

#[test]
fn a_station_address_that_no_station_has_asks_for_nothing() {
    let mut device = super::wire::capabilities();
    device.mac = [0xff; 6];
    let mut host = Host::with_device(0, 1, Ipv4Source::Dhcp, device);
    assert!(host.sent().is_empty());
    host.shard.handle_message(Message::Ipv4(None));
}
