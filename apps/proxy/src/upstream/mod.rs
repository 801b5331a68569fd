//! A pool as one core sees it: who gets the next request, who is down, and which connections wait for reuse.
//!
//! Each core balances what came to it by what it knows itself: whose turn it is, and how many exchanges it has under way
//! with each server, to which it adds what the other cores told a moment ago (`report`). Who is down is told by health
//! checks, for all cores, and by what went wrong on this one.

mod judge;
mod least;
mod maglev;
mod place;
mod report;
mod schedule;
mod server;
mod share;
mod slow;
mod sticky;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::IpAddr;

use weir_config::{Balance, HashOn, Pool, WhenAllDown};
use weir_socket::Instant;

use crate::slab::Key;
use least::Least;
use maglev::Maglev;
use server::{Health, NEVER};
use share::first_share;
use slow::SlowStart;

pub(crate) use maglev::{hash, mix};
pub use report::Loads;
pub(crate) use server::Server;
pub use share::{Offer, Trade};
pub(crate) use sticky::Sticky;

/// Pairs that random choice draws before it looks at all servers, and places that hashing tries.
const DRAWS_MAX: u64 = 8;

/// What a retry takes from a pool's budget, and what each exchange gives: so at most a fifth of the exchanges is sent again.
const RETRY_COST: u16 = 10;
const RETRY_INCOME: u16 = 2;

/// The budget at the start, ten retries, and at its fullest: what was under way at a server of a busy pool when it died.
const RETRY_BUDGET_INITIAL: u16 = 10 * RETRY_COST;
const RETRY_BUDGET_MAX: u16 = 1_000 * RETRY_COST;

/// A pool's servers and their turns.
pub(crate) struct Upstream {
    servers: Box<[Server]>,
    /// The addresses that connections to them come from; none: all of the image.
    sources: Box<[IpAddr]>,
    /// Servers that are no backups in the order of their turns, each as often as its weight says, evenly spread.
    schedule: Box<[u16]>,
    next: usize,
    picker: Picker,
    /// What requests are told apart by, with [`Balance::Hash`].
    pub hash_on: Option<HashOn>,
    /// The cookie by which clients stay with their servers.
    pub sticky: Option<Sticky>,
    backups: Box<[u16]>,
    next_backup: usize,
    when_all_down: WhenAllDown,
    random: u64,
    retry_budget: u16,
    /// When the first of the servers that are left alone is tried again, or one that is slow is compared anew; only for
    /// [`Picker::Least`].
    returns: Instant,
    slow_start: SlowStart,
    /// Clients whose requests wait for a server with room, in the order they came; some may have gone.
    pub queue: VecDeque<Key>,
    /// How many of them are still there.
    pub queued: u32,
    /// At most so many wait.
    pub queue_max: u32,
    /// Servers of which other cores wish for a share.
    wished: Vec<u16>,
    /// The server that a share is wished of next.
    next_wish: usize,
    /// Whether our own requests had the last share that became idle.
    is_our_turn: bool,
    /// The core that a share was given to last.
    last_given: u16,
    /// Servers whose load is still to be told in this report, from the first on.
    untold: usize,
}

/// How the next server is found.
enum Picker {
    Turns,
    Random,
    /// One of these two, while a server is slow.
    Gradual {
        is_random: bool,
    },
    Least(Least),
    Hash(Maglev),
}

/// Who gets a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    Server(u16),
    /// Servers are up, and all of them have as many exchanges as they may.
    Full,
    /// All servers are down, or nothing is known of them yet.
    Down,
}

impl Upstream {
    /// The pool's servers, whose counters begin at `counter`; `seed` decides who is first. Of the exchanges that a server may
    /// have, this core has its share: it is number `core` of `cores`.
    pub(crate) fn new(pool: &Pool, counter: usize, seed: u64, (core, cores): (usize, usize)) -> Self {
        let is_checked = pool.health.is_some();
        let servers = pool.servers.iter().enumerate().map(|(index, server)| {
            let active_max = server.max_connections.map_or(u32::MAX, |max| first_share(max, core, cores));
            Server::new(server, counter + index, is_checked, active_max)
        });
        let servers: Box<[Server]> = servers.collect();
        let weights: Vec<u16> = servers.iter().map(Server::primary_weight).collect();
        let backups = servers.iter().enumerate().filter(|(_, server)| server.is_backup && server.weight > 0);
        let backups = backups.map(|(index, _)| index as u16).collect();
        let schedule = schedule::schedule(&weights);
        let next = (seed % schedule.len().max(1) as u64) as usize;
        let picker = match pool.balance {
            Balance::RoundRobin => Picker::Turns,
            Balance::Random2 => Picker::Random,
            Balance::LeastConnections => Picker::Least(Least::new(servers.len())),
            Balance::Hash(_) => {
                let names = pool.servers.iter().map(|server| server.name.as_str());
                Picker::Hash(Maglev::new(names.zip(weights.iter().copied())))
            }
        };
        let mut upstream = Self {
            servers,
            sources: pool.sources.as_slice().into(),
            schedule,
            next,
            picker,
            sticky: pool.sticky.as_ref().map(|cookie| Sticky::new(cookie, pool)),
            hash_on: if let Balance::Hash(on) = &pool.balance { Some(on.clone()) } else { None },
            backups,
            next_backup: 0,
            when_all_down: pool.when_all_down,
            random: seed | 1,
            retry_budget: RETRY_BUDGET_INITIAL,
            returns: NEVER,
            slow_start: SlowStart::new(pool.slow_start_ns),
            queue: VecDeque::new(),
            queued: 0,
            queue_max: pool.queue_length.div_ceil(cores.max(1) as u32),
            wished: Vec::new(),
            next_wish: 0,
            is_our_turn: false,
            last_given: 0,
            untold: 0,
        };
        upstream.begin_report();
        // Who is first among equals differs from core to core here too.
        for turn in 0..upstream.schedule.len() {
            let turn = (next + turn) % upstream.schedule.len();
            if let Some(&index) = upstream.schedule.get(turn) {
                upstream.reseed(index, Instant::default());
            }
        }
        upstream
    }

