use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::rows::REQUESTS;
use super::{Random, request, request_reject};
use crate::{Body, HOST_BYTES_MAX, HeadLimits, HeadScan, Method, Reject, Request, Target, Version};

#[test]
fn a_simple_request_is_understood() {
    request(b"GET /a/b?c=d HTTP/1.1\r\nHost: www.example.com:8080\r\nAccept: */*\r\n\r\nrest", |request| {
        assert_eq!((request.method, request.method_text), (Method::Get, &b"GET"[..]));
        assert_eq!(
            (request.target, request.path_and_query, request.path()),
            (Target::Origin, &b"/a/b?c=d"[..], &b"/a/b"[..])
        );
        assert_eq!((request.host, request.host_name()), (&b"www.example.com:8080"[..], &b"www.example.com"[..]));
        assert_eq!(request.version, Version::Http11);
        assert_eq!(request.body, Body::None);
        assert!(request.is_persistent && !request.expects_continue && !request.wants_upgrade);
        assert_eq!(request.fields.iter().count(), 2);
        assert_eq!(request.fields.get("ACCEPT"), Some(&b"*/*"[..]));
        assert_eq!(request.head_len, 66);
        assert!(request.is_replayable());
    });
}

/// Every row: what is refused, and under which name.
#[test]
fn framing_table() {
    for (reject, text) in REQUESTS {
        assert_eq!(request_reject(text.as_bytes()), Some(*reject), "{}", text.escape_debug());
    }
}

#[test]
fn what_looks_like_it_and_is_valid_passes() {
    for text in [
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nB:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:a\t \r\n\r\n",
        "GET / HTTP/1.1\r\nhost: [2001:db8::1]:8080\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n",
        "GET http://A.example/x HTTP/1.1\r\nHost: a.EXAMPLE\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET //x?/?&%00 HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(request_reject(text.as_bytes()), None, "{text:?}");
    }
}

#[test]
fn bodies_are_framed() {
    let cases: [(&[u8], Body); 4] = [
        (b"Content-Length: 18446744073709551615", Body::Length(u64::MAX)),
        (b"Content-Length: 0", Body::None),
        (b"Transfer-Encoding: chunked", Body::Chunked),
        (b"X: y", Body::None),
    ];
    for (field, body) in cases {
        let text = [b"POST / HTTP/1.1\r\nHost: a\r\n", field, b"\r\n\r\n"].concat();
        request(&text, |request| assert_eq!(request.body, body));
    }
}

#[test]
fn persistence_follows_version_and_connection() {
    for (version, connection, is_persistent) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: Keep-Alive\r\n", true),
        ("1.1", "Connection: foo, CLOSE\r\n", false),
        ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let text = format!("GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n");
        request(text.as_bytes(), |request| assert_eq!(request.is_persistent, is_persistent, "{text}"));
    }
}

#[test]
fn what_is_for_one_connection_is_not_forwarded() {
    let text = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Mine, host, authorization , x-forwarded-for\r\nx-mine: 1\r\n\
        Keep-Alive: 3\r\nX-Mine: 2\r\nTE: trailers\r\nProxy-Connection: x\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\
        Authorization: b\r\nX-Forwarded-For: c\r\nX-FORWARDED-PORT: 3\r\nAccept: d\r\n\r\n";
    request(text, |request| {
        let kept = request.fields.end_to_end().collect::<Vec<_>>().concat();
        let expected = "Host: a\r\nContent-Length: 0\r\nAuthorization: b\r\nX-Forwarded-For: c\r\nX-FORWARDED-PORT: 3\r\nAccept: d\r\n";
        assert_eq!(core::str::from_utf8(&kept), Ok(expected));
        let kept = request.forwarded().collect::<Vec<_>>().concat();
        let expected = "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nAuthorization: b\r\nAccept: d\r\n";
        assert_eq!(core::str::from_utf8(&kept), Ok(expected));
        assert!(request.fields.has_length());
    });
}

#[test]
fn a_length_is_forwarded_once_and_in_its_shortest_form() {
    for (fields, kept) in [
        ("Content-Length: 12\r\n", "Content-Length: 12\r\n"),
        ("Content-Length: 0\r\n", "Content-Length: 0\r\n"),
        ("Content-Length: 012\r\n", ""),
        ("content-length: 12\r\nA: b\r\nContent-Length: 12\r\n", "content-length: 12\r\nA: b\r\n"),
        ("Connection: a\r\nContent-Length: 12\r\nA: b\r\n", "Content-Length: 12\r\n"),
        ("Connection: content-length\r\nContent-Length: 012\r\n", ""),
    ] {
        let text = format!("POST / HTTP/1.0\r\n{fields}\r\n");
        request(text.as_bytes(), |request| {
            assert_eq!(core::str::from_utf8(&request.forwarded().collect::<Vec<_>>().concat()), Ok(kept));
            assert_eq!(request.fields.has_length(), kept.to_lowercase().contains("length"));
        });
    }
}

