//! Bulk transfer over one bottleneck: what throughput and fairness are measured with.
//!
//! ```text
//!   sender ── engine ── device (cuts trains) ──▶ loss ──▶ bottleneck (rate, queue, tail drop) ── delay ──▶ receiver
//!      ◀──────────────────────────── acknowledgements, delayed only ────────────────────────────────────────┘
//! ```
//!
//! The wire carries what a device would put there: a train is cut into segments first, and each segment has its own chance
//! of being lost and its own place in the queue. Nothing is reordered, so that two queues in the order of time are enough,
//! and a simulated second of 10 Gbit/s is some seconds of work. A receiver looks at its device at most every
//! [`Bulk::moderation_us`], as interrupt moderation has it.
//!
//! [`Bulk::run`] checks while it measures: every byte that arrives is the one that belongs there.

mod endpoint;
mod model;
mod wire;

use std::net::SocketAddr;

use weir_socket::{Instant, Token};
use weir_tcp::{Config, Counter};

use endpoint::Endpoint;
pub use model::{cubic_segments, jain, reno_segments};
use wire::Wire;
pub use wire::{IP_BYTES, Loss, Path};

use crate::random::Random;

/// A measurement before it is made.
#[derive(Debug, Clone)]
pub struct Bulk {
    /// What decides which segments are lost.
    pub seed: u64,
    /// The way.
    pub path: Path,
    /// Both engines' configuration; what bounds windows is set by [`Bulk::run`] to what the path can hold.
    pub config: Config,
    /// When each flow begins, in milliseconds.
    pub starts_ms: Vec<u64>,
    /// The receiver's device reports arrivals at most so often, in microseconds.
    pub moderation_us: u64,
    /// What is measured begins here, in milliseconds...
    pub from_ms: u64,
    /// ... and ends here.
    pub to_ms: u64,
    /// Print the counters so often, in milliseconds; 0: never.
    pub trace_ms: u64,
}

/// What was measured.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Bytes of payload per second that arrived in order, of each flow.
    pub goodput: Vec<f64>,
    /// Segments lost by chance and segments dropped by the queue, from the beginning.
    pub lost: u64,
    /// See [`Measured::lost`].
    pub dropped: u64,
    /// The sender's counters.
    pub timeouts: u64,
    /// Episodes of fast recovery.
    pub recoveries: u64,
    /// Episodes that were undone.
    pub spurious: u64,
    /// Segments on the wire, acknowledgements included.
    pub segments: u64,
    /// Payload bytes of a full segment.
    pub mss: u32,
}

impl Bulk {
    /// One flow that begins at once, over `path`, with the usual configuration.
    #[must_use]
    pub fn new(seed: u64, path: Path) -> Self {
        let config = Config { seed: [seed, 2, 3, 4], ecn: false, ..Config::default() };
        Self { seed, path, config, starts_ms: vec![0], moderation_us: 20, from_ms: 0, to_ms: 1_000, trace_ms: 0 }
    }

    /// Payload bytes per second that the link carries when it is never idle.
    #[must_use]
    pub fn link_goodput(&self) -> f64 {
        self.path.rate_bps as f64 / 8.0 * f64::from(self.mss()) / f64::from(self.path.mtu)
    }

    /// Payload bytes of a full segment: with timestamps.
    #[must_use]
    pub fn mss(&self) -> u32 {
        u32::from(self.path.mtu) - u32::from(IP_BYTES) - 32
    }

    /// Lets it happen.
    ///
    /// # Errors
    /// A byte is wrong, or a flow ended.
    pub fn run(&self) -> Result<Measured, String> {
        Running::new(self).run()
    }
}

struct Running<'a> {
    bulk: &'a Bulk,
    wire: Wire,
    /// Sender and receiver.
    ends: [Endpoint; 2],
    now_ns: u64,
    /// The flows that have begun.
    begun: usize,
    traced_ns: u64,
}

const MILLISECOND_NS: u64 = 1_000_000;

impl<'a> Running<'a> {
    fn new(bulk: &'a Bulk) -> Self {
        // What the path holds at most, with room to be told of it a round trip late.
        let path = &bulk.path;
        let holds = path.rate_bps / 8 * path.round_trip_us / 1_000_000 + path.queue_bytes;
        let window = (holds as usize * 2).clamp(1 << 20, 1 << 29);
        let config = Config { send_queue_max: window, receive_window_max: window, ..bulk.config.clone() };
        let buffers = window / 1_024 * 2 + 8_192;
        let mut ends = [Endpoint::new(config.clone(), 8_192 + buffers / 16), Endpoint::new(config, buffers)];
        ends[1].engine.listen(receiver(), Token(0)).expect("a free address");
        Self { bulk, wire: Wire::new(path.clone(), Random::new(bulk.seed)), ends, now_ns: 0, begun: 0, traced_ns: 0 }
    }

