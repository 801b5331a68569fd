//! Clients that know how many requests they made.

use std::fmt;
use std::net::SocketAddrV4;

use clap::ValueEnum;

use super::{Failed, command_line};

/// Requests under way at any time, if nothing else is said.
pub const CONNECTIONS: u32 = 32;

/// A client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Load {
    /// `wrk`: connections are kept alive.
    Wrk,
    /// `ab`: a connection per request.
    Ab,
}

/// What a client says at its end.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Outcome {
    /// Requests answered.
    pub requests: u64,
    /// Requests that failed, or were answered with something else than success.
    pub errors: u64,
    /// Requests per second.
    pub rate: f64,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wrk => "keep-alive",
            Self::Ab => "connection per request",
        })
    }
}

impl Load {
    /// Lets the client run for some seconds.
    ///
    /// # Errors
    /// When it cannot be started, fails, or says nothing that can be understood.
    pub fn run(self, at: SocketAddrV4, path: &str, seconds: u32) -> Result<Outcome, Failed> {
        self.run_wide(at, path, seconds, CONNECTIONS)
    }

    /// As [`run`](Self::run), with so many requests under way at any time.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_wide(self, at: SocketAddrV4, path: &str, seconds: u32, connections: u32) -> Result<Outcome, Failed> {
        let line = match self {
            Self::Wrk => format!("wrk -t1 -c{connections} -d{seconds}s http://{at}{path}"),
            // Without -n the time limit means 50,000 requests at most.
            Self::Ab => format!("ab -q -r -c {connections} -t {seconds} -n {} http://{at}{path}", 50_000 * seconds),
        };
        let said = command_line(&line)?;
        let outcome = match self {
            Self::Wrk => read_wrk(&said),
            Self::Ab => read_ab(&said),
        };
        match outcome {
            Some(outcome) if outcome.requests > 0 => Ok(outcome),
            _ => Err(format!("'{line}' made no requests: {said}").into()),
        }
    }
}

/// The first number behind a label.
fn number(text: &str, label: &str) -> Option<f64> {
    text.lines().find_map(|line| line.trim_start().strip_prefix(label)?.split_whitespace().next()?.parse().ok())
}

fn read_wrk(said: &str) -> Option<Outcome> {
    let requests = said.lines().find_map(|line| line.split_once(" requests in ")?.0.trim().parse().ok())?;
    let socket_errors = said.lines().find_map(|line| line.trim_start().strip_prefix("Socket errors:"));
    let socket_errors: u64 = socket_errors
        .map(|list| list.split([' ', ',']).filter_map(|word| word.parse::<u64>().ok()).sum())
        .unwrap_or_default();
    let refused = number(said, "Non-2xx or 3xx responses:").unwrap_or_default() as u64;
    Some(Outcome { requests, errors: socket_errors + refused, rate: number(said, "Requests/sec:")? })
}

fn read_ab(said: &str) -> Option<Outcome> {
    let failed = number(said, "Failed requests:")? as u64;
    let refused = number(said, "Non-2xx responses:").unwrap_or_default() as u64;
    Some(Outcome {
        requests: number(said, "Complete requests:")? as u64,
        errors: failed + refused,
        rate: number(said, "Requests per second:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrk_counts_requests_and_every_kind_of_error() {
        let good = "Running 2s test @ http://10.77.0.2/\n  1 threads and 32 connections\n  Thread Stats   Avg\n    \
                    Latency     1.00ms\n  90012 requests in 2.10s, 16.1MB read\nRequests/sec:  42861.90\n";
        assert_eq!(read_wrk(good), Some(Outcome { requests: 90_012, errors: 0, rate: 42_861.9 }));
        let bad =
            format!("{good}  Socket errors: connect 1, read 2, write 0, timeout 4\n  Non-2xx or 3xx responses: 10\n");
        assert_eq!(read_wrk(&bad).unwrap().errors, 17);
    }

    #[test]
    fn ab_counts_requests_and_every_kind_of_error() {
        let good = "Concurrency Level:      32\nComplete requests:      5000\nFailed requests:        0\n\
                    Requests per second:    2010.55 [#/sec] (mean)\n";
        assert_eq!(read_ab(good), Some(Outcome { requests: 5000, errors: 0, rate: 2010.55 }));
        let bad = good.replace("requests:        0", "requests:        3\nNon-2xx responses:      4");
        assert_eq!(read_ab(&bad).unwrap().errors, 7);
    }

    #[test]
    fn anything_else_is_no_outcome() {
        assert_eq!(read_wrk("unable to connect"), None);
        assert_eq!(read_ab("apr_socket_recv: Connection refused (111)"), None);
    }
}
