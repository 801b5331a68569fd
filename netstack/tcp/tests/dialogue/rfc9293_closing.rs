//! RFC 9293, 3.6: closing, in all orders.

use weir_packet::Chunk;
use weir_socket::{CloseReason, Readiness, Received, SendError};
use weir_tcp::{Counter, FlowState};

use crate::harness::Dialogue;

#[test]
fn s3_6_figure_12_we_close_first() {
    let mut d = Dialogue::established();
    d.shutdown();
    d.expect("F. 1:1(0) ack 1");
    d.expect_state(FlowState::FinWait1);
    d.peer(". 1:1(0) ack 2 <ts 102 0>");
    d.expect_state(FlowState::FinWait2);
    d.peer("F. 1:1(0) ack 2 <ts 103 0>");
    d.expect(". 2:2(0) ack 2");
    assert_eq!(d.ready(), Readiness::READABLE);
    assert!(d.is_at_end());
    assert_eq!(d.engine.gauges().time_wait, 1);
    d.close();
    d.expect_all_gone();
    d.after_ms(61_000);
    assert_eq!(d.engine.gauges().time_wait, 0);
    d.expect_all_gone();
}

#[test]
fn s3_6_the_peer_closes_first() {
    let mut d = Dialogue::established();
    d.peer("F. 1:1(0) ack 1 <ts 102 0>");
    d.expect(". 1:1(0) ack 2");
    d.expect_state(FlowState::CloseWait);
    assert_eq!(d.ready(), Readiness::READABLE);
    assert!(d.is_at_end());
    // Half closed: we may go on.
    d.write(100);
    d.expect("P. 1:101(100) ack 2");
    d.peer(". 2:2(0) ack 101 <ts 103 0>");
    d.close();
    d.expect("F. 101:101(0) ack 2");
    d.expect_state(FlowState::LastAck);
    d.peer(". 2:2(0) ack 102 <ts 104 0>");
    d.expect_nothing();
    d.expect_all_gone();
    assert_eq!(d.engine.gauges().time_wait, 0);
}

/// 3.10.7.4, fifth step: the acknowledgement of our FIN, whole and of this connection, and nothing that looks like it.
#[test]
fn s3_6_only_the_acknowledgement_of_our_fin_ends_last_ack() {
    let mut d = Dialogue::established();
    d.peer("F. 1:1(0) ack 1 <ts 102 0>");
    d.expect(". 1:1(0) ack 2");
    d.write(100);
    d.close();
    d.drain();
    d.expect_state(FlowState::LastAck);
    d.peer(". 2:2(0) ack 101 <ts 103 0>");
    d.expect_state(FlowState::LastAck);
    for (segment, reason) in [
        (". 2:2(0) ack 102 <ts 99 0>", Counter::PawsRejected),
        (". 2:2(0) ack 103 <ts 103 0>", Counter::UnacceptableAck),
        (". 1:1(0) ack 102 <ts 103 0>", Counter::OldData),
    ] {
        d.peer(segment);
        assert_eq!(d.count(reason), 1, "{segment}");
        d.expect_state(FlowState::LastAck);
    }
    d.peer_changed(". 2:2(0) ack 102 <ts 104 0>", |bytes| bytes[16] ^= 1);
    assert_eq!(d.count(Counter::DropChecksum), 1);
    d.expect_state(FlowState::LastAck);
    d.drain();
    d.peer(". 2:2(0) ack 102 <ts 104 0>");
    d.expect_nothing();
    d.expect_all_gone();
}

#[test]
fn s3_6_a_flow_that_ended_stays_the_applications_until_it_closes() {
    let mut d = Dialogue::established();
    d.peer("F. 1:11(10) ack 1 <ts 102 0>");
    d.expect(". 1:1(0) ack 12");
    d.shutdown();
    d.expect("F. 1:1(0) ack 12");
    d.peer(". 12:12(0) ack 2 <ts 103 0>");
    d.expect_state(FlowState::Ended);
    assert_eq!(d.read(), 10, "what was received is there still");
    let sent = d.engine.send(d.flow(), Chunk::from_static(b"x"));
    assert!(matches!(sent, Err(SendError::Closed(CloseReason::Finished))), "{sent:?}");
    assert!(d.is_at_end());
    d.close();
    d.expect_all_gone();
}

