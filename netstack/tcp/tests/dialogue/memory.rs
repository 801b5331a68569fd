//! Memory of all flows of a core: what a peer or a flood of them can make us hold, and that all of it comes back.

use weir_packet::Packet;
use weir_socket::SendError;
use weir_tcp::Counter;

use crate::harness::{Dialogue, Other};

const BUFFERS: usize = 512;
const SEGMENT: u32 = 1_000;

/// Opens a flow for `other`, which has nothing so far.
fn open(d: &mut Dialogue, other: Other) -> Other {
    let before = d.switch(other);
    d.peer("S 0:0(0) win 65535 <mss 1460,sackOK,ws 7>");
    d.expect("S. 0:0(0) ack 1");
    d.peer(". 1:1(0) ack 1 win 65535");
    d.accept();
    d.drain();
    d.switch(before)
}

/// What a peer knows about its flow: what it has sent, and how far it may.
struct Peer {
    other: Other,
    sent: u32,
    edge: u32,
}

fn peers(d: &mut Dialogue, count: u16) -> Vec<Peer> {
    d.listen();
    (0..count).map(|i| Peer { other: open(d, Dialogue::client(1_000 + i)), sent: 1, edge: 65_536 }).collect()
}

/// Takes the acknowledgements that were sent to a peer: the right edge of its window never moves back.
fn hear(d: &mut Dialogue, peer: &mut Peer) {
    for seen in d.drain() {
        let ack = seen.ack.unwrap();
        let edge = ack + (u32::from(seen.win.unwrap()) << 5);
        assert!(edge >= peer.edge, "the edge moves back from {} to {edge}", peer.edge);
        (peer.edge, peer.sent) = (edge, peer.sent.max(ack));
    }
}

/// The same for a peer that is not spoken with.
fn hear_one(d: &mut Dialogue, peer: &mut Peer) {
    let me = d.switch(peer.other);
    hear(d, peer);
    peer.other = d.switch(me);
}

/// Each peer sends one more segment in order. Answers how many did.
fn everybody_sends(d: &mut Dialogue, peers: &mut [Peer]) -> usize {
    let mut senders = 0;
    for peer in peers {
        if peer.sent + SEGMENT > peer.edge {
            continue;
        }
        let me = d.switch(peer.other);
        let (start, end) = (peer.sent, peer.sent + SEGMENT);
        let refused = d.count(Counter::TextRefused);
        d.peer(&format!(". {start}:{end}({SEGMENT}) ack 1"));
        hear(d, peer);
        if d.count(Counter::TextRefused) == refused {
            peer.sent = end;
            senders += 1;
        }
        peer.other = d.switch(me);
    }
    senders
}

fn read_all(d: &mut Dialogue, peers: &mut [Peer]) -> u32 {
    let mut len = 0;
    for peer in peers {
        let me = d.switch(peer.other);
        len += d.read();
        hear(d, peer);
        peer.other = d.switch(me);
    }
    len
}

/// Fills all windows without reading, until nothing is taken any more.
fn fill(d: &mut Dialogue, peers: &mut [Peer]) {
    let mut rounds = 0;
    while everybody_sends(d, peers) > 0 {
        rounds += 1;
        assert!(rounds < 1_000 && d.pool.free() >= BUFFERS / 32 - 1, "{} buffers are left", d.pool.free());
    }
}

#[test]
fn a_flood_of_half_read_flows_leaves_buffers_and_loses_nothing() {
    let mut d = Dialogue::with_buffers(BUFFERS, |_| {});
    let mut peers = peers(&mut d, 40);
    fill(&mut d, &mut peers);
    // 40 windows of 64 KiB would be 2,600 buffers.
    assert!(d.count(Counter::TextRefused) > 0);
    assert!(d.pool.free() >= BUFFERS / 32 - 1 && d.pool.free() < BUFFERS / 16 + 40, "{}", d.pool.free());
    // Once read, all goes on: what had been refused comes again.
    for _ in 0..20 {
        assert!(read_all(&mut d, &mut peers) > 0);
        d.turn();
        assert!(d.pool.free() > BUFFERS / 2, "{}", d.pool.free());
        assert_eq!(everybody_sends(&mut d, &mut peers), 40);
    }
    read_all(&mut d, &mut peers);
    assert_eq!((d.engine.gauges().receive_queued, d.pool.in_use()), (0, 0));
}

#[test]
fn what_came_out_of_order_goes_first() {
    let mut d = Dialogue::with_buffers(BUFFERS, |_| {});
    let mut peers = peers(&mut d, 16);
    let (hoarders, others) = peers.split_at_mut(8);
    for peer in hoarders.iter_mut() {
        let me = d.switch(peer.other);
        for i in 1..=32 {
            let start = 1 + i * SEGMENT;
            d.peer(&format!(". {start}:{}({SEGMENT}) ack 1", start + SEGMENT));
        }
        hear(&mut d, peer);
        peer.other = d.switch(me);
    }
    assert_eq!((d.pool.in_use(), d.count(Counter::ReorderedPruned)), (8 * 32, 0));
    for _ in 0..30 {
        assert_eq!(everybody_sends(&mut d, others), 8, "data in order are taken");
    }
    d.turn();
    let pruned = d.count(Counter::ReorderedPruned);
    assert!((1..=8).contains(&pruned) && d.count(Counter::TextRefused) == 0, "{pruned}");
    read_all(&mut d, others);
    // The others have lost what was theirs, and send it again.
    let mut received = 0;
    for _ in 0..40 {
        everybody_sends(&mut d, hoarders);
        received += read_all(&mut d, hoarders);
    }
    assert!(received >= 8 * 33 * SEGMENT, "{received}");
}

