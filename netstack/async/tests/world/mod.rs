//! Two hosts on a wire in memory, a clock that jumps, and an executor of a few lines.

use std::collections::VecDeque;
use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use weir_async::Net;
use weir_packet::frame::{Capabilities, ChecksumStatus, Offload, RxFrame, Transmit, TransmitError};
use weir_packet::{Chunk, Packet, Pool};
use weir_socket::Instant;
use weir_stack::{Ipv4Configuration, Ipv4Source, Ipv6Source, Shard, ShardConfig};

pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// Steps after which a world turns in circles.
const STEPS_MAX: usize = 200_000;

/// A host: its sockets, its buffers, and the frames that it sent.
pub struct Host {
    pub net: Net<Shard>,
    pub pool: Pool,
}

impl Host {
    pub fn new(address: Ipv4Addr, buffers: usize) -> Self {
        let pool = Pool::with_capacity(buffers).expect("memory");
        let last = address.octets()[3];
        let capabilities = capabilities(last);
        let mut config = ShardConfig::new(0, 1, [u64::from(last), 2, 3, 4], capabilities);
        config.ipv4 = Ipv4Source::Static(Ipv4Configuration::new(address, 24));
        config.ipv6 = Ipv6Source::None;
        config.tcp.flows_max = 64;
        config.tcp.time_wait_max = 64;
        config.tcp.send_queue_max = 64 << 10;
        Self { net: Net::new(Shard::new(config, pool.clone())), pool }
    }
}

fn capabilities(last: u8) -> Capabilities {
    Capabilities { mac: [0x52, 0x54, 0, 0, 0, last], mtu: 1500, transmit_checksum: false, tso4: false, tso6: false }
}

/// One direction of the wire.
struct Wire {
    capabilities: Capabilities,
    frames: VecDeque<Vec<u8>>,
}

impl Transmit for Wire {
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
        let mut frame = head.to_vec();
        payload.for_each(|chunk| frame.extend_from_slice(&chunk));
        self.frames.push_back(frame);
        Ok(())
    }
}

/// A task of the executor.
struct Task<'t> {
    future: Pin<Box<dyn Future<Output = ()> + 't>>,
    flag: Arc<Flag>,
    is_done: bool,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Lets the tasks run until all are done, and then the world until nothing is left to happen. Answers how often a task was
/// polled.
pub fn run<'t>(hosts: [&Host; 2], tasks: Vec<Pin<Box<dyn Future<Output = ()> + 't>>>) -> usize {
    let new = |future| Task { future, flag: Arc::new(Flag(AtomicBool::new(true))), is_done: false };
    let mut tasks: Vec<Task<'t>> = tasks.into_iter().map(new).collect();
    let mut wires = [1, 2].map(|last| Wire { capabilities: capabilities(last), frames: VecDeque::new() });
    let mut now = hosts[0].net.now().max(Instant::from_nanos(1_000_000_000));
    let mut polls = 0;
    for _ in 0..STEPS_MAX {
        for (side, host) in hosts.iter().enumerate() {
            host.net.with(|shard| {
                shard.set_now(now);
                for frame in wires[1 - side].frames.drain(..) {
                    let Some(mut packet) = host.pool.allocate() else { continue };
                    packet.extend_from_slice(&frame).expect("a frame fits");
                    shard.handle_frame(RxFrame { packet, checksum: ChecksumStatus::Unverified });
                }
                shard.handle_timers();
            });
            host.net.dispatch();
        }
        polls += tasks.iter_mut().map(poll_if_woken).sum::<usize>();
        for (host, wire) in hosts.iter().zip(&mut wires) {
            host.net.with(|shard| shard.poll_transmit(wire));
        }
        let is_woken = |task: &Task<'_>| !task.is_done && task.flag.0.load(Ordering::Relaxed);
        if wires.iter().any(|wire| !wire.frames.is_empty()) || tasks.iter().any(is_woken) {
            now = now + Duration::from_micros(100);
            continue;
        }
        let deadlines = hosts.iter().flat_map(|host| [host.net.next_deadline(), host.net.with(|s| s.next_deadline())]);
        match deadlines.flatten().min() {
            // The world outlives the tasks long enough for what they left behind.
            Some(deadline) if tasks.iter().any(|task| !task.is_done) || has_rest(hosts) => now = now.max(deadline),
            _ if tasks.iter().all(|task| task.is_done) => return polls,
            _ => panic!("nothing will ever happen to {} tasks", tasks.iter().filter(|task| !task.is_done).count()),
        }
    }
    panic!("the world turns in circles");
}

fn has_rest(hosts: [&Host; 2]) -> bool {
    let has_flows = |host: &Host| host.net.with(|shard| shard.tcp_gauges().flows.iter().any(|flows| *flows > 0));
    hosts.iter().any(|host| host.pool.in_use() > 0 || has_flows(host))
}

fn poll_if_woken(task: &mut Task<'_>) -> usize {
    if task.is_done || !task.flag.0.swap(false, Ordering::Relaxed) {
        return 0;
    }
    let waker = Waker::from(task.flag.clone());
    task.is_done = task.future.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Ready(());
    1
}
