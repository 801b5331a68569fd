//! A core's life: turn after turn, and sleep in between.

mod post;
mod publish;
mod rest;
mod watch;

use alloc::sync::Arc;
use core::net::{Ipv4Addr, Ipv6Addr};

use weir_config::Addressing;
use weir_hal::CoreId;
use weir_kernel::{console, error, time};
use weir_packet::frame::{Receive, Transmit};
use weir_proxy::{Service, Setup};
use weir_socket::{Instant, Sockets};
use weir_stack::{Ipv4Configuration, Ipv4Source, Ipv6Configuration, Ipv6Source, Shard, ShardConfig, Spread};

use crate::bed::Calls;
use crate::control::Control;
use crate::mail::{Mail, News, Word};
use crate::mesh::Links;
use crate::metrics::Figures;
use crate::names::Names;
use crate::seat::{Common, Seat};
use crate::sleep::Sleeper;
use crate::syslog::{self, Syslog};
use crate::wire::Wire;
use post::Reporting;
use publish::Schedule;

/// Frames taken from the device in one turn.
const FRAMES_PER_TURN: usize = 64;
/// Events given to the application in one turn.
const EVENTS_PER_TURN: usize = 256;
/// How long buffers may stay with the core that sends for this one before this one looks for them, in nanoseconds.
const FETCH_PERIOD_NS: u64 = 10_000_000;

/// Everything that belongs to one core.
struct Core {
    id: CoreId,
    wire: Wire,
    shard: Shard,
    service: Service<Figures>,
    links: Links<Mail>,
    news: News,
    calls: Calls,
    sleeper: Sleeper,
    syslog: Syslog,
    control: Option<Control>,
    /// On the control core: names of servers, if there are any.
    names: Option<Names>,
    common: Arc<Common>,
    publishing: Schedule,
    reporting: Reporting,
    /// The machine is about to go off.
    is_leaving: bool,
    turns: Turns,
    /// The beginning of a turn that had something to do, until its time is counted.
    busy_since_ns: Option<u64>,
}

/// What a core counts of its own life.
#[derive(Debug, Clone, Copy, Default)]
pub struct Turns {
    /// Turns in which there was something to do.
    pub busy: u64,
    /// Time of those turns, in nanoseconds.
    pub busy_ns: u64,
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
        core.was_busy_until(now_ns);
        if core.turn(now_ns) != Turn::Unfinished {
            core.rest();
        }
        core.report_load(now_ns);
        core.publish(now_ns);
    }
}

/// What a turn was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// There was nothing to do.
    Idle,
    /// All that was there is done.
    Busy,
    /// It ended with something for the next one.
    Unfinished,
}

/// The plan leaves room for the service's tables.
const _: () = assert!(weir_proxy::CONNECTION_BYTES <= weir_plan::CONNECTION_BYTES);

/// What a line of the access log begins with on the console.
const ACCESS: &str = "weir: access ";
const _: () = assert!(ACCESS.len() + weir_proxy::LOG_LINE_LEN_MAX <= console::RECORD_BYTES_MAX);

impl Core {
    fn new(id: CoreId, seat: Seat) -> Self {
        let Seat { wire, links, pool_memory, seed, control, common } = seat;
        let pool = Seat::pool(pool_memory);
        let wire = wire.start(pool.clone());
        let mut config = ShardConfig::new(id.index(), links.cores(), seed, *wire.capabilities());
        config.passive = common.passive;
        config.spread = common.report.spread.map(|spread| Spread { key: spread.key, table_len: spread.table_len });
        config.tcp = common.plan.tcp();
        if let Some(rate) = common.config.limits.uncompleted_syn_rate {
            config.tcp.syns_free_per_second = (rate.per_minute / 60).div_ceil(links.cores() as u32);
        }
        config.ipv4 = ipv4_source(common.config.network.ipv4);
        config.ipv6 = ipv6_source(common.config.network.ipv6);
        config.sources.clone_from(&common.config.network.sources);
        if let Some(mtu) = common.config.network.mtu_bytes {
            config.device.mtu = config.device.mtu.min(mtu);
        }
        let shard = Shard::new(config, pool);
        let unix_ns_at_origin = time::wall_unix_ns().saturating_sub(time::now_ns());
        let setup = Setup {
            config: &common.config,
            core: id.index(),
            cores: common.plan.cores,
            seed: seed[0],
            connections: common.plan.connections,
            unix_ns_at_origin,
            archive: common.archive.clone(),
            origin: &common.origin,
        };
        let figures = Figures::new(Arc::clone(&common));
        let service = Service::new(setup, figures).expect("the plan leaves memory for the connections");
        let control = control.map(|net| Control::new(net, Arc::clone(&common)));
        let names = control.as_ref().and_then(|_| Names::new(&common.config));
        let sleeper = Sleeper::new(common.config.tuning.idle);
        let syslog = Syslog::new(common.config.log.syslog, id.index(), unix_ns_at_origin);
        let (calls, turns) = (Calls::default(), Turns::default());
        let news = News::default();
        Self {
            id,
            wire,
            shard,
            service,
            links,
            news,
            calls,
            sleeper,
            syslog,
            control,
            names,
            common,
            publishing: Schedule::new(),
            reporting: Reporting::default(),
            is_leaving: false,
            turns,
            busy_since_ns: None,
        }
    }

