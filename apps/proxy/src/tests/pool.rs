//! What a pool does beside taking turns: queues, retries, keys.

use super::*;
use weir_socket::CloseReason;

/// A listener on port 80 with one pool; `more` are lines of the pool, `servers` those of each server.
fn config(servers: usize, more: &str, each: &str) -> String {
    let mut text = String::from(
        "[[listener]]\nname = \"web\"\nbind = \"10.0.0.1:80\"\n[[listener.route]]\npool = \"p\"\n[[pool]]\nname = \"p\"\n",
    );
    text.push_str(&format!("{more}\n"));
    for n in 1..=servers {
        text.push_str(&format!("[[pool.server]]\nname = \"s{n}\"\naddress = \"10.0.0.1{n}:80\"\n{each}\n"));
    }
    text
}

#[test]
fn requests_wait_for_a_server_with_room_in_the_order_they_came() {
    let mut world = World::with(&config(1, "", "max_connections = 1"), 16);
    let first = world.client(WEB, GET);
    let server = world.accept();
    let waiting: Vec<Peer> = (0..3).map(|_| world.client(WEB, GET)).collect();
    assert_eq!(world.gauge("weir_requests_queued"), 3);
    assert!(world.net.connecting().is_empty());
    world.send(server, OK);
    assert_eq!(world.statuses(first), [200]);
    for (done, &client) in waiting.iter().enumerate() {
        assert_eq!(world.gauge("weir_requests_queued"), 2 - done as u64, "on the same connection");
        world.send(server, OK);
        assert_eq!(world.statuses(client), [200]);
    }
    for client in waiting.into_iter().chain([first]) {
        world.end(client);
    }
    world.finish();
}

#[test]
fn a_request_that_waits_too_long_is_503_and_its_client_may_ask_again() {
    let mut world = World::with(&config(1, "", "max_connections = 1"), 16);
    let busy = world.client(WEB, GET);
    let server = world.accept();
    let client = world.client(WEB, GET);
    world.pass(4.9);
    assert_eq!(world.statuses(client), []);
    world.pass(0.2);
    assert_eq!(world.statuses(client), [503]);
    assert_eq!((world.incidents("queue_timeout"), world.gauge("weir_requests_queued")), (1, 0));
    world.send(client, GET);
    world.send(server, OK);
    assert_eq!(world.statuses(busy), [200]);
    world.send(server, OK);
    assert_eq!(world.statuses(client), [200]);
    world.finish();
}

#[test]
fn a_full_queue_is_503_at_once() {
    let mut world = World::with(&config(1, "queue_length = 1", "max_connections = 1"), 16);
    world.client(WEB, GET);
    world.accept();
    world.client(WEB, GET);
    let client = world.client(WEB, GET);
    assert_eq!(world.statuses(client), [503]);
    assert_eq!(world.incidents("queue_full"), 1);
    world.finish();
}

#[test]
fn a_client_that_leaves_the_queue_costs_nobody_a_turn() {
    let mut world = World::with(&config(1, "queue_length = 2", "max_connections = 1"), 200);
    world.client(WEB, GET);
    let server = world.accept();
    for _ in 0..150 {
        let gone = world.client(WEB, GET);
        world.reset(gone);
    }
    assert_eq!(world.gauge("weir_requests_queued"), 0);
    assert!(world.service.queue_places(0) < 100, "their places are cleared away");
    let client = world.client(WEB, GET);
    world.send(server, OK);
    world.send(server, OK);
    assert_eq!(world.statuses(client), [200]);
    world.finish();
}

#[test]
fn a_server_that_comes_back_serves_who_waits() {
    let mut world = World::with(&config(2, "[pool.health]", "max_connections = 1"), 16);
    let verdict = |server, is_up| crate::Verdict { pool: 0, server, is_up };
    world.tell(verdict(0, true));
    let busy = world.client(WEB, GET);
    let (_, address) = world.connecting();
    assert_eq!(address, "10.0.0.11:80");
    world.accept();
    let client = world.client(WEB, GET);
    assert_eq!(world.gauge("weir_requests_queued"), 1);
    world.tell(verdict(1, true));
    world.end(busy);
    let (_, address) = world.connecting();
    assert_eq!(address, "10.0.0.12:80");
    world.served(client);
    world.finish();
}

