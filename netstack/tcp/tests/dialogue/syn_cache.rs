//! RFC 4987: the SYN cache, cookies, and the queue of flows to be accepted.

use std::net::SocketAddr;

use weir_tcp::{Config, Counter, FlowState};

use crate::harness::Dialogue;

fn tiny(config: &mut Config) {
    config.half_open_max = 2;
}

fn flood(d: &mut Dialogue, port: u16) {
    let remote = d.remote;
    d.remote = match remote {
        SocketAddr::V4(_) => ([203, 0, 113, 9], port).into(),
        SocketAddr::V6(_) => ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 9], port).into(),
    };
    d.peer("S 0:0(0) win 65535 <mss 1460>");
    d.link.sent.clear();
    d.remote = remote;
}

#[test]
fn rfc_4987_3_6_a_full_cache_answers_with_cookies() {
    let with_and_without = [("mss 1460,sackOK,ws 7,ts 100 0", true, true), ("mss 1460", false, false)];
    for ((options, ts, sack), v6) in with_and_without.into_iter().flat_map(|peer| [(peer, false), (peer, true)]) {
        let mut d = Dialogue::with_config(tiny);
        if v6 {
            (d.local, d.remote) = (Dialogue::v6().local, Dialogue::v6().remote);
        }
        d.listen();
        flood(&mut d, 1);
        flood(&mut d, 2);
        d.peer(&format!("S 0:0(0) win 65535 <{options}>"));
        let seen = d.expect("S. 0:0(0) ack 1");
        assert_eq!((d.count(Counter::SynCookiesSent), d.engine.gauges().half_open), (1, 2));
        let echo = seen.options.unwrap().ts.map_or(0, |(value, _)| value);
        d.after_ms(30_000);
        d.link.sent.clear();
        d.peer(&if ts { format!(". 1:1(0) ack 1 win 512 <ts 101 {echo}>") } else { ". 1:1(0) ack 1 win 512".into() });
        assert_eq!(d.count(Counter::SynCookiesReceived), 1);
        d.accept();
        d.link.sent.clear();
        // The peer's window and its options were remembered.
        d.write(3_000);
        let first = d.next().unwrap();
        let full = if v6 { 1_428 } else { 1_448 };
        assert_eq!(first.len, if ts { full } else { 512 });
        d.link.sent.clear();
        d.peer(&format!("P. 501:601(100) ack 1 win 512 <{}>", if ts { "ts 102 0" } else { "" }));
        let answer = d.drain().into_iter().find(|segment| segment.len == 0).unwrap();
        assert_eq!(!answer.options.unwrap().sack.is_empty(), sack);
    }
}

#[test]
fn a_wrong_or_old_cookie_opens_nothing() {
    let mut d = Dialogue::with_config(tiny);
    d.listen();
    d.peer(". 1:1(0) ack 1");
    d.expect("R 1:1(0)");
    flood(&mut d, 1);
    flood(&mut d, 2);
    d.peer("S 0:0(0) win 65535 <mss 1460>");
    d.expect("S. 0:0(0) ack 1");
    // While cookies are out, the ACK that carries one may just be late.
    d.peer(". 1:1(0) ack 2");
    d.peer(". 2:2(0) ack 1");
    d.expect_nothing();
    assert_eq!(d.count(Counter::SynCookiesFailed), 2);
    d.after_ms(200_000);
    d.link.sent.clear();
    d.peer(". 1:1(0) ack 1");
    d.expect("R 1:1(0)");
    assert_eq!(d.count(Counter::SynCookiesReceived), 0);
}

#[test]
fn a_full_accept_queue_keeps_the_handshake_and_resets_nobody() {
    let mut d = Dialogue::with_config(|c| c.accept_queue_max = 1);
    d.listen();
    let first = d.remote;
    d.peer("S 0:0(0) win 65535 <mss 1460>");
    d.expect("S. 0:0(0) ack 1");
    d.peer(". 1:1(0) ack 1");
    d.remote = ([203, 0, 113, 9], 4_000).into();
    d.peer("S 0:0(0) win 65535 <mss 1460>");
    d.expect("S. 0:0(0) ack 1");
    d.peer("P. 1:11(10) ack 1");
    d.expect_nothing();
    assert_eq!((d.count(Counter::ListenOverflows), d.engine.gauges().half_open), (1, 1));
    // The application catches up; the peer, or our timer, tries again.
    let second = d.remote;
    d.remote = first;
    d.accept();
    assert_eq!(d.engine.peer_address(d.flow()), Some(first));
    d.remote = second;
    d.after_ms(1_000);
    d.expect("S. 0:0(0) ack 1");
    d.peer("P. 1:11(10) ack 1");
    d.accept();
    assert_eq!(d.engine.peer_address(d.flow()), Some(second));
    assert_eq!(d.read(), 10);
}

