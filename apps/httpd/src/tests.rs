use core::time::Duration;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use weir_http1::{HeadLimits, Request};
use weir_socket::testing::FakeNet;

use super::*;
use crate::files::resolves;

const PERSISTENT: Manner = Manner { connection: Connection::Persistent, head_only: false };

fn archive(files: &[(&str, &str)]) -> Archive {
    Archive::new(leaked(files)).expect("a good archive")
}

fn leaked(files: &[(&str, &str)]) -> &'static [u8] {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_path(name).expect("a name that fits");
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content.as_bytes()).expect("memory");
    }
    prepared::leak(builder.into_inner().expect("memory"))
}

fn text(answer: &Answer) -> String {
    let body = answer.body.as_ref().map_or(&b""[..], |body| body);
    String::from_utf8([&answer.head, body].concat()).expect("text")
}

#[test]
fn a_fixed_response_is_written_once_a_second() {
    let mut net = FakeNet::new(8);
    let mut date = HttpDate::new(784_111_776_000_000_000);
    let mut hello = Prepared::new(200, "text/plain", &[], b"hello\n");
    hello.warm_up(&mut net, &mut date);
    assert_eq!(net.pool().in_use(), 1);

    let first = hello.answer(&mut net, &mut date, PERSISTENT).expect("a buffer");
    assert_eq!(
        text(&first),
        "HTTP/1.1 200 OK\r\nServer: weir\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\
         Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\nhello\n"
    );
    let second = hello.answer(&mut net, &mut date, PERSISTENT).expect("a buffer");
    assert_eq!(first.head.address(), second.head.address(), "sent by reference");
    assert_eq!(net.pool().in_use(), 1);

    net.advance(Duration::from_secs(1));
    let later = hello.answer(&mut net, &mut date, PERSISTENT).expect("a buffer");
    assert!(text(&later).contains("08:49:38"));
    drop((first, second, later));
    assert_eq!(net.pool().in_use(), 1);
}

/// RFC 9110 6.6.1: a server without a clock says no date.
#[test]
fn without_a_clock_there_is_no_date() {
    let mut net = FakeNet::new(8);
    let mut date = HttpDate::new(0);
    let mut hello = Prepared::new(200, "text/plain", &[], b"hello\n");
    hello.warm_up(&mut net, &mut date);
    net.advance(Duration::from_secs(5));
    let first = hello.answer(&mut net, &mut date, PERSISTENT).expect("a buffer");
    assert_eq!(
        text(&first),
        "HTTP/1.1 200 OK\r\nServer: weir\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n"
    );
    let head = dynamic_head(200, &[], 0, &mut net, &mut date, PERSISTENT).expect("a buffer");
    assert_eq!(&head[..], b"HTTP/1.1 200 OK\r\nServer: weir\r\nContent-Length: 0\r\n\r\n");
}

#[test]
fn without_a_free_buffer_the_last_second_s_response_is_sent() {
    let mut net = FakeNet::new(1);
    let mut date = HttpDate::new(784_111_776_000_000_000);
    let mut hello = Prepared::new(200, "text/plain", &[], b"hello\n");
    hello.warm_up(&mut net, &mut date);
    net.advance(Duration::from_secs(5));
    assert!(hello.answer(&mut net, &mut date, PERSISTENT).is_some());
    let close = Manner { connection: Connection::Close, head_only: false };
    assert!(hello.answer(&mut net, &mut date, close).is_none());
}

#[test]
fn head_and_connection_are_honoured() {
    let mut net = FakeNet::new(8);
    let mut date = HttpDate::new(0);
    let mut hello = Prepared::new(200, "text/plain", &[], b"hello\n");
    let head_only = Manner { connection: Connection::Close, head_only: true };
    let answer = text(&hello.answer(&mut net, &mut date, head_only).expect("a buffer"));
    assert!(answer.contains("Content-Length: 6\r\n") && answer.ends_with("\r\nConnection: close\r\n\r\n"), "{answer}");
    let old_client = Manner { connection: Connection::KeepAlive, head_only: false };
    let answer = text(&hello.answer(&mut net, &mut date, old_client).expect("a buffer"));
    assert!(answer.ends_with("\r\nConnection: keep-alive\r\n\r\nhello\n"), "{answer}");
}

#[test]
fn a_long_body_is_sent_from_where_it_lies() {
    let mut net = FakeNet::new(8);
    let mut date = HttpDate::new(0);
    let mut page = demo_page("left", 3);
    let answer = page.answer(&mut net, &mut date, PERSISTENT).expect("a buffer");
    assert!(answer.body.as_ref().is_some_and(|body| !body.is_pooled()));
    let answer = text(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains(&alloc::format!("Content-Length: {}\r\n", body.len())), "{head}");
    assert!(body.contains("<b>left</b>") && body.contains("<dd>3</dd>") && !body.contains("{{"));
}

