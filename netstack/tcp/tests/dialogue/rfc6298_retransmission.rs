//! RFC 6298: the retransmission timer, with a peer that has no SACK, so that nothing else comes first.

use weir_socket::{CloseReason, Readiness};
use weir_tcp::{Counter, FlowState};

use crate::harness::Dialogue;

fn plain() -> Dialogue {
    Dialogue::new().accepted("mss 1460")
}

#[test]
fn s5_4_the_earliest_segment_is_sent_again_alone() {
    let mut d = plain();
    d.write(3_000);
    assert_eq!(d.drain().len(), 3);
    // Handshake and RTT took no time: the minimum.
    d.after_ms(199);
    d.expect_nothing();
    d.after_ms(2);
    d.expect(". 1:1461(1460)");
    d.expect_nothing();
    assert_eq!(d.count(Counter::RetransmissionTimeouts), 1);
}

#[test]
fn s5_5_the_timer_backs_off() {
    let mut d = plain();
    d.write(100);
    d.expect("P. 1:101(100)");
    for timeout in [200, 400, 800, 1_600, 3_200] {
        let mut waited = 0;
        while d.link.sent.is_empty() {
            d.after_ms(1);
            waited += 1;
        }
        d.expect("P. 1:101(100)");
        assert!(waited == timeout || waited == timeout + 1, "{waited} instead of {timeout} ms");
    }
    d.peer(". 1:1(0) ack 101");
    d.write(100);
    d.expect("P. 101:201(100)");
    d.after_ms(201);
    d.expect("P. 101:201(100)");
}

#[test]
fn rfc_5681_3_1_after_a_timeout_slow_start() {
    let mut d = plain();
    d.write(14_600);
    assert_eq!(d.drain().len(), 10);
    d.after_ms(201);
    d.expect(". 1:1461(1460)");
    d.peer(". 1:1(0) ack 1461");
    d.expect(". 1461:2921(1460)");
    d.expect(". 2921:4381(1460)");
    d.expect_nothing();
    d.peer(". 1:1(0) ack 4381");
    assert_eq!(d.drain().len(), 4);
    // The rest had arrived after all.
    d.peer(". 1:1(0) ack 14601");
    assert_eq!(d.engine.send_queued(d.flow()), 0);
    d.after_ms(10_000);
    d.expect_nothing();
}

#[test]
fn rfc_6582_3_2_three_duplicates_send_again() {
    let mut d = plain();
    d.write(14_600);
    assert_eq!(d.drain().len(), 10);
    d.peer(". 1:1(0) ack 1461");
    d.drain();
    d.peer(". 1:1(0) ack 1461");
    d.peer(". 1:1(0) ack 1461");
    assert!(d.drain().iter().all(|segment| segment.seq != 1_461), "two duplicates prove nothing");
    d.peer(". 1:1(0) ack 1461");
    d.expect(". 1461:2921(1460)");
    // A partial acknowledgement: the next hole at once.
    d.peer(". 1:1(0) ack 4381");
    d.expect(". 4381:5841(1460)");
    d.peer(". 1:1(0) ack 14601");
    assert_eq!(d.count(Counter::FastRecoveries), 1);
    assert_eq!(d.count(Counter::RetransmissionTimeouts), 0);
}

#[test]
fn rfc_9293_3_8_3_the_user_timeout_ends_the_flow() {
    let mut d = Dialogue::with_config(|c| c.user_timeout = std::time::Duration::from_secs(10)).accepted("mss 1460");
    d.write(100);
    d.after_ms(9_000);
    d.expect_state(FlowState::Established);
    d.after_ms(10_000);
    assert!(d.ready().contains(Readiness::CLOSED));
    assert_eq!(d.closed_for(), Some(CloseReason::TimedOut));
    d.close();
    assert!(d.drain().iter().any(|segment| segment.flags == "R."));
    d.expect_all_gone();
}

#[test]
fn an_acknowledged_flow_has_no_timer() {
    let mut d = plain();
    d.write(100);
    d.drain();
    d.peer(". 1:1(0) ack 101");
    d.after_ms(1_000);
    assert_eq!(d.engine.next_deadline(), None);
}
