//! RFC 4861 and RFC 4443.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv6Packet, NdiscNeighborFlags, NdiscRepr,
    RawHardwareAddress,
};
use weir_socket::{Sockets, Token};

use super::wire::{Host, OUR_MAC, PEER_MAC, ipv6};
use crate::{DropReason, Event, Ipv6Configuration, ShardEvent};

const US: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0xff, 0xfe00, 1);
const US_GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 1);
const PEER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);

fn message(source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8, repr: &Icmpv6Repr<'_>) -> Vec<u8> {
    let mut bytes = vec![0; repr.buffer_len()];
    let mut packet = Icmpv6Packet::new_unchecked(&mut bytes[..]);
    repr.emit(&source, &destination, &mut packet, &ChecksumCapabilities::default());
    ipv6(source, destination, IpProtocol::Icmpv6, hop_limit, &bytes)
}

fn station(mac: [u8; 6]) -> Option<RawHardwareAddress> {
    Some(RawHardwareAddress::from(EthernetAddress(mac)))
}

fn solicitation() -> Icmpv6Repr<'static> {
    Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit { target_addr: US, lladdr: station(PEER_MAC) })
}

/// Reads a message, its checksum verified: Ethernet destination, IP ends, and what it says.
fn read(bytes: &[u8]) -> ([u8; 6], Ipv6Addr, Ipv6Addr, Icmpv6Repr<'_>) {
    let frame = EthernetFrame::new_checked(bytes).expect("a frame");
    let packet = Ipv6Packet::new_checked(&bytes[14..]).expect("a packet");
    assert_eq!(packet.hop_limit(), 255);
    let (source, destination) = (packet.src_addr(), packet.dst_addr());
    let icmp = Icmpv6Packet::new_checked(&bytes[54..]).expect("a message");
    let repr = Icmpv6Repr::parse(&source, &destination, &icmp, &ChecksumCapabilities::default());
    (frame.dst_addr().0, source, destination, repr.expect("an intact message"))
}

#[test]
fn rfc4861_7_2_4_a_solicitation_is_answered_with_an_advertisement() {
    let mut host = Host::new();
    let mut frame = message(PEER, US_GROUP, 255, &solicitation());
    frame[..6].copy_from_slice(&[0x33, 0x33, 0xff, 0, 0, 1]);
    host.receive(&frame);
    let reply = host.sent_one();
    let (mac, source, destination, repr) = read(&reply);
    assert_eq!((mac, source, destination), (PEER_MAC, US, PEER));
    let flags = NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE;
    let advertisement = NdiscRepr::NeighborAdvert { flags, target_addr: US, lladdr: station(OUR_MAC) };
    assert_eq!(repr, Icmpv6Repr::Ndisc(advertisement));
}

#[test]
fn rfc4861_7_1_1_a_solicitation_from_beyond_the_link_is_ignored() {
    let mut host = Host::new();
    host.receive(&message(PEER, US, 254, &solicitation()));
    assert!(host.sent().is_empty());
    assert_eq!(host.drops(DropReason::IcmpIgnored), 1);
}

#[test]
fn rfc4862_5_4_3_who_wants_our_address_is_told_that_it_is_taken() {
    let mut host = Host::new();
    let probe = Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit { target_addr: US, lladdr: None });
    host.receive(&message(Ipv6Addr::UNSPECIFIED, US_GROUP, 255, &probe));
    let reply = host.sent_one();
    assert_eq!(read(&reply).2, "ff02::1".parse::<Ipv6Addr>().expect("an address"));
}

#[test]
fn rfc4443_4_2_an_echo_request_comes_back_with_its_data() {
    let mut host = Host::new();
    let request = Icmpv6Repr::EchoRequest { ident: 1, seq_no: 2, data: b"odd" };
    host.receive(&message(PEER, US, 64, &request));
    let reply = host.sent_one();
    let (mac, source, destination, repr) = read(&reply);
    assert_eq!((mac, source, destination), (PEER_MAC, US, PEER));
    assert_eq!(repr, Icmpv6Repr::EchoReply { ident: 1, seq_no: 2, data: b"odd" });
    let mut bad = message(PEER, US, 64, &request);
    bad[60] ^= 1;
    host.receive(&bad);
    assert_eq!(host.drops(DropReason::IcmpChecksum), 1);
}

