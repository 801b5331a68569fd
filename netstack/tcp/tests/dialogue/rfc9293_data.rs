//! RFC 9293, 3.7 and 3.10.7.4: data in both directions; malformed segments.

use weir_packet::Chunk;
use weir_socket::{Readiness, SendError};
use weir_tcp::{Counter, IcmpErrorKind};

use crate::harness::Dialogue;

#[test]
fn a_request_is_acknowledged_with_its_response() {
    for mut d in [Dialogue::new(), Dialogue::v6()].map(|d| d.accepted("mss 1460,sackOK,ws 7,ts 100 0")) {
        for i in 0..20 {
            let (seq, ack) = (1 + i * 64, 1 + i * 200);
            d.peer(&format!("P. {seq}:{}(64) ack {ack} <ts {} 0>", seq + 64, 200 + i));
            assert_eq!(d.ready(), Readiness::READABLE);
            assert_eq!(d.read(), 64);
            d.write(200);
            d.expect(&format!("P. {ack}:{}(200) ack {} <ts 0 {}>", ack + 200, seq + 64, 200 + i));
            d.expect_nothing();
        }
    }
}

#[test]
fn s3_8_6_3_a_lone_segment_is_acknowledged_after_40_ms() {
    let mut d = Dialogue::established();
    d.peer("P. 1:101(100) ack 1 <ts 102 0>");
    d.after_ms(39);
    d.expect_nothing();
    d.after_ms(2);
    d.expect(". 1:1(0) ack 101");
    assert_eq!(d.count(Counter::DelayedAcks), 1);
}

#[test]
fn s3_8_6_3_every_second_full_segment_is_acknowledged_at_once() {
    let mut d = Dialogue::established();
    d.peer(". 1:1449(1448) ack 1 <ts 102 0>");
    d.expect_nothing();
    d.peer(". 1449:2897(1448) ack 1 <ts 102 0>");
    d.expect(". 1:1(0) ack 2897");
}

#[test]
fn a_segment_in_several_buffers_is_one_segment() {
    let mut d = Dialogue::established();
    d.peer("P. 1:9001(9000) ack 1 <ts 102 0>");
    assert_eq!(d.read(), 9_000);
    // Out of order, and overlapping what comes then, as well.
    d.peer("P. 12001:20001(8000) ack 1 <ts 103 0>");
    d.peer("P. 8001:14001(6000) ack 1 <ts 104 0>");
    assert_eq!(d.read(), 11_000);
    d.drain_acks();
}

#[test]
fn s3_10_7_4_out_of_order_data_wait_and_are_reported() {
    let mut d = Dialogue::established();
    d.peer("P. 101:201(100) ack 1 <ts 102 0>");
    d.expect(". 1:1(0) ack 1 <ts 0,sack 101:201>");
    d.peer("P. 301:401(100) ack 1 <ts 102 0>");
    d.expect(". 1:1(0) ack 1 <ts 0,sack 301:401 101:201>");
    assert_eq!(d.ready(), Readiness::NONE);
    d.peer("P. 1:101(100) ack 1 <ts 103 0>");
    d.expect(". 1:1(0) ack 201 <ts 0,sack 301:401>");
    assert_eq!(d.read(), 200);
    d.peer("P. 201:301(100) ack 1 <ts 103 0>");
    d.expect(". 1:1(0) ack 401 <ts 0>");
    assert_eq!(d.read(), 200);
}

#[test]
fn s3_10_7_4_old_data_are_acknowledged_again_and_trimmed() {
    let mut d = Dialogue::established();
    d.peer("P. 1:101(100) ack 1 <ts 102 0>");
    d.read();
    d.peer("P. 1:101(100) ack 1 <ts 103 0>");
    d.expect(". 1:1(0) ack 101");
    d.peer("P. 51:151(100) ack 1 <ts 103 0>");
    assert_eq!(d.read(), 50);
}

#[test]
fn s3_7_4_nagle_holds_small_segments_while_others_are_out() {
    let mut d = Dialogue::established();
    d.engine.set_nagle(d.flow(), true);
    d.write(100);
    d.expect("P. 1:101(100)");
    d.write(100);
    d.expect_nothing();
    d.write(1_400);
    d.expect(". 101:1549(1448)");
    d.expect_nothing();
    d.peer(". 1:1(0) ack 1549 <ts 102 0>");
    d.expect("P. 1549:1601(52)");
    d.write(10);
    d.expect_nothing();
    d.engine.set_nagle(d.flow(), false);
    d.expect("P. 1601:1611(10)");
}

#[test]
fn rfc_6928_ten_segments_at_first() {
    let mut d = Dialogue::established();
    d.write(40_000);
    let sent = d.drain();
    assert_eq!(sent.len(), 10);
    assert_eq!(sent.iter().map(|segment| segment.len).sum::<u32>(), 14_480);
    // Slow start: two for each that is acknowledged.
    d.peer(". 1:1(0) ack 2897 <ts 102 0>");
    assert_eq!(d.drain().iter().map(|segment| segment.len).sum::<u32>(), 4 * 1_448);
}

#[test]
fn a_device_that_segments_gets_large_payloads() {
    let mut d = Dialogue::established();
    d.link.segmentation_max = 65_000;
    d.write(10_000);
    d.turn();
    let (outbound, _) = &d.link.sent[0];
    assert_eq!((outbound.segmentation, outbound.payload_len), (Some(1_448), 10_000));
    d.expect("P. 1:10001(10000)");
    // Half of it arrives: the rest is what is sent again.
    d.peer(". 1:1(0) ack 1449 <ts 102 0,sack 2897:10001>");
    d.expect(". 1449:2897(1448)");
    d.peer(". 1:1(0) ack 10001 <ts 103 0>");
    assert_eq!(d.engine.send_queued(d.flow()), 0);
}

