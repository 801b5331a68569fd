//! The programs that users put in front of a balancer, behind it, and against it.

use std::fs;
use std::net::SocketAddrV4;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use weir_host::tether;

use crate::daemon::{Daemon, nginx, nginx_with};
use crate::lab::command_line;
use crate::proxy::{PORTS, balancer};
use crate::serve::boot_two;
use crate::tap::Tap;
use crate::{CannotTest, Failed, Tested, Tests, ensure, http, metrics};

pub const TESTS: Tests = &[
    ("peers::load_generators_find_no_error", load_generators),
    ("peers::haproxy_in_front_and_behind_says_who_the_client_is", proxy_headers),
    ("peers::nginx_in_front_and_haproxy_behind", between_others),
    ("peers::a_websocket_echoes", websocket),
    ("peers::tls_is_passed_through_by_name", tls_passthrough),
    ("peers::tcp_is_passed_through", tcp),
    ("peers::slow_clients_cost_curl_nothing", slow_clients),
    ("peers::options_of_curl", options_of_curl),
];

/// Whether a program is there.
pub fn needs(program: &'static str, why: &'static str) -> Tested {
    let found = ["/usr/bin", "/usr/sbin", "/bin"].iter().any(|folder| Path::new(folder).join(program).exists());
    if found { Ok(()) } else { Err(CannotTest(why).into()) }
}

fn server(tap: &Tap, port: u16, location: &str) -> Result<Daemon, Failed> {
    let root = tempfile::tempdir()?;
    nginx(SocketAddrV4::new(tap.host(), port), root.path(), location)
}

fn hello(port: u16) -> String {
    format!("location / {{ return 200 \"{port}\\n\"; }}")
}

/// `hey`, `h2load`, `wrk` and `ab` through the balancer, each with its own idea of HTTP.
fn load_generators() -> Tested {
    needs("hey", "there is no hey")?;
    needs("h2load", "there is no h2load")?;
    let (mut guest, tap) = boot_two(|tap| balancer(tap, &PORTS))?;
    let _servers = [server(&tap, PORTS[0], &hello(PORTS[0]))?, server(&tap, PORTS[1], &hello(PORTS[1]))?];
    let web = tap.at(80);
    let said = command_line(&format!("hey -n 2000 -c 20 http://{web}/"))?;
    ensure(said.contains("[200]\t2000 responses") && !said.contains("Error distribution"), || said.clone())?;
    let said = command_line(&format!("hey -n 500 -c 10 -disable-keepalive http://{web}/"))?;
    ensure(said.contains("[200]\t500 responses") && !said.contains("Error distribution"), || said.clone())?;
    let said = command_line(&format!("h2load --h1 -n 2000 -c 20 -t 1 http://{web}/"))?;
    ensure(said.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), || said.clone())?;
    let said = command_line(&format!("ab -q -k -n 2000 -c 20 http://{web}/"))?;
    ensure(said.contains("Failed requests:        0") && !said.contains("Non-2xx"), || said.clone())?;
    guest.still_runs()
}

