//! Flows on a TAP that does not steer as it should: silence, crowds and floods. Nobody's request may suffer.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use pnet_datalink::{Channel, Config};

use crate::daemon::nginx;
use crate::guest::{Guest, Spec};
use crate::lab::command_line;
use crate::metrics::Metrics;
use crate::proxy::{PORTS, balancer};
use crate::serve::boot_two;
use crate::tap::Tap;
use crate::{Failed, Tested, Tests, ensure, http};

pub const TESTS: Tests = &[
    ("steering::silent_connections_to_servers_are_used_again", silent_connections_to_servers_are_used_again),
    ("steering::connections_to_a_server_come_from_all_source_addresses", connections_come_from_all_source_addresses),
    ("steering::ten_thousand_connections_at_once", ten_thousand_connections_at_once),
    ("steering::a_flood_of_arp_requests_costs_nobody_an_answer", || flood(arp_request)),
    ("steering::a_flood_of_fragments_costs_nobody_an_answer", || flood(fragment)),
    ("steering::a_flood_of_garbage_costs_nobody_an_answer", || flood(garbage)),
];

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nserved";

/// Longer than a TAP remembers the queue of a silent flow.
const SILENCE: Duration = Duration::from_secs(5);

/// A server that answers when it is told, so that a test decides how many requests are under way.
struct Holding {
    state: Mutex<Held>,
    changed: Condvar,
}

#[derive(Default)]
struct Held {
    connections: usize,
    /// Where they came from.
    sources: BTreeSet<Ipv4Addr>,
    waiting: usize,
    /// Rounds whose requests may be answered.
    released: usize,
}

impl Holding {
    fn start(address: SocketAddrV4) -> Result<Arc<Self>, Failed> {
        let listener = TcpListener::bind(address)?;
        let server = Arc::new(Self { state: Mutex::default(), changed: Condvar::new() });
        let accepting = Arc::clone(&server);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut state = accepting.state();
                state.connections += 1;
                if let Ok(SocketAddr::V4(source)) = stream.peer_addr() {
                    state.sources.insert(*source.ip());
                }
                drop(state);
                let serving = Arc::clone(&accepting);
                thread::spawn(move || serving.serve(stream));
            }
        });
        Ok(server)
    }

    fn state(&self) -> MutexGuard<'_, Held> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One connection: its request of each round waits for the release of that round.
    fn serve(&self, mut stream: TcpStream) {
        let mut round = 0;
        while read_until(&mut stream, b"\r\n\r\n").is_ok() {
            round += 1;
            let mut state = self.state();
            state.waiting += 1;
            self.changed.notify_all();
            while state.released < round {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            drop(state);
            if stream.write_all(ANSWER).is_err() {
                return;
            }
        }
    }

    /// Waits until so many requests have come.
    fn wait_for(&self, count: usize) -> Tested {
        let (state, limit) = self
            .changed
            .wait_timeout_while(self.state(), Duration::from_secs(20), |state| state.waiting < count)
            .unwrap_or_else(PoisonError::into_inner);
        ensure(!limit.timed_out(), || format!("{} of {count} requests have reached the server", state.waiting))
    }

    fn release(&self) {
        let mut state = self.state();
        (state.waiting, state.released) = (0, state.released + 1);
        self.changed.notify_all();
    }
}

fn read_until(stream: &mut TcpStream, end: &[u8]) -> Tested {
    let mut bytes = Vec::new();
    let mut buffer = [0; 1024];
    while !bytes.ends_with(end) {
        let count = stream.read(&mut buffer)?;
        ensure(count > 0, || format!("closed after {:?}", String::from_utf8_lossy(&bytes)))?;
        bytes.extend_from_slice(&buffer[..count]);
    }
    Ok(())
}

/// Lets time pass while the console is listened to.
fn silence(guest: &mut Guest) {
    let end = Instant::now() + SILENCE;
    while Instant::now() < end {
        guest.vm.next_event(Some(end));
    }
}

/// 200 connections to a server, silent for longer than the TAP remembers them, are all used again; and when the server is
/// silent as long before it answers, its answers come in on any queue and reach the core that asked.
fn silent_connections_to_servers_are_used_again() -> Tested {
    const CLIENTS: usize = 200;
    let (mut guest, tap) =
        boot_two(|tap| "[timeouts]\nbackend_idle = \"60s\"\n\n".to_owned() + &balancer(tap, &PORTS[..1]))?;
    let server = Holding::start(SocketAddrV4::new(tap.host(), PORTS[0]))?;
    let mut clients = (0..CLIENTS).map(|_| http::connect(tap.at(80), REQUEST)).collect::<Result<Vec<_>, _>>()?;
    for round in 0..2 {
        server.wait_for(CLIENTS).map_err(|error| guest.report(&error.to_string()))?;
        if round > 0 {
            silence(&mut guest);
        }
        server.release();
        for (number, client) in clients.iter_mut().enumerate() {
            read_until(client, b"served")
                .map_err(|error| guest.report(&format!("round {round}, client {number}: {error}")))?;
        }
        if round == 0 {
            silence(&mut guest);
            clients.iter_mut().try_for_each(|client| client.write_all(REQUEST))?;
        }
    }
    let connections = server.state().connections;
    ensure(connections == CLIENTS, || format!("{connections} connections for {CLIENTS} clients"))?;
    let metrics = Metrics::read(tap.at(9000))?;
    let served = metrics.per_core("weir_requests_total", "listener=\"web\"");
    ensure(served.iter().all(|count| *count > 0), || format!("requests per core: {served:?}"))?;
    let forwarded = metrics.labelled("weir_stack_total", "event=\"frames_forwarded\"");
    println!("{forwarded} frames forwarded");
    ensure(forwarded > 0, || "no frame was forwarded: the host has remembered every flow".into())
}