#[test]
fn errors_explain_themselves() {
    let mut net = FakeNet::new(8);
    let mut date = HttpDate::new(0);
    let answer = error_response(405).write(&mut net, &mut date, PERSISTENT).expect("a buffer");
    assert_eq!(answer.status, 405);
    let answer = text(&answer);
    assert!(answer.starts_with("HTTP/1.1 405 Method Not Allowed\r\n") && answer.contains("Allow: GET, HEAD\r\n"));
    assert!(answer.ends_with("\r\n\r\n405 Method Not Allowed\n"));
    let empty =
        text(&Prepared::new(204, "text/plain", &[], b"").write(&mut net, &mut date, PERSISTENT).expect("a buffer"));
    assert!(!empty.contains("Content-Length") && !empty.contains("Content-Type"), "{empty}");
}

#[test]
fn files_are_found_below_their_directory() {
    let archive = archive(&[
        ("weir.toml", "secret"),
        ("files/index.html", "home"),
        ("files/site/index.html", "site"),
        ("files/site/a b.css", "style"),
        ("files/site/docs/index.html", "docs"),
        ("files/other.txt", "other"),
    ]);
    let all = FileRoot::new("", "/");
    let site = FileRoot::new("site", "/static/");
    let bare = FileRoot::new("site", "/bare");
    for (root, path, expected) in [
        (&all, "/", Some("home")),
        (&all, "/index.html", Some("home")),
        (&all, "/site/docs/", Some("docs")),
        (&all, "/missing", None),
        (&site, "/static/", Some("site")),
        (&site, "/static/a%20b.css", Some("style")),
        (&site, "/static/docs/", Some("docs")),
        (&site, "/static/docs", Some("")),
        (&bare, "/bare", Some("")),
        (&bare, "/bare/", Some("site")),
        (&bare, "/bare/docs", Some("")),
        (&site, "/other.txt", None),
        (&site, "/static/../other.txt", None),
        (&site, "/static/%2e%2e/other.txt", None),
        (&site, "/static/..%2fother.txt", None),
        (&site, "/static/docs/../index.html", None),
        (&site, "/static/./index.html", None),
        (&site, "/static/docs//index.html", None),
        (&site, "/static/index.html%00.css", None),
        (&site, "/static/index.html%", None),
        (&site, "/static/index.html%2", None),
        (&site, "/static/index.html%zz", None),
        (&all, "/../weir.toml", None),
        (&all, "/%2e%2e/weir.toml", None),
    ] {
        let found = resolves(&archive, root, path).map(|(content, _)| core::str::from_utf8(content).expect("text"));
        assert_eq!(found, expected, "{path}");
    }
    assert_eq!(resolves(&archive, &site, "/static/a%20b.css").map(|found| found.1), Some("text/css; charset=utf-8"));
    let long = ["/static/", &"x".repeat(5000)].concat();
    assert_eq!(resolves(&archive, &site, &long), None);
}

