//! SYNs that come again at once from the port of a flow that has just ended.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::guest::{Guest, Spec};
use crate::metrics::{Metrics, wait_until};
use crate::tap::Tap;
use crate::{Failed, Tested, Tests, ensure};

pub const TESTS: Tests = &[
    ("syn::a_port_is_used_again_when_the_client_closed_first_over_ipv4", || same_port(false, Closer::Client)),
    ("syn::a_port_is_used_again_when_the_client_closed_first_over_ipv6", || same_port(true, Closer::Client)),
    ("syn::a_port_is_used_again_when_weir_closed_first_over_ipv4", || same_port(false, Closer::Weir)),
    ("syn::a_port_is_used_again_when_weir_closed_first_over_ipv6", || same_port(true, Closer::Weir)),
    ("syn::a_port_is_used_again_when_the_client_reset", || same_port(false, Closer::ClientByReset)),
];

const HELLO: &str = "[[listener]]\nname = \"web\"\nbind = [\"0.0.0.0:80\", \"[::]:80\"]\n\n\
                     [[listener.route]]\nrespond = { body = \"hello\\n\" }\n";

/// Uses of one port.
const ROUNDS: u32 = 1_000;

/// Time for each step of a client.
const STEP_LIMIT: Duration = Duration::from_secs(20);

fn boot() -> Result<(Guest, Tap), Failed> {
    let tap = Tap::new(2)?;
    let config = tap.config_of_both()? + HELLO;
    let guest = Guest::boot(Spec { config, cores: 2, nic: tap.nic(), ..Spec::default() })?;
    Ok((guest, tap))
}

/// Who ends a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closer {
    Client,
    ClientByReset,
    Weir,
}

/// One client's port is used again as soon as the host lets it.
fn same_port(ipv6: bool, closer: Closer) -> Tested {
    let (mut guest, tap) = boot()?;
    // Linux would keep the port for itself when its client has closed first.
    std::fs::write("/proc/sys/net/ipv4/tcp_max_tw_buckets", "0")?;
    let (from, to) = (tap.host_at(ipv6, 45_678), tap.guest_at(ipv6, 80));
    let event = |metrics: &Metrics, name: &str| metrics.labelled("weir_tcp_total", &format!("event=\"{name}\""));
    let before = Metrics::read(tap.at(9000))?;
    for round in 0..ROUNDS {
        one_use(from, to, closer).map_err(|error| guest.report(&format!("round {round}: {error}")))?;
    }
    guest.still_runs()?;
    let served = |metrics: &Metrics| metrics.labelled("weir_requests_total", "listener=\"web\"");
    let all = |now: &Metrics| served(now) == served(&before) + u64::from(ROUNDS);
    let after = wait_until(&mut guest, tap.at(9000), STEP_LIMIT, all)?;
    let reused = event(&after, "time_wait_reused") - event(&before, "time_wait_reused");
    println!("{reused} flows began where another was in TIME-WAIT");
    // RFC 6191: only who closes first has something to reuse, and only the core that has it.
    let is_right = if closer == Closer::Weir { reused > u64::from(ROUNDS) / 2 } else { reused == 0 };
    ensure(is_right, || format!("{reused} flows began where another was in TIME-WAIT"))
}

fn one_use(from: SocketAddr, to: SocketAddr, closer: Closer) -> Tested {
    let socket = Socket::new(Domain::for_address(from), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&from.into())?;
    socket.connect_timeout(&to.into(), STEP_LIMIT)?;
    // Closing waits for the acknowledgement of our FIN: only then is the port free here.
    socket.set_linger(Some(if closer == Closer::ClientByReset { Duration::ZERO } else { STEP_LIMIT }))?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(STEP_LIMIT))?;
    let fields = if closer == Closer::Weir { "Connection: close\r\n" } else { "" };
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n").as_bytes())?;
    let mut answer = Vec::new();
    if closer != Closer::Weir {
        let mut buffer = [0; 1024];
        while !answer.ends_with(b"hello\n") {
            let count = stream.read(&mut buffer)?;
            ensure(count > 0, || format!("closed after {:?}", String::from_utf8_lossy(&answer)))?;
            answer.extend_from_slice(&buffer[..count]);
        }
    }
    match closer {
        Closer::Client => stream.shutdown(std::net::Shutdown::Write)?,
        Closer::ClientByReset => return Ok(()),
        Closer::Weir => {}
    }
    // To Weir's FIN.
    stream.read_to_end(&mut answer)?;
    ensure(answer.ends_with(b"hello\n"), || format!("{:?}", String::from_utf8_lossy(&answer)))
}
