//! Cores tell each other how many exchanges each has under way with each server.

use alloc::collections::VecDeque;

use weir_socket::Sockets;

use super::Service;
use crate::metrics::MetricsSource;
use crate::upstream::{Loads, Upstream};

/// Messages that a core has for each other one at most in a period. What is beyond them is told in the next.
const MESSAGES_MAX: usize = 64;

/// What is to be told, and how far that has come.
#[derive(Default)]
pub(super) struct Reports {
    waiting: VecDeque<Loads>,
    /// The core that is told the first of them next.
    next_core: u16,
    /// The pool that is being told of.
    pool: u16,
    /// Messages that all others were told.
    told: u64,
}

impl<M: MetricsSource> Service<M> {
    /// Prepares what the other cores are to know of this one's load; to be called once in a period, of 10 ms. Costs a look at each
    /// server, and nothing on a core that is alone.
    pub fn report_loads(&mut self) {
        let Self { reports, upstreams, .. } = self;
        // Who does not take what there is needs no more of it.
        if self.cores < 2 || !reports.waiting.is_empty() {
            return;
        }
        for _ in 0..upstreams.len() {
            let Some(upstream) = upstreams.get_mut(usize::from(reports.pool)) else { return };
            while let Some(loads) = upstream.next_loads(reports.pool) {
                reports.waiting.push_back(loads);
                if reports.waiting.len() >= MESSAGES_MAX {
                    return;
                }
            }
            reports.pool = (reports.pool + 1) % upstreams.len() as u16;
            if let Some(next) = upstreams.get_mut(usize::from(reports.pool)) {
                next.begin_report();
            }
        }
    }

    /// Whether there is anybody to tell, and something that they choose by.
    pub fn reports_loads(&self) -> bool {
        self.cores > 1 && self.upstreams.iter().any(Upstream::is_by_load)
    }

    /// Whether there is something to tell.
    #[inline]
    pub fn has_reports(&self) -> bool {
        !self.reports.waiting.is_empty()
    }

    /// Tells the other cores; `send` says whether it found room. Nothing is lost if not: it will be told again.
    pub fn tell_loads(&mut self, mut send: impl FnMut(u16, Loads) -> bool) {
        let reports = &mut self.reports;
        while let Some(&loads) = reports.waiting.front() {
            while reports.next_core < self.cores {
                if reports.next_core != self.core && !send(reports.next_core, loads) {
                    return;
                }
                reports.next_core += 1;
            }
            reports.next_core = 0;
            reports.waiting.pop_front();
            reports.told += 1;
        }
    }

    /// How many messages about its load this core has told all others.
    pub fn told_loads(&self) -> u64 {
        self.reports.told
    }

    /// What another core told.
    #[cold]
    pub fn apply_loads(&mut self, net: &impl Sockets, loads: Loads) {
        if let Some(upstream) = self.upstreams.get_mut(usize::from(loads.pool)) {
            upstream.hear_loads(&loads, net.now());
        }
    }
}