/// HAProxy speaks PROXY v2 to us, we speak v2 to one nginx and v1 to the other: both see HAProxy's client.
fn proxy_headers() -> Tested {
    needs("haproxy", "there is no haproxy")?;
    let config = |tap: &Tap| {
        let host = tap.host();
        format!(
            "[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\nproxy_protocol = true\ntrusted_proxies = \"{host}\"\n\
             [[listener.route]]\npool = \"p\"\n[[pool]]\nname = \"p\"\n\
             [pool.health]\nhttp = {{ path = \"/\" }}\ninterval = \"200ms\"\n\
             [[pool.server]]\nname = \"a\"\naddress = \"{host}:{}\"\nproxy_protocol = \"v2\"\n\
             [[pool.server]]\nname = \"b\"\naddress = \"{host}:{}\"\nproxy_protocol = \"v1\"\n",
            PORTS[0], PORTS[1]
        )
    };
    let (mut guest, tap) = boot_two(config)?;
    let host = tap.host();
    let location = "location / { return 200 \"$proxy_protocol_addr $http_x_forwarded_for\\n\"; }";
    let start = |port: u16| -> Result<Daemon, Failed> {
        let root = tempfile::tempdir()?;
        nginx_with(&format!("{host}:{port} proxy_protocol"), root.path(), location)
    };
    let _servers = [start(PORTS[0])?, start(PORTS[1])?];
    let all_up = |now: &metrics::Metrics| now.sum("weir_server_up") == 4;
    metrics::wait_until(&mut guest, tap.at(9000), Duration::from_secs(20), all_up)?;
    let _haproxy = haproxy(&format!(
        "frontend f\n  bind {host}:8100\n  default_backend w\nbackend w\n  server w {} send-proxy-v2\n",
        tap.at(80)
    ))?;
    let front = SocketAddrV4::new(host, 8100);
    let client = "127.0.0.1";
    for _ in 0..4 {
        let seen = wait_for_answer(front)?;
        // The client of HAProxy is this host at its own address.
        ensure(seen == format!("{host} {host}\n"), || format!("{seen:?}, not {host} twice ({client})"))?;
    }
    // Who comes without a header, from the address that is trusted, is not answered.
    ensure(http::get(tap.at(80), "/").is_err(), || "answered without a PROXY header".into())?;
    guest.still_runs()
}

/// nginx passes requests on to us, and we to an HAProxy that wants a PROXY header: each keeps to its own idea of HTTP.
fn between_others() -> Tested {
    needs("haproxy", "there is no haproxy")?;
    let config = |tap: &Tap| {
        let server = format!("address = \"{}:{}\"\nproxy_protocol = \"v2\"\n", tap.host(), PORTS[0]);
        format!(
            "[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\n[[listener.route]]\npool = \"p\"\n\
             [[pool]]\nname = \"p\"\n[[pool.server]]\nname = \"a\"\n{server}"
        )
    };
    let (mut guest, tap) = boot_two(config)?;
    let host = tap.host();
    let said =
        "http-request return status 200 content-type text/plain lf-string \"%ci %[req.hdr(x-forwarded-for)]\\n\"";
    let _haproxy = haproxy(&format!("frontend f\n  bind {host}:{} accept-proxy\n  {said}\n", PORTS[0]))?;
    let front = SocketAddrV4::new(host, PORTS[1]);
    let pass = format!("location / {{ proxy_http_version 1.1; proxy_pass http://{}; }}", tap.at(80));
    let _nginx = nginx(front, tempfile::tempdir()?.path(), &pass)?;
    // Our client is nginx, on this host.
    let seen = wait_for_answer(front)?;
    ensure(seen == format!("{host} {host}\n"), || format!("{seen:?}, not {host} twice"))?;
    let said = command_line(&format!("ab -q -k -n 1000 -c 10 http://{front}/"))?;
    ensure(said.contains("Failed requests:        0") && !said.contains("Non-2xx"), || said.clone())?;
    guest.still_runs()
}

/// Asks until there is an answer, since a program in front may still be starting.
fn wait_for_answer(address: SocketAddrV4) -> Result<String, Failed> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match http::get(address, "/") {
            Ok(answer) if answer.status == 200 => return Ok(answer.text()),
            Ok(answer) if Instant::now() > deadline => return Err(answer.head.into()),
            Err(error) if Instant::now() > deadline => return Err(error),
            _ => thread::yield_now(),
        }
    }
}

fn haproxy(sections: &str) -> Result<Daemon, Failed> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("haproxy.cfg");
    let defaults = "global\n  maxconn 1000\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n";
    fs::write(&file, format!("{defaults}{sections}"))?;
    Ok(Daemon::with_folder(background("haproxy", &["-db", "-f", &file.display().to_string()])?, folder))
}

