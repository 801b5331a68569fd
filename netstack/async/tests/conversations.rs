//! Servers and clients as asynchronous functions, over two shards and a wire in memory.

mod world;

use std::cell::Cell;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use embedded_io_async::{BufRead, Read, ReadReady, Write, WriteReady};
use weir_async::{ConnectError, Elapsed, Error, Flow, Net};
use weir_socket::CloseReason;
use weir_stack::Shard;
use world::{CLIENT, Host, SERVER, run};

const PORT: u16 = 7;
const BYTES: usize = 300_000;

type Task<'t> = Pin<Box<dyn Future<Output = ()> + 't>>;

fn hosts() -> [Host; 2] {
    [Host::new(SERVER, 512), Host::new(CLIENT, 512)]
}

fn echo_address() -> SocketAddr {
    (SERVER, PORT).into()
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(0x9e37) >> 7) as u8).collect()
}

/// Nothing is left behind, on either side.
fn check_empty(hosts: &[Host; 2]) {
    for host in hosts {
        let gauges = host.net.with(|shard| shard.tcp_gauges());
        assert_eq!(gauges.flows.iter().sum::<u32>(), 0, "{gauges:?}");
        assert_eq!((gauges.listeners, gauges.half_open, host.net.next_deadline()), (0, 0, None));
        assert_eq!(host.pool.in_use(), 0, "buffers are left");
    }
}

/// Any code that knows the traits alone.
async fn echo(mut flow: impl BufRead + Write) {
    loop {
        let bytes = flow.fill_buf().await.expect("a flow").to_vec();
        if bytes.is_empty() {
            return flow.flush().await.expect("a flow");
        }
        flow.consume(bytes.len());
        flow.write_all(&bytes).await.expect("a flow");
    }
}

async fn read_to_end(reader: &mut impl Read<Error = Error>) -> Vec<u8> {
    let (mut all, mut part) = (Vec::new(), [0; 777]);
    loop {
        match reader.read(&mut part).await.expect("a flow") {
            0 => return all,
            len => all.extend_from_slice(&part[..len]),
        }
    }
}

async fn after(net: &Net<Shard>, ms: u64) {
    net.sleep_until(net.now() + Duration::from_millis(ms)).await;
}

/// Drives two futures as one task does that waits for both.
async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (Box::pin(a), Box::pin(b));
    let (mut done_a, mut done_b) = (None, None);
    std::future::poll_fn(|cx| {
        use std::task::Poll;
        if done_a.is_none()
            && let Poll::Ready(output) = a.as_mut().poll(cx)
        {
            done_a = Some(output);
        }
        if done_b.is_none()
            && let Poll::Ready(output) = b.as_mut().poll(cx)
        {
            done_b = Some(output);
        }
        match (&done_a, &done_b) {
            (Some(_), Some(_)) => Poll::Ready((done_a.take().unwrap(), done_b.take().unwrap())),
            _ => Poll::Pending,
        }
    })
    .await
}

#[test]
fn an_echo_server_answers_clients_that_write_and_read_at_the_same_time() {
    let hosts = hosts();
    let [server, client] = [&hosts[0].net, &hosts[1].net];
    let done = Cell::new(0);
    let serve = async {
        let mut listener = server.listen(echo_address()).expect("a port");
        for _ in 0..2 {
            echo(listener.accept().await).await;
        }
    };
    let ask = async {
        let mut flow = client.connect(echo_address()).await.expect("a flow");
        assert_eq!(flow.peer_address(), Some(echo_address()));
        assert!(flow.write_ready().unwrap() && !flow.read_ready().unwrap());
        let sent = bytes(BYTES);
        let (mut reader, mut writer) = flow.split();
        let write = async {
            writer.write_all(&sent).await.expect("a flow");
            writer.shutdown();
        };
        let ((), received) = both(write, read_to_end(&mut reader)).await;
        assert!(received == sent, "{} of {BYTES} bytes, or others", received.len());
        done.set(done.get() + 1);
    };
    let ask_again = async {
        after(client, 5_000).await;
        let mut flow = client.connect(echo_address()).await.expect("a flow");
        flow.write_all(b"once more").await.expect("a flow");
        let mut answer = [0; 9];
        flow.read_exact(&mut answer).await.expect("nine bytes");
        assert_eq!(&answer, b"once more");
        done.set(done.get() + 1);
    };
    let tasks: Vec<Task<'_>> = vec![Box::pin(serve), Box::pin(ask), Box::pin(ask_again)];
    let polls = run([&hosts[0], &hosts[1]], tasks);
    assert_eq!(done.get(), 2);
    // A task is polled when something happened for it, not in between.
    assert!(polls < 2_000, "{polls}");
    check_empty(&hosts);
}

