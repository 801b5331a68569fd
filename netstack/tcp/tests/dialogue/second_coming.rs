//! SYNs that are answered when they come again (RFC 9293, 3.8.1: a SYN that is not answered is repeated), because nobody completed
//! the handshakes that were offered before.

use std::net::SocketAddr;
use std::ops::Range;

use weir_tcp::{Config, Counter};

use crate::harness::Dialogue;

/// Nothing is left to answer strangers with, and nothing is free.
fn broke(config: &mut Config) {
    (config.syn_credit_max, config.syns_free_per_second) = (0, 0);
}

fn client(v6: bool, number: u16) -> SocketAddr {
    let address = if v6 { [0x2001, 0xdb8, 0, 0, 0, 0, 0, 9].into() } else { [203, 0, 113, 9].into() };
    SocketAddr::new(address, 1_024 + number)
}

fn listening(v6: bool, change: impl FnOnce(&mut Config)) -> Dialogue {
    let mut d = Dialogue::with_config(change);
    if v6 {
        d.local = Dialogue::v6().local;
    }
    d.remote = client(v6, 0);
    d.listen();
    d
}

/// A SYN of whoever is the remote; answers whether it was answered.
fn is_answered(d: &mut Dialogue, isn: u32) -> bool {
    d.link.sent.clear();
    d.peer(&format!("S {isn}:{isn}(0) win 65535 <mss 1460>"));
    let answers = d.link.sent.drain(..).count();
    assert!(answers <= 1);
    answers == 1
}

/// SYNs of strangers, of whom no one is heard of again; answers how many were answered.
fn strangers(d: &mut Dialogue, numbers: Range<u16>) -> usize {
    let remote = d.remote;
    let answered = numbers.filter(|&number| {
        d.remote = client(d.local.is_ipv6(), number);
        is_answered(d, 1_000 * u32::from(number))
    });
    let answered = answered.count();
    d.remote = remote;
    answered
}

fn completes(d: &mut Dialogue) {
    d.link.sent.clear();
    d.peer("S 0:0(0) win 65535 <mss 1460>");
    d.expect("S. 0:0(0) ack 1");
    d.peer(". 1:1(0) ack 1");
    d.accept();
    assert_eq!(d.engine.peer_address(d.flow()), Some(d.remote));
}

#[test]
fn a_syn_is_answered_when_it_comes_again() {
    for v6 in [false, true] {
        let mut d = listening(v6, broke);
        d.peer("S 0:0(0) win 65535 <mss 1460>");
        d.expect_nothing();
        assert_eq!((d.count(Counter::SynsDeferred), d.engine.gauges().half_open), (1, 0));
        d.after_ms(1_000);
        completes(&mut d);
        assert_eq!((d.count(Counter::SynsDeferred), d.count(Counter::PassiveOpens)), (1, 1));
    }
}

#[test]
fn credit_is_used_up_by_handshakes_that_nobody_completes() {
    let mut d = listening(false, |config| (config.syn_credit_max, config.syns_free_per_second) = (7, 0));
    assert_eq!(strangers(&mut d, 1..21), 7);
    assert_eq!((d.count(Counter::SynsDeferred), d.engine.gauges().half_open), (13, 7));
}

/// A crowd after a flood: each who completes pays for the next two, so soon nobody waits.
#[test]
fn who_completes_pays_for_the_next() {
    let mut d = listening(false, |config| (config.syn_credit_max, config.syns_free_per_second) = (4, 0));
    strangers(&mut d, 1..21);
    let deferred = d.count(Counter::SynsDeferred);
    for number in 1..=200 {
        d.remote = client(false, 100 + number);
        if number == 1 {
            assert!(!is_answered(&mut d, 0));
        }
        completes(&mut d);
    }
    assert_eq!(d.count(Counter::SynsDeferred), deferred + 1);
    // And no more than the credit is saved up.
    assert_eq!(strangers(&mut d, 500..520), 4);
}

#[test]
fn so_many_are_free_per_second_and_none_are_saved_up() {
    let mut d = listening(false, |config| (config.syn_credit_max, config.syns_free_per_second) = (30, 10));
    assert_eq!(strangers(&mut d, 1..101), 30 + 10);
    d.after_ms(900);
    assert_eq!(strangers(&mut d, 200..250), 0);
    d.after_ms(100);
    assert_eq!(strangers(&mut d, 300..350), 10);
    d.after_ms(600_000);
    assert_eq!(strangers(&mut d, 400..450), 10);
}

