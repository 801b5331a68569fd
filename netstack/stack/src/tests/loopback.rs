//! A client and a server on the same core, without a wire.

use alloc::vec::Vec;

use weir_socket::{CloseReason, Event, Readiness, Received, Sockets, Token};

use super::wire::{Host, US};
use crate::Event as Counted;

const LISTENER: Token = Token(1);
const SERVER: Token = Token(2);
const CLIENT: Token = Token(3);

/// A server that echoes what it reads, and a client that sends `request` and reads until the end.
fn converse(host: &mut Host, address: [u8; 4], request: &[u8]) -> Vec<u8> {
    let listener = host.shard.listen(([0, 0, 0, 0], 8081).into(), LISTENER).expect("listening");
    let client = host.shard.connect((address, 8081).into(), CLIENT).expect("a flow");
    let (mut answer, mut unsent, mut ended) = (Vec::new(), request, false);
    for _ in 0..2_000 {
        assert!(host.sent().is_empty(), "nothing goes to the wire");
        while let Some(event) = host.shard.poll_event() {
            match event {
                Event::Acceptable { .. } => drop(host.shard.accept(listener, SERVER)),
                Event::Flow { flow, token: SERVER, ready } if ready.contains(Readiness::READABLE) => loop {
                    match host.shard.receive(flow) {
                        Received::Data(chunk) => host.shard.send(flow, chunk).expect("room"),
                        Received::End => break host.shard.close(flow),
                        Received::Nothing | Received::Closed(_) => break,
                    }
                },
                Event::Flow { flow, token: CLIENT, .. } => loop {
                    match host.shard.receive(flow) {
                        Received::Data(chunk) => answer.extend_from_slice(&chunk),
                        Received::End => {
                            host.shard.close(flow);
                            ended = true;
                            break;
                        }
                        Received::Nothing => break,
                        Received::Closed(reason) => {
                            assert_eq!(reason, CloseReason::Released);
                            break;
                        }
                    }
                },
                Event::Flow { .. } => {}
            }
        }
        while !unsent.is_empty() && host.shard.send_room(client) > 0 {
            let (now, later) = unsent.split_at(unsent.len().min(1000));
            let mut packet = host.shard.allocate().expect("a buffer");
            packet.extend_from_slice(now).expect("fits");
            host.shard.send(client, packet.freeze()).expect("room");
            unsent = later;
            if unsent.is_empty() {
                host.shard.shutdown(client);
            }
        }
        if ended {
            break;
        }
        host.advance(core::time::Duration::from_millis(1));
    }
    host.shard.unlisten(listener);
    answer
}

#[test]
fn a_server_at_127_0_0_1_answers_a_client_of_the_same_core() {
    let mut host = Host::new();
    let request: Vec<u8> = (0..20_000_u32).map(|n| (n % 253) as u8).collect();
    assert_eq!(converse(&mut host, [127, 0, 0, 1], &request), request);
    for _ in 0..10 {
        host.advance(core::time::Duration::from_millis(100));
    }
    assert_eq!(host.shard.network.pool.in_use(), 0);
    assert!(host.events(Counted::LoopbackDelivered) > 20);
    assert_eq!(host.shard.counters().dropped_total(), 0);
}

#[test]
fn our_own_address_is_as_good() {
    let mut host = Host::new();
    assert_eq!(converse(&mut host, US.octets(), b"ping"), b"ping");
}

#[test]
fn an_event_from_loopback_keeps_the_core_awake() {
    let mut host = Host::new();
    let _ = host.shard.listen(([127, 0, 0, 1], 8081).into(), LISTENER).expect("listening");
    let _ = host.shard.connect(([127, 0, 0, 1], 8081).into(), CLIENT).expect("a flow");
    host.turn();
    assert_eq!(host.shard.next_deadline(), Some(host.now));
    while host.shard.poll_event().is_some() {}
    assert_ne!(host.shard.next_deadline(), Some(host.now));
}
