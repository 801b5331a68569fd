//! An echo server of asynchronous functions on a TAP device of the host.
//!
//! ```text
//! unshare -rn                                             # a network of its own, no privilege needed
//! ip tuntap add weir0 mode tap
//! ip address add 10.9.0.1/24 dev weir0; ip link set weir0 up
//! cargo run --release -p weir-async --example echo -- weir0 10.9.0.2
//! curl telnet://10.9.0.2:7                                # says what you say
//! ```

use std::cell::RefCell;
use std::error::Error;
use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant as Clock};

use embedded_io_async::{BufRead, Write};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};
use weir_async::{Flow, Net};
use weir_packet::frame::{Capabilities, ChecksumStatus, Offload, RxFrame, Transmit, TransmitError};
use weir_packet::{Chunk, Packet, Pool};
use weir_socket::Instant;
use weir_stack::{Ipv4Configuration, Ipv4Source, Shard, ShardConfig};

const BURST: usize = 64;
/// A flow that says nothing for so long is closed.
const SILENCE: Duration = Duration::from_secs(60);

struct Tap {
    device: SyncDevice,
    capabilities: Capabilities,
}

impl Transmit for Tap {
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
        self.device.send(&frame).map(drop).map_err(|_| TransmitError::Full)
    }
}

impl Tap {
    fn receive(&mut self, pool: &Pool) -> Option<RxFrame> {
        let mut packet = pool.allocate_whole()?;
        packet.trim_front(16).ok()?;
        let len = self.device.recv(&mut packet).ok()?;
        packet.truncate(len);
        Some(RxFrame { packet, checksum: ChecksumStatus::Unverified })
    }

    fn wait(&self, limit: Duration) {
        let mut fds = [PollFd::new(&self.device, PollFlags::IN)];
        let limit = Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: limit.subsec_nanos().into() };
        let _ = poll(&mut fds, Some(&limit));
    }
}

type Task<'t> = Pin<Box<dyn Future<Output = ()> + 't>>;

/// Tasks of one thread, each with a flag that its waker sets.
#[derive(Default)]
struct Executor<'t> {
    tasks: Vec<(Task<'t>, Arc<Flag>)>,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<'t> Executor<'t> {
    fn spawn(&mut self, task: Task<'t>) {
        self.tasks.push((task, Arc::new(Flag(AtomicBool::new(true)))));
    }

    /// Polls who was woken, and forgets who is done.
    fn run(&mut self) {
        self.tasks.retain_mut(|(task, flag)| {
            let waker = Waker::from(flag.clone());
            !flag.0.swap(false, Ordering::Relaxed) || task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
        });
    }
}

async fn echo(net: &Net<Shard>, mut flow: Flow<'_, Shard>) {
    loop {
        let Ok(Ok(bytes)) = net.by(net.now() + SILENCE, flow.fill_buf()).await else { return };
        let bytes = bytes.to_vec();
        if bytes.is_empty() || flow.write_all(&bytes).await.is_err() {
            return;
        }
        flow.consume(bytes.len());
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(name), Some(address)) = (arguments.next(), arguments.next()) else {
        return Err("usage: echo DEVICE ADDRESS".into());
    };
    let address: Ipv4Addr = address.parse()?;
    let mac = [0x52, 0x54, 0x00, 0x57, 0x45, 0x07];
    let capabilities = Capabilities { mac, mtu: 1500, transmit_checksum: false, tso4: false, tso6: false };
    let device = DeviceBuilder::new().name(&name).layer(Layer::L2).inherit_enable_state().build_sync()?;
    device.set_nonblocking(true)?;
    let mut tap = Tap { device, capabilities };
    let start = Clock::now();
    let pool = Pool::with_capacity(4_096)?;
    let seed = std::array::from_fn(|n| u64::from(std::process::id()) << (8 * n) ^ 0x9e37_79b9_7f4a_7c15);
    let mut config = ShardConfig::new(0, 1, seed, capabilities);
    config.ipv4 = Ipv4Source::Static(Ipv4Configuration::new(address, 24));
    let net = Net::new(Shard::new(config, pool.clone()));
    let accepted = RefCell::new(Vec::new());
    let mut executor = Executor::default();
    executor.spawn(Box::pin(async {
        let mut listener = net.listen(([0, 0, 0, 0], 7).into()).expect("a free port");
        loop {
            let flow = listener.accept().await;
            println!("{} is here", flow.peer_address().expect("a flow has a peer"));
            accepted.borrow_mut().push(flow);
        }
    }));
    loop {
        let is_busy = net.with(|shard| {
            shard.set_now(Instant::from_nanos(start.elapsed().as_nanos() as u64));
            let burst = std::iter::from_fn(|| tap.receive(&pool)).take(BURST);
            let frames = burst.map(|frame| shard.handle_frame(frame)).count();
            shard.handle_timers();
            frames > 0
        });
        net.dispatch();
        executor.run();
        for flow in accepted.borrow_mut().drain(..) {
            executor.spawn(Box::pin(echo(&net, flow)));
        }
        executor.run();
        net.with(|shard| shard.poll_transmit(&mut tap));
        if !is_busy {
            let now = net.now();
            let deadlines = [net.next_deadline(), net.with(|shard| shard.next_deadline())];
            let limit = deadlines.into_iter().flatten().min().map_or(SILENCE, |deadline| deadline.since(now));
            tap.wait(limit.min(SILENCE));
        }
    }
}
