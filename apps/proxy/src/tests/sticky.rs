//! Clients that stay with their servers by a cookie of ours.

use super::*;
use alloc::string::ToString;

const SECRET: &str = "secret = \"0123456789abcdef\"";

/// Three servers in turn behind a sticky cookie `W`; `more` are keys of it, `each` are lines of each server.
fn config(more: &str, each: &str) -> String {
    let mut text = format!(
        "[[listener]]\nname = \"web\"\nbind = \"10.0.0.1:80\"\n[[listener.route]]\npool = \"p\"\n[[pool]]\nname = \"p\"\n\
         balance = \"round-robin\"\nsticky = {{ cookie = \"W\"{more} }}\n"
    );
    for n in 1..=3 {
        text.push_str(&format!("[[pool.server]]\nname = \"s{n}\"\naddress = \"10.0.0.1{n}:80\"\n{each}\n"));
    }
    text
}

fn get(cookies: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{cookies}\r\n").into_bytes()
}

/// What a visit was.
struct Visit {
    /// Where the request went.
    server: String,
    /// What the server was asked.
    asked: String,
    /// The lines of our cookie that the client got.
    set: Vec<String>,
    answer: String,
}

impl Visit {
    /// The line with which the client comes back.
    fn cookie(&self) -> String {
        let [line] = &self.set[..] else { panic!("{:?}", self.set) };
        let pair = line.trim_start_matches("Set-Cookie: ").split(';').next().expect("a pair");
        format!("Cookie: {pair}\r\n")
    }
}

