//! RFC 5682: F-RTO tells a spurious timeout from a loss, for peers without timestamps.

use weir_tcp::Counter;

use crate::harness::Dialogue;

fn start(segment: u32) -> u32 {
    1 + segment * 1_460
}

/// A flow without timestamps whose ten segments have timed out; the first was sent again, and `more` bytes wait.
fn timed_out(options: &str, more: u32) -> Dialogue {
    let mut d = Dialogue::new();
    d.listen();
    d.peer(&format!("S 0:0(0) win 65535 <{options}>"));
    d.expect("S. 0:0(0) ack 1");
    d.after_ms(100);
    d.peer(". 1:1(0) ack 1 win 65535");
    d.accept();
    d.write(14_600);
    assert_eq!(d.drain().len(), 10);
    d.write(more);
    let mut waited = 0;
    while d.count(Counter::RetransmissionTimeouts) == 0 {
        d.after_ms(10);
        waited += 10;
        assert!(waited < 5_000);
    }
    // With SACK, a tail loss probe with the first of them comes before the timeout.
    let sent = d.drain();
    let last = sent.last().unwrap();
    assert_eq!((last.seq, last.len), (1, 1_460));
    d
}

const PLAIN: &str = "mss 1460";
const SACK: &str = "mss 1460,sackOK";

#[test]
fn s2_1_two_acknowledgements_of_originals_are_a_spurious_timeout() {
    let mut d = timed_out(PLAIN, 40_000);
    d.peer(&format!(". 1:1(0) ack {}", start(2)));
    // Step 2b: new data, not what may be merely late.
    d.expect(&format!(". {}:{}(1460)", start(10), start(11)));
    d.expect(&format!(". {}:{}(1460)", start(11), start(12)));
    d.expect_nothing();
    d.peer(&format!(". 1:1(0) ack {}", start(4)));
    assert_eq!((d.count(Counter::FrtoSpurious), d.count(Counter::SpuriousRecoveries)), (1, 1));
    let sent = d.drain();
    assert!(!sent.is_empty() && sent.iter().all(|segment| segment.seq >= start(12)), "{sent:?}");
    assert_eq!(d.count(Counter::SegmentsRetransmitted), 1);
}

#[test]
fn s2_1_step_2a_a_duplicate_first_is_a_loss() {
    let mut d = timed_out(PLAIN, 40_000);
    d.peer(". 1:1(0) ack 1");
    d.peer(&format!(". 1:1(0) ack {}", start(1)));
    d.expect(&format!(". {}:{}(1460)", start(1), start(2)));
    assert_eq!(d.count(Counter::FrtoSpurious), 0);
}

#[test]
fn s2_1_step_2a_all_at_once_proves_nothing() {
    let mut d = timed_out(PLAIN, 40_000);
    d.peer(&format!(". 1:1(0) ack {}", start(10)));
    let sent = d.drain();
    assert!(sent.iter().all(|segment| segment.seq >= start(10)));
    d.peer(&format!(". 1:1(0) ack {}", start(11)));
    assert_eq!(d.count(Counter::FrtoSpurious), 0);
}

#[test]
fn s2_1_step_3a_a_duplicate_after_new_data_is_a_loss() {
    let mut d = timed_out(PLAIN, 40_000);
    d.peer(&format!(". 1:1(0) ack {}", start(1)));
    d.expect(&format!(". {}:{}(1460)", start(10), start(11)));
    d.expect(&format!(". {}:{}(1460)", start(11), start(12)));
    d.expect_nothing();
    d.peer(&format!(". 1:1(0) ack {}", start(1)));
    d.expect(&format!(". {}:{}(1460)", start(1), start(2)));
    assert_eq!(d.count(Counter::FrtoSpurious), 0);
}

/// Step 2b without anything new to send: the usual recovery.
#[test]
fn s2_1_without_new_data_the_next_segment_is_sent_again() {
    let mut d = timed_out(PLAIN, 0);
    d.peer(&format!(". 1:1(0) ack {}", start(1)));
    d.expect(&format!(". {}:{}(1460)", start(1), start(2)));
    d.peer(&format!(". 1:1(0) ack {}", start(3)));
    assert_eq!(d.count(Counter::FrtoSpurious), 0);
}

#[test]
fn s3_1_with_sack_a_report_of_what_was_sent_once_is_a_spurious_timeout() {
    let mut d = timed_out(SACK, 40_000);
    d.peer(&format!(". 1:1(0) ack {}", start(1)));
    d.expect(&format!(". {}:{}(1460)", start(11), start(12)));
    d.expect(&format!(". {}:{}(1460)", start(12), start(13)));
    d.expect_nothing();
    // The original of the third segment arrives before that of the second.
    d.peer(&format!(". 1:1(0) ack {} <sack {}:{}>", start(1), start(2), start(3)));
    assert_eq!(d.count(Counter::FrtoSpurious), 1);
}

#[test]
fn s3_1_with_sack_a_report_of_new_data_alone_is_a_loss() {
    let mut d = timed_out(SACK, 40_000);
    d.peer(&format!(". 1:1(0) ack {}", start(1)));
    d.expect(&format!(". {}:{}(1460)", start(11), start(12)));
    d.expect(&format!(". {}:{}(1460)", start(12), start(13)));
    d.peer(&format!(". 1:1(0) ack {} <sack {}:{}>", start(1), start(11), start(12)));
    assert_eq!(d.count(Counter::FrtoSpurious), 0);
    let sent = d.drain();
    assert!(sent.iter().any(|segment| segment.seq == start(1)), "{sent:?}");
}

/// Section 2.1, step 1: a second timeout of the same data is no time for new data.
#[test]
fn s2_1_a_second_timeout_is_answered_as_a_loss() {
    let mut d = timed_out(PLAIN, 40_000);
    while d.count(Counter::RetransmissionTimeouts) < 2 {
        d.after_ms(100);
    }
    // RFC 6298, 5.4: the earliest again, and not the next.
    assert_eq!(d.next().unwrap().seq, start(0));
    d.expect_nothing();
    d.peer(&format!(". 1:1(0) ack {}", start(1)));
    assert_eq!(d.next().unwrap().seq, start(1));
}
