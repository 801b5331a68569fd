//! Floods, and clients who notice nothing.
//!
//! SYNs come as fast as `hping3` makes them, at the guest's own priority. What QEMU's one thread does not take of them the host drops
//! in its queue before the guest, a client's frames as well; that it be little is up to the guest, which answers few. Other floods are
//! as fast as a guest under TCG takes them.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use pnet_datalink::{Channel, Config};
use weir_host::tether;

use crate::daemon::Daemon;
use crate::guest::{Guest, Spec};
use crate::lab::{command_line, long};
use crate::metrics::{self, Metrics};
use crate::tap::Tap;
use crate::{Failed, Tested, Tests, ensure};

pub const TESTS: Tests = &[
    ("flood::syns_leave_all_requests_of_curl_answered", || syns("")),
    ("flood::syns_from_everywhere_leave_all_requests_of_curl_answered", || syns(" --rand-source")),
    ("flood::arp_requests_leave_all_requests_of_curl_answered", || frames(arp_request)),
    ("flood::fragments_leave_all_requests_of_curl_answered", || frames(fragment)),
    ("flood::garbage_leaves_all_requests_of_curl_answered", || frames(garbage)),
];

/// On a host with other work a client's frames may be lost in the host's queue, and repeated: until then its connection is silent.
const HELLO: &str = "[timeouts]\nhead = \"60s\"\n\n\
    [[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\n\n[[listener.route]]\nrespond = { body = \"hello\\n\" }\n";

/// Requests of curl while a flood lasts, and frames that the guest has taken by then: what comes last ends it.
const REQUESTS: usize = 150;
const FRAMES: u64 = 50_000;

/// Frames that fit into the host's queue before the guest: a flood's turn on the processor is some milliseconds of it.
const QUEUE_LEN: u32 = 10_000;

/// Frames of ours that come with each request: the answer to one is what lets the next ones loose.
const FRAMES_AT_ONCE: usize = 500;

/// A flood of frames takes what the guest leaves of the host's processors.
const NICENESS: i32 = 19;

/// Buffers in use, and the time for them to come back after a flood.
const BUFFERS: &str = "weir_packet_buffers_in_use";
const QUIET_LIMIT: Duration = Duration::from_secs(30);

/// A guest that says hello, and how it stood before the flood.
struct Target {
    guest: Guest,
    tap: Tap,
    before: Metrics,
}

impl Target {
    fn boot() -> Result<Self, Failed> {
        let tap = Tap::new(2)?;
        command_line(&format!("ip link set {} txqueuelen {QUEUE_LEN}", tap.name()))?;
        let config = tap.config() + HELLO;
        let guest = Guest::boot(Spec { config, cores: 2, nic: tap.nic(), ..Spec::default() })?;
        let before = Metrics::read(tap.at(9000))?;
        Ok(Self { guest, tap, before })
    }

    /// Makes requests, one after the other, while the flood lasts: each is answered. `before_each` may add to the flood.
    fn ask(&self, requests: usize, before_each: impl Fn() -> Tested) -> Tested {
        let curl = format!("curl --silent --show-error --fail --max-time 60 http://{}/", self.tap.guest());
        for number in 0.. {
            if number >= requests && self.frames_taken(&Metrics::read(self.tap.at(9000))?) >= FRAMES {
                break;
            }
            before_each()?;
            let said = command_line(&curl).map_err(|error| format!("request {number}: {error}"))?;
            ensure(said == "hello\n", || format!("request {number}: {said:?}"))?;
        }
        Ok(())
    }

    fn frames_taken(&self, now: &Metrics) -> u64 {
        let taken = |metrics: &Metrics| metrics.labelled("weir_stack_total", "event=\"frames_received\"");
        taken(now) - taken(&self.before)
    }

    /// The flood is over: who asked was answered, and what waited in queues is worked off.
    fn outcome(mut self, asked: Tested) -> Tested {
        let after = Metrics::read(self.tap.at(9000))?;
        let (taken, lost) = (self.frames_taken(&after), self.tap.frames_lost()?);
        println!("{taken} frames taken, {lost} lost in the host's queue");
        asked.map_err(|error| self.guest.report(&format!("{error}; {taken} frames taken, {lost} lost; {after:#?}")))?;
        self.guest.still_runs()?;
        let same = |now: &Metrics| now.sum(BUFFERS) < self.before.sum(BUFFERS) + 64;
        metrics::wait_until(&mut self.guest, self.tap.at(9000), QUIET_LIMIT, same).map(drop)
    }
}

/// `hping3` floods the listener with SYNs.
fn syns(options: &str) -> Tested {
    let target = Target::boot()?;
    let line = format!("--flood -S -q -p 80 {}{options}", target.tap.guest());
    let mut command: Command = tether::command("hping3", None);
    command.args(line.split(' ')).stdout(Stdio::null()).stderr(Stdio::null());
    let flood = command.spawn().map(Daemon::from)?;
    // Each may wait for its second SYN.
    let requests = if long() { REQUESTS } else { REQUESTS / 3 };
    let asked = target.ask(requests, || Ok(()));
    drop(flood);
    target.outcome(asked)
}

/// Frames of one kind, over and over.
fn frames(frame: fn(&Tap, u64) -> Vec<u8>) -> Tested {
    let target = Target::boot()?;
    let interfaces = pnet_datalink::interfaces();
    let interface = interfaces.iter().find(|interface| interface.name == target.tap.name()).ok_or("the tap is gone")?;
    let Channel::Ethernet(mut sender, _) = pnet_datalink::channel(interface, Config::default())? else {
        return Err("no Ethernet".into());
    };
    let frames: Vec<Vec<u8>> = (0..512).map(|number| frame(&target.tap, number)).collect();
    let sent = AtomicU64::new(0);
    let (permit, permits) = mpsc::channel();
    let asked = thread::scope(|scope| {
        scope.spawn(|| {
            // Of this thread alone.
            let _ = rustix::process::setpriority_process(None, NICENESS);
            let mut flowing = frames.iter().cycle();
            for () in permits {
                for frame in flowing.by_ref().take(FRAMES_AT_ONCE) {
                    sent.fetch_add(u64::from(matches!(sender.send_to(frame, None), Some(Ok(())))), Ordering::Relaxed);
                }
            }
        });
        // It ends with this closure, and the flood with it.
        let permit = permit;
        target.ask(REQUESTS, || Ok(permit.send(())?))
    });
    println!("{} frames sent", sent.into_inner());
    target.outcome(asked)
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
