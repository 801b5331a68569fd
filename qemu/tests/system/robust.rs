//! What no client should send: the guest counts it and goes on.

use std::time::Duration;

use pnet_datalink::{Channel, Config};

use crate::guest::{Guest, Spec};
use crate::metrics::{self, Metrics};
use crate::tap::Tap;
use crate::{Failed, Tested, Tests, ensure, http};

pub const TESTS: Tests = &[
    ("robust::malformed_requests_are_400_and_closed", malformed_requests_are_400_and_closed),
    ("robust::garbage_frames_are_counted_drops", garbage_frames_are_counted_drops),
    ("robust::truncated_packets_are_counted_drops", truncated_packets_are_counted_drops),
];

/// Every named drop, with its reason and core as labels.
const DROPS: &str = "weir_drops_total";

/// Frames of one attack, and of one burst of it: fewer than a tap queues.
const FRAMES: usize = 2000;
const BURST: usize = 100;

/// Time until all drops are on the metrics page.
const COUNT_LIMIT: Duration = Duration::from_secs(10);

fn boot() -> Result<(Guest, Tap), Failed> {
    let tap = Tap::new(1)?;
    let config = tap.config()
        + "[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\n\n[[listener.route]]\nrespond = { body = \"hello\\n\" }\n";
    let guest = Guest::boot(Spec { config, nic: tap.nic(), ..Spec::default() })?;
    Ok((guest, tap))
}

fn malformed_requests_are_400_and_closed() -> Tested {
    let (mut guest, tap) = boot()?;
    let requests: [&[u8]; 6] = [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
    ];
    for request in requests {
        // Reading to the end shows that the connection is closed.
        let answer =
            http::exchange(tap.at(80), request).map_err(|error| guest.report(&format!("{request:?}: {error}")))?;
        ensure(answer.status == 400, || format!("{:?}: {}", String::from_utf8_lossy(request), answer.head))?;
    }
    still_serves(&mut guest, &tap)
}

fn still_serves(guest: &mut Guest, tap: &Tap) -> Tested {
    let answer = http::get(tap.at(80), "/").map_err(|error| guest.report(&error.to_string()))?;
    ensure(answer.status == 200, || answer.head)?;
    guest.still_runs()
}

/// Sends frames from the host's side of the wire and checks that they are counted and do no harm.
fn attack<I: Iterator<Item = Vec<u8>>>(frames: impl FnOnce(&Tap) -> I) -> Tested {
    let (mut guest, tap) = boot()?;
    still_serves(&mut guest, &tap)?;
    let before = Metrics::read(tap.at(9000))?.sum(DROPS);
    let interfaces = pnet_datalink::interfaces();
    let interface = interfaces.iter().find(|interface| interface.name == tap.name()).ok_or("the tap is gone")?;
    let Channel::Ethernet(mut sender, _) = pnet_datalink::channel(interface, Config::default())? else {
        return Err("no Ethernet".into());
    };
    let mut sent = 0;
    let frames: Vec<Vec<u8>> = frames(&tap).collect();
    for burst in frames.chunks(BURST) {
        for frame in burst {
            // A full transmit queue of the host is its way of dropping; only what has left counts.
            sent += u64::from(matches!(sender.send_to(frame, None), Some(Ok(()))));
        }
        // The answer comes after the burst, so that the next one finds the tap's queue empty.
        still_serves(&mut guest, &tap)?;
    }
    ensure(sent > FRAMES as u64 / 2, || format!("only {sent} frames could be sent"))?;
    let counted = |now: &Metrics| now.sum(DROPS) - before >= sent * 9 / 10;
    metrics::wait_until(&mut guest, tap.at(9000), COUNT_LIMIT, counted).map(drop)
}

/// A generator that needs no seed from outside: the same frames each time.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Frames to everybody, of known and unknown types, with nonsense in them.
fn garbage_frames_are_counted_drops() -> Tested {
    let mut state = 0x5eed;
    let frame = move || {
        let len = 14 + (random(&mut state) % 1400) as usize;
        let mut frame: Vec<u8> = (0..len).map(|_| random(&mut state) as u8).collect();
        frame[..6].fill(0xff);
        frame[6] &= 0xfe;
        let kinds: [[u8; 2]; 4] = [[0x08, 0x00], [0x08, 0x06], [0x86, 0xdd], [0x88, 0xb5]];
        frame[12..14].copy_from_slice(&kinds[(random(&mut state) % 4) as usize]);
        frame
    };
    attack(|_| std::iter::repeat_with(frame).take(FRAMES))
}

/// A SYN to port 80, good up to its TCP checksum, cut at every length.
fn truncated_packets_are_counted_drops() -> Tested {
    attack(|tap| {
        let mut syn = vec![0xff; 6];
        syn.extend([0x02, 0, 0, 0, 0, 1, 0x08, 0x00]);
        syn.extend([0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0]);
        syn.extend(tap.host().octets());
        syn.extend(tap.guest().octets());
        syn.extend([0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
        let sum = syn[14..34].chunks(2).fold(0, |sum, word| sum + u32::from(word[0]) * 256 + u32::from(word[1]));
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        syn[24..26].copy_from_slice(&sum.to_be_bytes());
        let lens = (14..syn.len()).cycle();
        lens.map(move |len| syn[..len].to_vec()).take(FRAMES)
    })
}
