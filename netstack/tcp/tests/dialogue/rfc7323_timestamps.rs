//! RFC 7323: timestamps and protection against wrapped sequence numbers.

use weir_tcp::Counter;

use crate::harness::Dialogue;

#[test]
fn s4_3_the_timestamp_of_the_segment_that_opened_the_gap_is_echoed() {
    let mut d = Dialogue::established();
    d.peer("P. 1:101(100) ack 1 <ts 110 0>");
    d.after_ms(50);
    d.expect(". 1:1(0) ack 101 <ts 0 110>");
    // Out of order: the latest in sequence is echoed.
    d.peer("P. 201:301(100) ack 1 <ts 120 0>");
    d.expect(". 1:1(0) ack 101 <ts 0 110,sack 201:301>");
    d.peer("P. 101:201(100) ack 1 <ts 115 0>");
    d.expect(". 1:1(0) ack 301 <ts 0 115>");
}

#[test]
fn s5_3_an_older_timestamp_is_refused_and_answered() {
    let mut d = Dialogue::established();
    d.peer("P. 1:101(100) ack 1 <ts 110 0>");
    assert_eq!(d.read(), 100);
    d.peer("P. 101:201(100) ack 1 <ts 109 0>");
    d.expect(". 1:1(0) ack 101");
    assert_eq!((d.read(), d.count(Counter::PawsRejected)), (0, 1));
    // A RST needs no timestamp.
    d.peer("R 101:101(0)");
    assert!(d.closed_for().is_some());
}

#[test]
fn s5_5_a_timestamp_is_forgotten_after_24_days() {
    let mut d = Dialogue::established();
    d.after(std::time::Duration::from_secs(25 * 24 * 3_600));
    d.peer("P. 1:101(100) ack 1 <ts 5 0>");
    assert_eq!(d.read(), 100);
    // The new one is what is echoed, and compared with, from now on.
    d.after_ms(50);
    d.expect(". 1:1(0) ack 101 <ts 0 5>");
    d.peer("P. 101:201(100) ack 1 <ts 4 0>");
    assert_eq!((d.read(), d.count(Counter::PawsRejected)), (0, 1));
}

#[test]
fn s3_2_timestamps_are_not_sent_to_who_did_not_offer_them() {
    let mut d = Dialogue::new().accepted("mss 1460,sackOK,ws 7");
    d.write(1_460);
    d.expect("P. 1:1461(1460) ack 1 <>");
}

#[test]
fn s5_4_the_clock_is_monotonic_and_ticks_in_milliseconds() {
    let mut d = Dialogue::established();
    let stamp = |d: &mut Dialogue| {
        d.write(1);
        let seen = d.next().unwrap();
        d.peer(&format!(". 1:1(0) ack {} <ts 102 0>", seen.seq + 1));
        seen.options.unwrap().ts.unwrap().0
    };
    let first = stamp(&mut d);
    d.after_ms(250);
    assert_eq!(stamp(&mut d).wrapping_sub(first), 250);
}
