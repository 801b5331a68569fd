//! Requirements of RFC 9293, appendix B, that no other dialogue is about. `docs/rfc9293.md` has all of them.

use std::time::Duration;

use smoltcp::wire::{TcpOption, TcpPacket};
use weir_socket::{CloseReason, ConnectError, Readiness, Token};
use weir_tcp::{Counter, FlowState, IcmpErrorKind, Unreachable};

use crate::harness::Dialogue;

const OPTIONS: &str = "mss 1460,sackOK,ws 7,ts 100 0";

/// The sequence number of what was sent last, as it is on the wire.
fn raw_seq(d: &Dialogue) -> u32 {
    let (_, bytes) = d.link.sent.back().expect("a segment");
    TcpPacket::new_checked(&bytes[..]).unwrap().seq_number().0 as u32
}

/// The initial sequence number of a passive open, whose flow is gone afterwards.
fn initial_sequence_number(d: &mut Dialogue) -> u32 {
    d.peer("S 0:0(0) win 65535 <mss 1400>");
    let seq = raw_seq(d);
    d.expect("S. 0:0(0) ack 1");
    d.peer("R 1:1(0)");
    seq
}

#[test]
fn must_1_the_window_is_unsigned_and_rec_1_kept_in_32_bits() {
    for (options, window, at_least) in [("mss 1460", 65_535, 60_000), ("mss 1460,ws 3", 65_535, 300_000)] {
        let mut d = Dialogue::with_buffers(16_384, |_| {}).accepted(options);
        d.write(800_000);
        let (mut end, mut flight) = (1, 0);
        while flight < at_least {
            let sent: u32 = d.drain().iter().map(|segment| segment.len).sum();
            assert!(sent > flight, "the window ends at {sent}, not at {at_least}");
            (flight, end) = (sent, end + sent);
            d.peer(&format!(". 1:1(0) ack {end} win {window}"));
        }
    }
}

#[test]
fn must_8_the_initial_sequence_number_goes_with_the_clock() {
    let mut d = Dialogue::new();
    d.listen();
    let first = initial_sequence_number(&mut d);
    for step_ms in [1, 1_000, 60_000] {
        let before = initial_sequence_number(&mut d);
        d.after_ms(step_ms);
        let later = initial_sequence_number(&mut d).wrapping_sub(before);
        // RFC 9293, 3.4.1: one for each 4 microseconds.
        assert_eq!(u64::from(later), step_ms * 250, "after {step_ms} ms");
    }
    assert_ne!(first, initial_sequence_number(&mut d));
}

#[test]
fn must_9_and_shld_1_nobody_computes_it_without_the_secret() {
    let of_seed = |seed: u64, port: u16| {
        let mut d = Dialogue::with_config(|c| c.seed = [seed, 2, 3, 4]);
        d.remote.set_port(port);
        d.listen();
        initial_sequence_number(&mut d)
    };
    let seen = [(1, 50_000), (2, 50_000), (1, 50_001), (1, 50_002)].map(|(seed, port)| of_seed(seed, port));
    assert_eq!(seen[0], of_seed(1, 50_000), "the same secret and time give the same number");
    for (i, a) in seen.iter().enumerate() {
        for b in &seen[..i] {
            // Neighbours of a clock would be closer than a second of it.
            assert!(a.wrapping_sub(*b).min(b.wrapping_sub(*a)) > 250_000, "{seen:?}");
        }
    }
}

#[test]
fn must_11_a_reset_in_syn_received_goes_back_to_where_it_came_from() {
    // From LISTEN: the listener listens on, and nobody is told.
    let mut d = Dialogue::new();
    d.listen();
    d.peer("S 0:0(0) win 65535 <mss 1400>");
    d.expect("S. 0:0(0) ack 1");
    d.peer("R 1:1(0)");
    d.expect_all_gone();
    assert!(!d.is_acceptable());
    d.peer("S 0:0(0) win 65535 <mss 1400>");
    d.expect("S. 0:0(0) ack 1");
    // From SYN-SENT, by a simultaneous open: the connection was refused.
    let mut d = Dialogue::new();
    d.connect();
    d.expect("S 0:0(0)");
    d.peer("S 0:0(0) win 65535 <mss 1400>");
    d.expect("S. 0:0(0) ack 1");
    d.peer("R. 1:1(0) ack 1");
    assert_eq!(d.ready(), Readiness::CLOSED);
    assert_eq!(d.closed_for(), Some(CloseReason::Refused));
}

#[test]
fn must_15_without_an_mss_option_536_and_1220() {
    for (mut d, mss) in [(Dialogue::new(), 536), (Dialogue::v6(), 1_220)].map(|(d, mss)| (d.accepted(""), mss)) {
        d.write(mss + 100);
        assert_eq!(d.drain().iter().map(|segment| segment.len).collect::<Vec<_>>(), [mss, 100]);
    }
}

