//! Tunnels: protocols that servers switch to, and listeners of plain TCP.

use super::*;
use weir_socket::CloseReason;

const UPGRADE: &[u8] = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

const TCP: &str = r#"
[[listener]]
name = "tcp"
bind = "10.0.0.1:80"
protocol = "tcp"
[[listener.route]]
pool = "p"
[[pool]]
name = "p"
balance = "round-robin"
[[pool.server]]
name = "a"
address = "10.0.0.11:25"
[[pool.server]]
name = "b"
address = "10.0.0.12:25"
"#;

/// A world with a tunnel that a server switched to, and its two ends.
fn switched() -> (World, Peer, Peer) {
    let mut world = World::new();
    let client = world.client(ONE, UPGRADE);
    let server = world.accept();
    let request = world.got(server);
    assert!(request.starts_with("GET /chat HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: dGhl"), "{request}");
    assert!(request.contains("\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"), "{request}");
    world.send(server, SWITCHING);
    let response = world.got(client);
    assert!(response.starts_with("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3p"), "{response}");
    assert!(response.ends_with("\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"), "{response}");
    (world, client, server)
}

#[test]
fn after_101_bytes_go_both_ways_untouched() {
    let (mut world, client, server) = switched();
    for round in 0..3 {
        world.send(client, format!("GET {round}\r\n\r\n").as_bytes());
        assert_eq!(world.got(server), format!("GET {round}\r\n\r\n"));
        world.send(server, b"HTTP/1.1 500 \0\xff");
        assert_eq!(world.got(client), "HTTP/1.1 500 \0\u{fffd}");
    }
    world.end(client);
    world.end(server);
    assert!(!world.net.is_held(client) && !world.net.is_held(server));
    assert_eq!(world.gauge("weir_server_connections_idle"), 0, "such a connection is of no use to others");
    world.finish();
}

#[test]
fn what_comes_along_with_the_heads_is_not_lost() {
    let mut world = World::new();
    let client = world.client(ONE, &[UPGRADE, b"early"].concat());
    let server = world.accept();
    assert!(world.got(server).ends_with("\r\n\r\n"), "it may be refused, so nothing follows yet");
    world.send(server, &[SWITCHING, b"hello"].concat());
    assert!(world.got(client).ends_with("\r\n\r\nhello"));
    assert_eq!(world.got(server), "early");
    world.reset(client);
    assert!(!world.net.is_held(server));
    world.finish();
}

#[test]
fn a_server_that_does_not_switch_answers_as_always() {
    let mut world = World::new();
    let client = world.client(ONE, UPGRADE);
    let server = world.served(client);
    world.send(client, GET);
    world.send(server, OK);
    assert_eq!(world.statuses(client), [200]);
    world.end(client);
    world.finish();
}

#[test]
fn nobody_switches_who_was_not_asked() {
    for request in [
        GET,
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
        b"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket, H2C\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: TLS/1.0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\n.",
    ] {
        let mut world = World::new();
        let client = world.client(ONE, request);
        let server = world.accept();
        let forwarded = world.got(server).to_lowercase();
        assert!(!forwarded.contains("upgrade") && !forwarded.contains("http2-settings"), "{forwarded}");
        world.send(server, SWITCHING);
        assert_eq!(world.statuses(client), [502]);
        world.end(client);
        world.finish();
    }
    let mut world = World::new();
    let client = world.client(ONE, UPGRADE);
    let server = world.accept();
    world.send(server, b"HTTP/1.1 101 Switching\r\n\r\n");
    assert_eq!(world.statuses(client), [502], "to what?");
    world.end(client);
    world.finish();
}

#[test]
fn tcp_goes_to_a_server_and_back() {
    let mut world = World::with(TCP, 16);
    let client = world.client(WEB, b"EHLO a\r\n");
    let server = world.accept();
    assert_eq!(world.got(server), "EHLO a\r\n");
    world.send(server, b"250 b\r\n");
    assert_eq!(world.got(client), "250 b\r\n");
    assert_eq!(world.service.counters().get("weir_server_requests_total", "p/a"), Some(1));
    // Half of it ends, the other half goes on.
    world.end(client);
    assert!(world.net.sent_end(server));
    world.send(server, b"late");
    assert_eq!(world.got(client), "late");
    world.end(server);
    assert!(!world.net.is_held(client) && !world.net.is_held(server));
    world.finish();
}

