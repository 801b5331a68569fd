//! TIME-WAIT: RFC 9293, 3.6.1 and 3.10.7.4, RFC 1337, RFC 6191.

use weir_socket::{ConnectError, Token};
use weir_tcp::Counter;

use crate::harness::Dialogue;

/// A flow with timestamps that we closed first.
fn waiting(ts: bool) -> Dialogue {
    let options = if ts { "mss 1460,sackOK,ws 7,ts 100 0" } else { "mss 1460" };
    let stamp = if ts { "ts 110 0" } else { "" };
    let mut d = Dialogue::new().accepted(options);
    d.close();
    d.expect("F. 1:1(0) ack 1");
    d.peer(&format!("F. 1:1(0) ack 2 <{stamp}>"));
    d.expect(". 2:2(0) ack 2");
    assert_eq!(d.engine.gauges().time_wait, 1);
    d
}

#[test]
fn rfc_9293_3_10_7_4_a_repeated_fin_is_acknowledged_and_restarts_the_time() {
    let mut d = waiting(true);
    d.after_ms(50_000);
    d.peer("F. 1:1(0) ack 2 <ts 110 0>");
    d.expect(". 2:2(0) ack 2");
    d.after_ms(50_000);
    assert_eq!(d.engine.gauges().time_wait, 1);
    d.after_ms(11_000);
    assert_eq!(d.engine.gauges().time_wait, 0);
    d.expect_all_gone();
}

#[test]
fn rfc_1337_a_reset_ends_nothing() {
    let mut d = waiting(true);
    d.peer("R 2:2(0)");
    d.expect_nothing();
    assert_eq!(d.engine.gauges().time_wait, 1);
}

/// RFC 1337, figure 1: a segment from long ago makes us answer, the peer, which has forgotten the flow, resets, and the record
/// stays. Then nothing old can get into the next flow.
#[test]
fn rfc_1337_old_segments_do_not_assassinate() {
    for ts in [true, false] {
        let mut d = waiting(ts);
        let old = if ts { "<ts 101 0>" } else { "" };
        d.peer(&format!("P. -99:1(100) ack 1 {old}"));
        d.expect(". 2:2(0) ack 2");
        d.peer("R 2:2(0)");
        d.peer(&format!(". 1:1(0) ack 1 {old}"));
        d.expect(". 2:2(0) ack 2");
        d.peer("R 2:2(0)");
        d.expect_nothing();
        assert_eq!((d.engine.gauges().time_wait, d.count(Counter::TimeWaitIgnored)), (1, 4));
        d.after_ms(61_000);
        d.expect_all_gone();
    }
}

/// The client has closed first, its last ACK was lost, and it comes back with the same port: challenged (RFC 5961, 4.2), it
/// resets what is left, and its next SYN opens.
#[test]
fn rfc_5961_4_2_a_port_that_is_used_again_in_last_ack() {
    let mut d = Dialogue::established();
    d.peer("F. 1:1(0) ack 1 <ts 102 0>");
    d.close();
    d.drain();
    d.peer("S 5000:5000(0) win 65535 <mss 1460,sackOK,ws 7,ts 200 0>");
    d.expect(". 2:2(0) ack 2");
    d.peer("R 2:2(0)");
    d.expect_all_gone();
    d.peer("S 5000:5000(0) win 65535 <mss 1460,sackOK,ws 7,ts 201 0>");
    d.expect("S. 0:0(0) ack 5001");
    d.peer(". 5001:5001(0) ack 1 <ts 202 0>");
    d.accept();
}

#[test]
fn rfc_6191_a_syn_with_a_newer_timestamp_opens_again() {
    let mut d = waiting(true);
    d.peer("S 5:5(0) win 65535 <mss 1460,sackOK,ws 7,ts 109 0>");
    let seen = d.next().unwrap();
    assert_eq!(seen.flags, ".", "older: acknowledged, {seen}");
    d.peer("S 5:5(0) win 65535 <mss 1460,sackOK,ws 7,ts 111 0>");
    d.expect("S. 0:0(0) ack 6");
    d.peer(". 6:6(0) ack 1 <ts 112 0>");
    d.accept();
    assert_eq!((d.engine.gauges().time_wait, d.count(Counter::TimeWaitReused)), (0, 1));
}