#[test]
fn must_16_the_smaller_of_the_peers_mss_and_our_path() {
    for (mss, expected) in [(9_000, 1_448), (1_460, 1_448), (1_000, 988)] {
        let mut d = Dialogue::new().accepted(&format!("mss {mss},ts 100 0"));
        d.write(3_000);
        assert_eq!(d.drain()[0].len, expected, "mss {mss}");
    }
}

#[test]
fn must_65_the_mss_option_comes_with_a_syn_alone() {
    let mut d = Dialogue::new();
    d.listen();
    d.peer(&format!("S 0:0(0) win 65535 <{OPTIONS}>"));
    assert!(d.expect("S. 0:0(0)").options.unwrap().mss.is_some());
    d.peer(". 1:1(0) ack 1 <ts 101 0>");
    d.accept();
    d.write(4_000);
    d.peer("P. 1:101(100) ack 1 <ts 102 0>");
    d.shutdown();
    d.after_ms(1_000);
    let sent = d.drain();
    assert!(sent.len() > 4 && sent.iter().all(|segment| segment.options.as_ref().unwrap().mss.is_none()));
}

#[test]
fn must_69_a_header_is_filled_up_with_zeros_or_no_operations() {
    for options in ["", "mss 1460", "mss 1460,ws 7", "mss 1460,sackOK", "mss 1460,ts 100 0", OPTIONS] {
        let mut d = Dialogue::new();
        d.listen();
        d.peer(&format!("S 0:0(0) win 65535 <{options}>"));
        let (_, bytes) = d.link.sent.back().expect("a SYN-ACK");
        let packet = TcpPacket::new_checked(&bytes[..]).unwrap();
        assert_eq!((packet.header_len() % 4, usize::from(packet.header_len())), (0, bytes.len()));
        let mut rest = packet.options();
        while !rest.is_empty() {
            let (next, option) = TcpOption::parse(rest).expect("options one after the other");
            if option == TcpOption::EndOfList {
                assert!(rest.iter().all(|byte| *byte == 0), "{rest:?} for <{options}>");
                break;
            }
            rest = next;
        }
    }
}

#[test]
fn must_23_a_syn_is_repeated_for_three_minutes_at_least() {
    let mut d = Dialogue::new();
    d.connect();
    d.after_ms(180_000);
    d.expect_state(FlowState::SynSent);
    d.after_ms(180_000);
    assert_eq!(d.closed_for(), Some(CloseReason::TimedOut));
    let syns = d.drain();
    assert!((7..10).contains(&syns.len()) && syns.iter().all(|syn| syn.flags == "S"), "{}", syns.len());
}

#[test]
fn must_25_nobody_is_probed_who_did_not_ask_for_it() {
    let mut d = Dialogue::established();
    d.after_ms(24 * 3_600_000);
    d.expect_nothing();
    d.expect_state(FlowState::Established);
}

#[test]
fn must_34_and_shld_14_to_17_a_window_that_shrinks() {
    let mut d = Dialogue::established();
    d.write(5_792);
    assert_eq!(d.drain().len(), 4);
    // The peer takes the window back behind what is under way.
    d.peer(". 1:1(0) ack 1449 win 8 <ts 102 0>");
    d.write(5_000);
    d.expect_nothing();
    let mut repeated = 0;
    for i in 0..40 {
        d.after_ms(5_000);
        for segment in d.drain() {
            assert!(segment.seq + segment.len <= 5_793, "new data are sent: {segment}");
            repeated += 1;
        }
        d.peer(&format!(". 1:1(0) ack 1449 win 8 <ts {} 0>", 103 + i));
    }
    assert!(repeated > 3, "{repeated} segments in 200 s");
    d.expect_state(FlowState::Established);
    // It opens, and what waited goes out, as slow start lets it.
    let mut end = 5_793;
    for i in 0..5 {
        d.peer(&format!(". 1:1(0) ack {end} win 65535 <ts {} 0>", 200 + i));
        end += d.drain().iter().map(|segment| segment.len).sum::<u32>();
    }
    assert_eq!(end, 10_793);
}

#[test]
fn must_41_and_42_a_listener_and_flows_of_its_port_do_not_disturb_each_other() {
    let mut d = Dialogue::new();
    d.listen();
    // Our own connect from the port that is listened on.
    let elsewhere = "203.0.113.5:4000".parse().unwrap();
    d.engine.connect(d.local, elsewhere, Token(9)).unwrap();
    d.turn();
    d.link.sent.clear();
    d.expect_state(FlowState::SynSent);
    d.peer("S 0:0(0) win 65535 <mss 1400>");
    d.expect("S. 0:0(0) ack 1");
    // A listener of one address beside that of all, and one of the other family.
    let any = "0.0.0.0:80".parse().unwrap();
    assert!(d.engine.listen(any, Token(2)).is_ok());
    assert!(d.engine.listen("[::]:80".parse().unwrap(), Token(3)).is_ok());
    d.peer(". 1:1(0) ack 1");
    d.accept();
    assert_eq!(d.engine.local_address(d.flow()), Some(d.local));
}

