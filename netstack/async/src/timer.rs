//! Waiting for a time.

use alloc::collections::BTreeMap;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use weir_socket::{Instant, Sockets};

use crate::net::Net;

/// Deadlines and who waits for them, the earliest first.
pub(crate) struct Timers {
    waiting: BTreeMap<(Instant, u64), Waker>,
    numbers: u64,
}

impl Timers {
    pub const fn new() -> Self {
        Self { waiting: BTreeMap::new(), numbers: 0 }
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|(&(deadline, _), _)| deadline)
    }

    pub fn pop_due(&mut self, now: Instant) -> Option<Waker> {
        let first = self.waiting.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}

/// See [`Net::sleep_until`].
pub struct Sleep<'n, S: Sockets> {
    pub(crate) net: &'n Net<S>,
    pub(crate) deadline: Instant,
    /// Tells sleepers of one deadline apart; none before the first poll.
    pub(crate) number: Option<u64>,
}

impl<S: Sockets> Future for Sleep<'_, S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let net = self.net;
        let inner = &mut *net.inner.borrow_mut();
        if inner.sockets.now() >= self.deadline {
            return Poll::Ready(());
        }
        let timers = &mut inner.timers;
        let number = *self.number.get_or_insert_with(|| {
            timers.numbers += 1;
            timers.numbers
        });
        timers.waiting.insert((self.deadline, number), cx.waker().clone());
        Poll::Pending
    }
}

impl<S: Sockets> Drop for Sleep<'_, S> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.net.inner.borrow_mut().timers.waiting.remove(&(self.deadline, number));
        }
    }
}
