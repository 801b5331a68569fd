//! Large transfers through the proxy in bad weather: every byte arrives.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use weir_peer::Conditions;

use crate::guest::{Guest, Spec};
use crate::lab::long;
use crate::link::Link;
use crate::proxy::noise;
use crate::tap::Tap;
use crate::{Failed, Tested, Tests, ensure, http};

pub const TESTS: Tests = &[
    ("transfer::down_over_ipv4_in_bad_weather", || down(false)),
    ("transfer::down_over_ipv6_in_bad_weather", || down(true)),
    ("transfer::up_over_ipv4_in_bad_weather", || up(false)),
    ("transfer::up_over_ipv6_in_bad_weather", || up(true)),
];

/// As `tc netem loss 1% delay 20ms reorder 5%` on the TAP.
const TOWARDS_GUEST: Conditions =
    Conditions { loss_per_mille: 10, reorder_per_mille: 50, delay: Duration::from_millis(20), ..Conditions::CLEAR };

/// `tc` cannot spoil what comes out of an interface, and that is where Weir's own data is: the same, without the delay.
const TOWARDS_HOST: Conditions = Conditions { delay: Duration::ZERO, ..TOWARDS_GUEST };

/// Port of the server on the host.
const PORT: u16 = 8001;

/// Time for one read or write: several retransmissions in a row.
const STEP_LIMIT: Duration = Duration::from_secs(60);

fn len() -> usize {
    if long() { 1 << 30 } else { 16 << 20 }
}

/// A guest that forwards to a server on the host over the same family, everything through the weather.
fn boot(ipv6: bool) -> Result<(Guest, Tap, Link), Failed> {
    let tap = Tap::new(1)?;
    let config = tap.config_of_both()?
        + &format!(
            "[limits]\nbody = \"2GiB\"\n\n[[listener]]\nname = \"web\"\nbind = [\"0.0.0.0:80\", \"[::]:80\"]\n\n\
             [[listener.route]]\npool = \"p\"\n\n[[pool]]\nname = \"p\"\n\n\
             [[pool.server]]\nname = \"s\"\naddress = \"{}\"\n",
            tap.host_at(ipv6, PORT)
        );
    start_server(tap.host_at(ipv6, PORT))?;
    let link = Link::new(&tap, TOWARDS_GUEST, TOWARDS_HOST, 1)?;
    let guest = Guest::boot(Spec { config, extra: link.arguments(), ..Spec::default() })?;
    Ok((guest, tap, link))
}

fn down(ipv6: bool) -> Tested {
    let (mut guest, tap, _link) = boot(ipv6)?;
    let start = Instant::now();
    let path = format!("/{}", len());
    let (got_len, got) =
        http::digest(tap.guest_at(ipv6, 80), &path).map_err(|error| guest.report(&error.to_string()))?;
    judge("down", ipv6, start.elapsed(), got_len, &got)?;
    guest.still_runs()
}

fn up(ipv6: bool) -> Tested {
    let (mut guest, tap, _link) = boot(ipv6)?;
    let start = Instant::now();
    let answer = post(tap.guest_at(ipv6, 80)).map_err(|error| guest.report(&error.to_string()))?.text();
    let (got_len, got) = answer.split_once(' ').ok_or_else(|| format!("no answer: {answer:?}"))?;
    judge("up", ipv6, start.elapsed(), got_len.parse()?, got)?;
    guest.still_runs()
}

fn judge(direction: &str, ipv6: bool, took: Duration, got_len: u64, got: &str) -> Tested {
    let mut expected = Sha256::new();
    write_noise(len(), |block| {
        expected.update(block);
        Ok(())
    })?;
    let expected = http::hex(&expected.finalize());
    let family = if ipv6 { 6 } else { 4 };
    println!("{direction} over IPv{family}: {got_len} bytes in {:.1} s, SHA-256 {got}", took.as_secs_f64());
    ensure(got_len == len() as u64 && got == expected, || format!("{got_len} of {} bytes, SHA-256 {got}", len()))
}

/// Sends noise to the server behind the guest, and gets what that has got: length and SHA-256.
fn post(address: SocketAddr) -> Result<http::Response, Failed> {
    let head = format!("POST / HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", len());
    let mut stream = http::connect(address, head.as_bytes())?;
    limit(&stream)?;
    write_noise(len(), |block| stream.write_all(block))?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response)?;
    http::parse(response)
}

fn limit(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(STEP_LIMIT))?;
    stream.set_write_timeout(Some(STEP_LIMIT))
}

fn write_noise(len: usize, mut write: impl FnMut(&[u8]) -> std::io::Result<()>) -> std::io::Result<()> {
    let mut block = Vec::with_capacity(64 << 10);
    for word in noise(1, len) {
        block.extend(word);
        if block.len() == block.capacity() {
            write(&block)?;
            block.clear();
        }
    }
    write(&block)
}

/// A server that gives so many bytes of noise as the path says, and tells of what it is given length and SHA-256.
fn start_server(address: SocketAddr) -> Tested {
    let listener = TcpListener::bind(address)?;
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || serve(stream));
        }
    });
    Ok(())
}

fn serve(stream: TcpStream) -> Tested {
    limit(&stream)?;
    let mut output = stream.try_clone()?;
    let mut input = BufReader::with_capacity(256 << 10, stream);
    loop {
        let (mut path, mut body_len) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if input.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if path.is_empty() {
                path = line.split(' ').nth(1).unwrap_or_default().trim_matches('/').to_owned();
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                body_len = value.trim().parse()?;
            }
            if line == "\r\n" {
                break;
            }
        }
        match path.parse() {
            Ok(len) => {
                write!(output, "HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n")?;
                write_noise(len, |block| output.write_all(block))?;
            }
            Err(_) => {
                let answer = digest(&mut input.by_ref().take(body_len))?;
                write!(output, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len())?;
            }
        }
    }
}

/// Length and SHA-256 of all that comes.
fn digest(input: &mut impl Read) -> Result<String, Failed> {
    let (mut hash, mut len, mut buffer) = (Sha256::new(), 0, vec![0; 256 << 10]);
    loop {
        let count = input.read(&mut buffer)?;
        if count == 0 {
            return Ok(format!("{len} {}", http::hex(&hash.finalize())));
        }
        hash.update(&buffer[..count]);
        len += count;
    }
}
