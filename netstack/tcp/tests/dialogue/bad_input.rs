//! Every malformed or misplaced segment, option and ICMP error moves the counter that names it, no other one of its kind, and
//! nothing else: the application hears nothing, no buffer stays, no state changes.

use std::net::SocketAddr;

use weir_tcp::{Counter, FlowState, IcmpErrorKind, Unreachable};

use crate::harness::Dialogue;

/// What may be counted for a segment that is not taken.
const REASONS: [Counter; 20] = [
    Counter::DropTruncated,
    Counter::DropChecksum,
    Counter::DropOption,
    Counter::DropMartian,
    Counter::DropNoFlow,
    Counter::DropSynFlags,
    Counter::OldData,
    Counter::OutOfWindow,
    Counter::PawsRejected,
    Counter::NoTimestamp,
    Counter::NoAck,
    Counter::NoSyn,
    Counter::UnacceptableAck,
    Counter::DataAfterFin,
    Counter::SackDiscarded,
    Counter::TimeWaitIgnored,
    Counter::SynOnFlow,
    Counter::ResetInexact,
    Counter::IcmpIgnored,
    Counter::UserTimeoutOptions,
];

/// `input` moves `reason` by one, and no other reason.
#[track_caller]
fn expect_reason(d: &mut Dialogue, what: &str, reason: Counter, input: impl FnOnce(&mut Dialogue)) {
    d.drain();
    d.events.clear();
    let before: Vec<u64> = REASONS.iter().map(|&counter| d.count(counter)).collect();
    let (buffers, flows) = (d.pool.in_use(), d.engine.gauges().flows);
    input(d);
    for (&counter, before) in REASONS.iter().zip(before) {
        let expected = before + u64::from(counter == reason);
        assert_eq!(d.count(counter), expected, "{what}: {counter:?}, where {reason:?} is expected");
    }
    d.link.sent.clear();
    assert!(d.events.is_empty(), "{what} was told the application: {:?}", d.events);
    assert_eq!((d.pool.in_use(), d.engine.gauges().flows), (buffers, flows), "{what} left something behind");
}

const DATA: &str = "P. 1:11(10) ack 1 <ts 102 0>";

#[test]
fn rfc_9293_3_1_a_header_that_cannot_be_one() {
    type Change = fn(&mut Vec<u8>);
    let forms: &[(&str, Counter, Change)] = &[
        ("nothing", Counter::DropTruncated, |b| b.clear()),
        ("one byte", Counter::DropTruncated, |b| b.truncate(1)),
        ("one byte too little", Counter::DropTruncated, |b| b.truncate(19)),
        ("data offset 0", Counter::DropTruncated, |b| b[12] = 0),
        ("data offset 4", Counter::DropTruncated, |b| b[12] = 4 << 4),
        ("options cut off", Counter::DropTruncated, |b| b.truncate(31)),
        ("data offset beyond the segment", Counter::DropTruncated, |b| b[12] = 15 << 4),
        ("payload cut off", Counter::DropChecksum, |b| b.truncate(41)),
        ("header alone", Counter::DropChecksum, |b| b.truncate(32)),
        ("payload flipped", Counter::DropChecksum, |b| b[35] ^= 1),
        ("sequence number flipped", Counter::DropChecksum, |b| b[4] ^= 0x80),
        ("checksum zero", Counter::DropChecksum, |b| (b[16], b[17]) = (0, 0)),
        ("data offset 5 over options", Counter::DropChecksum, |b| b[12] = 5 << 4),
        ("source port 0", Counter::DropMartian, |b| (b[0], b[1]) = (0, 0)),
        ("destination port 0", Counter::DropMartian, |b| (b[2], b[3]) = (0, 0)),
    ];
    for mut d in [Dialogue::new(), Dialogue::v6()].map(|d| d.accepted("mss 1460,sackOK,ws 7,ts 100 0")) {
        for &(what, reason, change) in forms {
            expect_reason(&mut d, what, reason, |d| d.peer_changed(DATA, change));
        }
    }
    let mut d = Dialogue::v6();
    let mapped: SocketAddr = "[::ffff:192.0.2.9]:50000".parse().unwrap();
    d.remote = mapped;
    expect_reason(&mut d, "an IPv4 address in an IPv6 header", Counter::DropMartian, |d| d.peer("S 0:0(0)"));
}

