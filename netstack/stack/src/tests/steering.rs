//! Two cores, and what passes between them.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use smoltcp::wire::{ArpOperation, ArpRepr, TcpControl, TcpRepr, TcpSeqNumber};
use weir_socket::{Event as SocketEvent, Readiness, Sockets, Token};
use weir_tcp::SourcePortUse;

use super::wire::{Host, OUR_MAC, PEER, PEER_MAC, US, arp, bare_segment, configuration, read_arp, read_tcp4, tcp4};
use crate::{DropReason, Event, Ipv4Source, Message};

fn cores() -> [Host; 2] {
    [0, 1].map(|core| {
        let mut host = Host::with(core, 2, Ipv4Source::Static(configuration()));
        host.sent();
        host
    })
}

/// Carries messages between two cores until both have said all.
pub fn carry(first: &mut Host, second: &mut Host) {
    loop {
        let (from_first, from_second) = (first.shard.poll_message(), second.shard.poll_message());
        if from_first.is_none() && from_second.is_none() {
            return;
        }
        if let Some((target, message)) = from_first {
            assert_eq!(target, 1);
            second.shard.handle_message(message);
        }
        if let Some((target, message)) = from_second {
            assert_eq!(target, 0);
            first.shard.handle_message(message);
        }
    }
}

#[test]
fn an_answer_on_the_wrong_queue_reaches_the_core_that_opened_the_flow() {
    let [mut first, mut second] = cores();
    for host in [&mut first, &mut second] {
        host.introduce_peer();
    }
    carry(&mut first, &mut second);
    let flow = first.shard.connect((PEER, 80).into(), Token(5)).expect("a flow");
    let (port, isn) = read_tcp4(&first.sent_one(), |_, tcp| (tcp.src_port, tcp.seq_number));
    let syn_ack = TcpRepr {
        src_port: 80,
        dst_port: port,
        control: TcpControl::Syn,
        seq_number: TcpSeqNumber(9),
        ack_number: Some(isn + 1),
        window_len: 1000,
        window_scale: None,
        max_seg_size: Some(1460),
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: b"",
    };
    second.receive(&tcp4(PEER, US, &syn_ack));
    assert_eq!(second.events(Event::FrameForwarded), 1);
    assert!(second.sent().is_empty(), "the other core does not answer");
    assert_eq!(second.shard.network.pool.in_use(), 1, "the buffer is away");
    carry(&mut first, &mut second);
    assert_eq!(second.shard.network.pool.in_use(), 0, "and came home");
    assert_eq!(first.events(Event::FrameTakenOver), 1);
    let event = first.shard.poll_event();
    assert!(
        matches!(event, Some(SocketEvent::Flow { flow: f, token: Token(5), ready }) if f == flow && ready.contains(Readiness::WRITABLE))
    );
    first.shard.abort(flow);
    first.sent();
    assert_eq!(first.shard.network.pool.in_use(), 0);
}

#[test]
fn the_owner_of_a_port_without_flow_resets_and_passes_nothing_back() {
    let [mut first, mut second] = cores();
    let stray = |port| TcpRepr { ack_number: Some(TcpSeqNumber(1)), ..bare_segment(80, port) };
    // Port 32768 belongs to core 0, 32769 to core 1.
    first.receive(&tcp4(PEER, US, &stray(32_769)));
    carry(&mut first, &mut second);
    assert!(first.sent().is_empty());
    let frames = second.sent();
    read_tcp4(&frames[0], |_, tcp| assert_eq!(tcp.control, TcpControl::Rst));
    first.receive(&tcp4(PEER, US, &stray(32_768)));
    assert!(first.shard.poll_message().is_none());
}