    /// The addresses that connections to its servers come from; none: all of the image.
    pub(crate) fn sources(&self) -> &[IpAddr] {
        &self.sources
    }

    /// The server for a request, passing over those that are down or have enough to do. `key` is the hash of what requests
    /// are told apart by.
    ///
    /// Cost: constant while the servers are up, or logarithmic in their number for the least loaded one.
    #[inline]
    pub(crate) fn choose(&mut self, now: Instant, key: u64) -> Choice {
        if let Picker::Turns = self.picker
            && let Some(index) = self.next_usable(now)
        {
            return Choice::Server(index);
        }
        self.choose_by(now, key)
    }

    /// The same by what is not the turn, or where all turns have passed.
    #[inline(never)]
    fn choose_by(&mut self, now: Instant, key: u64) -> Choice {
        let found = match &self.picker {
            Picker::Turns | Picker::Gradual { .. } => None,
            Picker::Random => self.random_of_two(now),
            Picker::Least(_) => self.least_loaded(now),
            Picker::Hash(table) => {
                let mut keys = (0..DRAWS_MAX).map(|n| if n == 0 { key } else { mix(key.wrapping_add(n)) });
                keys.find_map(|key| table.find(key).filter(|&index| self.is_usable(index, now)))
            }
        };
        match found {
            Some(index) => Choice::Server(index),
            None => self.choose_otherwise(now),
        }
    }

    /// What chance or order did not find: one while servers are slow, any server that can, then the backups.
    #[cold]
    fn choose_otherwise(&mut self, now: Instant) -> Choice {
        if let Picker::Gradual { is_random } = self.picker
            && let Some(index) = self.choose_gradually(now, is_random)
        {
            return Choice::Server(index);
        }
        let is_random = !matches!(self.picker, Picker::Turns);
        if let Some(index) = is_random.then(|| self.next_usable(now)).flatten() {
            return Choice::Server(index);
        }
        let mut is_any_up = self.schedule.iter().any(|&index| self.is_up(index, now));
        if is_any_up {
            return Choice::Full;
        }
        for _ in 0..self.backups.len() {
            let index = self.backups.get(self.next_backup).copied();
            self.next_backup = (self.next_backup + 1) % self.backups.len();
            match index {
                Some(index) if self.is_usable(index, now) => return Choice::Server(index),
                Some(index) => is_any_up |= self.is_up(index, now),
                None => {}
            }
        }
        if is_any_up { Choice::Full } else { Choice::Down }
    }

    /// Another server than `except`, in turn, whatever the pool goes by otherwise.
    #[cold]
    pub(crate) fn choose_another(&mut self, now: Instant, except: u16) -> Option<u16> {
        for _ in 0..self.schedule.len() {
            let index = self.take_turn()?;
            if index != except && self.is_usable(index, now) {
                return Some(index);
            }
        }
        self.backups.iter().copied().find(|&index| index != except && self.is_usable(index, now))
    }

    /// Where a new request goes: to a server, behind those that wait, or nowhere.
    #[inline]
    pub(crate) fn place(&mut self, now: Instant, key: u64) -> Choice {
        // Nobody overtakes.
        if self.queued > 0 {
            return Choice::Full;
        }
        match self.choose(now, key) {
            Choice::Down => self.choose_any().map_or(Choice::Down, Choice::Server),
            choice => choice,
        }
    }

    /// A server although all seem to be down, if that is what is wanted then. None: nothing is known of any server yet, or
    /// all are busy.
    #[cold]
    pub(crate) fn choose_any(&mut self) -> Option<u16> {
        if self.when_all_down == WhenAllDown::Fail {
            return None;
        }
        for _ in 0..self.schedule.len() {
            let index = self.take_turn()?;
            let server = self.servers.get(usize::from(index));
            if server.is_some_and(|s| s.health != Health::Unknown && s.active < s.active_max) {
                return Some(index);
            }
        }
        None
    }

