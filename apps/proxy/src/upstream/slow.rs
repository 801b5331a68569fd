//! Slow start: a server that came back, or is new, gets its share of the requests by and by.
//!
//! From a tenth its weight grows with the time since it could have requests again: since the verdict of its checks, since its
//! name was resolved, or since the end of the time that it was left alone. Servers that came together are slow together, and
//! share as if none were.
//!
//! | picker | what grows |
//! | --- | --- |
//! | turns | the part of its turns that it takes |
//! | random of two | the part of its draws that count, and the load that it is compared by |
//! | least connections | the load that it is compared by: what it may have under way beside the others |
//!
//! While nobody is slow, choosing does not look here: [`Picker::Gradual`] stands in for the first two as long as somebody is.

use core::time::Duration;

use weir_socket::Instant;

use super::server::{NEVER, Server};
use super::{DRAWS_MAX, Picker, Upstream};

/// A whole weight.
const WHOLE: u64 = 256;

/// What a server begins with.
const FIRST: u64 = WHOLE / 10;

/// Least connections compares anew so often until a server is warm.
const STEPS: u32 = 32;

/// How long servers are slow, and until when some are.
pub(super) struct SlowStart {
    time: Duration,
    warm_at: Instant,
}

impl SlowStart {
    /// None of `time` 0 is slow.
    pub(super) fn new(time_ns: u64) -> Self {
        Self { time: Duration::from_nanos(time_ns), warm_at: Instant::default() }
    }

    #[inline]
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.warm_at <= now
    }

    #[inline]
    pub(super) fn is_wanted(&self) -> bool {
        !self.time.is_zero()
    }

    /// What the server has to do, for what it may have.
    #[cold]
    #[inline(never)]
    pub(super) fn load(&self, server: &Server, now: Instant) -> u64 {
        server.load() * WHOLE / self.part(server, now)
    }

    /// When loads are to be compared anew although nothing happened.
    #[cold]
    #[inline(never)]
    pub(super) fn next_step(&self, now: Instant) -> Instant {
        now + self.time / STEPS
    }

    /// What the server has of its weight, of [`WHOLE`].
    fn part(&self, server: &Server, now: Instant) -> u64 {
        let passed = now.since(server.down_until).as_nanos().min(self.time.as_nanos());
        let part = passed * u128::from(WHOLE) / self.time.as_nanos().max(1);
        (part as u64).max(FIRST)
    }
}

impl Upstream {
    /// The server gets requests from its `down_until` on.
    #[cold]
    pub(super) fn begin_slow_start(&mut self, index: u16) {
        let Some(server) = self.servers.get(usize::from(index)) else { return };
        if !self.slow_start.is_wanted() || server.down_until == NEVER {
            return;
        }
        self.slow_start.warm_at = self.slow_start.warm_at.max(server.down_until + self.slow_start.time);
        match self.picker {
            Picker::Turns => self.picker = Picker::Gradual { is_random: false },
            Picker::Random => self.picker = Picker::Gradual { is_random: true },
            _ => {}
        }
    }

    /// [`Picker::Gradual`]: as without it, but that slow servers pass most of their turns on. None: any may have it, for all
    /// passed, or nobody is slow any more.
    #[cold]
    pub(super) fn choose_gradually(&mut self, now: Instant, is_random: bool) -> Option<u16> {
        if self.slow_start.is_over(now) {
            self.picker = if is_random { Picker::Random } else { Picker::Turns };
            return None;
        }
        let first = self.draw_gradually(now, is_random);
        if !is_random {
            return first;
        }
        match (first, self.draw_gradually(now, true)) {
            (Some(a), Some(b)) => Some(if self.load(b, now) < self.load(a, now) { b } else { a }),
            (one, other) => one.or(other),
        }
    }

    /// A server by turn or by chance, that takes it.
    fn draw_gradually(&mut self, now: Instant, is_random: bool) -> Option<u16> {
        for _ in 0..DRAWS_MAX.max(self.schedule.len() as u64) {
            let index = match is_random {
                true => {
                    let place = self.next_random() % self.schedule.len().max(1) as u64;
                    *self.schedule.get(place as usize)?
                }
                false => self.take_turn()?,
            };
            let server = self.servers.get(usize::from(index)).filter(|server| server.is_usable(now));
            let part = server.map_or(0, |server| self.slow_start.part(server, now));
            if part > 0 && (part == WHOLE || self.next_random() % WHOLE < part) {
                return Some(index);
            }
        }
        None
    }

    fn load(&self, index: u16, now: Instant) -> u64 {
        self.servers.get(usize::from(index)).map_or(u64::MAX, |server| self.slow_start.load(server, now))
    }
}
