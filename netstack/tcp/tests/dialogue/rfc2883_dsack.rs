//! RFC 2883: duplicates are reported in the first SACK block. RFC 3708, RFC 8985, 7.4: what a sender learns from that.

use weir_tcp::Counter;

use crate::harness::Dialogue;

/// The first 1,000 bytes have arrived and are acknowledged.
fn received() -> Dialogue {
    let mut d = Dialogue::established();
    d.peer("P. 1:501(500) ack 1 <ts 102 0>");
    d.peer("P. 501:1001(500) ack 1 <ts 102 0>");
    assert_eq!(d.read(), 1_000);
    d.after_ms(50);
    d.drain_acks();
    d
}

#[test]
fn s4_1_1_a_full_duplicate_below_the_acknowledgement() {
    let mut d = received();
    d.peer("P. 501:1001(500) ack 1 <ts 103 0>");
    d.expect(". 1:1(0) ack 1001 <ts 0,sack 501:1001>");
    assert_eq!(d.count(Counter::DsackOldSent), 1);
    // Reported once.
    d.peer("P. 1201:1301(100) ack 1 <ts 104 0>");
    d.expect(". 1:1(0) ack 1001 <ts 0,sack 1201:1301>");
}

#[test]
fn s4_1_2_the_duplicate_stands_before_what_waits_out_of_order() {
    let mut d = received();
    d.peer("P. 1501:2001(500) ack 1 <ts 103 0>");
    d.expect(". 1:1(0) ack 1001 <ts 0,sack 1501:2001>");
    d.peer("P. 501:1001(500) ack 1 <ts 103 0>");
    d.expect(". 1:1(0) ack 1001 <ts 0,sack 501:1001 1501:2001>");
}

#[test]
fn s4_1_3_a_duplicate_of_what_waits_is_followed_by_what_contains_it() {
    let mut d = received();
    d.peer("P. 1501:2001(500) ack 1 <ts 103 0>");
    d.peer("P. 2501:3001(500) ack 1 <ts 103 0>");
    d.peer("P. 2001:2501(500) ack 1 <ts 103 0>");
    d.drain_acks();
    d.peer("P. 2001:2501(500) ack 1 <ts 103 0>");
    d.expect(". 1:1(0) ack 1001 <ts 0,sack 2001:2501 1501:3001>");
    assert_eq!((d.count(Counter::DsackOfoSent), d.count(Counter::OldData)), (1, 1));
}

#[test]
fn s4_2_a_partial_duplicate_is_reported_as_far_as_it_is_one() {
    let mut d = received();
    d.peer("P. 801:1201(400) ack 1 <ts 103 0>");
    d.expect(". 1:1(0) ack 1201 <ts 0,sack 801:1001>");
    assert_eq!(d.read(), 200);
    // The same above the acknowledgement.
    d.peer("P. 1501:2001(500) ack 1 <ts 103 0>");
    d.drain_acks();
    d.peer("P. 1801:2101(300) ack 1 <ts 103 0>");
    d.expect(". 1:1(0) ack 1201 <ts 0,sack 1801:2001 1501:2101>");
}

#[test]
fn a_report_takes_no_other_block_away() {
    let mut d = received();
    for start in [1_501, 2_501, 3_501] {
        d.peer(&format!("P. {start}:{}(500) ack 1 <ts 103 0>", start + 500));
    }
    d.drain_acks();
    d.peer("P. 501:1001(500) ack 1 <ts 103 0>");
    d.expect(". 1:1(0) ack 1001 <ts 0,sack 501:1001 3501:4001 2501:3001>");
    d.peer("P. 3501:4001(500) ack 1 <ts 103 0>");
    d.expect(". 1:1(0) ack 1001 <ts 0,sack 3501:4001 3501:4001 2501:3001>");
    d.peer("P. 4001:4501(500) ack 1 <ts 103 0>");
    d.expect(". 1:1(0) ack 1001 <ts 0,sack 3501:4501 2501:3001 1501:2001>");
}

#[test]
fn without_sack_nothing_is_reported() {
    let mut d = Dialogue::new().accepted("mss 1460");
    d.peer("P. 1:501(500) ack 1");
    assert_eq!(d.read(), 500);
    d.peer("P. 1:501(500) ack 1");
    d.expect(". 1:1(0) ack 501 <>");
    assert_eq!(d.count(Counter::DsackOldSent), 0);
}

