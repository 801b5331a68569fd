//! Nothing from the wire panics, is answered wrongly or is kept: every frame that is not understood is a counted drop, and
//! its buffers come home.

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use smoltcp::wire::{ArpOperation, EthernetProtocol, IpProtocol, TcpControl, TcpRepr, TcpSeqNumber};
use weir_packet::frame::ChecksumStatus;
use weir_socket::{Sockets, Token};

use super::wire::{Host, OUR_MAC, PEER, PEER_MAC, US, arp, ethernet, ipv4, ipv6, tcp4};
use crate::{DropReason, Ipv4Source};

/// A small generator: tests are the same each time.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

fn syn() -> TcpRepr<'static> {
    TcpRepr {
        src_port: 40_000,
        dst_port: 80,
        control: TcpControl::Syn,
        seq_number: TcpSeqNumber(1),
        ack_number: None,
        window_len: 1000,
        window_scale: Some(7),
        max_seg_size: Some(1460),
        sack_permitted: true,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: b"",
    }
}

/// One good frame of each kind that the shard speaks.
pub fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let link_local = "fe80::9".parse().expect("an address");
    let us = "fe80::5054:ff:fe00:1".parse().expect("an address");
    let echo = [8, 0, 0xf7, 0xff, 0, 0, 0, 0];
    let dhcp = super::dhcp::offer_frame();
    let mut solicitation = [0_u8; 32];
    solicitation[0] = 135;
    alloc::vec![
        ("arp request", arp(ArpOperation::Request, PEER_MAC, PEER, [0; 6], US)),
        ("arp reply", arp(ArpOperation::Reply, PEER_MAC, PEER, OUR_MAC, US)),
        ("echo", ipv4(PEER, US, IpProtocol::Icmp, &echo)),
        ("syn", tcp4(PEER, US, &syn())),
        ("data", tcp4(PEER, US, &TcpRepr { control: TcpControl::Psh, payload: b"some data", ..syn() })),
        ("dhcp", dhcp),
        ("ipv6 tcp", ipv6(link_local, us, IpProtocol::Tcp, 64, &[0; 40])),
        ("solicitation", ipv6(link_local, us, IpProtocol::Icmpv6, 255, &solicitation)),
    ]
}

#[test]
fn frames_cut_at_every_length_are_dropped_and_named() {
    for (name, frame) in samples() {
        let mut host = Host::new();
        for len in 0..frame.len() {
            let before = host.shard.counters().dropped_total();
            host.receive(&frame[..len]);
            assert!(host.sent().is_empty(), "{name} cut to {len} bytes was answered");
            assert_eq!(host.shard.counters().dropped_total(), before + 1, "{name} cut to {len} bytes");
            assert_eq!(host.shard.network.pool.in_use(), 0, "{name} cut to {len} bytes");
        }
    }
}

#[test]
fn ethernet_padding_is_cut_off() {
    for (name, frame) in samples() {
        let mut host = Host::new();
        let mut padded = frame.clone();
        padded.resize(frame.len() + 46, 0xa5);
        host.receive(&frame);
        let plain = host.sent();
        let mut host = Host::new();
        host.receive(&padded);
        assert_eq!(host.sent(), plain, "{name}");
    }
}

#[test]
fn frames_for_others_are_named() {
    let mut host = Host::new();
    let mut other = arp(ArpOperation::Request, PEER_MAC, PEER, [0; 6], US);
    other[..6].copy_from_slice(&[0x52, 0x54, 0, 0, 0, 0x77]);
    host.receive(&other);
    assert_eq!(host.drops(DropReason::OtherStation), 1);
    host.receive(&ethernet(OUR_MAC, PEER_MAC, EthernetProtocol::Unknown(0x8100), &[0; 46]));
    assert_eq!(host.drops(DropReason::UnknownEtherType), 1);
    host.receive(&tcp4(PEER, Ipv4Addr::new(10, 0, 0, 3), &syn()));
    assert_eq!(host.drops(DropReason::OtherHost), 1);
    host.receive(&ipv4(PEER, US, IpProtocol::Igmp, &[0; 8]));
    assert_eq!(host.drops(DropReason::UnknownProtocol), 1);
    host.receive(&ipv4(PEER, US, IpProtocol::Udp, &[0, 53, 0, 53, 0, 8, 0, 0]));
    assert_eq!(host.drops(DropReason::UdpNoListener), 1);
}

