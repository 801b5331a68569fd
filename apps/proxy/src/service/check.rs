//! Health checks, and what every core does with their verdicts.

use weir_config::Config;
use weir_socket::{Instant, Readiness, Sockets};

use super::Service;
use crate::health::{Checker, Verdict};
use crate::metrics::MetricsSource;
use crate::slab::Key;

impl<M: MetricsSource> Service<M> {
    /// Makes this core the one that checks the servers for all: to be called on one core, with what [`new`](Self::new) was
    /// given. Then [`check_servers`](Self::check_servers) is to be called when [`next_check`](Self::next_check) says so.
    pub fn begin_checks(&mut self, config: &Config, seed: u64, now: Instant) {
        self.checker = Checker::new(config, seed, now);
    }

    /// When [`check_servers`](Self::check_servers) has something to do.
    #[inline]
    pub fn next_check(&self) -> Option<Instant> {
        self.checker.next()
    }

    /// Begins the checks that are due.
    pub fn check_servers(&mut self, net: &mut impl Sockets) {
        let Self { checker, counters, verdicts, .. } = self;
        let known = verdicts.len();
        checker.poll(net, |outcome, verdict| {
            counters.check(outcome);
            verdicts.extend(verdict);
        });
        for index in known..self.verdicts.len() {
            if let Some(&verdict) = self.verdicts.get(index) {
                self.apply_verdict(verdict, net.now());
            }
        }
    }

    /// A verdict that the other cores were not told yet; this one knows it.
    #[inline]
    pub fn poll_verdict(&mut self) -> Option<Verdict> {
        self.verdicts.pop_front()
    }

    /// Another core's checks found a server up or down. Connections to it that are in use stay.
    #[cold]
    pub fn apply_verdict(&mut self, verdict: Verdict, now: Instant) {
        let Verdict { pool, server, is_up } = verdict;
        let upstream = self.upstreams.get_mut(usize::from(pool));
        if let Some(counter) = upstream.and_then(|upstream| upstream.set_health(server, is_up, now)) {
            self.counters.server_up(counter, is_up);
            self.backs.freed.push(pool);
        }
    }

    #[cold]
    pub(super) fn handle_check(&mut self, net: &mut impl Sockets, key: Key, ready: Readiness) {
        let Some((outcome, verdict)) = self.checker.handle(net, key, ready) else { return };
        self.counters.check(outcome);
        if let Some(verdict) = verdict {
            self.apply_verdict(verdict, net.now());
            self.verdicts.push_back(verdict);
        }
    }
}