#[test]
fn rfc_2018_4_data_of_ours_do_not_swallow_the_report() {
    let mut d = received();
    d.link.room = Some(0);
    d.peer("P. 1501:2001(500) ack 1 <ts 103 0>");
    d.write(100);
    d.link.room = None;
    d.expect("P. 1:101(100) ack 1001");
    d.expect(". 101:101(0) ack 1001 <ts 0,sack 1501:2001>");
    d.expect_nothing();
}

/// A flow without timestamps, a round trip of 100 ms, and ten segments on their way.
fn ten_out() -> Dialogue {
    let mut d = Dialogue::new();
    d.listen();
    d.peer("S 0:0(0) win 65535 <mss 1460,sackOK,ws 7>");
    d.expect("S. 0:0(0) ack 1");
    d.after_ms(100);
    d.peer(". 1:1(0) ack 1 win 65535");
    d.accept();
    d.write(14_600);
    assert_eq!(d.drain().len(), 10);
    d.after_ms(100);
    d
}

fn start(segment: u32) -> u32 {
    1 + segment * 1_460
}

/// RFC 3708, 3: every retransmission of the episode was a duplicate, so nothing had been lost.
#[test]
fn rfc_3708_3_reported_retransmissions_undo_the_reduction() {
    let mut d = ten_out();
    for end in 2..=4 {
        d.peer(&format!(". 1:1(0) ack 1 <sack {}:{}>", start(1), start(end)));
    }
    d.expect(&format!(". {}:{}(1460)", start(0), start(1)));
    // The original was late.
    d.peer(&format!(". 1:1(0) ack {}", start(10)));
    d.after_ms(50);
    d.peer(&format!(". 1:1(0) ack {} <sack {}:{}>", start(10), start(0), start(1)));
    assert_eq!((d.count(Counter::DsackReceived), d.count(Counter::DsackUndone)), (1, 1));
    d.write(40_000);
    assert!(d.drain().len() >= 10, "the window is what it was");
}

#[test]
fn rfc_3708_3_one_loss_of_two_undoes_nothing() {
    let mut d = ten_out();
    d.peer(&format!(". 1:1(0) ack 1 <sack {}:{} {}:{}>", start(3), start(10), start(1), start(2)));
    let again: Vec<u32> = d.drain().iter().map(|segment| segment.seq).collect();
    assert_eq!(again, [start(0), start(2)]);
    d.after_ms(100);
    d.peer(&format!(". 1:1(0) ack {} <sack {}:{}>", start(10), start(2), start(3)));
    assert_eq!((d.count(Counter::DsackReceived), d.count(Counter::DsackUndone)), (1, 0));
    // Nor does a second report of the same segment.
    d.peer(&format!(". 1:1(0) ack {} <sack {}:{}>", start(10), 1_000_000, 1_001_460));
    assert_eq!(d.count(Counter::DsackUndone), 0);
}

/// RFC 8985, 7.4.2: the original arrived and the probe as well, as a report or a bare duplicate acknowledgement tells.
#[test]
fn rfc_8985_7_4_2_a_reported_probe_repaired_nothing() {
    for is_reported in [true, false] {
        let mut d = ten_out();
        d.peer(&format!(". 1:1(0) ack {}", start(8)));
        d.after_ms(220);
        d.expect(&format!("P. {}:{}(1460)", start(9), start(10)));
        let sack = if is_reported { format!("<sack {}:{}>", start(9), start(10)) } else { String::new() };
        d.peer(&format!(". 1:1(0) ack {}", start(10)));
        d.peer(&format!(". 1:1(0) ack {} {sack}", start(10)));
        d.write(14_600);
        d.drain();
        d.peer(&format!(". 1:1(0) ack {}", start(12)));
        assert_eq!(d.count(Counter::ProbeRepairs), 0, "{is_reported}");
    }
}

#[test]
fn rfc_8985_7_4_2_a_probe_that_nobody_reported_twice_was_needed() {
    // What was sent after the probe is acknowledged with it, and nobody reported a duplicate: the probe was needed.
    let mut d = ten_out();
    d.peer(&format!(". 1:1(0) ack {}", start(8)));
    d.after_ms(220);
    d.expect(&format!("P. {}:{}(1460)", start(9), start(10)));
    d.write(1_460);
    d.peer(&format!(". 1:1(0) ack {}", start(11)));
    assert_eq!(d.count(Counter::ProbeRepairs), 1);
}