#[test]
fn a_full_ring_loses_frames_but_no_buffers() {
    let [mut first, mut second] = cores();
    let bytes = tcp4(
        PEER,
        US,
        &TcpRepr {
            src_port: 80,
            dst_port: 32_768,
            control: TcpControl::None,
            seq_number: TcpSeqNumber(9),
            ack_number: Some(TcpSeqNumber(1)),
            window_len: 1000,
            window_scale: None,
            max_seg_size: None,
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: &[7; 3000],
        },
    );
    for _ in 0..10 {
        second.receive(&bytes);
    }
    let mut messages: alloc::collections::VecDeque<_> = core::iter::from_fn(|| second.shard.poll_message()).collect();
    for (target, message) in messages.drain(5..) {
        second.shard.refuse_message(target, message);
    }
    assert_eq!(second.drops(DropReason::RingFull), 5);
    for (_, message) in messages {
        first.shard.handle_message(message);
    }
    // A buffer on its way home is offered again until the ring takes it.
    for _ in 0..3 {
        let (target, message) = first.shard.poll_message().expect("a buffer");
        assert!(matches!(message, Message::GiveBack(_)));
        first.shard.refuse_message(target, message);
        first.advance(core::time::Duration::from_millis(1));
    }
    carry(&mut first, &mut second);
    assert_eq!(second.shard.network.pool.in_use(), 0);
}

#[test]
fn an_arp_answer_on_one_core_is_heard_by_the_core_that_asked() {
    let [mut first, mut second] = cores();
    let flow = first.shard.connect((PEER, 80).into(), Token(5)).expect("a flow");
    assert_eq!(first.sent().len(), 1, "the question");
    second.receive(&arp(ArpOperation::Reply, PEER_MAC, PEER, OUR_MAC, US));
    carry(&mut first, &mut second);
    read_tcp4(&first.sent_one(), |_, tcp| assert_eq!(tcp.control, TcpControl::Syn));
    first.shard.abort(flow);
}

#[test]
fn an_icmp_error_finds_its_flow_on_another_core() {
    use smoltcp::wire::{Icmpv4DstUnreachable, Icmpv4Packet, Icmpv4Repr, IpProtocol, Ipv4Repr};
    let [mut first, mut second] = cores();
    for host in [&mut first, &mut second] {
        host.introduce_peer();
    }
    carry(&mut first, &mut second);
    let flow = first.shard.connect((PEER, 80).into(), Token(5)).expect("a flow");
    let syn = first.sent_one();
    let header =
        Ipv4Repr { src_addr: US, dst_addr: PEER, next_header: IpProtocol::Tcp, payload_len: 20, hop_limit: 60 };
    let reason = Icmpv4DstUnreachable::HostUnreachable;
    let repr = Icmpv4Repr::DstUnreachable { reason, header, data: &syn[34..42] };
    let mut bytes = alloc::vec![0; repr.buffer_len()];
    repr.emit(&mut Icmpv4Packet::new_unchecked(&mut bytes[..]), &smoltcp::phy::ChecksumCapabilities::default());
    second.receive(&super::wire::ipv4(PEER, US, IpProtocol::Icmp, &bytes));
    carry(&mut first, &mut second);
    assert_eq!(first.events(Event::IcmpErrorDelivered), 1);
    first.shard.abort(flow);
}

#[test]
fn a_configuration_of_the_control_core_reaches_the_others() {
    let mut hosts = [0, 1].map(|core| Host::with(core, 2, Ipv4Source::None));
    let [first, second] = &mut hosts;
    first.shard.configure_ipv4(Some(configuration()));
    carry(first, second);
    assert_eq!(second.shard.ipv4(), Some(&configuration()));
    first.shard.configure_ipv4(None);
    carry(first, second);
    assert_eq!(second.shard.ipv4(), None);
}

#[test]
fn source_ports_run_out_by_name_and_only_towards_one_destination() {
    let mut host = Host::new();
    host.introduce_peer();
    let mut flows = Vec::new();
    host.shard.steering = crate::steering::Steering::new(0, 1, &(50_000..=50_003), 0);
    for _ in 0..4 {
        flows.push(host.shard.connect((PEER, 80).into(), Token(5)).expect("a flow"));
    }
    assert_eq!(host.shard.connect((PEER, 80).into(), Token(5)), Err(weir_socket::ConnectError::NoSourcePort));
    assert_eq!(host.events(Event::NoSourcePort), 1);
    flows.push(host.shard.connect((PEER, 81).into(), Token(5)).expect("another destination"));
    for flow in flows {
        host.shard.abort(flow);
    }
}

/// Two further addresses of the host's network.
const SOURCES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 0, 5), Ipv4Addr::new(10, 0, 0, 6)];

/// Who an ARP frame is from.
fn sender(frame: &[u8]) -> Ipv4Addr {
    let ArpRepr::EthernetIpv4 { source_protocol_addr, .. } = read_arp(frame).1 else { panic!("no ARP") };
    source_protocol_addr
}

