//! Good exchanges.

use super::*;
use crate::Kind;

#[test]
fn a_request_goes_to_a_server_and_its_response_comes_back() {
    let mut world = World::new();
    let client =
        world.client(WEB, b"GET /a?b HTTP/1.1\r\nHost: example.com\r\naCCept: x\r\nConnection: keep-alive\r\n\r\n");
    let (_, address) = world.connecting();
    assert_eq!(address, "10.0.0.11:8080");
    let server = world.accept();
    assert_eq!(
        world.got(server),
        "GET /a?b HTTP/1.1\r\nHost: example.com\r\naCCept: x\r\nX-Forwarded-For: 192.0.2.1\r\n\
         X-Forwarded-Proto: http\r\nX-Forwarded-Port: 80\r\nX-Forwarded-Host: example.com\r\n\r\n"
    );
    world.send(server, b"HTTP/1.1 200 Fine\r\nserver: x\r\nContent-Length: 5\r\nKeep-Alive: 5\r\ndate: y\r\n\r\nhello");
    assert_eq!(world.got(client), "HTTP/1.1 200 Fine\r\nserver: x\r\nContent-Length: 5\r\ndate: y\r\n\r\nhello");
    assert_eq!(world.gauge("weir_server_connections_idle"), 1);
    world.end(client);
    world.finish();
}

#[test]
fn ipv6_addresses_stand_in_fields_as_servers_expect_them() {
    let config = "[[listener]]\nname = \"web\"\nbind = \"[fd00::1]:80\"\n[[listener.route]]\npool = \"p\"\n\
        [[pool]]\nname = \"p\"\n[[pool.server]]\nname = \"s\"\naddress = \"[fd00:0::9]:8080\"\n";
    let mut world = World::with(config, 16);
    let client = world.net.open("[fd00::1]:80".parse().expect("an address"));
    world.peers.insert(client);
    world.run();
    world.send(client, b"GET / HTTP/1.0\r\n\r\n");
    let (_, address) = world.connecting();
    assert_eq!(address, "[fd00::9]:8080");
    let server = world.accept();
    assert_eq!(
        world.got(server),
        "GET / HTTP/1.1\r\nHost: [fd00::9]:8080\r\nX-Forwarded-For: 2001:db8::ffff:ffff:ffff:ffff\r\n\
         X-Forwarded-Proto: http\r\nX-Forwarded-Port: 80\r\nX-Forwarded-Host: [fd00::9]:8080\r\n\r\n"
    );
    world.send(server, OK);
    assert_eq!(world.statuses(client), [200]);
    world.finish();
}

#[test]
fn servers_take_turns_and_their_connections_are_reused() {
    let mut world = World::new();
    let client = world.open(WEB);
    let mut servers = Vec::new();
    for _ in 0..2 {
        world.send(client, GET);
        let server = world.accept();
        world.got(server);
        world.send(server, OK);
        servers.push(server);
    }
    for turn in 0..6 {
        world.send(client, GET);
        assert!(world.net.connecting().is_empty());
        let server = servers[turn % 2];
        assert!(world.got(server).starts_with("GET / HTTP/1.1\r\n"));
        world.send(server, OK);
    }
    assert_eq!(world.statuses(client), [200; 8]);
    assert_eq!(world.service.counters().get("weir_server_requests_total", "two/a"), Some(4));
    assert_eq!(world.service.counters().get("weir_server_requests_total", "two/b"), Some(4));
    world.end(client);
    world.finish();
}

#[test]
fn what_strangers_say_about_forwarding_is_replaced() {
    let mut world = World::new();
    world.client(ONE, b"GET / HTTP/1.0\r\nX-Forwarded-For: 6.6.6.6\r\nx-forwarded-proto: https\r\nX-Mine: 1\r\nConnection: x-mine\r\n\r\n");
    let server = world.accept();
    assert_eq!(
        world.got(server),
        "GET / HTTP/1.1\r\nHost: 10.0.0.13:8080\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\n\
         X-Forwarded-Port: 83\r\nX-Forwarded-Host: 10.0.0.13:8080\r\n\r\n"
    );
    world.finish();
}

