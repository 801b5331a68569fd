//! Who may come to a listener, and how many.

use super::*;

/// A listener with these keys. Clients of these tests are 192.0.2.1.
fn config(keys: &str) -> String {
    format!(
        "[[listener]]\nname = \"web\"\nbind = \"10.0.0.1:80\"\n{keys}\n[[listener.route]]\nrespond = {{ body = \"hello\\n\" }}\n\
         [[listener]]\nname = \"other\"\nbind = \"10.0.0.1:81\"\n[[listener.route]]\nrespond = {{ body = \"other\\n\" }}\n"
    )
}

#[test]
fn a_listener_has_so_many_connections_and_others_have_theirs() {
    let mut world = World::with(&config("connections = 2"), 16);
    let clients = [world.client(WEB, GET), world.client(WEB, GET)];
    let third = world.open(WEB);
    assert_eq!((world.net.is_held(third), world.incidents("listener_connections")), (false, 1));
    let elsewhere = world.client(LOCAL, GET);
    assert_eq!(world.statuses(elsewhere), [200]);
    world.reset(clients[0]);
    let fourth = world.client(WEB, GET);
    assert_eq!(world.statuses(fourth), [200], "one has ended");
    let fifth = world.open(WEB);
    assert_eq!((world.net.is_held(fifth), world.incidents("listener_connections")), (false, 2));
    world.finish();
}

#[test]
fn each_core_allows_its_share() {
    let mut world = World::as_core(&config("connections = 5"), 16, (1, 2));
    let held = (0..5).filter(|_| {
        let client = world.open(WEB);
        world.net.is_held(client)
    });
    assert_eq!(held.count(), 3);
    world.finish();
}

/// `dry_run` is about what each client may have.
#[test]
fn a_dry_run_opens_no_gate() {
    for (keys, reason) in [("deny = \"192.0.2.1\"", "client_denied"), ("connections = 1", "listener_connections")] {
        let mut world = World::with(&(config(keys) + "[limits]\nconnections_per_client = 1\ndry_run = true\n"), 16);
        let clients = [world.open(WEB), world.open(WEB)];
        assert!(!world.net.is_held(clients[1]) && world.incidents(reason) > 0, "{keys}");
        world.finish();
    }
}

#[test]
fn those_who_may_not_come_are_reset() {
    for (keys, is_welcome) in [
        ("allow = \"192.0.2.0/24\"", true),
        ("allow = [\"198.51.100.0/24\", \"fd00::/8\"]", false),
        ("deny = \"192.0.2.1\"", false),
        ("deny = \"192.0.2.2\"", true),
        ("allow = \"192.0.2.0/24\"\ndeny = \"192.0.2.1\"\nconnections = 1", false),
    ] {
        let mut world = World::with(&config(keys), 16);
        for _ in 0..2 {
            let client = world.open(WEB);
            assert_eq!(world.net.is_held(client), is_welcome, "{keys}");
        }
        assert_eq!(world.incidents("client_denied"), if is_welcome { 0 } else { 2 }, "{keys}");
        world.finish();
    }
}

#[test]
fn behind_a_proxy_it_is_the_header_that_says_who_comes() {
    let behind = "proxy_protocol = true\ntrusted_proxies = \"192.0.2.1\"\ndeny = \"203.0.113.0/24\"\nconnections = 1";
    let mut world = World::with(&config(behind), 16);
    let from = |address: &str| [format!("PROXY TCP4 {address} 10.0.0.1 1 80\r\n").as_bytes(), GET].concat();
    let denied = world.client(WEB, &from("203.0.113.9"));
    assert_eq!((world.net.is_held(denied), world.incidents("client_denied")), (false, 1));
    let welcome = world.client(WEB, &from("198.51.100.9"));
    assert_eq!(world.statuses(welcome), [200], "who was refused takes no place");
    world.end(welcome);
    world.finish();
}
