//! A check by HTTP: a request, and the status of its response.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use weir_config::HttpCheck;
use weir_http1::{HeadLimits, Method, Response};

use super::Outcome;
use super::under_way::ANSWER_BYTES_MAX;

#[derive(Clone, Copy)]
pub(super) struct Question {
    pub request: &'static [u8],
    /// Lowest and highest status that is good.
    expect: (u16, u16),
}

impl Question {
    /// The same bytes for every check of a server, kept for as long as the image runs.
    pub(super) fn new(http: &HttpCheck, host: &str) -> Self {
        let (name, path) = (http.method.name(), &http.path);
        let mut text =
            format!("{name} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: weir-check\r\nConnection: close\r\n");
        http.headers.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
        text.push_str("\r\n");
        Self { request: Box::leak(text.into_bytes().into_boxed_slice()), expect: http.expect }
    }

    /// What the answer says so far; none: not enough. Interim responses are taken out of it.
    pub(super) fn judge(self, answer: &mut Vec<u8>) -> Option<Outcome> {
        let (first, last) = self.expect;
        let limits = HeadLimits { head_bytes: ANSWER_BYTES_MAX - 1, target_bytes: ANSWER_BYTES_MAX / 2, fields: 100 };
        loop {
            // The head decides; whether a body follows, as the method says, does not matter.
            match Response::parse(answer, Method::Get, &limits) {
                Err(_) => return Some(Outcome::BadResponse),
                Ok(None) if answer.len() >= ANSWER_BYTES_MAX => return Some(Outcome::BadResponse),
                Ok(None) => return None,
                Ok(Some(response)) if response.is_interim() => {
                    let used = response.head_len;
                    answer.drain(..used);
                }
                Ok(Some(response)) if (first..=last).contains(&response.status) => return Some(Outcome::Passed),
                Ok(Some(_)) => return Some(Outcome::Status),
            }
        }
    }
}
