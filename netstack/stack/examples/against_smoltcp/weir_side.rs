//! A shard as the server.

use std::hint::black_box;
use std::time::Duration;

use weir_packet::frame::{Capabilities, ChecksumStatus, Offload, RxFrame, Transmit, TransmitError};
use weir_packet::{Chunk, Packet, Pool};
use weir_socket::{Event, FlowId, Instant, ListenerId, Received, Sockets, Token};
use weir_stack::{Ipv4Configuration, Ipv4Source, Shard, ShardConfig};

use super::client::sequence_behind;
use super::{SERVER, SERVER_MAC, Server, TEXT, Work};

static BULK: [u8; 65_536] = [b'z'; 65_536];

pub(crate) struct Weir {
    shard: Shard,
    sink: Sink,
    pool: Pool,
    now: Instant,
    listener: ListenerId,
    /// The accepted flow that is being sent to.
    bulk: Option<FlowId>,
}

/// A device that looks at headers only.
struct Sink {
    capabilities: Capabilities,
    sent: (u32, u64),
}

impl Transmit for Sink {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn room(&self) -> usize {
        256
    }

    fn transmit<P>(&mut self, head: Packet, payload: P, _: Offload) -> Result<(), TransmitError>
    where
        P: ExactSizeIterator<Item = Chunk>,
    {
        let payload_len = payload.map(|chunk| black_box(chunk).len()).sum();
        if let Some(sequence) = sequence_behind(&head, payload_len) {
            self.sent = (sequence, self.sent.1 + 1);
        }
        Ok(())
    }
}

impl Server for Weir {
    fn new(connections: usize, _: bool) -> Self {
        let pool = Pool::with_capacity(1_024).expect("memory");
        let capabilities =
            Capabilities { mac: SERVER_MAC, mtu: 1500, transmit_checksum: true, tso4: false, tso6: false };
        let mut config = ShardConfig::new(0, 1, [1, 2, 3, 4], capabilities);
        config.ipv4 = Ipv4Source::Static(Ipv4Configuration::new(SERVER.into(), 24));
        config.tcp.flows_max = connections + 16;
        config.tcp.time_wait_max = 1024;
        let mut shard = Shard::new(config, pool.clone());
        let now = Instant::from_nanos(1_000_000_000);
        shard.set_now(now);
        let listener = shard.listen(([0, 0, 0, 0], 80).into(), Token(1)).expect("listening");
        Self { shard, sink: Sink { capabilities, sent: (0, 0) }, pool, now, listener, bulk: None }
    }

    fn turn(&mut self, frames: &[Vec<u8>], work: Work) {
        self.now = self.now + Duration::from_micros(10);
        self.shard.set_now(self.now);
        for frame in frames {
            let mut packet = self.pool.allocate().expect("a buffer");
            packet.extend_from_slice(frame).expect("fits");
            self.shard.handle_frame(RxFrame { packet, checksum: ChecksumStatus::Verified });
        }
        self.shard.handle_timers();
        while let Some(event) = self.shard.poll_event() {
            self.handle(event, work);
        }
        if let (Work::Send(_), Some(flow)) = (work, self.bulk) {
            while self.shard.send(flow, Chunk::from_static(&BULK)).is_ok() {}
        }
        self.shard.poll_transmit(&mut self.sink);
        black_box(self.shard.next_deadline());
    }

    fn sent(&self) -> (u32, u64) {
        self.sink.sent
    }
}

impl Weir {
    #[inline(always)]
    fn handle(&mut self, event: Event, work: Work) {
        let Event::Flow { flow, .. } = event else {
            self.bulk = self.shard.accept(self.listener, Token(2)).filter(|_| self.bulk.is_none()).or(self.bulk);
            return;
        };
        loop {
            match self.shard.receive(flow) {
                Received::Data(chunk) => {
                    black_box(&*chunk);
                    if matches!(work, Work::Answer(..)) {
                        let _ = self.shard.send(flow, Chunk::from_static(&TEXT));
                    }
                }
                Received::End => return self.shard.close(flow),
                Received::Nothing | Received::Closed(_) => return,
            }
        }
    }
}
