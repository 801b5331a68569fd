use super::rows::RESPONSES;
use super::{response, response_reject};
use crate::{Body, HeadLimits, Method, Response, Version};

#[test]
fn a_simple_response_is_understood() {
    response(b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\n\r\nhello", |response| {
        assert_eq!((response.status, response.status_text, response.version), (200, &b"200 OK"[..], Version::Http11));
        assert_eq!((response.body, response.content_length), (Body::Length(5), Some(5)));
        assert!(response.is_persistent && !response.is_interim());
        assert_eq!(response.head_len, 49);
    });
    response(b"HTTP/1.1 200\r\n\r\n", |response| assert_eq!(response.status_text, b"200"));
    response(b"HTTP/1.1 418 I'm a teapot\r\n\r\n", |response| assert_eq!(response.status_text, b"418 I'm a teapot"));
}

/// Every row: what is refused, and under which name.
#[test]
fn framing_table() {
    for (reject, text) in RESPONSES {
        assert_eq!(response_reject(text.as_bytes()), Some(*reject), "{}", text.escape_debug());
    }
}

/// RFC 9112 6.3 in its order.
#[test]
fn the_body_follows_status_method_and_fields() {
    const LENGTH: &str = "Content-Length: 5\r\n";
    const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
    for (method, status, fields, body) in [
        (Method::Head, 200, LENGTH, Body::None),
        (Method::Head, 200, CHUNKED, Body::None),
        (Method::Get, 204, "", Body::None),
        (Method::Get, 204, LENGTH, Body::None),
        (Method::Get, 304, LENGTH, Body::None),
        (Method::Get, 100, "", Body::None),
        (Method::Get, 200, CHUNKED, Body::Chunked),
        (Method::Get, 200, LENGTH, Body::Length(5)),
        (Method::Get, 200, "Content-Length: 0\r\n", Body::None),
        (Method::Get, 200, "", Body::UntilClose),
        (Method::Post, 500, "", Body::UntilClose),
    ] {
        let text = alloc::format!("HTTP/1.1 {status} X\r\n{fields}\r\n");
        let parsed = Response::parse(text.as_bytes(), method, &HeadLimits::default());
        let parsed = parsed.expect("valid").expect("complete");
        assert_eq!(parsed.body, body, "{method:?} {text}");
        assert_eq!(parsed.is_persistent, body != Body::UntilClose);
    }
}

#[test]
fn interim_responses_are_known() {
    response(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", |response| {
        assert!(response.is_interim() && response.head_len == 25);
    });
    response(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", |response| assert!(!response.is_interim()));
}

#[test]
fn persistence() {
    response(b"HTTP/1.1 204 X\r\nConnection: close\r\n\r\n", |response| assert!(!response.is_persistent));
    response(b"HTTP/1.0 204 X\r\n\r\n", |response| assert!(!response.is_persistent));
    response(b"HTTP/1.0 204 X\r\nConnection: keep-alive\r\n\r\n", |response| assert!(response.is_persistent));
}

#[test]
fn a_date_is_seen_if_it_is_forwarded() {
    for (fields, has_date) in [
        ("", false),
        ("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", true),
        ("A: b\r\ndate:\r\nC: d\r\n", true),
        ("Dates: x\r\nDat: y\r\nX-Date: z\r\n", false),
        ("Connection: x-y\r\nDate: x\r\n", true),
        ("Connection: date\r\nDate: x\r\n", false),
    ] {
        let text = alloc::format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        response(text.as_bytes(), |response| assert_eq!(response.fields.has_date(), has_date, "{fields}"));
    }
}
