//! What comes before the first byte of a connection: PROXY headers and ClientHellos.

use super::*;
use crate::client_hello::tests::hello;

fn config(listener: &str, server: &str) -> String {
    format!(
        "[[listener]]\nname = \"web\"\nbind = \"10.0.0.1:80\"\n{listener}\n[[listener.route]]\npool = \"p\"\n\
         [[pool]]\nname = \"p\"\n[[pool.server]]\nname = \"a\"\naddress = \"10.0.0.11:8080\"\n{server}\n"
    )
}

/// Clients of the network in memory come from 192.0.2.1.
const TRUSTED: &str = "trusted_proxies = [\"192.0.2.0/24\"]\nproxy_protocol = true";

const FROM_AFAR: &[u8] = b"PROXY TCP4 203.0.113.9 198.51.100.1 4711 443\r\n";

#[test]
fn a_proxy_in_front_says_who_the_client_is_in_any_pieces() {
    let v2 =
        [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &[203, 0, 113, 9, 198, 51, 100, 1, 0x12, 0x67, 1, 0xbb]].concat();
    for header in [FROM_AFAR, &v2] {
        let bytes = [header, GET].concat();
        for cut in [0, 1, 5, 12, 16, header.len() - 1, header.len(), header.len() + 3] {
            let mut world = World::with(&config(TRUSTED, ""), 16);
            let client = world.open(WEB);
            world.send(client, &bytes[..cut]);
            world.send(client, &bytes[cut..]);
            let server = world.accept();
            let request = world.got(server);
            assert!(request.contains("\r\nX-Forwarded-For: 203.0.113.9\r\n"), "{request}");
            assert!(request.contains("\r\nX-Forwarded-Port: 443\r\n"), "{request}");
            world.send(server, OK);
            assert_eq!(world.statuses(client), [200]);
            world.end(client);
            world.finish();
        }
    }
}

#[test]
fn a_proxy_that_speaks_for_itself_is_the_client() {
    for header in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        let mut world = World::with(&config(TRUSTED, ""), 16);
        let client = world.client(WEB, &[header, GET].concat());
        let server = world.accept();
        assert!(world.got(server).contains("\r\nX-Forwarded-For: 192.0.2.1\r\n"));
        world.send(server, OK);
        world.end(client);
        world.finish();
    }
}

#[test]
fn strangers_and_what_is_no_header_are_refused() {
    let mut world = World::with(&config(&TRUSTED.replace("192.0.2.0/24", "10.0.0.0/8"), ""), 16);
    let client = world.open(WEB);
    assert_eq!((world.net.is_held(client), world.incidents("untrusted_proxy")), (false, 1));
    world.finish();

    let mut world = World::with(&config(TRUSTED, ""), 16);
    let client = world.client(WEB, GET);
    assert_eq!((world.net.is_held(client), world.incidents("bad_proxy_header")), (false, 1));
    let client = world.client(WEB, b"PROXY TCP4 ");
    world.pass(2.9);
    assert!(world.net.is_held(client));
    world.pass(0.2);
    assert_eq!((world.net.is_held(client), world.incidents("preface_timeout")), (false, 1));
    world.finish();
}

/// A proxy of TCP does not look at what its clients say, so it is not believed.
#[test]
fn what_a_client_behind_a_proxy_says_about_itself_is_not_believed() {
    let mut world = World::with(&config(TRUSTED, ""), 16);
    let lie = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n";
    let client = world.client(WEB, &[FROM_AFAR, lie].concat());
    let server = world.accept();
    let request = world.got(server);
    assert!(!request.contains("6.6.6.6") && request.contains("X-Forwarded-For: 203.0.113.9"), "{request}");
    world.send(server, OK);
    world.end(client);
    world.finish();
}

#[test]
fn servers_are_told_who_the_client_is_and_connections_are_not_shared() {
    for (version, start) in
        [("v1", "PROXY TCP4 192.0.2.1 10.0.0.1 "), ("v2", "\r\n\r\n\0\r\nQUIT\n\u{21}\u{11}\0\u{c}")]
    {
        let mut world = World::with(&config("", &format!("proxy_protocol = \"{version}\"")), 16);
        let client = world.open(WEB);
        for _ in 0..2 {
            world.send(client, GET);
            let server = world.accept();
            let got = world.got(server);
            assert!(got.starts_with(start) && got.contains("GET / HTTP/1.1\r\n"), "{got:?}");
            world.send(server, OK);
            assert_eq!(world.statuses(client), [200]);
            assert_eq!(world.gauge("weir_server_connections_idle"), 0);
        }
        world.end(client);
        world.finish();
    }
}

