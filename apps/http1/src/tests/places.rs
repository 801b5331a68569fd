//! What is refused is refused wherever it stands: heads are read in vectors, and a rule must not end at the edge of one.

use alloc::vec::Vec;

use super::{request, request_reject, response_reject};
use crate::Reject;

/// Field lines, and what becomes of them.
const LINES: [(Reject, &[u8]); 24] = [
    (Reject::FieldValue, b"B: c\0d"),
    (Reject::FieldValue, b"B: \x01"),
    (Reject::FieldValue, b"B: c\x1fd"),
    (Reject::FieldValue, b"B: c\x7f"),
    (Reject::FieldValue, b"B\0: c"),
    (Reject::LineEnd, b"B: c\nD: e"),
    (Reject::LineEnd, b"B: c\rD: e"),
    (Reject::LineEnd, b"B: c\r\rD: e"),
    (Reject::LineEnd, b"B:\nD: e"),
    (Reject::FieldName, b"B : c"),
    (Reject::FieldName, b"B\t: c"),
    (Reject::FieldName, b"Content-Length : 1"),
    (Reject::FieldName, b" B: c"),
    (Reject::FieldName, b"\tB: c"),
    (Reject::FieldName, b"no colon"),
    (Reject::FieldName, b": c"),
    (Reject::FieldName, b"B\xe4: c"),
    (Reject::FieldName, b"a(name): c"),
    (Reject::LengthInvalid, b"Content-Length: 1x"),
    (Reject::LengthRepeated, b"Content-Length: 3\r\nContent-Length: 4"),
    (Reject::LengthAndCoding, b"Content-Length: 3\r\nTransfer-Encoding: chunked"),
    (Reject::LengthAndCoding, b"Transfer-Encoding: chunked\r\nContent-Length: 3"),
    (Reject::CodingUnknown, b"Transfer-Encoding: gzip, chunked"),
    (Reject::CodingUnknown, b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
];

/// A head with a field of so many bytes before `line`, and so many bytes after the head.
fn head(start: &str, before: usize, line: &[u8], after: usize) -> Vec<u8> {
    let mut head = [start.as_bytes(), b"P:"].concat();
    head.resize(head.len() + before, b'p');
    head.extend_from_slice(b"\r\n");
    head.extend_from_slice(line);
    head.extend_from_slice(b"\r\n\r\n");
    head.resize(head.len() + after, b'b');
    head
}

#[test]
fn a_line_is_refused_in_every_place() {
    for before in 0..=33 {
        for after in [0, 1, 15, 33] {
            for (reject, line) in LINES {
                let request = head("POST / HTTP/1.1\r\nHost: a\r\n", before, line, after);
                assert_eq!(request_reject(&request), Some(reject), "{}", request.escape_ascii());
                let response = head("HTTP/1.1 200 OK\r\n", before, line, after);
                assert_eq!(response_reject(&response), Some(reject), "{}", response.escape_ascii());
            }
            let host = head("GET / HTTP/1.1\r\nHost: a\r\n", before, b"host: a", after);
            assert_eq!(request_reject(&host), Some(Reject::HostRepeated), "{}", host.escape_ascii());
        }
    }
}

#[test]
fn a_byte_is_refused_in_every_place_of_name_and_value() {
    let line = b"a-name-of-thirty-five-characters-ab: a value of forty bytes, or a few more";
    let colon = line.iter().position(|&byte| byte == b':').expect("it has one");
    for before in 0..16 {
        for place in 0..line.len() {
            for byte in [b'\0', b'\n', b'\r', 0x1f, 0x7f] {
                let mut bad = line.to_vec();
                bad[place] = byte;
                let request = head("GET / HTTP/1.1\r\nHost: a\r\n", before, &bad, 0);
                let expected = if matches!(byte, b'\n' | b'\r') { Reject::LineEnd } else { Reject::FieldValue };
                assert_eq!(request_reject(&request), Some(expected), "{}", request.escape_ascii());
            }
            for byte in [b' ', b'\t', b'(', 0x80, 0xff] {
                let mut bad = line.to_vec();
                bad[place] = byte;
                let request = head("GET / HTTP/1.1\r\nHost: a\r\n", before, &bad, 0);
                let expected = (place <= colon).then_some(Reject::FieldName);
                assert_eq!(request_reject(&request), expected, "{}", request.escape_ascii());
            }
        }
    }
}

/// HTTP/1.0 connections end, unless they are asked to stay.
#[test]
fn a_connection_is_kept_by_one_word_in_any_case_and_no_other() {
    let head = |line: &[u8]| [b"GET / HTTP/1.0\r\n", line, b"\r\nHost: a\r\n\r\n"].concat();
    for line in
        ["Connection: keep-alive", "connection: Keep-Alive", "CONNECTION:KEEP-ALIVE", "Connection: \tkeep-alive , x"]
    {
        request(&head(line.as_bytes()), |request| assert!(request.is_persistent, "{line}"));
    }
    let line = b"Connection: keep-alive";
    for place in b"Connection: ".len()..line.len() {
        for byte in
            (b'!'..=0xff).filter(|byte| !byte.eq_ignore_ascii_case(&line[place]) && !matches!(byte, b',' | 0x7f))
        {
            let mut other = line.to_vec();
            other[place] = byte;
            request(&head(&other), |request| assert!(!request.is_persistent, "{}", other.escape_ascii()));
        }
    }
}
