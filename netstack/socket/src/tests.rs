//! The network in memory answers as the manual of [`Sockets`] says.

use crate::testing::FakeNet;
use crate::{CloseReason, Event, FlowId, Readiness, Sockets, SpliceStop, Spliced, Token};

const ALL: usize = usize::MAX;

#[test]
fn splice_stops_where_its_manual_says() {
    let mut net = FakeNet::new(16);
    net.set_send_queue(1_000);
    net.listen(([0, 0, 0, 0], 80).into(), Token(1)).unwrap();
    let client = net.open(([10, 0, 0, 1], 80).into());
    let Some(Event::Acceptable { listener, .. }) = net.poll_event() else { panic!("nobody to accept") };
    let front = net.accept(listener, Token(2)).unwrap();
    let back = net.connect(([10, 0, 0, 9], 80).into(), Token(3)).unwrap();
    let (server, _) = net.connecting()[0];
    net.establish(server);
    net.poll_event();
    assert!(matches!(net.splice(front, back, ALL), Spliced { moved: 0, stop: SpliceStop::Nothing }));
    net.deliver(client, &[7; 3_000]);
    // One buffer of 1,448 bytes fills the queue; the others stay.
    assert!(matches!(net.splice(front, back, ALL), Spliced { moved: 1_448, stop: SpliceStop::Full }));
    while net.poll_event().is_some() {}
    assert_eq!(net.take_sent(server), [7; 1_448]);
    assert!(matches!(net.poll_event(), Some(Event::Flow { flow, ready, .. })
        if flow == back && ready.contains(Readiness::WRITABLE)));
    let Spliced { moved: 1_000, stop: SpliceStop::Limit(Some(rest)) } = net.splice(front, back, 1_000) else {
        panic!("the limit lies in a buffer");
    };
    assert_eq!(rest.len(), 448);
    net.take_sent(server);
    net.deliver_end(client);
    assert!(matches!(net.splice(front, back, ALL), Spliced { moved: 104, stop: SpliceStop::End }));
    assert!(!net.sent_end(server), "the end is told, not passed on");
    net.deliver(server, b"late");
    net.shutdown(front);
    let spliced = net.splice(back, front, ALL);
    assert!(matches!(spliced.stop, SpliceStop::TargetClosed(CloseReason::Shutdown)), "{spliced:?}");
    let spliced = net.splice(FlowId::new(99, 0), front, ALL);
    assert!(matches!(spliced.stop, SpliceStop::SourceClosed(CloseReason::Released)), "{spliced:?}");
}
