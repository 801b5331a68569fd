//! The service of one core: its tables, its listeners, and where each event goes.

mod address;
mod admit;
mod check;
mod eject;
mod end;
mod forward;
mod gate;
mod journal;
mod leave;
mod listener;
mod load;
mod local;
mod own_health;
mod preface;
mod queue;
mod relay;
mod response;
mod serve;
mod tunnel;

use alloc::boxed::Box;
use alloc::collections::{TryReserveError, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

use weir_config::{Config, Route};
use weir_http1::HeadLimits;
use weir_httpd::Archive;
use weir_socket::{Event, FlowId, Instant, ListenError, ListenerId, Readiness, Sockets};

use crate::back::{Back, Backs};
use crate::clients::Clients;
use crate::counters::{Counters, Incident};
use crate::exchange::{Exchange, ResponseState};
use crate::front::{Front, FrontState};
use crate::heads::{ADDED_BYTES_MAX, SMALL_BODY_BYTES_MAX};
use crate::health::{Checker, Verdict};
use crate::log::Log;
use crate::metrics::MetricsSource;
use crate::request_id::RequestIds;
use crate::router::Router;
use crate::slab::{Key, Slab};
use crate::timer::Span;
use crate::token::Owner;
use crate::upstream::{Trade, Upstream};
use crate::way::Way;
use listener::{Listener, admin_listener};
use load::Reports;
use local::Local;
use own_health::OwnHealth;

pub(crate) use preface::Preface;

/// What a service is made from.
#[derive(Debug)]
pub struct Setup<'a> {
    /// What to serve.
    pub config: &'a Config,
    /// Number of this core.
    pub core: usize,
    /// How many there are: each has its share of what a server may have under way.
    pub cores: usize,
    /// Decides who is first in each pool on this core.
    pub seed: u64,
    /// Client connections of this core at most.
    pub connections: usize,
    /// Wall clock at the origin of [`weir_socket::Instant`], in nanoseconds since 1970.
    pub unix_ns_at_origin: u64,
    /// Where files are served from.
    pub archive: Archive,
    /// Where the configuration came from and what was wrong with others, for the admin port's `/configuration`.
    pub origin: &'a str,
}

/// All HTTP connections of one core. See the crate's page.
///
/// Calls in order: [`new`](Self::new), [`start`](Self::start), then [`handle`](Self::handle) for each event.
pub struct Service<M> {
    fronts: Slab<Front>,
    backs: Backs,
    listeners: Box<[Listener]>,
    upstreams: Box<[Upstream]>,
    /// What changes on the ways of routes; nothing on the first.
    ways: Vec<Way>,
    request_ids: RequestIds,
    log: Option<Log>,
    checker: Checker,
    /// What the other cores have to be told.
    verdicts: VecDeque<Verdict>,
    /// What other cores have to be told about shares of servers: the core, and what.
    trades: VecDeque<(u16, Trade)>,
    /// What other cores have to be told about this one's load.
    reports: Reports,
    core: u16,
    cores: u16,
    local: Local,
    limits: HeadLimits,
    body_bytes_max: u64,
    body_rate: u32,
    /// Who has what, if that is limited.
    clients: Option<Clients>,
    /// Connections are counted, by client or by listener.
    is_counting: bool,
    /// Requests are logged, or counted by client.
    is_watchful: bool,
    /// What is beyond a client's limits is only counted.
    is_dry_run: bool,
    times: Times,
    /// Connections to servers that this core keeps for reuse at most.
    idle_max: u64,
    /// Since when the machine is to leave.
    left_at: Option<Instant>,
    /// Where heads are written that do not fit into one buffer.
    scratch: Box<[u8]>,
    counters: Counters,
    metrics: M,
}

/// A listener could not be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartError {
    /// Name of the listener.
    pub listener: String,
    /// Where it was to listen.
    pub address: SocketAddr,
    /// What the stack said.
    pub error: ListenError,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "listener {} cannot listen on {}: {}", self.listener, self.address, self.error)
    }
}

impl core::error::Error for StartError {}

/// What a route leads to: numbers of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Pool {
        pool: u16,
        /// What changes on the way.
        way: u16,
    },
    /// A fixed response to any path.
    Fixed(u16),
    /// A page at the path of its route only.
    Page(u16),
    Files(u16),
    Metrics,
    /// Whether this image is to get requests.
    Health,
}

/// How long what may take.
struct Times {
    head: Span,
    keep_alive: Span,
    connect: Span,
    first_byte: Span,
    inactivity: Span,
    body: Span,
    backend_idle: Span,
    queue: Span,
    proxy_header: Span,
    tunnel: Span,
    half_closed: Span,
    linger: Span,
}

/// How long a client may be silent after a response that ends the connection, and how long it may go on sending.
const LINGER: Span = Span::from_secs(2);
const LINGER_MAX: Span = Span::from_secs(30);