#[test]
fn a_request_line_is_forwarded_as_it_is_only_if_servers_take_it() {
    for (line, is_plain) in [
        ("GET /a?b HTTP/1.1\r\n", true),
        ("GET /a?b HTTP/1.0\r\n", false),
        ("GET http://a/ HTTP/1.1\r\n", false),
        ("\r\nGET / HTTP/1.1\r\n", false),
    ] {
        request(format!("{line}Host: a\r\n\r\n").as_bytes(), |request| {
            assert_eq!(request.is_plain(), is_plain);
            let forwarded = request.forwarded().collect::<Vec<_>>().concat();
            let expected = if is_plain { format!("{line}Host: a\r\n") } else { "Host: a\r\n".into() };
            assert_eq!(forwarded, expected.as_bytes());
        });
    }
}

#[test]
fn lines_are_forwarded_in_runs() {
    let runs = |fields: &[&str]| {
        let text = ["GET / HTTP/1.0\r\n", &fields.concat(), "\r\n"].concat();
        let mut runs = Vec::new();
        request(text.as_bytes(), |request| runs = request.fields.end_to_end().map(<[u8]>::to_vec).collect());
        runs.retain(|run| !run.is_empty());
        runs
    };
    assert!(runs(&[]).is_empty());
    assert!(runs(&["TE: a\r\n"]).is_empty());
    assert_eq!(runs(&["A: b\r\n", "C:d \r\n"]), [b"A: b\r\nC:d \r\n"]);
    assert_eq!(runs(&["TE: a\r\n", "A: b\r\n"]), [b"A: b\r\n"]);
    assert_eq!(runs(&["A: b\r\n", "TE: a\r\n", "TE: a\r\n", "C: d\r\n"]), [b"A: b\r\n", b"C: d\r\n"]);
    let most = ["A: b\r\n"; 100];
    assert_eq!(runs(&most), [most.concat().into_bytes()]);
    let most: Vec<&str> = (0..20).map(|n| if n % 2 == 0 { "A: b\r\n" } else { "TE: a\r\n" }).collect();
    assert_eq!(runs(&most).len(), 10);
}

#[test]
fn upgrade_and_expect_are_seen() {
    let upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
    request(upgrade, |request| assert!(request.wants_upgrade && !request.is_replayable()));
    request(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", |request| assert!(!request.wants_upgrade));
    let with_body = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\n";
    request(with_body, |request| assert!(!request.wants_upgrade && request.body == Body::Length(3)));
    let expect = b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n";
    request(expect, |request| assert!(request.expects_continue && !request.is_replayable()));
    request(b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", |request| assert!(!request.expects_continue));
}

#[test]
fn a_host_is_not_longer_than_a_name_and_a_port() {
    for (len, is_taken) in [(HOST_BYTES_MAX, true), (HOST_BYTES_MAX + 1, false)] {
        let host = "a".repeat(len);
        for head in [format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), format!("GET http://{host}/ HTTP/1.0\r\n\r\n")]
        {
            let taken = Request::parse(head.as_bytes(), &HeadLimits::default());
            assert_eq!(taken.err(), (!is_taken).then_some(Reject::HostInvalid), "{head}");
        }
    }
}

#[test]
fn absolute_form_becomes_origin_form() {
    request(b"GET http://a:80/x?y HTTP/1.1\r\nHost: a:80\r\n\r\n", |request| {
        assert_eq!(
            (request.target, request.path_and_query, request.path()),
            (Target::Absolute(b"a:80"), &b"/x?y"[..], &b"/x"[..])
        );
    });
    request(b"GET http://a HTTP/1.0\r\n\r\n", |request| {
        assert_eq!((request.path(), request.host), (&b"/"[..], &b"a"[..]))
    });
    // RFC 9112 3.2.4: without a path, it is about the server as a whole.
    request(b"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", |request| {
        assert_eq!((request.path_and_query, request.path()), (&b"*"[..], &b"*"[..]))
    });
    request(b"OPTIONS http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", |request| assert_eq!(request.path_and_query, b"/"));
    request(b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", |request| assert_eq!(request.host_name(), b"[::1]"));
    for host in ["a.example.", "a.example.:80"] {
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        request(head.as_bytes(), |request| {
            assert_eq!(request.host_name(), b"a.example", "the name is complete: {host}")
        });
    }
}

#[test]
fn limits_are_limits() {
    let limits = HeadLimits { head_bytes: 200, target_bytes: 20, fields: 3 };
    let parse = |text: &str| Request::parse(text.as_bytes(), &limits).map(|request| request.is_some());
    let with_fields = |n: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "B: c\r\n".repeat(n - 1));
    assert_eq!(parse(&with_fields(3)), Ok(true));
    assert_eq!(parse(&with_fields(4)), Err(Reject::TooManyFields));
    let with_target = |n: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(n - 1));
    assert_eq!(parse(&with_target(20)), Ok(true));
    assert_eq!(parse(&with_target(21)), Err(Reject::TargetTooLong));
    assert_eq!(parse(&format!("GET /{}", "x".repeat(50))), Ok(false));
    assert_eq!(parse(&format!("GET /{}", "x".repeat(90))), Err(Reject::TargetTooLong));
    let with_value = |n: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nB: {}\r\n\r\n", "x".repeat(n - 32));
    assert_eq!(with_value(200).len(), 200);
    assert_eq!(parse(&with_value(200)), Ok(true));
    assert_eq!(parse(&with_value(201)), Err(Reject::HeadTooLarge));
    assert_eq!(parse(&with_value(220)[..199]), Ok(false));
    assert_eq!(parse(&with_value(220)[..200]), Err(Reject::HeadTooLarge));
    let scattered = "TE: a\r\nB: c\r\n".repeat(17);
    let scattered = format!("GET / HTTP/1.1\r\nHost: a\r\n{scattered}\r\n");
    assert_eq!(request_reject(scattered.as_bytes()), Some(Reject::TooManyFields), "nobody means that");
}