#[test]
fn s3_6_figure_13_both_close_at_once() {
    let mut d = Dialogue::established();
    d.shutdown();
    d.expect("F. 1:1(0) ack 1");
    d.peer("F. 1:1(0) ack 1 <ts 102 0>");
    d.expect(". 2:2(0) ack 2");
    d.expect_state(FlowState::Closing);
    d.peer(". 2:2(0) ack 2 <ts 103 0>");
    assert_eq!(d.engine.gauges().time_wait, 1);
    d.close();
    d.expect_nothing();
    d.expect_all_gone();
}

/// 3.10.7.4, eighth step: a FIN that overtakes what is before it counts once that has come. Until then the peer is told at once
/// what is missing (RFC 5681, 4.2).
#[test]
fn s3_6_a_fin_ahead_of_its_data_is_remembered() {
    let mut d = Dialogue::established();
    d.peer("F. 101:101(0) ack 1 <ts 102 0>");
    d.expect(". 1:1(0) ack 1");
    assert_eq!(d.count(Counter::OutOfOrder), 1);
    d.expect_state(FlowState::Established);
    d.peer(". 1:101(100) ack 1 <ts 103 0>");
    d.expect(". 1:1(0) ack 102");
    d.expect_state(FlowState::CloseWait);
    assert_eq!(d.read(), 100);
    assert!(d.is_at_end());
}

/// Both FINs cross with data before them, and ours is lost.
#[test]
fn s3_6_both_close_at_once_with_data_and_a_loss() {
    let mut d = Dialogue::established();
    d.write(100);
    d.shutdown();
    d.expect("P. 1:101(100) ack 1");
    d.expect("F. 101:101(0) ack 1");
    d.peer("PF. 1:51(50) ack 101 <ts 102 0>");
    d.expect(". 102:102(0) ack 52");
    d.expect_state(FlowState::Closing);
    assert_eq!(d.read(), 50);
    assert!(d.is_at_end());
    d.after_ms(1_000);
    d.expect("F. 101:101(0) ack 52");
    d.peer(". 52:52(0) ack 102 <ts 103 0>");
    assert_eq!(d.engine.gauges().time_wait, 1);
    d.close();
    d.drain();
    d.expect_all_gone();
}

#[test]
fn s3_6_fin_and_ack_of_fin_in_one_segment() {
    let mut d = Dialogue::established();
    d.close();
    d.expect("F. 1:1(0) ack 1");
    d.peer("F. 1:1(0) ack 2 <ts 102 0>");
    d.expect(". 2:2(0) ack 2");
    assert_eq!(d.engine.gauges().time_wait, 1);
    d.expect_all_gone();
}

