//! A core's life: turn after turn, and sleep in between.

use alloc::sync::Arc;

use weir_config::Addressing;
use weir_drivers::net::QueuePair;
use weir_hal::CoreId;
use weir_kernel::{cores, error, memory, time, warn};
use weir_packet::frame::{Receive, Transmit};
use weir_proxy::{Service, Setup};
use weir_socket::{Instant, Sockets};
use weir_stack::{Ipv4Configuration, Ipv4Source, Message, Shard, ShardConfig};

use crate::control::Control;
use crate::mesh::Links;
use crate::metrics::{self, Figures};
use crate::seat::{Common, Seat};
use crate::sleep::{self, Sleeper};

/// Frames taken from the device in one turn.
const FRAMES_PER_TURN: usize = 64;
/// Messages taken from each other core in one turn.
const MESSAGES_PER_TURN: usize = 64;
/// Events given to the application in one turn.
const EVENTS_PER_TURN: usize = 256;
/// How old the published counters of a busy core may become, in nanoseconds.
const PUBLISH_PERIOD_NS: u64 = 10_000_000;

/// Everything that belongs to one core.
struct Core {
    id: CoreId,
    pair: QueuePair,
    shard: Shard,
    service: Service<Figures>,
    links: Links<Message>,
    sleeper: Sleeper,
    control: Option<Control>,
    common: Arc<Common>,
    /// When the counters were last published, and whether anything happened since.
    published_ns: u64,
    is_news: bool,
    turns: Turns,
}

/// What a core counts of its own life.
#[derive(Debug, Clone, Copy, Default)]
pub struct Turns {
    /// Turns in which there was something to do.
    pub busy: u64,
    /// Turns in which there was not.
    pub idle: u64,
    /// Halts.
    pub halts: u64,
    /// Other cores woken.
    pub wakes: u64,
}

/// Runs core `id` from its seat, for ever.
pub fn live(id: CoreId, seat: Seat) -> ! {
    let mut core = Core::new(id, seat);
    core.begin();
    loop {
        let now_ns = time::now_ns();
        if core.turn(now_ns) {
            core.turns.busy += 1;
            core.is_news = true;
            core.sleeper.was_busy();
        } else {
            core.turns.idle += 1;
            if core.sleeper.should_halt(now_ns) {
                core.sleep(now_ns);
            } else {
                core::hint::spin_loop();
            }
        }
        core.publish(now_ns);
    }
}

impl Core {
    fn new(id: CoreId, seat: Seat) -> Self {
        let Seat { pair, links, pool_memory, seed, control, common } = seat;
        let pool = Seat::pool(pool_memory);
        let pair = pair.start(pool.clone());
        let mut config = ShardConfig::new(id.index(), links.cores(), seed, *pair.capabilities());
        config.tcp = weir_tcp::Config::for_memory(common.plan.table_bytes);
        config.ipv4 = ipv4_source(common.config.network.addressing);
        if let Some(mtu) = common.config.network.mtu_bytes {
            config.device.mtu = config.device.mtu.min(mtu);
        }
        let shard = Shard::new(config, pool);
        let setup = Setup {
            config: &common.config,
            core: id.index(),
            seed: seed[0],
            connections: common.plan.connections,
            unix_ns_at_origin: time::wall_unix_ns().saturating_sub(time::now_ns()),
            archive: common.archive.clone(),
        };
        let figures = Figures(Arc::clone(&common));
        let service = Service::new(setup, figures).expect("the plan leaves memory for the connections");
        let control = control.map(|net| Control::new(net, Arc::clone(&common)));
        let sleeper = Sleeper::new(common.config.tuning.idle);
        let (published_ns, turns) = (0, Turns::default());
        Self { id, pair, shard, service, links, sleeper, control, common, published_ns, is_news: true, turns }
    }

    fn begin(&mut self) {
        self.shard.set_now(Instant::from_nanos(time::now_ns()));
        for error in self.service.start(&mut self.shard) {
            error!("core {}: {error}", self.id);
        }
    }

    /// One turn: all that has arrived is taken, worked on and answered, within bounds. Whether there was anything.
    fn turn(&mut self, now_ns: u64) -> bool {
        self.shard.set_now(Instant::from_nanos(now_ns));
        let messages = self.take_messages();
        let frames = self.take_frames();
        self.shard.handle_timers();
        let events = self.serve();
        self.pair.reclaim();
        self.shard.poll_transmit(&mut self.pair);
        self.pair.flush();
        let sent = self.give_messages();
        if let Some(control) = &mut self.control {
            control.tick(now_ns, &mut self.shard);
        }
        messages | frames | events | sent
    }

