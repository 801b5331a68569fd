//! RFC 8899, RFC 4821, RFC 2923: paths that drop what is too long and say nothing. RFC 1191 and RFC 8201: those that say it.

use weir_tcp::{Counter, IcmpErrorKind};

use crate::harness::Dialogue;
use crate::script::Script;

const OPTIONS: &str = "mss 1460,sackOK,ws 7,ts 100 0";

/// Waits for the next segment. Answers it.
fn wait_for(d: &mut Dialogue) -> Script {
    for _ in 0..1_000 {
        if let Some(seen) = d.next() {
            return seen;
        }
        d.after_ms(100);
    }
    panic!("nothing was sent for 100 s");
}

/// The next retransmission of the first byte after `timeouts` have been counted.
fn first_after(d: &mut Dialogue, timeouts: u64) -> u32 {
    while d.count(Counter::RetransmissionTimeouts) < timeouts {
        d.drain();
        d.after_ms(10);
    }
    wait_for(d).len
}

/// Headers and timestamps of a segment.
fn headers(d: &Dialogue) -> u32 {
    if d.local.is_ipv4() { 52 } else { 72 }
}

#[test]
fn s4_3_full_segments_that_time_out_twice_are_cut_to_the_base() {
    for mut d in [Dialogue::new(), Dialogue::v6()].map(|d| d.accepted(OPTIONS)) {
        let headers = headers(&d);
        d.write(4_000);
        assert_eq!(d.drain()[0].len, 1_500 - headers);
        assert_eq!(first_after(&mut d, 1), 1_500 - headers, "once may be congestion");
        assert_eq!(first_after(&mut d, 2), 1_280 - headers);
        assert_eq!(d.count(Counter::PathMtuBlackHoles), 1);
        d.peer(&format!(". 1:1(0) ack {} <ts 102 0>", 1 + 1_500 - headers));
        assert!(d.drain().iter().all(|segment| segment.len <= 1_280 - headers));
        // RFC 8200, 5: IPv6 never goes below; IPv4 does, once.
        let timeouts = d.count(Counter::RetransmissionTimeouts);
        let least = if d.local.is_ipv4() { 552 - headers } else { 1_280 - headers };
        assert_eq!(first_after(&mut d, timeouts + 4), least);
        assert_eq!(first_after(&mut d, timeouts + 6), least);
    }
}

#[test]
fn s4_3_short_segments_prove_nothing() {
    let mut d = Dialogue::established();
    d.write(400);
    first_after(&mut d, 5);
    assert_eq!(d.count(Counter::PathMtuBlackHoles), 0);
}

#[test]
fn s4_3_a_timeout_now_and_then_proves_nothing() {
    let mut d = Dialogue::established();
    let mut acked = 1;
    for i in 1..=10 {
        d.write(1_448);
        assert_eq!(first_after(&mut d, i), 1_448);
        acked += 1_448;
        d.peer(&format!(". 1:1(0) ack {acked} <ts 102 0>"));
    }
    assert_eq!(d.count(Counter::PathMtuBlackHoles), 0);
}

/// A flow that has fallen to the base, was acknowledged, and may probe.
fn at_base() -> (Dialogue, u32) {
    let mut d = Dialogue::established();
    d.write(4_000);
    first_after(&mut d, 2);
    d.peer(". 1:1(0) ack 4001 <ts 102 0>");
    d.drain();
    assert_eq!(d.count(Counter::PathMtuProbes), 0);
    d.after_ms(5_100);
    (d, 4_001)
}

#[test]
fn s5_3_a_probe_that_arrives_raises_the_path() {
    let (mut d, una) = at_base();
    d.write(10_000);
    let sent = d.drain();
    let lens: Vec<u32> = sent.iter().map(|segment| segment.len).collect();
    assert_eq!(&lens[..2], [1_448, 1_228], "one probe, and the rest as before");
    assert!(lens[1..].iter().all(|&len| len <= 1_228));
    d.peer(&format!(". 1:1(0) ack {} <ts 103 0>", una + 1_448));
    assert_eq!((d.count(Counter::PathMtuProbes), d.count(Counter::PathMtuRaises)), (1, 1));
    d.peer(&format!(". 1:1(0) ack {} <ts 103 0>", una + 10_000));
    d.drain();
    d.write(5_000);
    assert_eq!(wait_for(&mut d).len, 1_448);
    d.after_ms(1_000_000);
    assert_eq!(d.count(Counter::PathMtuProbes), 1, "nothing is left to be found");
}

