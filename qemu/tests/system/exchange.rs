//! Exchanges that do not go as usual: clients that say much at once, wait or fall silent, and servers that stop anywhere.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddrV4};
use std::time::{Duration, Instant};

use crate::backend::{self, Peer};
use crate::guest::Guest;
use crate::metrics::{self, Metrics};
use crate::proxy::{PORTS, balancer};
use crate::serve::boot_two;
use crate::tap::Tap;
use crate::{Tested, Tests, ensure, http};

pub const TESTS: Tests = &[
    ("exchange::clients_may_say_much_at_once_and_wait", || with_guest(clients)),
    ("exchange::servers_may_stop_anywhere", || with_guest(servers)),
    ("exchange::a_long_request_has_a_whole_line", a_long_request_has_a_whole_line),
];

/// Requests in one write.
const PIPELINED: usize = 20;

/// Bytes of a body that is longer than the limit, and than what windows and buffers hold.
const REFUSED_LEN: usize = 8 << 20;

/// Time for a counter to move.
const COUNT_LIMIT: Duration = Duration::from_secs(10);

/// A response that promises ten bytes and has five.
const HALF: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
const TOO_LARGE: &[u8] = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno\n";

/// Port 80 forwards requests, port 81 bytes; both to the same server.
fn config(tap: &Tap) -> String {
    format!(
        "[timeouts]\nfirst_byte = \"1s\"\ninactivity = \"1s\"\n\n[limits]\nbody = \"1MiB\"\n\n{}\n[[listener]]\nname = \"raw\"\nprotocol = \"tcp\"\n\
         bind = \"0.0.0.0:81\"\n\n[[listener.route]]\npool = \"p\"\n",
        balancer(tap, &PORTS[..1])
    )
}

fn with_guest(test: fn(&Tap) -> Tested) -> Tested {
    let (mut guest, tap): (Guest, Tap) = boot_two(config)?;
    backend::start(SocketAddrV4::new(tap.host(), PORTS[0]), serve)?;
    test(&tap).map_err(|error| guest.report(&format!("{error}\n{}", metrics::incidents(tap.at(9000)))))?;
    guest.still_runs()
}

/// On the console, where other lines are shorter: who sends a long target does not hide what became of it.
fn a_long_request_has_a_whole_line() -> Tested {
    let (mut guest, tap) = boot_two(|tap| format!("[log]\naccess = \"console\"\n\n{}", config(tap)))?;
    http::get(tap.at(80), &format!("/{}", "a".repeat(4_000)))?;
    let line = guest.wait_for(&["weir: access {"], COUNT_LIMIT)?;
    let (_, end) = line.rsplit_once(",\"status\":502,").unwrap_or_default();
    ensure(end.ends_with(",\"end\":\"SC\"}"), || format!("not a whole line: {line}"))?;
    guest.still_runs()
}

fn ok(body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

/// Does what a path names; any other is its own answer.
fn serve(peer: &mut Peer) -> Tested {
    while let Some(head) = peer.head()? {
        let path = head.split(' ').nth(1).unwrap_or_default();
        match path {
            "/excess" => peer.say(&[ok(b"good"), ok(b"evil")].concat())?,
            "/continue" => {
                peer.say(b"HTTP/1.1 100 Continue\r\n\r\n")?;
                let body = peer.body(5)?;
                peer.say(&ok(&body))?;
            }
            "/echo" => {
                // A tunnel's bytes up to their end, answered after it.
                let rest = peer.rest();
                return peer.say(&[b"got ", &rest[..]].concat());
            }
            "/refuse" | "/early" => {
                peer.say(TOO_LARGE)?;
                peer.rest();
                return Ok(());
            }
            "/leave" => return peer.say(&ok(b"good")),
            "/silent" | "/gone" | "/reset" => {
                if path == "/silent" {
                    peer.rest();
                }
                return if path == "/reset" { peer.reset() } else { Ok(()) };
            }
            "/head-gone" | "/head-reset" | "/head-silent" => peer.say(b"HTTP/1.1 200 OK\r\nConte")?,
            "/body-gone" | "/body-reset" | "/body-silent" => peer.say(HALF)?,
            path => peer.say(&ok(path.as_bytes()))?,
        }
        match path.split_once('-').unwrap_or_default().1 {
            "gone" => return Ok(()),
            "reset" => return peer.reset(),
            "silent" => {
                peer.rest();
                return Ok(());
            }
            _ => {}
        }
    }
    Ok(())
}

fn clients(tap: &Tap) -> Tested {
    pipelined(tap)?;
    expecting(tap)?;
    early_response(tap)?;
    refused_body(tap)?;
    half_closed(tap)
}

/// Twenty requests in one write: as many answers, in order.
fn pipelined(tap: &Tap) -> Tested {
    let request = |n: usize| {
        let end = if n + 1 == PIPELINED { "Connection: close\r\n" } else { "" };
        format!("GET /{n} HTTP/1.1\r\nHost: a\r\n{end}\r\n")
    };
    let requests: String = (0..PIPELINED).map(request).collect();
    let first = http::exchange(tap.at(80), requests.as_bytes())?;
    let text = format!("{}\r\n\r\n{}", first.head, first.text());
    let bodies: Vec<&str> =
        text.split("\r\n\r\n").skip(1).map(|part| part.split("HTTP/1.1").next().unwrap_or("")).collect();
    let wanted: Vec<String> = (0..PIPELINED).map(|n| format!("/{n}")).collect();
    ensure(bodies == wanted, || format!("{bodies:?}"))
}

/// `Expect: 100-continue`: the server's word is the client's, whether it is to go on or not.
fn expecting(tap: &Tap) -> Tested {
    let ask = |path: &str| {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        );
        http::connect(tap.at(80), head.as_bytes())
    };
    let mut stream = ask("/continue")?;
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).map_err(|error| format!("100 Continue: {error}"))?;
    ensure(&interim == b"HTTP/1.1 100 Continue\r\n\r\n", || interim.escape_ascii().to_string())?;
    stream.write_all(b"hello")?;
    let answer = http::finish(stream)?;
    ensure(answer.status == 200 && answer.text() == "hello", || format!("{}\n{}", answer.head, answer.text()))?;
    let answer = http::finish(ask("/refuse")?)?;
    ensure(answer.status == 413 && answer.text() == "no\n", || format!("{}\n{}", answer.head, answer.text()))
}