    fn begin(&mut self) {
        self.shard.set_now(Instant::from_nanos(time::now_ns()));
        for error in self.service.start(&mut self.shard) {
            error!("core {}: {error}", self.id);
        }
    }

    /// One turn, counted.
    #[inline]
    fn turn(&mut self, now_ns: u64) -> Turn {
        let turn = self.work(now_ns);
        if turn == Turn::Idle {
            self.turns.idle += 1;
        } else {
            self.turns.busy += 1;
            self.busy_since_ns = Some(now_ns);
            self.publishing.news(now_ns);
            self.reporting.is_due = true;
            self.sleeper.was_busy();
        }
        turn
    }

    /// Ends the time of the last turn, if it had something to do and has not ended yet.
    #[inline]
    fn was_busy_until(&mut self, now_ns: u64) {
        if let Some(since_ns) = self.busy_since_ns.take() {
            self.turns.busy_ns += now_ns.saturating_sub(since_ns);
        }
    }

    /// All that has arrived is taken, worked on and answered, within bounds.
    fn work(&mut self, now_ns: u64) -> Turn {
        self.shard.set_now(Instant::from_nanos(now_ns));
        self.syslog.begin_turn();
        let messages = self.take_messages();
        let frames = self.take_frames();
        self.shard.handle_timers();
        let events = self.serve();
        if self.service.has_log_lines() {
            self.tell_log();
        }
        self.wire.reclaim();
        let relayed = self.wire.serve_others(&mut self.calls);
        self.shard.poll_transmit(&mut self.wire);
        self.wire.flush(&mut self.calls);
        let sent = self.give_messages();
        let mut told = self.control.is_some() && self.watch_servers();
        if !self.calls.is_empty() {
            self.wake_sleepers();
        }
        if let Some(control) = &mut self.control {
            let was_ready = control.is_ready();
            control.tick(now_ns, &mut self.shard);
            while let Some((severity, text)) = control.poll_word(&self.shard) {
                told |= self.syslog.send(&mut self.shard, severity, text.as_bytes());
            }
            // Without an address of its own, it would find every server down.
            if control.is_ready() && !was_ready {
                self.service.begin_checks(&self.common.config, now_ns, self.shard.now());
            }
            if control.is_leaving() && !self.is_leaving {
                self.news.add(Word::Leave);
                self.leave();
                told = true;
            }
        }
        // What goes to other cores may have found a full ring, and what the control core says is sent in the next turn.
        if relayed | sent | told {
            Turn::Unfinished
        } else if messages | frames | events {
            Turn::Busy
        } else {
            Turn::Idle
        }
    }

    #[inline]
    fn take_frames(&mut self) -> bool {
        let mut taken = 0;
        while taken < FRAMES_PER_TURN
            && let Some(frame) = self.wire.receive()
        {
            self.shard.handle_frame(frame);
            taken += 1;
        }
        self.wire.refill();
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

    /// Whether this is the control core, and there was an address once.
    fn is_ready(&self) -> bool {
        self.control.as_ref().is_some_and(Control::is_ready)
    }

    #[cold]
    fn leave(&mut self) {
        self.is_leaving = true;
        self.has_news();
        self.service.leave(&mut self.shard);
    }

    /// Sends the lines of the access log where they are to go. The console takes as many as it can print.
    #[cold]
    fn tell_log(&mut self) {
        let Self { service, shard, syslog, common, .. } = self;
        let access = common.config.log.access;
        service.drain_log(|line| {
            if access.is_on_syslog() {
                syslog.send(shard, syslog::INFO, line);
            }
            if access.is_on_console() {
                console::print_record(format_args!("{ACCESS}{}", str::from_utf8(line).unwrap_or_default()));
            }
        });
    }
}

fn ipv4_source(addressing: Addressing<Ipv4Addr>) -> Ipv4Source {
    match addressing {
        Addressing::Automatic => Ipv4Source::Dhcp,
        Addressing::Static { address, prefix_len, gateway } => {
            let configuration = Ipv4Configuration::new(address, prefix_len);
            Ipv4Source::Static(match gateway {
                Some(gateway) => configuration.with_gateway(gateway),
                None => configuration,
            })
        }
    }
}

fn ipv6_source(addressing: Addressing<Ipv6Addr>) -> Ipv6Source {
    match addressing {
        Addressing::Automatic => Ipv6Source::Router,
        Addressing::Static { address, prefix_len, gateway } => {
            Ipv6Source::Static(Ipv6Configuration { address, prefix_len, gateway })
        }
    }
}
