//! The world: two hosts, the network between them, and the time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use weir_socket::{CloseReason, ConnectError, Instant};

use crate::application::{Done, Ending};
use crate::host::Host;
use crate::network::{Delivery, Network};
use crate::random::Random;
use crate::scenario::Scenario;

/// Simulated time after which a world is stuck.
const TIME_MAX_NS: u64 = 4 * 3_600 * 1_000_000_000;
/// Steps after which a world turns in circles.
const STEPS_MAX: u64 = 5_000_000;
/// A connect that was refused for want of memory is tried again after so long.
const CONNECT_RETRY_NS: u64 = 100_000_000;

/// A scenario that happens.
pub struct World {
    scenario: Scenario,
    network: Network,
    hosts: [Host; 2],
    now_ns: u64,
    /// When the last application was done.
    done_ns: u64,
    starts: BTreeMap<(u64, usize), ()>,
    /// Disturbances that have happened.
    disturbed: usize,
}

/// What a world came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// A hash of everything that was on the wire, and when.
    pub trace: u64,
    /// Segments sent.
    pub segments: u64,
    /// Segments lost on the way.
    pub dropped: u64,
    /// When the last application was done, in nanoseconds.
    pub done_ns: u64,
    /// Bytes that arrived at host 0 and at host 1.
    pub received: [u64; 2],
    /// Transitions between states that happened in either engine, by their names.
    pub transitions: BTreeSet<(&'static str, &'static str)>,
    /// What the engines of host 0 and host 1 counted.
    pub counters: [Vec<(&'static str, u64)>; 2],
}

/// What is wrong with a world.
#[derive(Debug)]
pub struct Failure {
    /// Of the scenario.
    pub seed: u64,
    /// What a checker says.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: {}", self.seed, self.what)
    }
}

impl World {
    /// A world at its beginning.
    #[must_use]
    pub fn new(scenario: Scenario) -> Self {
        let mut random = Random::new(!scenario.seed);
        let mut next = || Random::new(random.bits());
        let network = Network::new(scenario.conditions.clone(), next());
        let [a, b] = scenario.configs.clone();
        let mut hosts = [Host::new(0, a, scenario.buffers[0], next()), Host::new(1, b, scenario.buffers[1], next())];
        if let Some(plan) = scenario.plans.first() {
            hosts[1].listen(plan.server);
        }
        let starts = scenario.plans.iter().enumerate().map(|(i, plan)| ((plan.starts_ms * 1_000_000, i), ())).collect();
        Self { scenario, network, hosts, now_ns: 0, done_ns: 0, starts, disturbed: 0 }
    }

    /// Prints every segment to the standard error output.
    #[must_use]
    pub fn verbose(mut self, verbose: bool) -> Self {
        self.network.verbose = verbose;
        self
    }

    /// Lets everything happen, and checks it.
    ///
    /// # Errors
    /// A checker found something wrong.
    pub fn run(&mut self) -> Result<Report, Failure> {
        self.run_to_the_end().map_err(|what| Failure { seed: self.scenario.seed, what })
    }

    fn run_to_the_end(&mut self) -> Result<Report, String> {
        for _ in 0..STEPS_MAX {
            let Some(next_ns) = self.next_ns() else {
                self.check()?;
                return Ok(self.report());
            };
            if next_ns > TIME_MAX_NS {
                return Err(format!("stuck: {}", self.describe()));
            }
            self.now_ns = self.now_ns.max(next_ns);
            self.step()?;
        }
        Err(format!("turns in circles: {}", self.describe()))
    }

    fn next_ns(&self) -> Option<u64> {
        let start = self.starts.keys().next().map(|&(at, _)| at);
        let deadlines = self.hosts.iter().map(Host::next_deadline_ns);
        let disturbance = self.scenario.disturbances.get(self.disturbed).map(|next| next.at_ms * 1_000_000);
        deadlines.chain([start, disturbance, self.network.next_arrival_ns()]).flatten().min()
    }

