//! A service that leaves.

use super::*;

const HELLO: &[u8] = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";

impl World {
    fn leave(&mut self) {
        self.service.leave(&mut self.net);
        self.run();
    }
}

#[test]
fn who_waits_is_let_go_and_who_has_begun_is_answered() {
    let mut world = World::new();
    let idle = world.client(LOCAL, HELLO);
    let [begun, silent] = [world.open(LOCAL), world.open(LOCAL)];
    world.send(begun, &HELLO[..10]);
    assert_eq!(world.statuses(idle), [200]);
    world.leave();
    assert!(!world.net.is_held(idle), "it waited for a second request");
    assert!(world.net.is_held(begun) && world.net.is_held(silent));
    for (client, request) in [(begun, &HELLO[10..]), (silent, HELLO)] {
        world.send(client, request);
        let answer = world.got(client);
        assert!(answer.contains(" 200 ") && answer.contains("Connection: close"), "{answer}");
        world.end(client);
        assert!(!world.net.is_held(client));
    }
    assert_eq!(world.gauge("weir_client_connections"), 0);
    world.finish();
}

#[test]
fn a_server_s_answer_is_waited_for() {
    let mut world = World::new();
    let client = world.client(WEB, GET);
    let server = world.accept();
    assert!(!world.got(server).is_empty());
    world.leave();
    world.send(server, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(world.statuses(client), [200]);
    world.leave();
    assert!(!world.net.is_held(client), "it would have waited for the next request");
    world.finish();
}

#[test]
fn nobody_listens_any_more() {
    let mut world = World::new();
    world.leave();
    world.leave();
    for port in [LOCAL, WEB] {
        let address = SocketAddr::from(([10, 0, 0, 1], port));
        assert!(!world.net.listens(address), "{address}");
    }
    world.finish();
}
