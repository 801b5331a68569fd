//! Parses one request a number of times, for counting instructions:
//!
//! ```text
//! valgrind --tool=none ... target/release/examples/parse_cost wrk 0
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/examples/parse_cost wrk 1000
//! ```
//!
//! The difference between two counts, divided by the difference of the rounds, is the cost of one.

use std::hint::black_box;

use weir_http1::{HeadLimits, Method, Request, Response};

const WRK: &[u8] = b"GET / HTTP/1.1\r\nHost: 192.0.2.10:8080\r\n\r\n";
const CURL: &[u8] = b"GET /hello HTTP/1.1\r\nHost: 192.0.2.10:8080\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n";
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n\
      Content-Length: 64\r\nConnection: keep-alive\r\n\r\n";

fn main() {
    let mut arguments = std::env::args().skip(1);
    let kind = arguments.next().unwrap_or_default();
    let rounds: u32 = arguments.next().and_then(|rounds| rounds.parse().ok()).unwrap_or(1000);
    let limits = HeadLimits::default();
    for _ in 0..rounds {
        match kind.as_str() {
            "wrk" => drop(black_box(Request::parse(black_box(WRK), &limits))),
            "curl" => drop(black_box(Request::parse(black_box(CURL), &limits))),
            "answer" => drop(black_box(Response::parse(black_box(ANSWER), Method::Get, &limits))),
            _ => panic!("wrk, curl or answer"),
        }
    }
}