    fn step(&mut self) -> Result<(), String> {
        let now = Instant::from_nanos(self.now_ns);
        self.network.set_now(self.now_ns);
        while let Some(next) = self.scenario.disturbances.get(self.disturbed) {
            if next.at_ms * 1_000_000 > self.now_ns {
                break;
            }
            self.hosts[next.host].disturb(next.kind);
            self.disturbed += 1;
        }
        for host in &mut self.hosts {
            host.set_now(now);
        }
        while let Some(delivery) = self.network.pop_arrival() {
            let (Delivery::Segment { to, .. } | Delivery::TooBig { to, .. }) = &delivery;
            self.hosts[*to].receive(&delivery);
        }
        while let Some((&(at, number), ())) = self.starts.first_key_value() {
            if at > self.now_ns {
                break;
            }
            self.starts.pop_first();
            let plan = &self.scenario.plans[number];
            match self.hosts[0].connect(number, plan) {
                Ok(()) => {}
                // Buffers are nearly gone: the application tries again.
                Err(ConnectError::TableFull) => {
                    self.starts.insert((self.now_ns + CONNECT_RETRY_NS, number), ());
                }
                Err(error) => return Err(format!("flow {number}: {error}")),
            }
        }
        for side in 0..2 {
            let before = self.done();
            self.hosts[side].turn(now, &self.scenario.plans, self.network.port(side))?;
            self.hosts[side].check_timers()?;
            if self.done() > before {
                self.done_ns = self.now_ns;
            }
        }
        Ok(())
    }

    fn done(&self) -> usize {
        self.hosts.iter().flat_map(|host| &host.applications).filter(|app| app.done.is_some()).count()
    }

    /// Checkers of the end: every stream is complete, nothing is left anywhere.
    fn check(&self) -> Result<(), String> {
        for host in &self.hosts {
            for application in &host.applications {
                self.check_application(application)?;
            }
            let gauges = host.engine.gauges();
            let flows: u32 = gauges.flows.iter().sum();
            let rest = (flows, gauges.half_open, gauges.time_wait, gauges.send_queued, gauges.receive_queued);
            if rest != (0, 0, 0, 0, 0) {
                return Err(format!("something is left: {gauges:?}"));
            }
            if host.pool.in_use() != 0 {
                return Err(format!("{} buffers are left", host.pool.in_use()));
            }
        }
        if self.hosts[0].applications.len() != self.scenario.plans.len() {
            return Err("not every flow began".into());
        }
        Ok(())
    }

    fn check_application(&self, application: &crate::application::FlowApplication) -> Result<(), String> {
        let number = application.plan;
        let plan = &self.scenario.plans[number];
        match application.done {
            None => Err(format!("flow {number}: never done, {}", self.describe())),
            Some(Done::Lost(reason)) if plan.ending == Ending::ClientAborts => match reason {
                CloseReason::Reset | CloseReason::Finished | CloseReason::TimedOut => Ok(()),
                _ => Err(format!("flow {number}: {reason}")),
            },
            // Whoever closes last has nothing to wait for: a RST that answers a late segment is its right.
            Some(Done::Lost(reason)) => Err(format!("flow {number}: {reason}, {application:?}")),
            Some(Done::Closed | Done::Aborted) => Ok(()),
        }
    }

    fn report(&self) -> Report {
        let received = |host: &Host| host.applications.iter().map(|app| app.read).sum();
        Report {
            trace: self.network.trace,
            segments: self.network.segments,
            dropped: self.network.dropped,
            done_ns: self.done_ns,
            received: [received(&self.hosts[0]), received(&self.hosts[1])],
            transitions: self.hosts.iter().flat_map(|host| host.engine.transitions().names()).collect(),
            counters: [0, 1].map(|side| self.hosts[side].engine.counters().iter().collect()),
        }
    }

    fn describe(&self) -> String {
        let applications = |host: &Host| -> String {
            let open = host.applications.iter().filter(|application| application.done.is_none());
            open.map(|application| format!("  {application:?}\n")).collect()
        };
        let host = |host: &Host| {
            let counters: Vec<_> = host.engine.counters().iter().filter(|(_, value)| *value > 0).collect();
            format!("{:?} {:?} {counters:?}\n{}", host.engine.gauges(), host.pool, applications(host))
        };
        format!("at {} s\n{}\n{}", self.now_ns / 1_000_000_000, host(&self.hosts[0]), host(&self.hosts[1]))
    }
}