#[test]
fn a_full_flow_table_refuses_by_name() {
    let mut d = Dialogue::with_config(|c| c.flows_max = 1);
    d.listen();
    d.peer("S 0:0(0) win 65535 <mss 1460>");
    d.expect("S. 0:0(0) ack 1");
    d.peer(". 1:1(0) ack 1");
    d.accept();
    let other = ([203, 0, 113, 9], 4_000).into();
    let refused = d.engine.connect(d.local, other, weir_socket::Token(1));
    assert_eq!(refused, Err(weir_socket::ConnectError::TableFull));
    assert_eq!(d.count(Counter::FlowTableFull), 1);
    d.expect_state(FlowState::Established);
    assert!(d.engine.is_tuple_free(d.local, other) && !d.engine.is_tuple_free(d.local, d.remote));
    assert!(d.engine.owns(d.local, d.remote));
}

/// The ACK with a cookie is dropped as any other when nobody accepts; the next segment of the peer carries it again.
#[test]
fn a_full_accept_queue_loses_no_handshake_by_cookie() {
    let mut d = Dialogue::with_config(|c| (c.half_open_max, c.accept_queue_max) = (2, 1));
    d.listen();
    let first = d.remote;
    d.peer("S 0:0(0) win 65535 <mss 1460>");
    d.expect("S. 0:0(0) ack 1");
    d.peer(". 1:1(0) ack 1");
    flood(&mut d, 1);
    flood(&mut d, 2);
    let second = ([203, 0, 113, 9], 4_000).into();
    d.remote = second;
    d.peer("S 0:0(0) win 65535 <mss 1460>");
    d.expect("S. 0:0(0) ack 1");
    d.peer(". 1:1(0) ack 1");
    d.expect_nothing();
    assert_eq!((d.count(Counter::ListenOverflows), d.count(Counter::SynCookiesSent)), (1, 1));
    d.remote = first;
    d.accept();
    d.remote = second;
    d.peer("P. 1:11(10) ack 1");
    d.accept();
    assert_eq!((d.engine.peer_address(d.flow()), d.read()), (Some(second), 10));
    assert_eq!(d.count(Counter::ResetsOut), 0);
}

/// Somebody forged a SYN with the client's endpoints, before it or after it: both are answered, and who completes has the flow.
#[test]
fn a_forged_syn_does_not_keep_the_client_out() {
    for forged in [70_000, 4_000_000, -1_000_000, 9] {
        let mut d = Dialogue::new();
        d.listen();
        d.peer(&format!("S {forged}:{forged}(0) win 65535 <mss 1460>"));
        d.link.sent.clear();
        d.peer("S 0:0(0) win 65535 <mss 1460>");
        d.expect("S. 0:0(0) ack 1");
        assert_eq!((d.count(Counter::SynOnFlow), d.count(Counter::SynCookiesSent)), (1, 1));
        d.peer("P. 1:11(10) ack 1");
        d.accept();
        assert_eq!(d.read(), 10);
        assert_eq!((d.engine.gauges().half_open, d.count(Counter::SynCookiesReceived)), (0, 1));
    }
}

#[test]
fn a_cookie_is_good_although_a_forged_syn_came_in_between() {
    let mut d = Dialogue::with_config(tiny);
    d.listen();
    flood(&mut d, 1);
    flood(&mut d, 2);
    d.peer("S 0:0(0) win 65535 <mss 1460>");
    d.expect("S. 0:0(0) ack 1");
    let client = d.remote;
    d.remote = ([203, 0, 113, 9], 1).into();
    d.peer("R 1:1(0)");
    d.remote = client;
    d.peer("S 70000:70000(0) win 65535 <mss 1460>");
    d.link.sent.clear();
    assert_eq!(d.engine.gauges().half_open, 2);
    // Neither a wrong cookie nor a reset with the right one opens anything.
    d.peer("P. 2:12(10) ack 1");
    d.peer("R. 1:1(0) ack 1");
    assert!(!d.is_acceptable());
    d.peer("P. 1:11(10) ack 1");
    d.accept();
    assert_eq!(d.read(), 10);
    assert_eq!((d.engine.gauges().half_open, d.count(Counter::SynCookiesReceived)), (1, 1));
}
