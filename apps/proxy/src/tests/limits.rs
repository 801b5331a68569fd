//! What one client may have.

use super::*;

fn config(limits: &str) -> String {
    format!(
        "[limits]\n{limits}\n[[listener]]\nname = \"web\"\nbind = \"10.0.0.1:80\"\n[[listener.route]]\nrespond = {{ body = \"hello\\n\" }}\n"
    )
}

#[test]
fn a_client_has_so_many_connections_and_no_more() {
    let mut world = World::with(&config("connections_per_client = 2"), 16);
    let clients = [world.client(WEB, GET), world.client(WEB, GET)];
    let third = world.open(WEB);
    assert_eq!((world.net.is_held(third), world.incidents("client_connections")), (false, 1));
    world.end(clients[0]);
    let fourth = world.client(WEB, GET);
    assert_eq!(world.statuses(fourth), [200]);
    world.end(clients[1]);
    world.end(fourth);
    world.finish();
}

#[test]
fn who_connects_too_often_has_to_wait() {
    let mut world = World::with(&config("connection_rate_per_client = \"3/s\""), 16);
    for _ in 0..3 {
        let client = world.client(WEB, GET);
        assert_eq!(world.statuses(client), [200]);
        world.end(client);
    }
    let client = world.open(WEB);
    assert_eq!((world.net.is_held(client), world.incidents("client_connection_rate")), (false, 1));
    world.pass(0.4);
    let client = world.client(WEB, GET);
    assert_eq!(world.statuses(client), [200]);
    world.end(client);
    world.finish();
}

#[test]
fn who_asks_too_often_is_429_on_any_connection() {
    let mut world = World::with(&config("request_rate_per_client = \"5/s\""), 16);
    let clients = [world.open(WEB), world.open(WEB)];
    for turn in 0..5 {
        world.send(clients[turn % 2], GET);
        assert_eq!(world.statuses(clients[turn % 2]), [200]);
    }
    world.send(clients[1], GET);
    let answer = world.got(clients[1]);
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("\r\nRetry-After: 1\r\n"), "{answer}");
    assert_eq!(world.incidents("client_request_rate"), 1);
    world.pass(0.25);
    world.send(clients[1], GET);
    assert_eq!(world.statuses(clients[1]), [200], "the connection stayed");
    for client in clients {
        world.end(client);
    }
    world.finish();
}

#[test]
fn a_dry_run_only_counts() {
    let limits = "connections_per_client = 1\nrequest_rate_per_client = \"1/s\"\ndry_run = true";
    let mut world = World::with(&config(limits), 16);
    for turn in 0..3 {
        let client = world.client(WEB, GET);
        assert_eq!(world.statuses(client), [200]);
        assert_eq!((world.incidents("client_connections"), world.incidents("client_request_rate")), (turn, turn));
    }
    world.finish();
}

#[test]
fn behind_a_proxy_its_clients_are_told_apart() {
    let behind = config("connections_per_client = 1")
        .replace("bind = ", "proxy_protocol = true\ntrusted_proxies = \"192.0.2.1\"\nbind = ");
    let mut world = World::with(&behind, 16);
    let from = |last: u8| [format!("PROXY TCP4 203.0.113.{last} 10.0.0.1 1 80\r\n").as_bytes(), GET].concat();
    let (first, second) = (world.client(WEB, &from(1)), world.client(WEB, &from(2)));
    assert_eq!((world.statuses(first), world.statuses(second)), (Vec::from([200]), Vec::from([200])));
    let again = world.client(WEB, &from(1));
    assert_eq!((world.net.is_held(again), world.incidents("client_connections")), (false, 1));
    world.end(first);
    world.end(second);
    world.finish();
}

#[test]
fn so_many_idle_connections_to_servers_are_kept() {
    for (max, cores, kept) in [("0", 1, 0), ("1", 1, 1), ("3", 2, 2)] {
        let config = CONFIG.replace("[limits]", &format!("[limits]\nidle_server_connections = {max}"));
        let mut world = World::as_core(&config, 16, (0, cores));
        let pairs: Vec<_> = (0..3)
            .map(|_| {
                let client = world.client(ONE, GET);
                (client, world.accept())
            })
            .collect();
        for (client, server) in pairs {
            world.send(server, OK);
            assert_eq!(world.statuses(client), [200]);
        }
        assert_eq!(world.gauge("weir_server_connections_idle"), kept);
        assert_eq!((world.gauge("weir_server_connections"), world.incidents("idle_limit")), (kept, 3 - kept));
        world.finish();
    }
}
