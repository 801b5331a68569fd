//! Which server gets a request, and when: weights, likeness, failures and queues, on one core, so that counts are exact.

use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::backend;
use crate::guest::{Guest, Spec};
use crate::lab::command_line;
use crate::metrics::{self, Metrics};
use crate::serve::boot_two;
use crate::tap::Tap;
use crate::{Failed, Tested, Tests, ensure, http};

pub const TESTS: Tests = &[
    ("balance::requests_go_where_weights_and_likeness_say", || with_guest(choice)),
    ("balance::a_server_that_fails_is_left_alone_and_comes_back", || with_guest(ejection)),
    ("balance::requests_wait_in_order_for_a_busy_server", || with_guest(queue)),
    ("balance::curl_stays_with_its_server_by_cookie", || with_guest(sticky)),
    ("balance::a_server_that_came_back_gets_its_share_by_and_by", || with_guest(slow_start)),
    ("balance::cores_tell_each_other_of_their_load", cores_tell_each_other_of_their_load),
];

/// Servers that say their own port, and each of those with a fault.
const WELL: [u16; 3] = [8001, 8002, 8003];
const ILL: u16 = 8004;
const DYING: u16 = 8005;
const BUSY: u16 = 8006;
const LATE: u16 = 8007;

const IN_TURN: &str = "balance = \"round-robin\"";

/// Requests that wait at most.
const QUEUE_LENGTH: usize = 3;

/// Requests until each of two servers has had one, and the time for one of them to arrive there before another is made.
const TURNS: usize = 40;
const TURN: Duration = Duration::from_millis(250);

const STICKY: &str = "balance = \"round-robin\"\nsticky = { cookie = \"W\", secret = \"0123456789abcdef\" }";

/// How long a server is slow.
const SLOW_S: u64 = 6;

/// Time for what is awaited.
const LIMIT: Duration = Duration::from_secs(20);

/// A pool at the path of its name: `server` is a port and what else is said of it.
fn pool(tap: &Tap, name: &str, settings: &str, servers: &[(u16, &str)]) -> String {
    let mut text = format!("\n[[pool]]\nname = \"{name}\"\n{settings}\n");
    for (port, more) in servers {
        text += &format!("[[pool.server]]\nname = \"s{port}\"\naddress = \"{}:{port}\"\n{more}\n", tap.host());
    }
    text
}

fn config(tap: &Tap) -> String {
    let names = ["weights", "alike", "ill", "dying", "busy", "slow", "sticky"];
    let routes = names.map(|name| format!("[[listener.route]]\npath = \"/{name}\"\npool = \"{name}\"\n"));
    let [a, b, c] = WELL;
    [
        tap.config(),
        "[timeouts]\nqueue = \"4s\"\n\n[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\n".into(),
        routes.concat(),
        pool(tap, "weights", IN_TURN, &[(a, "weight = 3"), (b, ""), (c, "weight = 0")]),
        pool(tap, "alike", "balance = \"hash\"\nhash_on = \"header:X-User\"", &WELL.map(|port| (port, ""))),
        pool(tap, "ill", IN_TURN, &[(a, ""), (ILL, "")]),
        pool(tap, "dying", IN_TURN, &[(a, ""), (DYING, "")]),
        pool(tap, "slow", &format!("{IN_TURN}\nslow_start = \"{SLOW_S}s\""), &[(a, ""), (LATE, "")]),
        pool(tap, "sticky", STICKY, &WELL.map(|port| (port, ""))),
        pool(tap, "busy", &format!("queue_length = {QUEUE_LENGTH}"), &[(BUSY, "max_connections = 1")]),
    ]
    .concat()
}

fn with_guest(test: fn(&mut Guest, &Tap) -> Tested) -> Tested {
    let tap = Tap::new(1)?;
    let mut guest = Guest::boot(Spec { config: config(&tap), nic: tap.nic(), ..Spec::default() })?;
    WELL.iter().try_for_each(|&port| serve(&tap, port))?;
    let tested = test(&mut guest, &tap);
    tested.map_err(|error| guest.report(&format!("{error}\n{}", metrics::incidents(tap.at(9000)))))?;
    guest.still_runs()
}

/// A server that says its port.
fn serve(tap: &Tap, port: u16) -> Tested {
    backend::start(SocketAddrV4::new(tap.host(), port), move |peer| {
        while peer.head()?.is_some() {
            peer.say(&says(&port.to_string()))?;
        }
        Ok(())
    })
}

fn says(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// The port of the server that answered.
fn answered(tap: &Tap, path: &str, user: &str) -> Result<u16, Failed> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nX-User: {user}\r\nConnection: close\r\n\r\n");
    let answer = http::exchange(tap.at(80), request.as_bytes())?;
    ensure(answer.status == 200, || format!("{path}: {}", answer.head))?;
    Ok(answer.text().parse()?)
}

