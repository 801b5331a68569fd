//! What changes in requests and responses on their way.

use super::*;

/// A listener that says `listener`, with a route that says `route`, to one server.
pub(super) fn config(listener: &str, route: &str) -> String {
    format!(
        "[[listener]]\nname = \"web\"\nbind = \"10.0.0.1:80\"\n{listener}\n[[listener.route]]\npool = \"p\"\n{route}\n\
         [[pool]]\nname = \"p\"\n[[pool.server]]\nname = \"a\"\naddress = \"10.0.0.11:8080\"\n"
    )
}

/// What the server gets of a request.
pub(super) fn forwarded(config: &str, request: &str) -> String {
    let mut world = World::with(config, 16);
    let client = world.client(WEB, request.as_bytes());
    let server = world.accept();
    let got = world.got(server);
    world.send(server, OK);
    assert_eq!(world.statuses(client), [200]);
    world.end(client);
    world.finish();
    got
}

#[test]
fn a_trusted_proxy_is_believed_and_our_client_is_added() {
    let trusting = config("trusted_proxies = \"192.0.2.1\"", "");
    let got = forwarded(
        &trusting,
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\n\r\n",
    );
    assert_eq!(
        got,
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\n\
         X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Host: a\r\n\r\n"
    );
    let got = forwarded(
        &trusting.replace("192.0.2.1", "192.0.2.2"),
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n",
    );
    assert!(!got.contains("6.6.6.6"), "a stranger: {got}");
}

/// Also where other things change on the way.
#[test]
fn what_a_stranger_says_does_not_take_the_place_of_what_we_say() {
    let said = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\n\r\n";
    let got = forwarded(&config("", "request_headers = { add = { X-A = \"1\" } }"), said);
    assert_eq!(
        got,
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\n\
         X-Forwarded-Port: 80\r\nX-Forwarded-Host: a\r\nX-A: 1\r\n\r\n"
    );
}

#[test]
fn requests_get_a_name_unless_a_trusted_proxy_gave_one() {
    let id = |got: &str| {
        let (_, rest) = got.split_once("\r\nX-Request-Id: ").unwrap_or_else(|| panic!("{got}"));
        String::from(rest.split("\r\n").next().expect("a value"))
    };
    let named = config("request_id = true", "");
    let mut world = World::with(&named, 16);
    let client = world.open(WEB);
    let mut ids = BTreeSet::new();
    world.send(client, GET);
    let server = world.accept();
    for _ in 0..100 {
        let id = id(&world.got(server));
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        ids.insert(id);
        world.send(server, OK);
        world.send(client, GET);
    }
    assert_eq!(ids.len(), 100);
    world.reset(client);
    world.finish();
    let theirs = "GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: theirs\r\n\r\n";
    let trusting = config("request_id = true\ntrusted_proxies = \"192.0.2.1\"", "");
    assert_eq!(forwarded(&trusting, theirs).matches("X-Request-Id: ").count(), 1);
    assert_eq!(id(&forwarded(&trusting, theirs)), "theirs");
    let got = forwarded(&named, theirs);
    assert!(!got.contains("theirs") && got.matches("X-Request-Id: ").count() == 1, "{got}");
}

#[test]
fn fields_of_requests_are_removed_set_and_added() {
    let changed = config(
        "",
        "request_headers = { set = { Host = \"inner\", X-Forwarded-Proto = \"https\" }, add = { X-A = \"1\" }, remove = [\"cookie\", \"x-forwarded-port\"] }",
    );
    assert_eq!(
        forwarded(&changed, "GET /x HTTP/1.1\r\nHost: a\r\nCookie: b\r\nX-a: 0\r\nAccept: */*\r\nCOOKIE: c\r\n\r\n"),
        "GET /x HTTP/1.1\r\nX-a: 0\r\nAccept: */*\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Host: a\r\n\
         Host: inner\r\nX-Forwarded-Proto: https\r\nX-A: 1\r\n\r\n"
    );
    let got = forwarded(&changed, "GET /x HTTP/1.0\r\n\r\n");
    assert_eq!(got.matches("\r\nHost: ").count(), 1, "{got}");
}

