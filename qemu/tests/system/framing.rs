//! The framing rules, each row against a running machine: no bad message gets past it, and nobody else is hurt.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use weir_http1::Reject;

use crate::backend::{self, Peer};
use crate::guest::Guest;
use crate::metrics::Metrics;
use crate::proxy::{PORTS, balancer};
use crate::serve::boot_two;
use crate::tap::Tap;
use crate::{Failed, Tested, Tests, ensure, http, metrics};

/// The rows that the parser's own tests go through.
#[path = "../../../apps/http1/src/tests/rows.rs"]
mod rows;

pub const TESTS: Tests = &[("framing::every_row_is_refused_and_hurts_nobody_else", every_row)];

/// Ports of the listener that forwards, and of the one that answers by itself.
const PROXY: u16 = 80;
const SERVER: u16 = 81;

/// Time for the server to see what Weir has done.
const EVENT_LIMIT: Duration = Duration::from_secs(10);

/// What a bad request pretends to be followed by.
const SMUGGLED: &[u8] = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

const CHUNKED_REQUEST: &[u8] = b"POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
const CHUNKED_RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ngood\n";
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Every so manieth row comes once more, byte by byte.
const CUT_EVERY: usize = 4;

/// What the server behind saw.
enum Event {
    /// A head; this is its first line.
    Asked(String),
    /// The end of a connection, and what came before it, behind the last head.
    Ended(Vec<u8>),
}

fn config(tap: &Tap) -> String {
    format!(
        "{}\n[[listener]]\nname = \"server\"\nbind = \"0.0.0.0:{SERVER}\"\n\n\
         [[listener.route]]\nrespond = {{ body = \"good\\n\" }}\n",
        balancer(tap, &PORTS[..1])
    )
}

fn every_row() -> Tested {
    let (mut guest, tap) = boot_two(config)?;
    let (sender, events) = mpsc::channel();
    backend::start(SocketAddrV4::new(tap.host(), PORTS[0]), move |peer| serve(peer, &sender))?;
    let mut table = Table { tap, events, counts: BTreeMap::new(), bad_responses: 0 };
    let before = Metrics::read(table.tap.at(9000))?;
    let tested = table.requests().and_then(|()| table.chunked_requests()).and_then(|()| table.responses());
    tested.map_err(|error| guest.report(&error.to_string()))?;
    table.are_counted(&mut guest, &before)?;
    guest.still_runs()
}

/// Says what a path names: `/good`, or a row of a table and the size of the pieces that it comes in.
fn serve(peer: &mut Peer, events: &Sender<Event>) -> Tested {
    while let Some(head) = peer.head()? {
        events.send(Event::Asked(head.lines().next().unwrap_or_default().into()))?;
        let path: Vec<&str> = head.split(' ').nth(1).unwrap_or_default().split('/').skip(1).collect();
        let bytes = match path[..] {
            ["good"] => {
                peer.say(GOOD)?;
                continue;
            }
            ["response", row, _] => rows::RESPONSES[row.parse::<usize>()?].1.as_bytes().to_vec(),
            ["chunked", row, _] => [CHUNKED_RESPONSE, rows::CHUNKED[row.parse::<usize>()?].1].concat(),
            _ => Vec::new(),
        };
        let piece_len = path.get(2).map_or(Ok(1), |text| text.parse())?;
        // Weir may have had enough before the end.
        let _ = peer.say_in(piece_len, &bytes);
        events.send(Event::Ended(peer.rest()))?;
        break;
    }
    Ok(())
}

