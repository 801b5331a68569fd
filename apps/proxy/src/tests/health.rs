//! Health checks: a server's answers, and what they do to its requests.

use super::*;
use crate::Verdict;
use weir_socket::CloseReason;

/// Two servers that are checked.
const CHECKED: &str = r#"
[[listener]]
name = "web"
bind = "10.0.0.1:80"
[[listener.route]]
pool = "p"

[[pool]]
name = "p"
balance = "round-robin"
[pool.health]
http = { path = "/healthz", expect = "200-299" }
interval = "2s"
timeout = "1s"
rise = 2
fall = 3
[[pool.server]]
name = "a"
address = "10.0.0.11:8080"
[[pool.server]]
name = "b"
address = "10.0.0.12:8080"
"#;

const WELL: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
const ILL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

/// What a server does when it is checked.
#[derive(Clone, Copy)]
enum Does {
    Refuse,
    Say(&'static [u8]),
    End,
    Nothing,
}

impl World {
    /// Lets the next check begin, and its server do something; the verdicts that follow.
    fn check(&mut self, does: Does) -> Vec<Verdict> {
        let due = self.service.next_check().expect("checks");
        self.pass(due.since(self.net.now()).as_secs_f64() + 1e-6);
        self.service.check_servers(&mut self.net);
        if let [(peer, _)] = self.net.connecting()[..] {
            self.peers.insert(peer);
            if let Does::Refuse = does {
                self.net.fail(peer, CloseReason::Refused);
                self.run();
            } else {
                self.net.establish(peer);
                self.run();
                match does {
                    Does::Say(bytes) => self.send(peer, bytes),
                    Does::End => self.end(peer),
                    _ => self.pass(1.001),
                }
            }
            assert!(!self.net.is_held(peer), "a check that ended leaves nothing");
        }
        core::iter::from_fn(|| self.service.poll_verdict()).collect()
    }

    fn checks(&self, outcome: &str) -> u64 {
        self.service.counters().get("weir_checks_total", outcome).expect("an outcome")
    }