    fn take_messages(&mut self) -> bool {
        let mut any = false;
        for from in 0..self.links.cores() {
            for _ in 0..MESSAGES_PER_TURN {
                let Some(message) = self.links.receive_from(from) else { break };
                self.shard.handle_message(message);
                any = true;
            }
        }
        any
    }

    #[inline]
    fn take_frames(&mut self) -> bool {
        let mut taken = 0;
        while taken < FRAMES_PER_TURN
            && let Some(frame) = self.pair.receive()
        {
            self.shard.handle_frame(frame);
            taken += 1;
        }
        self.pair.refill();
        taken > 0
    }

    #[inline]
    fn serve(&mut self) -> bool {
        let mut served = 0;
        while served < EVENTS_PER_TURN
            && let Some(event) = self.shard.poll_event()
        {
            self.service.handle(&mut self.shard, event);
            served += 1;
        }
        served > 0
    }

    /// Carries messages to the rings, and wakes who sleeps before one.
    fn give_messages(&mut self) -> bool {
        let mut any = false;
        while let Some((target, message)) = self.shard.poll_message() {
            any = true;
            if let Err(message) = self.links.send(target, message) {
                self.shard.refuse_message(target, message);
                // The ring has to be emptied first; the rest waits for the next turn.
                break;
            }
        }
        if any {
            self.wake_sleepers();
        }
        any
    }

    #[cold]
    fn wake_sleepers(&mut self) {
        sleep::sent();
        for (id, bed) in (0..).map(CoreId).zip(&self.common.beds) {
            if id != self.id && bed.is_taken() {
                cores::wake(id);
                self.turns.wakes += 1;
            }
        }
    }

    /// Halts until a frame, a message or a deadline.
    fn sleep(&mut self, now_ns: u64) {
        let deadline_ns = self.deadline_ns();
        if deadline_ns.is_some_and(|deadline_ns| deadline_ns <= now_ns) {
            return;
        }
        if let Some(fault) = self.pair.take_fault() {
            warn!("core {}: the network device lies: {fault}", self.id);
            cores::wake(CoreId::BOOT);
        }
        let Some(bed) = self.common.beds.get(self.id.index()) else { return };
        bed.lie_down();
        if self.links.is_idle() && !self.pair.arm() {
            self.turns.halts += 1;
            cores::idle(deadline_ns, || !self.links.is_idle());
        }
        bed.get_up();
        self.pair.disarm();
        self.sleeper.has_slept(time::now_ns().saturating_sub(now_ns));
    }

    /// When the core has to be awake at the latest.
    fn deadline_ns(&self) -> Option<u64> {
        let shard = self.shard.next_deadline().map(Instant::as_nanos);
        let publish = self.is_news.then_some(self.published_ns + PUBLISH_PERIOD_NS);
        let control = self.control.as_ref().map(Control::next_tick_ns);
        [shard, publish, control].into_iter().flatten().min()
    }

    /// Publishes the counters if there is news and the last time is long enough ago.
    #[inline]
    fn publish(&mut self, now_ns: u64) {
        if self.is_news && now_ns >= self.published_ns + PUBLISH_PERIOD_NS {
            self.publish_now(now_ns);
        }
    }

    #[cold]
    fn publish_now(&mut self, now_ns: u64) {
        self.is_news = false;
        self.published_ns = now_ns;
        let heap = memory::heap::usage(self.id);
        self.common.board.publish(self.id.index(), |to| {
            metrics::service(to, self.service.counters());
            metrics::stack(to, &self.shard);
            metrics::device(to, &self.pair);
            metrics::core(to, &self.turns, self.links.full(), heap);
        });
    }
}

fn ipv4_source(addressing: Addressing) -> Ipv4Source {
    match addressing {
        Addressing::Dhcp => Ipv4Source::Dhcp,
        Addressing::Static { address, prefix_len, gateway } => {
            let configuration = Ipv4Configuration::new(address, prefix_len);
            Ipv4Source::Static(match gateway {
                Some(gateway) => configuration.with_gateway(gateway),
                None => configuration,
            })
        }
    }
}