/// A flood goes round the source ports of one address: the same endpoints again are not the same SYN.
#[test]
fn another_initial_sequence_number_is_another_syn() {
    let mut d = listening(false, broke);
    let answered = (0..100).filter(|number| is_answered(&mut d, 70_001 * number)).count();
    assert_eq!((answered, d.count(Counter::SynsDeferred)), (0, 100));
    assert!(is_answered(&mut d, 70_001 * 50));
}

/// A forged SYN in the way of a client's (see the tests of the SYN cache) buys no answer either, and the client gets through.
#[test]
fn a_syn_on_a_half_open_handshake_waits_as_well() {
    let mut d = listening(false, |config| (config.syn_credit_max, config.syns_free_per_second) = (1, 0));
    assert!(is_answered(&mut d, 70_000));
    d.peer("S 0:0(0) win 65535 <mss 1460>");
    d.expect_nothing();
    assert_eq!((d.count(Counter::SynOnFlow), d.count(Counter::SynsDeferred)), (1, 1));
    completes(&mut d);
    assert_eq!(d.count(Counter::SynCookiesReceived), 1);
}

#[test]
fn a_handshake_under_way_is_never_put_off() {
    let mut d = listening(false, |config| (config.syn_credit_max, config.syns_free_per_second) = (1, 0));
    assert!(is_answered(&mut d, 0), "and this answer is lost");
    completes(&mut d);
    assert_eq!((d.count(Counter::SynAckRetransmitted), d.count(Counter::SynsDeferred)), (1, 0));
}

/// It has proven before that it is there, and its old endpoints are waited with.
#[test]
fn who_comes_back_after_time_wait_is_answered_at_once() {
    let mut d = Dialogue::with_config(|config| (config.syn_credit_max, config.syns_free_per_second) = (1, 0));
    d.listen();
    completes(&mut d);
    strangers(&mut d, 1..4);
    d.link.sent.clear();
    d.close();
    d.expect("F. 1:1(0) ack 1");
    d.peer("F. 1:1(0) ack 2");
    d.expect(". 2:2(0) ack 2");
    let deferred = d.count(Counter::SynsDeferred);
    d.peer("S 3:3(0) win 65535 <mss 1460>");
    d.expect("S. 0:0(0) ack 4");
    assert_eq!((d.count(Counter::SynsDeferred), d.count(Counter::TimeWaitReused)), (deferred, 1));
}

/// Attempts may be far apart when a client has been at it for a while.
#[test]
fn few_notes_are_kept_for_a_minute() {
    for (after_ms, answered) in [(1_000, true), (32_000, true), (60_000, true), (200_000, false)] {
        let mut d = listening(false, broke);
        assert!(!is_answered(&mut d, 0));
        d.after_ms(after_ms);
        assert_eq!(is_answered(&mut d, 0), answered, "after {after_ms} ms");
    }
}

/// What is noted now pushes out what is older than some seconds; a client's next attempt comes before.
#[test]
fn many_notes_are_kept_for_some_seconds() {
    for (seconds, answered) in [(1, true), (3, true), (12, false)] {
        let mut d = listening(false, |config| {
            broke(config);
            config.syn_notes_bytes = 1 << 14;
        });
        assert!(!is_answered(&mut d, 0));
        let own = d.remote;
        for second in 0..seconds {
            d.remote = client(false, 5_000);
            let strange = (0..2_000).filter(|number| is_answered(&mut d, 1_000_000 * (second + 1) + 50 * number));
            assert!(strange.count() < 500, "most of them are strangers still");
            d.after_ms(1_000);
        }
        d.remote = own;
        assert_eq!(is_answered(&mut d, 0), answered, "after {seconds} s");
    }
}

/// With too little memory for a flood's notes strangers are answered, and clients with them.
#[test]
fn full_notes_put_nobody_off() {
    let mut d = listening(false, |config| {
        broke(config);
        config.syn_notes_bytes = 0;
    });
    strangers(&mut d, 1..1_001);
    assert_eq!(strangers(&mut d, 2_000..3_000), 1_000);
    assert!(is_answered(&mut d, 123));
}
