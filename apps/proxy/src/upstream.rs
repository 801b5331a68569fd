//! A pool as one core sees it: whose turn it is, who is down, and which connections wait for reuse.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use weir_config::Pool;
use weir_socket::Instant;

/// How long a server is left alone after its first failure; twice as long after each further one.
const LEFT_ALONE: Duration = Duration::from_secs(1);

/// How often that time doubles: at most 32 s.
const DOUBLINGS_MAX: u8 = 5;

/// Exchanges in a row that fail after the connection was accepted before the server is left alone.
const ERRORS_MAX: u8 = 5;

/// The end of time: a server that health checks found down waits for their next verdict.
const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// Longest round of a schedule. Weights that would need more are rounded.
const SCHEDULE_LEN_MAX: usize = 65_536;

/// A pool's servers and their turns.
pub(crate) struct Upstream {
    servers: Box<[Server]>,
    /// Servers in the order of their turns, each as often as its weight says, evenly spread.
    schedule: Box<[u16]>,
    next: usize,
}

/// A server as one core sees it.
pub(crate) struct Server {
    pub address: SocketAddr,
    /// The value of Host for a request without one.
    pub host: Box<[u8]>,
    /// Number of its counter.
    pub counter: usize,
    /// Not before then it gets requests while another server can: the one place that choosing looks at.
    down_until: Instant,
    health: Health,
    /// How often in a row it was left alone.
    ejections: u8,
    /// Failed exchanges in a row.
    errors: u8,
    /// The connection that became idle last: an index into the table of backend connections, which links the others.
    pub newest_idle: Option<u32>,
}

/// What health checks say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    /// Nothing yet: no requests before the first verdict.
    Unknown,
    /// It is up, or is not checked.
    Up,
    Down,
}

impl Upstream {
    /// The pool's servers, whose counters begin at `counter`; `seed` decides who is first.
    pub(crate) fn new(pool: &Pool, counter: usize, seed: u64) -> Self {
        let servers = pool.servers.iter().enumerate().map(|(index, server)| Server {
            address: server.address,
            host: format!("{}", server.address).into_bytes().into(),
            counter: counter + index,
            down_until: if pool.health.is_some() { NEVER } else { Instant::default() },
            health: if pool.health.is_some() { Health::Unknown } else { Health::Up },
            ejections: 0,
            errors: 0,
            newest_idle: None,
        });
        let schedule = schedule(&pool.servers.iter().map(|server| server.weight).collect::<Vec<_>>());
        let next = (seed % schedule.len().max(1) as u64) as usize;
        Self { servers: servers.collect(), schedule, next }
    }

    /// The server whose turn it is, passing over those that are down. None: all are.
    ///
    /// Cost: constant while the servers are up.
    #[inline]
    pub(crate) fn choose(&mut self, now: Instant) -> Option<u16> {
        for _ in 0..self.schedule.len() {
            let index = self.take_turn()?;
            if self.servers.get(usize::from(index)).is_some_and(|server| server.down_until <= now) {
                return Some(index);
            }
        }
        None
    }

