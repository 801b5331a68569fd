//! The page that says whether this image is to get requests.

use super::*;
use crate::Verdict;

const ASK: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: example.com\r\n\r\n";

/// A checked pool behind a host of its own, and a page for all others.
fn config(health: &str) -> String {
    format!(
        "[[listener]]\nname = \"web\"\nbind = \"10.0.0.1:80\"\n[listener.health]\n{health}\n\
         [[listener.route]]\nhost = \"example.com\"\npool = \"p\"\n[[listener.route]]\nrespond = {{ body = \"hello\\n\" }}\n\
         [[pool]]\nname = \"p\"\n[pool.health]\n[[pool.server]]\nname = \"a\"\naddress = \"10.0.0.11:8080\"\n"
    )
}

impl World {
    /// What a new connection is told.
    fn health(&mut self, request: &[u8]) -> String {
        let client = self.client(WEB, request);
        let answer = self.got(client);
        self.end(client);
        answer
    }
}

#[test]
fn the_page_is_on_every_host_and_routes_stay_as_they_are() {
    let mut world = World::with(&config(""), 16);
    for host in ["example.com", "10.0.0.1", "other"] {
        let answer = world.health(format!("GET /healthz?x HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nwell\n"), "{host}: {answer}");
        assert!(answer.contains("Cache-Control: no-store\r\n"), "{answer}");
    }
    let head = world.health(b"HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    let post = world.health(b"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
    let other = world.health(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(other.ends_with("hello\n"), "{other}");
    world.finish();
}

#[test]
fn the_page_is_there_for_hosts_without_routes() {
    let only = config("").replace("[[listener.route]]\nrespond = { body = \"hello\\n\" }\n", "");
    let mut world = World::with(&only, 16);
    let answer = world.health(b"GET /healthz HTTP/1.1\r\nHost: other\r\n\r\n");
    assert!(answer.ends_with("\r\n\r\nwell\n"), "{answer}");
    let other = world.health(b"GET / HTTP/1.1\r\nHost: other\r\n\r\n");
    assert!(other.starts_with("HTTP/1.1 404 "), "{other}");
    world.finish();
}

#[test]
fn one_pool_with_a_server_that_is_up_suffices() {
    let second = "[[listener.route]]\nhost = \"b.example\"\npool = \"q\"\n[[pool]]\nname = \"p\"";
    let both = config("fail_when_down = true").replace("[[pool]]\nname = \"p\"", second);
    let pool = "\n[[pool]]\nname = \"q\"\n[pool.health]\n[[pool.server]]\nname = \"b\"\naddress = \"10.0.0.12:8080\"\n";
    let mut world = World::with(&(both + pool), 16);
    for pool in [0, 1] {
        world.tell(Verdict { pool, server: 0, is_up: false });
    }
    assert!(world.health(ASK).starts_with("HTTP/1.1 503 "));
    world.tell(Verdict { pool: 1, server: 0, is_up: true });
    assert!(world.health(ASK).starts_with("HTTP/1.1 200 "));
    world.finish();
}

#[test]
fn the_switch_makes_it_fail() {
    let mut world = World::with(&config("fail = true\npath = \"/up\""), 16);
    let answer = world.health(b"GET /up HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("told to fail\n"), "{answer}");
    world.finish();
}

#[test]
fn without_a_server_that_is_up_it_fails_if_that_matters() {
    for (keys, status) in [("", "200"), ("fail_when_down = true", "503")] {
        let mut world = World::with(&config(keys), 16);
        let tell = |world: &mut World, is_up| world.tell(Verdict { pool: 0, server: 0, is_up });
        for _ in 0..2 {
            tell(&mut world, false);
            let answer = world.health(ASK);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert_eq!(answer.ends_with("no server is up\n"), status == "503");
            tell(&mut world, true);
            assert!(world.health(ASK).starts_with("HTTP/1.1 200 "));
        }
        world.finish();
    }
}

#[test]
fn who_leaves_says_so_and_still_serves_during_the_notice() {
    let mut world = World::with(&config("notice = \"10s\""), 16);
    let idle = world.client(WEB, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(world.statuses(idle), [200]);
    let leave = |world: &mut World| {
        world.service.leave(&mut world.net);
        world.run();
    };
    leave(&mut world);
    let answer = world.health(ASK);
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("leaving\n"), "{answer}");
    let answer = world.health(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer.ends_with("hello\n") && !answer.contains("Connection: close"), "{answer}");
    assert!(world.net.is_held(idle));
    world.pass(10.1);
    leave(&mut world);
    assert!(!world.net.is_held(idle) && !world.net.listens(SocketAddr::from(([10, 0, 0, 1], WEB))));
    world.finish();
}

#[test]
fn without_a_notice_an_open_connection_is_told_once() {
    let mut world = World::with(&config(""), 16);
    let client = world.open(WEB);
    world.service.leave(&mut world.net);
    world.send(client, ASK);
    let answer = world.got(client);
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Connection: close"), "{answer}");
    world.end(client);
    world.finish();
}
