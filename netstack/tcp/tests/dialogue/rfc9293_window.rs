//! RFC 9293, 3.8.6: windows, ours and the peer's.

use weir_tcp::{Counter, FlowState};

use crate::harness::Dialogue;

#[test]
fn s3_8_6_2_2_the_window_closes_and_opens_without_silly_steps() {
    let mut d = Dialogue::with_config(|c| (c.receive_window_initial, c.receive_window_max) = (8_192, 8_192))
        .accepted("mss 1460,sackOK,ws 7,ts 100 0");
    for i in 0..5 {
        let seq = 1 + i * 1_448;
        d.peer(&format!(". {seq}:{}(1448) ack 1 <ts 102 0>", seq + 1_448));
    }
    d.drain();
    d.peer("P. 7241:8193(952) ack 1 <ts 103 0>");
    d.after_ms(41);
    d.expect(". 1:1(0) ack 8193 win 0");
    // One byte beyond: refused, answered.
    d.peer("P. 8193:8194(1) ack 1 <ts 104 0>");
    d.expect(". 1:1(0) ack 8193 win 0");
    assert_eq!(d.read(), 8_192);
    d.expect(". 1:1(0) ack 8193 win 8192");
    d.peer("P. 8193:8194(1) ack 1 <ts 105 0>");
    assert_eq!(d.read(), 1);
    d.expect_nothing();
}

#[test]
fn s3_8_6_what_lies_beyond_the_window_is_cut() {
    let mut d = Dialogue::with_config(|c| (c.receive_window_initial, c.receive_window_max) = (4_096, 4_096))
        .accepted("mss 1460,sackOK,ws 7,ts 100 0");
    d.peer("P. 1:5001(5000) ack 1 <ts 102 0>");
    d.expect(". 1:1(0) ack 4097 win 0");
    assert_eq!(d.read(), 4_096);
}

#[test]
fn s3_8_6_1_a_closed_window_is_probed_less_and_less() {
    let mut d = Dialogue::established();
    d.peer(". 1:1(0) ack 1 win 0 <ts 102 0>");
    d.write(100);
    d.expect_nothing();
    let mut wait = 0;
    for _ in 0..4 {
        let mut waited = 0;
        while d.link.sent.is_empty() {
            d.after_ms(50);
            waited += 50;
        }
        d.expect(". 0:0(0) ack 1");
        d.peer(". 1:1(0) ack 1 win 0 <ts 103 0>");
        d.expect_nothing();
        assert!(waited >= 2 * wait - 100, "{waited} after {wait}");
        wait = waited;
    }
    d.expect_state(FlowState::Established);
    d.peer(". 1:1(0) ack 1 win 512 <ts 104 0>");
    d.expect("P. 1:101(100) ack 1");
}

#[test]
fn s3_8_6_1_a_peer_that_answers_may_keep_its_window_closed_for_ever() {
    let mut d = Dialogue::with_config(|c| c.user_timeout = std::time::Duration::from_secs(100))
        .accepted("mss 1460,sackOK,ws 7,ts 100 0");
    d.peer(". 1:1(0) ack 1 win 0 <ts 102 0>");
    d.write(100);
    for i in 0..60 {
        d.after_ms(60_000);
        d.drain();
        d.peer(&format!(". 1:1(0) ack 1 win 0 <ts {} 0>", 103 + i));
    }
    d.expect_state(FlowState::Established);
    d.after_ms(240_000);
    d.drain();
    assert!(d.closed_for().is_some());
}

#[test]
fn s3_8_6_2_1_a_small_window_is_not_filled_with_small_segments() {
    let mut d = Dialogue::established();
    d.peer(". 1:1(0) ack 1 win 4 <ts 102 0>");
    d.write(3_000);
    // 512 bytes of window: less than a segment, less than half of the largest window.
    d.expect_nothing();
    d.peer(". 1:1(0) ack 1 win 23 <ts 103 0>");
    d.expect(". 1:1449(1448)");
    d.expect(". 1449:2897(1448)");
    d.expect_nothing();
}

#[test]
fn s3_8_6_2_1_a_small_window_that_stays_is_used_after_a_while() {
    let mut d = Dialogue::established();
    d.peer(". 1:1(0) ack 1 win 4 <ts 102 0>");
    d.write(3_000);
    d.expect_nothing();
    d.after_ms(300);
    d.expect(". 1:513(512) ack 1");
    d.expect_nothing();
    // Not a silly one any more, but a segment.
    d.peer(". 1:1(0) ack 513 win 12 <ts 103 0>");
    d.expect(". 513:1961(1448) ack 1");
}

