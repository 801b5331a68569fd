//! TCP through the whole shard: a client that speaks smoltcp connects, sends and is answered.

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use smoltcp::wire::{TcpControl, TcpRepr, TcpSeqNumber};
use weir_packet::frame::{Capabilities, ChecksumStatus};
use weir_socket::{ConnectError, Event, FlowId, ListenerId, Readiness, Received, Sockets, Token};

use super::wire::{
    Host, OUR_MAC, PEER, PEER_MAC, US, bare_segment, capabilities, configuration, ipv4, read_tcp4, tcp4,
};
use crate::{DropReason, Ipv4Source};

const PORT: u16 = 80;
const CLIENT_PORT: u16 = 50_123;
const ISN: i32 = 1000;

/// The client's side of one connection.
pub struct Client {
    next: TcpSeqNumber,
    acknowledged: TcpSeqNumber,
}

impl Client {
    pub fn segment<'a>(&self, control: TcpControl, payload: &'a [u8]) -> TcpRepr<'a> {
        TcpRepr {
            control,
            seq_number: self.next,
            ack_number: Some(self.acknowledged),
            payload,
            ..bare_segment(CLIENT_PORT, PORT)
        }
    }

    /// The handshake; the listener's flow.
    pub fn connect(host: &mut Host, listener: ListenerId) -> (Self, FlowId) {
        let mut client = Self { next: TcpSeqNumber(ISN), acknowledged: TcpSeqNumber(0) };
        let syn = TcpRepr { ack_number: None, max_seg_size: Some(1460), ..client.segment(TcpControl::Syn, b"") };
        host.receive(&tcp4(PEER, US, &syn));
        let syn_ack = host.sent_one();
        assert_eq!((&syn_ack[..6], &syn_ack[6..12]), (&PEER_MAC[..], &OUR_MAC[..]), "no ARP was needed");
        read_tcp4(&syn_ack, |_, tcp| {
            assert_eq!((tcp.control, tcp.ack_number), (TcpControl::Syn, Some(TcpSeqNumber(ISN + 1))));
            client.acknowledged = tcp.seq_number + 1;
        });
        client.next += 1;
        host.receive(&tcp4(PEER, US, &client.segment(TcpControl::None, b"")));
        assert!(matches!(host.shard.poll_event(), Some(Event::Acceptable { listener: l, .. }) if l == listener));
        let flow = host.shard.accept(listener, Token(7)).expect("a flow");
        (client, flow)
    }

    fn send(&mut self, host: &mut Host, payload: &[u8]) {
        host.receive(&tcp4(PEER, US, &self.segment(TcpControl::Psh, payload)));
        self.next += payload.len();
    }
}

pub fn read(host: &mut Host, flow: FlowId) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Received::Data(chunk) = host.shard.receive(flow) {
        bytes.extend_from_slice(&chunk);
    }
    bytes
}

fn send(host: &mut Host, flow: FlowId, bytes: &[u8]) {
    let mut packet = host.shard.allocate().expect("a buffer");
    packet.extend_from_slice(bytes).expect("fits");
    host.shard.send(flow, packet.freeze()).expect("room");
}

fn payload_of(frames: &[Vec<u8>]) -> Vec<u8> {
    frames.iter().flat_map(|frame| read_tcp4(frame, |_, tcp| tcp.payload.to_vec())).collect()
}