#[test]
fn no_server_up_is_503_and_the_connection_stays() {
    let mut world = World::with(&config(1, "when_all_down = \"fail\"", ""), 16);
    let client = world.client(WEB, GET);
    let (refuser, _) = world.connecting();
    world.net.fail(refuser, CloseReason::Refused);
    world.run();
    assert_eq!(world.statuses(client), [502]);
    world.send(client, GET);
    assert_eq!((world.statuses(client), world.incidents("no_server")), (Vec::from([503]), 1));
    assert!(world.net.is_held(client));
    world.end(client);
    world.finish();
}

/// A server that is stopped takes connections along that it has just accepted.
#[test]
fn a_request_goes_to_another_server_when_a_new_connection_dies_without_an_answer() {
    for (end, balance) in [
        (World::end as fn(&mut World, Peer), "round-robin"),
        (World::reset, "round-robin"),
        (World::end, "least-connections"),
        (World::end, "hash"),
    ] {
        let mut world = World::with(&config(2, &format!("balance = \"{balance}\""), ""), 16);
        let client = world.client(WEB, GET);
        let (_, first) = world.connecting();
        let dying = world.accept();
        end(&mut world, dying);
        let (_, address) = world.connecting();
        assert_ne!(address, first, "{balance}");
        world.served(client);
        assert_eq!((world.incidents("server_gone"), world.incidents("retry")), (1, 1));
        world.end(client);
        world.finish();
    }
}