/// Three to one, nothing for the one that drains; and who is alike goes to the same server.
fn choice(_: &mut Guest, tap: &Tap) -> Tested {
    let ports = (0..80).map(|_| answered(tap, "/weights", "")).collect::<Result<Vec<_>, _>>()?;
    let counts = WELL.map(|port| ports.iter().filter(|&&other| other == port).count());
    ensure(counts == [60, 20, 0], || format!("requests by weights of 3, 1 and 0: {counts:?}"))?;
    let mut used = BTreeSet::new();
    for user in 0..30 {
        let ports = (0..3).map(|_| answered(tap, "/alike", &user.to_string())).collect::<Result<BTreeSet<_>, _>>()?;
        ensure(ports.len() == 1, || format!("user {user} was sent to {ports:?}"))?;
        used.extend(ports);
    }
    ensure(used.len() == WELL.len(), || format!("thirty users were sent to {used:?} only"))
}

/// What dies without an answer costs no request; what talks nonsense costs five, is left alone, and gets requests again.
fn ejection(guest: &mut Guest, tap: &Tap) -> Tested {
    backend::start(SocketAddrV4::new(tap.host(), DYING), |peer| peer.head().map(drop))?;
    for _ in 0..8 {
        let port = answered(tap, "/dying", "")?;
        ensure(port == WELL[0], || format!("{port} answered, which dies"))?;
    }
    let reason = |now: &Metrics, reason: &str| now.labelled("weir_incidents_total", &format!("reason=\"{reason}\""));
    metrics::wait_until(guest, tap.at(9000), LIMIT, |now| reason(now, "retry") >= 4)?;
    let is_well = Arc::new(AtomicBool::new(false));
    let healing = Arc::clone(&is_well);
    backend::start(SocketAddrV4::new(tap.host(), ILL), move |peer| {
        while peer.head()?.is_some() {
            let is_well = healing.load(Ordering::Relaxed);
            peer.say(if is_well { says(&ILL.to_string()) } else { b"nonsense\r\n\r\n".to_vec() }.as_slice())?;
        }
        Ok(())
    })?;
    let before = reason(&Metrics::read(tap.at(9000))?, "ejected");
    // In turn: each second request goes to the ill one, until it has failed five times.
    let statuses = (0..10).map(|_| Ok(http::get(tap.at(80), "/ill")?.status)).collect::<Result<Vec<_>, Failed>>()?;
    let failed = statuses.iter().filter(|&&status| status == 502).count();
    ensure(failed == 5, || format!("{statuses:?}"))?;
    let port = answered(tap, "/ill", "")?;
    ensure(port == WELL[0], || format!("{port} answered, which is left alone"))?;
    metrics::wait_until(guest, tap.at(9000), LIMIT, |now| reason(now, "ejected") > before)?;
    is_well.store(true, Ordering::Relaxed);
    let deadline = Instant::now() + LIMIT;
    while answered(tap, "/ill", "")? != ILL {
        ensure(Instant::now() < deadline, || "the server that is well again gets nothing".into())?;
    }
    Ok(())
}

/// Each of three curls with a jar of its own stays with its server; those without one go in turn.
fn sticky(guest: &mut Guest, tap: &Tap) -> Tested {
    let url = format!("http://{}/sticky", tap.guest());
    let curl = |more: &str| command_line(&format!("curl --silent --show-error --fail --max-time 20 {more} {url}"));
    let (jars, mut used) = (tempfile::tempdir()?, BTreeSet::new());
    for client in 0..WELL.len() {
        let file = jars.path().join(client.to_string());
        let jar = format!("--cookie {0} --cookie-jar {0}", file.display());
        let ports = (0..5).map(|_| curl(&jar)).collect::<Result<BTreeSet<_>, _>>()?;
        let text = std::fs::read_to_string(&file)?;
        ensure(ports.len() == 1, || format!("client {client} was sent to {ports:?}"))?;
        ensure(text.contains("#HttpOnly_") && text.contains("\tW\t"), || format!("the jar of curl: {text}"))?;
        used.extend(ports);
    }
    ensure(used.len() == WELL.len(), || format!("three clients were sent to {used:?} only"))?;
    let forged = (0..WELL.len()).map(|_| curl("--cookie W=10.77.1.1")).collect::<Result<BTreeSet<_>, _>>()?;
    ensure(forged.len() == WELL.len(), || format!("forged cookies were sent to {forged:?}"))?;
    metrics::wait_until(guest, tap.at(9000), LIMIT, |now| {
        now.labelled("weir_incidents_total", "reason=\"cookie_unknown\"") == WELL.len() as u64
    })
    .map(drop)
}

/// A server refuses connections and is left alone, begins to listen, gets some requests at once, and half of them in the end.
fn slow_start(_: &mut Guest, tap: &Tap) -> Tested {
    // The other server is as new as the machine, and slow as well for a time.
    let warm = Instant::now() + Duration::from_secs(SLOW_S);
    while Instant::now() < warm {
        let port = answered(tap, "/slow", "")?;
        ensure(port == WELL[0], || format!("{port} answered, which does not listen"))?;
    }
    serve(tap, LATE)?;
    let late_of = |requests: usize| {
        let ports = (0..requests).map(|_| answered(tap, "/slow", "")).collect::<Result<Vec<_>, _>>()?;
        Ok::<_, Failed>(ports.iter().filter(|&&port| port == LATE).count())
    };
    let deadline = Instant::now() + LIMIT;
    while late_of(1)? == 0 {
        ensure(Instant::now() < deadline, || "the server that came back gets nothing".into())?;
    }
    let early = late_of(60)?;
    // A tenth of its weight to begin with is an eleventh of the requests; half would be 30.
    ensure(early <= 22, || format!("{early} of 60 requests went to a server that just came back"))?;
    let deadline = Instant::now() + Duration::from_secs(3 * SLOW_S);
    while late_of(40)? != 20 {
        ensure(Instant::now() < deadline, || "the server that is warm by now does not get half".into())?;
    }
    Ok(())
}