#[test]
fn rfc1122_3_2_1_3_martians_are_dropped() {
    let mut host = Host::new();
    let bad = [
        (Ipv4Addr::LOCALHOST, US),
        (US, US),
        (Ipv4Addr::UNSPECIFIED, US),
        (Ipv4Addr::new(10, 0, 0, 255), US),
        (Ipv4Addr::new(224, 0, 0, 1), US),
        (PEER, Ipv4Addr::LOCALHOST),
        (Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST),
    ];
    for (index, (source, destination)) in bad.into_iter().enumerate() {
        host.receive(&tcp4(source, destination, &syn()));
        assert_eq!(host.drops(DropReason::Martian), index as u64 + 1, "{source} to {destination}");
    }
    assert!(host.sent().is_empty());
}

#[test]
fn who_was_heard_a_moment_ago_is_a_martian_once_its_address_is_ours() {
    let mut host = Host::new();
    host.introduce_peer();
    host.receive(&tcp4(PEER, US, &syn()));
    assert_eq!((host.sent().len(), host.drops(DropReason::Martian)), (1, 0));
    let mut ours = super::wire::configuration();
    ours.address = PEER;
    host.shard.configure_ipv4(Some(ours));
    host.sent();
    host.receive(&tcp4(PEER, PEER, &syn()));
    assert_eq!((host.sent().len(), host.drops(DropReason::Martian)), (0, 1));
}

#[test]
fn random_frames_and_frames_with_flipped_bits_are_harmless() {
    let mut random = Random(0x5eed_0001);
    let samples = samples();
    for ipv4 in [Ipv4Source::Static(super::wire::configuration()), Ipv4Source::Dhcp] {
        let mut host = Host::with(0, 2, ipv4);
        let listener = host.shard.listen(([0, 0, 0, 0], 80).into(), Token(0)).expect("listening");
        let mut accepted = 0;
        for round in 0..60_000_u64 {
            let mut frame = samples[random.below(samples.len())].1.clone();
            match random.below(4) {
                0 => frame.iter_mut().skip(12).for_each(|byte| *byte = random.next() as u8),
                1 => frame.truncate(random.below(frame.len() + 1)),
                _ => {}
            }
            for _ in 0..random.below(4) {
                if !frame.is_empty() {
                    let at = random.below(frame.len() * 8);
                    frame[at / 8] ^= 1 << (at % 8);
                }
            }
            let verified = random.below(2) == 0;
            host.receive_as(&frame, if verified { ChecksumStatus::Verified } else { ChecksumStatus::Unverified });
            if round % 16 == 0 {
                while let Some(flow) = host.shard.accept(listener, Token(1)) {
                    accepted += 1;
                    host.shard.close(flow);
                }
                while host.shard.poll_event().is_some() {}
                host.advance(core::time::Duration::from_micros(random.next() % 50_000));
                host.device.frames.clear();
                while let Some((_, message)) = host.shard.poll_message() {
                    host.shard.refuse_message(1, message);
                }
            }
        }
        host.shard.unlisten(listener);
        assert_eq!(accepted, 0, "nobody guesses our sequence numbers");
        for _ in 0..1000 {
            host.advance(core::time::Duration::from_millis(500));
            host.device.frames.clear();
        }
        while let Some((_, message)) = host.shard.poll_message() {
            host.shard.refuse_message(1, message);
        }
        assert_eq!(host.shard.network.pool.in_use(), 0);
    }
}

#[test]
fn an_empty_pool_is_counted_and_survived() {
    let mut host = Host::new();
    let all: Vec<_> = core::iter::from_fn(|| host.pool.allocate()).collect();
    assert_eq!(host.pool.free(), 0);
    drop(all.into_iter().next());
    host.receive(&arp(ArpOperation::Request, PEER_MAC, PEER, [0; 6], US));
    assert_eq!(host.sent().len(), 1, "the request's own buffer is not needed for the answer, but freed after it");
}