#[test]
fn rfc4861_7_2_2_a_connect_asks_for_its_neighbour() {
    let mut host = Host::new();
    host.shard.connect((PEER, 80).into(), Token(1)).expect("a flow");
    let question = host.sent_one();
    let (mac, source, destination, repr) = read(&question);
    assert_eq!((mac, source), ([0x33, 0x33, 0xff, 0, 0, 9], US));
    assert_eq!(destination, "ff02::1:ff00:9".parse::<Ipv6Addr>().expect("an address"));
    let asked = NdiscRepr::NeighborSolicit { target_addr: PEER, lladdr: station(OUR_MAC) };
    assert_eq!(repr, Icmpv6Repr::Ndisc(asked));
    let flags = NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE;
    let told = NdiscRepr::NeighborAdvert { flags, target_addr: PEER, lladdr: station(PEER_MAC) };
    host.receive(&message(PEER, US, 255, &Icmpv6Repr::Ndisc(told)));
    let syn = host.sent_one();
    assert_eq!((&syn[..6], syn[20]), (&PEER_MAC[..], 6));
}

#[test]
fn a_global_address_is_used_towards_the_world() {
    let mut host = Host::new();
    let address = "2001:db8::2".parse().expect("an address");
    let gateway = Some(PEER);
    host.shard.configure_ipv6(Some(Ipv6Configuration { address, prefix_len: 64, gateway }));
    host.sent();
    let far: IpAddr = "2001:db8:1::1".parse().expect("an address");
    let flow = host.shard.connect((far, 80).into(), Token(1)).expect("a flow");
    assert_eq!(host.shard.local_address(flow).map(|local| local.ip()), Some(address.into()));
    assert_eq!(host.events(Event::NoSourcePort), 0);
}

/// RFC 4862 5.4.2 and RFC 4861 7.2.6, with RFC 4429 3.3: an announcement overrides nothing.
#[test]
fn rfc4862_5_4_a_new_address_is_asked_for_and_announced_and_a_conflict_is_said() {
    let mut host = Host::new();
    let address: Ipv6Addr = "2001:db8::2".parse().expect("an address");
    let configuration = Ipv6Configuration { address, prefix_len: 64, gateway: None };
    host.shard.configure_ipv6(Some(configuration));
    assert_eq!(host.shard.poll_shard_event(), Some(ShardEvent::Ipv6Configured(configuration)));
    let all: Ipv6Addr = "ff02::1".parse().expect("an address");
    let asked = |target_addr| Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit { target_addr, lladdr: None });
    let told = |target_addr, flags, mac| {
        Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert { flags, target_addr, lladdr: station(mac) })
    };
    let group: Ipv6Addr = "ff02::1:ff00:2".parse().expect("a group");
    let none = NdiscNeighborFlags::empty();
    let expected = [
        ([0x33, 0x33, 0xff, 0, 0, 1], Ipv6Addr::UNSPECIFIED, US_GROUP, asked(US)),
        ([0x33, 0x33, 0, 0, 0, 1], US, all, told(US, none, OUR_MAC)),
        ([0x33, 0x33, 0xff, 0, 0, 2], Ipv6Addr::UNSPECIFIED, group, asked(address)),
        ([0x33, 0x33, 0, 0, 0, 1], address, all, told(address, none, OUR_MAC)),
    ];
    let sent = host.sent();
    assert_eq!(sent.iter().map(|frame| read(frame)).collect::<Vec<_>>(), expected);
    // The same again is no news.
    host.shard.configure_ipv6(Some(configuration));
    assert!(host.sent().is_empty());
    while host.shard.poll_shard_event().is_some() {}
    host.receive(&message(address, all, 255, &told(address, NdiscNeighborFlags::OVERRIDE, PEER_MAC)));
    let conflict = ShardEvent::AddressConflict { address: address.into(), mac: PEER_MAC };
    assert_eq!((host.events(Event::AddressConflict), host.shard.poll_shard_event()), (1, Some(conflict)));
}