#[test]
fn fields_of_responses_are_removed_set_and_added() {
    let changed = config(
        "",
        "response_headers = { set = { Server = \"weir\" }, add = { X-A = \"1\" }, remove = \"x-powered-by\" }",
    );
    let mut world = World::with(&changed, 16);
    let client = world.client(WEB, GET);
    let server = world.accept();
    world.send(
        server,
        b"HTTP/1.1 200 Fine\r\nserver: nginx\r\nX-Powered-By: x\r\nContent-Length: 5\r\nX-A: 0\r\n\r\nhello",
    );
    assert_eq!(
        world.got(client),
        format!("HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nX-A: 0\r\nServer: weir\r\nX-A: 1\r\n{DATE}\r\nhello")
    );
    world.end(client);
    world.finish();
}

#[test]
fn what_is_only_added_leaves_the_rest_as_it_is() {
    let added = config("", "response_headers = { add = { X-A = \"1\" } }");
    for version in ["1.0", "1.1"] {
        let mut world = World::with(&added, 16);
        let client = world.client(WEB, GET);
        let server = world.accept();
        let fields = "B: c\r\nx-a: 0\r\nContent-Length: 0\r\n";
        world.send(server, format!("HTTP/{version} 200 Fine\r\nConnection: close\r\n{fields}\r\n").as_bytes());
        assert_eq!(world.got(client), format!("HTTP/1.1 200 Fine\r\n{fields}X-A: 1\r\n{DATE}\r\n"));
        world.end(client);
        world.finish();
    }
}

/// A 204 that says how long it is, as many servers do, and the answer to a WebSocket's opening.
#[test]
fn fields_of_responses_without_content_change_as_well() {
    let changed =
        config("", "response_headers = { set = { Server = \"weir\" }, add = { X-A = \"1\" }, remove = \"vary\" }");
    let asks = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    for (status, end) in
        [("204 No Content", DATE), ("101 Switching Protocols", "Connection: Upgrade\r\nUpgrade: x\r\n")]
    {
        let mut world = World::with(&changed, 16);
        let client = world.client(WEB, asks.as_bytes());
        let server = world.accept();
        let fields = "Server: s\r\nContent-Length: 0\r\nVary: *\r\nConnection: upgrade\r\nUpgrade: x\r\nX-A: 0\r\n";
        world.send(server, format!("HTTP/1.1 {status}\r\n{fields}\r\n").as_bytes());
        assert_eq!(world.got(client), format!("HTTP/1.1 {status}\r\nX-A: 0\r\nServer: weir\r\nX-A: 1\r\n{end}\r\n"));
        world.end(client);
        world.finish();
    }
}

#[test]
fn the_prefix_of_a_route_is_stripped() {
    for (path, rows) in [
        ("/api", &[("/api", "/"), ("/api/", "/"), ("/api/x?y=/api", "/x?y=/api"), ("/api?q", "/?q")][..]),
        ("/api/", &[("/api/", "/"), ("/api/x", "/x"), ("/api//x", "//x")]),
        ("/", &[("/", "/"), ("/x", "/x"), ("*", "*")]),
    ] {
        for (target, expected) in rows {
            let method = if *target == "*" { "OPTIONS" } else { "GET" };
            let config = config("", &format!("path = \"{path}\"\nstrip_prefix = true"));
            let mut world = World::with(&config, 16);
            let client = world.client(WEB, format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
            let server = world.accept();
            let got = world.got(server);
            assert!(got.starts_with(&format!("{method} {expected} HTTP/1.1\r\nHost: a\r\n")), "{target}: {got}");
            world.send(server, OK);
            world.end(client);
            world.finish();
        }
    }
}