/// Source ports of one address, dealt out to all cores.
const EPHEMERAL_PORTS: u64 = 60_999 - 32_768 + 1;

/// The server sees clients of three addresses, each of which is also answered for when a client asks where it is.
fn connections_come_from_all_source_addresses() -> Tested {
    const CLIENTS: usize = 24;
    let tap = Tap::new(2)?;
    let further = [1, 2].map(|number| Ipv4Addr::from_bits(tap.guest().to_bits() + number));
    let key = format!("[network]\nsource_addresses = [\"{}\", \"{}\"]\n", further[0], further[1]);
    let config = tap.config().replace("[network]\n", &key) + &balancer(&tap, &PORTS[..1]);
    let mut guest = Guest::boot(Spec { config, cores: 2, nic: tap.nic(), ..Spec::default() })?;
    let server = Holding::start(SocketAddrV4::new(tap.host(), PORTS[0]))?;
    let mut clients = (0..CLIENTS).map(|_| http::connect(tap.at(80), REQUEST)).collect::<Result<Vec<_>, _>>()?;
    for address in further {
        clients.push(http::connect(SocketAddrV4::new(address, 80), REQUEST)?);
    }
    server.wait_for(clients.len()).map_err(|error| guest.report(&error.to_string()))?;
    server.release();
    clients.iter_mut().try_for_each(|client| read_until(client, b"served"))?;
    let expected = BTreeSet::from([tap.guest(), further[0], further[1]]);
    let sources = server.state().sources.clone();
    ensure(sources == expected, || format!("connections from {sources:?}"))?;
    let ports = Metrics::read(tap.at(9000))?.labelled("weir_stack", "source_ports_per_destination");
    ensure(ports == 3 * EPHEMERAL_PORTS, || format!("{ports} source ports"))?;
    guest.still_runs()
}

/// More flows than a TAP remembers, each with a request under way.
fn ten_thousand_connections_at_once() -> Tested {
    const CONNECTIONS: u32 = 10_000;
    let root = tempfile::tempdir()?;
    let tap = Tap::new(2)?;
    // A crowd's burst must fit into the host's queue before the guest: what does not is lost to all of them.
    command_line(&format!("ip link set {} txqueuelen 20000", tap.name()))?;
    let config = tap.config() + "[timeouts]\nconnect = \"20s\"\n\n" + &balancer(&tap, &PORTS);
    let mut guest = Guest::boot(Spec { config, cores: 2, memory_mib: 512, nic: tap.nic(), ..Spec::default() })?;
    let start = |port: u16| {
        nginx(SocketAddrV4::new(tap.host(), port), root.path(), "location = / { return 200 \"served\\n\"; }")
    };
    let _servers = [start(PORTS[0])?, start(PORTS[1])?];
    let said = command_line(&format!("wrk -t1 -c{CONNECTIONS} -d10s --timeout 60s http://{}/", tap.at(80)))?;
    println!("{}", said.lines().find(|line| line.starts_with("Requests/sec")).unwrap_or_default());
    let errors = said.contains("Socket errors") || said.contains("Non-2xx");
    let metrics = Metrics::read(tap.at(9000))?;
    ensure(!errors, || guest.report(&format!("{said}\n{metrics:#?}")).to_string())?;
    guest.still_runs()?;
    let requests: u64 = metrics.per_core("weir_requests_total", "listener=\"web\"").iter().sum();
    ensure(requests >= CONNECTIONS.into(), || format!("{requests} requests on {CONNECTIONS} connections"))?;
    let failed = metrics.labelled("weir_server_requests_total", "failed");
    ensure(failed == 0, || format!("{failed} requests failed"))
}

/// Requests that are made while a flood lasts, and its frames: what comes last ends it.
const REQUESTS: usize = 40;
const FRAMES: usize = 20_000;

/// Frames that come with each request: the answer to one is what lets the next ones loose, so that the flood is as fast as the
/// guest. What goes beyond that the host would drop before it, and clients' frames as well: its queue has a thousand places.
const FRAMES_AT_ONCE: usize = 500;

