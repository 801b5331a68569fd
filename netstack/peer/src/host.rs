//! A shard on a wire, in a thread of its own.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant as Clock};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{read, write};
use weir_packet::Pool;
use weir_socket::{Instant, Sockets};
use weir_stack::{Ipv4Configuration, Ipv4Source, Ipv6Configuration, Ipv6Source, Shard, ShardConfig};

use crate::application::Application;
use crate::interface::Interface;
use crate::plan::{Outcome, Plan, TooLate};
use crate::weather::Conditions;
use crate::wire::Wire;
use crate::{Failed, ensure};

/// Frames handled in one turn.
const BURST: usize = 64;

/// Packet buffers of a host.
const BUFFERS: usize = 8_192;

/// How long anything in these tests may take that is not given a limit of its own.
const PATIENCE: Duration = Duration::from_secs(60);

/// How far the clock is put forward when a test ends: past 2 MSL and all retransmissions of a SYN-ACK.
const LONG_AFTERWARDS: Duration = Duration::from_secs(120);

/// All that lives in the host's thread.
pub struct World {
    /// The stack.
    pub shard: Shard,
    /// Its applications.
    pub application: Application,
    /// The device.
    pub wire: Wire,
    start: Clock,
    /// How far the clock was put forward.
    ahead: Duration,
}

type Job = Box<dyn FnOnce(&mut World) + Send>;
type Condition = Box<dyn FnMut(&mut World) -> bool + Send>;

enum Command {
    /// Do this once.
    Do(Job),
    /// Drop this when the condition has become true; it is looked at after each turn.
    When(Condition),
    /// End the thread.
    Stop,
}

/// A host with Weir's stack, and the wire to it.
pub struct Host {
    interface: Interface,
    commands: Sender<Command>,
    bell: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    /// A host with default limits under these conditions.
    ///
    /// # Errors
    /// The interface cannot be made.
    pub fn new(conditions: Conditions, seed: u64) -> Result<Self, Failed> {
        Self::with_limits(conditions, seed, |_| {})
    }

    /// A host with other limits of TCP.
    ///
    /// # Errors
    /// The interface cannot be made.
    pub fn with_limits(conditions: Conditions, seed: u64, limits: fn(&mut weir_tcp::Config)) -> Result<Self, Failed> {
        let interface = Interface::new()?;
        let wire = Wire::new(&interface, conditions, seed)?;
        interface.bring_up()?;
        let (commands, orders) = mpsc::channel();
        let bell = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
        let config = shard_config(&interface, &wire, seed, limits);
        let heard = bell.clone();
        let thread = thread::Builder::new().name(interface.name().to_owned()).spawn(move || {
            let pool = Pool::with_capacity(BUFFERS).expect("memory for the pool");
            let shard = Shard::new(config, pool.clone());
            let application = Application::default();
            let world = World { shard, application, wire, start: Clock::now(), ahead: Duration::ZERO };
            run(world, &pool, &orders, &heard);
        })?;
        Ok(Self { interface, commands, bell, thread: Some(thread) })
    }

    /// The wire's interface.
    #[must_use]
    pub const fn interface(&self) -> &Interface {
        &self.interface
    }

    /// Does something in the host's thread.
    ///
    /// # Errors
    /// The thread is gone or stuck.
    pub fn with<R: Send + 'static>(&self, job: impl FnOnce(&mut World) -> R + Send + 'static) -> Result<R, Failed> {
        let (answer, answered) = mpsc::channel();
        self.order(Command::Do(Box::new(move |world| drop(answer.send(job(world))))))?;
        answered.recv_timeout(PATIENCE).map_err(|error| format!("the host does not answer: {error}").into())
    }

    /// Waits until `condition` holds after a turn.
    ///
    /// # Errors
    /// It did not within a minute: `what` did not happen.
    pub fn wait_until(
        &self,
        what: &str,
        mut condition: impl FnMut(&mut World) -> bool + Send + 'static,
    ) -> Result<(), Failed> {
        let (answer, answered) = mpsc::channel();
        self.order(Command::When(Box::new(move |world| condition(world) && answer.send(()).is_ok())))?;
        match answered.recv_timeout(PATIENCE) {
            Ok(()) => Ok(()),
            Err(RecvTimeoutError::Timeout) => Err(TooLate(format!("{what}; {}", self.state()?)).into()),
            Err(RecvTimeoutError::Disconnected) => Err("the host's thread is gone".into()),
        }
    }

    /// Follows `plan` with each client of `port`.
    ///
    /// # Errors
    /// The shard refuses to listen.
    pub fn listen(&self, ipv6: bool, port: u16, plan: Plan) -> Result<Receiver<Outcome>, Failed> {
        let (sender, outcomes) = mpsc::channel();
        let local = self.interface.at(ipv6, port);
        self.with(move |world| world.application.listen(&mut world.shard, local, plan, sender))??;
        Ok(outcomes)
    }

    /// Opens a flow and follows `plan`.
    ///
    /// # Errors
    /// The shard refuses to connect.
    pub fn connect(&self, remote: SocketAddr, plan: Plan) -> Result<Receiver<Outcome>, Failed> {
        let (sender, outcomes) = mpsc::channel();
        self.with(move |world| world.application.connect(&mut world.shard, remote, plan, sender))??;
        Ok(outcomes)
    }

    /// The value of a counter of TCP.
    ///
    /// # Errors
    /// The thread is gone.
    pub fn counter(&self, counter: weir_tcp::Counter) -> Result<u64, Failed> {
        self.with(move |world| world.shard.tcp_counters().get(counter))
    }

    /// All counters and gauges that are not zero, as one line.
    ///
    /// # Errors
    /// The thread is gone.
    pub fn state(&self) -> Result<String, Failed> {
        self.with(|world| world.describe())
    }

    /// Waits until all flows are closed, puts the clock beyond 2 MSL, and looks that nothing is left.
    ///
    /// # Errors
    /// Something is left.
    pub fn settle(&self) -> Result<(), Failed> {
        let settled = self.wait_until("all flows are closed", |world| {
            if world.application.flows() > 0 || world.shard.tcp_gauges().flows.iter().sum::<u32>() > 0 {
                return false;
            }
            let is_clean = world.left_over().is_empty();
            if !is_clean {
                // Again if need be: a FIN that the peer repeats begins TIME-WAIT anew.
                world.ahead += LONG_AFTERWARDS;
            }
            is_clean
        });
        let left_over = self.with(|world| world.left_over())?;
        ensure(left_over.is_empty(), || format!("left over: {left_over:?}"))?;
        settled
    }

    fn order(&self, command: Command) -> Result<(), Failed> {
        self.commands.send(command).map_err(|_| "the host's thread is gone")?;
        write(&*self.bell, &1_u64.to_ne_bytes())?;
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.order(Command::Stop);
        let ended = self.thread.take().is_none_or(|thread| thread.join().is_ok());
        assert!(ended || thread::panicking(), "the host panicked");
    }
}

