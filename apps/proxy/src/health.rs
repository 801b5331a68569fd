//! Active health checks: one core asks every server of a pool with `[pool.health]` whether it is well.
//!
//! ```text
//!   Checker::poll, when a check is due -> a flow -> the answer, the timer or its end -> Outcome
//!   Outcome x rise / fall -> Verdict -> every core's Upstream
//! ```
//!
//! A server has at most one check under way. The first verdict needs one check; each later one needs `rise` or `fall`
//! checks in a row, whatever the kind of failure. The first checks are spread over one interval and later ones differ by
//! up to an eighth of it, so that many servers are not asked in the same moment.

mod question;
mod script;
mod under_way;

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use weir_config::{Config, Health, Pool, ProxyVersion};
use weir_socket::{Instant, Readiness, Sockets};

use crate::proxy_header;
use crate::slab::{GENERATION_BITS, Key};
use crate::token::Owner;
use question::Question;
use under_way::{Ask, UnderWay};

/// What all cores are told when a server's health changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Number of the pool.
    pub pool: u16,
    /// Number of the server in its pool.
    pub server: u16,
    /// Whether it gets requests.
    pub is_up: bool,
}

/// What all cores are told when a server's name leads to another address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// Number of the pool.
    pub pool: u16,
    /// Number of the server in its pool.
    pub server: u16,
    /// Where it is now.
    pub address: SocketAddr,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// No connection, for whatever reason.
    NotConnected,
    /// No answer in time.
    Timeout,
    /// The server ended the connection before its answer.
    Closed,
    /// Not an HTTP response.
    BadResponse,
    /// A status that was not asked for.
    Status,
    /// Not what a script expects.
    Mismatch,
}

pub(crate) const OUTCOMES: [(Outcome, &str); 7] = [
    (Outcome::Passed, "passed"),
    (Outcome::NotConnected, "not_connected"),
    (Outcome::Timeout, "timeout"),
    (Outcome::Closed, "closed"),
    (Outcome::BadResponse, "bad_response"),
    (Outcome::Status, "status"),
    (Outcome::Mismatch, "mismatch"),
];

/// All checks of the image.
pub(crate) struct Checker {
    checks: Box<[Check]>,
    /// When the next one begins.
    next: Option<Instant>,
    random: u64,
}

/// The checks of one server.
struct Check {
    pool: u16,
    server: u16,
    /// Nowhere until its name is resolved; it is not checked until then.
    address: Option<SocketAddr>,
    /// The addresses that it comes from; none: all of the image.
    sources: Rc<[IpAddr]>,
    plan: Plan,
    proxy_protocol: Option<ProxyVersion>,
    due: Instant,
    /// Number of the check, so that events of the one before are not mistaken for its own.
    generation: u32,
    under_way: Option<UnderWay>,
    /// None before the first verdict.
    is_up: Option<bool>,
    /// Checks in a row that contradict the verdict.
    against: u8,
}

#[derive(Clone, Copy)]
struct Plan {
    ask: Ask,
    /// Where, if not where the server serves.
    port: Option<u16>,
    interval: Duration,
    timeout: Duration,
    rise: u8,
    fall: u8,
}

impl Checker {
    /// No check of any server.
    pub(crate) fn none() -> Self {
        Self { checks: Box::default(), next: None, random: 1 }
    }

    /// Checks of all servers whose pool asks for it, from `now` on.
    pub(crate) fn new(config: &Config, seed: u64, now: Instant) -> Self {
        let mut checker = Self { random: seed | 1, ..Self::none() };
        let mut checks = Vec::new();
        for (index, pool) in config.pools.iter().enumerate() {
            let Some(health) = &pool.health else { continue };
            checks.extend(Check::of_pool(index as u16, pool, health, now));
        }
        checker.next = checks.iter().map(|check| check.due).min();
        checker.checks = checks.into();
        checker
    }

    /// When [`poll`](Self::poll) has something to do.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Begins the checks that are due; `ended` is told of those that could not.
    #[cold]
    pub(crate) fn poll(&mut self, net: &mut impl Sockets, mut ended: impl FnMut(Outcome, Option<Verdict>)) {
        let now = net.now();
        for index in 0..self.checks.len() {
            let jitter = self.next_random();
            let Some(check) = self.checks.get_mut(index).filter(|check| check.due <= now) else { continue };
            check.due = now + check.plan.interval + check.plan.interval / 8 * (jitter % 1024) as u32 / 1024;
            // A timeout may be longer than the interval: one at a time.
            let Some(address) = check.address.filter(|_| check.under_way.is_none()) else { continue };
            if !check.begin(net, index as u32, address) {
                ended(Outcome::NotConnected, check.judge(Outcome::NotConnected));
            }
        }
        self.next = self.checks.iter().map(|check| check.due).min();
    }

