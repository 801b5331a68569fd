//! Received bytes go on, in their buffers, to another flow; here mostly to the same one, whose peer is the harness' too.

use weir_packet::Chunk;
use weir_socket::{CloseReason, FlowId, Readiness, Received, SpliceStop, Spliced};
use weir_tcp::{Counter, FlowState};

use crate::harness::Dialogue;

const ALL: usize = usize::MAX;

fn echo(d: &mut Dialogue, max: usize) -> Spliced {
    let flow = d.flow();
    let spliced = d.engine.splice(flow, flow, max);
    d.turn();
    spliced
}

/// Payload bytes of everything that was sent; the harness compares each with the stream.
fn sent(d: &mut Dialogue) -> u32 {
    d.drain().iter().map(|segment| segment.len).sum()
}

#[test]
fn the_window_opens_only_by_what_the_target_took() {
    let mut d = Dialogue::with_config(|c| {
        (c.receive_window_initial, c.receive_window_max, c.send_queue_max) = (8_192, 8_192, 4_000);
    })
    .accepted("mss 1460,sackOK,ws 7,ts 100 0");
    for i in 0..5 {
        let seq = 1 + i * 1_448;
        d.peer(&format!(". {seq}:{}(1448) ack 1 <ts 102 0>", seq + 1_448));
    }
    d.drain();
    // Two buffers fit, and the third is taken whole; two stay where the window counts them.
    let spliced = echo(&mut d, ALL);
    assert!(matches!(spliced, Spliced { moved: 4_344, stop: SpliceStop::Full }), "{spliced:?}");
    let first = d.expect(". 1:1449(1448) ack 7241");
    assert_eq!(first.win, Some(8_192 - 2 * 1_448));
    assert_eq!(sent(&mut d), 2 * 1_448);
    d.ready();
    assert!(matches!(echo(&mut d, ALL), Spliced { moved: 0, stop: SpliceStop::Full }));
    d.expect_nothing();
    // The peer takes it, and there is room.
    d.peer(". 7241:7241(0) ack 4345 <ts 103 0>");
    assert!(d.ready().contains(Readiness::WRITABLE));
    assert!(matches!(echo(&mut d, ALL), Spliced { moved: 2_896, stop: SpliceStop::Nothing }));
    assert_eq!(d.expect(". 4345:5793(1448) ack 7241").win, Some(8_192));
    assert_eq!(sent(&mut d), 1_448);
}

#[test]
fn no_byte_is_copied() {
    let mut d = Dialogue::established();
    d.peer("P. 1:1001(1000) ack 1 <ts 102 0>");
    let before = d.pool.in_use();
    let flow = d.flow();
    assert_eq!(d.engine.splice(flow, flow, ALL).moved, 1_000);
    assert_eq!((d.pool.in_use(), d.engine.send_queued(flow)), (before, 1_000));
}

#[test]
fn a_limit_inside_a_buffer_gives_out_what_lies_behind_it() {
    let mut d = Dialogue::established();
    d.peer("P. 1:1001(1000) ack 1 <ts 102 0>");
    let Spliced { moved: 300, stop: SpliceStop::Limit(Some(rest)) } = echo(&mut d, 300) else { panic!("no limit") };
    assert_eq!(rest.len(), 700);
    d.expect("P. 1:301(300) ack 1001");
    assert!(matches!(echo(&mut d, 300), Spliced { moved: 0, stop: SpliceStop::Nothing }));
    let flow = d.flow();
    d.engine.send(flow, rest).unwrap();
    d.expect("P. 301:1001(700)");
    d.peer("P. 1001:1101(100) ack 1001 <ts 103 0>");
    assert!(matches!(echo(&mut d, 100), Spliced { moved: 100, stop: SpliceStop::Limit(None) }));
    assert!(matches!(echo(&mut d, 0), Spliced { moved: 0, stop: SpliceStop::Limit(None) }));
}

#[test]
fn the_end_of_the_stream_is_told_and_our_direction_stays_open() {
    let mut d = Dialogue::established();
    d.peer("P. 1:501(500) ack 1 <ts 102 0>");
    d.peer("F. 501:501(0) ack 1 <ts 103 0>");
    assert!(matches!(echo(&mut d, ALL), Spliced { moved: 500, stop: SpliceStop::End }));
    assert_eq!(sent(&mut d), 500);
    d.expect_state(FlowState::CloseWait);
    d.shutdown();
    d.expect("F. 501:501(0) ack 502");
    d.peer(". 502:502(0) ack 502 <ts 104 0>");
    // Both directions ended in order: there is still nothing but the end to be moved.
    assert!(matches!(echo(&mut d, ALL), Spliced { moved: 0, stop: SpliceStop::End }));
    d.close();
    d.expect_all_gone();
}

#[test]
fn a_target_that_takes_nothing_leaves_the_bytes_with_the_source() {
    let mut d = Dialogue::established();
    d.peer("P. 1:501(500) ack 1 <ts 102 0>");
    let (flow, nobody) = (d.flow(), FlowId::new(77, 0));
    let spliced = d.engine.splice(flow, nobody, ALL);
    assert!(matches!(spliced.stop, SpliceStop::TargetClosed(CloseReason::Released)), "{spliced:?}");
    let spliced = d.engine.splice(nobody, flow, ALL);
    assert!(matches!(spliced.stop, SpliceStop::SourceClosed(CloseReason::Released)), "{spliced:?}");
    d.shutdown();
    let spliced = echo(&mut d, ALL);
    assert!(matches!(spliced.stop, SpliceStop::TargetClosed(CloseReason::Shutdown)), "{spliced:?}");
    assert_eq!(d.read(), 500);
}

#[test]
fn what_a_reset_lost_is_not_moved() {
    let mut d = Dialogue::established();
    d.peer("P. 1:501(500) ack 1 <ts 102 0>");
    d.peer("R. 501:501(0) ack 1");
    assert_eq!(d.count(Counter::ResetsIn), 1);
    let spliced = echo(&mut d, ALL);
    assert!(matches!(spliced.stop, SpliceStop::SourceClosed(CloseReason::Reset)), "{spliced:?}");
}

#[test]
fn a_target_with_too_many_small_buffers_is_full_and_loses_nothing() {
    let mut d = Dialogue::established();
    d.peer(". 1:1(0) ack 1 win 0 <ts 102 0>");
    let flow = d.flow();
    let refused = (0..10_000).find(|_| d.engine.send(flow, Chunk::from_static(b"x")).is_err());
    assert_eq!(refused, Some(4_096), "the bound of chunks");
    d.ready();
    d.peer("P. 1:501(500) ack 1 win 0 <ts 103 0>");
    assert!(d.engine.send_room(flow) > 0);
    assert!(matches!(d.engine.splice(flow, flow, ALL), Spliced { moved: 0, stop: SpliceStop::Full }));
    assert!(matches!(d.engine.receive(flow), Received::Data(chunk) if chunk.len() == 500));
}