/// A server that may have one request at a time, and answers when it is told: the others wait in the order in which they came,
/// one too many is refused at once, and who waits for too long is refused too.
fn queue(guest: &mut Guest, tap: &Tap) -> Tested {
    let (asked, begun) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let released = Mutex::new(released);
    backend::start(SocketAddrV4::new(tap.host(), BUSY), move |peer| {
        while let Some(head) = peer.head()? {
            asked.send(head.split(' ').nth(1).unwrap_or_default().to_owned())?;
            released.lock().map_err(|_| "a thread panicked")?.recv()?;
            peer.say(&says("done"))?;
        }
        Ok(())
    })?;
    let path = |n: usize| format!("/busy/{n}");
    let request = |n: usize| {
        let text = format!("GET {} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", path(n));
        http::connect(tap.at(80), text.as_bytes())
    };
    let mut clients = vec![request(0)?];
    next_is(&begun, &path(0))?;
    for n in 1..=QUEUE_LENGTH {
        clients.push(request(n)?);
        metrics::wait_until(guest, tap.at(9000), LIMIT, |now| now.sum("weir_requests_queued") == n as u64)?;
    }
    let refused = http::get(tap.at(80), "/busy/too-many")?;
    ensure(refused.status == 503, || refused.head)?;
    for (n, client) in clients.into_iter().enumerate() {
        release.send(())?;
        let answer = http::finish(client)?;
        ensure(answer.status == 200, || format!("request {n}: {}", answer.head))?;
        if n < QUEUE_LENGTH {
            next_is(&begun, &path(n + 1))?;
        }
    }
    let _holds = request(0)?;
    next_is(&begun, &path(0))?;
    let late = http::get(tap.at(80), "/busy/late")?;
    ensure(late.status == 503, || late.head)?;
    metrics::wait_until(guest, tap.at(9000), LIMIT, |now| {
        ["queue_full", "queue_timeout"]
            .iter()
            .all(|reason| now.labelled("weir_incidents_total", &format!("reason=\"{reason}\"")) == 1)
    })
    .map(drop)
}

/// Two cores. A server has a request under way on one of them, and the other one knows: all others go to the other server, whichever
/// core they come to.
fn cores_tell_each_other_of_their_load() -> Tested {
    const LEAST: &str = "balance = \"least-connections\"";
    let (mut guest, tap) = boot_two(|tap| {
        let listener = "[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\n[[listener.route]]\npool = \"p\"\n";
        listener.to_owned() + &pool(tap, "p", LEAST, &[(WELL[0], ""), (BUSY, "")])
    })?;
    serve(&tap, WELL[0])?;
    let (asked, begun) = mpsc::channel();
    backend::start(SocketAddrV4::new(tap.host(), BUSY), move |peer| {
        while peer.head()?.is_some() {
            asked.send(())?;
            peer.rest();
        }
        Ok(())
    })?;
    // Equals take turns, from a place that each core draws: sooner or later a request goes to the server that does not answer.
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut first = Vec::new();
    while begun.recv_timeout(TURN).is_err() {
        ensure(first.len() < TURNS, || "nobody asked the server that does not answer".into())?;
        first.push(http::connect(tap.at(80), request)?);
    }
    let reports = |now: &Metrics| now.sum("weir_load_reports_total");
    metrics::wait_until(&mut guest, tap.at(9000), LIMIT, |now| reports(now) >= 12)?;
    let served = |now: &Metrics| now.per_core("weir_requests_total", "listener=\"web\"");
    let before = served(&Metrics::read(tap.at(9000))?);
    for _ in 0..40 {
        let port = answered(&tap, "/", "")?;
        ensure(port == WELL[0], || format!("{port} answered"))?;
    }
    let after = metrics::wait_until(&mut guest, tap.at(9000), LIMIT, |now| {
        served(now).iter().sum::<u64>() >= before.iter().sum::<u64>() + 40
    })?;
    let counts: Vec<u64> = served(&after).iter().zip(&before).map(|(after, before)| after - before).collect();
    ensure(counts.iter().all(|&count| count > 5), || format!("requests by core: {counts:?}"))?;
    drop(first);
    guest.still_runs()
}

fn next_is(begun: &Receiver<String>, wanted: &str) -> Tested {
    let path = begun.recv_timeout(LIMIT).map_err(|_| format!("the server was not asked for {wanted}"))?;
    ensure(path == wanted, || format!("the server was asked for {path}, not yet for {wanted}"))
}