fn visit(world: &mut World, cookies: &str) -> Visit {
    visit_that_answers(world, cookies, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

fn visit_that_answers(world: &mut World, cookies: &str, answer: &[u8]) -> Visit {
    let client = world.client(WEB, &get(cookies));
    let (server, address) = world.connecting();
    world.net.establish(server);
    world.run();
    let asked = world.got(server);
    world.send(server, answer);
    let answer = world.got(client);
    let set = answer.lines().filter(|line| line.starts_with("Set-Cookie: W=")).map(Into::into).collect();
    Visit { server: address, asked, set, answer }
}

#[test]
fn a_client_comes_back_to_its_server_and_gets_its_cookie_once() {
    let mut world = World::with(&config("", ""), 16);
    let visits: Vec<Visit> = (0..3).map(|_| visit(&mut world, "")).collect();
    for first in &visits {
        assert!(first.answer.contains("\r\nCache-Control: private\r\n"), "{}", first.answer);
        for _ in 0..3 {
            let again = visit(&mut world, &first.cookie());
            assert_eq!((&again.server, again.set.len()), (&first.server, 0));
            assert!(!again.answer.contains("Cache-Control"), "nothing changed for caches: {}", again.answer);
        }
    }
    assert_eq!((world.incidents("cookie_unknown"), world.incidents("cookie_down")), (0, 0));
    world.finish();
}

#[test]
fn the_cookie_is_ours_and_no_server_sees_or_sets_it() {
    let mut world = World::with(&config("", ""), 16);
    let first = visit(&mut world, "");
    let ours = first.cookie().trim_start_matches("Cookie: ").trim_end().to_string();
    let alone = visit(&mut world, &first.cookie());
    assert!(!alone.asked.to_lowercase().contains("cookie"), "{}", alone.asked);
    let among = visit(&mut world, &format!("cookie: a=1;{ours}; WW=2\r\nCookie: b=3\r\n"));
    assert_eq!(among.server, first.server);
    assert!(among.asked.contains("\r\nCookie: a=1; WW=2\r\nCookie: b=3\r\n"), "{}", among.asked);
    let answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: W=theirs; Path=/\r\nSet-Cookie: WW=theirs\r\nContent-Length: 0\r\n\
                   Connection: close\r\n\r\n";
    let theirs = visit_that_answers(&mut world, &first.cookie(), answer);
    assert!(!theirs.answer.contains("W=theirs; Path") && theirs.answer.contains("Set-Cookie: WW=theirs\r\n"));
    world.finish();
}

#[test]
fn a_cookie_has_safe_attributes_and_those_that_are_wanted() {
    for (more, expected) in [
        ("", "; Path=/; HttpOnly; SameSite=Lax"),
        (
            ", path = \"/app\", max_age = \"2h\", secure = true, same_site = \"none\"",
            "; Path=/app; Max-Age=7200; HttpOnly; SameSite=None; Secure",
        ),
        (", same_site = \"strict\"", "; Path=/; HttpOnly; SameSite=Strict"),
    ] {
        let mut world = World::with(&config(more, ""), 16);
        let visit = visit(&mut world, "");
        assert_eq!(&visit.set[0]["Set-Cookie: W=".len() + 32..], expected);
    }
}

#[test]
fn another_core_and_another_image_know_the_cookie_and_another_secret_does_not() {
    let with = |more: &str| config(more, "");
    let cookie = visit(&mut World::with(&with(&format!(", {SECRET}")), 16), "");
    for core in 0..2 {
        let mut world = World::as_core(&with(&format!(", {SECRET}")), 16, (core, 2));
        let again = visit(&mut world, &cookie.cookie());
        assert_eq!((again.server, again.set.len()), (cookie.server.clone(), 0));
    }
    let mut other = World::with(&with(", secret = \"0123456789abcdeF\""), 16);
    assert_eq!(visit(&mut other, &cookie.cookie()).set.len(), 1);
    assert_eq!(other.incidents("cookie_unknown"), 1);
}

#[test]
fn a_forged_cookie_is_counted_and_replaced() {
    let mut world = World::with(&config("", ""), 16);
    let zeros = "0".repeat(32);
    for (count, value) in ["", "10.0.0.11:80", "s1", &zeros, &"f".repeat(5000)].iter().enumerate() {
        let visit = visit(&mut world, &format!("Cookie: W={value}\r\n"));
        assert_eq!((visit.set.len(), world.incidents("cookie_unknown")), (1, count as u64 + 1), "{value}");
    }
    world.finish();
}

#[test]
fn a_server_that_is_down_loses_its_clients_and_one_that_drains_keeps_them() {
    let mut world = World::with(&config("", ""), 16);
    let first = visit(&mut world, "");
    let server = first.server.as_bytes()[7] - b'1';
    world.tell(crate::Verdict { pool: 0, server: server.into(), is_up: false });
    let moved = visit(&mut world, &first.cookie());
    assert_ne!(moved.server, first.server);
    assert_ne!(moved.cookie(), first.cookie());
    assert_eq!(world.incidents("cookie_down"), 1);
    world.finish();

    let third = "[[pool.server]]\nname = \"s3\"\naddress = \"10.0.0.13:80\"\n";
    let draining = config("", "").replace(third, &format!("{third}state = \"drain\"\n"));
    let mut world = World::with(&config("", ""), 16);
    let visits: Vec<Visit> = (0..3).map(|_| visit(&mut world, "")).collect();
    let third = visits.iter().find(|visit| visit.server == "10.0.0.13:80").expect("who was there");
    let mut world = World::with(&draining, 16);
    for _ in 0..4 {
        let stays = visit(&mut world, &third.cookie());
        assert_eq!((&stays.server[..], stays.set.len()), ("10.0.0.13:80", 0));
        assert_ne!(visit(&mut world, "").server, "10.0.0.13:80", "nobody new");
    }
    world.finish();
}

#[test]
fn a_client_whose_server_is_full_comes_back_to_it() {
    let mut world = World::with(&config("", "max_connections = 1"), 16);
    let first = visit(&mut world, "");
    let waiting = world.client(WEB, &get(&first.cookie()));
    let busy = world.accept();
    let elsewhere = visit(&mut world, &first.cookie());
    assert_ne!(elsewhere.server, first.server);
    assert_eq!(elsewhere.set.len(), 0, "it keeps its cookie");
    world.send(busy, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_eq!(world.statuses(waiting), [200]);
    assert_eq!(visit(&mut world, &first.cookie()).server, first.server);
    world.finish();
}

#[test]
fn a_client_whose_server_refuses_gets_another_and_its_cookie() {
    let mut world = World::with(&config("", ""), 16);
    let first = visit(&mut world, "");
    let client = world.client(WEB, &get(&first.cookie()));
    let (refuses, address) = world.connecting();
    assert_eq!(address, first.server);
    world.reset(refuses);
    let server = world.accept();
    world.send(server, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let answer = world.got(client);
    assert!(answer.contains("Set-Cookie: W=") && !answer.contains(&first.cookie()["Cookie: ".len()..42]), "{answer}");
    world.finish();
}