impl World {
    fn now(&self) -> Duration {
        self.start.elapsed() + self.ahead
    }

    fn describe(&self) -> String {
        let (counters, tcp) = (self.shard.counters(), self.shard.tcp_counters());
        let all = counters.events().chain(counters.drops()).chain(self.shard.gauges()).chain(tcp.iter());
        let words = all.filter(|(_, value)| *value > 0).map(|(name, value)| format!("{name} {value}"));
        format!("{} {:?}", words.collect::<Vec<_>>().join(" "), self.shard.tcp_gauges())
    }

    /// Gauges that are not zero and should be when all flows are gone.
    fn left_over(&self) -> Vec<(&'static str, u64)> {
        const MUST_BE_ZERO: [&str; 4] =
            ["packets_waiting_for_neighbour", "loopback_queued", "messages_queued", "buffers_in_use"];
        let gauges = self.shard.tcp_gauges();
        let flows: u32 = gauges.flows.iter().sum();
        let tcp = [
            ("flows", flows.into()),
            ("time_wait", gauges.time_wait.into()),
            ("half_open", gauges.half_open.into()),
            ("send_queued", gauges.send_queued),
            ("receive_queued", gauges.receive_queued),
        ];
        let below = self.shard.gauges().filter(|(name, _)| MUST_BE_ZERO.contains(name));
        below.chain(tcp).filter(|(_, value)| *value > 0).collect()
    }

    /// One turn, in the order that the shard asks for. Whether there was anything to do.
    fn turn(&mut self, pool: &Pool) -> bool {
        let now_ns = self.now().as_nanos() as u64;
        self.wire.set_now(now_ns);
        self.shard.set_now(Instant::from_nanos(now_ns));
        let mut busy = false;
        for _ in 0..BURST {
            let Some(frame) = self.wire.receive(pool) else { break };
            busy = true;
            self.shard.handle_frame(frame);
        }
        self.shard.handle_timers();
        while let Some(event) = self.shard.poll_event() {
            self.application.handle(&mut self.shard, event);
        }
        while self.shard.poll_shard_event().is_some() {}
        self.shard.poll_transmit(&mut self.wire);
        busy
    }

    fn wait(&self, bell: &OwnedFd) {
        let now = self.now();
        let timer = self.shard.next_deadline().map(|deadline| Duration::from_nanos(deadline.as_nanos()));
        let arrival = self.wire.next_arrival().map(Duration::from_nanos);
        let next = timer.into_iter().chain(arrival).min();
        let limit = next.map_or(PATIENCE, |next| next.saturating_sub(now).min(PATIENCE));
        let limit = Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: limit.subsec_nanos().into() };
        let (device, bell) = (self.wire.as_fd(), bell.as_fd());
        let mut fds = [PollFd::from_borrowed_fd(device, PollFlags::IN), PollFd::from_borrowed_fd(bell, PollFlags::IN)];
        // Whatever woke us, the next turn finds it.
        let _ = poll(&mut fds, Some(&limit));
    }
}

fn shard_config(interface: &Interface, wire: &Wire, seed: u64, limits: fn(&mut weir_tcp::Config)) -> ShardConfig {
    let words = std::array::from_fn(|n| seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(n as u32 * 13 + 1));
    let mut config = ShardConfig::new(0, 1, words, *weir_packet::frame::Transmit::capabilities(wire));
    config.ipv4 =
        Ipv4Source::Static(Ipv4Configuration::new(interface.weir_v4(), 24).with_gateway(interface.linux_v4()));
    config.ipv6 = Ipv6Source::Static(Ipv6Configuration {
        address: interface.weir_v6(),
        prefix_len: 64,
        gateway: Some(interface.linux_v6()),
    });
    limits(&mut config.tcp);
    config
}

fn run(mut world: World, pool: &Pool, orders: &Receiver<Command>, bell: &OwnedFd) {
    let mut conditions: Vec<Condition> = Vec::new();
    loop {
        let mut busy = world.turn(pool);
        while let Ok(command) = orders.try_recv() {
            busy = true;
            match command {
                Command::Do(job) => job(&mut world),
                Command::When(condition) => conditions.push(condition),
                Command::Stop => return,
            }
        }
        conditions.retain_mut(|condition| !condition(&mut world));
        if !busy {
            world.wait(bell);
            let _ = read(bell, &mut [0; 8]);
        }
    }
}