#[test]
fn a_writer_waits_for_a_reader_that_is_late() {
    let hosts = hosts();
    let [server, client] = [&hosts[0].net, &hosts[1].net];
    let written = Cell::new(0);
    let sent = bytes(BYTES);
    let serve = async {
        let mut flow = server.listen(echo_address()).expect("a port").accept().await;
        after(server, 10_000).await;
        // The window and the queue are full, and no more than that was taken.
        let held = written.get();
        assert!((64 << 10..200 << 10).contains(&held), "{held}");
        assert!(read_to_end(&mut flow).await == sent);
    };
    let ask = async {
        let mut flow = client.connect(echo_address()).await.expect("a flow");
        while written.get() < BYTES {
            written.set(written.get() + flow.write(&sent[written.get()..]).await.expect("a flow"));
        }
    };
    run([&hosts[0], &hosts[1]], vec![Box::pin(serve), Box::pin(ask)]);
    assert_eq!(written.get(), BYTES);
    check_empty(&hosts);
}

#[test]
fn a_client_that_has_ended_its_direction_still_gets_the_answer() {
    let hosts = hosts();
    let [server, client] = [&hosts[0].net, &hosts[1].net];
    let serve = async {
        let mut flow = server.listen(echo_address()).expect("a port").accept().await;
        let question = read_to_end(&mut flow).await;
        after(server, 1_000).await;
        flow.write_all(&question).await.expect("the other direction is open");
    };
    let ask = async {
        let mut flow = client.connect(echo_address()).await.expect("a flow");
        flow.write_all(b"the question").await.expect("a flow");
        flow.shutdown();
        assert_eq!(flow.write(b"more").await, Err(Error(CloseReason::Shutdown)));
        assert_eq!(read_to_end(&mut flow).await, b"the question");
    };
    run([&hosts[0], &hosts[1]], vec![Box::pin(serve), Box::pin(ask)]);
    check_empty(&hosts);
}

#[test]
fn futures_that_are_dropped_midway_take_nothing_with_them() {
    let hosts = hosts();
    let [server, client] = [&hosts[0].net, &hosts[1].net];
    let soon = |net: &Net<Shard>| net.now() + Duration::from_millis(20);
    let serve = async {
        let mut listener = server.listen(echo_address()).expect("a port");
        // Nobody has come yet; who comes later is not lost.
        assert!(matches!(server.by(soon(server), listener.accept()).await, Err(Elapsed)));
        after(server, 500).await;
        let mut flow: Flow<'_, Shard> = listener.accept().await;
        let mut part = [0; 3];
        let mut received = Vec::new();
        let mut given_up = 0;
        while received.len() < 30 {
            match server.by(soon(server), flow.read(&mut part)).await {
                Ok(len) => received.extend_from_slice(&part[..len.expect("a flow")]),
                Err(Elapsed) => given_up += 1,
            }
        }
        assert_eq!(received, bytes(30));
        assert!(given_up >= 3, "{given_up}");
    };
    let ask = async {
        after(client, 100).await;
        let mut flow = client.connect(echo_address()).await.expect("a flow");
        for part in bytes(30).chunks(10) {
            after(client, 700).await;
            flow.write_all(part).await.expect("a flow");
        }
        assert_eq!(read_to_end(&mut flow).await, b"");
    };
    run([&hosts[0], &hosts[1]], vec![Box::pin(serve), Box::pin(ask)]);
    check_empty(&hosts);
}

#[test]
fn a_write_that_is_dropped_has_queued_nothing() {
    let hosts = hosts();
    let [server, client] = [&hosts[0].net, &hosts[1].net];
    let sent = bytes(BYTES);
    let serve = async {
        let mut flow = server.listen(echo_address()).expect("a port").accept().await;
        after(server, 3_000).await;
        assert!(read_to_end(&mut flow).await == sent);
    };
    let ask = async {
        let mut flow = client.connect(echo_address()).await.expect("a flow");
        let (mut at, mut given_up) = (0, 0);
        while at < BYTES {
            let deadline = client.now() + Duration::from_millis(50);
            match client.by(deadline, flow.write(&sent[at..])).await {
                Ok(len) => at += len.expect("a flow"),
                Err(Elapsed) => given_up += 1,
            }
        }
        assert!(given_up > 10, "{given_up}");
    };
    run([&hosts[0], &hosts[1]], vec![Box::pin(serve), Box::pin(ask)]);
    check_empty(&hosts);
}

