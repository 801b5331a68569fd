//! What is accepted here, `httparse` accepts too and means the same by it: method, target, version, status and every field.

use alloc::vec::Vec;

use super::Random;
use crate::{HeadLimits, Method, Request, Response, Version};

const REQUESTS: [&[u8]; 4] = [
    b"GET / HTTP/1.1\r\nHost: example.com\r\nUser-Agent: wrk\r\nAccept: */*\r\n\r\n",
    b"POST /a/b?c=d HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 12\r\nX_y.z~: \t a\xe4b \t\r\nEmpty:\r\n\r\nrest",
    b"OPTIONS * HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive, X_y\r\n\r\n",
    b"\r\nBREW http://a:1/x HTTP/1.0\r\nHost:a:1\r\n\r\n",
];

const RESPONSES: [&[u8]; 3] = [
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/plain\r\nContent-Length: 64\r\n\r\n",
    b"HTTP/1.0 404 Not\tFound\r\nA-very-long-field-name-indeed: x\r\n\r\n",
    b"HTTP/1.1 204\r\nX:\ty\r\n\r\nHTTP/1.1",
];

/// Changes a few bytes of one of the seeds.
fn mutate(random: &mut Random, seeds: &[&[u8]]) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        let specials = b"\r\n\0\t :;,#?/*.-_\x7f\x80\xff\x1fHC1az";
        match random.below(5) {
            0 => bytes[at] = specials[random.below(specials.len())],
            1 => bytes[at] = random.below(256) as u8,
            2 => bytes.truncate(at.max(1)),
            3 => drop(bytes.remove(at)),
            _ => bytes.insert(at, specials[random.below(specials.len())]),
        }
        if bytes.is_empty() {
            bytes.push(b'G');
        }
    }
    bytes
}

fn same_fields<'a>(ours: impl Iterator<Item = (&'a [u8], &'a [u8])>, theirs: &[httparse::Header<'a>]) -> bool {
    ours.eq(theirs.iter().map(|header| (header.name.as_bytes(), header.value)))
}

#[test]
fn requests() {
    let mut random = Random(11);
    let mut accepted = 0;
    for _ in 0..200_000 {
        let bytes = mutate(&mut random, &REQUESTS);
        let mut headers = [httparse::EMPTY_HEADER; 128];
        let mut theirs = httparse::Request::new(&mut headers);
        let outcome = theirs.parse(&bytes);
        let place = || bytes.escape_ascii();
        match Request::parse(&bytes, &HeadLimits::default()) {
            Err(_) => {}
            // A line is looked at when it is complete; `httparse` may refuse its beginning.
            Ok(None) => assert!(!matches!(outcome, Ok(httparse::Status::Complete(_))), "{}", place()),
            Ok(Some(ours)) => {
                accepted += 1;
                assert_eq!(outcome, Ok(httparse::Status::Complete(ours.head_len)), "{}", place());
                assert_eq!(Some(ours.method_text), theirs.method.map(str::as_bytes), "{}", place());
                assert_eq!(Some(u8::from(ours.version == Version::Http11)), theirs.version);
                assert!(
                    theirs
                        .path
                        .is_some_and(|path| path.as_bytes().ends_with(ours.path_and_query) || path == "http://a:1")
                );
                assert!(same_fields(ours.fields.iter(), theirs.headers), "{}", place());
            }
        }
    }
    assert!(accepted > 20_000, "{accepted}");
}

#[test]
fn responses() {
    let mut random = Random(12);
    let mut accepted = 0;
    for _ in 0..200_000 {
        let bytes = mutate(&mut random, &RESPONSES);
        let mut headers = [httparse::EMPTY_HEADER; 128];
        let mut theirs = httparse::Response::new(&mut headers);
        let outcome = theirs.parse(&bytes);
        let place = || bytes.escape_ascii();
        match Response::parse(&bytes, Method::Get, &HeadLimits::default()) {
            Err(_) => {}
            // A line is looked at when it is complete; `httparse` may refuse its beginning.
            Ok(None) => assert!(!matches!(outcome, Ok(httparse::Status::Complete(_))), "{}", place()),
            Ok(Some(ours)) => {
                accepted += 1;
                assert_eq!(outcome, Ok(httparse::Status::Complete(ours.head_len)), "{}", place());
                assert_eq!(Some(ours.status), theirs.code, "{}", place());
                assert_eq!(Some(u8::from(ours.version == Version::Http11)), theirs.version);
                assert!(same_fields(ours.fields.iter(), theirs.headers), "{}", place());
            }
        }
    }
    assert!(accepted > 20_000, "{accepted}");
}
