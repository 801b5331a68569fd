//! RFC 5227 2.4, and what happens when links and routers come and go.

use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

use smoltcp::wire::{ArpOperation, TcpControl, TcpRepr};
use weir_socket::{Sockets, Token};

use super::arp::{OTHER_MAC, questions};
use super::steering::carry;
use super::wire::{Host, OUR_MAC, PEER, PEER_MAC, ROUTER, US, arp, bare_segment, configuration, tcp4};
use crate::{Event, Ipv4Source, ShardEvent};

/// A host somewhere behind the router.
const FAR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
/// More than DEFEND_INTERVAL.
const LONG: Duration = Duration::from_secs(11);

fn events(host: &mut Host) -> Vec<ShardEvent> {
    core::iter::from_fn(|| host.shard.poll_shard_event()).collect()
}

/// The router answers, or says of itself where it is now.
fn router_at(host: &mut Host, mac: [u8; 6]) {
    host.receive(&arp(ArpOperation::Reply, mac, ROUTER, OUR_MAC, US));
}

fn rival() -> Vec<u8> {
    arp(ArpOperation::Request, OTHER_MAC, US, [0; 6], US)
}

/// A new connection from behind the router, forwarded by `mac`.
fn forwarded_by(mac: [u8; 6], port: u16) -> Vec<u8> {
    let syn = TcpRepr { control: TcpControl::Syn, ..bare_segment(port, 80) };
    let mut frame = tcp4(FAR, US, &syn);
    frame[6..12].copy_from_slice(&mac);
    frame
}

/// The stations to which IPv4 packets were sent.
fn stations(frames: &[Vec<u8>]) -> Vec<[u8; 6]> {
    let packets = frames.iter().filter(|frame| frame[12..14] == [8, 0]);
    packets.map(|frame| frame[..6].try_into().expect("a station")).collect()
}

#[test]
fn when_the_link_is_up_again_addresses_are_announced_and_the_router_may_be_another() {
    let mut host = Host::new();
    router_at(&mut host, PEER_MAC);
    host.shard.handle_link_up();
    let frames = host.sent();
    assert_eq!(questions(&frames), [(Ipv4Addr::UNSPECIFIED, US), (US, US), (US, ROUTER)]);
    let neighbour_discovery = frames.iter().filter(|frame| frame[12..14] == [0x86, 0xdd] && frame[20] == 58).count();
    assert_eq!(neighbour_discovery, 2, "the link-local address: asked for, and advertised");
    router_at(&mut host, OTHER_MAC);
    assert_eq!(host.events(Event::NeighbourMoved), 1);
}

#[test]
fn rfc5227_2_4_c_an_address_is_defended_once_in_ten_seconds_and_kept() {
    let mut host = Host::new();
    router_at(&mut host, PEER_MAC);
    host.advance(LONG);
    host.sent();
    for _ in 0..3 {
        host.receive(&rival());
    }
    assert_eq!(questions(&host.sent()), [(US, US)]);
    host.advance(Duration::from_secs(5));
    host.receive(&rival());
    assert!(questions(&host.sent()).is_empty(), "both would shout for ever");
    assert!(host.shard.ipv4().is_some());
    host.advance(LONG);
    host.receive(&rival());
    assert_eq!(questions(&host.sent()), [(US, US)]);
}

#[test]
fn who_has_just_come_hears_of_the_conflict_and_leaves_the_address_to_the_other() {
    let mut host = Host::with(0, 1, Ipv4Source::Static(configuration()));
    host.sent();
    host.receive(&arp(ArpOperation::Reply, OTHER_MAC, US, OUR_MAC, Ipv4Addr::UNSPECIFIED));
    assert!(questions(&host.sent()).is_empty());
    assert_eq!(events(&mut host), [ShardEvent::AddressConflict { address: US.into(), mac: OTHER_MAC }]);
}

#[test]
fn a_conflict_is_said_by_the_control_core_wherever_it_was_heard() {
    let [mut first, mut second] = [0, 1].map(|core| Host::with(core, 2, Ipv4Source::Static(configuration())));
    for host in [&mut first, &mut second] {
        host.advance(LONG);
        host.sent();
    }
    second.receive(&rival());
    carry(&mut first, &mut second);
    let conflict = ShardEvent::AddressConflict { address: US.into(), mac: OTHER_MAC };
    assert!(events(&mut first).contains(&conflict));
    assert!(!events(&mut second).contains(&conflict));
    assert_eq!((second.events(Event::AddressConflict), first.events(Event::AddressConflict)), (1, 0));
    assert_eq!(questions(&first.sent()), [(US, US)]);
    assert!(questions(&second.sent()).is_empty());
}

#[test]
fn an_announcement_reaches_the_core_that_knows_the_neighbour() {
    let [mut first, mut second] = [0, 1].map(|core| Host::with(core, 2, Ipv4Source::Static(configuration())));
    first.introduce_peer();
    carry(&mut first, &mut second);
    second.receive(&arp(ArpOperation::Request, OTHER_MAC, PEER, [0; 6], PEER));
    carry(&mut first, &mut second);
    assert_eq!(first.events(Event::NeighbourMoved), 1);
}

