//! RFC 9293, 3.5 (establishing) and 3.10.7.1 to 3.10.7.4 as far as they open.

use weir_socket::{CloseReason, Readiness};
use weir_tcp::{Counter, FlowState, IcmpErrorKind, Unreachable};

use crate::harness::Dialogue;

#[test]
fn s3_5_figure_6_passive_open() {
    for mut d in [Dialogue::new(), Dialogue::v6()] {
        let mss = if d.local.is_ipv4() { 1_460 } else { 1_440 };
        d.listen();
        d.peer("S 0:0(0) win 65535 <mss 1400,sackOK,ws 7,ts 100 0>");
        d.expect(&format!("S. 0:0(0) ack 1 win 65535 <mss {mss},sackOK,ws 5,ts 0 100>"));
        assert!(!d.is_acceptable());
        d.peer(". 1:1(0) ack 1 win 512 <ts 101 0>");
        d.accept();
        d.expect_nothing();
        d.expect_state(FlowState::Established);
        assert_eq!(d.engine.peer_address(d.flow()), Some(d.remote));
        assert_eq!(d.engine.local_address(d.flow()), Some(d.local));
        assert_eq!(d.count(Counter::PassiveOpens), 1);
    }
}

#[test]
fn s3_5_figure_6_active_open() {
    for mut d in [Dialogue::new(), Dialogue::v6()] {
        d.connect();
        d.expect("S 0:0(0) <ws 5,sackOK,ts 0 0>");
        d.expect_state(FlowState::SynSent);
        assert_eq!(d.ready(), Readiness::NONE);
        d.peer("S. 0:0(0) ack 1 win 65535 <mss 1400,sackOK,ws 7,ts 100 0>");
        d.expect(". 1:1(0) ack 1 <ts 0 100>");
        assert_eq!(d.ready(), Readiness::WRITABLE);
        d.expect_state(FlowState::Established);
    }
}

#[test]
fn s3_5_the_first_data_acknowledge_the_syn_ack() {
    let mut d = Dialogue::new();
    d.connect();
    d.expect("S 0:0(0)");
    d.write(100);
    d.expect_nothing();
    d.peer("S. 0:0(0) ack 1 win 65535 <mss 1400,sackOK,ws 7,ts 100 0>");
    d.expect("P. 1:101(100) ack 1");
    d.expect_nothing();
}

#[test]
fn s3_5_figure_7_simultaneous_open() {
    let mut d = Dialogue::new();
    d.connect();
    d.expect("S 0:0(0)");
    d.peer("S 0:0(0) win 65535 <mss 1400,sackOK,ts 100 0>");
    d.expect("S. 0:0(0) ack 1");
    d.expect_state(FlowState::SynReceived);
    d.peer("S. 0:0(0) ack 1 win 65535 <mss 1400,sackOK,ts 100 0>");
    d.expect(". 1:1(0) ack 1");
    d.expect_state(FlowState::Established);
    assert_eq!(d.ready(), Readiness::WRITABLE);
    d.write(10);
    d.expect("P. 1:11(10) ack 1");
}

/// The SYN-ACKs of the crossing are lost; plain segments of the peer complete it as well.
#[test]
fn s3_5_figure_7_simultaneous_open_with_losses() {
    for mut d in [Dialogue::new(), Dialogue::v6()] {
        d.connect();
        d.expect("S 0:0(0)");
        d.peer("S 0:0(0) win 65535 <mss 1400,sackOK,ts 100 0>");
        d.expect("S. 0:0(0) ack 1");
        d.after_ms(1_000);
        d.expect("S. 0:0(0) ack 1");
        d.peer("S 0:0(0) win 65535 <mss 1400,sackOK,ts 100 0>");
        d.expect("S. 0:0(0) ack 1");
        d.peer("P. 1:11(10) ack 1 <ts 101 0>");
        d.expect_state(FlowState::Established);
        assert_eq!(d.read(), 10);
    }
}

