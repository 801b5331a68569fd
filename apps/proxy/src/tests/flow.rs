//! Back-pressure: nothing is read from one side that the other does not take.

use super::*;

/// Buffers beyond those at the start.
fn held(world: &World) -> usize {
    world.net.pool().in_use() - world.buffers_at_start
}

#[test]
fn a_slow_client_holds_the_server_back() {
    let mut world = World::new();
    world.net.set_send_queue(10_000);
    let client = world.client(ONE, GET);
    let server = world.accept();
    world.got(server);
    let body: Vec<u8> = (0..200_000_u32).map(|n| b'a' + (n % 23) as u8).collect();
    world.send(server, b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n");
    world.send(server, &body);
    let (head, queued) = (38, world.net.take_sent(client));
    // Until the client reads, all but a queue full stays with the stack, where the window closes.
    assert!(queued.len() < 12_000, "{} bytes were taken", queued.len());
    world.run();
    let mut got = queued;
    loop {
        let more = world.net.take_sent(client);
        world.run();
        if more.is_empty() {
            break;
        }
        assert!(more.len() < 12_000);
        got.extend_from_slice(&more);
    }
    assert!(got.ends_with(&body) && got.len() > body.len() + head, "every byte once and in order");
    assert_eq!(world.gauge("weir_server_connections_idle"), 1);
    assert_eq!(held(&world), 0);
    world.end(client);
    world.finish();
}

#[test]
fn a_slow_server_holds_the_client_back() {
    let mut world = World::new();
    world.net.set_send_queue(5_000);
    let client = world.client(ONE, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    let server = world.accept();
    let body: Vec<u8> = (0..100_000_u32).map(|n| b'a' + (n % 19) as u8).collect();
    world.send(client, &body);
    let mut got = Vec::new();
    loop {
        let more = world.net.take_sent(server);
        world.run();
        if more.is_empty() {
            break;
        }
        assert!(more.len() < 7_000, "{} bytes at once", more.len());
        got.extend_from_slice(&more);
    }
    assert!(got.ends_with(&body));
    world.send(server, OK);
    assert_eq!(world.statuses(client), [200]);
    world.end(client);
    world.finish();
}

#[test]
fn bytes_move_without_being_copied() {
    let mut world = World::new();
    let client = world.client(ONE, GET);
    let server = world.accept();
    world.got(server);
    world.send(server, b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
    let before = world.net.pool().in_use();
    let body = [b'x'; 50_000];
    world.send(server, &body);
    let buffers = body.len().div_ceil(1448);
    assert_eq!(world.net.pool().in_use() - before, buffers, "the buffers that were received are the ones being sent");
    world.got(client);
    assert_eq!(world.net.pool().in_use(), before - 1, "only the head's buffer and the body's were in the queue");
    world.finish();
}

#[test]
fn a_short_body_goes_with_its_head_and_a_longer_one_by_itself() {
    for (len, buffers) in [(0, 1), (1, 1), (512, 1), (513, 2)] {
        let mut world = World::new();
        let client = world.client(ONE, GET);
        let server = world.accept();
        world.got(server);
        // The request's head is kept until there is an answer.
        let before = world.net.pool().in_use() - 1;
        let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n{}", "x".repeat(len));
        world.send(server, response.as_bytes());
        assert_eq!(world.net.pool().in_use() - before, buffers, "{len} bytes");
        assert!(world.got(client).ends_with(&response[response.find("\r\n\r\n").expect("a head")..]), "{len} bytes");
        world.finish();
    }
}

#[test]
fn chunked_bodies_keep_their_order_under_pressure() {
    for queue in [1, 30, 2000] {
        let mut world = World::new();
        world.net.set_send_queue(queue);
        let client = world.client(ONE, GET);
        let server = world.accept();
        while !world.net.take_sent(server).is_empty() {
            world.run();
        }
        world.send(server, b"HTTP/1.1 200 OK\r\n\r\n");
        for n in 0..20 {
            world.net.deliver(server, format!("<{n}>").as_bytes());
        }
        world.net.deliver_end(server);
        world.run();
        let got = world.got(client);
        let text: String = (0..20).map(|n| format!("{:x}\r\n<{n}>\r\n", format!("<{n}>").len())).collect();
        assert!(got.ends_with(&format!("\r\n\r\n{text}0\r\n\r\n")), "{got}");
        world.end(client);
        world.finish();
    }
}

#[test]
fn many_clients_share_the_servers_without_mixing_their_bytes() {
    let mut world = World::with(CONFIG, 64);
    let clients: Vec<Peer> = (0..40).map(|_| world.open(WEB)).collect();
    for round in 0..5 {
        for (index, client) in clients.iter().enumerate() {
            let request = format!("GET /{index}/{round} HTTP/1.1\r\nHost: a\r\n\r\n");
            world.net.deliver(*client, request.as_bytes());
        }
        world.run();
        for (peer, _) in world.net.connecting() {
            world.peers.insert(peer);
            world.net.establish(peer);
        }
        world.run();
        for peer in world.peers.clone() {
            let got = world.got(peer);
            if let Some(path) = got.strip_prefix("GET ").and_then(|rest| rest.split(' ').next()) {
                world.send(peer, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len()).as_bytes());
            }
        }
        for (index, client) in clients.iter().enumerate() {
            let got = world.got(*client);
            assert!(got.is_empty() || got.ends_with(&format!("\r\n\r\n/{index}/{round}")), "{got}");
        }
    }
    assert_eq!(world.service.counters().get("weir_responses_total", "2xx"), Some(200));
    assert!(world.gauge("weir_server_connections") <= 40);
    world.finish();
}
