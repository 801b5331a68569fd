//! Servers and clients that fail, at every moment.

use super::*;
use weir_socket::{CloseReason, ConnectError};

#[test]
fn a_server_that_refuses_is_replaced_and_left_alone() {
    let mut world = World::new();
    let client = world.client(WEB, GET);
    let (refuser, address) = world.connecting();
    assert_eq!(address, "10.0.0.11:8080");
    world.net.fail(refuser, CloseReason::Refused);
    world.run();
    let (_, address) = world.connecting();
    assert_eq!(address, "10.0.0.12:8080");
    let server = world.served(client);
    assert_eq!((world.incidents("connect_failed"), world.incidents("redispatch")), (1, 1));
    for _ in 0..3 {
        world.send(client, GET);
        world.send(server, OK);
        assert_eq!(world.statuses(client), [200], "the other server is not tried for a second");
    }
    world.pass(1.1);
    for expected in [None, Some("10.0.0.11:8080")] {
        world.send(client, GET);
        let connecting = (expected.is_some()).then(|| world.connecting().1);
        assert_eq!(connecting.as_deref(), expected, "then it is, in its turn");
        let server = if expected.is_some() { world.accept() } else { server };
        world.send(server, OK);
    }
    world.end(client);
    world.finish();
}

#[test]
fn when_no_server_can_be_connected_to_the_client_is_told() {
    let mut world = World::new();
    let client = world.client(WEB, GET);
    for _ in 0..2 {
        let (refuser, _) = world.connecting();
        world.net.fail(refuser, CloseReason::Refused);
        world.run();
    }
    assert_eq!(world.statuses(client), [502]);
    assert!(world.net.is_held(client), "it was no fault of the client's");
    // All are down: one is tried all the same.
    world.send(client, GET);
    world.served(client);
    world.end(client);
    world.finish();
}

#[test]
fn our_own_shortage_is_named() {
    let mut world = World::new();
    for (error, name) in [
        (ConnectError::NoSourcePort, "no_source_port"),
        (ConnectError::TableFull, "no_connection"),
        (ConnectError::NoRoute, "connect_failed"),
    ] {
        world.net.refuse_connects(Some(error));
        let client = world.client(WEB, GET);
        assert_eq!(world.statuses(client), [502]);
        assert!(world.incidents(name) >= 1, "{name}");
        world.end(client);
    }
    world.finish();
}

