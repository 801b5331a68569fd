//! A crowd of clients in one thread: so many connections, each with one request under way at any time (a closed loop).
//!
//! `wrk` and `ab` count from their start, opening included, and cut off what is under way at their end. With few connections that
//! is nothing; with a thousand, and a slow server, it is most of what happens. A [`Crowd`] stays open from run to run, and a run
//! ends when all that was asked has been answered: whatever a guest does in it, it does for requests that are counted.

use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use weir_meter::lab::load::Outcome;

use crate::client::{body_len, end_of_head};
use crate::matrix::Reuse;

/// Time for the answers that are under way at the end of a run; those that do not come are errors.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);

/// Events taken at a time.
const EVENTS: usize = 256;

/// The clients.
#[derive(Debug)]
pub struct Crowd {
    at: SocketAddrV4,
    request: String,
    reuse: Reuse,
    clients: Vec<Client>,
    epoll: OwnedFd,
}

/// One connection and what it waits for.
#[derive(Debug, Default)]
struct Client {
    stream: Option<TcpStream>,
    state: State,
    /// The answer's head, as far as it is here.
    head: Vec<u8>,
}

/// What a client waits for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing.
    #[default]
    Idle,
    /// That the connection opens.
    Opening,
    /// The end of the answer's head.
    Head,
    /// So many bytes of its body.
    Body(usize),
    /// That the server closes.
    Close,
}

impl Crowd {
    /// Clients that will ask for a path at a server; none is connected yet.
    ///
    /// # Errors
    /// When the system has no more of something.
    pub fn new(at: SocketAddrV4, path: &str, connections: u32, reuse: Reuse) -> io::Result<Self> {
        let close = if reuse == Reuse::PerRequest { "Connection: close\r\n" } else { "" };
        let request = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\n{close}\r\n");
        let clients = (0..connections).map(|_| Client::default()).collect();
        Ok(Self { at, request, reuse, clients, epoll: epoll::create(epoll::CreateFlags::CLOEXEC)? })
    }

    /// Every client asks, again and again until the time is over, at least once; ends when all have their answers.
    ///
    /// # Errors
    /// When the system does not do what it is asked for; what the server does wrong is counted.
    pub fn run(&mut self, length: Duration) -> io::Result<Outcome> {
        let start = Instant::now();
        let mut tally = Tally { end: start + length, under_way: 0, outcome: Outcome::default() };
        for index in 0..self.clients.len() {
            self.ask(index, &mut tally)?;
        }
        let mut events = Vec::with_capacity(EVENTS);
        let mut buffer = vec![0; 256 << 10];
        let limit = tally.end + DRAIN_LIMIT;
        while tally.under_way > 0 && Instant::now() < limit {
            let second = Timespec { tv_sec: 1, tv_nsec: 0 };
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&second)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in events.drain(..) {
                self.on_event(event.data.u64() as usize, &mut buffer, &mut tally)?;
            }
        }
        // Who has waited in vain begins anew the next time.
        self.clients
            .iter_mut()
            .filter(|client| client.state != State::Idle)
            .for_each(|client| *client = Client::default());
        tally.outcome.errors += tally.under_way;
        tally.outcome.rate = tally.outcome.requests as f64 / start.elapsed().as_secs_f64();
        Ok(tally.outcome)
    }

    /// Sends a request on an open connection, or opens one first.
    fn ask(&mut self, index: usize, tally: &mut Tally) -> io::Result<()> {
        let client = &mut self.clients[index];
        tally.under_way += 1;
        if let Some(stream) = &client.stream {
            client.state = State::Head;
            let sent = (&*stream).write_all(self.request.as_bytes());
            return if sent.is_ok() { Ok(()) } else { self.failed(index, tally) };
        }
        let socket =
            socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
        match connect(&socket, &self.at) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(index as u64), flags)?;
        *client = Client { stream: Some(socket.into()), state: State::Opening, head: Vec::new() };
        Ok(())
    }

    /// Something has happened on a connection: reads all there is, since it is told once.
    fn on_event(&mut self, index: usize, buffer: &mut [u8], tally: &mut Tally) -> io::Result<()> {
        let client = &mut self.clients[index];
        if client.state == State::Opening {
            let sent = client.stream.as_mut().map(|stream| match stream.take_error() {
                Ok(None) => stream.write_all(self.request.as_bytes()),
                Ok(Some(error)) | Err(error) => Err(error),
            });
            client.state = State::Head;
            if sent.is_none_or(|sent| sent.is_err()) {
                return self.failed(index, tally);
            }
        }
        loop {
            let client = &mut self.clients[index];
            let Some(stream) = &mut client.stream else { return Ok(()) };
            match stream.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ if client.state == State::Idle => {
                    // The server does not want to wait for the next request.
                    *client = Client::default();
                    return Ok(());
                }
                Ok(0) if client.state == State::Close => {
                    *client = Client::default();
                    return self.answered(index, tally);
                }
                Ok(len) if len > 0 && client.take(&buffer[..len]) => {
                    if client.state == State::Idle && self.reuse == Reuse::PerRequest {
                        client.state = State::Close;
                    } else if client.state == State::Idle {
                        // Nothing else can be there: it has not been asked for.
                        return self.answered(index, tally);
                    }
                }
                Ok(_) | Err(_) => return self.failed(index, tally),
            }
        }
    }

    fn answered(&mut self, index: usize, tally: &mut Tally) -> io::Result<()> {
        tally.outcome.requests += 1;
        self.go_on(index, tally)
    }

    /// Closes the connection; the next request has another.
    fn failed(&mut self, index: usize, tally: &mut Tally) -> io::Result<()> {
        self.clients[index] = Client::default();
        tally.outcome.errors += 1;
        self.go_on(index, tally)
    }

    fn go_on(&mut self, index: usize, tally: &mut Tally) -> io::Result<()> {
        tally.under_way -= 1;
        if Instant::now() < tally.end { self.ask(index, tally) } else { Ok(()) }
    }
}

