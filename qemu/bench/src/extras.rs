//! What is no rate: time to the first answer, processor time of an idle guest, memory of an idle connection, throughput of
//! one long answer, and requests during a flood.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use weir_host::tether;
use weir_meter::lab::Failed;

use crate::check::field_kib;
use crate::client;
use crate::guest::{Guest, Watch};
use crate::lab::{self, Pair};
use crate::matrix::{BULK_LEN, Service, System};
use crate::model::{Bulk, Flood, Series};
use crate::number;
use crate::run::Course;
use crate::statistics::Spread;

/// Longest wait for anything here.
const LIMIT: Duration = Duration::from_secs(5);

/// Longest wait for a guest's first answer, and for one attempt at it.
const BOOT_LIMIT: Duration = Duration::from_secs(60);
const BOOT_ATTEMPT: Duration = Duration::from_millis(20);

/// How long an idle guest is left alone, and then watched.
const IDLE_SETTLE: Duration = Duration::from_secs(2);
const IDLE_LENGTH: Duration = Duration::from_secs(4);
const IDLE_WINDOWS: usize = 3;

/// Ticks of a process's times per second, the same on every Linux for x86-64.
const TICKS_PER_SECOND: f64 = 100.0;

/// Idle connections that are opened.
const IDLE_CONNECTIONS: usize = 4_000;

/// The guest's port for questions about itself.
const ADMIN_PORT: u16 = 9000;

/// Bytes of one of Weir's packet buffers.
const PACKET_BUFFER_LEN: f64 = 2048.0;

const BULK_ROUNDS: usize = 3;

/// A SYN every so many microseconds.
const FLOOD_PERIOD_US: u64 = 100;
/// So many frames have gone to the guest before the first request that counts: what a flood fills is full.
const FLOOD_BEGUN: u64 = 10_000;
/// Time for that.
const FLOOD_BEGIN_LIMIT: Duration = Duration::from_secs(10);
const FLOOD_TRIES: usize = 40;
/// More failures than this prove enough.
const FLOOD_FAILURES_MAX: usize = 4;

/// Boots each system several times, in turn.
pub fn boots(course: &mut Course) {
    let mut times = System::ALL.map(|_| Vec::new());
    for _ in 0..course.pace.boots {
        for (system, times) in System::ALL.into_iter().zip(&mut times) {
            match boot(course, system) {
                Ok(time) => times.push(time.as_secs_f64() * 1e3),
                Err(error) => course.fail(&format!("first answer of {}: {error}", system.name())),
            }
        }
    }
    for (system, values) in System::ALL.into_iter().zip(times) {
        push(course, |report| &mut report.boots, system, "start of QEMU to first answer, 1 vCPU", "ms", values);
    }
}

fn boot(course: &Course, system: System) -> Result<Duration, Failed> {
    let (_tap, nic) = lab::wire(system, 1)?;
    let start = Instant::now();
    let (mut vm, _socket) = Guest::start(&course.images, system, 1, nic, Watch::Nothing)?;
    while start.elapsed() < BOOT_LIMIT {
        if let Ok(stream) = TcpStream::connect_timeout(&system.at(80).into(), BOOT_ATTEMPT)
            && stream.set_read_timeout(Some(LIMIT)).is_ok()
            && client::ask(&stream, system.at(80), "/").is_ok()
        {
            return Ok(start.elapsed());
        }
        // A refusal comes at once.
        thread::sleep(Duration::from_millis(1));
    }
    Err(format!("none within {BOOT_LIMIT:?}: {}", vm.last_words()).into())
}

/// Everything else.
pub fn all(course: &mut Course) {
    let cores = course.pace.rate_cores.last().copied().unwrap_or(1);
    if let Some(mut pair) = course.boot(cores, Watch::Nothing) {
        idle(course, &mut pair, cores);
        bulk(course, cores);
        for service in Service::ALL {
            flood(course, service, cores);
        }
    }
    if let Some(_pair) = course.boot(1, Watch::Nothing) {
        for system in System::ALL {
            match memory(system) {
                Ok(bytes) => {
                    let of = format!("an idle connection to the server, of {IDLE_CONNECTIONS}");
                    push(course, |report| &mut report.memory, system, &of, "bytes", vec![bytes]);
                }
                Err(error) => course.fail(&format!("memory of {}: {error}", system.name())),
            }
        }
    }
}

