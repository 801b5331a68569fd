//! The Date field.

use core::time::Duration;

use weir_http1::{DATE_BYTES, HeadWriter, write_date};
use weir_socket::Instant;

const SECOND_NS: u64 = 1_000_000_000;

const NAME: &[u8] = b"Date: ";
const LINE_BYTES: usize = NAME.len() + DATE_BYTES + b"\r\n".len();

const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// The current date as responses say it. It is written once a second; in between, asking costs one comparison.
#[derive(Debug)]
pub struct HttpDate {
    line: [u8; LINE_BYTES],
    /// All of the line; nothing of it if nobody knows what time it is.
    len: usize,
    valid_until: Instant,
    /// Wall clock at the origin of [`Instant`], in nanoseconds since 1970.
    unix_ns_at_origin: u64,
}

impl HttpDate {
    /// A clock by which the origin of [`Instant`] was `unix_ns_at_origin` nanoseconds after 1970; 0: nobody knows what time it is.
    #[must_use]
    pub fn new(unix_ns_at_origin: u64) -> Self {
        let (len, valid_until) = if unix_ns_at_origin == 0 { (0, NEVER) } else { (LINE_BYTES, Instant::default()) };
        Self { line: [b' '; LINE_BYTES], len, valid_until, unix_ns_at_origin }
    }

    /// The field at `now` with its CR LF. Nothing: nobody knows what time it is, and then there is none (RFC 9110 6.6.1).
    #[inline]
    pub fn line(&mut self, now: Instant) -> &[u8] {
        if now >= self.valid_until {
            self.renew(now);
        }
        self.line.get(..self.len).unwrap_or_default()
    }

    /// Until when [`line`](Self::line) stays what it is.
    #[inline]
    #[must_use]
    pub fn valid_until(&self) -> Instant {
        self.valid_until
    }

    #[cold]
    fn renew(&mut self, now: Instant) {
        let unix_ns = self.unix_ns_at_origin.saturating_add(now.as_nanos());
        let mut writer = HeadWriter::new(&mut self.line);
        writer.bytes(NAME);
        write_date(&mut writer, unix_ns / SECOND_NS);
        writer.bytes(b"\r\n");
        self.valid_until = now + Duration::from_nanos(SECOND_NS - unix_ns % SECOND_NS);
    }
}
