//! Servers by name: nothing before the address is known, and other addresses later.

use super::*;
use crate::Moved;
use weir_socket::CloseReason;

/// One server at an address, and one with a name.
const NAMED: &str = r#"
[[listener]]
name = "web"
bind = "10.0.0.1:80"
[[listener.route]]
pool = "p"

[[pool]]
name = "p"
[[pool.server]]
name = "a"
address = "app.internal:8080"
"#;

const CHECKED: &str = "[pool.health]\nhttp = { path = \"/healthz\", expect = \"200-299\" }\nrise = 2\nfall = 2\n";

const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 0\r\n\r\n";

impl World {
    fn move_to(&mut self, host: u8) {
        let address = ([10, 0, 0, host], 8080).into();
        self.service.apply_address(&mut self.net, Moved { pool: 0, server: 0, address });
        self.run();
    }

    fn up(&self) -> Option<u64> {
        self.service.counters().get("weir_server_up", "p/a")
    }
}

#[test]
fn a_server_without_an_address_gets_no_request() {
    let mut world = World::with(NAMED, 16);
    let client = world.client(WEB, GET);
    assert_eq!((world.statuses(client), world.up()), ([503].into(), Some(0)));
    world.move_to(11);
    assert_eq!(world.up(), Some(1));
    world.send(client, GET);
    assert_eq!(world.connecting().1, "10.0.0.11:8080");
    world.served(client);
    world.end(client);
    world.finish();
}

#[test]
fn a_request_without_host_is_for_the_name() {
    let mut world = World::with(NAMED, 16);
    world.move_to(11);
    let client = world.client(WEB, b"GET / HTTP/1.0\r\n\r\n");
    let server = world.accept();
    let request = world.got(server);
    assert!(request.contains("\r\nHost: app.internal:8080\r\n"), "{request}");
    world.send(server, OK);
    assert_eq!(world.statuses(client), [200]);
    world.end(client);
    world.finish();
}

#[test]
fn what_is_under_way_stays_and_what_is_idle_goes_when_the_server_moves() {
    let mut world = World::with(NAMED, 16);
    world.move_to(11);
    // One connection becomes idle, another one works.
    let idle_client = world.client(WEB, GET);
    let idle = world.accept();
    let busy_client = world.client(WEB, GET);
    let busy = world.accept();
    world.send(idle, OK);
    assert_eq!(world.statuses(idle_client), [200]);
    assert_eq!(world.gauge("weir_server_connections_idle"), 1);
    world.move_to(12);
    assert_eq!(world.gauge("weir_server_connections_idle"), 0);
    assert_eq!(world.gauge("weir_server_connections"), 1);
    world.send(busy, OK);
    assert_eq!(world.statuses(busy_client), [200]);
    assert_eq!(world.gauge("weir_server_connections"), 0, "an old address' connection is not kept");
    world.send(idle_client, POST);
    assert_eq!(world.connecting().1, "10.0.0.12:8080");
    let server = world.accept();
    world.send(server, OK);
    assert_eq!(world.statuses(idle_client), [200]);
    world.move_to(12);
    assert_eq!(world.gauge("weir_server_connections_idle"), 1, "it is there already");
    for peer in [idle_client, busy_client, idle, busy] {
        world.end(peer);
    }
    world.finish();
}

#[test]
fn what_was_held_against_the_old_address_is_forgotten() {
    let mut world = World::with(NAMED, 16);
    world.move_to(11);
    let client = world.client(WEB, GET);
    let (server, _) = world.connecting();
    world.net.fail(server, CloseReason::Refused);
    world.run();
    assert_eq!((world.statuses(client), world.incidents("ejected")), ([502].into(), 1));
    world.move_to(12);
    let client = world.client(WEB, GET);
    assert_eq!(world.connecting().1, "10.0.0.12:8080");
    world.served(client);
    world.end(client);
    world.finish();
}

#[test]
fn checks_wait_for_the_address_and_follow_it() {
    let config = NAMED.replace("[[pool.server]]", &format!("{CHECKED}[[pool.server]]"));
    let mut world = World::checking(&config);
    for _ in 0..3 {
        world.pass(5.0);
        world.service.check_servers(&mut world.net);
    }
    assert!(world.net.connecting().is_empty() && world.service.poll_verdict().is_none());
    world.move_to(11);
    assert_eq!(world.up(), Some(0), "no request before the first verdict");
    assert_eq!(world.service.next_check(), Some(world.net.now()));
    world.service.check_servers(&mut world.net);
    assert_eq!(world.connecting().1, "10.0.0.11:8080");
    // It moves while its check is under way: that one counts for nothing.
    world.move_to(12);
    world.service.check_servers(&mut world.net);
    assert_eq!(world.connecting().1, "10.0.0.12:8080");
    let server = world.accept();
    assert!(world.got(server).contains("\r\nHost: app.internal:8080\r\n"));
    world.send(server, b"HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!((world.service.poll_verdict().map(|verdict| verdict.is_up), world.up()), (Some(true), Some(1)));
    world.move_to(13);
    assert_eq!(world.up(), Some(1), "it was well, and is well until checks say otherwise");
    world.finish();
}
