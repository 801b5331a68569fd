//! What all flows of an engine share: the time, the limits, the tables of queue nodes, the counters.

use core::time::Duration;

use weir_packet::{BUFFER_BYTES, Pool};
use weir_socket::Instant;

use crate::advice::Advice;
use crate::budget::{self, Pressure, WindowBudget};
use crate::config::Config;
use crate::counters::{Counter, Counters, FlowState, Gauges};
use crate::flow::open::path::{SEARCHES_MAX, Searches};
use crate::flow::out_of_order::Reassemblies;
use crate::flow::reassembly::Ranges;
use crate::flow::scoreboard::Records;
use crate::flow::send_queue::Chunks;
use crate::limiter::RateLimiter;
use crate::secrets::Secrets;
use crate::slab::Slab;
use crate::time::{AGE_MAX_NS, duration_ns};
use crate::transitions::Transitions;

pub(crate) struct Shared {
    pub now: Instant,
    pub config: Config,
    pub limits: Limits,
    pub pool: Pool,
    pub secrets: Secrets,
    pub counters: Counters,
    pub gauges: Gauges,
    pub transitions: Transitions,
    pub chunks: Chunks,
    pub records: Records,
    pub ranges: Ranges,
    pub searches: Searches,
    pub reassemblies: Reassemblies,
    /// How short buffers were at the beginning of the turn.
    pub pressure: Pressure,
    /// Bytes that a flow may queue for sending now.
    pub send_queue_limit: u32,
    pub window_budget: WindowBudget,
    pub challenges: RateLimiter,
    pub resets: RateLimiter,
    pub advice: Advice,
}

/// The configuration in the units of the hot path.
pub(crate) struct Limits {
    pub delayed_ack_ns: u64,
    pub user_timeout_ns: u64,
    pub fin_wait_2_ns: u64,
    pub time_wait_ns: u64,
    pub keepalive_idle_ns: u64,
    pub keepalive_interval_ns: u64,
    pub send_queue_max: u32,
    pub receive_window_initial: u32,
    pub receive_window_max: u32,
    /// The shift that we announce in SYNs.
    pub window_scale: u8,
}

/// RFC 7323, 2.3.
pub(crate) const WINDOW_SCALE_MAX: u8 = 14;
/// Windows are below 2^30 (RFC 7323, 2.2).
const WINDOW_MAX: usize = 1 << 30;

/// A duration that an age can reach.
fn age_ns(duration: Duration) -> u64 {
    duration_ns(duration).min(AGE_MAX_NS)
}

impl Limits {
    fn new(config: &Config) -> Self {
        let receive_window_max = config.receive_window_max.clamp(2_048, WINDOW_MAX) as u32;
        let bits = 32 - (receive_window_max >> 16).leading_zeros();
        Self {
            delayed_ack_ns: duration_ns(config.delayed_ack),
            user_timeout_ns: age_ns(config.user_timeout),
            fin_wait_2_ns: duration_ns(config.fin_wait_2),
            time_wait_ns: duration_ns(config.time_wait),
            keepalive_idle_ns: config.keepalive.map_or(u64::MAX, |keepalive| age_ns(keepalive.idle)),
            keepalive_interval_ns: config.keepalive.map_or(u64::MAX, |keepalive| duration_ns(keepalive.interval)),
            send_queue_max: config.send_queue_max.clamp(1, WINDOW_MAX) as u32,
            receive_window_initial: (config.receive_window_initial as u32).clamp(2_048, receive_window_max),
            receive_window_max,
            window_scale: (bits as u8).min(WINDOW_SCALE_MAX),
        }
    }
}

impl Shared {
    pub fn new(config: Config, pool: Pool) -> Self {
        // Each of these bounds a table; the sum over all flows is bounded by the buffers that they stand for.
        let buffers = pool.capacity().max(1_024);
        let nodes = buffers.saturating_mul(4).max(config.flows_max.saturating_mul(2));
        Self {
            now: Instant::default(),
            limits: Limits::new(&config),
            secrets: Secrets::new(config.seed),
            counters: Counters::default(),
            gauges: Gauges::default(),
            transitions: Transitions::default(),
            chunks: Slab::new(nodes),
            records: Slab::new(nodes),
            ranges: Slab::new(buffers),
            searches: Slab::new(SEARCHES_MAX.min(config.flows_max)),
            reassemblies: Slab::new(buffers),
            pressure: Pressure::None,
            send_queue_limit: Limits::new(&config).send_queue_max,
            window_budget: WindowBudget::new(config.receive_budget.unwrap_or(pool.capacity() / 2 * BUFFER_BYTES) as u64),
            challenges: RateLimiter::new(config.challenge_acks_per_second),
            resets: RateLimiter::new(config.resets_per_second),
            advice: Advice::default(),
            config,
            pool,
        }
    }

    #[inline(always)]
    pub fn count(&mut self, counter: Counter) {
        self.counters.count(counter);
    }

    /// Looks at how short buffers are.
    #[inline]
    pub fn note_pressure(&mut self) {
        let (free, capacity) = (self.pool.free(), self.pool.capacity());
        self.pressure = Pressure::of(free, capacity);
        self.send_queue_limit = budget::send_queue_limit(free, capacity, self.limits.send_queue_max);
    }

    /// Whether one more challenge ACK may be sent in this second (RFC 5961, 7); counted either way.
    pub fn may_challenge(&mut self) -> bool {
        let allowed = self.challenges.allow(self.now);
        self.count(if allowed { Counter::ChallengeAcks } else { Counter::ChallengesSkipped });
        allowed
    }

    /// A flow changes its state.
    #[inline]
    pub fn transition(&mut self, from: Option<FlowState>, to: Option<FlowState>) {
        self.transitions.count(from, to);
        if let Some(from) = from {
            self.gauges.flows[from as usize] -= 1;
        }
        if let Some(to) = to {
            self.gauges.flows[to as usize] += 1;
        }
    }

    /// The clock of our timestamps: milliseconds.
    #[inline(always)]
    pub fn timestamp_clock(at: Instant, offset: u32) -> u32 {
        (at.as_millis() as u32).wrapping_add(offset)
    }
}