#[test]
fn a_request_over_tcp_is_answered() {
    let mut host = Host::new();
    let listener = host.shard.listen(([0, 0, 0, 0], PORT).into(), Token(1)).expect("listening");
    let (mut client, flow) = Client::connect(&mut host, listener);
    client.send(&mut host, b"GET / HTTP/1.1\r\n\r\n");
    let event = host.shard.poll_event();
    assert!(
        matches!(event, Some(Event::Flow { flow: f, token: Token(7), ready }) if f == flow && ready.contains(Readiness::READABLE))
    );
    assert_eq!(read(&mut host, flow), b"GET / HTTP/1.1\r\n\r\n");
    send(&mut host, flow, b"HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(payload_of(&host.sent()), b"HTTP/1.1 200 OK\r\n\r\n");
    host.shard.abort(flow);
    host.sent();
    assert_eq!(host.shard.network.pool.in_use(), 0);
}

#[test]
fn a_segment_in_several_buffers_arrives_whole() {
    let mut host = Host::new();
    let listener = host.shard.listen(([0, 0, 0, 0], PORT).into(), Token(1)).expect("listening");
    let (mut client, flow) = Client::connect(&mut host, listener);
    let bytes: Vec<u8> = (0..9000_u32).map(|n| (n % 251) as u8).collect();
    client.send(&mut host, &bytes);
    assert_eq!(read(&mut host, flow), bytes);
    host.shard.abort(flow);
    host.sent();
    assert_eq!(host.shard.network.pool.in_use(), 0);
}

#[test]
fn a_chain_with_bytes_behind_the_packet_is_trimmed() {
    let mut host = Host::new();
    let listener = host.shard.listen(([0, 0, 0, 0], PORT).into(), Token(1)).expect("listening");
    let (client, flow) = Client::connect(&mut host, listener);
    for (payload, padding) in [(100, 2000), (2000, 2100), (4000, 10)] {
        let bytes: Vec<u8> = (0..payload).map(|n: u32| (n % 251) as u8).collect();
        let mut frame = tcp4(PEER, US, &client.segment(TcpControl::Psh, &bytes));
        frame.resize(frame.len() + padding, 0xa5);
        host.receive(&frame);
        // The same sequence number again and again: only what is new arrives.
        let got = read(&mut host, flow);
        assert!(got.iter().all(|&byte| byte < 251) && got.len() <= bytes.len(), "{payload} bytes");
    }
    host.shard.abort(flow);
    host.sent();
    assert_eq!(host.shard.network.pool.in_use(), 0);
}

#[test]
fn a_broken_tcp_checksum_is_noticed_unless_the_device_vouches_for_it() {
    let mut host = Host::new();
    let listener = host.shard.listen(([0, 0, 0, 0], PORT).into(), Token(1)).expect("listening");
    let (mut client, flow) = Client::connect(&mut host, listener);
    let mut frame = tcp4(PEER, US, &client.segment(TcpControl::Psh, b"partial"));
    frame[50] ^= 0xff;
    host.receive(&frame);
    assert_eq!(read(&mut host, flow), b"");
    host.receive_as(&frame, ChecksumStatus::Verified);
    assert_eq!(read(&mut host, flow), b"partial");
    client.next += 7;
    host.shard.abort(flow);
}

#[test]
fn software_checksums_and_the_device_agree() {
    let offloading = Capabilities { transmit_checksum: true, ..capabilities() };
    let dialogue = |device| {
        let mut host = Host::with_device(0, 1, Ipv4Source::Static(configuration()), device);
        host.sent();
        let listener = host.shard.listen(([0, 0, 0, 0], PORT).into(), Token(1)).expect("listening");
        let (mut client, flow) = Client::connect(&mut host, listener);
        client.send(&mut host, b"request");
        read(&mut host, flow);
        for len in [1, 2, 3, 1000, 1459] {
            let bytes: Vec<u8> = (0..len).map(|n: u32| (n * 7) as u8).collect();
            send(&mut host, flow, &bytes);
        }
        host.shard.shutdown(flow);
        host.sent()
    };
    let software = dialogue(capabilities());
    assert!(software.len() >= 2);
    // `read_tcp4` has verified each; the device computed the others from what is left for it.
    payload_of(&software);
    assert_eq!(software, dialogue(offloading));
}

#[test]
fn rfc9293_3_5_1_a_segment_for_nobody_is_reset() {
    let mut host = Host::new();
    let client = Client { next: TcpSeqNumber(5), acknowledged: TcpSeqNumber(77) };
    host.receive(&tcp4(PEER, US, &client.segment(TcpControl::None, b"")));
    let reset = host.sent_one();
    assert_eq!(reset[..6], PEER_MAC);
    read_tcp4(&reset, |_, tcp| {
        assert_eq!((tcp.control, tcp.seq_number), (TcpControl::Rst, TcpSeqNumber(77)));
    });
}

#[test]
fn rfc9293_3_9_2_3_a_syn_to_everybody_is_ignored() {
    let mut host = Host::new();
    host.introduce_peer();
    host.shard.listen(([0, 0, 0, 0], PORT).into(), Token(1)).expect("listening");
    let client = Client { next: TcpSeqNumber(ISN), acknowledged: TcpSeqNumber(0) };
    let syn = TcpRepr { ack_number: None, ..client.segment(TcpControl::Syn, b"") };
    for everybody in [[255, 255, 255, 255], [10, 0, 0, 255], [224, 0, 0, 1]].map(Ipv4Addr::from) {
        host.receive(&tcp4(PEER, everybody, &syn));
        assert!(host.sent().is_empty(), "{everybody}");
        let refused = host.shard.connect((everybody, PORT).into(), Token(2));
        assert_eq!(refused, Err(ConnectError::InvalidAddress), "{everybody}");
    }
    assert_eq!((host.shard.tcp_gauges().half_open, host.shard.network.pool.in_use()), (0, 0));
    host.receive(&tcp4(PEER, US, &syn));
    assert_eq!(host.shard.tcp_gauges().half_open, 1);
}

#[test]
fn a_segment_shorter_than_its_header_is_dropped_before_tcp() {
    let mut host = Host::new();
    host.receive(&ipv4(PEER, US, smoltcp::wire::IpProtocol::Tcp, &[0; 19]));
    assert_eq!(host.drops(DropReason::Truncated), 1);
}

#[test]
fn an_open_flow_survives_segments_with_a_flipped_bit() {
    let mut random = super::garbage::Random(0x5eed_0002);
    let mut host = Host::new();
    let listener = host.shard.listen(([0, 0, 0, 0], PORT).into(), Token(1)).expect("listening");
    let (mut client, flow) = Client::connect(&mut host, listener);
    let mut expected = Vec::new();
    for round in 0..3_000_u32 {
        let payload: Vec<u8> = (0..random.below(64)).map(|_| random.next() as u8).collect();
        let good = tcp4(PEER, US, &client.segment(TcpControl::Psh, &payload));
        for _ in 0..4 {
            // One bit: two may cancel in a sum.
            let mut bad = good.clone();
            let at = 14 * 8 + random.below((good.len() - 14) * 8);
            bad[at / 8] ^= 1 << (at % 8);
            host.receive(&bad);
        }
        client.send(&mut host, &payload);
        expected.extend_from_slice(&payload);
        for frame in host.sent() {
            if frame.len() >= 54 && frame[23] == 6 {
                read_tcp4(&frame, |_, tcp| assert_ne!(tcp.control, TcpControl::Rst, "round {round}"));
            }
        }
        let got = read(&mut host, flow);
        assert_eq!(got, core::mem::take(&mut expected), "round {round}");
        while host.shard.poll_event().is_some() {}
    }
    host.shard.abort(flow);
    host.sent();
    assert_eq!(host.shard.network.pool.in_use(), 0);
}