/// Beside two flows, of 512 bytes each with their place in tables, a proxied connection takes what makes it 2 KiB at most.
const _: () = assert!(size_of::<Front>() + 2 * size_of::<Back>() <= 2048 - 2 * 512 - 64);

/// What the tables need for one client connection: its place, and two for connections to servers, of which one may be idle.
pub const CONNECTION_BYTES: usize = Slab::<Front>::SLOT_BYTES + 2 * Slab::<Back>::SLOT_BYTES;

/// Whether a connection can do more at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Again,
    Wait,
}

impl<M: MetricsSource> Service<M> {
    /// Builds the tables. `metrics` writes the metrics page.
    ///
    /// # Errors
    /// There is no memory for [`Setup::connections`].
    pub fn new(setup: Setup<'_>, metrics: M) -> Result<Self, TryReserveError> {
        let config = setup.config;
        let mut first_counter = 0;
        let upstreams = config.pools.iter().map(|pool| {
            let upstream = Upstream::new(pool, first_counter, setup.seed, (setup.core, setup.cores));
            first_counter += pool.servers.len();
            upstream
        });
        let upstreams = upstreams.collect();
        let mut local = Local::new(setup.archive, setup.unix_ns_at_origin, &config.error_pages);
        let mut listeners: Vec<Listener> = Vec::new();
        let mut ways = Vec::from([Way::default()]);
        for listener in &config.listeners {
            let health = OwnHealth::new(listener, &mut local);
            let is_health = |route: &Route| listener.health.as_ref().is_some_and(|own| own.path == route.path);
            let target = |route: &Route| match is_health(route) {
                true => Target::Health,
                false => local.target(route, &listener.name, setup.core, Way::number(config, route, &mut ways)),
            };
            let router = Router::new(&OwnHealth::routes(listener), target);
            listeners.push(Listener::new(listener, setup.cores, health, router));
        }
        listeners.extend(config.admin.map(|admin| admin_listener(admin.listen, local.text(200, setup.origin))));
        let head_bytes = config.limits.head_bytes as usize;
        let mut scratch = Vec::new();
        let scratch_bytes = head_bytes + ADDED_BYTES_MAX + SMALL_BODY_BYTES_MAX;
        scratch.try_reserve_exact(scratch_bytes)?;
        scratch.resize(scratch_bytes, 0);
        let clients = Clients::new(&config.limits.client, setup.cores);
        Ok(Self {
            fronts: Slab::new(setup.connections)?,
            backs: Backs::new(setup.connections)?,
            listeners: listeners.into(),
            upstreams,
            ways,
            request_ids: RequestIds::new(setup.seed, setup.core),
            log: config.log.access.is_on().then(|| Log::new(config, setup.unix_ns_at_origin)),
            checker: Checker::none(),
            verdicts: VecDeque::new(),
            trades: VecDeque::new(),
            reports: Reports::default(),
            core: setup.core as u16,
            cores: setup.cores as u16,
            local,
            limits: HeadLimits {
                head_bytes,
                target_bytes: config.limits.target_bytes as usize,
                fields: config.limits.head_fields.into(),
            },
            body_bytes_max: config.limits.body_bytes,
            body_rate: config.limits.body_rate_bytes,
            is_counting: clients.is_some() || config.listeners.iter().any(|listener| listener.connections.is_some()),
            clients,
            is_watchful: config.log.access.is_on() || config.limits.client.request_rate.is_some(),
            is_dry_run: config.limits.client.dry_run,
            times: Times::new(&config.timeouts),
            idle_max: idle_max(config, setup.connections, setup.cores),
            left_at: None,
            scratch: scratch.into(),
            counters: Counters::new(config),
            metrics,
        })
    }

