//! The Date field.

use core::time::Duration;

use weir_http1::{DATE_BYTES, HeadWriter, write_date};
use weir_socket::Instant;

const SECOND_NS: u64 = 1_000_000_000;

/// The current date as responses say it. It is written once a second; in between, asking costs one comparison.
#[derive(Debug)]
pub struct HttpDate {
    text: [u8; DATE_BYTES],
    valid_until: Instant,
    /// Wall clock at the origin of [`Instant`], in nanoseconds since 1970.
    unix_ns_at_origin: u64,
}

impl HttpDate {
    /// A clock by which the origin of [`Instant`] was `unix_ns_at_origin` nanoseconds after 1970.
    #[must_use]
    pub fn new(unix_ns_at_origin: u64) -> Self {
        Self { text: [b' '; DATE_BYTES], valid_until: Instant::default(), unix_ns_at_origin }
    }

    /// The date at `now`.
    #[inline]
    pub fn text(&mut self, now: Instant) -> &[u8; DATE_BYTES] {
        if now >= self.valid_until {
            self.renew(now);
        }
        &self.text
    }

    /// Until when [`text`](Self::text) stays what it is.
    #[inline]
    #[must_use]
    pub fn valid_until(&self) -> Instant {
        self.valid_until
    }

    #[cold]
    fn renew(&mut self, now: Instant) {
        let unix_ns = self.unix_ns_at_origin.saturating_add(now.as_nanos());
        write_date(&mut HeadWriter::new(&mut self.text), unix_ns / SECOND_NS);
        self.valid_until = now + Duration::from_nanos(SECOND_NS - unix_ns % SECOND_NS);
    }
}
