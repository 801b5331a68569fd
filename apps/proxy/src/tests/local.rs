//! What the service answers itself.

use super::*;
use weir_socket::CloseReason;

const HELLO: &[u8] = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn one_connection_takes_many_requests() {
    let mut world = World::new();
    let client = world.open(LOCAL);
    for _ in 0..3 {
        world.send(client, HELLO);
        let response = world.got(client);
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n") && response.ends_with("\r\n\r\nhello\n"), "{response}");
        assert!(response.contains("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n") && !response.contains("Connection"));
    }
    assert_eq!(world.service.counters().get("weir_requests_total", "local"), Some(3));
    assert_eq!(world.service.counters().get("weir_responses_total", "2xx"), Some(3));
    world.end(client);
    assert!(world.net.sent_end(client) && !world.net.was_aborted(client));
    world.finish();
}

#[test]
fn a_request_may_come_in_any_pieces() {
    let mut world = World::new();
    let client = world.open(LOCAL);
    for _ in 0..2 {
        for byte in HELLO {
            assert_eq!(world.got(client), "");
            world.send(client, &[*byte]);
        }
        assert_eq!(world.statuses(client), [200]);
    }
    let (first, second) = HELLO.split_at(20);
    world.send(client, first);
    world.send(client, &[second, HELLO, &HELLO[..10]].concat());
    assert_eq!(world.statuses(client), [200, 200]);
    world.send(client, &HELLO[10..]);
    assert_eq!(world.statuses(client), [200]);
    world.end(client);
    world.finish();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut world = World::new();
    let old = b"GET /old HTTP/1.1\r\nHost: a\r\n\r\n";
    let client =
        world.client(LOCAL, &[HELLO, old, HELLO, b"\r\n", HELLO, b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
    assert_eq!(world.statuses(client), [200, 308, 200, 200, 404]);
    world.end(client);
    world.finish();
}

#[test]
fn a_client_that_reads_nothing_is_sent_no_more_than_its_queue_holds() {
    let mut world = World::new();
    world.net.set_send_queue(1000);
    let client = world.client(LOCAL, &HELLO.repeat(200));
    let held = world.net.pool().in_use();
    assert!(held < 20, "{held} buffers are waiting");
    assert_eq!(world.statuses(client).len(), 200);
    world.end(client);
    world.finish();
}

#[test]
fn versions_and_connection_options() {
    let mut world = World::new();
    for (request, connection, stays) in [
        ("GET /hello HTTP/1.0\r\n\r\n", "Connection: close\r\n", false),
        ("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "Connection: keep-alive\r\n", true),
        ("GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "Connection: close\r\n", false),
    ] {
        let client = world.client(LOCAL, request.as_bytes());
        let response = world.got(client);
        assert!(response.contains(connection) && response.ends_with("hello\n"), "{response}");
        assert_eq!(world.net.is_held(client), stays, "{request}");
        assert_eq!(world.net.sent_end(client), !stays);
    }
    let client = world.client(ONCE, HELLO);
    assert!(world.got(client).contains("Connection: close\r\n"));
    assert!(!world.net.is_held(client));
    world.finish();
}

#[test]
fn methods() {
    let mut world = World::new();
    for (method, path, status) in [
        ("HEAD", "/", 200),
        ("POST", "/", 405),
        ("OPTIONS", "/", 405),
        ("POST", "/hello", 200),
        ("BREW", "/hello", 501),
        ("GET", "/files/none", 404),
        ("DELETE", "/files/none", 405),
    ] {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let client = world.client(LOCAL, request.as_bytes());
        let response = world.got(client);
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{request}{response}");
        assert_eq!(response.ends_with("\r\n\r\n"), method == "HEAD");
        assert_eq!(response.contains("Allow: GET, HEAD\r\n"), status == 405);
        world.end(client);
    }
    let client = world.client(LOCAL, b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n");
    assert_eq!(world.statuses(client), [501]);
    assert_eq!(world.rejects("connect"), 1);
    world.end(client);
    world.finish();
}

#[test]
fn a_request_s_body_is_passed_over() {
    let mut world = World::new();
    let post = b"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n";
    let client = world.client(LOCAL, &[&post[..], b"01234"].concat());
    assert_eq!(world.statuses(client), [200]);
    world.send(client, &[b"56789", HELLO].concat());
    assert_eq!(world.statuses(client), [200]);
    let chunked = b"POST /hello HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    world.send(client, &[&chunked[..], HELLO].concat());
    assert_eq!(world.statuses(client), [200, 200]);
    world.send(client, &[&chunked[..60], b"\r\nnonsense"].concat());
    world.end(client);
    world.finish();
}

#[test]
fn after_an_unfulfilled_expectation_the_connection_ends() {
    let mut world = World::new();
    let post = b"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n";
    let client = world.client(LOCAL, post);
    let response = world.got(client);
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n") && response.contains("Connection: close\r\n"), "{response}");
    assert!(world.net.sent_end(client));
    world.end(client);
    world.finish();
}

#[test]
fn a_bad_request_is_answered_counted_and_ends_the_connection() {
    let mut world = World::new();
    for (request, status, name) in [
        (&b"GET / HTTP/1.1\nHost: a\r\n\r\n"[..], 400, "line_end"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "host_missing"),
        (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505, "version"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n", 413, "body_too_large"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "start_line"),
    ] {
        // What follows a bad head must never be taken for a request.
        let client = world.client(LOCAL, &[request, HELLO].concat());
        let response = world.got(client);
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{response}");
        assert!(response.contains("Connection: close\r\n") && !response.contains("hello"));
        assert_eq!(world.rejects(name), 1, "{name}");
        // The client may go on sending: its bytes are dropped, and the response is not lost in a reset.
        assert!(world.net.sent_end(client) && world.net.is_held(client));
        world.send(client, HELLO);
        assert_eq!(world.got(client), "");
        world.end(client);
        assert!(!world.net.is_held(client) && !world.net.was_aborted(client));
    }
    let long_target = [b"GET /", &[b'x'; 9000][..]].concat();
    let client = world.client(LOCAL, &long_target);
    assert_eq!(world.statuses(client), [414]);
    let long_head = [b"GET / HTTP/1.1\r\nHost: a\r\nA: ", &[b'x'; 17_000][..]].concat();
    let client = world.client(LOCAL, &long_head);
    assert_eq!(world.statuses(client), [431]);
    world.finish();
}

#[test]
fn the_metrics_page_may_be_longer_than_a_buffer_and_than_the_send_queue() {
    let mut world = World::new();
    world.net.set_send_queue(2000);
    let client = world.client(ADMIN, b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    let page = world.got(client);
    let (head, body) = page.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
    assert_eq!(body.lines().count(), 300);
    assert!(body.ends_with("weir_test{n=\"00299\"} 1\n"));
    world.send(client, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(world.statuses(client), [404]);
    world.end(client);
    world.finish();
}

#[test]
fn the_admin_port_says_where_the_configuration_came_from() {
    let mut world = World::new();
    let client = world.client(ADMIN, b"GET /configuration HTTP/1.1\r\nHost: a\r\n\r\n");
    let page = world.got(client);
    let (head, body) = page.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains("Content-Type: text/plain; charset=utf-8\r\n"), "{head}");
    assert!(head.contains("Cache-Control: no-store\r\n"), "{head}");
    assert_eq!(body, ORIGIN);
    world.end(client);
    world.finish();
}

#[test]
fn connections_beyond_the_limit_are_reset_and_counted() {
    let mut world = World::with(CONFIG, 2);
    let clients = [world.open(LOCAL), world.open(LOCAL), world.open(LOCAL)];
    assert_eq!(clients.map(|client| world.net.was_aborted(client)), [false, false, true]);
    assert_eq!(world.incidents("connection_refused"), 1);
    world.end(clients[0]);
    let late = world.client(LOCAL, HELLO);
    assert_eq!(world.statuses(late), [200]);
    world.finish();
}

#[test]
fn a_client_that_goes_away_leaves_nothing() {
    let mut world = World::new();
    for bytes in [&b""[..], b"GET", b"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1", HELLO] {
        let client = world.client(LOCAL, bytes);
        world.net.fail(client, CloseReason::Reset);
        world.run();
        assert!(!world.net.is_held(client));
        let client = world.client(LOCAL, bytes);
        world.end(client);
        assert!(!world.net.is_held(client));
    }
    world.finish();
}

#[test]
fn without_buffers_the_connection_ends_and_the_core_lives() {
    let mut world = World::new();
    let client = world.open(LOCAL);
    world.net.deliver(client, b"HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    let hoard: Vec<_> = core::iter::from_fn(|| world.net.pool().allocate()).collect();
    world.run();
    assert!(world.net.was_aborted(client));
    assert_eq!(world.incidents("no_buffer"), 1);
    drop(hoard);
    let client = world.client(LOCAL, HELLO);
    assert_eq!(world.statuses(client), [200]);
    world.finish();
}

#[test]
fn a_listener_that_cannot_listen_is_named_and_the_others_serve() {
    let mut world = World::new();
    let errors = world.service.start(&mut world.net);
    assert_eq!(errors.len(), 5, "all of them listen already");
    assert_eq!(format!("{}", errors[0]), "listener web cannot listen on 10.0.0.1:80: address in use");
    let client = world.client(LOCAL, HELLO);
    assert_eq!(world.statuses(client), [200]);
    world.finish();
}

#[test]
fn errors_have_the_operator_s_pages() {
    let config = format!(
        "{CONFIG}[[error_page]]\nstatus = 404\nbody = \"<p>Gone fishing</p>\"\n\
         [[error_page]]\nstatus = 503\nbody = \"later\"\ncontent_type = \"text/plain\"\n"
    );
    let mut world = World::with(&config, 16);
    let client = world.client(LOCAL, b"GET /files/none HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = world.got(client);
    assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
    assert!(answer.contains("Content-Type: text/html; charset=utf-8\r\n") && answer.ends_with("<p>Gone fishing</p>"));
    world.send(client, b"POST / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(world.got(client).ends_with("405 Method Not Allowed\n"), "others are as always");
    world.end(client);
    world.finish();
}
