use core::time::Duration;

use alloc::string::String;
use alloc::vec::Vec;
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

#[test]
fn without_a_free_buffer_the_last_second_s_response_is_sent() {
    let mut net = FakeNet::new(1);
    let mut date = HttpDate::new(0);
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
    for (root, path, expected) in [
        (&all, "/", Some("home")),
        (&all, "/index.html", Some("home")),
        (&all, "/site/docs/", Some("docs")),
        (&all, "/missing", None),
        (&site, "/static/", Some("site")),
        (&site, "/static/a%20b.css", Some("style")),
        (&site, "/static/docs/", Some("docs")),
        (&site, "/static/docs", Some("")),
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

#[test]
fn a_file_is_served_without_copying_it() {
    let mut net = FakeNet::new(8);
    let mut date = HttpDate::new(0);
    let archive = archive(&[("files/a.txt", "content"), ("files/docs/index.html", "docs")]);
    let root = FileRoot::new("", "/");
    let mut get = |path: &str, manner| root.answer(&archive, path.as_bytes(), &mut net, &mut date, manner);
    let answer = get("/a.txt", PERSISTENT).expect("a file").expect("a buffer");
    assert!(answer.body.as_ref().is_some_and(|body| !body.is_pooled()));
    assert!(text(&answer).contains("Content-Type: text/plain; charset=utf-8\r\nContent-Length: 7\r\n"));
    let head = Manner { connection: Connection::Persistent, head_only: true };
    let answer = get("/a.txt", head).expect("a file").expect("a buffer");
    assert!(answer.body.is_none() && text(&answer).contains("Content-Length: 7\r\n"));
    let moved = get("/docs", PERSISTENT).expect("a directory").expect("a buffer");
    assert!(moved.status == 301 && text(&moved).contains("Location: /docs/\r\n"));
    let moved = get("//docs", PERSISTENT).expect("a directory").expect("a buffer");
    assert!(text(&moved).contains("Location: /docs/\r\n"), "not another host");
    assert!(get("/b.txt", PERSISTENT).is_none());
    net.set_send_queue(0);
}

#[test]
fn long_names_use_the_prefix() {
    let name = ["files/", &"folder/".repeat(20), "leaf.txt"].concat();
    assert!(name.len() > 100);
    let archive = archive(&[(&name, "deep")]);
    assert_eq!(archive.find(name.as_bytes()), Some(&b"deep"[..]));
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