    fn run(mut self) -> Result<Measured, String> {
        let read_at_start = self.run_until(self.bulk.from_ms * MILLISECOND_NS)?;
        let read_at_end = self.run_until(self.bulk.to_ms * MILLISECOND_NS)?;
        let seconds = (self.bulk.to_ms - self.bulk.from_ms) as f64 / 1e3;
        let flow = |at: usize| (read_at_end[at] - read_at_start[at]) as f64 / seconds;
        let counters = self.ends[0].engine.counters();
        Ok(Measured {
            goodput: (0..self.bulk.starts_ms.len()).map(flow).collect(),
            lost: self.wire.lost,
            dropped: self.wire.dropped,
            timeouts: counters.get(Counter::RetransmissionTimeouts),
            recoveries: counters.get(Counter::FastRecoveries),
            spurious: counters.get(Counter::SpuriousRecoveries),
            segments: self.wire.segments,
            mss: self.bulk.mss(),
        })
    }

    /// Bytes that each flow has received by then.
    fn run_until(&mut self, end_ns: u64) -> Result<Vec<u64>, String> {
        while let Some(next_ns) = self.next_ns().filter(|&next_ns| next_ns <= end_ns) {
            self.now_ns = self.now_ns.max(next_ns);
            self.trace();
            self.step()?;
        }
        self.now_ns = end_ns;
        let flow = |at: usize| self.ends[1].bytes_of(sender(at));
        Ok((0..self.bulk.starts_ms.len()).map(flow).collect())
    }

    /// Prints what has happened so far.
    fn trace(&mut self) {
        let interval_ns = self.bulk.trace_ms * MILLISECOND_NS;
        if interval_ns == 0 || self.now_ns < self.traced_ns + interval_ns {
            return;
        }
        self.traced_ns = self.now_ns / interval_ns * interval_ns;
        let counters =
            |end: &Endpoint| -> Vec<_> { end.engine.counters().iter().filter(|(_, value)| *value > 0).collect() };
        let flow = |at: usize| self.ends[1].bytes_of(sender(at));
        let bytes: Vec<u64> = (0..self.bulk.starts_ms.len()).map(flow).collect();
        let Wire { lost, dropped, .. } = self.wire;
        eprintln!("{:>10.3} ms: {bytes:?} bytes, {lost} lost, {dropped} dropped", self.now_ns as f64 / 1e6);
        eprintln!("    sender {:?}\n    receiver {:?}", counters(&self.ends[0]), counters(&self.ends[1]));
    }

    fn start_ns(&self) -> Option<u64> {
        self.bulk.starts_ms.get(self.begun).map(|start_ms| start_ms * MILLISECOND_NS)
    }

    fn next_ns(&self) -> Option<u64> {
        let arrivals = (0..2).map(|to| self.wire.next_arrival_ns(to).map(|at| at.max(self.ends[to].looks_again_ns)));
        let deadlines = self.ends.iter().map(Endpoint::next_deadline_ns);
        deadlines.chain(arrivals).chain([self.start_ns()]).flatten().min()
    }

    fn step(&mut self) -> Result<(), String> {
        let now = Instant::from_nanos(self.now_ns);
        while self.start_ns().is_some_and(|start_ns| start_ns <= self.now_ns) {
            self.ends[0].connect(now, sender(self.begun), receiver());
            self.begun += 1;
        }
        for side in 0..2 {
            let end = &mut self.ends[side];
            end.engine.set_now(now);
            if self.now_ns >= end.looks_again_ns && self.wire.next_arrival_ns(side).is_some_and(|at| at <= self.now_ns)
            {
                end.looks_again_ns = self.now_ns + self.bulk.moderation_us * 1_000;
                while let Some(segment) = self.wire.pop_arrival(side, self.now_ns) {
                    end.receive(&segment);
                    self.wire.recycle(segment);
                }
            } else if end.next_deadline_ns().is_none_or(|at| at > self.now_ns) && !end.is_touched {
                continue;
            }
            end.turn()?;
            end.engine.poll_transmit(&mut self.wire.port(side, self.now_ns));
        }
        Ok(())
    }
}

fn sender(flow: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 10_000 + flow as u16))
}

fn receiver() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 2], 80))
}