#[test]
fn further_addresses_multiply_the_source_ports_and_are_answered_for() {
    let mut host = Host::new();
    host.introduce_peer();
    host.shard.network.addresses.add_sources(&SOURCES.map(IpAddr::V4));
    host.shard.network.announce_arp();
    let announced: Vec<_> =
        [US, SOURCES[0], SOURCES[1]].map(|ours| [(Ipv4Addr::UNSPECIFIED, ours), (ours, ours)]).concat();
    assert_eq!(super::arp::questions(&host.sent()), announced);
    host.shard.steering = crate::steering::Steering::new(0, 1, &(50_000..=50_003), 0);
    let flows: Vec<_> = core::iter::from_fn(|| host.shard.connect((PEER, 80).into(), Token(5)).ok()).collect();
    assert_eq!((flows.len(), host.events(Event::NoSourcePort)), (12, 1));
    assert_eq!(host.shard.source_ports(), 4);
    assert_eq!(host.shard.source_ports_in_use(), SourcePortUse { total: 12, max: 4 });
    let mut from: Vec<_> = flows.iter().map(|&flow| host.shard.local_address(flow).expect("open").ip()).collect();
    from.sort_unstable();
    from.dedup();
    assert_eq!(from, [US, SOURCES[0], SOURCES[1]].map(IpAddr::V4));
    host.sent();
    for source in SOURCES {
        host.receive(&arp(ArpOperation::Request, PEER_MAC, PEER, [0; 6], source));
        assert_eq!(sender(&host.sent_one()), source);
    }
    // A packet of the wire cannot come from them.
    assert!(SOURCES.iter().all(|&source| !host.shard.network.addresses.is_source_v4(source)));
    flows.into_iter().for_each(|flow| host.shard.abort(flow));
    assert_eq!(host.shard.source_ports_in_use(), SourcePortUse::default());
}

#[test]
fn flows_come_from_those_addresses_that_are_wanted() {
    let mut host = Host::new();
    host.introduce_peer();
    host.shard.network.addresses.add_sources(&SOURCES.map(IpAddr::V4));
    let stranger = IpAddr::from([10, 0, 0, 77]);
    let sources_of = |host: &mut Host, wanted: &[IpAddr], remote: SocketAddr| {
        let flows: Vec<_> = (0..6).filter_map(|_| host.shard.connect_from(wanted, remote, Token(5)).ok()).collect();
        let mut from: Vec<_> = flows.iter().map(|&flow| host.shard.local_address(flow).expect("open").ip()).collect();
        flows.into_iter().for_each(|flow| host.shard.abort(flow));
        from.sort_unstable();
        from.dedup();
        from
    };
    let [second, third] = SOURCES.map(IpAddr::V4);
    assert_eq!(sources_of(&mut host, &[third, US.into()], (PEER, 80).into()), [US.into(), third]);
    assert_eq!(sources_of(&mut host, &[stranger, second], (PEER, 80).into()), [second]);
    // What stays in this host comes from where it goes to.
    assert_eq!(sources_of(&mut host, &[second], (US, 80).into()), [IpAddr::V4(US)]);
    let refused = host.shard.connect_from(&[stranger], (PEER, 80).into(), Token(5));
    assert_eq!(refused, Err(weir_socket::ConnectError::NoRoute));
    assert_eq!(host.events(Event::NoSourcePort), 0);
}

/// An address that is full is so for everybody, and says nothing of others that have its place in a list.
#[test]
fn ports_of_a_wanted_address_run_out_alone() {
    let mut host = Host::new();
    host.introduce_peer();
    host.shard.network.addresses.add_sources(&SOURCES.map(IpAddr::V4));
    host.shard.steering = crate::steering::Steering::new(0, 1, &(50_000..=50_003), 0);
    let mut open = |wanted: &[IpAddr]| {
        let flows = core::iter::from_fn(|| host.shard.connect_from(wanted, (PEER, 80).into(), Token(5)).ok());
        flows.count()
    };
    let [second, third] = SOURCES.map(IpAddr::V4);
    assert_eq!((open(&[third]), open(&[second]), open(&[]), open(&[second, third])), (4, 4, 4, 0));
}
