//! Segments that arrive at a core that does not have their flow, and go round.

use alloc::vec::Vec;

use smoltcp::wire::{TcpControl, TcpRepr};
use weir_socket::{ListenerId, Sockets, Token};
use weir_tcp::Counter;

use super::tcp::{Client, read};
use super::wire::{Host, PEER, US, configuration, read_tcp4, tcp4};
use crate::{DropReason, Event, Ipv4Source};

/// Three cores that listen on port 80.
fn cores() -> ([Host; 3], [ListenerId; 3]) {
    let mut hosts = [0, 1, 2].map(|core| Host::with(core, 3, Ipv4Source::Static(configuration())));
    let listeners = core::array::from_fn(|core| {
        let host = &mut hosts[core];
        host.sent();
        host.introduce_peer();
        host.shard.listen(([0, 0, 0, 0], 80).into(), Token(1)).expect("a listener")
    });
    carry(&mut hosts);
    (hosts, listeners)
}

/// Carries messages until all have said all; how many there were.
fn carry(hosts: &mut [Host; 3]) -> usize {
    let mut carried = 0;
    while let Some((target, message)) = hosts.iter_mut().find_map(|host| host.shard.poll_message()) {
        hosts[target].shard.handle_message(message);
        carried += 1;
    }
    carried
}

fn all_home(hosts: &[Host]) -> bool {
    hosts.iter().all(|host| host.shard.network.pool.in_use() == 0)
}

#[test]
fn a_segment_on_the_wrong_queue_finds_its_flow_and_the_owner_answers() {
    let (mut hosts, listeners) = cores();
    let (client, flow) = Client::connect(&mut hosts[1], listeners[1]);
    let frame = tcp4(PEER, US, &client.segment(TcpControl::Psh, b"after the move"));
    hosts[2].receive(&frame);
    // To core 0, to core 1, and the buffer home.
    assert_eq!(carry(&mut hosts), 3);
    assert_eq!(read(&mut hosts[1], flow), b"after the move");
    assert_eq!((hosts[2].events(Event::StrayAsked), hosts[1].events(Event::StrayFound)), (1, 1));
    assert!(hosts[0].sent().is_empty() && hosts[2].sent().is_empty());
    hosts[1].shard.abort(flow);
    hosts[1].sent();
    assert!(all_home(&hosts));
}

#[test]
fn a_reset_on_the_wrong_queue_ends_its_flow() {
    let (mut hosts, listeners) = cores();
    let (client, flow) = Client::connect(&mut hosts[0], listeners[0]);
    hosts[1].receive(&tcp4(PEER, US, &client.segment(TcpControl::Rst, b"")));
    carry(&mut hosts);
    assert!(matches!(hosts[0].shard.receive(flow), weir_socket::Received::Closed(_)));
    hosts[0].shard.close(flow);
    assert!(all_home(&hosts));
}

#[test]
fn what_is_nobodys_goes_round_once_and_is_reset_where_it_arrived() {
    let (mut hosts, listeners) = cores();
    let (client, flow) = Client::connect(&mut hosts[1], listeners[1]);
    let stray = TcpRepr { src_port: 1, ..client.segment(TcpControl::Psh, b"who are you") };
    hosts[2].receive(&tcp4(PEER, US, &stray));
    assert_eq!(carry(&mut hosts), 3);
    assert_eq!(hosts[2].events(Event::StrayLost), 1);
    // However often TCP was asked.
    assert_eq!((hosts[2].events(Event::SegmentLocal), hosts[2].shard.tcp_counters().get(Counter::SegmentsIn)), (1, 1));
    read_tcp4(&hosts[2].sent_one(), |_, tcp| assert_eq!(tcp.control, TcpControl::Rst));
    assert!(hosts[0].sent().is_empty());
    hosts[1].shard.abort(flow);
    hosts[1].sent();
    assert!(all_home(&hosts));
}

#[test]
fn a_new_flow_and_a_port_without_listener_ask_nobody() {
    let (mut hosts, listeners) = cores();
    let (client, flow) = Client::connect(&mut hosts[1], listeners[1]);
    let syn = TcpRepr { src_port: 2, ack_number: None, ..client.segment(TcpControl::Syn, b"") };
    hosts[0].receive(&tcp4(PEER, US, &syn));
    hosts[0].receive(&tcp4(PEER, US, &TcpRepr { dst_port: 81, ..client.segment(TcpControl::None, b"") }));
    assert_eq!(carry(&mut hosts), 0);
    let answers: Vec<_> = hosts[0].sent().iter().map(|frame| read_tcp4(frame, |_, tcp| tcp.control)).collect();
    assert_eq!(answers.len(), 2);
    assert!(answers.contains(&TcpControl::Syn) && answers.contains(&TcpControl::Rst));
    hosts[1].shard.abort(flow);
}

#[test]
fn a_flood_of_strays_is_limited_and_costs_no_buffers() {
    let (mut hosts, listeners) = cores();
    let (client, flow) = Client::connect(&mut hosts[1], listeners[1]);
    let mut carried = 0;
    for port in 1000..2000 {
        let stray = TcpRepr { src_port: port, ..client.segment(TcpControl::None, b"") };
        hosts[0].receive(&tcp4(PEER, US, &stray));
        carried += carry(&mut hosts);
    }
    assert_eq!(hosts[0].events(Event::StrayAsked) + hosts[0].drops(DropReason::StrayLimited), 1000);
    assert!(hosts[0].drops(DropReason::StrayLimited) > 700 && carried < 900, "{carried} messages");
    for host in &mut hosts {
        host.sent();
    }
    // The good flow on another core has felt nothing.
    hosts[1].receive(&tcp4(PEER, US, &client.segment(TcpControl::Psh, b"still here")));
    assert_eq!(read(&mut hosts[1], flow), b"still here");
    hosts[1].shard.abort(flow);
    hosts[1].sent();
    assert!(all_home(&hosts));
}

#[test]
fn a_full_ring_loses_a_stray_and_no_buffer() {
    let (mut hosts, listeners) = cores();
    let (client, flow) = Client::connect(&mut hosts[1], listeners[1]);
    let frame = tcp4(PEER, US, &client.segment(TcpControl::Psh, b"lost twice"));
    for refuser in [2, 0] {
        hosts[2].receive(&frame);
        // Refused at home, then on its way.
        while let Some((from, (target, message))) =
            (0..3).find_map(|core| hosts[core].shard.poll_message().map(|said| (core, said)))
        {
            match message {
                crate::Message::Stray { .. } if from == refuser => hosts[from].shard.refuse_message(target, message),
                message => hosts[target].shard.handle_message(message),
            }
        }
        assert_eq!(hosts[refuser].drops(DropReason::RingFull), 1);
        assert_eq!(hosts[2].shard.network.pool.in_use(), 0);
    }
    hosts[1].shard.abort(flow);
    hosts[1].sent();
}
