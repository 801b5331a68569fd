//! RFC 5961: who does not see the flow cannot end it or put data into it.

use weir_tcp::{Counter, FlowState};

use crate::harness::Dialogue;

#[test]
fn s3_2_a_reset_in_the_window_is_challenged() {
    let mut d = Dialogue::established();
    d.peer("R 1000:1000(0)");
    d.expect(". 1:1(0) ack 1");
    d.expect_state(FlowState::Established);
    d.peer("R 4000000:4000000(0)");
    d.peer("R 0:0(0)");
    d.expect_nothing();
    d.expect_state(FlowState::Established);
    assert_eq!(d.count(Counter::ChallengeAcks), 1);
}

#[test]
fn s4_2_a_syn_is_challenged() {
    let mut d = Dialogue::established();
    d.peer("S 0:0(0) <ts 102 0>");
    d.expect(". 1:1(0) ack 1");
    d.peer("S 500:500(0) <ts 102 0>");
    d.expect(". 1:1(0) ack 1");
    d.expect_state(FlowState::Established);
}

#[test]
fn s5_2_data_need_a_plausible_acknowledgement() {
    let mut d = Dialogue::established();
    d.peer("P. 1:101(100) ack 2 <ts 102 0>");
    d.expect(". 1:1(0) ack 1");
    d.peer("P. 1:101(100) ack -20000000 <ts 102 0>");
    d.expect(". 1:1(0) ack 1");
    assert_eq!((d.read(), d.count(Counter::UnacceptableAck)), (0, 2));
}

#[test]
fn s7_challenges_are_limited() {
    let mut d = Dialogue::with_config(|c| c.challenge_acks_per_second = 3).accepted("mss 1460,sackOK,ws 7,ts 100 0");
    for _ in 0..10 {
        d.peer("R 1000:1000(0)");
    }
    let answers = d.drain().len();
    assert_eq!(answers, 3);
    d.after_ms(1_001);
    d.peer("R 1000:1000(0)");
    d.expect(". 1:1(0) ack 1");
}

#[test]
fn rfc_9293_3_10_7_1_resets_are_limited() {
    let mut d = Dialogue::with_config(|c| c.resets_per_second = 2);
    for _ in 0..5 {
        d.peer("S 0:0(0)");
    }
    assert_eq!(d.drain().len(), 2);
    assert_eq!(d.count(Counter::DropResetLimit), 3);
}