#[test]
fn s3_10_7_1_closed_answers_with_a_reset() {
    let mut d = Dialogue::new();
    d.peer("S 0:0(0)");
    d.expect("R. 0:0(0) ack 1");
    d.peer(". 5:15(10) ack 77");
    d.expect("R 77:77(0)");
    d.peer("F 5:15(10)");
    d.expect("R. 0:0(0) ack 16");
    d.peer("R 5:5(0)");
    d.expect_nothing();
    d.expect_all_gone();
}

#[test]
fn s3_10_7_2_listen_refuses_what_is_not_a_syn() {
    let mut d = Dialogue::new();
    d.listen();
    d.peer("R 5:5(0)");
    d.expect_nothing();
    d.peer(". 5:5(0) ack 77");
    d.expect("R 77:77(0)");
    d.peer("S. 5:5(0) ack 77");
    d.expect("R 77:77(0)");
    d.peer("F 5:5(0)");
    d.expect_nothing();
    d.peer("SF 5:5(0)");
    d.expect_nothing();
    d.expect_all_gone();
}

#[test]
fn s3_10_7_3_syn_sent_refuses_what_it_did_not_ask_for() {
    let mut d = Dialogue::new();
    d.connect();
    d.expect("S 0:0(0)");
    d.peer("S. 0:0(0) ack 300");
    d.expect("R 300:300(0)");
    d.peer("R. 0:0(0) ack 300");
    d.peer("R 0:0(0)");
    d.peer(". 0:0(0) ack 1");
    d.expect_nothing();
    d.expect_state(FlowState::SynSent);
    d.peer("S. 0:0(0) ack 1");
    d.expect(". 1:1(0) ack 1");
}

#[test]
fn s3_10_7_3_a_reset_refuses() {
    let mut d = Dialogue::new();
    d.connect();
    d.expect("S 0:0(0)");
    d.peer("R. 0:0(0) ack 1");
    assert_eq!(d.ready(), Readiness::CLOSED);
    assert_eq!(d.closed_for(), Some(CloseReason::Refused));
    d.close();
    d.expect_nothing();
    d.expect_all_gone();
}

#[test]
fn s3_8_3_a_syn_without_answer_is_repeated_and_given_up() {
    let mut d = Dialogue::with_config(|c| c.syn_retries = 3);
    d.connect();
    d.expect("S 0:0(0)");
    for wait in [1_000, 2_000, 4_000] {
        d.after_ms(wait - 1);
        d.expect_nothing();
        d.after_ms(1);
        d.expect("S 0:0(0)");
    }
    d.after_ms(8_000);
    assert_eq!(d.ready(), Readiness::CLOSED);
    assert_eq!(d.closed_for(), Some(CloseReason::TimedOut));
    d.close();
    d.expect_all_gone();
}

#[test]
fn s3_10_4_close_in_syn_sent_deletes_the_flow() {
    let mut d = Dialogue::new();
    d.connect();
    d.expect("S 0:0(0)");
    d.write(10);
    d.close();
    d.expect_nothing();
    d.expect_all_gone();
    d.peer("S. 0:0(0) ack 1");
    d.expect("R 1:1(0)");
}

#[test]
fn s3_10_7_4_a_repeated_syn_is_answered_again() {
    let mut d = Dialogue::new();
    d.listen();
    d.peer("S 0:0(0) win 65535 <mss 1400>");
    let first = d.expect("S. 0:0(0) ack 1");
    d.peer("S 0:0(0) win 65535 <mss 1400>");
    assert_eq!(d.expect("S. 0:0(0) ack 1"), first);
}

#[test]
fn s3_10_7_4_syn_received_checks_the_acknowledgement() {
    let mut d = Dialogue::new();
    d.listen();
    d.peer("S 0:0(0) win 65535 <mss 1400>");
    d.expect("S. 0:0(0) ack 1");
    d.peer(". 1:1(0) ack 2");
    d.expect("R 2:2(0)");
    d.peer("R 1:1(0)");
    d.expect_all_gone();
}