/// The probes of a closed window become rare. What is lost afterwards is repeated as soon as ever, and not in smaller segments.
#[test]
fn s3_8_6_1_a_window_that_was_closed_for_long_delays_no_retransmission_later() {
    let mut d = Dialogue::new().accepted("mss 1460,ws 7");
    d.peer(". 1:1(0) ack 1 win 0");
    d.write(1_460);
    for _ in 0..6 {
        d.after_ms(20_000);
        d.drain();
        d.peer(". 1:1(0) ack 1 win 0");
    }
    d.peer(". 1:1(0) ack 1 win 512");
    d.expect("P. 1:1461(1460) ack 1");
    d.after_ms(300);
    d.expect("P. 1:1461(1460) ack 1");
}

#[test]
fn the_window_of_the_peer_is_scaled_by_its_shift_alone() {
    let mut d = Dialogue::new().accepted("mss 1460,ws 2");
    d.peer(". 1:1(0) ack 1 win 1000");
    d.write(10_000);
    let sent: u32 = d.drain().iter().map(|segment| segment.len).sum();
    assert_eq!(sent, 2 * 1_460, "4,000 bytes hold two segments");
}

#[test]
fn s3_8_4_a_silent_peer_is_probed_when_asked_for() {
    let keepalive = weir_tcp::Keepalive {
        idle: std::time::Duration::from_secs(10),
        interval: std::time::Duration::from_secs(2),
        probes: 3,
    };
    let mut d = Dialogue::with_config(|c| c.keepalive = Some(keepalive)).accepted("mss 1460,sackOK,ws 7,ts 100 0");
    d.after_ms(10_100);
    d.expect(". 0:0(0) ack 1");
    d.peer(". 1:1(0) ack 1 <ts 102 0>");
    d.after_ms(9_000);
    d.expect_nothing();
    d.after_ms(9_000);
    d.expect(". 0:0(0) ack 1");
    let probes = d.drain().len();
    assert!(probes >= 2, "{probes}");
    d.after_ms(2_000);
    d.drain();
    assert!(d.closed_for().is_some());
    assert!(d.count(Counter::WindowProbes) >= 4);
}

/// 3.8.4: the peer's own keepalives, with or without a byte of rubbish, are answered and change nothing.
#[test]
fn s3_8_4_the_keepalives_of_the_peer_are_answered() {
    let mut d = Dialogue::established();
    d.peer("P. 1:101(100) ack 1 <ts 102 0>");
    assert_eq!(d.read(), 100);
    d.after_ms(50);
    d.drain();
    for _ in 0..5 {
        d.after_ms(75_000);
        d.peer(". 100:100(0) ack 1 <ts 103 0>");
        d.expect(". 1:1(0) ack 101");
        d.after_ms(75_000);
        d.peer(". 100:101(1) ack 1 <ts 104 0>");
        d.expect(". 1:1(0) ack 101");
    }
    d.expect_state(FlowState::Established);
    assert_eq!(d.read(), 0);
}

/// What is on its way is repeated until the user timeout: no probe has to ask as well.
#[test]
fn s3_8_4_no_keepalive_while_something_is_on_its_way() {
    let keepalive = weir_tcp::Keepalive {
        idle: std::time::Duration::from_secs(1),
        interval: std::time::Duration::from_secs(1),
        probes: 9,
    };
    let mut d = Dialogue::with_config(|c| c.keepalive = Some(keepalive)).accepted("mss 1460,sackOK,ws 7,ts 100 0");
    d.write(100);
    d.after_ms(8_000);
    assert!(d.drain().iter().all(|segment| segment.len == 100));
    assert_eq!(d.count(Counter::WindowProbes), 0);
}

/// 3.8.4: without being asked for, there are none.
#[test]
fn s3_8_4_an_idle_flow_stays_for_ever_when_nobody_asked() {
    let mut d = Dialogue::established();
    d.after(std::time::Duration::from_secs(7 * 24 * 3_600));
    d.expect_nothing();
    d.expect_state(FlowState::Established);
    assert_eq!(d.engine.next_deadline(), None);
}