/// The server answers before it has the body: the client gets that, and the end; nobody else gets the rest of the body.
fn early_response(tap: &Tap) -> Tested {
    let head = b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nsome";
    let answer = http::exchange(tap.at(80), head)?;
    ensure(answer.status == 413 && answer.text() == "no\n", || format!("{}\n{}", answer.head, answer.text()))?;
    good(tap)
}

/// A body that is too long is refused at once. A client that sends all of it and only then looks gets the answer all the same: no
/// reset comes before it.
fn refused_body(tap: &Tap) -> Tested {
    let head = format!("POST /good HTTP/1.1\r\nHost: a\r\nContent-Length: {REFUSED_LEN}\r\n\r\n");
    let mut stream = http::connect(tap.at(80), head.as_bytes())?;
    stream.write_all(&vec![b'x'; REFUSED_LEN]).map_err(|error| format!("a body that is refused: {error}"))?;
    let answer = http::finish(stream)?;
    ensure(answer.status == 413, || format!("{}\n{}", answer.head, answer.text()))?;
    good(tap)
}

/// A client may say that it has no more to say, and is answered: a request, and what came through a tunnel.
fn half_closed(tap: &Tap) -> Tested {
    for (port, request, wanted) in [
        (80, &b"GET /half HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"[..], "/half"),
        (81, b"GET /echo HTTP/1.1\r\n\r\nto the end", "got to the end"),
    ] {
        let mut stream = http::connect(tap.at(port), request)?;
        stream.shutdown(Shutdown::Write)?;
        let mut text = String::new();
        stream.read_to_string(&mut text).map_err(|error| format!("half-closed at port {port}: {error}"))?;
        ensure(text.ends_with(wanted), || format!("half-closed at port {port}: {text:?}"))?;
    }
    Ok(())
}

/// A request that has nothing to do with the one before.
fn good(tap: &Tap) -> Tested {
    let answer = http::get(tap.at(80), "/good")?;
    // The server says no date; the machine does.
    let is_right = answer.text() == "/good" && answer.head.contains("\r\nDate: ");
    ensure(answer.status == 200 && is_right, || format!("{}\n{}", answer.head, answer.text()))
}

/// A server that stops in each phase of an exchange, and what its client is told. The next client notices nothing.
fn servers(tap: &Tap) -> Tested {
    for (path, status, incident) in [
        ("/gone", 502, "server_gone"),
        ("/reset", 502, "server_gone"),
        ("/silent", 504, "first_byte_timeout"),
        ("/head-gone", 502, "server_gone"),
        ("/head-reset", 502, "server_gone"),
        ("/head-silent", 504, "first_byte_timeout"),
        ("/body-gone", 200, "server_gone"),
        ("/body-reset", 200, "server_gone"),
        ("/body-silent", 200, "server_timeout"),
    ] {
        stops(tap, path, status, incident).map_err(|error| format!("{path}: {error}"))?;
        good(tap).map_err(|error| format!("after {path}: {error}"))?;
    }
    // What is beyond a response is nobody's, and a connection that ended while it was idle is not used.
    for (path, incident) in [("/excess", "excess_bytes"), ("/leave", "")] {
        let before = Metrics::read(tap.at(9000))?;
        let answer = http::get(tap.at(80), path)?;
        ensure(answer.status == 200 && answer.text() == "good", || {
            format!("{path}: {}\n{}", answer.head, answer.text())
        })?;
        good(tap).map_err(|error| format!("after {path}: {error}"))?;
        is_counted(tap, &before, incident).map_err(|error| format!("{path}: {error}"))?;
    }
    Ok(())
}

/// Asks for what stops: the answer has this status. What came of a body comes to the client too, and then the end in good order: its
/// length says that it was not all. A reset that comes in the same burst as what it breaks off takes that along: then nothing was
/// forwarded, and the client is told so.
fn stops(tap: &Tap, path: &str, status: u16, incident: &str) -> Tested {
    let before = Metrics::read(tap.at(9000))?;
    let answer = http::get(tap.at(80), path)?;
    let is_half = answer.head.to_ascii_lowercase().contains("content-length: 10") && answer.text() == "hello";
    let is_overtaken = path == "/body-reset" && answer.status == 502;
    let is_right = answer.status == status && (status != 200 || is_half);
    ensure(is_right || is_overtaken, || format!("{}\n{}", answer.head, answer.text()))?;
    is_counted(tap, &before, incident)
}

fn is_counted(tap: &Tap, before: &Metrics, incident: &str) -> Tested {
    if incident.is_empty() {
        return Ok(());
    }
    let count = |now: &Metrics| now.labelled("weir_incidents_total", &format!("reason=\"{incident}\""));
    let deadline = Instant::now() + COUNT_LIMIT;
    // Figures of the other core come by message.
    while count(&Metrics::read(tap.at(9000))?) == count(before) {
        ensure(Instant::now() < deadline, || format!("no {incident} was counted"))?;
    }
    Ok(())
}