/// A run under way.
struct Tally {
    end: Instant,
    under_way: u64,
    outcome: Outcome,
}

impl Client {
    /// Takes bytes of an answer; `false` if they are none of a good one. Idle when it is whole.
    fn take(&mut self, mut bytes: &[u8]) -> bool {
        if self.state == State::Head {
            let searched = self.head.len();
            self.head.extend_from_slice(bytes);
            let Some(end) = end_of_head(&self.head, searched) else { return true };
            let Some(len) = body_len(&self.head[..end]) else { return false };
            bytes = &bytes[end - searched..];
            self.head.clear();
            self.state = State::Body(len);
        }
        let State::Body(missing) = self.state else { return false };
        if bytes.len() > missing {
            return false;
        }
        self.state = if bytes.len() == missing { State::Idle } else { State::Body(missing - bytes.len()) };
        true
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

    /// A server that sends its answers in pieces, and counts them and its connections.
    fn server(answer: &'static [u8], reuse: Reuse) -> (SocketAddrV4, Arc<[AtomicU64; 2]>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = SocketAddrV4::new(Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port());
        let counters: Arc<[AtomicU64; 2]> = Arc::default();
        let told = Arc::clone(&counters);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                counters[0].fetch_add(1, Ordering::Relaxed);
                let counters = Arc::clone(&counters);
                thread::spawn(move || serve(stream, answer, reuse, &counters[1]));
            }
        });
        (at, told)
    }

    fn serve(mut stream: TcpStream, answer: &[u8], reuse: Reuse, answers: &AtomicU64) {
        let mut buffer = [0; 1024];
        while stream.read(&mut buffer).is_ok_and(|len| len > 0) {
            for piece in answer.chunks(20) {
                stream.write_all(piece).unwrap();
            }
            answers.fetch_add(1, Ordering::Relaxed);
            if reuse == Reuse::PerRequest {
                return;
            }
        }
    }

    #[test]
    fn every_request_of_a_run_is_answered_in_it() {
        for reuse in Reuse::ALL {
            let (at, counters) = server(ANSWER, reuse);
            let mut crowd = Crowd::new(at, "/", 8, reuse).unwrap();
            let first = crowd.run(Duration::ZERO).unwrap();
            assert_eq!((first.requests, first.errors), (8, 0), "{reuse:?}: each asks once");
            let second = crowd.run(Duration::from_millis(100)).unwrap();
            assert!(second.requests > 8 && second.errors == 0, "{reuse:?}: {second:?}");
            let [connections, answers] = [0, 1].map(|index| counters[index].load(Ordering::Relaxed));
            assert_eq!(answers, first.requests + second.requests, "{reuse:?}");
            assert_eq!(connections, if reuse == Reuse::KeepAlive { 8 } else { answers }, "{reuse:?}");
        }
    }

    #[test]
    fn what_is_no_good_answer_is_an_error() {
        for answer in [&b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"[..], b"", b"HTTP/1.1 200 OK\r\n", ANSWER] {
            let (at, _) = server(answer, Reuse::PerRequest);
            let path = if answer == ANSWER { "/" } else { "/bad" };
            let outcome = Crowd::new(at, path, 4, Reuse::PerRequest).unwrap().run(Duration::ZERO).unwrap();
            let good = u64::from(answer == ANSWER) * 4;
            assert_eq!((outcome.requests, outcome.errors), (good, 4 - good), "{}", String::from_utf8_lossy(answer));
        }
    }

    #[test]
    fn nobody_who_listens_is_an_error_of_each() {
        let at = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut crowd = Crowd::new(SocketAddrV4::new(Ipv4Addr::LOCALHOST, at), "/", 3, Reuse::KeepAlive).unwrap();
        let outcome = crowd.run(Duration::ZERO).unwrap();
        assert_eq!((outcome.requests, outcome.errors), (0, 3));
    }
}