/// Flows that hold what they can get leave enough for one that comes: it is admitted, heard and answered.
#[test]
fn who_comes_late_is_served_all_the_same() {
    let mut d = Dialogue::with_buffers(BUFFERS, |_| {});
    let mut peers = peers(&mut d, 40);
    fill(&mut d, &mut peers);
    d.remote = ([192, 0, 2, 77], 7).into();
    d.peer("S 0:0(0) win 65535 <mss 1460>");
    d.expect("S. 0:0(0) ack 1");
    d.peer(". 1:1(0) ack 1");
    d.accept();
    d.peer("P. 1:101(100) ack 1");
    assert_eq!(d.read(), 100);
    d.write(1_000);
    let answered: u32 = d.drain().iter().map(|segment| segment.len).sum();
    assert_eq!((answered, d.count(Counter::FlowsRefused)), (1_000, 0));
}

#[test]
fn new_flows_are_refused_by_name_and_admitted_later() {
    let mut d = Dialogue::with_buffers(BUFFERS, |_| {});
    let mut peers = peers(&mut d, 40);
    fill(&mut d, &mut peers);
    let mut hoard = Vec::new();
    while d.pool.free() >= BUFFERS / 32 {
        hoard.push(d.pool.allocate().unwrap());
    }
    d.turn();
    let flows = d.engine.gauges().flows;
    d.remote = ([192, 0, 2, 77], 7).into();
    d.peer("S 0:0(0) win 65535 <mss 1460>");
    d.expect("S. 0:0(0) ack 1");
    d.peer(". 1:1(0) ack 1");
    d.expect_nothing();
    assert_eq!((d.count(Counter::FlowsRefused), d.engine.gauges().flows), (1, flows));
    let refused = d.engine.connect(d.local, "192.0.2.5:9".parse().unwrap(), weir_socket::Token(3));
    assert_eq!(refused, Err(weir_socket::ConnectError::TableFull));
    assert_eq!(d.count(Counter::FlowsRefused), 2);
    // Room comes; the handshake was kept.
    drop(hoard);
    read_all(&mut d, &mut peers);
    d.after_ms(1_000);
    let again = d.link.sent.iter().position(|(outbound, _)| outbound.destination == d.remote.ip().into()).unwrap();
    let syn_ack = d.link.sent.remove(again).unwrap();
    d.link.sent.clear();
    d.link.sent.push_back(syn_ack);
    d.expect("S. 0:0(0) ack 1");
    d.peer(". 1:1(0) ack 1");
    d.accept();
    assert_eq!(d.count(Counter::ResetsOut), 0);
}

/// Windows are tuned up as far as the budget for all of them goes, and give back when their flow ends.
#[test]
fn windows_share_a_budget() {
    const BUDGET: u64 = 100_000;
    let mut d = Dialogue::with_buffers(4_096, |c| c.receive_budget = Some(BUDGET as usize));
    let mut peers = peers(&mut d, 3);
    for _ in 0..40 {
        for _ in 0..40 {
            everybody_sends(&mut d, &mut peers);
            read_all(&mut d, &mut peers);
        }
        d.after_ms(150);
        d.link.sent.clear();
        assert!(d.engine.gauges().window_tuned <= BUDGET);
    }
    assert_eq!(d.engine.gauges().window_tuned, BUDGET, "the budget is used");
    for peer in peers {
        d.switch(peer.other);
        d.abort();
    }
    assert_eq!(d.engine.gauges().window_tuned, 0);
}

/// A window that was tuned up shrinks while buffers are short, without its edge moving back.
#[test]
fn windows_shrink_under_pressure() {
    let mut d = Dialogue::with_buffers(BUFFERS, |_| {});
    let mut peers = peers(&mut d, 1);
    for _ in 0..50 {
        for _ in 0..60 {
            everybody_sends(&mut d, &mut peers);
            read_all(&mut d, &mut peers);
        }
        d.after_ms(150);
        hear_one(&mut d, &mut peers[0]);
    }
    let tuned = d.engine.gauges().window_tuned;
    assert!(tuned > 0);
    let hoard: Vec<Packet> = (0..BUFFERS * 15 / 16).map(|_| d.pool.allocate().unwrap()).collect();
    for _ in 0..200 {
        everybody_sends(&mut d, &mut peers);
        read_all(&mut d, &mut peers);
        d.after_ms(150);
        hear_one(&mut d, &mut peers[0]);
    }
    assert_eq!(d.engine.gauges().window_tuned, 0);
    let offered = peers[0].edge - peers[0].sent;
    assert!(offered <= 2 * 1_460, "{offered} are offered");
    drop(hoard);
    everybody_sends(&mut d, &mut peers);
    read_all(&mut d, &mut peers);
    d.after_ms(150);
    hear_one(&mut d, &mut peers[0]);
    assert!(peers[0].edge - peers[0].sent > 30_000, "the window opens again");
}

