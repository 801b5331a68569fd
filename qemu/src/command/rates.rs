//! Requests per second, from the guest's metrics page.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(1);

/// Time for one look; also the longest wait for a byte.
const LOOK_TIMEOUT: Duration = Duration::from_millis(800);

/// Longest page that is read, in bytes.
const PAGE_LEN_MAX: u64 = 4 << 20;

/// The counter: one line per core and listener.
const COUNTER: &str = "weir_requests_total";

/// The listener that our own questions go to.
const NOT_COUNTED: &str = "listener=\"admin\"";

/// Prints a line per second, in a thread of its own, until the process ends.
pub fn print_from(address: SocketAddr) {
    thread::spawn(move || {
        let (_never, ticks) = mpsc::channel::<()>();
        let mut last = total(address).map(|total| (total, Instant::now()));
        loop {
            let _ = ticks.recv_timeout(PERIOD);
            let now = total(address).map(|total| (total, Instant::now()));
            match (last, now) {
                (Some((before, then)), Some((after, now))) => {
                    let rate = after.saturating_sub(before) as f64 / now.duration_since(then).as_secs_f64();
                    let _ = super::print(&format!("Request/s {rate:.0}, total {after}\n"));
                }
                _ => eprintln!("weir: the metrics page at {address} does not answer"),
            }
            last = now;
        }
    });
}

fn total(address: SocketAddr) -> Option<u64> {
    let mut stream = TcpStream::connect_timeout(&address, LOOK_TIMEOUT).ok()?;
    stream.set_read_timeout(Some(LOOK_TIMEOUT)).ok()?;
    stream.set_write_timeout(Some(LOOK_TIMEOUT)).ok()?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut page = String::new();
    stream.take(PAGE_LEN_MAX).read_to_string(&mut page).ok()?;
    sum(&page, COUNTER)
}

/// Sums a counter over its labels; `None` if the page does not have it.
fn sum(page: &str, name: &str) -> Option<u64> {
    let lines = page.lines().filter_map(|line| line.strip_prefix(name)).filter(|rest| rest.starts_with(['{', ' ']));
    let values = lines
        .filter(|rest| !rest.contains(NOT_COUNTED))
        .filter_map(|rest| rest.rsplit(' ').next()?.parse::<u64>().ok());
    values.fold(None, |sum, value| Some(sum.unwrap_or(0) + value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_summed_over_the_cores() {
        let page = "# HELP weir_requests_total x\nweir_requests_total{core=\"0\"} 12\nweir_requests_total{core=\"1\",listener=\"web\"} 30\n\
                    weir_requests_total{core=\"0\",listener=\"admin\"} 9\n\
                    weir_requests_total_other{core=\"0\"} 7\n";
        assert_eq!(sum(page, COUNTER), Some(42));
        assert_eq!(sum("nothing here 1\n", COUNTER), None);
    }
}