    fn is_up(&self, server: &str) -> bool {
        self.service.counters().get("weir_server_up", server) == Some(1)
    }
}

const fn verdict(server: u16, is_up: bool) -> Verdict {
    Verdict { pool: 0, server, is_up }
}

#[test]
fn no_request_is_sent_before_the_first_verdict() {
    let mut world = World::checking(CHECKED);
    let client = world.client(WEB, GET);
    assert_eq!(world.statuses(client), [503]);
    assert_eq!(world.check(Does::Say(WELL)), [verdict(0, true)]);
    let client = world.client(WEB, GET);
    assert_eq!(world.connecting().1, "10.0.0.11:8080");
    world.served(client);
    world.end(client);
    world.finish();
}

#[test]
fn a_check_asks_for_its_path_and_every_failure_has_a_name() {
    for (does, name) in [
        (Does::Say(WELL), "passed"),
        (Does::Say(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), "passed"),
        (Does::Say(ILL), "status"),
        (Does::Say(b"HTTP/1.1 302 Found\r\n\r\n"), "status"),
        (Does::Say(b"SSH-2.0-OpenSSH\r\n"), "bad_response"),
        (Does::Refuse, "not_connected"),
        (Does::End, "closed"),
        (Does::Nothing, "timeout"),
    ] {
        let mut world = World::checking(CHECKED);
        assert_eq!(world.check(does), [verdict(0, name == "passed")], "{name}");
        assert_eq!(world.checks(name), 1, "{name}");
        assert_eq!(world.is_up("p/a"), name == "passed");
        world.finish();
    }
    let mut world = World::checking(CHECKED);
    world.service.check_servers(&mut world.net);
    let server = world.accept();
    let request =
        "GET /healthz HTTP/1.1\r\nHost: 10.0.0.11:8080\r\nUser-Agent: weir-check\r\nConnection: close\r\n\r\n";
    assert_eq!(world.got(server), request);
    for piece in [&b"HTTP/1.1 2"[..], b"00 OK\r\nContent-Len", b"gth: 0\r\n\r\n"] {
        assert_eq!(world.checks("passed"), 0);
        world.send(server, piece);
    }
    assert_eq!(world.checks("passed"), 1);
    world.finish();
}

#[test]
fn rise_and_fall_are_counted_in_a_row() {
    let mut world = World::checking(CHECKED);
    let mut both = |does| {
        let mut verdicts = world.check(does);
        verdicts.extend(world.check(Does::Say(WELL)));
        verdicts
    };
    assert_eq!(both(Does::Say(WELL)), [verdict(0, true), verdict(1, true)]);
    for (does, expected) in [
        (Does::Refuse, None),
        (Does::Nothing, None),
        (Does::Say(WELL), None),
        (Does::Refuse, None),
        (Does::Say(ILL), None),
        (Does::End, Some(false)),
        (Does::End, None),
        (Does::Say(WELL), None),
        (Does::End, None),
        (Does::Say(WELL), None),
        (Does::Say(WELL), Some(true)),
    ] {
        assert_eq!(both(does), Vec::from_iter(expected.map(|is_up| verdict(0, is_up))));
    }
    world.finish();
}

#[test]
fn another_core_s_verdict_moves_all_requests() {
    let mut world = World::with(CHECKED, 16);
    assert!(!world.is_up("p/a"));
    for server in [0, 1] {
        world.tell(verdict(server, true));
    }
    world.tell(verdict(0, false));
    assert!(!world.is_up("p/a") && world.is_up("p/b"));
    world.pass(60.0);
    let client = world.client(WEB, GET);
    assert_eq!(world.connecting().1, "10.0.0.12:8080");
    let server = world.accept();
    for _ in 0..3 {
        world.send(server, OK);
        assert_eq!(world.statuses(client), [200]);
        world.send(client, GET);
    }
    world.tell(verdict(0, true));
    world.send(server, OK);
    world.send(client, GET);
    assert_eq!(world.connecting().1, "10.0.0.11:8080", "it is back");
    world.end(client);
    world.finish();
}

#[test]
fn without_http_a_connection_is_answer_enough() {
    let mut world = World::checking(&CHECKED.replace("http = { path = \"/healthz\", expect = \"200-299\" }\n", ""));
    assert_eq!(world.check(Does::Refuse), [verdict(0, false)]);
    assert_eq!(world.check(Does::Nothing), [verdict(1, true)]);
    world.finish();
}

#[test]
fn a_check_asks_as_it_is_told_to() {
    let http =
        "http = { method = \"HEAD\", path = \"/up\", headers = { X-Probe = \"weir\", Accept = \"*/*\" } }\nport = 9090";
    let config = CHECKED
        .replace("http = { path = \"/healthz\", expect = \"200-299\" }", http)
        .replace("address = \"10.0.0.11:8080\"", "address = \"10.0.0.11:8080\"\nproxy_protocol = \"v1\"");
    let mut world = World::checking(&config);
    world.service.check_servers(&mut world.net);
    assert_eq!(world.connecting().1, "10.0.0.11:9090");
    let server = world.accept();
    let request = world.got(server);
    let (head, fields) = request.split_once("Connection: close\r\n").expect("its end");
    assert_eq!(head, "HEAD /up HTTP/1.1\r\nHost: 10.0.0.11:9090\r\nUser-Agent: weir-check\r\n");
    let mut fields: Vec<&str> = fields.split("\r\n").collect();
    fields.sort_unstable();
    assert_eq!(fields, ["", "", "Accept: */*", "X-Probe: weir"]);
    world.send(server, b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n");
    assert_eq!(world.checks("passed"), 1, "a response to HEAD has no body");
    let address = SocketAddr::from(([10, 0, 0, 99], 8080));
    world.service.apply_address(&mut world.net, crate::Moved { pool: 0, server: 0, address });
    world.service.check_servers(&mut world.net);
    assert_eq!(world.connecting().1, "10.0.0.99:9090", "the port stays the check's");
    world.finish();
}

/// A check by a script, instead of a request.
fn scripted(steps: &str) -> World {
    World::checking(
        &CHECKED.replace("http = { path = \"/healthz\", expect = \"200-299\" }", &format!("tcp = [{steps}]")),
    )
}

const PING: &str = "{ send = \"PING\\r\\n\", expect = \"+PONG\" }";

#[test]
fn a_script_hears_what_it_expects_or_says_why_not() {
    for (does, name) in [
        (Does::Say(b"+PONG\r\n"), "passed"),
        (Does::Say(b"*1\r\n$4\r\n+PONG and more"), "passed"),
        (Does::Say(&[b'x'; 8192]), "mismatch"),
        (Does::Refuse, "not_connected"),
        (Does::End, "closed"),
        (Does::Nothing, "timeout"),
    ] {
        let mut world = scripted(PING);
        assert_eq!(world.check(does), [verdict(0, name == "passed")], "{name}");
        assert_eq!(world.checks(name), 1, "{name}");
        world.finish();
    }
}

/// It may still say what is expected, until the check's time is over, it leaves or fails.
#[test]
fn a_server_that_says_something_else_is_a_mismatch() {
    let waits = |world: &mut World, _| world.pass(1.001);
    for wrong in [&b"-LOADING Redis is loading\r\n"[..], b"+PON"] {
        for then in [waits as fn(&mut World, Peer), World::end, World::reset] {
            let mut world = scripted(PING);
            world.service.check_servers(&mut world.net);
            let server = world.accept();
            assert_eq!(world.got(server), "PING\r\n");
            world.send(server, wrong);
            assert_eq!(world.checks("mismatch"), 0);
            then(&mut world, server);
            assert_eq!((world.checks("mismatch"), world.is_up("p/a")), (1, false));
            world.finish();
        }
    }
}

#[test]
fn steps_follow_one_another_and_an_old_answer_is_none_to_a_new_question() {
    let steps = "{ expect = \"220 \" }, { send = \"EHLO x\\r\\n\", expect = \"250 \" }, { expect = \"SIZE\" }";
    let mut world = scripted(&format!("{steps}, {{ send = \"QUIT\\r\\n\", expect = \"221\" }}"));
    world.service.check_servers(&mut world.net);
    let server = world.accept();
    assert_eq!(world.got(server), "", "the server speaks first");
    for piece in ["22", "0", " 250 mail"] {
        assert_eq!(world.got(server), "");
        world.send(server, piece.as_bytes());
    }
    assert_eq!(world.got(server), "EHLO x\r\n");
    world.send(server, b"250 yes");
    assert_eq!(world.got(server), "", "the third step says nothing");
    world.send(server, b" SIZE 221");
    assert_eq!((world.got(server).as_str(), world.checks("passed")), ("QUIT\r\n", 0));
    world.send(server, b"221 bye");
    assert_eq!(world.checks("passed"), 1);
    world.finish();
}