    /// Begins to listen. What is returned are the listeners that could not; the others serve.
    #[must_use = "a listener that does not listen serves nobody"]
    pub fn start(&mut self, net: &mut impl Sockets) -> Vec<StartError> {
        let mut errors = Vec::new();
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            let token = Owner::Listener(index as u32).token();
            for &address in &listener.bind {
                match net.listen(address, token) {
                    Ok(id) => listener.ids.push(id),
                    Err(error) => errors.push(StartError { listener: listener.name.clone(), address, error }),
                }
            }
        }
        self.local.warm_up(net);
        errors
    }

    /// Does what an event makes possible.
    #[inline]
    pub fn handle(&mut self, net: &mut impl Sockets, event: Event) {
        match event {
            Event::Acceptable { listener, token } => self.accept_all(net, listener, Owner::of(token)),
            Event::Flow { token, ready, .. } => match Owner::of(token) {
                Owner::Front(key) => self.handle_front(net, key, ready),
                Owner::Back(key) => self.handle_back(net, key, ready),
                Owner::Check(key) => self.handle_check(net, key, ready),
                // Of somebody else on this core, who looks after it himself.
                Owner::Listener(_) => {}
            },
        }
        self.go_on(net);
    }

    /// Goes on with requests that waited, if something has changed for them; to be called after news from another core.
    #[inline]
    pub fn go_on(&mut self, net: &mut impl Sockets) {
        if !self.backs.freed.is_empty() {
            self.serve_queues(net);
        }
    }

    /// What was counted so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn accept_all(&mut self, net: &mut impl Sockets, listener: ListenerId, owner: Owner) {
        let Owner::Listener(index) = owner else { return };
        loop {
            let key = self.fronts.vacant_key();
            // A connection that finds no room is taken and reset: left in the queue, it would wait for nothing.
            let unused = Key { index: u32::MAX, generation: 0 };
            let token = Owner::Front(key.unwrap_or(unused)).token();
            let Some(flow) = net.accept(listener, token) else { return };
            if key.is_none() {
                self.counters.incident(Incident::ConnectionRefused);
                net.abort(flow);
                continue;
            }
            self.begin_front(net, flow, index as u16);
        }
    }

    fn begin_front(&mut self, net: &mut impl Sockets, flow: FlowId, listener: u16) {
        let mut front = Front::new(flow, listener);
        front.timer.set(net, flow, net.now() + self.times.head);
        self.counters.connection();
        let Some(key) = self.fronts.insert(front) else { return };
        let Some(listener) = self.listeners.get(usize::from(listener)) else { return };
        let is_plain = listener.is_plain;
        let is_known = !listener.proxy_protocol;
        if (self.clients.is_some() && is_known && !self.admit_connection(net, key)) || is_plain {
            return;
        }
        if !self.count_in(net, key) || (is_known && !self.let_in(net, key)) || !self.check_proxy(net, key) {
            return;
        }
        if matches!(self.fronts.get_mut(key), Some(front) if matches!(front.state, FrontState::Head)) {
            self.enter(net, key);
        }
    }

    fn handle_front(&mut self, net: &mut impl Sockets, key: Key, ready: Readiness) {
        if ready.contains(Readiness::CLOSED) {
            return self.client_gone(net, key);
        }
        if ready.contains(Readiness::TIMER) {
            self.front_timer(net, key);
        }
        if !ready.without(Readiness::TIMER).is_none() {
            self.drive(net, key);
        }
    }

    fn handle_back(&mut self, net: &mut impl Sockets, key: Key, ready: Readiness) {
        let Some(back) = self.backs.table.get_mut(key) else { return };
        let Some(front) = back.front else { return self.idle_event(net, key, ready) };
        if ready.contains(Readiness::TIMER) {
            // A leftover of an earlier idle time; the client's timer watches over the exchange.
            back.timer.fired(net, back.flow);
        }
        if ready.contains(Readiness::WRITABLE) && !back.is_established {
            back.is_established = true;
            self.established(net, front);
        }
        self.drive(net, front);
    }

    /// Does all that can be done on a client's connection.
    fn drive(&mut self, net: &mut impl Sockets, key: Key) {
        while let Some(front) = self.fronts.get_mut(key) {
            let step = match front.state {
                FrontState::Head => self.read_head(net, key),
                FrontState::Exchange(Exchange { response: ResponseState::Tunnel(_), .. }) => self.tunnel(net, key),
                FrontState::Exchange(_) => self.relay(net, key),
                FrontState::ProxyHeader(_) => self.read_proxy_header(net, key),
                FrontState::Hello(_) => self.read_hello(net, key),
                FrontState::Drain { .. } => self.drain(net, key),
                FrontState::Flush { linger } => self.flush(net, key, linger),
                FrontState::Linger { .. } => self.linger(net, key),
            };
            if step == Step::Wait {
                return;
            }
        }
    }
}

/// This core's share of the idle connections to servers: never more than it may have of clients.
fn idle_max(config: &Config, connections: usize, cores: usize) -> u64 {
    let share = |max: u32| u64::from(max.div_ceil(cores.max(1) as u32));
    config.limits.idle_server_connections.map_or(u64::MAX, share).min(connections as u64)
}

impl Times {
    fn new(timeouts: &weir_config::Timeouts) -> Self {
        Self {
            head: Span::from_nanos(timeouts.head_ns),
            keep_alive: Span::from_nanos(timeouts.keep_alive_ns),
            connect: Span::from_nanos(timeouts.connect_ns),
            first_byte: Span::from_nanos(timeouts.first_byte_ns),
            inactivity: Span::from_nanos(timeouts.inactivity_ns),
            body: Span::from_nanos(timeouts.body_ns),
            backend_idle: Span::from_nanos(timeouts.backend_idle_ns),
            queue: Span::from_nanos(timeouts.queue_ns),
            proxy_header: Span::from_nanos(timeouts.proxy_header_ns),
            tunnel: Span::from_nanos(timeouts.tunnel_ns),
            half_closed: Span::from_nanos(timeouts.half_closed_ns),
            linger: LINGER,
        }
    }
}