#[test]
fn s3_10_7_4_a_lost_syn_ack_is_sent_again_and_given_up() {
    let mut d = Dialogue::with_config(|c| c.syn_ack_retries = 2);
    d.listen();
    d.peer("S 0:0(0) win 65535 <mss 1400>");
    d.expect("S. 0:0(0) ack 1");
    d.after_ms(1_000);
    d.expect("S. 0:0(0) ack 1");
    d.after_ms(2_000);
    d.expect("S. 0:0(0) ack 1");
    d.after_ms(4_000);
    d.expect_nothing();
    d.expect_all_gone();
    assert_eq!(d.count(Counter::HalfOpenTimeouts), 1);
}

#[test]
fn s3_10_7_4_data_with_the_last_ack_are_not_lost() {
    let mut d = Dialogue::new();
    d.listen();
    d.peer("S 0:0(0) win 65535 <mss 1400>");
    d.expect("S. 0:0(0) ack 1");
    d.peer("PF. 1:101(100) ack 1");
    d.accept();
    assert_eq!(d.ready(), Readiness::READABLE);
    assert_eq!(d.read(), 100);
    assert!(d.is_at_end());
    d.expect(". 1:1(0) ack 102");
}

/// The ACK that completes a handshake acknowledges our SYN and follows on the peer's, whole and of this connection.
#[test]
fn s3_10_7_4_only_the_acknowledgement_of_our_syn_opens() {
    let mut d = Dialogue::new();
    d.listen();
    d.peer("S 0:0(0) win 65535 <mss 1400,ts 100 0>");
    d.expect("S. 0:0(0) ack 1");
    d.peer(". 1:1(0) ack 1 <ts 99 0>");
    assert_eq!(d.count(Counter::PawsRejected), 1);
    d.drain();
    d.peer(". 0:0(0) ack 1 <ts 101 0>");
    assert_eq!(d.count(Counter::OldData), 1);
    d.drain();
    d.peer_changed(". 1:1(0) ack 1 <ts 101 0>", |bytes| bytes[16] ^= 1);
    assert_eq!(d.count(Counter::DropChecksum), 1);
    d.peer(". 1:1(0) ack 2 <ts 101 0>");
    d.expect("R 2:2(0)");
    assert_eq!((d.is_acceptable(), d.engine.gauges().half_open), (false, 1));
    d.peer(". 1:1(0) ack 1 <ts 101 0>");
    assert_eq!((d.is_acceptable(), d.engine.gauges().half_open), (true, 0));
}

#[test]
fn s3_7_1_a_peer_without_mss_option_gets_536_bytes() {
    let mut d = Dialogue::new().accepted("");
    d.write(600);
    d.expect(". 1:537(536) ack 1");
    d.expect("P. 537:601(64) ack 1");
}

#[test]
fn s3_9_2_2_unreachable_ends_an_opening_flow_and_no_other() {
    let mut d = Dialogue::new();
    d.connect();
    d.expect("S 0:0(0)");
    d.icmp(7, IcmpErrorKind::Unreachable(Unreachable::Port));
    assert_eq!(d.ready(), Readiness::NONE);
    d.icmp(0, IcmpErrorKind::Unreachable(Unreachable::Port));
    assert_eq!(d.closed_for(), Some(CloseReason::Unreachable));
    d.close();
    d.expect_all_gone();

    let mut d = Dialogue::established();
    d.write(10);
    d.icmp(1, IcmpErrorKind::Unreachable(Unreachable::Host));
    d.expect_state(FlowState::Established);
}

/// No address of RFC 9293's, but of the host's: nothing that such a flow could send would be answered to us.
#[test]
fn flows_of_an_address_that_is_not_ours_any_more_end_without_a_segment() {
    let mut d = Dialogue::established();
    d.write(10);
    d.expect("P. 1:11(10) ack 1");
    d.engine.abandon_flows(|_| true);
    d.expect_state(FlowState::Established);
    d.engine.abandon_flows(|_| false);
    assert_eq!(d.closed_for(), Some(CloseReason::Unreachable));
    d.close();
    d.expect_nothing();
    d.expect_all_gone();

    let mut d = Dialogue::new();
    d.connect();
    d.expect("S 0:0(0)");
    d.engine.abandon_flows(|_| false);
    assert_eq!(d.closed_for(), Some(CloseReason::Unreachable));
    d.close();
    d.expect_nothing();
    d.expect_all_gone();
}