#[test]
fn rfc_9293_3_2_options_that_cannot_be_any() {
    let forms: &[(&str, &[u8])] = &[
        ("a kind without a length", &[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 99]),
        ("length 0", &[99, 0]),
        ("length 1", &[99, 1]),
        ("a length beyond the header", &[99, 13]),
        ("a length beyond the header, at its end", &[1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 4, 5]),
        ("MSS of 3 bytes", &[2, 3, 5]),
        ("MSS of 5 bytes", &[2, 5, 5, 5, 5]),
        ("window scale of 2 bytes", &[3, 2]),
        ("window scale of 4 bytes", &[3, 4, 7, 7]),
        ("SACK permitted of 3 bytes", &[4, 3, 0]),
        ("SACK without a block", &[5, 2]),
        ("SACK with half a block", &[5, 6, 0, 0, 0, 0]),
        ("SACK with a block and a bit", &[5, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("timestamps of 6 bytes", &[8, 6, 0, 0, 0, 0]),
        ("timestamps of 11 bytes", &[8, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("user timeout of 3 bytes", &[28, 3, 0]),
        ("user timeout of 6 bytes", &[28, 6, 0, 0, 0, 0]),
    ];
    for script in [DATA, "S 0:0(0) <ts 102 0>"] {
        let mut d = if script == DATA { Dialogue::established() } else { Dialogue::new() };
        if script != DATA {
            d.listen();
        }
        for &(what, option) in forms {
            expect_reason(&mut d, what, Counter::DropOption, |d| {
                d.peer_changed(script, |bytes| {
                    bytes[20..32].fill(1);
                    bytes[20..20 + option.len()].copy_from_slice(option);
                });
            });
        }
        assert_eq!(d.engine.gauges().half_open, 0);
    }
}

/// Of a kind that nobody knows, or where it has no meaning: passed over (RFC 9293, 3.2).
#[test]
fn rfc_9293_3_2_options_that_are_passed_over() {
    for option in [&[99, 4, 1, 2][..], &[253, 8, 1, 2, 3, 4, 5, 6], &[2, 4, 5, 180], &[3, 3, 14], &[4, 2], &[0, 99, 0]]
    {
        let mut d = Dialogue::new().accepted("mss 1460,sackOK,ws 7");
        d.peer_with_options("P. 1:11(10) ack 1", option);
        assert_eq!(d.read(), 10, "{option:?}");
    }
}

/// RFC 5482, 3.1: heard and counted; the user timeout stays the configured one.
#[test]
fn rfc_5482_the_user_timeout_option_is_counted() {
    let mut d = Dialogue::with_config(|c| c.user_timeout = std::time::Duration::from_secs(10)).accepted("mss 1460");
    // One second, then 2 hours.
    for value in [[0, 1], [0x80, 120]] {
        d.peer_with_options(". 1:1(0) ack 1", &[28, 4, value[0], value[1]]);
    }
    assert_eq!(d.count(Counter::UserTimeoutOptions), 2);
    d.write(100);
    d.after_ms(9_000);
    d.expect_state(FlowState::Established);
    d.after_ms(10_000);
    assert!(d.closed_for().is_some());
}

fn half_open() -> Dialogue {
    let mut d = Dialogue::new();
    d.listen();
    d.peer("S 0:0(0) win 65535 <mss 1460,sackOK,ws 7,ts 100 0>");
    d.expect("S. 0:0(0) ack 1");
    d
}

fn syn_sent() -> Dialogue {
    let mut d = Dialogue::new();
    d.connect();
    d.expect("S 0:0(0)");
    d
}

fn crossed() -> Dialogue {
    let mut d = syn_sent();
    d.peer("S 0:0(0) win 65535 <mss 1400,sackOK,ts 100 0>");
    d.expect("S. 0:0(0) ack 1");
    d
}

fn listening() -> Dialogue {
    let mut d = Dialogue::new();
    d.listen();
    d
}

fn close_wait() -> Dialogue {
    let mut d = Dialogue::established();
    d.peer("F. 1:1(0) ack 1 <ts 102 0>");
    d.drain();
    d
}

fn time_wait() -> Dialogue {
    let mut d = Dialogue::established();
    d.close();
    d.expect("F. 1:1(0) ack 1");
    d.peer("F. 1:1(0) ack 2 <ts 110 0>");
    d.expect(". 2:2(0) ack 2");
    d
}

#[test]
fn rfc_9293_3_10_7_a_segment_that_does_not_fit_its_state() {
    type State = fn() -> Dialogue;
    let closed: State = Dialogue::new;
    let forms: &[(&str, State, &str, Counter)] = &[
        ("CLOSED", closed, "S 0:0(0)", Counter::DropNoFlow),
        ("CLOSED", closed, "R 0:0(0)", Counter::DropNoFlow),
        ("CLOSED", closed, "FP 0:0(0)", Counter::DropNoFlow),
        ("LISTEN", listening, "R 5:5(0)", Counter::DropNoFlow),
        ("LISTEN", listening, ". 5:5(0) ack 77", Counter::DropNoFlow),
        ("LISTEN", listening, "S. 5:5(0) ack 77", Counter::DropNoFlow),
        ("LISTEN", listening, "F 5:5(0)", Counter::DropNoFlow),
        ("LISTEN, no flag", listening, "- 5:15(10)", Counter::DropNoFlow),
        ("LISTEN", listening, "SF 5:5(0)", Counter::DropSynFlags),
        ("LISTEN", listening, "SR 5:5(0)", Counter::DropSynFlags),
        ("LISTEN, all flags", listening, "SFRPEW. 5:5(0) ack 1", Counter::DropSynFlags),
        ("SYN-SENT", syn_sent, "S. 0:0(0) ack 300", Counter::UnacceptableAck),
        ("SYN-SENT", syn_sent, "R. 0:0(0) ack 300", Counter::UnacceptableAck),
        ("SYN-SENT", syn_sent, "R 0:0(0)", Counter::NoAck),
        ("SYN-SENT", syn_sent, ". 0:0(0) ack 1", Counter::NoSyn),
        ("SYN-SENT", syn_sent, "F 0:0(0)", Counter::NoSyn),
        ("SYN-RECEIVED", half_open, ". 70000:70000(0) ack 1 <ts 101 0>", Counter::OutOfWindow),
        ("SYN-RECEIVED", half_open, "R 70000:70000(0)", Counter::OutOfWindow),
        ("SYN-RECEIVED", half_open, "R 2:2(0)", Counter::ResetInexact),
        ("SYN-RECEIVED", half_open, "S 9:9(0) <ts 101 0>", Counter::SynOnFlow),
        ("SYN-RECEIVED", half_open, "P 1:11(10) <ts 101 0>", Counter::NoAck),
        ("SYN-RECEIVED", half_open, ". 1:1(0) ack 2 <ts 101 0>", Counter::UnacceptableAck),
        ("SYN-RECEIVED", half_open, ". 1:1(0) ack 1 <ts 99 0>", Counter::PawsRejected),
        ("SYN-RECEIVED, crossed", crossed, ". 9:9(0) ack 1 <ts 101 0>", Counter::OutOfWindow),
        ("SYN-RECEIVED, crossed", crossed, "R 9:9(0)", Counter::OutOfWindow),
        ("SYN-RECEIVED, crossed", crossed, "S 1:1(0) <ts 101 0>", Counter::SynOnFlow),
        ("SYN-RECEIVED, crossed", crossed, "P 1:11(10) <ts 101 0>", Counter::NoAck),
        ("SYN-RECEIVED, crossed", crossed, ". 1:1(0) ack 9 <ts 101 0>", Counter::UnacceptableAck),
        ("ESTABLISHED", Dialogue::established, "P 1:11(10) <ts 102 0>", Counter::NoAck),
        ("ESTABLISHED, no flag", Dialogue::established, "- 1:11(10) <ts 102 0>", Counter::NoAck),
        ("ESTABLISHED", Dialogue::established, "R 4000000:4000000(0)", Counter::OutOfWindow),
        ("ESTABLISHED", Dialogue::established, "R 0:0(0)", Counter::OldData),
        ("ESTABLISHED", Dialogue::established, "R 1000:1000(0)", Counter::ResetInexact),
        ("ESTABLISHED", Dialogue::established, "S 500:500(0) <ts 102 0>", Counter::SynOnFlow),
        ("ESTABLISHED", Dialogue::established, "S. 500:500(0) ack 1 <ts 102 0>", Counter::SynOnFlow),
        ("ESTABLISHED", Dialogue::established, "P. 4000000:4000010(10) ack 1 <ts 102 0>", Counter::OutOfWindow),
        ("ESTABLISHED", Dialogue::established, "P. -9:1(10) ack 1 <ts 102 0>", Counter::OldData),
        ("ESTABLISHED", Dialogue::established, "P. 1:11(10) ack 1 <ts 99 0>", Counter::PawsRejected),
        ("ESTABLISHED", Dialogue::established, "P. 1:11(10) ack 1", Counter::NoTimestamp),
        ("ESTABLISHED", Dialogue::established, "P. 1:11(10) ack 2 <ts 102 0>", Counter::UnacceptableAck),
        ("ESTABLISHED", Dialogue::established, "P. 1:11(10) ack -20000000 <ts 102 0>", Counter::UnacceptableAck),
        ("ESTABLISHED", Dialogue::established, ". 1:1(0) ack 1 <ts 102 0,sack 5:9>", Counter::SackDiscarded),
        ("ESTABLISHED", Dialogue::established, ". 1:1(0) ack 1 <ts 102 0,sack 1:1>", Counter::SackDiscarded),
        ("CLOSE-WAIT", close_wait, "P. 2:12(10) ack 1 <ts 103 0>", Counter::DataAfterFin),
        ("CLOSE-WAIT", close_wait, "F. 1:1(0) ack 1 <ts 103 0>", Counter::OldData),
        ("TIME-WAIT, RFC 1337", time_wait, "R 2:2(0)", Counter::TimeWaitIgnored),
        ("TIME-WAIT, RFC 1337", time_wait, "R. 2:2(0) ack 2", Counter::TimeWaitIgnored),
        ("TIME-WAIT, RFC 1337", time_wait, "P. 1:11(10) ack 2 <ts 109 0>", Counter::TimeWaitIgnored),
        ("TIME-WAIT, RFC 1337", time_wait, ". 2:2(0) ack 2 <ts 111 0>", Counter::TimeWaitIgnored),
        ("TIME-WAIT", time_wait, "S 1:1(0) <ts 100 0>", Counter::TimeWaitIgnored),
    ];
    for &(state, there, script, reason) in forms {
        expect_reason(&mut there(), &format!("{state}: {script}"), reason, |d| d.peer(script));
    }
}

#[test]
fn rfc_5927_4_an_icmp_error_that_proves_nothing() {
    use IcmpErrorKind::{PacketTooBig, Unreachable as Gone};
    let reasons =
        [Unreachable::Network, Unreachable::Host, Unreachable::Protocol, Unreachable::Port, Unreachable::Prohibited];
    for v6 in [false, true] {
        let new = || if v6 { Dialogue::v6() } else { Dialogue::new() };
        let kinds = reasons.map(Gone).into_iter().chain([PacketTooBig(1_400)]);
        for kind in kinds {
            expect_reason(&mut new(), "no flow", Counter::IcmpIgnored, |d| d.icmp(0, kind));
            let mut d = new();
            d.connect();
            expect_reason(&mut d, "SYN-SENT, another SYN", Counter::IcmpIgnored, |d| d.icmp(1, kind));
            let mut d = new().accepted("mss 1460,sackOK,ws 7,ts 100 0");
            expect_reason(&mut d, "nothing on its way", Counter::IcmpIgnored, |d| d.icmp(1, kind));
            d.write(100);
            for quoted in [0, 101, 9_999] {
                let what = format!("{kind:?} about {quoted}, where 1 to 100 are on their way");
                expect_reason(&mut d, &what, Counter::IcmpIgnored, |d| d.icmp(quoted, kind));
            }
            if kind != PacketTooBig(1_400) {
                // RFC 5927, 5.2: no synchronised flow ends for a hard error.
                expect_reason(&mut d, "a hard error", Counter::IcmpIgnored, |d| d.icmp(1, kind));
            }
        }
        // RFC 8201, 4 and RFC 1191, 3: less than any link carries, or nothing less than before.
        let least = if v6 { 1_280 } else { 68 };
        for mtu in [0, 1, least - 1, 1_500, 9_000, u16::MAX] {
            let mut d = new().accepted("mss 1460,sackOK,ws 7,ts 100 0");
            d.write(100);
            let what = format!("a path MTU of {mtu}");
            expect_reason(&mut d, &what, Counter::IcmpIgnored, |d| d.icmp(1, PacketTooBig(mtu)));
            d.write(2_000);
            assert!(d.drain()[0].len > 1_400, "segments are as long as before");
        }
    }
}