#[test]
fn what_one_proxy_said_is_handed_on() {
    let mut world = World::with(&config(&format!("protocol = \"tcp\"\n{TRUSTED}"), "proxy_protocol = \"v1\""), 16);
    let client = world.client(WEB, &[FROM_AFAR, b"hello"].concat());
    let server = world.accept();
    assert_eq!(world.got(server), "PROXY TCP4 203.0.113.9 198.51.100.1 4711 443\r\nhello");
    world.end(client);
    world.end(server);
    world.finish();
}

#[test]
fn checks_speak_for_nobody() {
    let with_check = config("", "proxy_protocol = \"v2\"")
        .replace("[[pool.server]]", "[pool.health]\nhttp = { path = \"/up\" }\n[[pool.server]]");
    let mut world = World::checking(&with_check);
    world.service.check_servers(&mut world.net);
    let server = world.accept();
    let got = world.got(server);
    assert!(got.starts_with("\r\n\r\n\0\r\nQUIT\n\u{20}\0\0\0GET /up HTTP/1.1\r\n"), "{got:?}");
    world.send(server, b"HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(world.service.poll_verdict(), Some(crate::Verdict { pool: 0, server: 0, is_up: true }));
    world.finish();
}

const BY_NAME: &str = r#"
[[listener]]
name = "tls"
bind = "10.0.0.1:80"
protocol = "tls-passthrough"
[[listener.route]]
host = "a.example"
pool = "a"
[[listener.route]]
host = "*.b.example"
pool = "b"
[[pool]]
name = "a"
[[pool.server]]
name = "a"
address = "10.0.0.11:443"
[[pool]]
name = "b"
balance = "round-robin"
[[pool.server]]
name = "b"
address = "10.0.0.12:443"
"#;

#[test]
fn the_name_that_a_tls_client_asks_for_chooses_the_pool() {
    for (name, address) in
        [("a.example", "10.0.0.11:443"), ("A.Example", "10.0.0.11:443"), ("x.b.example", "10.0.0.12:443")]
    {
        for piece in [1, 7, 100, 10_000] {
            let mut world = World::with(BY_NAME, 16);
            let bytes = hello(Some(name.as_bytes()), 90);
            let client = world.open(WEB);
            for part in bytes.chunks(piece) {
                world.send(client, part);
            }
            assert_eq!(world.connecting().1, address);
            let server = world.accept();
            world.send(client, b"more");
            let sent = world.net.take_sent(server);
            assert_eq!(sent, [&bytes[..], b"more"].concat(), "every byte arrives as it was");
            world.send(server, b"\x16\x03\x03");
            assert_eq!(world.got(client).len(), 3);
            world.end(client);
            world.end(server);
            world.finish();
        }
    }
}

#[test]
fn a_hello_is_kept_for_the_next_server() {
    let two = format!("{BY_NAME}[[pool.server]]\nname = \"c\"\naddress = \"10.0.0.13:443\"\n");
    let mut world = World::with(&two, 16);
    let bytes = hello(Some(b"x.b.example"), 1_000);
    let client = world.client(WEB, &bytes);
    let (refuser, _) = world.connecting();
    world.net.fail(refuser, weir_socket::CloseReason::Refused);
    world.run();
    assert_eq!(world.connecting().1, "10.0.0.13:443");
    let server = world.accept();
    assert_eq!(world.net.take_sent(server), bytes);
    world.end(client);
    world.end(server);
    world.finish();
}

#[test]
fn what_is_no_hello_or_has_no_route_is_reset() {
    let mut world = World::with(BY_NAME, 16);
    for (bytes, name) in [
        (GET.to_vec(), "bad_client_hello"),
        (hello(Some(b"c.example"), 1_000), "no_route"),
        (hello(None, 1_000), "no_route"),
    ] {
        let client = world.client(WEB, &bytes);
        assert_eq!((world.net.is_held(client), world.incidents(name) > 0), (false, true), "{name}");
    }
    let client = world.client(WEB, &[22, 3, 1, 0x3f, 0xff]);
    world.send(client, &[1, 0, 0x3f, 0xf0]);
    for _ in 0..3 {
        world.pass(0.9);
        world.send(client, &[0; 100]);
    }
    world.pass(0.4);
    assert_eq!((world.net.is_held(client), world.incidents("preface_timeout")), (false, 1), "however slowly it comes");
    world.finish();
}
