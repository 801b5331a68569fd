//! RFC 2018, 6675 and 8985: selective acknowledgements, RACK and tail loss probes.

use std::time::Duration;

use weir_tcp::Counter;

use crate::harness::Dialogue;

/// A flow with a round trip of 100 ms that has sent ten segments.
fn ten_out() -> Dialogue {
    let mut d = Dialogue::new();
    d.listen();
    d.peer("S 0:0(0) win 65535 <mss 1460,sackOK,ws 7,ts 100 0>");
    d.expect("S. 0:0(0) ack 1");
    d.after_ms(100);
    d.peer(". 1:1(0) ack 1 win 65535 <ts 101 0>");
    d.accept();
    d.write(14_480);
    assert_eq!(d.drain().len(), 10);
    d.after_ms(100);
    d
}

fn start(segment: u32) -> u32 {
    1 + segment * 1_448
}

#[test]
fn rfc_6675_5_a_hole_is_sent_again_and_nothing_else() {
    let mut d = ten_out();
    for end in 2..=4 {
        d.peer(&format!(". 1:1(0) ack 1 <ts 102 0,sack {}:{}>", start(1), start(end)));
    }
    d.expect(". 1:1449(1448)");
    d.expect_nothing();
    d.peer(&format!(". 1:1(0) ack 1 <ts 102 0,sack {}:{}>", start(1), start(10)));
    d.expect_nothing();
    d.after_ms(100);
    d.peer(&format!(". 1:1(0) ack {} <ts 103 0>", start(10)));
    assert_eq!(d.engine.send_queued(d.flow()), 0);
    assert_eq!((d.count(Counter::FastRecoveries), d.count(Counter::SegmentsRetransmitted)), (1, 1));
    d.after(Duration::from_secs(5));
    d.expect_nothing();
}

#[test]
fn rfc_8985_6_several_holes_are_sent_again_in_one_round_trip() {
    let mut d = ten_out();
    let (a, b, c) = (start(1), start(3), start(5));
    d.peer(&format!(". 1:1(0) ack 1 <ts 102 0,sack {}:{}>", a, start(2)));
    d.peer(&format!(". 1:1(0) ack 1 <ts 102 0,sack {}:{} {}:{}>", b, start(4), a, start(2)));
    d.peer(&format!(". 1:1(0) ack 1 <ts 102 0,sack {}:{} {}:{} {}:{}>", c, start(10), b, start(4), a, start(2)));
    let again: Vec<u32> = d.drain().iter().map(|segment| segment.seq).collect();
    assert_eq!(again, [start(0), start(2), start(4)]);
}

#[test]
fn rfc_8985_6_a_lost_retransmission_is_sent_again_without_a_timeout() {
    let mut d = ten_out();
    d.write(14_480);
    let sack = |end: u32| format!(". 1:1(0) ack 1 <ts 102 0,sack {}:{}>", start(1), start(end));
    for end in 2..=9 {
        d.peer(&sack(end));
    }
    let sent: Vec<u32> = d.drain().iter().map(|segment| segment.seq).collect();
    assert_eq!(sent, [start(10), start(11), start(0), start(12), start(13), start(14)], "limited transmit, recovery");
    d.after_ms(100);
    // What was sent before the retransmission arrives, then what was sent after it.
    d.peer(&sack(12));
    assert!(d.drain().iter().all(|segment| segment.seq > start(14)));
    d.peer(&sack(13));
    d.expect(". 1:1449(1448)");
    assert_eq!(d.count(Counter::RetransmissionTimeouts), 0);
}

#[test]
fn rfc_8985_6_reordering_by_less_than_a_quarter_round_trip_is_forgiven() {
    let mut d = ten_out();
    d.peer(&format!(". 1:1(0) ack 1 <ts 102 0,sack {}:{}>", start(1), start(2)));
    d.after_ms(20);
    d.peer(&format!(". 1:1(0) ack {} <ts 102 0>", start(2)));
    d.after_ms(20);
    d.peer(&format!(". 1:1(0) ack {} <ts 102 0>", start(10)));
    assert_eq!(d.count(Counter::SegmentsRetransmitted), 0);
    assert_eq!(d.count(Counter::FastRecoveries), 0);
}

/// Acknowledgements were lost: one tells at once what several would have told, and nothing of that is reordering.
#[test]
fn rfc_8985_6_2_what_one_acknowledgement_tells_is_in_order() {
    let mut d = ten_out();
    d.peer(&format!(". 1:1(0) ack {} <ts 102 0,sack {}:{} {}:{}>", start(2), start(6), start(10), start(3), start(5)));
    let again: Vec<u32> = d.drain().iter().map(|segment| segment.seq).collect();
    assert_eq!(again, [start(2), start(5)]);
}

#[test]
fn rfc_8985_6_3_the_reordering_timer_finds_the_hole() {
    let mut d = ten_out();
    d.peer(&format!(". 1:1(0) ack 1 <ts 102 0,sack {}:{}>", start(1), start(2)));
    d.expect_nothing();
    d.after_ms(27);
    d.expect(". 1:1449(1448)");
}