fn background(program: &str, arguments: &[&str]) -> Result<Child, Failed> {
    let mut command = tether::command(program, None);
    Ok(command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
}

/// A server and a client made with Python's `websockets`, which check each other's handshake.
const ECHO: &str = "
import asyncio, sys, websockets
host, port = sys.argv[1].split(':')
async def echo(socket, *path):
    async for message in socket:
        await socket.send(message)
async def main():
    async with websockets.serve(echo, host, int(port)):
        async with websockets.connect('ws://' + sys.argv[2] + '/chat') as socket:
            for size in (0, 1, 125, 126, 65535, 65536, 300000):
                text = 'x' * size
                await socket.send(text)
                assert await socket.recv() == text
            await socket.ping()
asyncio.run(main())
print('echoed')
";

fn websocket() -> Tested {
    command_line("/usr/bin/python3 -c import\twebsockets").map_err(|_| CannotTest("there is no python3-websockets"))?;
    let (mut guest, tap) = boot_two(|tap| balancer(tap, &PORTS[..1]))?;
    let mut command = tether::command("/usr/bin/python3", None);
    let (server, web) = (format!("{}:{}", tap.host(), PORTS[0]), tap.at(80).to_string());
    let output = command.args(["-c", ECHO, &server, &web]).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure(said.trim() == "echoed", || format!("{said}{}", String::from_utf8_lossy(&output.stderr)))?;
    guest.still_runs()
}

/// A certificate for a name, made for this test.
fn certificate(folder: &TempDir, name: &str) -> Result<(String, String), Failed> {
    let [key, cert] = ["key", "crt"].map(|end| folder.path().join(format!("{name}.{end}")).display().to_string());
    command_line(&format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN={name} \
         -addext subjectAltName=DNS:{name} -keyout {key} -out {cert}"
    ))?;
    Ok((key, cert))
}

/// Two servers that end TLS; the client checks the certificate of each.
fn tls_passthrough() -> Tested {
    needs("openssl", "there is no openssl")?;
    let config = |tap: &Tap| {
        let host = tap.host();
        let mut text =
            "[[listener]]\nname = \"tls\"\nbind = \"0.0.0.0:443\"\nprotocol = \"tls-passthrough\"\n".to_owned();
        for (name, port) in [("a.example", PORTS[0]), ("b.example", PORTS[1])] {
            text += &format!("[[listener.route]]\nhost = \"{name}\"\npool = \"{name}\"\n");
            text +=
                &format!("[[pool]]\nname = \"{name}\"\n[[pool.server]]\nname = \"s\"\naddress = \"{host}:{port}\"\n");
        }
        text
    };
    let (mut guest, tap) = boot_two(config)?;
    let folder = tempfile::tempdir()?;
    let mut servers = Vec::new();
    for (name, port) in [("a.example", PORTS[0]), ("b.example", PORTS[1])] {
        let (key, cert) = certificate(&folder, name)?;
        let location = format!(
            "ssl_certificate {cert}; ssl_certificate_key {key}; location / {{ return 200 \"$ssl_server_name\\n\"; }}"
        );
        let root = tempfile::tempdir()?;
        servers.push(nginx_with(&format!("{}:{port} ssl", tap.host()), root.path(), &location)?);
    }
    let web = tap.at(443);
    let ask = |name: &str, cert: &str| {
        let cert = folder.path().join(format!("{cert}.crt")).display().to_string();
        command_line(&format!(
            "curl -sS --max-time 20 --cacert {cert} --resolve {name}:443:{} https://{name}/",
            web.ip()
        ))
    };
    for name in ["a.example", "b.example"] {
        ensure(ask(name, name)? == format!("{name}\n"), || format!("{name} was not answered by its own server"))?;
    }
    ensure(ask("c.example", "a.example").is_err(), || "a name without a route was answered".into())?;
    ensure(http::get(web, "/").is_err(), || "what is no TLS was answered".into())?;
    guest.still_runs()
}

fn tcp() -> Tested {
    let (mut guest, tap) = boot_two(|tap| balancer(tap, &PORTS).replace("bind =", "protocol = \"tcp\"\nbind ="))?;
    let _servers = [server(&tap, PORTS[0], &hello(PORTS[0]))?, server(&tap, PORTS[1], &hello(PORTS[1]))?];
    for _ in 0..20 {
        let answer = http::get(tap.at(80), "/").map_err(|error| guest.report(&error.to_string()))?;
        ensure(answer.status == 200, || answer.head.clone())?;
        ensure(!answer.head.contains("weir"), || answer.head.clone())?;
    }
    guest.still_runs()
}