#[test]
fn a_request_that_may_not_be_repeated_is_sent_once() {
    let mut world = World::with(&config(2, "", ""), 16);
    let client = world.client(WEB, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    let dying = world.accept();
    world.end(dying);
    assert_eq!((world.statuses(client), world.incidents("retry")), (Vec::from([502]), 0));
    world.end(client);
    world.finish();
}

#[test]
fn servers_that_all_die_are_not_asked_for_ever() {
    let mut world = World::with(&config(3, "", ""), 64);
    let (mut asked, mut failed) = (0, 0);
    for _ in 0..30 {
        let client = world.client(WEB, GET);
        while let [(dying, _)] = world.net.connecting()[..] {
            world.net.establish(dying);
            world.run();
            world.end(dying);
            asked += 1;
        }
        failed += usize::from(world.statuses(client) == [502]);
        world.end(client);
    }
    assert_eq!(failed, 30);
    assert!(asked <= 30 + 10 + 6, "{asked} questions for 30 requests");
    assert!(world.incidents("retry_budget") > 0);
    world.finish();
}

#[test]
fn what_is_alike_goes_to_the_same_server() {
    for (on, alike, other) in [
        ("uri", ["GET /a HTTP/1.1\r\nHost: a\r\n", "GET /a HTTP/1.1\r\nHost: b\r\n"], "GET /# HTTP/1.1\r\nHost: a\r\n"),
        (
            "header:X-User",
            ["GET / HTTP/1.1\r\nHost: a\r\nx-user: 7\r\n", "PUT /b HTTP/1.1\r\nX-USER: 7\r\nHost: a\r\n"],
            "GET / HTTP/1.1\r\nHost: a\r\nX-User: #\r\n",
        ),
        (
            "cookie:id",
            [
                "GET / HTTP/1.1\r\nHost: a\r\nCookie: a=b; id=7\r\n",
                "GET /x HTTP/1.1\r\nHost: a\r\nCookie: id=7; b=id\r\n",
            ],
            "GET / HTTP/1.1\r\nHost: a\r\nCookie: xid=7; id=#\r\n",
        ),
    ] {
        let mut world = World::with(&config(3, &format!("balance = \"hash\"\nhash_on = \"{on}\""), ""), 64);
        let mut ask = |request: &str| {
            let client = world.client(WEB, format!("{request}Connection: close\r\n\r\n").as_bytes());
            let (server, address) = world.connecting();
            world.net.establish(server);
            world.run();
            world.send(server, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            assert_eq!(world.statuses(client), [200]);
            world.end(server);
            address
        };
        let [first, second] = alike;
        let (first, second) = (ask(first), ask(second));
        assert_eq!(first, second, "{on}");
        let others: BTreeSet<String> = (0..8).map(|n| ask(&other.replace('#', &format!("{n}")))).collect();
        assert!(others.len() > 1, "{on}");
        world.finish();
    }
}

/// Two cores of two servers: the second knows what the first has under way, also if there was no room to tell it at once.
#[test]
fn cores_tell_each_other_of_their_load() {
    let text = config(2, "balance = \"least-connections\"", "");
    let mut cores = [World::as_core(&text, 16, (0, 2)), World::as_core(&text, 16, (1, 2))];
    let busy: Vec<Peer> = (0..3).map(|_| cores[0].client(WEB, GET)).collect();
    let [(_, a), (_, b), (_, c)] = cores[0].net.connecting()[..] else { panic!("three requests") };
    let less = if a == c { b } else { a };
    assert!(a != b && (c == a || c == b), "{a} {b} {c}");
    let [first, second] = &mut cores;
    first.service.report_loads();
    first.service.tell_loads(|_, _| false);
    assert!(first.service.has_reports());
    first.service.tell_loads(|core, loads| {
        assert_eq!(core, 1);
        second.service.apply_loads(&second.net, loads);
        true
    });
    assert_eq!((first.service.has_reports(), first.service.told_loads()), (false, 1));
    let client = second.client(WEB, GET);
    assert_eq!(second.connecting().1, format!("{less}"), "one under way, not two");
    second.served(client);
    for (mut core, clients) in cores.into_iter().zip([busy, Vec::from([client])]) {
        clients.into_iter().for_each(|client| core.reset(client));
        core.finish();
    }
}

/// Two cores, and one connection that a server may have: it goes to where it is needed.
#[test]
fn cores_trade_what_a_server_may_have() {
    let text = config(1, "", "max_connections = 1");
    let mut cores = [World::as_core(&text, 16, (0, 2)), World::as_core(&text, 16, (1, 2))];
    let clients = [cores[0].client(WEB, GET), cores[1].client(WEB, GET)];
    let server = cores[0].accept();
    assert_eq!(cores[1].gauge("weir_requests_queued"), 1);
    World::trade(&mut cores);
    assert!(cores[1].net.connecting().is_empty(), "it is in use");
    cores[0].send(server, OK);
    assert_eq!(cores[0].statuses(clients[0]), [200]);
    World::trade(&mut cores);
    let other = cores[1].accept();
    cores[0].send(clients[0], GET);
    assert_eq!(cores[0].gauge("weir_requests_queued"), 1, "now the other core has it");
    cores[1].send(other, OK);
    assert_eq!(cores[1].statuses(clients[1]), [200]);
    World::trade(&mut cores);
    cores[0].send(server, OK);
    assert_eq!(cores[0].statuses(clients[0]), [200]);
    for (mut core, client) in cores.into_iter().zip(clients) {
        core.end(client);
        core.finish();
    }
}

#[test]
fn connections_and_checks_come_from_the_pool_s_addresses() {
    let config = config(1, "source = \"10.0.0.3\"\n[pool.health]", "");
    let own = "[network]\naddress = \"10.0.0.1/24\"\nsource_addresses = [\"10.0.0.3\"]\n";
    let mut world = World::checking(&format!("{own}{config}"));
    world.service.check_servers(&mut world.net);
    let source = |world: &World, peer| world.net.local_of(peer).map(|local| local.ip());
    let check = world.accept();
    assert_eq!(source(&world, check), Some([10, 0, 0, 3].into()));
    let client = world.client(WEB, GET);
    let server = world.served(client);
    assert_eq!(source(&world, server), Some([10, 0, 0, 3].into()));
    world.end(client);
    world.finish();
}