/// Time for one of them. What the guest does not take in time, the host drops before it, SYNs as well as the flood: a client
/// asks again after 1, 2, 4, 8, … seconds, as every client does.
const PATIENCE: Duration = Duration::from_secs(120);

/// The flood takes what the guest leaves of the host's processors: on a host without a spare one it would otherwise starve the
/// guest that it is to test.
const FLOOD_NICENESS: i32 = 10;

/// Sends hundreds of frames beside each request of a client: each is answered.
fn flood(frame: fn(&Tap, u64) -> Vec<u8>) -> Tested {
    let (mut guest, tap) = boot_two(|_| {
        "[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\n\n[[listener.route]]\nrespond = { body = \"hello\\n\" }\n"
            .into()
    })?;
    let before = Metrics::read(tap.at(9000))?;
    let interfaces = pnet_datalink::interfaces();
    let interface = interfaces.iter().find(|interface| interface.name == tap.name()).ok_or("the tap is gone")?;
    let Channel::Ethernet(mut sender, _) = pnet_datalink::channel(interface, Config::default())? else {
        return Err("no Ethernet".into());
    };
    let frames: Vec<Vec<u8>> = (0..512).map(|number| frame(&tap, number)).collect();
    let sent = AtomicUsize::new(0);
    let (permit, permits) = mpsc::channel();
    let answered = thread::scope(|scope| {
        scope.spawn(|| {
            // Of this thread alone.
            let _ = rustix::process::setpriority_process(None, FLOOD_NICENESS);
            let mut flowing = frames.iter().cycle();
            for () in permits {
                for frame in flowing.by_ref().take(FRAMES_AT_ONCE) {
                    if matches!(sender.send_to(frame, None), Some(Ok(()))) {
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        // It ends with this closure, and the flood with it.
        let permit = permit;
        for number in 0.. {
            if number >= REQUESTS && sent.load(Ordering::Relaxed) >= FRAMES {
                break;
            }
            permit.send(()).map_err(|_| "the flood has ended")?;
            match patient_get(tap.at(80)) {
                Ok(answer) if answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello\n") => {}
                Ok(answer) => return Err(format!("request {number}: {answer}")),
                Err(error) => return Err(format!("request {number}: {error}")),
            }
        }
        Ok(())
    });
    let sent = sent.into_inner();
    println!("{sent} frames sent");
    answered.map_err(|error| guest.report(&error))?;
    let after = Metrics::read(tap.at(9000))?;
    let leaked = after.sum("weir_packet_buffers_in_use").saturating_sub(before.sum("weir_packet_buffers_in_use"));
    ensure(leaked < 64, || format!("{leaked} buffers more are in use"))?;
    guest.still_runs()
}

fn patient_get(web: SocketAddrV4) -> Result<String, Failed> {
    let mut stream = TcpStream::connect_timeout(&web.into(), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn ethernet(kind: [u8; 2]) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([0x02, 0, 0, 0, 0, 1]);
    frame.extend(kind);
    frame
}

/// Somebody, another one each time, asks who has the guest's address.
fn arp_request(tap: &Tap, number: u64) -> Vec<u8> {
    let mut frame = ethernet([0x08, 0x06]);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    let [.., high, low] = number.to_be_bytes();
    frame.extend([0x02, 0, 0, 1, high, low]);
    let [a, b, c, _] = tap.host().octets();
    frame.extend(Ipv4Addr::new(a, b, c, 3 + (number % 250) as u8).octets());
    frame.extend([0; 6]);
    frame.extend(tap.guest().octets());
    frame.resize(60, 0);
    frame
}

/// A fragment of a datagram that never becomes complete: the first, or one behind it.
fn fragment(tap: &Tap, number: u64) -> Vec<u8> {
    let mut frame = ethernet([0x08, 0x00]);
    let offset = if number.is_multiple_of(2) { 0x2000 } else { 0x2000 | (number % 1000) as u16 };
    frame.extend([0x45, 0, 0, 60]);
    frame.extend((number as u16).to_be_bytes());
    frame.extend(u16::to_be_bytes(offset));
    frame.extend([64, if number.is_multiple_of(3) { 6 } else { 17 }, 0, 0]);
    frame.extend(tap.host().octets());
    frame.extend(tap.guest().octets());
    let sum = frame[14..34].chunks(2).fold(0, |sum, word| sum + u32::from(word[0]) * 256 + u32::from(word[1]));
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame.resize(14 + 60, 0x5a);
    frame
}

/// Nonsense behind a type that the guest looks at.
fn garbage(_: &Tap, number: u64) -> Vec<u8> {
    let mut frame = ethernet([[0x08, 0x00], [0x08, 0x06], [0x86, 0xdd], [0x88, 0xb5]][number as usize % 4]);
    let mut state = number + 1;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    });
    frame.extend(noise.take(46 + (number as usize * 7) % 1000));
    frame
}
