//! Source ports in use: a flow's from its SYN until its endpoints may be used again.

use weir_socket::Token;
use weir_tcp::SourcePortUse;

use crate::harness::Dialogue;

fn in_use(d: &Dialogue) -> u64 {
    let SourcePortUse { total, max } = d.engine.source_ports_in_use();
    assert_eq!(total, max, "there is one destination");
    total
}

/// A flow that we opened.
fn opened(ts: bool) -> Dialogue {
    let mut d = Dialogue::new();
    d.connect();
    assert_eq!(in_use(&d), 1);
    d.expect("S 0:0(0)");
    d.peer(&format!("S. 0:0(0) ack 1 win 65535 <mss 1400{}>", if ts { ",sackOK,ts 100 0" } else { "" }));
    d.expect(". 1:1(0) ack 1");
    d
}

#[test]
fn a_flow_that_ends_without_time_wait_leaves_its_port_at_once() {
    let mut d = opened(true);
    d.peer("R. 1:1(0) ack 1");
    assert_eq!(in_use(&d), 0);

    let mut d = opened(true);
    d.peer("F. 1:1(0) ack 1 <ts 101 0>");
    d.close();
    assert_eq!(in_use(&d), 1);
    d.drain();
    d.peer(". 2:2(0) ack 2 <ts 102 0>");
    assert_eq!(in_use(&d), 0);
    d.expect_all_gone();

    let mut d = Dialogue::new();
    d.connect();
    d.drain();
    d.peer("R. 0:0(0) ack 1");
    assert_eq!(in_use(&d), 0);
}

/// As long as a connect towards the same end would be refused, and at most two seconds longer.
#[test]
fn rfc_6191_in_time_wait_a_port_is_in_use_as_long_as_it_may_not_be_used_again() {
    for (ts, free_after_ms) in [(true, 2_200), (false, 60_300)] {
        let mut d = opened(ts);
        d.close();
        d.drain();
        d.peer(&format!("F. 1:1(0) ack 2 {}", if ts { "<ts 101 0>" } else { "" }));
        d.drain();
        assert_eq!((d.engine.gauges().time_wait, in_use(&d)), (1, 1));
        d.after_ms(1_000);
        assert_eq!(in_use(&d), 1);
        d.after_ms(free_after_ms - 1_000);
        assert_eq!((d.engine.gauges().time_wait, in_use(&d)), (u32::from(ts), 0));
    }
}

#[test]
fn flows_that_peers_open_take_no_source_port() {
    for options in ["mss 1460,sackOK,ws 7,ts 100 0", "mss 1460"] {
        let mut d = Dialogue::new().accepted(options);
        // We have had a flow of our own with this peer, so its port is one that is counted.
        let own = d.engine.connect(([192, 0, 2, 1], 33_000).into(), d.remote, Token(9)).expect("a flow");
        assert_eq!(in_use(&d), 1);
        d.engine.abort(own);
        assert_eq!(in_use(&d), 0);
        d.close();
        d.drain();
        d.peer(&format!("F. 1:1(0) ack 2 {}", if options.contains("ts") { "<ts 110 0>" } else { "" }));
        assert_eq!((d.engine.gauges().time_wait, in_use(&d)), (1, 0));
        d.after_ms(61_000);
        d.expect_all_gone();
    }
}