#[test]
fn every_prefix_is_incomplete() {
    let text = b"POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
    for len in 0..text.len() {
        let parsed = Request::parse(&text[..len], &HeadLimits::default());
        assert!(matches!(parsed, Ok(None)), "{len}: {parsed:?}");
    }
}

#[test]
fn a_scan_asks_for_a_parse_when_the_head_may_be_complete() {
    for text in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    ] {
        for first in 0..text.len() {
            let mut scan = HeadScan::after(&text[..first]);
            let asked = (first..text.len()).filter(|&at| scan.add(&text[at..=at])).collect::<Vec<_>>();
            assert_eq!(asked.last(), Some(&(text.len() - 1)), "{} after {first}", text.escape_ascii());
            assert!(asked.len() <= 3, "parsed {asked:?}");
        }
    }
}

#[test]
fn a_long_head_in_single_bytes_is_parsed_a_few_times_only() {
    let mut scan = HeadScan::after(b"G");
    let line = [&[b'x'; 98][..], b"\r\n"].concat();
    let parses = (0..16_000).filter(|&at| scan.add(&line[at % 100..=at % 100])).count();
    assert!(parses <= 16, "{parses}");
}

#[test]
fn no_bytes_make_the_parser_panic() {
    let mut random = Random(0x5eed);
    let seed =
        b"POST http://a:1/x?y HTTP/1.1\r\nHost: a:1\r\nConnection: close, b\r\nB: c\r\nContent-Length: 12\r\n\r\n";
    let specials = b"\r\n\0 \t:;,#?/*\x7f\x80\xffHC1";
    for _ in 0..20_000 {
        let mut bytes = seed.to_vec();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            match random.below(3) {
                0 => bytes[at] = specials[random.below(specials.len())],
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, specials[random.below(specials.len())]),
            }
        }
        if let Ok(Some(request)) = Request::parse(&bytes, &HeadLimits::default()) {
            assert!(request.head_len <= bytes.len());
            assert!(request.fields.end_to_end().map(<[u8]>::len).sum::<usize>() <= request.head_len);
            assert!(
                request.path().len() <= request.path_and_query.len() && request.host_name().len() <= request.host.len()
            );
        }
    }
}

/// So many runs of lines may be left out of a head, and what stands between and behind them is forwarded.
#[test]
fn ten_runs_of_lines_are_left_out() {
    for runs in 0..=12 {
        let mut kept = String::from("GET / HTTP/1.1\r\nHost: a\r\n");
        let mut text = kept.clone();
        for run in 0..runs {
            let field = format!("X-{run}: y\r\n");
            text += &format!("Keep-Alive: {run}\r\nTE: {run}\r\n{field}");
            kept += &field;
        }
        text += "\r\n";
        match Request::parse(text.as_bytes(), &HeadLimits::default()) {
            Ok(Some(request)) if runs <= 10 => {
                let forwarded = request.forwarded().collect::<Vec<_>>().concat();
                assert_eq!(core::str::from_utf8(&forwarded), Ok(kept.as_str()));
            }
            Err(Reject::TooManyFields) if runs > 10 => {}
            other => panic!("{runs}: {other:?}"),
        }
    }
}