#[test]
fn a_router_that_fails_over_without_a_word_is_found_by_what_it_forwards() {
    let mut host = Host::new();
    host.shard.listen(([0, 0, 0, 0], 80).into(), Token(1)).expect("listening");
    router_at(&mut host, PEER_MAC);
    host.receive(&forwarded_by(PEER_MAC, 1000));
    assert_eq!(stations(&host.sent()), [PEER_MAC]);
    // The router is verified for half a minute; what others forward does not count for it.
    let mut waited = Duration::ZERO;
    for port in 1001.. {
        host.advance(Duration::from_millis(500));
        waited += Duration::from_millis(500);
        host.receive(&forwarded_by(OTHER_MAC, port));
        let mut frames = host.sent();
        frames.retain(|frame| frame[..6] == [0xff; 6]);
        if questions(&frames).contains(&(US, ROUTER)) {
            break;
        }
        assert!(waited < Duration::from_secs(10), "the router's old place is believed for too long");
    }
    assert!(waited >= Duration::from_secs(2), "two routers may take turns");
    router_at(&mut host, OTHER_MAC);
    host.sent();
    host.receive(&forwarded_by(OTHER_MAC, 999));
    assert!(stations(&host.sent()).contains(&OTHER_MAC));
    assert_eq!(host.events(Event::NeighbourMoved), 1);
}

#[test]
fn a_router_that_does_not_answer_is_said_once_and_so_is_its_return() {
    let [mut first, mut second] = [0, 1].map(|core| Host::with(core, 2, Ipv4Source::Static(configuration())));
    for host in [&mut first, &mut second] {
        host.sent();
        router_at(host, PEER_MAC);
    }
    carry(&mut first, &mut second);
    for host in [&mut first, &mut second] {
        host.advance(Duration::from_secs(31));
    }
    // Only the second core has something to send.
    second.shard.connect((FAR, 80).into(), Token(1)).expect("a flow");
    for _ in 0..20 {
        second.advance(Duration::from_secs(1));
        first.advance(Duration::from_secs(1));
        carry(&mut first, &mut second);
    }
    assert_eq!(events(&mut first), [ShardEvent::RouterSilent(ROUTER.into())]);
    router_at(&mut second, OTHER_MAC);
    carry(&mut first, &mut second);
    assert_eq!(events(&mut first), [ShardEvent::RouterBack(ROUTER.into())]);
    assert!(events(&mut second).is_empty());
}

/// A server on the link that fails over without a word sends nothing that could raise a doubt: TCP's advice does.
#[test]
fn rfc9293_3_8_3_a_neighbour_that_acknowledges_nothing_is_asked_before_its_time() {
    let mut host = Host::new();
    router_at(&mut host, PEER_MAC);
    host.shard.connect((PEER, 80).into(), Token(1)).expect("a flow");
    host.sent();
    host.receive(&arp(ArpOperation::Reply, PEER_MAC, PEER, OUR_MAC, US));
    assert_eq!(stations(&host.sent()), [PEER_MAC]);
    let asked = (1..20).find(|_| {
        host.advance(Duration::from_secs(1));
        questions(&host.sent()).contains(&(US, PEER))
    });
    assert_eq!(asked, Some(7), "with the third SYN that is sent again");
    host.receive(&arp(ArpOperation::Reply, OTHER_MAC, PEER, OUR_MAC, US));
    host.advance(Duration::from_secs(8));
    assert_eq!(stations(&host.sent()), [OTHER_MAC], "the fourth one");
}

/// The IPv6 addresses that were advertised to all nodes.
fn advertised(frames: &[Vec<u8>]) -> usize {
    frames.iter().filter(|frame| frame[12..14] == [0x86, 0xdd] && frame[..6] == [0x33, 0x33, 0, 0, 0, 1]).count()
}

#[test]
fn rfc5227_2_3_an_address_is_announced_twice_two_seconds_apart() {
    let mut host = Host::new();
    host.advance(LONG);
    host.sent();
    host.shard.announce();
    let frames = host.sent();
    assert_eq!((questions(&frames).len(), advertised(&frames)), (2, 1), "asked for, and announced");
    assert!(host.shard.next_deadline().is_some_and(|at| at <= host.now + Duration::from_secs(2)));
    host.advance(Duration::from_millis(1_999));
    assert!(!questions(&host.sent()).contains(&(US, US)));
    host.advance(Duration::from_millis(1));
    let frames = host.sent();
    let announced = questions(&frames).into_iter().filter(|question| question.1 == US).collect::<Vec<_>>();
    assert_eq!((announced, advertised(&frames)), ([(US, US)].into(), 1));
    for _ in 0..10 {
        host.advance(Duration::from_secs(1));
    }
    let frames = host.sent();
    assert!(!questions(&frames).contains(&(US, US)) && advertised(&frames) == 0, "ANNOUNCE_NUM is 2");
}

/// Who has just come does not claim an address once more that it knows to be another's.
#[test]
fn rfc5227_2_1_1_a_conflict_ends_the_announcements() {
    let mut host = Host::with(0, 1, Ipv4Source::Static(configuration()));
    host.sent();
    host.receive(&rival());
    host.advance(Duration::from_secs(2));
    assert!(!questions(&host.sent()).contains(&(US, US)));
}

/// An own question that comes back through a hub is no conflict, and not answered.
#[test]
fn what_we_have_sent_ourselves_is_ignored() {
    let mut host = Host::new();
    host.shard.announce();
    for frame in host.sent() {
        host.receive(&frame);
    }
    let arps = host.sent().iter().filter(|frame| frame[12..14] == [8, 6]).count();
    assert_eq!((arps, host.events(Event::AddressConflict)), (0, 0));
}