#[test]
fn rfc_4821_7_6_a_lost_probe_is_no_congestion() {
    let (mut d, una) = at_base();
    d.write(14_000);
    let sent = d.drain();
    assert_eq!(sent[0].len, 1_448);
    let end = sent.last().unwrap().seq + sent.last().unwrap().len;
    d.after_ms(10);
    d.peer(&format!(". 1:1(0) ack {una} <ts 103 0,sack {}:{end}>", una + 1_448));
    // What was lost goes again, in two pieces.
    d.after_ms(50);
    let again: Vec<(u32, u32)> = d.drain().iter().map(|segment| (segment.seq, segment.len)).collect();
    assert!(again.contains(&(una, 1_228)) && again.contains(&(una + 1_228, 220)), "{again:?}");
    assert_eq!((d.count(Counter::PathMtuProbesLost), d.count(Counter::FastRecoveries)), (1, 0));
    assert_eq!(d.count(Counter::PathMtuRaises), 0);
}

/// A path that carries 1,400 bytes and says nothing: the search finds nearly that, and then rests.
#[test]
fn s5_3_2_the_search_comes_close_and_ends() {
    let (mut d, mut una) = at_base();
    let (mut stamp, mut longest) = (103, 0);
    for _ in 0..400 {
        d.write(6_000);
        let end = una + 6_000;
        // Ranges that have arrived.
        let mut there: Vec<(u32, u32)> = Vec::new();
        while una < end {
            d.after_ms(10);
            let sent = d.drain();
            longest = sent.iter().map(|segment| segment.len + 52).max().unwrap_or(longest);
            there.extend(sent.iter().filter(|s| s.len + 52 <= 1_400).map(|s| (s.seq, s.seq + s.len)));
            there.sort_unstable();
            for &(from, to) in &there {
                una = if from <= una { una.max(to) } else { una };
            }
            there.retain(|&(from, _)| from > una);
            let sack = match (there.first(), there.last()) {
                (Some(first), Some(last)) => format!(",sack {}:{}", first.0, last.1),
                _ => String::new(),
            };
            d.peer(&format!(". 1:1(0) ack {una} <ts {stamp} 0{sack}>"));
            stamp += 1;
        }
        d.after_ms(1_000);
    }
    assert!((1_368..=1_400).contains(&longest), "{longest}");
    assert!(d.count(Counter::PathMtuProbes) <= 3 * 4 + 3, "{} probes", d.count(Counter::PathMtuProbes));
    assert_eq!((d.count(Counter::FastRecoveries), d.count(Counter::PathMtuBlackHoles)), (0, 1));
}

/// RFC 1191, 6.3: what ICMP has lowered is tried again after ten minutes.
#[test]
fn rfc_1191_6_3_a_path_that_has_improved_is_noticed() {
    let mut d = Dialogue::established();
    d.write(1_448);
    d.icmp(1, IcmpErrorKind::PacketTooBig(1_000));
    d.peer(". 1:1(0) ack 1449 <ts 102 0>");
    d.drain();
    d.after_ms(590_000);
    d.write(5_000);
    assert!(d.drain().iter().all(|segment| segment.len <= 948));
    d.peer(". 1:1(0) ack 6449 <ts 103 0>");
    d.after_ms(11_000);
    d.write(5_000);
    assert_eq!(wait_for(&mut d).len, 1_448);
    // Too big still, but more than before: the next probe asks for that.
    d.icmp(6_449, IcmpErrorKind::PacketTooBig(1_300));
    d.after_ms(20);
    d.drain();
    d.peer(". 1:1(0) ack 6449 <ts 104 0,sack 7897:11449>");
    d.after_ms(500);
    d.drain();
    d.peer(". 1:1(0) ack 11449 <ts 104 0>");
    d.drain();
    d.after_ms(5_100);
    d.write(5_000);
    assert_eq!(wait_for(&mut d).len, 1_300 - 52);
    assert_eq!(d.count(Counter::IcmpIgnored), 0);
}

/// What is longer is cut for IPv6 as well, down to what every link carries and no further (RFC 8201, 4).
#[test]
fn rfc_8201_4_packet_too_big() {
    let mut d = Dialogue::v6().accepted(OPTIONS);
    d.write(1_428);
    d.expect("P. 1:1429(1428)");
    d.icmp(1, IcmpErrorKind::PacketTooBig(1_279));
    d.expect_nothing();
    assert_eq!((d.count(Counter::IcmpIgnored), d.count(Counter::PathMtuReductions)), (1, 0));
    d.icmp(1, IcmpErrorKind::PacketTooBig(1_280));
    d.expect(". 1:1209(1208)");
    d.expect(". 1209:1429(220)");
    assert_eq!(d.count(Counter::PathMtuReductions), 1);
}

/// Rare state is given back with its flow.
#[test]
fn a_search_ends_with_its_flow() {
    for _ in 0..3 {
        let (mut d, _) = at_base();
        d.abort();
        d.drain();
        d.expect_all_gone();
    }
}
