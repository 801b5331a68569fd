//! When a core publishes its counters: soon after its work is done, and now and then while it goes on.

use weir_kernel::{memory, time};

use super::Core;
use crate::metrics;

/// How long a core has had nothing to do when it publishes, in nanoseconds.
const QUIET_NS: u64 = 50_000_000;
/// How old the published counters of a busy core may become, in nanoseconds.
const PERIOD_NS: u64 = 200_000_000;

/// No time.
const NEVER_NS: u64 = u64::MAX;

/// When to publish. Looked at in every turn, and a timer for halts, so the next look is not moved with every piece of news.
pub(super) struct Schedule {
    /// When what was published last becomes too old.
    outdated_ns: u64,
    news_ns: u64,
    look_ns: u64,
}

impl Schedule {
    /// The first values are published at once.
    pub(super) const fn new() -> Self {
        Self { outdated_ns: 0, news_ns: 0, look_ns: 0 }
    }

    /// Something happened that is to be published.
    #[inline]
    pub(super) fn news(&mut self, now_ns: u64) {
        self.news_ns = now_ns;
        if self.look_ns == NEVER_NS {
            self.look_ns = self.due_ns();
        }
    }

    /// When [`is_due`](Self::is_due) has to be asked at the latest.
    #[inline]
    pub(super) const fn next_look_ns(&self) -> u64 {
        self.look_ns
    }

    /// Whether to publish now, which is taken as done.
    #[inline]
    fn is_due(&mut self, now_ns: u64) -> bool {
        if now_ns < self.look_ns {
            return false;
        }
        self.look_ns = self.due_ns();
        if now_ns < self.look_ns {
            return false;
        }
        (self.outdated_ns, self.look_ns) = (now_ns + PERIOD_NS, NEVER_NS);
        true
    }

    fn due_ns(&self) -> u64 {
        (self.news_ns + QUIET_NS).min(self.outdated_ns)
    }
}

impl Core {
    /// There is something to publish.
    pub(super) fn has_news(&mut self) {
        self.publishing.news(time::now_ns());
    }

    /// Publishes the counters if it is time.
    #[inline]
    pub(super) fn publish(&mut self, now_ns: u64) {
        if self.publishing.is_due(now_ns) {
            self.publish_now(now_ns);
        }
    }

    #[cold]
    fn publish_now(&mut self, now_ns: u64) {
        if self.is_leaving {
            // Who leaves has something to look after even if nothing happens.
            self.publishing.news(now_ns);
            self.service.leave(&mut self.shard);
        }
        let heap = memory::heap::usage(self.id);
        self.common.board.publish(self.id.index(), |to| {
            metrics::service(to, self.service.counters());
            metrics::stack(to, &self.shard);
            metrics::device(to, &self.wire);
            metrics::log(to, &self.syslog, self.service.lost_log_lines());
            metrics::names(to, self.names.as_ref());
            metrics::core(to, &self.turns, self.links.full(), heap);
            to.counter("weir_load_reports_total", self.service.told_loads());
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn what_happened_last_is_published_when_it_has_been_quiet() {
        let mut schedule = Schedule::new();
        assert!(schedule.is_due(10 * MS), "the first values");
        assert!(!schedule.is_due(9_000 * MS) && schedule.next_look_ns() == NEVER_NS, "no news");
        schedule.news(9_000 * MS);
        assert!(schedule.is_due(9_000 * MS), "news after a long time");
        schedule.news(9_010 * MS);
        assert_eq!(schedule.next_look_ns(), 9_060 * MS);
        schedule.news(9_040 * MS);
        assert!(!schedule.is_due(9_060 * MS));
        assert_eq!(schedule.next_look_ns(), 9_090 * MS);
        assert!(schedule.is_due(9_090 * MS) && !schedule.is_due(9_500 * MS));
    }

    #[test]
    fn a_core_that_is_always_busy_publishes_all_the_same() {
        let mut schedule = Schedule::new();
        assert!(schedule.is_due(1_000 * MS));
        let published = (1_001..2_001).filter(|ms| {
            schedule.news(ms * MS);
            schedule.is_due(ms * MS)
        });
        assert_eq!(published.collect::<std::vec::Vec<_>>(), [1_200, 1_400, 1_600, 1_800, 2_000]);
    }
}