fn push(
    course: &mut Course,
    list: impl Fn(&mut crate::model::Report) -> &mut Vec<Series>,
    system: System,
    of: &str,
    unit: &str,
    values: Vec<f64>,
) {
    if let Some(spread) = Spread::of(values.iter().copied()) {
        course.tell(&format!("{}: {of}: {} {unit}", system.name(), number::short(spread.median)));
        list(&mut course.report).push(Series { system, of: of.into(), unit: unit.into(), values });
    }
}

fn idle(course: &mut Course, pair: &mut Pair, cores: u32) {
    thread::sleep(IDLE_SETTLE);
    let mut used = || System::ALL.map(|system| ticks(pair.guest(system).vm.id()).unwrap_or(0.0));
    let mut before = used();
    let mut shares = System::ALL.map(|_| Vec::new());
    for _ in 0..IDLE_WINDOWS {
        thread::sleep(IDLE_LENGTH);
        let after = used();
        for (index, shares) in shares.iter_mut().enumerate() {
            let seconds = (after[index] - before[index]) / TICKS_PER_SECOND;
            shares.push(seconds / IDLE_LENGTH.as_secs_f64() * 100.0);
        }
        before = after;
    }
    let of = format!("processor time of an idle guest, {cores} vCPU");
    for (system, shares) in System::ALL.into_iter().zip(shares) {
        push(course, |report| &mut report.idle, system, &of, "% of a processor", shares);
    }
}

/// Processor time of a process so far, in ticks.
fn ticks(process: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in brackets, may have spaces.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some(field(11)? + field(12)?)
}

fn bulk(course: &mut Course, cores: u32) {
    let services = [Service::Proxy, Service::Haproxy, Service::NginxProxy];
    let mut rounds = services.map(|_| Vec::new());
    for _ in 0..BULK_ROUNDS {
        for (service, rounds) in services.into_iter().zip(&mut rounds) {
            let start = Instant::now();
            match client::get(service.at(), "/files/bulk", LIMIT) {
                Ok(BULK_LEN) => rounds.push(BULK_LEN as f64 / f64::from(1 << 20) / start.elapsed().as_secs_f64()),
                Ok(len) => course.fail(&format!("bulk through {}: {len} of {BULK_LEN} bytes", service.name())),
                Err(error) => course.fail(&format!("bulk through {}: {error}", service.name())),
            }
        }
    }
    for (service, rounds) in services.into_iter().zip(rounds) {
        if let Some(spread) = Spread::of(rounds.iter().copied()) {
            course.tell(&format!("{}: {} MiB/s in bulk", service.name(), number::short(spread.median)));
            course.report.bulk.push(Bulk { service, cores, rounds });
        }
    }
}

/// A child that is ended with this value.
struct Attacker(Child);

impl Attacker {
    fn start(service: Service) -> Result<Self, Failed> {
        let at = service.at();
        let words = format!("-q -S -p {} -i u{FLOOD_PERIOD_US} --rand-source {}", at.port(), at.ip());
        let mut command = tether::command("hping3", None);
        command.args(words.split(' ')).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn()?))
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn flood(course: &mut Course, service: Service, cores: u32) {
    let attacker = match Attacker::start(service) {
        Ok(attacker) => attacker,
        Err(error) => return course.fail(&format!("flood of {}: {error}", service.name())),
    };
    if let Err(error) = wait_for_flood(service) {
        return course.fail(&format!("flood of {}: {error}", service.name()));
    }
    let mut millis = Vec::new();
    let mut tried = 0;
    while tried < FLOOD_TRIES && tried - millis.len() < FLOOD_FAILURES_MAX {
        let start = Instant::now();
        if client::get(service.at(), "/", LIMIT).is_ok() {
            millis.push(start.elapsed().as_secs_f64() * 1e3);
        }
        tried += 1;
    }
    drop(attacker);
    let spread = Spread::of(millis.iter().copied());
    let flood = Flood {
        service,
        cores,
        syns_per_second: 1_000_000 / FLOOD_PERIOD_US,
        tried,
        answered: millis.len(),
        median_ms: spread.map_or(0.0, |spread| spread.median),
        slowest_ms: spread.map_or(0.0, |spread| spread.largest),
    };
    course.tell(&format!("{}: {} of {tried} answered during a flood of SYNs", service.name(), flood.answered));
    course.report.floods.push(flood);
}