/// A body is not risked on a server that has not accepted the connection.
#[test]
fn a_request_with_a_body_survives_a_refusal() {
    let mut world = World::new();
    let client = world.client(WEB, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    let (refuser, _) = world.connecting();
    world.net.fail(refuser, CloseReason::Refused);
    world.run();
    let server = world.accept();
    assert!(world.got(server).ends_with("\r\n\r\nhello"));
    world.send(server, OK);
    assert_eq!(world.statuses(client), [200]);
    world.end(client);
    world.finish();
}

/// A world whose client has a connection to a server that is idle now.
fn with_idle_connection() -> (World, Peer, Peer) {
    let mut world = World::new();
    let client = world.client(ONE, GET);
    let server = world.accept();
    world.send(server, OK);
    world.got(client);
    world.got(server);
    (world, client, server)
}

#[test]
fn an_idle_connection_that_ended_is_seen_before_it_is_used() {
    for end in [
        |world: &mut World, server| world.net.deliver_end(server),
        |world: &mut World, server| {
            world.net.fail(server, CloseReason::Reset);
        },
    ] {
        let (mut world, client, server) = with_idle_connection();
        // The end is in the queue, behind the next request: no event of it was handled yet.
        world.net.deliver(client, GET);
        end(&mut world, server);
        world.run();
        assert_eq!(world.incidents("stale_connection"), 1);
        let fresh = world.accept();
        world.send(fresh, OK);
        assert_eq!(world.statuses(client), [200]);
        world.end(client);
        world.finish();
    }
}

#[test]
fn an_idle_connection_that_ends_is_given_back() {
    let (mut world, client, server) = with_idle_connection();
    world.end(server);
    assert_eq!((world.gauge("weir_server_connections"), world.net.is_held(server)), (0, false));
    let (_, server) = {
        world.send(client, GET);
        (client, world.accept())
    };
    world.send(server, OK);
    world.got(client);
    world.send(server, b"HTTP/1.1 408 Request Timeout\r\n\r\n");
    assert_eq!(world.gauge("weir_server_connections"), 0, "a farewell that nobody asked for is no response");
    world.end(client);
    world.finish();
}

#[test]
fn a_reused_connection_that_dies_unanswered_is_replaced_once() {
    let (mut world, client, server) = with_idle_connection();
    world.send(client, GET);
    assert!(world.got(server).starts_with("GET "));
    world.reset(server);
    assert_eq!(world.incidents("retry"), 1);
    let fresh = world.accept();
    assert!(world.got(fresh).starts_with("GET "));
    world.reset(fresh);
    assert_eq!(world.statuses(client), [502], "once is enough");
    world.end(client);
    world.finish();
}

#[test]
fn what_must_not_happen_twice_is_not_sent_twice() {
    let (mut world, client, server) = with_idle_connection();
    world.send(client, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    assert!(world.got(server).ends_with("x"));
    world.end(server);
    assert_eq!(world.statuses(client), [502]);
    assert!(world.net.connecting().is_empty());
    world.end(client);
    world.finish();
}

#[test]
fn a_client_s_first_post_is_not_risked_on_an_idle_connection() {
    let (mut world, client, _) = with_idle_connection();
    let other = world.client(ONE, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    let fresh = world.accept();
    world.send(fresh, OK);
    assert_eq!(world.statuses(other), [200]);
    world.end(client);
    world.end(other);
    world.finish();
}

#[test]
fn a_server_that_dies_before_its_response_gives_502() {
    for partial in ["", "HTT", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 100 Continue\r\n\r\n"] {
        for by_reset in [false, true] {
            let mut world = World::new();
            let client = world.client(ONE, GET);
            let server = world.accept();
            if !partial.is_empty() {
                world.send(server, partial.as_bytes());
            }
            if by_reset {
                world.reset(server)
            } else {
                world.end(server)
            }
            let statuses = world.statuses(client);
            assert_eq!(statuses.last(), Some(&502), "{partial:?}");
            assert_eq!(world.incidents("server_gone"), 1);
            assert!(!world.net.is_held(server));
            world.end(client);
            world.finish();
        }
    }
}

#[test]
fn a_server_that_dies_within_its_response_cuts_the_client_off() {
    for response in [
        &b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 50\r\n\r\nhello"[..],
        b"HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nhello",
        b"HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        for by_reset in [false, true] {
            let mut world = World::new();
            let client = world.client(ONE, GET);
            let server = world.accept();
            world.send(server, response);
            if by_reset {
                world.reset(server)
            } else {
                world.end(server)
            }
            assert_eq!(world.got(client).as_bytes(), response, "what came is forwarded, and no end is invented");
            assert!(world.net.sent_end(client) && !world.net.is_held(client));
            world.finish();
        }
    }
}

/// What came of a body is the client's also when its connection would have ended anyway: a reset might overtake it.
#[test]
fn a_client_that_stays_no_longer_gets_what_came_and_an_orderly_end() {
    const CLOSE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    const EARLY: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nsome";
    for (request, response) in [
        (CLOSE, &b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello"[..]),
        (CLOSE, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nhello"),
        (CLOSE, b"HTTP/1.1 200 OK\r\n\r\nhello"),
        (b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello"),
        (EARLY, b"HTTP/1.1 413 Too Large\r\nContent-Length: 50\r\n\r\nhello"),
    ] {
        let mut world = World::new();
        let client = world.client(ONE, request);
        let server = world.accept();
        world.send(server, response);
        world.reset(server);
        let got = world.got(client);
        assert!(got.trim_end().ends_with("hello"), "{got}");
        assert!(world.net.sent_end(client) && !world.net.was_aborted(client), "{got}");
        world.end(client);
        assert!(!world.net.was_aborted(client), "{got}");
        world.finish();
    }
}

/// A reset in a body that ends with the connection must not look like its end.
#[test]
fn a_reset_is_not_an_end() {
    for request in [GET, b"GET / HTTP/1.0\r\n\r\n"] {
        let mut world = World::new();
        let client = world.client(ONE, request);
        let server = world.accept();
        world.send(server, b"HTTP/1.1 200 OK\r\n\r\nhello");
        world.reset(server);
        let got = world.got(client);
        assert!(!got.contains("0\r\n\r\n"), "{got}");
        let is_marked = got.contains("chunked") || world.net.was_aborted(client);
        assert!(is_marked && !world.net.is_held(client));
        world.finish();
    }
}

#[test]
fn what_is_no_response_gives_502_and_ends_the_server_s_connection() {
    for response in [
        &b"SSH-2.0-OpenSSH\r\n"[..],
        b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/2.0 200 OK\r\n\r\n",
    ] {
        let mut world = World::new();
        let client = world.client(ONE, GET);
        let server = world.accept();
        world.send(server, response);
        assert_eq!(world.statuses(client), [502]);
        assert!(!world.net.is_held(server) && world.net.is_held(client));
        assert_eq!(world.incidents("bad_response"), 1);
        world.end(client);
        world.finish();
    }
}

#[test]
fn bad_chunks_from_a_server_cut_the_client_off() {
    let mut world = World::new();
    let client = world.client(ONE, GET);
    let server = world.accept();
    world.send(server, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    world.send(server, b"xyz\r\n");
    assert!(world.got(client).ends_with("hello\r\n"));
    assert!(!world.net.is_held(client) && !world.net.is_held(server));
    assert_eq!(world.incidents("bad_response"), 1);
    world.finish();
}

#[test]
fn bytes_beyond_a_response_are_not_the_next_one() {
    let mut world = World::new();
    let client = world.client(ONE, GET);
    let server = world.accept();
    world.send(server, &[OK, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"].concat());
    assert!(world.got(client).ends_with("hello"));
    assert_eq!((world.incidents("excess_bytes"), world.net.is_held(server)), (1, false));
    world.send(client, GET);
    let fresh = world.accept();
    world.send(fresh, OK);
    assert!(world.got(client).ends_with("hello"));
    world.end(client);
    world.finish();
}

#[test]
fn bad_chunks_from_a_client_are_refused() {
    let mut world = World::new();
    let client = world.client(ONE, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let server = world.accept();
    world.send(client, b"5 \r\nhello\r\n");
    assert_eq!(world.statuses(client), [400]);
    assert_eq!(world.rejects("chunk_size"), 1);
    assert!(!world.net.is_held(server) && world.net.sent_end(client));
    world.end(client);
    world.finish();
}

#[test]
fn a_body_beyond_the_limit_is_refused() {
    let mut world = World::new();
    let client = world.client(ONE, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let server = world.accept();
    for _ in 0..2 {
        world.send(client, &[b"c800\r\n", &[b'x'; 0xc800][..], b"\r\n"].concat());
        world.got(server);
    }
    assert_eq!(world.got(client), "");
    world.send(client, b"1\r\nx\r\n");
    assert_eq!(world.statuses(client), [413]);
    assert_eq!(world.rejects("body_too_large"), 1);
    world.end(client);
    world.finish();
}

#[test]
fn a_client_that_goes_away_takes_its_exchange_along() {
    for phase in 0..5 {
        for by_reset in [false, true] {
            let mut world = World::new();
            let client = world.open(ONE);
            let has_body = phase < 3;
            let length = if has_body { "Content-Length: 10\r\n" } else { "" };
            world.send(client, format!("POST / HTTP/1.1\r\nHost: a\r\n{length}\r\n").as_bytes());
            let server = if phase > 0 { Some(world.accept()) } else { None };
            if phase == 2 {
                world.send(client, b"some");
            }
            if let (4, Some(server)) = (phase, server) {
                world.send(server, b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello");
            }
            if by_reset || !has_body {
                world.reset(client)
            } else {
                world.end(client)
            }
            // While a server has not accepted the connection, the client is not listened to; its time is limited.
            if phase == 0 && !by_reset {
                world.accept();
            }
            assert!(!world.net.is_held(client), "phase {phase}");
            assert_eq!((world.gauge("weir_server_connections"), world.incidents("client_gone")), (0, 1));
            world.finish();
        }
    }
}

#[test]
fn an_early_response_before_a_reset_arrives() {
    let mut world = World::new();
    let client = world.client(ONE, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\nsome");
    let server = world.accept();
    world.net.deliver(server, b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno");
    world.net.fail(server, CloseReason::Reset);
    world.net.deliver(client, b"more");
    world.run();
    assert_eq!(world.statuses(client), [413]);
    world.end(client);
    world.finish();
}