/// A client that comes back within one tick of its clock: the sequence number decides.
#[test]
fn rfc_6191_a_syn_with_the_same_timestamp_and_a_newer_sequence_number_opens_again() {
    let mut d = waiting(true);
    d.peer("S 2:2(0) win 65535 <mss 1460,sackOK,ws 7,ts 110 0>");
    assert_eq!(d.next().unwrap().flags, ".");
    d.peer("S 3:3(0) win 65535 <mss 1460,sackOK,ws 7,ts 110 0>");
    d.expect("S. 0:0(0) ack 4");
    assert_eq!((d.engine.gauges().time_wait, d.count(Counter::TimeWaitReused)), (0, 1));
}

#[test]
fn rfc_9293_3_6_1_a_syn_with_a_newer_sequence_number_opens_again() {
    let mut d = waiting(false);
    d.peer("S 2:2(0) win 65535 <mss 1460>");
    assert_eq!(d.next().unwrap().flags, ".");
    d.peer("S 3:3(0) win 65535 <mss 1460>");
    d.expect("S. 0:0(0) ack 4");
}

#[test]
fn the_same_port_a_thousand_times_in_a_row() {
    let mut d = Dialogue::new();
    d.listen();
    for i in 0..1_000_u32 {
        let ts = 1_000 + 10 * i;
        let base = i * 1_000;
        d.peer(&format!("S {base}:{base}(0) win 65535 <mss 1460,sackOK,ws 7,ts {ts} 0>"));
        d.expect(&format!("S. 0:0(0) ack {}", base + 1));
        d.peer(&format!(". {}:{}(0) ack 1 <ts {ts} 0>", base + 1, base + 1));
        d.accept();
        d.close();
        d.expect("F. 1:1(0)");
        d.peer(&format!("F. {}:{}(0) ack 2 <ts {} 0>", base + 1, base + 1, ts + 1));
        d.expect(&format!(". 2:2(0) ack {}", base + 2));
        d.after_ms(1);
    }
    assert_eq!((d.engine.gauges().time_wait, d.count(Counter::TimeWaitReused)), (1, 999));
    d.after_ms(61_000);
    d.expect_all_gone();
}

#[test]
fn rfc_6191_our_own_connect_reuses_after_a_second() {
    let mut d = waiting(true);
    let connect = |d: &mut Dialogue| d.engine.connect(d.local, d.remote, Token(1));
    assert!(!d.engine.is_tuple_free(d.local, d.remote));
    assert_eq!(connect(&mut d), Err(ConnectError::NoSourcePort));
    d.after_ms(1_200);
    assert!(d.engine.is_tuple_free(d.local, d.remote));
    assert!(connect(&mut d).is_ok());
    d.expect("S 0:0(0)");
    assert_eq!(d.engine.gauges().time_wait, 0);

    let mut d = waiting(false);
    d.after_ms(30_000);
    assert_eq!(connect(&mut d), Err(ConnectError::NoSourcePort));
}

#[test]
fn too_many_records_drop_the_oldest() {
    let mut d = Dialogue::with_config(|c| c.time_wait_max = 256);
    d.listen();
    for port in 1..=300 {
        d.remote.set_port(port);
        d.peer("S 0:0(0) win 65535 <mss 1460>");
        d.expect("S. 0:0(0) ack 1");
        d.peer(". 1:1(0) ack 1");
        d.accept();
        d.close();
        d.peer("F. 1:1(0) ack 2");
        d.drain();
    }
    assert_eq!((d.engine.gauges().time_wait, d.count(Counter::TimeWaitOverflow)), (256, 44));
    d.after_ms(61_000);
    d.expect_all_gone();
}