#[test]
fn a_connect_is_refused_or_given_up() {
    let hosts = hosts();
    let [_, client] = [&hosts[0].net, &hosts[1].net];
    let ask = async {
        let refused = client.connect(echo_address()).await.map(|flow| flow.id());
        assert_eq!(refused, Err(ConnectError::Closed(CloseReason::Refused)));
        let nowhere = client.connect((SERVER, 0).into()).await.map(|flow| flow.id());
        assert_eq!(nowhere, Err(ConnectError::NotSent(weir_socket::ConnectError::InvalidAddress)));
        // Nobody has this address: the question for it goes on when the future is dropped.
        let absent: SocketAddr = ([10, 0, 0, 77], PORT).into();
        let deadline = client.now() + Duration::from_millis(10);
        assert!(client.by(deadline, client.connect(absent)).await.is_err());
        assert_eq!(client.with(|shard| shard.tcp_gauges().flows.iter().sum::<u32>()), 0);
    };
    run([&hosts[0], &hosts[1]], vec![Box::pin(ask)]);
    check_empty(&hosts);
}

#[test]
fn an_abort_is_an_error_at_the_other_end() {
    let hosts = hosts();
    let [server, client] = [&hosts[0].net, &hosts[1].net];
    let serve = async { server.listen(echo_address()).expect("a port").accept().await.abort() };
    let ask = async {
        let mut flow = client.connect(echo_address()).await.expect("a flow");
        let mut part = [0; 10];
        let error = flow.read(&mut part).await.expect_err("a reset");
        assert_eq!(error, Error(CloseReason::Reset));
        assert_eq!(embedded_io_async::Error::kind(&error), embedded_io_async::ErrorKind::ConnectionReset);
    };
    run([&hosts[0], &hosts[1]], vec![Box::pin(serve), Box::pin(ask)]);
    check_empty(&hosts);
}

#[test]
fn a_relay_is_two_splices() {
    const RELAY: u16 = 8;
    let hosts = hosts();
    let [server, client] = [&hosts[0].net, &hosts[1].net];
    let serve = async { echo(server.listen(echo_address()).expect("a port").accept().await).await };
    let relay = async {
        let mut front = client.listen((CLIENT, RELAY).into()).expect("a port").accept().await;
        let mut first = [0; 4];
        front.read_exact(&mut first).await.expect("four bytes");
        let mut back = client.connect(echo_address()).await.expect("a flow");
        back.write_all(&first).await.expect("a flow");
        let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (front.split(), back.split());
        let there = async {
            let moved = from_client.splice(&mut to_server).await.expect("two flows");
            to_server.shutdown();
            moved
        };
        let (there, back) = both(there, from_server.splice(&mut to_client)).await;
        assert_eq!((there, back), (BYTES as u64 - 4, Ok(BYTES as u64)));
    };
    let ask = async {
        let mut flow = server.connect((CLIENT, RELAY).into()).await.expect("a flow");
        let sent = bytes(BYTES);
        let (mut reader, mut writer) = flow.split();
        let write = async {
            writer.write_all(&sent).await.expect("a flow");
            writer.shutdown();
        };
        let ((), received) = both(write, read_to_end(&mut reader)).await;
        assert!(received == sent, "{} of {BYTES} bytes, or others", received.len());
    };
    run([&hosts[0], &hosts[1]], vec![Box::pin(serve), Box::pin(relay), Box::pin(ask)]);
    check_empty(&hosts);
}

#[test]
fn writers_without_a_buffer_wait_for_one() {
    let hosts = hosts();
    let [server, client] = [&hosts[0].net, &hosts[1].net];
    let sent = bytes(BYTES);
    let serve = async {
        let mut flow = server.listen(echo_address()).expect("a port").accept().await;
        assert!(read_to_end(&mut flow).await == sent);
    };
    let ask = async {
        let mut flow = client.connect(echo_address()).await.expect("a flow");
        let all: Vec<_> = std::iter::from_fn(|| hosts[1].pool.allocate()).collect();
        let deadline = client.now() + Duration::from_millis(50);
        assert!(client.by(deadline, flow.write(&sent)).await.is_err(), "{} buffers are taken", all.len());
        let give_back = async {
            after(client, 100).await;
            drop(all);
        };
        let (written, ()) = both(flow.write_all(&sent), give_back).await;
        written.expect("a flow");
    };
    run([&hosts[0], &hosts[1]], vec![Box::pin(serve), Box::pin(ask)]);
    check_empty(&hosts);
}
