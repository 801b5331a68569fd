//! Servers that drain, and servers that are left alone.

use super::*;

#[test]
fn a_server_of_weight_0_drains_it_gets_no_request() {
    let config = CONFIG.replacen("address = \"10.0.0.11:8080\"", "address = \"10.0.0.11:8080\"\nweight = 0", 1);
    let mut world = World::with(&config, 16);
    let client = world.client(WEB, GET);
    assert_eq!(world.connecting().1, "10.0.0.12:8080");
    let server = world.accept();
    for _ in 0..5 {
        world.send(server, OK);
        assert_eq!(world.statuses(client), [200]);
        world.send(client, GET);
    }
    world.end(client);
    world.finish();
}

#[test]
fn five_errors_in_a_row_eject_a_server() {
    let mut world = World::new();
    for n in 1..=10 {
        let client = world.client(WEB, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        let (_, address) = world.connecting();
        let server = world.accept();
        let is_first = address == "10.0.0.11:8080";
        world.send(server, if is_first { b"nonsense\r\n" } else { OK });
        assert_eq!(world.statuses(client), [if is_first { 502 } else { 200 }]);
        assert_eq!(world.incidents("ejected"), u64::from(n >= 9), "after {n} requests");
        world.reset(client);
        world.pass(0.0);
        if !is_first {
            world.end(server);
        }
    }
    world.pass(1.1);
    world.finish();
}
