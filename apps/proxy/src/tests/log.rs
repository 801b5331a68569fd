//! The access log: what became of each request.

use super::*;
use weir_http1::HOST_BYTES_MAX;
use weir_socket::CloseReason;

fn config(more: &str) -> String {
    format!(
        "[log]\naccess = \"console\"\n[[listener]]\nname = \"web\"\nbind = \"10.0.0.1:80\"\n[[listener.route]]\npool = \"p\"\n\
         [[listener.route]]\npath = \"/hello\"\nrespond = {{ body = \"hello\\n\" }}\n\
         [[pool]]\nname = \"p\"\nbalance = \"round-robin\"\n[[pool.server]]\nname = \"a\"\naddress = \"10.0.0.11:80\"\n{more}"
    )
}

impl World {
    fn lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        self.service.drain_log(|line| lines.push(String::from_utf8(line.to_vec()).expect("text")));
        lines
    }

    /// The only line there is.
    fn line(&mut self) -> String {
        let lines = self.lines();
        let [line] = &lines[..] else { panic!("{lines:?}") };
        line.clone()
    }
}

fn has(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "{part} is not in\n{line}");
    }
}

#[test]
fn a_line_has_five_times() {
    let mut world = World::with(&config(""), 16);
    let client = world.open(WEB);
    world.send(client, b"GET /a?b=\"c\\ HTTP/1.1\r\nHo");
    world.pass(1.0);
    world.send(client, b"st: example.com\r\n\r\n");
    world.pass(0.25);
    let server = world.accept();
    world.pass(0.5);
    world.send(server, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    assert!(!world.service.has_log_lines(), "it is not over");
    world.pass(0.125);
    world.send(server, b"hello");
    let line = world.line();
    let peer = "\"client\":\"192.0.2.1:";
    has(
        &line,
        &[
            "{\"time\":\"1994-11-06T08:49:38.875Z\",\"listener\":\"web\",",
            peer,
            "\"method\":\"GET\",\"host\":\"example.com\",\"target\":\"/a?b=\\\"c\\\\\",\"status\":200,\"bytes\":10,",
            "\"pool\":\"p\",\"server\":\"a\",\"queue_us\":0,\"connect_us\":250000,\"response_us\":500000,",
            "\"active_us\":875000,\"total_us\":1875000,\"retries\":0,\"end\":\"--\"}",
        ],
    );
    world.send(client, GET);
    world.send(server, OK);
    has(&world.line(), &["\"bytes\":5,", "\"connect_us\":0,", "\"total_us\":0,"]);
    world.end(client);
    assert!(world.lines().is_empty());
    world.finish();
}

#[test]
fn what_we_answer_ourselves_has_no_server() {
    let mut world = World::with(&config(""), 16);
    let client = world.client(WEB, b"HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    let lines = world.lines();
    assert_eq!(lines.len(), 2);
    has(&lines[0], &["\"method\":\"HEAD\"", "\"bytes\":0,\"queue_us\":null,\"connect_us\":null,\"response_us\":null"]);
    has(&lines[1], &["\"bytes\":6,", "\"end\":\"--\""]);
    world.send(client, b"GET / HTTP/1.1\r\n\r\n");
    let line = world.line();
    has(&line, &["\"status\":400", "\"end\":\"PR\""]);
    assert!(!line.contains("method"), "nothing of it was understood: {line}");
    world.end(client);
    world.finish();
}

#[test]
fn the_end_says_who_ended_it_and_when() {
    type Deed = fn(&mut World, Peer);
    let deeds: [(&str, u16, Deed); 9] = [
        ("SC", 502, |world, _| {
            let (server, _) = world.connecting();
            world.net.fail(server, CloseReason::Refused);
            world.run();
        }),
        ("sC", 504, |world, _| world.pass(3.1)),
        ("CC", 0, |world, client| world.reset(client)),
        ("CH", 0, |world, client| {
            world.accept();
            world.reset(client);
        }),
        ("sH", 504, |world, _| {
            world.accept();
            world.pass(30.1);
        }),
        ("SH", 502, |world, _| {
            let server = world.accept();
            world.send(server, b"nonsense\r\n\r\n");
        }),
        ("SD", 200, |world, _| {
            let server = world.accept();
            world.send(server, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
            world.reset(server);
        }),
        ("sD", 200, |world, _| {
            let server = world.accept();
            world.send(server, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
            world.pass(60.1);
        }),
        ("CD", 200, |world, client| {
            let server = world.accept();
            world.send(server, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
            world.reset(client);
        }),
    ];
    for (end, status, deed) in deeds {
        let mut world = World::with(&config(""), 16);
        let client = world.client(WEB, GET);
        deed(&mut world, client);
        let line = world.line();
        has(&line, &[&format!("\"end\":\"{end}\"")]);
        if status != 0 {
            has(&line, &[&format!("\"status\":{status},")]);
        }
        world.got(client);
        world.finish();
    }
}

#[test]
fn waiting_and_trying_again_are_seen() {
    let mut world = World::with(&config("max_connections = 1\n"), 16);
    let busy = world.client(WEB, GET);
    let server = world.accept();
    let client = world.client(WEB, GET);
    world.pass(0.5);
    world.send(server, OK);
    world.send(server, OK);
    has(&world.lines()[1], &["\"queue_us\":500000", "\"end\":\"--\""]);
    let impatient = world.client(WEB, GET);
    world.send(busy, GET);
    world.pass(5.1);
    has(&world.lines()[0], &["\"status\":503", "\"end\":\"sQ\""]);
    for peer in [busy, client, impatient] {
        world.end(peer);
    }
    world.finish();

    let mut world = World::with(&config("[[pool.server]]\nname = \"b\"\naddress = \"10.0.0.12:80\"\n"), 16);
    let client = world.client(WEB, GET);
    let dying = world.accept();
    world.end(dying);
    let server = world.accept();
    world.send(server, OK);
    has(&world.line(), &["\"server\":\"b\"", "\"retries\":1", "\"end\":\"--\""]);
    world.end(client);
    world.finish();
}

#[test]
fn a_tunnel_is_one_line_when_it_ends() {
    let tunnel = config("").replace("bind = \"10.0.0.1:80\"\n", "bind = \"10.0.0.1:80\"\nprotocol = \"tcp\"\n");
    let tunnel = tunnel.replace("[[listener.route]]\npath = \"/hello\"\nrespond = { body = \"hello\\n\" }\n", "");
    let mut world = World::with(&tunnel, 16);
    let client = world.client(WEB, b"hello");
    let server = world.accept();
    world.send(server, b"good bye");
    world.got(client);
    world.pass(2.0);
    world.end(client);
    world.end(server);
    has(&world.line(), &["\"bytes\":8,\"pool\":\"p\"", "\"active_us\":2000000", "\"end\":\"--\""]);
    world.finish();
}

/// Of a connection's client as of those that a proxy in front names, at each request.
#[test]
fn every_kind_of_client_is_named() {
    let trusting = "bind = \"10.0.0.1:80\"\ntrusted_proxies = [\"192.0.2.0/24\"]\nproxy_protocol = true\n";
    let config = config("").replace("bind = \"10.0.0.1:80\"\n", trusting);
    for (header, client) in [
        ("PROXY TCP4 203.0.113.9 198.51.100.1 4711 443\r\n", "203.0.113.9:4711"),
        ("PROXY TCP4 203.203.203.203 198.51.100.1 65535 65535\r\n", "203.203.203.203:65535"),
        ("PROXY TCP6 2001:db8::1 2001:db8::2 4711 443\r\n", "[2001:db8::1]:4711"),
    ] {
        let mut world = World::with(&config, 16);
        let peer = world.client(WEB, format!("{header}GET / HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        let server = world.accept();
        for _ in 0..2 {
            world.send(server, OK);
            has(&world.line(), &[&format!(",\"client\":\"{client}\",\"method\":\"GET\",")]);
            world.send(peer, GET);
            let sent = world.got(server);
            assert!(sent.contains("\r\nX-Forwarded-Port: 443\r\n") || client.ends_with(":65535"), "{sent}");
        }
        world.end(peer);
        world.finish();
    }
}

/// What is longer than usual: names, and a target of which each byte is escaped.
#[test]
fn the_longest_line_has_room() {
    let name = "n".repeat(63);
    let named = |text: &str| text.replace("\"web\"", &format!("\"{name}\"")).replace("\"p\"", &format!("\"{name}\""));
    let mut world = World::with(&named(&config("")).replace("\"a\"", &format!("\"{name}\"")), 16);
    let (method, host, target) = ("M".repeat(32), "h".repeat(HOST_BYTES_MAX), "\\".repeat(511));
    let client = world.client(WEB, format!("{method} /{target} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    let server = world.accept();
    world.send(server, OK);
    let line = world.line();
    // So much of it as a line has of any target.
    let escaped = "\\\\".repeat(255);
    let request = format!("\"method\":\"{method}\",\"host\":\"{host}\",\"target\":\"/{escaped}\",\"status\":200,");
    has(&line, &[&request, &format!("\"pool\":\"{name}\",\"server\":\"{name}\""), "\"end\":\"--\"}"]);
    world.end(client);
    world.finish();
}

#[test]
fn a_line_fits_where_it_goes_and_is_whole() {
    let name = "n".repeat(63);
    let mut world = World::with(&config("").replace("\"web\"", &format!("\"{name}\"")), 16);
    let (method, host) = ("M".repeat(99), "a".repeat(261));
    for byte in ["\\", "\"", "a"] {
        let target = byte.repeat(4_000);
        let client = world.client(WEB, format!("{method} /hello?{target} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        world.got(client);
        world.end(client);
        let line = world.line();
        assert!(line.len() <= crate::LOG_LINE_LEN_MAX, "{} bytes", line.len());
        has(&line, &[&name, &host, "\"status\":501,", "\"end\":\"PR\"}"]);
        let (_, target) = line.split_once("\"target\":\"/hello?").expect("a target");
        let (target, _) = target.split_once("\",\"status\"").expect("its end");
        assert!(
            target.len() > 500 && target.replace(&format!("\\{byte}"), byte).bytes().all(|b| byte.as_bytes() == [b])
        );
        assert!(byte == "a" || target.len() % 2 == 0, "no half of an escaped byte: {target}");
    }
    world.finish();
}

#[test]
fn lines_that_find_no_room_are_lost_and_counted() {
    let mut world = World::with(&config(""), 16);
    let client = world.open(WEB);
    for _ in 0..2_000 {
        world.send(client, b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        world.got(client);
    }
    let lines = world.lines().len() as u64;
    assert!(lines > 100 && lines + world.service.lost_log_lines() == 2_000, "{lines}");
    world.end(client);
    world.finish();
}

#[test]
fn without_a_log_there_are_no_lines() {
    let mut world = World::new();
    let client = world.client(LOCAL, b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(world.statuses(client), [200]);
    assert!(!world.service.has_log_lines() && world.lines().is_empty());
    world.end(client);
    world.finish();
}