#[test]
fn flows_come_from_further_addresses_too_and_these_are_answered_for() {
    let mut host = Host::new();
    let address: Ipv6Addr = "2001:db8::2".parse().expect("an address");
    let further: Ipv6Addr = "2001:db8::77".parse().expect("an address");
    host.shard.configure_ipv6(Some(Ipv6Configuration { address, prefix_len: 64, gateway: Some(PEER) }));
    host.shard.network.addresses.add_sources(&[further.into()]);
    host.sent();
    let asked = Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit { target_addr: further, lladdr: station(PEER_MAC) });
    host.receive(&message(PEER, "ff02::1:ff00:77".parse().expect("a group"), 255, &asked));
    let flags = NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE;
    let told = NdiscRepr::NeighborAdvert { flags, target_addr: further, lladdr: station(OUR_MAC) };
    assert_eq!(read(&host.sent_one()).3, Icmpv6Repr::Ndisc(told));
    let far: IpAddr = "2001:db8:1::1".parse().expect("an address");
    let flows = [(); 2].map(|()| host.shard.connect((far, 80).into(), Token(1)).expect("a flow"));
    let from = flows.map(|flow| host.shard.local_address(flow).map(|local| local.ip()));
    assert_eq!(from, [Some(address.into()), Some(further.into())]);
}

/// RFC 4861 7.2.5, and over several cores: whoever knows the neighbour hears of it.
#[test]
fn rfc4861_7_2_5_an_advertisement_moves_a_neighbour_only_with_its_override_flag() {
    let mut host = Host::new();
    let told = |flags, mac| {
        let advertisement = NdiscRepr::NeighborAdvert { flags, target_addr: PEER, lladdr: station(mac) };
        message(PEER, "ff02::1".parse().expect("an address"), 255, &Icmpv6Repr::Ndisc(advertisement))
    };
    let other = [0x52, 0x54, 0, 0, 0, 7];
    host.receive(&message(PEER, US_GROUP, 255, &solicitation()));
    let mut moved = |flags, mac| {
        host.receive(&told(flags, mac));
        host.events(Event::NeighbourMoved)
    };
    assert_eq!(moved(NdiscNeighborFlags::empty(), other), 0);
    assert_eq!(moved(NdiscNeighborFlags::OVERRIDE, other), 1);
    assert_eq!(moved(NdiscNeighborFlags::empty(), other), 1);
}

mod routers {
    use super::*;
    use crate::router::RouterDiscovery;
    use core::time::Duration;
    use smoltcp::wire::{NdiscPrefixInfoFlags, NdiscPrefixInformation, NdiscRouterFlags};

    const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

    const SECOND: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

    fn advertisement(router_lifetime: u64, valid: u64) -> Vec<u8> {
        advertisement_of(ROUTER, router_lifetime, valid)
    }

