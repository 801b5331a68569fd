//! What RFC 9110 asks of who forwards, by its sections.

use super::way::{config, forwarded};
use super::*;

#[test]
fn section_6_6_1_a_response_without_a_date_gets_one() {
    for (fields, dates) in [
        ("", &[&DATE[..DATE.len() - 2]][..]),
        ("Connection: date\r\nDate: x\r\n", &[&DATE[..DATE.len() - 2]]),
        ("date: y\r\n", &["date: y"]),
    ] {
        for body in ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"] {
            let mut world = World::new();
            let client = world.client(ONE, GET);
            let server = world.accept();
            world.send(server, format!("HTTP/1.1 200 OK\r\n{fields}{body}").as_bytes());
            let got = world.got(client);
            let found: Vec<&str> = got.lines().filter(|line| line.to_lowercase().starts_with("date:")).collect();
            assert_eq!(found, dates, "{got}");
            world.end(client);
            world.finish();
        }
    }
}

#[test]
fn section_6_6_1_a_route_has_the_last_word_about_the_date() {
    for (rule, date) in [("remove = \"date\"", ""), ("set = { Date = \"never\" }", "Date: never\r\n")] {
        for fields in ["", "Date: x\r\n"] {
            let mut world = World::with(&config("", &format!("response_headers = {{ {rule} }}")), 16);
            let client = world.client(WEB, GET);
            let server = world.accept();
            world.send(server, format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n").as_bytes());
            assert_eq!(world.got(client), format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{date}\r\n"));
            world.end(client);
            world.finish();
        }
    }
}

#[test]
fn section_7_6_2_max_forwards_is_counted_down() {
    let plain = config("", "");
    for method in ["OPTIONS", "TRACE"] {
        for (said, left) in [("1", "0"), ("010", "9"), ("99999999999999999999999", "18446744073709551614")] {
            let request = format!("{method} / HTTP/1.1\r\nHost: a\r\nmax-forwards: {said}\r\nA: b\r\n\r\n");
            let got = forwarded(&plain, &request);
            assert!(got.starts_with(&format!("{method} / HTTP/1.1\r\nHost: a\r\nA: b\r\n")), "{got}");
            assert!(got.ends_with(&format!("\r\nMax-Forwards: {left}\r\n\r\n")), "{got}");
        }
    }
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n",
        "OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: -1\r\n\r\n",
    ] {
        let kept = request.strip_suffix("\r\n").expect("an empty line");
        assert!(forwarded(&plain, request).starts_with(kept), "it has no meaning there: {request}");
    }
}

#[test]
fn section_7_6_2_at_zero_nobody_else_is_asked() {
    let mut world = World::with(&config("", ""), 16);
    let client = world.open(WEB);
    for (method, status, length) in [("OPTIONS", "200 OK", 0), ("TRACE", "501 Not Implemented", 20)] {
        world.send(client, format!("{method} / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n").as_bytes());
        let got = world.got(client);
        assert!(got.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{got}");
        assert!(got.contains(&format!("\r\nContent-Length: {length}\r\n")), "{got}");
    }
    assert!(world.net.connecting().is_empty() && world.net.is_held(client));
    world.end(client);
    world.finish();
}

#[test]
fn section_7_6_3_a_listener_with_a_name_is_said_in_via() {
    let named = config("via = \"edge-1\"", "");
    let before = "Via: 1.0 other\r\n";
    let got = forwarded(&named, &format!("GET / HTTP/1.1\r\nHost: a\r\n{before}\r\n"));
    assert!(got.contains(before) && got.ends_with("\r\nVia: 1.1 edge-1\r\n\r\n"), "{got}");
    let got = forwarded(&named, "GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert!(got.ends_with("\r\nVia: 1.0 edge-1\r\n\r\n"), "what the client spoke: {got}");
    let got = forwarded(&config("", ""), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(!got.contains("Via"), "{got}");
}

#[test]
fn section_9_3_2_an_error_has_no_content_for_head() {
    for (request, status) in [
        ("HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n", 413),
        ("HEAD / HTTP/1.1\r\n\r\n", 400),
        ("HEAD / HTTP/9.9\r\n\r\n", 505),
    ] {
        // At once, and in pieces.
        for step in [1, 1000] {
            let mut world = World::new();
            let client = world.open(ONE);
            for piece in request.as_bytes().chunks(step) {
                world.send(client, piece);
            }
            let got = world.got(client);
            assert!(got.starts_with(&format!("HTTP/1.1 {status} ")) && got.ends_with("\r\n\r\n"), "{got}");
            assert!(!got.contains("Content-Length: 0\r\n"), "what a GET would have got: {got}");
            world.end(client);
            world.finish();
        }
    }
}