/// Asks, without counting, until the flood has begun.
fn wait_for_flood(service: Service) -> Result<(), Failed> {
    let wire = service.system().wire();
    let (enough, deadline) = (frames_sent(wire)? + FLOOD_BEGUN, Instant::now() + FLOOD_BEGIN_LIMIT);
    while frames_sent(wire)? < enough {
        if Instant::now() > deadline {
            return Err(format!("fewer than {FLOOD_BEGUN} frames within {FLOOD_BEGIN_LIMIT:?}").into());
        }
        let _ = client::get(service.at(), "/", LIMIT);
    }
    Ok(())
}

/// Frames that the host has sent on an interface, in this network namespace.
fn frames_sent(interface: &str) -> Result<u64, Failed> {
    let text = fs::read_to_string("/proc/net/dev")?;
    let fields = text.lines().find_map(|line| line.trim().strip_prefix(interface)?.strip_prefix(':'));
    // Eight columns of what was received; then bytes and packets.
    let sent = fields.and_then(|fields| fields.split_whitespace().nth(9)?.parse().ok());
    sent.ok_or_else(|| format!("no {interface} in /proc/net/dev").into())
}

/// Bytes of a guest's memory that one idle connection takes, by the guest's own account.
fn memory(system: System) -> Result<f64, Failed> {
    let at = system.at(80);
    // One of each kind of connection first, so that what is made once is there.
    client::get(at, "/", LIMIT)?;
    let before = used_bytes(system)?;
    let streams = (0..IDLE_CONNECTIONS).map(|_| {
        let stream = client::connect(at, LIMIT)?;
        client::ask(&stream, at, "/")?;
        Ok(stream)
    });
    let streams: Vec<TcpStream> = streams.collect::<Result<_, std::io::Error>>()?;
    let after = used_bytes(system)?;
    Ok((after - before) / streams.len() as f64)
}

fn used_bytes(system: System) -> Result<f64, Failed> {
    let at = system.at(ADMIN_PORT);
    let mut stream = client::connect(at, LIMIT)?;
    if system == System::Weir {
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n")?;
    }
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    let used = match system {
        System::Weir => weir_bytes(&page),
        System::Linux => field_kib(&page, "MemAvailable").map(|kib| -1024.0 * kib as f64),
    };
    used.ok_or_else(|| format!("no figure of memory in: {page}").into())
}

/// The heap of all cores, and the packet buffers that are in use.
fn weir_bytes(page: &str) -> Option<f64> {
    let sum = |name: &str| {
        let values =
            page.lines().filter_map(|line| line.strip_prefix(name)).filter(|rest| rest.starts_with(['{', ' ']));
        let values = values.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok());
        values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
    };
    Some(sum("weir_heap_used_bytes")? + PACKET_BUFFER_LEN * sum("weir_packet_buffers_in_use")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_heap_and_buffers_of_all_cores() {
        let page = "weir_heap_used_bytes 1000\nweir_packet_buffers_in_use{core=\"0\"} 2\n\
                    weir_packet_buffers_in_use{core=\"1\"} 1\nweir_packet_buffers{core=\"1\"} 99\n";
        assert_eq!(weir_bytes(page), Some(1000.0 + 3.0 * 2048.0));
        assert_eq!(weir_bytes("nothing"), None);
    }

    #[test]
    fn a_process_has_times() {
        assert!(ticks(std::process::id()).is_some());
        assert_eq!(ticks(u32::MAX), None);
    }
}