    fn advertisement_of(router: Ipv6Addr, router_lifetime: u64, valid: u64) -> Vec<u8> {
        let lifetime = smoltcp::time::Duration::from_secs;
        let prefix = NdiscPrefixInformation {
            prefix_len: 64,
            flags: NdiscPrefixInfoFlags::ON_LINK | NdiscPrefixInfoFlags::ADDRCONF,
            valid_lifetime: lifetime(valid),
            preferred_lifetime: lifetime(valid),
            prefix: "2001:db8::".parse().expect("an address"),
        };
        let repr = Icmpv6Repr::Ndisc(NdiscRepr::RouterAdvert {
            hop_limit: 64,
            flags: NdiscRouterFlags::empty(),
            router_lifetime: lifetime(router_lifetime),
            reachable_time: lifetime(0),
            retrans_time: lifetime(0),
            lladdr: station(PEER_MAC),
            mtu: None,
            prefix_info: Some(prefix),
        });
        let mut frame = message(router, "ff02::1".parse().expect("an address"), 255, &repr);
        frame[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
        frame
    }

    fn gateway(host: &Host) -> Option<Ipv6Addr> {
        host.shard.ipv6().and_then(|v6| v6.gateway)
    }

    /// Somebody beyond the router is spoken to until the router counts as silent.
    fn ask_in_vain(host: &mut Host) {
        let far: IpAddr = "2001:db8:1::1".parse().expect("an address");
        let flow = host.shard.connect((far, 80).into(), Token(1));
        (0..5).for_each(|_| host.advance(Duration::from_secs(1)));
        flow.into_iter().for_each(|flow| host.shard.abort(flow));
    }

    fn solicitations(host: &mut Host) -> usize {
        let frames = host.sent();
        frames.iter().filter(|frame| frame[..6] == [0x33, 0x33, 0, 0, 0, 2]).count()
    }

    fn host(core: usize) -> Host {
        let mut host = Host::with(core, 2, crate::Ipv4Source::None);
        if core == 0 {
            host.shard.routers = Some(RouterDiscovery::new(host.shard.network.addresses.link_local(), host.now));
        }
        host
    }

    fn expected() -> Ipv6Configuration {
        let address = "2001:db8::5054:ff:fe00:1".parse().expect("an address");
        Ipv6Configuration { address, prefix_len: 64, gateway: Some(ROUTER) }
    }

    #[test]
    fn rfc4861_6_3_7_a_router_is_asked_for_three_times() {
        let mut host = host(0);
        let mut asked = 0;
        for _ in 0..60 {
            for frame in host.sent() {
                let (mac, source, destination, repr) = read(&frame);
                assert_eq!((mac, source), ([0x33, 0x33, 0, 0, 0, 2], US));
                assert_eq!(destination, "ff02::2".parse::<Ipv6Addr>().expect("an address"));
                assert_eq!(repr, Icmpv6Repr::Ndisc(NdiscRepr::RouterSolicit { lladdr: station(OUR_MAC) }));
                asked += 1;
            }
            host.advance(Duration::from_secs(1));
        }
        assert_eq!(asked, 3);
        assert_eq!(host.shard.next_deadline(), None);
    }

    #[test]
    fn rfc4862_5_5_3_an_advertisement_gives_all_cores_an_address_and_a_gateway() {
        let (mut first, mut second) = (host(0), host(1));
        second.receive(&advertisement(1800, 86_400));
        super::super::steering::carry(&mut first, &mut second);
        assert_eq!(first.shard.ipv6(), Some(&expected()));
        assert_eq!(second.shard.ipv6(), Some(&expected()));
        assert_eq!(first.shard.poll_shard_event(), Some(ShardEvent::Ipv6Configured(expected())));
        first.receive(&advertisement(1800, 86_400));
        assert_eq!(first.shard.poll_shard_event(), None, "nothing has changed");
        assert_eq!(second.shard.network.pool.in_use(), 0);
    }

    #[test]
    fn rfc4861_6_3_4_a_silent_router_is_forgotten_and_later_the_address() {
        let mut host = host(0);
        host.receive(&advertisement(1800, 86_400));
        host.advance(Duration::from_secs(1801));
        assert_eq!(host.shard.ipv6().map(|v6| v6.gateway), Some(None));
        host.advance(Duration::from_secs(86_400));
        assert_eq!(host.shard.ipv6(), None);
    }

    #[test]
    fn rfc4861_6_3_6_another_router_takes_over_from_one_that_does_not_answer() {
        let mut host = host(0);
        host.receive(&advertisement(1800, 86_400));
        host.receive(&advertisement_of(SECOND, 1800, 86_400));
        assert_eq!(gateway(&host), Some(ROUTER), "the first one stays");
        ask_in_vain(&mut host);
        assert_eq!(gateway(&host), Some(SECOND));
        let said: Vec<_> = core::iter::from_fn(|| host.shard.poll_shard_event()).collect();
        assert!(said.contains(&ShardEvent::RouterSilent(ROUTER.into())), "{said:?}");
        // It answers for itself by advertising, but is not needed now.
        host.receive(&advertisement(1800, 86_400));
        assert_eq!(gateway(&host), Some(SECOND));
        ask_in_vain(&mut host);
        assert_eq!(gateway(&host), Some(ROUTER));
        // With both silent, routers are asked for, and the first that speaks is used.
        solicitations(&mut host);
        ask_in_vain(&mut host);
        assert_eq!((gateway(&host), solicitations(&mut host) > 0), (Some(ROUTER), true));
        host.receive(&advertisement_of(SECOND, 1800, 86_400));
        assert_eq!(gateway(&host), Some(SECOND));
        host.receive(&advertisement_of(SECOND, 0, 86_400));
        assert_eq!(gateway(&host), Some(ROUTER), "the second one said goodbye");
    }

    #[test]
    fn rfc4861_6_3_7_routers_are_asked_for_again_when_the_link_is_up_again() {
        let mut host = host(0);
        host.receive(&advertisement(1800, 86_400));
        assert_eq!(solicitations(&mut host), 0);
        host.shard.handle_link_up();
        assert_eq!(solicitations(&mut host), 1);
    }

    #[test]
    fn rfc4862_5_5_3_e_a_forged_advertisement_cannot_end_an_address_at_once() {
        let mut host = host(0);
        host.receive(&advertisement(1800, 86_400));
        host.receive(&advertisement(1800, 0));
        host.advance(Duration::from_secs(2 * 3600 - 1));
        assert!(host.shard.ipv6().is_some());
        host.advance(Duration::from_secs(2));
        assert!(host.shard.ipv6().is_none());
    }

    /// The advertisement with an option behind the others.
    fn with_option(option: &[u8]) -> Vec<u8> {
        let mut frame = advertisement(1800, 86_400);
        frame.extend_from_slice(option);
        let len = (frame.len() - 54) as u16;
        frame[18..20].copy_from_slice(&len.to_be_bytes());
        frame[56..58].fill(0);
        let all: Ipv6Addr = "ff02::1".parse().expect("an address");
        let sum = crate::checksum::Sum::ZERO.add_pseudo_header_v6(ROUTER.octets(), all.octets(), len.into(), 58);
        let sum = sum.add(&frame[54..]).checksum();
        frame[56..58].copy_from_slice(&sum);
        frame
    }

    fn servers(host: &Host) -> Vec<String> {
        host.shard.told_name_servers().map(|server| server.to_string()).collect()
    }

    #[test]
    fn rfc8106_5_1_name_servers_hold_for_their_lifetime() {
        let rdnss = |lifetime: u32, hosts: &[u8]| {
            let mut option = vec![25, 1 + 2 * hosts.len() as u8, 0, 0];
            option.extend(lifetime.to_be_bytes());
            hosts.iter().for_each(|&host| option.extend(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, host.into()).octets()));
            option
        };
        let mut host = host(0);
        host.receive(&with_option(&rdnss(100, &[1, 2])));
        assert_eq!((servers(&host), host.shard.ipv6()), (vec!["fd00::1".into(), "fd00::2".into()], Some(&expected())));
        host.receive(&with_option(&rdnss(200, &[2, 3, 4])));
        assert_eq!(servers(&host), ["fd00::1", "fd00::2", "fd00::3"], "three are kept");
        host.receive(&with_option(&rdnss(0, &[3])));
        assert_eq!(servers(&host), ["fd00::1", "fd00::2"]);
        host.advance(Duration::from_secs(150));
        assert_eq!(servers(&host), ["fd00::2"]);
        host.receive(&with_option(&rdnss(200, &[9])));
        assert_eq!(servers(&host), ["fd00::9", "fd00::2"]);
        // Options without an end, without addresses, with half of one, and with what no server is.
        for option in [&[25, 9][..], &[25, 0, 0, 0, 0, 0, 0, 0], &[25, 1, 0, 0, 0, 0, 0, 9], &rdnss(9, &[7])[..16]] {
            host.receive(&with_option(option));
        }
        let mut loopback = rdnss(100, &[1]);
        loopback[8] = 0;
        loopback[9] = 0;
        host.receive(&with_option(&loopback));
        assert_eq!(servers(&host), ["fd00::9", "fd00::2"]);
        host.advance(Duration::from_secs(300));
        assert!(servers(&host).is_empty());
    }

    #[test]
    fn rfc4861_6_1_2_an_advertisement_from_beyond_the_link_is_ignored() {
        let mut host = host(0);
        let mut far = advertisement(1800, 86_400);
        far[21] = 64;
        host.receive(&far);
        assert_eq!(host.shard.ipv6(), None);
        assert_eq!(host.drops(DropReason::IcmpIgnored), 1);
    }
}