/// Has a GET for `path` with these fields answered.
fn asked<T>(path: &str, fields: &str, answer: impl FnOnce(&Request<'_>) -> T) -> T {
    let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    answer(&Request::parse(head.as_bytes(), &HeadLimits::default()).expect("a request").expect("all of it"))
}

#[test]
fn parts_and_what_clients_have_already_are_honoured() {
    let mut net = FakeNet::new(8);
    let mut date = HttpDate::new(0);
    let archive = archive(&[("files/a.txt", "0123456789"), ("files/b.txt", "0123456780"), ("files/empty", "")]);
    let root = FileRoot::new("", "/");
    let mut get = |path: &str, fields: &str| {
        let answer = asked(path, fields, |request| root.answer(&archive, request, &mut net, &mut date, PERSISTENT));
        let answer = answer.expect("a file").expect("a buffer");
        (answer.status, text(&answer))
    };
    let tag = |text: &str| {
        String::from(text.split("ETag: ").nth(1).and_then(|rest| rest.split("\r\n").next()).expect("a tag"))
    };
    let (a, b) = (tag(&get("/a.txt", "").1), tag(&get("/b.txt", "").1));
    assert_ne!(a, b);
    for (fields, status, part, body) in [
        ("Range: bytes=2-4\r\n".into(), 206, "Content-Range: bytes 2-4/10\r\nContent-Length: 3\r\n", "234"),
        ("Range: bytes=-2\r\n".into(), 206, "Content-Range: bytes 8-9/10\r\n", "89"),
        ("Range: bytes=10-\r\n".into(), 416, "Content-Range: bytes */10\r\nContent-Length: 0\r\n", ""),
        ("Range: bytes=0-1,3-4\r\n".into(), 200, "Accept-Ranges: bytes\r\nContent-Length: 10\r\n", "0123456789"),
        (format!("Range: bytes=0-0\r\nIf-Range: {a}\r\n"), 206, "bytes 0-0/10", "0"),
        (format!("Range: bytes=0-0\r\nIf-Range: {b}\r\n"), 200, "Content-Length: 10\r\n", "0123456789"),
        (format!("If-None-Match: \"x\", W/{a}\r\n"), 304, "Content-Length: 10\r\n", ""),
        (format!("If-None-Match: {b}\r\n"), 200, "", "0123456789"),
        (format!("If-None-Match: {b}\r\nETag: x\r\nif-none-match: {a}\r\n"), 304, "", ""),
        (format!("If-Match: {b}\r\n"), 412, "Content-Length: 0\r\n", ""),
        (format!("If-Match: {b}\r\nIf-Match: {a}\r\n"), 200, "", "0123456789"),
        (format!("If-Match: W/{a}\r\n"), 412, "", ""),
        (format!("If-Match: {a}\r\nIf-None-Match: {a}\r\nRange: bytes=0-1\r\n"), 304, "", ""),
        (format!("Range: bytes=0-0\r\nIf-Range: W/{a}\r\n"), 200, "", "0123456789"),
        ("Range: bytes=0-0\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n".into(), 200, "", "0123456789"),
        ("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n".into(), 200, "", "0123456789"),
        ("If-Match: *\r\n".into(), 200, "", "0123456789"),
        ("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n".into(), 200, "", "0123456789"),
    ] {
        let (found, answer) = get("/a.txt", &fields);
        assert_eq!(found, status, "{fields}");
        assert!(answer.contains(part) && answer.ends_with(&format!("\r\n\r\n{body}")), "{fields}: {answer}");
        assert_eq!(tag(&answer), a);
        // RFC 9110 15.4.5: a 304 describes nothing the client has; an error's empty content has no type.
        assert_eq!(answer.contains("Content-Type: "), status < 300, "{fields}: {answer}");
        assert_eq!(answer.contains("Accept-Ranges: "), status != 304, "{fields}: {answer}");
    }
    assert_eq!(get("/empty", "Range: bytes=0-\r\n").0, 416);
    assert_eq!(get("/empty", "Range: bytes=-5\r\n").0, 200);
}

#[test]
fn a_file_is_served_without_copying_it() {
    let mut net = FakeNet::new(8);
    let mut date = HttpDate::new(0);
    let archive = archive(&[("files/a.txt", "content"), ("files/docs/index.html", "docs")]);
    let root = FileRoot::new("", "/");
    let mut get =
        |path: &str, manner| asked(path, "", |request| root.answer(&archive, request, &mut net, &mut date, manner));
    let answer = get("/a.txt", PERSISTENT).expect("a file").expect("a buffer");
    assert!(answer.body.as_ref().is_some_and(|body| !body.is_pooled()));
    assert!(text(&answer).contains("Content-Type: text/plain; charset=utf-8\r\nETag: \""));
    let head = Manner { connection: Connection::Persistent, head_only: true };
    let answer = get("/a.txt", head).expect("a file").expect("a buffer");
    assert!(answer.body.is_none() && text(&answer).contains("Content-Length: 7\r\n"));
    let moved = get("/docs", PERSISTENT).expect("a directory").expect("a buffer");
    assert!(moved.status == 301 && text(&moved).contains("Location: /docs/\r\n"));
    let moved = get("//docs", PERSISTENT).expect("a directory").expect("a buffer");
    assert!(text(&moved).contains("Location: /docs/\r\n"), "not another host");
    let moved = get("/docs?a=/b?c", PERSISTENT).expect("a directory").expect("a buffer");
    assert!(text(&moved).contains("Location: /docs/?a=/b?c\r\n"), "with its query");
    for (len, is_moved) in [(1024, true), (1025, false)] {
        let moved = get(&format!("/docs?{}", "a".repeat(len - 1)), PERSISTENT);
        assert_eq!(moved.map(|answer| answer.is_some()), is_moved.then_some(true), "{len}");
    }
    assert!(get("/b.txt", PERSISTENT).is_none());
    net.set_send_queue(0);
}

#[test]
fn long_names_use_the_prefix() {
    let name = ["files/", &"folder/".repeat(20), "leaf.txt"].concat();
    assert!(name.len() > 100);
    let archive = archive(&[(&name, "deep")]);
    assert_eq!(archive.find(name.as_bytes()).map(|file| file.content), Some(&b"deep"[..]));
}

#[test]
fn a_bad_archive_is_an_error_and_never_a_panic() {
    let good = leaked(&[("files/a.txt", "content"), ("files/b.txt", "more")]);
    assert_eq!(Archive::new(good).expect("good").len(), 2);
    assert!(Archive::new(b"").expect("empty").is_empty());
    assert_eq!(Archive::new(&good[..100]).err(), Some(ArchiveError::Truncated));
    assert_eq!(Archive::new(&good[..515]).err(), Some(ArchiveError::Truncated));
    assert_eq!(Archive::new(prepared::leak(alloc::vec![1; 1024])).err(), Some(ArchiveError::Checksum));
    for at in 0..512 {
        let mut bytes = good.to_vec();
        bytes[at] ^= 0x15;
        let _ = Archive::new(prepared::leak(bytes));
    }
}

#[test]
fn types_by_extension() {
    assert_eq!(content_type(b"files/A.HTML"), "text/html; charset=utf-8");
    assert_eq!(content_type(b"files/x.tar.gz"), "application/gzip");
    assert_eq!(content_type(b"files/html"), "application/octet-stream");
    assert_eq!(content_type(b"files.html/readme"), "application/octet-stream");
    assert_eq!(content_type(b"files/.html"), "text/html; charset=utf-8");
}