/// The four modes of slowhttptest at the same time, and `curl` beside them.
fn slow_clients() -> Tested {
    needs("slowhttptest", "there is no slowhttptest")?;
    let (mut guest, tap) = boot_two(|tap| balancer(tap, &PORTS[..1]))?;
    let location = "location / { return 200 \"hello\\n\"; } location /big { root ROOT; }";
    let root = tempfile::tempdir()?;
    fs::write(root.path().join("big"), vec![b'x'; 1 << 20])?;
    let _server = nginx(SocketAddrV4::new(tap.host(), PORTS[0]), root.path(), location)?;
    let web = tap.at(80);
    let (slash, big) = (format!("http://{web}/"), format!("http://{web}/big"));
    let common = ["-c", "150", "-r", "100", "-l", "12", "-p", "10"];
    let modes: [&[&str]; 4] = [
        &["-H", "-i", "2", "-u", &slash],
        &["-B", "-i", "2", "-s", "8192", "-u", &slash],
        &["-R", "-u", &slash, "-a", "10", "-b", "3000"],
        &["-X", "-w", "512", "-y", "1024", "-n", "1", "-z", "32", "-k", "3", "-u", &big],
    ];
    let mut attackers = Vec::new();
    for mode in modes {
        attackers.push(background("slowhttptest", &[mode, &common].concat())?);
    }
    let mut answered = 0;
    while attackers.iter_mut().any(|attacker| matches!(attacker.try_wait(), Ok(None))) {
        let said = command_line(&format!("curl -sS --max-time 10 {slash}"));
        let said = said.unwrap_or_else(|error| error.to_string());
        ensure(said == "hello\n", || {
            guest.report(&format!("curl: {said}\n{}", metrics::incidents(tap.at(9000)))).to_string()
        })?;
        answered += 1;
    }
    ensure(answered > 20, || format!("only {answered} requests were asked"))?;
    guest.still_runs()
}

/// What `curl` can do with HTTP/1 through a proxy that it does not see.
fn options_of_curl() -> Tested {
    let (mut guest, tap) = boot_two(|tap| balancer(tap, &PORTS[..1]))?;
    let root = tempfile::tempdir()?;
    let body = root.path().join("body");
    fs::write(&body, vec![b'x'; 300_000])?;
    let location = "location / { return 200 \"$request_method $http_content_length $http_transfer_encoding $http_range\\n\"; } \
                    location /big { root ROOT; } absolute_redirect off; location /moved { return 301 /; }";
    fs::write(root.path().join("big"), vec![b'y'; 100_000])?;
    let _server = nginx(SocketAddrV4::new(tap.host(), PORTS[0]), root.path(), location)?;
    let (at, file) = (format!("http://{}", tap.at(80)), body.display().to_string());
    for (options, path, expected) in [
        ("", "/", "GET   \n"),
        ("--http1.0", "/", "GET   \n"),
        ("-H Connection:close", "/", "GET   \n"),
        ("--compressed", "/", "GET   \n"),
        ("-L", "/moved", "GET   \n"),
        ("-X DELETE", "/", "DELETE   \n"),
        ("-X PURGE", "/", "PURGE   \n"),
        ("-d a=b", "/", "POST 3  \n"),
        (&format!("--data-binary @{file}"), "/", "POST 300000  \n"),
        (&format!("-T {file}"), "/", "PUT 300000  \n"),
        (&format!("-H Transfer-Encoding:chunked -d @{file}"), "/", "POST  chunked \n"),
        (&format!("-H Expect:100-continue -T {file}"), "/", "PUT 300000  \n"),
        ("-r 0-99", "/big", &"y".repeat(100)),
        ("--tcp-nodelay --no-keepalive", "/", "GET   \n"),
    ] {
        let spaced = if options.is_empty() { String::new() } else { format!("{options} ") };
        let line = format!("curl -sS --max-time 20 {spaced}{at}{path}");
        let said = command_line(&line).map_err(|error| guest.report(&error.to_string()))?;
        ensure(said == expected, || format!("{line}: {said:?}"))?;
    }
    let head = command_line(&format!("curl -sS --max-time 20 -I {at}/big"))?;
    ensure(head.contains("Content-Length: 100000"), || head.clone())?;
    guest.still_runs()
}