#[test]
fn a_server_may_speak_first() {
    let mut world = World::with(TCP, 16);
    let client = world.open(WEB);
    let server = world.accept();
    world.send(server, b"220 hello\r\n");
    assert_eq!(world.got(client), "220 hello\r\n");
    world.end(server);
    assert!(world.net.sent_end(client));
    world.send(client, b"QUIT");
    assert_eq!(world.got(server), "QUIT");
    world.end(client);
    world.finish();
}

#[test]
fn tcp_finds_another_server_and_keeps_what_the_client_sent() {
    let mut world = World::with(TCP, 16);
    let client = world.client(WEB, b"hello");
    let (refuser, _) = world.connecting();
    world.net.fail(refuser, CloseReason::Refused);
    world.run();
    let (_, address) = world.connecting();
    assert_eq!(address, "10.0.0.12:25");
    let server = world.accept();
    assert_eq!(world.got(server), "hello");
    world.end(client);
    world.end(server);
    world.finish();
}

#[test]
fn without_a_server_the_client_is_reset() {
    let mut world = World::with(TCP, 16);
    let client = world.open(WEB);
    for _ in 0..2 {
        let (refuser, _) = world.connecting();
        world.net.fail(refuser, CloseReason::Refused);
        world.run();
    }
    assert!(!world.net.is_held(client));
    world.finish();
}

#[test]
fn a_reset_of_one_end_resets_the_other() {
    for by_client in [true, false] {
        let mut world = World::with(TCP, 16);
        let client = world.open(WEB);
        let server = world.accept();
        let (gone, other) = if by_client { (client, server) } else { (server, client) };
        world.reset(gone);
        assert!(!world.net.is_held(other));
        world.finish();
    }
}

#[test]
fn a_tunnel_in_which_nothing_moves_ends() {
    let mut world = World::with(TCP, 16);
    let client = world.open(WEB);
    let server = world.accept();
    for _ in 0..3 {
        world.pass(3_500.0);
        world.send(server, b"x");
        assert_eq!(world.got(client), "x");
    }
    world.pass(3_601.0);
    assert_eq!((world.incidents("tunnel_timeout"), world.net.is_held(client)), (1, false));
    let client = world.open(WEB);
    let server = world.accept();
    world.end(client);
    world.pass(29.0);
    assert!(world.net.is_held(server));
    world.pass(2.0);
    assert_eq!((world.incidents("tunnel_timeout"), world.net.is_held(server)), (2, false));
    world.finish();
}

#[test]
fn who_does_not_read_holds_the_other_back() {
    let mut world = World::with(TCP, 16);
    let client = world.open(WEB);
    let server = world.accept();
    world.net.set_send_queue(1_000);
    for _ in 0..50 {
        world.send(server, &[b'x'; 500]);
    }
    let received = world.net.take_sent(client).len();
    assert!(received < 3_000, "{received}");
    world.run();
    assert_eq!(received + world.got(client).len(), 25_000, "and nothing is lost");
    world.end(client);
    world.end(server);
    world.finish();
}

#[test]
fn connections_wait_for_a_server_with_room() {
    let limited = TCP.replace("address = \"10.0.0.11:25\"\n", "address = \"10.0.0.11:25\"\nmax_connections = 1\n");
    let one = limited.split("[[pool.server]]\nname = \"b\"").next().expect("the first server");
    let mut world = World::with(one, 16);
    let first = world.open(WEB);
    let server = world.accept();
    let second = world.client(WEB, b"waiting");
    assert_eq!(world.gauge("weir_requests_queued"), 1);
    world.end(first);
    world.end(server);
    let server = world.accept();
    assert_eq!(world.got(server), "waiting");
    world.end(second);
    world.end(server);
    world.finish();
}