/// Rows that take more room than a table has, and those of what a request asks for.
fn limits() -> Vec<(Reject, Vec<u8>)> {
    let get = |target: &str, fields: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes();
    vec![
        (Reject::TargetTooLong, get(&format!("/{}", "x".repeat(8 << 10)), "")),
        (Reject::HeadTooLarge, get("/", &format!("B: {}\r\n", "x".repeat(16 << 10)))),
        (Reject::TooManyFields, get("/", &"B: c\r\n".repeat(100))),
        (Reject::BodyTooLarge, get("/", &format!("Content-Length: {}\r\n", (1 << 30) + 1))),
        (Reject::Connect, b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n".to_vec()),
    ]
}

/// The rows in front of a machine, and how often each reason was given to refuse one.
struct Table {
    tap: Tap,
    events: Receiver<Event>,
    counts: BTreeMap<&'static str, u64>,
    bad_responses: u64,
}

impl Table {
    /// Each bad head to both listeners: refused with its status, once, and nothing of it reaches the server.
    fn requests(&mut self) -> Tested {
        let rows = rows::REQUESTS.iter().map(|(reject, text)| (*reject, text.as_bytes().to_vec()));
        let rows: Vec<_> = rows.chain(limits()).collect();
        for port in [PROXY, SERVER] {
            let mut bystander = Bystander::new(self.tap.at(port))?;
            for (index, (reject, row)) in rows.iter().enumerate() {
                self.refused(port, *reject, &[row, SMUGGLED].concat(), usize::MAX)?;
                // Without the end of a line nobody knows that it is no head.
                if index.is_multiple_of(CUT_EVERY) && row.len() < 1000 && row.ends_with(b"\n") {
                    self.refused(port, *reject, row, 1)?;
                }
                bystander.ask()?;
            }
        }
        let brew = b"BREW /good HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let forwarded = http::exchange(self.tap.at(PROXY), brew)?;
        ensure(forwarded.status == 200, || format!("a method that nobody knows: {}", forwarded.head))?;
        self.refused(SERVER, Reject::MethodUnknown, brew, usize::MAX)?;
        let asked = self.events.try_iter().filter_map(|event| match event {
            Event::Asked(line) if line.ends_with(" /good HTTP/1.1") => None,
            Event::Asked(line) => Some(line),
            Event::Ended(_) => Some("the end of a connection".into()),
        });
        let asked: Vec<String> = asked.collect();
        ensure(asked.is_empty(), || format!("the server saw {asked:?}"))
    }

    /// Sends a row to a listener and reads to the end: a single response, with the status of its reason.
    fn refused(&mut self, port: u16, reject: Reject, row: &[u8], piece_len: usize) -> Tested {
        let what = || format!("port {port}, {reject}, {}", row[..row.len().min(200)].escape_ascii());
        let answer = tell(self.tap.at(port), row, piece_len).map_err(|error| format!("{}: {error}", what()))?;
        *self.counts.entry(reject.name()).or_default() += 1;
        let is_last = !answer.text().contains("HTTP/1.");
        ensure(answer.status == reject.status() && is_last, || {
            format!("{}, wanted {}: {}\n{}", what(), reject.status(), answer.head, answer.text())
        })
    }

    /// Each bad body: the server behind never gets the end of its request; the one that answered already ends the connection.
    fn chunked_requests(&mut self) -> Tested {
        let mut bystander = Bystander::new(self.tap.at(PROXY))?;
        for (index, (reject, row)) in rows::CHUNKED.iter().enumerate() {
            let what = |error: Failed| format!("{reject}, {}: {error}", row.escape_ascii());
            let message = [CHUNKED_REQUEST, row].concat();
            for piece_len in pieces(index) {
                self.refused(PROXY, *reject, &message, piece_len)?;
            }
            let answer = tell(self.tap.at(SERVER), &[&message, SMUGGLED].concat(), usize::MAX).map_err(what)?;
            ensure(answer.status == 200 && answer.text() == "good\n", || format!("{}{}", answer.head, answer.text()))
                .map_err(what)?;
            *self.counts.entry(reject.name()).or_default() += 1;
            bystander.ask()?;
        }
        // What came in one packet may have been refused before the server was asked.
        let mut open = 0;
        while let Ok(event) = self.events.recv_timeout(if open > 0 { EVENT_LIMIT } else { Duration::ZERO }) {
            match event {
                Event::Asked(line) => open += u32::from(line.contains(" /chunked ")),
                Event::Ended(rest) => {
                    open -= 1;
                    no_end(&rest)?;
                }
            }
        }
        ensure(open == 0, || format!("{open} connections of refused requests are open"))
    }

    /// Each bad response: 502, or a body that does not come to its end; the server's connection is closed.
    fn responses(&mut self) -> Tested {
        let mut bystander = Bystander::new(self.tap.at(PROXY))?;
        for (kind, count) in [("response", rows::RESPONSES.len()), ("chunked", rows::CHUNKED.len())] {
            for index in 0..count {
                for piece_len in pieces(index) {
                    let path = format!("/{kind}/{index}/{piece_len}");
                    self.bad_response(&path).map_err(|error| format!("{path}: {error}"))?;
                    self.bad_responses += 1;
                }
                bystander.ask()?;
            }
        }
        Ok(())
    }

    fn bad_response(&mut self, path: &str) -> Tested {
        let answer = http::get(self.tap.at(PROXY), path);
        if path.starts_with("/response/") {
            let answer = answer?;
            ensure(answer.status == 502, || answer.head)?;
        } else if let Ok(answer) = answer {
            // Its head was good; a reset says that the rest is not.
            let is_cut = answer.status == 200 && !answer.body.ends_with(LAST_CHUNK);
            ensure(is_cut, || format!("{}\n{}", answer.head, answer.text()))?;
        }
        loop {
            match self.events.recv_timeout(EVENT_LIMIT)? {
                Event::Asked(line) => {
                    let is_wanted = [path, "/good"].iter().any(|path| line.contains(&format!(" {path} ")));
                    ensure(is_wanted, || format!("the server was asked {line:?}"))?;
                }
                Event::Ended(rest) => return ensure(rest.is_empty(), || format!("then came {}", rest.escape_ascii())),
            }
        }
    }

    /// Each refusal is counted under its reason.
    fn are_counted(&self, guest: &mut Guest, before: &Metrics) -> Tested {
        let more = |now: &Metrics, metric: &str, reason: &str| {
            let [before, now] = [before, now].map(|page| page.labelled(metric, &format!("reason=\"{reason}\"")));
            now - before
        };
        let are_right = |now: &Metrics| {
            self.counts.iter().all(|(name, count)| more(now, "weir_rejects_total", name) == *count)
                && more(now, "weir_incidents_total", "bad_response") == self.bad_responses
        };
        let counted = metrics::wait_until(guest, self.tap.at(9000), EVENT_LIMIT, are_right);
        let wanted = || format!("wanted {:?} and {} bad responses", self.counts, self.bad_responses);
        counted.map(drop).map_err(|error| format!("{}\n{error}", wanted()).into())
    }
}

/// What a server got behind the head of a refused request has no end.
fn no_end(rest: &[u8]) -> Tested {
    ensure(!rest.ends_with(LAST_CHUNK), || format!("the server got {}", rest.escape_ascii()))
}

/// The sizes of the pieces that a row comes in.
fn pieces(index: usize) -> Vec<usize> {
    if index.is_multiple_of(CUT_EVERY) { vec![1, usize::MAX] } else { vec![usize::MAX] }
}

/// Sends bytes in pieces, each a packet of its own, and reads to the end.
fn tell(to: SocketAddrV4, bytes: &[u8], piece_len: usize) -> Result<http::Response, Failed> {
    let mut stream = http::connect(to, b"")?;
    stream.set_nodelay(true)?;
    // The answer may come, and the connection end, before all is said.
    let _ = bytes.chunks(piece_len).try_for_each(|piece| stream.write_all(piece));
    http::finish(stream)
}

/// A client with a connection of its own, which is not to notice anything.
struct Bystander(TcpStream);

impl Bystander {
    fn new(to: SocketAddrV4) -> Result<Self, Failed> {
        http::connect(to, b"").map(Self)
    }

    fn ask(&mut self) -> Tested {
        self.0.write_all(b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n")?;
        let (mut answer, mut buffer) = (Vec::new(), [0; 1024]);
        while !answer.ends_with(b"\r\n\r\ngood\n") {
            let count = self.0.read(&mut buffer).map_err(|error| format!("a bystander: {error}"))?;
            ensure(count > 0, || format!("a bystander was cut off: {}", answer.escape_ascii()))?;
            answer.extend_from_slice(&buffer[..count]);
        }
        ensure(answer.starts_with(b"HTTP/1.1 200 "), || format!("a bystander: {}", answer.escape_ascii()))
    }
}
