//! A small HTTP client: one request, or requests that are due at given times whatever the answers do (an open loop).
//!
//! A closed loop waits for an answer before it asks again, and so asks least when the server is slow. Here each request has a
//! time at which it is due, and its latency counts from then, also while it waits for a connection to become free.

use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Longest head that is read, in bytes.
const HEAD_LEN_MAX: usize = 16 << 10;

/// Asks once on a connection of its own and returns the length of the body.
///
/// # Errors
/// When there is no answer in time, or none of success.
pub fn get(at: SocketAddrV4, path: &str, limit: Duration) -> io::Result<usize> {
    let stream = connect(at, limit)?;
    ask(&stream, at, path)
}

/// A connection on which neither side waits for long.
///
/// # Errors
/// When nobody answers in time.
pub fn connect(at: SocketAddrV4, limit: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&at.into(), limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Asks on a connection and reads the whole answer, whose body has a known length.
///
/// # Errors
/// When the connection fails, or the answer is none of success.
pub fn ask(mut stream: &TcpStream, at: SocketAddrV4, path: &str) -> io::Result<usize> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {at}\r\n\r\n").as_bytes())?;
    let mut buffer = vec![0; 256 << 10];
    let mut len = 0;
    let head_len = loop {
        let read = stream.read(&mut buffer[len..HEAD_LEN_MAX])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let before = len;
        len += read;
        if let Some(end) = end_of_head(&buffer[..len], before) {
            break end;
        }
    };
    let body_len = body_len(&buffer[..head_len]).ok_or(io::ErrorKind::InvalidData)?;
    let mut missing = body_len.saturating_sub(len - head_len);
    while missing > 0 {
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => missing = missing.saturating_sub(read),
        }
    }
    Ok(body_len)
}

pub(crate) fn end_of_head(bytes: &[u8], searched: usize) -> Option<usize> {
    let from = searched.saturating_sub(3);
    bytes[from..].windows(4).position(|window| window == b"\r\n\r\n").map(|place| from + place + 4)
}

/// The length that the head of a successful answer announces.
pub(crate) fn body_len(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head).ok()?;
    let status = head.split(' ').nth(1)?;
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    };
    status.starts_with('2').then(|| head.lines().find_map(field))?
}

/// What is asked, how often, from how many connections, and for how long.
#[derive(Debug, Clone)]
pub struct OpenLoop {
    /// Where.
    pub at: SocketAddrV4,
    /// What.
    pub path: String,
    /// Requests per second.
    pub rate: f64,
    /// Connections that share them.
    pub connections: u32,
    /// How long.
    pub length: Duration,
}

/// Latencies in microseconds, sorted, and requests that failed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Latencies {
    /// Of those that were answered.
    pub micros: Vec<f64>,
    /// How many were not.
    pub errors: u64,
}

/// Time after which an answer counts as an error.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

impl OpenLoop {
    /// Asks. Each connection has a thread and every n-th request.
    #[must_use]
    pub fn run(&self) -> Latencies {
        let start = Instant::now() + Duration::from_millis(100);
        let threads: Vec<_> = (0..self.connections)
            .map(|index| {
                let own = self.clone();
                thread::spawn(move || own.ask_in_time(start, index))
            })
            .collect();
        let mut all = Latencies::default();
        for latencies in threads.into_iter().filter_map(|thread| thread.join().ok()) {
            all.micros.extend(latencies.micros);
            all.errors += latencies.errors;
        }
        all.micros.sort_by(f64::total_cmp);
        all
    }

    fn ask_in_time(&self, start: Instant, index: u32) -> Latencies {
        let mut latencies = Latencies::default();
        let mut stream = connect(self.at, ANSWER_LIMIT).ok();
        for due in self.due_times(index) {
            let due = start + due;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if stream.is_none() {
                stream = connect(self.at, ANSWER_LIMIT).ok();
            }
            let answer = stream.as_ref().map(|stream| ask(stream, self.at, &self.path));
            if matches!(answer, Some(Ok(_))) {
                latencies.micros.push(due.elapsed().as_secs_f64() * 1e6);
            } else {
                latencies.errors += 1;
                stream = None;
            }
        }
        latencies
    }

    /// When the requests of one connection are due.
    fn due_times(&self, index: u32) -> impl Iterator<Item = Duration> {
        let (rate, connections) = (self.rate, f64::from(self.connections));
        let times = (0_u32..).map(move |turn| (f64::from(turn) * connections + f64::from(index)) / rate);
        times.map(Duration::from_secs_f64).take_while(|time| *time < self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    fn open_loop(at: SocketAddrV4, rate: f64, connections: u32) -> OpenLoop {
        OpenLoop { at, path: "/".into(), rate, connections, length: Duration::from_millis(500) }
    }

    /// A server that lets each connection's second request wait.
    fn slow_server(wait: Duration) -> SocketAddrV4 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || serve(stream, wait));
            }
        });
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
    }

    fn serve(mut stream: TcpStream, wait: Duration) {
        let mut buffer = [0; 1024];
        let mut turn = 0;
        while stream.read(&mut buffer).is_ok_and(|len| len > 0) {
            if turn == 1 {
                thread::sleep(wait);
            }
            turn += 1;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    }

    #[test]
    fn requests_are_due_in_turn() {
        let at = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);
        let times: Vec<Vec<u128>> =
            (0..2).map(|i| open_loop(at, 8.0, 2).due_times(i).map(|time| time.as_millis()).collect()).collect();
        assert_eq!(times, [[0, 250], [125, 375]]);
    }

    #[test]
    fn a_server_that_stops_for_a_moment_delays_all_that_was_due() {
        let wait = Duration::from_millis(200);
        let latencies = open_loop(slow_server(wait), 100.0, 1).run();
        assert_eq!((latencies.micros.len(), latencies.errors), (50, 0));
        // A closed loop would have seen one slow answer; here the twenty that were due meanwhile were late as well.
        let late = latencies.micros.iter().filter(|micros| **micros > 50_000.0).count();
        assert!(late >= 10, "{latencies:?}");
    }

    #[test]
    fn answers_are_read_whole_and_refusals_are_errors() {
        let at = slow_server(Duration::ZERO);
        assert_eq!(get(at, "/", Duration::from_secs(1)).unwrap(), 2);
        assert_eq!(body_len(b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n"), Some(17));
        assert_eq!(body_len(b"HTTP/1.1 503 No\r\nContent-Length: 17\r\n\r\n"), None);
        assert_eq!(body_len(b"nonsense"), None);
    }
}
