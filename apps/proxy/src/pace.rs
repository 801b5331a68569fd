//! How fast a client has to send a body: some bytes a second, after a time to begin with; what it sent more than that counts for
//! later, but never for longer than the time in which something has to come at all. Only the time in which it was the
//! client's turn counts.

use core::time::Duration;

use weir_socket::Instant;

use crate::timer::Span;

/// What a client has to begin with.
const GRACE: Span = Span::from_secs(5);

/// The pace of one body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    due: Instant,
    /// It is not the client's turn: it waits for `100 Continue`, or the server takes no more.
    is_waiting: bool,
}

impl Pace {
    /// Of a client that waits to be told to go on, or does not.
    pub(crate) const fn new(is_waiting: bool, now: Instant) -> Self {
        Self { due: now, is_waiting }
    }

    /// The body can go to a server now; how long to wait for a first byte. `patience` is for who waits to be told.
    pub(crate) fn begin(&mut self, now: Instant, patience: Span) -> Span {
        self.due = now + GRACE;
        if self.is_waiting { patience } else { GRACE }
    }

    /// The server takes no more; hands `deadline` on.
    pub(crate) fn block(&mut self, deadline: Instant) -> Instant {
        self.is_waiting = true;
        deadline
    }

    /// So many bytes came, and it is the client's turn; by when more have to come at `rate` bytes a second, and in `patience` at
    /// most.
    pub(crate) fn advance(&mut self, now: Instant, bytes: u64, rate: u32, patience: Span) -> Instant {
        if core::mem::take(&mut self.is_waiting) {
            self.due = now + GRACE;
        }
        let latest = now + patience;
        let Some(earned) = bytes.saturating_mul(1_000_000_000).checked_div(rate.into()) else { return latest };
        self.due = (self.due + Duration::from_nanos(earned)).min(latest);
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant::from_nanos(5_000_000_000);
    const PATIENCE: Span = Span::from_secs(30);

    fn at(seconds: f64) -> Instant {
        START + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn who_keeps_the_rate_may_go_on_for_ever() {
        let mut pace = Pace::new(false, START);
        assert_eq!(pace.begin(START, PATIENCE), GRACE);
        let mut due = at(5.0);
        for second in 1..1_000 {
            let now = at(f64::from(second));
            assert!(now < due, "{second}");
            due = pace.advance(now, 240, 240, PATIENCE);
        }
    }

    #[test]
    fn who_is_slower_ends_and_what_was_sent_at_once_does_not_last() {
        let mut pace = Pace::new(false, START);
        pace.begin(START, PATIENCE);
        let mut due = pace.advance(START, 1_000_000, 240, PATIENCE);
        assert_eq!(due, START + PATIENCE);
        let mut seconds = 0.0;
        while at(seconds) < due {
            due = pace.advance(at(seconds), 1, 240, PATIENCE);
            seconds += 1.0;
        }
        assert!((30.0..33.0).contains(&seconds), "{seconds}");
    }

    #[test]
    fn time_in_which_others_were_waited_for_does_not_count() {
        let mut pace = Pace::new(true, START);
        assert_eq!(pace.begin(START, PATIENCE), PATIENCE);
        assert_eq!(pace.advance(at(20.0), 240, 240, PATIENCE), at(26.0));
        assert_eq!(pace.block(at(90.0)), at(90.0));
        assert_eq!(pace.advance(at(80.0), 0, 240, PATIENCE), at(85.0));
    }

    #[test]
    fn without_a_rate_only_silence_counts() {
        let mut pace = Pace::new(false, START);
        assert_eq!(pace.advance(at(100.0), 1, 0, PATIENCE), at(130.0));
    }
}