#[test]
fn rfc_8985_7_a_lost_tail_is_probed_after_two_round_trips() {
    let mut d = ten_out();
    d.peer(&format!(". 1:1(0) ack {} <ts 102 0>", start(7)));
    d.drain();
    d.after_ms(205);
    d.expect(&format!("P. {}:{}(1448)", start(9), start(10)));
    assert_eq!((d.count(Counter::TailLossProbes), d.count(Counter::RetransmissionTimeouts)), (1, 0));
    // The probe arrives: the holes before it show.
    d.after_ms(100);
    d.peer(&format!(". 1:1(0) ack {} <ts 103 0,sack {}:{}>", start(7), start(9), start(10)));
    // Proportional rate reduction: one for each that was delivered.
    d.expect(&format!(". {}:{}(1448)", start(7), start(8)));
    d.expect_nothing();
    d.after_ms(100);
    d.peer(&format!(". 1:1(0) ack {} <ts 104 0,sack {}:{}>", start(8), start(9), start(10)));
    d.expect(&format!(". {}:{}(1448)", start(8), start(9)));
}

#[test]
fn rfc_8985_7_2_a_flight_that_begins_with_one_segment_is_probed_as_a_flight() {
    let mut d = ten_out();
    d.peer(&format!(". 1:1(0) ack {} <ts 102 0>", start(10)));
    d.drain();
    // Nothing is on its way; then several segments are, in one burst.
    d.write(4 * 1448);
    d.drain();
    d.after_ms(205);
    d.expect(&format!("P. {}:{}(1448)", start(13), start(14)));
    assert_eq!((d.count(Counter::TailLossProbes), d.count(Counter::RetransmissionTimeouts)), (1, 0));
}

#[test]
fn rfc_3522_a_late_original_undoes_the_timeout() {
    let mut d = ten_out();
    let stamp_before = 1_100;
    d.after_ms(2_000);
    let again = d.drain();
    assert!(!again.is_empty() && d.count(Counter::RetransmissionTimeouts) > 0);
    // The originals were late: the peer echoes their timestamp.
    let first = d.count(Counter::SpuriousRecoveries);
    let clock = again[0].options.clone().unwrap().ts.unwrap().0;
    let echo = clock.wrapping_sub(stamp_before);
    d.peer(&format!(". 1:1(0) ack {} <ts 103 {echo}>", start(3)));
    assert_eq!(d.count(Counter::SpuriousRecoveries), first + 1);
    assert!(d.drain().is_empty(), "what is on its way is not sent again");
}

#[test]
fn rfc_2018_8_a_peer_that_forgets_gets_everything_again() {
    let mut d = ten_out();
    d.peer(&format!(". 1:1(0) ack 1 <ts 102 0,sack {}:{}>", start(1), start(10)));
    d.drain();
    d.after_ms(1_000);
    d.drain();
    // It had reported segments 1 to 9, and now says it never had them.
    d.peer(&format!(". 1:1(0) ack {} <ts 103 0>", start(1)));
    d.after(Duration::from_secs(60));
    let again = d.drain();
    assert!(again.iter().any(|segment| segment.seq == start(1)), "{again:?}");
}

#[test]
fn rfc_3168_6_1_an_echo_reduces_once_per_window() {
    let mut d = Dialogue::with_config(|c| c.ecn = true);
    d.listen();
    d.peer("SEW 0:0(0) win 65535 <mss 1460,sackOK,ws 7,ts 100 0>");
    d.expect("SE. 0:0(0) ack 1");
    d.peer(". 1:1(0) ack 1 win 65535 <ts 101 0>");
    d.accept();
    d.write(40_000);
    d.turn();
    assert!(d.link.sent.iter().all(|(outbound, _)| outbound.ecn == weir_tcp::Ecn::Capable0));
    d.drain();
    d.peer(". 1:1(0) ack 1449 <ts 102 0>");
    d.drain();
    for i in 2..6 {
        d.peer(&format!("E. 1:1(0) ack {} <ts 102 0>", start(i)));
    }
    assert_eq!(d.count(Counter::EcnReductions), 1);
    let sent = d.drain();
    assert_eq!(sent.iter().filter(|segment| segment.flags.contains('W')).count(), 1);
    // And the other way: congestion experienced is echoed until the peer has reduced.
    d.ecn = weir_tcp::Ecn::CongestionExperienced;
    d.peer(". 1:1449(1448) ack 8689 <ts 103 0>");
    d.ecn = weir_tcp::Ecn::Capable0;
    d.peer(". 1449:2897(1448) ack 8689 <ts 103 0>");
    assert!(d.drain().last().unwrap().flags.contains('E'));
    d.peer("W. 2897:4345(1448) ack 8689 <ts 103 0>");
    d.peer(". 4345:5793(1448) ack 8689 <ts 103 0>");
    assert!(!d.drain().last().unwrap().flags.contains('E'));
}