#[test]
fn s3_6_what_is_queued_goes_before_the_fin() {
    let mut d = Dialogue::established();
    d.write(100);
    d.expect("P. 1:101(100) ack 1");
    d.write(50);
    d.shutdown();
    d.expect("P. 101:151(50) ack 1");
    d.expect("F. 151:151(0) ack 1");
    match d.engine.send(d.flow(), Chunk::from_static(b"late")) {
        Err(SendError::Closed(CloseReason::Shutdown)) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(d.engine.send_room(d.flow()), 0);
    assert_eq!(d.engine.send_queued(d.flow()), 150);
    d.peer(". 1:1(0) ack 152 <ts 102 0>");
    d.expect_state(FlowState::FinWait2);
    assert_eq!(d.engine.send_queued(d.flow()), 0);
}

#[test]
fn s3_6_in_fin_wait_2_the_peer_may_go_on() {
    let mut d = Dialogue::established();
    d.shutdown();
    d.expect("F. 1:1(0) ack 1");
    d.peer(". 1:1(0) ack 2 <ts 102 0>");
    d.peer("P. 1:301(300) ack 2 <ts 103 0>");
    assert_eq!(d.read(), 300);
    d.peer("F. 301:301(0) ack 2 <ts 104 0>");
    d.expect(". 2:2(0) ack 302");
    assert!(d.is_at_end());
}

#[test]
fn s3_6_data_and_fin_out_of_order() {
    let mut d = Dialogue::established();
    d.peer("F. 101:201(100) ack 1 <ts 102 0>");
    d.expect(". 1:1(0) ack 1 <ts 0,sack 101:201>");
    d.expect_state(FlowState::Established);
    d.peer(". 1:101(100) ack 1 <ts 103 0>");
    d.expect(". 1:1(0) ack 202");
    d.expect_state(FlowState::CloseWait);
    assert_eq!(d.read(), 200);
    assert!(d.is_at_end());
}

#[test]
fn s3_6_1_close_with_unread_data_resets() {
    let mut d = Dialogue::established();
    d.peer("P. 1:101(100) ack 1 <ts 102 0>");
    d.close();
    d.expect("R. 1:1(0) ack 101");
    d.expect_all_gone();
}

#[test]
fn rfc_2525_2_17_data_after_close_resets() {
    let mut d = Dialogue::established();
    d.close();
    d.expect("F. 1:1(0) ack 1");
    d.peer("P. 1:101(100) ack 1 <ts 102 0>");
    d.expect("R. 2:2(0) ack 1");
    assert_eq!(d.count(Counter::DataAfterClose), 1);
    d.expect_all_gone();
}

#[test]
fn s3_10_5_abort_sends_a_reset_and_drops_the_queues() {
    let mut d = Dialogue::established();
    d.write(100);
    d.expect("P. 1:101(100) ack 1");
    d.abort();
    d.expect("R. 101:101(0) ack 1");
    d.expect_all_gone();
}

#[test]
fn a_stale_id_names_nothing() {
    let mut d = Dialogue::established();
    let flow = d.flow();
    d.abort();
    d.drain();
    d.connect();
    assert_ne!(d.flow(), flow);
    assert!(matches!(d.engine.receive(flow), Received::Closed(CloseReason::Released)));
    d.engine.abort(flow);
    d.engine.close(flow);
    d.engine.shutdown(flow);
    assert_eq!(d.engine.peer_address(flow), None);
    d.expect("S 0:0(0)");
    d.expect_state(FlowState::SynSent);
}

#[test]
fn a_fin_that_nobody_acknowledges_is_sent_again() {
    let mut d = Dialogue::established();
    d.close();
    d.expect("F. 1:1(0) ack 1");
    d.after_ms(3_000);
    d.expect("F. 1:1(0) ack 1");
    d.drain();
    d.peer(". 1:1(0) ack 2 <ts 103 0>");
    d.expect_state(FlowState::FinWait2);
}

#[test]
fn an_abandoned_fin_wait_2_ends() {
    let mut d = Dialogue::established();
    d.close();
    d.expect("F. 1:1(0) ack 1");
    d.peer(". 1:1(0) ack 2 <ts 103 0>");
    d.after_ms(60_100);
    d.expect_all_gone();
}

#[test]
fn a_close_that_nobody_answers_ends_with_the_user_timeout() {
    let mut d = Dialogue::established();
    d.write(100);
    d.close();
    d.after_ms(400_000);
    d.drain();
    d.expect_all_gone();
}

#[test]
fn s3_10_7_4_a_reset_ends_the_flow() {
    let mut d = Dialogue::established();
    d.peer("P. 1:101(100) ack 1 <ts 102 0>");
    d.write(50);
    d.peer("R. 101:101(0) ack 1");
    assert!(d.ready().contains(Readiness::CLOSED));
    assert_eq!(d.closed_for(), Some(CloseReason::Reset));
    match d.engine.send(d.flow(), Chunk::from_static(b"late")) {
        Err(SendError::Closed(CloseReason::Reset)) => {}
        other => panic!("{other:?}"),
    }
    d.close();
    d.drain();
    d.expect_all_gone();
}

#[test]
fn unlisten_resets_what_was_not_accepted() {
    let mut d = Dialogue::new();
    d.listen();
    d.peer("S 0:0(0) win 65535 <mss 1400>");
    d.expect("S. 0:0(0) ack 1");
    d.peer(". 1:1(0) ack 1");
    let listener = d.events.iter().find_map(|event| match event {
        weir_socket::Event::Acceptable { listener, .. } => Some(*listener),
        _ => None,
    });
    d.engine.unlisten(listener.unwrap());
    d.expect("R. 1:1(0) ack 1");
    d.expect_all_gone();
    d.peer("S 0:0(0) win 65535 <mss 1400>");
    d.expect("R. 0:0(0) ack 1");
}