#[test]
fn without_a_buffer_nothing_is_sent_and_then_all_is() {
    let mut d = Dialogue::with_buffers(BUFFERS, |_| {}).accepted("mss 1460,sackOK,ws 7,ts 100 0");
    let written: Vec<u8> = (0..20_000).map(|_| 0).collect();
    let mut hoard: Vec<Packet> = Vec::new();
    while let Some(packet) = d.pool.allocate() {
        hoard.push(packet);
    }
    d.engine.send(d.flow(), weir_packet::Chunk::from_static(Box::leak(written.into_boxed_slice()))).unwrap();
    d.turn();
    d.after_ms(5_000);
    assert!(d.link.sent.is_empty() && d.count(Counter::NoBuffer) > 0);
    drop(hoard);
    d.turn();
    assert_eq!(d.link.sent.len(), 10, "the initial window");
    d.link.sent.clear();
    d.abort();
    d.link.sent.clear();
    d.expect_all_gone();
}

/// A peer that never acknowledges: as much as a queue takes, a few segments now and then, and an end.
#[test]
fn a_peer_that_never_acknowledges() {
    let mut d = Dialogue::with_config(|c| c.send_queue_max = 100_000).accepted("mss 1460,sackOK,ws 7,ts 100 0");
    d.write(100_000);
    match d.engine.send(d.flow(), weir_packet::Chunk::from_static(b"more")) {
        Err(SendError::Full(_)) => {}
        other => panic!("{other:?}"),
    }
    let held = d.pool.in_use();
    d.after_ms(299_000);
    assert!(d.pool.in_use() <= held, "{} buffers after {held}", d.pool.in_use());
    let sent = d.drain().len();
    assert!(sent < 60, "{sent} segments in 300 s");
    d.after_ms(120_000);
    assert!(d.closed_for().is_some());
    d.close();
    d.drain();
    d.expect_all_gone();
}

/// A peer that acknowledges one byte at a time: each costs a bounded answer, and no memory.
#[test]
fn a_peer_that_acknowledges_single_bytes() {
    let mut d = Dialogue::with_config(|c| c.send_queue_max = 40_000).accepted("mss 1460,sackOK,ws 7,ts 100 0");
    d.write(40_000);
    d.drain();
    let held = d.pool.in_use();
    let mut sent = 0;
    for ack in 2..=14_000 {
        d.peer(&format!(". 1:1(0) ack {ack} <ts 102 0>"));
        sent += d.drain().len();
        assert!(d.pool.in_use() <= held);
    }
    // Slow start counts bytes (RFC 5681, 3.1): no more segments than 28,000 bytes are.
    assert!(sent <= 28, "{sent} segments");
    assert_eq!(d.count(Counter::SegmentsRetransmitted), 0);
    d.peer(". 1:1(0) ack 14481 <ts 102 0>");
    d.abort();
    d.drain();
    d.expect_all_gone();
}

/// A peer that reports every second byte: what is on its way is not cut to pieces, which would use up the records of all.
#[test]
fn a_peer_that_reports_single_bytes() {
    let mut d = Dialogue::with_buffers(256, |c| c.flows_max = 64);
    d.link.segmentation_max = 60_000;
    d.listen();
    let other = open(&mut d, Dialogue::client(9));
    let mut d = d;
    let me = open(&mut d, Dialogue::client(10));
    d.switch(me);
    d.write(14_480);
    d.drain();
    for i in 0..4_600 {
        let at = |n: u32| 2 + 2 * (3 * (i % 2_300) + n);
        let (a, b, c) = (at(0), at(1), at(2));
        d.peer(&format!(". 1:1(0) ack 1 <sack {a}:{} {b}:{} {c}:{}>", a + 1, b + 1, c + 1));
        d.link.sent.clear();
    }
    // The records of another flow are there.
    d.switch(other);
    d.write(1_000);
    d.expect("P. 1:1001(1000) ack 1");
}

/// A peer that closes its window and answers every probe: its queue, and a probe now and then.
#[test]
fn a_peer_that_never_reads() {
    let mut d = Dialogue::with_config(|c| c.send_queue_max = 50_000).accepted("mss 1460,sackOK,ws 7,ts 100 0");
    d.peer(". 1:1(0) ack 1 win 0 <ts 102 0>");
    d.write(50_000);
    let held = d.pool.in_use();
    let mut probes = 0;
    for i in 0..600 {
        d.after_ms(10_000);
        probes += d.drain().len();
        d.peer(&format!(". 1:1(0) ack 1 win 0 <ts {} 0>", 103 + i));
        assert!(d.pool.in_use() <= held);
    }
    assert!((90..=120).contains(&probes), "{probes} probes in 6,000 s");
    d.close();
    d.after_ms(400_000);
    d.drain();
    d.expect_all_gone();
}
