//! The framing rules, one row each, and what a head means.

mod chunked;
mod oracle;
mod places;
mod request;
mod response;
mod rows;
mod write;

use crate::{HeadLimits, Method, Reject, Request, Response};

/// Parses a complete request and hands it to `check`.
fn request(bytes: &[u8], check: impl FnOnce(Request<'_>)) {
    match Request::parse(bytes, &HeadLimits::default()) {
        Ok(Some(request)) => check(request),
        other => panic!("{other:?} for {}", bytes.escape_ascii()),
    }
}

/// Parses a complete response to a GET and hands it to `check`.
fn response(bytes: &[u8], check: impl FnOnce(Response<'_>)) {
    match Response::parse(bytes, Method::Get, &HeadLimits::default()) {
        Ok(Some(response)) => check(response),
        other => panic!("{other:?} for {}", bytes.escape_ascii()),
    }
}

/// The reason why a request is refused, or none.
fn request_reject(bytes: &[u8]) -> Option<Reject> {
    Request::parse(bytes, &HeadLimits::default()).err()
}

/// The reason why a response is refused, or none.
fn response_reject(bytes: &[u8]) -> Option<Reject> {
    Response::parse(bytes, Method::Get, &HeadLimits::default()).err()
}

/// A small generator, so that a failure can be repeated (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}