#[test]
fn must_46_nobody_connects_to_everybody() {
    let mut d = Dialogue::new();
    for remote in ["224.0.0.1:80", "255.255.255.255:80", "[ff02::1]:80", "0.0.0.0:80", "[::]:80", "192.0.2.9:0"] {
        let remote: std::net::SocketAddr = remote.parse().unwrap();
        let local = if remote.is_ipv4() { d.local } else { "[2001:db8::1]:80".parse().unwrap() };
        assert_eq!(d.engine.connect(local, remote, Token(0)), Err(ConnectError::InvalidAddress), "{remote}");
    }
    d.expect_all_gone();
}

#[test]
fn must_56_no_error_message_ends_a_flow_that_was_established() {
    use Unreachable::{Host, Network, Port, Prohibited, Protocol};
    let mut d = Dialogue::established();
    d.write(100);
    d.drain();
    for reason in [Network, Host, Protocol, Port, Prohibited] {
        d.icmp(1, IcmpErrorKind::Unreachable(reason));
        d.expect_state(FlowState::Established);
    }
    assert_eq!(d.ready(), Readiness::NONE);
}

#[test]
fn must_59_everything_that_arrived_is_processed_before_it_is_acknowledged() {
    let mut d = Dialogue::established();
    let segment = |seq: u32| format!("P. {seq}:{}(1448) ack 1 <ts 102 0>", seq + 1_448);
    let segments = [1_449, 1, 2_897, 4_345].map(segment);
    d.peer_burst(&segments.each_ref().map(String::as_str));
    d.expect(". 1:1(0) ack 5793");
    d.expect_nothing();
}

#[test]
fn must_60_and_61_nothing_waits_for_a_push_and_the_last_segment_has_one() {
    let mut d = Dialogue::established();
    d.write(4_000);
    let pushed: Vec<bool> = d.drain().iter().map(|segment| segment.flags.contains('P')).collect();
    assert_eq!(pushed, [false, false, true]);
    d.write(1);
    assert!(d.expect("P. 4001:4002(1)").flags.contains('P'));
}

#[test]
fn must_66_and_shld_2_with_a_closed_window_a_reset_counts_with_data_or_without() {
    for reset in ["R. 8193:8193(0) ack 1 <ts 103 0>", "R. 8193:8203(10) ack 1 <ts 103 0>"] {
        let mut d = Dialogue::with_config(|c| (c.receive_window_initial, c.receive_window_max) = (8_192, 8_192))
            .accepted(OPTIONS);
        d.peer("P. 1:8193(8192) ack 1 <ts 102 0>");
        d.expect(". 1:1(0) ack 8193 win 0");
        // An acknowledgement is taken as well.
        d.write(100);
        d.expect("P. 1:101(100)");
        d.peer(". 8193:8193(0) ack 101 <ts 103 0>");
        assert_eq!(d.engine.send_queued(d.flow()), 0);
        d.peer(&reset.replace("ack 1", "ack 101"));
        assert!(d.ready().contains(Readiness::CLOSED), "{reset}");
        assert_eq!(d.closed_for(), Some(CloseReason::Reset));
    }
}

/// The first hop of a peer that is silent may be gone: it is asked, but not for what is lost now and then.
#[test]
fn must_20_the_way_to_a_peer_that_does_not_acknowledge_is_doubted_after_three_retransmissions() {
    let until_advice = |d: &mut Dialogue| {
        let advice = (0..1_000).find_map(|_| {
            d.after_ms(10);
            d.engine.poll_advice()
        });
        assert_eq!(advice, Some(d.remote.ip()));
        assert_eq!(d.engine.poll_advice(), None, "once for each retransmission");
    };
    let mut d = Dialogue::established();
    d.write(100);
    until_advice(&mut d);
    assert_eq!(d.count(Counter::RetransmissionTimeouts), 3);
    let mut d = Dialogue::new();
    d.connect();
    until_advice(&mut d);
    assert_eq!(d.drain().len(), 4, "the first SYN and three more");
}

#[test]
fn shld_10_and_11_a_flow_is_given_up_after_a_hundred_seconds_at_the_earliest() {
    let mut d = Dialogue::established();
    d.write(100);
    d.after(Duration::from_secs(100));
    d.expect_state(FlowState::Established);
    assert!(d.drain().len() > 3, "R1: three repetitions at least");
}