#[test]
fn absolute_targets_become_paths() {
    let mut world = World::new();
    world.client(ONE, b"GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let server = world.accept();
    assert!(world.got(server).starts_with("GET /x HTTP/1.1\r\nHost: a.example\r\n"));
    world.finish();
}

#[test]
fn bodies_of_any_framing_pass_in_any_pieces() {
    let lengths = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world";
    let chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nA: b\r\n\r\n";
    for (request, framing) in [(&lengths[..], "Content-Length: 11\r\n"), (chunked, "Transfer-Encoding: chunked\r\n")] {
        for step in [1, 7, 1000] {
            let mut world = World::new();
            let client = world.open(ONE);
            world.send(client, &request[..50]);
            for piece in request[50..].chunks(step) {
                world.send(client, piece);
            }
            let server = world.accept();
            let got = world.got(server);
            let (head, body) = got.split_once("\r\n\r\n").expect("a head");
            assert!(head.contains(framing), "{head}");
            let sent = core::str::from_utf8(request).expect("text").split_once("\r\n\r\n").expect("a head").1;
            assert_eq!(body, sent);

            let response =
                b"HTTP/1.1 201 Created\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
            for piece in response.chunks(step) {
                world.send(server, piece);
            }
            assert_eq!(world.got(client).as_bytes(), response);
            assert_eq!(world.gauge("weir_server_connections_idle"), 1, "both connections can be used again");
            world.send(client, GET);
            assert!(world.got(server).starts_with("GET "));
            world.send(server, OK);
            assert_eq!(world.statuses(client), [200]);
            world.end(client);
            world.finish();
        }
    }
}

#[test]
fn a_body_that_ends_with_the_connection_becomes_chunked() {
    let mut world = World::new();
    let client = world.client(ONE, GET);
    let server = world.accept();
    world.got(server);
    world.send(server, b"HTTP/1.1 200 OK\r\n\r\nhello");
    world.send(server, b" world!");
    let head = format!("HTTP/1.1 200 OK\r\n{DATE}Transfer-Encoding: chunked\r\n\r\n");
    assert_eq!(world.got(client), format!("{head}5\r\nhello\r\n7\r\n world!"));
    world.end(server);
    assert_eq!(world.got(client), "\r\n0\r\n\r\n");
    assert!(world.net.is_held(client) && !world.net.is_held(server));
    world.send(client, GET);
    let server = world.accept();
    world.send(server, b"HTTP/1.0 200 OK\r\n\r\n");
    world.end(server);
    assert_eq!(world.got(client), format!("{head}0\r\n\r\n"));
    world.end(client);
    world.finish();
}

#[test]
fn an_old_client_gets_no_chunks() {
    for (response, pieces) in [
        (&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"[..], false),
        (b"HTTP/1.1 200 OK\r\n\r\nhello world", true),
    ] {
        let mut world = World::new();
        let client = world.client(ONE, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let server = world.accept();
        for byte in response {
            world.send(server, &[*byte]);
        }
        if pieces {
            world.end(server);
        }
        assert_eq!(world.got(client), format!("HTTP/1.1 200 OK\r\n{DATE}Connection: close\r\n\r\nhello world"));
        assert!(world.net.sent_end(client));
        world.finish();
    }
}

#[test]
fn responses_without_a_body() {
    let mut world = World::new();
    let client = world.open(ONE);
    world.send(client, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let server = world.accept();
    world.send(server, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(world.got(client), format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{DATE}\r\n"));
    world.send(client, GET);
    world.send(server, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(world.got(client), format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n{DATE}\r\n"));
    world.send(client, GET);
    world.send(server, b"HTTP/1.1 204 No Content\r\nA: b\r\nContent-Length: 0\r\nC: d\r\n\r\n");
    assert_eq!(world.got(client), format!("HTTP/1.1 204 No Content\r\nA: b\r\nC: d\r\n{DATE}\r\n"));
    world.send(client, GET);
    world.send(server, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(world.got(client), format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{DATE}\r\n"));
    assert_eq!(world.gauge("weir_server_connections"), 1, "all over one connection");
    world.end(client);
    world.finish();
}

#[test]
fn an_expectation_and_its_answer_are_forwarded() {
    let mut world = World::new();
    let client = world.client(ONE, b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    let server = world.accept();
    assert!(world.got(server).contains("\r\nExpect: 100-continue\r\n"));
    world.send(server, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(world.got(client), "HTTP/1.1 100 Continue\r\n\r\n");
    world.send(client, b"hello");
    assert_eq!(world.got(server), "hello");
    world.send(server, b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n");
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    assert_eq!(world.got(client), format!("{hints}HTTP/1.1 204 No Content\r\n{DATE}\r\n"));
    world.end(client);
    world.finish();
}

#[test]
fn an_old_client_is_spared_interim_responses() {
    let mut world = World::new();
    let client = world.client(ONE, b"GET / HTTP/1.0\r\n\r\n");
    let server = world.accept();
    world.send(server, &[b"HTTP/1.1 103 Early Hints\r\n\r\n", OK].concat());
    assert_eq!(world.statuses(client), [200]);
    world.finish();
}

#[test]
fn an_early_response_ends_the_client_s_connection_but_arrives() {
    let mut world = World::new();
    let client = world.client(ONE, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\nsome");
    let server = world.accept();
    world.got(server);
    world.send(server, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let response = world.got(client);
    assert!(response.ends_with("Connection: close\r\n\r\nno"), "{response}");
    assert!(world.net.sent_end(client) && !world.net.is_held(server));
    world.send(client, &[b'x'; 20_000]);
    assert!(!world.net.was_aborted(client));
    world.end(client);
    world.finish();
}

#[test]
fn a_request_s_body_goes_on_while_the_response_comes() {
    let mut world = World::new();
    let client = world.client(ONE, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
    let server = world.accept();
    world.got(server);
    world.send(server, b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nABC");
    world.send(client, b"def");
    assert_eq!(world.got(server), "def");
    world.send(server, b"DEF");
    assert!(world.got(client).ends_with("Connection: close\r\n\r\nABCDEF"));
    world.finish();
}

#[test]
fn a_client_that_ends_its_direction_still_gets_the_response() {
    let mut world = World::new();
    let client = world.client(ONE, GET);
    let server = world.accept();
    world.end(client);
    world.send(server, OK);
    assert_eq!(world.statuses(client), [200]);
    assert!(!world.net.is_held(client) && !world.net.was_aborted(client));
    world.finish();
}

#[test]
fn a_server_that_closes_is_not_used_again() {
    for response in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"[..],
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        let mut world = World::new();
        let client = world.client(ONE, GET);
        let server = world.accept();
        world.send(server, response);
        assert!(!world.got(client).contains("Connection"), "that concerns the server's connection only");
        assert!(!world.net.is_held(server) && world.net.is_held(client));
        world.end(client);
        world.finish();
    }
}

#[test]
fn pipelined_requests_are_forwarded_one_after_the_other() {
    let mut world = World::new();
    let client = world.client(ONE, &GET.repeat(3));
    let server = world.accept();
    for _ in 0..3 {
        assert_eq!(world.got(server).matches("GET / ").count(), 1);
        world.send(server, OK);
    }
    assert_eq!(world.statuses(client), [200; 3]);
    world.end(client);
    world.finish();
}

#[test]
fn long_heads_take_several_buffers() {
    let mut world = World::new();
    let value = "v".repeat(7000);
    let client = world.client(ONE, format!("GET / HTTP/1.1\r\nHost: a\r\nA: {value}\r\n\r\n").as_bytes());
    let server = world.accept();
    let got = world.got(server);
    assert!(got.contains(&format!("\r\nA: {value}\r\n")) && got.ends_with("X-Forwarded-Host: a\r\n\r\n"));
    world.send(server, format!("HTTP/1.1 200 OK\r\nB: {value}\r\nContent-Length: 2\r\n\r\nok").as_bytes());
    let got = world.got(client);
    assert_eq!(got, format!("HTTP/1.1 200 OK\r\nB: {value}\r\nContent-Length: 2\r\n{DATE}\r\nok"));
    world.end(client);
    world.finish();
}

/// A server is told the host twice, which must not make the head longer than there is room for.
#[test]
fn a_host_has_the_length_of_one() {
    let mut world = World::new();
    for (len, status) in [(261, 200), (262, 400), (15_000, 400)] {
        let host = "a".repeat(len);
        let client = world.client(ONE, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        if status == 200 {
            world.served(client);
        } else {
            assert_eq!(world.statuses(client), [status], "{len} bytes");
        }
        world.end(client);
    }
    assert_eq!(world.rejects("host_invalid"), 2);
    world.finish();
}

#[test]
fn a_zero_length_is_forwarded_as_one() {
    let mut world = World::new();
    world.client(ONE, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    let server = world.accept();
    assert!(world.got(server).contains("\r\nContent-Length: 0\r\n"));
    world.finish();
}

#[test]
fn the_time_to_a_response_is_counted_for_its_pool() {
    let mut world = World::new();
    let client = world.client(WEB, GET);
    let server = world.accept();
    world.pass(0.2);
    world.send(server, OK);
    // The body may come when it wants.
    world.pass(3.0);
    let mut times = Vec::new();
    world.service.counters().visit(|sample| {
        if sample.metric == "weir_response_seconds" && sample.label == Some(("pool", "two")) {
            times.push((sample.kind, sample.value));
        }
    });
    for expected in [(Kind::Bucket("0.1"), 0), (Kind::Bucket("0.25"), 1), (Kind::Bucket("+Inf"), 1), (Kind::Count, 1)] {
        assert!(times.contains(&expected), "{times:?}");
    }
    assert!(times.contains(&(Kind::SumNs, 200_000_000)), "{times:?}");
    world.end(client);
    world.finish();
}

#[test]
fn a_question_about_the_server_as_a_whole_goes_to_the_default_route() {
    let mut world = World::new();
    let client = world.client(WEB, b"OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n");
    let server = world.accept();
    let head = world.got(server);
    assert!(head.starts_with("OPTIONS * HTTP/1.1\r\n"), "{head}");
    world.send(server, b"HTTP/1.1 204 No Content\r\nAllow: GET\r\n\r\n");
    assert_eq!(world.statuses(client), [204]);
    let reader = world.client(LOCAL, b"OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n");
    assert_eq!(world.statuses(reader), [405], "a page is only read");
    world.end(client);
    world.end(reader);
    world.finish();
    let elsewhere = CONFIG.replacen("pool = \"two\"", "path = \"/app\"\npool = \"two\"", 1);
    let mut world = World::with(&elsewhere, 16);
    let nobody = world.client(WEB, b"OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n");
    assert_eq!(world.statuses(nobody), [404], "there is no default route");
    world.end(nobody);
    world.finish();
}