    /// Whether there is a server that would get a request.
    #[cold]
    pub(crate) fn has_server_up(&self, now: Instant) -> bool {
        self.schedule.iter().chain(&self.backups).any(|&index| self.is_up(index, now))
    }

    #[inline]
    fn is_usable(&self, index: u16, now: Instant) -> bool {
        self.servers.get(usize::from(index)).is_some_and(|server| server.is_usable(now))
    }

    fn is_up(&self, index: u16, now: Instant) -> bool {
        self.servers.get(usize::from(index)).is_some_and(|server| server.down_until <= now)
    }

    #[inline]
    fn next_usable(&mut self, now: Instant) -> Option<u16> {
        for _ in 0..self.schedule.len() {
            let index = self.take_turn()?;
            if self.is_usable(index, now) {
                return Some(index);
            }
        }
        None
    }

    #[inline]
    fn take_turn(&mut self) -> Option<u16> {
        let index = self.schedule.get(self.next).copied();
        self.next += 1;
        if self.next >= self.schedule.len() {
            self.next = 0;
        }
        index
    }

    /// The one of two that has less to do, drawn by weight: nearly as good as the least loaded of all, and robust where many
    /// who balance do not know of each other (Mitzenmacher, 2001).
    fn random_of_two(&mut self, now: Instant) -> Option<u16> {
        for _ in 0..DRAWS_MAX {
            let word = self.next_random();
            let draw = |half: u32| {
                let place = (u64::from(half) * self.schedule.len() as u64) >> 32;
                let index = *self.schedule.get(place as usize)?;
                let server = self.servers.get(usize::from(index)).filter(|server| server.is_usable(now))?;
                Some((server.load(), index))
            };
            match (draw(word as u32), draw((word >> 32) as u32)) {
                (Some(a), Some(b)) => return Some(if b.0 < a.0 { b.1 } else { a.1 }),
                (Some((_, index)), None) | (None, Some((_, index))) => return Some(index),
                (None, None) => {}
            }
        }
        None
    }

    fn least_loaded(&mut self, now: Instant) -> Option<u16> {
        if self.returns <= now {
            self.returns = NEVER;
            for index in 0..self.servers.len() as u16 {
                let is_stale = self.slow_start.is_wanted();
                if is_stale || matches!(&self.picker, Picker::Least(least) if least.is_out(index)) {
                    self.reseed(index, now);
                }
            }
        }
        let Picker::Least(least) = &self.picker else { return None };
        least.first().filter(|&index| self.is_usable(index, now))
    }

    /// Tells the tournament what a server has to do, and who waits the longest among equals.
    #[inline]
    fn reseed(&mut self, index: u16, now: Instant) {
        let Picker::Least(least) = &mut self.picker else { return };
        let Some(server) = self.servers.get(usize::from(index)) else { return };
        if server.down_until > now {
            self.returns = self.returns.min(server.down_until);
        }
        self.random = self.random.wrapping_add(1);
        let load = match server.is_usable(now) && server.primary_weight() > 0 {
            true => {
                let load = if self.slow_start.is_over(now) {
                    server.load()
                } else {
                    self.returns = self.returns.min(self.slow_start.next_step(now));
                    self.slow_start.load(server, now)
                };
                load.min(u64::from(u32::MAX)) << 32 | (self.random & 0x7fff_ffff)
            }
            false => least::OUT,
        };
        least.set(index, load);
    }

    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.random)
    }

    #[inline]
    pub(crate) fn server_mut(&mut self, index: u16) -> Option<&mut Server> {
        self.servers.get_mut(usize::from(index))
    }

    /// The value of Host for a request without one.
    #[inline]
    pub(crate) fn host(&self, index: u16) -> &[u8] {
        self.servers.get(usize::from(index)).map_or(b"", |server| &server.host)
    }

    /// An exchange with the server begins.
    #[inline]
    pub(crate) fn occupy(&mut self, index: u16, now: Instant) {
        if let Some(server) = self.server_mut(index) {
            server.active += 1;
        }
        self.reseed(index, now);
    }

    /// An exchange with the server has ended. True: requests or other cores wait for that.
    #[inline]
    pub(crate) fn release(&mut self, index: u16, now: Instant) -> bool {
        if let Some(server) = self.server_mut(index) {
            server.active = server.active.saturating_sub(1);
        }
        self.reseed(index, now);
        self.queued > 0 || !self.wished.is_empty()
    }

    /// A request goes to the pool.
    #[inline]
    pub(crate) fn earn_retry(&mut self) {
        self.retry_budget = (self.retry_budget + RETRY_INCOME).min(RETRY_BUDGET_MAX);
    }

    /// Whether the pool may send a request once more. When many fail, sending all of them again would be the end of the
    /// servers that are left.
    #[cold]
    pub(crate) fn spend_retry(&mut self) -> bool {
        let left = self.retry_budget.checked_sub(RETRY_COST);
        self.retry_budget = left.unwrap_or(self.retry_budget);
        left.is_some()
    }
}
