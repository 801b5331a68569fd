//! Everything ends in time.

use super::*;

#[test]
fn a_client_that_says_nothing_is_let_go_after_ten_seconds() {
    let mut world = World::new();
    let client = world.open(LOCAL);
    world.pass(9.9);
    assert!(world.net.is_held(client));
    world.pass(0.2);
    assert!(!world.net.is_held(client) && world.got(client).is_empty());
    assert_eq!(world.incidents("head_timeout"), 1);
    world.finish();
}

#[test]
fn a_slow_head_is_not_prolonged_by_its_bytes() {
    let mut world = World::new();
    let client = world.open(LOCAL);
    for second in 0..9 {
        world.send(client, &GET[second..=second]);
        world.pass(1.0);
    }
    assert!(world.net.is_held(client));
    world.pass(1.1);
    assert_eq!(world.statuses(client), [408]);
    assert!(world.net.sent_end(client));
    world.end(client);
    world.finish();
}

#[test]
fn an_idle_connection_is_kept_for_75_seconds_after_each_response() {
    let mut world = World::new();
    let client = world.open(LOCAL);
    for _ in 0..3 {
        world.send(client, b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(world.statuses(client), [200]);
        world.pass(74.0);
        assert!(world.net.is_held(client));
    }
    world.pass(1.1);
    assert!(!world.net.is_held(client));
    assert_eq!(world.incidents("keep_alive_timeout"), 1);
    world.finish();
}

#[test]
fn a_later_request_s_head_has_its_ten_seconds_too() {
    let mut world = World::new();
    let client = world.client(LOCAL, b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    world.pass(50.0);
    world.send(client, b"GET");
    world.pass(9.0);
    world.send(client, b" /");
    assert_eq!(world.statuses(client), [200]);
    world.pass(1.1);
    assert_eq!(world.statuses(client), [408]);
    world.finish();
}

#[test]
fn a_server_that_does_not_accept_is_replaced_after_three_seconds() {
    let mut world = World::new();
    let client = world.client(WEB, GET);
    let (_, address) = world.connecting();
    assert_eq!(address, "10.0.0.11:8080");
    world.pass(3.1);
    let (_, address) = world.connecting();
    assert_eq!(address, "10.0.0.12:8080");
    // By then the first one is no longer left alone: the third and last attempt is its.
    world.pass(3.1);
    assert_eq!((world.statuses(client), world.incidents("connect_timeout")), (Vec::new(), 2));
    world.pass(3.1);
    assert_eq!((world.statuses(client), world.incidents("connect_timeout")), ([504].into(), 3));
    world.end(client);
    world.finish();
}

#[test]
fn a_server_that_does_not_answer_gives_504_after_thirty_seconds() {
    let mut world = World::new();
    let client = world.client(ONE, GET);
    let server = world.accept();
    world.pass(29.0);
    assert_eq!(world.got(client), "");
    world.pass(1.1);
    assert_eq!(world.statuses(client), [504]);
    assert!(world.net.was_aborted(server) && world.net.is_held(client));
    assert_eq!(world.incidents("first_byte_timeout"), 1);
    world.end(client);
    world.finish();
}

#[test]
fn a_server_that_stops_cuts_the_client_off_after_a_minute() {
    let mut world = World::new();
    let client = world.client(ONE, GET);
    let server = world.accept();
    world.send(server, b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello");
    assert_eq!(world.statuses(client), [200]);
    for _ in 0..5 {
        world.pass(50.0);
        world.send(server, b"x");
        assert_eq!(world.got(client), "x");
    }
    world.pass(60.1);
    assert!(!world.net.is_held(client) && !world.net.is_held(server));
    assert_eq!(world.incidents("server_timeout"), 1);
    world.finish();
}

#[test]
fn a_client_that_stops_sending_its_body_gives_408() {
    let mut world = World::new();
    let client = world.client(ONE, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\nhello");
    let server = world.accept();
    world.send(client, &[b'x'; 10_000]);
    world.pass(29.0);
    assert_eq!(world.got(client), "");
    world.send(client, &[b'x'; 10_000]);
    world.pass(29.0);
    assert_eq!(world.got(client), "");
    world.pass(1.1);
    assert_eq!(world.statuses(client), [408]);
    assert_eq!((world.incidents("client_timeout"), world.net.is_held(server)), (1, false));
    world.finish();
}

#[test]
fn a_client_that_sends_its_body_drop_by_drop_gives_408() {
    let mut world = World::new();
    let client = world.client(ONE, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nhello");
    world.accept();
    let mut seconds = 0;
    while world.incidents("client_timeout") == 0 {
        seconds += 1;
        world.pass(1.0);
        if world.net.is_held(client) {
            world.send(client, b"x");
        }
    }
    assert_eq!((seconds, world.statuses(client)), (6, Vec::from([408])));
    world.finish();
}

/// Nobody is too slow who waits to be told that the body is wanted, or for a server that does not take it.
#[test]
fn a_client_that_waits_for_the_server_is_not_too_slow() {
    let mut world = World::new();
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let client = world.client(ONE, request);
    let server = world.accept();
    world.pass(50.0);
    world.send(server, b"HTTP/1.1 100 Continue\r\n\r\n");
    world.send(client, b"hello");
    world.send(server, OK);
    assert_eq!(world.statuses(client), [100, 200]);
    world.end(client);
    world.finish();

    let mut world = World::new();
    world.net.set_send_queue(1000);
    let client = world.client(ONE, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n");
    let server = world.accept();
    world.send(client, &[b'x'; 3000]);
    world.pass(50.0);
    assert!(world.got(server).ends_with('x'));
    world.pass(4.0);
    world.send(client, &[b'x'; 2000]);
    world.got(server);
    world.send(server, OK);
    assert_eq!(world.statuses(client), [200]);
    world.end(client);
    world.finish();
}

#[test]
fn a_client_that_stops_reading_is_cut_off() {
    let mut world = World::new();
    world.net.set_send_queue(1000);
    let client = world.client(ONE, GET);
    let server = world.accept();
    world.got(server);
    world.send(server, b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n");
    world.send(server, &[b'x'; 50_000]);
    world.pass(60.1);
    assert!(world.net.was_aborted(client) && world.net.was_aborted(server));
    assert_eq!(world.incidents("client_timeout"), 1);
    world.finish();
}

#[test]
fn an_idle_connection_to_a_server_is_closed_after_four_seconds() {
    let mut world = World::new();
    let client = world.client(ONE, GET);
    let server = world.accept();
    for _ in 0..5 {
        world.send(server, OK);
        assert_eq!(world.statuses(client), [200]);
        world.pass(3.0);
        assert!(world.net.is_held(server), "each use begins the time anew");
        world.send(client, GET);
    }
    world.send(server, OK);
    world.pass(4.1);
    assert!(!world.net.is_held(server) && !world.net.was_aborted(server));
    assert_eq!(world.gauge("weir_server_connections_idle"), 0);
    world.end(client);
    world.finish();
}

#[test]
fn a_client_that_lingers_is_reset() {
    let mut world = World::new();
    let client = world.client(LOCAL, b"nonsense\r\n\r\n");
    assert_eq!(world.statuses(client), [400]);
    world.pass(2.1);
    assert!(world.net.was_aborted(client));
    world.finish();
}

#[test]
fn a_client_that_floods_after_the_end_is_reset_after_a_time() {
    let mut world = World::new();
    let client = world.client(LOCAL, b"nonsense\r\n\r\n");
    for _ in 0..29 {
        world.send(client, &[b'x'; 30_000]);
        world.pass(1.0);
        assert!(world.net.is_held(client));
    }
    world.send(client, b"x");
    world.pass(1.0);
    assert!(world.net.was_aborted(client), "though it was not silent for long");
    world.finish();
}

/// The response to a request with a long body is not lost in a reset, however much of it comes.
#[test]
fn a_client_that_sends_a_refused_body_to_its_end_gets_the_answer() {
    let mut world = World::new();
    let client = world.client(ONE, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n");
    for _ in 0..100 {
        world.send(client, &[b'x'; 30_000]);
    }
    assert!(world.net.is_held(client) && world.net.sent_end(client));
    assert_eq!(world.statuses(client), [413]);
    world.end(client);
    assert!(!world.net.is_held(client) && !world.net.was_aborted(client));
    world.finish();
}