    /// The server whose turn it is, even if it seems to be down. None: nothing is known of any server yet.
    #[cold]
    pub(crate) fn choose_any(&mut self) -> Option<u16> {
        for _ in 0..self.schedule.len() {
            let index = self.take_turn()?;
            if self.servers.get(usize::from(index)).is_some_and(|server| server.health != Health::Unknown) {
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

    #[inline]
    pub(crate) fn server_mut(&mut self, index: u16) -> Option<&mut Server> {
        self.servers.get_mut(usize::from(index))
    }

    /// The server could not be connected to. True: from now on it is left alone.
    #[cold]
    pub(crate) fn mark_down(&mut self, index: u16, now: Instant) -> bool {
        let Some(server) = self.server_mut(index) else { return false };
        // Requests that were under way when it failed the first time say nothing new.
        if server.down_until > now {
            return false;
        }
        server.down_until = now + LEFT_ALONE * (1 << server.ejections.min(DOUBLINGS_MAX));
        server.ejections = server.ejections.saturating_add(1);
        server.errors = 0;
        true
    }

    /// The server accepted a connection, and did not answer as it should. True: from now on it is left alone.
    ///
    /// That is for at most half of a pool's servers: when more fail, what is wrong is likely not theirs.
    #[cold]
    pub(crate) fn mark_error(&mut self, index: u16, now: Instant) -> bool {
        let Some(server) = self.server_mut(index) else { return false };
        server.errors = server.errors.saturating_add(1);
        if server.errors < ERRORS_MAX {
            return false;
        }
        let down = self.servers.iter().filter(|server| server.down_until > now).count();
        (down + 1) * 2 <= self.servers.len() && self.mark_down(index, now)
    }

    /// The server answered.
    #[inline]
    pub(crate) fn mark_good(&mut self, index: u16) {
        if let Some(server) = self.server_mut(index)
            && (server.errors | server.ejections) != 0
        {
            (server.errors, server.ejections) = (0, 0);
        }
    }

    /// What health checks found; the number of the server's counter.
    #[cold]
    pub(crate) fn set_health(&mut self, index: u16, is_up: bool) -> Option<usize> {
        let server = self.server_mut(index)?;
        server.health = if is_up { Health::Up } else { Health::Down };
        server.down_until = if is_up { Instant::default() } else { NEVER };
        (server.errors, server.ejections) = (0, 0);
        Some(server.counter)
    }
}

/// Turns in proportion to the weights: a server of weight w has its turns at (k + 1/2) / w of the round.
fn schedule(weights: &[u16]) -> Box<[u16]> {
    let divisor = weights.iter().fold(0, |a, &b| gcd(a, b)).max(1);
    let total: usize = weights.iter().map(|&weight| usize::from(weight / divisor)).sum();
    let shrink = total.div_ceil(SCHEDULE_LEN_MAX).max(1);
    let mut turns = Vec::new();
    for (index, &weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0) {
        let count = (usize::from(weight / divisor) / shrink).max(1) as u64;
        let places = (0..count).map(|k| ((2 * k + 1) * (1 << 32) / (2 * count), index as u16));
        turns.extend(places);
    }
    turns.sort_unstable();
    turns.into_iter().map(|(_, index)| index).collect()
}

fn gcd(mut a: u16, mut b: u16) -> u16 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_follow_the_weights_evenly() {
        assert_eq!(*schedule(&[1, 1]), [0, 1]);
        assert_eq!(*schedule(&[256, 256, 256]), [0, 1, 2]);
        assert_eq!(*schedule(&[3, 1]), [0, 0, 1, 0]);
        assert_eq!(*schedule(&[0, 5]), [1]);
        let turns = schedule(&[5, 3, 2]);
        for (index, weight) in [(0, 5), (1, 3), (2, 2)] {
            assert_eq!(turns.iter().filter(|&&turn| turn == index).count(), weight);
        }
        let many = schedule(&[255; 4096]);
        assert_eq!(many.len(), 4096);
        let odd: Vec<u16> = (0..4096).map(|n| 1 + n % 256).collect();
        assert!(schedule(&odd).len() <= SCHEDULE_LEN_MAX + odd.len());
    }

    fn pool(servers: u8) -> Pool {
        let server = |n| weir_config::Server { name: format!("s{n}"), address: ([10, 0, 0, n], 80).into(), weight: 1 };
        Pool {
            name: "p".into(),
            balance: weir_config::Balance::RoundRobin,
            health: None,
            servers: (0..servers).map(server).collect(),
        }
    }

    #[test]
    fn servers_that_are_down_are_passed_over_for_a_second() {
        let now = Instant::from_nanos(5_000_000_000);
        let mut upstream = Upstream::new(&pool(3), 0, 1);
        assert_eq!(upstream.choose(now), Some(1), "the seed decides who is first");
        upstream.mark_down(2, now);
        assert_eq!([upstream.choose(now), upstream.choose(now), upstream.choose(now)], [Some(0), Some(1), Some(0)]);
        upstream.mark_down(0, now);
        upstream.mark_down(1, now);
        assert_eq!(upstream.choose(now), None);
        assert!(upstream.choose_any().is_some());
        assert!(upstream.choose(now + LEFT_ALONE).is_some());
    }

    #[test]
    fn a_server_that_fails_again_and_again_is_left_alone_for_twice_as_long_each_time() {
        let mut now = Instant::from_nanos(5_000_000_000);
        let mut upstream = Upstream::new(&pool(1), 0, 0);
        for seconds in [1, 2, 4, 8, 16, 32, 32, 32] {
            assert!(upstream.mark_down(0, now));
            assert!(!upstream.mark_down(0, now), "what was under way says nothing new");
            now = now + Duration::from_millis(1000 * seconds - 1);
            assert_eq!(upstream.choose(now), None, "{seconds} s");
            now = now + Duration::from_millis(1);
            assert_eq!(upstream.choose(now), Some(0), "{seconds} s");
        }
        upstream.mark_good(0);
        assert!(upstream.mark_down(0, now));
        assert_eq!(upstream.choose(now + LEFT_ALONE), Some(0), "one answer, and it begins anew");
    }

    #[test]
    fn errors_in_a_row_eject_at_most_half_of_the_servers() {
        let now = Instant::from_nanos(5_000_000_000);
        let mut upstream = Upstream::new(&pool(3), 0, 0);
        let mut fails = |index, times| (0..times).filter(|_| upstream.mark_error(index, now)).count();
        assert_eq!(fails(0, ERRORS_MAX - 1), 0);
        assert_eq!(fails(0, 1), 1);
        assert_eq!(fails(1, 3 * ERRORS_MAX), 0, "two of three would be more than half");
        upstream.mark_good(1);
        assert_eq!([upstream.choose(now), upstream.choose(now), upstream.choose(now)], [Some(1), Some(2), Some(1)]);
    }

    #[test]
    fn a_verdict_lasts_until_the_next() {
        let now = Instant::from_nanos(5_000_000_000);
        let late = now + Duration::from_secs(1 << 30);
        let mut checked = pool(2);
        checked.health = Some(weir_config::Health::default());
        let mut upstream = Upstream::new(&checked, 7, 0);
        assert_eq!((upstream.choose(late), upstream.choose_any()), (None, None), "nothing before the first verdict");
        assert_eq!(upstream.set_health(1, false), Some(8));
        assert_eq!((upstream.choose(late), upstream.choose_any()), (None, Some(1)));
        assert_eq!(upstream.set_health(0, true), Some(7));
        assert_eq!([upstream.choose(now), upstream.choose(now)], [Some(0), Some(0)]);
        assert!(!upstream.mark_down(1, now), "a failure does not shorten the verdict");
        assert_eq!([upstream.choose(late), upstream.choose(late)], [Some(0), Some(0)]);
        assert_eq!(upstream.set_health(9, true), None);
    }
}