    /// An event of a check's flow; how the check ended, if it did.
    #[cold]
    pub(crate) fn handle(
        &mut self,
        net: &mut impl Sockets,
        key: Key,
        ready: Readiness,
    ) -> Option<(Outcome, Option<Verdict>)> {
        let check = self.checks.get_mut(key.index as usize).filter(|check| check.generation == key.generation)?;
        let outcome = check.progress(net, ready)?;
        if let Some(under_way) = check.under_way.take() {
            // The rest of the answer is of no interest.
            match outcome {
                Outcome::Timeout => net.abort(under_way.flow),
                _ => net.close(under_way.flow),
            }
        }
        Some((outcome, check.judge(outcome)))
    }

    /// A server has moved: what is under way at its old address does not count, and the new one is checked at once.
    #[cold]
    pub(crate) fn set_address(&mut self, net: &mut impl Sockets, moved: Moved) {
        let Moved { pool, server, address } = moved;
        let of_server = |check: &&mut Check| (check.pool, check.server) == (pool, server);
        let Some(check) = self.checks.iter_mut().find(of_server) else { return };
        if let Some(under_way) = check.under_way.take() {
            net.abort(under_way.flow);
        }
        check.address = Some(check.plan.place(address));
        check.against = 0;
        check.due = net.now();
        self.next = self.next.into_iter().chain([check.due]).min();
    }

    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

impl Check {
    fn of_pool<'p>(index: u16, pool: &'p Pool, health: &'p Health, now: Instant) -> impl Iterator<Item = Self> + 'p {
        let interval = Duration::from_nanos(health.interval_ns);
        let spread = interval / (pool.servers.len().max(1) as u32);
        let script = (!health.tcp.is_empty()).then(|| script::script(&health.tcp));
        let sources: Rc<[IpAddr]> = pool.sources.as_slice().into();
        pool.servers.iter().enumerate().map(move |(number, server)| Self {
            pool: index,
            server: number as u16,
            address: health.port.map_or(server.address.ip(), |port| server.address.at_port(port).ip()),
            sources: Rc::clone(&sources),
            plan: Plan {
                ask: match &health.http {
                    None => script.map_or(Ask::Nothing, Ask::Script),
                    Some(http) => {
                        let place = health.port.map_or(server.address.clone(), |port| server.address.at_port(port));
                        Ask::Http(Question::new(http, &http.host.clone().unwrap_or_else(|| place.to_string())))
                    }
                },
                port: health.port,
                interval,
                timeout: Duration::from_nanos(health.timeout_ns),
                rise: health.rise,
                fall: health.fall,
            },
            // What answers at another port is another service.
            proxy_protocol: server.proxy_protocol.filter(|_| health.port.is_none()),
            due: now + spread * number as u32,
            generation: 0,
            under_way: None,
            is_up: None,
            against: 0,
        })
    }

    /// False: no connection can be opened.
    fn begin(&mut self, net: &mut impl Sockets, index: u32, address: SocketAddr) -> bool {
        self.generation = (self.generation + 1) & ((1 << GENERATION_BITS) - 1);
        let key = Key { index, generation: self.generation };
        let Ok(flow) = net.connect_from(&self.sources, address, Owner::Check(key).token()) else { return false };
        net.set_timer(flow, Some(net.now() + self.plan.timeout));
        self.under_way = Some(UnderWay::new(flow));
        true
    }

    /// Goes on with the check under way; how it ended, if it did.
    fn progress(&mut self, net: &mut impl Sockets, ready: Readiness) -> Option<Outcome> {
        let under_way = self.under_way.as_mut()?;
        if ready.contains(Readiness::WRITABLE) && !under_way.is_established {
            under_way.is_established = true;
            // The check is nobody's but ours, and says so.
            let is_introduced = |version| proxy_header::send(net, under_way.flow, version, None);
            if !self.proxy_protocol.is_none_or(is_introduced) {
                return Some(Outcome::Closed);
            }
            let ended = under_way.begin(net, self.plan.ask);
            if ended.is_some() {
                return ended;
            }
        }
        let closed = if under_way.is_established { Outcome::Closed } else { Outcome::NotConnected };
        let answer = under_way.read(net, self.plan.ask);
        let ended =
            |readiness, outcome| ready.contains(readiness).then(|| under_way.unfinished(self.plan.ask, outcome));
        answer.or_else(|| ended(Readiness::CLOSED, closed)).or_else(|| ended(Readiness::TIMER, Outcome::Timeout))
    }

    /// Counts an outcome; the verdict, if it changed.
    fn judge(&mut self, outcome: Outcome) -> Option<Verdict> {
        let is_well = outcome == Outcome::Passed;
        let needed = match self.is_up {
            None => 1,
            Some(is_up) if is_up == is_well => {
                self.against = 0;
                return None;
            }
            Some(true) => self.plan.fall,
            Some(false) => self.plan.rise,
        };
        self.against += 1;
        if self.against < needed {
            return None;
        }
        self.against = 0;
        self.is_up = Some(is_well);
        Some(Verdict { pool: self.pool, server: self.server, is_up: is_well })
    }
}

impl Plan {
    /// Where a server at this address is asked.
    fn place(&self, address: SocketAddr) -> SocketAddr {
        SocketAddr::new(address.ip(), self.port.unwrap_or(address.port()))
    }
}