#[test]
fn a_full_queue_refuses_and_reports_room() {
    let mut d = Dialogue::with_config(|c| c.send_queue_max = 4_000).accepted("mss 1460,sackOK,ws 7,ts 100 0");
    d.write(4_000);
    match d.engine.send(d.flow(), Chunk::from_static(b"no room")) {
        Err(SendError::Full(chunk)) => assert_eq!(&*chunk, b"no room"),
        other => panic!("{other:?}"),
    }
    assert_eq!((d.engine.send_room(d.flow()), d.engine.send_queued(d.flow())), (0, 4_000));
    assert_eq!(d.ready(), Readiness::NONE);
    d.peer(". 1:1(0) ack 2001 <ts 102 0>");
    assert_eq!(d.ready(), Readiness::WRITABLE);
    assert_eq!(d.engine.send_room(d.flow()), 2_000);
}

#[test]
fn a_device_without_room_is_waited_for() {
    let mut d = Dialogue::established();
    d.link.room = Some(3);
    d.write(2_000);
    assert_eq!(d.drain().len(), 1);
    d.link.room = Some(100);
    d.expect("P. 1449:2001(552)");
}

#[test]
fn an_unresolved_neighbour_is_waited_for() {
    let mut d = Dialogue::established();
    d.link.no_neighbour = true;
    d.write(100);
    d.expect_nothing();
    d.link.no_neighbour = false;
    d.expect_nothing();
    d.engine.handle_neighbour_change();
    d.expect("P. 1:101(100)");
    d.link.no_neighbour = true;
    d.write(100);
    d.link.no_neighbour = false;
    d.after_ms(100);
    d.expect("P. 101:201(100)");
}

#[test]
fn rfc_1191_a_smaller_path_mtu_resends_smaller_segments() {
    let mut d = Dialogue::established();
    d.write(2_896);
    d.expect(". 1:1449(1448)");
    d.expect("P. 1449:2897(1448)");
    d.icmp(9_999, IcmpErrorKind::PacketTooBig(1_000));
    d.expect_nothing();
    d.icmp(1, IcmpErrorKind::PacketTooBig(1_000));
    d.expect(". 1:949(948)");
    d.expect(". 949:1449(500)");
}

#[test]
fn s3_1_malformed_segments_are_counted_and_dropped() {
    let mut d = Dialogue::established();
    d.peer_changed("P. 1:11(10) ack 1 <ts 102 0>", |bytes| bytes[35] ^= 1);
    assert_eq!(d.count(Counter::DropChecksum), 1);
    d.peer_changed("P. 1:11(10) ack 1 <ts 102 0>", |bytes| bytes[12] = 4 << 4);
    d.peer_changed("P. 1:11(10) ack 1 <ts 102 0>", |bytes| bytes[12] = 15 << 4);
    d.peer_changed("P. 1:11(10) ack 1 <ts 102 0>", |bytes| bytes.truncate(19));
    d.peer_changed("P. 1:11(10) ack 1 <ts 102 0>", |bytes| bytes.clear());
    assert_eq!(d.count(Counter::DropTruncated), 4);
    d.peer_changed("P. 1:11(10) ack 1 <ts 102 0>", |bytes| bytes[23] = 1);
    d.peer_changed("P. 1:11(10) ack 1 <ts 102 0>", |bytes| bytes[23] = 200);
    assert_eq!(d.count(Counter::DropOption), 2);
    d.peer_changed("P. 1:11(10) ack 1 <ts 102 0>", |bytes| (bytes[0], bytes[1]) = (0, 0));
    assert_eq!(d.count(Counter::DropMartian), 1);
    d.expect_nothing();
    assert_eq!((d.read(), d.pool.in_use()), (0, 0));
}

#[test]
fn every_truncation_of_every_segment_is_survived() {
    for state in 0..3 {
        for len in 0..60 {
            let mut d = Dialogue::new();
            d.listen();
            if state > 0 {
                d.peer("S 0:0(0) <mss 1400,sackOK,ws 7,ts 100 0>");
            }
            if state > 1 {
                d.peer(". 1:1(0) ack 1 <ts 100 0>");
            }
            d.peer_changed("P. 1:11(10) ack 1 <mss 1400,sackOK,ws 7,ts 100 0>", |bytes| bytes.truncate(len));
        }
    }
}

#[test]
fn the_timer_of_the_application_fires_once() {
    let mut d = Dialogue::established();
    let deadline = weir_socket::Instant::from_nanos(1_000_000_000 + 30_000_000);
    d.engine.set_timer(d.flow(), Some(deadline));
    d.after_ms(29);
    assert_eq!(d.ready(), Readiness::NONE);
    d.after_ms(2);
    assert_eq!(d.ready(), Readiness::TIMER);
    d.after_ms(100);
    assert_eq!(d.ready(), Readiness::NONE);
    d.engine.set_timer(d.flow(), Some(deadline + std::time::Duration::from_secs(9)));
    d.engine.set_timer(d.flow(), None);
    d.after_ms(20_000);
    assert_eq!(d.ready(), Readiness::NONE);
}

#[test]
fn a_buffer_that_holds_the_headers_alone_is_not_read() {
    let mut d = Dialogue::established();
    d.first_buffer_bytes = 32;
    d.peer("P. 1:1001(1000) ack 1 <ts 102 0>");
    d.peer("P. 2001:3001(1000) ack 1 <ts 103 0>");
    d.peer("P. 1001:2001(1000) ack 1 <ts 104 0>");
    assert_eq!(d.read(), 3_000);
}
