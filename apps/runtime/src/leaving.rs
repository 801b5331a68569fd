//! After the power button: what is under way is finished, for a time, and then the machine goes off.

/// Looks in a row that must find nothing under way. What cores publish is a little old, and the word to leave needs a little, too.
const QUIET_LOOKS: u32 = 2;

/// A machine that is about to go off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaving {
    began_ns: u64,
    /// How long new connections are still taken.
    notice_ns: u64,
    /// How long requests may take to their end after that.
    limit_ns: u64,
    quiet_looks: u32,
}

/// What a look has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// There is something under way, and time for it.
    Waits,
    /// Nothing is under way any more, after so many milliseconds.
    Drained(u64),
    /// The time is up.
    TimeIsUp,
}

impl Leaving {
    /// From now on: new connections are taken during the notice, and the rest may take so long at most.
    pub const fn begin(now_ns: u64, notice_ns: u64, limit_ns: u64) -> Self {
        Self { began_ns: now_ns, notice_ns, limit_ns, quiet_looks: 0 }
    }

    /// Looks at what is under way: connections, and bytes that clients have not acknowledged.
    pub const fn look(&mut self, now_ns: u64, under_way: u64) -> Look {
        let passed_ns = now_ns.saturating_sub(self.began_ns);
        self.quiet_looks = if under_way == 0 && passed_ns >= self.notice_ns { self.quiet_looks + 1 } else { 0 };
        if self.quiet_looks >= QUIET_LOOKS {
            Look::Drained(passed_ns / 1_000_000)
        } else if passed_ns >= self.notice_ns + self.limit_ns {
            Look::TimeIsUp
        } else {
            Look::Waits
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const TICK_NS: u64 = 200_000_000;
    const LIMIT_NS: u64 = 30_000_000_000;

    #[test]
    fn two_quiet_looks_in_a_row_are_the_end() {
        let mut leaving = Leaving::begin(TICK_NS, 0, LIMIT_NS);
        let looks = [0, 3, 0, 0].map(|under_way| leaving.look(3 * TICK_NS, under_way));
        assert_eq!(looks, [Look::Waits, Look::Waits, Look::Waits, Look::Drained(400)]);
    }

    #[test]
    fn nobody_is_waited_for_longer_than_the_limit() {
        let mut leaving = Leaving::begin(0, 0, LIMIT_NS);
        assert_eq!(leaving.look(LIMIT_NS - 1, 1), Look::Waits);
        assert_eq!(leaving.look(LIMIT_NS, 1), Look::TimeIsUp);
    }

    #[test]
    fn quiet_during_the_notice_is_no_end_and_the_limit_begins_after_it() {
        let mut leaving = Leaving::begin(0, TICK_NS * 3, LIMIT_NS);
        let looks = [1, 2, 3, 4].map(|tick| leaving.look(tick * TICK_NS, 0));
        assert_eq!(looks, [Look::Waits, Look::Waits, Look::Waits, Look::Drained(800)]);
        assert_eq!(leaving.look(LIMIT_NS, 1), Look::Waits);
        assert_eq!(leaving.look(LIMIT_NS + TICK_NS * 3, 1), Look::TimeIsUp);
    }
}
